"""Requests and milliseconds of what is done to stores in object storage, beside xarray's zarr engine: docs/remote.md.

Run from the project's root: ``python -m benchmarks.requests``. The server is the tests' own, in a process of its own on
loopback; it counts requests, and answers each after a latency of 0, 30 and 100 ms. The libraries take turns; medians.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

if not __package__:  # as a script
    sys.path[0] = str(Path(__file__).parents[1])

from benchmarks.object_libraries import Floor, Library, Zarrds, libraries
from benchmarks.object_rows import Row, rows
from benchmarks.object_server import ObjectServer, serving

T = TypeVar("T")
_SLOW_SECONDS = 1.0  # who takes longer is measured once: a run would take half an hour otherwise


class Cell:
    """What one library took for one row."""

    def __init__(self) -> None:
        self.requests: list[int] = []
        self.seconds: dict[int, list[float]] = {}  # by latency, ms

    def add(self, latency: int, n_requests: int, seconds: float) -> None:
        """Add one measurement."""
        self.requests.append(n_requests)
        self.seconds.setdefault(latency, []).append(seconds)

    def text(self) -> str:
        """Requests; milliseconds at each latency."""
        times = [f"{statistics.median(found) * 1000:.0f}" for _, found in sorted(self.seconds.items())]
        return f"{statistics.median_high(self.requests)}; {' / '.join(times)}"


def main(latencies: Sequence[int], n_rounds: int, wanted: str, only_ours: bool, with_methods: bool) -> None:
    """Print the table, row by row."""
    warnings.filterwarnings(
        "ignore", message="Consolidated metadata is currently not part"
    )  # zarr-python's, at each save
    start = time.perf_counter()
    with serving() as server:
        compared: list[Library] = list(libraries(server.options))[: 1 if only_ours else None]
        floor = Floor(server.options)
        names = [library.name for library in compared] + [floor.name]
        print(f"| requests; ms at {' / '.join(map(str, sorted(latencies)))} ms of latency | {' | '.join(names)} |")
        print("| --- |" + " ---: |" * len(names), flush=True)
        for row in rows(server):
            if wanted in row.name:
                cells = measure(row, compared, floor, server, latencies, n_rounds, with_methods)
                print(f"| {row.name} | {' | '.join(cells.get(name, '–') for name in names)} |", flush=True)
        used = (
            f"{time.process_time():.0f} s of processor time here, {server.seconds_of_processor():.0f} s in the server"
        )
    print(f"\n{time.perf_counter() - start:.0f} s; {used}")


def measure(
    row: Row,
    compared: Sequence[Library],
    floor: Floor,
    server: ObjectServer,
    latencies: Sequence[int],
    n_rounds: int,
    with_methods: bool = False,
) -> dict[str, str]:
    """The cells of a row: each library once to warm up, without latency, then in turns."""
    active = [library for library in compared if row.for_all or isinstance(library, Zarrds)]
    cells = {library.name: Cell() for library in active}
    for library in active:
        _once(row, library, 0, 0, server, None)
    numbers = {library.name: itertools.count(1) for library in active}
    for latency in latencies:
        for turn in range(n_rounds):
            for library in (*active[turn % len(active) :], *active[: turn % len(active)]):
                cell = cells[library.name]
                if max(cell.seconds.get(latency, [0])) < _SLOW_SECONDS:
                    _once(row, library, next(numbers[library.name]), latency, server, cell, with_methods)
            if row.floor is not None:
                _, seconds, counts = _timed(server, latency, partial(row.floor, floor))
                cells.setdefault(floor.name, Cell()).add(latency, counts.total(), seconds)
    return {name: cell.text() for name, cell in cells.items()}


def _once(
    row: Row,
    library: Library,
    number: int,
    latency: int,
    server: ObjectServer,
    cell: Cell | None,
    with_methods: bool = False,
) -> None:
    with library.settings():
        prepared = row.prepare(library, number)
        found, seconds, counts = _timed(server, latency, lambda: row.run(library, prepared))
        row.check(library, number, found)
    if cell is not None:
        cell.add(latency, counts.total(), seconds)
        if with_methods:
            print(library.name, latency, f"{seconds * 1000:.0f}", dict(counts))


def _timed(server: ObjectServer, latency: int, act: Callable[[], T]) -> tuple[T, float, Counter[str]]:
    """What it answers, the seconds that it takes, and its requests by method."""
    server.set_latency(latency / 1000)
    server.requests()
    start = time.perf_counter()
    found = act()
    seconds = time.perf_counter() - start
    counts = server.requests()
    server.set_latency(0)
    return found, seconds, counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "latency", nargs="*", type=int, default=[0, 30, 100], help="of each request, ms; 0 30 100 unless said"
    )
    parser.add_argument("--rounds", type=int, default=3, help="that count; 3 unless said")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose names have it")
    parser.add_argument("--ours", action="store_true", help="zarrds alone")
    parser.add_argument("--methods", action="store_true", help="print each measurement, with its requests by method")
    chosen = parser.parse_args()
    main(chosen.latency, chosen.rounds, chosen.only, chosen.ours, chosen.methods)
