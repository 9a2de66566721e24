"""How a new array is laid out: its chunks and its metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from zarrds.arguments import whole_number
from zarrds.codecs.blosc import MAX_NBYTES
from zarrds.codecs.defaults import completed, default_codecs
from zarrds.codecs.pipeline import build_pipeline, with_all_settings
from zarrds.errors import EncodingError, UnsupportedError
from zarrds.metadata.dtypes import BYTES, STRING, DataType
from zarrds.metadata.fields import MAX_SIZE, JSONObject
from zarrds.metadata.fill_values import decode_fill_value, default_fill_value, encode_fill_value
from zarrds.metadata.formats import Format, module_of
from zarrds.metadata.model import ArrayMetadata, ChunkKeyEncoding, CodecObject, Sharded, ZarrFormat

__all__ = ["auto_chunks", "data_type_of", "integers", "new_array_metadata"]

# filters of format 3 of whose settings zarr-python fills in none
_INCOMPLETE = ("numcodecs.delta",)
# automatic chunks have between half of this and this many bytes before compression
_TARGET_NBYTES = 2 * 1024 * 1024
# Python objects cost more than their pointers: 8 bytes of pointer stand for a string of this many bytes
_OBJECT_NBYTES = 32
# a 1-D array (a coordinate, mostly) of up to this many bytes stays in one chunk
_SMALL_COORDINATE = 4 * 1024 * 1024
# elements that a dimension without any counts as: chunks of one would make a file of every step that is appended
_EMPTY = 1024


def data_type_of(dtype: npt.DTypeLike | str | type | DataType) -> DataType:
    """The data type that stores `dtype`: NumPy's dtypes, ``str``/``"string"`` and ``"bytes"`` of any length."""
    if isinstance(dtype, DataType):
        return dtype
    if dtype is str or (isinstance(dtype, str) and dtype == "string"):
        return STRING
    if dtype is bytes or (isinstance(dtype, str) and dtype in ("bytes", "variable_length_bytes")):
        return BYTES
    try:
        return DataType.from_numpy(np.dtype(dtype))
    except UnsupportedError as error:
        raise EncodingError(error.problem, mend=error.mend) from error
    except (TypeError, ValueError, SyntaxError) as error:  # NumPy reads text such as "3i4, f8" like Python does
        raise EncodingError(
            f"not a dtype: {error}",
            found=f"{dtype!r:.80}",
            mend="Convert the data to numbers, booleans, strings, bytes or datetimes first",
        ) from error


def auto_chunks(shape: Sequence[int], data_type: DataType) -> tuple[int, ...]:
    """Chunks of 1 to 2 MiB before compression, by halving the longest dimension over and over.

    Parameters
    ----------
    shape : sequence of int
        Of the array, in elements.
    data_type : DataType

    Returns
    -------
    tuple of int
        In elements. A 1-D array of at most 4 MiB stays in one chunk. A dimension without elements counts as one of
        1024: it is there to be appended to.

    Examples
    --------
    >>> auto_chunks((744, 721, 1440), DataType.from_numpy(np.dtype("f4")))
    (47, 91, 90)
    """
    itemsize = _OBJECT_NBYTES if data_type.is_variable_length else data_type.dtype.itemsize
    chunks = [size or _EMPTY for size in shape]
    limit = _SMALL_COORDINATE if len(chunks) == 1 else _TARGET_NBYTES
    if prod(chunks) * itemsize <= limit:
        return tuple(chunks)
    while prod(chunks) * itemsize > _TARGET_NBYTES and max(chunks) > 1:
        axis = chunks.index(max(chunks))
        chunks[axis] = -(-chunks[axis] // 2)
    return tuple(chunks)


def integers(values: Any, what: str, repeat: int = 1) -> tuple[int, ...]:
    """A sequence of integers, NumPy's among them, as Python's own; or one integer, repeated."""
    with suppress(TypeError):
        return (whole_number(values),) * repeat
    try:
        if isinstance(values, bytes | bytearray | Mapping | Set):  # integers, or none, in no order that was meant
            raise TypeError
        return tuple(map(whole_number, values))
    except TypeError as error:
        raise EncodingError(f"{what} must be integers", found=f"{values!r:.80}") from error


def _parse_chunks(
    chunks: Literal["auto"] | int | Sequence[int] | None, shape: tuple[int, ...], data_type: DataType
) -> tuple[int, ...]:
    if chunks is None or (isinstance(chunks, str) and chunks == "auto"):
        return auto_chunks(shape, data_type)
    given = integers(chunks, "chunks", len(shape))
    if len(given) != len(shape):
        raise EncodingError("chunks do not fit the shape", expected=f"{len(shape)} numbers", found=given)
    # -1 is the whole dimension, as in dask and zarr-python
    sizes = tuple(max(1, size) if chunk == -1 else chunk for chunk, size in zip(given, shape, strict=True))
    if any(size < 1 for size in sizes):
        raise EncodingError("chunks have at least one element in each dimension", found=given)
    return sizes


def _with_byte_order(
    data_type: DataType, codecs: tuple[CodecObject, ...], *, is_asked: bool
) -> tuple[DataType, tuple[CodecObject, ...]]:
    """The same for a format that says the byte order in the dtype: that of the ``bytes`` codec, if it was asked for."""
    kept: list[CodecObject] = []
    for codec in codecs:
        endian = codec.get("configuration", {}).get("endian") if codec["name"] == "bytes" else None
        if endian in ("little", "big"):
            codec = {"name": "bytes"}
            if is_asked and not data_type.is_variable_length:
                data_type = DataType(data_type.name, data_type.dtype.newbyteorder(endian))
        kept.append(codec)
    return data_type, tuple(kept)


def _sharded(
    shards: int | Sequence[int],
    chunks: tuple[int, ...],
    shape: tuple[int, ...],
    codecs: tuple[CodecObject, ...],
    spec: Format,
) -> tuple[tuple[int, ...], tuple[CodecObject, ...]]:
    """The shape of a shard, and the codec that puts chunks with these codecs into it."""
    if not spec.HAS_SHARDS:
        raise UnsupportedError(
            f"Zarr v{spec.zarr_format} has no shards", mend="Leave shards out, or pass zarr_format=3"
        )
    given = integers(shards, "shards", len(shape))
    # the whole dimension, in whole chunks
    sizes = tuple(-(-max(1, n) // c) * c if s == -1 else s for s, c, n in zip(given, chunks, shape, strict=False))
    if len(given) != len(shape) or any(s < 1 or s % c for s, c in zip(sizes, chunks, strict=True)):
        raise EncodingError("shards must be multiples of chunks", expected=f"multiples of {chunks}", found=given)
    little: CodecObject = {"name": "bytes", "configuration": {"endian": "little"}}
    return sizes, (Sharded(chunks, codecs, (little, {"name": "crc32c"})).codec(),)


def new_array_metadata(
    *,
    shape: int | Iterable[int],
    dtype: npt.DTypeLike | str | type | DataType,
    chunks: Literal["auto"] | int | Sequence[int] | None = "auto",
    shards: int | Sequence[int] | None = None,
    codecs: Iterable[CodecObject] | None = None,
    fill_value: Any = None,
    dimension_names: Sequence[str | None] | None = None,
    attributes: JSONObject | None = None,
    zarr_format: ZarrFormat = 3,
    chunk_key_encoding: ChunkKeyEncoding | None = None,
    null_fill_value: bool = False,
) -> ArrayMetadata:
    """The metadata of an array that does not exist yet, checked as if it had been read.

    Parameters
    ----------
    shape, dtype, chunks, shards, fill_value, dimension_names, attributes, zarr_format
        As in `zarrds.create_array`.
    codecs : iterable of CodecObject, optional
        As `parse_codec` makes them of what users write.
    chunk_key_encoding : ChunkKeyEncoding, optional
        The format's own unless said.
    null_fill_value : bool
        Leave the fill value out where it is None, in place of zero: of formats in which it is what is missing.

    Raises
    ------
    EncodingError, UnsupportedError, MetadataError
        For arguments that do not fit each other.
    """
    spec = module_of(zarr_format)
    sizes = integers(shape, "shape")
    if any(not 0 <= size <= MAX_SIZE for size in sizes):
        raise EncodingError("no array has this shape", expected="sizes from 0 to 2**63 - 1", found=sizes)
    data_type = data_type_of(dtype)
    if not (spec.IS_ORDER_IN_DTYPE or data_type.is_variable_length):
        data_type = DataType(data_type.name, data_type.dtype.newbyteorder("="))
    chunk_shape = _parse_chunks(chunks, sizes, data_type)
    objects = default_codecs(data_type, spec) if codecs is None else tuple(codecs)
    if spec.IS_ORDER_IN_DTYPE:
        data_type, objects = _with_byte_order(data_type, objects, is_asked=codecs is not None)
    pipeline = build_pipeline(objects, chunk_shape, data_type)
    pipeline.check_encoding()
    objects = tuple(completed(codec, pipeline.serialized.data_type, spec) for codec in objects)
    objects = with_all_settings(objects, pipeline, None if spec.HAS_CODECS_OF_NUMCODECS else _INCOMPLETE)
    if shards is not None:
        chunk_shape, objects = _sharded(shards, chunk_shape, sizes, objects, spec)
        build_pipeline(objects, chunk_shape, data_type)
    if any(size > MAX_SIZE for size in chunk_shape):
        raise EncodingError("chunks are too large", expected="sizes up to 2**63 - 1", found=chunk_shape)
    if any(c["name"] == "blosc" for c in objects) and prod(chunk_shape) * data_type.dtype.itemsize > MAX_NBYTES:
        raise EncodingError(
            "chunks are too large for Blosc", expected=f"at most {MAX_NBYTES} bytes", found=f"chunks {chunk_shape}"
        )
    if dimension_names is not None and (
        len(dimension_names) != len(sizes) or any(n is not None and not isinstance(n, str) for n in dimension_names)
    ):
        raise EncodingError(
            "dimension_names do not fit the shape",
            expected=f"{len(sizes)} names, each a str or None",
            found=f"{dimension_names!r:.80}",
        )
    if fill_value is None and not null_fill_value:
        fill_value = default_fill_value(data_type)
    # to JSON and back: what is kept is what a reader will see
    encoded = encode_fill_value(fill_value, data_type, zarr_format=zarr_format)
    return ArrayMetadata(
        shape=sizes,
        data_type=data_type,
        chunks=chunk_shape,
        codecs=objects,
        fill_value=decode_fill_value(encoded, data_type),
        chunk_key_encoding=chunk_key_encoding or spec.KEY_ENCODING,
        dimension_names=None if dimension_names is None else tuple(dimension_names),
        attributes=dict(attributes or {}),
        zarr_format=zarr_format,
    )
