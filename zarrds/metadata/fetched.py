"""Documents that are fetched side by side before they are parsed one by one.

Where each look at a store is a request over a network, a chain of them takes as many times its latency.
"""

from __future__ import annotations

import errno
from collections.abc import Hashable, Sequence
from typing import Any, cast

from zarrds.errors import ZarrdsError
from zarrds.storage.commits.committer import committer_of
from zarrds.storage.protocol import Buffer, Store
from zarrds.storage.traits import Fetched, ManyValues, has_trait

__all__ = ["ahead", "is_denied", "more_ahead", "recover", "without"]


class _Ahead:
    """A store of which some values were fetched already; all else is asked of the store."""

    def __init__(self, store: Store, fetched: dict[str, Fetched]) -> None:
        self._store = store
        self._fetched = fetched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        return self._value(key).value if key in self._fetched else self._store.get(key, buffer)

    def get_at_most(self, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
        return self.get(key, buffer)

    def identity(self, key: str, *, settled: bool = False) -> Hashable | None:
        return self._value(key).identity if key in self._fetched else self._store.identity(key, settled=settled)

    def _value(self, key: str) -> Fetched:
        found = self._fetched[key]
        if found.problem is not None:
            raise found.problem
        return found


def ahead(
    store: Store, keys: Sequence[str], *, recover: bool = False, by_root: bool = False, listing: bool = False
) -> Store:
    """A view of a store, for a moment, in which some documents and their identities are at hand.

    Parameters
    ----------
    store : Store
        One that does not gain by it is returned itself.
    keys : sequence of str
    recover : bool
        Whether to finish first what a dead writer had begun; see `Committer.recover`.
    by_root : bool
        Whether nothing is read but by the root's document; see `ManyValues.get_many`.
    listing : bool
        Whether the names directly below the root are asked for next; see there.
    """
    whole = store
    if has_trait(store, ManyValues):
        return cast(Store, _Ahead(whole, store.get_many(keys, recover=recover, by_root=by_root, listing=listing)))
    if recover:
        committer_of(store).recover()
    return store


def more_ahead(seen: Store, keys: Sequence[str]) -> Store:
    """A view that `ahead` has made, with further values at hand."""
    if not isinstance(seen, _Ahead):
        return seen
    more: Any = ahead(seen._store, keys)
    return cast(Store, _Ahead(seen._store, seen._fetched | more._fetched))


def without(seen: Store, keys: Sequence[str]) -> Store:
    """A view that `ahead` has made, in which some keys are as if they were absent."""
    if not isinstance(seen, _Ahead):
        return seen
    return cast(Store, _Ahead(seen._store, seen._fetched | dict.fromkeys(keys, Fetched(None))))


def recover(store: Store, *, by_root: bool) -> None:
    """`Committer.recover`; for readers of the root's document alone (`by_root`) without commits that its put makes."""
    if has_trait(store, ManyValues):
        store.get_many([], recover=True, by_root=by_root)
    else:
        committer_of(store).recover()


def is_denied(store: Store, error: ZarrdsError) -> bool:
    """Whether a store at a URL may not be read there. Some say so of all that is absent, to those who may not list.

    A folder knows what is absent: there it is an error, or what lies there would be taken for nothing.
    """
    return store.traits.is_remote and getattr(error, "errno", None) == errno.EACCES
