"""A group that is edited, as it is read for that under the lock of its store."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from zarrds.arguments import check_flags, check_texts, nearest
from zarrds.datasets.reading.notes import GroupNotes, notes_of
from zarrds.datasets.reading.strange import LeftOut, children_of
from zarrds.errors import VariableNotFoundError, locating
from zarrds.metadata.model import ArrayMetadata, GroupMetadata
from zarrds.metadata.nodes.documents import Nodes, open_nodes, spec_there
from zarrds.metadata.nodes.group_notes import with_group_notes
from zarrds.metadata.nodes.lookup import get_group, named_dimensions
from zarrds.storage.commits.committer import as_durable, committer_of
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store, check_prefix, path_below

__all__ = ["EditedGroup", "StoreLike", "edited_group", "edited_store"]

StoreLike = str | os.PathLike[str] | Store


@dataclass(frozen=True, slots=True)
class EditedGroup:
    """A group that is being edited, while the lock of its store is held."""

    store: Store
    nodes: Nodes
    path: str
    metadata: GroupMetadata
    arrays: Mapping[str, ArrayMetadata]
    strange: Mapping[str, tuple[str, ...]]  # what cannot be read, and the dimensions that it names
    groups: frozenset[str]
    notes: GroupNotes

    @property
    def names(self) -> set[str]:
        """What stands below it, also what cannot be read."""
        return {*self.arrays, *self.strange, *self.groups}

    def path_of(self, name: str) -> str:
        """The path of what has that name below the group, from the store's root."""
        return path_below(self.path, name)

    def array(self, name: Hashable) -> ArrayMetadata:
        """The array of that name. Raises `VariableNotFoundError` if there is none."""
        if not isinstance(name, str) or name not in self.arrays:
            raise VariableNotFoundError(
                "no such variable in the store", key=self.path_of(str(name)), mend=nearest(name, self.arrays)
            )
        return self.arrays[name]


def edited_store(
    store: StoreLike, group: str | None, storage_options: Mapping[str, Any] | None, durable: bool
) -> tuple[Store, str]:
    """The store to edit, and the path of the group in it."""
    check_texts(group=group)
    check_flags(durable=durable)
    opened = as_durable(as_store(store, storage_options), durable)
    where = check_prefix((group or "").strip("/"), opened.path)
    with locating(opened.path):
        # no lock, and so no file, where there is no store; over a network there are no such files
        if not opened.traits.is_remote and spec_there(opened) is None:
            open_nodes(opened)
    return opened, where


def edited_group(store: Store, path: str) -> EditedGroup:
    """A group as it is now; the caller holds the store's lock."""
    # without consolidated metadata: another library may have left that stale
    nodes = open_nodes(store, consolidated=False, is_locked=True)
    metadata = with_group_notes(store, nodes, path, get_group(store, nodes, path))
    left_out = LeftOut(store.path)
    children = children_of(nodes, path, (), left_out, is_edited=True)
    committer_of(store).clean()  # by what was listed for them, where each look is a request
    arrays = {n: node for n, node in children.items() if isinstance(node, ArrayMetadata)}
    groups = frozenset(children.keys() - arrays.keys())
    base = f"{path}/" if path else ""
    strange = {n: named_dimensions(store, base + n, nodes) for n in left_out.names_in(path)}
    return EditedGroup(store, nodes, path, metadata, arrays, strange, groups, notes_of(arrays))
