"""Growth with the number of variables: small ones, 20 x 30 float64 with a time each, that all get another step.

Each operation runs in a process of its own, so that its peak of memory is its own as well.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import xarray as xr

import zarrds
from benchmarks.growth_cost import Figures, cost, in_process

STEPS = 20
WIDTH = 30
# a chunk is never filled, so that all appends are alike
_CHUNK_STEPS = 100
_NAME = "x.zarr"


def measure(folder: Path, size: int, rounds: int) -> Figures:
    return {
        **in_process("benchmarks.growth_variables", "measure_save", str(folder), size, rounds),
        **in_process("benchmarks.growth_variables", "measure_reads", str(folder), size, rounds),
        **in_process("benchmarks.growth_variables", "measure_append", str(folder), size, rounds),
    }


def dataset(size: int, first: int = 0, n_steps: int = STEPS) -> xr.Dataset:
    """`size` variables, from the step `first` on."""
    steps = np.arange(first, first + n_steps)
    base = steps[:, np.newaxis] * 1000.0 + np.arange(WIDTH)
    encoding = {"chunks": (_CHUNK_STEPS, WIDTH)}
    variables = {f"v{k}": xr.Variable(("time", "x"), base + k / 8, encoding=encoding) for k in range(size)}
    return xr.Dataset(variables, {"time": steps})


def warm_up(folder: str) -> Path:
    """Do all of it once with three variables."""
    path = Path(folder) / "warm.zarr"
    zarrds.save(dataset(3), path, mode="w", durable=False)
    zarrds.save(dataset(3, STEPS, 1), path, append_dim="time", durable=False)
    xr.open_dataset(path, engine="zarrds").load()
    return path


def measure_save(folder: str, size: int, rounds: int) -> Figures:
    """Save again and again; the last store stays."""
    path, ds = Path(folder) / _NAME, dataset(size)
    warm_up(folder)

    def prepare(_number: int) -> None:
        if path.exists():
            shutil.rmtree(path)
            os.sync()

    took = cost(
        lambda _: zarrds.save(ds, path, durable=False),
        lambda _number, _result: xr.open_dataset(path, engine="zarrds").load().identical(ds),
        rounds,
        prepare,
    )
    return {"save (ms)": took.ms, "save (MB)": took.mb}


def measure_reads(folder: str, size: int, rounds: int) -> Figures:
    path, wanted = Path(folder) / _NAME, dataset(size)
    warm_up(folder)
    opened = cost(lambda _: xr.open_dataset(path, engine="zarrds"), lambda _, ds: len(ds.variables) == size + 1, rounds)
    fresh: list[xr.Dataset] = []
    loaded = cost(
        lambda _: fresh[-1].load(),
        lambda _, ds: ds.identical(wanted),
        rounds,
        lambda _: fresh.__setitem__(slice(None), [xr.open_dataset(path, engine="zarrds")]),
    )
    value, in_memory = (
        cost(
            lambda n, ds=ds: ds[f"v{n % size}"][n % STEPS, n % WIDTH].item(),
            lambda n, found: found == n % STEPS * 1000.0 + n % WIDTH + n % size / 8,
            10 * rounds,
        )
        for ds in (xr.open_dataset(path, engine="zarrds", cache=False), wanted)
    )
    return {
        "open (ms)": opened.ms,
        "open (MB)": opened.mb,
        "load (ms)": loaded.ms,
        "load (MB)": loaded.mb,
        "one value (ms)": value.ms,
        "the same in memory (ms)": in_memory.ms,
    }


def measure_append(folder: str, size: int, rounds: int) -> Figures:
    """Append step after step to the store that was saved."""
    path = Path(folder) / _NAME
    steps = [dataset(size, STEPS + n, 1) for n in range(rounds + 1)]
    warm_up(folder)

    def check(number: int, _result: None) -> bool:
        found = xr.open_dataset(path, engine="zarrds").load()
        return found.identical(dataset(size, 0, STEPS + number + 1))

    took = cost(lambda n: zarrds.save(steps[n], path, append_dim="time", durable=False), check, rounds)
    return {"append a step (ms)": took.ms, "append a step (MB)": took.mb}
