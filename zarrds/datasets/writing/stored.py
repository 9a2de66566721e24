"""A group that is there already: what a save compares with, and writes into."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd
import xarray as xr

from zarrds.compat.xarray_opening import EvenlySpaced
from zarrds.datasets.encoding.dataset import Encoding
from zarrds.datasets.reading.decoding import Decoded, decode_all, decoders_for
from zarrds.datasets.reading.lazy import UNASKED_NBYTES, LazyArray, LazyArrays
from zarrds.datasets.reading.notes import GroupNotes, notes_of
from zarrds.datasets.reading.restored import NoteMismatchError, index_of
from zarrds.datasets.reading.roles import NotedIndex, roles_of
from zarrds.datasets.writing.ahead_of_use import chunks_ahead, is_label_read_first
from zarrds.datasets.writing.plain.to_plain import PlainDataset, plain_dataset
from zarrds.errors import ConflictError, LabelError, MetadataError, ZarrdsError
from zarrds.labels.kinds.categories import check_categories
from zarrds.metadata.extension import MEMBER
from zarrds.metadata.fetched import ahead
from zarrds.metadata.fields import JSONObject, Raw
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, ZarrFormat
from zarrds.metadata.nodes.documents import Nodes, document_key, keys_of, own_raw, parsed
from zarrds.metadata.nodes.group_notes import with_group_notes
from zarrds.metadata.nodes.lookup import named_dimensions
from zarrds.metadata.nodes.written import is_same_document
from zarrds.storage.commits.committer import committer_of
from zarrds.storage.protocol import Store
from zarrds.threads import side_by_side

__all__ = ["StoredGroup", "read_group"]


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """One group, by the documents of its own arrays.

    Attributes
    ----------
    metadata : GroupMetadata
    arrays : mapping of str to ArrayMetadata
        By name.
    variables : mapping of str to Variable
        The same, lazy and decoded, with the encoding of the store.
    versions : mapping of str to hashable
        The identities of the arrays' documents, by key, taken before they were read.
    coordinate_names : frozenset of str
        Those that are coordinates, not data.
    unreadable : mapping of str to ZarrdsError
        Arrays that cannot be made into variables, by name, and why. They stay as they are.
    strange : mapping of str to tuple of str
        Those of them that are not among `arrays`, and the dimensions that they name.
    notes : GroupNotes
        What is noted of their labels; the variables are without it.
    categories : mapping of str to Index
        Of those variables that are going to be written and have some.
    groups : frozenset of str
        The names of the groups in it.
    ranges : mapping of str to EvenlySpaced
        Evenly spaced coordinates without an array, as of `Roles`.
    indexes : tuple of NotedIndex
        Those that xarray does not make by itself.
    documents : mapping of str to ArrayMetadata
        What the documents say of those `arrays` that are described as they will be.
    raws : mapping of str to JSON object
        The arrays' documents as they were read, by path from the store's root.
    chunks : mapping of str to hashable
        The identities of chunks that were read together with the documents, by key.
    """

    metadata: GroupMetadata
    arrays: Mapping[str, ArrayMetadata]
    variables: Mapping[str, xr.Variable]
    versions: Mapping[str, Hashable]
    coordinate_names: frozenset[str]
    unreadable: Mapping[str, ZarrdsError]
    strange: Mapping[str, tuple[str, ...]]
    notes: GroupNotes
    categories: Mapping[str, pd.Index[Any]]
    groups: frozenset[str] = frozenset()
    ranges: Mapping[str, EvenlySpaced] = field(default_factory=dict)
    indexes: tuple[NotedIndex, ...] = ()
    documents: Mapping[str, ArrayMetadata] = field(default_factory=dict)
    raws: Mapping[str, Raw] = field(default_factory=dict)
    chunks: Mapping[str, Hashable] = field(default_factory=dict)

    def dimensions_of(self, name: str) -> tuple[str | None, ...]:
        """The names of an array's dimensions, also of one that cannot be read."""
        return self.strange[name] if name in self.strange else self.arrays[name].dimension_names or ()

    @property
    def sizes(self) -> dict[str, int]:
        """Elements along each dimension.

        Raises
        ------
        LabelError
            If two arrays disagree: nothing can safely be added then.
        """
        sizes: dict[str, tuple[int, str]] = {}
        for name, variable in self.variables.items():
            for dim, size in zip(variable.dims, variable.shape, strict=True):  # one may be there twice
                known, first = sizes.setdefault(str(dim), (size, name))
                if known != size:
                    raise LabelError(
                        f"the store's own arrays disagree about the size of dimension {dim!r}",
                        key=name,
                        expected=f"{known}, as in {first!r}",
                        found=size,
                        mend="See what zarrds.verify says of the store, and resize or remove one of them",
                    )
        return {dim: size for dim, (size, _) in sizes.items()}

    def plain(self, dataset: xr.Dataset, asked: Encoding, kept: Collection[str]) -> PlainDataset:
        """A dataset as plain arrays of the kinds that this group has; see `plain_dataset`."""
        return plain_dataset(dataset, self.notes, self.arrays, self.categories, asked, kept)


def read_group(
    store: Store,
    stored: Nodes,
    path: str,
    dataset: xr.Dataset,
    workers: int | None,
    *,
    is_locked: bool = False,
    is_unsure: bool = False,
    by_copies: bool = False,
    append_dim: Hashable | None = None,
) -> StoredGroup | None:
    """The group at `path`, or None if there is nothing.

    Parameters
    ----------
    store : Store
    stored : Nodes
        Read without consolidated metadata: another library may have left that stale.
    path : str
    dataset : Dataset
        What is going to be written: the labels that it is compared with, and the categories, are read now.
    workers : int, optional
        Threads for reading them.
    is_locked : bool
        Whether the caller holds the store's lock, for as long as it uses what is read.
    is_unsure : bool
        Whether what is read may be older than the root's document; see `GrowingStore.glance`. What it says is compared
        then; the caller makes sure that `StoredGroup.chunks` are still those.
    by_copies : bool
        Whether what the dataset does not name may be what the root's document says of it: where each look is a request.
    append_dim : hashable, optional
        Along which arrays are going to be made longer.

    Raises
    ------
    LabelError
        If an array stands at `path`.
    ConflictError
        If `is_unsure`, and arrays are not what the root's document says of them.
    """
    node = stored.get(path)
    if node is None:
        return None
    if isinstance(node, ArrayMetadata):
        raise LabelError("an array stands where a group is to be", path=store.path, key=path or "/")
    node = with_group_notes(store, path, node, is_locked=is_locked)
    base = f"{path}/" if path else ""
    versions: dict[str, Hashable] = {}
    arrays: dict[str, ArrayMetadata] = {}
    unreadable: dict[str, ZarrdsError] = {}
    strange: dict[str, tuple[str, ...]] = {}
    raws: dict[str, Raw] = {}
    groups = set()
    chunk_keys: list[str] = []
    copies = _copies(stored, path, dataset) if by_copies and store.traits.is_remote else None
    at_hand: dict[str, tuple[Raw, Hashable]] = {}  # documents, with their versions if they are the own ones
    if copies is not None:
        beside = {str(name): stored.beside(f"{base}{name}") for name in dataset.variables}
        at_hand = {name: each for name, each in beside.items() if each is not None}
        own_paths = [base + str(name) for name in dataset.variables if name not in at_hand]
        at_hand |= {name: (raw_copy, None) for name, raw_copy in copies.items()}
        names, seen = stored.told(path), ahead(store, keys_of(own_paths, stored.zarr_format))
    else:
        told = stored.copies() if is_unsure and not path else {}
        if told:
            chunk_keys = chunks_ahead(store, told, stored.zarr_format, dataset, append_dim)
        elif is_unsure:  # there is nothing to compare with: all is read behind the look
            committer_of(store).recover()
        names, seen = _names_and_documents(store, stored, path, chunk_keys, is_locked=is_locked)
        if told:
            _check_is_told(store, stored.zarr_format, names, seen, told)
    for name in names:
        key = document_key(base + name, stored.zarr_format)
        own, version = at_hand.get(name) or (None, seen.identity(key))
        try:
            if own is None and version is not None:
                own = own_raw(seen, base + name, stored.zarr_format)
            child = None if own is None else parsed(store, base + name, stored.zarr_format, own)
        except MetadataError as error:
            if error.key != base + name:  # of a document that is no JSON: that store is damaged, not strange
                raise
            unreadable[name] = error
            strange[name] = named_dimensions(store, base + name, stored.zarr_format)
            continue
        if own is not None and isinstance(child, ArrayMetadata):
            arrays[name] = child
            if version is not None:
                versions[key], raws[base + name] = version, own
        elif isinstance(child or stored.get(base + name), GroupMetadata):
            groups.add(name)
    lazy_arrays = LazyArrays.of(store, stored, n_workers=workers, is_locked=is_locked)
    lazy: dict[str, LazyArray] = {}
    raw: dict[str, xr.Variable] = {}
    for name, metadata in arrays.items():
        try:
            key = document_key(base + name, stored.zarr_format)
            version_of = (key, versions[key]) if key in versions else stored.version
            lazy[name] = lazy_arrays.array(base + name, metadata, version_of)
            raw[name] = lazy_arrays.variable(lazy[name])
        except ZarrdsError as error:
            unreadable[name] = error.located(path=store.path, key=base + name)
    needed = [name for name, v in raw.items() if is_label_read_first(name, v.dims, v.attrs, dataset)]
    labels = [lazy[name] for name in needed if raw[name].nbytes <= UNASKED_NBYTES]
    chunks_at_hand = seen if chunk_keys else None
    side_by_side(lambda each: each.read_ahead(chunks_at_hand), labels if store.traits.is_remote else [])
    for name in raw:
        try:
            if name in dataset.xindexes and raw[name].ndim == 1 and raw[name].dtype.kind != "O":
                # in memory before they are decoded: the decoders look at the first and the last of them
                raw[name].load()
        except ZarrdsError as error:
            unreadable[name] = error.located(path=store.path, key=base + name)
    notes = notes_of(arrays)
    decoders, active = decoders_for(notes, {})
    for name in notes.descriptions.keys() - active:
        notes = notes.without(name)
    found = _decoded(raw, node.attributes, unreadable, decoders, store.path, path)
    for name in found.undecoded:
        notes = notes.without(name)
    decoded = dict(found.variables)
    coordinates = frozenset(name for name, v in decoded.items() if name in found.names or v.dims == (name,))
    noted = roles_of(arrays)
    coordinates = (coordinates - noted.data) | (noted.coordinates & decoded.keys())
    for array in lazy.values():
        array.is_being_decoded = False
        array.forget()
    categories: dict[str, pd.Index[Any]] = {}
    for name, roles in notes.companions.items():
        if "categories" in roles and name in dataset.variables:
            if (gone := roles["categories"]) not in decoded:
                unreadable[name] = unreadable.get(gone) or _without_categories(store, base + name, base + gone)
                continue
            try:
                found_categories = index_of(roles["categories"], decoded, notes.descriptions, notes.companions)
                check_categories(found_categories)
            except (NoteMismatchError, MetadataError):
                notes = notes.without(name)
            else:
                categories[name] = found_categories
    return StoredGroup(
        node,
        arrays,
        decoded,
        versions,
        coordinates,
        unreadable,
        strange,
        notes,
        categories,
        frozenset(groups),
        {name: spaced for name, (spaced, _) in noted.ranges.items()},
        noted.indexes,
        raws=raws,
        chunks={key: seen.identity(key) for key in chunk_keys},
    )


def _copies(stored: Nodes, path: str, dataset: xr.Dataset) -> dict[str, Raw] | None:
    """What the root's document says of all below a group that a dataset does not name; None where that is not enough.

    It is not where the dataset names more, and where arrays are parts of others, which are written together.
    """
    base = f"{path}/" if path else ""
    copies, told = stored.copies(), stored.told(path)
    found = {name: copies[base + name] for name in told if base + name in copies}
    members = (raw.get(MEMBER) for raw in found.values())
    notes = [member.get("pandas") for member in members if isinstance(member, dict)]
    has_parts = any(isinstance(note, dict) and {"categories", "bounds"} & note.keys() for note in notes)
    if has_parts or len(found) < len(told) or not dataset.variables.keys() <= found.keys():
        return None
    return {name: raw for name, raw in found.items() if name not in dataset.variables}


def _names_and_documents(
    store: Store, stored: Nodes, path: str, chunk_keys: Sequence[str], *, is_locked: bool
) -> tuple[list[str], Store]:
    """What lies directly below a group, and the store with its documents at hand, and with some chunks."""
    base = f"{path}/" if path else ""
    likely = stored.told(path) if store.traits.is_remote else []
    likely_keys = [*keys_of([base + name for name in likely], stored.zarr_format), *chunk_keys]
    fetch = partial(ahead, store, likely_keys, listing=not path)
    if not likely:
        names, seen = store.list_children(path), store
    elif is_locked:  # what is fetched by this thread is remembered, and so is what lies below the root
        seen, names = fetch(), store.list_children(path)
    else:
        calls: list[Callable[[], Any]] = [partial(store.list_children, path), fetch]
        names, seen = side_by_side(lambda call: call(), calls)
    if not set(names) <= set(likely):
        seen = ahead(store, [*keys_of([base + name for name in names], stored.zarr_format), *chunk_keys])
    return names, seen


def _check_is_told(
    store: Store, zarr_format: ZarrFormat, names: Sequence[str], seen: Store, told: Mapping[str, Raw]
) -> None:
    """Raise unless what lies directly below the root is just what its document says.

    What was read while another writer put documents in place is not.
    """
    for name in {*names, *(path for path in told if path and "/" not in path)}:
        own = own_raw(seen, name, zarr_format) if name in names else None
        if not is_same_document(own, told.get(name)):
            raise ConflictError("documents are not what the root's says of them", path=store.path, key=name)


def _without_categories(store: Store, path: str, categories: str) -> MetadataError:
    return MetadataError("categories are not stored", path=store.path, key=path, expected=f"an array {categories!r}")


def _decoded(
    raw: Mapping[str, xr.Variable],
    attributes: JSONObject,
    unreadable: dict[str, ZarrdsError],
    decoders: Mapping[str, Any],
    store: str,
    path: str,
) -> Decoded:
    """Decode all variables together, as bounds have the units of their coordinate.

    Those that cannot be read are added to `unreadable`; those that cannot be decoded are as they are stored.
    """
    try:
        return decode_all(raw, attributes, decoders, store, path)
    except ZarrdsError:
        for name, variable in raw.items():
            try:
                decode_all({name: variable}, {}, decoders, store, path)
            except ZarrdsError as error:  # a chunk that is lost, for example
                unreadable[name] = error
        readable = {name: variable for name, variable in raw.items() if name not in unreadable}
        return decode_all(readable, attributes, decoders, store, path)
