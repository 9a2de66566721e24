"""Batches of chunks that the kernel reads; what it leaves is read one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from zarrds.codecs.base import AnyArray
from zarrds.codecs.sharding import Sharding
from zarrds.engine.chunk_io import LookedUp
from zarrds.engine.executor import BatchWorker, Stopped, Worker
from zarrds.engine.kernel.job import NativeJob, address
from zarrds.engine.kernel.library import Library
from zarrds.engine.plans import Batch, Part
from zarrds.engine.tables import Rows

__all__ = ["chunk_reader", "inner_chunk_reader", "room_for_ranges"]

_DONE, _ABSENT = 0, 1
# bytes of a shard that are read at once, if inner chunks of it lie side by side
_AT_ONCE = 2**20

Index = npt.NDArray[np.uint64]


def _finish(batch: Batch, left: Iterable[int], stopped: Stopped, read: Worker) -> None:
    for number in left:
        if stopped():
            return
        read(batch.part(number))


def chunk_reader(
    kernel: Library,
    job: NativeJob,
    read: Worker,
    fill_absent: Worker,
    looked_up: LookedUp | None,
    shape: tuple[int, ...],
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
    looked_up : LookedUp, optional
        Which chunks are to be kept.
    shape : tuple of int
        Of a chunk.
    """

    def work(batch: Batch, stopped: Stopped) -> None:
        rows = batch.rows()
        keeping = _Keeping(looked_up, rows, job, shape)
        statuses = np.empty(len(batch), np.uint8)
        kernel.read(job.reference, len(batch), address(rows), *keeping.addresses(), address(statuses))
        keeping.keep(statuses)
        if statuses.any():
            _finish(batch, np.flatnonzero(statuses == _ABSENT).tolist(), stopped, fill_absent)
            _finish(batch, np.flatnonzero(statuses > _ABSENT).tolist(), stopped, read)

    return work


class _Keeping:
    """Memory for those chunks of a batch that are to be kept.

    Parameters
    ----------
    looked_up : LookedUp or None
    rows : ndarray
        Of the batch.
    job : NativeJob
    shape : tuple of int
        Of a chunk.
    """

    def __init__(self, looked_up: LookedUp | None, rows: Rows, job: NativeJob, shape: tuple[int, ...]) -> None:
        self._looked_up = looked_up
        self._chunks: dict[int, AnyArray] = {}
        if looked_up is None or not looked_up.identities:
            return
        self._positions: list[tuple[int, ...]] = list(zip(*rows[:, 0].tolist(), strict=True))
        self._wanted = [looked_up.identities.get(position, (None, False)) for position in self._positions]
        self._chunks = {i: job.new_chunk(shape) for i, (_, keep) in enumerate(self._wanted) if keep}
        if self._chunks:
            self._addresses = np.zeros(len(self._positions), np.uint64)
            for i, chunk in self._chunks.items():
                self._addresses[i] = address(chunk)
            self._found = np.zeros((len(self._positions), 3), np.int64)

    def addresses(self) -> tuple[int | None, int | None]:
        """Of the chunks' addresses, and of where their files' identities go."""
        return (address(self._addresses), address(self._found)) if self._chunks else (None, None)

    def keep(self, statuses: AnyArray) -> None:
        """Keep those that were read from files that had the identities that they should have."""
        for i, chunk in self._chunks.items():
            identity = self._wanted[i][0]
            if self._looked_up is not None and statuses[i] == _DONE and tuple(self._found[i].tolist()) == identity:
                self._looked_up.cached.keep(self._positions[i], identity, chunk)


def inner_chunk_reader(
    kernel: Library,
    job: NativeJob,
    read: Worker,
    fill: Callable[[Part], None],
    shards: Sharding,
    index_of: Callable[[tuple[int, ...]], Index | None],
    looked_up: LookedUp | None,
) -> BatchWorker:
    """A function that reads a batch of inner chunks of shards.

    Parameters
    ----------
    kernel, job, read, looked_up
        As in `chunk_reader`.
    fill : callable
        Fills the place of an inner chunk that a shard does not have.
    shards : Sharding
    index_of : callable
        The index of the shard at a position, of shape ``(*grid, 2)``; None if there is no such shard.
    """
    counts = np.array(shards.grid, np.int64).reshape(-1, 1)

    def work(batch: Batch, stopped: Stopped) -> None:
        rows: Rows = batch.rows()
        numbers = rows[:, 0]
        of_shards, inside = numbers // counts, numbers % counts
        distinct, which = np.unique(of_shards, axis=1, return_inverse=True)
        which = which.reshape(-1)
        ranges = np.zeros((len(batch), 2), np.uint64)
        for number, position in enumerate(distinct.T.tolist()):
            if stopped():
                return
            mine = which == number
            index = index_of(tuple(position))
            if index is not None:
                ranges[mine] = index[tuple(inside[:, mine])]
        absent = (ranges == np.iinfo(np.uint64).max).all(axis=1)
        # ranges that no file has are an error, and left to who tells of it
        sound = ~absent & (ranges[:, 0] < 2**62) & (ranges[:, 1] < 2**31) & (ranges[:, 1] > 0)
        wanted = np.flatnonzero(sound)
        order = wanted[np.lexsort((ranges[wanted, 0], which[wanted]))]
        statuses = np.empty(order.size, np.uint8)
        sorted_rows, sorted_ranges = np.ascontiguousarray(rows[:, :, order]), ranges[order].astype(np.int64)
        keeping = _Keeping(looked_up, sorted_rows, job, shards.chunks)
        at = address(sorted_rows), address(sorted_ranges), *keeping.addresses(), address(statuses)
        kernel.read_ranges(job.reference, order.size, *at)
        keeping.keep(statuses)
        left = ~(sound | absent)
        left[order[statuses != _DONE]] = True
        _finish(batch, np.flatnonzero(absent).tolist(), stopped, fill)
        _finish(batch, np.flatnonzero(left).tolist(), stopped, read)

    return work


def room_for_ranges(encoded_nbytes: int) -> int:
    """Bytes to read inner chunks into, of up to so many bytes each."""
    return max(encoded_nbytes, _AT_ONCE)
