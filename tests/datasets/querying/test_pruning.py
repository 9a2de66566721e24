"""Bounds of what is computed hold all that it can be, and they rule chunks out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import zarrds
from zarrds.datasets.querying.expressions.language import ARITHMETIC, parse
from zarrds.datasets.querying.expressions.pruning import Bounds, _bounds

DTYPES = "i1 u1 i2 i4 u4 i8 u8 f2 f4 f8".split()
CONSTANTS = [1, 2, 3, -1, -2, 7, 0, 127, 255, 5, 64, 1000003, 2**40, 0.25, 0.1, 2.5, -0.3, 1.0, 2.0, 3.0, 1e30]


def elements(dtype: str) -> st.SearchStrategy[Any]:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        few = [0.0, -0.0, 1, -1.5, 2, 300.25, 1e-20, -1e-20, 1e30, -1e30, 3, 6, 9, 0.1, np.inf, -np.inf]
        return st.sampled_from(few).map(kind.type) | st.floats(-1000, 1000, width=kind.itemsize * 8).map(kind.type)
    info = np.iinfo(kind)
    few = (0, 1, 2, 3, 7, 100, -1, -2, -100, info.min, info.min + 1, info.max - 1, info.max)
    return st.sampled_from([n for n in few if info.min <= n <= info.max]).map(kind.type)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(DTYPES), st.sampled_from(["//", "%", "**"]), st.sampled_from(CONSTANTS))
def test_all_values_are_between_the_bounds(data: st.DataObject, dtype: str, op: str, constant: float) -> None:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = data.draw(npst.arrays(dtype, st.integers(1, 5), elements=elements(dtype), fill=st.nothing()))
        yes, no = np.array([True]), np.array([False])
        found = _bounds(
            parse(f"x {op} ({constant!r})"), {"x": Bounds(np.array([x.min()]), np.array([x.max()]), yes, no, yes)}
        )
        try:
            values = ARITHMETIC[op](x, constant)
        except (OverflowError, ValueError):
            return
        if found.known.all():
            assert (values >= found.low).all()
            assert (values <= found.high).all()
            assert np.asarray(found.low).dtype == values.dtype


@pytest.mark.parametrize(
    ("query", "n_read"),
    [
        ("hour // 24 == 3", 1),
        ("hour // 24.0 > 8", 1),
        ("hour % 240 < 12", 1),
        ("hour % 24 == 25", 0),
        ("t ** 2 > 9000", 1),
        ("t ** 3 < -90000", 1),
        ("t % 2 < 0", 0),
        ("kind == 'c'", 3),
        ("kind > 'x'", 0),
        ("number < 4", 3),
    ],
)
@pytest.mark.parametrize("chunks", [None, {}])
def test_what_is_ruled_out(query: str, n_read: int, chunks: Any) -> None:
    if chunks is not None:
        pytest.importorskip("dask")
    ds = xr.Dataset(
        {
            "hour": ("x", np.arange(240)),
            "t": (("y", "x"), np.linspace(-50, 95, 240).reshape(1, 240)),
            "kind": ("x", pd.Categorical(np.repeat([*"acb", None], 60), categories=list("abcz"))),
            "number": ("x", pd.Categorical(np.repeat([9, 5, 3, 7], 60), categories=[9, 5, 3, 7])),
        }
    )
    store = zarrds.MemoryStore()
    each = {"hour": (24,), "t": (1, 24), "kind": (24,), "number": (24,)}
    zarrds.save(ds, store, statistics=True, encoding={name: {"chunks": sizes} for name, sizes in each.items()})
    opened: Any = xr.open_dataset(store, engine="zarrds", chunks=chunks)
    explained: Any = zarrds.find(opened, query, explain=True)
    assert [part.read for part in explained.variables] == [n_read]
    expected = zarrds.find(ds.load(), query, count=True)
    assert zarrds.find(opened, query, count=True) == expected
    part = {"x": slice(50, 200, 3)}
    assert zarrds.find(opened.isel(part), query, count=True) == zarrds.find(ds.isel(part), query, count=True)
