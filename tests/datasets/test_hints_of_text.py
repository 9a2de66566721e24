"""Encodings of text: markers of what is missing, fixed lengths, text of which there is none."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import FORMATS, objects, open_zarrds
from zarrds.errors import EncodingError


@pytest.mark.parametrize("values", [["", None], ["a", None], [b"a", None]], ids=str)
@pytest.mark.parametrize("chunks", [None, 1])
def test_markers_of_another_kind_than_the_objects(values: list[Any], chunks: int | None) -> None:
    saved = xr.Dataset({"v": ("x", np.array(values, object))})
    given = saved if chunks is None else saved.chunk(x=chunks)
    marker = "-" if isinstance(values[0], bytes) else b"-"
    for key in ("_FillValue", "missing_value"):
        with pytest.raises(EncodingError, match=r"'v' holds (text|bytes), of which"):
            zarrds.save(given, zarrds.MemoryStore(), encoding={"v": {key: marker}})
    given.v.encoding["_FillValue"] = marker
    store = zarrds.MemoryStore()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)
        zarrds.save(given, store)
    assert open_zarrds(store).v.values.tolist()[0] == values[0]
    assert pd.isnull(open_zarrds(store).v.values[1])


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("chunks", [None, 1])
@pytest.mark.parametrize("dtype", ["S1", "S5"])
@pytest.mark.parametrize("key", ["_FillValue", "missing_value"])
def test_characters_of_which_some_are_missing(key: str, dtype: str, chunks: int | None, zarr_format: Any) -> None:
    saved = xr.Dataset({"v": ("x", np.array([None, "bcd", "a"], object))})
    given = saved if chunks is None else saved.chunk(x=chunks)
    encoding = {"dtype": dtype, key: " "}
    with pytest.raises(EncodingError, match="text cannot be missing as ' '"):
        zarrds.save(given, zarrds.MemoryStore(), encoding={"v": encoding}, zarr_format=zarr_format)
    given.v.encoding = dict(encoding)
    store = zarrds.MemoryStore()
    with pytest.warns(xr.SerializationWarning, match="text cannot be missing as ' '"):
        zarrds.save(given, store, zarr_format=zarr_format)
    back = open_zarrds(store).v.values
    assert pd.isnull(back[0])
    assert back[1:].tolist() == ["bcd", "a"]


def test_no_text_under_an_encoding_of_bytes(path: Path) -> None:
    zarrds.save(xr.Dataset({"v": ("x", np.empty(0, object), {}, {"dtype": "S2"})}), path)
    assert open_zarrds(path).v.dtype == object


NO_TEXT = [np.empty(0, object), np.empty(0, "U3"), np.empty(0, np.dtypes.StringDType())]


OF_OTHERS: list[dict[str, Any]] = [
    {"dtype": "S2"},
    {"dtype": "O"},
    {"dtype": "S1", "_FillValue": b"-"},
    {"scale_factor": 0.5},
    {"_FillValue": "x"},
]


@pytest.mark.parametrize("values", NO_TEXT, ids=lambda values: str(values.dtype))
def test_no_text_stays_text_whatever_its_encoding_is(values: Any) -> None:
    for number, hint in enumerate(OF_OTHERS):
        store = zarrds.MemoryStore()
        zarrds.save(xr.Dataset({"v": ("x", values, {}, hint)}), store, zarr_format=FORMATS[number % 2])
        assert xr.open_dataset(store, engine="zarrds").v.dtype in (values.dtype, object)
        zarrds.save(xr.Dataset({"v": ("x", ["a", "é"])}), store, append_dim="x")
        assert xr.open_dataset(store, engine="zarrds").v.values.tolist() == ["a", "é"]


def test_no_text_as_it_is_asked_for() -> None:
    for values in NO_TEXT:
        store = zarrds.MemoryStore()
        zarrds.save(xr.Dataset({"v": ("x", values)}), store, zarr_format=2, encoding={"v": {"_FillValue": "x"}})
        assert zarrds.open_array(store, path="v").metadata.data_type.name == "string"
        with pytest.raises(
            EncodingError, match=r"'scale_factor'. is one of numbers, which text and bytes are not .*'v'"
        ):
            zarrds.save(xr.Dataset({"v": ("x", values)}), store, mode="w", encoding={"v": {"scale_factor": 0.5}})


@pytest.mark.parametrize("dtype", ["?", "i4", "f8"])
@pytest.mark.parametrize("asked", ["S1", "U2"])
def test_numbers_are_not_asked_for_as_text(dtype: str, asked: str) -> None:
    for size in (0, 1):
        ds = xr.Dataset({"v": ("x", np.zeros(size, dtype))})
        with pytest.raises(EncodingError, match=r"'v'.*encoding\['dtype'\] is .*, but it holds|at 'v'"):
            zarrds.save(ds, zarrds.MemoryStore(), encoding={"v": {"dtype": asked}})


NO_MARKERS: list[dict[str, Any]] = [
    {"_FillValue": None},
    {"_FillValue": np.nan},
    {"missing_value": np.nan},
    {"_FillValue": -9},
    {"_FillValue": np.int16(255), "missing_value": 255},
    {"missing_value": np.array([1e20])},
    {"_FillValue": None, "missing_value": None, "dtype": None},
]


@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize(
    "given",
    [
        objects("a", None, ""),
        objects(b"a", None, b""),
        objects("a", "-9", ""),
        np.array(["a", "-9", "255"]),
        np.array([b"a", b"-9", b""]),
        np.array(["a", "-9", "nan"], np.dtypes.StringDType()),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*is computed, to see")
def test_no_marker_is_asked_for_text(given: Any, is_lazy: bool) -> None:
    """As one does for all variables at once: what is missing stays missing, and no empty text or digits."""
    values = [None if pd.isna(value) else value for value in given]
    ds = xr.Dataset({"v": ("x", given)})
    ds = ds.chunk(x=1) if is_lazy else ds
    for number, encoding in enumerate(NO_MARKERS):
        store = zarrds.MemoryStore()
        zarrds.save(ds, store, encoding={"v": encoding}, zarr_format=FORMATS[number % 2])
        zarrds.save(ds, store, append_dim="x")
        back = xr.open_dataset(store, engine="zarrds").v.values
        assert [None if pd.isna(value) else value for value in back] == 2 * values


def test_text_that_is_missing_as_na_behind_a_marker_that_was_asked_for() -> None:
    ds, store = xr.Dataset({"v": ("x", pd.array(["a", None], dtype="string"))}), zarrds.MemoryStore()
    zarrds.save(ds, store, encoding={"v": {"_FillValue": "x"}})
    zarrds.save(ds, store, append_dim="x")
    assert pd.isna(xr.open_dataset(store, engine="zarrds").v.values).tolist() == [False, True] * 2


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize(
    "beside",
    [
        {"missing_value": "NA"},
        {"missing_value": "-"},
        {"missing_value": -999},
        {"missing_value": np.nan},
        {"missing_value": ["NA", "?"]},
        {"missing_value": b"NA", "dtype": "S5"},
        {"dtype": "f4"},
        {"scale_factor": 2.0},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::xarray.SerializationWarning")
def test_missing_text_whose_marker_gives_way(beside: dict[str, Any], is_lazy: bool, zarr_format: Any) -> None:
    """It stays missing: xarray makes empty text of it where nothing marks it."""
    ds = xr.Dataset({"s": ("x", objects("a", None, "", "NA"))})
    ds.s.encoding = {"_FillValue": "-", **beside}
    zarrds.save(ds.chunk(x=1) if is_lazy else ds, store := zarrds.MemoryStore(), zarr_format=zarr_format)
    assert [None if pd.isnull(text) else text for text in open_zarrds(store).s.values] == ["a", None, "", "NA"]


@pytest.mark.parametrize(
    ("markers", "found"),
    [
        ({"_FillValue": "-", "missing_value": "NA"}, "missing_value.*'NA', but _FillValue is '-'"),
        ({"_FillValue": np.nan, "missing_value": "-"}, "missing_value.*'-', but _FillValue is nan"),
        ({"_FillValue": np.array("a")}, "_FillValue, and would read back as missing"),
        ({"missing_value": "-", "scale_factor": 2.0}, "scale_factor.* is one of numbers"),
    ],
)
def test_orders_that_text_cannot_have(markers: dict[str, Any], found: str) -> None:
    ds = xr.Dataset({"s": ("x", objects("a", "b"))})
    is_of_two = {"_FillValue", "missing_value"} == markers.keys()  # of dask, both are noted
    for new in (ds,) if is_of_two else (ds, ds.chunk(x=1)):
        with pytest.raises(EncodingError, match=rf"{found}.*'s'"):
            zarrds.save(new, zarrds.MemoryStore(), encoding={"s": markers})


def test_one_marker_of_text_under_two_names() -> None:
    ds = xr.Dataset({"s": ("x", objects("a", None))})
    zarrds.save(ds, store := zarrds.MemoryStore(), encoding={"s": {"_FillValue": "-", "missing_value": "-"}})
    assert open_zarrds(store).s.isnull().values.tolist() == [False, True]
