"""Where a new array or group goes: what must be there before, and what must not."""

from __future__ import annotations

from math import prod

from zarrds.engine.chunk_io import Chunks
from zarrds.errors import MetadataError, NodeNotFoundError, StoreExistsError
from zarrds.metadata.formats import Format, spec_of
from zarrds.metadata.model import ArrayMetadata, Node
from zarrds.metadata.nodes.belonging import check_nothing_else
from zarrds.metadata.nodes.documents import Nodes, new_groups, open_nodes, parents_of, spec_there
from zarrds.metadata.nodes.locking import locked
from zarrds.metadata.nodes.transaction import Transaction
from zarrds.metadata.nodes.written import raws_of
from zarrds.storage.commits.committer import prepare
from zarrds.storage.protocol import Store

__all__ = ["put_new_node"]


def put_new_node(store: Store, path: str, node: Node, *, overwrite: bool) -> None:
    """Write a new node, and the groups above it that are missing.

    Parameters
    ----------
    store : Store
    path : str
    node : ArrayMetadata or GroupMetadata
    overwrite : bool
        Remove what stands at `path`.

    Raises
    ------
    StoreExistsError
        If something stands at `path` already, or the store is of another format; if a file that is no part of Zarr
        would be removed.
    NodeNotFoundError
        If an array stands where a group would have to be.
    EncodingError, MetadataError
        If the format cannot hold `node`. Nothing was touched then.
    """
    # what the format cannot hold shows here, before anything is touched
    raws_of({path: node})
    if isinstance(node, ArrayMetadata):
        prepare(store, prod(node.chunk_grid))
    # of two writers at once that find nothing at a path, one must find the other's node
    with locked(store):
        missing = parents_of(path)
        there = spec_there(store)
        removed: list[str] = []
        may_go = overwrite
        if there is not None:
            _check_format(store, path, node, there, overwrite=overwrite)
            nodes = open_nodes(store, like=there, is_locked=True)
            if _must_go(store, path, node, nodes, overwrite=overwrite):
                removed = [path]
            missing = [parent for parent in missing if nodes.get(parent) is None]
            # what neither that nor a document names is not there: a writer that died before its commit has left it
            may_go = may_go or (path != "" and nodes.consolidated)
        gone = list(store.list_prefix(path)) if removed else _leftovers(store, path, node, overwrite=may_go)
        with Transaction(store) as transaction:
            transaction.put_nodes({**new_groups(missing, node), path: node}, removed, like=node, consolidate=False)
            if removed:
                transaction.delete_all(gone)
            else:
                transaction.delete(gone)
            transaction.commit()


def _check_format(store: Store, path: str, node: Node, there: Format, *, overwrite: bool) -> None:
    if there is not spec_of(node) and (path or not overwrite):
        raise StoreExistsError(
            f"store is of Zarr format {there.zarr_format}",
            path=store.path,
            mend=f"Pass zarr_format={there.zarr_format}, or write to another store",
        )


def _must_go(store: Store, path: str, node: Node, nodes: Nodes, *, overwrite: bool) -> bool:
    """Whether something stands at `path` that must be removed; raises if it may not be."""
    for parent in parents_of(path):
        if isinstance(nodes.get(parent), ArrayMetadata):
            raise NodeNotFoundError("an array cannot hold other nodes", path=store.path, key=parent or "/")
    # consolidated metadata need not name what another library wrote: it is not to be lost for that
    stored = open_nodes(store, like=nodes, consolidated=False, is_locked=True)
    if _stands(nodes, path) or _stands(stored, path):
        if not overwrite:
            raise StoreExistsError(
                "something stands here already",
                path=store.path,
                key=path or "/",
                mend="Pass overwrite=True to replace it",
            )
        check_nothing_else(store, path)
        return True
    if isinstance(node, ArrayMetadata) and stored.names(path):
        raise StoreExistsError("groups or arrays stand below already", path=store.path, key=path)
    return False


def _leftovers(store: Store, path: str, node: Node, *, overwrite: bool) -> list[str]:
    """Chunks in the place of a new array, of which no document says what they are: they are not its own."""
    if not isinstance(node, ArrayMetadata):
        return []
    chunks = Chunks(store, path, node)
    leftovers = [key for key in store.list_prefix(path) if chunks.position(key) is not None]
    if leftovers and not overwrite:
        raise StoreExistsError(
            "chunks of an array without a metadata document stand here",
            path=store.path,
            key=leftovers[0],
            mend="Restore the document, or pass overwrite=True to remove the chunks",
        )
    return leftovers


def _stands(nodes: Nodes, path: str) -> bool:
    try:
        return nodes.get(path) is not None
    except MetadataError:  # something, if damaged
        return True
