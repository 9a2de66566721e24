"""Nullable numbers in queries: none is rounded, and chunks are left out by all that their statistics tell."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st

import zarrds

COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}
COMPARISONS["!="] = operator.ne
INTEGERS = ["Int8", "UInt8", "Int32", "Int64", "UInt64"]


def find(ds: Any, query: str) -> list[int]:
    found = zarrds.find(ds, query)
    assert isinstance(found, xr.Dataset)
    return [int(i) for i in found.x_index.values]


def chunks_read(store: Any, query: str) -> int:
    explained: Any = zarrds.find(store, query, explain=True)
    return sum(each.read for each in explained.variables)


def nullable(values: list[int | None], dtype: str) -> Any:
    """Not by way of floats, as pandas makes them of lists."""
    plain = np.array([0 if value is None else value for value in values], dtype.lower())
    return pd.arrays.IntegerArray(plain, np.array([value is None for value in values], bool))


def saved(column: Any, zarr_format: Any = 3, **options: Any) -> Any:
    store: Any = zarrds.MemoryStore()
    encoding = {"v": {"chunks": (4,)}}
    zarrds.save(xr.Dataset({"v": ("x", column)}), store, zarr_format=zarr_format, encoding=encoding, **options)
    return store


@st.composite
def integers(draw: st.DrawFn) -> tuple[Any, int]:
    dtype = draw(st.sampled_from(INTEGERS))
    limits = np.iinfo(dtype.lower())
    edges = [
        int(limits.min),
        int(limits.max),
        *(n for n in (2**53, 2**53 + 1, -(2**53) - 1) if n in range(limits.min, limits.max)),
    ]
    whole = st.sampled_from(edges).flatmap(
        lambda n: st.integers(max(n - 3, limits.min + 1), min(n + 3, limits.max - 1))
    )
    values = draw(st.lists(st.none() | whole, min_size=1, max_size=13))
    near = [value for value in values if value is not None] or [0]
    constant = draw(st.sampled_from(near)) + draw(st.integers(-2, 2))
    return nullable(values, dtype), constant


@given(integers(), st.sampled_from(list(COMPARISONS)), st.sampled_from([2, 3]), st.booleans())
@example((nullable([2**53 + 1, None], "Int64"), 2**53), ">", 3, False)
@example((nullable([2**64 - 2, None, 2**64 - 3], "UInt64"), 2**64 - 3), ">", 2, False)
def test_integers(given: tuple[Any, int], op: str, zarr_format: Any, is_appended: bool) -> None:
    column, constant = given
    n = len(column) // 2 if is_appended else len(column)
    store = saved(column[:n], zarr_format, statistics=True) if n else saved(column, zarr_format, statistics=True)
    if 0 < n < len(column):
        zarrds.save(xr.Dataset({"v": ("x", column[n:])}), store, append_dim="x")
    query = f"v {op} {constant}"
    holds = [op == "!=" if value is pd.NA else bool(COMPARISONS[op](int(value), constant)) for value in column]
    expected = [i for i, each in enumerate(holds) if each]
    opened = xr.open_dataset(store, engine="zarrds")
    for ds in (store, opened.isel(x=slice(None)), opened.load(), opened.chunk(x=3)):
        assert find(ds, query) == expected
    # a chunk is read if some of it holds, or may hold as far as the smallest and the largest tell
    parts = [range(i, min(i + 4, len(column))) for i in range(0, len(column), 4)]
    present = [[int(column[i]) for i in part if column[i] is not pd.NA] for part in parts]
    needed = sum(
        any(holds[i] for i in part) or (op == "==" and bool(values) and min(values) < constant < max(values))
        for part, values in zip(parts, present, strict=True)
    )
    assert chunks_read(store, query) == needed


@settings(max_examples=10)
@given(st.lists(st.none() | st.floats(width=32), min_size=1, max_size=12), st.sampled_from(["Float32", "Float64"]))
@example([0.1, None, None, None, None, 5.0], "Float32")
def test_floats(values: list[Any], dtype: str) -> None:
    """They are compared in their own dtype, as pandas does; NaN is missing."""
    column: Any = pd.array(values, dtype=dtype)  # type: ignore[call-overload]  # one of them
    plain = column.to_numpy(dtype.lower(), na_value=np.nan)
    store = saved(column, statistics=True)
    opened = xr.open_dataset(store, engine="zarrds")
    for constant in (0.1, -1e30):
        for op, compare in COMPARISONS.items():
            expected = np.flatnonzero(compare(plain, constant)).tolist()
            assert find(store, f"v {op} {constant}") == expected
    assert find(opened.load(), "v > 0.1") == np.flatnonzero(plain > 0.1).tolist()


@pytest.mark.parametrize("dtype", ["Float32", "Float64", "Int64", "UInt64"])
def test_chunks_are_left_out(dtype: str) -> None:
    at = 2**60 if "Int" in dtype else 0
    column: Any = pd.array([at + i if i % 5 else None for i in range(40)], dtype=dtype)  # type: ignore[call-overload]  # one of them
    store = saved(column, statistics=True)
    for query, n in ((f"v > {at + 37}", 1), (f"v + 2 > {at + 37}", 1), (f"v < {at}", 0), (f"v * 1 == {at + 6}", 1)):
        assert chunks_read(store, query) == n, query
    assert zarrds.aggregate(store, "v", "count") == 32
    assert zarrds.statistics(store, "v")["count"].values.tolist() == [3, 3, 3, 3, 4] * 2


@pytest.mark.parametrize("dtype", ["Int8", "Int64", "UInt64"])
def test_smallest_and_largest_are_exact(dtype: str) -> None:
    high = int(np.iinfo(dtype.lower()).max) - 1
    column = nullable([None, high, high - 1, high, *[None] * 4, 3], dtype)
    store = saved(column, statistics=True)
    for ds in (store, saved(column), xr.open_dataset(store, engine="zarrds").load()):
        assert (int(zarrds.aggregate(ds, "v", "max")), int(zarrds.aggregate(ds, "v", "min"))) == (high, 3)
    by_itself = zarrds.aggregate(store, "v", "max", dim=())
    assert np.isnan(by_itself.values[[0, 4, 7]]).all()  # among what is missing it is one of floats
    assert by_itself.values[8] == 3


@pytest.mark.parametrize("how", ["plain_int", "Int64"])
def test_arithmetic_keeps_what_is_missing(how: str) -> None:
    """It is that of 64-bit integers, whether or not some are missing in the same chunk."""
    values: list[int | None] = [2**53 + 1, 5, None if how == "Int64" else 6, 0, 7, 9, 11, 13]
    column: Any = nullable(values, "Int64") if how == "Int64" else np.array(values)
    store = saved(column, statistics=True)
    assert find(store, f"v + 1 == {2**53 + 2}") == [0]
    assert find(store, "v // 2 == 3") == [4] if how == "Int64" else [2, 4]
    assert find(store, "-v < -12") == [0, 7]
    assert find(store, "1 / v > 0.15 and v < 7") == ([1, 3] if how == "Int64" else [1, 2, 3])
    assert 2 in find(store, "v != 5")
    assert find(store, "v % 2 == 1 and v < 8") == [1, 4]


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint64"])
def test_categories_that_are_integers_are_exact(dtype: str) -> None:
    """Also where some are missing: the nearest floats of them are other integers."""
    high = int(np.iinfo(dtype).max)
    categories = pd.Index(np.array([high, 3, high - 1], dtype))
    column = pd.Categorical.from_codes([1, -1, 0, 2, 2, -1, -1, -1, -1], categories=categories)
    store = saved(column, statistics=True)
    for ds in (store, saved(column), xr.open_dataset(store, engine="zarrds").load()):
        assert find(ds, f"v == {high}") == [2]
        assert find(ds, f"v < {high}") == [0, 3, 4]
        assert find(ds, f"v not in [3, {high}]") == [1, 3, 4, 5, 6, 7, 8]
        assert (int(zarrds.aggregate(ds, "v", "max")), int(zarrds.aggregate(ds, "v", "min"))) == (high, 3)
        assert np.isnan(zarrds.aggregate(ds.isel(x=[1, 5]) if isinstance(ds, xr.Dataset) else ds, "v", "max", dim=()))[
            1
        ]


def test_the_largest_of_objects_is_exact_where_some_chunks_are_told_and_some_are_read() -> None:
    high = 2**63 + 1
    column = np.array([None, 1, 2, 3, 4, high, high - 2, None], object)
    ds = xr.open_dataset(saved(column, statistics=True), engine="zarrds")
    assert int(zarrds.aggregate(ds.isel(x=slice(1, 8)), "v", "max")) == high
    assert int(zarrds.aggregate(ds.isel(x=slice(0, 6)), "v", "max")) == high
