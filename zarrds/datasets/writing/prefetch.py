"""Chunks that a save reads first, fetched together with the documents: where each look is a request over a network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from contextlib import suppress
from math import prod
from typing import Any

import xarray as xr

from zarrds.engine.elements import Elements
from zarrds.errors import ZarrdsError
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.nodes.documents import Nodes, parsed
from zarrds.storage.protocol import Store

__all__ = ["chunks_to_prefetch", "is_label_read_first"]

# of one array: larger ones take their time in any case, and perhaps they are not needed
_MOST = 64
_MOST_NBYTES = 2**20


def chunks_to_prefetch(
    store: Store,
    stored: Nodes,
    dataset: xr.Dataset,
    append_dim: Hashable | None,
) -> list[str]:
    """The keys of chunks of labels, and of those at the edge of what grows, as far as copies of documents tell.

    Parameters
    ----------
    store : Store
    stored : Nodes
        Of the store; what lies directly below the root counts.
    dataset : Dataset
        What is going to be written.
    append_dim : hashable, optional
    """
    found: dict[str, None] = {}
    for name, raw in stored.copies().items():
        if not name or "/" in name:
            continue
        with suppress(ZarrdsError):  # what cannot be read is told of by who needs it
            node = parsed(store, name, stored, raw)
            if not isinstance(node, ArrayMetadata):
                continue
            part = _part_of(name, node, dataset, append_dim)
            if part is not None:
                elements = Elements(store, name, node, is_private=True)
                n_chunks = elements.n_chunks_of(part)
                nbytes = n_chunks * prod(node.chunks) * elements.dtype.itemsize
                if n_chunks <= _MOST and nbytes <= _MOST_NBYTES:
                    found |= dict.fromkeys(elements.chunk_keys_of(part))
    return list(found)


def is_label_read_first(
    name: str, dims: tuple[Hashable, ...], attributes: Mapping[Any, Any], dataset: xr.Dataset
) -> bool:
    """Whether it holds labels that are compared, or of which the decoders look at the first and the last."""
    return dims == (name,) and (name in dataset.variables or "units" in attributes)


def _part_of(
    name: str, node: ArrayMetadata, dataset: xr.Dataset, append_dim: Hashable | None
) -> tuple[slice, ...] | None:
    """Which elements of an array are read first: all, or those of the last step."""
    dims, shape = node.dimension_names, node.shape
    if dims is None or not all(shape):
        return None
    if is_label_read_first(name, dims, node.attributes, dataset):
        return (slice(0, shape[0]),)
    if name not in dataset.variables or append_dim not in dims:
        return None
    axis = dims.index(str(append_dim))
    if not shape[axis] % node.chunks[axis]:
        return None
    return tuple(slice(size - 1 if i == axis else 0, size) for i, size in enumerate(shape))
