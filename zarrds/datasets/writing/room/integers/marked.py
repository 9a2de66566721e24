"""Integers of which some are missing, whose width or whose value for what is missing must change for what is added.

They are read as floats, and stay integers in the store. Where new ones fit no more is looked at than their encoding
looks at; where not, the array is written anew with wider integers, or with another value for what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from zarrds.datasets.encoding.as_stored import encode_like
from zarrds.datasets.writing.room.free_values import free_integer
from zarrds.datasets.writing.room.growing import Grown, check_rewritable, joined, made_anew, parts_of
from zarrds.datasets.writing.room.integers.plain import is_packed, marked, width_that_holds
from zarrds.datasets.writing.stored import StoredGroup
from zarrds.errors import EncodingError
from zarrds.labels.kinds.plain import EXACT
from zarrds.metadata.attributes import MARKERS
from zarrds.metadata.model import ArrayMetadata

__all__ = ["roomier_integers"]


def roomier_integers(
    names: Iterable[str],
    variables: Mapping[str, xr.Variable],
    stored: StoredGroup,
    region: Mapping[str, slice],
) -> tuple[dict[str, Grown], dict[str, xr.Variable]]:
    """Those arrays that are written anew, and what is added to others, encoded. See `grown_arrays`.

    Raises
    ------
    EncodingError
        Where what is stored is too large to be written anew.
    """
    grown: dict[str, Grown] = {}
    fitting: dict[str, xr.Variable] = {}
    for name in names:
        there, metadata, new = stored.variables[name], stored.arrays[name], variables[name]
        if not _is_marked(name, there, stored) or new.chunks is not None or not isinstance(new.dtype, np.dtype):
            continue
        parts = parts_of(there, region)
        if parts is None or not new.size or new.dtype.kind not in "iuf" or set(new.dims) != set(there.dims):
            continue
        try:
            fitting[name] = encode_like(name, new, there, metadata)
        except EncodingError:
            found = _roomier(name, new.transpose(*there.dims), there, metadata)
            if found is None:
                raise
            after, old, fresh = found
            full = joined(name, old, fresh, parts, 1)
            grown[name] = made_anew(after, full.astype(after.data_type.dtype))
    return grown, fitting


def _is_marked(name: str, there: xr.Variable, stored: StoredGroup) -> bool:
    """Whether a stored array is one of integers that are read as floats, as one value stands for what is missing."""
    metadata = stored.arrays[name]
    return (
        name not in stored.documents
        and name not in stored.notes.descriptions
        and metadata.data_type.dtype.kind in "iu"
        and there.dtype.kind == "f"
        and not is_packed(there)
        and len(_markers_in(there, metadata.data_type.dtype)) == 1
    )


def _markers_in(there: xr.Variable, dtype: np.dtype[Any]) -> set[int]:
    """What stands for what is missing and is an integer that the store can hold."""
    limits = np.iinfo(dtype)
    markers = {int(there.encoding[key]) for key in MARKERS if _is_number(there.encoding.get(key))}
    return {marker for marker in markers if limits.min <= marker <= limits.max}


def _is_number(value: object) -> bool:
    return np.ndim(value) == 0 and isinstance(value, int | float | np.number) and float(value).is_integer()  # type: ignore[arg-type]  # of NumPy


def _roomier(
    name: str, new: xr.Variable, there: xr.Variable, metadata: ArrayMetadata
) -> tuple[ArrayMetadata, xr.Variable, xr.Variable] | None:
    """The array as it must be, its elements, and the new ones, as integers; None where no integers hold them."""
    values = np.asarray(new.values)
    gone = np.isnan(values)
    present = values[~gone]
    if present.dtype.kind == "f":
        if not (np.abs(present) <= EXACT).all() or (present != np.rint(present)).any():
            return None
        present = present.astype(np.int64)
    elif (present > EXACT).any() or (present < -EXACT).any():
        return None  # floats, as which they are read, would round them
    stored = metadata.data_type.dtype.newbyteorder("=")
    (before,) = _markers_in(there, stored)
    dtype = width_that_holds(present, stored)
    if dtype is None:
        return None
    check_rewritable(name, there.size * dtype.itemsize)
    read = np.asarray(there.values)
    if stored.itemsize == 8 and (np.abs(read) > EXACT).any():
        return None
    missing = np.isnan(read)
    old = np.where(missing, 0, read).astype(dtype)
    mark = before
    if (present == before).any():
        # what is missing is none of those that are taken
        taken = xr.Variable(there.dims, np.where(missing, old.dtype.type(before), old))
        dtype, mark = free_integer(name, dtype, present, taken)
        old = old.astype(dtype)
    old[missing] = mark
    fresh = np.full(values.shape, mark, dtype)
    fresh[~gone] = present
    after = marked(metadata, dtype, mark, before)
    known = {key: mark for key in MARKERS if key in after.attributes}
    after = replace(after, attributes={**after.attributes, **known})
    return after, xr.Variable(there.dims, old), xr.Variable(new.dims, fresh)
