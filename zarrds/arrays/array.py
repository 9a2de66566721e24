"""A chunked array in a store."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from zarrds.arrays.attributes import Attributes, Change
from zarrds.arrays.in_place import InPlace, check_not_another
from zarrds.codecs.base import AnyArray
from zarrds.engine.cache import ChunkCache
from zarrds.engine.chunk_io import MissingChunks
from zarrds.engine.elements import Elements, Planner
from zarrds.engine.planning.selection import plan_basic, plan_orthogonal, plan_pointwise
from zarrds.engine.progress import ProgressOption, progress_bar
from zarrds.errors import ChunkError, ReadOnlyError
from zarrds.metadata.extension import ORDER, STATISTICS, note_of
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.nodes.documents import document_key
from zarrds.storage.protocol import Store

__all__ = ["Array"]


@dataclass(frozen=True, slots=True)
class _Indexer:
    """What ``a.oindex`` and ``a.vindex`` are."""

    array: Array
    planner: Planner

    def __getitem__(self, key: Any) -> AnyArray:
        return cast(AnyArray, self.array.read_checked(key, self.planner))

    def __setitem__(self, key: Any, value: Any) -> None:
        self.array.write(key, value, self.planner)


class Array:
    """An array of chunks in a store. Made by `zarrds.open_array`, `zarrds.create_array` and groups.

    Indexing reads and writes only the chunks that it touches, in threads. Any number of threads and processes may read
    at once, and write at once: whole chunks without a lock, parts of a chunk one writer at a time.

    The shape and the attributes are those that were read when the array was opened. `resize`, `append` and changes of
    the attributes begin by reading them again, and keep others out that do the same in this store, also in other
    processes. One object is not for such changes from several threads at once.

    Parameters
    ----------
    store : Store
    path : str
        Below the store's root.
    metadata : ArrayMetadata
    read_only : bool
    n_workers : int, optional
        Threads for one read or write; unless said as many as cores, or more where the store waits.
    missing_chunks : {"error", "fill"}, optional
        What an absent chunk is: an error, the fill value, or, unless said, an error in arrays that were saved as a
        whole, and the fill value in others.
    cache : ChunkCache, optional
        Where chunks are kept of which a part was read.

    Examples
    --------
    >>> import zarrds
    >>> a = zarrds.create_array(zarrds.MemoryStore(), shape=(4, 6), dtype="f4", chunks=(2, 3))
    >>> a[1:3, ::2] = 1.5
    >>> a[2], a.vindex[[1, 2], [0, 5]]
    (array([1.5, 0. , 1.5, 0. , 1.5, 0. ], dtype=float32), array([1.5, 0. ], dtype=float32))
    """

    def __init__(
        self,
        store: Store,
        path: str,
        metadata: ArrayMetadata,
        *,
        read_only: bool = False,
        n_workers: int | None = None,
        missing_chunks: MissingChunks = None,
        cache: ChunkCache | None = None,
    ) -> None:
        self._store = store
        self._path = path
        self._read_only = read_only
        self._n_workers = n_workers
        self._missing_chunks: MissingChunks = missing_chunks
        # of a remote store, to ask whether a chunk is still the same takes as long as to read a small one
        self._is_remote = store.traits.is_remote
        self._in_place: InPlace | None = None
        self._cache = None if self._is_remote else cache
        self._set_metadata(metadata)

    @property
    def metadata(self) -> ArrayMetadata:
        """What the array's metadata document says."""
        return self._metadata

    @property
    def elements(self) -> Elements:
        """What reads and writes the elements, and knows nothing of documents."""
        return self._elements

    @property
    def store(self) -> Store:
        """What holds the array."""
        return self._store

    @property
    def path(self) -> str:
        """Where the array stands below its store's root."""
        return self._path

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
        return self._elements.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements of one chunk along each dimension."""
        return self._elements.chunks

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Elements of one shard along each dimension, None for an array without shards."""
        return self._elements.shards

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
        return self._elements.fill_value

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

    def _repr_html_(self) -> str:
        from zarrds.arrays.pages import array_page  # imported late: reading does not need it
        from zarrds.display.html import html_of

        return html_of(array_page(self.store.path, self.path, self.metadata))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        if copy is False:
            raise ValueError("a stored array cannot become a NumPy array without a copy")
        return np.asarray(self[...], dtype=dtype)

    def __getitem__(self, key: Any) -> AnyArray:
        return cast(AnyArray, self.read_checked(key, plan_basic))

    def __setitem__(self, key: Any, value: Any) -> None:
        self.write(key, value, plan_basic)

    def __dask_tokenize__(self) -> Hashable:
        return type(self).__name__, self.store.path, self.path, self.identity()

    def check_codecs(self) -> None:
        """Raise `MetadataError` or `UnsupportedError` if the array's chunks could not be decoded."""
        self._elements.check_codecs()

    def identity(self) -> Hashable:
        """Changes whenever the array's document, and so perhaps its shape, is written anew."""
        return self.store.identity(document_key(self.path, self.metadata))

    def read(self, key: Any, planner: Planner = plan_basic) -> Any:
        """Read a selection; ``a[key]``, ``a.oindex[key]`` and ``a.vindex[key]`` are this with their planner.

        Raises
        ------
        SelectionError
            If `key` does not fit the array.
        ChunkError
            If a chunk's bytes are damaged, or a chunk is missing that must be there.
        ConflictError
            If that is so because another writer has replaced the array since it was opened.
        """
        try:
            return self._elements.read(key, planner)
        except ChunkError as error:
            check_not_another(self.store, self.path, self.metadata, error.problem)
            raise

    def read_checked(self, key: Any, planner: Planner) -> Any:
        """As `read`; where chunks of a remote store are absent, look if it is so since the array was replaced."""
        if not self._is_remote:
            return self.read(key, planner)
        before = self._elements.n_absent
        value = self.read(key, planner)
        if self._elements.n_absent != before:
            check_not_another(self.store, self.path, self.metadata)
        return value

    def write(
        self,
        key: Any,
        value: Any,
        planner: Planner = plan_basic,
        *,
        progress: ProgressOption = False,
    ) -> None:
        """Write a selection; ``a[key] = value`` and the others are this with their planner.

        `value` is broadcast to the selection and cast to the array's dtype, as NumPy does. Each chunk is replaced as a
        whole: a reader sees the old chunk or the new one.

        Parameters
        ----------
        key : index
        value : array-like
        planner : callable
        progress : bool or callable
            True shows a progress bar (needs tqdm); a function is called with the chunks done and those to do.

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
        ChunkError
            If a chunk of which a part is written is damaged, or is missing and must be there.
        ConflictError
            If another writer has replaced the array, or cut it, since it was opened, also while this is written: the
            array that is there then is left as it is.
        """
        self._check_writable()
        n_chunks = self._elements.n_chunks_of(key, planner) if progress else 0
        if note_of(self.metadata, ORDER) is not None:  # of labels, which may be others from now on
            from zarrds.arrays.changing import without_order  # imported late: readers do not need it

            self._set_metadata(without_order(self.store, self.path, self.metadata))
        if self._in_place is None:  # what is written goes through this, and into no other array
            self._in_place = InPlace(self._store, self._store, self._path, self._metadata)
        with self._in_place as values, progress_bar(n_chunks, "write", enabled=progress) as advance:
            self._elements.through(values).write(key, value, planner, progress=advance)
        if note_of(self.metadata, STATISTICS) is True:
            from zarrds.chunk_statistics.keeping import put_rows_in_place  # imported late: readers do not need it

            put_rows_in_place(self.store, self.path, self.metadata, self._elements.positions_of(key, planner))

    def _check_writable(self) -> None:
        if self._read_only:
            raise ReadOnlyError(
                "array is open for reading only",
                path=self.store.path,
                key=self.path or "/",
                mend="Open it with mode='r+'",
            )

    def _elements_of(self, metadata: ArrayMetadata) -> Elements:
        return Elements(
            self._store,
            self._path,
            metadata,
            n_workers=self._n_workers,
            missing_chunks=self._missing_chunks,
            cache=self._cache,
        )

    def _set_metadata(self, metadata: ArrayMetadata) -> None:
        self._metadata = metadata
        self._elements = self._elements_of(metadata)
        self._in_place = None

    # changes; what makes them is imported late: readers do not need it

    def _edit_attributes(self, change: Change) -> None:
        from zarrds.arrays.changing import with_changed_attributes

        self._check_writable()
        self._set_metadata(with_changed_attributes(self.store, self.path, self.metadata, change))

    def resize(self, shape: int | Sequence[int]) -> None:
        """Change the shape, in one step; what is new holds the fill value, what is outside is deleted.

        Parameters
        ----------
        shape : int or sequence of int
            In elements; as many numbers as there are dimensions.
        """
        from zarrds.arrays.changing import resized

        self._check_writable()
        self._set_metadata(resized(self.store, self.path, self.metadata, shape, self._n_workers))

    def append(self, values: Any, axis: int = 0) -> tuple[int, ...]:
        """Write `values` behind the array along `axis`, which grows by as much.

        In one step: readers see all of it or nothing, and so does a store whose writer died. Of two appends at once,
        the second waits for the first.

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
        from zarrds.arrays.changing import appended

        self._check_writable()
        self._set_metadata(appended(self.store, self.path, self.metadata, values, axis, self._elements_of))
        return self.shape
