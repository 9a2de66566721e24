"""Datetimes, with and without a time zone, timedeltas, and cftime's datetimes."""

from __future__ import annotations

import datetime as dt
import re
import sys
import zoneinfo
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from zarrds.errors import EncodingError
from zarrds.labels.kinds.plain import (
    Array,
    Description,
    Labels,
    Plain,
    StoredKind,
    described_dtype,
    is_missing,
    mismatch,
    other_kind,
)
from zarrds.metadata.times import NUMPY_CALENDARS

__all__ = [
    "TIMES",
    "is_cftime",
    "plain_times",
    "restore_cftime",
    "restore_times",
    "store_cftime",
    "store_times",
    "time_unit",
    "to_unit",
    "zoned_index",
]

# the dtypes of times; the groups are what, unit, zone
TIMES = re.compile(r"(datetime|timedelta)64\[(s|ms|us|ns)(?:, ([^\]]{1,64}))?\]")
_UNITS = ("s", "ms", "us", "ns")
_FIXED_OFFSET = re.compile(r"UTC([+-])(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{6}))?)?")
_FREQ = re.compile(r"[-A-Za-z0-9]{1,40}")


def store_times(labels: pd.DatetimeIndex | pd.TimedeltaIndex, like: StoredKind | None) -> Plain | None:
    """Datetimes or timedeltas; None where a plain array of nanoseconds tells all."""
    if like is not None:
        values, dtype = plain_times(labels, like, may_refine=True)
        return Plain(values, {**like.description, "dtype": dtype})
    values, dtype = plain_times(labels)
    freq = _freq_text(labels)
    # xarray decodes datetimes to nanoseconds, but timedeltas without elements to seconds
    if freq is None and (dtype == "datetime64[ns]" or (dtype == "timedelta64[ns]" and labels.size)):
        return None
    more = {"freq": freq, "zone": _library(labels.tz if isinstance(labels, pd.DatetimeIndex) else None)}
    return Plain(values, {"dtype": dtype} | {name: value for name, value in more.items() if value is not None})


def plain_times(
    labels: pd.DatetimeIndex | pd.TimedeltaIndex, like: StoredKind | None = None, *, may_refine: bool = False
) -> tuple[Array, str]:
    """Times without a zone (of UTC, where they had one), and the dtype to describe them by.

    Parameters
    ----------
    labels : DatetimeIndex or TimedeltaIndex
    like : StoredKind, optional
        With the dtype that they get.
    may_refine : bool
        Whether times that its unit cannot hold keep theirs, with the dtype of that.

    Raises
    ------
    LabelError
        For other things than `like` describes.
    EncodingError
        For times that its unit cannot hold, and zones without a name.
    """
    zone = labels.tz if isinstance(labels, pd.DatetimeIndex) else None
    naive: Any = labels if zone is None else labels.tz_convert(None)  # type: ignore[union-attr]  # they have a zone
    values: Array = naive.to_numpy()
    _check_first(values)
    what = "datetime64" if values.dtype.kind == "M" else "timedelta64"
    if like is None:
        name = "" if zone is None else f", {_zone_name(zone)}"
        return values, f"{what}[{labels.unit}{name}]"
    dtype = described_dtype(like.description)
    match = TIMES.fullmatch(dtype)
    if match is None or f"{match[1]}64" != what or (match[3] is None) != (zone is None):
        raise other_kind(like, labels.dtype)
    converted = to_unit(values, match[2])
    if converted is None and may_refine and _UNITS.index(match[2]) < _UNITS.index(labels.unit):
        return values, f"{what}[{labels.unit}{dtype[dtype.index(match[2]) + len(match[2]) :]}"
    if converted is None:
        raise EncodingError(
            "times cannot be held exactly in the store's unit",
            expected=dtype,
            found=labels.dtype,
            mend="Round them to it, or save the variable anew",
        )
    return converted, dtype


def _check_first(values: Array) -> None:
    """xarray writes the year of the first date with four digits, and stumbles over those that have other years."""
    present = values[~np.isnat(values)] if values.dtype.kind == "M" else values[:0]
    # not by comparing, which overflows silently between units
    if present.size and not 1 <= 1970 + int(present[0].astype("M8[Y]").astype(np.int64)) <= 9999:
        raise EncodingError("times cannot be stored as CF times", expected="years 1 to 9999", found=present[0])


def to_unit(values: Array, unit: str) -> Array | None:
    """Times in another unit, None if it cannot hold them exactly.

    Examples
    --------
    >>> to_unit(np.array([1000, 2000], "m8[ms]"), "s")
    array([1, 2], dtype='timedelta64[s]')
    >>> to_unit(np.array([1500], "m8[ms]"), "s") is None
    True
    """
    try:
        converted = values.astype(f"{values.dtype.kind}8[{unit}]")
        back = converted.astype(values.dtype)
    except OverflowError:
        return None
    missing = np.isnat(values)
    is_exact = np.array_equal(missing, np.isnat(converted)) and bool(np.all((back == values) | missing))
    return converted if is_exact else None


def restore_times(description: Description, values: Array, companions: Mapping[str, Any]) -> Labels:
    """The index that `store_times` was given."""
    match = TIMES.fullmatch(described_dtype(description))
    if match is None or (match[1] == "timedelta" and match[3]):
        raise mismatch("dtype is none of times", found=description["dtype"])
    if values.dtype.kind != ("M" if match[1] == "datetime" else "m"):
        raise mismatch("array does not hold the times that are described", expected=match[0], found=values.dtype)
    converted = to_unit(values, match[2])
    if converted is None:
        raise mismatch("times are finer than they are described", expected=match[0], found=values.dtype)
    index: Any = pd.Index(converted)
    if match[3]:
        index = index.tz_localize("UTC").tz_convert(_zone(match[3], description.get("zone")))
    restored: Labels = _with_freq(index, description["freq"]) if "freq" in description else index
    return restored


def time_unit(description: Description) -> dict[str, Any]:
    """How to decode times."""
    match = TIMES.fullmatch(described_dtype(description))
    return {} if match is None else {"time_unit": match[2]}


def _zone_name(zone: dt.tzinfo) -> str:
    """A name by which every pandas finds the zone: one of the IANA's, UTC, or UTC+hh:mm."""
    # of zoneinfo and of pytz; other zones have none, but perhaps a fixed offset
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    offset = None if name else zone.utcoffset(None)
    if offset is not None:
        name = str(dt.timezone(offset))
    try:
        _zone(str(name))
    except (LookupError, ValueError, OSError) as error:
        raise EncodingError(
            "time zone has no name that others could find it by",
            expected="a zone of the IANA database, UTC or a fixed offset",
            found=zone,
            mend="Convert the times with tz_convert first",
        ) from error
    return str(name)


def _zone(name: str, library: object = None) -> dt.tzinfo | str:
    """A zone as pandas takes it; nothing but zoneinfo's own files is looked into."""
    if name == "UTC":
        return dt.UTC
    if match := _FIXED_OFFSET.fullmatch(name):
        hours, minutes, seconds, micros = (int(part or 0) for part in match.groups()[1:])
        offset = dt.timedelta(hours=hours, minutes=minutes, seconds=seconds, microseconds=micros)
        return dt.timezone(-offset if match[1] == "-" else offset)
    found = zoneinfo.ZoneInfo(name)
    if library == "pytz" and (pytz := _pytz()) is not None:
        zone: dt.tzinfo = pytz.timezone(name)
        return zone
    return found if library == "zoneinfo" else name  # pandas makes of it what it makes of the names that users give


def _library(zone: dt.tzinfo | None) -> str | None:
    """Which library a zone is of, where it is not the one that pandas chooses: pandas 2 prefers pytz, 3 zoneinfo."""
    key = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if key is None or type(pd.Timestamp(0, tz=key).tz).__module__ == type(zone).__module__:
        return None
    return "zoneinfo" if isinstance(zone, zoneinfo.ZoneInfo) else "pytz"


def _pytz() -> Any:
    try:
        import pytz
    except ImportError:
        return None
    return pytz


def _freq_text(labels: pd.DatetimeIndex | pd.TimedeltaIndex) -> str | None:
    """The index's frequency, None where its text would not tell all of it: a calendar of holidays, for example."""
    if labels.freq is None:
        return None
    text: str = labels.freq.freqstr
    try:
        tells_all = _FREQ.fullmatch(text) and pd.tseries.frequencies.to_offset(text) == labels.freq
    except ValueError:
        return None
    return text if tells_all else None


def _with_freq(index: Any, freq: object) -> Any:
    """The index with a frequency where it has it still: others may have appended to the array."""
    if not isinstance(freq, str) or not _FREQ.fullmatch(freq):
        raise mismatch("frequency is malformed", found=f"{freq!r:.80}")
    try:
        return type(index)(index, freq=freq)
    except (ArithmeticError, LookupError, TypeError, ValueError, Warning):
        return index


def zoned_index(values: Array) -> pd.DatetimeIndex:
    """An index of the datetime objects of a 1-D array, which may have different units, but have one zone.

    Raises
    ------
    EncodingError
    """
    stamps = [pd.Timestamp(value) if value is not None else pd.NaT for value in values]
    present = [stamp for stamp in stamps if isinstance(stamp, pd.Timestamp)]
    zones = sorted({"none" if stamp.tz is None else _zone_name(stamp.tz) for stamp in present})
    if len(zones) != 1:
        raise EncodingError(
            "datetimes of several time zones cannot be stored together",
            found=zones,
            mend="Convert them to one zone, with tz_convert or tz_localize",
        )
    unit = max((stamp.unit for stamp in present), key=_UNITS.index)
    numbers = np.full(len(stamps), np.iinfo(np.int64).min)
    try:
        numbers[~is_missing(stamps)] = [stamp.as_unit(unit).asm8.view(np.int64) for stamp in present]
    except ValueError as error:  # OutOfBoundsDatetime
        raise EncodingError(
            f"datetimes cannot be stored in one unit: {error}", expected=f"datetime64[{unit}]"
        ) from error
    return pd.DatetimeIndex(numbers.view(f"M8[{unit}]")).tz_localize("UTC").tz_convert(present[0].tz)


def is_cftime(values: Any) -> bool:
    """Whether the first of objects that is not missing is one of cftime's; cftime is not imported for it.

    They may have any number of dimensions.
    """
    cftime = sys.modules.get("cftime")
    if cftime is None:
        return False
    return isinstance(_first_present(np.ravel(values)), cftime.datetime)


def _first_present(values: Any) -> Any:
    return next((value for value in values if np.ndim(value) or not pd.isna(value)), None)


def store_cftime(labels: Labels, like: StoredKind | None) -> Plain | None:
    """Datetimes of cftime; None for calendars that xarray decodes to them anyway."""
    values = labels.to_numpy()
    if like is not None:
        return Plain(values, dict(like.description))
    calendar = _first_present(values).calendar
    return Plain(values, {"dtype": "cftime"}) if calendar in NUMPY_CALENDARS else None


def restore_cftime(description: Description, values: Array, companions: Mapping[str, Any]) -> Labels:
    """An index of objects, of which xarray makes a CFTimeIndex."""
    cftime = sys.modules.get("cftime")
    present = values[~is_missing(values)]
    if values.dtype.kind != "O" or (
        present.size and (cftime is None or not all(isinstance(value, cftime.datetime) for value in present))
    ):
        raise mismatch("array does not hold the cftime objects that are described", found=values.dtype)
    return pd.Index(values, dtype=object)
