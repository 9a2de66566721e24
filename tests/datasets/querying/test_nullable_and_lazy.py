"""Queries of pandas' nullable integers and booleans, and of coordinates that are searched where they lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds

N = 40
INTEGERS = np.sort(np.random.default_rng(0).integers(-100, 100, N))
LARGE = np.sort(np.random.default_rng(1).integers(0, 2**64 - 2, N, dtype="u8"))
TRUE = np.arange(N) // 10 % 2 == 0


def nullable(values: Any, dtype: str, seed: int | None) -> Any:
    found = pd.array(values, dtype=dtype)  # type: ignore[call-overload]  # any of them
    if seed is not None:
        found[np.random.default_rng(seed).random(N) < 0.2] = pd.NA
    return found


COLUMNS: dict[str, Any] = {
    "i": nullable(INTEGERS, "Int8", 1),
    "whole": nullable(INTEGERS, "Int16", None),
    "u": nullable(LARGE, "UInt64", 2),
    "uu": nullable(LARGE, "UInt64", None),
    "big": nullable(2**53 + np.arange(N) - 7, "Int64", 3),
    "b": nullable(TRUE, "boolean", 4),
    "yes": nullable(np.ones(N, bool), "boolean", None),
    "f": np.arange(N) * 1.0,
}


def plain(name: str) -> Any:
    values = COLUMNS[name]
    if isinstance(values, np.ndarray):
        return values
    if values.dtype.name == "boolean":
        return values.to_numpy(bool, na_value=False)
    return values.to_numpy(float, na_value=np.nan) if values.isna().any() else values.to_numpy()


P = {name: plain(name) for name in COLUMNS}
QUERIES: dict[str, Callable[[], Any]] = {
    "i > 50": lambda: P["i"] > 50,
    "i != 3": lambda: P["i"] != 3,
    "not i < 20": lambda: ~(P["i"] < 20),
    "i in [1, 2, 50]": lambda: np.isin(P["i"], [1, 2, 50]),
    "i > f": lambda: P["i"] > P["f"],
    "i * 100 > 5000 and f > 20": lambda: (P["i"] * 100 > 5000) & (P["f"] > 20),
    "whole < -50": lambda: P["whole"] < -50,
    "whole * 1000 > 40000": lambda: P["whole"].astype(int) * 1000 > 40000,
    "u > 1e19": lambda: P["u"] > 1e19,
    "uu > 18000000000000000000": lambda: P["uu"] > 18000000000000000000,
    "uu < 3": lambda: P["uu"] < 3,
    "b": lambda: P["b"],
    "not b": lambda: ~P["b"],
    "b == False": lambda: ~P["b"],
    "b != True": lambda: ~P["b"],
    "b < f": lambda: P["b"] < P["f"],
    "yes": lambda: P["yes"],
    "not yes": lambda: ~P["yes"],
}
PRUNED = {
    *("i > 50", "i in [1, 2, 50]", "i > f", "whole < -50", "whole * 1000 > 40000", "b", "not yes"),
    *("u > 1e19", "uu > 18000000000000000000", "uu < 3"),
}


@pytest.fixture(scope="module", params=[2, 3])
def store(request: pytest.FixtureRequest) -> Any:
    store: Any = zarrds.MemoryStore()
    encoding = {name: {"chunks": (7,)} for name in COLUMNS}
    ds = xr.Dataset({name: ("x", values) for name, values in COLUMNS.items()})
    zarrds.save(ds, store, zarr_format=request.param, statistics=True, encoding=encoding)
    return store


@pytest.mark.parametrize("query", QUERIES)
def test_nullable(store: Any, query: str) -> None:
    expected = np.flatnonzero(QUERIES[query]()).tolist()
    opened = xr.open_dataset(store, engine="zarrds")
    for ds in (store, opened.isel(x=slice(None)), opened.load()):
        assert zarrds.find(ds, query).x_index.values.tolist() == expected
        assert zarrds.find(ds, query, count=True) == len(expected)
    explained: Any = zarrds.find(store, query, explain=True)
    assert any(each.pruned for each in explained.variables) == (query in PRUNED or "and f" in query)


@pytest.mark.parametrize("name", ["i", "whole", "u", "uu", "big", "b"])
def test_nullable_aggregates(store: Any, name: str) -> None:
    series: Any = pd.Series(COLUMNS[name])
    for how in ("min", "max", "count"):
        assert float(zarrds.aggregate(store, name, how)) == float(getattr(series, how)())  # type: ignore[arg-type]  # one of them


def test_attributes_that_somebody_changed() -> None:
    store: Any = zarrds.MemoryStore()
    ds = xr.Dataset({"i": ("x", COLUMNS["i"])})
    zarrds.save(ds, store, encoding={"i": {"chunks": (7,)}})
    array = zarrds.open_array(store, mode="r+", path="i")
    array.attrs["missing_value"] = int(COLUMNS["i"].min())
    zarrds.index(store)  # which takes that for missing, and readers of nullable integers do not
    lowest = zarrds.find(store, f"i == {COLUMNS['i'].min()}", count=True)
    assert lowest == int((COLUMNS["i"] == COLUMNS["i"].min()).sum())


M = 66_000


@pytest.mark.parametrize("kind", ["numbers", "decreasing", "times", "text", "repeated"])
def test_coordinates_that_are_searched_where_they_lie(kind: str) -> None:
    labels: Any = np.arange(M) * 3 + np.arange(M) % 2
    labels = {
        "numbers": labels,
        "decreasing": labels[::-1] / 2,
        "times": np.datetime64("2000-01-01", "s") + labels.astype("m8[m]"),
        "text": np.array([f"n{i:06}" for i in labels], object),
        "repeated": labels // 1000,
    }[kind]
    store: Any = zarrds.MemoryStore()
    ds = xr.Dataset({"q": ("x", np.arange(M) % 50)}, {"x": labels})
    zarrds.save(ds, store, encoding={"q": {"chunks": (6000,)}, "x": {"chunks": (1000,)}})
    opened = xr.open_dataset(store, engine="zarrds", index="lazy")
    window = opened.indexes["x"]._window  # type: ignore[attr-defined]  # of a lazy index
    low, high = sorted([labels[30_000], labels[32_000]])
    query = f"x >= {_literal(low)} and x < {_literal(high)} and q == 7"
    for part in (slice(None), slice(250, 65_901)):
        here = labels[part]
        expected = np.flatnonzero((here >= low) & (here < high) & (np.arange(M)[part] % 50 == 7))
        found = zarrds.find(opened.isel(x=part), query)
        assert found.x_index.values.tolist() == expected.tolist()
        assert found.x.values.tolist() == here[expected].tolist()
    assert window.source.labels_read < 30_000
    assert not window.is_read
    # another tool writes a label where none can be by the record, after the store was opened
    opened = xr.open_dataset(store, engine="zarrds", index="lazy")
    array = zarrds.open_array(store, path="x")
    array.elements.write(slice(50_000, 50_001), array[31_000:31_001])
    found = zarrds.find(opened, f"x == {_literal(labels[31_000])}")
    assert 50_000 in found.x_index.values


def _literal(label: Any) -> str:
    return repr(label.item()) if isinstance(label, np.number) else f"'{label}'"
