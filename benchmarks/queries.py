"""Questions to 2 GB of temperatures and to a table of variants, by statistics, by scans, and as Parquet and as VCF.

Usage: ``python -m benchmarks.queries [--only cube|genomes] [--gigabytes N] [--variants N] [--rounds N]
[--workdir DIR]``. All ways of a row are asked in turn, in this one process (the tools of genomes in processes of their
own), and their answers are held against each other. Processor time counts all threads, and processes that were waited
for: other work on the machine disturbs it least.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

if not __package__:  # as a script
    sys.path[0] = str(Path(__file__).parents[1])

from benchmarks import queries_cube, queries_genomes
from benchmarks.queries_ways import Question

# who takes longer than this is asked in fewer rounds
_SLOW_SECONDS = 5.0
_ROUNDS_IF_SLOW = 2


def _processor_seconds() -> float:
    others = os.times()
    return time.process_time() + others.children_user + others.children_system


def measured(question: Question, rounds: int) -> dict[str, tuple[float, float]]:
    """The medians of each way's time and processor time in seconds.

    Raises `AssertionError` if one of them answers otherwise than the first.
    """
    times: dict[str, list[tuple[float, float]]] = {way.name: [] for way in question.ways}
    slow: set[str] = set()
    expected = None
    for number in range(rounds + 1):  # the first is to warm up
        turn = number % len(question.ways)
        for way in (*question.ways[turn:], *question.ways[:turn]):
            if way.name in slow and number > _ROUNDS_IF_SLOW:
                continue
            gc.collect()
            begin, used = time.perf_counter(), _processor_seconds()
            answer = way.ask()
            seconds, used = time.perf_counter() - begin, _processor_seconds() - used
            expected = answer if expected is None else expected
            if answer != expected:
                raise AssertionError(f"{question.name}: {way.name} says {answer!r:.200}, not {expected!r:.200}")
            if number:
                times[way.name].append((seconds, used))
            elif seconds > _SLOW_SECONDS:
                slow.add(way.name)
    return {name: (median(a for a, _ in each), median(b for _, b in each)) for name, each in times.items()}


def table(question: Question, found: dict[str, tuple[float, float]]) -> str:
    """A row a way, with its times by those of the first."""
    first = found[question.ways[0].name]
    lines = [
        f"| {question.name} | time (ms) | ÷ zarrds | processor time (ms) | ÷ zarrds |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, figures in found.items():
        cells = (f"{each * 1000:.0f} | {each / one:.2f}" for each, one in zip(figures, first, strict=True))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the data, ask, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--variants", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workdir", type=Path)
    parser.add_argument("--only", action="append", choices=["cube", "genomes"])
    options = parser.parse_args(arguments)
    families = options.only or ["cube", "genomes"]
    with tempfile.TemporaryDirectory(prefix="zarrds-queries-", dir=options.workdir) as name:
        folder = Path(name)
        questions = queries_cube.questions(folder, options.gigabytes) if "cube" in families else []
        questions += queries_genomes.questions(folder, options.variants) if "genomes" in families else []
        for question in questions:
            print(f"{table(question, measured(question, options.rounds))}\n", flush=True)


if __name__ == "__main__":
    main()
