"""How a backend tells `xr.open_dataset` which dimensions get no index, which xarray has no words for.

Private names of xarray, as in `zarrds.compat.xarray_internals`; ``tests/datasets/test_roles.py`` fails if a
release changes what is relied on here. The worst that can come of it is an index too many.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from xarray.indexes import NDPointIndex, RangeIndex
from xarray.indexes.nd_point_index import ScipyKDTreeAdapter
from xarray.indexes.range_index import RangeCoordinateTransform

__all__ = [
    "EvenlySpaced",
    "is_point_index",
    "tree_without_default_indexes",
    "unindexed_of",
    "wants_default_indexes",
    "without_default_indexes",
]

_API = "xarray.backends.api"
_OPTION = "create_default_indexes"
_Kind = TypeVar("_Kind", bound=xr.Dataset)
_MAX_DEPTH = 12  # frames between xarray's function and the backend's: two or three


def wants_default_indexes() -> bool | None:
    """What the caller passed to `xr.open_dataset` as ``create_default_indexes``; None if xarray was not the caller.

    xarray keeps it to itself, but by it a backend that makes indexes must know that it is to make none.
    """
    frame = sys._getframe(1)
    for _ in range(_MAX_DEPTH):
        if frame.f_back is None:
            return None
        frame = frame.f_back
        if frame.f_globals.get("__name__") == _API and _OPTION in frame.f_code.co_varnames:
            return bool(frame.f_locals.get(_OPTION, True))
    return None


class _OpenedDataset(xr.Dataset):  # type: ignore[no-untyped-call]  # xarray gives its __init_subclass__ no types
    """What `xr.open_dataset` makes default indexes of: it sees no coordinates that get none."""

    __slots__ = ("_unindexed",)
    _unindexed: frozenset[Hashable]

    @property
    def coords(self) -> Any:
        """Those that get an index."""
        return self._plain().drop_vars(self._unindexed).coords

    def assign_coords(self, *args: Any, **kwargs: Any) -> Any:
        """An ordinary dataset, with all coordinates, of which data that has the name of a dimension is none."""
        plain = self._plain()
        made = plain.assign_coords(*args, **kwargs)
        return made.reset_coords([name for name in self._unindexed - plain.coords.keys() if name in made.coords])

    def _plain(self) -> xr.Dataset:
        return _constructed(xr.Dataset, self)


class _OpenedTree(xr.DataTree):  # type: ignore[no-untyped-call]  # as above
    """As `_OpenedDataset`; by path, with what gets no index in its groups, and what makes the tree that has them."""

    __slots__ = ("_make", "_unindexed")
    _unindexed: Mapping[str, frozenset[Hashable]]
    _make: Callable[[Mapping[str, xr.Dataset]], xr.DataTree]

    def map_over_datasets(self, func: Any, *args: Any, kwargs: Any = None) -> Any:
        """An ordinary tree, of what `func` makes of the datasets."""
        datasets = {}
        for node in self.subtree:
            dataset, names = node.to_dataset(), self._unindexed.get(node.path)
            datasets[node.path] = func(without_default_indexes(dataset, names) if names else dataset)
        return self._make(datasets)


def _constructed(kind: type[_Kind], dataset: xr.Dataset) -> _Kind:
    return kind._construct_direct(
        dataset._variables,
        dataset._coord_names,
        dims=dict(dataset.sizes),
        attrs=dataset._attrs,
        indexes=dataset._indexes,
        encoding=dataset._encoding,
        close=dataset._close,
    )


def without_default_indexes(dataset: xr.Dataset, names: Iterable[Hashable]) -> xr.Dataset:
    """A dataset of whose dimensions `xr.open_dataset` makes no index for some, nor coordinates; for no other use."""
    opened = _constructed(_OpenedDataset, dataset)
    opened._unindexed = frozenset(names)
    return opened


def unindexed_of(dataset: xr.Dataset) -> frozenset[Hashable]:
    """The names that `without_default_indexes` was told."""
    return dataset._unindexed if isinstance(dataset, _OpenedDataset) else frozenset()


def tree_without_default_indexes(
    groups: Mapping[str, xr.Dataset], make: Callable[[Mapping[str, xr.Dataset]], xr.DataTree]
) -> xr.DataTree:
    """As `without_default_indexes`, of a tree; `make` makes one of the groups when they have their indexes."""
    opened = _OpenedTree.from_dict(groups)
    opened._unindexed = {f"/{path.strip('./')}": names for path, ds in groups.items() if (names := unindexed_of(ds))}
    opened._make = make
    for path, ds in groups.items():
        opened[path].set_close(ds._close)
    return opened


class _KeepsStep(RangeCoordinateTransform):
    """Every second of evenly spaced labels, and the like: older releases give labels that lie elsewhere."""

    __slots__ = ()

    def slice(self, sl: slice) -> RangeCoordinateTransform:
        """Those of some positions."""
        part: Any = super().slice(sl)
        part._step = self.step * range(self.size)[sl].step
        part.stop = part.start + part.size * part._step
        return part  # type: ignore[no-any-return]  # set above are parts that xarray keeps to itself


_TAKES_STEP = "step" in RangeCoordinateTransform.__init__.__code__.co_varnames  # xarray 2026.4 and before do not
_TRANSFORM: type[RangeCoordinateTransform] = RangeCoordinateTransform if _TAKES_STEP else _KeepsStep


@dataclass(frozen=True, slots=True)
class EvenlySpaced:
    """All that makes an index of evenly spaced labels; `step` is None where it follows from the others."""

    dimension: str
    start: float
    stop: float
    size: int
    step: float | None
    dtype: str

    @classmethod
    def of(cls, index: RangeIndex) -> EvenlySpaced:
        """What an index was made of."""
        transform: Any = index.transform
        step = getattr(transform, "_step", None)
        return cls(
            transform.dim,
            float(transform.start),
            float(transform.stop),
            int(transform.size),
            None if step is None else float(step),
            np.dtype(transform.dtype).name,
        )

    def index(self, name: Hashable) -> RangeIndex:
        """The index, for a coordinate of this name."""
        dtype = np.dtype(self.dtype)
        transform: Any = _TRANSFORM(self.start, self.stop, self.size, name, self.dimension, dtype=dtype)
        if self.step is not None:
            transform._step = self.step
        return RangeIndex(transform)


def is_point_index(index: xr.Index) -> bool:
    """Whether this is xarray's index of points, with the search tree that it makes unless told otherwise."""
    return type(index) is NDPointIndex and type(index._tree_obj) is ScipyKDTreeAdapter
