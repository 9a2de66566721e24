"""What the recipes are tried on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import zarrds


def climate() -> xr.Dataset:
    lat = xr.Variable("lat", np.linspace(60, 40, 11), {"units": "degrees_north", "standard_name": "latitude"})
    lon = xr.Variable("lon", np.linspace(-10, 20, 16), {"units": "degrees_east", "standard_name": "longitude"})
    t2m = np.random.default_rng(0).random((48, 11, 16)).astype("f4")
    return xr.Dataset(
        {"t2m": (("time", "lat", "lon"), t2m, {"units": "K", "standard_name": "air_temperature"})},
        {"time": pd.date_range("2019-01-01", periods=48, freq="6h"), "lat": lat, "lon": lon},
    )


def kinds() -> xr.Dataset:
    """Numbers, text, times, and what is stored as numbers of another dtype."""
    return xr.Dataset(
        {
            "t2m": (("time", "x"), np.random.default_rng(0).random((6, 4)), {"units": "K"}),
            "name": ("x", np.array(["a", "bc", "", "def"], object)),
            "kind": ("x", pd.Categorical(["p", "q", "p", "p"])),
            "count": ("x", pd.array([1, None, 3, 4], dtype="Int32")),
        },
        {"time": pd.date_range("2000-01-01", periods=6), "x": [1.5, 2.5, 3.5, 4.5]},
    )


def saved(ds: xr.Dataset, path: Path) -> Path:
    zarrds.save(ds, path, encoding={"t2m": {"chunks": (12, 11, 16)}} if "t2m" in ds else None)
    return path
