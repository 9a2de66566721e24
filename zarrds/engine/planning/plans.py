"""Plans: which chunks a selection touches, as integers, a batch at a time. Pure.

Each dimension has a table of what is taken from each chunk there; the chunks of a plan are the product of the tables,
or, for pointwise selection, the groups of points that share a chunk. Nothing is listed before it is walked, so a plan
for however many chunks costs nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np

from zarrds.engine.planning.tables import DimProjection, Index, Positions, Rows, Shape, Table

__all__ = ["Batch", "ChunkProjection", "Plan", "PointPlan", "Points", "ProductPlan", "Subset", "SubsetBatch"]

# sums of sizes from here on are computed with Python's integers
_WIDE = 2**62
_WALKED_AT_ONCE = 1024
# tables of no more pieces than this are listed once for all of a plan
_LISTED = 1024


class ChunkProjection(NamedTuple):
    """What a selection takes from one chunk: its position in the grid, and `DimProjection`'s other members."""

    position: tuple[int, ...]
    out: Any
    inside: Any
    covers: bool


class Points(NamedTuple):
    """Single elements of several chunks.

    Attributes
    ----------
    out : ndarray
        Their numbers in the result.
    which : ndarray
        In which of the chunks they are.
    inside : tuple of ndarray
        For each dimension where in its chunk each is.
    """

    out: Positions
    which: Positions
    inside: tuple[Positions, ...]


class Batch(Protocol):
    """Some of a plan's chunks."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[ChunkProjection]: ...

    def part(self, number: int) -> ChunkProjection:
        """One of its chunks, counted from 0."""
        ...

    def rows(self) -> Rows:
        """`Table.rows` of each dimension, of shape ``(dimensions, 5, chunks)``, if the plan is basic."""
        ...

    def positions(self) -> Positions:
        """The chunks' positions in the grid, of shape ``(dimensions, chunks)``."""
        ...

    def points(self, numbers: Positions) -> Points | None:
        """What is wanted of some of its chunks, if that is single elements."""
        ...


class Plan(Protocol):
    """Which chunks a selection touches, and what it takes from each.

    Attributes
    ----------
    buffer_shape : tuple of int
        Of the result as the parts see it: with a dimension of length 1 for each integer, or flat.
    shape : tuple of int
        Of the result.
    is_basic : bool
        Whether every index is a slice, so that parts of the result can be views.
    """

    @property
    def buffer_shape(self) -> Shape: ...

    @property
    def shape(self) -> Shape: ...

    @property
    def is_basic(self) -> bool: ...

    @property
    def n_chunks(self) -> int:
        """How many chunks it has; more than `len` could say, perhaps."""
        ...

    def batch(self, start: int, stop: int) -> Batch:
        """The chunks with these numbers, counted through all of the plan."""
        ...

    def __iter__(self) -> Iterator[ChunkProjection]: ...


class ProductPlan:
    """A plan whose chunks are the product of one table a dimension.

    Parameters
    ----------
    tables : tuple of Table
    buffer_shape, shape : tuple of int
        As in `Plan`.
    """

    __slots__ = ("_listed", "_rows", "_sizes", "buffer_shape", "is_basic", "n_chunks", "shape", "tables")

    def __init__(self, tables: tuple[Table, ...], buffer_shape: Shape, shape: Shape) -> None:
        self.tables, self.buffer_shape, self.shape = tables, buffer_shape, shape
        self.is_basic = all(table.is_basic for table in tables)
        self._sizes = tuple(table.n_chunks for table in tables)
        self.n_chunks = prod(self._sizes)
        self._listed: list[list[DimProjection] | None] = [None] * len(tables)
        self._rows: list[Rows | None] = [None] * len(tables)

    def batch(self, start: int, stop: int) -> ProductBatch:
        """The chunks with these numbers, in C order."""
        return ProductBatch(self, start, stop)

    def places(self, start: int, stop: int) -> list[Positions]:
        """For each dimension, which pieces of its table the chunks with these numbers have."""
        wide = stop >= _WIDE
        left: Any = np.array(list(range(start, stop)), object) if wide else np.arange(start, stop, dtype=np.int64)
        found = []
        for size in reversed(self._sizes):
            found.append((left % size).astype(np.intp, copy=False))
            left = left // size
        return found[::-1]

    def listed(self, axis: int) -> list[DimProjection] | None:
        """All pieces of a table, None if they are many."""
        listed = self._listed[axis]
        if listed is None and self._sizes[axis] <= _LISTED:
            listed = self._listed[axis] = self.tables[axis].pieces(range(self._sizes[axis]))
        return listed

    def all_pieces(self, axis: int) -> list[DimProjection]:
        """All pieces of a table, however many."""
        listed, table = self.listed(axis), self.tables[axis]
        return table.pieces(range(table.n_chunks)) if listed is None else listed

    def listed_rows(self, axis: int) -> Rows | None:
        """All rows of a table, None if they are many."""
        rows, size = self._rows[axis], self._sizes[axis]
        if rows is None and size <= _LISTED:
            rows = self._rows[axis] = self.tables[axis].rows(np.arange(size))
        return rows

    def __len__(self) -> int:
        return self.n_chunks

    def __iter__(self) -> Iterator[ChunkProjection]:
        return _walk(self)


def _walk(plan: Plan) -> Iterator[ChunkProjection]:
    n = plan.n_chunks
    for start in range(0, n, _WALKED_AT_ONCE):
        yield from plan.batch(start, min(start + _WALKED_AT_ONCE, n))


class ProductBatch:
    """Some chunks of a `ProductPlan`, one behind the other in C order."""

    __slots__ = ("_places", "_plan", "_start", "_stop")

    def __init__(self, plan: ProductPlan, start: int, stop: int) -> None:
        self._plan, self._start, self._stop = plan, start, stop
        self._places: list[Positions] | None = None

    def __len__(self) -> int:
        return self._stop - self._start

    def places(self) -> list[Positions]:
        """`ProductPlan.places` of these chunks."""
        if self._places is None:
            self._places = self._plan.places(self._start, self._stop)
        return self._places

    def rows(self) -> Rows:
        """`Table.rows` of each dimension, of shape ``(dimensions, 5, chunks)``; only of a plan that is basic."""
        tables = self._plan.tables
        rows = np.empty((len(tables), 5, len(self)), np.int64)
        for axis, (table, places) in enumerate(zip(tables, self.places(), strict=True)):
            listed = self._plan.listed_rows(axis)
            if listed is None:
                rows[axis] = table.rows(places)
            else:
                # as ``listed[:, places]``, in a third of the time
                np.take(listed, places, axis=1, out=rows[axis], mode="clip")
        return rows

    def positions(self) -> Positions:
        """Of the chunks in the grid, of shape ``(dimensions, chunks)``."""
        found = np.empty((len(self._plan.tables), len(self)), np.intp)
        for axis, (table, places) in enumerate(zip(self._plan.tables, self.places(), strict=True)):
            distinct, which = np.unique(places, return_inverse=True)
            found[axis] = np.array([piece.number for piece in table.pieces(distinct.tolist())], np.intp)[which]
        return found

    def points(self, numbers: Positions) -> None:
        """None: slices and arrays are wanted."""
        return

    def _columns(self) -> Iterator[Iterable[DimProjection]]:
        for axis, (table, places) in enumerate(zip(self._plan.tables, self.places(), strict=True)):
            listed = self._plan.listed(axis)
            if listed is not None:
                yield map(listed.__getitem__, places.tolist())
            else:
                distinct, which = np.unique(places, return_inverse=True)
                yield map(table.pieces(distinct.tolist()).__getitem__, which.tolist())

    def part(self, number: int) -> ChunkProjection:
        """One of the chunks, counted from 0."""
        pieces = []
        for axis, places in enumerate(self.places()):
            place = int(places[number])
            listed = self._plan.listed(axis)
            pieces.append(self._plan.tables[axis].pieces([place])[0] if listed is None else listed[place])
        return _part(pieces, self._plan.is_basic)

    def __iter__(self) -> Iterator[ChunkProjection]:
        plan, is_basic = self._plan, self._plan.is_basic
        crossed: Iterable[tuple[DimProjection, ...]]
        if len(self) == plan.n_chunks:
            crossed = itertools.product(*map(plan.all_pieces, range(len(plan.tables))))
        else:
            crossed = zip(*self._columns(), strict=True)
        for pieces in crossed:
            yield _part(pieces, is_basic)


def _part(pieces: Sequence[DimProjection], is_basic: bool) -> ChunkProjection:
    if not pieces:
        return ChunkProjection((), ..., ..., True)
    position, out, inside, covers = zip(*pieces, strict=True)
    if not is_basic:
        out, inside = _crossed(out), _crossed(inside)
    return ChunkProjection(position, out, inside, False not in covers)


def _crossed(index: tuple[Index, ...]) -> tuple[Any, ...]:
    """An index that NumPy takes as orthogonal: with two arrays or more, NumPy itself would pair their elements."""
    if sum(isinstance(i, np.ndarray) for i in index) < 2:
        return index
    # every slice here has its stop, and a positive step or (in `out`) a negative one
    arrays = [i if isinstance(i, np.ndarray) else _positions(i) for i in index]
    return np.ix_(*arrays)


def _positions(index: slice) -> Positions:
    step = 1 if index.step is None else index.step
    stop = -1 if index.stop is None else index.stop
    return np.arange(index.start, stop, step)


@dataclass(frozen=True, slots=True)
class PointPlan:
    """A plan of single elements; each part's `out` counts along the flattened result.

    Attributes
    ----------
    positions : tuple of ndarray
        For each dimension the chunks' numbers in the grid, one a chunk.
    starts : ndarray
        Where each chunk's points begin in `order`; one more than there are chunks.
    order : ndarray
        The points' numbers in the result, sorted by chunk.
    inside : tuple of ndarray
        For each dimension where in its chunk each point is, in that order.
    buffer_shape : tuple of int
        One number, the number of points.
    shape : tuple of int
        Of the result.
    """

    positions: tuple[Positions, ...]
    starts: Positions
    order: Positions
    inside: tuple[Positions, ...]
    buffer_shape: Shape
    shape: Shape
    is_basic: bool = False

    @property
    def n_chunks(self) -> int:
        return len(self.starts) - 1

    def batch(self, start: int, stop: int) -> PointBatch:
        return PointBatch(self, start, stop)

    def __len__(self) -> int:
        return self.n_chunks

    def __iter__(self) -> Iterator[ChunkProjection]:
        return _walk(self)


@dataclass(frozen=True, slots=True)
class PointBatch:
    """Some chunks of a `PointPlan`."""

    plan: PointPlan
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def part(self, number: int) -> ChunkProjection:
        plan, number = self.plan, self.start + number
        points = slice(plan.starts[number], plan.starts[number + 1])
        position = tuple(int(numbers[number]) for numbers in plan.positions)
        # of an array without dimensions there is one chunk, with one element
        inside: Any = tuple(places[points] for places in plan.inside) or ...
        return ChunkProjection(position, plan.order[points], inside, False)

    def rows(self) -> Rows:
        raise TypeError("points are no rows")

    def positions(self) -> Positions:
        return np.array([numbers[self.start : self.stop] for numbers in self.plan.positions], np.intp)

    def points(self, numbers: Positions) -> Points:
        starts, at = self.plan.starts, self.start + numbers
        begin = starts[at]
        sizes = starts[at + 1] - begin
        which = np.repeat(np.arange(numbers.size), sizes)
        index = np.arange(which.size) + np.repeat(begin - np.cumsum(sizes) + sizes, sizes)
        return Points(self.plan.order[index], which, tuple(places[index] for places in self.plan.inside))

    def __iter__(self) -> Iterator[ChunkProjection]:
        return map(self.part, range(len(self)))


class Subset:
    """A plan of some chunks of a batch.

    Parameters
    ----------
    plan : Plan
        That the batch is of.
    batch : Batch
    numbers : ndarray
        Which of its chunks.
    """

    __slots__ = ("_batch", "_numbers", "buffer_shape", "is_basic", "n_chunks", "shape")

    def __init__(self, plan: Plan, batch: Batch, numbers: Positions) -> None:
        self.buffer_shape, self.shape, self.is_basic = plan.buffer_shape, plan.shape, plan.is_basic
        self._batch, self._numbers = batch, numbers
        self.n_chunks = numbers.size

    def batch(self, start: int, stop: int) -> SubsetBatch:
        return SubsetBatch(self._batch, self._numbers[start:stop])

    def __iter__(self) -> Iterator[ChunkProjection]:
        return iter(self.batch(0, self.n_chunks))


@dataclass(frozen=True, slots=True)
class SubsetBatch:
    """Some chunks of a `Subset`."""

    whole: Batch
    numbers: Positions

    def __len__(self) -> int:
        return self.numbers.size

    def part(self, number: int) -> ChunkProjection:
        return self.whole.part(int(self.numbers[number]))

    def rows(self) -> Rows:
        return np.ascontiguousarray(self.whole.rows()[:, :, self.numbers])

    def positions(self) -> Positions:
        return self.whole.positions()[:, self.numbers]

    def points(self, numbers: Positions) -> Points | None:
        return self.whole.points(self.numbers[numbers])

    def __iter__(self) -> Iterator[ChunkProjection]:
        return map(self.whole.part, self.numbers.tolist())
