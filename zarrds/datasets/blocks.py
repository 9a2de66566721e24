"""Dask arrays to stored arrays: blocks of any size into chunks of any size.

Blocks that share a chunk are combined first, so that each chunk is written once, whole, without a lock, whichever
thread, process or machine does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zarrds.arrays.array import Array
from zarrds.arrays.workers import Progress

__all__ = ["aligned_blocks", "store_blocks"]


def aligned_blocks(blocks: tuple[int, ...], chunk: int) -> tuple[int, ...]:
    """Blocks along one dimension, each boundary moved up to the next boundary between chunks.

    Parameters
    ----------
    blocks : tuple of int
        Sizes in elements.
    chunk : int
        Elements of one chunk.

    Examples
    --------
    >>> aligned_blocks((3, 3, 3), 4)
    (4, 4, 1)
    """
    size = sum(blocks)
    ends = np.minimum(-(-np.cumsum(blocks) // chunk) * chunk, size)
    sizes = np.diff(np.unique(np.concatenate([[0], ends])))
    return tuple(int(n) for n in sizes) or (0,)


class _Target:
    """What dask assigns a block to. It travels to workers; the progress bar stays behind."""

    def __init__(self, array: Array, progress: Progress | None) -> None:
        self.shape = array.shape
        self.dtype = array.dtype
        self._array = array
        self._progress = progress

    def __setitem__(self, key: Any, value: Any) -> None:
        self._array.write(key, value, progress=self._progress)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_progress": None}


def store_blocks(pairs: Sequence[tuple[Any, Array]], progress: Progress | None = None) -> None:
    """Compute dask arrays, all in one graph, and write each into its stored array.

    Parameters
    ----------
    pairs : sequence of (dask array, Array)
        Of equal shapes.
    progress : callable, optional
        Called with numbers of chunks that are done, in this process.
    """
    if not pairs:
        return
    import dask.array

    sources: list[Any] = []
    targets: list[Any] = []
    for data, array in pairs:
        wanted = tuple(aligned_blocks(b, c) for b, c in zip(data.chunks, array.shards or array.chunks, strict=True))
        sources.append(data if wanted == data.chunks else data.rechunk(wanted))
        targets.append(_Target(array, progress))
    # other processes would write into copies of a store in memory
    options: dict[str, Any] = {"scheduler": "threads"} if any(a.store.in_memory for _, a in pairs) else {}
    dask.array.store(sources, targets, lock=False, compute=True, **options)
