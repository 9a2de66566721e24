"""Which elements stand for missing ones."""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np

from zarrds.metadata.attributes import MARKERS
from zarrds.metadata.formats import spec_of
from zarrds.metadata.model import ArrayMetadata

__all__ = ["missing_markers"]


def missing_markers(metadata: ArrayMetadata) -> tuple[Any, ...]:
    """The elements of an array that xarray takes for missing ones: CF's attributes, and the fill value of format 2."""
    attributes, dtype = metadata.attributes, metadata.data_type.dtype
    given: list[tuple[Any, Any]] = [(value, None) for value in _flat(attributes.get("_FillValue"))]
    for name in MARKERS:
        if name != "_FillValue":
            given += _compared(_flat(attributes.get(name)))
    if spec_of(metadata).IS_FILL_MISSING:
        given.append((metadata.fill_value, None))
    markers = (_marker(value, dtype, like) for value, like in given if value is not None)
    return tuple(marker for marker in markers if marker is not None)


def _flat(value: Any) -> list[Any]:
    """What is in lists of lists, all of which xarray takes."""
    waiting, found = [value], list[Any]()
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += reversed(item)
        else:
            found.append(item)
    return found


def _compared(values: list[Any]) -> list[tuple[Any, Any]]:
    """Markers, and what xarray compares elements with: the items of an array of them.

    Those are NumPy's, which no element is rounded to; but Python's numbers, which are, beside integers of over 64 bits.
    """
    return [*zip(values, np.array(values), strict=True)]


def _marker(value: Any, dtype: np.dtype[Any], like: Any) -> Any:
    """A marker as an element, None if no element can be equal to it.

    A `_FillValue` (without `like`) is of the array's dtype; another one must be one of the floats, as NumPy compares.
    """
    if dtype.kind in "OU":
        return str(value)
    try:
        if isinstance(value, str) and dtype.kind == "f":
            value = _float(value)
            like = None if like is None else np.float64(value)
        if dtype.kind in "iu":
            return np.array(int(value), dtype)[()] if value == int(value) else None
        with np.errstate(over="ignore"):
            element = np.array([value]).astype(dtype)
            is_equal = like is None or dtype.kind != "f" or bool((element == like)[0])
        return element[0] if is_equal else None
    except (TypeError, ValueError, OverflowError):
        return None


def _float(text: str) -> float:
    """A float as xarray's zarr engine writes it, in base64."""
    try:
        (value,) = struct.unpack("<d", base64.b64decode(text, validate=True))
    except (ValueError, struct.error):
        return float(text)
    return float(value)
