"""What `zarrds.diff` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from zarrds.display.html import html_of
from zarrds.display.page import Page, Table
from zarrds.display.text import counted, one_line

__all__ = ["Diff", "Difference", "Kind"]

Kind: TypeAlias = Literal["group", "variable", "dimensions", "dtype", "attribute", "encoding", "values"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which two datasets differ.

    Attributes
    ----------
    kind : {"group", "variable", "dimensions", "dtype", "attribute", "encoding", "values"}
    where : str
        The path of the group or variable.
    problem : str
        What differs, with both sides; of values how many, the first of them with its labels, and the largest
        difference.

    Examples
    --------
    >>> print(Difference("attribute", "/t2m", "units: 'K' / 'degC'"))
    /t2m: attribute units: 'K' / 'degC'
    """

    kind: Kind
    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where}: {self.kind} {self.problem}"


@dataclass(frozen=True, slots=True, repr=False)
class Diff:
    """Where two datasets differ. As text: a line for each difference, and one that sums up.

    Attributes
    ----------
    left, right : str
        How they are called.
    differences : tuple of Difference

    Examples
    --------
    >>> print(Diff("a.zarr", "b.zarr", ()))
    a.zarr, b.zarr: no difference
    """

    left: str
    right: str
    differences: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        """Whether there is no difference."""
        return not self.differences

    def __str__(self) -> str:
        return "\n".join([*map(str, self.differences), f"{self.left}, {self.right}: {self._sum()}"])

    def __repr__(self) -> str:
        return f"<zarrds.Diff of {self.left!r} and {self.right!r}: {self._sum()}>"

    def _repr_html_(self) -> str:
        return html_of(self.page())

    def page(self) -> Page:
        """What is shown of it in HTML."""
        rows = tuple((one_line(d.where, 80), d.kind, one_line(d.problem, 400)) for d in self.differences)
        table = Table("differences", ("where", "kind", "what"), rows)
        return Page(f"{self.left}, {self.right}: {self._sum()}", (), (table,))

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {
            "left": self.left,
            "right": self.right,
            "same": self.same,
            "differences": [{"kind": d.kind, "where": d.where, "problem": d.problem} for d in self.differences],
        }

    def _sum(self) -> str:
        return counted(len(self.differences), "difference") if self.differences else "no difference"
