"""Lazy indexes beside plain ones of the same labels, and what to ask both."""

import warnings

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from tests.labels.sources import CountingSource
from zarrds.labels.sorted.lazy_index import LazyIndex, lazy_index

DTYPES = ["int64", "uint64", "int32", "float64", "float32", "O", "M8[s]", "M8[ns]", "m8[ms]"]
SIZES = st.integers(0, 8)
N = 100_000


def labels_of(numbers, dtype):
    numbers = np.array(numbers, dtype="int64")
    if dtype == "O":
        return np.array([f"{number:04}" for number in numbers], dtype=object)
    if dtype[0] in "mM":
        return (numbers * 9 * 3600).astype(f"{dtype[0]}8[s]").astype(dtype)
    return (numbers + 0.5 if dtype == "float32" else numbers).astype(dtype)


def pair_of(labels, name="x"):
    index = lazy_index(CountingSource(labels), name, at_least=1)
    assert isinstance(index, LazyIndex)
    return index, pd.Index(labels, dtype=object if labels.dtype == object else None, name=name)


@st.composite
def pairs(draw):
    dtype = draw(st.sampled_from(DTYPES))
    numbers = draw(st.lists(st.integers(0, 60), min_size=1, max_size=30, unique=draw(st.booleans())))
    numbers = sorted(numbers, reverse=draw(st.booleans()))
    start, stop = sorted((draw(st.integers(0, len(numbers) - 1)), len(numbers)))
    lazy, plain = pair_of(labels_of(numbers, dtype))
    return dtype, lazy[start:stop], plain[start:stop]


def _tried(function, index):
    try:
        return function(index), None
    except Exception as error:
        return None, error


def same_answer(function, lazy, plain):
    """That both give the same, or fail alike."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (expected, wrong), (found, found_wrong) = _tried(function, plain), _tried(function, lazy)
    assert (type(found_wrong), str(found_wrong)) == (type(wrong), str(wrong))
    if wrong is None:
        same_value(found, expected)


def same_value(found, expected):
    if isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same_value(one, other)
    elif isinstance(expected, pd.Index):
        found = found.plain() if isinstance(found, LazyIndex) else found
        assert type(found) is type(expected)
        pd.testing.assert_index_equal(found, expected)
    elif isinstance(expected, pd.Series):
        pd.testing.assert_series_equal(found, expected, check_index_type=False)
    elif isinstance(expected, np.ndarray) and isinstance(found, slice):  # of a decreasing index
        assert expected.dtype == bool
        np.testing.assert_array_equal(np.arange(len(expected))[found], np.flatnonzero(expected))
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected
        assert isinstance(found, slice) == isinstance(expected, slice)


@st.composite
def wanted(draw, dtype, size=SIZES):
    """Values to ask for: mostly like the labels, at times of another kind."""
    numbers = np.array(draw(st.lists(st.integers(-2, 64), min_size=(n := draw(size)), max_size=n)), dtype="int64")
    values = labels_of(np.abs(numbers) if dtype in ("O", "uint64") else numbers, dtype)
    kind = draw(st.sampled_from(["same", "same", "float", "int64", "uint8", "objects", "text", "finer"]))
    if kind == "objects":
        return np.array(
            [*values.tolist(), *draw(st.lists(st.sampled_from([None, np.nan, "b", 3, 2.5, True])))], dtype=object
        )
    if kind == "float":
        return numbers + draw(st.sampled_from([0, 0.5, 0.25, np.nan]))
    if kind in ("int64", "uint8"):
        return np.abs(numbers).astype(kind)
    if kind == "text":
        return np.array([str(value) for value in values], dtype=object)
    if kind == "finer" and dtype[0] in "mM":
        return values.astype(f"{dtype[0]}8[ns]") + np.timedelta64(draw(st.sampled_from([0, 1])), "ns")
    return values


def item_of(values, pick):
    if not len(values):
        return None
    found = pd.Index(values, dtype=object if values.dtype == object else None)[0]
    return {"scalar": found, "numpy": values[0], "list": [found], "slice": slice(found)}[pick]
