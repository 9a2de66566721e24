"""Statistics of the chunks that a save has written: made of the chunks as they are stored, and staged beside them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

from zarrds.chunk_statistics.building import MAX_CHUNKS, WrittenFacts, has_rows, rows_of_stored, rows_of_written
from zarrds.chunk_statistics.record import STATISTICS, put_rows
from zarrds.codecs.base import AnyArray
from zarrds.datasets.encoding.lossy_codecs import changes_elements
from zarrds.datasets.writing.changes import ArrayChange
from zarrds.engine.elements import Elements
from zarrds.metadata.documents import locked, own_node
from zarrds.metadata.extension import is_replaced, note_of, with_note
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.protocol import Store, Values

__all__ = ["Touched", "all_of", "put_statistics", "put_statistics_in_place", "touched_by", "with_statistics"]


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


def with_statistics(metadata: ArrayMetadata, statistics: bool | None) -> ArrayMetadata:
    """The metadata of an array, with the note that it has statistics, or without; as it is for None."""
    if statistics is None or not has_rows(metadata):
        return metadata
    return with_note(metadata, STATISTICS, True if statistics else None)


def touched_by(changes: Changes, after: Mapping[str, ArrayMetadata], *, in_place: bool = False) -> list[Touched]:
    """What changes write of arrays that are noted to have statistics."""
    return [
        Touched(path, after[path], change.start, change.variable.shape, None if in_place else _facts_of(after[path]))
        for path, change in changes
        if note_of(after[path], STATISTICS) is True
    ]


def all_of(path: str, metadata: ArrayMetadata) -> Touched | None:
    """All of an array that is written anew where nobody else sees it; None if it is not noted to have statistics."""
    if note_of(metadata, STATISTICS) is not True:
        return None
    return Touched(path, metadata, (0,) * len(metadata.shape), metadata.shape, _facts_of(metadata))


def _facts_of(metadata: ArrayMetadata) -> WrittenFacts | None:
    is_kept = metadata.data_type.dtype.kind in "biufmM" and not changes_elements(metadata)
    return WrittenFacts(metadata) if is_kept else None


def _rows_of(values: Values, touched: Touched) -> dict[tuple[int, ...], AnyArray] | None:
    """The rows of the chunks that were written; None if there are too many."""
    ranges = [
        range(start // chunk, -(-(start + n) // chunk)) if n else range(0)
        for start, n, chunk in zip(touched.start, touched.shape, touched.after.chunks, strict=True)
    ]
    if prod(map(len, ranges)) > MAX_CHUNKS:
        return None
    elements = Elements(values, touched.path, touched.after)
    facts = {} if touched.written is None else touched.written.found
    left = [position for position in itertools.product(*ranges) if position not in facts]
    return rows_of_stored(elements, left) | rows_of_written(elements, facts)


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
        rows = _rows_of(values, each)
        if rows is not None:
            put_rows(store, values, each.path, each.after, rows.items())


def put_statistics_in_place(store: Store, touched: Iterable[Touched]) -> None:
    """The same for chunks that were written where they are, to which others may write at any time.

    Rows are made of what is stored then, without the store's lock: whoever writes a chunk later gives it another
    digest. Of an array that was replaced or has another shape by now none are put.
    """
    for each in touched:
        rows = _rows_of(store, replace(each, written=None))
        if rows is None:
            continue
        with locked(store):
            now = own_node(store, each.path, each.after.zarr_format)
            if not isinstance(now, ArrayMetadata) or is_replaced(each.after, now) or now.shape != each.after.shape:
                continue
            put_rows(store, store, each.path, now, rows.items())
