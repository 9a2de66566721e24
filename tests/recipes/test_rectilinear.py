"""zarr-python, from the release on that writes chunks which differ in length."""

# needs: dask[array]
# python: python3.13 python3.12 python3.14

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds

zarr = pytest.importorskip("zarr", minversion="3.2")

AXES: Any = [[2, 5, 4], [3, 1, 3]]
KEYS: list[Any] = [np.s_[:], np.s_[::-2, 1:], np.s_[3], np.s_[-1, -1], np.s_[2:7, ::3]]


@pytest.mark.parametrize("dtype", ["f8", "i2", "U5", "S3", "M8[s]"])
def test_chunks_that_differ_are_read(tmp_path: Path, dtype: str) -> None:
    data = np.random.default_rng(0).integers(0, 1000, (11, 7)).astype(dtype)
    with zarr.config.set({"array.rectilinear_chunks": True}):
        group = zarr.create_group(tmp_path / "x.zarr")
        group.create_array("v", shape=(11, 7), chunks=AXES, dtype=dtype, dimension_names=("y", "x"))[:] = data
    array = zarrds.open_array(tmp_path / "x.zarr" / "v")
    for key in KEYS:
        np.testing.assert_array_equal(array[key], data[key])
    for chunks in (None, {}):
        ds = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds", chunks=chunks)
        np.testing.assert_array_equal(ds.v.values, data)
    assert zarrds.verify(tmp_path / "x.zarr").ok


def test_an_array_that_grew_and_shrank(tmp_path: Path) -> None:
    with zarr.config.set({"array.rectilinear_chunks": True}):
        theirs = zarr.create_array(tmp_path / "x.zarr", shape=(11, 7), chunks=AXES, dtype="f4")
        for size in (11, 14, 6):
            theirs.resize((size, 7))
            theirs[:] = np.random.default_rng(size).random((size, 7))
            np.testing.assert_array_equal(zarrds.open_array(tmp_path / "x.zarr")[:], theirs[:])


def test_shards_that_differ_are_read(tmp_path: Path) -> None:
    data = np.arange(77, dtype="i4").reshape(11, 7)
    with zarr.config.set({"array.rectilinear_chunks": True}):
        zarr.create_array(tmp_path / "x.zarr", shape=(11, 7), chunks=(1, 1), shards=AXES, dtype="i4")[:] = data
    np.testing.assert_array_equal(zarrds.open_array(tmp_path / "x.zarr")[:], data)
