"""xbatcher: batches for machine learning."""

# needs: xbatcher

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from tests.recipes.data import climate, saved

xbatcher = pytest.importorskip("xbatcher")


def test_batches(tmp_path: Path) -> None:
    found = xr.open_dataset(saved(climate(), tmp_path / "x.zarr"), engine="zarrds")
    sizes = {"time": 12, "lat": 5, "lon": 8}
    pairs = list(zip(*(xbatcher.BatchGenerator(ds, sizes) for ds in (found, climate())), strict=True))
    assert len(pairs) == 4 * 2 * 2
    for one, other in pairs:
        xr.testing.assert_identical(one.load(), other)
