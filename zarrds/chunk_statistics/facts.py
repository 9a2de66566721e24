"""What is noted of one chunk: the smallest and the largest element, how many are valid, and their sum. Pure.

All of it is of elements as they are stored, so that it is right however they are decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrds.chunk_statistics.missing import missing_markers
from zarrds.codecs.base import AnyArray
from zarrds.metadata.model import ArrayMetadata

__all__ = ["TEXT_NBYTES", "Facts", "Rule", "rule_of", "sum_dtype_of"]

# bytes of a text that are kept of it
TEXT_NBYTES = 32
_NUMBERS = "biufmM"
# elements that are looked at at a time: few enough to stay in a core's cache, and many for what a call costs
_PIECE = 1 << 17


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of some elements.

    Attributes
    ----------
    count : int
        Those that are not missing (NaN, NaT, `_FillValue`, `missing_value`); of text all.
    sum : int or float
        Of these; 0 for text.
    min, max : scalar
        Of these, in `Rule.dtype`; bounds of all texts, which may be cut. 0 where `count` is 0.
    """

    count: int
    sum: Any
    min: Any
    max: Any


@dataclass(frozen=True, slots=True)
class Rule:
    """How the facts of an array's chunks are found.

    Attributes
    ----------
    dtype : dtype
        Of `Facts.min` and `max`: that of the elements; signed integers for times, ``S32`` (UTF-8) for text.
    sum_dtype : dtype
        64-bit integers for integers of up to 4 bytes, else 64-bit floats.
    markers : tuple
        Elements, beside NaN, that stand for missing ones, in `dtype`.
    is_unsigned : bool
        Whether signed integers are stored that stand for unsigned ones (the attribute ``_Unsigned``).
    """

    dtype: np.dtype[Any]
    sum_dtype: np.dtype[Any]
    markers: tuple[Any, ...]
    is_unsigned: bool

    @property
    def is_text(self) -> bool:
        """Whether elements are text or bytes."""
        return self.dtype.kind == "S"

    @property
    def compared(self) -> np.dtype[Any]:
        """The dtype in which elements are compared."""
        return np.dtype(f"u{self.dtype.itemsize}") if self.is_unsigned else self.dtype

    def facts(self, elements: AnyArray) -> Facts | None:
        """The facts of elements in any shape, which are not in this order; None if there is nothing to say of them.

        Examples
        --------
        >>> Rule(np.dtype("f4"), np.dtype("f8"), (np.float32(9),), False).facts(np.array([1, np.nan, 9, 4], "f4"))
        Facts(count=2, sum=np.float64(5.0), min=np.float32(1.0), max=np.float32(4.0))
        """
        if self.is_text:
            return _facts_of_text(elements.reshape(-1).tolist())
        if elements.size <= _PIECE and elements.flags.c_contiguous and elements.dtype.isnative:
            return self._of_piece(elements.reshape(-1).view(self.compared))
        found = Facts(0, self.sum_dtype.type(0), self.dtype.type(0), self.dtype.type(0))
        pieces: Any = np.nditer(
            elements,
            ["external_loop", "buffered", "zerosize_ok"],
            op_dtypes=[elements.dtype.newbyteorder("=")],
            buffersize=_PIECE,
        )
        for piece in pieces:
            found = self._joined(found, self._of_piece(piece.view(self.compared)))
        return found

    def _of_piece(self, piece: AnyArray) -> Facts:
        with np.errstate(invalid="ignore", over="ignore"):
            total = piece.sum(dtype=self.sum_dtype)
            missing = np.isnan(piece) if piece.dtype.kind == "f" and total != total else None
            for marker in self.markers:
                is_marker = piece == np.asarray(marker).view(piece.dtype)
                if is_marker.any():
                    missing = is_marker if missing is None else missing | is_marker
            if missing is not None and missing.any():
                piece = piece[~missing]
                total = piece.sum(dtype=self.sum_dtype)
        if not piece.size:
            return Facts(0, total, self.dtype.type(0), self.dtype.type(0))
        return Facts(piece.size, total, piece.min().view(self.dtype), piece.max().view(self.dtype))

    def _joined(self, a: Facts, b: Facts) -> Facts:
        if not a.count or not b.count:
            return b if b.count else a
        with np.errstate(invalid="ignore", over="ignore"):
            total = a.sum + b.sum
        lows, highs = np.array([a.min, b.min]).view(self.compared), np.array([a.max, b.max]).view(self.compared)
        return Facts(a.count + b.count, total, lows.min().view(self.dtype), highs.max().view(self.dtype))


def sum_dtype_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the sum of elements: 64-bit integers for booleans and integers of up to 4 bytes, else floats."""
    return np.dtype("i8" if dtype.kind in "biu" and dtype.itemsize <= 4 else "f8")


def rule_of(metadata: ArrayMetadata) -> Rule | None:
    """The rule of an array; None if nothing is noted of elements like these (complex numbers, structures, JSON).

    Nor of a single element without dimensions, which is as soon read as what would be noted of it, nor of chunks that
    differ in length.
    """
    if not metadata.shape or metadata.edges is not None:
        return None
    data_type = metadata.data_type
    dtype = data_type.dtype.newbyteorder("=")
    if data_type.name in ("string", "variable_length_bytes") or dtype.kind in "US":
        return Rule(np.dtype(f"S{TEXT_NBYTES}"), np.dtype("f8"), (), False)
    if dtype.kind not in _NUMBERS:
        return None
    stored = np.dtype("i8") if dtype.kind in "mM" else np.dtype("u1") if dtype.kind == "b" else dtype
    is_unsigned = dtype.kind == "i" and metadata.attributes.get("_Unsigned") == "true"
    if dtype.kind == "u" and metadata.attributes.get("_Unsigned") == "false":
        return None  # unsigned elements that stand for signed ones: nobody writes them any more
    markers: list[Any] = [np.asarray(marker).astype(dtype).view(stored)[()] for marker in missing_markers(metadata)]
    if dtype.kind in "mM":
        markers.append(np.int64(np.iinfo(np.int64).min))  # NaT
    return Rule(stored, sum_dtype_of(dtype), tuple(marker for marker in markers if marker == marker), is_unsigned)


def _facts_of_text(texts: list[Any]) -> Facts | None:
    if not texts or not all(type(text) is str for text in texts):
        if not texts or not all(type(text) is bytes for text in texts):
            return None
        low, high = min(texts), max(texts)
    else:
        # characters are ordered as their bytes in UTF-8 are
        low, high = (text.encode("utf-8", "surrogatepass") for text in (min(texts), max(texts)))
    upper = _cut_upwards(high)
    return None if upper is None else Facts(len(texts), 0.0, low[:TEXT_NBYTES], upper)


def _cut_upwards(text: bytes) -> bytes | None:
    """Bytes that are not less than `text`, and not longer than is kept; None if there are none."""
    if len(text) <= TEXT_NBYTES and not text.endswith(b"\0"):
        return text
    # NULs at the end, which are not kept, count for nothing in NumPy
    kept = text[:TEXT_NBYTES].rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None
