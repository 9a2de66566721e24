"""The statistics of the chunks below a variable of pandas' kinds: nullable integers, and codes of categories."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.codecs.base import AnyArray
from zarrds.compat.lazy_layers import mapped_below
from zarrds.datasets.querying.chunk_facts import ChunkFacts
from zarrds.datasets.querying.stored import StoredChunks, stored_chunks
from zarrds.labels.kinds.nullable import MASKED

__all__ = ["chunks_of_codes", "chunks_of_nullable"]

# categories that are looked at for the bounds of all chunks
_MOST_CATEGORIES = 10**6


class _Nullable(StoredChunks):
    """The chunks of integers or booleans of which some are pandas' NA: what is stored for these is not counted."""

    def facts(self) -> ChunkFacts:
        """What is known of the chunks."""
        rows, rule = self.rows, self.rule
        known = rows["known"] == 1
        if rule is None or not known.any() or not rule.markers:
            return self._nothing()
        count = np.where(known, rows["count"], -1)
        return ChunkFacts(known, rows["min"], rows["max"], count, self._sizes() > rows["count"], self._sum(rows))


def chunks_of_nullable(variable: xr.Variable) -> StoredChunks | None:
    """The chunks that a variable of pandas' nullable integers or booleans reads; None of one that is in memory."""
    dtype: Any = variable.dtype
    if isinstance(dtype, np.dtype) or not MASKED.fullmatch(dtype.name) or (found := _integers_below(variable)) is None:
        return None
    return _Nullable(found.lazy, found.layers, found.rule, found.dtype)


def _integers_below(variable: xr.Variable) -> StoredChunks | None:
    """The chunks of the stored integers that a variable makes its elements of, one by one; None if it does not."""
    below = mapped_below(variable)
    found = None if below is None else stored_chunks(below)
    return None if found is None or found.dtype.kind not in "iu" or found.layers.functions else found


class _Categories(StoredChunks):
    """The chunks of codes of a variable of categories: bounds are those of all categories between two codes."""

    def __init__(self, codes: StoredChunks, categories: pd.Index[Any]) -> None:
        super().__init__(codes.lazy, codes.layers, codes.rule, codes.dtype)
        self._categories = categories

    def facts(self) -> ChunkFacts:
        """What is known of the chunks, as categories; bounds need not be any element's."""
        rows, rule = self.rows, self.rule
        known = rows["known"] == 1
        # -1 is no category, whether or not the array says that it stands for a missing one
        if rule is None or not known.any() or any(marker != -1 for marker in rule.markers):
            return self._nothing()
        ends = np.stack([rows["min"].ravel(), rows["max"].ravel()], -1).astype(np.int64)
        known = known & ((ends[:, 0] >= 0) & (ends[:, 1] < len(self._categories))).reshape(self.shape)
        pairs, which = np.unique(np.where(known.reshape(-1, 1), ends, 0), axis=0, return_inverse=True)
        if not len(self._categories) or int((pairs[:, 1] - pairs[:, 0] + 1).sum()) > _MOST_CATEGORIES:
            return self._nothing()
        try:
            lows, highs = _between(self._categories, pairs)
        except TypeError:  # they cannot be compared with each other
            return self._nothing()
        low, high = (each[which.reshape(self.shape)] for each in (lows, highs))
        count = np.where(known, rows["count"], -1)
        return ChunkFacts(known, low, high, count, self._sizes() > rows["count"], None, is_exact=False)


def _between(categories: pd.Index[Any], pairs: AnyArray) -> tuple[AnyArray, AnyArray]:
    """The smallest and the largest of the categories from one code to another, as values are compared."""
    values: AnyArray = np.asarray(categories)
    if values.dtype.kind in "OUT":
        texts = [text.encode("utf-8", "surrogatepass") for text in values.tolist() if isinstance(text, str)]
        if len(texts) != len(values):
            raise TypeError("not texts")
        values = np.empty(len(texts), object)
        values[:] = texts
    parts = [values[first : last + 1] for first, last in pairs.tolist()]
    found = (np.array([function(part) for part in parts], values.dtype) for function in (np.min, np.max))
    lows, highs = found
    return lows, highs


def chunks_of_codes(variable: xr.Variable) -> StoredChunks | None:
    """The chunks of the codes that a variable of categories reads; None of one that reads none."""
    dtype: Any = variable.dtype
    codes = _integers_below(variable) if isinstance(dtype, pd.CategoricalDtype) else None
    return None if codes is None else _Categories(codes, dtype.categories)
