"""Batches of chunks that the kernel writes, and shards that it encodes; what it leaves is done one by one."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np

from zarrds.codecs.base import AnyArray, Parts, join
from zarrds.codecs.sharding import Sharding
from zarrds.engine.executor import BatchWorker, Stopped, Worker
from zarrds.engine.kernel.applies import NativeStore
from zarrds.engine.kernel.job import NativeJob, Template, address
from zarrds.engine.kernel.library import Check, Library
from zarrds.engine.planning.plans import Batch, ProductPlan
from zarrds.engine.planning.tables import RangeTable, Rows

__all__ = ["chunk_writer", "shard_encoder"]


_MADE_FOLDERS = 2
# more than compressors and checksums add to a chunk that they cannot make smaller: bytes, and that part of it
_OVERHEAD = 64
_PART = 128


def chunk_writer(
    kernel: Library,
    job: NativeJob,
    place: NativeStore,
    write: Worker,
    key_of: Callable[[tuple[int, ...]], str],
    shape: tuple[int, ...],
) -> BatchWorker:
    """A function that writes a batch of chunks.

    Parameters
    ----------
    kernel : Library
    job : NativeJob
        With memory.
    place : NativeStore
        Its check is called when the files of a batch are there, before they get their names; if it raises, they are
        removed.
    write : callable
        Writes one chunk in Python, with all its locks and errors.
    key_of : callable
        The key of the chunk at a position.
    shape : tuple of int
        Of a chunk.
    """
    sizes = np.array(shape, np.int64).reshape(-1, 1)
    store, check = place.folder, place.check
    failures: list[BaseException] = []
    held: list[AbstractContextManager[object]] = []

    def checked() -> int:
        try:
            if check is not None:
                held.append(place.hold())
                check()
        except BaseException as error:  # nothing may get through C
            failures.append(error)
            return 0
        return 1

    callback = Check(checked)  # to be kept as long as C may call it

    def work(batch: Batch, stopped: Stopped) -> None:
        rows: Rows = batch.rows()
        statuses = np.full(len(batch), 1, np.uint8)
        if is_possible(rows):
            write_natively(rows, statuses)
        for number in np.flatnonzero(statuses).tolist():
            if stopped():
                return
            write(batch.part(number))

    def is_possible(rows: Rows) -> bool:
        counts = rows[:, 4]
        wanted = counts > 0 if job.job.fill else counts == sizes
        return bool(wanted.all(axis=0).any())

    def write_natively(rows: Rows, statuses: AnyArray) -> None:
        how = store.written_by_others()
        job.job.stamp, job.job.sync = how.stamp, how.sync
        job.job.unfinished = None if how.name is None else os.fsencode(how.name)
        job.job.unfinished_folder = None if how.folder is None else os.fsencode(how.folder)
        job.job.check = None if check is None else ctypes.cast(callback, ctypes.c_void_p)
        try:
            answer = kernel.write(job.reference, statuses.size, address(rows), address(statuses))
        finally:
            while held:  # nothing of Python is entered here, at which a KeyboardInterrupt could leave it held
                held.pop().__exit__(None, None, None)
        if failures:
            raise failures[0]
        if how.sync and answer == _MADE_FOLDERS:
            store.sync_above(map(key_of, zip(*rows[:, 0].tolist(), strict=True)))

    return work


def shard_encoder(
    kernel: Library, template: Template, sharding: Sharding, encode: Callable[[AnyArray], Parts]
) -> Callable[[AnyArray], Parts]:
    """A function for one thread that encodes a shard.

    Parameters
    ----------
    kernel : Library
    template : Template
        Of the inner chunks.
    sharding : Sharding
    encode : callable
        Does the same in Python, for what the kernel leaves.
    """
    shape = tuple(n * size for n, size in zip(sharding.grid, sharding.chunks, strict=True))
    tables = (RangeTable(range(n), False, size, n) for n, size in zip(shape, sharding.chunks, strict=True))
    plan = ProductPlan(tuple(tables), shape, shape)
    n, codecs = plan.n_chunks, template.codecs
    rows = plan.batch(0, n).rows()
    begin = 0 if sharding.index_at_end else sharding.index_nbytes
    index = np.empty((*sharding.grid, 2), np.uint64)
    room = np.empty(n * (codecs.chunk_nbytes + codecs.chunk_nbytes // _PART + _OVERHEAD), np.uint8)

    def work(array: AnyArray) -> Parts:
        job = NativeJob(template, array, plan)
        job.give_memory(codecs.encoded_nbytes, codecs.chunk_nbytes)
        written = kernel.pack(job.reference, n, address(rows), address(room), room.size, begin, address(index))
        if written < 0:
            return encode(array)
        # the array's encoded bytes are written before this is called again
        encoded, encoded_index = room[:written].data, join(sharding.index.encode(index))
        return (encoded, encoded_index) if sharding.index_at_end else (encoded_index, encoded)

    return work
