"""The ``crc32c`` codec: four bytes behind the chunk. Source: Zarr v3 "CRC32C checksum codec", RFC 3720."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import crc32c

from zarrds.codecs.base import Buffer, Parts
from zarrds.errors import ChunkError

__all__ = ["Crc32c"]

_CHECKSUM = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Crc32c:
    """A checksum that makes every flipped bit an error, in every reader."""

    def encoded_size(self, size: int | None) -> int | None:
        return None if size is None else size + _CHECKSUM.size

    def encode(self, parts: Parts) -> Parts:
        checksum = 0
        for part in parts:
            checksum = crc32c.crc32c(part, checksum)
        return (*parts, _CHECKSUM.pack(checksum))

    def decode(self, data: Buffer, size: int | None) -> Buffer:
        length = len(data) - _CHECKSUM.size
        if length < 0 or (size is not None and length != size):
            raise ChunkError(
                "chunk is truncated",
                codec="crc32c",
                expected=f"{'at least 4' if size is None else size + 4} bytes",
                found=f"{len(data)} bytes",
            )
        body = memoryview(data)[:length]
        (stored,) = _CHECKSUM.unpack_from(data, length)
        computed = crc32c.crc32c(body)
        if stored != computed:
            raise ChunkError(
                "chunk is damaged: its checksum does not match",
                codec="crc32c",
                expected=f"{stored:08x}",
                found=f"{computed:08x}",
                mend="Restore the chunk from a copy of the store, or write that part of the array again",
            )
        return body
