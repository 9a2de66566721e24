"""``zarrds.copy`` and ``zarrds.rechunk``: stores in bounded memory, with other chunks or the same."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import xarray as xr

from zarrds.arguments import (
    check_choice,
    check_encoding,
    check_flags,
    check_numbers,
    check_sizes,
    check_texts,
    names_of,
    warn,
)
from zarrds.datasets.description.of_store import unknown_variable
from zarrds.datasets.rechunking.by_parts import Parts, check_wanted, hidden_store, parts_of, write_parts
from zarrds.datasets.rechunking.carrying_out import CopyOptions, Mode, carry_out
from zarrds.datasets.rechunking.layout import ByDimension
from zarrds.datasets.rechunking.plan import ArrayPlan
from zarrds.datasets.rechunking.sources import Source, is_as_opened, open_source, planned
from zarrds.datasets.writing.commit.new_store import find_target
from zarrds.datasets.writing.writer import save
from zarrds.display.text import nbytes_of
from zarrds.engine.executor import n_cores
from zarrds.engine.progress import ProgressOption
from zarrds.errors import EncodingError, UnsupportedError, locating
from zarrds.metadata.nodes.belonging import others
from zarrds.storage.commits.committer import as_durable
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store
from zarrds.storage.traits import folder_of

__all__ = ["RechunkPlan", "copy", "rechunk", "rechunk_plan"]

StoreLike: TypeAlias = str | os.PathLike[str] | Store

# of the memory that may be used, what one part of a dataset takes: it is encoded, and its chunks are compressed
_SHARE_OF_A_PART = 8
_SHARE_OF_READING = 3  # and what the allocator and the source keep when all parts are there


@dataclass(frozen=True, slots=True)
class RechunkPlan:
    """How a store is brought into other chunks; shown as text it has a line an array.

    Attributes
    ----------
    arrays : tuple of ArrayPlan
        In the order in which they are done.
    max_memory : int
        Bytes that may be used.
    """

    arrays: tuple[ArrayPlan, ...]
    max_memory: int

    @property
    def peak_nbytes(self) -> int:
        """The most memory (bytes) that is used at once beside what the process has already."""
        return max((plan.peak_nbytes for plan in self.arrays), default=0)

    @property
    def read_nbytes(self) -> int:
        """Decoded bytes that are read, pieces in between included."""
        return sum(plan.read_nbytes for plan in self.arrays)

    @property
    def write_nbytes(self) -> int:
        """Decoded bytes that are written, pieces in between included."""
        return sum(plan.write_nbytes for plan in self.arrays)

    @property
    def temporary_nbytes(self) -> int:
        """Decoded bytes that lie in between at once, at the most; compressed they are fewer."""
        return max((plan.temporary_nbytes for plan in self.arrays), default=0)

    def __str__(self) -> str:
        lines = [f"{len(self.arrays)} arrays, up to {self.peak_nbytes / 2**20:,.0f} MiB of memory"]
        return "\n".join([*lines, *(f"  {plan}" for plan in self.arrays)])


def rechunk_plan(
    source: StoreLike | xr.Dataset,
    *,
    chunks: ByDimension = None,
    shards: ByDimension = None,
    encoding: Mapping[str, Mapping[str, Any]] | None = None,
    group: str | None = None,
    variables: str | Iterable[str] | None = None,
    max_memory: int | str = "1GB",
    workers: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> RechunkPlan:
    """What `rechunk` would do; nothing but documents is read, and nothing is written.

    The parameters are those of `rechunk`.

    Examples
    --------
    >>> import numpy as np, xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> ds = xr.Dataset({"t2m": (("time", "x"), np.zeros((100, 80), "f4"))})
    >>> zarrds.save(ds, store, encoding={"t2m": {"chunks": (1, 80)}})
    >>> print(zarrds.rechunk_plan(store, chunks={"time": 100, "x": 10}))
    1 arrays, up to 0 MiB of memory
      t2m: (1, 80) -> (100, 10), direct, blocks (100, 80), up to 0 MiB of memory
    """
    check_texts(group=group)
    names = names_of(variables=variables)
    check_sizes(chunks=chunks, shards=shards)
    check_encoding(encoding)
    check_numbers(workers=workers)
    opened = open_source(source, group, names, storage_options)
    with locating(opened.store.path):
        limit = _nbytes(max_memory)
        copied = planned(opened, chunks, shards, encoding or {}, limit, _n_workers(workers))
    return RechunkPlan(tuple(each.plan for each in copied), limit)


def rechunk(
    source: StoreLike | xr.Dataset,
    target: StoreLike,
    *,
    chunks: ByDimension = None,
    shards: ByDimension = None,
    encoding: Mapping[str, Mapping[str, Any]] | None = None,
    group: str | None = None,
    variables: str | Iterable[str] | None = None,
    mode: Mode = "w-",
    statistics: bool | None = None,
    max_memory: int | str = "1GB",
    workers: int | None = None,
    durable: bool = True,
    progress: ProgressOption = False,
    storage_options: Mapping[str, Any] | None = None,
    target_storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Bring a store into other chunks, shards or codecs, in bounded memory.

    The target appears as a whole when all of it is written. In a folder, a run that was killed goes on from the steps
    that it had finished if it is started again with the same arguments, as long as the machine was not started anew.
    Labels, attributes and everything else come along as they are. Chunks whose shape and codecs stay are copied, or
    packed into new shards, without being decoded.

    Parameters
    ----------
    source : str, os.PathLike, Store or Dataset
        A dataset as zarrds opened it stands for its store, and for those of its variables that are still there. Any
        other, of whatever engine of xarray, selected from, computed or of dask arrays, is read part by part, written
        to a hidden store beside the target, and brought into other chunks from there.
    target : str, os.PathLike or Store
        The place of a new store, of the format of the source.
    chunks, shards : mapping of dimension to int, optional
        Elements; -1 is the whole dimension. Dimensions that are not named keep what they have. New chunks without
        shards end what shards there were.
    encoding : mapping of variable to mapping, optional
        For single variables (of groups below, by their paths) ``chunks``, ``shards``, ``compressors``, ``filters`` and
        ``serializer``, as `zarrds.save` takes them. Values, dtypes and attributes cannot be changed.
    group : str, optional
        Which group to take, with all below it; it becomes the target's root.
    variables : str or iterable of str, optional
        Which variables of the group; their coordinates come along, groups below do not.
    mode : {"w-", "w"}
        ``"w"`` replaces what is at the target.
    statistics : bool, optional
        Note what is in each chunk, as by `zarrds.save`. Unless said it is done for variables of which the source has
        such statistics; False leaves them out.
    max_memory : int or str
        Bytes, or text such as ``"500MB"``, ``"2GiB"``: by how much the process may grow, decoding, threads and
        temporaries included. Text and bytes of any length count as 64 bytes an element.
    workers : int, optional
        Threads; as many as cores unless said.
    durable : bool
        Wait until everything is on the disk.
    progress : bool or callable
        Show a progress bar; or a function that is called with the bytes done and the bytes to do.
    storage_options, target_storage_options : mapping, optional
        For URLs, as of `zarrds.save`.

    Raises
    ------
    StoreNotFoundError, StoreExistsError
        If there is no source, or the target is there already.
    EncodingError
        If what is asked for does not fit, or `max_memory` is too small for a chunk; nothing was written then.
    VariableNotFoundError
        For variables that are not there.
    ChunkError
        If a chunk of the source is damaged or missing.
    ConflictError
        If the source was changed meanwhile, or another process is at the same work.

    See Also
    --------
    rechunk_plan : what it would do.

    Examples
    --------
    >>> import numpy as np, xarray as xr, zarrds
    >>> maps, series = zarrds.MemoryStore(), zarrds.MemoryStore()
    >>> ds = xr.Dataset({"t2m": (("time", "x"), np.arange(8000.0).reshape(100, 80))})
    >>> zarrds.save(ds, maps, encoding={"t2m": {"chunks": (1, 80)}})
    >>> zarrds.rechunk(maps, series, chunks={"time": -1, "x": 10})
    >>> zarrds.open_array(series, path="t2m").chunks
    (100, 10)
    """
    check_texts(group=group)
    names = names_of(variables=variables)
    check_sizes(chunks=chunks, shards=shards)
    check_encoding(encoding)
    check_numbers(workers=workers)
    check_flags(statistics=statistics, durable=durable)
    goal = as_durable(as_store(target, target_storage_options), durable)
    options = CopyOptions("rechunk", _checked(mode), statistics, progress)
    limit = _nbytes(max_memory)
    if isinstance(source, xr.Dataset) and not is_as_opened(source):
        left = limit - limit // _SHARE_OF_READING
        dataset = _selected(source, group, names)
        find_target(goal, "", mode, None)  # before any work
        parts = parts_of(dataset, limit // _SHARE_OF_A_PART)
        check_wanted(dataset, parts, chunks=chunks, shards=shards, encoding=encoding or {}, max_memory=left)
        with _stored_by_parts(dataset, parts, goal) as (stored, asked):
            given: dict[str, Any] = {n: {"chunks": {**each, **(chunks or {})}} for n, each in asked.items()}
            for name, each in (encoding or {}).items():
                given[name] = {**given.get(name, {}), **each}
            # of the hidden store, which goes, nothing is told
            with locating(goal.path):
                copied = planned(stored, chunks, shards, given, left, _n_workers(workers))
                carry_out(stored, copied, goal, options)
        return
    opened = open_source(source, group, names, storage_options)
    with locating(opened.store.path):
        copied = planned(opened, chunks, shards, encoding or {}, limit, _n_workers(workers))
    with locating(goal.path):
        carry_out(opened, copied, goal, options)
    if names is None and not isinstance(source, xr.Dataset):
        _tell_of_others(opened)


def _selected(dataset: xr.Dataset, group: str | None, names: list[str] | None) -> xr.Dataset:
    """The variables of a dataset that are to be copied."""
    if group:
        raise UnsupportedError("a dataset has no groups", found=f"group={group!r}")
    if names is None:
        return dataset
    if unknown := [name for name in names if name not in dataset.variables]:
        raise unknown_variable(str(unknown[0]), list(map(str, dataset.variables)), None)
    return dataset[names]


@contextmanager
def _stored_by_parts(
    dataset: xr.Dataset, parts: Parts | None, goal: Store
) -> Iterator[tuple[Source, dict[str, dict[Hashable, int]]]]:
    """A hidden store of a dataset that is read part by part; and the chunks that the source has where these differ."""
    with hidden_store(goal) as store:
        if parts is None:
            save(dataset, store, durable=False)
            yield open_source(store, None, None, None), {}
            return
        write_parts(dataset, store, parts)
        yield (
            open_source(store, None, None, None),
            {
                str(name): dict(zip(dataset.variables[name].dims, chunks, strict=True))
                for name, chunks in parts.source_chunks.items()
                if chunks != parts.chunks[name]
            },
        )


def _checked(mode: Mode) -> Mode:
    check_choice(("w", "w-"), mode=mode)
    return mode


def copy(
    source: StoreLike | xr.Dataset,
    target: StoreLike,
    *,
    group: str | None = None,
    variables: str | Iterable[str] | None = None,
    mode: Mode = "w-",
    statistics: bool | None = None,
    workers: int | None = None,
    durable: bool = True,
    progress: ProgressOption = False,
    storage_options: Mapping[str, Any] | None = None,
    target_storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Copy a store, one of its groups or some of its variables, without decoding anything.

    As `rechunk` without other chunks: the target appears as a whole, and a run that was killed can go on. Files in the
    store that are not Zarr's (tables that SpatialData keeps as Parquet) are not copied; a warning names them where the
    store is a folder, and `zarrds.verify` everywhere.

    Parameters
    ----------
    source, target, group, variables, mode, statistics, workers, durable, progress, storage_options
        As of `rechunk`. Statistics that the source has come along without being decoded; True reads all chunks.
    target_storage_options : mapping, optional
        The same.

    Raises
    ------
    StoreNotFoundError, StoreExistsError, VariableNotFoundError, ConflictError
        As `rechunk`.

    Examples
    --------
    >>> import xarray as xr, zarrds
    >>> one, other = zarrds.MemoryStore(), zarrds.MemoryStore()
    >>> zarrds.save(xr.Dataset({"a": ("x", [1, 2]), "b": ("x", [3, 4])}, {"x": [10, 20]}), one)
    >>> zarrds.copy(one, other, variables=["b"])
    >>> sorted(xr.open_dataset(other, engine="zarrds").variables)
    ['b', 'x']
    """
    check_texts(group=group)
    names = names_of(variables=variables)
    check_numbers(workers=workers)
    check_flags(statistics=statistics, durable=durable)
    opened = open_source(source, group, names, storage_options)
    goal = as_durable(as_store(target, target_storage_options), durable)
    with locating(opened.store.path):
        copied = planned(opened, None, None, {}, 2**62, _n_workers(workers))
    with locating(goal.path):
        carry_out(opened, copied, goal, CopyOptions("copy", _checked(mode), statistics, progress))
    if names is None and not isinstance(source, xr.Dataset):
        _tell_of_others(opened)


def _tell_of_others(source: Source) -> None:
    """Warn of files that stay behind, since they are not Zarr's; elsewhere than in folders to look takes requests."""
    if folder_of(source.store) is None:
        return
    keys = sorted(others(source.store.list_prefix(source.base.rstrip("/"))))
    if keys:
        shown = ", ".join(map(repr, keys[:3])) + (", …" if len(keys) > 3 else "")
        warn(f"{len(keys)} files in {source.store.path!r} are not Zarr's, and were not copied: {shown}")


def _nbytes(value: int | str) -> int:
    """Bytes from text such as "1GB"."""
    found = nbytes_of(value)
    if found is not None:
        return found
    raise EncodingError("max_memory is no size", expected="bytes, or text such as '500MB' or '2GiB'", found=repr(value))


def _n_workers(workers: int | None) -> int:
    if workers is not None and workers < 1:
        raise EncodingError("workers is a number of threads", expected="at least 1", found=repr(workers))
    return workers or n_cores()
