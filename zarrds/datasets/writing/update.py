"""What a save changes in a group that is there already: decided here, before anything is written.

The result is data: for each array its metadata before and after, and which encoded elements go where. Labels and
attributes are read from the store, other data is not.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import xarray as xr

from zarrds.datasets.encoding.as_stored import as_stored, encode_like
from zarrds.datasets.encoding.dataset import Encoding, encode_variable, prepared, stored_name
from zarrds.datasets.encoding.lossy_codecs import proven
from zarrds.datasets.reading.roles import INDEX
from zarrds.datasets.writing.append import (
    OnOverlap,
    OnUnordered,
    Placement,
    check_goes_on,
    check_same_things,
    check_sizes,
    place_labels,
)
from zarrds.datasets.writing.attributes import (
    new_group,
    with_flags,
    with_given_attributes,
    with_group_attributes,
    with_variable_attributes,
)
from zarrds.datasets.writing.evenly_spaced import shown
from zarrds.datasets.writing.growing import Grown, as_wide_as_stored, grown_arrays
from zarrds.datasets.writing.hints import with_chunks_of
from zarrds.datasets.writing.other_labels import (
    Pairs,
    categories_of,
    check_kinds,
    check_ranges,
    other_labels,
    with_finer_times,
    with_true_notes,
)
from zarrds.datasets.writing.plain import PlainDataset
from zarrds.datasets.writing.records import unsorted_indexes, which_say_the_rest
from zarrds.datasets.writing.region import check_region_labels, expand_hint, resolve_region
from zarrds.datasets.writing.staying import check_all_are_written, check_meaning, stays
from zarrds.datasets.writing.stored import StoredGroup
from zarrds.errors import EncodingError, LabelError, StoreExistsError, locating
from zarrds.metadata.dtypes import JSON
from zarrds.metadata.extension import marks_of, new_id, with_marks, with_note
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, ZarrFormat

__all__ = ["ArrayChange", "GroupChange", "How", "plan_update"]

UpdateMode = Literal["a", "a-", "r+"]


@dataclass(frozen=True, slots=True)
class How:
    """What the user asks of a save into a store that exists; the names are those of `zarrds.save`.

    Of a DataTree, `grows` says whether a group has the dimension that is appended to, and `inherited` has the
    placements of labels that it has from a group above.
    """

    mode: UpdateMode
    append_dim: Hashable | None
    region: Any
    on_overlap: OnOverlap
    on_unordered: OnUnordered
    zarr_format: ZarrFormat
    grows: bool = True
    inherited: Mapping[str, Placement] = field(default_factory=dict)

    @property
    def is_in_place(self) -> bool:
        """Whether nothing but elements of arrays is written."""
        return self.mode == "r+" or (self.region is not None and self.append_dim is None)


@dataclass(frozen=True, slots=True)
class ArrayChange:
    """One array that is made, grown or written to.

    Attributes
    ----------
    before : ArrayMetadata or None
        None for an array that is new.
    after : ArrayMetadata
    variable : Variable
        Encoded.
    start : tuple of int
        The place of its first element, along each dimension of the array.
    replaced : str or None
        Why the encoding that came along with the variable was replaced, if it was.
    write_empty_chunks : bool or None
        As of `zarrds.save`, where the variable's encoding says so.
    is_rewritten : bool
        Whether stored elements are written once more, beside new ones, in an encoding that can hold these, or get
        another meaning by what is noted of them: it must be seen at the same instant.
    """

    before: ArrayMetadata | None
    after: ArrayMetadata
    variable: xr.Variable
    start: tuple[int, ...]
    replaced: str | None = None
    write_empty_chunks: bool | None = None
    is_rewritten: bool = False


@dataclass(frozen=True, slots=True)
class GroupChange:
    """All changes of one group.

    Attributes
    ----------
    metadata : GroupMetadata or None
        None where the group's own document stays as it is.
    arrays : mapping of str to ArrayChange
        By name.
    replaced_labels : frozenset of str
        Dimensions whose stored labels are overwritten by others.
    region : mapping of str to slice
        Where along its dimensions the group is written, where that is not all.
    placements : mapping of str to Placement
        Where the labels of the dimension that grows go; of a DataTree, the groups below may go by them.
    """

    metadata: GroupMetadata | None
    arrays: Mapping[str, ArrayChange]
    replaced_labels: frozenset[str] = frozenset()
    region: Mapping[str, slice] = field(default_factory=dict)
    placements: Mapping[str, Placement] = field(default_factory=dict)


def plan_update(plain: PlainDataset, encoding: Encoding, stored: StoredGroup | None, how: How) -> GroupChange:
    """Compare a dataset with the group that it goes into, and say what is to be written.

    Parameters
    ----------
    plain : PlainDataset
    encoding : mapping
        For variables that are new.
    stored : StoredGroup or None
        None if the group is new.
    how : How

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
        new = {name: _new(name, v, name in encoding, how, {}, notes.get(name, {})) for name, v in variables.items()}
        return GroupChange(new_group(attributes, dataset.attrs, how.zarr_format), new)
    if doubly := [name for name in encoding if name in stored.arrays]:
        raise EncodingError(
            f"variable {doubly[0]!r} already exists, but encoding was provided",
            key=str(doubly[0]),
            mend="Leave it out: what is written has the encoding of the store",
        )
    _check_readable(dataset, stored, how)
    dataset = _with_stored_labels(dataset, stored, how.zarr_format)
    region: dict[str, slice] = {}
    check_kinds(plain, stored)
    asked = how.region if isinstance(how.region, Mapping) else dataset.dims if how.region is not None else ()
    others = other_labels(plain, stored, {*asked, how.append_dim})
    if how.region is not None:
        spaced = {str(settings["dimension"]): shown(settings) for settings in stored.ranges.values()}
        region = resolve_region(
            how.region, dataset, stored.variables, how.mode, how.append_dim, plain.labels, others, spaced
        )
    if how.mode == "r+" and (names := [n for n in dataset.variables if stored_name(n) not in stored.arrays]):
        raise EncodingError(
            f"dataset contains non-pre-existing variables {names!r}, which mode='r+' does not allow",
            mend="Pass mode='a' to write new variables",
        )
    if how.region is not None:
        check_region_labels(dataset, region, stored.variables, how.append_dim, plain.labels)
        for name in plain.labels & stored.variables.keys() & {stored_name(n) for n in dataset.variables}:
            check_meaning(name, dataset.variables[name], stored)
        names = [name for name in dataset.variables if stored_name(name) in plain.labels]
        dataset = dataset.drop_vars([n for n in names if how.append_dim not in dataset.variables[n].dims])
    placements: dict[str, Placement] = {}
    unsorted: list[str] = []
    if how.append_dim is not None and how.grows:
        dim = str(how.append_dim)
        dataset, placements[dim] = _appended(dataset, dim, stored, how, others)
        region[dim] = slice(placements[dim].start, placements[dim].start + dataset.sizes[dim])
        unsorted = unsorted_indexes(stored, dataset, dim, placements[dim], how.on_unordered)
    check_ranges(plain, stored, region)
    for beside in plain.extended.values():
        start = stored.sizes[beside]
        region[beside] = slice(start, start + dataset.sizes[beside])
    attributes, variables = prepared(dataset, encoding)
    arrays = _array_changes(replace(plain, dataset=dataset), variables, encoding, stored, how, region)
    arrays |= {n: replace(arrays[n], after=with_note(arrays[n].after, INDEX, None)) for n in unsorted if n in arrays}
    labels = {name for name, variable in stored.variables.items() if variable.dims == (name,)}
    replaced = frozenset(labels & arrays.keys() - region.keys())
    if how.mode == "r+":
        return GroupChange(None, arrays, replaced, region, placements)
    # no array that stays as it is would name a new coordinate
    added = [n for n in dataset.coords if isinstance(n, str) and n not in stored.arrays and n not in dataset.dims]
    metadata = with_group_attributes(stored.metadata, attributes, dataset.attrs, added)
    return GroupChange(metadata, arrays, replaced, region, placements)


def _check_readable(dataset: xr.Dataset, stored: StoredGroup, how: How) -> None:
    """Check that no array is touched that cannot be read: others stay as they are."""
    names = {stored_name(name) for name in dataset.variables}
    for name, error in stored.unreadable.items():
        if name in names or how.append_dim in stored.dimensions_of(name):
            error.mend = "Save without this variable, or drop it from the store with zarrds.drop_vars"
            raise error


def _with_stored_labels(dataset: xr.Dataset, stored: StoredGroup, zarr_format: ZarrFormat) -> xr.Dataset:
    """A dataset whose coordinates have the precision of those that are stored packed, so that they can be compared."""
    changed = {}
    for name in dataset.coords:
        there = stored.variables.get(str(name))
        if there is not None and {"scale_factor", "add_offset"} & there.encoding.keys():
            changed[name] = as_stored(name, dataset.variables[name], there, stored.arrays[str(name)], zarr_format)
    return dataset.assign_coords(changed) if changed else dataset


def _appended(
    dataset: xr.Dataset, dim: str, stored: StoredGroup, how: How, others: Pairs
) -> tuple[xr.Dataset, Placement]:
    """The part of a dataset that is to be written, and where along `dim` it goes."""
    sizes = stored.sizes
    if dim not in sizes:
        raise LabelError(
            f"append_dim={dim!r} does not match any existing dataset dimensions {sizes}", mend="Check its name"
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
    extra = [name for name, v in names.items() if dim in v.dims and name not in stored.arrays]
    if extra:
        raise LabelError(
            f"the dataset has variables along {dim!r} that the store does not have",
            found=extra,
            mend="Leave them out, or save them for all of the store first, with mode='a' and without append_dim",
        )
    size, n_new = sizes[dim], dataset.sizes[dim]
    has_labels = dim in stored.variables or dim in others
    if not has_labels and dim in how.inherited:
        placement = how.inherited[dim]
        return dataset.isel({dim: placement.keep}), placement
    if not has_labels and how.on_overlap in ("replace", "skip"):
        raise EncodingError(
            f"on_overlap={how.on_overlap!r} needs labels along {dim!r}, and the store has none", mend="Leave it out"
        )
    pair = others.get(dim)
    on_unordered = how.on_unordered
    if pair is None and dim in stored.variables:
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
    return dataset, Placement(size, slice(0, n_new), size + n_new)


def _array_changes(
    plain: PlainDataset,
    variables: Mapping[str, xr.Variable],
    encoding: Encoding,
    stored: StoredGroup,
    how: How,
    region: Mapping[str, slice],
) -> dict[str, ArrayChange]:
    sizes = stored.sizes
    coordinates = {stored_name(name) for name in plain.dataset.coords} | stored.coordinate_names | plain.labels
    # all but what stays as it is: coordinates that are the stored ones, and what "a-" leaves out
    extended = set(plain.extended.values())
    names = [
        name
        for name, variable in variables.items()
        if name not in stored.variables
        or extended & set(variable.dims)
        or not stays(
            name,
            variable,
            stored,
            is_coordinate=name in coordinates,
            mode=how.mode,
            append_dim=how.append_dim,
            region=region,
            zarr_format=how.zarr_format,
        )
    ]
    # labels that are replaced, not added to
    replaced = [
        n for n in names if n in coordinates & stored.arrays.keys() and not set(variables[n].dims) & set(region)
    ]
    for name in replaced:
        check_all_are_written(name, names, stored)
    variables = {n: as_wide_as_stored(v, stored.arrays[n]) if n in stored.arrays else v for n, v in variables.items()}
    known = [name for name in names if name in stored.arrays]
    grown, fitting = grown_arrays(known, variables, stored, region, how.zarr_format)
    changes = {
        name: _written(name, variables[name], stored, how, region, plain, grown.get(name), fitting.get(name))
        if name in stored.arrays
        else _new(
            name,
            with_chunks_of(variables[name], stored.arrays),
            name in encoding,
            how,
            sizes,
            plain.notes.get(name, {}),
            stored.groups,
        )
        for name in names
    }
    changes = {
        name: change for name, change in changes.items() if change.variable.size or change.before != change.after
    }
    if how.region is None and (replaced or how.append_dim is None):
        # who opened the group before must read neither new data under old labels nor a mix of old and new chunks
        changes = {
            name: replace(c, after=with_marks(c.after, replace(marks_of(c.after), id=new_id())))
            for name, c in changes.items()
        }
    if not how.is_in_place and how.append_dim is None:
        kept = [name for name in variables if name in stored.variables and name not in names]
        changes |= _described(kept, variables, stored, how.zarr_format)
    return changes


def _described(
    names: Collection[str], variables: Mapping[str, xr.Variable], stored: StoredGroup, zarr_format: ZarrFormat
) -> dict[str, ArrayChange]:
    """Coordinates that stay, with the attributes that are new: no elements of them are written."""
    changes = {}
    for name in names:
        there, before = stored.variables[name], stored.arrays[name]
        after = with_given_attributes(before, there, variables[name])
        if after != before:
            part = variables[name].isel({dim: slice(0, 0) for dim in there.dims[:1]})
            encoded = encode_like(name, part, there, before, zarr_format)
            changes[name] = ArrayChange(before, after, encoded, (0,) * encoded.ndim)
    return changes


def _new(
    name: str,
    variable: xr.Variable,
    is_explicit: bool,
    how: How,
    sizes: Mapping[str, int],
    notes: Mapping[str, JSON],
    groups: Collection[str] = (),
) -> ArrayChange:
    if name in groups:
        raise StoreExistsError(
            "a group of this name stands where a variable is to be",
            key=name,
            mend="Rename the variable, or save the dataset into another group",
        )
    if how.region is not None:
        raise LabelError(
            "a variable that the store does not have cannot be written to a region",
            key=name,
            mend="Save it whole first",
        )
    for dim, size in variable.sizes.items():
        if sizes.get(str(dim), size) != size:
            raise LabelError(
                f"new variable {name!r} has different dimension sizes than the store",
                key=name,
                expected=f"{dim}: {sizes[str(dim)]}",
                found=f"{dim}: {size}",
            )
    encoded = encode_variable(name, variable, is_explicit, how.zarr_format, notes)
    start = (0,) * variable.ndim
    return ArrayChange(None, encoded.metadata, encoded.variable, start, encoded.replaced, encoded.write_empty_chunks)


def _written(
    name: str,
    variable: xr.Variable,
    stored: StoredGroup,
    how: How,
    region: Mapping[str, slice],
    plain: PlainDataset,
    grown: Grown | None = None,
    encoded: xr.Variable | None = None,
) -> ArrayChange:
    there, target = stored.variables[name], stored.arrays[name]
    before = stored.documents.get(name, target)
    check_sizes(name, there, variable, region=region, append_dim=how.append_dim)
    if grown is not None:
        encoded = proven(name, grown.variable, grown.metadata)
    elif encoded is None:
        encoded = encode_like(name, variable, there, target, how.zarr_format)
    whole = {str(dim): slice(0, size) for dim, size in there.sizes.items()}
    parts = [{**whole, **region}[str(dim)] for dim in there.dims]
    shape = tuple(max(size, part.stop) for size, part in zip(before.shape, parts, strict=True))
    if how.mode != "r+" and how.append_dim is None and how.region is None:
        new = with_variable_attributes(target, there, variable)
    else:
        check_meaning(name, variable, stored)
        new = with_flags(target, variable) if name in plain.extended else target
    with locating(key=name):
        new = with_finer_times(new, plain.notes.get(name, {}), there, variable)
    if grown is not None:
        units = {key: value for key, value in grown.metadata.attributes.items() if key == "units"}
        noted = with_marks(new, marks_of(grown.metadata))
        after = replace(grown.metadata, attributes={**new.attributes, **units}, extensions=noted.extensions)
        return ArrayChange(before, after, encoded, (0,) * encoded.ndim, is_rewritten=True)
    after = with_true_notes(replace(new, shape=shape), variable, parts, plain.notes.get(name, {}), stored)
    start = tuple(part.start for part in parts)
    return ArrayChange(before, after, encoded, start, is_rewritten=name in stored.documents)
