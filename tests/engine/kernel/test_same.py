"""The kernel and the Python beside it: the same elements, the same files, the same errors."""

from __future__ import annotations

import shutil
import struct
from math import prod
from pathlib import Path
from typing import Any

import crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.engine.kernel.modes import (
    KERNEL,
    Spy,
    files_of,
    needs_kernel,
    same_with_and_without,
    settled_array,
    with_kernel,
)
from tests.engine.selections import basic_keys, grids, ids_of, orthogonal_keys, pointwise_keys, select_basic
from zarrds import create_array, create_group, open_array
from zarrds.engine.cache import ChunkCache
from zarrds.engine.elements import Elements
from zarrds.engine.kernel import applies
from zarrds.engine.planning.selection import plan_basic, plan_orthogonal, plan_pointwise

pytestmark = needs_kernel

BYTES: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
CRC: dict[str, Any] = {"name": "crc32c"}


def blosc(
    cname: str = "lz4", shuffle: str = "shuffle", clevel: int = 5, blocksize: int = 0, typesize: int = 4
) -> dict[str, Any]:
    settings = {"cname": cname, "clevel": clevel, "shuffle": shuffle, "typesize": typesize, "blocksize": blocksize}
    return {"name": "blosc", "configuration": settings}


PIPELINES: dict[str, list[dict[str, Any]]] = {
    "blosc+crc": [BYTES, blosc(), CRC],
    "blosclz": [BYTES, blosc("blosclz")],
    "zlib": [BYTES, blosc("zlib", "bitshuffle")],
    "stored": [BYTES, blosc(clevel=0)],
    "small blocks": [BYTES, blosc(blocksize=16), CRC],
    "another typesize": [BYTES, blosc(blocksize=16, typesize=3), CRC],
    "none": [BYTES],
    "none+crc": [BYTES, CRC],
    "zstd": [BYTES, {"name": "zstd", "configuration": {"level": 3, "checksum": False}}, CRC],
    "zstd+sum": [BYTES, {"name": "zstd", "configuration": {"level": 3, "checksum": True}}, CRC],
    "lz4": [BYTES, {"name": "numcodecs.lz4", "configuration": {"acceleration": 1}}],
}
pipelines = pytest.mark.parametrize("codecs", PIPELINES.values(), ids=PIPELINES)


PLANNERS = [(plan_basic, basic_keys), (plan_orthogonal, orthogonal_keys), (plan_pointwise, pointwise_keys)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("same")


def new(folder: Path, shape: Any, chunks: Any, codecs: Any, dtype: Any = "i4", **options: Any) -> Any:
    path = folder / "a.zarr"
    shutil.rmtree(path, ignore_errors=True)
    return create_array(path, shape=shape, dtype=dtype, chunks=chunks, codecs=codecs, fill_value=-1, **options)


@pytest.mark.one_in(30)
@pipelines
@given(data=st.data(), grid=grids())
def test_every_selection_is_read_alike(codecs: Any, data: st.DataObject, grid: Any, folder: Path) -> None:
    shape, chunks = grid
    array = new(folder, shape, chunks, codecs)
    array[...] = ids_of(shape)
    planner, keys = data.draw(st.sampled_from(PLANNERS))
    key = data.draw(keys(shape))
    spy = same_with_and_without(lambda: open_array(array.store, chunk_cache=0).read(key, planner))
    assert spy.left == 0
    if planner is plan_pointwise:
        assert (spy.given.get("read", 0) > 0) == (bool(shape) and plan_pointwise(key, shape, chunks).n_chunks > 0)
    if planner is plan_basic:
        with with_kernel(KERNEL):
            np.testing.assert_array_equal(array[key], select_basic(ids_of(shape), key))
        assert (spy.given.get("read", 0) > 0) == (plan_basic(key, shape, chunks).n_chunks > 0)


@pytest.mark.one_in(3)
@pipelines
@given(data=st.data(), grid=grids(), is_private=st.booleans())
def test_every_selection_is_written_alike(
    codecs: Any, data: st.DataObject, grid: Any, is_private: bool, folder: Path
) -> None:
    shape, chunks = grid
    key = data.draw(basic_keys(shape))
    value = np.asarray(select_basic(ids_of(shape), key) * data.draw(st.sampled_from([3, -1640531527]))).astype("i4")
    if data.draw(st.booleans()):
        value = value[..., ::-1] if value.ndim else value
    found = []
    for kernel in (None, KERNEL):
        with with_kernel(kernel):
            array = new(folder, shape, chunks, codecs)
            array[...] = 5
            store = array.store.stage() if is_private else array.store
            elements = Elements(store, "", array.metadata, is_private=is_private)
            elements.write(key, value)
            found.append((elements.read(...).tobytes(), files_of(Path(store.root))))
            assert [place for place in Path(store.root).rglob("*.zarrds-partial") if ".lock" not in place.name] == []
            if is_private:
                array.store.discard(store)
    assert found[1] == found[0]


@given(
    dtype=st.sampled_from(["i1", "u2", "f4", "f8", "c16", "bool", "S3", "V5", "M8[ns]", ">f4", "f2"]),
    data=st.data(),
    zarr_format=st.sampled_from([2, 3]),
)
def test_every_data_type(dtype: str, data: st.DataObject, zarr_format: Any, folder: Path) -> None:
    elements = None if dtype != "V5" else st.binary(min_size=5, max_size=5).map(np.void)
    values = data.draw(hnp.arrays(np.dtype(dtype), (5, 7), elements=elements))
    path = folder / "t.zarr"
    bytes_of = []
    for kernel in (None, KERNEL):
        shutil.rmtree(path, ignore_errors=True)
        with with_kernel(kernel):
            array = create_array(path, shape=(5, 7), dtype=dtype, chunks=(2, 3), zarr_format=zarr_format)
            array[...] = values
            assert array[...].tobytes() == values.astype(array.dtype).tobytes()
            bytes_of.append(array[1:4, ::-2].tobytes())
    assert bytes_of[0] == bytes_of[1]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_same_files(zarr_format: Any, tmp_path: Path) -> None:
    found = []
    for name, kernel in (("py", None), ("c", KERNEL)):
        with with_kernel(kernel):
            create_group(tmp_path / name, zarr_format=zarr_format)
            array = create_array(
                tmp_path / name, path="a", shape=(20, 33), dtype="f4", chunks=(7, 11), zarr_format=zarr_format
            )
            array[...] = np.arange(660, dtype="f4").reshape(20, 33)
            scalar = create_array(tmp_path / name, path="s", shape=(), dtype="f4", zarr_format=zarr_format)
            scalar[...] = 7
        found.append(files_of(tmp_path / name))
    assert found[0].keys() == found[1].keys()
    assert found[0] == found[1]


def test_absent_chunks_are_filled_or_are_errors(tmp_path: Path) -> None:
    array = create_array(tmp_path, shape=(9, 9), dtype="i4", chunks=(2, 2), fill_value=7)
    array[2:4] = 1
    for missing in ("fill", "error", None):
        same_with_and_without(lambda m=missing: open_array(tmp_path, missing_chunks=m)[...])


# what is no chunk

sizes = st.sampled_from([1, 2, 4, 15, 16, 17, 60, 64, 65, 255, 256, 2**16, 2**31 - 1, 2**31, 2**32 - 1])


@st.composite
def damages(draw: st.DrawFn, frame: bytes) -> bytes:
    """A frame that was changed: bits, fields of the header, its length."""
    changed = bytearray(frame)
    match draw(st.sampled_from(["bit", "field", "start", "cut", "longer", "random", "splits"])):
        case "bit":
            for _ in range(draw(st.integers(1, 3))):
                changed[draw(st.integers(0, min(len(changed) - 1, 40)))] ^= 1 << draw(st.integers(0, 7))
        case "field" if len(changed) >= 16:
            at = draw(st.sampled_from([0, 1, 2, 3]))
            changed[at] = draw(st.integers(0, 255))
        case "start" if len(changed) >= 20:
            struct.pack_into("<I", changed, draw(st.sampled_from([4, 8, 12, 16])), draw(sizes))
        case "splits" if len(changed) >= 24:
            struct.pack_into("<I", changed, draw(st.integers(16, len(changed) - 4)), draw(sizes))
        case "cut":
            del changed[draw(st.integers(0, len(changed) - 1)) :]
        case "longer":
            changed += draw(st.binary(min_size=1, max_size=9000))
        case "random":
            changed[:] = draw(st.binary(max_size=200))
    return bytes(changed)


@pytest.mark.one_in(30)
@pipelines
@settings(max_examples=75)
@given(data=st.data(), sealed=st.booleans())
def test_damaged_chunks_are_the_same_errors(codecs: Any, data: st.DataObject, sealed: bool, folder: Path) -> None:
    array = new(folder, (6, 40), (3, 20), codecs)
    array[...] = np.arange(240, dtype="i4").reshape(6, 40) % 50
    place = folder / "a.zarr" / "c" / "0" / "1"
    has_checksum = codecs[-1] is CRC
    value = place.read_bytes()
    body = data.draw(damages(value[:-4] if has_checksum else value))
    # with a right checksum, so that what is behind it is looked at
    place.write_bytes(body + struct.pack("<I", crc32c.crc32c(body)) if has_checksum and sealed else body)
    key = data.draw(st.sampled_from([..., (0, slice(None)), (slice(None), slice(25, 31)), (2, 39), (0, 0)]))
    same_with_and_without(lambda: open_array(array.store)[key])


@pytest.mark.parametrize("field", range(16))
@pytest.mark.parametrize("codecs", [PIPELINES["blosclz"], PIPELINES["blosc+crc"]], ids=["blosclz", "lz4"])
def test_each_bit_of_a_header(field: int, codecs: Any, tmp_path: Path) -> None:
    array = new(tmp_path, (40,), (40,), codecs)
    array[...] = np.arange(40) % 7
    place = tmp_path / "a.zarr" / "c" / "0"
    value = place.read_bytes()
    has_checksum = codecs[-1] is CRC
    frame = value[:-4] if has_checksum else value
    for bit in range(8):
        changed = bytearray(frame)
        changed[field] ^= 1 << bit
        place.write_bytes(changed + struct.pack("<I", crc32c.crc32c(changed)) if has_checksum else changed)
        for key in (..., slice(3, 9)):
            same_with_and_without(lambda k=key: open_array(array.store)[k])


# large chunks, shards, the cache


def test_of_a_large_chunk_only_some_blocks_are_decoded(tmp_path: Path) -> None:
    values = np.arange(300_000, dtype="i4").reshape(300, 1000)
    for codecs in (None, PIPELINES["blosclz"]):
        array = create_array(tmp_path, shape=(300, 1000), dtype="i4", chunks=(300, 1000), codecs=codecs, overwrite=True)
        array[...] = values
        for key in [(5, 7), (slice(290, None), slice(None)), (slice(100, 160), slice(3, 900, 7)), (299, 999), ...]:
            spy = same_with_and_without(lambda k=key: open_array(tmp_path)[k])
            assert spy.left == 0
            with with_kernel(KERNEL):
                np.testing.assert_array_equal(open_array(tmp_path)[key], values[key])


@settings(max_examples=60)
@given(data=st.data())
def test_shards_are_read_alike(data: st.DataObject, folder: Path) -> None:
    shape = data.draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    chunks = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    shards = tuple(c * data.draw(st.integers(1, 4)) for c in chunks)
    path = folder / "shards.zarr"
    shutil.rmtree(path, ignore_errors=True)
    array = create_array(path, shape=shape, dtype="i4", chunks=chunks, shards=shards, fill_value=-1)
    array[: data.draw(st.integers(0, shape[0]))] = 3
    array[:, : shape[1] // 2] = np.arange(prod((shape[0], shape[1] // 2))).reshape(shape[0], shape[1] // 2)
    planner, keys = data.draw(st.sampled_from(PLANNERS))
    key = data.draw(keys(shape))
    files = [place for place in path.rglob("*") if place.is_file() and place.name != "zarr.json"]
    if files and data.draw(st.booleans()):
        place = data.draw(st.sampled_from(files))
        place.write_bytes(data.draw(damages(place.read_bytes())))
    same_with_and_without(lambda: open_array(path).read(key, planner))


def test_one_open_for_a_shard(tmp_path: Path) -> None:
    array = create_array(tmp_path, shape=(64, 64), dtype="i4", chunks=(4, 4), shards=(32, 32))
    array[...] = ids_of((64, 64))
    with with_kernel(Spy()) as spy:
        np.testing.assert_array_equal(open_array(tmp_path)[...], ids_of((64, 64)))
    assert spy.given == {"read_ranges": 256}
    assert spy.left == 0


@pytest.mark.parametrize("shards", [None, (40, 30)])
def test_the_cache_is_shared_by_both(shards: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applies, "SOONER_DECODED", 0)
    array, values = settled_array(tmp_path, shards)
    key = (slice(5, 70), slice(13, 44))
    for first, second in ((None, Spy()), (Spy(), None), (Spy(), Spy())):
        cache = ChunkCache(10**7)
        elements = Elements(array.store, "", array.metadata, cache=cache)
        for kernel in (first, second, second):
            with with_kernel(kernel):
                np.testing.assert_array_equal(elements.read(key), values[key])
        assert len(cache) > 0
    assert isinstance(second, Spy)
    n_read = second.given.get("read", 0) + second.given.get("read_ranges", 0)
    with with_kernel(second):
        np.testing.assert_array_equal(elements.read(key), values[key])
    now = second.given.get("read", 0) + second.given.get("read_ranges", 0)
    if shards is None:
        n_whole = sum(part.covers for part in plan_basic(key, (80, 60), (20, 10)))
        assert now - n_read == n_whole  # the others come from the cache
    # a chunk that is written anew is read anew
    array[10, 20] = -5
    values[10, 20] = -5
    for kernel in (Spy(), None):
        with with_kernel(kernel):
            np.testing.assert_array_equal(elements.read(key), values[key])


@settings(max_examples=60)
@given(
    data=st.data(),
    inner=st.sampled_from(sorted(PIPELINES)),
    location=st.sampled_from(["start", "end"]),
)
def test_shards_are_written_alike(data: st.DataObject, inner: str, location: str, folder: Path) -> None:
    chunks = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    shards = [c * data.draw(st.integers(1, 4)) for c in chunks]
    shape = data.draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    settings = {"chunk_shape": list(chunks), "codecs": PIPELINES[inner], "index_codecs": [BYTES, CRC]}
    codecs = [{"name": "sharding_indexed", "configuration": {**settings, "index_location": location}}]
    key = data.draw(basic_keys(shape))
    found = []
    for kernel in (None, Spy()):
        with with_kernel(kernel):
            array = new(folder, shape, tuple(shards), codecs)
            array[...] = ids_of(shape)
            array[key] = 7
            found.append((array[...].tobytes(), files_of(folder / "a.zarr")))
    assert found[0] == found[1]


LEVELS = [("zstd", {"level": level, "checksum": False}) for level in (-7, -1, 0, 1, 5, 19, 22)] + [
    ("numcodecs.lz4", {"acceleration": acceleration}) for acceleration in (-3, 0, 1, 17, 2**31 - 1)
]


@pytest.mark.parametrize("noise", [0, 2**31 - 1], ids=["zeros", "noise"])
@pytest.mark.parametrize(("name", "options"), LEVELS)
def test_each_level_makes_the_same_files(name: str, options: Any, noise: int, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, noise, (40, 40), "i4", endpoint=True)
    found = []
    for folder, kernel in (("py", None), ("c", Spy())):
        with with_kernel(kernel):
            codecs = [BYTES, {"name": name, "configuration": options}]
            array = create_array(tmp_path / folder, shape=(40, 40), dtype="i4", chunks=(20, 40), codecs=codecs)
            array[...] = values
            np.testing.assert_array_equal(array[...], values)
        if kernel is not None:
            assert (kernel.given["write"], kernel.left) == (2, 0)
        found.append(files_of(tmp_path / folder))
    assert found[0] == found[1]
