"""Blocks of dask that are masked, sparse, or cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import load, open_zarrds
from zarrds.errors import EncodingError


@pytest.mark.parametrize("encoding", [{}, {"_FillValue": -9.0}], ids=["plain", "encoded"])
@pytest.mark.parametrize("dtype", ["f4", "M8[s]"])
def test_masked_elements_are_missing(path: Path, encoding: dict[str, Any], dtype: str) -> None:
    if dtype == "M8[s]":
        encoding = {"units": "seconds since 1970-01-01", "dtype": "int64"}
    masked = dask.array.from_array(np.ma.array(np.arange(4).astype(dtype), mask=[0, 1, 0, 0]), chunks=2)
    # as map_blocks gives them, of which the array does not say that some may be masked
    blocks = masked.map_blocks(lambda block: block, dtype=masked.dtype, meta=np.empty(0, masked.dtype))
    zarrds.save(xr.Dataset({"v": ("x", blocks)}), path, encoding={"v": encoding})
    assert np.isnan(open_zarrds(path).v.values).tolist() == [False, True, False, False]


@pytest.mark.filterwarnings("ignore:variable 'v' is a dask array")
@pytest.mark.parametrize("mask", [[0, 1, 0, 0], [0, 0, 0, 1], [1, 1, 1, 0]], ids=str)
@pytest.mark.parametrize("values", [["a", "b", "c", "d"], [True, False, True, False], [1, 2, 3, 4]], ids=str)
def test_masked_objects_are_missing(path: Path, values: list[Any], mask: list[int]) -> None:
    masked = dask.array.from_array(np.ma.array(np.array(values, object), mask=mask), chunks=2)
    blocks = masked.map_blocks(lambda block: block, dtype=object, meta=np.empty(0, object))
    new = xr.Dataset({"v": ("x", blocks)})
    zarrds.save(new, path)
    zarrds.save(new, path, append_dim="x")
    found = [None if pd.isna(value) else value for value in load(path).v.values.tolist()]
    assert found == [None if hidden else value for value, hidden in zip(values, mask, strict=True)] * 2


@pytest.mark.parametrize("encoding", [{}, {"_FillValue": -9}, {"dtype": "i8", "scale_factor": 1.0}], ids=str)
def test_masked_integers_are_refused(path: Path, encoding: dict[str, Any]) -> None:
    masked = dask.array.from_array(np.ma.array([1, 2], mask=[0, 1]), chunks=1)
    blocks = masked.map_blocks(lambda block: block, dtype=masked.dtype, meta=np.empty(0, masked.dtype))
    with pytest.raises(EncodingError, match="'v' has masked elements"):
        zarrds.save(xr.Dataset({"v": ("x", blocks)}), path, encoding={"v": encoding})
    assert not path.exists()


def test_masked_fields_of_structures_are_refused(path: Path) -> None:
    for mask in ([(0, 0), (0, 0)], [(0, 0), (0, 1)]):
        masked = np.ma.array([(1, 0.5), (2, 1.5)], dtype=[("a", "i4"), ("b", "f8")], mask=mask)
        blocks = dask.array.from_array(masked, chunks=1)
        ds = xr.Dataset({"v": ("x", blocks.map_blocks(lambda b: b, dtype=masked.dtype, meta=masked.data[:0]))})
        if not masked.mask["b"].any():
            zarrds.save(ds, path)
            continue
        with pytest.raises(EncodingError, match="'v' has masked elements"):
            zarrds.save(ds, path, mode="w")
    assert load(path).v.values.tolist() == [(1, 0.5), (2, 1.5)]


@pytest.mark.parametrize("encoding", [{}, {"_FillValue": -9.0}], ids=["plain", "encoded"])
def test_sparse_blocks_are_refused(path: Path, encoding: dict[str, Any]) -> None:
    sparse = pytest.importorskip("sparse")
    data = dask.array.from_array(sparse.COO(np.array([0.0, 1, 0, 2])), chunks=2)
    with pytest.raises(EncodingError, match=r"'v'.*cannot be made into a NumPy array.*todense"):
        zarrds.save(xr.Dataset({"v": ("x", data)}), path, encoding={"v": encoding})
    assert not path.exists()


class _Gone:
    """A block that is read when it becomes an array of NumPy."""

    dtype, shape, ndim, size = np.dtype("f8"), (2,), 1, 2

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise OSError("the disk is gone")


def test_what_cannot_be_read_is_no_fault_of_the_array(path: Path) -> None:
    blocks = dask.array.zeros(2).map_blocks(lambda block: _Gone(), dtype="f8", meta=np.empty(0))
    with pytest.raises(OSError, match="the disk is gone"):
        zarrds.save(xr.Dataset({"v": ("x", blocks)}), path)
    assert not path.exists()
