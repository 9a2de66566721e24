"""The threads of zarrds: one pool for all that is done side by side, be it chunks, documents or whole variables.

The caller works too, so that all gets done also where it is itself a thread of the pool, and where none is free.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["MOST", "answers_of", "errors_of", "repeated", "side_by_side", "start"]

A = TypeVar("A")
R = TypeVar("R")

MOST = 128  # threads, and so the requests that are under way at once

_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def _threads() -> ThreadPoolExecutor:
    """The pool; its threads are started when they are first needed."""
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(MOST, "zarrds")
        return _pool


def start(call: Callable[..., None], *args: object) -> Future[None]:
    """Have a thread of the pool do something.

    Raises
    ------
    RuntimeError
        If no thread can be started.
    """
    while True:
        pool = _threads()
        try:
            return pool.submit(call, *args)
        except RuntimeError:
            if pool is _pool:
                raise
            # it was retired by another thread, just now
        except BaseException:
            _retire(pool)
            raise


def _retire(pool: ThreadPoolExecutor) -> None:
    """Let a pool go that was interrupted as it started a thread, perhaps before it had noted that thread.

    Such a thread would wait for work for ever, and Python at its end for it.
    """
    global _pool
    with _pool_lock:
        if _pool is pool:
            _pool = None
    pool.shutdown(wait=False)


def _forget_threads() -> None:
    # a forked child has none of its parent's threads, and perhaps a lock that one of them held
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def errors_of(helpers: Sequence[Future[None]], stop: Callable[[], None]) -> list[BaseException]:
    """What helpers raised, once all of them have ended; those that never began are called off.

    `stop` is called if the waiting is interrupted, as by Ctrl-C.
    """
    begun = [helper for helper in helpers if not helper.cancel()]
    try:
        return [error for helper in begun if (error := helper.exception()) is not None]
    except BaseException:
        stop()
        raise


@contextmanager
def repeated(call: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call something again and again, in a thread of its own, as long as the body lasts."""
    has_ended = threading.Event()

    def repeat() -> None:
        while not has_ended.wait(seconds):
            call()

    thread = threading.Thread(target=repeat, name="zarrds", daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


def side_by_side(call: Callable[[A], R], things: Sequence[A], most: int = MOST) -> list[R]:
    """The answers of `call` for each of `things`, in their order; for calls that wait for a network.

    Parameters
    ----------
    call : callable
    things : sequence
    most : int
        Calls at once.

    Raises
    ------
    Exception
        The first that a call raised; what was not begun is then left.

    Examples
    --------
    >>> side_by_side(str.upper, ["a", "b"])
    ['A', 'B']
    """
    if len(things) <= 1:
        return [call(each) for each in things]
    answers: dict[int, R] = {}
    numbers = iter(range(len(things)))
    lock = threading.Lock()
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                answers[number] = call(things[number])
            except BaseException:
                stopped.set()
                raise

    helpers: list[Future[None]] = []
    try:
        for _ in range(min(most, MOST, len(things)) - 1):
            try:
                helpers.append(start(work))
            except RuntimeError:  # no thread can be started, as when the interpreter is on its way out
                break
        work()
    finally:
        errors = errors_of(helpers, stopped.set)
    if errors:
        raise errors[0]
    return [answers[number] for number in range(len(things))]


def answers_of(calls: Sequence[Callable[[], R]]) -> list[R]:
    """The answers of some calls that wait for a network, in their order; see `side_by_side`."""
    return side_by_side(lambda call: call(), calls)
