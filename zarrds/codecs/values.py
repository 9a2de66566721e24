"""The registered codecs that change values: ``scale_offset`` and ``cast_value``.

Sources: their pages in the registry of Zarr extensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from zarrds.codecs.base import AnyArray, ChunkSpec
from zarrds.errors import ChunkError, EncodingError, MetadataError, ZarrdsError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.fields import JSONObject
from zarrds.metadata.fill_values import decode_fill_value

__all__ = ["CastValue", "ScaleOffset"]

_ROUNDINGS: dict[str, Callable[[AnyArray], AnyArray]] = {
    "nearest-even": np.rint,
    "towards-zero": np.trunc,
    "towards-positive": np.ceil,
    "towards-negative": np.floor,
    "nearest-away": lambda values: np.trunc(values + np.copysign(0.5, values)),
}


def _check_settings(configuration: JSONObject, known: set[str], codec: str) -> None:
    if unknown := configuration.keys() - known:
        raise MetadataError("unknown settings of the codec", codec=codec, found=sorted(unknown))


def _check_numbers(data_type: DataType, codec: str) -> None:
    if data_type.is_variable_length or data_type.dtype.kind not in "iuf":
        raise MetadataError("the codec takes integers and floats only", codec=codec, found=data_type.name)


@dataclass(frozen=True, slots=True)
class ScaleOffset:
    """Stored is ``(element - offset) * scale``, in the element's own dtype."""

    offset: Any
    scale: Any

    @classmethod
    def from_configuration(cls, configuration: JSONObject, spec: ChunkSpec) -> Self:
        _check_settings(configuration, {"offset", "scale"}, "scale_offset")
        _check_numbers(spec.data_type, "scale_offset")
        offset = decode_fill_value(configuration.get("offset", 0), spec.data_type)
        scale = decode_fill_value(configuration.get("scale", 1), spec.data_type)
        if offset is None or not scale:
            raise MetadataError("invalid settings of the codec", codec="scale_offset", found=configuration)
        return cls(offset, scale)

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        return spec

    def encode(self, array: AnyArray) -> AnyArray:
        with np.errstate(all="ignore"):
            encoded: AnyArray = ((array - self.offset) * self.scale).astype(array.dtype, copy=False)
        return encoded

    def decode(self, array: AnyArray, spec: ChunkSpec) -> AnyArray:
        with np.errstate(all="ignore"):
            divided = array / self.scale if spec.dtype.kind == "f" else array // self.scale
            decoded: AnyArray = (divided + self.offset).astype(spec.dtype, copy=False)
        return decoded


@dataclass(frozen=True, slots=True)
class CastValue:
    """Stored are the same values in another data type.

    Attributes
    ----------
    data_type : DataType
        That is stored.
    rounding : str
        How fractions become integers.
    out_of_range : {"error", "clamp", "wrap"}
    """

    data_type: DataType
    rounding: str
    out_of_range: str

    @classmethod
    def from_configuration(cls, configuration: JSONObject, spec: ChunkSpec) -> Self:
        _check_settings(configuration, {"data_type", "rounding", "out_of_range"}, "cast_value")
        if "data_type" not in configuration:
            raise MetadataError("the codec has no data_type", codec="cast_value")
        data_type = DataType.from_v3(configuration["data_type"])
        for each in (spec.data_type, data_type):
            _check_numbers(each, "cast_value")
        rounding, out_of_range = (
            configuration.get("rounding", "nearest-even"),
            configuration.get("out_of_range", "error"),
        )
        if rounding not in list(_ROUNDINGS) or out_of_range not in ["error", "clamp", "wrap"]:
            raise MetadataError("invalid settings of the codec", codec="cast_value", found=configuration)
        return cls(data_type, rounding, out_of_range)

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        return replace(spec, data_type=self.data_type)

    def encode(self, array: AnyArray) -> AnyArray:
        return self._cast(array, self.data_type.dtype, EncodingError)

    def decode(self, array: AnyArray, spec: ChunkSpec) -> AnyArray:
        return self._cast(array, spec.dtype, ChunkError)

    def _cast(self, values: AnyArray, dtype: np.dtype[Any], failure: type[ZarrdsError]) -> AnyArray:
        native = dtype.newbyteorder("=")
        if native.kind == "f":
            with np.errstate(over="ignore"):
                cast: AnyArray = values.astype(native)
            outside = np.isfinite(values) & ~np.isfinite(cast)
            low, high = np.finfo(native).min, np.finfo(native).max
        else:
            low, high = np.iinfo(native).min, np.iinfo(native).max
            if values.dtype.kind == "f":
                if np.isnan(values).any():
                    raise failure("NaN has no place among integers", codec="cast_value", expected=str(dtype))
                values = _ROUNDINGS[self.rounding](values.astype(np.float64))
                outside = (values < float(low)) | (values >= float(high) + 1)
            else:
                outside = (values < int(low)) | (values > int(high))
            with np.errstate(invalid="ignore"):
                cast = (
                    values.astype(native) if values.dtype.kind != "f" else np.where(outside, 0, values).astype(native)
                )
        if outside.any():
            if self.out_of_range == "error" or (self.out_of_range == "wrap" and native.kind == "f"):
                raise failure("a value has no place in the data type", codec="cast_value", expected=str(dtype))
            if self.out_of_range == "clamp":
                limits: AnyArray = np.where(values < 0, native.type(low), native.type(high))
                cast = np.where(outside, limits, cast)
            elif values.dtype.kind == "f":
                if not np.isfinite(values).all():
                    raise failure("infinity has no place among integers", codec="cast_value", expected=str(dtype))
                modulus = float(high) + 1 - float(low)
                wrapped = np.mod(values[outside], modulus).astype(np.uint64).astype(native)
                cast[outside] = wrapped
        return cast.astype(dtype, copy=False)
