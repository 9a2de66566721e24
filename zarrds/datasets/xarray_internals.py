"""The parts of xarray that are not public API, imported here and nowhere else.

A release of xarray that moves or changes one of them fails in ``tests/datasets/test_xarray_internals.py``.
"""

from __future__ import annotations

from xarray.backends.api import DATAARRAY_NAME, DATAARRAY_VARIABLE
from xarray.backends.common import NONE_VAR_NAME, datatree_from_dict_with_io_cleanup
from xarray.backends.writers import _validate_dataset_names as validate_dataset_names
from xarray.backends.zarr import FillValueCoder, encode_zarr_attr_value, encode_zarr_variable
from xarray.coding.strings import check_vlen_dtype, create_vlen_dtype
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
    "encode_zarr_attr_value",
    "encode_zarr_variable",
    "validate_dataset_names",
]
