"""A batch without elements says nothing of what a store holds: it may be of any dtype, its labels too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.index_kinds import INDEXES, assert_same_indexes, dataset_of
from tests.datasets.samples import load, objects

# those of a dimension that grows must all be there
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
