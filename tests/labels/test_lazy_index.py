import copy
import pickle
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.labels.lazy_pairs import N, item_of, pair_of, pairs, same_answer, same_value, wanted
from tests.labels.sources import CountingSource, StaleSource
from zarrds.labels.sorted.lazy_index import LazyIndex, lazy_index


@settings(max_examples=120, deadline=None)
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


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_slices_of_labels_are_those_of_a_plain_index(data):
    dtype, lazy, plain = data.draw(pairs())
    ends = [item_of(data.draw(wanted(dtype, st.just(1))), "scalar") for _ in range(2)]
    start, stop = (end if data.draw(st.booleans()) else None for end in ends)
    step = data.draw(st.sampled_from([None, 1, 2, -1, -3]))
    same_answer(lambda index: index.slice_indexer(start, stop, step), lazy, plain)
    same_answer(lambda index: index.slice_locs(start, stop), lazy, plain)


@settings(max_examples=80, deadline=None)
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


@pytest.mark.one_in(3)
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
    for value in (base + 2.0, base + 3, np.uint64(base + 3), 2**63, True):
        same_answer(lambda index, v=value: index.slice_indexer(v), lazy.view(), plain)
        same_answer(lambda index, v=value: v in index, lazy.view(), plain)


def test_large_integers_are_found_with_few_readings():
    lazy, plain = pair_of(2**62 + np.arange(N))
    for key in (2**62 + 7, np.int64(2**62 + 8)):
        assert lazy.get_loc(key) == plain.get_loc(key)
        assert lazy.slice_indexer(key, key + 5) == plain.slice_indexer(key, key + 5)
    assert lazy._window.source.given < 60


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
