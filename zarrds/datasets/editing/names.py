"""``zarrds.rename`` and ``zarrds.drop_vars``: other names in a stored dataset, and variables that go."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from zarrds.arguments import check_choice, check_given, check_mappings, check_several, nearest
from zarrds.datasets.editing.edited_group import EditedGroup, StoreLike, edited_group, edited_store
from zarrds.datasets.editing.edited_notes import (
    check_parts,
    renamed_notes,
    with_companions,
    with_new_companions,
    with_renamed_dims,
    without_ranges,
)
from zarrds.datasets.reading.notes import notes_of
from zarrds.datasets.reading.roles import COORDINATE, coordinates_named, roles_of, with_coordinates_named
from zarrds.errors import EncodingError, LabelError, UnsupportedError, VariableNotFoundError, locating
from zarrds.metadata.extension import with_note
from zarrds.metadata.fields import JSONObject, Raw
from zarrds.metadata.formats import v3
from zarrds.metadata.model import ArrayMetadata, Node
from zarrds.metadata.nodes.belonging import check_nothing_else
from zarrds.metadata.nodes.documents import DOCUMENTS
from zarrds.metadata.nodes.locking import locked
from zarrds.metadata.nodes.transaction import change_documents
from zarrds.metadata.times import gives_units
from zarrds.storage.local.files import is_partial
from zarrds.storage.protocol import Store, check_key

__all__ = ["drop_vars", "rename"]

# attributes that hold names of variables (CF 1.12, appendix A)
_REFERENCES = (
    "ancillary_variables bounds cell_measures climatology coordinates formula_terms geometry grid_mapping "
    "node_coordinates node_count part_node_count interior_ring instance_dimension sample_dimension"
).split()
# those that name one variable, or a projection alone
_OF_ONE = frozenset({"bounds", "climatology", "geometry", "grid_mapping", "instance_dimension", "sample_dimension"})


def rename(
    store: StoreLike,
    names: Mapping[str, str],
    *,
    group: str | None = None,
    durable: bool = True,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Rename variables and dimensions of one stored group, as `xarray.Dataset.rename` does, in one step.

    Chunks are not rewritten, and where the file system has hard links not copied. CF attributes that name variables
    (``coordinates``, ``bounds``, ``grid_mapping``, …) follow, and so does what is noted of indexes: levels of a
    MultiIndex and ranges keep theirs, and the arrays that hold the ends of intervals or the categories of a variable
    are renamed with it. Groups below are left as they are.

    Parameters
    ----------
    store : str, os.PathLike or Store
    names : mapping of str to str
        New names by old names; a coordinate that is also a dimension is renamed as both.
    group : str, optional
        The root unless said.
    durable, storage_options
        As of `update_attrs`.

    Raises
    ------
    VariableNotFoundError
        If there is no such variable or dimension.
    LabelError
        If a new name is taken already, or given twice, or if an array is a part of another that keeps its name, or
        would be read as the bounds of times.

    Examples
    --------
    >>> import xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> zarrds.save(xr.Dataset({"t2m": ("time", [280.5])}, {"time": [0]}), store)
    >>> zarrds.rename(store, {"t2m": "temperature", "time": "day"})
    >>> xr.open_dataset(store, engine="zarrds").temperature.dims
    ('day',)
    """
    check_given(names=names)
    check_mappings(names=names)
    opened, where = edited_store(store, group, storage_options, durable)
    with locating(opened.path), locked(opened):
        there = edited_group(opened, where)
        dims = {dim for array in there.arrays.values() for dim in array.dimension_names or () if dim is not None}
        dims |= roles_of(there.arrays).ranges.keys()
        asked: list[Any] = list(names.values())  # whatever their type says
        if wrong := [new for new in asked if not isinstance(new, str)]:
            raise EncodingError("names must be strings", found=repr(wrong[0]))
        names = {old: check_key(new) for old, new in names.items() if old != new}
        standing = there.names | dims
        _check_names(there, dims, standing, names)
        names = with_new_companions(there.notes, names, standing, there.arrays)
        _check_no_new_bounds(there, names)
        renamed = _new_name(names)
        coordinates = coordinates_named(there.metadata, there.arrays)
        nodes: dict[str, Node] = {}
        links: dict[str, str] = {}
        for name, array in there.arrays.items():
            dimension_names = None if array.dimension_names is None else tuple(map(renamed, array.dimension_names))
            changed = replace(array, dimension_names=dimension_names, attributes=_with_names(array.attributes, renamed))
            changed = renamed_notes(name, changed, there.notes, renamed)
            if name in coordinates and not _can_be_listed(renamed(name)):
                changed = with_note(changed, COORDINATE, True)
            if name in names or changed != array:
                nodes[there.path_of(names.get(name, name))] = changed
            if name in names:
                links |= _linked_keys(there.store, there.path_of(name), there.path_of(names[name]))
        attributes = _with_names(there.metadata.attributes, renamed)
        metadata = with_renamed_dims(replace(there.metadata, attributes=attributes), renamed)
        if metadata != there.metadata:
            nodes[there.path] = metadata
        moved = {there.path_of(name): there.path_of(new) for name, new in names.items() if name in there.arrays}
        change_documents(there.store, nodes, moved.keys(), links, like=there.nodes, renamed=moved)


def _new_name(names: Mapping[str, str]) -> Callable[[Any], Any]:
    return lambda name: names.get(name, name)


def _check_names(there: EditedGroup, dims: set[str], standing: set[str], names: Mapping[str, str]) -> None:
    if unknown := [name for name in names if name not in there.arrays and name not in dims]:
        raise VariableNotFoundError(
            "no such variable or dimension in the store",
            key=there.path_of(str(unknown[0])),
            mend=nearest(unknown[0], there.arrays.keys() | dims),
        )
    for name, dimensions in there.strange.items():
        if touched := [dim for dim in dimensions if dim in names]:
            raise UnsupportedError(
                "a dimension cannot be renamed along which an array lies that cannot be read",
                key=there.path_of(name),
                found=touched[0],
                mend="Rename it with the library that wrote this array, or drop it with zarrds.drop_vars",
            )
    check_parts(there.notes, names, there.path_of)
    for new in names.values():
        if "/" in new or new in DOCUMENTS or is_partial(new):
            raise LabelError("this cannot be a name", key=there.path_of(new), mend="Choose another one")
        if new in standing or list(names.values()).count(new) > 1:
            raise LabelError(
                "the new name is taken already",
                key=there.path_of(new),
                mend="Choose another one; to swap two names, go by way of a third",
            )


def _check_no_new_bounds(there: EditedGroup, names: Mapping[str, str]) -> None:
    """Check that no array gets the name by which readers take it for the bounds of times that named nothing before."""
    before = {new: old for old, new in names.items() if old in there.arrays}
    for owner, array in there.arrays.items():
        bounds = array.attributes.get("bounds")
        old = before.get(bounds) if isinstance(bounds, str) else None
        if old is not None and gives_units(array.attributes, there.arrays[old].attributes):
            raise LabelError(
                f"would be read as times: {owner!r} names it as its bounds",
                key=there.path_of(old),
                found=bounds,
                mend="Choose another name, or remove that attribute first, with zarrds.update_attrs",
            )


def _linked_keys(store: Store, old: str, new: str) -> dict[str, str]:
    """The keys of an array's chunks and of its statistics, and their new names."""
    # its own documents are written anew
    own = {f"{old}/{name}" for name in DOCUMENTS}.union(v3.keys_of(old))
    return {key: new + key[len(old) :] for key in store.list_prefix(old) if key not in own}


def _with_names(attributes: JSONObject, new_name: Callable[[str], str | None]) -> Raw:
    """Attributes with other names of variables in those that hold such; None takes a name out."""
    changed = dict(attributes)
    for attribute in _REFERENCES:
        value = changed.get(attribute)
        if not isinstance(value, str):
            continue
        if all(new_name(name) == name for name in (value, *(part.removesuffix(":") for part in value.split()))):
            continue
        if attribute in _OF_ONE and not value.endswith(":") and ": " not in value:
            after = [new for new in [new_name(value)] if new]  # also with blanks
        else:
            after = _with_names_listed(value.split(), new_name, is_projection=attribute == "grid_mapping")
        changed[attribute] = " ".join(after)
        if not after:
            del changed[attribute]
    return changed


def _with_names_listed(parts: list[str], new_name: Callable[[str], str | None], *, is_projection: bool) -> list[str]:
    after: list[str] = []
    for part in reversed(parts):
        # "area: cell_area" names its parts with a colon, "crs: x y" a projection and its coordinates
        is_key, name = part.endswith(":"), part.removesuffix(":")
        new = new_name(name) if is_projection or not is_key else name
        if not is_key and new and _can_be_listed(new):
            after.append(new)
        elif is_key and after and not after[-1].endswith(":"):
            after.append(f"{new or name}:")
    return after[::-1]


def _can_be_listed(name: str) -> bool:
    """Whether attributes that name several variables, with blanks between them, can name one."""
    return len(name.split()) == 1


def drop_vars(
    store: StoreLike,
    names: str | Iterable[Hashable],
    *,
    group: str | None = None,
    errors: Literal["raise", "ignore"] = "raise",
    durable: bool = True,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Remove variables from a stored group, as `xarray.Dataset.drop_vars` does, in one step; their data is deleted.

    CF bounds have the units of their coordinate, and no own: drop both, or what is left reads as plain numbers. What
    holds the ends of intervals or the categories of a variable goes with it. Labels of a dimension that are 0, 1, 2, …
    and have no array are dropped as any others.

    Parameters
    ----------
    store : str, os.PathLike or Store
    names : str or iterable of str
    group : str, optional
        The root unless said.
    errors : {"raise", "ignore"}
        What names do that the store does not have.
    durable, storage_options
        As of `update_attrs`.

    Raises
    ------
    VariableNotFoundError
        If there is no such variable.
    StoreExistsError
        If a file that is no part of Zarr lies in a variable's folder.
    LabelError
        If some levels of a MultiIndex would be left without the others, if an array is a part of another that stays, or
        if labels without an array would be left without any variable along their dimension.

    Examples
    --------
    >>> import xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> zarrds.save(xr.Dataset({"t2m": ("time", [280.5]), "sp": ("time", [1013.0])}), store)
    >>> zarrds.drop_vars(store, "sp")
    >>> list(xr.open_dataset(store, engine="zarrds"))
    ['t2m']
    """
    check_given(names=names)
    check_several(names=names)
    check_choice(("raise", "ignore"), errors=errors)
    opened, where = edited_store(store, group, storage_options, durable)
    with locating(opened.path), locked(opened):
        there = edited_group(opened, where)
        wanted = [names] if isinstance(names, str) else list(names)
        # what a reader sees and has no array: ranges, and the index that levels make together
        bare = there.notes.ranges | there.notes.multi_indexes.keys() | roles_of(there.arrays).ranges.keys()
        known = there.arrays.keys() | there.strange.keys() | bare
        asked = {str(name) for name in wanted if errors == "raise" or name in known}
        for name in asked - bare - there.strange.keys():
            there.array(name)
        _check_levels(there, asked)
        check_parts(there.notes, asked, there.path_of)
        dropped = with_companions(there.notes, asked - bare)

        def kept(name: str) -> str | None:
            return None if name in dropped else name

        nodes: dict[str, Node] = {}
        for name, array in there.arrays.items():
            changed = without_ranges(replace(array, attributes=_with_names(array.attributes, kept)), asked)
            if name not in dropped and changed != array:
                nodes[there.path_of(name)] = changed
        metadata = replace(there.metadata, attributes=_with_names(there.metadata.attributes, kept))
        left = {name: array for name, array in there.arrays.items() if name not in dropped}
        _check_ranges(there, left, asked)
        metadata = with_coordinates_named(metadata, there.arrays, left)
        if metadata != there.metadata:
            nodes[there.path] = metadata
        removed = [there.path_of(name) for name in dropped]
        for path in removed:
            check_nothing_else(there.store, path)
        change_documents(there.store, nodes, removed, like=there.nodes)


def _check_ranges(there: EditedGroup, left: Mapping[str, ArrayMetadata], asked: set[str]) -> None:
    lost = (there.notes.ranges | roles_of(there.arrays).ranges.keys()) - asked
    if lost and (lost := lost - notes_of(left).ranges - roles_of(left).ranges.keys()):
        raise LabelError(
            "labels that have no array would be lost with the last variable along their dimension, which notes them",
            key=there.path_of(min(lost)),
            mend=f"Drop them too: {', '.join(map(repr, sorted(asked | lost)))}",
        )


def _check_levels(there: EditedGroup, asked: set[str]) -> None:
    for dim, levels in there.notes.multi_indexes.items():
        if asked & {dim, *levels} and not asked.issuperset(levels):
            raise LabelError(
                f"a part of the MultiIndex of {dim!r} cannot be dropped: the others would not be its labels any more",
                key=there.path_of(sorted(asked & {dim, *levels})[0]),
                mend=f"Drop all of its levels: {', '.join(map(repr, levels))}",
            )
