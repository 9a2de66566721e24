"""Objects of several types, which xarray's encoders would make the same of, or refuse though they are one kind."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from zarrds.errors import EncodingError
from zarrds.labels.kinds.plain import Array, as_integers, holds_exactly, is_missing

__all__ = ["check_one_kind_of_text", "of_one_type"]

# what pandas calls floats and complex numbers, and floats with integers among them
_FLOATS = ("floating", "complex", "mixed-integer-float")
_MEND = "Convert them to one kind first, for example with astype, or store each kind as a variable of its own"


def of_one_type(objects: Array, *, is_added: bool = False) -> Array | None:
    """Objects as an array of one type, where they are NumPy's and Python's numbers of one kind together, or bytes.

    Parameters
    ----------
    objects : ndarray
        Of objects of which none of the kinds of labels is.
    is_added : bool
        Whether they are added to stored ones, whose dtype must hold integers among floats exactly: these stay objects.

    Returns
    -------
    ndarray or None
        None where xarray's encoders store them as they are, or refuse them.

    Raises
    ------
    EncodingError
        For text beside bytes, and for what is missing beside anything but numbers of which some are floats: xarray
        would make bytes of the text, and text, zeros or floats of what is missing. For integers beside floats that
        these do not hold exactly.

    Examples
    --------
    >>> of_one_type(np.array([1, np.int8(2)], dtype=object))
    array([1, 2])
    """
    flat = objects.reshape(-1)
    missing = is_missing(flat)
    present = flat[~missing]
    types = set(map(type, present))
    check_one_kind_of_text(present)
    kind = pd.api.types.infer_dtype(present, skipna=False) if present.size else "empty"
    if kind == "mixed" and len(types) == 1:  # of a type that nobody stores: geometries, lists
        return None
    if missing.any() and kind not in (*_FLOATS, "empty"):
        raise EncodingError(
            f"objects are {kind}, and values that are missing as something else",
            found=_one_of_each(flat),
            mend="Give what is missing as None, or convert them with astype first",
        )
    if any(value is pd.NA for value in flat[missing]):
        return None
    if kind == "mixed-integer-float":
        _check_exact(present)
    is_long = any(issubclass(each, np.longdouble | np.clongdouble) for each in types)
    if kind in (_FLOATS[:2] if is_added else _FLOATS) and not is_long:
        # also of one type: an encoding is held against numbers, not against objects
        several = np.complex128 if kind == "complex" else np.float64
        dtype: np.dtype[Any] = np.dtype(next(iter(types)) if len(types) == 1 else several)
        return np.array([np.nan if gone else value for value, gone in zip(flat, missing, strict=True)], dtype)
    if types and types != {bytes} and all(issubclass(each, bytes) for each in types):
        same = np.empty(flat.shape, object)  # NumPy's are bytes too
        same[:] = [bytes(value) for value in flat]
        return same
    if kind == "integer":  # also of one type: xarray makes int64 of all where the first is one
        with suppress(OverflowError):
            return as_integers(flat)
    return flat.astype(bool) if kind == "boolean" and len(types) > 1 else None


def _check_exact(numbers: Array) -> None:
    """Check that 64-bit floats hold the integers among some numbers."""
    whole = [int(value) for value in numbers if isinstance(value, int | np.integer)]
    lost = [value for value in whole if not holds_exactly(np.dtype(np.float64), value)]
    if lost:
        raise EncodingError(
            "floats cannot hold exactly the integers among them",
            found=f"{lost[0]!r:.40}",
            mend="Store the integers as a variable of their own",
        )


def check_one_kind_of_text(objects: Array) -> None:
    """Check that objects are not text and bytes together, of which xarray would make bytes. Raises `EncodingError`."""
    flat = objects.reshape(-1)
    types = set(map(type, flat))
    if any(issubclass(each, str) for each in types) and any(issubclass(each, bytes) for each in types):
        raise EncodingError("objects are text and bytes", found=_one_of_each(flat), mend=_MEND)


def _one_of_each(values: Array) -> list[str]:
    """The first value of each type, in words."""
    types = sorted(set(map(type, values)), key=lambda t: t.__name__)
    firsts = (next(value for value in values if type(value) is each) for each in types)
    return [f"{value!r:.40}" for value in firsts]
