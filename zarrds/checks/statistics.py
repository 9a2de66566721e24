"""What is noted of chunks, held against what is stored: a part of ``zarrds.verify``. It is never a fault."""

from __future__ import annotations

from collections.abc import Iterator

from zarrds.checks.stores import Nodes
from zarrds.chunk_statistics.digests import stale_rows
from zarrds.chunk_statistics.record import read_rows
from zarrds.display.text import counted
from zarrds.engine.elements import Elements
from zarrds.errors import ZarrdsError
from zarrds.metadata.extension import STATISTICS, note_of
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.protocol import Store

__all__ = ["notes_of_statistics"]


def notes_of_statistics(store: Store, nodes: Nodes, *, n_workers: int | None = None) -> Iterator[str]:
    """Say of which arrays another tool has written chunks since their statistics were noted.

    Parameters
    ----------
    store : Store
    nodes : mapping of str to (Node or None)
        By path; None for those that cannot be read.
    n_workers : int, optional
    """
    for path, metadata in nodes.items():
        if not isinstance(metadata, ArrayMetadata) or note_of(metadata, STATISTICS) is not True:
            continue
        try:
            rows = read_rows(store, path, metadata)
            if rows is None:
                continue
            stale = stale_rows(Elements(store, path, metadata, n_workers=n_workers), rows)
        except ZarrdsError:  # what cannot be read was found already
            continue
        if stale:
            yield (
                f"{path or '/'}: {counted(len(stale), 'chunk')} of {rows.size} changed after their statistics were "
                "noted: queries read them. zarrds.index notes them anew"
            )
