"""Runs plans and other jobs, in the threads of `zarrds.threads`.

The caller works too, so a plan always gets done, also when it is run from inside another one. Each worker takes a
batch at a time and has buffers of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Generic, ParamSpec, Protocol, TypeVar

from zarrds.engine.planning.plans import Batch, ChunkProjection, Plan
from zarrds.storage.protocol import Values
from zarrds.storage.traits import is_held
from zarrds.threads import MOST, errors_of, start

__all__ = [
    "BatchWorker",
    "Progress",
    "Stopped",
    "Worker",
    "in_thread",
    "memory_nbytes",
    "n_cores",
    "run",
    "run_plan",
    "run_small",
    "waiting",
]

# called with the number of chunks done, from any thread
Progress = Callable[[int], object]
Worker = Callable[[ChunkProjection], None]
# whether there is no sense in going on, because another worker failed
Stopped = Callable[[], bool]
BatchWorker = Callable[[Batch, Stopped], None]
Job = TypeVar("Job")
Work = Callable[[Job, Stopped], None]
Job_co = TypeVar("Job_co", covariant=True)
P = ParamSpec("P")
T = TypeVar("T")

# below this many bytes in all, waking a thread costs more than it brings; of more, this many are tried alone
_SERIAL_NBYTES = 256 * 1024
# seconds that other threads must spare: until they run, and take turns at the interpreter's lock, about as many go by
_WORTH_WAKING = 0.002
_MAX_BATCH = 64
# small jobs after which it is asked whether they wait for the store
_TRIED = 8
# of a plan's chunks, which are handed out as integers, as long as they are small
_MAX_CHUNKS = 2048
_BATCH_NBYTES = 8 * 2**20
# more than what is asked of `waiting`: documents, and small arrays
_SMALL_NBYTES = 2**20
# what is handed out at a time where nobody waits for a disk or a network: less takes longer to hand out than to do
_LEAST_BATCH = 512
_LEAST_NBYTES = 512 * 1024


class Jobs(Protocol[Job_co]):
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Job_co]: ...


def n_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_nbytes() -> int:
    """The memory of this machine, in bytes."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # as on Windows
        return 8 * 2**30


class _Batches(Generic[Job]):
    """Hands out batches of `n` things to any number of threads, until one of them fails.

    Parameters
    ----------
    n : int
    n_workers : int
    limit, least : int
        Things in one batch, at the most and at least; the last ones are shared equally.
    batch : callable
        Makes the batch of the things from one number to another; called in their order, by one thread at a time.
    """

    def __init__(self, n: int, n_workers: int, limit: int, least: int, batch: Callable[[int, int], Job]) -> None:
        self._n, self._n_workers, self._limit, self._least, self._batch = n, n_workers, limit, least, batch
        self._next = 0
        self._last: int | None = None
        self._lock = threading.Lock()
        self.failed = False

    def has_failed(self) -> bool:
        return self.failed

    def stop(self) -> None:
        self.failed = True

    @property
    def left(self) -> int:
        """How many things were not handed out yet."""
        return self._n - self._next

    def take(self, size: int | None = None) -> tuple[Job, int] | None:
        """The next batch, of up to `size` things where that is said, and how many it has."""
        with self._lock:
            left = self.left
            if self.failed or left <= 0:
                return None
            # smaller ones towards the end, so that nobody has much left to do when the others are done
            if size is None and self._last is None and left <= self._n_workers * self._least:
                self._last = -(-left // self._n_workers)
            share = max(self._least, left // (2 * self._n_workers))
            size = min(left, self._limit, size or self._last or share)
            start = self._next
            self._next += size
            return self._batch(start, start + size), size


def _do(batches: _Batches[Job], work: Work[Job], progress: Progress | None, size: int | None = None) -> int:
    """Do the next batch, of up to `size` jobs where that is said; how many it had, 0 where nothing is left."""
    if (taken := batches.take(size)) is None:
        return 0
    batch, n = taken
    work(batch, batches.has_failed)
    if progress is not None and not batches.failed:
        progress(n)
    return n


def _work(batches: _Batches[Job], make_worker: Callable[[], Work[Job]], progress: Progress | None) -> None:
    try:
        if batches.left:
            work = make_worker()
            while _do(batches, work, progress):
                pass
    except BaseException:
        batches.failed = True
        raise


def waiting(store: Values) -> int | None:
    """Threads for calls to a store that take most of their time waiting; None where there are none to be gained."""
    concurrency = 1 if is_held(store, _SMALL_NBYTES) else store.traits.concurrency
    return concurrency if concurrency > 1 else None


def run(
    jobs: Jobs[Job],
    make_worker: Callable[[], Callable[[Job], None]],
    *,
    part_nbytes: int,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Do all jobs, in any order.

    Parameters
    ----------
    jobs : sized iterable
        Parts of arrays, or whole arrays, or what else there is to do.
    make_worker : callable
        Called once in each thread that takes part; makes the function that does one job.
    part_nbytes : int
        Roughly the bytes of one job.
    workers : int, optional
        How many threads, the caller's among them; one for each core unless said. 1 works serially.
    progress : callable, optional
        Called with the number of jobs done, after each batch.

    Raises
    ------
    Exception
        The first that a worker raised; jobs that were not begun are then left.
    """

    def make_batch_worker() -> Callable[[list[Job], Stopped], None]:
        worker = make_worker()

        def work(batch: list[Job], stopped: Stopped) -> None:
            for job in batch:
                if stopped():
                    return
                worker(job)

        return work

    def begin() -> Callable[[int, int], list[Job]]:
        left = iter(jobs)
        return lambda start, stop: list(itertools.islice(left, stop - start))

    _run(len(jobs), begin, make_batch_worker, _MAX_BATCH, part_nbytes, workers, progress)


def run_plan(
    plan: Plan,
    make_worker: Callable[[], BatchWorker],
    *,
    chunk_nbytes: int,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Do all chunks of a plan, in any order.

    Parameters
    ----------
    plan : Plan
    make_worker : callable
        Called once in each thread that takes part; makes the function that does one batch. It should look now and then
        whether it is to stop.
    chunk_nbytes : int
        Of one chunk.
    workers, progress
        As in `run`, with chunks for jobs.

    Raises
    ------
    Exception
        The first that a worker raised; chunks that were not begun are then left.
    """
    limit = max(1, min(_MAX_CHUNKS, _BATCH_NBYTES // chunk_nbytes))
    _run(plan.n_chunks, lambda: plan.batch, make_worker, limit, chunk_nbytes, workers, progress)


def run_small(
    jobs: Iterable[Job], make_worker: Callable[[], Callable[[Job], None]], store: Values, workers: int | None = None
) -> None:
    """Do jobs that are mostly Python, as small arrays and documents are: alone, as threads would only take turns.

    Once those that are done show that most of the time goes by in waiting for the store, as a network file system, the
    others are done side by side; that need not be from the first, as those may be of what the system has at hand.

    Parameters
    ----------
    jobs : iterable
    make_worker
        As in `run`.
    store : Values
        What the jobs write to.
    workers : int, optional
        How many threads; 1, or as many as the store rewards, unless said.

    Raises
    ------
    Exception
        As `run`.
    """
    left, workers = iter(jobs), workers or waiting(store)
    if workers is None:
        worker, began, worked = make_worker(), time.perf_counter(), time.thread_time()
        for number, job in enumerate(left, 1):
            worker(job)
            if number % _TRIED == 0 and time.thread_time() - worked < (time.perf_counter() - began) / 2:
                break
    run(list(left), make_worker, part_nbytes=_SERIAL_NBYTES, workers=workers)


def _run(
    n_jobs: int,
    begin: Callable[[], Callable[[int, int], Job]],
    make_worker: Callable[[], Work[Job]],
    max_batch: int,
    job_nbytes: int,
    workers: int | None,
    progress: Progress | None,
) -> None:
    if not n_jobs:
        return
    cores, first = n_cores(), max(1, _SERIAL_NBYTES // max(job_nbytes, 1))
    n = max(1, min(cores if workers is None else workers, n_jobs, MOST))
    least = max(1, min(_LEAST_BATCH, _LEAST_NBYTES // max(job_nbytes, 1))) if n <= cores else 1
    batches, work = _Batches(n_jobs, n, max_batch, least, begin()), make_worker()
    if n == 1 or (workers is None and n_jobs <= first):
        while _do(batches, work, progress, max_batch):
            pass
    elif workers is not None or job_nbytes > _SERIAL_NBYTES or not _are_soon_done(batches, work, progress, first, n):
        _share(batches, work, make_worker, n - 1, progress)


def _are_soon_done(
    batches: _Batches[Job], work: Work[Job], progress: Progress | None, first: int, n_workers: int
) -> bool:
    """Do all jobs, if other threads would spare too little time; else some of them.

    Each batch is larger than the one before, of which the first has `first` jobs: the next ones may have to wait for a
    disk.
    """
    began, done = time.perf_counter(), 0
    while n := _do(batches, work, progress, first + 3 * done):
        done += n
        left = (time.perf_counter() - began) / done * batches.left
        if left * (1 - 1 / n_workers) > _WORTH_WAKING:
            return False
    return True


def _share(
    batches: _Batches[Job],
    work: Work[Job],
    make_worker: Callable[[], Work[Job]],
    n_helpers: int,
    progress: Progress | None,
) -> None:
    """Do what is left, together with other threads."""
    helpers: list[Future[None]] = []
    try:
        try:
            while len(helpers) < n_helpers:
                helpers.append(start(_work, batches, make_worker, progress))
        except RuntimeError:  # no thread can be started, as when the interpreter is on its way out
            if helpers:
                batches.failed = True
                raise
        _work(batches, lambda: work, progress)
    finally:
        # a helper that never began finds nothing left to do; one that began must end before its buffers may go
        errors = errors_of(helpers, batches.stop)
    if errors:
        raise errors[0]


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do `work` in a thread, for callers that have an event loop to keep running."""
    return await asyncio.to_thread(work, *args, **kwargs)
