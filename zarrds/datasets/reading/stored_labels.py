"""Which index a stored coordinate gets that is large: one in memory, a range, or one that is searched where it lies."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.arguments import warn
from zarrds.chunk_statistics.digests import is_checksummed
from zarrds.compat.xarray_internals import decode_cf_variables
from zarrds.datasets.reading.lazy import LazyArray
from zarrds.errors import MetadataError, UndecodableError
from zarrds.labels.sorted.lazy_index import lazy_index
from zarrds.labels.sorted.record import OrderRecord, is_current, is_recordable
from zarrds.labels.sorted.search import SortedLabels
from zarrds.metadata.extension import ORDER, marks_of, note_of

__all__ = ["is_range", "lazy_coordinate"]

Array: TypeAlias = "np.ndarray[Any, Any]"
# descriptions of labels that need nothing but to be decoded
_SEARCHABLE = ("str", "string", "datetime64[", "timedelta64[")
# a range is believed only if the digest of each chunk was compared; that of so many takes milliseconds
_MAX_COMPARED = 4096
# of any record when it is opened
_COMPARED = 256
# which is NaT
_NO_TIME = np.iinfo(np.int64).min


def is_range(lazy: LazyArray, index: pd.RangeIndex) -> bool:
    """Whether the record of a stored array proves that its elements are this range, so that none need be read."""
    if note_of(lazy.stored.metadata, ORDER) is None:
        return False
    record = _record(lazy)
    if record is None or record.size != len(index) or not _is_proven_range(record, lazy):
        return False
    return record.size == 0 or (record.step == index.step and int(record.first[0]) == index.start)


def _is_proven_range(record: OrderRecord, lazy: LazyArray) -> bool:
    """Whether all chunks are those of a record that says that they hold a range: none of them is looked at later."""
    elements = lazy.stored.elements
    n_chunks = elements.metadata.chunk_grid[0]
    if record.step is None or n_chunks > _MAX_COMPARED or not is_checksummed(elements.metadata):
        return False
    return n_chunks <= _COMPARED or is_current(record, elements, n_chunks)


def lazy_coordinate(
    name: str, variable: xr.Variable, lazy: LazyArray, dtype: str
) -> tuple[xr.Variable, xr.Index] | None:
    """A coordinate that is searched where it lies, and its index; None where the index is made in memory.

    Parameters
    ----------
    name : str
    variable : Variable
        Decoded.
    lazy : LazyArray
        The stored array.
    dtype : str
        Of its description; empty without one.
    """
    if dtype and (not dtype.startswith(_SEARCHABLE) or "," in dtype):
        return None  # of categories, intervals and the like there is no better index
    index = _out_of_core(name, variable, lazy)
    if index is None:
        better = f"If they are sorted, zarrds.index(store, {name!r}) notes it once and for all"
        if not is_recordable(lazy.stored.metadata):
            better = "Saved as plain numbers, times or text, neither packed nor in shards, they could be searched"
        warn(
            f"the {variable.size} labels of {lazy.stored.path!r} in {lazy.stored.store.path!r} are read into memory: "
            f"nothing is noted of their order, or they are in none. {better}; index='pandas' silences this warning"
        )
        return None
    made = xr.indexes.PandasIndex(index, name)
    return made.create_variables({name: variable})[name], made


def _out_of_core(name: str, variable: xr.Variable, lazy: LazyArray) -> pd.Index[Any] | None:
    if note_of(lazy.stored.metadata, ORDER) is None:
        return None
    decode = _decoder(variable, lazy)
    record = _record(lazy)
    if record is None or record.order is None or decode is None:
        return None
    if record.step is not None and variable.dtype == np.int64 and record.size and _is_proven_range(record, lazy):
        start = int(record.first[0])
        return pd.RangeIndex(start, start + record.step * record.size, record.step, name=name)
    array = lazy.stored
    token = ("zarrds", marks_of(array.metadata).id or id(lazy), array.store.path, array.path, lazy.version)
    try:
        source = SortedLabels(array.elements, record, decode, lazy.check_still_there, token)
    except UndecodableError:  # who reads them is told
        return None
    return lazy_index(source, name)


def _record(lazy: LazyArray) -> OrderRecord | None:
    """The record of a stored array, if it is still true."""
    array = lazy.stored
    try:
        record = OrderRecord.from_json(note_of(array.metadata, ORDER), array.metadata)
        problem = "" if is_current(record, array.elements, _COMPARED) else "the labels were changed since"
    except MetadataError as error:
        problem = error.problem
    if not problem:
        return record
    warn(
        f"what is noted of the order of {array.path!r} in {array.store.path!r} is not used: {problem}. "
        "zarrds.index notes it anew"
    )
    return None


@dataclass(frozen=True, slots=True)
class _Same:
    """Labels are stored as they are."""

    dtype: np.dtype[Any]

    def __call__(self, stored: Array) -> Array:
        return np.asarray(stored).astype(self.dtype, copy=False)


@dataclass(frozen=True, slots=True)
class _Times:
    """Integers that count steps from an origin."""

    origin: np.datetime64 | np.timedelta64
    step: np.timedelta64

    def __call__(self, stored: Array) -> Array:
        missing = np.asarray(stored) == _NO_TIME
        counts = np.where(missing, 0, stored)
        start, step = int(self.origin.view(np.int64)), int(self.step.view(np.int64))
        if counts.size and not all(abs(int(end) * step + start) < -_NO_TIME for end in (counts.min(), counts.max())):
            raise UndecodableError(
                "labels cannot be decoded: they are times beyond the range of their unit", found=str(self.origin.dtype)
            )
        times = counts.astype(np.int64) * step + start  # what overflows on the way comes back
        return np.where(missing, _NO_TIME, times).view(self.origin.dtype)


def _decoder(variable: xr.Variable, lazy: LazyArray) -> _Same | _Times | None:
    """A quick function from stored elements to labels; None where only xarray's decoders know how."""
    stored = lazy.stored.metadata.data_type.dtype
    if variable.dtype.kind in "mM" and stored.kind in "iu":
        return _times(variable, stored)
    is_same = variable.dtype == stored or (variable.dtype.kind == "O" and stored.kind in "OU")
    return _Same(np.dtype(object) if stored.kind in "OU" else stored) if is_same else None


def _times(variable: xr.Variable, stored: np.dtype[Any]) -> _Times | None:
    is_span = variable.dtype.kind == "m"
    attributes = {key: variable.encoding.get(key) for key in (("units",) if is_span else ("units", "calendar"))}
    if not all(isinstance(value, str) for value in attributes.values()):
        return None
    if is_span:
        attributes["dtype"] = str(variable.dtype)  # by which xarray knows timedeltas
    unit: Any = np.datetime_data(variable.dtype)[0]
    coder = xr.coders.CFDatetimeCoder(time_unit=unit)
    few: Mapping[Hashable, xr.Variable] = {"t": xr.Variable("t", np.arange(3).astype(stored), attributes)}
    decoded, _, _ = decode_cf_variables(few, {}, decode_times=coder)
    values = decoded["t"].values
    if values.dtype != variable.dtype:
        return None
    steps = np.diff(values)
    return _Times(values[0], steps[0]) if steps[0] == steps[1] and steps.view(np.int64)[0] > 0 else None
