"""The documents of what lies directly below a group that is there, fetched with as few looks as its store needs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import xarray as xr

from zarrds.errors import MetadataError, ZarrdsError
from zarrds.metadata.extension import MEMBER
from zarrds.metadata.fetched import prefetched
from zarrds.metadata.fields import Raw
from zarrds.metadata.model import ArrayMetadata, GroupMetadata
from zarrds.metadata.nodes.documents import Nodes, document_key, keys_of, own_raw, parsed
from zarrds.metadata.nodes.lookup import named_dimensions
from zarrds.storage.protocol import Store, path_below
from zarrds.threads import answers_of

__all__ = ["GroupDocuments", "GroupToRead", "documents_below"]


@dataclass(frozen=True, slots=True)
class GroupToRead:
    """A group that is to be read, and for what.

    Attributes
    ----------
    store : Store
    nodes : Nodes
        Read without consolidated metadata: another library may have left that stale.
    path : str
    dataset : Dataset
        What is going to be written: the labels that it is compared with, and the categories, are read.
    chunk_keys : sequence of str
        Of chunks that are fetched together with the documents. The caller makes sure that they are still the same.
    is_locked : bool
        Whether the caller holds the store's lock, for as long as it uses what is read.
    by_copies : bool
        Whether what the dataset does not name may be what the root's document says of it: where each look is a request.
    """

    store: Store
    nodes: Nodes
    path: str
    dataset: xr.Dataset
    chunk_keys: Sequence[str] = ()
    is_locked: bool = False
    by_copies: bool = False

    def below(self, name: str) -> str:
        """The path of what lies below it."""
        return path_below(self.path, name)


@dataclass(frozen=True, slots=True)
class GroupDocuments:
    """What lies directly below a group, by name, as its own documents say.

    Attributes
    ----------
    arrays : dict of str to ArrayMetadata
    groups : set of str
    versions : dict of str to hashable
        The identities of the arrays' documents, by key, taken before they were read.
    raws : dict of str to JSON object
        The arrays' documents as they were read, by path from the store's root.
    unreadable : dict of str to MetadataError
        Why documents cannot be read.
    strange : dict of str to tuple of str
        The dimensions that those name.
    seen : Store
        The store, with what was fetched at hand.
    """

    seen: Store
    arrays: dict[str, ArrayMetadata] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    versions: dict[str, Hashable] = field(default_factory=dict)
    raws: dict[str, Raw] = field(default_factory=dict)
    unreadable: dict[str, ZarrdsError] = field(default_factory=dict)
    strange: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Fetched:
    """Names below a group, and where their documents are: in `seen`, or at hand with their versions.

    A version is None where the document is not the array's own, but what the root's says of it.
    """

    names: Sequence[str]
    seen: Store
    at_hand: Mapping[str, tuple[Raw, Hashable]] = field(default_factory=dict)


def documents_below(group: GroupToRead) -> GroupDocuments:
    """Read the documents of all that lies directly below a group.

    Raises
    ------
    MetadataError
        For a document that is no JSON: that store is damaged, not strange.
    ConflictError
        If another writer has changed a store just before of which this thread has begun a change.
    """
    store, stored = group.store, group.nodes
    fetched = _by_copies(group) if group.by_copies and store.traits.is_remote else None
    if fetched is None:
        fetched = _Fetched(*_names_and_documents(group))
    found = GroupDocuments(fetched.seen)
    for name in fetched.names:
        at = group.below(name)
        key = document_key(at, stored)
        own, version = fetched.at_hand.get(name) or (None, fetched.seen.identity(key))
        try:
            if own is None and version is not None:
                own = own_raw(fetched.seen, at, stored)
            child = None if own is None else parsed(store, at, stored, own)
        except MetadataError as error:
            if error.key != at:
                raise
            found.unreadable[name] = error
            found.strange[name] = named_dimensions(store, at, stored)
            continue
        if own is not None and isinstance(child, ArrayMetadata):
            found.arrays[name] = child
            if version is not None:
                found.versions[key], found.raws[at] = version, own
        elif isinstance(child or stored.get(at), GroupMetadata):
            found.groups.add(name)
    return found


def _by_copies(group: GroupToRead) -> _Fetched | None:
    """The own documents of what a dataset names, and what the root's says of all else; None where that is not enough.

    It is not where the dataset names more, and where arrays are parts of others, which are written together.
    """
    stored, variables = group.nodes, group.dataset.variables
    copies, told = stored.copies(), stored.told(group.path)
    found = {name: copies[at] for name in told if (at := group.below(name)) in copies}
    members = (raw.get(MEMBER) for raw in found.values())
    notes = [member.get("pandas") for member in members if isinstance(member, dict)]
    has_parts = any(isinstance(note, dict) and {"categories", "bounds"} & note.keys() for note in notes)
    if has_parts or len(found) < len(told) or not variables.keys() <= found.keys():
        return None
    beside = {str(name): stored.beside(group.below(str(name))) for name in variables}
    at_hand: dict[str, tuple[Raw, Hashable]] = {name: each for name, each in beside.items() if each is not None}
    own_paths = [group.below(name) for name in beside if name not in at_hand]
    at_hand |= {name: (raw, None) for name, raw in found.items() if name not in variables}
    return _Fetched(told, prefetched(group.store, keys_of(own_paths, stored)), at_hand)


def _names_and_documents(group: GroupToRead) -> tuple[list[str], Store]:
    """What lies directly below a group, and the store with its documents at hand, and with some chunks."""
    store, path = group.store, group.path
    likely = group.nodes.told(path) if store.traits.is_remote else []

    def keys(names: Sequence[str]) -> list[str]:
        return [*keys_of([group.below(name) for name in names], group.nodes), *group.chunk_keys]

    fetch = partial(prefetched, store, keys(likely), listing=not path)
    if not likely:
        names, seen = store.list_children(path), store
    elif group.is_locked:  # what is fetched by this thread is remembered, and so is what lies below the root
        seen, names = fetch(), store.list_children(path)
    else:
        calls: list[Callable[[], Any]] = [partial(store.list_children, path), fetch]
        names, seen = answers_of(calls)
    if not set(names) <= set(likely):
        seen = prefetched(store, keys(names))
    return names, seen
