"""Values of any dtype as bounds among labels of one dtype: exactly, where NumPy would round both to a third."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from zarrds.labels.sorted.source import Array
from zarrds.metadata.times import ATTOSECONDS

__all__ = ["Bounds", "bounds_among"]

_MAX_TICKS = 2**63 - 1


class Bounds(NamedTuple):
    """Labels between which values stand, one element a value.

    Attributes
    ----------
    low : ndarray
        The smallest label that there can be and is not less than the value: ``label < value`` if ``label < low``, and
        ``label >= value`` if ``label >= low``.
    high : ndarray
        The largest that is not more than it: ``label <= value`` if ``label <= high``, ``label > value`` if
        ``label > high``.
    beyond : ndarray of int8
        1 for values greater than all that a label can be (and for NaN and NaT, which are sorted there), -1 for those
        that are less; `low` and `high` then say nothing.
    """

    low: Array
    high: Array
    beyond: Array


def bounds_among(values: Array, dtype: np.dtype[Any]) -> Bounds:
    """The bounds of values among labels of a dtype, for comparisons without a loss of digits.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Numbers (also Python's, of any size) among numbers, times among times, objects among objects.
    dtype : dtype
        Of the labels, in the machine's byte order; object for text.

    Raises
    ------
    TypeError
        If such values do not compare with such labels.

    Examples
    --------
    >>> bounds_among(np.array([2.5, -1.0, 1e30]), np.dtype(np.int64)).low
    array([ 3, -1,  0])
    """
    if values.dtype == dtype and dtype.isnative:
        return Bounds(values.astype(dtype, copy=False), values.astype(dtype, copy=False), _no_beyond(values))
    given, kind = values.dtype.kind, dtype.kind
    if kind == "O":
        objects = values.astype(object)
        return Bounds(objects, objects, _no_beyond(values))
    if kind in "mM" and given == kind:
        return _times(values, dtype)
    if kind in "iuf" and given in _AMONG[kind]:
        return _AMONG[kind][given](values, dtype)
    raise TypeError(f"values of dtype {values.dtype} do not compare with labels of dtype {dtype}")


def _no_beyond(values: Array) -> Array:
    return np.zeros(values.size, np.int8)


def _beyond(above: Array, below: Array) -> Array:
    return above.astype(np.int8) - below.astype(np.int8)


def _integers_among_integers(values: Array, dtype: np.dtype[Any]) -> Bounds:
    info = np.iinfo(dtype)
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    beyond = _beyond(values > info.max, values < info.min)
    exact = np.where(beyond == 0, values, 0).astype(dtype)
    return Bounds(exact, exact, beyond)


def _floats_among_integers(values: Array, dtype: np.dtype[Any]) -> Bounds:
    info = np.iinfo(dtype)
    if values.dtype.itemsize < 8:
        values = values.astype(np.float64)
    up, down = np.ceil(values), np.floor(values)
    beyond = _beyond(~(up < float(info.max + 1)), down < float(info.min))
    low, high = (np.where(beyond == 0, bound, 0).astype(dtype) for bound in (up, down))
    return Bounds(low, high, beyond)


def _floats_among_floats(values: Array, dtype: np.dtype[Any]) -> Bounds:
    with np.errstate(over="ignore", under="ignore"):
        nearest = values.astype(dtype)
        low = np.where(nearest < values, np.nextafter(nearest, dtype.type(np.inf)), nearest)
        high = np.where(nearest > values, np.nextafter(nearest, dtype.type(-np.inf)), nearest)
    return Bounds(low, high, _no_beyond(values))


def _integers_among_floats(values: Array, dtype: np.dtype[Any]) -> Bounds:
    limit = 2 ** (np.finfo(dtype).nmant + 1)
    if values.dtype.kind == "b" or not ((values > limit) | (values < -limit)).any():
        exact = values.astype(dtype)
        return Bounds(exact, exact, _no_beyond(values))
    return _objects_among_floats(values.astype(object), dtype)


def _objects_among_floats(values: Array, dtype: np.dtype[Any]) -> Bounds:
    low, high = np.empty(values.size, dtype), np.empty(values.size, dtype)
    for i, value in enumerate(map(_number, values)):
        try:
            with np.errstate(over="ignore", under="ignore"):
                nearest = dtype.type(value)
        except OverflowError:  # an integer that no float is near to
            nearest = dtype.type(np.inf if value > 0 else -np.inf)
        # Python compares its integers and floats exactly
        low[i] = np.nextafter(nearest, dtype.type(np.inf)) if float(nearest) < value else nearest
        high[i] = np.nextafter(nearest, dtype.type(-np.inf)) if float(nearest) > value else nearest
    return Bounds(low, high, _no_beyond(values))


def _objects_among_integers(values: Array, dtype: np.dtype[Any]) -> Bounds:
    info = np.iinfo(dtype)
    low, high, beyond = np.zeros(values.size, dtype), np.zeros(values.size, dtype), _no_beyond(values)
    for i, value in enumerate(map(_number, values)):
        if not value <= info.max:
            beyond[i] = 1
        elif value < info.min:
            beyond[i] = -1
        else:
            low[i], high[i] = math.ceil(value), math.floor(value)
    return Bounds(low, high, beyond)


def _number(value: object) -> int | float:
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r:.80} does not compare with numbers")
    return value


def _times(values: Array, dtype: np.dtype[Any]) -> Bounds:
    if np.datetime_data(values.dtype)[0] in ("Y", "M"):
        values = values.astype(f"{dtype.kind}8[D]")
    (unit, n), (other, m) = np.datetime_data(dtype), np.datetime_data(values.dtype)
    if other == "generic":  # NaT, or a number of nothing
        values, other, m = values.astype(dtype), unit, n
    if unit not in ATTOSECONDS or other not in ATTOSECONDS:
        raise TypeError(f"values of dtype {values.dtype} do not compare with labels of dtype {dtype}")
    ratio = Fraction(ATTOSECONDS[other] * m, ATTOSECONDS[unit] * n)
    limit = _MAX_TICKS // ratio.numerator
    is_missing = np.isnat(values)
    ticks = np.where(is_missing, 0, values.astype(values.dtype.newbyteorder("=")).view(np.int64))
    beyond = _beyond((ticks > limit) | is_missing, ticks < -limit)
    scaled = np.where(beyond == 0, ticks, 0) * np.int64(min(ratio.numerator, _MAX_TICKS))
    divisor = np.int64(min(ratio.denominator, _MAX_TICKS))
    low, high = (bound.astype(np.int64).view(dtype) for bound in (-(-scaled // divisor), scaled // divisor))
    return Bounds(low, high, beyond)


_AMONG: dict[str, dict[str, Callable[[Array, np.dtype[Any]], Bounds]]] = {
    "f": {
        "b": _integers_among_floats,
        "i": _integers_among_floats,
        "u": _integers_among_floats,
        "f": _floats_among_floats,
        "O": _objects_among_floats,
    }
}
_AMONG["i"] = _AMONG["u"] = {
    "b": _integers_among_integers,
    "i": _integers_among_integers,
    "u": _integers_among_integers,
    "f": _floats_among_integers,
    "O": _objects_among_integers,
}
