"""Periods, stored as the times at which they start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
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
from zarrds.labels.kinds.times import to_unit

__all__ = ["PERIODS", "period_unit", "restore_periods", "store_periods"]

# the group is the frequency: 3M, 15min, W-SUN, Q-DEC, B
PERIODS = re.compile(r"period\[(\d{0,18}[A-Za-z]{1,3}(?:-[A-Z]{3})?)\]")
_SUBDAILY = re.compile(r"\d*(h|min|s|ms|us|ns)")
# 0001-01-01 and 9999-12-31 in days since 1970: xarray encodes no others
_FIRST_DAY, _LAST_DAY = -719162, 2932896


def store_periods(labels: pd.PeriodIndex, like: StoredKind | None) -> Plain:
    """Periods of any frequency.

    Raises
    ------
    LabelError
        For another frequency than `like` describes.
    EncodingError
        For periods that do not start in the years 1 to 9999.
    """
    dtype = str(labels.dtype)
    if PERIODS.fullmatch(dtype) is None:
        raise EncodingError("periods of this frequency cannot be stored", found=dtype, mend="Convert them with asfreq")
    if like is not None and like.description["dtype"] != dtype:
        raise other_kind(like, dtype)
    _check_years(labels, dtype)
    return Plain(_starts(labels, _unit(dtype)), {"dtype": dtype} if like is None else dict(like.description))


def _check_years(labels: pd.PeriodIndex, dtype: str) -> None:
    present = labels[~is_missing(labels)]
    # so that pandas need not count the days of years that would overflow; no unit of a day or more has more of them
    is_far = (np.abs(present.asi8) > 2 * _LAST_DAY).any() and not _SUBDAILY.fullmatch(dtype[7:-1])
    days = np.zeros(0, np.int64) if is_far else present.asfreq("D", how="S").asi8
    if is_far or ((days < _FIRST_DAY) | (days > _LAST_DAY)).any():
        raise EncodingError("periods cannot be stored as CF times", expected="years 1 to 9999", found=dtype)


def _unit(dtype: str) -> str:
    """The coarsest unit of NumPy's that holds the starts of periods exactly, and that pandas has."""
    match = _SUBDAILY.fullmatch(dtype[7:-1])
    return match[1] if match and match[1] in ("ms", "us", "ns") else "s"


def _starts(labels: pd.PeriodIndex, unit: str) -> Array:
    return np.asarray(labels.asfreq(unit, how="S").asi8).view(f"M8[{unit}]")


def period_unit(description: Description) -> dict[str, Any]:
    """How to decode the starts. Raises `MetadataError` for what is no period to pandas."""
    dtype = described_dtype(description)
    _frequency(dtype)
    return {"time_unit": _unit(dtype)}


def _frequency(dtype: str) -> Any:
    match, freq = PERIODS.fullmatch(dtype), None
    with suppress(OverflowError, TypeError, ValueError):  # pandas', for letters that it does not know
        freq = pd.PeriodDtype(match[1]).freq if match else None
    if freq is None or freq.n < 1:
        raise mismatch("dtype is none of periods", found=dtype)
    return freq


def restore_periods(description: Description, values: Array, companions: Mapping[str, Any]) -> Labels:
    """The index that `store_periods` was given."""
    dtype = described_dtype(description)
    freq = _frequency(dtype)
    starts = to_unit(values, _unit(dtype)) if values.dtype.kind == "M" else None
    if starts is None:
        raise mismatch("array does not hold the starts of the periods that are described", found=values.dtype)
    present = starts[~np.isnat(starts)]
    days = present.astype("M8[D]").view(np.int64)
    if ((days < _FIRST_DAY) | (days > _LAST_DAY)).any():
        raise mismatch("times are out of the range of periods", expected="years 1 to 9999")
    periods: Any = pd.PeriodIndex  # of which the stubs do not know `from_ordinals`
    index: pd.PeriodIndex = periods.from_ordinals(starts.view(np.int64), freq=_unit(dtype)).asfreq(freq)
    if not np.array_equal(_starts(index, _unit(dtype)).view(np.int64), starts.view(np.int64)):
        raise mismatch("times are not those at which periods start", expected=dtype)
    return index
