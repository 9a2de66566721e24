"""Data of dask that is computed some other day, into arrays whose documents are in place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from zarrds.chunk_statistics.keeping import Touched
from zarrds.datasets.writing.changes import ArrayChange, WriteOptions
from zarrds.datasets.writing.commit.array_writes import writes_of
from zarrds.datasets.writing.commit.conflicts import check_not_replaced
from zarrds.datasets.writing.commit.noting import is_complete, put_statistics_in_place, touched_by
from zarrds.datasets.writing.commit.writes import compute_writes
from zarrds.errors import StoreIOError, UnsupportedError
from zarrds.metadata.extension import marks_of, with_marks
from zarrds.metadata.model import ArrayMetadata, Node
from zarrds.metadata.nodes.documents import own_node
from zarrds.metadata.nodes.locking import locked
from zarrds.metadata.nodes.transaction import change_documents
from zarrds.storage.protocol import Store

__all__ = ["finish_later"]


def finish_later(
    store: Store, nodes: Mapping[str, ArrayMetadata], arrays: Mapping[str, ArrayChange], options: WriteOptions
) -> Any:
    """A Delayed that writes the dask arrays of changes whose documents are in place, and marks them complete then.

    Parameters
    ----------
    store : Store
    nodes : mapping of str to ArrayMetadata
        As they were committed.
    arrays : mapping of str to ArrayChange
    options : WriteOptions
    """
    try:
        from dask.delayed import delayed
    except ImportError as error:
        raise UnsupportedError("compute=False needs dask", mend="Install it: python -m pip install dask") from error

    committed = {path: nodes[path] for path in arrays}
    changes = ((path, replace(change, after=committed[path])) for path, change in arrays.items())
    writes = list(writes_of(store, changes, options, store=store))
    written = compute_writes(writes, None, options.chunkmanager_store_kwargs or {}, compute=False)
    whole = [
        path
        for path, change in arrays.items()
        if options.writes_empty(change) and is_complete(replace(change, before=change.before or nodes[path]))
    ]
    return delayed(_finish)(written, store, committed, whole, touched_by(arrays.items(), committed, in_place=True))


def _finish(
    _written: object,
    store: Store,
    arrays: Mapping[str, ArrayMetadata],
    whole: Collection[str],
    touched: Iterable[Touched],
) -> None:
    """Mark those arrays complete that were written as a whole, unless another writer has changed their shape since."""
    put_statistics_in_place(store, touched)
    with locked(store):
        check_not_replaced(store, arrays)
        nodes: dict[str, Node] = {}
        for path in whole:
            there = own_node(store, path, arrays[path])
            if isinstance(there, ArrayMetadata) and there.shape == arrays[path].shape:
                nodes[path] = with_marks(there, replace(marks_of(there), complete=there.shape))
        if nodes:
            try:
                change_documents(store, nodes)
            except StoreIOError:
                check_not_replaced(store, arrays)  # that may be why
                raise
