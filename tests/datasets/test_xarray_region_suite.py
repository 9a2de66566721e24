"""xarray's own tests of regions that are found by their labels, and of saving a DataArray, run on zarrds.

What zarrds does in another way is overridden by name, with the reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.as_zarr_engine import Folder, leave_out, put_in_place

pytest.importorskip("dask", reason="xarray's tests of engines use dask arrays")
zarr = pytest.importorskip("zarr", reason="these are tests of the engine for zarr-python")
suite = pytest.importorskip("xarray.tests.test_backends", reason="this xarray was installed without its tests")


@pytest.fixture(autouse=True)
def _on_zarrds(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    leave_out(request)
    put_in_place(monkeypatch)


@pytest.fixture(params=["path", "memory"])
def tmp_store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    # xarray's other two are a zip file and a dict, which are stores of zarr-python
    return tmp_path if request.param == "path" else zarrds.MemoryStore()


@pytest.mark.slow
class TestZarrRegionAuto(Folder, suite.TestZarrRegionAuto):  # type: ignore[misc,name-defined]  # xarray is untyped there
    def test_zarr_region_index_write(self, tmp_path: Path) -> None:
        # xarray's test looks into its ZarrStore; here it is seen which files are written
        with self.create() as (store, ds):
            part = {"x": slice(2, 4), "y": slice(6, 8)}
            ones = 1 + ds.isel(part)
            before = files(store)
            for region in (part, "auto"):
                self.save(store, ones, region=region, mode="r+")
                after = files(store)
                written = {name.split("/")[0] for name in after if after[name] != before.get(name)}
                assert written == {"test"}
                before = after

    def test_zarr_region_append(self) -> None:
        # another error: "auto" stands for every dimension, also for that which grows
        with self.create() as (store, ds):
            new = xr.Dataset({"test": (("x", "y"), np.ones((3, 10)))}, {"x": [40, 50, 60], "y": ds.y})
            with pytest.raises(ValueError, match="cannot list the same dimension in both append_dim and region: 'x'"):
                self.save(store, new, mode="a", append_dim="x", region="auto")
            suite.assert_identical(ds, xr.open_zarr(store))

    # --------------------------------------------- dask blocks of any size may be written into chunks of any size: what
    # xarray's tests want to be refused is saved here, and must be right

    def test_zarr_region_chunk_partial(self) -> None:
        ds = xr.Dataset({"var1": (("a", "b", "c"), np.arange(120).reshape(4, 3, -1))})
        with self.create_zarr_target() as store:
            self.save(store, ds.chunk(5), compute=False, mode="w")
            for row in range(ds.sizes["a"]):
                self.save(store, ds.chunk(3).isel(a=[row]), region={"a": slice(row, row + 1)})
            suite.assert_identical(ds, xr.open_zarr(store))

    def test_zarr_append_chunk_partial(self) -> None:
        first = xr.DataArray(
            np.arange(100.0).reshape(1, 10, 10),
            dims=("time", "x", "y"),
            coords={"time": np.array(["2020-01-01"], "datetime64[ns]")},
            name="foo",
        )
        second = (first + 100).assign_coords(time=np.array(["2021-01-01"], "datetime64[ns]"))
        with self.create_zarr_target() as store:
            self.save(store, first, mode="w", encoding={"foo": {"chunks": (5, 5, 1)}})
            with pytest.raises(ValueError, match="encoding was provided"):
                self.save(store, second, append_dim="time", mode="a", encoding={"foo": {"chunks": (1, 1, 1)}})
            self.save(store, second.chunk({"x": 1, "y": 1, "time": 1}), append_dim="time", mode="a")
            stored = xr.open_zarr(store)["foo"]
            suite.assert_identical(stored, xr.concat([first, second], dim="time"))
            assert stored.encoding["chunks"] == (5, 5, 1)

    @pytest.mark.parametrize("safe_chunks", [True, False])
    def test_zarr_region_chunk_partial_offset(self, safe_chunks: bool) -> None:
        da = xr.DataArray(np.arange(30.0), dims=["x"], coords={"x": range(30)}, name="foo").chunk(x=10)
        with self.create_zarr_target() as store:
            self.save(store, da, compute=False)
            self.save(store, da.isel(x=slice(10)).chunk(x=10), region="auto")
            self.save(store, da.isel(x=slice(5, 25)).chunk(x=(10, 10)), safe_chunks=safe_chunks, region="auto")
            suite.assert_identical(xr.open_zarr(store)["foo"], da.where(da.x < 25))

    @pytest.mark.parametrize("blocks", [(2, 2), (3, 1), (8, 2), (3, 3, 1), (4, 3), (12,), (1,) * 9], ids=str)
    def test_zarr_safe_chunk_append_dim(self, blocks: tuple[int, ...]) -> None:
        da = xr.DataArray(np.arange(20.0), dims=["x"], coords={"x": range(20)}, name="foo")
        end = 7 + sum(blocks)
        with self.create_zarr_target() as store:
            self.save(store, da[:7].chunk(x=5), mode="w")
            self.save(store, da[7:end].chunk(x=blocks), append_dim="x", safe_chunks=True)
            suite.assert_identical(xr.open_zarr(store)["foo"], da[:end])
            assert xr.open_zarr(store)["foo"].encoding["chunks"] == (5,)

    @pytest.mark.parametrize("mode", ["r+", "a"])
    def test_zarr_safe_chunk_region(self, mode: str) -> None:
        expected = xr.DataArray(np.arange(11), dims=["a"], coords={"a": range(11)}, name="foo")
        parts: list[tuple[int, int, Any]] = [
            *((0, 3, (2, 1)), (1, 5, (3, 1)), (0, 5, (3, 1, 1)), (3, 9, 3), (9, 11, 3), (6, 11, -1), (3, 8, 3)),
            *((1, 4, (2, 1)), (1, 5, (4,)), (0, 5, (3, 2)), (1, 8, (5, 2)), (1, 9, 3), (10, 11, 3), (9, 10, 3)),
            *((7, 11, -1), (8, 11, 3), (5, 10, 5), (0, 11, 1)),
        ]
        with self.create_zarr_target() as store:
            self.save(store, expected.chunk(a=3), mode="w")
            for number, (start, stop, blocks) in enumerate(parts, 1):
                expected[start:stop] = expected[start:stop] + 100 * number
                self.save(store, expected[start:stop].chunk(a=blocks), region="auto", mode=mode)
                suite.assert_identical(xr.open_zarr(store)["foo"], expected)

    def test_zarr_region_of_the_last_chunk(self) -> None:
        # the end of xarray's test_zarr_safe_chunk_region: a whole chunk in the middle, of an array that ends within one
        ds = xr.Dataset({"temperature": (("time", "lat"), np.random.default_rng(0).random((2920, 5)))})
        with self.create_zarr_target() as store:
            self.save(store, ds.chunk({"time": 1000, "lat": 5}), compute=False, mode="w")
            for start in (1000, 2000, 0):
                region = {"time": slice(start, min(start + 1000, 2920), 1)}
                self.save(store, ds.isel(region).chunk(), region=region)
            suite.assert_identical(ds, xr.open_zarr(store))


def files(store: str) -> dict[str, tuple[int, int]]:
    """What tells two versions of each file apart, by name: a file that is written is another file."""
    found = {str(path.relative_to(store)): path.stat() for path in Path(store).rglob("*") if path.is_file()}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


class TestDataArrayToZarr(suite.TestDataArrayToZarr):  # type: ignore[misc,name-defined]  # xarray is untyped there
    pass
