"""Array metadata -> ``Variable.encoding``: what opened variables say of how they are stored."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from zarrds.codecs.pipeline import build_pipeline, with_all_settings
from zarrds.codecs.registry import PREFIX, kind
from zarrds.metadata.formats import spec_of
from zarrds.metadata.formats.v2_codecs import to_v2 as codecs_of_format_2
from zarrds.metadata.model import ArrayMetadata, CodecObject

__all__ = ["encoding_of"]

_TEXT = ("vlen-utf8", "vlen-bytes")


def encoding_of(metadata: ArrayMetadata, *, fill_value_is_mask: bool) -> dict[str, Any]:
    """The encoding of a stored array, as xarray's zarr engine fills it, with codecs as v3 JSON objects.

    Saving a variable with this encoding gives its array the same chunks and codecs.
    """
    chunks, codecs, shards = metadata.inner()
    # whole shards are read at once, as cheaply as one of their chunks
    preferred = dict(zip(metadata.dimension_names or (), shards or chunks, strict=False))
    encoding: dict[str, Any] = {"chunks": chunks, "preferred_chunks": preferred, "shards": shards}
    if spec_of(metadata).HAS_CODECS_OF_NUMCODECS:
        return encoding | _codecs_of_format_2(metadata)
    by_kind: dict[str, list[CodecObject]] = {"array_array": [], "array_bytes": [], "bytes_bytes": []}
    for codec in codecs:
        by_kind[kind(codec["name"])].append(_copied(codec))
    encoding["compressors"] = tuple(by_kind["bytes_bytes"])
    encoding["filters"] = tuple(by_kind["array_array"])
    (encoding["serializer"],) = by_kind["array_bytes"]
    if not fill_value_is_mask:
        encoding["fill_value"] = metadata.fill_value
    return encoding


def _codecs_of_format_2(metadata: ArrayMetadata) -> dict[str, Any]:
    """As documents of format 2 have them, which numcodecs and so xarray's zarr engine understand."""
    pipeline = build_pipeline(metadata.codecs, metadata.chunks, metadata.data_type)
    codecs = codecs_of_format_2(with_all_settings(metadata.codecs, pipeline), len(metadata.shape))
    # the codec of text follows from the dtype
    filters: list[Any] = [codec for codec in codecs.filters or () if codec["id"] not in _TEXT]
    if filters:
        import numcodecs  # of filters zarr-python takes nothing but its objects

        filters = [numcodecs.get_codec(codec) for codec in filters]  # whose names were checked when this was read
    encoding: dict[str, Any] = {"compressors": None if codecs.compressor is None else (codecs.compressor,)}
    if filters or not metadata.data_type.is_variable_length:
        encoding["filters"] = tuple(filters) or None
    return encoding


def _copied(codec: CodecObject) -> CodecObject:
    """A codec that may be changed, without a type size: that follows the dtype, which may change before it is saved."""
    if "configuration" not in codec:
        # without one zarr-python takes none of numcodecs' own
        return {**codec, "configuration": {}} if codec["name"].startswith(PREFIX) else {**codec}
    settings = {**codec["configuration"]}
    for name, value in settings.items():
        if type(value) in (list, dict):  # JSON has no others, and this is done for each codec of each variable
            settings[name] = deepcopy(value)
    if codec["name"] == "blosc":
        settings.pop("typesize", None)
    return {"name": codec["name"], "configuration": settings}
