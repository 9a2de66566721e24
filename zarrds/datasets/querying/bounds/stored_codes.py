"""Statistics of variables whose values are made of stored integers one by one: nullable ones, and categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from pandas.api.extensions import ExtensionDtype

from zarrds.codecs.base import AnyArray
from zarrds.compat.lazy_layers import mapped_below
from zarrds.datasets.querying.bounds.chunk_facts import ChunkFacts, as_bytes
from zarrds.datasets.querying.bounds.stored import StoredChunks, stored_chunks
from zarrds.datasets.querying.expressions.binding import Kind
from zarrds.datasets.reading.notes import PANDAS
from zarrds.errors import QueryError
from zarrds.labels.kinds.arrow import own_dtype
from zarrds.labels.kinds.nullable import MASKED, restore_masked
from zarrds.labels.kinds.objects import restore_objects
from zarrds.labels.kinds.plain import Description, as_integers
from zarrds.labels.kinds.times import TIMES
from zarrds.metadata.extension import note_of

__all__ = [
    "NullableChunks",
    "chunks_of_codes",
    "chunks_of_nullable",
    "compared_dtype",
    "compared_nullable",
    "compared_objects",
    "plain_below",
]

# categories that are looked at for the bounds of all chunks
_MOST_CATEGORIES = 10**6


class NullableChunks(StoredChunks):
    """The chunks of integers or booleans of which some are pandas' NA: what is stored for these is not counted.

    Attributes
    ----------
    below : Variable
        The stored integers, read lazily.
    """

    def __init__(self, found: StoredChunks, below: xr.Variable, description: Description) -> None:
        super().__init__(found.lazy, found.layers, found.rule, found.dtype)
        self.below, self._description = below, description

    def facts(self) -> ChunkFacts:
        """What is known of the chunks."""
        rows, rule = self.rows, self.rule
        known = self.known
        mark = self._description.get("missing")
        # rows must count as missing what is, and nothing else: other tools change attributes
        if rule is None or rule.is_unsigned or {int(m) for m in rule.markers} != ({mark} - {None}) or not known.any():
            return self._nothing()
        if self.is_boolean:
            known = known & (rows["min"] >= 0) & (rows["max"] <= 1)
        count = np.where(known, rows["count"], -1)
        return ChunkFacts(known, rows["min"], rows["max"], count, self._sizes() > rows["count"], self._sum(rows))

    @property
    def is_boolean(self) -> bool:
        """Whether they are booleans, which are conditions."""
        return self._description["dtype"] in ("boolean", "objects[boolean]")

    def compared(self) -> ChunkFacts:
        """The same, of the values that queries compare: see `compared_nullable`."""
        facts = self.facts()
        if self.is_boolean:
            low = (facts.low == 1) & ~facts.has_missing
            high, nothing = (facts.high == 1) & (facts.count != 0), np.zeros_like(facts.known)
            return replace(
                facts, low=low, high=high, count=np.where(facts.known, self._sizes(), -1), has_missing=nothing
            )
        dtype = compared_dtype(facts.low.dtype)
        return replace(facts, low=facts.low.astype(dtype), high=facts.high.astype(dtype))

    def values(self, elements: AnyArray) -> AnyArray:
        """What queries compare, of stored elements."""
        if MASKED.fullmatch(str(self._description["dtype"])):
            made: Any = restore_masked(self._description, elements.reshape(-1), {})
            return compared_nullable(made.array).reshape(elements.shape)
        objects = restore_objects(self._description, elements.reshape(-1), {}).to_numpy().reshape(elements.shape)
        return compared_objects(objects, "condition" if self.is_boolean else "number", compared_dtype(elements.dtype))


def compared_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """That in which queries compare and compute with integers of which some may be missing."""
    return np.dtype(np.uint64 if dtype == np.uint64 else np.int64)


def compared_objects(objects: AnyArray, kind: Kind, dtype: np.dtype[Any] | None = None) -> AnyArray:
    """Objects that are numbers, booleans or times with a zone, some of them missing, as queries compare them.

    As `compared_nullable` says, and times in UTC. `dtype` is that of integers; by default one that holds them. Raises
    `QueryError` if none does.
    """
    missing = np.asarray(pd.isna(objects), bool)
    if kind == "time":
        times = pd.to_datetime(pd.Series(objects.reshape(-1)), utc=True).dt.tz_localize(None)
        return np.asarray(times.to_numpy()).reshape(objects.shape)
    if kind == "condition":
        return np.where(missing, False, objects).astype(bool)
    filled = np.where(missing, 0, objects)
    if pd.api.types.infer_dtype(filled.reshape(-1), skipna=False) != "integer":
        return np.where(missing, np.nan, objects).astype(float)
    try:
        values = as_integers(filled) if dtype is None else filled.astype(dtype)
    except OverflowError as error:
        largest = max(filled.reshape(-1), key=abs)
        raise QueryError("integers do not fit into 64 bits", found=largest, mend="Make floats of them first") from error
    return np.ma.MaskedArray(values, missing) if missing.any() else values


def compared_nullable(values: Any) -> AnyArray:
    """pandas' nullable numbers and booleans as queries compare them, in an array of one dimension.

    Integers are those of 64 bits, masked where they are missing, so that none is rounded. Floats are missing as NaN; of
    booleans what is missing is false.
    """
    name = values.dtype.name
    if name == "boolean":
        return np.asarray(values.to_numpy(bool, na_value=False))
    if name.startswith("Float"):
        return np.asarray(values.to_numpy(values.dtype.numpy_dtype, na_value=np.nan))
    missing = np.asarray(values.isna())
    integers = np.asarray(values.to_numpy(compared_dtype(values.dtype.numpy_dtype), na_value=0))
    return np.ma.MaskedArray(integers, missing) if missing.any() else integers


def plain_below(variable: xr.Variable) -> xr.Variable | None:
    """The plain variable that one of pandas' nullable floats, or of times with a zone, is made of; None of another.

    What is missing is NaN or NaT in it, and times are those of UTC.
    """
    dtype = own_dtype(variable.dtype)
    is_object = dtype == np.dtype(object)
    is_nullable = isinstance(dtype, ExtensionDtype) and dtype.name in ("Float32", "Float64")
    below = mapped_below(variable) if is_object or is_nullable else None
    if below is None or (is_nullable and below.dtype != dtype.numpy_dtype):
        return None
    if is_nullable:
        return below
    found = stored_chunks(below)
    match = None if found is None else TIMES.fullmatch(str(_described(found).get("dtype")))
    return below if match is not None and match[3] and below.dtype.kind == "M" else None


def chunks_of_nullable(variable: xr.Variable) -> NullableChunks | None:
    """The chunks that a variable of integers or booleans, nullable or objects, reads; None of one in memory."""
    dtype = own_dtype(variable.dtype)
    is_object = dtype == np.dtype(object)
    is_nullable = isinstance(dtype, ExtensionDtype) and MASKED.fullmatch(dtype.name) is not None
    below = mapped_below(variable) if is_object or is_nullable else None
    found = None if below is None else _integers_of(below)
    if found is None or below is None:
        return None
    description = _described(found)
    noted = description.get("dtype")
    is_noted = noted in ("objects[integer]", "objects[boolean]") if is_object else noted == dtype.name
    return NullableChunks(found, below, description) if is_noted else None


def _described(chunks: StoredChunks) -> Description:
    """What is noted of the values that are made of a stored array; nothing where there is no such note."""
    description = note_of(chunks.metadata, PANDAS)
    return description if isinstance(description, Mapping) else {}


def _integers_of(below: xr.Variable) -> StoredChunks | None:
    """The chunks of stored integers; None of what is decoded, or is none."""
    found = stored_chunks(below)
    return None if found is None or found.dtype.kind not in "iu" or found.layers.functions else found


class _Categories(StoredChunks):
    """The chunks of codes of a variable of categories: bounds are those of all categories between two codes."""

    def __init__(self, codes: StoredChunks, categories: pd.Index[Any]) -> None:
        super().__init__(codes.lazy, codes.layers, codes.rule, codes.dtype)
        self._categories = categories

    def facts(self) -> ChunkFacts:
        """What is known of the chunks, as categories; bounds need not be any element's."""
        rows, rule = self.rows, self.rule
        known = self.known
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
        if not all(isinstance(text, str) for text in values):
            raise TypeError("not texts")
        values = as_bytes(values)
    parts = [values[first : last + 1] for first, last in pairs.tolist()]
    found = (np.array([function(part) for part in parts], values.dtype) for function in (np.min, np.max))
    lows, highs = found
    return lows, highs


def chunks_of_codes(variable: xr.Variable) -> StoredChunks | None:
    """The chunks of the codes that a variable of categories reads; None of one that reads none."""
    dtype: Any = variable.dtype
    below = mapped_below(variable) if isinstance(dtype, pd.CategoricalDtype) else None
    codes = None if below is None else _integers_of(below)
    return None if codes is None else _Categories(codes, dtype.categories)
