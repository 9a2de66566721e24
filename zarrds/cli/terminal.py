"""What goes to stdout and stderr: results, messages, colour where there is a terminal."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from zarrds.display.page import Page
from zarrds.display.text import escaped, text_of

__all__ = [
    "close_stdout",
    "flush",
    "message",
    "prepare_stdout",
    "print_json",
    "print_page",
    "print_text",
    "shown_warnings",
]


def prepare_stdout() -> None:
    """Let what the encoding of stdout and stderr does not have be written as escapes, and not be an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Have all results written. Raises OSError, of which BrokenPipeError means that nobody reads any more."""
    if sys.stdout is not None:
        sys.stdout.flush()


def close_stdout() -> None:
    """Let nothing that is still buffered be written: Python would complain of it at the end."""
    with suppress(OSError, ValueError, AttributeError):  # where it is no stream of the process's own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_text(text: str, end: str = "\n") -> None:
    """Write a result; control characters, which a store may have in its names, are written as JSON has them."""
    if sys.stdout is None:  # it was closed before the process began
        raise OSError(errno.EBADF, "there is no standard output")
    sys.stdout.write(escaped(text) + end)


def print_json(value: Any) -> None:
    """Write a result that a program may read: strict JSON."""
    print_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def message(text: str) -> None:
    """Write one line that is no result: an error, a warning, what was done."""
    with suppress(OSError, AttributeError):  # there may be none, or a full disk behind it
        sys.stderr.write(f"zarrds: {escaped(' '.join(text.split()))}\n")


def print_page(page: Page) -> None:
    """Write a page: tables with colour on a terminal if rich is there, else plain text."""
    if not (_has_colour(sys.stdout) and _print_rich(page)):
        print_text(text_of(page))


def _has_colour(stream: TextIO | None) -> bool:
    return (
        stream is not None and stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


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
            drawn = Table(
                title=Text(table.title, style="bold") if table.title else None,
                title_justify="left",
                box=None,
                pad_edge=False,
            )
            for i, column in enumerate(table.columns):
                drawn.add_column(column, style="cyan" if i == 0 else None, overflow="fold")
            for row in table.rows:
                drawn.add_row(*map(Text, row))
            console.print()
            console.print(drawn)
    return True


@contextmanager
def shown_warnings() -> Iterator[None]:
    """Within, a warning is one line on stderr, once, without the place in the code that gave it."""
    told: set[str] = set()

    def show(text: str) -> None:
        if text not in told:
            told.add(text)
            message(f"warning: {text}")

    with warnings.catch_warnings():
        warnings.showwarning = lambda text, category, *_args, **_kwargs: show(str(text))
        yield
