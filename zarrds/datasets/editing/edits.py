"""Edits of a stored dataset in place: attributes, names, and variables that go. No data is rewritten."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, Literal

from zarrds.datasets.editing.edited_notes import (
    check_attributes,
    check_parts,
    renamed_notes,
    with_companions,
    with_new_companions,
    without_ranges,
)
from zarrds.datasets.encoding.attributes import visible_attributes
from zarrds.datasets.reading.decoding import decode, decode_all
from zarrds.datasets.reading.lazy import LazyArrays
from zarrds.datasets.reading.notes import GroupNotes, notes_of
from zarrds.datasets.reading.roles import roles_of
from zarrds.datasets.reading.strange import LeftOut, children_of
from zarrds.errors import (
    EncodingError,
    LabelError,
    MetadataError,
    UndecodableError,
    UnsupportedError,
    VariableNotFoundError,
    locating,
)
from zarrds.metadata.attributes import apart_attributes, updated_attributes
from zarrds.metadata.belonging import check_nothing_else
from zarrds.metadata.documents import DOCUMENTS, Nodes, get_group, keys_of, locked, named_dimensions, open_nodes
from zarrds.metadata.dtypes import JSON
from zarrds.metadata.equality import is_same
from zarrds.metadata.group_notes import with_group_notes
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node
from zarrds.metadata.transaction import change_documents
from zarrds.storage.committer import as_durable, committer_of
from zarrds.storage.local.files import is_partial
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store, check_key, check_prefix

__all__ = ["drop_vars", "rename", "update_attrs"]

# attributes that hold names of variables (CF 1.12, appendix A)
_REFERENCES = (
    "ancillary_variables bounds cell_measures climatology coordinates formula_terms geometry grid_mapping "
    "node_coordinates node_count part_node_count interior_ring instance_dimension sample_dimension"
).split()
# of them those without which a reader takes coordinates for data, or bounds for plain numbers
_ROLES = frozenset({"coordinates", "bounds", "climatology"})
_DIMENSIONS = "_ARRAY_DIMENSIONS"  # of format 2, where `rename` changes it

StoreLike = str | os.PathLike[str] | Store


@dataclass(frozen=True, slots=True)
class _Group:
    """A group that is being edited, while the lock of its store is held."""

    store: Store
    nodes: Nodes
    path: str
    metadata: GroupMetadata
    arrays: Mapping[str, ArrayMetadata]
    strange: Mapping[str, tuple[str, ...]]  # what cannot be read, and the dimensions that it names
    notes: GroupNotes

    def path_of(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name

    def array(self, name: Hashable) -> ArrayMetadata:
        if not isinstance(name, str) or name not in self.arrays:
            raise VariableNotFoundError(
                "no such variable in the store", key=self.path_of(str(name)), found=sorted(self.arrays)
            )
        return self.arrays[name]


def _target(
    store: StoreLike, group: str | None, storage_options: Mapping[str, Any] | None, durable: bool
) -> tuple[Store, str]:
    """The store that is to be edited, and the path of the group in it."""
    opened = as_durable(as_store(store, storage_options), durable)
    where = check_prefix((group or "").strip("/"), opened.path)
    with locating(opened.path):
        open_nodes(opened)  # no lock, and so no file, where there is no store
    return opened, where


def _read(store: Store, path: str) -> _Group:
    """A group as it is, for who holds the store's lock."""
    committer_of(store).clean()
    # without consolidated metadata: another library may have left that stale
    nodes = open_nodes(store, consolidated=False)
    metadata = with_group_notes(store, path, get_group(store, nodes, path))
    left_out = LeftOut(store.path)
    children = children_of(nodes, path, (), left_out)
    arrays = {n: node for n, node in children.items() if isinstance(node, ArrayMetadata)}
    base = f"{path}/" if path else ""
    strange = {n: named_dimensions(store, base + n, nodes.zarr_format) for n in left_out.names_in(path)}
    return _Group(store, nodes, path, metadata, arrays, strange, notes_of(arrays))


def update_attrs(
    store: StoreLike,
    attrs: Mapping[str, Any],
    variable: str | None = None,
    *,
    delete: Iterable[str] = (),
    group: str | None = None,
    durable: bool = True,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Change attributes of a stored group or variable, as ``dict.update``, and remove some, in one step.

    Attributes that say how data is to be decoded (``scale_factor``, the ``units`` of times, …) are refused: the stored
    values would then mean something else. So are those that are stored for other readers with labels of pandas' own
    kinds (the ``flag_meanings`` of categories, the ``bounds`` of intervals, …).

    Parameters
    ----------
    store : str, os.PathLike or Store
    attrs : mapping
        JSON, or NumPy's scalars and arrays.
    variable : str, optional
        Whose attributes to change; those of the group unless said.
    delete : iterable of str
        Names of attributes to remove. What `attrs` has too is set.
    group : str, optional
        The root unless said.
    durable : bool
        Wait until the change is on the disk.
    storage_options : mapping, optional
        As of `zarrds.save`.

    Raises
    ------
    StoreNotFoundError, NodeNotFoundError, VariableNotFoundError
        If there is no such store, group or variable.
    EncodingError
        If an attribute is no JSON, or says how data is decoded, or if one to be removed is not there.

    Examples
    --------
    >>> import xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> zarrds.save(xr.Dataset({"t2m": ("time", [280.5])}), store)
    >>> zarrds.update_attrs(store, {"units": "K"}, "t2m")
    >>> xr.open_dataset(store, engine="zarrds").t2m.attrs
    {'units': 'K'}
    >>> zarrds.update_attrs(store, {}, "t2m", delete=["units"])
    >>> xr.open_dataset(store, engine="zarrds").t2m.attrs
    {}
    """
    added = dict(attrs)
    removed = {delete} - added.keys() if isinstance(delete, str) else {*delete} - added.keys()
    opened, where = _target(store, group, storage_options, durable)
    with locating(opened.path), locked(opened):
        there = _read(opened, where)
        path = there.path if variable is None else there.path_of(variable)
        before: Any = there.metadata if variable is None else there.array(variable)
        with locating(key=path or "/"):
            after: Node = updated_attributes(before, added, removed=removed)
            if variable is not None:
                check_attributes(there.notes, variable, added.keys() | removed)
            _check_decoding(there, path, before, after, added, removed)
        change_documents(there.store, {path: after})


def _check_decoding(
    there: _Group, path: str, before: Node, after: Node, added: Mapping[str, Any], removed: Set[str]
) -> None:
    """Raise unless a reader sees exactly the new attributes, and otherwise what it saw before."""
    decoder: Callable[..., Any] = decode
    try:
        old = _decoded(there, path, before, decoder)
    except UndecodableError:  # which a reader sees as it is stored
        decoder = _decoded_in_part
        old = _decoded(there, path, before, decoder)
    if absent := removed - before.attributes.keys() - old[0].keys():
        raise EncodingError("no such attribute", expected=f"one of {sorted(old[0])}", found=sorted(absent))
    try:
        new = _decoded(there, path, after, decoder)
    except MetadataError:
        new = {}, None
    expected = {name: value for name, value in old[0].items() if name not in removed} | dict(added)
    wrong = {name for name in expected.keys() | new[0].keys() if _text(expected, name) != _text(new[0], name)}
    wrong |= (removed - old[0].keys()) | (removed & _ROLES)  # the former are seen as an encoding
    changed = added.keys() | removed
    if wrong or old[1] != new[1] or _DIMENSIONS in changed:
        raise EncodingError(
            "these attributes say how the stored values are decoded",
            found=sorted(wrong & changed) or sorted(changed),
            mend="Leave them out; to store the data in another way, save it again",
        )


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    return json.dumps(attributes[name], default=str, sort_keys=True) if name in attributes else None


def _decoded_in_part(*args: Any) -> tuple[Any, Any, Any]:
    decoded = decode_all(*args)
    return decoded.variables, decoded.attributes, decoded.names


def _decoded(there: _Group, path: str, node: Node, decoder: Callable[..., Any]) -> tuple[dict[str, Any], Any]:
    """The attributes of a node as a reader sees them, and what else decoding makes of it."""
    if isinstance(node, GroupMetadata):
        visible = visible_attributes(node)
        _, attributes, names = decode({}, visible, {}, there.store.path, path)
        return dict(attributes), names
    lazy_arrays = LazyArrays.of(there.store, there.nodes)
    lazy = lazy_arrays.array(path, node, there.nodes.version_of(path))
    group, _, name = path.rpartition("/")
    try:
        decoded = decoder({name: lazy_arrays.variable(lazy)}, {}, {}, there.store.path, group)[0][name]
    except UndecodableError:
        raise
    except MetadataError as error:
        error.mend = "Drop it with zarrds.drop_vars, or mend its attributes with zarrds.open_array"
        raise
    return dict(decoded.attrs) | apart_attributes(node), (
        decoded.dims,
        decoded.dtype,
        {k: _text(decoded.encoding, k) for k in decoded.encoding},
    )


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
        If a new name is taken already, or given twice, or if an array is a part of another that keeps its name.

    Examples
    --------
    >>> import xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> zarrds.save(xr.Dataset({"t2m": ("time", [280.5])}, {"time": [0]}), store)
    >>> zarrds.rename(store, {"t2m": "temperature", "time": "day"})
    >>> xr.open_dataset(store, engine="zarrds").temperature.dims
    ('day',)
    """
    opened, where = _target(store, group, storage_options, durable)
    with locating(opened.path), locked(opened):
        there = _read(opened, where)
        dims = {dim for array in there.arrays.values() for dim in array.dimension_names or () if dim is not None}
        dims |= roles_of(there.arrays).ranges.keys()
        asked: list[Any] = list(names.values())  # whatever their type says
        if wrong := [new for new in asked if not isinstance(new, str)]:
            raise EncodingError("names must be strings", found=repr(wrong[0]))
        names = {old: check_key(new) for old, new in names.items() if old != new}
        standing = set(there.nodes.names(there.path)) | dims
        _check_names(there, dims, standing, names)
        names = with_new_companions(there.notes, names, standing, there.arrays)
        renamed = _new_name(names)
        nodes: dict[str, Node] = {}
        links: dict[str, str] = {}
        for name, array in there.arrays.items():
            dimension_names = None if array.dimension_names is None else tuple(map(renamed, array.dimension_names))
            changed = replace(array, dimension_names=dimension_names, attributes=_with_names(array.attributes, renamed))
            changed = renamed_notes(name, changed, there.notes, renamed)
            if name in names or changed != array:
                nodes[there.path_of(names.get(name, name))] = changed
            if name in names:
                links |= _linked_keys(there.store, there.path_of(name), there.path_of(names[name]))
        attributes = _with_names(there.metadata.attributes, renamed)
        if not is_same(attributes, there.metadata.attributes):
            nodes[there.path] = replace(there.metadata, attributes=attributes)
        removed = [there.path_of(name) for name in names if name in there.arrays]
        change_documents(there.store, nodes, removed, links)


def _new_name(names: Mapping[str, str]) -> Callable[[Any], Any]:
    return lambda name: names.get(name, name)


def _check_names(there: _Group, dims: set[str], standing: set[str], names: Mapping[str, str]) -> None:
    if unknown := [name for name in names if name not in there.arrays and name not in dims]:
        raise VariableNotFoundError(
            "no such variable or dimension in the store",
            key=there.path_of(str(unknown[0])),
            found=sorted(there.arrays.keys() | dims),
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
        is_kept = "/" in new or new in DOCUMENTS or is_partial(new)
        if new in standing or is_kept or list(names.values()).count(new) > 1:
            raise LabelError(
                "the new name is taken already, or cannot be one",
                key=there.path_of(new),
                mend="To swap two names, go by way of a third",
            )


def _linked_keys(store: Store, old: str, new: str) -> dict[str, str]:
    """The keys of an array's chunks and of its statistics, and what they are to be."""
    # its own documents are written anew
    own = {f"{old}/{name}" for name in DOCUMENTS}.union(keys_of([old], 3))
    return {key: new + key[len(old) :] for key in store.list_prefix(old) if key not in own}


def _with_names(attributes: Mapping[str, JSON], new_name: Callable[[str], str | None]) -> dict[str, JSON]:
    """Attributes with other names of variables in those that hold such; None takes a name out."""
    changed = dict(attributes)
    for attribute in _REFERENCES:
        value = changed.get(attribute)
        if isinstance(value, str):
            # "area: cell_area" names its parts with a colon
            before = value.split()
            after = [part if part.endswith(":") else new_name(part) for part in before]
            if after != before:
                changed[attribute] = " ".join(part for part in after if part)
                if not changed[attribute]:
                    del changed[attribute]
    return changed


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
        If some levels of a MultiIndex would be left without the others, or if an array is a part of another that stays.

    Examples
    --------
    >>> import xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> zarrds.save(xr.Dataset({"t2m": ("time", [280.5]), "sp": ("time", [1013.0])}), store)
    >>> zarrds.drop_vars(store, "sp")
    >>> list(xr.open_dataset(store, engine="zarrds"))
    ['t2m']
    """
    if errors not in ("raise", "ignore"):
        raise EncodingError("unknown errors=", expected="'raise' or 'ignore'", found=repr(errors))
    opened, where = _target(store, group, storage_options, durable)
    with locating(opened.path), locked(opened):
        there = _read(opened, where)
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
        if metadata != there.metadata:
            nodes[there.path] = metadata
        removed = [there.path_of(name) for name in dropped]
        for path in removed:
            check_nothing_else(there.store, path)
        change_documents(there.store, nodes, removed)


def _check_levels(there: _Group, asked: set[str]) -> None:
    for dim, levels in there.notes.multi_indexes.items():
        if asked & {dim, *levels} and not asked.issuperset(levels):
            raise LabelError(
                f"a part of the MultiIndex of {dim!r} cannot be dropped: the others would not be its labels any more",
                key=there.path_of(sorted(asked & {dim, *levels})[0]),
                mend=f"Drop all of its levels: {', '.join(map(repr, levels))}",
            )
