"""Real netCDF files, where they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from benchmarks.contenders import Contender, Row
from benchmarks.data import SIZES, Bench, Size, real_files
from benchmarks.sources import Source
from benchmarks.work import Work, load, row, save

_MIB = 2**20


def _read(path: Path) -> xr.Dataset:
    with xr.open_dataset(path, engine="netcdf4") as ds:
        return ds.load()


def _pieces(variable: xr.Variable) -> tuple[int, ...]:
    """Chunks of at most 1 MiB in memory, the longest dimension halved until they are."""
    chunks = list(variable.shape)
    while np.prod(chunks) * variable.dtype.itemsize > _MIB:
        longest = chunks.index(max(chunks))
        chunks[longest] = -(-chunks[longest] // 2)
    return tuple(chunks)


def _source(path: Path) -> Source:
    def get(bench: Bench) -> xr.Dataset:
        return bench.once(path, partial(_read, path))

    return Source(path.stem, get, lambda bench: {n: _pieces(v) for n, v in get(bench).variables.items()})


def _all(work: Callable[[Sequence[Source], Bench, ExitStack], list[Contender]]) -> Work:
    return lambda bench, stack: work([_source(path) for path in real_files(bench.size)], bench, stack)


def _nbytes(_size: Size) -> int:
    return 128 * _MIB


def rows() -> list[Row]:
    """The rows of this module."""
    if not all(real_files(size) for size in SIZES.values()):
        return []
    return [
        row("save-real", "Save three real netCDF files", _all(save), _nbytes),
        row("load-real", "Load them, opened before", _all(load), _nbytes),
    ]
