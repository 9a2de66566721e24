"""The language of queries: text -> expression. Python's comparisons, ``and``, ``or``, ``not``, ``in`` and arithmetic.

The text is parsed by Python's own parser, and each node of what that gives must be one of those below: nothing of it is
ever evaluated as code.
"""

from __future__ import annotations

import ast
import itertools
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from zarrds.errors import QueryError

__all__ = [
    "ARITHMETIC",
    "Arithmetic",
    "Comparison",
    "Constant",
    "Expression",
    "Logic",
    "Membership",
    "Name",
    "Negative",
    "Not",
    "Operator",
    "names_in",
    "parse",
]

Operator: TypeAlias = Literal["<", "<=", ">", ">=", "==", "!="]
_MOST_CHARACTERS = 100_000
# of integers that are raised to a power in a query
_MOST_EXPONENT = 64
# of integers: more than any float holds
_MOST_BITS = 1024
# Python would take leading blanks for an indentation, and a line's end for the end
_BLANKS = "\r\n\t\f"
_TEXT = r"""'{3}(?:[^\\]|\\.)*?'{3}|"{3}(?:[^\\]|\\.)*?"{3}|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_TOKEN = re.compile(rf"(?P<text>{_TEXT})|`(?P<name>[^`]*)`|(?P<comment>#[^\r\n]*)|(?P<blank>[{_BLANKS}])", re.DOTALL)
# which no text has: characters for private use
_PRIVATE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))

_COMPARISONS: dict[type[ast.cmpop], Operator] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
_ALLOWED = (
    "A query is made of names of variables, numbers, 'text', ISO dates in quotes, + - * / // % **, < <= > >= == !=, "
    "in, not in, and, or, not, and parentheses"
)
_NOT_ALLOWED: dict[type[ast.AST], str] = {
    ast.Call: "a call of a function",
    ast.Attribute: "an attribute",
    ast.Subscript: "an index in brackets",
    ast.Lambda: "a function",
    ast.IfExp: "a choice with if",
    ast.NamedExpr: "an assignment",
    ast.JoinedStr: "an f-string",
    ast.Await: "await",
    ast.Dict: "a dict",
    ast.Starred: "a star",
    ast.BinOp: "this operator",
}


@dataclass(frozen=True, slots=True)
class Name:
    """A variable or coordinate; `at` is where it begins in the text, as in all others."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a boolean or a text."""

    value: Any
    at: int


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Two numbers, and ``+ - * / // % **`` between them."""

    operator: str
    left: Expression
    right: Expression
    at: int


@dataclass(frozen=True, slots=True)
class Negative:
    """A number with a minus before it."""

    operand: Expression
    at: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two values that are compared."""

    operator: Operator
    left: Expression
    right: Expression
    at: int


@dataclass(frozen=True, slots=True)
class Membership:
    """Whether a value is one of some constants, or, if `is_negated`, none of them."""

    operand: Expression
    values: tuple[Constant, ...]
    is_negated: bool
    at: int


@dataclass(frozen=True, slots=True)
class Logic:
    """Conditions of which all (``and``) or any (``or``) must hold."""

    operator: Literal["and", "or"]
    operands: tuple[Expression, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Not:
    """A condition that must not hold."""

    operand: Expression
    at: int


Expression: TypeAlias = Name | Constant | Arithmetic | Negative | Comparison | Membership | Logic | Not


def parse(text: str) -> Expression:
    """The expression of a query.

    Names that are no identifiers of Python stand between backticks, as in pandas.

    Raises
    ------
    QueryError
        If it is no expression of the language; it says where.

    Examples
    --------
    >>> parse("lat > 50")
    Comparison(operator='>', left=Name(name='lat', at=0), right=Constant(value=50, at=6), at=0)
    >>> parse("1 < x <= 2") == parse("1 < x and x <= 2")
    False
    """
    if not isinstance(text, str):
        raise QueryError("a query is a text", found=f"{text!r:.80}")
    if len(text) > _MOST_CHARACTERS:
        raise QueryError("the query is too long", expected=f"at most {_MOST_CHARACTERS} characters", found=len(text))
    plain = _plain(text)
    try:
        tree = ast.parse(plain.source, mode="eval")
        return _Parser(text, plain).expression(tree.body)
    except SyntaxError as error:
        # 0 is where Python's parser stood at the end
        at = len(text) if error.offset == 0 else max(0, (error.offset or 1) - 1) + plain.shift
        raise _wrong(
            "the query cannot be read", text, at, hint=None if error.msg == "invalid syntax" else str(error.msg)
        ) from error
    except (ValueError, MemoryError, RecursionError) as error:
        if isinstance(error, QueryError):
            raise
        raise QueryError(
            "the query cannot be read: it is nested too deeply, or holds a NUL or half a character"
        ) from error


def names_in(expression: Expression) -> Iterator[Name]:
    """The names in an expression, from left to right."""
    match expression:
        case Name():
            yield expression
        case Arithmetic() | Comparison():
            yield from names_in(expression.left)
            yield from names_in(expression.right)
        case Negative() | Not() | Membership():
            yield from names_in(expression.operand)
        case Logic():
            for operand in expression.operands:
                yield from names_in(operand)


def _wrong(problem: str, text: str, at: int, end: int | None = None, hint: str | None = None) -> QueryError:
    rest = text[at : at + 40 if end is None else end]
    shown = f"{rest!r:.80}" if rest else "the end"
    return QueryError(problem, found=f"{shown} at character {at + 1}", mend=hint or _ALLOWED)


@dataclass(frozen=True, slots=True)
class _Plain:
    """A query as Python's parser can read it, in one line of the same length.

    Attributes
    ----------
    text : str
    quoted : dict of str to str
        The identifiers in place of names between backticks, and those names.
    line_ends : dict of int to str
        The characters in place of line ends within texts, as `str.translate` takes them.
    """

    text: str
    quoted: dict[str, str]
    line_ends: dict[int, str]

    @property
    def source(self) -> str:
        """The text without the blanks that Python would take for an indentation."""
        return self.text.lstrip(" ")

    @property
    def shift(self) -> int:
        """How many these are."""
        return len(self.text) - len(self.source)


def _plain(text: str) -> _Plain:
    r"""The query with identifiers for names between backticks, and blanks for line ends and comments.

    Examples
    --------
    >>> _plain("`a b` > 3\n# so").text
    '_0___ > 3     '
    """
    quoted: dict[str, str] = {}
    line_ends = dict(zip(_stand_ins(text), "\r\n", strict=True)) if re.search("[\r\n]", text) else {}
    instead = {ord(end): chr(stand_in) for stand_in, end in line_ends.items()}

    def replaced(match: re.Match[str]) -> str:
        if match["text"] is not None:
            return match[0].translate(instead)
        if match["name"] is None:
            return " " * len(match[0])
        identifier = f"_{len(quoted)}_"
        while len(identifier) < len(match[0]) or identifier in text:
            identifier += "_"
        quoted[identifier] = match["name"]
        return identifier

    return _Plain(_TOKEN.sub(replaced, text), quoted, line_ends)


def _stand_ins(text: str) -> list[int]:
    """Two characters that the text has not, nor as an escape."""
    lower = text.lower()
    free = (n for each in _PRIVATE for n in each if chr(n) not in text and f"{n:x}" not in lower)
    found = list(itertools.islice(free, 2))
    if len(found) < 2:
        raise QueryError("the query cannot be read: it has all characters for private use, and several lines")
    return found


class _Parser:
    """Makes expressions of nodes."""

    def __init__(self, text: str, plain: _Plain) -> None:
        self._text, self._quoted, self._line_ends = text, plain.quoted, plain.line_ends
        self._shift, self._encoded = plain.shift, plain.source.encode("utf-8", "surrogatepass")

    def _at(self, offset: int) -> int:
        # Python counts bytes of UTF-8
        return len(self._encoded[:offset].decode("utf-8", "replace")) + self._shift

    def _wrong(self, problem: str, node: ast.expr, hint: str | None = None) -> QueryError:
        end = None if node.end_col_offset is None else self._at(node.end_col_offset)
        return _wrong(problem, self._text, self._at(node.col_offset), end, hint)

    def expression(self, node: ast.expr) -> Expression:
        at = self._at(node.col_offset)
        match node:
            case ast.Name():
                # as it was written: Python takes some characters for others, as µ for μ
                name = self._encoded[node.col_offset : node.end_col_offset].decode("utf-8", "replace")
                return Name(self._quoted.get(name, name), at)
            case ast.Constant(value=value):
                return self._constant(node, value, at)
            case ast.BoolOp(op=op, values=values):
                operands = tuple(map(self.expression, values))
                return Logic("and" if isinstance(op, ast.And) else "or", operands, at)
            case ast.Compare():
                return self._comparison(node, at)
            case ast.UnaryOp():
                return self._unary(node, at)
            case ast.BinOp(op=ast.BitAnd() | ast.BitOr() as op, left=left, right=right):
                hint = "`&` and `|` bind more tightly than comparisons: write `and` and `or`, or put parentheses"
                if not all(
                    isinstance(side, ast.Compare | ast.BoolOp | ast.BinOp | ast.Name | ast.UnaryOp)
                    for side in (left, right)
                ):
                    raise self._wrong("conditions are expected on both sides", node, hint)
                return Logic(
                    "and" if isinstance(op, ast.BitAnd) else "or", tuple(map(self.expression, (left, right))), at
                )
            case ast.BinOp(op=op, left=left, right=right) if type(op) in _OPERATORS:
                return self._arithmetic(node, _OPERATORS[type(op)], self.expression(left), self.expression(right), at)
        raise self._wrong(f"not allowed in a query: {_NOT_ALLOWED.get(type(node), 'this')}", node)

    def _constant(self, node: ast.expr, value: object, at: int) -> Constant:
        if type(value) not in (int, float, bool, str):
            raise self._wrong("not allowed in a query: a constant of this kind", node)
        if isinstance(value, str):
            return Constant(value.translate(self._line_ends), at)
        return Constant(self._number(value, node), at)

    def _number(self, value: Any, node: ast.expr) -> Any:
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            raise self._wrong("a number is too large", node, "Write it with an exponent: 1e300")
        return value

    def _unary(self, node: ast.UnaryOp, at: int) -> Expression:
        operand = self.expression(node.operand)
        if isinstance(node.op, ast.Not | ast.Invert):
            return Not(operand, at)
        if isinstance(operand, Constant):
            if type(operand.value) not in (int, float):
                raise self._wrong("a sign stands before a number", node)
            return Constant(-operand.value if isinstance(node.op, ast.USub) else operand.value, at)
        return Negative(operand, at) if isinstance(node.op, ast.USub) else operand

    def _arithmetic(self, node: ast.expr, op: str, left: Expression, right: Expression, at: int) -> Expression:
        if not (isinstance(left, Constant) and isinstance(right, Constant)):
            return Arithmetic(op, left, right, at)
        a, b = left.value, right.value
        if any(type(value) not in (int, float) for value in (a, b)):
            raise self._wrong("only numbers can be added, multiplied and so on", node)
        try:
            if op == "**" and type(a) is type(b) is int and not (0 <= b <= _MOST_EXPONENT and abs(a) < 2**64):
                a, b = float(a), float(b)
            value = ARITHMETIC[op](a, b)
        except (ArithmeticError, ValueError) as error:
            raise self._wrong(f"this cannot be computed: {error}", node) from error
        if type(value) not in (int, float):
            raise self._wrong("this is no real number", node)
        return Constant(self._number(value, node), at)

    def _comparison(self, node: ast.Compare, at: int) -> Expression:
        parts: list[Expression] = []
        left = self.expression(node.left)
        for op, following in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                parts.append(Membership(left, self._members(following), isinstance(op, ast.NotIn), at))
                if len(node.ops) > 1:
                    raise self._wrong("`in` cannot be one of several comparisons in a row", node, "Write `and`")
                break
            if type(op) not in _COMPARISONS:
                raise self._wrong("not allowed in a query: is", node, "Compare with ==")
            right = self.expression(following)
            parts.append(Comparison(_COMPARISONS[type(op)], left, right, at))
            left = right
        return parts[0] if len(parts) == 1 else Logic("and", tuple(parts), at)

    def _members(self, node: ast.expr) -> tuple[Constant, ...]:
        if not isinstance(node, ast.Tuple | ast.List | ast.Set):
            raise self._wrong("what follows `in` is a list of constants", node, "For example: x in [1, 2, 3]")
        members = tuple(map(self.expression, node.elts))
        for member, element in zip(members, node.elts, strict=True):
            if not isinstance(member, Constant):
                raise self._wrong("a list holds constants only", element)
        return tuple(member for member in members if isinstance(member, Constant))
