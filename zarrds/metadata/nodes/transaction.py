"""Changes of a store that become visible as one: chunks, documents, and what goes.

Whatever is written to a store that is there goes through a `Transaction`, but for chunks that are written in place,
each by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from enum import IntEnum
from types import TracebackType
from typing import Any, Self

from zarrds.errors import ZarrdsError
from zarrds.metadata.fields import Raw
from zarrds.metadata.model import Formatted, Node
from zarrds.metadata.nodes.belonging import check_case
from zarrds.metadata.nodes.documents import parents_of
from zarrds.metadata.nodes.locking import locked
from zarrds.metadata.nodes.written import documents_of_change
from zarrds.storage.commits.committer import DELETED, committer_of
from zarrds.storage.commits.direct_stores import Additions, DirectCommitStore, check_unchanged
from zarrds.storage.commits.overlay import Overlay
from zarrds.storage.commits.recorded import Recorded
from zarrds.storage.held import HeldChanges
from zarrds.storage.memory import MemoryStore
from zarrds.storage.protocol import Store
from zarrds.storage.traits import ManyValues, ask_all, has_trait, is_held

__all__ = ["Phase", "Transaction", "change_documents", "put_node"]


class Phase(IntEnum):
    """What is put in place when: readers of consolidated metadata see all at once, with the root's documents."""

    NEW = 0  # chunks, and documents of nodes that were not there
    ROOT = 1
    NODES = 2  # documents of nodes that were there


class Transaction:
    """Changes of one store: all of them are made by `commit`, or none, also if the process dies meanwhile.

    Use it as a context, which drops what was not committed. Who changes documents holds the store's lock from before
    it reads what the change is made from until after the commit (`zarrds.metadata.nodes.locking.locked`).

    Parameters
    ----------
    store : Store

    Attributes
    ----------
    store : Store
    changes : Store
        What is staged, by phase and key.
    read : Recorded or None
        The store, where it remembers what was read for the changes; None where it need not.

    Examples
    --------
    >>> import zarrds
    >>> from zarrds.metadata.nodes.documents import own_node
    >>> array = zarrds.create_array(zarrds.MemoryStore(), shape=4, chunks=2, dtype="i4")
    >>> with Transaction(array.store) as transaction:
    ...     transaction.values.set("c/0", b"new")
    ...     transaction.delete(["c/1"])
    ...     transaction.commit()
    >>> bytes(array.store.get("c/0")), array.store.get("c/1")
    (b'new', None)
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._committer = committer_of(store)
        self.changes = self._committer.stage_changes()
        self._deleted: set[str] = set()
        # for stores in which what only adds is committed by one put of the root's document
        self.read = Recorded(store) if has_trait(store, DirectCommitStore) and has_trait(store, ManyValues) else None
        self._documents: set[str] = set()
        self._root: str | None = None
        self._edges: Collection[str] | None = ()  # None once something is set of which `only_adds` says nothing
        self._is_made = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_made:
            return
        self._committer.discard(self.changes)
        if isinstance(error, ZarrdsError) and self.read is None:  # else the root may be what this change has put
            check_unchanged(self.store)  # that may be why

    @property
    def values(self) -> Overlay:
        """The store's values as they will be; what is set becomes a part of the transaction."""
        self._edges = None
        read: Any = self.read
        return Overlay(read or self.store, self.changes, str(Phase.NEW.value))

    def look(self, keys: Collection[str]) -> dict[str, Hashable | None]:
        """The identities of values that are going to be read and changed; where calls wait, they are fetched now."""
        if self.read is not None:
            return self.read.look(keys)
        asked = list(keys)
        return dict(zip(asked, ask_all(self.store, self.store.identity, asked), strict=True))

    @property
    def new_keys(self) -> list[str]:
        """The keys of all values that were set, and of documents of new nodes."""
        step = str(Phase.NEW.value)
        return [key.removeprefix(f"{step}/") for key in self.changes.list_prefix(step)]

    def only_adds(self, edges: Collection[str]) -> None:
        """Declare that all values that were set only add to what readers of the root's old document see.

        Nobody reads by it the keys that were set, but for `edges`: of those all that is visible stays as it is. There
        are no holes: what is new is set, also if it is all fill value.
        """
        self._edges = edges

    @property
    def staged(self) -> Overlay:
        """What was set so far, and nothing of the store."""
        return Overlay(MemoryStore(), self.changes, str(Phase.NEW.value))

    def put_nodes(
        self,
        nodes: Mapping[str, Node],
        removed: Collection[str] = (),
        *,
        like: Formatted | None = None,
        consolidate: bool = True,
        known: Mapping[str, Raw] | None = None,
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        """Write documents; the parameters are those of `documents_of_change`."""
        check_case(self.store, nodes)
        documents = documents_of_change(
            self.store, nodes, removed, like=like, consolidate=consolidate, known=known, renamed=renamed
        )
        is_whole = self._root is None and not self._documents and not removed
        self._root = documents.commit if is_whole else None
        self._documents |= {key for values in documents[:3] for key in values}
        staged = [
            (f"{phase.value}/{key}", value)
            for phase, values in zip(Phase, documents[:3], strict=True)
            for key, value in values.items()
        ]
        if is_held(self.changes, sum(len(value) for _, value in staged)):  # nobody waits for them
            for item in staged:
                self.changes.set(*item)
        else:
            ask_all(self.changes, lambda item: self.changes.set(*item), staged)

    def put_documents(self, documents: Mapping[str, bytes]) -> None:
        """Write documents of nodes that are there, by key."""
        self._edges = None
        for key, value in documents.items():
            phase = Phase.NODES if "/" in key else Phase.ROOT
            self.changes.set(f"{phase.value}/{key}", value)

    def link(self, key: str, to: str) -> None:
        """Give the value of `key` to `to` as well."""
        self._edges = None
        self._committer.link(key, self.changes, f"{Phase.NEW.value}/{to}")

    def delete(self, keys: Iterable[str]) -> None:
        """Remove keys, and prefixes with all below them, when all else is in place."""
        self._deleted.update(keys)

    def delete_all(self, keys: Iterable[str]) -> None:
        """Remove all that there is below some prefix, which `keys` are, but for what the transaction sets anew."""
        new = {key.partition("/")[2] for key in self.changes.list_prefix()}
        kept = new.union(*(parents_of(key) for key in new))
        for key in keys:
            if key not in new:
                # for a folder full of them its prefix
                self._deleted.add(next(path for path in (*parents_of(key)[1:], key) if path not in kept))

    def commit(self, check: Callable[[Collection[str]], None] | None = None) -> None:
        """Make the changes; see `Committer.apply_changes`.

        Parameters
        ----------
        check : callable, optional
            As of `Additions`: raises if what the changes were made from is not as it was.
        """
        if self._deleted:
            self.changes.set(DELETED, json.dumps(sorted(self._deleted)).encode())
        plan, store = self._additions(check), self.store
        if plan is not None and has_trait(store, DirectCommitStore) and store.apply_additions(self.changes, plan):
            self._is_made = True
            return
        if check is not None:
            if isinstance(self.changes, HeldChanges):
                self.changes.written()  # first: it takes its time
            check(())
        self._committer.apply_changes(self.changes)
        self._is_made = True

    def _additions(self, check: Callable[[Collection[str]], None] | None) -> Additions | None:
        """What is known of changes that only add; None of others, and where it would not help."""
        if self.read is None or self._root is None or self._edges is None or self._deleted:
            return None
        seen = self.read.seen
        if not all(key in seen for key in self._edges):
            return None
        edges = {key: seen[key] for key in self._edges}
        return Additions(self._root, frozenset(self._documents - {self._root}), edges, check)


def change_documents(
    store: Store,
    nodes: Mapping[str, Node],
    removed: Collection[str] = (),
    links: Mapping[str, str] | None = None,
    *,
    like: Formatted | None = None,
    known: Mapping[str, Raw] | None = None,
    renamed: Mapping[str, str] | None = None,
) -> None:
    """Write the documents of nodes, and remove others with all below them, in one step; the caller holds the lock.

    `links` are keys whose values get another key as well, to which they map; `like`, `known` and `renamed` are those of
    `documents_of_change`.
    """
    with Transaction(store) as transaction:
        for key, to in (links or {}).items():
            transaction.link(key, to)
        if nodes or removed:
            transaction.put_nodes(nodes, removed, like=like, known=known, renamed=renamed)
        transaction.delete(removed)
        transaction.commit()


def put_node(store: Store, path: str, node: Node) -> None:
    """Write a node's documents, and its entry in the root's consolidated metadata if there is one, in one step."""
    with locked(store), Transaction(store) as transaction:
        transaction.put_nodes({path: node}, like=node, consolidate=False)
        transaction.commit()
