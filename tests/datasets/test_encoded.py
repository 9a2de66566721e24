from __future__ import annotations

import os
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import FORMATS, files, objects, open_zarrds, small
from zarrds.datasets.encoding.exact.blocks import Block
from zarrds.datasets.encoding.exact.differences import differing, slack_of
from zarrds.datasets.encoding.exact.encoder import Encoder
from zarrds.errors import EncodingError, ZarrdsError

UNSUPPORTED = {
    "dicts": (xr.Dataset({"bad": ("x", objects({"a": 1}, {"b": 2}))}), "bad"),
    "lists": (xr.Dataset({"bad": ("x", objects([1], [2, 3]))}), "bad"),
    "mixed": (xr.Dataset({"bad": ("x", objects(1, "a", 2.5))}), "bad"),
    "strings and bytes": (xr.Dataset({"bad": ("x", objects("a", b"b"))}), "bad"),
    "Python objects": (xr.Dataset({"bad": ("x", objects(object(), object()))}), "bad"),
    "attribute set": (xr.Dataset({"v": ("x", [1], {"bad": {1, 2}})}), "bad"),
    "attribute object": (xr.Dataset({"v": ("x", [1])}, attrs={"bad": object()}), "bad"),
    "attribute dtype": (xr.Dataset({"v": ("x", [1], {"bad": np.dtype("f4")})}), "bad"),
    "attribute fraction": (xr.Dataset({"v": ("x", [1], {"bad": Fraction(1, 3)})}), "bad"),
    "attribute name of a variable": (xr.Dataset({"v": ("x", [1], {5: "bad"})}), "5"),
    "attribute name": (xr.Dataset({"v": ("x", [1])}, attrs={5: "bad"}), "5"),
    "attribute time": (xr.Dataset(attrs={"bad": pd.Timestamp("2000-01-01")}), "bad"),
    "dimension": (xr.Dataset({"v": ((5,), [1, 2])}), "5"),
    "dimension tuple": (xr.Dataset({"v": (("a", "b"), [[1]])}).rename({"a": ("bad", 1)}), "bad"),
    "name number": (xr.Dataset({5: ("x", [1])}), "5"),
    "name empty": (xr.Dataset({"": ("x", [1])}), "''"),
    "name slash": (xr.Dataset({"bad/name": ("x", [1])}), "bad/name"),
    "name dots": (xr.Dataset({"..": ("x", [1])}), ".."),
    "name dot": (xr.Dataset({".": ("x", [1])}), "'.'"),
    "name backslash": (xr.Dataset({"bad\\name": ("x", [1])}), "bad"),
    "name NUL": (xr.Dataset({"bad\0": ("x", [1])}), "bad"),
    "name surrogate": (xr.Dataset({"bad\ud800": ("x", [1])}), "bad"),
    "name zarr.json": (xr.Dataset({"zarr.json": ("x", [1])}), "zarr.json"),
    "name .zarray": (xr.Dataset({".zarray": ("x", [1])}), ".zarray"),
    "name of unfinished files": (xr.Dataset({".bad.zarrds-partial": ("x", [1])}), "bad"),
}


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported(tmp_path: Path, case: str, zarr_format: int) -> None:
    ds, word = UNSUPPORTED[case]
    ds = ds.assign(good=("n", [1, 2, 3]))
    path = tmp_path / "x.zarr"
    with pytest.raises((ZarrdsError, NotImplementedError, TypeError, ValueError)) as caught:
        zarrds.save(ds, path, zarr_format=zarr_format)
    assert word in str(caught.value)
    assert os.listdir(tmp_path) == []
    zarrds.save(small(), path, zarr_format=zarr_format)
    before = files(path)
    with pytest.raises(type(caught.value)):
        zarrds.save(ds, path, mode="w", zarr_format=zarr_format)
    assert files(tmp_path / "x.zarr") == before


def test_unsupported_in_a_tree(path: Path) -> None:
    tree = xr.DataTree.from_dict({"/": small(), "/a/b": xr.Dataset({"bad": ("z", objects({"a": 1}))})})
    with pytest.raises(ZarrdsError, match="bad"):
        zarrds.save(tree, path)
    assert not path.exists()
    for encoding in ({"/nowhere": {}}, {"/": {"nothing": {}}}):
        with pytest.raises(ZarrdsError, match=r"nowhere|nothing"):
            zarrds.save(xr.DataTree(small()), path, encoding=encoding)
    assert not path.exists()


def test_errors_name_the_store_and_the_group() -> None:
    store = zarrds.MemoryStore()
    tree = xr.DataTree.from_dict({"/a": xr.Dataset({"v": ("x", [1], {"bad": {1, 2}})})})
    with pytest.raises(EncodingError, match="'a/v'") as caught:
        zarrds.save(tree, store)
    assert caught.value.path == store.path
    with pytest.raises(EncodingError, match="dictionary"):
        zarrds.save(xr.Dataset({"v": ("x", [1])}), store, encoding={"v": 3})
    with pytest.raises(EncodingError, match="zarr_format"):
        zarrds.save(xr.Dataset(), store, zarr_format=1)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(EncodingError, match="Convert"):
        zarrds.save(xr.Dataset(coords={"x": pd.Index([1, 2], dtype="Sparse[int]")}), store)
    assert list(store.list_prefix()) == []


@pytest.mark.parametrize("group", ["g", "g/h", "v", "v/v"])
def test_keys_of_errors_are_paths_from_the_root(path: Path, group: str) -> None:
    """Also where a variable is called as a group is."""
    ds = xr.Dataset({"v": ("x", [1.0, 2.0]), "g": ("x", [1.0, 2.0])}, {"x": [1, 2]})
    bad = ds.assign(v=("x", objects({"a": 1}, {})))

    def key(wrong: xr.Dataset | xr.DataTree, **options: Any) -> str | None:
        with pytest.raises(ZarrdsError) as caught:
            zarrds.save(wrong, path, **{"group": group, **options})
        assert caught.value.path == str(path)
        return caught.value.key

    assert key(bad) == f"{group}/v"
    zarrds.save(ds, path, group=group)
    assert key(bad, mode="a") == key(bad, mode="w") == f"{group}/v"
    assert key(bad, group="new", mode="a") == "new/v"
    assert key(ds.drop_vars("x").rename(x="y"), mode="r+") == f"{group}/v"
    assert key(ds, append_dim="x") == f"{group}/x"
    assert key(ds.isel(x=[1]).assign_coords(x=[3]), region="auto") == f"{group}/x"
    assert key(ds.assign(v=ds.v.astype(str)), mode="a") == f"{group}/v"
    tree = xr.DataTree.from_dict({"/": ds, "/below": bad.drop_vars("x")})
    assert key(tree, mode="a") == f"{group}/below/v"
    # of what stands there
    assert key(ds, group=f"{group}/x", mode="a") == key(ds, group=f"{group}/x/x", mode="a") == f"{group}/x"
    chunk = next((path / group / "x").glob("c*"))
    chunk.write_bytes(chunk.read_bytes()[:-1])
    damaged = chunk.relative_to(path).as_posix()
    assert key(ds, append_dim="x") == key(ds.isel(x=[1]), region="auto") == damaged


@pytest.mark.parametrize("as_dask", [False, True])
@pytest.mark.parametrize(
    ("values", "encoding"),
    [
        ([2.0, -1.0], {"dtype": "int16", "_FillValue": -1}),
        ([2.0, -0.5], {"dtype": "int16", "_FillValue": -1, "scale_factor": 0.5}),
        ([np.nan, 8.9], {"dtype": "uint8", "_FillValue": 9}),
        ([2.0, 5.0], {"dtype": "int32", "_FillValue": -1, "missing_value": -1, "add_offset": 6.0}),
        (np.array([2, 9], "i8"), {"dtype": "int16", "_FillValue": 9}),
        (np.array([2, 9], "i8"), {"dtype": "int64", "_FillValue": 9}),
        (np.array([2, 9], "i8"), {"_FillValue": 9}),
        (np.array([2, 255], "u1"), {"dtype": "int8", "_FillValue": -1, "_Unsigned": "true"}),
    ],
)
def test_values_that_would_read_back_as_missing(
    path: Path, values: Any, encoding: dict[str, Any], as_dask: bool
) -> None:
    ds = xr.Dataset({"v": ("x", values)})
    with pytest.raises(EncodingError, match=r"_FillValue, and would read back as missing.*at x=1") as caught:
        zarrds.save(ds.chunk(x=1) if as_dask else ds, path, encoding={"v": encoding})
    assert caught.value.key == "v"
    assert not path.exists()
    zarrds.save(ds.isel(x=[0]), path, encoding={"v": encoding})
    np.testing.assert_array_equal(xr.open_dataset(path, engine="zarrds").v, values[:1])


@pytest.mark.parametrize("obj", [np.zeros(3), {"v": 1}, None, small().v.variable, "x"], ids=lambda o: type(o).__name__)
def test_what_is_no_dataset(path: Path, obj: Any) -> None:
    with pytest.raises(EncodingError, match="a Dataset, DataArray or DataTree") as caught:
        zarrds.save(obj, path)
    assert isinstance(caught.value, TypeError)
    assert not path.exists()


@pytest.mark.parametrize(
    "encoding",
    [{"scale_factor": 10, "_FillValue": 0}, {"scale_factor": 10, "add_offset": np.int64(5)}, {"scale_factor": 10}],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::xarray.SerializationWarning")
def test_scaled_by_integers(path: Path, encoding: dict[str, Any]) -> None:
    """xarray would save some of these and then not open them."""
    ds = xr.Dataset({"v": ("x", [15.0, 25.0, 1005.0] if "add_offset" in encoding else [10.0, 20.0, 1000.0])})
    zarrds.save(ds, path, encoding={"v": {"dtype": "i4", **encoding}})
    xr.testing.assert_identical(open_zarrds(path).load(), ds)
    assert type(encoding["scale_factor"]) is int  # what the user gave is as it was


@pytest.mark.parametrize("is_carried", [False, True])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("scale", [0.01, 0.1, -5.0, 1e-30, 1e30, np.inf])
def test_packed_floats_are_proven_as_if_each_had_its_own_slack(scale: float, dtype: str, is_carried: bool) -> None:
    random = np.random.default_rng(5)
    for offset in (0.0, 270.0, -1e5, 1e38, np.nan):
        encoding = {"scale_factor": scale, "add_offset": offset}
        encoder = Encoder("v", ("x",), np.dtype("i2"), "floats", encoding, is_carried)
        with np.errstate(all="ignore"):
            values = (random.standard_normal(100) * 10.0 ** random.integers(-3, 6, 100)).astype(dtype)
            values[:4] = np.nan, np.inf, -np.inf, 0
            stored = np.clip(np.nan_to_num((values - offset) / scale), -(2**15), 2**15 - 1).astype("i2")
            decoded = encoder._decoded(stored)
            slack = slack_of(values, decoded.dtype, stored.dtype, encoding, is_exact=is_carried)
            expected = differing(values, decoded, slack)
            found = encoder._differing(Block("v", ("x",), values, (100,), (0,)), stored, True, ())
        np.testing.assert_array_equal(found, expected)


NANOSECONDS = np.array(
    ["NaT", "2000-01-01T00:00:00.000000001", "1700-01-01", "2200-01-01T00:00:00.123456789"], "M8[ns]"
)


@pytest.mark.parametrize("kind", ["datetimes", "timedeltas"])
@pytest.mark.parametrize("encoding", [{}, {"units": "days"}, {"units": "seconds", "dtype": "f8"}])
def test_nanoseconds_beside_nothing_in_a_block(path: Path, kind: str, encoding: dict[str, Any]) -> None:
    values: Any = NANOSECONDS if kind == "datetimes" else NANOSECONDS - np.datetime64("1950-01-01", "ns")
    since = " since 2000-01-01" if kind == "datetimes" else ""
    ds = xr.Dataset({"t": ("x", values)}).chunk(x=2)
    ds.t.encoding = encoding | ({"units": encoding["units"] + since} if encoding else {})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "encodings that came along", xr.SerializationWarning)
        zarrds.save(ds, path)
    zarrds.save(ds.assign(t=ds.t[::-1]), path, append_dim="x")
    found = xr.open_dataset(path, engine="zarrds", decode_timedelta=True)
    np.testing.assert_array_equal(found.t.values, np.concatenate([values, values[::-1]]))


def test_times_out_of_reach_of_what_is_asked_for(path: Path) -> None:
    ds = xr.Dataset({"t": ("x", NANOSECONDS[2:])})
    with pytest.raises(EncodingError, match="out of the reach of nanoseconds"):
        zarrds.save(ds, path, encoding={"t": {"units": "nanoseconds since 2000-01-01", "dtype": "i8"}})


@pytest.mark.parametrize("unit", ["h", "s", "fortnight"])
def test_units_that_times_are_not_written_in(path: Path, unit: str) -> None:
    ds = xr.Dataset({"t": ("x", np.array(["2000-01-01T06"], "M8[ns]"))})
    for each in (ds, ds.chunk()):
        with pytest.raises(EncodingError, match=f"'{unit}' is no unit that times are written in; these are days"):
            zarrds.save(each, path, encoding={"t": {"units": f"{unit} since 2000-01-01"}})
    assert not path.exists()


def test_times_with_a_marker_that_is_no_number(path: Path) -> None:
    ds = xr.Dataset({"t": ("x", np.array(["2000-01-01T06", "NaT"], "M8[ns]"))})
    for each in (ds, ds.chunk(x=1)):
        zarrds.save(each, path, mode="w", encoding={"t": {"_FillValue": np.nan}})
        xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds").load(), ds)
    with pytest.raises(EncodingError, match=r"times are stored as numbers.*int64 or float64"):
        zarrds.save(ds, path, mode="w", encoding={"t": {"dtype": "datetime64[ms]"}})


@pytest.mark.parametrize("is_lazy", [False, True])
def test_one_label_of_a_multi_index(is_lazy: bool) -> None:
    levels = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["letter", "number"])
    stacked = xr.Dataset({"v": ("z", [1, 2, 3, 4])}, xr.Coordinates.from_pandas_multiindex(levels, "z"))
    one = stacked.isel(z=0).chunk() if is_lazy else stacked.isel(z=0)
    with pytest.raises(EncodingError, match=r"drop_vars\('z'\)"):
        zarrds.save(one, zarrds.MemoryStore())
    store = zarrds.MemoryStore()
    zarrds.save(one.drop_vars("z"), store)
    xr.testing.assert_identical(open_zarrds(store).load(), stacked.isel(z=0).drop_vars("z"))
