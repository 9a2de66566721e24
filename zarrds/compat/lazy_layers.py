"""What a lazy variable of xarray reads: which part of which array, and what decoders make of its elements.

xarray wraps what a backend gives into layers, of which none is public API. A layer that is not known here is no error:
the variable then tells nothing of what it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.coding.common import _ElementwiseFunctionArray
from xarray.coding.variables import BoolTypeArray, NativeEndiannessArray
from xarray.core import indexing

from zarrds.compat.xarray_internals import DeferredIndex, MappedArray, unwrapped

__all__ = ["Layers", "Positions", "layers_of", "mapped_below", "without_dask"]

Array: TypeAlias = "np.ndarray[Any, Any]"
# what is taken of one dimension: one element, or several in any order
Positions: TypeAlias = "int | range | np.ndarray[Any, Any]"

_WRAPPERS = (indexing.MemoryCachedArray, indexing.CopyOnWriteArray, indexing.ImplicitToExplicitIndexingAdapter)


@dataclass(frozen=True, slots=True)
class Layers:
    """What a lazy variable reads.

    Attributes
    ----------
    array : BackendArray
        At the bottom.
    parts : tuple of int, range or ndarray
        What is taken of each of its dimensions; those of an integer are none of the variable's.
    functions : tuple of callable
        Decoders of elements, in the order in which they are applied.
    """

    array: Any
    parts: tuple[Positions, ...]
    functions: tuple[Callable[[Array], Any], ...]

    def decoded(self, elements: Array) -> Array:
        """What the variable makes of stored elements, in an array of any shape."""
        for function in self.functions:
            elements = np.asarray(function(elements))
        return elements


def layers_of(variable: xr.Variable) -> Layers | None:
    """The layers of a variable; None if it is in memory, or selected point by point, or wrapped in something else."""
    data: Any = variable._data
    parts: list[Positions] = [range(n) for n in variable.shape]
    functions: list[Callable[[Array], Any]] = []
    while not isinstance(data, BackendArray):
        if type(data) is indexing.LazilyIndexedArray or type(data).__mro__[1] is indexing.LazilyIndexedArray:
            below = _below(data.key.tuple, data.array.shape, parts)
            if below is None:
                return None
            parts = below
        elif isinstance(data, _ElementwiseFunctionArray):
            functions.append(data.func)
        elif isinstance(data, BoolTypeArray):
            functions.append(_as_bool)
        elif not isinstance(data, (*_WRAPPERS, NativeEndiannessArray)):
            return None
        data = data.array
    return Layers(data, tuple(parts), tuple(reversed(functions)))


def without_dask(variable: xr.Variable) -> xr.Variable:
    """The lazy variable that a variable of a dask array was opened as, if that is all that dask does; else the same."""
    graph = getattr(variable._data, "dask", None)
    name = f"original-{getattr(variable._data, 'name', None)}"  # what `dask.array.from_array` was given
    if graph is None or name not in graph:
        return variable
    original = graph[name]
    if not isinstance(original, indexing.ImplicitToExplicitIndexingAdapter) or original.shape != variable.shape:
        return variable
    return xr.Variable(variable.dims, original.array, variable.attrs, variable.encoding, fastpath=True)


def mapped_below(variable: xr.Variable) -> xr.Variable | None:
    """What a variable makes its elements of by a function of ours, one by one; None if it does not, or did so."""
    whole = unwrapped(variable._data)
    if isinstance(whole, DeferredIndex) and len(whole.waits_for) == 1:
        return whole.waits_for[0]
    layers = layers_of(variable)
    if layers is None or layers.functions or not isinstance(layers.array, MappedArray):
        return None
    key = tuple(_slice_of(part) if isinstance(part, range) else part for part in layers.parts)
    return layers.array.variable[key]


def _slice_of(part: range) -> slice:
    return slice(part.start, _stop(part), part.step) if len(part) else slice(0, 0)


def _as_bool(elements: Array) -> Array:
    return np.asarray(elements).astype(bool)


def _below(key: Sequence[Any], shape: Sequence[int], parts: Sequence[Positions]) -> list[Positions] | None:
    """What is taken of an array by `parts` of what `key` takes of it."""
    found: list[Positions] = []
    left = list(parts)
    for one, size in zip(key, shape, strict=True):
        if isinstance(one, int | np.integer):
            found.append(int(one) % size if size else 0)
            continue
        if not left:
            return None
        if isinstance(one, slice):
            found.append(_taken(range(size)[one], left.pop(0)))
        elif isinstance(one, np.ndarray) and one.ndim == 1:
            found.append(_taken(np.where(one < 0, one + size, one).astype(np.int64), left.pop(0)))
        else:
            return None
    return None if left else found


def _taken(positions: range | Array, part: Positions) -> Positions:
    if isinstance(positions, range) and isinstance(part, range):
        return positions[part.start : _stop(part) : part.step] if len(part) else range(0)
    if isinstance(part, int):
        return int(positions[part])
    if isinstance(positions, range):
        return np.asarray(positions.start + positions.step * np.asarray(part, np.int64))
    return np.asarray(positions[np.asarray(part, np.int64)])


def _stop(part: range) -> int | None:
    return part.stop if part.step > 0 or part.stop >= 0 else None
