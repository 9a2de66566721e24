"""Writing into a store that is there already: one time step after the other."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import xarray as xr
from array_engines import has
from data import Bench, climate
from rows_datasets import Engine, save_engines
from timing import Contender, Row

import zarrds


def _steps(bench: Bench) -> xr.Dataset:
    """More steps than any run appends, of a fifth of the climate dataset's width and height."""
    _, y, x = bench.size.climate
    return bench.once("steps", lambda: climate((bench.size.n_steps, max(y // 5, 2), max(x // 5, 2))))


def _append(bench: Bench, _stack: ExitStack) -> list[Contender]:
    steps = _steps(bench)
    chunks = (min(24, bench.size.n_steps), *steps.t2m.shape[1:])
    begin = 8

    def contender(engine: Engine, options: dict[str, Any]) -> Contender:
        path = bench.folder / f"steps-{engine.name.replace(' ', '-')}{engine.suffix}"
        first = steps.isel(time=slice(0, begin))
        encoding = engine.encoding(first, {"t2m": chunks}) | {
            "time": {"units": "hours since 2019-03-01", "dtype": "i8"}
        }
        engine.save(first, path, encoding)

        def run(step: xr.Dataset) -> None:
            if engine.name.startswith("zarrds"):
                zarrds.save(step, path, append_dim="time", **options)
            else:
                step.to_zarr(path, append_dim="time", consolidated=True)

        def check(k: int, _result: None) -> None:
            with engine.open(path) as ds:
                found = ds.isel(time=begin + k).load()
                xr.testing.assert_equal(found, steps.isel(time=begin + k))

        def step(k: int) -> xr.Dataset:
            return steps.isel(time=slice(begin + k, begin + k + 1))

        return Contender(engine.name, f"{engine.uses}, chunks t2m {chunks}", run, check, prepare=step)

    return [contender(engine, options) for engine, options in save_engines() if engine.suffix == ".zarr"]


def rows() -> list[Row]:
    return [Row("writes", "append-step", "Append one time step", _append, repeat=5)] if has("zarr") else []
