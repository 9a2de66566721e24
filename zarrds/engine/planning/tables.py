"""Tables: what a selection takes from each chunk along one dimension, as integers. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["ArrayTable", "DimProjection", "Index", "Positions", "RangeTable", "Rows", "RowsTable", "Shape", "Table"]

Positions: TypeAlias = npt.NDArray[np.intp]
Index: TypeAlias = slice | Positions
Shape: TypeAlias = tuple[int, ...]
Rows: TypeAlias = npt.NDArray[np.int64]

# sums of sizes from here on are computed with Python's integers
_WIDE = 2**62
# for up to so many pieces Python's integers are faster than arrays
_FEW = 8


class DimProjection(NamedTuple):
    """What a selection takes from one chunk, along one dimension.

    Attributes
    ----------
    number : int
        The chunk's number in the grid.
    out : slice or array
        Where it goes, in the selection's result.
    inside : slice or array
        Which elements of the chunk it is.
    covers : bool
        Whether it is every element of the chunk that lies in the array.
    """

    number: int
    out: Index
    inside: Index
    covers: bool


class Table(Protocol):
    """What a selection takes from the chunks along one dimension."""

    @property
    def n_chunks(self) -> int:
        """How many chunks it touches."""
        ...

    @property
    def is_basic(self) -> bool:
        """Whether all of its pieces are slices."""
        ...

    @property
    def out_step(self) -> int:
        """1, or -1 where the result runs against the chunks."""
        ...

    def rows(self, numbers: Positions) -> Rows:
        """Five rows of integers for the pieces with these numbers, if `is_basic`.

        The chunk's number in the grid; where its first element goes in the result; where that is in the chunk, and the
        step from one to the next there; how many there are, negative if that is not all of the chunk in the array.
        """
        ...

    def pieces(self, numbers: Iterable[int]) -> list[DimProjection]:
        """The pieces with these numbers."""
        ...


@dataclass(frozen=True, slots=True)
class RangeTable:
    """The table of positions in equal steps, in chunks of one size.

    Attributes
    ----------
    positions : range
        Ascending.
    is_mirrored : bool
        Whether the result has them in descending order.
    chunk, size : int
        Elements of a chunk, and of the array, along the dimension.
    """

    positions: range
    is_mirrored: bool
    chunk: int
    size: int

    @property
    def n_chunks(self) -> int:
        if not self.positions or self.positions.step >= self.chunk:
            return len(self.positions)
        return self.positions[-1] // self.chunk - self.positions[0] // self.chunk + 1

    @property
    def is_basic(self) -> bool:
        return True

    @property
    def out_step(self) -> int:
        return -1 if self.is_mirrored else 1

    def rows(self, numbers: Positions) -> Rows:
        start, step, n, chunk = self.positions.start, self.positions.step, len(self.positions), self.chunk
        if numbers.size <= _FEW:
            return np.array([self._columns(number) for number in numbers.tolist()], np.int64).reshape(-1, 5).T
        numbers_: Any = numbers.astype(object) if self.size + chunk + step >= _WIDE else numbers
        if step >= chunk:
            first, count = numbers_, 1
            grid = (start + first * step) // chunk
        else:
            grid = start // chunk + numbers_
            first = np.maximum(-((start - grid * chunk) // step), 0)
            count = np.minimum(-((start - (grid + 1) * chunk) // step), n) - first
        rows = np.empty((5, numbers.size), np.int64)
        rows[0] = grid
        rows[1] = n - 1 - first if self.is_mirrored else first
        rows[2] = start + first * step - grid * chunk
        rows[3] = step
        covers = count == np.minimum(self.size - grid * chunk, chunk)
        rows[4] = np.where(covers, count, -count)
        return rows

    def _columns(self, number: int) -> tuple[int, int, int, int, int]:
        """The same of one piece, which for a few of them is much faster."""
        start, step, n, chunk = self.positions.start, self.positions.step, len(self.positions), self.chunk
        if step >= chunk:
            first, count = number, 1
            grid = (start + first * step) // chunk
        else:
            grid = start // chunk + number
            first = max(-((start - grid * chunk) // step), 0)
            count = min(-((start - (grid + 1) * chunk) // step), n) - first
        out = n - 1 - first if self.is_mirrored else first
        covers = count == min(self.size - grid * chunk, chunk)
        return grid, out, start + first * step - grid * chunk, step, count if covers else -count

    def pieces(self, numbers: Iterable[int]) -> list[DimProjection]:
        return [_piece(self._columns(number), self.out_step) for number in numbers]


@dataclass(frozen=True, slots=True)
class RowsTable:
    """The table of positions in equal steps, in chunks of different sizes.

    Attributes
    ----------
    all_rows : ndarray
        The rows of all pieces, of shape ``(5, pieces)``.
    out_step : int
    """

    all_rows: Rows
    out_step: int = 1

    @property
    def n_chunks(self) -> int:
        return int(self.all_rows.shape[1])

    @property
    def is_basic(self) -> bool:
        return True

    def rows(self, numbers: Positions) -> Rows:
        return self.all_rows[:, numbers]

    def pieces(self, numbers: Iterable[int]) -> list[DimProjection]:
        return [_piece(self.all_rows[:, number].tolist(), self.out_step) for number in numbers]


def _piece(row: Iterable[int], out_step: int) -> DimProjection:
    grid, out, inside, step, signed = row
    count = abs(signed)
    stop = out + count * out_step
    taken = slice(inside, inside + (count - 1) * step + 1, step)
    # counted backwards, a stop of -1 would mean the last element
    out_slice = slice(out, stop) if out_step == 1 else slice(out, stop if stop >= 0 else None, -1)
    return DimProjection(grid, out_slice, taken, signed > 0)


@dataclass(frozen=True, slots=True)
class ArrayTable:
    """The table of positions that are listed.

    Attributes
    ----------
    listed : tuple of DimProjection
    is_basic : bool
    out_step : int
    """

    listed: tuple[DimProjection, ...]
    is_basic: bool
    out_step: int = 1

    @property
    def n_chunks(self) -> int:
        return len(self.listed)

    def rows(self, numbers: Positions) -> Rows:
        pieces = self.pieces(numbers.tolist())
        columns = [
            (p.number, p.out.start, p.inside.start, p.inside.step, _signed_count(p.inside, p.covers))
            for p in pieces
            if isinstance(p.out, slice) and isinstance(p.inside, slice)
        ]
        return np.array(columns, np.int64).reshape(-1, 5).T

    def pieces(self, numbers: Iterable[int]) -> list[DimProjection]:
        return [self.listed[number] for number in numbers]


def _signed_count(inside: slice, covers: bool) -> int:
    count: int = (inside.stop - inside.start - 1) // inside.step + 1
    return count if covers else -count
