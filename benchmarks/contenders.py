"""What is compared: rows, and the contenders that do a row's work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.data import Bench, Size

OURS = "zarrds"
OURS_DURABLE = "zarrds durable"
OURS_IN_PYTHON = "zarrds without kernel"


def _position(k: int) -> int:
    return k


@dataclass(frozen=True)
class Measured:
    """What work took; `megabytes` is how far memory rose, as `memory.peak_rise` counts it, if it is known."""

    seconds: float
    megabytes: float | None


@dataclass(frozen=True)
class Contender:
    """One way to do a row's work.

    `run` is timed; it is given what `prepare` made of the call's number, which is not. `check` is given the number and
    the result: it raises if the result is wrong, and closes what is open. What it made at `output` is put away after
    `check`. `uses` names codec and chunks.

    A "floor" is no library but what none can do without. Who is `durable` waits for the disk.
    """

    name: str
    uses: str
    run: Callable[[Any], Any]
    check: Callable[[int, Any], None]
    prepare: Callable[[int], Any] = _position
    output: Path | None = None
    kind: Literal["ours", "peer", "floor"] = "peer"
    durable: bool = False


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `contenders` makes the row's data and its contenders; what must be closed after the row goes on the stack. A row of
    short work calls it `repeat` times in each round, and its time is their mean. `nbytes` says how much memory one call
    may come to use, roughly. Memory is measured "here", in this process; or it is "told", as the time is, by
    the process of its own in which the work was done: then `run` returns a `Measured`; or it is "unknown".
    """

    family: str
    name: str
    about: str
    contenders: Callable[[Bench, ExitStack], list[Contender]]
    repeat: int = 1
    nbytes: Callable[[Size], int] = lambda _size: 0
    memory: Literal["here", "told", "unknown"] = "here"
