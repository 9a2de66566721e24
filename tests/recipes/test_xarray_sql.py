"""xarray-sql: a dataset as a table."""

# needs: xarray-sql dask[array]

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.recipes.data import climate, saved

xarray_sql = pytest.importorskip("xarray_sql")


def test_a_query(tmp_path: Path) -> None:
    found = xr.open_dataset(saved(climate(), tmp_path / "x.zarr"), engine="zarrds", chunks={"time": 12})
    context = xarray_sql.XarrayContext()
    context.from_dataset("climate", found, chunks={"time": 12})
    table = context.sql("SELECT lat, AVG(t2m) AS mean FROM climate GROUP BY lat ORDER BY lat").to_pandas()
    np.testing.assert_allclose(table["mean"], climate().t2m.mean(["time", "lon"]).sortby("lat"), rtol=1e-5)
