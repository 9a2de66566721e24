"""Reading and writing all of an array with one thread and with several, in turn, in one process.

The chunks have 1 MiB (64 x 64 x 64 float32) and lie side by side in two dimensions, so that every one is scattered.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import zarrds
from benchmarks.growth_cost import Figures, in_process, of_calls, once

CHUNK = 64


def measure_all(folder: Path, counts: Sequence[int], rounds: int, megabytes: int) -> dict[int, Figures]:
    """The figures of each number of threads."""
    found = in_process("benchmarks.growth_threads", "measure", str(folder), list(counts), rounds, megabytes)
    return dict(zip(counts, found, strict=True))


def cube(megabytes: int) -> np.ndarray[Any, Any]:
    """Smooth waves with noise, of which LZ4 saves nearly half."""
    n = max(1, megabytes // 4) * CHUNK
    t, y, x = np.ogrid[:n, : 2 * CHUNK, : 2 * CHUNK]
    waves = (280 + 8 * np.sin(t / 30.0) + 6 * np.cos(y / 40.0) * np.sin(x / 25.0)).astype("float32")
    noise = np.random.default_rng(0).integers(-16, 17, waves.shape, dtype="int8")
    return np.round(waves * 64 + noise) / np.float32(64)


def measure(folder: str, counts: list[int], rounds: int, megabytes: int) -> list[Figures]:
    values = cube(megabytes)
    held = values.nbytes / 2**20
    ds = xr.Dataset({"cube": (("t", "y", "x"), values)})
    read_from, written = Path(folder) / "read.zarr", Path(folder) / "written.zarr"
    encoding = {"cube": {"chunks": (CHUNK, CHUNK, CHUNK)}}
    zarrds.save(ds, read_from, durable=False, encoding=encoding)

    def read(workers: int) -> np.ndarray[Any, Any]:
        found = xr.open_dataset(read_from, engine="zarrds", workers=workers)["cube"].values
        return np.asarray(found)

    def write(workers: int) -> None:
        zarrds.save(ds, written, durable=False, encoding=encoding, workers=workers)

    def is_written(_result: None) -> bool:
        return np.array_equal(xr.open_dataset(written, engine="zarrds")["cube"].values, values)

    reads: dict[int, list[tuple[float, float]]] = {n: [] for n in counts}
    writes: dict[int, list[tuple[float, float]]] = {n: [] for n in counts}
    for number in range(rounds + 1):
        turn = number % len(counts)
        for n in counts[turn:] + counts[:turn]:
            reads[n].append(once(lambda n=n: read(n), lambda found: np.array_equal(found, values)))
            if written.exists():
                shutil.rmtree(written)
            os.sync()
            writes[n].append(once(lambda n=n: write(n), is_written))
    return [
        {
            "read all (ms)": of_calls(reads[n]).ms,
            "save (ms)": of_calls(writes[n]).ms,
            "read all, besides (MB)": max(0.0, of_calls(reads[n]).mb - held),
            "save (MB)": of_calls(writes[n]).mb,
        }
        for n in counts
    ]
