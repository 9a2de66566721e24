"""``Variable.attrs`` <-> the attributes and the fill value of an array.

Missing values follow xarray's zarr engine: in v3 ``_FillValue`` is an attribute, in v2 it is the array's fill value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zarrds.arrays.layout import new_array_metadata
from zarrds.compat.xarray_internals import FillValueCoder
from zarrds.errors import ZarrdsError
from zarrds.metadata.dtypes import JSON, DataType
from zarrds.metadata.model import ArrayMetadata, ZarrFormat

__all__ = ["decoded_attributes", "take_fill_value"]


def decoded_attributes(metadata: ArrayMetadata, *, fill_value_is_mask: bool) -> dict[str, Any]:
    """The attributes of a stored array, with ``_FillValue`` as a value of its dtype."""
    attributes = {k: v for k, v in metadata.attributes.items() if not k.lower().startswith("_nc")}
    if fill_value_is_mask:
        if metadata.fill_value is not None:
            attributes["_FillValue"] = metadata.fill_value
    elif "_FillValue" in attributes:
        data_type = metadata.data_type
        try:
            if data_type.name in ("string", "variable_length_bytes"):
                dtype: Any = "string" if data_type.name == "string" else "bytes"
            else:
                dtype = data_type.dtype
            attributes["_FillValue"] = _decode_fill_value_attribute(attributes["_FillValue"], dtype)
        except (TypeError, ValueError, OverflowError):
            # another writer's convention: leave it as it stands, for xarray to make of it what it can
            pass
    return attributes


def _decode_fill_value_attribute(value: JSON, dtype: Any) -> Any:
    if isinstance(dtype, np.dtype) and dtype.kind in "SU":
        return FillValueCoder.decode(value, "bytes" if dtype.kind == "S" else "string")
    decoded = FillValueCoder.decode(value, dtype)
    if isinstance(dtype, np.dtype) and dtype.kind in "iu":
        # with its type, as netCDF engines give it: an `_Unsigned` variable's marker must wrap around with its data
        return dtype.type(decoded)
    return decoded


def take_fill_value(
    attributes: dict[str, Any],
    encoding: Mapping[str, Any],
    data_type: DataType,
    zarr_format: ZarrFormat,
    is_explicit: bool,
) -> Any:
    """The array's fill value; ``_FillValue`` leaves the attributes, or stays there as JSON."""
    marked = attributes.pop("_FillValue", None)
    if zarr_format == 2:
        return marked
    if marked is not None:
        if data_type.name == "string" or data_type.dtype.kind == "U":
            # a `_FillValue` of text in a v3 store is an error to the zarr engine; this means the same, to both
            attributes.setdefault("missing_value", str(marked))
        else:
            attributes["_FillValue"] = FillValueCoder.encode(marked, data_type.dtype)
    fill_value = encoding.get("fill_value")
    if fill_value is not None and not is_explicit and not _fits(fill_value, data_type):
        fill_value = None
    if fill_value is None and data_type.dtype.kind == "f":
        # as xarray's zarr engine: chunks of floats that were never written hold NaN
        return np.nan
    return fill_value


def _fits(value: Any, data_type: DataType) -> bool:
    try:
        new_array_metadata(shape=(), dtype=data_type, fill_value=value)
    except ZarrdsError:
        return False
    return True
