"""Statistics of the chunks that a save writes: which arrays have them, and what of these is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from zarrds.chunk_statistics.building import WrittenFacts, has_rows
from zarrds.chunk_statistics.keeping import Touched, put_rows_in_place
from zarrds.datasets.encoding.exact.lossy_codecs import changes_elements
from zarrds.datasets.writing.changes import ArrayChange
from zarrds.metadata.extension import STATISTICS, note_of, with_note
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.protocol import Store

__all__ = ["all_of", "put_statistics_in_place", "touched_by", "with_statistics"]

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


def put_statistics_in_place(store: Store, touched: Iterable[Touched]) -> None:
    """Make the rows of chunks that were written where they are; see `put_rows_in_place`."""
    for each in touched:
        positions = each.positions()
        if positions is not None:
            put_rows_in_place(store, each.path, each.after, positions)
