"""The codecs of a variable to save: ``compressors``, ``filters``, ``serializer``, and netCDF's ``zlib``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from zarrds.codecs.defaults import default_compressors, parse_codec
from zarrds.codecs.layout import serializer_for
from zarrds.codecs.registry import kind
from zarrds.errors import EncodingError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.formats import Format
from zarrds.metadata.model import CodecObject

__all__ = ["choose_codecs"]


# names in `filters` that are also those of codecs that lay arrays out
_FILTERS_FIRST = frozenset({"packbits"})


def _is_auto(encoding: Mapping[str, Any], key: str, is_explicit: bool) -> bool:
    """Whether the choice is ours; words that came along are none that was asked for."""
    value = encoding.get(key, "auto")
    return isinstance(value, str) and (value == "auto" or not is_explicit)


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _filters(value: Any, is_explicit: bool) -> list[CodecObject]:
    """Filters, some by their names alone; without those that follow from the data type.

    v2 engines list the codec of strings among the filters.
    """
    named = (f"numcodecs.{f}" if isinstance(f, str) and f in _FILTERS_FIRST else f for f in _listed(value))
    codecs = [parse_codec(each) for each in named]
    wrong = [codec["name"] for codec in codecs if codec["name"] in _FILTERS_FIRST]
    if wrong and is_explicit:
        raise EncodingError(
            "encoding['filters'] holds a codec that is no filter",
            found=wrong[0],
            mend=f"Pass it as encoding['serializer'], or the filter numcodecs.{wrong[0]}",
        )
    return [codec for codec in codecs if kind(codec["name"]) != "array_bytes"]


def choose_codecs(
    encoding: Mapping[str, Any], data_type: DataType, spec: Format, is_explicit: bool
) -> Iterator[CodecObject]:
    """The codecs of a variable, in order.

    Parameters
    ----------
    encoding : mapping
    data_type : DataType
    spec : Format
    is_explicit : bool
        Whether the encoding is what the user asked for, not what an earlier file left there: that gives way where it
        does not fit.

    Raises
    ------
    EncodingError
        For what is no codec.
    """
    filters = () if _is_auto(encoding, "filters", is_explicit) else encoding["filters"]
    before = _filters(filters, is_explicit)
    if not is_explicit:
        before = [c for c in before if _is_fit_for(c, data_type)]
    yield from (c for c in before if kind(c["name"]) == "array_array")
    yield _serializer(encoding, data_type, spec, is_explicit)
    yield from (c for c in before if kind(c["name"]) == "bytes_bytes")
    if _is_auto(encoding, "compressors", is_explicit):
        yield from _netcdf_compressors(encoding, data_type, spec, is_explicit)
    else:
        yield from map(parse_codec, _listed(encoding["compressors"]))


def _is_fit_for(codec: CodecObject, data_type: DataType) -> bool:
    """Whether a filter of an earlier array can serve a variable whose dtype may have changed since."""
    if codec["name"] == "transpose":
        return True
    dtype = codec.get("configuration", {}).get("dtype")
    is_of_it = dtype is None or (isinstance(dtype, str) and np.dtype(dtype) == data_type.dtype)
    return is_of_it and not data_type.is_variable_length


def _serializer(encoding: Mapping[str, Any], data_type: DataType, spec: Format, is_explicit: bool) -> CodecObject:
    own: CodecObject = serializer_for(data_type)
    if spec.IS_ORDER_IN_DTYPE and own["name"] == "bytes":
        own = {"name": "bytes"}
    if _is_auto(encoding, "serializer", is_explicit) or encoding["serializer"] is None:
        if is_explicit and own["name"] == "bytes" and encoding.get("endian") in ("little", "big"):
            return {"name": "bytes", "configuration": {"endian": encoding["endian"]}}
        return own
    asked = parse_codec(encoding["serializer"])
    # a leftover of another dtype gives way to the one that fits
    if not is_explicit and (
        asked["name"] != own["name"] or bool(asked.get("configuration")) != bool(own.get("configuration"))
    ):
        return own
    return asked


def _netcdf_compressors(
    encoding: Mapping[str, Any], data_type: DataType, spec: Format, is_explicit: bool
) -> list[CodecObject]:
    """The default compressors; Blosc with zlib inside, or none, where the user asks as netCDF does."""
    defaults = default_compressors(data_type, spec)
    if not is_explicit or "zlib" not in encoding:
        return defaults
    blosc, *checksum = defaults
    if not encoding["zlib"]:
        return checksum
    settings = dict(blosc["configuration"]) | {"cname": "zlib", "clevel": encoding.get("complevel", 4)}
    if not encoding.get("shuffle", True):
        settings["shuffle"] = "noshuffle"
    return [{"name": "blosc", "configuration": settings}, *checksum]
