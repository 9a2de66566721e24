"""xgcm: staggered grids."""

# needs: xgcm

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds

xgcm = pytest.importorskip("xgcm")


def test_interpolation_between_points(tmp_path: Path) -> None:
    x = np.arange(10.0)
    centre = xr.Variable("xc", x + 0.5, {"axis": "X"})
    left = xr.Variable("xg", x, {"axis": "X", "c_grid_axis_shift": -0.5})
    expected = xr.Dataset({"u": ("xg", np.sin(x))}, {"xc": centre, "xg": left})
    zarrds.save(expected, tmp_path / "x.zarr")
    found = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds")

    def between(ds: xr.Dataset) -> Any:
        grid = xgcm.Grid(ds, coords={"X": {"center": "xc", "left": "xg"}}, padding="periodic", autoparse_metadata=False)
        return grid.interp(ds.u, "X")

    xr.testing.assert_allclose(between(found), between(expected))
