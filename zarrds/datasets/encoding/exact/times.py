"""Whether the numbers that times became are those times: xarray rounds them, or changes their units, with a warning."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import decode_cf_variables
from zarrds.datasets.encoding.exact.blocks import Block, encoding_error
from zarrds.datasets.encoding.exact.comparison import comparable, label_text
from zarrds.datasets.encoding.exact.packing import CF_KEYS
from zarrds.errors import EncodingError

__all__ = ["check_dates", "check_same_times", "check_units", "decode_times"]

Array: TypeAlias = "np.ndarray[Any, Any]"
Encoding: TypeAlias = Mapping[str, Any]
_STANDARD = frozenset({"standard", "gregorian", "proleptic_gregorian"})  # those that NumPy's datetimes are converted to


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
        zero = np.zeros((), values.dtype)
        bad = ((values - zero) % unit != (start - np.zeros((), start.dtype)) % unit) & ~missing
    if bad.any():
        raise encoding_error(
            block,
            bad,
            "the store's units cannot hold exactly",
            expected=f"whole {encoding['units']}, as {dtype}",
            mend="Round it to them, or save the variable anew with finer units",
        )


@functools.lru_cache(maxsize=64)  # decoding costs a good part of what it takes to append a step
def _first_times(units: str, calendar: str | None, like: np.dtype[Any]) -> Array:
    """The date that units count from, and the time one unit after it."""
    encoding = {"units": units} | ({} if calendar is None else {"calendar": calendar})
    return decode_times(np.array([0, 1]), encoding, like, unit="s")


def check_dates(block: Block, calendar: str) -> None:
    """Check that times can be among dates that are read as those of cftime.

    Parameters
    ----------
    block : Block
    calendar : str
        That of the store.

    Raises
    ------
    EncodingError
        For what is missing, which xarray reads as a date, or not at all, and for datetimes of another calendar.
    """
    missing = np.asarray(pd.isnull(block.values), bool)
    if missing.any():
        problem = "is missing, which no date of cftime can be"
        mend = "Fill or drop what is missing, or save under another name"
        raise encoding_error(block, missing, problem, expected=f"dates of calendar {calendar}", mend=mend)
    if block.values.dtype.kind == "M" and calendar not in _STANDARD:
        raise EncodingError(
            f"variable {block.name!r} has dates of another calendar than the store's",
            key=str(block.name),
            expected=f"dates of calendar {calendar}",
            found=f"{block.values.dtype}, of the standard calendar",
            mend="Convert them with convert_calendar",
        )


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
    if unit is None:
        unit = "s" if like.kind == "O" else np.datetime_data(like)[0]
    try:
        return _decode(numbers, encoding, like, unit)
    except ValueError:
        # units that count from before the range of `unit`: then xarray's reader decodes otherwise, but no missing times
        decoded = _decode(numbers, encoding, like, "s")
        if pd.isnull(decoded).any():
            raise
        return decoded


def _decode(numbers: Array, encoding: Encoding, like: np.dtype[Any], unit: Any) -> Array:
    attributes = {key: encoding[key] for key in CF_KEYS if key in encoding}
    if like.kind == "O":
        numbers = numbers.astype(np.float64)  # as xarray's reader does, which is not exact above 2⁵³
    decoded, _, _ = decode_cf_variables(
        # a copy: of floats xarray makes other units in place
        {"values": xr.Variable(("values",), numbers.copy(), attributes)},
        {},
        concat_characters=False,
        decode_times=xr.coders.CFDatetimeCoder(use_cftime=like.kind == "O", time_unit=unit),
        decode_timedelta=xr.coders.CFTimedeltaCoder(time_unit=unit, decode_via_units=True),
    )
    return np.asarray(decoded["values"].values)
