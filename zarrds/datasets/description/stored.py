"""What arrays take in their store: one listing, and no value is read where that tells sizes."""

from __future__ import annotations

from collections.abc import Container, Mapping
from math import prod

from zarrds.datasets.description.model import Stored
from zarrds.engine.chunk_io import Chunks
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.protocol import Store
from zarrds.storage.traits import list_sizes, list_strange

__all__ = ["sizes_of_arrays", "stored_positions"]


def sizes_of_arrays(store: Store, arrays: Mapping[str, ArrayMetadata]) -> dict[str, Stored]:
    """Bytes and chunks of some arrays, by path.

    Parameters
    ----------
    store : Store
    arrays : mapping of str to ArrayMetadata
        By path from the root.
    """
    # at a URL each listing is a request, or a few; in a folder, groups below are worth being passed over
    prefixes = (
        {path.rpartition("/")[0] for path in arrays} if store.traits.is_remote and len(arrays) > 1 else set(arrays)
    )
    chunks = {path: Chunks(store, path, metadata) for path, metadata in arrays.items()}
    n_bytes, n_chunks, n_damaged = (dict.fromkeys(arrays, 0) for _ in range(3))
    for prefix in prefixes:
        for key, size in list_sizes(store, prefix):
            path = _path_of(key, arrays)
            if path is not None:
                n_bytes[path] += size
                n_chunks[path] += chunks[path].position_in_grid(key) is not None
    for path, node in arrays.items():
        if n_chunks[path] < prod(node.chunk_grid):
            # in whose place lies what is no file; none is opened
            strange = list_strange(store, path, folders=True)
            n_damaged[path] = sum(chunks[path].position_in_grid(key) is not None for key, _ in strange)
    return {
        path: Stored(n_bytes[path], n_chunks[path], prod(node.chunk_grid), n_damaged[path])
        for path, node in arrays.items()
    }


def _path_of(key: str, arrays: Container[str]) -> str | None:
    """The array below which a key lies."""
    path = key
    while "/" in path:
        path = path.rpartition("/")[0]
        if path in arrays:
            return path
    return "" if "" in arrays else None


def stored_positions(store: Store, path: str, metadata: ArrayMetadata) -> dict[tuple[int, ...], int]:
    """The chunks of an array that are stored, by their position in the grid, and their bytes."""
    chunks = Chunks(store, path, metadata)
    positions = ((chunks.position_in_grid(key), size) for key, size in list_sizes(store, path))
    return {position: size for position, size in positions if position is not None}
