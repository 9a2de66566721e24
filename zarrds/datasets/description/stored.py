"""What arrays take in their store: one listing, no value is read where the store tells sizes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import prod

from zarrds.datasets.description.model import Stored
from zarrds.engine.chunk_io import Chunks
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.protocol import Store, folder_of

__all__ = ["sizes_of_arrays", "stored_positions"]


def sizes_of_arrays(store: Store, arrays: Mapping[str, ArrayMetadata]) -> dict[str, Stored]:
    """Bytes and chunks of some arrays, by path.

    Parameters
    ----------
    store : Store
    arrays : mapping of str to ArrayMetadata
        By path from the root.
    """
    found: dict[str, Stored] = {}
    for path, metadata in arrays.items():
        n_bytes = n_chunks = 0
        chunks, grid = Chunks(store, path, metadata), metadata.chunk_grid
        for key in store.list_prefix(path):
            n_bytes += nbytes_of_key(store, key)
            position = _position(chunks, key)
            n_chunks += position is not None and all(p < n for p, n in zip(position, grid, strict=True))
        found[path] = Stored(n_bytes, n_chunks, prod(grid))
    return found


def stored_positions(store: Store, path: str, metadata: ArrayMetadata) -> dict[tuple[int, ...], int]:
    """The chunks of an array that are stored, by their position in the grid, and their bytes."""
    chunks, grid = Chunks(store, path, metadata), metadata.chunk_grid
    found = {}
    for key in store.list_prefix(path):
        position = _position(chunks, key)
        if position is not None and all(p < n for p, n in zip(position, grid, strict=True)):
            found[position] = nbytes_of_key(store, key)
    return found


def _position(chunks: Chunks, key: str) -> tuple[int, ...] | None:
    if not chunks.metadata.shape:
        return () if key == chunks.key(()) else None
    try:
        return chunks.position(key)
    except ValueError:  # more digits than Python takes for a number
        return None


def nbytes_of_key(store: Store, key: str) -> int:
    """Bytes of one value; 0 if it is gone."""
    folder = folder_of(store)
    if folder is not None:
        try:
            return os.stat(os.path.join(folder, key)).st_size
        except OSError:
            return 0
    value = store.get(key)
    return 0 if value is None else len(value)
