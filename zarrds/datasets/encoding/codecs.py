"""The codecs of a variable to save: ``compressors``, ``filters``, ``serializer``, and netCDF's ``zlib``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import index
from typing import Any

import numpy as np

from zarrds.codecs.defaults import default_compressors, parse_codec
from zarrds.codecs.layout import serializer_for
from zarrds.codecs.registry import kind
from zarrds.errors import EncodingError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.formats import Format
from zarrds.metadata.model import CodecObject

__all__ = ["choose_codecs", "fitting_codecs"]


# names in `filters` that are also those of codecs that lay arrays out
_FILTERS_FIRST = frozenset({"packbits"})
# filters that numcodecs does not have
_ONLY_IN_FORMAT_3 = frozenset({"scale_offset", "cast_value"})
_SHUFFLE = "numcodecs.shuffle"
# kinds of dtypes that filters without a dtype in their settings take
_KINDS = {
    "numcodecs.packbits": "b",
    "numcodecs.bitround": "f",
    "bitround": "f",
    "scale_offset": "iuf",
    "cast_value": "iuf",
}


def choose_codecs(encoding: Mapping[str, Any], data_type: DataType, spec: Format) -> Iterator[CodecObject]:
    """The codecs of a variable, in order, as its encoding asks for them.

    Raises
    ------
    EncodingError
        For what is no codec.
    """
    filters = [] if _is_auto(encoding, "filters") else _filters(encoding["filters"], spec)
    if wrong := next((codec["name"] for codec in filters if codec["name"] in _FILTERS_FIRST), None):
        raise EncodingError(
            "encoding['filters'] holds a codec that is no filter",
            found=wrong,
            mend=f"Pass it as encoding['serializer'], or the filter numcodecs.{wrong}",
        )
    # without those that follow from the data type: v2 engines list the codec of strings among the filters
    yield from (c for c in filters if kind(c["name"]) == "array_array")
    yield _serializer(encoding, data_type, spec)
    yield from (c for c in filters if kind(c["name"]) == "bytes_bytes")
    if _is_auto(encoding, "compressors"):
        yield from _netcdf_compressors(encoding, data_type, spec)
        return
    compressors = list(map(parse_codec, _listed(encoding["compressors"])))
    wrong = next((codec["name"] for codec in compressors if not _is_compressor(codec, spec)), None)
    if wrong is not None:
        raise EncodingError(
            "encoding['compressors'] holds a codec of elements, where there are but bytes",
            found=wrong,
            mend="Pass it in encoding['filters']",
        )
    yield from compressors


def fitting_codecs(encoding: Mapping[str, Any], data_type: DataType, ndim: int, spec: Format) -> dict[str, Any]:
    """What an encoding that came along says of codecs, as far as it fits the variable.

    Its dtype may be another than that of the array which the encoding is of, and dimensions may have come or gone.
    """
    keys = ("filters", "serializer", "compressors")
    # words are none that was asked for
    kept = {key: encoding[key] for key in keys if key in encoding and not isinstance(encoding[key], str)}
    if "filters" in kept:
        kept["filters"] = [
            codec for codec in _filters(kept["filters"], spec) if _is_fit_for(codec, data_type, ndim, spec)
        ]
    if "compressors" in kept:
        kept["compressors"] = [c for c in map(parse_codec, _listed(kept["compressors"])) if _is_compressor(c, spec)]
    for key in kept.keys() & {"filters", "compressors"}:
        kept[key] = [_of_elements(c, data_type) for c in kept[key] if _has_elements(c, data_type)]
    if kept.get("serializer") is not None:
        own, other = _own_serializer(data_type, spec), parse_codec(kept["serializer"])
        if other["name"] != own["name"] or bool(other.get("configuration")) != bool(own.get("configuration")):
            del kept["serializer"]
    return kept


def _is_compressor(codec: CodecObject, spec: Format) -> bool:
    """Whether a codec can stand behind the one that makes bytes, where format 2 has its filters too."""
    return spec.HAS_CODECS_OF_NUMCODECS or kind(codec["name"]) != "array_array"


def _is_auto(encoding: Mapping[str, Any], key: str) -> bool:
    """Whether the choice is ours."""
    value = encoding.get(key, "auto")
    return isinstance(value, str) and value == "auto"


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _filters(value: Any, spec: Format) -> list[CodecObject]:
    """Filters, some by their names alone."""
    named = (f"numcodecs.{f}" if isinstance(f, str) and f in _FILTERS_FIRST else f for f in _listed(value))
    names = {"bitround": "numcodecs.bitround"} if spec.HAS_CODECS_OF_NUMCODECS else {}
    return [{**codec, "name": names.get(codec["name"], codec["name"])} for codec in map(parse_codec, named)]


def _is_fit_for(codec: CodecObject, data_type: DataType, ndim: int, spec: Format) -> bool:
    """Whether a filter of an earlier array can serve a variable that may have changed since."""
    if spec.HAS_CODECS_OF_NUMCODECS and codec["name"] in _ONLY_IN_FORMAT_3:
        return False
    settings = codec.get("configuration", {})
    if codec["name"] == "transpose":
        order = settings.get("order")
        return not isinstance(order, list | tuple) or len(order) == ndim
    dtype = settings.get("dtype", settings.get("decode_dtype"))
    is_of_it = dtype is None or (isinstance(dtype, str) and np.dtype(dtype) == data_type.dtype)
    is_of_it = is_of_it and data_type.dtype.kind in _KINDS.get(codec["name"], data_type.dtype.kind)
    return is_of_it and not data_type.is_variable_length and kind(codec["name"]) != "array_bytes"


def _has_elements(codec: CodecObject, data_type: DataType) -> bool:
    """Whether there are elements of one size for a codec that shuffles their bytes."""
    return codec["name"] != _SHUFFLE or not data_type.is_variable_length


def _of_elements(codec: CodecObject, data_type: DataType) -> CodecObject:
    """A codec that shuffles the bytes of elements of this dtype, if it is one of those of a size that does not fit."""
    settings = codec.get("configuration", {})
    size = settings.get("elementsize")
    if codec["name"] != _SHUFFLE or not isinstance(size, int) or (size > 0 and data_type.dtype.itemsize % size == 0):
        return codec
    return {**codec, "configuration": {key: value for key, value in settings.items() if key != "elementsize"}}


def _own_serializer(data_type: DataType, spec: Format) -> CodecObject:
    own: CodecObject = serializer_for(data_type)
    return {"name": "bytes"} if spec.IS_ORDER_IN_DTYPE and own["name"] == "bytes" else own


def _serializer(encoding: Mapping[str, Any], data_type: DataType, spec: Format) -> CodecObject:
    if not _is_auto(encoding, "serializer") and encoding["serializer"] is not None:
        return parse_codec(encoding["serializer"])
    own = _own_serializer(data_type, spec)
    if own["name"] == "bytes" and encoding.get("endian") in ("little", "big"):
        return {"name": "bytes", "configuration": {"endian": encoding["endian"]}}
    return own


def _netcdf_compressors(encoding: Mapping[str, Any], data_type: DataType, spec: Format) -> list[CodecObject]:
    """The default compressors; Blosc with zlib inside, or none, where the user asks as netCDF does."""
    defaults = default_compressors(data_type, spec)
    if "zlib" not in encoding:
        return defaults
    blosc, *checksum = defaults
    if not encoding["zlib"]:
        return checksum
    settings = dict(blosc["configuration"]) | {"cname": "zlib", "clevel": 4}
    if encoding.get("complevel") is not None:
        settings["clevel"] = index(encoding["complevel"])
    if not encoding.get("shuffle", True):
        settings["shuffle"] = "noshuffle"
    return [{"name": "blosc", "configuration": settings}, *checksum]
