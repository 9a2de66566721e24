"""What xarray can do with a dataset whose labels are searched where they lie, and how many labels are read for it.

``python -m tests.datasets.battery`` prints the table.
"""

from __future__ import annotations

import copy
import pickle
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import zarrds
from tests.datasets.lazy_cases import SIZES, Case, save_stores

# ---- operations that need more than an expression


def saved(c: Case, ds: xr.Dataset) -> xr.Dataset:
    with c.store() as path:
        zarrds.save(ds, path)
        return xr.load_dataset(path, engine="zarrds", index="pandas")


def saved_as_netcdf(c: Case) -> xr.Dataset:
    with c.store() as path:
        c.ds.to_netcdf(path, engine="h5netcdf")
        return xr.load_dataset(path, engine="h5netcdf")


def appended(c: Case) -> xr.Dataset:
    with c.store() as path:
        zarrds.save(c.plain().isel(x=slice(0, 20_000)), path)
        zarrds.save(c.ds.isel(x=slice(20_000, None)), path, append_dim="x")
        return xr.load_dataset(path, engine="zarrds", index="pandas")


def region_saved(c: Case, region: Any) -> xr.Dataset:
    with c.store() as path:
        zarrds.save(c.plain() * 0, path, encoding={"v": {"chunks": 4096}, "w": {"chunks": (2, 4096)}})
        part = c.ds.isel(x=slice(8192, 16384)).drop_vars(["y", "odd"])
        zarrds.save(part if region == "auto" else part.drop_vars("x"), path, region=region)
        return xr.load_dataset(path, engine="zarrds", index="pandas")


def html(ds: xr.Dataset) -> str:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "id", ds._repr_html_())


def joined(join: Any, first: xr.Dataset, second: xr.Dataset) -> xr.Dataset:
    with xr.set_options(arithmetic_join=join):
        return first + second


def doubled(values: Any) -> Any:
    return values * 2


def around(c: Case, position: int) -> slice:
    return slice(c.at(position), c.at(position + 500))


def points(c: Case, labels: np.ndarray) -> xr.DataArray:
    return xr.DataArray(labels.reshape(-1, 2), dims=("p", "q"))


def tolerance(c: Case) -> Any:
    return np.timedelta64(2, "s") if c.kind == "time" else 0.2


def target(c: Case) -> xr.Dataset:
    """A thousand other labels."""
    return xr.Dataset(coords={"x": np.sort(c.beside(np.arange(50, 90_050, 90)))})


# ---- the table

FEW = 4  # blocks
ALL = -1  # all labels, of each dataset there is
EVERY = "int float twice text time"
ONCE = "int float text time"
Blocks = int | dict[str, int]


@dataclass(frozen=True)
class Operation:
    """One row.

    Attributes
    ----------
    blocks
        How many blocks of labels may be read, or ALL; where kinds of labels differ, by kind, "" for the others.
    kinds
        Of labels with which it is tried.
    fails
        Those with which it cannot be done.
    """

    name: str
    blocks: int | Mapping[str, int]
    run: Callable[[Case], Any]
    kinds: str = "int"
    fails: str = ""

    def blocks_of(self, kind: str) -> int:
        return self.blocks if isinstance(self.blocks, int) else self.blocks.get(kind, self.blocks[""])


SOME = [5, 60_000, 99_000, 6, 5]
O = Operation  # noqa: E741  # so that a row fits a line
OPERATIONS = [
    # labels
    O("sel: a label", FEW, lambda c: c.ds.sel(x=c.at(70_000)), EVERY),
    O("sel: a label in a list", FEW, lambda c: c.ds.sel(x=[c.at(70_000)]), EVERY, "twice"),
    O("sel: the first and the last", FEW, lambda c: c.ds.sel(x=[c.at(0), c.at(-1)]), ONCE),
    O("sel: labels", FEW, lambda c: c.ds.sel(x=c.at(SOME)), EVERY, "twice"),
    O("sel: 1,000 labels", 100, lambda c: c.ds.sel(x=c.at(np.arange(0, 100_000, 100)).tolist()), "text float"),
    O("sel: a slice", FEW, lambda c: c.ds.sel(x=around(c, 70_000)), EVERY),
    O("sel: a slice of ends that are not there", FEW, lambda c: c.ds.sel(x=slice(c.beside(9), c.beside(600))), EVERY),
    O("sel: an open start", FEW, lambda c: c.ds.sel(x=slice(c.at(1000))), EVERY),
    O("sel: an open end", FEW, lambda c: c.ds.sel(x=slice(c.at(99_500), None)), EVERY),
    O("sel: most labels", FEW, lambda c: c.ds.sel(x=slice(c.at(500), None)), EVERY),
    O("sel: all labels", FEW, lambda c: c.ds.sel(x=slice(None)), EVERY),
    O("sel: a slice with a step", FEW, lambda c: c.ds.sel(x=slice(c.at(70_000), c.at(71_000), 7)), EVERY),
    O("sel: a slice the wrong way round", FEW, lambda c: c.ds.sel(x=slice(c.at(71_000), c.at(70_000))), EVERY),
    O("sel: a slice backwards", FEW, lambda c: c.ds.sel(x=slice(c.at(71_000), c.at(70_000), -1)), EVERY),
    O("sel: a missing label", FEW, lambda c: c.ds.sel(x=c.beside(70_000)), EVERY, EVERY),
    O("sel: a missing label among others", FEW, lambda c: c.ds.sel(x=[c.at(5), c.beside(5)]), EVERY, EVERY),
    O("sel: labels behind the end", FEW, lambda c: c.ds.sel(x=slice(c.beside(-1), None)), EVERY),
    O("sel: of another type", FEW, lambda c: c.ds.sel(x={}), EVERY, EVERY),
    *(
        O(f"sel: {method}", FEW, lambda c, m=method: c.ds.sel(x=c.beside(70_000), method=m), EVERY, fails)
        for method, fails in (("nearest", "text twice"), ("pad", "twice"), ("backfill", "twice"))
    ),
    O("sel: nearest of many", 12, lambda c: c.ds.sel(x=c.beside(SOME), method="nearest"), NUMBERS := "int float time"),
    O(
        "sel: within a tolerance",
        FEW,
        lambda c: c.ds.sel(x=c.beside([7, 70]), method="nearest", tolerance=tolerance(c)),
        NUMBERS,
    ),
    O(
        "sel: not within a tolerance",
        FEW,
        lambda c: c.ds.sel(x=c.beside([7, 70]), method="nearest", tolerance=tolerance(c) / 2),
        NUMBERS,
        NUMBERS,
    ),
    O("sel: points", FEW, lambda c: c.ds.sel(x=points(c, c.at(SOME[:4]))), ONCE),
    O("sel: nearest points", 12, lambda c: c.ds.sel(x=points(c, c.beside(SOME[:4])), method="nearest"), NUMBERS),
    O("sel: a mask", 0, lambda c: c.ds.sel(x=c.ds.odd == 2), EVERY),
    O("loc", FEW, lambda c: (c.ds.loc[{"x": around(c, 8000)}], c.ds.v.loc[around(c, 8000)]), EVERY),
    O("a label is in", FEW, lambda c: (c.at(77) in c.ds.indexes["x"], c.beside(77) in c.ds.x), EVERY),
    # positions
    O("isel: a position", FEW, lambda c: c.ds.isel(x=70_000), EVERY),
    O("isel: from the end", FEW, lambda c: c.ds.isel(x=-1), EVERY),
    O("isel: out of bounds", FEW, lambda c: c.ds.isel(x=10**6), "int", "int"),
    O("isel: a slice", FEW, lambda c: c.ds.isel(x=slice(70_000, 70_500)), EVERY),
    O("isel: most", FEW, lambda c: c.ds.isel(x=slice(100, -100)), EVERY),
    O("isel: a slice of a slice", FEW, lambda c: c.ds.isel(x=slice(100, None)).isel(x=slice(5, 50)), EVERY),
    O("isel: a step", FEW, lambda c: c.ds.isel(x=slice(10, 500, 7)), EVERY),
    O("isel: backwards", ALL, lambda c: c.ds.isel(x=slice(None, None, -1)), EVERY),
    O("isel: positions", FEW, lambda c: c.ds.isel(x=SOME), EVERY),
    O("isel: points", FEW, lambda c: c.ds.isel(x=points(c, np.array(SOME[:4])), y=0), EVERY),
    O("isel: a mask", FEW, lambda c: c.ds.isel(x=np.arange(c.ds.sizes["x"]) < 100), EVERY),
    O("isel: none", FEW, lambda c: c.ds.isel(x=[]), EVERY),
    O("isel: another dimension", FEW, lambda c: c.ds.isel(y=0), EVERY),
    O("head, tail", FEW, lambda c: (c.ds.head(x=100), c.ds.tail(x=100)), EVERY),
    O("thin", 60, lambda c: c.ds.thin(x=5000), EVERY),
    O("a DataArray's items", FEW, lambda c: c.ds.v[10:20], EVERY),
    O("assignment to labels", FEW, lambda c: assigned(c), EVERY),
    # pairs
]
