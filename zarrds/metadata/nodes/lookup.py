"""Nodes by path: what stands there, or an error that lists what stands there instead."""

from __future__ import annotations

from zarrds.errors import MetadataError, NodeNotFoundError
from zarrds.metadata.formats import spec_of
from zarrds.metadata.model import ArrayMetadata, Formatted, GroupMetadata, Node
from zarrds.metadata.nodes.documents import Nodes, own_raw
from zarrds.storage.protocol import Store

__all__ = ["get_array", "get_group", "get_node", "named_dimensions"]


def get_node(store: Store, nodes: Nodes, path: str) -> Node:
    """The node at `path`, or an error that lists what stands there instead."""
    node = nodes.get(path)
    if node is None:
        parent = path.rpartition("/")[0]
        there = sorted(nodes.names(parent)) if isinstance(nodes.get(parent), GroupMetadata) else []
        raise NodeNotFoundError(
            "no such group or array",
            path=store.path,
            key=path,
            mend=f"Below {parent or '/'!r} there is: {', '.join(there[:20]) or 'nothing'}",
        )
    return node


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
        mend = "Open it with zarrds.open_array; datasets are groups"
        raise NodeNotFoundError("this is an array, not a group", path=store.path, key=path or "/", mend=mend)
    return node


def named_dimensions(store: Store, path: str, like: Formatted) -> tuple[str, ...]:
    """The names of the dimensions of an array, as far as they can be told of one that cannot be read."""
    try:
        raw = own_raw(store, path, like)
    except MetadataError:
        return ()
    names = None if raw is None else spec_of(like).named_dimensions(raw)
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
