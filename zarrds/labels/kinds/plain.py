"""What a store holds of labels: plain arrays, and a description of what pandas needs to make the labels of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from zarrds.errors import LabelError, MetadataError
from zarrds.metadata.fields import JSONObject

__all__ = [
    "BYTES",
    "EXACT",
    "NUMBER_KINDS",
    "TEXT",
    "Array",
    "Description",
    "Labels",
    "Plain",
    "StoredKind",
    "as_integers",
    "as_numbers",
    "described_dtype",
    "holds_exactly",
    "is_missing",
    "mismatch",
    "other_kind",
]

# integers up to here are floats of 64 bits too
EXACT = 2**53

Array: TypeAlias = "np.ndarray[Any, Any]"
Labels: TypeAlias = "pd.Index[Any]"
Description: TypeAlias = JSONObject

# as xarray marks objects as text, or as bytes of any length, and then does not look at each of them
TEXT = np.dtype("O", metadata={"element_type": str})
BYTES = np.dtype("O", metadata={"element_type": bytes})

# by what pandas calls objects that are all the same
NUMBER_KINDS: Mapping[str, type[Any]] = {"integer": np.int64, "floating": np.float64, "boolean": np.bool_}

# no dtype that is described has a longer name: the longest time zones have some 40 characters
_MAX_DTYPE = 120


@dataclass(frozen=True, slots=True, eq=False)
class Plain:
    """Labels, or the data of a variable, as plain arrays.

    Attributes
    ----------
    values : ndarray
        Of a dtype that xarray's CF encoders store: numbers, booleans, datetimes, timedeltas, cftime objects or text.
    description : mapping
        What pandas needs beyond the arrays, as JSON; the names of companions are not yet in it. Empty if nothing.
    attrs : mapping
        Attributes that other readers are to see.
    encoding : dict
        CF encoding that the array must have, because its companions have it too.
    companions : mapping of str to Plain
        By role (``"bounds"``, ``"categories"``), what is stored beside it.
    """

    values: Array
    description: JSONObject = field(default_factory=dict)
    attrs: JSONObject = field(default_factory=dict)
    encoding: dict[str, Any] = field(default_factory=dict)
    companions: Mapping[str, Plain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class StoredKind:
    """What a store has already of the labels that more are written to.

    Attributes
    ----------
    description : mapping
        Empty where the store has none.
    categories : Index, optional
        Of a categorical.
    of_categories : StoredKind, optional
        What the store has of the categories' own array, if more may be added to it.
    """

    description: Description
    categories: Labels | None = None
    of_categories: StoredKind | None = None


def mismatch(problem: str, *, expected: object = None, found: object = None) -> MetadataError:
    """The error of a description that does not fit its arrays."""
    mend = "Save the variable anew: its array or its description was changed by another tool"
    return MetadataError(problem, expected=expected, found=found, mend=mend)


def other_kind(
    like: StoredKind,
    found: object,
    *,
    problem: str = "labels are of another kind than the store's",
    mend: str = "Convert them first, for example with astype or tz_convert, or save the variable anew",
) -> LabelError:
    """The error of labels that cannot be written to those of a store."""
    expected = like.description.get("dtype", "what a plain array holds")
    if expected == "object":
        expected = "text"
    return LabelError(problem, expected=expected, found=found, mend=mend)


def described_dtype(description: object) -> str:
    """The dtype that a description names, not yet looked at. Raises `MetadataError`."""
    dtype = description.get("dtype") if isinstance(description, Mapping) else None
    if not isinstance(dtype, str) or len(dtype) > _MAX_DTYPE:
        raise mismatch("description of labels names no dtype", found=f"{description!r:.200}")
    return dtype


def holds_exactly(dtype: np.dtype[Any], value: int) -> bool:
    """Whether an integer is one of the floats of a dtype.

    Examples
    --------
    >>> [holds_exactly(np.dtype("f8"), value) for value in (2**53, 2**53 + 1, 10**400)]
    [True, False, False]
    """
    try:
        number = dtype.type(value).real
    except OverflowError:
        return False
    return bool(np.isfinite(number)) and int(number) == value


def as_integers(objects: Array) -> Array:
    """Objects that are integers as such of 64 bits, unsigned ones where they must be.

    Raises
    ------
    OverflowError
        If no such dtype holds them all; NumPy would make others of its own that are negative.

    Examples
    --------
    >>> as_integers(np.array([1, 2**64 - 1], dtype=object))
    array([                   1, 18446744073709551615], dtype=uint64)
    """
    try:
        return objects.astype(np.int64)
    except OverflowError:
        if objects.min() < 0:
            raise
        return objects.astype(np.uint64)


def as_numbers(objects: Array, dtype: type[Any]) -> Array:
    """Objects that pandas infers to be of a kind in `NUMBER_KINDS` as what these are; the errors of `as_integers`."""
    return as_integers(objects) if dtype is np.int64 else objects.astype(dtype)


def is_missing(values: Any) -> Array:
    """Which elements pandas takes for missing; none of structures and of plain bytes, which it does not know."""
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind == "V":
        return np.zeros(values.shape, bool)
    return np.asarray(pd.isna(values), bool)
