"""The parts of xarray that are not public API, imported here and nowhere else.

A release of xarray that moves or changes one of them fails in ``tests/compat/test_xarray_internals.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Set
from contextlib import suppress
from functools import lru_cache
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from xarray.backends import BackendArray
from xarray.backends.api import DATAARRAY_NAME, DATAARRAY_VARIABLE
from xarray.backends.common import NONE_VAR_NAME, datatree_from_dict_with_io_cleanup
from xarray.backends.writers import _validate_dataset_names as validate_dataset_names
from xarray.coding import strings
from xarray.coding.common import _ElementwiseFunctionArray
from xarray.coding.times import _cleanup_netcdf_time_units, infer_datetime_units
from xarray.conventions import CF_RELATED_DATA, decode_cf_variables, encode_dataset_coordinates
from xarray.core import indexing
from xarray.core.indexing import IndexSelResult
from xarray.namedarray.utils import is_duck_dask_array

from zarrds.compat.releases import FillValueCoder, encode_zarr_variable, lazily

__all__ = [
    "CF_RELATED_DATA",
    "DATAARRAY_NAME",
    "DATAARRAY_VARIABLE",
    "NONE_VAR_NAME",
    "BlockwiseArray",
    "DeferredIndex",
    "FillValueCoder",
    "IndexSelResult",
    "MappedArray",
    "PandasVariable",
    "blockwise_array",
    "bytes_to_char",
    "char_to_bytes",
    "check_vlen_dtype",
    "create_vlen_dtype",
    "datatree_from_dict_with_io_cleanup",
    "decode_cf_variables",
    "encode_dataset_coordinates",
    "encode_zarr_variable",
    "guard_decoders",
    "indexed_by",
    "indexing",
    "infer_datetime_units",
    "is_chunked",
    "is_plain_in_memory",
    "is_strange",
    "lazily",
    "lazy_data",
    "new_dataset",
    "units_as_written",
    "unwrapped",
    "validate_dataset_names",
    "variable_of",
    "with_variables",
]

# xarray gives these no types
bytes_to_char: Callable[[Any], Any] = strings.bytes_to_char
char_to_bytes: Callable[[Any], Any] = strings.char_to_bytes
check_vlen_dtype: Callable[[np.dtype[Any]], type | None] = strings.check_vlen_dtype
create_vlen_dtype: Callable[[type], np.dtype[Any]] = strings.create_vlen_dtype


def units_as_written(units: str) -> str:
    """Units of times in the spelling in which xarray writes them again; other text as it is."""
    with suppress(ValueError):
        return _cleanup_netcdf_time_units(units)
    return units


def lazy_data(variable: xr.Variable) -> Any:
    """What holds a variable's data, without loading it."""
    return variable._data


def variable_of(
    dims: Any, data: Any, attrs: Mapping[Any, Any] | None = None, encoding: Mapping[Any, Any] | None = None
) -> xr.Variable:
    """A variable of data as it is: xarray would look at each object for dates, and at what wraps lazy data."""
    return xr.Variable(dims, data, attrs, encoding, fastpath=True)


def _is_layer(data: Any) -> bool:
    """Whether this is one of xarray's wrappers of lazy data, or a decoder, or ours for one of theirs."""
    kind: Any = type(data)
    return _is_kind_of_layer(kind)


@lru_cache
def _is_kind_of_layer(kind: Any) -> bool:
    return bool(kind.__module__.startswith((indexing.__name__, "xarray.coding", "zarrds.compat.releases")))


def unwrapped(data: Any) -> Any:
    """What xarray's wrappers of lazy data hold, as long as all of it is wanted; None where only a part is.

    Decoders are unwrapped too.
    """
    while _is_layer(data):
        key = getattr(data, "key", None)
        if isinstance(key, indexing.ExplicitIndexer):
            sizes = getattr(data.array, "shape", ())
            parts = zip(key.tuple, sizes, strict=True)
            if not all(isinstance(k, slice) and k.indices(n) == (0, n, 1) for k, n in parts):
                return None
        wrapped = getattr(data, "array", None)
        if wrapped is None:
            return data
        data = wrapped
    return data


def guard_decoders(variable: xr.Variable, guard: Callable[[Callable[..., Any], Any], Callable[..., Any]]) -> None:
    """Let the functions of a variable's elements that decoders apply when it is read be called through others.

    Parameters
    ----------
    variable : Variable
        Lazy or not; one that nobody else uses.
    guard : callable
        Gives the function to be called in place of one, whose results are said to have a dtype; what it gives must
        pickle.
    """
    data: Any = variable._data
    while _is_layer(data):
        if isinstance(data, _ElementwiseFunctionArray):
            data.func = guard(data.func, data.dtype)
        data = getattr(data, "array", None)


def is_chunked(variable: xr.Variable) -> bool:
    """Whether `Variable.chunks` is not None, which takes longer to ask of each of many arrays in memory (10 µs)."""
    data: Any = variable._data
    return not isinstance(data, np.ndarray | indexing.PandasIndexingAdapter) and variable.chunks is not None


def is_plain_in_memory(variable: xr.Variable) -> bool:
    """Whether a variable's values are in memory, so that to look at them costs nothing."""
    data: Any = variable._data
    if isinstance(data, indexing.PandasIndexingAdapter):
        return not isinstance(data, DeferredIndex) and type(data.array).__module__.partition(".")[0] == "pandas"
    return isinstance(data, np.ndarray)


def is_strange(variable: xr.Variable) -> bool:
    """Whether a variable's data is an array of another library than NumPy, pandas and dask, and not xarray's own.

    One of pandas without dimensions is strange, too: xarray makes it of one element, and pandas fails or crashes at it.
    """
    data = variable._data
    if type(data) is np.ndarray or isinstance(
        data, indexing.ExplicitlyIndexed | np.ndarray | pd.api.extensions.ExtensionArray
    ):
        return False
    if isinstance(getattr(data, "array", None), pd.api.extensions.ExtensionArray):
        return not data.shape
    return not is_duck_dask_array(data)


def new_dataset(
    variables: Mapping[Hashable, xr.Variable],
    coordinates: Set[Hashable],
    indexes: Mapping[Hashable, xr.Index],
    attributes: Mapping[Any, Any],
    close: Callable[[], None],
) -> xr.Dataset:
    """A dataset of variables that nobody else uses, as they are: `xr.Dataset` would merge, align and copy them.

    Parameters
    ----------
    variables : mapping of name to Variable
    coordinates : set of names
    indexes : mapping of name to Index
        Of some of the coordinates.
    attributes : mapping
    close : callable

    Raises
    ------
    ValueError
        If the variables do not agree on the size of a dimension.
    """
    return xr.Dataset._construct_direct(
        dict(variables), set(coordinates), attrs=dict(attributes), indexes=dict(indexes), encoding={}, close=close
    )


def with_variables(dataset: xr.Dataset, variables: Mapping[Hashable, xr.Variable]) -> xr.Dataset:
    """A dataset with other variables in the place of some, of the same dimensions: those without an index get none.

    `Dataset.assign` makes an index of one with the name of its dimension. An index that is none of pandas stays what it
    was, as xarray cannot make it anew.
    """
    indexes = dataset.xindexes
    indexed = {n: v for n, v in variables.items() if isinstance(indexes.get(n), xr.indexes.PandasIndex)}
    copied = dataset.assign_coords(indexed) if indexed else dataset.copy()
    copied._variables.update({name: variable for name, variable in variables.items() if name not in indexed})
    return copied


def indexed_by(key: indexing.ExplicitIndexer, shape: tuple[int, ...], get: Callable[[Any], Any]) -> Any:
    """What a backend's array answers to a key of xarray, where `get` knows slices, integers and lists of integers."""
    key = _without_empty_steps_back(key, shape)
    return indexing.explicit_indexing_adapter(key, shape, indexing.IndexingSupport.OUTER_1VECTOR, get)


def _without_empty_steps_back(key: indexing.ExplicitIndexer, shape: tuple[int, ...]) -> indexing.ExplicitIndexer:
    """The same key with plain slices for those that go back and take nothing, of which xarray asks for the last one."""
    parts = list(key.tuple)
    for i, part in enumerate(parts):
        if isinstance(part, slice) and (part.step or 1) < 0 and not len(range(*part.indices(shape[i]))):
            parts[i] = slice(0, 0)
    return key if parts == list(key.tuple) else type(key)(tuple(parts))


class DeferredIndex(indexing.PandasIndexingAdapter):
    """Data of a kind that only pandas knows, which is made when it is first used.

    Parameters
    ----------
    make : callable
        Gives the data as a pandas Index.
    size : int
    dtype : dtype
    variable : Variable, optional
        Lazy, of which it is made.
    """

    __slots__ = ("_index", "_make", "_size", "_variable")

    def __init__(
        self, make: Callable[[], pd.Index[Any]], size: int, dtype: Any, variable: xr.Variable | None = None
    ) -> None:
        self._make = make
        self._variable = variable
        self._size = size
        self._dtype = dtype
        self._index: pd.Index[Any] | None = None

    @property
    def array(self) -> pd.Index[Any]:  # type: ignore[override]  # an attribute there
        """The data."""
        if self._index is None:
            self._index = self._make()
        return self._index

    @property
    def waits_for(self) -> list[xr.Variable]:
        """What is still to be read."""
        return [self._variable] if self._variable is not None and self._index is None else []

    @property
    def shape(self) -> tuple[int, ...]:
        """One dimension."""
        return (self._size,)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._make, self._size, self._dtype, self._variable)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        return self.copy()

    def _plain(self) -> indexing.PandasIndexingAdapter:
        return indexing.PandasIndexingAdapter(self.array, self._dtype)

    def _index_get(self, indexer: Any, func_name: str) -> Any:
        return getattr(self._plain(), func_name)(indexer)

    def copy(self, deep: bool = True) -> Any:
        """The data, made now."""
        return self._plain().copy(deep=deep)


class PandasVariable(xr.Variable):
    """A variable of a pandas extension type. dask cannot hold such data, so that it stays in one piece."""

    __slots__ = ()

    @property
    def _in_memory(self) -> bool:
        return True  # else xarray would ask dask how to chunk it

    def chunk(self, *args: Any, **kwargs: Any) -> Self:
        """The variable itself, as of an index."""
        return self.copy(deep=False)


class MappedArray(BackendArray):
    """A lazy variable with a function of its elements.

    Parameters
    ----------
    variable : Variable
        Lazy.
    function : callable
        Of an array of any shape, element by element; pickles.
    dtype : dtype
        Of its results.
    """

    def __init__(
        self, variable: xr.Variable, function: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]], dtype: Any
    ) -> None:
        self.variable, self.function = variable, function
        self.dtype, self.shape = dtype, variable.shape

    def lazily(self) -> Any:
        """As the data of a variable."""
        return lazily(self)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        key = _without_empty_steps_back(key, self.shape)
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._get)

    def _get(self, key: Any) -> np.ndarray[Any, Any]:
        return self.function(np.asarray(self.variable[key].values))


class BlockwiseArray(MappedArray):
    """A lazy variable that is too large for memory: whoever uses all of it takes it block by block.

    Parameters
    ----------
    variable : Variable
        Lazy.
    on_block : callable
        Of a block's values and the place of its first element; gives a block of the same shape.
    dtype : dtype
        Of its results.
    nbytes : int
        That a block may have.
    """

    def __init__(
        self,
        variable: xr.Variable,
        on_block: Callable[[np.ndarray[Any, Any], tuple[int, ...]], np.ndarray[Any, Any]],
        dtype: Any,
        nbytes: int,
    ) -> None:
        super().__init__(variable, lambda values: on_block(values, (0,) * values.ndim), dtype)
        self.on_block, self.nbytes_of_block = on_block, nbytes

    def _get(self, key: Any) -> np.ndarray[Any, Any]:
        if not all(isinstance(part, slice) and part.step in (None, 1) for part in key):
            return super()._get(key)
        origin = tuple(part.indices(size)[0] for part, size in zip(key, self.shape, strict=True))
        return self.on_block(np.asarray(self.variable[key].values), origin)


def blockwise_array(variable: xr.Variable) -> BlockwiseArray | None:
    """What a variable takes block by block, if all of it is that."""
    data: Any = variable._data
    if not isinstance(data, indexing.LazilyIndexedArray) or not isinstance(data.array, BlockwiseArray):
        return None
    return data.array if unwrapped(data) is data.array else None
