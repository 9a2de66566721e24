"""Ordered categories are compared by their order, as pandas does."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds.errors import QueryError

COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}
COLUMNS: dict[str, tuple[list[Any], list[Any]]] = {
    "text": (["lo", "mid", "hi"], ["hi", "lo", None, "mid", "lo", "hi", "mid", None, "lo"]),
    "numbers": ([9, 5, 7], [5, 9, None, 7, 7, 5, 9, None, 9]),
    "rising": (["a", "b", "c"], ["c", "a", None, "b", "a", "c", "b", None, "a"]),
}


def stored(column: pd.Categorical, *, statistics: bool = False) -> Any:
    store: Any = zarrds.MemoryStore()
    ds = xr.Dataset({"v": ("x", column), "w": ("x", column)})
    zarrds.save(ds, store, statistics=statistics, encoding={"v": {"chunks": (2,)}})
    return store


def find(ds: Any, query: str) -> list[int]:
    positions: list[int] = zarrds.find(ds, query).x_index.values.tolist()
    return positions


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("statistics", [False, True])
def test_as_pandas(kind: str, statistics: bool) -> None:
    categories, values = COLUMNS[kind]
    column = pd.Categorical(values, categories=categories, ordered=True)
    store = stored(column, statistics=statistics)
    for ds in (store, xr.open_dataset(store, engine="zarrds").load()):
        for symbol, compare in COMPARE.items():
            for limit in categories:
                fits = np.asarray(compare(column, limit))
                assert find(ds, f"v {symbol} {limit!r}") == np.flatnonzero(fits).tolist()
                assert find(ds, f"not v {symbol} {limit!r}") == np.flatnonzero(~fits).tolist()
        low, middle, high = categories
        between = np.asarray((column > low) & (column <= high))
        assert find(ds, f"{low!r} < v <= {high!r}") == np.flatnonzero(between).tolist()
        assert (
            find(ds, f"v < {middle!r} or v > {middle!r}")
            == np.flatnonzero(np.asarray((column < middle) | (column > middle))).tolist()
        )


@pytest.mark.parametrize("query", ["v > 'high'", "v > 3", "'high' < v", "v < w"])
def test_what_is_no_category(query: str) -> None:
    store = stored(pd.Categorical(["lo", "hi"], categories=["lo", "mid", "hi"], ordered=True))
    with pytest.raises(QueryError, match="one of 'lo', 'mid', 'hi'"):
        zarrds.find(store, query)


def test_the_smallest_is_that_of_pandas_or_none() -> None:
    categories, values = COLUMNS["numbers"]
    for statistics in (False, True):
        column = pd.Categorical(values, categories=categories, ordered=True)
        store = stored(column, statistics=statistics)
        with pytest.raises(QueryError, match=r"pandas.Series\(dataset\['v'\].data\).min\(\)"):
            zarrds.aggregate(store, "v", "min")
        dataset = xr.open_dataset(store, engine="zarrds")
        assert pd.Series(dataset["v"].data).min() == column.min() == 9
        assert int(zarrds.aggregate(store, "v", "count")) == 7
        # as ordered as its values
        rising = stored(pd.Categorical(values, categories=[5, 7, 9], ordered=True), statistics=statistics)
        assert (int(zarrds.aggregate(rising, "v", "min")), int(zarrds.aggregate(rising, "v", "max"))) == (5, 9)
