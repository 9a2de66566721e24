"""A file of a user's own, not of a store: it appears under its name when it is whole."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from zarrds.errors import StoreExistsError, StoreIOError, UnsupportedError
from zarrds.storage.local import files
from zarrds.storage.secrets import without_secrets

__all__ = ["check_new_file", "new_file"]


def check_new_file(path: str, *, overwrite: bool) -> None:
    """Check, before any work, that a file can be made at `path`.

    Raises
    ------
    StoreExistsError
        If something stands there that is not to be replaced.
    StoreIOError
        If it has no name, or there is no folder for it.
    UnsupportedError
        For a URL.
    """
    if "://" in path:
        raise UnsupportedError(
            "a file is made on this machine alone",
            path=without_secrets(path),
            expected="a path",
            found="a URL",
            mend="Give a path, and put the file there by other means",
        )
    if not os.path.basename(path):
        raise StoreIOError("a file needs a name", path=path, mend="Give the path of a file")
    if os.path.isdir(path):
        raise StoreExistsError("a folder stands where the file is to be", path=path, mend="Give the path of a file")
    if os.path.exists(path) and not os.path.isfile(path):
        # which a file would replace
        found = "a device, a pipe or a socket"
        raise StoreExistsError("what stands there is no file", path=path, found=found, mend="Give the path of a file")
    if os.path.lexists(path) and not overwrite:
        raise StoreExistsError("the file exists", path=path, mend="Pass overwrite=True to replace it")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise StoreIOError("there is no folder for the file", path=path, found=folder, mend="Make it first")


@contextmanager
def new_file(path: str, *, overwrite: bool) -> Iterator[str]:
    """The name of a file to fill, which gets its own name at the end; it is removed if the body fails.

    Raises
    ------
    StoreExistsError
        If another has made one meanwhile.
    StoreIOError
        If the file system refuses, or for a RuntimeError of the body, which is how netCDF4 tells of it.
    """
    check_new_file(path, overwrite=overwrite)
    path = os.path.realpath(path)  # a link stays
    folder, name = os.path.split(path)
    unfinished = os.path.join(folder, f".{files.short(name)}.{secrets.token_hex(4)}{files.PARTIAL}")
    try:
        yield unfinished
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        if overwrite:
            os.replace(unfinished, path)
        else:
            os.link(unfinished, path)  # which fails if another has made one meanwhile
    except FileExistsError as error:
        raise StoreExistsError("the file exists", path=path, mend="Pass overwrite=True to replace it") from error
    except (OSError, RuntimeError) as error:
        if isinstance(error, StoreIOError | StoreExistsError):
            raise
        is_full = isinstance(error, RuntimeError) and _is_full(folder)  # of which HDF5 says nothing
        reason = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if is_full else error
        problem, mend = files.explain(reason) if isinstance(reason, OSError) else (str(reason), None)
        raise StoreIOError(f"the file could not be written: {problem}", path=path, mend=mend) from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(unfinished)


def _is_full(folder: str) -> bool:
    try:
        return os.statvfs(folder).f_bavail == 0
    except (OSError, AttributeError):  # the second on Windows
        return False
