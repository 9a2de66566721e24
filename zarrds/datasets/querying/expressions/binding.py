"""What an expression means for a dataset: names are variables of a kind, and constants are of the kind they meet."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from zarrds.arguments import nearest
from zarrds.datasets.querying.expressions.language import (
    Arithmetic,
    Comparison,
    Constant,
    Expression,
    Logic,
    Membership,
    Name,
    Negative,
    Not,
    names_in,
)
from zarrds.errors import QueryError

__all__ = ["Instant", "Kind", "bind"]

# of values: booleans are conditions; "calendar" are times of a calendar that NumPy does not have
Kind: TypeAlias = Literal["number", "condition", "text", "time", "span", "calendar"]

_ISO = re.compile(
    r"(?P<year>[+-]?\d{4,9})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:[T ](?P<hour>\d\d)(?::(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,18}))?)?)?)?)?)?Z?\Z"
)
_NANOSECONDS = 1_000_000_000
_TIMES = ("time", "span", "calendar")


@dataclass(frozen=True, slots=True)
class Instant:
    """A point in time, or a span of it.

    Attributes
    ----------
    seconds : Fraction
        Since 1970 in the calendar of NumPy; of a span, how long it is. Zero for calendars that NumPy does not have.
    fields : tuple of int
        Year, month, day, hour, minute, second and microsecond.
    """

    seconds: Fraction
    fields: tuple[int, ...] = ()

    def steps(self, unit: str) -> tuple[int, bool]:
        """How many whole steps of a unit of NumPy (``"s"``, ``"ns"``, …) it is, and whether that is all of it."""
        found = self.seconds * _STEPS[unit]
        return found.numerator // found.denominator, found.denominator == 1


_STEPS = {
    "W": Fraction(1, 604_800),
    "D": Fraction(1, 86_400),
    "h": Fraction(1, 3600),
    "m": Fraction(1, 60),
    "s": Fraction(1),
    "ms": Fraction(10**3),
    "us": Fraction(10**6),
    "ns": Fraction(10**9),
    "ps": Fraction(10**12),
    "fs": Fraction(10**15),
    "as": Fraction(10**18),
}


def bind(
    expression: Expression, kind_of: Callable[[str], Kind | None], known: list[str]
) -> tuple[Expression, dict[str, Kind]]:
    """The same expression, in which texts that are compared with times are `Instant` values.

    Parameters
    ----------
    expression : Expression
    kind_of : callable
        The kind of the variable of a name, which is asked for once; None for one that cannot be compared.
    known : list of str
        All names that there are.

    Returns
    -------
    tuple of (Expression, dict of str to Kind)
        With the kinds of all names in it.

    Raises
    ------
    QueryError
        If a name is unknown, if the expression is no condition, or compares or computes with what does not fit.
    """
    kinds: dict[str, Kind] = {}
    for name in names_in(expression):
        if name.name in kinds:
            continue
        if name.name not in known:
            raise _wrong("no such variable", name, name.name, mend=nearest(name.name, known))
        kind = kind_of(name.name)
        if kind is None:
            raise _wrong("a variable of this kind cannot be compared", name, name.name)
        kinds[name.name] = kind
    try:
        found, kind = _Binder(kinds).bound(expression)
    except RecursionError as error:
        raise QueryError("the query is nested too deeply") from error
    if kind != "condition":
        raise _wrong("this is no condition", expression, kind, mend="Compare it with something: t2m > 310")
    if not kinds:
        raise QueryError("the query names no variable", expected=f"one of {', '.join(known[:20])}")
    return found, kinds


def _wrong(problem: str, where: Expression, found: object, *, mend: str | None = None) -> QueryError:
    return QueryError(problem, found=f"{found!r:.80} at character {where.at + 1}", mend=mend)


class _Binder:
    """Looks at an expression from below."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self._kinds = kinds

    def bound(self, e: Expression) -> tuple[Expression, Kind]:
        match e:
            case Name():
                return e, self._kinds[e.name]
            case Constant():
                return e, _kind_of_constant(e.value)
            case Arithmetic():
                left, right = (self._number(side) for side in (e.left, e.right))
                return replace(e, left=left, right=right), "number"
            case Negative():
                return replace(e, operand=self._number(e.operand)), "number"
            case Not():
                return replace(e, operand=self._condition(e.operand)), "condition"
            case Logic():
                return replace(e, operands=tuple(map(self._condition, e.operands))), "condition"
            case Comparison():
                left, right = self._comparable(e, e.left, e.right)
                return replace(e, left=left, right=right), "condition"
            case Membership():
                values = tuple(self._comparable(e, e.operand, value)[1] for value in e.values)
                operand, _ = self.bound(e.operand)
                return replace(e, operand=operand, values=values), "condition"

    def _number(self, e: Expression) -> Expression:
        found, kind = self.bound(e)
        if kind != "number":
            raise _wrong("only numbers can be added, multiplied and so on", e, _shown(e, kind))
        return found

    def _condition(self, e: Expression) -> Expression:
        found, kind = self.bound(e)
        if kind != "condition":
            raise _wrong(
                "this is no condition", e, _shown(e, kind), mend="Compare it with something: t2m > 310 and lat > 50"
            )
        return found

    def _comparable(self, e: Expression, left: Expression, right: Expression) -> tuple[Expression, Any]:
        (one, kind), (other, other_kind) = self.bound(left), self.bound(right)
        if kind in _TIMES and isinstance(other, Constant) and other_kind == "text":
            return one, replace(other, value=_instant(other, kind))
        if other_kind in _TIMES and isinstance(one, Constant) and kind == "text":
            return replace(one, value=_instant(one, other_kind)), other
        numbers = {"number", "condition"}
        if kind == other_kind or {kind, other_kind} == numbers:
            return one, other
        mend = "A text stands in quotes, a number does not" if "text" in (kind, other_kind) else None
        if set(_TIMES) & {kind, other_kind}:
            mend = "Write dates as text, '2019-03-01T06:00', and spans as '3 hours'"
        raise _wrong(
            f"{_words(kind)} cannot be compared with {_words(other_kind)}", e, _shown(right, other_kind), mend=mend
        )


def _words(kind: Kind) -> str:
    return {"condition": "a condition", "calendar": "a time", "span": "a span of time"}.get(kind, f"a {kind}")


def _shown(e: Expression, kind: Kind) -> str:
    return e.name if isinstance(e, Name) else str(e.value) if isinstance(e, Constant) else _words(kind)


def _kind_of_constant(value: object) -> Kind:
    return "condition" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"


def _instant(constant: Constant, kind: Kind) -> Instant:
    """The time that a text says. A date is the instant at which it begins."""
    text = constant.value
    if kind == "span":
        try:
            span = pd.Timedelta(text)
        except (ValueError, OverflowError) as error:
            raise _wrong("this is no span of time", constant, text, mend="For example: '3 hours', '90 min'") from error
        if pd.isnull(span):
            raise _wrong("this is no span of time", constant, text)
        return Instant(Fraction(int(span.as_unit("ns").value), _NANOSECONDS))
    found = _ISO.match(text)
    if found is None:
        raise _wrong("this is no ISO date", constant, text, mend="For example: '2019', '2019-03', '2019-03-01T06:00'")
    fraction = found["fraction"] or "0"
    numbers = [int(found[name] or low) for name, low in zip(("year", "month", "day"), (0, 1, 1), strict=True)]
    numbers += [int(found[name] or 0) for name in ("hour", "minute", "second")]
    fields = (*numbers, int(Fraction(int(fraction), 10 ** len(fraction)) * 10**6))
    if kind == "calendar":
        return Instant(Fraction(0), fields)
    year, month, day, hour, minute, second = numbers
    try:
        seconds = int(
            np.datetime64(f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}", "s").astype(
                np.int64
            )
        )
    except ValueError as error:
        raise _wrong("there is no such date", constant, text) from error
    return Instant(seconds + Fraction(int(fraction), 10 ** len(fraction)), fields)
