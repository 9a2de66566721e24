"""What is missing stays missing, text of any kind comes back as it was, and nothing becomes a float on the way."""

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
from tests.releases import assert_identical
from zarrds.errors import EncodingError

MISSING: dict[str, Any] = {
    "booleans": objects(True, None, False),
    "integers": objects(1, None, 2**62 + 1),
    "all integers": objects(-(2**63), None, 5),
    "large integers": objects(2**64 - 1, np.nan),
    "bytes": objects(b"ab", None, b"<NA>"),
    "texts": objects("a", pd.NA, "<NA>"),
    "nothing": objects(None, None),
    "nothing at all": objects(),
    "nan": objects(np.nan, np.nan),
}


def same_objects(one: Any, other: Any) -> bool:
    return one.dtype == other.dtype == object and all(
        type(a) is type(b) and (a is b or a == b or (a != a and b != b))
        for a, b in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True)
    )


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("case", MISSING)
def test_objects(path: Path, case: str, zarr_format: int) -> None:
    values = MISSING[case]
    variable = xr.Variable("x", values)
    ds = xr.Dataset({"v": variable, "w": variable.set_dims({"y": 2, "x": len(values)}).copy()}, {"c": variable})
    for _ in range(2):
        zarrds.save(ds, path, mode="w", zarr_format=zarr_format)
        found = open_zarrds(path).load()
        for name in ("v", "w", "c"):
            assert same_objects(found[name].values, ds[name].values), found[name].values
        ds = found
    xr.open_dataset(path, engine="zarr").load()
    if case not in ("nothing at all", "texts"):
        zarrds.save(ds, path, append_dim="x")
        assert same_objects(open_zarrds(path).v.values, np.concatenate([values, values]))


@pytest.mark.parametrize("na", [None, np.nan, pd.NA])
@pytest.mark.parametrize("ndim", [1, 2])
@pytest.mark.parametrize("values", [[1, 2], [True, False], [b"a", b"b"], ["a", "b"]])
def test_a_batch_of_nothing_but_what_is_missing(values: Any, ndim: int, na: Any) -> None:
    store, dims = zarrds.MemoryStore(), ("x", "y")[:ndim]
    stored = objects(*values, na).reshape((3, 1)[:ndim])
    zarrds.save(xr.Dataset({"v": (dims, stored)}), store)
    kept = xr.open_dataset(store, engine="zarrds").v.values.ravel()[2]
    for n, new in enumerate((objects(None, None), objects(pd.NA, np.nan), np.array([np.nan, np.nan]))):
        if new.dtype == object or ndim == 1:
            zarrds.save(xr.Dataset({"v": (dims, new.reshape((2, 1)[:ndim]))}), store, append_dim="x")
            found = xr.open_dataset(store, engine="zarrds").v.values.ravel()
            assert found[:2].tolist() == list(values)
            assert len(found) == 3 + 2 * (n + 1)
            assert all(value is kept or (value != value and kept != kept) for value in found[2:].tolist())


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("na", [np.nan, None, pd.NA, "none", "no"])
@pytest.mark.parametrize("ndim", [0, 1, 2])
def test_stringdtype(path: Path, na: Any, ndim: int, zarr_format: int) -> None:
    dtype: Any = np.dtypes.StringDType() if isinstance(na, str) and na == "no" else np.dtypes.StringDType(na_object=na)  # type: ignore[call-overload]  # its stubs know few
    values = np.array([["x", "<NA>"], ["nan", "x" if isinstance(na, str) else na]], dtype)
    values = values if ndim == 2 else values[1] if ndim == 1 else values[0, 0]
    ds = xr.Dataset({"v": (("y", "x")[:ndim], np.asarray(values, dtype))})
    zarrds.save(ds, path, zarr_format=zarr_format)
    found = open_zarrds(path).v
    assert found.dtype == dtype
    assert_identical(found.load(), ds.v)
    xr.open_dataset(path, engine="zarr").load()


@pytest.mark.parametrize("encoding", [{"_FillValue": -1}, {"dtype": "f8"}, {"missing_value": "x"}])
def test_stringdtype_with_what_another_file_left(path: Path, encoding: dict[str, Any]) -> None:
    for values in ([], ["x"]):
        ds = xr.Dataset({"v": ("x", np.array(values, np.dtypes.StringDType()), {}, encoding)})
        zarrds.save(ds, path, mode="w")
        assert_identical(open_zarrds(path).load(), ds)


def test_a_batch_of_missing_periods() -> None:
    store, months = zarrds.MemoryStore(), pd.period_range("2000", periods=2, freq="M")
    zarrds.save(xr.Dataset({"v": (("x", "y"), np.asarray(months, object)[:, None])}), store)
    zarrds.save(xr.Dataset({"v": (("x", "y"), objects(None, pd.NA)[:, None])}), store, append_dim="x")
    assert xr.open_dataset(store, engine="zarrds").v.values.ravel().tolist() == [*months, pd.NaT, pd.NaT]


def test_a_growing_column_without_text_yet(path: Path) -> None:
    ds = xr.Dataset({"id": ("t", objects(None, None))})
    zarrds.save(ds, path)
    zarrds.save(xr.Dataset({"id": ("t", objects("a", None))}), path, append_dim="t")
    assert open_zarrds(path).id.values.tolist() == [None, None, "a", None]


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("shape", [(2, 3), (2, 1), (0, 2), (3,), ()])
def test_single_bytes(path: Path, shape: tuple[int, ...], zarr_format: int) -> None:
    values = np.resize(np.array([b"A", b"", b"T"], "S1"), shape)
    ds = xr.Dataset({"v": (("x", "y")[: len(shape)], values)})
    zarrds.save(ds, path, zarr_format=zarr_format)
    for index in ("auto", "none"):
        xr.testing.assert_identical(open_zarrds(path, index=index).load(), ds)
    zarrds.save(open_zarrds(path), path, mode="w", zarr_format=zarr_format)
    xr.testing.assert_identical(open_zarrds(path).load(), ds)
    if shape:
        zarrds.save(ds, path, append_dim="x")
        xr.testing.assert_identical(open_zarrds(path).load(), xr.concat([ds, ds], "x"))


def test_characters_of_netcdf_stay_texts(path: Path, tmp_path: Path) -> None:
    ds = xr.Dataset({"s": ("x", np.array(["abc", "de"], object))})
    ds.to_netcdf(tmp_path / "a.nc", encoding={"s": {"dtype": "S1"}})
    with xr.open_dataset(tmp_path / "a.nc") as opened:
        zarrds.save(opened, path)
        xr.testing.assert_identical(open_zarrds(path).load(), ds)
    with xr.open_dataset(tmp_path / "a.nc", concat_characters=False) as raw:
        zarrds.save(raw, path, mode="w")
        xr.testing.assert_identical(open_zarrds(path, concat_characters=False).load(), raw)
    assert open_zarrds(path).s.values.tolist() == ["abc", "de"]  # the characters say how they are encoded


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("dtype", ["i2", "u1", "i4"])
def test_templates_read_as_missing(path: Path, dtype: str, zarr_format: int) -> None:
    marker = np.iinfo(dtype).max
    encoding: Any = {"v": {"dtype": dtype, "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": marker}}
    ds = xr.Dataset({"v": ("x", np.full(4, 280.5))}).chunk(x=2)
    later = zarrds.save(ds, path, compute=False, encoding=encoding, zarr_format=zarr_format)
    assert np.isnan(open_zarrds(path).v).all()
    assert np.isnan(xr.open_dataset(path, engine="zarr").v).all()
    later.compute()
    np.testing.assert_allclose(open_zarrds(path).v, 280.5)


def test_bounds_have_the_units_of_their_coordinate(path: Path) -> None:
    times = pd.date_range("2000-01-01", periods=3).values
    bounds = np.stack([times, times + np.timedelta64(12, "h")], 1)
    ds = xr.Dataset(coords={"time": ("time", times, {"bounds": "b"}), "b": (("time", "n"), bounds)})
    ds["time"].encoding = {"units": "hours since 1900-01-01", "calendar": "standard"}
    zarrds.save(ds, path)
    attrs = zarrds.open_group(path)["b"].attrs
    assert attrs["units"] == "hours since 1900-01-01"
    xr.testing.assert_identical(open_zarrds(path).load(), ds)


def test_encoding_of_format_2_is_xarrays(path: Path, tmp_path: Path) -> None:
    ds = xr.Dataset({"v": ("x", [1.0, 2.0]), "s": ("x", np.array(["a", "b"], object))}, {"x": [1, 2]})
    zarrds.save(ds, path, zarr_format=2)
    open_zarrds(path).to_zarr(tmp_path / "b.zarr", zarr_format=2)
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "b.zarr", engine="zarr").load(), ds)
    zarrds.save(open_zarrds(path), tmp_path / "c.zarr")
    xr.testing.assert_identical(open_zarrds(tmp_path / "c.zarr").load(), ds)


@pytest.mark.parametrize("missing", [np.nan, None])
def test_missing_text_of_dask_arrays_of_stringdtype(missing: Any) -> None:
    text = np.array(["x", missing, "nan"], np.dtypes.StringDType(na_object=missing))
    ds = xr.Dataset({"v": ("x", text)}).chunk(x=2)
    store = zarrds.MemoryStore()
    zarrds.save(ds, store)
    zarrds.save(ds, store, append_dim="x")
    back = xr.open_dataset(store, engine="zarrds").v.values
    assert [pd.isna(value) for value in back] == [False, True, False] * 2
    assert back[2] == "nan"


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("scale", [{}, {"scale_factor": 0.5}])
@pytest.mark.parametrize(
    "markers", [(None, -999.0), (None, [-999.0, -998.0]), (1e20, -999.0), (1e20, [-999.0, -998.0])]
)
def test_stored_floats_with_several_values_for_what_is_missing(markers: Any, scale: Any, zarr_format: Any) -> None:
    fill, missing = markers
    attributes = {"missing_value": np.float32(missing), **({} if fill is None else {"_FillValue": np.float32(fill)})}
    raw = xr.Dataset({"v": ("x", np.float32([1, -999]), attributes | scale)})  # as it comes from NCEP's files
    store = zarrds.MemoryStore()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)  # of xarray, that there are several
        zarrds.save(raw, store, zarr_format=zarr_format)
        decoded = xr.decode_cf(raw)
        zarrds.save(raw, store, append_dim="x")
        zarrds.save(decoded.load(), store, append_dim="x")
        zarrds.save(decoded.chunk(x=1), store, append_dim="x")
        back = xr.open_dataset(store, engine="zarrds").load()
        xr.testing.assert_identical(back, xr.concat([decoded] * 4, "x"))
        wrong = decoded.fillna(-999.0 * scale.get("scale_factor", 1))
        for lazy in (wrong, wrong.chunk(x=1)):
            with pytest.raises(EncodingError, match="'v' holds a value that is the store's _FillValue"):
                zarrds.save(lazy, store, append_dim="x")
        xr.testing.assert_identical(xr.open_dataset(store, engine="zarrds").load(), back)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA], ids=repr)
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_missing_bytes_that_are_opened_undecoded(missing: Any, zarr_format: Any, path: Path) -> None:
    zarrds.save(xr.Dataset({"v": ("x", objects(b"ab", missing, b"<NA>"))}), path, zarr_format=zarr_format)
    elsewhere = xr.open_dataset(path, engine="zarr").v.values
    # of bytes in format 3 xarray's zarr engine knows no value for what is missing
    assert pd.isnull(elsewhere).tolist() == [False, zarr_format == 2, False]
    for options in ({"decode_cf": False}, {"mask_and_scale": False}):
        raw = open_zarrds(path, **options)
        zarrds.save(raw, path.with_name("again.zarr"), mode="w", zarr_format=zarr_format)
        again = open_zarrds(path.with_name("again.zarr")).v.values.tolist()
        assert again[::2] == [b"ab", b"<NA>"]
        assert pd.isnull(again[1])
    zarrds.save(xr.Dataset({"v": ("x", objects(b"longer", None))}), path, append_dim="x")
    assert pd.isnull(open_zarrds(path).v.values).tolist() == [False, True, False, False, True]


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_undecoded_bytes_with_a_marker_can_be_opened_elsewhere(zarr_format: Any, path: Path) -> None:
    raw = xr.Dataset({"v": ("x", np.array([b"ab", b"--"]), {"_FillValue": b"--"})})
    zarrds.save(raw, path, zarr_format=zarr_format)
    assert xr.open_dataset(path, engine="zarr").v.values[0] == b"ab"
    assert pd.isnull(open_zarrds(path).v.values).tolist() == [False, True]
    xr.testing.assert_identical(open_zarrds(path, decode_cf=False).load(), raw)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_markers_that_are_no_floats_of_the_array_mark_nothing(zarr_format: Any, path: Path) -> None:
    """A double beside single floats, as old climate files have it: xarray compares in double precision."""
    raw = xr.Dataset({"v": ("x", np.array([1, 1e20], "f4"), {"missing_value": 1e20})})
    read = xr.decode_cf(raw).load()
    zarrds.save(raw, path, zarr_format=zarr_format, statistics=True)
    zarrds.save(raw, path, append_dim="x")
    zarrds.save(read, path, append_dim="x")
    assert open_zarrds(path).v.values.tolist() == read.v.values.tolist() * 3
    assert zarrds.find(path, "v > 1e19").sizes["x"] == 3
    assert zarrds.aggregate(path, "v", "count") == 6


@pytest.mark.parametrize("factors", [{"scale_factor": 1000}, {"scale_factor": np.int64(2), "add_offset": 5}], ids=str)
@pytest.mark.parametrize("marker", ["_FillValue", "missing_value"])
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_whole_factors_beside_what_is_missing(
    factors: dict[str, Any], marker: str, zarr_format: Any, path: Path
) -> None:
    """Which xarray cannot decode: it puts NaN among integers."""
    raw = xr.Dataset({"v": ("x", np.array([1, -1, 3], "i1"), {**factors, marker: np.int8(-1)})})
    zarrds.save(raw, path, zarr_format=zarr_format)
    low, high = (factors["scale_factor"] * value + factors.get("add_offset", 0) for value in (1, 3))
    for n in (1, 2):
        np.testing.assert_array_equal(open_zarrds(path).v, [low, np.nan, high] * n)
        zarrds.save(raw, path, append_dim="x")
    zarrds.save(open_zarrds(path).load(), path, append_dim="x")
    np.testing.assert_array_equal(open_zarrds(path).v, [low, np.nan, high] * 6)
    xr.testing.assert_identical(open_zarrds(path, decode_cf=False).isel(x=slice(3)).load(), raw)


@pytest.mark.parametrize("units", ["days", "hours", "seconds", "d", "s"])
@pytest.mark.parametrize("dtype", ["int16", "uint8", "int64"])
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_integers_in_units_of_time(dtype: str, units: str, zarr_format: Any, path: Path) -> None:
    """Frost days and the like are no durations: xarray masks them as such, by the least integer, all the same."""
    # older releases of xarray make durations of them, with a warning, unless they are told not to
    is_by_units = xr.coders.CFTimedeltaCoder().decode_via_units
    numbers: dict[str, Any] = {"decode_timedelta": False} if is_by_units else {}
    values = np.array([3, np.nan, 2], "f8" if dtype == "int64" else "f4")
    ds = xr.Dataset({"v": ("x", values, {"units": units}, {"dtype": dtype, "_FillValue": 99})})
    zarrds.save(ds, path, zarr_format=zarr_format, statistics=True)
    for n in (1, 2):
        found = open_zarrds(path, **numbers).load()
        np.testing.assert_array_equal(found.v, [3, np.nan, 2] * n)
        zarrds.save(ds if n == 1 else found, path, append_dim="x")
    np.testing.assert_array_equal(open_zarrds(path, chunks={}, **numbers).v, [3, np.nan, 2] * 4)
    for asked in (
        False,
        xr.coders.CFTimedeltaCoder(decode_via_units=False),
        {"v": False} if is_by_units else {"w": True},
    ):
        np.testing.assert_array_equal(open_zarrds(path, decode_timedelta=asked).v, [3, np.nan, 2] * 4)
    by_units = open_zarrds(path, decode_timedelta=True).v
    assert by_units.dtype.kind == ("m" if len(units) > 1 else "f")
    assert by_units.isnull().values.tolist() == [False, True, False] * 4
    if not is_by_units:  # which a condition on numbers is not for
        assert zarrds.find(path, "v < 3").sizes["x"] == 4


@pytest.mark.parametrize("factor", [2, np.int16(2)], ids=repr)
@pytest.mark.parametrize("marker", [None, -1.0])
def test_floats_with_whole_factors(marker: float | None, factor: Any, path: Path) -> None:
    """Of which xarray makes integers."""
    attributes = {"scale_factor": factor} | ({} if marker is None else {"_FillValue": np.float32(marker)})
    raw = xr.Dataset({"v": ("x", np.array([0.25, -1, 3.5], "f4"), attributes)})
    zarrds.save(raw, path)
    expected = [0.5, -2 if marker is None else np.nan, 7]
    np.testing.assert_array_equal(open_zarrds(path).v, expected)
    zarrds.save(raw, path, append_dim="x")
    np.testing.assert_array_equal(open_zarrds(path).v, expected * 2)


@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize(
    "markers",
    [
        {"_FillValue": -999},
        {"_FillValue": np.float32(1e20)},
        {"missing_value": 1e20},
        {"missing_value": -999},
        {"_FillValue": -999, "missing_value": 5},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:variable 'v' has multiple fill values")
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_markers_that_no_integer_of_the_array_can_be(
    markers: dict[str, Any], is_lazy: bool, zarr_format: Any, path: Path
) -> None:
    """They mark nothing; what they are modulo 256 was taken for missing."""
    raw = xr.Dataset({"v": ("x", np.array([0, 25, 7], "u1"), markers)})
    zarrds.save(raw.chunk(x=2) if is_lazy else raw, path, zarr_format=zarr_format)
    found = open_zarrds(path, decode_cf=False).load()
    assert {key: found.v.attrs[key] for key in markers} == markers
    assert all(type(found.v.attrs[key]) is type(value) for key, value in markers.items())
    np.testing.assert_array_equal(found.v, raw.v)
    for n in (1, 2):
        np.testing.assert_array_equal(open_zarrds(path).v, [0, 25, 7] * n)
        zarrds.save(raw if n == 1 else open_zarrds(path).load(), path, append_dim="x")
    zarrds.save(xr.Dataset({"v": ("x", [1.0, 2.0])}), path, append_dim="x")
    with pytest.raises(EncodingError, match="'v'"):
        zarrds.save(xr.Dataset({"v": ("x", [1.5])}), path, append_dim="x")
    zarrds.save(open_zarrds(path, decode_cf=False).load(), path.with_name("again.zarr"), zarr_format=5 - zarr_format)
    assert open_zarrds(path.with_name("again.zarr")).v.values.tolist() == open_zarrds(path).v.values.tolist()


ASKED: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "booleans": (np.array([True, False]), {"dtype": "i1", "_FillValue": -1}, objects(True, None)),
    "nullable": (np.array([True, False]), {"dtype": "i1", "_FillValue": -1}, pd.array([True, None], dtype="boolean")),
    "bytes": (np.array([b"a", b"b"]), {"_FillValue": b"-"}, objects(b"long", None)),
    "bytes as objects": (objects(b"a", None), {"_FillValue": b"-"}, objects(b"long", None)),
    "bytes, missing_value": (objects(b"a", None), {"missing_value": b"-"}, objects(None, b"b")),
}


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("case", ASKED)
def test_beside_a_marker_that_was_asked_for(path: Path, case: str, zarr_format: int) -> None:
    """Booleans are the numbers 0 and 1 then, of which some are NaN."""
    first, encoding, then = ASKED[case]
    zarrds.save(xr.Dataset({"v": ("x", first)}), path, encoding={"v": encoding}, zarr_format=zarr_format)
    new = xr.Dataset({"v": ("x", then)})
    zarrds.save(new, path, append_dim="x")
    zarrds.save(new, path, region={"x": slice(0, 2)})
    found = [None if pd.isna(value) else value for value in open_zarrds(path).v.values.tolist()]
    expected = [None if pd.isna(value) else value for value in then]
    assert found == expected * 2
    assert zarrds.verify(path).ok
