"""Expressions over bounds: whether a condition can hold, or fail to hold, anywhere in a block. Pure, NumPy only.

Bounds go through the very operations that values go through, in the same dtypes. All of these are monotone in each
operand, with their rounding, so that what holds of the bounds holds of all that lies between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from zarrds.codecs.base import AnyArray
from zarrds.datasets.querying.expressions.evaluate import compare
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

__all__ = ["Bounds", "Truth", "truth_of"]

# integers of which floats are exact; larger ones may be off by this part of them
_EXACT = 2.0**52
_OFF = 1e-9


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known of values in each of some blocks; the arrays broadcast, with one element a block.

    Attributes
    ----------
    low, high : array or Python number
        No value that is not missing is less or more, where `known`.
    known : ndarray of bool
    has_missing : ndarray of bool
        Whether some values may be missing.
    has_values : ndarray of bool
        Whether some values may not be missing.
    """

    low: Any
    high: Any
    known: AnyArray
    has_missing: AnyArray
    has_values: AnyArray


@dataclass(frozen=True, slots=True)
class Truth:
    """Of each block, whether a condition may hold somewhere in it, and whether it may fail to hold somewhere."""

    can_hold: AnyArray
    can_fail: AnyArray


_YES, _NO = np.array(True), np.array(False)


def truth_of(expression: Expression, bounds: Mapping[str, Bounds]) -> Truth:
    """Where a condition may hold and where it may fail.

    Parameters
    ----------
    expression : Expression
        Bound, and a condition.
    bounds : mapping of str to Bounds
        Of the variables.

    Examples
    --------
    >>> from zarrds.datasets.querying.expressions.language import parse
    >>> low, high, yes, no = np.array([0, 5, 9]), np.array([4, 8, 12]), np.array(True), np.array(False)
    >>> truth = truth_of(parse("x > 7"), {"x": Bounds(low, high, yes, no, yes)})
    >>> truth.can_hold, truth.can_fail
    (array([False,  True,  True]), array([ True,  True, False]))
    """
    with np.errstate(all="ignore"):
        return _truth(expression, bounds)


def _truth(e: Expression, bounds: Mapping[str, Bounds]) -> Truth:
    match e:
        case Comparison():
            return _compared(e.operator, *(_bounds(side, bounds) for side in (e.left, e.right)))
        case Membership():
            operand = _bounds(e.operand, bounds)
            each = [_compared("==", operand, _constant(value.value)) for value in e.values]
            found = _any(each) if each else Truth(_NO, _YES)
            return Truth(found.can_fail, found.can_hold) if e.is_negated else found
        case Not():
            found = _truth(e.operand, bounds)
            return Truth(found.can_fail, found.can_hold)
        case Logic(operator="or"):
            return _any([_truth(operand, bounds) for operand in e.operands])
        case Logic():
            # if one cannot hold all cannot, and all together fail where one does
            each = [_truth(operand, bounds) for operand in e.operands]
            return reduce(lambda a, b: Truth(a.can_hold & b.can_hold, a.can_fail | b.can_fail), each)
        case Name() | Constant():
            found_bounds = _bounds(e, bounds)
            unknown = ~found_bounds.known
            return Truth(
                unknown | (found_bounds.has_values & np.asarray(found_bounds.high, bool)),
                unknown | found_bounds.has_missing | ~np.asarray(found_bounds.low, bool),
            )
        case _:
            return Truth(_YES, _YES)


def _any(each: list[Truth]) -> Truth:
    return reduce(lambda a, b: Truth(a.can_hold | b.can_hold, a.can_fail & b.can_fail), each)


def _constant(value: Any) -> Bounds:
    return Bounds(value, value, _YES, np.array(value != value), np.array(value == value))


def _compared(op: Operator, a: Bounds, b: Bounds) -> Truth:
    known = a.known & b.known
    if not known.any():  # the bounds may be of any kind
        return Truth(_YES, _YES)
    can_hold, can_fail = _of_values(op, a, b)
    has_values, has_missing = a.has_values & b.has_values, a.has_missing | b.has_missing
    can_hold, can_fail = can_hold & has_values, can_fail & has_values
    if op == "!=":  # what is missing is unequal to all
        can_hold = can_hold | has_missing
    else:
        can_fail = can_fail | has_missing
    return Truth(~known | can_hold, ~known | can_fail)


def _of_values(op: Operator, a: Bounds, b: Bounds) -> tuple[AnyArray, AnyArray]:
    """Whether a comparison can hold, and can fail, of values between bounds."""
    if op in ("<", "<="):
        return compare(op, a.low, b.high), ~compare(op, a.high, b.low)
    if op in (">", ">="):
        return compare(op, a.high, b.low), ~compare(op, a.low, b.high)
    can_equal = compare("<=", a.low, b.high) & compare(">=", a.high, b.low)
    can_differ = ~(compare("==", a.low, b.high) & compare("==", a.high, b.low))
    return (can_equal, can_differ) if op == "==" else (can_differ, can_equal)


def _bounds(e: Expression, bounds: Mapping[str, Bounds]) -> Bounds:
    match e:
        case Name():
            return bounds[e.name]
        case Constant():
            return _constant(e.value)
        case Negative():
            operand = _bounds(e.operand, bounds)
            return _computed("-", _constant(0), operand, lambda _, x: -x)
        case Arithmetic():
            a, b = (_bounds(side, bounds) for side in (e.left, e.right))
            return _computed(e.operator, a, b, ARITHMETIC[e.operator])
        case _:
            return Bounds(0, 0, _NO, _YES, _YES)


def _computed(op: str, a: Bounds, b: Bounds, compute: Any) -> Bounds:
    has_values, has_missing = a.has_values & b.has_values, a.has_missing | b.has_missing
    nothing = Bounds(0, 0, _NO, _YES, _YES)
    if op in ("//", "%", "**"):
        constant = _constant_of(b)
        try:
            found = None if constant is None else _BY_CONSTANT[op](a.low, a.high, constant)
        except (ArithmeticError, ValueError, TypeError):
            found = None
        return nothing if found is None else Bounds(found[0], found[1], a.known & found[2], has_missing, has_values)
    known = a.known & b.known
    if op == "/":
        known = known & ~((np.asarray(b.low) <= 0) & (np.asarray(b.high) >= 0))
    try:
        ends = [np.asarray(compute(x, y)) for x in (a.low, a.high) for y in (b.low, b.high)]
    except (OverflowError, ValueError, TypeError):
        return nothing
    low, high = reduce(np.minimum, ends), reduce(np.maximum, ends)
    if low.dtype.kind in "iu":
        is_inside = [_does_not_wrap(op, x, y, low.dtype) for x in (a.low, a.high) for y in (b.low, b.high)]
        known = known & reduce(np.logical_and, is_inside)
    elif low.dtype.kind == "f":
        # infinities make NaN of values in between
        known = known & np.isfinite(low) & np.isfinite(high)
    else:
        return nothing
    return Bounds(low, high, known, has_missing, has_values)


def _does_not_wrap(op: str, x: Any, y: Any, dtype: np.dtype[Any]) -> AnyArray:
    """Whether the sum, difference or product of integers is certainly in the range of a dtype."""
    one, other, info = np.asarray(x, float), np.asarray(y, float), np.iinfo(dtype)
    found = ARITHMETIC[op](one, other)
    size = np.abs(one) + np.abs(other) + np.abs(found)
    off = np.where(size < _EXACT, 0, size * _OFF)
    is_inside: AnyArray = (found + off <= info.max) & (found - off >= info.min)
    return is_inside


# by constants


def _constant_of(b: Bounds) -> int | float | None:
    return b.low if type(b.low) in (int, float) and b.low is b.high and abs(b.low) < float("inf") else None


def _divided(low: Any, high: Any, by: float) -> tuple[AnyArray, AnyArray, AnyArray] | None:
    """Bounds of ``x // by``, and where they are right: it is monotone as far as NumPy's quotients are exact."""
    if by == 0:
        return None
    ends = [np.asarray(end // by) for end in (low, high)]
    found = np.minimum(*ends), np.maximum(*ends)
    if found[0].dtype.kind in "iu":
        wraps = (np.asarray(low) < 0) & (by == -1)  # the least of all has no opposite
        return *found, ~wraps
    return *found, _is_exact(found[0]) & _is_exact(found[1])


def _is_exact(quotient: AnyArray) -> AnyArray:
    """Whether a whole number is so small that floats near it are far closer to each other than whole numbers are."""
    if quotient.dtype.kind != "f":
        return _NO
    return np.asarray(np.abs(quotient) < 2.0 ** (np.finfo(quotient.dtype).nmant - 4))


def _remaining(low: Any, high: Any, by: float) -> tuple[AnyArray, AnyArray, AnyArray] | None:
    """Bounds of ``x % by``: those of the ends where both lie in one period, else all that a remainder can be."""
    quotients = _divided(low, high, by)
    if quotients is None:
        return None
    first, last = (np.asarray(end % by) for end in (low, high))
    dtype = first.dtype
    is_one = (quotients[0] == quotients[1]) & quotients[2] & (first <= last)
    # of floats the divisor itself too: a tiny negative number is rounded to it
    step = 1 if dtype.kind in "iu" else 0
    least, most = (0, by - step) if by > 0 else (by + step, 0)
    if dtype.kind not in "iuf":
        return None
    ends = (np.asarray(end, dtype) for end in (least, most))
    below, above = ends
    is_finite = np.isfinite(np.asarray(low, float)) & np.isfinite(np.asarray(high, float))
    return np.where(is_one, first, below), np.where(is_one, last, above), np.asarray(is_finite)


def _raised(low: Any, high: Any, by: float) -> tuple[AnyArray, AnyArray, AnyArray] | None:
    """Bounds of ``x ** by`` for positive whole numbers: by 0, what is missing would become 1."""
    if not (by == int(by) and 1 <= by <= 64):
        return None
    ends = [np.asarray(end**by) for end in (low, high)]
    least, most = np.minimum(*ends), np.maximum(*ends)
    is_even = by % 2 == 0
    if is_even:
        straddles = (np.asarray(low) <= 0) & (np.asarray(high) >= 0)
        least = np.where(straddles, np.zeros((), least.dtype), least)
    if least.dtype.kind in "iu":
        info = np.iinfo(least.dtype)
        sizes = (np.abs(np.asarray(end, float)) ** by * (1 + _OFF) for end in (low, high))
        return least, most, np.maximum(*sizes) < info.max
    if least.dtype.kind != "f":
        return None
    known = np.isfinite(least) & np.isfinite(most)
    if by > 2:  # what is no product of two is rounded somehow
        off = 2.0 ** (6 - np.finfo(least.dtype).nmant)
        tiny = np.finfo(least.dtype).smallest_subnormal * 4
        least, most = (end + sign * (np.abs(end) * off + tiny) for end, sign in ((least, -1), (most, 1)))
    return np.asarray(least), np.asarray(most), known


_BY_CONSTANT: dict[str, Any] = {"//": _divided, "%": _remaining, "**": _raised}
