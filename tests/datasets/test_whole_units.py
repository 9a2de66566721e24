"""Times that are counted by integers alone: as xarray counts them, and as it reads them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import example, given
from hypothesis import strategies as st

from zarrds.datasets.encoding.exact.times import whole_units

NAMES = ["days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds", "h", "Day", "months"]
DATES = ["1970-01-01", "2000-01-01 12:30:00", "1850-01-01T00:00:00.5", "1582-10-15", "0001-01-01", "2262-04-11"]
SECONDS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def read_by_xarray(numbers: np.ndarray, encoding: dict[str, Any]) -> np.ndarray:
    coder = xr.coders.CFTimedeltaCoder(decode_via_units=True)
    return xr.conventions.decode_cf_variable("x", xr.Variable("x", numbers, encoding), decode_timedelta=coder).values


def written_by_xarray(values: np.ndarray, encoding: dict[str, Any]) -> np.ndarray | None:
    """What xarray writes as int64; None where it fails or takes other units."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            variable = xr.Variable("x", values, {}, {**encoding, "dtype": np.dtype("i8")})
            return xr.conventions.encode_cf_variable(variable).values
        except (ValueError, OverflowError, Warning):
            return None


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    kind, unit = draw(st.sampled_from("Mm")), draw(st.sampled_from(list(SECONDS)))
    step = draw(st.sampled_from([1, 60, 3600, 86400])) * SECONDS[unit]
    most = 2**62 // (step * 10**9 // SECONDS[unit])
    steps = draw(st.lists(st.integers(-most, most) | st.integers(-1000, 1000), min_size=1, max_size=5))
    numbers = np.array(steps) * step + draw(st.sampled_from([0, 0, 0, 1]))
    values = numbers.astype(f"{kind}8[{unit}]")
    name = draw(st.sampled_from(NAMES))
    encoding = {"units": name if kind == "m" else f"{name} since {draw(st.sampled_from(DATES))}"}
    calendar = draw(st.sampled_from([None, "standard", "proleptic_gregorian", "noleap", "360_day"]))
    return values, encoding if kind == "m" or calendar is None else {**encoding, "calendar": calendar}


@given(cases())
@example((np.array(["1677-09-22", "2262-04-11"], "M8[ns]"), {"units": "days since 1970-01-01"}))
@example((np.array(["2262-04-11"], "M8[s]"), {"units": "seconds since 1678-01-01"}))
@example((np.array(["2000-03-01"], "M8[ns]"), {"units": "months since 2000-01-01"}))
@example((np.array(["2000-03-01"], "M8[ns]"), {"units": "days since 2000-01-01", "calendar": "360_day"}))
def test_as_xarray(case: tuple[np.ndarray, dict[str, Any]]) -> None:
    values, encoding = case
    found = whole_units(values, encoding)
    if found is None:  # then xarray counts, and what it says is looked at
        return
    assert found.dtype == np.int64
    np.testing.assert_array_equal(read_by_xarray(found, encoding), values)
    # in nanoseconds: xarray divides by units that are finer than those of the values as if they were 0
    expected = written_by_xarray(values.astype(f"{values.dtype.kind}8[ns]"), encoding)
    if expected is not None and expected.dtype.kind == "i":
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("values", "units"),
    [
        (np.array(["2000-01-01T01", "NaT"], "M8[ns]"), "hours since 2000-01-01"),
        (np.array(["2000-01-01T01:30"], "M8[ns]"), "hours since 2000-01-01"),
        (np.array(["3000-01-01"], "M8[s]"), "days since 2000-01-01"),
        (np.array(["2000-01-01"], "M8[s]"), "days since 0001-01-01"),
        (np.array([], "M8[ns]"), "hours since 2000-01-01"),
        (np.array([2**40], "m8[D]"), "days"),
    ],
)
def test_what_integers_do_not_tell(values: np.ndarray, units: str) -> None:
    assert whole_units(values, {"units": units}) is None


def test_most_times_are_told() -> None:
    times = pd.date_range("1990-01-01", periods=100, freq="6h")
    for unit in SECONDS:
        found = whole_units(times.values.astype(f"M8[{unit}]"), {"units": "hours since 1900-01-01 00:00:0.0"})
        np.testing.assert_array_equal(found, np.arange(100) * 6 + 788928)
