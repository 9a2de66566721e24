"""How often a store is called: each call is a look at a disk or a request, and they creep up unseen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds import LocalStore

CALLS: Counter[str] = Counter()
METHODS = (
    "get get_at_most get_range set identity lock delete delete_prefix list_prefix list_children prepare stage publish "
    "discard stage_changes with_scratch link apply_changes recover clean"
).split()


def counted(name: str) -> Callable[..., Any]:
    real = getattr(LocalStore, name)

    def call(self: LocalStore, *args: Any, **options: Any) -> Any:
        CALLS[name] += 1
        return real(self, *args, **options)

    return call


class CountingStore(LocalStore):
    """A store that counts what it is asked; not the kernel's, which is asked less."""


for name in METHODS:
    setattr(CountingStore, name, counted(name))


def cube(first_day: int) -> xr.Dataset:
    """Two variables and three coordinates."""
    times = pd.date_range("2000-01-01", periods=4) + pd.Timedelta(days=first_day)
    data = {name: (("time", "lat", "lon"), np.ones((4, 3, 5))) for name in ("t2m", "tp")}
    return xr.Dataset(data, {"time": times, "lat": np.arange(3.0), "lon": np.arange(5.0)})


def acts(store: LocalStore, zarr_format: Literal[2, 3]) -> dict[str, Callable[[], object]]:
    """In this order on one store."""
    part = cube(0)[["t2m"]].drop_vars(["time", "lat", "lon"])
    return {
        "save": lambda: zarrds.save(cube(0), store, zarr_format=zarr_format),
        "open": lambda: xr.open_dataset(store, engine="zarrds"),
        "open and load": lambda: xr.open_dataset(store, engine="zarrds").load(),
        "append": lambda: zarrds.save(cube(4), store, append_dim="time"),
        "update_attrs": lambda: zarrds.update_attrs(store, {"a": 1}),
        "rename": lambda: zarrds.rename(store, {"tp": "pr"}),
        "region": lambda: zarrds.save(part, store, region={"time": slice(0, 4)}),
        "append to an array": lambda: zarrds.open_array(store, "r+", path="pr").append(np.zeros((1, 3, 5))),
        "attributes of an array": lambda: zarrds.open_array(store, "r+", path="pr").attrs.update(b=1),
        "create_array": lambda: zarrds.create_array(store, path="n", shape=3, dtype="f4", zarr_format=zarr_format),
    }


# the most that each may take; who makes one quicker lowers its number, who must raise one says why
MOST = {
    # small arrays leave room in their chunks: what is appended to them goes into chunks that are there
    3: [27, 8, 14, 58, 20, 27, 40, 23, 17, 18],
    2: [29, 11, 17, 63, 31, 38, 47, 28, 23, 26],  # of documents in two or three keys each; notes of groups are apart
}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_calls_of_a_store(tmp_path: Path, zarr_format: Literal[2, 3]) -> None:
    found = {}
    for name, act in acts(CountingStore(tmp_path / "x.zarr"), zarr_format).items():
        CALLS.clear()
        act()
        found[name] = (CALLS.total(), dict(CALLS))
    most = dict(zip(found, MOST[zarr_format], strict=True))
    assert {name: calls for name, calls in found.items() if calls[0] > most[name]} == {}


@pytest.mark.parametrize(("zarr_format", "most"), [(2, 49), (3, 44)])
def test_calls_of_an_append_of_whole_chunks(tmp_path: Path, zarr_format: Literal[2, 3], most: int) -> None:
    store = CountingStore(tmp_path / "x.zarr")
    chunks = {name: {"chunks": variable.shape} for name, variable in cube(0).variables.items()}
    zarrds.save(cube(0), store, zarr_format=zarr_format, encoding=chunks)
    CALLS.clear()
    zarrds.save(cube(4), store, append_dim="time")
    assert CALLS.total() <= most, dict(CALLS)
    xr.testing.assert_identical(
        xr.open_dataset(store, engine="zarrds").load(), xr.concat([cube(0), cube(4)], "time", data_vars="minimal")
    )
