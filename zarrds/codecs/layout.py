"""Codecs that lay arrays out: ``transpose``, ``bytes``, ``vlen-utf8``, ``vlen-bytes`` and v2's ``json2``.

Sources: Zarr v3 "Transpose codec" and "Bytes codec"; numcodecs' documentation of the formats of the others.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from zarrds.codecs.base import AnyArray, Buffer, ChunkSpec, as_bytes, numcodecs_module
from zarrds.errors import ChunkError, EncodingError, MetadataError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.fields import JSONObject
from zarrds.metadata.model import CodecObject

__all__ = ["Bytes", "JsonObjects", "Transpose", "VariableLength"]

_MAX_CODE_POINT = 0x10FFFF
# of an element of variable length; what reads it takes the length for a signed number
_MAX_LENGTH = 2**31 - 1
_ROOM = bytes(4)


@dataclass(frozen=True, slots=True)
class Transpose:
    """Permutes the dimensions: axis ``i`` of the encoded array is axis ``order[i]`` of the chunk."""

    order: tuple[int, ...]

    @classmethod
    def from_configuration(cls, configuration: JSONObject, ndim: int) -> Self:
        order = configuration.get("order")
        if order in ("C", "F"):  # an early draft of v3
            order = list(range(ndim)) if order == "C" else list(range(ndim))[::-1]
        if (
            not isinstance(order, list | tuple)
            or any(isinstance(axis, bool) or not isinstance(axis, int) for axis in order)
            or sorted(order) != list(range(ndim))
        ):
            raise MetadataError(
                "invalid order", codec="transpose", expected=f"a permutation of {list(range(ndim))}", found=order
            )
        return cls(tuple(order))

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        return replace(spec, shape=tuple(spec.shape[axis] for axis in self.order))

    def encode(self, array: AnyArray) -> AnyArray:
        return array.transpose(self.order)

    def decode(self, array: AnyArray, spec: ChunkSpec) -> AnyArray:
        return array.transpose(np.argsort(self.order))


@dataclass(frozen=True, slots=True)
class Bytes:
    """The elements in C order.

    Attributes
    ----------
    endian : {"little", "big", None}
        None keeps the byte order of the data type.
    """

    endian: Literal["little", "big"] | None

    @classmethod
    def from_configuration(cls, configuration: JSONObject) -> Self:
        endian = configuration.get("endian")
        if endian not in ("little", "big", None):
            raise MetadataError("unknown endian", codec="bytes", expected="'little' or 'big'", found=repr(endian))
        return cls(endian)

    def stored_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """`dtype` as it lies on disk."""
        return dtype if self.endian is None else dtype.newbyteorder(self.endian)

    def encoded_size(self, spec: ChunkSpec) -> int | None:
        if spec.nbytes is None:
            raise MetadataError(
                f"the codec cannot store data type {spec.data_type.name!r}",
                codec="bytes",
                expected="vlen-utf8 for strings, vlen-bytes for bytes",
            )
        return spec.nbytes

    def encode(self, array: AnyArray) -> Buffer:
        return as_bytes(np.ascontiguousarray(array, dtype=self.stored_dtype(array.dtype))).data

    def decode(self, data: Buffer, spec: ChunkSpec) -> AnyArray:
        raw = as_bytes(data)
        if raw.nbytes != spec.nbytes:
            raise ChunkError(
                "chunk decodes to a wrong size",
                codec="bytes",
                expected=f"{spec.nbytes} bytes",
                found=f"{raw.nbytes} bytes",
            )
        dtype = self.stored_dtype(spec.dtype)
        if (
            dtype.kind == "U"
            and raw.view(np.dtype("u4").newbyteorder(dtype.byteorder)).max(initial=0) > _MAX_CODE_POINT
        ):
            raise ChunkError("chunk is damaged: it holds characters that do not exist", codec="bytes")
        stored: AnyArray = raw.view(dtype).reshape(spec.shape)
        return stored


@dataclass(frozen=True, slots=True)
class VariableLength:
    """A count, then each element as its length in bytes and its bytes, all lengths as four bytes.

    Attributes
    ----------
    name : {"vlen-utf8", "vlen-bytes"}
    """

    name: str

    def __post_init__(self) -> None:
        numcodecs_module("vlen")  # not first in a thread: a fork in the middle of an import never ends

    def encoded_size(self, spec: ChunkSpec) -> int | None:
        expected = "string" if self.name == "vlen-utf8" else "variable_length_bytes"
        if spec.data_type.name != expected:
            raise MetadataError(
                f"the codec cannot store data type {spec.data_type.name!r}", codec=self.name, expected=repr(expected)
            )
        return None

    def encode(self, array: AnyArray) -> Buffer:
        items = np.ascontiguousarray(array).reshape(-1).tolist()
        encoded = bytearray(struct.pack("<I", len(items)))
        if items:
            try:
                # at once, with room for each length: one call of Python's takes all elements
                encoded += _ROOM
                encoded += _join_texts(items) if self.name == "vlen-utf8" else _join_bytes(items)
            except UnicodeEncodeError as error:
                raise EncodingError(
                    "text holds half of a character, a lone surrogate",
                    codec=self.name,
                    expected="what UTF-8 can encode",
                    found=ascii(error.object[error.start : error.end]),
                    mend="Replace it, for example with text.encode('utf-8', 'replace').decode()",
                ) from error
            except (TypeError, ValueError) as error:
                raise EncodingError(
                    f"array holds something else than {'strings' if self.name == 'vlen-utf8' else 'bytes'}: {error}",
                    codec=self.name,
                    mend="Replace missing values and other objects first",
                ) from error
            self._put_lengths(np.frombuffer(encoded, np.uint8)[4:], items)
        return encoded

    def _put_lengths(self, data: AnyArray, items: list[Any]) -> None:
        """Fill the room before each element with its length."""
        zeros = np.flatnonzero(data == 0) if self.name == "vlen-utf8" else np.empty(0, np.int64)
        if zeros.size == len(_ROOM) * len(items):  # there are no others, so that they tell where the room is
            at = zeros[:: len(_ROOM)].copy()
            lengths = np.diff(at, append=data.size) - len(_ROOM)
        else:
            sizes = (len(item.encode() if isinstance(item, str) else item) for item in items)
            lengths = np.fromiter(sizes, np.int64, len(items))
            at = np.cumsum(lengths + len(_ROOM)) - lengths - len(_ROOM)
        most = int(lengths.max())
        if most > _MAX_LENGTH:
            raise EncodingError("an element is too long", codec=self.name, expected=f"{_MAX_LENGTH} bytes", found=most)
        while most:
            data[at] = lengths & 0xFF
            lengths >>= 8
            at += 1
            most >>= 8

    def decode(self, data: Buffer, spec: ChunkSpec) -> AnyArray:
        # the count is checked first: the decoder allocates what it says
        count = struct.unpack_from("<I", data)[0] if len(data) >= 4 else None
        if count != spec.size:
            raise ChunkError("chunk holds a wrong number of elements", codec=self.name, expected=spec.size, found=count)
        if spec.size * 4 + 4 > len(data):
            raise ChunkError("chunk is truncated", codec=self.name, found=f"{len(data)} bytes")
        try:
            from numcodecs import vlen

            # its time is that of Python's, to make so many objects
            decoded: AnyArray = (vlen.VLenUTF8() if self.name == "vlen-utf8" else vlen.VLenBytes()).decode(data)
        except (ValueError, RuntimeError, UnicodeError) as error:
            raise ChunkError(f"chunk is damaged: {error}", codec=self.name) from error
        return decoded.reshape(spec.shape)


def _join_texts(items: list[Any]) -> bytes:
    return _ROOM.decode().join(items).encode()


def _join_bytes(items: list[Any]) -> bytes:
    for found in set(map(type, items)):
        if not issubclass(found, bytes):  # NumPy's arrays would be joined too
            raise TypeError(f"an element is of type {found.__name__}")
    return _ROOM.join(items)


@dataclass(frozen=True, slots=True)
class JsonObjects:
    """numcodecs' ``json2``: the elements as nested JSON lists, then a dtype and the shape."""

    def encoded_size(self, spec: ChunkSpec) -> int | None:
        if spec.data_type.name != "json":
            raise MetadataError(f"the codec cannot store data type {spec.data_type.name!r}", codec="json2")
        return None

    def encode(self, array: AnyArray) -> Buffer:
        items = array.tolist() if array.ndim else [array.item()]
        try:
            text = json.dumps([*items, "|O", list(array.shape)], separators=(",", ":"), sort_keys=True, allow_nan=True)
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodingError(f"array holds something that is not JSON: {error}", codec="json2") from error
        return text.encode("ascii")

    def decode(self, data: Buffer, spec: ChunkSpec) -> AnyArray:
        try:
            *items, _, shape = json.loads(bytes(data))
        except (ValueError, TypeError, RecursionError) as error:
            raise ChunkError(f"chunk is not valid JSON: {error}", codec="json2") from error
        if shape != list(spec.shape):
            raise ChunkError("chunk holds an array of another shape", codec="json2", expected=spec.shape, found=shape)
        if not spec.shape and len(items) != 1:
            raise ChunkError("chunk holds a wrong number of elements", codec="json2", expected=1, found=len(items))
        decoded = np.empty(spec.size, object)
        elements = list(_flatten(items if spec.shape else items[0], len(spec.shape)))
        if len(elements) != spec.size:
            raise ChunkError(
                "chunk holds a wrong number of elements", codec="json2", expected=spec.size, found=len(elements)
            )
        for i, element in enumerate(elements):
            decoded[i] = element
        return decoded.reshape(spec.shape)


def _flatten(items: Any, depth: int) -> Iterator[Any]:
    if depth == 0:
        yield items
    elif isinstance(items, list):
        for item in items:
            yield from _flatten(item, depth - 1)
    else:
        raise ChunkError("chunk holds lists of the wrong depth", codec="json2")


def serializer_for(data_type: DataType) -> CodecObject:
    """The array → bytes codec object that a data type is stored with unless another is asked for."""
    names = {"string": "vlen-utf8", "variable_length_bytes": "vlen-bytes", "json": "numcodecs.json2"}
    if data_type.name in names:
        return {"name": names[data_type.name]}
    if data_type.dtype.itemsize == 1 or data_type.name in ("raw_bytes", "null_terminated_bytes"):
        return {"name": "bytes"}
    return {"name": "bytes", "configuration": {"endian": "little"}}
