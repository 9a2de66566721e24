"""Stores with arrays whose chunks differ in length, as datasets: read, copied, described, and edited around."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.arrays.rectilinear import BYTES, ZSTD, document, put_array
from tests.arrays.test_rectilinear import axes_of
from zarrds import LocalStore, MemoryStore
from zarrds.errors import UnsupportedError

AXES: list[Any] = [[3, [1, 2], 5], 4]
TIME = np.arange(8, dtype="i8")
VALUES = np.arange(80, dtype="i4").reshape(8, 10)


def new_store(store: Any = None) -> Any:
    """A coordinate, data and text with chunks that differ; and a variable of zarrds beside them."""
    store = MemoryStore() if store is None else store
    zarrds.save(xr.Dataset({"plain": ("y", np.arange(5.0))}), store)
    units = {"units": "hours since 2000-01-01"}
    time = document((8,), [[3, 5]], "int64", dimension_names=["time"], attributes=units)
    root = bytes(store.get("zarr.json"))
    put_array(store, "time", TIME, time)
    packed = {"scale_factor": 0.5, "units": "K"}
    put_array(store, "t2m", VALUES, document((8, 10), AXES, dimension_names=["time", "x"], attributes=packed))
    words = np.array(["", "a", "é€", "long" * 9] * 2, object)
    text = document((8,), [[[1, 2], 7]], "string", [{"name": "vlen-utf8"}, ZSTD], dimension_names=["time"])
    put_array(store, "word", words, text | {"fill_value": ""})
    found = json.loads(root)
    for path in ("time", "t2m", "word"):
        found["consolidated_metadata"]["metadata"][path] = json.loads(bytes(store.get(f"{path}/zarr.json")))
    store.set("zarr.json", json.dumps(found).encode())
    return store


EXPECTED = xr.Dataset(
    {
        "plain": ("y", np.arange(5.0)),
        "t2m": (("time", "x"), VALUES * 0.5, {"units": "K"}),
        "word": ("time", np.array(["", "a", "é€", "long" * 9] * 2, object)),
    },
    {"time": np.datetime64("2000-01-01", "ns") + TIME * np.timedelta64(1, "h")},
)


ONE_DAY = np.timedelta64(1, "D")


def opened(store: Any, **options: Any) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xr.open_dataset(store, engine="zarrds", **options)


def grid_of(store: Any, path: str) -> Any:
    return json.loads(bytes(store.get(f"{path}/zarr.json")))["chunk_grid"]


def contents(store: Any) -> dict[str, bytes]:
    return {key: bytes(store.get(key)) for key in store.list_prefix("")}


@pytest.mark.parametrize("chunks", [None, {}, "auto", {"time": 2}, 3], ids=str)
@pytest.mark.parametrize("consolidated", [True, False])
def test_opening(chunks: Any, consolidated: bool) -> None:
    store = new_store()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of xarray, for chunks that cut stored ones
        left_out = ["word"] if chunks == "auto" else []  # which dask does not cut by itself
        ds = xr.open_dataset(store, engine="zarrds", chunks=chunks, consolidated=consolidated, drop_variables=left_out)
    xr.testing.assert_identical(ds.load(), EXPECTED.drop_vars(left_out))
    assert (ds.t2m.encoding["chunks"], ds.time.encoding["chunks"]) == ((5, 4), (5,))


def test_parts() -> None:
    ds = opened(new_store())
    part: dict[str, Any] = {"time": slice(None, None, -3), "x": [9, 0, 4]}
    xr.testing.assert_identical(ds.isel(part).load(), EXPECTED.isel(part))
    xr.testing.assert_identical(ds.sel(time="2000-01-01T05").load(), EXPECTED.sel(time="2000-01-01T05"))
    points = {"time": xr.DataArray([7, 0, 3], dims="p"), "x": xr.DataArray([0, 9, 5], dims="p")}
    xr.testing.assert_identical(ds.isel(points).load(), EXPECTED.isel(points))


@pytest.mark.parametrize("chunks", [None, {}])
def test_saved_again_the_chunks_are_regular(chunks: Any) -> None:
    store = MemoryStore()
    zarrds.save(opened(new_store(), chunks=chunks), store)
    xr.testing.assert_identical(opened(store).load(), EXPECTED)
    assert grid_of(store, "t2m") == {"name": "regular", "configuration": {"chunk_shape": [5, 4]}}
    assert zarrds.verify(store).ok


def test_copies(tmp_path: Path) -> None:
    """A copy of all has the chunks and the grids of the source; one with other chunks is decoded."""
    source = new_store()
    for statistics in (None, True):
        for target in (MemoryStore(), LocalStore(tmp_path / f"{statistics}.zarr")):
            zarrds.copy(source, target, statistics=statistics)
            xr.testing.assert_identical(opened(target).load(), EXPECTED)
            assert zarrds.verify(target).ok
            assert grid_of(target, "t2m") == grid_of(source, "t2m")
            assert bytes(target.get("t2m/c/3/1") or b"") == bytes(source.get("t2m/c/3/1"))
    asked: list[dict[Any, int]] = [{"x": 3}, {"time": 5, "x": 4}, {"time": -1}]
    for chunks in asked:
        target = MemoryStore()
        zarrds.rechunk(source, target, chunks=chunks)
        xr.testing.assert_identical(opened(target).load(), EXPECTED)
        assert grid_of(target, "t2m")["name"] == "regular"
        assert zarrds.verify(target).ok
    target = MemoryStore()
    zarrds.rechunk(source, target, chunks={"time": 5, "x": 4}, shards={"time": 10, "x": 8}, max_memory="64MB")
    xr.testing.assert_identical(opened(target).load(), EXPECTED)


WRITES: list[Callable[[Any, xr.Dataset], Any]] = [
    lambda store, ds: zarrds.save(ds[["t2m", "word"]].assign_coords(time=ds.time + ONE_DAY), store, append_dim="time"),
    lambda store, ds: zarrds.save(ds[["t2m"]] + 1, store, mode="a"),
    lambda store, ds: zarrds.save(ds[["t2m"]].drop_vars("time"), store, region={"time": slice(8), "x": slice(10)}),
    lambda store, ds: zarrds.save(ds[["t2m"]], store, region="auto"),
    lambda store, ds: zarrds.save(ds[["t2m"]].chunk(), store, mode="r+"),
]


@pytest.mark.parametrize("write", WRITES)
def test_elements_are_not_written(write: Callable[[Any, xr.Dataset], Any]) -> None:
    store = new_store()
    before = contents(store)
    with pytest.raises(UnsupportedError, match="only read") as caught:
        write(store, EXPECTED)
    assert caught.value.key in ("t2m", "time")
    assert contents(store) == before


def test_what_stands_beside_it_is_changed() -> None:
    store = new_store()
    before = {key: value for key, value in contents(store).items() if key.startswith(("t2m/", "word/", "time/"))}
    zarrds.save(xr.Dataset({"plain": ("y", [9.0])}), store, append_dim="y")
    zarrds.save(xr.Dataset({"new": ("z", [1, 2, 3])}), store, mode="a")
    zarrds.save(xr.Dataset({"more": (("time", "z"), np.ones((8, 3)))}, {"time": EXPECTED.time}), store, mode="a")
    after = contents(store)
    assert {key: after[key] for key in before} == before
    found = opened(store).load()
    np.testing.assert_array_equal(found.plain, [0, 1, 2, 3, 4, 9])
    xr.testing.assert_identical(found.t2m, EXPECTED.t2m)
    assert zarrds.verify(store).ok


def test_edits_keep_the_grid() -> None:
    store = new_store()
    grid = grid_of(store, "t2m")
    zarrds.update_attrs(store, {"long_name": "temperature"}, "t2m")
    assert grid_of(store, "t2m") == grid
    zarrds.rename(store, {"t2m": "temperature", "x": "lon"})
    zarrds.drop_vars(store, ["word"])
    assert grid_of(store, "temperature") == grid
    consolidated = json.loads(bytes(store.get("zarr.json")))["consolidated_metadata"]["metadata"]
    assert consolidated["temperature"]["chunk_grid"] == grid
    found = opened(store)
    np.testing.assert_array_equal(found.temperature, EXPECTED.t2m)
    assert (found.temperature.dims, found.temperature.long_name) == (("time", "lon"), "temperature")


def test_queries_read_all() -> None:
    """Nothing is noted of their chunks, so queries read them; what a forged note says is not believed."""
    store = new_store()
    for _ in range(2):
        found = zarrds.find(store, "t2m > 38")
        np.testing.assert_array_equal(found.t2m, [38.5, 39, 39.5])
        assert float(zarrds.aggregate(store, "t2m", "mean")) == float(EXPECTED.t2m.mean())
        zarrds.index(store)
        raw = json.loads(bytes(store.get("t2m/zarr.json")))
        store.set("t2m/.zarrds/.zarrds.json", json.dumps({"must_understand": False, "statistics": True}).encode())
        assert "zarrds" not in raw
    with pytest.raises(UnsupportedError, match="nothing is noted"):
        zarrds.index(store, "t2m")
    with pytest.raises(UnsupportedError, match="cannot be searched"):
        zarrds.index(store, "time")


@pytest.mark.filterwarnings("ignore:the 8 labels of 'time'")  # which asks for lazy indexes
def test_descriptions() -> None:
    store = new_store()
    info = zarrds.info(store, stored=True)
    (variable,) = (each for each in info.variables if each.name == "t2m")
    assert (variable.chunks, variable.edges) == ((5, 4), (((3, 1), (1, 2), (5, 1)), 4))
    assert variable.stored is not None
    assert (variable.stored.n_chunks, variable.stored.n_expected) == (12, 12)
    assert "≤ 5×4" in str(info)
    assert json.loads(json.dumps(info.to_dict()))["variables"]["t2m"]["edges"] == [[[3, 1], [1, 2], [5, 1]], 4]
    assert "t2m:units" in info.cdl()


def test_export(tmp_path: Path) -> None:
    zarrds.export(new_store(), tmp_path / "out.nc")
    with xr.open_dataset(tmp_path / "out.nc") as ds:
        np.testing.assert_array_equal(ds.t2m, EXPECTED.t2m)
        np.testing.assert_array_equal(ds.word, EXPECTED.word)


@given(data=st.data(), shape=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_any_grid_is_copied_and_saved(data: st.DataObject, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    store, copied, saved, other = (MemoryStore() for _ in range(4))
    raw = document(shape, data.draw(axes_of(shape)), "float64", [BYTES], dimension_names=["y", "x"])
    put_array(store, "v", values, raw)
    assert zarrds.verify(store).ok
    zarrds.copy(store, copied)
    zarrds.save(opened(store), saved)
    zarrds.rechunk(store, other, chunks={"y": data.draw(st.integers(1, 9))})
    for each in (store, copied, saved, other):
        np.testing.assert_array_equal(opened(each).v, values)
