"""What the commands are tried on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr

# a command as words -> its status, and what it wrote to stdout and stderr
Run = Callable[..., tuple[int, str, str]]


def climate() -> xr.Dataset:
    dims = ("time", "lat", "lon")
    t2m = xr.Variable(dims, 280 + np.arange(24, dtype="f4").reshape(4, 2, 3), {"units": "K"})
    times = pd.date_range("2019-03-30", periods=4)
    return xr.Dataset({"t2m": t2m}, {"time": times, "lat": [52.0, 51.0], "lon": [0, 1, 2]}, {"title": "tiny"})
