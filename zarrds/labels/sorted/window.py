"""Some labels of a source that lie side by side, and plain indexes of a few of them."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zarrds.arguments import warn
from zarrds.labels.sorted.candidates import candidates, is_exact
from zarrds.labels.sorted.record import StaleRecordError
from zarrds.labels.sorted.source import Array, LabelSource, Order

__all__ = ["NearbyLabels", "Window", "plain_index"]

# labels that are compared or counted at a time, where all are gone through but need not be kept
_BLOCK = 1 << 20
# values that are worth looking up, however small the window is
_FEW = 1 << 16


def plain_index(labels: Array, name: Hashable = None) -> pd.Index:
    """The index that xarray makes of labels: text stays objects."""
    return pd.Index(labels, dtype=object if labels.dtype.kind == "O" else None, name=name)


@dataclass(frozen=True, slots=True, eq=False)
class NearbyLabels:
    """A plain index of some labels of a window, and where they are in it.

    The first and the last label are always among them, so that these are sorted as the window is; pandas answers
    from them as from all labels, and positions in it are then made positions in the window.
    """

    labels: pd.Index
    positions: Array
    size: int

    def indexer(self, found: Array) -> Array:
        """Positions among these labels, -1 where there is none -> positions in the window."""
        return np.where(found < 0, -1, self.positions[found]).astype(np.intp)

    def bound(self, found: Any, side: str) -> Any:
        """Where a value would stand: before the label that follows it (left), or behind the one that precedes it."""
        after = np.append(self.positions, self.size) if side == "left" else np.append(0, self.positions + 1)
        return after[found] if np.ndim(found) else int(after[found])

    def location(self, found: Any) -> int | slice:
        """What `get_loc` found among these labels, as it is in the window."""
        if isinstance(found, np.ndarray):
            where = np.flatnonzero(found)  # equal labels stand side by side
            found = slice(int(where[0]), int(where[-1]) + 1)
        if not isinstance(found, slice):
            return int(self.positions[found])
        if found.stop <= found.start:
            start = int(self.bound(found.start, "left"))
            return slice(start, start)
        return slice(int(self.positions[found.start]), int(self.positions[found.stop - 1]) + 1)


class Window:
    """The labels ``[start, stop)`` of a source; any number of threads may use it.

    Parameters
    ----------
    source : LabelSource
        Where the labels are.
    start, stop : int
        Which of them: at least one.
    at_least : int
        A part of the window with fewer labels than that is not worth a window of its own.

    Notes
    -----
    If the source turns out not to be sorted as was recorded (`StaleRecordError`), the window warns and knows of no
    order any more: whoever asks for labels near a value gets None, and has to read all.
    """

    def __init__(self, source: LabelSource, start: int, stop: int, at_least: int) -> None:
        self.source = source
        self.start = start
        self.stop = stop
        self.at_least = at_least
        self._lock = threading.RLock()
        self._read: pd.Index | None = None
        self._ends: NearbyLabels | None = None
        self._unique: bool | None = None
        self._stale = False
        # the finest resolution of datetimes, which their index finds out and keeps here
        self.resolution: Any = None

    def __len__(self) -> int:
        return self.stop - self.start

    def __reduce__(self) -> tuple[type[Window], tuple[Any, ...]]:
        return Window, (self.source, self.start, self.stop, self.at_least)

    @property
    def order(self) -> Order | None:
        """How the labels are sorted, if that is known."""
        return None if self._stale else self.source.order

    @property
    def is_read(self) -> bool:
        """Whether all labels are in memory."""
        return self._read is not None

    @property
    def most_near(self) -> int:
        """For more values than that it is better to read all labels than those near them."""
        return max(_FEW, len(self) // 8)

    def same_labels(self, other: Window) -> bool:
        """Whether two windows are sure to have the same labels, without looking at them."""
        if self is other:
            return True
        spans = (self.start, self.stop) == (other.start, other.stop)
        return spans and not self._stale and not other._stale and self.source.token == other.source.token

    def part(self, start: int, stop: int) -> Window:
        """The labels ``[start, stop)`` of the window; the window itself if that is all of them."""
        if (start, stop) == (0, len(self)):
            return self
        return Window(self.source, self.start + start, self.start + stop, self.at_least)

    def all(self) -> pd.Index:
        """The plain index of all labels, without a name. It is read once; threads that come meanwhile wait."""
        with self._lock:
            if self._read is None:
                self._read = plain_index(self._labels(0, len(self)))
            return self._read

    def read(self, start: int, stop: int) -> pd.Index:
        """The plain index of the labels at ``[start, stop)``."""
        return plain_index(self._labels(start, stop)) if self._read is None else self._read[start:stop]

    def take(self, positions: Array) -> pd.Index:
        """The plain index of the labels at positions, which are in the window and not negative."""
        if self._read is None:
            try:
                return plain_index(self.source.take(positions + self.start))
            except StaleRecordError as error:
                self._distrust(error)
        return self.all().take(positions)

    def blocks(self) -> Iterator[tuple[int, pd.Index]]:
        """All labels, a limited number at a time, with the position of the first."""
        for start in range(0, len(self), _BLOCK):
            yield start, self.read(start, min(start + _BLOCK, len(self)))

    def is_unique(self) -> bool:
        """Whether no label occurs twice; goes through all labels where the source does not know of this part."""
        if self._unique is None:
            self._unique = self._find_unique()
        return self._unique

    def ends(self) -> NearbyLabels | None:
        """The first and the last label; None if they say nothing of those between, or if all are in memory anyway."""
        if self._read is not None or self.order is None:
            return None
        if self._ends is None:
            positions = np.unique([0, len(self) - 1])
            ends = NearbyLabels(self.take(positions), positions, len(self))
            self._ends = None if self._stale else ends
        return self._ends

    def near(self, values: Array, *, every: bool = False) -> NearbyLabels | None:
        """The labels around values, whatever they are: those equal to a value, the one before and the one after.

        Parameters
        ----------
        values : ndarray
            What is asked for, of any dtype.
        every : bool
            All labels that are equal to a value, not just the first and the last of them.

        Returns
        -------
        NearbyLabels or None
            None where it is better, or necessary, to ask the index of all labels.
        """
        ends = self.ends()
        if ends is None or values.size > self.most_near:
            return None
        if not is_exact(values, self.source.dtype, ends.labels[0], ends.labels[-1]):
            return None
        wanted = candidates(values, self.source.dtype)
        if not len(wanted):
            return ends
        try:
            return self._around(wanted, ends, every)
        except StaleRecordError as error:
            self._distrust(error)
            return None

    def _around(self, wanted: Array, ends: NearbyLabels, every: bool) -> NearbyLabels | None:
        probe = self.source.probe(wanted)
        left = np.clip(probe.left, self.start, self.stop)
        count = np.clip(probe.right, self.start, self.stop) - left
        if every and count.sum() > self.most_near:
            return None
        before = (probe.left > self.start) & (probe.left <= self.stop)
        after = (probe.left >= self.start) & (probe.left < self.stop)
        if every:
            firsts = np.repeat(left - np.cumsum(count) + count, count)
            equal = firsts + np.arange(len(firsts))
            equal_labels = np.repeat(probe.at, count)
        else:
            equal = np.concatenate([left[count > 0], (left + count)[count > 0] - 1])
            equal_labels = np.tile(probe.at[count > 0], 2)
        positions = np.concatenate([ends.positions + self.start, probe.left[before] - 1, probe.left[after], equal])
        labels = np.concatenate([ends.labels.to_numpy(), probe.before[before], probe.at[after], equal_labels])
        positions, which = np.unique(positions, return_index=True)
        return NearbyLabels(plain_index(labels[which]), positions - self.start, len(self))

    def _find_unique(self) -> bool:
        known = None if self._stale else self.source.is_unique
        if known or (known is False and len(self) == self.source.size):
            return known
        if self.order is None or self.is_read:
            return bool(self.all().is_unique)
        last: Any = None
        for start, block in self.blocks():
            if not block.is_unique or (start and block[0] == last):
                return False
            last = block[-1]
        return True

    def _labels(self, start: int, stop: int) -> Array:
        try:
            return self.source.read(self.start + start, self.start + stop)
        except StaleRecordError as error:
            self._distrust(error)
        # a source that has said so once gives its labels as they are
        return self.source.read(self.start + start, self.start + stop)

    def _distrust(self, error: StaleRecordError) -> None:
        with self._lock:
            told, self._stale, self._unique, self._ends = self._stale, True, None, None
        if not told:
            warn(
                f"{error}; all labels are read instead. To record their order anew: zarrds.index(store, name)",
            )
