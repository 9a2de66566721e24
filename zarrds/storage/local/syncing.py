"""Getting files and folders onto the disk, so that they outlive a power cut.

Everything here takes absolute locations and raises OSError.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable, Iterable

from zarrds.storage.local import files, folders

__all__ = ["sync_folder", "sync_folders", "sync_tree"]

_FEW = 16  # from here on the whole file system is synced, which is faster than each file of many
_NOT_POSSIBLE = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # to sync a folder, on some file systems


def sync_folder(location: str) -> None:
    """Make durable which files a folder holds."""
    if os.name == "nt":
        return  # Windows has no such call, and writes folders through its journal
    fd = os.open(location, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno not in _NOT_POSSIBLE:
            raise
    finally:
        os.close(fd)


def sync_folders(locations: Iterable[str], device: int | None = None) -> None:
    """Make durable which files several folders hold; those that are gone are left out.

    `device` is a descriptor of a file of the same file system, as in `sync_tree`.
    """
    places = list(locations)
    if len(places) > _FEW and device is not None and _sync_file_system(device):
        return
    for folder in places:
        try:
            sync_folder(folder)
        except FileNotFoundError:
            continue


def sync_tree(location: str, device: int | None = None) -> None:
    """Make durable all files and folders below a folder, and which of them there are.

    `device` is a descriptor of any file of the same file system, by which all of that is synced if there are many
    files. It must have been opened before the first of them was written: Linux tells each descriptor once of what the
    disk could not write since then, and one that is opened later learns nothing if another process was told before.
    """
    found = list(folders.walk(location))
    many = len(found) + sum(len(names) for _, names in found) > _FEW
    if many and device is not None and _sync_file_system(device):
        return
    for folder, names in reversed(found):
        for name in names:
            _sync_file(os.path.join(folder, name))
        sync_folder(folder)


def _sync_file(location: str) -> None:
    # Windows flushes only what is open for writing
    fd = os.open(location, os.O_RDWR if os.name == "nt" else files.READ)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_file_system(fd: int) -> bool:
    """Write out all of the file system of an open file; False where that is not possible."""
    syncfs = _syncfs()
    if syncfs is None:
        return False
    if syncfs(fd) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EBADF, errno.EINVAL):
        return False
    raise OSError(code, os.strerror(code))


@functools.cache
def _syncfs() -> Callable[[int], int] | None:
    if not hasattr(os, "uname") or os.uname().sysname != "Linux" or _linux() < (5, 8):
        return None  # an older Linux keeps errors of writing to itself
    try:
        function = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError, TypeError):
        return None
    function.argtypes = (ctypes.c_int,)
    function.restype = ctypes.c_int
    found: Callable[[int], int] = function
    return found


def _linux() -> tuple[int, int]:
    numbers = os.uname().release.replace("-", ".").split(".")[:2]
    try:
        return int(numbers[0]), int(numbers[1])
    except (ValueError, IndexError):
        return 0, 0
