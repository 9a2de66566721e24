"""A DataTree grows as a whole, and no append makes a tree of groups that are none any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import Counting, Format, days, files, times, variants
from zarrds.errors import LabelError


def tree(start: int, stop: int, kind: str = "numpy") -> xr.DataTree:
    """Labels at the root; below, one level that inherits them, one that has its own, and one without the dimension."""
    root = days(start, stop)
    n = stop - start
    levels = {
        "/": root,
        "/inherits": xr.Dataset({"b": ("time", np.arange(start, stop) * 1.0)}),
        "/inherits/deeper": xr.Dataset({"c": (("time", "z"), np.full((n, 2), start))}),
        "/own": xr.Dataset({"d": ("time", np.arange(start, stop))}, {"time": root.time}),
        "/still": xr.Dataset({"mask": ("cell", [1, 0, 1])}, {"cell": [5, 6, 7]}),
    }
    return xr.DataTree.from_dict({path: variants(ds)[kind] for path, ds in levels.items()})


def is_stored(path: Any, expected: xr.DataTree, group: str | None = None) -> None:
    for engine in ("zarrds", "zarr"):
        found = xr.open_datatree(path, engine=engine, group=group)
        xr.testing.assert_equal(found.compute(), expected)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("kind", ["numpy", "dask"])
@pytest.mark.parametrize("group", [None, "a/b"])
def test_all_levels_grow(path: Path, kind: str, group: str | None, zarr_format: Format) -> None:
    zarrds.save(tree(0, 3), path, zarr_format=zarr_format, group=group)
    zarrds.save(tree(3, 5, kind), path, append_dim="time", group=group)
    zarrds.save(tree(5, 6, kind), path, append_dim="time", group=group)
    is_stored(path, _all(6), group)
    assert zarrds.verify(path).ok


def _all(stop: int) -> xr.DataTree:
    parts = [tree(0, 3), tree(3, 5), tree(5, 6)][: 3 if stop == 6 else 2]
    names = tree(0, 1).groups
    options: Any = {"data_vars": "minimal", "coords": "minimal", "compat": "override", "join": "outer"}
    levels = {}
    for name in names:
        datasets = [part[name].to_dataset(inherit=False) for part in parts]
        levels[name] = xr.concat(datasets, "time", **options) if "time" in datasets[0].dims else datasets[0]
    return xr.DataTree.from_dict(levels)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("kind", ["numpy", "dask"])
@pytest.mark.parametrize("on_overlap", ["skip", "replace"])
def test_a_rerun_of_all_levels(path: Path, on_overlap: Any, kind: str, zarr_format: Format) -> None:
    zarrds.save(tree(0, 3), path, zarr_format=zarr_format)
    again = xr.DataTree.from_dict({n: _all(5)[n].to_dataset(inherit=False) for n in tree(0, 1).groups})
    again = again.map_over_datasets(lambda ds: ds.isel(time=slice(1, None)) if "time" in ds.dims else ds)
    if kind == "dask":
        again = again.chunk()
    for _ in range(2):
        zarrds.save(again, path, append_dim="time", on_overlap=on_overlap)
        is_stored(path, _all(5))


def test_nothing_grows_if_one_level_does_not_fit(path: Path, zarr_format: Format) -> None:
    zarrds.save(tree(0, 3), path, zarr_format=zarr_format)
    before = files(path)
    wrong = {
        "own": tree(3, 5)["own"].to_dataset(inherit=False).rename(d="other"),
        "still": xr.Dataset({"mask": ("cell", [1, 1, 1])}, {"cell": [5, 6, 7]}),
        "new": xr.Dataset({"e": ("time", [1, 2])}),
        "inherits": xr.Dataset({"b": ("time", np.array(["a", "b"], object))}),
    }
    for name, level in wrong.items():
        levels = {n: tree(3, 5)[n].to_dataset(inherit=False) for n in tree(0, 1).groups}
        with pytest.raises(ValueError) as caught:  # noqa: PT011  # of several kinds, all with the level's name
            zarrds.save(xr.DataTree.from_dict({**levels, f"/{name}": level}), path, append_dim="time")
        assert isinstance(caught.value, zarrds.errors.ZarrdsError)
        assert name in str(caught.value)
        assert files(path) == before
    with pytest.raises(LabelError, match="does not match any existing dataset dimensions"):
        zarrds.save(tree(3, 5), path, append_dim="nothing")
    with pytest.raises(LabelError, match="nothing yet"):
        zarrds.save(tree(3, 5), path.with_name("none.zarr"), append_dim="time")


@pytest.mark.parametrize("group", [None, "inherits", "own", "inherits/deeper"])
def test_one_level_alone_does_not_grow(path: Path, group: str | None, zarr_format: Format) -> None:
    zarrds.save(tree(0, 3), path, zarr_format=zarr_format)
    before = files(path)
    level = tree(3, 5)[f"/{group or ''}"].to_dataset(inherit=False)
    with pytest.raises(LabelError, match="could not be opened as a DataTree any more") as caught:
        zarrds.save(level, path, group=group, append_dim="time")
    assert caught.value.key == (group or "/")
    assert files(path) == before
    # a part of the tree would leave the rest behind
    with pytest.raises(LabelError, match="DataTree"):
        zarrds.save(
            xr.DataTree.from_dict({"/inherits": tree(3, 5)["inherits"].to_dataset(inherit=False)}),
            path,
            append_dim="time",
        )


def test_groups_that_are_no_tree_grow_one_by_one(path: Path, zarr_format: Format) -> None:
    for n, group in enumerate([None, "a", "a/b"]):
        mode: Any = "a" if group else "w"
        zarrds.save(days(0, 2 + n), path, group=group, mode=mode, zarr_format=zarr_format)
    for n, group in enumerate([None, "a", "a/b"]):
        zarrds.save(days(2 + n, 9), path, group=group, append_dim="time")
        # siblings have nothing to do with each other
        zarrds.save(days(0, 1), path, group=f"sibling-{n}", mode="a")
    zarrds.save(days(1, 2), path, group="sibling-1", append_dim="time")
    assert xr.open_dataset(path, engine="zarrds", group="a/b").time.equals(days(0, 9).time)


def test_times_of_levels_may_go_on_with_other_resolutions(path: Path) -> None:
    for start in (0, 2):
        time = times("2000-01-01", 4)[start : start + 2]
        levels = {"/": xr.Dataset(coords={"time": time}), "/x": xr.Dataset({"v": ("time", [start, start])})}
        zarrds.save(xr.DataTree.from_dict(levels), path, append_dim="time" if start else None)
    assert xr.open_datatree(path, engine="zarrds")["x"].sizes["time"] == 4


def test_what_lies_above_many_levels_is_looked_at_once(zarr_format: Format) -> None:
    roots = ["above/zarr.json", "zarr.json"] if zarr_format == 3 else ["above/.zarray", ".zmetadata"]

    def n_reads(n_levels: int) -> list[int]:
        levels = {f"/{i}": xr.Dataset({"v": ("time", [i])}) for i in range(n_levels)}
        whole = xr.DataTree.from_dict({"/": xr.Dataset({"above": ("x", [1, 2])}), **levels})
        zarrds.save(whole, store := Counting(), zarr_format=zarr_format)
        store.reads.clear()
        zarrds.save(whole, store, append_dim="time")
        return [store.reads[key] for key in roots]

    assert n_reads(6) == n_reads(2)
