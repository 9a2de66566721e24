"""The nodes of a store, read from consolidated metadata or one by one.

The root's document is the commit point: what consolidated metadata does not name is not there.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from zarrds.errors import (
    MetadataError,
    StoreIOError,
    StoreNotFoundError,
    ZarrdsError,
    locating,
)
from zarrds.metadata.fetched import is_denied, is_page, prefetched
from zarrds.metadata.fields import MALFORMED, Raw
from zarrds.metadata.formats import Format, spec_of, v2, v3
from zarrds.metadata.model import Formatted, GroupMetadata, Node, ZarrFormat
from zarrds.storage.protocol import Store, check_prefix, path_below
from zarrds.storage.traits import ManyValues, has_trait

__all__ = [
    "DOCUMENTS",
    "ROOTS",
    "Nodes",
    "document_key",
    "keys_of",
    "new_groups",
    "no_store",
    "open_nodes",
    "own_node",
    "own_raw",
    "parents_of",
    "parsed",
    "root_keys",
    "spec_there",
    "walk",
]

DOCUMENTS = frozenset({v3.NAME, *v3.NOTES.split("/"), v2.ARRAY, v2.GROUP, v2.ATTRIBUTES, v2.CONSOLIDATED})
"""The names of all documents, and of the folder of those of ours: no array or group can be called so."""
ROOTS = frozenset({v3.NAME, v2.GROUP, v2.CONSOLIDATED})
"""Those that are at the root of a store of groups, by which one knows it."""
_FORMATS: tuple[Format, ...] = (v3, v2)  # in the order in which they are looked for


class Nodes(Protocol):
    """The nodes of a store, by path (``""`` is the root)."""

    @property
    def consolidated(self) -> bool: ...

    @property
    def zarr_format(self) -> ZarrFormat: ...

    @property
    def root(self) -> Raw | None:
        """The root's own documents, as they were read; None where they were not."""
        ...

    @property
    def version(self) -> tuple[str, Hashable]:
        """The key of the document that every change of nodes writes anew, and its identity just before it was read."""
        ...

    def version_of(self, path: str) -> tuple[str, Hashable]:
        """The key of the document that changes whenever that array may have been replaced, and its identity."""
        ...

    def get(self, path: str) -> Node | None: ...

    def names(self, path: str) -> list[str]:
        """The names of the nodes directly below a group, also of those that cannot be read."""
        ...

    def told(self, path: str) -> list[str]:
        """The names that are likely to be there, without a look: to fetch what belongs to them ahead."""
        ...

    def copies(self) -> Mapping[str, Raw]:
        """What the root's document has of all nodes, by path, where it was read and zarrds has written it."""
        ...

    def noted_groups(self) -> Mapping[str, Raw]:
        """What consolidated metadata has of groups, by path, with their notes; nothing if they were read from it."""
        ...

    def beside(self, path: str) -> tuple[Raw, Hashable] | None:
        """An array's document and its identity, if it was fetched beside the root's, which says the same of it."""
        ...

    def children(self, path: str, skip: Collection[str] = ()) -> dict[str, Node]:
        """The nodes directly below a group, by name, without looking at those to skip."""
        ...


class _Consolidated:
    """All nodes from one document; each is parsed when it is first asked for."""

    consolidated = True
    root = None

    def __init__(
        self, store: Store, zarr_format: ZarrFormat, raws: Mapping[str, Raw], version: tuple[str, Hashable]
    ) -> None:
        self._store = store
        self.zarr_format = zarr_format
        self.version = version
        self._raws = raws
        self._parsed: dict[str, Node] = {}
        self._names: dict[str, list[str]] = {}
        for path in raws:
            if path:
                parent, _, name = path.rpartition("/")
                self._names.setdefault(parent, []).append(name)

    def version_of(self, path: str) -> tuple[str, Hashable]:
        return self.version

    def get(self, path: str) -> Node | None:
        node = self._parsed.get(path)
        if node is None and path in self._raws:
            node = self._parsed[path] = parsed(self._store, path, self, self._raws[path])
        return node

    def names(self, path: str) -> list[str]:
        return self._names.get(path, [])

    told = names

    def copies(self) -> Mapping[str, Raw]:
        return {}

    noted_groups = copies

    def beside(self, path: str) -> None:
        return None

    def children(self, path: str, skip: Collection[str] = ()) -> dict[str, Node]:
        return _children(self, path, self.names(path), skip)


class _Stored:
    """Nodes read one by one, from their own documents."""

    consolidated = False

    def __init__(
        self,
        store: Store,
        zarr_format: ZarrFormat,
        version: tuple[str, Hashable],
        root: Raw | None,
        seen: Store | None = None,
        *,
        is_quick: bool = False,  # whether it is only read, so that not all need be looked at that may be there
    ) -> None:
        self._store = store
        self._is_quick = is_quick
        self._seen = seen  # with documents at hand that were fetched beside the root's
        self.root: Raw | None = root
        self.zarr_format = zarr_format
        self.version = version
        self._copies: Mapping[str, Raw] | None = None
        self._noted_groups: Mapping[str, Raw] | None = None
        self._identities: dict[str, Hashable] = {}  # of documents that were fetched with them

    def get(self, path: str) -> Node | None:
        if not path and self.root is not None:
            return parsed(self._store, "", self, self.root)
        return own_node(self._store, path, self)

    def names(self, path: str) -> list[str]:
        prefix = f"{path}/" if path else ""
        return [name for name in self._store.list_children(path) if self._stands(prefix + name)]

    def told(self, path: str) -> list[str]:
        """The names directly below a group that the root's own document tells of, whether or not it is right."""
        consolidated = (self.root or {}).get("consolidated_metadata")
        metadata = consolidated.get("metadata") if isinstance(consolidated, dict) else None
        below = [each.rpartition("/") for each in metadata] if isinstance(metadata, dict) else []
        return [name for parent, _, name in below if parent == path and name]

    def copies(self) -> Mapping[str, Raw]:
        if self._copies is None:
            self._copies = {} if self.root is None else spec_of(self).copies_in(self.root)
        return self._copies

    def noted_groups(self) -> Mapping[str, Raw]:
        if self._noted_groups is None:
            self._noted_groups, spec = self.copies(), spec_of(self)
            key = spec.root_key(consolidated=True)
            if key != spec.root_key(consolidated=False):  # it is not in the document that was read
                with suppress(ZarrdsError):
                    self._noted_groups = spec.load_consolidated(prefetched(self._store, [key])) or {}
        return self._noted_groups

    def beside(self, path: str) -> tuple[Raw, Hashable] | None:
        if self._seen is None or (copy := self.copies().get(path)) is None:
            return None
        with suppress(ZarrdsError):
            if spec_of(self).is_copy(self._seen, path, copy):
                return copy, self._seen.identity(document_key(path, self))
        return None

    def _stands(self, path: str) -> bool:
        try:
            return spec_of(self).load_raw(self._store, path) is not None
        except MetadataError:  # something, if damaged
            return True

    def version_of(self, path: str) -> tuple[str, Hashable]:
        key = document_key(path, self)
        return key, self._identities[path] if path in self._identities else self._store.identity(key)

    def children(self, path: str, skip: Collection[str] = ()) -> dict[str, Node]:
        base = f"{path}/" if path else ""
        likely = [base + name for name in self.told(path) if name not in skip] if self._store.traits.is_remote else []
        seen = prefetched(self._store, keys_of(likely, self), listing=not path) if likely else self._store
        # not by `names`, which would read every document once more
        names = [name for name in self._store.list_children(path) if name not in skip]
        paths = [base + name for name in names]
        if not set(paths) <= set(likely):
            if self._is_quick and self.zarr_format == 3:
                seen = v3.prefetched_nodes(self._store, paths)
            else:
                seen = prefetched(self._store, keys_of(paths, self))
        if seen is not self._store:
            self._identities |= {each: seen.identity(document_key(each, self)) for each in paths}
        return _children(_Stored(seen, self.zarr_format, self.version, self.root), path, names, ())


def keys_of(paths: Iterable[str], like: Formatted) -> list[str]:
    """The keys of all documents that nodes of that format may have at these paths."""
    return [key for path in paths for key in spec_of(like).keys_of(path)]


def own_node(store: Store, path: str, like: Formatted) -> Node | None:
    """The node at `path`, by its own documents; they are of the format that `like` is of."""
    raw = own_raw(store, path, like)
    return None if raw is None else parsed(store, path, like, raw)


def own_raw(store: Store, path: str, like: Formatted) -> Raw | None:
    """The documents of the node at `path`, to be `parsed`."""
    return spec_of(like).load_raw(store, check_prefix(path, store.path))


def _children(nodes: Nodes, path: str, names: Iterable[str], skip: Collection[str]) -> dict[str, Node]:
    prefix = f"{path}/" if path else ""
    found = ((name, nodes.get(prefix + name)) for name in names if name not in skip)
    return {name: node for name, node in found if node is not None}


def parents_of(path: str) -> list[str]:
    """The paths above `path`, the root first.

    Examples
    --------
    >>> parents_of("a/b/c")
    ['', 'a', 'a/b']
    """
    return ["", *(path[:i] for i, character in enumerate(path) if character == "/")] if path else []


def new_groups(paths: Iterable[str], like: Formatted) -> dict[str, GroupMetadata]:
    """Groups of which nothing is known but their paths."""
    return {path: GroupMetadata(zarr_format=like.zarr_format) for path in paths}


def parsed(store: Store, path: str, like: Formatted, raw: Raw) -> Node:
    """The node of some documents; errors name the store and the path."""
    try:
        return spec_of(like).parse(raw)
    except ZarrdsError as error:
        raise error.located(path=store.path, key=path or "/") from error.__cause__
    except RecursionError as error:
        raise MetadataError("metadata is nested too deeply", path=store.path, key=path or "/") from error
    except MALFORMED as error:
        raise MetadataError(f"metadata is malformed: {error}", path=store.path, key=path or "/") from error


@dataclass(frozen=True, slots=True)
class _Look:
    """How the nodes of a store are looked for; see `open_nodes`."""

    consolidated: bool | None
    is_locked: bool
    beside: Collection[str]
    is_sure: bool


def open_nodes(
    store: Store,
    *,
    like: Formatted | None = None,
    consolidated: bool | None = None,
    is_locked: bool = False,
    beside: Collection[str] = (),
    is_sure: bool = False,
) -> Nodes:
    """The nodes of a store that exists.

    Parameters
    ----------
    store : Store
    like : Formatted, optional
        Whose documents to read where a store has those of both formats; v3 unless said.
    consolidated : bool, optional
        True insists on consolidated metadata, False ignores it, None takes it if it is there.
    is_locked : bool
        Whether the caller holds the store's lock, by `locked`: then there is nothing left to recover.
    beside : collection of str
        The paths of arrays whose own documents are asked for together with the root's, where that pays off.
    is_sure : bool
        Whether notes are looked for below each array, as by who writes all of them anew.

    Raises
    ------
    StoreNotFoundError
        If there is no Zarr group or array at the root.
    MetadataError
        If a document is invalid, or consolidated metadata was insisted on and is not there.
    """
    # a second look: the root's documents may have been away while another writer replaced them behind a network, or be
    # those of the format that was looked for first
    how = _Look(consolidated, is_locked, beside, is_sure)
    for _ in range(2):
        nodes = _nodes_of_any(store, like, how)
        if nodes is not None:
            return nodes
    raise no_store(store, like)


def no_store(store: Store, like: Formatted | None = None) -> StoreNotFoundError:
    """The error where there is no Zarr group or array at the root of a store."""
    if os.path.isfile(store.path):
        return StoreNotFoundError(
            "this is a file, and no Zarr store",
            path=store.path,
            expected="a folder, or a ZIP file whose name ends in .zip",
            mend="Open files of netCDF, HDF5 or GRIB without engine='zarrds', or make a store of them with "
            "zarrds.convert; files of references are opened by a URL, reference://",
        )
    documents = " or ".join([v3.NAME, v2.GROUP, v2.ARRAY])
    return StoreNotFoundError(
        "no Zarr store here",
        path=store.path,
        expected=f"{documents if like is None else f'a Zarr v{like.zarr_format} group or array'} at its root",
        mend="Check the path; a dataset that was being saved when its writer died was never committed",
    )


def _nodes_of_any(store: Store, like: Formatted | None, how: _Look) -> Nodes | None:
    """The nodes of a store, None if there is none."""
    denied: ZarrdsError | None = None
    for number, spec in enumerate(_FORMATS if like is None else (spec_of(like),)):
        by_root = how.consolidated is not False
        keys = root_keys(spec, how.consolidated) + [spec.document_key(path) for path in how.beside if spec is v3]
        seen = prefetched(store, keys, recover=number == 0 and not how.is_locked, by_root=by_root)
        try:
            nodes = _opened(store, seen, spec, how)
        except (StoreIOError, MetadataError) as error:
            if not is_denied(store, error) and not is_page(seen, spec.root_key(consolidated=False)):
                raise
            denied = denied or error
        else:
            if nodes is not None:
                return nodes
    if denied is not None:
        raise denied
    return None


def root_keys(spec: Format, consolidated: bool | None) -> list[str]:
    """The keys that tell whether there is a store, and what nodes it has."""
    first = [spec.root_key(consolidated=True)] if consolidated is not False else []
    return list(dict.fromkeys([*first, *spec.keys_of("")]))


def _opened(store: Store, seen: Store, spec: Format, how: _Look) -> Nodes | None:
    """The nodes of a store of that format, None if it is of another; `seen` is the store with its root at hand."""
    if how.consolidated is not False:
        version = _version(seen, spec.root_key(consolidated=True))
        with locating(store.path):
            raws = spec.load_consolidated(seen, is_sure=how.is_sure)
        if raws is not None:
            return _Consolidated(store, spec.zarr_format, raws, version)
    version = _version(seen, spec.root_key(consolidated=False))
    root = spec.load_raw(seen, "")
    if root is None:
        return None
    if how.consolidated:
        raise MetadataError(
            "store has no consolidated metadata",
            path=store.path,
            mend="Open it with consolidated=None, or write it with consolidated metadata",
        )
    is_quick = how.consolidated is None and not (how.is_locked or how.is_sure)
    beside = seen if how.beside and seen is not store else None
    return _Stored(store, spec.zarr_format, version, root, beside, is_quick=is_quick)


def _version(store: Store, key: str) -> tuple[str, Hashable]:
    return key, store.identity(key)


def spec_there(store: Store, *, anew: bool = False) -> Format | None:
    """The format of the store's root, or None if there is no Zarr store; `anew` believes nothing seen before."""
    names: list[tuple[Format, tuple[str, ...]]] = [(v3, (v3.NAME,)), (v2, (v2.ARRAY, v2.GROUP))]
    # where calls wait, a look at all of them takes as long as one
    is_many = has_trait(store, ManyValues) and not anew
    seen: Store = prefetched(store, [name for _, each in names for name in each]) if is_many else store
    return next((spec for spec, each in names if any(seen.identity(name) is not None for name in each)), None)


def walk(nodes: Nodes, path: str = "") -> dict[str, Node]:
    """The node at `path` and every node below it, by path, parents first."""
    node = nodes.get(path)
    if node is None:
        return {}
    found = {path: node}
    if isinstance(node, GroupMetadata):
        for name in nodes.children(path):
            found |= walk(nodes, path_below(path, name))
    return found


def document_key(path: str, like: Formatted) -> str:
    """The key of the document that makes an array of that format exist."""
    return spec_of(like).document_key(path)
