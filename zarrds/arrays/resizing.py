"""What of an array's chunks lies outside of another shape: what goes, and what is filled. Reads nothing but keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from zarrds.engine.chunk_io import Chunks
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.protocol import Store

__all__ = ["edges_outside", "keys_outside"]


def _kept(before: ArrayMetadata, shape: tuple[int, ...]) -> list[int]:
    """How many chunks along each dimension are left of an array that gets another shape."""
    grid = replace(before, shape=shape).chunk_grid
    return [min(old, new) for old, new in zip(before.chunk_grid, grid, strict=True)]


def keys_outside(store: Store, path: str, before: ArrayMetadata, shape: tuple[int, ...]) -> Iterator[str]:
    """The keys of chunks that lie outside of a new shape; else they would come back if the array grows."""
    kept = _kept(before, shape)
    chunks = Chunks(store, path, before)
    # by what there is: a large grid may hold few chunks
    for key in store.list_prefix(path):
        position = chunks.position(key)
        if position is not None and any(p >= k for p, k in zip(position, kept, strict=True)):
            yield key


def edges_outside(before: ArrayMetadata, shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """What lies outside of a new shape in chunks that are left, dimension by dimension."""
    kept = _kept(before, shape)
    for axis, (size, chunk, keep) in enumerate(zip(shape, before.chunks, kept, strict=True)):
        stop = min(keep * chunk, before.shape[axis])
        if size < stop:
            inside = [slice(0, k * c) for k, c in zip(kept, before.chunks, strict=True)]
            inside[axis] = slice(size, stop)
            yield tuple(inside)
