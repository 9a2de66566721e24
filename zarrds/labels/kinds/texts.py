"""Text: the string dtypes of pandas, and objects some of which are missing."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from zarrds.errors import EncodingError
from zarrds.labels.kinds.objects import missing_name, missing_value
from zarrds.labels.kinds.plain import (
    BYTES,
    TEXT,
    Array,
    Description,
    Labels,
    Plain,
    StoredKind,
    described_dtype,
    is_missing,
    mismatch,
)

__all__ = ["TEXTS", "holds_text", "marked_texts", "restore_texts", "store_texts", "text_marks", "text_options"]

TEXTS = re.compile(r"str|object|string\[(python|pyarrow)\]")


def holds_text(labels: Labels) -> bool:
    """Whether labels are of a string dtype, or objects: none at all, or text, some of it missing."""
    if isinstance(labels.dtype, pd.StringDtype):
        return True
    if labels.dtype != object:
        return False
    # of what else objects would be that are all missing, nobody can tell
    return not labels.size or pd.api.types.infer_dtype(labels.to_numpy(), skipna=True) in ("string", "empty")


def marked_texts(values: Any) -> Array | None:
    """An index or an array, if all of it are objects that are text: then the same objects, marked as that.

    So are bytes of which some end in zeros, which bytes of a fixed length cannot hold.
    """
    if values.dtype != object:
        return None
    objects = np.asarray(values)
    what = pd.api.types.infer_dtype(objects.reshape(-1), skipna=False)
    if what == "bytes":
        return _marked_bytes(objects)
    return objects.view(TEXT) if what == "string" else None


def _marked_bytes(values: Array) -> Array | None:
    """Objects that are bytes, marked as such of any length, if some of them end in zeros."""
    return values.view(BYTES) if any(value.endswith(b"\0") for value in values.flat) else None


def store_texts(labels: Labels, like: StoredKind | None) -> Plain:
    """Text, and a text that stands for what is missing.

    Raises
    ------
    EncodingError
        Where text is missing and `like` has none to stand for it, or where a label is that text.
    """
    missing = is_missing(labels)
    values = np.array(labels.to_numpy(dtype=object), dtype=object) if labels.size else np.empty(0, TEXT)
    if like is not None:
        description = dict(like.description)
    else:
        dtype = _dtype(labels, values[missing])
        description = {"dtype": dtype}
        if missing.any():
            description["missing"] = _free_text(values[~missing])
        if dtype == "object" and missing.any() and missing_name(values[missing]) == "None":
            description["na"] = "None"
    mark = _mark(description)
    if mark is not None and (values[~missing] == mark).any():
        raise EncodingError(
            "text is the one that stands for missing text in the store",
            found=f"{mark!r:.80}",
            mend="Save the variable anew: another text stands for what is missing then",
        )
    if mark is None and missing.any():
        raise EncodingError(
            "missing text cannot be written to an array that has had none",
            expected="text only",
            found=f"{int(missing.sum())} missing",
            mend="Fill it first, or save the variable anew",
        )
    values[missing] = mark
    # xarray need not look at them, and does not ask whether all are Python's own
    return Plain(values.view(TEXT), description, {} if mark is None else {"missing_value": mark})


def _dtype(labels: Labels, missing: Array) -> str:
    if not isinstance(labels.dtype, pd.StringDtype):
        # text with pd.NA came from a string dtype, which xarray holds as objects; else it is missing as NaN
        return "string[python]" if any(value is pd.NA for value in missing) else "object"
    return f"string[{labels.dtype.storage}]" if labels.dtype.na_value is pd.NA else "str"


def _free_text(values: Array) -> str:
    """A text that is none of the values."""
    used = set(values)
    return next(text for text in text_marks() if text not in used)


def text_marks() -> Iterator[str]:
    """Texts of which the first that is free is to stand for what is missing."""
    return itertools.chain(["<NA>"], (f"<NA {n}>" for n in itertools.count(1)))


def _mark(description: Description) -> str | None:
    if "missing" not in description:
        return None
    mark = description["missing"]
    if not isinstance(mark, str):
        raise mismatch("what stands for missing text is no text", found=f"{mark!r:.80}")
    return mark


def text_options(description: Description) -> dict[str, Any]:
    """How to decode text: what stands for missing text stays in it."""
    if not described_dtype(description).startswith("string") and description.get("is_text") is not True:
        missing_value(description)
    return {} if _mark(description) is None else {"mask_and_scale": False}


def restore_texts(description: Description, values: Array, companions: Mapping[str, Any]) -> Labels:
    """The index that `store_texts` was given; text of pyarrow is of Python where pyarrow is not installed."""
    dtype = described_dtype(description)
    mark = _mark(description)
    is_none = values.dtype.kind == "S" and not values.size  # an encoding made bytes of no text
    if values.dtype.kind not in "OUT" and not is_none:
        raise mismatch("array does not hold the text that is described", expected=dtype, found=values.dtype)
    texts = values.astype(object)  # a copy
    missing = is_missing(texts)
    if mark is None and missing.any():
        raise mismatch("text is missing where none is described to be", found=f"{int(missing.sum())} missing")
    if pd.api.types.infer_dtype(texts[~missing], skipna=False) not in ("string", "empty"):
        raise mismatch("array does not hold the text that is described", expected=dtype, found="other objects")
    if mark is not None:
        missing |= texts == mark
    texts[missing] = pd.NA if dtype.startswith("string") else missing_value(description)
    restored: Labels = pd.Index(texts, dtype=_pandas_dtype(dtype))
    return restored


def _pandas_dtype(dtype: str) -> Any:
    if dtype in ("object", "StringDType"):
        return object
    if dtype == "str":
        default = pd.api.types.pandas_dtype("str")
        return default if isinstance(default, pd.StringDtype) else object  # pandas 2 has no such default
    try:
        return pd.StringDtype("pyarrow" if dtype == "string[pyarrow]" else "python")
    except ImportError:
        return pd.StringDtype("python")
