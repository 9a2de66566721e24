"""Lazy indexes of numbers, text, datetimes and timedeltas."""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from zarrds.arguments import warn
from zarrds.compat import pandas_internals as internals
from zarrds.labels.sorted.candidates import is_supported
from zarrds.labels.sorted.lazy_labels import KEPT, LazyIndex, new_index
from zarrds.labels.sorted.source import LabelSource
from zarrds.labels.sorted.window import Window, plain_index

__all__ = ["LazyDatetimeIndex", "LazyIndex", "LazyTimedeltaIndex", "lazy_index", "unread_window"]

# labels that are read at once, where they are all that is left
_SMALL = 65_536


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
        A `LazyIndex`, a `LazyDatetimeIndex` or a `LazyTimedeltaIndex`; a plain index of small sources, of dtypes for
        which pandas has no index of just this dtype, and where the installed pandas is not as it must be (then with a
        `UserWarning`).

    Notes
    -----
    It gives the plain index's answers, and its errors. Where the source is sorted, these read only what they need:
    looking labels up (``get_loc``, ``get_indexer``, ``slice_indexer``, ``searchsorted``, ``in``, ``isin``,
    ``intersection`` and their relatives), taking items, slices and arrays of positions, ``min`` and ``max``,
    ``is_unique``, copies, pickles and ``repr``. ``equals`` goes through the labels, but keeps none; where sources are
    equal it reads nothing. A string may mean an instant or a span of time, depending on the resolution of all labels of
    a `LazyDatetimeIndex`: where those found do not settle it, all are gone through, once. Everything else reads all
    labels, once, for the index and all its copies, and gives plain indexes. Any number of threads may use it.

    In two things it differs: ``get_loc`` of a label that a decreasing index has several times is a slice, where pandas
    makes a mask of all labels; and ``type(index)`` is another class, though one that equals that of pandas.

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
    >>> from zarrds.labels.sorted.source import Probe
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
        warn(
            f"all {source.size} labels of index {name!r} are read, since pandas {pd.__version__} is not as the lazy "
            f"index needs it: {'; '.join(problems)}. Use another release of pandas, or index='pandas'",
        )
        return _read(source).rename(name)
    kinds: dict[str, type[LazyIndex]] = {"M": LazyDatetimeIndex, "m": LazyTimedeltaIndex}
    return new_index(kinds.get(dtype.kind, LazyIndex), Window(source, 0, source.size, at_least), name)


def unread_window(index: object) -> Window | None:
    """The labels that an index is still to be read from; None if they are in memory, or if it is no lazy index."""
    return index._window if isinstance(index, LazyIndex) and not index._window.is_read else None


def _read(source: LabelSource) -> pd.Index:
    # pandas has no index of float16; xarray makes it float64
    labels = source.read(0, source.size)
    return plain_index(labels.astype(np.float64) if labels.dtype == np.float16 else labels)


class _LazyTimes(LazyIndex):
    """What datetimes and timedeltas have in common: neither has a frequency, which stored labels do not tell."""

    freq = None
    freqstr = None

    @property
    def unit(self) -> str:
        """The unit of the labels: s, ms, us or ns."""
        return np.datetime_data(self.dtype)[0]


@internals.reads_the_rest(pd.TimedeltaIndex, keep=KEPT)
class LazyTimedeltaIndex(_LazyTimes, pd.TimedeltaIndex):  # type: ignore[misc]  # the stubs have literals as units
    """An index of timedeltas that is read when there is no other way; made by `lazy_index`."""

    _plain_type = pd.TimedeltaIndex


@internals.reads_the_rest(pd.DatetimeIndex, keep=KEPT)
class LazyDatetimeIndex(_LazyTimes, pd.DatetimeIndex):  # type: ignore[misc]  # the same
    """An index of datetimes without a time zone that is read when there is no other way; made by `lazy_index`."""

    _plain_type = pd.DatetimeIndex
    tz = None
    tzinfo = None

    def get_loc(self, key: Any) -> Any:
        """The position of an instant, or of all labels in a span of time; KeyError if there are none."""
        ends = self._window.ends()
        if ends is None or isinstance(key, dt.time):
            return self.plain().get_loc(key)
        if not isinstance(key, str):
            return super().get_loc(key)
        try:
            reso, instants = internals.date_bounds(ends.labels, key)
        except ValueError:
            return ends.labels.get_loc(key)  # which says what is wrong with the string
        near = self._near(np.array([instant.to_datetime64() for instant in instants]))
        if near is None:
            return self.plain().get_loc(key)
        finest = plain_index(np.ones(1, np.int64).view(self.dtype))
        if not internals.is_partial(near.labels, reso) and internals.is_partial(finest, reso):
            # labels elsewhere may be finer than these
            internals.keeps_resolution(near.labels, self._resolution_obj)
        return near.location(internals.located_times(near.labels, key))

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
        """The finest unit of time that a label needs; goes through all labels, once."""
        return str(self._resolution_obj.attrname)
