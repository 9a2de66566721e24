"""Locks between threads, and between processes through lock files that are gone when nobody needs them.

Everything here takes absolute locations and raises OSError. A lock file is locked by ``flock`` (by filelock), which
ends with the process. Its holder removes it before letting go, so that none is left behind: whoever waited for it
notices that what it got has no name any more, and starts again.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING
from weakref import WeakSet, WeakValueDictionary

from zarrds.stores import files

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["STORE", "LockFile", "Locks", "locks_of"]

STORE = f".lock{files.PARTIAL}"  # the lock file of a store as a whole

_STRIPES = 64  # lock files that serve all keys of a store
_POLL = 0.001  # seconds between two attempts
_DESCRIPTORS = os.unlink in os.supports_dir_fd  # not on Windows


class LockFile:
    """A lock between processes; only one thread may use it at a time.

    Parameters
    ----------
    folder : str
        Made if it is missing, and then removed again if it is still empty at the end.
    name : str
    """

    def __init__(self, folder: str, name: str) -> None:
        self._folder = folder
        self._name = name
        self._place: tuple[int, int] | None = None  # the folder it lies in, when taken
        self._made = False
        self._pid = 0
        self._lock: BaseFileLock | None = None

    def take(self, wait: bool = True) -> bool:
        """Take the lock, if need be after others; False if it is not free and `wait` is False."""
        # it costs 6 ms, which reading need not pay
        import filelock

        if self._lock is None:
            location = os.path.join(self._folder, self._name)
            self._lock = filelock.FileLock(location, poll_interval=_POLL, thread_local=False)
        while True:
            before = _identity(self._folder)
            if before is None:
                os.makedirs(self._folder, exist_ok=True)
                self._made = True
                continue
            try:
                self._lock.acquire(blocking=wait)
            except filelock.Timeout:
                return False
            except FileNotFoundError:
                continue  # the folder is gone, or another one comes in its place
            if before == _identity(self._folder):
                self._place, self._pid = before, os.getpid()
                return True
            self._lock.release()  # that was a lock file of a folder that was replaced meanwhile

    def drop(self, keep: bool = False) -> None:
        """Let go of the lock, and remove its file unless it is to be kept; nothing in a process forked meanwhile."""
        import filelock

        lock = self._lock
        if lock is None or self._place is None or self._pid != os.getpid():
            return
        made, self._made = self._made and _identity(self._folder) == self._place, False
        try:
            # where flock is missing, filelock makes marker files, which it removes by itself
            if not keep and _DESCRIPTORS and not isinstance(lock, filelock.SoftFileLock):
                with suppress(OSError):  # then it is left for `clean`
                    _unlink(self._folder, self._place, self._name)
        finally:
            self._place = None
            lock.release()
        if not keep and not _DESCRIPTORS:
            with suppress(OSError):  # others have it open
                os.unlink(os.path.join(self._folder, self._name))
        if made:
            with suppress(OSError):  # others use it
                os.rmdir(self._folder)


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
    return status.st_dev, status.st_ino


def _unlink(folder: str, place: tuple[int, int], name: str) -> None:
    """Remove a file of the folder that was at `folder` when its identity was `place`, if it is there still."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) == place:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)


class _Stripe:
    """One lock: between threads, and perhaps between processes. A thread may take it again and again."""

    def __init__(self, file: LockFile | None) -> None:
        self._thread = threading.RLock()
        self._depth = 0
        self._file = file

    def take(self, wait: bool = True) -> bool:
        if not self._thread.acquire(blocking=wait):
            return False
        try:
            if not self._depth and self._file is not None and not self._file.take(wait):
                self._thread.release()
                return False
        except BaseException:
            self._thread.release()
            raise
        self._depth += 1
        return True

    def drop(self) -> None:
        self._depth -= 1
        try:
            if not self._depth and self._file is not None:
                self._file.drop()
        finally:
            self._thread.release()


_alive: WeakSet[Locks] = WeakSet()
_shared: WeakValueDictionary[str, Locks] = WeakValueDictionary()
_guard = threading.Lock()


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
        self._guard = threading.Lock()
        self._stripes: dict[int, _Stripe] = {}

    def _stripe(self, number: int) -> _Stripe:
        stripe = self._stripes.get(number)
        if stripe is None:
            with self._guard:
                stripe = self._stripes.get(number)
                if stripe is None:
                    name = STORE if number < 0 else f".lock-{number:02}{files.PARTIAL}"
                    stripe = _Stripe(None if self._folder is None else LockFile(self._folder, name))
                    self._stripes[number] = stripe
        return stripe

    @contextmanager
    def hold(self, keys: Sequence[str] = ()) -> Iterator[None]:
        """Hold the locks of all keys, or without keys that of the store as a whole."""
        numbers = sorted({zlib.crc32(key.encode()) % _STRIPES for key in keys}) if keys else [-1]
        with ExitStack() as held:
            for number in numbers:  # all take them in the same order, so that nobody waits for ever
                stripe = self._stripe(number)
                stripe.take()
                held.callback(stripe.drop)
            yield

    @contextmanager
    def try_store(self) -> Iterator[bool]:
        """Hold the lock of the store as a whole if that needs no waiting; yields whether it is held."""
        stripe = self._stripe(-1)
        taken = stripe.take(wait=False)
        try:
            yield taken
        finally:
            if taken:
                stripe.drop()


def locks_of(folder: str, between_processes: bool) -> Locks:
    """Return the locks of the store at `folder`, the same ones for all that ask in this process."""
    with _guard:
        locks = _shared.get(folder)
        if locks is None:
            locks = _shared[folder] = Locks(folder if between_processes else None)
        return locks


def _reset_all() -> None:
    global _guard
    _guard = threading.Lock()
    for locks in list(_alive):
        locks.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
