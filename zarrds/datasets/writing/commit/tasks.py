"""Which elements each task of a dask graph writes: whole chunks, and not too many of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import prod

import numpy as np

__all__ = ["MOST_NBYTES", "aligned_blocks", "task_blocks"]

# of what one task holds, unless a block or a chunk is larger
MOST_NBYTES = 128 * 2**20


def aligned_blocks(blocks: tuple[int, ...], chunk: int, start: int = 0) -> tuple[int, ...]:
    """Blocks along one dimension, each boundary moved up to the next boundary between chunks.

    Parameters
    ----------
    blocks : tuple of int
        Sizes in elements.
    chunk : int
        Elements of one chunk.
    start : int
        Where in the array the first block begins, in elements.

    Examples
    --------
    >>> aligned_blocks((3, 3, 3), 4), aligned_blocks((3, 3, 3), 4, start=2)
    ((4, 4, 1), (6, 3))
    """
    size = sum(blocks)
    ends = np.minimum(-(-(np.cumsum(blocks) + start) // chunk) * chunk - start, size)
    sizes = np.diff(np.unique(np.concatenate([[0], ends])))
    return tuple(int(n) for n in sizes) or (0,)


def task_blocks(
    blocks: Sequence[tuple[int, ...]],
    chunks: Sequence[int],
    start: Sequence[int],
    itemsize: int,
    most_nbytes: int = MOST_NBYTES,
    memory_nbytes: int | None = None,
) -> tuple[tuple[int, ...], ...]:
    """Blocks for the tasks, none of them larger than it may be.

    They cover whole chunks, as long as all blocks that share one row of chunks may be in memory together: dask holds
    all of a block until the last part of it was used. Those that became too large, as planes do that are stored in
    cubes, are cut along the other dimensions, from the first on, since what is cut there stays together in memory.
    Where there is not the memory, as many blocks are joined as one task may hold, and chunks are written in parts.

    Parameters
    ----------
    blocks : sequence of tuple of int
        Sizes in elements, along each dimension.
    chunks : sequence of int
        Elements of one chunk.
    start : sequence of int
        Where in the array the first block begins, in elements.
    itemsize : int
        Bytes of an element.
    most_nbytes : int
        That a block may have; more only where one of `blocks` or a chunk has more.
    memory_nbytes : int, optional
        That all blocks may have which share a row of chunks; without it, any number.

    Examples
    --------
    >>> planes, cubes = [(1,) * 8, (6,)], (4, 2)
    >>> task_blocks(planes, cubes, (0, 0), itemsize=1, most_nbytes=16)
    ((4, 4), (2, 4))
    >>> task_blocks(planes, cubes, (0, 0), itemsize=1, most_nbytes=16, memory_nbytes=20)
    ((2, 2, 2, 2), (6,))
    """
    limit = max(most_nbytes // max(itemsize, 1), _largest(blocks))
    aligned = [aligned_blocks(*of) for of in zip(blocks, chunks, start, strict=True)]
    in_parts = memory_nbytes is not None and _largest(aligned) * itemsize > max(memory_nbytes, prod(chunks) * itemsize)
    for dim, (chunk, first) in enumerate(zip(chunks, start, strict=True)):
        largest = max(aligned[dim])
        others = _largest(aligned) // max(largest, 1)
        if others * largest <= limit:
            break
        most = limit // others
        if not in_parts:
            aligned[dim] = _cut(aligned[dim], chunk, first, max(most // chunk, 1))
        elif largest > max(blocks[dim]):
            aligned[dim] = _joined(blocks[dim], aligned[dim], max(most, *blocks[dim]))
    return tuple(aligned)


def _largest(blocks: Sequence[tuple[int, ...]]) -> int:
    """Elements of the largest block."""
    return prod(max(sizes, default=0) for sizes in blocks)


def _cut(blocks: tuple[int, ...], chunk: int, start: int, n_chunks: int) -> tuple[int, ...]:
    """Blocks cut at boundaries between chunks, each about as long as the others, and of at most so many chunks."""
    ends = [0]
    for size in blocks:
        begin, end = ends[-1], ends[-1] + size
        first, last = (begin + start) // chunk, -(-(end + start) // chunk)
        n = -(-(last - first) // n_chunks)
        inner = (first + (last - first) * i // n for i in range(1, n))
        ends += [*(position * chunk - start for position in inner), end]
    return _sizes(ends)


def _joined(blocks: tuple[int, ...], aligned: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Neighbouring blocks joined up to so many elements, and not beyond the boundaries of `aligned`."""
    bounds = set(accumulate(aligned))
    ends = sorted({*accumulate(blocks), *bounds})
    kept = [0]
    for end, following in zip(ends, [*ends[1:], None], strict=True):
        if end in bounds or following is None or following - kept[-1] > most:
            kept.append(end)
    return _sizes(kept)


def _sizes(ends: Sequence[int]) -> tuple[int, ...]:
    return tuple(end - begin for begin, end in pairwise(ends) if end > begin) or (0,)
