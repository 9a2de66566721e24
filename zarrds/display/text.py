"""Plain text of pages, sizes, and values of any length."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

from zarrds.display.page import Page, Table

__all__ = ["counted", "escaped", "nbytes_of", "nbytes_text", "one_line", "text_of", "width"]

# C0 and C1 controls, and what turns the direction of writing; not the line feed and the tab
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def counted(n: int, what: str) -> str:
    """A number and what it counts.

    Examples
    --------
    >>> counted(1, "array"), counted(2000, "array")
    ('1 array', '2000 arrays')
    """
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def nbytes_text(n_bytes: int) -> str:
    """A number of bytes in the unit that suits it, by powers of 1000.

    Examples
    --------
    >>> nbytes_text(999), nbytes_text(91_000_000)
    ('999 B', '91.0 MB')
    """
    size, unit = float(n_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB", "EB"):
        if size < 999.95:
            break
        size, unit = size / 1000, larger
    return f"{n_bytes} B" if unit == "B" else f"{size:.1f} {unit}"


_UNITS = {"": 1, **{f"{p}{i}b": (1024 if i else 1000) ** n for n, p in enumerate("kmgt", 1) for i in ("", "i")}, "b": 1}


def nbytes_of(value: object) -> int | None:
    """Bytes of a size that a user gives, a number or a text; None if it is none.

    Examples
    --------
    >>> nbytes_of("500MB"), nbytes_of("2 GiB"), nbytes_of(7), nbytes_of("much")
    (500000000, 2147483648, 7, None)
    """
    if isinstance(value, str):
        text = value.strip().lower()
        number = text.rstrip("bikmgt ")
        unit = text[len(number) :].strip()
        factor = _UNITS.get(unit if unit.endswith("b") or not unit else f"{unit}b")
        if factor is not None and re.fullmatch(r"[0-9]{1,30}(\.[0-9]+)?", number) and float(number) > 0:
            return max(1, int(float(number) * factor))
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return max(1, int(value))
    return None


def one_line(value: object, length: int = 60) -> str:
    r"""A value as one line of at most `length` characters; control characters cannot get to a terminal.

    Examples
    --------
    >>> one_line("two\nlines"), one_line([1, 2]), one_line("x" * 9, 5)
    ('two lines', '[1, 2]', 'xxxx…')
    """
    text = value[: 4 * length] if isinstance(value, str) else str(value)[: 4 * length]
    # what a store says must not move a terminal's cursor, or turn the direction of writing
    text = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs") else c for c in text)
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def escaped(text: str, escape: Callable[[str], str] = lambda c: f"\\u{ord(c):04x}") -> str:
    r"""Text of any number of lines without the control characters that a terminal would obey.

    Parameters
    ----------
    text : str
    escape : callable
        What stands for such a character; as JSON has it unless said.

    Examples
    --------
    >>> print(escaped("red \x1b[31m"))
    red \u001b[31m
    """
    return _CONTROLS.sub(lambda found: escape(found[0]), text)


def width(text: str) -> int:
    """How many columns of a terminal a line takes.

    Examples
    --------
    >>> width("t2m"), width("気温")
    (3, 4)
    """
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def text_of(page: Page) -> str:
    """A page as lines of text.

    Examples
    --------
    >>> table = Table("arrays", ("name", "dtype"), (("t", "i4"),))
    >>> print(text_of(Page("t2m.zarr", (("format", "Zarr v3"),), (table,))))
    t2m.zarr
    format: Zarr v3
    <BLANKLINE>
    arrays
      name  dtype
      t     i4
    """
    lines = [page.heading, *(f"{name}: {value}" for name, value in page.facts)]
    for table in page.tables:
        if table.rows:
            lines += ["", *([table.title] if table.title else []), *(f"  {line}" for line in _aligned(table))]
    return "\n".join(lines)


def _aligned(table: Table) -> Iterable[str]:
    rows: list[Sequence[str]] = [table.columns, *table.rows] if any(table.columns) else list(table.rows)
    widths = [max(width(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell + " " * (w - width(cell)) for cell, w in zip(row, widths, strict=True)).rstrip()
