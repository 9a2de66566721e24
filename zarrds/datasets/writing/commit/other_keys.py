"""Chunks of a store that replaces another under other keys than the chunks that are there.

Where nothing can be renamed, both can then stand side by side until one value says which of them counts.
"""

from __future__ import annotations

from dataclasses import replace

from zarrds.errors import ZarrdsError
from zarrds.metadata.model import ArrayMetadata, ChunkKeyEncoding
from zarrds.metadata.nodes.documents import Nodes

__all__ = ["with_other_keys"]

# all that libraries read; "v2" only where an array without dimensions replaces another
_ENCODINGS = (ChunkKeyEncoding("default", "."), ChunkKeyEncoding("default", "/"), ChunkKeyEncoding("v2", "."))


def with_other_keys(metadata: ArrayMetadata, path: str, standing: Nodes) -> ArrayMetadata:
    """The metadata of an array, with keys of its chunks that none is of the array in whose place it comes.

    Parameters
    ----------
    metadata : ArrayMetadata
        Of format 3.
    path : str
        From the store's root.
    standing : Nodes
        What is there.
    """
    try:
        old = standing.get(path)
    except ZarrdsError:
        return metadata
    if not isinstance(old, ArrayMetadata):
        return metadata
    encodings = (metadata.chunk_key_encoding, *_ENCODINGS)
    form = _form(old, old.chunk_key_encoding)
    found = next(each for each in encodings if _form(metadata, each) != form)
    return metadata if found == metadata.chunk_key_encoding else replace(metadata, chunk_key_encoding=found)


def _form(metadata: ArrayMetadata, encoding: ChunkKeyEncoding) -> str:
    """What all keys of an array's chunks have in common: they differ in their numbers alone."""
    return encoding.key((0,) * len(metadata.shape))
