"""Labels that a store packs into integers: they are compared with the precision that they are stored in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import Format, files, load, variants
from zarrds.errors import EncodingError, LabelError

TENTHS = {"x": {"dtype": "int16", "scale_factor": 0.1}}


@pytest.fixture(params=["numpy", "dask"])
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def numbered(labels: Any, first: float = 0) -> xr.Dataset:
    labels = np.asarray(labels)
    return xr.Dataset({"v": ("x", first + np.arange(len(labels)))}, {"x": labels})


def test_a_rerun_of_an_append_is_harmless(path: Path, kind: str, zarr_format: Format) -> None:
    """0.9 is stored as 3 · 0.3, which is 0.8999999999999999."""
    encoding = {"x": {"dtype": "int16", "scale_factor": 0.3}}
    zarrds.save(numbered([0.0, 0.3, 0.6, 0.9]), path, encoding=encoding, zarr_format=zarr_format)
    more = variants(numbered([0.9, 1.2], 10))[kind]
    with pytest.raises(LabelError, match="1 of 2 are stored already"):
        zarrds.save(more, path, append_dim="x")
    for _ in range(2):
        zarrds.save(more, path, append_dim="x", on_overlap="skip")
        assert load(path).v.values.tolist() == [0, 1, 2, 3, 11]
    for _ in range(2):
        zarrds.save(more, path, append_dim="x", on_overlap="replace")
        assert load(path).v.values.tolist() == [0, 1, 2, 10, 11]
    np.testing.assert_allclose(load(path).x, [0, 0.3, 0.6, 0.9, 1.2], rtol=1e-12)


def test_labels_that_would_be_stored_as_the_same(path: Path, kind: str, zarr_format: Format) -> None:
    zarrds.save(numbered([0.0, 1.0]), path, encoding=TENTHS, zarr_format=zarr_format)
    before = files(path)
    with pytest.raises(LabelError, match=r"overlap.*found 1\.0 "):
        zarrds.save(variants(numbered([1.04, 1.13]))[kind], path, append_dim="x")
    with pytest.raises(LabelError, match="new labels occur more than once"):
        zarrds.save(variants(numbered([1.11, 1.13]))[kind], path, append_dim="x")
    assert files(path) == before
    zarrds.save(variants(numbered([1.06, 1.17], 2))[kind], path, append_dim="x")
    np.testing.assert_allclose(load(path).x, [0.0, 1.0, 1.1, 1.2], rtol=1e-12)


def test_packed_lead_times(path: Path) -> None:
    steps = pd.timedelta_range("0h", periods=4, freq="90min")
    ds = xr.Dataset({"v": ("step", [1, 2, 3, 4])}, {"step": steps})
    ds["step"].encoding = {"units": "hours", "dtype": "int16", "scale_factor": 0.5}
    zarrds.save(ds.isel(step=slice(0, 2)), path)
    zarrds.save(ds.isel(step=slice(2, 4)), path, append_dim="step")
    zarrds.save(load(path), path, mode="r+")
    zarrds.save(ds.isel(step=[1]) + 1, path, region="auto")
    assert load(path).v.values.tolist() == [1, 3, 3, 4]
    assert (load(path).step.values == steps).all()
    with pytest.raises(LabelError, match="overlap"):
        zarrds.save(ds, path, append_dim="step")


@pytest.mark.parametrize("calendar", ["360_day", "noleap", "standard"])
def test_no_more_packed_dates(path: Path, calendar: str) -> None:
    """Of other writers, who have counted half days."""
    encoding = {"units": "days since 2000-01-01", "calendar": calendar, "dtype": "uint8"}
    ds = xr.Dataset({"v": ("t", [1, 2])}, {"t": xr.date_range("2000-01-01", periods=2, calendar=calendar)})
    ds["t"].encoding = encoding
    zarrds.save(ds, path)
    array = zarrds.open_array(path, "r+", "t")
    zarrds.open_group(path, "r+")["t"].attrs["scale_factor"] = 0.5
    assert array.shape == (2,)
    before = load(path)
    zarrds.save(before.isel(t=slice(0, 0)), path, append_dim="t")
    zarrds.save(before, path, append_dim="t", on_overlap="skip")
    xr.testing.assert_identical(load(path), before)


@pytest.mark.parametrize("region", ["auto", {"x": "auto"}, {"x": slice(2, 4)}], ids=str)
def test_a_region_is_found_by_what_was_saved(path: Path, region: Any, kind: str) -> None:
    ds = numbered([0.0, 0.3, 0.6, 0.9])
    zarrds.save(ds, path, encoding={"x": {"dtype": "int16", "scale_factor": 0.3}})
    zarrds.save(variants(ds.isel(x=slice(2, 4)) + 100)[kind], path, region=region)
    assert load(path).v.values.tolist() == [0, 1, 102, 103]
    with pytest.raises(LabelError):
        zarrds.save(ds.isel(x=slice(2, 4)).assign_coords(x=[0.9, 1.2]), path, region=region)


@pytest.mark.parametrize("encoding", [TENTHS, {"x": {"dtype": "int16", "scale_factor": 0.1, "add_offset": 7.0}}])
def test_packed_coordinates_of_what_is_appended(path: Path, encoding: dict[str, Any], zarr_format: Format) -> None:
    ds = xr.Dataset({"v": (("t", "x"), np.ones((1, 4)))}, {"x": [0.0, 0.1, 0.2, 0.3], "t": [0]})
    ds["lat"] = ("x", [5.0, 5.1, 5.2, 5.3])
    ds = ds.set_coords("lat")
    encoding = {"x": encoding["x"], "lat": {**encoding["x"], "_FillValue": -9999}}
    zarrds.save(ds, path, encoding=encoding, zarr_format=zarr_format)
    zarrds.save(ds.assign_coords(t=[1]), path, append_dim="t")
    assert load(path).sizes == {"t": 2, "x": 4}
    for other in ({"x": [0.0, 0.1, 0.2, 0.4]}, {"lat": ("x", [5.0, 5.1, 5.2, 5.4])}):
        with pytest.raises(LabelError, match="1 of 4 differ"):
            zarrds.save(ds.assign_coords(t=[2], **other), path, append_dim="t")


def test_labels_that_cannot_be_packed(path: Path) -> None:
    zarrds.save(numbered([0.0, 1.0]), path, encoding=TENTHS)
    before = files(path)
    with pytest.raises(EncodingError, match="stored integers cannot hold") as caught:
        zarrds.save(numbered([2.0, 4000.0]), path, append_dim="x")
    assert caught.value.key == "x"
    assert files(path) == before


@given(
    start=st.integers(-50, 50),
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    overlap=st.integers(0, 6),
    scale=st.sampled_from([0.1, 0.3, 0.7, 1 / 3, 2.5]),
    offset=st.sampled_from([0.0, 0.1, 1000.3]),
)
def test_any_packed_labels_go_on(start: int, sizes: list[int], overlap: int, scale: float, offset: float) -> None:
    """Parts that overlap are appended with "skip": each label is stored once."""
    store = zarrds.MemoryStore()
    stop = start
    for i, size in enumerate(sizes):
        numbers = np.arange(max(start, stop - overlap), stop + size)
        ds = xr.Dataset({"v": ("x", numbers)}, {"x": numbers * scale + offset})
        stop += size
        if i:
            zarrds.save(ds, store, append_dim="x", on_overlap="skip")
        else:
            zarrds.save(ds, store, encoding={"x": {"dtype": "int32", "scale_factor": scale, "add_offset": offset}})
    numbers = np.arange(start, stop)
    whole = xr.Dataset({"v": ("x", numbers)}, {"x": numbers * scale + offset})
    np.testing.assert_array_equal(load(store).v, numbers)
    np.testing.assert_allclose(load(store).x, whole.x, rtol=1e-9, atol=1e-9)
    zarrds.save(whole + 1, store, region="auto")
    np.testing.assert_array_equal(load(store).v, numbers + 1)
