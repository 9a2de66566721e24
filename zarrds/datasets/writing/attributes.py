"""The attributes of groups and variables that are there already: what is given counts, what is not given stays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import xarray as xr

from zarrds.datasets.encoding.apart import group_attributes_apart, set_apart
from zarrds.datasets.encoding.attributes import is_marker_renamed, with_marker_renamed
from zarrds.datasets.reading.notes import PANDAS
from zarrds.errors import MetadataError
from zarrds.labels.kinds.plain import Description
from zarrds.labels.kinds.table import added_attributes
from zarrds.metadata.attributes import apart_attributes, typed_attributes, updated_attributes, with_attributes
from zarrds.metadata.equality import is_same
from zarrds.metadata.extension import UNLIMITED, named_dims, note_of, with_note
from zarrds.metadata.formats import Format, spec_of
from zarrds.metadata.model import ArrayMetadata, GroupMetadata

__all__ = ["new_group", "with_flags", "with_given_attributes", "with_group_attributes", "with_variable_attributes"]

_FLAGS = ("flag_values", "flag_meanings")


def new_group(attributes: Mapping[Any, Any], dataset: xr.Dataset, spec: Format) -> GroupMetadata:
    """A group with attributes, some of those of the dataset set apart, and a note of its unlimited dimensions."""
    apart = group_attributes_apart(dataset.attrs, spec)
    kept = {name: value for name, value in attributes.items() if name not in apart or name == "coordinates"}
    group = with_attributes(GroupMetadata(zarr_format=spec.zarr_format), kept, apart=apart)
    return with_note(group, UNLIMITED, named_dims(dataset.encoding.get(UNLIMITED), dataset.dims) or None)


def with_group_attributes(
    before: GroupMetadata, attributes: Mapping[Any, Any], given: Mapping[Any, Any], new_coordinates: Iterable[str]
) -> GroupMetadata | None:
    """A group with the attributes that are given, and those of its own that are not; None if nothing changes.

    What was a coordinate stays one, and what is one becomes one.

    Parameters
    ----------
    before : GroupMetadata
    attributes : mapping
        As `prepared` gives them.
    given : mapping
        The user's.
    new_coordinates : iterable of str
    """
    apart = group_attributes_apart(given, spec_of(before))
    names = [str(a.get("coordinates", "")).split() for a in (before.attributes, attributes)]
    # names are separated by spaces, so that one with a space in it cannot be named
    names.append([name for name in new_coordinates if " " not in name])
    kept = {name: value for name, value in attributes.items() if name not in apart}
    after = updated_attributes(before, kept, apart=apart)
    if together := list(dict.fromkeys(name for some in names for name in some)):
        after = replace(after, attributes={**after.attributes, "coordinates": " ".join(together)})
    is_unchanged = is_same(after.attributes, before.attributes) and is_same(after.extensions, before.extensions)
    return None if is_unchanged else after


def with_flags(before: ArrayMetadata, new: xr.Variable) -> ArrayMetadata:
    """An array of codes with the flags of more categories than before, or with none, where one of those is no word."""
    kept = {name: value for name, value in before.attributes.items() if name not in _FLAGS}
    return replace(before, attributes={**kept, **{name: new.attrs[name] for name in _FLAGS if name in new.attrs}})


def with_given_attributes(before: ArrayMetadata, there: xr.Variable, new: xr.Variable) -> ArrayMetadata:
    """An array whose variable stays, with the attributes that are given, and those of its own that are not.

    Parameters are those of `with_variable_attributes`.
    """
    apart = _apart(before, new)
    kept = {"_FillValue", *there.encoding, *apart}
    given = {name: value for name, value in new.attrs.items() if name not in kept}
    is_known = is_same({name: there.attrs.get(name) for name in given}, given)
    if is_known and is_same(apart_attributes(before) | apart, apart_attributes(before)):
        return before
    return updated_attributes(before, given, apart=apart)


def with_variable_attributes(before: ArrayMetadata, there: xr.Variable, new: xr.Variable) -> ArrayMetadata:
    """An array whose variable is replaced as a whole: with the new attributes, in the encoding that it has.

    Parameters
    ----------
    before : ArrayMetadata
    there : Variable
        As it is stored, decoded: what decoding moved to its encoding is no attribute.
    new : Variable
        Decoded.
    """
    stored = typed_attributes(before)
    kept = {name: stored[name] for name in before.attributes if name in there.encoding}
    moved = {name: new.encoding[name] for name in ("grid_mapping",) if name in new.encoding}
    apart = _apart(before, new)
    given = {n: value for n, value in {**moved, **new.attrs}.items() if n != "_FillValue" and n not in apart}
    if "_FillValue" in before.attributes:
        kept["_FillValue"] = before.attributes["_FillValue"]
    attributes = given | kept
    named = [a["coordinates"] for a in (before.attributes, given) if isinstance(a.get("coordinates"), str)]
    if named:
        attributes["coordinates"] = " ".join(dict.fromkeys(" ".join(map(str, named)).split()))
    after = with_attributes(before, attributes, apart=apart)
    return with_marker_renamed(after) if is_marker_renamed(before) else after


def _apart(before: ArrayMetadata, new: xr.Variable) -> dict[str, Any]:
    """Those of new attributes that readers would go by, and are not to: also of what is stored as pandas has it.

    What the store has apart stays so: the new variable may come without the one that its attribute names.
    """
    stored = apart_attributes(before)
    kept = {name: new.attrs[name] for name in stored if name in new.attrs and is_same(new.attrs[name], stored[name])}
    return kept | set_apart(new, spec_of(before), _description(before))


def _description(metadata: ArrayMetadata) -> Description | None:
    """What pandas needs of an array, as it is noted; None if that is nothing, or so wrong that readers leave it out."""
    noted = note_of(metadata, PANDAS)
    if not isinstance(noted, dict):
        return None
    with suppress(MetadataError):
        added_attributes(noted)
        return noted
    return None
