"""cf_xarray: names of CF in place of names of variables, and bounds."""

# needs: cf_xarray

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from tests.recipes.data import climate, saved

cf_xarray = pytest.importorskip("cf_xarray")


def test_names_and_bounds(tmp_path: Path) -> None:
    expected = climate().cf.add_bounds("lat")
    found = xr.open_dataset(saved(expected, tmp_path / "x.zarr"), engine="zarrds")
    assert found.cf.bounds == expected.cf.bounds
    xr.testing.assert_identical(found.cf["latitude"].load(), expected.cf["latitude"])
    xr.testing.assert_identical(
        found.cf.sel(latitude=50.4, method="nearest").load(), expected.cf.sel(latitude=50.4, method="nearest")
    )
    means = [ds.cf["air_temperature"].cf.mean("latitude") for ds in (found, expected)]
    xr.testing.assert_allclose(*means)
