"""Stored arrays as lazy xarray variables."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
import xarray as xr
from xarray.backends import BackendArray

from zarrds.arrays.array import Array
from zarrds.compat.xarray_faults import mend_concatenation, mend_interpolation, mend_missing_dates
from zarrds.compat.xarray_internals import create_vlen_dtype, indexing, lazily, variable_of
from zarrds.compat.xarray_loading import is_decoding, loaded_together, loading_together, to_be_loaded_too
from zarrds.datasets.encoding.attributes import decoded_attributes
from zarrds.datasets.encoding.stored_encoding import encoding_of
from zarrds.datasets.reading.open_options import OpenOptions
from zarrds.engine.cache import ChunkCache, cache_of
from zarrds.engine.elements import Elements, Planner
from zarrds.engine.executor import in_thread
from zarrds.engine.planning.selection import plan_basic, plan_orthogonal, plan_pointwise
from zarrds.errors import (
    ChunkError,
    ConflictError,
    MetadataError,
    StoreIOError,
    UndecodableError,
    UnsupportedError,
    ZarrdsError,
)
from zarrds.metadata.extension import is_replaced
from zarrds.metadata.fetched import recover
from zarrds.metadata.formats import spec_of
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.nodes.documents import Nodes, document_key, own_node
from zarrds.metadata.times import in_unit
from zarrds.storage.protocol import Store, Values
from zarrds.threads import side_by_side

__all__ = ["UNASKED_NBYTES", "LazyArray", "LazyArrays", "check_is_stored", "look_again"]

mend_interpolation()
mend_concatenation()
mend_missing_dates()

# what xarray's three kinds of keys mean
_PLANNERS: dict[type[indexing.ExplicitIndexer], Planner] = {
    indexing.BasicIndexer: plan_basic,
    indexing.OuterIndexer: plan_orthogonal,
    indexing.VectorizedIndexer: plan_pointwise,
}


# bytes of one array that are read at open without a look at what is stored; chunks that are looked for of a larger one
UNASKED_NBYTES = 2**26
_LOOKED_FOR = 16
_UNKNOWN = "unknown"  # no version of a document
_MAX_DIMENSIONS = 64  # that NumPy has


def check_is_stored(elements: Elements) -> None:
    """Raise unless chunks are there that could hold so many elements: asked before all of them are read unasked.

    A document of some bytes may claim any shape. Of a large array some chunks are looked for.

    Parameters
    ----------
    elements : Elements
        Of labels.

    Raises
    ------
    MetadataError
    """
    if prod(elements.shape) * elements.dtype.itemsize <= UNASKED_NBYTES:
        return
    grid = elements.metadata.chunk_grid
    n_chunks = prod(grid)
    numbers = {i * (n_chunks - 1) // (_LOOKED_FOR - 1) for i in range(_LOOKED_FOR)}
    keys = [elements.chunk_key(_position(number, grid)) for number in sorted(numbers)]
    n_there = sum(elements.store.identity(key) is not None for key in keys)
    if 2 * n_there < len(keys):
        raise MetadataError(
            "labels are not stored that the shape tells of, and would be read into memory",
            path=elements.store.path,
            key=elements.path or "/",
            expected=f"{n_chunks} chunks",
            found=f"{n_there} of {len(keys)} that were looked for",
            mend="Leave the array out with drop_variables, or correct its shape",
        )


def _position(number: int, grid: tuple[int, ...]) -> tuple[int, ...]:
    """The position of a chunk that is counted through all of a grid."""
    position: list[int] = []
    for size in reversed(grid):
        number, at = divmod(number, size)
        position.insert(0, at)
    return tuple(position)


def _as_xarray_counts(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that xarray has for NumPy's times: seconds for minutes, hours, days, …, of which it knows none."""
    unit, count = np.datetime_data(dtype)
    if unit in ("ms", "us", "ns"):
        return dtype if count == 1 else np.dtype(f"{dtype.kind}8[{unit}]")
    is_whole = unit in ("W", "D", "h", "m", "s") or (unit in ("Y", "M") and dtype.kind == "M")
    return np.dtype(f"{dtype.kind}8[s]") if is_whole else dtype


class LazyArray(BackendArray):
    """An array that xarray indexes lazily; any number of threads may read it, and it pickles.

    What is read is what was opened: if the array was replaced since by another of the same name, that is an error; if
    it has grown, its old part is read.

    Parameters
    ----------
    array : Array
    root : str
        The key of the document that changes whenever the array may have been replaced.
    version : hashable
        Of that document when the array was opened; by it dask tells a store from what was later written in its place.
    touched : (str, hashable), optional
        The key of a document that is put anew before chunks of a change are, behind which that one may come later, and
        its version.

    Attributes
    ----------
    stored : Array
    is_locked : bool
        Whether it is read by who holds the store's lock, so that it need not be looked whether it is still there.
    """

    __slots__ = ("_ahead", "_checked", "_keys", "_version", "dtype", "is_locked", "shape", "stored")

    def __init__(
        self,
        array: Array,
        root: str,
        version: Hashable,
        *,
        touched: tuple[str, Hashable] | None = None,
        is_locked: bool = False,
    ) -> None:
        self.stored = array
        self.is_locked = is_locked
        self._keys = (root,) if touched is None else (root, touched[0])
        self._version = version
        # the newest versions of these in which the array was found to be still the same
        self._checked: tuple[Hashable, ...] = (version,) if touched is None else (version, touched[1])
        self._ahead: Any = None  # all elements, while a dataset is opened that needs them
        metadata = array.metadata
        self.shape, data_type = metadata.shape, metadata.data_type
        self.dtype = create_vlen_dtype(str) if data_type.name == "string" else data_type.dtype
        if self.dtype.fields:  # xarray's decoders take those of another byte order for nameless bytes
            self.dtype = self.dtype.newbyteorder("=")
        if self.dtype.kind in "mM":
            self.dtype = _as_xarray_counts(self.dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "_ahead"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in {**state, "_ahead": None}.items():
            setattr(self, name, value)

    def __dask_tokenize__(self) -> Hashable:
        # of some URLs all that matters stands in the options
        options = getattr(self.stored.store, "token", "")
        return "zarrds", self.stored.store.path, options, self.stored.path, self._version

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        if self.dtype.kind == "O" and is_decoding():
            # xarray's decoders look at the first of all objects, to see whether it is a date: stored ones never are
            return np.full((1,) * len(self.shape), "", self.dtype)[(0,) * len(self.shape)]
        others = to_be_loaded_too() if self.stored.store.traits.is_remote else ()
        if not others:
            return self._read(key)
        # the first variable that `Dataset.load` loads: the others come with it
        found: dict[str, Any] = {}
        loaded: list[LazyArray] = []

        def load(variable: xr.Variable | None) -> None:
            with loading_together(loaded):
                if variable is None:
                    found["value"] = self._read(key)
                else:
                    variable.load()

        side_by_side(load, [None, *others])
        look_again(loaded)
        return found["value"]

    def read_ahead(self, values: Values | None = None) -> None:
        """Read all elements, and keep them for what opens a dataset; what fails here fails again, and better, there.

        They are kept until `forget`, or until all were asked for at once after decoding: xarray makes indexes last.
        `values` may have some of the store's values at hand.
        """
        with suppress(ZarrdsError):
            self._ahead = self.stored.read(...) if values is None else self.stored.elements.through(values).read(...)

    def forget(self) -> None:
        """Drop what was read ahead."""
        self._ahead = None

    def _read(self, key: indexing.ExplicitIndexer) -> Any:
        if self._ahead is not None and (len(self.shape) == 1 or isinstance(key, indexing.BasicIndexer)):
            found = np.copy(self._ahead[key.tuple])
            if found.shape == self.shape and not is_decoding():
                self.forget()
            return self._with_dtype(found[()])
        try:
            # as `explicit_indexing_adapter` does for arrays that leave nothing to NumPy
            value = self._with_dtype(self.stored.read(key.tuple, _PLANNERS[type(key)]))
        except ZarrdsError as error:
            # if a chunk was missing or could not be decoded, this may be why
            checked = self._checked
            self.check_still_there()
            if checked == self._checked or not isinstance(error, ChunkError):
                raise
            # the array is there; but it may have been elsewhere, as after a rename there and back
            raise ConflictError(
                "the store was changed while this was read, or since it was opened, and a chunk could not be read",
                path=self.stored.store.path,
                key=error.key or self.stored.path or "/",
                found=error.problem,
                mend="Read it again: if the chunk is lost or damaged, the error will say so",
            ) from error
        # afterwards, so that nothing can change between the look and the reading
        together = loaded_together()
        if self.is_locked:
            return value
        if not self.stored.store.traits.is_remote:
            self.check_still_there()
        elif together is not None:
            together.append(self)
        elif not is_decoding():  # what is opened takes no round trip for it
            look_again([self])
        return value

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Any:
        """As ``self[key]``, in a thread."""
        return await in_thread(self.__getitem__, key)

    @property
    def version(self) -> Hashable:
        """Of the document that changes whenever the array may have been replaced, when the array was opened."""
        return self._version

    def check_still_there(self) -> None:
        """Raise `ConflictError` if the array was replaced since; two looks at the file system if nothing changed."""
        store, path = self.stored.store, self.stored.path
        recover(store, by_root="/" not in self._keys[0])
        versions = tuple(map(self._version_now, self._keys))
        if versions == self._checked:
            return
        opened = self.stored.metadata
        if is_replaced(opened, own_node(store, path, opened)):
            raise ConflictError(
                "the array was replaced, or removed, after this dataset was opened",
                path=store.path,
                key=path or "/",
                mend="Open the dataset again",
            )
        if _UNKNOWN not in versions:
            self._checked = versions

    def _version_now(self, key: str) -> Hashable:
        try:
            return self.stored.store.identity(key)
        except StoreIOError:
            if not self.stored.store.traits.is_remote:
                raise
            return _UNKNOWN  # some web servers do not answer to HEAD: the document itself tells

    def _with_dtype(self, value: Any) -> Any:
        if self.dtype.kind in "mM":
            return value if value.dtype == self.dtype else self._as_times(value)
        if self.dtype.kind != "O" or isinstance(value, np.ndarray):
            return value.astype(self.dtype, copy=False) if self.dtype.fields else value
        # one Python object: an array of no dimensions keeps it from becoming another dtype
        scalar = np.empty((), self.dtype)
        scalar[()] = value
        return scalar

    def _as_times(self, value: Any) -> Any:
        times = in_unit(value, self.dtype)
        if times is None:
            raise UndecodableError(
                f"times are beyond the range of {self.dtype}, which xarray has for them",
                path=self.stored.store.path,
                key=self.stored.path or "/",
                found=str(value.dtype),
                mend="zarrds.open_array reads them as they are stored",
            )
        return times


def look_again(arrays: Sequence[LazyArray]) -> None:
    """Raise `ConflictError` if one of some arrays that were just read was replaced since it was opened.

    One look at each document that changes with them: of a consolidated store, for all of them together.
    """
    first = {(id(array.stored.store), key): (array, key) for array in reversed(arrays) for key in array._keys}
    stores = {(id(array.stored.store), "/" not in array._keys[0]): array.stored.store for array in arrays}
    for (_, by_root), store in stores.items():
        if not store.traits.is_remote:
            recover(store, by_root=by_root)
    found = side_by_side(lambda each: each[0]._version_now(each[1]), list(first.values()))
    versions = dict(zip(first, found, strict=True))

    def is_changed(array: LazyArray) -> bool:
        return tuple(versions[id(array.stored.store), key] for key in array._keys) != array._checked

    changed = list(filter(is_changed, arrays))
    side_by_side(LazyArray.check_still_there, changed)


@dataclass(frozen=True, slots=True)
class LazyArrays:
    """Makes lazy variables of one store's arrays.

    Attributes
    ----------
    store : Store
    version : (str, hashable) or None
        Of the document that changes with every array; None where each array's own must be looked at.
    n_workers : int or None
    missing_chunks : {"error", "fill"} or None
        As of `zarrds.open_array`.
    cache : ChunkCache
    fill_value_is_mask : bool
        Whether the arrays' fill values are missing values.
    is_locked : bool
        Whether they are read by who holds the store's lock.
    touched : (str, hashable) or None
        As of `LazyArray`, where each array's own document must be looked at.
    """

    store: Store
    version: tuple[str, Hashable] | None
    n_workers: int | None
    missing_chunks: Literal["error", "fill"] | None
    cache: ChunkCache
    fill_value_is_mask: bool
    is_locked: bool = False
    touched: tuple[str, Hashable] | None = None

    @classmethod
    def of(
        cls,
        store: Store,
        nodes: Nodes,
        asked: OpenOptions,
        *,
        is_locked: bool = False,
        touched: tuple[str, Hashable] | None = None,
    ) -> LazyArrays:
        """For nodes that were just read; unless said, fill values are missing values in format 2 only."""
        is_mask = asked.use_zarr_fill_value_as_mask
        is_mask = spec_of(nodes).IS_FILL_MISSING if is_mask is None else is_mask
        version = nodes.version if nodes.consolidated else None
        cache, touched = cache_of(asked.chunk_cache), None if version else touched
        return cls(store, version, asked.workers, asked.missing_chunks, cache, is_mask, is_locked, touched)

    def array(self, path: str, metadata: ArrayMetadata, version: tuple[str, Hashable] | None = None) -> LazyArray:
        """One array. Raises `MetadataError` or `UnsupportedError` if its chunks could not be decoded.

        `version` is what `Nodes.version_of` says, where that was asked already.
        """
        _check_can_be_variable(metadata)
        array = Array(
            self.store,
            path,
            metadata,
            read_only=True,
            n_workers=self.n_workers,
            missing_chunks=self.missing_chunks,
            cache=self.cache,
        )
        array.check_codecs()  # refused here, by name, and not when it is read at last
        version = self.version or version
        if version is not None:
            return LazyArray(array, *version, touched=self.touched, is_locked=self.is_locked)
        key = document_key(path, metadata)
        return LazyArray(array, key, self.store.identity(key), touched=self.touched, is_locked=self.is_locked)

    def variable(self, lazy: LazyArray) -> xr.Variable:
        """The variable of an array, as it is stored: xarray's decoders are still to come."""
        metadata = lazy.stored.metadata
        names = metadata.dimension_names
        if names is None and not metadata.shape:
            names = ()
        if names is None or None in names:
            raise MetadataError(
                "array has no names for its dimensions",
                path=self.store.path,
                key=lazy.stored.path,
                mend="Open it with zarrds.open_array, or leave it out with drop_variables",
            )
        attributes = decoded_attributes(metadata, fill_value_is_mask=self.fill_value_is_mask)
        encoding = encoding_of(metadata, fill_value_is_mask=self.fill_value_is_mask)
        return variable_of(names, lazily(lazy), attributes, encoding)


def _check_can_be_variable(metadata: ArrayMetadata) -> None:
    if len(metadata.shape) > _MAX_DIMENSIONS:
        raise UnsupportedError("NumPy has no arrays of so many dimensions", found=len(metadata.shape))
    dtype = metadata.data_type.dtype
    if dtype.kind in "mM" and np.datetime_data(dtype)[0] == "generic":
        raise UnsupportedError("times without a unit say nothing", found=str(dtype))
