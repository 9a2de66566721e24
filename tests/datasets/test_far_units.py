"""Times that are counted from long ago (``hours since 1-1-1``), as NCEP's and COARDS files have them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.same import assert_same
from zarrds.errors import EncodingError


def undecoded(numbers: Any, units: str, calendar: str | None) -> xr.Dataset:
    attributes = {"units": units} | ({} if calendar is None else {"calendar": calendar})
    return xr.Dataset({"v": ("time", np.arange(len(numbers)) + 0.5)}, {"time": ("time", numbers, attributes)})


def read(store: Any) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarrds")


@pytest.mark.one_in(3)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("calendar", [None, "standard", "proleptic_gregorian"])
@pytest.mark.parametrize("dtype", ["f8", "i4", "i8"])
@pytest.mark.parametrize(
    "units", ["hours since 0001-1-1 00:00:0.0", "hours since 0001-01-01", "hours since 1500-01-01"]
)
def test_they_are_saved_and_appended_to(
    tmp_path: Any, units: str, dtype: str, calendar: str | None, zarr_format: Any
) -> None:
    start = 4_383_120 if "1500" in units else 17_522_880
    days = [undecoded((start + n + np.array([0, 6])).astype(dtype), units, calendar) for n in (0, 24)]
    first, second = (xr.decode_cf(day) for day in days)
    both = xr.concat([first, second], "time")
    for name, saved in {"decoded": first, "undecoded": days[0]}.items():
        store = tmp_path / f"{name}.zarr"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            zarrds.save(saved, store, zarr_format=zarr_format)
        assert_same(first, read(store))
        zarrds.save(second if name == "undecoded" else days[1], store, append_dim="time")
        assert_same(both, read(store))
        zarrds.save(second, store, append_dim="time", on_overlap="skip")
        zarrds.save(first, store, region="auto")
        finer = second.assign_coords(time=second.time + np.timedelta64(24 * 3600 + 90, "s"))
        zarrds.save(finer, store, append_dim="time")  # in other units, of all
        assert_same(xr.concat([both, finer], "time"), read(store))
    stored = tmp_path / "of xarray.zarr"
    days[0].to_zarr(stored, zarr_format=zarr_format)
    zarrds.save(second, stored, append_dim="time")
    assert_same(both, read(stored).drop_encoding())


@pytest.mark.parametrize("is_lazy", [False, True])
def test_floats_that_readers_decode_by_way_of_cftime_do_not_move(is_lazy: bool) -> None:
    times = np.array(["2000-01-02T01", "2000-01-02T02"], "M8[ns]")
    saved = xr.Dataset({"when": ("x", times)})  # 730120.0416… days are read as 00:59:59.999997
    encoding = {"units": "days since 0001-01-01", "dtype": "f8", "calendar": "proleptic_gregorian"}
    saved.when.encoding = dict(encoding)
    store = zarrds.MemoryStore()
    with pytest.warns(xr.SerializationWarning, match="'when'"):
        zarrds.save(saved.chunk(x=1) if is_lazy else saved, store)
    assert_same(saved, read(store))
    with pytest.raises(EncodingError, match="'when'"):
        zarrds.save(saved.chunk(x=1) if is_lazy else saved, zarrds.MemoryStore(), encoding={"when": encoding})
    midnight = xr.Dataset({"when": ("x", np.array(["2000-01-02"], "M8[ns]"))})
    store = zarrds.MemoryStore()
    zarrds.save(midnight, store, encoding={"when": encoding})
    zarrds.save(saved.chunk(x=1) if is_lazy else saved, store, append_dim="x")  # in hours
    assert_same(xr.concat([midnight, saved], "x"), read(store))


@pytest.mark.parametrize("is_lazy", [False, True])
def test_dates_that_would_be_read_as_those_of_cftime(is_lazy: bool) -> None:
    old = xr.Dataset({"when": ("x", np.array(["1400-01-02", "2000-01-02"], "M8[s]"))})
    old = old.chunk(x=1) if is_lazy else old
    store = zarrds.MemoryStore()
    standard = {"units": "days since 1400-01-01", "calendar": "standard"}
    with pytest.raises(EncodingError, match="'when'"):
        zarrds.save(old, store, encoding={"when": standard})
    old.when.encoding = dict(standard)
    with pytest.warns(xr.SerializationWarning, match="'when'"):
        zarrds.save(old, store)
    assert_same(old.compute(), read(store))


@pytest.mark.parametrize(
    "encoding", [{"_FillValue": 0}, {"missing_value": 0, "dtype": "i8"}, {"_FillValue": 0, "dtype": "i8"}]
)
def test_a_date_of_cftime_that_is_counted_as_the_marker(encoding: dict[str, Any]) -> None:
    dates = xr.date_range("2000-01-01", periods=2, calendar="noleap", use_cftime=True)
    saved = xr.Dataset({"when": ("x", np.array(dates))})  # of which the first is 0 days after the first
    with pytest.raises(EncodingError, match="'when'"):
        zarrds.save(saved, zarrds.MemoryStore(), encoding={"when": encoding})
    saved.when.encoding = dict(encoding)
    for given in (saved, saved.chunk(x=1)):
        store = zarrds.MemoryStore()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", xr.SerializationWarning)  # that the encoding was replaced
            zarrds.save(given, store)
        assert_same(saved, read(store))


@pytest.mark.parametrize("encoding", [{}, {"units": "hours since 2000-01-01", "dtype": "f8", "calendar": "standard"}])
def test_bounds_that_do_not_fit_the_units_of_their_coordinate(encoding: dict[str, Any]) -> None:
    times = pd.date_range("2000-01-01", periods=3, freq="h")
    ends = np.stack([times, times + pd.Timedelta(minutes=30)], 1)
    saved = xr.Dataset({"time_bnds": (("time", "n"), ends)}, {"time": times})
    saved.time.attrs["bounds"] = "time_bnds"
    saved.time.encoding = {"units": "hours since 2000-01-01", "dtype": "f8", "calendar": "standard"}
    saved.time_bnds.encoding = dict(encoding)
    for given in (saved, saved.chunk(time=1)):
        store = zarrds.MemoryStore()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            zarrds.save(given, store)
        assert_same(saved, read(store))
        # floats hold half an hour, and are what the file had; blocks are computed too late to see that integers do not
        is_shared = bool(encoding) or given is saved
        assert len(told) == (0 if is_shared else 1)
        if is_shared:
            assert read(store).time_bnds.encoding["units"] == "hours since 2000-01-01"


@pytest.mark.parametrize("calendar", ["standard", "noleap"])
@pytest.mark.parametrize("dtype", ["i8", "f8"])
@pytest.mark.parametrize(
    "date",
    [
        "2000-01-01 12",
        "2000-01-01T12",
        "0001-01-01 6",
        "2000-01-01 00:00:00 -6:00",
        "2000-01-01T00:00:00+01:00",
        "2000-01-01 00:00:00 UTC",
        "2000-01-01T00:00Z",
        "2000-1-1 0:0:0 +1",
    ],
)
@pytest.mark.filterwarnings("ignore:Unable to decode time axis")
def test_dates_with_a_bare_hour_or_a_zone(date: str, dtype: str, calendar: str, tmp_path: Path) -> None:
    """cftime and pandas, by which xarray reads and writes, do not take them for the same."""

    def hours(start: float) -> xr.Dataset:
        attributes = {"units": f"hours since {date}", "calendar": calendar}
        return xr.Dataset({"v": ("t", [1, 2])}, {"t": ("t", np.array([start, start + 6]).astype(dtype), attributes)})

    parts = [xr.decode_cf(hours(start)).load().drop_encoding() for start in (0, 12, 24.5 if dtype == "f8" else 24)]
    hours(0).to_zarr(tmp_path / "a.zarr", consolidated=False)
    zarrds.save(parts[1], tmp_path / "a.zarr", append_dim="t")
    zarrds.save(parts[2], tmp_path / "a.zarr", append_dim="t")
    zarrds.save(parts[1], tmp_path / "a.zarr", region={"t": slice(2, 4)})
    expected = np.concatenate([part.t.values for part in parts])
    np.testing.assert_array_equal(read(tmp_path / "a.zarr").t, expected)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr", consolidated=False).t, expected)
