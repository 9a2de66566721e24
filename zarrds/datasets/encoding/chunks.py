"""The chunks and shards of a variable to save: from its encoding, its dask blocks, or automatic; and where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import xarray as xr

from zarrds.arrays.layout import auto_chunks, integers
from zarrds.codecs.blosc import MAX_NBYTES
from zarrds.compat.xarray_internals import is_chunked
from zarrds.datasets.encoding.new_variable import NewVariable
from zarrds.engine.blocks import block_shape, blocks
from zarrds.errors import EncodingError
from zarrds.labels import INDEX_THRESHOLD
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.formats import Format

__all__ = ["BY_DIMENSION", "choose_chunks", "chunks_beside", "source_chunks", "whole_chunks"]

# the key of an encoding with the chunks that were asked for all variables, by dimension
BY_DIMENSION = "chunks of dimensions"

# of labels that are searched where they lie, of which a search reads one chunk a label
_SEARCHED_CHUNK = 2**15

# of small arrays: so much room is left for more along the first dimension
_ROOM_NBYTES = 64 * 1024  # where they begin with one step
_MORE_ROOM_NBYTES = 16 * 1024  # else: most of such arrays never grow, and what is not there is written and read too
_MAX_STEPS = 1024
_SHARD_NBYTES = 64 * 1024 * 1024
# larger chunks (in bytes) that an earlier store left are cut to the array, as they may be those of one that was larger
_MAX_PADDED_CHUNK = 4 * 1024 * 1024
# chunks of a netCDF file that are smaller than this make a slow store, and are not carried over: also where they are
# all that there is, as the first step of a file that grows
_MIN_NETCDF_CHUNK = 64 * 1024


def source_chunks(variable: xr.Variable) -> tuple[int, ...] | None:
    """The chunks that a variable has where it is read from, as its encoding tells; None if it tells of none that fit.

    Examples
    --------
    >>> source_chunks(xr.Variable("x", [1, 2, 3], {}, {"chunks": (2,)}))
    (2,)
    """
    found = variable.encoding.get("chunks") or variable.encoding.get("chunksizes")
    if isinstance(found, tuple | list) and len(found) == variable.ndim and all(found):
        return tuple(map(int, found))
    return None


def whole_chunks(variable: xr.Variable, nbytes: int) -> Iterator[tuple[slice, ...]]:
    """The selections of parts of a variable that have about so many bytes, of whole chunks of where it is read from."""
    block = block_shape(variable.shape, source_chunks(variable), max(variable.dtype.itemsize, 1), nbytes)
    return blocks(variable.shape, block)


def choose_chunks(
    new: NewVariable, data_type: DataType, spec: Format
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The shapes of a chunk and, where there are any, of a shard, in elements.

    Of the encoding ``chunks``, ``shards``, ``chunksizes`` and ``contiguous`` count.

    Raises
    ------
    EncodingError
        For chunks or shards that were asked for and are none.
    """
    variable = new.variable
    encoding = new.encoding if new.is_order else _by_name(variable, new.encoding, data_type)
    chunks = _chunks(new, encoding, data_type)
    by_dimension = encoding.get(BY_DIMENSION)
    if by_dimension and not (new.is_order and encoding.get("chunks") is not None):
        whole = dict(zip(variable.dims, (max(1, size) for size in variable.shape), strict=True))
        sizes = {dim: whole.get(dim, 1) if size == -1 else size for dim, size in by_dimension.items()}
        chunks = tuple(sizes.get(dim, chunk) for dim, chunk in zip(variable.dims, chunks, strict=True))
        encoding = {key: value for key, value in encoding.items() if key != "shards" or new.is_order}
    asked = encoding.get("shards")
    if isinstance(asked, str) and asked == "auto":
        asked = _auto_shards(variable.shape, chunks, data_type) if spec.HAS_SHARDS else None
    if asked is None:
        return chunks, None
    shards = _chunk_sizes(asked, variable.shape)
    if new.is_order:
        if shards is None:
            raise EncodingError(
                "encoding['shards'] is wrong", expected=f"{variable.ndim} positive integers", found=f"{asked!r:.100}"
            )
        return chunks, shards
    fits = spec.HAS_SHARDS and shards is not None and not any(s % c for s, c in zip(shards, chunks, strict=True))
    return chunks, shards if fits else None


def _chunks(new: NewVariable, encoding: Mapping[str, Any], data_type: DataType) -> tuple[int, ...]:
    """Chunks from the encoding, else the dask chunks, else automatic ones."""
    variable = new.variable
    asked = _asked_chunks(new, encoding, data_type)
    if new.is_order and asked is not None:
        return asked
    blocks = _dask_chunks(variable, data_type)
    if asked is not None and (variable.chunks is None or blocks is None or _holds(asked, variable.chunks)):
        return asked
    if blocks is None and variable.dims == (new.name,) and variable.size > INDEX_THRESHOLD:
        return (_SEARCHED_CHUNK,)
    if blocks is not None and any(len(sizes) > 1 for sizes in variable.chunks or ()):
        return blocks  # somebody has cut it
    return _with_room(blocks or auto_chunks(variable.shape, data_type), variable.shape, _itemsize(data_type))


def _itemsize(data_type: DataType) -> int:
    return max(data_type.dtype.itemsize, 1)


def _with_room(chunks: tuple[int, ...], shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Chunks with room for more along a first dimension of few steps: else so few would be a file for ever."""
    if not shape or prod(shape) == 0 or chunks[0] < shape[0]:
        return chunks
    room = _ROOM_NBYTES if shape[0] == 1 else _MORE_ROOM_NBYTES
    steps = room // (prod(chunks[1:]) * itemsize)
    return (max(chunks[0], min(_MAX_STEPS, steps)), *chunks[1:])


def _by_name(variable: xr.Variable, encoding: Mapping[str, Any], data_type: DataType) -> Mapping[str, Any]:
    """An encoding that came along, with its chunks in the order that the variable's dimensions have now."""
    preferred = encoding.get("preferred_chunks")
    names = list(preferred) if isinstance(preferred, Mapping) else []
    has_more = bool(names) and set(names) < set(variable.dims)
    if names == list(variable.dims) or not (has_more or set(variable.dims) <= set(names)):
        return encoding
    ordered = dict(encoding)
    beside: dict[Any, int] = {}
    for key in ("chunks", "shards", "chunksizes"):
        sizes = encoding.get(key)
        if isinstance(sizes, Sequence) and not isinstance(sizes, str) and len(sizes) == len(names):
            known = dict(zip(names, sizes, strict=True))
            if has_more and not beside:
                beside = chunks_beside(variable, known, _itemsize(data_type))
            ordered[key] = tuple({**known, **beside}[dim] for dim in variable.dims)
    return ordered


def chunks_beside(variable: xr.Variable, known: Mapping[Any, int], itemsize: int) -> dict[Any, int]:
    """Chunks along dimensions that are new beside those of known chunks: all of them, where that is not large."""
    new = [dim for dim in variable.dims if dim not in known]
    sizes = {dim: known.get(dim, size or 1) for dim, size in variable.sizes.items()}
    while prod(sizes.values()) * itemsize > _MAX_PADDED_CHUNK and any(sizes[dim] > 1 for dim in new):
        longest = max(new, key=sizes.__getitem__)
        sizes[longest] = -(-sizes[longest] // 2)
    chunks = tuple(sizes.values())
    if variable.dims[0] in new:
        chunks = _with_room(chunks, [size or 1 for size in variable.shape], itemsize)  # also where there is none yet
    return {dim: chunk for dim, chunk in zip(sizes, chunks, strict=True) if dim in new}


def _auto_shards(shape: Sequence[int], chunks: tuple[int, ...], data_type: DataType) -> tuple[int, ...]:
    """Shards of up to 64 MiB before compression, whole chunks each, larger along the last dimensions first.

    Examples
    --------
    >>> _auto_shards((744, 721, 1440), (47, 91, 90), DataType.from_numpy(np.dtype("f4")))
    (47, 182, 1440)
    """
    factors = [1] * len(chunks)
    wanted = [-(-size // chunk) or 1 for size, chunk in zip(shape, chunks, strict=True)]
    nbytes = prod(chunks) * _itemsize(data_type)
    for axis in reversed(range(len(chunks))):
        room = max(1, _SHARD_NBYTES // (nbytes * prod(factors)))
        factors[axis] = min(wanted[axis], room)
    return tuple(chunk * factor for chunk, factor in zip(chunks, factors, strict=True))


def _asked_chunks(new: NewVariable, encoding: Mapping[str, Any], data_type: DataType) -> tuple[int, ...] | None:
    variable = new.variable
    asked = encoding.get("chunks")
    if asked is None and not encoding.get("contiguous"):
        asked = encoding.get("chunksizes")
    if asked is None or (isinstance(asked, str) and asked == "auto"):
        return None
    chunks = _chunk_sizes(asked, variable.shape)
    if new.is_order:
        if chunks is None:
            raise EncodingError(
                "encoding['chunks'] is wrong", expected=f"{variable.ndim} positive integers", found=f"{asked!r:.100}"
            )
        return chunks
    if chunks is None:
        return None
    # what an earlier file left may be the chunks of a variable that was cut since
    cut = tuple(min(chunk, max(1, size)) for chunk, size in zip(chunks, variable.shape, strict=True))
    itemsize = data_type.dtype.itemsize
    if encoding.get("chunks") is None:
        return cut if prod(cut) * itemsize >= _MIN_NETCDF_CHUNK else None
    if prod(chunks) * itemsize > _MAX_PADDED_CHUNK:
        chunks = cut
    return chunks if prod(chunks) * itemsize <= MAX_NBYTES else None


def _chunk_sizes(asked: Any, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Chunks as integers, one for each dimension, or None if they are not to be understood."""
    try:
        sizes = integers(asked, "chunks", len(shape))
    except EncodingError:
        return None
    if len(sizes) != len(shape) or not all(chunk > 0 or chunk == -1 for chunk in sizes):
        return None
    return tuple(max(1, size) if chunk == -1 else chunk for chunk, size in zip(sizes, shape, strict=True))


def _dask_chunks(variable: xr.Variable, data_type: DataType) -> tuple[int, ...] | None:
    """The size of a dask array's blocks, if they are even and small enough for one chunk."""
    if not is_chunked(variable) or variable.chunks is None or variable.size == 0:
        return None
    even = all(len(set(sizes[:-1])) <= 1 and sizes[-1] <= sizes[0] for sizes in variable.chunks)
    blocks = tuple(sizes[0] for sizes in variable.chunks)
    small = prod(blocks) * data_type.dtype.itemsize <= MAX_NBYTES
    return blocks if even and small and all(blocks) else None


def _holds(chunks: tuple[int, ...], blocks: Sequence[Sequence[int]]) -> bool:
    """Whether no chunk is shared by two blocks."""
    return all(
        not np.any(np.cumsum(sizes)[:-1] % chunk) for chunk, sizes in zip(chunks, blocks, strict=True) if len(sizes) > 1
    )
