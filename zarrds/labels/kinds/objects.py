"""Objects that are booleans, integers or bytes, of which some are missing, and NumPy's texts of any length.

None of these has an array type of its own that knows what is missing: one value stands for it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from zarrds.errors import EncodingError
from zarrds.labels.kinds.plain import (
    BYTES,
    TEXT,
    Array,
    Description,
    Labels,
    Plain,
    StoredKind,
    as_integers,
    described_dtype,
    is_missing,
    mismatch,
    other_kind,
)
from zarrds.metadata.fields import Raw

__all__ = [
    "OBJECTS",
    "STRINGS",
    "bytes_marks",
    "holds_objects",
    "missing_name",
    "missing_value",
    "objects_options",
    "restore_objects",
    "restore_strings",
    "store_objects",
    "store_strings",
]

OBJECTS = re.compile(r"objects\[(boolean|integer|bytes)\]")
STRINGS = re.compile("StringDType")
_BOOLEAN_MISSING = -1
# how what is missing is written in a description; text or numbers are missing as NaN unless it says otherwise
_MISSING = {"None": None, "nan": np.nan, "NA": pd.NA}


def missing_name(values: Any) -> str:
    """What the first missing one of some objects is: ``None``, ``nan`` or ``NA``."""
    first = next(iter(values), np.nan)
    return "None" if first is None else "NA" if first is pd.NA else "nan"


def missing_value(description: Description) -> Any:
    """What is put where values are missing."""
    name = description.get("na", "nan")
    if not isinstance(name, str) or name not in _MISSING:
        raise mismatch("what is missing is nothing that is known", expected=list(_MISSING), found=f"{name!r:.80}")
    return _MISSING[name]


def holds_objects(labels: Labels) -> bool:
    """Whether labels are objects that are booleans, integers or bytes, some of them missing."""
    if labels.dtype != object or not labels.size:
        return False
    return bool(labels.isna().any()) and pd.api.types.infer_dtype(labels.to_numpy(), skipna=True) in (
        "boolean",
        "integer",
        "bytes",
    )


def store_objects(labels: Labels, like: StoredKind | None) -> Plain:
    """Objects, with a value of their own kind that stands for what is missing.

    Raises
    ------
    LabelError
        For other objects than `like` describes.
    EncodingError
        Where no value is left to stand for missing ones, or a label is the one that does.
    """
    objects = labels.to_numpy()
    missing = is_missing(objects)
    present = objects[~missing]
    kind = pd.api.types.infer_dtype(present, skipna=False) if present.size else ""
    if like is not None:
        match = OBJECTS.fullmatch(described_dtype(like.description))
        if match is None or kind not in ("", match[1]):
            raise other_kind(like, labels.dtype)
        description = dict(like.description)
        mark = _mark(description)
    else:
        mark = _free_mark(kind, present)
        noted: Any = mark.decode() if isinstance(mark, bytes) else mark
        description = {"dtype": f"objects[{kind}]", "missing": noted, "na": missing_name(objects[missing])}
    if any(value == mark for value in present):
        raise EncodingError(
            "a value is the one that stands for missing ones in the store", found=mark, mend="Save the variable anew"
        )
    filled = objects.copy()
    filled[missing] = mark
    if description["dtype"] == "objects[bytes]":
        # bytes of a fixed length cannot end in zeros
        if any(value.endswith(b"\0") for value in present):
            return Plain(filled.view(BYTES), description)
        return Plain(filled.astype(np.bytes_), description, {"_FillValue": mark})
    try:
        stored = filled.astype(np.int8) if description["dtype"] == "objects[boolean]" else as_integers(filled)
    except OverflowError as error:
        low, high = min(map(int, filled)), max(map(int, filled))
        raise EncodingError(
            "integers do not fit into 64 bits", found=low if low < 0 else high, mend="Store them as text"
        ) from error
    return Plain(stored, description, {"_FillValue": mark})


def _free_mark(kind: str, present: Array) -> Any:
    """A value that is none of those that are there."""
    if kind == "boolean":
        return _BOOLEAN_MISSING
    used = set(present)
    candidates: Any
    if kind == "bytes":
        candidates = bytes_marks(max(map(len, present)))
    elif min(map(int, present)) >= np.iinfo(np.int64).min and max(map(int, present)) <= np.iinfo(np.int64).max:
        candidates = itertools.count(int(np.iinfo(np.int64).min))
    else:
        candidates = itertools.count(int(np.iinfo(np.uint64).max), -1)
    return next(value for value in candidates if value not in used)


def bytes_marks(longest: int) -> Iterator[bytes]:
    """Bytes of which the first that are free are to stand for what is missing, where the longest are of some length.

    Among single characters, as flags of quality are, it is one too: a blank, if it is free, as netCDF files have it.
    """
    single = (b" ", b"-", b"?", b".", b"*") if longest == 1 else ()
    return itertools.chain(single, (f"<NA{n or ''}>".encode() for n in itertools.count()))


def _mark(description: Description) -> Any:
    mark = description.get("missing")
    is_bytes = description["dtype"] == "objects[bytes]"
    if (is_bytes and not isinstance(mark, str)) or (not is_bytes and type(mark) is not int):
        raise mismatch("what stands for missing values is nothing of their kind", found=f"{mark!r:.80}")
    return mark.encode() if isinstance(mark, str) else mark


def objects_options(description: Description) -> dict[str, Any]:
    """How to decode them: what stands for missing ones stays in the array."""
    _mark(description)
    missing_value(description)
    return {"mask_and_scale": False}


def restore_objects(description: Description, values: Array, companions: Mapping[str, Any]) -> Labels:
    """The index that `store_objects` was given."""
    dtype = described_dtype(description)
    expected = "SO" if dtype == "objects[bytes]" else "iu"
    if values.dtype.kind not in expected:
        raise mismatch("array does not hold the objects that are described", expected=dtype, found=values.dtype)
    mark = _mark(description)
    missing = np.asarray(values == mark)
    if dtype == "objects[boolean]" and not (missing | (values == 0) | (values == 1)).all():
        raise mismatch("array holds integers that are no booleans", expected=[0, 1, mark])
    objects = (values == 1 if dtype == "objects[boolean]" else values).astype(object)
    objects[missing] = missing_value(description)
    restored: Labels = pd.Index(objects, dtype=object)
    return restored


def store_strings(values: Array) -> Plain:
    """An array of NumPy's `StringDType`, of any shape, as objects; a text stands for what is missing."""
    objects = values.astype(object)
    missing = is_missing(objects) if hasattr(values.dtype, "na_object") else np.zeros(values.shape, bool)
    description: Raw = {"dtype": "StringDType"}
    if hasattr(values.dtype, "na_object"):
        na = values.dtype.na_object
        description["na"] = na if isinstance(na, str) else missing_name([na])
        description["is_text"] = isinstance(na, str)
    mark = None
    if missing.any():
        used = set(objects[~missing])
        mark = next(text for text in (f"<NA{n or ''}>" for n in itertools.count()) if text not in used)
        objects[missing] = mark
        description["missing"] = mark
    texts = objects.astype(TEXT)
    return Plain(texts, description, {} if mark is None else {"missing_value": mark})


def restore_strings(description: Description, values: Array) -> Array:
    """The array that `store_strings` was given."""
    if values.dtype.kind not in "OUT":
        raise mismatch("array does not hold the text that is described", expected="StringDType", found=values.dtype)
    dtype: Any = np.dtypes.StringDType()
    objects = values.astype(object)
    if "na" in description:
        na = description["na"] if description.get("is_text") is True else missing_value(description)
        dtype = np.dtypes.StringDType(na_object=na)
        if isinstance(description.get("missing"), str):
            objects[objects == description["missing"]] = na
    return objects.astype(dtype)
