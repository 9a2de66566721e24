"""One chunk <-> its bytes: the codecs of an array, in order.

A chunk decodes straight into the memory that it is given wherever its last codec can do so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from zarrds.codecs import registry
from zarrds.codecs.base import (
    AnyArray,
    ArrayArrayCodec,
    ArrayBytesCodec,
    Buffer,
    BytesBytesCodec,
    ChunkSpec,
    Parts,
)
from zarrds.codecs.layout import Bytes
from zarrds.errors import ChunkError, MetadataError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.model import CodecObject

__all__ = ["Pipeline", "build_pipeline"]


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
    # set when a chunk's bytes, once decompressed, are its elements in memory, but for their byte order
    in_place: bool = field(init=False)
    _swap: np.dtype[Any] | None = field(init=False)

    def __post_init__(self) -> None:
        stored = self.serializer.stored_dtype(self.spec.dtype) if isinstance(self.serializer, Bytes) else None
        in_place = stored is not None and not self.filters and bool(self.compressors)
        object.__setattr__(self, "in_place", in_place and self.compressors[0][1] is not None)
        object.__setattr__(self, "_swap", stored if stored is not None and stored != self.spec.dtype else None)

    def decode(self, data: Buffer, out: AnyArray | None = None) -> AnyArray:
        """Decode one chunk.

        Parameters
        ----------
        data : bytes-like
            That nobody else can change meanwhile.
        out : ndarray, of the chunk's shape and dtype, C-contiguous, optional
            Memory that may be decoded into.

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
        target: AnyArray | None = None
        if self.in_place and out is not None and out.size:
            target = out.reshape(-1).view(np.uint8)
        last = len(self.compressors) - 1
        for i, (codec, size) in enumerate(reversed(self.compressors)):
            data = codec.decode(data, size, target if i == last else None)
        if out is not None and target is not None and _is_memory_of(data, target):
            if self._swap is not None:
                out.view(self._swap).byteswap(inplace=True)
            return out
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


def _is_memory_of(data: Buffer, target: AnyArray) -> bool:
    return isinstance(data, memoryview) and data.obj is target  # type: ignore[comparison-overlap]  # arrays are buffers


def build_pipeline(codecs: Sequence[CodecObject], chunks: tuple[int, ...], data_type: DataType) -> Pipeline:
    """The pipeline of an array with these codec objects.

    Parameters
    ----------
    codecs : sequence of codec objects
        As in a v3 document.
    chunks : tuple of int
        The chunk's shape, in elements.
    data_type : DataType

    Raises
    ------
    UnsupportedError
        For a codec that zarrds does not have, by its name.
    MetadataError
        For codecs in an order that makes no sense, or that do not fit the data type.
    """
    return _build(json.dumps([dict(c) for c in codecs], sort_keys=True), chunks, data_type)


@lru_cache(maxsize=1024)
def _build(codecs: str, chunks: tuple[int, ...], data_type: DataType) -> Pipeline:
    objects: list[CodecObject] = json.loads(codecs)
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
    for codec_object in objects[:split]:
        codec = registry.array_array(codec_object, spec)
        filters.append((codec, spec))
        spec = codec.resolve(spec)
    serializer = registry.array_bytes(objects[split])
    size = serializer.encoded_size(spec)
    itemsize = 1 if spec.data_type.is_variable_length else spec.dtype.itemsize
    compressors = []
    dtype = spec.dtype
    for codec_object in objects[split + 1 :]:
        compressor, dtype = registry.bytes_bytes(codec_object, dtype, itemsize)
        compressors.append((compressor, size))
        size = compressor.encoded_size(size)
    return Pipeline(chunk, tuple(filters), serializer, spec, tuple(compressors))
