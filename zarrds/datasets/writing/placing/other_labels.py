"""Labels of dimensions that have no array of their own: the levels of a MultiIndex together, and ranges from 0 on."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Set
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import is_chunked
from zarrds.datasets.encoding.dataset import stored_name
from zarrds.datasets.encoding.exact.comparison import Labels, label_text
from zarrds.datasets.reading.notes import PANDAS, RANGES, range_of
from zarrds.datasets.reading.roles import RANGE_INDEXES
from zarrds.datasets.writing.plain.evenly_spaced import positions_along, shown, with_ranges
from zarrds.datasets.writing.plain.to_plain import PlainDataset
from zarrds.datasets.writing.stored import StoredGroup
from zarrds.errors import EncodingError, LabelError
from zarrds.labels.kinds.times import TIMES, to_unit
from zarrds.metadata.extension import note_of, with_note
from zarrds.metadata.fields import JSONObject
from zarrds.metadata.model import ArrayMetadata

__all__ = [
    "Pairs",
    "categories_of",
    "check_evenly_spaced",
    "check_kinds",
    "check_ranges",
    "other_labels",
    "with_finer_times",
    "with_true_notes",
]

# by dimension
Pairs: TypeAlias = dict[str, tuple[Labels, Labels]]


def other_labels(plain: PlainDataset, stored: StoredGroup, dims: Set[Hashable]) -> Pairs:
    """The stored and the new labels of such dimensions, where there are both.

    Parameters
    ----------
    plain : PlainDataset
    stored : StoredGroup
    dims : set of hashable
        Dimensions of which the labels are going to be placed: of those, the levels of a MultiIndex, and the ends of
        intervals, are read. Evenly spaced labels are compared by their places.

    Raises
    ------
    LabelError
        If one has a MultiIndex where the other has other levels.
    """
    found: Pairs = {}
    sizes = stored.sizes if plain.ranges or stored.ranges else {}
    places = positions_along(plain, stored.ranges, sizes) if stored.ranges else {}
    found |= {str(dim): pair for dim, pair in places.items() if dim in dims}
    for dim, there in stored.notes.multi_indexes.items():
        levels = plain.multi_indexes.get(dim, there)
        if set(there) != set(levels):
            raise LabelError(
                f"the levels of the MultiIndex of {dim!r} are not those of the store",
                key=dim,
                expected=", ".join(there),
                found=", ".join(levels),
                mend="Rename or reorder them, or save under another dimension",
            )
        # also levels that are no index in the dataset become one in the store
        if dim in dims and all(level in plain.dataset.variables for level in there):
            pairs = [_level(level, plain.dataset, stored) for level in there]
            found[dim] = _joined(*(one for one, _ in pairs)), _joined(*(other for _, other in pairs))
    for dim, roles in stored.notes.companions.items():
        ends = roles.get("bounds") if dim in dims and dim in plain.dataset.variables else None
        if ends is not None and ends in plain.dataset.variables:
            # intervals are the same if both ends are, not if their middles are
            bounds = [v[ends].values for v in (stored.variables, dict(plain.dataset.variables))]
            found[dim] = _joined(*bounds[0].T), _joined(*bounds[1].T)
    for dim, index in plain.ranges.items():
        if dim in stored.notes.ranges:
            found[dim] = (np.arange(sizes[dim]), np.asarray(index))
    return found


def categories_of(
    dim: str, codes: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]], dataset: xr.Dataset, stored: StoredGroup
) -> tuple[Labels, Labels]:
    """Stored and new labels of a categorical, of which there are the codes; those that are missing have -1."""
    beside = stored.notes.companions[dim]["categories"]
    every = stored.categories[dim].astype(object)
    if beside in dataset.variables:
        every = every.append(pd.Index(dataset.variables[beside].values, dtype=object))
    every = every.append(pd.Index([None], dtype=object))
    return every.take(codes[0]), every.take(codes[1])  # of which -1 is the last


def _level(level: str, dataset: xr.Dataset, stored: StoredGroup) -> tuple[Labels, Labels]:
    """The stored and the new labels of a level of a MultiIndex."""
    pair = stored.variables[level].values, dataset.variables[level].values
    return categories_of(level, pair, dataset, stored) if level in stored.categories else pair


def _joined(*arrays: Labels) -> Labels:
    """Tuples of the elements of several arrays."""
    return pd.MultiIndex.from_arrays(list(arrays)).to_numpy()


def check_kinds(plain: PlainDataset, stored: StoredGroup) -> None:
    """Check that dimensions have labels of the same making, and that no name is that of a part of another array.

    Raises
    ------
    LabelError
    """
    owners = {part: name for name, roles in stored.notes.companions.items() for part in roles.values()}
    for name in map(stored_name, plain.dataset.variables):
        if name in owners and name not in plain.companions:
            raise LabelError(
                f"the store has an array of this name already, which is a part of {owners[name]!r}",
                key=name,
                mend="Rename the variable",
            )
    for dim in plain.multi_indexes:
        if dim in stored.arrays or dim in stored.notes.ranges:
            raise _other_labels(dim, "labels that are no MultiIndex", "a MultiIndex")
    for dim in stored.notes.multi_indexes:
        if dim in plain.ranges or (dim in plain.dataset.variables and dim in plain.dataset.dims):
            raise _other_labels(dim, "a MultiIndex", "other labels")


def _other_labels(dim: str, expected: str, found: str) -> LabelError:
    return LabelError(
        f"dimension {dim!r} has labels of another kind in the store",
        key=dim,
        expected=expected,
        found=found,
        mend="Drop the labels, or those in the store with zarrds.drop_vars",
    )


def check_ranges(plain: PlainDataset, stored: StoredGroup, region: Mapping[str, slice]) -> None:
    """Check that labels of ranges are those of their places, and those of all, so that nothing need be noted of them.

    Raises
    ------
    LabelError
    """
    # those without an index would get an array
    there = plain.dataset.variables
    bare = {dim: pd.Index(there[dim].values) for dim in stored.notes.ranges if dim in there}
    for dim, index in {**plain.ranges, **bare}.items():
        size = stored.sizes.get(dim, 0)
        part = region.get(dim, slice(0, size))
        if dim not in stored.notes.ranges:
            if part.start > 0 or part.stop < size:  # what is stored beside them would get labels too
                raise LabelError(
                    f"the dataset has labels for {dim!r}, and the store has none",
                    key=dim,
                    found=f"{label_text(index[0])}, …" if len(index) else "none",
                    mend=f"Drop them with .drop_vars({dim!r}), or give the store labels first, with mode='a'",
                )
            continue
        wanted = np.arange(part.start, part.stop)
        # of an append, what is stored already may have been left out
        labels = np.asarray(index)[len(index) - len(wanted) :] if len(index) > len(wanted) else np.asarray(index)
        if len(labels) == len(wanted) and not (different := np.flatnonzero(labels != wanted)).size:
            continue
        first = int(different[0]) if len(labels) == len(wanted) else 0
        raise LabelError(
            f"the labels of {dim!r} are the range 0, 1, 2, … in the store, and the new ones are not",
            key=dim,
            expected=label_text(wanted[first]) if len(wanted) else "none",
            found=label_text(labels[first]) if len(labels) else "none",
            mend=f"Give the dataset the labels of its place, or drop the coordinate {dim!r}",
        )


def check_evenly_spaced(plain: PlainDataset, stored: StoredGroup) -> None:
    """Check that labels are those that are evenly spaced in the store, where whole variables are written beside them.

    Raises
    ------
    LabelError
    """
    places = positions_along(plain, stored.ranges, stored.sizes)
    noted = [note for notes in plain.notes.values() if isinstance(note := notes.get(RANGE_INDEXES), dict)]
    given = {*plain.dataset.variables, *plain.ranges, *plain.multi_indexes}.union(*noted)
    for name, there in stored.ranges.items():
        found = places.get(there.dimension)
        if name in given and (found is None or not np.array_equal(*found)):
            raise LabelError(
                f"the labels {name!r} are evenly spaced in the store, and the new ones are others",
                key=name,
                expected=shown(there),
                mend="Give the dataset these labels, or drop those of the store with zarrds.drop_vars first",
            )


def with_finer_times(
    after: ArrayMetadata, notes: JSONObject, stored: xr.Variable, variable: xr.Variable
) -> ArrayMetadata:
    """An array of times to which finer ones are added than are noted of it: with the unit of those.

    Parameters
    ----------
    after : ArrayMetadata
    notes : mapping of str to JSON
        What would be noted of what is added, if it was new.
    stored, variable : Variable
        What is there, and what is added; decoded.

    Raises
    ------
    EncodingError
        If the unit cannot hold what is stored.
    """
    before, new = note_of(after, PANDAS), notes.get(PANDAS)
    noted = before.get("dtype") if isinstance(before, dict) else None
    if not isinstance(before, dict) or not isinstance(noted, str):  # what is malformed has been left out
        return after
    dtype = str(new["dtype"]) if isinstance(new, dict) else _finer_dtype(noted, variable)
    match = TIMES.fullmatch(dtype)
    if match is None or dtype == noted:
        return after
    if stored.dtype.kind not in "mM" or to_unit(stored.values, match[2]) is None:
        raise EncodingError(
            "times cannot be held exactly in the store's unit",
            expected=noted,
            found=dtype,
            mend="Round them to it, or save the variable anew",
        )
    return with_note(after, PANDAS, {**before, "dtype": dtype})


def _finer_dtype(noted: str, variable: xr.Variable) -> str:
    """The dtype that is noted of times, or that of new ones in memory which its unit cannot hold."""
    match = TIMES.fullmatch(noted)
    if match is None or variable.dtype.kind not in "mM" or is_chunked(variable):
        return noted
    unit = np.datetime_data(variable.dtype)[0]
    fits = unit == match[2] or to_unit(variable.values, match[2]) is not None
    return noted if fits else noted.replace(f"[{match[2]}", f"[{unit}", 1)


def with_true_notes(
    after: ArrayMetadata,
    variable: xr.Variable,
    parts: Sequence[slice],
    notes: JSONObject,
    stored: StoredGroup,
) -> ArrayMetadata:
    """The metadata of a stored array that is written to, without a note of ranges that it no longer holds.

    Parameters
    ----------
    after : ArrayMetadata
    variable : Variable
        What is written.
    parts : sequence of slice
        Where, along each dimension of the array.
    notes : mapping of str to JSON
        What would be noted of the variable if it was new.
    stored : StoredGroup
    """
    described = note_of(after, PANDAS)
    if isinstance(described, dict) and described.get("dtype") == "range":
        (part,) = parts
        index = range_of(described, part.stop)
        if index is None or not np.array_equal(variable.values, index[part.start :]):
            is_whole = part == slice(0, after.shape[0])
            after = with_note(after, PANDAS, notes.get(PANDAS) if is_whole else None)
    if (evenly_spaced := note_of(after, RANGE_INDEXES)) is not None:
        places = zip(map(str, variable.dims), zip(parts, after.shape, strict=True), strict=True)
        noted = with_ranges(evenly_spaced, notes.get(RANGE_INDEXES), dict(places))
        after = with_note(after, RANGE_INDEXES, noted)
    ranges, before = notes.get(RANGES), note_of(after, RANGES)
    if isinstance(ranges, list) and not stored.arrays.keys() & {str(dim) for dim in ranges}:
        known = before if isinstance(before, list) else []
        after = with_note(after, RANGES, [*known, *(dim for dim in ranges if dim not in known)])
    return after
