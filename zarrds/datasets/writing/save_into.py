"""Saving into a store that is there: what changes is planned, made and committed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from operator import lt
from typing import Any

import numpy as np
import xarray as xr

from zarrds.arguments import nearest
from zarrds.compat.xarray_internals import is_chunked, lazy_data, variable_of
from zarrds.datasets.encoding.dataset import Encoding, stored_name
from zarrds.datasets.encoding.meaning import decoded_like
from zarrds.datasets.writing.changes import (
    ArrayChange,
    GroupChange,
    Placement,
    UpdateOptions,
    WriteOptions,
    replaced_encodings,
)
from zarrds.datasets.writing.commit.moving import with_labels_loaded
from zarrds.datasets.writing.commit.plan import StorePlan, missing_parents
from zarrds.datasets.writing.commit.transaction import carry_out
from zarrds.datasets.writing.hints import Parts, warn_of_small_chunks
from zarrds.datasets.writing.placing.append import check_same_labels
from zarrds.datasets.writing.plain.evenly_spaced import with_ranges_of, written_out
from zarrds.datasets.writing.plain.to_plain import plain_dataset
from zarrds.datasets.writing.prefetch import chunks_to_prefetch
from zarrds.datasets.writing.room.made_anew import with_arrays_made_anew
from zarrds.datasets.writing.room.making_room import with_room
from zarrds.datasets.writing.sources import reads_from
from zarrds.datasets.writing.stored import StoredGroup, read_group
from zarrds.datasets.writing.stored_documents import GroupToRead
from zarrds.datasets.writing.update import plan_update
from zarrds.errors import (
    EncodingError,
    LabelError,
    NodeNotFoundError,
    ZarrdsError,
    locating_group,
)
from zarrds.metadata.attributes import MARKERS
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.nodes.documents import Nodes, open_nodes, parents_of
from zarrds.metadata.nodes.locking import locked
from zarrds.storage.commits.committer import committer_of
from zarrds.storage.commits.direct_stores import begin_again, check_unchanged, is_begun
from zarrds.storage.protocol import Store, path_below
from zarrds.storage.traits import check_parts

__all__ = ["SaveRequest", "check_there", "save_into"]


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """What is saved into a store that is there, and where: the arguments of `zarrds.save`."""

    parts: Parts
    store: Store
    path: str
    how: UpdateOptions
    options: WriteOptions

    @property
    def sources(self) -> list[xr.Variable]:
        """All variables."""
        return [v for _, dataset, _ in self.parts for v in dataset.variables.values()]


@dataclass(frozen=True, slots=True)
class _Level:
    """What is saved into one group; `levels` are the datasets of all groups."""

    group: str
    dataset: xr.Dataset
    encoding: Encoding
    how: UpdateOptions
    levels: Sequence[xr.Dataset]


def check_there(append_dim: object, region: object, mode: str) -> None:
    """For a store or group that does not exist: there must be nothing to compare with."""
    if append_dim is not None:
        raise LabelError(
            f"append_dim={append_dim!r} does not match any existing dataset dimensions, as there is nothing yet",
            mend="Save the first part without append_dim",
        )
    if region is not None or mode == "r+":
        raise NodeNotFoundError("there is nothing to write into", mend="Save the whole first")


def save_into(asked: SaveRequest, tell: Callable[[Mapping[str, str]], None], nodes: Nodes | None) -> Any:
    """Save into a store that exists; `tell` is that of `save_new`.

    `nodes` are those of the store, without consolidated metadata, if they were just read.
    """
    store, how = asked.store, asked.how
    check_parts(store)
    if (how.append_dim is not None or how.is_in_place) and asked.options.compute:
        parts = [(where, with_labels_loaded(dataset), encoding) for where, dataset, encoding in asked.parts]
        asked = replace(asked, parts=parts)
    # With data at hand, other writers are kept out from the first look to the last write. A dask graph may take days:
    # then it is only made sure at the end that nobody came between. Regions are written side by side.
    alone = how.region is None and not any(is_chunked(variable) for variable in asked.sources)
    with locked(store) if alone else nullcontext():
        save = partial(_save, asked, tell, alone=alone)
        try:
            return save(nodes)
        except ZarrdsError:
            if not (alone and is_begun(store)):
                raise
            begin_again(store)
        return save(None, is_sure=True)


def _save(
    asked: SaveRequest,
    tell: Callable[[Mapping[str, str]], None],
    nodes: Nodes | None,
    *,
    alone: bool,
    is_sure: bool = False,
) -> Any:
    """Plan, and carry it out; `alone` is whether other writers are kept out."""
    store, how, options, sources = asked.store, asked.how, asked.options, asked.sources
    if not store.traits.is_remote:
        committer_of(store).clean()
    plan = _planned_surely(asked) if is_sure else _first_plan(asked, nodes, is_locked=alone)
    if how.region is None and store.traits.is_remote:  # by what the plan has listed; regions are spared the request
        committer_of(store).clean()
    in_place = how.is_region and not reads_from(sources, store)
    if not alone and how.append_dim is None and plan.rewrites:
        read = plan.chunks_rewritten()
        plan = _planned(asked)  # which reads them, after their identities were taken
        plan = replace(plan, versions=plan.versions | read)
        in_place = in_place and not plan.rewrites
    replaced = replaced_encodings(plan.arrays)
    warn_of_small_chunks(plan.arrays)

    def check() -> None:
        tell(replaced)
        if not alone:
            plan.check()

    if not options.compute and reads_from((v for v in sources if v.chunks is not None), store):
        _check_order(plan.arrays)
    again = None
    if not alone and how.append_dim is not None and not reads_from(sources, store):
        again = partial(_planned, asked, before=plan, is_locked=True)
    return carry_out(plan, options, in_place=in_place, check=check, plan_again=again, is_locked=alone)


def _first_plan(asked: SaveRequest, nodes: Nodes | None, *, is_locked: bool) -> StorePlan:
    """A plan from what is there at first sight; if that does not fit together, from all that is there, surely."""
    try:
        return _planned(asked, is_locked=is_locked, nodes=nodes, by_copies=asked.how.is_region)
    except ZarrdsError:
        # arrays whose documents were just being put in place may not have fitted together
        if not is_locked:
            with locked(asked.store):
                return _planned_surely(asked, is_locked=False)
        if not is_begun(asked.store):  # else all of it is done again
            check_unchanged(asked.store)
        raise


def _planned_surely(asked: SaveRequest, *, is_locked: bool = True) -> StorePlan:
    """A plan under the store's lock; if it fails since another writer has changed the store, a `ConflictError`."""
    try:
        return _planned(asked, is_locked=is_locked)
    except ZarrdsError:
        check_unchanged(asked.store)
        raise


def _planned(
    asked: SaveRequest,
    before: StorePlan | None = None,
    *,
    is_locked: bool = False,
    nodes: Nodes | None = None,
    by_copies: bool = False,
) -> StorePlan:
    parts, store, how = asked.parts, asked.store, asked.how
    nodes = nodes or open_nodes(store, like=how.spec, consolidated=False, is_locked=is_locked)
    plan = StorePlan(store, nodes)
    dim = how.append_dim
    if len(parts) > 1 and dim is not None and not any(dim in dataset.dims for _, dataset, _ in parts):
        raise LabelError(
            f"append_dim={dim!r} does not match any existing dataset dimensions of the tree",
            mend=nearest(dim, {d for _, dataset, _ in parts for d in dataset.dims}),
        )
    levels = [dataset for _, dataset, _ in parts]
    dims: dict[str, set[Hashable]] = {}
    for where, dataset, encoding in parts:
        group = "/".join(part for part in (asked.path, where) if part)
        dims[group] = {*dataset.dims}
        with locating_group(group):
            # fetched with the documents, where a change has begun
            is_early = is_locked and not group and is_begun(store)
            chunk_keys = chunks_to_prefetch(store, nodes, dataset, dim) if is_early else ()
            wanted = GroupToRead(store, nodes, group, dataset, chunk_keys, is_locked=is_locked, by_copies=by_copies)
            stored = read_group(wanted, asked.options.workers)
            _plan_group(plan, stored, _Level(group, dataset, encoding, how, levels))
    plan.check_labels_below()
    if dim is not None or len(parts) > 1:
        plan.check_alignment(dims, is_tree=len(parts) > 1)
    if before is not None:
        plan.check_same_groups(before)
    return plan


def _plan_group(plan: StorePlan, stored: StoredGroup | None, level: _Level) -> None:
    """Add what changes in one group to a plan."""
    dataset, how, dim = level.dataset, level.how, level.how.append_dim
    if len(level.levels) > 1 and dim is not None and dim not in dataset.dims:
        # a level without the dimension, which does not grow: what it holds must be what is stored
        dim = dim if stored is not None and dataset.variables and dim in stored.sizes else None
    if stored is None:
        check_there(dim, how.region, how.mode)
        plan.add_parents(missing_parents(plan.store, plan.nodes, level.group))
    change = _group_change(plan, stored, level, dim)
    placement = change.placements.get(str(dim))
    if how.on_overlap == "skip" and placement is not None and _leaves_out(placement, dataset.sizes[dim]):
        # nothing that is left out is to make room, or categories
        kept = replace(level, dataset=dataset.isel({dim: placement.keep}))
        whole = replace(placement, keep=slice(0, kept.dataset.sizes[dim]))
        change = replace(_group_change(plan, stored, kept, dim, {str(dim): whole}), placements=change.placements)
    plan.add(level.group, stored, change)
    if len(level.levels) > 1:
        _check_labels_in_tree(plan, stored, level)
    elif stored is not None and (dim is not None or how.mode == "a"):
        _check_inherited_labels(plan, stored, level)


def _check_inherited_labels(plan: StorePlan, stored: StoredGroup, level: _Level) -> None:
    """Check that labels, new in a group, are those of a group above, by which what stays there is read so far.

    Raises
    ------
    LabelError
    """
    new_ones = [dim for dim in level.dataset.xindexes if dim in level.dataset.dims and str(dim) not in stored.arrays]
    replaced = {stored_name(n) for n in level.dataset.variables} if level.how.append_dim is None else ()
    for name in map(str, new_ones):
        if not any(name in v.dims and n not in replaced for n, v in stored.variables.items()):
            continue
        _check_labels_above(plan, level, name, "Leave them out: in a DataTree the group has those of {above!r}")


def _check_labels_in_tree(plan: StorePlan, stored: StoredGroup | None, level: _Level) -> None:
    """Check that labels that are written are those of groups above that stay: else nothing opens them as a tree.

    Raises
    ------
    LabelError
    """
    mend = "Leave them out, rename the dimension, or save a group that is no part of a tree by itself, with group="
    for name in map(str, level.dataset.xindexes.keys() & level.dataset.sizes.keys()):
        is_written = path_below(level.group, name) in plan.arrays or stored is None or name not in stored.arrays
        if is_written and name != level.how.append_dim and level.how.region is None:
            _check_labels_above(plan, level, name, mend)


def _check_labels_above(plan: StorePlan, level: _Level, name: str, mend: str) -> None:
    """Check that labels of a group are those of the nearest group above that has some, if these stay as stored."""
    for above in reversed(parents_of(level.group)):
        at = path_below(above, name)
        if at in plan.arrays:
            return  # they are written anew, with what lies along them
        node = plan.nodes.get(at)
        if isinstance(node, ArrayMetadata):
            if len(level.levels) > 1 and node.shape != (level.dataset.sizes[name],):
                return  # `StorePlan.check_alignment` tells of sizes, of labels or none
            new = level.dataset[[name]]
            if (there := read_group(GroupToRead(plan.store, plan.nodes, above, new), None)) is not None:
                plain = there.plain(new, {}, {name}).dataset.variables
                # those of several levels, or evenly spaced, have no array of their own
                labels = plain.get(name, new.variables[name].to_base_variable())
                check_same_labels(name, there.variables[name], labels, mend=mend.format(above="/" + above))
            return


def _leaves_out(placement: Placement, size: int) -> bool:
    return len(np.arange(size)[placement.keep]) < size


def _group_change(
    plan: StorePlan,
    stored: StoredGroup | None,
    level: _Level,
    dim: Hashable | None,
    placed: Mapping[str, Placement] | None = None,
) -> GroupChange:
    """What changes in one group, along whose dimension `dim` it grows; `placed` are placements that were found."""
    group, dataset, encoding, how, levels = level.group, level.dataset, level.encoding, level.how, level.levels
    if stored is not None:
        stored, dataset = with_room(*with_arrays_made_anew(stored, decoded_like(dataset, _as_read(stored))))
        dataset = with_ranges_of(dataset, stored.ranges)
        asked = how.region if isinstance(how.region, Mapping) else dataset.dims if how.region is not None else ()
        parts = {n for n in (*asked, dim) if stored.sizes.get(str(n))}
        others = {*stored.notes.ranges, *stored.notes.multi_indexes}
        dataset = written_out(dataset, stored.sizes if how.mode == "r+" else parts, stored.ranges, others)
    region = plan.region_of(group, dataset, how.region)
    if stored is None:
        plain = plain_dataset(dataset, asked=encoding)
    else:
        # labels in a region are not written
        labels = dataset.xindexes if how.region is not None else ()
        kept = {stored_name(n) for n in labels if dim not in dataset.variables[n].dims}
        plain = stored.plain(dataset, encoding, kept)
    inherited = {**plan.placements_above(group), **(placed or {})}
    how = replace(how, region=region, grows=dim is not None, inherited=inherited)
    if len(levels) > 1 and how.append_dim is None and isinstance(region, Mapping):
        how = _of_level(how, dataset, levels)
    return plan_update(plain, encoding, stored, how)


def _as_read(stored: StoredGroup) -> dict[str, xr.Variable]:
    """Stored variables, those of bytes whose description says what is missing without the marker in their attributes.

    By that an undecoded array counts for stored as it is, and what is missing in it for characters.
    """
    variables = dict(stored.variables)
    for name in stored.notes.descriptions.keys() & variables.keys():
        there = variables[name]
        if there.dtype.kind == "S" and not there.attrs.keys().isdisjoint(MARKERS):
            attrs = {key: value for key, value in there.attrs.items() if key not in MARKERS}
            variables[name] = variable_of(there.dims, lazy_data(there), attrs, there.encoding)
    return variables


def _of_level(how: UpdateOptions, dataset: xr.Dataset, levels: Sequence[xr.Dataset]) -> UpdateOptions:
    """What is asked of one level of a tree that is written to a region, of which it may have some dimensions, or none.

    As in appends, what a level without any holds must be what is stored.
    """
    if not all(any(dim in level.dims for level in levels) for dim in how.region):
        return how  # which is refused
    region = {dim: part for dim, part in how.region.items() if dim in dataset.dims}
    if region or not how.region:
        return replace(how, region=region)
    return replace(how, region=None, append_dim=next(iter(how.region)), grows=False)


def _check_order(arrays: Mapping[str, ArrayChange]) -> None:
    """Check that nothing is overwritten that is only read later, chunk by chunk."""
    for path, change in arrays.items():
        is_stored = change.before is not None and all(map(lt, change.start, change.before.shape))
        if is_stored and change.variable.size:
            raise EncodingError(
                "some of the data is still to be read from the store that it would change",
                key=path,
                mend="Leave out compute=False, or write only what is new with it",
            )
