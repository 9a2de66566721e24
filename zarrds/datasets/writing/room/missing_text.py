"""Text or bytes of which some is missing, for an array of which none was, or that has what stands for it as text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import variable_of
from zarrds.datasets.reading.notes import PANDAS
from zarrds.datasets.writing.room.free_values import free_text
from zarrds.datasets.writing.room.growing import check_rewritable
from zarrds.datasets.writing.room.made import Made
from zarrds.labels.kinds.objects import bytes_marks, missing_name
from zarrds.labels.kinds.plain import is_missing
from zarrds.labels.kinds.texts import text_marks
from zarrds.metadata.extension import with_note
from zarrds.metadata.fields import JSONObject
from zarrds.metadata.model import ArrayMetadata

__all__ = ["bytes_with_missing", "marked_otherwise", "text_with_missing"]


def text_with_missing(
    name: str, variable: xr.Variable, there: xr.Variable, metadata: ArrayMetadata, described: JSONObject
) -> Made | None:
    """Text of which some is missing, for an array of which none was."""
    if (parts := _parted(variable, "string")) is None:
        return None
    present, missing = parts
    mark = free_text(name, text_marks(), present, there)
    noted = dict(described) or {"dtype": "object"}
    what = missing_name(missing)
    if noted["dtype"] in ("object", "StringDType") and what != "nan":
        noted["na"] = what
    if noted["dtype"] == "StringDType":
        noted = {**noted, "na": what, "is_text": False}
    noted["missing"] = mark
    marked = replace(metadata, attributes={**metadata.attributes, "missing_value": mark})
    return Made(with_note(marked, PANDAS, noted), there, noted)


def bytes_with_missing(name: str, variable: xr.Variable, there: xr.Variable, metadata: ArrayMetadata) -> Made | None:
    """Bytes of which some are missing, for an array of which none was."""
    if variable.dtype.kind != "O" or (parts := _parted(variable, "bytes")) is None:
        return None
    present, missing = parts
    mark = free_text(name, bytes_marks(_longest(present, metadata)), present, there)
    noted = {"dtype": "objects[bytes]", "missing": mark.decode(), "na": missing_name(missing)}
    return Made(with_note(metadata, PANDAS, noted), there, noted)


def marked_otherwise(
    name: str, variable: xr.Variable, there: xr.Variable, metadata: ArrayMetadata, described: JSONObject
) -> Made | None:
    """Text or bytes with another value for what is missing, as the one that it had is among those that are new."""
    is_bytes = described.get("dtype") == "objects[bytes]"
    if not isinstance(described["missing"], str) or metadata.data_type.dtype.kind not in "OTUS":
        return None
    mark: Any = described["missing"].encode() if is_bytes else described["missing"]
    values = np.asarray(variable.values, dtype=object).reshape(-1)
    present = values[~is_missing(values)]
    if not np.asarray(present == mark, bool).any():
        return None
    check_rewritable(name, there.nbytes)
    marks = bytes_marks(_longest(present, metadata)) if is_bytes else text_marks()
    new = free_text(name, marks, present, there)
    noted = {**described, "missing": new.decode() if is_bytes else new}
    attributes = dict(metadata.attributes) if is_bytes else {**metadata.attributes, "missing_value": new}
    old = there.values.astype(object)
    old[np.asarray(old == mark, bool)] = new
    elements = variable_of(there.dims, old, there.attrs, there.encoding)
    return Made(with_note(replace(metadata, attributes=attributes), PANDAS, noted), elements, noted)


def _longest(present: np.ndarray[Any, Any], metadata: ArrayMetadata) -> int:
    """How long bytes may be that are added, or stored; those of any length are stored as objects."""
    dtype = metadata.data_type.dtype
    return max([dtype.itemsize if dtype.kind == "S" else 0, *map(len, present)])


def _parted(variable: xr.Variable, kind: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """Those objects that are there, and those that are missing; None if none is, or others are there than of a kind."""
    values = np.asarray(variable.values, dtype=object).reshape(-1)
    gone = is_missing(values)
    if not gone.any() or pd.api.types.infer_dtype(values[~gone], skipna=False) not in (kind, "empty"):
        return None
    return values[~gone], values[gone]
