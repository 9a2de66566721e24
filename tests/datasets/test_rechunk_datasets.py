"""`zarrds.rechunk` and `zarrds.copy` of datasets: which of them stand for the store that they were opened from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import days
from zarrds.errors import UnsupportedError


def test_a_dataset_stands_for_its_store(tmp_path: Path) -> None:
    zarrds.save(days(0, 6), tmp_path / "a.zarr")
    ds = xr.open_dataset(tmp_path / "a.zarr", engine="zarrds")
    zarrds.rechunk(ds[["t2m"]], tmp_path / "b.zarr", chunks={"time": 2, "x": 1})
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "b.zarr", engine="zarrds").load(), days(0, 6)[["t2m"]])
    for changed in (ds.isel(time=slice(1, 3)), ds.assign(t2m=ds.t2m * 2), days(0, 6)):
        with pytest.raises(UnsupportedError, match=r"not as it was opened|not come from one store"):
            zarrds.copy(changed, tmp_path / "c.zarr")


@pytest.mark.parametrize("index", ["levels", "range", "evenly spaced"])
def test_a_dataset_with_labels_that_have_no_array_stands_for_its_store(tmp_path: Path, index: str) -> None:
    pairs = pd.MultiIndex.from_arrays([[*"aabb"], [1, 2, 1, 2]], names=["a", "b"])
    labels: Any = {
        "levels": xr.Coordinates.from_pandas_multiindex(pairs, "x"),
        "range": {"x": pd.RangeIndex(4)},
        "evenly spaced": xr.Coordinates.from_xindex(xr.indexes.RangeIndex.arange(0.0, 2.0, 0.5, dim="x")),
    }
    ds = xr.Dataset({"v": ("x", np.arange(4.0))}).assign_coords(labels[index])
    zarrds.save(ds, tmp_path / "a.zarr")
    opened = xr.open_dataset(tmp_path / "a.zarr", engine="zarrds")
    zarrds.rechunk(opened, tmp_path / "b.zarr", chunks={"x": 2})
    zarrds.copy(opened, tmp_path / "c.zarr")
    for name in ("b.zarr", "c.zarr"):
        xr.testing.assert_identical(xr.open_dataset(tmp_path / name, engine="zarrds").load(), ds)


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.assign_coords(x=[9, 8, 7]),
        lambda ds: ds.assign_coords(x=ds.x.assign_attrs(units="m")),
        lambda ds: ds.assign_attrs(title="other"),
        lambda ds: ds.assign(v=ds.v.assign_attrs(units="K")),
        lambda ds: ds.rename(v="w", w="v"),
        lambda ds: ds.rename(x="y"),
        lambda ds: ds.set_coords("w"),
        lambda ds: ds.reset_coords("r"),
        lambda ds: ds.drop_vars("r"),
        lambda ds: ds.set_xindex("r"),
    ],
    ids="labels, their attributes, attributes, those of data, names, dimensions, data, coordinates, "
    "dropped, indexes".split(", "),
)
def test_a_dataset_that_was_changed_does_not_stand_for_its_store(tmp_path: Path, change: Any) -> None:
    labels = {"x": [1, 2, 3], "r": ("x", [7, 8, 9])}
    ds = xr.Dataset({"v": ("x", [1.0, 2, 3]), "w": ("x", [4.0, 5, 6])}, labels, {"title": "a"})
    zarrds.save(ds, tmp_path / "a.zarr")
    changed = change(xr.open_dataset(tmp_path / "a.zarr", engine="zarrds"))
    with pytest.raises(UnsupportedError, match="not as it was opened"):
        zarrds.copy(changed, tmp_path / "b.zarr")
    zarrds.rechunk(changed, tmp_path / "b.zarr")
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "b.zarr", engine="zarrds").load(), change(ds))


@pytest.mark.parametrize(
    "options",
    [{"decode_times": False}, {"decode_cf": False}, {"decode_coords": "all"}, {"decode_coords": False}],
    ids=str,
)
def test_a_dataset_that_was_opened_in_another_way_stands_for_its_store(tmp_path: Path, options: Any) -> None:
    labels = {"t": np.array(["2000", "2001"], "M8[ns]"), "r": ("t", [7, 8])}
    ds = xr.Dataset({"v": ("t", [1.0, 2.0]), "crs": 0}, labels)
    ds.v.attrs["grid_mapping"] = "crs"
    zarrds.save(ds, tmp_path / "a.zarr", encoding={"v": {"dtype": "i2", "scale_factor": 0.5}})
    zarrds.copy(xr.open_dataset(tmp_path / "a.zarr", engine="zarrds", **options), tmp_path / "b.zarr")
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "b.zarr", engine="zarrds").load(), ds)


@pytest.mark.parametrize(
    "options",
    [
        {"decode_times": False, "decode_coords": "all"},
        {"mask_and_scale": False, "decode_coords": False},
        {"decode_times": xr.coders.CFDatetimeCoder(use_cftime=True)},
        {"chunks": {}},
    ],
    ids=["times and roles", "packing and roles", "cftime", "dask"],
)
def test_one_that_was_opened_with_several_options_is_brought_elsewhere_as_it_is(tmp_path: Path, options: Any) -> None:
    ds = xr.Dataset({"v": ("t", [1.0, np.nan]), "crs": 0}, {"t": np.array(["2000", "2001"], "M8[ns]")})
    ds.v.attrs["grid_mapping"] = "crs"
    zarrds.save(ds, tmp_path / "a.zarr", encoding={"v": {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -1}})
    opened = xr.open_dataset(tmp_path / "a.zarr", engine="zarrds", **options)
    with pytest.raises(UnsupportedError, match=r"Pass it to zarrds\.rechunk or zarrds\.save"):
        zarrds.copy(opened, tmp_path / "b.zarr")
    zarrds.rechunk(opened, tmp_path / "b.zarr")
    zarrds.save(opened, tmp_path / "c.zarr")
    for name in ("b.zarr", "c.zarr"):
        found = xr.open_dataset(tmp_path / name, engine="zarrds", **options)
        xr.testing.assert_identical(found.load(), opened.compute())


@pytest.mark.parametrize("what", [{"mask_and_scale": False}, {"decode_times": False}, {"decode_cf": False}], ids=str)
def test_undecoded_data_without_its_attributes_is_other_data(tmp_path: Path, what: Any) -> None:
    ds = xr.Dataset({"v": ("t", [1.0, 2.0])}, {"t": np.array(["2000", "2001"], "M8[ns]")})
    zarrds.save(ds, tmp_path / "a.zarr", encoding={"v": {"dtype": "i2", "scale_factor": 0.5}})
    numbers = xr.open_dataset(tmp_path / "a.zarr", engine="zarrds", **what).drop_attrs()
    with pytest.raises(UnsupportedError, match="not as it was opened"):
        zarrds.copy(numbers, tmp_path / "b.zarr")
    zarrds.rechunk(numbers, tmp_path / "b.zarr")
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "b.zarr", engine="zarrds").load(), numbers.load())


def test_a_coordinate_that_no_attribute_can_name_became_data(tmp_path: Path) -> None:
    """It looks as if it was opened with decode_coords=False."""
    ds = xr.Dataset({"v": ("x", [1.0, 2.0])}, {"of two words": ("x", [3, 4])})
    zarrds.save(ds, tmp_path / "a.zarr")
    data = xr.open_dataset(tmp_path / "a.zarr", engine="zarrds").reset_coords("of two words")
    with pytest.raises(UnsupportedError, match="not as it was opened"):
        zarrds.copy(data, tmp_path / "b.zarr")
    zarrds.rechunk(data, tmp_path / "b.zarr")
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "b.zarr", engine="zarrds").load(), data.load())
