"""The xarray backend: ``xr.open_dataset(store, engine="zarrds")``.

Opening reads the metadata, of a consolidated store in one document; data is read when it is used.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from zarrds.arrays.array import Array
from zarrds.arrays.selection import plan_basic, plan_orthogonal, plan_pointwise
from zarrds.arrays.workers import in_thread
from zarrds.datasets.attributes import decoded_attributes
from zarrds.datasets.encoding import encoding_of
from zarrds.datasets.xarray_internals import (
    NONE_VAR_NAME,
    create_vlen_dtype,
    datatree_from_dict_with_io_cleanup,
    decode_cf_variables,
)
from zarrds.errors import MetadataError
from zarrds.metadata.documents import Nodes, get_group, open_nodes, root_key, walk
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, ZarrFormat
from zarrds.stores.base import Store, check_prefix
from zarrds.stores.resolve import as_store

__all__ = ["ZarrdsBackendEntrypoint"]

# what a store's documents may be called, when one of them is given in place of its folder
_DOCUMENTS = frozenset({"zarr.json", ".zgroup", ".zmetadata"})


class LazyArray(BackendArray):
    """An array that xarray indexes lazily; any number of threads may read it, and it pickles.

    Parameters
    ----------
    array : Array
    version : hashable
        Of the store's contents, so that dask tells a store from what was later written in its place.

    Attributes
    ----------
    stored : Array
    is_being_decoded : bool
        Set until xarray's decoders are done with it.
    """

    __slots__ = ("_version", "dtype", "is_being_decoded", "shape", "stored")

    def __init__(self, array: Array, version: Hashable) -> None:
        self.stored = array
        self._version = version
        self.shape = array.shape
        self.is_being_decoded = True
        self.dtype = create_vlen_dtype(str) if array.metadata.data_type.name == "string" else array.dtype

    def __dask_tokenize__(self) -> Hashable:
        return "zarrds", self.stored.store.path, self.stored.path, self._version

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        if self.is_being_decoded and self.dtype.kind == "O":
            # xarray's decoders look at the first of all objects, to see whether it is a date: stored ones never are
            return np.full((1,) * len(self.shape), "", self.dtype)[(0,) * len(self.shape)]
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.VECTORIZED, self._reader(key)
        )

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Any:
        """As ``self[key]``, in a thread."""
        return await in_thread(self.__getitem__, key)

    def _reader(self, key: indexing.ExplicitIndexer) -> Any:
        planner: Any = plan_basic
        if isinstance(key, indexing.OuterIndexer):
            planner = plan_orthogonal
        elif isinstance(key, indexing.VectorizedIndexer):
            planner = plan_pointwise
        return lambda raw_key: self._with_dtype(self.stored.read(raw_key, planner))

    def _with_dtype(self, value: Any) -> Any:
        if self.dtype.kind != "O" or isinstance(value, np.ndarray):
            return value
        # one Python object: an array of no dimensions keeps it from becoming another dtype
        scalar = np.empty((), self.dtype)
        scalar[()] = value
        return scalar


class ZarrdsBackendEntrypoint(BackendEntrypoint):
    """Opens Zarr stores, of format 2 and 3, in xarray.

    Chosen with ``engine="zarrds"``. Beyond xarray's own parameters all functions take

    - ``group``: the path of a group below the store's root;
    - ``consolidated``: True insists on consolidated metadata, False ignores it, None (the default) takes it if it is
      there;
    - ``zarr_format``: which of the two to read where a store has both;
    - ``use_zarr_fill_value_as_mask``: whether the arrays' fill values are missing values, as in netCDF; None (the
      default) for format 2 only;
    - ``workers``: threads for one read; as many as cores unless said, 1 for none.

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
        reader = _Reader(filename_or_obj, consolidated, zarr_format, use_zarr_fill_value_as_mask, workers)
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
            workers=workers,
        )
        return datatree_from_dict_with_io_cleanup(groups)

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
        workers: int | None = None,
    ) -> dict[str, xr.Dataset]:
        """Open a group and all groups below it, by path; parameters and errors are `open_dataset`'s.

        The paths are absolute, or relative to `group` where one is given.
        """
        reader = _Reader(filename_or_obj, consolidated, zarr_format, use_zarr_fill_value_as_mask, workers)
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
        consolidated: bool | None,
        zarr_format: ZarrFormat | None,
        fill_value_is_mask: bool | None,
        workers: int | None,
    ) -> None:
        if isinstance(store, str | os.PathLike):
            path = os.fspath(store).rstrip("/") or os.fspath(store)
            store = os.path.dirname(path) or "." if os.path.basename(path) in _DOCUMENTS else path
        self._store = as_store(store)
        self._nodes: Nodes = open_nodes(self._store, zarr_format=zarr_format, consolidated=consolidated)
        key = root_key(self._nodes.zarr_format, consolidated=self._nodes.consolidated)
        self._version = self._store.identity(key)
        self._workers = workers
        self._mask = self._nodes.zarr_format == 2 if fill_value_is_mask is None else fill_value_is_mask

    def group_paths(self, root: str) -> list[str]:
        """The group at `root` and those below it, parents first."""
        get_group(self._store, self._nodes, check_prefix(root, self._store.path))
        return [path for path, node in walk(self._nodes, root).items() if isinstance(node, GroupMetadata)]

    def dataset(self, path: str, drop_variables: str | Iterable[str] | None, decoders: Mapping[str, Any]) -> xr.Dataset:
        """The dataset of one group."""
        group = get_group(self._store, self._nodes, check_prefix(path, self._store.path))
        dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
        lazy = {
            name: self._lazy_array(f"{path}/{name}" if path else name, node)
            for name, node in self._nodes.children(path, skip=dropped).items()
            if isinstance(node, ArrayMetadata)
        }
        stored = {None if name == NONE_VAR_NAME else name: self._variable(array) for name, array in lazy.items()}
        own = {k: v for k, v in group.attributes.items() if not k.lower().startswith("_nc")}
        variables, attributes, coordinate_names = decode_cf_variables(stored, own, **decoders)
        for array in lazy.values():
            array.is_being_decoded = False
        coordinates = {n: v for n, v in variables.items() if n in coordinate_names or v.dims == (n,)}
        data = {n: v for n, v in variables.items() if n not in coordinates}
        ds = xr.Dataset(data, xr.Coordinates(coordinates, indexes={}), attributes)
        ds.encoding = {}
        ds.set_close(_nothing_to_close)
        return ds

    def _lazy_array(self, path: str, metadata: ArrayMetadata) -> LazyArray:
        array = Array(self._store, path, metadata, read_only=True, n_workers=self._workers)
        array.check_codecs()  # refused here, by name, and not when it is read at last
        return LazyArray(array, self._version)

    def _variable(self, lazy: LazyArray) -> xr.Variable:
        metadata = lazy.stored.metadata
        names = metadata.dimension_names
        if names is None and not metadata.shape:
            names = ()
        if names is None or None in names:
            raise MetadataError(
                "array has no names for its dimensions",
                path=self._store.path,
                key=lazy.stored.path,
                mend="Open it with zarrds.open_array, or leave it out with drop_variables",
            )
        attributes = decoded_attributes(metadata, fill_value_is_mask=self._mask)
        encoding = encoding_of(metadata, fill_value_is_mask=self._mask)
        return xr.Variable(names, indexing.LazilyIndexedArray(lazy), attributes, encoding, fastpath=True)
