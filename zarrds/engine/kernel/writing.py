"""Batches of chunks that the kernel writes; what it leaves is written one by one."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

import numpy as np

from zarrds.engine.executor import BatchWorker, Stopped, Worker
from zarrds.engine.kernel.applies import NativeStore
from zarrds.engine.kernel.job import NativeJob, address
from zarrds.engine.kernel.library import Check, Library
from zarrds.engine.plans import Batch
from zarrds.engine.tables import Rows

__all__ = ["chunk_writer"]


_MADE_FOLDERS = 2


def chunk_writer(
    kernel: Library,
    job: NativeJob,
    place: NativeStore,
    write: Worker,
    key_of: Callable[[tuple[int, ...]], str],
) -> BatchWorker:
    """A function that writes a batch of chunks.

    Parameters
    ----------
    kernel : Library
    job : NativeJob
        With memory.
    place : NativeStore
        Its check is called when the files of a batch are there, before they get their names; if it raises, they are
        removed.
    write : callable
        Writes one chunk in Python, with all its locks and errors.
    key_of : callable
        The key of the chunk at a position.
    """
    store, check = place.folder, place.check
    failures: list[BaseException] = []

    def checked() -> int:
        try:
            if check is not None:
                check()
        except BaseException as error:  # nothing may get through C
            failures.append(error)
            return 0
        return 1

    callback = Check(checked)  # to be kept as long as C may call it

    def work(batch: Batch, stopped: Stopped) -> None:
        n = len(batch)
        rows: Rows = batch.rows()
        statuses = np.full(n, 1, np.uint8)
        how = store.written_by_others()
        job.job.stamp, job.job.sync = how.stamp, how.sync
        job.job.unfinished = None if how.name is None else os.fsencode(how.name)
        job.job.unfinished_folder = None if how.folder is None else os.fsencode(how.folder)
        job.job.check = None if check is None else ctypes.cast(callback, ctypes.c_void_p)
        answer = kernel.write(job.reference, n, address(rows), address(statuses))
        if failures:
            raise failures[0]
        if how.sync and answer == _MADE_FOLDERS:
            store.sync_above(map(key_of, zip(*rows[:, 0].tolist(), strict=True)))
        for number in np.flatnonzero(statuses).tolist():
            if stopped():
                return
            write(batch.part(number))

    return work
