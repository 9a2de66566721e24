"""Times of NumPy in another unit, and units of CF.

Before NumPy 2.5 what is beyond the range of a unit becomes other times, without a word.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

__all__ = [
    "ATTOSECONDS",
    "CF_UNITS",
    "NUMPY_CALENDARS",
    "as_times",
    "from_date",
    "gives_units",
    "in_unit",
    "is_since",
    "of_same_date",
    "unit_of",
]

AnyArray: TypeAlias = "np.ndarray[Any, Any]"

_NOT_A_TIME = np.iinfo(np.int64).min
_MOST = np.iinfo(np.int64).max
# what xarray counts times in, the coarsest first
CF_UNITS = ("days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds")
_SINCE = " since "
# how long the units are that are always as long
ATTOSECONDS: dict[str, int] = {"W": 604_800 * 10**18, "D": 86_400 * 10**18, "h": 3600 * 10**18, "m": 60 * 10**18} | {
    unit: 10 ** (18 - 3 * i) for i, unit in enumerate(("s", "ms", "us", "ns", "ps", "fs", "as"))
}
# of CF: those whose dates xarray decodes to datetime64 unless it is told otherwise
NUMPY_CALENDARS = frozenset({"standard", "gregorian", "proleptic_gregorian"})
_MONTHS = {"Y": 12, "M": 1}
# NumPy counts durations of Python in microseconds before all else
_LONGEST = dt.timedelta(microseconds=_MOST)


def is_since(units: object) -> bool:
    """Whether they are those of times that are counted from a date."""
    return isinstance(units, str) and _SINCE in units


def gives_units(times: Mapping[str, object], bounds: Mapping[str, object]) -> bool:
    """Whether an array, by its attributes, is read as times where another names it as its bounds (CF 1.12, 7.1)."""
    return is_since(times.get("units")) and "units" not in bounds


def unit_of(units: str) -> str:
    """What times are counted in, with an "s" at its end, as xarray takes it; one of `CF_UNITS` if that is known.

    Examples
    --------
    >>> unit_of("Day since 2000-01-01"), unit_of("hours")
    ('days', 'hours')
    """
    name = units.partition(_SINCE)[0].strip().lower()
    return name if name.endswith("s") else f"{name}s"


def of_same_date(units: str, unit: str) -> str:
    """Another unit, counted from the same date.

    Examples
    --------
    >>> of_same_date("days since 2000-01-01", "hours")
    'hours since 2000-01-01'
    """
    return unit + "".join(units.partition(_SINCE)[1:])


def from_date(units: str, date: str) -> str:
    """The same unit, counted from another date.

    Examples
    --------
    >>> from_date("days since 2000-01-01", "1850-01-01")
    'days since 1850-01-01'
    """
    return f"{units.partition(_SINCE)[0]}{_SINCE}{date}"


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
    lengths = next((each for each in (ATTOSECONDS, _MONTHS) if unit in each and other in each), None)
    if lengths is not None:
        own, wanted = lengths[other] * m, lengths[unit] * n
        # not by NumPy, which also rounds the smallest and the largest wrongly, and tells nobody of what does not fit
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
            exact = [tick * own // wanted for tick in np.where(missing, 0, ticks).ravel().tolist()]
            if any(abs(count) > _MOST for count in exact):
                return None
            counts = np.array(exact, np.int64).reshape(ticks.shape)
        return np.where(missing, _NOT_A_TIME, counts).view(dtype.newbyteorder("=")).astype(dtype, copy=False)
    if dtype.kind == "M" and other in ("Y", "M") and unit in ATTOSECONDS:
        days = _cast(times, np.dtype("M8[D]"))
        fits = days is not None and bool(((days.astype(times.dtype) == times) | np.isnat(times)).all())
        return in_unit(days, dtype) if days is not None and fits else None
    if dtype.kind == "M" and other in ATTOSECONDS and unit in _MONTHS and (other, m) != ("D", 1):
        days = in_unit(times, np.dtype("M8[D]"))
        return None if days is None else _cast(days, dtype)
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
    if given.dtype.kind == "O" and any(isinstance(each, dt.timedelta) and abs(each) > _LONGEST for each in given.flat):
        return None
    times = _cast(given, dtype)
    seconds = np.dtype(f"{dtype.kind}8[s]")
    is_counted = given.dtype.kind not in "OSTU" or any(isinstance(each, int | np.integer) for each in given.flat)
    unit, n = np.datetime_data(dtype)
    if times is None or is_counted or ATTOSECONDS.get(unit, _MOST) * n > ATTOSECONDS["s"]:
        return times
    # of these NumPy makes other times in silence, also from 2.5 on
    read = in_unit(times, seconds)
    assert read is not None
    apart = given.astype(seconds).view(np.int64) - read.view(np.int64)
    return times if (np.abs(apart) <= 1).all() else None
