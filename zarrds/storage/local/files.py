"""The system calls under a directory store, for files: read one whole, replace one whole. `folders` has the others.

Everything here takes absolute locations, raises OSError, and knows nothing of keys.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from zarrds.storage.protocol import Buffer

__all__ = [
    "PARTIAL",
    "READ",
    "content",
    "explain",
    "inside",
    "is_partial",
    "link",
    "partial",
    "read",
    "read_range",
    "read_small",
    "short",
    "write",
    "write_unseen",
]

# the end of the name of every file and folder that is not finished yet (or no longer wanted)
PARTIAL = ".zarrds-partial"

_ANY = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# without O_NONBLOCK, opening a named pipe that lies in a store would wait forever
READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _ANY
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _ANY

# a kernel moves at most about 2 GiB in one call: only a shorter answer than this one means the end of a file
_ONE_CALL = 1 << 30
_ATTEMPTS = 100  # of linking a file that others replace
_SHORT = 100  # bytes of a name that are kept in hidden ones
_UTIME_TAKES_FD = os.utime in os.supports_fd

# what tells the unfinished files of this process from those of all others, and one of them from the next
_token = os.urandom(8).hex()
_numbers = itertools.count()


def _renew_token() -> None:
    global _token
    _token = os.urandom(8).hex()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_token)

_MAX_PARTS = max(os.sysconf("SC_IOV_MAX"), 16) if hasattr(os, "sysconf") else 16

_REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space and try again"),
    errno.EDQUOT: ("the disk quota is used up", "Free some space and try again"),
    errno.EFBIG: ("the file would be larger than the limit", "Raise the limit, or use smaller chunks"),
    errno.EACCES: ("permission denied", "Check who owns the store's files and folders, and their modes"),
    errno.EPERM: ("permission denied", "Check who owns the store's files and folders, and their modes"),
    errno.EROFS: ("the file system is read-only", "Use another place"),
    errno.EMFILE: ("too many open files", "Raise the limit (ulimit -n)"),
    errno.ENOTDIR: ("a file stands where a folder must be", "Remove the file, or use another name"),
    errno.EISDIR: ("a folder stands where a file must be", "Remove the folder, or use another name"),
    errno.ENAMETOOLONG: ("the name is too long for the file system", "Use shorter names"),
    errno.EXDEV: ("the store lies on several file systems", "Keep each store on one file system"),
    errno.ENXIO: (
        "a pipe, a socket or a device stands where a file must be",
        "Remove it, and restore the file from a copy",
    ),
    errno.ELOOP: ("a symbolic link stands where none may, or links lead in a circle", "Remove the link"),
}

if hasattr(os, "readv"):

    def _read_into(fd: int, buffer: memoryview) -> int:
        return os.readv(fd, (buffer,))

    def _write_some(fd: int, views: Sequence[Buffer]) -> int:
        return os.writev(fd, views)

else:  # Windows has neither call

    def _read_into(fd: int, buffer: memoryview) -> int:
        data = os.read(fd, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _write_some(fd: int, views: Sequence[Buffer]) -> int:
        return os.write(fd, views[0])


def read(fd: int, buffer: memoryview | None, limit: int | None = None) -> Buffer | None:
    """Return all that the open file holds, in `buffer` if it fits there, or None if it is a folder.

    Of a file of more than `limit` bytes only its beginning is read, one byte more than that at least. What is neither
    file nor folder (a pipe, a device) is an OSError of ENXIO, which is also what opening a socket gives.
    """
    if buffer is not None:
        count = _read_into(fd, buffer)
        if 0 < count < len(buffer) and count < _ONE_CALL:
            return buffer[:count]
        status = os.fstat(fd)
        head: Buffer = buffer[:count]
    else:
        status = os.fstat(fd)
        # one byte more than it should hold: a full answer then shows the end as well
        size = status.st_size if limit is None else min(status.st_size, limit)
        head = os.read(fd, size + 1) if stat.S_ISREG(status.st_mode) else b""
    if not _is_file(status.st_mode):
        return None
    done = len(head)
    if done == status.st_size or (limit is not None and done > limit):
        return head
    size = max(status.st_size, done)
    value = memoryview(bytearray(size if limit is None else min(size, limit + 1)))
    value[:done] = head
    while done < len(value) and (count := _read_into(fd, value[done : done + _ONE_CALL])):
        done += count
    return value[:done]


def _is_file(mode: int) -> bool:
    """Whether this is a file, and no folder; OSError for anything else."""
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return stat.S_ISREG(mode)
    raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))


def read_small(location: str, limit: int) -> bytes | None:
    """Return what the regular file at `location` holds, at most `limit` bytes of it; None if there is no such file.

    For what is not worth trusting: no link is followed, and nothing is opened that is no file (a pipe, a device).
    """
    try:
        if not stat.S_ISREG(os.lstat(location).st_mode):
            return None
        fd = os.open(location, READ)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        parts: list[bytes] = []
        while limit > 0 and (part := os.read(fd, min(limit, _ONE_CALL))):
            parts.append(part)
            limit -= len(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def read_range(fd: int, start: int, length: int, buffer: memoryview | None) -> Buffer | None:
    """Return at most `length` bytes of the open file from `start` (from its end if negative), None as in `read`."""
    status = os.fstat(fd)
    if not _is_file(status.st_mode):
        return None
    first = max(status.st_size + start, 0) if start < 0 else start
    length = max(0, min(length, status.st_size - first))
    value = memoryview(bytearray(length)) if buffer is None or len(buffer) < length else buffer[:length]
    os.lseek(fd, first, os.SEEK_SET)
    done = 0
    while done < length and (count := _read_into(fd, value[done : done + _ONE_CALL])):
        done += count
    return value[:done]


def write(
    location: str,
    parts: Sequence[Buffer],
    *,
    scratch: str | None = None,
    durable: bool = False,
    check: Callable[[], object] | None = None,
) -> None:
    """Make the concatenation of `parts` the file at `location`, in one step, or leave everything as it was.

    The unfinished file is in the folder `scratch`, or beside `location`. A `durable` file is on the disk before it gets
    its name; the name itself is not, before somebody syncs the folder. If `check` is called and returns, the file gets
    its name in the tree of folders in which `check` found what it looked for, or none at all: there lies the unfinished
    file.
    """
    temporary = partial(location) if scratch is None else inside(scratch)
    fd = os.open(temporary, _CREATE, 0o666)
    try:
        try:
            _write_all(fd, parts)
            _stamp(fd, temporary)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        if check is not None:
            check()
        os.replace(temporary, location)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def write_unseen(location: str, parts: Sequence[Buffer], *, stamp: bool = False) -> None:
    """Make the concatenation of `parts` the file at `location`, where nobody looks before all files are there.

    That spares the renaming, which on some file systems takes longer than to write a small file. A file with a `stamp`
    differs from all others in its time, as one of `write` does.
    """
    fd = os.open(location, _CREATE & ~os.O_EXCL | os.O_TRUNC, 0o666)
    try:
        try:
            _write_all(fd, parts)
            if stamp:
                _stamp(fd, location)
        finally:
            os.close(fd)
    except BaseException:
        with suppress(OSError):
            os.unlink(location)
        raise


def _stamp(fd: int, location: str) -> None:
    # The kernel's own time stamps may be milliseconds coarse, and inode numbers are used again: only a stamp of our own
    # tells every two values apart.
    now = time.time_ns()
    os.utime(fd if _UTIME_TAKES_FD else location, ns=(now, now))


def _write_all(fd: int, parts: Sequence[Buffer]) -> None:
    count = _write_some(fd, parts[:_MAX_PARTS]) if parts else 0
    if count == sum([memoryview(part).nbytes for part in parts]):
        return  # as nearly always
    # an empty view of several dimensions cannot be cast
    views = [memoryview(part).cast("B") for part in parts if memoryview(part).nbytes]
    start = 0
    while True:
        while start < len(views) and count >= len(views[start]):
            count -= len(views[start])
            start += 1
        if start == len(views):
            return
        views[start] = views[start][count:]
        count = _write_some(fd, views[start : start + _MAX_PARTS])


def partial(location: str) -> str:
    """Return a new hidden name beside `location`, which no other process, thread or host comes up with."""
    folder, separator, name = location.rpartition(os.sep)
    return f"{folder}{separator}.{short(name)}.{_token}{next(_numbers):x}{PARTIAL}"


def inside(folder: str) -> str:
    """Return a new hidden name in `folder`, as `partial` does."""
    return f"{folder}{os.sep}.{_token}{next(_numbers):x}{PARTIAL}"


def short(name: str) -> str:
    """Return a name that leaves room for more within the 255 bytes that file systems allow: no two names have the same.

    A long one is cut, and its digest tells it from others that begin alike; what is cut is longer than what is not.
    """
    text = os.fsencode(name)
    if len(text) <= _SHORT:
        return name
    return f"{text[: _SHORT - 40].decode('utf-8', 'ignore')}-{hashlib.sha256(text).hexdigest()}"


def is_partial(name: str) -> bool:
    """Whether `name` is one that `partial` or `inside` makes, or otherwise not for readers."""
    return name.startswith(".") and name.endswith(PARTIAL)


def link(location: str, other: str) -> None:
    """Make the file at `location` also that at `other`, or a copy of it where files have but one name."""
    try:
        for attempt in range(_ATTEMPTS):
            try:
                os.link(location, other)
                return
            except FileNotFoundError:  # also where another file got the name between the look at it and the linking
                if attempt == _ATTEMPTS - 1 or not os.path.lexists(location):
                    raise
    except OSError as exc:
        if exc.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV, errno.ENOSYS):
            raise
        write_unseen(other, [content(location)], stamp=True)


def content(location: str) -> bytes:
    """Return what the regular file at `location` holds, which is no link."""
    fd = os.open(location, READ)
    try:
        found = read(fd, None)
    finally:
        os.close(fd)
    if found is None:
        raise OSError(errno.EINVAL, "no regular file", location)
    return bytes(found)


def explain(error: OSError) -> tuple[str, str]:
    """Return what is wrong, and what the user can do about it."""
    usual = (error.strerror or str(error), "Check the disk, and the permissions of the store's folder")
    return _REASONS.get(error.errno or 0, usual)
