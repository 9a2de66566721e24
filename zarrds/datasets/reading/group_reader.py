"""Datasets of the groups of one store: documents -> lazy variables -> decoded variables, indexes and coordinates."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from math import prod
from typing import Any, cast

import xarray as xr

from zarrds.arguments import check_flags, check_mappings, check_numbers, hashables_of, warn
from zarrds.compat.xarray_internals import NONE_VAR_NAME, new_dataset
from zarrds.compat.xarray_opening import without_default_indexes
from zarrds.datasets.encoding.attributes import attributes_to_decode, give_back
from zarrds.datasets.reading.decoding import Decoded, decode_all, decoders_for, without_times
from zarrds.datasets.reading.lazy import UNASKED_NBYTES, LazyArray, LazyArrays, look_again
from zarrds.datasets.reading.notes import MULTI_INDEX, GroupNotes, beside, notes_of, with_intervals
from zarrds.datasets.reading.open_options import OpenOptions
from zarrds.datasets.reading.restored import NoteMismatchError, Restored, restore
from zarrds.datasets.reading.roles import Roles, move_attributes, roles_of
from zarrds.datasets.reading.strange import LeftOut, check_phony_dims, children_of, groups_below, named
from zarrds.errors import ConflictError, LabelError, MetadataError, UndecodableError, ZarrdsError
from zarrds.metadata.attributes import apart_attributes
from zarrds.metadata.extension import ENUMERATION, UNLIMITED, note_of, unlimited_dims
from zarrds.metadata.fetched import Watched
from zarrds.metadata.formats import module_of, spec_of, v2, v3
from zarrds.metadata.model import ArrayMetadata, GroupMetadata
from zarrds.metadata.nodes.documents import ROOTS, Nodes, open_nodes, root_keys
from zarrds.metadata.nodes.lookup import get_group
from zarrds.storage.locate import as_cached_store
from zarrds.storage.protocol import Store, check_prefix, path_below
from zarrds.storage.traits import ManyValues, has_trait
from zarrds.threads import side_by_side

__all__ = ["GroupReader"]


def _nothing_to_close() -> None:
    """Files are open only while they are read; but `xr.open_mfdataset` calls what it is given here."""


def _without_document(store: Any) -> Any:
    """What a user named, without the name of a document in it."""
    if isinstance(store, os.PathLike) and not hasattr(store, "storage_options"):
        store = os.fspath(store)
    if not isinstance(store, str):
        return store
    path = store.rstrip("/")
    if os.path.basename(path) in ROOTS:  # given in place of its folder
        return os.path.dirname(path) or "."
    return store if "://" in store else path or store  # slashes may be all that there is of a URL


def _shown_name(name: str) -> str | None:
    """The name that the variable of an array has."""
    return None if name == NONE_VAR_NAME else name


def _roots(store: Store, *, should_recover: bool = False) -> dict[str, Hashable]:
    """The identities of the root's documents, of all formats; of none where looks are not requests."""
    if not has_trait(store, ManyValues):
        return {}
    keys = [*root_keys(v3, None), *root_keys(v2, None)]
    found = store.get_many(keys, recover=should_recover)
    # where a server does not tell of what is absent, it tells of what is there
    return {key: each.identity for key, each in found.items() if each.problem is None}


@dataclass(frozen=True, slots=True)
class _Group:
    """A group of which nothing is decoded yet.

    Attributes
    ----------
    path : str
    node : GroupMetadata
        What its document says.
    lazy : dict of str to LazyArray
        Its arrays, all that can be opened.
    stored : dict of str or None to Variable
        The same as variables, by the names that they get.
    dropped : set of str
        What the user leaves out, and what goes with that.
    """

    path: str
    node: GroupMetadata
    lazy: dict[str, LazyArray]
    stored: dict[str | None, xr.Variable]
    dropped: set[str]

    def of_one_size(self, left_out: LeftOut) -> _Group:
        """Without arrays whose dimensions have other sizes than in those before them, as levels of a pyramid have."""
        sizes: dict[Hashable, int] = {}
        lazy, stored = dict(self.lazy), dict(self.stored)
        for name in self.lazy:
            variable = stored[_shown_name(name)]
            pairs = list(zip(variable.dims, variable.shape, strict=True))  # a dimension may be there twice
            known = {**dict(pairs), **sizes}
            other = next(((dim, size) for dim, size in pairs if known[dim] != size), None)
            if other is None:
                sizes = known
            else:
                left_out.add_of_other_size(path_below(self.path, name), *other, known[other[0]])
                del lazy[name], stored[_shown_name(name)]
        return replace(self, lazy=lazy, stored=stored)

    @property
    def arrays(self) -> dict[str, ArrayMetadata]:
        """What their documents say, by name."""
        return {name: array.stored.metadata for name, array in self.lazy.items()}


class GroupReader:
    """Makes datasets of one store's groups.

    Parameters
    ----------
    store : path, URL or store
    asked : OpenOptions
    """

    def __init__(self, store: Any, asked: OpenOptions) -> None:
        check_mappings(intervals=asked.intervals)
        check_numbers(workers=asked.workers)
        check_phony_dims(asked.phony_dims)
        check_flags(use_zarr_fill_value_as_mask=asked.use_zarr_fill_value_as_mask)
        self._phony_dims, self._numbers = asked.phony_dims, count()
        self._dropped = hashables_of(drop_variables=asked.drop_variables)
        self._index, self._decoders = asked.indexes, asked.decoders
        self._intervals = asked.intervals or {}
        place, cache = _without_document(store), (asked.local_cache, asked.cache_size)
        self._store = as_cached_store(place, asked.storage_options, *cache)
        # xarray would note a URL as it was given, with what is secret in it
        is_url = isinstance(store, str) and "://" in store and self._store.path not in store
        self._shown = self._store.path if is_url else None
        self._watched = None if self._store.traits.is_remote else Watched(self._store)
        read_from = self._store if self._watched is None else cast(Store, self._watched)
        spec = None if asked.zarr_format is None else module_of(asked.zarr_format)
        self._nodes: Nodes = open_nodes(read_from, like=spec, consolidated=asked.consolidated)
        # who goes by many documents reads them when no change is under way, and looks at the end whether one has begun
        self._seen = {} if self._nodes.consolidated else _roots(self._store, should_recover=True)
        touched = spec_of(self._nodes).root_key(consolidated=True)
        seen = (touched, self._seen[touched]) if touched in self._seen else None
        self._arrays = LazyArrays.of(self._store, self._nodes, asked, touched=seen)

    def dataset(self, path: str) -> xr.Dataset:
        """The dataset of one group; what of it cannot be opened is left out, with one warning."""
        return self._datasets([path], LeftOut(self._store.path, self._dropped))[path]

    def datasets(self, root: str) -> dict[str, xr.Dataset]:
        """As `dataset`, of a group and all below it, by path, parents first; with one warning for all of them."""
        left_out = LeftOut(self._store.path, self._dropped)
        get_group(self._store, self._nodes, check_prefix(root, self._store.path))
        return self._datasets(list(groups_below(self._nodes, root, left_out)), left_out, is_tree=True)

    def _check_unchanged(self) -> None:
        """Raise `ConflictError` if a store without consolidated metadata was changed while it was opened."""
        if self._nodes.consolidated:
            return
        key, version = self._nodes.version
        if self._watched is not None:
            is_changed = not self._watched.is_as_seen()
        else:
            is_changed = self._seen.get(key, version) != version or _roots(self._store) != self._seen
        if is_changed:
            raise ConflictError(
                "another writer has changed the store while it was opened",
                path=self._store.path,
                mend="Open it again",
            )

    def _datasets(self, paths: list[str], left_out: LeftOut, *, is_tree: bool = False) -> dict[str, xr.Dataset]:
        labels: list[LazyArray] = []
        try:
            nodes = {path: get_group(self._store, self._nodes, check_prefix(path, self._store.path)) for path in paths}
            groups = [self._lazy(path, node, left_out) for path, node in nodes.items()]
            if is_tree:  # a group that is no dataset hides no other
                groups = [group.of_one_size(left_out) for group in groups]
            labels += [each for group in groups for each in self._needed(group)]
            if self._store.traits.is_remote:
                side_by_side(LazyArray.read_ahead, labels)
            else:  # once, and not once for each of xarray's decoders that looks at their ends
                for each in labels:
                    each.read_ahead()
                look_again(labels)
            found = {group.path: self._dataset(group, left_out) for group in groups}
            self._check_unchanged()
        except BaseException as error:
            for each in labels:
                each.forget()
            if isinstance(error, Exception):
                self._check_unchanged()  # that may be why
            raise
        for group, dataset in zip(groups, found.values(), strict=True):
            if self._shown is not None:
                dataset.encoding["source"] = self._shown
            for name, each in group.lazy.items():
                if name not in dataset.dims or name in dataset.xindexes:
                    each.forget()  # else xarray makes an index of it, when it gets the dataset
        left_out.warn()
        return found

    def _needed(self, group: _Group) -> list[LazyArray]:
        """The arrays of a group that are read to open it, as far as that can be told: labels, and few times."""
        lazy, metadata = group.lazy, group.arrays
        found = set(self._intervals)
        if self._index.index != "none" and self._index.are_made is not False:
            found |= {n for n, m in metadata.items() if m.dimension_names == (n,)}
            found |= {n for n, m in metadata.items() if note_of(m, MULTI_INDEX) is not None}
            found = {n for n in found & lazy.keys() if not self._index.is_lazy(prod(metadata[n].shape))}
            found |= {part for name in found for part in beside(metadata[name])}
            bounds = (metadata[name].attributes.get("bounds") for name in set(self._intervals) & lazy.keys())
            found |= {name for name in bounds if isinstance(name, str)}
        if self._decoders["decode_times"] is not False:  # decoders look at the ends of times
            times = (n for n, m in metadata.items() if "since" in str(m.attributes.get("units")))
            found |= {name for name in times if prod(metadata[name].chunk_grid) <= 1}
        sizes = {n: prod(metadata[n].shape) * lazy[n].stored.dtype.itemsize for n in found & lazy.keys()}
        return [lazy[name] for name, size in sizes.items() if 0 < size <= UNASKED_NBYTES]

    def _dataset(self, group: _Group, left_out: LeftOut) -> xr.Dataset:
        path, arrays = group.path, group.arrays
        dropped = group.dropped | left_out.names_in(path)
        notes = notes_of(arrays).without_dimensions(dropped)
        notes = with_intervals(notes, group.stored, self._intervals) if self._intervals else notes
        roles = roles_of(arrays, dropped).without(dropped)
        for name, problem in {**notes.problems, **roles.problems}.items():
            self._warn(path, name, problem)
        if self._index.index == "none":
            labels = [name for name, array in group.lazy.items() if array.stored.dimension_names == (name,)]
            notes, roles = notes.without_indexes(labels), roles.without_indexes()
        elif not self._decoders["decode_coords"]:
            roles = roles.without_coordinates()
        restored, decoded = self._decoded(group, notes, roles)
        for name, problem in decoded.undecoded.items():
            left_out.add_undecoded(path, name, problem)
        for name, problem in restored.problems.items():
            self._warn(path, name, problem)
        variables = restored.variables
        move_attributes(variables, roles)
        give_back(variables, {_shown_name(name): metadata for name, metadata in arrays.items()})
        attributes = {**decoded.attributes, **apart_attributes(group.node)}
        # what has the name of a dimension is a coordinate, also one of several dimensions
        names = {dim for v in variables.values() for dim in v.dims} | set(decoded.names)
        if self._decoders["decode_coords"] != "all":
            names -= roles.data
        names |= roles.coordinates | restored.coordinates
        coordinates = variables.keys() & names
        try:
            dataset = new_dataset(variables, coordinates, restored.indexes, attributes, _nothing_to_close)
        except ValueError:
            self._check_sizes(path, variables)
            raise
        if unlimited := unlimited_dims(group.node, dataset.sizes):
            dataset.encoding[UNLIMITED] = set(unlimited)
        unindexed = (roles.unindexed & variables.keys()) | (roles.data & set(dataset.dims) - coordinates)
        if self._index.are_made and unindexed:
            return without_default_indexes(dataset, unindexed)
        return dataset

    def _lazy(self, path: str, node: GroupMetadata, left_out: LeftOut) -> _Group:
        """The arrays of a group that can be opened, and variables of them, as they are stored."""
        dropped = self._dropped | self._parts_of(path, self._dropped)
        nodes = children_of(self._nodes, path, dropped, left_out)
        arrays = {name: node for name, node in nodes.items() if isinstance(node, ArrayMetadata)}
        found: dict[str, LazyArray] = {}
        variables: dict[str | None, xr.Variable] = {}
        for name, metadata in named(path, arrays, self._phony_dims, self._numbers, left_out).items():
            where = path_below(path, name)
            try:
                array = self._arrays.array(where, metadata, self._nodes.version_of(where))
                variable = self._arrays.variable(array)
                if metadata.data_type.dtype.kind in "SOU":
                    from zarrds.datasets.encoding.characters import encoding_of_text  # of text alone

                    variable.encoding = encoding_of_text(variable.encoding, metadata, arrays)
                elif note_of(metadata, ENUMERATION) is not None:
                    from zarrds.datasets.encoding.enumerations import with_names  # of enumerations alone

                    variable.encoding = with_names(variable.encoding, metadata)
                variables[_shown_name(name)] = variable
            except MetadataError as error:
                left_out.add(where, error)
            else:
                found[name] = array
        return _Group(path, node, found, variables, dropped)

    def _check_sizes(self, path: str, variables: Mapping[Hashable, xr.Variable]) -> None:
        sizes: dict[Hashable, tuple[int, Hashable]] = {}
        for name, variable in variables.items():
            for dim, size in zip(variable.dims, variable.shape, strict=True):  # one may be there twice
                known, first = sizes.setdefault(dim, (size, name))
                if known != size:
                    raise MetadataError(
                        f"conflicting sizes for dimension {dim!r}",
                        path=self._store.path,
                        key=path_below(path, str(name)),
                        expected=f"{known}, as {first!r} has it",
                        found=size,
                        mend=f"Leave one of them out with drop_variables, for example drop_variables=[{str(name)!r}]",
                    )

    def _parts_of(self, path: str, dropped: set[str]) -> set[str]:
        """Arrays that go with those that are left out, since they are parts of them."""
        found: set[str] = set()
        waiting = dropped
        while waiting:
            below: set[str] = set()
            for name in waiting:
                with suppress(ZarrdsError):  # it may be left out because it cannot be read
                    metadata = self._nodes.get(path_below(path, name))
                    below |= beside(metadata) if isinstance(metadata, ArrayMetadata) else set()
            waiting = below - found - dropped
            found |= waiting
        return found

    def _decoded(self, group: _Group, notes: GroupNotes, roles: Roles) -> tuple[Restored, Decoded]:
        """The variables of a group; notes that do not fit what is stored are left out, with a warning."""
        path, stored, attributes = group.path, group.stored, attributes_to_decode(group.node)
        stubborn: dict[Any, str] = {}
        while True:
            decoders, active = decoders_for(notes, without_times(stubborn, stored, self._decoders))
            raw = {name: variable.copy(deep=False) for name, variable in stored.items()} if active else stored
            decoded = decode_all(raw, attributes, decoders, self._store.path, path)
            try:
                active -= decoded.undecoded.keys()
                restored = restore(decoded.variables, group.lazy, notes, active, self._index, roles)
                return restored, replace(decoded, undecoded={**decoded.undecoded, **stubborn})
            except UndecodableError as error:  # of labels that had to be read: some of them is no time
                name = (error.key or "").rpartition("/")[2]
                if name not in stored or name in stubborn:
                    raise
                stubborn[name] = error.problem
            except NoteMismatchError as error:
                if error.name in self._intervals:
                    raise LabelError(
                        f"the bounds of {error.name!r} cannot be intervals: {error.problem}",
                        path=self._store.path,
                        key=path_below(path, error.name),
                        mend="Leave it out of intervals=",
                    ) from error
                self._warn(path, error.name, error.problem)
                notes = notes.without(error.name)

    def _warn(self, path: str, name: str, problem: str) -> None:
        key = path_below(path, name)
        warn(
            f"array {key!r} in {self._store.path!r} is opened as if nothing was noted of its labels: {problem}. "
            "Another tool may have changed it; save it again to have its index back"
        )
