"""A whole store in the place of another: what may be replaced, and the step in which it is."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from zarrds.errors import StoreExistsError
from zarrds.storage.local import files, folders, staging

__all__ = ["check_replaceable", "move_in"]


def check_replaceable(root: str, path: str) -> None:
    """Raise `StoreExistsError` if a file stands at `root`, or the process works in it; `path` is for messages."""
    if os.path.lexists(root) and not os.path.isdir(root):
        raise StoreExistsError(
            "a file stands where the store is to be", path=path, mend="Remove it, or save to another path"
        )
    try:
        is_here = os.path.samefile(os.curdir, root)
    except OSError:
        is_here = False  # there is no such folder yet
    if is_here:
        raise StoreExistsError(
            "the store would take the place of the current folder",
            path=path,
            mend="Save to a folder below it, or work in another one",
        )


def move_in(
    hidden: str, root: str, path: str, *, replace: bool, lock: Callable[[], AbstractContextManager[object]]
) -> None:
    """Make the hidden folder the one at `root`; unless `replace` is set, nothing but hidden names may be there.

    `lock` takes the lock of the store as a whole. Raises `StoreExistsError`, and OSError.
    """
    if not replace:
        try:
            os.rename(hidden, root)  # which replaces empty folders only
            return
        except OSError as exc:
            if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    # nothing but lock files, perhaps; but of two that find nothing else only one may go on
    with nullcontext() if replace else lock():
        if not replace and not all(map(files.is_partial, os.listdir(root))):
            raise StoreExistsError(
                "something was put here meanwhile", path=path, mend="Try again, or to replace it pass mode='w'"
            )
        if not folders.move_in(hidden, root):
            staging.swap(hidden, root)
