"""What is missing among text or integers of which none was missing, and nullable integers that turn out larger.

A stored array without a value for what is missing gets one by what is added to it: one that neither holds. Where it
needs other elements for that, all of them are written anew. Decided before anything is written.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import is_chunked, with_variables
from zarrds.datasets.encoding.dataset import stored_name
from zarrds.datasets.encoding.exact.blocks import computed_to_see
from zarrds.datasets.reading.notes import PANDAS
from zarrds.datasets.writing.plain.lazy_text import kind_of_first, may_be_text
from zarrds.datasets.writing.room.categorized import categorized, is_categorized_otherwise
from zarrds.datasets.writing.room.categorized_levels import with_levels_stored
from zarrds.datasets.writing.room.free_values import free_integer
from zarrds.datasets.writing.room.growing import check_rewritable
from zarrds.datasets.writing.room.integers.plain import (
    integers_with_missing,
    is_packed,
    marked,
    wider_integers,
    width_that_holds,
)
from zarrds.datasets.writing.room.kind_stored import in_the_kind_stored, is_nullable_integer
from zarrds.datasets.writing.room.made import Made
from zarrds.datasets.writing.room.missing_text import bytes_with_missing, marked_otherwise, text_with_missing
from zarrds.datasets.writing.room.other_dates import in_dates_stored
from zarrds.datasets.writing.room.untyped import first_categories, holds_some, may_be_untyped, retyped, typed
from zarrds.datasets.writing.stored import StoredGroup
from zarrds.labels.kinds.nullable import MASKED
from zarrds.labels.kinds.objects import missing_name
from zarrds.labels.kinds.plain import as_integers, is_missing
from zarrds.metadata.attributes import MARKERS
from zarrds.metadata.extension import with_new_id, with_note
from zarrds.metadata.fields import JSONObject, Raw
from zarrds.metadata.model import ArrayMetadata

__all__ = ["with_room"]


def with_room(stored: StoredGroup, dataset: xr.Dataset) -> tuple[StoredGroup, xr.Dataset]:
    """A stored group as it must be to hold a dataset, and the dataset with what is missing as the store has it.

    Parameters
    ----------
    stored : StoredGroup
    dataset : Dataset
        What is written into it; dask arrays are passed by, unless only their elements tell what they need: those are
        computed, with a warning.

    Raises
    ------
    EncodingError
        Where what is stored is too large to be written anew.
    """
    dataset = with_levels_stored(dataset, stored)
    made: dict[str, Made] = {}
    changed: dict[Hashable, xr.Variable] = {}
    xindexes = dataset.xindexes  # which are made anew whenever they are asked for
    for name, variable in dataset.variables.items():
        key, is_label = stored_name(name), name in xindexes
        there, described = stored.variables.get(key), stored.notes.descriptions.get(key, {})
        if key in stored.notes.ranges and not variable.size:
            changed[name] = xr.Variable(variable.dims, np.empty(0, np.int64), variable.attrs)
        if there is None or _is_level(key, stored):
            continue
        is_part = is_label and isinstance(xindexes[name], xr.indexes.PandasMultiIndex)
        if not variable.size:
            nothing = None if is_part else _nothing_of(key, variable, there, described, stored)
            if nothing is not None:
                changed[name] = nothing
            continue
        if not is_part and (alike := _in_the_form_stored(name, variable, there, described, stored)) is not variable:
            changed[name] = variable = alike
        if not there.size and _are_unknown_objects(variable, stored.arrays[key]):
            changed[name] = variable = computed_to_see(name, variable, "what its objects are")
        # not `Dataset.indexes`: not all can be indexes of pandas
        is_first = is_label and not is_part and not there.size
        firsts = _made_by_the_first(key, variable, xindexes[name].to_pandas_index() if is_first else None, stored)
        made |= firsts
        if key in firsts:
            continue
        kind = variable.dtype.kind if isinstance(variable.dtype, np.dtype) else "extension"
        is_untyped = not is_label and may_be_untyped(stored.arrays[key], described)
        if not is_untyped and _fits(variable, kind, there, described):
            continue  # at once: these may be large
        if is_chunked(variable):
            reason = _looked_at_for(variable, there, stored.arrays[key], described, is_untyped=is_untyped)
            if reason is None:
                continue
            is_other = not is_untyped or holds_some(there, described.get("missing"))
            if kind == "f" and is_other and _begins_with_some(variable):
                continue  # which is refused
            changed[name] = variable = computed_to_see(name, variable, reason)
        if (other := in_the_kind_stored(key, variable, there, described, stored)) is not None:
            changed[name] = variable = other
        found = _made(key, variable, there, stored.arrays[key], described, is_label=is_label)
        if found is not None:
            made[key] = found
            if found.new is not None:
                changed[name] = found.new
    if changed:
        dataset = with_variables(dataset, changed)
    return _with_made(stored, made), dataset


def _with_made(stored: StoredGroup, made: Mapping[str, Made]) -> StoredGroup:
    """A stored group in which some arrays are as they will be: others, as stored elements may mean something else."""
    if not made:
        return stored
    descriptions = {k: v for k, v in stored.notes.descriptions.items() if k not in made}
    descriptions |= {name: each.description for name, each in made.items() if each.description}
    return replace(
        stored,
        arrays={**stored.arrays, **{name: with_new_id(each.metadata) for name, each in made.items()}},
        variables={**stored.variables, **{name: each.variable for name, each in made.items()}},
        notes=replace(stored.notes, descriptions=descriptions),
        documents={name: stored.arrays[name] for name in made},
    )


def _in_the_form_stored(
    name: Hashable, variable: xr.Variable, there: xr.Variable, described: JSONObject, stored: StoredGroup
) -> xr.Variable:
    """Text as categories, categories as values, and dates of one library as those of the other; all else as it is."""
    if is_categorized_otherwise(variable, described):
        if is_chunked(variable):
            variable = computed_to_see(name, variable, "which categories its texts are")
        other = categorized(variable, described, stored.categories.get(stored_name(name)))
    else:
        other = in_dates_stored(variable, there) if there.size else None
    return variable if other is None else other


def _made_by_the_first(
    key: str, variable: xr.Variable, index: pd.Index[Any] | None, stored: StoredGroup
) -> dict[str, Made]:
    """An array without elements, and one of categories of which there is none, as what comes first makes them."""
    made: dict[str, Made] = {}
    beside = stored.notes.companions.get(key, {}).get("categories", "")
    if beside in stored.variables and not stored.variables[beside].size:
        described = stored.notes.descriptions.get(beside, {})
        first = first_categories(beside, variable, stored.variables[beside], stored.arrays[beside], described)
        if first is not None:
            made[beside] = first
    if not stored.variables[key].size and not _tells_nothing(variable):
        described = stored.notes.descriptions.get(key, {})
        anew = retyped(key, variable, index, stored.variables[key], stored.arrays[key], described)
        if anew is not None:
            made[key] = anew
    return made


def _fits(variable: xr.Variable, kind: str, there: xr.Variable, described: JSONObject) -> bool:
    """Whether the dtypes alone tell that there is room, or that there will be none."""
    if kind in "US":
        return "missing" not in described and not (is_chunked(variable) and "_Encoding" in there.encoding)
    if kind in "iuf" and not described and there.dtype.kind in "iufc":
        return there.dtype.kind in "fc" or np.can_cast(variable.dtype, there.dtype)
    return kind in "MmcVb"


def _looked_at_for(
    variable: xr.Variable,
    there: xr.Variable,
    metadata: ArrayMetadata,
    described: JSONObject,
    *,
    is_untyped: bool,
) -> str | None:
    """What a dask array must be computed for before anything is decided, in words; None if it need not be."""
    kind, stored = variable.dtype.kind, metadata.data_type
    is_number = stored.dtype.kind in "iub" or there.dtype.kind == "f"
    if kind == "O" and (is_number or (is_untyped and not may_be_text(variable))):
        return "what its objects are"
    noted = str(described.get("dtype"))
    if kind in "iu" and MASKED.fullmatch(noted) and noted != "boolean":
        # which of them floats hold exactly is seen of each
        is_held = noted[0] != "F" and np.can_cast(variable.dtype, stored.dtype)
        return None if is_held else "how large its integers are"
    if is_untyped and kind in "biuSmM":
        return "what the store's objects, of which none is there, become"
    if kind in "OT" and stored.dtype.kind in "US":
        return "how long its texts are"
    if kind == "U" and stored.dtype.kind == "S" and "_Encoding" in there.encoding:
        # no encoding of Unicode takes more than four bytes for a character
        return "how long its texts are" if variable.dtype.itemsize > stored.dtype.itemsize else None
    is_text = stored.name == "string" or stored.dtype.kind == "U" or "_Encoding" in there.encoding
    is_other = bool(described) and not noted.startswith("Float")
    is_other |= there.dtype.kind in "bSmM"  # which floats are only if they are all missing
    is_unsure = kind == "f" and (is_text or is_other)
    if kind == "O" and (is_text or noted == "StringDType") and "missing" not in described:
        is_unsure = kind_of_first(variable)[0] == "empty"
    return "whether any of it is there" if is_unsure else None


def _are_unknown_objects(variable: xr.Variable, metadata: ArrayMetadata) -> bool:
    """Whether dask objects may be others than an array without elements is made for: text is added block by block."""
    if variable.dtype != object or not is_chunked(variable):
        return False
    is_text = metadata.data_type.name == "string" or metadata.data_type.dtype.kind == "U"
    return not (is_text and may_be_text(variable))


def _nothing_of(
    name: str, variable: xr.Variable, there: xr.Variable, described: JSONObject, stored: StoredGroup
) -> xr.Variable | None:
    """No elements, in the dtype that the store has for them: those of a batch without any may be of every other."""
    is_alike = isinstance(variable.dtype, np.dtype) and variable.dtype.kind == there.dtype.kind
    described = {} if described.get("dtype") == "range" else described
    if not described and is_alike:
        return None
    dtype = np.dtype(object) if described else there.dtype
    nothing = xr.Variable(variable.dims, np.empty(variable.shape, dtype), variable.attrs, variable.encoding)
    made = in_the_kind_stored(name, nothing, there, described, stored) if described else None
    return nothing if made is None else made


def _tells_nothing(variable: xr.Variable) -> bool:
    """Whether a variable is one of objects, and these are all missing, or lazy."""
    is_object = isinstance(variable.dtype, np.dtype) and variable.dtype.kind == "O"
    return is_object and (is_chunked(variable) or bool(pd.isnull(variable.values).all()))


def _begins_with_some(variable: xr.Variable) -> bool:
    """Whether any of a dask array's first block is there: then not all of it is missing, however large the rest is."""
    first = variable[{dim: slice(0, sizes[0]) for dim, sizes in variable.chunksizes.items()}]
    return bool(first.notnull().any())


def _is_level(name: str, stored: StoredGroup) -> bool:
    return any(name in levels for levels in stored.notes.multi_indexes.values())


def _made(
    name: str,
    variable: xr.Variable,
    there: xr.Variable,
    metadata: ArrayMetadata,
    described: JSONObject,
    *,
    is_label: bool,
) -> Made | None:
    """The stored array as it must be; None if it may stay, or must: labels that are missing find no place."""
    if not is_label and may_be_untyped(metadata, described):
        anew = typed(name, variable, there, metadata, described)
        if anew is not None:
            return anew
    data_type = metadata.data_type
    if "missing" in described and not is_label:
        other = marked_otherwise(name, variable, there, metadata, described)
        if other is not None:
            return other
    is_marked = "missing" in described or any(there.encoding.get(key) is not None for key in MARKERS)
    if data_type.name == "string" or data_type.dtype.kind == "U":
        return None if is_marked or is_label else text_with_missing(name, variable, there, metadata, described)
    if data_type.dtype.kind == "S" or data_type.name in ("bytes", "variable_length_bytes"):
        is_plain = not described and not is_marked and not is_label and "_Encoding" not in there.encoding
        return bytes_with_missing(name, variable, there, metadata) if is_plain else None
    if data_type.dtype.kind not in "iub" or is_packed(there):
        return None
    if there.dtype == bool and metadata.attributes.get("dtype") == "bool" and not described and not is_label:
        others = {key: value for key, value in metadata.attributes.items() if key != "dtype"}
        numbers = xr.Variable(there.dims, there.values.astype(data_type.dtype), there.attrs, there.encoding)
        return _nullable(name, variable, numbers, replace(metadata, attributes=others), "b")
    if not described and not is_marked and "dtype" not in metadata.attributes and data_type.dtype.kind in "iu":
        if isinstance(variable.dtype, np.dtype) and variable.dtype.kind in "iu":
            return wider_integers(name, variable, there, metadata)
        if isinstance(variable.dtype, np.dtype) and variable.dtype.kind == "f":
            return None if is_label else integers_with_missing(name, variable, there, metadata)
    dtype = str(described.get("dtype"))
    if dtype == "objects[integer]" or (MASKED.fullmatch(dtype) and dtype != "boolean"):
        return _larger(name, variable, there, metadata, described)
    if described or is_marked or is_label or "dtype" in metadata.attributes:
        return None
    return _nullable(name, variable, there, metadata)


def _nullable(
    name: str, variable: xr.Variable, there: xr.Variable, metadata: ArrayMetadata, kind: str | None = None
) -> Made | None:
    """Integers or booleans of which some are missing, nullable or objects, for an array of which none was.

    `kind` is what the array holds, if its dtype does not say it: xarray before 2026.9 made integers of booleans.
    """
    stored = metadata.data_type.dtype
    kind = kind or stored.kind
    present, missing = _integers(variable, kind)
    if present is None:
        return None
    if kind == "b":
        if not missing.size:
            return None
        noted: Raw = {"dtype": "boolean", "missing": -1}
        if variable.dtype == object:  # of several dimensions, of which pandas has none
            noted = {"dtype": "objects[boolean]", "missing": -1, "na": missing_name(missing)}
        return _in_elements(name, np.dtype(np.int8), -1, None, there, metadata, noted)
    dtype = width_that_holds(present, stored)
    # of a nullable dtype they may find that they are too large also where none is missing
    may_grow = bool(missing.size) or not isinstance(variable.dtype, np.dtype)
    if dtype is None or not may_grow or (dtype == stored.newbyteorder("=") and not missing.size):
        return None
    dtype, mark = free_integer(name, dtype, present, there)
    noted = {"dtype": _nullable_name(dtype), "missing": mark}
    if variable.dtype == object:
        noted = {"dtype": "objects[integer]", "missing": mark, "na": missing_name(missing)}
    return _in_elements(name, dtype, mark, None, there, metadata, noted)


def _larger(
    name: str, variable: xr.Variable, there: xr.Variable, metadata: ArrayMetadata, described: JSONObject
) -> Made | None:
    """Nullable integers for an array of some that are too short, or whose value for missing ones is among them."""
    stored = metadata.data_type.dtype.newbyteorder("=")
    present, _ = _integers(variable, stored.kind)
    mark = described.get("missing")
    if present is None or not present.size or not (mark is None or type(mark) is int):
        return None
    dtype = width_that_holds(present, stored)
    if dtype is None or (dtype == stored and not (present == mark).any()):
        return None
    check_rewritable(name, there.size * dtype.itemsize)
    dtype, new = free_integer(name, dtype, present, there)
    is_nullable = described["dtype"] != "objects[integer]"
    noted = {**described, "missing": new} | ({"dtype": _nullable_name(dtype)} if is_nullable else {})
    return _in_elements(name, dtype, new, mark, there, metadata, noted)


def _integers(variable: xr.Variable, kind: str) -> tuple[np.ndarray[Any, Any] | None, np.ndarray[Any, Any]]:
    """Those integers, or booleans, that are there, and those that are not; None if it holds something else."""
    wanted, dtype, none = ("boolean" if kind == "b" else "integer"), variable.dtype, np.empty(0, object)
    if not isinstance(dtype, np.dtype):
        is_of_kind = dtype.name == "boolean" if kind == "b" else is_nullable_integer(dtype)
        if not is_of_kind:
            return None, none
        gone = np.asarray(variable.data.isna())
        return variable.data[~gone].to_numpy(dtype=dtype.numpy_dtype), np.full(int(gone.sum()), pd.NA)
    if dtype.kind in "iu" and kind != "b":
        return np.asarray(variable.values).reshape(-1), none
    if dtype.kind != "O":
        return None, none
    values = np.asarray(variable.values).reshape(-1)
    gone = is_missing(values)
    present = values[~gone]
    if not present.size or pd.api.types.infer_dtype(present, skipna=False) != wanted:
        return (None if present.size else np.empty(0, np.int8)), values[gone]
    try:
        return present.astype(bool) if kind == "b" else as_integers(present), values[gone]
    except OverflowError:
        return None, none


def _nullable_name(dtype: np.dtype[Any]) -> str:
    """What pandas calls its nullable integers of a dtype."""
    return dtype.name.replace("int", "Int").replace("uI", "UI")


def _in_elements(
    name: str,
    dtype: np.dtype[Any],
    mark: int,
    before: int | None,
    there: xr.Variable,
    metadata: ArrayMetadata,
    noted: JSONObject,
) -> Made:
    """An array of integers of another dtype, with another value for what is missing than `before`, if any."""
    after = marked(metadata, dtype, mark, before)
    variable = there
    if after.data_type != metadata.data_type or before is not None:
        check_rewritable(name, there.size * dtype.itemsize)
        old = there.values  # read once: it is lazy
        values = old.astype(dtype)
        if before is not None:
            values[old == before] = mark
        variable = xr.Variable(there.dims, values, there.attrs, there.encoding)
    return Made(with_note(after, PANDAS, noted), variable, noted)
