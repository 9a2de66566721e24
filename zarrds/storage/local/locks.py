"""Locks between threads, and between processes through lock files that are gone when nobody needs them.

Everything here takes absolute locations and raises OSError. filelock locks the files, by ``flock`` where there is that;
such a lock ends with the process. Its holder removes the file before letting go, so that none is left behind: whoever
waited for it notices that what it got is not the file of that name any more, and starts again. On a file system that
cannot lock files, that there is one is the lock.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from weakref import WeakSet, WeakValueDictionary

# imported here and not when it is needed: a process that is forked in the middle of an import never gets over it
from filelock import SoftFileLock, Timeout, lock_descriptor, unlock_descriptor

from zarrds.storage.local import files

__all__ = ["STORE", "LockFile", "Locks", "in_use", "locks_of"]

STORE = f".lock{files.PARTIAL}"  # the lock file of a store as a whole

_STRIPES = 64  # lock files that serve all keys of a store
_POLL = 0.001  # seconds between two attempts
_DESCRIPTORS = os.unlink in os.supports_dir_fd  # not on Windows
_FLAGS = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

# No thread forks while another one holds this: the child would share locked files that it does not know of.
_guard = threading.RLock()
_opened: dict[int, str] = {}  # the descriptors of lock files, and where these are


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
        self._location = os.path.join(folder, name)
        self._made = False  # whether the folder was
        self._pid = 0  # the process that holds it
        self._fd = -1
        self._identity: tuple[int, int] | None = None  # of the file, when taken
        self._marker: SoftFileLock | None = None  # where files cannot be locked: there is the file, or there is not

    def take(self, wait: bool = True) -> bool:
        """Take the lock, if need be after others; False if it is not free and `wait` is False."""
        while not (self._try() if self._marker is None else self._try_marker()):
            if not wait:
                return False
            time.sleep(_POLL)
        self._pid = os.getpid()
        return True

    def _try(self) -> bool:
        fd, is_new = self._open()
        taken = False
        try:
            taken = lock_descriptor(fd, blocking=False) and self._is_there(fd)
        except OSError as exc:
            if exc.errno != errno.ENOSYS:
                raise
            if is_new and self._is_there(fd):
                os.unlink(self._location)
            self._marker = SoftFileLock(self._location, thread_local=False)
            return self._try_marker()
        finally:
            if not taken:
                _close(fd)
        self._fd = fd
        return taken

    def _try_marker(self) -> bool:
        assert self._marker is not None
        try:
            self._marker.acquire(blocking=False)
        except Timeout:
            return False
        return True

    def _open(self) -> tuple[int, bool]:
        """Open the file, which is made if need be, and so is its folder; return also whether it is new."""
        while True:
            try:
                return _open(self._location, _FLAGS | os.O_CREAT | os.O_EXCL), True
            except FileExistsError:
                # folders like /tmp refuse O_CREAT for what is there and belongs to another user
                with suppress(FileNotFoundError):  # its holder has removed it since
                    return _open(self._location, _FLAGS), False
            except FileNotFoundError:
                if not os.path.isdir(self._folder):
                    os.makedirs(self._folder, exist_ok=True)
                    self._made = True

    def _is_there(self, fd: int) -> bool:
        """Whether the open file is still the one of that name: it may be removed, or its folder replaced."""
        status = os.fstat(fd)
        self._identity = status.st_dev, status.st_ino
        # network file systems may know the name for longer than the file
        return status.st_nlink > 0 and self._identity == _identity(self._location)

    def drop(self, keep: bool = False) -> None:
        """Let go of the lock, and remove its file unless it is to be kept; nothing in a process forked meanwhile."""
        if self._pid != os.getpid():
            return
        self._pid = 0
        if self._marker is not None:
            self._marker.release()  # which removes it
            removed = True
        else:
            removed = self._let_go(keep)
        made, self._made = self._made, False
        if made and removed:
            with suppress(OSError):  # others use it
                os.rmdir(self._folder)

    def _let_go(self, keep: bool) -> bool:
        """Unlock and close the file; return whether it was removed."""
        removed = False
        try:
            if not keep and _DESCRIPTORS:
                with suppress(OSError):  # then it is left for `clean`
                    removed = self._remove()
        finally:
            with suppress(OSError):  # it is closed also if that fails
                try:
                    # closing is not enough while a forked process has not closed it
                    unlock_descriptor(self._fd)
                finally:
                    _close(self._fd)
        if not keep and not _DESCRIPTORS:
            with suppress(OSError):  # others have it open
                os.unlink(self._location)
                removed = True
        return removed

    def _remove(self) -> bool:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            # a folder that came in the place of the one that was there may hold the lock file of somebody else
            is_mine = self._identity == _identity(self._name, folder)
            if is_mine:
                os.unlink(self._name, dir_fd=folder)
            return is_mine
        finally:
            os.close(folder)


def in_use(location: str) -> bool:
    """Whether this process uses the lock file at `location`."""
    with _guard:
        return location in _opened.values()


def _identity(location: str, folder: int | None = None) -> tuple[int, int] | None:
    try:
        status = os.stat(location, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _open(location: str, flags: int) -> int:
    with _guard:
        fd = os.open(location, flags, 0o666)
        _opened[fd] = location
    return fd


def _close(fd: int) -> None:
    with _guard:
        del _opened[fd]
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
            with _guard:
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
    for fd in _opened:
        with suppress(OSError):
            os.close(fd)
    _opened.clear()
    for locks in list(_alive):
        locks.reset()
    _guard.release()


# Hooks run before a fork in the reverse order of their making: that of `logging`, which takes a lock that the import of
# filelock needs, must not be before ours.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_reset_all)
