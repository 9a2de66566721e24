"""Save a climate dataset with zarrds, open it lazily, select by label, draw a map and a time series.

    python examples/climate.py                             a small made-up dataset in the manner of ERA5
    python examples/climate.py FILE.nc --output FOLDER     your own netCDF file

All it needs comes with ``python -m pip install '.[all]'``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # pictures go to files: no screen is needed

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr

import zarrds


def make_dataset() -> xr.Dataset:
    """A month of hourly temperatures over a land that does not exist, with the coordinates of an ERA5 file."""
    rng = np.random.default_rng(2019)
    hours = pd.date_range("2019-03-01", "2019-03-31T23:00", freq="h")
    latitude, longitude = np.arange(60.0, 39.9, -0.5), np.arange(-12.0, 18.1, 0.5)
    t = xr.DataArray(np.arange(hours.size), dims="time")
    lat, lon = xr.DataArray(latitude, dims="latitude"), xr.DataArray(longitude, dims="longitude")

    # heights: a bump in the middle, and waves of all directions that make coasts and mountains of it
    height = 900 * np.exp(-(((lat - 50) / 7) ** 2) - ((lon - 3) / 10) ** 2) - 350
    for size in (5.0, 4.0, 3.0, 2.2, 1.7, 1.3, 1.0, 0.8):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        height = height + 90 * np.sqrt(size) * np.sin((lat * np.sin(angle) + lon * np.cos(angle)) / size + phase)
    land = 1 / (1 + np.exp(-height / 20))  # 0 at sea, 1 on land

    local_hour = t + lon / 15
    afternoon = np.cos(2 * np.pi * (local_hour - 15) / 24)  # warmest at 15:00
    front = np.sin((lon + 0.5 * lat) / 6 - 2 * np.pi * t / 110)  # weather that comes from the west every 110 hours
    kelvin = (
        283
        - 0.6 * (lat - 50)
        - 0.0065 * np.maximum(height, 0)  # the lapse rate, per metre
        + (0.3 + 3.7 * land) * afternoon
        + (1 + 2 * land) * front
        + land * (0.006 * t - 2.5)  # in spring the land warms before the sea
    ).transpose("time", "latitude", "longitude")
    kelvin += rng.normal(0, 0.15, kelvin.shape)
    # ERA5 comes in 16 bits: round to steps of 1/64 K
    t2m = (np.round(kelvin * 64) / 64).astype("float32")

    t2m.attrs = {"standard_name": "air_temperature", "long_name": "2 metre temperature", "units": "K"}
    return xr.Dataset(
        {"t2m": t2m},
        {
            "time": ("time", hours, {"standard_name": "forecast_reference_time", "long_name": "time"}),
            "latitude": ("latitude", latitude, {"standard_name": "latitude", "units": "degrees_north"}),
            "longitude": ("longitude", longitude, {"standard_name": "longitude", "units": "degrees_east"}),
            "valid_time": ("time", hours, {"standard_name": "time", "long_name": "time"}),
            "number": ((), 0, {"standard_name": "realization", "long_name": "ensemble member"}),
            "step": ((), np.timedelta64(0, "ns"), {"long_name": "time since the forecast's start"}),
            "surface": ((), 0.0, {"long_name": "height above the surface", "units": "m"}),
        },
        {"Conventions": "CF-1.7", "title": "Made-up hourly 2 m temperature, March 2019"},
    )


LATITUDE = {"latitude", "lat", "degrees_north", "degree_north", "y"}
LONGITUDE = {"longitude", "lon", "degrees_east", "degree_east", "x"}


def find_dimension(field: xr.DataArray, marks: set[str]) -> str | None:
    """The dimension that has one of these as its name or among its CF attributes."""
    for dim in field.dims:
        attrs = field[dim].attrs
        own = {str(dim), *(str(attrs.get(name)) for name in ("standard_name", "units", "axis"))}
        if marks & {mark.lower() for mark in own}:
            return str(dim)
    return None


def find_field(ds: xr.Dataset) -> tuple[xr.DataArray, str, str, str]:
    """The first variable of numbers over latitude and longitude, these dimensions, and the one for the series."""
    for field in ds.data_vars.values():
        lat, lon = find_dimension(field, LATITUDE), find_dimension(field, LONGITUDE)
        if field.dtype.kind in "iuf" and field.size and lat in field.indexes and lon in field.indexes:
            others = [str(dim) for dim in field.dims if dim not in (lat, lon)]
            others.sort(key=lambda dim: field[dim].dtype.kind != "M" and dim != "time")  # time first, if there is one
            return field, lat, lon, others[0] if others else lat
    raise ValueError("no variable of numbers over latitude and longitude in it")


def text(label: xr.DataArray) -> str:
    """A label for people to read."""
    value = label.values[()]
    if label.dtype.kind == "M":
        return str(value.astype("datetime64[m]")).replace("T", " ")
    return f"{value:g}" if label.dtype.kind in "iuf" else str(value)


def labels(field: xr.DataArray, dims: list[str]) -> str:
    return ", ".join(f"{dim} = {text(field[dim])}" for dim in dims if dim in field.coords)


def draw(field: xr.DataArray, lat: str, lon: str, point: xr.DataArray, window: xr.DataArray, along: str) -> plt.Figure:
    """A map of `field`, at the first index of its other dimensions, and the line of values at one point."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.8), layout="compressed")
    others = [str(dim) for dim in field.dims if dim not in (lat, lon)]
    first = field.isel(dict.fromkeys(others, 0))
    colours = "RdYlBu_r" if field.attrs.get("units") in ("K", "degC") else None  # None: xarray chooses
    first.plot.pcolormesh(x=lon, y=lat, ax=left, cmap=colours, robust=True)  # it labels axes and colours, with units
    if abs(field[lat]).max() <= 90:
        left.set_aspect(1 / np.cos(np.deg2rad(field[lat].values.mean())))
    left.set_title(labels(first, others))

    if point[along].dtype.kind == "O":  # dates of a model's own calendar, which matplotlib does not know
        point[along], window[along] = point[along].dt.decimal_year, window[along].dt.decimal_year
        right.locator_params(axis="x", nbins=6)
    point.plot.line(ax=right, x=along, marker="o" if point.size < 60 else None, linewidth=1.2)
    here = [dim for dim in (lat, lon) if dim != along]
    right.set_title("at " + labels(point, here))
    right.axvspan(window[along].values[0], window[along].values[-1], alpha=0.12, label="the slice")
    right.margins(y=0.15)
    right.legend(loc="upper right")
    right.grid(alpha=0.3)
    if len(here) == 2:
        left.plot(point[lon], point[lat], "o", color="white", markeredgecolor="black")
    figure.suptitle(f"{field.name}: {field.attrs['long_name']}" if "long_name" in field.attrs else str(field.name))
    return figure


def megabytes(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return f"{sum(file.stat().st_size for file in files) / 1e6:.2f} MB"


@contextmanager
def timed(what: str) -> Iterator[list[str]]:
    """Print what was done in the block, how long it took, and the notes it made."""
    notes: list[str] = []
    start = time.perf_counter()
    yield notes
    print(f"{what:9} {time.perf_counter() - start:6.3f} s   {', '.join(notes)}")


def run(ds: xr.Dataset, name: str, folder: Path) -> None:
    store = folder / f"{name}.zarr"
    # xarray imports its engines, and dask, when it first needs them: do it now, so that the times are those of the work
    xr.backends.list_engines()
    xr.Variable("x", [0]).isel(x=0)
    sizes = " × ".join(f"{dim} {size}" for dim, size in ds.sizes.items())
    print(f"dataset   {', '.join(map(str, ds.data_vars))}: {sizes}, {ds.nbytes / 1e6:.2f} MB in memory")

    with timed("save") as notes:
        zarrds.save(ds, store, mode="w", progress=True)
        notes.append(f"{store}, {megabytes(store)} on disk")

    with timed("open") as notes:  # reads metadata and index labels; the data waits until it is used
        opened = xr.open_dataset(store, engine="zarrds")
        notes.append("lazily: no data is read yet")
    field, lat, lon, along = find_field(opened)

    middle = {dim: float(field[dim].values.mean()) for dim in (lat, lon) if dim != along}
    others = {dim: 0 for dim in field.dims if dim not in (lat, lon, along)}
    with timed("point") as notes:
        point = field.isel(others).sel(middle, method="nearest").load()
        notes.append(f"{field.name}, all along {along}, nearest to the middle: {labels(point, [*middle])}")

    index = field.get_index(along)
    with timed("slice") as notes:
        window = field.sel({along: slice(index[len(index) // 3], index[len(index) // 2])}).load()
        notes.append(f"{field.name}, {along} from {text(window[along][0])} to {text(window[along][-1])}")
        notes.append(f"mean {np.nanmean(window.values):.4g} {field.attrs.get('units', '')}")

    with timed("read all") as notes:
        xr.testing.assert_identical(opened.load(), ds)
        notes.append("identical to what was saved")

    picture = folder / f"{name}.png"
    draw(field, lat, lon, point, window, along).savefig(picture, dpi=110, bbox_inches="tight")
    print(f"picture   {picture}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, help="a netCDF file; a dataset is made up if there is none")
    parser.add_argument(
        "--output", type=Path, help="folder for the store and picture, which replace earlier ones; else a temporary one"
    )
    options = parser.parse_args()
    if options.file is not None and not options.file.is_file():
        parser.error(f"there is no file {str(options.file)!r}: give the path of a netCDF file")
    folder = options.output or Path(tempfile.mkdtemp(prefix="zarrds-"))
    folder.mkdir(parents=True, exist_ok=True)
    if options.file is None:
        run(make_dataset(), "made-up", folder)
        return
    try:
        ds = xr.load_dataset(options.file)
        find_field(ds)
    except (OSError, ValueError) as error:
        parser.error(f"cannot use {str(options.file)!r}: {error}")
    run(ds, options.file.stem, folder)


if __name__ == "__main__":
    main()
