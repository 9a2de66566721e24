"""Dask: the mean over time of the whole cube, in threads, and in processes of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.array_engines import Array, has
from benchmarks.contenders import Contender, Row
from benchmarks.data import Bench, Size
from benchmarks.dataset_engines import Engine, engines
from benchmarks.sources import CUBE
from benchmarks.work import Work, contender, row

_N_WORKERS = 4


def _mean(scheduler: Callable[[ExitStack], Any]) -> Work:
    def contenders(bench: Bench, stack: ExitStack) -> list[Contender]:
        expected = bench.once("mean", lambda: bench.climate().t2m.values.mean(axis=0, dtype=np.float64))
        chosen = scheduler(stack)

        def check(_k: int, found: Array) -> None:
            # float32 is summed in another order; temperatures are some 300 K
            if found.shape != expected.shape or np.abs(found - expected).max() > 0.01:
                raise AssertionError("the mean is wrong")

        def of(engine: Engine) -> Contender:
            path = CUBE.stored(engine, bench)

            def run(_k: int) -> Array:
                with engine.open(path, chunks={}) as ds:
                    return np.asarray(ds.t2m.mean("time").compute(scheduler=chosen).values)

            return contender(engine, CUBE.uses(engine, bench), run, check)

        return [of(engine) for engine in engines()]

    return contenders


def _threads(_stack: ExitStack) -> str:
    return "threads"


def _cluster(stack: ExitStack) -> Any:
    from distributed import Client, LocalCluster

    cluster = stack.enter_context(
        LocalCluster(n_workers=_N_WORKERS, threads_per_worker=1, processes=True, dashboard_address=None)
    )
    return stack.enter_context(Client(cluster, set_as_default=False))


def _nbytes(size: Size) -> int:
    return 2 * size.climate_nbytes


def rows() -> list[Row]:
    """The rows of this module."""
    found = []
    if has("dask"):
        found.append(row("dask-mean", "Open the cube with dask, mean over time in threads", _mean(_threads), _nbytes))
    if has("distributed"):
        about = f"The same from {_N_WORKERS} worker processes"
        found.append(Row("datasets", "distributed-mean", about, _mean(_cluster), nbytes=_nbytes, memory="unknown"))
    return found
