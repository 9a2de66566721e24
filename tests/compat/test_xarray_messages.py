"""The texts by which zarrds tells errors and warnings of xarray apart are still what the installed release says."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from zarrds.compat import xarray_messages
from zarrds.compat.xarray_internals import encode_dataset_coordinates, encode_zarr_variable
from zarrds.compat.xarray_messages import is_about, without_encoder_warnings, without_name_warnings


def objects(*values: Any) -> xr.Variable:
    array = np.empty(len(values), object)
    array[:] = values
    return xr.Variable("x", array)


def as_integers(variable: xr.Variable) -> xr.Variable:
    variable.encoding = {"dtype": "i4"}
    return variable


def dates(first: str, **attributes: Any) -> xr.Variable:
    return xr.Variable("x", np.array([first], "M8[s]"), attributes)


ERRORS: dict[Any, list[tuple[xr.Variable, set[str]]]] = {
    "pd.NA": [(objects(0.5, pd.NA), {"NAType"})],
    "no integers": [(as_integers(objects(1, None)), {"callable rint"})],
    "years": [
        (dates("-0001-01-01"), {"invalid reference date"}),
        (dates("12000-01-01"), {"no attribute 'year'"}),
    ],
    "attribute": [
        (
            dates("2000-01-01", units="days since 2000-01-01"),
            {"already exists in attrs", "failed to prevent overwriting"},
        )
    ],
    "objects": [
        (objects([1], [2, 3]), {"not 'list'"}),
        (objects({}, {}), {"infer dtype"}),
        (objects([1, 2], [3, 4]), {"convert an array of size 1"}),
        (objects([1.0, [2]], [3.0]), {"element with a sequence"}),
        (objects(2**63, -1), {"out of bounds for uint64"}),
        (objects(1, 2**64), {"too large to convert"}),
    ],
    "calendar": [(xr.Variable("x", np.array(["2000"], "M8[s]"), {}, {"calendar": "none"}), {"calendar"})],
}


@pytest.mark.parametrize(
    ("problem", "variable", "texts"), [(problem, *each) for problem, all_ in ERRORS.items() for each in all_]
)
def test_errors_of_encoders(problem: Any, variable: xr.Variable, texts: set[str]) -> None:
    with pytest.raises((AttributeError, OverflowError, TypeError, ValueError)) as caught:
        encode_zarr_variable(variable, name="v")
    assert is_about(caught.value, problem)
    assert any(text in str(caught.value) for text in texts)


def test_there_is_an_example_of_each_text() -> None:
    found: dict[Any, set[str]] = {name: set().union(*(texts for _, texts in each)) for name, each in ERRORS.items()}
    said = {name: {*texts} for name, texts in xarray_messages._TEXTS.items()}
    del said["lists"]  # of files of netCDF4: tests/datasets/test_undecodable.py
    assert found == said


WARNINGS = [
    xr.Variable("x", [1.5], {}, {"dtype": "i4"}),
    xr.Variable("x", np.array(["2000-01-01T01"], "M8[s]"), {}, {"units": "days since 2000-01-01", "dtype": "i4"}),
    xr.Variable("x", np.array([3_600_000_001], "m8[us]"), {}, {"units": "hours", "dtype": "i4"}),
    xr.Variable("x", np.array([1 + 1j]), {}, {"dtype": "f8"}),
]


@pytest.mark.parametrize("variable", WARNINGS)
def test_warnings_of_encoders(variable: xr.Variable) -> None:
    with pytest.warns((UserWarning, xr.SerializationWarning, np.exceptions.ComplexWarning)):
        encode_zarr_variable(variable, name="v")
    with warnings.catch_warnings(action="error"), without_encoder_warnings():
        encode_zarr_variable(variable, name="v")


def test_a_warning_of_names() -> None:
    ds = xr.Dataset({"v": ("x", [1])}, {"b c": ("x", [2])})
    with pytest.warns(xr.SerializationWarning):
        encode_dataset_coordinates(ds)
    with warnings.catch_warnings(action="error"), without_name_warnings():
        encode_dataset_coordinates(ds)
