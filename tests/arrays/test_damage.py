"""Chunks that are not what they should be, through the public interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrds import LocalStore, MemoryStore, create_array, open_array
from zarrds.arrays.array import Array
from zarrds.errors import ChunkError

BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
CODECS: dict[str, Any] = {
    "default": None,
    "blosc": [BYTES, {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle"}}],
    "blosclz": [BYTES, {"name": "blosc", "configuration": {"cname": "blosclz", "clevel": 3, "shuffle": "shuffle"}}],
    "bytes": [BYTES],
    "crc32c": [BYTES, {"name": "crc32c"}],
    "gzip": [BYTES, {"name": "gzip", "configuration": {"level": 1}}],
    "zstd": [BYTES, {"name": "zstd", "configuration": {"level": 1, "checksum": True}}],
    "transpose": [{"name": "transpose", "configuration": {"order": [1, 0]}}, BYTES, {"name": "crc32c"}],
}
CHECKED = ["default", "crc32c", "gzip", "zstd", "transpose"]
SHAPE, CHUNKS = (40, 30), (20, 10)
VALUES = np.arange(1200.0).reshape(SHAPE)


def make(store: Any, codecs: Any, dtype: str = "f8") -> Array:
    array = create_array(store, path="g/t2m", shape=SHAPE, dtype=dtype, chunks=CHUNKS, codecs=codecs, fill_value=-1)
    array[...] = VALUES if dtype == "f8" else VALUES.astype(int).astype(str)
    return array


def assert_refused(array: Array, path: str) -> None:
    """Every read of the chunk and every write of a part of it say where it is; the other chunks can be read."""
    for access in (
        lambda: array[...],
        lambda: array[25, 12],
        lambda: array[39::-2, 5:25:3],
        lambda: array.oindex[[20, 3], [11, 10]],
        lambda: array.vindex[[20, 3], [11, 10]],
        lambda: array.__setitem__((25, 12), 0),
    ):
        with pytest.raises(ChunkError) as caught:
            access()
        assert (caught.value.path, caught.value.key) == (path, "g/t2m/c/1/1")
        assert path in str(caught.value)
        assert "g/t2m/c/1/1" in str(caught.value)
    if array.dtype == np.float64:
        np.testing.assert_array_equal(array[:20], VALUES[:20])
        np.testing.assert_array_equal(array[20:, :10], VALUES[20:, :10])


@pytest.mark.parametrize("name", CODECS)
def test_wrong_size(name: str, tmp_path: Path) -> None:
    array = make(tmp_path, CODECS[name])
    file = tmp_path / "g/t2m/c/1/1"
    whole = file.read_bytes()
    for data in (b"", whole[:1], whole[:-1], whole[: len(whole) // 2], whole + b"\0", whole * 2):
        if name == "gzip" and data == whole * 2:
            continue  # which is a gzip file of two members; the next test has it
        file.write_bytes(data)
        assert_refused(array, str(tmp_path))
        assert file.read_bytes() == data
    # writing the whole chunk mends it
    array[20:, 10:20] = VALUES[20:, 10:20]
    np.testing.assert_array_equal(array[...], VALUES)


@pytest.mark.parametrize("name", CODECS)
def test_chunk_of_another_array(name: str, tmp_path: Path) -> None:
    array = make(tmp_path / "a", CODECS[name])
    for shape in ((20, 9), (21, 10), (1, 1), (2000, 10)):
        other = create_array(tmp_path / "b", shape=shape, dtype="f8", chunks=shape, codecs=CODECS[name], overwrite=True)
        other[...] = 1
        (tmp_path / "a/g/t2m/c/1/1").write_bytes((tmp_path / "b/c/0/0").read_bytes())
        assert_refused(array, str(tmp_path / "a"))


def part_or_error(array: Array) -> Any:
    """What the chunk holds, or None if it is refused as it should be."""
    try:
        return array[20:, 10:20]
    except ChunkError as error:
        if (error.path, error.key) != (array.store.path, "g/t2m/c/1/1"):
            raise
    return None


@pytest.mark.parametrize("name", CHECKED)
def test_flipped_bits(name: str) -> None:
    store = MemoryStore()
    array = make(store, CODECS[name])
    whole = bytes(store.get("g/t2m/c/1/1") or b"")

    @given(st.integers(0, len(whole) * 8 - 1))
    def flip(bit: int) -> None:
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        store.set("g/t2m/c/1/1", data)
        got = part_or_error(array)
        if got is not None:  # these have bits that say nothing
            assert name in ("gzip", "zstd")
            np.testing.assert_array_equal(got, VALUES[20:, 10:20])

    flip()


@pytest.mark.parametrize("name", [*CODECS, "string"])
def test_any_bytes(name: str) -> None:
    """Whatever a chunk holds: its elements or an error, and never a crash."""
    store = MemoryStore()
    array = make(store, CODECS.get(name), "string" if name == "string" else "f8")
    whole = bytes(store.get("g/t2m/c/1/1") or b"")

    @given(st.binary(max_size=100) | st.tuples(st.integers(0, len(whole)), st.binary(max_size=20)))
    def replace(change: Any) -> None:
        data = (
            change
            if isinstance(change, bytes)
            else whole[: change[0]] + change[1] + whole[change[0] + len(change[1]) :]
        )
        store.set("g/t2m/c/1/1", data)
        got = part_or_error(array)
        assert got is None or got.shape == (20, 10)

    replace()


def test_strings(tmp_path: Path) -> None:
    array = make(tmp_path, [{"name": "vlen-utf8"}], "string")
    file = tmp_path / "g/t2m/c/1/1"
    whole = file.read_bytes()
    for data in (
        b"",
        whole[:-1],
        whole[:3],
        b"\xff\xff\xff\xff" + whole[4:],
        whole[:4] + b"\xff\xff\xff\x7f" + whole[8:],
        whole.replace(b"6", b"\xff"),  # which is not UTF-8
    ):
        file.write_bytes(data)
        assert_refused(array, str(tmp_path))


def test_missing_chunk_is_fill_value(tmp_path: Path) -> None:
    array = make(tmp_path, None)
    (tmp_path / "g/t2m/c/1/1").unlink()
    expected = VALUES.copy()
    expected[20:, 10:20] = -1
    np.testing.assert_array_equal(array[...], expected)
    np.testing.assert_array_equal(array[::-3, ::7], expected[::-3, ::7])
    array[25, 12] = 5
    expected[25, 12] = 5
    np.testing.assert_array_equal(open_array(tmp_path, path="g/t2m")[...], expected)


def test_chunk_that_is_no_file(tmp_path: Path) -> None:
    array = make(tmp_path, None)
    (tmp_path / "g/t2m/c/1/1").unlink()
    (tmp_path / "g/t2m/c/1/1").mkdir()
    assert (array[20:, 10:20] == -1).all()


def test_one_of_many_threads_fails(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    array = create_array(store, shape=1000, dtype="f8", chunks=1, workers=8)
    array[...] = 1
    for i in (0, 500, 999):
        (tmp_path / f"c/{i}").write_bytes(b"damaged")
    with pytest.raises(ChunkError) as caught:
        array[...]
    assert caught.value.key in ("c/0", "c/500", "c/999")
    for i in (0, 500, 999):
        array[i] = 1  # one element is the whole chunk
    assert array[...].sum() == 1000
