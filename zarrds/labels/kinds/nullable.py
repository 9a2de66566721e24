"""Nullable integers, booleans and floats: arrays in which one value stands for what is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from zarrds.errors import EncodingError
from zarrds.labels.kinds.plain import (
    Array,
    Description,
    Labels,
    Plain,
    StoredKind,
    described_dtype,
    mismatch,
    other_kind,
)
from zarrds.metadata.fields import JSONObject

__all__ = ["MASKED", "fits_masked", "masked_options", "restore_masked", "store_masked"]

MASKED = re.compile(r"U?Int(?:8|16|32|64)|boolean|Float(?:32|64)")
_BOOLEAN_MISSING = -1
# what NumPy's dtypes of the same labels are
_KINDS = {"I": "iu", "U": "iu", "b": "b", "F": "f"}


def fits_masked(labels: Labels, dtype: str) -> bool:
    """Whether labels can be written to an array that is described by `dtype`: nullable, or of NumPy's like dtypes."""
    found = labels.dtype
    if isinstance(found, pd.api.extensions.ExtensionDtype):
        return bool(MASKED.fullmatch(found.name)) and _KINDS[found.name[0]] == _KINDS[dtype[0]]
    return found.kind in _KINDS[dtype[0]]


def store_masked(labels: Labels, like: StoredKind | None) -> Plain:
    """Labels of a nullable dtype.

    Raises
    ------
    LabelError
        For labels that the dtype of `like` does not hold.
    EncodingError
        For a label that equals the value that stands for missing ones, or where there is no such value.
    """
    dtype = labels.dtype.name if like is None else described_dtype(like.description)
    try:
        nullable: Any = pd.array(labels, dtype=dtype)  # type: ignore[call-overload]  # one of `MASKED`
    except (TypeError, ValueError, OverflowError) as error:
        raise EncodingError(
            "labels do not fit the store's dtype",
            expected=dtype,
            found=labels.dtype,
            mend="Save the variable anew, or under another name",
        ) from error
    missing = np.asarray(nullable.isna())
    if dtype.startswith("Float"):
        values = nullable.to_numpy(dtype=_stored(dtype), na_value=np.nan)
        _check_same(labels, values, missing, like)
        return Plain(values, {"dtype": dtype} if like is None else dict(like.description))
    present = nullable[~missing].to_numpy(dtype=_stored(dtype))
    mark = _free_value(dtype, present) if like is None else _mark(like.description, dtype)
    if mark is None and missing.any():
        raise EncodingError("no integer is left to stand for the missing ones", found=dtype, mend="Use wider integers")
    if mark is not None and (present == mark).any():
        raise EncodingError(
            "a label is the integer that stands for missing ones in the store",
            found=mark,
            mend="Save the variable anew, with wider integers if it has all of them",
        )
    values = np.empty(len(labels), _stored(dtype))
    values[~missing] = present
    values[missing] = 0 if mark is None else mark
    _check_same(labels, values, missing, like)
    note: JSONObject = {"dtype": dtype} if mark is None else {"dtype": dtype, "missing": mark}
    attrs = {} if mark is None else {"_FillValue": mark}
    return Plain(values, note if like is None else dict(like.description), attrs)


def _check_same(labels: Labels, values: Array, missing: Array, like: StoredKind | None) -> None:
    """Floats may have been rounded where the store's are shorter."""
    if like is not None:
        before = np.asarray(labels[~missing].to_numpy(dtype=labels.dtype.name.lower().replace("boolean", "bool")))
        if not np.array_equal(before, values[~missing], equal_nan=values.dtype.kind == "f"):
            raise other_kind(like, labels.dtype, problem="labels cannot be held exactly by the store's dtype")


def _stored(dtype: str) -> np.dtype[Any]:
    return np.dtype("int8" if dtype == "boolean" else dtype.lower())


def _free_value(dtype: str, present: Array) -> int | None:
    """The value that is to stand for missing ones: at the edge of the range, or the nearest to it that is not used."""
    if dtype == "boolean":
        return _BOOLEAN_MISSING
    limits = np.iinfo(present.dtype)
    edge, step = (limits.min, 1) if present.dtype.kind == "i" else (limits.max, -1)
    if not (present == edge).any():
        return int(edge)
    used = np.unique(present)[::step]
    # the run of used values from the edge on
    run = edge
    for value in used.tolist():
        if value != run:
            break
        run += step
    return int(run) if limits.min <= run <= limits.max else None


def masked_options(description: Description) -> dict[str, Any]:
    """How to decode labels: integers stay what they are."""
    dtype = described_dtype(description)
    if dtype.startswith("Float"):
        return {}
    _mark(description, dtype)
    return {"mask_and_scale": False}


def restore_masked(description: Description, values: Array, companions: Mapping[str, Any]) -> Labels:
    """The index that `store_masked` was given."""
    dtype = described_dtype(description)
    stored = _stored(dtype)
    if values.dtype.newbyteorder("=") != stored:
        raise mismatch(
            "array is not of the dtype that is described", expected=f"{stored} for {dtype}", found=values.dtype
        )
    native = values.astype(stored)  # a copy
    if dtype.startswith("Float"):
        return pd.Index(pd.arrays.FloatingArray(native, np.isnan(native)))
    mark = _mark(description, dtype)
    missing = np.zeros(native.shape, bool) if mark is None else native == mark
    if dtype != "boolean":
        return pd.Index(pd.arrays.IntegerArray(native, missing))
    if not (missing | (native == 0) | (native == 1)).all():
        raise mismatch("array holds integers that are no booleans", expected=[0, 1, mark])
    return pd.Index(pd.arrays.BooleanArray((native == 1) & ~missing, missing))


def _mark(description: Description, dtype: str) -> int | None:
    """The value that stands for missing ones."""
    limits, mark = np.iinfo(_stored(dtype)), description.get("missing")
    if mark is None:
        return None
    if type(mark) is not int or not limits.min <= mark <= limits.max or (dtype == "boolean" and mark in (0, 1)):
        raise mismatch(
            "the value that stands for missing ones is none of the dtype", expected=dtype, found=f"{mark!r:.80}"
        )
    return mark
