"""Data of another kind than a store has, or than can be stored, is refused by an error that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cftime
import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds.errors import EncodingError


def column(values: Any) -> xr.Dataset:
    return xr.Dataset({"a": ("x", values)})


def opened(place: Path) -> xr.Dataset:
    return xr.open_dataset(place, engine="zarrds").load()


DATETIMES = np.array(["2000-01-01"], "M8[ns]")


@pytest.mark.parametrize("new", [np.array([3], "m8[ns]"), np.array([3.0]), np.array([3])], ids=lambda v: str(v.dtype))
def test_other_kinds_are_not_appended_to_times(tmp_path: Path, new: Any) -> None:
    zarrds.save(column(DATETIMES), tmp_path / "a.zarr")
    with pytest.raises(EncodingError, match=r"variable a.*expected datetimes"):
        zarrds.save(column(new), tmp_path / "a.zarr", append_dim="x")
    assert opened(tmp_path / "a.zarr").identical(column(DATETIMES))


def test_times_are_not_appended_to_timedeltas(tmp_path: Path) -> None:
    before = column(np.array([3], "m8[s]"))
    zarrds.save(before, tmp_path / "a.zarr")
    with pytest.raises(EncodingError, match="variable a"):
        zarrds.save(column(DATETIMES), tmp_path / "a.zarr", append_dim="x")
    assert opened(tmp_path / "a.zarr").identical(before)


def test_cftime_that_would_be_read_otherwise_is_refused(tmp_path: Path) -> None:
    dates = [cftime.Datetime360Day(2000, 2, 30, 1, 2, 3, 456789), cftime.Datetime360Day(9999, 2, 30, 1, 2, 3, 1)]
    with pytest.raises(EncodingError, match="'t'"):
        zarrds.save(xr.Dataset({"t": ("x", np.array(dates, object))}), tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()
    near = xr.Dataset({"t": ("x", np.array([dates[0], dates[0].replace(year=2100, microsecond=1)], object))})
    zarrds.save(near, tmp_path / "a.zarr")
    assert opened(tmp_path / "a.zarr").identical(near)


def test_times_from_one_end_of_nanoseconds_to_the_other(tmp_path: Path) -> None:
    ds = column(np.array(["1677-09-22T00:00:00.000000001", "2262-04-11T23:47:16.854775807"], "M8[ns]"))
    zarrds.save(ds, tmp_path / "a.zarr")
    assert opened(tmp_path / "a.zarr").identical(ds)


def arrays() -> Any:
    values = np.empty(2, object)
    values[0], values[1] = np.array([1, 2]), np.array([3])
    return values


@pytest.mark.parametrize(
    ("values", "mend"),
    [
        (np.array([[1, 2], [3]], object), "one flat array"),
        (arrays(), "one flat array"),
        (np.array([cftime.DatetimeNoLeap(2000, 1, 1), np.nan], object), "None"),
        (np.array([cftime.DatetimeNoLeap(2000, 1, 1), cftime.Datetime360Day(2000, 1, 1)], object), "one calendar"),
    ],
    ids=["lists", "arrays", "NaN", "two calendars"],
)
def test_objects_that_cannot_be_stored(tmp_path: Path, values: Any, mend: str) -> None:
    with pytest.raises(EncodingError, match=mend):
        zarrds.save(column(values), tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("encoding", [{"units": "furlongs"}, {"units": "furlongs since 2000"}, {"calendar": "noleap"}])
def test_what_is_asked_for_times_is_in_the_mend(tmp_path: Path, encoding: dict[str, str]) -> None:
    with pytest.raises(EncodingError, match=r"'a'.*encoding\['units'\]"):
        zarrds.save(column(DATETIMES), tmp_path / "a.zarr", encoding={"a": encoding})


@pytest.mark.parametrize("name", [1, ""])
def test_names_that_are_none(tmp_path: Path, name: Any) -> None:
    with pytest.raises(EncodingError, match=f"{name!r}.*Rename"):
        zarrds.save(xr.Dataset({name: ("x", [1])}), tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


def test_keywords_of_to_zarr_are_taken(tmp_path: Path) -> None:
    zarrds.save(column([1, 2]), tmp_path / "a.zarr", consolidated=True, safe_chunks=True, align_chunks=True)
    assert opened(tmp_path / "a.zarr").identical(column([1, 2]))
