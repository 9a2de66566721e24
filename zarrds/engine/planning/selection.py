"""Selection + chunk grid -> plan. Pure: no store, no array, no thread.

Each dimension's selection becomes a `range` (integers and slices) or an array of positions, and that a table of what it
takes from each chunk (`zarrds.engine.planning.plans`).
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Sequence
from math import prod
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from zarrds.engine.planning.plans import ChunkProjection, PointPlan, ProductPlan
from zarrds.engine.planning.tables import (
    ArrayTable,
    DimProjection,
    Index,
    Positions,
    RangeTable,
    Rows,
    RowsTable,
    Shape,
    Table,
)
from zarrds.errors import SelectionError

__all__ = ["ChunkProjection", "Chunking", "PointPlan", "ProductPlan", "plan_basic", "plan_orthogonal", "plan_pointwise"]

# along one dimension: the elements of a chunk, or of each chunk in turn, which add up to those of the array or more
Lengths: TypeAlias = int | Sequence[int] | npt.NDArray[np.int64]
Chunking: TypeAlias = Sequence[Lengths]

_ALL = slice(None)


class _Grid:
    """The chunks along one dimension: where each begins and ends.

    Parameters
    ----------
    chunk : Lengths
    size : int
        Elements of the array along the dimension.
    """

    def __init__(self, chunk: Lengths, size: int) -> None:
        self.size = size
        self._chunk = chunk if isinstance(chunk, int) else 0
        self._bounds = None if isinstance(chunk, int) else _bounds(chunk)

    def numbers_of(self, positions: Positions) -> Positions:
        """Of the chunks that hold these positions."""
        if self._bounds is None:
            return positions // self._chunk
        return np.searchsorted(self._bounds, positions, side="right") - 1

    def bounds(self, number: int) -> tuple[int, int]:
        """Where a chunk begins, and where it ends within the array."""
        if self._bounds is None:
            return number * self._chunk, min((number + 1) * self._chunk, self.size)
        return int(self._bounds[number]), min(int(self._bounds[number + 1]), self.size)

    def starts_of(self, positions: Positions, numbers: Positions) -> Positions:
        """Where these positions lie in the chunks with these numbers."""
        starts: Positions = positions - (numbers * self._chunk if self._bounds is None else self._bounds[numbers])
        return starts


def _bounds(lengths: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each chunk begins, and where the last one ends."""
    bounds = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    return bounds


def _range_table(positions: range, chunk: Lengths, size: int) -> Table:
    is_mirrored = positions.step < 0
    ascending = positions[::-1] if is_mirrored else positions
    if isinstance(chunk, int):
        return RangeTable(ascending, is_mirrored, chunk, size)
    return RowsTable(_rows(ascending, is_mirrored, _bounds(chunk), size), -1 if is_mirrored else 1)


def _rows(positions: range, is_mirrored: bool, bounds: npt.NDArray[np.int64], size: int) -> Rows:
    """The rows of a table of ascending positions, of which there may be more than memory holds."""
    n, start, step = len(positions), positions.start, positions.step
    if not n:
        return np.empty((5, 0), np.int64)
    grid = np.arange(*np.searchsorted(bounds, [start, positions[-1]], side="right") - [1, 0])
    # which positions are the first of a chunk, and of the next one
    first, stop = (np.clip(-((start - bounds[grid + i]) // step), 0, n) for i in (0, 1))
    is_met = stop > first  # larger steps go over chunks
    grid, first, count = grid[is_met], first[is_met], (stop - first)[is_met]
    covers = count == np.minimum(bounds[grid + 1], size) - bounds[grid]
    rows = np.empty((5, grid.size), np.int64)
    rows[0] = grid
    rows[1] = n - 1 - first if is_mirrored else first
    rows[2] = start + first * step - bounds[grid]
    rows[3] = step
    rows[4] = np.where(covers, count, -count)
    return rows


def _array_table(positions: Positions, chunk: Lengths, size: int) -> ArrayTable:
    if positions.size == 0:
        return ArrayTable((), is_basic=True)
    order = None
    if (np.diff(positions) < 0).any():
        order = np.argsort(positions, kind="stable")
        positions = positions[order]
    grid = _Grid(chunk, size)
    numbers = grid.numbers_of(positions)
    places = grid.starts_of(positions, numbers)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1, [positions.size]])
    pieces = []
    for start, stop in itertools.pairwise(starts.tolist()):
        number = int(numbers[start])
        inside = _as_slice(places[start:stop])
        out = slice(start, stop) if order is None else order[start:stop]
        first, end = grid.bounds(number)
        covers = inside == slice(0, end - first, 1) if isinstance(inside, slice) else False
        pieces.append(DimProjection(number, out, inside, covers))
    is_basic = all(isinstance(p.out, slice) and isinstance(p.inside, slice) for p in pieces)
    return ArrayTable(tuple(pieces), is_basic)


def _as_slice(positions: Positions) -> Index:
    """A slice in place of an array that counts upwards in equal steps."""
    if positions.size == 1:
        return slice(int(positions[0]), int(positions[0]) + 1, 1)
    steps = np.diff(positions)
    if steps[0] > 0 and (steps == steps[0]).all():
        return slice(int(positions[0]), int(positions[-1]) + 1, int(steps[0]))
    return positions


def _full_key(key: Any, ndim: int) -> tuple[Any, ...]:
    """`key` as a tuple of `ndim` members, without an ellipsis."""
    keys = key if isinstance(key, tuple) else (key,)
    ellipses = [i for i, k in enumerate(keys) if isinstance(k, EllipsisType)]
    if len(ellipses) > 1:
        raise SelectionError("an index can only have a single ellipsis ('...')")
    if len(keys) - len(ellipses) > ndim:
        raise SelectionError("too many indices", expected=f"at most {ndim}", found=len(keys) - len(ellipses))
    at = ellipses[0] if ellipses else len(keys)
    fill = (slice(None),) * (ndim - len(keys) + len(ellipses))
    return keys[:at] + fill + keys[at + len(ellipses) :]


def _integer(key: Any, size: int, axis: int) -> int | None:
    """A position that counts from the front, or None if `key` is no integer."""
    if isinstance(key, bool | np.bool_) or (isinstance(key, np.ndarray) and key.ndim > 0):
        return None
    try:
        position = operator.index(key)
    except TypeError:
        return None
    if not -size <= position < size:
        raise SelectionError(
            "index is out of bounds", expected=f"-{size} to {size - 1} along axis {axis}", found=position
        )
    return position % size


def _as_array(key: Any) -> npt.NDArray[Any]:
    try:
        array = np.asarray(key)
    except (TypeError, ValueError) as error:
        raise SelectionError(f"not an index: {error}", found=f"{key!r:.80}") from error
    if array.size == 0 and not isinstance(key, np.ndarray):
        array = array.astype(np.intp)  # NumPy takes an empty list for one of floats
    return array


def _array_key(key: Any, size: int, axis: int) -> Positions:
    """Positions that count from the front, of the shape of `key`."""
    array = _as_array(key)
    if array.dtype.kind not in "iu":
        raise SelectionError(
            f"not an index for axis {axis}",
            expected="integers, slices, integer arrays or a boolean mask",
            found=f"{type(key).__name__} of dtype {array.dtype}",
        )
    if array.size and not (-size <= int(array.min()) and int(array.max()) < size):
        raise SelectionError("index is out of bounds", expected=f"-{size} to {size - 1} along axis {axis}")
    positions = array.astype(np.intp, copy=False)
    return np.where(positions < 0, positions + size, positions)


def _plan(dims: list[range | Positions], dropped: list[bool], shape: Shape, chunks: Chunking) -> ProductPlan:
    tables = tuple(
        _range_table(d, c, n) if isinstance(d, range) else _array_table(d, c, n)
        for d, c, n in zip(dims, chunks, shape, strict=True)
    )
    buffer_shape = tuple(len(d) for d in dims)
    out_shape = tuple(n for n, drop in zip(buffer_shape, dropped, strict=True) if not drop)
    return ProductPlan(tables, buffer_shape, out_shape)


def _is_of_one_chunk(shape: Shape, chunks: Chunking) -> bool:
    return all(isinstance(chunk, int) and size <= chunk for size, chunk in zip(shape, chunks, strict=True))


@functools.lru_cache(64)
def _plan_of_one_chunk(shape: Shape, chunks: tuple[Lengths, ...]) -> ProductPlan:
    """All of an array: many small ones of a dataset are alike, and plans do not change."""
    return _plan([range(size) for size in shape], [False] * len(shape), shape, chunks)


def plan_basic(key: Any, shape: Shape, chunks: Chunking) -> ProductPlan:
    """Plan what ``a[key]`` means in NumPy, for integers, slices of any step and an ellipsis.

    Parameters
    ----------
    key : index or tuple of indices
    shape : tuple of int
        Of the array, in elements.
    chunks : Chunking
        For each dimension the elements of a chunk, or of each chunk in turn.

    Raises
    ------
    SelectionError
        If `key` does not fit `shape`, or has arrays in it.

    Examples
    --------
    >>> plan = plan_basic(slice(2, 9), shape=(10,), chunks=(4,))
    >>> [(part.position, part.inside) for part in plan]
    [((0,), (slice(2, 4, 1),)), ((1,), (slice(0, 4, 1),)), ((2,), (slice(0, 1, 1),))]
    >>> [part.inside for part in plan_basic(slice(2, 9), shape=(10,), chunks=[(3, 5, 2)])]
    [(slice(2, 3, 1),), (slice(0, 5, 1),), (slice(0, 1, 1),)]
    """
    keys = _full_key(key, len(shape))
    if _is_of_one_chunk(shape, chunks) and all(isinstance(k, slice) and k == _ALL for k in keys):
        return _plan_of_one_chunk(shape, tuple(chunks))
    dims: list[range | Positions] = []
    dropped = []
    for axis, (k, size) in enumerate(zip(keys, shape, strict=True)):
        if isinstance(k, slice):
            dims.append(_range(k, size))
            dropped.append(False)
        elif (position := _integer(k, size, axis)) is not None:
            dims.append(range(position, position + 1))
            dropped.append(True)
        else:
            raise SelectionError(
                f"not a basic index for axis {axis}",
                expected="integers, slices and an ellipsis",
                found=f"{k!r:.80}",
                mend="Use .oindex[...] or .vindex[...] with arrays and masks",
            )
    return _plan(dims, dropped, shape, chunks)


def _range(key: slice, size: int) -> range:
    """The positions of a slice."""
    try:
        positions = range(*key.indices(size))
    except (TypeError, ValueError) as error:
        raise SelectionError(f"not a slice that an array understands: {error}", found=key) from error
    # of one position the step says nothing, and may be larger than NumPy can count
    return positions if len(positions) > 1 else range(positions.start, positions.start + len(positions))


def plan_orthogonal(key: Any, shape: Shape, chunks: Chunking) -> ProductPlan:
    """Plan ``a.oindex[key]``: each dimension is selected by itself, also by 1-D integer arrays and boolean masks.

    The parameters and errors are those of `plan_basic`.
    """
    dims: list[range | Positions] = []
    dropped = []
    for axis, (k, size) in enumerate(zip(_full_key(key, len(shape)), shape, strict=True)):
        position = None if isinstance(k, slice) else _integer(k, size, axis)
        dropped.append(position is not None)
        if isinstance(k, slice):
            dims.append(_range(k, size))
        elif position is not None:
            dims.append(range(position, position + 1))
        else:
            dims.append(_orthogonal_array(k, size, axis))
    return _plan(dims, dropped, shape, chunks)


def _orthogonal_array(key: Any, size: int, axis: int) -> Positions:
    array = _as_array(key)
    if array.dtype.kind == "b":
        if array.shape != (size,):
            raise SelectionError(f"mask does not fit axis {axis}", expected=f"shape ({size},)", found=array.shape)
        return np.flatnonzero(array)
    if array.ndim != 1:
        raise SelectionError(f"array index for axis {axis} must have one dimension", found=array.ndim)
    return _array_key(array, size, axis)


def plan_pointwise(key: Any, shape: Shape, chunks: Chunking) -> PointPlan:
    """Plan ``a.vindex[key]``, which names elements one by one.

    `key` is integer arrays that are broadcast against each other, or one boolean mask of the array's shape. Slices
    count as arrays; their dimensions come last. The parameters and errors are those of `plan_basic`.
    """
    only = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    mask = _as_array(only) if isinstance(only, np.ndarray | list | bool | np.bool_) else None
    keys: tuple[Any, ...]
    if mask is not None and mask.dtype.kind == "b":
        if mask.ndim == 0 or mask.shape != shape:
            raise SelectionError("mask does not fit the array", expected=f"shape {shape}", found=mask.shape)
        keys = np.nonzero(mask)
    else:
        keys = _full_key(key, len(shape))
    n_slices = sum(isinstance(k, slice) for k in keys)
    arrays = []
    slices_seen = 0
    for axis, (k, size) in enumerate(zip(keys, shape, strict=True)):
        if isinstance(k, slice):
            slices_seen += 1
            steps = _range(k, size)
            positions = np.arange(steps.start, steps.stop, steps.step, dtype=np.intp)
            arrays.append(positions.reshape((-1,) + (1,) * (n_slices - slices_seen)))
        else:
            positions = _array_key(k, size, axis)
            arrays.append(positions.reshape(positions.shape + (1,) * n_slices))
    try:
        points = np.broadcast_arrays(*arrays) if arrays else []
    except ValueError as error:
        raise SelectionError(f"index arrays do not fit each other: {error}") from error
    out_shape = points[0].shape if points else ()
    return _point_plan([p.reshape(-1) for p in points], out_shape, shape, chunks)


def _point_plan(points: list[Positions], out_shape: Shape, shape: Shape, chunks: Chunking) -> PointPlan:
    n = prod(out_shape)
    nothing = np.empty(0, np.intp)
    if not points:
        return PointPlan((), np.array([0, 1]), np.array([0]), (), (1,), out_shape)
    if n == 0:
        return PointPlan((nothing,) * len(shape), np.array([0]), nothing, (nothing,) * len(shape), (0,), out_shape)
    grids = [_Grid(chunk, size) for chunk, size in zip(chunks, shape, strict=True)]
    numbers = [grid.numbers_of(p) for p, grid in zip(points, grids, strict=True)]
    extents = [int(n.max()) + 1 for n in numbers]
    if prod(extents) < np.iinfo(np.intp).max:
        ids = np.ravel_multi_index(numbers, extents)
    else:  # there are too many chunks to number them all
        ids = np.unique(np.stack(numbers), axis=1, return_inverse=True)[1].reshape(-1)
    order = np.argsort(ids, kind="stable")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(ids[order])) + 1, [ids.size]])
    first = order[starts[:-1]]
    inside = (grid.starts_of(p, n)[order] for p, n, grid in zip(points, numbers, grids, strict=True))
    return PointPlan(tuple(n[first] for n in numbers), starts, order, tuple(inside), (n,), out_shape)
