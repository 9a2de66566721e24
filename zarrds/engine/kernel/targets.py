"""Where chunks go that the kernel reads: straight to their places, or whole into memory of which a part is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np

from zarrds.codecs.base import AnyArray
from zarrds.engine.chunk_io import CacheMisses, Position
from zarrds.engine.kernel.job import NativeJob, address
from zarrds.engine.kernel.library import Library
from zarrds.engine.planning.plans import Batch, ChunkProjection
from zarrds.engine.planning.tables import Positions, Rows

__all__ = ["DONE", "Target", "Targets", "in_place", "picked", "positions_of", "putter", "rows_of"]

DONE = 0


class Target(Protocol):
    """Where some chunks of a batch go."""

    def addresses(self) -> tuple[int | None, int | None]:
        """Of the addresses that whole chunks go to, and of what becomes the identities of their files."""
        ...

    def finish(self, statuses: AnyArray) -> None:
        """Do what is left to do with those that were read."""
        ...


# of the chunks with these numbers in a batch, which have these rows
Targets: TypeAlias = Callable[[Batch, Positions, Rows], Target]


def rows_of(batch: Batch, *, is_basic: bool) -> Rows:
    """What the kernel is told of a batch: its rows, or, if the plan is not basic, the first element of each chunk."""
    if is_basic:
        return batch.rows()
    positions = batch.positions()
    rows = np.zeros((len(positions), 5, len(batch)), np.int64)
    rows[:, 0], rows[:, 3], rows[:, 4] = positions, 1, -1
    return rows


def in_place(misses: CacheMisses | None, job: NativeJob, shape: tuple[int, ...]) -> Targets:
    """Targets of what goes to its place; `misses` says which chunks, of that shape, are also to be kept."""
    return lambda batch, numbers, rows: _Keeping(misses, rows, job, shape)


def picked(misses: CacheMisses | None, out: AnyArray, shape: tuple[int, ...]) -> Targets:
    """Targets of chunks of which arrays of elements are taken, and put into `out`."""
    return lambda batch, numbers, rows: _Picked(misses, batch, numbers, rows, out, shape)


def putter(kernel: Library, job: NativeJob, dtype: np.dtype[Any]) -> Callable[[ChunkProjection, AnyArray], bool]:
    """A function that copies what a basic plan wants of a decoded chunk to its place; False if it did not."""
    status = np.empty(1, np.uint8)

    def put(part: ChunkProjection, chunk: AnyArray) -> bool:
        if chunk.dtype != dtype or not chunk.flags.c_contiguous:
            return False
        rows = np.array([_row(*slices) for slices in zip(part.out, part.inside, strict=True)], np.int64)
        where = np.array([address(chunk)], np.uint64)
        kernel.copy(job.reference, 1, address(rows), address(where), address(status))
        return not status[0]

    return put


def _row(out: slice, inside: slice) -> tuple[int, int, int, int, int]:
    return 0, out.start, inside.start, inside.step, (inside.stop - inside.start - 1) // inside.step + 1


def positions_of(rows: Rows) -> list[Position]:
    """The chunks' positions in the grid."""
    return list(zip(*rows[:, 0].tolist(), strict=True))


class _Keeping:
    def __init__(self, misses: CacheMisses | None, rows: Rows, job: NativeJob, shape: tuple[int, ...]) -> None:
        self._misses = misses
        self._chunks: dict[int, AnyArray] = {}
        if misses is None or not misses.identities:
            return
        self._positions = positions_of(rows)
        self._wanted = [misses.identities.get(position, (None, False)) for position in self._positions]
        self._chunks = {i: job.new_chunk(shape) for i, (_, keep) in enumerate(self._wanted) if keep}
        if self._chunks:
            self._addresses = np.zeros(len(self._positions), np.uint64)
            for i, chunk in self._chunks.items():
                self._addresses[i] = address(chunk)
            self._found = np.zeros((len(self._positions), 3), np.int64)

    def addresses(self) -> tuple[int | None, int | None]:
        return (address(self._addresses), address(self._found)) if self._chunks else (None, None)

    def finish(self, statuses: AnyArray) -> None:
        # those that were read from files that had the identities that they should have
        for i, chunk in self._chunks.items():
            identity = self._wanted[i][0]
            if self._misses is not None and statuses[i] == DONE and tuple(self._found[i].tolist()) == identity:
                self._misses.cached.keep(self._positions[i], identity, chunk)


class _Picked:
    def __init__(
        self,
        misses: CacheMisses | None,
        batch: Batch,
        numbers: Positions,
        rows: Rows,
        out: AnyArray,
        shape: tuple[int, ...],
    ) -> None:
        self._misses = misses if misses is not None and misses.identities else None
        self._batch, self._numbers, self._rows, self._out = batch, numbers, rows, out
        self._chunks = np.empty((numbers.size, *shape), out.dtype)
        self._found = np.zeros((numbers.size, 3), np.int64)
        step = self._chunks.strides[0]
        self._addresses = np.uint64(address(self._chunks)) + np.arange(numbers.size, dtype=np.uint64) * np.uint64(step)

    def addresses(self) -> tuple[int | None, int | None]:
        return address(self._addresses), None if self._misses is None else address(self._found)

    def finish(self, statuses: AnyArray) -> None:
        done = np.flatnonzero(statuses == DONE)
        chunks = self._chunks if done.size == self._numbers.size else self._chunks[done]
        numbers = self._numbers[done]
        points = self._batch.points(numbers)
        if points is not None:
            self._out[points.out] = chunks[(points.which, *points.inside)]
        else:
            for number, chunk in zip(numbers.tolist(), chunks, strict=True):
                part = self._batch.part(number)
                self._out[part.out] = chunk[part.inside]
        if self._misses is not None:
            self._keep(self._misses, done)

    def _keep(self, misses: CacheMisses, done: Positions) -> None:
        positions, found = positions_of(self._rows), self._found.tolist()
        for i in done.tolist():
            identity, keep = misses.identities.get(positions[i], (None, False))
            if keep and tuple(found[i]) == identity:
                misses.cached.keep(positions[i], identity, self._chunks[i].copy())
