"""Objects of which none was there yet, which are stored as text, as what is added to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.datasets.encoding.dataset import encode_variable
from zarrds.datasets.reading.notes import PANDAS
from zarrds.datasets.writing.room.free_values import blocks_of
from zarrds.datasets.writing.room.growing import check_rewritable
from zarrds.labels.kinds.nullable import MASKED
from zarrds.labels.kinds.objects import missing_value
from zarrds.labels.kinds.plain import is_missing
from zarrds.labels.kinds.table import to_plain
from zarrds.metadata.attributes import MARKERS
from zarrds.metadata.extension import with_note
from zarrds.metadata.fields import JSON, JSONObject
from zarrds.metadata.model import ArrayMetadata, CodecObject

__all__ = ["may_be_untyped", "typed"]

_NONE = object()
_KINDS = ("boolean", "integer", "floating", "bytes")


def may_be_untyped(metadata: ArrayMetadata, described: JSONObject) -> bool:
    """Whether an array holds text only because nothing was known of its objects, as far as its notes tell."""
    return described.get("dtype") == "object" and metadata.data_type.name == "string"


def typed(
    name: str, variable: xr.Variable, there: xr.Variable, metadata: ArrayMetadata, described: JSONObject
) -> tuple[ArrayMetadata, xr.Variable, JSONObject] | None:
    """A stored array of objects of which none is there as one of what is added, its elements, and what is noted of it.

    Parameters
    ----------
    name : str
    variable : Variable
        What is added, in memory.
    there : Variable
        What is stored, decoded and lazy.
    metadata : ArrayMetadata
    described : mapping
        What is noted of it.

    Returns
    -------
    tuple or None
        None if some text is there, or if nothing is among what is added that is none.

    Raises
    ------
    EncodingError
        Where what is stored is too large to be written anew.
    """
    new = _flat(variable, missing_value(described) if there.size else _NONE)
    if new is None or _holds_some(there, described.get("missing")):
        return None
    check_rewritable(name, there.size * 8)
    plain = to_plain(new)
    values = np.asarray(new) if plain is None else plain.values
    noted = {} if plain is None else plain.description
    attrs = {k: v for k, v in there.attrs.items() if k != "missing_value"}
    attrs |= {} if plain is None else plain.attrs
    # of one dimension only the dtype counts, and how it is encoded
    alike = encode_variable(name, xr.Variable("x", values, attrs), False, metadata.zarr_format, {PANDAS: noted})
    first = np.asarray(alike.variable.values[:1])
    elements = np.full(there.shape, first[0] if there.size else 0, first.dtype)
    attributes = {k: v for k, v in metadata.attributes.items() if k != "missing_value"}
    added = alike.metadata.attributes.keys() & {*MARKERS, "dtype"}
    after = replace(
        metadata,
        data_type=alike.metadata.data_type,
        fill_value=alike.metadata.fill_value,
        codecs=_within_shards(metadata, alike.metadata.codecs),
        attributes={**attributes, **{key: alike.metadata.attributes[key] for key in added}},
    )
    encoding = {k: v for k, v in there.encoding.items() if k not in ("dtype", *MARKERS, "filters")}
    encoding |= {k: v for k, v in alike.variable.encoding.items() if k in ("_FillValue", "dtype")}
    return with_note(after, PANDAS, noted or None), xr.Variable(there.dims, elements, attrs, encoding), noted


def _flat(variable: xr.Variable, missing: Any) -> Any:
    """What is added, in one dimension, behind what is missing in the store, if some is; None if that is text."""
    has_missing = missing is not _NONE
    dtype = variable.dtype
    if not isinstance(dtype, np.dtype):
        if MASKED.fullmatch(dtype.name) is None or variable.data.isna().all():
            return None
        index = pd.Index(variable.data)
        return index.insert(0, pd.NA) if has_missing else index
    values = np.asarray(variable.values).reshape(-1)
    if dtype.kind == "f":
        is_some = not np.isnan(values).all()
        return (np.concatenate([[np.nan], values]).astype(dtype) if has_missing else values) if is_some else None
    if dtype.kind in "biuS":
        return np.concatenate([[missing], values.astype(object)]) if has_missing else values
    if dtype.kind != "O":
        return None
    present = values[~is_missing(values)]
    if not present.size or pd.api.types.infer_dtype(present, skipna=False) not in _KINDS:
        return None
    return np.concatenate([[missing], values]) if has_missing else values


def _holds_some(there: xr.Variable, mark: JSON) -> bool:
    """Whether any text is stored; what is missing is `mark` there."""
    return any(not np.all(is_missing(block) | (block == mark)) for block in blocks_of(there))


def _within_shards(before: ArrayMetadata, inner: tuple[CodecObject, ...]) -> tuple[CodecObject, ...]:
    """Codecs in the place of those of an array, inside of its shards if it has some."""
    sharded = before.sharded()
    return inner if sharded is None else (replace(sharded, codecs=inner).codec(),)
