"""What dead writers left in the folder of a store and beside it: found here, removed by `LocalStore.clean`.

`zarrds.storage.local.staging` says which hidden names there are. Those with a lock file belong to a dead process if
their lock can be had. Unfinished files, which an array that is written in place leaves, have none: when nothing was
written to one for an hour, its writer is taken for dead. If it lives after all it loses nothing, as it then writes
that file again. Workspaces (`zarrds.storage.local.workspace`) stay for another run to go on from; one that nobody has
at work, and in which nothing was done for an hour, may go. Everything here takes absolute locations.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from zarrds.storage.local import files, staging
from zarrds.storage.local.locking.lock_files import LockFile

__all__ = ["OLD", "Unfinished", "dead", "remove_old", "remove_old_workspaces", "unfinished", "workspaces"]

# seconds after which an unfinished file is nobody's
OLD = 3600.0

# the kind of work of a workspace: too short for a token of `staging`
_WORK = "[a-z]{1,16}"
_LOCK = re.compile(rf"\.(?:.*\.)?lock(?:-\d\d)?{re.escape(files.PARTIAL)}\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A file that should have become the value of a key, or a hidden folder without a lock file.

    Attributes
    ----------
    name : str
        Its place below the root, with slashes.
    is_folder : bool
    is_old : bool
        Whether its writer is taken for dead.
    """

    name: str
    is_folder: bool
    is_old: bool


def dead(root: str) -> list[str]:
    """The names of hidden folders and lock files of dead processes, in the folder `root` and beside it."""
    folder, name = os.path.split(root)
    found: list[str] = []
    # not those of a store beside it whose name begins as this one's, nor those of workspaces
    word = rf"(?!{_WORK}\.)[^.]+"
    beside = re.compile(rf"\.{re.escape(files.short(name))}\.{word}\.lock{re.escape(files.PARTIAL)}\Z", re.DOTALL)
    for place, pattern in ((root, _LOCK), (folder, beside)):
        names = _names(place)
        for lock in sorted(filter(pattern.match, names)):
            if _is_free(place, lock):
                hidden = lock.replace(f".lock{files.PARTIAL}", "")
                kinds = [f"{hidden}{files.PARTIAL}", f"{hidden}.old{files.PARTIAL}"]
                found += [lock, *(n for n in kinds if n in names)]
    return found


def _names(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()  # there is none, or it is none of ours


def _is_free(folder: str, name: str) -> bool:
    """Whether nobody holds the lock of a lock file that exists."""
    lock = LockFile(folder, name)
    try:
        if not os.path.lexists(lock.location) or not lock.take(wait=False):
            return False
    except OSError:  # not ours to lock
        return False
    is_there = not lock.is_new  # else it was gone meanwhile, and made anew by taking it
    lock.drop(keep=is_there)
    return is_there


def unfinished(root: str) -> Iterator[Unfinished]:
    """Unfinished files, and hidden folders without a lock file, anywhere below the folder `root`."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        except OSError:
            continue  # it is gone, or not for us
        hidden = {name for name in found if files.is_partial(name)}
        waiting += [os.path.join(folder, name) for name, is_folder in found.items() if is_folder and name not in hidden]
        owned = {name.replace(f".lock{files.PARTIAL}", files.PARTIAL) for name in hidden if _LOCK.match(name)}
        # changes that are being put in place are for `recover`
        owned.add(f".commit{files.PARTIAL}")
        for name in sorted(hidden):
            if _LOCK.match(name) or (found[name] and name in owned):
                continue
            location = os.path.join(folder, name)
            age = _age(location)
            if age is not None:
                where = os.path.relpath(location, root).replace(os.sep, "/")
                yield Unfinished(where, found[name], age > OLD)


def _age(location: str, inside: str | None = None) -> float | None:
    """Seconds since something was written there (or to a file inside), None if nothing is there."""
    try:
        written = os.lstat(location).st_mtime
    except OSError:
        return None
    if inside is not None:
        with suppress(OSError):
            written = max(written, os.lstat(os.path.join(location, inside)).st_mtime)
    return time.time() - written


def workspaces(root: str) -> list[Unfinished]:
    """Workspaces of the store at `root` that nobody is at work in, or their lock files, by their names beside it."""
    folder, name = os.path.split(root)
    partial = re.escape(files.PARTIAL)
    pattern = re.compile(rf"(\.{re.escape(files.short(name))}\.{_WORK})(\.lock)?{partial}\Z", re.DOTALL)
    there = _names(folder)
    found = []
    for hidden in sorted({match[1] for match in map(pattern.match, there) if match}):
        lock, place = f"{hidden}.lock{files.PARTIAL}", f"{hidden}{files.PARTIAL}"
        if lock not in there or _is_free(folder, lock):
            left = place if place in there else lock
            age = _age(os.path.join(folder, left), "done")
            if age is not None:
                found.append(Unfinished(left, left == place, age > OLD))
    return found


def remove_old_workspaces(root: str) -> list[str]:
    """Remove workspaces of the store at `root` in which nothing was done for long; return their names."""
    folder = os.path.dirname(root)
    removed = []
    for found in workspaces(root):
        hidden = found.name.removesuffix(files.PARTIAL).removesuffix(".lock")
        lock = LockFile(folder, f"{hidden}.lock{files.PARTIAL}")
        with suppress(OSError):
            if found.is_old and lock.take(wait=False):
                try:
                    staging.remove_tree(os.path.join(folder, f"{hidden}{files.PARTIAL}"))
                    removed.append(found.name)
                finally:
                    lock.drop()
    return removed


def remove_old(root: str) -> list[str]:
    """Remove unfinished files whose writers are taken for dead; return their places below the root."""
    removed = []
    for found in list(unfinished(root)):
        if found.is_old and not found.is_folder:
            with suppress(OSError):
                os.unlink(os.path.join(root, found.name))
                removed.append(found.name)
    return removed
