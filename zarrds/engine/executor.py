"""Runs a plan: the one place where zarrds uses threads.

The caller works too, so a plan always gets done, also when it is run from inside another one. Each worker takes a
batch of parts at a time and has buffers of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, ParamSpec, Protocol, TypeVar

from zarrds.engine.selection import Part

__all__ = ["Progress", "Worker", "in_thread", "run"]

# called with the number of chunks done, from any thread
Progress = Callable[[int], object]
Worker = Callable[[Part], None]
Job = TypeVar("Job")
Job_co = TypeVar("Job_co", covariant=True)
P = ParamSpec("P")
T = TypeVar("T")

# below this many bytes in all, waking a thread costs more than it brings
_SERIAL_NBYTES = 256 * 1024
_MAX_BATCH = 64
_MAX_THREADS = 64

_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


class Plan(Protocol[Job_co]):
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Job_co]: ...


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(_MAX_THREADS, "zarrds")
        return _pool


def _forget_threads() -> None:
    # a forked child has none of its parent's threads, and perhaps a lock that one of them held
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def n_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Batches(Generic[Job]):
    """Hands out a plan's parts, a batch at a time, to any number of threads, until one of them fails."""

    def __init__(self, plan: Plan[Job], n_workers: int) -> None:
        self._parts = iter(plan)
        self._left = len(plan)
        self._n_workers = n_workers
        self._lock = threading.Lock()
        self.failed = False

    def take(self) -> list[Job]:
        with self._lock:
            # smaller ones towards the end, so that nobody has much left to do when the others are done
            size = max(1, min(_MAX_BATCH, self._left // (4 * self._n_workers)))
            self._left -= size
            return [] if self.failed else list(itertools.islice(self._parts, size))


def _work(batches: _Batches[Job], make_worker: Callable[[], Callable[[Job], None]], progress: Progress | None) -> None:
    try:
        worker = None
        while batch := batches.take():
            worker = worker or make_worker()
            for part in batch:
                if batches.failed:
                    return
                worker(part)
            if progress is not None:
                progress(len(batch))
    except BaseException:
        batches.failed = True
        raise


def run(
    plan: Plan[Job],
    make_worker: Callable[[], Callable[[Job], None]],
    *,
    part_nbytes: int,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Do all parts of a plan, in any order.

    Parameters
    ----------
    plan : sized iterable
        Of parts: chunks of an array (`Part`), or whole arrays, or what else there is to do.
    make_worker : callable
        Called once in each thread that takes part; makes the function that does one part.
    part_nbytes : int
        Roughly the bytes of one part.
    workers : int, optional
        How many threads, the caller's among them; one for each core unless said. 1 works serially.
    progress : callable, optional
        Called with the number of parts done, after each batch.

    Raises
    ------
    Exception
        The first that a worker raised; parts that were not begun are then left.
    """
    n_parts = len(plan)
    limit = n_cores() if workers is None else workers
    if workers is None and n_parts * part_nbytes < _SERIAL_NBYTES:
        limit = 1
    n = max(1, min(limit, n_parts, _MAX_THREADS))
    batches = _Batches(plan, n)
    helpers: list[Future[None]] = []
    try:
        try:
            while len(helpers) < n - 1:
                helpers.append(_threads().submit(_work, batches, make_worker, progress))
        except RuntimeError:
            batches.failed = True
            if helpers:
                raise
            # no thread can be started, as when the interpreter is on its way out: the caller works alone
            batches = _Batches(plan, 1)
        _work(batches, make_worker, progress)
    finally:
        # a helper that never began finds nothing left to do; one that began must end before its buffers may go
        begun = [helper for helper in helpers if not helper.cancel()]
        try:
            errors = [error for helper in begun if (error := helper.exception()) is not None]
        except BaseException:  # Ctrl-C while waiting
            batches.failed = True
            raise
    if errors:
        raise errors[0]


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do `work` in a thread, for callers that have an event loop to keep running."""
    return await asyncio.to_thread(work, *args, **kwargs)
