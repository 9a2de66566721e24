"""``examples/climate.py``: with the data that it makes, and with real files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.examples.running import check_output, check_refusals, run


@pytest.fixture(scope="module")
def made_up(_climate: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, str]:
    """The dataset that examples/climate.py makes, and what it prints."""
    folder = tmp_path_factory.mktemp("climate")
    done = run("climate.py", "--output", folder)
    assert done.returncode == 0, done.stderr
    assert "save: 100%" in done.stderr  # the progress bar
    return check_output(done.stdout, folder, "made-up"), done.stdout


@pytest.mark.slow
def test_climate_prints_what_it_did(made_up: tuple[xr.Dataset, str]) -> None:
    ds, output = made_up
    assert f"t2m: time 744 × latitude 41 × longitude 61, {ds.nbytes / 1e6:.2f} MB in memory" in output
    assert "latitude = 50, longitude = 3" in output
    window = ds.t2m.sel(time=slice("2019-03-11T08:00", "2019-03-16T12:00"))
    assert f"2019-03-11 08:00 to 2019-03-16 12:00, mean {np.mean(window.values):.4g} K" in output


@pytest.mark.slow
def test_climate_makes_a_climate_that_one_can_believe(made_up: tuple[xr.Dataset, str]) -> None:
    ds, _ = made_up
    assert set(ds.coords) == {"time", "latitude", "longitude", "valid_time", "number", "step", "surface"}
    assert ds.t2m.sel(latitude=slice(45, 40)).mean() > ds.t2m.sel(latitude=slice(60, 55)).mean() + 3
    by_hour = ds.t2m.groupby("time.hour").mean("time")
    land, sea = by_hour.sel(latitude=50, longitude=3), by_hour.sel(latitude=50, longitude=-10)
    assert 13 <= int(land.idxmax("hour")) <= 16
    assert land.max() - land.min() > 3 * (sea.max() - sea.min())


@pytest.mark.slow
def test_climate_without_output_uses_a_temporary_folder(
    made_up: tuple[xr.Dataset, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(tmp_path))
    done = run("climate.py")
    assert done.returncode == 0, done.stderr
    (picture,) = tmp_path.glob("zarrds-*/made-up.png")
    again = check_output(done.stdout, picture.parent, "made-up")
    xr.testing.assert_identical(again, made_up[0])  # the same each time


@pytest.mark.slow
@pytest.mark.usefixtures("_climate")
@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("eraint_uvz", ["month 2 × level 3 × latitude 241", "latitude = 0, longitude = 0", "month from 1 to 7"]),
        ("basin_mask", ["Z 33 × Y 180 × X 360", "Y = 0.5, X = 180.5", "Z from 300 to 800"]),
        ("era5_t2m_uk_2019-03", ["time 744 × latitude 33", "latitude = 54, longitude = -4", "mean 280.9 K"]),
    ],
)
def test_climate_with_real_data(name: str, facts: list[str], data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / f"{name}.nc"
    done = run("climate.py", path, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    for fact in facts:
        assert fact in done.stdout
    saved = check_output(done.stdout, tmp_path, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # eraint_uvz.nc has fill values that do not fit its data
        original = xr.load_dataset(path, engine="netcdf4")
    xr.testing.assert_identical(saved, original)


@pytest.mark.slow
@pytest.mark.usefixtures("_climate")
@pytest.mark.parametrize("kind", ["a calendar without leap days", "one point in time", "nothing but a map"])
def test_climate_with_other_netcdf_files(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ds = xr.Dataset(
        {"flag": ("lat", list("abcdefgh")), "tos": (("time", "lat", "lon"), rng.random((24, 8, 9)))},
        {
            "time": xr.date_range("2000-01-01", periods=24, freq="MS", calendar="noleap", use_cftime=True),
            "lat": np.linspace(-80, 80, 8),
            "lon": np.linspace(0, 320, 9),
        },
    )
    if kind == "one point in time":
        ds = ds.isel(time=[0])
    elif kind == "nothing but a map":
        ds = ds.isel(time=0, drop=True)
    ds.to_netcdf(tmp_path / "other.nc", engine="netcdf4")
    done = run("climate.py", tmp_path / "other.nc", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    check_output(done.stdout, tmp_path, "other")


@pytest.mark.slow
@pytest.mark.usefixtures("_climate")
def test_climate_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "text.nc").write_text("not netCDF", encoding="utf-8")
    xr.Dataset({"a": ("x", [1, 2])}).to_netcdf(tmp_path / "no-map.nc", engine="netcdf4")
    refusals = (
        ("nowhere.nc", "there is no file"),
        ("text.nc", "cannot use"),
        ("no-map.nc", "no variable of numbers over latitude and longitude"),
    )
    cases = [([tmp_path / name, "--output", tmp_path / "out"], why) for name, why in refusals]
    check_refusals("climate.py", cases, names_file=True)
    assert not (tmp_path / "out").is_dir() or not list((tmp_path / "out").iterdir())
