"""Integers of which xarray makes floats, since some are missing, and which floats do not hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from zarrds.arguments import warn

__all__ = ["tell_of_rounded"]

# integers up to which are floats too
_EXACT = 2**53


def tell_of_rounded(values: np.ndarray[Any, Any], decoded: np.ndarray[Any, Any], store: str, path: str) -> None:
    """Warn where integers became other numbers.

    Parameters
    ----------
    values : ndarray of int64 or uint64
        As they are stored.
    decoded : ndarray of float64
        The same, with NaN for what is missing.
    store, path : str
        Where, for the message.
    """
    if not values.size or (int(values.max()) <= _EXACT and int(values.min()) >= -_EXACT):
        return
    present = ~np.isnan(decoded)  # what is missing may be any integer
    there = values[present]
    with np.errstate(invalid="ignore"):  # of what is rounded to more than there are integers
        rounded = there[decoded[present].astype(values.dtype) != there]
    if rounded.size:
        name = path.rpartition("/")[2]
        warn(
            f"integers of {path!r} in {store!r} are rounded, {rounded[0]} for one: of those that have a _FillValue or "
            f"missing_value xarray makes floats. mask_and_scale={{{name!r}: False}} keeps them",
            xr.SerializationWarning,
        )
