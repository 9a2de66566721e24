"""What a save changes in a group that is there already: decided here, before anything is written.

The result is data: for each array its metadata before and after, and which encoded elements go where. Labels and
attributes are read from the store, other data is not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import xarray as xr

from zarrds.arguments import nearest
from zarrds.compat.xarray_internals import with_variables
from zarrds.datasets.encoding.as_stored import as_stored
from zarrds.datasets.encoding.dataset import Encoding, prepared, stored_name
from zarrds.datasets.encoding.exact.attempt import is_time
from zarrds.datasets.encoding.exact.comparison import check_dims
from zarrds.datasets.encoding.new_variable import NewVariable
from zarrds.datasets.reading.roles import INDEX
from zarrds.datasets.writing.array_changes import array_changes, new_array
from zarrds.datasets.writing.attributes import (
    new_group,
    with_group_attributes,
)
from zarrds.datasets.writing.changes import ArrayChange, GroupChange, Placement, UpdateOptions
from zarrds.datasets.writing.placing.append import (
    check_goes_on,
    check_same_things,
    is_labelled,
    place_labels,
)
from zarrds.datasets.writing.placing.other_labels import (
    Pairs,
    categories_of,
    check_evenly_spaced,
    check_kinds,
    check_ranges,
    other_labels,
)
from zarrds.datasets.writing.placing.records import unsorted_indexes, which_say_the_rest
from zarrds.datasets.writing.placing.region import StoredDimensions, check_region_labels, expand_hint, resolve_region
from zarrds.datasets.writing.placing.staying import check_meaning
from zarrds.datasets.writing.plain.evenly_spaced import shown
from zarrds.datasets.writing.plain.to_plain import PlainDataset
from zarrds.datasets.writing.stored import StoredGroup
from zarrds.errors import EncodingError, LabelError
from zarrds.metadata.attributes import SCALE
from zarrds.metadata.extension import with_note
from zarrds.metadata.times import gives_units

__all__ = ["plan_update"]


def plan_update(plain: PlainDataset, encoding: Encoding, stored: StoredGroup | None, how: UpdateOptions) -> GroupChange:
    """Compare a dataset with the group that it goes into, and say what to write.

    Parameters
    ----------
    plain : PlainDataset
    encoding : mapping
        For variables that are new.
    stored : StoredGroup or None
        None if the group is new.
    how : UpdateOptions

    Raises
    ------
    LabelError, LabelNotFoundError
        If labels, sizes or variables do not fit those that are stored.
    EncodingError
        For data that the stored arrays cannot hold unchanged, and for options that do not go together.
    """
    dataset, notes = plain.dataset, plain.notes
    if stored is None:
        attributes, variables = prepared(dataset, encoding)
        new = {
            name: new_array(NewVariable(name, v, name in encoding), how, {}, notes.get(name, {}))
            for name, v in variables.items()
        }
        return GroupChange(new_group(attributes, dataset, how.spec), new)
    if doubly := [name for name in encoding if name in stored.arrays]:
        raise EncodingError(
            f"variable {doubly[0]!r} already exists, but encoding was provided",
            key=str(doubly[0]),
            mend="Leave it out: what is written has the encoding of the store",
        )
    _check_readable(dataset, stored, how)
    dataset = _with_stored_labels(dataset, stored)
    check_kinds(plain, stored)
    asked = how.region if isinstance(how.region, Mapping) else dataset.dims if how.region is not None else ()
    others = other_labels(plain, stored, {*asked, how.append_dim})
    region: dict[str, slice] = {}
    if how.region is not None:
        dataset, region = _in_region(dataset, plain, stored, how, others)
    elif not how.grows:
        check_evenly_spaced(plain, stored)
    if how.region is None and how.mode == "r+":
        _check_stored(dataset, stored, "Pass mode='a' to write new variables")
    placements: dict[str, Placement] = {}
    unsorted: list[str] = []
    if how.append_dim is not None and how.grows:
        dim = str(how.append_dim)
        made = stored.anew.keys() | plain.companions if stored.anew else ()
        dataset, placements[dim] = _appended(dataset, dim, stored, how, others, made)
        region[dim] = slice(placements[dim].start, placements[dim].start + dataset.sizes[dim])
        _refuse_doubled(stored, dim, region[dim])
        unsorted = unsorted_indexes(stored, dataset, dim, placements[dim], how.on_unordered)
    check_ranges(plain, stored, region)
    for beside in plain.extended.values():
        start = stored.sizes[beside]
        region[beside] = slice(start, start + dataset.sizes[beside])
    attributes, variables = prepared(dataset, encoding)
    arrays = array_changes(replace(plain, dataset=dataset), variables, encoding, stored, how, region)
    _check_no_bounds_by_name(dataset, arrays, stored)
    arrays |= {n: replace(arrays[n], after=with_note(arrays[n].after, INDEX, None)) for n in unsorted if n in arrays}
    labels = {name for name, variable in stored.variables.items() if variable.dims == (name,)}
    replaced = frozenset(labels & arrays.keys() - region.keys())
    if how.mode == "r+":
        return GroupChange(None, arrays, replaced, region, placements)
    # no array that stays as it is would name a new coordinate
    added = [n for n in dataset.coords if isinstance(n, str) and n not in stored.arrays and n not in dataset.dims]
    metadata = with_group_attributes(stored.metadata, attributes, dataset.attrs, added)
    return GroupChange(metadata, arrays, replaced, region, placements)


def _other_dimension(dim: str, stored: StoredGroup) -> str:
    """What to do about a dimension that a group does not have; those of hidden arrays are nobody's to append along."""
    hidden = {part for roles in stored.notes.companions.values() for part in roles.values()}
    dims = {str(d) for name, variable in stored.variables.items() if name not in hidden for d in variable.dims}
    groups = ", ".join(map(repr, sorted(stored.groups)))
    return nearest(dim, dims) if dims or not groups else f"Name the group that has it, group=: there are {groups}"


def _in_region(
    dataset: xr.Dataset, plain: PlainDataset, stored: StoredGroup, how: UpdateOptions, others: Pairs
) -> tuple[xr.Dataset, dict[str, slice]]:
    """What of a dataset is written to a region, all but labels that are those stored, and where that is."""
    # categories that are new, which lie in no region
    extended = set(plain.extended.values())
    new_ones = {name: variable for name, variable in dataset.variables.items() if extended & set(variable.dims)}
    dataset = dataset.drop_vars(new_ones)
    spaced = {there.dimension: shown(there) for there in stored.ranges.values()}
    region = resolve_region(how, dataset, StoredDimensions(stored.variables, others, spaced), plain.labels)
    if how.mode == "r+":
        _check_stored(dataset, stored, "Leave them out with .drop_vars({names!r}), or save them whole first")
    check_region_labels(dataset, region, stored.variables, how.append_dim, plain.labels)
    for name in plain.labels & stored.variables.keys() & {stored_name(n) for n in dataset.variables}:
        check_meaning(name, dataset.variables[name], stored)
    # those that the store does not have are new variables, which are refused
    labels = [n for n in dataset.variables if stored_name(n) in plain.labels and stored_name(n) in stored.arrays]
    dataset = dataset.drop_vars([n for n in labels if how.append_dim not in dataset.variables[n].dims])
    return dataset.assign(new_ones) if new_ones else dataset, region


def _check_stored(dataset: xr.Dataset, stored: StoredGroup, mend: str) -> None:
    if names := [name for name in dataset.variables if stored_name(name) not in stored.arrays]:
        raise EncodingError(
            f"dataset contains non-pre-existing variables {names!r}, which mode='r+' does not allow",
            mend=mend.format(names=names),
        )


def _refuse_doubled(stored: StoredGroup, dim: str, part: slice) -> None:
    """Refuse to append to what has the dimension twice: what lies beside the new elements is not given."""
    for name, variable in stored.variables.items():
        if variable.dims.count(dim) > 1 and 0 < part.start < part.stop:
            raise LabelError(
                f"variable {name!r} has the dimension {dim!r} twice, so that what is appended would leave it with gaps",
                key=name,
                found=variable.dims,
                mend="Save all of it anew, or drop it from the store with zarrds.drop_vars first",
            )


def _check_readable(dataset: xr.Dataset, stored: StoredGroup, how: UpdateOptions) -> None:
    """Check that no array is touched that cannot be read: others stay as they are."""
    names = {stored_name(name) for name in dataset.variables}
    for name, error in stored.unreadable.items():
        if name in names or how.append_dim in stored.dimensions_of(name):
            error.mend = "Save without this variable, or drop it from the store with zarrds.drop_vars"
            raise error


def _check_no_bounds_by_name(dataset: xr.Dataset, arrays: Mapping[str, ArrayChange], stored: StoredGroup) -> None:
    """Check that no new variable has a name by which readers take it for the bounds of times that are stored."""
    names = {stored_name(name): variable for name, variable in dataset.variables.items()}
    for owner, there in stored.arrays.items():
        attributes = arrays[owner].after.attributes if owner in arrays else there.attributes
        bounds = attributes.get("bounds")
        if not isinstance(bounds, str) or bounds in stored.arrays or bounds not in arrays:
            continue
        new = names.get(bounds)
        if new is not None and gives_units(attributes, arrays[bounds].after.attributes) and not is_time(new):
            raise EncodingError(
                f"would be read as times: the stored {owner!r} names it as its bounds",
                key=bounds,
                expected="times",
                found=f"dtype {new.dtype}",
                mend="Save it under another name, or with units of its own among its attributes ('1')"
                + ("" if owner in arrays else f", or beside the coordinate {owner!r}, by which it is seen what it is"),
            )


def _with_stored_labels(dataset: xr.Dataset, stored: StoredGroup) -> xr.Dataset:
    """A dataset whose coordinates have the precision of those that are stored packed, so that they can be compared."""
    changed = {}
    for name in dataset.coords:
        there = stored.variables.get(str(name))
        if there is not None and not there.encoding.keys().isdisjoint(SCALE):
            changed[name] = as_stored(name, dataset.variables[name], there, stored.arrays[str(name)])
    return with_variables(dataset, changed) if changed else dataset


def _appended(
    dataset: xr.Dataset, dim: str, stored: StoredGroup, how: UpdateOptions, others: Pairs, made: Collection[str]
) -> tuple[xr.Dataset, Placement]:
    """The part of a dataset to write, and where along `dim` it goes; `made` are arrays that are made anew."""
    sizes = stored.sizes
    if dim not in sizes:
        raise LabelError(
            f"append_dim={dim!r} does not match any existing dataset dimensions",
            mend=_other_dimension(dim, stored),
        )
    if dim not in dataset.dims:
        raise LabelError(
            f"the dataset has no dimension {dim!r} to append along",
            found=dict(dataset.sizes),
            mend=expand_hint(dataset, [dim]),
        )
    names = {stored_name(name): variable for name, variable in dataset.variables.items()}
    missing = [name for name, v in stored.variables.items() if dim in v.dims and name not in names]
    if missing:
        raise LabelError(
            f"the dataset lacks variables that the store has along {dim!r}",
            expected=missing,
            mend="Append all of them at once, or the arrays of the store would have different sizes",
        )
    extra = [name for name, v in names.items() if dim in v.dims and name not in stored.arrays and name not in made]
    if extra and sizes[dim]:  # where nothing lies along it yet, they are all of it
        raise LabelError(
            f"the dataset has variables along {dim!r} that the store does not have",
            found=extra,
            mend="Leave them out, or save them for all of the store first, with mode='a' and without append_dim",
        )
    is_label = is_labelled(dim, stored.variables)
    has_labels = is_label or dim in others
    if not has_labels and dim in how.inherited:
        placement = how.inherited[dim]
        return dataset.isel({dim: placement.keep}), placement
    if not has_labels and how.on_overlap in ("replace", "skip"):
        raise EncodingError(
            f"on_overlap={how.on_overlap!r} needs labels along {dim!r}, and the store has none", mend="Leave it out"
        )
    pair = others.get(dim)
    on_unordered = how.on_unordered
    if pair is None and is_label:
        check_dims(dim, stored.variables[dim], dataset.variables[dim])  # labels of two dimensions are none
        pair = stored.variables[dim].values, dataset[dim].values
        if dim in stored.categories and not stored.notes.descriptions[dim]["ordered"]:
            pair, on_unordered = categories_of(dim, pair, dataset, stored), "append"
    if pair is not None:
        if how.on_overlap != "append":
            check_same_things(dim, *pair, which_say_the_rest(dim, dataset, stored))
        placement = place_labels(dim, *pair, how.on_overlap, on_unordered)
        ends = stored.notes.companions.get(dim, {}).get("bounds")
        is_behind = placement.start == len(pair[0]) and on_unordered == "error"
        if ends is not None and ends in dataset.variables and is_behind:  # intervals, which were compared as tuples
            check_goes_on(dim, stored.variables[ends].values[:, 0], dataset[ends].values[placement.keep, 0])
        return dataset.isel({dim: placement.keep}), placement
    n, n_new = sizes[dim], dataset.sizes[dim]
    return dataset, Placement(n, slice(0, n_new), n + n_new)
