"""The one table of data types: NumPy dtype, v3 name and v2 type string.

Sources: Zarr v3 core specification ("Data types"), the registered extension data types that zarr-python writes, and the
Zarr v2 specification ("Data type encoding").
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrds.errors import MetadataError, UnsupportedError
from zarrds.metadata.fields import JSON, JSONObject, a_list, member

__all__ = ["BYTES", "OBJECTS_AS_JSON", "STRING", "DataType"]

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
            fields = []
            for name in dtype.names:
                field, _, *title = dtype.fields[name]  # type: ignore[index]  # a dtype with names has fields
                if field.subdtype is not None:
                    raise _unsupported_dtype(dtype, "fields that are arrays")
                if title:
                    raise _unsupported_dtype(dtype, "fields with titles")
                fields.append((name, cls.from_numpy(field).dtype))
            # without padding, as Zarr lays one field right behind the other
            return cls("structured", np.dtype(fields))
        if (number := _NAMES.get(dtype.str[1:])) is not None:
            return cls(number, dtype)
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
            if data_type in _PLAIN:
                return _PLAIN[data_type]
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

_PLAIN = {name: DataType(name, np.dtype(name)) for name in _NUMBERS}
_NAMES = {plain.dtype.str[1:]: name for name, plain in _PLAIN.items()}  # by kind and size, in whatever byte order
_FIXED_LENGTH_NAMES = {"S": "null_terminated_bytes", "U": "fixed_length_utf32", "V": "raw_bytes"}


def _unsupported_dtype(dtype: np.dtype[Any], why: str | None) -> UnsupportedError:
    return UnsupportedError(
        f"dtype {dtype} cannot be stored in Zarr" + (f" ({why})" if why else ""),
        mend="Store each field as an array of its own"
        if dtype.names is not None
        else "Convert the data to numbers, booleans, strings, bytes or datetimes first",
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


def _time(kind: str, configuration: JSONObject) -> np.dtype[Any]:
    unit, scale = configuration["unit"], configuration.get("scale_factor", 1)
    if unit not in _TIME_UNITS or isinstance(scale, bool) or not isinstance(scale, int) or not 1 <= scale < 2**31:
        raise MetadataError("not a unit of time", found=configuration)
    return np.dtype(f"{kind}8" if unit == "generic" else f"{kind}8[{scale}{unit.replace('μ', 'u')}]")


def _structured(configuration: JSONObject) -> np.dtype[Any]:
    fields = []
    for field in member(configuration, "fields", list):
        # written as [name, type] by zarr-python, as {"name", "data_type"} by the registered extension
        name, data_type = (
            (field.get("name"), field.get("data_type")) if isinstance(field, dict) else a_list(field, "a field")
        )
        parsed = DataType.from_v3(data_type)
        if parsed.is_variable_length or not isinstance(name, str) or not name:
            raise MetadataError("a structured data type has fields of fixed length with names", found=field)
        fields.append((name, parsed.dtype))
    if not fields:
        raise MetadataError("a structured data type has at least one field", found=configuration)
    return np.dtype(fields)


_CONFIGURED: dict[str, Callable[[JSONObject], np.dtype[Any]]] = {
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
