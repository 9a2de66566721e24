"""Arguments of wrong types: an error of zarrds that names the argument, and nothing is changed."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import zarrds
from zarrds.errors import EncodingError, ZarrdsError

WRONG = (5, 1.5, b"x", [1], {1: 2}, object(), np.array([1, 2]), (), "nonsense")
# by the name of an argument, wherever it is: what of that is right, and so not tried
RIGHT: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("group", "mode", "errors", "concat_dim", "variable"), ("nonsense",)),
    "path": ("nonsense", b"x"),  # of a file, bytes are told of too, as text that is wrong
    "names": ({1: 2}, [1], "nonsense", ()),
    **dict.fromkeys(("variables", "columns", "name", "delete", "attrs", "encoding"), ({1: 2}, [1], "nonsense", ())),
    **dict.fromkeys(("chunks", "shards", "sel", "isel", "attributes"), ({1: 2},)),
    **dict.fromkeys(("workers", "limit", "chunk_cache", "deflate"), (5,)),
    "missing_chunks": ("nonsense",),
    **dict.fromkeys(("codecs", "dimension_names"), ({1: 2}, [1], (), "nonsense")),
}
FLAGS = frozenset(
    "durable overwrite statistics compute write_empty_chunks count exists explain data metadata stored repair".split()
)
# by function: what is called with, beside the store
CALLS: Mapping[str, tuple[tuple[Any, ...], Mapping[str, Any]]] = {
    "aggregate": (("v", "mean"), {}),
    "convert": ((zarrds.MemoryStore(),), {}),
    "copy": ((zarrds.MemoryStore(),), {}),
    "create_array": ((), {"path": "new", "shape": (3,), "dtype": "i4"}),
    "create_group": ((), {"path": "new"}),
    "diff": ((xr.Dataset(),), {}),
    "drop_vars": (("v",), {}),
    "export": (("out.nc",), {}),
    "find": (("v > 1",), {}),
    "index": ((), {}),
    "info": ((), {}),
    "open_array": ((), {"path": "v"}),
    "open_group": ((), {}),
    "rechunk": ((zarrds.MemoryStore(),), {}),
    "rechunk_plan": ((), {}),
    "rename": (({"v": "w"},), {}),
    "report": (("out.html",), {}),
    "save": ((zarrds.MemoryStore(),), {}),
    "statistics": ((), {}),
    "update_attrs": (({"a": 1},), {}),
    "verify": ((), {}),
}


@pytest.fixture
def stored() -> zarrds.MemoryStore:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", [1, 2, 3])}), store)
    return store


@pytest.mark.parametrize("name", CALLS)
def test_wrong_types_are_told_by_name(
    name: str, stored: zarrds.MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    function: Callable[..., Any] = getattr(zarrds, name)
    positional, options = CALLS[name]
    first = xr.Dataset({"v": ("x", [1, 2, 3])}) if name == "save" else stored
    before = {key: stored.get(key) for key in stored.list_prefix()}
    names = list(inspect.signature(function).parameters)
    asked = [each for each in names[1:] if each in RIGHT or each in FLAGS]
    for argument in asked:
        for value in WRONG:
            if any(value is right or value == right for right in RIGHT.get(argument, ()) if type(value) is type(right)):
                continue
            if isinstance(value, tuple) and argument not in FLAGS:
                continue  # nothing, which is as good as none
            if argument in ("chunks", "shards") and "array" in name:
                continue
            arguments = dict(zip(names, (first, *positional), strict=False)) | dict(options) | {argument: value}
            with pytest.raises((ZarrdsError, TypeError)) as caught:
                function(**arguments)
            problem = str(caught.value)
            assert argument in problem or isinstance(caught.value, ZarrdsError), (argument, value, problem)
            assert type(caught.value).__module__ == "zarrds.errors", (argument, value, problem)
    assert {key: stored.get(key) for key in stored.list_prefix()} == before
    assert not os.listdir(tmp_path)


def test_a_group_that_is_no_text_is_told_where_a_dataset_is_opened(stored: zarrds.MemoryStore) -> None:
    for open_it in (xr.open_dataset, xr.open_datatree):
        with pytest.raises(TypeError, match="group is of a wrong type"):
            open_it(stored, engine="zarrds", group=5)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TypeError, match="drop_variables is of a wrong type"):
        xr.open_dataset(stored, engine="zarrds", drop_variables=5)  # type: ignore[arg-type]  # the same


@pytest.mark.parametrize("names", ["ab", ["ab"], ("ab",)])
def test_one_name_is_as_good_as_several(names: Any, tmp_path: Path) -> None:
    store = zarrds.MemoryStore()
    ds = xr.Dataset({name: ("x", [1, 2]) for name in ("a", "b", "ab")})
    zarrds.save(ds, store)
    zarrds.export(store, tmp_path / "a.nc", variables=iter(names) if isinstance(names, tuple) else names)
    assert set(xr.load_dataset(tmp_path / "a.nc", engine="netcdf4").variables) == {"ab"}
    for source in (store, ds):
        target = zarrds.MemoryStore()
        zarrds.rechunk(source, target, variables=names)
        assert set(xr.open_dataset(target, engine="zarrds").variables) == {"ab"}
    assert [each.path for each in zarrds.rechunk_plan(store, variables=names).arrays] == ["ab"]
    assert [each.name for each in zarrds.info(store, names).variables] == ["ab"]


@pytest.mark.parametrize("make", [zarrds.LocalStore, zarrds.RemoteStore])
@pytest.mark.parametrize("where", [5, None, b"a", ["a"], object()])
def test_stores_of_no_path(make: Any, where: Any) -> None:
    with pytest.raises(TypeError, match=r"(path|url) is of a wrong type"):
        make(where)


untyped: Any = zarrds  # what it is given below is wrong on purpose
INNER: dict[str, Callable[[Any, Path], object]] = {
    "append along text": lambda store, _: untyped.open_array(store, "r+", "v").append([1], axis="a"),
    "append along None": lambda store, _: untyped.open_array(store, "r+", "v").append([1], axis=None),
    "convert, chunks": lambda store, to: untyped.convert([store], to, chunks={"x": "q"}),
    "convert, encoding": lambda store, to: untyped.convert([store], to, encoding={"v": 3}),
    "rechunk, shards": lambda store, to: untyped.rechunk(store, to, shards={"x": "q"}),
    "rechunk, encoding": lambda store, to: untyped.rechunk(store, to, encoding={"v": None}),
    "rename to nothing": lambda store, _: untyped.rename(store, None),
    "no attributes": lambda store, _: untyped.update_attrs(store, None),
    "names that are none": lambda store, _: untyped.update_attrs(store, {}, delete=["a", 3]),
    "positions": lambda store, to: untyped.export(store, to, isel={"x": "q"}),
    "a file's name": lambda store, _: untyped.export(store, "\ud800"),
    "a page's name": lambda store, _: untyped.report(store, "a\0b"),
    "records": lambda _, to: untyped.create_array(to, shape=2, dtype={"x": "q"}),
    "dimensions to append along": lambda store, _: untyped.save(xr.Dataset({"v": ("x", [1])}), store, append_dim=["x"]),
    "a choice that is missing": lambda store, _: untyped.save(
        xr.Dataset({"v": ("x", [1])}), store, append_dim="x", on_overlap=pd.NA
    ),
    "a dtype of digits": lambda _, to: untyped.create_array(to, shape=2, dtype="9" * 5000),
}


@pytest.mark.parametrize("name", INNER)
def test_what_is_wrong_inside_of_an_argument(name: str, stored: zarrds.MemoryStore, tmp_path: Path) -> None:
    before = {key: stored.get(key) for key in stored.list_prefix()}
    with pytest.raises(ZarrdsError):
        INNER[name](stored, tmp_path / "to")
    assert {key: stored.get(key) for key in stored.list_prefix()} == before
    assert not os.listdir(tmp_path)


STRANGE = (pd.NA, np.array([1, 2]), np.array(1), [[1]], iter([1]))
OPENED = (
    *("decode_coords", "drop_variables", "use_zarr_fill_value_as_mask", "index", "phony_dims", "intervals", "group"),
    *("missing_chunks", "workers", "chunk_cache", "storage_options", "local_cache"),
)
SAVED = (
    *("on_overlap", "on_unordered", "zarr_format", "mode", "group", "compute", "workers", "progress", "encoding"),
    *("append_dim", "region", "chunks"),
)


@pytest.mark.parametrize("argument", OPENED)
def test_strange_options_of_opening(argument: str, stored: zarrds.MemoryStore) -> None:
    for value in STRANGE:
        if argument == "drop_variables" and not isinstance(value, list) and getattr(value, "shape", None) != ():
            continue  # names that there are not
        if argument in ("decode_coords", "workers", "chunk_cache") and getattr(value, "shape", None) == ():
            continue  # which is 1
        with pytest.raises(ZarrdsError):
            xr.open_dataset(stored, engine="zarrds", **{argument: value})


@pytest.mark.parametrize("argument", SAVED)
def test_strange_options_of_saving_change_nothing(argument: str, stored: zarrds.MemoryStore) -> None:
    before = {key: stored.get(key) for key in stored.list_prefix()}
    more = xr.Dataset({"v": ("x", [4])})
    for value in STRANGE:
        with pytest.raises(ZarrdsError):
            untyped.save(more, stored, **{"mode": "a", argument: value})
        with pytest.raises(ZarrdsError):
            untyped.save(more, stored, region={"x": value})
    assert {key: stored.get(key) for key in stored.list_prefix()} == before


@pytest.mark.parametrize("progress", [len, object, lambda: 0, lambda done: 0])
def test_functions_that_cannot_tell_progress(progress: Any, stored: zarrds.MemoryStore) -> None:
    target = zarrds.MemoryStore()
    for call in (
        lambda: zarrds.save(xr.Dataset({"v": ("x", [4])}), target, progress=progress),
        lambda: zarrds.diff(stored, stored, progress=progress),
    ):
        with pytest.raises(EncodingError, match="progress"):
            call()
    assert not list(target.list_prefix())


@pytest.mark.parametrize("store", [None, 5, b"x", [], {}, object, np.array(1), pd.NA])
def test_what_is_no_store(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, (positional, options) in CALLS.items():
        names = list(inspect.signature(getattr(zarrds, name)).parameters)
        arguments = dict(zip(names, (store, *positional), strict=False)) | dict(options)
        if name == "info" and store is None:
            continue  # which tells of this machine
        if name == "save":
            arguments = {"obj": xr.Dataset(), "store": store}
        with pytest.raises(ZarrdsError):
            getattr(zarrds, name)(**arguments)
    with pytest.raises(ZarrdsError):
        xr.open_dataset(store, engine="zarrds")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("wrong", [True, [True, 1], np.array([True, True]), b"ab", {2: 1, 1: 1}, {1, 2}, [2.0, 1]])
def test_what_is_no_sizes(wrong: Any, stored: zarrds.MemoryStore) -> None:
    ds = xr.Dataset({"v": (("x", "y"), np.zeros((4, 4)))})
    for key in ("chunks", "shards", "chunksizes"):
        with pytest.raises(EncodingError, match="is wrong") as caught:
            zarrds.save(ds, zarrds.MemoryStore(), encoding={"v": {key: wrong}})
        assert caught.value.key == "v"
    for argument in ("shape", "chunks", "shards"):
        arguments = {"shape": (4, 4), "dtype": "i1", "chunks": (1, 1), argument: wrong}
        with pytest.raises(EncodingError, match="must be integers"):
            untyped.create_array(zarrds.MemoryStore(), **arguments)
    for name in ("rechunk", "rechunk_plan"):
        with pytest.raises(EncodingError, match="an integer"):
            getattr(untyped, name)(stored, *[zarrds.MemoryStore()][: name == "rechunk"], chunks={"x": wrong})
    with pytest.raises(EncodingError, match="must be integers"):
        untyped.open_array(stored, "r+", "v").resize(wrong)


def test_a_path_of_zarr_python_is_its_store() -> None:
    store = zarr.storage.MemoryStore()
    group = zarr.create_group(store, path="g")
    group.create_array("v", shape=(2,), dtype="i4", dimension_names=["x"])
    opened = xr.open_dataset(zarr.open_group(store).store_path, engine="zarrds", group="g", mask_and_scale=False)
    assert opened.v.values.tolist() == [0, 0]
    with pytest.raises(EncodingError, match="group='g'"):
        xr.open_dataset(group.store_path, engine="zarrds")


def test_names_from_an_iterator(stored: zarrds.MemoryStore) -> None:
    array = untyped.create_array(stored, path="w", shape=(3,), dtype="i4", dimension_names=iter(["x"]))
    assert array.dimension_names == ("x",)
    with pytest.raises(EncodingError, match="name"):
        untyped.index(stored, name=iter([1]))
    for wrong in (np.array(1), [1], [[1]], pd.NA):
        with pytest.raises(EncodingError, match="name"):
            untyped.index(stored, name=wrong)
        with pytest.raises(ZarrdsError):
            untyped.aggregate(stored, "v", "mean", dim=wrong)
    for axis in (np.array([0, 0]), {}, pd.NA):
        with pytest.raises(ZarrdsError):
            untyped.open_array(stored, "r+", "v").append([1], axis=axis)
