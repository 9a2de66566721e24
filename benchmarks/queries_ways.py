"""What is asked, and the ways to ask it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Question", "Way", "has"]


@dataclass(frozen=True)
class Way:
    """One way to answer a question."""

    name: str
    ask: Callable[[], Any]


@dataclass(frozen=True)
class Question:
    """A row of the table; the first way is zarrds' own."""

    name: str
    ways: tuple[Way, ...]


def has(*modules: str) -> bool:
    """Whether all of these can be imported."""
    return all(importlib.util.find_spec(module) is not None for module in modules)
