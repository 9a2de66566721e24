"""Which releases of xarray and pandas zarrds works with, and what the older of them do in another way."""

from __future__ import annotations

import functools
import re
import struct
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from xarray.backends import zarr
from xarray.core import indexing

from zarrds.errors import ReleaseError

__all__ = ["FillValueCoder", "check", "encode_zarr_variable", "lazily"]

# as in pyproject.toml
_NEEDED = {"xarray": "2025.12", "pandas": "2.3"}


def check(*modules: ModuleType) -> None:
    """Raise `ReleaseError` if an installed release, or one of `modules`, is too old.

    Examples
    --------
    >>> check()
    """
    for module in modules or (xr, pd):
        name, found = module.__name__, str(module.__version__)
        if _release(found) < _release(_NEEDED[name]):
            raise ReleaseError(
                f"the installed {name} is too old for zarrds",
                expected=f"{name} {_NEEDED[name]} or later",
                found=found,
                mend=f"Update it: python -m pip install '{name}>={_NEEDED[name]}'",
            )


def _release(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def encode_zarr_variable(variable: xr.Variable, *, name: object = None) -> xr.Variable:
    """A variable encoded by CF for Zarr, as xarray does it; its formats differ in text alone that stays as it is.

    Older releases store booleans as netCDF must, as small integers that an attribute ``dtype`` tells of: not where they
    find one.
    """
    encode: Any = zarr.encode_zarr_variable
    encoded: xr.Variable
    if variable.dtype != bool or "dtype" in variable.attrs:
        encoded = encode(variable, name=name)
        return encoded
    told = variable.copy(deep=False)
    told.attrs = {**variable.attrs, "dtype": "bool"}
    encoded = encode(told, name=name)
    del encoded.attrs["dtype"]
    return encoded


class _Reversible(indexing.LazilyIndexedArray):
    """Lazy data that can be reversed: some releases say by a stop of -1, which means the last element, "to the end"."""

    __slots__ = ()

    def _updated_key(self, new_key: Any) -> Any:
        key: Any = super()._updated_key(new_key)
        return type(key)(tuple(map(_without_stop, key.tuple)))


def _without_stop(part: Any) -> Any:
    is_reversed = isinstance(part, slice) and part.step is not None and part.step < 0 and part.stop == -1
    return slice(part.start, None, part.step) if is_reversed else part


def _reverses() -> bool:
    data = indexing.LazilyIndexedArray(np.arange(2))
    (part,) = data[indexing.BasicIndexer((slice(None, None, -1),))].key.tuple
    return bool(part == _without_stop(part))


_LAZY: type[indexing.LazilyIndexedArray] = indexing.LazilyIndexedArray if _reverses() else _Reversible


@functools.lru_cache
def _all_of(ndim: int) -> indexing.BasicIndexer:
    return indexing.BasicIndexer((slice(None),) * ndim)


def lazily(array: Any) -> indexing.LazilyIndexedArray:
    """A backend's array as the data of a variable, read when it is used."""
    return _LAZY(array, _all_of(array.ndim))


class FillValueCoder:
    """``_FillValue`` in the attributes of format 3, as JSON.

    As the coder of xarray's zarr engine, which older releases have without complex numbers and with assertions in place
    of errors.
    """

    @staticmethod
    def encode(value: Any, dtype: np.dtype[Any]) -> Any:
        """The JSON of a value of a data type. Raises ValueError or TypeError for what has none."""
        if dtype.kind == "c":
            parts = np.complex128(value)
            return [zarr.FillValueCoder.encode(float(part), np.dtype("f8")) for part in (parts.real, parts.imag)]
        try:
            return zarr.FillValueCoder.encode(value, dtype)
        except AssertionError as error:
            raise TypeError(f"a fill value of {dtype} is of another type: {value!r:.80}") from error

    @staticmethod
    def decode(value: Any, dtype: Any) -> Any:
        """The value of its JSON, for a data type or ``"string"`` or ``"bytes"``; the errors are those of `encode`."""
        if isinstance(dtype, np.dtype) and dtype.kind == "c":
            if not isinstance(value, list | tuple) or len(value) != 2:
                raise TypeError(f"a complex fill value is a list of two: {value!r:.80}")
            real, imaginary = (FillValueCoder.decode(part, np.dtype("f8")) for part in value)
            return complex(real, imaginary)
        try:
            return zarr.FillValueCoder.decode(value, dtype)
        except (AssertionError, struct.error) as error:  # of another type, or bytes of another length
            raise TypeError(f"a fill value of {dtype} is of another type: {value!r:.80}") from error
