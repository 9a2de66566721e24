"""``zarrds.aggregate``: smallest, largest, how many and how much, from statistics where they tell it exactly."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.arguments import check_texts, hashables_of, nearest
from zarrds.chunk_statistics.building import MAX_CHUNKS
from zarrds.chunk_statistics.facts import sum_dtype_of
from zarrds.codecs.base import AnyArray
from zarrds.datasets.description.of_store import unknown_variable
from zarrds.datasets.querying import blocks
from zarrds.datasets.querying.bounds.stored import StoredChunks
from zarrds.datasets.querying.bounds.stored_codes import compared_dtype
from zarrds.datasets.querying.expressions.binding import Kind
from zarrds.datasets.querying.matches import results_of
from zarrds.datasets.querying.opening import opened_dataset
from zarrds.datasets.querying.operands import Operand, compared_values, kind_of, ranks_of
from zarrds.engine import executor
from zarrds.engine.progress import ProgressOption, progress_bar
from zarrds.errors import QueryError
from zarrds.labels.kinds.arrow import own_dtype
from zarrds.storage.protocol import Store

__all__ = ["aggregate"]

How: TypeAlias = Literal["min", "max", "count", "sum", "mean"]
_HOWS = get_args(How)
# elements of a block where there are no chunks to go by
_BLOCK = 2**20
_MOST_READ = 2**44  # elements, of which no statistics tell


def aggregate(
    store: str | os.PathLike[str] | Store | xr.Dataset | xr.DataArray,
    variable: str | None,
    how: How,
    dim: Hashable | Iterable[Hashable] | None = None,
    *,
    progress: ProgressOption = False,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    """Reduce a variable along dimensions, as xarray's methods of the same names do, and read as little as can be.

    A chunk is not read whose statistics (see `zarrds.index`) are those of what is stored now, that the dataset has
    selected as a whole, and of which all elements go into the same element of the result.

    Parameters
    ----------
    store : str, os.PathLike, Store, Dataset or DataArray
        A dataset may be any; what it has selected is applied first.
    variable : str or None
        None for a DataArray.
    how : {"min", "max", "count", "sum", "mean"}
        What is missing (NaN, NaT) counts for nothing. xarray's own ``min`` and ``max`` of times give NaT if there is
        one.
    dim : str or several, optional
        Which dimensions go; all unless said.
    progress : bool, "rich" or callable
        As of `zarrds.save`.
    group : str, optional
        Of a store; the root unless said.
    storage_options : mapping, optional
        As of `zarrds.save`.

    Returns
    -------
    DataArray
        Smallest and largest are exact, in the variable's dtype (times with a zone in UTC), and so is the count. Sums
        are of 64-bit integers for integers of up to 4 bytes, exactly; else of 64-bit floats, in the order of the
        chunks: they may differ from those of NumPy in the last digits. Of packed values, the sum is that of the stored
        integers, times the factor.

    Raises
    ------
    QueryError
        If there is no such way or dimension, or nothing to reduce, or the values cannot be reduced like this.
    StoreNotFoundError, NodeNotFoundError, VariableNotFoundError
        If there is no such store, group or variable.
    ChunkError
        If a chunk cannot be read.

    Notes
    -----
    Any number of threads may ask at once.

    Examples
    --------
    >>> import numpy as np, xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> zarrds.save(xr.Dataset({"t2m": (("time", "lat"), np.arange(6.0).reshape(3, 2))}), store)
    >>> zarrds.index(store)
    >>> float(zarrds.aggregate(store, "t2m", "max"))
    5.0
    >>> zarrds.aggregate(store, "t2m", "sum", dim="lat").values
    array([1., 5., 9.])
    """
    check_texts(variable=variable, how=how, group=group)
    if how not in _HOWS:
        raise QueryError("there is no such way to reduce", expected=f"one of {', '.join(_HOWS)}", found=repr(how))
    ds = opened_dataset(store, group, storage_options)
    if variable is None and isinstance(store, xr.DataArray):
        (name,) = ds.data_vars
    else:
        names = {str(each): each for each in ds.variables}
        if variable not in names:
            raise unknown_variable(str(variable), list(names), None)
        name = names[str(variable)]
    data = ds.variables[name].to_base_variable()
    gone = _dims(data, dim)
    kind = kind_of(data)
    if not (kind in ("number", "condition") or (kind in ("time", "span") and how in ("min", "max", "count"))):
        raise QueryError(
            "values of this kind cannot be reduced like this",
            key=str(name),
            expected="numbers or booleans; of times and timedeltas min, max and count",
            found=f"{how} of {data.dtype}",
        )
    if how in ("min", "max") and ranks_of(data) is not None:
        raise QueryError(
            "ordered categories are not ordered as the values that they are",
            key=str(name),
            found=f"{how} of {data.dtype}",
            mend=f"Ask pandas, which goes by their order: pandas.Series(dataset[{str(name)!r}].data).{how}()",
        )
    axes = tuple(i for i, each in enumerate(data.dims) if each in gone)
    try:
        found = _Reduction(data, how, axes, str(name), kind).run(progress)
    except MemoryError as error:
        raise _too_large(data, str(name)) from error
    kept = tuple(each for each in data.dims if each not in gone)
    coordinates = {each: ds.variables[each] for each in ds.coords if set(ds.variables[each].dims) <= set(kept)}
    attrs = {} if how == "count" else data.attrs
    given = store.name if isinstance(store, xr.DataArray) else name
    return xr.DataArray(xr.Variable(kept, found, attrs), coordinates, name=given)


def _dims(data: xr.Variable, dim: Any) -> tuple[Hashable, ...]:
    if dim is None or dim is ...:
        return data.dims
    asked = hashables_of(dim=dim if isinstance(dim, Iterable) else [dim])
    for each in asked - set(data.dims):
        raise QueryError("the variable has no such dimension", found=repr(each), mend=nearest(each, data.dims))
    return tuple(each for each in data.dims if each in asked)


def _too_large(data: xr.Variable, name: str) -> QueryError:
    return QueryError("the variable is too large", key=name, found=dict(data.sizes), mend="Select a part of it first")


@dataclass(frozen=True, slots=True)
class _Part:
    """What is known of some elements of the result; `values` count for nothing where `count` is 0."""

    values: AnyArray
    count: AnyArray


class _Reduction:
    """One variable that is reduced along some of its axes."""

    def __init__(self, data: xr.Variable, how: How, axes: tuple[int, ...], name: str, kind: Kind) -> None:
        self._data, self._how, self._axes, self._name, self._kind = data, how, axes, name, kind
        self._operand = Operand(name, data, data.dims, 0, kind)
        chunks = self._operand.chunks
        # of more chunks there are no statistics, and their edges may take more memory than there is
        is_usual = chunks is None or prod(chunks.shape) <= MAX_CHUNKS
        self._chunks = chunks if isinstance(chunks, StoredChunks) and is_usual else None
        if self._chunks is None and data.size > _MOST_READ:
            raise _too_large(data, name)
        edges = self._operand.chunk_edges() if is_usual else {}
        self._edges = blocks.with_even_edges(edges, data.shape, _BLOCK)
        self._shape = tuple(n for axis, n in enumerate(data.shape) if axis not in axes)
        self._dtype = self._operand.plain_dtype if data.dtype == np.dtype(object) else _plain_dtype(data.dtype)

    @property
    def _sum_dtype(self) -> np.dtype[Any]:
        return sum_dtype_of(self._dtype)

    def run(self, progress: ProgressOption) -> AnyArray:
        result = self._empty(self._shape)
        grid = tuple(len(each) - 1 for each in self._edges)
        wanted = np.ones(grid, bool)
        if self._chunks is not None and wanted.any():
            part, is_told = self._told(self._chunks)
            wanted = ~is_told
            # blocks that are told have one element along each dimension that stays
            at = np.ix_(*(self._edges[axis][:-1] for axis in range(len(grid)) if axis not in self._axes))
            if is_told.any():
                result = self._joined(result, at if self._shape else (), part)
        with progress_bar(int(wanted.sum()), "aggregate", enabled=progress, unit="block") as advance:
            return self._finished(self._with_blocks(result, wanted, advance))

    def _empty(self, shape: tuple[int, ...]) -> _Part:
        dtype = self._dtype if self._how in ("min", "max") else self._sum_dtype
        return _Part(np.zeros(shape, dtype), np.zeros(shape, np.int64))

    def _joined(self, result: _Part, at: Any, part: _Part) -> _Part:
        """Take what is known of some elements into the result; where they are finer times, all of it gets finer."""
        if self._how in ("min", "max") and part.values.dtype.kind in "mM":
            unit = np.promote_types(result.values.dtype, part.values.dtype)
            result = _Part(result.values.astype(unit, copy=False), result.count)
        elif self._how in ("min", "max"):  # which of signed and unsigned integers together would be rounded
            part = _Part(part.values.astype(result.values.dtype, copy=False), part.count)
        values, count = result.values[at], result.count[at]
        if self._how in ("min", "max"):
            better = np.minimum if self._how == "min" else np.maximum
            both = better(values, part.values)
            values = np.where(count == 0, part.values, np.where(part.count == 0, values, both))
        else:
            with np.errstate(all="ignore"):
                values = values + part.values
        result.values[at], result.count[at] = values, count + part.count
        return result

    def _told(self, chunks: StoredChunks) -> tuple[_Part, AnyArray]:
        """What statistics tell, reduced over blocks; and of which blocks they tell it."""
        usable = self._usable(chunks)
        chunks.verify(self._operand.chunks_in(usable, self._edges) if usable.any() else np.zeros(chunks.shape, bool))
        facts = chunks.facts()
        dropped = [n for axis, n in enumerate(chunks.shape) if axis in chunks.axes]
        columns = [facts.known, facts.count, facts.low if self._how == "min" else facts.high, facts.sum]
        arrays = [None if each is None else self._by_block(each.reshape(dropped), chunks) for each in columns]
        known, count, end, total = arrays
        assert known is not None
        assert count is not None
        is_told = usable & known
        if self._how in ("min", "max") and not facts.is_exact:
            is_told = np.zeros_like(is_told)
        if self._how not in ("min", "max"):
            is_told = is_told & (count >= 0)
        if self._how in ("sum", "mean"):
            is_told = is_told & (total is not None)
        # where the count is not known there is a value, since there are bounds
        count = np.where(is_told, np.where(count < 0, 1, count), 0)
        if self._how in ("min", "max"):
            assert end is not None
            values = _reduced_ends(end, count > 0, self._axes, self._how)
        else:
            source = count if total is None else total
            values = np.where(is_told, source, 0).sum(axis=self._axes).astype(self._sum_dtype)
        return _Part(values, count.sum(axis=self._axes)), is_told

    def _by_block(self, array: AnyArray, chunks: StoredChunks) -> AnyArray:
        for i, edges in enumerate(self._edges):
            first, last = chunks.spans(i, edges)
            array = blocks.reduced(array, i, first, last, np.maximum)  # each block lies in one chunk
        return array

    def _usable(self, chunks: StoredChunks) -> AnyArray:
        """Blocks that are a chunk as a whole, and all of which goes into one element of the result."""
        found: AnyArray = np.ones((), bool)
        stored = chunks.metadata
        if any(isinstance(part, int) and stored.chunks[i] > 1 for i, part in enumerate(chunks.layers.parts)):
            return np.zeros([len(each) - 1 for each in self._edges], bool)
        for i, edges in enumerate(self._edges):
            axis = chunks.axes[i]
            sizes = np.diff(edges)
            if not len(sizes):
                return np.zeros([len(each) - 1 for each in self._edges], bool)
            numbers, _ = chunks.spans(i, edges)
            chunk, size = stored.chunks[axis], stored.shape[axis]
            whole = np.minimum(size - (chunks.first[axis] + numbers) * chunk, chunk)
            part = chunks.layers.parts[axis]
            is_plain = isinstance(part, range) or np.unique(np.asarray(part)).size == np.size(part)
            fits = (sizes == whole) & is_plain & ((sizes == 1) | (i in self._axes))
            found = np.logical_and.outer(found, fits)
        return found

    def _with_blocks(self, result: _Part, wanted: AnyArray, advance: executor.Progress | None) -> _Part:
        """Take in the elements of blocks that statistics say nothing of, read in several threads."""

        def look(box: Sequence[slice]) -> _Part:
            part = self._data[blocks.elements_of(self._edges, box)]
            values = compared_values(part, self._kind)
            if isinstance(values, np.ma.MaskedArray):
                return self._of_values(np.ma.getdata(values), np.ma.getmaskarray(values))
            tells = (isinstance(part.dtype, np.dtype) and part.dtype != object) or values.dtype.kind in "fmM"
            missing = pd.isnull(values if tells else np.asarray(part.values))
            return self._of_values(values, np.asarray(missing))

        def n_blocks(box: blocks.Box) -> int:
            return int(np.count_nonzero(wanted[box]))

        size_of = partial(blocks.size_of, self._edges)
        inside = list(blocks.boxes(wanted, size_of, blocks.box_size(self._edges), 1.0)) if wanted.any() else []
        at_once = 4 * executor.n_cores()
        for start in range(0, len(inside), at_once):
            some = inside[start : start + at_once]
            for box, part in zip(some, results_of(some, look, n_blocks, advance), strict=True):
                elements = blocks.elements_of(self._edges, box)
                at = tuple(each for axis, each in enumerate(elements) if axis not in self._axes)
                result = self._joined(result, at, part)
        return result

    def _of_values(self, values: AnyArray, missing: AnyArray) -> _Part:
        count = np.asarray((~missing).sum(axis=self._axes, dtype=np.int64))
        if self._how in ("min", "max"):
            return _Part(_reduced_ends(values, ~missing, self._axes, self._how), count)
        if self._how == "count":
            return _Part(count.astype(self._sum_dtype), count)
        with np.errstate(all="ignore"):
            total = np.where(missing, 0, values).sum(axis=self._axes, dtype=self._sum_dtype)
        return _Part(np.asarray(total), count)

    def _finished(self, result: _Part) -> AnyArray:
        is_empty = result.count == 0
        if self._how == "count":
            return result.count
        if self._how == "sum":
            return result.values
        if self._how == "mean":
            with np.errstate(all="ignore"):
                mean: AnyArray = result.values / result.count
            return mean
        if not is_empty.any():
            return result.values
        if self._data.dtype != self._dtype and result.values.dtype.kind in "iu":
            return np.where(is_empty, np.nan, result.values)  # pandas' nullable integers
        dtype = result.values.dtype
        if dtype.kind not in "fmM":
            raise QueryError("there is nothing to reduce", key=self._name, found=f"shape {self._data.shape}")
        nothing = np.array("NaT" if dtype.kind in "mM" else "nan", dtype)
        return np.where(is_empty, nothing, result.values)


def _plain_dtype(dtype: Any) -> np.dtype[Any]:
    """That of the result; times with a zone become times in UTC."""
    dtype = own_dtype(dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return np.dtype(f"M8[{dtype.unit}]")
    if isinstance(dtype, np.dtype):
        return np.dtype(dtype)
    if isinstance(dtype, pd.CategoricalDtype) and dtype.categories.dtype.kind in "mMiu":
        return _plain_dtype(dtype.categories.dtype)
    if pd.api.types.is_integer_dtype(dtype):
        return compared_dtype(dtype.numpy_dtype)
    return np.dtype(float)


def _reduced_ends(values: AnyArray, is_there: AnyArray, axes: tuple[int, ...], how: str) -> AnyArray:
    """The smallest or the largest along some axes; anything where there are none."""
    function = np.minimum if how == "min" else np.maximum
    filled = values
    if not is_there.all():
        ends = blocks.neutral(values.dtype)
        assert ends is not None  # of all kinds that can be reduced
        filled = np.where(is_there, values, ends[how == "max"]).astype(values.dtype)
    if any(filled.shape[axis] == 0 for axis in axes):
        shape = [n for axis, n in enumerate(filled.shape) if axis not in axes]
        return np.zeros(shape, values.dtype)
    return np.asarray(function.reduce(filled, axis=axes)) if axes else filled
