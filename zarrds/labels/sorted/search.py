"""Labels that are searched where they lie: of a store's chunks only those are read that can hold an answer."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from zarrds.engine.elements import Elements
from zarrds.labels.sorted.probing import Bounds, bounds_among
from zarrds.labels.sorted.reading import Decode, Items, StoredLabels
from zarrds.labels.sorted.record import OrderRecord
from zarrds.labels.sorted.source import Array, Order, Probe

__all__ = ["SortedLabels"]

# of elements that must be decoded to be compared, a search first looks at every so many-th
_STRIDE = 256
# integers up to here are floats without a loss
_MAX_EXACT = 1 << 53
# of so many values the labels are remembered
_MAX_REMEMBERED = 1 << 16


class SortedLabels(StoredLabels):
    """Labels that are searched where they lie: a `LabelSource`.

    Any number of threads may use it, and it pickles if its arguments do. Up to 16 MiB of blocks that were read
    are kept.

    Parameters
    ----------
    elements : Elements
        The stored array.
    record : OrderRecord
        Of that array, with an order.
    decode : callable or None
        Makes labels of stored elements, elementwise and in the same order; None if they are the same.
    check : callable
        Called after each reading; raises if the array was replaced since it was opened.
    token : hashable
        Sources with equal tokens have equal labels.

    Attributes
    ----------
    size : int
    dtype : dtype
        Of the labels; object for text.
    token : hashable
    labels_read : int
        How many labels were read from the store so far.

    Raises
    ------
    ValueError
        If the record has no order, or is of another size.

    Examples
    --------
    >>> import zarrds
    >>> from zarrds.labels.sorted.record import record_of
    >>> array = zarrds.create_array(zarrds.MemoryStore(), shape=5, dtype="i4", chunks=2)
    >>> array[:] = [10, 20, 30, 30, 40]
    >>> elements = Elements(array.store, array.path, array.metadata)
    >>> labels = SortedLabels(elements, record_of(elements), None, lambda: None, "x")
    >>> found = labels.probe(np.array([30, 35]))
    >>> found.left, found.right, found.at, found.before
    (array([2, 4]), array([4, 4]), array([30, 40], dtype=int32), array([20, 30], dtype=int32))
    """

    def __init__(
        self,
        elements: Elements,
        record: OrderRecord,
        decode: Decode | None,
        check: Callable[[], None],
        token: Hashable,
    ) -> None:
        if record.order is None or record.size != elements.shape[0]:
            raise ValueError("labels can be searched only by a record of their order")
        super().__init__(elements, record, decode, check, token)
        self.order: Order = record.order
        self._first, self._last = self._labels(record.first), self._labels(record.last)
        self._found: tuple[Array, Array] = np.empty(0, np.int64), self._first[:0]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments

    @property
    def is_unique(self) -> bool | None:
        """Whether no label occurs twice; None if that is not known."""
        unique, stored = self._record.unique, self._elements.dtype
        if unique and stored != self.dtype and self.size:
            if stored.kind == "f":
                return None  # rounded by the decoder, perhaps
            if self.dtype.kind == "f" and not -_MAX_EXACT <= self._ends()[0] <= self._ends()[1] <= _MAX_EXACT:
                return None
        return unique

    def _ends(self) -> tuple[int, int]:
        ends = int(self._record.first[0]), int(self._record.last[-1])
        return min(ends), max(ends)

    @property
    def block(self) -> int:
        """Labels of a block of the record, of which the last may have fewer."""
        return self._blocks.block

    def zones(self) -> tuple[Array, Array]:
        """The zone map: the first and the last label of each block, as they were recorded; see `changed_among`."""
        return self._first, self._last

    def probe(self, values: Array) -> Probe:
        """Where values stand among the labels; only blocks that must be read are, each once.

        Parameters
        ----------
        values : ndarray, shape (n,)
            In any order, and of any dtype that compares with the labels; they are compared without a loss of digits.

        Returns
        -------
        Probe
            NaN and NaT stand where NumPy sorts them: behind all labels that increase, before all that decrease.

        Raises
        ------
        StaleRecordError
            If labels that had to be read are not those that the record was made of.
        TypeError
            If the values do not compare with the labels.
        """
        if self._changed is not None:
            raise self._stale(self._changed)
        values = np.asarray(values)
        bounds = bounds_among(values, self.dtype)
        if not self.size:
            nowhere = np.zeros(values.size, np.int64)
            return Probe(nowhere, nowhere.copy(), np.empty(values.size, self.dtype), np.empty(values.size, self.dtype))
        # of how many blocks the last label stands before the value, and so on
        ended, started = (self._rank(ends, bounds, or_equal=False) for ends in (self._last, self._first))
        ended_with, started_with = (self._rank(ends, bounds, or_equal=True) for ends in (self._last, self._first))
        left, right = (np.minimum(n * self._blocks.block, self.size) for n in (ended, started_with))
        at = self._first[np.minimum(ended, len(self._blocks) - 1)]
        before = self._last[np.maximum(ended - 1, 0)]
        lefts = Items(np.flatnonzero(started > ended), ended)
        is_unique = self.is_unique  # then the right end follows from the left one
        rights = Items(np.flatnonzero((started_with > ended_with) & (is_unique is not True)), started_with - 1)

        def look(numbers: Array, stored: Array) -> None:
            here, start = lefts.of(numbers)
            found = self._search(stored, self._bound(bounds, or_equal=False)[here], or_equal=False)
            left[here] = found + (numbers[start] - start) * self._blocks.block
            at[here], before[here] = self._labels(stored[found]), self._labels(stored[found - 1])
            here, start = rights.of(numbers)
            found = self._search(stored, self._bound(bounds, or_equal=True)[here], or_equal=True)
            right[here] = found + (numbers[start] - start) * self._blocks.block

        # also of an answer that the record alone gives, the blocks are read: they may be others by now
        sure = np.concatenate([np.minimum(ended, len(self._blocks) - 1), np.maximum(started_with - 1, 0)])
        self._visit(np.unique(sure), look, must_be_recorded=True)
        if is_unique:
            is_there = (bounds.beyond == 0) & (bounds.low == bounds.high) & (at == bounds.low)
            right = left + (is_there & (left < self.size))
        self._remember(left, before, at)
        return Probe(left, right, before, at)

    def _remember(self, left: Array, before: Array, at: Array) -> None:
        """Keep the labels beside some values: whoever looked for them is likely to ask for them next."""
        if left.size > _MAX_REMEMBERED:
            return
        is_at, is_before = left < self.size, left > 0
        positions = np.concatenate([left[is_at], left[is_before] - 1])
        positions, first = np.unique(positions, return_index=True)
        self._found = positions, np.concatenate([at[is_at], before[is_before]])[first]

    def take(self, positions: Array) -> Array:
        """The labels at positions, in any order; those that a probe has just found are not read again."""
        known, labels = self._found
        if 0 < np.size(positions) <= 2 * _MAX_REMEMBERED and known.size:
            where = np.minimum(known.searchsorted(positions), known.size - 1)
            if np.array_equal(known[where], positions):
                self._check()
                return labels[where]
        return super().take(positions)

    def _bound(self, bounds: Bounds, *, or_equal: bool) -> Array:
        """What labels are compared with instead of the values, to tell if they stand before (or are equal to) them."""
        return bounds.high if or_equal == (self.order == "increasing") else bounds.low

    def _rank(self, ends: Array, bounds: Bounds, *, or_equal: bool) -> Array:
        """How many labels at ends of blocks stand before each value (or are equal to it)."""
        rank = _rank(ends, self._bound(bounds, or_equal=or_equal), self.order, or_equal=or_equal)
        behind_all = bounds.beyond == (1 if self.order == "increasing" else -1)
        return np.where(behind_all, ends.size, np.where(bounds.beyond == 0, rank, 0))

    def _search(self, stored: Array, values: Array, *, or_equal: bool) -> Array:
        """How many of some stored elements stand before each value (or are equal to it)."""
        if self._decode is None or 2 * values.size * _STRIDE > stored.size:
            return _rank(self._labels(stored), values, self.order, or_equal=or_equal)
        # few values: decode no more than what tells between which two samples they stand, and what lies there
        rough = _rank(self._labels(stored[::_STRIDE]), values, self.order, or_equal=or_equal)
        start = np.maximum(rough - 1, 0) * _STRIDE
        window = start[:, None] + np.arange(_STRIDE)
        labels = self._labels(stored[np.minimum(window, stored.size - 1).ravel()]).reshape(window.shape)
        is_before = labels < values[:, None] if self.order == "increasing" else labels > values[:, None]
        if or_equal:
            is_before |= labels == values[:, None]
        found: Array = start + (is_before & (window < stored.size)).sum(axis=1)
        return found


def _rank(labels: Array, values: Array, order: Order, *, or_equal: bool) -> Array:
    """How many of sorted labels stand before each value (or are equal to it)."""
    rank: Array
    if order == "increasing":
        rank = labels.searchsorted(values, "right" if or_equal else "left")
        return rank
    return labels.size - labels[::-1].searchsorted(values, "left" if or_equal else "right")
