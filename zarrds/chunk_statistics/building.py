"""Statistics of chunks that are stored already: each is read once, and looked at as it was stored then."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import TypeAlias

import numpy as np

from zarrds.chunk_statistics.digests import digest_kind, digest_of, look_at_digests, stored_digest
from zarrds.chunk_statistics.facts import Facts, Rule, rule_of
from zarrds.chunk_statistics.record import Place, row_of, rows_of
from zarrds.codecs.base import AnyArray, Buffer
from zarrds.engine import executor
from zarrds.engine.elements import Elements
from zarrds.engine.planning.plans import ChunkProjection
from zarrds.errors import ChunkError
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.memory import MemoryStore
from zarrds.storage.protocol import Store
from zarrds.storage.traits import get_at_most

__all__ = [
    "MAX_CHUNKS",
    "Position",
    "WrittenFacts",
    "has_rows",
    "inside",
    "rows_of_all",
    "rows_of_stored",
    "rows_of_written",
]

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


class WrittenFacts:
    """The facts of chunks as they are written, which are those of what is stored then; any thread may add to it.

    Parameters
    ----------
    metadata : ArrayMetadata
        Of an array of which something is noted, with codecs that change no element.
    """

    def __init__(self, metadata: ArrayMetadata) -> None:
        self._rule = rule_of(metadata)
        self.found: dict[Position, Facts | None] = {}

    def __call__(self, position: Position, elements: AnyArray) -> None:
        """Take the elements of a chunk in."""
        if self._rule is not None:
            self.found[position] = self._rule.facts(elements)


def rows_of_written(elements: Elements, facts: Mapping[Position, Facts | None]) -> dict[Position, AnyArray]:
    """The rows of chunks of which the facts are known since they were written, and nobody else can have done so since.

    Of each no more is read than its digest takes.
    """
    rule = rule_of(elements.metadata)
    if rule is None or not facts:
        return {}
    digest = stored_digest(elements)
    digests: dict[Position, int | None] = {}

    def look(position: Position) -> None:
        digests[position] = digest(position)

    look_at_digests(elements, facts, look)
    rows = rows_of(rule, list(digests.values()), [facts[position] for position in digests])
    return {position: rows[i : i + 1] for i, position in enumerate(digests)}


def rows_of_all(
    store: Store, elements: Elements, progress: executor.Progress | None = None
) -> Iterator[tuple[Place, AnyArray]]:
    """The rows of all chunks, by their places in the grid; a later one counts where two have the same.

    Chunks are listed, and those that may be absent, and are, cost nothing.

    Parameters
    ----------
    store : Store
        That of the elements.
    elements : Elements
    progress : callable, optional
        Called with the number of chunks done.

    Raises
    ------
    ChunkError
        If a chunk cannot be read, or is missing.
    """
    grid, required = elements.metadata.chunk_grid, elements.required_chunks
    positions = set(itertools.product(*map(range, map(min, required, grid))))
    if len(positions) < prod(grid):
        positions.update(p for key in store.list_prefix(elements.path) if (p := elements.chunk_position(key)))
        yield from _absent_rows(elements)
    if progress is not None:
        progress(prod(grid) - len(positions))
    yield from rows_of_stored(elements, sorted(positions), progress).items()


def _absent_rows(elements: Elements) -> Iterator[tuple[Place, AnyArray]]:
    """The rows that chunks have that are absent, which differ by how much of them lies in the array."""
    rule, metadata = rule_of(elements.metadata), elements.metadata
    if rule is None:
        return
    fill = np.empty((1,), elements.dtype)
    fill[0] = elements.fill_value
    of_one = rule.facts(fill)
    # one place along a dimension in which all chunks have as many elements of the array
    ends: list[list[tuple[slice, int]]] = [
        [(slice(0, n - 1), 0), (slice(n - 1, n), n - 1)] if n > 1 and size % chunk else [(slice(0, n), 0)]
        for n, size, chunk in zip(metadata.chunk_grid, metadata.shape, metadata.chunks, strict=True)
    ]
    for place in itertools.product(*ends):
        sizes = [part.stop - part.start for part in inside(elements, tuple(number for _, number in place))]
        yield tuple(part for part, _ in place), row_of(rule, None, _repeated(of_one, prod(sizes)))


def _repeated(facts: Facts | None, n: int) -> Facts | None:
    """The facts of so many elements of which one has these."""
    if facts is None:
        return None
    total = facts.sum.item() * n if hasattr(facts.sum, "item") else facts.sum * n
    is_kept = isinstance(total, float) or abs(total) < 2**63
    return replace(facts, count=facts.count * n, sum=total) if is_kept else None


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
    kind = digest_kind(elements.metadata)

    def note(value: Buffer | None) -> None:
        seen.append(digest_of(value, kind))

    read_part = elements.part_reader(out, note)

    def read(position: Position) -> AnyArray:
        seen.clear()
        there = tuple(slice(0, part.stop - part.start) for part in inside(elements, position))
        read_part(ChunkProjection(position, there, there, True))
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
    kind = digest_kind(elements.metadata)

    def read(position: Position) -> AnyArray:
        key = elements.chunk_key(position)
        value = get_at_most(elements.store, key, elements.most_chunk_nbytes)
        copy = MemoryStore()
        if value is not None:
            copy.set(key, value)
        read = elements.through(copy).read(inside(elements, position))
        return row_of(rule, digest_of(value, kind), rule.facts(np.asarray(read)))

    return read
