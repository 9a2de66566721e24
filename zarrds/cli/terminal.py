"""What goes to stdout and stderr: results, messages, colour where there is a terminal."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from zarrds.display.page import Page
from zarrds.display.text import escaped, text_of

__all__ = ["message", "print_json", "print_page", "print_text", "shown_warnings"]


def print_text(text: str, end: str = "\n") -> None:
    """Write a result; control characters, which a store may have in its names, are written as JSON has them."""
    sys.stdout.write(escaped(text) + end)


def print_json(value: Any) -> None:
    """Write a result that a program may read: strict JSON."""
    print_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def message(text: str) -> None:
    """Write one line that is no result: an error, a warning, what was done."""
    sys.stderr.write(f"zarrds: {escaped(' '.join(text.split()))}\n")


def print_page(page: Page) -> None:
    """Write a page: tables with colour on a terminal if rich is there, else plain text."""
    if not (_has_colour(sys.stdout) and _print_rich(page)):
        print_text(text_of(page))


def _has_colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _print_rich(page: Page) -> bool:
    """Whether rich was there to draw the page."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    console = Console(file=sys.stdout)
    console.print(Text(page.heading, style="bold"))
    for name, value in page.facts:
        console.print(Text.assemble((f"{name}: ", "dim"), value))
    for table in page.tables:
        if table.rows:
            drawn = Table(title=Text(table.title, style="bold"), title_justify="left", box=None, pad_edge=False)
            for i, column in enumerate(table.columns):
                drawn.add_column(column, style="cyan" if i == 0 else None, overflow="fold")
            for row in table.rows:
                drawn.add_row(*map(Text, row))
            console.print()
            console.print(drawn)
    return True


@contextmanager
def shown_warnings() -> Iterator[None]:
    """Within, a warning is one line on stderr, without the place in the code that gave it."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda text, category, *_args, **_kwargs: message(f"warning: {text}")
        yield
