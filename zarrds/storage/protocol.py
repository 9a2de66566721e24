"""What a store is: bytes under keys.

A store knows nothing of chunks, codecs or documents. Who reads uses only this protocol; who changes many keys as one
also asks for the store's `zarrds.storage.commits.committer.Committer`. Every store passes the same tests
(`zarrds.testing.StoreContract`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from zarrds.errors import InvalidKeyError

__all__ = [
    "Buffer",
    "Store",
    "Traits",
    "ValueChangedError",
    "Values",
    "check_key",
    "check_prefix",
    "path_below",
]

Buffer: TypeAlias = bytes | bytearray | memoryview

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


def path_below(path: str, name: str) -> str:
    """The path of what has that name below a group; that of the root is empty.

    Examples
    --------
    >>> path_below("", "t2m"), path_below("a/b", "t2m")
    ('t2m', 'a/b/t2m')
    """
    return f"{path}/{name}" if path else name


class ValueChangedError(Exception):
    """A value that was read under its lock was changed by another machine before it was set: read it again.

    Only stores raise it whose `Values.lock` keeps nobody out elsewhere, but which notice.

    Parameters
    ----------
    name : str
    is_same : bool
        Whether nobody has changed it, as far as that can be seen: the server refuses all the same.

    Attributes
    ----------
    is_same
        As above.
    """

    def __init__(self, name: str, *, is_same: bool = False) -> None:
        super().__init__(name)
        self.is_same = is_same


@dataclass(frozen=True, slots=True)
class Traits:
    """What one must know of a store to use it well; a store has one of these.

    Attributes
    ----------
    in_memory : bool
        Whether a copy in another process is another store, so that what is written there is lost here.
    is_remote : bool
        Whether each call is a request over a network, so that one does not look more often than one must.
    locks_processes : bool
        Whether `Values.lock` keeps out other processes too, not only threads of this one.
    concurrency : int
        How many calls at once are worth a thread each; 1 where they wait for nothing but the processor.
    """

    in_memory: bool = False
    is_remote: bool = False
    locks_processes: bool = False
    concurrency: int = 1


class Values(Protocol):
    """Values that are read and written one by one: what chunks need of a store."""

    @property
    def path(self) -> str:
        """How the user knows the store."""
        ...

    @property
    def traits(self) -> Traits:
        """What one must know of the store to use it well."""
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
            Their memory is used again after the call: what a store keeps of them is a copy.
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
    traits : Traits
    """

    def delete(self, key: str) -> None:
        """Remove `key`; an absent key is no error."""
        ...

    def list_prefix(self, prefix: str = "") -> Iterator[str]:
        """Every key below `prefix`, in no order."""
        ...

    def list_children(self, prefix: str = "") -> list[str]:
        """The names directly below `prefix` that have keys below them (folders), sorted."""
        ...
