"""The allow-list of codecs, by their names in a v3 document.

What is not in these tables is refused by name. There is no pickle, no import by a name that a store says, and no
plug-in.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from zarrds.codecs.base import ArrayArrayCodec, ArrayBytesCodec, BytesBytesCodec, ChunkSpec
from zarrds.codecs.blosc import Blosc
from zarrds.codecs.checksum import Crc32c
from zarrds.codecs.compressors import make_compressor
from zarrds.codecs.filters import CHECKSUMS, FILTERS, BytesFilter, make_checksum, make_filter
from zarrds.codecs.layout import Bytes, JsonObjects, Transpose, VariableLength
from zarrds.codecs.values import CastValue, ScaleOffset
from zarrds.errors import MetadataError, UnsupportedError
from zarrds.metadata.fields import Raw
from zarrds.metadata.model import SHARDING, CodecObject

__all__ = ["array_array", "array_bytes", "bytes_bytes", "kind"]

Kind = Literal["array_array", "array_bytes", "bytes_bytes"]

PREFIX = "numcodecs."

_ARRAY_BYTES = {"bytes", "endian", "vlen-utf8", "vlen-bytes", "packbits", "numcodecs.json2", SHARDING}
_COMPRESSORS = {"gzip": "gzip", "zstd": "zstd"} | {
    PREFIX + name: name for name in ("gzip", "zstd", "zlib", "bz2", "lzma", "lz4")
}
_BLOSC = {"blosc", "numcodecs.blosc"}
# behind the serializer these work on bytes, before it on elements
_FILTERS = {PREFIX + name: name for name in FILTERS} | {"bitround": "bitround"}
_VALUES: dict[str, type[ScaleOffset] | type[CastValue]] = {"scale_offset": ScaleOffset, "cast_value": CastValue}
_CHECKSUMS = {PREFIX + name for name in CHECKSUMS}
KNOWN = frozenset(
    {"transpose", "crc32c"}
    | _ARRAY_BYTES
    | _COMPRESSORS.keys()
    | _BLOSC
    | _FILTERS.keys()
    | _VALUES.keys()
    | _CHECKSUMS
)


_ARRAY_ARRAY = {"transpose"} | _FILTERS.keys() | _VALUES.keys()
_KINDS: dict[str, Kind] = {
    name: "array_bytes" if name in _ARRAY_BYTES else "array_array" if name in _ARRAY_ARRAY else "bytes_bytes"
    for name in KNOWN
}


def kind(name: str) -> Kind:
    """What a codec is; a filter counts as array → array, wherever it stands.

    Raises
    ------
    UnsupportedError
        If there is no such codec.
    """
    found = _KINDS.get(name)
    if found is None:
        raise UnsupportedError(
            f"codec {name!r} is not supported",
            codec=name,
            expected=f"one of {', '.join(sorted(KNOWN))}",
            mend="Read this array with another Zarr library, or leave it out with drop_variables",
        )
    return found


def _configuration(codec: CodecObject) -> Raw:
    return dict(codec.get("configuration", {}))


def array_array(codec: CodecObject, spec: ChunkSpec) -> ArrayArrayCodec:
    """The array → array codec of an object, for arrays of `spec`."""
    name = codec["name"]
    if name == "transpose":
        return Transpose.from_configuration(_configuration(codec), len(spec.shape))
    if name in _FILTERS and not spec.data_type.is_variable_length:
        return make_filter(_FILTERS[name], _configuration(codec), spec.dtype)
    if name in _VALUES:
        return _VALUES[name].from_configuration(_configuration(codec), spec)
    raise _misplaced(name)


def array_bytes(codec: CodecObject) -> ArrayBytesCodec:
    """The array → bytes codec of an object."""
    name = codec["name"]
    if name in ("bytes", "endian"):
        return Bytes.from_configuration(_configuration(codec))
    if name == "packbits":
        from zarrds.codecs.packbits import PackBits  # which few arrays have

        return PackBits.from_configuration(_configuration(codec))
    return JsonObjects() if name == "numcodecs.json2" else VariableLength(name)


def bytes_bytes(codec: CodecObject, dtype: np.dtype[Any], itemsize: int) -> tuple[BytesBytesCodec, np.dtype[Any]]:
    """The bytes → bytes codec of an object, and the dtype of the elements that come out of it."""
    name = codec["name"]
    configuration = _configuration(codec)
    if name in _BLOSC:
        return Blosc.from_configuration(configuration, itemsize), dtype
    if name == "crc32c":
        return Crc32c(), dtype
    if name in _COMPRESSORS:
        return make_compressor(_COMPRESSORS[name], configuration), dtype
    if name in _CHECKSUMS:
        return make_checksum(name.removeprefix(PREFIX), configuration, itemsize), dtype
    if name in _FILTERS and not dtype.hasobject:
        bytes_filter = make_filter(_FILTERS[name], configuration, dtype)
        return BytesFilter(bytes_filter, dtype), bytes_filter.encoded_dtype
    raise _misplaced(name)


def _misplaced(name: str) -> MetadataError:
    return MetadataError(
        "codec stands in a wrong place",
        codec=name,
        expected="array → array codecs, then one array → bytes codec, then bytes → bytes codecs",
    )
