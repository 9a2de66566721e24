"""``examples/labels.py``: data under every kind of label that pandas has."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.examples.running import check_refusals, png_size, run


def check_labels(output: str, folder: Path, name: str) -> xr.DataTree:
    """Check what examples/labels.py printed and drew; return what it saved."""
    store, picture = folder / f"{name}-labels.zarr", folder / f"{name}-labels.png"
    for step in ("save", "append", "open", "read all", "elsewhere"):
        assert re.search(rf"^{step} +\d+\.\d{{3}} s   ", output, re.MULTILINE), step
    assert "identical to what was made, indexes too" in output
    assert "sees day as datetime64[ns], and its bounds as 'day_bounds'" in output
    assert f"picture   {picture}\n" in output
    assert png_size(picture) == (1430, 528)
    assert picture.stat().st_size > 20_000
    return xr.load_datatree(store, engine="zarrds")


@pytest.mark.slow
@pytest.mark.usefixtures("_climate")
def test_labels_with_real_data(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "era5_t2m_uk_2019-03.nc"
    done = run("labels.py", path, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "7 days after the 24 that are there" in done.stdout
    assert "the day that has 2019-03-16 21:00:00+00:00 in it begins at 2019-03-16 00:00:00+00:00" in done.stdout
    tree = check_labels(done.stdout, tmp_path, path.stem)
    kinds = {f"{at}/{dim}": type(i).__name__ for at, g in tree.children.items() for dim, i in g.ds.indexes.items()}
    assert kinds["hourly/time"] == "DatetimeIndex"
    assert (kinds["daily/day"], kinds["histogram/mean"]) == ("IntervalIndex", "IntervalIndex")
    assert (kinds["weekly/week"], kinds["warmth/warmth"]) == ("PeriodIndex", "CategoricalIndex")
    assert kinds["coldest/event"] == "MultiIndex"
    # the day on which the clocks change, and all others, once more from the file and without pandas' labels
    t2m = xr.load_dataset(path).t2m.values
    days = [slice(24 * day, 24 * day + 24) for day in range(30)] + [slice(720, 743)]
    np.testing.assert_allclose(tree["daily"].t2m, [t2m[day].mean(axis=0) for day in days])
    london = tree["coldest"].t2m.sel(place="London")
    everywhere = tree["daily"].t2m.sel(latitude=51.5, longitude=-0.25)
    np.testing.assert_array_equal(london, np.sort(everywhere)[:5])
    assert tree["histogram"].cells.sum() == everywhere.size * 33 * 49


@pytest.mark.slow
@pytest.mark.usefixtures("_climate")
def test_labels_in_another_time_zone(tmp_path: Path) -> None:
    done = run("labels.py", "--output", tmp_path, "--zone", "Asia/Tokyo")
    assert done.returncode == 0, done.stderr
    tree = check_labels(done.stdout, tmp_path, "made-up")
    assert str(tree["daily"].ds.indexes["day"][0].left) == "2019-03-02 00:00:00+09:00"
    assert tree["daily"].sizes["day"] == 30  # the first and the last 31 days of there are not whole


@pytest.mark.slow
@pytest.mark.usefixtures("_climate")
def test_labels_says_what_is_wrong(tmp_path: Path) -> None:
    def field(n: int, **kind: object) -> xr.Dataset:
        hours = xr.date_range("2000-01-01", periods=n, freq="6h", **kind)
        values = np.arange(n * 4.0).reshape(n, 2, 2)
        return xr.Dataset({"t": (("time", "lat", "lon"), values)}, {"time": hours, "lat": [0, 1], "lon": [0, 1]})

    field(8).to_netcdf(tmp_path / "short.nc", engine="netcdf4")
    field(80, calendar="noleap", use_cftime=True).to_netcdf(tmp_path / "noleap.nc", engine="netcdf4")
    (tmp_path / "text.nc").write_text("not netCDF", encoding="utf-8")
    refusals = (
        (["nowhere.nc"], "there is no file"),
        (["text.nc"], "cannot use"),
        (["short.nc"], "fewer than 9 days"),
        (["noleap.nc"], "no times that pandas knows"),
        (["short.nc", "--zone", "Europe/Atlantis"], "there is no time zone 'Europe/Atlantis'"),
    )
    out = ["--output", tmp_path / "out"]
    check_refusals("labels.py", [([tmp_path / name, *more, *out], message) for (name, *more), message in refusals])
