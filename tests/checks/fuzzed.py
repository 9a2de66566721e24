"""Stores whose documents were changed at random, and all that is done with a store, in search of errors not ours."""

from __future__ import annotations

import copy
import json
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import zarrds
from zarrds import MemoryStore
from zarrds.errors import ZarrdsError

Choose = Callable[[Sequence[Any]], Any]
Documents = dict[str, bytes]

SECONDS = 30  # for what takes milliseconds: others may be at work on the machine
NAMES = ("zarr.json", ".zarrds.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
# sizes are small, or more than any machine has: those between are for test_sizes, in a process of little memory
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 5, 7, 2**62, 2**63, 10**30, -(2**63), 0.5, -0.0, 1e300, float("nan"),
    float("inf"), "", " ", "x", "y", "t", "nan", "NaN", "Infinity", "0x7fc00000", "AAAA", "a" * 3000, "\0", "a\0b",
    "\ud800", "../x", "/", ".", "é", "int8", "float64", "string", "bool", "<M8[ns]", "<m8[D]", "|O", "|S2", "<U1",
    "datetime64[ns]", "timedelta64[s]", "period[M]", "category", "days since 2000-01-01", "hours", "months",
    "parsecs since the fall", "days since 99999-13-45", "noleap", "360_day", "mayan", "x y", "x: y z: v", "default",
    [], {}, [[]], [None], [0], [1], [-1], [1, 2, 3], [0.5], ["x"], ["x", "y"], ["x", "x"], [2**62], [{}], [["a", "i4"]],
    {"x": 1}, {"name": "x"}, {"id": "x"}, {"name": "bytes"}, {"configuration": {}}, {"": ""},
    {"name": "blosc", "configuration": None}, {"dtype": "category"}, {"must_understand": True},
]  # fmt: skip
NAMES_OF_MEMBERS: list[str] = [
    "units", "calendar", "_FillValue", "missing_value", "scale_factor", "add_offset", "dtype", "_Unsigned", "bounds",
    "coordinates", "grid_mapping", "formula_terms", "cell_measures", "_ARRAY_DIMENSIONS", "_Encoding", "flag_values",
    "ancillary_variables", "climatology", "dimension_names", "storage_transformers", "attributes", "zarrds", "order",
    "filters", "dimension_separator", "char_dim_name", "_NCZARR_ARRAY", "index", "",
]  # fmt: skip


def _kinds() -> xr.Dataset:
    index = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["s", "n"])
    coords = xr.Coordinates.from_pandas_multiindex(index, "m")
    return xr.Dataset(
        {
            "v": (("t", "x"), np.arange(12.0).reshape(3, 4)),
            "w": ("m", np.arange(4)),
            "cat": ("x", pd.Categorical(["p", "q", None, "q"])),
            "null": ("x", pd.array([1, None, 3, 4], dtype="Int16")),
        },
        {
            "t": pd.date_range("2000-01-01", periods=3, tz="Europe/London"),
            "x": np.array([10, 20, 30, 40]),
            "i": pd.interval_range(0, 3),
            "p": pd.period_range("2000-01", periods=3, freq="M"),
            "r": pd.RangeIndex(5, 9),
            **coords,
        },
    )


def _times() -> xr.Dataset:
    bounds = pd.date_range("2000-01-01", periods=4).values
    return xr.Dataset(
        {
            "v": (("t", "x"), np.arange(6.0).reshape(3, 2), {"grid_mapping": "crs", "coordinates": "lat"}),
            "crs": ((), 0, {"grid_mapping_name": "latitude_longitude"}),
            "since": ("x", np.array([1, 2], "m8[s]")),
            "t_bounds": (("t", "nv"), np.stack([bounds[:-1], bounds[1:]], 1)),
        },
        {
            "t": ("t", bounds[:-1], {"bounds": "t_bounds", "axis": "T"}),
            "far": ("far", xr.date_range("2000-02-28", periods=3, calendar="noleap", use_cftime=True)),
            "lat": ("x", [1.5, 2.5], {"units": "degrees_north"}),
        },
    )


def _packed() -> xr.Dataset:
    return xr.Dataset(
        {
            "packed": (("t", "x"), np.array([[0.5, np.nan], [1.5, 2]])),
            "flag": ("x", [True, False]),
            "text": ("x", np.array(["aa", "b"], dtype=object)),
            "fixed": ("x", np.array(["aa", "b"])),
            "raw": ("x", np.array([b"aa", b"b"])),
            "z": ("x", np.array([1 + 1j, 2])),
        },
        {"t": [1, 2], "x": ["one", "two"]},
        {"title": "t", "n": np.int16(3)},
    )


def _tree() -> xr.DataTree:
    labelled = xr.Dataset({"v": ("x", [1.0, 2])}, {"x": [1, 2]})
    parts = {
        "/": labelled,
        "/a": labelled * 2,
        "/a/b": xr.Dataset({"u": ("y", np.arange(3))}, {"y": [*"abc"]}),
        "/c": xr.Dataset(),
    }
    return xr.DataTree.from_dict(parts)


_SHARDS = {"v": {"chunks": (1, 2), "shards": (2, 4)}}
_PACKING = {"packed": {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -1}, "fixed": {"dtype": "S1"}}
MADE: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "kinds": (_kinds, {}),
    "times": (_times, {}),
    "packed": (_packed, _PACKING),
    "tree": (_tree, {}),
    "shards": (lambda: _kinds()[["v", "t", "x"]], _SHARDS),
}


@cache
def saved(name: str, zarr_format: Any) -> tuple[MemoryStore, Any]:
    """A store that is whole, and what it was made from."""
    make, encoding = MADE[name]
    store, data = MemoryStore(), make()
    if name == "shards" and zarr_format == 2:
        encoding = {"v": {"chunks": (1, 2)}}
    if isinstance(data, xr.DataTree):
        zarrds.save(data, store, zarr_format=zarr_format)
    else:
        zarrds.save(data, store, zarr_format=zarr_format, encoding=encoding)
        for coordinate in ("t", "x"):
            _attempt(lambda coordinate=coordinate: zarrds.index(store, coordinate))
    return store, data


def places(document: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to a document and to every member of it."""
    yield where
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for name, value in list(inner):
        yield from places(value, (*where, name))


def at(document: Any, where: tuple[Any, ...]) -> Any:
    for part in where:
        document = document[part]
    return document


def change(document: Any, choose: Choose) -> Any:
    """A document with one change anywhere in it."""
    document = copy.deepcopy(document)
    ways = list(places(document))
    where = choose(ways)
    how = choose(["replace", "replace", "delete", "swap", "add", "nest", "repeat"])
    if not where:
        return choose(ODD) if how == "replace" else document
    *above, name = where
    parent = at(document, tuple(above))
    value = parent[name]
    if how == "replace":
        parent[name] = choose(ODD)
    elif how == "delete":
        del parent[name]
    elif how == "swap":
        *above_other, other = choose(ways[1:])
        elsewhere = at(document, tuple(above_other))
        parent[name], elsewhere[other] = copy.deepcopy(elsewhere[other]), copy.deepcopy(value)
    elif how == "add" and isinstance(value, dict):
        value[choose(NAMES_OF_MEMBERS)] = choose(ODD)
    elif how == "nest":
        for _ in range(choose([1, 2, 60, 400])):
            value = [value]
        parent[name] = value
    elif isinstance(value, list):
        value += value * choose([1, 2, 70])
    return document


def fuzzed(name: str, zarr_format: Any, choose: Choose) -> tuple[MemoryStore, list[str]]:
    """A store of which one to three documents were changed, and their keys."""
    whole, _ = saved(name, zarr_format)
    values = {key: bytes(whole.get(key) or b"") for key in whole.list_prefix()}
    documents = sorted(key for key in values if key.rpartition("/")[2] in NAMES)
    if not choose([True, True, False]):  # documents are read one by one then
        _without_consolidated(values)
        documents = [key for key in documents if key in values]
    changed = [choose(documents) for _ in range(choose([1, 1, 2, 3]))]
    for key in changed:
        if key not in values:
            continue
        if choose([False] * 15 + [True]):
            del values[key]
        else:
            values[key] = json.dumps(change(json.loads(values[key]), choose)).encode()
    store = MemoryStore()
    for key, value in values.items():
        store.set(key, value)
    return store, changed


def _without_consolidated(values: Documents) -> None:
    values.pop(".zmetadata", None)
    if "zarr.json" in values:
        root = json.loads(values["zarr.json"])
        root.pop("consolidated_metadata", None)
        values["zarr.json"] = json.dumps(root).encode()


def _walk(group: zarrds.Group) -> None:
    group.tree()
    for _, array in group.arrays():
        repr(array)
        len(array.attrs)
        _attempt(lambda array=array: array[...])
    for _, child in group.groups():
        _walk(child)


def _append(store: MemoryStore, data: Any) -> None:
    for dim in ("t", "x"):
        if not isinstance(data, xr.DataTree) and dim in data.dims:
            _attempt(lambda dim=dim: zarrds.save(data, store, append_dim=dim))


def _edit(store: MemoryStore) -> None:
    _attempt(lambda: zarrds.update_attrs(store, {"title": "new"}))
    _attempt(lambda: zarrds.rename(store, {"v": "renamed"}))
    _attempt(lambda: zarrds.drop_vars(store, ["x"]))


STEPS: dict[str, Callable[[MemoryStore, Any], Any]] = {
    "open": lambda store, _: xr.open_dataset(store, engine="zarrds").load(),
    "open lazily": lambda store, _: repr(xr.open_dataset(store, engine="zarrds", index="lazy")),
    "open as stored": lambda store, _: xr.open_dataset(store, engine="zarrds", decode_cf=False).load(),
    "tree": lambda store, _: xr.open_datatree(store, engine="zarrds").load(),
    "group": lambda store, _: _walk(zarrds.open_group(store)),
    "info": lambda store, _: repr(zarrds.info(store)),
    "verify": lambda store, _: str(zarrds.verify(store)),
    "append": _append,
    "append 'a'": lambda store, data: zarrds.save(data, store, mode="a"),
    "region": lambda store, data: zarrds.save(data, store, mode="r+"),
    "edit": lambda store, _: _edit(store),
    "repair": lambda store, _: str(zarrds.verify(store, repair=True)),
    "open again": lambda store, _: xr.open_dataset(store, engine="zarrds").load(),
    "overwrite": lambda store, data: zarrds.save(data, store, mode="w"),
}


def _attempt(step: Callable[[], Any]) -> None:
    try:
        step()
    except ZarrdsError as error:
        str(error)


class Hanging(BaseException):
    """A step takes so long that it may never end; nothing catches this."""


def _limited(signum: int, frame: object) -> None:
    raise Hanging


def do_all(store: MemoryStore, data: Any, steps: Sequence[str] = tuple(STEPS)) -> None:
    """All that one does with a store, each for `SECONDS` at most; any error but ours comes out."""
    before = signal.signal(signal.SIGALRM, _limited)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in steps:
                signal.alarm(SECONDS)
                try:
                    _attempt(lambda name=name: STEPS[name](store, data))
                except BaseException as error:
                    error.add_note(f"while doing: {name}")
                    raise
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
