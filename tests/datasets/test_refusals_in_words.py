"""What cannot be stored or decoded is refused by an error of zarrds that names the variable, also in blocks of dask."""

from __future__ import annotations

import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.samples import Format, files, load, variants
from zarrds.errors import EncodingError, InvalidKeyError, LabelError

# attributes, numbers that are stored, numbers that no reader can decode in the middle of others
UNDECODABLE: dict[str, tuple[dict[str, Any], list[float], list[float]]] = {
    "dates": ({"units": "days since 2000-01-01"}, [1.0, 2.0], [1.0, 1e30, 3.0]),
    # pandas 2.3 makes NaT of 1e30 days, in silence
    "durations": ({"units": "days", "dtype": "timedelta64[ns]"}, [1.0, 2.0], [1.0, 1e10, 3.0]),
}


@pytest.mark.parametrize("kind", ["numpy", "dask"])
@pytest.mark.parametrize("way", ["append", "region"])
@pytest.mark.parametrize("case", UNDECODABLE)
def test_numbers_that_cannot_be_decoded(path: Path, case: str, way: str, kind: str, zarr_format: Format) -> None:
    attributes, stored, new = UNDECODABLE[case]
    zarrds.save(xr.Dataset({"v": ("t", stored + stored[:1], attributes)}), path, zarr_format=zarr_format)
    before = files(path)
    raw = xr.Dataset({"v": ("t", new, attributes)})
    raw = raw.chunk(t=1) if kind == "dask" else raw
    with pytest.raises(EncodingError, match="attributes of undecoded data, and cannot be decoded") as caught:
        zarrds.save(raw, path, **({"append_dim": "t"} if way == "append" else {"region": {"t": slice(0, 3)}}))
    assert (caught.value.key, caught.value.path) == ("v", str(path))
    assert files(path) == before


@pytest.mark.parametrize("attributes", [{"scale_factor": 0.5, "_FillValue": -9}, {"missing_value": -9}])
def test_each_block_is_decoded(path: Path, attributes: dict[str, Any]) -> None:
    marked = {key: np.array(value, "i2") if key != "scale_factor" else value for key, value in attributes.items()}
    raw = xr.Dataset({"v": ("t", np.array([1, -9, 3, -9], "i2"), marked)})
    zarrds.save(xr.decode_cf(raw), path)
    zarrds.save(raw.assign(v=raw.v.assign_attrs(add_offset=1.0)).chunk(t=1), path, append_dim="t")
    decoded = xr.decode_cf(raw).v.values
    np.testing.assert_array_equal(load(path).v.values, np.concatenate([decoded, decoded + 1]))


@pytest.mark.filterwarnings("ignore:.*it is computed")
@pytest.mark.parametrize(
    ("calendar", "kind"),
    # those of the standard calendar in memory are added
    [("noleap", "numpy"), ("360_day", "numpy"), ("noleap", "dask"), ("360_day", "dask"), ("standard", "dask")],
)
def test_dates_of_another_calendar(path: Path, calendar: str, kind: str) -> None:
    dates = np.array(xr.date_range("2000-01-01", periods=2, calendar=calendar, use_cftime=True))
    zarrds.save(xr.Dataset({"v": ("t", pd.date_range("2000-01-01", periods=2))}), path)
    before = files(path)
    other = variants(xr.Dataset({"v": ("t", dates)}))[kind]
    with pytest.raises((EncodingError, LabelError), match=r"cftime.*convert_calendar"):
        zarrds.save(other, path, append_dim="t")
    assert files(path) == before


def test_names_of_one_calendar(path: Path) -> None:
    dates = np.array(xr.date_range("2000-01-01", periods=2, calendar="noleap", use_cftime=True))
    ds = xr.Dataset({"v": ("t", dates)})
    ds.v.encoding = {"calendar": "365_day", "units": "days since 2000-01-01"}
    zarrds.save(ds, path)
    zarrds.save(ds, path, append_dim="t")
    assert load(path).v.values.tolist() == [*dates, *dates]


@pytest.mark.parametrize("year", ["-0100", "20000"])
@pytest.mark.parametrize("is_label", [True, False])
def test_years_that_xarray_cannot_write(path: Path, year: str, is_label: bool) -> None:
    times = np.array([f"{year}-01-01", f"{year}-03-01"], "M8[s]")
    ds = (
        xr.Dataset({"v": ("t" if is_label else "v", [1, 2])}, {"t": times})
        if is_label
        else xr.Dataset({"v": ("x", times)})
    )
    with pytest.raises(EncodingError, match=r"years 1 to 9999") as caught:
        zarrds.save(ds, path)
    assert caught.value.key == ("t" if is_label else "v")


@pytest.mark.parametrize("options", [{}, {"append_dim": "t"}, {"mode": "a"}])
def test_sizes_that_dask_does_not_know(path: Path, options: dict[str, Any]) -> None:
    array = pytest.importorskip("dask.array")
    values = array.arange(10, chunks=5)
    unknown = xr.Dataset({"v": xr.Variable("t", values[values > 3])})
    if options:
        zarrds.save(xr.Dataset({"v": ("t", [1, 2])}), path)
    with pytest.raises(EncodingError, match=r"at 'v'.*compute_chunk_sizes\(\)"):
        zarrds.save(unknown, path, **options)


@pytest.mark.parametrize("factor", ["0.1", np.array([0.1, 0.2]), 0, 0.0, np.nan, np.inf])
def test_factors_that_are_no_number(path: Path, factor: Any) -> None:
    ds = xr.Dataset({"v": ("x", [0.5, 1.0])})
    with pytest.raises(EncodingError, match=r"encoding\['scale_factor'\].*Give one number") as caught:
        zarrds.save(ds, path, encoding={"v": {"dtype": "i2", "scale_factor": factor}})
    assert caught.value.key == "v"


def test_text_where_a_factor_should_be(path: Path) -> None:
    raw = xr.Dataset({"v": ("x", np.array([1, 2], "i2"), {"scale_factor": "0.1"})})
    zarrds.save(xr.Dataset({"v": ("x", [1, 2])}), path)
    with pytest.raises(EncodingError, match=r"scale_factor is '0.1', which is no number"):
        zarrds.save(raw, path, append_dim="x")


@pytest.mark.filterwarnings("ignore:Duplicate dimension names")
@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_what_has_the_dimension_twice_is_not_appended_to(path: Path, kind: str, zarr_format: Format) -> None:
    ds = variants(xr.Dataset({"covariance": (("x", "x"), [[1, 2], [2, 5]]), "mean": ("x", [1, 2])}))[kind]
    zarrds.save(ds.isel(x=[]), path, zarr_format=zarr_format)
    zarrds.save(ds, path, append_dim="x")
    assert load(path).identical(ds.load())
    before = files(path)
    with pytest.raises(LabelError, match=r"has the dimension 'x' twice") as caught:
        zarrds.save(ds, path, append_dim="x")
    assert caught.value.key == "covariance"
    assert files(path) == before
    zarrds.save(ds.isel(x=[]), path, append_dim="x")
    assert load(path).identical(ds)


INFERRED = pytest.mark.skipif(pd.__version__ < "3", reason="xarray makes times of such labels with pandas 2")


@pytest.mark.parametrize(
    ("value", "mend"),
    [
        (datetime.date(2000, 1, 1), "to_datetime"),
        pytest.param(pd.Timestamp("2000-01-01"), "to_datetime", marks=INFERRED),
        pytest.param(datetime.timedelta(1), "to_timedelta", marks=INFERRED),
        (2**70, "beyond 64 bits"),
        (datetime.time(1), "as text"),
        ({"a": 1}, "as text"),
    ],
    ids=str,
)
def test_objects_are_refused_with_a_mend_of_their_own(value: Any, mend: str, path: Path) -> None:
    labels = np.empty(2, object)
    labels[:] = [value, value]
    with pytest.raises(EncodingError, match=rf"at 'x'.*{mend}"):
        zarrds.save(xr.Dataset({"v": ("x", [1, 2])}, {"x": pd.Index(labels, dtype=object)}), path)
    assert not path.exists()


@pytest.mark.parametrize("calendar", ["standard", "noleap"])
def test_units_in_which_nothing_is_written(path: Path, calendar: Any) -> None:
    times = xr.date_range("2000-01-01", periods=2, calendar=calendar, use_cftime=calendar != "standard")
    with pytest.raises(EncodingError, match=r"at 'T'.*change encoding\['units'\]"):
        zarrds.save(xr.Dataset(coords={"T": times}), path, encoding={"T": {"units": "months since 1960-01-01"}})


@pytest.mark.parametrize("values", [[2**63, -1], [-1, 2**63]])
def test_integers_that_no_dtype_holds_together(path: Path, values: list[int]) -> None:
    with pytest.raises(EncodingError, match=r"at 'v'.*beyond 64 bits"):
        zarrds.save(xr.Dataset({"v": ("x", np.array(values, object))}), path)


@pytest.mark.parametrize("encoding", ["", "klingon"])
def test_text_for_an_array_whose_encoding_nobody_knows(path: Path, encoding: str, zarr_format: Format) -> None:
    """It is another tool's; zarrds does not save such."""
    xr.Dataset({"v": ("t", np.array([b"ab", b"c"]))}).to_zarr(path, zarr_format=zarr_format, consolidated=False)
    zarr.open_array(path / "v", mode="r+").attrs["_Encoding"] = encoding
    before = files(path)
    with pytest.raises(EncodingError, match="unknown encoding") as caught:
        zarrds.save(xr.Dataset({"v": ("t", ["d"])}), path, append_dim="t")
    assert (caught.value.key, caught.value.path) == ("v", str(path))
    assert files(path) == before


@pytest.mark.parametrize("name", [None, "", 0, 1.5, ("a", 1), True, b"b", np.int64(3), frozenset({1})], ids=repr)
@pytest.mark.parametrize("role", ["data", "coordinate", "dimension"])
def test_names_that_are_none(path: Path, name: Any, role: str) -> None:
    v = xr.Variable("x", [1, 2])
    named = {
        "data": lambda name: xr.Dataset().assign({name: v}),
        "coordinate": lambda name: xr.Dataset({"v": v}).assign_coords({name: v}),
        "dimension": lambda name: xr.Dataset({"v": xr.Variable((name,), [1, 2])}),
    }[role]
    if (role, name) in (("data", None), ("dimension", "")):
        zarrds.save(named(name), path)
        assert load(path).identical(named(name))
        return
    with pytest.raises(EncodingError, match="Rename it"):
        zarrds.save(named(name), path)
    assert not path.exists()
    zarrds.save(named("w"), path)
    before = files(path)
    for how in ({"mode": "a"}, {"append_dim": "x"}, {"region": {"x": slice(0, 1)}}):
        with pytest.raises(zarrds.errors.ZarrdsError):
            zarrds.save(named(name), path, **how)
    assert files(path) == before


@pytest.mark.parametrize("name", ["zarr.json", ".zgroup", "a/.zarray", "zarr.json/a"])
def test_groups_that_would_lie_where_documents_do(path: Path, name: str, zarr_format: Format) -> None:
    """The advice was to remove the file, which is the store's own document."""
    part = xr.Dataset({"v": ("t", [1.0])})
    with pytest.raises(InvalidKeyError, match="no array or group can be called so"):
        zarrds.save(xr.DataTree.from_dict({name: part}), path, zarr_format=zarr_format)
    assert not path.exists()
    zarrds.save(part, path, zarr_format=zarr_format)
    before = files(path)
    with pytest.raises(InvalidKeyError) as caught:
        zarrds.save(part, path, group=name)
    assert (caught.value.key, caught.value.path) == (name.removesuffix("/a"), str(path))
    for create in (zarrds.create_group, zarrds.create_array):
        options: dict[str, Any] = {"shape": 3, "dtype": "i4"} if create is zarrds.create_array else {}
        with pytest.raises(InvalidKeyError, match="no array or group can be called so"):
            create(path, path=name, zarr_format=zarr_format, **options)
    assert files(path) == before


@pytest.mark.parametrize(
    ("given", "meant"),
    {
        "chunk": "Did you mean 'chunks'",
        "shard": "Did you mean 'shards'",
        "dtyp": "Did you mean 'dtype'",
        "_Fillvalue": "Did you mean '_FillValue'",
        "scale_facter": "Did you mean 'scale_factor'",
        "compressor": "Use compressors",
        "compression": "Use compressors",  # of netCDF4 and h5netcdf, as the next ones
        "least_significant_digit": "numcodecs.quantize",
        "significant_digits": "bitround",
        "szip_coding": "no szip",
    }.items(),
)
def test_keys_of_encodings_that_are_misspelt_or_of_another_engine(path: Path, given: str, meant: str) -> None:
    with pytest.raises(EncodingError, match=f"at 'v'.*{meant}"):
        zarrds.save(xr.Dataset({"v": ("x", [0.5, 1.0])}), path, encoding={"v": {given: 1}})
    assert not path.exists()


@pytest.mark.parametrize("kind", ["numpy", "dask"])
@pytest.mark.parametrize(
    ("values", "marker", "expected"),
    [
        (np.uint32([1, 2]), -1, "-1, which is no uint32"),
        (np.int8([1, 2]), 200, "200, which is no int8"),
        (np.array([0.5, 1.0]), "x", "'x', which is no float64"),
        (np.array([0.5, 1.0]), {}, "{}, which is no float64"),
        (np.array([0.5, 1.0]), 1j, "1j, which is no float64"),
        (np.array([0.5, 1.0]), pd.NA, "<NA>, which is no float64"),
        (np.array([True, False]), "x", "'x', which is no bool"),
        (np.array([0, 1], "M8[ns]"), "x", "'x', which is no number, as which times are stored"),
    ],
)
def test_markers_that_the_stored_dtype_cannot_have(
    path: Path, values: Any, marker: Any, expected: str, kind: str
) -> None:
    ds = variants(xr.Dataset({"v": ("x", values)}))[kind]
    with pytest.raises(EncodingError, match=rf"encoding\['_FillValue'\] is {expected}.*at 'v'.*Give one value"):
        zarrds.save(ds, path, encoding={"v": {"_FillValue": marker}})
    assert not path.exists()


@pytest.mark.parametrize("marker", [10**30, -(10**400), Fraction(1, 2), float("inf")])
def test_markers_that_no_integer_can_be(path: Path, marker: Any) -> None:
    """Those that NumPy has no numbers for were told as an error of its own, also where they came along."""
    ds = xr.Dataset({"v": ("x", np.int16([1, 2]))})
    with pytest.raises(EncodingError, match=r"encoding\['_FillValue'\] is .*, which is no int16 .*at 'v'"):
        zarrds.save(ds, path, encoding={"v": {"_FillValue": marker}})
    ds.v.encoding["_FillValue"] = marker
    with pytest.warns(xr.SerializationWarning, match="'v' .*which is no int16"):
        zarrds.save(ds, path)
    xr.testing.assert_identical(load(path), ds)


@pytest.mark.filterwarnings("ignore:variable 'v' will be stored as signed")  # of xarray
def test_markers_of_the_other_sign_belong_to_unsigned(path: Path) -> None:
    ds = xr.Dataset({"v": ("x", [200.0, np.nan])})
    zarrds.save(ds, path, encoding={"v": {"dtype": "i1", "_Unsigned": "true", "_FillValue": 255}})
    assert load(path).v.values.tolist()[0] == 200
    assert np.isnan(load(path).v[1])


@pytest.mark.parametrize("dtype", [[], np.dtype([]), "int7", 5, "category", "M8[ns]"])
@pytest.mark.parametrize("values", [[0.5, 1.0], [1, 2], ["a", "b"], [True, False]])
def test_dtypes_that_are_none(path: Path, dtype: Any, values: Any) -> None:
    with pytest.raises(EncodingError, match=r"encoding\['dtype'\] is .*at 'v'\). Give one that such data can be"):
        zarrds.save(xr.Dataset({"v": ("x", values)}), path, encoding={"v": {"dtype": dtype}})
    assert not path.exists()


@pytest.mark.parametrize("values", [[0.5, 1.0], [1, 2], [True, False]])
def test_numbers_as_objects_stay_as_they_are(path: Path, values: Any) -> None:
    ds = xr.Dataset({"v": ("x", values)})
    zarrds.save(ds, path, encoding={"v": {"dtype": object}})
    ds.to_zarr(path.with_name("xarray.zarr"), encoding={"v": {"dtype": object}})
    theirs = xr.open_dataset(path.with_name("xarray.zarr"), engine="zarr", chunks=None)
    assert load(path).identical(theirs.load())
    assert load(path).v.dtype == ds.v.dtype


NO_MARKERS: list[tuple[Any, Any]] = [
    *((np.arange(4, dtype=dtype), np.datetime64("NaT")) for dtype in ("u1", "i2", "i8", "f4")),
    *((np.arange(4, dtype=dtype), np.timedelta64(1, "D")) for dtype in ("u1", "f8")),
    *((np.array(["", "a", "b", "c"], dtype), mark) for dtype in (object, "U1", "T") for mark in ("\0", "a\0", {})),
    *((np.array(["a", "b", "c", None], object), mark) for mark in ("\0", "-\0")),
    *((np.array([b"", b"a", b"b", b"c"]), mark) for mark in (b"\0", {})),
]


@pytest.mark.filterwarnings("ignore:encodings that came along")
@pytest.mark.parametrize("key", ["_FillValue", "missing_value"])
@pytest.mark.parametrize("is_dask", [False, True])
@pytest.mark.parametrize(("values", "marker"), NO_MARKERS)
def test_markers_beside_which_values_do_not_come_back(
    values: Any, marker: Any, is_dask: bool, key: str, path: Path, zarr_format: Format
) -> None:
    ds = xr.Dataset({"v": ("x", values)})
    given = ds.chunk(x=2) if is_dask else ds
    with pytest.raises(EncodingError) as caught:
        zarrds.save(given, path, encoding={"v": {key: marker}}, zarr_format=zarr_format)
    assert caught.value.key == "v"
    assert not path.exists()
    given.v.encoding[key] = marker
    zarrds.save(given, path, zarr_format=zarr_format)
    found = load(path).v.values
    np.testing.assert_array_equal(pd.isnull(found), pd.isnull(values))
    np.testing.assert_array_equal(found[~pd.isnull(values)], values[~pd.isnull(values)])


@pytest.mark.parametrize("wrong", [[], [None], {}, 5])
def test_bounds_that_are_no_name(path: Path, wrong: Any) -> None:
    """xarray's zarr engine could not open the store."""
    dates = xr.Dataset({"v": ("x", np.array(["2000-01-01"], "M8[ns]"))})
    with pytest.raises(EncodingError, match=r"encoding\['bounds'\] is no name .*at 'v'"):
        zarrds.save(dates, path, encoding={"v": {"bounds": wrong}})
    assert not path.exists()


@pytest.mark.parametrize("is_dask", [False, True])
@pytest.mark.parametrize("key", ["chunks", "shards"])
def test_chunks_beyond_all_arrays(path: Path, key: str, is_dask: bool) -> None:
    ds = xr.Dataset({"v": ("x", np.arange(4))})
    with pytest.raises(EncodingError, match=r"chunks are too large .*at 'v'"):
        zarrds.save(ds.chunk(x=2) if is_dask else ds, path, encoding={"v": {key: 2**70, "compressors": None}})
    assert not path.exists()
