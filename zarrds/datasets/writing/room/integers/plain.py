"""Plain integers that turn out larger, or of which some turn out to be missing, as NumPy's own dtypes have them.

What `xarray.concat` would make of the stored and the new elements is what is read back: wider integers, or floats with
NaN, of integers that stay integers in the store and of which one value stands for what is missing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from zarrds.compat.xarray_internals import lazy_data, variable_of
from zarrds.datasets.encoding.attributes import take_fill_value
from zarrds.datasets.writing.room.free_values import blocks_of, free_integer
from zarrds.datasets.writing.room.growing import check_rewritable, means_other, of_dtype
from zarrds.datasets.writing.room.made import Made
from zarrds.errors import EncodingError
from zarrds.labels.kinds.plain import EXACT
from zarrds.metadata.attributes import SCALE
from zarrds.metadata.formats import spec_of
from zarrds.metadata.model import ArrayMetadata

__all__ = ["integers_with_missing", "is_packed", "marked", "wider_integers", "width_that_holds"]

_PACKING = frozenset({*SCALE, "units", "_Unsigned"})


def is_packed(there: xr.Variable) -> bool:
    """Whether the integers of a stored array are read as something else than these numbers."""
    return not _PACKING.isdisjoint(there.encoding)


def width_that_holds(present: np.ndarray[Any, Any], stored: np.dtype[Any]) -> np.dtype[Any] | None:
    """The stored dtype if integers fit it, else a wider one of both; None if there is none."""
    native = stored.newbyteorder("=")
    limits = np.iinfo(native)
    if not present.size or (limits.min <= int(present.min()) and int(present.max()) <= limits.max):
        return native
    common = np.promote_types(native, present.dtype)
    return common if common.kind in "iu" else None


def wider_integers(name: str, variable: xr.Variable, there: xr.Variable, metadata: ArrayMetadata) -> Made | None:
    """A stored array in integers that hold new ones too; None if they fit, or none holds both.

    Raises
    ------
    EncodingError
        Where what is stored is too large to be written anew.
    """
    stored = metadata.data_type.dtype.newbyteorder("=")
    dtype = width_that_holds(np.asarray(variable.values), stored)
    if dtype is None or dtype == stored:
        return None
    check_rewritable(name, there.size * dtype.itemsize)
    elements = xr.Variable(there.dims, there.values.astype(dtype), there.attrs, there.encoding)
    return Made(_of_width(metadata, dtype), elements, {})


def integers_with_missing(name: str, variable: xr.Variable, there: xr.Variable, metadata: ArrayMetadata) -> Made | None:
    """A stored array of integers with a value for what is NaN among whole floats, and these as it is to hold them.

    None if nothing is missing among them, if they are not whole, or if no integers hold them together.

    Raises
    ------
    EncodingError
        Where what is stored is too large to be looked through or written anew, and where stored integers are no floats
        of 64 bits, as which all of them are read as soon as one is missing.
    """
    values = np.asarray(variable.values)
    gone = np.isnan(values)
    present = values[~gone].astype(np.float64)
    if not gone.any() or not (np.abs(present) <= EXACT).all() or (present != np.rint(present)).any():
        return None
    stored = metadata.data_type.dtype.newbyteorder("=")
    whole = present.astype(np.int64)
    dtype = width_that_holds(whole, stored)
    if dtype is None:
        return None
    if stored.itemsize == 8 and any((block > EXACT).any() or (block < -EXACT).any() for block in blocks_of(there)):
        raise EncodingError(
            f"variable {name!r} has values that are missing, and stored integers that floats would round",
            key=name,
            expected=f"at most {EXACT}, or nothing missing",
            mend="Append it as pandas' Int64, or as objects with None: integers stay exact beside what is missing then",
        )
    dtype, mark = free_integer(name, dtype, whole, there)
    after = marked(metadata, dtype, mark)
    encoding = {**there.encoding, "_FillValue": dtype.type(mark)}
    elements = variable_of(there.dims, lazy_data(there), there.attrs, encoding)
    if not means_other(metadata, after):
        return Made(after, elements, {})
    check_rewritable(name, there.size * dtype.itemsize)
    filled = np.full(values.shape, mark, dtype)
    filled[~gone] = whole
    elements = xr.Variable(there.dims, there.values.astype(dtype), there.attrs, encoding)
    return Made(after, elements, {}, xr.Variable(variable.dims, filled, variable.attrs))


def marked(metadata: ArrayMetadata, dtype: np.dtype[Any], mark: int, before: int | None = None) -> ArrayMetadata:
    """An array of integers of a dtype, with a value for what is missing, in the place of `before` if it had one."""
    after = _of_width(metadata, dtype)
    attributes: dict[str, Any] = {**metadata.attributes, "_FillValue": mark}
    spec = spec_of(metadata)
    fill_value = take_fill_value(attributes, {}, None, after.data_type, spec)
    if metadata.fill_value is not None and not spec.IS_FILL_MISSING and metadata.fill_value != before:
        fill_value = after.fill_value  # of what was never written
    return replace(after, attributes=attributes, fill_value=fill_value)


def _of_width(metadata: ArrayMetadata, dtype: np.dtype[Any]) -> ArrayMetadata:
    if dtype == metadata.data_type.dtype.newbyteorder("="):
        return metadata
    after = of_dtype(metadata, dtype)
    return after if metadata.fill_value is None else replace(after, fill_value=dtype.type(metadata.fill_value))
