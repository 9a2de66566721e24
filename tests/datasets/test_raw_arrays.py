"""Arrays that zarr-python made by itself, of what CF and xarray have no words for."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.engines import assert_same
from tests.datasets.samples import FORMATS


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_raw_times_without_cf(zarr_format: int, tmp_path: Path) -> None:
    # arrays of datetime64 as zarr-python stores them by itself
    group = zarr.create_group(tmp_path / "x.zarr", zarr_format=zarr_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr-python: not in its specification
        array = group.create_array(
            "t", data=np.array(["2019-03-01", "NaT"], "M8[s]"), dimension_names=["x"] if zarr_format == 3 else None
        )
        if zarr_format == 2:
            array.attrs["_ARRAY_DIMENSIONS"] = ["x"]
        theirs = xr.open_dataset(tmp_path / "x.zarr", engine="zarr", consolidated=False).load()
    assert_same(xr.open_dataset(tmp_path / "x.zarr", engine="zarrds"), theirs)


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("dtype", ["M8[D]", "M8[h]", "M8[Y]", "m8[m]", "m8[10us]"])
def test_raw_times_in_units_that_xarray_does_not_have(zarr_format: int, dtype: str, tmp_path: Path) -> None:
    values = np.array([1, 2, "NaT" if dtype[0] == "M" else 3], dtype)
    group = zarr.create_group(tmp_path / "x.zarr", zarr_format=zarr_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr-python: not in its specification
        array = group.create_array("t", data=values, dimension_names=["x"] if zarr_format == 3 else None)
    if zarr_format == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = ["x"]
    opened = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds")
    expected = values.astype(f"{dtype[0]}8[us]" if "us" in dtype else f"{dtype[0]}8[s]")
    assert opened.t.dtype == expected.dtype
    np.testing.assert_array_equal(opened.t, expected)
    assert opened.t.variable[1:].values.dtype == expected.dtype
    for again in FORMATS:  # which has no words for them
        zarrds.save(opened, tmp_path / f"{again}.zarr", zarr_format=again)
        xr.testing.assert_identical(xr.open_dataset(tmp_path / f"{again}.zarr", engine="zarrds"), opened)
    zarrds.save(opened.isel(x=[0]).load(), tmp_path / "x.zarr", append_dim="x")
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "x.zarr/t", mode="r")[...], values[[0, 1, 2, 0]])
    finer = xr.Dataset({"t": ("x", expected[:1] + np.timedelta64(1, "us").astype("m8[us]"))})
    if "us" not in dtype:
        with pytest.raises(zarrds.errors.EncodingError, match="'t'"):
            zarrds.save(finer, tmp_path / "x.zarr", append_dim="x")


def test_structures_of_format_2_are_not_masked(tmp_path: Path) -> None:
    values = np.array([(1, 2.0), (0, 0.0)], [("a", "i4"), ("b", "f8")])
    array = zarr.create_group(tmp_path / "x.zarr", zarr_format=2).create_array("v", data=values)
    array.attrs["_ARRAY_DIMENSIONS"] = ["x"]
    opened = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds")
    np.testing.assert_array_equal(opened.v, values)
    zarrds.save(opened.load(), tmp_path / "x.zarr", append_dim="x")
    np.testing.assert_array_equal(xr.open_dataset(tmp_path / "x.zarr", engine="zarrds").v, [*values, *values])


def test_booleans_beside_one_that_is_missing(tmp_path: Path) -> None:
    array = zarr.create_group(tmp_path / "x.zarr", zarr_format=2).create_array("v", data=np.array([True, False]))
    array.attrs["_ARRAY_DIMENSIONS"] = ["x"]  # in format 2 the fill value is what stands for what is missing
    zarrds.save(xr.Dataset({"v": ("x", [True, True])}), tmp_path / "x.zarr", append_dim="x")
    with pytest.raises(zarrds.errors.EncodingError, match="'v' holds a value that is the store's _FillValue"):
        zarrds.save(xr.Dataset({"v": ("x", [True, False])}), tmp_path / "x.zarr", append_dim="x")
    assert xr.open_dataset(tmp_path / "x.zarr", engine="zarrds").v.fillna(-1).values.tolist() == [True, -1, True, True]
