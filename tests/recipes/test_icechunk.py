"""Icechunk: sessions are stores that can be read; what is to be written there goes through xarray's zarr engine."""

# needs: icechunk

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

import zarrds
from tests.recipes.data import climate

icechunk = pytest.importorskip("icechunk")


def test_sessions(tmp_path: Path) -> None:
    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(tmp_path / "repository")))
    session = repository.writable_session("main")
    climate().to_zarr(session.store, consolidated=False)
    session.commit("first")
    store = repository.readonly_session("main").store
    xr.testing.assert_identical(xr.open_dataset(store, engine="zarrds").load(), climate())
    zarrds.copy(store, tmp_path / "copy.zarr")
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "copy.zarr", engine="zarrds").load(), climate())
    with pytest.raises(zarrds.errors.ZarrdsError, match="can only be read"):
        zarrds.save(climate(), repository.writable_session("main").store, mode="w")
