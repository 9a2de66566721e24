"""Finds out how the elements of an array are ordered, piece by piece."""

from __future__ import annotations

from typing import Any

import numpy as np

from zarrds.labels.sorted.source import Array, Order

__all__ = ["Scan"]


class Scan:
    """What is still possible after the neighbours that were looked at; any number of threads may look at once.

    Parameters
    ----------
    increasing, decreasing : bool
        Which orders are possible before anything was looked at; equal neighbours are allowed in both.
    unique : bool
        Whether all neighbours differed.
    step : int or None
        What each integer may be more than the one before it.
    markers : sequence
        Elements that stand for missing ones.

    Attributes
    ----------
    has_missing : bool
        Whether there was such an element, or a NaN or NaT where nothing stood beside it.

    Examples
    --------
    >>> scan = Scan(step=1)
    >>> scan.look(np.array([3, 4, 6, 6]))
    >>> scan.order, scan.unique, scan.step
    ('increasing', False, None)
    """

    def __init__(
        self,
        *,
        increasing: bool = True,
        decreasing: bool = True,
        unique: bool = True,
        step: int | None = None,
        markers: tuple[Any, ...] = (),
    ) -> None:
        self.increasing = increasing
        self.decreasing = decreasing
        self.unique = unique
        self.step = step
        self.has_missing = False
        self._markers = markers

    @property
    def order(self) -> Order | None:
        """The order that is left; "increasing" if both are."""
        if self.has_missing:
            return None
        return "increasing" if self.increasing else "decreasing" if self.decreasing else None

    def look(self, elements: Array) -> None:
        """Look at elements that stand one behind the other."""
        if elements.size == 1 and elements.dtype.kind in "fmM" and elements[0] != elements[0]:
            self.has_missing = True  # else their comparisons give them away
        for marker in self._markers:
            if not self.has_missing and (elements == marker).any():
                self.has_missing = True
        self.compare(elements[:-1], elements[1:])

    def compare(self, before: Array, after: Array) -> None:
        """Compare the elements of `before` with their neighbours, which are those of `after`."""
        if not before.size or not (self.increasing or self.decreasing):
            return
        # nothing is ever set back to True, so that threads need no lock
        if self.increasing and (after > before).all():
            self.decreasing = False
        elif self.decreasing and (after < before).all():
            self.increasing = False
        else:
            self.unique = False
            if self.increasing and not (after >= before).all():
                self.increasing = False
            if self.decreasing and not (after <= before).all():
                self.decreasing = False
        step = self.step
        if step is not None:
            # modulo the dtype's range: differences of sorted integers that are equal there are equal
            unsigned = np.dtype(f"u{before.dtype.itemsize}")
            wanted = unsigned.type(step % (1 << 8 * unsigned.itemsize))
            if not (after.view(unsigned) - before.view(unsigned) == wanted).all():
                self.step = None
