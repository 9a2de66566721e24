"""Selections, and pairs of datasets, with labels that are searched where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.datasets.battery import ALL, EVERY, LABELS, OPERATIONS, PAIRS, Operation
from tests.datasets.lazy_cases import Case, dataset_of, labels_of
from tests.datasets.lazy_checks import check, rows_of
from zarrds.labels.sorted.lazy_index import LazyIndex


@pytest.mark.one_in(20)
@pytest.mark.parametrize(("operation", "kind"), rows_of([*LABELS, *PAIRS]))
def test_operation(operation: Operation, kind: str, lazy_stores: Path) -> None:
    check(operation, kind, lazy_stores)


def test_table_is_large_and_names_are_unique() -> None:
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS) > 90
    most_are_lazy = [operation for operation in OPERATIONS if operation.blocks != ALL]
    assert len(most_are_lazy) > len(OPERATIONS) / 2


@pytest.mark.parametrize("kind", EVERY.split())
def test_stores_are_what_they_are_taken_for(kind: str, lazy_stores: Path) -> None:
    case = Case(lazy_stores, kind, "lazy")
    index = case.ds.indexes["x"]
    assert isinstance(index, LazyIndex)
    assert type(case.ds.xindexes["x"]) is xr.indexes.PandasIndex
    assert case.labels_read <= case.block * (kind == "text")
    (source,) = case.sources
    assert source.order == ("decreasing" if kind == "float" else "increasing")
    assert source.is_unique == (kind != "twice")
    np.testing.assert_array_equal(index.to_numpy(), labels_of(kind))
    xr.testing.assert_identical(case.ds.load(), dataset_of(kind))
