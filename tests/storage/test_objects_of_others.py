"""Stores that other libraries hand out, and archives: one dataset, read through each of them."""

from __future__ import annotations

import base64
import inspect
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import numpy as np
import obstore.store
import pytest
import xarray as xr
import zarr
from fsspec.implementations.dirfs import DirFileSystem

import zarrds
from tests.datasets.samples import FORMATS
from zarrds.errors import ReadOnlyError, StoreIOError, StoreNotFoundError
from zarrds.storage.locate import as_store
from zarrds.stores import LocalStore, RemoteStore

DS = xr.Dataset({"v": (("x", "y"), np.arange(20.0).reshape(4, 5)), "s": ("x", [*"abcd"])}, {"x": [1, 2, 3, 4]})


class Upath:
    """What zarrds needs of a UPath."""

    protocol, path = "memory", "/upath.zarr"
    storage_options: dict[str, Any] = {}  # noqa: RUF012  # as there

    def __str__(self) -> str:
        return "memory://upath.zarr"

    def __fspath__(self) -> str:
        raise TypeError("no local path")


def values_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def zarr_memory(folder: Path) -> zarr.storage.MemoryStore:
    buffer = zarr.core.buffer.default_buffer_prototype().buffer
    return zarr.storage.MemoryStore({key: buffer.from_bytes(value) for key, value in values_of(folder).items()})


def obstore_memory(folder: Path) -> Any:
    store = obstore.store.MemoryStore()
    for key, value in values_of(folder).items():
        store.put(key, value)
    return store


def in_memory(folder: Path, name: str) -> str:
    store = as_store(f"memory://{name}.zarr")
    store.delete_prefix("")
    for key, value in values_of(folder).items():
        store.set(key, value)
    return f"memory://{name}.zarr"


def in_folders(_: str, *names: str) -> DirFileSystem:
    system = fsspec.filesystem("memory")
    for name in names:
        system = DirFileSystem(name, system)
    return system


def zipped(folder: Path, name: str | None = None) -> str:
    base = str(folder.with_name("packed.zarr"))
    return shutil.make_archive(base, "zip", folder.parent if name else folder, name)


def references(folder: Path) -> dict[str, Any]:
    values = values_of(folder)
    refs = {
        key: [str(folder / key)] if len(value) > 60 else "base64:" + base64.b64encode(value).decode()
        for key, value in values.items()
    }
    return {"version": 1, "refs": refs}


PLACES: dict[str, Callable[[Path], Any]] = {
    "zip": zipped,
    "zip URL": lambda p: f"file://{zipped(p)}",
    "zip of a folder": lambda p: zipped(p, p.name),
    "mapper of a path": lambda p: fsspec.get_mapper(str(p)),
    "mapper in memory": lambda p: fsspec.get_mapper(in_memory(p, "mapper")),
    "mapper of a folder": lambda p: DirFileSystem(str(p.parent), fsspec.filesystem("file")).get_mapper(p.name),
    "mapper of a folder in memory": lambda p: in_folders(in_memory(p, "folders/of/x"), "folders", "of").get_mapper(
        "x.zarr"
    ),
    "mapper of references": lambda p: fsspec.get_mapper("reference://", fo=references(p)),
    "slash behind a URL": lambda p: in_memory(p, "slash") + "/",
    "upath": lambda p: (in_memory(p, "upath"), Upath())[1],
    "zarr memory": zarr_memory,
    "zarr local": zarr.storage.LocalStore,
    "zarr local, read-only": lambda p: zarr.storage.LocalStore(p, read_only=True),
    "zarr zip": lambda p: zarr.storage.ZipStore(zipped(p), mode="r"),
    "zarr fsspec": lambda p: zarr.storage.FsspecStore.from_url(f"file://{p}"),
    "zarr obstore": lambda p: zarr.storage.ObjectStore(obstore_memory(p)),
    "zarr wrapper": lambda p: zarr.storage.LoggingStore(zarr_memory(p)),
    "obstore memory": obstore_memory,
    "obstore local": lambda p: obstore.store.LocalStore(p),
}


@pytest.fixture(params=FORMATS, ids=["v3", "v2"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    zarrds.save(DS, tmp_path / "x.zarr", zarr_format=request.param, encoding={"v": {"chunks": (2, 5)}})
    return tmp_path / "x.zarr"


@pytest.mark.one_in(4)
@pytest.mark.parametrize("place", PLACES)
def test_reading(place: str, folder: Path) -> None:
    store = PLACES[place](folder)
    ways: list[dict[str, Any]] = [{}, {"chunks": {}}, {"consolidated": False}]
    for options in ways:
        xr.testing.assert_identical(xr.open_dataset(store, engine="zarrds", **options).load(), DS)
    np.testing.assert_array_equal(zarrds.open_array(store, path="v")[1:3, 2], DS.v[1:3, 2])
    opened = as_store(store)
    assert sorted(opened.list_prefix()) == sorted(key for key in values_of(folder) if "partial" not in key)
    assert opened.list_children() == sorted(DS.variables)
    assert opened.get("none") is opened.get_range("none", 0, 1) is opened.identity("none") is None
    key = next(key for key in values_of(folder) if key.startswith("v/"))
    value = values_of(folder)[key]
    assert bytes(opened.get(key) or b"") == value
    for start, length in ((0, 4), (2, 3), (-5, 2), (-3, 9), (0, 0), (len(value) - 1, 9)):
        first = max(start + len(value), 0) if start < 0 else start
        assert bytes(opened.get_range(key, start, length) or b"") == value[first : first + length]


@pytest.mark.parametrize("place", ["zarr zip", "zarr memory", "zarr local, read-only"])
def test_what_can_only_be_read_says_so(place: str, folder: Path) -> None:
    store = PLACES[place](folder)
    for mode in ("w", "a"):
        with pytest.raises(ReadOnlyError, match="only be read"):
            zarrds.save(DS.assign(v=DS.v + 1), store, mode=mode)  # type: ignore[arg-type]  # one of them
    xr.testing.assert_identical(xr.open_dataset(store, engine="zarrds").load(), DS)


@pytest.mark.parametrize("kind", ["references", "mapper of references", "simplecache", "filecache"])
def test_writes_that_would_be_lost_are_refused(kind: str, folder: Path) -> None:
    """References are changed in memory alone; caches give old copies, by which an append ended half-way."""
    options = {"fo": references(folder)} if kind == "references" else None
    store: Any = "reference://" if options else f"{kind}::{in_memory(folder, uuid4().hex)}"
    if kind == "mapper of references":
        store = fsspec.get_mapper("reference://", fo=references(folder))
    load = partial(xr.load_dataset, store, engine="zarrds", storage_options=options)
    xr.testing.assert_identical(load(), DS)
    save = partial(zarrds.save, DS.assign(v=DS.v + 1), store, storage_options=options)
    for write in (
        partial(save, mode="w"),
        partial(save, mode="a"),
        partial(save, mode="r+"),
        partial(save, region="auto"),
        partial(zarrds.save, DS.assign_coords(x=DS.x + 4), store, append_dim="x", storage_options=options),
        partial(zarrds.update_attrs, store, {"k": 1}, storage_options=options),
        partial(zarrds.open_array(store, "r+", "v", storage_options=options).__setitem__, 0, 5),
    ):
        with pytest.raises(ReadOnlyError, match="cache would go on" if "cache" in kind else "can only be read"):
            write()
        xr.testing.assert_identical(load(), DS)
    if "cache" in kind:
        xr.testing.assert_identical(xr.load_dataset(store.partition("::")[2], engine="zarrds"), DS)


@pytest.mark.parametrize(
    "place",
    [
        "mapper of a path",
        "mapper in memory",
        "mapper of a folder",
        "mapper of a folder in memory",
        "zarr local",
        "obstore local",
        "upath",
    ],
)
def test_writing(place: str, folder: Path) -> None:
    store = PLACES[place](folder)
    assert isinstance(as_store(store), LocalStore | RemoteStore)
    zarrds.save(DS.assign_coords(x=DS.x + 4), store, append_dim="x")
    assert xr.open_dataset(store, engine="zarrds").sizes["x"] == 8


def test_references_in_options(folder: Path) -> None:
    options = {"fo": references(folder)}
    ds = xr.open_dataset("reference://", engine="zarrds", storage_options=options, chunks={})
    xr.testing.assert_identical(ds.load(), DS)
    assert zarrds.open_group("reference://", storage_options=options)["v"][0, 1] == 1  # type: ignore[index]
    # two of them are told from each other by dask, though their URLs are the same
    zarrds.save(DS.assign(v=DS.v + 1), folder.with_name("other.zarr"), encoding={"v": {"chunks": (2, 5)}})
    other = {"fo": references(folder.with_name("other.zarr"))}
    both = [xr.open_dataset("reference://", engine="zarrds", storage_options=o, chunks={}) for o in (options, other)]
    assert both[0].v.data.name != both[1].v.data.name


def test_zip_files(folder: Path, tmp_path: Path) -> None:
    packed = zipped(folder)
    ds = xr.open_dataset(packed, engine="zarrds")
    xr.testing.assert_identical(pickle.loads(pickle.dumps(ds)).load(), DS)
    assert zarrds.verify(packed).ok
    xr.testing.assert_identical(xr.open_dataset(packed).load(), DS)  # type: ignore[arg-type]  # told by its name
    with pytest.raises(StoreNotFoundError):
        xr.open_dataset(tmp_path / "none.zarr.zip", engine="zarrds")
    (tmp_path / "bad.zip").write_text("no archive")
    with pytest.raises(StoreIOError, match="ZIP"):
        xr.open_dataset(tmp_path / "bad.zip", engine="zarrds")


def test_what_was_changed_is_read(folder: Path) -> None:
    store = zarr_memory(folder)
    ds = xr.open_dataset(store, engine="zarrds", cache=False)
    assert np.asarray(ds.v[0, 0]) == np.asarray(ds.v[0, 0]) == 0
    zarr.open_group(store, mode="r+")["v"][:] = 7.0
    assert float(ds.v[0, 0]) == 7


def test_every_function_takes_storage_options() -> None:
    for name in zarrds.__all__:
        function = getattr(zarrds, name)
        if inspect.isfunction(function) and "store" in inspect.signature(function).parameters:
            assert "storage_options" in inspect.signature(function).parameters, name


def test_icechunk_sessions() -> None:
    icechunk = pytest.importorskip("icechunk")
    repository = icechunk.Repository.create(icechunk.in_memory_storage())
    session = repository.writable_session("main")
    DS.drop_vars("s").to_zarr(session.store, consolidated=False)
    session.commit("first")
    for store in (session.store, repository.readonly_session("main").store):
        xr.testing.assert_identical(xr.open_dataset(store, engine="zarrds").load(), DS.drop_vars("s"))


def test_upaths(folder: Path) -> None:
    upath = pytest.importorskip("upath")
    for place in (in_memory(folder, "upaths"), str(folder), f"file://{folder}"):
        xr.testing.assert_identical(xr.open_dataset(upath.UPath(place), engine="zarrds").load(), DS)
