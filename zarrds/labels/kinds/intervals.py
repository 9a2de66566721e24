"""Intervals: their midpoints, and their ends beside them, as the bounds of CF."""

from __future__ import annotations

import re
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
    mismatch,
    other_kind,
)
from zarrds.labels.kinds.times import TIMES, plain_times, restore_times, time_unit
from zarrds.metadata.fields import Raw

__all__ = ["INTERVAL", "interval_unit", "restore_intervals", "store_intervals"]

INTERVAL = re.compile("interval")
_NUMBERS = re.compile(r"u?int(?:8|16|32|64)|float(?:32|64)")
_SIDES = frozenset({"left", "right", "both", "neither"})
# the units of CF, the coarsest first, in nanoseconds; none coarser, so that other intervals can be appended
_CF_UNITS = {"minutes": 60 * 10**9, "seconds": 10**9, "milliseconds": 10**6, "microseconds": 10**3, "nanoseconds": 1}
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def store_intervals(labels: pd.IntervalIndex[Any], like: StoredKind | None) -> Plain:
    """Midpoints (the finite end where the other is infinite), with both ends as their companion.

    Raises
    ------
    LabelError
        For intervals that are closed on another side, or of other things, than `like` describes.
    EncodingError
        For intervals of other things than numbers and times, and for ends that `like` cannot hold exactly.
    """
    if like is not None and like.description.get("closed") != labels.closed:
        raise other_kind(like, labels.dtype, problem="intervals are not closed as the store's")
    within = None if like is None else StoredKind({"dtype": _subtype(like.description)})
    (left, dtype), (right, _) = _ends(labels.left, within), _ends(labels.right, within)
    bounds = np.stack([left, right], axis=-1)
    middle = _midpoints(left, right)
    encoding: dict[str, Any] = {}
    if like is None and left.dtype.kind in "Mm":
        encoding = {"units": _cf_units(np.concatenate([left, right, middle]))}
    description: Raw = {"dtype": "interval", "closed": labels.closed, "subtype": {"dtype": dtype}}
    return Plain(
        middle,
        description if like is None else dict(like.description),
        encoding=encoding,
        companions={"bounds": Plain(bounds, encoding=encoding)},
    )


def _ends(ends: Labels, like: StoredKind | None) -> tuple[Array, str]:
    if isinstance(ends, pd.DatetimeIndex | pd.TimedeltaIndex):
        return plain_times(ends, like)
    if not _NUMBERS.fullmatch(str(ends.dtype)):
        raise EncodingError(
            "intervals of this dtype cannot be stored",
            expected="intervals of numbers or times",
            found=ends.dtype,
            mend="Convert them first, for example with astype('interval[float64]')",
        )
    values = ends.to_numpy()
    if like is None:
        return values, values.dtype.name
    dtype = described_dtype(like.description)
    if not _NUMBERS.fullmatch(dtype):
        raise other_kind(like, ends.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        converted = values.astype(dtype)
        # both: uint64 and int64 wrap around to each other, and integers are compared with floats as floats
        same = (converted == values) & (converted.astype(values.dtype) == values)
    if not (same | ((values != values) & (converted != converted))).all():
        raise other_kind(like, ends.dtype, problem="ends of intervals cannot be held exactly by the store's dtype")
    return converted, dtype


def _midpoints(left: Array, right: Array) -> Array:
    if left.dtype.kind in "Mm":
        low, high = left.view(np.int64), right.view(np.int64)
        # the mean, rounded down, without a sum that could overflow; missing times are one number at both ends
        return ((low & high) + ((low ^ high) >> 1)).view(left.dtype)
    if left.dtype.kind in "iu":
        left, right = left.astype(np.float64), right.astype(np.float64)
    # infinite ends give way to the other one
    low = np.where(np.isneginf(left), np.where(np.isposinf(right), 0, right), left)
    high = np.where(np.isposinf(right), np.where(np.isneginf(left), 0, left), right)
    # halves of the smallest numbers are rounded
    return np.clip(low / 2 + high / 2, low, high).astype(left.dtype)


def _cf_units(times: Array) -> str:
    """The units of CF in which all times are whole."""
    present = times[~np.isnat(times)].view(np.int64)
    step = _NANOSECONDS[np.datetime_data(times.dtype)[0]]
    units = next(name for name, size in _CF_UNITS.items() if size <= step or not (present % (size // step)).any())
    return f"{units} since 1970-01-01" if times.dtype.kind == "M" else units


def _closed(description: Description) -> str:
    """Where they are closed. Raises `MetadataError`."""
    closed = description.get("closed")
    if not isinstance(closed, str) or closed not in _SIDES:
        raise mismatch("intervals are closed on an unknown side", found=f"{closed!r:.80}")
    return closed


def _subtype(description: Description) -> str:
    """The dtype of the ends. Raises `MetadataError`."""
    dtype = described_dtype(description.get("subtype"))
    if not _NUMBERS.fullmatch(dtype) and not TIMES.fullmatch(dtype):
        raise mismatch("intervals are neither of numbers nor of times", found=dtype)
    return dtype


def interval_unit(description: Description) -> dict[str, Any]:
    """How to decode midpoints and ends."""
    _closed(description)
    return time_unit({"dtype": _subtype(description)})


def restore_intervals(description: Description, values: Array, companions: Mapping[str, Any]) -> Labels:
    """The index that `store_intervals` was given."""
    closed, bounds, dtype = _closed(description), companions.get("bounds"), _subtype(description)
    if not isinstance(bounds, np.ndarray) or bounds.shape != (values.size, 2):
        raise mismatch(
            "the bounds of the intervals are missing or of another size",
            expected=(values.size, 2),
            found=getattr(bounds, "shape", type(bounds).__name__),
        )
    if TIMES.fullmatch(dtype):
        if values.dtype.kind == "O":
            raise mismatch("pandas has no intervals of dates of cftime, which other calendars need")
        zone_free = {"dtype": re.sub(", .*", "]", dtype)}
        middle = restore_times(zone_free, values, {}).to_numpy()
        naive = restore_times(zone_free, bounds.ravel(), {}).to_numpy().reshape(bounds.shape)
        left, right = (restore_times({"dtype": dtype}, side, {}) for side in naive.T)
    elif bounds.dtype.newbyteorder("=") != dtype or values.dtype.kind not in "iuf":
        raise mismatch("bounds are not of the dtype that is described", expected=dtype, found=bounds.dtype)
    else:
        middle, naive = values.astype(np.float64), bounds.astype(np.float64)
        left, right = (pd.Index(side) for side in bounds.astype(dtype).T)
    missing = middle != middle
    if (
        not np.array_equal(missing, naive[:, 0] != naive[:, 0])
        or not (missing | ((naive[:, 0] <= middle) & (middle <= naive[:, 1]))).all()
    ):
        raise mismatch("bounds are not around the values of the array")
    intervals: Any = pd.IntervalIndex  # of which the stubs want to know the dtype
    restored: Labels = intervals.from_arrays(left, right, closed=closed)
    return restored
