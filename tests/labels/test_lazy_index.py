import copy
import pickle
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.labels.sources import CountingSource, StaleSource
from zarrds.labels.lazy_index import LazyDatetimeIndex, LazyIndex, lazy_index

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
def pairs(draw, dtypes=st.sampled_from(DTYPES)):
    dtype = draw(dtypes)
    numbers = draw(st.lists(st.integers(0, 60), min_size=1, max_size=30, unique=draw(st.booleans())))
    numbers = sorted(numbers, reverse=draw(st.booleans()))
    start, stop = sorted((draw(st.integers(0, len(numbers) - 1)), len(numbers)))
    lazy, plain = pair_of(labels_of(numbers, dtype))
    return dtype, lazy[start:stop], plain[start:stop]


def same_answer(function, lazy, plain):
    """That both give the same, or fail alike."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = function(plain)
        except Exception as error:
            with pytest.raises(type(error)) as caught:
                function(lazy)
            assert str(caught.value) == str(error)
            return
        found = function(lazy)
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
        return values.astype(f"{dtype[0]}8[ns]") + draw(st.sampled_from([0, 1]))
    return values


def item_of(values, pick):
    if not len(values):
        return None
    found = pd.Index(values, dtype=object if values.dtype == object else None)[0]
    return {"scalar": found, "numpy": values[0], "list": [found], "slice": slice(found)}[pick]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_labels_are_found_as_in_a_plain_index(data):
    dtype, lazy, plain = data.draw(pairs())
    target = data.draw(wanted(dtype))
    method = data.draw(st.sampled_from([None, "pad", "backfill", "nearest", "odd"]))
    limit = data.draw(st.sampled_from([None, None, 1]))
    step = {"m": np.timedelta64(9, "h"), "M": np.timedelta64(9, "h")}.get(dtype[0], 1)
    tolerance = data.draw(st.sampled_from([None, None, step])) if len(target) else None
    key = item_of(target, data.draw(st.sampled_from(["scalar", "scalar", "numpy", "list", "slice"])))
    side = data.draw(st.sampled_from(["left", "right"]))
    for function in [
        lambda index: index.get_indexer(target, method, limit, tolerance),
        lambda index: index.get_indexer_for(target),
        lambda index: index.get_indexer_non_unique(target),
        lambda index: index.get_loc(key),
        lambda index: index.get_slice_bound(key, side),
        lambda index: key in index,
        lambda index: index.isin(target),
        lambda index: index.isin(set(target.tolist())),
        lambda index: index.searchsorted(key, side),
        lambda index: index.searchsorted(target, side),
        lambda index: index.intersection(pd.Index(target)),
    ]:
        same_answer(function, lazy, plain)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_slices_of_labels_are_those_of_a_plain_index(data):
    dtype, lazy, plain = data.draw(pairs())
    ends = [item_of(data.draw(wanted(dtype, st.just(1))), "scalar") for _ in range(2)]
    start, stop = (end if data.draw(st.booleans()) else None for end in ends)
    step = data.draw(st.sampled_from([None, 1, 2, -1, -3]))
    same_answer(lambda index: index.slice_indexer(start, stop, step), lazy, plain)
    same_answer(lambda index: index.slice_locs(start, stop), lazy, plain)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_items_are_those_of_a_plain_index(data):
    _, lazy, plain = data.draw(pairs())
    n = len(plain)
    numbers = st.integers(-n - 1, n)
    ends = st.one_of(st.none(), numbers)
    key = data.draw(
        st.one_of(
            numbers,
            numbers.map(np.int32),
            st.lists(numbers, max_size=5),
            st.lists(numbers, max_size=5).map(lambda some: np.array(some, dtype="i8")),
            st.builds(slice, ends, ends, st.sampled_from([None, 1, 2, -1, -2])),
            st.lists(st.booleans(), min_size=n - 1, max_size=n).map(lambda some: np.array(some, dtype=bool)),
            st.lists(st.booleans(), min_size=n, max_size=n),
            st.sampled_from([1.5, None, "x", (0, 1), np.zeros((1, 1), int), Ellipsis]),
        )
    )
    same_answer(lambda index: index[key], lazy, plain)
    same_answer(lambda index: index.take(key), lazy, plain)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_everything_else_is_the_plain_index_s(data):
    dtype, lazy, plain = data.draw(pairs())
    other = pd.Index(data.draw(wanted(dtype)), name=data.draw(st.sampled_from(["x", "y"])))
    for function in [
        lambda index: [
            index.size,
            index.shape,
            len(index),
            index.ndim,
            index.empty,
            index.dtype,
            index.name,
            list(index.names),
        ],
        lambda index: [
            index.is_unique,
            index.has_duplicates,
            index.is_monotonic_increasing,
            index.is_monotonic_decreasing,
        ],
        lambda index: [index.hasnans, index.inferred_type, index.nbytes, index.min(), index.max(), index.nlevels],
        lambda index: [
            index.unique(),
            index.sort_values(),
            index.argsort(),
            index.duplicated(),
            index.drop_duplicates(),
        ],
        lambda index: [index.values, index.to_numpy(), np.asarray(index), list(index), index.tolist()],
        lambda index: [index.to_series(), pd.Series(index), index.astype(str), index.astype(object), index.isna()],
        lambda index: index.where(np.arange(len(index)) % 2 == 0),
        lambda index: [index.insert(0, index[0]), index.delete(0), index.repeat(2), index.map(str), index[::-1]],
        lambda index: [index + index, index - index],
        lambda index: [index == plain, plain == index, index > index[0], index[0] <= index],
        lambda index: [index * 2, 2 - index, -index, abs(index), index // 7],
        lambda index: [index.append(other), index.append([index, other]), other.append(index)],
        lambda index: [index.union(other), other.union(index), index.difference(other), other.intersection(index)],
        lambda index: [
            index.symmetric_difference(other),
            index.join(other, how="outer"),
            other.join(index, how="left"),
        ],
        lambda index: index.join(other, how="inner", return_indexers=True),
        lambda index: index.reindex(other),
        lambda index: [
            index.equals(other),
            other.equals(index),
            index.equals(plain),
            plain.equals(index),
            index.equals(3),
        ],
        lambda index: [
            index.identical(plain),
            index.identical(other),
            plain.identical(index),
            plain.identical(index.rename("z")),
        ],
        lambda index: index.asof(index[-1]),
        lambda index: [index.union(index), index.intersection(index), index.intersection(index.rename("z"))],
    ]:
        same_answer(function, lazy.view(), plain)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_copies_are_lazy_and_have_the_same_labels(data):
    _, lazy, plain = data.draw(pairs())
    source = lazy._window.source
    source.given = 0
    copies = [
        lazy.copy(),
        lazy.copy(deep=True),
        copy.copy(lazy),
        copy.deepcopy(lazy),
        lazy.view(),
        lazy.rename("x"),
        lazy[:],
    ]
    renamed = lazy.rename("z")
    restored = pickle.loads(pickle.dumps(lazy))
    assert all(type(one) is type(lazy) and lazy.equals(one) and lazy.identical(one) for one in [*copies, restored])
    assert (renamed.name, lazy.name, lazy.copy(name="k").name) == ("z", "x", "k")
    assert lazy.equals(renamed)
    assert not lazy.identical(renamed)
    assert source.given == 0
    same_value([*copies, restored, renamed.rename("x")], [plain] * (len(copies) + 2))


@pytest.mark.parametrize(
    "labels",
    [
        np.arange(N) * 3,
        np.arange(N)[::-1] / 4,
        np.array([f"{i:06}" for i in range(N)], object),
        np.arange(N).view("M8[ms]"),
    ],
)
@pytest.mark.parametrize(
    ("most", "function"),
    [
        (
            0,
            lambda index: (
                len(index),
                index.dtype,
                index.name,
                index.shape,
                index.is_unique,
                index.nbytes,
                index.memory_usage(),
            ),
        ),
        (0, lambda index: (index[:], index[10:-10], index.equals(index.copy()))),
        (
            2,
            lambda index: (
                index.is_monotonic_increasing,
                index.is_monotonic_decreasing,
                index.hasnans,
                index.min(),
                index.max(),
            ),
        ),
        (2, lambda index: (index[5], index[-1])),
        (1000, lambda index: index[1000:2000]),
        (1000, lambda index: index[np.arange(0, N, 100)]),
        (300, repr),
        (20, lambda index: (index.get_loc(index[77]), index[3] in index)),
        (20, lambda index: index.slice_indexer(index[77], index[99])),
        (500, lambda index: index.get_indexer(index[100:200])),
        (500, lambda index: index.get_indexer_non_unique(index[100:200])),
        (500, lambda index: index.get_indexer(index[100:200], method="nearest" if index.dtype != object else "pad")),
        (500, lambda index: (index.isin(index[100:110]), index.intersection(index[5:100]))),
        (500, lambda index: index.equals(pd.Index(index[:100].repeat(N // 100), name="x"))),
    ],
)
def test_few_labels_are_read(labels, most, function):
    lazy, _ = pair_of(labels)
    function(lazy)
    assert lazy._window.source.given <= most
    assert not lazy._window.is_read


@pytest.mark.parametrize("n", [0, 1, 65_535])
def test_few_labels_are_read_at_once(n):
    index = lazy_index(CountingSource(np.arange(n)), "x")
    assert type(index) is pd.Index
    assert (len(index), index.name) == (n, "x")


def test_a_slice_is_lazy_while_it_is_large():
    index = lazy_index(CountingSource(np.arange(N)), "x")
    assert type(index[10:]) is LazyIndex
    assert type(index[N // 2 :]) is pd.Index
    assert index[10:].equals(index[10:])
    assert index._window.source.given == N - N // 2


@pytest.mark.parametrize("dtype", ["float16", "M8[D]", "bool", "complex64"])
def test_labels_that_pandas_would_change_are_read_at_once(dtype):
    labels = np.arange(5).astype("int64").astype(dtype)
    index = lazy_index(CountingSource(labels), "x", at_least=1)
    expected = pd.Index(labels.astype("f8") if dtype == "float16" else labels, name="x")
    pd.testing.assert_index_equal(index, expected)


def test_equal_sources_are_equal_without_reading_and_others_are_compared():
    one, same, other = (lazy_index(CountingSource(np.arange(N), token), "x") for token in ("a", "a", "b"))
    assert one.equals(same)
    assert one.identical(same)
    assert one[10:].equals(same[10:])
    assert one._window.source.given == same._window.source.given == 0
    assert one.equals(other)
    assert not one._window.is_read
    assert not one.equals(other[1:])
    changed = np.arange(N)
    changed[N // 2] = changed[N // 2 - 1]
    assert not one.equals(lazy_index(CountingSource(changed, "c"), "x"))


def test_a_part_of_labels_with_duplicates_may_be_unique():
    labels = np.sort(np.r_[np.arange(N), 5])
    lazy = lazy_index(CountingSource(labels), "x")
    assert not lazy.is_unique
    assert lazy[10:].is_unique
    assert not lazy[:-1].is_unique
    assert not lazy._window.is_read


@pytest.mark.parametrize("base", [2**53, 2**62])
def test_integers_that_floats_would_round_are_compared_as_pandas_does(base):
    lazy, plain = pair_of(base + np.arange(0, 60, 3))
    for values in (np.array([base + 2.0, base + 30.0]), np.array([base + 3, base + 4]), np.array([base + 3], "u8")):
        for method in (None, "nearest"):
            same_answer(lambda index, v=values, m=method: index.get_indexer(v, m), lazy.view(), plain)
        same_answer(lambda index, v=values: index.searchsorted(v), lazy.view(), plain)


def test_unsorted_labels_are_read_when_they_are_searched():
    labels = np.array([5, 3, 9, 1, 3])
    lazy, plain = pair_of(labels)
    assert (lazy[1], len(lazy)) == (3, 5)
    assert not lazy._window.is_read
    for function in [
        lambda index: index.get_loc(3),
        lambda index: index.get_loc(9),
        lambda index: index.get_indexer([1]),
    ]:
        same_answer(function, lazy, plain)
    assert not lazy.is_unique
    assert (lazy.min(), lazy.max(), lazy.is_monotonic_increasing) == (1, 9, False)


def test_a_stale_record_is_told_once_and_answers_stay_right():
    labels = np.arange(N) * 2
    index = lazy_index(StaleSource(labels), "x")
    with pytest.warns(UserWarning, match=r"changed since.*s\.zarr.*zarrds\.index"):
        assert index.get_loc(10) == 5
    assert index.get_indexer([4, 5]).tolist() == [2, -1]
    assert index.is_unique
    assert not index.equals(lazy_index(CountingSource(labels + 1), "x"))


def test_labels_are_read_once_by_many_threads():
    source = CountingSource(np.arange(N))
    index = lazy_index(source, "x")
    copies = [index.rename(str(i)) for i in range(8)]
    threads = [threading.Thread(target=lambda one=one: one.union([-1])) for one in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.given == N
    assert source.reads == [(0, N)]
    assert copies[3].values is not None
    assert copies[3].plain().name == "3"


TIMES = [
    "2000",
    "2000-01",
    "2000-02-30",
    "2000-01-03",
    "2000-01-02 09",
    "2000-01-02 18:00",
    "2000-01-02T18:00:01",
    "1999",
    "2031",
    "x",
    "2000Q1",
    "2000-01-03 00:00+00:00",
]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_strings_mean_the_same_times(data):
    unit = data.draw(st.sampled_from(["s", "ns"]))
    hours = sorted(data.draw(st.lists(st.integers(0, 200), min_size=1, max_size=20)), reverse=data.draw(st.booleans()))
    if data.draw(st.booleans()):  # whole days only
        hours = [hour * 24 for hour in hours]
    labels = np.datetime64("2000-01-01", unit) + np.array(hours, "m8[h]")
    lazy, plain = pair_of(labels.astype(f"M8[{unit}]"))
    assert isinstance(lazy, LazyDatetimeIndex)
    text, other = (data.draw(st.one_of(st.none(), st.sampled_from(TIMES))) for _ in range(2))
    step = data.draw(st.sampled_from([None, -1]))
    for function in [
        lambda index: index.get_loc(text),
        lambda index: text in index,
        lambda index: index.get_slice_bound(text, "right"),
        lambda index: index.slice_indexer(text, other, step),
        lambda index: index.get_indexer([text]),
        lambda index: index.resolution,
    ]:
        same_answer(function, lazy.view(), plain)


def test_times_are_a_datetime_index():
    lazy, plain = pair_of((np.datetime64("2000-01-01", "ns") + np.arange(N) * np.timedelta64(1, "h")).astype("M8[ns]"))
    lazy._window.at_least = 65_536
    source = lazy._window.source
    assert isinstance(lazy, pd.DatetimeIndex)
    assert (lazy.freq, lazy.freqstr, lazy.tz, lazy.unit) == (plain.freq, plain.freqstr, plain.tz, plain.unit)
    assert lazy.get_loc("2003-03") == plain.get_loc("2003-03")
    assert lazy.slice_indexer("2003-03", "2003-04-02") == plain.slice_indexer("2003-03", "2003-04-02")
    assert lazy.get_loc("2003-03-04") == plain.get_loc("2003-03-04")
    assert "2003-03-04" in lazy
    assert repr(lazy).replace("LazyDatetimeIndex", "DatetimeIndex").split() == repr(plain).split()
    assert source.given < 300
    for name in ["year", "day_of_year", "date", "is_leap_year", "asi8"]:
        same_value(getattr(lazy, name), getattr(plain, name))
    same_value(lazy.indexer_at_time("03:00"), plain.indexer_at_time("03:00"))
    same_value(
        [lazy.floor("D"), lazy.tz_localize("UTC"), lazy.to_period("M")],
        [plain.floor("D"), plain.tz_localize("UTC"), plain.to_period("M")],
    )
    assert source.reads[-1] == (0, N)
