"""Values, some or all of them missing, in the dtype that a stored array has for such: as they are written to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.datasets.encoding.exact.blocks import Block, encoding_error, whole
from zarrds.datasets.encoding.exact.packing import check_exact, exact_dtype
from zarrds.datasets.writing.stored import StoredGroup
from zarrds.labels.kinds.nullable import MASKED
from zarrds.labels.kinds.objects import missing_value
from zarrds.metadata.fields import JSONObject

__all__ = ["in_the_kind_stored", "is_nullable_integer"]


def in_the_kind_stored(
    name: str, variable: xr.Variable, there: xr.Variable, described: JSONObject, stored: StoredGroup
) -> xr.Variable | None:
    """The same, missing values included, in the dtype that the store has for such; None if it need not be changed.

    An empty column is one of floats to pandas, and integers of which some are missing are objects, or nullable.

    Parameters
    ----------
    name : str
        Of the stored array.
    variable : Variable
        In memory.
    there : Variable
        The stored one, decoded.
    described : mapping
        What is noted of it.
    stored : StoredGroup

    Raises
    ------
    EncodingError
        For integers that stored floats would round.
    """
    if variable.ndim != 1 and not isinstance(variable.dtype, np.dtype):
        return None
    kind = str(described.get("dtype", ""))
    dtype = variable.dtype
    gone = np.asarray(pd.isna(variable.data if variable.dtype != object else variable.values), bool)
    is_empty = bool(gone.all()) and (not isinstance(dtype, np.dtype) or dtype.kind in "fO")
    made: Any = None
    if not kind and there.dtype.kind == "f":
        made = _floats(name, variable, gone, exact_dtype(stored.arrays[name].data_type.dtype, there.encoding))
        if made is not None and stored.arrays[name].data_type.dtype.kind in "iu":
            _check_packed(whole(name, variable, made), there)
    elif (is_masked := MASKED.fullmatch(kind) is not None) or (not kind and there.dtype.kind == "b"):
        wanted = "boolean" if there.dtype.kind == "b" else kind
        made = _masked(name, variable, gone, wanted, is_empty=is_empty, is_masked=is_masked)
        if is_empty and variable.ndim != 1 and variable.dtype != object:
            made = np.full(variable.shape, np.nan, object)  # of which pandas has no booleans
    elif kind.startswith("objects[") and (is_empty or not isinstance(dtype, np.dtype)):
        if is_empty or _kind_in_words(variable, gone) == kind[8:-1]:
            made = np.asarray(variable.data.astype(object))
            made[gone] = missing_value(described)
    elif is_empty and kind == "category" and variable.ndim == 1:
        codes, ordered = np.full(variable.size, -1, np.int8), described.get("ordered") is True
        made = pd.Categorical.from_codes(codes, stored.categories[name], ordered=ordered)
    elif is_empty and kind.startswith("period[") and variable.ndim == 1:
        made = pd.array([pd.NaT] * variable.size, dtype=kind)  # type: ignore[call-overload]  # a dtype by its name
    elif is_empty and (kind == "interval" or (there.dtype.kind not in "iufcb" and variable.dtype.kind != "O")):
        made = np.full(variable.shape, None, object)
    return None if made is None else xr.Variable(variable.dims, made, variable.attrs)


def _kind_in_words(variable: xr.Variable, gone: np.ndarray[Any, Any]) -> str:
    """What those values are that are there, as pandas calls it; ``empty`` if there are none."""
    if variable.dtype == object:
        return str(pd.api.types.infer_dtype(np.asarray(variable.values)[~gone].reshape(-1), skipna=False))
    name = str(variable.dtype)
    return "integer" if is_nullable_integer(variable.dtype) else name


def _floats(
    name: str, variable: xr.Variable, gone: np.ndarray[Any, Any], dtype: np.dtype[Any]
) -> np.ndarray[Any, Any] | None:
    """Integers, or booleans, of which some are missing as floats."""
    word = _kind_in_words(variable, gone)
    if word not in ("integer", "boolean") or not gone.any():
        return None
    values = np.asarray(variable.data.astype(object))
    if word == "integer":
        check_exact(whole(name, variable, values), dtype)
    values[gone] = np.nan
    return values.astype(np.float64)


def _check_packed(block: Block, there: xr.Variable) -> None:
    """Check that integers stay what they are in the packing of the store, which rounds floats to half a step."""
    scale = float(np.ravel(there.encoding.get("scale_factor", 1))[0])
    offset = float(np.ravel(there.encoding.get("add_offset", 0))[0])
    values = block.values
    read = (np.rint((values - offset) / scale) * scale + offset).astype(there.dtype)
    bad = (np.rint(read) != values) & ~np.isnan(values)
    if bad.any():
        raise encoding_error(
            block,
            bad,
            f"would read back as {read[int(np.argmax(bad))]}",
            expected=f"integers that {scale=} and {offset=} hold",
        )


def _masked(
    name: str, variable: xr.Variable, gone: np.ndarray[Any, Any], wanted: str, *, is_empty: bool, is_masked: bool
) -> Any:
    """Objects, and what is all missing, as pandas' nullable dtype; None for what is no such thing, or need not be."""
    if variable.ndim != 1 or (not isinstance(variable.dtype, np.dtype) and not wanted.startswith("Float")):
        return None
    if not isinstance(variable.dtype, np.dtype) and variable.dtype.name.startswith("Float"):
        return None
    word = _kind_in_words(variable, gone)
    fitting = {"b": "boolean", "I": "integer", "U": "integer", "F": "integer"}[wanted[0]]
    is_integer = variable.dtype.kind in "iu" if isinstance(variable.dtype, np.dtype) else word == "integer"
    is_plain = wanted.startswith("Float") and is_integer
    if not (is_empty or is_plain or (word == fitting and (gone.any() or not is_masked or variable.dtype == object))):
        return None
    dtype = {"b": "boolean", "I": "Int64", "U": "UInt64", "F": "Float64"}[wanted[0]]
    values = np.asarray(variable.data.astype(object))
    if wanted.startswith("Float"):
        check_exact(whole(name, variable, values), np.dtype(wanted.lower()))
    values[gone] = pd.NA
    try:
        return pd.array(values, dtype=dtype)  # type: ignore[call-overload]  # a dtype by its name
    except (TypeError, ValueError, OverflowError):
        return None  # what does not fit is told of later


def is_nullable_integer(dtype: Any) -> bool:
    """Whether a dtype is one of pandas' nullable integers."""
    return not isinstance(dtype, np.dtype) and MASKED.fullmatch(dtype.name) is not None and dtype.name[0] in "IU"
