"""Datasets that anybody opened lazily, in bounded memory: converted without dask, and brought into other chunks."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

import zarrds
from tests.releases import XARRAY
from zarrds.datasets.converting import without_dask
from zarrds.datasets.rechunking.by_parts import parts_of, write_parts
from zarrds.datasets.writing.placing import append
from zarrds.errors import EncodingError, LabelError, StoreExistsError, UnsupportedError, VariableNotFoundError


def field(n: int = 40, start: int = 0) -> xr.Dataset:
    values = np.arange(n * 12.0).reshape(n, 3, 4) / 8 + start
    values[3, 1] = np.nan
    packed = {"dtype": "i2", "scale_factor": 0.125, "_FillValue": -1, "chunksizes": (1, 3, 4)}
    return xr.Dataset(
        {
            "t2m": (("time", "lat", "lon"), values, {"units": "K"}, packed),
            "mask": (("lat", "lon"), np.ones((3, 4), "i1")),
            "who": ("time", np.array([f"n{i}" * (i + 1) for i in range(n)], object)),
        },
        {
            "time": pd.date_range("2000-01-01", periods=n, freq="h") + pd.Timedelta(start, "h"),
            "lat": [3.0, 2.0, 1.0],
            "step": ("time", np.arange(n)),
            "area": (("lat", "lon"), np.ones((3, 4))),
        },
        {"title": "field"},
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    field().to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    return tmp_path / "a.nc"


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No dask, and parts of a few steps."""
    monkeypatch.setattr(without_dask, "BLOCK_NBYTES", 4000)
    monkeypatch.setattr(without_dask, "find_spec", lambda name: None)
    monkeypatch.setattr("zarrds.datasets.converting.plan.find_spec", lambda name: None)


def loaded(path: Any) -> xr.Dataset:
    return xr.load_dataset(path, engine="zarrds" if str(path).endswith(".zarr") else "netcdf4")


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(("chunks", "zarr_format"), [(None, 3), ({"time": -1, "lat": 1}, 3), ({"time": 7}, 2)])
def test_one_file(file: Path, tmp_path: Path, chunks: Any, zarr_format: Any) -> None:
    target = tmp_path / "a.zarr"
    with xr.open_dataset(file, engine="netcdf4") as ds:
        assert parts_of(ds, 4000)
    zarrds.convert(file, target, chunks=chunks, zarr_format=zarr_format, statistics=True)
    xr.testing.assert_identical(loaded(target), loaded(file))
    expected = {None: (1, 3, 4), -1: (40, 1, 4), 7: (7, 3, 4)}[chunks["time"] if chunks else None]
    assert zarrds.open_array(target, path="t2m").chunks == expected
    assert zarrds.verify(target).ok
    assert zarrds.statistics(target, "t2m").known.all()
    assert sorted(os.listdir(tmp_path)) == ["a.nc", "a.zarr"]
    with pytest.raises(StoreExistsError):
        zarrds.convert(file, target)
    # the same as in one piece
    zarrds.save(loaded(file), tmp_path / "whole.zarr", zarr_format=zarr_format)
    for name in ("t2m", "who", "area"):
        one, other = (zarrds.open_array(path, path=name) for path in (target, tmp_path / "whole.zarr"))
        assert dict(one.attrs) == dict(other.attrs)


@pytest.mark.usefixtures("small_parts")
def test_groups_and_shards(tmp_path: Path) -> None:
    tree = xr.DataTree.from_dict({"/": field()[["mask"]], "/a/b": field()[["t2m"]]})
    tree.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    encoding = {"t2m": {"chunks": (10, 3, 4), "shards": (20, 3, 4)}}
    zarrds.convert(tmp_path / "a.nc", tmp_path / "g.zarr", group="a/b", encoding=encoding)
    zarrds.convert(tmp_path / "a.nc", tmp_path / "all.zarr")
    assert zarrds.open_array(tmp_path / "g.zarr", path="a/b/t2m").shards == (20, 3, 4)
    for store in ("g.zarr", "all.zarr"):
        found = xr.open_dataset(tmp_path / store, group="a/b", engine="zarrds").load()
        xr.testing.assert_identical(found, xr.load_dataset(tmp_path / "a.nc", group="a/b", engine="netcdf4"))


@pytest.mark.usefixtures("small_parts")
def test_several_files(file: Path, tmp_path: Path) -> None:
    field(30, 40).to_netcdf(tmp_path / "b.nc", engine="netcdf4")
    paths = [file, tmp_path / "b.nc"]
    zarrds.convert(paths, tmp_path / "a.zarr", concat_dim="time")
    both = xr.concat([loaded(path) for path in paths], "time", data_vars="minimal", coords="minimal")
    xr.testing.assert_equal(loaded(tmp_path / "a.zarr"), both)
    assert len(zarrds.convert(paths, tmp_path / "a.zarr", concat_dim="time").skipped) == 2


@pytest.mark.parametrize("target", ["memory", "local"])
def test_other_chunks_of_any_dataset(file: Path, tmp_path: Path, target: str) -> None:
    goal: Any = zarrds.MemoryStore() if target == "memory" else tmp_path / "b.zarr"
    times = slice(30, None, -2) if XARRAY >= (2026, 2) else slice(0, 31, 2)  # before, lazy data cannot be reversed
    with xr.open_dataset(file, engine="netcdf4") as opened:
        for ds in (opened, opened.isel(time=times, lat=[2, 0]), opened[["t2m"]] + 1, opened.load()):
            zarrds.rechunk(ds, goal, chunks={"time": -1, "lat": 1}, max_memory="40MB", mode="w")
            found = xr.open_dataset(goal, engine="zarrds")
            assert found.t2m.encoding["chunks"] == (ds.sizes["time"], 1, 4)
            xr.testing.assert_identical(found.load(), ds.load())
    if target == "local":
        assert sorted(os.listdir(tmp_path)) == ["a.nc", "b.zarr"]


def test_what_a_dataset_cannot_be_asked_for(file: Path, tmp_path: Path) -> None:
    with xr.open_dataset(file, engine="netcdf4") as ds:
        _check_what_cannot_be_asked_for(ds, tmp_path)


def _check_what_cannot_be_asked_for(ds: xr.Dataset, tmp_path: Path) -> None:
    (tmp_path / "there.zarr").mkdir()
    zarrds.save(ds[["mask"]], tmp_path / "there.zarr")
    for options, error in (
        ({"group": "g"}, UnsupportedError),
        ({"variables": ["t2"]}, VariableNotFoundError),
        ({"chunks": {"x": 1}}, EncodingError),
        ({"max_memory": "x"}, EncodingError),
        ({"mode": "a"}, EncodingError),
        ({"encoding": {"t2": {}}}, VariableNotFoundError),
    ):
        with pytest.raises(error):
            zarrds.rechunk(ds, tmp_path / "b.zarr", **options)
    with pytest.raises(StoreExistsError):
        zarrds.rechunk(ds, tmp_path / "there.zarr")
    assert sorted(os.listdir(tmp_path)) == ["a.nc", "there.zarr"]


def test_chunks_that_do_not_fit_are_told_before_anything_is_read(tmp_path: Path) -> None:
    dask = pytest.importorskip("dask.array")
    read: list[int] = []
    large = dask.zeros((4000, 100, 100), chunks=(10, 100, 100)).map_blocks(lambda block: read.append(1) or block)
    ds = xr.Dataset({"v": (("t", "y", "x"), large)})
    read.clear()
    with pytest.raises(EncodingError, match=r"max_memory is too small for a chunk.*'v'.*at least"):
        zarrds.rechunk(ds, tmp_path / "b.zarr", chunks={"t": -1}, max_memory="20MB")
    with pytest.raises(EncodingError, match=r"dimension that is not there.*Did you mean 't'"):
        zarrds.rechunk(ds, tmp_path / "b.zarr", chunks={"tt": -1}, max_memory="20MB")
    assert not read
    assert not os.listdir(tmp_path)


def test_where_parts_are_cut() -> None:
    def lazily(**dims: int) -> xr.Variable:
        pytest.importorskip("dask")
        return xr.Variable(tuple(dims), np.zeros(tuple(dims.values()))).chunk(dict.fromkeys(dims, 10))

    ds = xr.Dataset({"a": lazily(t=100, x=50), "small": lazily(x=50)})
    parts = parts_of(ds, 10_000)
    assert parts is not None
    assert (parts.dim, parts.step) == ("t", 20)
    assert parts_of(ds, 10**6) is None
    # a row of chunks that is too large is cut
    parts = parts_of(ds, 2000)
    assert parts is not None
    assert (parts.step, parts.chunks["a"], parts.source_chunks["a"]) == (5, (5, 10), (10, 10))
    # labels that could not be appended are not cut
    missing = ds.assign_coords(t=[np.nan, *range(99)])
    parts = parts_of(missing, 10_000)
    assert parts is not None
    assert parts.dim == "x"
    assert parts_of(missing.isel(x=0, drop=True), 100) is None


class Recorded(BackendArray):
    """Lazy values, of which it is recorded how many are read at once."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.values, self.shape, self.dtype, self.most = values, values.shape, values.dtype, 0

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._get)

    def _get(self, key: Any) -> Any:
        found = self.values[key]
        self.most = max(self.most, found.nbytes)
        return found


def recorded(dims: tuple[str, ...], values: np.ndarray[Any, Any], **encoding: Any) -> tuple[xr.Variable, Recorded]:
    array = Recorded(values)
    return xr.Variable(dims, indexing.LazilyIndexedArray(array), {"units": "1"}, encoding), array


WHOLE: dict[str, tuple[np.ndarray[Any, Any], dict[str, Any]]] = {
    "floats": (np.where(np.eye(40), np.nan, np.arange(1600.0).reshape(40, 40)), {}),
    "packed": (np.arange(1600.0).reshape(40, 40) / 4, {"dtype": "i2", "scale_factor": 0.25, "_FillValue": -1}),
    "a packing that does not fit": (np.arange(1600.0).reshape(40, 40) / 3, {"dtype": "i2", "scale_factor": 0.25}),
    "floats as longer ones": (np.arange(1600, dtype="f4").reshape(40, 40), {"dtype": "f8"}),
    "integers": (np.arange(1600, dtype="u4").reshape(40, 40), {"_FillValue": 7}),
    "few integers": (np.arange(1600, dtype="u1").reshape(40, 40), {"dtype": "u1"}),
    "zeros and ones": (np.arange(1600, dtype="i1").reshape(40, 40) % 2, {}),
    "booleans": (np.arange(1600).reshape(40, 40) % 3 == 0, {"dtype": "i1"}),
    "complex": (np.arange(1600).reshape(40, 40) * (1 + 2j), {}),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_large_variables_without_the_dimension_that_is_cut(kind: str) -> None:
    values, encoding = WHOLE[kind]
    cut, cut_array = recorded(("t", "x"), np.arange(6000.0).reshape(300, 20), chunks=(10, 20))
    large, large_array = recorded(("y", "z"), values, **encoding, chunks=(7, 13))
    ds = xr.Dataset({"cut": cut, "large": large}, {"y": np.arange(40) * 2})
    ds = ds.set_coords("large") if "integers" in kind else ds
    parts = parts_of(ds, 1000)
    assert parts is not None
    assert parts.dim == "t"
    hidden, target = zarrds.MemoryStore(), zarrds.MemoryStore()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)  # of the packing
        write_parts(ds, hidden, parts)
        assert max(cut_array.most, large_array.most) <= 1000 + 7 * 13 * 8
        zarrds.save(ds.load(), target)
    found, expected = (xr.open_dataset(store, engine="zarrds").load() for store in (hidden, target))
    xr.testing.assert_identical(found, expected)
    xr.testing.assert_identical(found, ds)
    assert zarrds.verify(hidden).ok
    one, other = (zarrds.open_array(store, path="large") for store in (hidden, target))
    assert (one.dtype, dict(one.attrs)) == (other.dtype, dict(other.attrs))


def test_where_nothing_can_be_cut() -> None:
    large, array = recorded(("t", "x"), np.arange(6000.0).reshape(300, 20), chunks=(10, 20))
    ds = xr.Dataset({"v": large}, {"t": [np.nan, *range(299)], "x": [np.nan, *range(19)]})
    target = zarrds.MemoryStore()
    zarrds.rechunk(ds, target, chunks={"t": -1, "x": 2}, max_memory="300kB", workers=1)
    assert array.most < 40_000
    xr.testing.assert_identical(xr.open_dataset(target, engine="zarrds").load(), ds.load())
    # of several dimensions one is cut of which a step fits
    wide, _ = recorded(("t", "x"), np.zeros((3, 4000)), chunks=(1, 100))
    parts = parts_of(xr.Dataset({"v": wide}), 10_000)
    assert parts is not None
    assert (parts.dim, parts.step) == ("x", 400)


@pytest.mark.parametrize("is_complete", [True, False])
def test_what_stays_is_compared_in_parts(monkeypatch: pytest.MonkeyPatch, is_complete: bool) -> None:
    monkeypatch.setattr(append, "_PART", 1000)
    values = np.arange(1600.0).reshape(40, 40)
    store = zarrds.MemoryStore()
    ds = xr.Dataset({"v": ("t", [1.0]), "large": (("y", "z"), values, {}, {"chunks": (7, 13)})}, {"t": [0]})
    zarrds.save(ds, store)
    if not is_complete:
        zarrds.save(ds, store, mode="w", write_empty_chunks=False)
        array = zarrds.open_array(store, path="large", mode="r+")
        values = values.copy()
        values[30:, 20:] = np.nan
        array[...] = values
    new, recorder = recorded(("y", "z"), np.arange(1600.0).reshape(40, 40))
    more = ds.assign(large=new).assign_coords(t=[1])
    zarrds.save(more, store, append_dim="t")
    assert is_complete is (recorder.most <= 1000 + 7 * 13 * 8)  # what is new is written whole
    found = xr.open_dataset(store, engine="zarrds").load()
    assert found.sizes["t"] == 2
    np.testing.assert_array_equal(found.large, ds.large)
    other = ds.large.values.copy()
    other[[2, 39], [30, 0]] = -1
    with pytest.raises(LabelError, match=r"2 of 1600 differ, the first at y=2, z=30"):
        zarrds.save(more.assign(large=(("y", "z"), other)).assign_coords(t=[2]), store, append_dim="t")


@pytest.mark.usefixtures("small_parts")
def test_several_inputs_that_are_cut_otherwise() -> None:
    """Each is appended in parts along the dimension that they are joined along, whatever else is larger."""
    store = zarrds.MemoryStore()
    large = np.arange(8000.0).reshape(200, 40)
    for start in (0, 40):
        lazy, recorder = recorded(("t", "x"), np.arange(1600.0).reshape(40, 40) + start)
        still, other = recorded(("y", "x"), large)
        ds = xr.Dataset({"v": lazy, "large": still}, {"t": np.arange(40) + start})
        zarrds.convert([ds], store, concat_dim="t")
        assert recorder.most <= 4000
        assert start or other.most <= 4000
    found = xr.open_dataset(store, engine="zarrds").load()
    each = [np.arange(1600.0).reshape(40, 40) + start for start in (0, 40)]
    np.testing.assert_array_equal(found.v, np.concatenate(each))
    np.testing.assert_array_equal(found.large, large)


# before each of the programs below
TELLING = """
import sys
def memory(which):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(which)) / 1024
"""
MEMORY = """
sys.modules["dask"] = None
import zarrds, xarray, netCDF4, numcodecs, blosc
import zarrds.datasets.converting.convert, zarrds.datasets.rechunking.passes
source, target = sys.argv[1:]
zarrds.convert(source, target + "0", group="few")  # what is imported counts for nothing
before = memory("VmRSS")
zarrds.convert(source, target, group="many", chunks={"t": -1, "y": 64, "x": 64}, durable=False)
print(memory("VmHWM") - before)
"""


def fields(path: Path, mib: int) -> None:
    """A file with a group of a few maps, and one of many, of 1 MiB, one a chunk, with as much that is no map."""
    values = np.arange(512.0, dtype="f4")
    maps = np.broadcast_to(values[:, None] * 7 + values, (mib, 512, 512))
    xr.Dataset({"v": (("t", "y", "x"), maps[:2])}).to_netcdf(path, group="few", engine="netcdf4")
    still = np.broadcast_to(np.arange(8192.0, dtype="f4"), (mib * 32, 8192))
    many = xr.Dataset(
        {
            "v": (("t", "y", "x"), maps, {}, {"chunksizes": (1, 512, 512)}),
            "still": (("j", "i"), still, {}, {"chunksizes": (256, 512)}),
        }
    )
    many.to_netcdf(path, group="many", mode="a", engine="netcdf4")


def told(code: str, *words: object) -> float:
    """What a process of its own prints."""
    command = [sys.executable, "-c", TELLING + code, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by /proc")
def test_memory_stays_flat_without_dask(tmp_path: Path) -> None:
    fields(tmp_path / "a.nc", 256)
    assert told(MEMORY, tmp_path / "a.nc", tmp_path / "a.zarr") < 256


OTHER_CHUNKS = """
import zarrds, xarray, netCDF4, numcodecs, blosc
import zarrds.datasets.rechunking.passes
source, target, engine, limit = sys.argv[1:]
import dask
dask.config.set(num_workers=2)
chunks = {"t": 16} if engine == "dask" else None
few = xarray.open_dataset(source, group="few", engine="netcdf4", chunks=chunks)
zarrds.rechunk(few + 1, target + "0", max_memory=f"{limit}MiB")  # what is imported counts for nothing
ds = xarray.open_dataset(source, group="many", engine="netcdf4", chunks=chunks)
before = memory("VmRSS")
zarrds.rechunk(ds, target, chunks={"t": -1, "y": 64, "x": 64}, max_memory=f"{limit}MiB", durable=False)
print(memory("VmHWM") - before)
"""
# what netCDF-C keeps of the chunks of each of the two variables by itself, in MiB
NETCDF_CACHE = 64


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by /proc")
@pytest.mark.parametrize("how", ["lazy", "dask"])
def test_memory_of_other_chunks_stays_within_the_bound(tmp_path: Path, how: str) -> None:
    fields(tmp_path / "a.nc", 256)
    of_dask = 2 * 16 if how == "dask" else 0  # blocks that its threads hold
    grown = told(OTHER_CHUNKS, tmp_path / "a.nc", tmp_path / "a.zarr", how, 96)
    assert grown < 96 + 2 * NETCDF_CACHE + of_dask


DAYS = """
import zarrds, xarray, netCDF4, numcodecs, blosc, dask.array
first, *paths, target = sys.argv[1:]
zarrds.convert(first, target, concat_dim="time", durable=False)
before = memory("VmRSS")
zarrds.convert([first, *paths], target, concat_dim="time", durable=False)
grown = memory("VmHWM") - before
again = zarrds.convert([first, *paths], target, concat_dim="time")
assert (len(again.written), len(again.skipped)) == (0, len(paths) + 1)
print(grown)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by /proc")
def test_thirty_days_take_no_more_memory_than_five(tmp_path: Path) -> None:
    pytest.importorskip("dask")
    values = np.arange(24 * 128 * 200, dtype="f4").reshape(24, 128, 200)
    paths = [tmp_path / f"{number:02}.nc" for number in range(30)]
    for number, path in enumerate(paths):
        times = pd.date_range("2000-01-01", periods=24, freq="h") + pd.Timedelta(number, "D")
        day = xr.Dataset({"v": (("time", "y", "x"), values + number)}, {"time": times})
        day.to_netcdf(path, engine="netcdf4", encoding={"v": {"chunksizes": (4, 128, 200)}})
    grown = []
    for n in (5, 30):
        grown.append(told(DAYS, *paths[:n], tmp_path / f"{n}.zarr"))
    assert grown[1] < grown[0] + 20  # MiB, of 59 more
    found = xr.open_dataset(tmp_path / "30.zarr", engine="zarrds")
    assert found.sizes["time"] == 720
    assert float(found.v[700, 3, 5]) == values[700 % 24, 3, 5] + 29


@pytest.mark.parametrize("is_stored", [False, True])
def test_shards_of_dimensions_that_are_not_named(is_stored: bool) -> None:
    ds: Any = xr.Dataset({"f": (("x", "y"), np.arange(270.0).reshape(9, 30))})
    source: Any = zarrds.MemoryStore() if is_stored else ds
    if is_stored:
        zarrds.save(ds, source, encoding={"f": {"chunks": (9, 30)}})
    once, twice = zarrds.MemoryStore(), zarrds.MemoryStore()
    zarrds.rechunk(source, once, chunks={"x": 3, "y": 8}, shards={"x": 9})  # one new chunk, where there were none
    zarrds.rechunk(once, twice, chunks={"x": 2, "y": 5}, shards={"x": 4})  # whole new chunks, where there were some
    assert [zarrds.open_array(store, path="f").shards for store in (once, twice)] == [(9, 8), (4, 10)]
    assert (zarrds.open_array(twice, path="f")[...] == ds.f.values).all()
    target = zarrds.MemoryStore()
    with pytest.raises(EncodingError, match=r"multiples of chunks.*at 'f'") as error:
        zarrds.rechunk(source, target, chunks={"x": 4}, shards={"x": 6})
    assert error.value.path == (source.path if is_stored else target.path)
    assert len(zarrds.rechunk_plan(once, chunks={"x": 2}, workers=10**9).arrays) == 1
