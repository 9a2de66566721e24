"""Reading and every way of writing on a real cluster of two processes (the slowest of the tests)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds

distributed = pytest.importorskip("distributed", reason="distributed is not installed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with (
        distributed.LocalCluster(2, threads_per_worker=2, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        yield


def dataset() -> xr.Dataset:
    return xr.Dataset(
        {"v": (("y", "x"), np.random.default_rng(0).random((90, 70))), "s": ("y", [f"n{i}" for i in range(90)])},
        {"y": np.arange(90)},
    )


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_load_and_save(tmp_path: Path) -> None:
    ds = dataset()
    zarrds.save(ds, tmp_path / "1.zarr", encoding={"v": {"chunks": (20, 30)}})
    lazy = xr.open_dataset(tmp_path / "1.zarr", engine="zarrds", chunks={})
    xr.testing.assert_identical(lazy.compute(), ds)
    # blocks that share chunks, written by different processes
    zarrds.save(lazy.chunk({"y": 7, "x": 11}), tmp_path / "2.zarr", encoding={"v": {"chunks": (16, 32)}}, progress=True)
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "2.zarr", engine="zarrds").load(), ds)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_failure_in_a_worker(tmp_path: Path) -> None:
    zarrds.save(dataset(), tmp_path / "1.zarr")
    (tmp_path / "1.zarr" / "v" / "c.0.0").write_bytes(b"")
    lazy = xr.open_dataset(tmp_path / "1.zarr", engine="zarrds", chunks={})
    # the error comes back whole from another process
    with pytest.raises(zarrds.errors.ChunkError) as caught:
        zarrds.save(lazy.chunk({"y": 30}), tmp_path / "2.zarr")
    assert (caught.value.path, caught.value.key) == (str(tmp_path / "1.zarr"), "v/c.0.0")
    assert not (tmp_path / "2.zarr").exists()


def split(ds: xr.Dataset, *, rows: int = 7, columns: int = 11) -> xr.Dataset:
    """Blocks that share chunks with their neighbours."""
    return ds.chunk({"y": rows, "x": columns})


@pytest.mark.one_in(9)
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("zarr_format", [3, 2])
def test_save_append_and_regions(tmp_path: Path, zarr_format: Any) -> None:
    path, ds = tmp_path / "x.zarr", dataset()
    encoding = {"v": {"chunks": (16, 32)}, "s": {"chunks": (12,)}}
    zarrds.save(split(ds.isel(y=slice(0, 35))), path, encoding=encoding, zarr_format=zarr_format)
    zarrds.save(split(ds.isel(y=slice(35, 71)), rows=5), path, append_dim="y")
    reader = xr.open_dataset(path, engine="zarrds", chunks={})
    zarrds.save(split(ds.isel(y=slice(71, 90))), path, append_dim="y")
    xr.testing.assert_identical(reader.compute(), ds.isel(y=slice(0, 71)))
    for engine in ("zarrds", "zarr"):
        xr.testing.assert_identical(xr.open_dataset(path, engine=engine).load(), ds)
    part = ds[["v"]].isel(y=slice(13, 78), x=slice(3, 65)) + 1
    zarrds.save(split(part), path, region={"y": "auto", "x": slice(3, 65)})
    expected = ds.copy(deep=True)
    expected["v"][13:78, 3:65] += 1
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds").load(), expected)
    # of this very store, while others of its chunks are replaced
    lazy = xr.open_dataset(path, engine="zarrds", chunks={})[["v"]].isel(x=slice(1, None))
    zarrds.save(split(lazy.drop_vars("y")), path, region={"x": slice(0, -1)})
    expected["v"][:, :-1] = expected.v.values[:, 1:]
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds").load(), expected)
    assert [p.name for p in tmp_path.rglob(".*") if p.name.endswith(".zarrds-partial")] == []


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_many_regions_at_once(tmp_path: Path) -> None:
    path, ds = tmp_path / "x.zarr", dataset()
    later = zarrds.save(split(ds), path, encoding={"v": {"chunks": (16, 32)}, "s": {"chunks": 50}}, compute=False)
    assert xr.open_dataset(path, engine="zarrds").v.isnull().all()

    def write(start: int, stop: int) -> None:
        zarrds.save(ds.isel(y=slice(start, stop)), path, region="auto")

    client = distributed.get_client()
    ends = [0, 7, 19, 20, 37, 52, 70, 90]
    client.gather([client.submit(write, *part) for part in pairwise(ends)])
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds").load(), ds)
    for chunk in (*path.glob("v/c.*"), *path.glob("s/c.*")):
        chunk.unlink()
    later.compute()
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds").load(), ds)
    (path / "v" / "c.2.1").unlink()
    with pytest.raises(zarrds.errors.ChunkError, match="missing"):
        xr.open_dataset(path, engine="zarrds", chunks={}).compute()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_check_that_fails_in_a_worker(tmp_path: Path) -> None:
    path, ds = tmp_path / "x.zarr", dataset()
    zarrds.save(ds, path, encoding={"v": {"dtype": "i2", "scale_factor": 1e-4, "_FillValue": -1}})
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    more = ds.assign_coords(y=ds.y + 90)
    more["v"][60, 60] = 4.5
    with pytest.raises(zarrds.errors.EncodingError, match=r"cannot hold.*found 4.5 at y=60, x=60"):
        zarrds.save(split(more), path, append_dim="y")
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
