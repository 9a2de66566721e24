"""What is known of chunks, as values of a variable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from zarrds.codecs.base import AnyArray

__all__ = ["ChunkFacts", "as_bytes"]

# microseconds by which times that are made of floats may differ
_ROUNDING = 2
_STEPS_OF_A_MICROSECOND = {"us": 1, "ns": 10**3, "ps": 10**6, "fs": 10**9, "as": 10**12}


def as_bytes(texts: AnyArray) -> AnyArray:
    """Texts as bounds of texts are: their bytes, as objects, in the order of their characters; others stay."""
    encoded = (text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text for text in texts.ravel())
    return np.fromiter(encoded, object, texts.size).reshape(texts.shape)


@dataclass(frozen=True, slots=True)
class ChunkFacts:
    """What is known of chunks; all arrays have the shape of the chunk grid, or of the part of it that is asked for.

    Attributes
    ----------
    known : ndarray of bool
        Where the others say something.
    low, high : ndarray
        Bounds of the values that are not missing, in the variable's dtype; of text in bytes, which may be cut.
    count : ndarray of int64
        Values that are not missing; -1 where that is not known.
    has_missing : ndarray of bool
        Whether some values may be missing.
    sum : ndarray or None
        Of the values that are not missing: 64-bit integers where the rows hold such, else 64-bit floats. None of text,
        times and what is decoded in another way than by a factor and an offset.
    is_exact : bool
        Whether the bounds are values of the variable. Times that are made of floats are rounded in one way or another,
        which depends on what is decoded with them: see `loosened`.
    """

    known: AnyArray
    low: AnyArray
    high: AnyArray
    count: AnyArray
    has_missing: AnyArray
    sum: AnyArray | None
    is_exact: bool = True

    @property
    def are_texts(self) -> bool:
        """Whether the bounds are those of texts, as far as they say something."""
        return all(isinstance(value, bytes) for value in self.low[self.known].flat)

    def loosened(self) -> ChunkFacts:
        """The same with bounds that hold however values were rounded."""
        kind = self.low.dtype.kind
        if self.is_exact or kind not in "mMO":
            return self
        if kind == "O":
            return self._loosened_objects()
        steps = max(1, _ROUNDING * _STEPS_OF_A_MICROSECOND.get(np.datetime_data(self.low.dtype)[0], 0))
        low, high = (each.view(np.int64) for each in (self.low, self.high))
        is_inside = (low > -(2**62)) & (high < 2**62)
        low, high = (np.where(is_inside, each, 0).astype(np.int64) for each in (low - steps, high + steps))
        found: ChunkFacts = replace(
            self, known=self.known & is_inside, low=low.view(self.low.dtype), high=high.view(self.low.dtype)
        )
        return found

    def _loosened_objects(self) -> ChunkFacts:
        """Of cftime; texts stay as they are."""
        if self.are_texts:
            return self
        low, high, by = self.low.copy(), self.high.copy(), timedelta(microseconds=_ROUNDING)
        try:
            low[self.known] -= by
            high[self.known] += by
        except (TypeError, OverflowError):
            return replace(self, known=np.zeros_like(self.known))
        return replace(self, low=low, high=high)
