"""cfgrib: GRIB files, made into a store."""

# needs: cfgrib

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import zarrds

pytest.importorskip("cfgrib")
eccodes = pytest.importorskip("eccodes")


def test_converted(tmp_path: Path) -> None:
    message = eccodes.codes_grib_new_from_samples("regular_ll_pl_grib2")
    eccodes.codes_set_values(message, np.linspace(250, 300, eccodes.codes_get(message, "numberOfPoints")))
    with open(tmp_path / "x.grib", "wb") as file:
        eccodes.codes_write(message, file)
    zarrds.convert(tmp_path / "x.grib", tmp_path / "x.zarr")
    expected = xr.open_dataset(tmp_path / "x.grib", engine="cfgrib", backend_kwargs={"indexpath": ""})
    xr.testing.assert_equal(xr.open_dataset(tmp_path / "x.zarr", engine="zarrds").load(), expected.load())
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".idx"] == []
