"""Batches of no elements, or of nothing but what is missing, are of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds

STORED: dict[str, Any] = {
    "category": pd.Categorical(["a", None]),
    "ordered": pd.Categorical(["lo", "hi"], ["lo", "mid", "hi"], ordered=True),
    "nullable": pd.array([1, None], dtype="Int8"),
    "boolean": pd.array([True, False], dtype="boolean"),
    "text": np.array(["a", None], object),
    "StringDType": np.array(["a", "b"], np.dtypes.StringDType()),
    "objects": np.array([True, None], object),
    "period": pd.period_range("2000", periods=2, freq="M").array,
    "interval": pd.interval_range(0.0, 2.0).array,
    "zoned": pd.date_range("2000", periods=2, tz="UTC").array,
    "times": np.array(["2000-01-01", "2000-01-02"], "M8[s]"),
    "timedeltas": np.array([1, 2], "m8[s]"),
    "booleans": np.array([True, False]),
    "bytes": np.array([b"a", b"bc"]),
}
EMPTY: list[Any] = [np.empty(0, dtype) for dtype in (object, "f8", "i2", "U3", bool)]


def dataset(values: Any, start: int = 0) -> xr.Dataset:
    return xr.Dataset({"v": ("t", values)}, {"t": np.arange(start, start + len(values))})


def elements(variable: xr.DataArray) -> list[Any]:
    return [None if pd.isna(value) else value for value in np.asarray(variable.variable.data, object).tolist()]


@pytest.mark.filterwarnings("ignore:.*it is computed")
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("values", STORED.values(), ids=STORED)
def test_appended(values: Any, zarr_format: Any) -> None:
    store: Any = zarrds.MemoryStore()
    zarrds.save(dataset(values), store, zarr_format=zarr_format)
    before = xr.open_dataset(store, engine="zarrds").load()
    for empty in EMPTY:
        zarrds.save(dataset(empty, 2), store, append_dim="t")
        zarrds.save(dataset(empty, 2).chunk(), store, append_dim="t")
    got = xr.open_dataset(store, engine="zarrds").load()
    assert elements(got.v) == elements(before.v)
    assert got.v.dtype == before.v.dtype
    zarrds.save(dataset(np.full(2, np.nan), 2), store, append_dim="t")
    zarrds.save(dataset(np.full(2, np.nan), 4).chunk(t=1), store, append_dim="t")
    got = xr.open_dataset(store, engine="zarrds").load()
    assert elements(got.v) == elements(before.v) + [None] * 4
