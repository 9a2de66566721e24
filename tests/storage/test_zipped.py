"""Stores in ZIP files: written as a whole, in one step, and in no part."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import zarrds
from zarrds.errors import ReadOnlyError, StoreExistsError, StoreIOError
from zarrds.storage.zipfiles.zipped import ZipStore

DS = xr.Dataset({"v": (("y", "x"), np.arange(20.0).reshape(4, 5)), "n": ("x", list("abcde"))}, {"x": np.arange(5)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "x.zarr.zip"


def opened(path: Path, **options: Any) -> xr.Dataset:
    return xr.open_dataset(path, engine="zarrds", **options).load()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("chunks", [None, {"y": 1}], ids=["numpy", "dask"])
def test_saved(path: Path, zarr_format: Any, durable: bool, chunks: Any) -> None:
    ds = DS if chunks is None else DS.drop_vars("n").chunk(chunks)
    encoding = {"v": {"chunks": (2, 2)}}
    zarrds.save(ds, path, zarr_format=zarr_format, durable=durable, encoding=encoding, statistics=True)
    xr.testing.assert_identical(opened(path), ds.load())
    assert os.listdir(path.parent) == [path.name]
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert len(names) == len(set(names))
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert not any("partial" in name for name in names)
    with zarr.storage.ZipStore(path, mode="r") as store:
        np.testing.assert_array_equal(zarr.open_array(store, path="v", mode="r")[...], DS.v)
    assert zarrds.verify(path).ok


def test_trees(path: Path) -> None:
    tree = xr.DataTree.from_dict({"/": DS[["v"]], "/a/b": DS[["n"]]})
    zarrds.save(tree, path)
    xr.testing.assert_identical(xr.open_datatree(path, engine="zarrds").load(), tree)


def test_what_stands_there(path: Path) -> None:
    zarrds.save(DS, path)
    before = path.read_bytes()
    with pytest.raises(StoreExistsError, match="mode='w'"):
        zarrds.save(DS, path)
    assert path.read_bytes() == before
    was_open = xr.open_dataset(path, engine="zarrds", cache=False)
    zarrds.save(DS.assign(v=DS.v + 1), path, mode="w")
    assert opened(path).v[0, 0] == 1
    assert float(was_open.v[0, 0]) == 0  # as it was opened
    # of itself
    again = xr.open_dataset(path, engine="zarrds")
    zarrds.save(again.assign(v=again.v + 1), path, mode="w")
    assert opened(path).v[0, 0] == 2
    path.write_text("no archive")
    with pytest.raises(StoreIOError, match="ZIP"):
        zarrds.save(DS, path, mode="w")
    assert path.read_text() == "no archive"


@pytest.mark.parametrize(
    "option",
    [
        {"append_dim": "x"},
        {"region": {"x": slice(0, 5)}},
        {"mode": "a"},
        {"mode": "r+"},
        {"mode": "w", "group": "g"},
        {"mode": "w", "compute": False},
    ],
)
def test_parts_are_refused(path: Path, option: dict[str, Any]) -> None:
    zarrds.save(DS, path)
    before = path.read_bytes()
    ds = DS.assign_coords(x=DS.x + 5) if "append_dim" in option else DS
    with pytest.raises(ReadOnlyError, match=r"only written as a whole.*mode='w'"):
        zarrds.save(ds.chunk() if "compute" in option else ds, path, **option)
    for change in (
        lambda: zarrds.update_attrs(path, {"a": 1}),
        lambda: zarrds.drop_vars(path, "v"),
        lambda: zarrds.rename(path, {"v": "w"}),
        lambda: zarrds.open_array(path, "r+", path="v").resize((4, 9)),
        lambda: zarrds.create_array(path, path="z", shape=1, dtype="i1"),
        lambda: zarrds.index(path),
    ):
        with pytest.raises(ReadOnlyError, match="only written as a whole"):
            change()  # type: ignore[no-untyped-call]  # none has types
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_what_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarrds.save(DS, path)
    before = path.read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "write", full)
    with pytest.raises(StoreIOError, match="No space left"):
        zarrds.save(DS.assign(v=DS.v + 1), path, mode="w")
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_errors_name_the_file_that_is_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zarrds.storage.local.files.write", full)
    with pytest.raises(StoreIOError, match="cannot write") as caught:
        zarrds.save(DS, path)
    assert caught.value.path == str(path)


def test_what_a_dead_writer_left(path: Path) -> None:
    code = (
        f"import os\nfrom zarrds.storage.zipfiles.zipped import ZipStore\nZipStore({str(path)!r}).stage()\nos._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {name[-15:] for name in os.listdir(path.parent)} == {".zarrds-partial"}
    zarrds.save(DS, path)
    assert os.listdir(path.parent) == [path.name]


def test_another_came_first(path: Path) -> None:
    store = ZipStore(str(path))
    stage = store.stage()
    stage.set("zarr.json", b"{}")
    zarrds.save(DS, path)
    with pytest.raises(StoreExistsError):
        store.publish(stage, replace=False)
    store.discard(stage)
    xr.testing.assert_identical(opened(path), DS)


def test_copies_and_conversions(path: Path, tmp_path: Path) -> None:
    zarrds.save(DS, tmp_path / "x.zarr")
    zarrds.copy(tmp_path / "x.zarr", path)
    xr.testing.assert_identical(opened(path), DS)
    zarrds.rechunk(path, tmp_path / "y.zarr.zip", chunks={"x": 1})
    xr.testing.assert_identical(opened(tmp_path / "y.zarr.zip"), DS)
    zarrds.convert(DS, tmp_path / "z.zarr.zip")
    xr.testing.assert_identical(opened(tmp_path / "z.zarr.zip"), DS)
