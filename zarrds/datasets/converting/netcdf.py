"""Stored arrays -> variables of a netCDF4 file, as they are stored, block by block.

Nothing is decoded: packed values stay packed, times stay numbers with units, so nothing can be rounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from zarrds.arrays.array import Array
from zarrds.datasets.encoding.attributes import attributes_of
from zarrds.datasets.encoding.characters import noted_characters
from zarrds.datasets.encoding.enumerations import noted_enumeration
from zarrds.engine.blocks import block_shape, blocks
from zarrds.errors import EncodingError
from zarrds.metadata.extension import PANDAS, note_of
from zarrds.metadata.model import ArrayMetadata

__all__ = [
    "MissingText",
    "Positions",
    "characters_dim",
    "check_attributes",
    "check_name",
    "copy_values",
    "create_variable",
    "enumeration_type",
    "missing_text",
    "netcdf_dtype",
    "selected_shape",
    "set_attributes",
]

Positions = Mapping[str, slice | int | np.ndarray[Any, Any]]
_INTEGER_LIMITS = (-(2**63), 2**63 - 1)
_CHAR_DIM = "string{}"
# NetCDF User's Guide, "Permitted Characters in NetCDF Names"
_NAME = re.compile(r"[A-Za-z0-9_\x80-\U0010ffff](?:[ -.0-~\x80-\U0010ffff]*[!-.0-~\x80-\U0010ffff])?")
_MAX_NAME = 256  # bytes of UTF-8


def netcdf_dtype(path: str, metadata: ArrayMetadata) -> Any:
    """The type of netCDF for an array: a dtype, or ``str``.

    Raises
    ------
    EncodingError
        For what netCDF does not have: half and complex numbers, times as a type, structures, raw bytes.
    """
    data_type = metadata.data_type
    if data_type.name == "string" or data_type.dtype.kind == "U":
        return str
    dtype = data_type.dtype
    if dtype.kind == "b":
        return np.dtype("i1")
    if dtype.kind == "S" and dtype.itemsize:
        return np.dtype("S1")
    if dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize in (4, 8)):
        return dtype.newbyteorder("=")
    raise EncodingError(
        "netCDF has no such data type",
        key=path,
        found=data_type.name,
        mend="Leave the variable out, or save it with another dtype",
    )


def check_attributes(path: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as netCDF can hold them.

    Raises
    ------
    EncodingError
        For booleans, null, objects, empty and mixed lists, integers beyond 64 bits.

    Examples
    --------
    >>> check_attributes("t2m", {"units": "K", "levels": [1, 2]})
    {'units': 'K', 'levels': array([1, 2])}
    """
    for name in attributes:
        check_name(path, name)
    return {name: _attribute(path, name, value) for name, value in attributes.items()}


def check_name(path: str, name: str) -> None:
    """Check that netCDF can hold a name of a dimension, a variable, a group or an attribute of what `path` names.

    Raises
    ------
    EncodingError
        For control characters, a slash, a special character as the first, a space as the last, more than 256 bytes.

    Examples
    --------
    >>> check_name("t2m", "long name")
    """
    if not _is_name(name):
        raise EncodingError(
            "netCDF cannot have this name",
            key=path,
            found=f"{name!r:.80}",
            expected="a letter, digit or underscore, then no control characters and no slash, and no space at the end",
            mend="Leave it out, or rename it",
        )


def _is_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and len(name.encode("utf-8", "surrogatepass")) <= _MAX_NAME


def set_attributes(target: Any, path: str, attributes: Mapping[str, Any]) -> None:
    """Give a group or a variable of netCDF4 its attributes.

    Raises
    ------
    EncodingError
        For what netCDF cannot hold, and for names that it keeps for itself (``DIMENSION_LIST``).
    """
    for name, value in check_attributes(path, attributes).items():
        try:
            target.setncattr(name, value)
        except AttributeError as error:  # what netCDF4 raises for all that the library refuses
            raise EncodingError(
                f"netCDF refuses an attribute: {error}", key=path, found=f"{name!r:.80}", mend="Delete or rename it"
            ) from error


def _attribute(path: str, name: str, value: Any) -> Any:
    if isinstance(value, str) or (isinstance(value, np.generic) and value.dtype.kind in "iuf"):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "iuf" and value.ndim == 1 and value.size:
        return value  # the type of its numbers was noted
    if isinstance(value, bytes):
        return value  # characters, in whatever encoding the file had them
    each = value if isinstance(value, list) else [value]
    if each and all(isinstance(v, str) for v in each):
        return each
    is_number = [isinstance(v, int | float) and not isinstance(v, bool) for v in each]
    if not each or not all(is_number) or any(isinstance(v, int) and not _fits(v) for v in each):
        raise EncodingError(
            "netCDF has no attribute of this kind",
            key=path,
            found=f"{name} = {value!r:.80}",
            expected="text, a number, or a list of texts or numbers",
            mend="Change or delete it: zarrds attrs",
        )
    numbers = np.array(each)
    return numbers if isinstance(value, list) else numbers[0]


def _fits(value: int) -> bool:
    return _INTEGER_LIMITS[0] <= value <= _INTEGER_LIMITS[1]


def selected_shape(array: Array, positions: Positions) -> tuple[tuple[str, int], ...]:
    """The dimensions that are left of an array, with their sizes."""
    names = dims_of(array.path, array.metadata)
    left = []
    for dim, size in zip(names, array.shape, strict=True):
        chosen = positions.get(dim, slice(None))
        if isinstance(chosen, slice):
            left.append((dim, len(range(*chosen.indices(size)))))
        elif isinstance(chosen, np.ndarray):
            left.append((dim, chosen.size))
    return tuple(left)


def dims_of(path: str, metadata: ArrayMetadata) -> tuple[str, ...]:
    """The names of an array's dimensions, all of which netCDF needs."""
    names = metadata.dimension_names or (None,) * len(metadata.shape)
    found = tuple(name for name in names if name is not None)
    if len(found) < len(names):
        raise EncodingError("array has no names for its dimensions, which netCDF needs", key=path)
    return found


def characters_dim(metadata: ArrayMetadata, beside: Iterable[ArrayMetadata], taken: Container[str]) -> str:
    """A name for the dimension of the characters of bytes, none of those that are taken.

    It is that of the netCDF file which they come from, unless arrays `beside` them have other numbers of characters.
    """
    length = metadata.data_type.dtype.itemsize
    usual = _CHAR_DIM.format(length)
    noted = noted_characters(metadata)
    name = None if noted is None else noted.dimension
    if name is not None and name not in taken and _can_be_kept(name, usual):
        alike = [each.data_type.dtype for each in beside if _is_noted_so(each, name)]
        if all(dtype.itemsize == length for dtype in alike):
            return name
    return next(dim for i in count() if (dim := f"{usual}_{i}" if i else usual) not in taken)


def _can_be_kept(name: str, usual: str) -> bool:
    is_of_another = name != usual and re.fullmatch(_CHAR_DIM.format(r"\d+(_\d+)?"), name)
    return _is_name(name) and not is_of_another


def _is_noted_so(metadata: ArrayMetadata, dimension: str) -> bool:
    noted = noted_characters(metadata)
    return noted is not None and noted.dimension == dimension and metadata.data_type.dtype.kind == "S"


def enumeration_type(group: Any, array: Array) -> Any:
    """The type of netCDF that an array of integers was noted to be of, made in a group unless it is there.

    None if nothing is noted, or an element has no name there.
    """
    noted = noted_enumeration(array.metadata)
    if noted is None or not _is_name(noted.name):
        return None
    allowed = list(noted.members.values())
    fill_value = attributes_of(array.metadata).get("_FillValue", allowed[0])
    parts = blocks(array.shape, block_shape(array.shape, array.chunks, array.dtype.itemsize))
    if fill_value not in allowed or not all(np.isin(array[part], allowed).all() for part in parts):
        return None
    there = group.enumtypes.get(noted.name)
    if there is not None:
        is_same = there.enum_dict == noted.members and there.dtype == array.dtype
        return there if is_same else None
    if noted.name in group.variables:
        return None
    return group.createEnumType(array.dtype.newbyteorder("="), noted.name, dict(noted.members))


@dataclass(frozen=True, slots=True)
class MissingText:
    """What stands for missing bytes.

    Attributes
    ----------
    stored : bytes or None
        In the store; None if none are missing there.
    character : bytes or None
        In netCDF, where it is the whole of a text; None if nothing needs to.
    """

    stored: bytes | None
    character: bytes | None


def missing_text(array: Array, positions: Positions) -> MissingText | None:
    """What stands for missing bytes: a character that is none of the other texts; None if nothing is noted of that.

    Raises
    ------
    EncodingError
        If all that could stand for them is among the texts.
    """
    metadata = array.metadata
    if metadata.data_type.dtype.kind != "S":
        return None
    noted, kind = noted_characters(metadata), note_of(metadata, PANDAS)
    mark = kind.get("missing") if isinstance(kind, dict) else None
    stored = mark.encode() if isinstance(mark, str) else None
    possible = [] if noted is None or noted.fill_value is None else [noted.fill_value.encode("latin-1")]
    if stored is not None:
        possible += [stored] if len(stored) == 1 else [b"\0", *(bytes([each]) for each in b"<-?*#")]
    if not possible:
        return None
    is_one_missing = False
    for _, values in _selected(array, positions):
        missing = _is_missing(values, stored)
        is_one_missing |= bool(missing.any())
        possible = [each for each in possible if not np.any((values == each) & ~missing)]
    if is_one_missing and not possible:
        raise EncodingError(
            "no character can stand for missing ones in netCDF: there are texts of each that could",
            key=array.path,
            mend="Fill missing ones first, or save the variable as text (dtype string)",
        )
    return MissingText(stored, possible[0] if possible else None)


def _is_missing(values: np.ndarray[Any, Any], stored: bytes | None) -> np.ndarray[Any, Any]:
    return np.asarray(values == stored if stored is not None else np.zeros(values.shape, bool))


def create_variable(
    group: Any, name: str, array: Array, dims: tuple[tuple[str, int], ...], *, deflate: int, missing: MissingText | None
) -> Any:
    """A variable of netCDF4 for an array, with its attributes and no values yet; its dimensions are there."""
    metadata = array.metadata
    dtype = netcdf_dtype(array.path, metadata)
    attributes = attributes_of(metadata)
    if metadata.data_type.dtype.kind == "b":
        attributes.setdefault("dtype", "bool")  # as xarray has it
    fill_value = attributes.pop("_FillValue", None)
    if missing is not None:
        fill_value = missing.character
    chunks = dict(zip(dims_of(array.path, metadata), array.chunks, strict=True))
    options: dict[str, Any] = {}
    if dtype is not str and dims and all(size for _, size in dims):
        options["chunksizes"] = [min(chunks.get(dim, size), size) for dim, size in dims]
        if deflate:
            options |= {"compression": "zlib", "complevel": deflate, "shuffle": True}
    if fill_value is not None and dtype is not str:
        if dtype.kind != "S":
            fill_value = _marker(array.path, fill_value, dtype, is_signed="_Unsigned" not in attributes)
        if fill_value is not None:
            options["fill_value"] = fill_value
    kind = enumeration_type(group, array)
    variable = group.createVariable(name, dtype if kind is None else kind, [dim for dim, _ in dims], **options)
    variable.set_auto_maskandscale(False)
    variable.set_auto_chartostring(False)
    set_attributes(variable, array.path, attributes)
    return variable


def _marker(path: str, value: Any, dtype: np.dtype[Any], *, is_signed: bool) -> Any:
    """A `_FillValue` in the dtype of a variable; None if no element can be it, as it would mark others then."""
    given = np.array(value)
    if given.size != 1:
        raise EncodingError(
            "netCDF has one _FillValue for a variable", key=path, expected="a number", found=f"{value!r:.80}"
        )
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            marker = given.astype(dtype).reshape(())[()]
    except ValueError:
        return None  # text
    number = given.reshape(())[()]
    if given.dtype.kind not in "iuf" or not is_signed:
        return marker
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return marker if limits.min <= number <= limits.max else None
    return None if np.isfinite(number) and not np.isfinite(marker) else marker


def copy_values(
    array: Array,
    variable: Any,
    positions: Positions,
    missing: MissingText | None,
    advance: Callable[[int], Any] | None,
) -> None:
    """Read an array block by block, and write what the selection takes; memory is needed for one block."""
    for place, values in _selected(array, positions):
        if missing is not None and missing.character is not None:
            values = np.where(_is_missing(values, missing.stored), missing.character, values).astype(values.dtype)
        if values.size:
            variable[place if place else ...] = _as_netcdf(values, variable.dtype, variable.ndim)
        if advance is not None:
            advance(values.size)


def _selected(array: Array, positions: Positions) -> Iterator[tuple[tuple[slice, ...], np.ndarray[Any, Any]]]:
    """What a selection takes of an array, block by block, and where each lies in it."""
    names = dims_of(array.path, array.metadata)
    keys = [positions.get(dim, slice(None)) for dim in names]
    kept = [i for i, key in enumerate(keys) if not isinstance(key, int)]
    sizes = [size for _, size in selected_shape(array, positions)]
    itemsize = max(array.dtype.itemsize, 32 if array.dtype.kind == "O" else 1)
    block = block_shape(sizes, [array.chunks[i] for i in kept], itemsize)
    for place in blocks(sizes, block):
        selection: list[Any] = list(keys)
        for i, part in zip(kept, place, strict=True):
            selection[i] = _part_of(keys[i], part, array.shape[i])
        values = np.asarray(array.oindex[tuple(selection)])
        if values.dtype.kind == "S":
            values = values.astype(array.dtype, copy=False)  # NumPy takes one element for as long as its text is
        yield place, values


def _part_of(key: Any, part: slice, size: int) -> Any:
    """What a part of a selection takes of the whole."""
    if isinstance(key, slice):
        chosen = range(*key.indices(size))[part]
        return slice(chosen.start, chosen.stop, chosen.step)
    return key[part]


def _as_netcdf(values: np.ndarray[Any, Any], dtype: Any, ndim: int) -> np.ndarray[Any, Any]:
    if dtype is str:
        return values.astype(object)
    if values.dtype.kind == "S" and ndim > values.ndim:
        return values.reshape(-1).view("S1").reshape(*values.shape, values.dtype.itemsize)
    return values.astype(dtype, copy=False)
