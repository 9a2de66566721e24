"""The locks of a store: between threads, and between processes through lock files, see `lock_files`.

What is held is an open file of `io`, be it one without content, and letting go is closing it. Leaving its ``with``
block is C code, so that no exception, least of all a KeyboardInterrupt, comes between. That is why nothing here is a
``contextmanager``: the end of one is a function, at whose entry an exception can arrive.
"""

from __future__ import annotations

import functools
import io
import os
import threading
import zlib
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet, ref

from zarrds.storage.local import files
from zarrds.storage.local.locking.lock_files import LockFile, Waiting, close_all

__all__ = ["STORE", "Locks", "locks_of"]

STORE = f".lock{files.PARTIAL}"  # the lock file of a store as a whole

_STRIPES = 64  # lock files that serve all keys of a store


class _Held(io.RawIOBase):
    """A lock between threads, held until it is closed."""

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True


class _Turn:
    """One thread's holding of a lock, which is over when what it holds is closed, or nowhere any more.

    The turn after it is its attribute `next`, of which only one can be: ``dict.setdefault`` is one step in C.
    """

    def __init__(self, held: io.IOBase) -> None:
        self.held = ref(held)
        self.thread = threading.get_ident()

    def is_over(self) -> bool:
        held = self.held()
        return held is None or held.closed


class _Stripe:
    """One lock: between threads, and perhaps between processes. A thread may take it again while it has it."""

    def __init__(self, file: LockFile | None) -> None:
        self._file = file
        self._turn = _Turn(_Held())  # the newest, or one before it; this one is over

    def take(self, what: str, timeout: float | None, durable: bool) -> io.IOBase:
        """Take the lock, and return what to close: nothing that counts if this thread has it already."""
        held = _Held()
        file: io.IOBase | None = None
        try:
            turn = _Turn(held)
            if not self._wait_for(turn, what, timeout):
                return held
            if self._file is None:
                return held
            file = self._file.acquire(timeout=timeout, durable=durable)
            assert file is not None
            turn.held = ref(file)
            return file
        except BaseException:
            for each in (file, held):
                if each is not None:
                    each.close()
            raise

    def _wait_for(self, turn: _Turn, what: str, timeout: float | None) -> bool:
        """Make `turn` the next one as soon as that before it is over; False if this thread has the lock already."""
        waiting: Waiting | None = None
        last = self._turn
        while True:
            if last.is_over():
                last = self._turn = last.__dict__.setdefault("next", turn)
                if last is turn:
                    return True
            elif last.thread == turn.thread:
                return False
            else:
                waiting = waiting or Waiting(what, timeout)
                waiting.sleep(None if self._file is None else self._file.location)

    def is_lost(self) -> bool:
        """Whether this thread has the lock by a file that is not the one of that name any more."""
        last = self._turn
        while (following := last.__dict__.get("next")) is not None:
            last = following
        held = last.held()
        is_there: Callable[[], bool] | None = getattr(held, "is_there", None)
        if held is None or held.closed or last.thread != threading.get_ident() or is_there is None:
            return False
        return not is_there()


_alive: WeakSet[Locks] = WeakSet()
_shared: dict[str, ref[Locks]] = {}


class Locks:
    """The locks of one store.

    Parameters
    ----------
    folder : str or None
        Where the lock files are; without it, locks work between threads only.

    Notes
    -----
    All methods may be called from any number of threads at once. A process that is forked while a lock is held does not
    hold it.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self.reset()
        _alive.add(self)

    def reset(self) -> None:
        """Forget all locks, as a forked process must: what other threads hold would never be released there."""
        self._stripes: dict[int, _Stripe] = {}

    def _stripe(self, number: int) -> _Stripe:
        stripe = self._stripes.get(number)
        if stripe is None:
            name = STORE if number < 0 else f".lock-{number:02}{files.PARTIAL}"
            new = _Stripe(None if self._folder is None else LockFile(self._folder, name))
            stripe = self._stripes.setdefault(number, new)
        return stripe

    def hold(
        self, keys: Sequence[str] = (), *, what: str = "a store", timeout: float | None = None, durable: bool = False
    ) -> io.IOBase:
        """Take the locks of all keys, or without keys that of the store as a whole, until the answer is closed.

        Parameters
        ----------
        keys : sequence of str
        what : str
            The store, for messages.
        timeout : float, optional
            Seconds to wait for each, 0 for none; without it, for ever.
        durable : bool
            Whether a folder that has to be made for the lock files is to outlive a power cut.

        Raises
        ------
        BusyError
            If somebody else held one of them for so long.
        """
        numbers = sorted({zlib.crc32(key.encode()) % _STRIPES for key in keys}) if keys else [-1]
        taken: list[Any] = []
        try:
            for number in numbers:  # all take them in the same order, so that nobody waits for ever
                taken.append(self._stripe(number).take(what, timeout, durable))
            return _as_one(taken)
        except BaseException:
            for held in taken:
                held.close()
            raise

    def is_lost(self) -> bool:
        """Whether this thread has the lock of the store as a whole, and another folder has come in the store's place.

        Raises OSError.
        """
        stripe = self._stripes.get(-1)
        return stripe is not None and stripe.is_lost()


def _as_one(files: Sequence[Any]) -> io.IOBase:
    """Files that are closed, each of them whatever the closing of others raises, when the answer is closed."""
    one = files[0]
    for file in files[1:]:
        one = io.BufferedRWPair(one, file, 1)
    return one  # type: ignore[no-any-return]  # typeshed's pairs are made of raw files only


def locks_of(folder: str, between_processes: bool) -> Locks:
    """Return the locks of the store at `folder`, the same ones for all that ask in this process."""
    while True:
        known = _shared.get(folder)
        locks = None if known is None else known()
        if locks is not None:
            return locks
        locks = Locks(folder if between_processes else None)
        # one step in C each, so that several threads agree, and nothing is left of locks that nobody has any more
        _shared.setdefault(folder, ref(locks, functools.partial(_shared.pop, folder)))


def _reset_all() -> None:
    close_all()
    for locks in list(_alive):
        locks.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
