"""Memory for encoded and decoded chunks that is used again by the next read.

To get memory anew can take longer than to read a chunk into it: what was freed goes back to the system, depending on
what lies behind it, and comes again page by page. One value of a chunk of 1.5 MB then took 1.4 ms in place of 0.4.
"""

from __future__ import annotations

from collections import deque
from math import prod

import numpy as np
import numpy.typing as npt

from zarrds.codecs.base import AnyArray

__all__ = ["Scratch"]

# bytes of one piece of memory that is worth keeping: below, `malloc` keeps it anyway
_LEAST, _MOST = 2**15, 5 * 2**20
# at most so many of them, 40 MiB in all; who comes last pushes out the oldest
_kept: deque[npt.NDArray[np.uint8]] = deque(maxlen=8)
# What python-blosc encodes into cannot be given to it. glibc keeps what is freed, of up to as many bytes as the largest
# piece that was freed before (`mallopt(3)`, on M_MMAP_THRESHOLD): so one is, which no page is touched of.
np.empty(2**23, np.uint8)


def _take(nbytes: int) -> npt.NDArray[np.uint8]:
    for _ in range(len(_kept)):
        try:
            memory = _kept.pop()
        except IndexError:  # another thread was faster
            break
        if nbytes <= memory.nbytes <= 4 * nbytes:
            return memory
        _kept.appendleft(memory)
    return np.empty(nbytes, np.uint8)


class Scratch:
    """Memory of one worker, which others get once nothing refers to this any more.

    Not thread-safe: each worker has its own.

    Examples
    --------
    >>> scratch = Scratch()
    >>> scratch.take(100_000).nbytes
    100000
    >>> scratch.take_array((20, 30), "f4").shape
    (20, 30)
    """

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: list[npt.NDArray[np.uint8]] = []

    def take(self, nbytes: int) -> npt.NDArray[np.uint8]:
        """So many bytes, in which anything may stand."""
        if not _LEAST <= nbytes <= _MOST:
            return np.empty(nbytes, np.uint8)
        memory = _take(nbytes)
        self._taken.append(memory)
        return memory[:nbytes]

    def take_array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> AnyArray:
        """The same as an array in C order."""
        dtype = np.dtype(dtype)
        if dtype.hasobject or not dtype.itemsize:
            return np.empty(shape, dtype)
        return self.take(prod(shape) * dtype.itemsize).view(dtype).reshape(shape)

    def __del__(self) -> None:
        _kept.extend(getattr(self, "_taken", ()))  # which it lacks if Ctrl-C came while it was made
