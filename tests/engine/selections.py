"""Random arrays and selections for Hypothesis, and what NumPy makes of the selections."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

Shape = tuple[int, ...]
Ids = npt.NDArray[np.int64]


@st.composite
def grids(draw: st.DrawFn, min_dims: int = 0, max_dims: int = 4) -> tuple[Shape, Shape]:
    """A shape with zero-length axes now and then, and chunks smaller than it, equal, and larger."""
    ndim = draw(st.integers(min_dims, max_dims))
    longest = (0, 20, 8, 5, 4)[ndim]
    shape = tuple(draw(st.integers(0, longest)) for _ in range(ndim))
    return shape, tuple(draw(st.integers(1, longest + 3)) for _ in range(ndim))


def ids_of(shape: Shape) -> Ids:
    """An array whose elements say where they stand."""
    return np.arange(prod(shape)).reshape(shape)


def integers_of(size: int) -> st.SearchStrategy[Any]:
    """Positions on an axis of `size` > 0, as all that Python and NumPy have for one integer."""
    kinds = st.sampled_from([int, np.int64, np.int8, np.array])
    return st.builds(lambda kind, i: kind(i), kinds, st.integers(-size, size - 1))


BOUNDS = st.none() | st.integers(-25, 25)
STEPS = st.none() | st.integers(-9, 9).filter(bool) | st.sampled_from([10**30, -(10**30)])
SLICES = st.builds(slice, BOUNDS, BOUNDS, STEPS)


@st.composite
def basic_keys(draw: st.DrawFn, shape: Shape) -> Any:
    keys = [draw(SLICES | integers_of(size) if size else SLICES) for size in shape]
    return _abbreviated(draw, keys)


def _abbreviated(draw: st.DrawFn, keys: list[Any]) -> Any:
    """A tuple of `keys`, with an ellipsis in the place of some, or without the last ones."""
    start = draw(st.integers(0, len(keys)))
    stop = draw(st.integers(start, len(keys)))
    match draw(st.sampled_from(["all", "ellipsis", "short", "single"])):
        case "ellipsis":
            return (*keys[:start], ..., *keys[stop:])
        case "short":
            return tuple(keys[:start])
        case "single" if len(keys) == 1:
            return keys[0]
    return tuple(keys)


@st.composite
def orthogonal_keys(draw: st.DrawFn, shape: Shape) -> Any:
    keys: list[Any] = []
    for size in shape:
        mask = st.lists(st.booleans(), min_size=size, max_size=size)
        kinds = [SLICES, draw(st.sampled_from([mask, mask.map(lambda m: np.array(m, bool))]))]
        if size:
            positions = st.integers(-size, size - 1)
            arrays = st.lists(positions, max_size=9) | st.lists(positions, min_size=3, max_size=9)
            kinds += [integers_of(size), arrays, arrays.map(lambda a: np.array(a, np.int32))]
        keys.append(draw(st.one_of(kinds)))
    return _abbreviated(draw, keys)


def full(key: Any, ndim: int) -> tuple[Any, ...]:
    """`key` with one member for each dimension."""
    keys = key if isinstance(key, tuple) else (key,)
    at = next((i for i, k in enumerate(keys) if k is ...), None)
    if at is None:
        return (*keys, *(slice(None),) * (ndim - len(keys)))
    return (*keys[:at], *(slice(None),) * (ndim - len(keys) + 1), *keys[at + 1 :])


def select_basic(a: npt.NDArray[Any], key: Any) -> Any:
    return a[key]


def select_orthogonal(a: npt.NDArray[Any], key: Any) -> Any:
    """One axis after the other, the last one first, since an integer takes its axis away."""
    for axis, k in reversed(list(enumerate(full(key, a.ndim)))):
        if isinstance(k, list):
            k = np.array(k, bool if k and isinstance(k[0], bool) else np.intp)
        a = a[(slice(None),) * axis + (k,)]
    return a


@st.composite
def pointwise_keys(draw: st.DrawFn, shape: Shape) -> Any:
    if shape and draw(st.integers(0, 5)) == 0:
        mask = draw(hnp.arrays(bool, shape))
        return draw(st.sampled_from([mask, (mask,), mask.tolist() if 0 not in shape else mask]))
    is_slice = [size == 0 or draw(st.integers(0, 3)) == 0 for size in shape]
    n_arrays = is_slice.count(False)
    keys: list[Any] = [draw(SLICES) for _ in shape]
    if n_arrays:
        shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=n_arrays, min_side=0, max_side=4, max_dims=3))
        axes = (axis for axis, slice_ in enumerate(is_slice) if not slice_)
        for axis, points in zip(axes, shapes.input_shapes, strict=True):
            positions = hnp.arrays(np.int64, points, elements=st.integers(-shape[axis], shape[axis] - 1))
            keys[axis] = draw(positions | positions.map(lambda p: p.tolist() if p.size else p))
    return _abbreviated(draw, keys)


def select_pointwise(a: npt.NDArray[Any], key: Any) -> Any:
    """NumPy puts the points' dimensions first where their arrays come first, so bring those axes to the front."""
    only = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    if isinstance(only, np.ndarray | list) and np.asarray(only).dtype == bool:
        return a[np.asarray(only)]
    keys = full(key, a.ndim)
    order = sorted(range(a.ndim), key=lambda axis: isinstance(keys[axis], slice))
    return a.transpose(order)[tuple(keys[axis] for axis in order)]
