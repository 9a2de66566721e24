"""Edits of stores whose labels are of pandas' own kinds: what is noted of them stays true."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.index_kinds import INDEXES, MULTI_INDEXES, assert_same_indexes, dataset_of
from tests.datasets.samples import Format, change_notes, files, load
from zarrds.errors import EncodingError, LabelError, VariableNotFoundError
from zarrds.labels.sorted.lazy_index import LazyIndex


def levels_of(index: pd.MultiIndex) -> list[pd.Index]:
    return [index.get_level_values(name) for name in index.names]


KINDS = [
    "int64-sorted",
    "text-str",
    "range",
    "range-from-5",
    "datetime-s",
    "tz-london",
    "period-M",
    "interval-right",
    "interval-tz",
    "categorical",
    "categorical-intervals",
    "Int64",
]


# two that miss a label are the same to pandas, and others to xarray
LEVELS = [kind for kind, index in MULTI_INDEXES.items() if not any(level.hasnans for level in levels_of(index))]


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # xarray's own, when it looks at indexes, or assigns to a dataset with levels
        warnings.filterwarnings("ignore", message="(Period|Datetime)Index.values")
        warnings.filterwarnings("ignore", message="Deleting a single level")
        yield


def opened(path: Path, **options: Any) -> xr.Dataset:
    return xr.open_dataset(path, engine="zarrds", **options)


def is_stored_as(path: Path, expected: xr.Dataset) -> None:
    for consolidated in (True, False):
        assert_same_indexes(opened(path, consolidated=consolidated), expected)
    report = zarrds.verify(path)
    assert not report.findings, report


def names_in(path: Path) -> set[str]:
    return {name.partition("/")[0] for name in files(path) if "/" in name}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("kind", KINDS)
def test_rename_of_an_index(path: Path, zarr_format: Format, kind: str) -> None:
    ds = dataset_of(kind)
    zarrds.save(ds, path, zarr_format=zarr_format)
    zarrds.rename(path, {"x": "place", "v": "value"})
    is_stored_as(path, ds.rename(x="place", v="value"))
    assert not [name for name in names_in(path) if name.startswith("x")]  # its parts went with it
    zarrds.rename(path, {"place": "x", "value": "v"})
    is_stored_as(path, ds)


@pytest.mark.parametrize("kind", LEVELS)
def test_rename_of_levels(path: Path, zarr_format: Format, kind: str) -> None:
    ds = dataset_of(kind)
    zarrds.save(ds, path, zarr_format=zarr_format)
    first = str(MULTI_INDEXES[kind].names[0])
    zarrds.rename(path, {"x": "place", first: "level"})
    labels = xr.Coordinates.from_pandas_multiindex(MULTI_INDEXES[kind].set_names("level", level=first), "place")
    data = {"v": ("place", ds.v.values), "w": (("y", "place"), ds.w.values)}
    is_stored_as(path, xr.Dataset(data, labels, ds.attrs).assign_coords(y=ds.y))


def test_a_part_has_its_new_name_only_where_that_is_free(path: Path) -> None:
    ds = dataset_of("interval-int").assign(place_bounds=5)
    zarrds.save(ds, path)
    zarrds.rename(path, {"x": "place"})
    is_stored_as(path, ds.rename(x="place"))
    assert {"place_bounds", "place_bounds_1"} <= names_in(path)
    # the same for other readers
    other = xr.open_dataset(path, engine="zarr")
    assert other.place.attrs["bounds"] == "place_bounds_1"
    assert int(other.place_bounds) == 5
    # one may name a part with its owner
    zarrds.rename(path, {"place": "x", "place_bounds_1": "ends"})
    is_stored_as(path, ds)
    assert "ends" in names_in(path)
    with pytest.raises(LabelError, match="taken already"):
        zarrds.rename(path, {"v": "ends"})


def test_a_dimension_that_has_its_labels_from_another_reader(path: Path, zarr_format: Format) -> None:
    """A range has no array, and one with attributes has: both follow."""
    ds = dataset_of("range").assign_coords(y=("y", pd.RangeIndex(2)))
    zarrds.save(ds, path, zarr_format=zarr_format)
    zarrds.rename(path, {"x": "y2", "y": "x2"})
    is_stored_as(path, ds.rename(x="y2", y="x2"))
    with pytest.raises(LabelError, match="taken already"):
        zarrds.rename(path, {"v": "x2"})


def test_labels_that_are_searched_are_searched_under_another_name(path: Path) -> None:
    labels = np.arange(70_000) * 10 + np.arange(70_000) % 7
    zarrds.save(xr.Dataset({"v": ("x", labels)}, {"x": labels}), path, encoding={"x": {"chunks": (10_000,)}})
    zarrds.rename(path, {"x": "position"})
    found = opened(path, index="lazy")
    assert isinstance(found.indexes["position"], LazyIndex)
    assert int(found.v.sel(position=labels[50_000])) == labels[50_000]
    assert zarrds.verify(path).ok


def test_variables_that_only_pandas_knows(path: Path, zarr_format: Format) -> None:
    ds = xr.Dataset({"kind": ("x", pd.Categorical([*"abca"])), "n": ("x", pd.array([1, None, 3, 4], "Int16"))})
    zarrds.save(ds, path, zarr_format=zarr_format)
    zarrds.rename(path, {"kind": "sort", "n": "count"})
    is_stored_as(path, ds.rename(kind="sort", n="count"))
    assert names_in(path) == {"sort", "sort_categories", "count"}
    zarrds.drop_vars(path, "sort")
    is_stored_as(path, ds.rename(n="count").drop_vars("kind"))
    assert names_in(path) == {"count"}


@pytest.mark.parametrize("kind", KINDS)
def test_drop_of_an_index(path: Path, zarr_format: Format, kind: str) -> None:
    ds = dataset_of(kind)
    zarrds.save(ds, path, zarr_format=zarr_format)
    zarrds.drop_vars(path, "x")
    is_stored_as(path, ds.drop_vars("x"))
    assert names_in(path) == {"v", "w", "y"}
    with pytest.raises(VariableNotFoundError):
        zarrds.drop_vars(path, "x")
    zarrds.drop_vars(path, "x", errors="ignore")


@pytest.mark.parametrize("kind", LEVELS)
@pytest.mark.parametrize("with_dimension", [False, True])
def test_drop_of_levels(path: Path, kind: str, with_dimension: bool) -> None:
    ds = dataset_of(kind)
    zarrds.save(ds, path)
    levels = [str(name) for name in MULTI_INDEXES[kind].names]
    before = files(path)
    for names in ([levels[0]], levels[1:], ["x"], ["x", levels[-1]]):
        with pytest.raises(LabelError, match="Drop all of its levels") as caught:
            zarrds.drop_vars(path, names)
        assert all(repr(level) in str(caught.value) for level in levels)
    assert files(path) == before
    zarrds.drop_vars(path, [*levels, "x"] if with_dimension else levels)
    is_stored_as(path, ds.drop_vars(["x", *levels]))
    assert names_in(path) == {"v", "w", "y"}


@pytest.mark.parametrize(("kind", "part"), [("interval-int", "x_bounds"), ("categorical", "x_categories")])
def test_parts_alone(path: Path, kind: str, part: str) -> None:
    zarrds.save(dataset_of(kind), path)
    before = files(path)
    for edit in (lambda: zarrds.drop_vars(path, part), lambda: zarrds.rename(path, {part: "other"})):
        with pytest.raises(LabelError, match="of 'x'") as caught:
            edit()
        assert part in str(caught.value)
    assert files(path) == before
    zarrds.drop_vars(path, [part, "x"])
    is_stored_as(path, dataset_of(kind).drop_vars("x"))


def test_a_part_of_two(path: Path) -> None:
    """Categories that two arrays share, as another writer may store them, stay while one of them does."""
    kinds = pd.Categorical([*"abca"])
    zarrds.save(xr.Dataset({"one": ("x", kinds), "two": ("x", kinds)}), path)
    change_notes(path, "two", lambda content: content["zarrds"]["pandas"].update(categories="one_categories"))
    zarrds.drop_vars(path, "one")
    assert {"two", "one_categories"} <= names_in(path)
    found = opened(path)
    assert found.two.dtype == kinds.dtype
    assert list(found.two.values) == [*"abca"]


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("kind", "attribute", "value"),
    [
        ("categorical", "flag_values", [0, 1]),
        ("categorical", "flag_meanings", "a b"),
        ("categorical", "_FillValue", 3),
        ("categorical-spaces", "flag_meanings", "a b"),
        ("categorical", "scale_factor", 2.0),
        ("interval-int", "bounds", "y"),
        ("interval-datetime", "units", "hours since 1970-01-01"),
        ("Int64", "_FillValue", 3),
        ("Int64", "missing_value", 3),
        ("boolean", "_FillValue", 1),
        ("text-string", "missing_value", "b"),
        ("period-M", "calendar", "noleap"),
        ("tz-london", "units", "days since 2000-01-01"),
        ("int64-sorted", "add_offset", 4.0),
    ],
)
def test_attributes_that_go_with_labels(path: Path, zarr_format: Format, kind: str, attribute: str, value: Any) -> None:
    ds = dataset_of(kind)
    zarrds.save(ds, path, zarr_format=zarr_format)
    before = files(path)
    with pytest.raises(EncodingError, match="how the stored values are decoded") as caught:
        zarrds.update_attrs(path, {attribute: value, "long_name": "place"}, "x")
    assert attribute in str(caught.value)
    assert files(path) == before
    zarrds.update_attrs(path, {"long_name": "place"}, "x")
    ds["x"].attrs["long_name"] = "place"
    is_stored_as(path, ds)


@pytest.mark.slow
def test_all_kinds_can_be_renamed(tmp_path: Path) -> None:
    for i, kind in enumerate(INDEXES):
        if INDEXES[kind].hasnans:  # the same to pandas, and others to xarray
            continue
        path = tmp_path / str(i)
        zarrds.save(dataset_of(kind), path)
        zarrds.rename(path, {"x": "place"})
        assert_same_indexes(opened(path), dataset_of(kind).rename(x="place"))
        assert zarrds.verify(path).ok, kind


@pytest.mark.parametrize("has_units", [False, True])
def test_nothing_becomes_bounds_of_times_by_its_new_name(path: Path, has_units: bool) -> None:
    ds = xr.Dataset(coords={"time": ("time", pd.date_range("2000", periods=3), {"bounds": "ends"})})
    ds["n"] = ("time", "nv"), np.arange(6).reshape(3, 2), {"units": "1"} if has_units else {}
    zarrds.save(ds, path)
    if has_units:
        zarrds.rename(path, {"n": "ends"})
        np.testing.assert_array_equal(load(path).ends, ds.n)
        return
    before = files(path)
    with pytest.raises(LabelError, match="would be read as times: 'time' names it as its bounds"):
        zarrds.rename(path, {"n": "ends"})
    assert files(path) == before
    zarrds.rename(path, {"n": "count"})
    np.testing.assert_array_equal(load(path)["count"], ds.n)
    zarrds.update_attrs(path, {}, "time", delete=["bounds"])  # as the error says
    zarrds.rename(path, {"count": "ends"})
    np.testing.assert_array_equal(load(path).ends, ds.n)
