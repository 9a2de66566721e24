"""Of which kind values are: an index of the dtype that tells most of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from zarrds.labels.kinds.periods import PERIODS
from zarrds.labels.kinds.plain import Array, Labels, StoredKind
from zarrds.labels.kinds.times import TIMES, zoned_index

__all__ = ["Values", "all_missing", "as_index", "missing_times"]

Values: TypeAlias = "Labels | ExtensionArray | Array"


def as_index(values: Values) -> Labels | None:
    """Values as a 1-D index of the dtype that tells most of them, None if they are nothing of pandas'."""
    index: Labels | None = None
    if not isinstance(values, np.ndarray):
        index = pd.Index(values, dtype=values.dtype)  # else pandas 2 recognises objects itself, with a warning
        return index if index.dtype != object else _recognised(index.to_numpy())
    flat = values.reshape(-1)
    if flat.dtype.kind in "UT":
        index = pd.Index(flat.astype(object), dtype=object, copy=False)
    elif flat.dtype.kind == "O":
        index = _recognised(flat) if flat.size else pd.Index(flat, dtype=object)
    elif flat.dtype.kind in "Mmbiuf" and flat.dtype != np.float16:  # of which pandas has no index
        index = pd.Index(flat, copy=False)
    return index


def all_missing(labels: Labels, like: StoredKind) -> Labels:
    """Objects none of which is there, as what the store holds: they are as good times, spans or periods as text."""
    dtype = str(like.description.get("dtype"))
    if PERIODS.fullmatch(dtype):
        return pd.PeriodIndex(np.full(len(labels), "NaT"), dtype=dtype)
    if dtype == "interval":
        return _missing_intervals(len(labels), like)
    match = TIMES.fullmatch(dtype)
    if match is None:
        return labels
    missing = np.full(len(labels), "NaT", f"{match[1]}64[{match[2]}]")
    return pd.DatetimeIndex(missing, tz="UTC") if match[3] else pd.Index(missing)


def missing_times(labels: Labels) -> Labels:
    """Objects none of which is there, some as NaT, as the times that pandas takes them for; others as they are."""
    if labels.dtype != object or not labels.isna().all() or not any(value is pd.NaT for value in labels):
        return labels
    return pd.DatetimeIndex(np.full(len(labels), "NaT", "M8[s]"))


def _missing_intervals(n: int, like: StoredKind) -> Labels:
    closed: Any = like.description.get("closed")
    subtype = like.description.get("subtype")
    match = TIMES.fullmatch(str(subtype.get("dtype"))) if isinstance(subtype, Mapping) else None
    ends: Any = np.full(n, np.nan)
    if match is not None:
        times = np.full(n, "NaT", f"{match[1]}64[{match[2]}]")
        ends = pd.DatetimeIndex(times, tz="UTC" if match[3] else None) if match[1] == "datetime" else times
    missing: Labels
    try:
        missing = pd.IntervalIndex.from_arrays(ends, ends, closed=closed)
    except ValueError:  # of no side that there is
        missing = pd.Index(np.full(n, None, object), dtype=object)
    return missing


def _recognised(objects: Array) -> Labels:
    """An index of the dtype of pandas' scalars, where objects are those."""
    what = pd.api.types.infer_dtype(objects, skipna=True)
    index: Labels
    if what == "period":
        index = pd.PeriodIndex(objects)
    elif what == "empty" and any(value is pd.NA for value in objects):
        index = pd.Index(objects, dtype="string")  # of what else, nobody can tell
    elif what == "interval":
        index = pd.IntervalIndex(list(objects))
    elif what == "datetime" and any(getattr(value, "tzinfo", None) is not None for value in objects):
        index = zoned_index(objects)
    else:
        index = pd.Index(objects, dtype=object, copy=False)
    return index
