"""What an encoding would change of text, bytes and integers is refused, or the encoding gives way if it came along.

The oracle is NumPy: what is read back is what was saved, element by element, or nothing was saved.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import load, objects
from zarrds.errors import EncodingError

TEXT = np.dtypes.StringDType()
VLEN = np.dtype("O", metadata={"element_type": str})  # as xarray has text of a store


def dataset(values: np.ndarray[Any, Any], *, lazy: bool, start: int = 0, **encoding: Any) -> xr.Dataset:
    made = xr.Dataset({"v": ("t", values)}, {"t": np.arange(start, start + len(values))})
    made = made.chunk(t=1) if lazy else made
    made["v"].encoding = encoding
    return made


def values_of(path: Path) -> list[Any]:
    with xr.open_dataset(path, engine="zarrds") as opened:
        return opened.v.values.tolist()  # type: ignore[no-any-return]  # NumPy does not say of what


def check_refused(
    values: np.ndarray[Any, Any], path: Path, *, lazy: bool, zarr_format: Literal[2, 3], **asked: Any
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(EncodingError, match=r"'v'|encoding"):
            zarrds.save(dataset(values, lazy=lazy), path, encoding={"v": asked}, zarr_format=zarr_format)
    assert not path.exists()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize("key", ["_FillValue", "missing_value"])
@pytest.mark.parametrize(
    ("values", "mark"),
    [
        (np.array(["a", ""]), ""),
        (np.array([b"a", b""]), b""),
        (np.array([b"a", b"-"]), "-"),
        (np.array(["a", "-"], TEXT), "-"),
        (np.array(["a", "-"], VLEN), "-"),
        (objects("a", "-", None), "-"),
        (objects(b"a", b"-", None), b"-"),
        (objects(b"a", b"b", None), "-"),
    ],
    ids=["U", "S", "S by text", "T", "vlen", "objects", "bytes", "bytes by text"],
)
def test_text_that_would_read_back_as_missing_is_refused(
    tmp_path: Path, values: np.ndarray[Any, Any], mark: Any, key: str, lazy: bool, zarr_format: Literal[2, 3]
) -> None:
    check_refused(values, tmp_path / "s", lazy=lazy, zarr_format=zarr_format, **{key: mark})


@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize("key", ["_FillValue", "missing_value"])
@pytest.mark.parametrize(
    ("values", "mark"),
    [
        (np.array(["a", ""]), ""),
        (np.array([b"a", b""]), b""),
        (np.array(["a", "-"], VLEN), "-"),
        (objects("a", "-"), "-"),
        (objects(b"a", b"-", None), "-"),
    ],
    ids=["U", "S", "vlen", "objects", "bytes"],
)
def test_a_mark_that_came_along_gives_way_to_text_that_is_equal_to_it(
    tmp_path: Path, values: np.ndarray[Any, Any], mark: Any, key: str, lazy: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarrds.save(dataset(values, lazy=lazy, **{key: mark}), tmp_path / "s")
    assert values_of(tmp_path / "s") == values.tolist()


def test_the_mark_that_gave_way_is_told_of_and_others_are_kept(tmp_path: Path) -> None:
    with pytest.warns(xr.SerializationWarning, match=r"'v'.*is the _FillValue"):
        zarrds.save(dataset(np.array(["a", ""]), lazy=True, _FillValue=""), tmp_path / "s")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zarrds.save(dataset(np.array(["a", "b"]), lazy=True, _FillValue="-"), tmp_path / "kept")
    assert xr.open_dataset(tmp_path / "kept", engine="zarrds").v.encoding["_FillValue"] == "-"


@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize("missing", ["zz", None])
def test_text_that_is_missing_where_a_mark_gave_way_stays_missing(
    tmp_path: Path, lazy: bool, missing: str | None
) -> None:
    values = objects("a", "-", missing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarrds.save(dataset(values, lazy=lazy, _FillValue="-"), tmp_path / "s")
    read = xr.open_dataset(tmp_path / "s", engine="zarrds").v
    assert read.isnull().values.tolist() == [False, False, missing is None]
    assert read.values.tolist()[:2] == ["a", "-"]


@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize(
    ("values", "encoding"),
    [
        (objects("a", "b\0", "c"), {"dtype": "S1"}),
        (np.array(["a", "b\0", "c"], TEXT), {"dtype": "S1"}),
        (objects(b"a", b"b\0", b"c"), {"_FillValue": b"-"}),
        (objects(b"a", b"b\0", None), {"_FillValue": b"-"}),
    ],
)
def test_zeros_at_the_end_are_not_lost(
    tmp_path: Path, values: np.ndarray[Any, Any], encoding: dict[str, Any], lazy: bool
) -> None:
    check_refused(values, tmp_path / "asked", lazy=lazy, zarr_format=3, **encoding)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarrds.save(dataset(values, lazy=lazy, **encoding), tmp_path / "carried")
    assert values_of(tmp_path / "carried") == values.tolist()


ROUNDING = [
    (2**60 + 1, {"add_offset": 1}),
    (2**60 + 1, {"scale_factor": 1}),
    (2**60 + 1, {"add_offset": 0}),
    (2**60 + 1, {"scale_factor": 1.0, "dtype": "i8"}),
    (2**60 + 1, {"add_offset": 1, "dtype": "i8", "_FillValue": -1}),
    (2**63 - 1, {"dtype": "f4"}),
    (2**63 - 1, {"_FillValue": "zz"}),
    (2**63 - 1, {"missing_value": -1}),
    (3, {"dtype": "i2", "scale_factor": 2}),
    (3, {"dtype": "i2", "add_offset": 0.5}),
    (3, {"dtype": "i2", "add_offset": 0.5, "_FillValue": -1}),
]


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize("dtype", [np.int64, object])
@pytest.mark.parametrize(("number", "encoding"), ROUNDING)
def test_integers_are_not_rounded_by_what_is_asked(
    tmp_path: Path, number: int, encoding: dict[str, Any], dtype: Any, lazy: bool, zarr_format: Literal[2, 3]
) -> None:
    check_refused(np.array([2, number], dtype), tmp_path / "s", lazy=lazy, zarr_format=zarr_format, **encoding)


@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize(
    "encoding",
    [
        {"add_offset": 1, "dtype": "i8", "_FillValue": -1},
        {"add_offset": 1, "_FillValue": -1},
        {"dtype": "i2", "scale_factor": 2, "missing_value": -1},
        {"dtype": "i2", "scale_factor": 0.5, "add_offset": 4},
    ],
)
def test_integers_that_a_packing_holds_are_packed_and_added_to(
    tmp_path: Path, encoding: dict[str, Any], lazy: bool
) -> None:
    path = tmp_path / "s"
    zarrds.save(dataset(np.array([2, 6, 8]), lazy=lazy), path, encoding={"v": encoding})
    zarrds.save(dataset(np.array([4]), lazy=lazy, start=3), path, append_dim="t")
    assert values_of(path) == [2, 6, 8, 4]
    assert {key: xr.open_dataset(path, engine="zarrds").v.encoding[key] for key in encoding} == encoding


@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
def test_integers_beside_packed_floats_are_exact_or_refused(tmp_path: Path, lazy: bool) -> None:
    path = tmp_path / "s"
    packing = {"dtype": "i2", "scale_factor": 0.1, "_FillValue": -1}
    zarrds.save(dataset(np.array([0.5, 2.0]), lazy=False), path, encoding={"v": packing})
    zarrds.save(dataset(np.array([7, 3]), lazy=lazy, start=2), path, append_dim="t")
    np.testing.assert_allclose(values_of(path), [0.5, 2.0, 7, 3], rtol=1e-15)
    coarse = tmp_path / "coarse"
    zarrds.save(dataset(np.array([0.5, 4.0]), lazy=False), coarse, encoding={"v": packing | {"scale_factor": 2.0}})
    with pytest.raises(EncodingError, match="'v'"):
        zarrds.save(dataset(np.array([7, 3]), lazy=lazy, start=2), coarse, append_dim="t")
    assert values_of(coarse) == [0.0, 4.0]


@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
def test_integers_as_objects_get_the_value_for_what_is_missing_that_is_asked_for(tmp_path: Path, lazy: bool) -> None:
    asked = {"v": {"dtype": "i2", "_FillValue": -1}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarrds.save(dataset(objects(1, None, 3), lazy=lazy), tmp_path / "s", encoding=asked)
    np.testing.assert_array_equal(values_of(tmp_path / "s"), [1, np.nan, 3])
    check_refused(objects(1, None, -1), tmp_path / "equal", lazy=lazy, zarr_format=3, **asked["v"])
    check_refused(objects(1, None, 3), tmp_path / "floats", lazy=lazy, zarr_format=3, dtype="f4")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize("dtype", ["i1", "u2", "f4"])
def test_booleans_that_are_stored_as_numbers_are_added_to(
    tmp_path: Path, dtype: str, lazy: bool, zarr_format: Literal[2, 3]
) -> None:
    path = tmp_path / "s"
    first, then = np.array([True, False]), np.array([False, True, True])
    zarrds.save(dataset(first, lazy=lazy), path, encoding={"v": {"dtype": dtype}}, zarr_format=zarr_format)
    zarrds.save(dataset(then, lazy=lazy, start=2), path, append_dim="t")
    expected = np.concatenate([first.astype(dtype), then])
    assert values_of(path) == expected.tolist()
    assert xr.open_dataset(path, engine="zarrds").v.dtype == expected.dtype
    zarrds.save(dataset(~first, lazy=lazy), path, region={"t": slice(0, 2)})
    assert values_of(path)[:2] == [0, 1]


@pytest.mark.parametrize("is_nullable", [False, True], ids=["objects", "Int64"])
def test_integers_of_which_some_are_missing_are_not_rounded_beside_packed_floats(
    tmp_path: Path, is_nullable: bool
) -> None:
    path = tmp_path / "s"
    packing = {"dtype": "i2", "scale_factor": 2.0, "_FillValue": -1}
    zarrds.save(dataset(np.array([0.0, 4.0]), lazy=False), path, encoding={"v": packing})

    def added(*values: Any) -> xr.Dataset:
        made: Any = pd.array(list(values), dtype="Int64") if is_nullable else objects(*values)
        return xr.Dataset({"v": ("t", made)}, {"t": [2, 3]})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(EncodingError, match="'v' holds a value that would read back as"):
            zarrds.save(added(1, None), path, append_dim="t")
        zarrds.save(added(6, None), path, append_dim="t")
    np.testing.assert_array_equal(values_of(path), [0, 4, 6, np.nan])


@pytest.mark.parametrize("values", [np.array(["a", "b"]), np.array(["a", "b"], TEXT), objects("a", "b")])
def test_bytes_that_are_asked_for_text_are_told_of_by_their_dtype(tmp_path: Path, values: Any) -> None:
    with pytest.raises(EncodingError, match=r"\|S5, but it holds strings"):
        zarrds.save(dataset(values, lazy=False), tmp_path / "s", encoding={"v": {"dtype": "S5"}})


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("marker", [{}, {"_FillValue": np.array([-9], "i2")}])
def test_factors_in_arrays_of_one_number(tmp_path: Path, marker: dict[str, Any], lazy: bool, asked: bool) -> None:
    encoding = {"dtype": "i2", "scale_factor": np.array([0.5]), **marker}
    ds = xr.Dataset({"v": ("x", [3.5, np.nan if marker else 7.0, 4.0])})
    if not asked:
        ds.v.encoding = encoding
    path = tmp_path / "a.zarr"
    zarrds.save(ds.chunk(x=2) if lazy else ds, path, encoding={"v": encoding} if asked else None)
    for engine in ("zarrds", "zarr"):
        np.testing.assert_array_equal(load(path, engine).v.values, ds.v.values)
    assert zarrds.open_array(path, path="v").dtype == np.int16


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", [str, "U", np.dtype("U")])
@pytest.mark.parametrize("values", [["a", "longer"], ["a", None]])
def test_text_of_any_length_is_asked_for(tmp_path: Path, values: list[Any], dtype: Any, lazy: bool) -> None:
    ds = xr.Dataset({"v": ("x", np.array(values, object))})
    zarrds.save(ds.chunk(x=1) if lazy else ds, tmp_path / "a.zarr", encoding={"v": {"dtype": dtype}})
    found = load(tmp_path / "a.zarr").v.values
    assert [None if pd.isna(value) else value for value in found] == values


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("attributes", [{"scale_factor": np.float64(0.1)}, {"add_offset": np.float64(0.1)}])
def test_packed_floats_are_unpacked_as_before(
    tmp_path: Path, attributes: dict[str, Any], dtype: str, lazy: bool, zarr_format: Literal[2, 3]
) -> None:
    """xarray unpacks floats that have a _FillValue to shorter ones: not so by the NaN that it adds to all floats."""
    path = tmp_path / "a.zarr"
    raw = xr.Dataset({"v": ("x", np.array([1, 2, np.nan], dtype), attributes)})
    zarrds.save(raw.chunk(x=2) if lazy else raw, path, zarr_format=zarr_format)
    decoded = xr.decode_cf(raw).load()
    for engine in ("zarrds", "zarr"):
        assert load(path, engine).identical(decoded)
    zarrds.save(raw, path, append_dim="x")
    assert load(path).identical(xr.concat([decoded, decoded], "x"))
