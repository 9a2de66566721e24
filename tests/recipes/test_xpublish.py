"""xpublish: a dataset behind a server."""

# needs: xpublish httpx dask[array]

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from tests.recipes.data import climate, saved

xpublish = pytest.importorskip("xpublish")
testclient = pytest.importorskip("fastapi.testclient")


def test_a_server(tmp_path: Path) -> None:
    found = xr.open_dataset(saved(climate(), tmp_path / "x.zarr"), engine="zarrds", chunks={})
    client = testclient.TestClient(xpublish.Rest({"climate": found}).app)
    assert client.get("/datasets").json() == ["climate"]
    assert sorted(client.get("/datasets/climate/keys").json()) == ["lat", "lon", "t2m", "time"]
