"""Which changes only add to what a store has: readers of the old documents read the same before and after."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from zarrds.datasets.writing.changes import ArrayChange
from zarrds.engine.chunk_io import Chunks
from zarrds.metadata.equality import is_same
from zarrds.metadata.extension import marks_of
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.nodes.documents import parents_of
from zarrds.storage.protocol import Store

__all__ = ["edges_of", "only_adds"]

_ENCODING = ("data_type", "chunks", "codecs", "chunk_key_encoding", "fill_value", "zarr_format")


def only_adds(change: ArrayChange, after: ArrayMetadata) -> bool:
    """Whether a change makes a new array, or makes one longer along one dimension by just what it writes.

    Parameters
    ----------
    change : ArrayChange
    after : ArrayMetadata
        As it is committed.
    """
    before, shape = change.before, change.variable.shape
    if before is None:
        return shape == after.shape and not any(change.start)
    if marks_of(before).id != marks_of(after).id:
        return False
    if not all(is_same(getattr(before, name), getattr(after, name)) for name in _ENCODING):
        return False
    if not change.variable.size:
        return before.shape == after.shape
    grown = [axis for axis, (old, new) in enumerate(zip(before.shape, after.shape, strict=True)) if old != new]
    expected = list(after.shape)
    start = [0] * len(expected)
    for axis in grown:
        start[axis] = before.shape[axis]
        expected[axis] -= before.shape[axis]
    return len(grown) == 1 and min(expected) >= 0 and list(change.start) == start and list(shape) == expected


def edges_of(store: Store, arrays: Mapping[str, ArrayChange], keys: Collection[str]) -> set[str]:
    """Those of some keys whose chunks lie, at least in part, inside of arrays as they were.

    Parameters
    ----------
    store : Store
    arrays : mapping of str to ArrayChange
    keys : collection of str
        Of chunks that were written.
    """
    before = {path: Chunks(store, path, change.before) for path, change in arrays.items() if change.before is not None}
    owners = ((key, before[path]) for key in keys for path in parents_of(key) if path in before)
    return {key for key, chunks in owners if chunks.position_in_grid(key) is not None}
