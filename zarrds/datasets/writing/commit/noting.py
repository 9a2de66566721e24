"""What a save notes of its arrays: a name for each new one, how much of it is certainly there, statistics of chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from zarrds.chunk_statistics.building import WrittenFacts, has_rows
from zarrds.chunk_statistics.keeping import Touched, put_rows_in_place
from zarrds.compat.xarray_internals import is_chunked
from zarrds.datasets.encoding.exact.lossy_codecs import changes_elements
from zarrds.datasets.writing.changes import ArrayChange, WriteOptions
from zarrds.metadata.extension import STATISTICS, marks_of, new_id, note_of, with_marks, with_note
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.protocol import Store

__all__ = ["all_of", "is_complete", "later_and_after", "put_statistics_in_place", "touched_by", "with_statistics"]

Changes: TypeAlias = Iterable[tuple[str, ArrayChange]]


def later_and_after(
    arrays: Mapping[str, ArrayChange], options: WriteOptions
) -> tuple[dict[str, ArrayChange], dict[str, ArrayMetadata]]:
    """The changes whose data is computed some other day, and the metadata of all arrays once the others are written."""
    # what replaces stored elements is written with its document
    later = {p: c for p, c in arrays.items() if not options.compute and is_chunked(c.variable) and not c.is_rewritten}
    after = {p: _marked(c, is_written=p not in later and options.writes_empty(c)) for p, c in arrays.items()}
    return later, {path: with_statistics(node, options.statistics) for path, node in after.items()}


def _marked(change: ArrayChange, *, is_written: bool) -> ArrayMetadata:
    """The metadata of a changed array, with a name for this very array, and with how much of it is certainly there."""
    marks = marks_of(change.after)
    if change.before is None:
        marks = replace(marks, id=new_id(), complete=change.after.shape if is_written else None)
    elif is_written and is_complete(change):
        marks = replace(marks, complete=change.after.shape)
    return with_marks(change.after, marks)


def is_complete(change: ArrayChange) -> bool:
    """Whether an array has all its chunks once the change is written, as far as its documents tell."""
    before = change.before
    if before is None:
        return False
    pairs = list(zip(before.shape, change.after.shape, strict=True))
    is_whole = [
        (start == 0 and size == new) or old != new
        for (old, new), start, size in zip(pairs, change.start, change.variable.shape, strict=True)
    ]
    if not all(is_whole):
        return False
    # what is overwritten has all chunks, whatever was there; what grows has them if it had them before
    complete = marks_of(before).complete
    was_complete = complete is not None and all(c >= s for c, s in zip(complete, before.shape, strict=True))
    if change.is_rewritten:
        return was_complete
    return was_complete or all(old == new for old, new in pairs)


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
