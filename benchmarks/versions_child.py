"""What users do most, timed with the zarrds of this interpreter: ``PYTHON benchmarks/versions_child.py FOLDER [SIZE]``.

It is run as a file and imports nothing of the project beside it, so that it measures what is installed, of whatever
version. Prints for each row the least of some rounds, in seconds: on the clock, and of the processor.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import zarrds

ROUNDS = 3


PACKED = {"dtype": "i2", "scale_factor": 0.1, "add_offset": 280.0, "_FillValue": -32768}


def cube(n_steps: int, size: int, first: int = 0, **encoding: Any) -> xr.Dataset:
    """Temperatures of one digit, of shape ``(n_steps, size, size)``."""
    noise = np.random.default_rng(first).normal(0, 3, (n_steps, size, size))
    values = np.round(280 + 9 * np.sin(np.arange(n_steps) / 24)[:, None, None] + noise, 1).astype("f4")
    time_ = pd.date_range("2000-01-01", periods=n_steps, freq="h") + pd.Timedelta(hours=first)
    ds = xr.Dataset({"t2m": (("time", "lat", "lon"), values)}, {"time": time_})
    ds["t2m"].encoding = encoding
    return ds.assign_coords(lat=np.linspace(-90, 90, size), lon=np.linspace(0, 359, size))


def opened(path: Path) -> xr.Dataset:
    """A store, lazily."""
    return xr.open_dataset(path, engine="zarrds")


def best(act: Callable[[int], object]) -> tuple[float, float]:
    """Seconds of the quickest of some rounds, after one to warm up: on the clock, and of the processor."""
    found = []
    for k in range(-1, ROUNDS):
        start, worked = time.perf_counter(), time.process_time()
        act(k)
        found.append((time.perf_counter() - start, time.process_time() - worked))
    clock, processor = zip(*found[1:], strict=True)
    return min(clock), min(processor)


def rows(folder: Path, n_steps: int, size: int) -> dict[str, tuple[float, float]]:
    """The figures, by row."""
    large = cube(n_steps, size, chunks=(100, 72, 72))
    small = cube(n_steps // 2, size, chunks=(25, 20, 20))
    packed = cube(n_steps // 2, size)
    many = xr.Dataset({f"v{i}": ("x", np.arange(1000.0), {"units": "K"}) for i in range(200)}, {"x": np.arange(1000)})
    steps = [cube(1, size, n_steps + i) for i in range(4 * (ROUNDS + 1))]
    part = cube(10, size)[["t2m"]].drop_vars(["time", "lat", "lon"])
    store, fine, several, grown = (folder / f"{name}.zarr" for name in ("large", "small", "many", "grown"))
    for ds, path in ((large, store), (small, fine), (many, several), (large.isel(time=slice(0, 50)), grown)):
        zarrds.save(ds, path, durable=False)

    def save(ds: xr.Dataset, encoding: Any = None) -> Callable[[int], object]:
        return lambda k: zarrds.save(ds, folder / f"new-{id(ds)}-{k}.zarr", encoding=encoding, durable=False)

    def append(k: int) -> None:
        for step in steps[4 * (k + 1) : 4 * (k + 2)]:
            zarrds.save(step, grown, append_dim="time", durable=False)

    def write_array(k: int) -> None:
        array = zarrds.create_array(folder / f"array-{k}.zarr", shape=large.t2m.shape, dtype="f4", chunks=(25, 24, 24))
        array[...] = large.t2m.values

    written = folder / "array-0.zarr"
    acts: dict[str, Callable[[int], object]] = {
        "save": save(large),
        "save, small chunks": save(small),
        "save, packed": save(packed, {"t2m": PACKED}),
        "save, 200 variables": save(many),
        "append four steps": append,
        "region": lambda k: zarrds.save(part, store, region={"time": slice(20, 30)}, durable=False),
        "attributes": lambda k: zarrds.update_attrs(several, {"k": k}),
        "open": lambda k: [opened(store) for _ in range(10)],
        "open, 200 variables": lambda k: opened(several),
        "load": lambda k: opened(store).load(),
        "load, small chunks": lambda k: opened(fine).load(),
        "one map": lambda k: opened(store).t2m[7].load(),
        "series": lambda k: opened(store).t2m[:, 5, 5].load(),
        "a box again and again": (lambda ds: lambda k: [ds.t2m[3:20, 5:30, 5:30].load() for _ in range(50)])(
            opened(store)
        ),
        "write an array": write_array,
        "read an array": lambda k: zarrds.open_array(written)[...],
        "one element of an array": lambda k: [zarrds.open_array(written)[1, 2, 3] for _ in range(100)],
    }
    return {name: best(act) for name, act in acts.items()}


if __name__ == "__main__":
    is_small = sys.argv[2:] == ["small"]
    print(json.dumps(rows(Path(sys.argv[1]), 100 if is_small else 1000, 24 if is_small else 144)))
