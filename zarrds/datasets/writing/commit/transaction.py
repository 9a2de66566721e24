"""Carries out what was planned for a store that exists: all of it becomes visible at once, or nothing.

New values are staged where no reader sees them; then, under the lock of the store, it is made sure that nobody changed
meanwhile what the plan was made from, and they are put in place: chunks and new arrays, the root's documents, and last
the documents of the arrays that were there. Regions alone are written in place, chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from zarrds.chunk_statistics.keeping import Touched, put_statistics
from zarrds.compat.xarray_internals import is_chunked
from zarrds.datasets.writing.changes import ArrayChange, WriteOptions
from zarrds.datasets.writing.commit.adding import edges_of, only_adds
from zarrds.datasets.writing.commit.array_writes import write_all, writes_of
from zarrds.datasets.writing.commit.conflicts import (
    PART_WRITTEN,
    check_not_replaced,
    check_versions,
    leftovers_of,
    true_of_regions,
)
from zarrds.datasets.writing.commit.later import finish_later
from zarrds.datasets.writing.commit.moving import moved
from zarrds.datasets.writing.commit.noting import later_and_after, put_statistics_in_place, touched_by
from zarrds.datasets.writing.commit.order import with_order
from zarrds.datasets.writing.commit.plan import StorePlan
from zarrds.datasets.writing.commit.writes import Write
from zarrds.engine.elements import Elements
from zarrds.errors import ConflictError, StoreIOError, ZarrdsError
from zarrds.metadata.model import ArrayMetadata, Node
from zarrds.metadata.nodes.locking import locked
from zarrds.metadata.nodes.transaction import Transaction
from zarrds.storage.commits.committer import with_scratch
from zarrds.storage.commits.overlay import Overlay
from zarrds.storage.protocol import Store, Values

__all__ = ["carry_out"]


def carry_out(
    plan: StorePlan,
    options: WriteOptions,
    *,
    in_place: bool = False,
    replaced: str | None = None,
    check: Callable[[], None] | None = None,
    plan_again: Callable[[], StorePlan] | None = None,
    is_locked: bool = False,
) -> Any:
    """Write the changes of arrays and groups that were planned.

    Parameters
    ----------
    plan : StorePlan
    options : WriteOptions
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

    Returns
    -------
    None or Delayed

    Raises
    ------
    ConflictError
        If another writer changed the arrays meanwhile. Nothing was changed then; but of what is written in place, data
        may be.
    """
    store, arrays, versions = plan.store, plan.arrays, plan.versions
    later, after = later_and_after(arrays, replace(options, statistics=None) if in_place else options)
    now = {p: c for p, c in arrays.items() if p not in later}
    looked: dict[str, Hashable] = {}  # the identities of chunks that are changed in part
    touched: list[Touched] = []
    with Transaction(store) as transaction:
        with true_of_regions(PART_WRITTEN) if in_place else nullcontext(), _explained(store, versions):
            if in_place:
                _write_in_place(transaction, now, after, versions, options)
            else:
                values = transaction.values
                looked = transaction.look({key for change in now.items() for key in _shared_keys(values, *change)})
                touched = touched_by(now.items(), after)
                after |= _stage(store, values, now, after, {**versions, **looked}, touched, options)
        nodes: dict[str, Node] = {**plan.groups, **{p: node for p, node in after.items() if node != arrays[p].before}}
        if nodes or not in_place:
            check_all = partial(check_versions, store, {**versions, **looked})
            # where calls wait, that is looked at while the commit begins, unless it could be planned again
            is_late = transaction.read is not None and plan_again is None and not in_place

            def commit() -> None:
                with true_of_regions() if in_place else nullcontext(), _explained(store, versions):
                    if check is not None:
                        check()
                    if not is_late:
                        check_all()
                if transaction.read is not None and not (in_place or later or touched):
                    _declare(transaction, now, after, options)
                _put_nodes(transaction, plan, nodes, replaced, is_locked=is_locked)
                # not explained: once it has begun, the versions are this save's own
                transaction.commit(check_all if is_late else None)

            with nullcontext() if is_locked else locked(store):
                try:
                    with store.lock(*looked) if looked else nullcontext():
                        commit()
                except ConflictError as error:
                    if plan_again is None:
                        raise
                    return _carry_out_elsewhere(transaction, arrays, options, plan_again, error)
    if in_place:
        put_statistics_in_place(store, touched_by(now.items(), after, in_place=True))
    return None if options.compute else finish_later(store, after, later, options)


def _write_in_place(
    transaction: Transaction,
    arrays: Mapping[str, ArrayChange],
    after: Mapping[str, ArrayMetadata],
    versions: Mapping[str, Hashable],
    options: WriteOptions,
) -> None:
    """Write chunk by chunk into arrays that stay as they are, unless others take their place meanwhile."""
    store = transaction.store
    try:
        _write(with_scratch(store, transaction.changes), arrays, options, store=store, versions=versions)
    finally:
        if not store.traits.is_remote:  # there, who has written an array has looked just now; see `InPlace`
            check_not_replaced(store, {path: after[path] for path in arrays})  # if it failed, that may be why


def _stage(
    store: Store,
    values: Overlay,
    arrays: Mapping[str, ArrayChange],
    after: Mapping[str, ArrayMetadata],
    versions: Mapping[str, Hashable],
    touched: Collection[Touched],
    options: WriteOptions,
) -> dict[str, ArrayMetadata]:
    """Write into staged changes; returns the metadata of these arrays, with what is noted of the order of labels."""
    try:
        _write(values, arrays, options, touched=touched)
        put_statistics(store, values, touched)
        return {path: with_order(values, path, change, after[path]) for path, change in arrays.items()}
    except ZarrdsError:
        check_versions(store, versions)  # that may be why
        raise


def _put_nodes(
    transaction: Transaction, plan: StorePlan, nodes: Mapping[str, Node], replaced: str | None, *, is_locked: bool
) -> None:
    """Stage documents, and the deletion of what lies where new arrays or groups are to be."""
    new = {path: change.after for path, change in plan.arrays.items() if change.before is None}
    leftovers = leftovers_of(plan.store, new) if replaced is None else plan.store.list_prefix(replaced)
    if nodes:
        # under the lock since it was planned, it is still of that format
        like = next(iter(nodes.values())) if is_locked else None
        gone = [] if replaced is None else [replaced]
        transaction.put_nodes(nodes, gone, like=like, known=plan.raws)
    if replaced is not None or leftovers:
        transaction.delete_all(leftovers)


def _declare(
    transaction: Transaction,
    arrays: Mapping[str, ArrayChange],
    after: Mapping[str, ArrayMetadata],
    options: WriteOptions,
) -> None:
    """Tell the transaction if all of it only adds to what is there, without holes."""
    for path, change in arrays.items():
        if not only_adds(change, after[path]) or (change.variable.size and not options.writes_empty(change)):
            return
    transaction.only_adds(edges_of(transaction.store, arrays, transaction.new_keys))


def _carry_out_elsewhere(
    transaction: Transaction,
    arrays: Mapping[str, ArrayChange],
    options: WriteOptions,
    plan_again: Callable[[], StorePlan],
    conflict: ConflictError,
) -> Any:
    """Write what was staged for a store that has changed meanwhile where it belongs now; under the store's lock."""
    computed = [path for path, change in arrays.items() if options.compute and is_chunked(change.variable)]
    try:
        plan = plan_again()
        plan = replace(plan, arrays=moved(plan.arrays, arrays, transaction.staged, computed))
    except ZarrdsError as error:
        raise conflict from error
    here = replace(options, progress=False, chunkmanager_store_kwargs={"scheduler": "threads"})
    return carry_out(plan, here if computed else options, is_locked=True)


@contextmanager
def _explained(store: Store, versions: Mapping[str, Hashable]) -> Iterator[None]:
    """If the folder of the changes is gone, so is the store in which it was: that is the error then."""
    try:
        yield
    except StoreIOError:
        with suppress(StoreIOError):  # what was told first says more
            check_versions(store, versions)
        raise


def _write(
    values: Values,
    arrays: Mapping[str, ArrayChange],
    options: WriteOptions,
    *,
    store: Store | None = None,
    touched: Iterable[Touched] = (),
    versions: Mapping[str, Hashable] | None = None,
) -> None:
    writes = list(writes_of(values, arrays.items(), options, store=store, touched=touched, versions=versions))
    write_all(writes, sum(write.n_chunks for write in writes), options)


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
