"""Values that can stand for what is missing: one that is free is looked for among stored and new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.columns import column, listed, opened
from tests.datasets.samples import Format, files, load
from zarrds import MemoryStore
from zarrds.datasets.writing.room import free_values
from zarrds.errors import EncodingError


@pytest.mark.parametrize(
    ("stored", "new", "dtype"),
    [
        (np.arange(256, dtype="u1"), pd.array([None], dtype="UInt8"), "UInt16"),
        (np.arange(-128, 128, dtype="i1"), pd.array([None], dtype="Int8"), "Int16"),
        (np.arange(-128, 128, dtype="i1"), np.array([5, None], object), "object"),
        (pd.array([None, *range(-127, 128)], dtype="Int8"), pd.array([-128], dtype="Int8"), "Int16"),
        (np.arange(255, dtype="u1"), pd.array([None, 255], dtype="UInt8"), "UInt16"),
        (np.arange(-(2**15), 2**15).astype("i2"), pd.array([None], dtype="Int16"), "Int32"),
        (np.arange(2**16).astype("u2"), pd.array([None, 2**16], dtype="UInt32"), "UInt32"),
        (np.r_[0, np.arange(2**32 - 2**16, 2**32)].astype("u4"), pd.array([None], dtype="UInt32"), "UInt64"),
        (np.delete(np.arange(256), 77).astype("u1"), pd.array([None], dtype="UInt8"), "UInt8"),
        (np.r_[-(2**63), 2**63 - 1, 0], pd.array([None], dtype="Int64"), "Int64"),
    ],
)
def test_all_values_are_taken(stored: Any, new: Any, dtype: str, zarr_format: Format) -> None:
    store = MemoryStore()
    zarrds.save(column(stored), store, zarr_format=zarr_format)
    zarrds.save(column(new, len(stored)), store, append_dim="x")
    found = opened(store).c.variable
    assert str(found.dtype) == dtype
    assert listed(found.data) == listed(column(stored).c.variable.data) + listed(new)


def test_no_value_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zarrds.datasets.writing.room.free_values._MAX_CANDIDATES", 2)
    store = MemoryStore()
    zarrds.save(column(np.array([2**64 - 1, 2**64 - 2], "u8")), store)
    with pytest.raises(EncodingError, match=r"no value is left.*'c'") as caught:
        zarrds.save(column(pd.array([None], dtype="UInt64"), 2), store, append_dim="x")
    assert caught.value.key == "c"


@pytest.mark.parametrize("stored", [np.array(["a", "b"], object), np.array([b"a", b"b"]), np.array([1, 2])])
def test_too_large_to_be_looked_through(path: Path, stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    zarrds.save(column(stored), path)
    before = files(path)
    monkeypatch.setattr("zarrds.datasets.writing.room.free_values._MAX_SEARCHED", {"text": 1, "numbers": 1})
    monkeypatch.setattr("zarrds.datasets.writing.room.free_values.blocks_of", None)  # nothing is read
    new = np.array([None], object) if stored.dtype.kind != "i" else pd.array([None], dtype="Int64")
    with pytest.raises(EncodingError, match="'c' has no value for what is missing, and is too large") as caught:
        zarrds.save(column(new, 1), path, region="auto")
    assert caught.value.key == "c"
    assert files(path) == before


@pytest.mark.parametrize(
    "stored", [np.arange(-(2**15), -(2**15) + 2**12, dtype="i2"), np.array(["<NA>", "<NA 1>"] * 2**11, object)]
)
def test_what_is_stored_is_looked_through_once(path: Path, stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    zarrds.save(column(stored), path, encoding={"c": {"chunks": (2**10,)}})
    looked = list[int]()

    def counted(variable: xr.Variable) -> Any:
        looked.append(variable.size)
        yield from original(variable)

    original = free_values.blocks_of
    monkeypatch.setattr(free_values, "blocks_of", counted)
    new = np.array([None], object) if stored.dtype == object else pd.array([None], dtype="Int16")
    zarrds.save(column(new, 2**12), path, append_dim="x")
    assert looked == [2**12]
    assert listed(load(path).c.variable.data) == [*listed(stored), None]
