"""Two versions of zarrds beside each other, to see whether anything became slower.

Measured are the rows of `benchmarks.compare` and of `benchmarks.rows_changes`, of zarrds alone.

Run from the project's root, with the interpreters of two environments in which they are installed:
``python -m benchmarks.versions /path/to/before/bin/python /path/to/now/bin/python``. For each row each has a process,
and the two take turns, round by round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import geometric_mean, median

from benchmarks.compare import all_rows
from benchmarks.rows_changes import rows as more_rows

CHILD = Path(__file__).with_name("versions_child.py")

Figures = list[tuple[float, float]]  # ms of each round, on the clock and of the processor


@contextmanager
def _child(python: str, row: str, workdir: Path | None, size: str) -> Iterator[subprocess.Popen[str]]:
    with tempfile.TemporaryDirectory(prefix="zarrds-versions-", dir=workdir) as folder:
        command = [python, str(CHILD), row, size, folder]
        with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            yield child
            with suppress(BrokenPipeError):  # it has said that it cannot, and gone
                child.communicate()


def _next_round(child: subprocess.Popen[str]) -> tuple[float, float] | None:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write("\n")
        child.stdin.flush()
    except BrokenPipeError:  # it has said already that it cannot
        pass
    figures: tuple[float, float] | None = json.loads(child.stdout.readline())
    return figures


def _in_turn(pythons: list[str], row: str, workdir: Path | None, size: str, rounds: int) -> list[Figures] | None:
    """All rounds of each version, after one to warm up; None if one of them cannot do the row."""
    found: list[Figures] = [[] for _ in pythons]
    with ExitStack() as stack:
        children = [stack.enter_context(_child(python, row, workdir, size)) for python in pythons]
        for k in range(rounds + 1):
            for which in range(len(pythons))[:: 1 if k % 2 else -1]:
                figures = _next_round(children[which])
                if figures is None:
                    return None
                if k:
                    found[which].append(figures)
    return found


def main() -> None:
    rows = [row.name for row in [*all_rows(), *more_rows()] if row.memory != "told"]
    parser = argparse.ArgumentParser(description="Time two versions of zarrds, in turns.")
    parser.add_argument("before", help="the interpreter of the environment that has the earlier one")
    parser.add_argument("now", help="that of the other")
    parser.add_argument("--only", action="append", metavar="ROW", choices=rows)
    parser.add_argument("--rounds", type=int, default=15, help="that count, after one to warm up (15)")
    parser.add_argument("--least", action="store_true", help="show the least and not the median: on a busy machine")
    parser.add_argument("--size", choices=["small", "full"], default="full")
    parser.add_argument("--workdir", type=Path, help="where to make folders to work in")
    args = parser.parse_args()
    middle = min if args.least else median
    print("| ms | before | now | now ÷ before | processor time, now ÷ before |")
    print("| --- | ---: | ---: | ---: | ---: |")
    ratios: list[list[float]] = []
    for row in rows if args.only is None else args.only:
        found = _in_turn([args.before, args.now], row, args.workdir, args.size, args.rounds)
        if found is None:
            print(f"| {row} | – | – | – | – |", flush=True)
            continue
        before, now = ([middle(clocks) for clocks in zip(*figures, strict=True)] for figures in found)
        ratios.append([after / each for each, after in zip(before, now, strict=True)])
        shown = " | ".join(f"{ratio:.2f}" for ratio in ratios[-1])
        print(f"| {row} | {before[0]:.3g} | {now[0]:.3g} | {shown} |", flush=True)
    means = " and ".join(f"{geometric_mean(each):.2f}" for each in zip(*ratios, strict=True))
    print(f"\nGeometric means of now ÷ before over {len(ratios)} rows, on the clock and of the processor: {means}")


if __name__ == "__main__":
    main()
