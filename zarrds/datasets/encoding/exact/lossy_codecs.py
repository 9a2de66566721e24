"""What codecs that change values would make of a variable: it is decoded and compared before it is written.

``quantize``, ``bitround``, ``fixedscaleoffset`` and their like round by what their settings declare. They also wrap
around, cut and turn NaN into a number, without an error; and left by an earlier file, they say nothing of new values.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.codecs.pipeline import build_pipeline
from zarrds.codecs.registry import kind
from zarrds.compat.xarray_internals import variable_of
from zarrds.datasets.encoding.exact.blocks import Block, blockwise, encoding_error
from zarrds.datasets.encoding.exact.comparison import label_text
from zarrds.datasets.encoding.exact.differences import differing
from zarrds.errors import CarriedEncodingError, EncodingError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.fields import JSON, member
from zarrds.metadata.fill_values import decode_fill_value
from zarrds.metadata.model import SHARDING, ArrayMetadata, CodecObject, Sharded

__all__ = ["changes_elements", "proven", "without_codecs", "without_element_filters", "without_filters"]

Array: TypeAlias = "np.ndarray[Any, Any]"

# roundings of the arithmetic of a codec
_ROUNDINGS = 4


def proven(name: Hashable, variable: xr.Variable, metadata: ArrayMetadata, *, is_carried: bool = False) -> xr.Variable:
    """An encoded variable that its array's codecs keep as their settings declare; dask arrays are checked lazily.

    Parameters
    ----------
    name : hashable
    variable : Variable
        In the dtype of the array.
    metadata : ArrayMetadata
    is_carried : bool
        Whether the codecs came along with the variable: then nothing may change, and the error is
        `CarriedEncodingError`.

    Raises
    ------
    EncodingError
        For a value that would be changed by more.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from zarrds.arrays.layout import new_array_metadata
    >>> tenths = {"offset": 0, "scale": 10, "dtype": "<f8", "astype": "|u1"}
    >>> codecs = [{"name": "numcodecs.fixedscaleoffset", "configuration": tenths}, {"name": "bytes"}]
    >>> metadata = new_array_metadata(shape=(1,), dtype="float64", codecs=codecs)
    >>> proven("v", xr.Variable("x", [2.53]), metadata).values
    array([2.53])
    >>> try:
    ...     proven("v", xr.Variable("x", [99.0]), metadata)
    ... except EncodingError as error:
    ...     print(error.problem)
    variable 'v' holds a value that would read back as 22.2
    """
    codecs = _changing(metadata)
    if not codecs or metadata.data_type.dtype.kind not in "biufc":
        return variable
    if _goes_on_from_fill_value(metadata, is_always=is_carried):
        raise (CarriedEncodingError if is_carried else EncodingError)(
            f"variable {name!r} cannot be encoded by its codecs: delta loses what stands behind NaN",
            key=str(name),
            expected="a finite fill value, with which chunks are filled up",
            found=metadata.fill_value,
            mend="Leave the filter out, or give such a fill_value (in format 2 a _FillValue)",
        )
    proof = _Proof(name, variable.dims, metadata.data_type, codecs, is_carried)
    is_filled_up = any(n % chunk for n, chunk in zip(metadata.shape, metadata.inner().chunks, strict=True))
    if is_carried and is_filled_up and metadata.fill_value is not None:
        proof.read_back(np.array([metadata.fill_value], metadata.data_type.dtype))
    data = blockwise(proof, variable, variable.dtype)
    return variable_of(variable.dims, data, variable.attrs, variable.encoding)


def changes_elements(metadata: ArrayMetadata) -> bool:
    """Whether an array has codecs that may make elements others."""
    return bool(_changing(metadata))


def without_filters(encoding: Mapping[str, Any]) -> dict[str, Any]:
    """An encoding without what may change elements on their way to bytes."""
    return {key: value for key, value in encoding.items() if key != "filters"}


def without_codecs(encoding: Mapping[str, Any]) -> dict[str, Any]:
    """An encoding that leaves all codecs to zarrds."""
    return {key: value for key, value in encoding.items() if key not in ("filters", "serializer", "compressors")}


def without_element_filters(codecs: Sequence[CodecObject]) -> tuple[CodecObject, ...]:
    """Codecs, also those inside of shards, without filters of elements of one dtype: bytes are made of all bits.

    Examples
    --------
    >>> without_element_filters([{"name": "numcodecs.packbits"}, {"name": "bytes"}, {"name": "zstd"}])
    ({'name': 'bytes'}, {'name': 'zstd'})
    """
    kept: list[CodecObject] = []
    for codec in codecs:
        if codec["name"] == SHARDING:
            sharded = Sharded.of(codec)
            kept.append(replace(sharded, codecs=without_element_filters(sharded.codecs)).codec())
        elif codec["name"] == "packbits":
            kept.append({"name": "bytes", "configuration": {"endian": "little"}})
        elif codec["name"] == "transpose" or kind(codec["name"]) != "array_array":
            kept.append(codec)
    return tuple(kept)


def _changing(metadata: ArrayMetadata) -> tuple[CodecObject, ...]:
    """What makes elements others, with the codec that makes bytes of them; nothing if there is none such."""
    lossless = {"transpose", "packbits"} if metadata.data_type.dtype.kind == "b" else {"transpose"}
    kept = [c for c in metadata.inner().codecs if c["name"] != "transpose" and kind(c["name"]) != "bytes_bytes"]
    is_lossy = any(kind(c["name"]) == "array_array" and _short(c) not in lossless for c in kept)
    return tuple(kept) if is_lossy else ()


def _goes_on_from_fill_value(metadata: ArrayMetadata, *, is_always: bool) -> bool:
    """Whether a filter takes each float from the one before it, also behind the NaN or infinities of chunks not full.

    Of other fill values it is seen when a chunk is encoded, which is too late (`is_always`) for what may give way.
    """
    fill_value = metadata.fill_value
    if metadata.data_type.dtype.kind not in "fc":
        return False
    is_finite = fill_value is None or bool(np.isfinite(fill_value))
    return (is_always or not is_finite) and any(_short(codec) == "delta" for codec in metadata.inner().codecs)


def _short(codec: CodecObject) -> str:
    return str(codec["name"]).removeprefix("numcodecs.")


@dataclass(frozen=True)
class _Proof:
    """Gives blocks back as they are, if the codecs keep them."""

    name: Hashable
    dims: tuple[Hashable, ...]
    data_type: DataType
    codecs: tuple[CodecObject, ...]
    is_carried: bool

    def read_back(self, values: Array) -> Array:
        """What reads back in place of values."""
        pipeline = build_pipeline(self.codecs, values.shape, self.data_type)
        try:
            parts = pipeline.encode(np.ascontiguousarray(values, self.data_type.dtype))
            return np.asarray(pipeline.decode(b"".join(bytes(part) for part in parts)))
        except EncodingError as error:
            raise (CarriedEncodingError if self.is_carried else EncodingError)(
                f"variable {self.name!r} cannot be encoded by its codecs: {error.problem}", key=str(self.name)
            ) from error

    def on_block(self, block: Block) -> Array:
        values = block.values
        if not values.size:
            return values
        decoded = self.read_back(values)
        slack = 0 if self.is_carried else _slack(values, self.codecs)
        bad = differing(values, decoded, slack)
        if bad.any():
            read = decoded[int(np.argmax(bad))]
            problem = "would read back as missing" if pd.isnull(read) else f"would read back as {label_text(read)}"
            raise encoding_error(
                block,
                bad,
                problem,
                expected=f"values that the codecs {', '.join(map(_short, self.codecs[:-1]))} hold",
                mend="Leave the filters out, or give them settings that hold the values",
                kind=CarriedEncodingError if self.is_carried else EncodingError,
            )
        return values


def _slack(values: Array, codecs: Sequence[CodecObject]) -> Any:
    """By how much the settings of codecs declare that values may change."""
    if values.dtype.kind not in "fc":
        return 0
    magnitude = np.abs(values).astype(np.float64)
    offset, scale, absolute, relative = 0.0, 1.0, 0.0, _ROUNDINGS * float(np.finfo(values.dtype).eps)
    for codec in codecs:
        settings, name = codec.get("configuration", {}), _short(codec)
        if name == "scale_offset":
            data_type = DataType.from_numpy(values.dtype)
            offset, scale = (
                abs(float(decode_fill_value(settings.get(key, default), data_type)))
                for key, default in (("offset", 0), ("scale", 1))
            )
        elif name == "fixedscaleoffset":
            offset, scale = abs(member(settings, "offset", float, 0.0)), abs(member(settings, "scale", float, 1.0))
            absolute += 0.5 / scale if scale else 0.0  # then nothing is left of any value
            relative += _eps(settings.get("astype"))
        elif name == "cast_value":
            dtype = DataType.from_v3(member(settings, "data_type")).dtype
            to_nearest = member(settings, "rounding", str, "nearest-even").startswith("nearest")
            absolute += (0.5 if to_nearest else 1.0) / scale if dtype.kind in "iu" else 0.0
            relative += _eps(dtype.str)
        elif name == "quantize":
            absolute += 0.5 * 10.0 ** -member(settings, "digits", float) / scale
            relative += _eps(settings.get("astype"))
        elif name == "bitround":
            relative += 2.0 ** -member(settings, "keepbits", float)
        elif name in ("astype", "delta"):
            relative += _eps(settings.get("encode_dtype", settings.get("astype")))
    with np.errstate(all="ignore"):
        return absolute * (1 + 1e-6) + (magnitude + offset) * relative


def _eps(dtype: JSON) -> float:
    """The relative precision of floats of a dtype; that of integers is no matter of their size."""
    found = np.dtype(dtype) if isinstance(dtype, str) else None
    return float(np.finfo(found).eps) if found is not None and found.kind in "fc" else 0.0
