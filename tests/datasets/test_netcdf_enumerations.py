"""Enumerations of netCDF files are integers in Zarr, and enumerations again in netCDF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import Format, change_notes, load

MEMBERS = {"Clear": 0, "Cumulus": 1, "Missing": 255}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 3)
        cloud = file.createEnumType(np.uint8, "cloud", MEMBERS)
        file.createVariable("masked", cloud, "x", fill_value=255)[:] = [0, 1, 255]
        file.createVariable("plain", cloud, "x")[:] = [0, 1, 1]
    return path


def types(path: Path) -> dict[str, Any]:
    """What each variable of a netCDF file is, and what stands where nothing was written."""
    with netCDF4.Dataset(path) as file:
        return {
            name: (v.datatype.name, v.datatype.enum_dict, v.get_fill_value())
            if isinstance(v.datatype, netCDF4.EnumType)
            else (None, v.dtype, v.get_fill_value())
            for name, v in file.variables.items()
        }


@pytest.mark.parametrize("way", ["save", "dask", "convert", "again"])
def test_enumerations_come_back(source: Path, path: Path, zarr_format: Format, way: str) -> None:
    if way == "convert":
        zarrds.convert(source, path, zarr_format=zarr_format)
    else:
        with xr.open_dataset(source, chunks={} if way == "dask" else None) as given:
            zarrds.save(given, path, zarr_format=zarr_format)
    if way == "again":
        again = path.with_name("again.zarr")
        zarrds.save(load(path, "zarrds"), again, zarr_format=zarr_format)
        path = again
    found = load(path, "zarrds")
    with xr.open_dataset(source) as given:
        xr.testing.assert_identical(found, given)
        for name, variable in given.variables.items():
            assert found[name].encoding["dtype"].metadata == variable.encoding["dtype"].metadata
    found.to_netcdf(made := source.with_name("made.nc"))
    assert types(made) == types(source)
    zarrds.export(path, made, overwrite=True)
    assert types(made) == types(source)
    xr.testing.assert_identical(load(path, "zarr"), found)


def test_values_without_a_name_are_exported_as_integers(source: Path, path: Path) -> None:
    with xr.open_dataset(source) as given:
        zarrds.save(given, path)
    zarrds.save(xr.Dataset({"masked": ("x", [7.0]), "plain": ("x", np.array([1], "u1"))}), path, append_dim="x")
    zarrds.export(path, made := source.with_name("made.nc"))
    found = types(made)
    assert found["masked"][:2] == (None, np.dtype("u1"))
    assert found["plain"][0] == "cloud"
    with xr.open_dataset(made) as read:
        np.testing.assert_array_equal(read.masked, [0, 1, np.nan, 7])


def test_a_dtype_that_is_asked_for_is_no_enumeration(source: Path, path: Path) -> None:
    with xr.open_dataset(source) as given:
        zarrds.save(given[["plain"]], path, encoding={"plain": {"dtype": "i4"}})
    assert load(path, "zarrds").plain.encoding["dtype"].metadata is None


@pytest.mark.parametrize(
    "note",
    [
        *(1, [], {}, {"name": "cloud"}, {"name": "cloud", "members": {}}, {"name": "cloud", "members": {"Clear": 256}}),
        *({"name": 1, "members": {"Clear": 0}}, {"name": "cloud", "members": {"Clear": True}}),
    ],
)
def test_malformed_notes_say_nothing(source: Path, path: Path, note: Any) -> None:
    with xr.open_dataset(source) as given:
        zarrds.save(given[["plain"]], path)
    change_notes(path, "plain", lambda content: content["zarrds"].update(enumeration=note))
    found = load(path, "zarrds")
    assert found.plain.values.tolist() == [0, 1, 1]
    assert found.plain.encoding["dtype"].metadata is None
    zarrds.export(path, made := source.with_name("made.nc"))
    assert types(made)["plain"][0] is None
