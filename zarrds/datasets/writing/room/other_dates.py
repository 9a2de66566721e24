"""Dates of cftime that are written to NumPy's datetimes, and the other way round, where both are of one calendar."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from zarrds.compat.xarray_internals import is_chunked
from zarrds.labels.kinds.plain import is_missing
from zarrds.labels.kinds.times import is_cftime, to_unit
from zarrds.metadata.times import NUMPY_CALENDARS

__all__ = ["in_dates_stored"]

# since then, dates of the standard calendar are those of NumPy
_REFORM = np.datetime64("1582-10-15", "us")
_FIRST, _LAST = np.datetime64("0001-01-01", "us"), np.datetime64("9999-12-31T23:59:59.999999", "us")
_MIDNIGHT = {"year": 1970, "month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0, "microsecond": 0}
_EPOCH = np.datetime64("1970-01-01", "us")


def in_dates_stored(variable: xr.Variable, there: xr.Variable) -> xr.Variable | None:
    """Dates as the store has them; None for what is none, is of another calendar, or cannot be among them.

    Parameters
    ----------
    variable : Variable
        Of dask it is left as it is: its blocks are looked at when they are encoded.
    there : Variable
        The stored one, decoded.

    Examples
    --------
    >>> import cftime
    >>> dates = xr.Variable("x", [cftime.DatetimeGregorian(2000, 2, 29, 6)])
    >>> there = xr.Variable("x", np.array(["2000-02-28"], "M8[s]"), encoding={"units": "days since 2000-01-01"})
    >>> in_dates_stored(dates, there).values
    array(['2000-02-29T06:00:00'], dtype='datetime64[s]')
    """
    made: Any = None
    if is_chunked(variable):
        return None
    if there.dtype.kind == "M" and variable.dtype == object and is_cftime(variable.values):
        made = _datetimes(np.asarray(variable.values))
    elif there.dtype == object and "units" in there.encoding and variable.dtype.kind == "M":
        made = _cftimes(np.asarray(variable.values), str(there.encoding.get("calendar", "standard")).lower())
    return None if made is None else xr.Variable(variable.dims, made, variable.attrs, variable.encoding)


def _datetimes(dates: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """NumPy's datetimes of dates of cftime, some of which may be missing."""
    missing = is_missing(dates)
    present = dates[~missing]
    calendars = {getattr(date, "calendar", "") for date in present}
    if not calendars <= NUMPY_CALENDARS or any(date.year < 1 for date in present):
        return None
    spans = [date - date.replace(**_MIDNIGHT) for date in present]
    times = np.full(dates.shape, "NaT", "M8[us]")
    times[~missing] = _EPOCH + np.array(spans, "m8[us]")
    if not _are_dates_of_both(times[~missing], calendars):
        return None
    whole = to_unit(times, "s")
    return times if whole is None else whole


def _cftimes(times: np.ndarray[Any, Any], calendar: str) -> np.ndarray[Any, Any] | None:
    """Dates of cftime of NumPy's datetimes, of which none is missing and none finer than microseconds."""
    exact = to_unit(times, "us")
    if calendar not in NUMPY_CALENDARS or exact is None or np.isnat(times).any():
        return None
    if not _are_dates_of_both(exact, {calendar}) or (exact < _FIRST).any() or (exact > _LAST).any():
        return None
    import cftime  # dates of it are stored, so that it is there

    numbers = (exact - _EPOCH).astype(np.int64)
    return np.asarray(cftime.num2date(numbers, "microseconds since 1970-01-01", calendar))


def _are_dates_of_both(times: np.ndarray[Any, Any], calendars: set[str]) -> bool:
    return calendars <= {"proleptic_gregorian"} or not (times < _REFORM).any()
