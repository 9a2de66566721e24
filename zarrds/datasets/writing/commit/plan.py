"""All changes that one save makes to a store that exists, group by group, and what they were planned from."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import xarray as xr

from zarrds.datasets.writing.changes import ArrayChange, GroupChange, Placement
from zarrds.datasets.writing.commit.conflicts import check_groups, check_sizes_of_others
from zarrds.datasets.writing.stored import StoredGroup
from zarrds.engine.chunk_io import Chunks
from zarrds.errors import ConflictError, LabelError, NodeNotFoundError, ZarrdsError
from zarrds.metadata.fields import Raw
from zarrds.metadata.model import ArrayMetadata, GroupMetadata
from zarrds.metadata.nodes.documents import Nodes, document_key, new_groups, parents_of, walk
from zarrds.storage.protocol import Store, path_below
from zarrds.storage.traits import ask_all

__all__ = ["StorePlan", "missing_parents"]


@dataclass(frozen=True)
class StorePlan:
    """Changes by path from the store's root; they are added group by group.

    Attributes
    ----------
    store : Store
    nodes : Nodes
        Of the store as it is.
    arrays : dict of str to ArrayChange
    groups : dict of str to GroupMetadata
        Groups that are new or changed.
    versions : dict of str to hashable
        The identities of the documents that the plan is made from, by key, and of chunks that were read with them.
    raws : dict of str to JSON object
        The documents, of that identity, of arrays that are written to.
    """

    store: Store
    nodes: Nodes
    arrays: dict[str, ArrayChange] = field(default_factory=dict)
    groups: dict[str, GroupMetadata] = field(default_factory=dict)
    versions: dict[str, Hashable] = field(default_factory=dict)
    raws: dict[str, Raw] = field(default_factory=dict)
    _before: dict[str, GroupMetadata | None] = field(default_factory=dict)
    _changes: dict[str, tuple[StoredGroup | None, GroupChange]] = field(default_factory=dict)

    def add_parents(self, parents: Mapping[str, GroupMetadata]) -> None:
        """Groups above a new one, that are new as well."""
        self.groups.update(parents)
        self._before.update(dict.fromkeys(parents))

    def add(self, path: str, stored: StoredGroup | None, change: GroupChange) -> None:
        """The change of the group at `path`; `stored` is None if it is new."""
        paths = {name: path_below(path, name) for name in change.arrays}
        self.arrays.update({paths[name]: array for name, array in change.arrays.items()})
        if change.metadata is not None:
            self.groups[path] = change.metadata
        if stored is not None:
            # what is written to, and the labels that it was compared with; others may change meanwhile
            names = change.arrays.keys() | stored.coordinate_names
            keys = {document_key(path_below(path, name), self.nodes) for name in names} & stored.versions.keys()
            self.versions.update({key: stored.versions[key] for key in keys} | {**stored.chunks})
            self.raws.update({at: stored.raws[at] for at in paths.values() if at in stored.raws})
        self._before[path] = None if stored is None else stored.metadata
        self._changes[path] = (stored, change)

    @property
    def rewrites(self) -> bool:
        """Whether stored elements are written anew, which a region in place cannot do."""
        return any(change.is_rewritten for change in self.arrays.values())

    def chunks_rewritten(self) -> dict[str, Hashable]:
        """The identities, now, of all stored chunks of arrays that are written anew, by key."""
        found: dict[str, Hashable] = {}
        for path, change in self.arrays.items():
            if change.is_rewritten and change.before is not None:
                chunks = Chunks(self.store, path, change.before)
                keys = [key for key in self.store.list_prefix(path) if chunks.position(key) is not None]
                found |= zip(keys, ask_all(self.store, self.store.identity, keys), strict=True)
        return found

    def region_of(self, path: str, dataset: xr.Dataset, region: Any) -> Any:
        """The region of a group: where it has no labels of its own, that of the group that it inherits them from."""
        asked = dict.fromkeys(dataset.dims, "auto") if isinstance(region, str) and region == "auto" else region
        if not isinstance(asked, Mapping):
            return region
        above = [self._changes[p][1].region for p in parents_of(path) if p in self._changes]
        inherited = {dim: part for found in above for dim, part in found.items() if dim not in dataset.variables}
        return {dim: inherited.get(str(dim), part) if isinstance(part, str) else part for dim, part in asked.items()}

    def placements_above(self, path: str) -> dict[str, Placement]:
        """Where labels go that a group inherits, of groups that were added before."""
        above = (self._changes[p][1].placements for p in parents_of(path) if p in self._changes)
        return {dim: placement for found in above for dim, placement in found.items()}

    def check_alignment(self, dims: Mapping[str, Collection[Hashable]], *, is_tree: bool) -> None:
        """Check that groups above and below one that changes have its sizes: else they are no DataTree any more.

        A group that is saved by itself, and no part of a tree, may have dimensions of other sizes, if they are new.
        Only `dims` of what is saved are looked at: arrays that are parts of others (categories) have dimensions too.

        Raises
        ------
        LabelError
        """
        remembered = cache(self.sizes_of)  # one group may lie above many
        # of what was read already, nothing is asked for again
        known = {path: stored.sizes for path, (stored, _) in self._changes.items() if stored is not None}
        before = {path: known[path] if path in known else remembered(path) for path in self._changes}
        after = {path: before[path] | self._sizes_written(path) for path in self._changes}
        for path in self._changes:
            if after[path] == before[path]:
                continue
            for other in (*parents_of(path), *self._groups_below(path)):
                there = before[other] if other in before else remembered(other)
                now = after.get(other, there)
                for dim in (dim for dim in after[path].keys() & now.keys() if dim in dims[path]):
                    is_new = dim not in before[path] or dim not in there
                    is_apart = not is_new and before[path][dim] != there[dim]
                    if after[path][dim] != now[dim] and not is_apart and (is_tree or not is_new):
                        raise LabelError(
                            f"dimension {dim!r} would have another size than in group {'/' + other!r}, so that the "
                            "store could not be opened as a DataTree any more",
                            path=self.store.path,
                            key=path or "/",
                            expected=now[dim],
                            found=after[path][dim],
                            mend="Rename it in one of them; a group that is no part of a tree is saved by itself, with "
                            "group="
                            if is_new
                            else "Append to all of these groups at once: save a DataTree with append_dim",
                        )

    def _sizes_written(self, path: str) -> dict[str, int]:
        change = self._changes[path][1]
        sizes = {dim: placed.size for dim, placed in change.placements.items()}
        for array in change.arrays.values():
            pairs = zip(array.after.dimension_names or (), array.after.shape, strict=False)
            sizes |= {dim: size for dim, size in pairs if dim is not None}
        return sizes

    def _groups_below(self, path: str) -> list[str]:
        stored, found = self._changes[path][0], []
        for name in sorted(() if stored is None else stored.groups):
            with suppress(ZarrdsError):  # what cannot be read is no part of a tree
                nodes = walk(self.nodes, path_below(path, name))
                found += [group for group, node in nodes.items() if not isinstance(node, ArrayMetadata)]
        return found

    def sizes_of(self, group: str) -> dict[str, int]:
        """The dimensions of a group as it is stored; of what cannot be read none."""
        sizes: dict[str, int] = {}
        for name in self.nodes.names(group):
            with suppress(ZarrdsError):
                node = self.nodes.get(path_below(group, name))
                if isinstance(node, ArrayMetadata):
                    pairs = zip(node.dimension_names or (), node.shape, strict=False)
                    sizes |= {dim: size for dim, size in pairs if dim is not None}
        return sizes

    def check(self) -> None:
        """Check, under the lock of the store, that groups are as they were, and that what came into them fits.

        Raises
        ------
        ConflictError
        """
        check_groups(self.store, self._before, self.nodes)
        for path, (stored, change) in self._changes.items():
            if stored is not None:
                sizes = stored.sizes
                for array in change.arrays.values():
                    names = array.after.dimension_names or ()
                    sizes |= {n: size for n, size in zip(names, array.after.shape, strict=False) if n is not None}
                known = stored.arrays.keys() | change.arrays.keys()
                check_sizes_of_others(self.store, path, known, sizes, self.nodes)

    def check_same_groups(self, before: StorePlan) -> None:
        """Check that the groups that are changed are those of an earlier plan: nobody has made or edited one.

        Raises
        ------
        ConflictError
        """
        for path in self._before.keys() | before._before.keys():
            one, other = self._before.get(path), before._before.get(path)
            if one != other:
                raise ConflictError("another writer changed the group meanwhile", path=self.store.path, key=path or "/")

    def check_labels_below(self) -> None:
        """Check that no group below is read by labels that are replaced: in a DataTree it inherits them.

        Raises
        ------
        LabelError
        """
        for path, (_, change) in self._changes.items():
            below = walk(self.nodes, path) if change.replaced_labels else {}
            for other, node in below.items():
                group = other.rpartition("/")[0]
                if group == path or other in self.arrays or not isinstance(node, ArrayMetadata):
                    continue
                between = [g for g in (*parents_of(group), group) if len(g) > len(path)]
                for dim in change.replaced_labels.intersection(node.dimension_names or ()):
                    if not any(f"{g}/{dim}" in below for g in between):
                        raise LabelError(
                            f"labels of {dim!r} differ from the stored ones, by which {other!r} is read too",
                            path=self.store.path,
                            key=path_below(path, dim),
                            mend="Save the whole tree, or give the group below labels of its own first",
                        )


def missing_parents(store: Store, stored: Nodes, group: str) -> dict[str, GroupMetadata]:
    """The groups above `group` that must be made, by path. Raises `NodeNotFoundError` if one is an array."""
    missing = []
    for parent in parents_of(group):
        node = stored.get(parent)
        if isinstance(node, ArrayMetadata):
            raise NodeNotFoundError("an array cannot hold groups", path=store.path, key=parent or "/")
        if node is None:
            missing.append(parent)
    return new_groups(missing, stored)
