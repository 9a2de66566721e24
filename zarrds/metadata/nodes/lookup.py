"""Nodes by path: what stands there, or an error that lists what stands there instead."""

from __future__ import annotations

from zarrds.errors import NodeNotFoundError
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node
from zarrds.metadata.nodes.documents import Nodes
from zarrds.storage.protocol import Store

__all__ = ["get_array", "get_group", "get_node"]


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
