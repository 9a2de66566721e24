"""The elements of one array: reading and writing them by selections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from operator import index
from typing import Any, TypeAlias

import numpy as np

from zarrds.arguments import check_choice, check_numbers
from zarrds.codecs.base import AnyArray, Buffer
from zarrds.engine import executor, workers
from zarrds.engine.cache import ChunkCache
from zarrds.engine.chunk_io import ABSENT, Chunks, MissingChunks, Seen
from zarrds.engine.planning.plans import Plan
from zarrds.engine.planning.selection import Chunking, plan_basic
from zarrds.errors import EncodingError, SelectionError
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.rectilinear import check_can_be_written
from zarrds.metadata.times import as_times
from zarrds.storage.protocol import Values
from zarrds.storage.traits import is_held

__all__ = ["Elements", "Planner"]

# of chunks that are worked on at once by more threads than there are cores
_IN_FLIGHT_NBYTES = 256 * 2**20

Planner: TypeAlias = Callable[[Any, tuple[int, ...], Chunking], Plan]


class Elements:
    """The elements of one array, in chunks that are values of a store.

    It knows no documents, and is what stands behind an `Array`. It may be used by any number of threads, and pickles: a
    copy in another process reads and writes the same array, where the store is the same.

    Parameters
    ----------
    store : Values
    path : str
        Of the array, below the store's root.
    metadata : ArrayMetadata
    missing_chunks : {"error", "fill"}, optional
        What an absent chunk is: an error, the fill value, or, unless said, an error if the array's marks say that it
        was written, else the fill value. Inner chunks that a shard does not have are the fill value in any case.
    is_private : bool
        Whether nobody else writes to the array, as when it is being saved for the first time.
    write_empty_chunks : bool
        False leaves out chunks that hold nothing but the fill value, bit for bit, where the store has none; those that
        it has are written anew. Arrays of JSON objects are always written.
    n_workers : int, optional
        Threads for one read or write, 1 for none; unless said as many as cores, or more if the store waits for a disk
        or a network.
    cache : ChunkCache, optional
        Where chunks of fixed size are kept of which a part was read.

    Raises
    ------
    EncodingError
        For options that make no sense.

    Examples
    --------
    >>> import zarrds
    >>> array = zarrds.create_array(zarrds.MemoryStore(), shape=(4, 6), dtype="i4", chunks=(2, 3))
    >>> elements = Elements(array.store, array.path, array.metadata, write_empty_chunks=False)
    >>> elements.write((slice(1, 3), slice(0, 2)), 5)
    >>> elements.read((slice(None), 1)), list(elements.chunk_keys_of((slice(1, 3), slice(0, 2))))
    (array([0, 5, 5, 0], dtype=int32), ['c/0/0', 'c/1/0'])
    """

    def __init__(
        self,
        store: Values,
        path: str,
        metadata: ArrayMetadata,
        *,
        missing_chunks: MissingChunks = None,
        is_private: bool = False,
        write_empty_chunks: bool = True,
        n_workers: int | None = None,
        cache: ChunkCache | None = None,
    ) -> None:
        check_numbers(workers=n_workers)
        check_choice(("error", "fill", None), missing_chunks=missing_chunks)
        self._chunks = Chunks(store, path, metadata, missing_chunks, is_private, write_empty_chunks)
        self._n_workers = None if n_workers is None else index(n_workers)
        self._cache = cache

    @property
    def store(self) -> Values:
        """What holds the chunks."""
        return self._chunks.store

    @property
    def path(self) -> str:
        """Where the array stands below its store's root."""
        return self._chunks.path

    @property
    def metadata(self) -> ArrayMetadata:
        """What the array's document says, or is to say."""
        return self._chunks.metadata

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements along each dimension."""
        return self.metadata.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the elements in memory; object for strings and bytes of any length."""
        return self.metadata.data_type.dtype

    @property
    def fill_value(self) -> Any:
        """What chunks that were never written hold."""
        return self._chunks.fill_value

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements along each dimension of what can be read by itself: a chunk, or an inner chunk of a shard.

        Where chunks differ, of the longest.
        """
        return self._chunks.readable

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Elements along each dimension of a shard, None for an array without shards, or with shards that differ."""
        return None if self._chunks.shards is None else self.metadata.chunks

    @property
    def missing_chunks(self) -> MissingChunks:
        """What an absent chunk is: an error, the fill value, or, for None, what the array's marks say."""
        return self._chunks.missing_chunks

    @property
    def n_workers(self) -> int | None:
        """Threads for one read or write, None for as many as cores, or more where the store waits."""
        return self._n_workers

    def __repr__(self) -> str:
        return f"<zarrds.Elements of {self.path or '/'!r} in {self.store.path!r}>"

    @property
    def n_absent(self) -> int:
        """How often a chunk was read that may be absent, and is; only that it changes says something."""
        return int(self._chunks.notes.get(ABSENT, 0))

    def through(self, values: Values) -> Elements:
        """The same elements, in chunks that are read from and written to `values`, without a cache."""
        chunks = self._chunks
        return Elements(
            values,
            chunks.path,
            chunks.metadata,
            missing_chunks=chunks.missing_chunks,
            is_private=chunks.is_private,
            write_empty_chunks=chunks.write_empty_chunks,
            n_workers=self._n_workers,
        )

    def n_chunks_of(self, key: Any, planner: Planner = plan_basic) -> int:
        """How many chunks (of a sharded array, shards) a selection touches."""
        return self._plan(key, planner, self._chunks.chunking).n_chunks

    def check_codecs(self) -> None:
        """Raise `MetadataError` or `UnsupportedError` if the array's chunks could not be decoded."""
        _ = self._chunks.pipeline

    def chunk_keys_of(self, key: tuple[slice, ...]) -> Iterator[str]:
        """The keys of the chunks (of a sharded array, the shards) that a basic selection touches.

        Parameters
        ----------
        key : tuple of slice
            One a dimension.
        """
        key_of = self._chunks.key_of_position()
        return (key_of(part.position) for part in self._plan(key, plan_basic, self._chunks.chunking))

    def positions_of(self, key: Any, planner: Planner = plan_basic) -> list[tuple[int, ...]]:
        """The positions in the grid of the chunks (of a sharded array, the shards) that a selection touches."""
        return [part.position for part in self._plan(key, planner, self._chunks.chunking)]

    @property
    def most_chunk_nbytes(self) -> int:
        """Bytes that no value of a chunk (of a sharded array, a shard) is larger than."""
        return self._chunks.pipeline.most_encoded_nbytes

    def chunk_key(self, position: tuple[int, ...]) -> str:
        """The key of the chunk (of a sharded array, the shard) at a position in the grid."""
        return self._chunks.key(position)

    def chunk_position(self, key: str) -> tuple[int, ...] | None:
        """The position in the grid of the chunk of that key, None if the key is no chunk's, or lies outside."""
        return self._chunks.position_in_grid(key)

    @property
    def required_chunks(self) -> tuple[int, ...]:
        """How many chunks along each dimension must be there, those of lower numbers; the others may be absent."""
        return self._chunks.n_required or (0,) * len(self.shape)

    def part_reader(self, out: AnyArray, seen: Callable[[Buffer | None], None]) -> executor.Worker:
        """A function for one thread that reads parts of chunks to places in `out`, for callers with plans of their own.

        Parameters
        ----------
        out : ndarray
            Of the array's dtype. The parts' places in it are slices, and so is what they take from their chunks.
        seen : callable
            Called with the bytes of each chunk before they are decoded, None for an absent one. They are valid until
            the call returns.
        """
        return self._chunks.reader(out, is_basic=True, seen=seen)

    def read(self, key: Any, planner: Planner = plan_basic) -> Any:
        """Read a selection.

        Parameters
        ----------
        key : index
        planner : callable
            What the key means: `plan_basic`, `plan_orthogonal` or `plan_pointwise`.

        Returns
        -------
        ndarray, or one element

        Raises
        ------
        SelectionError
            If `key` does not fit the array.
        ChunkError
            If a chunk's bytes are damaged, or a chunk is missing that must be there.
        """
        plan = self._plan(key, planner, self._chunks.readable_chunking)
        out = self._new_result(plan)
        chunk_nbytes = self._chunks.nbytes_of(self.chunks)
        is_all = plan.is_basic and plan.buffer_shape == self.shape  # who reads all passes the cache by
        is_cached = self._cache is not None and not is_all and self._cache.admits(plan.n_chunks, chunk_nbytes)
        cache = self._cache if is_cached and not self.metadata.data_type.is_variable_length else None
        read = workers.Reading(self._chunks, out, plan)
        left = plan if cache is None else read.serve(cache)
        if left.n_chunks:
            threads = self._threads_for(chunk_nbytes)
            if not read.by_shards(left, threads):
                executor.run_plan(left, read.make_worker, chunk_nbytes=chunk_nbytes, workers=threads)
        result = out.reshape(plan.shape)
        return result if plan.shape else result[()]

    def write(
        self,
        key: Any,
        value: Any,
        planner: Planner = plan_basic,
        *,
        progress: executor.Progress | None = None,
        seen: Seen | None = None,
        is_alone: bool = False,
    ) -> None:
        """Write a selection; the same as `Array.write`, of an array that is open for writing.

        `seen` is shown the position and the elements of each chunk (of a sharded array, each shard) of which all is
        written that lies in the array, before it is encoded; of arrays that somebody else may know, of none.
        `is_alone` says that nobody else writes to these chunks meanwhile: then no locks are taken for parts of them.
        """
        check_can_be_written(self.metadata.edges, self.path, self.store.path)
        plan = self._plan(key, planner, self._chunks.chunking)
        values = self._broadcast(value, plan)
        chunk_nbytes = self._chunks.nbytes_of(self.metadata.chunks)
        no_waiting = is_held(self.store, plan.n_chunks * chunk_nbytes)

        executor.run_plan(
            plan,
            lambda: workers.writer(self._chunks, values, plan, seen, is_alone=is_alone),
            chunk_nbytes=chunk_nbytes,
            workers=self._n_workers if no_waiting else self._threads_for(chunk_nbytes),
            progress=progress,
        )

    def _new_result(self, plan: Plan) -> AnyArray:
        """Memory for what a plan reads, asked for before anything else is done."""
        try:
            return np.empty(plan.buffer_shape, self.dtype)
        except (MemoryError, ValueError, OverflowError) as error:
            raise SelectionError(
                "the selection does not fit in memory",
                path=self.store.path,
                key=self.path or "/",
                found=f"shape {plan.shape} of {self.dtype}, {prod(plan.shape) * self.dtype.itemsize} bytes",
                mend="Select less of the array at a time",
            ) from error

    def _threads_for(self, part_nbytes: int) -> int | None:
        """Threads for chunks of so many bytes: more than cores if the store waits, as far as memory goes."""
        at_once = min(self.store.traits.concurrency, _IN_FLIGHT_NBYTES // part_nbytes)
        return self._n_workers if self._n_workers is not None or at_once <= 1 else max(at_once, executor.n_cores())

    def as_values(self, value: Any) -> AnyArray:
        """`value` as an array, which has the array's dtype or can be cast to it chunk by chunk.

        Raises
        ------
        EncodingError
            If it cannot be cast.
        """
        try:
            # NumPy looks at each Python object, and refuses integers out of range
            if self.dtype.kind in "mM" and np.asarray(value).dtype.kind in f"{self.dtype.kind}OSTU":
                values = as_times(value, self.dtype)
                if values is None:
                    raise ValueError("its times are beyond the range of the array's unit")
                return values
            values = value if isinstance(value, np.ndarray) else np.asarray(value, self.dtype)
            if values.dtype != self.dtype and (values.dtype.kind in "OSTU" or self.dtype.kind == "O"):
                values = values.astype(self.dtype)  # may fail, and does so before anything is written
        except (TypeError, ValueError, OverflowError) as error:
            raise EncodingError(
                f"value cannot be stored in the array: {error}",
                path=self.store.path,
                key=self.path or "/",
                expected=f"dtype {self.dtype}",
                found=f"{value!r:.80}",
            ) from error
        return values

    def _plan(self, key: Any, planner: Planner, chunks: Chunking) -> Plan:
        try:
            return planner(key, self.shape, chunks)
        except SelectionError as error:
            raise error.located(path=self.store.path, key=self.path or "/") from error.__cause__

    def _broadcast(self, value: Any, plan: Plan) -> AnyArray:
        if self.dtype.kind == "O" and not plan.shape and isinstance(value, list | tuple):
            values: AnyArray = np.empty((), object)
            values[()] = value  # one element
        else:
            values = self.as_values(value)
        while values.ndim > len(plan.shape) and values.shape[0] == 1:
            values = values[0]
        try:
            values = np.broadcast_to(values, plan.shape)
        except ValueError as error:
            raise SelectionError(
                "value does not fit the selection",
                path=self.store.path,
                key=self.path or "/",
                expected=f"shape {plan.shape}, or one that is broadcast to it",
                found=f"shape {values.shape}",
            ) from error
        return values.reshape(plan.buffer_shape)
