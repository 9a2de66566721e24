"""``zarrds.update_attrs``: attributes of a stored group or variable are changed, and what they mean is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from zarrds.arguments import check_given, check_mappings, check_texts, names_of, nearest
from zarrds.datasets.editing.edited_group import EditedGroup, StoreLike, edited_group, edited_store
from zarrds.datasets.editing.edited_notes import check_attributes
from zarrds.datasets.encoding.attributes import visible_attributes
from zarrds.datasets.reading.decoding import decode, decode_all
from zarrds.datasets.reading.lazy import LazyArrays
from zarrds.datasets.reading.open_options import OpenOptions
from zarrds.errors import EncodingError, MetadataError, UndecodableError, locating
from zarrds.metadata.attributes import apart_attributes, plain_value, updated_attributes
from zarrds.metadata.equality import is_same
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node
from zarrds.metadata.nodes.locking import locked
from zarrds.metadata.nodes.transaction import change_documents
from zarrds.metadata.times import gives_units

__all__ = ["update_attrs"]

# without which a reader takes coordinates for data, or bounds for plain numbers
_ROLES = frozenset({"coordinates", "bounds", "climatology"})
_DIMENSIONS = "_ARRAY_DIMENSIONS"  # of format 2, where `rename` changes it


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

    Attributes that say how data is decoded (``scale_factor``, the ``units`` of times, …) are refused: the stored
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
    check_given(attrs=attrs, delete=delete)
    check_mappings(attrs=attrs)
    check_texts(variable=variable)
    added = dict(attrs)
    removed = {*(names_of(delete=delete) or ())} - added.keys()
    opened, where = edited_store(store, group, storage_options, durable)
    with locating(opened.path), locked(opened, begins=True):
        there = edited_group(opened, where)
        path = there.path if variable is None else there.path_of(variable)
        before: Any = there.metadata if variable is None else there.array(variable)
        with locating(key=path or "/"):
            after: Node = updated_attributes(before, added, removed=removed)
            if variable is not None:
                check_attributes(there.notes, variable, added.keys() | removed)
            _check_decoding(there, path, before, after, added, removed)
        known = {"": there.nodes.root} if there.nodes.root is not None else None
        change_documents(there.store, {path: after}, like=there.nodes, known=known)


def _check_decoding(
    there: EditedGroup, path: str, before: Node, after: Node, added: Mapping[str, Any], removed: Set[str]
) -> None:
    """Raise unless a reader sees exactly the new attributes, and otherwise what it saw before."""
    decoder: Callable[..., Any] = decode
    try:
        old = _decoded(there, path, before, decoder)
    except UndecodableError:  # which a reader sees as it is stored
        decoder = _decoded_in_part
        old = _decoded(there, path, before, decoder)
    if absent := removed - before.attributes.keys() - old[0].keys():
        raise EncodingError("no such attribute", found=sorted(absent), mend=nearest(min(absent), old[0]))
    try:
        new = _decoded(there, path, after, decoder)
    except MetadataError:
        new = {}, None, {}
    expected = {name: value for name, value in old[0].items() if name not in removed} | dict(added)
    wrong = {name for name in expected.keys() | new[0].keys() if not _is_same(expected, new[0], name)}
    bounds = before.attributes.get("bounds")
    names_one = isinstance(bounds, str) and bounds in there.names
    roles = _ROLES if names_one else _ROLES - {"bounds"}
    wrong |= (removed - old[0].keys()) | (removed & roles)  # the former are seen as an encoding
    changed = added.keys() | removed
    if _read_as_times(there, path, before) != _read_as_times(there, path, after):
        wrong |= changed & {"bounds", "units"}
    is_decoded_alike = old[1] == new[1] and all(_is_same(old[2], new[2], name) for name in old[2] | new[2])
    if wrong or not is_decoded_alike or _DIMENSIONS in changed:
        raise EncodingError(
            "these attributes say how the stored values are decoded",
            found=sorted(wrong & changed) or sorted(changed),
            mend="Leave them out; to store the data in another way, save it again",
        )


def _read_as_times(there: EditedGroup, path: str, node: Node) -> set[str]:
    """Which arrays of a group are times as they are the bounds of some, while one array is as `node`."""
    if not isinstance(node, ArrayMetadata):
        return set()
    arrays = {**there.arrays, path.rpartition("/")[2]: node}
    named = [(array, array.attributes.get("bounds")) for array in arrays.values()]
    return {
        bounds
        for array, bounds in named
        if isinstance(bounds, str) and bounds in arrays and gives_units(array.attributes, arrays[bounds].attributes)
    }


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    if name in one and name in other and is_same(one[name], other[name]):
        return True  # most of them, also those that are nested deeper than calls
    return _text(one, name) == _text(other, name)


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    if name not in attributes:
        return None
    try:
        return json.dumps(plain_value(attributes[name]), sort_keys=True)
    except TypeError:  # a dtype, or another object of an encoding
        return str(attributes[name])


def _decoded_in_part(*args: Any) -> tuple[Any, Any, Any]:
    decoded = decode_all(*args)
    return decoded.variables, decoded.attributes, decoded.names


def _decoded(
    there: EditedGroup, path: str, node: Node, decoder: Callable[..., Any]
) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """The attributes of a node as a reader sees them, what else decoding makes of it, and its encoding."""
    if isinstance(node, GroupMetadata):
        visible = visible_attributes(node)
        _, attributes, names = decode({}, visible, {}, there.store.path, path)
        return dict(attributes), names, {}
    lazy_arrays = LazyArrays.of(there.store, there.nodes, OpenOptions())
    lazy = lazy_arrays.array(path, node, there.nodes.version_of(path))
    group, _, name = path.rpartition("/")
    try:
        decoded = decoder({name: lazy_arrays.variable(lazy)}, {}, {}, there.store.path, group)[0][name]
    except UndecodableError:
        raise
    except MetadataError as error:
        error.mend = "Drop it with zarrds.drop_vars, or mend its attributes with zarrds.open_array"
        raise
    return dict(decoded.attrs) | apart_attributes(node), (decoded.dims, decoded.dtype), dict(decoded.encoding)
