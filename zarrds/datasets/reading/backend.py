"""The xarray backend: ``xr.open_dataset(store, engine="zarrds")``.

Opening reads the metadata, of a consolidated store in one document; data is read when it is used.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal

import xarray as xr
from xarray.backends import BackendEntrypoint

from zarrds.compat.xarray_internals import (
    NONE_VAR_NAME,
    datatree_from_dict_with_io_cleanup,
    decode_cf_variables,
    new_dataset,
)
from zarrds.compat.xarray_opening import (
    tree_without_default_indexes,
    unindexed_of,
    wants_default_indexes,
    without_default_indexes,
)
from zarrds.datasets.encoding.chunks import INDEX_THRESHOLD
from zarrds.datasets.reading.decoding import decoders_for
from zarrds.datasets.reading.index_options import IndexKind, IndexOptions
from zarrds.datasets.reading.lazy import LazyArray, LazyArrays
from zarrds.datasets.reading.notes import Closed, GroupNotes, beside, notes_of, with_intervals
from zarrds.datasets.reading.restored import MisfitError, Restored, restore
from zarrds.datasets.reading.roles import Roles, move_attributes, roles_of
from zarrds.errors import LabelError, ZarrdsError
from zarrds.metadata.documents import Nodes, get_group, open_nodes, walk
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, ZarrFormat
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store, check_prefix

__all__ = ["ZarrdsBackendEntrypoint"]

# what a store's documents may be called, when one of them is given in place of its folder
_DOCUMENTS = frozenset({"zarr.json", ".zgroup", ".zmetadata"})


class ZarrdsBackendEntrypoint(BackendEntrypoint):
    """Opens Zarr stores, of format 2 and 3, in xarray.

    Chosen with ``engine="zarrds"``. Beyond xarray's own parameters all functions take

    - ``group``: the path of a group below the store's root;
    - ``consolidated``: True insists on consolidated metadata, False ignores it, None (the default) takes it if it is
      there;
    - ``zarr_format``: which of the two to read where a store has both;
    - ``use_zarr_fill_value_as_mask``: whether the arrays' fill values are missing values, as in netCDF; None (the
      default) for format 2 only;
    - ``missing_chunks``: ``"error"`` or ``"fill"``: whether an absent chunk is an error, or holds the fill value; None
      (the default) makes it an error where the store says that the chunk was written, as `zarrds.save` does;
    - ``index``: what the labels of dimensions become. ``"auto"`` (the default): a pandas index in memory, but above
      ``index_threshold`` labels a range, or an index that is searched where it lies, if the store proves that they
      are sorted; ``"lazy"``: the same whatever their number; ``"pandas"``: always in memory; ``"none"``: they stay
      coordinates without an index, as they are stored (pass ``create_default_indexes=False`` as well: xarray makes
      indexes of its own otherwise). ``create_default_indexes=False`` alone makes no index either, and gives the
      coordinates as they were saved;
    - ``index_threshold``: so many labels, 16,777,216 unless said;
    - ``intervals``: a mapping of coordinates to ``"left"``, ``"right"``, ``"both"`` or ``"neither"``: their CF bounds
      become an `IntervalIndex` that is closed there. What `zarrds.save` wrote of one becomes one anyway;
    - ``storage_options``: for URLs, what fsspec's file system is to be made with; ignored for local paths;
    - ``chunk_cache``: bytes of decoded chunks to keep, of which a part was read, 0 for none; None (the default): one
      cache of 64 MiB for all that the process has open. Chunks that were written anew are read anew; those of URLs and
      of strings are never kept, and a copy in another process begins with an empty cache;
    - ``workers``: threads for one read, 1 for none; unless said as many as cores, or more for a URL.

    Examples
    --------
    >>> import numpy as np, xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> zarrds.save(xr.Dataset({"t2m": ("time", np.arange(3.0))}, {"time": [2000, 2001, 2002]}), store)
    >>> ds = xr.open_dataset(store, engine="zarrds")
    >>> float(ds.t2m.sel(time=2001))
    1.0
    """

    description = "Open Zarr stores lazily with zarrds"
    open_dataset_parameters = (
        "filename_or_obj",
        "mask_and_scale",
        "decode_times",
        "concat_characters",
        "decode_coords",
        "drop_variables",
        "use_cftime",
        "decode_timedelta",
        "group",
        "consolidated",
        "zarr_format",
        "use_zarr_fill_value_as_mask",
        "missing_chunks",
        "index",
        "index_threshold",
        "intervals",
        "storage_options",
        "chunk_cache",
        "workers",
    )
    supports_groups = True

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether this is a Zarr store, by its name or by what it is."""
        if isinstance(filename_or_obj, str | os.PathLike):
            path = os.fspath(filename_or_obj).rstrip("/")
            return os.path.splitext(path)[1] == ".zarr" or any(
                os.path.isfile(os.path.join(path, name)) for name in _DOCUMENTS
            )
        return isinstance(filename_or_obj, Store)

    def open_dataset(  # type: ignore[override]  # as every backend, it names the keywords it takes
        self,
        filename_or_obj: str | os.PathLike[str] | Store,
        *,
        mask_and_scale: bool | Mapping[str, bool] = True,
        decode_times: Any = True,
        concat_characters: bool | Mapping[str, bool] = True,
        decode_coords: Any = True,
        drop_variables: str | Iterable[str] | None = None,
        use_cftime: bool | Mapping[str, bool] | None = None,
        decode_timedelta: Any = None,
        group: str | None = None,
        consolidated: bool | None = None,
        zarr_format: ZarrFormat | None = None,
        use_zarr_fill_value_as_mask: bool | None = None,
        missing_chunks: Literal["error", "fill"] | None = None,
        index: IndexKind = "auto",
        index_threshold: int = INDEX_THRESHOLD,
        intervals: Mapping[str, Closed] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        chunk_cache: int | None = None,
        workers: int | None = None,
    ) -> xr.Dataset:
        """Open one group as a Dataset; see the class for the parameters.

        Raises
        ------
        StoreNotFoundError
            If there is no Zarr store.
        NodeNotFoundError
            If the store has no such group.
        MetadataError, UnsupportedError
            If what the store says is invalid, or zarrds cannot read it.
        """
        reader = _Reader(
            filename_or_obj,
            storage_options,
            consolidated=consolidated,
            zarr_format=zarr_format,
            fill_value_is_mask=use_zarr_fill_value_as_mask,
            missing_chunks=missing_chunks,
            index=IndexOptions(index, index_threshold, are_made=wants_default_indexes()),
            intervals=intervals,
            chunk_cache=chunk_cache,
            workers=workers,
        )
        decoders = {
            "mask_and_scale": mask_and_scale,
            "decode_times": decode_times,
            "concat_characters": concat_characters,
            "decode_coords": decode_coords,
            "use_cftime": use_cftime,
            "decode_timedelta": decode_timedelta,
        }
        return reader.dataset((group or "").strip("/"), drop_variables, decoders)

    def open_datatree(  # type: ignore[override]  # as every backend, it names the keywords it takes
        self,
        filename_or_obj: str | os.PathLike[str] | Store,
        *,
        mask_and_scale: bool | Mapping[str, bool] = True,
        decode_times: Any = True,
        concat_characters: bool | Mapping[str, bool] = True,
        decode_coords: Any = True,
        drop_variables: str | Iterable[str] | None = None,
        use_cftime: bool | Mapping[str, bool] | None = None,
        decode_timedelta: Any = None,
        group: str | None = None,
        consolidated: bool | None = None,
        zarr_format: ZarrFormat | None = None,
        use_zarr_fill_value_as_mask: bool | None = None,
        missing_chunks: Literal["error", "fill"] | None = None,
        index: IndexKind = "auto",
        index_threshold: int = INDEX_THRESHOLD,
        intervals: Mapping[str, Closed] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        chunk_cache: int | None = None,
        workers: int | None = None,
    ) -> xr.DataTree:
        """Open a group and all groups below it as a DataTree; parameters and errors are `open_dataset`'s."""
        groups = self.open_groups_as_dict(
            filename_or_obj,
            mask_and_scale=mask_and_scale,
            decode_times=decode_times,
            concat_characters=concat_characters,
            decode_coords=decode_coords,
            drop_variables=drop_variables,
            use_cftime=use_cftime,
            decode_timedelta=decode_timedelta,
            group=group,
            consolidated=consolidated,
            zarr_format=zarr_format,
            use_zarr_fill_value_as_mask=use_zarr_fill_value_as_mask,
            missing_chunks=missing_chunks,
            index=index,
            index_threshold=index_threshold,
            intervals=intervals,
            storage_options=storage_options,
            chunk_cache=chunk_cache,
            workers=workers,
        )
        tree = datatree_from_dict_with_io_cleanup(groups)
        unindexed = {f"/{path.strip('./')}": names for path, ds in groups.items() if (names := unindexed_of(ds))}
        return tree_without_default_indexes(tree, unindexed) if unindexed else tree

    def open_groups_as_dict(  # type: ignore[override]  # as every backend, it names the keywords it takes
        self,
        filename_or_obj: str | os.PathLike[str] | Store,
        *,
        mask_and_scale: bool | Mapping[str, bool] = True,
        decode_times: Any = True,
        concat_characters: bool | Mapping[str, bool] = True,
        decode_coords: Any = True,
        drop_variables: str | Iterable[str] | None = None,
        use_cftime: bool | Mapping[str, bool] | None = None,
        decode_timedelta: Any = None,
        group: str | None = None,
        consolidated: bool | None = None,
        zarr_format: ZarrFormat | None = None,
        use_zarr_fill_value_as_mask: bool | None = None,
        missing_chunks: Literal["error", "fill"] | None = None,
        index: IndexKind = "auto",
        index_threshold: int = INDEX_THRESHOLD,
        intervals: Mapping[str, Closed] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        chunk_cache: int | None = None,
        workers: int | None = None,
    ) -> dict[str, xr.Dataset]:
        """Open a group and all groups below it, by path; parameters and errors are `open_dataset`'s.

        The paths are absolute, or relative to `group` where one is given.
        """
        reader = _Reader(
            filename_or_obj,
            storage_options,
            consolidated=consolidated,
            zarr_format=zarr_format,
            fill_value_is_mask=use_zarr_fill_value_as_mask,
            missing_chunks=missing_chunks,
            index=IndexOptions(index, index_threshold, are_made=wants_default_indexes()),
            intervals=intervals,
            chunk_cache=chunk_cache,
            workers=workers,
        )
        decoders = {
            "mask_and_scale": mask_and_scale,
            "decode_times": decode_times,
            "concat_characters": concat_characters,
            "decode_coords": decode_coords,
            "use_cftime": use_cftime,
            "decode_timedelta": decode_timedelta,
        }
        root = (group or "").strip("/")
        paths = reader.group_paths(root)
        below = {path: path[len(root) :].strip("/") for path in paths}
        return {
            (below[path] or ".") if group else f"/{below[path]}": reader.dataset(path, drop_variables, decoders)
            for path in paths
        }


def _nothing_to_close() -> None:
    """Files are open only while they are read; but `xr.open_mfdataset` calls what it is given here."""


class _Reader:
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
    ) -> None:
        self._index = index
        self._intervals = intervals or {}
        if isinstance(store, str | os.PathLike):
            path = os.fspath(store).rstrip("/") or os.fspath(store)
            store = os.path.dirname(path) or "." if os.path.basename(path) in _DOCUMENTS else path
        self._store = as_store(store, storage_options)
        self._nodes: Nodes = open_nodes(self._store, zarr_format=zarr_format, consolidated=consolidated)
        self._arrays = LazyArrays.of(
            self._store,
            self._nodes,
            n_workers=workers,
            missing_chunks=missing_chunks,
            chunk_cache=chunk_cache,
            fill_value_is_mask=fill_value_is_mask,
        )

    def group_paths(self, root: str) -> list[str]:
        """The group at `root` and those below it, parents first."""
        get_group(self._store, self._nodes, check_prefix(root, self._store.path))
        return [path for path, node in walk(self._nodes, root).items() if isinstance(node, GroupMetadata)]

    def dataset(self, path: str, drop_variables: str | Iterable[str] | None, decoders: Mapping[str, Any]) -> xr.Dataset:
        """The dataset of one group."""
        group = get_group(self._store, self._nodes, check_prefix(path, self._store.path))
        dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
        dropped |= self._parts_of(path, dropped)
        lazy = {
            name: self._arrays.array(f"{path}/{name}" if path else name, node)
            for name, node in self._nodes.children(path, skip=dropped).items()
            if isinstance(node, ArrayMetadata)
        }
        stored = {None if name == NONE_VAR_NAME else name: self._arrays.variable(array) for name, array in lazy.items()}
        attrs = {k: v for k, v in group.attributes.items() if not k.lower().startswith("_nc")}
        notes = notes_of({name: array.stored.metadata for name, array in lazy.items()})
        notes = notes.without_dimensions(dropped)
        notes = with_intervals(notes, stored, self._intervals) if self._intervals else notes
        roles = roles_of({name: array.stored.metadata for name, array in lazy.items()}, dropped).without(dropped)
        for name, problem in {**notes.problems, **roles.problems}.items():
            self._warn(path, name, problem)
        if self._index.index == "none":
            notes, roles = GroupNotes(), roles.without_indexes()
        elif not decoders["decode_coords"]:
            roles = roles.without_coordinates()
        restored, attributes, named = self._decoded(path, stored, attrs, lazy, notes, decoders, roles)
        for name, problem in restored.problems.items():
            self._warn(path, name, problem)
        variables = restored.variables
        move_attributes(variables, roles)
        # what has the name of a dimension is a coordinate, also one of several dimensions
        names = {dim for v in variables.values() for dim in v.dims} | set(named)
        if decoders["decode_coords"] != "all":
            names -= roles.data
        names |= roles.coordinates | restored.coordinates
        dataset = new_dataset(variables, variables.keys() & names, restored.indexes, attributes, _nothing_to_close)
        if self._index.are_made and (unindexed := roles.unindexed & variables.keys()):
            return without_default_indexes(dataset, unindexed)
        return dataset

    def _parts_of(self, path: str, dropped: set[str]) -> set[str]:
        """Arrays that go with those that are left out, since they are parts of them."""
        arrays = {}
        for name in dropped:
            with suppress(ZarrdsError):  # it may be left out because it cannot be read
                arrays[name] = self._nodes.get(f"{path}/{name}" if path else name)
        found: set[str] = set()
        for metadata in arrays.values():
            if isinstance(metadata, ArrayMetadata):
                found |= beside(metadata)
        new = found - dropped
        return new | self._parts_of(path, new) if new else new

    def _decoded(
        self,
        path: str,
        stored: Mapping[Any, xr.Variable],
        attributes: Mapping[str, Any],
        lazy: Mapping[str, LazyArray],
        notes: GroupNotes,
        asked: Mapping[str, Any],
        roles: Roles,
    ) -> tuple[Restored, Any, Any]:
        """The variables of a group; notes that do not fit what is stored are left out, with a warning."""
        while True:
            decoders, active = decoders_for(notes, asked)
            for array in lazy.values():
                array.is_being_decoded = True
            raw = {name: variable.copy(deep=False) for name, variable in stored.items()} if active else stored
            variables, decoded_attributes, names = decode_cf_variables(raw, dict(attributes), **decoders)
            for array in lazy.values():
                array.is_being_decoded = False
            try:
                return restore(variables, lazy, notes, active, self._index, roles), decoded_attributes, names
            except MisfitError as error:
                if error.name in self._intervals:
                    raise LabelError(
                        f"the bounds of {error.name!r} cannot be intervals: {error.problem}",
                        path=self._store.path,
                        key=f"{path}/{error.name}" if path else error.name,
                        mend="Leave it out of intervals=",
                    ) from error
                self._warn(path, error.name, error.problem)
                notes = notes.without(error.name)

    def _warn(self, path: str, name: str, problem: str) -> None:
        key = f"{path}/{name}" if path else name
        warnings.warn(
            f"array {key!r} in {self._store.path!r} is opened as if nothing was noted of its labels: {problem}. "
            "Another tool may have changed it; save it again to have its index back",
            stacklevel=2,
        )
