"""Locks between processes: a file that one of them has locked, and that is gone when nobody needs it.

Everything here takes absolute locations and raises OSError. filelock locks the files, by ``flock`` where there is that;
such a lock ends with the process. Its holder removes the file before letting go, so that none is left behind: whoever
waited for it notices that what it got is not the file of that name any more, and starts again. On a file system that
cannot lock files, that there is one is the lock.

What is held is an open file, and letting go is closing it: `io` does that in C, after it has called `flush`, and also
when nothing refers to the file any more. So the lock goes whatever is raised wherever, be it a KeyboardInterrupt in the
first line of `flush`. For the same reason nothing here is guarded by a lock of its own, which could be left locked.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import re
import socket
import stat
import time
from contextlib import suppress
from weakref import ref

# imported here and not when it is needed: a process that is forked in the middle of an import never gets over it
from filelock import SoftFileLock, Timeout, lock_descriptor, unlock_descriptor

from zarrds.arguments import warn
from zarrds.storage.local import files, folders, syncing

__all__ = ["BusyError", "LockFile", "Waiting", "close_all", "in_use"]

_FLAGS = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_DESCRIPTORS = os.unlink in os.supports_dir_fd  # not on Windows
_ATTEMPTS = 100  # of making a lock file in a folder that others remove

_POLL = 0.001  # seconds between two attempts, at most
_TELL = 5.0  # seconds of waiting, after which the user is told for whom
_TELL_AGAIN = 60.0

_HOLDER = re.compile(r"(\d{1,10})\s+([\w.-]{1,255})\s")

_held: dict[int, ref[_HeldFile]] = {}  # all lock files that this process has open
_forks = [0]  # how often this process was forked


class BusyError(TimeoutError):
    """Somebody else holds a lock, and there was no (more) time to wait; the message says who."""


class Waiting:
    """One waiting for a lock: in short sleeps, not in silence, and not for longer than it may take.

    Parameters
    ----------
    what : str
        The lock, for messages.
    timeout : float, optional
        Seconds; for ever unless said.
    """

    def __init__(self, what: str, timeout: float | None) -> None:
        self._what = what
        self._timeout = timeout
        self._began = time.monotonic()
        self._told = self._began
        self._pause = _POLL / 16

    def sleep(self, location: str | None) -> None:
        """Sleep a little, or raise `BusyError` if there was time enough; the file at `location` tells who has it."""
        now = time.monotonic()
        if self._timeout is not None and now - self._began >= self._timeout:
            raise BusyError(errno.EAGAIN, holder_of(location))
        if now - self._told >= (_TELL if self._told == self._began else _TELL_AGAIN):
            self._told = now
            warn(
                f"waiting for the lock of {self._what}, which {holder_of(location)} has held for "
                f"{now - self._began:.0f} seconds or longer; LocalStore(path, lock_timeout=…) sets a limit",
                RuntimeWarning,
            )
        time.sleep(self._pause)
        self._pause = min(_POLL, self._pause * 2)


def holder_of(location: str | None) -> str:
    """Who holds a lock, in words: what its file tells, or another thread if there is no file."""
    if location is None:
        return "another thread of this process"
    text = b""
    with suppress(OSError):
        text = files.read_small(location, 300) or b""
    match = _HOLDER.match(text.decode("ascii", "replace"))
    return "another process" if match is None else f"process {match[1]} on host {match[2]}"


class _HeldFile(io.FileIO):
    """A lock file that is open, and once `is_held`, locked by this process; closing it lets go.

    Attributes
    ----------
    location : str
    is_new : bool
        Whether it was made when it was opened.
    is_held : bool
    keep : bool
        Whether the file is to stay.
    """

    def __init__(self, folder: str, name: str, is_new: bool, opened: list[_HeldFile]) -> None:
        self._folder, self._entry = folder, name
        self.location = os.path.join(folder, name)  # `name` comes with the descriptor, which others may see before
        self._identity: tuple[int, int] | None = None
        self._status: os.stat_result | None = None
        self._pid = os.getpid()
        self.is_new = is_new
        self.is_held = False
        self.keep = False
        self.made_folder = False
        # before there is a descriptor, so that a process that is forked has none that it does not know of
        _held[id(self)] = ref(self, functools.partial(_held.pop, id(self)))
        opened.append(self)  # who made the list closes it, whatever is raised between the opening and the answer
        if is_new:  # made, and known by its number, in C: nothing comes between
            super().__init__(self.location, "x+", opener=functools.partial(os.open, mode=0o666))
        else:
            super().__init__(self.location, "r+", opener=lambda location, _: os.open(location, _FLAGS))

    def is_there(self) -> bool:
        """Whether the open file is still the one of that name: it may be removed, or its folder replaced."""
        status = os.fstat(self.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "a lock file is no regular file", self.name)
        self._identity, self._status = (status.st_dev, status.st_ino), status
        # network file systems may know the name for longer than the file
        return status.st_nlink > 0 and self._identity == _identity(self.name)

    def lock(self) -> bool | None:
        """Lock the file unless somebody else has; whether it is held now, None if files cannot be locked here."""
        try:
            self.is_held = lock_descriptor(self.fileno(), blocking=False) and self.is_there()
        except OSError as exc:
            if exc.errno != errno.ENOSYS:
                raise
            return None
        return self.is_held

    def sign(self) -> None:
        """Write down who holds the lock, for those that wait."""
        with suppress(OSError):  # a full disk is no reason not to lock
            if self._status is not None and self._status.st_nlink == 1:  # else it has another name, elsewhere
                if self._status.st_size:
                    self.truncate(0)
                self.write(f"{self._pid} {_host()}\n".encode())

    def flush(self) -> None:
        """Remove the file, which `close` then closes; do nothing in a process that was forked meanwhile."""
        try:
            self._let_go()
        except BaseException:  # an interrupt: what it kept from being done is done now
            self._let_go()
            raise

    def _let_go(self) -> None:
        if not self.is_held or self._pid != os.getpid():
            return
        with suppress(OSError):
            removed = not self.keep and _DESCRIPTORS and self._remove()
            self.is_held = False  # from here on the file of this name may be somebody else's
            # closing is not enough while a forked process has not closed it
            unlock_descriptor(self.fileno())
            if removed and self.made_folder:
                os.rmdir(self._folder)  # others may use it

    def abandon(self) -> None:
        """Close a file that was not taken after all, and remove it if nobody else has locked it."""
        try:
            with suppress(OSError, ValueError):  # it is not open
                self.lock()
        finally:
            self.close()

    def _remove(self) -> bool:
        with suppress(OSError):  # then it is left for `clean`
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                # a folder that came in the place of the one that was there may hold the lock file of somebody else
                if self._identity == _identity(self._entry, folder):
                    os.unlink(self._entry, dir_fd=folder)
                    return True
            finally:
                os.close(folder)
        return False

    if not _DESCRIPTORS:  # Windows removes no file that is open

        def close(self) -> None:
            mine = self.is_held and not self.keep
            super().close()
            if mine:
                with suppress(OSError):  # others have it open
                    os.unlink(self.name)


class _Marker(io.RawIOBase):
    """That there is a file is the lock, where files cannot be locked."""

    def __init__(self, location: str) -> None:
        self.keep = False
        self.made_folder = False
        self._pid = os.getpid()
        self._file = SoftFileLock(location, thread_local=False)

    def acquire(self) -> bool:
        try:
            self._file.acquire(blocking=False)
        except Timeout:
            with suppress(OSError):
                # without a word about its holder: of one that was interrupted when it had found that it cannot lock it
                status = os.lstat(self._file.lock_file)
                if not status.st_size and time.time() - status.st_mtime > _TELL:
                    os.unlink(self._file.lock_file)
            return False
        return True

    def readable(self) -> bool:
        return True

    def flush(self) -> None:
        if self._pid == os.getpid() and self._file.is_locked:
            self._file.release(force=True)


class LockFile:
    """A lock between processes; only one thread may use it at a time.

    Parameters
    ----------
    folder : str
        Made if it is missing, and then removed again if it is still empty at the end.
    name : str

    Attributes
    ----------
    location : str
    held : io.IOBase or None
        Closing it lets go of the lock.
    """

    def __init__(self, folder: str, name: str) -> None:
        self._folder = folder
        self._name = name
        self.location = os.path.join(folder, name)
        self.held: io.IOBase | None = None

    def acquire(self, wait: bool = True, timeout: float | None = None, *, durable: bool = False) -> io.IOBase | None:
        """Take the lock, if need be after others, and return what to close; None if `wait` is False and it is not free.

        If its folder is missing it is made, so that it outlives a power cut if `durable`.

        Raises
        ------
        BusyError
            If somebody else held it for `timeout` seconds.
        """
        waiting: Waiting | None = None
        held: io.IOBase | None = None
        try:
            while True:
                held = self._try(durable)
                if held is not None or not wait:
                    return held
                waiting = waiting or Waiting(repr(self.location), timeout)
                waiting.sleep(self.location)
        except BaseException:
            if held is not None:
                held.close()
            raise

    def take(self, wait: bool = True, timeout: float | None = None) -> bool:
        """Take the lock until `drop`; False if it is not free and `wait` is False. Raises as `acquire`."""
        try:
            self.held = self.acquire(wait, timeout)
            if isinstance(self.held, _HeldFile):
                self.held.keep = True  # until `drop` says otherwise: by it others find what is to be removed with it
            return self.held is not None
        except BaseException:
            self.drop()
            raise

    def _try(self, durable: bool) -> io.IOBase | None:
        opened: list[_HeldFile] = []
        try:
            file, is_new = self._new_file(durable, opened)
            is_mine = file.lock()
            if is_mine is None:
                if is_new and file.is_there():
                    os.unlink(self.location)
                file.close()
                return self._try_marker()
            if not is_mine:
                file.close()
                return None
            file.sign()
            return file
        except BaseException:
            for file in opened:
                file.abandon()
            raise

    def _try_marker(self) -> io.IOBase | None:
        marker: _Marker | None = None
        try:
            marker = _Marker(self.location)
            # what is around it calls its `flush`, and closes it after that, which calls it once more
            return io.BufferedRWPair(marker, io.BytesIO(), 1) if marker.acquire() else None
        except BaseException:
            if marker is not None:
                marker.close()
            raise

    def _new_file(self, durable: bool, opened: list[_HeldFile]) -> tuple[_HeldFile, bool]:
        """Open the file, which is made if need be, and so is its folder; return also whether it is new."""
        made = False
        for attempt in range(_ATTEMPTS):
            try:
                file, is_new = self._opened(True, opened), True
            except FileExistsError:
                # folders like /tmp refuse O_CREAT for what is there and belongs to another user
                try:
                    file, is_new = self._opened(False, opened), False
                except FileNotFoundError:  # its holder has removed it since
                    continue
            except FileNotFoundError:
                # in some folders, as below /proc, nothing can be made
                if attempt == _ATTEMPTS - 1:
                    raise
                if not os.path.isdir(self._folder):
                    new_folders = folders.make_folders(self._folder)
                    made = bool(new_folders)
                    if durable:
                        syncing.sync_folders({os.path.dirname(new) for new in new_folders})
                continue
            file.made_folder = made
            return file, is_new
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.location)

    def _opened(self, is_new: bool, opened: list[_HeldFile]) -> _HeldFile:
        while True:
            forks = _forks[0]
            file = _HeldFile(self._folder, self._name, is_new, opened)
            if forks == _forks[0]:
                return file
            file.close()  # a child may have it, and not know; it is not locked yet

    def descriptor(self) -> int | None:
        """The open file's, while the lock is held."""
        return self.held.fileno() if isinstance(self.held, _HeldFile) and not self.held.closed else None

    @property
    def is_new(self) -> bool:
        """Whether the file that is held was made for it: none was there."""
        return not isinstance(self.held, _HeldFile) or self.held.is_new

    def drop(self, keep: bool = False) -> None:
        """Let go of the lock, and remove its file unless it is to be kept; nothing in a process forked meanwhile."""
        if isinstance(self.held, _HeldFile):
            self.held.keep = keep
        held, self.held = self.held, None
        if held is not None:
            held.close()


def in_use(location: str) -> bool:
    """Whether this process has the lock file at `location` open."""
    files = (held() for held in list(_held.values()))
    return any(file is not None and not file.closed and file.location == location for file in files)


def _identity(location: str, folder: int | None = None) -> tuple[int, int] | None:
    try:
        status = os.stat(location, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


@functools.cache
def _host() -> str:
    return re.sub(r"[^\w.-]", "-", socket.gethostname())[:255] or "unknown"


def close_all() -> None:
    """Close all lock files, in a process that was forked: they are its parent's."""
    for held in list(_held.values()):
        file = held()
        if file is not None:
            with suppress(OSError):
                file.close()
    _held.clear()


def _count_fork() -> None:
    _forks[0] += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_count_fork)
