"""Expressions over values in memory, as NumPy has them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from zarrds.codecs.base import AnyArray
from zarrds.datasets.encoding.exact.comparison import comparable
from zarrds.datasets.querying.expressions.binding import Instant
from zarrds.datasets.querying.expressions.language import (
    ARITHMETIC,
    Arithmetic,
    Comparison,
    Constant,
    Expression,
    Logic,
    Membership,
    Name,
    Negative,
    Not,
    Operator,
)
from zarrds.errors import QueryError

__all__ = ["compare", "evaluate"]

_COMPARISONS: dict[Operator, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
# what the other side says
_MIRRORED: dict[Operator, Operator] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def evaluate(expression: Expression, values: Mapping[str, AnyArray]) -> Any:
    """The value of an expression: an array, or a Python number for a constant.

    Parameters
    ----------
    expression : Expression
        Bound.
    values : mapping of str to ndarray
        Of the variables; they must broadcast.

    Raises
    ------
    QueryError
        If NumPy cannot compute it, as with numbers that are out of range of a variable's integers.
    """
    with np.errstate(all="ignore"):
        return _value(expression, values)


def _value(e: Expression, values: Mapping[str, AnyArray]) -> Any:
    match e:
        case Name():
            return values[e.name]
        case Constant():
            return e.value
        case Arithmetic():
            left, right = (_value(side, values) for side in (e.left, e.right))
            return _computed(e, ARITHMETIC[e.operator], left, right)
        case Negative():
            operand = _value(e.operand, values)
            return _computed(e, operator.neg, operand)
        case Comparison():
            return compare(e.operator, _value(e.left, values), _value(e.right, values))
        case Membership():
            operand = _value(e.operand, values)
            found: Any = np.zeros(np.shape(operand), bool)
            for value in e.values:
                found = found | compare("==", operand, value.value)
            return ~found if e.is_negated else found
        case Not():
            return np.logical_not(_value(e.operand, values))
        case Logic():
            combined = np.logical_and if e.operator == "and" else np.logical_or
            return reduce(combined, (_value(operand, values) for operand in e.operands))


def _computed(e: Arithmetic | Negative, compute: Callable[..., Any], *operands: Any) -> Any:
    try:
        # not by the functions of masked arrays, which take what is out of their domain for missing too
        found, missing = compute(*map(_data_of, operands)), _masks_of(*operands)
        return np.ma.MaskedArray(found, np.broadcast_to(missing, np.shape(found))) if missing is not None else found
    except (OverflowError, ValueError, TypeError) as error:
        raise QueryError(
            f"this cannot be computed: {error}",
            found=f"{'-' if isinstance(e, Negative) else e.operator!r} at character {e.at + 1}",
            mend="Write the number with a decimal point, to compute with floats",
        ) from error


def _data_of(value: Any) -> Any:
    return np.ma.getdata(value) if isinstance(value, np.ma.MaskedArray) else value


def _masks_of(*values: Any) -> AnyArray | None:
    """Where any of some values is masked; None if none is."""
    masks = [np.ma.getmaskarray(each) for each in values if isinstance(each, np.ma.MaskedArray)]
    return reduce(np.logical_or, masks) if masks else None


def compare(op: Operator, left: Any, right: Any) -> AnyArray:
    """Two values compared, element by element.

    What is missing (NaN, NaT, masked, no text) is unequal to all, as in NumPy.

    Examples
    --------
    >>> compare(">=", np.array([1.0, np.nan, 3.0]), 3).tolist()
    [False, False, True]
    >>> compare("<", np.array(["a", "c"]), "b").tolist()
    [True, False]
    """
    if (missing := _masks_of(left, right)) is not None:
        return np.where(missing, op == "!=", compare(op, _data_of(left), _data_of(right)))
    for value, other, mirrored in ((right, left, op), (left, right, _MIRRORED[op])):
        if isinstance(value, Instant):
            return _with_instant(mirrored, np.asarray(other), value)
        if isinstance(value, str):
            return _with_text(mirrored, np.asarray(other), value)
    if {getattr(getattr(side, "dtype", None), "kind", "") for side in (left, right)} in ({"m"}, {"M"}):
        return _times(op, left, right)
    # Python's integers may be too large for any dtype
    if any(isinstance(side, np.ndarray) and side.dtype.kind in "OSUT" for side in (left, right)):
        return _objects(op, np.asarray(left), np.asarray(right))
    try:
        found: AnyArray = np.asarray(_COMPARISONS[op](left, right))
    except OverflowError as error:
        raise QueryError(
            f"this cannot be compared: {error}", mend="Write the number with a decimal point, to compare with floats"
        ) from error
    return found


def _with_instant(op: Operator, times: AnyArray, instant: Instant) -> AnyArray:
    if times.dtype.kind not in "mM":
        return _with_calendar(op, times, instant)
    unit, n = np.datetime_data(times.dtype)
    if unit not in ("Y", "M"):
        steps, is_whole = Instant(instant.seconds / n).steps(unit)
    else:
        times, (steps, is_whole) = times.astype("datetime64[s]"), instant.steps("s")
    counts = times.view(np.int64)
    is_missing = np.isnat(times)
    if op in ("==", "!="):
        is_equal = (counts == steps) & ~is_missing if is_whole else np.zeros(times.shape, bool)
        return is_equal if op == "==" else ~is_equal
    if not is_whole:  # `steps` is what lies just before it
        op = "<=" if op in ("<", "<=") else ">"
    found: AnyArray = _COMPARISONS[op](counts, steps) & ~is_missing
    return found


def _times(op: Operator, left: AnyArray, right: AnyArray) -> AnyArray:
    """Times of two variables; no unit may hold both."""
    if left.dtype != right.dtype:
        missing = np.isnat(left) | np.isnat(right)
        _, left, right = comparable("times", left, right)
        return np.where(missing, op == "!=", np.asarray(_COMPARISONS[op](left, right), bool))
    return np.asarray(_COMPARISONS[op](left, right))


def _with_calendar(op: Operator, times: AnyArray, instant: Instant) -> AnyArray:
    """Objects of cftime: a date of their own calendar is made of the fields."""
    is_there = ~np.asarray(pd.isnull(times))
    flat, there = times.reshape(-1), is_there.reshape(-1)
    found = np.full(flat.shape, op == "!=")
    if there.any():
        first = flat[there.argmax()]
        try:
            date = type(first)(*instant.fields, **_calendar_of(first))
        except (ValueError, TypeError, OverflowError) as error:
            raise QueryError(
                f"there is no such date in the calendar: {error}", found="-".join(map(str, instant.fields[:3]))
            ) from error
        found[there] = [_COMPARISONS[op](each, date) for each in flat[there]]
    return found.reshape(times.shape)


def _calendar_of(date: Any) -> dict[str, Any]:
    # classes of one calendar have theirs
    return {"calendar": date.calendar} if type(date).__name__ == "datetime" and hasattr(date, "calendar") else {}


def _with_text(op: Operator, texts: AnyArray, text: str) -> AnyArray:
    if texts.dtype.kind in "UST" and text.endswith("\0"):  # which NumPy takes for what stands before it
        return _objects(op, texts, np.array(text, object))
    if texts.dtype.kind in "UT" and not (texts.dtype.kind == "T" and hasattr(texts.dtype, "na_object")):
        found: AnyArray = np.asarray(_COMPARISONS[op](texts, text))
        return found
    if texts.dtype.kind == "S":
        return np.asarray(_COMPARISONS[op](texts, text.encode("utf-8", "surrogatepass")))
    if texts.dtype.kind == "O" and set(map(type, texts.ravel().tolist())) <= {str}:
        return np.asarray(_COMPARISONS[op](texts, np.array(text, object)), bool)  # of a str NumPy would cut NULs off
    return _objects(op, texts, np.array(text, object))


def _objects(op: Operator, left: AnyArray, right: AnyArray) -> AnyArray:
    """Texts, bytes or dates of cftime, element by element; what is none of them is missing."""
    left, right = np.broadcast_arrays(left.astype(object), right.astype(object))
    compared = _COMPARISONS[op]
    pairs = zip(map(_comparable, left.ravel()), map(_comparable, right.ravel()), strict=True)
    try:
        found = [op == "!=" if a is None or b is None else compared(a, b) for a, b in pairs]
    except TypeError as error:
        raise QueryError(f"these cannot be compared: {error}", expected="dates of one calendar, or texts") from error
    return np.array(found, bool).reshape(left.shape)


def _comparable(value: object) -> object:
    # the order of UTF-8 is that of the characters
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return value if isinstance(value, bytes) or hasattr(value, "calendar") else None
