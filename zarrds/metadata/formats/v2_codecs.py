"""The codec part of a v2 document <-> the model's list of v3 codec objects.

v2 has an order, filters and a compressor, each a numcodecs configuration with an ``id``; the filters work on the
chunk's flattened elements. In the model they stand after the array → bytes codec, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from zarrds.errors import MetadataError, UnsupportedError
from zarrds.metadata.dtypes import BYTES, OBJECTS_AS_JSON, STRING, DataType
from zarrds.metadata.fields import JSON, JSONObject, Raw, member
from zarrds.metadata.model import CodecObject

__all__ = ["V2Codecs", "codec_from_v2", "from_v2", "object_data_type", "to_v2"]

# object codecs of v2: the filter that says what the objects of "|O" are
_OBJECT_CODECS = {"vlen-utf8": STRING, "vlen-bytes": BYTES, "json2": OBJECTS_AS_JSON}
_SHUFFLES = {-1: "autoshuffle", 0: "noshuffle", 1: "shuffle", 2: "bitshuffle"}
# codecs that have the same name and configuration in v3 as their numcodecs id
_SAME = {"gzip", "zstd", "vlen-utf8", "vlen-bytes"}
_CHECKSUM_AT_END: JSONObject = {"id": "crc32c", "location": "end"}
# numcodecs codecs that transform elements: never the compressor of a v2 array
_FILTERS = {"delta", "fixedscaleoffset", "quantize", "bitround", "packbits", "astype", "shuffle"}


def from_v2(document: JSONObject, ndim: int) -> tuple[CodecObject, ...]:
    """The codecs of a ``.zarray`` document for an array of `ndim` dimensions."""
    order = document.get("order", "C")
    if order not in ("C", "F"):
        raise MetadataError("unknown order", expected="'C' or 'F'", found=repr(order))
    filters = document.get("filters") or []
    if not isinstance(filters, list):
        raise MetadataError("filters are malformed", expected="a list or null", found=f"{filters!r:.100}")
    compressor = member(document, "compressor")
    codecs = [codec_from_v2(c) for c in [*filters, *([] if compressor is None else [compressor])]]
    if document.get("dtype") != "|O":
        codecs.insert(0, {"name": "bytes"})
    if order == "F" and ndim > 1:
        codecs.insert(0, {"name": "transpose", "configuration": {"order": list(range(ndim))[::-1]}})
    return tuple(codecs)


def object_data_type(filters: JSON) -> DataType:
    """What the elements of a v2 array of dtype ``|O`` are, by its first filter."""
    first = filters[0] if isinstance(filters, list) and filters and isinstance(filters[0], dict) else {}
    identifier = first.get("id")
    if isinstance(identifier, str) and identifier in _OBJECT_CODECS:
        return _OBJECT_CODECS[identifier]
    raise UnsupportedError(
        "array of Python objects without an object codec that is safe to read",
        codec=str(identifier),
        expected=f"one of {', '.join(_OBJECT_CODECS)} as the first filter",
        mend="Write it anew as strings or numbers with the library that made it; pickles are never read",
    )


def codec_from_v2(configuration: JSON) -> CodecObject:
    """The codec object of a numcodecs configuration, which is known by its ``id``."""
    name = configuration.get("id") if isinstance(configuration, dict) else None
    if not isinstance(configuration, dict) or not isinstance(name, str):
        raise MetadataError("codec is malformed", expected="an object with an id", found=f"{configuration!r:.100}")
    settings = {k: v for k, v in configuration.items() if k != "id"}
    if configuration == _CHECKSUM_AT_END:  # which v3 has too: what is noted of chunks goes by its name
        return {"name": "crc32c"}
    if name == "blosc":
        shuffle = settings.get("shuffle", 1)
        # any other is refused when something is encoded: a frame says itself how it was shuffled
        settings["shuffle"] = _SHUFFLES.get(shuffle, shuffle) if isinstance(shuffle, int) else shuffle
    elif name not in _SAME:
        if name == "shuffle":
            settings.setdefault("elementsize", 4)  # v2 knows it by numcodecs' default, v3 by the data type
        name = f"numcodecs.{name}"
    return {"name": name, "configuration": settings} if settings else {"name": name}


class V2Codecs(NamedTuple):
    """The members of a ``.zarray`` document that say how its chunks are encoded."""

    order: Literal["C", "F"]
    filters: list[Raw] | None
    compressor: Raw | None


def to_v2(codecs: Sequence[CodecObject], ndim: int) -> V2Codecs:
    """The codecs as a ``.zarray`` document has them.

    Raises
    ------
    UnsupportedError
        For codecs that v2 does not have.
    """
    order: Literal["C", "F"] = "C"
    rest = list(codecs)
    if rest and rest[0]["name"] == "transpose":
        axes = rest.pop(0).get("configuration", {}).get("order")
        along = list(range(ndim))
        if axes in (along[::-1], "F"):
            order = "F" if ndim > 1 else "C"
        elif axes not in (along, "C"):
            raise UnsupportedError("Zarr v2 knows C and F order only", codec="transpose", found=axes)
    configurations = [_codec_to_v2(c) for c in rest if c["name"] != "bytes"]
    compressor = None
    if configurations and configurations[-1]["id"] not in _FILTERS | _OBJECT_CODECS.keys():
        compressor = configurations.pop()
    return V2Codecs(order, configurations or None, compressor)


def _codec_to_v2(codec: CodecObject) -> Raw:
    name, settings = codec["name"], dict(codec.get("configuration", {}))
    if name == "blosc":
        names = {v: k for k, v in _SHUFFLES.items()}
        settings.pop("typesize", None)
        shuffle = settings.get("shuffle", "shuffle")
        if not isinstance(shuffle, str) or shuffle not in names:
            raise MetadataError("unknown shuffle of Blosc", expected=sorted(names), found=f"{shuffle!r:.80}")
        return {"id": "blosc", **settings, "shuffle": names[shuffle]}
    if name in _SAME:
        return {"id": name, **settings}
    if name == "crc32c":
        return dict(_CHECKSUM_AT_END)
    if name.startswith("numcodecs."):
        return {"id": name.removeprefix("numcodecs."), **settings}
    raise UnsupportedError("this codec does not exist in Zarr v2", codec=name, mend="Save with zarr_format=3")
