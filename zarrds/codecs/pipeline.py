"""One chunk <-> its bytes: the codecs of an array, in order.

A chunk decodes straight into the memory that it is given wherever its last codec can do so.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from zarrds.codecs import registry
from zarrds.codecs.base import (
    MAX_DECODED,
    AnyArray,
    ArrayArrayCodec,
    ArrayBytesCodec,
    BlockCodec,
    Buffer,
    BytesBytesCodec,
    ChunkSpec,
    Parts,
    Span,
)
from zarrds.codecs.blosc import Blosc
from zarrds.codecs.compressors import Compressor
from zarrds.codecs.filters import BytesFilter, Checksum, Filter, all_settings
from zarrds.codecs.layout import Bytes
from zarrds.codecs.sharding import Sharding
from zarrds.errors import ChunkError, MetadataError, ZarrdsError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.fields import MALFORMED, Keyed, keyed
from zarrds.metadata.model import SHARDING, CodecObject, Sharded

# bytes that a codec may add to a chunk that cannot be compressed, beyond as many as it has
_OVERHEAD = 2**16
_SHARDING = SHARDING.encode()

__all__ = ["Pipeline", "build_pipeline", "with_all_settings"]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The codecs of one array.

    Attributes
    ----------
    spec : ChunkSpec
        Of the decoded chunk.
    filters : tuple of (array → array codec, ChunkSpec)
        Each with what it is given when it encodes.
    serializer : array → bytes codec
    serialized : ChunkSpec
        What the serializer is given when it encodes.
    compressors : tuple of (bytes → bytes codec, size)
        Each with the bytes that it is given when it encodes, None where that varies.
    """

    spec: ChunkSpec
    filters: tuple[tuple[ArrayArrayCodec, ChunkSpec], ...]
    serializer: ArrayBytesCodec
    serialized: ChunkSpec
    compressors: tuple[tuple[BytesBytesCodec, int | None], ...]
    # all compressors but the first, as they decode
    _later: tuple[tuple[BytesBytesCodec, int | None], ...] = field(init=False)
    # the first, if its bytes are the chunk's elements in memory, but for their byte order, and it can decode there
    _into: BlockCodec | None = field(init=False)
    _swap: np.dtype[Any] | None = field(init=False)
    most_encoded_nbytes: int = field(init=False)
    """Bytes that no encoded chunk is larger than, whoever wrote it; generous."""

    def __post_init__(self) -> None:
        dtype = self.spec.dtype
        stored = self.serializer.stored_dtype(dtype) if isinstance(self.serializer, Bytes) else None
        first, size = self.compressors[0] if self.compressors else (None, None)
        in_place = (
            # the fields of a structured dtype may differ in their order, and characters are looked at by the serializer
            stored in (dtype, dtype.newbyteorder("S")) and dtype.kind != "U" and not self.filters and size is not None
        )
        object.__setattr__(self, "_later", self.compressors[:0:-1])
        object.__setattr__(self, "_into", first if in_place and isinstance(first, Blosc) else None)
        object.__setattr__(self, "_swap", stored if stored != dtype else None)
        object.__setattr__(self, "most_encoded_nbytes", self._most_encoded_nbytes())

    def check_encoding(self) -> None:
        """Raise `MetadataError` if a codec can only decode."""
        for codec, _ in self.compressors:
            if isinstance(codec, Blosc | Compressor):
                codec.check_encoding()

    @property
    def in_place(self) -> bool:
        """Whether a chunk can be decoded into memory that is given."""
        return self._into is not None

    @property
    def has_blocks(self) -> bool:
        """Whether a part of a chunk can be decoded by itself."""
        return self._into is not None and self._swap is None

    @property
    def shards(self) -> Sharding | None:
        """The sharding codec, if inner chunks lie as they are in a chunk's bytes and can be read by themselves."""
        codec = self.serializer
        return codec if isinstance(codec, Sharding) and not self.filters and not self.compressors else None

    @property
    def encoded_nbytes(self) -> int | None:
        """Bytes of an encoded chunk, None where that varies."""
        size = self.serializer.encoded_size(self.serialized)
        for compressor, _ in self.compressors:
            size = compressor.encoded_size(size)
        return size

    def _most_encoded_nbytes(self) -> int:
        size = self.serializer.encoded_size(self.serialized)
        if size is None:
            plain = self.serialized.nbytes
            if plain is None:  # of any length
                return MAX_DECODED
            n = prod(self.serializer.grid) if isinstance(self.serializer, Sharding) else 1
            size = 2 * plain + n * _OVERHEAD
        for compressor, _ in self.compressors:
            known = compressor.encoded_size(size)
            size = 2 * size + _OVERHEAD if known is None else known
        return size

    def decode(self, data: Buffer, out: AnyArray | None = None, span: Span | None = None) -> AnyArray:
        """Decode one chunk.

        Parameters
        ----------
        data : bytes-like
            That nobody else can change meanwhile.
        out : ndarray, of the chunk's shape and dtype, C-contiguous, optional
            Memory that may be decoded into.
        span : (int, int), optional
            Which bytes of the decoded chunk are wanted, if `has_blocks`: others of `out` are then undefined.

        Returns
        -------
        ndarray, of the chunk's shape
            `out` itself if the chunk was decoded there; else another array, perhaps a view of `data` or of a dtype
            in another byte order.

        Raises
        ------
        ChunkError
            If the bytes are not a chunk of this array.
        """
        for codec, size in self._later:
            data = codec.decode(data, size)
        if out is not None and self._into is not None and out.size:
            self._into.decode_into(data, out, span if self.has_blocks else None)
            if self._swap is not None:
                out.view(self._swap).byteswap(inplace=True)
            return out
        if self.compressors:
            codec, size = self.compressors[0]
            data = codec.decode(data, size)
        array = self.serializer.decode(data, self.serialized)
        for codec_, spec in reversed(self.filters):
            array = codec_.decode(array, spec)
        if array.shape != self.spec.shape:
            raise ChunkError("chunk decodes to a wrong shape", expected=self.spec.shape, found=array.shape)
        return array

    def encode(self, array: AnyArray) -> Parts:
        """The bytes of one chunk, in parts; `array` has the chunk's shape and dtype."""
        for codec, _ in self.filters:
            array = codec.encode(array)
        parts: Parts = (self.serializer.encode(array),)
        for compressor, _ in self.compressors:
            parts = compressor.encode(parts)
        return parts


def build_pipeline(
    codecs: Sequence[CodecObject], chunks: tuple[int, ...], data_type: DataType, fill_value: Any = None
) -> Pipeline:
    """The pipeline of an array with these codec objects.

    Parameters
    ----------
    codecs : sequence of codec objects
        As in a v3 document.
    chunks : tuple of int
        The chunk's shape, in elements.
    data_type : DataType
    fill_value : scalar, optional
        Of inner chunks that a shard does not have.

    Raises
    ------
    UnsupportedError
        For a codec that zarrds does not have, by its name.
    MetadataError
        For codecs in an order that makes no sense, or that do not fit the data type.
    """
    try:
        described = keyed(tuple(codecs))
    except ValueError as error:
        raise MetadataError("the settings of a codec are nested too deeply, or no JSON") from error
    try:
        return _made(described, chunks, data_type, fill_value)
    except ZarrdsError:
        raise
    except MALFORMED as error:
        raise MetadataError(f"the settings of a codec are malformed: {error}") from error


def with_all_settings(
    codecs: Sequence[CodecObject], pipeline: Pipeline, names: Container[str] | None = None
) -> tuple[CodecObject, ...]:
    """The codec objects of a pipeline, with the settings of filters (of those with `names`) that follow from the array.

    Readers of format 2 take others for them (numcodecs shuffles elements of 4 bytes), or cannot do without.
    """
    made = [*(codec for codec, _ in pipeline.filters), None, *(codec for codec, _ in pipeline.compressors)]
    found: list[CodecObject] = []
    for described, codec in zip(codecs, made, strict=True):
        if isinstance(codec, Filter | BytesFilter | Checksum) and (names is None or described["name"] in names):
            settings = all_settings(described.get("configuration", {}), codec)
            described = {"name": described["name"], "configuration": settings} if settings else described
        found.append(described)
    return tuple(found)


def _made(described: Keyed, chunks: tuple[int, ...], data_type: DataType, fill_value: Any) -> Pipeline:
    if described.find(_SHARDING) >= 0:  # the only codec that must know the fill value, which need not be hashable
        return _make(described.value, chunks, data_type, fill_value)
    return _build(described, chunks, data_type)


@lru_cache(maxsize=1024)
def _build(described: Keyed, chunks: tuple[int, ...], data_type: DataType) -> Pipeline:
    return _make(described.value, chunks, data_type, None)


def _make(objects: Sequence[CodecObject], chunks: tuple[int, ...], data_type: DataType, fill_value: Any) -> Pipeline:
    kinds = [registry.kind(c["name"]) for c in objects]
    if kinds.count("array_bytes") != 1:
        raise MetadataError(
            "codecs are out of order",
            expected="exactly one array → bytes codec",
            found=", ".join(c["name"] for c in objects) or "none",
        )
    split = kinds.index("array_bytes")
    spec = chunk = ChunkSpec(chunks, data_type)
    filters = []
    for described in objects[:split]:
        codec = registry.array_array(described, spec)
        filters.append((codec, spec))
        spec = codec.resolve(spec)
    serializer = _serializer(objects[split], spec, fill_value)
    size = serializer.encoded_size(spec)
    itemsize = 1 if spec.data_type.is_variable_length else spec.dtype.itemsize
    compressors = []
    dtype = spec.dtype
    for described in objects[split + 1 :]:
        compressor, dtype = registry.bytes_bytes(described, dtype, itemsize)
        compressors.append((compressor, size))
        size = compressor.encoded_size(size)
    return Pipeline(chunk, tuple(filters), serializer, spec, tuple(compressors))


def _serializer(codec: CodecObject, spec: ChunkSpec, fill_value: Any) -> ArrayBytesCodec:
    return _sharding(codec, spec, fill_value) if codec["name"] == SHARDING else registry.array_bytes(codec)


def _sharding(codec: CodecObject, spec: ChunkSpec, fill_value: Any) -> Sharding:
    """The sharding codec, whose configuration has pipelines in it."""
    settings = Sharded.of(codec, len(spec.shape))
    grid = tuple(size // chunk for size, chunk in zip(spec.shape, settings.chunks, strict=True))
    index = build_pipeline(settings.index_codecs, (*grid, 2), DataType.from_v3("uint64"))
    if index.encoded_nbytes is None:
        raise MetadataError(
            "index_codecs must give the index a fixed size", codec=SHARDING, found=settings.index_codecs
        )
    return Sharding(
        chunks=settings.chunks,
        grid=grid,
        inner=build_pipeline(settings.codecs, settings.chunks, spec.data_type, fill_value),
        index=index,
        index_nbytes=index.encoded_nbytes,
        index_at_end=settings.index_location == "end",
        fill_value=fill_value,
    )
