"""Labels from two places as arrays that compare: what kind they are of, which are equal, where they are."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.errors import LabelError
from zarrds.labels.kinds.plain import EXACT, NUMBER_KINDS, as_numbers
from zarrds.metadata.times import ATTOSECONDS

__all__ = [
    "ORDERED",
    "Labels",
    "as_array",
    "check_dims",
    "comparable",
    "equal_structures",
    "label_text",
    "masks_as_numbers",
    "position_text",
    "positions_of",
]

Labels: TypeAlias = "np.ndarray[Any, Any] | pd.Index[Any]"
Array: TypeAlias = "np.ndarray[Any, Any]"

_NUMBERS, _DATETIMES, _TIMEDELTAS, _CFTIMES = "numbers", "datetimes", "timedeltas", "times of calendar "
# how the names of the kinds begin whose labels have an order
ORDERED = (_NUMBERS, _DATETIMES, _TIMEDELTAS, _CFTIMES)
_KINDS = {"b": "booleans", "c": "complex numbers", "M": _DATETIMES, "m": _TIMEDELTAS, "U": "strings", "S": "bytes"}
# objects are looked at only where the first is one of these: text is not
_NUMBER_TYPES = (int, float, np.number, np.bool_)


def check_dims(name: Hashable, stored: xr.Variable, new: xr.Variable) -> None:
    """Check that a variable has the store's dimensions, in any order.

    Raises
    ------
    LabelError
    """
    if set(stored.dims) != set(new.dims) or len(stored.dims) != len(new.dims):
        raise LabelError(
            f"variable {name!r} already exists with different dimension names",
            key=str(name),
            expected=stored.dims,
            found=new.dims,
            mend=_dims_mend(name, stored, new),
        )


def _dims_mend(name: Hashable, stored: xr.Variable, new: xr.Variable) -> str:
    """What to do about a variable that has other dimensions than the store."""
    absent = [str(dim) for dim in stored.dims if dim not in new.dims]
    extra = [str(dim) for dim in new.dims if dim not in stored.dims and new.sizes[dim] == 1]
    if len(absent) == len(stored.dims) - len(new.dims) > 0:
        steps = f"expand_dims({absent!r})"
        return f"If it is a single step, make it one: dataset[{name!r}].{steps}, or dataset.{steps} where all of it is"
    if len(extra) == len(new.dims) - len(stored.dims) > 0:
        return f"Make what is a single step none: dataset[{name!r}].squeeze({extra!r}), or dataset.squeeze({extra!r})"
    return "Rename the dimensions, or save under another name"


def comparable(name: Hashable, stored: Labels, new: Labels) -> tuple[str, Array, Array]:
    """Two sets of labels as arrays of one dtype, whose elements compare as the labels do, and what kind they are of.

    New floats are rounded to the stored dtype, as they will be when they are written. Times become integers of one
    unit, or Python integers if there is no such unit.

    Raises
    ------
    LabelError
        If one holds other things than the other: strings and numbers, or times of two calendars.
    """
    old, fresh = as_array(stored), as_array(new)
    old_kind, kind = _kind(old), _kind(fresh)
    # an empty array of objects holds no kind of things
    old_kind, kind = old_kind or kind, kind or old_kind
    if kind != old_kind:
        raise LabelError(
            f"labels of {name!r} are of another kind than those of the store",
            key=str(name),
            expected=old_kind,
            found=kind,
            mend="Convert them first; times of another calendar with convert_calendar",
        )
    if old.dtype.kind == "O" or fresh.dtype.kind == "O":
        return kind, old.astype(object), fresh.astype(object)
    if kind == _NUMBERS:
        return kind, *_one_number_dtype(old, fresh)
    if kind in (_DATETIMES, _TIMEDELTAS):
        return kind, *_one_unit(old, fresh)
    common = np.result_type(old, fresh)
    return kind, old.astype(common), fresh.astype(common)


def masks_as_numbers(one: Array, other: Array) -> tuple[Array, Array]:
    """Two masks as numbers, if they are booleans in one file and the numbers 0 and 1 in another; else as they are.

    Examples
    --------
    >>> import numpy as np
    >>> masks_as_numbers(np.array([True, False]), np.uint8([1, 0]))
    (array([1, 0], dtype=int8), array([1, 0], dtype=uint8))
    """
    kinds = {one.dtype.kind, other.dtype.kind}
    if "b" not in kinds or len(kinds) == 1 or not kinds < set("biuf"):
        return one, other
    as_number = [array.astype(np.int8) if array.dtype.kind == "b" else array for array in (one, other)]
    return as_number[0], as_number[1]


def equal_structures(one: Array, other: Array) -> Array | None:
    """Which structures are equal: where each of their fields is, or is missing in both; None if these are none.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([(1, np.nan), (2, np.nan)], "i4,f8")
    >>> b = np.array([(1, np.nan), (3, np.nan)], "i4,f8")
    >>> equal_structures(a, b)
    array([ True, False])
    """
    if not one.dtype.names and not other.dtype.names:
        return None
    if one.dtype.names != other.dtype.names:
        return np.zeros(one.shape, bool)
    equal = np.ones(one.shape, bool)
    for name in one.dtype.names or ():
        a, b = one[name], other[name]
        if a.shape != b.shape:  # fields that are arrays
            return np.zeros(one.shape, bool)
        inner = equal_structures(a, b)
        same = np.asarray((a == b) | ((a != a) & (b != b))) if inner is None else inner
        equal &= same.all(axis=tuple(range(one.ndim, same.ndim)))
    return equal


def positions_of(name: Hashable, old: Array, fresh: Array) -> Array:
    """Where each of the new labels is stored first, -1 where it is not; both as `comparable` gives them."""
    try:
        index = pd.Index(old, dtype=old.dtype)
        wanted = pd.Index(fresh, dtype=fresh.dtype)
        if index.is_unique:
            return index.get_indexer(wanted)
        first = np.flatnonzero(~index.duplicated())
        found = index[first].get_indexer(wanted)
    except TypeError as error:
        raise LabelError("labels cannot be compared", key=str(name), found=str(error)) from error
    return np.where(found >= 0, first[found], -1)


def position_text(dims: Iterable[Hashable], position: Iterable[Any]) -> str:
    """Where something is in a variable, as a message shows it.

    Examples
    --------
    >>> position_text(("time", "x"), (3, 0))
    'time=3, x=0'
    """
    return ", ".join(f"{dim}={int(i)}" for dim, i in zip(dims, position, strict=True)) or "its only position"


def label_text(label: Any) -> str:
    """A label as a message shows it.

    Examples
    --------
    >>> import numpy as np
    >>> label_text(np.datetime64("2019-03-05T00", "ns")), label_text(np.float32(0.5)), label_text("a")
    ('2019-03-05 00:00:00', '0.5', "'a'")
    """
    if isinstance(label, np.datetime64):
        text = "NaT" if np.isnat(label) else str(label).replace("T", " ")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(label, np.timedelta64):
        return str(pd.Timedelta(label)) if np.datetime_data(label.dtype)[0] in ("s", "ms", "us", "ns") else str(label)
    if isinstance(label, str | bytes):
        return f"{label[:80]!r}"
    return f"{label!s:.80}"


def as_array(labels: Any) -> Array:
    """Labels as a NumPy array, strings and bytes as objects, objects that are numbers or booleans as those."""
    array = np.asarray(labels)
    if array.dtype.kind == "O" and array.size and isinstance(array.flat[0], _NUMBER_TYPES):
        return _without_objects(array)
    return array.astype(object) if array.dtype.kind in "USTV" else array


def _without_objects(objects: Array) -> Array:
    """Objects as the numbers or booleans that they all are, as they are stored; others as they are."""
    inferred = pd.api.types.infer_dtype(objects.reshape(-1), skipna=False)
    dtype = np.float64 if inferred == "mixed-integer-float" else NUMBER_KINDS.get(inferred)
    try:
        return objects if dtype is None else as_numbers(objects, dtype)
    except OverflowError:
        return objects


def _kind(labels: Array) -> str:
    """What labels are, in words; nothing for an empty array of objects."""
    kind = labels.dtype.kind
    if kind in "iuf":
        return _NUMBERS
    if kind != "O":
        return _KINDS.get(kind, str(labels.dtype))
    labels = labels.ravel()
    if not labels.size:
        return ""
    inferred = pd.api.types.infer_dtype(labels, skipna=True)
    if inferred in ("string", "bytes"):
        return "strings" if inferred == "string" else "bytes"
    # whoever holds such an object has imported it
    cftime = sys.modules.get("cftime")
    labels = labels[~pd.isnull(labels)]
    if cftime is not None and labels.size and all(isinstance(label, cftime.datetime) for label in labels):
        return _CFTIMES + " and ".join(sorted({label.calendar for label in labels}))
    return "objects"


def _one_number_dtype(old: Array, fresh: Array) -> tuple[Array, Array]:
    """Numbers that compare exactly; Python's where no dtype holds both sides."""
    if old.dtype.kind == fresh.dtype.kind == "f":
        with np.errstate(over="ignore"):
            fresh = fresh.astype(old.dtype)
    common = np.result_type(old, fresh)
    if common.kind == "f":
        for side in (old, fresh):
            if side.dtype.kind in "iu" and any(abs(int(n)) > EXACT for n in _extremes(side)):
                return old.astype(object), fresh.astype(object)
        common = np.dtype(np.float64)
    return old.astype(common), fresh.astype(common)


def _extremes(numbers: Array) -> tuple[Any, ...]:
    return (numbers.min(), numbers.max()) if numbers.size else ()


def _one_unit(old: Array, fresh: Array) -> tuple[Array, Array]:
    """Times as integers of the finer of two units."""
    try:
        common = np.promote_types(old.dtype, fresh.dtype)
    except OverflowError:  # as of seconds and attoseconds
        common = min(old.dtype, fresh.dtype, key=_attoseconds)
        return _exact_times(old, common), _exact_times(fresh, common)
    sides = []
    for side in (old, fresh):
        try:
            cast = side.astype(common)
            fits = bool(np.all((cast.astype(side.dtype) == side) | np.isnat(side)))
        except OverflowError:
            fits = False
        if not fits:
            return _exact_times(old, common), _exact_times(fresh, common)
        sides.append(cast.view(np.int64))
    return sides[0], sides[1]


def _exact_times(times: Array, common: np.dtype[Any]) -> Array:
    """Times beyond the range of the unit, as Python integers of it."""
    return times.astype(np.int64).astype(object) * (_attoseconds(times.dtype) // _attoseconds(common))


def _attoseconds(dtype: np.dtype[Any]) -> int:
    unit, n = np.datetime_data(dtype)
    return ATTOSECONDS[unit] * int(n)
