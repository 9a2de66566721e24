"""The values of two variables, compared block by block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.datasets.encoding.chunks import source_chunks
from zarrds.datasets.encoding.exact.comparison import comparable, equal_structures
from zarrds.engine.blocks import block_shape, blocks
from zarrds.labels.kinds.plain import is_missing

__all__ = ["Unequal", "unequal_values"]

Array: TypeAlias = "np.ndarray[Any, Any]"
_OBJECT_NBYTES = 32


@dataclass(slots=True)
class Unequal:
    """In what the values of two variables of one shape differ.

    Attributes
    ----------
    n : int
        Elements that differ.
    first : tuple of int
        The position of the first of them.
    sides : (object, object)
        What stands there.
    largest : float or None
        The largest absolute difference of numbers, missing values aside.
    """

    n: int
    first: tuple[int, ...]
    sides: tuple[Any, Any]
    largest: float | None = None


def unequal_values(
    left: xr.Variable, right: xr.Variable, advance: Callable[[int], Any] | None = None
) -> Unequal | None:
    """Compare two variables of one shape; missing values are equal to each other. None if nothing differs.

    Memory is needed for a block of both at a time.

    Parameters
    ----------
    left, right : Variable
    advance : callable, optional
        Called with numbers of elements that were compared.

    Examples
    --------
    >>> unequal_values(xr.Variable("x", [1.0, np.nan, 3.0]), xr.Variable("x", [1.0, np.nan, 5.0]))
    Unequal(n=1, first=(2,), sides=(np.float64(3.0), np.float64(5.0)), largest=2.0)
    """
    found: Unequal | None = None
    are_numbers = left.dtype.kind in "biufc" and right.dtype.kind in "biufc"
    itemsize = max(_itemsize(left), _itemsize(right))
    for key in blocks(left.shape, block_shape(left.shape, source_chunks(left), itemsize)):
        a, b = _values(left[key]), _values(right[key])
        wrong = ~_equal(a, b)
        n = int(np.count_nonzero(wrong))
        if n:
            if found is None:
                inside = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
                first = tuple(i + s.start for i, s in zip(inside, key, strict=True))
                found = Unequal(0, first, (a[inside], b[inside]))
            found.n += n
            if are_numbers:
                found.largest = _largest(a[wrong], b[wrong], found.largest)
        if advance is not None:
            advance(a.size)
    return found


def _itemsize(variable: xr.Variable) -> int:
    """Bytes of memory that an element needs; objects need more than their pointer."""
    if isinstance(variable.dtype, np.dtype) and variable.dtype.kind != "O":
        return int(variable.dtype.itemsize)
    return _OBJECT_NBYTES


def _values(variable: xr.Variable) -> Array:
    """Elements as an array: of dtypes of pandas' as objects, since what is missing is only told so."""
    if isinstance(variable.dtype, np.dtype):
        return np.asarray(variable.values)
    return np.asarray(variable.data, dtype=object)


def _equal(a: Array, b: Array) -> Array:
    if (structures := equal_structures(a, b)) is not None:
        return structures
    gone = is_missing(a), is_missing(b)
    same = np.asarray(gone[0] & gone[1])  # of no dimensions NumPy makes a number of it
    if a.dtype.kind in "OT" or b.dtype.kind in "OT":
        there = ~(gone[0] | gone[1])  # pd.NA cannot be compared
        same[there] = _same(a[there], b[there])
        return np.asarray(same)
    return np.asarray(same | _same(a, b))


def _same(a: Array, b: Array) -> Array:
    if a.dtype != b.dtype and a.dtype.kind == b.dtype.kind and a.dtype.kind in "mM":
        _, a, b = comparable("values", a, b)  # no unit may hold both
    if (a.dtype.kind == "V") != (b.dtype.kind == "V"):  # bytes without a meaning, and something else
        return np.full(a.shape, False)
    with np.errstate(invalid="ignore"):
        same = np.asarray(a == b)
    # of types that NumPy does not compare at all
    return same.astype(bool) if same.shape == a.shape else np.full(a.shape, False)


def _largest(a: Array, b: Array, before: float | None) -> float | None:
    there = ~(pd.isnull(a) | pd.isnull(b))
    wide = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(a[there].astype(wide) - b[there].astype(wide))
    finite = apart[~np.isnan(apart)]
    if not finite.size:
        return before
    return max(float(finite.max()), before or 0.0)
