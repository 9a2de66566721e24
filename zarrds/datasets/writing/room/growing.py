"""Arrays whose encoding has become too small for what is added: coarse units of times, short strings, narrow codes.

A small array is written anew, all of it, in the commit of the save: with finer units, or with longer strings. Who has
opened the old one is told, as of any array that is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from zarrds.arrays.layout import data_type_of
from zarrds.codecs.blosc import MAX_NBYTES
from zarrds.compat.xarray_internals import lazy_data, variable_of
from zarrds.datasets.encoding.as_stored import encode_like
from zarrds.datasets.encoding.exact.lossy_codecs import without_element_filters
from zarrds.datasets.encoding.exact.packing import finer_unit
from zarrds.datasets.reading.notes import PANDAS
from zarrds.datasets.writing.stored import StoredGroup
from zarrds.errors import EncodingError
from zarrds.labels.kinds.plain import is_missing
from zarrds.labels.kinds.times import to_unit
from zarrds.metadata.extension import note_of, with_new_id
from zarrds.metadata.fields import JSON
from zarrds.metadata.model import ArrayMetadata, CodecObject, codec_objects, raw_codec
from zarrds.metadata.times import CF_UNITS, of_same_date, unit_of

__all__ = [
    "Grown",
    "as_wide_as_stored",
    "check_rewritable",
    "grown_arrays",
    "joined",
    "made_anew",
    "means_other",
    "of_dtype",
    "parts_of",
]

# bytes of an array that is still written anew
_MAX_REWRITTEN = 2**28
# how else CF calls units, as `unit_of` gives them
_ALIASES = {
    "weeks": "days", "ds": "days", "hrs": "hours", "hs": "hours", "mins": "minutes", "secs": "seconds", "s": "seconds",
    "msecs": "milliseconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grown:
    """An array that is written anew.

    Attributes
    ----------
    metadata : ArrayMetadata
    variable : Variable
        Encoded: all of it.
    """

    metadata: ArrayMetadata
    variable: xr.Variable


def as_wide_as_stored(variable: xr.Variable, metadata: ArrayMetadata) -> xr.Variable:
    """Strings of a fixed length in the length of the store, if that holds them: they are the same strings in it.

    What was selected of longer ones has their dtype still.
    """
    dtype = metadata.data_type.dtype
    if variable.dtype.kind != dtype.kind or dtype.kind not in "US" or variable.dtype.itemsize == dtype.itemsize:
        return variable
    fits = variable.dtype.itemsize < dtype.itemsize or not variable.size
    if not fits and variable.chunks is None:
        fits = int(np.strings.str_len(variable.values).max()) <= _length_of(metadata)
    return variable.astype(dtype) if fits else variable


def grown_arrays(
    names: Iterable[str],
    variables: Mapping[str, xr.Variable],
    stored: StoredGroup,
    region: Mapping[str, slice],
) -> tuple[dict[str, Grown], dict[str, xr.Variable]]:
    """Those arrays that cannot hold what is added to them, and can be written anew so that they do.

    Returned beside what is added to others, where that had to be encoded to see whether they can hold it.

    Parameters
    ----------
    names : iterable of str
        Of stored arrays that are appended to, or replaced as a whole.
    variables : mapping of str to Variable
        What is added; decoded.
    stored : StoredGroup
    region : mapping of str to slice
        Where it goes.
    """
    names = list(names)
    wider: dict[str, Grown] = {}
    fitting: dict[str, xr.Variable] = {}
    whole: dict[str, xr.Variable] = {}  # times in finer units
    units: dict[str, str] = {}
    for name in names:
        there, metadata, new = stored.variables[name], stored.arrays[name], variables[name]
        parts = parts_of(there, region)
        if parts is None or not new.size or set(new.dims) != set(there.dims) or len(metadata.shape) != there.ndim:
            continue
        new = new.transpose(*there.dims)
        if (made := _widened(name, new, parts, stored)) is not None:
            wider[name] = made
        elif _is_counted(there) and new.dtype.kind == there.dtype.kind and new.chunks is None:
            try:
                fitting[name] = encode_like(name, variables[name], there, metadata)
            except EncodingError:
                if not (finer := _finer(there.encoding["units"])):
                    continue
                full = joined(name, there, new, parts, 1)
                found = next((u for u in finer if _holds(name, full, there, metadata, u)), None)
                if found is not None:
                    whole[name], units[name] = full, found
    for name, other in _pairs(names, stored):
        # ends of intervals are decoded by the units of their coordinate
        if name in units or other in units:
            finest = max((units.get(n, stored.variables[n].encoding["units"]) for n in (name, other)), key=_rank)
            for each in (name, other):
                if each not in whole:
                    whole[each] = _whole_of(each, variables[each], stored.variables[each], region)
                units[each] = finest
    times = {name: _counted(name, full, stored, units[name]) for name, full in whole.items()}
    return {**wider, **times}, fitting


def _widened(name: str, new: xr.Variable, parts: Mapping[str, slice], stored: StoredGroup) -> Grown | None:
    """An array with longer text, more bytes a number or another value for what is missing, if what is new needs it."""
    there, metadata = stored.variables[name], stored.arrays[name]
    dtype = metadata.data_type.dtype
    # of what has no elements none is written anew
    is_anew = there.size > 0 and name in stored.documents and means_other(stored.documents[name], metadata)
    if dtype.kind in "US":
        length = _length(new, there, dtype)
        if length is None or not (is_anew or length > _length_of(metadata)):
            return None
        # among stored ones a value for what is missing may be another now
        old = _length(there, there, dtype) if is_anew and there.dtype == object else 0
        length = max(length, old or 0, _length_of(metadata))
        full = joined(name, there, new, parts, _itemsize(metadata, length) / dtype.itemsize)
        return _longer(name, full, there, metadata, length)
    if is_anew:
        full = joined(name, there, _of_dtype_stored(new, metadata), parts, 1)
        encoded = encode_like(name, full, there, metadata) if _is_counted(there) else full
        return made_anew(metadata, encoded.astype(dtype))
    if _is_narrow(name, new, metadata, stored):
        full = joined(name, there, new, parts, new.dtype.itemsize / dtype.itemsize)
        after = of_dtype(metadata, new.dtype)
        return made_anew(after, full.astype(after.data_type.dtype))
    return None


def _whole_of(name: str, new: xr.Variable, there: xr.Variable, region: Mapping[str, slice]) -> xr.Variable:
    """The ends of intervals beside labels that grow, which can therefore be joined too."""
    parts = parts_of(there, region)
    assert parts is not None
    return joined(name, there, new.transpose(*there.dims), parts, 1)


def _of_dtype_stored(new: xr.Variable, metadata: ArrayMetadata) -> xr.Variable:
    """Integers that the stored dtype holds in it: NumPy would make floats of signed and unsigned ones together."""
    dtype = metadata.data_type.dtype
    return new.astype(dtype) if new.dtype.kind in "iu" and dtype.kind in "iu" else new


def means_other(before: ArrayMetadata, after: ArrayMetadata) -> bool:
    """Whether stored elements are other numbers in an array as it will be."""
    marks = [note.get("missing") if isinstance(note := note_of(m, PANDAS), dict) else None for m in (before, after)]
    is_marked_anew = marks[0] is not None and marks[0] != marks[1]
    return before.data_type != after.data_type or before.fill_value != after.fill_value or is_marked_anew


def parts_of(there: xr.Variable, region: Mapping[str, slice]) -> dict[str, slice] | None:
    """The parts that are written along dimensions that are not written as a whole; None if that is not to be joined."""
    cuts = {
        str(dim): region[str(dim)]
        for dim, size in there.sizes.items()
        if str(dim) in region and region[str(dim)] != slice(0, size)
    }
    grows = [dim for dim, part in cuts.items() if part.stop > there.sizes[dim]]
    return None if grows and len(cuts) > 1 else cuts


def joined(name: str, there: xr.Variable, new: xr.Variable, parts: Mapping[str, slice], factor: float) -> xr.Variable:
    """The stored elements with the new ones in their place."""
    check_rewritable(name, int(max(there.nbytes, new.nbytes) * factor))
    full = _put(there, xr.Variable(new.dims, new.data), list(parts.items()))
    if full is None:
        raise EncodingError(
            f"variable {name!r} holds times that no unit holds together with those of the store",
            key=name,
            expected=str(there.dtype),
            found=str(new.dtype),
            mend="Round them to the unit of the store",
        )
    return full


def check_rewritable(name: str, nbytes: int) -> None:
    """Check that an array of so many bytes may be written anew.

    Raises
    ------
    EncodingError
    """
    if nbytes > _MAX_REWRITTEN:
        raise EncodingError(
            f"variable {name!r} does not fit the encoding of the store, and is too large to be written anew",
            key=name,
            expected=f"at most {_MAX_REWRITTEN} bytes",
            found=nbytes,
            mend="Save the store anew, with finer units, longer strings or wider integers",
        )


def _put(there: xr.Variable, new: xr.Variable, parts: list[tuple[str, slice]]) -> xr.Variable | None:
    """The stored elements with the new ones in their place; None if they are times that no unit holds together."""
    if not parts:
        return new
    (dim, part), *others = parts
    inner = _put(there.isel({dim: part}), new, others)
    if inner is None:
        return None
    around = [there.isel({dim: slice(0, part.start)}), there.isel({dim: slice(part.stop, None)})]
    before, behind = ([xr.Variable(p.dims, p.values)] if p.sizes[dim] else [] for p in around)
    if inner.chunks is not None:  # dask splits no objects of NumPy's by itself
        before, behind = ([p.chunk() for p in part] for part in (before, behind))
    pieces = _in_one_unit([*before, inner, *behind])
    concat: Any = xr.Variable.concat  # it has no types
    return None if pieces is None else concat(pieces, dim)


def _in_one_unit(pieces: list[xr.Variable]) -> list[xr.Variable] | None:
    """Times in the finest of their units, None if it does not hold them all; anything else as it is."""
    dtypes = {piece.dtype for piece in pieces}
    if len(dtypes) == 1 or not any({dtype.kind for dtype in dtypes} == {kind} for kind in "mM"):
        return pieces
    unit = np.datetime_data(np.result_type(*dtypes))[0]
    times = [values for piece in pieces if (values := to_unit(piece.values, unit)) is not None]
    if len(times) < len(pieces):
        return None
    return [xr.Variable(piece.dims, values) for piece, values in zip(pieces, times, strict=True)]


# strings


def _length(new: xr.Variable, there: xr.Variable, stored: np.dtype[Any]) -> int | None:
    """Characters, or bytes, of the longest of some strings; None for what is no text as the store has it."""
    encoding = there.encoding.get("_Encoding")
    kinds, is_kind = ("UTO", str) if stored.kind == "U" or encoding else ("SO", bytes)
    if new.chunks is not None:
        # of blocks only the dtype is known
        is_known = new.dtype.kind == stored.kind and new.dtype.kind in kinds
        return new.dtype.itemsize // (4 if stored.kind == "U" else 1) if is_known else None
    if new.dtype.kind not in kinds:
        return None
    texts = new.values.ravel().astype(object)
    present = texts[~is_missing(texts)].tolist()
    if not all(isinstance(text, is_kind) for text in present):
        return None
    try:
        return max((len(text.encode(encoding) if encoding else text) for text in present), default=0)
    except (LookupError, TypeError, UnicodeError):  # which encoding them says better
        return None


def _length_of(metadata: ArrayMetadata) -> int:
    dtype = metadata.data_type.dtype
    return dtype.itemsize // (4 if dtype.kind == "U" else 1)


def _itemsize(metadata: ArrayMetadata, length: int) -> int:
    return length * (4 if metadata.data_type.dtype.kind == "U" else 1)


def _longer(name: str, full: xr.Variable, there: xr.Variable, before: ArrayMetadata, length: int) -> Grown:
    old = before.data_type.dtype
    dtype = np.dtype(f"{old.kind}{length}").newbyteorder(old.byteorder)
    if int(np.prod(before.chunks)) * dtype.itemsize > MAX_NBYTES:
        raise EncodingError(
            f"variable {name!r} has strings that are too long for its chunks",
            key=name,
            found=str(dtype),
            mend="Save it anew",
        )
    codecs = _with_typesize(before.codecs, old.itemsize, dtype.itemsize)
    metadata = replace(before, data_type=data_type_of(dtype), codecs=codecs)
    if full.dtype.kind == old.kind and full.dtype.itemsize != dtype.itemsize:
        full = full.astype(dtype)
    stored = variable_of(there.dims, lazy_data(there), there.attrs, {**there.encoding, "dtype": dtype})
    encoded = encode_like(name, full, stored, metadata)
    return made_anew(metadata, encoded)


def _with_typesize(codecs: Sequence[CodecObject], old: int, new: int) -> tuple[CodecObject, ...]:
    """Codecs, also those inside of shards, for elements of another size."""

    def changed(value: JSON) -> JSON:
        if isinstance(value, list | tuple):
            return [changed(each) for each in value]
        if isinstance(value, Mapping):
            return {k: new if k == "typesize" and v == old else changed(v) for k, v in value.items()}
        return value

    return codec_objects(changed(raw_codec(codec)) for codec in codecs)


# codes of categories


def _is_narrow(name: str, new: xr.Variable, metadata: ArrayMetadata, stored: StoredGroup) -> bool:
    """Whether there are more categories than the stored integers can number."""
    dtype = metadata.data_type.dtype
    return name in stored.categories and dtype.kind == new.dtype.kind == "i" and new.dtype.itemsize > dtype.itemsize


def of_dtype(metadata: ArrayMetadata, dtype: np.dtype[Any]) -> ArrayMetadata:
    """An array of integers of another dtype, in the byte order that it has; without filters made for the old one."""
    old = metadata.data_type.dtype
    wide = dtype.newbyteorder(old.byteorder)
    codecs = _with_typesize(without_element_filters(metadata.codecs), old.itemsize, wide.itemsize)
    if old.itemsize == 1:
        codecs = _with_order(codecs)
    return replace(metadata, data_type=data_type_of(wide), codecs=codecs)


def _with_order(codecs: tuple[CodecObject, ...]) -> tuple[CodecObject, ...]:
    """Codecs that say the order of bytes, which those of single bytes need not."""
    return tuple(
        {"name": "bytes", "configuration": {"endian": "little"}} if codec["name"] == "bytes" else codec
        for codec in codecs
    )


# times


def _is_counted(there: xr.Variable) -> bool:
    return (there.dtype.kind in "mM" or there.dtype.kind == "O") and "units" in there.encoding


def _finer(units: str) -> list[str]:
    """Units of the same date that are finer, the coarsest first."""
    rank = _rank(units)
    if rank < 0:
        return []
    is_longer = unit_of(units) == "weeks"  # than any of them
    return [of_same_date(units, name) for name in CF_UNITS[rank if is_longer else rank + 1 :]]


def _rank(units: str) -> int:
    """How fine units are; -1 for those that are unknown."""
    unit = unit_of(units)
    known = _ALIASES.get(unit, unit)
    return CF_UNITS.index(known) if known in CF_UNITS else -1


def _holds(name: str, full: xr.Variable, there: xr.Variable, metadata: ArrayMetadata, units: str) -> bool:
    for wider in _as_wide(metadata):
        with suppress(EncodingError):
            encode_like(name, full, _in_units(there, units, wider), wider)
            return True
    return False


def _as_wide(metadata: ArrayMetadata) -> list[ArrayMetadata]:
    """The array, and the same with integers of 64 bits, where finer units make larger numbers."""
    dtype = metadata.data_type.dtype
    if dtype.kind not in "iu" or dtype.itemsize == 8 or "_Unsigned" in metadata.attributes:
        return [metadata]
    return [metadata, of_dtype(metadata, np.dtype(np.int64))]


def _in_units(there: xr.Variable, units: str, metadata: ArrayMetadata) -> xr.Variable:
    encoding = {**there.encoding, "units": units, "dtype": metadata.data_type.dtype}
    return variable_of(there.dims, lazy_data(there), there.attrs, encoding)


def _counted(name: str, full: xr.Variable, stored: StoredGroup, units: str) -> Grown:
    there, before = stored.variables[name], stored.arrays[name]
    error: EncodingError | None = None
    for metadata in _as_wide(before):
        try:
            encoded = encode_like(name, full, _in_units(there, units, metadata), metadata)
        except EncodingError as found:
            error = error or found
            continue
        attributes = dict(metadata.attributes)
        if "units" in attributes:
            attributes["units"] = units
        unit = finer_unit(there.dtype, units)
        if unit is not None and there.dtype.kind == "m" and "dtype" in attributes:
            attributes["dtype"] = f"timedelta64[{unit}]"  # by which readers tell what there is before they decode it
        return made_anew(replace(metadata, attributes=attributes), encoded)
    assert error is not None
    raise error


def _pairs(names: Sequence[str], stored: StoredGroup) -> list[tuple[str, str]]:
    """Coordinates and their bounds that have no units of their own."""
    pairs = []
    for name in names:
        other = stored.arrays[name].attributes.get("bounds")
        if isinstance(other, str) and other in stored.variables and other in names:
            there = stored.variables[other]
            if (
                _is_counted(stored.variables[name])
                and _is_counted(there)
                and "units" not in stored.arrays[other].attributes
            ):
                pairs.append((name, other))
    return pairs


def made_anew(metadata: ArrayMetadata, encoded: xr.Variable) -> Grown:
    """An array with all of its elements, which is another one than before."""
    return Grown(replace(with_new_id(metadata), shape=encoded.shape), encoded)
