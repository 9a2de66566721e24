"""Changes of arrays to writes of their elements, and who does them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping

from zarrds.arrays.in_place import InPlace
from zarrds.chunk_statistics.keeping import Touched
from zarrds.datasets.writing.changes import ArrayChange, WriteOptions
from zarrds.datasets.writing.commit.writes import Write, compute_writes, write_in_memory
from zarrds.engine.elements import Elements
from zarrds.engine.executor import run_small
from zarrds.engine.progress import progress_bar
from zarrds.metadata.nodes.documents import document_key
from zarrds.storage.protocol import Store, Values

__all__ = ["write_all", "writes_of"]

# arrays of up to so many bytes are written each by one thread
_SMALL = 128 * 1024


def writes_of(
    values: Values,
    arrays: Iterable[tuple[str, ArrayChange]],
    options: WriteOptions,
    *,
    store: Store | None = None,
    touched: Iterable[Touched] = (),
    versions: Mapping[str, Hashable] | None = None,
) -> Iterator[Write]:
    """What to write where, for array changes by path.

    Parameters
    ----------
    values : Store or Overlay
        What takes the chunks.
    arrays : iterable of (str, ArrayChange)
    options : WriteOptions
    store : Store, optional
        Where the arrays' documents are, if others may write to the arrays meanwhile, or replace them.
    touched : iterable of Touched
        What is told of chunks as they are written.
    versions : mapping of str to hashable, optional
        The identities, by key, of the arrays' documents as they were just read.
    """
    known = versions or {}
    seen = {each.path: each.written for each in touched}
    for path, change in arrays:
        key = document_key(path, change.after)
        elements = Elements(
            values if store is None else InPlace(store, values, path, change.after, version=known.get(key)),
            path,
            change.after,
            is_private=store is None,
            write_empty_chunks=options.writes_empty(change),
            n_workers=options.workers,
        )
        yield Write(elements, change.variable, change.start, seen.get(path))


def write_all(writes: Iterable[Write], n_chunks: int, options: WriteOptions) -> None:
    """Write data to where it goes: large arrays one by one, as they come, then small ones, dask in one graph.

    Parameters
    ----------
    writes : iterable of Write
    n_chunks : int
        Of all of them, for the progress bar.
    options : WriteOptions
    """
    with progress_bar(n_chunks, "save", enabled=options.progress) as advance:
        small: list[Write] = []
        chunked: list[Write] = []
        for write in writes:
            if write.is_chunked:
                chunked.append(write)
            elif write.variable.nbytes <= _SMALL:
                small.append(write)
            else:
                write_in_memory(write, advance)
        if small:
            store = small[0].elements.store
            run_small(small, lambda: lambda write: write_in_memory(write, advance), store, options.workers)
        if chunked:
            compute_writes(chunked, advance, options.chunkmanager_store_kwargs or {}, compute=True)
