"""Every pandas index comes back as it was: both formats, numpy and dask, Dataset and DataTree, appends and regions."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.index_kinds import INDEXES, MULTI_INDEXES, N, assert_same_indexes, dataset_of
from tests.datasets.samples import open_zarrds
from zarrds.errors import EncodingError

KINDS = [*INDEXES, *MULTI_INDEXES]


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*cftime_range.*", category=DeprecationWarning)
        # xarray's own, when it looks at indexes, or assigns to a dataset with levels
        warnings.filterwarnings("ignore", message="(Period|Datetime)Index.values")
        warnings.filterwarnings("ignore", message="Deleting a single level")
        warnings.filterwarnings("ignore", message="invalid value encountered in cast")  # the same, a missing integer
        yield


@pytest.mark.one_in(12)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunks", [None, {}], ids=["numpy", "dask"])
@pytest.mark.parametrize("zarr_format", [3, 2])
def test_dataset(kind: str, chunks: Any, zarr_format: Any) -> None:
    store, ds = zarrds.MemoryStore(), dataset_of(kind)
    zarrds.save(ds, store, zarr_format=zarr_format)
    found = open_zarrds(store, chunks=chunks)
    assert (found.v.chunks is None) == (chunks is None)
    assert_same_indexes(found, ds)
    # and again, from what was opened
    again = zarrds.MemoryStore()
    zarrds.save(found, again, zarr_format=zarr_format)
    assert_same_indexes(open_zarrds(again, chunks=chunks), ds)


@pytest.mark.one_in(24)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("zarr_format", "chunks"), [(3, {}), (2, None)], ids=["3-dask", "2-numpy"])
def test_datatree(kind: str, chunks: Any, zarr_format: Any) -> None:
    store, ds = zarrds.MemoryStore(), dataset_of(kind)
    bare = xr.Dataset({"u": ("x", ds.v.values)})
    tree = xr.DataTree.from_dict({"/": ds, "/below": bare, "/other/own": ds})
    zarrds.save(tree, store, zarr_format=zarr_format)
    found = xr.open_datatree(store, engine="zarrds", chunks=chunks)
    assert set(found.groups) == set(tree.groups)
    for path in ("/", "/below", "/other/own"):
        assert_same_indexes(found[path].to_dataset(), tree[path].to_dataset())


# parts of these have another RangeIndex than the whole, or are labels twice
APPENDED = [kind for kind in KINDS if not kind.startswith(("categorical", "numpy-bool", "boolean", "Float32"))]


@pytest.mark.one_in(9)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zarr_format", [3, 2])
def test_append(kind: str, zarr_format: Any) -> None:
    whole = dataset_of(kind)
    labels = whole.indexes["x"]
    if not labels.is_unique or _misses_some(labels):
        pytest.skip("labels of a dimension that is appended to must be there, once")
    if not isinstance(labels, pd.MultiIndex | pd.IntervalIndex) and not _goes_on(labels):
        pytest.skip("these labels are in no order, so that a part cannot go behind another")
    store = zarrds.MemoryStore()
    zarrds.save(dataset_of(kind, slice(0, 4)), store, zarr_format=zarr_format)
    zarrds.save(dataset_of(kind, slice(4, None)), store, append_dim="x")
    assert_same_indexes(open_zarrds(store), whole)
    with pytest.raises(zarrds.errors.LabelError, match="overlap"):
        zarrds.save(dataset_of(kind, slice(4, None)), store, append_dim="x")
    zarrds.save(dataset_of(kind, slice(3, None)), store, append_dim="x", on_overlap="replace")
    zarrds.save(dataset_of(kind, slice(3, None)), store, append_dim="x", on_overlap="skip")
    assert_same_indexes(open_zarrds(store), whole)


def _misses_some(labels: pd.Index) -> bool:
    levels = [labels.get_level_values(i) for i in range(labels.nlevels)]
    return any(level.hasnans for level in levels)


def _goes_on(labels: pd.Index) -> bool:
    is_text = (labels.dtype.kind == "O" and isinstance(labels[0], str)) or isinstance(labels.dtype, pd.StringDtype)
    return is_text or labels.is_monotonic_increasing or labels.is_monotonic_decreasing


@pytest.mark.one_in(4)
@pytest.mark.parametrize("kind", KINDS)
def test_region(kind: str) -> None:
    whole = dataset_of(kind)
    store = zarrds.MemoryStore()
    zarrds.save(whole.assign(v=whole.v * 0), store)
    zarrds.save(dataset_of(kind, slice(0, 2)).drop_vars("y"), store, region={"x": slice(0, 2)})
    zarrds.save(dataset_of(kind, slice(2, None)), store, region={"x": slice(2, N), "y": slice(None)})
    assert_same_indexes(open_zarrds(store), whole)
    if whole.indexes["x"].is_unique and not _misses_some(whole.indexes["x"]):
        zarrds.save(dataset_of(kind, slice(1, 4)) * 2, store, region="auto")
        factor = np.array([1, 2, 2, 2, 1, 1])
        found = open_zarrds(store)
        np.testing.assert_array_equal(found.w, whole.w * factor)
        assert_same_indexes(found.drop_vars(["v", "w"]), whole.drop_vars(["v", "w"]))
    with pytest.raises(zarrds.errors.LabelError):
        zarrds.save(dataset_of(kind, slice(0, 2)).drop_vars("y"), store, region={"x": slice(1, 3)})


@pytest.mark.one_in(4)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zarr_format", [3, 2])
def test_added_variable(kind: str, zarr_format: Any) -> None:
    whole = dataset_of(kind)
    store = zarrds.MemoryStore()
    zarrds.save(whole[["v"]], store, zarr_format=zarr_format)
    zarrds.save(whole[["w"]], store, mode="a")
    assert_same_indexes(open_zarrds(store), whole)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zarr_format", [3, 2])
def test_other_readers(kind: str, zarr_format: Any, tmp_path: Path) -> None:
    """xarray's own engine opens it, with the same data and attributes, and plain labels that say the same."""
    ds = dataset_of(kind)
    zarrds.save(ds, tmp_path / "x.zarr", zarr_format=zarr_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own: string types of format 3, times
        other = xr.open_dataset(tmp_path / "x.zarr", engine="zarr").load()
    np.testing.assert_array_equal(other.v, ds.v)
    assert other.attrs == ds.attrs
    assert other.v.attrs == ds.v.attrs
    index = ds.indexes["x"]
    if isinstance(index, pd.MultiIndex):
        for level in index.names:
            assert other[level].dims == ("x",)
            assert level in other.coords
        assert "x" not in other.variables
    elif kind == "range":
        assert "x" not in other.variables
    elif isinstance(index, pd.IntervalIndex):
        bounds = other[other.x.attrs.get("bounds", other.x.encoding.get("bounds"))]
        left = index.left.tz_convert(None) if getattr(index.left, "tz", None) is not None else index.left
        np.testing.assert_array_equal(bounds[:, 0].values, left.values)
        assert bounds.shape == (N, 2)
    elif isinstance(index, pd.CategoricalIndex):
        categories = other["x_categories"]
        assert categories.size == len(index.categories)
        if "flag_meanings" in other.x.attrs:
            meanings = other.x.attrs["flag_meanings"].split()
            assert len(meanings) == len(np.atleast_1d(other.x.attrs["flag_values"])) == len(index.categories)
    elif isinstance(index, pd.DatetimeIndex):
        wanted = index if index.tz is None else index.tz_convert(None)
        np.testing.assert_array_equal(other.x.values, wanted.values)
    elif isinstance(index, pd.PeriodIndex):
        if not index.hasnans:
            np.testing.assert_array_equal(pd.DatetimeIndex(other.x.values), index.to_timestamp())
    elif isinstance(index, xr.CFTimeIndex):
        assert [str(label)[:19].replace("T", " ") for label in other.x.values] == [str(label) for label in index]
    else:
        assert other.x.dims == ("x",)
        present = ~np.asarray(index.isna())
        found = np.asarray(other.x.values)[present]
        if index.dtype != "Int64":  # which is a float to others where one is missing
            np.testing.assert_array_equal(found, np.asarray(index[present].astype(found.dtype)))


def test_append_without_the_multi_index(tmp_path: Path) -> None:
    """Levels that are no index in what is appended are one in the store: pairs must not be stored twice."""
    whole = dataset_of("numbers")
    zarrds.save(whole.isel(x=slice(0, 4)), tmp_path / "x.zarr")
    rest = whole.isel(x=slice(4, None)).reset_index("x")
    zarrds.save(rest, tmp_path / "x.zarr", append_dim="x")
    with pytest.raises(zarrds.errors.LabelError, match="overlap"):
        zarrds.save(rest, tmp_path / "x.zarr", append_dim="x")
    assert_same_indexes(open_zarrds(tmp_path / "x.zarr"), whole)
    other = whole.drop_vars([*"x", "letter", "number"]).assign_coords(
        xr.Coordinates.from_pandas_multiindex(MULTI_INDEXES["product"], "x")
    )
    with pytest.raises(zarrds.errors.LabelError, match="levels"):
        zarrds.save(other, tmp_path / "x.zarr", append_dim="x")


def test_levels_under_another_name_than_their_dimension() -> None:
    pairs = pd.MultiIndex.from_product([[1, 2], ["a", "b"]], names=["n", "s"])
    coords = xr.Coordinates.from_pandas_multiindex(pairs, "m")
    ds = xr.Dataset({"v": ("m", np.arange(4.0))}).assign_coords(coords)
    store = zarrds.MemoryStore()
    with pytest.raises(EncodingError, match=r"do not have the name of their dimension.*'m'.*expected 'other'"):
        zarrds.save(ds.rename_dims(m="other"), store)
    zarrds.save(ds.rename(m="other"), store)
    assert_same_indexes(open_zarrds(store), ds.rename(m="other"))


def test_levels_that_lost_their_index() -> None:
    """Another dimension is swapped: xarray leaves the MultiIndex to its dimension alone."""
    pairs = pd.MultiIndex.from_product([[1, 2], ["a", "b"]], names=["n", "s"])
    coords = xr.Coordinates.from_pandas_multiindex(pairs, "m")
    whole = xr.Dataset({"v": (("m", "x"), np.arange(8.0).reshape(4, 2))}).assign_coords(coords)
    whole.s.attrs["long_name"] = "second"
    swapped = whole.assign_coords(y=("x", [5, 6])).swap_dims(x="y")
    expected = xr.Dataset({"v": (("m", "y"), whole.v.values)}, {"y": [5, 6]}).assign_coords(coords)
    for ds in (swapped, swapped.chunk(m=1), swapped.drop_vars("n")):
        store = zarrds.MemoryStore()
        zarrds.save(ds.isel(m=slice(0, 2)), store)
        zarrds.save(ds.isel(m=slice(2, None)), store, append_dim="m")
        found = open_zarrds(store).load()
        assert_same_indexes(found, expected)
        xr.testing.assert_equal(found, expected)
        tree = zarrds.MemoryStore()
        zarrds.save(xr.DataTree.from_dict({"/a": ds}), tree)
        assert_same_indexes(open_zarrds(tree, group="a"), expected)
    with pytest.raises(EncodingError, match=r"'m'.*drop_vars\('m'\)"):
        zarrds.save(whole.assign_coords(y=("m", np.arange(4))).swap_dims(m="y"), zarrds.MemoryStore())
