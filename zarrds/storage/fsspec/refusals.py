"""Errors of who is refused: saves that find something in their way, names that are kept, what can only be read."""

from __future__ import annotations

import errno

from zarrds.errors import ConflictError, InvalidKeyError, ReadOnlyError, StoreExistsError, StoreIOError
from zarrds.storage.local.files import PARTIAL

__all__ = ["does_not_list", "kept_name", "not_alone", "old_copy", "read_only", "stands_there", "unfetched"]


def not_alone() -> ConflictError:
    """The error of a save that finds a value where nothing was."""
    return ConflictError(
        "another save is under way here, or its leftovers are in the way",
        mend="Nothing that was there was changed. Try again when no other save is at it",
    )


def stands_there() -> StoreExistsError:
    """The error of a save that finds a store where nothing was."""
    return StoreExistsError("something was put here meanwhile", mend="To replace it pass mode='w'")


def kept_name(path: str, key: str) -> InvalidKeyError:
    """The error of a key that is hidden."""
    return InvalidKeyError(
        f"names like '.*{PARTIAL}' are kept for unfinished objects",
        path=path,
        key=key,
        mend="Rename the variable, group or array",
    )


def does_not_list(name: str, found: object = None) -> StoreIOError:
    """The error of who must know what a web server has that shows no listings, or `found` in their place."""
    return StoreIOError(
        "cannot list: this server does not show what it has",
        key=name or None,
        found=found,
        mend="Consolidate the store's metadata where it can be written to, with zarrds.verify(store, repair=True), "
        "or open its arrays by name, with zarrds.open_array(url, path=...)",
    )


def old_copy(folder: str) -> ConflictError:
    """The error of who reads through a cache whose copies are of another state of the store than the one behind it."""
    return ConflictError(
        "the cache keeps an older state of the store than there is behind it: what is read would be of both",
        found=folder,
        mend="Give the cache another folder (cache_storage), or open the URL behind it; local_cache= keeps chunks, and "
        "asks for each whether it is still the same",
    )


def read_only(doing: str, *, is_cache: bool = False) -> ReadOnlyError:
    """The error of who would write to what can only be read."""
    if is_cache:
        return ReadOnlyError(
            f"cannot {doing}: a cache would go on giving old copies of what is written",
            mend="Write to the URL behind it, and open that, or clear the cache",
        )
    return ReadOnlyError(
        f"cannot {doing}: this file system can only be read",
        mend="Write to a local path or to an object store, and put it there by other means",
    )


def unfetched(exc: Exception) -> StoreIOError:
    """The error of who reads through a cache that was sent no part of a file."""
    error = StoreIOError(
        "cannot read: the cache could not fetch a part of what is there",
        found=type(exc).__name__,
        mend="Try again; if the server knows no ranges, take simplecache:: in the place of blockcache::",
    )
    error.errno = errno.EAGAIN
    return error
