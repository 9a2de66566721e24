"""The record of the order of labels: what it says, against NumPy and pandas, and what it refuses."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import crc32c
import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from zarrds import LocalStore, MemoryStore, create_array, open_array
from zarrds.engine.elements import Elements
from zarrds.errors import ChunkError, MetadataError
from zarrds.labels.sorted.blocks import Blocks
from zarrds.labels.sorted.record import OrderRecord, is_current, is_recordable, record_of

RAW = [{"name": "bytes", "configuration": {"endian": "little"}}]
LAYOUTS: list[dict[str, Any]] = [
    {},
    {"zarr_format": 2},
    {"codecs": RAW},
    {"codecs": [*RAW, {"name": "crc32c"}]},
    {"codecs": [*RAW, {"name": "zstd", "configuration": {"level": 1}}]},
    {"zarr_format": 2, "codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]},
    {"zarr_format": 2, "codecs": [*RAW, {"name": "crc32c"}]},
]


def stored(values: Any, chunks: int = 3, store: Any = None, dtype: Any = None, **layout: Any) -> Elements:
    values = np.asarray(values)
    dtype = dtype or ("string" if values.dtype.kind == "O" else values.dtype)
    array = create_array(store or MemoryStore(), shape=values.shape, dtype=dtype, chunks=chunks, path="x", **layout)
    array[...] = values
    return Elements(array.store, array.path, array.metadata)


def through_json(record: OrderRecord, elements: Elements) -> OrderRecord:
    return OrderRecord.from_json(json.loads(json.dumps(record.to_json())), elements.metadata)


def numbers(kind: str) -> st.SearchStrategy[Any]:
    if kind == "text":
        return st.lists(st.text("aé\U0001f600z", max_size=2), max_size=20).map(
            lambda v: np.array([*v, None], object)[:-1]
        )
    if kind == "f4":
        floats = st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 1.5, np.inf, np.nan])
        return st.lists(floats, max_size=20).map(lambda v: np.array(v, "f4"))
    if kind == "M8[ns]":
        ticks = st.lists(st.integers(-5, 5), max_size=20)
        return ticks.map(lambda v: np.array(v, "i8").view(kind))
    info = np.iinfo(kind)
    few = st.integers(max(info.min, -4), 4) | st.sampled_from([info.min, info.max])
    ranges = st.builds(
        lambda a, n, step: [a + i * step for i in range(n)], st.integers(30, 60), st.integers(0, 9), st.integers(-3, 3)
    )
    return (st.lists(few, max_size=20) | ranges).map(lambda v: np.array(v, kind))


labels = st.sampled_from(["i1", "i8", "u8", "f4", "M8[ns]", "text"]).flatmap(numbers)


def arranged(values: Any, how: str) -> Any:
    return values if how == "as they are" else np.sort(values)[:: -1 if how == "down" else 1]


def check(record: OrderRecord, values: Any) -> None:
    """Hold a record against pandas."""
    index = pd.Index(values.astype("f8") if values.dtype == "f4" else values)
    order = "increasing" if index.is_monotonic_increasing else "decreasing" if index.is_monotonic_decreasing else None
    assert record.order == (None if index.hasnans else order)
    assert record.unique in (index.is_unique, None if record.order is None else index.is_unique)
    steps = {int(b) - int(a) for a, b in itertools.pairwise(values)} if values.dtype.kind in "iu" else set()
    assert record.step == (steps.pop() if len(steps) == 1 and steps != {0} else None)
    starts = range(0, len(values), record.block)
    same = np.testing.assert_array_equal
    same(record.first, values[list(starts)] if len(values) else values)
    same(record.last, [values[min(i + record.block, len(values)) - 1] for i in starts])
    assert (record.size, record.crc32c.dtype) == (len(values), np.uint32)


@given(
    labels, st.sampled_from(["as they are", "up", "down"]), st.sampled_from(LAYOUTS[:4]), st.sampled_from([3, 65_536])
)
def test_it_says_what_pandas_says(values: Any, how: str, layout: dict[str, Any], max_blocks: int) -> None:
    values = arranged(values, how)
    if values.dtype.kind == "O":
        layout = {k: v for k, v in layout.items() if k != "codecs"}
    elements = stored(values, 2, **layout)
    read = record_of(elements, max_blocks=max_blocks)
    in_memory = record_of(elements, values, max_blocks=max_blocks)
    # the fill value of format 2 is a missing label
    if not (layout.get("zarr_format") == 2 and (values == elements.fill_value).any()):
        check(read, values)
        check(in_memory, values)
    assert {**in_memory.to_json(), "unique": None} == {**read.to_json(), "unique": None}
    assert through_json(read, elements).to_json() == read.to_json()
    n_chunks = -(-len(values) // 2)
    assert read.block % 2 == 0
    assert len(read.first) <= max_blocks
    assert read.block == 2 or n_chunks > max_blocks


@given(labels, st.sampled_from(["as they are", "up", "down"]), st.integers(0, 20), st.integers(1, 4), st.booleans())
def test_arrays_that_grow(values: Any, how: str, at: int, chunks: int, in_memory: bool) -> None:
    values = arranged(values, how)
    elements = stored(values[:at], chunks)
    before = record_of(elements, values[:at])
    array = open_array(elements.store, "r+", "x")
    array.append(values[at:])
    grown = Elements(array.store, array.path, array.metadata)
    record = record_of(grown, values if in_memory else None, through_json(before, elements))
    check(record, values)
    fresh = record_of(grown, values)
    assert {**record.to_json(), "unique": None} == {**fresh.to_json(), "unique": None}


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, key: str, buffer: Any = None) -> Any:
        self.asked.append(key)
        return super().get(key, buffer)


def test_blocks_that_are_known_are_not_read_again() -> None:
    store = CountingStore()
    elements = stored(np.arange(10), 2, store)
    before = record_of(elements)
    array = open_array(store, "r+", "x")
    array.append(np.arange(10, 13))
    store.asked.clear()
    record = record_of(Elements(store, "x", array.metadata), None, before)
    assert (record.order, record.step, store.asked) == ("increasing", 1, ["x/c/5", "x/c/6"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_digests_are_of_the_stored_bytes(layout: dict[str, Any]) -> None:
    elements = stored(np.arange(10), 2, **layout)
    store = elements.store
    assert isinstance(store, MemoryStore)
    v2 = elements.metadata.zarr_format == 2
    missing = "x/1" if v2 else "x/c/1"
    store.delete(missing)
    elements = Elements(store, "x", elements.metadata, missing_chunks="fill")
    crcs = []
    for i in range(5):
        value = store.get(f"x/{i}" if v2 else f"x/c/{i}")
        ends_with_it = elements.metadata.codecs[-1]["name"] == "crc32c"
        crcs.append(0 if value is None else crc32c.crc32c(value[:-4] if ends_with_it else value))
    for k in (1, 2):
        expected = [crc32c.crc32c(np.array(crcs[i : i + k], "<u4").tobytes()) for i in range(0, 5, k)]
        blocks = Blocks(elements, 2 * k)
        assert [blocks.digest(i) for i in range(len(blocks))] == expected
        assert blocks.reader(9)(range(len(blocks)))[1] == expected


def test_format_2_has_the_digests_of_the_codecs_that_it_was_made_with() -> None:
    """What is noted of a new array holds for who opens it."""
    elements = stored([1, 2, 3, 4], zarr_format=2, codecs=[*RAW, {"name": "crc32c"}])
    opened = open_array(elements.store, path="x")
    assert opened.metadata.codecs == elements.metadata.codecs
    again = record_of(Elements(opened.store, "x", opened.metadata))
    assert again.to_json() == record_of(elements).to_json()


def test_lost_chunks_are_errors() -> None:
    elements = stored(np.arange(10), 2)
    elements.store.delete("x/c/1")  # type: ignore[attr-defined]  # it is a MemoryStore
    with pytest.raises(ChunkError, match="missing"):
        record_of(Elements(elements.store, "x", elements.metadata, missing_chunks="error"))


@pytest.mark.parametrize(
    ("values", "attributes"),
    [
        (np.array([1, 2, 3]), {"_FillValue": 2}),
        (np.array([1, 2, 3]), {"missing_value": [9, 3.0]}),
        (np.array([1.0, 2.0, 1e20], "f4"), {"_FillValue": 1e20}),
        (np.array([1.0, 2.0, 3.0]), {"_FillValue": "AAAAAAAAAEA="}),  # 2.0, as xarray writes it
        (np.array(["", "b"], object), {"missing_value": ""}),
        (np.array([np.nan]), {}),
        (np.array(["NaT"], "M8[ns]"), {}),
    ],
)
def test_missing_labels_have_no_order(values: Any, attributes: dict[str, Any]) -> None:
    elements = stored(values, 2, attributes=attributes)
    assert record_of(elements).order is None
    assert record_of(elements, values).order is None


def test_the_fill_value_of_format_2_is_a_missing_label() -> None:
    assert record_of(stored(np.array([0, 1, 2]), zarr_format=2, fill_value=1)).order is None
    assert record_of(stored(np.array([0, 1, 2]), zarr_format=2, fill_value=7)).order == "increasing"
    assert record_of(stored(np.array([0, 1, 2]), fill_value=1)).order == "increasing"


def test_what_a_codec_rounds_is_read_back() -> None:
    rounding = {"name": "numcodecs.quantize", "configuration": {"digits": 0, "dtype": "<f8"}}
    values = np.array([1.0, 1.1, 1.2, 5.0])
    elements = stored(values, codecs=[rounding, *RAW])
    assert record_of(elements, values).unique is False


def test_uniqueness_of_unsorted_labels() -> None:
    for values in (
        np.array([3, 1, 2]),
        np.array([3, 1, 2], "f2"),
        np.array(["c", "a", "b"]),
        np.array([3, 1, 2], "M8[D]"),
    ):
        elements = stored(values)
        assert (record_of(elements, values).unique, record_of(elements).unique) == (True, None)
        doubled = np.concatenate([values, values])
        assert record_of(stored(doubled), doubled).unique is False


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"dtype": "i8"}, True),
        ({"dtype": "U3"}, True),
        ({"dtype": "string"}, True),
        ({"dtype": "M8[s]"}, True),
        ({"dtype": "bool"}, False),
        ({"dtype": "S3"}, False),
        ({"dtype": "c8"}, False),
        ({"dtype": "i8", "shards": 4}, False),
        ({"dtype": "i8", "shape": (4, 4), "chunks": (2, 2)}, False),
        ({"dtype": "i8", "attributes": {"units": "hours since 1970-01-01"}}, True),
        ({"dtype": "f8", "attributes": {"units": "hours since 1970-01-01"}}, False),
        ({"dtype": "i2", "attributes": {"scale_factor": -0.1}}, False),
        ({"dtype": "i2", "attributes": {"_Unsigned": "true"}}, False),
        ({"dtype": "i1", "attributes": {"dtype": "bool"}}, False),
    ],
)
def test_which_arrays_have_a_record(options: dict[str, Any], expected: bool) -> None:
    array = create_array(MemoryStore(), **({"shape": 4, "chunks": 2} | options))
    assert is_recordable(array.metadata) is expected
    if not expected:
        record = record_of(stored(np.arange(4)))
        with pytest.raises(MetadataError):
            OrderRecord.from_json(record.to_json(), array.metadata)


def test_many_blocks_are_base64() -> None:
    for values in (np.arange(1500) * 3, np.linspace(0, 1, 1500), np.arange(1500).astype("M8[s]")):
        elements = stored(values, 1)
        record = record_of(elements)
        assert isinstance(record.to_json()["first"], str)
        assert through_json(record, elements).to_json() == record.to_json()
        with pytest.raises(MetadataError):
            OrderRecord.from_json(record.to_json() | {"last": record.to_json()["last"][:-4]}, elements.metadata)
    texts = np.array([f"{i:04d}" for i in range(1500)], object)
    assert record_of(stored(texts, 1)).to_json()["first"] == list(texts)


GOOD = record_of(stored(np.arange(0, 70, 10), 3)).to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"size": 8}, {"size": 7.0}, {"size": None}, {"size": True},
        {"order": "up"}, {"order": []}, {"order": "decreasing"}, {"order": 0},
        {"unique": 1}, {"unique": 0.0}, {"unique": []},
        {"step": 0}, {"step": True}, {"step": 11}, {"step": -10}, {"step": 10.0}, {"step": 2**64 + 10},
        {"unique": None},
        {"block": 0}, {"block": -3}, {"block": 4}, {"block": 6}, {"block": "3"}, {"block": None},
        {"first": [0, 30]}, {"first": [0, 30, None]}, {"first": [0, 30, 2**63]}, {"first": [0, "30", 60]},
        {"first": {}}, {"first": [0, 30, True]}, {"first": "AAAA"}, {"first": "ö"}, {"first": [0, 15, 60]},
        {"first": [0, 30, 59]},
        {"last": [20, 15, 60]}, {"last": [31, 50, 60]}, {"last": [20, 49, 60]}, {"last": None},
        {"crc32c": [0, 0, 2**32]}, {"crc32c": [0, 0, -1]}, {"crc32c": [0, 0]},
    ],
)  # fmt: skip  # one a line would be long
def test_records_that_cannot_be_true_are_refused(change: dict[str, Any]) -> None:
    metadata = stored(np.arange(0, 70, 10), 3).metadata
    assert OrderRecord.from_json(GOOD, metadata).step == 10
    with pytest.raises(MetadataError):
        OrderRecord.from_json(GOOD | change, metadata)


def test_texts_that_do_not_fit_are_refused() -> None:
    elements = stored(np.array(["a", "b"], "U1"), 1)
    record = record_of(elements).to_json()
    for change in ({"first": ["aa", "b"]}, {"first": [1, "b"]}, {"first": "YWI="}, {"last": ["b", "a"]}):
        with pytest.raises(MetadataError):
            OrderRecord.from_json(record | change, elements.metadata)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("AAAAAAAAAAA="),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(json_values | st.dictionaries(st.sampled_from(sorted(GOOD)), json_values).map(lambda d: GOOD | d))
def test_any_json_is_a_record_or_a_metadata_error(value: Any) -> None:
    for values in (np.arange(0, 70, 10), np.arange(7.0), np.arange(7).astype("M8[ns]"), np.array(list("abcdefg"))):
        elements = stored(values, 3)
        try:
            record = OrderRecord.from_json(value, elements.metadata)
        except MetadataError:
            continue
        assert OrderRecord.from_json(record.to_json(), elements.metadata).to_json() == record.to_json()


def test_json_that_is_nested_deeply() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    metadata = stored(np.arange(0, 70, 10), 3).metadata
    for name in GOOD:
        for value in (deep, [deep, deep, deep]):
            with pytest.raises(MetadataError) as caught:
                OrderRecord.from_json(GOOD | {name: value}, metadata)
            str(caught.value)


@pytest.mark.parametrize("edited", [0, 7, 19])
def test_edits_by_zarr_python_are_noticed(tmp_path: Path, edited: int) -> None:
    elements = stored(np.arange(20), 2, LocalStore(tmp_path))
    record = record_of(elements)
    assert is_current(record, elements)
    assert is_current(record, elements, at_most=2)
    zarr.open_array(tmp_path, path="x")[edited] = 100
    assert not is_current(record, elements)
    assert is_current(record, elements, at_most=2) is (edited == 7)


def test_without_checksums_nothing_is_compared() -> None:
    elements = stored(np.arange(20), 2, codecs=RAW)
    record = record_of(elements)
    elements.write((slice(0, 1),), 100)
    assert is_current(record, elements)
