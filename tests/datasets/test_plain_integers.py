"""Plain integers that turn out larger, or of which some turn out to be missing: as `xarray.concat` makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.columns import NAN, column, files_of, opened
from tests.datasets.samples import Format, load
from zarrds import MemoryStore
from zarrds.errors import EncodingError

WIDER: list[tuple[Any, Any, str]] = [
    (np.array([1, 2], "i4"), np.array([2**40, 3]), "int64"),
    (np.array([1, 2], "u1"), np.array([-1], "i1"), "int16"),
    (np.array([1, 2], "u4"), np.array([-1], "i4"), "int64"),
    (np.array([1, 2], ">i2"), np.array([70000], "i4"), "int32"),
    (np.array([1, 2], "i4"), np.array([3]), "int32"),
    (np.array([1, 2], "i4"), np.array([3.0, NAN]), "float64"),
    (np.array([-(2**7), 2**7 - 1], "i1"), np.array([300, NAN]), "float64"),
    (np.array([-(2**31), 2**31 - 1], "i4"), np.array([NAN]), "float64"),
    (np.array([0, 2**53]), np.array([NAN, NAN]), "float64"),
    (np.array([0, 255], "u1"), np.array([NAN], "f4"), "float32"),
]


@pytest.mark.parametrize("way", ["append", "region", "a"])
@pytest.mark.parametrize(("stored", "new", "dtype"), WIDER)
def test_plain_integers_are_as_concat_makes_them(
    stored: Any, new: Any, dtype: str, way: str, zarr_format: Format, path: Path
) -> None:
    store, n = path, len(stored)
    zarrds.save(column(stored), store, zarr_format=zarr_format)
    joined = xr.concat([column(stored).c, column(new, n).c], "x").values
    if way == "append":
        zarrds.save(column(new, n), store, append_dim="x")
    else:
        new, joined = np.resize(new, n), np.resize(new, n)
        zarrds.save(column(new), store, **({"region": "auto"} if way == "region" else {"mode": "a"}))
    found = opened(store).c
    np.testing.assert_array_equal(found.values, joined)
    assert found.dtype == dtype or way != "append"
    assert load(store, engine="zarr", consolidated=False).c.identical(found)
    assert zarrds.verify(store).ok
    if way == "append":  # and on from there
        zarrds.save(column(new, n + len(new)), store, append_dim="x")
        np.testing.assert_array_equal(opened(store).c.values, np.concatenate([joined, new]))


def test_labels_get_wider_too(zarr_format: Format) -> None:
    store = MemoryStore()
    first = xr.Dataset({"v": ("x", [1, 2])}, {"x": np.array([1, 2], "i2")})
    more = xr.Dataset({"v": ("x", [3, 4])}, {"x": np.array([70000, 80000])})
    zarrds.save(first, store, zarr_format=zarr_format)
    zarrds.save(more, store, append_dim="x")
    assert opened(store).indexes["x"].tolist() == [1, 2, 70000, 80000]
    assert opened(store).sel(x=80000).v == 4
    assert zarrds.verify(store).ok


def test_plain_integers_too_large_to_be_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zarrds.datasets.writing.room.growing._MAX_REWRITTEN", 8)
    store = MemoryStore()
    zarrds.save(column(np.array([1, 2], "i2")), store)
    before = files_of(store)
    with pytest.raises(EncodingError, match="too large to be written anew") as caught:
        zarrds.save(column(np.array([70000]), 2), store, append_dim="x")
    assert caught.value.key == "c"
    assert files_of(store) == before
