"""Stores in ZIP files: written as a whole, in one step, and in no part."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import zarrds
from zarrds.errors import (
    ChunkError,
    ConflictError,
    MetadataError,
    ReadOnlyError,
    StoreExistsError,
    StoreIOError,
    UnsupportedError,
)
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


@pytest.mark.skipif("fork" not in get_all_start_methods(), reason="this system has no fork")
def test_a_forked_child_reads_in_many_threads(path: Path) -> None:
    """It opens the file anew: none of its threads finds that half done, and none reads another file."""
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zarr.json", "{}")
        for i in range(200):
            archive.writestr(f"v/{i}", str(i))
    store = ZipStore(str(path))

    def read(i: int) -> bool:
        return store.get(f"v/{i}") == str(i).encode()

    def child() -> None:
        with ThreadPoolExecutor(8) as pool:
            try:
                code = int(all(pool.map(read, range(200))))
            except ConflictError:
                code = 2
        os._exit(code)

    for expected in (1, 2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
            process = get_context("fork").Process(target=child)
            process.start()
        process.join(60)
        assert process.exitcode == expected
        zarrds.save(DS, path, mode="w")
    assert store.get("v/1") == b"1"


# ------------------------------------------------------------------------------ files that others made


def repacked(path: Path, changed: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_DEFLATED) -> None:
    """The dataset in a file in which some members hold something else."""
    zarrds.save(DS, path, mode="w", encoding={"v": {"chunks": (4, 5)}})
    with zipfile.ZipFile(path) as archive:
        values = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, value in {**values, **(changed or {})}.items():
            archive.writestr(name, value)


def test_what_is_deflated_is_unpacked_as_far_as_it_can_be_right(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repacked(path)
    xr.testing.assert_identical(opened(path), DS)
    size = 2**24
    repacked(path, {"v/c.0.0": bytes(size)})
    assert path.stat().st_size < 2**16
    tracemalloc.start()
    try:
        with pytest.raises(ChunkError, match="larger than it can be"):
            opened(path)
        assert any("larger than it can be" in str(each) for each in zarrds.verify(path).findings)
        monkeypatch.setattr("zarrds.metadata.fields.MAX_DOCUMENT", 2**20)
        repacked(path, {"zarr.json": b" " * size})
        tracemalloc.reset_peak()
        with pytest.raises(MetadataError, match="too large"):
            opened(path)
        assert tracemalloc.get_traced_memory()[1] < size / 4
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_nobody_can_bound_is_not_unpacked(path: Path, compression: int) -> None:
    repacked(path, compression=compression)
    with pytest.raises(UnsupportedError, match=r"zarr\.json.*stored or deflated"):
        opened(path)


def test_members_whose_names_are_no_keys_hide_nothing(path: Path) -> None:
    strange = ["../up/zarr.json", "/etc/zarr.json", "a//zarr.json", "./zarr.json", "b\\c/zarr.json", "q"]
    repacked(path, dict.fromkeys(strange, b"{}"))
    whole = bytearray(path.read_bytes())
    start = whole.rindex(b"PK\x01\x02")  # of the last one in the list: a name without any letters
    whole[start + 30 : start + 32], whole[start + 28 : start + 30] = whole[start + 28 : start + 30], b"\0\0"
    path.write_bytes(whole)
    for consolidated in (True, False):
        xr.testing.assert_identical(opened(path, consolidated=consolidated), DS)
    assert zarrds.verify(path).ok
    store = zarrds.MemoryStore()
    zarrds.copy(path, store)
    assert not any("etc" in key or "up" in key for key in store.list_prefix())


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_what_is_no_file(path: Path, kind: str) -> None:
    path.parent.mkdir()
    if kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    before = os.lstat(path)
    for act in (opened, lambda path: zarrds.save(DS, path), lambda path: zarrds.save(DS, path, mode="w")):
        with pytest.raises(StoreIOError, match="no regular file"):
            act(path)
    assert os.lstat(path) == before


def test_a_damaged_list_of_members(path: Path) -> None:
    zarrds.save(DS, path)
    whole = path.read_bytes()
    start, end = whole.index(b"PK\x01\x02"), whole.rindex(b"PK\x05\x06")
    name = bytearray(whole)
    name[start + 9] |= 0x08  # the name is said to be UTF-8
    name[start + 46] = 0xFF
    place = bytearray(whole)
    place[end + 16 : end + 20] = b"\xff\xff\xff\x7f"
    needed = bytearray(whole)
    needed[start + 6] = 0xFF
    for damaged in (name, place, needed, whole[: end - 9]):
        path.write_bytes(damaged)
        with pytest.raises(StoreIOError, match=r"ZIP|cannot read"):
            opened(path)
