"""Dates of cftime and NumPy's datetimes of the same calendar are added to each other."""

from __future__ import annotations

import datetime
from typing import Any

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import load, objects
from zarrds.errors import ZarrdsError

CALENDARS = ["standard", "proleptic_gregorian"]
TIMES = np.array(["2000-02-28T06:00", "2000-02-29", "2000-03-01T00:00:00.5"], "M8[us]")


def as_cftime(times: Any, calendar: str) -> np.ndarray[Any, Any]:
    dates = [datetime.datetime.fromisoformat(str(time)) for time in np.asarray(times).astype("M8[us]")]
    parts = [(d.year, d.month, d.day, d.hour, d.minute, d.second, d.microsecond) for d in dates]
    made = {"standard": cftime.DatetimeGregorian, "proleptic_gregorian": cftime.DatetimeProlepticGregorian}[calendar]
    return objects(*(made(*part) for part in parts))


def part(times: Any) -> xr.Dataset:
    return xr.Dataset({"v": ("time", np.arange(len(times))), "when": ("time", times)}, {"time": times})


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("calendar", CALENDARS)
def test_dates_become_datetimes(calendar: str, unit: Any, zarr_format: Any) -> None:
    first = TIMES.astype(f"M8[{unit}]") - np.timedelta64(9, "D")
    store, plain = zarrds.MemoryStore(), zarrds.MemoryStore()
    for each, more in ((store, as_cftime(TIMES, calendar)), (plain, TIMES)):
        zarrds.save(part(first), each, zarr_format=zarr_format)
        zarrds.save(part(more), each, append_dim="time")
    xr.testing.assert_identical(load(store), load(plain))
    zarrds.save(part(as_cftime(TIMES[:1], calendar)), store, region="auto")
    with pytest.raises(zarrds.errors.LabelError, match="overlap"):
        zarrds.save(part(as_cftime(TIMES[:1], calendar)), store, append_dim="time")
    assert zarrds.verify(store).ok


@pytest.mark.parametrize("calendar", CALENDARS)
def test_datetimes_become_dates(calendar: str) -> None:
    store, plain = zarrds.MemoryStore(), zarrds.MemoryStore()
    for each, more in ((store, TIMES.astype("M8[ns]")), (plain, as_cftime(TIMES, calendar))):
        zarrds.save(part(as_cftime(TIMES - np.timedelta64(9, "D"), calendar)), each)
        zarrds.save(part(more), each, append_dim="time")
    xr.testing.assert_identical(load(store), load(plain))
    zarrds.save(part(TIMES[1:2]), store, region="auto")
    assert load(store).v.values.tolist() == [0, 1, 2, 0, 0, 2]
    assert zarrds.verify(store).ok


@pytest.mark.parametrize("has_dates", [True, False])
def test_bounds_and_single_dates(has_dates: bool) -> None:
    """Of two dimensions, and of none, which both were taken for no dates."""

    def made(times: Any, is_cftime: bool) -> xr.Dataset:
        values = as_cftime(times, "standard") if is_cftime else times
        bounds = np.stack([values, values], 1)
        return xr.Dataset({"b": (("time", "n"), bounds)}, {"time": values, "reference": values[0]})

    store, plain = zarrds.MemoryStore(), zarrds.MemoryStore()
    first, later = TIMES[:1], made(TIMES[1:], has_dates).assign_coords(reference=made(TIMES, has_dates).reference)
    zarrds.save(made(first, not has_dates), store)
    zarrds.save(later, store, append_dim="time")
    zarrds.save(made(TIMES, not has_dates), plain)
    xr.testing.assert_identical(load(store), load(plain))
    zarrds.save(made(TIMES, has_dates), store, mode="r+")
    zarrds.save(made(TIMES, has_dates)[["b"]].drop_vars(["time", "reference"]), store, region={"time": slice(0, 3)})
    xr.testing.assert_identical(load(store), load(plain))


def test_a_single_time_with_a_zone_is_written_again() -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": 1}, {"time": pd.Timestamp("2000-01-01", tz="UTC")}), store)
    opened = load(store)
    zarrds.save(opened, store, mode="r+")
    xr.testing.assert_identical(load(store), opened)


def test_missing_dates() -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", TIMES)}), store)
    zarrds.save(xr.Dataset({"v": ("x", objects(cftime.DatetimeGregorian(2001, 1, 1), None))}), store, append_dim="x")
    found = load(store).v.values
    assert found[3] == np.datetime64("2001-01-01")
    assert np.isnat(found[4])


OTHERS: dict[str, tuple[Any, Any]] = {
    "another calendar": (TIMES, objects(cftime.DatetimeNoLeap(2001, 1, 1))),
    "before the reform": (TIMES, objects(cftime.DatetimeGregorian(1582, 10, 4))),
    "datetimes before it": (as_cftime(TIMES, "standard"), np.array(["1582-10-04"], "M8[s]")),
    "nanoseconds": (as_cftime(TIMES, "standard"), np.array(["2001-01-01T00:00:00.000000001"], "M8[ns]")),
    "NaT": (as_cftime(TIMES, "standard"), np.array(["NaT"], "M8[s]")),
    "zones": (pd.date_range("2000", periods=2, tz="UTC"), objects(cftime.DatetimeGregorian(2001, 1, 1))),
}


@pytest.mark.parametrize("is_label", [True, False])
@pytest.mark.parametrize("case", OTHERS)
def test_others_are_refused_by_name(case: str, is_label: bool) -> None:
    first, then = OTHERS[case]
    store = zarrds.MemoryStore()
    parts = [xr.Dataset({"v": ("x", np.arange(len(v)))}, {"x": v}) for v in (first, then)]
    if not is_label:
        parts = [xr.Dataset({"x": ("y", each)}) for each in (first, then)]
    zarrds.save(parts[0], store)
    before = load(store)
    with pytest.raises(ZarrdsError, match="'x'"):
        zarrds.save(parts[1], store, append_dim="x" if is_label else "y", on_unordered="append")
    xr.testing.assert_identical(load(store), before)


dates = st.datetimes(datetime.datetime(1582, 10, 15), datetime.datetime(2200, 1, 1))


@given(st.lists(dates, min_size=1, max_size=4), st.lists(dates, min_size=1, max_size=4), st.sampled_from(CALENDARS))
def test_any_dates(first: list[Any], then: list[Any], calendar: str) -> None:
    """They are those instants, or are refused, as of dates of cftime that no float holds."""
    old, new = np.array(first, "M8[us]"), np.array(then, "M8[us]")
    for one, other in ((old, as_cftime(new, calendar)), (as_cftime(old, calendar), new)):
        store = zarrds.MemoryStore()
        try:
            zarrds.save(xr.Dataset({"v": ("x", one)}), store)
            zarrds.save(xr.Dataset({"v": ("x", other)}), store, append_dim="x")
        except ZarrdsError as error:
            assert "'v'" in str(error)  # noqa: PT017  # it may also be stored
            continue
        found = load(store).v.values
        expected = np.concatenate([old, new])
        assert (found == (expected if found.dtype.kind == "M" else as_cftime(expected, calendar))).all()
