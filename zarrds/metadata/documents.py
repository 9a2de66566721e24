"""The nodes of a store: read from consolidated metadata or one by one, and written back.

The root's document is the commit point: what consolidated metadata does not name is not there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Protocol

from zarrds.errors import MetadataError, NodeNotFoundError, StoreNotFoundError, UnsupportedError, ZarrdsError, locating
from zarrds.metadata import v2, v3
from zarrds.metadata.dtypes import JSON
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node, ZarrFormat
from zarrds.stores.base import Store, check_prefix

__all__ = [
    "Nodes",
    "consolidate",
    "get_array",
    "get_group",
    "get_node",
    "open_nodes",
    "parents_of",
    "put_node",
    "put_nodes",
    "remove_node",
    "replacing_below",
    "root_key",
    "walk",
    "zarr_format_of",
]

_FORMATS: dict[ZarrFormat, ModuleType] = {3: v3, 2: v2}
Raw = dict[str, JSON]

# one process's writers of consolidated metadata take turns
_consolidated_lock = threading.RLock()


def _renew_lock() -> None:
    # in a forked child nobody would release what a thread of its parent held
    global _consolidated_lock
    _consolidated_lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Nodes(Protocol):
    """The nodes of a store, by path (``""`` is the root)."""

    @property
    def consolidated(self) -> bool: ...

    @property
    def zarr_format(self) -> ZarrFormat: ...

    def get(self, path: str) -> Node | None: ...

    def names(self, path: str) -> list[str]:
        """The names of the nodes directly below a group, also of those that cannot be read."""
        ...

    def children(self, path: str, skip: Collection[str] = ()) -> dict[str, Node]:
        """The nodes directly below a group, by name, without looking at those to skip."""
        ...


class _Consolidated:
    """All nodes from one document; each is parsed when it is asked for."""

    consolidated = True

    def __init__(self, store: Store, zarr_format: ZarrFormat, raws: Mapping[str, Raw]) -> None:
        self._store = store
        self.zarr_format = zarr_format
        self._raws = raws
        self._names: dict[str, list[str]] = {}
        for path in raws:
            if path:
                parent, _, name = path.rpartition("/")
                self._names.setdefault(parent, []).append(name)

    def get(self, path: str) -> Node | None:
        raw = self._raws.get(path)
        return None if raw is None else _parse(self._store, self.zarr_format, path, raw)

    def names(self, path: str) -> list[str]:
        return self._names.get(path, [])

    def children(self, path: str, skip: Collection[str] = ()) -> dict[str, Node]:
        return _children(self, path, self.names(path), skip)


class _Stored:
    """Nodes read one by one, from their own documents."""

    consolidated = False

    def __init__(self, store: Store, zarr_format: ZarrFormat) -> None:
        self._store = store
        self.zarr_format = zarr_format

    def get(self, path: str) -> Node | None:
        raw = _format(self.zarr_format).load_raw(self._store, check_prefix(path, self._store.path))
        return None if raw is None else _parse(self._store, self.zarr_format, path, raw)

    def names(self, path: str) -> list[str]:
        prefix = f"{path}/" if path else ""
        return [name for name in self._store.list_children(path) if self._stands(prefix + name)]

    def _stands(self, path: str) -> bool:
        try:
            return _format(self.zarr_format).load_raw(self._store, path) is not None
        except MetadataError:  # something, if damaged
            return True

    def children(self, path: str, skip: Collection[str] = ()) -> dict[str, Node]:
        # not by `names`, which would read every document once more
        return _children(self, path, self._store.list_children(path), skip)


def _children(nodes: Nodes, path: str, names: Iterable[str], skip: Collection[str]) -> dict[str, Node]:
    prefix = f"{path}/" if path else ""
    found = ((name, nodes.get(prefix + name)) for name in names if name not in skip)
    return {name: node for name, node in found if node is not None}


def _format(zarr_format: ZarrFormat) -> ModuleType:
    """The module of a format."""
    if zarr_format not in _FORMATS:
        raise UnsupportedError("unknown zarr_format", expected="2 or 3", found=repr(zarr_format))
    return _FORMATS[zarr_format]


def parents_of(path: str) -> list[str]:
    """The paths above `path`, the root first.

    Examples
    --------
    >>> parents_of("a/b/c")
    ['', 'a', 'a/b']
    """
    return ["", *(path[:i] for i, character in enumerate(path) if character == "/")] if path else []


def root_key(zarr_format: ZarrFormat, *, consolidated: bool) -> str:
    """The key whose value says which nodes a store has."""
    return v3.NAME if zarr_format == 3 else v2.CONSOLIDATED if consolidated else v2.GROUP


def _parse(store: Store, zarr_format: ZarrFormat, path: str, raw: Raw) -> Node:
    try:
        node: Node = _format(zarr_format).parse(raw)
    except ZarrdsError as error:
        raise error.located(path=store.path, key=path or "/") from error.__cause__
    except RecursionError as error:
        raise MetadataError("metadata is nested too deeply", path=store.path, key=path or "/") from error
    return node


def open_nodes(store: Store, *, zarr_format: ZarrFormat | None = None, consolidated: bool | None = None) -> Nodes:
    """The nodes of a store that exists.

    Parameters
    ----------
    store : Store
    zarr_format : {2, 3}, optional
        Which documents to read where a store has both; v3 unless said.
    consolidated : bool, optional
        True insists on consolidated metadata, False ignores it, None takes it if it is there.

    Raises
    ------
    StoreNotFoundError
        If there is no Zarr group or array at the root.
    MetadataError
        If a document is invalid, or consolidated metadata was insisted on and is not there.
    """
    for candidate in (3, 2) if zarr_format is None else (zarr_format,):
        if consolidated is not False:
            with locating(store.path):
                raws = _format(candidate).load_consolidated(store)
            if raws is not None:
                return _Consolidated(store, candidate, raws)
        if _format(candidate).load_raw(store, "") is not None:
            if consolidated:
                raise MetadataError(
                    "store has no consolidated metadata",
                    path=store.path,
                    mend="Open it with consolidated=None, or write it with consolidated metadata",
                )
            return _Stored(store, candidate)
    raise StoreNotFoundError(
        "no Zarr store here",
        path=store.path,
        expected=f"{' or '.join([v3.NAME, v2.GROUP, v2.ARRAY])} at its root"
        if zarr_format is None
        else f"a Zarr v{zarr_format} group or array at its root",
        mend="Check the path; a dataset that was being saved when its writer died was never committed",
    )


def zarr_format_of(store: Store) -> ZarrFormat | None:
    """The format of the store's root, or None if there is no Zarr store."""
    for candidate in _FORMATS:
        if _format(candidate).load_raw(store, "") is not None:
            return candidate
    return None


def walk(nodes: Nodes, path: str = "") -> dict[str, Node]:
    """The node at `path` and every node below it, by path, parents first."""
    node = nodes.get(path)
    if node is None:
        return {}
    found = {path: node}
    if isinstance(node, GroupMetadata):
        for name in nodes.children(path):
            found |= walk(nodes, f"{path}/{name}" if path else name)
    return found


def get_node(store: Store, nodes: Nodes, path: str) -> Node:
    """The node at `path`, or an error that lists what stands there instead."""
    node = nodes.get(path)
    if node is None:
        parent = path.rpartition("/")[0]
        there = sorted(nodes.children(parent)) if isinstance(nodes.get(parent), GroupMetadata) else []
        raise NodeNotFoundError(
            "no such group or array",
            path=store.path,
            key=path,
            mend=f"Below {parent or '/'!r} there is: {', '.join(there[:20]) or 'nothing'}",
        )
    return node


def put_node(store: Store, path: str, node: Node) -> None:
    """Write a node's documents, and its entry in the root's consolidated metadata if there is one."""
    module = _format(node.zarr_format)
    raw = module.to_raw(node)
    with _consolidated_lock:
        raws = module.load_consolidated(store)
        if raws is None or path:
            for key, value in module.documents(path, raw).items():
                store.set(key, value)
        if raws is not None:
            _set_all(store, module.consolidated_documents(raws | {path: raw}))


def remove_node(store: Store, path: str, zarr_format: ZarrFormat) -> None:
    """Remove a node and all below it: first from the root's consolidated metadata, then from the store."""
    module = _format(zarr_format)
    with _consolidated_lock:
        raws = module.load_consolidated(store)
        if raws is not None and path:
            kept = {p: r for p, r in raws.items() if p != path and not p.startswith(f"{path}/")}
            _set_all(store, module.consolidated_documents(kept))
    store.delete_prefix(path)


def put_nodes(store: Store, nodes: Mapping[str, Node]) -> None:
    """Write the documents of new nodes, by path, without touching consolidated metadata."""
    for path, node in nodes.items():
        module = _format(node.zarr_format)
        _set_all(store, module.documents(path, module.to_raw(node)))


def consolidate(store: Store, nodes: Mapping[str, Node]) -> None:
    """Write the root's documents with consolidated metadata of exactly `nodes`: the commit of a new store.

    Parameters
    ----------
    store : Store
    nodes : mapping of str to Node
        By path; ``""`` is the root group, and gives the format.
    """
    module = _format(nodes[""].zarr_format)
    _set_all(store, module.consolidated_documents({path: module.to_raw(node) for path, node in nodes.items()}))


@contextmanager
def replacing_below(store: Store, path: str, nodes: Mapping[str, Node]) -> Iterator[None]:
    """Around the one step that replaces all at and below `path`: the root's documents then name `nodes` there.

    If consolidated metadata names `path` already, it is taken away before that step: whoever reads meanwhile, or
    after a crash, goes by the documents beside the chunks, and never reads new chunks by old metadata. It comes back
    if the step fails. What stands elsewhere in the store is kept to the letter, whether zarrds understands it or not.

    Parameters
    ----------
    store : Store
    path : str
    nodes : mapping of str to Node
        By path from the store's root.
    """
    zarr_format = zarr_format_of(store)
    if zarr_format is None:
        raise StoreNotFoundError("no Zarr store here", path=store.path)
    module = _format(zarr_format)
    with _consolidated_lock:
        before = module.load_consolidated(store)
        if before is not None and path in before:
            _remove_consolidated(store, zarr_format, before[""])
        try:
            yield
        except BaseException:
            if before is not None and path in before:
                _set_all(store, module.consolidated_documents(before))
            raise
        raws = before or _walk_raws(store, module, "")
        kept = {p: raw for p, raw in raws.items() if p != path and not p.startswith(f"{path}/")}
        _set_all(store, module.consolidated_documents(kept | {p: module.to_raw(n) for p, n in nodes.items()}))


def _remove_consolidated(store: Store, zarr_format: ZarrFormat, root: Raw) -> None:
    if zarr_format == 2:
        store.delete(v2.CONSOLIDATED)
    else:
        _set_all(store, v3.documents("", {n: value for n, value in root.items() if n != "consolidated_metadata"}))


def _walk_raws(store: Store, module: ModuleType, path: str) -> dict[str, Raw]:
    raw = module.load_raw(store, path)
    if raw is None:
        return {}
    found = {path: raw}
    for name in store.list_children(path):
        found |= _walk_raws(store, module, f"{path}/{name}" if path else name)
    return found


def _set_all(store: Store, documents: Mapping[str, bytes]) -> None:
    for key, value in documents.items():
        store.set(key, value)


def get_array(store: Store, nodes: Nodes, path: str) -> ArrayMetadata:
    """The array at `path`."""
    node = get_node(store, nodes, path)
    if not isinstance(node, ArrayMetadata):
        raise NodeNotFoundError("this is a group, not an array", path=store.path, key=path or "/")
    return node


def get_group(store: Store, nodes: Nodes, path: str) -> GroupMetadata:
    """The group at `path`."""
    node = get_node(store, nodes, path)
    if not isinstance(node, GroupMetadata):
        raise NodeNotFoundError("this is an array, not a group", path=store.path, key=path or "/")
    return node
