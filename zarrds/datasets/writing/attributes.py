"""The attributes of groups and variables that are there already: what is given counts, what is not given stays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import xarray as xr

from zarrds.metadata.attributes import typed_attributes, updated_attributes, with_attributes
from zarrds.metadata.equality import is_same
from zarrds.metadata.model import ArrayMetadata, GroupMetadata

__all__ = ["with_flags", "with_given_attributes", "with_group_attributes", "with_variable_attributes"]

_FLAGS = ("flag_values", "flag_meanings")


def with_group_attributes(
    before: GroupMetadata, given: Mapping[Any, Any], new_coordinates: Iterable[str]
) -> GroupMetadata | None:
    """A group with the attributes that are given, and those of its own that are not; None if nothing changes.

    What was a coordinate stays one, and what is one becomes one.
    """
    names = [str(a.get("coordinates", "")).split() for a in (before.attributes, given)]
    # names are separated by spaces, so that one with a space in it cannot be named
    names.append([name for name in new_coordinates if " " not in name])
    attributes = dict(given)
    if together := list(dict.fromkeys(name for some in names for name in some)):
        attributes["coordinates"] = " ".join(together)
    after = updated_attributes(before, attributes)
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
    given = {name: value for name, value in new.attrs.items() if name not in there.encoding and name != "_FillValue"}
    if is_same({name: there.attrs.get(name) for name in given}, given):
        return before
    return with_attributes(before, typed_attributes(before) | given)


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
    given = {name: value for name, value in {**moved, **new.attrs}.items() if name != "_FillValue"}
    if "_FillValue" in before.attributes:
        kept["_FillValue"] = before.attributes["_FillValue"]
    attributes = given | kept
    named = [a["coordinates"] for a in (before.attributes, given) if isinstance(a.get("coordinates"), str)]
    if named:
        attributes["coordinates"] = " ".join(dict.fromkeys(" ".join(map(str, named)).split()))
    return with_attributes(before, attributes)
