"""The values of two variables, compared block by block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.datasets.converting.blocks import block_shape, blocks

__all__ = ["Unequal", "unequal_values"]


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
    chunks = left.encoding.get("chunks") or left.encoding.get("chunksizes")
    if not (isinstance(chunks, tuple | list) and len(chunks) == left.ndim and all(chunks)):
        chunks = None
    itemsize = max(left.dtype.itemsize, right.dtype.itemsize) * (4 if left.dtype.kind == "O" else 1)
    for key in blocks(left.shape, block_shape(left.shape, chunks, itemsize)):
        a, b = np.asarray(left[key].values), np.asarray(right[key].values)
        wrong = ~_equal(a, b)
        n = int(np.count_nonzero(wrong))
        if n:
            if found is None:
                inside = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
                first = tuple(i + s.start for i, s in zip(inside, key, strict=True))
                found = Unequal(0, first, (a[inside], b[inside]))
            found.n += n
            found.largest = _largest(a[wrong], b[wrong], found.largest)
        if advance is not None:
            advance(a.size)
    return found


def _equal(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with np.errstate(invalid="ignore"):
        same = np.asarray(a == b)
    if same.shape != a.shape:  # of types that NumPy does not compare at all
        same = np.full(a.shape, False)
    return np.asarray(same | (pd.isnull(a) & pd.isnull(b)), dtype=bool)


def _largest(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], before: float | None) -> float | None:
    if a.dtype.kind not in "biufc" or b.dtype.kind not in "biufc":
        return None
    wide = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(a.astype(wide) - b.astype(wide))
    finite = apart[~np.isnan(apart)]
    if not finite.size:
        return before
    return max(float(finite.max()), before or 0.0)
