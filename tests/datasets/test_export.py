"""`zarrds.export`: what is stored goes to netCDF unchanged."""

from __future__ import annotations

import warnings
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrds
from tests.releases import XARRAY
from zarrds.errors import (
    EncodingError,
    LabelNotFoundError,
    SelectionError,
    StoreExistsError,
    StoreIOError,
    VariableNotFoundError,
)


def everything() -> xr.Dataset:
    dims = ("time", "y")
    packed = {"dtype": "i2", "scale_factor": 0.5, "add_offset": 3.0, "_FillValue": -9}
    ds = xr.Dataset(
        {
            "packed": xr.Variable(dims, np.array([[1.0, 2.5], [np.nan, 4.0], [5.0, 6.5]]), {"units": "K"}, packed),
            "single": (dims, np.arange(6, dtype="f4").reshape(3, 2)),
            "flags": (dims, np.array([[True, False]] * 3)),
            "text": ("y", ["ä", "bb"]),
            "bytes": ("y", np.array([b"a", b"bcd"])),
            "big": ("y", np.array([2**63, 1], "u8")),
            "step": ("time", pd.to_timedelta([1, 2, 3], "h")),
            "scalar": 7,
        },
        {"time": pd.date_range("2019", periods=3), "y": [20.0, 10.0]},
        {"title": "all", "levels": [1, 2], "names": ["a", "b"], "pi": 3.5},
    )
    ds.time.encoding = {"units": "hours since 2018-12-31"}
    return ds


@pytest.mark.parametrize("zarr_format", [3, 2])
def test_all_kinds_come_back(tmp_path: Path, zarr_format: int) -> None:
    zarrds.save(everything(), tmp_path / "a.zarr", zarr_format=zarr_format, encoding={"single": {"chunks": (2, 1)}})  # type: ignore[arg-type]  # an int of two
    zarrds.export(tmp_path / "a.zarr", tmp_path / "a.nc")
    back = xr.load_dataset(tmp_path / "a.nc", engine="netcdf4", decode_timedelta=True)
    expected = xr.load_dataset(tmp_path / "a.zarr", engine="zarrds", decode_timedelta=True)
    assert zarrds.diff(expected.drop_vars("bytes"), back.drop_vars("bytes"), metadata=False).same
    assert back["bytes"].values.tolist() == [b"a", b"bcd"]
    assert back.attrs == {"title": "all", "levels": pytest.approx([1, 2]), "names": ["a", "b"], "pi": 3.5}
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        assert file["packed"].dtype == "i2"
        assert file["packed"].chunking() == [3, 2]
        assert file["single"].chunking() == [2, 1]
        assert file["time"].units == "hours since 2018-12-31"
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


@settings(max_examples=25)
@given(st.data())
def test_selections_against_xarray(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    chunks = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    values = np.arange(shape[0] * shape[1]).reshape(shape)
    ds = xr.Dataset({"a": (("x", "y"), values)}, {"y": np.arange(shape[1])[::-1] * 10})
    x = data.draw(st.one_of(st.integers(0, shape[0] - 1), st.slices(shape[0]), st.lists(st.integers(0, shape[0] - 1))))
    low, high = sorted(data.draw(st.tuples(st.integers(-5, 70), st.integers(-5, 70))))
    store, path = zarrds.MemoryStore(), tmp_path_factory.mktemp("export") / "a.nc"
    zarrds.save(ds, store, encoding={"a": {"chunks": chunks}})
    expected = ds.isel(x=x, y=(ds.y.values >= low) & (ds.y.values <= high))
    zarrds.export(store, path, isel={"x": x}, sel={"y": slice(low, high)})
    xr.testing.assert_equal(xr.load_dataset(path, engine="netcdf4"), expected)


def test_groups_and_variables(tmp_path: Path) -> None:
    ds = everything().drop_vars("bytes")
    zarrds.save(xr.DataTree.from_dict({"/": ds, "/g": ds[["single"]], "/h": xr.Dataset({"z": 1})}), tmp_path / "t.zarr")
    zarrds.export(tmp_path / "t.zarr", tmp_path / "t.nc", sel={"y": 10.0})
    found = xr.load_datatree(tmp_path / "t.nc", engine="netcdf4")
    assert found["g"]["single"].dims == ("time",)
    assert int(found["h"]["z"]) == 1
    zarrds.export(tmp_path / "t.zarr", tmp_path / "v.nc", variables=["packed"], group="/")
    assert set(xr.load_dataset(tmp_path / "v.nc").variables) == {"packed", "time", "y"}


@pytest.mark.skipif(XARRAY < (2026, 2), reason="this xarray has no NDPointIndex of points along a line: update it")
def test_labels_beside_an_index_that_is_none_of_pandas(tmp_path: Path) -> None:
    places = {"a": ("x", [0.5, 1.5, 2.5]), "b": ("x", [5.0, 4.0, 3.0])}
    ds = xr.Dataset({"v": ("x", [1, 2, 3])}, {**places, "x": [30, 20, 10]})
    zarrds.save(ds.set_xindex(["a", "b"], xr.indexes.NDPointIndex), tmp_path / "p.zarr")
    zarrds.export(tmp_path / "p.zarr", tmp_path / "p.nc", sel={"x": slice(10, 20)})
    assert xr.load_dataset(tmp_path / "p.nc").v.values.tolist() == [2, 3]


def test_labels_of_pandas_kinds_are_what_other_readers_see(tmp_path: Path) -> None:
    ds = xr.Dataset({"a": ("c", [1, 2, 3])}, {"c": pd.CategoricalIndex(["u", "v", "w"])})
    zarrds.save(ds, tmp_path / "c.zarr")
    zarrds.export(tmp_path / "c.zarr", tmp_path / "c.nc", sel={"c": ["u", "w"]})
    assert xr.load_dataset(tmp_path / "c.nc").a.values.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("values", "attributes", "problem"),
    [
        (np.array([1j]), {}, "no such data type"),
        (np.array([1.0], "f2"), {}, "no such data type"),
        (np.array([1.0]), {"a": {"b": 1}}, "no attribute of this kind"),
        (np.array([1.0]), {"a": None}, "no attribute of this kind"),
        (np.array([1.0]), {"a": True}, "no attribute of this kind"),
        (np.array([1.0]), {"a": []}, "no attribute of this kind"),
    ],
)
def test_what_netcdf_does_not_have(tmp_path: Path, values: np.ndarray, attributes: dict, problem: str) -> None:
    store = zarrds.MemoryStore()
    array = zarrds.create_group(store)
    made = array.create_array("a", shape=(1,), dtype=values.dtype, dimension_names=("x",), attributes=attributes)
    made[...] = values
    with pytest.raises(EncodingError, match=problem):
        zarrds.export(store, tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_stays(tmp_path: Path) -> None:
    store = zarrds.MemoryStore()
    zarrds.save(everything(), store)
    (tmp_path / "a.nc").write_bytes(b"mine")
    with pytest.raises(StoreExistsError):
        zarrds.export(store, tmp_path / "a.nc")
    for wrong, error in (
        ({"sel": {"y": 15.0}}, LabelNotFoundError),
        ({"sel": {"nowhere": 15.0}}, SelectionError),
        ({"isel": {"y": 15}}, SelectionError),
        ({"variables": ["packd"]}, VariableNotFoundError),
    ):
        with pytest.raises(error):
            zarrds.export(store, tmp_path / "a.nc", overwrite=True, **wrong)
    assert (tmp_path / "a.nc").read_bytes() == b"mine"
    zarrds.export(store, tmp_path / "a.nc", overwrite=True)
    assert xr.load_dataset(tmp_path / "a.nc", engine="netcdf4").sizes["y"] == 2
    with pytest.raises(StoreIOError):
        zarrds.export(store, tmp_path / "no" / "such" / "folder.nc")
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


def test_attributes_keep_their_types(tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "in.nc", "w") as file:
        file.version = np.array([1, 2], "i2")
        file.createDimension("x", 2)
        made = file.createVariable("flag", "i1", ("x",))
        made.setncatts(
            {"flag_values": np.array([0, 1], "i1"), "valid_max": np.int16(5), "levels": np.array([0.5], "f4")}
        )
        made[:] = [0, 1]
    zarrds.convert(tmp_path / "in.nc", tmp_path / "a.zarr")
    zarrds.export(tmp_path / "a.zarr", tmp_path / "out.nc")
    with netCDF4.Dataset(tmp_path / "in.nc") as before, netCDF4.Dataset(tmp_path / "out.nc") as after:
        for one, other in ((before, after), (before["flag"], after["flag"])):
            for name in one.ncattrs():
                expected, found = one.getncattr(name), other.getncattr(name)
                assert (np.asarray(found).dtype, found.tolist()) == (np.asarray(expected).dtype, expected.tolist())


def test_attributes_of_bytes_are_characters(tmp_path: Path) -> None:
    """As old files have them, in encodings of their own: scipy gives such as they are."""
    attributes = {"author": b"Andr\xe9", "title": b"abc", "none": b""}
    ds = xr.Dataset({"v": ("x", [1.0], attributes)}, attrs=attributes)
    zarrds.save(ds, tmp_path / "a.zarr")
    zarrds.export(tmp_path / "a.zarr", tmp_path / "a.nc")
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        for each in (file, file["v"]):
            assert each.title == "abc"
            assert each.getncattr("author", encoding="latin-1") == "André"


@pytest.mark.parametrize("where", ["of the group", "of the variable", "of the variable itself", "of netCDF's own"])
def test_names_that_netcdf_does_not_have(tmp_path: Path, where: str) -> None:
    evil = {"a\nb": 1}
    ds = xr.Dataset({"a\x07" if where.endswith("itself") else "a": ("x", [1])})
    if where == "of the group":
        ds.attrs = evil
    elif where == "of the variable":
        ds["a"].attrs = evil
    elif where == "of netCDF's own":
        ds.attrs = {"DIMENSION_LIST": "mine"}
    zarrds.save(ds, tmp_path / "a.zarr")
    with pytest.raises(EncodingError, match="netCDF"):
        zarrds.export(tmp_path / "a.zarr", tmp_path / "a.nc")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.parametrize("zarr_format", [3, 2])
def test_characters_of_which_some_are_missing(tmp_path: Path, zarr_format: int) -> None:
    # flags of quality, as Argo has them
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("profile", 2)
        file.createDimension("level", 3)
        file.createVariable("qc", "S1", ("profile", "level"), fill_value=b" ")[:] = [[b"1", b"4", b" "]] * 2
        file.createVariable("pres", "f4", ("profile", "level"))[:] = 1
    zarrds.convert(tmp_path / "a.nc", tmp_path / "a.zarr", zarr_format=zarr_format)  # type: ignore[arg-type]  # of two
    zarrds.export(tmp_path / "a.zarr", tmp_path / "b.nc")
    expected = xr.load_dataset(tmp_path / "a.nc").qc
    assert expected.isnull().sum() == 2
    with netCDF4.Dataset(tmp_path / "b.nc") as file:
        assert (file["qc"].dimensions, file["qc"].dtype) == (("profile", "level"), "S1")
    for found in (xr.load_dataset(tmp_path / "b.nc"), xr.load_dataset(tmp_path / "a.zarr", engine="zarrds")):
        np.testing.assert_array_equal(found.qc.fillna(b"!").values, expected.fillna(b"!").values)


def test_single_bytes_stay_single(tmp_path: Path) -> None:
    """With a dimension of one only where readers would join them."""
    letters = np.array([[b"A", b"C"], [b"G", b"T"]], "S1")
    ds = xr.Dataset(
        {
            "alleles": (("site", "allele"), letters),
            "strand": ("site", [b"+", b"-"]),
            "kind": np.array(b"x"),
            "q": ("site", [1, 2]),
        }
    )
    zarrds.save(ds, tmp_path / "a.zarr")
    zarrds.export(tmp_path / "a.zarr", tmp_path / "a.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "a.nc"), ds)
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        dims = {name: variable.dimensions for name, variable in file.variables.items()}
    assert dims == {"alleles": ("site", "allele", "string1"), "strand": ("site",), "kind": (), "q": ("site",)}


@pytest.mark.parametrize("value", [b"abc", b"ab", b""])
def test_one_short_text_of_bytes(tmp_path: Path, value: bytes) -> None:
    ds = xr.Dataset({"platform": np.array(value, "S3"), "v": ("x", [1, 2])})
    zarrds.save(ds, tmp_path / "a.zarr")
    zarrds.export(tmp_path / "a.zarr", tmp_path / "a.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "a.nc"), ds)


@pytest.mark.parametrize("writer", ["zarrds", "zarr"])
def test_characters_of_text_stay_characters(tmp_path: Path, writer: str) -> None:
    """As of undecoded netCDF; the dimension of characters is that of the array."""
    letters = np.array([[b"a", b"b", b"c"], [b"d", b"", b""]], "S1")
    attrs = {"_Encoding": "utf-8"} if writer == "zarrds" else {}
    raw = xr.Dataset({"name": (("x", "string3"), letters, attrs), "v": ("x", [1, 2])})
    if writer == "zarrds":
        zarrds.save(raw, tmp_path / "a.zarr")
    else:
        raw.to_zarr(tmp_path / "a.zarr", consolidated=False)
    zarrds.export(tmp_path / "a.zarr", tmp_path / "a.nc")
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        assert file["name"].dimensions == ("x", "string3")
    found, expected = xr.load_dataset(tmp_path / "a.nc"), xr.load_dataset(tmp_path / "a.zarr", engine="zarrds")
    assert found.name.values.tolist() == expected.name.values.tolist()
    assert len(set(map(str, found.name.values))) == 2


@pytest.mark.parametrize("size", [4, 7])
@pytest.mark.parametrize("names", ["az", "za"])
def test_a_dimension_with_the_name_of_that_of_characters(tmp_path: Path, names: str, size: int) -> None:
    variables = {"a": ("n", np.array([b"ab", b"abcd"])), "z": ("string4", np.arange(size))}
    ds = xr.Dataset({name: variables[name] for name in names})
    zarrds.save(ds, tmp_path / "a.zarr")
    zarrds.export(tmp_path / "a.zarr", tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc", engine="netcdf4") as found:
        xr.testing.assert_identical(found.load(), ds)


@pytest.mark.parametrize("sizes", [{"a": 3, "b": 5}, {"a": 5, "b": 3}])
@pytest.mark.parametrize("isel", [None, {"x": slice(0, 2)}])
def test_arrays_that_differ_in_size_are_in_no_netcdf_group(
    tmp_path: Path, sizes: dict[str, int], isel: dict[str, slice] | None
) -> None:
    """What is smaller was filled up."""
    zarrds.save(xr.Dataset({name: ("x", np.arange(4.0)) for name in sizes}), tmp_path / "a.zarr")
    for name, size in sizes.items():
        zarrds.open_array(tmp_path / "a.zarr", path=name, mode="r+").resize((size,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the tree is opened without, for a selection
        with pytest.raises(EncodingError, match=r"dimension 'x' has another size .*at 'b'.*naming the others"):
            zarrds.export(tmp_path / "a.zarr", tmp_path / "a.nc", isel=isel)
    assert not (tmp_path / "a.nc").exists()
    zarrds.export(tmp_path / "a.zarr", tmp_path / "a.nc", variables=["b"])
    assert xr.load_dataset(tmp_path / "a.nc").sizes == {"x": sizes["b"]}


@pytest.mark.parametrize(
    ("dtype", "marker", "values"),
    [
        ("u1", -1, [255, 1]),
        ("u1", 255, [255, 1]),
        ("i1", 255, [-1, 1]),
        ("i1", 300, [44, 1]),
        ("i4", float("nan"), [-(2**31), 2]),
        ("f4", 1e40, [np.inf, 1]),
        ("f4", 1e20, [1e20, 1]),
        ("i4", "none", [1, 2]),
        ("f4", "none", [1, 2]),
    ],
)
def test_a_fill_value_that_no_element_can_be_marks_none(
    tmp_path: Path, dtype: str, marker: float | str, values: list[float]
) -> None:
    """It wrapped to one that is there, in a store that another library has written."""
    attributes = {"_FillValue": marker}
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    array = group.create_array("v", shape=(2,), dtype=dtype, dimension_names=["x"], attributes=attributes)
    array[:] = np.array(values, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xarray's, of markers
        zarrds.export(tmp_path / "a.zarr", tmp_path / "a.nc")
        read = xr.open_dataset(tmp_path / "a.zarr", engine="zarrds").load()
    with xr.open_dataset(tmp_path / "a.nc") as exported:
        np.testing.assert_array_equal(exported["v"].values, read["v"].values)


def test_several_fill_values_are_refused(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    group.create_array("v", shape=(2,), dtype="i4", dimension_names=["x"], attributes={"_FillValue": [1, 2]})
    with pytest.raises(EncodingError, match="one _FillValue"):
        zarrds.export(tmp_path / "a.zarr", tmp_path / "a.nc")
    assert not (tmp_path / "a.nc").exists()
