"""The parts of xarray that are not public API, imported here and nowhere else.

A release of xarray that moves or changes one of them fails in ``tests/datasets/test_xarray_internals.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import zarr
from xarray.backends.api import DATAARRAY_NAME, DATAARRAY_VARIABLE
from xarray.backends.common import NONE_VAR_NAME, datatree_from_dict_with_io_cleanup
from xarray.backends.writers import _validate_dataset_names as validate_dataset_names
from xarray.backends.zarr import FillValueCoder
from xarray.coding import strings
from xarray.conventions import decode_cf_variables, encode_dataset_coordinates

__all__ = [
    "DATAARRAY_NAME",
    "DATAARRAY_VARIABLE",
    "NONE_VAR_NAME",
    "FillValueCoder",
    "check_vlen_dtype",
    "create_vlen_dtype",
    "datatree_from_dict_with_io_cleanup",
    "decode_cf_variables",
    "encode_dataset_coordinates",
    "encode_zarr_variable",
    "lazy_data",
    "validate_dataset_names",
]

# xarray gives these no types
encode_zarr_variable: Callable[..., Any] = zarr.encode_zarr_variable
check_vlen_dtype: Callable[[np.dtype[Any]], type | None] = strings.check_vlen_dtype
create_vlen_dtype: Callable[[type], np.dtype[Any]] = strings.create_vlen_dtype


def lazy_data(variable: xr.Variable) -> Any:
    """What holds a variable's data, without loading it."""
    return variable._data
