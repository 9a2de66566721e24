"""Large arrays in blocks that fit into memory, along the boundaries of chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

__all__ = ["BLOCK_NBYTES", "block_shape", "blocks", "n_blocks", "number_in_grid"]

BLOCK_NBYTES = 32 * 2**20
_MOST_AT_ONCE = 2**20


def block_shape(
    shape: Sequence[int], chunks: Sequence[int] | None, itemsize: int, nbytes: int = BLOCK_NBYTES
) -> tuple[int, ...]:
    """Elements of a block along each dimension: as many whole chunks as fit, the last dimensions first.

    A chunk that is larger than `nbytes` is one block. Without chunks blocks are cut along the first dimensions.

    Examples
    --------
    >>> block_shape((100, 100, 100), (10, 10, 10), 8, nbytes=200_000)
    (10, 20, 100)
    >>> block_shape((100, 100), None, 8, nbytes=8000)
    (10, 100)
    """
    block = [max(1, min(n, c)) for n, c in zip(shape, chunks or (1,) * len(shape), strict=True)]
    for axis in reversed(range(len(shape))):
        rest = prod(block) // block[axis]
        fits = nbytes // max(1, rest * max(1, itemsize))
        step = block[axis]
        block[axis] = max(step, min(-(-shape[axis] // step), fits // step) * step)
        if block[axis] < shape[axis]:
            break
    return tuple(max(1, min(b, n)) for b, n in zip(block, shape, strict=True))


def blocks(shape: Sequence[int], block: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """The selections of all blocks, in the order of the array; one of nothing for an array without dimensions.

    Examples
    --------
    >>> list(blocks((3,), (2,))), list(blocks((), ()))
    ([(slice(0, 2, None),), (slice(2, 3, None),)], [()])
    """
    starts = [range(0, n, b) for n, b in zip(shape, block, strict=True)]
    for corner in _product(starts):
        yield tuple(slice(a, min(a + b, n)) for a, b, n in zip(corner, block, shape, strict=True))


def n_blocks(shape: Sequence[int], block: Sequence[int]) -> int:
    """How many blocks cover a shape."""
    return prod(-(-n // b) for n, b in zip(shape, block, strict=True))


def number_in_grid(position: Sequence[int], grid: Sequence[int]) -> int:
    """The number of a position in C order, also in grids beyond 2**63, which NumPy cannot count.

    Examples
    --------
    >>> number_in_grid((1, 2), (10, 4)), number_in_grid((), ())
    (6, 0)
    """
    number = 0
    for i, n in zip(position, grid, strict=True):
        number = number * n + i
    return number


def _product(ranges: Sequence[range]) -> Iterator[tuple[int, ...]]:
    """As `itertools.product`, which makes a tuple of each range first: a document may claim any size."""
    if all(len(each) <= _MOST_AT_ONCE for each in ranges):
        yield from product(*ranges)
        return
    for first in ranges[0]:
        for rest in _product(ranges[1:]):
            yield (first, *rest)
