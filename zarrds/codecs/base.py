"""What a codec is. One chunk passes array → array codecs, one array → bytes codec, bytes → bytes codecs.

The contract, written down once (v3 core specification, "Codecs"):

- Codecs are frozen: one object serves any number of threads at once.
- ``encode`` never changes its argument. What it returns may share memory with it.
- ``decode`` is given what it must produce (a `ChunkSpec`, or a size in bytes) and raises `ChunkError` when the bytes
  say anything else. No size that is read from the bytes is believed before it was compared.
- A codec knows neither keys nor paths: `zarrds.engine.chunk_io` adds them to its errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from math import prod
from types import ModuleType
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from zarrds.metadata.dtypes import DataType

__all__ = [
    "AnyArray",
    "ArrayArrayCodec",
    "ArrayBytesCodec",
    "BlockCodec",
    "Buffer",
    "BytesBytesCodec",
    "ChunkSpec",
    "Parts",
    "Span",
]

AnyArray: TypeAlias = npt.NDArray[Any]
Buffer: TypeAlias = bytes | bytearray | memoryview
# bytes in pieces, so that a checksum can be put behind a chunk without copying it
Parts: TypeAlias = tuple[Buffer, ...]

# start and stop, in bytes
Span: TypeAlias = tuple[int, int]

# no chunk decodes to more than this many bytes where its size is not known beforehand
MAX_DECODED = 2**31 - 1
# where the size is not known, so much may come out of any chunk; of a larger one so many bytes for one
FREE_DECODED = 2**28
MAX_RATIO = 1024
# neither LZ4, Zstandard nor Blosc can put more than this many bytes into one
MAX_EXPANSION = 2**16


@dataclass(frozen=True, slots=True)
class ChunkSpec:
    """What an array codec is given or must produce: an array of this shape (elements) and dtype."""

    shape: tuple[int, ...]
    data_type: DataType
    fill_value: Any = None

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data_type.dtype

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int | None:
        """Bytes of such an array, or None for a variable-length type."""
        return None if self.data_type.is_variable_length else self.size * self.dtype.itemsize


class ArrayArrayCodec(Protocol):
    """Changes an array's shape or elements."""

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """What `encode` makes of an array of `spec`. Raises `MetadataError` where it cannot."""
        ...

    def encode(self, array: AnyArray) -> AnyArray: ...

    def decode(self, array: AnyArray, spec: ChunkSpec) -> AnyArray:
        """Make an array of `spec`, which may be a view."""
        ...


class ArrayBytesCodec(Protocol):
    """Lays an array out as bytes."""

    def encoded_size(self, spec: ChunkSpec) -> int | None:
        """Bytes of an encoded array of `spec`, None where that varies. Raises `MetadataError` where it cannot."""
        ...

    def encode(self, array: AnyArray) -> Buffer: ...

    def decode(self, data: Buffer, spec: ChunkSpec) -> AnyArray:
        """Make an array of `spec`, which may be a view of `data`."""
        ...


class BytesBytesCodec(Protocol):
    """Compresses bytes or adds a checksum."""

    def encoded_size(self, size: int | None) -> int | None:
        """Bytes that `size` bytes become, or None where that varies."""
        ...

    def encode(self, parts: Parts) -> Parts: ...

    def decode(self, data: Buffer, size: int | None) -> Buffer:
        """Undo `encode`.

        Parameters
        ----------
        data : bytes-like
            That nobody else can change meanwhile.
        size : int or None
            Bytes that must come out, if known.
        """
        ...


class BlockCodec(BytesBytesCodec, Protocol):
    """Compresses bytes in blocks, each of which can be decoded by itself, into the memory of any array."""

    def decode_into(self, data: Buffer, out: AnyArray, span: Span | None = None) -> None:
        """Undo `encode`.

        Parameters
        ----------
        data : bytes-like
            That nobody else can change meanwhile.
        out : ndarray, C-contiguous
            Of as many bytes as must come out.
        span : (int, int), optional
            Which of these bytes are wanted; others of `out` may or may not change.
        """
        ...


def join(parts: Parts) -> Buffer:
    """One buffer of all `parts`, without a copy where there is just one."""
    return parts[0] if len(parts) == 1 else b"".join(parts)


def as_bytes(data: Buffer | AnyArray) -> npt.NDArray[np.uint8]:
    """`data`, which may also be an array of any dtype, as a flat array of bytes."""
    if isinstance(data, np.ndarray):
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    return np.frombuffer(data, np.uint8)


def numcodecs_module(name: str) -> ModuleType:
    """A module of numcodecs. Several threads may ask for several of them at once.

    The package comes first: it imports all of them itself, and of two threads that began with a module each, one would
    find the other's half imported.
    """
    import_module("numcodecs")
    return import_module(f"numcodecs.{name}")
