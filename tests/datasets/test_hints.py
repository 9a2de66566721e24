"""Encodings that came along give way, those that were asked for are errors, and no value changes in silence."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cftime
import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import FORMATS, load, objects, open_zarrds
from zarrds.errors import CarriedEncodingError, EncodingError

TIMES = pd.date_range("2000-01-01", periods=4, freq="6h").values
NOLEAP = np.array([cftime.DatetimeNoLeap(2000, 1, 1, hour) for hour in (0, 6, 12, 18)])
PACKED = {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -32768}

# values and an encoding that would change them
LOSSES: dict[str, tuple[Any, dict[str, Any]]] = {
    "strings": (np.array(["abc", "abcdefgh"]), {"dtype": "<U3"}),
    "bytes": (np.array([b"abc", b"abcdefgh"]), {"dtype": "S3"}),
    "texts": (np.array(["abc", "abcdefgh"], object), {"dtype": "<U3"}),
    "coarse times": (TIMES, {"units": "days since 2000-01-01", "dtype": "i8"}),
    "float32 times": (TIMES + np.timedelta64(7, "s"), {"units": "days since 1800-01-01", "dtype": "f4"}),
    "narrow times": (TIMES, {"units": "seconds since 1900-01-01", "dtype": "i4"}),
    "scaled times": (TIMES, {"units": "days since 2000-01-01", "dtype": "i2", "scale_factor": 1.0}),
    "calendar": (NOLEAP, {"units": "days since 2000-01-01", "calendar": "noleap", "dtype": "i8"}),
    "other calendar": (NOLEAP, {"units": "hours since 2000-01-01", "calendar": "360_day", "dtype": "i8"}),
    "timedeltas": (np.array([1, 36], "m8[h]").astype("m8[ns]"), {"units": "days", "dtype": "i8"}),
    "packing": (np.array([0.01, 0.015]), PACKED),
    "packing of other values": (np.array([0.01, 1e6]), PACKED),
    "packing without a marker": (np.array([1.0, np.nan]), {"dtype": "i2", "scale_factor": 0.5}),
    "marker": (np.array([1.0, 1e20]), {"_FillValue": 1e20}),
    "large integers": (np.array([2**53 + 1, 5]), {"_FillValue": -1}),
    "integers": (np.array([1, 300]), {"dtype": "u1"}),
    "floats as integers": (np.array([1.0, 2.5]), {"dtype": "i4"}),
    "short floats": (np.array([0.1, 0.2]), {"dtype": "f4"}),
    "overflow": (np.array([1.0, 1e300]), {"dtype": "f4"}),
    "imaginary": (np.array([1 + 2j]), {"dtype": "f8"}),
    "two markers": (np.array([1.0, np.nan]), {"_FillValue": 1e20, "missing_value": -999.0}),
    "list of markers": (np.array([1.0, np.nan]), {"_FillValue": -1.0, "missing_value": [-1.0, -2.0]}),
    "marker of integers": (np.array([1, 2], "i2"), {"_FillValue": np.nan}),
    "marker out of range": (np.array([1.0, 2.0]), {"dtype": "u1", "_FillValue": -999}),
    "unknown units": (TIMES, {"units": "months since 1960-01-01", "calendar": "360_day"}),
}
DECLARED = {"packing", "short floats"}  # changes that are asked for


@pytest.mark.one_in(4)
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("as_coordinate", [False, True])
@pytest.mark.parametrize("case", LOSSES)
def test_what_came_along_gives_way(path: Path, case: str, as_coordinate: bool, zarr_format: int) -> None:
    values, encoding = LOSSES[case]
    name = "x" if as_coordinate and not pd.isnull(values).any() else "v"
    variable = xr.Variable("x", values, {}, encoding)
    ds = xr.Dataset(coords={"x": variable}) if name == "x" else xr.Dataset({"v": variable})
    if name == "x":
        ds["x"].encoding = encoding
    with pytest.warns(xr.SerializationWarning, match=f"came along.*{name}") as caught:
        zarrds.save(ds, path, zarr_format=zarr_format)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = open_zarrds(path).load()
    xr.testing.assert_identical(found, ds)
    assert found[name].dtype == ds[name].dtype


@pytest.mark.parametrize("case", LOSSES)
def test_what_is_asked_for_is_an_error(path: Path, case: str) -> None:
    values, encoding = LOSSES[case]
    ds = xr.Dataset({"v": ("x", values), "w": ("x", values)})
    if case in DECLARED:
        zarrds.save(ds, path, encoding={"v": encoding})
        step = encoding.get("scale_factor", 1e-7)
        np.testing.assert_allclose(open_zarrds(path).v, values, rtol=0, atol=step / 2 * 1.001)
        return
    with pytest.raises(EncodingError, match="v") as caught:
        zarrds.save(ds, path, encoding={"v": encoding})
    assert caught.value.key == "v"
    assert caught.value.mend is not None
    assert not path.exists()


@pytest.mark.parametrize("group", [None, "a/b"])
@pytest.mark.parametrize("case", ["packing", "packing of other values", "short floats", "coarse times", "integers"])
def test_what_came_along_with_dask_gives_way(path: Path, case: str, group: str | None) -> None:
    values, encoding = LOSSES[case]
    ds = xr.Dataset({"v": ("x", values), "w": ("x", values)}).chunk(x=1)
    ds["v"].encoding = encoding
    zarrds.save(xr.Dataset({"other": 1}), path)
    with pytest.warns(xr.SerializationWarning, match="came along.*v"):
        zarrds.save(ds, path, group=group or "g", mode="a")
    xr.testing.assert_identical(open_zarrds(path, group=group or "g").load(), ds.compute())


def test_what_came_along_is_told_late(path: Path) -> None:
    ds = xr.Dataset({"v": ("x", [0.01, 0.015])}).chunk(x=1)
    ds["v"].encoding = PACKED
    with pytest.raises(CarriedEncodingError, match=r"'v'.*drop_encoding"):
        zarrds.save(ds, path, compute=False).compute()


def test_what_fits_stays_and_is_not_told_of(path: Path) -> None:
    ds = xr.Dataset({"v": ("time", np.array([0.01, 0.07, np.nan, 3.21]))}, {"time": TIMES})
    ds["v"].encoding = PACKED
    ds["time"].encoding = {"units": "hours since 1900-01-01", "dtype": "i4"}
    for _ in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            zarrds.save(ds, path, mode="w")
            found = open_zarrds(path)
        np.testing.assert_allclose(found.v, ds.v, rtol=1e-14)
        assert found.v.encoding["dtype"] == np.dtype("i2")
        assert (found.time.encoding["units"], found.time.encoding["dtype"]) == (
            "hours since 1900-01-01",
            np.dtype("i4"),
        )
        ds = found.load()


def test_other_packing_of_the_second_file(path: Path, tmp_path: Path) -> None:
    for i, scale in enumerate((0.5, 0.3)):
        part = xr.Dataset({"v": ("t", np.array([1, 2, 3], "i2"), {"scale_factor": scale})}, {"t": np.arange(3) + 3 * i})
        part.to_netcdf(tmp_path / f"{i}.nc")
    files = [tmp_path / "0.nc", tmp_path / "1.nc"]
    for chunks in (None, {}):
        parts = [xr.open_dataset(file, chunks=chunks) for file in files]
        joined = xr.concat(parts, "t")
        with pytest.warns(xr.SerializationWarning, match="came along.*v"):
            zarrds.save(joined, path, mode="w")
        np.testing.assert_array_equal(open_zarrds(path).v, joined.v)
        for part in parts:
            part.close()


@pytest.mark.parametrize(
    ("declared", "block"),
    [
        (np.zeros(2, "u4"), np.array([0.5, 1.5])),
        (np.zeros(2, "i8"), np.array([1.0, 2.0])),
        (np.zeros(2, "<U2"), np.array(["ab", "abcd"])),
        (np.zeros(2, "S2"), np.array([b"ab", b"abcd"])),
        (np.zeros(2, "f4"), np.array([0.1, 0.2])),
        (np.zeros(2, "f8"), np.array([2**53 + 1, 0])),
        (np.zeros(2, "M8[s]"), np.array([1, 2], "M8[ns]")),
        (np.zeros(2), np.zeros(3)),
    ],
    ids=str,
)
@pytest.mark.parametrize("chunk", [2, 3])
@pytest.mark.parametrize("encoding", [{}, {"dtype": "f4"}])
@pytest.mark.filterwarnings("ignore:.*dask array with dtype=object")
def test_dask_blocks_that_are_not_what_they_say(
    path: Path, declared: Any, block: Any, chunk: int, encoding: dict[str, Any]
) -> None:
    if encoding and declared.dtype.kind not in "uif":
        return
    data = dask.array.from_array(np.zeros(6, declared.dtype), chunks=2).map_blocks(
        lambda _: block, dtype=declared.dtype
    )
    with pytest.raises(EncodingError) as caught:
        zarrds.save(xr.Dataset({"v": ("x", data)}), path, encoding={"v": {"chunks": (chunk,), **encoding}})
    if declared.dtype.kind != "O":
        assert str(declared.dtype) in str(caught.value)
        assert str(block.dtype) in str(caught.value)
    assert "v" in str(caught.value)
    assert not path.exists()


def test_floats_that_are_longer_than_they_say(path: Path) -> None:
    """As xarray's interp makes them of float32: to make them that again does nothing in dask."""
    data = dask.array.from_array(np.float32([0.1, 0.4]), chunks=1).map_blocks(lambda b: b / np.float64(3), dtype="f4")
    ds = xr.Dataset({"v": ("x", data)})
    with pytest.raises(EncodingError, match=r"'v'.*\.astype\('float64'\), not to float32"):
        zarrds.save(ds.astype("float32"), path)
    zarrds.save(ds.astype("float64"), path)
    xr.testing.assert_identical(open_zarrds(path).load(), ds.compute())


def test_dask_blocks_that_hold_less_than_they_say(path: Path) -> None:
    data = dask.array.zeros(4, chunks=2, dtype="i8").map_blocks(lambda b: b.astype("i4") + 7, dtype="i8")
    texts = dask.array.from_array(np.array(["ab", "c", "d", "e"]), chunks=2).map_blocks(
        lambda b: b.astype("<U1"), dtype="<U2"
    )
    zarrds.save(xr.Dataset({"v": ("x", data), "s": ("x", texts[2:].rechunk(1)[[0, 1, 0, 1]])}), path)
    assert open_zarrds(path).v.values.tolist() == [7] * 4
    assert open_zarrds(path).s.values.tolist() == ["d", "e", "d", "e"]


@pytest.mark.parametrize("options", [{}, {"group": "a", "mode": "a"}, {"mode": "a"}])
def test_who_makes_errors_of_warnings_has_nothing_committed(options: dict[str, Any]) -> None:
    store = zarrds.MemoryStore()
    if options:
        zarrds.save(xr.Dataset({"x": ("x", [1])}), store)
    before = {key: store.get(key) for key in store.list_prefix()}
    packed = xr.Dataset({"v": ("y", [0.123], {}, {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -1})})
    with pytest.raises(xr.SerializationWarning):  # pytest makes errors of warnings
        zarrds.save(packed, store, **options)
    assert {key: store.get(key) for key in store.list_prefix()} == before
    with pytest.warns(xr.SerializationWarning) as caught:
        zarrds.save(packed, store, **options)
    assert [warning.filename for warning in caught] == [__file__]
    assert open_zarrds(store, group=options.get("group")).v.values == 0.123


@pytest.mark.parametrize("chunks", [None, 1])
@pytest.mark.parametrize(
    ("values", "encoding"),
    [
        ([True, False], {"_FillValue": np.nan}),
        ([True, False], {"missing_value": np.nan, "dtype": "bool"}),
        (np.uint16([1, 65534]), {"_Unsigned": "false", "dtype": "f8", "_FillValue": np.nan}),
        (np.uint16([1, 65534]), {"_Unsigned": "true", "dtype": "f4"}),
    ],
)
def test_markers_and_signs_of_other_dtypes(values: Any, encoding: dict[str, Any], chunks: int | None) -> None:
    saved = xr.Dataset({"v": ("x", values)})
    given = saved if chunks is None else saved.chunk(x=chunks)
    with pytest.raises(EncodingError, match="'v'"):
        zarrds.save(given, zarrds.MemoryStore(), encoding={"v": encoding})
    given.v.encoding = dict(encoding)
    store = zarrds.MemoryStore()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)  # that they gave way
        zarrds.save(given, store)
    xr.testing.assert_identical(open_zarrds(store).load(), saved)


@pytest.mark.parametrize("encoding", [{"_FillValue": -1}, {"missing_value": 3}, {"dtype": "i1", "scale_factor": 0.5}])
@pytest.mark.parametrize("is_lazy", [False, True])
def test_integers_of_which_there_are_none_keep_their_dtype(path: Path, encoding: dict[str, Any], is_lazy: bool) -> None:
    ds = xr.Dataset({"v": ("x", np.empty(0, "i1"), {}, encoding)})
    with pytest.warns(xr.SerializationWarning, match="would read back as float"):
        zarrds.save(ds.chunk() if is_lazy else ds, path)
    assert open_zarrds(path).v.dtype == np.int8


@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize("size", [0, 1])
def test_no_times_in_another_calendar(is_lazy: bool, size: int) -> None:
    store, hint = zarrds.MemoryStore(), {"units": "days since 0001-01-01", "calendar": "noleap"}
    ds = xr.Dataset({"v": ("x", np.zeros(size, "M8[s]"))})
    ds = ds.chunk() if is_lazy else ds
    with pytest.raises(EncodingError, match=r"'v'.*convert_calendar|calendar.*convert_calendar"):
        zarrds.save(ds, store, encoding={"v": hint})
    ds.v.encoding = hint
    with pytest.warns(xr.SerializationWarning, match=r"'v' \(calendar is 'noleap'"):
        zarrds.save(ds, store)
    assert xr.open_dataset(store, engine="zarrds").v.dtype == "M8[s]"


def test_durations_are_not_counted_in_finer_units_than_theirs() -> None:
    """Which readers would tell of them before they decode them, and not after."""
    store, values = zarrds.MemoryStore(), np.array([1, 86400], "m8[s]")
    with pytest.raises(EncodingError, match=r"units.*timedelta64.ms.*astype"):
        zarrds.save(xr.Dataset({"v": ("x", values)}), store, encoding={"v": {"units": "milliseconds"}})
    with pytest.warns(xr.SerializationWarning, match=r"'v' \(units are 'milliseconds'"):
        zarrds.save(xr.Dataset({"v": ("x", values, {}, {"units": "milliseconds"})}), store)
    opened = xr.open_dataset(store, engine="zarrds").v
    assert opened.dtype == opened.values.dtype == values.dtype


@pytest.mark.parametrize("is_lazy", [False, True])
def test_halves_of_complex_numbers_are_not_missing(is_lazy: bool) -> None:
    values = np.array([complex("nan"), complex(3, np.nan), complex(np.nan, -5)])
    ds = xr.Dataset({"v": ("x", values)})
    ds, store = ds.chunk() if is_lazy else ds, zarrds.MemoryStore()
    with pytest.raises(EncodingError, match=r"'v'.*would read back as \(nan\+nanj\)"):
        zarrds.save(ds, store, encoding={"v": {"_FillValue": -9}})
    ds.v.encoding = {"_FillValue": -9}
    with pytest.warns(xr.SerializationWarning, match="'v' .*nan"):
        zarrds.save(ds, store)
    assert xr.open_dataset(store, engine="zarrds").v.values.tobytes() == values.tobytes()
    store = zarrds.MemoryStore()
    zarrds.save(ds.isel(x=[0]), store, encoding={"v": {"_FillValue": -9}})  # which is NumPy's NaN
    assert np.isnan(xr.open_dataset(store, engine="zarrds").v.values).all()


@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize(
    ("packing", "most"), [({"dtype": "f8"}, 1e-12), ({"dtype": "i2", "scale_factor": 0.01, "_FillValue": -1}, 0.00501)]
)
def test_short_floats_are_packed_as_exactly_as_long_ones(packing: dict[str, Any], most: float, is_lazy: bool) -> None:
    """xarray would compute the offset in the dtype of the data, which leaves three digits of half floats."""
    values, store = np.array([0.3, -1.1, 2.25], "f2"), zarrds.MemoryStore()
    ds = xr.Dataset({"v": ("x", values)})
    ds = ds.chunk() if is_lazy else ds
    zarrds.save(ds, store, encoding={"v": {"add_offset": 100.0, **packing}})
    zarrds.save(ds, store, append_dim="x")
    back = xr.open_dataset(store, engine="zarrds").v.values
    assert np.abs(back - np.tile(values, 2).astype("f8")).max() < most


@pytest.mark.parametrize("carried", [{"_FillValue": "?"}, {"_FillValue": "-", "missing_value": -1}], ids=str)
@pytest.mark.parametrize("asked", [{}, {"_FillValue": "-"}], ids=str)
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_markers_that_came_along_count_for_nothing_in_a_store(zarr_format: Any, asked: Any, carried: Any) -> None:
    ds = xr.Dataset({"s": ("x", objects("a", None))})
    zarrds.save(ds, store := zarrds.MemoryStore(), zarr_format=zarr_format, encoding={"s": asked})
    new = ds.copy()
    new.s.encoding = carried
    zarrds.save(new, store, append_dim="x")
    zarrds.save(new, store, region={"x": slice(0, 2)})
    zarrds.save(new.isel(x=[0, 1, 0, 1]), store, mode="r+")
    assert [None if pd.isnull(text) else text for text in open_zarrds(store).s.values] == ["a", None] * 2


@pytest.mark.parametrize("offset", [1e10, 1e16, 2.0**70, -1e300])
@pytest.mark.parametrize("values", [[0.1, 1.0, 2.0, 3.0], [-7.0, 1.0]])
@pytest.mark.parametrize("dtype", [None, "f8", "i8"])
@pytest.mark.parametrize("is_dask", [False, True])
def test_offsets_beside_which_nothing_is_left(
    path: Path, offset: float, values: list[float], dtype: str | None, is_dask: bool
) -> None:
    ds = xr.Dataset({"v": ("x", values)})
    ds.v.encoding = {"add_offset": offset} | ({} if dtype is None else {"dtype": dtype})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)
        zarrds.save(ds.chunk(x=2) if is_dask else ds, path)
    np.testing.assert_allclose(load(path).v, values, rtol=1e-7)


def test_offsets_of_their_own_data_stay(path: Path) -> None:
    packed = xr.Variable("x", np.arange(-300, 300, dtype="i2"), {"scale_factor": 0.01, "add_offset": 273.15})
    floats = xr.Variable("x", np.arange(0.0, 600.0), {"add_offset": -273.15})
    ds = xr.decode_cf(xr.Dataset({"v": packed, "w": floats}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zarrds.save(ds, path)
    xr.testing.assert_allclose(load(path), ds, rtol=1e-12)
    assert load(path).v.encoding["add_offset"] == 273.15
    assert load(path).w.encoding["add_offset"] == -273.15
