"""A batch without elements says nothing: it may be of any dtype, its labels too, and what follows it as well."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.index_kinds import INDEXES, assert_same_indexes, dataset_of
from tests.datasets.same import differences
from tests.datasets.samples import load, objects
from zarrds.errors import LabelError, ZarrdsError

# labels of a dimension that grows must all be there
KINDS = st.sampled_from([kind for kind, index in INDEXES.items() if not index.hasnans])


def column(values: Any, labels: Any) -> xr.Dataset:
    return xr.Dataset({"v": ("x", values)}, {"x": labels})


@given(KINDS, KINDS, st.sampled_from([2, 3]))
def test_no_labels_of_any_kind(kind: str, other: str, zarr_format: Any) -> None:
    store = zarrds.MemoryStore()
    zarrds.save(dataset_of(kind), store, zarr_format=zarr_format)
    before = load(store)
    zarrds.save(dataset_of(other, slice(0, 0)).assign_attrs(before.attrs), store, append_dim="x")
    assert_same_indexes(load(store), before)
    assert zarrds.verify(store).ok


@pytest.mark.parametrize("labels", [pd.RangeIndex(2), pd.RangeIndex(5, 9, 2), np.array([1, 5])], ids=str)
@pytest.mark.parametrize("empty", [[], np.array([], "M8[s]"), np.array([], "U1"), objects()], ids=str)
def test_no_labels_beside_ranges(labels: Any, empty: Any) -> None:
    store = zarrds.MemoryStore()
    zarrds.save(column([1.0, 2.0], labels), store)
    before = load(store)
    for how in ({"append_dim": "x"}, {"region": {"x": slice(1, 1)}}):
        zarrds.save(column(np.array([], "M8[ns]"), empty), store, **how)  # type: ignore[arg-type]  # keywords
        assert_same_indexes(load(store), before)


# which belong to other arrays too, and are refused by name
WITH_PARTS = ("categorical", "interval")


@given(KINDS.filter(lambda kind: kind != "range"), KINDS, st.sampled_from([2, 3]))
def test_what_comes_after_an_empty_batch(first: str, then: str, zarr_format: Any) -> None:
    """Has its own kind: as if it was the first."""
    store, alone = zarrds.MemoryStore(), zarrds.MemoryStore()
    zarrds.save(dataset_of(first, slice(0, 0)), store, zarr_format=zarr_format)
    new = dataset_of(then)
    kinds = [INDEXES[each].dtype for each in (first, then)]
    is_part = first.startswith(WITH_PARTS) or then.startswith(WITH_PARTS)
    calendars = {each.partition("-")[2] for each in (first, then) if each.startswith("cftime")}
    try:
        zarrds.save(new, store, append_dim="x", on_unordered="append", on_overlap="append")
    except ZarrdsError:
        if is_part or len(calendars) > 1 or then == "datetime-far":  # which no nanoseconds hold
            return
        raise
    zarrds.save(new, alone, zarr_format=zarr_format)
    found, expected = load(store), load(alone)
    assert list(found.indexes["x"]) == list(expected.indexes["x"])
    if (
        not is_part
        and not then.startswith("range")
        and kinds[0].kind != kinds[1].kind
        and not {*kinds[0].kind, *kinds[1].kind} <= {*"iufc"}
    ):
        assert_same_indexes(found, expected)
    assert zarrds.verify(store).ok


LATER: dict[str, Any] = {
    "integers": np.array([2**53 + 1, 1]),
    "floats": np.array([0.5, 1.5], "f4"),
    "complex": np.array([0.5j, 1.5]),
    "booleans": np.array([True, False]),
    "text": np.array(["a", "long"]),
    "bytes": np.array([b"a", b"long"]),
    "times": np.array(["2000-01-01T01", "2000-01-02"], "M8[ns]"),
    "spans": np.array([90, 1], "m8[s]"),
}
FIRST: list[Any] = [np.empty(0, dtype) for dtype in ("f8", "i8", "bool", "U1", "S1", "M8[ns]", "m8[s]", object)]


@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
@pytest.mark.parametrize("first", FIRST, ids=lambda values: str(values.dtype))
def test_data_after_an_empty_batch(first: Any, later: Any, is_lazy: bool) -> None:
    """Of dask too, without a look at it."""
    store, alone = zarrds.MemoryStore(), zarrds.MemoryStore()
    encoding = {"v": {"chunks": (4,), "shards": (8,)}}
    zarrds.save(column(first, []).assign_attrs(title="a"), store, encoding=encoding)
    new = column(later, [1, 2])
    if later.dtype.kind == "i" and first.dtype.kind == "f":
        new = new.isel(x=slice(1, 2))  # as xarray's concat, which makes floats of both
    if is_lazy:
        new = new.chunk(x=1)
        new["v"] = new.v.copy(data=new.v.data.map_blocks(lambda block: block, dtype=later.dtype, meta=later[:0]))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "variable 'v' is a dask array")
        if is_lazy and first.dtype == object:  # they may be objects that become these
            warnings.filterwarnings("ignore", "variable 'v' is a dask array")
        zarrds.save(new, store, append_dim="x")
    zarrds.save(new, alone)
    found, expected = load(store), load(alone)
    assert found.v.values.tolist() == expected.v.values.tolist()
    if (first.dtype.kind, later.dtype.kind) not in {("f", "i"), ("f", "f"), ("U", "U"), ("O", "U")}:
        assert found.v.dtype == expected.v.dtype
    assert zarrds.open_array(store, path="v").shards == (8,)
    assert zarrds.verify(store).ok
    zarrds.save(column(expected.v.values[:1], [3]), store, append_dim="x")
    assert load(store).v.values.tolist() == [*expected.v.values.tolist(), *expected.v.values[:1].tolist()]


def test_an_encoding_that_was_asked_for_stays() -> None:
    store = zarrds.MemoryStore()
    encoding = {"v": {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -1}}
    zarrds.save(column(np.array([]), []), store, encoding=encoding)
    zarrds.save(column(np.array([0.5, np.nan], "f4"), [1, 2]), store, append_dim="x")
    assert zarrds.open_array(store, path="v").dtype == np.int16
    np.testing.assert_array_equal(load(store).v.values, [0.5, np.nan])


@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
def test_what_comes_may_be_large(later: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nothing that is stored is written anew."""
    monkeypatch.setattr("zarrds.datasets.writing.room.growing._MAX_REWRITTEN", 0)
    store = zarrds.MemoryStore()
    zarrds.save(column(np.empty(0, "M8[s]" if later.dtype.kind != "M" else bool), []), store)
    zarrds.save(column(later, [1, 2]), store, append_dim="x")
    assert load(store).v.values.tolist() == later.tolist()


PARTED: dict[str, Any] = {
    "intervals": pd.interval_range(0, 2),
    "spans of time": pd.IntervalIndex.from_breaks(pd.date_range("2000-01-01", periods=3)),
    "categories": pd.CategoricalIndex(["b", "a"]),
    "categories that are intervals": pd.CategoricalIndex(pd.interval_range(0, 2)),
}


@pytest.mark.parametrize("later", PARTED.values(), ids=PARTED)
@pytest.mark.parametrize("first", FIRST, ids=lambda values: str(values.dtype))
@pytest.mark.parametrize("role", ["label", "only label", "data", "coordinate"])
def test_what_has_arrays_beside_it_after_an_empty_batch(first: Any, later: Any, role: str, zarr_format: Any) -> None:
    def of(values: Any) -> xr.Dataset:
        if "label" in role:
            ds = xr.Dataset(coords={"x": values})
            return ds if role == "only label" else ds.assign(v=("x", np.arange(len(values))))
        ds = xr.Dataset({"v": ("x", values, {"long_name": "some"}), "w": ("x", np.arange(len(values)))})
        return ds.set_coords("v") if role == "coordinate" else ds

    store = zarrds.MemoryStore()
    zarrds.save(of(first), store, zarr_format=zarr_format)
    zarrds.save(of(later), store, append_dim="x")
    assert not differences(of(later), load(store))
    assert zarrds.verify(store).ok
    if role == "data":
        zarrds.save(of(later[::-1]), store, append_dim="x")
        assert load(store).v.variable.to_index().tolist() == [*later, *later[::-1]]


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize("labels", [np.array([], "M8[ns]"), np.array([], "i8"), objects()], ids=str)
def test_variables_that_come_with_the_first_labels(labels: Any, is_lazy: bool, zarr_format: Any) -> None:
    """Nothing lies along the dimension yet, so that they are whole."""

    def batch(day: int) -> xr.Dataset:
        times = pd.date_range("2024-01-01", periods=2).as_unit("ns") + pd.Timedelta(days=day)
        ds = xr.Dataset(
            {
                "v": (("t", "x"), np.full((2, 3), day)),
                "name": ("t", ["a", "b"]),
                "kind": ("t", pd.Categorical(["u", "w"])),
            },
            {"t": times, "x": [1, 2, 3], "quality": ("t", [0.5, 1.0])},
        )
        ds["v"] = ds.v.variable.chunk(t=1) if is_lazy else ds.v
        return ds

    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset(coords={"t": ("t", labels)}), store, zarr_format=zarr_format)
    encoding = {"v": {"dtype": "int16"}}
    zarrds.save(batch(0), store, append_dim="t", encoding=encoding)
    zarrds.save(batch(2), store, append_dim="t")
    got = load(store)
    expected = xr.concat([batch(0).load(), batch(2).load()], "t", data_vars="minimal")
    xr.testing.assert_identical(got, expected.assign(v=expected.v.astype("int16")))
    assert zarrds.verify(store).ok
    with pytest.raises(LabelError, match="does not have") as caught:
        zarrds.save(batch(4).assign(more=("t", [1, 2])), store, append_dim="t")
    assert "'more'" in str(caught.value)
    xr.testing.assert_identical(load(store), got)
