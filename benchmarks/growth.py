"""How time and memory grow: with chunks, variables, threads and labels.

Usage: ``python -m benchmarks.growth [--only FAMILY]... [--chunks N]... [--rounds N] [--workdir DIR] [--json FILE]``.
All families at their full sizes take 5 GB of disk, 1.1 million inodes, 4 GB of memory and most of an hour;
docs/benchmarks.md holds the tables.

What is measured runs in processes of its own, after a warm-up, and every result is checked outside of the timed part.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if not __package__:  # as a script
    sys.path[0] = str(Path(__file__).parents[1])

from benchmarks import growth_chunks, growth_labels, growth_threads, growth_variables
from benchmarks.growth_cost import Figures
from benchmarks.growth_fit import growth_of, growth_table, speedup_of, speedup_table


@dataclass(frozen=True)
class Family:
    """What grows.

    `measure` is given an empty folder, one size and the number of rounds.
    """

    unit: str
    sizes: tuple[int, ...]
    measure: Callable[[Path, int, int], Figures]


GROWING = {
    "chunks": Family("chunks", (10**3, 10**4, 10**5, 10**6), growth_chunks.measure),
    "shards": Family("chunks, 1,000 a shard", (10**3, 10**4, 10**5, 10**6), growth_chunks.measure_sharded),
    "variables": Family("variables", (10, 10**2, 10**3, 10**4), growth_variables.measure),
    "labels": Family("labels", (10**6, 10**7, 10**8, 10**9), growth_labels.measure),
}
THREADS = (1, 2)
NAMES = ("chunks", "shards", "variables", "threads", "labels")


def grow(name: str, sizes: Sequence[int], rounds: int, workdir: Path | None) -> dict[int, Figures]:
    """The figures of each size of one family."""
    results: dict[int, Figures] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="zarrds-growth-", dir=workdir) as folder:
            began = time.perf_counter()
            results[size] = GROWING[name].measure(Path(folder), size, rounds)
            took = time.perf_counter() - began
        print(f"{name}: {size:,} in {took:.1f} s: {_in_line(results[size])}", file=sys.stderr, flush=True)
    return results


def _in_line(figures: Figures) -> str:
    return ", ".join(f"{column} {value:.4g}" for column, value in figures.items())


def in_threads(counts: Sequence[int], rounds: int, workdir: Path | None, megabytes: int) -> dict[int, Figures]:
    with tempfile.TemporaryDirectory(prefix="zarrds-growth-", dir=workdir) as folder:
        return growth_threads.measure_all(Path(folder), counts, rounds, megabytes)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", action="append", choices=NAMES, help="the families to measure; else those whose sizes are given"
    )
    for name in NAMES:
        sizes = GROWING[name].sizes if name in GROWING else THREADS
        parser.add_argument(
            f"--{name}",
            type=int,
            action="append",
            metavar="N",
            help=f"a size; may be given more than once ({', '.join(map(str, sizes))})",
        )
    parser.add_argument("--megabytes", type=int, default=200, metavar="N", help="of the array of the threads (200)")
    parser.add_argument("--rounds", type=int, default=5, help="that count, after one to warm up (5)")
    parser.add_argument("--workdir", type=Path, metavar="DIR", help="where to make folders to work in")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all figures")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    chosen = options.only or [name for name in NAMES if getattr(options, name)] or NAMES
    document: dict[str, Any] = {}
    for name in dict.fromkeys(chosen):
        sizes = sorted(set(getattr(options, name) or (GROWING[name].sizes if name in GROWING else THREADS)))
        if name == "threads":
            results = in_threads(sizes, options.rounds, options.workdir, options.megabytes)
            document[name] = {"figures": results, "speedup": speedup_of(results)}
            print(speedup_table("threads", results), end="\n\n", flush=True)
        else:
            results = grow(name, sizes, options.rounds, options.workdir)
            growth = {column: {**asdict(f), "word": f.word} for column, f in growth_of(results).items()}
            document[name] = {"figures": results, "growth": growth}
            print(growth_table(GROWING[name].unit, results), end="\n\n", flush=True)
        if options.json:
            options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
