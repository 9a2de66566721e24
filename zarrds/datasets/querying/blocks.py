"""Blocks: the boxes into which the elements that a query is about are cut, mostly along the edges of chunks. Pure.

A *block* is numbered along each dimension; `edges` of a dimension are the positions at which its blocks begin, and the
size of the dimension at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from zarrds.codecs.base import AnyArray

__all__ = [
    "DENSITY",
    "Box",
    "box_size",
    "boxes",
    "coarser",
    "elements_of",
    "even_edges",
    "neutral",
    "range_edges",
    "reduced",
    "run_edges",
    "size_of",
    "slabs",
    "spans",
    "spread",
    "with_even_edges",
]

# of block numbers, one slice a dimension
Box: TypeAlias = tuple[slice, ...]

# of the blocks of a box that is read as one, so many must be wanted
DENSITY = 0.75
# elements of a box that is read as one: of large blocks few, which stay in the processor's cache, of small ones many
_BOX = 2**19
_BOX_OF_SMALL = 2**22
_SMALL = 2**17


def run_edges(numbers: AnyArray) -> AnyArray:
    """The edges of runs of equal numbers.

    Examples
    --------
    >>> run_edges(np.array([0, 0, 1, 1, 1, 4]))
    array([0, 2, 5, 6])
    """
    return np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1, [numbers.size]] if numbers.size else [[0]])


def range_edges(positions: range, chunk: int) -> AnyArray:
    """The edges of runs of positions that lie in one chunk, without making all of them.

    Examples
    --------
    >>> range_edges(range(1, 8), 3), range_edges(range(7, 0, -2), 3)
    (array([0, 2, 5, 7]), array([0, 1, 3, 4]))
    """
    n = len(positions)
    if not n:
        return np.zeros(1, np.int64)
    if positions.step < 0:
        return np.asarray(n - range_edges(positions[::-1], chunk)[::-1])
    first, last = positions[0] // chunk, positions[-1] // chunk
    begins = np.arange(first + 1, last + 1) * chunk
    return np.unique(np.concatenate([[0], -((positions.start - begins) // positions.step), [n]]))


def even_edges(size: int, block: int) -> AnyArray:
    """The edges of blocks of one size, of which the last may be smaller."""
    return np.append(np.arange(0, size, max(1, block)), size)


def with_even_edges(edges: Mapping[int, AnyArray], shape: Sequence[int], limit: int) -> list[AnyArray]:
    """The edges of all dimensions: those that are given, and of the others such that no block is larger than `limit`.

    Examples
    --------
    >>> with_even_edges({0: np.array([0, 4, 8])}, (8, 3), 8)
    [array([0, 4, 8]), array([0, 2, 3])]
    """
    found = dict(edges)
    block = prod(int(np.diff(each).max(initial=1)) for each in found.values())
    for axis in reversed(range(len(shape))):
        if axis not in found:
            n = max(1, min(shape[axis], limit // block))
            found[axis] = even_edges(shape[axis], n)
            block *= n
    return [found[axis] for axis in range(len(shape))]


def elements_of(edges: Sequence[AnyArray], box: Sequence[slice]) -> tuple[slice, ...]:
    """The elements in a box of blocks."""
    return tuple(slice(int(each[part.start]), int(each[part.stop])) for each, part in zip(edges, box, strict=True))


def box_size(edges: Sequence[AnyArray]) -> int:
    """Elements of a box that one thread reads in one go, unless a block has more."""
    block = prod(int(np.diff(each).max(initial=1)) for each in edges)
    return _BOX if block >= _SMALL else _BOX_OF_SMALL


def size_of(edges: Sequence[AnyArray], box: Sequence[slice]) -> float:
    """How many these are."""
    return float(prod(part.stop - part.start for part in elements_of(edges, box)))


def coarser(edges: Sequence[AnyArray], limit: int) -> list[AnyArray]:
    """The same edges, or every second, fourth, … of them, so that there are no more blocks than `limit`."""
    found = list(edges)
    while prod(len(each) - 1 for each in found) > limit:
        longest = max(range(len(found)), key=lambda i: len(found[i]))
        each = found[longest]
        found[longest] = np.append(each[:-1:2], each[-1])
    return found


def spans(numbers: AnyArray, edges: AnyArray) -> tuple[AnyArray, AnyArray]:
    """The least and the greatest of the numbers in each block along one dimension."""
    if numbers.size == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.minimum.reduceat(numbers, edges[:-1]), np.maximum.reduceat(numbers, edges[:-1])


def reduced(array: AnyArray, axis: int, first: AnyArray, last: AnyArray, function: Any) -> AnyArray:
    """An array along one axis of which each element is the reduction of those from `first` to `last`, both included.

    Examples
    --------
    >>> reduced(np.array([3, 1, 4, 1, 5]), 0, np.array([0, 1]), np.array([1, 4]), np.maximum)
    array([3, 5])
    """
    if (first == last).all():
        is_all = first.size == array.shape[axis] and bool((first == np.arange(first.size)).all())
        return array if is_all else np.take(array, first, axis)
    moved = np.moveaxis(array, axis, 0)
    found = [function.reduce(moved[a : b + 1], axis=0) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    return np.moveaxis(np.array(found, array.dtype).reshape((first.size, *moved.shape[1:])), 0, axis)


def neutral(dtype: np.dtype[Any]) -> tuple[Any, Any] | None:
    """What counts for nothing in a minimum, and in a maximum, of values of a dtype; None of text and objects.

    Examples
    --------
    >>> [int(end) for end in neutral(np.dtype("u1"))], neutral(np.dtype("f4")), neutral(np.dtype("O"))
    ([255, 0], (inf, -inf), None)
    """
    if dtype.kind == "f":
        return np.inf, -np.inf
    if dtype.kind == "b":
        return True, False
    if dtype.kind not in "iumM":
        return None
    native = dtype.newbyteorder("=")
    are_times = dtype.kind in "mM"
    integers = np.dtype(np.int64) if are_times else native
    limits = np.iinfo(integers)
    most, least = np.array([limits.max, limits.min + are_times], integers).view(native)  # the least of times is NaT
    return most, least


def spread(wanted: AnyArray, axis: int, first: AnyArray, last: AnyArray, n: int) -> AnyArray:
    """The inverse for booleans: which of `n` chunks along one axis lie in a block that is wanted.

    Examples
    --------
    >>> spread(np.array([True, False]), 0, np.array([0, 1]), np.array([1, 3]), 4)
    array([ True,  True, False, False])
    """
    moved = np.moveaxis(wanted, axis, 0).astype(np.int64)
    changes = np.zeros((n + 1, *moved.shape[1:]), np.int64)
    np.add.at(changes, first, moved)
    np.subtract.at(changes, last + 1, moved)
    return np.moveaxis(np.cumsum(changes, axis=0)[:n] > 0, 0, axis)


def slabs(edges: AnyArray, nbytes: float, limit: int) -> Iterator[slice]:
    """Runs of blocks along a dimension of at most so many bytes together, or one block, in order.

    Parameters
    ----------
    edges : ndarray
    nbytes : float
        Of one element along the dimension.
    limit : int
    """
    start, n = 0, len(edges) - 1
    while start < n:
        stop = int(np.searchsorted(edges, edges[start] + limit / max(nbytes, 1e-9), side="right")) - 1
        stop = min(max(stop, start + 1), n)
        yield slice(start, stop)
        start = stop


def boxes(wanted: AnyArray, size_of: Callable[[Box], float], limit: float, density: float = DENSITY) -> Iterator[Box]:
    """Boxes that hold each wanted block once, few others, and none that is larger than it may be but single blocks.

    Parameters
    ----------
    wanted : ndarray of bool
        One element a block.
    size_of : callable
        The size of a box.
    limit : float
    density : float
        The part of a box of several blocks that is wanted at the least.

    Examples
    --------
    >>> list(boxes(np.array([True, True, False, False, True]), lambda box: box[0].stop - box[0].start, 8))
    [(slice(0, 2, None),), (slice(4, 5, None),)]
    """
    waiting: list[Box] = [tuple(slice(0, n) for n in wanted.shape)]
    while waiting:
        box = _trimmed(wanted, waiting.pop())
        if box is None:
            continue
        inside = wanted[box]
        if inside.size == 1 or (size_of(box) <= limit and inside.mean() >= density):
            yield box
            continue
        axis = max(range(len(box)), key=lambda i: box[i].stop - box[i].start)
        start, stop = box[axis].start, box[axis].stop
        middle = _gap(inside, axis) + start or (start + stop) // 2
        halves = (slice(middle, stop), slice(start, middle))
        waiting += [(*box[:axis], half, *box[axis + 1 :]) for half in halves]


def _trimmed(wanted: AnyArray, box: Box) -> Box | None:
    """The smallest box with all wanted blocks of a box; None if there are none."""
    inside = wanted[box]
    if not inside.any():
        return None
    found = []
    for axis, part in enumerate(box):
        others = tuple(i for i in range(inside.ndim) if i != axis)
        there = np.flatnonzero(inside.any(axis=others))
        found.append(slice(part.start + int(there[0]), part.start + int(there[-1]) + 1))
    return tuple(found)


def _gap(inside: AnyArray, axis: int) -> int:
    """Where the longest run of empty rows along an axis begins, or the middle."""
    others = tuple(i for i in range(inside.ndim) if i != axis)
    there = np.flatnonzero(inside.any(axis=others))
    gaps = np.diff(there)
    longest = int(gaps.argmax())
    return int(there[longest]) + 1 if gaps[longest] > 1 else inside.shape[axis] // 2
