"""Labels that are searched where they lie, against `numpy.searchsorted` on Python's exact comparisons."""

from __future__ import annotations

import bisect
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.labels.test_record import LAYOUTS, CountingStore, stored
from zarrds import LocalStore, MemoryStore, create_array, open_array
from zarrds.engine.elements import Elements
from zarrds.errors import ChunkError, ConflictError
from zarrds.labels.sorted.reading import StoredLabels
from zarrds.labels.sorted.record import OrderRecord, StaleRecordError, record_of
from zarrds.labels.sorted.search import SortedLabels
from zarrds.labels.sorted.source import LabelSource, Probe


def same(labels: Any) -> Any:
    return labels


def as_dates(stored: Any) -> Any:
    return stored.astype("M8[D]").astype("M8[ns]")


def nothing() -> None:
    pass


def sorted_labels(values: Any, chunks: int = 2, decode: Any = None, max_blocks: int = 65_536, **layout: Any) -> Any:
    elements = stored(values, chunks, **layout)
    return SortedLabels(elements, record_of(elements, max_blocks=max_blocks), decode, nothing, "token")


def expected(labels: list[Any], values: list[Any], order: str) -> tuple[list[int], list[int]]:
    """Python compares its numbers, texts and times without rounding; bisect is the oracle."""
    up = labels if order == "increasing" else labels[::-1]
    left, right = ([f(up, v) if v == v else len(up) for v in values] for f in (bisect.bisect_left, bisect.bisect_right))
    if order == "increasing":
        return left, right
    return [len(up) - n for n in right], [len(up) - n for n in left]


def check(source: LabelSource, labels: list[Any], values: Any, as_python: Any = list) -> Probe:
    found = source.probe(values)
    assert source.order is not None
    assert (found.left.tolist(), found.right.tolist()) == expected(labels, as_python(values), source.order)
    assert (found.left.dtype, found.at.dtype, found.before.dtype) == (np.int64, source.dtype, source.dtype)
    for i, (left, at, before) in enumerate(
        zip(found.left.tolist(), as_python(found.at), as_python(found.before), strict=True)
    ):
        assert left == source.size or at == labels[left], i
        assert left == 0 or before == labels[left - 1], i
    return found


SPECIAL = [-(2**63), -(2**53) - 1, -1, 0, 1, 2**53, 2**53 + 1, 2**53 + 2, 2**63 - 1, 2**63, 2**64 - 1]
INTEGERS = st.integers(-6, 6) | st.sampled_from(SPECIAL)
FLOATS = st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 0.1, 2.0**53, 2.0**63, 2.0**64, -(2.0**63), 1e300, np.inf])
DTYPES = ("i1", "u1", "i8", "u8", "f2", "f4", "f8")


def numbers_of(dtype: str, missing: bool = False) -> st.SearchStrategy[Any]:
    """Numbers as arrays of a dtype, which may be object: Python's own."""
    if dtype == "O":
        many = st.lists(INTEGERS | FLOATS | st.sampled_from([2**70, -(10**400), 10**400]), min_size=1, max_size=12)
        return many.map(lambda v: np.array([*v, None], object)[:-1])
    if dtype[0] in "fg":
        numbers = FLOATS | st.integers(-6, 6) | st.sampled_from([2.0**24 + 1, 6e4, 0.3, *[np.nan] * missing])
        return st.lists(numbers, min_size=1, max_size=24).map(lambda v: cast(v, dtype))
    info = np.iinfo(dtype)
    integers = st.lists(INTEGERS.filter(lambda n: info.min <= n <= info.max), min_size=1, max_size=24)
    return integers.map(lambda v: np.array(v, dtype))


def cast(values: list[Any], dtype: str) -> Any:
    with np.errstate(over="ignore"):
        return np.array(values, "f8").astype(dtype)


@st.composite
def searches(draw: st.DrawFn) -> tuple[Any, Any]:
    labels = np.sort(draw(st.sampled_from(DTYPES).flatmap(numbers_of)))
    values = draw(st.sampled_from([*DTYPES, "O", "g"]).flatmap(lambda d: numbers_of(d, missing=True)))
    return labels, np.concatenate([values, labels]) if values.dtype == labels.dtype else values


def python_numbers(values: Any) -> list[Any]:
    # NumPy's own scalars would be rounded when they are compared
    return [v if type(v) in (int, float) else float(v) if v.dtype == np.longdouble else v.item() for v in values]


@settings(max_examples=120)
@given(searches(), st.booleans(), st.integers(1, 5), st.sampled_from([2, 65_536]), st.sampled_from([None, same]))
def test_numbers_of_any_dtype(search: Any, down: bool, chunks: int, max_blocks: int, decode: Any) -> None:
    labels, values = search
    source = sorted_labels(labels[:: -1 if down else 1], chunks, decode, max_blocks)
    python = python_numbers(labels[:: -1 if down else 1])
    check(source, python, values, python_numbers)
    check(source, python, values, python_numbers)  # from the blocks that were kept


@given(
    st.lists(st.text("aé\U0001f600z", max_size=2), min_size=1),
    st.lists(st.text("aé\U0001f600z", max_size=3)),
    st.booleans(),
)
def test_texts(labels: list[str], values: list[str], down: bool) -> None:
    labels.sort(reverse=down)
    for kind in (object, "U2"):
        source = sorted_labels(np.array([*labels, ""], kind)[:-1])
        assert source.dtype == object
        check(source, labels, np.array(values, "U3"))
        check(source, labels, np.array([*values, None], object)[:-1])


times = st.lists(st.integers(-9, 9), min_size=1, max_size=24)


@given(times, times, st.booleans(), st.sampled_from(["D", "h", "s", "us", "ns", "12h", "W"]))
def test_times_made_by_a_decoder(labels: list[int], values: list[int], down: bool, unit: str) -> None:
    labels.sort(reverse=down)
    source = sorted_labels(np.array(labels, "i4"), 3, as_dates)
    assert source.dtype == "M8[ns]"
    instants = as_dates(np.array(labels)).astype("i8").tolist()
    wanted = np.array([*values, 0], "i8").view(f"M8[{unit}]")
    check(source, instants, wanted, lambda v: v.astype("M8[ns]").astype("i8").tolist())


def test_times_that_the_labels_cannot_hold() -> None:
    source = sorted_labels(np.array([0, 5], "M8[ns]"))
    found = source.probe(np.array(["-9999-01-01", "9999-01-01", "NaT"], "M8[s]"))
    assert (found.left.tolist(), found.right.tolist()) == ([0, 2, 2], [0, 2, 2])
    coarse = sorted_labels(np.array([-1, 0, 5], "m8[s]"))
    found = coarse.probe(np.array([-1, 1, -(10**9), 5 * 10**9], "m8[ns]"))
    assert (found.left.tolist(), found.right.tolist()) == ([1, 2, 0, 2], [1, 2, 1, 3])
    assert source.probe(np.array(["1970-02"], "M8[M]")).left.tolist() == [2]


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        (np.arange(3), np.array(["a"])),
        (np.arange(3), np.array(["a"], object)),
        (np.arange(3.0), np.array([None])),
        (np.arange(3), np.array([0], "M8[s]")),
        (np.arange(3).astype("M8[s]"), np.array([1])),
        (np.arange(3).astype("M8[s]"), np.array([1], "m8[s]")),
        (np.arange(3), np.array([1j])),
        (np.array(["a", "b", "c"]), np.array([1])),
    ],
)
def test_values_that_do_not_compare(labels: Any, values: Any) -> None:
    with pytest.raises(TypeError):
        sorted_labels(labels).probe(values)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("down", [False, True])
def test_many_blocks(layout: dict[str, Any], down: bool) -> None:
    rng = np.random.default_rng(0)
    labels = np.sort(rng.integers(1, 20_000, 10_007))[:: -1 if down else 1]
    pandas = pd.Index(labels)
    for max_blocks, decode in ((65_536, None), (90, None), (3, same)):
        source = sorted_labels(labels, 50, decode, max_blocks, **layout)
        values = rng.integers(-10, 20_010, 3000)
        check(source, labels.tolist(), values, lambda v: v.tolist())
        at = rng.integers(0, labels.size, 1000)
        np.testing.assert_array_equal(source.take(at), labels[at])
        np.testing.assert_array_equal(source.read(3, 9_999), labels[3:9_999])
        np.testing.assert_array_equal(source.read(51, 52), labels[51:52])
        assert (source.size, source.is_unique) == (pandas.size, pandas.is_unique)


def test_only_what_must_be_read_is_read() -> None:
    store = CountingStore()
    elements = stored(np.arange(0, 1000, 10), 5, store)  # blocks [0 … 40], [50 … 90], …
    record = record_of(elements)
    source = SortedLabels(elements, record, None, nothing, "x")
    store.asked.clear()
    # for ends, gaps, and what is beyond, the blocks beside them, to see that they are as recorded
    check(source, list(range(0, 1000, 10)), np.array([0, 45, 50, -7, 5000, 490]), lambda v: v.tolist())
    assert (sorted(set(store.asked)), source.labels_read) == (["x/c/0", "x/c/1", "x/c/19", "x/c/9"], 20)
    store.asked.clear()
    check(source, list(range(0, 1000, 10)), np.array([512, 513, 728, 520, 512]), lambda v: v.tolist())
    assert sorted(store.asked) == ["x/c/10", "x/c/14"]
    store.asked.clear()
    n = source.labels_read
    check(source, list(range(0, 1000, 10)), np.array([512]), lambda v: v.tolist())
    source.take(np.array([51, 52]))
    assert (store.asked, source.labels_read) == ([], n)


def test_few_labels_are_decoded() -> None:
    decoded = []

    def decode(elements: Any) -> Any:
        decoded.append(elements.size)
        return elements * 2.0

    source = sorted_labels(np.arange(100_000), 50_000, decode)
    decoded.clear()
    found = source.probe(np.array([3.0, 150_000.5]))
    assert (found.left.tolist(), found.right.tolist()) == ([2, 75_001], [2, 75_001])
    assert sum(decoded) < 3000


def test_no_labels() -> None:
    source = sorted_labels(np.array([], "i4"))
    found = source.probe(np.array([1, 2]))
    assert (found.left.tolist(), found.right.tolist(), found.at.dtype) == ([0, 0], [0, 0], np.int32)
    assert (source.is_unique, source.read(0, 0).tolist(), source.take(np.array([], int)).tolist()) == (True, [], [])
    assert sorted_labels(np.array([1])).probe(np.array([], int)).left.size == 0


def test_it_is_unique_only_if_its_decoder_keeps_that() -> None:
    def as_floats(elements: Any) -> Any:
        return elements.astype("f8")

    assert sorted_labels(np.array([1, 2]), decode=as_floats).is_unique is True
    assert sorted_labels(np.array([2**53, 2**53 + 1]), decode=as_floats).is_unique is None
    assert sorted_labels(np.array([0.1, 0.2]), decode=as_dates).is_unique is None
    assert sorted_labels(np.array([1, 1]), decode=as_floats).is_unique is False


def test_records_that_cannot_be_used() -> None:
    elements = stored(np.array([2, 1, 3]))
    with pytest.raises(ValueError, match="record"):
        SortedLabels(elements, record_of(elements), None, nothing, "x")
    with pytest.raises(ValueError, match="record"):
        SortedLabels(elements, record_of(stored(np.arange(4))), None, nothing, "x")


@pytest.mark.parametrize("layout", [{}, {"codecs": LAYOUTS[2]["codecs"]}])
def test_edits_by_zarr_python_are_errors(tmp_path: Path, layout: dict[str, Any]) -> None:
    elements = stored(np.arange(0, 100, 10), 4, LocalStore(tmp_path), **layout)
    checked: list[int] = []
    source = SortedLabels(elements, record_of(elements), None, lambda: checked.append(1), "x")
    zarr.open_array(tmp_path, path="x", mode="r+")[5] = 0
    assert source.probe(np.array([15])).left.tolist() == [2]
    checked.clear()
    with pytest.raises(StaleRecordError, match="elements 4 to 8") as caught:
        source.probe(np.array([65]))
    assert (caught.value.key, len(checked)) == ("x", 1)
    # what stands in the store is given as it is
    assert source.take(np.array([5, 6])).tolist() == [0, 60]
    assert source.read(0, 10).tolist() == [0, 10, 20, 30, 40, 0, 60, 70, 80, 90]
    with pytest.raises(StaleRecordError):  # it was not kept as if it were right
        source.probe(np.array([65]))
    zarr.open_array(tmp_path, path="x", mode="r+")[8] = 81  # in the last block, which has only a part of a chunk
    with pytest.raises(StaleRecordError):
        source.probe(np.array([85]))


def test_what_grows_after_it_was_opened_is_searched_as_it_was(tmp_path: Path) -> None:
    elements = stored(np.arange(0, 100, 10), 4, LocalStore(tmp_path))
    source = SortedLabels(elements, record_of(elements), None, nothing, "x")
    open_array(tmp_path, "r+", "x").append([1, 2, 3])
    check(source, list(range(0, 100, 10)), np.array([85, 90, 95]), lambda v: v.tolist())


def test_replaced_and_lost_chunks() -> None:
    elements = stored(np.arange(10), 2)
    array = open_array(elements.store, path="x", missing_chunks="error")
    elements, record = Elements(array.store, "x", array.metadata, missing_chunks="error"), record_of(elements)
    elements.store.delete("x/c/2")  # type: ignore[attr-defined]  # it is a MemoryStore
    source = SortedLabels(elements, record, None, nothing, "x")
    for look in (lambda s: s.probe(np.array([4.5])), lambda s: s.take(np.array([4])), lambda s: s.read(0, 10)):
        with pytest.raises(ChunkError):
            look(source)

    def check() -> None:
        raise ConflictError("the array was replaced")

    source = SortedLabels(elements, record, None, check, "x")
    for look in (lambda s: s.probe(np.array([4.5])), lambda s: s.take(np.array([4])), lambda s: s.take(np.array([1]))):
        with pytest.raises(ConflictError):
            look(source)


def test_pickles_and_threads(tmp_path: Path) -> None:
    labels = np.arange(0, 50_000, 5)
    elements = stored(labels, 100, LocalStore(tmp_path))
    source = SortedLabels(elements, record_of(elements), as_dates, nothing, ("a", 1))
    copy = pickle.loads(pickle.dumps(source))
    assert (copy.token, copy.order, copy.dtype, copy.is_unique) == (("a", 1), "increasing", source.dtype, True)
    rng = np.random.default_rng(0)

    def look(seed: int) -> None:
        at = rng.integers(0, labels.size, 20)
        found = copy.probe(as_dates(labels[at]))
        np.testing.assert_array_equal(found.left, at)
        np.testing.assert_array_equal(copy.take(at), as_dates(labels[at]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(look, range(100)))


def test_kept_blocks_are_bounded() -> None:
    source = sorted_labels(np.arange(4_000_000), 100_000)
    for i in range(0, 4_000_000, 100_000):
        assert source.probe(np.array([i + 50])).left[0] == i + 50
    assert source.labels_read == 4_000_000
    source.probe(np.array([50]))  # 0.8 MB a block: 20 are kept, the first no longer
    assert source.labels_read == 4_100_000
    source.probe(np.array([3_950_000]))
    assert source.labels_read == 4_100_000


def test_unsorted_labels() -> None:
    values = np.array([3, 1, 2, 5, 4, 9, 8], ">i4")
    elements = stored(values, 2, zarr_format=2)
    record = record_of(elements)
    assert record.order is None
    source = StoredLabels(elements, record, None, nothing, "x")
    assert (source.size, source.dtype) == (7, np.dtype("i4"))
    assert (source.read(1, 6).tolist(), source.take(np.array([6, 0, 6])).tolist()) == ([1, 2, 5, 4, 9], [8, 3, 8])
    for position in (7, -1):
        with pytest.raises(IndexError):
            source.take(np.array([position]))
    with pytest.raises(ValueError, match="order"):
        SortedLabels(elements, record, None, nothing, "x")


def test_a_record_that_went_through_json_searches_the_same() -> None:
    elements = stored(np.array(["a", "b", "b", "zz", "é"], object), 2)
    record = OrderRecord.from_json(record_of(elements).to_json(), elements.metadata)
    source = SortedLabels(elements, record, None, nothing, "x")
    check(source, ["a", "b", "b", "zz", "é"], np.array(["", "b", "c", "zz", "zzz"], object))


def test_labels_that_were_just_found_are_not_read_again() -> None:
    values = np.arange(0, 100_000, 7)
    array = create_array(MemoryStore(), shape=values.shape, dtype="i8", chunks=100)
    array[:] = values
    elements = array.elements
    labels = SortedLabels(elements, record_of(elements), None, lambda: None, "x")
    wanted = values[np.random.default_rng(3).integers(0, values.size, 1000)]
    probe = labels.probe(wanted)
    n_read = labels.labels_read
    np.testing.assert_array_equal(labels.take(probe.left), wanted)
    np.testing.assert_array_equal(labels.take(probe.left[::-3] - 1), wanted[::-3] - 7)
    assert labels.labels_read == n_read
    other = np.setdiff1d(np.arange(values.size), [probe.left, probe.left - 1])[:5]
    np.testing.assert_array_equal(labels.take(other), values[other])
    with pytest.raises(IndexError):
        labels.take(np.array([values.size]))
