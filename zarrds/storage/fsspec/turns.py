"""When fsspec's file systems are asked: once more where a web server failed, and one thread after the other."""

from __future__ import annotations

import errno
import functools
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Concatenate, ParamSpec, TypeVar

from zarrds.errors import StoreIOError

__all__ = ["asked_again", "repeated", "turn_of"]

P = ParamSpec("P")
T = TypeVar("T")

_PAUSES = (0.1, 0.4, 1.6)  # seconds before what failed is asked for again
_locks: list[threading.RLock] = []


def _renew_locks() -> None:
    _locks[:] = [threading.RLock() for _ in range(64)]


_renew_locks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def turn_of(path: str) -> AbstractContextManager[object]:
    """A lock that keeps out all threads of this process that ask for the same path, and perhaps some others."""
    return _locks[hash(path) % len(_locks)]


def asked_again(ask: Callable[[], T]) -> T:
    """What is answered, asked again where a web server failed for the moment: fsspec's clients do not."""
    for pause in _PAUSES:
        try:
            return ask()
        except StoreIOError as error:
            if error.errno != errno.EAGAIN:
                raise
        time.sleep(pause)
    return ask()


def repeated(ask: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """A method of `Objects` that asks a web server again; see `asked_again`."""

    @functools.wraps(ask)
    def ask_again(self: Any, /, *args: P.args, **options: P.kwargs) -> T:
        bound = functools.partial(ask, self, *args, **options)
        return asked_again(bound) if self.asks_web else bound()

    return ask_again
