"""Hidden folders: where stores are staged, and where removed files go first.

Each has a lock file beside it, which its owner holds from before it makes the folder until after the folder is gone.
So a folder whose lock can be had belongs to a dead process, and may be removed by anybody. In short, for a store
``x.zarr``::

    .x.zarr.TOKEN.zarrds-partial                a whole store that will become x.zarr, or the old one
    .x.zarr.TOKEN.lock.zarrds-partial           its lock file
    .x.zarr.TOKEN.old.zarrds-partial            the old store, where folders cannot be exchanged
    x.zarr/.TOKEN.zarrds-partial/0/KEY          changes, or what is being removed
    x.zarr/.TOKEN.lock.zarrds-partial           their lock file
    x.zarr/.commit.zarrds-partial               changes that are being put in place
    x.zarr/.lock.zarrds-partial, .lock-NN.…     locks of keys, see `locks`

Everything here takes absolute locations and raises OSError.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

from zarrds.storage.local import files, folders
from zarrds.storage.local.locking.lock_files import LockFile, in_use

__all__ = [
    "clean",
    "device",
    "finish_swap",
    "is_owned",
    "make_apart",
    "make_beside",
    "make_inside",
    "remove",
    "remove_all",
    "remove_at_once",
    "remove_odd_locks",
    "remove_tree",
    "swap",
]

_ATTEMPTS = 20  # of making a folder in a root that others remove
_REMOVALS = 20  # of removing a folder that others fill

_PATIENCE = 30.0  # seconds, for one who is just putting a store in its place

_TOKEN = "[0-9a-f]{17,40}"
_PARTIAL = re.escape(files.PARTIAL)
_LOCK_OF_FOLDER = re.compile(rf"(\..*{_TOKEN})\.lock{_PARTIAL}\Z", re.DOTALL)
_INSIDE = re.compile(rf"\.(?:{_TOKEN}\.lock|lock(?:-\d\d)?){_PARTIAL}\Z")

# the lock files of the hidden folders of this process
_owned: dict[str, LockFile] = {}


def _disown_all() -> None:
    _owned.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)


def make_inside(root: str) -> str:
    """Make a hidden folder in `root`, owned by this process until `remove`."""
    for attempt in range(_ATTEMPTS):
        hidden = _own(files.inside(root))
        try:
            _make(hidden)
        except FileNotFoundError:
            if attempt == _ATTEMPTS - 1:
                raise
            continue  # somebody else removed the root
        if os.path.lexists(_with(hidden, "lock")):
            return hidden
        remove(hidden)  # another root came in the place of the one that the lock file is in
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), root)


def make_beside(root: str) -> str:
    """Make a hidden folder beside `root`, owned by this process until `remove`."""
    hidden = _own(files.partial(root))
    _make(hidden)
    return hidden


def make_apart(location: str, root: str) -> None:
    """Make a folder, or make an empty one anew, far from those beside it, where the file system knows what that means.

    Else nothing is done. The folder is `root`, or a hidden one beside it.
    """
    if sys.platform != "linux":
        return
    hidden = make_beside(root)
    try:
        if folders.spread(hidden):
            apart = files.inside(hidden)
            os.mkdir(apart)
            os.rename(apart, location)
    finally:
        remove(hidden)


def _own(hidden: str) -> str:
    lock = LockFile(os.path.dirname(hidden), os.path.basename(_with(hidden, "lock")))
    try:
        lock.take()
        _owned[hidden] = lock
    except BaseException:
        lock.drop()
        raise
    return hidden


def device(hidden: str) -> int | None:
    """A descriptor for `syncing.sync_tree`, opened before a hidden folder of this process was made; None of others'."""
    lock = _owned.get(hidden)
    return None if lock is None else lock.descriptor()


def is_owned(hidden: str) -> bool:
    """Whether this process has made a hidden folder, and has not removed it."""
    return hidden in _owned


def _make(hidden: str) -> None:
    try:
        os.mkdir(hidden)
    except BaseException:
        remove(hidden)
        raise


def _with(hidden: str, kind: str) -> str:
    return f"{hidden.removesuffix(files.PARTIAL)}.{kind}{files.PARTIAL}"


def aside(hidden: str) -> str:
    """Return where the old store goes if it must be moved away first."""
    return _with(hidden, "old")


def remove(hidden: str) -> None:
    """Remove a hidden folder and its lock file. What cannot be removed is left for `clean`."""
    lock = _owned.get(hidden)
    if lock is None or lock.held is None:  # another process owns it, or nobody does any more
        lock = None
        location = _with(hidden, "lock")
        other = LockFile(*os.path.split(location))
        with suppress(OSError):
            if os.path.lexists(location) and other.take(wait=False):
                lock = other
    _remove(hidden, lock)
    _owned.pop(hidden, None)  # not before: an interrupt leaves it to `remove_all`


def remove_all() -> None:
    """Remove all hidden folders of this process, also one that was made right before it was interrupted."""
    for hidden in list(_owned):
        remove(hidden)


def _remove(hidden: str, lock: LockFile | None) -> None:
    there = [location for location in (hidden, aside(hidden)) if os.path.lexists(location)]
    try:
        for location in there:
            with suppress(OSError):
                remove_tree(location)
    finally:
        if lock is not None:
            with suppress(OSError):
                lock.drop(keep=any(map(os.path.lexists, there)))


def remove_tree(location: str) -> None:
    """Remove a folder with all that it holds, or what stands in its place; a missing one is no error."""
    for attempt in range(_REMOVALS):
        try:
            if folders.is_folder(location):
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
            elif exc.errno == errno.EACCES and not attempt:
                _make_writable(location)
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


def _make_writable(location: str) -> None:
    """Let this user remove what lies in folders of its own that it had made read-only."""
    waiting = [location]
    while waiting:
        folder = waiting.pop()
        with suppress(OSError):  # it belongs to somebody else
            os.chmod(folder, stat.S_IRWXU)
        with suppress(OSError):
            waiting += _folders(folder)


def _folders(location: str) -> Iterable[str]:
    with os.scandir(location) as entries:
        return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def remove_at_once(root: str, locations: Iterable[str]) -> None:
    """Remove files, links and folders of `root`; these so that nobody sees them half empty, or fills them meanwhile."""
    hidden = ""
    try:
        for location in locations:
            with suppress(FileNotFoundError):  # somebody else removes it too
                if not folders.is_folder(location):
                    with suppress(IsADirectoryError, PermissionError):  # somebody else makes one there just now
                        os.unlink(location)
                        continue
                hidden = hidden or make_inside(root)
                os.rename(location, files.inside(hidden))
    finally:
        if hidden:
            remove(hidden)


def swap(hidden: str, target: str) -> None:
    """Make the hidden folder the one at `target`, where folders cannot be exchanged; see `finish_swap`."""
    if hidden in _owned:
        _swap(hidden, target)
        return
    own = _own(files.partial(target))  # `finish_swap` finds nothing in a workspace
    try:
        os.rename(hidden, own)
        _swap(own, target)
    except BaseException:
        with suppress(OSError):
            os.rename(own, hidden)
        raise
    finally:
        remove(own)


def _swap(hidden: str, target: str) -> None:
    old = aside(hidden)
    try:
        os.rename(target, old)
        os.rename(hidden, target)
    except BaseException:
        if os.path.lexists(old) and not os.path.lexists(target):
            os.rename(old, target)
        raise


def finish_swap(root: str) -> None:
    """Put the new store in its place if a process died when it had just moved the old one away.

    Needed only if there is nothing at `root`.
    """
    folder, name = os.path.split(root)
    old = re.compile(rf"(\.{re.escape(files.short(name))}\.{_TOKEN})\.old{_PARTIAL}\Z", re.DOTALL)
    try:
        found = [match[1] + files.PARTIAL for match in map(old.match, os.listdir(folder)) if match]
    except OSError:
        return  # there is no such folder, or it is none of ours
    for hidden in found:
        lock = LockFile(folder, os.path.basename(_with(hidden, "lock")))
        lock.take(timeout=_PATIENCE)  # a living process holds it for a moment only
        try:
            _finish(os.path.join(folder, hidden), root)
        finally:
            lock.drop(keep=os.path.lexists(os.path.join(folder, aside(hidden))))


def _finish(hidden: str, root: str) -> None:
    if not os.path.lexists(root) and folders.is_folder(hidden) and folders.is_folder(aside(hidden)):
        os.rename(hidden, root)


def clean(root: str) -> list[str]:
    """Remove the hidden folders and lock files of dead processes, in `root` and beside it; return their names."""
    folder, name = os.path.split(root)
    beside = re.compile(rf"\.{re.escape(files.short(name))}\.{_TOKEN}\.lock{_PARTIAL}\Z", re.DOTALL)
    removed: list[str] = []
    for place, pattern in ((root, _INSIDE), (folder, beside)):
        try:
            names = os.listdir(place)
        except OSError:
            continue  # there is none, or it is none of ours
        for found in sorted(filter(pattern.match, names)):
            with suppress(OSError):
                removed += _clean_one(place, found, root)
    return removed


def remove_odd_locks(root: str) -> list[str]:
    """Remove what has the name of a lock file in `root` and is none: links, pipes, folders; return their names."""
    removed = []
    for name in sorted(filter(_INSIDE.match, os.listdir(root))):
        location = os.path.join(root, name)
        with suppress(FileNotFoundError):  # locks come and go
            if not stat.S_ISREG(os.lstat(location).st_mode):
                remove_tree(location)
                removed.append(name)
    return removed


def _clean_one(place: str, name: str, root: str) -> list[str]:
    lock = LockFile(place, name)
    if in_use(os.path.join(place, name)) or not lock.take(wait=False):
        return []
    token = _LOCK_OF_FOLDER.match(name)
    if token is None:  # of keys
        lock.drop()
        return [name]
    hidden = os.path.join(place, token[1] + files.PARTIAL)
    try:
        if place != root:
            _finish(hidden, root)
    except BaseException:
        lock.drop(keep=True)
        raise
    there = [path for path in (hidden, aside(hidden)) if os.path.lexists(path)]
    _remove(hidden, lock)
    return [os.path.basename(path) for path in there if not os.path.lexists(path)] if there else [name]
