"""What a store is: bytes under keys.

A store knows nothing of chunks, codecs or documents. Everything above it uses only this protocol, and
every store passes the same contract tests (``tests/stores/contract.py``).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Protocol, Self, TypeAlias, runtime_checkable

from zarrds.errors import InvalidKeyError

__all__ = ["Buffer", "Store", "check_key", "check_prefix"]

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


@runtime_checkable
class Store(Protocol):
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
    def path(self) -> str:
        """How the user knows the store."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether a copy in another process is another store, so that what is written there is lost here."""
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

    def set(self, key: str, *parts: Buffer) -> None:
        """Make the concatenation of `parts` the value of `key`, atomically.

        A reader (and the store after a crash) sees the old value or the new one. The last of several writers
        at once wins.

        Raises
        ------
        StoreIOError
            If the file system refuses (full disk, permission, …); the old value then still stands.
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

    def identity(self, key: str) -> Hashable | None:
        """Something that changes whenever `key` is set anew, or None if the key is absent.

        It is cheap (no value is read), pickles, and two stores at the same place agree on it.
        """
        ...

    def stage(self, prefix: str = "") -> Self:
        """A new, empty, invisible store whose keys are to become those below `prefix` of this one."""
        ...

    def publish(self, staged: Self, prefix: str = "", *, replace: bool = True) -> None:
        """Replace all keys below `prefix` by those of `staged`, in one step; `staged` is gone afterwards.

        `staged` must come from ``stage(prefix)``. What else was staged below `prefix` may go with the old keys.

        Parameters
        ----------
        staged : Store
        prefix : str
        replace : bool
            False makes it an error if anything stands below `prefix`.

        Raises
        ------
        StoreExistsError
            If something stands there and is not to be replaced.
        ValueError
            If `staged` was not staged for `prefix`.
        StoreIOError
            If the file system refuses; the old keys then still stand.
        """
        ...

    def discard(self, staged: Self) -> None:
        """Remove a staged store that is not to be published."""
        ...
