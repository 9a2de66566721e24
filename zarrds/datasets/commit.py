"""Where a save writes to, and how it becomes visible: all at once.

A save fills a staged store, which no reader sees. Its last two steps put it in its place and, for a group of a
store that exists, name it in the root's consolidated metadata.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from zarrds.errors import MetadataError, NodeNotFoundError, StoreExistsError
from zarrds.metadata.documents import (
    Nodes,
    consolidate,
    open_nodes,
    parents_of,
    put_node,
    put_nodes,
    replacing_below,
    zarr_format_of,
)
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node, ZarrFormat
from zarrds.stores.base import Store

__all__ = ["Target", "find_target", "staged"]

S = TypeVar("S", bound=Store)


@dataclass(frozen=True, slots=True)
class Target(Generic[S]):
    """Where a save goes.

    Attributes
    ----------
    store : Store
    prefix : str
        What is replaced: ``""`` for the whole store, else a group of a store that exists.
    group : str
        The group to save into, below `prefix`.
    zarr_format : {2, 3}
    replace : bool
        Whether something stands there, and may be replaced.
    """

    store: S
    prefix: str
    group: str
    zarr_format: ZarrFormat
    replace: bool


def find_target(store: S, group: str, mode: Literal["w", "w-"], zarr_format: ZarrFormat | None) -> Target[S]:
    """Look where a save may go; nothing is written.

    Raises
    ------
    StoreExistsError
        If something stands there that `mode` does not allow to replace, or that is no Zarr store at all.
    """
    existing = zarr_format_of(store)
    if existing is None:
        if next(store.list_prefix(""), None) is not None:
            raise StoreExistsError(
                "folder holds files, but no Zarr store",
                path=store.path,
                mend="Save to another path, or empty this one yourself; zarrds deletes nothing that is not Zarr",
            )
        return Target(store, "", group, zarr_format or 3, replace=False)
    nodes = open_nodes(store)
    # consolidated metadata need not name what another library wrote since: it is not to be lost for that
    stored = open_nodes(store, zarr_format=existing, consolidated=False)
    standing = _node_at(nodes, group) or _node_at(stored, group)
    if standing and mode == "w-":
        raise StoreExistsError(
            f"{standing} exists here already" if group else "a store exists here already",
            path=store.path,
            key=group or None,
            mend="Pass mode='w' to replace it",
        )
    if not group:
        return Target(store, "", "", zarr_format or 3, replace=True)
    if zarr_format not in (None, existing):
        raise StoreExistsError(
            f"store is of Zarr format {existing}",
            path=store.path,
            found=f"zarr_format={zarr_format}",
            mend="All groups of a store have one format",
        )
    _check_parents(store, nodes, group)
    if not standing and next(store.list_prefix(group), None) is not None:
        raise StoreExistsError(
            "folder holds files, but no Zarr group or array",
            path=store.path,
            key=group,
            mend="Save to another group, or empty this folder yourself; zarrds deletes nothing that is not Zarr",
        )
    return Target(store, group, "", existing, replace=bool(standing))


def _node_at(nodes: Nodes, path: str) -> str | None:
    """What stands at `path`, in words."""
    try:
        node = nodes.get(path)
    except MetadataError:
        return "something that zarrds cannot read"
    return None if node is None else "an array" if isinstance(node, ArrayMetadata) else "a group"


def _check_parents(store: Store, nodes: Nodes, group: str) -> None:
    for parent in parents_of(group):
        if isinstance(nodes.get(parent), ArrayMetadata):
            raise NodeNotFoundError("an array cannot hold groups", path=store.path, key=parent or "/")


@contextmanager
def staged(target: Target[S], nodes: Mapping[str, Node]) -> Iterator[S]:
    """A staged store with the documents of `nodes` in it, for the data to be written to.

    If the body ends well it is published. If it fails, everything is as it was before.

    Parameters
    ----------
    target : Target
    nodes : mapping of str to Node
        By path below the target's group, which is ``""``.

    Yields
    ------
    Store
        In which ``target.group`` is the group to write to.
    """
    store, prefix = target.store, target.prefix
    base = f"{target.group}/" if target.group else ""
    parents: dict[str, Node] = {p: GroupMetadata(zarr_format=target.zarr_format) for p in parents_of(target.group)}
    below = parents | {(base + path).rstrip("/"): node for path, node in nodes.items()}
    stage = store.stage(prefix)
    try:
        put_nodes(stage, {path: node for path, node in below.items() if path or prefix})
        yield stage
        if prefix:
            named = {f"{prefix}/{path}".rstrip("/"): node for path, node in below.items()}
            _publish_group(target, stage, named)
        else:
            consolidate(stage, below)
            store.publish(stage, replace=target.replace)
    except BaseException:
        store.discard(stage)
        raise


def _publish_group(target: Target[S], stage: S, nodes: Mapping[str, Node]) -> None:
    """Put a group in its place in a store that exists, and name `nodes` (by path from the root) there."""
    store, prefix = target.store, target.prefix
    there = open_nodes(store)
    for parent in parents_of(prefix):
        if there.get(parent) is None:
            put_node(store, parent, GroupMetadata(zarr_format=there.zarr_format))
    with replacing_below(store, prefix, nodes):
        store.publish(stage, prefix, replace=target.replace)
