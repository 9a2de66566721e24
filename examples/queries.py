"""Find all hours and places above a threshold without reading the rest, and draw where and when they are.

    python examples/queries.py                             a small made-up dataset in the manner of ERA5
    python examples/queries.py FILE.nc --output FOLDER     your own netCDF file, with a variable t2m in kelvin

All it needs comes with ``python -m pip install '.[all]'``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # pictures go to files: no screen is needed

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr

import zarrds


def make_dataset() -> xr.Dataset:
    """A month of hourly temperatures: a warm spell comes from the south in the last week."""
    hours = pd.date_range("2019-03-01", "2019-03-31T23:00", freq="h")
    latitude, longitude = np.arange(60.0, 39.9, -0.5), np.arange(-12.0, 18.1, 0.5)
    t = xr.DataArray(np.arange(hours.size), dims="time")
    lat, lon = xr.DataArray(latitude, dims="latitude"), xr.DataArray(longitude, dims="longitude")
    daily = 5 * np.sin((t % 24 - 8) / 24 * 2 * np.pi)
    spell = 12 * np.exp(-(((t - 650) / 40) ** 2) - ((lat - 44) / 6) ** 2 - ((lon - 6) / 9) ** 2)
    t2m = (283 + daily + spell - (lat - 50) / 2).transpose("time", "latitude", "longitude").astype("f4")
    return xr.Dataset(
        {"t2m": t2m.assign_attrs(units="K", long_name="2 metre temperature")},
        {"time": hours, "latitude": latitude, "longitude": longitude},
    )


def draw(found: xr.Dataset, ds: xr.Dataset, query: str, path: Path) -> None:
    """Where the matches are, and when."""
    figure, (where, when) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    hours = np.zeros((ds.sizes["latitude"], ds.sizes["longitude"]))
    np.add.at(hours, (found.latitude_index.values, found.longitude_index.values), 1)
    shown = xr.DataArray(np.where(hours > 0, hours, np.nan), {"latitude": ds.latitude, "longitude": ds.longitude})
    shown.plot.pcolormesh(ax=where, x="longitude", y="latitude", cmap="inferno_r", cbar_kwargs={"label": "hours"})
    where.set_title(query)
    # all days of the data, also those without a match
    days = pd.date_range(ds.time.values[0], ds.time.values[-1], freq="D").normalize()
    matches = pd.Series(1, pd.DatetimeIndex(found.time.values)).resample("D").sum().reindex(days, fill_value=0)
    when.bar(matches.index, matches.values, width=0.8, align="edge", color="firebrick")
    when.set_xlim(days[0], days[-1] + pd.Timedelta(days=1))
    locator = mdates.AutoDateLocator()
    when.xaxis.set(major_locator=locator, major_formatter=mdates.ConciseDateFormatter(locator))
    when.set_title("when")
    when.set_ylabel("matches a day")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Save, note statistics, ask, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", help="a netCDF file; a made-up dataset unless said")
    parser.add_argument("--output", default=tempfile.gettempdir(), type=Path, help="a folder for store and picture")
    args = parser.parse_args()
    ds = make_dataset() if args.file is None else xr.open_dataset(args.file, engine="netcdf4").drop_encoding().load()
    store, picture = args.output / "queries.zarr", args.output / "queries.png"
    zarrds.save(ds, store, mode="w", statistics=True, chunks={"time": 24, "latitude": 20, "longitude": 30})

    hottest = zarrds.aggregate(store, "t2m", "max")
    print(f"hottest  {float(hottest):.2f} K, from statistics alone")
    query = f"t2m > {float(hottest) - 4:.2f}"
    print(zarrds.find(store, query, explain=True))
    found = zarrds.find(store, query)
    print(f"found    {found.sizes['point']} hours and places, {found.time.values.min()} to {found.time.values.max()}")
    draw(found, ds, query, picture)
    print(f"wrote    {picture}")


if __name__ == "__main__":
    main()
