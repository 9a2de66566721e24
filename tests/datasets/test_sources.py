"""Data that is read lazily from the store that it is saved into: nothing of it is lost."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import Format
from zarrds.compat import releases
from zarrds.datasets.writing.sources import reads_from
from zarrds.errors import EncodingError
from zarrds.labels.sorted.lazy_index import LazyIndex, unread_window
from zarrds.storage.local.store import LocalStore

N = 70_000  # fewer labels are read at once


@functools.cache
def _large(dtype: str) -> xr.Dataset:
    steps = np.arange(N) * 10 + np.arange(N) % 7
    hours = pd.date_range("2000-01-01", periods=100, freq="h", tz="Europe/London").astype(object).to_numpy()
    labels: Any = np.array([f"{n:07}" for n in steps], object) if dtype == "text" else steps
    if dtype == "times":
        labels = np.datetime64("2000-01-01", "s") + steps
    data = {
        "v": ("x", np.arange(N)),
        "kind": ("x", pd.Categorical.from_codes(np.arange(N) % 3, ["low", "high", "none"])),
        "count": ("x", pd.array([None, *range(1, N)], dtype="Int32")),
        "when": ("x", np.resize(hours, N)),
    }
    return xr.Dataset(data, {"x": labels.astype(float) if dtype == "floats" else labels})


def large(dtype: str) -> xr.Dataset:
    """Irregular labels, in several chunks, and data of kinds that only pandas knows."""
    return _large(dtype).copy()


def saved(path: Path, dtype: str, zarr_format: Format = 3) -> xr.Dataset:
    zarrds.save(
        large(dtype), path, zarr_format=zarr_format, encoding={"x": {"chunks": (1000,)}, "v": {"chunks": (1000,)}}
    )
    return opened(path)


def opened(path: Path, **options: Any) -> xr.Dataset:
    return xr.open_dataset(path, engine="zarrds", **{"index": "lazy", **options})


def is_stored(path: Path, expected: xr.Dataset) -> None:
    found = opened(path, index="pandas").load()
    xr.testing.assert_identical(found, expected)
    pd.testing.assert_index_equal(found.indexes["x"], expected.indexes["x"], exact=True)
    assert zarrds.verify(path).ok


@pytest.mark.one_in(4)
@pytest.mark.parametrize("dtype", ["ints", "floats", "text", "times"])
def test_labels_that_lie_in_the_store_are_seen(path: Path, dtype: str) -> None:
    ds = saved(path, dtype)
    assert isinstance(ds.indexes["x"], LazyIndex)
    here, elsewhere = LocalStore(path), LocalStore(path.with_name("other.zarr"))
    for part in (ds.x, ds.x[10:], ds.rename(x="y").y, ds.copy().x, ds.chunk().x):
        assert reads_from([part.variable], here)
        assert not reads_from([part.variable], elsewhere)
    assert unread_window(ds.indexes["x"]) is not None  # looking reads nothing
    ds.indexes["x"].to_numpy()
    assert not reads_from([ds.x.variable], here)


@pytest.mark.one_in(6)
@pytest.mark.parametrize("chunks", [None, {}])
@pytest.mark.parametrize("name", ["kind", "count", "when"])
def test_data_that_only_pandas_knows_is_seen(path: Path, name: str, chunks: Any) -> None:
    saved(path, "ints")
    variable = opened(path, chunks=chunks)[name].variable
    assert reads_from([variable], LocalStore(path))
    assert not reads_from([variable], LocalStore(path.with_name("other.zarr")))
    assert not reads_from([variable.compute()], LocalStore(path))


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "zarr_format"), [("ints", 3), ("text", 2), ("times", 3), ("times", 2)])
def test_a_store_over_itself(path: Path, dtype: str, zarr_format: Format) -> None:
    ds = saved(path, dtype, zarr_format)
    zarrds.save(ds, path, mode="w", zarr_format=zarr_format)
    is_stored(path, large(dtype))
    ds = opened(path)
    zarrds.save(ds.isel(x=slice(300, None)), path, mode="w", zarr_format=zarr_format)
    is_stored(path, large(dtype).isel(x=slice(300, None)))


@pytest.mark.parametrize("chunks", [None, {}])
def test_a_store_over_itself_later(path: Path, chunks: Any) -> None:
    ds = saved(path, "ints")[["x"]]
    with pytest.raises(EncodingError, match="still to be read from the store"):
        zarrds.save(ds, path, mode="w", compute=False)
    for name in ("kind",) if chunks is not None else ("kind", "when"):
        with pytest.raises(EncodingError, match="still to be read from the store"):
            zarrds.save(opened(path, chunks=chunks)[[name]].drop_vars("x"), path, mode="w", compute=False)
    is_stored(path, large("ints"))


def test_objects_of_dask_over_their_own_store_later(path: Path) -> None:
    """They are computed at once."""
    saved(path, "ints")
    zarrds.save(opened(path, chunks={})[["when"]].drop_vars("x"), path, mode="w", compute=False)
    xr.testing.assert_identical(opened(path).load(), large("ints")[["when"]].drop_vars("x"))


def test_an_append_of_itself(path: Path) -> None:
    whole = large("ints")
    zarrds.save(whole, path, encoding={"x": {"chunks": (1000,)}, "v": {"chunks": (1000,)}})
    more = opened(path)
    more = more.assign_coords(x=more.x + 10 * N)
    zarrds.save(more, path, append_dim="x")
    expected = xr.concat([whole, whole.assign_coords(x=whole.x + 10 * N)], "x")
    found = opened(path)
    assert isinstance(found.indexes["x"], LazyIndex)  # the record has grown with it
    np.testing.assert_array_equal(found.x, expected.x)
    for part in (slice(0, N), slice(N, None)):
        xr.testing.assert_identical(found.isel(x=part).drop_vars("x").load(), whole.drop_vars("x"))


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [None, {"x": 1000}])
def test_a_region_of_itself(path: Path, chunks: Any) -> None:
    """Half of it is moved up, so that what is written is read for what comes after it."""
    ds = saved(path, "ints").drop_vars("x")
    # of objects in dask's hands nobody knows that they are times
    ds = ds.drop_vars("when").chunk(chunks) if chunks else ds
    zarrds.save(ds.isel(x=slice(0, N - 500)), path, region={"x": slice(500, N)})
    expected = large("ints")
    for name in ds:
        values = expected[name].values.copy()
        values[500:] = values[: N - 500].copy()
        expected[name] = ("x", values)
    is_stored(path, expected)


@pytest.mark.slow
def test_a_part_of_itself_with_its_labels(path: Path) -> None:
    ds = saved(path, "times")
    zarrds.save(ds.isel(x=slice(20, 2000)), path, region={"x": slice(20, 2000)})
    zarrds.save(ds.isel(x=slice(20, 2000)), path, region="auto")
    is_stored(path, large("times"))


@pytest.mark.parametrize("chunks", [None, {}])
def test_the_lazy_data_of_any_release_of_xarray(tmp_path: Path, chunks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "_LAZY", releases._Reversible)  # as with xarray 2025.12
    zarrds.save(xr.Dataset({"v": ("x", np.arange(9))}), tmp_path / "x.zarr")
    ds = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds", chunks=chunks)
    assert reads_from([ds.v.variable], LocalStore(tmp_path / "x.zarr"))
