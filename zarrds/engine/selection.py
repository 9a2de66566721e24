"""Selection + chunk grid -> plan. Pure: no store, no array, no thread.

Each dimension's selection becomes a `range` (integers and slices) or an array of positions, and that a table of
`Piece` objects, one for each chunk that it touches. The chunks of a plan are the product of the tables, or, for
pointwise selection, the groups of points that share a chunk.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from types import EllipsisType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from zarrds.errors import SelectionError

__all__ = ["Part", "PointPlan", "ProductPlan", "plan_basic", "plan_orthogonal", "plan_pointwise"]

Positions: TypeAlias = npt.NDArray[np.intp]
Index: TypeAlias = slice | Positions
Shape: TypeAlias = tuple[int, ...]


class Piece(NamedTuple):
    """What a selection takes from one chunk, along one dimension.

    Attributes
    ----------
    name : str
        The chunk's number in the grid.
    out : slice or array
        Where it goes, in the selection's result.
    inside : slice or array
        Which elements of the chunk it is.
    covers : bool
        Whether it is every element of the chunk that lies in the array.
    """

    name: str
    out: Index
    inside: Index
    covers: bool


class Part(NamedTuple):
    """What a selection takes from one chunk: the chunk's numbers, one a dimension, and `Piece`'s other members."""

    names: tuple[str, ...]
    out: Any
    inside: Any
    covers: bool


@dataclass(frozen=True, slots=True)
class ProductPlan:
    """A plan whose chunks are the product of one table a dimension.

    Attributes
    ----------
    tables : tuple of tuple of Piece
    buffer_shape : tuple of int
        Of the result, with a dimension of length 1 for each integer.
    shape : tuple of int
        Of the result, without the integers' dimensions.
    is_basic : bool
        Whether every index is a slice, so that parts of the result can be views.
    """

    tables: tuple[tuple[Piece, ...], ...]
    buffer_shape: Shape
    shape: Shape
    is_basic: bool

    def __len__(self) -> int:
        return prod(len(table) for table in self.tables)

    def __iter__(self) -> Iterator[Part]:
        if not self.tables:
            yield Part((), ..., ..., True)
            return
        for pieces in itertools.product(*self.tables):
            names, out, inside, covers = zip(*pieces, strict=True)
            if not self.is_basic:
                out, inside = _crossed(out), _crossed(inside)
            yield Part(names, out, inside, all(covers))


@dataclass(frozen=True, slots=True)
class PointPlan:
    """A plan of single elements; each part's `out` counts along the flattened result.

    Attributes
    ----------
    parts : tuple of Part
    buffer_shape : tuple of int
        One number, the number of points.
    shape : tuple of int
        Of the result.
    """

    parts: tuple[Part, ...]
    buffer_shape: Shape
    shape: Shape
    is_basic: bool = False

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Part]:
        return iter(self.parts)


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


def _range_pieces(positions: range, chunk: int, size: int) -> tuple[Piece, ...]:
    if positions.step < 0:
        last = len(positions) - 1
        mirrored = _range_pieces(positions[::-1], chunk, size)
        return tuple(p._replace(out=_mirror(p.out, last)) for p in mirrored if isinstance(p.out, slice))
    pieces = []
    step, n, i = positions.step, len(positions), 0
    while i < n:
        first = positions[i]
        number = first // chunk
        start = first - number * chunk
        count = min(n - i, (chunk - start - 1) // step + 1)
        inside = slice(start, start + (count - 1) * step + 1, step)
        covers = count == min(chunk, size - number * chunk)
        pieces.append(Piece(str(number), slice(i, i + count), inside, covers))
        i += count
    return tuple(pieces)


def _mirror(out: slice, last: int) -> slice:
    stop = last - out.stop
    return slice(last - out.start, None if stop < 0 else stop, -1)


def _array_pieces(positions: Positions, chunk: int, size: int) -> tuple[Piece, ...]:
    if positions.size == 0:
        return ()
    order = None
    if (np.diff(positions) < 0).any():
        order = np.argsort(positions, kind="stable")
        positions = positions[order]
    numbers = positions // chunk
    starts = np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1, [positions.size]])
    pieces = []
    for start, stop in itertools.pairwise(starts.tolist()):
        number = int(numbers[start])
        inside = _as_slice(positions[start:stop] - number * chunk)
        out = slice(start, stop) if order is None else order[start:stop]
        covers = inside == slice(0, min(chunk, size - number * chunk), 1) if isinstance(inside, slice) else False
        pieces.append(Piece(str(number), out, inside, covers))
    return tuple(pieces)


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


def _plan(dims: list[range | Positions], dropped: list[bool], shape: Shape, chunks: Shape) -> ProductPlan:
    tables = tuple(
        _range_pieces(d, c, n) if isinstance(d, range) else _array_pieces(d, c, n)
        for d, c, n in zip(dims, chunks, shape, strict=True)
    )
    buffer_shape = tuple(len(d) for d in dims)
    out_shape = tuple(n for n, drop in zip(buffer_shape, dropped, strict=True) if not drop)
    is_basic = all(isinstance(p.out, slice) and isinstance(p.inside, slice) for t in tables for p in t)
    return ProductPlan(tables, buffer_shape, out_shape, is_basic)


def plan_basic(key: Any, shape: Shape, chunks: Shape) -> ProductPlan:
    """Plan what ``a[key]`` means in NumPy, for integers, slices of any step and an ellipsis.

    Parameters
    ----------
    key : index or tuple of indices
    shape, chunks : tuple of int
        Of the array and of a chunk, in elements.

    Raises
    ------
    SelectionError
        If `key` does not fit `shape`, or has arrays in it.

    Examples
    --------
    >>> plan = plan_basic(slice(2, 9), shape=(10,), chunks=(4,))
    >>> [(part.names, part.inside) for part in plan]
    [(('0',), (slice(2, 4, 1),)), (('1',), (slice(0, 4, 1),)), (('2',), (slice(0, 1, 1),))]
    """
    dims: list[range | Positions] = []
    dropped = []
    for axis, (k, size) in enumerate(zip(_full_key(key, len(shape)), shape, strict=True)):
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


def plan_orthogonal(key: Any, shape: Shape, chunks: Shape) -> ProductPlan:
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


def plan_pointwise(key: Any, shape: Shape, chunks: Shape) -> PointPlan:
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
    flat = [p.reshape(-1) for p in points]
    return PointPlan(tuple(_point_parts(flat, shape, chunks)), (prod(out_shape),), out_shape)


def _point_parts(points: list[Positions], shape: Shape, chunks: Shape) -> Iterator[Part]:
    if not points:
        yield Part((), slice(0, 1), ..., False)
        return
    if points[0].size == 0:
        return
    grid = tuple(-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True))
    numbers = [p // c for p, c in zip(points, chunks, strict=True)]
    if prod(grid) < np.iinfo(np.intp).max:
        ids = np.ravel_multi_index(numbers, grid)
    else:  # the grid has too many chunks to number them all
        ids = np.unique(np.stack(numbers), axis=1, return_inverse=True)[1].reshape(-1)
    order = np.argsort(ids, kind="stable")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(ids[order])) + 1, [ids.size]])
    for start, stop in itertools.pairwise(starts.tolist()):
        out = order[start:stop]
        names = tuple(str(n[out[0]]) for n in numbers)
        inside = tuple(p[out] - n[out[0]] * c for p, n, c in zip(points, numbers, chunks, strict=True))
        yield Part(names, out, inside, False)
