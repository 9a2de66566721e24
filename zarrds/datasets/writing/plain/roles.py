"""What a save notes of coordinates and indexes where CF and xarray's habits cannot say it.

The members are those that `zarrds.datasets.reading.roles` reads.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence, Set
from dataclasses import asdict

import xarray as xr

from zarrds.arrays.attributes import plain_attributes
from zarrds.compat.xarray_internals import CF_RELATED_DATA
from zarrds.compat.xarray_opening import EvenlySpaced, is_point_index
from zarrds.datasets.encoding.dataset import stored_name, with_named_coordinates
from zarrds.datasets.encoding.exact.attempt import is_time
from zarrds.datasets.encoding.meaning import is_undecoded
from zarrds.datasets.reading.roles import ATTRIBUTE, COORDINATE, FROM_ENCODING, INDEX, NO_INDEX, RANGE_INDEXES
from zarrds.errors import UnsupportedError
from zarrds.metadata.fields import JSON, Raw
from zarrds.metadata.times import is_since

__all__ = ["names_no_times", "ranges_without_array", "role_notes", "with_true_coordinates"]

Notes = dict[str, Raw]
# evenly spaced labels that no array along their dimension can note are written out, up to so many
_WRITTEN_OUT = 2**20
# attributes of CF that name variables, which xarray keeps in the encoding of what it opened with decode_coords="all"
_RELATED = frozenset(CF_RELATED_DATA)
_NAMING = _RELATED | {"coordinates"}


def with_true_coordinates(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset, without what an earlier file left in encodings of coordinates where that is not true any more.

    Nor is it where it is no text. In a dataset that is not decoded, coordinates that the group names are some.
    """
    named = dataset.attrs.get("coordinates")
    if isinstance(named, str) and dataset.variables.keys() >= {*named.split()} and is_undecoded(dataset):
        dataset = dataset.set_coords(named.split())
        del dataset.attrs["coordinates"]
    coordinates = set(map(str, dataset.coords))
    stale = [
        (name, key)
        for name, variable in dataset.variables.items()
        for key in _NAMING & variable.encoding.keys()
        if _is_stale(key, variable, coordinates)
    ]
    if not stale:
        return dataset
    dataset = dataset.copy(deep=False)
    for name, key in stale:
        del dataset.variables[name].encoding[key]
    return dataset


def _is_stale(key: str, variable: xr.Variable, coordinates: Set[str]) -> bool:
    carried = variable.encoding[key]
    if key != "coordinates":
        return not isinstance(carried, str)
    if carried is None:  # which asks for none to be named
        return False
    return key in variable.attrs or not isinstance(carried, str) or not coordinates >= set(carried.split())


def names_no_times(variable: xr.Variable, variables: Mapping[Hashable, xr.Variable]) -> bool:
    """Whether the attribute ``bounds`` of times names what is none: readers would take it for times without units.

    Parameters
    ----------
    variable : Variable
    variables : mapping of name to Variable
        All of its dataset.
    """
    named = variable.attrs.get("bounds", variable.encoding.get("bounds"))
    bounds = variables.get(named) if isinstance(named, str) else None
    if bounds is None or variable.dtype.kind not in "MO" or not is_time(variable) or is_time(bounds):
        return False
    return bounds.dtype.kind not in "iuf" or not is_since(bounds.attrs.get("units"))


def ranges_without_array(dataset: xr.Dataset, written: Collection[Hashable]) -> dict[Hashable, xr.indexes.RangeIndex]:
    """The evenly spaced coordinates that need no array, since one along their dimension can note them.

    Parameters
    ----------
    dataset : Dataset
    written : collection of names
        Those that get an array in any case.

    Raises
    ------
    UnsupportedError
        If there is no such array, and the coordinate is too large to be written out.
    """
    found = {
        name: index
        for name, index in dataset.xindexes.items()
        if isinstance(index, xr.indexes.RangeIndex) and name not in written
    }
    for name in list(found):
        variable = dataset.variables[name]
        if not any(variable.dims[0] in v.dims for n, v in dataset.variables.items() if n not in found):
            if variable.size > _WRITTEN_OUT:
                raise UnsupportedError(
                    "evenly spaced labels without any variable along their dimension are not written out",
                    key=stored_name(name),
                    expected=f"a variable along {variable.dims[0]!r}, or at most {_WRITTEN_OUT} labels",
                    found=variable.size,
                    mend="Save them together with data, or drop the coordinate",
                )
            del found[name]
    return found


def role_notes(dataset: xr.Dataset, plain: xr.Dataset, without_array: Collection[Hashable]) -> Notes:
    """Members of the ``zarrds`` objects of a dataset's arrays, by their names.

    Parameters
    ----------
    dataset : Dataset
        The user's.
    plain : Dataset
        What is stored of it.
    without_array : collection of names
        From `ranges_without_array`.

    Raises
    ------
    UnsupportedError
        For an index that could not be made again.
    """
    notes: Notes = {}
    ranges: Notes = {}  # by the array that notes them
    indexes, all_coordinates = dataset.xindexes, dataset.coords
    is_raw = is_undecoded(dataset)  # then attributes say what is a coordinate, once it is opened
    for name, variable in dataset.variables.items():
        if isinstance(variable.attrs.get("coordinates"), str) and not is_raw:
            notes.setdefault(stored_name(name), {})[ATTRIBUTE] = True
        if moved := sorted(_RELATED & variable.encoding.keys() - variable.attrs.keys()):
            notes.setdefault(stored_name(name), {})[FROM_ENCODING] = moved
        if variable.dims == (name,) and name in all_coordinates and name not in indexes:
            notes.setdefault(stored_name(name), {})[INDEX] = dict(NO_INDEX)
    for key, is_coordinate in _coordinate_notes(plain).items():
        if is_raw and not is_coordinate:
            continue
        notes.setdefault(key, {})[COORDINATE] = is_coordinate
    for index, coordinates in indexes.group_by_index():
        names = list(coordinates)
        if names[0] in without_array and isinstance(index, xr.indexes.RangeIndex):
            spaced = EvenlySpaced.of(index)
            settings = asdict(spaced) | {"attributes": plain_attributes(dataset.variables[names[0]].attrs)}
            for other, variable in plain.variables.items():
                if spaced.dimension in variable.dims:
                    ranges.setdefault(stored_name(other), {})[stored_name(names[0])] = settings
        elif (noted := _noted(index, names, dataset)) is not None:
            notes.setdefault(stored_name(noted[0]), {})[INDEX] = noted[1]
    for key, spaced_ones in ranges.items():
        notes.setdefault(key, {})[RANGE_INDEXES] = spaced_ones
    return notes


def _coordinate_notes(plain: xr.Dataset) -> dict[str, bool]:
    """Which of the stored arrays are coordinates, or not, against what CF attributes will say."""
    dims = set(map(str, plain.dims))
    coordinates = {stored_name(name) for name in plain.coords}
    others = coordinates - dims
    if not others and not any(
        "coordinates" in v.attrs or "coordinates" in v.encoding for v in plain.variables.values()
    ):
        said = set()
    else:
        variables, attributes = with_named_coordinates(plain)
        texts = [attributes.get("coordinates"), *(v.attrs.get("coordinates") for v in variables.values())]
        said = {name for text in texts if isinstance(text, str) for name in text.split()}
    said |= dims
    names = list(map(stored_name, plain.variables))
    return {name: name in coordinates for name in names if (name in said) != (name in coordinates)}


def _noted(index: xr.Index, names: Sequence[Hashable], dataset: xr.Dataset) -> tuple[Hashable, JSON] | None:
    """The coordinate that has the note of an index, and the note; None for those that are made again without one."""
    if isinstance(index, xr.indexes.PandasMultiIndex):
        return None
    dims = dataset.variables[names[0]].dims
    if isinstance(index, xr.indexes.PandasIndex):
        return None if dims == (names[0],) else (names[0], {"kind": "pandas"})
    if isinstance(index, xr.indexes.RangeIndex):
        return names[0], {"kind": "range", **asdict(EvenlySpaced.of(index))}
    from zarrds.labels.genomics.regions import RegionIndex  # which few datasets have

    if isinstance(index, RegionIndex):
        settings = index.settings
        first, *_ = settings["coordinates"]
        return first, {"kind": "regions", **settings, "coordinates": list(map(stored_name, settings["coordinates"]))}
    if is_point_index(index):
        return names[0], {"kind": "points", "coordinates": list(map(stored_name, names))}
    raise UnsupportedError(
        f"an index of the type {type(index).__name__} cannot be stored, and would be lost",
        key=stored_name(names[0]),
        found=f"an index of {', '.join(map(repr, names))}",
        mend=_mend_of_index(index, list(names)),
    )


def _mend_of_index(index: xr.Index, names: list[Hashable]) -> str:
    """What to do about an index of another library, which may hold what no coordinate has: units, a CRS, a grid."""
    library = type(index).__module__.partition(".")[0]
    kept = f"Have {library} write all that its index holds (units, a CRS, a grid) into attributes first, then save"
    return f"{kept} ds.drop_indexes({names!r}), and set it again on what was opened: with set_xindex, or by {library}"
