"""``Variable.encoding`` <-> array metadata.

The keys are those of xarray's zarr engine. What netCDF files leave in an encoding is translated where it means
something for Zarr, and dropped otherwise; what the user asks for in ``encoding=`` is done, or is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import xarray as xr

from zarrds.arrays.attributes import check_attributes
from zarrds.arrays.layout import auto_chunks, data_type_of, new_array_metadata
from zarrds.codecs.blosc import MAX_NBYTES
from zarrds.codecs.defaults import default_compressors, parse_codec
from zarrds.codecs.layout import serializer_for
from zarrds.codecs.registry import kind
from zarrds.datasets.xarray_internals import FillValueCoder, check_vlen_dtype, encode_zarr_attr_value
from zarrds.errors import EncodingError, ZarrdsError
from zarrds.metadata.dtypes import JSON, DataType
from zarrds.metadata.model import ArrayMetadata, ChunkKeyEncoding, CodecObject, ZarrFormat

__all__ = ["array_metadata_for", "decoded_attributes", "encoded_attributes", "encoding_of"]

_ZARR_KEYS = frozenset({"chunks", "shards", "compressors", "filters", "serializer", "fill_value", "chunk_key_encoding"})
# what netCDF engines understand, and zarrds too where it is asked for
_NETCDF_KEYS = frozenset({"zlib", "complevel", "shuffle", "fletcher32", "contiguous", "chunksizes", "endian"})
# leftovers that say where a variable came from; never an error
_ORIGIN_KEYS = frozenset({"source", "original_shape", "preferred_chunks", "unlimited_dims"})
# larger chunks (in bytes) that an earlier store left are cut to the array, as they may be those of one that was larger
_MAX_PADDED_CHUNK = 4 * 1024 * 1024
# chunks of a netCDF file that are smaller than this make a slow store, and are not carried over
_MIN_NETCDF_CHUNK = 64 * 1024


def encoding_of(metadata: ArrayMetadata, *, fill_value_is_mask: bool) -> dict[str, Any]:
    """The encoding of a stored array, as xarray's zarr engine fills it, with codecs as v3 JSON objects.

    Saving a variable with this encoding gives its array the same chunks and codecs.
    """
    names = metadata.dimension_names or ()
    encoding: dict[str, Any] = {
        "chunks": metadata.chunks,
        "preferred_chunks": dict(zip(names, metadata.chunks, strict=False)),
        "compressors": tuple(_without_typesize(c) for c in metadata.codecs if kind(c["name"]) == "bytes_bytes"),
        "filters": tuple(c for c in metadata.codecs if kind(c["name"]) == "array_array"),
        "shards": None,
    }
    if metadata.zarr_format == 3:
        encoding["serializer"] = next(c for c in metadata.codecs if kind(c["name"]) == "array_bytes")
    if not fill_value_is_mask and metadata.zarr_format == 3:
        encoding["fill_value"] = metadata.fill_value
    return encoding


def _without_typesize(codec: CodecObject) -> CodecObject:
    """The type size follows the dtype, which may change before the variable is saved again."""
    if codec["name"] != "blosc":
        return codec
    settings = {k: v for k, v in codec.get("configuration", {}).items() if k != "typesize"}
    return {"name": "blosc", "configuration": settings}


def _with_typesize(codec: CodecObject, data_type: DataType) -> CodecObject:
    """Other readers of v3 need it written out."""
    settings = codec.get("configuration", {})
    if codec["name"] != "blosc" or "typesize" in settings:
        return codec
    itemsize = 1 if data_type.is_variable_length else data_type.dtype.itemsize
    return {"name": "blosc", "configuration": {**settings, "typesize": itemsize if 0 < itemsize < 256 else 1}}


def decoded_attributes(metadata: ArrayMetadata, *, fill_value_is_mask: bool) -> dict[str, Any]:
    """The attributes of a stored array, with ``_FillValue`` as a value of its dtype."""
    attributes = {k: v for k, v in metadata.attributes.items() if not k.lower().startswith("_nc")}
    if fill_value_is_mask:
        if metadata.fill_value is not None:
            attributes["_FillValue"] = metadata.fill_value
    elif "_FillValue" in attributes:
        data_type = metadata.data_type
        try:
            if data_type.name in ("string", "variable_length_bytes"):
                dtype: Any = "string" if data_type.name == "string" else "bytes"
            else:
                dtype = data_type.dtype
            attributes["_FillValue"] = _decode_fill_value_attribute(attributes["_FillValue"], dtype)
        except (TypeError, ValueError, OverflowError):
            # another writer's convention: leave it as it stands, for xarray to make of it what it can
            pass
    return attributes


def _decode_fill_value_attribute(value: JSON, dtype: Any) -> Any:
    if isinstance(dtype, np.dtype) and dtype.kind in "SU":
        return FillValueCoder.decode(value, "bytes" if dtype.kind == "S" else "string")
    decoded = FillValueCoder.decode(value, dtype)
    if isinstance(dtype, np.dtype) and dtype.kind in "iu":
        # with its type, as netCDF engines give it: an `_Unsigned` variable's marker must wrap around with its data
        return dtype.type(decoded)
    return decoded


def encoded_attributes(attributes: Mapping[Any, Any]) -> dict[str, JSON]:
    """Attributes as JSON.

    Raises
    ------
    EncodingError
        For one that is no JSON, naming it.
    """
    for name, value in attributes.items():
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "mM":
            # NumPy would give the bare number, of units that nobody knows
            raise EncodingError(
                f"attribute {name!r} cannot be stored: it is a {value.dtype}", mend="Store it as text, or as a variable"
            )
    encoded = {name: encode_zarr_attr_value(value) for name, value in attributes.items()}
    check_attributes(encoded)
    return encoded


def array_metadata_for(
    name: str, variable: xr.Variable, *, zarr_format: ZarrFormat, is_explicit: bool
) -> ArrayMetadata:
    """The metadata of the array that is to hold an encoded variable.

    Parameters
    ----------
    name : str
        For errors.
    variable : Variable
        As xarray's CF encoders made it.
    zarr_format : {2, 3}
    is_explicit : bool
        Whether its encoding is what the user asked for, not what an earlier file left there.

    Raises
    ------
    EncodingError
        For what cannot be stored, naming the variable.
    """
    encoding = _known(name, variable.encoding, is_explicit, zarr_format)
    data_type = _data_type(name, variable)
    attributes = dict(variable.attrs)
    fill_value = _take_fill_value(attributes, encoding, data_type, zarr_format, is_explicit)
    try:
        chunks = _chunks(variable, encoding, data_type, is_explicit)
        encoded = encoded_attributes(attributes)
        return new_array_metadata(
            shape=variable.shape,
            dtype=data_type,
            chunks=chunks,
            shards=encoding.get("shards"),
            codecs=[_with_typesize(c, data_type) for c in _codecs(encoding, data_type, zarr_format, is_explicit)],
            fill_value=fill_value,
            dimension_names=[_dimension_name(dim) for dim in variable.dims],
            attributes=encoded,
            zarr_format=zarr_format,
            chunk_key_encoding=_chunk_key_encoding(encoding.get("chunk_key_encoding")),
            null_fill_value=zarr_format == 2,
        )
    except ZarrdsError as error:
        raise error.located(key=name) from error.__cause__


def _known(name: str, encoding: Mapping[str, Any], is_explicit: bool, zarr_format: ZarrFormat) -> dict[str, Any]:
    known = _ZARR_KEYS | _NETCDF_KEYS
    if is_explicit:
        unknown = [
            k for k in encoding if k not in known | _ORIGIN_KEYS and not (k == "_FillValue" and encoding[k] is None)
        ]
        if unknown:
            raise EncodingError(
                f"unexpected encoding parameters {unknown!r}", key=name, expected=f"some of {', '.join(sorted(known))}"
            )
        if zarr_format == 2 and "fill_value" in encoding:
            raise EncodingError(
                "unexpected encoding parameters ['fill_value'] for Zarr format 2", key=name, mend="Use _FillValue"
            )
    return {k: v for k, v in encoding.items() if k in known}


def _data_type(name: str, variable: xr.Variable) -> DataType:
    if check_vlen_dtype(variable.dtype) is str:
        return data_type_of("string")
    if check_vlen_dtype(variable.dtype) is bytes:
        return data_type_of("bytes")
    try:
        return data_type_of(variable.dtype)
    except ZarrdsError as error:
        raise error.located(key=name) from error.__cause__


def _dimension_name(dim: Any) -> str:
    if not isinstance(dim, str):
        raise EncodingError("names of dimensions must be strings", found=f"{dim!r:.80}")
    return dim


def _take_fill_value(
    attributes: dict[str, Any],
    encoding: Mapping[str, Any],
    data_type: DataType,
    zarr_format: ZarrFormat,
    is_explicit: bool,
) -> Any:
    """The array's fill value; ``_FillValue`` leaves the attributes, or stays there as JSON."""
    marked = attributes.pop("_FillValue", None)
    if zarr_format == 2:
        return marked
    if marked is not None:
        if data_type.name == "string" or data_type.dtype.kind == "U":
            # a `_FillValue` of text in a v3 store is an error to the zarr engine; this means the same, to both
            attributes.setdefault("missing_value", str(marked))
        else:
            attributes["_FillValue"] = FillValueCoder.encode(marked, data_type.dtype)
    fill_value = encoding.get("fill_value")
    if fill_value is not None and not is_explicit and not _fits(fill_value, data_type):
        fill_value = None
    if fill_value is None and data_type.dtype.kind == "f":
        # as xarray's zarr engine: chunks of floats that were never written hold NaN
        return np.nan
    return fill_value


def _fits(value: Any, data_type: DataType) -> bool:
    try:
        new_array_metadata(shape=(), dtype=data_type, fill_value=value)
    except ZarrdsError:
        return False
    return True


def _chunks(variable: xr.Variable, encoding: Mapping[str, Any], data_type: DataType, is_explicit: bool) -> Any:
    """Chunks from the encoding, else the dask chunks, else automatic ones."""
    asked = _asked_chunks(variable, encoding, data_type, is_explicit)
    if is_explicit and asked is not None:
        return asked
    blocks = _dask_chunks(variable, data_type)
    if asked is not None and (variable.chunks is None or blocks is None or _holds(asked, variable.chunks)):
        return asked
    return blocks or auto_chunks(variable.shape, data_type)


def _asked_chunks(
    variable: xr.Variable, encoding: Mapping[str, Any], data_type: DataType, is_explicit: bool
) -> tuple[int, ...] | None:
    asked = encoding.get("chunks")
    if asked is None and not encoding.get("contiguous"):
        asked = encoding.get("chunksizes")
    if asked is None or (isinstance(asked, str) and asked == "auto"):
        return None
    chunks = _chunk_sizes(asked, variable.shape)
    if is_explicit:
        if chunks is None:
            raise EncodingError(
                "encoding['chunks'] is wrong", expected=f"{variable.ndim} positive integers", found=f"{asked!r:.100}"
            )
        return chunks
    if chunks is None:
        return None
    # what an earlier file left may be the chunks of a variable that was cut since
    cut = tuple(min(chunk, max(1, size)) for chunk, size in zip(chunks, variable.shape, strict=True))
    itemsize = data_type.dtype.itemsize
    if encoding.get("chunks") is None:
        return cut if prod(cut) * itemsize >= min(_MIN_NETCDF_CHUNK, variable.nbytes) else None
    if prod(chunks) * itemsize > _MAX_PADDED_CHUNK:
        chunks = cut
    return chunks if prod(chunks) * itemsize <= MAX_NBYTES else None


def _chunk_sizes(asked: Any, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Chunks as integers, one for each dimension, or None if they are not to be understood."""
    if isinstance(asked, int | np.integer):
        asked = (asked,) * len(shape)
    if not isinstance(asked, Sequence | np.ndarray) or len(asked) != len(shape):
        return None
    if not all(isinstance(chunk, int | np.integer) and (chunk > 0 or chunk == -1) for chunk in asked):
        return None
    return tuple(max(1, size) if chunk == -1 else int(chunk) for chunk, size in zip(asked, shape, strict=True))


def _dask_chunks(variable: xr.Variable, data_type: DataType) -> tuple[int, ...] | None:
    """The size of a dask array's blocks, if they are even and small enough for one chunk."""
    if variable.chunks is None or variable.size == 0:
        return None
    even = all(len(set(sizes[:-1])) <= 1 and sizes[-1] <= sizes[0] for sizes in variable.chunks)
    blocks = tuple(sizes[0] for sizes in variable.chunks)
    small = prod(blocks) * data_type.dtype.itemsize <= MAX_NBYTES
    return blocks if even and small and all(blocks) else None


def _holds(chunks: tuple[int, ...], blocks: Sequence[Sequence[int]]) -> bool:
    """Whether no chunk is shared by two blocks."""
    return all(
        not np.any(np.cumsum(sizes)[:-1] % chunk) for chunk, sizes in zip(chunks, blocks, strict=True) if len(sizes) > 1
    )


def _listed(value: Any) -> list[CodecObject]:
    if value is None:
        return []
    if isinstance(value, Mapping) or not isinstance(value, list | tuple):
        value = [value]
    return [parse_codec(codec) for codec in value]


def _codecs(
    encoding: Mapping[str, Any], data_type: DataType, zarr_format: ZarrFormat, is_explicit: bool
) -> Iterator[CodecObject]:
    """The codecs of a variable, in order."""
    auto = "auto"
    filters = encoding.get("filters", ())
    compressors = encoding.get("compressors", auto)
    serializer = encoding.get("serializer", auto)
    # v2 engines list the codec of strings among the filters; it follows from the data type
    before = [] if isinstance(filters, str) else [c for c in _listed(filters) if kind(c["name"]) != "array_bytes"]
    if not is_explicit:
        before = [c for c in before if _is_fit_for(c, data_type)]
    yield from (c for c in before if kind(c["name"]) == "array_array")
    yield _serializer(serializer, encoding, data_type, zarr_format, is_explicit)
    yield from (c for c in before if kind(c["name"]) == "bytes_bytes")
    if isinstance(compressors, str):
        yield from _netcdf_compressors(encoding, data_type, zarr_format, is_explicit)
    else:
        yield from _listed(compressors)


def _is_fit_for(codec: CodecObject, data_type: DataType) -> bool:
    """Whether a filter of an earlier array can serve a variable whose dtype may have changed since."""
    if codec["name"] == "transpose":
        return True
    dtype = codec.get("configuration", {}).get("dtype")
    return not data_type.is_variable_length and (dtype is None or np.dtype(dtype) == data_type.dtype)


def _serializer(
    serializer: Any, encoding: Mapping[str, Any], data_type: DataType, zarr_format: ZarrFormat, is_explicit: bool
) -> CodecObject:
    own: CodecObject = serializer_for(data_type)
    if zarr_format == 2:
        return {"name": "bytes"} if own["name"] == "bytes" else own
    if serializer is None or isinstance(serializer, str):
        if is_explicit and own.get("configuration") and encoding.get("endian") in ("little", "big"):
            return {"name": "bytes", "configuration": {"endian": encoding["endian"]}}
        return own
    asked = parse_codec(serializer)
    # a leftover of another dtype gives way to the one that fits
    if not is_explicit and (
        asked["name"] != own["name"] or bool(asked.get("configuration")) != bool(own.get("configuration"))
    ):
        return own
    return asked


def _netcdf_compressors(
    encoding: Mapping[str, Any], data_type: DataType, zarr_format: ZarrFormat, is_explicit: bool
) -> list[CodecObject]:
    """The default compressors; Blosc with zlib inside, or none, where the user asks as netCDF does."""
    defaults = default_compressors(data_type, zarr_format)
    if not is_explicit or "zlib" not in encoding:
        return defaults
    blosc, *checksum = defaults
    if not encoding["zlib"]:
        return checksum
    settings = dict(blosc["configuration"]) | {"cname": "zlib", "clevel": encoding.get("complevel", 4)}
    if not encoding.get("shuffle", True):
        settings["shuffle"] = "noshuffle"
    return [{"name": "blosc", "configuration": settings}, *checksum]


def _chunk_key_encoding(value: Any) -> ChunkKeyEncoding | None:
    if value is None:
        return None
    described = value if isinstance(value, Mapping) else getattr(value, "to_dict", dict)()
    name = described.get("name")
    separator = described.get("separator", described.get("configuration", {}).get("separator"))
    if name not in ("default", "v2") or separator not in ("/", ".", None):
        raise EncodingError("encoding['chunk_key_encoding'] is wrong", found=f"{value!r:.80}")
    return ChunkKeyEncoding(name, separator or ("/" if name == "default" else "."))
