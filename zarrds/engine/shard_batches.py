"""Inner chunks of shards that lie behind a network: of each shard all that is wanted by one or two requests.

A shard that is wanted as a whole is read as a whole; of others the index is read, once, and then all ranges together,
those that lie close together as one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from math import prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from zarrds.codecs.base import AnyArray, Buffer
from zarrds.codecs.sharding import Sharding
from zarrds.engine.chunk_io import CacheMisses, Chunks
from zarrds.engine.executor import run
from zarrds.engine.planning.plans import ChunkProjection, Plan
from zarrds.errors import ChunkError, locating
from zarrds.storage.traits import SpanValues, get_at_most

__all__ = ["read_shards"]

_SECTION = 2**16  # inner chunks that are sorted by shard at a time
_MOST_NBYTES = 64 * 2**20  # of one job: what is fetched before it is decoded

Position: TypeAlias = tuple[int, ...]
_Job: TypeAlias = tuple[Position, list[ChunkProjection]]


def read_shards(
    chunks: Chunks, out: AnyArray, plan: Plan, misses: CacheMisses | None, store: SpanValues, workers: int | None
) -> None:
    """Read a plan of inner chunks.

    Parameters
    ----------
    chunks : Chunks
        With shards.
    out : ndarray
        Of the plan's ``buffer_shape``.
    plan : Plan
    misses : CacheMisses, optional
    store : SpanValues
        Of the chunks.
    workers : int, optional
        Threads.
    """
    grid = _sharding_of(chunks).grid
    for start in range(0, plan.n_chunks, _SECTION):
        by_shard: dict[Position, list[ChunkProjection]] = {}
        for part in plan.batch(start, min(start + _SECTION, plan.n_chunks)):
            shard = tuple(n // size for n, size in zip(part.position, grid, strict=True))
            by_shard.setdefault(shard, []).append(part)
        most = max(1, _MOST_NBYTES // chunks.nbytes_of(chunks.readable))
        jobs = [job for shard, parts in by_shard.items() for job in _jobs(shard, parts, most, prod(grid))]

        run(jobs, _worker_maker(chunks, out, plan, misses, store), part_nbytes=2**20, workers=workers)


def _worker_maker(
    chunks: Chunks, out: AnyArray, plan: Plan, misses: CacheMisses | None, store: SpanValues
) -> Callable[[], Callable[[_Job], None]]:
    def make_worker() -> Callable[[_Job], None]:
        reader = _ShardReader(chunks, store)
        read = chunks.reader(out, is_basic=plan.is_basic, misses=misses, fetch=reader.fetch)

        def work(job: _Job) -> None:
            shard, parts = job
            reader.begin(shard, parts)
            for part in parts:
                read(part)

        return work

    return make_worker


def _jobs(shard: Position, parts: list[ChunkProjection], most: int, n_inner: int) -> Iterator[_Job]:
    """A shard that is wanted as a whole is one job, whatever its size; parts of others are jobs of bounded size."""
    size = len(parts) if len(parts) == n_inner else most
    for start in range(0, len(parts), size):
        yield shard, parts[start : start + size]


class _ShardReader:
    """Fetches what a job wants of its shard, and hands it out chunk by chunk. For one thread."""

    def __init__(self, chunks: Chunks, store: SpanValues) -> None:
        self._chunks, self._sharding, self._store = chunks, _sharding_of(chunks), store
        self._found: dict[Position, Buffer | None] = {}

    def fetch(self, position: Position, key: str, buffer: memoryview, identity: Hashable) -> Buffer | None:
        """The bytes of an inner chunk of the shard that was begun; None for one that is absent."""
        return self._found.pop(position)

    def begin(self, shard: Position, parts: list[ChunkProjection]) -> None:
        """Fetch what is wanted of a shard."""
        key = self._chunks.key(shard)
        with locating(self._chunks.store.path, key):
            self._found = self._fetched(shard, key, [part.position for part in parts])

    def _fetched(self, shard: Position, key: str, positions: list[Position]) -> dict[Position, Buffer | None]:
        sharding = self._sharding
        whole: Buffer | None = None
        start, length = sharding.index_range
        if len(positions) == prod(sharding.grid):
            limit = self._chunks.pipeline.most_encoded_nbytes
            whole = get_at_most(self._chunks.store, key, limit)
            if whole is not None and len(whole) > limit:
                raise ChunkError("shard is larger than it can be", expected=f"at most {limit} bytes")
            data, size = (None, 0) if whole is None else (memoryview(whole)[start:][:length], len(whole))
        else:
            tail = self._store.get_tail(key, start, length)
            data, size = (None, 0) if tail is None else (memoryview(tail[0]), tail[1])
        if data is None:
            self._chunks.check_absent(shard, key)
            return dict.fromkeys(positions)
        index = sharding.decode_index(data).copy()
        where = {each: self._range(index, each, size) for each in positions}
        wanted = {each: span for each, span in where.items() if span is not None}
        if whole is not None:
            view = memoryview(whole)
            parts: list[Buffer] = [view[offset : offset + length] for offset, length in wanted.values()]
        else:
            parts = self._store.get_spans(key, list(wanted.values())) if wanted else []
        for (offset, length), part in zip(wanted.values(), parts, strict=True):
            if len(part) != length:
                raise _outside((offset, length))
        return dict.fromkeys(positions) | dict(zip(wanted, parts, strict=True))

    def _range(self, index: npt.NDArray[np.uint64], position: Position, size: int) -> tuple[int, int] | None:
        inside = tuple(number % n for number, n in zip(position, self._sharding.grid, strict=True))
        where = self._sharding.range_of(index, inside)
        if where is not None and sum(where) > size:
            raise _outside(where)
        return where


def _sharding_of(chunks: Chunks) -> Sharding:
    sharding = chunks.shards
    if sharding is None:
        raise ValueError(f"{chunks.path!r} has no shards")
    return sharding


def _outside(where: tuple[int, int]) -> ChunkError:
    return ChunkError("an inner chunk lies outside of its shard", codec="sharding_indexed", found=where)
