"""What an array is stored with unless something else is asked for, and codecs as users write them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from zarrds.codecs.layout import serializer_for
from zarrds.codecs.registry import KNOWN, PREFIX
from zarrds.errors import EncodingError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.fields import JSONObject, member
from zarrds.metadata.formats import Format
from zarrds.metadata.formats.v2_codecs import codec_from_v2
from zarrds.metadata.model import SHARDING, CodecObject, codec_object, codec_objects, written_codec

__all__ = ["completed", "default_codecs", "default_compressors", "parse_codec"]

# what codecs work with unless told otherwise; TensorStore wants all of it written out
_SETTINGS: Mapping[str, JSONObject] = {
    "blosc": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 1, "blocksize": 0},
    "gzip": {"level": 1},
    "numcodecs.zlib": {"level": 1},
    "numcodecs.bz2": {"level": 1},
    "zstd": {"level": 0, "checksum": False},
}


def default_compressors(data_type: DataType, spec: Format) -> list[CodecObject]:
    """Blosc with the settings that ``docs/codec-choice.md`` measures, and a checksum where the format has one."""
    if data_type.is_variable_length:
        shuffle = "noshuffle"
    else:
        shuffle = "bitshuffle" if data_type.dtype.itemsize == 1 else "shuffle"
    blosc = completed({"name": "blosc", "configuration": {"shuffle": shuffle}}, data_type, spec)
    return [blosc] if spec.HAS_CODECS_OF_NUMCODECS else [blosc, {"name": "crc32c"}]


def default_codecs(data_type: DataType, spec: Format) -> tuple[CodecObject, ...]:
    """All codecs of an array that nothing was asked for."""
    return (serializer_for(data_type), *default_compressors(data_type, spec))


def completed(codec: CodecObject, data_type: DataType, spec: Format) -> CodecObject:
    """`codec` with all its settings; `data_type` is that of the elements that become bytes."""
    name, given = codec["name"], codec.get("configuration", {})
    settings = dict(_SETTINGS.get(name, {}))
    if name == "blosc" and not data_type.is_variable_length:
        itemsize = data_type.dtype.itemsize
        settings["typesize"] = itemsize if itemsize < 256 else 1
    elif name == "bytes" and not spec.IS_ORDER_IN_DTYPE:
        settings = dict(serializer_for(data_type).get("configuration", {}))
    elif name == "zstd" and spec.HAS_CODECS_OF_NUMCODECS:
        del settings["checksum"]  # of which TensorStore does not know there
    settings |= given
    if settings.get("shuffle") == "autoshuffle" and not spec.HAS_CODECS_OF_NUMCODECS:
        settings["shuffle"] = "bitshuffle" if settings["typesize"] == 1 else "shuffle"
    if name == SHARDING:
        inner = codec_objects(member(given, "codecs", list, []))
        settings["codecs"] = [written_codec(completed(codec, data_type, spec)) for codec in inner]
    return {"name": name, "configuration": settings} if settings else {"name": name}


def parse_codec(codec: Any) -> CodecObject:
    """The codec object of what a user wrote.

    Parameters
    ----------
    codec : mapping or object
        A v3 JSON object (``{"name": "blosc", "configuration": {...}}``), a v2 one (``{"id": "zlib", "level": 1}``), a
        codec of zarr-python (which has ``to_dict``) or of numcodecs (which has ``get_config``), or a name alone, of a
        codec that needs no settings.

    Raises
    ------
    EncodingError
        If it is none of these.

    Examples
    --------
    >>> parse_codec({"id": "zlib", "level": 1})
    {'name': 'numcodecs.zlib', 'configuration': {'level': 1}}
    >>> parse_codec("zstd")
    {'name': 'zstd'}
    """
    if isinstance(codec, str):
        return {"name": codec if codec in KNOWN or f"{PREFIX}{codec}" not in KNOWN else f"{PREFIX}{codec}"}
    if isinstance(codec, Mapping):
        described = dict(codec)
    elif hasattr(codec, "to_dict"):
        described = dict(codec.to_dict())
    elif hasattr(codec, "get_config"):
        described = dict(codec.get_config())
    else:
        raise EncodingError(
            "not a codec",
            expected="a v3 codec object such as {'name': 'zstd', 'configuration': {'level': 3}}",
            found=f"{codec!r:.80}",
        )
    try:
        described = _plain(described)
    except RecursionError as error:
        raise EncodingError("the settings of a codec are nested too deeply") from error
    parsed = codec_from_v2(described) if "id" in described else codec_object(described)
    # zarr-python leaves settings open that depend on the array, and says so with None
    settings = {k: v for k, v in parsed.get("configuration", {}).items() if v is not None}
    return {"name": parsed["name"], "configuration": settings} if settings else {"name": parsed["name"]}


def _plain(value: Any) -> Any:
    """`value` with JSON's own types in it."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Enum):
        return value.value
    return value.item() if hasattr(value, "item") else value
