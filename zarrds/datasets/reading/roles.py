"""Which arrays of a group are coordinates, and which of those have an index, where CF and xarray's habits do not tell.

The members of the ``zarrds`` object that are read here are described in the specification: ``coordinate``, ``index``
and ``range_indexes``. Indexes are of a fixed table of kinds: nothing is imported by a name that a store says.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from zarrds.compat.xarray_opening import EvenlySpaced
from zarrds.errors import MetadataError
from zarrds.metadata.extension import MEMBER
from zarrds.metadata.fields import JSON, JSONObject, Raw, an_object, member
from zarrds.metadata.model import ArrayMetadata, GroupMetadata

__all__ = [
    "ATTRIBUTE",
    "COORDINATE",
    "FROM_ENCODING",
    "INDEX",
    "NO_INDEX",
    "RANGE_INDEXES",
    "NotedIndex",
    "Roles",
    "coordinates_named",
    "evenly_spaced",
    "move_attributes",
    "roles_of",
    "with_coordinates_named",
]

# members of the `zarrds` object
COORDINATE, ATTRIBUTE, FROM_ENCODING = "coordinate", "coordinates_attribute", "from_encoding"
INDEX, RANGE_INDEXES = "index", "range_indexes"
# of the coordinate of a dimension, which has an index unless that is noted
NO_INDEX = {"kind": "none"}
_MEMBERS = frozenset({COORDINATE, ATTRIBUTE, FROM_ENCODING, INDEX, RANGE_INDEXES})
# how many coordinates each kind of index has, at least and at most
_KINDS = {"none": (1, 1), "pandas": (1, 1), "range": (1, 1), "regions": (2, 3), "points": (1, 64)}
_RANGE_DTYPES = frozenset(np.dtype(code).name for code in "efdbhilqBHILQ")


@dataclass(frozen=True, slots=True)
class NotedIndex:
    """An index that xarray does not make by itself.

    Attributes
    ----------
    kind : str
        One of those in the specification.
    coordinates : tuple of str
    options : mapping
        Checked only as far as JSON's types go.
    """

    kind: str
    coordinates: tuple[str, ...]
    options: JSONObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Roles:
    """What is noted of one group.

    Attributes
    ----------
    coordinates, data : frozenset of str
        Arrays that are coordinates, or not, whatever CF attributes say.
    attributes : frozenset of str
        Arrays whose attribute ``coordinates`` is one that the user gave them.
    encodings : mapping of str to tuple of str
        Attributes that were no attributes but stood in the encoding, by the name of the array.
    unindexed : frozenset of str
        Coordinates of dimensions that have no index.
    indexes : tuple of NotedIndex
        Others than those that xarray makes.
    ranges : mapping of str to tuple of (EvenlySpaced, mapping)
        Coordinates without an array that are evenly spaced, by name: their labels, and their attributes.
    problems : mapping of str to str
        By the name of the array, what does not fit and is left out of the others.
    """

    coordinates: frozenset[str] = frozenset()
    data: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    encodings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unindexed: frozenset[str] = frozenset()
    indexes: tuple[NotedIndex, ...] = ()
    ranges: Mapping[str, tuple[EvenlySpaced, JSONObject]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    def without(self, names: Collection[str]) -> Roles:
        """All but what needs one of these arrays."""
        return replace(
            self,
            indexes=tuple(index for index in self.indexes if not set(index.coordinates) & set(names)),
            ranges={name: found for name, found in self.ranges.items() if name not in names},
        )

    def without_coordinates(self) -> Roles:
        """What is left where coordinates are not to be told from data."""
        return replace(
            self, coordinates=frozenset(), data=frozenset(), attributes=frozenset(), encodings={}, indexes=()
        )

    def without_indexes(self) -> Roles:
        """What is noted of coordinates alone."""
        return replace(self, unindexed=frozenset(), indexes=(), ranges={})


_NOTHING = Roles()


def roles_of(arrays: Mapping[str, ArrayMetadata], left_out: Collection[str] = ()) -> Roles:
    """The roles of a group's arrays.

    Parameters
    ----------
    arrays : mapping of str to ArrayMetadata
    left_out : collection of str
        Further arrays that the group has: what needs them is left out, and is no problem.
    """
    roles: Raw = {}
    attributes = set()
    encodings: dict[str, tuple[str, ...]] = {}
    indexes: Raw = {}
    ranges: Raw = {}
    for name, metadata in arrays.items():
        member = metadata.extensions.get(MEMBER)
        if not isinstance(member, dict) or not _MEMBERS.intersection(member):
            continue
        if COORDINATE in member:
            roles[name] = member[COORDINATE]
        if member.get(ATTRIBUTE) is True:
            attributes.add(name)
        if isinstance(moved := member.get(FROM_ENCODING), list):
            encodings[name] = tuple(key for key in moved if isinstance(key, str))
        if INDEX in member:
            indexes[name] = member[INDEX]
        if RANGE_INDEXES in member:
            ranges[name] = member[RANGE_INDEXES]
    if not (roles or attributes or encodings or indexes or ranges):
        return _NOTHING
    problems: dict[str, str] = {}
    found = [_index(name, value, arrays, set(left_out), problems) for name, value in indexes.items()]
    known = [index for index in found if index is not None]
    return Roles(
        coordinates=frozenset(name for name, value in roles.items() if value is True),
        data=frozenset(name for name, value in roles.items() if value is False),
        attributes=frozenset(attributes),
        encodings=encodings,
        unindexed=frozenset(index.coordinates[0] for index in known if index.kind == "none"),
        indexes=tuple(index for index in known if index.kind != "none"),
        ranges=_ranges(ranges, arrays, problems),
        problems=problems,
    )


def with_coordinates_named(
    group: GroupMetadata, arrays: Mapping[str, ArrayMetadata], left: Mapping[str, ArrayMetadata]
) -> GroupMetadata:
    """A group of which some arrays are left: it names coordinates that only others named, which would become data.

    Parameters
    ----------
    group : GroupMetadata
    arrays : mapping of str to ArrayMetadata
        All that it had, by name.
    left : mapping of str to ArrayMetadata
    """
    here = _names_in(group.attributes)
    before, after = _named_by(arrays), _named_by(left)
    lost = [n for n in left if n in before - after - set(here) and left[n].dimension_names != (n,)]
    return replace(group, attributes={**group.attributes, "coordinates": " ".join([*here, *lost])}) if lost else group


def coordinates_named(group: GroupMetadata, arrays: Mapping[str, ArrayMetadata]) -> set[str]:
    """What the attributes ``coordinates`` of a group and of its arrays name."""
    return _named_by(arrays).union(_names_in(group.attributes))


def _named_by(arrays: Mapping[str, ArrayMetadata]) -> set[str]:
    naming = arrays.keys() - roles_of(arrays).attributes  # of the others it is an attribute of the user's
    return {named for name in naming for named in _names_in(arrays[name].attributes)}


def _names_in(attributes: JSONObject) -> list[str]:
    value = attributes.get("coordinates")
    return value.split() if isinstance(value, str) else []


def _index(
    name: str, value: JSON, arrays: Mapping[str, ArrayMetadata], left_out: set[str], problems: dict[str, str]
) -> NotedIndex | None:
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        problems[name] = "its index is no object with a kind"
        return None
    kind, names = value["kind"], value.get("coordinates", [name])
    if kind not in _KINDS:
        problems[name] = f"its index is of the kind {kind!r}, which this zarrds does not know"
        return None
    least, most = _KINDS[kind]
    if (
        not isinstance(names, list)
        or not all(isinstance(n, str) for n in names)
        or len(set(names)) < len(names)
        or not least <= len(names) <= most
        or names[0] != name
    ):
        problems[name] = "its index does not name its coordinates"
        return None
    if left_out & set(names):
        return None
    dims = arrays[name].dimension_names
    ndim = len(arrays[name].shape)
    is_dimension = dims == (name,)
    others = [arrays.get(n) for n in names]
    if any(other is None or other.dimension_names != dims or other.shape != arrays[name].shape for other in others):
        problems[name] = f"the coordinates {', '.join(names)} of its index do not fit together"
        return None
    options = {k: v for k, v in value.items() if k not in ("kind", "coordinates")}
    if (
        dims is None
        or (kind != "points" and ndim != 1)
        or (kind in ("none", "pandas") and is_dimension != (kind == "none"))
        or (kind == "range" and not _is_along(evenly_spaced(options), {dims[0]: arrays[name].shape[0]}))
    ):
        problems[name] = f"it cannot have an index of the kind {kind!r}"
        return None
    return NotedIndex(kind, tuple(names), options)


def _ranges(
    notes: JSONObject, arrays: Mapping[str, ArrayMetadata], problems: dict[str, str]
) -> dict[str, tuple[EvenlySpaced, JSONObject]]:
    found: dict[str, tuple[EvenlySpaced, JSONObject]] = {}
    for owner, value in notes.items():
        for name, settings in value.items() if isinstance(value, dict) else ():
            if name in found or name in arrays:
                continue  # of all arrays along the dimension, the first is believed
            spaced = evenly_spaced(settings)
            attributes = settings.get("attributes", {}) if isinstance(settings, dict) else None
            sizes = dict(zip(arrays[owner].dimension_names or (), arrays[owner].shape, strict=False))
            if spaced is None or not _is_along(spaced, sizes) or not isinstance(attributes, dict):
                problems[owner] = f"the evenly spaced labels {name!r} do not fit it"
                continue
            found[name] = spaced, attributes
    return found


def _is_along(spaced: EvenlySpaced | None, sizes: Mapping[str | None, int]) -> bool:
    return spaced is not None and sizes.get(spaced.dimension) == spaced.size


def evenly_spaced(value: JSON) -> EvenlySpaced | None:
    """The labels that a note tells of; None if it is malformed."""
    if not isinstance(value, dict):
        return None
    try:
        dimension, dtype = member(value, "dimension", str), member(value, "dtype", str)
        start, stop = (float(member(value, name, float)) for name in ("start", "stop"))
        step = None if value.get("step") is None else float(member(value, "step", float))
        size = member(value, "size", int)
        an_object(value.get("attributes", {}), "attributes")
    except (MetadataError, OverflowError):  # of an integer that is no float
        return None
    is_finite = all(math.isfinite(number) for number in (start, stop, step or 0.0))
    is_known = dtype in _RANGE_DTYPES and size >= 0
    return EvenlySpaced(dimension, start, stop, size, step, dtype) if is_finite and is_known else None


def move_attributes(variables: Mapping[Hashable, xr.Variable], roles: Roles) -> None:
    """Put attributes of decoded variables that name others where they were when they were saved."""
    for name in roles.attributes & variables.keys():
        if "coordinates" in variables[name].encoding:
            variables[name].attrs["coordinates"] = variables[name].encoding.pop("coordinates")
    for name, keys in roles.encodings.items():
        if name in variables:
            attrs, encoding = variables[name].attrs, variables[name].encoding
            encoding.update({key: attrs.pop(key) for key in keys if key in attrs})
