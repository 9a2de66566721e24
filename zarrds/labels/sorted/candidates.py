"""Values that anyone may ask for -> labels near which the answer lies.

pandas compares labels with values of other types in its own ways. Nothing of that is repeated here: the answer is
pandas', from a plain index of the few labels around the values. So these functions may return too many labels, never
too few.
"""

from __future__ import annotations

import datetime as dt
import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from zarrds.labels.kinds.plain import EXACT
from zarrds.labels.sorted.source import Array

__all__ = ["candidates", "is_exact", "is_supported"]

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def is_supported(dtype: np.dtype[Any]) -> bool:
    """Whether pandas has an index whose labels are of just this dtype."""
    if dtype.kind in "mM":
        return np.datetime_data(dtype)[0] in _PER_SECOND and np.datetime_data(dtype)[1] == 1
    return dtype.kind in "iuO" or dtype in (np.float32, np.float64)


def candidates(values: Array, dtype: np.dtype[Any]) -> Array:
    """Labels to look for: whatever a value is equal to or lies between, among all labels that there could be.

    Parameters
    ----------
    values : ndarray
        What is asked for, of any dtype, also objects.
    dtype : dtype
        Of the labels; one that `is_supported`. Labels of dtype object are text.

    Returns
    -------
    ndarray
        1-D, of dtype `dtype`, sorted and without missing ones; empty where no label can be equal to a value.

    Examples
    --------
    >>> candidates(np.array([2.5, 7.0, np.nan]), np.dtype("int64"))
    array([2, 3, 7])
    """
    values = values.reshape(-1)
    if dtype.kind == "O":
        texts = (
            {str(value) for value in values.tolist() if isinstance(value, str)} if values.dtype.kind in "OUT" else set()
        )
        return np.array(sorted(texts), dtype=object)
    if dtype.kind in "mM":
        times = _times(values.tolist(), dtype) if values.dtype.kind in "OUT" else values
        return np.unique(_in_unit(times, dtype)) if times.dtype.kind == dtype.kind else np.empty(0, dtype)
    if values.dtype.kind == "O":
        parts = [_numbers(part, dtype) for part in _numbers_of(values.tolist())]
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype)
    return np.unique(_numbers(values, dtype)) if values.dtype.kind in "biufc" else np.empty(0, dtype)


def is_exact(values: Array, dtype: np.dtype[Any], first: object, last: object) -> bool:
    """Whether labels between `first` and `last` are compared with values as they are, not rounded to floats before."""
    if dtype.kind not in "iu" or dtype.itemsize < 8:
        return True
    if values.dtype.kind in "iu" and (values.dtype.kind == dtype.kind or values.dtype.itemsize < 8):
        return True
    if values.dtype.kind == "O":
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        found = [value for value in values.reshape(-1).tolist() if isinstance(value, numbers.Number)]
        if all(isinstance(value, numbers.Integral) and least <= int(value) <= most for value in found):
            return True
    elif values.dtype.kind not in "iufc":
        return True
    return max(abs(int(label)) for label in (first, last) if isinstance(label, numbers.Integral)) <= EXACT


def _numbers(values: Array, dtype: np.dtype[Any]) -> Array:
    """Numbers of any dtype -> the nearest ones of `dtype` on either side."""
    if values.dtype == dtype:
        return values[~np.isnan(values)] if dtype.kind == "f" else values
    if values.dtype.kind == "c":
        values = values.real
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            nearest = values.astype(dtype)
        nearest = nearest[~np.isnan(nearest)]
        return np.concatenate(
            [nearest, np.nextafter(nearest, dtype.type(-np.inf)), np.nextafter(nearest, dtype.type(np.inf))]
        )
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    if values.dtype.kind == "f":
        sides = np.concatenate([np.floor(values), np.ceil(values)]).astype(np.float64)
        # `most` may be no float, but the power of two that follows is
        return sides[(sides >= float(least)) & (sides < float(most + 1))].astype(dtype)
    if values.dtype.kind == "b":
        return values.astype(dtype)
    return values[(values >= least) & (values <= most)].astype(dtype)


def _numbers_of(values: Iterable[object]) -> list[Array]:
    """The numbers among objects, as arrays of floats, and of integers that floats would round."""
    floats: list[float] = []
    integers: list[int] = []
    for value in values:
        if isinstance(value, (bool, np.bool_, numbers.Integral)):
            integers.append(int(value))
        elif isinstance(value, numbers.Complex):
            floats.append(complex(value).real)
        elif isinstance(value, numbers.Number) and value == value:  # decimals
            floats.append(float(value))  # type: ignore[arg-type]  # all others have __float__
            if math.isfinite(floats[-1]):
                integers += [math.floor(value), math.ceil(value)]  # type: ignore[call-overload]  # the same
    signed = [value for value in integers if -(2**63) <= value < 2**63]
    unsigned = [value for value in integers if 2**63 <= value < 2**64]
    huge = [float(np.copysign(np.inf, value)) for value in integers if not -(2**63) <= value < 2**64]
    parts = [np.array(floats + huge, np.float64), np.array(signed, np.int64), np.array(unsigned, np.uint64)]
    return [part for part in parts if len(part)]


def _times(values: Iterable[object], dtype: np.dtype[Any]) -> Array:
    """The times among objects, as pandas reads them; those of another kind, or that it cannot read, are left out."""
    kinds: tuple[type, ...] = (
        (str, dt.date, np.datetime64) if dtype.kind == "M" else (str, dt.timedelta, np.timedelta64)
    )
    found: list[Array] = []
    for value in values:
        if isinstance(value, kinds):
            try:
                kind: Any = pd.Timestamp if dtype.kind == "M" else pd.Timedelta
                scalar = kind(value)
                if scalar is not pd.NaT and getattr(scalar, "tzinfo", None) is None:
                    found.append(_in_unit(np.array([scalar.to_numpy()]), dtype))
            except (ValueError, TypeError, OverflowError):
                continue
    return np.concatenate(found) if found else np.empty(0, dtype)


def _in_unit(times: Array, dtype: np.dtype[Any]) -> Array:
    """Times in the unit of `dtype`: for one that it has not, those around it; none for one that is out of its reach."""
    times = times[~np.isnat(times)]
    unit = np.datetime_data(times.dtype)[0]
    if not is_supported(times.dtype):
        if unit == "generic" or (dtype.kind == "m" and unit in "YM"):
            return np.empty(0, dtype)
        times, unit = times.astype(f"{dtype.kind}8[s]"), "s"
    counts = times.view(np.int64)
    wanted, given = _PER_SECOND[np.datetime_data(dtype)[0]], _PER_SECOND[unit]
    if wanted >= given:
        most = (2**63 - 1) // (wanted // given)
        counts = counts[(counts >= -most) & (counts <= most)] * (wanted // given)
    else:
        before = counts // (given // wanted)
        counts = np.concatenate([before, before + 1])
    return counts.view(dtype)
