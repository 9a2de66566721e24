"""What xarray's own tests expect of engines that lose labels and missing text: zarrds keeps both."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import xarray as xr


class KeepsLabels:
    """Goes before xarray's class, whose tests of the same names it replaces."""

    def roundtrip(self, data: xr.Dataset, *args: Any, **kwargs: Any) -> AbstractContextManager[xr.Dataset]:
        return super().roundtrip(data, *args, **kwargs)  # type: ignore[misc]  # of the class that this is mixed into

    def test_multiindex_not_implemented(self) -> None:
        # there it is an error
        for labels in (["a", "b"], ["a", "a"]):
            ds = xr.Dataset(coords={"y": ("x", [1, 2]), "z": ("x", labels)}).set_index(x=["y", "z"])
            for stored in (ds, ds.reset_index("x")):
                with self.roundtrip(stored) as actual:
                    xr.testing.assert_identical(actual, stored)

    def test_roundtrip_coordinates_with_space(self) -> None:
        # there it becomes data, with a warning
        original = xr.Dataset(coords={"x": 0, "y z": 1})
        with self.roundtrip(original) as actual:
            xr.testing.assert_identical(actual, original)

    def test_coordinate_variables_after_dataset_roundtrip(self) -> None:
        # there coordinates that only attributes name become data, unless decode_coords="all" is given
        original = self._create_cf_dataset()  # type: ignore[attr-defined]  # of the class that this is mixed into
        for options in ({"decode_coords": "all"}, {}):
            with self.roundtrip(original, open_kwargs=options) as actual:
                xr.testing.assert_equal(actual, original)
                assert set(actual.coords) == set(original.coords)

    def test_roundtrip_string_with_fill_value_nchar(self) -> None:
        # there it is an error; here what came along gives way
        values = np.array(["ab", "cdef", np.nan], object)
        original = xr.Dataset({"x": ("t", values, {}, {"dtype": "S1", "_FillValue": b"X"})})
        with self.roundtrip(original) as actual:
            xr.testing.assert_identical(actual, original)

    def test_roundtrip_object_dtype(self) -> None:
        # there missing text may become "", as missing bytes do
        objects = {
            "floats": [0.0, 0.0, 1.0],
            "floats_nans": [np.nan, np.nan, 1.0],
            "bytes": [b"ab", b"cdef", b"g"],
            "bytes_nans": [b"ab", b"cdef", np.nan],
            "strings": ["ab", "cdef", "g"],
            "strings_nans": ["ab", "cdef", np.nan],
            "all_nans": [np.nan, np.nan, np.nan],
        }
        original = xr.Dataset({name: ("a", np.array(values, object)) for name, values in objects.items()})
        with self.roundtrip(original) as actual:
            expected = original.copy(deep=True)

            xr.testing.assert_identical(actual, expected)
