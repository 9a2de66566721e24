"""Codecs that change values: what they would make of them is compared before it is written, in every way of writing."""

from __future__ import annotations

from typing import Any

import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr

import zarrds
from zarrds.errors import EncodingError

TENTHS = numcodecs.FixedScaleOffset(offset=0, scale=10, dtype="<f8", astype="|u1")
ASKED: list[tuple[Any, list[float], list[float]]] = [
    (TENTHS, [0.0, 2.53, 25.5], [99.0]),
    (TENTHS, [1.0], [np.nan]),
    (TENTHS, [1.0], [-0.1]),
    (numcodecs.Quantize(digits=2, dtype="<f8"), [1.234567, -1e6, np.nan], [1e308]),
    (numcodecs.Quantize(digits=2, dtype="<f8", astype="<f4"), [1.23, 3e4, np.nan], [1e39]),
    (numcodecs.BitRound(keepbits=5), [1.234567, -1e6, np.nan], []),
    (numcodecs.AsType(encode_dtype="<f4", decode_dtype="<f8"), [0.1, 1e30, np.nan], [1e39]),
    (numcodecs.AsType(encode_dtype="<i2", decode_dtype="<f8"), [1.0, -300.0], [1.5]),
    (numcodecs.AsType(encode_dtype="<i2", decode_dtype="<f8"), [1.0], [1e5]),
]


def encoding(codec: Any) -> dict[str, Any]:
    return {"v": {"filters": [codec], "_FillValue": None}}


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(("codec", "good", "bad"), ASKED)
def test_what_is_asked_for_holds_what_it_declares(
    codec: Any, good: list[float], bad: list[float], zarr_format: Any
) -> None:
    saved = xr.Dataset({"v": ("x", np.array(good))})
    for ds in (saved, saved.chunk(x=1)):
        store = zarrds.MemoryStore()
        zarrds.save(ds, store, encoding=encoding(codec), zarr_format=zarr_format)
        values = xr.open_dataset(store, engine="zarrds").v.values
        np.testing.assert_allclose(values, good, rtol=2.0**-5, atol=0.05)
        for value in bad:
            wrong = xr.Dataset({"v": ("x", np.array([good[0], value]))})
            for one in (wrong, wrong.chunk(x=1)):
                with pytest.raises(EncodingError, match="'v'"):
                    zarrds.save(one, zarrds.MemoryStore(), encoding=encoding(codec), zarr_format=zarr_format)
                with pytest.raises(EncodingError, match="'v'"):
                    zarrds.save(one, store, append_dim="x")
                with pytest.raises(EncodingError, match="'v'"):
                    zarrds.save(one.isel(x=[1]), store, region={"x": slice(0, 1)})
        np.testing.assert_array_equal(xr.open_dataset(store, engine="zarrds").v.values, values)


def test_in_shards_too() -> None:
    asked = {"v": {"filters": [TENTHS], "chunks": (2,), "shards": (4,), "_FillValue": None}}
    zarrds.save(xr.Dataset({"v": ("x", [1.5, 2.0, 3.0])}), zarrds.MemoryStore(), encoding=asked)
    with pytest.raises(EncodingError, match="would read back as"):
        zarrds.save(xr.Dataset({"v": ("x", [1.5, 2.0, 30.0])}), zarrds.MemoryStore(), encoding=asked)


@pytest.mark.parametrize("is_dask", [False, True])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_came_along_gives_way(zarr_format: Any, is_dask: bool) -> None:
    first = zarrds.MemoryStore()
    asked = encoding(numcodecs.Quantize(digits=1, dtype="<f8"))
    zarrds.save(xr.Dataset({"v": ("x", [1.26, 2.0])}), first, encoding=asked, zarr_format=zarr_format)
    opened = xr.open_dataset(first, engine="zarrds", chunks={} if is_dask else None)
    again = zarrds.MemoryStore()
    zarrds.save(opened, again, zarr_format=zarr_format)  # which is what the codec makes of it already
    assert xr.open_dataset(again, engine="zarrds").identical(opened.compute())
    assert xr.open_dataset(again, engine="zarrds").v.encoding["filters"]
    other = opened.copy(data={"v": opened.v.data / 3})
    with pytest.warns(xr.SerializationWarning, match="would read back as"):
        zarrds.save(other, third := zarrds.MemoryStore(), zarr_format=zarr_format)
    assert xr.open_dataset(third, engine="zarrds").identical(other.compute())


def test_of_others_stores(tmp_path: Any) -> None:
    array = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2).create_array(
        "v", shape=(2,), chunks=(2,), dtype="f8", filters=[TENTHS], attributes={"_ARRAY_DIMENSIONS": ["x"]}
    )
    array[:] = [1.5, 2.0]
    with pytest.raises(EncodingError, match="would read back as"):
        zarrds.save(xr.Dataset({"v": ("x", [100.0])}), tmp_path / "a.zarr", append_dim="x")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_times_that_are_not_computed_yet_are_no_dates(zarr_format: Any, tmp_path: Any) -> None:
    times = np.array(["2000-01-01", "2001-01-01"], "M8[ns]")
    ds = xr.Dataset({"t": ("x", times), "d": ("x", times - times[0])}).chunk(x=1)
    store = tmp_path / "a.zarr"
    delayed = zarrds.save(ds, store, compute=False, zarr_format=zarr_format)
    template = xr.open_dataset(store, engine="zarrds")
    assert np.isnat(template.t.values).all()
    assert np.isnat(template.d.values).all()
    delayed.compute()
    assert xr.open_dataset(store, engine="zarrds").equals(ds.compute())
    assert xr.open_zarr(store).equals(ds.compute())


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("marker", [{"missing_value": -1}, {"_FillValue": -1}, {"_FillValue": -1, "missing_value": -1}])
def test_packed_values_that_are_not_computed_yet_are_missing(zarr_format: Any, marker: dict[str, int]) -> None:
    ds = xr.Dataset({"v": ("x", [1.0, 2.0])}).chunk(x=1)
    store = zarrds.MemoryStore()
    asked = {"v": {"dtype": "i4", "scale_factor": 0.5, **marker}}
    delayed = zarrds.save(ds, store, compute=False, encoding=asked, zarr_format=zarr_format)
    assert np.isnan(xr.open_dataset(store, engine="zarrds").v.values).all()
    delayed.compute()
    again = xr.open_dataset(store, engine="zarrds")
    assert again.equals(ds.compute())
    zarrds.save(again, other := zarrds.MemoryStore(), zarr_format=zarr_format)
    assert xr.open_dataset(other, engine="zarrds").v.encoding["dtype"] == np.int32
