"""``Variable.attrs`` <-> the attributes and the fill value of an array.

Missing values follow xarray's zarr engine: in v3 ``_FillValue`` is an attribute, in v2 it is the array's fill value.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr

from zarrds.compat.xarray_internals import FillValueCoder
from zarrds.metadata.attributes import MARKERS, SCALE, apart_attributes, typed_attributes
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.extension import N, has_notes, note_of, with_note
from zarrds.metadata.fields import JSON
from zarrds.metadata.formats import Format, spec_of
from zarrds.metadata.model import ArrayMetadata, Node

__all__ = [
    "NCZARR",
    "attributes_of",
    "attributes_to_decode",
    "decoded_attributes",
    "give_back",
    "is_marker_renamed",
    "missing_fill_value",
    "take_fill_value",
    "visible_attributes",
    "with_marker_renamed",
]

# what names of attributes begin with that NCZarr writes for itself, in lower case
NCZARR = ("_nczarr", "_ncproperties")
# the member of the notes of an array whose marker of missing text was a `_FillValue`
_RENAMED = "text_fill_value"
_IN_ONE_PLACE = frozenset({*MARKERS, *SCALE})


def visible_attributes(node: Node) -> dict[str, Any]:
    """The attributes of a stored array or group, with their types and without NCZarr's own."""
    return attributes_to_decode(node) | apart_attributes(node)


def attributes_to_decode(node: Node) -> dict[str, Any]:
    """Those of `visible_attributes` by which a reader goes."""
    attributes = typed_attributes(node)
    hidden = [name for name in attributes if name.lower().startswith(NCZARR)]
    return {k: v for k, v in attributes.items() if k not in hidden} if hidden else attributes


def attributes_of(metadata: ArrayMetadata) -> dict[str, Any]:
    """As `decoded_attributes`, with the fill value among them where the format says so, as nobody asks otherwise."""
    return decoded_attributes(metadata, fill_value_is_mask=spec_of(metadata).IS_FILL_MISSING)


def decoded_attributes(metadata: ArrayMetadata, *, fill_value_is_mask: bool) -> dict[str, Any]:
    """The attributes of a stored array, with ``_FillValue`` as a value of its dtype."""
    attributes = attributes_to_decode(metadata)
    data_type = metadata.data_type
    if fill_value_is_mask and metadata.fill_value is not None:
        # of structures nothing is missing
        if data_type.dtype.kind != "V":
            attributes["_FillValue"] = metadata.fill_value
    elif "_FillValue" in metadata.attributes:
        marker = attributes["_FillValue"]
        if data_type.dtype.kind == "f" and type(marker) in (int, float):
            attributes["_FillValue"] = _of_dtype(marker, data_type.dtype)
        elif not fill_value_is_mask:
            attributes["_FillValue"] = _decoded_or_as_it_is(marker, data_type)
    return attributes


def _of_dtype(number: float, dtype: np.dtype[Any]) -> Any:
    """A number of JSON, which has no types, as the one that it stands for: 1e20 equals no float32, but one is meant."""
    with suppress(FloatingPointError, OverflowError), np.errstate(over="raise"):
        made = dtype.type(number)
        if made or not number:  # and is not rounded to zero
            return made
    # which no element is; integers beyond all floats cannot be compared with them either
    return float(number) if abs(number) <= sys.float_info.max else np.nan


def _decoded_or_as_it_is(marker: JSON, data_type: DataType) -> Any:
    dtype: Any = {"string": "string", "variable_length_bytes": "bytes"}.get(data_type.name, data_type.dtype)
    decode = _decoded_text if isinstance(marker, str) else _decode_fill_value_attribute
    try:
        return decode(marker, dtype)
    except (TypeError, ValueError, OverflowError):
        return marker  # another writer's convention: for xarray to make of it what it can


@lru_cache(maxsize=256)  # all variables of a dataset have one, and mostly the same
def _decoded_text(value: str, dtype: Any) -> Any:
    return _decode_fill_value_attribute(value, dtype)


def _decode_fill_value_attribute(value: JSON, dtype: Any) -> Any:
    if isinstance(dtype, np.dtype) and dtype.kind in "SU":
        return FillValueCoder.decode(value, "bytes" if dtype.kind == "S" else "string")
    decoded = FillValueCoder.decode(value, dtype)
    if isinstance(dtype, np.dtype) and dtype.kind in "iuf":
        # with its type, as netCDF engines give it: an `_Unsigned` variable's marker must wrap around with its data
        return dtype.type(decoded)
    return decoded


def take_fill_value(
    attributes: dict[str, Any], hidden: dict[str, Any], asked: Any, data_type: DataType, spec: Format
) -> Any:
    """The array's fill value, the one that is asked for if any; ``_FillValue`` leaves the attributes, or stays as JSON.

    What stands for nothing that the array could hold (NaN or -1 of unsigned integers, a list) goes into `hidden`.
    """
    marked = attributes.pop("_FillValue", None)
    if np.ndim(marked) and np.size(marked) == 1:
        marked = np.ravel(marked)[0]
    if marked is not None and data_type.dtype.kind == "V":
        return marked if asked is None else asked  # of structures nothing is missing, and no attribute can be one
    # in format 3 it may be one of the other sign, for `_Unsigned`
    signs = data_type.dtype.kind if spec.IS_FILL_MISSING else "iu"
    is_of_integers = marked is not None and data_type.dtype.kind in "iu"
    if (is_of_integers and not _is_held(marked, data_type.dtype, signs)) or np.ndim(marked):
        hidden["_FillValue"] = marked
        marked = None
    if spec.IS_FILL_MISSING:
        return marked
    if marked is not None:
        if data_type.name == "string" or data_type.dtype.kind == "U":
            # a `_FillValue` of text in a v3 store is an error to the zarr engine; this means the same, to both
            if not isinstance(marked, bytes) and attributes.setdefault("missing_value", str(marked)) != marked:
                hidden["_FillValue"] = marked
        elif data_type.dtype.kind == "S":
            hidden["_FillValue"] = marked  # the zarr engine could not open a store with it
        else:
            try:
                attributes["_FillValue"] = FillValueCoder.encode(marked, data_type.dtype)
            except (TypeError, ValueError, OverflowError):
                hidden["_FillValue"] = marked
    if asked is None and marked is not None and data_type.dtype.kind in "iu":
        return _as_stored(marked, data_type.dtype)  # what was never written is missing
    if asked is None and data_type.dtype.kind == "f":
        # as xarray's zarr engine: chunks of floats that were never written hold NaN
        return np.nan
    return asked


def missing_fill_value(attributes: Mapping[Any, Any], dtype: np.dtype[Any]) -> int | None:
    """Of integers that have a ``missing_value`` alone, what stands for those that are not computed yet."""
    marker = attributes.get("missing_value")
    return _as_stored(marker, dtype) if marker is not None and _is_held(marker, dtype, "iu") else None


def _is_whole(value: Any) -> bool:
    items = np.ravel(value)
    return items.size == 1 and items.dtype.kind in "iuf" and bool(np.isfinite(items[0])) and int(items[0]) == items[0]


def _is_held(marker: Any, dtype: np.dtype[Any], signs: str) -> bool:
    """Whether a marker can be an integer of the dtype's size, of one of these signs."""
    limits = [np.iinfo(f"{sign}{dtype.itemsize}") for sign in signs]
    return _is_whole(marker) and any(each.min <= int(np.ravel(marker)[0]) <= each.max for each in limits)


def _as_stored(marker: Any, dtype: np.dtype[Any]) -> int:
    """A marker as an integer of the dtype; `_Unsigned` variables may have one of the other sign."""
    value = int(np.ravel(marker)[0])
    bits = 8 * dtype.itemsize
    return int(np.array(value % 2**bits, f"u{dtype.itemsize}").view(dtype.newbyteorder("=")))


def with_marker_renamed(metadata: N) -> N:
    """An array whose ``missing_value`` was the user's ``_FillValue``, which may not be text in format 3."""
    return with_note(metadata, _RENAMED, True)


def is_marker_renamed(node: Node) -> bool:
    """Whether the array is one of `with_marker_renamed`."""
    return note_of(node, _RENAMED) is True


def give_back(variables: Mapping[Any, xr.Variable], nodes: Mapping[Any, Node]) -> None:
    """Give decoded variables what was set apart of their attributes."""
    for name, node in nodes.items():
        if name not in variables or not has_notes(node):
            continue
        variable = variables[name]
        if is_marker_renamed(node):
            for place in (variable.attrs, variable.encoding):
                if "missing_value" in place and "_FillValue" not in place:
                    place["_FillValue"] = place.pop("missing_value")
        if apart := apart_attributes(node):
            variable.attrs.update(apart)
            for key in apart.keys() & _IN_ONE_PLACE:
                variable.encoding.pop(key, None)  # xarray has a key in one of both places
