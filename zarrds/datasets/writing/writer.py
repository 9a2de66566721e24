"""``zarrds.save``: a Dataset, DataArray or DataTree to a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from contextlib import ExitStack
from typing import Any, Literal

import xarray as xr

from zarrds.arguments import check_choice, check_dims, check_flags, check_mappings, check_numbers, check_texts
from zarrds.compat.xarray_internals import is_chunked
from zarrds.datasets.encoding.dataset import datasets_of
from zarrds.datasets.writing.changes import (
    ON_OVERLAP,
    ON_UNORDERED,
    OnOverlap,
    OnUnordered,
    UpdateOptions,
    WriteOptions,
)
from zarrds.datasets.writing.commit.new_store import find_target
from zarrds.datasets.writing.hints import Parts, warn_of, with_chunks, with_loaded, with_objects_loaded, without_hint
from zarrds.datasets.writing.save_into import SaveRequest, check_there, save_into
from zarrds.datasets.writing.save_new import save_new
from zarrds.engine.progress import ProgressOption, check_progress
from zarrds.errors import (
    BlocksOfTextError,
    CarriedEncodingError,
    EncodingError,
    StoreNotFoundError,
    locating,
    locating_group,
)
from zarrds.metadata.formats import Format, spec_of
from zarrds.metadata.model import ZarrFormat
from zarrds.metadata.nodes.documents import Nodes, open_nodes, spec_there
from zarrds.metadata.nodes.locking import locked
from zarrds.storage.commits.committer import as_durable
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store, check_prefix

__all__ = ["save"]

Mode = Literal["w", "w-", "a", "a-", "r+"]
_MOST_AT_ONCE = 2**28  # bytes of data for which other machines are kept out until all is made
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
        For URLs, arguments of fsspec's file system; ignored for local paths.
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
    check_texts(mode=mode, group=group)
    check_mappings(encoding=encoding, chunks=chunks, chunkmanager_store_kwargs=chunkmanager_store_kwargs)
    check_flags(compute=compute, durable=durable, write_empty_chunks=write_empty_chunks, statistics=statistics)
    check_flags(write_inherited_coords=write_inherited_coords, consolidated=consolidated)
    check_numbers(workers=workers)
    check_dims(append_dim=append_dim)
    check_progress(progress)
    check_choice(ON_OVERLAP, on_overlap=on_overlap)
    check_choice(ON_UNORDERED, on_unordered=on_unordered)
    check_choice((None, 2, 3), zarr_format=zarr_format)
    mode = _checked_mode(mode, append_dim, region)
    if isinstance(region, Mapping) and not region:
        region = None  # which is all
    target_store = as_durable(as_store(store, storage_options), durable)
    path = check_prefix((group or "").strip("/"), target_store.path)
    if consolidated is False:
        raise EncodingError("metadata is always consolidated", found="consolidated=False", mend="Leave it out")
    options = WriteOptions(
        compute, write_empty_chunks is not False, progress, workers, chunkmanager_store_kwargs, statistics
    )
    with ExitStack() as held, locating(target_store.path):
        parts = with_chunks(list(datasets_of(obj, encoding or {}, write_inherited_coords)), chunks or {})
        existing, nodes = (
            (None, None)
            if mode in ("w", "w-")
            else _looked(target_store, parts, region is not None, held, path, options, append_dim)
        )
        if existing is None and mode not in ("w", "w-"):
            if mode == "r+":
                raise StoreNotFoundError("no Zarr store here", mend="Pass mode='w-' to make one")
            with locating_group(path):
                check_there(append_dim, region, mode)
        if existing is not None and zarr_format not in (None, existing.zarr_format):
            raise EncodingError(f"store is of Zarr format {existing.zarr_format}", found=f"zarr_format={zarr_format}")

        def write(parts: Parts, tell: Callable[[Mapping[str, str]], None]) -> Any:
            nonlocal nodes
            if existing is None:
                new: Literal["w", "w-"] = "w" if mode == "w" else "w-"
                return save_new(parts, find_target(target_store, path, new, zarr_format), options, tell)
            how = UpdateOptions(mode, append_dim, region, on_overlap, on_unordered, existing)  # type: ignore[arg-type]  # no "w"
            seen, nodes = nodes, None
            return save_into(SaveRequest(parts, target_store, path, how, options), tell, seen)

        return _until_hints_fit(parts if compute else with_objects_loaded(parts), write)


def _until_hints_fit(parts: Parts, write: Callable[[Parts, Callable[[Mapping[str, str]], None]], Any]) -> Any:
    """Write, again without the encoding that came along where a dask block shows that it does not fit.

    Nothing is visible then. `write` gets the parts, and what to call with the encodings that it has replaced itself.
    """
    late: dict[str, str] = {}

    def tell(replaced: Mapping[str, str]) -> None:
        warn_of({**late, **replaced})

    while True:
        try:
            return write(parts, tell)
        except CarriedEncodingError as error:
            parts = without_hint(parts, error, late)
        except BlocksOfTextError as error:
            parts = with_loaded(parts, error)


def _looked(
    store: Store,
    parts: Parts,
    is_region: bool,
    held: ExitStack,
    path: str,
    options: WriteOptions,
    append_dim: Hashable | None,
) -> tuple[Format | None, Nodes | None]:
    """The format of the store that is there, and its nodes, as far as they were read.

    Where each look is a request, none is taken twice: data at hand is saved under the store's lock from here on, which
    `held` lets go of, and by which what was seen is remembered.
    """
    if not store.traits.is_remote:
        return spec_there(store), None
    if is_region:
        try:
            paths = [
                "/".join(filter(None, (path, where, str(name)))) for where, ds, _ in parts for name in ds.variables
            ]
            nodes = open_nodes(store, consolidated=False, beside=paths)
        except StoreNotFoundError:
            return None, None
        return spec_of(nodes), nodes
    variables = [variable for _, dataset, _ in parts for variable in dataset.variables.values()]
    if not any(map(is_chunked, variables)):
        # not what is staged anyhow; and of groups, more is read one after the other
        is_small = sum(variable.nbytes for variable in variables) <= _MOST_AT_ONCE
        begins = not path and len(parts) == 1 and is_small and options.write_empty_chunks and not options.statistics
        # of appends alone, all that is needed is fetched at once: what one of them needs, the next one does
        like = "" if append_dim is None else f"append along {append_dim} {sorted(map(str, parts[0][1].variables))}"
        held.enter_context(locked(store, begins=begins, like=like))
    return spec_there(store), None


def _checked_mode(mode: Mode | None, append_dim: object, region: object) -> Mode:
    known: Mode = mode or ("a" if append_dim is not None else "r+" if region is not None else "w-")
    check_choice(_MODES, mode=known)
    if append_dim is not None and known not in ("a", "a-"):
        raise EncodingError("cannot set append_dim unless mode='a', mode='a-' or mode=None", found=f"mode={mode!r}")
    if region is not None and known not in ("a", "a-", "r+"):
        raise EncodingError(
            "cannot set region unless mode='a', mode='a-', mode='r+' or mode=None", found=f"mode={mode!r}"
        )
    return known
