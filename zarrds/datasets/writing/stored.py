"""A group that is there already: what a save compares with, and writes into."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import xarray as xr

from zarrds.compat.xarray_opening import EvenlySpaced
from zarrds.datasets.encoding.dataset import Encoding
from zarrds.datasets.reading.decoding import Decoded, decode_all, decoders_for
from zarrds.datasets.reading.lazy import UNASKED_NBYTES, LazyArray, LazyArrays
from zarrds.datasets.reading.notes import GroupNotes, notes_of
from zarrds.datasets.reading.open_options import OpenOptions
from zarrds.datasets.reading.restored import NoteMismatchError, index_of
from zarrds.datasets.reading.roles import NotedIndex, roles_of
from zarrds.datasets.writing.plain.to_plain import PlainDataset, plain_dataset
from zarrds.datasets.writing.prefetch import is_label_read_first
from zarrds.datasets.writing.stored_documents import GroupDocuments, GroupToRead, documents_below
from zarrds.errors import LabelError, MetadataError, ZarrdsError
from zarrds.labels.kinds.categories import check_categories
from zarrds.metadata.fields import JSONObject, Raw
from zarrds.metadata.model import ArrayMetadata, GroupMetadata
from zarrds.metadata.nodes.documents import document_key
from zarrds.metadata.nodes.group_notes import with_group_notes
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
    anew : mapping of str to ArrayMetadata
        Arrays without elements that are made anew, and are not among `arrays`.
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
    anew: Mapping[str, ArrayMetadata] = field(default_factory=dict)
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
        nothing = {dim: 0 for metadata in self.anew.values() for dim in metadata.dimension_names or () if dim}
        return nothing | {dim: size for dim, (size, _) in sizes.items()}

    def plain(self, dataset: xr.Dataset, asked: Encoding, kept: Collection[str]) -> PlainDataset:
        """A dataset as plain arrays of the kinds that this group has; see `plain_dataset`."""
        return plain_dataset(dataset, self.notes, self.arrays, self.categories, asked, kept)


def read_group(group: GroupToRead, workers: int | None) -> StoredGroup | None:
    """A group of a store, or None if there is nothing; `workers` are threads for reading its labels.

    Raises
    ------
    LabelError
        If an array stands at `path`.
    ConflictError
        If another writer has changed a store just before of which this thread has begun a change.
    """
    store, stored, path = group.store, group.nodes, group.path
    node = stored.get(path)
    if node is None:
        return None
    if isinstance(node, ArrayMetadata):
        raise LabelError("an array stands where a group is to be", path=store.path, key=path or "/")
    node = with_group_notes(store, stored, path, node)
    documents = documents_below(group)
    arrays, unreadable = documents.arrays, documents.unreadable
    lazy_arrays = LazyArrays.of(store, stored, OpenOptions(workers=workers), is_locked=group.is_locked)
    lazy, raw = _lazy_variables(lazy_arrays, documents, group)
    _load_labels(group, documents, lazy, raw)
    notes = notes_of(arrays)
    decoders, active = decoders_for(notes, {})
    for name in notes.descriptions.keys() - active:
        notes = notes.without(name)
    found = _decoded(group, raw, node.attributes, decoders, unreadable)
    for name in found.undecoded:
        notes = notes.without(name)
    decoded = dict(found.variables)
    noted = roles_of(arrays)
    coordinates = frozenset(name for name, v in decoded.items() if name in found.names or v.dims == (name,))
    coordinates = (coordinates - noted.data) | (noted.coordinates & decoded.keys())
    for array in lazy.values():
        array.forget()
    notes, categories = _categories(group, decoded, notes, unreadable)
    return StoredGroup(
        node,
        arrays,
        decoded,
        documents.versions,
        coordinates,
        unreadable,
        documents.strange,
        notes,
        categories,
        frozenset(documents.groups),
        {name: spaced for name, (spaced, _) in noted.ranges.items()},
        noted.indexes,
        raws=documents.raws,
        chunks={key: documents.seen.identity(key) for key in group.chunk_keys},
    )


def _lazy_variables(
    lazy_arrays: LazyArrays, documents: GroupDocuments, group: GroupToRead
) -> tuple[dict[str, LazyArray], dict[str, xr.Variable]]:
    """Arrays as lazy variables that are not decoded yet; those that cannot be such are added to the unreadable ones."""
    lazy: dict[str, LazyArray] = {}
    raw: dict[str, xr.Variable] = {}
    for name, metadata in documents.arrays.items():
        at = group.below(name)
        key = document_key(at, group.nodes)
        version = (key, documents.versions[key]) if key in documents.versions else group.nodes.version
        try:
            lazy[name] = lazy_arrays.array(at, metadata, version)
            raw[name] = lazy_arrays.variable(lazy[name])
        except ZarrdsError as error:
            documents.unreadable[name] = error.located(path=group.store.path, key=at)
    return lazy, raw


def _load_labels(
    group: GroupToRead, documents: GroupDocuments, lazy: Mapping[str, LazyArray], raw: Mapping[str, xr.Variable]
) -> None:
    """Load the labels that a dataset is compared with; those that cannot be read are added to the unreadable ones."""
    dataset = group.dataset
    if group.store.traits.is_remote:
        first = [name for name, v in raw.items() if is_label_read_first(name, v.dims, v.attrs, dataset)]
        labels = [lazy[name] for name in first if raw[name].nbytes <= UNASKED_NBYTES]
        chunks_at_hand = documents.seen if group.chunk_keys else None
        side_by_side(lambda each: each.read_ahead(chunks_at_hand), labels)
    indexes = dataset.xindexes
    for name, variable in raw.items():
        try:
            if name in indexes and variable.ndim == 1 and variable.dtype.kind != "O":
                # in memory before they are decoded: the decoders look at the first and the last of them
                variable.load()
        except ZarrdsError as error:
            documents.unreadable[name] = error.located(path=group.store.path, key=group.below(name))


def _categories(
    group: GroupToRead,
    decoded: Mapping[str, xr.Variable],
    notes: GroupNotes,
    unreadable: dict[str, ZarrdsError],
) -> tuple[GroupNotes, dict[str, pd.Index[Any]]]:
    """The notes that hold, and the categories of the variables that are going to be written."""
    found: dict[str, pd.Index[Any]] = {}
    for name, roles in notes.companions.items():
        if "categories" not in roles or name not in group.dataset.variables:
            continue
        if (gone := roles["categories"]) not in decoded:
            unreadable[name] = unreadable.get(gone) or MetadataError(
                "categories are not stored",
                path=group.store.path,
                key=group.below(name),
                expected=f"an array {group.below(gone)!r}",
            )
            continue
        try:
            categories = index_of(gone, decoded, notes.descriptions, notes.companions)
            check_categories(categories)
        except (NoteMismatchError, MetadataError):
            notes = notes.without(name)
        else:
            found[name] = categories
    return notes, found


def _decoded(
    group: GroupToRead,
    raw: Mapping[str, xr.Variable],
    attributes: JSONObject,
    decoders: Mapping[str, Any],
    unreadable: dict[str, ZarrdsError],
) -> Decoded:
    """Decode all variables together, as bounds have the units of their coordinate.

    Those that cannot be read are added to `unreadable`; those that cannot be decoded are as they are stored.
    """
    where = group.store.path, group.path
    try:
        return decode_all(raw, attributes, decoders, *where)
    except ZarrdsError:
        for name, variable in raw.items():
            try:
                decode_all({name: variable}, {}, decoders, *where)
            except ZarrdsError as error:  # a chunk that is lost, for example
                unreadable[name] = error
        readable = {name: variable for name, variable in raw.items() if name not in unreadable}
        return decode_all(readable, attributes, decoders, *where)
