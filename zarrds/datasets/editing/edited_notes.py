"""What is noted of labels, when variables and dimensions get other names or go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import count
from typing import Any

from zarrds.datasets.reading.notes import MULTI_INDEX, PANDAS, RANGES, GroupNotes
from zarrds.datasets.reading.roles import INDEX, RANGE_INDEXES
from zarrds.errors import EncodingError, LabelError
from zarrds.labels.kinds.table import added_attributes
from zarrds.metadata.extension import UNLIMITED, note_of, with_note
from zarrds.metadata.fields import JSON
from zarrds.metadata.model import ArrayMetadata, GroupMetadata

__all__ = [
    "check_attributes",
    "check_parts",
    "renamed_notes",
    "with_companions",
    "with_new_companions",
    "with_renamed_dims",
    "without_ranges",
]


def check_attributes(notes: GroupNotes, name: str, attributes: Iterable[str]) -> None:
    """Check that no attribute is one of those that go with what is noted of an array.

    Raises
    ------
    EncodingError
    """
    description = notes.descriptions.get(name)
    if description is None or description["dtype"] == "range":
        return
    kept = added_attributes(description) | {"missing_value"} | notes.companions.get(name, {}).keys() & {"bounds"}
    if found := sorted(kept & set(attributes)):
        raise EncodingError(
            f"these attributes say how the stored values are decoded to {description['dtype']}",
            found=found,
            mend="Leave them out; to store the data in another way, save it again",
        )


def check_parts(notes: GroupNotes, names: Collection[str], path_of: Callable[[str], str]) -> None:
    """Check that no array is named that is a part of another one, unless that is named too.

    Raises
    ------
    LabelError
    """
    for owner, roles in sorted(notes.companions.items()):
        for role, name in roles.items():
            if name in names and owner not in names:
                raise LabelError(
                    f"array holds the {role} of {owner!r}, which would be lost without it",
                    key=path_of(name),
                    mend=f"Name {owner!r} in its place: its {role} go with it",
                )


def with_companions(notes: GroupNotes, names: Collection[str]) -> set[str]:
    """Names, and those of the arrays that are parts of these arrays and of no other."""
    found = set(names)
    while True:
        owners: dict[str, set[str]] = {}
        for owner, roles in notes.companions.items():
            for name in roles.values():
                owners.setdefault(name, set()).add(owner)
        more = {name for name, those in owners.items() if those <= found} - found
        if not more:
            return found
        found |= more


def with_new_companions(
    notes: GroupNotes, names: Mapping[str, str], standing: Collection[str], arrays: Collection[str]
) -> dict[str, str]:
    """New names by old ones, and those of the arrays that are parts of these arrays.

    ``x_bounds`` becomes ``y_bounds`` where ``x`` becomes ``y``, or another name like that if this one is taken.

    Parameters
    ----------
    notes : GroupNotes
    names : mapping of str to str
    standing : collection of str
        Names of the group's arrays, groups and dimensions.
    arrays : collection of str
        The names of its arrays.
    """
    found = dict(names)
    waiting = [name for name in names if name in arrays]
    while waiting:
        owner = waiting.pop()
        for role, name in notes.companions.get(owner, {}).items():
            if name in found:
                continue
            base = f"{found[owner]}_{role}"
            taken = {*standing, *found.values()}
            found[name] = next(new for n in count() if (new := f"{base}_{n}" if n else base) not in taken)
            waiting.append(name)
    return found


def renamed_notes(
    name: str, metadata: ArrayMetadata, notes: GroupNotes, new_name: Callable[[Any], Any]
) -> ArrayMetadata:
    """The metadata of an array whose notes name others, by their new names."""
    changed = metadata
    if name in notes.companions:
        description = {**notes.descriptions[name]}
        description |= {role: new_name(other) for role, other in notes.companions[name].items()}
        changed = with_note(changed, PANDAS, description)
    value = note_of(metadata, MULTI_INDEX)
    if isinstance(value, dict) and isinstance(value.get("levels"), list):
        levels: Any = value["levels"]
        after: JSON = {
            **value,
            "dimension": _renamed(value.get("dimension"), new_name),
            "levels": [_renamed(level, new_name) for level in levels],
        }
        changed = with_note(changed, MULTI_INDEX, after)
    ranges = note_of(metadata, RANGES)
    if isinstance(ranges, list):
        changed = with_note(changed, RANGES, [_renamed(dim, new_name) for dim in ranges])
    return _with_renamed_roles(changed, new_name)


def with_renamed_dims(group: GroupMetadata, new_name: Callable[[Any], Any]) -> GroupMetadata:
    """The metadata of a group whose notes name dimensions, by their new names."""
    dims = note_of(group, UNLIMITED)
    return with_note(group, UNLIMITED, [_renamed(dim, new_name) for dim in dims]) if isinstance(dims, list) else group


def _with_renamed_roles(metadata: ArrayMetadata, new_name: Callable[[Any], Any]) -> ArrayMetadata:
    index, spaced = note_of(metadata, INDEX), note_of(metadata, RANGE_INDEXES)
    if isinstance(index, dict):
        after = dict(index)
        if isinstance(names := index.get("coordinates"), list):
            after["coordinates"] = [_renamed(name, new_name) for name in names]
        if "dimension" in index:
            after["dimension"] = _renamed(index["dimension"], new_name)
        metadata = with_note(metadata, INDEX, after)
    if isinstance(spaced, dict):
        renamed = {
            _renamed(name, new_name): {**settings, "dimension": _renamed(settings.get("dimension"), new_name)}
            for name, settings in spaced.items()
            if isinstance(settings, dict)
        }
        metadata = with_note(metadata, RANGE_INDEXES, renamed)
    return metadata


def _renamed(name: JSON, new_name: Callable[[Any], Any]) -> Any:
    return new_name(name) if isinstance(name, str) else name


def without_ranges(metadata: ArrayMetadata, dropped: Collection[str]) -> ArrayMetadata:
    """The metadata of an array, without what is noted of labels that have no array, and of indexes of what goes."""
    index, spaced = note_of(metadata, INDEX), note_of(metadata, RANGE_INDEXES)
    names = index.get("coordinates") if isinstance(index, dict) else None
    if isinstance(names, list) and any(isinstance(name, str) and name in dropped for name in names):
        metadata = with_note(metadata, INDEX, None)
    if isinstance(spaced, dict) and not spaced.keys().isdisjoint(dropped):
        kept_ranges = {name: settings for name, settings in spaced.items() if name not in dropped}
        metadata = with_note(metadata, RANGE_INDEXES, kept_ranges or None)
    ranges = note_of(metadata, RANGES)
    if not isinstance(ranges, list):
        return metadata
    kept = [dim for dim in ranges if not (isinstance(dim, str) and dim in dropped)]
    return metadata if kept == ranges else with_note(metadata, RANGES, kept or None)
