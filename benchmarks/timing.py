"""Rows and contenders, and how they are timed.

Data is made and checked outside of the timed part. Within a round the contenders take turns, and each round begins with
another one, so that neither a busy moment of the machine nor what stood before falls on one of them alone.
"""

from __future__ import annotations

import gc
import os
import shutil
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from data import Bench, Size

OURS = "zarrds"


def _position(k: int) -> int:
    return k


@dataclass(frozen=True)
class Contender:
    """One way to do a row's work.

    `run` is timed; it is given what `prepare` made of the call's number, which is not. `check` is given the number and
    the result: it raises if the result is wrong, and closes what is open. What `run` writes to `output` is removed
    before and after. `uses` names codec and chunks.
    """

    name: str
    uses: str
    run: Callable[[Any], Any]
    check: Callable[[int, Any], None]
    prepare: Callable[[int], Any] = _position
    output: Path | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `contenders` makes the row's data and its contenders; what must be closed after the row goes on the stack. A row of
    short work calls it `repeat` times in each round, and its time is their mean. In rows that count MB the figure is
    what `run` returns. `nbytes` says how much memory one call may come to use, roughly.
    """

    family: str
    name: str
    about: str
    contenders: Callable[[Bench, ExitStack], list[Contender]]
    repeat: int = 1
    nbytes: Callable[[Size], int] = lambda _size: 0
    unit: Literal["ms", "MB"] = "ms"


@dataclass
class Result:
    """What one row gave: for each contender a figure per round, in the row's unit."""

    row: Row
    uses: dict[str, str]
    figures: dict[str, list[float]] = field(default_factory=dict)

    @property
    def medians(self) -> dict[str, float]:
        """Of the rounds, for each contender."""
        return {name: statistics.median(values) for name, values in self.figures.items()}

    @property
    def best_peer(self) -> str | None:
        """Who has the smallest median but zarrds, None if zarrds is alone."""
        peers = {name: value for name, value in self.medians.items() if not name.startswith(OURS)}
        return min(peers, key=peers.__getitem__) if peers else None

    @property
    def ratio(self) -> float | None:
        """The best peer's median over that of zarrds: above 1, zarrds is ahead. None if there is nothing to compare."""
        ours = self.medians[OURS]
        return self.medians[self.best_peer] / ours if self.best_peer and ours else None


def measure(row: Row, bench: Bench, rounds: int) -> Result:
    """Time a row: one round to warm up, then `rounds` that count."""
    with ExitStack() as stack:
        contenders = row.contenders(bench, stack)
        result = Result(row, {c.name: c.uses for c in contenders}, {c.name: [] for c in contenders})
        try:
            for number in range(rounds + 1):
                if number < 2:
                    gc.freeze()  # what the collections between the contenders need not look at
                turn = number % len(contenders)
                for contender in contenders[turn:] + contenders[:turn]:
                    figure = _measure_once(row, contender, number * row.repeat, row.nbytes(bench.size))
                    if number:
                        result.figures[contender.name].append(figure)
        finally:
            gc.unfreeze()
    return result


def _measure_once(row: Row, contender: Contender, first: int, nbytes: int) -> float:
    prepared = [contender.prepare(k) for k in range(first, first + row.repeat)]
    if contender.output is not None:
        remove(contender.output)
        os.sync()  # else the disk would still be busy with what the contender before has written
    gc.collect()
    _touch_memory(nbytes)
    start = time.perf_counter()
    results = [contender.run(value) for value in prepared]
    seconds = time.perf_counter() - start
    for i, value in enumerate(results):
        contender.check(first + i, value)
    if contender.output is not None:
        remove(contender.output)
    return float(statistics.mean(results)) if row.unit == "MB" else seconds * 1000 / row.repeat


def _touch_memory(nbytes: int) -> None:
    """Use memory and free it again.

    A virtual machine may give memory that it does not use back to its host: to get it again can take ten times as
    long as to read a chunk into it, and would fall on whoever comes first.
    """
    if nbytes:
        np.empty(nbytes, np.uint8).fill(1)


def remove(path: Path) -> None:
    """Remove a file or a folder that may not be there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
