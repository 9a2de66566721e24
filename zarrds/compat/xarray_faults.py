"""Faults of xarray that are mended here, wherever lazy arrays are; ``docs/upstream.md`` says more.

``interp`` to times or timedeltas of a finer resolution gives NaN: xarray takes both for numbers of their own units
(``xarray.core.missing._floatize_x``, 2026.9). Its own decoders made all times nanoseconds for long, so that hardly
anybody met it; zarrds gives back the resolution that was saved.

``concat`` of lazy data of a dtype that only pandas knows is a ``ValueError``: xarray asks NumPy for the dtype that all
parts have (``xarray.core.duck_array_ops.as_shared_dtype``) before it loads them. None of its own engines gives such
data.

Where a function is another, nothing is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from xarray.core import duck_array_ops, indexing, missing

__all__ = ["mend_concatenation", "mend_interpolation"]

_NAME = "_floatize_x"
_SHARED = "as_shared_dtype"


def mend_interpolation() -> None:
    """Let ``interp`` compare times of different resolutions."""
    original = getattr(missing, _NAME, None)
    if original is None or getattr(original, "is_mended", False):
        return

    def _floatize_x(x: list[Any], new_x: list[Any]) -> Any:
        for i, (own, new) in enumerate(zip(x, new_x, strict=True)):
            kinds = {getattr(v.dtype, "kind", "") for v in (own, new)}
            units: list[Any] = [np.datetime_data(v.dtype)[0] for v in (own, new)] if kinds in ({"M"}, {"m"}) else []
            if len(set(units)) == 2:  # in floats, as no unit may hold both
                start = own.values.min()
                x[i], new_x[i] = (xr.Variable(v.dims, _steps(v.values, start), v.attrs) for v in (own, new))
        return original(x, new_x)

    _floatize_x.is_mended = True  # type: ignore[attr-defined]  # functions have attributes
    setattr(missing, _NAME, _floatize_x)


def _steps(times: Any, start: Any) -> Any:
    """Steps of the unit of `start` from it to times, as floats; NaN for what is missing."""
    units: list[Any] = [np.datetime_data(each.dtype)[0] for each in (times, start)]
    ratio = np.timedelta64(1, units[0]) / np.timedelta64(1, units[1])
    first = int(start.view(np.int64))
    counts = times.view(np.int64)
    # whole steps apart, which floats would round
    if ratio >= 1:
        whole, rest = divmod(first, round(ratio))
        steps = (counts - whole) * ratio - rest
    else:
        parts = round(1 / ratio)
        steps = (counts // parts - first) + (counts % parts) / parts
    return np.where(np.isnat(times), np.nan, steps)


def mend_concatenation() -> None:
    """Let ``concat`` load nullable numbers, categories and the like."""
    original = getattr(duck_array_ops, _SHARED, None)
    if original is None or getattr(original, "is_mended", False):
        return

    def as_shared_dtype(scalars_or_arrays: Iterable[Any], *args: Any, **options: Any) -> Any:
        return original([_loaded(each) for each in scalars_or_arrays], *args, **options)

    as_shared_dtype.is_mended = True  # type: ignore[attr-defined]  # functions have attributes
    setattr(duck_array_ops, _SHARED, as_shared_dtype)


def _loaded(data: Any) -> Any:
    is_lazy = isinstance(data, indexing.ExplicitlyIndexed)
    return data.get_duck_array() if is_lazy and isinstance(data.dtype, pd.api.extensions.ExtensionDtype) else data
