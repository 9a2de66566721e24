"""The ``sharding_indexed`` codec: many inner chunks in one value, with an index of where each lies.

Source: Zarr v3 "Sharding codec" specification. A shard can be decoded whole, here, or one inner chunk at a time from
ranges of its value (`zarrds.engine.chunk_io`), which is why the index has functions of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from zarrds.codecs.base import AnyArray, Buffer, ChunkSpec, Parts, Span, as_bytes, join
from zarrds.errors import ChunkError, MetadataError

__all__ = ["Sharding"]

# offset and length of an inner chunk that is not there
_ABSENT = 2**64 - 1


class ChunkCodecs(Protocol):
    """What a pipeline can do."""

    @property
    def in_place(self) -> bool: ...

    def encode(self, array: AnyArray) -> Parts: ...

    @property
    def has_blocks(self) -> bool: ...

    def decode(self, data: Buffer, out: AnyArray | None = None, span: Span | None = None) -> AnyArray: ...


@dataclass(frozen=True, slots=True)
class Sharding:
    """Shards.

    Attributes
    ----------
    chunks : tuple of int
        The shape of an inner chunk, in elements.
    grid : tuple of int
        Inner chunks along each dimension of a shard.
    inner : pipeline
        Of an inner chunk.
    index : pipeline
        Of the index, an array of shape ``(*grid, 2)`` of uint64: offset and length in bytes.
    index_nbytes : int
    index_at_end : bool
    fill_value : scalar
        Of inner chunks that are not there.
    """

    chunks: tuple[int, ...]
    grid: tuple[int, ...]
    inner: ChunkCodecs
    index: ChunkCodecs
    index_nbytes: int
    index_at_end: bool
    fill_value: Any

    def encoded_size(self, spec: ChunkSpec) -> int | None:
        if tuple(n * c for n, c in zip(self.grid, self.chunks, strict=True)) != spec.shape:
            raise MetadataError(
                "inner chunks do not fill the shard evenly",
                codec="sharding_indexed",
                expected=f"a divisor of {spec.shape}",
                found=self.chunks,
            )
        return None

    @property
    def index_range(self) -> tuple[int, int]:
        """Start (from the end, if negative) and length of the index in a shard, in bytes."""
        return (-self.index_nbytes if self.index_at_end else 0), self.index_nbytes

    def decode_index(self, data: Buffer) -> npt.NDArray[np.uint64]:
        """The index, of shape ``(*grid, 2)``, from its bytes."""
        if len(data) != self.index_nbytes:
            raise ChunkError(
                "shard is truncated", codec="sharding_indexed", expected=f"an index of {self.index_nbytes} bytes"
            )
        return self.index.decode(data)

    def range_of(self, index: npt.NDArray[np.uint64], position: tuple[int, ...]) -> tuple[int, int] | None:
        """Offset and length (bytes) of the inner chunk at `position`, None if it is not there."""
        offset, length = (int(n) for n in index[position])
        return None if offset == length == _ABSENT else (offset, length)

    def _regions(self) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
        for position in np.ndindex(self.grid):
            yield position, tuple(slice(p * c, (p + 1) * c) for p, c in zip(position, self.chunks, strict=True))

    def encode(self, array: AnyArray) -> Buffer:
        regions = dict(self._regions())

        def encoded(position: tuple[int, ...]) -> Buffer:
            # what the inner pipeline returns may be a view of memory that is used again
            return bytes(join(self.inner.encode(np.ascontiguousarray(array[regions[position]]))))

        return b"".join(self.packed(encoded) or ())

    def packed(self, encoded: Callable[[tuple[int, ...]], Buffer | None]) -> Parts | None:
        """A shard of inner chunks that are encoded already, in parts; None if there are none.

        Parameters
        ----------
        encoded : callable
            From the position of an inner chunk in the shard to its bytes, None for one that is absent.
        """
        index = np.full((*self.grid, 2), _ABSENT, np.uint64)
        parts: list[Buffer] = []
        offset = 0 if self.index_at_end else self.index_nbytes
        for position in np.ndindex(self.grid):
            data = encoded(position)
            if data is None:
                continue
            parts.append(data)
            index[position] = offset, len(data)
            offset += len(data)
        if not parts:
            return None
        parts.insert(len(parts) if self.index_at_end else 0, join(self.index.encode(index)))
        return tuple(parts)

    def decode(self, data: Buffer, spec: ChunkSpec) -> AnyArray:
        raw = as_bytes(data).data
        start, length = self.index_range
        index = self.decode_index(raw[start:] if start else raw[:length])
        array = np.empty(spec.shape, spec.dtype)
        scratch = np.empty(self.chunks, spec.dtype)
        for position, region in self._regions():
            where = self.range_of(index, position)
            if where is None:
                array[region] = self.fill_value
                continue
            offset, length = where
            if offset + length > len(raw):
                raise ChunkError("an inner chunk lies outside of its shard", codec="sharding_indexed", found=where)
            array[region] = self.inner.decode(raw[offset : offset + length], scratch)
        return array
