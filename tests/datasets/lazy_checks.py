"""That an operation does with labels that are searched where they lie what it does with labels in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.datasets.battery import ALL, Operation
from tests.datasets.lazy_cases import Case, indexes_of
from zarrds.labels.sorted.lazy_index import LazyIndex

LAZY_FROM = 65_536  # labels


def rows_of(operations: list[Operation]) -> list[Any]:
    """Parameters of a test: each operation with each kind of labels."""
    return [
        pytest.param(operation, kind, id=f"{operation.name}-{kind}")
        for operation in operations
        for kind in operation.kinds.split()
    ]


def check(operation: Operation, kind: str, folder: Path) -> None:
    case = Case(folder, kind, "lazy")
    expected, wrong = tried(operation, Case(folder, kind, "pandas"))
    found, found_wrong = tried(operation, case)
    assert (found_wrong is not None) == (kind in operation.fails.split())
    assert found_wrong == wrong
    case.note(found)
    assert case.sources
    blocks = operation.blocks_of(kind)
    # at opening, texts are looked at to know what they are
    opening = len(case.sources) * (kind == "text")
    if blocks == ALL:
        # once, and again for a part that has an index of its own
        assert case.labels_read <= sum(2 * source.size + 2 * case.block for source in case.sources)
    else:
        assert case.labels_read <= (blocks + opening) * case.block
    if wrong is None:
        assert_same(found, expected)


def plain(index: pd.Index) -> pd.Index:
    return index.plain() if isinstance(index, LazyIndex) else index


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, xr.Dataset | xr.DataArray | xr.DataTree):
        for one, other in zip(indexes_of(found), indexes_of(expected), strict=True):
            assert_same(one, other)
        assert type(found) is type(expected)
        xr.testing.assert_identical(found, expected)
    elif isinstance(expected, pd.Index):
        is_lazy = isinstance(found, LazyIndex) and len(found) >= LAZY_FROM
        assert is_lazy or type(found) is type(expected)
        pd.testing.assert_index_equal(plain(found), expected, exact=True)
        assert plain(found).identical(expected)
    elif isinstance(expected, pd.Series | pd.DataFrame):
        assert_same(found.index, expected.index)
        compare: Any = pd.testing.assert_frame_equal if expected.ndim == 2 else pd.testing.assert_series_equal
        compare(found.set_axis(plain(found.index)), expected)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert type(found) is type(expected)
        assert found == expected


def tried(operation: Operation, case: Case) -> tuple[Any, type[Exception] | None]:
    try:
        return operation.run(case), None
    except Warning:
        raise
    except Exception as error:
        return None, type(error)
