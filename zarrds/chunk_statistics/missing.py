"""Which elements stand for missing ones."""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np

from zarrds.metadata.attributes import MARKERS
from zarrds.metadata.model import ArrayMetadata

__all__ = ["missing_markers"]


def missing_markers(metadata: ArrayMetadata) -> tuple[Any, ...]:
    """The elements of an array that xarray takes for missing ones: CF's attributes, and the fill value of format 2."""
    attributes, dtype = metadata.attributes, metadata.data_type.dtype
    waiting, given = [attributes.get(name) for name in reversed(MARKERS)], list[Any]()
    while waiting:  # xarray takes lists of lists for all that is in them
        value = waiting.pop()
        if isinstance(value, list):
            waiting += reversed(value)
        else:
            given.append(value)
    if metadata.zarr_format == 2:
        given.append(metadata.fill_value)
    markers = (_marker(value, dtype) for value in given if value is not None)
    return tuple(marker for marker in markers if marker is not None)


def _marker(value: Any, dtype: np.dtype[Any]) -> Any:
    """A marker as an element, None if no element can be equal to it."""
    if dtype.kind in "OU":
        return str(value)
    try:
        if isinstance(value, str) and dtype.kind == "f":
            value = _float(value)
        if dtype.kind in "iu":
            return np.array(int(value), dtype)[()] if value == int(value) else None
        with np.errstate(over="ignore"):
            return np.array(value).astype(dtype)[()]
    except (TypeError, ValueError, OverflowError):
        return None


def _float(text: str) -> float:
    """A float as xarray's zarr engine writes it, in base64."""
    try:
        (value,) = struct.unpack("<d", base64.b64decode(text, validate=True))
    except (ValueError, struct.error):
        return float(text)
    return float(value)
