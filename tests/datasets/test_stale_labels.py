"""Stores that other tools have edited: what is noted of labels is not believed any more, and nobody gets wrong ones."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.index_kinds import INDEXES, MULTI_INDEXES, dataset_of
from tests.datasets.samples import Format, change_notes

OPTIONS: list[dict[str, Any]] = [
    {"index": "pandas"},
    {"index": "auto", "index_threshold": 2},
    {"index": "lazy"},
    {"index": "none"},
]
N = 70_000


def array(path: Path, name: str) -> Any:
    return zarr.open_array(path / name, mode="r+")


def member(path: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what is noted of an array beside it alone."""
    change_notes(path, name, change, copies=False)


def opened(path: Path, **options: Any) -> tuple[xr.Dataset, list[str]]:
    """A dataset, loaded, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = xr.open_dataset(path, engine="zarrds", **options).load()
    ours = [w for w in caught if "zarrds" in str(w.message) or "opened as if" in str(w.message)]
    # the other one is of integers that are rounded, as they are missing in xarray's way again
    assert all(issubclass(w.category, (UserWarning, xr.SerializationWarning)) for w in ours)
    return found, [str(w.message) for w in ours]


def as_others_see(path: Path) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return xr.open_dataset(path, engine="zarr", consolidated=False).load()


def is_as_others_see(path: Path, *, warns: str | None) -> None:
    """Whatever index is asked for, the variables are those that the zarr engine reads."""
    expected = as_others_see(path)
    for options in OPTIONS:
        for consolidated in (False, True):
            if consolidated:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    zarr.consolidate_metadata(path)
            found, told = opened(path, consolidated=consolidated, **options)
            xr.testing.assert_identical(found, expected)
            # of format 2, zarr-python's consolidated metadata is without notes
            is_noted = not consolidated or (path / "zarr.json").exists()
            if warns is not None and options["index"] != "none" and is_noted:
                assert any(warns in message for message in told), told
                assert any(str(path) in message for message in told)


# what is beside the labels


def test_codes_without_a_category(path: Path, zarr_format: Format) -> None:
    zarrds.save(dataset_of("categorical"), path, zarr_format=zarr_format)
    array(path, "x")[2] = 77
    is_as_others_see(path, warns="codes have no category")


@pytest.mark.parametrize(
    ("kind", "part"),
    [("categorical", "categories"), ("categorical-intervals", "categories"), ("interval-tz", "bounds")],
)
def test_parts_that_are_gone(path: Path, zarr_format: Format, kind: str, part: str) -> None:
    zarrds.save(dataset_of(kind), path, zarr_format=zarr_format)
    shutil.rmtree(path / f"x_{part}")
    is_as_others_see(path, warns="are missing")


def test_parts_of_another_size(path: Path, zarr_format: Format) -> None:
    zarrds.save(dataset_of("categorical"), path, zarr_format=zarr_format)
    array(path, "x_categories").resize(2)
    is_as_others_see(path, warns="codes have no category")


def test_bounds_that_moved(path: Path, zarr_format: Format) -> None:
    zarrds.save(dataset_of("interval-int"), path, zarr_format=zarr_format)
    bounds = array(path, "x_bounds")
    bounds[...] = bounds[...] + 100
    is_as_others_see(path, warns="not around the values")


def test_categories_that_are_not_unique_any_more(path: Path, zarr_format: Format) -> None:
    zarrds.save(dataset_of("categorical"), path, zarr_format=zarr_format)
    array(path, "x_categories")[...] = np.array(["a"] * 4, object)
    is_as_others_see(path, warns="not unique")


@pytest.mark.parametrize("level", ["letter", "number"])
def test_levels_that_are_gone(path: Path, zarr_format: Format, level: str) -> None:
    zarrds.save(dataset_of("numbers"), path, zarr_format=zarr_format)
    shutil.rmtree(path / level)
    is_as_others_see(path, warns="do not fit together")


def test_a_dimension_that_has_labels_now(path: Path, zarr_format: Format) -> None:
    zarrds.save(dataset_of("range"), path, zarr_format=zarr_format)
    xr.Dataset(coords={"x": [6, 5, 4, 3, 2, 1]}).to_zarr(path, mode="a", consolidated=False)
    is_as_others_see(path, warns=None)


def test_a_dimension_of_levels_that_has_labels_now(path: Path, zarr_format: Format) -> None:
    zarrds.save(dataset_of("numbers"), path, zarr_format=zarr_format)
    xr.Dataset(coords={"x": [6, 5, 4, 3, 2, 1]}).to_zarr(path, mode="a", consolidated=False)
    is_as_others_see(path, warns="do not fit together")


@pytest.mark.parametrize("kind", ["range-from-5", "int64-sorted", "float-descending", "datetime-s", "text-objects"])
def test_labels_that_are_others_now(path: Path, zarr_format: Format, kind: str) -> None:
    ds = dataset_of(kind)
    zarrds.save(ds, path, zarr_format=zarr_format)
    stored = array(path, "x")
    stored[...] = stored[...][[3, 0, 5, 1, 2, 4]]
    expected = ds.indexes["x"][[3, 0, 5, 1, 2, 4]]
    for options in OPTIONS[:3]:
        found, _ = opened(path, **options)
        assert list(found.x.values) == list(expected.values)
        for i, label in enumerate(expected):
            assert float(found.v.sel(x=label)) == float(ds.v[i])
    # of format 2 chunks have no digests: they are compared when they are used
    assert bool(opened(path, index="lazy")[1]) == (zarr_format == 3 or kind in ("range-from-5", "text-objects"))
    zarrds.index(path, "x")
    assert zarrds.verify(path).ok == (kind != "range-from-5")


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    "kind", ["int64-sorted", "range-from-5", "tz-london", "categorical", "Int64", "period-M", "range"]
)
def test_arrays_that_were_made_longer(path: Path, zarr_format: Format, kind: str) -> None:
    ds = dataset_of(kind)
    zarrds.save(ds, path, zarr_format=zarr_format)
    raw = {name: array(path, name) for name in ("x", "v", "w") if (path / name).exists()}
    for stored in raw.values():
        stored.resize((*stored.shape[:-1], 9))
        stored[..., 6:] = stored[..., 3:6]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path)
    for options in OPTIONS[:3]:
        found, _ = opened(path, **options)
        if zarr_format == 2 or kind == "range-from-5":  # zarr-python has removed the note, or it is wrong now
            others = as_others_see(path)
            assert found.indexes.keys() == others.indexes.keys()
            assert all(found.indexes[name].equals(others.indexes[name]) for name in others.indexes)
        elif kind == "range":
            assert found.indexes["x"].equals(pd.RangeIndex(9))
        else:
            expected = ds.indexes["x"].take([0, 1, 2, 3, 4, 5, 3, 4, 5])
            pd.testing.assert_index_equal(found.indexes["x"], expected, check_names=False)
        np.testing.assert_array_equal(found.v, ds.v[[0, 1, 2, 3, 4, 5, 3, 4, 5]])


# the notes themselves

JUNK: list[Any] = [
    None,
    True,
    7,
    1.5,
    "text",
    [],
    {},
    ["k"],
    {"dtype": "int64"},
    {"dtype": 5},
    [[["x"]]],
    {"a": {"b": []}},
]
KINDS = [
    "int64-sorted",
    "categorical",
    "interval-tz",
    "Int64",
    "range-from-5",
    "tz-london",
    "numbers",
    "range",
    "text-string",
]


@pytest.mark.one_in(4)
@pytest.mark.parametrize("kind", KINDS)
def test_junk_in_place_of_all_notes(path: Path, zarr_format: Format, kind: str) -> None:
    zarrds.save(dataset_of(kind), path, zarr_format=zarr_format)
    names = [folder.name for folder in path.iterdir() if folder.is_dir()]
    original = {name: member_of(path, name) for name in names}
    expected = as_others_see(path)
    for junk in [..., *JUNK]:
        for name in names:
            member(path, name, lambda content, junk=junk: put(content, junk))  # type: ignore[misc]  # bound at once
        for options in OPTIONS:
            found, _ = opened(path, consolidated=False, **options)
            xr.testing.assert_identical(found, expected)
    # and in place of each
    for junk in JUNK[1:]:
        for name in names:
            content = dict.fromkeys(original[name].keys() - {"id", "complete", "must_understand"}, junk)
            member(path, name, lambda c, content=content, name=name: put(c, {**original[name], **content}))  # type: ignore[misc]  # the same
        for options in OPTIONS:
            found, _ = opened(path, consolidated=False, **options)
            xr.testing.assert_identical(found, expected)


def member_of(path: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    member(path, name, lambda content: found.update(content["zarrds"]))
    return found


def put(content: dict[str, Any], value: Any) -> None:
    content.pop("zarrds", None)
    if value is not ...:
        content["zarrds"] = {**value, "must_understand": False} if isinstance(value, dict) else value


def test_parts_of_each_other(path: Path) -> None:
    ds = dataset_of("int64-sorted").assign_coords({name: ("x", np.arange(6)) for name in "abc"})
    for links in ({"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "a"}, {"x": "a", "a": "x"}):
        zarrds.save(ds, path, mode="w")
        expected = as_others_see(path)
        for name, other in links.items():
            note = {"pandas": {"dtype": "category", "ordered": False, "categories": other}}
            member(path, name, lambda content, note=note: put(content, note))  # type: ignore[misc]  # bound at once
        for options in OPTIONS:
            found, _ = opened(path, consolidated=False, **options)
            xr.testing.assert_identical(found, expected)
        assert not zarrds.verify(path).ok
        zarrds.update_attrs(path, {"title": "others"})
        zarrds.rename(path, {"a": "d"})
        zarrds.drop_vars(path, ["b", "d", "c"])


# labels that are searched where they lie


@pytest.mark.one_in(4)
@pytest.mark.parametrize("options", OPTIONS[1:3])
def test_all_kinds_of_labels_wherever_they_lie(zarr_format: Format, options: dict[str, Any]) -> None:
    """Only plain ones are searched in the store: codes, for example, are no labels."""
    for kind in [*INDEXES, *MULTI_INDEXES]:
        store, ds = zarrds.MemoryStore(), dataset_of(kind)
        zarrds.save(ds, store, zarr_format=zarr_format)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = xr.open_dataset(store, engine="zarrds", **options)
            assert set(found.variables) == set(ds.variables), kind
            for name, index in ds.indexes.items():
                pd.testing.assert_index_equal(found.indexes[name], index, exact="equiv")


def large(path: Path, zarr_format: Format, chunk: int = 1000) -> np.ndarray[Any, Any]:
    labels = np.arange(N) * 10 + np.arange(N) % 7
    ds = xr.Dataset({"v": ("x", np.arange(N))}, {"x": labels})
    zarrds.save(ds, path, zarr_format=zarr_format, encoding={"x": {"chunks": (chunk,)}, "v": {"chunks": (N,)}})
    return labels


@pytest.mark.one_in(6)
@pytest.mark.parametrize("options", [{"index": "lazy"}, {"index": "auto", "index_threshold": 1000}])
@pytest.mark.parametrize("chunk", [1000, 100])  # the digests of 256 chunks are looked at when a store is opened
def test_large_labels_that_are_others_now(path: Path, zarr_format: Format, options: dict[str, Any], chunk: int) -> None:
    labels = large(path, zarr_format, chunk)
    stored = array(path, "x")
    labels[30_100:30_200] = labels[30_100:30_200][::-1] - 200_000 + 5
    stored[30_100:30_200] = labels[30_100:30_200]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = xr.open_dataset(path, engine="zarrds", **options)
        for i in (0, 30_099, 30_100, 30_150, 30_199, 30_200, 50_000, N - 1):
            assert int(found.x[i]) == labels[i]
        for i in (0, 30_099, 30_100, 30_150, 30_199, 30_200, 50_000, N - 1):
            assert int(found.v.sel(x=labels[i])) == i
        np.testing.assert_array_equal(found.x, labels)
    ours = [str(w.message) for w in caught if "zarrds" in str(w.message)]
    assert any("zarrds.index" in message for message in ours)
    # mended
    stored[...] = np.sort(labels)
    zarrds.index(path, "x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = xr.open_dataset(path, engine="zarrds", **options)
        for i in (0, 30_100, N - 1):
            assert int(again.x[int(again.v.sel(x=np.sort(labels)[i]))]) == np.sort(labels)[i]
    assert zarrds.verify(path).ok


@pytest.mark.parametrize("chunk", [1000, 100])
def test_a_label_that_is_gone_is_not_found(path: Path, zarr_format: Format, chunk: int) -> None:
    """Also one that was the first of its chunk, which is recorded."""
    labels = large(path, zarr_format, chunk)
    old = int(labels[30_100 - 30_100 % chunk])
    stored = array(path, "x")
    stored[30_100 - 30_100 % chunk] = old + 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = xr.open_dataset(path, engine="zarrds", index="lazy")
        with pytest.raises(KeyError):
            found.v.sel(x=old)


def test_the_zarr_engine_writes_over_a_store(path: Path, zarr_format: Format) -> None:
    labels = large(path, zarr_format)
    more = xr.Dataset({"v": ("x", np.arange(N)[::-1])}, {"x": labels[::-1] + 3})
    more.to_zarr(path, mode="a")
    for options in ({"index": "lazy"}, {"index": "auto", "index_threshold": 1000}, {"index": "pandas"}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = xr.open_dataset(path, engine="zarrds", **options)
            for i in (0, 999, 1000, 40_000):
                assert int(found.v.sel(x=labels[i] + 3)) == i
            xr.testing.assert_identical(found.load(), xr.open_dataset(path, engine="zarr").load())
    zarrds.index(path, "x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = xr.open_dataset(path, engine="zarrds", index="lazy")
        assert int(again.v.sel(x=labels[40_000] + 3)) == 40_000


def test_the_zarr_engine_appends_to_a_store(path: Path, zarr_format: Format) -> None:
    labels = large(path, zarr_format)
    more = xr.Dataset({"v": ("x", np.arange(5))}, {"x": labels[:5]})
    more.to_zarr(path, append_dim="x")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = xr.open_dataset(path, engine="zarrds", index="lazy")
        np.testing.assert_array_equal(found.x, [*labels, *labels[:5]])
        assert found.v.sel(x=labels[7]).item() == 7
        assert list(found.v.sel(x=labels[3])) == [3, 3]
    assert any("zarrds.index" in str(w.message) for w in caught)
    zarrds.index(path, "x")
    assert zarrds.verify(path).ok
