"""``zarrds.save``: a Dataset, DataArray or DataTree to a store."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from math import prod
from operator import lt
from typing import Any, Literal

import xarray as xr

from zarrds.compat.xarray_internals import is_chunked
from zarrds.datasets.encoding.dataset import datasets_of, encode_variable, prepared
from zarrds.datasets.encoding.meaning import decoded_like
from zarrds.datasets.writing.append import ON_OVERLAP, ON_UNORDERED, OnOverlap, OnUnordered
from zarrds.datasets.writing.attributes import new_group
from zarrds.datasets.writing.conflicts import check_groups
from zarrds.datasets.writing.evenly_spaced import with_ranges_of
from zarrds.datasets.writing.hints import Parts, warn_of, with_chunks, with_loaded, with_objects_loaded, without_hint
from zarrds.datasets.writing.making_room import with_room
from zarrds.datasets.writing.moving import with_labels_loaded
from zarrds.datasets.writing.new_store import Target, find_target, staged
from zarrds.datasets.writing.noting import put_statistics, touched_by
from zarrds.datasets.writing.order import with_order
from zarrds.datasets.writing.plain import plain_dataset
from zarrds.datasets.writing.plan import StorePlan
from zarrds.datasets.writing.sources import reads_from
from zarrds.datasets.writing.stored import read_group
from zarrds.datasets.writing.transaction import Options, carry_out, finish_later, later_and_after, write_all, writes_of
from zarrds.datasets.writing.update import ArrayChange, How, plan_update
from zarrds.engine.progress import ProgressOption
from zarrds.errors import (
    BlocksOfTextError,
    CarriedEncodingError,
    EncodingError,
    LabelError,
    NodeNotFoundError,
    StoreNotFoundError,
    ZarrdsError,
    locating,
)
from zarrds.metadata.documents import Nodes, locked, open_nodes, parents_of, zarr_format_of
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node, ZarrFormat
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store, check_prefix
from zarrds.storage.traits import check_parts, check_unchanged

__all__ = ["save"]

Mode = Literal["w", "w-", "a", "a-", "r+"]
_MODES = ("w", "w-", "a", "a-", "r+")


def save(
    obj: xr.Dataset | xr.DataArray | xr.DataTree,
    store: str | os.PathLike[str] | Store,
    *,
    group: str | None = None,
    mode: Mode | None = None,
    encoding: Mapping[Any, Any] | None = None,
    append_dim: Hashable | None = None,
    region: Mapping[Any, slice | Literal["auto"]] | Literal["auto"] | None = None,
    on_overlap: OnOverlap = "error",
    on_unordered: OnUnordered = "error",
    zarr_format: ZarrFormat | None = None,
    compute: bool = True,
    durable: bool = True,
    write_empty_chunks: bool | None = None,
    write_inherited_coords: bool = False,
    chunkmanager_store_kwargs: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: ProgressOption = False,
    workers: int | None = None,
    chunks: Mapping[Any, int] | None = None,
    statistics: bool | None = None,
    consolidated: bool | None = None,
    safe_chunks: bool | None = None,
    align_chunks: bool | None = None,
) -> Any:
    """Save a Dataset, DataArray or DataTree.

    Everything is encoded and checked before anything is written, and appears at once when all of it is written: a
    save that fails, or is killed, leaves what was there before. Only a region is written chunk by chunk: each chunk is
    replaced as a whole, but a region of which the writing fails may be half written.

    Parameters
    ----------
    obj : Dataset, DataArray or DataTree
        In memory, lazily opened (also from this very store), or of dask arrays in blocks of any size.
    store : str, os.PathLike or Store
    group : str, optional
        The group to save into; the root unless said.
    mode : {"w-", "w", "a", "a-", "r+"}, optional
        - ``"w-"``: an error if the store, or the group, exists;
        - ``"w"``: replaces it;
        - ``"a"``: adds what is new, and overwrites variables that exist, data and attributes, in the encoding that they
          have. Of the group's attributes those that are given are replaced;
        - ``"a-"``: as ``"a"``, but with `append_dim` leaves variables without that dimension as they are;
        - ``"r+"``: writes data of variables that exist, and nothing else.

        Unless said it is ``"a"`` with `append_dim`, ``"r+"`` with `region`, else ``"w-"``. A dataset that was opened
        before its labels were replaced raises `ConflictError` when more of it is read.
    encoding : mapping, optional
        For each variable name a mapping with some of ``chunks``, ``shards``, ``compressors``, ``filters``,
        ``serializer``, ``fill_value``, ``chunk_key_encoding``, and of xarray's CF encodings (``dtype``,
        ``scale_factor``, ``units``, ``_FillValue``, …); ``zlib``, ``complevel``, ``shuffle``, ``chunksizes``,
        ``contiguous``, ``fletcher32`` and ``endian`` are understood too. It takes the place of the variable's own
        encoding, and is an error for variables that exist. For a DataTree, a mapping of group paths to such mappings.
    append_dim : hashable, optional
        Write behind what is there along this dimension. All variables that have it must come; those
        without it must be equal to the stored ones; labels along it must go on as the stored ones do. Of a DataTree all
        groups that have the dimension grow, in one step.
    region : mapping or "auto", optional
        Write into a part of the variables that exist: for each dimension a slice of integers, or ``"auto"``, which
        finds where the labels of the dataset stand in the store. Coordinates that come along, and variables that say
        the same as coordinates do (``sample_id``, ``variant_position``), must be those stored there. Text that is
        longer than the stored one, times finer than their units, nullable integers that are larger and what is missing
        where nothing was may take that the whole array is read and written anew, up to 256 MiB, in one commit.
    on_overlap : {"error", "replace", "skip", "append"}
        What happens to labels along `append_dim` that are stored already: an error, or their data is written over
        the stored data, or it is left out; with these two, the same append may be run again. ``"append"`` stores them
        once more, as the records of one site, or positions of the next chromosome; then new labels may repeat.
    on_unordered : {"error", "append"}
        What happens to numbers or times along `append_dim` that do not go on increasing, or decreasing, as the stored
        ones do: an error, or they are appended all the same, as ids of stations or members of an ensemble.
    zarr_format : {3, 2}, optional
        3 unless said, or that of the store that exists.
    compute : bool
        False writes metadata and what is no dask array at once, and returns a ``dask.delayed.Delayed`` that will write
        the rest, chunk by chunk. Until then it reads as fill values. dask arrays of objects are computed at once: what
        they hold, and what it is missing as, decides how they are stored.
    durable : bool
        Wait until everything is on the disk: then a power cut after `save` has returned loses nothing, and one before
        that leaves the old dataset or the new one. False leaves it to the operating system when to write.
    write_empty_chunks : bool, optional
        False leaves out chunks that hold nothing but the fill value. A chunk of such an array that is lost
        later cannot be told from one that was left out; otherwise a lost chunk is an error.
    write_inherited_coords : bool
        For a DataTree, write inherited coordinates in every group.
    chunkmanager_store_kwargs : mapping, optional
        Further arguments of ``dask.array.store``.
    storage_options : mapping, optional
        For URLs, what fsspec's file system is to be made with; ignored for local paths.
    progress : bool or callable
        True shows a progress bar (needs tqdm); a function is called with the chunks done and those to do.
    workers : int, optional
        Threads for writing arrays that are in memory, 1 for none; unless said as many as cores, or more where the store
        waits.

    chunks : mapping, optional
        Elements of a chunk along some dimensions, -1 for all: of each variable that is new in the store, has one of
        these dimensions and no ``chunks`` in `encoding`. The labels of a dimension keep long chunks of their own.
    statistics : bool, optional
        True notes what is in each chunk, as `zarrds.index` does, in the same commit, for `zarrds.find`; each chunk is
        read back for that. Unless said it is done for variables that have such statistics already; False drops them.
    consolidated, safe_chunks, align_chunks : bool, optional
        Taken for calls that were written for ``Dataset.to_zarr``: metadata is always consolidated, and writes are safe
        whatever the chunks are; ``consolidated=False`` is an error.

    Returns
    -------
    None or dask.delayed.Delayed

    Raises
    ------
    StoreExistsError, StoreNotFoundError
        If something stands there already, or nothing does, as `mode` has it.
    LabelError, LabelNotFoundError
        If labels, sizes or variables do not fit those in the store.
    EncodingError, UnsupportedError
        For data, attributes, encodings or options that cannot be stored, naming the variable; nothing was written then.
    ConflictError
        If another writer changed the same variables meanwhile; nothing was written then, and it can be tried again.
    StoreIOError
        If the file system refuses. Nothing has changed then, but for the chunks of a region; only if it refuses after
        the instant from which the save counts, the save is made, or finished by who opens the store next.

    Examples
    --------
    >>> import xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> day = xr.Dataset({"t2m": ("time", [280.5, 281.0])}, {"time": [0, 1]})
    >>> zarrds.save(day, store, encoding={"t2m": {"dtype": "f4"}})
    >>> zarrds.save(day.assign_coords(time=[2, 3]), store, append_dim="time")
    >>> xr.open_dataset(store, engine="zarrds").t2m.values
    array([280.5, 281. , 280.5, 281. ], dtype=float32)
    """
    mode = _checked_mode(mode, append_dim, region)
    _check_one_of("on_overlap", on_overlap, ON_OVERLAP)
    _check_one_of("on_unordered", on_unordered, ON_UNORDERED)
    if isinstance(region, Mapping) and not region:
        region = None  # which is all
    target_store = as_store(store, storage_options).as_durable(durable)
    if group is not None and not isinstance(group, str):
        raise EncodingError("group must be a path", expected="text, as 'a/b'", found=f"{group!r:.80}")
    path = check_prefix((group or "").strip("/"), target_store.path)
    if consolidated is False:
        raise EncodingError("metadata is always consolidated", found="consolidated=False", mend="Leave it out")
    options = Options(
        compute, write_empty_chunks is not False, progress, workers, chunkmanager_store_kwargs, statistics
    )
    with locating(target_store.path):
        existing = None if mode in ("w", "w-") else zarr_format_of(target_store)
        parts = with_chunks(list(datasets_of(obj, encoding or {}, write_inherited_coords)), chunks or {})
        if existing is None and mode not in ("w", "w-"):
            if mode == "r+":
                raise StoreNotFoundError("no Zarr store here", mend="Pass mode='w-' to make one")
            with _inside(path):
                _check_there(append_dim, region, mode)
        if existing is not None and zarr_format not in (None, existing):
            raise EncodingError(f"store is of Zarr format {existing}", found=f"zarr_format={zarr_format}")
        parts = parts if compute else with_objects_loaded(parts)
        late: dict[str, str] = {}
        while True:
            replaced: dict[str, str] = {}
            try:
                if existing is None:
                    new: Literal["w", "w-"] = "w" if mode == "w" else "w-"
                    target = find_target(target_store, path, new, zarr_format)
                    result = _save_new(parts, target, options, replaced)
                else:
                    how = How(mode, append_dim, region, on_overlap, on_unordered, existing)  # type: ignore[arg-type]  # no "w"
                    result = _save_into(parts, target_store, path, how, options, replaced)
            except CarriedEncodingError as error:  # of a dask block; nothing is visible yet
                parts = without_hint(parts, error, late)
            except BlocksOfTextError as error:  # as well
                parts = with_loaded(parts, error)
            else:
                warn_of(late | replaced)
                return result


def _checked_mode(mode: Mode | None, append_dim: object, region: object) -> Mode:
    known: Mode = mode or ("a" if append_dim is not None else "r+" if region is not None else "w-")
    if known not in _MODES:
        raise EncodingError("unknown mode", expected="one of " + ", ".join(map(repr, _MODES)), found=repr(mode))
    if append_dim is not None and known not in ("a", "a-"):
        raise EncodingError("cannot set append_dim unless mode='a', mode='a-' or mode=None", found=f"mode={mode!r}")
    if region is not None and known not in ("a", "a-", "r+"):
        raise EncodingError(
            "cannot set region unless mode='a', mode='a-', mode='r+' or mode=None", found=f"mode={mode!r}"
        )
    return known


def _check_one_of(option: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        expected = "one of " + ", ".join(map(repr, known))
        raise EncodingError(f"unknown {option}", expected=expected, found=f"{value!r:.80}")


def _check_there(append_dim: object, region: object, mode: Mode) -> None:
    """For a store or group that does not exist: there must be nothing to compare with."""
    if append_dim is not None:
        raise LabelError(
            f"append_dim={append_dim!r} does not match any existing dataset dimensions, as there is nothing yet",
            mend="Save the first part without append_dim",
        )
    if region is not None or mode == "r+":
        raise NodeNotFoundError("there is nothing to write into", mend="Save the whole first")


def _save_new(parts: Parts, target: Target[Store], options: Options, replaced: dict[str, str]) -> Any:
    """Save what is to stand where nothing is, or in the place of what is there; `replaced` gets why encodings were."""
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
    for where, dataset, encoding in parts:
        path = (target.base + where).rstrip("/")
        with _inside(path):
            plain = plain_dataset(dataset, asked=encoding)
            attributes, variables = prepared(plain.dataset, encoding)
            groups[path] = new_group(attributes, plain.dataset.attrs, target.zarr_format)
            for name, variable in variables.items():
                encoded = encode_variable(name, variable, name in encoding, target.zarr_format, plain.notes.get(name))
                start = (0,) * variable.ndim
                change = ArrayChange(
                    None, encoded.metadata, encoded.variable, start, encoded.replaced, encoded.write_empty_chunks
                )
                arrays[f"{path}/{name}" if path else name] = change
    replaced |= _replaced(arrays)
    store.clean()
    if target.is_whole:
        return _save_whole(target, groups, arrays, options)
    nodes = open_nodes(store, zarr_format=target.zarr_format, consolidated=False)
    parents = _missing_parents(store, nodes, target.group, target.zarr_format)
    groups = parents | groups

    def check() -> None:
        # another writer may have come first
        find_target(store, target.group, "w" if target.replace else "w-", target.zarr_format)
        check_groups(store, dict.fromkeys(parents), target.zarr_format)

    return carry_out(store, arrays, groups, {}, options, replaced=target.group, check=check)


def _save_whole(
    target: Target[Store],
    groups: Mapping[str, GroupMetadata],
    arrays: dict[str, ArrayChange],
    options: Options,
) -> Any:
    later, after = later_and_after(arrays, options)
    touched = touched_by(((path, change) for path, change in arrays.items() if path not in later), after)
    n_chunks = sum(prod(change.after.chunk_grid) for path, change in arrays.items() if path not in later)
    nodes: dict[str, Node] = {**groups, **after}
    labels = {p: c for p, c in arrays.items() if p not in later and c.variable.dims == (p.rpartition("/")[2],)}
    with staged(target, nodes, n_chunks, options.workers) as stage:
        # encoded copies of the data go as soon as they are written
        changes = ((path, arrays.pop(path)) for path in list(arrays) if path not in later)
        write_all(writes_of(stage, changes, options, touched=touched), n_chunks, options)
        put_statistics(stage, stage, touched)
        nodes |= {path: with_order(stage, path, change, after[path]) for path, change in labels.items()}
    return None if options.compute else finish_later(target.store, after, later, options)


def _replaced(arrays: Mapping[str, ArrayChange]) -> dict[str, str]:
    return {path: change.replaced for path, change in arrays.items() if change.replaced is not None}


def _save_into(parts: Parts, store: Store, path: str, how: How, options: Options, replaced: dict[str, str]) -> Any:
    """Save into a store that exists."""
    check_parts(store)
    if (how.append_dim is not None or how.is_in_place) and options.compute:
        parts = [(where, with_labels_loaded(dataset), encoding) for where, dataset, encoding in parts]
    sources = [v for _, dataset, _ in parts for v in dataset.variables.values()]
    # With data at hand, other writers are kept out from the first look to the last write. A dask graph may take days:
    # then it is only made sure at the end that nobody came between. Regions are written side by side.
    alone = how.region is None and not any(is_chunked(variable) for variable in sources)
    with locked(store) if alone else nullcontext():
        if how.region is None or not store.is_remote:  # where each look costs a request, saves that are rarer do it
            store.clean()
        try:
            plan = _planned(parts, store, path, how, options)
        except ZarrdsError:
            if alone:
                check_unchanged(store)
                raise
            # arrays whose documents were just being put in place may not have fitted together
            with locked(store):
                plan = _planned(parts, store, path, how, options)
        in_place = how.region is not None and how.append_dim is None and not reads_from(sources, store)
        read: dict[str, Hashable] = {}
        if not alone and how.append_dim is None and plan.rewrites:
            read = plan.chunks_rewritten()
            plan = _planned(parts, store, path, how, options)  # which reads them, after their identities were taken
            in_place = in_place and not plan.rewrites
        replaced |= _replaced(plan.arrays)
        if not options.compute and reads_from((v for v in sources if v.chunks is not None), store):
            _check_order(plan.arrays)
        if alone:
            return carry_out(store, plan.arrays, plan.groups, plan.versions, options)
        again = None
        if how.append_dim is not None and not reads_from(sources, store):
            again = partial(_planned, parts, store, path, how, options, before=plan)
        return carry_out(
            store,
            plan.arrays,
            plan.groups,
            {**plan.versions, **read},
            options,
            in_place=in_place,
            check=plan.check,
            plan_again=again,
        )


def _planned(
    parts: Parts, store: Store, path: str, how: How, options: Options, before: StorePlan | None = None
) -> StorePlan:
    nodes = open_nodes(store, zarr_format=how.zarr_format, consolidated=False)
    plan = StorePlan(store, nodes)
    dim = how.append_dim
    is_tree = len(parts) > 1
    if is_tree and dim is not None and not any(dim in dataset.dims for _, dataset, _ in parts):
        raise LabelError(f"append_dim={dim!r} does not match any existing dataset dimensions of the tree")
    for where, dataset, encoding in parts:
        group = "/".join(part for part in (path, where) if part)
        with _inside(group):
            stored = read_group(store, nodes, group, dataset, options.workers)
            its_dim = dim
            if is_tree and dim is not None and dim not in dataset.dims:
                # a level without the dimension, which does not grow: what it holds must be what is stored
                its_dim = dim if stored is not None and dataset.variables and dim in stored.sizes else None
            if stored is None:
                _check_there(its_dim, how.region, how.mode)
                plan.add_parents(_missing_parents(store, nodes, group, how.zarr_format))
            else:
                stored, dataset = with_room(stored, decoded_like(dataset, stored.variables))
                dataset = with_ranges_of(dataset, stored.ranges)
            its_region = plan.region_of(group, dataset, how.region)
            if stored is None:
                plain = plain_dataset(dataset, asked=encoding)
            else:
                plain = stored.plain(dataset, encoding, may_extend=not how.is_in_place)
            its_how = replace(how, region=its_region, grows=its_dim is not None, inherited=plan.placements_above(group))
            plan.add(group, stored, plan_update(plain, encoding, stored, its_how))
    plan.check_labels_below()
    if dim is not None:
        plan.check_alignment()
    if before is not None:
        plan.check_same_groups(before)
    return plan


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


def _missing_parents(store: Store, stored: Nodes, group: str, zarr_format: ZarrFormat) -> dict[str, GroupMetadata]:
    missing = {}
    for parent in parents_of(group):
        node = stored.get(parent)
        if isinstance(node, ArrayMetadata):
            raise NodeNotFoundError("an array cannot hold groups", path=store.path, key=parent or "/")
        if node is None:
            missing[parent] = GroupMetadata(zarr_format=zarr_format)
    return missing


@contextmanager
def _inside(group: str) -> Iterator[None]:
    """Put the group before the names of variables in errors; those that name their store have keys from its root."""
    try:
        yield
    except ZarrdsError as error:
        if group and error.key is None:
            error.key = group
        elif group and error.path is None:
            error.key = f"{group}/{error.key}"
        raise
