"""File operations that fail or kill, counted: what the tests of failing and dying saves share."""

from __future__ import annotations

import builtins
import ctypes
import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from zarrds.storage.local import folders, syncing

# what a store does to the disk; looks at names (stat) alone are left out
BY_NAME = ("open", "replace", "rename", "mkdir", "rmdir", "unlink", "link", "utime", "listdir", "scandir")
BY_DESCRIPTOR = ("read", "readv", "write", "writev", "fsync", "close")

KILL, INTERRUPT = 0, -1  # in place of an errno

Strike = Callable[[str, str], None]  # is told each operation and its file, before it happens


@contextmanager
def watched(folder: str, strike: Strike) -> Iterator[None]:
    """Let all file operations of this process below `folder` go by `strike`, which may raise OSError, or kill."""
    opened: dict[int, str] = {}
    written: set[int] = set()

    def place(target: Any, dir_fd: int | None = None) -> str | None:
        """Where a path or descriptor leads, if that is below the folder."""
        if isinstance(target, int):
            return opened.get(target)
        name = os.fsdecode(target)
        if dir_fd is not None:
            name = os.path.join(opened.get(dir_fd, ""), name)
        return name if name.startswith(folder) else None

    def by_name(operation: str, original: Any) -> Any:
        def wrapper(target: Any = ".", *args: Any, **kwargs: Any) -> Any:
            where = place(target, kwargs.get("dir_fd"))
            if where is None:
                return original(target, *args, **kwargs)
            makes = operation == "open" and args[0] & os.O_CREAT
            strike("create" if makes else operation, where)
            result = original(target, *args, **kwargs)
            if operation == "open":
                opened[result] = where
            return result

        return wrapper

    def by_descriptor(operation: str, original: Any) -> Any:
        def wrapper(fd: int, *args: Any) -> Any:
            where = opened.get(fd)
            if where is None:
                return original(fd, *args)
            if operation == "close":  # it is closed also if that fails
                del opened[fd]
                original(fd)
                if fd in written:  # else there is nothing that could fail
                    written.remove(fd)
                    strike(operation, where)
                return None
            if operation in ("write", "writev"):
                written.add(fd)
            try:
                strike(operation, where)
            except OSError:
                if operation == "writev":  # as a disk that fills up
                    whole = b"".join(args[0])
                    os.pwrite(fd, whole[: len(whole) // 2], 0)
                raise
            return original(fd, *args)

        return wrapper

    def by_ctypes(operation: str, original: Callable[..., int] | None, which: int) -> Any:
        def wrapper(*args: Any) -> int:
            target = args[which]
            where = place(target)
            try:
                if where is not None:
                    strike(operation, where)
            except OSError as error:
                ctypes.set_errno(error.errno or 0)
                return -1
            assert original is not None
            return original(*args)

        return lambda: None if original is None else wrapper

    with (
        mock.patch.multiple(
            os,
            **{name: by_name(name, getattr(os, name)) for name in BY_NAME},
            **{name: by_descriptor(name, getattr(os, name)) for name in BY_DESCRIPTOR},
        ),
        mock.patch.object(builtins, "open", by_name("open file", builtins.open)),
        mock.patch.object(folders, "_renameat2", by_ctypes("exchange", folders._renameat2(), 1)),
        mock.patch.object(syncing, "_syncfs", by_ctypes("syncfs", syncing._syncfs(), 0)),
    ):
        yield


class Countdown:
    """Fails, or kills this process, at the n-th file operation.

    Parameters
    ----------
    after : int
        How many operations go well.
    code : int
        Of the OSError; KILL kills this process, INTERRUPT raises KeyboardInterrupt.
    stays : bool
        Whether all that follows fails too.
    """

    def __init__(self, after: int, code: int, stays: bool = False) -> None:
        self.after = after
        self.code = code
        self.stays = stays
        self.log: list[str] = []

    @property
    def has_struck(self) -> bool:
        return len(self.log) > self.after

    def __call__(self, operation: str, where: str) -> None:
        self.log.append(f"{operation} {where}")
        n = len(self.log) - 1
        if n == self.after or (self.stays and n > self.after and self._fails(operation)):
            if self.code == KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.code == INTERRUPT:
                raise KeyboardInterrupt
            raise OSError(self.code, os.strerror(self.code), where)

    def _fails(self, operation: str) -> bool:
        # on a full disk one can still read, remove and rename; without permission, use what is open
        if self.code == errno.ENOSPC:
            return operation in ("create", "write", "writev", "mkdir", "fsync", "syncfs", "link")
        return self.code != errno.EACCES or operation not in BY_DESCRIPTOR
