"""Arrays that zarr-python made by itself, of what CF and xarray have no words for."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.engines import assert_same
from tests.datasets.samples import FORMATS, Format
from zarrds.errors import EncodingError, LabelError, ZarrdsError


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_raw_times_without_cf(zarr_format: int, tmp_path: Path) -> None:
    # arrays of datetime64 as zarr-python stores them by itself
    group = zarr.create_group(tmp_path / "x.zarr", zarr_format=zarr_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr-python: not in its specification
        array = group.create_array(
            "t", data=np.array(["2019-03-01", "NaT"], "M8[s]"), dimension_names=["x"] if zarr_format == 3 else None
        )
        if zarr_format == 2:
            array.attrs["_ARRAY_DIMENSIONS"] = ["x"]
        theirs = xr.open_dataset(tmp_path / "x.zarr", engine="zarr", consolidated=False).load()
    assert_same(xr.open_dataset(tmp_path / "x.zarr", engine="zarrds"), theirs)


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("dtype", ["M8[D]", "M8[h]", "M8[Y]", "m8[m]", "m8[10us]"])
def test_raw_times_in_units_that_xarray_does_not_have(zarr_format: int, dtype: str, tmp_path: Path) -> None:
    values = np.array([1, 2, "NaT" if dtype[0] == "M" else 3], dtype)
    group = zarr.create_group(tmp_path / "x.zarr", zarr_format=zarr_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr-python: not in its specification
        array = group.create_array("t", data=values, dimension_names=["x"] if zarr_format == 3 else None)
    if zarr_format == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = ["x"]
    opened = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds")
    expected = values.astype(f"{dtype[0]}8[us]" if "us" in dtype else f"{dtype[0]}8[s]")
    assert opened.t.dtype == expected.dtype
    np.testing.assert_array_equal(opened.t, expected)
    assert opened.t.variable[1:].values.dtype == expected.dtype
    for again in FORMATS:  # which has no words for them
        zarrds.save(opened, tmp_path / f"{again}.zarr", zarr_format=again)
        xr.testing.assert_identical(xr.open_dataset(tmp_path / f"{again}.zarr", engine="zarrds"), opened)
    zarrds.save(opened.isel(x=[0]).load(), tmp_path / "x.zarr", append_dim="x")
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "x.zarr/t", mode="r")[...], values[[0, 1, 2, 0]])
    finer = xr.Dataset({"t": ("x", expected[:1] + np.timedelta64(1, "us").astype("m8[us]"))})
    if "us" not in dtype:
        with pytest.raises(zarrds.errors.EncodingError, match="'t'"):
            zarrds.save(finer, tmp_path / "x.zarr", append_dim="x")


def test_structures_of_format_2_are_not_masked(tmp_path: Path) -> None:
    values = np.array([(1, 2.0), (0, 0.0)], [("a", "i4"), ("b", "f8")])
    array = zarr.create_group(tmp_path / "x.zarr", zarr_format=2).create_array("v", data=values)
    array.attrs["_ARRAY_DIMENSIONS"] = ["x"]
    opened = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds")
    np.testing.assert_array_equal(opened.v, values)
    zarrds.save(opened.load(), tmp_path / "x.zarr", append_dim="x")
    np.testing.assert_array_equal(xr.open_dataset(tmp_path / "x.zarr", engine="zarrds").v, [*values, *values])


def test_booleans_beside_one_that_is_missing(tmp_path: Path) -> None:
    array = zarr.create_group(tmp_path / "x.zarr", zarr_format=2).create_array("v", data=np.array([True, False]))
    array.attrs["_ARRAY_DIMENSIONS"] = ["x"]  # in format 2 the fill value is what stands for what is missing
    zarrds.save(xr.Dataset({"v": ("x", [True, True])}), tmp_path / "x.zarr", append_dim="x")
    with pytest.raises(zarrds.errors.EncodingError, match="'v' holds a value that is the store's _FillValue"):
        zarrds.save(xr.Dataset({"v": ("x", [True, False])}), tmp_path / "x.zarr", append_dim="x")
    assert xr.open_dataset(tmp_path / "x.zarr", engine="zarrds").v.fillna(-1).values.tolist() == [True, -1, True, True]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_markers_of_other_writers_are_numbers_of_the_array(zarr_format: Any, dtype: str, path: Path) -> None:
    """As JSON has them: 1e20 is no float32, and xarray took none for missing."""
    marker = -99.9
    given: Any = {"dimension_names": ["x"]} if zarr_format == 3 else {"fill_value": None}
    array = zarr.open_group(path, mode="w", zarr_format=zarr_format).create_array(
        "v",
        shape=(3,),
        chunks=(3,),
        dtype=dtype,
        attributes={"_FillValue": marker, "_ARRAY_DIMENSIONS": ["x"]},
        **given,
    )
    array[...] = np.array([1, marker, 3], dtype)
    for _ in range(2):
        opened = xr.open_dataset(path, engine="zarrds").load()
        np.testing.assert_array_equal(opened.v, np.array([1, np.nan, 3] * (opened.sizes["x"] // 3), dtype))
        zarrds.save(opened, path, append_dim="x")
    zarrds.save(opened, path, mode="w")
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds").load(), opened)


@pytest.mark.filterwarnings("ignore:.*cannot be decoded")  # two values, of which xarray takes neither
@pytest.mark.parametrize(
    "marker",
    [1e40, 1e-50, 10**39, 10**400, "-99.9", None, [1.0, 2.0]],
    ids=["float", "tiny", "integer", "huge", "text", "None", "two"],
)
def test_markers_that_no_element_is_hide_nothing(marker: Any, path: Path) -> None:
    array = zarr.open_group(path, mode="w").create_array("v", shape=(2,), dtype="f4", dimension_names=["x"])
    array[...] = [0, np.inf]
    array.attrs["_FillValue"] = marker
    assert xr.open_dataset(path, engine="zarrds").v.values.tolist() == [0, np.inf]


def test_empty_texts_beside_zero_as_the_fill_value(path: Path) -> None:
    """Which zarr-python 2 wrote for texts, and xarray takes for no text."""
    zarrds.save(xr.Dataset({"v": ("x", np.array(["a", "", "c"], object))}), path, zarr_format=2)
    document = json.loads((path / "v" / ".zarray").read_text())
    del document["zarrds"]
    (path / "v" / ".zarray").write_text(json.dumps(document | {"fill_value": 0}))
    opened = xr.open_dataset(path, engine="zarrds", consolidated=False).load()
    assert opened.v.values.tolist() == ["a", "", "c"]
    zarrds.save(opened, path, append_dim="x")
    assert xr.open_dataset(path, engine="zarrds").v.values.tolist() == ["a", "", "c"] * 2


def test_aligned_structures_are_added(path: Path, zarr_format: Format) -> None:
    inner = np.dtype([("count", "i4"), ("sum", "f4")], align=True)
    aligned = np.dtype([("flux", "f4"), ("of", inner)], align=True)  # as netCDF4 gives compound types
    ds = xr.Dataset({"v": ("x", np.array([(1.5, (2, 3.5)), (5.5, (6, 7.5))], aligned))})
    zarrds.save(ds, path, zarr_format=zarr_format)
    zarrds.save(ds, path, append_dim="x")
    zarrds.save(ds.isel(x=[1]), path, region={"x": slice(0, 1)})
    assert xr.open_dataset(path, engine="zarrds").v.values.tolist() == [ds.v.values.tolist()[i] for i in (1, 1, 0, 1)]


@pytest.mark.parametrize("chunks", [None, {}])
def test_structures_in_another_order_of_bytes_are_added(chunks: Any, path: Path) -> None:
    values = np.array([(1.5, 2), (3.5, 4)], [("flux", ">f4"), ("mask", ">i4")])
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("v", shape=(2,), dtype=values.dtype, attributes={"_ARRAY_DIMENSIONS": ["x"]})[...] = values
    opened = xr.open_dataset(path, engine="zarrds", chunks=chunks)
    zarrds.save(opened.compute() if chunks is None else opened, path, append_dim="x")
    zarrds.save(xr.open_dataset(path, engine="zarrds").isel(x=[1, 2]).load(), path, region={"x": slice(0, 2)})
    found = [(3.5, 4), (1.5, 2), (1.5, 2), (3.5, 4)]
    assert xr.open_dataset(path, engine="zarrds").v.values.tolist() == found
    assert zarr.open_group(path)["v"][...].tolist() == found
    other = values.astype([("flux", "f4"), ("count", "i4")])
    with pytest.raises(EncodingError, match="'count'"):
        zarrds.save(xr.Dataset({"v": ("x", other)}), path, append_dim="x")


@pytest.mark.parametrize("shape", [(), (2,), (1, 2), (0, 2)], ids=str)
def test_structures_with_missing_fields_stay_what_they_are(shape: Any, path: Path) -> None:
    inner = np.dtype([("mean", "f4"), ("when", "M8[s]")])
    values = np.zeros(shape, [("count", "i4"), ("of", inner)])
    values["of"]["mean"], values["of"]["when"] = np.nan, "NaT"
    other = values.copy()
    other["count"] = 1
    dims = ("x", "y")[: len(shape)]
    batches = [
        xr.Dataset({"v": ("time", [1.0]), "m": (dims, each)}, {"time": [n]}) for n, each in ((0, values), (1, values))
    ]
    zarrds.save(batches[0], path)
    zarrds.save(batches[1], path, append_dim="time")
    assert not zarrds.diff(path, path).differences
    assert xr.open_dataset(path, engine="zarrds").sizes["time"] == 2
    if not values.size:
        return
    changed = batches[1].assign(m=(dims, other))
    with pytest.raises(LabelError, match="'m'"):
        zarrds.save(changed.assign_coords(time=[2]), path, append_dim="time")
    assert "/m: values differ" in str(zarrds.diff(batches[0], changed.assign_coords(time=[0])))


@pytest.mark.parametrize("other", ["i4,i4", [("b", "i4"), ("a", "i4")], "i4"], ids=str)
def test_other_structures_are_not_equal(path: Path, other: Any) -> None:
    """Names of fields count, and a field that is a structure is no number."""
    inner = np.dtype([("a", [("x", "i4"), ("y", "f8")]), ("b", "i4")])
    stored = np.zeros(1, inner if other == "i4,i4" else np.dtype([("a", "i4"), ("b", "i4")]))

    def at(day: int, values: Any) -> xr.Dataset:
        return xr.Dataset({"v": ("t", [1.0]), "s": ("y", values)}, {"t": [day]})

    zarrds.save(at(0, stored), path)
    before = xr.open_dataset(path, engine="zarrds").load()
    new = at(1, np.zeros(1, other))
    with pytest.raises(ZarrdsError) as caught:
        zarrds.save(new, path, append_dim="t")
    assert caught.value.key == "s"
    assert xr.open_dataset(path, engine="zarrds").identical(before)
    assert not zarrds.diff(before, at(0, np.zeros(1, other))).same


@pytest.mark.parametrize("other", ["i4,f8", "f8", None], ids=str)
def test_structures_of_which_a_part_may_be_absent(path: Path, other: Any, zarr_format: Format) -> None:
    """What is not there yet is written, also beside structures; pandas does not know what of these is missing."""
    dtype = np.dtype([("p", [("x", "i4"), ("y", "f8")]), ("q", "i2")])
    values = np.array([((0, 0), 0), ((0, 0), 2)], dtype)

    def at(day: int, values: Any) -> xr.Dataset:
        return xr.Dataset({"v": ("t", [1.0]), "s": ("y", values)}, {"t": [day]})

    zarrds.save(at(0, values), path, zarr_format=zarr_format, write_empty_chunks=False)
    zarrds.save(at(1, values), path, append_dim="t")
    if other is None:
        new = np.array([((0, 0.5), 1), ((0, 0), 2)], dtype)
        zarrds.save(at(2, new), path, append_dim="t")
        np.testing.assert_array_equal(xr.open_dataset(path, engine="zarrds").s, new)
        return
    with pytest.raises(ZarrdsError) as caught:
        zarrds.save(at(2, np.zeros(2, other)), path, append_dim="t")
    assert caught.value.key == "s"


@pytest.mark.parametrize("other", [np.array([b"abc", b"def"], "V3"), np.array([1.0, np.nan])], ids=["bytes", "numbers"])
def test_bytes_without_a_meaning_are_compared(other: Any) -> None:
    one = xr.Dataset({"v": ("x", np.array([b"abc", b"abc"], "V3"))})
    assert zarrds.diff(one, one).same
    assert "/v: values differ" in str(zarrds.diff(one, xr.Dataset({"v": ("x", other)})))
