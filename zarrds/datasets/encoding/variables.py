"""``Variable.encoding`` -> array metadata; the way back is `stored_encoding`.

The keys are those of xarray's zarr engine. What netCDF files leave in an encoding is translated where it means
something for Zarr, and dropped otherwise; what the user asks for in ``encoding=`` is done, or is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from zarrds.arguments import check_choice, check_flags, near_names, whole_number
from zarrds.arrays.layout import data_type_of, new_array_metadata
from zarrds.compat.xarray_internals import check_vlen_dtype, is_chunked
from zarrds.datasets.encoding.attributes import missing_fill_value, take_fill_value, with_marker_renamed
from zarrds.datasets.encoding.chunks import BY_DIMENSION, choose_chunks
from zarrds.datasets.encoding.codecs import choose_codecs, fitting_codecs
from zarrds.datasets.encoding.new_variable import NewVariable
from zarrds.engine.blocks import n_blocks
from zarrds.errors import EncodingError, ZarrdsError, locating
from zarrds.metadata.attributes import MARKERS, SCALE, with_attributes
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.formats import Format
from zarrds.metadata.model import ArrayMetadata, ChunkKeyEncoding
from zarrds.metadata.times import is_since

__all__ = ["GAVE_WAY", "array_metadata_for"]

# beside the encoding of a variable whose hints were left out, once a dask block was seen that does not fit them
GAVE_WAY = "hints gave way"

_ZARR_KEYS = frozenset({"chunks", "shards", "compressors", "filters", "serializer", "fill_value", "chunk_key_encoding"})
# what netCDF engines understand, and zarrds too where it is asked for
_NETCDF_FLAGS = ("zlib", "shuffle", "fletcher32", "contiguous")
_NETCDF_KEYS = frozenset({*_NETCDF_FLAGS, "complevel", "chunksizes", "endian"})
# what xarray's coders have taken out of the encoding by then
_CODED_KEYS = frozenset({"dtype", "units", "calendar", *MARKERS, *SCALE})
# leftovers that say where a variable came from; never an error
_ORIGIN_KEYS = frozenset(
    {BY_DIMENSION, GAVE_WAY, "write_empty_chunks", "source", "original_shape", "preferred_chunks", "unlimited_dims"}
)
# what other engines and earlier versions call it
_INSTEAD = {
    "compressor": "Use compressors, a codec or a list of codecs",
    "object_codec": "Leave it out: it follows from the dtype",
    "order": "Use filters=[{'name': 'transpose', 'configuration': {'order': [...]}}]",
    "fill": "Use fill_value or _FillValue",
    "compression": "Use compressors=[{'name': 'zstd', 'configuration': {'level': 5}}], for example, or zlib=True",
    "compression_opts": "The level is one of the settings in compressors, or complevel beside zlib=True",
    "least_significant_digit": "Use filters=[{'name': 'numcodecs.quantize', 'configuration': {'digits': ..., "
    "'dtype': '<f4'}}]",
    "significant_digits": "Use filters=[{'name': 'bitround', 'configuration': {'keepbits': ...}}]: a digit is 3.3 bits",
    "quantize_mode": "Use filters=[{'name': 'bitround', 'configuration': {'keepbits': ...}}]",
    "blosc_shuffle": "It is one of the settings of blosc in compressors: 'shuffle', 'bitshuffle' or 'noshuffle'",
    "szip_coding": "Zarr has no szip: use compressors",
    "szip_pixels_per_block": "Zarr has no szip: use compressors",
}
# so many chunks lie in the array's own folder: to make a folder takes as long as to write a small chunk
_MAX_CHUNKS_IN_ONE_FOLDER = 64


def array_metadata_for(new: NewVariable, spec: Format, apart: Mapping[str, Any] | None = None) -> ArrayMetadata:
    """The metadata of the array that is to hold an encoded variable.

    Parameters
    ----------
    new : NewVariable
        As xarray's CF encoders made it.
    spec : Format
    apart : mapping, optional
        Further attributes, from `set_apart`.

    Raises
    ------
    EncodingError
        For what cannot be stored, naming the variable.
    """
    name, variable, encoding = new.name, new.variable, new.encoding
    if new.is_order:
        _check_known(name, encoding, spec)
    data_type = _data_type(name, variable)
    attributes = dict(variable.attrs)
    hidden: dict[str, Any] = {}
    is_marked = isinstance(attributes.get("_FillValue"), str | bytes) and "missing_value" not in attributes
    asked = encoding.get("fill_value")
    if asked is not None and not new.is_order and not _is_fill_value(asked, data_type):
        asked = None
    fill_value = take_fill_value(attributes, hidden, asked, data_type, spec)
    if fill_value is None and is_chunked(variable) and data_type.dtype == np.int64 and _is_counted(attributes):
        fill_value = np.iinfo(np.int64).min  # which readers take for NaT: what is not computed yet is no date
    # what is hidden could not be told from this in format 2
    if fill_value is None and is_chunked(variable) and data_type.dtype.kind in "iu" and "_FillValue" not in hidden:
        fill_value = missing_fill_value(attributes, data_type.dtype)
    with locating(key=name):
        chunks, shards = choose_chunks(new, data_type, spec)
        for_codecs = encoding if new.is_order else fitting_codecs(encoding, data_type, variable.ndim, spec)
        metadata = new_array_metadata(
            shape=variable.shape,
            dtype=data_type,
            chunks=chunks,
            shards=shards,
            codecs=choose_codecs(for_codecs, data_type, spec),
            fill_value=fill_value,
            dimension_names=[_dimension_name(dim) for dim in variable.dims],
            zarr_format=spec.zarr_format,
            chunk_key_encoding=_chunk_key_encoding(encoding, variable.shape, shards or chunks, spec),
            null_fill_value=spec.IS_FILL_MISSING,
        )
        metadata = with_attributes(metadata, attributes, hidden, apart)
        return with_marker_renamed(metadata) if is_marked and "missing_value" in attributes else metadata


def _is_counted(attributes: Mapping[Any, Any]) -> bool:
    """Whether integers are times since a date, or timedeltas."""
    return is_since(attributes.get("units")) or str(attributes.get("dtype")).startswith("timedelta64[")


def _check_known(name: str, encoding: Mapping[str, Any], spec: Format) -> None:
    known = _ZARR_KEYS | _NETCDF_KEYS
    unknown = [k for k in encoding if k not in known | _ORIGIN_KEYS and not (k == "_FillValue" and encoding[k] is None)]
    if unknown:
        allowed = known | _CODED_KEYS | {"write_empty_chunks"}
        raise EncodingError(
            f"unexpected encoding parameters {unknown!r}",
            key=name,
            expected=f"some of {', '.join(sorted(allowed))}",
            mend=_INSTEAD.get(unknown[0]) or near_names(unknown[0], allowed),
        )
    with locating(key=name):
        _check_netcdf(encoding)
    if spec.IS_FILL_MISSING and "fill_value" in encoding:
        problem = f"unexpected encoding parameters ['fill_value'] for Zarr format {spec.zarr_format}"
        raise EncodingError(problem, key=name, mend="Use _FillValue")


def _check_netcdf(encoding: Mapping[str, Any]) -> None:
    """Check the words of netCDF, which xarray's zarr engine does not have; None asks for nothing."""
    check_flags(**{f"encoding['{key}']": encoding.get(key) for key in _NETCDF_FLAGS})
    check_choice(("little", "big", "native", None), **{"encoding['endian']": encoding.get("endian")})
    level = encoding.get("complevel")
    try:
        is_level = level is None or whole_number(level) in range(10)
    except TypeError:
        is_level = False
    if not is_level:
        raise EncodingError("encoding['complevel'] is wrong", expected="an integer from 0 to 9", found=f"{level!r:.80}")


def _is_fill_value(value: Any, data_type: DataType) -> bool:
    try:
        new_array_metadata(shape=(), dtype=data_type, fill_value=value)
    except ZarrdsError:
        return False
    return True


def _data_type(name: str, variable: xr.Variable) -> DataType:
    if check_vlen_dtype(variable.dtype) is str:
        return data_type_of("string")
    if check_vlen_dtype(variable.dtype) is bytes:
        return data_type_of("bytes")
    with locating(key=name):
        return data_type_of(variable.dtype)


def _dimension_name(dim: Any) -> str:
    if not isinstance(dim, str):
        raise EncodingError(
            "names of dimensions must be strings",
            found=f"{dim!r:.80}",
            mend=f"Rename it: .rename({{{dim!r:.80}: ...}})",
        )
    return dim


def _chunk_key_encoding(
    encoding: Mapping[str, Any], shape: Sequence[int], chunks: Sequence[int], spec: Format
) -> ChunkKeyEncoding | None:
    """What was asked for; else keys without folders for arrays of few chunks; None for the format's default."""
    value = encoding.get("chunk_key_encoding")
    if value is None:
        return spec.FLAT_KEYS if n_blocks(shape, chunks) <= _MAX_CHUNKS_IN_ONE_FOLDER else None
    described = value if isinstance(value, Mapping) else getattr(value, "to_dict", dict)()
    name = described.get("name")
    separator = described.get("separator", (described.get("configuration") or {}).get("separator"))
    if name not in ("default", "v2") or separator not in ("/", ".", None):
        raise EncodingError("encoding['chunk_key_encoding'] is wrong", found=f"{value!r:.80}")
    return ChunkKeyEncoding(name, separator or ("/" if name == "default" else "."))
