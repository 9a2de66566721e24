"""20 million sorted labels, and 300,000 strings."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

import numpy as np
import xarray as xr

from benchmarks.array_engines import Array
from benchmarks.contenders import Contender, Row
from benchmarks.data import Bench, Size
from benchmarks.dataset_engines import Engine, engines
from benchmarks.sources import LABELS, TEXTS
from benchmarks.work import check_dataset, check_values, contender, numbers, row, save

_N_SELECTED = 1000


def _open_and_slice(bench: Bench, _stack: ExitStack) -> list[Contender]:
    """Open a dataset and select between two of its labels, elsewhere at each call."""
    ds = bench.labels()
    positions, depths = ds.position.values, ds.depth.values

    def start(k: int) -> int:
        return numbers(k, positions.size - _N_SELECTED)[0]

    def ends(k: int) -> slice:
        return slice(int(positions[start(k)]), int(positions[start(k) + _N_SELECTED - 1]))

    def check(k: int, found: Array) -> None:
        check_values(depths[start(k) : start(k) + _N_SELECTED], found)

    def of(engine: Engine) -> Contender:
        path = LABELS.stored(engine, bench)

        def run(between: slice) -> Array:
            with engine.open(path) as opened:
                return np.asarray(opened.depth.sel(position=between).values)

        return contender(engine, LABELS.uses(engine, bench), run, check, ends)

    return [of(engine) for engine in engines()]


def _open_and_load(bench: Bench, _stack: ExitStack) -> list[Contender]:
    """Not opened before, since some engines read strings when they open."""
    expected = bench.texts()

    def check(_k: int, found: xr.Dataset) -> None:
        check_dataset(expected, found)

    def of(engine: Engine) -> Contender:
        path = TEXTS.stored(engine, bench)

        def run(_k: int) -> xr.Dataset:
            return engine.open(path).load()

        return contender(engine, TEXTS.uses(engine, bench), run, check)

    return [of(engine) for engine in engines()]


def _nbytes(size: Size) -> int:
    return 3 * 9 * size.n_labels


def rows() -> list[Row]:
    """The rows of this module."""
    return [
        row("save-labels", "Save 20 million sorted labels", partial(save, [LABELS]), _nbytes),
        row("open-labels", "Open them, and select a slice of 1,000", _open_and_slice, _nbytes),
        row("save-texts", "Save 300,000 strings", partial(save, [TEXTS])),
        row("load-texts", "Open and load them", _open_and_load),
    ]
