"""Every kind of data through zarrds, xarray's zarr engine (zarr-python) and TensorStore."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.engines import assert_same, assert_same_encoding, open_both, read_with_tensorstore
from tests.datasets.samples import FORMATS

NUMBERS = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", ">i4", ">f8"]


def numbers(dtype: str) -> xr.Dataset:
    values = np.arange(12).reshape(3, 4).astype(dtype)
    return xr.Dataset(
        {
            "matrix": (("y", "x"), values),
            "scalar": ((), values[1, 2]),
            "empty": (("none", "x"), values[:0]),
        },
        # pandas has no indexes of these
        {"x": ("x", values[0] if dtype not in ("?", "f2") else np.arange(4.0))},
    )


@pytest.mark.one_in(4)
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers(dtype: str, zarr_format: int, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    ds = numbers(dtype)
    zarrds.save(ds, path, zarr_format=zarr_format)
    ours, theirs = open_both(path)
    assert_same(ours, theirs)
    xr.testing.assert_identical(ours, ds)
    for name, variable in ds.variables.items():
        found = read_with_tensorstore(path / str(name), zarr_format)
        assert found.dtype == np.dtype(dtype).newbyteorder("=") or name == "x"
        np.testing.assert_array_equal(found, variable.values)
    ds.to_zarr(tmp_path / "theirs.zarr", zarr_format=zarr_format)
    ours, theirs = open_both(tmp_path / "theirs.zarr")
    assert_same(ours, theirs)
    xr.testing.assert_identical(ours, ds)


def string_type(**options: Any) -> Any:
    return np.dtypes.StringDType(**options)


STRINGS = {
    "fixed unicode": np.array(["a", "bcd", "", "ü温"]),
    "fixed bytes": np.array([b"a", b"bcd", b"", b"\xff\x01"]),
    "objects": np.array(["a", "bcd", "", "ü温\n"], object),
    "object bytes": np.array([b"a", b"bcd", b"", b"\xff"], object),
    "StringDType": np.array(["a", "bcd", "", "ü温"], string_type()),
    "pandas strings": pd.array(["a", "bcd", "", "ü"], dtype="str"),
    "empty": np.array([], "U5"),
    "empty objects": np.array([], object),
    "long": np.array(["x" * 5000, "y" * 3], object),
}


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("name", STRINGS)
def test_strings(name: str, zarr_format: int, tmp_path: Path) -> None:
    ds = xr.Dataset({"s": ("x", STRINGS[name]), "n": ("x", np.arange(len(STRINGS[name])))})
    if STRINGS[name].size:
        ds["scalar"] = (), STRINGS[name][1]
    path = tmp_path / "x.zarr"
    zarrds.save(ds, path, zarr_format=zarr_format)
    ours, theirs = open_both(path)
    assert_same(ours, theirs)
    np.testing.assert_array_equal(ours.s.values, np.asarray(ds.s.values, ours.s.dtype))
    again = tmp_path / "again.zarr"
    zarrds.save(ours, again, zarr_format=zarr_format)
    assert_same(xr.open_dataset(again, engine="zarrds"), ours)
    ds.to_zarr(tmp_path / "theirs.zarr", zarr_format=zarr_format)
    ours, theirs = open_both(tmp_path / "theirs.zarr")
    assert_same(ours, theirs)


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("missing", [np.nan, None])
def test_missing_strings(missing: Any, zarr_format: int, tmp_path: Path) -> None:
    ds = xr.Dataset({"s": ("x", np.array(["a", missing, "c"], object))})
    marked = ds.copy(deep=True)
    marked["s"].encoding["_FillValue"] = "n/a"
    for name, dataset in (("marked by us", ds), ("marked", marked)):
        path = tmp_path / f"{name}.zarr"
        zarrds.save(dataset, path, zarr_format=zarr_format)
        ours, theirs = open_both(path)
        assert_same(ours, theirs)
        xr.testing.assert_identical(ours, xr.Dataset({"s": ("x", np.array(["a", np.nan, "c"], object))}))


CFTIME = xr.date_range("2000-02-28", periods=4, freq="D", calendar="noleap", use_cftime=True)
TIMES = {
    **{f"datetime64[{unit}]": np.arange(4).astype(f"M8[{unit}]") for unit in ("s", "ms", "us", "ns")},
    "datetime64 with NaT": np.array(["2019-03-01", "NaT", "2019-03-03T12:30"], "M8[ns]"),
    "all NaT": np.array(["NaT", "NaT"], "M8[ns]"),
    "before 1678": np.array(["1590-10-14", "1677-01-01"], "M8[s]"),
    **{f"timedelta64[{unit}]": np.arange(4).astype(f"m8[{unit}]") for unit in ("s", "ms", "us", "ns")},
    "timedelta64 with NaT": np.array([1, "NaT", 3], "m8[ns]"),
    "cftime": CFTIME.values,
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("name", TIMES)
def test_times(name: str, zarr_format: int, tmp_path: Path) -> None:
    values = TIMES[name]
    ds = xr.Dataset({"t": ("x", values), "first": ((), values[0])})
    if "NaT" not in name:
        ds = ds.assign_coords(x=values)
    path = tmp_path / "x.zarr"
    zarrds.save(ds, path, zarr_format=zarr_format)
    options: dict[str, Any] = {"decode_timedelta": True}
    if name == "before 1678":
        options["decode_times"] = xr.coders.CFDatetimeCoder(time_unit="s")
    ours, theirs = open_both(path, **options)
    xr.testing.assert_identical(ours, theirs)
    xr.testing.assert_identical(ours, ds)
    assert ours.t.dtype == ours["first"].dtype == values.dtype  # which the other engine reads as nanoseconds
    zarrds.save(ours, path, zarr_format=zarr_format, mode="w")
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds", **options), ds)


ATTRIBUTES = {
    "text": 'ü温\n"quoted"',
    "empty": "",
    "number": 1,
    "float": 1.5,
    "nan": np.nan,
    "infinity": -np.inf,
    "none": None,
    "flag": True,
    "list": [1, "a", None, [2.5]],
    "nested": {"a": {"b": [1, 2]}, "": 3},
    "name with spaces and ü": 1,
    "numpy scalar": np.float32(0.5),
    "numpy int": np.int64(2**40),
    "numpy bool": np.bool_(True),
    "numpy text": np.str_("x"),
    "numpy array": np.arange(3),
    "numpy matrix": np.eye(2, dtype="f4"),
    "0-d": np.array(5),
}


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_attributes(zarr_format: int, tmp_path: Path) -> None:
    ds = xr.Dataset({"v": ("x", [1, 2], ATTRIBUTES)}, {"x": ("x", [0, 1], {"axis": "X"})}, ATTRIBUTES)
    path = tmp_path / "x.zarr"
    zarrds.save(ds, path, zarr_format=zarr_format)
    ours, theirs = open_both(path)
    # others see the nearest that JSON has, zarrds what was saved, with its types
    plain = {k: v.tolist() if isinstance(v, np.ndarray | np.generic) else v for k, v in ATTRIBUTES.items()}
    for attrs in (theirs.attrs, theirs.v.attrs):
        np.testing.assert_equal(dict(attrs), plain | {"nan": "NaN", "infinity": -np.finfo(float).max})
    for attrs in (ours.attrs, ours.v.attrs):
        np.testing.assert_equal(dict(attrs), ATTRIBUTES)
        types = {name: type(value) for name, value in ATTRIBUTES.items()}
        assert {name: type(value) for name, value in attrs.items()} == types
    assert ours.x.attrs == {"axis": "X"}
    np.testing.assert_equal(ds.attrs, ATTRIBUTES)  # the caller's own dataset is left alone


NAMES = ["with space", "ü温", "a.b", "-", "0", "c", "UPPER", "Name(x)", "~", "%2F", "a=b&c", "'", '"', "*"]


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_names(zarr_format: int, tmp_path: Path) -> None:
    ds = xr.Dataset({name: (f"dim {name}", np.arange(i)) for i, name in enumerate(NAMES)})
    path = tmp_path / "a store ü.zarr"
    zarrds.save(ds, path, zarr_format=zarr_format)
    ours, theirs = open_both(path)
    assert_same(ours, ds)
    assert_same(theirs, ds)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_cf(zarr_format: int, tmp_path: Path) -> None:
    x = xr.Dataset(
        {
            "packed": ("t", [1.0, np.nan, 3.5], {}, {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -1}),
            "missing": ("t", [1.0, np.nan, 3.5], {}, {"dtype": "f4", "missing_value": -9.0, "_FillValue": -9.0}),
            "unmarked": ("t", [1.0, np.nan, 3.5], {}, {"_FillValue": None}),
            "unsigned": ("t", [1.0, 255.0, np.nan], {}, {"dtype": "u1", "_FillValue": np.uint8(0)}),
            "flag": ("t", [True, False, True]),
            "chars": ("t", np.array([b"ab", b"c", b"de"]), {}, {"dtype": "S1"}),
            "big": ("t", [1.0, 2.0, np.nan], {}, {"dtype": "f8", "_FillValue": 1e20}),
        },
        {
            "t": ("t", pd.date_range("2019-03-01", periods=3, unit="ns"), {"bounds": "t_bounds"}),
            "t_bounds": (("t", "b"), pd.date_range("2019-03-01", periods=6, unit="ns").values.reshape(3, 2)),
            "station": ("t", ["a", "b", "c"]),
            "height": ((), 2.0, {"units": "m"}),
            "mapping": ((), 0, {"grid_mapping_name": "latitude_longitude"}),
        },
    )
    x["packed"].encoding["grid_mapping"] = "mapping"
    x["t"].encoding = {"units": "days since 2000-01-01", "dtype": "f8"}
    path = tmp_path / "x.zarr"
    # asked for, since what only came along gives way where another dtype would be read back
    asked = {n: {k: e for k, e in v.encoding.items() if k != "grid_mapping"} for n, v in x.variables.items()}
    zarrds.save(x, path, zarr_format=zarr_format, encoding=asked)
    for options in (
        {},
        {"decode_cf": False},
        {"decode_coords": "all"},
        {"decode_coords": False},
        {"mask_and_scale": False},
        {"mask_and_scale": {"packed": False}},
        {"decode_times": False},
        {"use_cftime": True},
        {"decode_times": xr.coders.CFDatetimeCoder(time_unit="s")},
        {"concat_characters": False},
        {"decode_timedelta": False},
        {"drop_variables": ["packed", "t"]},
        {"drop_variables": "packed"},
        {"use_zarr_fill_value_as_mask": True} if zarr_format == 2 else {},
    ):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Usage of 'use_cftime' as a kwarg", category=FutureWarning)
            warnings.filterwarnings("ignore", message=".*use_cftime", category=DeprecationWarning)
            ours, theirs = open_both(path, **options)
        # what only `grid_mapping` names stays a coordinate, which the other engine takes for data
        theirs = theirs.set_coords([name for name in ours.coords if name in theirs.data_vars])
        for name, variable in theirs.variables.items():
            if "grid_mapping" in ours[name].encoding and "grid_mapping" in variable.attrs:
                variable.encoding["grid_mapping"] = variable.attrs.pop("grid_mapping")
        assert_same(ours, theirs)
        assert_same_encoding(ours, theirs)
    decoded = xr.open_dataset(path, engine="zarrds", decode_coords="all").load()
    np.testing.assert_array_equal(decoded.packed, [1, np.nan, 3.5])
    np.testing.assert_array_equal(decoded.unsigned, [1, 255, np.nan])
    np.testing.assert_array_equal(decoded.chars, np.array([b"ab", b"c", b"de"]))
    xr.testing.assert_equal(decoded.t_bounds, x.t_bounds)
    assert {"mapping", "t_bounds", "height", "station"} <= set(decoded.coords)


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize(
    "dtype",
    [
        np.dtype([("a", "i4"), ("b", "f8"), ("c", "S3")], align=True),
        np.dtype([("a", "u1"), ("n", np.dtype([("p", "u1"), ("q", "f4")], align=True))], align=True),
        np.dtype({"names": ["a", "b"], "formats": ["u4", "u1"], "offsets": [4, 0], "itemsize": 16}),
    ],
    ids=["aligned", "nested", "gaps"],
)
def test_structures_with_padding(tmp_path: Path, dtype: Any, is_lazy: bool, zarr_format: int) -> None:
    """As C, netCDF's compound types and `np.dtype(align=True)` have them: what lies between the fields is no data."""
    values = np.zeros(5, dtype)
    values["a"] = range(5)
    dataset = xr.Dataset({"v": ("x", values), "one": values[1]})
    path = tmp_path / "s.zarr"
    zarrds.save(dataset.chunk(x=2) if is_lazy else dataset, path, zarr_format=zarr_format)
    zarrds.save(dataset, path, append_dim="x")
    zarrds.save(dataset[["v"]].isel(x=slice(3, 5)), path, region={"x": slice(0, 2)})
    got = xr.open_dataset(path, engine="zarrds")
    assert got.v.values.tolist() == values[[3, 4, 2, 3, 4, 0, 1, 2, 3, 4]].tolist()
    assert got.v.dtype.names == dtype.names
    assert got.one.values.tolist() == values[1].tolist()
    if not dtype["n" if "n" in dtype.names else "a"].names:  # zarr-python knows no structures within structures
        assert np.asarray(zarr.open_array(path / "v", mode="r")[5:]).tolist() == values.tolist()


def test_a_compound_type_of_netcdf(tmp_path: Path) -> None:
    """The netCDF4 module gives all of them with padding."""
    nc = pytest.importorskip("netCDF4")
    dtype = np.dtype([("speed", "f8"), ("flag", "i1")], align=True)
    values = np.array([(1.5, 1), (2.5, -1)], dtype)
    with nc.Dataset(tmp_path / "wind.nc", "w") as file:
        file.createDimension("x", 2)
        file.createVariable("wind", file.createCompoundType(dtype, "wind_t"), ("x",))[:] = values
    with xr.open_dataset(tmp_path / "wind.nc", engine="netcdf4") as ds:
        zarrds.save(ds, tmp_path / "saved.zarr")
    zarrds.convert(tmp_path / "wind.nc", tmp_path / "converted.zarr")
    for name in ("saved.zarr", "converted.zarr"):
        assert xr.open_dataset(tmp_path / name, engine="zarrds").wind.values.tolist() == values.tolist()


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("is_asked", [False, True])
def test_a_fill_value_of_structures(tmp_path: Path, is_asked: bool, zarr_format: int) -> None:
    values = np.array([(1, 0.5), (2, 1.5)], [("a", "i4"), ("b", "f4")])
    dataset, encoding = xr.Dataset({"v": ("x", values)}), {"_FillValue": values[1]}
    if not is_asked:
        dataset.v.encoding = encoding
    zarrds.save(dataset, tmp_path / "s.zarr", encoding={"v": encoding} if is_asked else {}, zarr_format=zarr_format)
    assert xr.open_dataset(tmp_path / "s.zarr", engine="zarrds").v.values.tolist() == values.tolist()
    stored = zarr.open_array(tmp_path / "s.zarr" / "v", mode="r")
    assert np.asarray(stored[...]).tolist() == values.tolist()
    assert np.asarray(stored.fill_value).tolist() == values[1].tolist()


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize(
    "ds",
    [
        xr.Dataset(),
        xr.Dataset(attrs={"only": "attributes"}),
        xr.Dataset(coords={"x": [1, 2]}),
        xr.Dataset(coords={"height": 2.0}),
        xr.Dataset({None: ("x", [1, 2])}),
        xr.Dataset({"e": (("a", "b", "c"), np.empty((0, 3, 0)))}),
        xr.Dataset({"same": ("same", [1, 2]), "d": (("same",), [3, 4])}),
    ],
    ids=["nothing", "attributes", "coordinate", "scalar coordinate", "no name", "empty", "named as its dimension"],
)
def test_odd_datasets(ds: xr.Dataset, zarr_format: int, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    zarrds.save(ds, path, zarr_format=zarr_format)
    ours, theirs = open_both(path)
    assert_same(ours, ds)
    assert_same(theirs, ds)


@pytest.mark.parametrize("dtype", [[("a", ">i4")], [("a", ">i4"), ("b", "<f8")], [("a", [("x", ">f4"), ("y", "S2")])]])
@pytest.mark.parametrize("is_lazy", [False, True])
def test_structured_arrays_of_another_byte_order(tmp_path: Path, dtype: Any, is_lazy: bool) -> None:
    """Which xarray takes for nameless bytes."""
    values = np.zeros(3, dtype)
    values["a"] = np.ones(3, values.dtype["a"])
    dataset = xr.Dataset({"v": ("x", values)})
    zarrds.save(dataset.chunk(x=2) if is_lazy else dataset, tmp_path / "s.zarr", zarr_format=2)
    zarrds.save(dataset, tmp_path / "s.zarr", append_dim="x")
    got = xr.open_dataset(tmp_path / "s.zarr", engine="zarrds").v
    assert got.dtype == values.dtype.newbyteorder("=")
    assert got.values.tolist() == values.tolist() * 2
    assert got[4].values.tolist() == values.tolist()[1]
    if "x" not in str(dtype):  # zarr-python knows no structures within structures
        stored = np.asarray(zarr.open_array(tmp_path / "s.zarr" / "v", mode="r")[...])
        assert stored.tolist() == values.tolist() * 2
