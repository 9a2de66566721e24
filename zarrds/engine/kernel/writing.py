"""Batches of chunks that the kernel writes; what it leaves is written one by one."""

from __future__ import annotations

import os

import numpy as np

from zarrds.engine.executor import BatchWorker, Stopped, Worker
from zarrds.engine.kernel.job import NativeJob, address
from zarrds.engine.kernel.library import Library
from zarrds.engine.plans import Batch, Rows
from zarrds.storage.local.store import LocalStore

__all__ = ["chunk_writer"]


def chunk_writer(kernel: Library, job: NativeJob, store: LocalStore, write: Worker) -> BatchWorker:
    """A function that writes a batch of chunks.

    Parameters
    ----------
    kernel : Library
    job : NativeJob
        With memory.
    store : LocalStore
    write : callable
        Writes one chunk in Python, with all its locks and errors.
    """

    def work(batch: Batch, stopped: Stopped) -> None:
        n = len(batch)
        rows: Rows = batch.rows()
        statuses = np.empty(n, np.uint8)
        how = store.written_by_others()
        if how is None:
            statuses[:] = 1
        else:
            job.job.stamp = how.stamp
            job.job.unfinished = None if how.name is None else os.fsencode(how.name)
            job.job.unfinished_folder = None if how.folder is None else os.fsencode(how.folder)
            kernel.write(job.reference, n, address(rows), address(statuses))
        for number in np.flatnonzero(statuses).tolist():
            if stopped():
                return
            write(batch.part(number))

    return work
