"""Labels that lie somewhere else than in memory, as an index needs them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

__all__ = ["LabelSource", "Order", "Probe"]

Array: TypeAlias = "np.ndarray[Any, Any]"
Order: TypeAlias = Literal["increasing", "decreasing"]


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Where values stand among sorted labels, and what their neighbours are; all arrays have one element a value.

    Attributes
    ----------
    left, right : ndarray of int64
        Labels at ``[left, right)`` equal the value; where there are none, both are the position where it would stand.
    before, at : ndarray
        The labels at ``left - 1`` and at ``left``; anything where there is no such position.
    """

    left: Array
    right: Array
    before: Array
    at: Array


class LabelSource(Protocol):
    """The labels of one dimension; any number of threads may read them."""

    @property
    def size(self) -> int:
        """How many labels there are."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the labels; object for text."""

    @property
    def order(self) -> Order | None:
        """How they are sorted, equal neighbours allowed; None if they are not, or if that is not known."""

    @property
    def is_unique(self) -> bool | None:
        """Whether no label occurs twice; None if that is not known."""

    @property
    def token(self) -> Hashable:
        """Two sources with equal tokens have equal labels."""

    def read(self, start: int, stop: int) -> Array:
        """The labels at ``[start, stop)``."""

    def take(self, positions: Array) -> Array:
        """The labels at positions, in any order, none of them negative."""

    def probe(self, values: Array) -> Probe:
        """Where values would stand; only for labels that are sorted, and values that compare with them."""
