"""What a save changes in each array of a group that is there: its metadata before and after, and encoded elements."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import xarray as xr

from zarrds.datasets.encoding.apart import only_booleans
from zarrds.datasets.encoding.as_stored import encode_like
from zarrds.datasets.encoding.dataset import Encoding, encode_variable, stored_name
from zarrds.datasets.encoding.exact.lossy_codecs import proven
from zarrds.datasets.encoding.new_variable import NewVariable
from zarrds.datasets.reading.notes import PANDAS
from zarrds.datasets.reading.roles import INDEX, NO_INDEX, RANGE_INDEXES
from zarrds.datasets.writing.attributes import with_flags, with_given_attributes, with_variable_attributes
from zarrds.datasets.writing.changes import ArrayChange, UpdateOptions
from zarrds.datasets.writing.hints import with_chunks_of
from zarrds.datasets.writing.placing.append import check_sizes
from zarrds.datasets.writing.placing.other_labels import with_finer_times, with_true_notes
from zarrds.datasets.writing.placing.staying import check_all_are_written, check_meaning, stays
from zarrds.datasets.writing.plain.to_plain import PlainDataset
from zarrds.datasets.writing.room.characters import as_characters, with_joined_characters
from zarrds.datasets.writing.room.growing import Grown, as_wide_as_stored, grown_arrays, means_other
from zarrds.datasets.writing.room.integers.marked import roomier_integers
from zarrds.datasets.writing.stored import StoredGroup
from zarrds.errors import EncodingError, LabelError, StoreExistsError, locating
from zarrds.metadata.attributes import ATTRIBUTES, MARKERS, apart_attributes, with_more_noted
from zarrds.metadata.extension import marks_of, note_of, with_marks, with_new_id, with_note
from zarrds.metadata.fields import JSONObject
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.rectilinear import check_can_be_written
from zarrds.metadata.times import is_since

__all__ = ["array_changes", "new_array"]


@dataclass(frozen=True, slots=True)
class _Writing:
    """What is written to a group, and where: the parameters of `array_changes`."""

    plain: PlainDataset
    variables: Mapping[str, xr.Variable]
    stored: StoredGroup
    how: UpdateOptions
    region: Mapping[str, slice]


def array_changes(
    plain: PlainDataset,
    variables: Mapping[str, xr.Variable],
    encoding: Encoding,
    stored: StoredGroup,
    how: UpdateOptions,
    region: Mapping[str, slice],
) -> dict[str, ArrayChange]:
    """What becomes of each array, by name; those that stay as they are do not come up.

    Parameters
    ----------
    plain : PlainDataset
        Whose dataset is the part to write.
    variables : mapping of str to Variable
        Of it, prepared for encoding.
    encoding : mapping
        For variables that are new.
    stored : StoredGroup
    how : UpdateOptions
    region : mapping of str to slice
        Where the part goes along its dimensions, where that is not all.

    Raises
    ------
    LabelError, EncodingError, StoreExistsError
        As of `zarrds.datasets.writing.update.plan_update`.
    """
    stored, as_it_is = with_joined_characters(stored), stored
    # arrays that are new where nothing lies along what grows, or are made anew, have other sizes than these
    sizes = {dim: n for dim, n in stored.sizes.items() if dim != how.append_dim or (n and not stored.anew)}
    coordinates = {stored_name(name) for name in plain.dataset.coords} | stored.coordinate_names | plain.labels
    names = _names_that_change(_Writing(plain, variables, stored, how, region), coordinates)
    # labels that are replaced, not added to
    replaced = [
        n for n in names if n in coordinates & stored.arrays.keys() and not set(variables[n].dims) & set(region)
    ]
    for name in replaced:
        check_all_are_written(name, names, stored)
    known = [name for name in names if name in stored.arrays]
    variables = {n: as_wide_as_stored(v, stored.arrays[n]) if n in stored.arrays else v for n, v in variables.items()}
    if _replaces_attributes(how):
        variables = {n: only_booleans(n, v) for n, v in variables.items()}
    for name in known:
        check_can_be_written(stored.arrays[name].edges, name)
    grown, fitting = grown_arrays(known, variables, stored, region)
    left = [name for name in known if name not in grown and name not in fitting]
    roomier, exact = roomier_integers(left, variables, stored, region)
    grown, fitting = grown | roomier, fitting | exact
    writing = _Writing(plain, variables, stored, how, region)
    changes: dict[str, ArrayChange] = {}
    for name in names:
        variable = variables[name]
        if name in stored.arrays:
            change = _written(name, writing, grown.get(name), fitting.get(name))
        else:
            variable, notes = with_chunks_of(variable, stored.arrays), plain.notes.get(name, {})
            new = NewVariable(name, variable, name in encoding)
            change = new_array(new, how, sizes, notes, stored.groups)
            if name in stored.anew:
                change = replace(change, before=stored.anew[name], is_rewritten=True)
        if change.variable.size or change.before != change.after:
            changes[name] = change
    if how.region is None and (replaced or how.append_dim is None):
        # who opened the group before must read neither new data under old labels nor a mix of old and new chunks
        changes = {name: replace(change, after=with_new_id(change.after)) for name, change in changes.items()}
    if not how.is_in_place and how.append_dim is None:
        kept = [name for name in variables if name in stored.variables and name not in names]
        changes |= _described(kept, writing)
    return as_characters(changes, as_it_is)


def _names_that_change(writing: _Writing, coordinates: Collection[str]) -> list[str]:
    """All but what stays as it is: coordinates that are the stored ones, and what "a-" leaves out."""
    stored, region = writing.stored, writing.region
    extended = set(writing.plain.extended.values())

    def rank(item: tuple[str, xr.Variable]) -> int:
        """Labels are looked at first: of other latitudes all else differs, too."""
        name, variable = item
        return 2 - (name in coordinates) - (variable.dims == (name,))

    changing = {
        name
        for name, variable in sorted(writing.variables.items(), key=rank)
        if name not in stored.variables
        or extended & set(variable.dims)
        or not stays(name, variable, stored, writing.how, region, is_coordinate=name in coordinates)
    }
    return [name for name in writing.variables if name in changing]


def _described(names: Collection[str], writing: _Writing) -> dict[str, ArrayChange]:
    """Coordinates that stay, with the attributes and indexes that are new: no elements of them are written."""
    stored, variables = writing.stored, writing.variables
    changes = {}
    for name in names:
        there, before = stored.variables[name], stored.arrays[name]
        after = _with_notes_given(name, with_given_attributes(before, there, variables[name]), writing.plain)
        if "bounds" in apart_attributes(after).keys() - variables[name].attrs.keys():
            # what they name is there by now, and is no times
            after = replace(after, attributes={k: v for k, v in after.attributes.items() if k != "bounds"})
        if after != before:
            part = variables[name].isel({dim: slice(0, 0) for dim in there.dims[:1]})
            encoded = encode_like(name, part, there, before)
            changes[name] = ArrayChange(before, after, encoded, (0,) * encoded.ndim)
    return changes


def _with_notes_given(name: str, metadata: ArrayMetadata, plain: PlainDataset) -> ArrayMetadata:
    """A stored variable with what is noted of attributes that its kind has too, and of the index that is saved with it.

    Without an index one that is stored stays.
    """
    notes = plain.notes.get(name, {})
    metadata = with_more_noted(metadata, notes.get(ATTRIBUTES))
    if isinstance(ranges := notes.get(RANGE_INDEXES), dict):
        known = note_of(metadata, RANGE_INDEXES)
        metadata = with_note(metadata, RANGE_INDEXES, {**ranges, **(known if isinstance(known, dict) else {})})
    given = notes.get(INDEX)
    is_noted = given not in (None, NO_INDEX)
    # that of a dimension needs no note
    is_default = given is None and name in plain.labels and note_of(metadata, INDEX) == NO_INDEX
    return with_note(metadata, INDEX, given) if is_noted or is_default else metadata


def new_array(
    new: NewVariable,
    how: UpdateOptions,
    sizes: Mapping[str, int],
    notes: JSONObject,
    groups: Collection[str] = (),
) -> ArrayChange:
    """A variable that the group does not have yet; `groups` are named below it, `sizes` are the stored ones."""
    name, variable = new.name, new.variable
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
            mend=f"Save it whole first, or leave it out with .drop_vars({name!r})",
        )
    for dim, size in variable.sizes.items():
        if sizes.get(str(dim), size) != size:
            raise LabelError(
                f"new variable {name!r} has different dimension sizes than the store",
                key=name,
                expected=f"{dim}: {sizes[str(dim)]}",
                found=f"{dim}: {size}",
            )
    encoded = encode_variable(new, how.spec, notes)
    start = (0,) * variable.ndim
    return ArrayChange(None, encoded.metadata, encoded.variable, start, encoded.replaced, encoded.write_empty_chunks)


def _written(name: str, writing: _Writing, grown: Grown | None, encoded: xr.Variable | None) -> ArrayChange:
    """What changes in an array that is written to; `grown` is its room, `encoded` what was found to fit as it is."""
    variable, stored, how, plain = writing.variables[name], writing.stored, writing.how, writing.plain
    there, target = stored.variables[name], stored.arrays[name]
    before = stored.documents.get(name, target)
    check_sizes(name, there, variable, region=writing.region, append_dim=how.append_dim)
    if name in stored.documents and not variable.size:
        # all that needs room is left out, as labels are that are there: nothing is written anew, so the document stays
        return ArrayChange(before, before, variable, (0,) * variable.ndim)
    if name in stored.documents and grown is None and there.size and means_other(before, target):
        raise EncodingError(
            f"variable {name!r} does not fit the encoding of the store, and room is not made for a region of what is "
            "appended",
            key=name,
            expected=f"what {before.data_type.name} holds",
            mend="Append all along the other dimensions first, or save the variable anew",
        )
    if grown is not None:
        encoded = proven(name, grown.variable, grown.metadata)
        after = _with_room(_described_anew(name, writing), grown)
        return ArrayChange(before, after, encoded, (0,) * encoded.ndim, is_rewritten=True)
    if encoded is None:
        encoded = encode_like(name, variable, there, target)
    whole = {str(dim): slice(0, size) for dim, size in there.sizes.items()}
    parts = [{**whole, **writing.region}[str(dim)] for dim in there.dims]
    shape = tuple(max(size, part.stop) for size, part in zip(target.shape, parts, strict=True))
    after = replace(_described_anew(name, writing), shape=shape)
    after = with_true_notes(after, variable, parts, plain.notes.get(name, {}), stored)
    start = tuple(part.start for part in parts)
    if name in plain.extended and start[0] < before.shape[0]:
        # codes of what is new are among the stored ones: who has read the categories of before is told
        after = with_new_id(after)
    # categories that are added in a region must be seen together with their codes
    is_rewritten = name in stored.documents or (how.is_in_place and name in plain.extended.values())
    return ArrayChange(before, after, encoded, start, is_rewritten=is_rewritten)


def _described_anew(name: str, writing: _Writing) -> ArrayMetadata:
    """A stored array with the attributes and notes that a save gives it; what it must agree in is checked."""
    variable, stored, how, plain = writing.variables[name], writing.stored, writing.how, writing.plain
    there, target = stored.variables[name], stored.arrays[name]
    if _replaces_attributes(how):
        if PANDAS not in plain.notes.get(name, {}) and _is_counted(variable):
            target = with_note(target, PANDAS, None)  # from now on they are times
        new = _with_notes_given(name, with_variable_attributes(target, there, variable), plain)
    else:
        check_meaning(name, variable, stored)
        new = with_flags(target, variable) if name in plain.extended else target
    with locating(key=name):
        return with_finer_times(new, plain.notes.get(name, {}), there, variable)


def _replaces_attributes(how: UpdateOptions) -> bool:
    """Whether variables are replaced as a whole, with their attributes."""
    return how.mode != "r+" and how.append_dim is None and how.region is None


def _is_counted(variable: xr.Variable) -> bool:
    """Whether numbers are times that are not decoded."""
    return variable.dtype.kind in "iuf" and is_since(variable.attrs.get("units"))


def _with_room(new: ArrayMetadata, grown: Grown) -> ArrayMetadata:
    """The metadata of an array that has become roomier, with the attributes and marks of what it is to be."""
    made = {key: value for key, value in grown.metadata.attributes.items() if key in ("units", "dtype", *MARKERS)}
    noted = with_marks(new, marks_of(grown.metadata))
    return replace(grown.metadata, attributes={**new.attributes, **made}, extensions=noted.extensions)
