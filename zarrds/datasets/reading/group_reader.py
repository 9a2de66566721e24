"""Datasets of the groups of one store: documents -> lazy variables -> decoded variables, indexes and coordinates."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import count
from math import prod
from typing import Any, Literal, cast

import xarray as xr

from zarrds.arguments import check_flags, check_mappings, check_numbers, hashables_of, warn
from zarrds.compat.xarray_internals import NONE_VAR_NAME, new_dataset
from zarrds.compat.xarray_opening import without_default_indexes
from zarrds.datasets.encoding.attributes import attributes_to_decode, give_back
from zarrds.datasets.reading.decoding import Decoded, decode_all, decoders_for, without_times
from zarrds.datasets.reading.index_options import IndexOptions
from zarrds.datasets.reading.lazy import UNASKED_NBYTES, LazyArray, LazyArrays, look_again
from zarrds.datasets.reading.notes import MULTI_INDEX, Closed, GroupNotes, beside, notes_of, with_intervals
from zarrds.datasets.reading.restored import NoteMismatchError, Restored, restore
from zarrds.datasets.reading.roles import Roles, move_attributes, roles_of
from zarrds.datasets.reading.strange import LeftOut, PhonyDims, check_phony_dims, children_of, groups_below, named
from zarrds.errors import ConflictError, LabelError, MetadataError, UndecodableError, ZarrdsError
from zarrds.metadata.attributes import apart_attributes
from zarrds.metadata.extension import UNLIMITED, note_of, unlimited_dims
from zarrds.metadata.fetched import Watched
from zarrds.metadata.formats import module_of, spec_of, v2, v3
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, ZarrFormat
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


def _roots(store: Store, *, should_recover: bool = False) -> dict[str, Hashable]:
    """The identities of the root's documents, of all formats; of none where looks are not requests."""
    if not has_trait(store, ManyValues):
        return {}
    keys = [*root_keys(v3, None), *root_keys(v2, None)]
    found = store.get_many(keys, recover=should_recover)
    # where a server does not tell of what is absent, it tells of what is there
    return {key: each.identity for key, each in found.items() if each.problem is None}


class GroupReader:
    """Makes datasets of one store's groups."""

    def __init__(
        self,
        store: Any,
        storage_options: Mapping[str, Any] | None,
        *,
        consolidated: bool | None,
        zarr_format: ZarrFormat | None,
        fill_value_is_mask: bool | None,
        missing_chunks: Literal["error", "fill"] | None,
        index: IndexOptions,
        intervals: Mapping[str, Closed] | None,
        chunk_cache: int | None,
        workers: int | None,
        phony_dims: PhonyDims,
        drop_variables: str | Iterable[str] | None,
        local_cache: str | os.PathLike[str] | None,
        cache_size: int,
    ) -> None:
        check_mappings(intervals=intervals)
        check_numbers(workers=workers)
        check_phony_dims(phony_dims)
        self._phony_dims, self._numbers = phony_dims, count()
        check_flags(use_zarr_fill_value_as_mask=fill_value_is_mask)
        self._dropped = hashables_of(drop_variables=drop_variables)
        self._index = index
        self._intervals = intervals or {}
        self._store = as_cached_store(_without_document(store), storage_options, local_cache, cache_size)
        # xarray would note a URL as it was given, with what is secret in it
        is_url = isinstance(store, str) and "://" in store and self._store.path not in store
        self._shown = self._store.path if is_url else None
        self._watched = None if self._store.traits.is_remote else Watched(self._store)
        read_from = self._store if self._watched is None else cast(Store, self._watched)
        asked = None if zarr_format is None else module_of(zarr_format)
        self._nodes: Nodes = open_nodes(read_from, like=asked, consolidated=consolidated)
        # who goes by many documents reads them when no change is under way, and looks at the end whether one has begun
        self._seen = {} if self._nodes.consolidated else _roots(self._store, should_recover=True)
        touched = spec_of(self._nodes).root_key(consolidated=True)
        self._arrays = LazyArrays.of(
            self._store,
            self._nodes,
            n_workers=workers,
            missing_chunks=missing_chunks,
            chunk_cache=chunk_cache,
            fill_value_is_mask=fill_value_is_mask,
            touched=(touched, self._seen[touched]) if touched in self._seen else None,
        )

    def dataset(self, path: str, decoders: Mapping[str, Any]) -> xr.Dataset:
        """The dataset of one group; what of it cannot be opened is left out, with one warning."""
        return self._datasets([path], decoders, LeftOut(self._store.path, self._dropped))[path]

    def datasets(self, root: str, decoders: Mapping[str, Any]) -> dict[str, xr.Dataset]:
        """As `dataset`, of a group and all below it, by path, parents first; with one warning for all of them."""
        left_out = LeftOut(self._store.path, self._dropped)
        get_group(self._store, self._nodes, check_prefix(root, self._store.path))
        return self._datasets(list(groups_below(self._nodes, root, left_out)), decoders, left_out)

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

    def _datasets(self, paths: list[str], decoders: Mapping[str, Any], left_out: LeftOut) -> dict[str, xr.Dataset]:
        labels: list[LazyArray] = []
        try:
            groups = {path: get_group(self._store, self._nodes, check_prefix(path, self._store.path)) for path in paths}
            dropped = {path: self._dropped | self._parts_of(path, self._dropped) for path in paths}
            arrays = {path: self._lazy(path, dropped[path], left_out) for path in paths}
            labels += [each for lazy, _ in arrays.values() for each in self._needed(lazy, decoders)]
            if self._store.traits.is_remote:
                side_by_side(LazyArray.read_ahead, labels)
            else:  # once, and not once for each of xarray's decoders that looks at their ends
                for each in labels:
                    each.read_ahead()
                look_again(labels)
            found = {
                path: self._dataset(
                    path, groups[path], *arrays[path], dropped[path] | left_out.names_in(path), decoders, left_out
                )
                for path in paths
            }
            self._check_unchanged()
        except BaseException as error:
            for each in labels:
                each.forget()
            if isinstance(error, Exception):
                self._check_unchanged()  # that may be why
            raise
        for path, dataset in found.items():
            if self._shown is not None:
                dataset.encoding["source"] = self._shown
            for name, each in arrays[path][0].items():
                if name not in dataset.dims or name in dataset.xindexes:
                    each.forget()  # else xarray makes an index of it, when it gets the dataset
        left_out.warn()
        return found

    def _needed(self, lazy: Mapping[str, LazyArray], decoders: Mapping[str, Any]) -> list[LazyArray]:
        """The arrays of a group that are read to open it, as far as that can be told: labels, and few times."""
        metadata = {name: array.stored.metadata for name, array in lazy.items()}
        found = set(self._intervals)
        if self._index.index != "none" and self._index.are_made is not False:
            found |= {n for n, m in metadata.items() if m.dimension_names == (n,)}
            found |= {n for n, m in metadata.items() if note_of(m, MULTI_INDEX) is not None}
            found = {n for n in found & lazy.keys() if not self._index.is_lazy(prod(metadata[n].shape))}
            found |= {part for name in found for part in beside(metadata[name])}
            bounds = (metadata[name].attributes.get("bounds") for name in set(self._intervals) & lazy.keys())
            found |= {name for name in bounds if isinstance(name, str)}
        if decoders["decode_times"] is not False:  # decoders look at the ends of times
            times = (n for n, m in metadata.items() if "since" in str(m.attributes.get("units")))
            found |= {name for name in times if prod(metadata[name].chunk_grid) <= 1}
        sizes = {n: prod(metadata[n].shape) * lazy[n].stored.dtype.itemsize for n in found & lazy.keys()}
        return [lazy[name] for name, size in sizes.items() if 0 < size <= UNASKED_NBYTES]

    def _dataset(
        self,
        path: str,
        group: GroupMetadata,
        lazy: dict[str, LazyArray],
        stored: dict[str | None, xr.Variable],
        dropped: set[str],
        decoders: Mapping[str, Any],
        left_out: LeftOut,
    ) -> xr.Dataset:
        attrs = attributes_to_decode(group)
        notes = notes_of({name: array.stored.metadata for name, array in lazy.items()})
        notes = notes.without_dimensions(dropped)
        notes = with_intervals(notes, stored, self._intervals) if self._intervals else notes
        roles = roles_of({name: array.stored.metadata for name, array in lazy.items()}, dropped).without(dropped)
        for name, problem in {**notes.problems, **roles.problems}.items():
            self._warn(path, name, problem)
        if self._index.index == "none":
            labels = [name for name, array in lazy.items() if array.stored.dimension_names == (name,)]
            notes, roles = notes.without_indexes(labels), roles.without_indexes()
        elif not decoders["decode_coords"]:
            roles = roles.without_coordinates()
        restored, decoded = self._decoded(path, stored, attrs, lazy, notes, decoders, roles)
        for name, problem in decoded.undecoded.items():
            left_out.add_undecoded(path, name, problem)
        for name, problem in restored.problems.items():
            self._warn(path, name, problem)
        variables = restored.variables
        move_attributes(variables, roles)
        give_back(variables, {None if n == NONE_VAR_NAME else n: a.stored.metadata for n, a in lazy.items()})
        attributes = {**decoded.attributes, **apart_attributes(group)}
        # what has the name of a dimension is a coordinate, also one of several dimensions
        names = {dim for v in variables.values() for dim in v.dims} | set(decoded.names)
        if decoders["decode_coords"] != "all":
            names -= roles.data
        names |= roles.coordinates | restored.coordinates
        coordinates = variables.keys() & names
        try:
            dataset = new_dataset(variables, coordinates, restored.indexes, attributes, _nothing_to_close)
        except ValueError:
            self._check_sizes(path, variables)
            raise
        if unlimited := unlimited_dims(group, dataset.sizes):
            dataset.encoding[UNLIMITED] = set(unlimited)
        unindexed = (roles.unindexed & variables.keys()) | (roles.data & set(dataset.dims) - coordinates)
        if self._index.are_made and unindexed:
            return without_default_indexes(dataset, unindexed)
        return dataset

    def _lazy(
        self, path: str, dropped: set[str], left_out: LeftOut
    ) -> tuple[dict[str, LazyArray], dict[str | None, xr.Variable]]:
        """The arrays of a group that can be opened, and variables of them, as they are stored."""
        nodes = children_of(self._nodes, path, dropped, left_out)
        arrays = {name: node for name, node in nodes.items() if isinstance(node, ArrayMetadata)}
        found: dict[str, LazyArray] = {}
        variables: dict[str | None, xr.Variable] = {}
        for name, metadata in named(path, arrays, self._phony_dims, self._numbers, left_out).items():
            where = path_below(path, name)
            try:
                array = self._arrays.array(where, metadata, self._nodes.version_of(where))
                variables[None if name == NONE_VAR_NAME else name] = self._arrays.variable(array)
            except MetadataError as error:
                left_out.add(where, error)
            else:
                found[name] = array
        return found, variables

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

    def _decoded(
        self,
        path: str,
        stored: Mapping[Any, xr.Variable],
        attributes: Mapping[str, Any],
        lazy: Mapping[str, LazyArray],
        notes: GroupNotes,
        asked: Mapping[str, Any],
        roles: Roles,
    ) -> tuple[Restored, Decoded]:
        """The variables of a group; notes that do not fit what is stored are left out, with a warning."""
        stubborn: dict[Any, str] = {}
        while True:
            decoders, active = decoders_for(notes, without_times(stubborn, stored, asked))
            raw = {name: variable.copy(deep=False) for name, variable in stored.items()} if active else stored
            decoded = decode_all(raw, attributes, decoders, self._store.path, path)
            try:
                active -= decoded.undecoded.keys()
                restored = restore(decoded.variables, lazy, notes, active, self._index, roles)
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
