"""flox: grouped reductions of dask arrays."""

# needs: flox dask[array]

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from tests.recipes.data import climate, saved

flox = pytest.importorskip("flox.xarray")


def test_grouped_by_hours_and_resampled(tmp_path: Path) -> None:
    expected = climate().t2m
    lazy = xr.open_dataset(saved(climate(), tmp_path / "x.zarr"), engine="zarrds", chunks={}).t2m
    found = flox.xarray_reduce(lazy, lazy.time.dt.hour, func="mean")
    xr.testing.assert_allclose(found.compute(), expected.groupby("time.hour").mean())
    xr.testing.assert_allclose(lazy.resample(time="1D").max().compute(), expected.resample(time="1D").max())
