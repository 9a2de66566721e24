"""Statistics of chunks that were written are kept right: their rows are made of the chunks as they are stored."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import prod

from zarrds.chunk_statistics.building import (
    MAX_CHUNKS,
    Position,
    WrittenFacts,
    has_rows,
    rows_of_stored,
    rows_of_written,
)
from zarrds.chunk_statistics.facts import Facts
from zarrds.chunk_statistics.record import put_rows
from zarrds.engine.elements import Elements
from zarrds.metadata.extension import is_replaced
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.nodes.documents import own_node
from zarrds.metadata.nodes.locking import locked
from zarrds.storage.protocol import Store, Values

__all__ = ["Touched", "put_rows_in_place", "put_rows_of", "put_statistics"]


@dataclass(frozen=True, slots=True)
class Touched:
    """The elements of an array that are written: where they begin, and how many along each dimension.

    `written` takes the facts of chunks as they are written; None where others could write to them before the rows are
    made, or where they are not stored as they are.
    """

    path: str
    after: ArrayMetadata
    start: tuple[int, ...]
    shape: tuple[int, ...]
    written: WrittenFacts | None = None

    def positions(self) -> list[Position] | None:
        """Of the chunks that they lie in; None if there are too many."""
        ranges = [
            range(start // chunk, -(-(start + n) // chunk)) if n else range(0)
            for start, n, chunk in zip(self.start, self.shape, self.after.chunks, strict=True)
        ]
        return list(itertools.product(*ranges)) if prod(map(len, ranges)) <= MAX_CHUNKS else None


def put_statistics(store: Store, values: Values, touched: Iterable[Touched]) -> None:
    """Make the rows of the chunks that were written, and of no others; chunks that were written in parts are read.

    Parameters
    ----------
    store : Store
        Where the statistics are of what was there before.
    values : Values
        Where the chunks are by now, and what takes the rows: changes of the store that are staged.
    touched : iterable of Touched
    """
    for each in touched:
        positions = each.positions()
        if positions is not None:
            written = {} if each.written is None else each.written.found
            put_rows_of(store, values, each.path, each.after, positions, written)


def put_rows_of(
    store: Store,
    values: Values,
    path: str,
    metadata: ArrayMetadata,
    positions: Collection[Position],
    written: Mapping[Position, Facts | None] | None = None,
) -> None:
    """The same for chunks by their positions; of those in `written` the facts are known, the others are read."""
    if not has_rows(metadata):
        return
    elements = Elements(values, path, metadata)
    known = written or {}
    left = [position for position in positions if position not in known]
    rows = rows_of_stored(elements, left) | rows_of_written(elements, known)
    put_rows(store, values, path, metadata, rows.items())


def put_rows_in_place(store: Store, path: str, metadata: ArrayMetadata, positions: Collection[Position]) -> None:
    """Make the rows of chunks that were written where they are, to which others may write at any time.

    Rows are made of what is stored then, without the store's lock: whoever writes a chunk later gives it another
    digest. Of an array that was replaced or has another shape by now none are put.

    Parameters
    ----------
    store : Store
    path : str
    metadata : ArrayMetadata
        As the array was when the chunks were written.
    positions : collection of tuple of int
    """
    if not has_rows(metadata):
        return
    rows = rows_of_stored(Elements(store, path, metadata), positions)
    if not rows:
        return
    with locked(store):
        now = own_node(store, path, metadata)
        if isinstance(now, ArrayMetadata) and not is_replaced(metadata, now) and now.shape == metadata.shape:
            put_rows(store, store, path, now, rows.items())
