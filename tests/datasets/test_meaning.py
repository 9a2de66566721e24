"""What says what data is must be the store's, where data is written beside other data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import Format, files, load, open_zarrds, times, variants
from zarrds.datasets.encoding.meaning import check_same_meaning, decoded_like, says_where
from zarrds.errors import EncodingError, LabelError, StoreExistsError

FLAGS = {"flag_values": [0, 1], "flag_meanings": "land sea"}
# stored, and what is refused beside it
OTHERS: dict[str, tuple[Any, Any]] = {
    "units": ("K", "degC"),
    "units that were none": (None, "m"),
    "standard_name": ("air_temperature", "sea_surface_temperature"),
    "cell_methods": ("time: mean", "time: maximum"),
    "positive": ("up", "down"),
    "grid_mapping": ("crs", "other"),
    "flag_values": ([0, 1], [1, 2]),
    "flag_masks": ([1, 2], [1, 4]),
    "flag_meanings": ("land sea", "sea land"),
    "formula_terms": ("a: ap b: b", "a: ap b: c"),
    "units_metadata": ("temperature: on_scale", "temperature: difference"),
    "compress": ("lat lon", "lon lat"),
    "sample_dimension": ("obs", "profile"),
    "instance_dimension": ("station", "profile"),
    "month_lengths": ([31, 28], [31, 29]),
    "geometry_type": ("line", "polygon"),
}


def stored(attributes: dict[str, Any]) -> xr.Dataset:
    return xr.Dataset({"v": (("t", "x"), np.zeros((2, 3)), attributes)}, {"t": [0, 1], "x": [1, 2, 3]})


WAYS: dict[str, Callable[..., None]] = {
    "append": lambda ds, path, **to: zarrds.save(ds.assign_coords(t=[2, 3]), path, append_dim="t", **to),
    "region": lambda ds, path, **to: zarrds.save(ds.isel(t=[1]), path, region={"t": slice(1, 2)}, **to),
    "auto": lambda ds, path, **to: zarrds.save(ds.isel(t=[1]), path, region="auto", **to),
    "r+": lambda ds, path, **to: zarrds.save(ds, path, mode="r+", **to),
}


@pytest.mark.one_in(4)
@pytest.mark.parametrize("kind", ["numpy", "dask"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", OTHERS)
def test_other_meanings_are_refused(path: Path, case: str, way: str, kind: str, zarr_format: Format) -> None:
    key = case.split()[0]
    before, new = OTHERS[case]
    ds = stored({} if before is None else {key: before})
    zarrds.save(ds, path, zarr_format=zarr_format, group="g")
    contents = files(path)
    other = variants(stored({key: new}))[kind]
    with pytest.raises(LabelError, match=rf"attribute '{key}' of 'v' is not that of the store") as caught:
        WAYS[way](other, path, group="g")
    assert caught.value.key == "g/v"
    assert files(path) == contents


@pytest.mark.parametrize("key", ["grid_mapping", "formula_terms"])
def test_meanings_that_decoders_have_moved_to_the_encoding(path: Path, key: str) -> None:
    before, new = OTHERS[key]
    ds = stored({key: before})
    zarrds.save(ds, path)
    moved = ds.assign(v=ds.v.drop_attrs())
    moved.v.encoding = {key: new}
    for write in WAYS.values():
        with pytest.raises(LabelError, match=f"attribute '{key}'"):
            write(moved, path)
    moved.v.encoding = {key: before}
    WAYS["append"](moved, path)
    assert load(path).v.attrs == ds.v.attrs


@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_said_is_as_in_the_store(path: Path, way: str) -> None:
    attributes = {"units": "K", "cell_methods": "time:  mean", "flag_values": [0, 1], "long_name": "v"}
    for new in ({}, {"units": "kelvin", "cell_methods": "time: mean"}, {"flag_values": np.array([0, 1], "i1")}):
        zarrds.save(stored(attributes), path, mode="w")
        WAYS[way](stored({**new, "long_name": "other"}), path)
        assert load(path).v.attrs == attributes


def test_labels_and_what_stays_mean_the_same(path: Path) -> None:
    ds = stored({}).assign_coords(h=("x", [1.0, 2.0, 3.0], {"units": "m"})).assign(area=("x", [1, 2, 3]))
    ds["x"].attrs["units"] = "m"
    ds["area"].attrs["units"] = "m2"
    zarrds.save(ds, path)
    for name in ("h", "x", "area"):
        other = ds.copy(deep=True)
        other[name].attrs["units"] = "km"
        for way in ("append", "r+"):
            with pytest.raises(LabelError, match="attribute 'units'"):
                WAYS[way](other, path)
    other = ds.drop_vars(["area", "h"])
    other["x"].attrs["units"] = "km"
    with pytest.raises(LabelError, match="attribute 'units' of 'x'"):
        WAYS["region"](other, path)


def test_projections_are_compared_by_their_parameters(path: Path) -> None:
    crs = {"grid_mapping_name": "lambert_conformal_conic", "standard_parallel": [30.0, 60.0], "comment": "one"}
    ds = stored({"grid_mapping": "crs"}).assign_coords(crs=((), 0, crs))
    zarrds.save(ds, path)
    same = ds.assign_coords(crs=((), 0, {**crs, "comment": "two", "standard_parallel": np.array([30.0, 60.0])}))
    zarrds.save(same.assign_coords(t=[2, 3]), path, append_dim="t")
    other = ds.assign_coords(crs=((), 0, {**crs, "standard_parallel": [30.0, 61.0]}), t=[4, 5])
    with pytest.raises(LabelError, match="'standard_parallel' of 'crs'"):
        zarrds.save(other, path, append_dim="t")


@pytest.mark.parametrize("key", ["spatial_ref", "proj4", "epsg_code", "esri_pe_string"])
def test_projections_are_known_by_what_names_them(path: Path, key: str) -> None:
    ds = stored({"grid_mapping": "crs"}).assign_coords(crs=((), 0, {key: "one", "GeoTransform": "0 1 0 9 0 -1"}))
    zarrds.save(ds, path)
    for other in ({key: "two"}, {key: "one", "GeoTransform": "1 1 0 9 0 -1"}):
        with pytest.raises(LabelError, match="of 'crs'"):
            zarrds.save(ds.assign_coords(crs=((), 0, other), t=[2, 3]), path, append_dim="t")
    zarrds.save(ds.assign_coords(t=[2, 3]), path, append_dim="t")


def test_mode_a_describes_labels_that_stay(path: Path, zarr_format: Format) -> None:
    times = np.array(["2000-01-01", "2000-01-02"], "M8[ns]")
    attrs = {"long_name": "old", "axis": "T"}
    ds = xr.Dataset({"v": ("time", [1.0, 2.0])}, {"time": ("time", times, attrs), "h": ((), 2.0, {"units": "m"})})
    zarrds.save(ds, path, zarr_format=zarr_format)
    opened = open_zarrds(path)
    fresh = ds.assign_coords(time=("time", times, {"long_name": "new"}), h=((), 2.0, {"note": "above ground"}))
    zarrds.save(fresh, path, mode="a")
    found = load(path, "zarrds")
    assert found["time"].attrs == {"long_name": "new", "axis": "T"}
    assert found["h"].attrs == {"units": "m", "note": "above ground"}
    assert not zarrds.verify(path).findings
    assert found.drop_vars(["time", "h"]).identical(ds.drop_vars(["time", "h"]))
    np.testing.assert_array_equal(opened["time"].load(), times)
    zarrds.save(fresh.drop_vars("v").assign(w=("time", [3, 4])), path, mode="a-")
    assert load(path, "zarrds")["time"].attrs == found["time"].attrs


def test_mode_a_replaces_a_variable_with_its_attributes(path: Path, zarr_format: Format) -> None:
    packed = {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -9}
    ds = stored({"units": "K", "long_name": "v"}).assign(when=("t", times("2000-01-01", 2)))
    zarrds.save(ds, path, encoding={"v": packed, "when": {"units": "hours since 1999-01-01"}}, zarr_format=zarr_format)
    new = ds.assign(v=ds.v - 273.5)
    new["v"].attrs = {"units": "degC", "flag_values": [1]}
    new["when"].attrs = {"long_name": "when it was"}
    zarrds.save(new, path, mode="a")
    for engine in ("zarrds", "zarr"):
        found = load(path, engine)
        xr.testing.assert_identical(found, new)
        assert (found.v.encoding["scale_factor"], found.when.encoding["units"]) == (0.5, "hours since 1999-01-01")


# undecoded data

PACKED = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 3.0, "_FillValue": -32768}
VALUES = np.array([3.05, 3.06, np.nan])


@pytest.mark.one_in(4)
@pytest.mark.parametrize("kind", ["numpy", "dask"])
@pytest.mark.parametrize("into", ["the same packing", "another packing", "floats"])
@pytest.mark.parametrize("way", ["append", "region", "r+", "a"])
def test_packed_data_is_decoded(path: Path, way: str, into: str, kind: str, zarr_format: Format) -> None:
    ds = xr.Dataset({"v": ("t", VALUES)}, {"t": [0, 1, 2]})
    theirs = path.with_name("theirs.zarr")
    zarrds.save(ds, theirs, encoding={"v": PACKED})
    encoding: Any = {"the same packing": PACKED, "another packing": {**PACKED, "add_offset": 1.0, "_FillValue": -1}}
    zarrds.save(ds * 0 + 3, path, encoding={"v": encoding[into]} if into in encoding else None, zarr_format=zarr_format)
    raw = (
        variants(open_zarrds(theirs, mask_and_scale=False))[kind].load()
        if kind == "numpy"
        else variants(open_zarrds(theirs, mask_and_scale=False))[kind]
    )
    assert raw.v.dtype == np.int16
    if way == "append":
        zarrds.save(raw.assign_coords(t=[3, 4, 5]), path, append_dim="t")
    elif way == "region":
        zarrds.save(raw.drop_vars("t"), path, region={"t": slice(0, 3)})
    else:
        mode: Any = way
        zarrds.save(raw, path, mode=mode)
    np.testing.assert_allclose(load(path).v[-3:], VALUES)


def test_times_and_durations_are_decoded(path: Path, zarr_format: Format) -> None:
    time = times("2000-01-01", 4)
    bounds = np.stack([time, time + np.timedelta64(1, "D")], 1)
    ds = xr.Dataset(
        {"lead": ("time", np.arange(4).astype("m8[h]").astype("m8[ns]")), "bnds": (("time", "n"), bounds)},
        {"time": ("time", time, {"bounds": "bnds"})},
    )
    zarrds.save(ds.isel(time=slice(2)), path, zarr_format=zarr_format)
    raw = ds.isel(time=slice(2, 4)).copy()
    days = np.array([10957.0 + 2, 10957.0 + 3])
    raw = raw.assign_coords(time=("time", days, {"units": "days since 1970-01-01", "bounds": "bnds"}))
    raw["bnds"] = (("time", "n"), np.stack([days, days + 1], 1))
    raw["lead"] = ("time", [120, 180], {"units": "minutes"})
    zarrds.save(raw, path, append_dim="time")
    xr.testing.assert_equal(load(path), ds)


def test_integers_that_masking_would_round_are_refused(path: Path) -> None:
    ds = xr.Dataset({"id": ("x", [1, 2])})
    zarrds.save(ds, path)
    for raw in variants(xr.Dataset({"id": ("x", [2**53 + 1, -1], {"_FillValue": -1})})).values():
        with pytest.raises(EncodingError, match=r"too large to be masked.*found 9007199254740993"):
            zarrds.save(raw.chunk() if raw.chunks else raw, path, append_dim="x")
    raw = xr.Dataset({"id": ("x", [7, np.iinfo("i8").min], {"_FillValue": np.iinfo("i8").min})})
    zarrds.save(raw.isel(x=[0]), path, append_dim="x")
    assert load(path).id.values.tolist() == [1, 2, 7]
    zarrds.save(raw, path, append_dim="x")
    np.testing.assert_array_equal(load(path).id.values, [1, 2, 7, 7, np.nan])


def test_attributes_that_cannot_be_decoded_are_named() -> None:
    raw = xr.Dataset({"v": ("x", np.int16([1]), {"scale_factor": "half"})})
    with pytest.raises(EncodingError, match=r"'v' has attributes of undecoded data.*half"):
        decoded_like(raw, {"v": xr.Variable("x", [1.0])})


@given(st.dictionaries(st.sampled_from(["units", "long_name", "positive"]), st.sampled_from(["K", "m", "up", " K "])))
def test_data_agrees_with_itself_and_with_what_says_less(attributes: dict[str, str]) -> None:
    variable = xr.Variable("x", [1.0], attributes)
    check_same_meaning("v", variable, variable)
    check_same_meaning("v", variable, xr.Variable("x", [1.0]))


# variables that say where one is


def batch(ids: list[str], positions: list[int], value: int) -> xr.Dataset:
    """As VCF Zarr has it: nothing is a coordinate."""
    return xr.Dataset(
        {
            "call": (("variants", "samples"), np.full((len(positions), len(ids)), value, "i1")),
            "variant_position": ("variants", positions),
            "sample_id": ("samples", np.array(ids, object)),
            "contig_id": ("contigs", np.array(["1", "2"], object)),
            "contig_length": ("contigs", [1000, 900]),
        }
    )


@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_ids_without_the_dimension_must_be_those_stored(path: Path, kind: str, zarr_format: Format) -> None:
    zarrds.save(batch(["NA1", "NA2"], [1, 5], 0), path, zarr_format=zarr_format)
    before = files(path)
    for change in ({"sample_id": ("samples", ["NA2", "NA1"])}, {"contig_length": ("contigs", [1000, 901])}):
        wrong = variants(batch(["NA1", "NA2"], [7, 8], 1).assign(change))[kind]
        if kind == "dask":
            wrong["sample_id"] = wrong.sample_id.compute()
            wrong["contig_id"] = wrong.contig_id.compute()
        with pytest.raises(LabelError, match="values of"):
            zarrds.save(wrong, path, append_dim="variants")
    assert files(path) == before
    zarrds.save(batch(["NA1", "NA2"], [7, 8], 1), path, append_dim="variants")
    assert load(path).variant_position.values.tolist() == [1, 5, 7, 8]


@pytest.mark.parametrize("as_coordinate", [True, False])
def test_regions_do_not_move_positions(path: Path, as_coordinate: bool, zarr_format: Format) -> None:
    ds = batch(["NA1", "NA2"], list(range(100, 110)), 0).drop_vars(["contig_id", "contig_length"])
    if as_coordinate:
        ds = ds.set_coords(["variant_position", "sample_id"])
    zarrds.save(ds, path, zarr_format=zarr_format)
    before = files(path)
    part = ds.isel(variants=slice(4, 7)).drop_vars("sample_id")
    part["call"] = part.call * 0 - 1
    for region in ("auto", {"variants": "auto"}, {"variants": slice(0, 3)}, {"variants": slice(-3, None)}):
        with pytest.raises(LabelError):
            zarrds.save(part, path, region=region)
    assert files(path) == before
    zarrds.save(part, path, region={"variants": slice(4, 7)})
    zarrds.save(part, path, region={"variants": slice(-6, -3)})
    found = load(path)
    assert found.variant_position.values.tolist() == list(range(100, 110))
    assert (found.call.values == -1).all(1).nonzero()[0].tolist() == [4, 5, 6]


def test_regions_write_labels_where_none_are_stored(path: Path, zarr_format: Format) -> None:
    template = xr.Dataset({"v": ("x", np.zeros(6))}, {"lat": ("x", np.zeros(6)), "name": ("x", np.zeros(6, "i8"))})
    zarrds.save(template.chunk(x=2), path, compute=False, zarr_format=zarr_format)
    part = xr.Dataset({"v": ("x", [1.0, 2.0])}, {"lat": ("x", [50.0, 51.0]), "name": ("x", [7, 8])})
    zarrds.save(part, path, region={"x": slice(0, 2)})
    zarrds.save(part + 1, path, region={"x": slice(0, 2)})  # again, with the same labels
    with pytest.raises(LabelError, match=r"labels of 'lat'.*expected 50.0, found 60.0"):
        zarrds.save(part.assign_coords(lat=("x", [60.0, 51.0])), path, region={"x": slice(0, 2)})
    zarrds.save(part.assign_coords(lat=("x", [60.0, 61.0])), path, region={"x": slice(2, 4)})
    assert load(path).lat.values[:4].tolist() == [50.0, 51.0, 60.0, 61.0]
    assert load(path).name.values[:4].tolist() == [7, 8, 7, 8]


def test_which_variables_say_where_one_is() -> None:
    one = xr.Variable("x", [1.0])
    assert all(says_where(name, one) for name in ("variant_position", "sample_id", "station_id"))
    assert says_where("y", xr.Variable("x", [1.0], {"standard_name": "latitude"}))
    assert not says_where("rain", one)
    assert not says_where("sample_id", xr.Variable(("x", "y"), [[1.0]]))
    assert not says_where("y", xr.Variable("x", [1.0], {"axis": ["X"]}))


# single steps, and names that are taken


def test_a_single_step_is_told_how_to_become_a_dimension(path: Path) -> None:
    ds = xr.Dataset({"a": (("time", "x"), np.zeros((2, 3)))}, {"time": [0, 1], "x": [1, 2, 3]})
    zarrds.save(ds, path)
    step = ds.isel(time=1)
    options: dict[str, Any]
    for options in ({"region": "auto"}, {"region": {"time": "auto"}}, {"append_dim": "time"}, {"mode": "r+"}):
        for one in (step, step.drop_vars("time")):
            if "append_dim" in options or options.get("region") == {"time": "auto"}:
                one = step
            with pytest.raises(LabelError, match=r"expand_dims\(\['time'\]\)"):
                zarrds.save(one, path, **options)


def test_a_group_where_a_variable_is_to_be(path: Path, zarr_format: Format) -> None:
    zarrds.save(xr.Dataset({"v": ("x", [1])}), path, zarr_format=zarr_format)
    zarrds.save(xr.Dataset({"v": ("x", [1])}), path, group="g", zarr_format=zarr_format)
    before = files(path)
    with pytest.raises(StoreExistsError, match="a group of this name stands where a variable is to be") as caught:
        zarrds.save(xr.Dataset({"g": ("x", [1])}), path, mode="a")
    assert caught.value.key == "g"
    assert files(path) == before


def test_group_attributes_are_kept_unless_others_are_given(path: Path, zarr_format: Format) -> None:
    ds = stored({}).assign_attrs(title="x", history="first")
    zarrds.save(ds, path, zarr_format=zarr_format, group="g")
    bare = ds.drop_attrs()
    zarrds.save(bare.assign_coords(t=[2, 3]), path, group="g", append_dim="t")
    zarrds.save(bare[["x"]].assign(new=("x", [1, 2, 3])), path, group="g", mode="a")
    assert load(path, group="g").attrs == {"title": "x", "history": "first"}
    zarrds.save(bare.assign_coords(t=[4, 5]).assign_attrs(history="second"), path, group="g", append_dim="t")
    for engine in ("zarrds", "zarr"):
        assert load(path, engine, group="g").attrs == {"title": "x", "history": "second"}


@pytest.mark.parametrize(("stored", "shown"), [("", "''"), (None, "None"), (["K"], r"\['K'\]")])
def test_units_of_which_nothing_would_be_seen(stored: Any, shown: str, path: Path) -> None:
    zarrds.save(xr.Dataset({"v": ("x", [1.0], {"units": stored})}), path)
    with pytest.raises(LabelError, match=f"expected {shown}, found m"):
        zarrds.save(xr.Dataset({"v": ("x", [1.0], {"units": "m"})}), path, append_dim="x")
