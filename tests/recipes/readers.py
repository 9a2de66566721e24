"""What every release of zarr-python 3 must read: those before 3.1.4 refuse documents with members of others."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

import zarrds
from tests.recipes.data import kinds


def check_all_arrays_are_read(tmp_path: Path) -> None:
    """By a group that zarr-python opens, with consolidated metadata and without."""
    ds = kinds()
    path = tmp_path / "a.zarr"
    zarrds.save(xr.DataTree.from_dict({"/": ds, "/below": ds[["t2m"]]}), path)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*zarrds.*")
        for consolidated in (True, False):
            group = zarr.open_group(path, mode="r", use_consolidated=consolidated)
            names = {name for name, _ in group.arrays()}
            assert names >= {str(name) for name in ds.variables}
            for name in names:
                assert group[name][...].shape == zarrds.open_array(path / name).shape
            np.testing.assert_array_equal(group["t2m"][...], ds.t2m.values)
            np.testing.assert_array_equal(group["below/t2m"][...], ds.t2m.values)
            assert list(group["name"][...]) == ["a", "bc", "", "def"]
