"""The same stores through zarrds, xarray's zarr engine (zarr-python) and TensorStore."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorstore
import xarray as xr
import zarr
import zarr.codecs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numcodecs import Blosc, Zstd

import zarrds

FORMATS = [3, 2]
REAL_FILES = ["eraint_uvz.nc", "era5_t2m_uk_2019-03.nc", "basin_mask.nc"]


def open_both(path: Path, **options: Any) -> tuple[xr.Dataset, xr.Dataset]:
    """The store through zarrds and through zarr-python, loaded."""
    ours = xr.open_dataset(path, engine="zarrds", **options).load()
    theirs = xr.open_dataset(path, engine="zarr", **options).load()
    return ours, theirs


def dtypes(ds: xr.Dataset) -> dict[Any, Any]:
    # strings of any length are objects in zarrds, as in the netCDF engines, and StringDType in the zarr engine
    return {n: np.dtype(object) if v.dtype.kind == "T" else v.dtype for n, v in ds.variables.items()}


def assert_same(actual: xr.Dataset, expected: xr.Dataset) -> None:
    """Identical, and more than that: dtypes, index types, the order of names, dimensions and their order."""
    xr.testing.assert_identical(actual, expected)
    assert dtypes(actual) == dtypes(expected)
    assert {n: type(i) for n, i in actual.indexes.items()} == {n: type(i) for n, i in expected.indexes.items()}
    assert {n: v.dims for n, v in actual.variables.items()} == {n: v.dims for n, v in expected.variables.items()}


def assert_same_encoding(actual: xr.Dataset, expected: xr.Dataset) -> None:
    """The encodings agree, but for codecs, which each engine gives as its own objects."""
    codecs = {"compressors", "filters", "serializer"}
    for name, variable in actual.variables.items():
        ours = {k: v for k, v in variable.encoding.items() if k not in codecs}
        theirs = {k: v for k, v in expected.variables[name].encoding.items() if k not in codecs | {"source"}}
        ours.pop("source", None)
        np.testing.assert_equal(ours, theirs)


def documents(path: Path) -> dict[str, Any]:
    """Of each array: shape, chunks, dtype and codecs, as its own document says."""
    found = {}
    for file in [*path.rglob("zarr.json"), *path.rglob(".zarray")]:
        document = json.loads(file.read_text())
        if file.name == ".zarray" or document["node_type"] == "array":
            kept = "shape chunk_grid chunks data_type dtype codecs compressor filters order".split()
            found[str(file.parent.relative_to(path))] = {k: document[k] for k in kept if k in document}
    return found


def normalised(found: dict[str, Any]) -> dict[str, Any]:
    """`documents`, without what can be left out, and without the byte order, which xarray makes native."""
    for document in found.values():
        for codec in document.get("codecs", []):
            codec.get("configuration", {}).pop("typesize", None)
            if not codec.get("configuration", True):
                del codec["configuration"]
        if document.get("compressor"):
            document["compressor"].setdefault("checksum", False)
        if isinstance(document.get("dtype"), str):
            document["dtype"] = document["dtype"].replace(">", "<")
    return found


def read_with_tensorstore(path: Path, zarr_format: int) -> np.ndarray[Any, Any]:
    driver = "zarr3" if zarr_format == 3 else "zarr"
    return np.asarray(
        tensorstore.open({"driver": driver, "kvstore": {"driver": "file", "path": str(path)}}).result().read().result()
    )


# real data


# eraint_uvz.nc marks int16 data as missing with NaN, of which xarray warns
REAL = pytest.mark.filterwarnings(
    "ignore:variable .* has non-conforming '_FillValue'", "ignore:saving variable .* without any _FillValue"
)


@pytest.fixture(params=REAL_FILES)
def real(request: pytest.FixtureRequest, data_dir: Path) -> Iterator[xr.Dataset]:
    with xr.open_dataset(data_dir / request.param, engine="netcdf4") as ds:
        yield ds


@REAL
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_real_data_saved_by_zarrds(real: xr.Dataset, zarr_format: int, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    zarrds.save(real, path, zarr_format=zarr_format)
    ours, theirs = open_both(path)
    assert_same(ours, real.load())
    assert_same(theirs, real)
    assert_same_encoding(ours, theirs)
    raw = xr.open_dataset(path, engine="zarr", decode_cf=False).load()
    for name, variable in raw.variables.items():
        np.testing.assert_array_equal(read_with_tensorstore(path / str(name), zarr_format), variable.values)


CODECS_V3 = {
    "default": "auto",
    "blosc": [zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")],
    "zstd": [zarr.codecs.ZstdCodec(level=3, checksum=True)],
    "gzip+crc": [zarr.codecs.GzipCodec(level=1), zarr.codecs.Crc32cCodec()],
    "none": None,
}
CODECS_V2 = {
    "default": "auto",
    "blosc": [Blosc(cname="blosclz", clevel=3, shuffle=Blosc.SHUFFLE)],
    "zstd": [Zstd(level=3)],
    "none": None,
}


@pytest.mark.one_in(4)
@REAL
@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize(
    ("zarr_format", "compressors"),
    [pytest.param(3, c, id=f"v3-{n}") for n, c in CODECS_V3.items()]
    + [pytest.param(2, c, id=f"v2-{n}") for n, c in CODECS_V2.items()],
)
def test_real_data_saved_by_zarr(
    real: xr.Dataset, zarr_format: int, compressors: Any, consolidated: bool, tmp_path: Path
) -> None:
    # a day, if there are days
    ds = real.isel({dim: slice(24) for dim in real.dims if "time" in str(dim)}).load().drop_encoding()
    path = tmp_path / "x.zarr"
    encoding = {} if compressors == "auto" else {name: {"compressors": compressors} for name in ds.variables}
    ds.to_zarr(path, zarr_format=zarr_format, encoding=encoding, consolidated=consolidated)
    ours, theirs = open_both(path, **({} if consolidated else {"consolidated": False}))
    assert_same(ours, theirs)
    assert_same(ours, ds)
    assert_same_encoding(ours, theirs)


# encodings survive


def small() -> xr.Dataset:
    rng = np.random.default_rng(0)
    temperature = rng.normal(280, 5, (6, 4, 5)).round(2)
    temperature[2, 1, 3] = np.nan
    return xr.Dataset(
        {
            "t2m": (("time", "y", "x"), temperature, {"units": "K"}),
            "count": (("y", "x"), rng.integers(0, 100, (4, 5), "i4")),
            "name": ("y", np.array(["a", "bb", "", "ü"], object)),
        },
        {
            "time": pd.date_range("2019-03-01", periods=6, freq="6h", unit="ns"),
            "y": [1.5, 2.5, 3.5, 4.5],
            "x": np.arange(5, dtype="i2"),
        },
        {"title": "small"},
    )


def rich_encoding(zarr_format: int) -> dict[str, Any]:
    blosc: Any = zarr.codecs.BloscCodec(cname="zstd", clevel=7, shuffle="shuffle", typesize=2)
    zstd: Any = zarr.codecs.ZstdCodec(level=2)
    more: dict[str, Any] = {"filters": [zarr.codecs.TransposeCodec(order=(1, 0))]}
    if zarr_format == 2:
        blosc, zstd, more = Blosc("zstd", 7, Blosc.SHUFFLE), Zstd(2), {}
    packed = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -9999}
    return {
        "t2m": {**packed, "chunks": (2, 3, 5), "compressors": [blosc]},
        "count": {"chunks": (2, 2), "compressors": [zstd], **more},
        "time": {"units": "hours since 2000-01-01", "dtype": "i4", "compressors": None},
    }


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("opened_with", ["zarr", "zarrds"])
def test_saving_what_was_opened_keeps_chunks_and_codecs(opened_with: str, zarr_format: int, tmp_path: Path) -> None:
    first, second = tmp_path / "1.zarr", tmp_path / "2.zarr"
    ds = small()
    if (opened_with, zarr_format) == ("zarr", 2):
        # the zarr engine gives it as StringDType, which xarray's own encoder makes strings of fixed length for v2
        del ds["name"]
    ds.to_zarr(first, zarr_format=zarr_format, encoding=rich_encoding(zarr_format))
    for chunks in (None, {}):
        opened = xr.open_dataset(first, engine=opened_with, chunks=chunks)
        zarrds.save(opened, second, zarr_format=zarr_format, mode="w")
        ours, theirs = open_both(second)
        assert_same(ours, opened.load())
        assert_same(theirs, ours)
        assert normalised(documents(second)) == normalised(documents(first))


def test_a_store_of_one_format_saved_in_the_other(tmp_path: Path) -> None:
    for before, after in ((2, 3), (3, 2)):
        first, second = tmp_path / f"{before}.zarr", tmp_path / f"{before}-{after}.zarr"
        zarrds.save(small().drop_vars("name"), first, zarr_format=before)
        for engine in ("zarrds", "zarr"):
            opened = xr.open_dataset(first, engine=engine)
            zarrds.save(opened, second, zarr_format=after, mode="w")
            ours, theirs = open_both(second)
            assert_same(ours, opened.load())
            assert_same(theirs, ours)


def test_opened_with_zarrds_saved_with_to_zarr(tmp_path: Path) -> None:
    zarrds.save(small(), tmp_path / "1.zarr", encoding=rich_encoding(3))
    opened = xr.open_dataset(tmp_path / "1.zarr", engine="zarrds")
    opened.to_zarr(tmp_path / "2.zarr", zarr_format=3)
    ours, theirs = open_both(tmp_path / "2.zarr")
    assert_same(ours, opened.load())
    assert_same(theirs, ours)
    found = normalised(documents(tmp_path / "2.zarr"))
    expected = normalised(documents(tmp_path / "1.zarr"))
    assert {n: d["chunk_grid"] for n, d in found.items()} == {n: d["chunk_grid"] for n, d in expected.items()}
    for name in ("t2m", "count"):
        assert found[name]["codecs"] == expected[name]["codecs"]


# every kind of data

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
        ds["scalar"] = ds.s[1]
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


# trees


def tree() -> xr.DataTree:
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset({"top": ("y", [1.0, 2.0])}, {"y": [10, 20], "height": 2.0}, {"title": "root"}),
            "/a": xr.Dataset({"v": (("y", "x"), np.arange(6.0).reshape(2, 3))}, {"x": list("abc")}),
            "/a/b": xr.Dataset(
                {"w": ("t", [1, 2])}, {"t": pd.date_range("2019-03-01", periods=2, unit="ns")}, {"n": 1}
            ),
            "/empty": xr.Dataset(),
            "/p/q/r": xr.Dataset({"deep": 5}),
            "/with space": xr.Dataset({"v": ("y", [3, 4])}),
        }
    )


@pytest.mark.one_in(4)
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("saved_with", ["zarrds", "zarr"])
@pytest.mark.parametrize("inherited", [False, True])
def test_trees(saved_with: str, zarr_format: int, inherited: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    if saved_with == "zarrds":
        zarrds.save(tree(), path, zarr_format=zarr_format, write_inherited_coords=inherited)
    else:
        tree().to_zarr(path, zarr_format=zarr_format, write_inherited_coords=inherited)
    for group in (None, "/", "a", "/a/", "a/b", "p"):
        ours = xr.open_datatree(path, engine="zarrds", group=group)
        theirs = xr.open_datatree(path, engine="zarr", group=group)
        xr.testing.assert_identical(ours.load(), theirs.load())
        if group is None:
            xr.testing.assert_identical(ours, tree())
            assert [n.path for n in ours.subtree] == [n.path for n in theirs.subtree]
        our_groups = xr.open_groups(path, engine="zarrds", group=group)
        their_groups = xr.open_groups(path, engine="zarr", group=group)
        assert set(our_groups) == set(their_groups)
        for name, ds in our_groups.items():
            assert_same(ds.load(), their_groups[name].load())
    for group in ("", "/", "a", "/a", "a/b/", "p", "with space"):
        ours, theirs = open_both(path, group=group)
        assert_same(ours, theirs)
    assert ("y" in xr.open_dataset(path, engine="zarrds", group="a").coords) == inherited


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_part_of_a_tree(zarr_format: int, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    zarrds.save(tree()["a"], path, zarr_format=zarr_format, encoding={"/a/b": {"w": {"dtype": "f4"}}})
    for engine in ("zarrds", "zarr"):
        found = xr.open_datatree(path, engine=engine)
        assert found["b/w"].encoding["dtype"] == np.dtype("f4")
        assert list(found.coords) == ["y", "x"] or set(found.coords) == {"x", "y", "height"}
        np.testing.assert_array_equal(found["v"], tree()["a/v"])


def test_a_tree_in_a_group(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    zarrds.save(small(), path)
    zarrds.save(tree(), path, group="trees/one")
    assert_same(xr.open_dataset(path, engine="zarr").load(), small())
    for engine in ("zarrds", "zarr"):
        xr.testing.assert_identical(xr.open_datatree(path, engine=engine, group="trees/one").load(), tree())


# anything


def labels(size: int) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.permutations(range(size)).map(np.array),
        st.just(pd.date_range("2000-01-01", periods=size, freq="7h", unit="ns")),
        st.just(np.array([f"n{i}" for i in range(size)])),
        st.just(np.linspace(-1, 1, size, dtype="f4")),
    )


DTYPES = st.one_of(
    st.sampled_from([np.dtype(d) for d in ["?", "i1", "u2", "i4", "i8", "u8", "f2", "f4", "f8", "c16", ">i2", ">f8"]]),
    st.sampled_from([np.dtype("M8[ns]"), np.dtype("m8[ns]")]),
    st.sampled_from([np.dtype("S3"), np.dtype("U3"), np.dtype("O")]),
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3)


def elements(dtype: np.dtype[Any]) -> st.SearchStrategy[Any] | None:
    if dtype.kind in "OU":
        return TEXT
    if dtype.kind in "Mm":  # years that every unit of xarray's default encoding can tell
        return st.integers(-(10**17), 10**18).map(lambda n: np.array(n).astype(dtype)[()])
    return None


@st.composite
def datasets(draw: st.DrawFn) -> xr.Dataset:
    sizes = {dim: draw(st.integers(0, 4)) for dim in draw(st.sets(st.sampled_from(["x", "y", "t z"])))}
    coords = {dim: draw(labels(size)) for dim, size in sizes.items() if draw(st.booleans())}
    names = draw(st.sets(st.sampled_from(["a", "b.c", "ü d", "0"]), max_size=3))
    variables = {}
    for name in names:
        dims = draw(st.permutations(sorted(sizes)))[: draw(st.integers(0, len(sizes)))]
        dtype = draw(DTYPES)
        shape = tuple(sizes[dim] for dim in dims)
        if dtype.kind == "O":
            count = int(np.prod(shape, dtype=int))
            data: Any = np.empty(count, object)
            data[:] = draw(st.lists(TEXT, min_size=count, max_size=count))
            data = data.reshape(shape)
        else:
            data = draw(npst.arrays(dtype, shape, elements=elements(dtype)))
        attrs = draw(st.dictionaries(TEXT.filter(bool).map("k".__add__), st.one_of(st.integers(), TEXT), max_size=2))
        variables[name] = (dims, data, attrs)
    scalars = dict.fromkeys(draw(st.sets(st.sampled_from(["height", "level"]))), 2.5)
    return xr.Dataset(variables, coords | scalars, draw(st.dictionaries(st.just("k"), TEXT)))


@settings(max_examples=25)
@given(ds=datasets(), zarr_format=st.sampled_from(FORMATS), chunk=st.integers(1, 3), automatic=st.booleans())
def test_any_dataset(
    ds: xr.Dataset, zarr_format: int, chunk: int, automatic: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "x.zarr"
    encoding = {} if automatic else {n: {"chunks": (chunk,) * v.ndim} for n, v in ds.variables.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Times can't be serialized faithfully")
        zarrds.save(ds, path, zarr_format=zarr_format, encoding=encoding)
        ours, theirs = open_both(path, decode_timedelta=True)
        assert_same(ours, theirs)
        xr.testing.assert_identical(ours, ds)
        again = path.with_name("again.zarr")
        zarrds.save(xr.open_dataset(path, engine="zarrds", decode_timedelta=True), again, zarr_format=zarr_format)
    xr.testing.assert_identical(xr.open_dataset(again, engine="zarrds", decode_timedelta=True), ds)
    assert normalised(documents(again)) == normalised(documents(path))


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
