"""Whether to show a bar."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["wants_bar"]


def wants_bar() -> bool:
    """Whether stderr is a terminal, and tqdm is there to draw on it."""
    return sys.stderr is not None and sys.stderr.isatty() and find_spec("tqdm") is not None
