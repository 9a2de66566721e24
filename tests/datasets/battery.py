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

from tests.datasets.lazy_cases import SIZES, Case, appended, region_saved, save_stores, saved, saved_as_netcdf

# ---- operations that need more than an expression


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


def part(ds: xr.Dataset) -> xr.Dataset:
    return ds.isel(x=slice(70_000, 70_050))


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
TWO = "int time"
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
Op = Operation  # so that a row fits a line
LABELS = [
    Op("sel: a label", FEW, lambda c: c.ds.sel(x=c.at(70_000)), EVERY),
    Op("sel: a label of a list", FEW, lambda c: c.ds.sel(x=[c.at(70_000)]), EVERY, "twice"),
    Op("sel: the first and the last", FEW, lambda c: c.ds.sel(x=[c.at(0), c.at(-1)]), ONCE),
    Op("sel: labels", FEW, lambda c: c.ds.sel(x=c.at(SOME)), EVERY, "twice"),
    Op("sel: a hundred labels", 102, lambda c: c.ds.sel(x=c.at(np.arange(0, 100_000, 1000)).tolist()), "float text"),
    Op("sel: a slice", FEW, lambda c: c.ds.sel(x=around(c, 70_000)), EVERY),
    Op("sel: ends that are not there", 5, lambda c: c.ds.sel(x=slice(c.beside(9), c.beside(600))), EVERY),
    Op("sel: an open start", 5, lambda c: c.ds.sel(x=slice(c.at(1000))), EVERY),
    Op("sel: an open end", FEW, lambda c: c.ds.sel(x=slice(c.at(-500), None)), EVERY),
    Op("sel: most labels", FEW, lambda c: c.ds.sel(x=slice(c.at(500), None)), EVERY),
    Op("sel: all labels", FEW, lambda c: c.ds.sel(x=slice(None)), EVERY),
    Op("sel: a step", 5, lambda c: c.ds.sel(x=slice(c.at(70_000), c.at(71_000), 7)), EVERY),
    Op("sel: the wrong way round", FEW, lambda c: c.ds.sel(x=slice(c.at(71_000), c.at(70_000))), EVERY),
    Op("sel: backwards", 5, lambda c: c.ds.sel(x=slice(c.at(71_000), c.at(70_000), -1)), EVERY),
    Op("sel: a missing label", FEW, lambda c: c.ds.sel(x=c.beside(70_000)), EVERY, EVERY),
    Op("sel: a missing one among others", FEW, lambda c: c.ds.sel(x=[c.at(5), c.beside(5)]), EVERY, EVERY),
    Op("sel: behind the end", FEW, lambda c: c.ds.sel(x=slice(c.beside(-1), None)), EVERY),
    Op("sel: nearest", FEW, lambda c: c.ds.sel(x=c.beside(70_000), method="nearest"), EVERY, "text twice"),
    Op("sel: pad", FEW, lambda c: c.ds.sel(x=c.beside(70_000), method="pad"), EVERY, "twice"),
    Op("sel: backfill", FEW, lambda c: c.ds.sel(x=c.beside(70_000), method="backfill"), EVERY, "twice"),
    Op("sel: nearest of some", FEW, lambda c: c.ds.sel(x=c.beside(SOME), method="nearest"), NUMBERS),
    Op("sel: within a tolerance", FEW, lambda c: near(c, tolerance(c)), NUMBERS),
    Op("sel: out of tolerance", FEW, lambda c: near(c, tolerance(c) / 4), NUMBERS, NUMBERS),
    # xarray finds the points, and then asks for all labels to take theirs
    Op("sel: points", ALL, lambda c: c.ds.sel(x=points(c.at(SOME[:4]))), ONCE),
    Op("sel: nearest points", ALL, lambda c: c.ds.sel(x=points(c.beside(SOME[:4])), method="nearest"), NUMBERS),
    Op("loc", FEW, lambda c: (c.ds.loc[{"x": around(c, 8000)}], c.ds.v.loc[around(c, 8000)]), EVERY),
    Op("loc: assignment", FEW, lambda c: assigned(c.ds.v.copy(deep=True), around(c, 8000)), EVERY),
    Op("in", FEW, lambda c: (c.at(77) in c.ds.indexes["x"], c.beside(77) in c.ds.indexes["x"]), EVERY),
    Op("isel: a position", FEW, lambda c: c.ds.isel(x=70_000), EVERY),
    Op("isel: from the end", FEW, lambda c: c.ds.isel(x=-1), EVERY),
    Op("isel: out of bounds", FEW, lambda c: c.ds.isel(x=10**6), EVERY, EVERY),
    Op("isel: a slice", FEW, lambda c: c.ds.isel(x=slice(70_000, 70_500)), EVERY),
    Op("isel: most", FEW, lambda c: c.ds.isel(x=slice(100, -100)), EVERY),
    Op("isel: a slice of a slice", FEW, lambda c: c.ds.isel(x=slice(100, None)).isel(x=slice(5, 50)), EVERY),
    Op("isel: a step", FEW, lambda c: c.ds.isel(x=slice(10, 500, 7)), EVERY),
    Op("isel: backwards", ALL, lambda c: c.ds.isel(x=slice(None, None, -1)), EVERY),
    Op("isel: positions", FEW, lambda c: c.ds.isel(x=SOME), EVERY),
    Op("isel: points", ALL, lambda c: c.ds.isel(x=points(np.array(SOME[:4])), y=0), EVERY),
    Op("isel: a mask", FEW, lambda c: c.ds.isel(x=np.arange(c.ds.sizes["x"]) < 100), EVERY),
    Op("isel: none", ALL, lambda c: c.ds.isel(x=[]), EVERY),
    Op("isel: another dimension", FEW, lambda c: c.ds.isel(y=0), EVERY),
    Op("head, tail", FEW, lambda c: (c.ds.head(x=100), c.ds.tail(x=100)), EVERY),
    Op("thin", 30, lambda c: c.ds.thin(x=5000), "float text"),
    Op("drop_sel", ALL, lambda c: c.ds.drop_sel(x=c.at([1, 5])), EVERY, "twice"),
    Op("drop_sel: missing", ALL, lambda c: c.ds.drop_sel(x=[c.beside(5)]), EVERY, EVERY),
    Op("drop_isel", ALL, lambda c: c.ds.drop_isel(x=[1, 5]), EVERY, "twice"),
]
PAIRS = [
    Op("add: the same", 0, lambda c: c.ds + c.open(), EVERY),
    Op("add: itself", 0, lambda c: c.ds.v + c.ds.w * 2, TWO),
    Op("add: the same in memory", ALL, lambda c: c.ds + c.plain(), EVERY),
    Op("add: lazy behind one in memory", ALL, lambda c: c.plain() + c.ds, TWO),
    Op("add: a few", {"": FEW, "twice": ALL}, lambda c: c.ds.v + part(c.ds).v, EVERY, "twice"),
    Op("add: a few in memory", {"": FEW, "twice": ALL}, lambda c: c.ds.v + part(c.plain()).v, EVERY, "twice"),
    # the index in memory is asked first, and asks for all labels of the other
    Op("add: to a few in memory", ALL, lambda c: part(c.plain()).v + c.ds.v, EVERY, "twice"),
    Op("add: most", ALL, lambda c: c.ds + c.ds.isel(x=slice(50, None)), TWO),
    Op("add: a number", 0, lambda c: 1 - c.ds, TWO),
    Op("add: without labels", 0, lambda c: c.ds.v + c.ds.v.drop_vars("x"), TWO),
    Op("add in place", 0, lambda c: in_place(c.ds.copy(), c.open()), TWO),
    Op("compare, matmul", 0, lambda c: (c.ds.v > c.ds.w, c.ds.v @ c.open().w), TWO),
    *(
        row
        for join in ("inner", "outer", "left", "right", "exact", "override")
        for row in (
            Op(f"add other, {join}", ALL, lambda c, j=join: joined(j, c.ds, c.other), ONCE, _fails(join)),
            Op(
                f"add other in memory, {join}",
                ALL,
                lambda c, j=join: joined(j, c.ds, c.plain("b")),
                "int",
                _fails(join),
            ),
            Op(
                f"in memory add other, {join}",
                ALL,
                lambda c, j=join: joined(j, c.plain("b"), c.ds),
                "int",
                _fails(join),
            ),
        )
    ),
    Op("align: the same, exact", 0, lambda c: xr.align(c.ds, c.open(), join="exact"), EVERY),
    Op("align: another, outer", ALL, lambda c: xr.align(c.ds, c.other, join="outer"), TWO),
    Op("align: exclude", FEW, lambda c: xr.align(c.ds, c.ds.isel(x=slice(90)), exclude=["x"]), TWO),
    Op("broadcast", 0, lambda c: xr.broadcast(c.ds.v, c.open().w), TWO),
    Op("broadcast_like", ALL, lambda c: c.ds.v.broadcast_like(c.other.w)),
    Op(
        "merge: the same",
        0,
        lambda c: xr.merge([c.ds, c.open().rename(v="u").drop_vars("w")], compat="override", join="exact"),
        EVERY,
    ),
    Op("merge: another", ALL, lambda c: xr.merge([c.ds.v, c.other.rename(v="u").u], join="outer", compat="override")),
    Op("combine_first", ALL, lambda c: c.ds.v.combine_first(c.other.v)),
    Op("combine_by_coords", FEW, combined),
    Op("combine_nested", 0, lambda c: xr.combine_nested([c.ds, c.open()], "new", **CONCAT)),
    Op("concat: another dimension", 0, lambda c: xr.concat([c.ds.v, c.open().v], "new", **CONCAT), TWO),
    Op("concat: along the labels", ALL, lambda c: xr.concat(halves(c.ds), "x", **CONCAT), EVERY),
    Op("concat: misaligned", ALL, lambda c: xr.concat([c.ds.v, c.other.v], "new", join="outer"), "int"),
    Op("update, assign", 0, lambda c: c.ds.assign(u=c.open().v, k=("x", c.ds.odd.values)), TWO),
    Op("assign: other labels", ALL, lambda c: c.ds.assign(u=c.other.v), ONCE),
    Op(
        "equals",
        0,
        lambda c: [bool(one.equals(other)) for one, other in ((c.ds, c.open()), (c.ds.x, c.open().x))],
        EVERY,
    ),
    Op("identical", ALL, lambda c: (c.ds.identical(c.open()), c.ds.isel(x=slice(9)).identical(c.ds)), EVERY),
    Op("equals: in memory", ALL, lambda c: (c.ds.equals(c.plain()), c.plain().identical(c.ds)), EVERY),
    Op("equals: another", 0, lambda c: c.ds.equals(c.other), EVERY),
    Op("where: like", 0, lambda c: c.ds.where(c.open().odd == 1), TWO),
    Op("where: dropping", ALL, lambda c: c.ds.where(c.ds.odd == 1, drop=True), TWO),
    # pandas compares datetimes before their number
    Op("reindex: a few", {"": FEW, "time": ALL}, lambda c: c.ds.reindex(x=[c.at(5), c.beside(5)]), EVERY, "twice"),
    Op(
        "reindex: nearest",
        {"": 180, "int": 30, "time": ALL},
        lambda c: c.ds.reindex(x=target(c).x, method="nearest"),
        NUMBERS,
    ),
    Op("reindex: the same", 0, lambda c: c.ds.reindex(x=c.open().x), TWO),
    Op(
        "reindex_like: pad",
        {"": 180, "int": 30},
        lambda c: c.ds.reindex_like(target(c), method="pad"),
        "int float text",
    ),
    Op("reindex_like: larger", ALL, lambda c: c.other.reindex_like(c.ds), TWO),
    Op("interp", ALL, lambda c: c.ds.interp(x=target(c).x), NUMBERS),
    Op("interp: one, nearest", ALL, lambda c: c.ds.interp(x=c.beside(7), method="nearest"), NUMBERS),
    Op("interp_like", ALL, lambda c: c.ds.v.interp_like(target(c)), NUMBERS),
    Op("sel on a tree", FEW, lambda c: c.tree.sel(x=around(c, 9000)), EVERY),
    Op("isel, arithmetic on a tree", FEW, lambda c: ((c.tree * 2).isel(x=slice(9, 90)), c.tree.isel(x=5)), TWO),
]
COMPUTED = [
    Op("reduce", 0, lambda c: (c.ds.mean("x"), c.ds.v.max(), c.ds.std("y")), TWO),
    Op("where: a number", 0, lambda c: c.ds.where(c.ds.v > 0.5, 0), TWO),
    Op("where: by labels", ALL, lambda c: c.ds.where(c.ds.x > c.at(70_000)), EVERY),
    Op("groupby", ALL, lambda c: c.ds.groupby("odd").mean(), EVERY),
    Op("groupby: labels", ALL, lambda c: c.ds.v.groupby(c.ds.x // 50_000).sum(), "int float"),
    Op("groupby: arithmetic", ALL, lambda c: c.ds.v.groupby("odd") - c.ds.v.groupby("odd").mean(), EVERY),
    Op("groupby_bins", ALL, lambda c: c.ds.v.groupby_bins("x", 4).mean(), "int float"),
    Op("rolling", 0, lambda c: c.ds.v.rolling(x=5).mean(), TWO),
    Op("coarsen", ALL, lambda c: c.ds.coarsen(x=1000).mean(), "int float time"),
    Op("coarsen: construct", ALL, lambda c: c.ds.v.drop_vars("odd").coarsen(x=1000).construct(x=("a", "b"))),
    Op("shift", 0, lambda c: c.ds.shift(x=3), TWO),
    Op("roll", 0, lambda c: c.ds.roll(x=3), TWO),
    Op("roll: with the labels", ALL, lambda c: c.ds.roll(x=3, roll_coords=True), EVERY),
    Op("pad", ALL, lambda c: c.ds.v.pad(x=2, mode="reflect"), "int float"),
    Op("diff", FEW, lambda c: c.ds.diff("x"), EVERY),
    Op("cumsum", 0, lambda c: c.ds.cumsum("x"), TWO),
    Op("rank, fillna, clip", 0, lambda c: c.ds.fillna(0).clip(0, 9).isnull(), TWO),
    Op("weighted", 0, lambda c: c.ds.v.weighted(c.open().odd).mean("x"), TWO),
    Op("quantile", 0, lambda c: c.ds.quantile([0.1, 0.5], "x"), TWO),
    Op("idxmax", ALL, lambda c: c.ds.idxmax("x"), EVERY),
    Op("argmin", 0, lambda c: c.ds.v.argmin("x"), TWO),
    Op("polyfit", ALL, lambda c: c.ds.v.polyfit("x", 1), NUMBERS),
    Op("differentiate", ALL, lambda c: c.ds.differentiate("x"), NUMBERS),
    Op("integrate", ALL, lambda c: c.ds.integrate("x"), NUMBERS),
    Op("interpolate_na", ALL, lambda c: c.ds.v.where(c.ds.odd == 1).interpolate_na("x"), NUMBERS, "float"),
    Op("apply_ufunc", 0, lambda c: xr.apply_ufunc(np.add, c.ds.v, c.open().w), TWO),
    Op("apply_ufunc: joining", ALL, lambda c: xr.apply_ufunc(np.add, c.ds.v, c.other.v, join="inner"), ONCE),
    Op("map, pipe", 0, lambda c: c.ds.map(doubled).pipe(doubled), TWO),
    Op("chunk, compute", 0, lambda c: c.ds.chunk(x=20_000).compute(), TWO),
    Op("opened with dask, persist", 0, lambda c: c.open(chunks={}).persist(), TWO),
    Op("dask: sel, compute", FEW, lambda c: c.open(chunks={}).sel(x=around(c, 70_000)).compute(), EVERY),
    Op("dask: add", 0, lambda c: (c.open(chunks={}) + c.ds).compute(), TWO),
    Op("map_blocks", ALL, lambda c: c.ds.chunk(x=50_000).map_blocks(doubled).compute(), TWO),
    Op("unify_chunks", 0, lambda c: c.ds.chunk(x=50_000).unify_chunks().compute()),
    Op("dt", ALL, lambda c: (c.ds.x.dt.month, c.ds.x.dt.floor("D")), "time"),
    Op("sel: a month", 6, lambda c: c.ds.sel(x="2003-03"), "time"),
    Op("sel: a month without data", FEW, lambda c: c.ds.sel(x="1999-03"), "time", "time"),
    Op("sel: a day of some", FEW, lambda c: c.ds.v.sel(x="2005-12-31"), "time"),
    # whether that is an instant or a span depends on the finest of all labels
    Op("sel: a second", ALL, lambda c: c.ds.sel(x=pd.Timestamp(c.at(9)).isoformat()), "time"),
    Op("sel: to a month", 7, lambda c: c.ds.sel(x=slice("2003-03", "2003-04")), "time"),
    Op("sel: from a year", 11, lambda c: c.ds.sel(x=slice("2012", None)), "time"),
    Op("sel: strings", FEW, lambda c: c.ds.sel(x=["2001-01-01", "2001-01-02T01:04"]), "time"),
    Op("sel: a datetime", FEW, lambda c: c.ds.sel(x=pd.Timestamp(c.at(9)).to_pydatetime()), "time"),
    Op("sel: no time", FEW, lambda c: c.ds.sel(x="spring"), "time", "time"),
    Op("sel: a date, nearest", FEW, lambda c: c.ds.sel(x="2003-03-05", method="nearest"), "time"),
    Op("groupby: months", ALL, lambda c: c.ds.groupby("x.month").mean(), "time"),
    Op("groupby: seasons", ALL, lambda c: c.ds.v.groupby("x.season").max(), "time"),
    Op("resample: down", ALL, lambda c: c.ds.resample(x="MS").mean(), "time"),
    Op("resample: up", ALL, lambda c: c.ds.isel(x=slice(70_000)).resample(x="30min").nearest(), "time"),
]
SHAPED = [
    Op("drop_duplicates", ALL, lambda c: c.ds.drop_duplicates("x"), EVERY),
    Op("sortby", ALL, lambda c: c.ds.sortby("x", ascending=False), EVERY),
    Op("stack", ALL, lambda c: c.ds.stack(z=("x", "y")), "text"),
    Op("stack, unstack", ALL, lambda c: c.ds.w.drop_vars("odd").stack(z=("x", "y")).unstack("z"), "text"),
    Op("to_stacked_array", 0, lambda c: c.ds[["w"]].to_stacked_array("z", ["x"])),
    Op("set_index", ALL, lambda c: c.ds.set_index(x="odd", append=True), "text"),
    Op("set_index: other labels", 0, lambda c: c.ds.set_index(x="odd"), TWO),
    Op("reset_index", 0, lambda c: c.ds.reset_index("x"), TWO),
    Op("drop_indexes, set_xindex", 0, lambda c: c.ds.drop_indexes("x").set_xindex("x"), EVERY),
    Op("drop_indexes", 0, lambda c: c.ds.drop_indexes("x"), TWO),
    Op("drop_vars", 0, lambda c: c.ds.drop_vars("x"), TWO),
    Op("reset_coords", 0, lambda c: c.ds.reset_coords("odd"), TWO),
    Op("rename", 0, lambda c: c.ds.rename(x="z"), TWO),
    Op("rename, sel", FEW, lambda c: c.ds.rename(x="z").sel(z=around(c, 70_000)), EVERY),
    Op("rename_dims", 0, lambda c: c.ds.rename_dims(x="z"), TWO),
    Op("rename_vars", 0, lambda c: c.ds.rename_vars(x="z", v="u"), TWO),
    Op("swap_dims", 0, lambda c: c.ds.swap_dims(x="odd"), TWO),
    Op("assign_coords", 0, lambda c: c.ds.assign_coords(k=("x", c.ds.odd.values)), TWO),
    Op("assign_coords: its own labels", 0, lambda c: c.ds.assign_coords(x=c.ds.x), TWO),
    Op("assign_coords: changed labels", ALL, lambda c: c.ds.assign_coords(x=c.ds.x + tolerance(c)), NUMBERS),
    Op("assign_attrs", 0, lambda c: c.ds.assign_attrs(a=1).drop_attrs(), TWO),
    Op("expand_dims", 0, lambda c: c.ds.expand_dims(z=3), TWO),
    Op("transpose", 0, lambda c: (c.ds.transpose("x", "y"), c.ds.w.T), TWO),
    Op("squeeze", 0, lambda c: c.ds.isel(y=[0]).squeeze(), TWO),
    Op("squeeze: the labels", FEW, lambda c: c.ds.isel(x=[70_000]).squeeze(), TWO),
    Op("to_dataarray", 0, lambda c: c.ds.to_dataarray(), TWO),
    Op("to_dataset", 0, lambda c: c.ds.w.to_dataset("y"), TWO),
    Op("to_dataframe", ALL, lambda c: c.ds.to_dataframe(), TWO),
    Op("to_pandas", 0, lambda c: c.ds.v.to_pandas(), TWO),
    Op("to_series", 0, lambda c: c.ds.v.to_series(), EVERY),
    Op("to_series, loc", ALL, lambda c: c.ds.v.to_series().loc[around(c, 70_000)], EVERY),
    Op("to_series, reset_index", ALL, lambda c: c.ds.v.to_series().reset_index(), EVERY),
    Op("to_dict", ALL, lambda c: c.ds.v.to_dict()),
    Op("to_dict: no data", 0, lambda c: c.ds.to_dict(data=False), TWO),
    Op("to_index", ALL, lambda c: c.ds.x.to_index().append(pd.Index(c.at([0]))), TWO),
    Op("values", ALL, lambda c: (c.ds.x.values, c.ds.indexes["x"].to_numpy()), EVERY),
    Op("load", 0, lambda c: c.ds.load(), TWO),
    Op("repr", FEW, lambda c: (repr(c.ds), str(c.ds.v), repr(c.ds.coords), repr(c.ds * 2)), EVERY),
    # xarray takes all indexes but ranges to be in memory
    Op("repr: the labels", ALL, lambda c: repr(c.ds.x), EVERY),
    Op("repr: in html", ALL, lambda c: html(c.ds), EVERY),
    Op("repr: indexes", FEW, lambda c: repr(c.ds.xindexes), EVERY),
    Op("sizes, dtypes", 0, lambda c: dict(c.ds.sizes) | dict(c.ds.dtypes), TWO),
    Op("nbytes", 0, lambda c: (c.ds.nbytes, c.ds.x.nbytes), TWO),
    Op("min, max of the labels", ALL, lambda c: (c.ds.x.min(), c.ds.x.max()), NUMBERS),
    Op("min, max of the index", FEW, lambda c: (c.ds.indexes["x"].min(), c.ds.indexes["x"].max()), EVERY),
    Op("is_unique, is_monotonic", FEW, lambda c: known(c.ds.indexes["x"]), EVERY),
    Op("copy", 0, lambda c: c.ds.copy(), EVERY),
    Op("copy: deep", 0, lambda c: c.ds.copy(deep=True), EVERY),
    Op("copy: of the labels", 0, lambda c: c.ds.x.copy(deep=True), EVERY),
    Op("deepcopy", 0, lambda c: copy.deepcopy(c.ds), EVERY),
    Op("pickle", 0, lambda c: pickle.loads(pickle.dumps(c.ds)), EVERY),
    Op("pickle, sel", FEW, lambda c: noted(c, pickle.loads(pickle.dumps(c.ds))).sel(x=around(c, 70_000)), EVERY),
    Op("pickle of a selection", 0, lambda c: pickle.loads(pickle.dumps(c.ds.isel(x=slice(5, None)))), EVERY),
    Op("save", ALL, lambda c: saved(c, c.ds), EVERY),
    Op("save: a few", FEW, lambda c: saved(c, c.ds.sel(x=around(c, 70_000))), EVERY),
    Op("save: appended", ALL, appended, "int float time"),
    Op("save: a region", {"": 17, "int": 2}, lambda c: region_saved(c, {"x": slice(8192, 16384)}), "int float time"),
    Op("save: a region by its labels", {"": 17, "int": 2}, lambda c: region_saved(c, "auto"), "int float time"),
    Op("to_netcdf", ALL, saved_as_netcdf, "int float"),
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
