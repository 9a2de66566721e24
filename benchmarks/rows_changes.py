"""What is measured only of versions of zarrds beside each other: packed values, a region, attributes, one element."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

import zarrds
from benchmarks.contenders import Contender, Row
from benchmarks.data import Bench
from benchmarks.dataset_engines import engines
from benchmarks.sources import CUBE, MANY
from benchmarks.work import check_dataset, check_values, contender, numbers, row

_PACKED = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 265.0, "_FillValue": -32768}


def _save_packed(bench: Bench, _stack: ExitStack) -> list[Contender]:
    exact = _PACKED["add_offset"] + np.round((bench.climate().t2m.astype("f8") - _PACKED["add_offset"]) * 100) / 100
    ds = bench.once("packed", lambda: bench.climate().assign(t2m=exact.astype("f4")))
    path = bench.folder / "packed.zarr"

    def run(_k: int) -> None:
        zarrds.save(ds, path, encoding={"t2m": {**_PACKED, "chunks": bench.size.climate_chunks}}, durable=False)

    def check(_k: int, _result: None) -> None:
        with xr.open_dataset(path, engine="zarrds") as found:
            np.testing.assert_allclose(found.t2m.values, ds.t2m.values, atol=0.006)

    return [contender(engines()[0], "int16", run, check, output=path)]


def _change(
    change: Callable[[Bench, Any, int], object], source: Any, bench: Bench, _stack: ExitStack
) -> list[Contender]:
    path = source.stored(engines()[0], bench)

    def check(_k: int, _result: object) -> None:
        with xr.open_dataset(path, engine="zarrds") as found:
            check_dataset(source.get(bench), found)

    return [contender(engines()[0], "", partial(change, bench, path), check)]


def _region(bench: Bench, path: Any, k: int) -> None:
    (start,) = numbers(k, bench.size.climate[0] - 10)
    part = bench.climate()[["t2m"]].drop_vars(["time", "latitude", "longitude"]).isel(time=slice(start, start + 10))
    zarrds.save(part, path, region={"time": slice(start, start + 10)}, durable=False)


def _attributes(_bench: Bench, path: Any, k: int) -> None:
    zarrds.update_attrs(path, {"call": k})


def _elements(bench: Bench, _stack: ExitStack) -> list[Contender]:
    """Of an array that is opened for each."""
    path = CUBE.stored(engines()[0], bench) / "t2m"
    values = bench.climate().t2m.values

    def place(k: int) -> tuple[int, ...]:
        return tuple(numbers(k, *values.shape))

    def run(key: tuple[int, ...]) -> Any:
        return zarrds.open_array(path)[key]

    def check(k: int, found: Any) -> None:
        check_values(np.asarray(values[place(k)]), np.asarray(found))

    return [contender(engines()[0], "", run, check, place)]


def rows() -> list[Row]:
    """The rows of this module."""
    return [
        row("save-packed", "Save the cube as int16", _save_packed),
        row("region", "Write ten steps into the cube, at any place", partial(_change, _region, CUBE), repeat=5),
        row("attributes", "Change one attribute of 500 variables", partial(_change, _attributes, MANY), repeat=5),
        row("one-element", "Open the cube's array and read one element", _elements, repeat=50),
    ]
