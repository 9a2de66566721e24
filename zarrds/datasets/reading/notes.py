"""What the arrays of one group say of indexes, checked against each other: nothing of it is believed that does not fit.

The members of the ``zarrds`` object that are read here are described in the specification: ``pandas``,
``multi_index`` and ``range_dimensions``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import pandas as pd
import xarray as xr

from zarrds.errors import EncodingError, MetadataError, VariableNotFoundError
from zarrds.labels.kinds.plain import Description
from zarrds.labels.kinds.table import companion_names, decode_options
from zarrds.metadata.equality import is_same
from zarrds.metadata.extension import PANDAS, has_notes, marks_of, note_of
from zarrds.metadata.fields import JSON, Raw
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.times import is_since

__all__ = [
    "MULTI_INDEX",
    "PANDAS",
    "RANGES",
    "Closed",
    "GroupNotes",
    "beside",
    "notes_of",
    "range_of",
    "single_bytes",
    "with_intervals",
]

Closed: TypeAlias = Literal["left", "right", "both", "neither"]
# members of the `zarrds` object
MULTI_INDEX, RANGES = "multi_index", "range_dimensions"
# categories may have categories: those of intervals of times with a zone have three arrays below them
_MOST_NESTED = 8


@dataclass(frozen=True, slots=True)
class GroupNotes:
    """What is known of the labels of one group.

    Attributes
    ----------
    descriptions : mapping of str to mapping
        What pandas needs, by the name of the array.
    companions : mapping of str to mapping of str to str
        The arrays that are stored beside one, by its name and by their role.
    multi_indexes : mapping of str to tuple of str
        The names of the levels, by dimension.
    ranges : frozenset of str
        Dimensions that have the labels 0, 1, 2, … and no array of their own.
    problems : mapping of str to str
        By the name of the array, what does not fit and is left out of the others.
    single_bytes : frozenset of str
        Arrays of single bytes that are no characters of longer texts.
    """

    descriptions: Mapping[str, Description] = field(default_factory=dict)
    companions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    multi_indexes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ranges: frozenset[str] = frozenset()
    problems: Mapping[str, str] = field(default_factory=dict)
    single_bytes: frozenset[str] = frozenset()

    @property
    def hidden(self) -> frozenset[str]:
        """Arrays that are parts of others, and no variables."""
        return frozenset(name for roles in self.companions.values() for name in roles.values())

    def without_dimensions(self, dims: Collection[str]) -> GroupNotes:
        """All but the labels of some dimensions that have no array of their own."""
        return replace(
            self,
            multi_indexes={dim: levels for dim, levels in self.multi_indexes.items() if dim not in dims},
            ranges=self.ranges.difference(dims),
        )

    def without_indexes(self, labels: Collection[str]) -> GroupNotes:
        """What is said of data, and of those of some labels that xarray's decoders would round to floats."""
        as_stored = set(labels).union(*self.multi_indexes.values())
        kept = self.descriptions.keys() - as_stored
        kept = kept.union(*(_parts_of(name, self.companions) or () for name in kept))
        kept |= {n for n in self.descriptions.keys() - self.companions.keys() if _is_unmasked(self.descriptions[n])}
        return GroupNotes(
            {n: d for n, d in self.descriptions.items() if n in kept},
            {n: c for n, c in self.companions.items() if n in kept},
            problems=self.problems,
            single_bytes=self.single_bytes,
        )

    def without(self, name: str) -> GroupNotes:
        """All but what is said of one array."""
        return replace(
            self,
            descriptions={n: d for n, d in self.descriptions.items() if n != name},
            companions={n: c for n, c in self.companions.items() if n != name},
        )


def notes_of(arrays: Mapping[str, ArrayMetadata]) -> GroupNotes:
    """The notes of a group's arrays, by name.

    Examples
    --------
    >>> import pandas as pd, xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> zarrds.save(xr.Dataset(coords={"x": pd.CategoricalIndex(["b", "a"])}), store)
    >>> notes = notes_of({name: zarrds.open_array(store, path=name).metadata for name in ("x", "x_categories")})
    >>> notes.descriptions["x"], notes.hidden
    ({'dtype': 'category', 'ordered': False, 'categories': 'x_categories'}, frozenset({'x_categories'}))
    """
    descriptions: dict[str, Description] = {}
    companions: dict[str, Mapping[str, str]] = {}
    problems: dict[str, str] = {}
    noted = {name: metadata for name, metadata in arrays.items() if has_notes(metadata)}
    for name, metadata in noted.items():
        value = note_of(metadata, PANDAS)
        if value is None:
            continue
        try:
            found = _companions(name, value, arrays)
        except MetadataError as error:
            problems[name] = error.problem
            continue
        assert isinstance(value, dict)
        descriptions[name] = value
        if found:
            companions[name] = found
    parts = {name: _parts_of(name, companions) for name in companions}
    for name, below in parts.items():
        if below is None or name in below:
            del descriptions[name], companions[name]
            problems[name] = "it would be a part of itself" if below else "its parts have too many parts of their own"
    return GroupNotes(
        descriptions,
        companions,
        _multi_indexes(noted, arrays, problems),
        _ranges(noted, arrays),
        problems,
        single_bytes(arrays),
    )


def single_bytes(arrays: Mapping[str, ArrayMetadata]) -> frozenset[str]:
    """Arrays that xarray would take for characters: zarrds writes such only where the data was of single bytes."""
    return frozenset(
        name
        for name, metadata in arrays.items()
        if metadata.data_type.name == "null_terminated_bytes"
        and metadata.data_type.dtype.itemsize == 1
        and "_Encoding" not in metadata.attributes
        and marks_of(metadata).id is not None
    )


def _parts_of(name: str, companions: Mapping[str, Mapping[str, str]]) -> set[str] | None:
    """The companions of an array, theirs, and so on; None where that goes on for longer than any labels need."""
    found: set[str] = set()
    level = {name}
    for _ in range(_MOST_NESTED):
        level = {other for each in level for other in companions.get(each, {}).values()} - found
        if not level:
            return found
        found |= level
    return None


def _is_unmasked(description: Description) -> bool:
    """Whether an array must be decoded without regard to what marks missing elements."""
    return description.get("dtype") != "range" and decode_options(description).get("mask_and_scale") is False


def range_of(description: Description, size: int) -> pd.RangeIndex | None:
    """The labels of a description with the dtype ``range``; None if it does not name them.

    Examples
    --------
    >>> range_of({"dtype": "range", "start": 5, "step": 3}, 4)
    RangeIndex(start=5, stop=17, step=3)
    """
    start, step = description.get("start"), description.get("step")
    if type(start) is not int or type(step) is not int or step == 0:  # True is an integer to Python
        return None
    return pd.RangeIndex(start, start + size * step, step)


def beside(metadata: ArrayMetadata) -> set[str]:
    """The names of the arrays that are parts of one, as far as its description names them."""
    value = note_of(metadata, PANDAS)
    try:
        return set(companion_names(value).values()) if isinstance(value, dict) else set()
    except MetadataError:
        return set()


def with_intervals(
    notes: GroupNotes, variables: Mapping[Any, xr.Variable], intervals: Mapping[str, Closed]
) -> GroupNotes:
    """The notes, as if the CF bounds of some coordinates had been saved of an IntervalIndex (CF 1.12, section 7.1).

    Parameters
    ----------
    notes : GroupNotes
    variables : mapping of name to Variable
        As they are stored.
    intervals : mapping of str to str
        Where the intervals of each coordinate are closed.

    Raises
    ------
    VariableNotFoundError
        If a coordinate has no bounds.
    """
    descriptions, companions = dict(notes.descriptions), dict(notes.companions)
    for name, closed in intervals.items():
        variable = variables.get(name)
        bounds = None if variable is None else variable.attrs.get("bounds")
        beside = variables.get(bounds) if isinstance(bounds, str) else None
        if closed not in ("left", "right", "both", "neither"):
            raise EncodingError(
                "intervals are closed on no such side",
                key=name,
                expected="'left', 'right', 'both' or 'neither'",
                found=f"{closed!r:.80}",
            )
        if variable is None or beside is None or beside.shape != (*variable.shape, 2) or variable.ndim != 1:
            raise VariableNotFoundError(
                "no coordinate of this name has CF bounds",
                key=name,
                expected="a 1-D coordinate with an attribute `bounds` that names an array of shape (n, 2)",
                found=bounds,
                mend="Leave it out of intervals=",
            )
        if "bounds" not in companions.get(name, {}):
            subtype = "datetime64[ns]" if is_since(variable.attrs.get("units")) else str(beside.dtype.newbyteorder("="))
            closing: Raw = {"dtype": "interval", "closed": closed, "bounds": str(bounds)}
            descriptions[name] = {**closing, "subtype": {"dtype": subtype}}
            companions[name] = {"bounds": str(bounds)}
    return replace(notes, descriptions=descriptions, companions=companions)


def _companions(name: str, value: JSON, arrays: Mapping[str, ArrayMetadata]) -> Mapping[str, str]:
    if not isinstance(value, dict) or not isinstance(value.get("dtype"), str):
        raise MetadataError("its description is no object with a dtype")
    if value["dtype"] == "range":
        return {}
    found = companion_names(value)
    decode_options(value)  # raises if there is anything else that it does not say as it must
    owner = arrays[name]
    for role, other in found.items():
        beside = arrays.get(other)
        if other == name or beside is None:
            raise MetadataError(f"its {role} {other!r} are missing")
        if role == "bounds" and beside.shape != (*owner.shape, 2):
            raise MetadataError(f"its bounds {other!r} have the shape {beside.shape}, not {(*owner.shape, 2)}")
        if role == "categories" and len(beside.shape) != 1:
            raise MetadataError(f"its categories {other!r} have {len(beside.shape)} dimensions")
    return found


def _multi_indexes(
    noted: Mapping[str, ArrayMetadata], arrays: Mapping[str, ArrayMetadata], problems: dict[str, str]
) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, metadata in noted.items():
        value = note_of(metadata, MULTI_INDEX)
        if value is None:
            continue
        dim = value.get("dimension") if isinstance(value, dict) else None
        levels = value.get("levels") if isinstance(value, dict) else None
        if (
            not isinstance(dim, str)
            or not isinstance(levels, list)
            or not all(isinstance(level, str) for level in levels)
            or len(set(map(str, levels))) != len(levels)
            or name not in levels
        ):
            problems[name] = "its multi_index names no dimension and levels"
            continue
        names = tuple(map(str, levels))
        others = [arrays.get(level) for level in names]
        if dim in arrays or any(
            other is None
            or other.dimension_names != (dim,)
            or other.shape != metadata.shape
            or not is_same(note_of(other, MULTI_INDEX), value)
            for other in others
        ):
            problems[name] = f"the levels {', '.join(names)} of its MultiIndex do not fit together"
            continue
        found[dim] = names
    return found


def _ranges(noted: Mapping[str, ArrayMetadata], arrays: Mapping[str, ArrayMetadata]) -> frozenset[str]:
    found = set()
    for metadata in noted.values():
        value = note_of(metadata, RANGES)
        for dim in value if isinstance(value, list) else ():
            if isinstance(dim, str) and dim in (metadata.dimension_names or ()) and dim not in arrays:
                found.add(dim)
    return frozenset(found)
