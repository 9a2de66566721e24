"""A chunked array in a store."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from zarrds.arrays import workers
from zarrds.arrays.attributes import Attributes, Change
from zarrds.arrays.chunks import Chunks
from zarrds.arrays.layout import integers
from zarrds.arrays.selection import (
    PointPlan,
    ProductPlan,
    plan_basic,
    plan_orthogonal,
    plan_pointwise,
)
from zarrds.codecs.base import AnyArray
from zarrds.errors import EncodingError, ReadOnlyError, SelectionError, ZarrdsError
from zarrds.metadata.documents import get_array, open_nodes, put_node
from zarrds.metadata.model import ArrayMetadata
from zarrds.stores.base import Store

__all__ = ["Array"]

Planner = Callable[[Any, tuple[int, ...], tuple[int, ...]], ProductPlan | PointPlan]


@dataclass(frozen=True, slots=True)
class _Indexer:
    """What ``a.oindex`` and ``a.vindex`` are."""

    array: Array
    planner: Planner

    def __getitem__(self, key: Any) -> AnyArray:
        return cast(AnyArray, self.array.read(key, self.planner))

    def __setitem__(self, key: Any, value: Any) -> None:
        self.array.write(key, value, self.planner)


class Array:
    """An array of chunks in a store. Made by `zarrds.open_array`, `zarrds.create_array` and groups.

    Indexing reads and writes only the chunks that it touches, in threads. Any number of threads may read at once,
    and write at once: whole chunks without a lock, parts of a chunk one writer at a time (of this process).

    The shape and the attributes are those that were read when the array was opened. `resize`, `append` and changes of
    the attributes begin by reading them again, and are not for several threads or processes at once.

    Parameters
    ----------
    store : Store
    path : str
        Below the store's root.
    metadata : ArrayMetadata
    read_only : bool
    n_workers : int, optional
        Threads for one read or write; as many as cores unless said.

    Examples
    --------
    >>> import zarrds
    >>> a = zarrds.create_array(zarrds.MemoryStore(), shape=(4, 6), dtype="f4", chunks=(2, 3))
    >>> a[1:3, ::2] = 1.5
    >>> a[2], a.vindex[[1, 2], [0, 5]]
    (array([1.5, 0. , 1.5, 0. , 1.5, 0. ], dtype=float32), array([1.5, 0. ], dtype=float32))
    """

    def __init__(
        self, store: Store, path: str, metadata: ArrayMetadata, *, read_only: bool = False, n_workers: int | None = None
    ) -> None:
        if not (n_workers is None or (type(n_workers) is int and n_workers >= 1)):
            raise EncodingError("workers must be an integer of at least 1", found=repr(n_workers))
        self._chunks = Chunks(store, path, metadata)
        self._read_only = read_only
        self._n_workers = n_workers

    @property
    def metadata(self) -> ArrayMetadata:
        """What the array's metadata document says."""
        return self._chunks.metadata

    @property
    def store(self) -> Store:
        """What holds the array."""
        return self._chunks.store

    @property
    def path(self) -> str:
        """Where the array stands below its store's root."""
        return self._chunks.path

    @property
    def read_only(self) -> bool:
        """Whether writing is refused."""
        return self._read_only

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements along each dimension."""
        return self.metadata.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the elements in memory; object for strings and bytes of any length."""
        return self.metadata.data_type.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements of one chunk along each dimension."""
        return self._chunks.readable

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Elements of one shard along each dimension, None for an array without shards."""
        return None if self._chunks.pipeline.shards is None else self.metadata.chunks

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array in memory (of pointers, for strings and bytes of any length)."""
        return self.size * self.dtype.itemsize

    @property
    def fill_value(self) -> Any:
        """What chunks that were never written hold."""
        return self._chunks.fill_value

    @property
    def dimension_names(self) -> tuple[str | None, ...] | None:
        """One name (or None) a dimension; None if there are no names at all."""
        return self.metadata.dimension_names

    @property
    def attrs(self) -> Attributes:
        """The attributes; a change is written at once."""
        return Attributes(lambda: self.metadata.attributes, self._edit_attributes)

    @property
    def oindex(self) -> _Indexer:
        """Orthogonal indexing: ``a.oindex[[0, 2], mask, 1:5]`` selects along each dimension by itself."""
        return _Indexer(self, plan_orthogonal)

    @property
    def vindex(self) -> _Indexer:
        """Pointwise indexing: ``a.vindex[[0, 2], [1, 3]]`` is the elements (0, 1) and (2, 3)."""
        return _Indexer(self, plan_pointwise)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without dimensions")
        return self.shape[0]

    def __repr__(self) -> str:
        chunks = self.metadata.chunks  # also of an array whose codecs zarrds does not have
        return f"<zarrds.Array {self.path or '/'!r} shape={self.shape} dtype={self.dtype} chunks={chunks}>"

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        if copy is False:
            raise ValueError("a stored array cannot become a NumPy array without a copy")
        return np.asarray(self[...], dtype=dtype)

    def __getitem__(self, key: Any) -> AnyArray:
        return cast(AnyArray, self.read(key, plan_basic))

    def __setitem__(self, key: Any, value: Any) -> None:
        self.write(key, value, plan_basic)

    def __dask_tokenize__(self) -> Hashable:
        return type(self).__name__, self.store.path, self.path, self.identity()

    def check_codecs(self) -> None:
        """Raise `MetadataError` or `UnsupportedError` if the array's chunks could not be decoded."""
        _ = self._chunks.pipeline

    def identity(self) -> Hashable:
        """Changes whenever the array's document, and so perhaps its shape, is written anew."""
        name = ".zarray" if self.metadata.zarr_format == 2 else "zarr.json"
        return self.store.identity(f"{self.path}/{name}" if self.path else name)

    def read(self, key: Any, planner: Planner = plan_basic) -> Any:
        """Read a selection; ``a[key]``, ``a.oindex[key]`` and ``a.vindex[key]`` are this with their planner.

        Raises
        ------
        SelectionError
            If `key` does not fit the array.
        ChunkError
            If a chunk's bytes are damaged.
        """
        plan = self._plan(key, planner, self.chunks)
        out = np.empty(plan.buffer_shape, self.dtype)
        workers.run(
            plan,
            lambda: self._chunks.reader(out, is_basic=plan.is_basic),
            part_nbytes=self._chunks.nbytes_of(self.chunks),
            workers=self._n_workers,
        )
        result = out.reshape(plan.shape)
        return result if plan.shape else result[()]

    def write(
        self,
        key: Any,
        value: Any,
        planner: Planner = plan_basic,
        *,
        progress: workers.Progress | None = None,
    ) -> None:
        """Write a selection; ``a[key] = value`` and the others are this with their planner.

        `value` is broadcast to the selection and cast to the array's dtype, as NumPy does. Each chunk is replaced as a
        whole: a reader sees it as it was or as it is to be.

        Parameters
        ----------
        key : index
        value : array-like
        planner : callable
        progress : callable, optional
            Called with numbers of chunks that are done.

        Raises
        ------
        ReadOnlyError
            If the array was opened with ``mode="r"``.
        SelectionError
            If `key` or the shape of `value` do not fit the array.
        EncodingError
            If `value` cannot become an array of the dtype.
        StoreIOError
            If the file system refuses. Each chunk then holds what it held before or what it was to hold.
        """
        self._check_writable()
        plan = self._plan(key, planner, self.metadata.chunks)
        values = self._broadcast(value, plan)
        workers.run(
            plan,
            lambda: self._chunks.writer(values),
            part_nbytes=self._chunks.nbytes_of(self.metadata.chunks),
            workers=self._n_workers,
            progress=progress,
        )

    def _plan(self, key: Any, planner: Planner, chunks: tuple[int, ...]) -> ProductPlan | PointPlan:
        try:
            return planner(key, self.shape, chunks)
        except SelectionError as error:
            raise error.located(path=self.store.path, key=self.path or "/") from error.__cause__

    def _broadcast(self, value: Any, plan: ProductPlan | PointPlan) -> AnyArray:
        if self.dtype.kind == "O" and not plan.shape and isinstance(value, list | tuple):
            values: AnyArray = np.empty((), object)
            values[()] = value  # one element
        else:
            values = self._as_values(value)
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

    def _as_values(self, value: Any) -> AnyArray:
        """`value` as an array, which has the array's dtype or can be cast to it chunk by chunk."""
        try:
            # NumPy looks at each Python object, and refuses integers out of range
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

    def _check_writable(self) -> None:
        if self._read_only:
            raise ReadOnlyError(
                "array is open for reading only",
                path=self.store.path,
                key=self.path or "/",
                mend="Open it with mode='r+'",
            )

    def _with(self, metadata: ArrayMetadata) -> Array:
        return Array(self.store, self.path, metadata, n_workers=self._n_workers)

    def _put(self, metadata: ArrayMetadata) -> None:
        put_node(self.store, self.path, metadata)
        self._chunks = replace(self._chunks, metadata=metadata)

    def _begin_edit(self) -> None:
        """Read the array's own document again: what another object, or library, changed must not be undone."""
        self._check_writable()
        nodes = open_nodes(self.store, zarr_format=self.metadata.zarr_format, consolidated=False)
        self._chunks = replace(self._chunks, metadata=get_array(self.store, nodes, self.path))

    def _edit_attributes(self, change: Change) -> None:
        self._begin_edit()
        self._put(replace(self.metadata, attributes=change(self.metadata.attributes)))

    def resize(self, shape: int | Sequence[int]) -> None:
        """Change the shape; what is new holds the fill value, what is outside is deleted.

        Parameters
        ----------
        shape : int or sequence of int
            In elements; as many numbers as there are dimensions.
        """
        self._begin_edit()
        new_shape = integers(shape, "shape")
        if len(new_shape) != self.ndim or any(size < 0 for size in new_shape):
            raise SelectionError(
                "not a shape for this array", path=self.store.path, key=self.path, expected=self.ndim, found=new_shape
            )
        before = self._with(self.metadata)
        self._put(replace(self.metadata, shape=new_shape))
        before._clear_outside(new_shape)

    def _clear_outside(self, shape: tuple[int, ...]) -> None:
        """Make everything outside of `shape` the fill value, so that it does not come back if the array grows."""
        new_grid = replace(self.metadata, shape=shape).chunk_grid
        kept = [min(old, new) for old, new in zip(self.metadata.chunk_grid, new_grid, strict=True)]
        # by what there is: a large grid may hold few chunks
        for key in list(self.store.list_prefix(self.path)):
            position = self._chunks.position(key)
            if position is not None and any(p >= k for p, k in zip(position, kept, strict=True)):
                self.store.delete(key)
        for axis, (size, chunk, keep) in enumerate(zip(shape, self.metadata.chunks, kept, strict=True)):
            stop = min(keep * chunk, self.shape[axis])
            if size < stop:
                inside = [slice(0, k * c) for k, c in zip(kept, self.metadata.chunks, strict=True)]
                inside[axis] = slice(size, stop)
                self._fill(tuple(inside))

    def _fill(self, key: tuple[slice, ...]) -> None:
        fill = np.empty((), self.dtype)
        fill[()] = self.fill_value
        self[key] = fill

    def append(self, values: Any, axis: int = 0) -> tuple[int, ...]:
        """Write `values` behind the array along `axis`, which grows by as much.

        The data is written first and the shape last, so that readers see all of it or nothing. If that fails, as much
        as possible of what was written is removed.

        Parameters
        ----------
        values : array-like
            Of the array's shape, except along `axis`.
        axis : int

        Returns
        -------
        tuple of int
            The new shape.
        """
        self._begin_edit()
        added = self._as_values(values)
        if not -self.ndim <= axis < self.ndim:
            raise SelectionError("no such axis", path=self.store.path, key=self.path, found=axis)
        axis %= self.ndim
        expected = (*self.shape[:axis], added.shape[axis] if added.ndim > axis else 0, *self.shape[axis + 1 :])
        if added.shape != expected:
            raise SelectionError(
                f"values do not fit the array along every axis but {axis}",
                path=self.store.path,
                key=self.path,
                expected=f"shape {expected}",
                found=f"shape {added.shape}",
            )
        start = self.shape[axis]
        metadata = replace(
            self.metadata, shape=(*self.shape[:axis], start + added.shape[axis], *self.shape[axis + 1 :])
        )
        grown = self._with(metadata)
        try:
            grown[(slice(None),) * axis + (slice(start, None),)] = added
            self._put(metadata)
        except BaseException:
            with suppress(ZarrdsError):
                stored = open_nodes(self.store, zarr_format=metadata.zarr_format, consolidated=False)
                if get_array(self.store, stored, self.path).shape == self.shape:
                    grown._clear_outside(self.shape)
            raise
        return self.shape
