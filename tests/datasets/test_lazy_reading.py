"""Variables of an opened dataset, read when they are needed: by threads, event loops and dask, in other processes."""

from __future__ import annotations

import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import VARIED_CHUNKS, Counting, open_zarrds, varied


@pytest.fixture
def path(tmp_path: Path, zarr_format: int) -> Path:
    path = tmp_path / "x.zarr"
    zarrds.save(varied(), path, encoding=VARIED_CHUNKS, zarr_format=zarr_format)
    return path


def test_selections_read_only_their_chunks(zarr_format: int) -> None:
    store = Counting()
    zarrds.save(varied(), store, encoding=VARIED_CHUNKS, zarr_format=zarr_format)
    ds = open_zarrds(store, chunk_cache=0)

    def chunks_read(selected: xr.DataArray) -> set[str]:
        store.reads.clear()
        selected.variable.load()
        return {key.removeprefix("v/c.").removeprefix("v/").replace(".", "/") for key in store.reads}

    assert chunks_read(ds.v.sel(time="2019-03-06", x=40)) == {"1/1"}
    assert chunks_read(ds.v.isel(time=[0, 9])) == {"0/0", "0/1", "2/0", "2/1"}
    assert chunks_read(ds.v.isel(time=[0, 9], x=[5, 4])) == {"0/1", "2/1"}
    points = {"time": xr.DataArray([0, 9], dims="p"), "x": xr.DataArray([0, 5], dims="p")}
    assert chunks_read(ds.v.isel(points)) == {"0/0", "2/1"}
    assert chunks_read(ds.v.isel(time=slice(None, None, -9))) == {"2/0", "2/1", "0/0", "0/1"}
    assert chunks_read(ds.v.isel(time=slice(0, 0))) == set()


def test_preferred_chunks(path: Path) -> None:
    ds = open_zarrds(path, chunks={})
    assert ds.v.chunks == ((4, 4, 2), (3, 3))
    assert ds.w.chunks == ((4, 4, 2),)
    assert ds.v.encoding["preferred_chunks"] == {"time": 4, "x": 3}
    assert open_zarrds(path).v.chunks is None
    assert open_zarrds(path, chunks={"time": 8}).v.chunks == ((8, 2), (3, 3))
    assert open_zarrds(path, chunks=-1).v.chunks == ((10,), (6,))
    # neither dask nor xarray can guess the size of objects
    plain = {"drop_variables": ["s", "label"]}
    assert open_zarrds(path, chunks="auto", **plain).v.chunks == ((10,), (6,))
    for chunks in ({}, {"time": 8}, {"time": 5}, -1, 3):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The specified chunks separate")
            ours, theirs = (xr.open_dataset(path, engine=engine, chunks=chunks) for engine in ("zarrds", "zarr"))
        assert {n: v.chunks for n, v in ours.variables.items()} == {n: v.chunks for n, v in theirs.variables.items()}
        xr.testing.assert_identical(ours.compute(), varied())


def test_token_follows_the_content(path: Path, zarr_format: int) -> None:
    memory = zarrds.MemoryStore()
    zarrds.save(varied(), memory, zarr_format=zarr_format)
    for store in (path, str(path), zarrds.LocalStore(path), memory):
        names = [open_zarrds(store, chunks={}).v.data.name for _ in range(2)]
        assert names[0] == names[1]
        zarrds.save(varied(), store, mode="w", zarr_format=zarr_format)
        assert open_zarrds(store, chunks={}).v.data.name != names[0]
    other = zarrds.MemoryStore()
    zarrds.save(varied(), other, zarr_format=zarr_format)
    assert open_zarrds(other, chunks={}).v.data.name != open_zarrds(memory, chunks={}).v.data.name


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_dask_schedulers(path: Path, scheduler: str) -> None:
    ds = open_zarrds(path, chunks={"time": 8})
    with dask.config.set(scheduler=scheduler):
        xr.testing.assert_identical(ds.compute(), varied())
        xr.testing.assert_identical((ds.v.mean("time") + ds.w).compute(), varied().v.mean("time") + varied().w)


@pytest.mark.parametrize("chunks", [None, {}])
def test_pickles(path: Path, chunks: Any) -> None:
    for opened in (
        open_zarrds(path, chunks=chunks),
        open_zarrds(path, chunks=chunks).isel(time=slice(2, 8, 3), x=[3, 0]),
    ):
        content = pickle.dumps(opened)
        assert len(content) < 20_000
        copy = pickle.loads(content)
        assert not copy.v.variable._in_memory
        xr.testing.assert_identical(copy.load(), opened.load())
    store = zarrds.MemoryStore()
    zarrds.save(varied(), store)
    copy = pickle.loads(pickle.dumps(open_zarrds(store, chunks=chunks)))
    zarrds.save(xr.Dataset(), store, mode="w")  # the copy has a store of its own
    xr.testing.assert_identical(copy.load(), varied())


@pytest.mark.parametrize("workers", [None, 1, 4])
def test_many_threads_load_from_one_dataset(tmp_path: Path, workers: int | None) -> None:
    rng = np.random.default_rng(0)
    ds = xr.Dataset({"v": (("y", "x"), rng.random((300, 400))), "s": ("y", [f"n{i}" for i in range(300)])})
    zarrds.save(ds, tmp_path / "x.zarr", encoding={"v": {"chunks": (40, 30)}})
    opened = open_zarrds(tmp_path / "x.zarr", cache=False, workers=workers)

    def check(i: int) -> None:
        selection = {"y": slice(i * 7, 300 - i, 1 + i % 3), "x": [i, 399 - i, 200]}
        xr.testing.assert_identical(opened.isel(selection).load(), ds.isel(selection))
        xr.testing.assert_identical(opened.compute(), ds)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(check, range(32)))


def test_indexing_as_numpy(path: Path) -> None:
    expected = varied()
    for key in (
        {"time": 3},
        {"time": -1, "x": -6},
        {"time": slice(1, 9, 3), "x": slice(None, None, -1)},
        {"time": [5, 5, 0], "x": [True, False, True, False, False, True]},
        {"x": xr.DataArray([[0, 1], [5, 2]], dims=("p", "q"))},
        {"time": xr.DataArray([9, 0], dims="p"), "x": xr.DataArray([1, 1], dims="p")},
        {"time": np.array([], int)},
    ):
        xr.testing.assert_identical(open_zarrds(path).isel(key).load(), expected.isel(key))
        chained = open_zarrds(path).isel(time=slice(1, None)).isel(time=slice(None, None, 2))
        xr.testing.assert_identical(chained.load(), expected.isel(time=slice(1, None, 2)))


@pytest.mark.parametrize("size", [0, 3])
@pytest.mark.parametrize("kind", ["numbers", "text", "StringDType", "zone", "cftime"])
def test_nothing_is_selected(kind: str, size: int) -> None:
    """Backwards too, where xarray asks for the last one; of dates of cftime it asks for the first."""
    zones = pd.date_range("2000", periods=3, tz="UTC").astype(object).to_numpy()
    values = {
        "numbers": np.arange(3),
        "text": np.array(["a", None, "b"], object),
        "StringDType": np.array(["a", "b", "c"], np.dtypes.StringDType()),
        "zone": zones,
        "cftime": xr.date_range("2000", periods=3, calendar="noleap", use_cftime=True).to_numpy(),
    }[kind][:size]
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", values), "w": (("x", "y"), np.stack([values] * 2, 1))}), store)
    for part in (slice(2, 2, -1), slice(0, 2, -1), slice(5, 3, -2), [], slice(0, 0)):
        opened = open_zarrds(store)
        chosen = opened.isel(x=part).load()
        assert chosen.sizes == {"x": 0, "y": 2}
        assert [v.dtype for v in chosen.variables.values()] == [v.dtype for v in opened.variables.values()]
    backwards = open_zarrds(store).isel(x=slice(None, None, -1)).load()
    xr.testing.assert_identical(backwards, open_zarrds(store).load().isel(x=slice(None, None, -1)))


def test_use_after_close(path: Path) -> None:
    with open_zarrds(path) as ds:
        pass
    xr.testing.assert_identical(ds.load(), varied())


def test_an_encoding_that_is_changed_is_that_of_one_variable_alone(tmp_path: Path) -> None:
    ds = xr.Dataset({"a": ("x", np.arange(4.0)), "b": ("x", np.arange(4.0))})
    zarrds.save(ds, tmp_path / "s")
    with xr.open_dataset(tmp_path / "s", engine="zarrds") as opened:
        opened.a.encoding["serializer"]["configuration"]["endian"] = "big"
        opened.a.encoding["compressors"][0]["configuration"]["cname"] = "none"
        for other in (opened.b, xr.open_dataset(tmp_path / "s", engine="zarrds").a):
            assert other.encoding["serializer"]["configuration"] == {"endian": "little"}
            assert other.encoding["compressors"][0]["configuration"]["cname"] == "lz4"
            xr.testing.assert_equal(other.drop_vars([]), ds[other.name])


@pytest.mark.asyncio
async def test_load_async(path: Path) -> None:
    xr.testing.assert_identical(await open_zarrds(path).load_async(), varied())
    selected = open_zarrds(path).isel(time=[7, 1], x=slice(None, None, -2))
    xr.testing.assert_identical(await selected.load_async(), varied().isel(time=[7, 1], x=slice(None, None, -2)))
