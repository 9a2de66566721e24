"""Digests of chunks as they are stored: whoever wrote a chunk anew gave it another."""

from __future__ import annotations

from collections.abc import Callable

import crc32c

from zarrds.codecs.base import Buffer
from zarrds.engine.elements import Elements
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.traits import get_at_most

__all__ = ["digest_of", "is_checksummed", "stored_digest"]

_CHECKSUM = 4


def is_checksummed(metadata: ArrayMetadata) -> bool:
    """Whether the last four bytes of each chunk's value are its CRC-32C, so that its digest need not be computed."""
    return bool(metadata.codecs) and metadata.codecs[-1]["name"] == "crc32c"


def digest_of(value: Buffer | None, *, is_checksummed: bool) -> int | None:
    """The digest of a chunk's value: its own last four bytes where these are a checksum, else the CRC-32C of all of it.

    None for an absent chunk.
    """
    if value is None:
        return None
    if is_checksummed and len(value) >= _CHECKSUM:
        return int.from_bytes(value[-_CHECKSUM:], "little")
    return crc32c.crc32c(value)


def stored_digest(elements: Elements) -> Callable[[tuple[int, ...]], int | None]:
    """A function from a chunk's position to the digest of what is stored there now, None for an absent chunk.

    Where the last codec is ``crc32c`` only the end of the value is read, and not compared with the rest; else all of
    it, and none of it is decoded.
    """
    store, key_of, is_short = elements.store, elements.chunk_key, is_checksummed(elements.metadata)
    limit = elements.most_chunk_nbytes

    def digest(position: tuple[int, ...]) -> int | None:
        key = key_of(position)
        value = store.get_range(key, -_CHECKSUM, _CHECKSUM) if is_short else get_at_most(store, key, limit)
        return digest_of(value, is_checksummed=is_short)

    return digest
