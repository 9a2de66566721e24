"""Variables that cannot be decoded, in stores and in netCDF files: given as they are stored, and no other is hidden."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds import MemoryStore
from zarrds.errors import EncodingError, LabelError

FORTNIGHTS = {"units": "fortnights since 2000-01-01"}
UNDECODABLE = [
    FORTNIGHTS,
    {"units": "months since 1960-01-01", "calendar": "standard"},
    {"units": "months since 1960-01-01", "calendar": "noleap"},
    {"units": "days since 2000-01-01", "calendar": "lunar"},
    {"units": "days since yesterday"},
]


def numbers(attributes: dict[str, Any], start: int = 0) -> xr.Dataset:
    """A dataset as `decode_times=False` gives it."""
    attrs = {"long_name": "odd", **attributes}
    return xr.Dataset(
        {"t2m": ("time", np.arange(3.0) + start), "odd": ("time", np.arange(3) + start, attrs)},
        {"time": ("time", np.arange(3) + start, attrs | {"bounds": "time_bnds"})},
    ).assign_coords(time_bnds=(("time", "bnds"), np.arange(6.0).reshape(3, 2) + start))


def open_any(store: Any, **options: Any) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarrds", **options).load()


def opened(store: Any, **options: Any) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return open_any(store, **options)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("attributes", UNDECODABLE)
def test_it_is_given_as_it_is_stored(attributes: dict[str, Any], zarr_format: Any) -> None:
    store, ds = MemoryStore(), numbers(attributes)
    zarrds.save(ds, store, zarr_format=zarr_format)
    with pytest.warns(UserWarning, match=r"cannot be decoded.*'odd': .*'time': ") as caught:
        found = open_any(store)
    assert len(caught) == 1
    xr.testing.assert_identical(found, ds)
    assert found.time.to_index().tolist() == [0, 1, 2]
    xr.testing.assert_identical(
        opened(store, decode_times={"odd": False, "time": False}, drop_variables="time_bnds"), ds.drop_vars("time_bnds")
    )
    xr.testing.assert_identical(opened(store, decode_times=False).drop_vars("time_bnds"), ds.drop_vars("time_bnds"))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("index", ["plain", "noted"])
def test_labels_some_of_which_are_no_times(index: str, zarr_format: Any, tmp_path: Path) -> None:
    unit = "s" if index == "noted" else "ns"
    ds = xr.Dataset({"v": ("time", [1.0, 2.0, 3.0])}, {"time": np.arange(3).astype("M8[D]").astype(f"M8[{unit}]")})
    path = tmp_path / "x.zarr"
    zarrds.save(ds, path, zarr_format=zarr_format)
    zarrds.open_array(path, "r+", path="time")[1] = 2**62  # xarray looks at the first and the last one
    with pytest.warns(UserWarning, match=r"cannot be decoded.*'time'") as caught:
        found = open_any(path)
    assert len(caught) == 1
    assert found.v.values.tolist() == [1, 2, 3]
    assert found.indexes["time"].tolist() == [0, 2**62, 2]
    assert "since" in found.time.attrs["units"]
    for group in (found, opened(path, decode_times=False)):
        assert group.sel(time=2).v == 3


def test_the_others_are_decoded_as_ever() -> None:
    store = MemoryStore()
    ds = xr.Dataset({"when": ("x", np.array(["2000-01-01", "NaT"], "M8[ns]")), "t2m": ("x", [0.5, np.nan])})
    ds["t2m"].encoding = {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -1}
    zarrds.save(ds.assign(odd=("x", [1, 2], FORTNIGHTS)), store, group="a")
    zarrds.save(ds.assign(fine=1), store, group="b")
    with pytest.warns(UserWarning, match="'a/odd'") as caught:
        tree = xr.open_datatree(store, engine="zarrds")  # type: ignore[arg-type]  # xarray's annotations know no stores
    assert len(caught) == 1
    xr.testing.assert_identical(tree["a"].to_dataset().drop_vars("odd").load(), ds)


def test_missing_values_and_names_of_coordinates_are_seen() -> None:
    store = MemoryStore()
    ds = xr.Dataset({"odd": ("x", [1.0, np.nan], FORTNIGHTS)}, {"lat": ("x", [1.0, 2.0])})
    zarrds.save(ds, store, encoding={"odd": {"dtype": "i4", "_FillValue": -9}})
    with pytest.warns(UserWarning, match="'odd'"):
        found = open_any(store)
    xr.testing.assert_identical(found, ds)


def test_it_grows_as_numbers(tmp_path: Path) -> None:
    path, ds, more = tmp_path / "x.zarr", numbers(FORTNIGHTS), numbers(FORTNIGHTS, 3)
    zarrds.save(ds, path)
    zarrds.save(more, path, append_dim="time")
    zarrds.save(more.drop_vars("time_bnds") + 1, path, mode="r+", region={"time": slice(3, 6)})
    with pytest.raises(LabelError, match="units"):
        zarrds.save(numbers({"units": "days"}, 6), path, append_dim="time")
    expected = xr.concat([ds, more], "time", data_vars="minimal")
    for name in ("t2m", "odd"):
        expected[name][3:] += 1
    with pytest.warns(UserWarning, match="cannot be decoded"):
        xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds").load(), expected)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    "attributes", [{"scale_factor": "0.1"}, {"add_offset": "x"}, {"scale_factor": "", "add_offset": 1.0, "units": "K"}]
)
def test_factors_that_are_no_numbers(attributes: dict[str, Any], zarr_format: Any, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "x.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    for name, attrs in (("odd", attributes), ("fine", {"scale_factor": 0.5})):
        names = {"dimension_names": ["x"]} if zarr_format == 3 else {}
        array = group.create_array(name, shape=(3,), dtype="i2", chunks=(2,), fill_value=None, **names)
        array[:] = [1, 2, -1]
        array.attrs.update(attrs if names else {**attrs, "_ARRAY_DIMENSIONS": ["x"]})
    with pytest.warns(UserWarning, match="cannot be decoded.*'odd': .* is no number") as caught:
        found = open_any(path)
    assert len(caught) == 1
    assert found.fine.values.tolist() == [0.5, 1.0, -0.5]
    xr.testing.assert_identical(
        found.odd, xr.DataArray(np.array([1, 2, -1], "i2"), dims="x", attrs=attributes, name="odd")
    )
    opened(path, mask_and_scale=False)
    opened(path, decode_cf=False)
    opened(path, mask_and_scale={"odd": False})
    with pytest.warns(UserWarning, match="'odd'"):
        assert zarrds.find(path, "fine > 0").fine.values.tolist() == [0.5, 1.0]
    zarrds.save(found, tmp_path / "y.zarr", zarr_format=zarr_format)
    xr.testing.assert_identical(opened(tmp_path / "y.zarr"), found)
    zarrds.save(found, path, append_dim="x")
    with pytest.warns(UserWarning, match="'odd'"):
        xr.testing.assert_identical(open_any(path), xr.concat([found, found], "x"))


def test_its_attributes_can_be_edited() -> None:
    store = MemoryStore()
    zarrds.save(numbers(FORTNIGHTS), store)
    zarrds.update_attrs(store, {"comment": "since the fall"}, "odd")
    assert opened(store, decode_times=False).odd.attrs == {**numbers(FORTNIGHTS).odd.attrs, "comment": "since the fall"}
    with pytest.raises(EncodingError, match="how the stored values are decoded"):
        zarrds.update_attrs(store, {"units": "days since 2000-01-01"}, "odd")


def test_intervals_of_dates_of_other_calendars() -> None:
    store, times = MemoryStore(), xr.date_range("2000-01-01", periods=3, calendar="noleap", use_cftime=True)
    bounds = np.stack([times, times.shift(1, "D")], axis=1)
    ds = xr.Dataset(coords={"time": ("time", times, {"bounds": "b"}), "b": (("time", "n"), bounds)})
    zarrds.save(ds, store)
    with pytest.raises(LabelError, match="no intervals of dates of cftime"):
        open_any(store, intervals={"time": "left"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A netCDF file with what netCDF has and Zarr has not."""
    netcdf4 = pytest.importorskip("netCDF4")
    path = tmp_path / "x.nc"
    with netcdf4.Dataset(path, "w") as root:
        pair = root.createCompoundType(np.dtype([("a", "f4"), ("b", "i4")]), "pair")
        lists = root.createVLType(np.int32, "lists")
        for group in (root, root.createGroup("g")):
            group.createDimension("x", 2)
            group.createVariable("fine", "f4", ("x",))[:] = [1, 2]
            group.createVariable("when", "i4", ("x",), fill_value=-1)[:] = [0, 1]
            group["when"].units = "days since 2000-01-01"
        root.createVariable("odd", "i4", ("x",))[:] = [1, 2]
        root["odd"].units = FORTNIGHTS["units"]
        root.createVariable("both", pair, ("x",))[:] = np.array([(1, 2), (3, 4)], pair.dtype)
        for name in ("ragged", "x"):
            ragged = root["g"].createVariable(name, lists, ("x",))
            for i in range(2):
                ragged[i] = np.arange(i + 1, dtype="i4")
    return path


def test_of_a_file_all_else_is_converted(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.zarr"
    with pytest.warns(UserWarning, match="left out|decoded") as caught:
        zarrds.convert(file, target)
    told = [str(w.message) for w in caught]
    assert len(told) == 2
    assert any("cannot be decoded" in text and "'odd'" in text for text in told)
    assert any("left out" in text and "'g/ragged'" in text for text in told)
    root = opened(target, decode_times={"odd": False})
    assert root.odd.attrs == FORTNIGHTS
    assert root.both.values.tolist() == [(1, 2), (3, 4)]
    for ds in (root, opened(target, group="g")):
        assert ds.fine.values.tolist() == [1, 2]
        assert ds.when.dtype.kind == "M"
    assert set(opened(target, group="g").variables) == {"fine", "when"}


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.nc"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(zarrds.errors.UnsupportedError, match="cannot open the file"):
        zarrds.convert(path, tmp_path / "x.zarr")


def test_numbers_that_are_no_dates_behind_dates() -> None:
    store, attrs = zarrds.MemoryStore(), {"units": "days since 2000-01-01", "calendar": "noleap"}
    first, second = (xr.Dataset({"v": ("x", np.array(days), attrs)}) for days in ([1, 2], [3, 2**62]))
    zarrds.save(first, store)
    with pytest.raises(EncodingError, match="'v' has attributes of undecoded data, and cannot be decoded"):
        zarrds.save(second, store, append_dim="x")
    assert xr.open_dataset(store, engine="zarrds").sizes["x"] == 2


def test_bounds_of_other_writers_that_are_no_times(path: Path) -> None:
    days = np.array(["2000-01-01", "2000-01-02"], "M8[ns]")
    ds = xr.Dataset({"b": (("time", "n"), [["a", "b"], ["c", "d"]]), "v": ("time", [1.0, 2.0])}, {"time": days})
    ds.time.attrs["bounds"] = "b"
    ds.to_zarr(path, zarr_format=2)
    with pytest.warns(UserWarning, match=r"cannot be decoded.*'b'"):
        found = open_any(path)
    np.testing.assert_array_equal(found.time, days)
    assert found.b.values.tolist() == [["a", "b"], ["c", "d"]]
    assert not found.b.attrs
