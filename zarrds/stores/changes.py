"""Staged changes: many values that are put in place as one, also by a process that dies meanwhile.

They are in a hidden folder of the root, which gets the name `COMMIT` in the instant from which on they count. Then they
are put in place, one after the other; whoever finds that folder and can lock the store goes on with it. All that is
done here can be done again, from the beginning, after it was broken off anywhere.

Everything here takes absolute locations and raises OSError, and for what a caller did wrong ValueError.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from zarrds.stores import files, syncing
from zarrds.stores.base import DELETED, Buffer, check_key
from zarrds.stores.locks import Locks

__all__ = ["COMMIT", "NEW", "apply_changes", "deleted_keys", "is_step", "recover", "replace_folder"]

COMMIT = f".commit{files.PARTIAL}"
_STEPS = ("0", "1", "2")

# in a commit that replaces a folder: the new folder, and the file that names the one to be replaced
NEW = "new"
_REPLACED = "replaced"

_EFFECTIVE = os.access in os.supports_effective_ids  # not on Windows

_POLL = 0.001  # seconds between two looks at a commit that somebody else finishes
_PATIENCE = 5.0  # seconds, if this process could not finish it

Verify = Callable[[str], None]  # raises if a folder, given as a part of keys, lies outside of the root


def is_step(key: str) -> bool:
    """Whether `key` is one that staged changes may have."""
    return key == DELETED or key[:2] in ("0/", "1/", "2/")


def deleted_keys(value: Buffer | None, path: str) -> list[str]:
    """Return what is to be deleted, from the value of `DELETED`."""
    keys = [] if value is None else json.loads(bytes(value))
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError(f"{DELETED!r} of staged changes must be a JSON list of keys and prefixes")
    return [check_key(key, path) for key in keys]


def apply_changes(root: str, changes: str, path: str, verify: Verify, durable: bool) -> None:
    """Put changes in place, once and for all; the store is locked."""
    for entry in _entries(changes):
        if not (entry.is_dir() if entry.name in _STEPS else entry.name == DELETED and entry.is_file()):
            raise ValueError(f"keys of staged changes begin with their step ('0/', '1/' or '2/'): found {entry.name!r}")
    for step in _STEPS:
        _check_below(os.path.join(changes, step), root, "", verify)
    for key in _deleted(changes, path):
        folder = key.rpartition("/")[0]
        verify(folder)
        _check_writable(os.path.join(root, folder))
    if durable:
        syncing.sync_tree(changes)
    os.rename(changes, os.path.join(root, COMMIT))  # from now on they count
    if durable:
        syncing.sync_folder(root)
    _finish(root, path, verify, durable)


def _check_below(new: str, there: str, key: str, verify: Verify) -> None:
    """Raise if a folder stands where a file is to be, or the other way round, or a link leads out of the root."""
    found = _entries(new)
    if found:
        _check_writable(there)
    for entry in found:
        target = os.path.join(there, entry.name)
        if not os.path.lexists(target):
            continue
        is_folder = os.path.isdir(target)
        if entry.is_dir(follow_symlinks=False):
            if not is_folder:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), target)
            verify(key + entry.name)
            _check_below(entry.path, target, f"{key}{entry.name}/", verify)
        elif is_folder and not os.path.islink(target):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)


def _check_writable(folder: str) -> None:
    if os.path.isdir(folder) and not os.access(folder, os.W_OK, effective_ids=_EFFECTIVE):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)


def replace_folder(root: str, hidden: str, prefix: str, verify: Verify, durable: bool) -> None:
    """Put the folder `NEW` of a hidden folder in the place of that of `prefix`; the store is locked.

    In two moves, of which `recover` makes the second if this process dies between them.
    """
    folder = os.path.join(root, COMMIT)
    files.write_unseen(os.path.join(hidden, _REPLACED), [prefix.encode()])
    if durable:
        syncing.sync_tree(hidden)
    os.rename(hidden, folder)
    try:
        _finish(root, prefix, verify, durable)
    except OSError:
        with suppress(OSError):
            if os.path.lexists(os.path.join(folder, NEW)) and os.path.lexists(os.path.join(root, prefix)):
                os.rename(folder, hidden)  # it is as it was before
        raise


def recover(root: str, path: str, verify: Verify, locks: Locks) -> None:
    """Finish what a dead process had begun to put in place, or wait for the living one that does so."""
    folder = os.path.join(root, COMMIT)
    end = time.monotonic() + _PATIENCE
    while os.path.lexists(folder):
        with ExitStack() as held:
            try:
                is_mine = held.enter_context(locks.try_store())
            except OSError:
                # who may not write can only wait for one who may
                if time.monotonic() > end:
                    raise
                is_mine = False
            if is_mine and os.path.lexists(folder):
                syncing.sync_tree(folder)
                _finish(root, path, verify, durable=True)
                return
        time.sleep(_POLL)


def _finish(root: str, path: str, verify: Verify, durable: bool) -> None:
    """Put in place what was committed, or what is left of it; then the commit is gone."""
    folder = os.path.join(root, COMMIT)
    touched: set[str] = set()
    _swap(root, folder, touched)
    for step in _STEPS:
        _move_below(os.path.join(folder, step), root, "", verify, touched)
    for key in _deleted(folder, path):
        _delete(root, key, folder, touched)
    if durable:
        syncing.sync_folders(touched, root)
    for name in (_REPLACED, DELETED):  # first what would be done again if only a part of all this were removed
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))
    files.remove_tree(folder)
    if durable:
        syncing.sync_folder(root)


def _move_below(new: str, there: str, key: str, verify: Verify, touched: set[str]) -> None:
    for entry in _entries(new):
        target = os.path.join(there, entry.name)
        if not entry.is_dir(follow_symlinks=False):
            _replace(entry.path, target)
            touched.add(there)
            continue
        if not os.path.lexists(target):
            try:
                os.rename(entry.path, target)
                touched.add(there)
                continue
            except OSError as exc:  # somebody made it meanwhile, or it would have to go to another disk
                if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EXDEV):
                    raise
            touched.update(map(os.path.dirname, files.make_folders(target)))
        verify(key + entry.name)
        _move_below(entry.path, target, f"{key}{entry.name}/", verify, touched)


def _replace(new: str, target: str) -> None:
    try:
        os.replace(new, target)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        with open(new, "rb") as file:
            files.write(target, [file.read()], durable=True)
        os.unlink(new)


def _delete(root: str, key: str, folder: str, touched: set[str]) -> None:
    location = os.path.join(root, *key.split("/"))
    if not os.path.lexists(location):
        return
    touched.add(os.path.dirname(location))
    if os.path.isdir(location) and not os.path.islink(location):
        os.rename(location, files.inside(folder))
    else:
        os.unlink(location)


def _swap(root: str, folder: str, touched: set[str]) -> None:
    try:
        with open(os.path.join(folder, _REPLACED), "rb") as file:
            target = os.path.join(root, *file.read().decode().split("/"))
    except FileNotFoundError:
        return
    new, old = os.path.join(folder, NEW), files.inside(folder)
    if not os.path.lexists(new):
        return
    is_there = os.path.lexists(target)
    if is_there:
        os.rename(target, old)
    try:
        os.rename(new, target)
    except BaseException:
        if is_there:
            os.rename(old, target)
        raise
    touched.add(os.path.dirname(target))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not files.is_partial(entry.name)]
    except FileNotFoundError:
        return []


def _deleted(changes: str, path: str) -> list[str]:
    try:
        with open(os.path.join(changes, DELETED), "rb") as file:
            return deleted_keys(file.read(), path)
    except FileNotFoundError:
        return []
