"""Attributes that decoders go by, where they say nothing of how the data is stored: they come back, and do nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.same import assert_same
from tests.datasets.samples import open_zarrds
from zarrds.errors import EncodingError

DATA: dict[str, Any] = {
    "floats": np.array([1.5, 0.0, 2.0]),
    "integers": np.array([1, 0, 7]),
    "bytes of 0 to 2": np.array([1, 0, 2], "i1"),
    "booleans": np.array([True, False, True]),
    "text": np.array(["a", "b", "c"], object),
    "fixed text": np.array(["a", "bc", "c"]),
    "StringDType": np.array(["a", "b", "c"], np.dtypes.StringDType()),
    "bytes": np.array([b"a", b"bc", b"c"]),
    "complex numbers": np.array([1 + 2j, 0, 1]),
    "times": np.array([1, 2, 3], "M8[s]"),
    "timedeltas": np.array([1, 2, 3], "m8[ms]"),
    "objects": np.array([True, None, False], object),
    "categories": pd.Categorical(["a", "b", "a"]),
    "nullable": pd.array([1, None, 2], "Int64"),
}
ALL = tuple(DATA)
NUMBERS = ("floats", "integers", "bytes of 0 to 2")
IDLE: list[tuple[str, Any, tuple[str, ...]]] = [
    ("dtype", "bool", ALL),
    ("dtype", "float32", ALL),
    ("dtype", None, ALL),
    ("_Unsigned", "maybe", ALL),
    ("_Unsigned", True, ALL),
    ("_Unsigned", "true", tuple(n for n in ALL if n not in NUMBERS or n == "floats")),
    ("_Encoding", "utf-8", tuple(n for n in ALL if n != "bytes")),
    ("_Encoding", "no such thing", ALL),
    ("scale_factor", "0.1", ALL),
    ("scale_factor", 2.0, tuple(n for n in ALL if n not in NUMBERS)),
    ("add_offset", [1.0, 2.0], ALL),
    ("_FillValue", None, ALL[:-3]),
    ("scale_factor", 1.0, ALL),
    ("add_offset", np.float32(0), ALL),
    ("_FillValue", np.nan, ("complex numbers",)),
    ("missing_value", None, ALL),
    ("missing_value", "q", ("floats", "integers", "booleans", "times", "bytes", "complex numbers")),
    ("_FillValue", 1, ("booleans", "times", "timedeltas", "text", "fixed text", "StringDType")),
    ("_FillValue", [1, 2], (*NUMBERS, "text", "bytes", "times")),
    ("_FillValue", np.nan, ("integers", "booleans", "times")),
    ("units", "days since 2000-01-01", ("booleans", "text", "bytes", "categories", "nullable", "objects")),
    ("_ARRAY_DIMENSIONS", ["q"], ALL),
    ("_NCProperties", "version=2", ALL),
    ("_nczarr_attr", {"types": {}}, ALL),
]


@pytest.mark.one_in(3)
@pytest.mark.parametrize(("attribute", "value", "kinds"), IDLE, ids=lambda v: None if isinstance(v, tuple) else str(v))
def test_what_says_nothing_of_the_data_changes_nothing(attribute: str, value: Any, kinds: tuple[str, ...]) -> None:
    saved = xr.Dataset({name: (name, DATA[name], {attribute: value, "title": "kept"}) for name in kinds})
    saved = saved.rename({name: f"{name}_" for name in kinds}).rename_dims({f"{name}_": name for name in kinds})
    for zarr_format in (2, 3):
        store = zarrds.MemoryStore()
        zarrds.save(saved, store, zarr_format=zarr_format)  # type: ignore[arg-type]  # an int in a loop
        assert_same(saved, xr.open_dataset(store, engine="zarrds"))
        undecoded = xr.open_dataset(store, engine="zarrds", decode_cf=False)
        assert all(attribute in variable.attrs for variable in undecoded.data_vars.values() if variable.attrs)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_global_attribute_coordinates_names_nothing(zarr_format: Any) -> None:
    attributes = {"coordinates": "v of some kind", "_NCProperties": "version=2", "_ARRAY_DIMENSIONS": "none"}
    saved = xr.Dataset({"v": ("x", [1.0, 2.0])}, {"lat": 1.0, "a b": 2.0}, attrs=attributes)
    store = zarrds.MemoryStore()
    zarrds.save(saved, store, zarr_format=zarr_format)
    assert_same(saved, xr.open_dataset(store, engine="zarrds"))
    more = xr.Dataset({"w": ("x", [1.0, 2.0])}, attrs={"coordinates": "w"})
    zarrds.save(more, store, mode="a")
    back = xr.open_dataset(store, engine="zarrds")
    assert set(back.data_vars) == {"v", "w"}
    assert back.attrs == {**attributes, "coordinates": "w"}
    zarrds.update_attrs(store, {"title": "t"})
    assert xr.open_dataset(store, engine="zarrds").attrs == {**back.attrs, "title": "t"}


def test_of_a_tree_each_group_has_its_own() -> None:
    tree = xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs={"coordinates": "x"}), "/a/b": xr.Dataset({"v": 1}, attrs={"coordinates": "v"})}
    )
    store = zarrds.MemoryStore()
    zarrds.save(tree, store)
    assert xr.open_datatree(store, engine="zarrds").identical(tree)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_is_noted_of_a_group_stays_when_it_grows(zarr_format: Any) -> None:
    attributes = {"flags": np.array([1, 2], "i1"), "coordinates": "of Mars"}
    saved = xr.Dataset({"v": ("x", [1.5])}, attrs=attributes)
    for group in ("", "a/b"):
        store = zarrds.MemoryStore()
        zarrds.save(saved, store, group=group, zarr_format=zarr_format)
        zarrds.save(saved.drop_attrs().assign_attrs(title="t"), store, group=group, append_dim="x")
        both = xr.concat([saved, saved], "x").assign_attrs(attributes, title="t")
        assert_same(both, xr.open_dataset(store, engine="zarrds", group=group))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_name_of_a_marker_of_text(zarr_format: Any) -> None:
    saved = xr.Dataset({"v": ("x", np.array(["a", "none"], object), {"_FillValue": "none"})})
    store = zarrds.MemoryStore()
    zarrds.save(saved, store, zarr_format=zarr_format)
    assert_same(saved, xr.open_dataset(store, engine="zarrds", decode_cf=False))
    back = xr.open_dataset(store, engine="zarrds")
    assert back.v.encoding["_FillValue"] == "none"
    assert "missing_value" not in back.v.encoding
    assert pd.isna(back.v.values[1])
    zarrds.save(back.assign_attrs(title="t"), store, mode="a")
    assert_same(saved, xr.open_dataset(store, engine="zarrds", decode_cf=False).drop_attrs(deep=False))


def test_other_markers_have_the_dtype_of_the_data() -> None:
    saved = xr.Dataset({"v": ("x", np.array([1, 2], "f4"), {"_FillValue": np.float32(1e20)})})
    store = zarrds.MemoryStore()
    zarrds.save(saved, store)
    assert_same(saved, xr.open_dataset(store, engine="zarrds", decode_cf=False))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("chunks", [None, {}])
def test_nan_as_the_marker_of_undecoded_floats_is_decoded(tmp_path: Path, zarr_format: Any, chunks: Any) -> None:
    written = xr.Dataset({"v": ("x", np.array([1.5, np.nan], "f4")), "w": ("x", [1.0, np.nan])}, {"x": [0.5, 1.5]})
    written.w.encoding["missing_value"] = np.nan  # as CDO writes it
    written.to_netcdf(tmp_path / "a.nc")
    store = zarrds.MemoryStore()
    with xr.open_dataset(tmp_path / "a.nc", decode_cf=False, chunks=chunks) as undecoded:
        assert "_FillValue" in undecoded.v.attrs
        zarrds.save(undecoded, store, zarr_format=zarr_format)
        assert_same(undecoded.load(), xr.open_dataset(store, engine="zarrds", decode_cf=False))
    assert_same(written, xr.open_dataset(store, engine="zarrds"))
    xr.open_dataset(store, engine="zarrds").to_netcdf(tmp_path / "b.nc")  # which has each key once


def test_what_raster_files_say_of_values_that_are_not_packed(tmp_path: Path) -> None:
    attributes = {"scale_factor": 1.0, "add_offset": 0.0, "_FillValue": np.nan}
    saved = xr.Dataset(
        {"v": ("x", np.array([1.5, np.nan], "f4"), attributes), "n": ("x", np.int16([1, 2]), attributes)}
    )
    zarrds.save(saved, tmp_path / "a.zarr")
    back = xr.open_dataset(tmp_path / "a.zarr", engine="zarrds")
    assert_same(saved, back)
    back.drop_vars("n").to_netcdf(tmp_path / "a.nc")  # which has each key once


def test_what_replaces_a_variable_brings_its_own() -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", [1.5], {"dtype": "bool", "title": "old"})}), store)
    new = xr.Dataset({"v": ("x", [2.5], {"_Encoding": "utf-8"})})
    zarrds.save(new, store, mode="a")
    assert_same(new, xr.open_dataset(store, engine="zarrds"))


@pytest.mark.parametrize("values", [pd.array([4, None], "Int64"), np.array([4, None], object), np.array([4, 2])])
def test_what_replaces_nullable_numbers_is_not_decoded_as_others(values: Any) -> None:
    """By a unit of its own: times were read, or nothing at all."""
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", pd.array([1, None], "Int64"))}), store)
    new = xr.Dataset({"v": ("x", values, {"units": "days since 2001-01-01"})})
    zarrds.save(new, store, mode="a")
    found = xr.open_dataset(store, engine="zarrds").v
    assert found.attrs == new.v.attrs
    assert found.dtype == "Int64"
    assert pd.isna(found.data).tolist() == pd.isna(values).tolist()
    assert found.data.dropna().tolist() == [value for value in values if not pd.isna(value)]


@pytest.mark.filterwarnings("ignore:variable .* is a dask array")
@pytest.mark.parametrize("is_lazy", [False, True])
def test_undecoded_times_in_the_place_of_objects_of_which_none_was(is_lazy: bool) -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", np.array([None, None], object))}), store)
    new = xr.Dataset({"v": ("x", np.array([4, 2]), {"units": "days since 2001-01-01"})})
    zarrds.save(new.chunk(x=1) if is_lazy else new, store, mode="a")
    xr.testing.assert_equal(xr.open_dataset(store, engine="zarrds"), xr.decode_cf(new))


def test_what_marks_the_missing_among_objects_is_not_the_users_to_say() -> None:
    saved = xr.Dataset({"v": ("x", pd.array([1, None], "Int64"), {"_FillValue": 7})})
    with pytest.raises(EncodingError, match="'_FillValue' says what is missing"):
        zarrds.save(saved, zarrds.MemoryStore())


ZONED = pd.date_range("2000-01-01", periods=3, tz="Europe/Berlin")


@pytest.mark.parametrize(
    "saved",
    [
        xr.Dataset({"v": ("x", [1, 2, 3])}, {"x": ZONED}).drop_indexes("x"),
        xr.Dataset({"v": ("x", [1, 2, 3])}, {"c": ("x", ZONED)}),
        xr.Dataset({"v": ("x", ZONED)}),
        xr.Dataset({"v": ("x", np.array(ZONED.astype(object)))}),
        xr.Dataset({"v": (("x", "y"), np.array(ZONED.astype(object)).reshape(1, 3))}),
    ],
    ids=["without its index", "another coordinate", "data", "objects", "objects of two dimensions"],
)
def test_times_with_a_zone_without_an_index(saved: xr.Dataset, tmp_path: Path) -> None:
    zarrds.save(saved, tmp_path / "a.zarr")
    assert_same(saved, xr.open_dataset(tmp_path / "a.zarr", engine="zarrds"))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_of_no_timedeltas_the_unit_stays(unit: str) -> None:
    empty = np.array([], f"m8[{unit}]")
    saved = xr.Dataset({"v": ("x", empty), "t": ("x", empty.astype(f"M8[{unit}]"))}, {"x": empty, "c": ("x", empty)})
    store = zarrds.MemoryStore()
    zarrds.save(saved, store)
    assert_same(saved, xr.open_dataset(store, engine="zarrds"))
    more = xr.Dataset(
        {"v": ("x", np.array([1], empty.dtype)), "t": ("x", np.array([1], f"M8[{unit}]"))},
        {"x": np.array([1], empty.dtype), "c": ("x", np.array([1], empty.dtype))},
    )
    zarrds.save(more.chunk(), store, append_dim="x")  # whose units cannot be changed any more
    assert_same(more, xr.open_dataset(store, engine="zarrds"))
    assert xr.open_dataset(store, engine="zarrds").v.isel(x=slice(0, 0)).load().dtype == empty.dtype


def test_they_can_be_edited() -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", [1.5], {"dtype": "bool", "_Encoding": "utf-8"})}), store)
    zarrds.update_attrs(store, {"dtype": "float"}, "v", delete="_Encoding")
    assert xr.open_dataset(store, engine="zarrds").v.attrs == {"dtype": "float"}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_attributes_of_a_multi_index_and_its_levels(zarr_format: Any) -> None:
    def part(first: int) -> xr.Dataset:
        index = pd.MultiIndex.from_arrays([[first, first + 1], ["a", "b"]], names=["number", "letter"])
        made = xr.Dataset({"v": ("x", [1, 2])}, xr.Coordinates.from_pandas_multiindex(index, "x"))
        made.x.attrs, made.number.attrs = {"long_name": "both", "scale_factor": 1.0}, {"add_offset": 0.0}
        return made

    zarrds.save(part(0), store := zarrds.MemoryStore(), zarr_format=zarr_format)
    assert_same(part(0), xr.open_dataset(store, engine="zarrds"))
    zarrds.save(part(2), store, append_dim="x")
    back = xr.open_dataset(store, engine="zarrds")
    assert (back.x.attrs, back.sizes["x"]) == (part(0).x.attrs, 4)


def test_attributes_apart_are_compared() -> None:
    store = zarrds.MemoryStore()
    ds = xr.Dataset({"v": ("x", ["a", "b"], {"units": "days since 2000-01-01"})})
    zarrds.save(ds, store)
    found = xr.open_dataset(store, engine="zarrds").load()
    zarrds.save(found, store, append_dim="x")
    assert xr.open_dataset(store, engine="zarrds").v.attrs == ds.v.attrs
    with pytest.raises(zarrds.errors.LabelError, match="units"):
        zarrds.save(found.assign(v=("x", ["c"], {"units": "K"})), store, append_dim="x")


@pytest.mark.parametrize("value", [5, True, None, ["a", "lat"], [], {"a": 1}, np.array([1, 2])])
@pytest.mark.parametrize("key", ["coordinates", "grid_mapping", "bounds", "formula_terms", "dtype", "_Encoding"])
def test_attributes_that_name_nothing(key: str, value: Any) -> None:
    """What is no text where CF has names: as an attribute it is the user's, as an encoding it means nothing."""
    lat = {"t": [0, 1], "lat": ("t", [5.0, 6.0])}
    own = xr.Dataset({"v": ("t", [1.0, 2.0], {key: value})}, lat)
    carried = xr.Dataset({"v": ("t", [1.0, 2.0], {}, {key: value})}, lat)
    for ds in (own,) if key in ("dtype", "_Encoding") else (own, carried):
        store = zarrds.MemoryStore()
        zarrds.save(ds, store)
        found = xr.open_dataset(store, engine="zarrds").load()
        assert set(found.coords) == {"t", "lat"}
        xr.testing.assert_identical(found, ds)
        again = zarrds.MemoryStore()
        zarrds.save(found, again)
        xr.testing.assert_identical(xr.open_dataset(again, engine="zarrds").load(), ds)
        zarrds.save(found.assign_coords(t=[2, 3]), store, append_dim="t")
        assert xr.open_dataset(store, engine="zarrds").v.values.tolist() == [1, 2, 1, 2]


def test_coordinates_of_other_libraries_that_are_no_text(path: Path) -> None:
    """A store that somebody else wrote so is served, and can be saved."""
    attributes = {"coordinates": 5}
    v = zarrds.create_array(path, path="v", shape=(2,), dtype="f8", dimension_names=["t"], attributes=attributes)
    v[:] = [1, 2]
    with pytest.warns(UserWarning, match="coordinates"):
        found = xr.open_dataset(path, engine="zarrds").load()
    assert found.v.attrs == {"coordinates": 5}
    store = zarrds.MemoryStore()
    zarrds.save(found, store)
    xr.testing.assert_identical(xr.open_dataset(store, engine="zarrds").load(), found)


def test_dask_blocks_of_numbers_that_would_be_booleans() -> None:
    """As an attribute says, so that what is there must be 0 or 1: blocks are looked at when they are written."""
    ds = xr.Dataset({"v": ("x", np.array([0, 1, 5], "i1"), {"dtype": "bool"})})
    with pytest.raises(EncodingError, match=r"'v' holds a value that is no boolean.*5 at x=2"):
        zarrds.save(ds.chunk(x=2), store := zarrds.MemoryStore())
    zarrds.save(ds.isel(x=slice(2)).chunk(x=1), store)
    assert open_zarrds(store).v.values.tolist() == [False, True]
    zarrds.save(ds.assign(w=("x", [1, 2, 3])), other := zarrds.MemoryStore(), mode="w")
    with pytest.raises(EncodingError, match=r"'w' holds a value that is no boolean.*5 at x=2"):
        zarrds.save(ds.chunk(x=2).rename(v="w"), other, mode="a")
    assert open_zarrds(other).w.values.tolist() == [1, 2, 3]
    del ds.v.attrs["dtype"]
    zarrds.save(ds.chunk(x=2), store, mode="w")
    assert open_zarrds(store).v.identical(ds.v)
