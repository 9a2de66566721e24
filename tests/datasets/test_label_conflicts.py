"""Labels of one kind meet labels of another, and names meet names: an error, or the right labels, never wrong ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import open_zarrds
from zarrds.errors import EncodingError, LabelError

LEVELS = pd.MultiIndex.from_arrays([["p", "q"], [1, 2]], names=["l", "m"])


pytestmark = pytest.mark.usefixtures("no_warnings")


def saved(*datasets: xr.Dataset, **options: Any) -> zarrds.MemoryStore:
    store = zarrds.MemoryStore()
    first, *others = datasets
    zarrds.save(first, store)
    for ds in others:
        zarrds.save(ds, store, **options)
    return store


def with_levels(values: list[int]) -> xr.Dataset:
    return xr.Dataset({"d": ("x", values)}, xr.Coordinates.from_pandas_multiindex(LEVELS, "x"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (xr.Dataset({"v": ("x", pd.Categorical(["a", "b"]))}), xr.Dataset(coords={"v_categories": ["b", "a"]})),
        (xr.Dataset({"v": ("x", pd.Categorical(["a", "b"]))}), xr.Dataset({"v_categories": ("y", [1, 2, 3])})),
        (
            xr.Dataset(coords={"x": pd.interval_range(0, 2)}),
            xr.Dataset({"x_bounds": (("x", "bnds"), np.zeros((2, 2)))}),
        ),
    ],
)
def test_a_name_that_is_that_of_a_part(first: xr.Dataset, second: xr.Dataset) -> None:
    store = saved(first)
    with pytest.raises(LabelError, match="part of"):
        zarrds.save(second, store, mode="a")
    xr.testing.assert_identical(open_zarrds(store), first)


@pytest.mark.parametrize("how", [{"mode": "a"}, {"mode": "r+"}, {"region": {"x": slice(0, 2)}}, {"region": "auto"}])
@pytest.mark.parametrize("first_has_levels", [True, False])
@pytest.mark.parametrize("other", [[10, 20], pd.RangeIndex(2), ["a", "b"]], ids=["numbers", "range", "text"])
def test_a_multi_index_and_other_labels(other: Any, first_has_levels: bool, how: dict[str, Any]) -> None:
    plain = xr.Dataset({"d": ("x", [98, 97])}, {"x": other})
    first, second = (with_levels([1, 2]), plain) if first_has_levels else (plain, with_levels([1, 2]))
    store = saved(first.assign(e=("x", [3, 4])))
    with pytest.raises(LabelError):
        zarrds.save(second, store, **how)
    xr.testing.assert_identical(open_zarrds(store), first.assign(e=("x", [3, 4])))


@pytest.mark.parametrize("how", ["error", "skip", "replace"])
def test_intervals_with_equal_middles_are_not_the_same(how: Any) -> None:
    def ds(intervals: list[tuple[int, int]], values: list[float]) -> xr.Dataset:
        return xr.Dataset({"d": ("x", values)}, {"x": pd.IntervalIndex.from_tuples(intervals)})

    store = saved(ds([(0, 2), (2, 4)], [1.0, 2]))
    zarrds.save(ds([(3, 3), (4, 6)], [9.0, 10]), store, append_dim="x", on_overlap=how)
    assert open_zarrds(store).d.values.tolist() == [1, 2, 9, 10]
    large = [2**60 + i for i in range(4)]
    store = saved(ds([(large[0], large[1]), (large[1], large[2])], [1.0, 2]))
    zarrds.save(ds([(large[2], large[3])], [3.0]), store, append_dim="x", on_overlap=how)
    assert [interval.right for interval in open_zarrds(store).indexes["x"]] == large[1:]
    with pytest.raises(LabelError, match="backwards"):
        zarrds.save(ds([(5, 6)], [1.0]), store, append_dim="x", on_overlap=how)


@pytest.mark.parametrize("dtype", ["string", "Int64", "boolean", "Float64"])
def test_nothing_but_missing_data(dtype: str) -> None:
    missing = pd.array([None, None], dtype=dtype)
    store = saved(xr.Dataset({"v": ("x", missing)}))
    assert pd.isna(open_zarrds(store).v.values).all()


def test_times_of_a_zone_that_are_all_missing_are_appended() -> None:
    times = pd.DatetimeIndex(["2000-01-01", "2000-01-02", "NaT", "NaT"], tz="Asia/Tokyo").array
    ds = xr.Dataset({"v": ("x", times)})
    store = saved(ds.isel(x=slice(0, 2)), ds.isel(x=slice(2, 4)), append_dim="x")
    assert open_zarrds(store).v.values[:2].tolist() == ds.v.values[:2].tolist()
    assert pd.isna(open_zarrds(store).v.values[2:]).all()


@pytest.mark.parametrize("values", [pd.Categorical(["a", "b"]), pd.array([1, None], "Int64")])
def test_an_index_of_a_coordinate_that_is_no_dimension(values: Any) -> None:
    ds = xr.Dataset(coords={"c": ("x", values)})
    found = open_zarrds(saved(ds.set_xindex("c")))
    pd.testing.assert_extension_array_equal(found.c.data, values)
    assert "c" in found.coords


def test_objects_of_any_dimensions() -> None:
    periods = np.empty((2, 2), object)
    periods.flat[:] = list(pd.period_range("2020", periods=4, freq="M"))
    found = open_zarrds(saved(xr.Dataset({"v": (("x", "y"), periods)})))
    assert found.v.values.tolist() == periods.tolist()
    for index in (pd.period_range("2020", periods=2, freq="M"), pd.interval_range(0, 2)):
        scalar = xr.Dataset(coords={"x": index}).isel(x=0)
        assert open_zarrds(saved(scalar)).x.item() == index[0]


@pytest.mark.parametrize("asked", [{"dtype": "f4"}, {"dtype": "i4"}, {"scale_factor": 2.0}])
@pytest.mark.parametrize(
    "values", [pd.array([1, 2], "Int64"), pd.Categorical(["a", "b"]), pd.array([0.5, 1], "Float32")]
)
def test_encodings_that_the_kind_would_not_survive(values: Any, asked: dict[str, Any]) -> None:
    store = zarrds.MemoryStore()
    with pytest.raises(EncodingError, match="does not go with"):
        zarrds.save(xr.Dataset({"v": ("x", values)}), store, encoding={"v": asked})
    zarrds.save(xr.Dataset({"v": ("x", values)}), store, encoding={"v": {"chunks": (1,)}})
    pd.testing.assert_extension_array_equal(open_zarrds(store).v.data, values)


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_finer_times_are_appended_to_none(unit: Any) -> None:
    for index in (
        pd.date_range("2020-01-01T00:00:01", periods=3, freq="h", tz="UTC").as_unit(unit),
        pd.timedelta_range("1s", periods=3, freq="1h").as_unit(unit),
    ):
        ds = xr.Dataset({"d": ("x", [1, 2, 3])}, {"x": index})
        store = saved(ds.isel(x=slice(0, 0)), ds, append_dim="x")
        found = open_zarrds(store).indexes["x"]
        assert (type(found), found.dtype, found.tolist()) == (type(index), index.dtype, index.tolist())


def test_ranges_that_are_replaced_or_added() -> None:
    ds = xr.Dataset({"d": ("x", [1, 2, 3])}, {"x": pd.RangeIndex(10, 25, 5)})
    backwards = ds.isel(x=slice(None, None, -1))
    assert open_zarrds(saved(ds, backwards, mode="a")).indexes["x"].equals(pd.RangeIndex(20, 5, -5))
    assert isinstance(open_zarrds(saved(ds, backwards, mode="a")).indexes["x"], pd.RangeIndex)
    mixed = ds.assign_coords(x=[5, 3, 4])
    assert open_zarrds(saved(ds, mixed, mode="a")).x.values.tolist() == [5, 3, 4]
    on = ds.assign_coords(x=pd.RangeIndex(25, 40, 5))
    assert open_zarrds(saved(ds, on, append_dim="x")).indexes["x"].equals(pd.RangeIndex(10, 40, 5))
    gap = ds.assign_coords(x=pd.RangeIndex(26, 41, 5))
    assert open_zarrds(saved(ds, gap, append_dim="x")).x.values.tolist() == [10, 15, 20, 26, 31, 36]
    bare = xr.Dataset({"d": ("x", [1, 2, 3])})
    labelled = bare.assign_coords(x=pd.RangeIndex(3))
    assert isinstance(open_zarrds(saved(bare, labelled, mode="a")).indexes["x"], pd.RangeIndex)


def _labels(index: Any) -> Any:
    if isinstance(index, xr.indexes.RangeIndex):
        return xr.Coordinates.from_xindex(index)
    return index if isinstance(index, xr.Coordinates) else {"x": index}


@pytest.mark.parametrize("how", [{"append_dim": "x"}, {"region": {"x": slice(1, 3)}}, {"region": {"x": slice(0, 2)}}])
@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(2),
        pd.RangeIndex(6, 8),
        [0, 1],
        xr.indexes.RangeIndex.arange(0.0, 2.0, dim="x"),
        xr.indexes.RangeIndex.arange(6.0, 8.0, dim="x"),
    ],
    ids=["from 0", "going on", "written out", "spaced", "spaced, going on"],
)
@pytest.mark.parametrize("mode", ["a", None])
def test_labels_for_a_part_of_what_has_none(index: Any, how: dict[str, Any], mode: Any) -> None:
    """Which would be labels of all, by their places."""
    bare = xr.Dataset({"v": ("x", np.arange(6.0)), "w": ("x", np.arange(6))})
    store = saved(bare)
    part = xr.Dataset({"v": ("x", [8.0, 9.0]), "w": ("x", [8, 9])}, _labels(index))
    with pytest.raises((EncodingError, LabelError), match="'x'"):
        zarrds.save(part, store, mode=mode, **how)
    xr.testing.assert_identical(open_zarrds(store), bare)
    zarrds.save(part.drop_vars("x"), store, mode=mode, **how)
    assert "x" not in open_zarrds(store).coords


KINDS = {
    "range": pd.RangeIndex(2),
    "spaced from 0": xr.indexes.RangeIndex.arange(0.0, 2.0, dim="x"),
    "spaced from 5": xr.indexes.RangeIndex.arange(5.0, 7.0, dim="x"),
    "numbers": [5, 6],
    "no grid": [5.2, 6.1],
    "no index": xr.Coordinates({"x": ("x", [5, 6])}, indexes={}),
    "categories": pd.CategoricalIndex(["a", "b"]),
    "levels": xr.Coordinates.from_pandas_multiindex(LEVELS, "x"),
}


@pytest.mark.parametrize("mode", ["a", "r+"])
@pytest.mark.parametrize("new", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_labels_of_two_makings_stay_those_of_their_data(first: str, new: str, mode: Any) -> None:
    """Those that have no array were compared with nothing: data came back under the labels of the other."""
    before = xr.Dataset({"v": ("x", [1, 2]), "stays": ("x", [3, 4])}, _labels(KINDS[first]))
    given = xr.Dataset({"w" if mode == "a" else "v": ("x", [5, 6])}, _labels(KINDS[new]))
    store = saved(before)
    try:
        zarrds.save(given, store, mode=mode)
    except (EncodingError, LabelError):
        xr.testing.assert_identical(open_zarrds(store), before)
        return
    found = open_zarrds(store)
    assert found.x.values.tolist() == before.x.values.tolist() == given.x.values.tolist()


def test_evenly_spaced_coordinates_beside_a_range() -> None:
    store = saved(xr.Dataset({"v": ("x", [1, 2])}, {"x": pd.RangeIndex(2)}))
    place = xr.indexes.RangeIndex.arange(5.0, 7.0, dim="x", coord_name="place")
    zarrds.save(xr.Dataset({"w": ("x", [3, 4])}, _labels(place)), store, mode="a")
    found = open_zarrds(store)
    assert {name: type(index) for name, index in found.xindexes.items()} == {
        "x": xr.indexes.PandasIndex,
        "place": xr.indexes.RangeIndex,
    }


@pytest.mark.parametrize("name", ["x", "place"])
@pytest.mark.parametrize("written", [["v", "w"], ["v"], []])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_evenly_spaced_labels_for_what_is_stored_without(name: str, written: list[str], zarr_format: Any) -> None:
    plain = xr.Dataset({"v": ("x", [1, 2]), "w": ("x", [3, 4])})
    labels = _labels(xr.indexes.RangeIndex.arange(5.0, 7.0, dim="x", coord_name=name))
    store = zarrds.MemoryStore()
    zarrds.save(plain, store, zarr_format=zarr_format)
    zarrds.save(plain[written].assign_coords(labels), store, mode="a")
    found = open_zarrds(store)
    xr.testing.assert_identical(found, plain.assign_coords(labels))
    assert isinstance(found.xindexes[name], xr.indexes.RangeIndex)
    zarrds.save(plain[["v"]] + 1, store, mode="a")
    assert open_zarrds(store)[name].values.tolist() == [5.0, 6.0]
    assert zarrds.verify(store).ok


@pytest.mark.parametrize("how", [{"append_dim": "x"}, {"region": {"x": slice(1, 3)}}])
def test_evenly_spaced_labels_among_a_range(how: dict[str, Any]) -> None:
    whole = xr.Dataset({"v": ("x", np.arange(6.0))}, {"x": pd.RangeIndex(6)})
    store = saved(whole)
    part = xr.Dataset({"v": ("x", [8.0, 9.0])}, _labels(xr.indexes.RangeIndex.arange(0.0, 2.0, dim="x")))
    with pytest.raises(LabelError, match="'x'"):
        zarrds.save(part, store, **how)
    xr.testing.assert_identical(open_zarrds(store), whole)
    start = 6 if "append_dim" in how else 1
    there = part.drop_vars("x").assign_coords(_labels(xr.indexes.RangeIndex.arange(start, start + 2.0, dim="x")))
    zarrds.save(there, store, **how)
    found = open_zarrds(store)
    assert found.v.values[start : start + 2].tolist() == [8, 9]
    assert found.indexes["x"].equals(pd.RangeIndex(found.sizes["x"]))


@pytest.mark.parametrize(
    "index",
    [pd.CategoricalIndex(["a", "b"]), pd.interval_range(0, 2), pd.RangeIndex(2)],
    ids=lambda i: type(i).__name__,
)
def test_left_out_variables_take_their_parts_along(index: pd.Index) -> None:
    ds = xr.Dataset({"v": ("x", [1, 2])}, {"x": index})
    store = saved(ds)
    xr.testing.assert_identical(open_zarrds(store, drop_variables="x"), ds.drop_vars("x"))
    nested = xr.Dataset({"c": ("x", pd.cut([1, 5], [0, 3, 6])), "v": ("x", [1, 2])})
    xr.testing.assert_identical(open_zarrds(saved(nested), drop_variables=["c"]), nested[["v"]])
