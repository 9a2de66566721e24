"""A part of a chunk, decoded by itself."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrds import LocalStore, MemoryStore, create_array, open_array
from zarrds.codecs.blosc import Blosc
from zarrds.codecs.pipeline import build_pipeline
from zarrds.engine.planning.spans import span_of
from zarrds.errors import ChunkError
from zarrds.metadata.dtypes import DataType

BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


@st.composite
def selections(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """What plans take from a chunk: slices that count upwards and arrays, never empty."""
    found: list[Any] = []
    for size in shape:
        if draw(st.booleans()):
            start = draw(st.integers(0, size - 1))
            found.append(slice(start, draw(st.integers(start + 1, size)), draw(st.integers(1, size))))
        else:
            found.append(np.array(draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=4))))
    return tuple(found)


@given(st.lists(st.integers(1, 5), max_size=4).map(tuple), st.data())
def test_the_span_holds_all_that_is_selected(shape: tuple[int, ...], data: st.DataObject) -> None:
    key = data.draw(selections(shape)) if shape else ...
    start, stop = span_of(key, shape, itemsize=1)
    offsets = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    wanted = offsets[np.ix_(*(offsets_along(k, n) for k, n in zip(key, shape, strict=True)))] if shape else offsets
    assert start <= wanted.min()
    assert wanted.max() < stop <= offsets.size


def offsets_along(index: Any, size: int) -> Any:
    return np.arange(size)[index]


@given(
    st.sampled_from(["lz4", "zstd", "blosclz", "zlib"]),
    st.sampled_from(["noshuffle", "shuffle", "bitshuffle"]),
    st.integers(0, 9),
    st.sampled_from(["i1", "<i2", "<f4", "<f8", "<c16"]),
    st.one_of(st.integers(1, 3000), st.integers(30_000, 60_000)),
    st.sampled_from([0, 16, 128, 500, 1024, 4096]),
    st.booleans(),
    st.data(),
)
def test_blocks_are_decoded_as_in_the_whole(
    cname: str,
    shuffle: str,
    clevel: int,
    dtype: str,
    size: int,
    blocksize: int,
    compressible: bool,
    data: st.DataObject,
) -> None:
    values = np.random.default_rng(size).integers(0, 4 if compressible else 127, size).astype(dtype)
    codec = Blosc(cname, clevel, shuffle, values.itemsize, blocksize)
    (frame,) = codec.encode((values.data,))
    start = data.draw(st.integers(0, values.nbytes - 1))
    stop = data.draw(st.integers(start + 1, values.nbytes))
    out = np.full(values.nbytes, 0xA5, np.uint8)
    codec.decode_into(frame, out, (start, stop))
    assert out[start:stop].tobytes() == values.tobytes()[start:stop]


def frame_of_blocks(values: npt.NDArray[Any], order: list[int]) -> tuple[Blosc, bytes]:
    """A frame of as many blocks as `order` names, which lie in that order behind the header."""
    codec = Blosc("lz4", 5, "shuffle", 4, blocksize=values.size // len(order))  # which Blosc multiplies by 4
    frame = bytes(codec.encode((values.data,))[0])
    starts = np.frombuffer(frame, "<i4", len(order), 16)
    bounds = sorted([*starts.tolist(), len(frame)])
    blocks = [frame[a : bounds[bounds.index(a) + 1]] for a in starts.tolist()]
    moved, at = np.empty(len(order), "<i4"), 16 + 4 * len(order)
    for number in order:
        moved[number], at = at, at + len(blocks[number])
    return codec, frame[:16] + moved.tobytes() + b"".join(blocks[number] for number in order)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0]], ids=str)
def test_only_the_blocks_that_hold_the_span_are_decoded(order: list[int]) -> None:
    """Several threads of Blosc write blocks in any order."""
    values = np.random.default_rng(0).integers(1, 99, 2**17).astype("<i4")
    codec, frame = frame_of_blocks(values, order)
    np.testing.assert_array_equal(np.frombuffer(codec.decode(frame, values.nbytes), "<i4"), values)
    for at in range(0, values.nbytes, 2**15):
        out = np.zeros(values.nbytes, np.uint8)
        codec.decode_into(frame, out, (at, at + 2**15))
        block = at // 2**17 * 2**15
        expected = np.zeros_like(values)
        expected[block : block + 2**15] = values[block : block + 2**15]
        np.testing.assert_array_equal(out.view("<i4"), expected)


@pytest.mark.parametrize("start", [0, 15, 16, 31, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("block", range(4))
def test_a_block_that_begins_outside_of_the_frame_is_refused(start: int, block: int) -> None:
    values = np.random.default_rng(0).integers(0, 9, 2**17).astype("<i4")
    codec, frame = frame_of_blocks(values, [0, 1, 2, 3])
    forged = frame[: 16 + 4 * block] + start.to_bytes(4, "little") + frame[20 + 4 * block :]
    out = np.zeros(values.nbytes, np.uint8)
    with pytest.raises(ChunkError, match="damaged"):
        codec.decode_into(forged, out, (block * 2**17, block * 2**17 + 1))


@pytest.mark.parametrize("n_blocks", [2**8, 2**17])
def test_blocks_that_all_begin_at_one_place_are_no_larger_frame_than_they_came_from(n_blocks: int) -> None:
    """Forged: each would seem to hold all that stands behind the table."""
    nbytes, table_stop = 4 * n_blocks, 16 + 4 * n_blocks
    starts = np.full(n_blocks, table_stop, "<i4").tobytes()
    body = bytes(2**16)
    frame = struct.pack("<BBBBIII", 2, 1, 0x30, 1, nbytes, 4, table_stop + len(body)) + starts + body
    out = np.zeros(nbytes, np.uint8)
    with pytest.raises(ChunkError, match="damaged"):
        Blosc("lz4", 5, "noshuffle", 1).decode_into(frame, out, (0, nbytes // 2))


@pytest.mark.parametrize(
    ("dtype", "codecs", "expected"),
    [
        ("float32", [BYTES, {"name": "blosc", "configuration": {}}, {"name": "crc32c"}], True),
        ("float32", [BYTES, {"name": "blosc", "configuration": {}}], True),
        (
            "float32",
            [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "blosc", "configuration": {}}],
            False,
        ),
        ("float32", [BYTES, {"name": "zstd", "configuration": {"level": 1, "checksum": False}}], False),
        ("float32", [BYTES], False),
        ("string", [{"name": "vlen-utf8"}, {"name": "blosc", "configuration": {"typesize": 1}}], False),
    ],
)
def test_which_pipelines_have_blocks(dtype: str, codecs: Any, expected: bool) -> None:
    assert build_pipeline(codecs, (4, 4), DataType.from_v3(dtype)).has_blocks is expected


@given(st.data())
def test_selections_of_large_chunks_are_numpys(data: st.DataObject) -> None:
    shape = (40, 60, 70)
    values = np.random.default_rng(1).integers(0, 50, shape).astype("f4")
    blosc = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 4, "blocksize": 2**15}
    codecs = [BYTES, {"name": "blosc", "configuration": blosc}, {"name": "crc32c"}]
    array = create_array(MemoryStore(), shape=shape, dtype="f4", chunks=(25, 60, 61), codecs=codecs)
    array[...] = values
    # without a cache, each selection is decoded as far as it must be
    array = open_array(array.store, chunk_cache=0)
    points = tuple(np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=3, max_size=3))) for n in shape)
    np.testing.assert_array_equal(array.vindex[points], values[points])
    np.testing.assert_array_equal(array.oindex[points], values[np.ix_(*points)])
    key = tuple(
        data.draw(st.one_of(st.integers(0, n - 1), st.slices(n).filter(lambda s: s.step is None or s.step != 0)))
        for n in shape
    )
    np.testing.assert_array_equal(array[key], values[key])


def test_a_flipped_bit_outside_of_the_span_is_found(tmp_path: Path) -> None:
    """The checksum is of the whole chunk, whatever of it is decoded."""
    blosc = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 4, "blocksize": 1024}
    codecs = [BYTES, {"name": "blosc", "configuration": blosc}, {"name": "crc32c"}]
    array = create_array(LocalStore(tmp_path), shape=(4096,), dtype="i4", chunks=(4096,), codecs=codecs)
    array[...] = np.arange(4096)
    file = tmp_path / "c" / "0"
    chunk = bytearray(file.read_bytes())
    chunk[-20] ^= 1
    file.write_bytes(chunk)
    with pytest.raises(ChunkError, match="checksum"):
        open_array(tmp_path)[0]
