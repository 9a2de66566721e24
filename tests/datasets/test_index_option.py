"""`index`, `index_threshold` and `intervals` of the engine."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from pandas.api.extensions import ExtensionDtype

import zarrds
from tests.datasets.index_kinds import INDEXES
from tests.datasets.same import assert_same
from tests.datasets.samples import Format
from tests.datasets.samples import open_zarrds as opened
from zarrds.errors import EncodingError, LabelError, UnsupportedError, VariableNotFoundError
from zarrds.labels.sorted.lazy_index import LazyDatetimeIndex, LazyIndex

N = 70_000  # more than are read at once
STEPS = np.cumsum(1 + np.arange(N) % 3)
LAZY: dict[str, np.ndarray] = {
    "int64": STEPS,
    "uint8": np.sort(np.arange(N) % 200).astype("u1"),
    "int64, decreasing": STEPS[::-1].copy(),
    "float32": (STEPS / 4).astype("f4"),
    "float64": np.sqrt(STEPS),
    "text": np.array([f"rs{step:07}" for step in STEPS], object),
    **{f"datetime64[{unit}]": STEPS.astype("M8[h]").astype(f"M8[{unit}]") for unit in ("s", "ms", "us", "ns")},
}
AUTO = {"index_threshold": 1000}


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def dataset_of(labels: Any) -> xr.Dataset:
    return xr.Dataset({"v": ("x", np.arange(len(labels)))}, {"x": ("x", labels, {"units_of": "labels"})})


def saved(path: Path, labels: Any, **options: Any) -> Path:
    zarrds.save(dataset_of(labels), path, encoding={"x": {"chunks": 4096}}, **options)
    return path


def saved_by_others(path: Path, labels: Any, zarr_format: Format = 3) -> Path:
    dataset_of(labels).to_zarr(path, zarr_format=zarr_format, encoding={"x": {"chunks": 4096}}, consolidated=False)
    return path


def opened_index(store: Any, **options: Any) -> Any:
    return opened(store, **options).indexes["x"]


def assert_lazy(ds: xr.Dataset, plain: xr.Dataset) -> None:
    index: Any = ds.indexes["x"]
    assert isinstance(index, LazyIndex)
    assert type(ds.xindexes["x"]) is xr.indexes.PandasIndex
    assert not index._window.is_read
    pd.testing.assert_index_equal(index.plain(), plain.indexes["x"], exact=True)
    xr.testing.assert_identical(ds, plain)
    assert (ds.x.dtype, ds.x.attrs) == (plain.x.dtype, plain.x.attrs)
    assert repr(ds.x.encoding) == repr(plain.x.encoding)  # it may hold NaN


@pytest.mark.one_in(4)
@pytest.mark.parametrize("kind", LAZY)
@pytest.mark.parametrize("chunks", [None, {}], ids=["numpy", "dask"])
def test_labels_are_left_in_the_store(path: Path, zarr_format: Format, kind: str, chunks: Any) -> None:
    saved(path, LAZY[kind], zarr_format=zarr_format)
    plain = opened(path, index="pandas", chunks=chunks)
    assert not isinstance(plain.indexes["x"], LazyIndex)
    assert_lazy(opened(path, index="lazy", chunks=chunks), plain)
    assert_lazy(opened(path, **AUTO, chunks=chunks), plain)


def test_auto_goes_by_the_threshold(path: Path) -> None:
    saved(path, STEPS)
    assert type(opened_index(path)) is pd.Index
    assert type(opened_index(path, index_threshold=N)) is pd.Index
    assert type(opened_index(path, index_threshold=N - 1)) is LazyIndex
    assert type(opened_index(path, index_threshold=0)) is LazyIndex
    assert type(opened_index(path, index="pandas", index_threshold=0)) is pd.Index
    assert type(opened_index(path, index="lazy", index_threshold=N)) is LazyIndex


def test_few_labels_are_read_at_once(path: Path) -> None:
    zarrds.save(dataset_of(STEPS[:100]), path)
    assert type(opened_index(path, index="lazy")) is pd.Index
    xr.testing.assert_identical(opened(path, index="lazy"), dataset_of(STEPS[:100]))


@pytest.mark.parametrize("step", [1, 5, -7])
@pytest.mark.parametrize("options", [{"index": "lazy"}, AUTO], ids=["lazy", "auto"])
def test_a_proven_range_is_a_range(path: Path, step: int, options: Any) -> None:
    labels = 1000 + step * np.arange(N)
    saved(path, labels)
    index = opened_index(path, **options)
    assert isinstance(index, pd.RangeIndex)
    assert (index.start, index.step, len(index)) == (1000, step, N)
    np.testing.assert_array_equal(index, labels)
    assert type(opened_index(path)) is pd.Index


def test_without_checksums_nothing_is_proven(path: Path) -> None:
    saved(path, np.arange(N) * 2, zarr_format=2)
    assert_lazy(opened(path, index="lazy"), opened(path, index="pandas"))


def test_what_is_nearly_a_range_is_none(path: Path) -> None:
    labels = np.arange(N)
    labels[-1] += 1
    saved(path, labels)
    assert type(opened_index(path, index="lazy")) is LazyIndex


def test_a_range_that_was_saved_as_one_stays_one(path: Path) -> None:
    zarrds.save(dataset_of(pd.RangeIndex(5, 5 + 3 * N, 3)), path)
    for index in ("auto", "lazy", "pandas"):
        assert opened_index(path, index=index).equals(pd.RangeIndex(5, 5 + 3 * N, 3))
        assert isinstance(opened_index(path, index=index), pd.RangeIndex)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("options", [{"index": "lazy"}, AUTO], ids=["lazy", "auto"])
@pytest.mark.parametrize("kind", ["int64", "datetime64[ns]", "text"])
def test_stores_of_others_warn_until_their_order_is_noted(
    path: Path, zarr_format: Format, kind: str, options: Any
) -> None:
    saved_by_others(path, LAZY[kind], zarr_format)
    plain = opened(path, index="pandas")
    with pytest.warns(UserWarning, match=r"70000 labels of 'x'.*zarrds\.index\(store, 'x'\).*index='pandas'"):
        found = opened(path, **options)
    assert not isinstance(found.indexes["x"], LazyIndex)
    xr.testing.assert_identical(found, plain)
    opened(path)  # below the threshold nothing is said
    zarrds.index(path, "x")
    assert_lazy(opened(path, **options), plain)
    assert isinstance(opened_index(path, **options), LazyDatetimeIndex) == (kind == "datetime64[ns]")


def test_unsorted_labels_warn(path: Path) -> None:
    labels = np.random.default_rng(0).permutation(N)
    saved(path, labels)
    with pytest.warns(UserWarning, match="read into memory"):
        found = opened(path, index="lazy")
    xr.testing.assert_identical(found, dataset_of(labels))
    assert type(found.indexes["x"]) is pd.Index


def test_labels_that_were_changed_by_others_warn(path: Path) -> None:
    saved(path, STEPS)
    group: Any = zarr.open_group(path, mode="r+")
    group["x"][5] = 10**9
    told = pytest.warns(UserWarning, match=r"labels were changed since.*zarrds\.index")
    with pytest.warns(UserWarning, match="read into memory"), told:
        found = opened(path, index="lazy")
    assert found.indexes["x"].get_loc(10**9) == 5


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"index": "fast"}, "'auto', 'pandas', 'lazy' or 'none'"),
        ({"index": None}, "'auto', 'pandas', 'lazy' or 'none'"),
        ({"index": np.array([1, 2])}, "'auto', 'pandas', 'lazy' or 'none'"),
        ({"index": ["lazy"]}, "'auto', 'pandas', 'lazy' or 'none'"),
        ({"index_threshold": -1}, "index_threshold"),
        ({"index_threshold": 1e6}, "index_threshold"),
        ({"index_threshold": True}, "index_threshold"),
        ({"index_threshold": "many"}, "index_threshold"),
    ],
)
@pytest.mark.parametrize("function", [xr.open_dataset, xr.open_datatree, xr.open_groups])
def test_wrong_options(path: Path, options: Any, error: str, function: Any) -> None:
    zarrds.save(dataset_of([1, 2]), path)
    with pytest.raises(EncodingError, match=error):
        function(path, engine="zarrds", **options)


@pytest.mark.parametrize("labels", [STEPS, pd.period_range("2000", periods=9), pd.RangeIndex(5)], ids=type)
def test_no_index_at_all(path: Path, labels: Any) -> None:
    zarrds.save(dataset_of(labels), path)
    found = opened(path, index="none", create_default_indexes=False)
    assert dict(found.xindexes) == {}
    assert found.sizes == {"x": len(labels)}
    np.testing.assert_array_equal(found.v, np.arange(len(labels)))
    if labels is STEPS:
        np.testing.assert_array_equal(found.x, labels)
        assert type(found.set_xindex("x").indexes["x"]) is pd.Index


@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize("kind", INDEXES)
def test_data_comes_back_as_it_was_without_any_index(path: Path, kind: str, made: bool) -> None:
    data = INDEXES[kind]
    ds = xr.Dataset({"v": ("x", data.array if isinstance(data.dtype, ExtensionDtype) else data.to_numpy())})
    zarrds.save(ds, path)
    assert_same(opened(path).load(), opened(path, index="none", create_default_indexes=made).load())


@pytest.mark.parametrize("labels", [pd.array([1, 2**60 + 1], dtype="Int64"), np.array([2**60 + 1, -1], object)])
def test_labels_that_decoding_would_round(path: Path, labels: Any) -> None:
    zarrds.save(dataset_of(labels), path)
    found = opened(path, index="none", create_default_indexes=False)
    assert dict(found.xindexes) == {}
    assert found.x.values.tolist() == list(labels)


def test_trees_and_several_files(tmp_path: Path) -> None:
    tree = xr.DataTree.from_dict({"/a": dataset_of(STEPS), "/b/c": dataset_of(STEPS * 2)})
    encoding = {path: {"x": {"chunks": 4096}} for path in ("/a", "/b/c")}
    zarrds.save(tree, tmp_path / "tree.zarr", encoding=encoding)
    found = xr.open_datatree(tmp_path / "tree.zarr", engine="zarrds", index="lazy")
    groups = xr.open_groups(tmp_path / "tree.zarr", engine="zarrds", index="lazy")
    for path in ("/a", "/b/c"):
        assert type(found[path].to_dataset().indexes["x"]) is type(groups[path].indexes["x"]) is LazyIndex
    xr.testing.assert_identical(found, tree)
    parts = [saved(tmp_path / "0.zarr", STEPS), saved(tmp_path / "1.zarr", STEPS + STEPS[-1])]
    options: Any = {"combine": "by_coords", "data_vars": "all", "coords": "minimal", "compat": "override"}
    lazy, plain = (
        xr.open_mfdataset(parts, engine="zarrds", join="outer", index=index, **options) for index in ("lazy", "pandas")
    )
    assert lazy.v.chunks is not None
    xr.testing.assert_identical(lazy, plain)
    assert type(lazy.indexes["x"]) is type(plain.indexes["x"])


def test_an_opened_dataset_outlives_an_append_and_pickles(path: Path) -> None:
    saved(path, STEPS)
    before = opened(path, index="lazy")
    restored = pickle.loads(pickle.dumps(before))
    assert type(restored.indexes["x"]) is LazyIndex
    zarrds.save(dataset_of(STEPS[-1] + STEPS[:5000]), path, append_dim="x")
    after = opened(path, index="lazy")
    assert type(after.indexes["x"]) is LazyIndex
    assert (len(restored.indexes["x"]), len(after.indexes["x"])) == (N, N + 5000)
    assert after.indexes["x"].get_loc(STEPS[-1] + STEPS[4999]) == N + 4999


# ---- CF bounds as intervals


# to be removed with the mistake
def saved_bounds(path: Path, zarr_format: Format = 3) -> tuple[Path, pd.DatetimeIndex]:
    """Months by xarray's own engine, each with both of its ends."""
    ends = pd.date_range("2000-01-01", periods=13, freq="MS")
    ds = xr.Dataset(
        {"t2m": ("time", np.arange(12.0)), "time_bnds": (("time", "bnds"), np.stack([ends[:-1], ends[1:]], axis=1))},
        {"time": ("time", ends[:-1] + (ends[1:] - ends[:-1]) / 2, {"bounds": "time_bnds", "axis": "T"})},
    )
    ds.time.encoding["units"] = "hours since 2000-01-01"
    ds.to_zarr(path, zarr_format=zarr_format, consolidated=False)
    return path, ends


@pytest.mark.one_in(3)
@pytest.mark.parametrize("closed", ["left", "right", "both", "neither"])
@pytest.mark.parametrize("chunks", [None, {}], ids=["numpy", "dask"])
def test_bounds_are_intervals_if_asked(path: Path, zarr_format: Format, closed: Any, chunks: Any) -> None:
    _, ends = saved_bounds(path, zarr_format)
    found = opened(path, intervals={"time": closed}, chunks=chunks)
    index: Any = found.indexes["time"]
    assert isinstance(index, pd.IntervalIndex)
    assert index.closed == closed
    assert list(index.left) == list(ends[:-1])
    assert list(index.right) == list(ends[1:])
    assert float(found.t2m.sel(time="2000-03-05")) == 2
    assert found.time.attrs == {"axis": "T"}
    assert "time_bnds" not in found.variables
    assert isinstance(opened(path).indexes["time"], pd.DatetimeIndex)
    again = zarrds.MemoryStore()
    zarrds.save(found, again)
    xr.testing.assert_identical(opened(again), found)


def test_bounds_of_a_tree_are_intervals(path: Path) -> None:
    saved_bounds(path)
    tree = xr.open_datatree(path, engine="zarrds", intervals={"time": "left"})
    assert isinstance(tree.to_dataset().indexes["time"], pd.IntervalIndex)


@pytest.mark.parametrize(
    ("intervals", "error", "match"),
    [
        ({"time": "up"}, EncodingError, "'left', 'right', 'both' or 'neither'"),
        ({"space": "left"}, VariableNotFoundError, "bounds"),
        ({"t2m": "left"}, VariableNotFoundError, "bounds"),
        ({"time_bnds": "left"}, VariableNotFoundError, "bounds"),
    ],
)
def test_wrong_intervals(path: Path, intervals: Any, error: type[Exception], match: str) -> None:
    saved_bounds(path)
    with pytest.raises(error, match=match):
        opened(path, intervals=intervals)


def test_bounds_that_do_not_fit(path: Path) -> None:
    saved_bounds(path)
    bounds = zarrds.open_array(path, mode="r+", path="time_bnds")
    bounds[3] = bounds[3][::-1]
    with pytest.raises(LabelError, match="cannot be intervals"):
        opened(path, intervals={"time": "left"})
    opened(path)


def test_labels_that_cannot_be_searched(path: Path) -> None:
    packed = {"dtype": "i2", "scale_factor": 0.1, "_FillValue": -1}
    dataset_of(np.arange(3) / 10).to_zarr(path, encoding={"x": packed}, consolidated=False)
    with pytest.raises(UnsupportedError):
        zarrds.index(path, "x")
    with pytest.warns(UserWarning, match="read into memory"):
        assert opened(path, index="lazy").indexes["x"].dtype == np.float64


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_timedeltas_are_searched_too(path: Path, unit: Any) -> None:
    spans = (pd.timedelta_range("1h", periods=70_000, freq="37min").as_unit(unit) + pd.Timedelta("1s"))[::-1]
    ds = xr.Dataset({"v": ("x", np.arange(70_000))}, {"x": pd.TimedeltaIndex(spans, freq=None)})
    zarrds.save(ds, path, encoding={"x": {"chunks": (1000,)}})
    found = opened(path, index="lazy")
    assert "Lazy" in type(found.indexes["x"]).__name__
    at = ds.x.values[[5, 60_000]]
    xr.testing.assert_identical(found.sel(x=at), ds.sel(x=at))
    xr.testing.assert_identical(found.sel(x=slice(at[0], at[1])).load(), ds.sel(x=slice(at[0], at[1])))
