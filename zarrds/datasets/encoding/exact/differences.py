"""Which numbers read back as others, by more than an encoding declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from zarrds.metadata.attributes import SCALE

__all__ = ["differing", "slack_of"]

Array: TypeAlias = "np.ndarray[Any, Any]"

# roundings of the arithmetic of packing and unpacking
_ROUNDINGS = 4


def differing(values: Array, decoded: Array, slack: Any = 0) -> Array:
    """Where numbers do not read back as they were; what is missing reads back as missing.

    Parameters
    ----------
    values, decoded : array
        Of numbers or booleans, of one shape.
    slack : float or array
        By how much they may differ.

    Examples
    --------
    >>> import numpy as np
    >>> differing(np.array([2**53 + 1, 5]), np.array([2.0**53, 5.0]))
    array([ True, False])
    >>> differing(np.array([1.04, np.nan]), np.array([1.0, np.nan]), slack=0.05)
    array([False, False])
    """
    if decoded.dtype.kind == "O" and values.dtype.kind == "b":  # where one of them stands for what is missing
        return np.asarray(decoded != values, bool)
    if decoded.dtype.kind not in "biufc":
        return np.ones(values.shape, bool)
    with np.errstate(all="ignore"):
        if values.dtype.kind in "iu" and decoded.dtype.kind == "f" and np.ndim(slack) == 0 and slack == 0:
            # NumPy compares integers with floats as floats
            back = decoded.astype(values.dtype)
            limit = float(int(np.iinfo(values.dtype).max) + 1)
            return np.asarray((back != values) | (back != decoded) | (decoded >= limit) | np.isnan(decoded))
        if values.dtype.kind in "iu" and decoded.dtype.kind == "f":
            # the integer that is meant, which is left by no more than what the arithmetic of packing costs
            meant = np.rint(decoded)
            return np.asarray(differing(values, meant) | ~(np.abs(decoded - meant) <= slack))
        bad = np.asarray(decoded != values)
        if not bad.any():
            return bad
        if values.dtype.kind in "fc":
            bad &= ~(np.isnan(values) & np.isnan(decoded))
        if np.any(slack):
            exact = values.astype(np.result_type(values, decoded.dtype, np.float64))
            bad &= ~((np.abs(decoded - exact) <= slack) & np.isfinite(exact))
    return bad


def slack_of(
    values: Array, decoded: np.dtype[Any], stored: np.dtype[Any], encoding: Mapping[str, Any], *, is_exact: bool = False
) -> Any:
    """By how much an encoding declares that values may change: half a step, or the last digit of shorter floats.

    Parameters
    ----------
    values : array
    decoded, stored : dtype
        Of what is read back, and of the array.
    encoding : mapping
        Of which ``scale_factor`` and ``add_offset`` count.
    is_exact : bool
        Whether they may not change at all: then only the last digits that the arithmetic of packing costs do not count.
    """
    if stored.kind not in "iufc" or values.dtype.kind not in "iufc":
        return 0
    is_scaled = not encoding.keys().isdisjoint(SCALE)
    if not is_scaled and (stored.kind in "iu" or values.dtype.kind in "iu"):
        return 0
    floats = [np.finfo(dtype) for dtype in (values.dtype, decoded, stored) if dtype.kind in "fc"]
    eps = max((float(info.eps) for info in floats), default=0.0)
    magnitude = np.abs(values)
    if is_exact:
        is_packed = is_scaled and values.dtype.kind in "fc"
        eps = float(np.finfo(values.dtype).eps) if is_packed else 0.0
    elif not is_scaled:
        return magnitude * eps + max(float(info.smallest_subnormal) for info in floats)
    scale = abs(float(np.ravel(encoding.get("scale_factor", 1))[0]))
    offset = abs(float(np.ravel(encoding.get("add_offset", 0))[0]))
    # integers, and what reads back as such, may not be rounded
    is_rounded = stored.kind in "iu" and decoded.kind not in "iu" and values.dtype.kind in "fc" and not is_exact
    step = scale / 2 if is_rounded else 0.0
    with np.errstate(all="ignore"):
        roundings = (magnitude + offset) * (_ROUNDINGS * eps)
        if is_exact:  # beside a far larger offset all digits would be the last ones
            roundings = np.minimum(roundings, scale / 2 if stored.kind in "iu" else magnitude * np.sqrt(eps))
        return step * (1 + 1e-6) + roundings
