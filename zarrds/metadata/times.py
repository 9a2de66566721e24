"""Times of NumPy in another unit: before NumPy 2.5 what is beyond its range becomes other times, without a word."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

__all__ = ["ATTOSECONDS", "CF_UNITS", "as_times", "in_unit"]

AnyArray: TypeAlias = "np.ndarray[Any, Any]"

_NOT_A_TIME = np.iinfo(np.int64).min
_MOST = np.iinfo(np.int64).max
# what xarray counts times in, the coarsest first
CF_UNITS = ("days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds")
# how long the units are that are always as long
ATTOSECONDS: dict[str, int] = {"W": 604_800 * 10**18, "D": 86_400 * 10**18, "h": 3600 * 10**18, "m": 60 * 10**18} | {
    unit: 10 ** (18 - 3 * i) for i, unit in enumerate(("s", "ms", "us", "ns", "ps", "fs", "as"))
}


def in_unit(times: AnyArray, dtype: np.dtype[Any]) -> AnyArray | None:
    """Times in the unit of another dtype of their kind, None if that does not reach as far as one of them.

    What is finer than the unit is cut off, as NumPy does it.

    Examples
    --------
    >>> import numpy as np
    >>> in_unit(np.array(["2000-01-01T12", "NaT"], "M8[h]"), np.dtype("M8[s]")).astype(str).tolist()
    ['2000-01-01T12:00:00', 'NaT']
    >>> in_unit(np.array(["3000-01-01"], "M8[D]"), np.dtype("M8[ns]")) is None
    True
    """
    if times.dtype == dtype:
        return times
    (unit, n), (other, m) = np.datetime_data(dtype), np.datetime_data(times.dtype)
    if unit in ATTOSECONDS and other in ATTOSECONDS:
        own, wanted = ATTOSECONDS[other] * m, ATTOSECONDS[unit] * n
        # not by NumPy, which also rounds the smallest and the largest wrongly
        ticks = times.astype(times.dtype.newbyteorder("=")).view(np.int64)
        missing = ticks == _NOT_A_TIME
        if not own % wanted:
            factor = own // wanted
            most = _MOST // factor
            if (((ticks > most) | (ticks < -most)) & ~missing).any():
                return None
            counts = ticks * np.int64(min(factor, _MOST))
        elif not wanted % own:
            parts = wanted // own
            counts = ticks // parts if parts <= _MOST else np.where(ticks < 0, -1, 0)
        else:
            return _cast(times, dtype)
        return np.where(missing, _NOT_A_TIME, counts).view(dtype.newbyteorder("=")).astype(dtype, copy=False)
    if dtype.kind == "M" and other in ("Y", "M") and unit in ATTOSECONDS:
        days = _cast(times, np.dtype("M8[D]"))
        fits = days is not None and bool(((days.astype(times.dtype) == times) | np.isnat(times)).all())
        return in_unit(days, dtype) if days is not None and fits else None
    return _cast(times, dtype)


def _cast(times: AnyArray, dtype: np.dtype[Any]) -> AnyArray | None:
    try:
        return times.astype(dtype)
    except OverflowError:
        return None


def as_times(value: Any, dtype: np.dtype[Any]) -> AnyArray | None:
    """Times, texts, dates of Python or numbers of ticks as times of a dtype; None if it does not reach that far.

    Raises
    ------
    TypeError, ValueError
        For what is none of them.

    Examples
    --------
    >>> import datetime as dt
    >>> as_times(["2000-01-01"], np.dtype("M8[ns]"))
    array(['2000-01-01T00:00:00.000000000'], dtype='datetime64[ns]')
    >>> as_times(dt.date(3000, 1, 1), np.dtype("M8[ns]")) is None
    True
    """
    given = np.asarray(value)
    if given.dtype.kind == dtype.kind:
        return in_unit(given, dtype)
    times = _cast(given, dtype)
    seconds = np.dtype(f"{dtype.kind}8[s]")
    is_counted = given.dtype.kind not in "OSTU" or any(isinstance(each, int | np.integer) for each in given.flat)
    if times is None or is_counted or not np.can_cast(seconds, dtype):
        return times
    # of these NumPy makes other times in silence, also from 2.5 on
    read = in_unit(times, seconds)
    assert read is not None
    apart = given.astype(seconds).view(np.int64) - read.view(np.int64)
    return times if (np.abs(apart) <= 1).all() else None
