"""Growth with the number of chunks of one array, each a file or each a part of a shard.

The array is two-dimensional and its chunks are small, 16 x 16 float32, so that a million of them fit on a disk. One
process saves it, another one reads it. Single values and boxes are always of chunks that were not read before.
"""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import zarrds
from benchmarks.growth_cost import Figures, cost, in_process, memory

CHUNK = 16
# chunks along each side of the box that is read
_BOX = 4
# selections of each kind that one round makes
_REPEAT = 5
# chunks of a shard, along both dimensions: a thousand
SHARD = (25, 40)
_NAME = "x.zarr"


def measure(folder: Path, size: int, rounds: int) -> Figures:
    return _measure(folder, size, rounds, None)


def measure_sharded(folder: Path, size: int, rounds: int) -> Figures:
    return _measure(folder, size, rounds, SHARD)


def _measure(folder: Path, size: int, rounds: int, shard: tuple[int, int] | None) -> Figures:
    saved = in_process("benchmarks.growth_chunks", "measure_save", str(folder), grid_of(size), rounds, shard)
    return {**in_process("benchmarks.growth_chunks", "measure_reads", str(folder), grid_of(size), rounds), **saved}


def grid_of(size: int) -> tuple[int, int]:
    """The most nearly square grid of so many chunks."""
    rows = next(n for n in range(math.isqrt(size), 0, -1) if size % n == 0)
    if rows < _BOX:
        raise SystemExit(f"{size} chunks make no grid that a box of {_BOX} x {_BOX} of them fits in")
    return rows, size // rows


def values_at(rows: slice, columns: slice) -> np.ndarray[Any, Any]:
    """What the array holds there: exact in float32, smooth along the columns."""
    i, j = np.ogrid[rows, columns]
    return (i * 7919 % 9973).astype("float32") + (j / 16).astype("float32")


def measure_save(folder: str, grid: tuple[int, int], rounds: int, shard: tuple[int, int] | None) -> Figures:
    """Save again and again; the last store stays."""
    path = Path(folder) / _NAME
    height, width = (n * CHUNK for n in grid)
    ds = xr.Dataset({"field": (("y", "x"), values_at(slice(0, height), slice(0, width)))})
    encoding: dict[str, Any] = {"chunks": (CHUNK, CHUNK)}
    if shard is not None:
        encoding["shards"] = (shard[0] * CHUNK, shard[1] * CHUNK)
    corner = ds.isel(y=slice(4 * CHUNK), x=slice(4 * CHUNK))
    zarrds.save(corner, Path(folder) / "warm.zarr", durable=False, encoding={"field": {"chunks": (CHUNK, CHUNK)}})

    def prepare(_number: int) -> None:
        if path.exists():
            shutil.rmtree(path)
            os.sync()  # else the disk would still be busy with what was there before

    def check(_number: int, _result: None) -> bool:
        return (path / "zarr.json").exists()  # the process that reads looks at every value

    took = cost(lambda _: zarrds.save(ds, path, durable=False, encoding={"field": encoding}), check, rounds, prepare)
    n = math.prod(grid)
    return {"save (ms)": took.ms, "a chunk (µs), saved": 1000 * took.ms / n, "save (MB)": took.mb}


def measure_reads(folder: str, grid: tuple[int, int], rounds: int) -> Figures:
    path = Path(folder) / _NAME
    xr.open_dataset(Path(folder) / "warm.zarr", engine="zarrds").load()
    opened = cost(lambda _: xr.open_dataset(path, engine="zarrds"), lambda _, ds: "field" in ds, rounds)
    ds = xr.open_dataset(path, engine="zarrds", cache=False)
    tiles = _Tiles(grid)
    value = cost(
        lambda n: [ds["field"][y.start, x.start].item() for y, x in tiles.of(2 * n)],
        lambda n, found: found == [values_at(y, x)[0, 0] for y, x in tiles.of(2 * n)],
        rounds,
    )
    box = cost(
        lambda n: [ds["field"][y, x].values for y, x in tiles.of(2 * n + 1)],
        lambda n, found: all(map(np.array_equal, found, (values_at(y, x) for y, x in tiles.of(2 * n + 1)))),
        rounds,
    )
    peak = memory("VmHWM")
    whole = cost(lambda _: ds["field"].values, lambda _, found: _is_right(found), rounds)
    n = math.prod(grid)
    return {
        "open (ms)": opened.ms,
        "one value (ms)": value.ms / _REPEAT,
        "box (ms)": box.ms / _REPEAT,
        "peak of these (MB)": peak,
        "read all (ms)": whole.ms,
        "a chunk (µs), read": 1000 * whole.ms / n,
        "read all, besides (MB)": max(0.0, whole.mb - n * CHUNK * CHUNK * 4 / 2**20),
    }


class _Tiles:
    """The grid in tiles of the size of a box, in no order; each call of an operation gets tiles of its own."""

    def __init__(self, grid: tuple[int, int]) -> None:
        self._shape = (grid[0] // _BOX, grid[1] // _BOX)
        self._order = np.random.default_rng(0).permutation(math.prod(self._shape))

    def of(self, call: int) -> list[tuple[slice, slice]]:
        # few chunks, as in tests, do not suffice for all calls: then tiles come again
        numbers = self._order[np.arange(call * _REPEAT, (call + 1) * _REPEAT) % self._order.size]
        side = _BOX * CHUNK
        rows, columns = np.unravel_index(numbers, self._shape)
        return [
            (slice(y * side, (y + 1) * side), slice(x * side, (x + 1) * side))
            for y, x in zip(rows.tolist(), columns.tolist(), strict=True)
        ]


def _is_right(found: np.ndarray[Any, Any]) -> bool:
    height, width = found.shape
    return all(
        np.array_equal(found[y : y + 64], values_at(slice(y, min(y + 64, height)), slice(0, width)))
        for y in range(0, height, 64)
    )
