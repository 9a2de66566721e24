"""``packbits``: elements of a fixed number of bits, one behind the other.

Source: the registry of Zarr extensions, "packbits codec". In format 2, and as ``numcodecs.packbits``, the name is
that of a filter of booleans (`zarrds.codecs.filters`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np

from zarrds.codecs.base import AnyArray, Buffer, ChunkSpec, as_bytes
from zarrds.errors import ChunkError, EncodingError, MetadataError
from zarrds.metadata.fields import JSONObject

__all__ = ["PackBits"]

Padding = Literal["none", "first_byte", "last_byte"]
_NAME = "packbits"


@dataclass(frozen=True, slots=True)
class PackBits:
    """The bits from `first` to `last` of each element, least significant first; of complex numbers, of both parts.

    Attributes
    ----------
    first : int
    last : int or None
        None is the most significant one.
    padding : {"none", "first_byte", "last_byte"}
        Where a byte says how many bits of the last byte are none of an element's.
    """

    first: int
    last: int | None
    padding: Padding

    @classmethod
    def from_configuration(cls, configuration: JSONObject) -> Self:
        unknown = configuration.keys() - {"padding_encoding", "first_bit", "last_bit"}
        said = configuration.get("padding_encoding", "none")
        padding: Padding | None = next((each for each in get_args(Padding) if each == said), None)
        first, last = configuration.get("first_bit"), configuration.get("last_bit")
        first = 0 if first is None else first
        if unknown or padding is None:
            raise MetadataError(
                "unknown setting",
                codec=_NAME,
                expected=f"padding_encoding, one of {get_args(Padding)}, first_bit and last_bit",
                found=configuration,
            )
        end = 63 if last is None else last
        if type(first) is not int or type(end) is not int or not 0 <= first <= end:
            raise MetadataError("invalid first_bit and last_bit", codec=_NAME, found=f"{first!r:.20}, {last!r:.20}")
        return cls(first, None if last is None else end, padding)

    def _kept(self, dtype: np.dtype[Any]) -> slice:
        """Which bits of each part of an element are kept."""
        width = _width(dtype)
        stop = width if self.last is None else self.last + 1
        if not self.first < stop <= width:
            raise MetadataError(
                f"first_bit and last_bit are none of {dtype}",
                codec=_NAME,
                expected=f"bits 0 to {width - 1}",
                found=f"{self.first} to {stop - 1}",
            )
        return slice(self.first, stop)

    def _n_bits(self, spec: ChunkSpec) -> int:
        kept = self._kept(spec.dtype)
        return int(spec.size * _n_parts(spec.dtype) * (kept.stop - kept.start))

    def encoded_size(self, spec: ChunkSpec) -> int | None:
        if spec.data_type.is_variable_length or spec.dtype.kind not in "biufc":
            raise MetadataError(
                f"the codec cannot store data type {spec.data_type.name!r}", codec=_NAME, expected="numbers or booleans"
            )
        return (self._n_bits(spec) + 7) // 8 + (self.padding != "none")

    def encode(self, array: AnyArray) -> Buffer:
        flat = np.ascontiguousarray(array).reshape(-1)
        kept = self._kept(flat.dtype)
        every = _bits_of(flat)
        bits = every[:, kept]
        if bits.shape != every.shape:
            bad = (_bits_of(_elements_of(bits, kept.start, flat.dtype)) != every).any(axis=1)
            if bad.any():
                raise EncodingError(
                    f"an element has other bits than the codec {_NAME} keeps",
                    expected=f"bits {kept.start} to {kept.stop - 1} of {flat.dtype}",
                    found=f"{flat[int(np.argmax(bad)) // _n_parts(flat.dtype)]!s:.80}",
                    mend="Keep more: first_bit, last_bit",
                )
        packed = np.packbits(bits, bitorder="little")
        if self.padding == "none":
            return packed.data
        padding = np.array([-bits.size % 8], np.uint8)
        return np.concatenate([padding, packed] if self.padding == "first_byte" else [packed, padding]).data

    def decode(self, data: Buffer, spec: ChunkSpec) -> AnyArray:
        raw, size, n = as_bytes(data), self.encoded_size(spec), self._n_bits(spec)
        if raw.nbytes != size:
            raise ChunkError(
                "chunk decodes to a wrong size", codec=_NAME, expected=f"{size} bytes", found=f"{raw.nbytes} bytes"
            )
        if self.padding != "none":
            padding, raw = (raw[0], raw[1:]) if self.padding == "first_byte" else (raw[-1], raw[:-1])
            if padding != -n % 8:
                raise ChunkError("chunk says another padding", codec=_NAME, expected=-n % 8, found=int(padding))
        if n % 8 and raw[-1] >> n % 8:
            raise ChunkError("chunk is damaged: it has more bits than its elements", codec=_NAME)
        kept = self._kept(spec.dtype)
        bits = np.unpackbits(raw, count=n, bitorder="little").reshape(-1, kept.stop - kept.start)
        return _elements_of(bits, kept.start, spec.dtype).reshape(spec.shape)


def _n_parts(dtype: np.dtype[Any]) -> int:
    return 2 if dtype.kind == "c" else 1


def _width(dtype: np.dtype[Any]) -> int:
    """The bits of each part of an element."""
    return 1 if dtype.kind == "b" else 8 * dtype.itemsize // _n_parts(dtype)


def _bits_of(flat: AnyArray) -> AnyArray:
    """The bits of each part of some elements, least significant first: a row each."""
    if flat.dtype.kind == "b":
        return flat.view(np.uint8).reshape(-1, 1)
    little = flat.astype(flat.dtype.newbyteorder("<"), copy=False)
    bits: AnyArray = np.unpackbits(little.view(np.uint8), bitorder="little").reshape(-1, _width(flat.dtype))
    return bits


def _elements_of(bits: AnyArray, first: int, dtype: np.dtype[Any]) -> AnyArray:
    """The elements of which some bits are given, from `first` on; others are 0, or of signed integers the sign."""
    if dtype.kind == "b":
        return bits.reshape(-1).astype(np.bool_)
    every = np.zeros((len(bits), _width(dtype)), np.uint8)
    every[:, first : first + bits.shape[1]] = bits
    if dtype.kind == "i":
        every[:, first + bits.shape[1] :] = bits[:, -1:]
    little = np.packbits(every, bitorder="little").view(dtype.newbyteorder("<"))
    return little.astype(dtype, copy=False)
