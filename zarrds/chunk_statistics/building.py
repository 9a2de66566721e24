"""Statistics of chunks that are stored already: each is read once, and looked at as it was stored then."""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import prod
from typing import TypeAlias

import numpy as np

from zarrds.chunk_statistics.digests import digest_of, is_checksummed
from zarrds.chunk_statistics.facts import Rule, rule_of
from zarrds.chunk_statistics.record import row_of
from zarrds.codecs.base import AnyArray, Buffer
from zarrds.engine import executor
from zarrds.engine.elements import Elements
from zarrds.engine.plans import Part
from zarrds.errors import ChunkError
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.memory import MemoryStore
from zarrds.storage.traits import get_at_most

__all__ = ["MAX_CHUNKS", "has_rows", "inside", "rows_of_stored"]

# of an array of which statistics are made: they are in memory together
MAX_CHUNKS = 2**24

Position: TypeAlias = tuple[int, ...]


def has_rows(metadata: ArrayMetadata) -> bool:
    """Whether something can be noted of an array's chunks."""
    return rule_of(metadata) is not None and prod(metadata.chunk_grid) <= MAX_CHUNKS


def inside(elements: Elements, position: Position) -> tuple[slice, ...]:
    """What of the array lies in the chunk (of a sharded array, the shard) at a position of the grid."""
    metadata = elements.metadata
    return tuple(
        slice(p * chunk, min((p + 1) * chunk, size))
        for p, chunk, size in zip(position, metadata.chunks, metadata.shape, strict=True)
    )


def rows_of_stored(
    elements: Elements, positions: Collection[Position], progress: executor.Progress | None = None
) -> dict[Position, AnyArray]:
    """The rows of chunks, by position.

    Parameters
    ----------
    elements : Elements
    positions : collection of tuple of int
        In the chunk grid.
    progress : callable, optional
        Called with the number of chunks done.

    Returns
    -------
    dict
        Empty for arrays of which nothing is noted.

    Raises
    ------
    ChunkError
        If a chunk cannot be read.
    """
    rule = rule_of(elements.metadata)
    found: dict[Position, AnyArray] = {}
    if rule is None or not positions:
        return found
    make = _whole_reader if elements.shards is not None else _chunk_reader

    def make_worker() -> Callable[[Position], None]:
        read = make(elements, rule)

        def look(position: Position) -> None:
            found[position] = read(position)

        return look

    nbytes = max(1, int(np.prod(elements.metadata.chunks, dtype=float)) * elements.dtype.itemsize)
    executor.run(list(positions), make_worker, part_nbytes=nbytes, workers=elements.n_workers, progress=progress)
    return found


def _chunk_reader(elements: Elements, rule: Rule) -> Callable[[Position], AnyArray]:
    """A function for one thread from a chunk's position to its row."""
    out = _memory_for(elements)
    seen: list[int | None] = []
    is_short = is_checksummed(elements.metadata)

    def note(value: Buffer | None) -> None:
        seen.append(digest_of(value, is_checksummed=is_short))

    read_part = elements.part_reader(out, note)

    def read(position: Position) -> AnyArray:
        seen.clear()
        there = tuple(slice(0, part.stop - part.start) for part in inside(elements, position))
        read_part(Part(position, there, there, True))
        return row_of(rule, seen[0], rule.facts(out[there]))

    return read


def _memory_for(elements: Elements) -> AnyArray:
    """Memory for one chunk."""
    try:
        return np.empty(elements.chunks, elements.dtype)
    except (MemoryError, ValueError) as error:
        raise ChunkError(
            "a chunk does not fit in memory",
            path=elements.store.path,
            key=elements.path or "/",
            found=f"{elements.chunks} of {elements.dtype}",
        ) from error


def _whole_reader(elements: Elements, rule: Rule) -> Callable[[Position], AnyArray]:
    """The same for shards, whose parts are read by themselves: from a copy of the value that the digest is of."""

    def read(position: Position) -> AnyArray:
        key = elements.chunk_key(position)
        value = get_at_most(elements.store, key, elements.most_chunk_nbytes)
        copy = MemoryStore()
        if value is not None:
            copy.set(key, value)
        read = elements.through(copy).read(inside(elements, position))
        return row_of(rule, digest_of(value, is_checksummed=False), rule.facts(np.asarray(read)))

    return read
