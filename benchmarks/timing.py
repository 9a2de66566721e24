"""How a row is timed.

Data is made and checked outside of the timed part. Within a round the contenders take turns, and each round begins with
another one, so that neither a busy moment of the machine nor what stood before falls on one of them alone.
"""

from __future__ import annotations

import gc
import itertools
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import Contender, Measured, Row
from benchmarks.data import Bench, Size
from benchmarks.memory import peak_rise
from benchmarks.results import Result

# who takes longer than this is slow, and measured in so many rounds at most: a run would take an hour otherwise
_SLOW_SECONDS = 3
_ROUNDS_IF_SLOW = 3

_numbers = itertools.count()  # of outputs


def measure(row: Row, bench: Bench, rounds: int) -> Result:
    """Time a row: one round to warm up, then `rounds` that count, fewer of who is slow, then one for the memory."""
    with ExitStack() as stack:
        contenders = row.contenders(bench, stack)
        result = Result(row, {c.name: c for c in contenders}, {c.name: [] for c in contenders})
        slow = set()
        try:
            for number in range(rounds + 1):
                if number < 2:
                    gc.freeze()  # what the collections between the contenders need not look at
                active = [c for c in contenders if number <= _ROUNDS_IF_SLOW or c.name not in slow]
                turn = number % max(len(active), 1)
                for contender in active[turn:] + active[:turn]:
                    measured = _measure_time(row, contender, number * row.repeat, bench.size)
                    if number:
                        result.times[contender.name].append(measured.seconds * 1000 / row.repeat)
                        result.add_memory(contender.name, measured.megabytes)
                    elif measured.seconds > _SLOW_SECONDS:
                        slow.add(contender.name)
        finally:
            gc.unfreeze()
        if row.memory == "here":
            for contender in contenders:
                result.add_memory(contender.name, _measure_memory(contender, (rounds + 1) * row.repeat, bench.size))
    return result


def _measure_time(row: Row, contender: Contender, first: int, size: Size) -> Measured:
    prepared = prepare(contender, range(first, first + row.repeat), size)
    gc.collect()
    touch_memory(row.nbytes(size))
    start = time.perf_counter()
    results = [contender.run(value) for value in prepared]
    seconds = time.perf_counter() - start
    check(contender, first, results)
    if row.memory == "told":
        (told,) = results
        return Measured(told.seconds, told.megabytes)
    return Measured(seconds, None)


def _measure_memory(contender: Contender, number: int, size: Size) -> float | None:
    if contender.kind == "floor":
        return None
    (prepared,) = prepare(contender, range(number, number + 1), size)
    rise, result = peak_rise(lambda: contender.run(prepared))
    check(contender, number, [result])
    return rise


def prepare(contender: Contender, numbers: range, size: Size) -> list[Any]:
    prepared = [contender.prepare(k) for k in numbers]
    if contender.output is not None and size.settle:
        os.sync()  # else the disk would still be busy with what the contender before has written
    return prepared


def check(contender: Contender, first: int, results: list[Any]) -> None:
    for i, value in enumerate(results):
        contender.check(first + i, value)
    if contender.output is not None:
        put_away(contender.output)


def touch_memory(nbytes: int) -> None:
    """Use memory and free it again.

    A virtual machine may give memory that it does not use back to its host: to get it again can take ten times as
    long as to read a chunk into it, and would fall on whoever comes first.
    """
    if nbytes:
        np.empty(nbytes, np.uint8).fill(1)


def put_away(output: Path) -> None:
    """Empty the files of an output and move it aside, until all that was made is removed at the end of the run.

    ext4 does not use the number of a removed file again for some minutes, and looks through all of them whenever it
    makes a file nearby: whoever writes next would pay for what was removed, up to fifty times the work itself.
    """
    for folder, _, names in os.walk(output) if output.is_dir() else [(output.parent, [], [output.name])]:
        for name in names:
            os.truncate(os.path.join(folder, name), 0)
    used = output.parent / "used"
    used.mkdir(exist_ok=True)
    output.rename(used / f"{next(_numbers)}")
