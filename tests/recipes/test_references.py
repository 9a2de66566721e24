"""kerchunk and VirtualiZarr: references to the chunks of other files."""

# needs: kerchunk virtualizarr h5py netCDF4 fsspec obstore obspec-utils

from __future__ import annotations

import json
from pathlib import Path

import pytest
import xarray as xr

from tests.recipes.data import climate

pytest.importorskip("h5py")
pytest.importorskip("netCDF4")


def opened(references: Path) -> xr.Dataset:
    options = {"fo": str(references)}
    return xr.open_dataset("reference://", engine="zarrds", storage_options=options).load()  # type: ignore[call-arg]  # an option of the engine


def test_kerchunk(tmp_path: Path) -> None:
    hdf = pytest.importorskip("kerchunk.hdf")
    climate().to_netcdf(tmp_path / "x.nc", engine="netcdf4")
    references = tmp_path / "x.json"
    references.write_text(json.dumps(hdf.SingleHdf5ToZarr(str(tmp_path / "x.nc")).translate()))
    xr.testing.assert_equal(opened(references), climate())


def test_virtualizarr(tmp_path: Path) -> None:
    virtualizarr = pytest.importorskip("virtualizarr")
    parsers = pytest.importorskip("virtualizarr.parsers")
    registry = pytest.importorskip("obspec_utils.registry")
    local = pytest.importorskip("obstore.store")
    climate().to_netcdf(tmp_path / "x.nc", engine="netcdf4")
    virtual = virtualizarr.open_virtual_dataset(
        f"file://{tmp_path}/x.nc",
        parser=parsers.HDFParser(),
        registry=registry.ObjectStoreRegistry({"file://": local.LocalStore()}),
        loadable_variables=["time", "lat", "lon"],
    )
    virtual.vz.to_kerchunk(str(tmp_path / "x.json"), format="json")
    xr.testing.assert_equal(opened(tmp_path / "x.json"), climate())
