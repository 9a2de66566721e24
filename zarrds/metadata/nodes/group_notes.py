"""Notes of a group that was read by its own documents: they stand in the consolidated metadata of the root alone."""

from __future__ import annotations

from dataclasses import replace

from zarrds.errors import ZarrdsError
from zarrds.metadata.extension import MEMBER
from zarrds.metadata.model import GroupMetadata
from zarrds.metadata.nodes.documents import open_nodes
from zarrds.storage.protocol import Store

__all__ = ["with_group_notes"]


def with_group_notes(store: Store, path: str, group: GroupMetadata, *, is_locked: bool = False) -> GroupMetadata:
    """A group with its notes; as it is, where the store has no consolidated metadata that can be read.

    Parameters
    ----------
    store : Store
    path : str
        Of the group in its store.
    group : GroupMetadata
    is_locked : bool
        As of `open_nodes`.
    """
    if MEMBER in group.extensions or (not path and group.zarr_format == 3):
        return group
    try:
        known = open_nodes(store, like=group, consolidated=True, is_locked=is_locked).get(path)
    except ZarrdsError:
        return group
    if not isinstance(known, GroupMetadata) or MEMBER not in known.extensions:
        return group
    return replace(group, extensions={**group.extensions, MEMBER: known.extensions[MEMBER]})
