"""``zarrds.verify``: reads all of a store, says what is wrong with it, and mends what is safe to mend."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from zarrds.arguments import check_flags, check_numbers
from zarrds.checks.labels import check_labels
from zarrds.checks.report import Finding, Report
from zarrds.checks.statistics import notes_of_statistics
from zarrds.checks.stores import Nodes, verify_arrays
from zarrds.engine.progress import ProgressOption
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store

__all__ = ["verify"]


def verify(
    store: str | os.PathLike[str] | Store,
    *,
    repair: bool = False,
    progress: ProgressOption = False,
    workers: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Report:
    """Read every chunk and every document of a store, and report what is wrong.

    Errors are what readers suffer from: chunks that cannot be decoded or are lost, documents and codecs that cannot be
    read, consolidated metadata that does not say what the documents say, dimensions of several sizes in one group, and
    what is noted of labels (their order, their kind, the indexes that they make) and is not true of them.
    Warnings are what lies there unseen: stray files, chunks outside of their array, what dead writers left. Statistics
    of chunks that changed since are no fault, since they are never believed: `Report.notes` says where they are.

    Parameters
    ----------
    store : str, os.PathLike or Store
        A path, a URL or a store object.
    repair : bool
        Mend what can be mended without touching a chunk: changes that a dead writer had begun to put in place are
        finished; what dead writers staged is removed, and so are unfinished files, and copies to this place, to which
        nothing was written for an hour;
        consolidated metadata that does not fit is made anew from the single documents. A group without a document
        of its own, and an array without one of which chunks are left, get theirs back from consolidated metadata.
        The order of labels that is noted wrongly is noted anew, as by `zarrds.index`, or not at all where it cannot be.
        Nothing else is ever deleted or changed.
    progress : bool or callable
        True shows a progress bar (needs tqdm); a function is called with the chunks done and those to do.
    workers : int, optional
        Threads that read; as many as cores unless said, 1 for none.
    storage_options : mapping, optional
        As of `zarrds.save`.

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
    Memory is needed for a few chunks a thread, and for all categories of a variable. Of an array or group, at most a
    thousand findings of one sort are listed, and the rest counted. Others may read and write the store meanwhile:
    before anything is told of an array, its documents are looked at again, and if they were changed, so is the array.
    A chunk without checksum (the default codecs have one in v3, but not in v2) can be damaged so that it still decodes:
    nobody can tell then.

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
    check_flags(repair=repair)
    check_numbers(workers=workers)
    found = as_store(store, storage_options)

    notes: list[str] = []

    def look_further(nodes: Nodes) -> Iterable[Finding]:
        notes.extend(notes_of_statistics(found, nodes, n_workers=workers))
        return check_labels(found, nodes, repair=repair, n_workers=workers)

    report = verify_arrays(found, repair=repair, progress=progress, workers=workers, look_further=look_further)
    return replace(report, notes=tuple(notes))
