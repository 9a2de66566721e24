"""Arrays whose chunks lie in shards: against NumPy, zarr-python and TensorStore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from zarrds.errors import ChunkError, EncodingError, MetadataError, UnsupportedError
from zarrds.storage.protocol import Buffer

DATA = np.arange(20 * 18, dtype="f4").reshape(20, 18)


class CountingStore(zarrds.MemoryStore):
    """Counts the bytes, and the ranges, that are read from it."""

    n_bytes = 0
    n_ranges = 0

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        value = super().get(key, buffer)
        self.n_bytes += 0 if value is None else len(value)
        return value

    def get_range(self, key: str, start: int, length: int, buffer: memoryview | None = None) -> Buffer | None:
        before = self.n_bytes
        self.n_ranges += 1
        value = super().get_range(key, start, length, buffer)
        self.n_bytes = before + (0 if value is None else len(value))
        return value


def test_shape_of_chunks_and_shards() -> None:
    array = zarrds.create_array(zarrds.MemoryStore(), shape=(20, 18), dtype="f4", chunks=(4, 3), shards=(8, 9))
    assert (array.chunks, array.shards) == ((4, 3), (8, 9))
    plain = zarrds.create_array(zarrds.MemoryStore(), shape=(20, 18), dtype="f4", chunks=(4, 3))
    assert plain.shards is None


@st.composite
def sharded(draw: st.DrawFn) -> tuple[Any, ...]:
    ndim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(0, 9)) for _ in range(ndim))
    chunks = tuple(draw(st.integers(1, 3)) for _ in range(ndim))
    shards = tuple(c * draw(st.integers(1, 3)) for c in chunks)
    key = tuple(
        draw(st.slices(n) | (st.integers(-n, n - 1) if n else st.nothing())) if n else draw(st.slices(n)) for n in shape
    )
    return shape, chunks, shards, key


@given(sharded())
def test_reads_and_writes_as_numpy(case: tuple[Any, ...]) -> None:
    shape, chunks, shards, key = case
    model = np.full(shape, -1, "i4")
    array = zarrds.create_array(
        zarrds.MemoryStore(), shape=shape, dtype="i4", chunks=chunks, shards=shards, fill_value=-1
    )
    np.testing.assert_array_equal(array[...], model)
    values = np.arange(model[key].size, dtype="i4").reshape(model[key].shape)
    model[key] = values
    array[key] = values
    np.testing.assert_array_equal(array[...], model)
    np.testing.assert_array_equal(array[key], model[key])
    full = np.arange(model.size, dtype="i4").reshape(shape)
    array[...] = full
    np.testing.assert_array_equal(array[key], full[key])
    if model.size:
        points = tuple(np.array([0, n - 1, n // 2]) for n in shape)
        np.testing.assert_array_equal(array.vindex[points], full[points])
        np.testing.assert_array_equal(array.oindex[points], full[np.ix_(*points)])


@pytest.mark.parametrize("codecs", [None, [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "zstd"}]])
def test_other_libraries_read_it(tmp_path: Path, codecs: Any) -> None:
    array = zarrds.create_array(
        tmp_path / "a.zarr", shape=DATA.shape, dtype="f4", chunks=(4, 3), shards=(8, 9), codecs=codecs
    )
    array[...] = DATA
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr", mode="r")[...], DATA)
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(tmp_path / "a.zarr")}}
    np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), DATA)


@pytest.mark.parametrize("index_location", ["start", "end"])
def test_reads_what_zarr_python_wrote(tmp_path: Path, index_location: str) -> None:
    theirs = zarr.create_array(
        tmp_path / "a.zarr",
        shape=DATA.shape,
        dtype="f4",
        chunks=(4, 3),
        shards={"shape": (8, 9), "index_location": index_location},
        fill_value=7,
    )
    theirs[:10] = DATA[:10]
    array = zarrds.open_array(tmp_path / "a.zarr", mode="r+")
    np.testing.assert_array_equal(array[...], theirs[...])
    np.testing.assert_array_equal(array[3:14:2, 5], theirs[3:14:2, 5])
    array[9:13, 4:6] = 1
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr", mode="r")[...], array[...])


def test_a_small_selection_reads_little() -> None:
    rng = np.random.default_rng(0)
    store = CountingStore()
    data = rng.standard_normal((64, 64))
    zarrds.create_array(store, shape=(64, 64), dtype="f8", chunks=(8, 8), shards=(64, 64))[...] = data
    (size,) = (len(store.get(key) or b"") for key in store.list_prefix() if key.startswith("c/"))
    array = zarrds.open_array(store)
    store.n_bytes = 0
    assert array[20, 30] == data[20, 30]
    assert store.n_bytes < size / 16


@pytest.mark.filterwarnings("ignore:Combining a `sharding_indexed` codec")
def test_codecs_around_the_shards(tmp_path: Path) -> None:
    inner = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [4, 3],
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "gzip"}],
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        },
    }
    array = zarrds.create_array(
        tmp_path / "a.zarr", shape=DATA.shape, dtype="f4", chunks=(8, 9), codecs=[inner, {"name": "crc32c"}]
    )
    array[...] = DATA
    np.testing.assert_array_equal(array[3:9, 2], DATA[3:9, 2])
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr", mode="r")[...], DATA)


def test_damaged_shards_are_errors(tmp_path: Path) -> None:
    array = zarrds.create_array(tmp_path / "a.zarr", shape=(8, 9), dtype="f4", chunks=(4, 3), shards=(8, 9))
    array[...] = DATA[:8, :9]
    file = tmp_path / "a.zarr" / "c" / "0" / "0"
    value = file.read_bytes()
    for damaged in (b"", value[:3], value[:-1], value[:60] + value[100:]):
        file.write_bytes(damaged)
        with pytest.raises(ChunkError, match="c/0/0"):
            array[...]
    for position in range(0, len(value), 7):
        flipped = bytearray(value)
        flipped[position] ^= 4
        file.write_bytes(flipped)
        with pytest.raises(ChunkError, match="c/0/0"):
            array[...]


def test_index_that_points_outside(tmp_path: Path) -> None:
    # index without a checksum, so that a forged one is believed as far as its sums
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [2],
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        },
    }
    array = zarrds.create_array(tmp_path / "a.zarr", shape=4, dtype="f8", chunks=4, codecs=[sharding])
    array[...] = 1.0
    file = tmp_path / "a.zarr" / "c" / "0"
    data = file.read_bytes()[:32]
    for offset, length in [(56, 16), (2**63, 16), (2**64 - 16, 16), (0, 2**40), (0, 8)]:
        file.write_bytes(data + np.array([[0, 16], [offset, length]], "<u8").tobytes())
        with pytest.raises(ChunkError):
            array[2:]
        with pytest.raises(ChunkError):
            array[...]


def test_what_does_not_fit() -> None:
    store = zarrds.MemoryStore()
    with pytest.raises((EncodingError, MetadataError)):
        zarrds.create_array(store, shape=8, dtype="f4", chunks=3, shards=8)
    with pytest.raises(UnsupportedError):
        zarrds.create_array(store, shape=8, dtype="f4", chunks=2, shards=8, zarr_format=2)
    with pytest.raises(MetadataError):
        zarrds.create_array(
            store, shape=8, dtype="f4", chunks=4, codecs=[{"name": "sharding_indexed", "configuration": {}}]
        )
    assert list(store.list_prefix()) == []


def test_strings_in_shards(tmp_path: Path) -> None:
    array = zarrds.create_array(tmp_path / "a.zarr", shape=10, dtype="string", chunks=2, shards=4)
    array[:7] = ["a", "bb", "", "ü", "e", "f", "g"]
    assert array[:].tolist() == ["a", "bb", "", "ü", "e", "f", "g", "", "", ""]
    assert zarr.open_array(tmp_path / "a.zarr", mode="r")[:].tolist() == array[:].tolist()


def test_each_index_is_read_once_however_many_shards_lie_side_by_side() -> None:
    store = CountingStore()
    array = zarrds.create_array(store, shape=(4, 400), dtype="i2", chunks=(1, 2), shards=(4, 4))
    array[...] = values = np.arange(1600, dtype="i2").reshape(4, 400)
    store.n_bytes = store.n_ranges = 0
    np.testing.assert_array_equal(zarrds.open_array(store, workers=1)[...], values)
    assert store.n_ranges == 800 + 100  # inner chunks and shards


def test_an_index_is_kept_however_large_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zarrds.engine.shard_io._INDEXES_NBYTES", 100)
    store = CountingStore()
    array = zarrds.create_array(store, shape=(64,), dtype="i2", chunks=(2,), shards=(64,))
    array[...] = values = np.arange(64, dtype="i2")
    store.n_ranges = 0
    np.testing.assert_array_equal(zarrds.open_array(store, workers=1)[...], values)
    assert store.n_ranges == 32 + 1
