"""rioxarray: coordinate reference systems, clips, reprojections and rasters."""

# needs: rioxarray

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

import zarrds
from tests.recipes.data import climate, saved

rioxarray = pytest.importorskip("rioxarray")


def test_reference_systems(tmp_path: Path) -> None:
    expected = climate().rename(lat="y", lon="x").rio.write_crs("EPSG:4326")
    expected.rio.write_transform(inplace=True)
    path = saved(expected, tmp_path / "x.zarr")
    found = xr.open_dataset(path, engine="zarrds", decode_coords="all")
    assert found.rio.crs == expected.rio.crs == xr.open_dataset(path, engine="zarrds").rio.crs
    assert found.rio.bounds() == expected.rio.bounds()
    one, other = (ds.t2m.isel(time=0).rio.reproject("EPSG:3857") for ds in (found, expected))
    xr.testing.assert_allclose(one, other)
    part = found.t2m.rio.clip_box(0, 45, 10, 55).to_dataset()
    zarrds.save(part, tmp_path / "part.zarr")
    again = xr.open_dataset(tmp_path / "part.zarr", engine="zarrds", decode_coords="all")
    xr.testing.assert_identical(again.load(), part.load())


def test_a_raster(tmp_path: Path) -> None:
    grid = climate().rename(lat="y", lon="x").t2m.isel(time=0).rio.write_crs("EPSG:4326")
    grid.rio.to_raster(tmp_path / "x.tif")
    raster = rioxarray.open_rasterio(tmp_path / "x.tif", masked=True).to_dataset(name="t2m")
    zarrds.save(raster, tmp_path / "x.zarr")
    found = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds", decode_coords="all")
    xr.testing.assert_equal(found.load(), raster.load())
    assert found.rio.transform() == raster.rio.transform()
