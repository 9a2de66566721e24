"""The text that ``ncdump -h`` prints: CDL, the network Common Data form Language.

Source: NetCDF User's Guide, "CDL Syntax" and "CDL Constants".
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from zarrds.display.text import escaped
from zarrds.errors import MetadataError
from zarrds.metadata.attributes import MARKERS, plain_value

__all__ = ["cdl_name", "cdl_of", "cdl_type", "cdl_value"]

_TYPES = {
    "int8": "byte",
    "uint8": "ubyte",
    "int16": "short",
    "uint16": "ushort",
    "int32": "int",
    "uint32": "uint",
    "int64": "int64",
    "uint64": "uint64",
    "float32": "float",
    "float64": "double",
}
_SUFFIXES = {"int8": "b", "uint8": "UB", "int16": "s", "uint16": "US", "uint32": "U", "int64": "LL", "uint64": "ULL"}
_SPECIAL = re.compile(r"([^A-Za-z0-9_@.+\-\x80-\U0010ffff])")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def cdl_of(
    name: str,
    dimensions: Mapping[str, int],
    variables: Iterable[tuple[str, Sequence[str], str, Mapping[str, Any]]],
    attributes: Mapping[str, Any],
    unlimited_dims: Container[str] = (),
) -> str:
    r"""A header in CDL.

    Parameters
    ----------
    name : str
        Of the dataset.
    dimensions : mapping of str to int
    variables : iterable of (name, dims, dtype, attributes)
    attributes : mapping
        Of the whole.
    unlimited_dims : container of str

    Examples
    --------
    >>> cdl_of("t", {"x": 3}, [("t2m", ("x",), "float32", {"units": "K"})], {}).splitlines()[4:6]
    ['\tfloat t2m(x) ;', '\t\tt2m:units = "K" ;']
    """
    lines = [f"netcdf {cdl_name(name)} {{"]
    if dimensions:
        lines.append("dimensions:")
        for dim, size in dimensions.items():
            length = f"UNLIMITED ; // ({size} currently)" if dim in unlimited_dims else f"{size} ;"
            lines.append(f"\t{cdl_name(dim)} = {length}")
    named = list(variables)
    if named:
        lines.append("variables:")
    for variable, dims, dtype, attrs in named:
        places = f"({', '.join(map(cdl_name, dims))})" if dims else ""
        lines.append(f"\t{cdl_type(dtype)} {cdl_name(variable)}{places} ;")
        first = sorted(attrs, key=lambda key: key != "_FillValue")  # as ncdump has it
        lines += [f"\t\t{cdl_name(variable)}:{_attribute(key, attrs[key], dtype)}" for key in first]
    if attributes:
        lines += ["", "// global attributes:", *(f"\t\t:{_attribute(k, v, '')}" for k, v in attributes.items())]
    return "\n".join([*lines, "}"])


def cdl_type(dtype: str) -> str:
    """The type of CDL for a dtype; text of any kind is ``string``, and what netCDF does not have keeps its name.

    Examples
    --------
    >>> cdl_type("int16"), cdl_type("string"), cdl_type("complex64")
    ('short', 'string', 'complex64')
    """
    return _TYPES.get(dtype, "string" if dtype in ("string", "fixed_length_utf32") else dtype)


def _attribute(name: str, value: Any, dtype: str) -> str:
    if name in MARKERS and dtype in _TYPES and isinstance(value, int | float | np.number):
        # in a Zarr document a number has no type: this one has that of its variable
        with suppress(OverflowError, ValueError):
            value = np.dtype(dtype).type(value)
    try:
        return f"{cdl_name(name)} = {cdl_value(value)} ;"
    except RecursionError as error:
        raise MetadataError(f"attribute {name!r} is nested too deeply") from error


def cdl_value(value: Any) -> str:
    """A value of an attribute as a CDL constant.

    Examples
    --------
    >>> cdl_value("K"), cdl_value(np.float32(1.5)), cdl_value([1, 2]), cdl_value(np.int16(-1)), cdl_value(2.0)
    ('"K"', '1.5f', '1, 2', '-1s', '2.')
    """
    if isinstance(value, str):
        return '"' + escaped("".join(_ESCAPES.get(c, c) for c in value), _octal) + '"'
    if isinstance(value, bytes):
        return cdl_value(value.decode("utf-8", "replace"))
    if isinstance(value, np.ndarray | list | tuple):
        each = list(value) if not isinstance(value, np.ndarray) or value.ndim else [value[()]]
        return ", ".join(map(cdl_value, each)) if each else '""'
    if isinstance(value, bool | np.bool_):
        return "1b" if value else "0b"
    if isinstance(value, np.integer):
        return f"{value}{_SUFFIXES.get(value.dtype.name, '')}"
    if isinstance(value, int):
        return str(value) if -(2**31) <= value < 2**31 else f"{value}LL"
    if isinstance(value, float | np.floating):
        return _float(value)
    try:
        plain = plain_value(value)
    except (TypeError, ValueError):
        plain = str(value)
    return cdl_value(plain if isinstance(plain, str) else json.dumps(plain))


def _octal(character: str) -> str:
    """A character as CDL has those that cannot be typed: its bytes."""
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogatepass"))


def _float(value: float | np.floating[Any]) -> str:
    is_single = isinstance(value, np.floating) and value.dtype.itemsize <= 4
    if not np.isfinite(value):
        return ("NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity") + ("f" if is_single else "")
    text = f"{float(value):.7g}" if is_single else f"{float(value):.15g}"
    return text + ("" if "." in text or "e" in text else ".") + ("f" if is_single else "")


def cdl_name(name: str) -> str:
    r"""A name as an identifier of CDL; what cannot be printed is left out.

    Examples
    --------
    >>> print(cdl_name("a b"))
    a\ b
    """
    name = _SPECIAL.sub(r"\\\1", "".join(c for c in name if c.isprintable()))
    return f"\\{name}" if name[:1].isdigit() else name
