"""What a page shows, as plain data: a heading, facts, tables. `text` and `html` draw it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Page", "Table"]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text.

    Attributes
    ----------
    title : str
    columns : tuple of str
        One a column.
    rows : tuple of tuple of str
        As many cells each as there are columns.
    drawings : tuple of str
        SVG for each row, which only HTML shows; empty for a table without.
    is_folded : bool
        Whether HTML shows it only when it is clicked on.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    drawings: tuple[str, ...] = ()
    is_folded: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One thing that is shown.

    Attributes
    ----------
    heading : str
        One line: what it is, and how large.
    facts : tuple of (str, str)
        Names and values.
    tables : tuple of Table
        Those without rows are left out.
    """

    heading: str
    facts: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()
