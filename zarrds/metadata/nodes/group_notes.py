"""Notes of a group that was read by its own documents: they stand in the consolidated metadata of the root alone."""

from __future__ import annotations

from dataclasses import replace

from zarrds.errors import ZarrdsError
from zarrds.metadata.extension import MEMBER
from zarrds.metadata.model import GroupMetadata
from zarrds.metadata.nodes.documents import Nodes, parsed
from zarrds.storage.protocol import Store

__all__ = ["with_group_notes"]


def with_group_notes(store: Store, nodes: Nodes, path: str, group: GroupMetadata) -> GroupMetadata:
    """A group with its notes; as it is, where the store has no consolidated metadata that can be read.

    Parameters
    ----------
    store : Store
    nodes : Nodes
        Of the store.
    path : str
        Of the group in its store.
    group : GroupMetadata
    """
    if MEMBER in group.extensions or (not path and group.zarr_format == 3):
        return group
    try:
        raw = nodes.noted_groups().get(path)
        known = None if raw is None else parsed(store, path, group, raw)
    except ZarrdsError:
        return group
    if not isinstance(known, GroupMetadata) or MEMBER not in known.extensions:
        return group
    return replace(group, extensions={**group.extensions, MEMBER: known.extensions[MEMBER]})
