"""Save means of a climate dataset under every kind of label that pandas has, append to them, select by them, draw them.

    python examples/labels.py                             a small made-up dataset in the manner of ERA5
    python examples/labels.py FILE.nc --output FOLDER     your own netCDF file, with several times a day
    python examples/labels.py FILE.nc --zone Asia/Tokyo   days that begin and end there

All it needs comes with ``python -m pip install '.[all]'``.
"""

from __future__ import annotations

import argparse
import tempfile
import zoneinfo
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from climate import find_field, make_dataset, megabytes, timed

import zarrds

PLACES = {"London": (51.5, -0.25), "Plymouth": (50.5, -4.25), "Dublin": (53.25, -6.25), "Edinburgh": (56.0, -3.25)}
N_APPENDED = 7  # days that come later
N_COLDEST = 5


def at_places(field: xr.DataArray, lat: str, lon: str) -> xr.DataArray:
    """The series of some places: of `PLACES`, or of three points of the diagonal where these are not in the field."""
    inside = {
        name: (north, east)
        for name, (north, east) in PLACES.items()
        if field[lat].min() <= north <= field[lat].max() and field[lon].min() <= east <= field[lon].max()
    }
    if not inside:
        ends = [(float(field[dim][0]), float(field[dim][-1])) for dim in (lat, lon)]
        inside = {f"{part:.0%}": tuple(a + part * (b - a) for a, b in ends) for part in (0.25, 0.5, 0.75)}
    north, east = (xr.DataArray(list(values), dims="place") for values in zip(*inside.values(), strict=True))
    return field.sel({lat: north, lon: east}, method="nearest").drop_vars([lat, lon]).assign_coords(place=list(inside))


def mean_by(field: xr.DataArray, labels: pd.Index, dim: str, name: str) -> xr.DataArray:
    """Means over all elements along `dim` that have the same label."""
    codes, found = labels.factorize(sort=True)
    means = field.drop_vars(dim).assign_coords({name: (dim, codes)}).groupby(name).mean()
    return means.assign_coords({name: found}).assign_attrs(field.attrs)


def make_tree(field: xr.DataArray, lat: str, lon: str, zone: str) -> xr.DataTree:
    """Means of a field of several times a day: one group for each kind of label."""
    utc = field.get_index("time")
    local = utc.tz_localize("UTC").tz_convert(zone)
    midnights = pd.date_range(local[0].ceil("D"), local[-1] + (utc[1] - utc[0]), freq="D")
    if len(midnights) <= N_APPENDED + 1:
        raise ValueError(f"it has fewer than {N_APPENDED + 1} whole days")
    # of the day on which the clocks change, too, an interval holds all hours
    days = pd.IntervalIndex.from_breaks(midnights, closed="left")
    day = days.get_indexer(local)
    whole = field.isel(time=day >= 0)
    hourly = at_places(whole, lat, lon).assign_coords(time=local[day >= 0])

    daily = mean_by(whole, days[day[day >= 0]], "time", "day")
    daily_here = at_places(daily, lat, lon)
    weekly = mean_by(daily_here, daily.get_index("day").left.tz_localize(None).to_period("W-SUN"), "day", "week")
    warmth = pd.CategoricalIndex(pd.qcut(daily_here.mean("place").values, 3, labels=["cold", "mild", "warm"]))
    by_warmth = mean_by(daily_here, warmth, "day", "warmth")

    # not every place is cold on the same days: pairs of labels, not a grid
    dates = daily.get_index("day").left.tz_localize(None)
    series = daily_here.assign_coords(day=dates).rename(day="date").transpose("place", "date").to_series()
    coldest = series.groupby(level="place", sort=False, group_keys=False).nsmallest(N_COLDEST)
    pairs = xr.Coordinates.from_pandas_multiindex(coldest.index.remove_unused_levels(), "event")

    breaks = np.linspace(np.floor(float(daily.min())), np.floor(float(daily.max())) + 1, 13).round(3)
    bins = pd.IntervalIndex.from_breaks(breaks, closed="left")
    histogram = xr.DataArray(np.histogram(daily, breaks)[0], {"mean": bins}, dims="mean", name="cells")

    name = str(field.name)
    return xr.DataTree.from_dict(
        {
            "/hourly": hourly.to_dataset(name=name),
            "/daily": daily.to_dataset(name=name).assign(warmth=("day", warmth.array)),
            "/weekly": weekly.to_dataset(name=name),
            "/warmth": by_warmth.to_dataset(name=name),
            "/coldest": xr.Dataset({name: ("event", coldest.values, field.attrs)}, coords=pairs),
            "/histogram": histogram.to_dataset(),
        },
        name=None,
    )


def draw(tree: xr.DataTree, name: str, place: str, lat: str, lon: str) -> plt.Figure:
    """The series of one place with its daily means, and how often which daily mean occurs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.8), layout="constrained", width_ratios=(3, 2))
    hourly = tree["hourly"][name].sel(place=place)
    # matplotlib draws UTC unless it is given wall-clock times
    left.plot(hourly.get_index("time").tz_localize(None), hourly, color="0.75", linewidth=1, label="hourly")
    daily = at_places(tree["daily"][name], lat, lon).sel(place=place)
    days, kinds = daily.get_index("day"), tree["warmth"].to_dataset().indexes["warmth"].categories
    for colour, kind in zip(("tab:blue", "tab:green", "tab:red"), kinds, strict=True):
        chosen = np.flatnonzero(tree["daily"]["warmth"] == kind)
        ends = days.left[chosen].tz_localize(None), days.right[chosen].tz_localize(None)
        left.hlines(daily[chosen], *ends, color=colour, linewidth=2.5, label=f"mean of a {kind} day")
    cold = tree["coldest"][name].sel(place=place)
    left.plot(cold.get_index("date") + pd.Timedelta("12h"), cold, "v", color="black", label=f"{cold.size} coldest days")
    left.set(title=f"{place}, clocks of {days.left.tz}", ylabel=f"{name} ({hourly.attrs.get('units', '')})")
    left.tick_params(axis="x", labelrotation=30)
    left.legend(loc="best", fontsize="small")
    left.grid(alpha=0.3)

    bins = tree["histogram"]["cells"].get_index("mean")
    right.bar(bins.left, tree["histogram"]["cells"], bins.length, align="edge", color="tab:orange", edgecolor="white")
    right.set(
        title="Daily means of all cells", xlabel=f"{name} ({hourly.attrs.get('units', '')})", ylabel="cells × days"
    )
    return figure


def run(ds: xr.Dataset, name: str, folder: Path, zone: str) -> None:
    store = folder / f"{name}-labels.zarr"
    field, lat, lon, _ = find_field(ds)
    others = [dim for dim in field.dims if dim not in ("time", lat, lon)]
    field = field.isel(dict.fromkeys(others, 0)).reset_coords(drop=True)
    tree = make_tree(field, lat, lon, zone)
    what = str(field.name)
    print("labels")
    for path, group in tree.children.items():
        for label, index in group.to_dataset().indexes.items():
            if not (isinstance(index, pd.MultiIndex) and label in index.names):  # its levels come with it
                kind = index.dtype if index.nlevels == 1 else " × ".join(map(str, index.names))
                print(f"  {path + '/' + str(label):20} {type(index).__name__:18} {kind}")

    # the last days come later
    earlier, later = (
        tree["daily"].to_dataset().isel(day=days) for days in (slice(-N_APPENDED), slice(-N_APPENDED, None))
    )
    first = tree.copy()
    first["daily"] = xr.DataTree(earlier)
    with timed("save") as notes:
        zarrds.save(first, store, mode="w")
        notes.append(f"{store}, {megabytes(store)} on disk")
    with timed("append") as notes:
        zarrds.save(later, store, group="daily", append_dim="day")
        notes.append(f"{later.sizes['day']} days after the {earlier.sizes['day']} that are there")

    with timed("open") as notes:  # reads metadata and index labels; the data waits until it is used
        opened = xr.open_datatree(store, engine="zarrds")
        notes.append("lazily: no data is read yet")

    with timed("select") as notes:
        place = str(tree["hourly"].place.values[0])
        days = opened["daily"].to_dataset().indexes["day"]
        evening = days[len(days) // 2].left + pd.Timedelta("21h")
        found = opened["daily"][what].sel(day=evening)
        notes.append(f"the day that has {evening} in it begins at {found.day.item().left}")
    with timed("select") as notes:
        cold = opened["coldest"][what].sel(place=place).load()
        notes.append(f"coldest days at {place}: {', '.join(cold.get_index('date').strftime('%d %b'))}")
    with timed("select") as notes:
        week = opened["weekly"][what].sel(place=place).isel(week=1)
        notes.append(f"week {week.week.item()} at {place}: {week.item():.4g} {field.attrs.get('units', '')}")

    with timed("read all") as notes:
        xr.testing.assert_identical(opened.load(), tree)
        notes.append("identical to what was made, indexes too")

    with timed("elsewhere") as notes:
        if find_spec("zarr") is None:
            notes.append("install zarr to see what xarray's zarr engine makes of the labels")
        else:
            plain = xr.open_dataset(store, engine="zarr", group="daily")
            bounds = plain.day.attrs["bounds"]
            notes.append(f"xarray's zarr engine sees day as {plain.day.dtype}, and its bounds as {bounds!r}")

    picture = folder / f"{name}-labels.png"
    draw(opened, what, place, lat, lon).savefig(picture, dpi=110)
    print(f"picture   {picture}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, help="a netCDF file; a dataset is made up if there is none")
    parser.add_argument(
        "--output", type=Path, help="folder for the store and picture, which replace earlier ones; else a temporary one"
    )
    parser.add_argument("--zone", default="Europe/London", help="the time zone of the days (default: %(default)s)")
    options = parser.parse_args()
    if options.file is not None and not options.file.is_file():
        parser.error(f"there is no file {str(options.file)!r}: give the path of a netCDF file")
    if options.zone not in zoneinfo.available_timezones():
        parser.error(f"there is no time zone {options.zone!r}: give a name such as Europe/London")
    folder = options.output or Path(tempfile.mkdtemp(prefix="zarrds-"))
    folder.mkdir(parents=True, exist_ok=True)
    if options.file is None:
        run(make_dataset(), "made-up", folder, options.zone)
        return
    try:
        ds = xr.load_dataset(options.file)
        field = find_field(ds)[0]
        if "time" not in field.dims or not isinstance(field.get_index("time"), pd.DatetimeIndex):
            raise ValueError("no times that pandas knows along a dimension `time`")
        if field.get_index("time").tz_localize("UTC").normalize().nunique() <= N_APPENDED + 1:
            raise ValueError(f"fewer than {N_APPENDED + 2} days in it")
    except (OSError, ValueError) as error:
        parser.error(f"cannot use {str(options.file)!r}: {error}")
    run(ds, options.file.stem, folder, options.zone)


if __name__ == "__main__":
    main()
