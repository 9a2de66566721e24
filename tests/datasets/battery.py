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


def points(labels: np.ndarray) -> xr.DataArray:
    return xr.DataArray(labels.reshape(-1, 2), dims=("p", "q"))


def tolerance(c: Case) -> Any:
    return np.timedelta64(2, "s") if c.kind == "time" else 0.2


def near(c: Case, tolerance: Any) -> xr.Dataset:
    return c.ds.sel(x=c.beside([7, 70]), method="nearest", tolerance=tolerance)


def assigned(array: xr.DataArray, labels: slice) -> xr.DataArray:
    array.loc[labels] = 0
    return array


def in_place(ds: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    ds += other
    return ds


def combined(c: Case) -> xr.Dataset:
    few = c.ds.isel(x=slice(70_000, 70_900))
    return xr.combine_by_coords([few.isel(x=slice(500, None)), few.isel(x=slice(500))], **CONCAT)


def halves(ds: xr.Dataset) -> list[xr.Dataset]:
    return [ds.isel(x=slice(70_000)), ds.isel(x=slice(70_000, None))]


def known(index: pd.Index) -> list[object]:
    return [index.is_unique, index.is_monotonic_increasing, index.is_monotonic_decreasing, index.hasnans, len(index)]


def noted(c: Case, ds: xr.Dataset) -> xr.Dataset:
    c.note(ds)
    return ds


def target(c: Case) -> xr.Dataset:
    """A thousand other labels."""
    return xr.Dataset(coords={"x": np.sort(c.beside(np.arange(50, 90_050, 90)))})


CONCAT: dict[str, Any] = {"data_vars": "all", "coords": "minimal", "compat": "override", "join": "exact"}

# ---- the table

FEW = 4  # blocks
ALL = -1  # all labels, of each dataset there is
EVERY = "int float twice text time"
ONCE = "int float text time"
NUMBERS = "int float time"


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


def _fails(join: str) -> str:
    return EVERY if join in ("exact", "override") else ""


SOME = [5, 60_000, 99_000, 6, 5]
O = Operation  # a row fits a line
LABELS = [
    O("sel: a label", FEW, lambda c: c.ds.sel(x=c.at(70_000)), EVERY),
    O("sel: a label of a list", FEW, lambda c: c.ds.sel(x=[c.at(70_000)]), EVERY, "twice"),
    O("sel: the first and the last", FEW, lambda c: c.ds.sel(x=[c.at(0), c.at(-1)]), ONCE),
    O("sel: labels", FEW, lambda c: c.ds.sel(x=c.at(SOME)), EVERY, "twice"),
    O("sel: a hundred labels", 100, lambda c: c.ds.sel(x=c.at(np.arange(0, 100_000, 1000)).tolist()), "float text"),
    O("sel: a slice", FEW, lambda c: c.ds.sel(x=around(c, 70_000)), EVERY),
    O("sel: ends that are not there", FEW, lambda c: c.ds.sel(x=slice(c.beside(9), c.beside(600))), EVERY),
    O("sel: an open start", FEW, lambda c: c.ds.sel(x=slice(c.at(1000))), EVERY),
    O("sel: an open end", FEW, lambda c: c.ds.sel(x=slice(c.at(99_500), None)).isel(x=slice(9)), EVERY),
    O("sel: most labels", FEW, lambda c: c.ds.sel(x=slice(c.at(500), None)), EVERY),
    O("sel: all labels", 0, lambda c: c.ds.sel(x=slice(None)), EVERY),
    O("sel: a step", FEW, lambda c: c.ds.sel(x=slice(c.at(70_000), c.at(71_000), 7)), EVERY),
    O("sel: the wrong way round", FEW, lambda c: c.ds.sel(x=slice(c.at(71_000), c.at(70_000))), EVERY),
    O("sel: backwards", FEW, lambda c: c.ds.sel(x=slice(c.at(71_000), c.at(70_000), -1)), EVERY),
    O("sel: a missing label", FEW, lambda c: c.ds.sel(x=c.beside(70_000)), EVERY, EVERY),
    O("sel: a missing one among others", FEW, lambda c: c.ds.sel(x=[c.at(5), c.beside(5)]), EVERY, EVERY),
    O("sel: behind the end", FEW, lambda c: c.ds.sel(x=slice(c.beside(-1), None)), EVERY),
    O("sel: no label at all", FEW, lambda c: c.ds.sel(x=()), EVERY),
    O("sel: nearest", FEW, lambda c: c.ds.sel(x=c.beside(70_000), method="nearest"), EVERY, "text twice"),
    O("sel: pad", FEW, lambda c: c.ds.sel(x=c.beside(70_000), method="pad"), EVERY, "twice"),
    O("sel: backfill", FEW, lambda c: c.ds.sel(x=c.beside(70_000), method="backfill"), EVERY, "twice"),
    O("sel: nearest of some", FEW, lambda c: c.ds.sel(x=c.beside(SOME), method="nearest"), NUMBERS),
    O("sel: within a tolerance", FEW, lambda c: near(c, tolerance(c)), NUMBERS),
    O("sel: out of tolerance", FEW, lambda c: near(c, tolerance(c) / 4), NUMBERS, NUMBERS),
    O("sel: points", FEW, lambda c: c.ds.sel(x=points(c.at(SOME[:4]))), ONCE),
    O("sel: nearest points", FEW, lambda c: c.ds.sel(x=points(c.beside(SOME[:4])), method="nearest"), NUMBERS),
    O("loc", FEW, lambda c: (c.ds.loc[{"x": around(c, 8000)}], c.ds.v.loc[around(c, 8000)]), EVERY),
    O("loc: assignment", FEW, lambda c: assigned(c.ds.v.copy(deep=True), around(c, 8000)), EVERY),
    O("in", FEW, lambda c: (c.at(77) in c.ds.indexes["x"], c.beside(77) in c.ds.indexes["x"]), EVERY),
    O("isel: a position", FEW, lambda c: c.ds.isel(x=70_000), EVERY),
    O("isel: from the end", FEW, lambda c: c.ds.isel(x=-1), EVERY),
    O("isel: out of bounds", FEW, lambda c: c.ds.isel(x=10**6), EVERY, EVERY),
    O("isel: a slice", FEW, lambda c: c.ds.isel(x=slice(70_000, 70_500)), EVERY),
    O("isel: most", FEW, lambda c: c.ds.isel(x=slice(100, -100)), EVERY),
    O("isel: a slice of a slice", FEW, lambda c: c.ds.isel(x=slice(100, None)).isel(x=slice(5, 50)), EVERY),
    O("isel: a step", FEW, lambda c: c.ds.isel(x=slice(10, 500, 7)), EVERY),
    O("isel: backwards", ALL, lambda c: c.ds.isel(x=slice(None, None, -1)), EVERY),
    O("isel: positions", FEW, lambda c: c.ds.isel(x=SOME), EVERY),
    O("isel: points", FEW, lambda c: c.ds.isel(x=points(np.array(SOME[:4])), y=0), EVERY),
    O("isel: a mask", FEW, lambda c: c.ds.isel(x=np.arange(c.ds.sizes["x"]) < 100), EVERY),
    O("isel: none", FEW, lambda c: c.ds.isel(x=[]), EVERY),
    O("isel: another dimension", FEW, lambda c: c.ds.isel(y=0), EVERY),
    O("head, tail", FEW, lambda c: (c.ds.head(x=100), c.ds.tail(x=100)), EVERY),
    O("thin", 30, lambda c: c.ds.thin(x=5000), "float text"),
    O("drop_sel", FEW, lambda c: c.ds.drop_sel(x=c.at([1, 5])), EVERY),
    O("drop_sel: missing", FEW, lambda c: c.ds.drop_sel(x=[c.beside(5)]), EVERY, EVERY),
    O("drop_isel", FEW, lambda c: c.ds.drop_isel(x=[1, 5]), EVERY),
]
PAIRS = [
    O("add: the same", 0, lambda c: c.ds + c.open(), EVERY),
    O("add: itself", 0, lambda c: c.ds.v + c.ds.w * 2, EVERY),
    O("add: the same in memory", ALL, lambda c: c.ds + c.plain(), EVERY),
    O("add: lazy behind one in memory", ALL, lambda c: c.plain() + c.ds, EVERY),
    O("add: a few", FEW, lambda c: c.ds.v + c.ds.v.isel(x=slice(70_000, 70_050)), EVERY),
    O("add: a few in memory", FEW, lambda c: c.plain().v.isel(x=slice(70_000, 70_050)) + c.ds.v, EVERY),
    O("add: most", ALL, lambda c: c.ds + c.ds.isel(x=slice(50, None)), ONCE),
    O("add: a number", 0, lambda c: 1 - c.ds, EVERY),
    O("add: without labels", 0, lambda c: c.ds.v + c.ds.v.drop_vars("x"), EVERY),
    O("add in place", 0, lambda c: in_place(c.ds.copy(), c.open()), EVERY),
    O("compare, matmul", 0, lambda c: (c.ds.v > c.ds.w, c.ds.v @ c.open().w), EVERY),
    *(
        row
        for join in ("inner", "outer", "left", "right", "exact", "override")
        for row in (
            O(f"add other, {join}", ALL, lambda c, j=join: joined(j, c.ds, c.other), ONCE, _fails(join)),
            O(f"add other in memory, {join}", ALL, lambda c, j=join: joined(j, c.ds, c.plain("b")), "int", _fails(join)),
            O(f"in memory add other, {join}", ALL, lambda c, j=join: joined(j, c.plain("b"), c.ds), "int", _fails(join)),
        )
    ),
    O("align: the same, exact", 0, lambda c: xr.align(c.ds, c.open(), join="exact"), EVERY),
    O("align: another, outer", ALL, lambda c: xr.align(c.ds, c.other, join="outer"), ONCE),
    O("align: exclude", 0, lambda c: xr.align(c.ds, c.ds.isel(x=slice(90)), exclude=["x"]), EVERY),
    O("broadcast", 0, lambda c: xr.broadcast(c.ds.v, c.open().w), EVERY),
    O("broadcast_like", ALL, lambda c: c.ds.v.broadcast_like(c.other.w)),
    O("merge: the same", 0, lambda c: xr.merge([c.ds, c.open().rename(v="u").drop_vars("w")]), EVERY),
    O("merge: another", ALL, lambda c: xr.merge([c.ds.v, c.other.rename(v="u").u], join="outer", compat="override")),
    O("combine_first", ALL, lambda c: c.ds.v.combine_first(c.other.v)),
    O("combine_by_coords", FEW, lambda c: combined(c)),
    O("combine_nested", 0, lambda c: xr.combine_nested([c.ds, c.open()], "new", **CONCAT)),
    O("concat: another dimension", 0, lambda c: xr.concat([c.ds.v, c.open().v], "new", **CONCAT), EVERY),
    O("concat: along the labels", ALL, lambda c: xr.concat(halves(c.ds), "x", **CONCAT), EVERY),
    O("concat: misaligned", ALL, lambda c: xr.concat([c.ds.v, c.other.v], "new", join="outer"), "int"),
    O("update, assign", 0, lambda c: c.ds.assign(u=c.open().v, k=("x", c.ds.odd.values)), EVERY),
    O("assign: other labels", ALL, lambda c: c.ds.assign(u=c.other.v), ONCE),
    O("equals, identical", 0, lambda c: (c.ds.equals(c.open()), c.ds.identical(c.open())), EVERY),
    O("equals: in memory", ALL, lambda c: (c.ds.equals(c.plain()), c.plain().identical(c.ds)), EVERY),
    O("equals: another", FEW, lambda c: c.ds.equals(c.other), EVERY),
    O("where: like", 0, lambda c: c.ds.where(c.open().odd == 1), EVERY),
    O("where: dropping", ALL, lambda c: c.ds.where(c.ds.odd == 1, drop=True), EVERY),
    O("reindex: a few", FEW, lambda c: c.ds.reindex(x=[c.at(5), c.beside(5)]), EVERY, "twice"),
    O("reindex: nearest", 100, lambda c: c.ds.reindex(x=target(c).x, method="nearest"), NUMBERS),
    O("reindex: the same", 0, lambda c: c.ds.reindex(x=c.open().x), EVERY),
    O("reindex_like: pad", 150, lambda c: c.ds.reindex_like(target(c), method="pad"), "int float text"),
    O("reindex_like: larger", ALL, lambda c: c.other.reindex_like(c.ds), ONCE),
    O("interp", ALL, lambda c: c.ds.interp(x=target(c).x), NUMBERS),
    O("interp: one, nearest", ALL, lambda c: c.ds.interp(x=c.beside(7), method="nearest"), NUMBERS),
    O("interp_like", ALL, lambda c: c.ds.v.interp_like(target(c)), NUMBERS),
    O("sel on a tree", FEW, lambda c: c.tree.sel(x=around(c, 9000)), EVERY),
    O("isel, arithmetic on a tree", FEW, lambda c: ((c.tree * 2).isel(x=slice(9, 90)), c.tree.isel(x=5)), EVERY),
]
COMPUTED = [
    O("reduce", 0, lambda c: (c.ds.mean("x"), c.ds.v.max(), c.ds.std("y")), EVERY),
    O("where: a number", 0, lambda c: c.ds.where(c.ds.v > 0.5, 0), EVERY),
    O("where: by labels", ALL, lambda c: c.ds.where(c.ds.x > c.at(70_000)), EVERY),
    O("groupby", 0, lambda c: c.ds.groupby("odd").mean(), EVERY),
    O("groupby: labels", ALL, lambda c: c.ds.v.groupby(c.ds.x // 50_000).sum(), "int float"),
    O("groupby: arithmetic", 0, lambda c: c.ds.v.groupby("odd") - c.ds.v.groupby("odd").mean(), EVERY),
    O("groupby_bins", ALL, lambda c: c.ds.v.groupby_bins("x", 4).mean(), "int float"),
    O("rolling", 0, lambda c: c.ds.v.rolling(x=5).mean(), EVERY),
    O("coarsen", ALL, lambda c: c.ds.coarsen(x=1000).mean(), "int float time"),
    O("coarsen: construct", 0, lambda c: c.ds.v.drop_vars("odd").coarsen(x=1000).construct(x=("a", "b"))),
    O("shift", 0, lambda c: c.ds.shift(x=3), EVERY),
    O("roll", 0, lambda c: c.ds.roll(x=3), EVERY),
    O("roll: with the labels", ALL, lambda c: c.ds.roll(x=3, roll_coords=True), EVERY),
    O("pad", ALL, lambda c: c.ds.v.pad(x=2, mode="reflect"), "int float"),
    O("diff", FEW, lambda c: c.ds.diff("x"), EVERY),
    O("cumsum", 0, lambda c: c.ds.cumsum("x"), EVERY),
    O("rank, fillna, clip", 0, lambda c: c.ds.fillna(0).clip(0, 9).isnull(), EVERY),
    O("weighted", 0, lambda c: c.ds.v.weighted(c.open().odd).mean("x"), EVERY),
    O("quantile", 0, lambda c: c.ds.quantile([0.1, 0.5], "x"), EVERY),
    O("idxmax", ALL, lambda c: c.ds.idxmax("x"), EVERY),
    O("argmin", 0, lambda c: c.ds.v.argmin("x"), EVERY),
    O("polyfit", ALL, lambda c: c.ds.v.polyfit("x", 1), NUMBERS),
    O("differentiate", ALL, lambda c: c.ds.differentiate("x"), NUMBERS),
    O("integrate", ALL, lambda c: c.ds.integrate("x"), NUMBERS),
    O("interpolate_na", ALL, lambda c: c.ds.v.where(c.ds.odd == 1).interpolate_na("x"), NUMBERS),
    O("apply_ufunc", 0, lambda c: xr.apply_ufunc(np.add, c.ds.v, c.open().w), EVERY),
    O("apply_ufunc: joining", ALL, lambda c: xr.apply_ufunc(np.add, c.ds.v, c.other.v, join="inner"), ONCE),
    O("map, pipe", 0, lambda c: c.ds.map(doubled).pipe(doubled), EVERY),
    O("chunk, compute", 0, lambda c: c.ds.chunk(x=20_000).compute(), EVERY),
    O("opened with dask, persist", 0, lambda c: c.open(chunks={}).persist(), EVERY),
    O("dask: sel, compute", FEW, lambda c: c.open(chunks={}).sel(x=around(c, 70_000)).compute(), EVERY),
    O("dask: add", 0, lambda c: (c.open(chunks={}) + c.ds).compute(), EVERY),
    O("map_blocks", {"": ALL}, lambda c: c.ds.chunk(x=50_000).map_blocks(doubled).compute(), EVERY),
    O("unify_chunks", 0, lambda c: c.ds.chunk(x=50_000).unify_chunks().compute()),
    O("dt", ALL, lambda c: (c.ds.x.dt.month, c.ds.x.dt.floor("D")), "time"),
    O("sel: a month", FEW, lambda c: c.ds.sel(x="2003-03"), "time"),
    O("sel: a month without data", FEW, lambda c: c.ds.sel(x="1999-03"), "time", "time"),
    O("sel: a day of some", FEW, lambda c: c.ds.v.sel(x="2005-12-31"), "time"),
    O("sel: a minute", FEW, lambda c: c.ds.sel(x=pd.Timestamp(c.at(9)).isoformat()), "time"),
    O("sel: to a month", FEW, lambda c: c.ds.sel(x=slice("2003-03", "2003-04")), "time"),
    O("sel: from a year", FEW, lambda c: c.ds.sel(x=slice("2012", None)), "time"),
    O("sel: strings", FEW, lambda c: c.ds.sel(x=["2001-01-01", "2001-01-02T01:04"]), "time"),
    O("sel: a datetime", FEW, lambda c: c.ds.sel(x=pd.Timestamp(c.at(9)).to_pydatetime()), "time"),
    O("sel: no time", FEW, lambda c: c.ds.sel(x="spring"), "time", "time"),
    O("sel: a date, nearest", FEW, lambda c: c.ds.sel(x="2003-03-05", method="nearest"), "time"),
    O("groupby: months", ALL, lambda c: c.ds.groupby("x.month").mean(), "time"),
    O("groupby: seasons", ALL, lambda c: c.ds.v.groupby("x.season").max(), "time"),
    O("resample: down", ALL, lambda c: c.ds.resample(x="MS").mean(), "time"),
    O("resample: up", ALL, lambda c: c.ds.isel(x=slice(70_000)).resample(x="30min").nearest(), "time"),
]
SHAPED = [
    O("drop_duplicates", ALL, lambda c: c.ds.drop_duplicates("x"), EVERY),
    O("sortby", ALL, lambda c: c.ds.sortby("x", ascending=False), EVERY),
    O("stack", ALL, lambda c: c.ds.stack(z=("x", "y")), EVERY),
    O("stack, unstack", ALL, lambda c: c.ds.w.drop_vars("odd").stack(z=("x", "y")).unstack("z"), ONCE),
    O("to_stacked_array", ALL, lambda c: c.ds.w.to_dataset().to_stacked_array("z", ["x"])),
    O("set_index", ALL, lambda c: c.ds.set_index(x=["x", "odd"]), EVERY),
    O("set_index: other labels", 0, lambda c: c.ds.set_index(x="odd"), EVERY),
    O("reset_index", 0, lambda c: c.ds.reset_index("x"), EVERY),
    O("drop_indexes, set_xindex", ALL, lambda c: c.ds.drop_indexes("x").set_xindex("x"), EVERY),
    O("drop_indexes", 0, lambda c: c.ds.drop_indexes("x"), EVERY),
    O("drop_vars", 0, lambda c: c.ds.drop_vars("x"), EVERY),
    O("reset_coords", 0, lambda c: c.ds.reset_coords("odd"), EVERY),
    O("rename", 0, lambda c: c.ds.rename(x="z"), EVERY),
    O("rename, sel", FEW, lambda c: c.ds.rename(x="z").sel(z=around(c, 70_000)), EVERY),
    O("rename_dims", 0, lambda c: c.ds.rename_dims(x="z"), EVERY),
    O("rename_vars", 0, lambda c: c.ds.rename_vars(x="z", v="u"), EVERY),
    O("swap_dims", 0, lambda c: c.ds.swap_dims(x="odd"), EVERY),
    O("assign_coords", 0, lambda c: c.ds.assign_coords(k=("x", c.ds.odd.values)), EVERY),
    O("assign_coords: its own labels", 0, lambda c: c.ds.assign_coords(x=c.ds.x), EVERY),
    O("assign_coords: changed labels", ALL, lambda c: c.ds.assign_coords(x=c.ds.x + tolerance(c)), NUMBERS),
    O("assign_attrs", 0, lambda c: c.ds.assign_attrs(a=1).drop_attrs(), EVERY),
    O("expand_dims", 0, lambda c: c.ds.expand_dims(z=3), EVERY),
    O("transpose", 0, lambda c: (c.ds.transpose("x", "y"), c.ds.w.T), EVERY),
    O("squeeze", 0, lambda c: c.ds.isel(y=[0]).squeeze(), EVERY),
    O("squeeze: the labels", FEW, lambda c: c.ds.isel(x=[70_000]).squeeze(), EVERY),
    O("to_dataarray", 0, lambda c: c.ds.to_dataarray(), EVERY),
    O("to_dataset", 0, lambda c: c.ds.w.to_dataset("y"), EVERY),
    O("to_dataframe", ALL, lambda c: c.ds.to_dataframe(), EVERY),
    O("to_pandas", ALL, lambda c: c.ds.w.to_pandas(), EVERY),
    O("to_series", ALL, lambda c: c.ds.v.to_series(), EVERY),
    O("to_dict", ALL, lambda c: c.ds.v.to_dict()),
    O("to_dict: no data", 0, lambda c: c.ds.to_dict(data=False), EVERY),
    O("to_index", ALL, lambda c: c.ds.x.to_index().append(pd.Index(c.at([0]))), EVERY),
    O("values", ALL, lambda c: (c.ds.x.values, c.ds.indexes["x"].to_numpy()), EVERY),
    O("load", 0, lambda c: c.ds.load(), EVERY),
    O("repr", FEW, lambda c: (repr(c.ds), str(c.ds.v), repr(c.ds.x)), EVERY),
    O("repr in html", FEW, lambda c: html(c.ds), EVERY),
    O("repr of indexes", FEW, lambda c: (repr(c.ds.xindexes), repr(c.ds.indexes)), EVERY),
    O("info", 0, lambda c: c.ds.sizes | {name: str(v.dtype) for name, v in c.ds.variables.items()}, EVERY),
    O("nbytes", 0, lambda c: (c.ds.nbytes, c.ds.x.nbytes), EVERY),
    O("min, max of the labels", ALL, lambda c: (c.ds.x.min(), c.ds.x.max()), NUMBERS),
    O("min, max of the index", FEW, lambda c: (c.ds.indexes["x"].min(), c.ds.indexes["x"].max()), EVERY),
    O("is_unique, is_monotonic", FEW, lambda c: known(c.ds.indexes["x"]), EVERY),
    O("copy", 0, lambda c: c.ds.copy(), EVERY),
    O("copy: deep", 0, lambda c: c.ds.copy(deep=True), EVERY),
    O("copy: of the labels", 0, lambda c: c.ds.x.copy(deep=True), EVERY),
    O("deepcopy", 0, lambda c: copy.deepcopy(c.ds), EVERY),
    O("pickle", 0, lambda c: pickle.loads(pickle.dumps(c.ds)), EVERY),
    O("pickle, sel", FEW, lambda c: noted(c, pickle.loads(pickle.dumps(c.ds))).sel(x=around(c, 70_000)), EVERY),
    O("pickle of a selection", 0, lambda c: pickle.loads(pickle.dumps(c.ds.isel(x=slice(5, None)))), EVERY),
    O("save", ALL, lambda c: saved(c, c.ds), EVERY),
    O("save: a few", FEW, lambda c: saved(c, c.ds.sel(x=around(c, 70_000))), EVERY),
    O("save: appended", ALL, appended, "int float time"),
    O("save: a region", 0, lambda c: region_saved(c, {"x": slice(8192, 16384)}), "int float time"),
    O("save: a region by its labels", 20, lambda c: region_saved(c, "auto"), "int float time"),
    O("to_netcdf", ALL, saved_as_netcdf, "int float"),
]
OPERATIONS = [*LABELS, *PAIRS, *COMPUTED, *SHAPED]


def main() -> None:
    kinds = EVERY.split()
    print(f"{'labels read':32}", *(f"{kind:>9}" for kind in kinds))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in kinds:
            save_stores(Path(folder), kind)
        print(f"{'of':32}", *(f"{SIZES[kind][0]:9,}" for kind in kinds))
        for operation in OPERATIONS:
            counts = [_count(operation, Path(folder), kind) for kind in kinds]
            print(f"{operation.name:32}", *(f"{count:>9}" for count in counts), flush=True)


def _count(operation: Operation, folder: Path, kind: str) -> str:
    if kind not in operation.kinds.split():
        return ""
    case = Case(folder, kind, "lazy")
    try:
        case.note(operation.run(case))
    except Exception as error:
        failure = "" if kind in operation.fails.split() else f" {type(error).__name__}!"
        return f"{case.labels_read:,}{failure}"
    return f"{case.labels_read:,}"


if __name__ == "__main__":
    main()
