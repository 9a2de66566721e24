"""``zarrds.verify``: reads all of a store, says what is wrong with it, and mends what is safe to mend."""

from __future__ import annotations

import os
from collections.abc import Iterable

from zarrds.arrays.check_chunks import Tally, check_keys
from zarrds.arrays.check_documents import format_of, mend, survey
from zarrds.arrays.report import Finding, Report, in_order
from zarrds.metadata.model import ArrayMetadata, GroupMetadata
from zarrds.stores import leftovers
from zarrds.stores.base import Store
from zarrds.stores.local import LocalStore
from zarrds.stores.resolve import as_store

__all__ = ["verify"]


def verify(
    store: str | os.PathLike[str] | Store,
    *,
    repair: bool = False,
    progress: bool = False,
    workers: int | None = None,
) -> Report:
    """Read every chunk and every document of a store, and report what is wrong.

    Errors are what readers suffer from: chunks that cannot be decoded or are lost, documents and codecs that cannot be
    read, consolidated metadata that does not say what the documents say, dimensions of several sizes in one group.
    Warnings are what lies there unseen: stray files, chunks outside of their array, what dead writers left.

    Parameters
    ----------
    store : str, os.PathLike or Store
        A path, a URL or a store object.
    repair : bool
        Mend what can be mended without touching a chunk: changes that a dead writer had begun to put in place are
        finished; what dead writers staged, and unfinished files to which nothing was written for an hour, are removed;
        consolidated metadata that does not fit is made anew from the single documents. A group without a document
        of its own, and an array without one of which chunks are left, get theirs back from consolidated metadata.
        Nothing else is ever deleted or changed.
    progress : bool
        Show a progress bar (needs tqdm).
    workers : int, optional
        Threads that read; as many as cores unless said, 1 for none.

    Returns
    -------
    Report
        Its `ok` is True if there are no errors, or all were mended; as text it has one line for each finding.

    Raises
    ------
    StoreNotFoundError
        If there is no Zarr store.
    StoreIOError
        If a folder cannot be listed or, with ``repair=True``, written, or if what a dead writer had begun to put in
        place cannot be finished. A value that cannot be read is a finding.

    Notes
    -----
    Memory is needed for a few chunks a thread. Of an array or group, at most a thousand findings of one sort are
    listed, and the rest counted. Others may read and write the store meanwhile; what they change while it is looked
    at may be reported, and is gone from the next report. A chunk without checksum (the default codecs have one in v3,
    but not in v2) can be damaged so that it still decodes: nobody can tell then.

    Examples
    --------
    >>> import zarrds
    >>> store = zarrds.MemoryStore()
    >>> zarrds.create_array(store, path="t2m", shape=8, chunks=4, dtype="f4")[...] = 280.5
    >>> report = zarrds.verify(store)
    >>> report.ok, report.n_arrays, report.n_chunks
    (True, 1, 2)
    >>> store.set("t2m/c/1", b"x")
    >>> print(zarrds.verify(store).findings[0])
    error: t2m/c/1: chunk is ...
    """
    found_store = as_store(store)
    found_store.recover()
    zarr_format = format_of(found_store)
    findings: list[Finding] = []
    if repair:
        findings += _clean(found_store)
    dead_before = set(_dead(found_store))
    nodes_found = mend(found_store, zarr_format) if repair else survey(found_store, zarr_format)
    nodes = nodes_found.nodes
    tally = Tally()
    check_keys(found_store, nodes, zarr_format, tally, progress=progress, n_workers=workers)
    # what a living writer uses comes and goes
    findings += [f for f in _dead(found_store) if f in dead_before]
    return Report(
        path=found_store.path,
        findings=in_order({*findings, *nodes_found.findings, *tally.findings}),
        n_groups=sum(isinstance(node, GroupMetadata) for node in nodes.values()),
        n_arrays=sum(isinstance(node, ArrayMetadata) for node in nodes.values()),
        n_chunks=tally.n_chunks,
        n_bytes=tally.n_bytes,
        n_absent=tally.n_absent,
    )


def _clean(store: Store) -> Iterable[Finding]:
    """Remove what dead writers left."""
    for name in store.clean():
        yield Finding("warning", name, "left behind by a writer that died", mended=True)
    root = _root(store)
    for name in [] if root is None else leftovers.remove_old(root):
        yield Finding("warning", name, "an unfinished file, left behind by a writer that died", mended=True)


def _dead(store: Store) -> Iterable[Finding]:
    """What dead writers left."""
    root = _root(store)
    if root is None:
        return
    for name in leftovers.dead(root):
        yield Finding("warning", name, "left behind by a writer that died; verify(..., repair=True) removes it")
    for found in leftovers.unfinished(root):
        if found.is_folder:
            problem = "a hidden folder without a lock file: remove it, if no zarrds is writing to this store"
        elif found.is_old:
            problem = "an unfinished file, left behind by a writer that died; verify(..., repair=True) removes it"
        else:
            problem = "an unfinished file; once it is an hour old, verify(..., repair=True) removes it"
        yield Finding("warning", found.name, problem)


def _root(store: Store) -> str | None:
    """The folder of a store that has one."""
    # not its path, which need not be absolute
    return store.root if isinstance(store, LocalStore) else None
