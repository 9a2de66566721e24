"""The one table of data types: NumPy dtype, v3 name, v2 type string, and fill values in JSON.

Sources: Zarr v3 core specification ("Data types", "Fill value"), the registered extension data types that
zarr-python writes, and the Zarr v2 specification ("Data type encoding", "Fill value encoding").
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from zarrds.errors import MetadataError, UnsupportedError

__all__ = ["JSON", "DataType", "decode_fill_value", "default_fill_value", "encode_fill_value"]

JSON: TypeAlias = Any
Scalar: TypeAlias = Any

# names of the core data types, which are NumPy's own names
_NUMBERS = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128".split()
)
# variable-length types: their elements are Python objects in memory
VARIABLE_LENGTH = frozenset({"string", "variable_length_bytes", "json"})
_MAX_ITEMSIZE = 2**31 - 1
_TIME_UNITS = frozenset("Y M W D h m s ms us μs ns ps fs as generic".split())


@dataclass(frozen=True, slots=True)
class DataType:
    """One data type.

    Attributes
    ----------
    name : str
        Its name in Zarr v3 (``"float32"``, ``"string"``, ``"numpy.datetime64"``, ``"structured"``, …), or
        ``"json"`` for v2 objects stored as JSON.
    dtype : numpy.dtype
        Of its elements in memory. v2 keeps the byte order here; object for variable-length types.
    """

    name: str
    dtype: np.dtype[Any]

    @property
    def is_variable_length(self) -> bool:
        return self.name in VARIABLE_LENGTH

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> DataType:
        """The data type that stores `dtype`.

        Raises
        ------
        UnsupportedError
            For dtypes without a Zarr equivalent. Object dtype is one: its elements' type must be said.
        """
        kind = dtype.kind
        if dtype.names is not None:
            for name in dtype.names:
                field = dtype.fields[name][0]  # type: ignore[index]  # a dtype with names has fields
                if field.subdtype is not None:
                    raise _unsupported_dtype(dtype, "fields that are arrays")
                cls.from_numpy(field)
            if dtype != np.dtype([(n, dtype.fields[n][0]) for n in dtype.names]):  # type: ignore[index]  # as above
                raise _unsupported_dtype(dtype, "padding or overlapping fields")
            return cls("structured", dtype)
        if kind in "biufc" and dtype.newbyteorder("=").name in _NUMBERS:
            return cls(dtype.newbyteorder("=").name, dtype)
        if kind in "mM":
            if np.datetime_data(dtype)[1] < 1:  # NumPy makes these, and divides by them
                raise _unsupported_dtype(dtype, "units of no length")
            return cls("numpy.datetime64" if kind == "M" else "numpy.timedelta64", dtype)
        if kind in "SUV" and dtype.itemsize == 0:
            raise _unsupported_dtype(dtype, "elements of no length")
        if kind in _FIXED_LENGTH_NAMES:
            return cls(_FIXED_LENGTH_NAMES[kind], dtype)
        if kind == "T":
            return cls("string", np.dtype(object))
        raise _unsupported_dtype(dtype, None)

    @classmethod
    def from_v3(cls, data_type: JSON) -> DataType:
        """Parse the ``data_type`` member of a v3 document."""
        if isinstance(data_type, str):
            if data_type in _NUMBERS:
                return cls(data_type, np.dtype(data_type))
            if data_type == "string":
                return STRING
            if data_type in ("bytes", "variable_length_bytes"):
                return BYTES
            if raw := re.fullmatch(r"r([1-9][0-9]{0,9})", data_type):
                return cls("raw_bytes", _sized("V", int(raw[1]) / 8, data_type))
        elif isinstance(data_type, dict) and isinstance(data_type.get("name"), str):
            name, configuration = data_type["name"], data_type.get("configuration", {})
            if not configuration and name not in _CONFIGURED:
                return cls.from_v3(name)
            if name in _CONFIGURED and isinstance(configuration, dict):
                try:
                    return cls("structured" if name == "struct" else name, _CONFIGURED[name](configuration))
                except (KeyError, TypeError, ValueError, RecursionError) as error:
                    if isinstance(error, MetadataError):
                        raise
                    raise MetadataError(f"data type {name!r} has an invalid configuration", found=data_type) from error
        name = data_type.get("name", data_type) if isinstance(data_type, dict) else data_type
        raise UnsupportedError(
            f"unknown data type {name!r}",
            expected=f"one of {', '.join(sorted(_NUMBERS | _CONFIGURED.keys() | {'string', 'bytes'}))}",
            mend="Read this array with another Zarr library, or leave it out with drop_variables",
        )

    def to_v3(self) -> JSON:
        """The ``data_type`` member of a v3 document."""
        dtype = self.dtype
        if self.name in ("null_terminated_bytes", "fixed_length_utf32", "raw_bytes"):
            return {"name": self.name, "configuration": {"length_bytes": dtype.itemsize}}
        if self.name in ("numpy.datetime64", "numpy.timedelta64"):
            unit, scale = np.datetime_data(dtype)
            return {"name": self.name, "configuration": {"unit": unit, "scale_factor": scale}}
        if self.name == "structured":
            fields = [[n, DataType.from_numpy(dtype.fields[n][0]).to_v3()] for n in dtype.names or ()]  # type: ignore[index]  # has fields
            return {"name": self.name, "configuration": {"fields": fields}}
        if self.name == "json":
            raise UnsupportedError("objects stored as JSON exist in Zarr v2 only", mend="Save with zarr_format=2")
        return self.name

    @classmethod
    def from_v2(cls, typestr: JSON) -> DataType:
        """Parse the ``dtype`` member of a v2 document, except ``"|O"``, whose meaning is in the filters."""
        try:
            if isinstance(typestr, str):
                if (
                    re.fullmatch(r"[<>|=]?([biufc]\d{1,2}|[SUV]\d{1,10}|[mM]8(\[\d{0,9}[a-zA-Zμ]{1,7}\])?)", typestr)
                    is None
                ):
                    raise ValueError("not a type string")
                dtype = np.dtype(typestr)
            elif isinstance(typestr, list) and typestr:
                dtype = np.dtype([_v2_field(field) for field in typestr])
            else:
                raise ValueError("neither a type string nor a list of fields")
        except (TypeError, ValueError, RecursionError) as error:
            raise UnsupportedError(
                f"unknown dtype {typestr!r}", expected="a NumPy type string such as '<f4' or a list of fields"
            ) from error
        return cls.from_numpy(dtype)

    def to_v2(self) -> JSON:
        """The ``dtype`` member of a v2 document."""
        if self.is_variable_length:
            return "|O"
        if self.name == "structured":
            return _v2_fields(self.dtype)
        return self.dtype.str


STRING = DataType("string", np.dtype(object))
BYTES = DataType("variable_length_bytes", np.dtype(object))
OBJECTS_AS_JSON = DataType("json", np.dtype(object))

_FIXED_LENGTH_NAMES = {"S": "null_terminated_bytes", "U": "fixed_length_utf32", "V": "raw_bytes"}


def _unsupported_dtype(dtype: np.dtype[Any], why: str | None) -> UnsupportedError:
    return UnsupportedError(
        f"dtype {dtype} cannot be stored in Zarr" + (f" ({why})" if why else ""),
        mend="Convert the data to numbers, booleans, strings, bytes or datetimes first",
    )


def _sized(kind: str, length: object, shown: object) -> np.dtype[Any]:
    unit = 4 if kind == "U" else 1
    if (
        isinstance(length, bool)
        or not isinstance(length, int | float)
        or length % unit
        or not 0 < length <= _MAX_ITEMSIZE
    ):
        raise MetadataError("data type of an impossible length in bytes", found=shown)
    return np.dtype(f"{kind}{int(length) // unit}")


def _time(kind: str, configuration: dict[str, JSON]) -> np.dtype[Any]:
    unit, scale = configuration["unit"], configuration.get("scale_factor", 1)
    if unit not in _TIME_UNITS or isinstance(scale, bool) or not isinstance(scale, int) or not 1 <= scale < 2**31:
        raise MetadataError("not a unit of time", found=configuration)
    return np.dtype(f"{kind}8" if unit == "generic" else f"{kind}8[{scale}{unit.replace('μ', 'u')}]")


def _structured(configuration: dict[str, JSON]) -> np.dtype[Any]:
    fields = []
    for field in configuration["fields"]:
        # written as [name, type] by zarr-python, as {"name", "data_type"} by the registered extension
        name, data_type = (field["name"], field["data_type"]) if isinstance(field, dict) else field
        parsed = DataType.from_v3(data_type)
        if parsed.is_variable_length or not isinstance(name, str) or not name:
            raise MetadataError("a structured data type has fields of fixed length with names", found=field)
        fields.append((name, parsed.dtype))
    if not fields:
        raise MetadataError("a structured data type has at least one field", found=configuration)
    return np.dtype(fields)


_CONFIGURED: dict[str, Callable[[dict[str, JSON]], np.dtype[Any]]] = {
    "null_terminated_bytes": lambda c: _sized("S", c["length_bytes"], c),
    "fixed_length_utf32": lambda c: _sized("U", c["length_bytes"], c),
    "raw_bytes": lambda c: _sized("V", c["length_bytes"], c),
    "numpy.datetime64": lambda c: _time("M", c),
    "numpy.timedelta64": lambda c: _time("m", c),
    "structured": _structured,
    "struct": _structured,
}


def _v2_field(field: JSON) -> tuple[str, np.dtype[Any]]:
    if not isinstance(field, list) or len(field) != 2 or not isinstance(field[0], str) or not field[0]:
        raise ValueError("a field is a list of a name and a type")
    return field[0], DataType.from_v2(field[1]).dtype


def _v2_fields(dtype: np.dtype[Any]) -> JSON:
    return [[n, DataType.from_numpy(dtype.fields[n][0]).to_v2()] for n in dtype.names or ()]  # type: ignore[index]  # has fields


def default_fill_value(data_type: DataType) -> Scalar:
    """Zero, False, the empty string or NaT: what Zarr libraries fill with when nothing else is said."""
    if data_type.name == "string":
        return ""
    if data_type.name == "variable_length_bytes":
        return b""
    if data_type.name == "json":
        return None
    if data_type.dtype.kind in "mM":
        return data_type.dtype.type("NaT")
    return np.zeros((), data_type.dtype)[()]


_SPECIAL_FLOATS = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}


def _decode_float(value: JSON, dtype: np.dtype[Any]) -> Any:
    if isinstance(value, str):
        if value in _SPECIAL_FLOATS:
            return dtype.type(_SPECIAL_FLOATS[value])
        if re.fullmatch(rf"0x[0-9a-fA-F]{{{2 * dtype.itemsize}}}", value):
            return np.frombuffer(bytes.fromhex(value[2:]), dtype.newbyteorder(">")).astype(dtype.newbyteorder("="))[0]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        with np.errstate(over="ignore"):
            return dtype.type(value)
    raise ValueError("not a float")


def _decode_integer(value: JSON) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError("not an integer")
    return int(value)


def _decode_bytes(value: JSON, length: int) -> bytes:
    """Base64 or a list of bytes; old v2 stores say 0 for `length` zeros."""
    if isinstance(value, str):
        return base64.b64decode(value.encode("ascii"), validate=True)
    if isinstance(value, list):
        return bytes(value)
    if isinstance(value, bool) or value != 0:
        raise ValueError("not bytes")
    return bytes(length)


def _decode_raw(value: JSON, dtype: np.dtype[Any]) -> Any:
    raw = _decode_bytes(value, dtype.itemsize)
    if dtype.kind == "S":
        if len(raw) > dtype.itemsize:
            raise ValueError("longer than an element")
        return np.bytes_(raw.rstrip(b"\0"))
    if len(raw) != dtype.itemsize:
        raise ValueError("not as long as an element")
    return np.frombuffer(raw, dtype)[0]


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
    if value is None:
        return None
    dtype = data_type.dtype
    kind = dtype.kind
    try:
        if data_type.name == "string":
            if not isinstance(value, str):
                if value != 0 or isinstance(value, bool):  # old v2 stores say 0 for the empty string
                    raise ValueError("not a string")
                return ""
            return value
        if data_type.name == "variable_length_bytes":
            return _decode_bytes(value, 0)
        if data_type.name == "json":
            return value
        if kind == "b":
            if not isinstance(value, int | float) or value not in (0, 1):
                raise ValueError("not a boolean")
            return np.bool_(value)
        if kind in "iu":
            return np.array(_decode_integer(value), dtype.newbyteorder("="))[()]
        if kind == "f":
            return _decode_float(value, dtype)
        if kind == "c":
            part = np.dtype(f"f{dtype.itemsize // 2}")
            pair = value if isinstance(value, list) else [value, 0]
            real, imaginary = (_decode_float(v, part) for v in pair)
            return np.array([real, imaginary], part).view(dtype.newbyteorder("="))[0]
        if kind in "mM":
            if value == "NaT":
                value = np.iinfo(np.int64).min
            return np.array(_decode_integer(value), np.int64).view(dtype.newbyteorder("="))[()]
        if kind == "U":
            if not isinstance(value, str):
                if value != 0 or isinstance(value, bool):
                    raise ValueError("not a string")
                value = ""
            if len(value) * 4 > dtype.itemsize:
                raise ValueError("longer than an element")
            return np.str_(value)
        return _decode_raw(value, dtype)
    except (ValueError, TypeError, OverflowError, binascii.Error, UnicodeError) as error:
        raise MetadataError(
            f"not a fill value of data type {data_type.name!r}",
            found=f"{value!r:.100} ({error})",
            mend="Correct fill_value in the metadata document",
        ) from error


def _encode_float(value: Any, *, hexadecimal: bool) -> JSON:
    number = float(value)
    if np.isnan(number):
        bits = np.asarray(value).astype(np.asarray(value).dtype.newbyteorder(">")).tobytes()
        quiet = np.asarray(np.nan, np.asarray(value).dtype.newbyteorder(">")).tobytes()
        # any other NaN than the usual one keeps its bits
        return "NaN" if bits == quiet or not hexadecimal else "0x" + bits.hex()
    if np.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def _unshortened(value: Any, dtype: np.dtype[Any]) -> Any:
    """`value` as a scalar of fixed length, which NumPy would shorten without a word."""
    scalar = np.asarray(value)
    if dtype.kind in "SU":
        scalar = scalar.astype(dtype.kind)
    elif scalar.dtype.kind not in "SV":
        raise ValueError("not bytes")
    if scalar.dtype.itemsize > dtype.itemsize:
        raise ValueError("longer than an element")
    return scalar.astype(dtype)[()]


def encode_fill_value(value: Scalar, data_type: DataType, *, zarr_format: int) -> JSON:
    """The ``fill_value`` member of a document: the inverse of `decode_fill_value`.

    Raises
    ------
    MetadataError
        If `value` is not a value of the data type.
    """
    if value is None:
        return None
    dtype, kind = data_type.dtype, data_type.dtype.kind
    v3 = zarr_format == 3
    if data_type.name == "string":
        return str(value)
    if data_type.name == "variable_length_bytes":
        if not isinstance(value, bytes | bytearray):
            raise MetadataError(f"not a fill value of data type {data_type.name!r}", found=repr(value))
        return base64.b64encode(value).decode("ascii")
    if data_type.name == "json":
        return value
    try:
        if kind in "mM":
            scalar = np.asarray(value).astype(dtype, casting="unsafe")[()]
        elif kind in "SU" or (kind == "V" and dtype.names is None):
            scalar = _unshortened(value, dtype)
        else:
            scalar = np.array(value, dtype)[()]
        if np.ndim(scalar) or (kind in "biu" and scalar != value):
            raise ValueError("does not fit the data type")
        if kind == "b":
            return bool(scalar)
        if kind in "iu":
            return int(scalar)
        if kind == "f":
            return _encode_float(scalar, hexadecimal=v3)
        if kind == "c":
            return [_encode_float(scalar.real, hexadecimal=v3), _encode_float(scalar.imag, hexadecimal=v3)]
        if kind in "mM":
            return int(scalar.astype(np.int64))
        if kind == "U":
            return str(scalar)
    except (ValueError, TypeError, OverflowError) as error:
        raise MetadataError(
            f"not a fill value of data type {data_type.name!r}", found=f"{value!r} ({error})"
        ) from error
    raw = scalar.tobytes() if kind == "V" else bytes(scalar)
    return base64.b64encode(raw).decode("ascii")
