"""Growth with the number of labels.

Labels are made chunk by chunk, so that they never are in memory together. The process that measures opens the store
once to warm up, and every selection is made of labels that were not asked for before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import xarray as xr

import zarrds
from benchmarks.growth_cost import Figures, in_process, memory

CHUNK = 16_384
# so many labels are made at once
_PART = CHUNK * 64


def measure(folder: Path, size: int, rounds: int) -> Figures:
    path = folder / "x.zarr"
    make(path, size)
    figures: Figures = in_process("benchmarks.growth_labels", "measure_reads", str(path), size, rounds)
    return figures


def labels_at(positions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The label at each position: increasing, sparse, and in no arithmetic sequence."""
    return positions * 10 + (positions * 7919 % 9973) % 9


def make(path: Path, size: int) -> None:
    """A store of `size` labels, with a variable along them that was never written."""
    root = zarrds.create_group(path)
    array = root.create_array("position", shape=(size,), dtype="int64", chunks=(CHUNK,), dimension_names=["position"])
    for start in range(0, size, _PART):
        stop = min(start + _PART, size)
        array[start:stop] = labels_at(np.arange(start, stop))
    root.create_array("depth", shape=(size,), dtype="int16", chunks=(10 * CHUNK,), dimension_names=["position"])
    zarrds.index(path, "position", durable=False)


def operations(size: int, n: int) -> dict[str, Callable[[xr.Dataset], Any]]:
    """What is done with an open dataset; `n` tells one round from the others."""
    random = np.random.default_rng([size, n])
    at = labels_at(random.integers(0, size, 1000))
    start = int(random.integers(0, size - 10_000))
    ends = [int(labels_at(np.array(p))) for p in (start, start + 9_999)]
    return {
        "one label (ms)": lambda ds: ds.sel(position=int(at[0])).position.item() == at[0],
        "slice of 10,000 (ms)": lambda ds: ds.sel(position=slice(*ends)).sizes["position"] == 10_000,
        "1,000 labels (ms)": lambda ds: bool((ds.sel(position=at).position.values == at).all()),
        "nearest of 1,000 (ms)": lambda ds: ds.sel(position=at + 1, method="nearest").sizes["position"] == 1000,
    }


def measure_reads(path: str, size: int, rounds: int) -> Figures:
    """Medians of the rounds, and the peak of this process."""
    xr.open_dataset(path, engine="zarrds", index="lazy").sel(position=0, method="nearest")
    times: dict[str, list[float]] = {}
    for n in range(rounds):
        began = time.perf_counter()
        ds = xr.open_dataset(path, engine="zarrds", index="lazy")
        times.setdefault("open (ms)", []).append(time.perf_counter() - began)
        for name, operation in operations(size, n).items():
            began = time.perf_counter()
            is_right = operation(ds)
            times.setdefault(name, []).append(time.perf_counter() - began)
            if not is_right:
                raise AssertionError(f"{name} of {size} labels is wrong")
    found = {name: 1000 * median(values) for name, values in times.items()}
    return {**found, "peak (MB)": memory("VmHWM")}
