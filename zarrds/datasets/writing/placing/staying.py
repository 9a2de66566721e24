"""Which stored variables a save leaves as they are, and the comparison that makes sure that it may."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from zarrds.compat.xarray_internals import decode_cf_variables, is_chunked, lazy_data, variable_of
from zarrds.datasets.encoding.as_stored import as_stored
from zarrds.datasets.encoding.exact.packing import CF_KEYS
from zarrds.datasets.encoding.meaning import check_same_meaning, says_where
from zarrds.datasets.writing.changes import UpdateOptions
from zarrds.datasets.writing.placing.append import check_same_labels, check_sizes
from zarrds.datasets.writing.placing.region import part_of
from zarrds.datasets.writing.stored import StoredGroup
from zarrds.errors import LabelError
from zarrds.labels.kinds.plain import is_missing
from zarrds.metadata.attributes import apart_attributes
from zarrds.metadata.extension import marks_of
from zarrds.metadata.model import ArrayMetadata

__all__ = ["check_all_are_written", "check_meaning", "stays"]

_What: TypeAlias = Literal["values", "labels"]

# what to do where such must be what is stored, and are not
_MENDS: dict[_What, str] = {
    "values": "Leave it out here; to change it, save it by itself with mode='a'",
    "labels": "Reindex or align the dataset to the stored labels, or drop the coordinate",
}


def stays(
    name: str,
    variable: xr.Variable,
    stored: StoredGroup,
    how: UpdateOptions,
    region: Mapping[str, slice],
    *,
    is_coordinate: bool,
) -> bool:
    """Whether a stored variable is left as it is.

    - Of an append, all that does not have the dimension stays, and must be what is stored.
    - Of a region, what says where one is stays: coordinates, and variables that are coordinates in all but name.
    - Else coordinates stay that are the stored ones.

    Only where nothing is stored yet (the fill value, in an array that is not complete) they are written.

    Parameters
    ----------
    name : str
    variable : Variable
        New, decoded.
    stored : StoredGroup
    how : UpdateOptions
    region : mapping of str to slice
        Also along the dimension that is appended to.
    is_coordinate : bool
        Whether it is one in the store or in the dataset.

    Raises
    ------
    LabelError
        If it must stay, and the new one differs.
    """
    there = stored.variables[name]
    if how.append_dim is not None:
        if how.append_dim in there.dims:
            return False
        if how.mode == "a-" and not is_coordinate:
            return True
        if others := [dim for dim in there.dims if variable.sizes.get(dim) != there.sizes[dim]]:
            check_sizes(name, there, variable, mend=_beside(how.append_dim, others, stored))
        return _is_stored(name, variable, stored, region, "labels" if is_coordinate else "values")
    if set(there.dims) & set(region):
        if not (is_coordinate or says_where(name, there) or says_where(name, variable)):
            return False
        return _is_stored(name, variable, stored, region, "labels")
    check_sizes(name, there, variable)
    return is_coordinate and _is_same(name, variable, stored, how.mode)


def _beside(append_dim: Hashable, others: Sequence[Hashable], stored: StoredGroup) -> str:
    """What to do where an append brings other sizes along dimensions of what stays."""
    grid = {dim for v in stored.variables.values() if append_dim in v.dims for dim in v.dims}
    named = ", ".join(repr(str(dim)) for dim in others)
    if not grid.isdisjoint(others):
        return f"Bring the dataset to the labels of the store along {named} first, with .reindex or .sel"
    # as the profiles of ragged arrays, whose elements lie along another dimension
    return (
        f"An append goes along one dimension. If {named} is to grow as well, append what has it by itself, and leave "
        f"it out here, .drop_dims({list(map(str, others))}); else give the dataset what the store has"
    )


def _is_stored(
    name: str,
    variable: xr.Variable,
    stored: StoredGroup,
    region: Mapping[str, slice],
    what: _What,
) -> bool:
    """Whether a variable is all stored; false where nothing is stored yet in some places. Raises if it differs."""
    there, metadata = part_of(stored.variables[name], region), stored.arrays[name]
    read = partial(as_stored, name, stored=stored.variables[name], metadata=metadata)
    is_incomplete, is_new = _is_incomplete(metadata), False

    def seen(before: xr.Variable, part: xr.Variable) -> xr.Variable:
        nonlocal is_new
        if is_incomplete:
            part, is_other = _where_stored(part, before, metadata)
            is_new |= is_other
        return part if _is_equal(before, part) else read(part)

    check_same_labels(name, there, variable, what=what, mend=_MENDS[what], read=seen)
    check_meaning(name, variable, stored)
    return not is_new


def _is_equal(before: xr.Variable, part: xr.Variable) -> bool:
    """Whether it is seen at once that numbers are those of the store, as those of grids are in every append."""
    is_plain = before.dtype == part.dtype and before.dtype.kind in "biufmM" and not is_chunked(part)
    return is_plain and np.array_equal(before.values, part.values)


def check_meaning(name: str, variable: xr.Variable, stored: StoredGroup) -> None:
    """Check that a new variable has the units, flags and so on of the stored one; see `check_same_meaning`."""
    described, there = name in stored.notes.descriptions, stored.variables[name]
    if apart := apart_attributes(stored.arrays[name]):
        there = variable_of(there.dims, lazy_data(there), there.attrs | apart, there.encoding)
    check_same_meaning(name, there, variable, described=described)


def _is_same(name: str, variable: xr.Variable, stored: StoredGroup, mode: str) -> bool:
    try:
        check_same_labels(name, stored.variables[name], variable)
    except LabelError:
        return False
    try:
        check_meaning(name, variable, stored)
    except LabelError:
        if mode == "r+":  # which replaces no attributes
            raise
        return False
    return True


def _is_incomplete(metadata: ArrayMetadata) -> bool:
    """Whether a part of an array may never have been written, as after compute=False."""
    complete = marks_of(metadata).complete
    return complete is None or any(done < size for done, size in zip(complete, metadata.shape, strict=True))


def _where_stored(variable: xr.Variable, there: xr.Variable, metadata: ArrayMetadata) -> tuple[xr.Variable, bool]:
    """New values with the fill value where that is what is stored, and whether any is another: these count as equal."""
    nothing = _decoded_fill_value(there, metadata)
    before = there.values
    is_none = nothing is None or bool(is_missing(np.asarray(nothing)).all())
    is_nothing = is_missing(before) if is_none else np.asarray(before == nothing, bool)
    if not is_nothing.any() or (before.dtype.kind == "V" and variable.dtype != before.dtype):
        return variable, False
    after = np.array(variable.transpose(*there.dims).values)
    if after.dtype.kind in "SU":
        after = after.astype(object)
    wanted, nothings = after[is_nothing], before[is_nothing]
    after[is_nothing] = nothings
    gone = is_missing(wanted)
    is_same = gone.all() if is_none else not gone.any() and np.all(wanted == nothings)
    return xr.Variable(there.dims, after, variable.attrs), not is_same


def _decoded_fill_value(there: xr.Variable, metadata: ArrayMetadata) -> object:
    """What a reader sees where nothing is stored; None for what is missing."""
    if metadata.fill_value is None:
        return np.zeros((), there.dtype)[()] if there.dtype.kind in "biufcV" else None
    attributes = {key: there.encoding[key] for key in CF_KEYS if there.encoding.get(key) is not None}
    raw = xr.Variable("values", np.array([metadata.fill_value], metadata.data_type.dtype), attributes)
    try:
        is_span = there.dtype.kind == "m"
        decoded, _, _ = decode_cf_variables({"values": raw}, {}, concat_characters=False, decode_timedelta=is_span)
    except (TypeError, ValueError, OverflowError):
        return None
    return decoded["values"].values[0]


def check_all_are_written(name: str, names: Collection[str], stored: StoredGroup) -> None:
    """Check that labels are only replaced together with all that they label.

    Raises
    ------
    LabelError
    """
    dims = set(stored.variables[name].dims)
    for other, variable in stored.variables.items():
        if dims and dims <= set(variable.dims) and other not in names and other not in stored.coordinate_names:
            raise LabelError(
                f"coordinate {name!r} differs from the stored one, and {other!r} would be read under the new labels",
                key=name,
                mend=f"Align the dataset with the stored labels, drop the coordinate, or save {other!r} with it",
            )
