"""A variable of a query: its values in boxes of elements, and its bounds in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import prod
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from pandas.api.extensions import ExtensionArray

from zarrds.codecs.base import AnyArray
from zarrds.compat.lazy_layers import without_dask
from zarrds.compat.xarray_internals import is_plain_in_memory
from zarrds.datasets.querying import blocks
from zarrds.datasets.querying.bounds.chunk_facts import as_bytes
from zarrds.datasets.querying.bounds.stored import StoredChunks, stored_chunks
from zarrds.datasets.querying.bounds.stored_codes import (
    NullableChunks,
    chunks_of_codes,
    chunks_of_nullable,
    compared_dtype,
    compared_nullable,
    compared_objects,
    plain_below,
)
from zarrds.datasets.querying.expressions.binding import Kind
from zarrds.datasets.querying.expressions.pruning import Bounds
from zarrds.datasets.querying.lazy_coordinates import LabelBlocks, label_blocks
from zarrds.labels.kinds.arrow import as_pandas, own_dtype
from zarrds.labels.kinds.nullable import MASKED
from zarrds.labels.kinds.plain import Labels
from zarrds.metadata.times import is_since

__all__ = ["Operand", "compared_values", "kind_of", "ranks_of"]

# elements in memory of which bounds are computed; bytes of a lazy variable that is read as a whole if it is broadcast
_MOST_COMPUTED = 2**25
_MOST_LOADED = 2**25
# text is looked at one by one
_MOST_TEXTS = 2**18
# of a Python string, roughly
_OBJECT_NBYTES = 64


def kind_of(variable: xr.Variable) -> Kind | None:
    """What the values of a variable are to a query; None if they cannot be compared."""
    dtype = variable.dtype
    if not isinstance(dtype, np.dtype):
        return _kind_of_extension(dtype)
    if dtype.kind == "O":
        return _kind_of_objects(variable)
    kinds: dict[str, Kind] = {"b": "condition", "U": "text", "S": "text", "T": "text", "M": "time", "m": "span"}
    return "number" if dtype.kind in "iuf" else kinds.get(dtype.kind)


def _kind_of_objects(variable: xr.Variable) -> Kind | None:
    variable = without_dask(variable)
    if plain_below(variable) is not None:
        return "time"
    if (nullable := chunks_of_nullable(variable)) is not None:
        return "condition" if nullable.is_boolean else "number"
    is_date = "calendar" in variable.encoding or is_since(variable.encoding.get("units"))
    if stored_chunks(variable) is not None or variable.size == 0:
        return "calendar" if is_date else "text"
    # of what is computed, or read, a few first
    some = variable if is_plain_in_memory(variable) else variable[tuple(slice(0, 4) for _ in variable.dims)]
    first = _first_there(some)
    if first is None and some is not variable:
        first = _first_there(variable)
    if first is None:
        return "calendar" if is_date else "text"
    if isinstance(first, str | bytes):
        return "text"
    kinds: tuple[tuple[Any, Kind], ...] = (
        (datetime, "time"),
        (bool | np.bool_, "condition"),
        (int | float | np.integer | np.floating, "number"),
    )
    if kind := next((kind for types, kind in kinds if isinstance(first, types)), None):
        return kind
    return "calendar" if hasattr(first, "calendar") and hasattr(first, "year") else None


def _first_there(variable: xr.Variable) -> object:
    """The first element of objects that is not missing; None if all are."""
    is_text = (str, bytes)
    return next((v for v in np.asarray(variable.values).flat if isinstance(v, is_text) or not pd.isnull(v)), None)


def _kind_of_extension(dtype: Any) -> Kind | None:
    dtype = own_dtype(dtype)
    if isinstance(dtype, pd.CategoricalDtype):
        return _kind_of_extension(dtype.categories.dtype) if len(dtype.categories) else "text"
    if isinstance(dtype, pd.DatetimeTZDtype):
        return "time"
    if isinstance(dtype, pd.PeriodDtype | pd.IntervalDtype):
        return None
    if pd.api.types.is_bool_dtype(dtype):
        return "condition"
    if pd.api.types.is_integer_dtype(dtype) or pd.api.types.is_float_dtype(dtype):
        return "number"
    if pd.api.types.is_string_dtype(dtype) or pd.api.types.is_object_dtype(dtype):
        return "text"
    kinds: dict[str, Kind] = {"M": "time", "m": "span"}
    return kinds.get(getattr(dtype, "kind", ""))


def ranks_of(variable: xr.Variable) -> list[Any] | None:
    """Ordered categories, the lowest first; None of what is none, or is ordered as its values are."""
    dtype = None if isinstance(variable.dtype, np.dtype) else own_dtype(variable.dtype)
    if not isinstance(dtype, pd.CategoricalDtype) or not dtype.ordered or dtype.categories.is_monotonic_increasing:
        return None
    ranks: list[Any] = dtype.categories.tolist()
    return ranks


def compared_values(variable: xr.Variable, kind: Kind) -> AnyArray:
    """The values of a variable in an array of NumPy; times with a zone in UTC, integers that are missing masked.

    `kind` is that of the variable: what objects are, some or all of which may be missing, is not looked at again.
    """
    dtype: Any = variable.dtype
    if not isinstance(dtype, np.dtype) and variable.ndim == 1:
        data: Any = variable.data  # made anew of its values, large integers would be rounded
        return _compared_labels(
            pd.Index(data if isinstance(data, ExtensionArray) else pd.array(data, dtype=dtype)), kind
        )
    return _compared_plain(np.asarray(variable.values), kind)


def _compared_labels(labels: Labels, kind: Kind) -> AnyArray:
    """The same of values of one of pandas' dtypes, or of categories."""
    if (arrow := as_pandas(labels)) is not None:
        labels, _ = arrow
    if isinstance(labels, pd.CategoricalIndex):
        return _compared_categories(labels, kind)
    if isinstance(labels, pd.DatetimeIndex):
        return np.asarray(labels if labels.tz is None else labels.tz_convert(None))
    if MASKED.fullmatch(str(labels.dtype)):
        return compared_nullable(labels.array)
    return _compared_plain(np.asarray(labels), kind)


def _compared_categories(labels: pd.CategoricalIndex, kind: Kind) -> AnyArray:
    codes = np.asarray(labels.codes)
    missing = codes < 0
    categories = _compared_labels(labels.categories, kind)
    if not missing.any():
        return categories[codes]
    if categories.dtype.kind in "iu":  # of which none is rounded
        return np.ma.MaskedArray(np.append(categories, categories.dtype.type(0))[codes], missing)
    nothing: dict[str, Any] = {"b": False, "f": np.nan, "M": "NaT", "m": "NaT"}
    if (none := nothing.get(categories.dtype.kind)) is None:
        categories, none = categories.astype(object), np.nan
    return np.append(categories, np.array([none], categories.dtype))[codes]  # the last is what code -1 picks


def _compared_plain(values: AnyArray, kind: Kind) -> AnyArray:
    if values.dtype.kind == "O" and kind in ("number", "condition", "time"):
        return compared_objects(values, kind)
    return values


class Operand:
    """One variable of a query.

    Parameters
    ----------
    name : str
    variable : Variable
    dims : sequence of str
        Of the query, in order; all of the variable's are among them.
    size : int
        Elements that the query is about.
    kind : str
        As `kind_of` says.

    Attributes
    ----------
    axes : tuple of int
        The query's dimension of each of the variable's.
    chunks : StoredChunks or None
        Where it is read lazily from a store.
    is_as_given : bool
        Whether `values` are those that the variable itself has, and not what they are compared as.
    """

    def __init__(self, name: str, variable: xr.Variable, dims: Sequence[Any], size: int, kind: Kind) -> None:
        self.name = name
        self._kind = kind
        self.axes = tuple(dims.index(dim) for dim in variable.dims)
        self._n_dims = len(dims)
        is_compared_as_other = variable.dtype == np.dtype(object) and kind in ("number", "condition", "time")
        self.is_as_given = isinstance(variable.dtype, np.dtype) and not is_compared_as_other
        variable = without_dask(variable)
        below = plain_below(variable)
        self.variable = variable = variable if below is None else below
        self._nullable = chunks_of_nullable(variable)
        self.chunks: StoredChunks | LabelBlocks | None = (
            self._nullable or stored_chunks(variable) or chunks_of_codes(variable) or label_blocks(variable)
        )
        if self._nullable is not None:  # of which a part can be read
            self.variable = variable = self._nullable.below
        nbytes = variable.size * getattr(variable.dtype, "itemsize", 8)
        if self.chunks is not None and variable.size * 8 <= size and nbytes <= _MOST_LOADED:
            # it would be read again for each block that it is broadcast to
            is_lazy_index = isinstance(self.chunks, LabelBlocks)
            self.chunks = None
            self.variable = (
                xr.Variable(variable.dims, np.asarray(variable.values))
                if is_lazy_index
                else variable.copy(deep=False).load()
            )

    @property
    def plain_dtype(self) -> np.dtype[Any]:
        """That of its values, of objects that are stored, or in memory."""
        if self._nullable is not None:
            return np.dtype(bool) if self._nullable.is_boolean else compared_dtype(self.variable.dtype)
        is_object = self.variable.dtype == np.dtype(object)
        return compared_values(self.variable, self._kind).dtype if is_object else np.dtype(self.variable.dtype)

    def values(self, box: Sequence[slice]) -> AnyArray:
        """The values in a box of elements, which broadcast to it."""
        part = self.variable[tuple(box[axis] for axis in self.axes)]
        return self._aligned(self._plain(part))

    def _plain(self, part: xr.Variable) -> AnyArray:
        if self._nullable is not None:
            return self._nullable.values(np.asarray(part.values))
        return compared_values(part, self._kind)

    def _aligned(self, array: AnyArray) -> AnyArray:
        """An array over the variable's dimensions, or blocks along them, as one over the query's."""
        order = np.argsort(self.axes, kind="stable")
        shape = [1] * self._n_dims
        for axis, n in zip(self.axes, array.shape, strict=True):
            shape[axis] = n
        return array.transpose([int(i) for i in order]).reshape(shape)

    def chunk_edges(self) -> dict[int, AnyArray]:
        """The edges between its chunks along each of the query's dimensions that it has; none without chunks."""
        if self.chunks is None:
            return {}
        return {axis: self.chunks.edges(i) for i, axis in enumerate(self.axes)}

    def bounds(self, edges: Sequence[AnyArray]) -> Bounds:
        """Its bounds in each block, which broadcast to all blocks; they say nothing where nothing is known."""
        own = [edges[axis] for axis in self.axes]
        if not self._n_dims or any(len(each) < 2 for each in own):  # one element, which is as soon read
            return self._nothing()
        if self.chunks is not None:
            return self._stored_bounds(self.chunks, own)
        if self.variable.size <= _MOST_COMPUTED and is_plain_in_memory(self.variable):
            return self._computed_bounds(own)
        return self._nothing()

    def unknown(self) -> Bounds:
        """Bounds that say nothing, of what is stored; the same as `bounds` of what is in memory."""
        return self._nothing()

    def _nothing(self) -> Bounds:
        ones = (1,) * self._n_dims
        return Bounds(np.zeros(ones), np.zeros(ones), np.zeros(ones, bool), np.ones(ones, bool), np.ones(ones, bool))

    def _stored_bounds(self, chunks: StoredChunks | LabelBlocks, own: Sequence[AnyArray]) -> Bounds:
        facts = (chunks.compared() if isinstance(chunks, NullableChunks) else chunks.facts()).loosened()
        has_values = ~facts.known | (facts.count != 0)
        low, high = facts.low, facts.high
        if not has_values.all():  # what cannot be filled makes the bounds of a block wider, and no less right
            low, high, _ = _with_ends(low, high, has_values)
        arrays = [low, high, facts.known, facts.has_missing, has_values]
        functions = [np.minimum, np.maximum, np.logical_and, np.logical_or, np.logical_or]
        dropped = tuple(axis for axis in range(len(chunks.shape)) if axis not in chunks.axes)
        arrays = [each.reshape([n for i, n in enumerate(each.shape) if i not in dropped]) for each in arrays]
        for i, edges in enumerate(own):
            first, last = chunks.spans(i, edges)
            arrays = [blocks.reduced(a, i, first, last, f) for a, f in zip(arrays, functions, strict=True)]
        low, high, known, has_missing, has_values = map(self._aligned, arrays)
        return Bounds(low, high, known, has_missing, has_values)

    def _computed_bounds(self, own: Sequence[AnyArray]) -> Bounds:
        values = self._plain(self.variable)
        if values.dtype.kind in "OSUT":
            if values.size > _MOST_TEXTS:
                return self._nothing()
            values = as_bytes(values)
            if not all(type(text) is bytes for text in values.ravel()):
                return self._nothing()
            missing = np.zeros(values.shape, bool)
        elif isinstance(values, np.ma.MaskedArray):
            values, missing = np.ma.getdata(values), np.ma.getmaskarray(values)
        else:
            missing = np.asarray(pd.isnull(values))
        low = high = values
        if missing.any():
            low, high, is_filled = _with_ends(values, values, ~missing)
            if not is_filled:
                return self._nothing()
        arrays = [low, high, missing, ~missing]
        functions = [np.minimum, np.maximum, np.logical_or, np.logical_or]
        for i, edges in enumerate(own):
            arrays = [f.reduceat(a, edges[:-1], axis=i) for a, f in zip(arrays, functions, strict=True)]
        low, high, has_missing, has_values = map(self._aligned, arrays)
        known = np.ones(low.shape, bool)
        return Bounds(low, high, known, has_missing, has_values)

    def chunks_in(self, wanted: AnyArray, edges: Sequence[AnyArray]) -> AnyArray:
        """Which of its chunks lie in blocks that are wanted, over `StoredChunks.shape`."""
        assert self.chunks is not None
        others = tuple(axis for axis in range(self._n_dims) if axis not in self.axes)
        found: AnyArray = np.asarray(wanted.any(axis=others))  # over the query's dimensions that it has, in their order
        found = found.transpose([sorted(self.axes).index(axis) for axis in self.axes])
        for i, axis in enumerate(self.axes):
            first, last = self.chunks.spans(i, edges[axis])
            found = blocks.spread(found, i, first, last, self.chunks.shape[self.chunks.axes[i]])
        return found.reshape(self.chunks.shape)

    def chunk_nbytes(self) -> int:
        """Bytes of one of its chunks, decoded."""
        assert self.chunks is not None
        itemsize = (
            64 if self.chunks.metadata.data_type.is_variable_length else self.chunks.metadata.data_type.dtype.itemsize
        )
        return prod(self.chunks.metadata.chunks) * itemsize


def _with_ends(low: AnyArray, high: AnyArray, is_there: AnyArray) -> tuple[AnyArray, AnyArray, bool]:
    """Bounds that count for nothing in a reduction where there are no values; False if there are none such."""
    ends = blocks.neutral(low.dtype)
    if ends is None:
        return low, high, False
    least, most = (np.where(is_there, each, end).astype(low.dtype) for each, end in zip((low, high), ends, strict=True))
    return least, most, True
