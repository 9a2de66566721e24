"""Integers that have a `_FillValue` make room for more, as plain ones do; NumPy's `concatenate` is the oracle."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import xarray as xr
import zarr

import zarrds
from zarrds.errors import ConflictError, EncodingError


def dataset(values: Any, start: int = 0) -> xr.Dataset:
    return xr.Dataset({"v": ("t", values)}, {"t": np.arange(start, start + len(values))})


def check(path: Path, expected: Any) -> None:
    with xr.open_dataset(path, engine="zarrds") as opened:
        np.testing.assert_array_equal(opened.v, expected)
        assert opened.v.dtype.kind == "f"
    with xr.open_zarr(path, consolidated=None, chunks=None) as others:
        np.testing.assert_array_equal(others.v, expected)
    assert zarrds.verify(path).ok


BATCHES = [
    np.array([1, 2], np.int32),
    np.array([np.nan, 3.0]),
    np.array([2**40]),
    np.array([-(2**31)], np.int32),
]


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("last", [2, 3])
def test_the_order_of_batches_makes_no_difference(
    tmp_path: Path, order: tuple[int, ...], last: int, zarr_format: Literal[2, 3]
) -> None:
    batches = [(*BATCHES[:2], BATCHES[last])[n] for n in order]
    start = 0
    for batch in batches:
        how: dict[str, Any] = {"append_dim": "t"} if start else {"zarr_format": zarr_format}
        zarrds.save(dataset(batch, start), tmp_path / "s", **how)
        start += len(batch)
    check(tmp_path / "s", np.concatenate(batches))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("how", ["append", "region", "a", "r+"])
@pytest.mark.parametrize("new", [[70_000], [70_000.0, np.nan, -1.0], [-1, 5, 6]])
@pytest.mark.parametrize(
    "encoding",
    [
        {"dtype": "i2", "_FillValue": -1},
        {"dtype": "i2", "missing_value": -1},
        {"dtype": "i2", "_FillValue": -1, "missing_value": -1},
        {"dtype": ">i4", "_FillValue": 70_000},
        {"dtype": "u1", "_FillValue": 255},
    ],
)
def test_another_width_and_another_fill_value(
    tmp_path: Path, encoding: dict[str, Any], new: list[Any], how: Any, zarr_format: Literal[2, 3]
) -> None:
    path = tmp_path / "s"
    values = np.array([5.0, np.nan, 7.0])
    zarrds.save(dataset(values), path, encoding={"v": encoding}, zarr_format=zarr_format)
    if how == "append":
        zarrds.save(dataset(new, 3), path, append_dim="t")
        expected = np.concatenate([values, new])
    elif how == "region":
        zarrds.save(dataset(new[-1:]).drop_vars("t"), path, region={"t": slice(2, 3)})
        expected = np.concatenate([values[:2], new[-1:]])
    else:
        expected = np.resize(np.asarray(new), 3)
        zarrds.save(dataset(expected), path, mode=how)
    check(path, expected)


@pytest.mark.parametrize("new", [[1.5], [2**53 + 1], [1e300]])
def test_what_no_integers_hold_that_are_read_as_floats_is_refused(tmp_path: Path, new: list[Any]) -> None:
    path = tmp_path / "s"
    values = np.array([5.0, np.nan, 7.0])
    zarrds.save(dataset(values), path, encoding={"v": {"dtype": "i2", "_FillValue": -1}})
    with pytest.raises(EncodingError, match="variable 'v' holds a value") as error:
        zarrds.save(dataset(new, 3), path, append_dim="t")
    assert "Round" not in str(error.value)
    check(path, values)


def test_exact_integers_of_64_bits_are_not_read_as_floats_to_move_the_fill_value(tmp_path: Path) -> None:
    path = tmp_path / "s"
    zarrds.save(dataset(np.array([2.0**60, np.nan])), path, encoding={"v": {"dtype": "i8", "_FillValue": -1}})
    with pytest.raises(EncodingError, match="is the store's _FillValue"):
        zarrds.save(dataset([-1], 2), path, append_dim="t")
    check(path, [2.0**60, np.nan])


def test_a_tree_whose_integers_make_room(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = xr.DataTree.from_dict({"/": dataset(BATCHES[1]), "/a": dataset(BATCHES[0])})
    zarrds.save(first, path)
    for n, batch in enumerate((BATCHES[1], np.array([2**40, -(2**31)]))):
        start = 2 * n + 2
        zarrds.save(
            xr.DataTree.from_dict({"/": dataset(BATCHES[1], start), "/a": dataset(batch, start)}), path, append_dim="t"
        )
    with xr.open_datatree(path, engine="zarrds") as opened:
        np.testing.assert_array_equal(opened["a"].v, [1, 2, np.nan, 3, 2**40, -(2**31)])


def test_who_has_opened_it_before_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s"
    zarrds.save(dataset(np.array([5.0, np.nan])), path, encoding={"v": {"dtype": "i2", "_FillValue": -1}})
    before = xr.open_dataset(path, engine="zarrds")
    zarrds.save(dataset([-1], 2), path, append_dim="t")
    with pytest.raises(ConflictError):
        before.v.load()


def test_integers_as_objects_that_only_unsigned_ones_hold() -> None:
    store, large = zarrds.MemoryStore(), np.array([2**64 - 1, None], object)
    zarrds.save(xr.Dataset({"v": ("x", np.array([1], "u8"))}), store)
    for added in (large[:1], large):
        zarrds.save(xr.Dataset({"v": ("x", added)}), store, append_dim="x")
    assert list(xr.open_dataset(store, engine="zarrds").v.values) == [1, 2**64 - 1, 2**64 - 1, None]
    both = xr.Dataset({"v": ("x", np.array([np.int64(-1), 2**64 - 1], object))})
    with pytest.raises(EncodingError, match="'v'"):  # NumPy would make two large ones of them
        zarrds.save(both, zarrds.MemoryStore(), encoding={"v": {"dtype": "u8"}})


@pytest.mark.parametrize("key", ["_FillValue", "missing_value"])
@pytest.mark.parametrize(("dtype", "zarr_format"), [("i8", 3), ("u8", 3), ("i8", 2), (">i8", 2), (">u8", 2)])
def test_those_of_others_that_are_rounded_are_told(
    tmp_path: Path, key: str, dtype: str, zarr_format: Literal[2, 3]
) -> None:
    """xarray makes floats of them: of more than 2**53 without a word."""
    marker = int(np.iinfo(dtype).max)
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=zarr_format)
    for name, values in (("v", [2**53 + 1, marker, 5]), ("w", [2**53, marker, 5])):
        named: dict[str, Any] = {"attributes": {key: marker}, "dimension_names": ["x"]}
        if zarr_format == 2:
            named = {"attributes": {key: marker, "_ARRAY_DIMENSIONS": ["x"]}, "fill_value": marker}
        array = group.create_array(name, shape=3, dtype=dtype, **named)
        array[:] = np.array(values, dtype)
    found = xr.open_dataset(tmp_path / "a.zarr", engine="zarrds")
    with pytest.warns(xr.SerializationWarning, match=r"integers of 'v' in .* are rounded.*'v': False\} keeps them"):
        assert found.v.values.tolist()[::2] == [2.0**53, 5]
    with warnings.catch_warnings(action="error"):
        assert found.w.values.tolist()[::2] == [2.0**53, 5]
        exact = xr.open_dataset(tmp_path / "a.zarr", engine="zarrds", mask_and_scale={"v": False})
        assert exact.v.values.tolist() == [2**53 + 1, marker, 5]


@pytest.mark.parametrize(("dtype", "marker"), [("i8", 2**62), ("i8", -(2**62)), ("u8", 2**63 + 2**62)])
def test_those_beside_what_is_missing_are_told(path: Path, dtype: str, marker: int) -> None:
    """xarray compares floats: what rounds to the marker is missing to it. The marker itself is."""
    values = {"v": [marker + 1, marker, 5], "w": [marker, marker, 5]}
    raw = {
        name: ("x", np.array(each, dtype), {"_FillValue": np.dtype(dtype).type(marker)})
        for name, each in values.items()
    }
    zarrds.save(xr.Dataset(raw), path)
    found = xr.open_dataset(path, engine="zarrds")
    with pytest.warns(xr.SerializationWarning, match=f"'v' in .* taken for missing, {marker + 1} for one"):
        assert np.isnan(found.v.values).tolist() == [True, True, False]
    with warnings.catch_warnings(action="error"):
        assert np.isnan(found.w.values).tolist() == [True, True, False]
