"""Fill values in JSON, in every form of both specifications.

Sources: Zarr v3 core specification ("Fill value"), the registered extension data types, and the Zarr v2 specification
("Fill value encoding").
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from zarrds.errors import MetadataError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.fields import JSON, JSONObject
from zarrds.metadata.times import as_times

__all__ = ["decode_fill_value", "default_fill_value", "encode_fill_value"]

Scalar: TypeAlias = Any
DType: TypeAlias = np.dtype[Any]

_SPECIAL_FLOATS = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}
_NOT_A_TIME = np.iinfo(np.int64).min


def default_fill_value(data_type: DataType) -> Scalar:
    """Zero, False, the empty string or NaT: what Zarr libraries fill with when nothing else is said."""
    if data_type.is_variable_length:
        return {"string": "", "variable_length_bytes": b"", "json": None}[data_type.name]
    if data_type.dtype.kind in "mM":
        return _decode_time("NaT", data_type.dtype)
    return np.zeros((), data_type.dtype)[()]


def decode_fill_value(value: JSON, data_type: DataType) -> Scalar:
    """Parse the ``fill_value`` member of a v2 or v3 document.

    Parameters
    ----------
    value : JSON
        Number, boolean, string (``"NaN"``, ``"-Infinity"``, hexadecimal bits, base64), list or null.
    data_type : DataType

    Returns
    -------
    scalar
        A NumPy scalar of the data type, a str or bytes, or None for null.

    Raises
    ------
    MetadataError
        If the value is none of the forms of the specifications.

    Examples
    --------
    >>> decode_fill_value("0x7fc00000", DataType.from_v3("float32"))
    np.float32(nan)
    """
    if value is None or data_type.name == "json":
        return value
    try:
        return _DECODERS[_form(data_type)](value, data_type.dtype)
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise MetadataError(
            f"not a fill value of data type {data_type.name!r}",
            found=f"{value!r:.100} ({error})",
            mend="Correct fill_value in the metadata document",
        ) from error


def encode_fill_value(value: Scalar, data_type: DataType, *, zarr_format: int = 3) -> JSON:
    """The ``fill_value`` member of a document: the inverse of `decode_fill_value`.

    Raises
    ------
    MetadataError
        If `value` is not a value of the data type.
    """
    if value is None or data_type.name == "json":
        plain: JSON = value
        return plain
    try:
        encoded = _ENCODERS[_form(data_type)](value, data_type.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise MetadataError(
            f"not a fill value of data type {data_type.name!r}", found=f"{value!r} ({error})"
        ) from error
    # v2 has no hexadecimal bits: its one NaN is the usual one
    is_bits = zarr_format == 2 and data_type.dtype.kind in "fc"
    return _without_bits(encoded) if is_bits else encoded


def _form(data_type: DataType) -> str:
    """What the tables below are indexed by: NumPy's kind, or the name of a variable-length type."""
    return data_type.name if data_type.is_variable_length else data_type.dtype.kind


def _decode_bool(value: JSON, dtype: DType) -> Scalar:
    if not isinstance(value, int | float) or value not in (0, 1):
        raise ValueError("not a boolean")
    return np.bool_(value)


def _decode_integer(value: JSON, dtype: DType) -> Scalar:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError("not an integer")
    return np.array(int(value), dtype.newbyteorder("="))[()]


def _decode_float(value: JSON, dtype: DType) -> Scalar:
    if isinstance(value, str):
        if value in _SPECIAL_FLOATS:
            return dtype.type(_SPECIAL_FLOATS[value])
        if re.fullmatch(rf"0x[0-9a-fA-F]{{{2 * dtype.itemsize}}}", value):
            return np.frombuffer(bytes.fromhex(value[2:]), dtype.newbyteorder(">")).astype(dtype.newbyteorder("="))[0]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        with np.errstate(over="ignore"):
            return dtype.type(value)
    raise ValueError("not a float")


def _decode_complex(value: JSON, dtype: DType) -> Scalar:
    part = np.dtype(f"f{dtype.itemsize // 2}")
    real, imaginary = (_decode_float(v, part) for v in (value if isinstance(value, list) else [value, 0]))
    return np.array([real, imaginary], part).view(dtype.newbyteorder("="))[0]


def _decode_time(value: JSON, dtype: DType) -> Scalar:
    ticks = _NOT_A_TIME if value == "NaT" else _decode_integer(value, np.dtype(np.int64))
    return np.array(ticks, np.int64).view(dtype.newbyteorder("="))[()]


def _decode_string(value: JSON, dtype: DType) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value != 0:  # old v2 stores say 0 for the empty string
        raise ValueError("not a string")
    return ""


def _decode_unicode(value: JSON, dtype: DType) -> Scalar:
    text = _decode_string(value, dtype)
    if len(text) * 4 > dtype.itemsize:
        raise ValueError("longer than an element")
    return np.str_(text)


def _decode_bytes(value: JSON, dtype: DType) -> bytes:
    """Base64 or a list of bytes; old v2 stores say 0 for an element of zeros."""
    if isinstance(value, str):
        return base64.b64decode(value.encode("ascii"), validate=True)
    if isinstance(value, list):
        return bytes(value)
    if isinstance(value, bool) or value != 0:
        raise ValueError("not bytes")
    return bytes(dtype.itemsize) if dtype.kind == "V" else b""


def _decode_null_terminated(value: JSON, dtype: DType) -> Scalar:
    raw = _decode_bytes(value, dtype)
    if len(raw) > dtype.itemsize:
        raise ValueError("longer than an element")
    return np.bytes_(raw.rstrip(b"\0"))


def _decode_void(value: JSON, dtype: DType) -> Scalar:
    if isinstance(value, dict) and dtype.names is not None:
        return _decode_fields(value, dtype)
    raw = _decode_bytes(value, dtype)
    if len(raw) != dtype.itemsize:
        raise ValueError("not as long as an element")
    return np.frombuffer(raw, dtype)[0]


def _decode_fields(value: JSONObject, dtype: DType) -> Scalar:
    """An object with a member for each field, as the data type ``struct`` has it."""
    names = dtype.names or ()
    if value.keys() != set(names):
        raise ValueError("not a value for each field")
    scalar = np.zeros((), dtype)
    for name in names:
        field = dtype[name]
        scalar[name] = _DECODERS[field.kind](value[name], field)
    return scalar[()]


_DECODERS: dict[str, Callable[[JSON, DType], Scalar]] = {
    "b": _decode_bool,
    "i": _decode_integer,
    "u": _decode_integer,
    "f": _decode_float,
    "c": _decode_complex,
    "m": _decode_time,
    "M": _decode_time,
    "U": _decode_unicode,
    "S": _decode_null_terminated,
    "V": _decode_void,
    "string": _decode_string,
    "variable_length_bytes": _decode_bytes,
}


def _scalar(value: Any, dtype: DType) -> Any:
    with np.errstate(invalid="ignore"):  # as of NaN in integers, which is refused below
        scalar = np.array(value, dtype)[()]
    if np.ndim(scalar) or (dtype.kind in "biu" and scalar != value):
        raise ValueError("does not fit the data type")
    return scalar


def _encode_float(value: Any, dtype: DType) -> JSON:
    scalar = value if type(value) is dtype.type else _scalar(value, dtype.newbyteorder("="))
    number = float(scalar)
    if math.isnan(number):
        bits, usual = (np.asarray(v, dtype.newbyteorder(">")).tobytes() for v in (scalar, np.nan))
        # any other NaN than the usual one keeps its bits
        return "NaN" if bits == usual else "0x" + bits.hex()
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def _encode_complex(value: Any, dtype: DType) -> JSON:
    scalar, part = _scalar(value, dtype), np.dtype(f"f{dtype.itemsize // 2}")
    return [_encode_float(scalar.real, part), _encode_float(scalar.imag, part)]


def _without_bits(encoded: JSON) -> JSON:
    if isinstance(encoded, list):
        return [_without_bits(part) for part in encoded]
    return "NaN" if isinstance(encoded, str) and encoded.startswith("0x") else encoded


def _encode_time(value: Any, dtype: DType) -> JSON:
    cast = as_times(value, dtype)
    if cast is None:
        raise ValueError("it is beyond the range of the unit")
    return int(_scalar(cast[()], dtype).astype(np.int64))


def _unshortened(value: Any, dtype: DType) -> Any:
    """`value` as a scalar of fixed length, which NumPy would shorten without a word."""
    scalar = np.asarray(value)
    if dtype.kind in "SU":
        scalar = scalar.astype(dtype.kind)
    elif scalar.dtype.kind not in "SV":
        raise ValueError("not bytes")
    if scalar.dtype.itemsize > dtype.itemsize:
        raise ValueError("longer than an element")
    return _scalar(scalar.astype(dtype)[()], dtype)


def _base64(raw: bytes | bytearray) -> str:
    return base64.b64encode(raw).decode("ascii")


def _encode_void(value: Any, dtype: DType) -> JSON:
    return _base64((_unshortened(value, dtype) if dtype.names is None else _scalar(value, dtype)).tobytes())


def _encode_bytes(value: Any, dtype: DType) -> JSON:
    if not isinstance(value, bytes | bytearray):
        raise TypeError("not bytes")
    return _base64(value)


_ENCODERS: dict[str, Callable[[Any, DType], JSON]] = {
    "b": lambda value, dtype: bool(_scalar(value, dtype)),
    "i": lambda value, dtype: int(_scalar(value, dtype)),
    "u": lambda value, dtype: int(_scalar(value, dtype)),
    "f": _encode_float,
    "c": _encode_complex,
    "m": _encode_time,
    "M": _encode_time,
    "U": lambda value, dtype: str(_unshortened(value, dtype)),
    "S": lambda value, dtype: _base64(bytes(_unshortened(value, dtype))),
    "V": _encode_void,
    "string": lambda value, dtype: str(value),
    "variable_length_bytes": _encode_bytes,
}
