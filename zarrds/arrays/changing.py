"""What changes an array and its document in one step: other attributes, another shape, elements behind the last.

All of them hold the store's lock, and begin by reading the document again: what others have changed is not undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zarrds.arrays.attributes import Change
from zarrds.arrays.in_place import InPlace, check_same
from zarrds.arrays.layout import integers
from zarrds.arrays.resizing import edges_outside, keys_outside
from zarrds.codecs.base import AnyArray
from zarrds.engine.elements import Elements
from zarrds.errors import NodeNotFoundError, SelectionError
from zarrds.metadata.extension import ORDER, STATISTICS, note_of, with_note, with_shape
from zarrds.metadata.fetched import prefetched
from zarrds.metadata.fields import MAX_SIZE, Raw
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.nodes.documents import document_key, keys_of, open_nodes, own_raw, parsed
from zarrds.metadata.nodes.locking import locked
from zarrds.metadata.nodes.lookup import get_array
from zarrds.metadata.nodes.transaction import Transaction
from zarrds.metadata.rectilinear import check_can_be_written
from zarrds.storage.protocol import Store

__all__ = ["appended", "resized", "with_changed_attributes", "without_order"]


@dataclass(frozen=True, slots=True)
class _Standing:
    """An array as it is now; the caller holds the lock of its store.

    Attributes
    ----------
    store : Store
    path : str
    metadata : ArrayMetadata
    raw : JSON object
        Its own documents.
    values : InPlace
    """

    store: Store
    path: str
    metadata: ArrayMetadata
    raw: Raw
    values: InPlace

    def note_rows(
        self, transaction: Transaction, after: ArrayMetadata, written: Elements, parts: Iterable[tuple[slice, ...]]
    ) -> bool:
        """Keep statistics right of chunks of which parts are there, staged; False if the array has none."""
        if note_of(after, STATISTICS) is not True:
            return False
        from zarrds.chunk_statistics.keeping import put_rows_of

        values = transaction.values
        touched = {position for part in parts for position in written.positions_of(part)}
        there = [position for position in sorted(touched) if values.identity(written.chunk_key(position)) is not None]
        put_rows_of(self.store, values, self.path, after, there)
        return True

    def commit(self, transaction: Transaction, after: ArrayMetadata) -> ArrayMetadata:
        """Make a change of the array and of its document, together."""
        known = {self.path: self.raw}
        transaction.put_nodes({self.path: after}, like=after, consolidate=False, known=known)
        self.values.check()
        transaction.commit()
        return after


def _standing(store: Store, path: str, opened: ArrayMetadata) -> _Standing:
    """Look again. Raises `ConflictError` if another array stands there, `NodeNotFoundError` if there is none."""
    seen = prefetched(store, keys_of([path], opened))
    version = seen.identity(document_key(path, opened))
    raw = own_raw(seen, path, opened)
    if raw is None:
        get_array(store, open_nodes(store, like=opened, consolidated=False, is_locked=True), path)
        raise NodeNotFoundError("no such array", path=store.path, key=path or "/")
    node = parsed(store, path, opened, raw)
    if not isinstance(node, ArrayMetadata):
        raise NodeNotFoundError("this is a group, not an array", path=store.path, key=path or "/")
    check_same(store, path, opened, node)
    return _Standing(store, path, node, raw, InPlace(store, store, path, node, version=version))


def with_changed_attributes(store: Store, path: str, opened: ArrayMetadata, change: Change) -> ArrayMetadata:
    """Change attributes; returns the metadata after that."""
    with locked(store, begins=True):
        there = _standing(store, path, opened)
        with Transaction(store) as transaction:
            return there.commit(transaction, replace(there.metadata, attributes=change(there.metadata.attributes)))


def without_order(store: Store, path: str, opened: ArrayMetadata) -> ArrayMetadata:
    """Note nothing more of the order of labels that are about to be written; returns the metadata after that."""
    with locked(store, begins=True):
        there = _standing(store, path, opened)
        after = with_note(there.metadata, ORDER, None)
        if after is there.metadata:
            return after
        with Transaction(store) as transaction:
            return there.commit(transaction, after)


def resized(
    store: Store, path: str, opened: ArrayMetadata, shape: int | Sequence[int], n_workers: int | None
) -> ArrayMetadata:
    """Change the shape: what is new holds the fill value, what is outside is deleted. Returns the metadata after that.

    Raises
    ------
    SelectionError
        For what is no shape of an array of so many dimensions.
    """
    with locked(store):
        there = _standing(store, path, opened)
        before = there.metadata
        check_can_be_written(before.edges, path, store.path)
        new_shape = integers(shape, "shape")
        if len(new_shape) != len(before.shape) or any(not 0 <= size <= MAX_SIZE for size in new_shape):
            raise SelectionError(
                "not a shape for this array",
                path=store.path,
                key=path,
                expected=f"{len(before.shape)} sizes from 0 to 2**63 - 1",
                found=new_shape,
            )
        after = with_shape(before, new_shape)
        # where it grows, what a writer that died, or another library, has left there
        largest = replace(before, shape=tuple(map(max, before.shape, new_shape)))
        least = tuple(map(min, before.shape, new_shape))
        edges = list(edges_outside(largest, least))
        here = Elements(store, path, largest, n_workers=n_workers)
        keys = {key for edge in edges for key in here.chunk_keys_of(edge)}
        # who writes into a chunk at the edge meanwhile must not be undone
        with store.lock(*keys) if keys else nullcontext(), Transaction(store) as transaction:
            transaction.look(keys)
            transaction.delete(keys_outside(store, path, largest, least))
            # a chunk that is absent stays so: it is the fill value already, or lost, which must not be hidden
            elements = Elements(
                transaction.values,
                path,
                largest,
                n_workers=n_workers,
                missing_chunks="fill",
                write_empty_chunks=False,
            )
            fill = np.empty((), here.dtype)
            fill[()] = here.fill_value
            for edge in edges:
                elements.write(edge, fill)
            if not there.note_rows(transaction, after, elements, edges) and least == before.shape:
                transaction.only_adds(keys)
            return there.commit(transaction, after)


def appended(
    store: Store, path: str, opened: ArrayMetadata, values: Any, axis: int, elements_of: Callable[[Any], Elements]
) -> ArrayMetadata:
    """Write values behind an array along an axis; returns the metadata after that.

    Parameters
    ----------
    store : Store
    path : str
    opened : ArrayMetadata
    values : array-like
    axis : int
    elements_of : callable
        What reads and writes an array of some metadata.

    Raises
    ------
    SelectionError
        If there is no such axis, or the values do not fit along the others.
    """
    with locked(store, begins=True):
        there = _standing(store, path, opened)
        before = there.metadata
        check_can_be_written(before.edges, path, store.path)
        added = elements_of(before).as_values(values)
        axis = _checked_axis(there, added, axis)
        start = before.shape[axis]
        if start + added.shape[axis] > MAX_SIZE:
            raise SelectionError(
                "an array has no room for so many elements", path=store.path, key=path, expected="at most 2**63 - 1"
            )
        shape = (*before.shape[:axis], start + added.shape[axis], *before.shape[axis + 1 :])
        after = with_shape(before, shape, is_written=True)
        longer = elements_of(after)
        new = (*(slice(None),) * axis, slice(start, None))
        # who writes into a chunk at the edge meanwhile must not be undone
        edge = tuple(slice(start, start + 1) if i == axis else slice(0, size) for i, size in enumerate(shape))
        keys = list(longer.chunk_keys_of(edge)) if added.size and start % after.chunks[axis] else []
        with store.lock(*keys) if keys else nullcontext(), Transaction(store) as transaction:
            transaction.look(keys)
            longer.through(transaction.values).write(new, added)
            if not there.note_rows(transaction, after, longer, [new]):
                transaction.only_adds(keys)
            return there.commit(transaction, after)


def _checked_axis(there: _Standing, added: AnyArray, axis: int) -> int:
    """The axis, counted from the front; raises if `added` does not fit."""
    shape = there.metadata.shape
    asked = integers(axis, "axis")
    if len(asked) != 1 or not -len(shape) <= asked[0] < len(shape):
        raise SelectionError("no such axis", path=there.store.path, key=there.path, found=f"{axis!r:.80}")
    (axis,) = asked
    axis %= len(shape)
    expected = (*shape[:axis], added.shape[axis] if added.ndim > axis else 0, *shape[axis + 1 :])
    if added.shape != expected:
        raise SelectionError(
            f"values do not fit the array along every axis but {axis}",
            path=there.store.path,
            key=there.path,
            expected=f"shape {expected}",
            found=f"shape {added.shape}",
        )
    return axis
