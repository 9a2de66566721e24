"""Decoded chunks that are kept: they answer as the store would, or not at all."""

from __future__ import annotations

import gc
import os
import pickle
import tempfile
import threading
import time
import weakref
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import zarrds
from tests.engine.selections import basic_keys
from zarrds import LocalStore, MemoryStore, create_array, open_array, open_group
from zarrds.arrays.array import Array
from zarrds.engine.cache import ChunkCache, cache_of
from zarrds.errors import ChunkError, EncodingError
from zarrds.storage.protocol import Buffer, Store

SHAPE, CHUNKS = (6, 8), (4, 3)
CHUNK_NBYTES = 4 * 4 * 3 + 512  # and what an entry takes
AGE = 10 * 10**9  # ns


class CountingStore(LocalStore):
    """Counts the values of chunks that are read."""

    n_reads = 0

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        self.n_reads += "/c/" in f"/{key}"
        return super().get(key, buffer)

    def get_at_most(self, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
        self.n_reads += "/c/" in f"/{key}"
        return super().get_at_most(key, limit, buffer)

    def get_range(self, key: str, start: int, length: int, buffer: memoryview | None = None) -> Buffer | None:
        self.n_reads += 1
        return super().get_range(key, start, length, buffer)


def make_older(folder: Path) -> None:
    """Let the files that were written just now look as if that was some time ago."""
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # an unfinished one
            written = file.stat().st_mtime_ns
            if file.is_file() and written > time.time_ns() - AGE // 2:
                os.utime(file, ns=(written - AGE, written - AGE))


def stored(path: Path, cache: ChunkCache, **options: Any) -> tuple[CountingStore, Array, Any]:
    values = np.arange(48, dtype="i4").reshape(SHAPE)
    array = create_array(path, **{"shape": SHAPE, "dtype": "i4", "chunks": CHUNKS, **options})
    array[...] = values
    make_older(path)
    store = CountingStore(path)
    return store, Array(store, "", array.metadata, cache=cache), values


def n_blocks(n: int) -> list[dict[str, Any]]:
    """Codecs whose frames of 2 MiB have so many blocks."""
    configuration = {"cname": "zstd", "clevel": 1, "shuffle": "shuffle", "typesize": 4, "blocksize": 2**21 // n}
    return [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "blosc", "configuration": configuration}]


def test_a_chunk_of_which_a_small_part_is_enough_is_kept_when_it_is_wanted_again(tmp_path: Path) -> None:
    cache = ChunkCache(2**22)
    values = np.random.default_rng(0).integers(0, 99, (8, 2**16)).astype("i4")
    written = create_array(tmp_path, shape=values.shape, dtype="i4", chunks=values.shape, codecs=n_blocks(8))
    written[...] = values
    make_older(tmp_path)
    store = CountingStore(tmp_path)
    array = Array(store, "", written.metadata, cache=cache)
    for row, n_reads, n_kept in ((1, 1, 0), (1, 2, 1), (7, 2, 1), (1, 2, 1)):
        np.testing.assert_array_equal(array[row], values[row])
        assert (store.n_reads, len(cache)) == (n_reads, n_kept)
    assert values.nbytes <= cache.nbytes <= values.nbytes + 1000


def test_a_chunk_that_must_be_decoded_whole_is_kept_at_once(tmp_path: Path) -> None:
    cache = ChunkCache(2000)
    store, array, values = stored(tmp_path, cache)
    for _ in range(3):
        np.testing.assert_array_equal(array[:, 1], values[:, 1])
        assert (store.n_reads, len(cache)) == (2, 2)


def test_whole_chunks_pass_by(tmp_path: Path) -> None:
    cache = ChunkCache(10_000)
    store, array, values = stored(tmp_path, cache)
    for n in (1, 2, 3):
        np.testing.assert_array_equal(array[:4, 3:6], values[:4, 3:6])
        assert (store.n_reads, len(cache)) == (n, 0)


def test_a_read_that_is_longer_than_the_cache_passes_by(tmp_path: Path) -> None:
    cache = ChunkCache(CHUNK_NBYTES)
    _, array, values = stored(tmp_path, cache)
    for _ in range(3):
        np.testing.assert_array_equal(array[1], values[1])
    assert len(cache) == 0


def test_the_limit_holds_and_the_oldest_go(tmp_path: Path) -> None:
    cache = ChunkCache(2 * CHUNK_NBYTES)
    store, array, _ = stored(tmp_path, cache)
    for column in (0, 3, 6):
        for _ in range(2):
            _ = array[0, column]
        assert cache.nbytes <= cache.limit
    before = store.n_reads
    _ = array[0, 3], array[0, 6]
    assert store.n_reads == before
    _ = array[0, 0]
    assert store.n_reads == before + 1


def test_values_that_were_just_written_are_not_kept(tmp_path: Path) -> None:
    """Their files' times may be those of the next value too."""
    cache = ChunkCache(10_000)
    store, array, _ = stored(tmp_path, cache)
    other = open_array(tmp_path, mode="r+")
    other[0, 0] = 70
    for n in (1, 2, 3):
        assert array[0, 0] == 70
        assert (store.n_reads, len(cache)) == (n, 0)


def test_a_file_of_the_same_size_that_another_tool_wrote_in_place(tmp_path: Path) -> None:
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
    cache = ChunkCache(10_000)
    _, array, _ = stored(tmp_path, cache, codecs=codecs)
    for _ in range(3):
        assert array[0, 0] == 0
    file = tmp_path / "c" / "0" / "0"
    inode = file.stat().st_ino
    with open(file, "r+b") as opened:
        opened.write((99).to_bytes(4, "little"))
    assert file.stat().st_ino == inode
    assert array[0, 0] == 99


LITTLE, BIG = ([{"name": "bytes", "configuration": {"endian": endian}}] for endian in ("little", "big"))


@pytest.mark.parametrize(
    "options",
    [{"dtype": [("x", "<f4"), ("y", "<i4")]}, {"dtype": "f8"}, {"codecs": BIG}],
    ids=["fields", "dtype", "codecs"],
)
def test_the_same_files_are_read_by_another_array_s_own_metadata(tmp_path: Path, options: dict[str, Any]) -> None:
    given: dict[str, Any] = {"shape": 6, "chunks": 6, "dtype": [("x", "<i4"), ("y", "<f4")], "codecs": LITTLE}
    before = create_array(tmp_path / "a", **given)
    before[...] = np.array([(n, n / 2) for n in range(6)], before.dtype)
    after = create_array(tmp_path / "b", **(given | options))
    make_older(tmp_path)
    cache, store = ChunkCache(10_000), LocalStore(tmp_path / "a")
    assert Array(store, "", before.metadata, cache=cache)[1]["x"] == 1
    assert len(cache) == 1
    found = Array(store, "", after.metadata, cache=cache)[1:3]
    assert found.tobytes() == Array(store, "", after.metadata)[1:3].tobytes()
    assert found.dtype == after.dtype


def test_an_array_that_grew_and_shrank(tmp_path: Path) -> None:
    cache = ChunkCache(10_000)
    _, array, values = stored(tmp_path, cache)
    for shape in ((6, 8), (9, 8), (3, 8), (6, 8)):
        writer = open_array(tmp_path, mode="r+")
        writer.resize(shape)
        make_older(tmp_path)
        expected = np.zeros(shape, "i4")
        kept = tuple(slice(0, n) for n in np.minimum(values.shape, shape))
        expected[kept] = values[kept]
        values = expected
        array = Array(array.store, "", writer.metadata, cache=cache)
        for _ in range(2):
            np.testing.assert_array_equal(array[:, 1:5], values[:, 1:5])


def test_a_lost_chunk_is_missed_although_it_is_cached(tmp_path: Path) -> None:
    ds = xr.Dataset({"v": (("y", "x"), np.arange(48.0).reshape(SHAPE))})
    zarrds.save(ds, tmp_path / "x.zarr", encoding={"v": {"chunks": CHUNKS}})
    make_older(tmp_path / "x.zarr")
    with xr.open_dataset(tmp_path / "x.zarr", engine="zarrds") as opened:
        for _ in range(3):
            assert opened.v[0, 1].item() == 1
        next((tmp_path / "x.zarr" / "v").rglob("*0?0")).unlink()
        with pytest.raises(ChunkError, match="missing"):
            _ = opened.v[0, 1].item()


class ReplacingStore(CountingStore):
    """Another writer puts a new chunk in place just before this one reads."""

    def get_at_most(self, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
        if "/c/" in f"/{key}":
            open_array(self.path, mode="r+")[0, 0] = 100 + self.n_reads
        return super().get_at_most(key, limit, buffer)


def test_a_chunk_that_is_replaced_while_it_is_read_is_not_kept(tmp_path: Path) -> None:
    cache = ChunkCache(10_000)
    _, array, _ = stored(tmp_path, cache)
    raced = Array(ReplacingStore(tmp_path), "", array.metadata, cache=cache)
    for n in range(3):
        make_older(tmp_path)
        assert raced[0, 0] == 100 + n
        assert len(cache) == 0


BIG_ENDIAN = {"name": "bytes", "configuration": {"endian": "big"}}
F_ORDER = {"name": "transpose", "configuration": {"order": [1, 0]}}
ZSTD = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}


@pytest.mark.parametrize(
    "options",
    [
        {"shards": (8, 6)},
        {"zarr_format": 2},
        {"dtype": ">i4"},
        {"codecs": [F_ORDER, BIG_ENDIAN]},
        {"codecs": [BIG_ENDIAN, ZSTD]},
    ],
    ids=["shards", "v2", "dtype", "F order", "zstd"],
)
def test_every_kind_of_chunk_is_cached(tmp_path: Path, options: dict[str, Any]) -> None:
    cache = ChunkCache(10_000)
    store, array, values = stored(tmp_path, cache, **options)
    for _ in range(4):
        for key in ((1, 1), (slice(None), 4), (0, 7), (5, slice(None, None, 3))):
            np.testing.assert_array_equal(array[key], values[key])
    before = store.n_reads
    np.testing.assert_array_equal(array[:, 1:8:3], values[:, 1:8:3])
    np.testing.assert_array_equal(array.vindex[[0, 5], [7, 2]], values[[0, 5], [7, 2]])
    np.testing.assert_array_equal(array.oindex[[5, 0], [2, 1]], values[np.ix_([5, 0], [2, 1])])
    assert store.n_reads == before


def test_a_shard_that_was_replaced_is_read_by_its_own_index(tmp_path: Path) -> None:
    _, array, values = stored(tmp_path, cache_of(10_000), shards=(8, 6))
    for n in range(4):
        other = open_array(tmp_path, mode="r+")
        other[0, 0] = 1000 + n
        other[:4, 3:6] = np.random.default_rng(n).integers(0, 2**30, (4, 3))  # takes more bytes than before
        values = other[...]
        make_older(tmp_path)
        for _ in range(3):
            np.testing.assert_array_equal(array[1:3, 1:5], values[1:3, 1:5])


def test_strings_are_not_cached(tmp_path: Path) -> None:
    cache = ChunkCache(10_000)
    texts = create_array(tmp_path / "t", shape=(6,), dtype="string", chunks=(3,))
    texts[...] = np.array(["a", "b", "c", "d", "e", "f"], object)
    make_older(tmp_path / "t")
    cached = Array(LocalStore(tmp_path / "t"), "", texts.metadata, cache=cache)
    for _ in range(3):
        assert cached[4] == "e"
    assert len(cache) == 0


def test_arrays_and_stores_do_not_answer_for_each_other(tmp_path: Path) -> None:
    cache = ChunkCache(10**6)
    arrays = []
    for n, store in enumerate((LocalStore(tmp_path / "1"), LocalStore(tmp_path / "2"), MemoryStore())):
        for name in ("a", "b"):
            array = create_array(store, path=name, shape=(4,), dtype="i4", chunks=(4,))
            array[...] = 10 * n + (name == "b")
            arrays.append((Array(store, name, array.metadata, cache=cache), 10 * n + (name == "b")))
    make_older(tmp_path)
    for _ in range(4):
        for array, value in arrays:
            assert array[2] == value
    assert len(cache) == len(arrays)


def test_what_is_cached_keeps_no_store_in_memory_alive() -> None:
    store = MemoryStore()
    array = create_array(store, shape=(4,), dtype="i4", chunks=(4,))
    for _ in range(3):
        _ = array[2]
    gone = weakref.ref(store)
    del store, array
    gc.collect()
    assert gone() is None


def test_the_options(tmp_path: Path) -> None:
    ds = xr.Dataset({"v": ("x", np.arange(100))})
    zarrds.save(ds, tmp_path / "x.zarr", encoding={"v": {"chunks": (10,)}})
    make_older(tmp_path / "x.zarr")
    shared = cache_of(None)
    shared.clear()
    with xr.open_dataset(tmp_path / "x.zarr", engine="zarrds", chunk_cache=0) as opened:
        for _ in range(3):
            assert opened.v[5].item() == 5
    with xr.open_dataset(tmp_path / "x.zarr", engine="zarrds", chunk_cache=10_000) as opened:
        for _ in range(3):
            assert opened.v[5].item() == 5
    for array in (
        open_array(tmp_path / "x.zarr", path="v", chunk_cache=0),
        open_group(tmp_path / "x.zarr", chunk_cache=0)["v"],
    ):
        for _ in range(3):
            assert array[5] == 5
    assert len(shared) == 0
    with xr.open_datatree(tmp_path / "x.zarr", engine="zarrds") as tree:
        for _ in range(2):
            assert tree["v"][5].item() == 5
    assert len(shared) == 1
    with xr.open_dataset(tmp_path / "x.zarr", engine="zarrds") as opened:
        assert opened.v[6].item() == 6
    assert len(shared) == 1
    for wrong in (-1, 1.5, "64MB", True):
        with pytest.raises(EncodingError, match="chunk_cache"):
            xr.open_dataset(tmp_path / "x.zarr", engine="zarrds", chunk_cache=wrong)


def test_a_cache_pickles_as_an_empty_one_and_the_shared_one_as_itself(tmp_path: Path) -> None:
    own = ChunkCache(10_000)
    _, array, values = stored(tmp_path, own)
    for _ in range(2):
        _ = array[1, 1]
    copy = pickle.loads(pickle.dumps(own))
    assert (copy.limit, len(copy), len(own)) == (10_000, 0, 1)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array))[1], values[1])
    assert pickle.loads(pickle.dumps(cache_of(None))) is cache_of(None)


def _read_in_child(path: str) -> int:
    array = open_array(path)
    return int(array[1, 1]) + int(array[1, 1]) + len(cache_of(None))


def test_a_forked_child_can_read_while_its_parent_holds_the_lock(tmp_path: Path) -> None:
    _, array, _ = stored(tmp_path, cache_of(None))
    for _ in range(3):
        _ = array[1, 1]
    with cache_of(None)._lock, get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_read_in_child, (str(tmp_path),)).get(60) == 9 + 9 + 1


def test_many_threads_and_a_writer(tmp_path: Path) -> None:
    """Whatever is read was written as a whole, and nothing older than what was read before."""
    cache = ChunkCache(10_000)
    _, array, _ = stored(tmp_path, cache)
    writer = open_array(tmp_path, mode="r+")
    writer[...] = 0
    stop, failures = threading.Event(), []

    def read() -> None:
        newest = 0
        while not stop.is_set():
            found = array[:3, 1:3]
            if found.min() != found.max() or found.max() < newest:
                failures.append((newest, found))
                return
            newest = int(found.max())

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(1, 60):
        writer[:4, :3] = n
        make_older(tmp_path)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert array[0, 0] == 59


class ReadsAndWrites(RuleBasedStateMachine):
    """Any order of reads, writes and replacements, against a NumPy array."""

    @initialize(limit=st.sampled_from([0, CHUNK_NBYTES, 3 * CHUNK_NBYTES, 10**6]), store=st.sampled_from("fm"))
    def begin(self, limit: int, store: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.cache = ChunkCache(limit)
        self.store: Store = MemoryStore() if store == "m" else LocalStore(self.folder.name)
        self.writer = create_array(self.store, shape=SHAPE, dtype="i4", chunks=CHUNKS)
        self.values = np.zeros(SHAPE, "i4")
        self.array = Array(self.store, "", self.writer.metadata, cache=self.cache)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(key=basic_keys(SHAPE))
    def read(self, key: Any) -> None:
        np.testing.assert_array_equal(self.array[key], self.values[key])

    @rule(row=st.integers(0, 5), column=st.integers(0, 7), again=st.integers(1, 3))
    def read_one(self, row: int, column: int, again: int) -> None:
        for _ in range(again):
            assert self.array[row, column] == self.values[row, column]

    @rule(key=basic_keys(SHAPE), value=st.integers(0, 2**31 - 1))
    def write(self, key: Any, value: int) -> None:
        self.writer[key] = value
        self.values[key] = value

    @rule()
    def time_passes(self) -> None:
        make_older(Path(self.folder.name))

    @invariant()
    def the_limit_holds(self) -> None:
        if hasattr(self, "cache"):
            assert self.cache.nbytes <= self.cache.limit


TestReadsAndWrites = ReadsAndWrites.TestCase
TestReadsAndWrites.settings = settings(max_examples=20, stateful_step_count=25)
