"""What a store is: bytes under keys.

A store knows nothing of chunks, codecs or documents. Everything above it uses only this protocol, and
every store passes the same tests (`zarrds.testing.StoreContract`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, Self, TypeAlias, runtime_checkable

from zarrds.errors import InvalidKeyError

__all__ = [
    "DELETED",
    "Buffer",
    "Store",
    "ValueChangedError",
    "Values",
    "check_key",
    "check_prefix",
]

Buffer: TypeAlias = bytes | bytearray | memoryview

# the key, in staged changes, of a JSON list of the keys and prefixes that go when all else is in place
DELETED = "deleted"

# one part of a key: not empty, not "." or "..", and without slash, backslash, NUL, or half a UTF-16 pair (which
# JSON can hold, but no file name)
_PART = r"(?!\.{1,2}(?:/|\Z))[^/\\\0\ud800-\udfff]+"
_KEY = re.compile(rf"{_PART}(?:/{_PART})*\Z")


def check_key(key: str, path: str | None = None) -> str:
    """Return `key`, or raise if it is malformed or could leave the store's root.

    Parameters
    ----------
    key : str
        Parts joined by slashes, for example ``"t2m/c/0/0"``.
    path : str, optional
        The store, for the error's message.

    Raises
    ------
    InvalidKeyError
        For empty parts, ``.``, ``..``, absolute paths, backslashes, NUL and surrogate characters.

    Examples
    --------
    >>> check_key("t2m/zarr.json")
    't2m/zarr.json'
    """
    if _KEY.match(key) is None:
        raise InvalidKeyError(
            "not a valid key",
            path=path,
            key=key,
            expected="parts joined by '/', none of them empty, '.', '..' or with a backslash, NUL or surrogate",
            mend="Rename the variable, group or array",
        )
    return key


def check_prefix(prefix: str, path: str | None = None) -> str:
    """Return `prefix`, which is a key or, for the whole store, the empty string."""
    return check_key(prefix, path) if prefix else prefix


class ValueChangedError(Exception):
    """A value that was read under its lock was changed by another machine before it was set: read it again.

    Only stores raise it whose `Values.lock` keeps nobody out elsewhere, but which notice.
    """


class Values(Protocol):
    """Values that are read and written one by one: what chunks need of a store."""

    @property
    def path(self) -> str:
        """How the user knows the store."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether a copy in another process is another store, so that what is written there is lost here."""
        ...

    @property
    def locks_processes(self) -> bool:
        """Whether `lock` keeps out other processes too, not only threads of this one."""
        ...

    @property
    def concurrency(self) -> int:
        """How many calls at once are worth a thread each; 1 where they wait for nothing but the processor."""
        ...

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        """Return the value of `key`, or None if the key is absent.

        Parameters
        ----------
        key : str
        buffer : memoryview of bytes, optional
            Memory that the store may read into, if the value is smaller than it (in bytes). The answer is
            then a part of it, valid until the caller uses it again.

        Returns
        -------
        bytes-like or None
            Memory that nobody but the caller can change.
        """
        ...

    def get_range(self, key: str, start: int, length: int, buffer: memoryview | None = None) -> Buffer | None:
        """Return a part of the value of `key`, or None if the key is absent.

        Parameters
        ----------
        key : str
        start : int
            Bytes from the front, or, if negative, from the end of the value.
        length : int
            Bytes; what lies beyond the value's end (or, for a negative start, before its front) is left out.
        buffer : memoryview of bytes, optional
            As in `get`; used if it holds `length` bytes.
        """
        ...

    def set(self, key: str, *parts: Buffer, check: Callable[[], object] | None = None) -> None:
        """Make the concatenation of `parts` the value of `key`, atomically.

        A reader (and the store after a crash) sees the old value or the new one. The last of several writers
        at once wins.

        Parameters
        ----------
        key : str
        *parts : bytes-like
        check : callable, optional
            Called when the value is complete, and before anybody sees it. If it raises, the old value stands. Stores
            that are replaced as a whole (`publish`) between its answer and the end of the call do not get the value.

        Raises
        ------
        StoreIOError
            If the file system refuses (full disk, permission, …); the old value then still stands.
        """
        ...

    def identity(self, key: str, *, settled: bool = False) -> Hashable | None:
        """Something that changes whenever `key` is set anew, or None if the key is absent.

        It is cheap (no value is read), pickles, and two stores at the same place agree on it.

        Parameters
        ----------
        key : str
        settled : bool
            Whether to answer None also for a value that was set a moment ago, perhaps by another library: where times
            are coarse, the next value may get the same identity.
        """
        ...

    def lock(self, *keys: str) -> AbstractContextManager[object]:
        """Keep other writers out that lock one of the same keys, or, without keys, the store as a whole.

        The lock is taken by the call, and let go of at the end of the ``with`` block of what it returns. Works between
        threads and between processes (for a store that they share), and goes with a process that is killed. A thread
        may lock again what it has locked, and lets go in the reverse order. A few locks serve all keys, so two keys may
        share one; several keys are locked in one call, or not at all, and the store as a whole before any key.

        Raises
        ------
        StoreIOError
            If the file system refuses to lock.
        LockTimeoutError
            If another writer held the lock for longer than the store may wait.
        """
        ...


@runtime_checkable
class Store(Values, Protocol):
    """Bytes under keys.

    Keys are relative, ``/``-separated and checked by `check_key` before anything else happens. All
    methods may be called from any number of threads at once. A store pickles; a local store's copy in
    another process is the same store, a memory store's copy is a copy.

    Attributes
    ----------
    path : str
        How the user knows the store; shown in errors.
    """

    @property
    def is_remote(self) -> bool:
        """Whether each call is a request over a network, so that one does not look more often than one must."""
        ...

    def as_durable(self, durable: bool = True) -> Self:
        """The same store, whose writes outlive a power cut once they return (`set`, `publish`, `apply_changes`).

        What `stage` and `stage_changes` of it give is written without that, and made durable when it is put in place.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; an absent key is no error."""
        ...

    def delete_prefix(self, prefix: str) -> None:
        """Remove every key below `prefix` (``"a"`` removes ``a/b``, not ``ab``); ``""`` empties the store."""
        ...

    def list_prefix(self, prefix: str = "") -> Iterator[str]:
        """Every key below `prefix`, in no order."""
        ...

    def list_children(self, prefix: str = "") -> list[str]:
        """The names directly below `prefix` that have keys below them (folders), sorted."""
        ...

    def prepare(self, n_values: int) -> None:
        """Get ready for about so many new values, where the store is new and that makes writing them faster.

        Called before the first of them is set. Nothing depends on it.
        """
        ...

    def stage(self) -> Self:
        """A new, empty, invisible store whose keys are to become those of this one, by `publish`."""
        ...

    def publish(self, staged: Self, *, replace: bool = True) -> None:
        """Replace all keys of this store by those of `staged`, in one step; `staged` is gone afterwards.

        Staged changes may go with the old keys.

        Parameters
        ----------
        staged : Store
            From `stage` of this store.
        replace : bool
            False makes it an error if this store has any keys.

        Raises
        ------
        StoreExistsError
            If there are keys that are not to be replaced.
        ValueError
            If `staged` was not staged for this store.
        StoreIOError
            If the file system refuses; the old keys then still stand.
        """
        ...

    def discard(self, staged: Self) -> None:
        """Remove a staged store that is not to be published."""
        ...

    def stage_changes(self) -> Self:
        """A new, empty, invisible store for changes to this one, to be put in place by `apply_changes`.

        Its keys are ``"0/KEY"``, ``"1/KEY"``, ``"2/KEY"``: first all of step 0 are put in place, then step 1, then step
        2. Last goes what the JSON list under `DELETED` names: keys, and prefixes with all below them. Remove it with
        `discard` if it is not to be applied. A writer that dies leaves it behind, for `clean`.
        """
        ...

    def in_place(self, changes: Self) -> Self:
        """The same store, which keeps what is unfinished in `changes`: a writer that dies leaves nothing else behind.

        For values that are set one by one, each visible at once.
        """
        ...

    def link(self, key: str, changes: Self, to: str) -> None:
        """Make the value of `key` the value of `to` in `changes`, without copying it where that can be spared.

        `to` must not be set again in `changes`: it may be the same file.

        Raises
        ------
        StoreIOError
            If `key` is absent, or the file system refuses.
        """
        ...

    def apply_changes(self, changes: Self) -> None:
        """Put changes in place: all of them, also if this process dies meanwhile; `changes` is gone afterwards.

        From one instant on they will all be made: before it, the store is as it was; after it, whoever calls
        `recover` (every reader and writer does, first of all) finishes what a dead process left. In between, one key
        after the other gets its new value. The caller holds the lock of the store as a whole, and has called `recover`.

        Raises
        ------
        ValueError
            If `changes` is not of this store.
        StoreIOError
            If the file system refuses. If the store is then not as it was, `recover` will finish the changes.
        """
        ...

    def recover(self) -> None:
        """Finish changes that a dead writer had begun to put in place, or wait for a living one; usually nothing.

        Costs one look at the file system. Must be called without a lock, or with that of the store as a whole.

        Raises
        ------
        StoreIOError
            If there are such changes and this process may not write.
        """
        ...

    def clean(self, *, repair: bool = False) -> list[str]:
        """Remove what dead writers staged and never put in place; what a living writer uses is left alone.

        Parameters
        ----------
        repair : bool
            Whether also to remove what keeps `recover` and `lock` from working: changes that are damaged are put in
            place as far as they can be read.

        Returns
        -------
        list of str
            The names of what was removed, for reports.
        """
        ...
