"""The functions that open groups and arrays, and that create groups."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from zarrds.arguments import check_choice, check_flags, check_mappings, check_numbers, check_paths, check_texts
from zarrds.arrays.array import Array
from zarrds.arrays.create import StoreLike
from zarrds.arrays.group import Group, new_group
from zarrds.engine.cache import cache_of
from zarrds.engine.chunk_io import MissingChunks
from zarrds.errors import EncodingError
from zarrds.metadata.formats import module_of
from zarrds.metadata.model import ZarrFormat
from zarrds.metadata.nodes.documents import open_nodes
from zarrds.metadata.nodes.lookup import get_array
from zarrds.storage.locate import CACHE_SIZE, as_cached_store, as_store
from zarrds.storage.protocol import check_prefix

__all__ = ["create_group", "open_array", "open_group"]

Mode = Literal["r", "r+"]


def _is_read_only(mode: Mode) -> bool:
    check_texts(mode=mode)
    if mode not in ("r", "r+"):
        raise EncodingError(
            "unknown mode",
            expected="'r' or 'r+'",
            found=repr(mode),
            mend="Use create_group or create_array for new ones",
        )
    return mode == "r"


def open_group(
    store: StoreLike,
    mode: Mode = "r",
    path: str = "",
    *,
    workers: int | None = None,
    missing_chunks: MissingChunks = None,
    chunk_cache: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    local_cache: str | os.PathLike[str] | None = None,
    cache_size: int = CACHE_SIZE,
) -> Group:
    """Open a group that exists.

    Parameters
    ----------
    store : str, os.PathLike or Store
    mode : {"r", "r+"}
        To read, or to read and write.
    path : str
        Of the group, below the store's root.
    workers : int, optional
        Threads for one read or write, 1 for none. Unless said, as many as cores, or more where the store waits for a
        disk (durable writes) or a network.
    missing_chunks : {"error", "fill"}, optional
        What an absent chunk is: an error, or the fill value. Unless said, it is an error in arrays that zarrds saved as
        a whole, as far as they reached then, and the fill value in others, which is what Zarr means by it.
    chunk_cache : int, optional
        Bytes of decoded chunks of the group's arrays to keep, of which a part was read; 0 for none. Unless said, they
        share one cache of 64 MiB with all else that the process has open. Chunks that were written anew are read anew;
        those of URLs and of strings are never kept.
    storage_options : mapping, optional
        As of `zarrds.save`.
    local_cache : str or os.PathLike, optional
        A folder of this machine that keeps the chunks that were fetched from ``s3://``, ``gs://``, ``az://`` or
        ``https://``, also for other processes: the server is asked whether a chunk is still the same, and sends only
        what is not. Local stores need none.
    cache_size : int
        Bytes of that folder; what was not used for longest goes first.

    Returns
    -------
    Group

    Raises
    ------
    StoreNotFoundError
        If there is no Zarr store.
    NodeNotFoundError
        If the store has no group of that path.
    UnsupportedError
        If `local_cache` is given for another kind of store by URL.

    Examples
    --------
    >>> import zarrds
    >>> store = zarrds.MemoryStore()
    >>> _ = zarrds.create_group(store, attributes={"title": "empty"})
    >>> zarrds.open_group(store).attrs["title"]
    'empty'
    """
    check_paths(path=path)
    check_numbers(workers=workers)
    check_choice(("error", "fill", None), missing_chunks=missing_chunks)
    opened = as_cached_store(store, storage_options, local_cache, cache_size)
    path = check_prefix(path.strip("/"), opened.path)
    return Group(
        opened,
        path,
        open_nodes(opened),
        read_only=_is_read_only(mode),
        n_workers=workers,
        missing_chunks=missing_chunks,
        cache=cache_of(chunk_cache),
    )


def open_array(
    store: StoreLike,
    mode: Mode = "r",
    path: str = "",
    *,
    workers: int | None = None,
    missing_chunks: MissingChunks = None,
    chunk_cache: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    local_cache: str | os.PathLike[str] | None = None,
    cache_size: int = CACHE_SIZE,
) -> Array:
    """Open an array that exists; the parameters and errors are those of `open_group`."""
    check_paths(path=path)
    check_numbers(workers=workers)
    opened = as_cached_store(store, storage_options, local_cache, cache_size)
    path = check_prefix(path.strip("/"), opened.path)
    # who is going to write goes by the array's own document, which another library may have changed
    nodes = open_nodes(opened, consolidated=None if _is_read_only(mode) else False)
    metadata = get_array(opened, nodes, path)
    array = Array(
        opened,
        path,
        metadata,
        read_only=_is_read_only(mode),
        n_workers=workers,
        missing_chunks=missing_chunks,
        cache=cache_of(chunk_cache),
    )
    array.check_codecs()
    return array


def create_group(
    store: StoreLike,
    *,
    path: str = "",
    attributes: Mapping[str, object] | None = None,
    zarr_format: ZarrFormat = 3,
    overwrite: bool = False,
    workers: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Group:
    """Create a group, and the groups above it that are missing.

    Parameters
    ----------
    store : str, os.PathLike or Store
    path : str
        Of the group, below the store's root.
    attributes : mapping, optional
        JSON.
    zarr_format : {3, 2}
    overwrite : bool
        Delete what stands at `path`; else that is an error.
    workers : int, optional
        Threads for one read or write, 1 for none. Unless said, as many as cores, or more where the store waits for a
        disk (durable writes) or a network.
    storage_options : mapping, optional
        As of `zarrds.save`.

    Returns
    -------
    Group
        Open for reading and writing.

    Raises
    ------
    StoreExistsError
        If something stands there already.
    """
    check_paths(path=path)
    check_mappings(attributes=attributes)
    check_flags(overwrite=overwrite)
    check_numbers(workers=workers)
    opened = as_store(store, storage_options)
    path = check_prefix(path.strip("/"), opened.path)
    return new_group(opened, path, attributes, spec=module_of(zarr_format), overwrite=overwrite, n_workers=workers)
