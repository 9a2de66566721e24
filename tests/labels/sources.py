"""Sources of labels in memory that count what they give out."""

from collections.abc import Hashable
from typing import Any

import numpy as np

from zarrds.labels.sorted.record import StaleRecordError
from zarrds.labels.sorted.source import Order, Probe


class CountingSource:
    """A `LabelSource` over an array; `given` is the number of labels that it has given out."""

    def __init__(self, labels: np.ndarray, token: Hashable = None) -> None:
        self.labels = labels
        self.token = id(labels) if token is None else token
        self.given = 0
        self.reads: list[tuple[int, int]] = []
        self.size, self.dtype = len(labels), labels.dtype
        self.order: Order | None = None
        if len(labels) == 0 or (labels[:-1] <= labels[1:]).all():
            self.order = "increasing"
        elif (labels[:-1] >= labels[1:]).all():
            self.order = "decreasing"
        self.is_unique = len(np.unique(labels)) == len(labels) if self.order else None

    def _give(self, labels: np.ndarray) -> np.ndarray:
        self.given += len(labels)
        return labels.copy()

    def read(self, start: int, stop: int) -> np.ndarray:
        assert 0 <= start <= stop <= self.size
        self.reads.append((start, stop))
        return self._give(self.labels[start:stop])

    def take(self, positions: np.ndarray) -> np.ndarray:
        assert (positions >= 0).all()
        return self._give(self.labels[positions])

    def probe(self, values: np.ndarray) -> Probe:
        assert values.dtype == self.dtype
        sign, labels = 1, self.labels
        if self.order == "decreasing":
            sign, labels = -1, self.labels[::-1]
        left, right = (np.searchsorted(labels, values, side) for side in ("left", "right"))
        if sign < 0:
            left, right = self.size - right, self.size - left
        before, at = (self._give(self.labels[np.clip(i, 0, self.size - 1)]) for i in (left - 1, left))
        return Probe(left, right, before, at)


class StaleSource(CountingSource):
    """One whose record of the order turns out to be wrong when it is searched."""

    def probe(self, values: np.ndarray) -> Any:
        raise StaleRecordError("the labels were changed since their order was recorded", path="s.zarr", key="x")
