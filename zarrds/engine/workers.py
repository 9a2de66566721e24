"""Functions that read or write a batch of chunks: by the kernel where it applies, else one by one.

What they need is imported with this module: a process that is forked while a thread imports would wait for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from zarrds.codecs.base import AnyArray
from zarrds.engine import chunk_writes
from zarrds.engine.cache import ChunkCache
from zarrds.engine.chunk_io import CacheMisses, Chunks, Seen
from zarrds.engine.executor import BatchWorker, Stopped, Worker
from zarrds.engine.kernel import library
from zarrds.engine.kernel.applies import native_codecs, native_store
from zarrds.engine.kernel.job import NativeJob, Template
from zarrds.engine.kernel.library import Library
from zarrds.engine.kernel.reading import chunk_reader, inner_chunk_reader, room_for_ranges
from zarrds.engine.kernel.targets import in_place, picked, putter
from zarrds.engine.kernel.writing import chunk_writer, shard_encoder
from zarrds.engine.planning.plans import Batch, ChunkProjection, Plan, PointPlan
from zarrds.engine.serving import serve
from zarrds.storage.traits import SpanValues, has_trait

__all__ = ["Reading", "writer"]

# chunks, from which on the kernel is the faster way to read or to write, and to serve from the cache
MANY = 3
MANY_CACHED = 16


def one_by_one(work: Worker) -> BatchWorker:
    """A function that does a batch of chunks, from one that does one chunk."""

    def do(batch: Batch, stopped: Stopped) -> None:
        for part in batch:
            if stopped():
                return
            work(part)

    return do


def _watched(write: BatchWorker, values: AnyArray, seen: Seen) -> BatchWorker:
    """A function that writes a batch of chunks, and shows those that are written whole as they come."""

    def work(batch: Batch, stopped: Stopped) -> None:
        for part in batch:
            if stopped():
                return
            if part.covers:
                seen(part.position, values[part.out])
        write(batch, stopped)

    return work


def _when_needed(make: Callable[[], Worker]) -> Worker:
    """A worker whose buffers are made for its first part."""
    worker: Worker | None = None

    def work(part: ChunkProjection) -> None:
        nonlocal worker
        worker = worker or make()
        worker(part)

    return work


def _template(kernel: Library, chunks: Chunks, *, writes: bool) -> Template | None:
    """What the kernel is told of what can be read by itself; None if it does not have it."""
    name = "kernel: writing" if writes else "kernel: reading"
    if name not in chunks.notes:
        place, shards = native_store(chunks.store, writes=writes), chunks.shards
        is_regular, only_encoded = chunks.metadata.edges is None, writes and shards is not None
        codecs = native_codecs(kernel, chunks.codecs) if is_regular and (place or only_encoded) else None
        template = None
        if codecs is not None:
            separator, grid = chunks.metadata.chunk_key_encoding.separator, None if shards is None else shards.grid
            template = Template(place, chunks.key_prefix, separator, chunks.readable, grid, codecs)
        chunks.notes[name] = template
    found: Template | None = chunks.notes[name]
    return found


class Reading:
    """One read of a plan.

    Parameters
    ----------
    chunks : Chunks
    out : ndarray
        Of the plan's ``buffer_shape``.
    plan : Plan
        Of what can be read by itself.
    """

    def __init__(self, chunks: Chunks, out: AnyArray, plan: Plan) -> None:
        self._chunks, self._out, self._plan = chunks, out, plan
        # of large chunks of which single elements are wanted, only the blocks that hold them are decoded
        has_way = plan.is_basic or (bool(chunks.metadata.shape) and not chunks.in_blocks)
        self._kernel = library.library() if has_way and plan.n_chunks >= MANY else None
        self._template = None if self._kernel is None else _template(self._kernel, chunks, writes=False)
        self._misses: CacheMisses | None = None

    def serve(self, cache: ChunkCache) -> Plan:
        """Serve what is in a cache, and return what is left."""
        native, plan = None, self._plan
        is_many = plan.n_chunks >= MANY_CACHED and (plan.is_basic or isinstance(plan, PointPlan))
        if self._kernel is not None and self._template is not None and is_many:
            if self._chunks.shards is not None and not self._template.codecs.needs_cache:
                return plan
            native = self._kernel, self._job(self._template)
        left, self._misses = serve(self._plan, self._out, self._chunks, self._chunks.cached(cache), native)
        return left

    def by_shards(self, left: Plan, threads: int | None) -> bool:
        """Read what is left shard by shard, where that is the way; False where it is not, and nothing was read."""
        chunks, store = self._chunks, self._chunks.store
        if chunks.shards is None or not has_trait(store, SpanValues):
            return False
        from zarrds.engine.shard_batches import read_shards  # which local stores do not need

        read_shards(chunks, self._out, left, self._misses, store, threads)
        return True

    def make_worker(self) -> BatchWorker:
        """A function for one thread that reads a batch."""
        chunks, kernel, template = self._chunks, self._kernel, self._template
        if kernel is None or template is None:
            return one_by_one(self._reader())
        codecs, shards, is_basic = template.codecs, chunks.shards, self._plan.is_basic
        if shards is None and not codecs.reads:
            # the kernel copies the rows of whole chunks faster than NumPy, and takes longer to begin
            is_mostly_whole = 2 * self._out.nbytes > self._plan.n_chunks * codecs.chunk_nbytes
            put = putter(kernel, self._job(template), self._out.dtype) if self._out.ndim and is_mostly_whole else None
            return one_by_one(self._reader(put))
        read, in_blocks, misses = _when_needed(self._reader), chunks.in_blocks, self._misses
        job, shape = self._job(template), chunks.readable
        targets = in_place(misses, job, shape) if is_basic else picked(misses, self._out, shape)
        if shards is None:
            job.give_memory(codecs.encoded_nbytes, codecs.chunk_nbytes, in_blocks=in_blocks)
            return chunk_reader(kernel, job, read, chunks.fill_absent(self._out), targets, is_basic=is_basic)
        job.give_memory(room_for_ranges(codecs.encoded_nbytes), codecs.chunk_nbytes, in_blocks=in_blocks)
        inner = chunks.inner_chunks(shards)
        return inner_chunk_reader(kernel, job, read, self._fill, inner, targets, is_basic=is_basic)

    def _job(self, template: Template) -> NativeJob:
        out = self._out if self._plan.is_basic else np.empty((1,) * len(self._chunks.readable), self._out.dtype)
        return NativeJob(template, out, self._plan)

    def _fill(self, part: ChunkProjection) -> None:
        self._out[part.out] = self._chunks.fill

    def _reader(self, put: Callable[[ChunkProjection, AnyArray], bool] | None = None) -> Worker:
        is_basic = self._plan.is_basic
        return self._chunks.reader(self._out, is_basic=is_basic, misses=self._misses, put=put)


def writer(
    chunks: Chunks, values: AnyArray, plan: Plan, seen: Seen | None = None, *, is_alone: bool = False
) -> BatchWorker:
    """A function for one thread that writes a batch of a plan of whole chunks from `values`."""
    shards, write_part = chunks.shards, partial(chunk_writes.writer, chunks, values, is_alone=is_alone)
    kernel = library.library() if shards is not None or plan.n_chunks >= MANY else None
    if kernel is None:
        return one_by_one(write_part(seen=seen))
    template = _template(kernel, chunks, writes=True)
    if template is None or not template.codecs.can_write:
        return one_by_one(write_part(seen=seen))
    if shards is not None:
        try:
            encode = shard_encoder(kernel, template, shards, chunks.pipeline.encode)
        except (MemoryError, ValueError) as error:
            raise chunks.too_large(chunks.metadata.chunks) from error
        return one_by_one(write_part(encode, seen))
    as_stored = values.dtype == chunks.metadata.data_type.dtype
    if template.place is None or not (plan.is_basic and chunks.write_empty_chunks and as_stored):
        return one_by_one(write_part(seen=seen))
    job = NativeJob(template, values, plan)
    job.give_memory(template.codecs.encoded_nbytes, template.codecs.chunk_nbytes)
    if chunks.is_private:
        job.give_fill(chunks.fill)
    write_one = _when_needed(write_part)
    write = chunk_writer(kernel, job, template.place, write_one, chunks.key_of_position(), chunks.readable)
    return _watched(write, values, seen) if seen is not None and chunks.is_private else write
