"""``create_array``: a new array in a store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy.typing as npt

from zarrds.arguments import check_flags, check_mappings, check_numbers, check_paths, check_several
from zarrds.arrays.array import Array
from zarrds.arrays.attributes import plain_attributes
from zarrds.arrays.layout import new_array_metadata
from zarrds.arrays.new_node import put_new_node
from zarrds.codecs.defaults import parse_codec
from zarrds.engine.cache import cache_of
from zarrds.errors import locating
from zarrds.metadata.extension import Marks, new_id, with_marks
from zarrds.metadata.model import ZarrFormat
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store, check_prefix

__all__ = ["StoreLike", "create_array"]

StoreLike: TypeAlias = str | os.PathLike[str] | Store


def create_array(
    store: StoreLike,
    *,
    shape: int | Sequence[int],
    dtype: npt.DTypeLike | str | type,
    chunks: Literal["auto"] | int | Sequence[int] = "auto",
    shards: int | Sequence[int] | None = None,
    codecs: Sequence[Any] | None = None,
    fill_value: Any = None,
    dimension_names: Sequence[str | None] | None = None,
    attributes: Mapping[str, object] | None = None,
    zarr_format: ZarrFormat = 3,
    path: str = "",
    overwrite: bool = False,
    workers: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Array:
    """Create an array, and the groups above it that are missing.

    Parameters
    ----------
    store : str, os.PathLike or Store
    shape : int or sequence of int
        In elements.
    dtype : dtype, or "string" or "bytes"
        Anything that NumPy takes for a dtype but object; ``"string"`` (or ``str``) and ``"bytes"`` are of any length.
    chunks : "auto", int or sequence of int
        In elements; -1 is the whole dimension. Automatic chunks have 1 to 2 MiB before compression.
    shards : int or sequence of int, optional
        In elements, multiples of `chunks`; -1 is the whole dimension. Each shard is one value of the store with many
        chunks in it, which are read one by one, but written together.
    codecs : sequence of codecs, optional
        The v3 list of codec objects: array → array, one array → bytes, bytes → bytes. Unless said, Blosc with the
        settings that were measured to serve best, and in v3 a CRC32C checksum. Those that round values, or make
        integers of them, also wrap around and make NaN a number, as they do in zarr-python; `zarrds.save` refuses that.
    fill_value : scalar, optional
        What chunks that were never written hold; zero, the empty string or NaT unless said.
    dimension_names : sequence of str or None, optional
    attributes : mapping, optional
        JSON.
    zarr_format : {3, 2}
    path : str
        Of the array, below the store's root.
    overwrite : bool
        Delete what stands at `path`; else that is an error.
    workers : int, optional
        Threads for one read or write, 1 for none. Unless said, as many as cores, or more where the store waits for a
        disk (durable writes) or a network.
    storage_options : mapping, optional
        As of `zarrds.save`.

    Returns
    -------
    Array
        Open for reading and writing.

    Raises
    ------
    StoreExistsError
        If something stands there already.
    EncodingError, UnsupportedError, MetadataError
        For arguments that do not fit each other, or that Zarr cannot store. Nothing was written then.

    Examples
    --------
    >>> import zarrds
    >>> a = zarrds.create_array(
    ...     zarrds.MemoryStore(), shape=(100, 50), dtype="f4", chunks=(10, 50), dimension_names=("time", "x"),
    ...     codecs=[{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd"}],
    ... )
    >>> a.append([[1.0] * 50])
    (101, 50)
    """
    check_paths(path=path)
    check_several(codecs=codecs, dimension_names=dimension_names)
    check_mappings(attributes=attributes)
    check_flags(overwrite=overwrite)
    check_numbers(workers=workers)
    if dimension_names is not None and not isinstance(dimension_names, str):
        dimension_names = tuple(dimension_names)
    opened = as_store(store, storage_options)
    path = check_prefix(path.strip("/"), opened.path)
    with locating(opened.path, path or "/"):
        metadata = new_array_metadata(
            shape=shape,
            dtype=dtype,
            chunks=chunks,
            shards=shards,
            codecs=None if codecs is None else map(parse_codec, codecs),
            fill_value=fill_value,
            dimension_names=dimension_names,
            attributes=plain_attributes(attributes or {}),
            zarr_format=zarr_format,
        )
    # whoever still reads an array that stood here can tell that this is another
    metadata = with_marks(metadata, Marks(id=new_id()))
    put_new_node(opened, path, metadata, overwrite=overwrite)
    return Array(opened, path, metadata, n_workers=workers, cache=cache_of(None))
