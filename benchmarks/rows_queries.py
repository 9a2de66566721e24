"""Questions to the cube of temperatures: from statistics of its chunks, and by a scan of all of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

import zarrds
from benchmarks.contenders import Contender, Row
from benchmarks.data import Bench, Size
from benchmarks.dataset_engines import Engine, engines
from benchmarks.sources import CUBE
from benchmarks.work import contender, row

Scan = Callable[[xr.Dataset], Any]
Ask = Callable[[Any], Any]


def _threshold(bench: Bench) -> float:
    """So high that some ten elements are above it."""
    values = bench.climate().t2m.values.ravel()
    return float(np.partition(values, -10)[-10])


def _ask(
    ask: Callable[[Bench], Ask], scan: Callable[[Bench], Scan], bench: Bench, _stack: ExitStack
) -> list[Contender]:
    """Open and answer, by statistics; and by each engine, which reads all."""
    expected = scan(bench)(bench.climate())

    def check(_k: int, found: Any) -> None:
        if found != expected:
            raise AssertionError(f"the answer is {expected}, not {found}")

    def of(engine: Engine) -> Contender:
        path, work = CUBE.stored(engine, bench), scan(bench)

        def run(_k: int) -> Any:
            with engine.open(path) as opened:
                return work(opened)

        return contender(engine, CUBE.uses(engine, bench), run, check)

    ours = engines()[0]
    path = CUBE.stored(ours, bench)
    bench.once("statistics of the cube", lambda: zarrds.index(path, "t2m"))
    asked = ask(bench)
    by_statistics = Contender(
        f"{ours.name} by statistics", CUBE.uses(ours, bench), lambda _k: asked(path), check, kind=ours.kind
    )
    return [by_statistics, *map(of, engines())]


def _count(bench: Bench) -> Ask:
    query = f"t2m > {_threshold(bench)!r}"
    return lambda path: zarrds.find(path, query, count=True)


def _scan_count(bench: Bench) -> Scan:
    threshold = np.float32(_threshold(bench))
    return lambda ds: int(np.count_nonzero(ds.t2m.values > threshold))


def _worst(_bench: Bench) -> Ask:
    return lambda path: zarrds.find(path, "t2m - t2m < 0.5", count=True)  # whose bounds tell nothing


def _scan_worst(_bench: Bench) -> Scan:
    def scan(ds: xr.Dataset) -> int:
        values = ds.t2m.values
        return int(np.count_nonzero(values - values < 0.5))

    return scan


def _scan_largest(_bench: Bench) -> Scan:
    return lambda ds: float(ds.t2m.values.max())


def _nbytes(size: Size) -> int:
    return 3 * size.climate_nbytes


def rows() -> list[Row]:
    """The rows of this module."""
    largest = partial(_ask, lambda _: lambda path: float(zarrds.aggregate(path, "t2m", "max")))
    return [
        row("find", "Open it, and count what is above a threshold", partial(_ask, _count, _scan_count), _nbytes),
        row(
            "find-worst",
            "Count what holds of all, where no chunk can be left out",
            partial(_ask, _worst, _scan_worst),
            _nbytes,
        ),
        row("largest", "Open it, and find the largest", partial(largest, _scan_largest), _nbytes),
    ]
