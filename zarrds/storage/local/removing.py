"""Removing a folder with all that it holds, whatever that is. Absolute locations, and OSError."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterable

from zarrds.storage.local import files

__all__ = ["remove_tree"]

_ATTEMPTS = 20  # of removing a folder that others fill


def remove_tree(location: str) -> None:
    """Remove a folder with all that it holds, or what stands in its place; a missing one is no error."""
    for attempt in range(_ATTEMPTS):
        try:
            if files.is_folder(location):
                shutil.rmtree(location)
            else:
                os.unlink(location)
            return
        except FileNotFoundError:  # somebody else removes it too
            if not os.path.lexists(location):
                return
        except RecursionError:
            _make_shallow(location)
        except OSError as exc:
            # a writer that was on its way when the folder was renamed can still put a file there; and NFS keeps
            # open files until they are closed
            if exc.errno in (errno.ENAMETOOLONG, errno.EMFILE):
                _make_shallow(location)
            elif exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            time.sleep(0.0001 * attempt)


def _make_shallow(location: str) -> None:
    """Move all folders below `location` into it: no path in it has more than two names then."""
    waiting = list(_folders(location))
    while waiting:
        folder = waiting.pop()
        for inner in list(_folders(folder)):
            moved = files.inside(location)
            os.rename(inner, moved)
            waiting.append(moved)


def _folders(location: str) -> Iterable[str]:
    with os.scandir(location) as entries:
        return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
