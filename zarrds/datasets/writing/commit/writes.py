"""Encoded variables to stored arrays: in memory at once, or dask blocks of any size into chunks of any size.

Blocks that share a chunk are combined first, so that each chunk is written once, whichever thread, process or machine
does it, or a few times where the memory does not hold all of these blocks. What of a chunk lies outside of what is
written is kept, under the chunk's lock.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
import xarray as xr

from zarrds.arrays.in_place import InPlace
from zarrds.chunk_statistics.building import WrittenFacts
from zarrds.compat.xarray_internals import blockwise_array, is_chunked
from zarrds.datasets.encoding.exact.blocks import as_numpy, check_declared
from zarrds.datasets.writing.commit.tasks import MOST_NBYTES, task_blocks
from zarrds.engine.blocks import block_shape, blocks
from zarrds.engine.elements import Elements
from zarrds.engine.executor import Progress, memory_nbytes, n_cores
from zarrds.errors import EncodingError, StoreIOError

__all__ = ["Write", "compute_writes", "write_in_memory"]


# the part of the memory that may hold blocks which wait for others of their row of chunks, or what one task holds
_SHARE = 8
_PATIENCE = 60.0  # seconds, for blocks that are being written when another has failed


@dataclass(frozen=True, slots=True)
class Write:
    """Data and where it goes.

    Attributes
    ----------
    elements : Elements
        Of the array.
    variable : Variable
        Encoded; in memory, lazily loaded, taken block by block, or of a dask array.
    start : tuple of int
        The place of its first element, along each dimension of the array.
    seen : WrittenFacts, optional
        Where statistics of chunks are kept as they are written.
    """

    elements: Elements
    variable: xr.Variable
    start: tuple[int, ...]
    seen: WrittenFacts | None = None

    @property
    def is_chunked(self) -> bool:
        """Whether the data is a dask array."""
        return is_chunked(self.variable)

    @property
    def key(self) -> tuple[slice, ...]:
        """The selection that is written."""
        return tuple(slice(a, a + size) for a, size in zip(self.start, self.variable.shape, strict=True))

    @property
    def n_chunks(self) -> int:
        """How many chunks are written, wholly or in part."""
        n = 1
        for a, size, chunk in zip(self.start, self.variable.shape, self.elements.metadata.chunks, strict=True):
            n *= (a + size - 1) // chunk - a // chunk + 1 if size else 0
        return n


def write_in_memory(write: Write, progress: Progress | None = None) -> None:
    """Write data that is no dask array; what is lazy is loaded first, whole, or block by block."""
    if (large := blockwise_array(write.variable)) is not None:
        _write_blocks(write, large.nbytes_of_block, progress)
        return
    values, elements = np.asarray(write.variable.data), write.elements
    with _still_there(elements):
        elements.write(write.key, values, progress=progress, seen=write.seen, is_alone=_is_alone(elements))


def _write_blocks(write: Write, nbytes: int, progress: Progress | None) -> None:
    """Write a variable that is too large for memory, in blocks of whole chunks."""
    elements, variable = write.elements, write.variable
    block = block_shape(variable.shape, elements.metadata.chunks, elements.dtype.itemsize, nbytes)
    for place in blocks(variable.shape, block):
        values = np.asarray(variable[place].data)
        key = tuple(slice(a + p.start, a + p.stop) for a, p in zip(write.start, place, strict=True))
        with _still_there(elements):
            elements.write(key, values, progress=progress, seen=write.seen, is_alone=_is_alone(elements))


def _is_alone(elements: Elements) -> bool:
    """Of data that is written by this process alone: whether nobody else writes to the same chunks."""
    return not isinstance(elements.store, InPlace)  # but into a change of its own


def _still_there(elements: Elements) -> AbstractContextManager[object]:
    """Around what is written to an array that others may replace meanwhile: a look before it, and one after it."""
    return elements.store if isinstance(elements.store, InPlace) else nullcontext()


class _UnderWay:
    """The blocks that threads of this process are writing. When one fails, dask does not wait for the others.

    They would be written into a folder that is being removed meanwhile, and keep some of it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n = 0
        self._is_over = False

    def __enter__(self) -> None:
        with self._changed:
            if self._is_over:
                raise StoreIOError("nothing more is written, since another part has failed")
            self._n += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._n -= 1
            self._changed.notify_all()

    def end(self) -> None:
        """Let no more blocks begin, and wait for those that have."""
        with self._changed:
            self._is_over = True
            self._changed.wait_for(lambda: not self._n, timeout=_PATIENCE)


class _Target:
    """What dask assigns a block to. It travels to workers; what counts blocks, progress and statistics stays behind."""

    def __init__(self, write: Write, progress: Progress | None, under_way: _UnderWay | None) -> None:
        self.shape = write.variable.shape
        self.dtype = write.elements.dtype
        self._elements = write.elements
        self._start = write.start
        self._name = write.elements.path.rpartition("/")[2]
        self._progress = progress
        self._under_way = under_way
        self._seen = write.seen
        self._token = uuid4().hex  # no two are alike, and dask need not pickle one to tell

    def __dask_tokenize__(self) -> str:
        return self._token

    def __setitem__(self, key: tuple[slice, ...], value: Any) -> None:
        shape = tuple(s.stop - s.start for s in key)
        values = as_numpy(self._name, value)
        if values.dtype != self.dtype or values.shape != shape:
            check_declared(self._name, values, self.dtype, shape)
            values = values.astype(self.dtype)
        moved = tuple(slice(s.start + a, s.stop + a) for s, a in zip(key, self._start, strict=True))
        with self._under_way or nullcontext(), _still_there(self._elements):
            self._elements.write(moved, values, progress=self._progress, seen=self._seen)

    def __getstate__(self) -> dict[str, Any]:
        if self._elements.store.traits.in_memory:
            raise EncodingError(
                "other processes cannot write into a store in memory",
                path=self._elements.store.path,
                mend="Compute it with scheduler='threads', or save to a path",
            )
        return self.__dict__ | {"_progress": None, "_seen": None, "_under_way": None}


def _checked(data: Any, path: str, wanted: tuple[tuple[int, ...], ...]) -> Any:
    """A dask array in other blocks, whose own are what it says: to cut and join them would hide it.

    What has no elements is not stored at all by dask, which takes it for a block of nothing.
    """
    name = path.rpartition("/")[2]
    if wanted == data.chunks and all(all(sizes) for sizes in data.chunks):
        return data.map_blocks(_given, dtype=data.dtype, meta=data._meta, name_of=name)
    checked = data.map_blocks(_check_block, dtype=data.dtype, meta=data._meta, name_of=name, declared=data.dtype)
    return checked if wanted == data.chunks else checked.rechunk(wanted, method="tasks")


def _as_array(block: Any) -> Any:
    """A block as it is, if it is an array of any library."""
    return block if hasattr(block, "dtype") and hasattr(block, "shape") else np.asarray(block)


def _check_block(values: Any, *, name_of: str, declared: np.dtype[Any], block_info: Any = None) -> Any:
    found = _as_array(values)
    if block_info:
        shape = tuple(int(stop - start) for start, stop in block_info[0]["array-location"])
        if found.dtype != declared or found.shape != shape:
            check_declared(name_of, found, declared, shape)
    return found


def _given(values: Any, *, name_of: str) -> Any:
    """A block of which there must be something, as an array; what is in it is looked at when it is written."""
    found = _as_array(values)
    if values is None or 0 in found.shape:
        raise EncodingError(
            f"a block of the dask array of variable {name_of!r} is not what the array says",
            key=name_of,
            expected="an array of the block's shape",
            found="None" if values is None else f"{found.dtype}, shape {found.shape}",
            mend="Let the function that is given to map_blocks, apply_ufunc or from_delayed return such an array",
        )
    return found


def _cluster() -> Any:
    """The client of dask.distributed that computes what is asked for here, None without one."""
    if distributed := sys.modules.get("distributed"):
        with suppress(ValueError):
            return distributed.get_client()
    return None


def _memory_nbytes(cluster: Any) -> tuple[int, int]:
    """The memory of a cluster's workers, or of this machine, in bytes; and that of each thread."""
    if cluster is not None:
        workers = cluster.scheduler_info(n_workers=-1)["workers"].values()
        if limits := sum(worker["memory_limit"] for worker in workers):
            return int(limits), int(limits // sum(worker["nthreads"] for worker in workers))
    nbytes = memory_nbytes()
    return nbytes, nbytes // n_cores()


def compute_writes(
    writes: Sequence[Write], progress: Progress | None, options: Mapping[str, Any], *, compute: bool
) -> Any:
    """Store dask arrays, all in one graph.

    Parameters
    ----------
    writes : sequence of Write
        Of dask arrays.
    progress : callable, optional
        Called with numbers of chunks that are done, in this process.
    options : mapping
        Further arguments of ``dask.array.store``.
    compute : bool
        False returns a Delayed that will do it.
    """
    import dask.array
    from dask.delayed import delayed

    if not writes:
        return None if compute else delayed(None)
    memory, of_a_thread = (nbytes // _SHARE for nbytes in _memory_nbytes(_cluster()))
    under_way = _UnderWay() if compute else None
    sources: list[Any] = []
    targets: list[Any] = []
    for write in writes:
        data, array = write.variable.data, write.elements
        may_share = array.store.traits.locks_processes or array.store.traits.in_memory  # a chunk, between tasks
        wanted = task_blocks(
            data.chunks,
            array.metadata.chunks,
            write.start,
            array.dtype.itemsize,
            min(MOST_NBYTES, of_a_thread),
            memory if may_share else None,
        )
        sources.append(_checked(data, array.path, wanted))
        targets.append(_Target(write, progress, under_way))
    if given := [name for name in ("compute", "regions", "sources", "targets") if name in options]:
        raise EncodingError("chunkmanager_store_kwargs names what zarrds itself decides", found=given)
    # other processes would write into copies of a store in memory
    here: dict[str, Any] = {"scheduler": "threads"} if any(w.elements.store.traits.in_memory for w in writes) else {}
    try:
        return dask.array.store(sources, targets, **{"lock": False, **here, **options, "compute": compute})
    except BaseException:
        if under_way is not None:
            under_way.end()
        raise
