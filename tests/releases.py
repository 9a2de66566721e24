"""Which releases are installed, for tests of what older ones do in another way; and a comparison for all of them."""

from __future__ import annotations

import re
from typing import TypeVar

import numpy as np
import pandas as pd
import xarray as xr

__all__ = ["PANDAS", "XARRAY", "assert_identical"]

_Kind = TypeVar("_Kind", xr.Dataset, xr.DataArray)


def _release(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


XARRAY, PANDAS = _release(xr.__version__), _release(pd.__version__)


def assert_identical(actual: _Kind, expected: _Kind) -> None:
    """As that of `xr.testing`; xarray 2025.12 compares no texts of `StringDType`: they become objects, some None."""
    if XARRAY < (2026, 1):
        actual, expected = _text_as_objects(actual), _text_as_objects(expected)
    xr.testing.assert_identical(actual, expected)


def _text_as_objects(data: _Kind) -> _Kind:
    if isinstance(data, xr.Dataset):
        return data.assign({name: _text_as_objects(array) for name, array in data.data_vars.items()})
    if data.dtype.kind != "T":
        return data
    objects = data.values.astype(object)
    return data.copy(data=np.where(pd.isna(objects), None, objects))
