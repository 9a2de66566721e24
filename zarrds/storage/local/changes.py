"""Staged changes: many values that are put in place as one, also by a process that dies meanwhile.

They are in a hidden folder of the root, which gets the name `COMMIT` in the instant from which on they count. Then they
are put in place, one after the other; whoever finds that folder and can lock the store goes on with it. All that is
done here can be done again, from the beginning, after it was broken off anywhere.

Everything here takes absolute locations and raises OSError, and for what a caller did wrong ValueError.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Sequence

from zarrds.storage.commits.committer import DELETED, MAX_DELETED, STEPS, deleted_keys
from zarrds.storage.local import files, folders, staging, syncing
from zarrds.storage.local.locking.holding import documents_below, wait_for_holders
from zarrds.storage.local.locking.lock_files import BusyError
from zarrds.storage.local.locking.locks import Locks

__all__ = [
    "COMMIT",
    "DamagedChangesError",
    "apply_changes",
    "is_about_to_change",
    "recover",
    "repair",
]

COMMIT = f".commit{files.PARTIAL}"

_EFFECTIVE = os.access in os.supports_effective_ids  # not on Windows

_POLL = 0.001  # seconds between two looks at a commit that somebody else finishes
_PATIENCE = 5.0  # seconds, if this process could not finish it

_ATTEMPTS = 20  # of putting changes in place while others make and remove folders there
_UNPLANNED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)

Verify = Callable[[str], None]  # raises if a folder, given as a part of keys, lies outside of the root


class DamagedChangesError(ValueError):
    """Changes to put in place that hold what no writer has put there; the message says what."""


class _Plan:
    """What to move where, found by looking at changes and at the store without touching either.

    Parameters
    ----------
    changes, root : str
    path : str
    verify : callable
    as_far_as_possible : bool
        Leave out what is damaged.

    Attributes
    ----------
    moves : list of (str, str)
        In order: what, as a part of the folder of the changes, and where to. A folder that is new moves whole.
    replaced : list of str
        The locations of files that are replaced after all that is new was moved: documents.
    emptied : list of str
        The folders of which nothing is left then, each before those in it.
    deleted : list of str
        Keys.
    """

    def __init__(self, changes: str, root: str, path: str, verify: Verify, *, as_far_as_possible: bool = False) -> None:
        self._changes, self._root, self._verify = changes, root, verify
        self._lenient = as_far_as_possible
        self._is_for_owners: dict[str, bool] = {}  # of each folder that was looked at
        self.moves: list[tuple[str, str]] = []
        self.replaced: list[str] = []
        self.emptied: list[str] = []
        self.deleted: list[str] = []
        names = {entry.name: entry for entry in _entries(changes)}
        for name in names.keys() - {*STEPS, DELETED}:
            self._damaged(f"keys of staged changes begin with their step ('0/', '1/' or '2/'): found {name!r}")
        try:
            for step in STEPS:
                if step in names and self._is_folder(names[step]):
                    self._add(step, "")
        except RecursionError:
            self._damaged("folders are nested too deeply")
        if DELETED in names:
            self._delete(os.path.join(changes, DELETED), path)

    def _damaged(self, problem: str) -> None:
        if not self._lenient:
            raise DamagedChangesError(problem)

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        """Whether an entry is a real folder; what is no file either is no change."""
        if entry.is_dir(follow_symlinks=False):
            return True
        self._damaged(f"{entry.name!r} is no folder, as steps are")
        return False

    def _delete(self, location: str, path: str) -> None:
        value = files.read_small(location, MAX_DELETED + 1)
        try:
            if value is None:
                raise ValueError(f"{DELETED!r} of staged changes is no file, and no step of theirs")
            self.deleted = deleted_keys(value, path)
        except ValueError as exc:
            self._damaged(str(exc))
        for key in self.deleted:
            self._verify(key.rpartition("/")[0])
            self._check_replaceable(os.path.join(self._root, *key.split("/")))

    def _add(self, part: str, prefix: str) -> None:
        """Plan for a folder of the changes, and raise if what stands in the store is not what that needs."""
        self.emptied.append(part)
        entries = _entries(os.path.join(self._changes, part))
        for entry in sorted(entries, key=_place_in_order):
            target = os.path.join(self._root, prefix + entry.name)
            is_folder = entry.is_dir(follow_symlinks=False)
            if not is_folder and not entry.is_file(follow_symlinks=False):
                self._damaged(f"'{part}/{entry.name}' is neither a file nor a folder")
                continue
            mode = _mode(target)
            self._check_replaceable(target, is_kept=bool(is_folder and mode))
            if is_folder and mode:
                if not (stat.S_ISDIR(mode) or os.path.isdir(target)):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), target)
                self._verify(prefix + entry.name)
                self._add(f"{part}/{entry.name}", f"{prefix}{entry.name}/")
            elif stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
            else:
                self.moves.append((f"{part}/{entry.name}", target))
                if stat.S_ISREG(mode) and not part.startswith(STEPS[0]):
                    self.replaced.append(target)

    def _check_replaceable(self, target: str, *, is_kept: bool = False) -> None:
        """Raise unless names may be changed in the folder of `target`, and that one unless it `is_kept`."""
        folder = os.path.dirname(target)
        if folder not in self._is_for_owners:
            if not os.access(folder, os.W_OK, effective_ids=_EFFECTIVE) and os.path.isdir(folder):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)
            self._is_for_owners[folder] = _is_for_owners(folder)
        if self._is_for_owners[folder] and not is_kept and _owner(target) not in (None, os.geteuid()):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), target)


def apply_changes(
    root: str, changes: str, path: str, verify: Verify, *, durable: bool, device: int | None = None
) -> None:
    """Put changes in place, once and for all; the store is locked.

    `device` is a descriptor that was opened before they were staged, see `syncing.sync_tree`.
    """
    try:
        plan = _Plan(changes, root, path, verify)
    except DamagedChangesError as exc:
        if isinstance(exc.__context__, RecursionError):  # what was staged here is not damaged, but deep
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), changes) from exc
        raise
    commit = os.path.join(root, COMMIT)
    if os.path.lexists(commit) and not folders.is_folder(commit):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), commit)
    if durable:
        syncing.sync_tree(changes, device)
    try:
        os.rename(changes, commit)  # from now on they count
        if durable:
            syncing.sync_folder(root)
        _finish(root, path, verify, plan, durable=durable, device=device)
    except (KeyboardInterrupt, SystemExit):  # the first came too late to leave all as it was
        if folders.is_folder(commit) and not os.path.lexists(changes):
            _finish(root, path, verify, durable=durable, device=device)
        raise


def is_about_to_change(root: str, key: str) -> bool:
    """Whether changes that count already, and are not in place yet, replace the value of a key."""
    folder = os.path.join(root, COMMIT)
    return folders.is_folder(folder) and any(os.path.lexists(os.path.join(folder, step, key)) for step in STEPS)


def recover(root: str, path: str, verify: Verify, locks: Locks) -> None:
    """Finish what a dead process had begun to put in place, or wait for the living one that does so.

    Only a real folder was ever a commit: what else has its name is left alone, and nothing is looked for behind it.
    """
    folder = os.path.join(root, COMMIT)
    end = time.monotonic() + _PATIENCE
    while folders.is_folder(folder):
        is_mine = False
        try:
            _check_owner(root, folder)
            with locks.hold(timeout=0):
                is_mine = True
                if folders.is_folder(folder):
                    syncing.sync_tree(folder)
                    _finish(root, path, verify, durable=True)
                return
        except BusyError:
            pass
        except OSError:
            # who may not write can only wait for one who may
            if is_mine or time.monotonic() > end:
                raise
        time.sleep(_POLL)


def repair(root: str, path: str, verify: Verify) -> list[str]:
    """Finish damaged changes as far as they can be read, and remove what stands in the place of a commit.

    The store is locked. Returns the names of what is then gone.
    """
    folder = os.path.join(root, COMMIT)
    if not os.path.lexists(folder):
        return []
    if not folders.is_folder(folder):
        os.unlink(folder)
        return [COMMIT]
    _check_owner(root, folder)
    syncing.sync_tree(folder)
    plan = _Plan(folder, root, path, verify, as_far_as_possible=True)
    _finish(root, path, verify, plan, durable=True)
    return [COMMIT]


def _check_owner(root: str, folder: str) -> None:
    """Raise unless this user, or a group of this user's that the store is shared with, owns the store or the changes.

    Who reads what others own is not to be made to move files there.
    """
    if not hasattr(os, "geteuid"):
        return
    store, changes = os.stat(root), os.lstat(folder)
    if os.geteuid() in (store.st_uid, changes.st_uid):
        return
    if not (store.st_mode & stat.S_IWGRP and store.st_gid in {os.getegid(), *os.getgroups()}):
        raise PermissionError(errno.EACCES, "the store belongs to another user", folder)


def _finish(
    root: str, path: str, verify: Verify, plan: _Plan | None = None, *, durable: bool, device: int | None = None
) -> None:
    """Put in place what was committed, or what is left of it; then the commit is gone."""
    folder = os.path.join(root, COMMIT)
    touched: set[str] = set()
    attempts = _ATTEMPTS
    while True:
        plan = plan or _Plan(folder, root, path, verify)
        if plan.replaced:
            wait_for_holders(plan.replaced)
        try:
            for part, target in plan.moves:
                _move(os.path.join(folder, part), target, touched)
            break
        except OSError as exc:
            # others may make the folder of an array that they write to, or remove one
            attempts -= 1
            if exc.errno not in _UNPLANNED or not attempts:
                raise
            plan = None
    if plan.deleted:
        _retire_documents(root, plan.deleted, folder, touched)
    for key in plan.deleted:
        _delete(root, key, folder, touched)
    if durable:
        syncing.sync_folders(touched, device)
    if plan.deleted:  # first what would be done again if only a part of all this were removed
        os.unlink(os.path.join(folder, DELETED))
    _remove(folder, plan.emptied)
    if durable:
        syncing.sync_folder(root)


def _retire_documents(root: str, keys: Sequence[str], folder: str, touched: set[str]) -> None:
    """Move the documents that go into the folder of the changes, and wait for who holds them, also after a crash.

    Who looks from now on finds none. What is written beside them by who looked before is deleted with all else.
    """
    staying: list[str] = []
    for key in keys:
        for location in documents_below(os.path.join(root, *key.split("/"))):
            touched.add(os.path.dirname(location))
            try:
                os.rename(location, files.inside(folder))
            except OSError:  # on another disk: it is waited for where it is
                staying.append(location)
    with os.scandir(folder) as entries:
        moved = [each.path for each in entries if files.is_partial(each.name) and each.is_file(follow_symlinks=False)]
    wait_for_holders(moved + staying)


def _move(new: str, target: str, touched: set[str]) -> None:
    touched.add(os.path.dirname(target))
    try:
        os.replace(new, target)
        return
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
    # another disk is mounted there
    if folders.is_folder(new):
        touched.update(map(os.path.dirname, folders.make_folders(target)))
        for entry in _entries(new):
            _move(entry.path, os.path.join(target, entry.name), touched)
        os.rmdir(new)
    else:
        files.write(target, [files.content(new)], durable=True)
        os.unlink(new)


def _remove(folder: str, parts: Sequence[str]) -> None:
    try:
        for part in reversed(parts):
            os.rmdir(os.path.join(folder, part))
        os.rmdir(folder)
    except OSError:  # it holds what was deleted, or a writer's unfinished file
        staging.remove_tree(folder)


def _delete(root: str, key: str, folder: str, touched: set[str]) -> None:
    location = os.path.join(root, *key.split("/"))
    if not os.path.lexists(location):
        return
    touched.add(os.path.dirname(location))
    if os.path.isdir(location) and not os.path.islink(location):
        os.rename(location, files.inside(folder))
    else:
        os.unlink(location)


def _mode(location: str) -> int:
    """The type of a file or link, and its permissions; 0 if nothing is there."""
    try:
        return os.lstat(location).st_mode
    except FileNotFoundError:
        return 0


def _owner(location: str) -> int | None:
    """The number of the user who owns a file, link or folder; None if nothing is there."""
    try:
        return os.lstat(location).st_uid
    except FileNotFoundError:
        return None


def _is_for_owners(folder: str) -> bool:
    """Whether this user may remove from a folder only what is its own, as in /tmp."""
    if not hasattr(os, "geteuid"):
        return False
    try:
        status = os.stat(folder)
    except FileNotFoundError:
        return False
    return bool(status.st_mode & stat.S_ISVTX) and os.geteuid() not in (0, status.st_uid)


def _place_in_order(entry: os.DirEntry[str]) -> tuple[bool, str]:
    """Folders before files, and so what lies below a key's folder before its files; each by name."""
    return not entry.is_dir(follow_symlinks=False), entry.name


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not files.is_partial(entry.name)]
    except FileNotFoundError:
        return []
