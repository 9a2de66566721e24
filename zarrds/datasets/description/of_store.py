"""Facts of a group of a store, by its documents; only of labels the first and the last are read."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import xarray as xr

from zarrds.arguments import nearest
from zarrds.datasets.description.model import Info, VariableInfo
from zarrds.datasets.description.of_dataset import ends_of, index_kind
from zarrds.datasets.description.stored import sizes_of_arrays
from zarrds.datasets.encoding.attributes import attributes_of, visible_attributes
from zarrds.display.codecs import codec_texts
from zarrds.errors import VariableNotFoundError, ZarrdsError, locating
from zarrds.metadata.extension import marks_of, unlimited_dims
from zarrds.metadata.model import ArrayMetadata, GroupMetadata
from zarrds.metadata.nodes.documents import Nodes, open_nodes
from zarrds.metadata.nodes.lookup import get_node
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store, check_prefix, path_below

__all__ = ["facts_of_store", "unknown_variable"]


@dataclass(frozen=True, slots=True)
class _Group:
    """A group, and what lies directly below it, by name; of what cannot be read, why."""

    path: str
    node: GroupMetadata
    arrays: Mapping[str, ArrayMetadata]
    groups: tuple[str, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)


def facts_of_store(
    store: str | os.PathLike[str] | Store,
    *,
    group: str | None,
    variables: Collection[str] | None,
    stored: bool,
    storage_options: Mapping[str, Any] | None,
) -> Info:
    """The facts of one group, or of one array; the parameters are those of `zarrds.info`."""
    opened = as_store(store, storage_options)
    path = check_prefix((group or "").strip("/"), opened.path)
    with locating(opened.path):
        nodes = open_nodes(opened)
        node = get_node(opened, nodes, path)
        if isinstance(node, ArrayMetadata):
            parent, _, name = path.rpartition("/")
            return _info(
                opened, _Group(parent, GroupMetadata(zarr_format=nodes.zarr_format), {name: node}), stored=stored
            )
        there = _group(nodes, path, node)
        if variables is not None:
            for wanted in variables:
                if wanted not in there.arrays:
                    raise unknown_variable(wanted, there.arrays, opened.path)
            chosen = {name: array for name, array in there.arrays.items() if name in set(variables)}
            there = replace(there, arrays=chosen)
        return _info(opened, there, stored=stored)


def unknown_variable(name: str, there: Collection[str], path: str | None) -> VariableNotFoundError:
    """An error that offers the nearest names, or else lists those that there are."""
    return VariableNotFoundError("no such variable", path=path, key=name, mend=nearest(name, there))


def _group(nodes: Nodes, path: str, group: GroupMetadata) -> _Group:
    """A group with what can be read below it: one strange array does not hide the others."""
    arrays: dict[str, ArrayMetadata] = {}
    groups: list[str] = []
    problems: dict[str, str] = {}
    for name in nodes.names(path):
        try:
            node = nodes.get(path_below(path, name))
        except ZarrdsError as error:
            problems[name] = f"{name} cannot be read: {error}"
            continue
        if isinstance(node, ArrayMetadata):
            arrays[name] = node
        elif node is not None:
            groups.append(name)
    return _Group(path, group, arrays, tuple(groups), problems)


def _info(store: Store, group: _Group, *, stored: bool) -> Info:
    path, arrays = group.path, group.arrays
    found, problems = {}, dict(group.problems)
    for name, metadata in arrays.items():
        try:
            found[name] = _variable(name, metadata)
        except ZarrdsError as error:
            problems[name] = f"{name} cannot be read: {error}"
    dimensions: dict[str, int] = {}
    for each in found.values():
        for dim, size in zip(each.dims, each.shape, strict=True):
            dimensions.setdefault(dim, size)
    if "" not in arrays:  # a store that is one array has no labels
        try:
            found = _with_labels(store, path, found, problems)
        except (ZarrdsError, ValueError, TypeError) as error:  # of xarray's decoders, for what they cannot decode
            problems = {**problems, "": f"labels cannot be shown: {error}"}
    if stored:
        paths = {path_below(path, name): arrays[name] for name in found}
        sizes = sizes_of_arrays(store, paths)
        found = {
            name: replace(each, stored=sizes[where]) for where, (name, each) in zip(paths, found.items(), strict=True)
        }
    ordered = sorted(found.values(), key=lambda v: not v.is_coordinate)
    attributes = visible_attributes(group.node)
    told = tuple(problems.values())
    return Info(
        store.path,
        f"/{path}",
        group.node.zarr_format,
        dimensions,
        tuple(ordered),
        attributes,
        group.groups,
        told,
        unlimited_dims(group.node, dimensions),
    )


def _variable(name: str, metadata: ArrayMetadata) -> VariableInfo:
    chunks, _, shards = metadata.inner()
    names = metadata.dimension_names or (None,) * len(metadata.shape)
    complete = marks_of(metadata).complete
    data_type = metadata.data_type
    return VariableInfo(
        name=name,
        dims=tuple(f"dim_{i}" if dim is None else dim for i, dim in enumerate(names)),
        shape=metadata.shape,
        dtype=data_type.dtype.name if data_type.dtype.kind in "biufc" else data_type.name,
        is_coordinate=metadata.dimension_names == (name,),
        chunks=chunks,
        shards=shards,
        edges=metadata.edges,
        codecs=codec_texts(metadata.codecs),
        attributes=attributes_of(metadata),
        nbytes=None if data_type.is_variable_length else prod(metadata.shape) * data_type.dtype.itemsize,
        is_complete=None if complete is None else all(map(int.__ge__, complete, metadata.shape)),
    )


def _with_labels(
    store: Store, path: str, found: dict[str, VariableInfo], strange: Collection[str]
) -> dict[str, VariableInfo]:
    """The same variables; those that are coordinates with their index, and the labels at both ends."""
    anything: Any = store  # of whose type xarray's annotations know nothing
    with warnings.catch_warnings():
        # that an index is read which cannot be searched where it lies: nobody has asked for the one or the other
        warnings.filterwarnings("ignore", "the .* labels of .* are read into memory", UserWarning)
        opened = xr.open_dataset(anything, engine="zarrds", group=path or None, index="lazy", drop_variables=[*strange])
    with opened as ds:
        return {
            name: replace(each, is_coordinate=True, index=index_kind(ds, name), labels=ends_of(ds, name))
            if name in ds.coords
            else each
            for name, each in found.items()
        }
