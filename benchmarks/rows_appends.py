"""Writing into a store that is there already: time steps, one after the other."""

from __future__ import annotations

from contextlib import ExitStack

import xarray as xr

from benchmarks.contenders import Contender, Row
from benchmarks.data import Bench, climate
from benchmarks.dataset_engines import Engine, engines
from benchmarks.work import check_dataset, contender, row

_FIRST = 8  # steps that are there before


def _steps(bench: Bench) -> xr.Dataset:
    """Those that are there and those that are appended, of a fifth of the cube's width and height."""
    _, y, x = bench.size.climate
    return bench.once("steps", lambda: climate((_FIRST + bench.size.n_steps, max(y // 5, 2), max(x // 5, 2))))


def _append(bench: Bench, _stack: ExitStack) -> list[Contender]:
    steps = _steps(bench)
    first = steps.isel(time=slice(0, _FIRST))
    pieces = [steps.isel(time=slice(i, i + 1)) for i in range(_FIRST, steps.sizes["time"])]
    chunks = (24, *steps.t2m.shape[1:])

    def of(engine: Engine) -> Contender:
        output = bench.folder / "steps.zarr"
        encoding = engine.encoding(first, {"t2m": chunks, "time": (24,)}, "lz4")
        encoding["time"] |= {"units": "hours since 2019-03-01", "dtype": "i8"}

        def prepare(_k: int) -> None:
            engine.save(first, output, encoding)

        def run(_prepared: None) -> None:
            for piece in pieces:
                engine.save(piece, output, None, append_dim="time")

        def check(_k: int, _result: None) -> None:
            check_dataset(steps, engine.open(output))

        return contender(engine, f"{engine.uses}, chunks t2m {chunks}", run, check, prepare, output)

    # xarray does not append to netCDF files
    return [of(engine) for engine in engines(durable=True) if engine.suffix == ".zarr"]


def rows() -> list[Row]:
    """The rows of this module."""
    return [row("append-20-steps", "Append 20 time steps, one by one", _append)]
