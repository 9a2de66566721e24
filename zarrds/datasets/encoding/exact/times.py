"""Whether the numbers that times became are those times: xarray rounds them, or changes their units, with a warning."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import decode_cf_variables
from zarrds.datasets.encoding.exact.blocks import Block, encoding_error
from zarrds.datasets.encoding.exact.comparison import comparable, label_text
from zarrds.datasets.encoding.exact.packing import CF_KEYS, markers_of
from zarrds.errors import EncodingError
from zarrds.labels.kinds.plain import is_missing
from zarrds.metadata.times import NUMPY_CALENDARS, from_date

__all__ = ["check_dates", "check_same_times", "check_units", "decode_times", "units_as_read", "whole_units"]

Array: TypeAlias = "np.ndarray[Any, Any]"
Encoding: TypeAlias = Mapping[str, Any]
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_MOST_NS = 2**63 - 1
# which all parsers take for the same
_FULL_DATE = re.compile(r" since +\d+-\d\d?-\d\d?([ T]\d\d?:\d\d?(:\d\d?(\.\d*)?)?)?\Z")
_SAME_CALENDARS = {"gregorian": "standard", "365_day": "noleap", "366_day": "all_leap"}


def check_units(block: Block, dtype: np.dtype[Any], encoding: Encoding) -> None:
    """Check that times are whole units after the date that a store counts from.

    Parameters
    ----------
    block : Block
        Of datetimes (NumPy's, or cftime objects) or timedeltas.
    dtype : dtype
        The integers of the store, for the message.
    encoding : mapping
        With ``units``, and ``calendar`` for datetimes.

    Raises
    ------
    EncodingError
    """
    values = block.values
    start, following = _first_times(encoding["units"], encoding.get("calendar"), values.dtype)
    unit = following - start
    missing = pd.isnull(values)
    if values.dtype.kind == "O":
        steps = (not m and (v - start) % unit for v, m in zip(values, missing, strict=True))
        bad = np.array([bool(step) for step in steps])
    else:
        # remainders are small, where the differences themselves may be too large for their dtype
        bad = (_remainders(values, unit) != _remainders(start, unit)) & ~missing
    if bad.any():
        raise encoding_error(
            block,
            bad,
            "the store's units cannot hold exactly",
            expected=f"whole {encoding['units']}, as {dtype}",
            mend="Round it to them, or save the variable anew with finer units",
        )


def _remainders(times: Array, unit: Array) -> Array:
    """What is left of times since 1970 beside whole units, without a cast of the times to a dtype that is finer."""
    spans = times - np.zeros((), times.dtype)
    own = np.ones((), spans.dtype)
    if not int((own % unit).astype(np.int64)):
        return own % unit
    if not int((unit % own).astype(np.int64)):
        return spans % unit.astype(own.dtype)
    return spans % unit


@functools.lru_cache(maxsize=64)  # decoding costs a good part of what it takes to append a step
def _first_times(units: str, calendar: str | None, like: np.dtype[Any]) -> Array:
    """The date that units count from, and the time one unit after it."""
    encoding = {"units": units} | ({} if calendar is None else {"calendar": calendar})
    numbers = np.array([0, 1])
    if like.kind == "O":
        return _decode(numbers, encoding, "s", use_cftime=True)
    try:
        return _decode(numbers, encoding, "s", use_cftime=False)
    except ValueError:
        # dates of before 1582, which no datetimes are: then as many whole units later
        first, second = _decode(numbers, encoding, "s", use_cftime=True)
        later = (first.replace(year=2000) - first) // (second - first)
        return decode_times(numbers + later, encoding, like, unit="s")


def units_as_read(units: str, calendar: str | None) -> str:
    """Units of dates of cftime with the date that readers take for theirs, by which new ones are counted.

    A bare hour and a zone after a blank are nothing to cftime, by which they are read, but something to xarray, which
    counts the new ones.

    Examples
    --------
    >>> units_as_read("hours since 2000-01-01 12", "noleap")
    'hours since 2000-01-01T00:00:00'
    """
    if _FULL_DATE.search(units):
        return units
    return from_date(units, _first_times(units, calendar, np.dtype(object))[0].isoformat())


def whole_units(values: Array, encoding: Encoding) -> Array | None:
    """How many units after the date that a store counts from times are, where integers alone tell it.

    Parameters
    ----------
    values : array
        NumPy's datetimes or timedeltas.
    encoding : mapping
        With ``units``, and ``calendar`` for datetimes.

    Returns
    -------
    array of int64, or None
        None where something is missing, lies between two units, or where not all is within the range of nanoseconds:
        then it is for xarray to count, and for `check_same_times` to look whether that was right.

    Examples
    --------
    >>> import numpy as np
    >>> whole_units(np.array(["2000-01-08T12"], "M8[ns]"), {"units": "hours since 2000-01-01"})
    array([180])
    """
    counted = _first_nanoseconds(encoding["units"], encoding.get("calendar"), values.dtype)
    if counted is None or not values.size:
        return None
    (start, unit, own), numbers = counted, values.astype(values.dtype.newbyteorder("="), copy=False).view(np.int64)
    ends = [int(end) * own for end in (numbers.min(), numbers.max())]
    # NaT is the least of all
    if not all(-_MOST_NS <= end <= _MOST_NS and -_MOST_NS <= end - start <= _MOST_NS for end in ends):
        return None
    whole, rest = np.divmod(numbers * own - start, unit)
    return None if rest.any() else whole


@functools.lru_cache(maxsize=64)
def _first_nanoseconds(units: str, calendar: str | None, like: np.dtype[Any]) -> tuple[int, int, int] | None:
    """The date that units count from, a unit, and the unit of a dtype, in nanoseconds; None if some are none."""
    own = np.datetime_data(like)
    if own[0] not in _NANOSECONDS or (like.kind == "M" and (calendar or "standard").lower() not in NUMPY_CALENDARS):
        return None
    encoding = {"units": units} | ({} if calendar is None else {"calendar": calendar})
    try:
        times = _decode(np.array([0, 1, 2, 12]), encoding, "ns", use_cftime=False)
    except (ValueError, OverflowError):
        return None
    if times.dtype != np.dtype(f"{like.kind}8[ns]"):
        return None
    start, *others = times.view(np.int64).tolist()
    unit = others[0] - start
    if unit < 1 or [other - start for other in others] != [unit, 2 * unit, 12 * unit]:
        return None  # months, which have no length
    return start, unit, own[1] * _NANOSECONDS[own[0]]


def check_dates(block: Block, calendar: str, *, is_cftime: bool, can_miss: bool) -> None:
    """Check that times can be among those of a calendar.

    Parameters
    ----------
    block : Block
    calendar : str
        That of the store.
    is_cftime : bool
        Whether they are read as dates of cftime.
    can_miss : bool
        Whether there is a number that stands for what is missing.

    Raises
    ------
    EncodingError
        For dates of another calendar, and for what is missing among those of cftime, if nothing stands for it.
    """
    missing = is_missing(block.values)
    if is_cftime and not can_miss and missing.any():
        problem = "is missing, for which the store's integers have no _FillValue"
        mend = "Fill or drop what is missing, or save the variable anew, as float64 or with a _FillValue"
        raise encoding_error(block, missing, problem, expected=f"dates of calendar {calendar}", mend=mend)
    found = None
    if block.values.dtype.kind == "O":
        own = _calendar(calendar)
        others = (date.calendar for date in block.values[~missing] if hasattr(date, "calendar"))
        other = next((each for each in others if _calendar(each) != own), None)
        found = None if other is None else f"dates of cftime, of calendar {other}"
    elif is_cftime and block.values.dtype.kind == "M" and calendar not in NUMPY_CALENDARS:
        found = f"{block.values.dtype}, of the standard calendar"
    if found is not None:
        raise EncodingError(
            f"variable {block.name!r} has dates of another calendar than the store's",
            key=str(block.name),
            expected=f"dates of calendar {calendar}",
            found=found,
            mend="Convert them with convert_calendar",
        )


def _calendar(name: str) -> str:
    """A calendar by one of its names."""
    return _SAME_CALENDARS.get(name.lower(), name.lower())


def check_same_times(block: Block, decoded: Array, dtype: np.dtype[Any], encoding: Encoding) -> None:
    """Check that times were encoded to what reads back as the same instants.

    Parameters
    ----------
    block : Block
    decoded : array
        As `decode_times` gives them back.
    dtype : dtype
    encoding : mapping
        Both of the store, for the message.

    Raises
    ------
    EncodingError
    """
    if decoded.dtype.kind == "O" and block.values.dtype.kind == "M":
        raise EncodingError(
            f"variable {block.name!r} would read back as dates of cftime",
            key=str(block.name),
            expected="dates after 1582-10-15, or those of the calendar proleptic_gregorian",
            found=f"{dtype} in {encoding.get('units')}, calendar {encoding.get('calendar', 'standard')}",
            mend="Convert them with convert_calendar(..., use_cftime=True), or save them under another name",
        )
    _, before, after = comparable(block.name, block.values, decoded)
    bad = ~(np.asarray(before == after, bool) | (pd.isnull(block.values) & pd.isnull(decoded)))
    if bad.any():
        raise encoding_error(
            block,
            bad,
            f"would read back as {label_text(decoded[int(np.argmax(bad))])}",
            expected=f"times that {dtype} in {encoding.get('units', 'its unit')} holds exactly",
            mend="Round it, or save the variable anew with other units or integers of more bits",
        )


def decode_times(numbers: Array, encoding: Encoding, like: np.dtype[Any], *, unit: Any = None) -> Array:
    """What a store's reader makes of numbers.

    Parameters
    ----------
    numbers : array
        Of one dimension, as they are stored.
    encoding : mapping
        Of which the CF keys count.
    like : dtype
        Of times; objects stand for cftime's.
    unit : {"s", "ms", "us", "ns"}, optional
        The coarsest unit of the result; that of `like` unless said.

    Examples
    --------
    >>> import numpy as np
    >>> decode_times(np.array([7]), {"units": "days since 2000-01-01"}, np.dtype("M8[s]"))
    array(['2000-01-08T00:00:00'], dtype='datetime64[s]')
    """
    is_cftime = like.kind == "O"
    if unit is None:
        unit = "s" if is_cftime else np.datetime_data(like)[0]
    try:
        decoded = _decode(numbers, encoding, unit, use_cftime=is_cftime)
        if is_cftime and (missing := _is_missing(numbers, encoding)).any():
            decoded[missing] = None  # of which xarray makes the date that is counted from
        return decoded
    except ValueError:
        # units that count from before the reform of the calendar, or the range of `unit`: then xarray's reader decodes
        # by way of cftime, to the microsecond, but no missing times
        is_standard = str(encoding.get("calendar", "standard")).lower() in NUMPY_CALENDARS
        if is_cftime or not is_standard or _is_missing(numbers, encoding).any():
            raise
        dates = _decode(numbers, encoding, unit, use_cftime=True)
        if not dates.size or dates.min() < type(dates.flat[0])(1582, 10, 15):  # which stay dates of cftime
            return dates
        index: Any = xr.CFTimeIndex(dates)  # type: ignore[no-untyped-call]  # of xarray
        return np.asarray(index.to_datetimeindex(time_unit=unit))


def _is_missing(numbers: Array, encoding: Encoding) -> Array:
    missing = np.asarray(pd.isnull(numbers))
    for marker in markers_of(encoding):
        missing |= np.isin(numbers, marker)
    return missing


def _decode(numbers: Array, encoding: Encoding, unit: Any, *, use_cftime: bool) -> Array:
    attributes = {key: encoding[key] for key in CF_KEYS if key in encoding}
    if use_cftime:
        numbers = numbers.astype(np.float64)  # as xarray's reader does, which is not exact above 2⁵³
    decoded, _, _ = decode_cf_variables(
        # a copy: of floats xarray makes other units in place
        {"values": xr.Variable(("values",), numbers.copy(), attributes)},
        {},
        concat_characters=False,
        decode_times=xr.coders.CFDatetimeCoder(use_cftime=use_cftime, time_unit=unit),
        decode_timedelta=xr.coders.CFTimedeltaCoder(time_unit=unit, decode_via_units=True),
    )
    return np.asarray(decoded["values"].values)
