"""Statistics of the chunks that a save has written: made of the chunks as they are stored, and staged beside them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

from zarrds.chunk_statistics.building import MAX_CHUNKS, WrittenFacts, has_rows, rows_of_stored, rows_of_written
from zarrds.chunk_statistics.record import STATISTICS, put_rows
from zarrds.datasets.encoding.lossy_codecs import changes_elements
from zarrds.datasets.writing.update import ArrayChange
from zarrds.engine.elements import Elements
from zarrds.metadata.extension import note_of, with_note
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.protocol import Store, Values

__all__ = ["Touched", "noted", "put_statistics", "touched_by"]


@dataclass(frozen=True, slots=True)
class Touched:
    """The elements of an array that a save writes: where they begin, and how many along each dimension.

    `written` takes the facts of chunks as they are written; None where others could write to them before the rows are
    made, or where they are not stored as they are.
    """

    path: str
    after: ArrayMetadata
    start: tuple[int, ...]
    shape: tuple[int, ...]
    written: WrittenFacts | None


Changes: TypeAlias = Iterable[tuple[str, ArrayChange]]


def noted(change: ArrayChange, after: ArrayMetadata, statistics: bool | None) -> ArrayMetadata:
    """The metadata of an array, with the note that it has statistics, where a save makes or keeps such."""
    if statistics is None or not has_rows(after):
        return after
    return with_note(after, STATISTICS, True if statistics else None)


def touched_by(changes: Changes, after: dict[str, ArrayMetadata], *, in_place: bool = False) -> list[Touched]:
    """What changes write of arrays that are noted to have statistics."""
    return [
        Touched(path, after[path], change.start, change.variable.shape, None if in_place else _facts_of(after[path]))
        for path, change in changes
        if note_of(after[path], STATISTICS) is True
    ]


def _facts_of(metadata: ArrayMetadata) -> WrittenFacts | None:
    is_kept = metadata.data_type.dtype.kind in "biufmM" and not changes_elements(metadata)
    return WrittenFacts(metadata) if is_kept else None


def put_statistics(store: Store, values: Values, touched: Iterable[Touched]) -> None:
    """Make the rows of the chunks that were written, and of no others; chunks that were written in parts are read.

    Parameters
    ----------
    store : Store
        Where the statistics are of what was there before.
    values : Values
        Where the chunks are by now, and what takes the rows: the store, or changes of it that are staged.
    touched : iterable of Touched
    """
    for each in touched:
        elements = Elements(values, each.path, each.after, is_private=True)
        ranges = [
            range(start // chunk, -(-(start + n) // chunk)) if n else range(0)
            for start, n, chunk in zip(each.start, each.shape, each.after.chunks, strict=True)
        ]
        if prod(map(len, ranges)) <= MAX_CHUNKS:
            facts = {} if each.written is None else each.written.found
            left = [position for position in itertools.product(*ranges) if position not in facts]
            rows = rows_of_stored(elements, left) | rows_of_written(elements, facts)
            put_rows(store, values, each.path, each.after, rows.items())
