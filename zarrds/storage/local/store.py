"""A store in a directory: every key is a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Self

from zarrds.arguments import text_of_path
from zarrds.errors import InvalidKeyError, StoreIOError, ZarrdsError
from zarrds.storage.local import files, folders, staging, syncing
from zarrds.storage.local.changes import (
    COMMIT,
    DamagedChangesError,
    apply_changes,
    is_about_to_change,
    recover,
    repair,
)
from zarrds.storage.local.locking.holding import share
from zarrds.storage.local.locking.lock_files import BusyError
from zarrds.storage.local.replacing import check_replaceable, move_in
from zarrds.storage.local.tree import folds_case, real_folder
from zarrds.storage.local.values import FolderValues

__all__ = ["LocalStore"]

_MANY = 256  # files, which take longer to make than to look for a place for them


class LocalStore(FolderValues):
    """Keys as files below a directory, which is made by the first write.

    Symbolic links are followed while they stay below the directory, and refused where they leave it. This
    guards against what a store contains, not against somebody who changes it at the same moment.

    Parameters
    ----------
    path : str or os.PathLike
        The directory.
    lock_timeout : float, optional
        Seconds to wait for a lock that another writer holds, before that is an error; without it one waits for ever,
        and after five seconds a `RuntimeWarning` tells for whom.

    Attributes
    ----------
    path : str
        The directory, as it was given.

    Raises
    ------
    StoreIOError
        By all methods, if the file system refuses; its `errno` says why.
    LockTimeoutError
        By `lock`, and by what locks, after `lock_timeout` seconds.
    InvalidKeyError
        By all methods, for keys that are malformed or leave the directory through a symbolic link.

    Notes
    -----
    All methods may be called from any number of threads and processes at once. Copies of a pickle, and all
    stores of one directory, are equal.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> store = LocalStore(folder.name)
    >>> store.set("t2m/c/0", b"one", b"two")
    >>> store.get("t2m/c/0")
    b'onetwo'
    >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str], *, lock_timeout: float | None = None) -> None:
        name = text_of_path(path=path)
        self.__setstate__((name, real_folder(name), None, None, False, lock_timeout))

    @property
    def root(self) -> str:
        """Where the directory is, without symbolic links."""
        return self._root

    @property
    def folds_case(self) -> bool:
        """Whether names that differ only in case are one file; see `InFolder`."""
        return folds_case(self._root)

    def __repr__(self) -> str:
        return f"LocalStore({self.path!r})"

    def __eq__(self, other: object) -> bool:
        return self._root == other._root if isinstance(other, LocalStore) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._root)

    def __dask_tokenize__(self) -> tuple[str, str, int, int]:
        # all that is committed is renamed into the directory, or takes its place
        try:
            status = os.stat(self._root)
        except OSError:
            return "zarrds.LocalStore", self._root, 0, 0
        return "zarrds.LocalStore", self._root, status.st_ino, status.st_mtime_ns

    # staging

    def prepare(self, n_values: int) -> None:
        """Get ready for about so many new values; see `Prepared.prepare`.

        Of a store of many files the folder is made apart from others: some file systems keep together what is made in
        one folder, and there take a long time to make a file if many were removed a moment ago.
        """
        if n_values < _MANY or (self._final is None and os.path.lexists(self._root)):
            return
        parent = os.path.dirname(self._root)
        with suppress(OSError):  # who writes to it finds out
            self._make_folders(parent)
            staging.make_apart(self._root, self._final or self._root)
            if self._durable:
                syncing.sync_folder(parent)

    def stage(self) -> Self:
        """Return a new, empty store in a hidden folder beside the root; see `Committer.stage`.

        Raises
        ------
        StoreExistsError
            If a file stands at the root, or the process works in it: it would be left in a folder that is no more.
        """
        check_replaceable(self._root, self.path)
        try:
            self._make_folders(os.path.dirname(self._root))
            hidden = staging.make_beside(self._root)
        except OSError as exc:
            raise self._failure(exc, "stage", "") from exc
        return self._like((self.path, hidden, self._root, None, False, self._lock_timeout))

    def staged_in(self, folder: str) -> Self:
        """Return a staged store in a folder of the caller's, beside the root, which stays if this process dies."""
        check_replaceable(self._root, self.path)
        return self._like((self.path, folder, self._root, None, False, self._lock_timeout))

    def publish(self, staged: Self, *, replace: bool = True) -> None:
        """Replace all keys by those of `staged`; see `Committer.publish`.

        On Linux a filled folder is exchanged in one step. Where the file system cannot do that, it is moved
        aside first, and `recover` moves the new one in if this process dies in between.
        """
        if staged._final != self._root:
            raise ValueError(f"the store was not staged for {self!r}")
        try:
            if self._durable:
                syncing.sync_tree(staged._root, staging.device(staged._root))
            move_in(staged._root, self._root, self.path, replace=replace, lock=self.lock)
            if self._durable:
                syncing.sync_folder(os.path.dirname(self._root))
        except ZarrdsError:
            raise
        except OSError as exc:
            raise self._failure(exc, "publish", "") from exc
        finally:
            self._verified.clear()
            staged._verified.clear()
        staging.remove(staged._root)

    def discard(self, staged: Self) -> None:
        """Remove a staged store that is not to be published; one that is gone already is no error."""
        if staged._final is None:
            raise ValueError(f"{staged!r} was not staged")
        staging.remove(staged._root)
        staged._verified.clear()

    # changes

    def stage_changes(self) -> Self:
        """Return a new, empty store for changes, in a hidden folder of the root; see `Committer.stage_changes`."""
        try:
            self._make_folders(self._root)
            hidden = staging.make_inside(self._root)
        except OSError as exc:
            raise self._failure(exc, "stage changes", "") from exc
        return self._like((self.path, hidden, self._commit, None, False, self._lock_timeout))

    def with_scratch(self, changes: Self) -> Self:
        """Return this store, its unfinished files in the folder of `changes`; see `ScratchWriting.with_scratch`."""
        self._check_changes(changes)
        return self._like((self.path, self._root, None, changes._root, self._durable, self._lock_timeout))

    def link(self, key: str, changes: Self, to: str) -> None:
        """Make the value of `key` that of `to` in `changes`: the same file, or a copy of it; see `Committer.link`."""
        self._check_changes(changes)
        location, other = self._locate(key), changes._locate(to)
        if location is None or other is None:
            raise InvalidKeyError("the name is kept for unfinished files", path=self.path, key=to if location else key)
        try:
            if os.path.islink(location):
                location = self._resolve(key)
            folders.make_folders(os.path.dirname(other), changes._root)
            files.link(location, other)
        except OSError as exc:
            raise changes._failure(exc, "link", key) from exc

    def apply_changes(self, changes: Self) -> None:
        """Put changes in place; see `Committer.apply_changes`."""
        self._check_changes(changes)
        try:
            self.check_unchanged()  # what the changes were made from was read in the store that was there
            device = staging.device(changes._root)
            apply_changes(self._root, changes._root, self.path, self._verify, durable=self._durable, device=device)
        except (OSError, DamagedChangesError) as exc:
            # not if they are gone because they were put in place, before something else failed
            is_gone = isinstance(exc, FileNotFoundError | DamagedChangesError)
            if is_gone and not os.path.lexists(changes._root) and not os.path.lexists(self._commit):
                raise self._replaced() from exc
            if isinstance(exc, OSError):
                raise self._failure(exc, "change", "") from exc
            raise
        finally:
            self._verified.clear()
            changes._verified.clear()
        staging.remove(changes._root)

    def check_unchanged(self) -> None:
        """Raise if another writer has replaced the store since this thread locked it; see `CheckedLock`."""
        try:
            is_lost = self._own_locks().is_lost()
        except OSError as exc:
            raise self._failure(exc, "look at", "") from exc
        if is_lost:
            raise self._replaced()

    def _check_changes(self, changes: Self) -> None:
        if changes._final != self._commit:
            raise ValueError(f"the changes were not staged for {self!r}")

    def recover(self) -> None:
        """Finish the changes of a dead writer, or wait for a living one; see `Committer.recover`."""
        if self._final is not None:
            return
        try:
            os.lstat(self._commit)
        except (FileNotFoundError, NotADirectoryError):
            if os.path.lexists(self._root):
                return
            self._recover(lambda: staging.finish_swap(self._root))
        except OSError as exc:
            raise self._failure(exc, "look at", COMMIT) from exc
        else:
            self._recover(lambda: recover(self._root, self.path, self._verify, self._own_locks()))

    def _recover(self, finish: Callable[[], None]) -> None:
        try:
            finish()
        except DamagedChangesError as exc:
            raise StoreIOError(
                "changes that another process had begun are damaged",
                path=self.path,
                key=COMMIT,
                found=str(exc),
                mend="zarrds.verify(store, repair=True) puts in place what can be read of them; mode='w' replaces all",
            ) from exc
        except OSError as exc:
            error = self._failure(exc, "finish the changes that another process had begun", "")
            error.mend = "Open the store in a process that may write to it, or make it writable for this one"
            raise error from exc
        finally:
            self._verified.clear()

    def hold(self, key: str) -> AbstractContextManager[object]:
        """Let whoever replaces the value of `key` by a commit wait; see `HeldValues.hold`."""
        location = self._locate(key)
        if location is None or self._final is not None:
            return nullcontext()
        while True:
            try:
                held = share(location, self._lock_timeout)
            except BusyError as exc:
                raise self._timed_out(exc, key) from exc
            try:
                # os.access is the quickest look: each chunk that is written takes one
                if not os.access(self._commit, os.F_OK) or not is_about_to_change(self._root, key):
                    return held or nullcontext()
            except BaseException:  # which would keep it
                if held is not None:
                    held.close()
                raise
            if held is not None:
                held.close()
            self.recover()

    def clean(self, *, repair: bool = False) -> list[str]:
        """Remove hidden folders and lock files of dead processes, in the root and beside it; see `Committer.clean`."""
        if self._final is not None:
            return []
        odd = self._repair() if repair and os.path.isdir(self._root) else []
        return odd + staging.clean(self._root)

    def _repair(self) -> list[str]:
        try:
            odd = staging.remove_odd_locks(self._root)
            with self.lock():
                return odd + repair(self._root, self.path, self._verify)
        except OSError as exc:
            if isinstance(exc, ZarrdsError):
                raise
            raise self._failure(exc, "repair", COMMIT) from exc
        finally:
            self._verified.clear()

    def as_durable(self, durable: bool = True) -> Self:
        """Return the same store, whose writes outlive a power cut once they return; see `Durable.as_durable`.

        Values are on the disk before they get their names. That a folder cannot be synced shows after the write.
        """
        return self._like((*self.__getstate__()[:-2], durable, self._lock_timeout))
