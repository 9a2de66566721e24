"""Batches of chunks that the kernel reads; what it leaves is read one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

import numpy as np
import numpy.typing as npt

from zarrds.engine.executor import BatchWorker, Stopped, Worker
from zarrds.engine.kernel.job import NativeJob, address
from zarrds.engine.kernel.library import Library
from zarrds.engine.kernel.targets import DONE, Targets, rows_of
from zarrds.engine.planning.plans import Batch, ChunkProjection
from zarrds.engine.planning.tables import Positions
from zarrds.engine.shard_io import InnerChunks

__all__ = ["chunk_reader", "inner_chunk_reader", "room_for_ranges"]

_ABSENT = 1
# offset and length, in a shard's index, of an inner chunk that the shard does not have
_NOWHERE = np.iinfo(np.uint64).max
# bytes of a shard that are read at once, if inner chunks of it lie side by side
_AT_ONCE = 2**20

Index = npt.NDArray[np.uint64]


def _finish(batch: Batch, left: Iterable[int], stopped: Stopped, read: Worker) -> None:
    for number in left:
        if stopped():
            return
        read(batch.part(number))


def chunk_reader(
    kernel: Library, job: NativeJob, read: Worker, fill_absent: Worker, targets: Targets, *, is_basic: bool
) -> BatchWorker:
    """A function that reads a batch of chunks.

    Parameters
    ----------
    kernel : Library
    job : NativeJob
        With memory.
    read : callable
        Reads one chunk in Python, with all its errors.
    fill_absent : callable
        Does what there is to do for a chunk that the store does not have.
    targets : callable
        Where chunks go.
    is_basic : bool
        Whether the plan is.
    """

    def work(batch: Batch, stopped: Stopped) -> None:
        rows, n = rows_of(batch, is_basic=is_basic), len(batch)
        target = targets(batch, np.arange(n), rows)
        statuses = np.empty(n, np.uint8)
        kernel.read(job.reference, n, address(rows), *target.addresses(), address(statuses))
        target.finish(statuses)
        if statuses.any():
            _finish(batch, np.flatnonzero(statuses == _ABSENT).tolist(), stopped, fill_absent)
            _finish(batch, np.flatnonzero(statuses > _ABSENT).tolist(), stopped, read)

    return work


def inner_chunk_reader(
    kernel: Library,
    job: NativeJob,
    read: Worker,
    fill: Callable[[ChunkProjection], None],
    inner: InnerChunks,
    targets: Targets,
    *,
    is_basic: bool,
) -> BatchWorker:
    """A function that reads a batch of inner chunks of shards.

    Parameters
    ----------
    kernel, job, read, targets, is_basic
        As in `chunk_reader`.
    fill : callable
        Fills the place of an inner chunk that a shard does not have.
    inner : InnerChunks
        For the indexes of shards.
    """
    counts = np.array(inner.grid, np.int64).reshape(-1, 1)

    def ranges_of(numbers: Positions, stopped: Stopped) -> tuple[Index, Positions] | None:
        """Offset and length of each inner chunk, zeros where there is no shard; and in which of the shards it is."""
        of_shards = numbers // counts
        inside = np.ravel_multi_index(tuple(numbers - of_shards * counts), inner.grid)
        positions, which = _distinct(of_shards)
        ranges = np.zeros((inside.size, 2), np.uint64)
        for number, position in enumerate(positions):
            if stopped():
                return None
            index = inner.index_at(position)
            if index is not None:
                mine = slice(None) if len(positions) == 1 else np.flatnonzero(which == number)
                ranges[mine] = index.reshape(-1, 2)[inside[mine]]
        return ranges, which

    def work(batch: Batch, stopped: Stopped) -> None:
        rows = rows_of(batch, is_basic=is_basic)
        found = ranges_of(rows[:, 0], stopped)
        if found is None:
            return
        ranges, which = found
        absent = (ranges[:, 0] == _NOWHERE) & (ranges[:, 1] == _NOWHERE)
        # ranges that no file has are an error, and left to who tells of it
        sound = ~absent & (ranges[:, 0] < 2**62) & (ranges[:, 1] < 2**31) & (ranges[:, 1] > 0)
        wanted = np.flatnonzero(sound)
        order = wanted[np.lexsort((ranges[wanted, 0], which[wanted]))]
        statuses = np.empty(order.size, np.uint8)
        sorted_rows, sorted_ranges = np.take(rows, order, axis=2), np.take(ranges, order, axis=0).astype(np.int64)
        target = targets(batch, order, sorted_rows)
        at = address(sorted_rows), address(sorted_ranges), *target.addresses(), address(statuses)
        kernel.read_ranges(job.reference, order.size, *at)
        target.finish(statuses)
        left = ~(sound | absent)
        left[order[statuses != DONE]] = True
        _finish(batch, np.flatnonzero(absent).tolist(), stopped, fill)
        _finish(batch, np.flatnonzero(left).tolist(), stopped, read)

    return work


def _distinct(positions: Positions) -> tuple[list[tuple[int, ...]], Positions]:
    """The distinct ones among positions in a grid, of shape ``(dimensions, n)``, and which of them each is."""
    low = positions.min(axis=1)
    extents = positions.max(axis=1) - low + 1
    n = prod(extents.tolist())
    if n == 1:
        return [tuple(low.tolist())], np.zeros(positions.shape[1], np.intp)
    if n >= np.iinfo(np.intp).max:  # too far apart to number all that lie between them
        distinct, which = np.unique(positions, axis=1, return_inverse=True)
        return list(map(tuple, distinct.T.tolist())), which.reshape(-1)
    ids = np.ravel_multi_index(tuple(positions - low.reshape(-1, 1)), tuple(extents.tolist()))
    _, first, which = np.unique(ids, return_index=True, return_inverse=True)
    return list(map(tuple, positions[:, first].T.tolist())), which.reshape(-1)


def room_for_ranges(encoded_nbytes: int) -> int:
    """Bytes to read inner chunks into, of up to so many bytes each."""
    return max(encoded_nbytes, _AT_ONCE)
