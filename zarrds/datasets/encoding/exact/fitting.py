"""Whether an encoding is one of such data at all: what a file of floats left there says nothing of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from zarrds.compat.xarray_internals import check_vlen_dtype, decode_cf_variables
from zarrds.datasets.encoding.exact.kinds import kind_of
from zarrds.datasets.encoding.exact.packing import CF_KEYS, is_nan, packed_already
from zarrds.datasets.encoding.exact.text_marks import text_mark, text_marks
from zarrds.metadata.attributes import MARKERS, SCALE

__all__ = [
    "is_dtype_of_floats",
    "kind_of_data",
    "misfit_of_characters",
    "misfit_of_hint",
    "misfit_of_order",
    "other_dtype",
]

_PACKING = (*SCALE, "_Unsigned")
# kinds of dtypes that arrays of them may have
_TEXT, _TIMES, _NUMBERS = "OUST", "iuf", "biufc"


def kind_of_data(variable: xr.Variable) -> str:
    """What the elements of a variable are, one of the words of `KINDS`, ``objects``, or nothing if there are none.

    Of a dask array of objects the first element is looked at.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> kind_of_data(xr.Variable("x", np.array([True, None], dtype=object)))
    'objects'
    """
    if variable.dtype.kind != "O":
        return kind_of(np.empty(0, variable.dtype))
    marked = check_vlen_dtype(variable.dtype)
    if marked is not None:
        return "strings" if marked is str else "bytes"
    if variable.chunks is not None and variable.size:
        return kind_of(np.asarray(variable[(slice(0, 1),) * variable.ndim].values).reshape(-1))
    return kind_of(np.asarray(variable.values).reshape(-1))


def misfit_of_hint(variable: xr.Variable, encoding: Mapping[str, Any]) -> str | None:
    """Why an encoding that came along is one of another kind of data, or None.

    Parameters
    ----------
    variable : Variable
        Decoded.
    encoding : mapping

    Examples
    --------
    >>> import xarray as xr
    >>> misfit_of_hint(xr.Variable("x", ["a", "b"]), {"dtype": "float32"})
    'dtype is float32, but it holds strings'
    """
    asked, problem = _dtype_of(encoding)
    if problem is not None:
        return f"dtype {problem}"
    if variable.dtype.kind == "V" and asked in (None, variable.dtype):
        return None
    kind = kind_of_data(variable)
    markers = [key for key in MARKERS if encoding.get(key) is not None]
    packing = [key for key in _PACKING if encoding.get(key) is not None]
    wrong: list[str] = []
    if kind in ("datetimes", "timedeltas"):
        allowed = _TIMES
    elif kind in ("strings", "bytes", ""):
        allowed = _TEXT if kind != "bytes" else "OS"
        # xarray makes floats of no objects of which some might be missing
        is_empty = variable.dtype.kind == "O" and not variable.size
        wrong = [*packing, *(key for key in markers if is_empty or not _is_text_marker(encoding[key], kind))]
    elif kind == "booleans":
        allowed, wrong = "b", [*packing, *markers]
    elif kind == "objects":
        allowed, wrong = "", [*packing, *markers]
    else:
        allowed = _NUMBERS
        wrong = ["missing_value"] if kind == "complex numbers" and "missing_value" in markers else []
        if packing and (attribute := packed_already(variable)) is not None:
            return f"{packing[0]} is of what is decoded, but its attribute {attribute} says that it is not"
    if asked is not None and asked.kind not in allowed:
        return f"dtype is {asked}, but it holds {kind or 'objects'}"
    return f"{wrong[0]} is {encoding[wrong[0]]!r:.40}, but it holds {kind or 'objects'}" if wrong else None


def misfit_of_order(variable: xr.Variable, encoding: Mapping[str, Any]) -> str | None:
    """Why a dtype that was asked for cannot be that of such data, or None. Numbers may become other numbers."""
    asked, problem = _dtype_of(encoding)
    if problem is not None:
        return problem
    if asked is None or variable.dtype.kind == "V":
        return None
    kind = kind_of_data(variable)
    if kind in ("datetimes", "timedeltas"):
        if asked.kind in "mM":
            return f"is {asked}, but times are stored as numbers, counted since a date: int64 or float64"
        fits = asked.kind in _TIMES
    elif kind in ("strings", "bytes"):
        # characters are encoded as UTF-8, longer bytes only by an encoding that is said
        is_other = kind == "strings" and asked.kind == "S" and asked.itemsize > 1 and "_Encoding" not in encoding
        fits = asked.kind in _TEXT and not is_other
    else:
        fits = asked.kind in _NUMBERS + "O"
    return None if fits else f"is {asked}, but it holds {kind or 'objects'}"


def misfit_of_characters(variable: xr.Variable) -> str | None:
    """Why text cannot be stored as bytes of a fixed length as its encoding has it, or None.

    Examples
    --------
    >>> import xarray as xr
    >>> misfit_of_characters(xr.Variable("x", ["a"], {}, {"dtype": "S1", "_FillValue": "-"}))
    "is S1, in which text cannot be missing as '-'"
    """
    marks = [mark for mark in text_marks(variable.encoding) if isinstance(mark, str)]
    if not marks or variable.dtype.kind not in "OUT":
        return None
    dtype, problem = _dtype_of(variable.encoding)
    if problem is not None or dtype is None or dtype.kind != "S" or kind_of_data(variable) != "strings":
        return None
    return f"is {variable.encoding['dtype']}, in which text cannot be missing as {marks[0]!r}"


def is_dtype_of_floats(dtype: Any) -> bool:
    """Whether what an encoding has as dtype is one of floats; what is none at all is not.

    Examples
    --------
    >>> is_dtype_of_floats("f4"), is_dtype_of_floats("i4"), is_dtype_of_floats("no such")
    (True, False, False)
    """
    found, _ = _dtype_of({"dtype": dtype})
    return found is not None and found.kind == "f"


def other_dtype(variable: xr.Variable, made: xr.Variable) -> np.dtype[Any] | None:
    """What a variable would come back as, if that is another dtype than it has; None if it is the same.

    Parameters
    ----------
    variable : Variable
        Decoded; of numbers, booleans or bytes of a fixed length. Others are not judged by their dtype.
    made : Variable
        As it will be stored.
    """
    given = variable.dtype
    has_blocks = variable.chunks is not None and variable.size > 0
    is_left_to_blocks = has_blocks and given.kind in "iu" and made.dtype.kind in "iu"
    if given.kind == "b" and made.attrs.get("dtype") == "bool":  # small integers, which xarray reads as booleans
        return None
    if given.kind not in "biufcS" or (is_left_to_blocks and made.dtype == given):
        return None
    attributes = {key: made.attrs[key] for key in CF_KEYS if key in made.attrs and key not in variable.attrs}
    attributes = {key: value for key, value in attributes.items() if key not in ("units", "calendar")}
    found = made.dtype
    if attributes and not (given.kind in "fc" and all(map(is_nan, attributes.values()))):
        empty = xr.Variable(("values",), np.empty(0, made.dtype), attributes)
        decoded, _, _ = decode_cf_variables(
            {"values": empty}, {}, concat_characters=False, decode_times=False, decode_timedelta=False
        )
        found = decoded["values"].dtype
    is_same = found.kind == "S" if given.kind == "S" else found.newbyteorder("=") == given.newbyteorder("=")
    return None if is_same else found


def _dtype_of(encoding: Mapping[str, Any]) -> tuple[np.dtype[Any] | None, str | None]:
    asked = encoding.get("dtype")
    if asked is None:
        return None, None
    try:
        return np.dtype(asked), None
    except TypeError:
        return None, f"is {asked!r:.40}, which is no dtype of NumPy"


def _is_text_marker(value: Any, kind: str) -> bool:
    return text_mark(value) is not None and kind != "bytes"
