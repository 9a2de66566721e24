"""What an encoding says that data cannot be: such a key gives way where it came along, and is an error as an order."""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from zarrds.datasets.encoding.exact.fitting import is_dtype_of_floats, kind_of_data
from zarrds.datasets.encoding.exact.packing import finer_unit
from zarrds.metadata.attributes import MARKERS, SCALE
from zarrds.metadata.times import NUMPY_CALENDARS

__all__ = ["MENDS", "contradictions"]

# what to do about some of the keys
MENDS: Mapping[str, str] = {
    "calendar": "Use convert_calendar first, or leave it out",
    "units": "Convert it with astype first, or leave them out",
    "scale_factor": "Give one number, or leave it out",
    "add_offset": "Give one number, or leave it out",
    "bounds": "Give the name of a variable, or leave it out",
}


def contradictions(variable: xr.Variable, encoding: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys that are of other data, or mark missing values with what no element of the array can be, and why.

    Parameters
    ----------
    variable : Variable
        Decoded.
    encoding : mapping

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> list(contradictions(xr.Variable("x", np.int8([1])), {"_FillValue": np.nan}))
    [('_FillValue', 'is nan, which is no int8')]
    """
    found: list[Any] = []
    dtype = encoding.get("dtype", variable.dtype)
    calendar = encoding.get("calendar")
    if variable.dtype.kind == "M" and isinstance(calendar, str) and calendar.lower() not in NUMPY_CALENDARS:
        yield "calendar", f"is {calendar!r}, whose dates are those of cftime, not {variable.dtype}"
    if encoding.get("_Unsigned") is not None and variable.dtype.kind in "iu" and is_dtype_of_floats(dtype):
        yield "_Unsigned", f"is that of integers, which {dtype} is not"
    if not isinstance(encoding.get("bounds"), str | None):
        yield "bounds", "is no name"
    unit = finer_unit(variable.dtype, encoding.get("units"))
    if unit is not None and variable.dtype.kind == "m":
        yield "units", f"are {encoding['units']!r}, which readers have as timedelta64[{unit}], not {variable.dtype}"
    for key in SCALE:
        if encoding.get(key) is not None and kind_of_data(variable) in ("strings", "bytes"):
            yield key, "is one of numbers, which text and bytes are not"
        items = np.ravel(encoding.get(key, 1.0))
        if items.size != 1:
            yield key, f"is {items.size} numbers, not one"
        elif items.dtype.kind not in "biuf":
            yield key, f"is {items[0]!r}, which is no number"
        elif not np.isfinite(items[0]) or (key == "scale_factor" and not items[0]):
            yield key, f"is {items[0]}, with which nothing can be packed"
    for key in MARKERS:
        if encoding.get(key) is None:
            continue
        items = np.ravel(encoding[key])
        if items.size != 1:
            yield key, f"is {items.size} values, not one"
            continue
        if isinstance(encoding[key], str) and encoding[key].endswith("\0"):
            yield key, f"is {encoding[key]!r}, whose last NUL readers leave out"
        marker = items[0]
        if (expected := _not_marked_by(marker, variable, encoding)) is not None:
            yield key, f"is {_shown(marker)}, which is no {expected}"
        if items.dtype.kind in "iufUS":
            found.append(marker)
    if len(found) == 2 and not _are_equal(*found):
        yield "missing_value", f"is {_shown(found[1])}, but _FillValue is {_shown(found[0])}"


def _not_marked_by(marker: Any, variable: xr.Variable, encoding: Mapping[str, Any]) -> str | None:
    """What a marker is not, by which it can be no element of the array; None if it can be one."""
    try:
        dtype = np.dtype(encoding.get("dtype", variable.dtype))
    except TypeError:
        return None  # which is told of by itself
    if variable.dtype.kind in "mM" and dtype.kind in "mM":
        is_one = isinstance(marker, numbers.Real | np.datetime64 | np.timedelta64)
        return None if is_one else "number, as which times are stored"
    if isinstance(marker, Mapping):
        return str(dtype)
    if dtype.kind not in "biufc":
        return None
    if dtype.kind == "b":  # of all that is anything NumPy makes true
        return None if marker in (0, 1) else str(dtype)
    of_kind = numbers.Complex if dtype.kind == "c" else numbers.Real
    if isinstance(marker, np.datetime64 | np.timedelta64):  # the latter is an integer to `numbers`
        return str(dtype) if variable.dtype.kind in "biufc" else None
    if not isinstance(marker, of_kind | np.bool_):
        return str(dtype)
    if dtype.kind in "iu" and isinstance(marker, numbers.Real) and not _is_integer_of(marker, dtype, encoding):
        return str(dtype)
    return None


def _are_equal(one: Any, other: Any) -> bool:
    if isinstance(one, str | bytes) or isinstance(other, str | bytes):
        return bool(one == other)
    with np.errstate(all="ignore"):
        return bool(np.isclose(one, other, rtol=1e-5, equal_nan=True))


def _shown(marker: Any) -> str:
    return repr(marker.item()) if isinstance(marker, np.str_ | np.bytes_) else str(marker)


def _is_integer_of(value: Any, dtype: np.dtype[Any], encoding: Mapping[str, Any]) -> bool:
    try:
        if int(value) != value:
            return False
    except (OverflowError, ValueError):  # infinite, or NaN
        return False
    # `_Unsigned` has markers of either sign
    signs = dtype.kind if encoding.get("_Unsigned") is None else "iu"
    limits = [np.iinfo(f"{sign}{dtype.itemsize}") for sign in signs]
    return any(each.min <= int(value) <= each.max for each in limits)
