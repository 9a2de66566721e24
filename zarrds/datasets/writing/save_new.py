"""Saving what is to stand where nothing is, or in the place of what is there: a whole store, or a group of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from zarrds.chunk_statistics.keeping import put_statistics
from zarrds.datasets.encoding.dataset import encode_variable, prepared
from zarrds.datasets.encoding.new_variable import NewVariable
from zarrds.datasets.writing.attributes import new_group
from zarrds.datasets.writing.changes import ArrayChange, WriteOptions, replaced_encodings
from zarrds.datasets.writing.commit.array_writes import write_all, writes_of
from zarrds.datasets.writing.commit.conflicts import check_groups
from zarrds.datasets.writing.commit.later import finish_later
from zarrds.datasets.writing.commit.new_store import Target, find_target, staged
from zarrds.datasets.writing.commit.noting import later_and_after, touched_by
from zarrds.datasets.writing.commit.order import with_order
from zarrds.datasets.writing.commit.other_keys import with_other_keys
from zarrds.datasets.writing.commit.plan import StorePlan, missing_parents
from zarrds.datasets.writing.commit.transaction import carry_out
from zarrds.datasets.writing.hints import Parts
from zarrds.datasets.writing.plain.to_plain import plain_dataset
from zarrds.datasets.writing.sources import reads_from
from zarrds.errors import (
    EncodingError,
    locating_group,
)
from zarrds.metadata.formats import v3
from zarrds.metadata.model import GroupMetadata, Node
from zarrds.metadata.nodes.documents import open_nodes
from zarrds.storage.commits.committer import committer_of
from zarrds.storage.commits.direct_stores import ReplacedStore
from zarrds.storage.protocol import path_below
from zarrds.storage.traits import check_parts, has_trait

__all__ = ["save_new"]


def save_new(parts: Parts, target: Target, options: WriteOptions, tell: Callable[[Mapping[str, str]], None]) -> Any:
    """Save what is to stand where nothing is, or in the place of what is there.

    Parameters
    ----------
    parts : list of (path, dataset, encoding)
    target : Target
    options : WriteOptions
    tell : callable
        Called with why encodings were replaced, by path, once all is written and nothing is visible yet: an error that
        it raises calls all off.
    """
    store = target.store
    if not (target.is_whole and options.compute):
        check_parts(store)
    sources = (variable for _, dataset, _ in parts for variable in dataset.variables.values())
    if not options.compute and target.replace and reads_from(sources, store):
        raise EncodingError(
            "the data is still to be read from the store that it would replace",
            path=store.path,
            mend="Leave out compute=False, or save to another store",
        )
    groups: dict[str, GroupMetadata] = {}
    arrays: dict[str, ArrayChange] = {}
    standing = target.standing if target.spec is v3 and has_trait(store, ReplacedStore) else None
    for where, dataset, encoding in parts:
        path = (target.base + where).rstrip("/")
        with locating_group(path):
            plain = plain_dataset(dataset, asked=encoding)
            attributes, variables = prepared(plain.dataset, encoding)
            groups[path] = new_group(attributes, plain.dataset, target.spec)
            for name, variable in variables.items():
                new = NewVariable(name, variable, name in encoding)
                encoded = encode_variable(new, target.spec, plain.notes.get(name))
                start = (0,) * variable.ndim
                whole, metadata = path_below(path, name), encoded.metadata
                if standing is not None and "chunk_key_encoding" not in encoding.get(name, {}):
                    metadata = with_other_keys(metadata, whole, standing)
                arrays[whole] = ArrayChange(
                    None, metadata, encoded.variable, start, encoded.replaced, encoded.write_empty_chunks
                )
    replaced = replaced_encodings(arrays)
    committer_of(store).clean()
    if target.is_whole:
        return _save_whole(target, groups, arrays, options, lambda: tell(replaced))
    nodes = open_nodes(store, like=target.spec, consolidated=False)
    parents = missing_parents(store, nodes, target.group)

    def check() -> None:
        tell(replaced)
        # another writer may have come first
        find_target(store, target.group, "w" if target.replace else "w-", target.spec.zarr_format)
        check_groups(store, dict.fromkeys(parents), target.spec)

    return carry_out(StorePlan(store, nodes, arrays, parents | groups), options, replaced=target.group, check=check)


def _save_whole(
    target: Target,
    groups: Mapping[str, GroupMetadata],
    arrays: dict[str, ArrayChange],
    options: WriteOptions,
    tell: Callable[[], None],
) -> Any:
    later, after = later_and_after(arrays, options)
    touched = touched_by(((path, change) for path, change in arrays.items() if path not in later), after)
    n_chunks = sum(prod(change.after.chunk_grid) for path, change in arrays.items() if path not in later)
    nodes: dict[str, Node] = {**groups, **after}
    labels = {p: c for p, c in arrays.items() if p not in later and c.variable.dims == (p.rpartition("/")[2],)}
    is_full = not later and not touched and all(map(options.writes_empty, arrays.values()))
    with staged(target, nodes, n_chunks, options.workers, is_full=is_full) as stage:
        # encoded copies of the data go as soon as they are written
        changes = ((path, arrays.pop(path)) for path in list(arrays) if path not in later)
        write_all(writes_of(stage, changes, options, touched=touched), n_chunks, options)
        put_statistics(stage, stage, touched)
        nodes |= {path: with_order(stage, path, change, after[path]) for path, change in labels.items()}
        tell()
    return None if options.compute else finish_later(target.store, after, later, options)
