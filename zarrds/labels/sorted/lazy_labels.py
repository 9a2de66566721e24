"""An index of labels that stay where they are, and that are all read only when there is no other way."""

from __future__ import annotations

import operator
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from zarrds.compat import pandas_internals as internals
from zarrds.labels.sorted.source import Array
from zarrds.labels.sorted.window import NearbyLabels, Window

__all__ = ["KEPT", "LazyIndex", "new_index"]

# what pandas does with these asks for nothing but what is answered here
KEPT = (
    "name names set_names rename view is_ nlevels ndim T transpose empty has_duplicates "
    "slice_locs slice_indexer get_indexer_for"
).split()


def new_index(cls: type[LazyIndex], window: Window, name: Hashable) -> LazyIndex:
    """A lazy index of the labels of a window."""
    made: LazyIndex = internals.new_lazy(cls, name)
    made._window = window
    return made


@internals.reads_the_rest(pd.Index, keep=KEPT)
class LazyIndex(pd.Index, metaclass=internals.EqualToPlain):
    """An index of numbers or text that is read when there is no other way; made by `lazy_index`."""

    _plain_type: Any = pd.Index
    _window: Window
    _name: Hashable
    _cache: dict[str, Any]

    def __new__(cls, *args: Any, **options: Any) -> Any:
        """pandas calls the class of an index to make another one: of labels it has, which are plain."""
        return cls._plain_type(*args, **options)

    # ---- what pandas asks an index for

    @classmethod
    def _simple_new(cls, values: Any, name: Hashable = None, refs: Any = None) -> pd.Index:
        return internals.plain_new(cls._plain_type, values, name, refs)

    @property
    def _constructor(self) -> Any:
        return self._plain_type

    def _view(self) -> LazyIndex:
        return new_index(type(self), self._window, self._name)

    @property
    def _data(self) -> Any:
        return self._plain_now()._data

    @property
    def _engine(self) -> Any:
        return self._plain_now()._engine

    @property
    def _references(self) -> Any:
        return self._plain_now()._references

    def _maybe_cast_slice_bound(self, label: Any, side: str) -> Any:
        return internals.slice_bound(self._some(), label, side)

    def _formatter_func(self, value: object) -> str:
        if "shown" not in self._cache:  # it is called for each label that is shown
            self._cache["shown"] = self._window.take(np.unique(np.r_[:100, -100:0] % len(self)))
        return str(self._cache["shown"]._formatter_func(value))

    def __reduce__(self) -> tuple[Any, ...]:
        return new_index, (type(self), self._window, self._name)

    def _plain_now(self) -> Any:
        return self._window.all()

    def plain(self) -> pd.Index:
        """The plain index of all labels, which are read for it, once."""
        return self._window.all().rename(self._name)

    # ---- what is known without labels, or with a few

    def __len__(self) -> int:
        return len(self._window)

    @property
    def size(self) -> int:
        """How many labels there are."""
        return len(self._window)

    @property
    def shape(self) -> tuple[int]:
        """``(size,)``."""
        return (len(self._window),)

    @property
    def dtype(self) -> Any:
        """Of the labels."""
        return self._window.source.dtype

    @property
    def nbytes(self) -> int:
        """What the labels take once they are read, without texts."""
        return len(self._window) * self._window.source.dtype.itemsize

    def memory_usage(self, deep: bool = False) -> int:
        """Bytes in memory: none while the labels are not read."""
        return self._window.all().memory_usage(deep=deep) if self._window.is_read else 0

    @property
    def inferred_type(self) -> str:
        """What pandas calls labels of this kind."""
        return str(self._some().inferred_type)

    @property
    def hasnans(self) -> bool:
        """Whether labels are missing: not if they are sorted."""
        return bool(self._some().hasnans)

    @property
    def is_unique(self) -> bool:
        """Whether no label occurs twice; goes through the labels of a part of a source that has duplicates."""
        return self._window.is_unique()

    @property
    def is_monotonic_increasing(self) -> bool:
        """Whether no label is less than the one before."""
        return bool(self._some().is_monotonic_increasing)

    @property
    def is_monotonic_decreasing(self) -> bool:
        """Whether no label is greater than the one before."""
        return bool(self._some().is_monotonic_decreasing)

    def min(self, *args: Any, **options: Any) -> Any:
        """The least label."""
        return self._some().min(*args, **options)

    def max(self, *args: Any, **options: Any) -> Any:
        """The greatest label."""
        return self._some().max(*args, **options)

    def _some(self) -> pd.Index:
        """The labels at both ends, if the index is known to be sorted; all of them else."""
        ends = self._window.ends()
        return self._window.all() if ends is None else ends.labels

    def copy(self, name: Hashable = None, deep: bool = False) -> Any:
        """Another index of the same labels, which are shared: nobody can change them."""
        return super().copy(name=name)

    # ---- items

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self._slice(*key.indices(len(self)))
        position = _position(key)
        if position is not None:
            if not -len(self) <= position < len(self):
                raise IndexError(f"index {position} is out of bounds for axis 0 with size {len(self)}")
            return self._window.take(np.array([position % len(self)]))[0]
        positions = self._positions(key)
        return self.plain()[key] if positions is None else self._window.take(positions).rename(self._name)

    def _slice(self, start: int, stop: int, step: int) -> pd.Index:
        n = len(range(start, stop, step))
        if step == 1 and n >= max(self._window.at_least, 1) and not self._window.is_read:
            return new_index(type(self), self._window.part(start, stop), self._name)
        if step == 1 or n == 0:
            start = start if n else 0  # which may be -1
            return self._window.read(start, start + n).rename(self._name)
        return self._window.take(np.arange(start, stop, step)).rename(self._name)

    def _getitem_slice(self, slobj: slice) -> pd.Index:
        part: pd.Index = self[slobj]
        return part

    def _positions(self, key: Any) -> Array | None:
        """What an array or a list stands for; None if pandas is to say what is wrong with it."""
        if not isinstance(key, (np.ndarray, list, pd.Index, pd.Series)):
            return None
        if isinstance(key, list) and not key:
            return np.empty(0, np.int64)
        array = np.asarray(key)
        if array.ndim == 1 and array.dtype == bool:
            return np.flatnonzero(array) if len(array) == len(self) else None
        if array.ndim != 1 or array.dtype.kind not in "iu":
            return None
        if array.size and not (array.min() >= -len(self) and array.max() < len(self)):
            wrong = array[(array < -len(self)) | (array >= len(self))][0]
            raise IndexError(f"index {wrong} is out of bounds for axis 0 with size {len(self)}")
        return array.astype(np.int64) % len(self)

    def take(self, indices: Any, *args: Any, **options: Any) -> Any:
        """The labels at positions, as a plain index; all are read for a `fill_value`."""
        array = np.asarray(indices)
        plainly = not args and not options and array.ndim == 1 and array.dtype.kind in "iu"
        if plainly and array.size and array.min() >= -len(self) and array.max() < len(self):
            return self[array]
        return self.plain().take(indices, *args, **options)

    # ---- looking labels up

    def _near(self, values: Any, *, every: bool = False) -> NearbyLabels | None:
        if not isinstance(values, np.ndarray):
            values = np.asarray(values if isinstance(values, pd.Index) else pd.Index(values))
        return self._window.near(values, every=every)

    def _near_one(self, value: object) -> NearbyLabels | None:
        values = np.empty(1, object)
        values[0] = value
        return self._near(values)

    def _near_ordered(self, values: Any) -> NearbyLabels | None:
        """The labels around values that are ordered with them; with text and numbers NumPy does so in its own way."""
        array = np.asarray(values) if np.ndim(values) else np.array([values], object)
        is_text = array.dtype.kind in "UT" or (
            array.dtype.kind == "O" and any(isinstance(value, str) for value in array.flat)
        )
        return None if is_text and self.dtype.kind in "iuf" else self._near(array)

    def get_loc(self, key: Any) -> Any:
        """The position of a label, or the slice of several equal ones; KeyError if it is not there."""
        near = self._near_one(key)
        return self.plain().get_loc(key) if near is None else near.location(near.labels.get_loc(key))

    def __contains__(self, key: Any) -> bool:
        near = self._near_one(key)
        return key in (self.plain() if near is None else near.labels)

    def get_indexer(self, target: Any, method: Any = None, limit: Any = None, tolerance: Any = None) -> Any:
        """The position of each label, -1 where it is not there; InvalidIndexError if the index has duplicates."""
        ends = self._window.ends()
        if ends is not None and not self.is_unique:
            # which pandas refuses, unless it finds something else wrong before
            return ends.labels.append(ends.labels).get_indexer(target, method, limit, tolerance)
        near = self._near(target)
        if near is None:
            return self.plain().get_indexer(target, method, limit, tolerance)
        return near.indexer(near.labels.get_indexer(target, method, limit, tolerance))

    def get_indexer_non_unique(self, target: Any) -> Any:
        """The positions of each label, and which are not there."""
        near = self._near(target, every=True)
        if near is None:
            return self.plain().get_indexer_non_unique(target)
        found, missing = near.labels.get_indexer_non_unique(target)
        return near.indexer(found), missing

    def get_slice_bound(self, label: Any, side: Any) -> Any:
        """Where a slice that starts (left) or stops (right) at a label does so."""
        value = label
        if isinstance(label, str) and self.dtype.kind in "mM" and side in ("left", "right"):
            value = self._maybe_cast_slice_bound(label, side)
        near = self._near_ordered(value) if np.ndim(value) == 0 else self._near_one(value)
        if near is None:
            return self.plain().get_slice_bound(label, side)
        return near.bound(near.labels.get_slice_bound(label, side), side)

    def searchsorted(self, value: Any, side: Any = "left", sorter: Any = None) -> Any:
        """Where values would stand; reads all labels if they do not increase."""
        if sorter is None and self._window.order == "increasing":
            near = self._near_ordered(value)
            if near is not None:
                found: Any = near.bound(near.labels.searchsorted(value, side), side)
                return found if np.ndim(found) else np.intp(found)
        return self.plain().searchsorted(value, side, sorter)

    def isin(self, values: Any, level: Any = None) -> Any:
        """Which labels are among the values: a mask."""
        near = None
        if level is None and self._window.ends() is not None and self.is_unique:
            if pd.api.types.is_list_like(values) and not hasattr(values, "dtype"):
                values = list(values)
            near = self._near(values if pd.api.types.is_list_like(values) else [])
        if near is None:
            return self.plain().isin(values, level)
        found = np.zeros(len(self), dtype=bool)
        found[near.positions[near.labels.isin(values)]] = True
        return found

    def intersection(self, other: Any, sort: Any = False) -> Any:
        """The labels that both indexes have; reads what is near those of the other one, unless it is large."""
        if isinstance(other, pd.Index) and self._window.ends() is not None and self.is_unique:
            if isinstance(other, LazyIndex) and sort is not True and self._window.same_labels(other._window):
                return self.rename(self._name if self._name == other._name else None)
            near = self._near(other) if len(other) <= self._window.most_near else None
            if near is not None:
                return near.labels.rename(self._name).intersection(other, sort=sort)
        return self.plain().intersection(other, sort)

    # ---- equality

    def equals(self, other: Any) -> bool:
        """Whether the labels are equal; they are compared a limited number at a time."""
        if not isinstance(other, pd.Index) or len(other) != len(self):
            return False
        if isinstance(other, LazyIndex) and self._window.same_labels(other._window):
            return True
        if self._window.is_read:
            return bool(self._window.all().equals(other))
        ends = np.unique([0, len(self) - 1])
        if not self._window.take(ends).equals(other[ends]):
            return False
        blocks = self._window.blocks()
        return all(block.equals(_read_part(other, start, start + len(block))) for start, block in blocks)

    def identical(self, other: Any) -> bool:  # type: ignore[misc]  # final in the stubs: it would read all labels
        """Whether labels, name, dtype and kind of index are equal."""
        return (
            self.equals(other)
            and self._name == other.name
            and self.dtype == other.dtype
            and getattr(other, "freq", None) is None  # stored labels do not tell one
            and type(self) == type(other)  # noqa: E721  # it is equal to a plain class
        )


def _position(key: object) -> int | None:
    """The position that a scalar stands for; None if it is something else."""
    if isinstance(key, bool | np.bool_):
        return None
    try:
        return operator.index(key)  # type: ignore[arg-type]  # whether it can is asked here
    except TypeError:
        return None


def _read_part(index: pd.Index, start: int, stop: int) -> pd.Index:
    return index._window.read(start, stop) if isinstance(index, LazyIndex) else index[start:stop]
