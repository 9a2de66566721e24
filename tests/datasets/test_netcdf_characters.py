"""Text that a netCDF file has as characters becomes text in Zarr, and characters again in netCDF."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import Format, change_notes, load
from zarrds.errors import EncodingError

NAMES = ["Łódź", "Køln", ""]
CODES = np.array([b"ab", b"cdef", b"x"], "S4")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Stations with names as UTF-8 and in Latin 1, and codes without an encoding."""
    path = tmp_path / "source.nc"
    with netCDF4.Dataset(path, "w") as file:
        for dim, size in {"station": 3, "strlen": 8, "codelen": 4}.items():
            file.createDimension(dim, size)
        for name, text in {"name": "utf-8", "old_name": "iso-8859-1", "station": "utf-8"}.items():
            texts = ["Køln", "ab", "cd"] if name == "old_name" else NAMES
            variable = file.createVariable(name, "S1", ("station", "strlen"))
            rows = [t.encode(text).ljust(8, b"\0") for t in texts]
            variable.set_auto_chartostring(False)
            variable[:] = np.array(rows, "S8").view("S1").reshape(3, 8)
            variable._Encoding = text
        file.createVariable("code", "S1", ("station", "codelen"))[:] = netCDF4.stringtochar(CODES)
    return path


def header(path: Path) -> dict[str, tuple[Any, ...]]:
    """Dimensions, types and encodings of a netCDF file's variables."""
    with netCDF4.Dataset(path) as file:
        return {
            name: (v.dtype, v.dimensions, v.shape, getattr(v, "_Encoding", None)) for name, v in file.variables.items()
        }


def lazily(ds: xr.Dataset) -> xr.Dataset:
    return ds.chunk(station=2)


@pytest.mark.filterwarnings("ignore:String dimension length mismatch")  # of xarray, which counts letters and not bytes
@pytest.mark.filterwarnings("ignore:.*it is computed, to see how long")
@pytest.mark.parametrize("change", [xr.Dataset.load, lazily])
def test_characters_come_back(
    source: Path, path: Path, zarr_format: Format, change: Callable[[xr.Dataset], xr.Dataset]
) -> None:
    """Also from a store that was made of the store."""
    with xr.open_dataset(source) as given, warnings.catch_warnings():
        given.to_netcdf(expected := source.with_name("expected.nc"))
        warnings.simplefilter("error", xr.SerializationWarning)
        zarrds.save(change(given), path, zarr_format=zarr_format)
        zarrds.save(change(load(path, "zarrds")), again := path.with_name("again.zarr"), zarr_format=zarr_format)
        for store in (path, again):
            found = load(store, "zarrds")
            xr.testing.assert_identical(found, given.load())
            keys = ("dtype", "char_dim_name", "original_shape", "_Encoding")
            for name, variable in given.variables.items():
                assert {k: found[name].encoding.get(k) for k in keys} == {k: variable.encoding.get(k) for k in keys}
            found.to_netcdf(made := source.with_name("made.nc"))
            assert header(made) == header(expected)
            with xr.open_dataset(made) as read:
                xr.testing.assert_identical(read, given)
    xr.testing.assert_identical(load(path, "zarr"), given)
    assert zarrds.verify(path).ok


def test_longer_text_gets_characters_of_its_own(source: Path, path: Path) -> None:
    """Their number is no more that of the file, and other variables may have that."""
    with xr.open_dataset(source) as given:
        zarrds.save(given, path)
    added = xr.Dataset(
        {
            "name": ("station", ["a name of many letters"]),
            "old_name": ("station", ["b"]),
            "code": ("station", [b"ghijkl"]),
        },
        {"station": ["Z"]},
    )
    zarrds.save(added, path, append_dim="station", on_unordered="append")
    found = load(path, "zarrds")
    assert found.code.values.tolist() == [*CODES.tolist(), b"ghijkl"]
    with pytest.warns(UserWarning, match="String dimension length mismatch"):
        found.to_netcdf(made := source.with_name("made.nc"))
    dims = {name: dims for name, (_, dims, _, _) in header(made).items()}
    assert dims["code"] == ("station", "codelen6")
    assert dims["name"] == ("station", "strlen22")


def test_export_names_them(source: Path, path: Path) -> None:
    """But if several of one name have other numbers of characters."""
    with xr.open_dataset(source) as given:
        codes = given[["code"]].drop_vars("station").load()
    codes["others"] = codes.code.astype("S7")
    codes.others.encoding = codes.code.encoding
    zarrds.save(codes[["code"]], path)
    zarrds.save(codes, both := path.with_name("both.zarr"))
    zarrds.export(path, made := source.with_name("made.nc"))
    assert header(made)["code"] == header(source)["code"]
    zarrds.export(both, made, overwrite=True)
    assert [dims for _, dims, _, _ in header(made).values()] == [("station", "string4"), ("station", "string7")]


@pytest.mark.filterwarnings("ignore:String dimension length mismatch")
@pytest.mark.parametrize("renamed", [{"code": "codelen"}, {"number": "codelen"}, {"station": "codelen"}])
def test_names_that_are_taken_are_no_dimension_of_characters(
    source: Path, path: Path, renamed: dict[str, str], zarr_format: Format
) -> None:
    """As a variable it would hold labels of the characters, and as a dimension rows of them."""
    with xr.open_dataset(source) as given:
        ds = given[["name", "code"]].drop_vars("station").assign(number=("station", [1, 2, 3])).rename(renamed).load()
    zarrds.save(ds, path, zarr_format=zarr_format)
    zarrds.export(path, exported := source.with_name("exported.nc"))
    load(path, "zarrds").to_netcdf(made := source.with_name("made.nc"))
    for file in (exported, made):
        with xr.open_dataset(file) as read:
            xr.testing.assert_identical(read, ds)


@pytest.mark.parametrize("name", ["x" * 300, " x", "a/b"])
def test_names_that_netcdf_cannot_have_are_not_exported(source: Path, path: Path, name: str) -> None:
    with xr.open_dataset(source) as given:
        codes = given[["code"]].drop_vars("station").load()
    codes.code.encoding["char_dim_name"] = name
    zarrds.save(codes, path)
    zarrds.export(path, made := source.with_name("made.nc"))
    assert header(made)["code"][1] == ("station", "string4")


@pytest.mark.filterwarnings("ignore:String dimension length mismatch")
def test_a_label_that_was_selected_keeps_its_characters(source: Path, path: Path) -> None:
    """Its text is NumPy's, of a fixed length."""
    with xr.open_dataset(source) as given:
        one = given[["code"]].isel(station=0).load()
    assert one.station.dtype.kind == "U"
    zarrds.save(one, path)
    found = load(path, "zarrds").station
    xr.testing.assert_identical(found, one.station)
    assert found.dtype == one.station.dtype
    assert found.encoding["_Encoding"] == "utf-8"
    found.to_netcdf(made := source.with_name("made.nc"))
    assert header(made)["station"] == ("S1", ("strlen7",), (7,), "utf-8")


def test_xarray_saves_what_was_opened(source: Path, path: Path) -> None:
    """As the bytes that it makes of characters: the serializer of text takes none."""
    with xr.open_dataset(source) as given:
        zarrds.save(given, path)
        load(path, "zarrds").to_zarr(again := path.with_name("again.zarr"))
        xr.testing.assert_identical(load(again, "zarr"), given)


@pytest.mark.parametrize("encoding", ["nonsense", "rot13", "utf-16", "", "\0"])
def test_encodings_that_are_none_are_left_out(source: Path, path: Path, encoding: str) -> None:
    """Those that came along, and those that a store notes."""
    with xr.open_dataset(source) as given:
        ds = given[["name"]].drop_vars("station").load()
    ds.name.encoding["_Encoding"] = encoding
    zarrds.save(ds, path)
    noted = {"dimension": "n", "length": 4, "encoding": encoding}
    change_notes(path, "name", lambda content: content["zarrds"].update(characters=noted))
    found = load(path, "zarrds")
    with pytest.warns(UserWarning, match="String dimension length mismatch"):
        found.to_netcdf(made := source.with_name("made.nc"))
    with xr.open_dataset(made) as read:
        xr.testing.assert_identical(read, ds)


@pytest.mark.parametrize("shape", [("a",), (1.5,), (None,), (-1,)])
def test_shapes_that_are_none_say_nothing(source: Path, path: Path, shape: Any) -> None:
    with xr.open_dataset(source) as given:
        ds = given[["code"]].drop_vars("station").load()
    ds.code.encoding["original_shape"] = shape
    zarrds.save(ds, path)
    xr.testing.assert_identical(load(path, "zarrds"), ds)


@pytest.mark.parametrize("note", [1, [], {}, {"dimension": "n"}, {"dimension": 1, "length": 2}, {"length": 3}])
def test_malformed_notes_say_nothing(source: Path, path: Path, note: Any) -> None:
    with xr.open_dataset(source) as given:
        zarrds.save(given[["code"]].drop_vars("station"), path)
    change_notes(path, "code", lambda content: content["zarrds"].update(characters=note))
    found = load(path, "zarrds")
    assert found.code.values.tolist() == CODES.tolist()
    assert found.code.encoding["dtype"] == "S4"
    assert "char_dim_name" not in found.code.encoding


def test_characters_that_are_stored_as_such(source: Path, path: Path) -> None:
    """Of an undecoded file: text of fewer of them gets a dimension of its own, beside data that has theirs."""
    with xr.open_dataset(source, decode_cf=False) as raw:
        zarrds.save(raw.drop_vars("station"), path)
    with pytest.warns(UserWarning, match="String dimension length mismatch"):
        load(path, "zarrds").to_netcdf(made := source.with_name("made.nc"))
    with xr.open_dataset(made) as read:
        assert read.name.values.tolist() == NAMES


@pytest.mark.filterwarnings("error::xarray.SerializationWarning")
@pytest.mark.parametrize("encoding", [None, "utf-8"])
def test_what_stands_where_nothing_was_written(tmp_path: Path, path: Path, encoding: str | None) -> None:
    """As profiles of floats have it; text that is that alone is missing to xarray."""
    with netCDF4.Dataset(source := tmp_path / "source.nc", "w") as file:
        file.createDimension("x", 3)
        file.createDimension("STRING4", 4)
        variable = file.createVariable("v", "S1", ("x", "STRING4"), fill_value=b" ")
        variable[:] = np.array([b"ab  ", b"cd", b" "], "S4").view("S1").reshape(3, 4)
        if encoding is not None:
            variable._Encoding = encoding
    with xr.open_dataset(source) as given:
        zarrds.save(given, path)
        found = load(path, "zarrds")
        xr.testing.assert_identical(found, given.load())
    found.to_netcdf(made := tmp_path / "made.nc")
    with netCDF4.Dataset(made) as file:
        assert getattr(file["v"], "_FillValue", None) == (None if encoding else b" ")  # both xarray cannot write
        assert file["v"].dimensions == ("x", "STRING4")


@pytest.mark.filterwarnings("error:encodings that came along")  # also of those of which none is missing
def test_what_stands_where_no_single_character_was_written(tmp_path: Path, path: Path, zarr_format: Format) -> None:
    """As flags of quality are, beside numbers: missing ones stay missing in a netCDF file."""
    with netCDF4.Dataset(source := tmp_path / "source.nc", "w") as file:
        file.createDimension("x", 3)
        file.createVariable("depth", "f4", "x")[:] = 1
        for name, flags in {"flag": [b"1", b" ", b"4"], "all": [b"1", b"2", b"4"]}.items():
            file.createVariable(name, "S1", "x", fill_value=b" ")[:] = np.array(flags, "S1")
    with xr.open_dataset(source) as given:
        zarrds.save(given, path, zarr_format=zarr_format)
        zarrds.save(load(path, "zarrds"), again := path.with_name("again.zarr"), zarr_format=zarr_format)
        for store in (path, again):
            found = load(store, "zarrds")
            xr.testing.assert_identical(found, given.load())
            found.to_netcdf(made := tmp_path / "made.nc")
            with xr.open_dataset(made) as read:
                xr.testing.assert_identical(read, given)
            zarrds.export(store, made, overwrite=True)
            with xr.open_dataset(made) as read:
                xr.testing.assert_identical(read, given)


def _flags(path: Path, flags: list[bytes], fill_value: bytes, start: int) -> Path:
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", len(flags))
        file.createVariable("x", "i4", "x")[:] = np.arange(len(flags)) + start
        file.createVariable("flag", "S1", "x", fill_value=fill_value)[:] = np.array(flags, "S1")
    return path


@pytest.mark.filterwarnings("ignore:variable 'flag' is a dask array with dtype=object")
@pytest.mark.parametrize("is_lazy", [False, True])
def test_single_characters_among_which_is_what_stood_for_missing_ones(
    tmp_path: Path, path: Path, is_lazy: bool, zarr_format: Format
) -> None:
    """Files have different ones: netCDF files that were made had missing ones as characters, and these as missing."""
    first = xr.load_dataset(_flags(tmp_path / "1.nc", [b"1", b" ", b"4"], b" ", 0))
    second = xr.load_dataset(_flags(tmp_path / "2.nc", [b"7", b"-", b" "], b"-", 3))
    zarrds.save(first, path, zarr_format=zarr_format)
    zarrds.save(second.chunk(x=2) if is_lazy else second, path, append_dim="x")
    expected = xr.concat([first, second], "x")
    found = load(path, "zarrds")
    xr.testing.assert_identical(found, expected)
    found.to_netcdf(made := tmp_path / "made.nc")
    zarrds.export(path, exported := tmp_path / "exported.nc")
    for each in (made, exported):
        xr.testing.assert_identical(xr.load_dataset(each), expected)


@pytest.mark.filterwarnings("ignore:variable 'flag' is a dask array with dtype=object")
@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize("before", [[b"1", b" ", b"4"], [b"1", b"2", b"4"]], ids=["some missing", "none missing"])
def test_undecoded_single_characters_are_appended(
    tmp_path: Path, path: Path, before: list[bytes], is_lazy: bool, zarr_format: Format
) -> None:
    """Missing ones came back as characters, where the store had some."""
    first = xr.load_dataset(_flags(tmp_path / "1.nc", before, b" ", 0))
    second = _flags(tmp_path / "2.nc", [b"7", b" ", b"9"], b" ", 3)
    raw = xr.load_dataset(second, decode_cf=False)
    zarrds.save(first, path, zarr_format=zarr_format)
    zarrds.save(raw.chunk(x=2) if is_lazy else raw, path, append_dim="x")
    xr.testing.assert_identical(load(path, "zarrds"), xr.concat([first, xr.load_dataset(second)], "x"))


@pytest.mark.parametrize(
    ("rows", "fill_value"),
    [
        ([b"a\0", b"bc", b"\0\0", b"dd"], b"\0"),  # names that were never written
        ([b"a", b"-", b"b", b"-"], b"-"),
        ([b"ab ", b"-\0\0", b"---"], b"-"),
    ],
)
def test_missing_text_of_several_characters_is_exported(
    tmp_path: Path, path: Path, rows: list[bytes], fill_value: bytes, zarr_format: Format
) -> None:
    """What stands for it in the store was written in its place."""
    width = len(rows[0])
    with netCDF4.Dataset(source := tmp_path / "source.nc", "w") as file:
        file.createDimension("x", len(rows))
        file.createDimension("n", width)
        variable = file.createVariable("v", "S1", ("x", "n"), fill_value=fill_value)
        variable.set_auto_chartostring(False)
        variable[:] = np.frombuffer(b"".join(rows), "S1").reshape(-1, width)
    expected = xr.load_dataset(source)
    assert expected.v.isnull().sum() in (1, 2)
    zarrds.save(expected, path, zarr_format=zarr_format)
    zarrds.export(path, made := tmp_path / "made.nc")
    xr.testing.assert_identical(xr.load_dataset(made), expected)


@pytest.mark.parametrize("texts", [[b"ab", None, b"", b"<"], [b"a", None, b" "], [b"abc", None, b"<NA>"], [b"", None]])
def test_missing_bytes_are_missing_in_netcdf(tmp_path: Path, path: Path, texts: list[Any]) -> None:
    """Also those of no netCDF file: a character stands for them that is no other text."""
    zarrds.save(xr.Dataset({"v": ("x", np.array(texts, object))}), path)
    zarrds.export(path, made := tmp_path / "made.nc")
    found = xr.load_dataset(made).v
    assert [None if each != each else each for each in found.values.tolist()] == texts


def test_a_fill_value_of_which_no_character_is_missing(tmp_path: Path, path: Path) -> None:
    """A file has none missing, and another adds its character as one that is there."""
    zarrds.save(xr.load_dataset(_flags(tmp_path / "1.nc", [b"1", b"2"], b" ", 0)), path)
    zarrds.save(xr.load_dataset(_flags(tmp_path / "2.nc", [b"3", b" "], b"-", 2)), path, append_dim="x")
    zarrds.export(path, made := tmp_path / "made.nc")
    assert xr.load_dataset(made).flag.values.tolist() == [b"1", b"2", b"3", b" "]


def test_characters_of_which_none_is_free_are_not_exported(tmp_path: Path, path: Path) -> None:
    every = [bytes([each]) for each in range(33, 127)]
    zarrds.save(xr.Dataset({"v": ("x", np.array([b"ab", b"", None, *every], object))}), path)
    with pytest.raises(EncodingError, match=r"no character can stand for missing ones .*at 'v'"):
        zarrds.export(path, made := tmp_path / "made.nc")
    assert not made.exists()
    ds = load(path, "zarrds")
    ds["v"] = "x", pd.array([None if each is None else each.decode() for each in ds.v.values], dtype="string")
    zarrds.save(ds, path, mode="w")
    zarrds.export(path, made)
    assert int(xr.load_dataset(made).v.isnull().sum()) == 1
