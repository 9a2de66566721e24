"""The index whose labels stay where they are: a `pandas.Index` that is read when there is no other way."""

from __future__ import annotations

import datetime as dt
import operator
import warnings
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from zarrds.labels import pandas_internals as internals
from zarrds.labels.candidates import is_supported
from zarrds.labels.source import Array, LabelSource
from zarrds.labels.window import Pocket, Window, plain_index

__all__ = ["LazyDatetimeIndex", "LazyIndex", "LazyTimedeltaIndex", "lazy_index", "unread_source"]

# labels that are read at once, where they are all that is left
_SMALL = 65_536
# what pandas does with these asks for nothing but what is answered here
_KEPT = (
    "name names set_names rename view is_ nlevels ndim T transpose empty has_duplicates array_priority "
    "slice_locs slice_indexer get_indexer_for"
).split()


def lazy_index(source: LabelSource, name: Hashable = None, *, at_least: int = _SMALL) -> pd.Index:
    """An index of labels that lie somewhere else than in memory.

    Parameters
    ----------
    source : LabelSource
        Where the labels are.
    name : hashable, optional
    at_least : int, optional
        Fewer labels than that are read at once, now and where a slice leaves no more of them.

    Returns
    -------
    pandas.Index
        A `LazyIndex`, a `LazyDatetimeIndex` or a `LazyTimedeltaIndex`; a plain index of small sources, of dtypes for which
        pandas has no index of just this dtype, and where the installed pandas is not as it must be (then with a
        `UserWarning`).

    Notes
    -----
    It gives the plain index's answers, and its errors. Where the source is sorted, these read only what they need: looking
    labels up (``get_loc``, ``get_indexer``, ``slice_indexer``, ``searchsorted``, ``in``, ``isin``, ``intersection`` and their
    relatives), taking items, slices and arrays of positions, ``min`` and ``max``, ``is_unique``, copies, pickles and
    ``repr``. ``equals`` goes through the labels, but keeps none; that of two indexes of the same labels of equal sources
    reads nothing. So does, once, a string that means an instant to a `LazyDatetimeIndex` or a span, depending on the
    resolution of all labels. Everything else reads all labels, once, for the index and all its copies, and gives plain
    indexes. Any number of threads may use it.

    In two things it differs: ``get_loc`` of a label that a decreasing index has several times is a slice, where pandas makes a
    mask of all labels; and ``type(index)`` is another class, though one that equals that of pandas.

    Examples
    --------
    >>> class Squares:
    ...     size, dtype, order, is_unique, token = 10**9, np.dtype("int64"), "increasing", True, "squares"
    ...     def read(self, start, stop):
    ...         return np.arange(start, stop) ** 2
    ...     def take(self, positions):
    ...         return np.asarray(positions) ** 2
    ...     def probe(self, values):
    ...         left = np.ceil(np.sqrt(np.clip(values, 0, 10**18))).astype(np.int64)
    ...         return Probe(left, left + (left**2 == values), (left - 1) ** 2, left**2)
    >>> from zarrds.labels.source import Probe
    >>> index = lazy_index(Squares(), "x")
    >>> index.get_loc(49), index.get_indexer([9, 10, 16]), index[-1]
    (7, array([ 3, -1,  4]), np.int64(999999998000000001))
    >>> index.slice_indexer(10, 10_000)
    slice(4, 101, None)
    >>> index[4:101].max()
    np.int64(10000)
    """
    dtype = source.dtype
    if source.size < max(at_least, 1) or not is_supported(dtype):
        return _read(source).rename(name)
    if problems := internals.problems():
        warnings.warn(
            f"all {source.size} labels of index {name!r} are read, since pandas {pd.__version__} is not as the lazy index "
            f"needs it: {'; '.join(problems)}. Use another release of pandas, or index='pandas'",
            UserWarning,
            stacklevel=2,
        )
        return _read(source).rename(name)
    return _make(Window(source, 0, source.size, at_least), name)


def unread_source(index: object) -> LabelSource | None:
    """What an index is still to be read from; None if its labels are in memory, or if it is no lazy index."""
    return index._window.source if isinstance(index, LazyIndex) and not index._window.is_read else None


def _read(source: LabelSource) -> pd.Index:
    # pandas has no index of float16; xarray makes it float64
    labels = source.read(0, source.size)
    return plain_index(labels.astype(np.float64) if labels.dtype == np.float16 else labels)


def _make(window: Window, name: Hashable) -> LazyIndex:
    kinds: dict[str, type[LazyIndex]] = {"M": LazyDatetimeIndex, "m": LazyTimedeltaIndex}
    made: LazyIndex = internals.new_lazy(kinds.get(window.source.dtype.kind, LazyIndex), name)
    made._window = window
    return made


@internals.reads_the_rest(pd.Index, keep=_KEPT)
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
        return _make(self._window, self._name)

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
        return _make, (self._window, self._name)

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
        return len(self._window)

    @property
    def shape(self) -> tuple[int]:
        return (len(self._window),)

    @property
    def dtype(self) -> Any:
        return self._window.source.dtype

    @property
    def nbytes(self) -> int:
        return len(self._window) * self._window.source.dtype.itemsize

    def memory_usage(self, deep: bool = False) -> int:
        """Bytes in memory: none while the labels are not read."""
        return self._window.all().memory_usage(deep=deep) if self._window.is_read else 0

    @property
    def inferred_type(self) -> str:
        return str(self._some().inferred_type)

    @property
    def hasnans(self) -> bool:
        return bool(self._some().hasnans)

    @property
    def is_unique(self) -> bool:
        return self._window.is_unique()

    @property
    def is_monotonic_increasing(self) -> bool:
        return bool(self._some().is_monotonic_increasing)

    @property
    def is_monotonic_decreasing(self) -> bool:
        return bool(self._some().is_monotonic_decreasing)

    def min(self, *args: Any, **options: Any) -> Any:
        return self._some().min(*args, **options)

    def max(self, *args: Any, **options: Any) -> Any:
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
            return _make(self._window.part(start, stop), self._name)
        if step == 1 or n == 0:
            return self._window.read(start, start + n).rename(self._name)
        return self._window.take(np.arange(start, stop, step)).rename(self._name)

    def _positions(self, key: Any) -> Array | None:
        """What an array or a list stands for; None if pandas is to say what is wrong with it."""
        if not isinstance(key, (np.ndarray, list, pd.Index, pd.Series)) or (isinstance(key, list) and not key):
            return None
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
        array = np.asarray(indices)
        plainly = not args and not options and array.ndim == 1 and array.dtype.kind in "iu"
        if plainly and array.size and array.min() >= -len(self) and array.max() < len(self):
            return self[array]
        return self.plain().take(indices, *args, **options)

    # ---- looking labels up

    def _near(self, values: Any, *, every: bool = False) -> Pocket | None:
        if not isinstance(values, np.ndarray):
            values = np.asarray(values if isinstance(values, pd.Index) else pd.Index(values))
        return self._window.near(values, every=every)

    def _near_one(self, value: object) -> Pocket | None:
        values = np.empty(1, object)
        values[0] = value
        return self._near(values)

    def _near_ordered(self, values: Any) -> Pocket | None:
        """The labels around values that are put in order with them; NumPy can do that with text and numbers, in its own way."""
        array = np.asarray(values) if np.ndim(values) else np.array([values], object)
        is_text = array.dtype.kind in "UT" or (
            array.dtype.kind == "O" and any(isinstance(value, str) for value in array.flat)
        )
        return None if is_text and self.dtype.kind in "iuf" else self._near(array)

    def get_loc(self, key: Any) -> Any:
        pocket = self._near_one(key)
        return self.plain().get_loc(key) if pocket is None else pocket.location(pocket.labels.get_loc(key))

    def __contains__(self, key: Any) -> bool:
        pocket = self._near_one(key)
        return key in (self.plain() if pocket is None else pocket.labels)

    def get_indexer(self, target: Any, method: Any = None, limit: Any = None, tolerance: Any = None) -> Any:
        ends = self._window.ends()
        if ends is not None and not self.is_unique:
            # which pandas refuses, unless it finds something else wrong before
            return ends.labels.append(ends.labels).get_indexer(target, method, limit, tolerance)
        pocket = self._near(target)
        if pocket is None:
            return self.plain().get_indexer(target, method, limit, tolerance)
        return pocket.indexer(pocket.labels.get_indexer(target, method, limit, tolerance))

    def get_indexer_non_unique(self, target: Any) -> Any:
        pocket = self._near(target, every=True)
        if pocket is None:
            return self.plain().get_indexer_non_unique(target)
        found, missing = pocket.labels.get_indexer_non_unique(target)
        return pocket.indexer(found), missing

    def get_slice_bound(self, label: Any, side: Any) -> Any:
        value = label
        if isinstance(label, str) and self.dtype.kind in "mM" and side in ("left", "right"):
            value = self._maybe_cast_slice_bound(label, side)
        pocket = self._near_ordered(value) if np.ndim(value) == 0 else self._near_one(value)
        if pocket is None:
            return self.plain().get_slice_bound(label, side)
        return pocket.bound(pocket.labels.get_slice_bound(label, side), side)

    def searchsorted(self, value: Any, side: Any = "left", sorter: Any = None) -> Any:
        if sorter is None and self._window.order == "increasing":
            pocket = self._near_ordered(value)
            if pocket is not None:
                found: Any = pocket.bound(pocket.labels.searchsorted(value, side), side)
                return found if np.ndim(found) else np.intp(found)
        return self.plain().searchsorted(value, side, sorter)

    def isin(self, values: Any, level: Any = None) -> Any:
        pocket = None
        if level is None and self._window.ends() is not None and self.is_unique:
            pocket = self._near(list(values) if isinstance(values, (set, frozenset)) else values)
        if pocket is None:
            return self.plain().isin(values, level)
        found = np.zeros(len(self), dtype=bool)
        found[pocket.positions[pocket.labels.isin(values)]] = True
        return found

    def intersection(self, other: Any, sort: Any = False) -> Any:
        if isinstance(other, pd.Index) and self._window.ends() is not None and self.is_unique:
            if isinstance(other, LazyIndex) and sort is not True and self._window.same_labels(other._window):
                return self.rename(self._name if self._name == other._name else None)
            pocket = self._near(other) if len(other) <= self._window.most_near else None
            if pocket is not None:
                return pocket.labels.rename(self._name).intersection(other, sort=sort)
        return self.plain().intersection(other, sort)

    # ---- equality

    def equals(self, other: Any) -> bool:
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
        return (
            self.equals(other)
            and self._name == other.name
            and self.dtype == other.dtype
            and getattr(self, "freq", None) == getattr(other, "freq", None)
            and type(self) == type(other)  # noqa: E721  # it is equal to a plain class
        )


def _position(key: object) -> int | None:
    """The position that a scalar stands for; None if it is something else."""
    if isinstance(key, bool | np.bool_) or getattr(key, "ndim", 0):
        return None
    try:
        return operator.index(key)  # type: ignore[arg-type]  # whether it can is asked here
    except TypeError:
        return None


def _read_part(index: pd.Index, start: int, stop: int) -> pd.Index:
    return index._window.read(start, stop) if isinstance(index, LazyIndex) else index[start:stop]


class _LazyTimes(LazyIndex):
    """What datetimes and timedeltas have in common: neither has a frequency, which stored labels do not tell."""

    freq = None
    freqstr = None

    @property
    def unit(self) -> str:
        return np.datetime_data(self.dtype)[0]


@internals.reads_the_rest(pd.TimedeltaIndex, keep=_KEPT)
class LazyTimedeltaIndex(_LazyTimes, pd.TimedeltaIndex):  # type: ignore[misc]  # the stubs have literals as units
    """An index of timedeltas that is read when there is no other way; made by `lazy_index`."""

    _plain_type = pd.TimedeltaIndex


@internals.reads_the_rest(pd.DatetimeIndex, keep=_KEPT)
class LazyDatetimeIndex(_LazyTimes, pd.DatetimeIndex):  # type: ignore[misc]  # the same
    """An index of datetimes without a time zone that is read when there is no other way; made by `lazy_index`."""

    _plain_type = pd.DatetimeIndex
    tz = None
    tzinfo = None

    def get_loc(self, key: Any) -> Any:
        ends = self._window.ends()
        if ends is None or isinstance(key, dt.time):
            return self.plain().get_loc(key)
        if not isinstance(key, str):
            return super().get_loc(key)
        try:
            reso, instants = internals.date_bounds(ends.labels, key)
        except ValueError:
            return ends.labels.get_loc(key)  # which says what is wrong with the string
        pocket = self._near(np.array([instant.to_datetime64() for instant in instants]))
        if pocket is None:
            return self.plain().get_loc(key)
        finest = plain_index(np.ones(1, np.int64).view(self.dtype))
        if not internals.is_partial(pocket.labels, reso) and internals.is_partial(finest, reso):
            # labels elsewhere may be finer than these
            internals.keeps_resolution(pocket.labels, self._resolution_obj)
        return pocket.location(pocket.labels.get_loc(key))

    def __contains__(self, key: Any) -> bool:
        hash(key)
        try:
            self.get_loc(key)
        except (LookupError, TypeError, ValueError, pd.errors.InvalidIndexError):
            return False
        return True

    @property
    def _resolution_obj(self) -> Any:
        found = self._window.resolution
        if found is None:
            found = self._window.resolution = min(internals.resolution(block) for _, block in self._window.blocks())
        return found

    @property
    def resolution(self) -> str:
        return str(self._resolution_obj.attrname)
