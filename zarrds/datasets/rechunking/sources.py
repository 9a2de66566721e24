"""What is copied: a store or some of it, each array with its plan."""

from __future__ import annotations

import os
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import xarray as xr

from zarrds.compat.xarray_internals import DeferredIndex, MappedArray, lazy_data, unwrapped
from zarrds.datasets.description.of_store import unknown_variable
from zarrds.datasets.reading.lazy import LazyArray
from zarrds.datasets.reading.roles import with_coordinates_named
from zarrds.datasets.rechunking.layout import (
    ByDimension,
    check_names,
    choices_for,
    is_same_chunk,
    laid_out,
)
from zarrds.datasets.rechunking.plan import ArrayPlan, Regridded, plan_array, plan_stored_chunks
from zarrds.engine.chunk_io import Chunks
from zarrds.errors import ConflictError, UnsupportedError, ZarrdsError
from zarrds.metadata.formats import Format, spec_of
from zarrds.metadata.model import ArrayMetadata, GroupMetadata
from zarrds.metadata.nodes.documents import open_nodes, walk
from zarrds.metadata.nodes.lookup import get_group
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store, check_prefix, path_below

__all__ = ["Copied", "Source", "is_as_opened", "open_source", "planned"]

_ANY_DATASET = "Pass it to zarrds.rechunk or zarrds.save, which take any dataset"
# what an element of any length counts as, in bytes
_TEXT_NBYTES = 64
# attributes that name other variables (CF 1.12, appendix A), and members of our notes
_NAMING = (
    "coordinates",
    "bounds",
    "climatology",
    "grid_mapping",
    "cell_measures",
    "ancillary_variables",
    "formula_terms",
)


@dataclass(frozen=True, slots=True)
class Source:
    """What is copied.

    Attributes
    ----------
    store : Store
    base : str
        What paths of the source's nodes begin with, in its store.
    groups, arrays : mapping
        By path below the copied group; ``""`` is that group itself.
    spec : Format
    version : tuple of (str, hashable)
        The key of a document that every change writes anew, and its identity.
    """

    store: Store
    base: str
    groups: Mapping[str, GroupMetadata]
    arrays: Mapping[str, ArrayMetadata]
    spec: Format
    version: tuple[str, Hashable]

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Around what reads it: a `ConflictError` if its documents have been changed since it was opened."""
        try:
            yield
        except ZarrdsError:
            self._check_unchanged()  # that may be why
            raise
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        key, identity = self.version
        if self.store.identity(key) != identity:
            raise ConflictError("the source was changed while it was copied", path=self.store.path, mend="Run it again")


@dataclass(frozen=True, slots=True)
class Copied:
    """One array of a copy.

    Attributes
    ----------
    path : str
        In the copy.
    before, after : ArrayMetadata
    plan : ArrayPlan
        Its path is that in the source.
    """

    path: str
    before: ArrayMetadata
    after: ArrayMetadata
    plan: ArrayPlan

    @property
    def n_chunks(self) -> int:
        """How many values the copy has."""
        return prod(self.after.chunk_grid)


def open_source(
    source: str | os.PathLike[str] | Store | xr.Dataset,
    group: str | None,
    variables: Iterable[str] | None,
    storage_options: Mapping[str, Any] | None,
) -> Source:
    """What to copy.

    Raises
    ------
    StoreNotFoundError, NodeNotFoundError, VariableNotFoundError, UnsupportedError
    """
    opened_at = ""
    if isinstance(source, xr.Dataset):
        store, opened_at = _store_of(source)
        path = f"{opened_at}/{group}".strip("/") if group else opened_at
    else:
        store, path = as_store(source, storage_options), check_prefix((group or "").strip("/"))
    nodes = open_nodes(store, is_sure=True)
    if isinstance(source, xr.Dataset) and variables is None:
        there = nodes.names(opened_at)  # labels of several levels, and those of a range, have no array
        variables = [str(name) for name in source.variables if name in there]
    get_group(store, nodes, path)
    base = f"{path}/" if path else ""
    found = {where.removeprefix(path).removeprefix("/"): node for where, node in walk(nodes, path).items()}
    groups = {where: node for where, node in found.items() if isinstance(node, GroupMetadata)}
    arrays = {where: node for where, node in found.items() if isinstance(node, ArrayMetadata)}
    if variables is not None:
        kept = _with_coordinates(arrays, list(variables), store)
        here = {name: node for name, node in arrays.items() if "/" not in name}
        groups, arrays = {"": with_coordinates_named(groups[""], here, kept)}, kept
    return Source(store, base, groups, arrays, spec_of(nodes), nodes.version)


def _store_of(dataset: xr.Dataset) -> tuple[Store, str]:
    """The store and the group that a dataset was opened from. Raises `UnsupportedError` if it is not as it was then."""
    arrays = {name: _whole_array(lazy_data(variable)) for name, variable in dataset.variables.items()}
    places = {(a.stored.store, a.stored.path.rpartition("/")[0]) for a in arrays.values() if a is not None}
    for name, array in arrays.items():
        if array is None and name not in dataset.xindexes:
            raise _not_as_opened(name)
    if len(places) != 1:
        raise UnsupportedError(
            "the dataset does not come from one store", mend=f"{_ANY_DATASET}, or give the path of the store"
        )
    store, path = places.pop()
    _check_as_opened(dataset, store, path, {n: a.stored.path for n, a in arrays.items() if a is not None})
    return store, path


# how a dataset may have been opened and still be all of what its store says
_WAYS: tuple[Mapping[str, Any], ...] = (
    {},
    {"decode_coords": "all"},
    {"decode_coords": False},
    {"decode_times": False},
    {"decode_cf": False},
)


def _check_as_opened(dataset: xr.Dataset, store: Store, path: str, paths: Mapping[Hashable, str]) -> None:
    """Check that a dataset is all that one of its openings says: but for data, which is still to be read.

    Raises
    ------
    UnsupportedError
    """
    usual = _opened(store, path)
    problems: list[Hashable] = []
    for options in _WAYS:
        changed = _changed(dataset, _opened(store, path, **options) if options else usual, usual, path, paths)
        if changed is None:
            return
        problems.append(changed)
    raise _not_as_opened(problems[0])


def _opened(store: Store, path: str, **options: Any) -> xr.Dataset:
    anything: Any = store  # xarray's types know only paths
    with warnings.catch_warnings():  # what is strange in it was told when it was opened
        warnings.simplefilter("ignore")
        return xr.open_dataset(anything, engine="zarrds", group=path or None, **options)


def _changed(
    dataset: xr.Dataset, stated: xr.Dataset, usual: xr.Dataset, path: str, paths: Mapping[Hashable, str]
) -> Hashable | None:
    """What of a dataset, opened from arrays at `paths`, is not as `stated`; ``"/"`` are its attributes.

    What is a coordinate as it is `usual` may only be named by an attribute where it is opened without roles.
    """
    if not _has_same_attributes(dataset, stated):
        return "/"
    attributes = (dataset.attrs, *(variable.attrs for variable in dataset.variables.values()))
    said = {word for attrs in attributes for word in str(attrs.get("coordinates", "")).split()}
    for name, variable in dataset.variables.items():
        there = stated.variables.get(name)
        if there is None or (there.dims, there.dtype) != (variable.dims, variable.dtype):
            return name
        is_coordinate = name in dataset.coords or name in said
        if is_coordinate != (name in stated.coords or name in usual.coords):
            return name
        if not _has_same_attributes(variable, there):
            return name
        if name in paths:
            is_same = paths[name] == path_below(path, str(name))
        else:  # labels, which were read
            is_same = bool(variable.equals(there))  # type: ignore[no-untyped-call]  # xarray gives it no types
        if not is_same:
            return name
    kinds = {name: type(index) for name, index in stated.xindexes.items()}
    changed = (name for name, index in dataset.xindexes.items() if kinds.get(name) is not type(index))
    # of some variables xarray keeps the coordinates along their dimensions
    dropped = (
        name for name, each in usual.coords.items() if name not in dataset and set(each.dims) <= set(dataset.dims)
    )
    return next(chain(changed, dropped), None)


def _has_same_attributes(one: xr.Dataset | xr.Variable, other: xr.Dataset | xr.Variable) -> bool:
    return xr.Dataset(attrs=one.attrs).identical(xr.Dataset(attrs=other.attrs))


def _not_as_opened(name: Hashable) -> UnsupportedError:
    return UnsupportedError(
        "the dataset is not as it was opened by zarrds",
        key=str(name),
        mend=f"{_ANY_DATASET}, or give the path of its store",
    )


def is_as_opened(dataset: xr.Dataset) -> bool:
    """Whether a dataset is a store, or some variables of it, as zarrds opened it: then it is copied as it is stored."""
    try:
        _store_of(dataset)
    except UnsupportedError:
        return False
    return True


def _whole_array(data: Any) -> LazyArray | None:
    """The stored array that is all of a variable's data, still to be read."""
    data = unwrapped(data)
    if isinstance(data, DeferredIndex) and len(data.waits_for) == 1:
        return _whole_array(lazy_data(data.waits_for[0]))
    if isinstance(data, MappedArray):
        return _whole_array(lazy_data(data.variable))
    return data if isinstance(data, LazyArray) else None


def _with_coordinates(arrays: Mapping[str, ArrayMetadata], chosen: list[str], store: Store) -> dict[str, ArrayMetadata]:
    """The chosen arrays of a group, and what belongs to them: coordinates, and what these name."""
    here = {name: node for name, node in arrays.items() if "/" not in name}
    for name in chosen:
        if name not in here:
            raise unknown_variable(str(name), list(here), store.path)
    dims = {dim for name in chosen for dim in here[name].dimension_names or ()}
    kept: set[str] = set()
    new = {*chosen, *(dim for dim in dims if dim in here)}
    named_anywhere = {word for node in here.values() for word in _words(node)}
    new |= {n for n in named_anywhere & set(here) if set(here[n].dimension_names or ()) <= dims}
    while new:
        kept |= new
        new = {word for name in new for word in _words(here[name]) if word in here} - kept
    return {name: node for name, node in here.items() if name in kept}


def _words(node: ArrayMetadata) -> set[str]:
    """Names that an array's attributes and notes mention."""
    texts = [str(node.attributes.get(name, "")).replace(":", " ") for name in _NAMING]
    found = {word for text in texts for word in text.split()}

    def strings(value: Any) -> Iterable[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            for each in value.values():
                yield from strings(each)
        elif isinstance(value, list):
            for each in value:
                yield from strings(each)

    return found | set(strings(node.extensions.get("zarrds")))


def planned(
    source: Source,
    chunks: ByDimension,
    shards: ByDimension,
    encoding: Mapping[str, Mapping[str, Any]],
    max_memory: int,
    workers: int,
) -> list[Copied]:
    """The arrays of the copy, each with its plan.

    Raises
    ------
    EncodingError, VariableNotFoundError
        If what is asked for does not fit.
    """
    dims = {name for node in source.arrays.values() for name in node.dimension_names or ()}
    check_names(encoding, source.arrays, (chunks, shards), dims)
    copied = []
    for path, before in source.arrays.items():
        try:
            after = laid_out(before, choices_for(path, before, chunks, shards, encoding.get(path, {})))
        except ZarrdsError as error:
            raise error.located(key=path) from error.__cause__
        copied.append(Copied(path, before, after, _plan(source, path, before, after, max_memory, workers)))
    return copied


def _plan(
    source: Source, path: str, before: ArrayMetadata, after: ArrayMetadata, max_memory: int, workers: int
) -> ArrayPlan:
    where = source.base + path
    itemsize = _TEXT_NBYTES if before.data_type.is_variable_length else before.data_type.dtype.itemsize
    array = Regridded(where, before.shape, itemsize, Chunks(source.store, where, before).readable, after.chunks)
    if (after.chunks, after.edges, after.codecs) == (before.chunks, before.edges, before.codecs):
        return plan_stored_chunks(array, "bytes")
    if before.edges is None and before.inner().shards is None and is_same_chunk(before, after):
        return plan_stored_chunks(array, "packed")
    encode_cost = 3 if after.inner().shards else 2
    return plan_array(array, max_memory=max_memory, workers=workers, encode_cost=encode_cost)
