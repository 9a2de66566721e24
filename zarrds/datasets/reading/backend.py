"""The xarray backend: ``xr.open_dataset(store, engine="zarrds")``.

Opening reads the metadata, of a consolidated store in one document; data is read when it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from zarrds.datasets.reading.group_reader import GroupReader
from zarrds.datasets.reading.open_options import OpenOptions, with_parameters
from zarrds.errors import ConflictError
from zarrds.metadata.nodes.documents import ROOTS
from zarrds.storage.protocol import Store

__all__ = ["ZarrdsBackendEntrypoint"]


Source = str | os.PathLike[str] | Store

_Found = TypeVar("_Found")

_ATTEMPTS = 3  # of opening a store that others change meanwhile


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
      coordinates without an index, as they are stored, and data is what was saved (pass
      ``create_default_indexes=False`` as well: xarray makes indexes of its own otherwise).
      ``create_default_indexes=False`` alone makes no index either, and gives the coordinates as they were saved;
    - ``index_threshold``: so many labels, 16,777,216 unless said;
    - ``intervals``: a mapping of coordinates to ``"left"``, ``"right"``, ``"both"`` or ``"neither"``: their CF bounds
      become an `IntervalIndex` that is closed there. What `zarrds.save` wrote of one becomes one anyway;
    - ``storage_options``: for URLs, arguments of fsspec's file system; ignored for local paths;
    - ``chunk_cache``: bytes of decoded chunks to keep, of which a part was read, 0 for none; None (the default): one
      cache of 64 MiB for all that the process has open. Chunks that were written anew are read anew; those of URLs and
      of strings are never kept, and a copy in another process begins with an empty cache;
    - ``workers``: threads for one read, 1 for none; unless said as many as cores, or more for a URL;
    - ``phony_dims``: names for dimensions that have none, as h5netcdf makes them up (``phony_dim_0``, …), numbered by
      size (``"sort"``) or as the arrays are stored (``"access"``). Unless said, such arrays are left out;
    - ``local_cache``: a folder of this machine that keeps the chunks that were fetched from ``s3://``, ``gs://``, ``az://``
      or ``https://``, also for other processes and for the next time: the server is asked whether a chunk is still the
      same, and sends only what is not. Local stores need none. (xarray's own ``cache`` keeps what was read in memory.)
    - ``cache_size``: bytes of that folder, 10 GB unless said; what was not used for longest goes first.

    What cannot be opened (an array without names for its dimensions, one with a codec, data type or chunk grid that
    zarrds does not know) is left out, with one warning that names it; ``drop_variables`` leaves it out without. What
    cannot be decoded (times in units that nobody knows) is given as it is stored, with a warning too.

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
    open_dataset_parameters = ("filename_or_obj", *OpenOptions.__dataclass_fields__)
    supports_groups = True

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether this is a Zarr store, by its name or by what it is."""
        if isinstance(filename_or_obj, str | os.PathLike):
            path = os.fspath(filename_or_obj).rstrip("/")
            return path.endswith((".zarr", ".zarr.zip")) or any(
                os.path.isfile(os.path.join(path, name)) for name in ROOTS
            )
        return isinstance(filename_or_obj, Store)

    def open_dataset(self, filename_or_obj: Any, **options: Any) -> xr.Dataset:
        """Open one group as a Dataset; see the class for the parameters.

        Raises
        ------
        StoreNotFoundError
            If there is no Zarr store.
        NodeNotFoundError
            If the store has no such group.
        MetadataError, UnsupportedError
            If what the store says is invalid, or zarrds cannot read it.
        TypeError
            For an option that there is not.
        """
        asked = OpenOptions.of("open_dataset", options)
        return _read(filename_or_obj, asked, lambda reader: reader.dataset(asked.root))

    def open_datatree(self, filename_or_obj: Any, **options: Any) -> xr.DataTree:
        """Open a group and all groups below it as a DataTree; parameters and errors are `open_dataset`'s.

        Groups that do not fit those above them are a `LabelError`: open them with `xr.open_groups`.
        """
        from zarrds.datasets.reading.trees import tree_of  # which no other function needs

        return tree_of(self._open_groups("open_datatree", filename_or_obj, options))

    def open_groups_as_dict(self, filename_or_obj: Any, **options: Any) -> dict[str, xr.Dataset]:
        """Open a group and all groups below it, by path; parameters and errors are `open_dataset`'s.

        The paths are absolute, or relative to `group` where one is given.
        """
        return self._open_groups("open_groups_as_dict", filename_or_obj, options)

    def _open_groups(self, function: str, filename_or_obj: Any, options: Mapping[str, Any]) -> dict[str, xr.Dataset]:
        asked = OpenOptions.of(function, options)
        root = asked.root
        found = _read(filename_or_obj, asked, lambda reader: reader.datasets(root))
        below = {path: path[len(root) :].strip("/") for path in found}
        return {(below[path] or ".") if asked.group else f"/{below[path]}": dataset for path, dataset in found.items()}


def _read(source: Source, asked: OpenOptions, read: Callable[[GroupReader], _Found]) -> _Found:
    """What `read` makes of a store, which is opened anew if another writer changes it meanwhile.

    Raises `ConflictError` if that happens each time.
    """
    for _ in range(_ATTEMPTS - 1):
        with suppress(ConflictError):
            return read(GroupReader(source, asked))
    return read(GroupReader(source, asked))


for _function in (
    ZarrdsBackendEntrypoint.open_dataset,
    ZarrdsBackendEntrypoint.open_datatree,
    ZarrdsBackendEntrypoint.open_groups_as_dict,
):
    with_parameters(_function)
