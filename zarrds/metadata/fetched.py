"""Documents that are fetched side by side before they are parsed one by one, or looked at before and after.

Where each look at a store is a request over a network, a chain of them takes as many times its latency. Where it is
not, others may write between two of them.
"""

from __future__ import annotations

import codecs
import errno
from collections.abc import Hashable, Sequence
from contextlib import suppress
from typing import Any, cast

from zarrds.errors import ZarrdsError
from zarrds.storage.commits.committer import committer_of
from zarrds.storage.protocol import Buffer, Store
from zarrds.storage.traits import Fetched, ManyValues, get_at_most, has_trait

__all__ = ["Watched", "is_denied", "is_page", "more_prefetched", "prefetched", "recover", "without"]


class _Prefetched:
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


def prefetched(
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
        return cast(Store, _Prefetched(whole, store.get_many(keys, recover=recover, by_root=by_root, listing=listing)))
    if recover:
        committer_of(store).recover()
    return store


def more_prefetched(seen: Store, keys: Sequence[str]) -> Store:
    """A view that `prefetched` has made, with further values at hand."""
    if not isinstance(seen, _Prefetched):
        return seen
    more: Any = prefetched(seen._store, keys)
    return cast(Store, _Prefetched(seen._store, seen._fetched | more._fetched))


def without(seen: Store, keys: Sequence[str]) -> Store:
    """A view that `prefetched` has made, in which some keys are as if they were absent."""
    if not isinstance(seen, _Prefetched):
        return seen
    return cast(Store, _Prefetched(seen._store, seen._fetched | dict.fromkeys(keys, Fetched(None))))


def recover(store: Store, *, by_root: bool) -> None:
    """`Committer.recover`; for readers of the root's document alone (`by_root`) without commits that its put makes."""
    if has_trait(store, ManyValues):
        store.get_many([], recover=True, by_root=by_root)
    else:
        committer_of(store).recover()


class Watched:
    """A store in which each look is quick, that notes what was seen in it.

    Who reads many documents one by one, while others may be writing, learns by it whether all of them were there at one
    time: each is looked at before it is read, and once more when all are read. The identity of a value is that from
    before it was first read, as long as this lives.

    Parameters
    ----------
    store : Store

    Examples
    --------
    >>> from zarrds.stores import MemoryStore
    >>> store = MemoryStore()
    >>> store.set("zarr.json", b"{}")
    >>> watched = Watched(store)
    >>> watched.get("zarr.json"), watched.is_as_seen()
    (b'{}', True)
    >>> store.set("zarr.json", b"[]")
    >>> watched.is_as_seen()
    False
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._identities: dict[str, Hashable | None] = {}
        self._children: dict[str, list[str]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        self.identity(key)
        return self._store.get(key, buffer)

    def get_at_most(self, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
        self.identity(key)
        return get_at_most(self._store, key, limit, buffer)

    def identity(self, key: str, *, settled: bool = False) -> Hashable | None:
        if key not in self._identities:
            self._identities[key] = self._store.identity(key, settled=settled)
        return self._identities[key]

    def list_children(self, prefix: str = "") -> list[str]:
        found = self._store.list_children(prefix)
        self._children.setdefault(prefix, found)
        return found

    def is_as_seen(self) -> bool:
        """Whether all that was read is still so, and nothing of a change that is under way was among it."""
        recover(self._store, by_root=False)
        return all(self._store.identity(key) == seen for key, seen in self._identities.items()) and all(
            self._store.list_children(prefix) == seen for prefix, seen in self._children.items()
        )


def is_denied(store: Store, error: ZarrdsError) -> bool:
    """Whether a store at a URL may not be read there. Some say so of all that is absent, to those who may not list.

    A folder knows what is absent: there it is an error, or what lies there would be taken for nothing.
    """
    return store.traits.is_remote and getattr(error, "errno", None) == errno.EACCES


def is_page(store: Store, key: str) -> bool:
    """Whether a page stands in the place of a document at a URL: so some web servers answer for what is absent."""
    if not store.traits.is_remote:
        return False
    with suppress(ZarrdsError):
        beginning = bytes(get_at_most(store, key, 64) or b"")[:64]
        return beginning.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<")
    return False
