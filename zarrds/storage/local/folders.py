"""The system calls under a directory store, for folders: make them, swap them, walk through them.

Everything here takes absolute locations, raises OSError, and knows nothing of keys.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
import sys
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from struct import calcsize

__all__ = ["is_folder", "make_folders", "move_in", "spread", "walk"]

# Linux's FS_IOC_GETFLAGS and FS_IOC_SETFLAGS (it is an error where they have other numbers), and FS_TOPDIR_FL
_GET_FLAGS = 0x80006601 | calcsize("l") << 16
_SET_FLAGS = 0x40006602 | calcsize("l") << 16
_TOP_FOLDER = 0x20000


def make_folders(location: str, below: str = "") -> list[str]:
    """Make a folder and those on the way to it, but none outside of `below`; return the new ones, outermost first."""
    missing: list[str] = []
    made: list[str] = []
    while len(location) > len(below):
        try:
            os.mkdir(location)
            made.append(location)
        except FileNotFoundError:
            missing.append(location)
            location = os.path.dirname(location)
            continue
        except FileExistsError:  # or it was, a moment ago: the caller finds out
            pass
        except OSError:  # it is there; not every system says so
            if not os.path.lexists(location):
                raise
        break
    for folder in reversed(missing):
        with suppress(FileExistsError):  # somebody else makes it too
            os.mkdir(folder)
            made.append(folder)
    return made


def spread(folder: str) -> bool:
    """Ask for the folders that are made in `folder` to be laid out apart from each other; False if that cannot be had.

    ext4 has all files below one folder in one part of the disk, and does not use the number of a removed file again for
    some minutes: to make a file there, it looks through all that were removed. Folders apart are in other parts.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    fd = os.open(folder, os.O_RDONLY)
    try:
        flags = array("i", [0])
        fcntl.ioctl(fd, _GET_FLAGS, flags)
        flags[0] |= _TOP_FOLDER
        fcntl.ioctl(fd, _SET_FLAGS, flags)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def move_in(new: str, target: str) -> bool:
    """Rename the folder `new` to `target`; what was there, a folder or a link, is then at `new`.

    False, and nothing is done, if something is there and the file system cannot exchange two names in one step.
    """
    try:
        os.rename(new, target)  # enough if nothing is there, or an empty folder
        return True
    except NotADirectoryError:
        if not os.path.islink(target):
            raise
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    return _exchange(new, target)


def _exchange(one: str, other: str) -> bool:
    """Swap two files or folders in one step; False where the system or the file system cannot."""
    rename = _renameat2()
    if rename is None:
        return False
    here, swap = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
    if rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), one, None, other)


@functools.cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # not Linux, or a C library from before 2018
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int
    swap: Callable[[int, bytes, int, bytes, int], int] = function
    return swap


def is_folder(location: str) -> bool:
    """Whether a real folder is there, and no link to one."""
    try:
        return stat.S_ISDIR(os.lstat(location).st_mode)
    except OSError:
        return False


def walk(location: str) -> Iterator[tuple[str, list[str]]]:
    """Every folder below a folder, outer ones first, and the names of the regular files in it; no link is followed."""
    waiting = [location]
    while waiting:
        folder = waiting.pop()
        names = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    names.append(entry.name)
        yield folder, names
