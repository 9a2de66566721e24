"""Attributes come back with their types, documents are strictly valid JSON, and what cannot be kept is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import FORMATS, open_zarrds
from zarrds.metadata.attributes import ATTRIBUTES, plain_value, typed_attributes, with_attributes
from zarrds.metadata.extension import note_of, with_note
from zarrds.metadata.model import GroupMetadata

KEPT: dict[str, Any] = {
    "int8": np.int8(-3),
    "uint64": np.uint64(2**64 - 1),
    "float16": np.float16(0.1),
    "float32": np.float32(0.01),
    "bool": np.bool_(True),
    "nan": float("nan"),
    "inf": [float("inf"), -float("inf"), 1.0],
    "float32 nan": np.float32("nan"),
    "array": np.array([1, 2], "i1"),
    "array of two dimensions": np.arange(6, dtype="f4").reshape(2, 3),
    "array without elements": np.empty((0, 2), "i2"),
    "array with nan": np.array([1.0, np.nan, np.inf], "f4"),
    "texts": np.array(["a", "bcd"]),
    "bytes": b"Andr\xe9",
    "array of bytes": np.array([b"a", b"bc"]),
    "tuple": (1, (2.5, "x")),
    "list": [1, np.int16(2), b"x", None, True],
    "dict": {"a": {"b": np.float32(1.5)}, "c": (1, 2)},
    "keys": {1: "water", 2: "land", "1": "other"},
    "all keys": {True: 1, None: 2, 2.5: 3, b"x": 4, (1, 2): 5},
    "objects": np.array(["a", None, 1], object),
    "text of numpy": np.str_("x"),
    "StringDType": np.array([["a", "bcd"]], np.dtypes.StringDType()),
    "complex": 1 + 2j,
    "complex numbers": np.array([[1j, complex("nan")]], "c8"),
    "date": np.datetime64("2000-01-02"),
    "times": np.array(["2000-01-01T00:00:00.123456789", "NaT"], "M8[ns]"),
    "duration": np.timedelta64(5, "D"),
    "durations": np.array([1, 2], "m8[10us]"),
    "no time": np.datetime64("NaT", "s"),
    "nested times": {"a": [np.datetime64("2000"), (np.complex64(1j),)], np.datetime64("2001"): 1},
    "large": 2**70,
    "_ncpus": 4,
    "_NCEI_id": "x",
    "plain": {"a": [1, 2.5, "x", None, False]},
}


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same, types and all."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and same(one.tolist(), other.tolist())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one), list(other)) and all(same(value, other[key]) for key, value in one.items())
    return bool(one == other) or (one != one and other != other)


def strict(path: Path) -> None:
    for file in path.rglob("*"):
        if file.name in ("zarr.json", ".zarrds.json", ".zattrs", ".zarray", ".zgroup", ".zmetadata"):
            json.loads(file.read_text(), parse_constant=lambda text: pytest.fail(text))


@pytest.mark.one_in(4)
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("name", KEPT)
def test_attributes_come_back(path: Path, name: str, zarr_format: int) -> None:
    value = KEPT[name]
    below = xr.Dataset({"v": ("x", [1.0], {name: value})}, {"x": ("x", [1], {name: value})}, {name: value})
    tree = xr.DataTree.from_dict({"/": below, "/a": below.drop_vars("x")})
    zarrds.save(tree, path, zarr_format=zarr_format)
    strict(path)
    for _ in range(2):
        found = xr.open_datatree(path, engine="zarrds")
        for node in (found, found["a"]):
            for attrs in (node.attrs, node["v"].attrs, node["x"].attrs):
                assert same(attrs[name], value), (attrs[name], value)
        zarrds.save(found.load(), path, mode="w", zarr_format=zarr_format)
    if not name.startswith("_"):
        assert name in xr.open_dataset(path, engine="zarr", decode_times=False).v.attrs


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        object(),
        pd.Timestamp("2000"),
        np.longdouble(1.5),
        [{1}],
        {(1, object()): 1},
        np.ma.masked,
        np.ma.array([1, 2], mask=[False, True]),
    ],
)
@pytest.mark.parametrize("where", ["group", "variable", "coordinate"])
def test_what_cannot_be_kept_is_refused_by_name(path: Path, value: Any, where: str) -> None:
    attrs = {"odd": value}
    ds = xr.Dataset(
        {"v": ("x", [1.0], attrs if where == "variable" else {})},
        {"x": ("x", [1], attrs if where == "coordinate" else {})},
        attrs if where == "group" else {},
    )
    with pytest.raises(zarrds.errors.EncodingError, match="'odd'"):
        zarrds.save(ds, path)
    assert not path.exists()


@pytest.mark.parametrize("keys", [{b"a": 1}, {(1, 2): 1}, {None: 1, True: 2}, {np.int8(1): 1}], ids=str)
def test_attributes_with_keys_of_any_kind_are_edited(path: Path, keys: Any) -> None:
    zarrds.save(xr.Dataset({"v": ("x", [1.0], {"odd": keys})}, attrs={"odd": keys}), path)
    for variable in (None, "v"):
        zarrds.update_attrs(path, {"title": "x"}, variable)
        zarrds.update_attrs(path, {"long": np.arange(5000), "other": keys}, variable)
        zarrds.update_attrs(path, {"long": np.arange(5000) % 4999}, variable, delete=["title"])
    back = open_zarrds(path)
    for attrs in (back.attrs, back.v.attrs):
        assert same(attrs, {"odd": keys, "long": np.arange(5000) % 4999, "other": keys})
    assert "odd" in str(zarrds.info(path))


def test_notes_that_are_stale_or_hostile() -> None:
    node = with_attributes(GroupMetadata(), {"a": np.int8(3), "b": (1, 2)})
    changed = GroupMetadata({"a": 300, "b": [1, 2, 3]}, node.extensions)
    assert same(typed_attributes(changed), {"a": 300, "b": (1, 2, 3)})
    for note in (
        3, [], {"a": 3}, {"a": {}}, {"a": {"kind": "numbers"}}, {"a": {"kind": "numbers", "dtype": "object"}},
        {"a": {"kind": "objects", "shape": [2**40]}}, {"a": {"kind": "numbers", "dtype": "int8", "shape": [5]}},
        {"a": {"kind": "bytes", "value": "!"}}, {"a": {"kind": "dict", "items": {}, "keys": []}},
        {"a": {"kind": "others", "dtype": "object", "value": "AAAA"}}, {"a": {"kind": "complex", "value": "q"}},
        {"a": {"kind": "others", "dtype": "datetime64[q]", "value": "AAAA"}}, {"a": {"kind": "complex", "value": "3"}},
        {"a": {"kind": "tuple", "items": {}}}, {"a": {"kind": "numbers", "dtype": "float64", "value": "AAAA"}},
    ):  # fmt: skip
        assert same(typed_attributes(with_note(node, ATTRIBUTES, note))["a"], 3)
    assert note_of(with_attributes(node, {"c": 1}), ATTRIBUTES) is None


@pytest.mark.filterwarnings("ignore:saving variable")
def test_types_survive_from_netcdf_to_netcdf(tmp_path: Path) -> None:
    types = {f"a_{t}": np.array([1, 2], t) for t in ("i1", "u1", "i2", "i4", "i8", "u8", "f4", "f8")}
    types |= {f"s_{t}": np.dtype(t).type(3) for t in ("i1", "u1", "i2", "i4", "i8", "u8", "f4", "f8")}
    texts: dict[str, Any] = {"text": "K", "texts": ["a", "bc"]}
    ds = xr.Dataset({"v": ("x", np.array([1, 2], "i2"), {**types, **texts, "scale_factor": np.float32(0.01)})})
    ds.attrs = {**types, **texts}
    ds.to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as opened:
        zarrds.save(opened, tmp_path / "b.zarr")
        again = open_zarrds(tmp_path / "b.zarr")
        assert again.v.dtype == opened.v.dtype == np.float32
        again.to_netcdf(tmp_path / "c.nc")
    with netCDF4.Dataset(tmp_path / "a.nc") as one, netCDF4.Dataset(tmp_path / "c.nc") as other:
        for first, second in ((one, other), (one["v"], other["v"])):
            assert first.ncattrs() == second.ncattrs()
            for name in first.ncattrs():
                a, b = first.getncattr(name), second.getncattr(name)
                assert type(a) is type(b)
                assert getattr(a, "dtype", None) == getattr(b, "dtype", None)
        assert one["v"].dtype == other["v"].dtype


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_undecoded_markers_that_mark_nothing(path: Path, zarr_format: int) -> None:
    attrs = {"_FillValue": np.float64("nan"), "scale_factor": 0.5}
    ds = xr.Dataset({"v": ("x", np.array([1, 2], "i2"), attrs)})
    zarrds.save(ds, path, zarr_format=zarr_format)
    strict(path)
    found = open_zarrds(path, mask_and_scale=False).load()
    assert found.v.values.tolist() == [1, 2]
    assert same(dict(sorted(found.v.attrs.items())), attrs)
    assert xr.open_dataset(path, engine="zarr", mask_and_scale=False).v.values.tolist() == [1, 2]


def test_changed_attributes_keep_their_types(path: Path) -> None:
    zarrds.save(xr.Dataset({"v": ("x", [1.0], {"a": np.int8(1), "b": (1, 2)})}, attrs={"a": np.int8(1)}), path)
    zarrds.update_attrs(path, {"a": np.float32(0.1), "c": b"x"}, "v")
    zarrds.update_attrs(path, {"c": np.int16(5)})
    found = open_zarrds(path)
    assert same(found.v.attrs, {"a": np.float32(0.1), "b": (1, 2), "c": b"x"})
    assert same(found.attrs, {"a": np.int8(1), "c": np.int16(5)})
    zarrds.save(xr.Dataset({"w": ("x", [2.0])}, attrs={"d": np.int8(7)}), path, mode="a")
    assert same(open_zarrds(path).attrs, {"a": np.int8(1), "c": np.int16(5), "d": np.int8(7)})


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3)
    | st.sampled_from(["i1", "u2", "i8", "f4", "f8", "?"]).map(lambda t: np.dtype(t).type(1))
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2) | st.integers(0, 3) | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(VALUES)
def test_any_value(value: Any) -> None:
    node = with_attributes(GroupMetadata(), {"a": value})
    text = json.dumps([node.attributes, dict(node.extensions)], allow_nan=False)
    attributes, extensions = json.loads(text)
    assert same(typed_attributes(GroupMetadata(attributes, extensions))["a"], value)
    assert json.dumps(plain_value(value), allow_nan=False) == json.dumps(attributes["a"])
