"""cubed: arrays with bounded memory, opened through xarray's chunk manager and saved block by block."""

# needs: cubed cubed-xarray dask[array]

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.recipes.data import climate, saved

cubed = pytest.importorskip("cubed")
pytest.importorskip("cubed_xarray")


def test_there_and_back(tmp_path: Path) -> None:
    options = {"spec": cubed.Spec(work_dir=str(tmp_path), allowed_mem="200MB")}
    found = xr.open_dataset(
        saved(climate(), tmp_path / "x.zarr"),
        engine="zarrds",
        chunks={},
        chunked_array_type="cubed",
        from_array_kwargs=options,
    )
    assert isinstance(found.t2m.data, cubed.Array)
    xr.testing.assert_allclose(found.t2m.mean("time").compute(), climate().t2m.mean("time"))
    zarrds.save(found + 1, tmp_path / "y.zarr", encoding={"t2m": {"chunks": (48, 4, 4)}})
    later = found.assign_coords(time=found.time + np.timedelta64(12, "D"))
    zarrds.save(later, tmp_path / "y.zarr", append_dim="time")
    again = xr.open_dataset(tmp_path / "y.zarr", engine="zarrds")
    np.testing.assert_array_equal(again.t2m[:48], climate().t2m + 1)
    np.testing.assert_array_equal(again.t2m[48:], climate().t2m)
