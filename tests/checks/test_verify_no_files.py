"""`verify` where links and pipes stand for the files of a store: they are named, and nothing waits for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds.errors import StoreIOError

Format = Literal[2, 3]


@pytest.mark.parametrize("target", ["value", "nothing"])
def test_a_chunk_that_is_a_link_out_of_the_store_is_a_finding(tmp_path: Path, target: str) -> None:
    path = tmp_path / "x.zarr"
    ds = xr.Dataset({"v": ("x", np.arange(9.0)), "w": ("x", np.arange(9.0))})
    zarrds.save(ds, path, encoding={"v": {"chunks": (3,)}})
    (tmp_path / "value").write_bytes(b"outside")
    for chunk in ("c.0", "c.2"):
        (path / "v" / chunk).unlink()
        (path / "v" / chunk).symlink_to(tmp_path / target)
    (path / "v/c.1").unlink()
    report = zarrds.verify(path, repair=True)
    assert [(f.key, f.mended) for f in report.findings] == [("v/c.0", False), ("v/c.1", False), ("v/c.2", False)]
    assert "leads out of the store" in report.findings[0].problem
    assert (tmp_path / "value").read_bytes() == b"outside"


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_array_whose_folder_is_a_link_out_of_the_store_stays_in_the_documents(
    tmp_path: Path, zarr_format: Format
) -> None:
    path = tmp_path / "x.zarr"
    ds = xr.Dataset({"v": ("y", np.arange(9.0)), "w": ("y", np.arange(9.0))}, {"y": np.arange(9)})
    zarrds.save(ds, path, encoding={"v": {"chunks": (3,)}}, zarr_format=zarr_format)
    root = path / ("zarr.json" if zarr_format == 3 else ".zmetadata")
    before = root.read_bytes()
    for name in ("v", "y"):
        (path / name).rename(tmp_path / name)
        (path / name).symlink_to(tmp_path / name)
    for repair in (False, True):
        report = zarrds.verify(path, repair=repair)
        assert not report.ok
        assert {f.key.partition("/")[0] for f in report.findings} == {"v", "y"}
        assert all("leads out of the store" in f.problem and not f.mended for f in report.findings)
        assert len(report.findings) <= 4
        assert root.read_bytes() == before
    for name in ("v", "y"):
        (path / name).unlink()
        (tmp_path / name).rename(path / name)
    assert zarrds.verify(path).findings == ()
    xr.testing.assert_identical(xr.load_dataset(path, engine="zarrds"), ds)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_what_is_no_file_is_named_and_never_copied_as_absent(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    array = zarrds.create_array(path, path="v", shape=9, chunks=3, dtype="i4", dimension_names=("y",))
    array[:3] = 1  # chunks 1 and 2 are absent, and need not be there
    os.mkfifo(path / "v/c/1")
    os.mkfifo(path / "pipe")
    os.symlink(tmp_path, path / "elsewhere")
    os.symlink(tmp_path / "nothing", path / "v/notes.txt")
    report = zarrds.verify(path, repair=True)
    pipe, out = "a pipe, a socket or a device", "a symbolic link that leads out of the store"
    assert [(f.severity, f.key, f.problem.partition(",")[0]) for f in report.findings] == [
        ("warning", "elsewhere", out),
        ("warning", "pipe", "a pipe"),
        ("error", "v/c/1", "a pipe"),
        ("warning", "v/notes.txt", out),
    ]
    for options in ({}, {"chunks": {"y": 9}}, {"shards": {"y": 6}}):
        with pytest.raises(StoreIOError, match=pipe) as caught:
            zarrds.rechunk(path, tmp_path / "copy.zarr", **options)  # type: ignore[arg-type]  # a union
        assert caught.value.key == "v/c/1"
    with pytest.raises(StoreIOError, match=pipe):
        zarrds.copy(path, zarrds.MemoryStore())
    assert not (tmp_path / "copy.zarr").exists()
    array[3:6] = 2  # replaces it
    zarrds.copy(path, tmp_path / "copy.zarr")
    assert zarrds.open_array(tmp_path / "copy.zarr", path="v")[...].tolist() == [1] * 3 + [2] * 3 + [0] * 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("name", ["zarr.json", "v/zarr.json", "v/.zarrds/.zarrds.json", "v/c.0"])
def test_a_pipe_for_a_document_or_a_chunk(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.zarr"
    zarrds.save(xr.Dataset({"v": ("x", np.arange(3.0))}), path)
    (path / name).unlink()
    os.mkfifo(path / name)
    if name == "zarr.json":
        for look in (zarrds.verify, zarrds.info, zarrds.open_group):
            with pytest.raises(StoreIOError, match="a pipe"):
                look(path)
        return
    report = zarrds.verify(path, repair=True)
    assert any(f.key == name and "a pipe" in f.problem and f.severity == "error" for f in report.findings)
    if name == "v/c.0":
        with pytest.raises(StoreIOError, match="a pipe"):
            xr.load_dataset(path, engine="zarrds")
        with pytest.raises(StoreIOError, match="a pipe"):
            zarrds.copy(path, tmp_path / "y.zarr")
    zarrds.save(xr.Dataset({"v": ("x", np.arange(3.0))}), path, mode="w")
    assert zarrds.verify(path).findings == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_pipe_for_the_chunk_of_an_array_without_dimensions(tmp_path: Path, zarr_format: Format) -> None:
    """Which need not be there, as nothing was written."""
    zarrds.create_array(tmp_path, path="v", shape=(), dtype="i4", zarr_format=zarr_format)
    key = "v/c" if zarr_format == 3 else "v/0"
    os.mkfifo(tmp_path / key)
    report = zarrds.verify(tmp_path)
    assert [(f.severity, f.key) for f in report.findings] == [("error", key)]
    assert "a pipe" in report.findings[0].problem
