"""What other tools rightly do to a store, and xarray with what was opened."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.samples import Format


def test_absent_chunks_of_arrays_without_dimensions(path: Path, zarr_format: Format) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    group.create_array("raw", shape=(), dtype=bool)[...] = False
    group.create_array("empty", shape=(0, 3), dtype="f4", chunks=(1, 3))
    report = zarrds.verify(path)
    assert report.ok, str(report)
    assert not zarrds.open_array(path, path="raw")[()]


def test_labels_that_were_appended_by_another_tool(path: Path, zarr_format: Format) -> None:
    def at(start: int) -> xr.Dataset:
        return xr.Dataset({"v": ("t", [1.0, 2.0])}, {"t": [start, start + 1]})

    zarrds.save(at(0), path, zarr_format=zarr_format)
    at(2).to_zarr(path, append_dim="t")
    report = zarrds.verify(path)
    assert report.ok, str(report)
    assert xr.open_dataset(path, engine="zarrds").t.values.tolist() == [0, 1, 2, 3]
    zarrds.verify(path, repair=True)
    assert not zarrds.verify(path).findings


@pytest.mark.one_in(4)
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("asked", ["s", "us", "ns"])
@pytest.mark.parametrize("chunks", [None, {}])
def test_interpolation_in_time(unit: Any, asked: str, chunks: Any, path: Path) -> None:
    times = pd.date_range("2000-01-01", periods=4).as_unit(unit)
    ds = xr.Dataset(
        {"v": ("time", [0.0, 1, 2, 3]), "w": (("time", "x"), np.arange(8.0).reshape(4, 2))}, {"time": times}
    )
    zarrds.save(ds, path)
    opened = xr.open_dataset(path, engine="zarrds", chunks=chunks)
    assert opened.time.dtype == times.dtype
    new = np.array(["2000-01-01T12", "2000-01-03T18", "1999-01-01"], f"M8[{asked}]")
    np.testing.assert_allclose(opened.v.interp(time=new), [0.5, 2.75, np.nan])
    np.testing.assert_allclose(opened.w.interp(time=new, x=[0.5])[:2, 0], [1.5, 6])


@pytest.mark.parametrize(("unit", "asked"), [("s", "ns"), ("ns", "s"), ("ms", "us")])
def test_interpolation_between_lead_times(unit: Any, asked: str) -> None:
    ds = xr.Dataset({"v": ("lead", [0.0, 2.0])}, {"lead": np.array([0, 2], "m8[h]").astype(f"m8[{unit}]")})
    zarrds.save(ds, store := zarrds.MemoryStore())
    new = np.array([1, 3], "m8[h]").astype(f"m8[{asked}]")
    np.testing.assert_allclose(xr.open_dataset(store, engine="zarrds").v.interp(lead=new), [1.0, np.nan])


def test_shards_with_codecs_without_settings(path: Path) -> None:
    values = np.arange(64) % 3 == 0
    encoding = {"m": {"chunks": (16,), "shards": (64,), "filters": [numcodecs.PackBits()]}}
    zarrds.save(xr.Dataset({"m": ("v", values)}), path, encoding=encoding)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that codecs of numcodecs are no standard
        found = zarr.open_group(path, mode="r")["m"][...]  # type: ignore[index]  # an array
    np.testing.assert_array_equal(found, values)
