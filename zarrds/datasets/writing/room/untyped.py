"""Arrays of which no element is there yet, as what is added to them.

Objects that are all missing are stored as text, as nobody can tell what they are; and an array without elements holds
what came first of any dtype: an empty list is one of floats.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import is_chunked
from zarrds.datasets.encoding.dataset import encode_variable
from zarrds.datasets.encoding.exact.attempt import lazy_units
from zarrds.datasets.encoding.exact.packing import CF_KEYS
from zarrds.datasets.encoding.new_variable import NewVariable
from zarrds.datasets.reading.notes import PANDAS
from zarrds.datasets.writing.room.free_values import blocks_of
from zarrds.datasets.writing.room.growing import check_rewritable
from zarrds.datasets.writing.room.made import Made
from zarrds.errors import ZarrdsError
from zarrds.labels.kinds.nullable import MASKED
from zarrds.labels.kinds.objects import OBJECTS, missing_value
from zarrds.labels.kinds.periods import PERIODS
from zarrds.labels.kinds.plain import Description, Labels, Plain, is_missing
from zarrds.labels.kinds.table import to_plain
from zarrds.labels.kinds.texts import TEXTS
from zarrds.labels.kinds.times import TIMES, is_cftime
from zarrds.metadata.extension import with_note
from zarrds.metadata.fields import JSON, JSONObject
from zarrds.metadata.formats import spec_of
from zarrds.metadata.model import ArrayMetadata, CodecObject

__all__ = ["first_categories", "holds_some", "may_be_untyped", "retyped", "typed"]

_NONE = object()
_INFERRED = ("boolean", "integer", "floating", "bytes", "datetime", "datetime64", "timedelta", "timedelta64", "period")
_WORDS = {
    "b": "boolean",
    "S": "bytes",
    "M": "datetime",
    "m": "timedelta",
    "c": "complex",
    **dict.fromkeys("iuf", "number"),
}


def may_be_untyped(metadata: ArrayMetadata, described: JSONObject) -> bool:
    """Whether an array holds text only because nothing was known of its objects, as far as its notes tell."""
    dtype = str(described.get("dtype"))
    return metadata.data_type.name == "string" and TEXTS.fullmatch(dtype) is not None and dtype != "str"


def typed(
    name: str, variable: xr.Variable, there: xr.Variable, metadata: ArrayMetadata, described: JSONObject
) -> Made | None:
    """A stored array of objects of which none is there as one of what is added.

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
    Made or None
        None if some text is there, or if nothing is among what is added that is none.

    Raises
    ------
    EncodingError
        Where what is stored is too large to be written anew.
    """
    # which is missing as pd.NA, of what is noted as pandas' text
    missing = pd.NA if str(described["dtype"]).startswith("string") else missing_value(described)
    new = _flat(variable, missing if there.size else _NONE)
    if new is None or holds_some(there, described.get("missing")):
        return None
    check_rewritable(name, there.size * 8)
    return _of_kind(name, new, to_plain(new), there, metadata)


def retyped(
    name: str,
    variable: xr.Variable,
    index: Labels | None,
    there: xr.Variable,
    metadata: ArrayMetadata,
    described: JSONObject,
) -> Made | None:
    """A stored array without elements as one of what is added, as of `typed`; lazy variables are not computed.

    None if it may hold that as it is, or if arrays beside it would have to come or go, and of lazy objects. `index` is
    that of a variable that has one of pandas.
    """
    dtype = variable.dtype
    is_plain = isinstance(dtype, np.dtype)
    if index is not None:
        new: Any = index
    elif is_chunked(variable) and dtype.kind != "O":
        # text without any would be of no fixed length
        new = np.zeros(int(dtype.kind in "US"), dtype)
    else:
        new = np.asarray(variable.values).reshape(-1) if is_plain else variable.data
    plain = None
    with suppress(ZarrdsError):  # of what cannot be stored at all: it is told of later
        plain = to_plain(new)
    before = "cftime" if there.dtype == object and "units" in there.encoding else _word(there.dtype, described)
    after = (
        "cftime"
        if is_plain and is_cftime(np.asarray(new))
        else _word(dtype, {} if plain is None else plain.description)
    )
    if "parts" in (before, after) or (before == after and not _is_float_for_integers(dtype, there, metadata)):
        return None
    return _of_kind(name, new, plain, there, metadata)


def first_categories(
    name: str, variable: xr.Variable, there: xr.Variable, metadata: ArrayMetadata, described: JSONObject
) -> Made | None:
    """The stored array of categories of which there is none yet as one of those of `variable`, as of `retyped`.

    To pandas, those of labels that are all missing are floats.
    """
    if not isinstance(variable.dtype, pd.CategoricalDtype):
        return None
    index = variable.data.remove_unused_categories().categories
    return retyped(name, xr.Variable(name, index), index, there, metadata, described) if len(index) else None


def _word(dtype: Any, described: Description) -> str:
    """What elements are, as far as it decides which array holds them; ``parts`` where other arrays belong to theirs."""
    noted = str(described.get("dtype", ""))
    if noted in ("category", "interval"):
        return "parts"
    if MASKED.fullmatch(noted):
        return "boolean" if noted == "boolean" else "number"
    if match := OBJECTS.fullmatch(noted):
        return "number" if match[1] == "integer" else match[1]
    if match := TIMES.fullmatch(noted):
        return f"{match[1]} with a zone" if match[3] else match[1]
    if PERIODS.fullmatch(noted) or noted == "cftime":
        return noted
    return "number" if noted == "range" else _WORDS.get(dtype.kind, "text")


def _is_float_for_integers(dtype: Any, there: xr.Variable, metadata: ArrayMetadata) -> bool:
    """Whether floats come for integers that are neither packed nor marked."""
    is_plain = metadata.data_type.dtype.newbyteorder("=") == there.dtype
    return is_plain and there.dtype.kind in "iu" and isinstance(dtype, np.dtype) and dtype.kind == "f"


def _of_kind(name: str, new: Any, plain: Plain | None, there: xr.Variable, metadata: ArrayMetadata) -> Made:
    """A stored array as one of the kind of new elements, `plain` of which is stored; see `typed`."""
    values = np.asarray(new) if plain is None else plain.values
    noted = {} if plain is None else plain.description
    attrs = {k: v for k, v in there.attrs.items() if k not in CF_KEYS}
    attrs |= {} if plain is None else plain.attrs
    is_time = values.dtype.kind in "mM" or is_cftime(values)
    encoding: dict[str, Any] = {"units": lazy_units(values.dtype)} if is_time and not values.size else {}
    # of one dimension only the dtype counts, and how it is encoded
    sample = xr.Variable("x", values[:1] if values.dtype.kind in "biufc" else values, attrs, encoding)
    alike = encode_variable(NewVariable(name, sample, False), spec_of(metadata), {PANDAS: noted})
    # times are decoded, what is noted otherwise is as it is stored
    first = np.asarray((values if is_time else alike.variable.values)[:1])
    elements = np.full(there.shape, first[0] if there.size else 0, first.dtype)
    decoding = {*CF_KEYS, "dtype"}
    attributes = {k: v for k, v in metadata.attributes.items() if k not in decoding}
    added = {k: v for k, v in alike.metadata.attributes.items() if k in decoding}
    after = replace(
        metadata,
        data_type=alike.metadata.data_type,
        fill_value=alike.metadata.fill_value,
        codecs=_within_shards(metadata, alike.metadata.codecs),
        attributes={**attributes, **added},
    )
    encoding = {k: v for k, v in there.encoding.items() if k not in ("dtype", "filters", "_Encoding", *CF_KEYS)}
    encoding |= {k: v for k, v in alike.variable.encoding.items() if k in ("_FillValue", "dtype")}
    encoding |= {k: v for k, v in alike.variable.attrs.items() if k in ("units", "calendar")}
    return Made(with_note(after, PANDAS, noted or None), xr.Variable(there.dims, elements, attrs, encoding), noted)


def _flat(variable: xr.Variable, missing: Any) -> Any:
    """What is added, in one dimension, behind what is missing in the store, if some is; None if that is text."""
    has_missing = missing is not _NONE
    dtype = variable.dtype
    if not isinstance(dtype, np.dtype):
        if isinstance(dtype, pd.DatetimeTZDtype | pd.PeriodDtype):
            missing = pd.NaT
        elif MASKED.fullmatch(dtype.name) is None or variable.data.isna().all():
            return None
        else:
            missing = pd.NA
        index = pd.Index(variable.data)
        return index.insert(0, missing) if has_missing else index
    values = np.asarray(variable.values).reshape(-1)
    if dtype.kind == "f":
        is_some = not np.isnan(values).all()
        return (np.concatenate([[np.nan], values]).astype(dtype) if has_missing else values) if is_some else None
    if dtype.kind in "mM":
        return np.concatenate([np.array(["NaT"], dtype), values]) if has_missing else values
    if dtype.kind in "biuS":
        return np.concatenate([[missing], values.astype(object)]) if has_missing else values
    if dtype.kind != "O":
        return None
    present = values[~is_missing(values)]
    if not present.size or (inferred := pd.api.types.infer_dtype(present, skipna=False)) not in _INFERRED:
        return None
    if inferred == "floating":
        missing = np.nan
    elif inferred.startswith(("datetime", "timedelta", "period")):
        missing = pd.NaT
    return np.concatenate([[missing], values]) if has_missing else values


def holds_some(there: xr.Variable, mark: JSON) -> bool:
    """Whether any text is stored; what is missing is `mark` there."""
    return any(not np.all(is_missing(block) | (block == mark)) for block in blocks_of(there))


def _within_shards(before: ArrayMetadata, inner: tuple[CodecObject, ...]) -> tuple[CodecObject, ...]:
    """Codecs in the place of those of an array, inside of its shards if it has some."""
    sharded = before.sharded()
    return inner if sharded is None else (replace(sharded, codecs=inner).codec(),)
