"""A second look before something is told: a writer at work changes what was believed a moment ago."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress

from zarrds.errors import ReadOnlyError, StoreIOError, ZarrdsError
from zarrds.metadata.model import Formatted, Node
from zarrds.metadata.nodes.documents import open_nodes, own_node
from zarrds.metadata.nodes.locking import locked
from zarrds.storage.commits.committer import committer_of
from zarrds.storage.protocol import Store

__all__ = ["LOOKS", "as_now", "held"]

LOOKS = 3
"""At most so many looks while documents change each time; the last one is under the lock of the store."""


def as_now(store: Store, path: str, like: Formatted, before: Node | None) -> Node | None:
    """The node at `path` as its documents say now, None if it is gone; `before` if they cannot be read.

    A commit that had begun before the call is then in place.
    """
    with suppress(StoreIOError):  # it cannot be finished here; then what stands is what is told of
        committer_of(store).recover()
    try:
        own = own_node(store, path, like)
        return open_nodes(store, like=like).get(path) if own is None else own
    except ZarrdsError:
        return before


def held(store: Store, look: int) -> AbstractContextManager[object]:
    """The lock of the store for the last look, as far as it can be had; for looks before that nothing."""
    if look == LOOKS:
        with suppress(StoreIOError, ReadOnlyError):
            return locked(store)
    return nullcontext()
