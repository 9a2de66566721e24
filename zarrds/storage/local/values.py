"""The values of a store in a directory, one key at a time, and their locks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Self, TypeAlias

from zarrds.errors import ConflictError, InvalidKeyError, LockTimeoutError, ZarrdsError
from zarrds.storage.local import files, folders, staging, syncing
from zarrds.storage.local.changes import COMMIT
from zarrds.storage.local.locking.lock_files import BusyError
from zarrds.storage.local.locking.locks import Locks, locks_of
from zarrds.storage.local.tree import MAX_VERIFIED, Tree, Unseen
from zarrds.storage.protocol import Buffer, Traits, check_key

__all__ = ["FolderValues", "State"]

_ATTEMPTS = 100  # of a write whose folder others remove again and again
_PLAIN = Traits(locks_processes=True)
_DURABLE = Traits(locks_processes=True, concurrency=8)  # a disk makes several writes durable in the time of one


State: TypeAlias = tuple[str, str, str | None, str | None, bool, float | None]


class FolderValues(Tree):
    """The values of `zarrds.storage.local.store.LocalStore`, which is what to use."""

    path: str
    _final: str | None  # of a staged store: the folder that it will become
    _scratch: str | None  # where unfinished files are, if not beside those that they will become
    _durable: bool
    _lock_timeout: float | None
    _locks: Locks | None

    def __getstate__(self) -> State:
        return self.path, self._root, self._final, self._scratch, self._durable, self._lock_timeout

    def __setstate__(self, state: State) -> None:
        path, root, self._final, self._scratch, self._durable, self._lock_timeout = state
        self._place(path, root)
        self._commit = self._base + COMMIT
        self._is_changes = self._final is not None and self._final.endswith(COMMIT)
        self._locks = None

    @property
    def traits(self) -> Traits:
        """As of a disk; of a durable store, which waits for it, several calls at once."""
        return _DURABLE if self._durable else _PLAIN

    # one key

    def set(self, key: str, *parts: Buffer, check: Callable[[], object] | None = None) -> None:
        """Make the concatenation of `parts` the value of `key`, atomically; see `Store.set`.

        A symbolic link at `key` itself is replaced, not followed.
        """
        location = self._locate(key)
        if location is None:
            raise InvalidKeyError(
                f"names like '.*{files.PARTIAL}' are kept for unfinished files",
                path=self.path,
                key=key,
                mend="Rename the variable, group or array",
            )
        attempts = _ATTEMPTS
        made: list[str] = []
        try:
            folder = key.rpartition("/")[0]
            if self._final is not None and check is None and folder not in self._verified:
                made += self._make_room(location)  # in what is staged, a folder that was not there is new
                self._remember(folder)
            while True:
                try:
                    self._write(location, parts, check)
                    break
                except FileNotFoundError:  # the folder is not there yet, or somebody removes it
                    attempts -= 1
                    if not attempts or self._is_gone():
                        raise
                if check is not None:
                    check()  # no folder is made again of what was removed
                self._forget(key)
                made += self._make_room(location)
                self._verify(key.rpartition("/")[0])
            if self._durable:
                syncing.sync_folders({os.path.dirname(place) for place in (location, *made)})
        except ZarrdsError:  # of the check
            raise
        except OSError as exc:
            raise self._failure(exc, "write", key) from exc

    def _write(self, location: str, parts: Sequence[Buffer], check: Callable[[], object] | None) -> None:
        if self._final is not None:
            if check is not None:
                check()  # nobody sees anything of the store yet
            files.write_unseen(location, parts, stamp=self._is_changes)
            return
        try:
            files.write(location, parts, scratch=self._scratch, durable=self._durable, check=check)
        except OSError as exc:
            if exc.errno != errno.EXDEV or self._scratch is None:
                raise
            files.write(location, parts, durable=self._durable, check=check)  # a disk of its own is mounted there

    def written_by_others(self) -> Unseen:
        """How somebody else may write the files of values, so that it is as if `set` did."""
        if self._final is not None:  # all is synced when it is published
            return Unseen(None, None, self._is_changes, False)
        name = files.inside("").removeprefix(os.sep).removesuffix(files.PARTIAL)
        return Unseen(name, self._scratch, True, self._durable)

    def sync_above(self, keys: Iterable[str]) -> None:
        """Make durable what the folders above those of some keys hold: what `set` does where it has made folders."""
        above: set[str] = set()
        for folder in {key.rpartition("/")[0] for key in keys}:
            while folder:
                folder = folder.rpartition("/")[0]
                above.add(folder)
        try:
            syncing.sync_folders(self._base + folder for folder in above)
        except OSError as exc:
            raise self._failure(exc, "write", "") from exc

    def _make_room(self, location: str) -> list[str]:
        if self._final is not None:
            return folders.make_folders(os.path.dirname(location), self._root)  # nothing makes that one again
        with suppress(FileNotFoundError):
            return folders.make_folders(os.path.dirname(location))
        return []

    def _failure(self, exc: OSError, doing: str, key: str) -> ZarrdsError:
        if exc.errno == errno.ENOENT and staging.is_owned(self._root) and not os.path.lexists(self._root):
            return self._replaced()
        return super()._failure(exc, doing, key)

    def _replaced(self) -> ConflictError:
        return ConflictError(
            "another writer has replaced or removed the store meanwhile; nothing of this change was made",
            path=self.path,
            mend="Open it again, and make the change anew",
        )

    def _is_gone(self) -> bool:
        return self._scratch is not None and not os.path.isdir(self._scratch)

    def delete(self, key: str) -> None:
        """Remove `key`; an absent key is no error. A symbolic link at `key` itself is removed, not followed."""
        location = self._locate(key)
        if location is None or os.path.isdir(location):
            return
        try:
            os.unlink(location)
        except (FileNotFoundError, NotADirectoryError):
            self._forget(key)
        except OSError as exc:
            raise self._failure(exc, "delete", key) from exc

    # all keys below a prefix

    def delete_prefix(self, prefix: str) -> None:
        """Remove every key below `prefix`; see `PrefixRemoval.delete_prefix`."""
        target = self._target(prefix)
        if target is None or not os.path.isdir(target):
            return
        try:
            if prefix:
                staging.remove_at_once(self._root, [target])
                return
            with os.scandir(target) as entries:
                found = [entry.path for entry in entries if not files.is_partial(entry.name)]
            staging.remove_at_once(self._root, found)
        except OSError as exc:
            raise self._failure(exc, "delete", prefix) from exc
        finally:
            self._verified.clear()

    # locks

    def lock(self, *keys: str) -> AbstractContextManager[object]:
        """Keep others out that lock one of the same keys, or without keys the store as a whole; see `Store.lock`.

        Between processes by files of hidden names, which are gone afterwards; in a staged store too, which the workers
        of one save share.
        """
        for key in keys:
            check_key(key, self.path)
        try:
            return self._own_locks().hold(
                keys, what=f"store {self.path!r}", timeout=self._lock_timeout, durable=self._durable
            )
        except BusyError as exc:
            raise self._timed_out(exc, keys[0] if keys else None) from exc
        except OSError as exc:
            raise self._failure(exc, "lock", keys[0] if keys else "") from exc

    def _timed_out(self, exc: BusyError, key: str | None) -> LockTimeoutError:
        return LockTimeoutError(
            "another writer holds the lock",
            path=self.path,
            key=key,
            expected=f"it to be free within {self._lock_timeout} seconds",
            found=exc.strerror,
            mend="Wait until that writer is done, or end it: its lock goes with it",
        )

    def _own_locks(self) -> Locks:
        if self._locks is None:
            self._locks = locks_of(self._root, between_processes=True)
        return self._locks

    # how

    def _verify(self, folder: str) -> None:
        if self._final is None:  # in what is staged there are no links
            super()._verify(folder)

    def _remember(self, folder: str) -> None:
        """Of what is staged: that a folder and those above it are there."""
        if len(self._verified) >= MAX_VERIFIED:
            self._verified.clear()
        while folder and folder not in self._verified:
            self._verified.add(folder)
            folder = folder.rpartition("/")[0]

    def _like(self, state: State) -> Self:
        store = type(self).__new__(type(self))
        store.__setstate__(state)
        return store

    def _make_folders(self, location: str) -> None:
        made = [] if os.path.isdir(location) else folders.make_folders(location)
        if made and self._durable:
            syncing.sync_folders(map(os.path.dirname, made))
