"""Blocks: the chunks of a 1-D array that are read, recorded and searched together."""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import crc32c
import numpy as np

from zarrds.chunk_statistics.digests import digest_kind, digest_of, stored_digest
from zarrds.engine.elements import Elements
from zarrds.engine.planning.plans import ChunkProjection
from zarrds.labels.sorted.source import Array

__all__ = ["MAX_BLOCKS", "Blocks", "KeptBlocks", "nbytes_of"]

# of one array, unless another limit is asked for
MAX_BLOCKS = 65_536
# of a Python string, roughly
_OBJECT_NBYTES = 64

Reader = Callable[[Iterable[int]], tuple[Array, list[int | None]]]


def nbytes_of(dtype: np.dtype[Any], count: int) -> int:
    """Roughly what so many elements take in memory, at least 1."""
    return max(count * (_OBJECT_NBYTES if dtype.hasobject else dtype.itemsize), 1)


class Blocks:
    """The blocks of a 1-D array without shards.

    Parameters
    ----------
    elements : Elements
    block : int, optional
        Elements of a block: a multiple of the chunk's. Unless said, one chunk, or the smallest power of two of them
        that makes at most `limit` blocks.
    limit : int

    Attributes
    ----------
    elements : Elements
    block, size : int
        Elements of a block (the last may have fewer), and of the array.

    Examples
    --------
    >>> import zarrds
    >>> array = zarrds.create_array(zarrds.MemoryStore(), shape=10, dtype="i4", chunks=2)
    >>> array[:] = range(10)
    >>> blocks = Blocks(Elements(array.store, array.path, array.metadata), limit=3)
    >>> blocks.block, len(blocks), blocks.starts()
    (4, 3, array([0, 4, 8]))
    >>> blocks.reader(2)([0, 2])[0]
    array([0, 1, 2, 3, 8, 9], dtype=int32)
    """

    def __init__(self, elements: Elements, block: int | None = None, *, limit: int = MAX_BLOCKS) -> None:
        (self.size,), (self._chunk,) = elements.shape, elements.metadata.chunks
        self._n_chunks = -(-self.size // self._chunk)
        n = 1
        while block is None and -(-self._n_chunks // n) > limit:
            n *= 2
        self.elements = elements
        self.block = n * self._chunk if block is None else block
        self._kind = digest_kind(elements.metadata)
        self._stored_digest = stored_digest(elements)

    def __len__(self) -> int:
        return (self.size + self.block - 1) // self.block

    @property
    def nbytes(self) -> int:
        """Roughly what the elements of a block take in memory."""
        return nbytes_of(self.elements.dtype, min(self.block, self.size))

    def starts(self) -> Array:
        """The position of the first element of each block."""
        return np.arange(0, self.size, self.block)

    def _chunks_of(self, i: int) -> range:
        n = self.block // self._chunk
        return range(i * n, min((i + 1) * n, self._n_chunks))

    def digest(self, i: int) -> int:
        """The digest of block `i`: the CRC-32C of the CRC-32Cs of its chunks' values, 0 for an absent chunk.

        Where the last codec is ``crc32c`` only the ends of the values are read, and not compared with the rest.
        """
        return _combined([self._stored_digest((number,)) or 0 for number in self._chunks_of(i)])

    def reader(self, capacity: int, kept: Callable[[int], Array | None] | None = None) -> Reader:
        """A function for one thread that reads up to `capacity` blocks at a time.

        Parameters
        ----------
        capacity : int
        kept : callable, optional
            Called with the number of a block; gives its elements if they are in memory already.

        Returns
        -------
        callable
            Given the blocks' numbers, it returns their elements, one block behind the other in memory that the next
            call uses again, and their digests, None for a block that was kept.
        """
        out = np.empty(min(capacity * self.block, self.size), self.elements.dtype)
        digests: list[int] = []
        kind = self._kind
        read_part = self.elements.part_reader(out, lambda value: digests.append(digest_of(value, kind) or 0))

        def read(numbers: Iterable[int]) -> tuple[Array, list[int | None]]:
            found: list[int | None] = []
            at = 0
            for i in numbers:
                elements = None if kept is None else kept(i)
                if elements is not None:
                    out[at : at + elements.size] = elements
                    at += elements.size
                    found.append(None)
                    continue
                digests.clear()
                for number in self._chunks_of(i):
                    n = min(self._chunk, self.size - number * self._chunk)
                    read_part(ChunkProjection((number,), slice(at, at + n), slice(0, n), True))
                    at += n
                found.append(_combined(digests))
            return out[:at], found

        return read


def _combined(digests: list[int]) -> int:
    return crc32c.crc32c(struct.pack(f"<{len(digests)}I", *digests))


class KeptBlocks:
    """The blocks that were used last, up to so many bytes; for any number of threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._blocks: OrderedDict[int, Array] = OrderedDict()
        self._nbytes = 0
        self._lock = threading.Lock()

    def get(self, i: int) -> Array | None:
        """The elements of a block, None if they are not kept."""
        with self._lock:
            elements = self._blocks.get(i)
            if elements is not None:
                self._blocks.move_to_end(i)
            return elements

    def put(self, i: int, elements: Array) -> None:
        """Keep the elements of a block, which nobody may change from now on."""
        nbytes = nbytes_of(elements.dtype, elements.size)
        with self._lock:
            if i in self._blocks or nbytes > self.limit:
                return
            self._blocks[i] = elements
            self._nbytes += nbytes
            while self._nbytes > self.limit:
                _, gone = self._blocks.popitem(last=False)
                self._nbytes -= nbytes_of(gone.dtype, gone.size)
