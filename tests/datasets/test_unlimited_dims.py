"""Dimensions that are unlimited in netCDF: noted, so that what comes back from Zarr is the same netCDF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr

import zarrds


def unlimited(path: Path, group: str = "/") -> set[str]:
    with netCDF4.Dataset(path) as file:
        place = file if group == "/" else file[group]
        return {name for name, dim in place.dimensions.items() if dim.isunlimited()}


def days(first: int = 0) -> xr.Dataset:
    time = np.arange(first, first + 3).astype("M8[D]").astype("M8[ns]")
    return xr.Dataset({"t": (("time", "x"), np.ones((3, 2)))}, {"time": time, "x": [1, 2]})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    days().to_netcdf(tmp_path / "source.nc", unlimited_dims=["time"])
    return tmp_path / "source.nc"


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_they_come_back(source: Path, tmp_path: Path, zarr_format: Any) -> None:
    store, again = tmp_path / "s.zarr", tmp_path / "again.nc"
    with xr.open_dataset(source) as ds:
        zarrds.save(ds, store, zarr_format=zarr_format)
        assert "time = UNLIMITED ; // (3 currently)" in zarrds.info(ds).cdl()
    with xr.open_dataset(store, engine="zarrds") as opened:
        assert opened.encoding["unlimited_dims"] == {"time"}
        opened.to_netcdf(again)
    assert unlimited(again) == {"time"}
    zarrds.export(store, again, overwrite=True)
    assert unlimited(again) == {"time"}
    xr.testing.assert_identical(xr.load_dataset(again), days())
    shown = zarrds.info(store)
    assert shown.to_dict()["unlimited_dims"] == ["time"]
    assert "time = UNLIMITED ; // (3 currently)" in shown.cdl()
    assert zarrds.verify(store).ok


def test_changes_keep_them(source: Path, tmp_path: Path) -> None:
    store, copy = tmp_path / "s.zarr", tmp_path / "copy.zarr"
    zarrds.convert(source, store)
    zarrds.save(days(3), store, append_dim="time")
    zarrds.save(days(3)[["t"]].rename(t="u").isel(time=0, drop=True), store, mode="a")
    zarrds.update_attrs(store, {"title": "days"})
    zarrds.rename(store, {"time": "day"})
    zarrds.copy(store, copy)
    with xr.open_dataset(copy, engine="zarrds") as opened:
        assert opened.encoding["unlimited_dims"] == {"day"}
        assert opened.sizes["day"] == 6
        again = tmp_path / "again.zarr"
        zarrds.save(opened, again)
    assert zarrds.info(again).unlimited_dims == {"day"}
    zarrds.drop_vars(copy, ["t", "day"])
    with xr.open_dataset(copy, engine="zarrds") as opened:
        assert "unlimited_dims" not in opened.encoding


def test_each_group_of_a_tree_has_its_own(tmp_path: Path) -> None:
    tree = xr.DataTree.from_dict({"/": xr.Dataset({"x": [1, 2]}), "/a": days(), "/b": days()})
    tree["a"].encoding["unlimited_dims"] = ["time"]
    zarrds.save(tree, tmp_path / "s.zarr")
    with xr.open_datatree(tmp_path / "s.zarr", engine="zarrds") as opened:
        assert opened["a"].encoding["unlimited_dims"] == {"time"}
        assert "unlimited_dims" not in opened["b"].encoding
    zarrds.export(tmp_path / "s.zarr", tmp_path / "s.nc")
    assert (unlimited(tmp_path / "s.nc", "/a"), unlimited(tmp_path / "s.nc", "/b")) == ({"time"}, set())


@pytest.mark.parametrize("given", ["time", {"time": 1}, {"gone", "time"}, 5, None, [["time"], "time"], True])
def test_encodings_of_any_kind(given: object) -> None:
    """What names no dimension is not noted."""
    ds, store = days(), zarrds.MemoryStore()
    ds.encoding["unlimited_dims"] = given
    zarrds.save(ds, store)
    found = xr.open_dataset(store, engine="zarrds").encoding.get("unlimited_dims", set())
    assert found == (set() if given is None or isinstance(given, int | dict) else {"time"})
    assert zarrds.info(ds).unlimited_dims == found


def test_a_note_that_is_none() -> None:
    store = zarrds.MemoryStore()
    ds = days()
    ds.encoding["unlimited_dims"] = {"time"}
    zarrds.save(ds, store)
    document = bytes(store.get("zarr.json") or b"")
    assert document.count(b'"unlimited_dims"') == 1
    for damaged in (b'["gone", 7, null]', b'"time"', b'{"time": 1}', b"null"):
        note = document[document.index(b'"unlimited_dims"') :].partition(b"]")[0] + b"]"
        store.set("zarr.json", document.replace(note, b'"unlimited_dims": ' + damaged))
        assert "unlimited_dims" not in xr.open_dataset(store, engine="zarrds").encoding
