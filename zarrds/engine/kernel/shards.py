"""Whole shards, whose inner chunks the kernel encodes with one call."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zarrds.codecs.base import AnyArray, Parts, join
from zarrds.codecs.sharding import Sharding
from zarrds.engine.kernel.job import NativeJob, Template, address
from zarrds.engine.kernel.library import Library
from zarrds.engine.plans import ProductPlan
from zarrds.engine.tables import RangeTable

__all__ = ["shard_encoder"]

# more than compressors and checksums add to a chunk that they cannot make smaller: bytes, and that part of it
_OVERHEAD = 64
_PART = 128


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
