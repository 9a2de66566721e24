"""Faults of xarray that are mended here, wherever lazy arrays are; ``docs/upstream.md`` says more.

``interp`` to times or timedeltas of a finer resolution gives NaN: xarray takes both for numbers of their own units
(``xarray.core.missing._floatize_x``, 2026.9). Its own decoders made all times nanoseconds for long, so that hardly
anybody met it; zarrds gives back the resolution that was saved.

``concat`` of lazy data of a dtype that only pandas knows is a ``ValueError``: xarray asks NumPy for the dtype that all
parts have (``xarray.core.duck_array_ops.as_shared_dtype``) before it loads them. None of its own engines gives such
data.

Missing dates of cftime are read as the date that is counted from, or are an error: cftime has none
(``xarray.coding.times.decode_cf_datetime``). Here they are `None`, of which xarray encodes what is missing.

Where a function is another, nothing is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from xarray.coding import times
from xarray.core import duck_array_ops, indexing, missing

__all__ = ["decode_cf_datetime", "mend_concatenation", "mend_interpolation", "mend_missing_dates"]

_NAME = "_floatize_x"
_SHARED = "as_shared_dtype"
_DATES = "decode_cf_datetime"
_decoded: Any = getattr(times, _DATES, None)  # what is there before it is mended


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


def mend_missing_dates() -> None:
    """Let dates of cftime be missing."""
    if _decoded is not None:
        setattr(times, _DATES, decode_cf_datetime)


def decode_cf_datetime(num_dates: Any, *args: Any, **options: Any) -> Any:
    """Dates as xarray decodes them, with `None` for missing ones of cftime.

    Lazy arrays hold it, so that it must pickle: a function of the module, and not of `mend_missing_dates`.

    Examples
    --------
    >>> [str(date) for date in decode_cf_datetime([5, float("nan")], "days since 2000-01-01", "360_day")]
    ['2000-01-06 00:00:00', 'None']
    """
    numbers = np.asarray(num_dates)
    absent = _missing(numbers)
    if not absent.any():
        return _decoded(num_dates, *args, **options)
    present = numbers[~absent]
    if not present.size:
        with suppress(Exception):  # whatever cftime makes of it
            dates = _decoded(num_dates, *args, **options)
            if dates.dtype.kind != "O":
                return dates
    # decoded without them: xarray takes what is missing for the first of all dates, and sees no other out of range
    dates = _decoded(np.where(absent, present[0] if present.size else 0, numbers), *args, **options)
    dates[absent] = None  # among NumPy's datetimes it is NaT
    return dates


def _missing(numbers: Any) -> Any:
    """Which numbers stand for what is missing, after markers have been replaced."""
    if numbers.dtype.kind == "i":  # as which NumPy has NaT
        return np.asarray(numbers == np.iinfo(np.int64).min)
    return np.asarray(np.isnan(numbers)) if numbers.dtype.kind == "f" else np.zeros(numbers.shape, bool)


def _loaded(data: Any) -> Any:
    is_lazy = isinstance(data, indexing.ExplicitlyIndexed)
    return data.get_duck_array() if is_lazy and isinstance(data.dtype, pd.api.extensions.ExtensionDtype) else data
