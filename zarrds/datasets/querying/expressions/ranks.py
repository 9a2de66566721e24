"""Ordered categories are compared by their order, as pandas does, and not as the text or numbers that they are."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from zarrds.datasets.querying.expressions.language import (
    Comparison,
    Constant,
    Expression,
    Logic,
    Membership,
    Name,
    Not,
)
from zarrds.errors import QueryError

__all__ = ["by_rank"]

_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_COMPARE: Final[dict[str, Callable[[int, int], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def by_rank(expression: Expression, ranked: Mapping[str, list[Any]]) -> Expression:
    """The same expression, in which ``size > "small"`` is ``size in ["middle", "large"]``.

    Parameters
    ----------
    expression : Expression
        Not bound yet.
    ranked : mapping of str to list
        The categories, from the lowest to the highest, of each name whose order is another than that of the values.

    Raises
    ------
    QueryError
        If such a name is compared by order with what is none of its categories.
    """
    match expression:
        case Comparison() if expression.operator in _COMPARE:
            return _compared(expression, ranked)
        case Logic():
            return replace(expression, operands=tuple(by_rank(each, ranked) for each in expression.operands))
        case Not():
            return replace(expression, operand=by_rank(expression.operand, ranked))
        case _:
            return expression


def _compared(e: Comparison, ranked: Mapping[str, list[Any]]) -> Expression:
    sides, symbol = (e.left, e.right), str(e.operator)
    if not (isinstance(e.left, Name) and e.left.name in ranked):
        sides, symbol = (e.right, e.left), _MIRRORED[symbol]
    name, limit = sides
    if not (isinstance(name, Name) and name.name in ranked):
        return e
    categories = ranked[name.name]
    if not isinstance(limit, Constant) or limit.value not in categories:
        found = repr(limit.value) if isinstance(limit, Constant) else "something else"
        raise QueryError(
            "ordered categories can only be compared with one of them",
            expected=f"one of {', '.join(map(repr, categories[:20]))}",
            found=f"{found:.80} at character {limit.at + 1}",
        )
    rank = categories.index(limit.value)
    fitting = [value for i, value in enumerate(categories) if _COMPARE[symbol](i, rank)]
    return Membership(name, tuple(Constant(value, limit.at) for value in fitting), False, e.at)
