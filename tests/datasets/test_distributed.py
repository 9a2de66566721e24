"""Lazy datasets and saves on a real cluster of two processes (the slowest of the tests)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
