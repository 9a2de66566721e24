"""Dates of cftime, some of which are missing: xarray reads the date that is counted from there, or nothing at all."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import zarrds
from zarrds.errors import EncodingError

DATE = cftime.DatetimeNoLeap


def foreign(path: Path, numbers: list[float], zarr_format: Any, calendar: str, dim: str, **attrs: Any) -> list[bool]:
    """Numbers of days, as another library has stored them; and which are missing."""
    marker = attrs.get("_FillValue")
    values = np.array(numbers, "i4" if marker == -9 else "f8")
    attrs |= {"units": "days since 0001-01-01", "calendar": calendar}
    group = zarr.create_group(path, zarr_format=zarr_format)
    options: dict[str, Any] = {"dimension_names": [dim]}
    if zarr_format == 2:
        options = {"fill_value": None}
        attrs["_ARRAY_DIMENSIONS"] = [dim]
    group.create_array("t", shape=values.shape, dtype=values.dtype, attributes=attrs, **options)[:] = values
    return [number != number or number == marker for number in numbers]


def opened(path: Path, **options: Any) -> xr.Dataset:
    return xr.open_dataset(path, engine="zarrds", **options)


@pytest.mark.filterwarnings("ignore:Unable to decode time axis into full")
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
@pytest.mark.parametrize("dim", ["x", "t"], ids=["data", "labels"])
@pytest.mark.parametrize(
    ("numbers", "marker"),
    [([1, np.nan, 3], None), ([np.nan, 1, np.nan], None), ([1, -9, 3], -9), ([-9, 1, -9], -9), ([1, 1e20, 3], 1e20)],
)
def test_of_other_libraries(
    tmp_path: Path, numbers: list[float], marker: float | None, dim: str, calendar: str, zarr_format: int
) -> None:
    attrs = {} if marker is None else {"_FillValue": marker}
    if marker == 1e20 and zarr_format == 3:
        attrs = {"missing_value": 1e20}
    missing = foreign(tmp_path / "a.zarr", numbers, zarr_format, calendar, dim, **attrs)
    missing = missing if marker != 1e20 else [False, True, False]
    for options in ({}, {"chunks": {}}):
        found = opened(tmp_path / "a.zarr", **options).load().t
        assert [each is None for each in found.values] == missing
        assert str(found.values[1 if missing[0] else 0]) == "0001-01-02 00:00:00"
        assert found.isnull().values.tolist() == missing
    copied = pickle.loads(pickle.dumps(opened(tmp_path / "a.zarr")))
    assert copied.load().identical(opened(tmp_path / "a.zarr"))
    zarrds.save(opened(tmp_path / "a.zarr"), tmp_path / "b.zarr")
    again = opened(tmp_path / "b.zarr").load()
    assert again.identical(opened(tmp_path / "a.zarr").load())
    if dim == "x":
        zarrds.save(again, tmp_path / "a.zarr", append_dim="x")
        zarrds.save(again.isel(x=slice(2)), tmp_path / "a.zarr", region={"x": slice(1, 3)})
        expected = xr.concat([again.isel(x=[0, 0, 1]), again], "x")
        assert opened(tmp_path / "a.zarr").load().identical(expected)


def test_none_is_there(tmp_path: Path) -> None:
    foreign(tmp_path / "a.zarr", [-9, -9], 3, "noleap", "x", _FillValue=-9)
    assert opened(tmp_path / "a.zarr").t.values.tolist() == [None, None]
    assert opened(tmp_path / "a.zarr").t[0].values[()] is None


def test_only_those_of_cftime(tmp_path: Path) -> None:
    foreign(tmp_path / "a.zarr", [800000, -9], 3, "proleptic_gregorian", "x", _FillValue=-9)
    assert opened(tmp_path / "a.zarr").t.dtype.kind == "M"
    assert np.isnat(opened(tmp_path / "a.zarr").t.values).tolist() == [False, True]


def test_errors_stay_errors(tmp_path: Path) -> None:
    foreign(tmp_path / "a.zarr", [1, 1e300, 2], 3, "noleap", "x")
    with pytest.raises(zarrds.errors.UndecodableError, match="decode_times"):
        opened(tmp_path / "a.zarr").load()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("missing", [None, np.nan])
@pytest.mark.parametrize(
    "encoding",
    [
        {},
        {"units": "days since 1900-01-01"},
        {"units": "hours since 1900-01-01", "dtype": "i4", "_FillValue": -9},
        {"dtype": "f8"},
        {"_FillValue": -9},
    ],
)
@pytest.mark.parametrize("is_asked", [True, False], ids=["asked", "carried"])
def test_saved(tmp_path: Path, encoding: dict[str, Any], missing: Any, is_asked: bool, zarr_format: Any) -> None:
    dates = np.array([[missing, DATE(2000, 1, 1)], [DATE(1, 2, 28, 6), missing]], object)
    ds = xr.Dataset({"t": (("x", "y"), dates)}, {"c": ("y", [DATE(2000, 1, 1), missing])})
    if not is_asked:
        ds.t.encoding, ds.c.encoding = dict(encoding), dict(encoding)
    if "units" in encoding:
        ds = ds.isel(x=[0])  # which both units hold
    asked = {"t": encoding, "c": encoding} if is_asked else None
    zarrds.save(ds, tmp_path / "a.zarr", encoding=asked, zarr_format=zarr_format)
    assert opened(tmp_path / "a.zarr").load().identical(ds)
    assert zarrds.verify(tmp_path / "a.zarr").ok
    tree = xr.DataTree.from_dict({"/a": ds})
    zarrds.save(tree, tmp_path / "b.zarr", zarr_format=zarr_format)
    assert xr.open_datatree(tmp_path / "b.zarr", engine="zarrds")["a"].to_dataset().load().identical(ds)


def test_of_dask(tmp_path: Path) -> None:
    dates = np.array([DATE(2000, 1, 1), None, DATE(2001, 1, 1)], object)
    ds = xr.Dataset({"t": ("x", dates)}).chunk(x=2)
    with pytest.raises(EncodingError, match=r"'t' holds a value that is missing.*float64 or with a _FillValue"):
        zarrds.save(ds, tmp_path / "a.zarr")
    for encoding in ({"dtype": "f8"}, {"_FillValue": -9}):
        zarrds.save(ds, tmp_path / "a.zarr", encoding={"t": encoding}, mode="w")
        assert opened(tmp_path / "a.zarr").load().identical(ds.compute())


@pytest.mark.parametrize("missing", [None, np.nan, pd.NaT])
@pytest.mark.filterwarnings("ignore:.*what its objects are")
def test_the_first_of_dask_is_missing(tmp_path: Path, missing: Any) -> None:
    """What the others are is not known by it: those of the standard calendar came back as NumPy's."""
    dates = np.array([missing, missing, cftime.DatetimeGregorian(2000, 1, 1), missing], object)
    ds = xr.Dataset({"t": ("x", dates)})
    zarrds.save(ds.chunk(x=1), tmp_path / "a.zarr", encoding={"t": {"_FillValue": -9}})
    assert opened(tmp_path / "a.zarr").t.values.tolist() == [None, None, dates[2], None]


def test_what_xarray_makes_of_some(tmp_path: Path) -> None:
    ds = xr.Dataset({"t": ("x", xr.date_range("2000", periods=3, calendar="noleap", use_cftime=True).values)})
    shifted = ds.shift(x=1)
    assert pd.isnull(shifted.t.values[0])
    zarrds.save(ds, tmp_path / "a.zarr", encoding={"t": {"_FillValue": -1}})
    zarrds.save(shifted, tmp_path / "a.zarr", append_dim="x")
    assert opened(tmp_path / "a.zarr").load().identical(xr.concat([ds, shifted], "x"))


@pytest.mark.filterwarnings("ignore:Unable to decode time axis into full")
@pytest.mark.parametrize("kind", ["numpy", "dask"])
@pytest.mark.parametrize("early", [0, 2])
def test_dates_beyond_nanoseconds_beside_missing_ones(tmp_path: Path, early: int, kind: str) -> None:
    """What is missing counted as the first date of all, so that no other was seen to be out of range."""
    values = np.array([cftime.DatetimeGregorian(2000, 1, 2), None, cftime.DatetimeGregorian(2001, 1, 1)], object)
    values[early] = cftime.DatetimeGregorian(1500, 1, 1)
    ds = xr.Dataset({"t": ("x", values)})
    ds = ds.chunk(x=3) if kind == "dask" else ds
    encoding = {"t": {"_FillValue": -1, "units": "days since 1800-01-01", "dtype": "int64"}}
    zarrds.save(ds, tmp_path / "a.zarr", encoding=encoding)
    found = opened(tmp_path / "a.zarr").load().t.values
    assert found[1] is None
    assert [str(found[i]) for i in (0, 2)] == [str(values[i]) for i in (0, 2)]


def test_a_marker_that_is_no_signed_integer(tmp_path: Path) -> None:
    values = np.array([DATE(2000, 1, 2), None, DATE(2000, 1, 4)], object)
    encoding = {"t": {"dtype": "uint64", "_FillValue": np.uint64(2**64 - 1), "units": "days since 2000-01-01"}}
    with pytest.raises(EncodingError, match="is missing"):
        zarrds.save(xr.Dataset({"t": ("x", values)}), tmp_path / "a.zarr", encoding=encoding)
    assert not (tmp_path / "a.zarr").exists()


def test_a_marker_among_unsigned_integers(tmp_path: Path) -> None:
    attrs = {"_FillValue": np.uint64(200), "units": "days since 2000-01-01", "calendar": "noleap"}
    raw = xr.Dataset({"t": ("x", np.array([1, 200, 3], "uint64"), attrs)})
    raw.to_zarr(tmp_path / "a.zarr")
    found = opened(tmp_path / "a.zarr").load()
    zarrds.save(found, tmp_path / "a.zarr", append_dim="x")
    zarrds.save(opened(tmp_path / "a.zarr", chunks={}), tmp_path / "b.zarr")
    assert opened(tmp_path / "b.zarr").load().identical(xr.concat([found, found], "x"))


@pytest.mark.parametrize("missing", [[], [None]])
@pytest.mark.parametrize("is_lazy", [False, True], ids=["numpy", "dask"])
def test_dates_of_the_standard_calendar_stay_such_where_a_marker_is_asked_for(
    tmp_path: Path, is_lazy: bool, missing: list[None]
) -> None:
    values = np.array([cftime.DatetimeGregorian(2000, 1, 2), *missing], object)
    ds = xr.Dataset({"t": ("x", values)})
    zarrds.save(ds.chunk(x=1) if is_lazy else ds, tmp_path / "a.zarr", encoding={"t": {"_FillValue": -9}})
    zarrds.save(ds, tmp_path / "a.zarr", append_dim="x")
    assert opened(tmp_path / "a.zarr").load().identical(xr.concat([ds, ds], "x"))


def test_blocks_of_which_all_is_missing(tmp_path: Path) -> None:
    values = np.array([DATE(2000, 1, 2), None], object)
    zarrds.save(xr.Dataset({"t": ("x", values)}).chunk(x=1), tmp_path / "a.zarr", encoding={"t": {"dtype": "float64"}})
    assert opened(tmp_path / "a.zarr").t.values.tolist() == values.tolist()


@pytest.mark.filterwarnings("ignore:Unable to decode time axis into full")
@pytest.mark.parametrize("dtype", ["float64", "int64"])
@pytest.mark.parametrize("nothing", [np.array(["NaT"], "M8[ns]"), np.array([None], object)], ids=["NaT", "None"])
@pytest.mark.parametrize("calendar", ["noleap", "standard"])
def test_a_batch_of_which_all_is_missing(tmp_path: Path, dtype: str, nothing: Any, calendar: str) -> None:
    values = np.array([cftime.datetime(1500, 1, 2, calendar=calendar), None], object)
    encoding = {"t": {"dtype": dtype, "_FillValue": -1}}
    zarrds.save(xr.Dataset({"t": ("x", values)}), tmp_path / "a.zarr", encoding=encoding)
    zarrds.save(xr.Dataset({"t": ("x", nothing)}), tmp_path / "a.zarr", append_dim="x")
    assert [str(each) for each in opened(tmp_path / "a.zarr").t.values] == [str(values[0]), "None", "None"]
