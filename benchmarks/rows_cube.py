"""A cube of temperatures, 185 MB: save it, open it, load it, with large and with small chunks."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from benchmarks.contenders import Contender, Row
from benchmarks.data import Bench, Size
from benchmarks.dataset_engines import engines
from benchmarks.floors import decode_floor
from benchmarks.sources import CUBE, CUBE_40KB, Source
from benchmarks.work import load, open_, row, save


def _load(source: Source, bench: Bench, stack: ExitStack) -> list[Contender]:
    path = source.stored(engines()[0], bench) / "t2m"
    floor = decode_floor(bench.climate().t2m.values, path, source.chunks(bench)["t2m"])
    return [*load([source], bench, stack), floor]


def _nbytes(size: Size) -> int:
    return 3 * size.climate_nbytes


def rows() -> list[Row]:
    """The rows of this module."""
    return [
        row("save-cube", "Save a 185 MB dataset, chunks of 1.5 MB", partial(save, [CUBE]), _nbytes),
        row("load-cube", "Load it, opened before", partial(_load, CUBE), _nbytes),
        row("save-cube-40kB", "Save it in chunks of 40 kB", partial(save, [CUBE_40KB]), _nbytes),
        row("load-cube-40kB", "Load it from those, opened before", partial(_load, CUBE_40KB), _nbytes),
        row("open-cube", "Open it, chunks of 1.5 MB", partial(open_, CUBE), repeat=5),
    ]
