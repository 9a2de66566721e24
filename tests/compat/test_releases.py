"""Too old an xarray or pandas is told of in one clear error, wherever zarrds is used first."""

from __future__ import annotations

import subprocess
import sys
import types
import zoneinfo
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds.compat import releases
from zarrds.errors import ReleaseError

PROJECT = Path(__file__).parents[2]


def module(name: str, version: str) -> types.ModuleType:
    found = types.ModuleType(name)
    found.__version__ = version  # type: ignore[attr-defined]  # as a package has it
    return found


@pytest.mark.parametrize("version", ["2025.12.0", "2025.12", "2026.1.0", "2026.9.1.dev3+gabc", "2027.1"])
def test_new_enough(version: str) -> None:
    releases.check(module("xarray", version), module("pandas", "2.3.0"), module("pandas", "3.1.0rc1"))


@pytest.mark.parametrize(("name", "version"), [("xarray", "2025.11.0"), ("pandas", "2.2.3"), ("pandas", "1.5")])
def test_too_old(name: str, version: str) -> None:
    with pytest.raises(ReleaseError, match=f"{name} is too old") as caught:
        releases.check(module(name, version))
    assert f"found {version}" in str(caught.value)
    assert f"pip install '{name}>=" in str(caught.value)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", ["xarray", "pandas"])
@pytest.mark.parametrize(
    "use",
    ["zarrds.save(None, 'x')", "xr.open_dataset('x.zarr', engine='zarrds')", "xr.open_datatree('x', engine='zarrds')"],
)
def test_the_first_use_says_so(name: str, use: str, tmp_path: Path) -> None:
    code = f"""
import pandas, xarray as xr, zarrds, sys
sys.modules[{name!r}].__version__ = "1.0"
def engine():
    from zarrds.datasets.reading.entrypoint import ZarrdsBackendEntrypoint
    return ZarrdsBackendEntrypoint
try:
    {use}
except Exception as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout.startswith(f"the installed {name} is too old for zarrds"), (done.stdout, done.stderr)


@pytest.mark.parametrize("library", ["zoneinfo", "pytz"])
def test_zones_stay_of_their_library(library: str) -> None:
    name = "Europe/London"
    zone = zoneinfo.ZoneInfo(name) if library == "zoneinfo" else pytest.importorskip("pytz").timezone(name)
    times = pd.date_range("2000-07-01", periods=3, tz="UTC").tz_convert(zone)
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("time", np.arange(3))}, {"time": times}), store)
    found = xr.open_dataset(store, engine="zarrds").indexes["time"]
    assert isinstance(found, pd.DatetimeIndex)
    assert type(found.tz) is type(times.tz)
    pd.testing.assert_index_equal(found, times, check_names=False)
