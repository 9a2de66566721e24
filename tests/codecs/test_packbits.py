"""The codec of single bits: what it cannot keep is an error, and so is what it did not write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from zarrds import MemoryStore
from zarrds.errors import ChunkError, EncodingError, MetadataError


def codec(**configuration: Any) -> dict[str, Any]:
    return {"name": "packbits", "configuration": configuration}


@given(bits=st.integers(1, 16), first=st.integers(0, 8), signed=st.booleans(), data=st.data())
def test_any_bits(bits: int, first: int, signed: bool, data: st.DataObject) -> None:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = np.array(data.draw(st.lists(st.integers(low, high), min_size=1, max_size=20))) << first
    dtype = "int32" if signed else "uint32"
    store = MemoryStore()
    array = zarrds.create_array(
        store, shape=values.shape, chunks=(7,), dtype=dtype, codecs=[codec(first_bit=first, last_bit=first + bits - 1)]
    )
    array[...] = values
    np.testing.assert_array_equal(zarrds.open_array(store)[...], values)
    assert len(store.get("c/0") or b"") == (7 * bits + 7) // 8


@pytest.mark.parametrize(
    ("dtype", "values", "configuration"),
    [
        ("int8", [3, 8], {"last_bit": 3}),
        ("uint8", [4, 5], {"first_bit": 2}),
        ("float32", [0.0, -0.0], {"last_bit": 30}),
        ("float64", [0.5, np.pi], {"first_bit": 20}),
    ],
)
def test_elements_of_other_bits(dtype: str, values: list[float], configuration: dict[str, Any]) -> None:
    array = zarrds.create_array(MemoryStore(), shape=(2,), dtype=dtype, codecs=[codec(**configuration)])
    array[0] = values[0]
    with pytest.raises(EncodingError, match="other bits"):
        array[...] = np.array(values, dtype)


@pytest.mark.parametrize(
    "configuration",
    [
        {"first_bit": 8},
        {"last_bit": 8},
        {"first_bit": 3, "last_bit": 2},
        {"first_bit": -1},
        {"last_bit": 1.5},
        {"first_bit": True},
        {"padding_encoding": "both"},
        {"bits": 3},
    ],
)
def test_settings_that_mean_nothing(configuration: dict[str, Any]) -> None:
    with pytest.raises(MetadataError, match="bit"):
        zarrds.create_array(MemoryStore(), shape=(2,), dtype="int8", codecs=[codec(**configuration)])


def test_damaged_chunks() -> None:
    store = MemoryStore()
    array = zarrds.create_array(store, shape=(3,), dtype="bool", codecs=[codec(padding_encoding="first_byte")])
    array[...] = True
    store.set("c/0", b"\x04\x07")
    with pytest.raises(ChunkError, match="padding"):
        array[...]
    store.set("c/0", b"\x05\x0f")
    with pytest.raises(ChunkError, match="more bits"):
        array[...]
    store.set("c/0", b"\x05")
    with pytest.raises(ChunkError, match="wrong size"):
        array[...]


@pytest.mark.parametrize("sharded", [False, True])
def test_saved(tmp_path: Path, sharded: bool) -> None:
    ds = xr.Dataset({"mask": (("y", "x"), np.arange(600).reshape(20, 30) % 7 < 3)})
    encoding = {"serializer": codec(), "chunks": (5, 10)} | ({"shards": (10, 30)} if sharded else {})
    zarrds.save(ds, tmp_path / "x.zarr", encoding={"mask": encoding})
    found = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds")
    xr.testing.assert_identical(found.load(), ds)
    assert zarrds.verify(tmp_path / "x.zarr").ok
    zarrds.save(ds, tmp_path / "x.zarr", region={"y": slice(0, 20)})
    xr.testing.assert_identical(found.load(), ds)
