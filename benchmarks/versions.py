"""Two versions of zarrds beside each other, to see whether anything became slower.

Run from the project's root, with the interpreters of two environments in which they are installed:
``python -m benchmarks.versions /path/to/before/bin/python /path/to/now/bin/python``. The two take turns, each time in
a process of its own; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from statistics import geometric_mean, median

CHILD = Path(__file__).with_name("versions_child.py")


def _measured(python: str, workdir: Path | None, size: str) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory(prefix="zarrds-versions-", dir=workdir) as folder:
        command = [python, str(CHILD), folder, size]
        done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Time two versions of zarrds, in turns.")
    parser.add_argument("before", help="the interpreter of the environment that has the earlier one")
    parser.add_argument("now", help="that of the other")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", choices=["small", "full"], default="full")
    parser.add_argument("--workdir", type=Path, help="where to make folders to work in")
    args = parser.parse_args()
    found: dict[str, list[dict[str, list[float]]]] = {args.before: [], args.now: []}
    for k in range(args.rounds):
        for python in (args.before, args.now)[:: 1 if k % 2 else -1]:
            found[python].append(_measured(python, args.workdir, args.size))
    print("| ms | before | now | now ÷ before | processor time, now ÷ before |")
    print("| --- | ---: | ---: | ---: | ---: |")
    ratios: list[list[float]] = []
    for row in found[args.now][0]:
        before, now = (
            [median(figures[row][clock] for figures in found[python]) for clock in (0, 1)]
            for python in (args.before, args.now)
        )
        ratios.append([after / each for each, after in zip(before, now, strict=True)])
        shown = " | ".join(f"{ratio:.2f}" for ratio in ratios[-1])
        print(f"| {row} | {before[0] * 1000:.3g} | {now[0] * 1000:.3g} | {shown} |")
    means = " and ".join(f"{geometric_mean(each):.2f}" for each in zip(*ratios, strict=True))
    print(f"\nGeometric means of now ÷ before over {len(ratios)} rows, on the clock and of the processor: {means}")


if __name__ == "__main__":
    main()
