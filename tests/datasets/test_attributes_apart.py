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
from tests.datasets.samples import load, open_zarrds
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


_STARTS = pd.date_range("2000", periods=2)
_DATES = xr.date_range("2000-01-01", periods=2, calendar="noleap", use_cftime=True)
NO_TIMES: dict[str, Any] = {
    "booleans": np.array([[True, False], [True, True]]),  # as notnull() makes them
    "integers": np.array([[1, 2], [3, 4]]),
    "floats": np.array([[1.5, np.nan], [3.0, 4.0]]),
    "text": np.array([["a", "b"], ["c", None]], object),
    "timedeltas": np.array([[1, 2], [3, 4]], "m8[s]"),
    "categories": pd.Categorical(["a", "b"]),
    "nullable": pd.array([1, None], "Int64"),
}


@pytest.mark.parametrize("name", NO_TIMES)
@pytest.mark.parametrize(
    "times", [_STARTS, _STARTS.tz_localize("Europe/London"), _DATES], ids=["plain", "zone", "cftime"]
)
@pytest.mark.parametrize("units", [{}, {"units": "hPa"}, {"units": None}])
@pytest.mark.parametrize("is_lazy", [False, True])
def test_bounds_of_times_that_are_no_times(
    name: str, times: Any, units: dict[str, Any], is_lazy: bool, path: Path, zarr_format: Any
) -> None:
    values = NO_TIMES[name]
    if name == "timedeltas" and units:
        return  # which are of their own
    coords = {"time": ("time", times, {"bounds": "b", "long_name": "start"})}
    saved = xr.Dataset({"b": (("time", "n")[: np.ndim(values)], values, units)}, coords)
    chunked = saved.chunk(time=1) if is_lazy and isinstance(values, np.ndarray) else saved
    zarrds.save(chunked, path, zarr_format=zarr_format)
    assert_same(saved, open_zarrds(path).load())
    later = saved.assign_coords(time=("time", times + pd.Timedelta(2, "D"), saved.time.attrs))
    zarrds.save(later, path, append_dim="time")
    assert_same(xr.concat([saved, later], "time"), open_zarrds(path).load())
    assert zarrds.verify(path).ok
    if isinstance(values, np.ndarray) and values.dtype.kind in "bif":
        np.testing.assert_array_equal(xr.open_zarr(path).b[:2], values)  # other readers see no times either


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("flags", [np.ones((2, 2), bool), np.arange(4).reshape(2, 2), np.array([["a", "b"]] * 2)])
def test_bounds_that_are_no_times_stay_apart(flags: np.ndarray[Any, Any], zarr_format: Any) -> None:
    """When variables are added later, with their labels, which name the bounds that are not saved again."""
    ds = xr.Dataset({"flags": (("t", "n"), flags)}, {"t": pd.date_range("2000-01-01", periods=2)})
    ds.t.attrs["bounds"] = "flags"
    store = zarrds.MemoryStore()
    zarrds.save(ds, store, zarr_format=zarr_format)
    more = ds.assign(v=("t", [1, 2]))
    for names in (["v"], ["t"], ["flags"]):
        zarrds.save(more[names], store, mode="a")
        xr.testing.assert_identical(open_zarrds(store).load(), more)


@pytest.mark.parametrize("flags", [np.ones((2, 2), bool), np.arange(4).reshape(2, 2)])
def test_bounds_that_are_no_times_come_after_their_times(flags: np.ndarray[Any, Any]) -> None:
    ds = xr.Dataset({"flags": (("t", "n"), flags)}, {"t": pd.date_range("2000-01-01", periods=2)})
    ds.t.attrs["bounds"] = "flags"
    store = zarrds.MemoryStore()
    zarrds.save(ds[["t"]], store)
    zarrds.save(ds, store, mode="a")
    xr.testing.assert_identical(open_zarrds(store).load(), ds)


@pytest.mark.parametrize("values", [pd.array([1, None], dtype="Int32"), pd.Categorical(["a", "b"])])
def test_units_of_no_times_are_seen_by_everybody(values: Any) -> None:
    """Also of what is saved again: they were hidden from other readers."""
    ds = xr.Dataset({"v": ("x", values, {"units": "K"})})
    store = zarrds.MemoryStore()
    for mode in ("w", "a"):
        zarrds.save(ds, store, mode=mode)  # type: ignore[arg-type]  # a mode
        assert zarrds.open_array(store, path="v").metadata.attributes["units"] == "K"
        xr.testing.assert_identical(open_zarrds(store).load(), ds)


@pytest.mark.parametrize("values", [np.ones((2, 2), bool), np.arange(4).reshape(2, 2), np.array([["a", "b"]] * 2)])
@pytest.mark.parametrize("way", ["save", "update_attrs"])
def test_no_times_do_not_become_bounds_by_name_alone(values: np.ndarray[Any, Any], way: str, zarr_format: Any) -> None:
    """Where their coordinate stays as it is stored, nothing would keep readers from taking them for times."""
    times = pd.date_range("2000-01-01", periods=2)
    store = zarrds.MemoryStore()
    flags = xr.Dataset({"flags": (("t", "n"), values)})
    if way == "save":
        zarrds.save(xr.Dataset(coords={"t": ("t", times, {"bounds": "flags"})}), store, zarr_format=zarr_format)
        before = open_zarrds(store).load()
        with pytest.raises(EncodingError, match=r"read as times: the stored 't' names it .*at 'flags'"):
            zarrds.save(flags, store, mode="a")
        with_units = flags.assign(flags=flags.flags.assign_attrs(units="1"))
        zarrds.save(with_units, store, mode="a")
        before = before.assign(with_units)
    else:
        zarrds.save(flags.assign_coords(t=times), store, zarr_format=zarr_format)
        before = open_zarrds(store).load()
        with pytest.raises(EncodingError, match=r"how the stored values are decoded .*at 't'.*'bounds'"):
            zarrds.update_attrs(store, {"bounds": "flags"}, "t")
        zarrds.update_attrs(store, {"bounds": "none"}, "t")
        before.t.attrs["bounds"] = "none"
    xr.testing.assert_identical(open_zarrds(store).load(), before)


def test_no_times_become_bounds_by_name_where_their_times_grow(zarr_format: Any) -> None:
    """The coordinate is saved too, and keeps its stored attributes."""
    days = pd.date_range("2000-01-01", periods=4)
    first, then = (xr.Dataset(coords={"t": ("t", part, {"bounds": "n"})}) for part in (days[:2], days[2:]))
    store = zarrds.MemoryStore()
    zarrds.save(first, store, zarr_format=zarr_format)
    with pytest.raises(EncodingError, match=r"read as times: the stored 't' names it .*at 'n'.*with units of its own"):
        zarrds.save(then.assign(n=5), store, append_dim="t")
    xr.testing.assert_identical(open_zarrds(store).load(), first)
    zarrds.save(then.assign(n=((), 5, {"units": "1"})), store, append_dim="t")
    assert open_zarrds(store).n == 5


@pytest.mark.parametrize(
    ("units", "name", "change", "delete"), [({"units": "1"}, "b", {}, ["units"]), ({}, "t", {"bounds": "x"}, [])]
)
def test_no_attribute_makes_times_of_numbers_or_numbers_of_times(
    tmp_path: Path, units: dict[str, str], name: str, change: dict[str, str], delete: list[str]
) -> None:
    """In a store of xarray's engine, in which bounds of times need no units of their own."""
    times = {"units": "days since 2000-01-01", "bounds": "b"}
    ds = xr.Dataset({"b": (("t", "n"), np.arange(4).reshape(2, 2), units)}, {"t": ("t", [0, 1], times)})
    ds.to_zarr(tmp_path, consolidated=False, mode="w")
    before = load(tmp_path)
    assert (before.b.dtype.kind == "M") == (not units)
    with pytest.raises(EncodingError, match=r"how the stored values are decoded .*'(bounds|units)'"):
        zarrds.update_attrs(tmp_path, change, name, delete=delete)
    xr.testing.assert_identical(load(tmp_path), before)


@pytest.mark.parametrize("is_lazy", [False, True])
def test_bounds_that_are_not_decoded_yet_are_times(is_lazy: bool, zarr_format: Any) -> None:
    """They are new beside a coordinate that is stored; they came back as numbers."""
    ds = xr.Dataset({"b": (("t", "n"), np.array([[0, 1], [1, 2]], "M8[D]").astype("M8[ns]"))})
    ds = ds.assign_coords(t=("t", ds.b.values[:, 0], {"bounds": "b"}))
    ds.t.encoding["units"] = "hours since 1970-01-01"
    raw, _ = xr.conventions.cf_encoder({"b": ds.b.variable, "t": ds.t.variable}, {})
    undecoded = xr.Dataset(raw).set_coords("t")
    assert "units" not in undecoded.b.attrs
    store = zarrds.MemoryStore()
    zarrds.save(ds[["t"]], store, zarr_format=zarr_format)
    zarrds.save(undecoded.chunk(t=1) if is_lazy else undecoded, store, mode="a")
    xr.testing.assert_identical(open_zarrds(store).load(), ds)
