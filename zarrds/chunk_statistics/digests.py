"""Digests of chunks as they are stored: whoever wrote a chunk anew gave it another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import Literal, TypeAlias

import crc32c
import numpy as np

from zarrds.codecs.base import AnyArray, Buffer
from zarrds.engine import executor
from zarrds.engine.elements import Elements
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.traits import get_at_most

__all__ = ["DigestKind", "digest_kind", "digest_of", "is_checksummed", "look_at_digests", "stale_rows", "stored_digest"]

_CHECKSUM = 4

# codecs that put a CRC-32C into values
_WITH_CRC32C = frozenset({"crc32c", "numcodecs.crc32c", "sharding_indexed"})

DigestKind: TypeAlias = Literal["end", "crc32c", "blake2b"]
Position: TypeAlias = tuple[int, ...]


def digest_kind(metadata: ArrayMetadata) -> DigestKind:
    """How the digests of an array's chunks are made.

    A CRC of what ends with a CRC of the same kind is the same for all contents of one length. So the CRC-32C of all of
    a value serves only where no codec has put one into it, as shards have, and most of their inner chunks.
    """
    names = [codec["name"] for codec in metadata.codecs]
    n = sum(name in _WITH_CRC32C for name in names)
    if not n:
        return "crc32c"
    return "end" if n == 1 and names[-1] == "crc32c" else "blake2b"


def is_checksummed(metadata: ArrayMetadata) -> bool:
    """Whether the last four bytes of each chunk's value are its digest, so that it need not be computed."""
    return digest_kind(metadata) == "end"


def digest_of(value: Buffer | None, kind: DigestKind) -> int | None:
    """The digest of a chunk's value: its own last four bytes, the CRC-32C of all of it, or a BLAKE2b of four bytes.

    None for an absent chunk.
    """
    if value is None:
        return None
    if kind == "end" and len(value) >= _CHECKSUM:
        return int.from_bytes(value[-_CHECKSUM:], "little")
    if kind == "blake2b":
        return int.from_bytes(hashlib.blake2b(value, digest_size=_CHECKSUM).digest(), "little")
    return crc32c.crc32c(value)


def stored_digest(elements: Elements) -> Callable[[Position], int | None]:
    """A function from a chunk's position to the digest of what is stored there now, None for an absent chunk.

    Where it is at the end of the value only that is read, and not compared with the rest; else all of it, and none of
    it is decoded.
    """
    store, key_of, kind = elements.store, elements.chunk_key, digest_kind(elements.metadata)
    limit = elements.most_chunk_nbytes

    def digest(position: Position) -> int | None:
        key = key_of(position)
        value = store.get_range(key, -_CHECKSUM, _CHECKSUM) if kind == "end" else get_at_most(store, key, limit)
        return digest_of(value, kind)

    return digest


def look_at_digests(elements: Elements, positions: Collection[Position], look: Callable[[Position], None]) -> None:
    """Do something for chunks that takes no more than a look at the digest of each; where that waits, in threads."""
    if is_checksummed(elements.metadata):
        executor.run_small(positions, lambda: look, elements.store, elements.n_workers)
    else:
        nbytes = elements.most_chunk_nbytes
        executor.run(list(positions), lambda: look, part_nbytes=nbytes, workers=elements.n_workers)


def stale_rows(
    elements: Elements, rows: AnyArray, wanted: AnyArray | None = None, first: Sequence[int] | None = None
) -> list[Position]:
    """Which rows that say something are of chunks that are no longer stored as they were then.

    Parameters
    ----------
    elements : Elements
        Of the array.
    rows : ndarray
        Of the chunk grid, or of a part of it.
    wanted : ndarray of bool, optional
        Which of them to look at; all unless said.
    first : sequence of int, optional
        The position of the first row in the grid.

    Returns
    -------
    list of tuple of int
        Positions in `rows`.
    """
    digest, may_be_absent = stored_digest(elements), elements.missing_chunks != "error"
    digests, offset = rows["crc32c"], tuple(first or (0,) * rows.ndim)
    stale: list[Position] = []

    def look(position: Position) -> None:
        found = digest(tuple(a + p for a, p in zip(offset, position, strict=True)))
        noted = int(digests[position])  # 0 for absent ones, and no digest of what is there
        if not (noted == 0 and may_be_absent if found is None else noted == found != 0):
            stale.append(position)

    is_known = rows["known"] == 1
    positions = np.argwhere(is_known if wanted is None else is_known & wanted).tolist()
    look_at_digests(elements, list(map(tuple, positions)), look)
    return stale
