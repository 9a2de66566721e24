"""hvplot: pictures."""

# needs: hvplot

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from tests.recipes.data import climate, saved

pytest.importorskip("hvplot.xarray")


def test_pictures(tmp_path: Path) -> None:
    found = xr.open_dataset(saved(climate(), tmp_path / "x.zarr"), engine="zarrds")
    assert type(found.t2m.isel(time=0).hvplot()).__name__ == "Image"
    assert type(found.t2m.sel(lat=50, lon=0).hvplot.line()).__name__ == "Curve"
