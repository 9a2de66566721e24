"""Stores that change without copies: by the put of one document; and how to ask for what only these can do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from zarrds.storage.protocol import Store
from zarrds.storage.traits import has_trait

__all__ = [
    "Additions",
    "CheckedLock",
    "DirectCommitStore",
    "ReplacedStore",
    "begin",
    "begin_again",
    "check_unchanged",
    "is_begun",
]


@dataclass(frozen=True, slots=True)
class Additions:
    """What is known of changes that only add: who reads by the root's old document reads the same before and after.

    Attributes
    ----------
    root : str
        The key of the root's document that makes them visible: the instant of the commit.
    documents : collection of str
        The other keys that are documents; they are put in place behind the root's.
    edges : mapping of str to object
        Stored values of which the changes keep what is visible, with the `Fetched.version` of each as it was read; None
        for one that was absent. All other values are of keys that nobody reads by the root's old document.
    check : callable or None
        Raises if what the changes were made from is not as it was; called before they are made, perhaps by another
        thread, with the keys that it need not look at: those are put by conditions.
    """

    root: str
    documents: Collection[str]
    edges: Mapping[str, object]
    check: Callable[[Collection[str]], None] | None = None


@runtime_checkable
class CheckedLock(Protocol):
    """A store that others may change or replace under the lock of who holds it, which can be told afterwards."""

    def check_unchanged(self) -> None:
        """Raise `ConflictError` if a document of the root has changed since this thread locked the store.

        Of a folder: if it is another one.
        """
        ...


@runtime_checkable
class DirectCommitStore(CheckedLock, Protocol):
    """A store in which changes that only add need no copies: the put of the root's document is the commit."""

    def apply_additions(self, changes: Store, additions: Additions) -> bool:
        """As `Committer.apply_changes`; False, and nothing is done, if these changes cannot be made so.

        Raises
        ------
        ConflictError
            If another writer was faster. Nothing is visible of the changes then.
        StoreIOError
            As of `Committer.apply_changes`.
        """
        ...

    def begin(self, like: str = "") -> None:
        """As `Committer.recover` under the store's lock, and keep other machines out until it is let go of.

        For who changes the store soon: it saves round trips, but puts something that no reader sees. Where another has
        changed the store in that very instant, the first values that are fetched together (`ManyValues.get_many`) are
        a `ConflictError`, after which one may `begin_again`.

        What the last change had to fetch that was called the same (`like`) is fetched at once. It may be older than the
        rest, which `apply_additions` and `Committer.apply_changes` find out: what fails until then may be due to it.
        """
        ...

    @property
    def is_begun(self) -> bool:
        """Whether this thread has begun so, and goes by nothing yet that is certain: it may `begin_again`."""
        ...

    def begin_again(self) -> None:
        """Begin anew with `Committer.recover`.

        Raises
        ------
        ConflictError
            If the root has other documents now.
        """
        ...


@runtime_checkable
class ReplacedStore(Protocol):
    """A store of which all is replaced without copies, where what comes has other keys than what goes."""

    def publish_apart(self, staged: Any, check: Callable[[Collection[str]], None]) -> bool:
        """As `Committer.publish`; False, and nothing is done, if it cannot be made so.

        `check` is called with all keys that are there now, and raises if they are not to be replaced.

        The caller declares that there are no holes: all chunks of what is new are in `staged`. Then who reads by the
        root's old document reads what was there until all is new.

        Raises
        ------
        ConflictError
            If another writer was faster. Nothing is visible then.
        StoreIOError
            As of `Committer.publish`.
        """
        ...


def check_unchanged(store: Store) -> None:
    """`CheckedLock.check_unchanged`, where that is possible: the reason why something failed may be another writer."""
    if has_trait(store, CheckedLock):
        store.check_unchanged()


def begin(store: Store, like: str = "") -> bool:
    """`DirectCommitStore.begin`; False, and nothing is done, of other stores."""
    if not has_trait(store, DirectCommitStore):
        return False
    store.begin(like)
    return True


def is_begun(store: Store) -> bool:
    """`DirectCommitStore.is_begun`; never of other stores."""
    return has_trait(store, DirectCommitStore) and store.is_begun


def begin_again(store: Store) -> None:
    """`DirectCommitStore.begin_again`, where that is possible."""
    if has_trait(store, DirectCommitStore):
        store.begin_again()
