"""Selections from the cube, open: a value, a series, a map, a box, scattered points, every tenth step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import numpy as np
import xarray as xr

from benchmarks.contenders import Contender, Row
from benchmarks.data import Bench, Size
from benchmarks.sources import CUBE, CUBE_40KB
from benchmarks.work import Selection, Work, numbers, row, select

_DIMENSIONS = ("time", "latitude", "longitude")


def _value(bench: Bench, k: int) -> Selection:
    return dict(zip(_DIMENSIONS, numbers(k, *bench.size.climate), strict=True))


def _series(bench: Bench, k: int) -> Selection:
    return dict(zip(_DIMENSIONS[1:], numbers(k, *bench.size.climate[1:]), strict=True))


def _map(bench: Bench, k: int) -> Selection:
    return {"time": numbers(k, bench.size.climate[0])[0]}


def _box(bench: Bench, k: int) -> Selection:
    width = bench.size.box
    starts = numbers(k, *(n - width + 1 for n in bench.size.climate))
    return {name: slice(start, start + width) for name, start in zip(_DIMENSIONS, starts, strict=True)}


def _points(bench: Bench, k: int) -> Selection:
    random = np.random.default_rng(k)
    return {
        name: xr.DataArray(random.integers(0, n, bench.size.n_points), dims="points")
        for name, n in zip(_DIMENSIONS, bench.size.climate, strict=True)
    }


def _every_tenth(_bench: Bench, k: int) -> Selection:
    return {"time": slice(k % 10, None, 10)}


def _scattered(bench: Bench, stack: ExitStack) -> list[Contender]:
    """Not with netCDF4: it asks the file for each value of the box around the points, which takes minutes."""
    contenders = select(CUBE, "t2m", _points, False, bench, stack)
    return [contender for contender in contenders if contender.name != "netCDF4"]


def _nbytes(size: Size) -> int:
    return 3 * size.climate_nbytes


def rows() -> list[Row]:
    """The rows of this module."""

    def from_cube(place: Callable[[Bench, int], Selection]) -> Work:
        return partial(select, CUBE, "t2m", place, True)

    tenth = partial(select, CUBE_40KB, "t2m", _every_tenth, False)
    return [
        row("one-value", "On the cube, open: one value", from_cube(_value), repeat=20),
        row("point-series", "On it, open: all times at one point", from_cube(_series), repeat=5),
        row("one-map", "On it, open: all points at one time", from_cube(_map), repeat=10),
        row("small-box", "On it, open: a box of 40×40×40", from_cube(_box), repeat=10),
        row("scattered-points", "On it, open: 200 points", _scattered, repeat=3),
        row("every-tenth", "On the cube in chunks of 40 kB, open: every 10th time", tenth, _nbytes),
    ]
