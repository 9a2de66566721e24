"""The chunks of a store: can each be read. Those of shards one by one, with buffers for one chunk a thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from zarrds.checks.again import LOOKS
from zarrds.checks.arrays import CheckedArray, array_now, is_inside, positions
from zarrds.checks.report import Finding, finding_of
from zarrds.checks.tally import Tally
from zarrds.codecs.sharding import Sharding
from zarrds.engine.executor import Worker
from zarrds.engine.planning.plans import ChunkProjection
from zarrds.errors import ZarrdsError
from zarrds.storage.protocol import Store

__all__ = ["ChunksToRead", "chunk_checker"]


class ChunksToRead:
    """All stored chunks of some arrays; `ChunkProjection.out` is the array."""

    def __init__(self, store: Store, arrays: Sequence[CheckedArray]) -> None:
        self._store = store
        self._arrays = arrays

    def __len__(self) -> int:
        return sum(array.n_stored for array in self._arrays)

    def __iter__(self) -> Iterator[ChunkProjection]:
        for array in self._arrays:
            for position in array.stored(self._store):
                yield ChunkProjection(position, array, ..., True)


def chunk_checker(store: Store, tally: Tally) -> Worker:
    """A function that checks one chunk or shard."""
    current: CheckedArray | None = None
    read: Worker | None = None

    def check(part: ChunkProjection) -> None:
        nonlocal current, read
        array: CheckedArray = part.out
        if array is not current:
            current, read = array, None  # the buffers of the array before go first
            read = _reader(array, tally)
        if read is None:
            return
        found = Tally()
        _check_chunk(store, array, part.position, read, found)
        for _ in range(LOOKS):
            now = array_now(store, array, tally) if found.findings else array
            if now is array:
                break
            array, found = now or array, Tally()
            again = _reader(now, tally) if now is not None and is_inside(part.position, now.grid) else None
            if now is None or again is None:
                break
            _check_chunk(store, now, part.position, again, found)
        tally.merge(found)

    return check


def _reader(array: CheckedArray, tally: Tally) -> Worker | None:
    """A function that reads one chunk of an array, and forgets what is in it."""
    chunks = array.chunks
    try:
        return chunks.reader(np.empty(chunks.readable, chunks.metadata.data_type.dtype), is_basic=True)
    except (MemoryError, ValueError):
        problem = f"its chunks of {chunks.nbytes_of(chunks.readable)} bytes do not fit in memory, and were not read"
        tally.add(chunks.path, "problems", Finding("error", chunks.path or "/", problem))
        return None


def _check_chunk(store: Store, array: CheckedArray, position: tuple[int, ...], read: Worker, tally: Tally) -> None:
    path, sharding = array.chunks.path, array.sharding
    key = array.chunks.key(position)
    if sharding is None:
        try:
            # of no dimensions, () would be an element, and no array to read into
            read(ChunkProjection(position, tuple(map(slice, array.chunks.shape_of(position))) or ..., ..., True))
        except ZarrdsError as error:
            tally.add(path, "chunks that cannot be read", finding_of(error, key))
        return
    for inner in positions(sharding.grid):
        counted = tuple(
            shard * size + number for shard, size, number in zip(position, sharding.grid, inner, strict=True)
        )
        try:
            read(ChunkProjection(counted, ..., ..., True))
        except ZarrdsError as error:
            problem = _index_problem(store, sharding, key)
            if problem is not None:  # it is the same for all
                tally.add(path, "chunks that cannot be read", finding_of(problem, key, "index of the shard: "))
                return
            finding = finding_of(error, key, f"inner chunk {inner} of the shard: ")
            tally.add(path, "chunks that cannot be read", finding)


def _index_problem(store: Store, sharding: Sharding, key: str) -> ZarrdsError | None:
    try:
        data = store.get_range(key, *sharding.index_range)
        if data is not None:
            sharding.decode_index(data)
    except ZarrdsError as error:
        return error
    return None
