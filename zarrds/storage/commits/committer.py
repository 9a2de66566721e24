"""How many keys of a store change as one: staged first, then put in place in one step, whatever dies meanwhile.

Stores that only single values can be read of, or set, have no part in it: `committer_of` gives what refuses for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn, Protocol, Self, TypeVar, cast, runtime_checkable

from zarrds.errors import ReadOnlyError
from zarrds.storage.protocol import Buffer, Store, Values, check_key
from zarrds.storage.traits import has_trait

__all__ = [
    "DELETED",
    "MAX_DELETED",
    "STEPS",
    "Committer",
    "Durable",
    "Prepared",
    "ScratchWriting",
    "WritableStore",
    "as_durable",
    "check_staged",
    "committer_of",
    "deleted_keys",
    "prepare",
    "refuse",
    "with_scratch",
]

S = TypeVar("S", bound=Store)

STEPS = ("0", "1", "2")
"""What keys of staged changes begin with: all of one step is put in place before anything of the next."""
DELETED = "deleted"
"""The key, in staged changes, of a JSON list of the keys and prefixes that go when all else is in place."""
MAX_DELETED = 1 << 26  # bytes of the list of what to delete
_BEGINNINGS = tuple(f"{step}/" for step in STEPS)


class Committer(Protocol):
    """What changes many keys of a store as one, in two ways: all keys are replaced, or some are changed.

    ``stage`` → ``set`` … → ``publish`` or ``discard``; ``stage_changes`` → ``set``, ``link`` … → ``apply_changes`` or
    ``discard``. What is staged is a store of its own, which nobody else sees.
    """

    def stage(self) -> Store:
        """A new, empty, invisible store whose keys will become those of this one, by `publish`."""
        ...

    def publish(self, staged: Any, *, replace: bool = True) -> None:
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

    def discard(self, staged: Any) -> None:
        """Remove a staged store that is not to be published."""
        ...

    def stage_changes(self) -> Store:
        """A new, empty, invisible store for changes to this one, to be put in place by `apply_changes`.

        Its keys are ``"0/KEY"``, ``"1/KEY"``, ``"2/KEY"``: first all of step 0 are put in place, then step 1, then step
        2. Last goes what the JSON list under `DELETED` names: keys, and prefixes with all below them. Remove it with
        `discard` if it is not to be applied. A writer that dies leaves it behind, for `clean`.
        """
        ...

    def link(self, key: str, changes: Any, to: str) -> None:
        """Make the value of `key` the value of `to` in `changes`, without copying it where that can be spared.

        `to` must not be set again in `changes`: it may be the same file.

        Raises
        ------
        StoreIOError
            If `key` is absent, or the file system refuses.
        """
        ...

    def apply_changes(self, changes: Any) -> None:
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


class WritableStore(Store, Committer, Protocol):
    """A store that commits itself, as all of zarrds do that can be written to."""


class _ReadOnly:
    """The committer of a store that can only be read: it recovers and cleans nothing, and refuses all else."""

    def __init__(self, path: str) -> None:
        self._path = path

    def recover(self) -> None:
        """What a writer left unfinished cannot be finished here."""

    def clean(self, *, repair: bool = False) -> list[str]:
        return []

    def _refuse(self, *args: object, **options: object) -> NoReturn:
        refuse(self._path)

    stage = publish = discard = stage_changes = link = apply_changes = _refuse


def refuse(path: str) -> NoReturn:
    """Raise `ReadOnlyError`."""
    raise ReadOnlyError(
        "this kind of store can only be read",
        path=path,
        mend="Save to a folder or a URL; a folder becomes a ZIP file with shutil.make_archive, "
        "and a store of zarr-python's own (Icechunk) is written by ds.to_zarr(store)",
    )


def committer_of(store: Store) -> Committer:
    """What changes many keys of `store` as one: the store itself, or what refuses it.

    Examples
    --------
    >>> from zarrds.stores import MemoryStore
    >>> store = MemoryStore()
    >>> committer = committer_of(store)
    >>> changes = committer.stage_changes()
    >>> changes.set("0/a", b"new")
    >>> committer.apply_changes(changes)
    >>> store.get("a")
    b'new'
    """
    return cast(Committer, store) if hasattr(store, "apply_changes") else _ReadOnly(store.path)


def check_staged(keys: Iterable[str]) -> None:
    """Raise `ValueError` for keys that staged changes cannot have."""
    for key in keys:
        if key != DELETED and key[:2] not in _BEGINNINGS:
            raise ValueError(f"keys of staged changes begin with their step ('0/', '1/' or '2/'): found {key!r}")


def deleted_keys(value: Buffer | None, path: str) -> list[str]:
    """Return what to delete, from the value of `DELETED`. Raises `ValueError` if that is no list of keys."""
    if value is None:
        return []
    try:
        keys = json.loads(bytes(value)) if len(value) <= MAX_DELETED else None
    except (ValueError, RecursionError, MemoryError):
        keys = None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError(f"{DELETED!r} of staged changes must be a JSON list of keys and prefixes")
    return [check_key(key, path) for key in keys]


# what only some stores can do of it


@runtime_checkable
class Durable(Protocol):
    """A store that can wait until what it writes outlives a power cut."""

    def as_durable(self, durable: bool = True) -> Self:
        """The same store, whose writes outlive a power cut once they return (`set`, `publish`, `apply_changes`).

        What `stage` and `stage_changes` of it give is written without that, and made durable when it is put in place.
        """
        ...


def as_durable(store: S, durable: bool = True) -> S:
    """`Durable.as_durable`; other stores, which know of nothing safer, as they are."""
    return cast(S, store.as_durable(durable)) if has_trait(store, Durable) else store


@runtime_checkable
class Prepared(Protocol):
    """A store in which many new values are written faster if it knows that they come."""

    def prepare(self, n_values: int) -> None:
        """Get ready for about so many new values, where the store is new and that makes writing them faster.

        Called before the first of them is set. Nothing depends on it.
        """
        ...


def prepare(store: Store, n_values: int) -> None:
    """`Prepared.prepare`, of stores that can do it."""
    if has_trait(store, Prepared):
        store.prepare(n_values)


@runtime_checkable
class ScratchWriting(Protocol):
    """A store in which a value that is being written lies somewhere until it is complete."""

    def with_scratch(self, changes: Any) -> Values:
        """The same store, which keeps what is unfinished in `changes`: a writer that dies leaves nothing else behind.

        For values that are set one by one, each visible at once.
        """
        ...


def with_scratch(store: Store, changes: Any) -> Values:
    """`ScratchWriting.with_scratch`; other stores, in which nothing is ever unfinished, as they are."""
    if has_trait(store, ScratchWriting):
        return store.with_scratch(changes)
    return store
