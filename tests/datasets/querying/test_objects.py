"""Queries of objects that are times with a zone, integers or booleans, and aggregates of categories of times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds.errors import QueryError

N = 24
RANDOM = np.random.default_rng(5)
TIMES = pd.date_range("2000-01-01", periods=N, freq="7h", tz="America/New_York").insert(3, pd.NaT)[:N]


def with_none(values: Any) -> Any:
    made = np.empty(N, object)
    made[:] = list(values)
    made[[2, 9, 10, 20, 21, 22, 23]] = None
    return made


COLUMNS: dict[str, Any] = {
    "zoned": TIMES.array,
    "integers": with_none((2**60 + np.arange(N)).tolist()),
    "unsigned": with_none([2**64 - N + i - 1 for i in range(N)]),
    "booleans": with_none([i > 12 for i in range(N)]),
}
QUERIES = {
    "zoned >= '2000-01-05T12:00'": lambda: pd.Timestamp("2000-01-05T12:00", tz="UTC") <= TIMES,
    "zoned == '2000-01-01T05:00'": lambda: pd.Timestamp("2000-01-01", tz="America/New_York") == TIMES,
    f"integers > {2**60 + 15}": lambda: [v is not None and v > 2**60 + 15 for v in COLUMNS["integers"]],
    f"integers + 1 == {2**60 + 6}": lambda: [v == 2**60 + 5 for v in COLUMNS["integers"]],
    f"integers != {2**60 + 5}": lambda: [v != 2**60 + 5 for v in COLUMNS["integers"]],
    f"unsigned <= {2**64 - N}": lambda: [v is not None and v <= 2**64 - N for v in COLUMNS["unsigned"]],
    "booleans": lambda: [v is True for v in COLUMNS["booleans"]],
    "not booleans": lambda: [v is not True for v in COLUMNS["booleans"]],
}


@pytest.fixture(scope="module", params=[2, 3])
def store(request: pytest.FixtureRequest) -> Any:
    store: Any = zarrds.MemoryStore()
    dataset = xr.Dataset({name: ("x", values) for name, values in COLUMNS.items()})
    encoding = {name: {"chunks": (4,)} for name in COLUMNS}
    zarrds.save(dataset, store, zarr_format=request.param, statistics=True, encoding=encoding)
    return store


@pytest.mark.parametrize("query", QUERIES)
def test_objects(store: Any, query: str) -> None:
    expected = np.flatnonzero(QUERIES[query]()).tolist()
    opened = xr.open_dataset(store, engine="zarrds")
    for ds in (store, opened, opened.load(), xr.open_dataset(store, engine="zarrds", chunks={}), opened.chunk(x=5)):
        found: Any = zarrds.find(ds, query)
        assert found.x_index.values.tolist() == expected
    explained: Any = zarrds.find(store, query, explain=True)
    assert sum(each.read for each in explained.variables) < N // 4 or "!=" in query or "not" in query


@pytest.mark.parametrize("name", COLUMNS)
def test_aggregates(store: Any, name: str) -> None:
    present = [value for value in COLUMNS[name] if not pd.isna(value)]
    opened = xr.open_dataset(store, engine="zarrds")
    for ds in (store, opened, opened.load()):
        assert int(zarrds.aggregate(ds, name, "count")) == len(present)
        low, high = (zarrds.aggregate(ds, name, how).values[()] for how in ("min", "max"))
        if name == "zoned":
            low, high = (pd.Timestamp(each, tz="UTC") for each in (low, high))
        assert (low, high) == (min(present), max(present))


def test_categories_of_times() -> None:
    days = pd.to_datetime(["2000-01-02", "2000-01-01", None, "2001-01-01"])
    store: Any = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", pd.Categorical(days))}), store)
    assert zarrds.aggregate(store, "v", "max").values == np.datetime64("2001-01-01")
    assert zarrds.aggregate(store, "v", "min").values == np.datetime64("2000-01-01")


def test_statistics_of_dates_of_other_calendars() -> None:
    dates = xr.date_range("2000-01-01", periods=6, calendar="noleap", use_cftime=True)
    store: Any = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", dates)}), store, statistics=True, encoding={"v": {"chunks": (4,)}})
    found = zarrds.statistics(store, "v")
    assert found["max"].values.tolist() == [dates[3], dates[5]]
    assert found["min"].values.tolist() == [dates[0], dates[4]]


@pytest.mark.parametrize("values", [[2**70, 5, None], [-1, 2**63], [-(2**63) - 1, None]])
def test_integers_of_more_than_64_bits(values: list[Any]) -> None:
    ds = xr.Dataset({"v": ("x", np.array(values, object))})
    for ask in (lambda: zarrds.find(ds, "v > 4"), lambda: zarrds.aggregate(ds, "v", "max")):
        with pytest.raises(QueryError, match=r"do not fit into 64 bits.*floats"):
            ask()
