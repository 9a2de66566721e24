"""Integers of which xarray makes floats, since some are missing, and which floats do not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from zarrds.arguments import warn

__all__ = ["tell_of_rounded"]

# integers up to which are floats too
_EXACT = 2**53


def tell_of_rounded(
    values: np.ndarray[Any, Any], decoded: np.ndarray[Any, Any], markers: Sequence[Any], store: str, path: str
) -> None:
    """Warn where integers became other numbers, or missing ones.

    Parameters
    ----------
    values : ndarray of int64 or uint64
        As they are stored.
    decoded : ndarray of float64
        The same, with NaN for what is missing.
    markers : sequence
        Which integers are missing; xarray takes all for them that round to the same float.
    store, path : str
        Where, for the message.
    """
    if not values.size or (int(values.max()) <= _EXACT and int(values.min()) >= -_EXACT):
        return
    values = values.astype(values.dtype.newbyteorder("="), copy=False)  # isin takes no others
    with np.errstate(invalid="ignore"):  # of what is rounded to more than there are integers
        changed = decoded.astype(values.dtype) != values
    missing = np.isnan(decoded)
    changed[missing] = ~np.isin(values[missing], _as_stored(markers, values.dtype))
    if changed.any():
        name = path.rpartition("/")[2]
        warn(
            f"integers of {path!r} in {store!r} are rounded or taken for missing, {values[changed][0]} for one: xarray "
            f"makes floats of those with a _FillValue or missing_value. mask_and_scale={{{name!r}: False}} keeps them",
            xr.SerializationWarning,
        )


def _as_stored(markers: Sequence[Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Those markers that are integers; as unsigned ones where `_Unsigned` says that the elements are."""
    numbers = [each for marker in markers for each in np.ravel(marker).tolist()]
    whole = [int(n) for n in numbers if isinstance(n, int | float) and n == n // 1]
    bits = [n % 2**64 for n in whole if -(2**63) <= n < 2**64]
    return np.array(bits, np.uint64).astype(dtype)
