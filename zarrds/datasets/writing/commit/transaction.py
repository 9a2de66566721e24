"""Carries out what was planned for a store that exists: all of it becomes visible at once, or nothing.

New values are staged where no reader sees them; then, under the lock of the store, it is made sure that nobody changed
meanwhile what the plan was made from, and they are put in place: chunks and new arrays, the root's documents, and last
the documents of the arrays that were there. Regions alone are written in place, chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial as partial_of
from typing import Any

from zarrds.arrays.in_place import InPlace
from zarrds.chunk_statistics.keeping import Touched, put_statistics
from zarrds.compat.xarray_internals import is_chunked
from zarrds.datasets.writing.changes import ArrayChange
from zarrds.datasets.writing.commit.adding import edges_of, only_adds
from zarrds.datasets.writing.commit.conflicts import check_not_replaced, check_versions, leftovers_of, true_of_regions
from zarrds.datasets.writing.commit.moving import moved
from zarrds.datasets.writing.commit.noting import put_statistics_in_place, touched_by, with_statistics
from zarrds.datasets.writing.commit.order import with_order
from zarrds.datasets.writing.commit.plan import StorePlan
from zarrds.datasets.writing.commit.writes import Write, compute_writes, write_in_memory
from zarrds.engine.elements import Elements
from zarrds.engine.executor import run, waiting
from zarrds.engine.progress import ProgressOption, progress_bar
from zarrds.errors import ConflictError, StoreIOError, UnsupportedError, ZarrdsError
from zarrds.metadata.extension import marks_of, new_id, with_marks
from zarrds.metadata.fields import Raw
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node
from zarrds.metadata.nodes.documents import document_key, locked, own_node
from zarrds.metadata.nodes.transaction import Transaction, change_documents
from zarrds.storage.commits.committer import with_scratch
from zarrds.storage.commits.overlay import Overlay
from zarrds.storage.protocol import Store, Values

__all__ = ["Options", "carry_out", "finish_later", "marked", "write_all", "writes_of"]


# arrays of so many bytes are written by one thread, several at a time
_SMALL = 128 * 1024


@dataclass(frozen=True, slots=True)
class Options:
    """How data is written; the names are those of `zarrds.save`."""

    compute: bool = True
    write_empty_chunks: bool = True
    progress: ProgressOption = False
    workers: int | None = None
    chunkmanager_store_kwargs: Mapping[str, Any] | None = None
    statistics: bool | None = None

    def writes_empty(self, change: ArrayChange) -> bool:
        """Whether chunks that hold nothing but the fill value are written too."""
        return self.write_empty_chunks if change.write_empty_chunks is None else change.write_empty_chunks


def carry_out(
    store: Store,
    arrays: Mapping[str, ArrayChange],
    groups: Mapping[str, GroupMetadata],
    versions: Mapping[str, Hashable],
    options: Options,
    *,
    in_place: bool = False,
    replaced: str | None = None,
    check: Callable[[], None] | None = None,
    plan_again: Callable[[], StorePlan] | None = None,
    is_locked: bool = False,
    known: Mapping[str, Raw] | None = None,
) -> Any:
    """Write array and group changes, by path from the store's root.

    Parameters
    ----------
    store : Store
    arrays, groups : mapping
    versions : mapping of str to hashable
        The identities of the documents that the plan was made from, by key.
    options : Options
    in_place : bool
        Write chunk by chunk into arrays that stay as they are, as regions are.
    replaced : str, optional
        The path of a group that is replaced: what is there now goes.
    check : callable, optional
        Called at the end, when nobody else can change the store any more; raises if it is not as it should be.
    plan_again : callable, optional
        Called then if the store is not as it was: a plan of where the same data goes now. Computed data is not computed
        again.
    is_locked : bool
        Whether the caller holds the store's lock.
    known : mapping of str to JSON object, optional
        Documents of the `versions`, of arrays that are written to, by path.

    Returns
    -------
    None or Delayed

    Raises
    ------
    ConflictError
        If another writer changed the arrays meanwhile. Nothing was changed then; but of what is written in place, data
        may be.
    """
    later, after = later_and_after(arrays, replace(options, statistics=None) if in_place else options)
    now = {p: c for p, c in arrays.items() if p not in later}
    nodes: dict[str, Node] = {**groups, **{p: node for p, node in after.items() if node != arrays[p].before}}
    touched: list[Touched] = []
    with Transaction(store) as transaction:
        with _explained(store, versions):
            if in_place:
                try:
                    _write(with_scratch(store, transaction.changes), now, options, store=store, versions=versions)
                finally:
                    if not store.traits.is_remote:  # there, who has written an array has looked just now; see `InPlace`
                        check_not_replaced(store, {path: after[path] for path in now})  # if it failed, that may be why
                partial: dict[str, Hashable] = {}
            else:
                overlay = transaction.values
                partial = transaction.look({key for change in now.items() for key in _shared_keys(overlay, *change)})
                touched = touched_by(now.items(), after)
                try:
                    _write(overlay, now, options, touched=touched)
                    put_statistics(store, overlay, touched)
                    after |= {path: with_order(overlay, path, change, after[path]) for path, change in now.items()}
                except ZarrdsError:
                    check_versions(store, {**versions, **partial})  # that may be why
                    raise
                nodes |= {path: after[path] for path in now if after[path] != arrays[path].before}
        # where calls wait, that is looked at while the commit begins, unless it could be planned again
        is_late = transaction.read is not None and plan_again is None and not in_place
        if nodes or not in_place:
            with nullcontext() if is_locked else locked(store), ExitStack() as chunks:
                if partial:
                    chunks.enter_context(store.lock(*partial))
                try:
                    with _explained(store, versions), true_of_regions() if in_place else nullcontext():
                        if check is not None:
                            check()
                        if not is_late:
                            check_versions(store, {**versions, **partial})
                except ConflictError as error:
                    if plan_again is None:
                        raise
                    chunks.close()
                    return _carry_out_elsewhere(transaction, arrays, options, plan_again, error)
                new = {p: node for p, node in after.items() if arrays[p].before is None}
                leftovers = leftovers_of(store, new) if replaced is None else store.list_prefix(replaced)
                if transaction.read is not None and not (in_place or later or touched):
                    _declare(transaction, now, after, options)
                if nodes:
                    # under the lock since it was planned, it is still of that format
                    zarr_format = next(iter(nodes.values())).zarr_format if is_locked else None
                    gone = [] if replaced is None else [replaced]
                    transaction.put_nodes(nodes, gone, zarr_format=zarr_format, known=known)
                if replaced is not None or leftovers:
                    transaction.delete_all(leftovers)
                late = partial_of(check_versions, store, {**versions, **partial}) if is_late else None
                try:
                    transaction.commit(late)  # not explained: once it has begun, the versions are this save's own
                except ConflictError as error:
                    if plan_again is None:
                        raise
                    chunks.close()
                    return _carry_out_elsewhere(transaction, arrays, options, plan_again, error)
    if in_place:
        put_statistics_in_place(store, touched_by(now.items(), after, in_place=True))
    if options.compute:
        return None
    return finish_later(store, after, later, options)


def _declare(
    transaction: Transaction,
    arrays: Mapping[str, ArrayChange],
    after: Mapping[str, ArrayMetadata],
    options: Options,
) -> None:
    """Tell the transaction if all of it only adds to what is there, without holes."""
    for path, change in arrays.items():
        if not only_adds(change, after[path]) or (change.variable.size and not options.writes_empty(change)):
            return
    transaction.only_grows(edges_of(transaction.store, arrays, transaction.new_keys))


def _carry_out_elsewhere(
    transaction: Transaction,
    arrays: Mapping[str, ArrayChange],
    options: Options,
    plan_again: Callable[[], StorePlan],
    conflict: ConflictError,
) -> Any:
    """Write what was staged for a store that has changed meanwhile where it belongs now; under the store's lock."""
    computed = [path for path, change in arrays.items() if options.compute and is_chunked(change.variable)]
    try:
        plan = plan_again()
        changes = moved(plan.arrays, arrays, transaction.staged, computed)
    except ZarrdsError as error:
        raise conflict from error
    here = replace(options, progress=False, chunkmanager_store_kwargs={"scheduler": "threads"})
    options = here if computed else options
    return carry_out(transaction.store, changes, plan.groups, plan.versions, options, is_locked=True, known=plan.raws)


@contextmanager
def _explained(store: Store, versions: Mapping[str, Hashable]) -> Iterator[None]:
    """If the folder of the changes is gone, so is the store in which it was: that is the error then."""
    try:
        yield
    except StoreIOError:
        check_versions(store, versions)
        raise


def later_and_after(
    arrays: Mapping[str, ArrayChange], options: Options
) -> tuple[dict[str, ArrayChange], dict[str, ArrayMetadata]]:
    """The changes whose data is computed some other day, and the metadata of all arrays once the others are written."""
    # what replaces stored elements is written with its document
    later = {p: c for p, c in arrays.items() if not options.compute and is_chunked(c.variable) and not c.is_rewritten}
    after = {p: marked(c, is_written=p not in later and options.writes_empty(c)) for p, c in arrays.items()}
    return later, {path: with_statistics(node, options.statistics) for path, node in after.items()}


def marked(change: ArrayChange, *, is_written: bool) -> ArrayMetadata:
    """The metadata of a changed array, with a name for this very array, and with how much of it is certainly there."""
    marks = marks_of(change.after)
    if change.before is None:
        marks = replace(marks, id=new_id(), complete=change.after.shape if is_written else None)
    elif is_written and _is_complete(change):
        marks = replace(marks, complete=change.after.shape)
    return with_marks(change.after, marks)


def _is_complete(change: ArrayChange) -> bool:
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


def _write(
    values: Values,
    arrays: Mapping[str, ArrayChange],
    options: Options,
    *,
    store: Store | None = None,
    touched: Iterable[Touched] = (),
    versions: Mapping[str, Hashable] | None = None,
) -> None:
    writes = list(writes_of(values, arrays.items(), options, store=store, touched=touched, versions=versions))
    write_all(writes, sum(write.n_chunks for write in writes), options)


def writes_of(
    values: Values,
    arrays: Iterable[tuple[str, ArrayChange]],
    options: Options,
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
    options : Options
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
        key = document_key(path, change.after.zarr_format)
        elements = Elements(
            values if store is None else InPlace(store, values, path, change.after, version=known.get(key)),
            path,
            change.after,
            is_private=store is None,
            write_empty_chunks=options.writes_empty(change),
            n_workers=options.workers,
        )
        yield Write(elements, change.variable, change.start, seen.get(path))


def write_all(writes: Iterable[Write], n_chunks: int, options: Options) -> None:
    """Write data to where it goes: large arrays one by one, as they come, small ones side by side, dask in one graph.

    Parameters
    ----------
    writes : iterable of Write
    n_chunks : int
        Of all of them, for the progress bar.
    options : Options
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
        run(
            small,
            lambda: lambda write: write_in_memory(write, advance),
            part_nbytes=_SMALL,  # that many bytes take about as long as the files and folders of an array
            workers=options.workers or (waiting(small[0].elements.store) if small else None),
        )
        if chunked:
            compute_writes(chunked, advance, options.chunkmanager_store_kwargs or {}, compute=True)


def _shared_keys(values: Overlay, path: str, change: ArrayChange) -> Iterator[str]:
    """The keys of stored chunks of which a change replaces only a part."""
    elements = Elements(values, path, change.after, is_private=True)
    write = Write(elements, change.variable, change.start)
    for axis, (part, size, chunk) in enumerate(zip(write.key, change.after.shape, change.after.chunks, strict=True)):
        for edge, is_cut in (
            (part.start, part.start % chunk),
            (part.stop - 1, part.stop % chunk and part.stop != size),
        ):
            if is_cut:
                at = (*write.key[:axis], slice(edge, edge + 1), *write.key[axis + 1 :])
                yield from elements.chunk_keys_of(at)


def finish_later(
    store: Store, nodes: Mapping[str, ArrayMetadata], arrays: Mapping[str, ArrayChange], options: Options
) -> Any:
    """A Delayed that writes the dask arrays of changes whose documents are in place, and marks them complete then.

    Parameters
    ----------
    store : Store
    nodes : mapping of str to ArrayMetadata
        As they were committed.
    arrays : mapping of str to ArrayChange
    options : Options
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
        if options.writes_empty(change) and _is_complete(replace(change, before=change.before or nodes[path]))
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
            there = own_node(store, path, arrays[path].zarr_format)
            if isinstance(there, ArrayMetadata) and there.shape == arrays[path].shape:
                nodes[path] = with_marks(there, replace(marks_of(there), complete=there.shape))
        if nodes:
            try:
                change_documents(store, nodes)
            except StoreIOError:
                check_not_replaced(store, arrays)  # that may be why
                raise
