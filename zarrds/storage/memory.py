"""A store in memory: for tests, examples and small data."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Self

from zarrds.errors import StoreExistsError, StoreIOError
from zarrds.storage.commits.committer import DELETED, check_staged, deleted_keys
from zarrds.storage.local.locking.locks import Locks
from zarrds.storage.protocol import Buffer, Traits, check_key, check_prefix

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keys and values in a dictionary.

    Attributes
    ----------
    path : str
        A name of its own, for errors.

    Notes
    -----
    All methods may be called from any number of threads at once. A pickle holds all values; what it becomes
    is a store of its own, of the same name.

    Examples
    --------
    >>> store = MemoryStore()
    >>> store.set("t2m/c/0", b"one", b"two")
    >>> store.get("t2m/c/0")
    b'onetwo'
    >>> list(store.list_prefix("t2m"))
    ['t2m/c/0']
    """

    traits = Traits(in_memory=True)

    path: str
    _values: dict[str, tuple[bytes, tuple[str, int]]]  # the value and its identity
    _changed: tuple[str, int]  # the identity of the newest change, of which there are never two alike
    _staged: tuple[str, str] | None  # of a staged store: what it is, and the store's path, of which no two are alike

    def __init__(self) -> None:
        self.__setstate__(
            {
                "path": f"memory-{secrets.token_hex(4)}",
                "values": {},
                "changed": None,
                "staged": None,
            }
        )

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {
                "path": self.path,
                "values": dict(self._values),
                "changed": self._changed,
                "staged": self._staged,
            }

    def __setstate__(self, state: dict[str, Any]) -> None:
        # a copy keeps the identities of what it holds and counts under a name of its own from then on
        self._uid = secrets.token_hex(8)
        self._lock = threading.RLock()
        self._locks = Locks()
        self.path = state["path"]
        self._values = state["values"]
        self._changed = state["changed"] or (self._uid, 0)
        self._staged = state["staged"]

    def __repr__(self) -> str:
        return f"MemoryStore({self.path!r})"

    def __dask_tokenize__(self) -> tuple[str, str, int]:
        return "zarrds.MemoryStore", *self._changed

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        """Return the value of `key`, or None if the key is absent; `buffer` is not needed. See `Store.get`."""
        check_key(key, self.path)
        entry = self._values.get(key)
        return None if entry is None else entry[0]

    def get_range(self, key: str, start: int, length: int, buffer: memoryview | None = None) -> Buffer | None:
        """Return a part of the value of `key`, or None if the key is absent; see `Store.get_range`."""
        value = self.get(key)
        if value is None:
            return None
        first = max(start + len(value), 0) if start < 0 else start
        return memoryview(value)[first : first + length]

    def set(self, key: str, *parts: Buffer, check: Callable[[], object] | None = None) -> None:
        """Make the concatenation of `parts` the value of `key`; see `Store.set`."""
        check_key(key, self.path)
        value = b"".join(parts)
        with self._lock:
            if check is not None:
                check()
            self._values[key] = (value, self._change())

    def delete(self, key: str) -> None:
        """Remove `key`; an absent key is no error."""
        check_key(key, self.path)
        with self._lock:
            if self._values.pop(key, None) is not None:
                self._change()

    def delete_prefix(self, prefix: str) -> None:
        """Remove every key below `prefix`; see `PrefixRemoval.delete_prefix`."""
        check_prefix(prefix, self.path)
        with self._lock:
            for key in self._below(prefix):
                del self._values[key]
            self._change()

    def list_prefix(self, prefix: str = "") -> Iterator[str]:
        """Every key below `prefix` as it is now, in no order."""
        check_prefix(prefix, self.path)
        with self._lock:
            return iter(self._below(prefix))

    def list_sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Every key below `prefix` and the bytes of its value; see `SizedListing`."""
        for key in self.list_prefix(prefix):
            entry = self._values.get(key)
            if entry is not None:  # it may have gone meanwhile
                yield key, len(entry[0])

    def list_children(self, prefix: str = "") -> list[str]:
        """The names directly below `prefix` that have keys below them, sorted; see `Store.list_children`."""
        start = len(prefix) + 1 if prefix else 0
        rests = (key[start:].partition("/") for key in self.list_prefix(prefix))
        return sorted({name for name, slash, _ in rests if slash})

    def identity(self, key: str, *, settled: bool = False) -> tuple[str, int] | None:
        """Return who set `key` and as which of its changes, or None if the key is absent; see `Store.identity`."""
        check_key(key, self.path)
        entry = self._values.get(key)
        return None if entry is None else entry[1]

    def stage(self) -> Self:
        """Return a new, empty store whose keys will become those of this one; see `Committer.stage`."""
        return self._stage("store")

    def _stage(self, what: str) -> Self:
        staged = type(self)()
        staged.path = self.path
        staged._staged = what, self.path
        return staged

    def publish(self, staged: Self, *, replace: bool = True) -> None:
        """Replace all keys by those of `staged`, in one step; see `Committer.publish`."""
        if staged._staged != ("store", self.path):
            raise ValueError(f"the store was not staged for {self!r}")
        with self._lock:
            if not replace and self._values:
                raise StoreExistsError(
                    "something was put here meanwhile",
                    path=self.path,
                    mend="Try again, or to replace it pass mode='w'",
                )
            with staged._lock:
                self._values, staged._values = staged._values, {}
            self._change()

    def discard(self, staged: Self) -> None:
        """Remove a staged store that is not to be published."""
        if staged._staged is None:
            raise ValueError(f"{staged!r} was not staged")
        staged.delete_prefix("")

    def stage_changes(self) -> Self:
        """Return a new, empty store for changes; see `Committer.stage_changes`."""
        return self._stage("changes")

    def link(self, key: str, changes: Self, to: str) -> None:
        """Make the value of `key` that of `to` in `changes`; see `Committer.link`."""
        self._check_changes(changes)
        value = self.get(key)
        if value is None:
            raise StoreIOError("cannot link: no such key", path=self.path, key=key)
        changes.set(to, value)

    def apply_changes(self, changes: Self) -> None:
        """Put changes in place, in one step; see `Committer.apply_changes`."""
        self._check_changes(changes)
        check_staged(changes.list_prefix())
        gone = deleted_keys(changes.get(DELETED), self.path)
        with self._lock:
            with changes._lock:
                values, changes._values = changes._values, {}
            values.pop(DELETED, None)
            # a new dictionary, so that readers, who take no lock, see it all at once
            new = dict(self._values)
            for key in sorted(values):
                new[key[2:]] = values[key]
            for name in gone:
                for key in [key for key in new if key == name or key.startswith(f"{name}/")]:
                    del new[key]
            self._values = new
            self._change()

    def _check_changes(self, changes: Self) -> None:
        if changes._staged != ("changes", self.path):
            raise ValueError(f"the changes were not staged for {self!r}")

    def recover(self) -> None:
        """Do nothing: changes are made in one step. See `Committer.recover`."""

    def clean(self, *, repair: bool = False) -> list[str]:
        """Do nothing: what a dead process staged died with it. See `Committer.clean`."""
        return []

    def lock(self, *keys: str) -> AbstractContextManager[object]:
        """Keep other threads out that lock one of the same keys, or the store as a whole; see `Store.lock`."""
        for key in keys:
            check_key(key, self.path)
        return self._locks.hold(keys, what=f"store {self.path!r}")

    def _below(self, prefix: str) -> list[str]:
        start = prefix and f"{prefix}/"
        return [key for key in self._values if key.startswith(start)]

    def _change(self) -> tuple[str, int]:
        self._changed = (self._uid, self._changed[1] + 1)
        return self._changed
