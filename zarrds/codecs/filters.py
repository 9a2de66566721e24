"""numcodecs' filters and checksums, from a fixed table: nothing is imported by a name that a store says.

A filter stands before the array → bytes codec in v3 (``numcodecs.delta``, …), and behind it in the model of a v2
array; the same object serves in both places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zarrds.codecs.base import AnyArray, Buffer, ChunkSpec, Parts, as_bytes, join, numcodecs_module
from zarrds.errors import ChunkError, EncodingError, MetadataError, ZarrdsError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.fields import JSONObject

__all__ = [
    "CHECKSUMS",
    "FILTERS",
    "BytesFilter",
    "Checksum",
    "Filter",
    "all_settings",
    "make_checksum",
    "make_filter",
]


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where numcodecs keeps a codec, and the settings that it understands."""

    module: str
    name: str
    settings: frozenset[str]


FILTERS = {
    "delta": _Entry("delta", "Delta", frozenset({"dtype", "astype"})),
    "fixedscaleoffset": _Entry(
        "fixedscaleoffset", "FixedScaleOffset", frozenset({"offset", "scale", "dtype", "astype"})
    ),
    "quantize": _Entry("quantize", "Quantize", frozenset({"digits", "dtype", "astype"})),
    "bitround": _Entry("bitround", "BitRound", frozenset({"keepbits"})),
    "packbits": _Entry("packbits", "PackBits", frozenset()),
    "astype": _Entry("astype", "AsType", frozenset({"encode_dtype", "decode_dtype"})),
}
CHECKSUMS = {
    "shuffle": _Entry("shuffle", "Shuffle", frozenset({"elementsize"})),
    "fletcher32": _Entry("fletcher32", "Fletcher32", frozenset()),
    "crc32": _Entry("checksum32", "CRC32", frozenset({"location"})),
    "crc32c": _Entry("checksum32", "CRC32C", frozenset({"location"})),
    "adler32": _Entry("checksum32", "Adler32", frozenset({"location"})),
    "jenkins_lookup3": _Entry("checksum32", "JenkinsLookup3", frozenset({"initval", "prefix"})),
}
_DTYPE_SETTINGS = ("dtype", "astype", "encode_dtype", "decode_dtype")
# those that follow from the array where they are left out
_FOLLOWED = ("dtype", "decode_dtype", "elementsize")
_NUMBER_KINDS = "biufcmM"
# roundings of a sum of differences that has lost nothing
_ROUNDINGS = 4
# what can be booleans
_BYTES = {(1, "b"), (1, "i"), (1, "u")}
# what NumPy and numcodecs raise in many ways; all else is passed on, since a signal's handler may raise what it likes
_FAILED = (
    *(ValueError, TypeError, RuntimeError, LookupError, ArithmeticError),
    *(AssertionError, AttributeError, MemoryError),
)


def _make(name: str, entry: _Entry, configuration: JSONObject) -> Any:
    if unknown := configuration.keys() - entry.settings:
        raise MetadataError("unknown settings of the codec", codec=name, found=sorted(unknown))
    try:
        for setting in _DTYPE_SETTINGS:
            dtype = configuration.get(setting)
            if dtype is not None and not (isinstance(dtype, str) and np.dtype(dtype).kind in _NUMBER_KINDS):
                raise ValueError(f"{setting}={dtype!r} is no number")
        codec = getattr(numcodecs_module(entry.module), entry.name)(**configuration)
        if name == "shuffle" and not (isinstance(codec.elementsize, int) and 0 < codec.elementsize < 2**16):
            raise ValueError("elementsize is no number of bytes")
        if name == "fixedscaleoffset" and not codec.scale:
            raise ValueError("a scale of 0 leaves nothing of any value")
    except Exception as error:  # NumPy and numcodecs say in many ways what they do not take
        raise MetadataError(f"invalid settings of the codec: {error}", codec=name, found=dict(configuration)) from error
    return codec


def _is_kept(values: AnyArray, decoded: AnyArray, stored: np.dtype[Any]) -> bool:
    """Whether floats are given back, but for roundings of what they are stored as."""
    eps = max(np.finfo(dtype).eps for dtype in (values.dtype, stored) if dtype.kind in "fc")
    with np.errstate(all="ignore"):
        kept = np.abs(decoded - values) <= _ROUNDINGS * eps * np.abs(values)
        return bool(np.all(kept | (decoded == values) | ((decoded != decoded) & (values != values))))


@dataclass(frozen=True, slots=True)
class Filter:
    """A codec that changes elements one by one, or from each to the next.

    Attributes
    ----------
    name : str
        numcodecs' ``id``.
    codec : numcodecs codec
    encoded_dtype : numpy.dtype
        Of the elements that it makes.
    """

    name: str
    codec: Any
    encoded_dtype: np.dtype[Any]

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        # numcodecs takes the elements for what its settings say without a look at what they are
        taken = getattr(self.codec, "decode_dtype", None) or getattr(self.codec, "dtype", None) or spec.dtype
        if np.dtype(taken) != spec.dtype or not self.encoded_dtype.isnative:
            raise MetadataError(
                "settings of the codec do not fit the data type",
                codec=self.name,
                expected=f"{spec.dtype} in the machine's byte order",
                found=f"{np.dtype(taken)} and {self.encoded_dtype}",
            )
        if self.name == "packbits":
            # numcodecs puts the number of padding bits first
            return ChunkSpec((1 + -(-spec.size // 8),), DataType("uint8", np.dtype("u1")))
        return replace(spec, data_type=DataType.from_numpy(self.encoded_dtype))

    def run(self, work: Callable[[AnyArray], Any], array: AnyArray, failure: type[ZarrdsError]) -> AnyArray:
        """Call numcodecs, and name the codec where it fails."""
        try:
            with np.errstate(all="ignore"):
                return np.asarray(work(array))
        except _FAILED as error:
            raise failure(f"codec failed: {error}", codec=self.name) from error

    def encoded(self, array: AnyArray) -> AnyArray:
        """What numcodecs makes of a chunk's elements. Raises `EncodingError` if it does not give them back."""
        encoded = self.run(self.codec.encode, array, EncodingError)
        # what a difference of floats loses is lost to all behind it, also where it is one from what fills up the chunk
        if self.name == "delta" and array.dtype.kind in "fc":
            decoded = self.run(self.codec.decode, encoded, EncodingError)
            if not _is_kept(array.reshape(-1), decoded.reshape(-1), encoded.dtype):
                raise EncodingError(
                    "differences of these floats do not give them back",
                    codec=self.name,
                    mend="Leave the filter out, or store integers, whose differences are exact",
                )
        return encoded

    def encode(self, array: AnyArray) -> AnyArray:
        encoded = self.encoded(np.ascontiguousarray(array))
        return encoded.reshape(array.shape) if encoded.size == array.size else encoded

    def decode(self, array: AnyArray, spec: ChunkSpec) -> AnyArray:
        decoded = self.run(self.codec.decode, np.ascontiguousarray(array), ChunkError)
        if decoded.size != spec.size:
            raise ChunkError("codec made a wrong number of elements", codec=self.name, expected=spec.size)
        return decoded.reshape(spec.shape)


@dataclass(frozen=True, slots=True)
class BytesFilter:
    """A `Filter` behind the array → bytes codec, where v2 has its filters; `dtype` is that of what it encodes."""

    filter: Filter
    dtype: np.dtype[Any]

    def encoded_size(self, size: int | None) -> int | None:
        return None

    def encode(self, parts: Parts) -> Parts:
        try:
            elements = as_bytes(join(parts)).view(self.dtype)
        except ValueError as error:  # a filter before it has left a part of one
            raise EncodingError(f"codec failed: {error}", codec=self.filter.name) from error
        return (as_bytes(self.filter.encoded(elements)).data,)

    def decode(self, data: Buffer, size: int | None) -> Buffer:
        return as_bytes(self.filter.run(self.filter.codec.decode, as_bytes(data), ChunkError)).data


@dataclass(frozen=True, slots=True)
class Checksum:
    """A bytes → bytes codec of numcodecs that keeps the size, or adds `overhead` bytes."""

    name: str
    codec: Any
    overhead: int

    def encoded_size(self, size: int | None) -> int | None:
        return None if size is None else size + self.overhead

    def encode(self, parts: Parts) -> Parts:
        try:
            return (as_bytes(np.asarray(self.codec.encode(as_bytes(join(parts))))).data,)
        except _FAILED as error:  # the settings of some are looked at here only
            raise EncodingError(f"codec failed: {error}", codec=self.name) from error

    def decode(self, data: Buffer, size: int | None) -> Buffer:
        encoded = as_bytes(data)
        if encoded.nbytes < self.overhead or (size is not None and encoded.nbytes != size + self.overhead):
            raise ChunkError("chunk is truncated", codec=self.name, found=f"{encoded.nbytes} bytes")
        try:
            return as_bytes(np.asarray(self.codec.decode(encoded))).data
        except _FAILED as error:
            raise ChunkError(f"chunk is damaged: {error}", codec=self.name) from error


def all_settings(given: JSONObject, made: Filter | BytesFilter | Checksum) -> JSONObject:
    """The settings `given`, with those of the codec that was made of them which followed from the array."""
    codec = made.filter.codec if isinstance(made, BytesFilter) else made.codec
    return {**{k: v for k, v in codec.get_config().items() if k in _FOLLOWED}, **given}


def make_filter(name: str, configuration: JSONObject, dtype: np.dtype[Any]) -> Filter:
    """The filter `name` for elements of `dtype`, which completes settings that name no dtype."""
    settings = dict(configuration)
    entry = FILTERS[name]
    for setting in ("dtype", "decode_dtype"):
        if setting in entry.settings and settings.get(setting) is None:
            settings[setting] = dtype.str
    codec = _make(name, entry, settings)
    if name == "packbits" and (dtype.itemsize, dtype.kind) not in _BYTES:  # numcodecs packs all bytes that are given
        raise MetadataError("this codec packs booleans", codec=name, expected="bool", found=dtype)
    encoded = getattr(codec, "encode_dtype", None) or getattr(codec, "astype", None) or dtype
    return Filter(name, codec, np.dtype("u1") if name == "packbits" else np.dtype(encoded))


def make_checksum(name: str, configuration: JSONObject, itemsize: int) -> Checksum:
    """The checksum or byte shuffle `name`; `itemsize` (bytes) is the elements'."""
    settings = dict(configuration)
    if name == "shuffle" and settings.get("elementsize") is None:
        settings["elementsize"] = itemsize
    return Checksum(name, _make(name, CHECKSUMS[name], settings), 0 if name == "shuffle" else 4)
