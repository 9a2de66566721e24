"""Arrays whose chunks differ in length are read as NumPy has them, and changed by nobody."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import obstore.store
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.arrays.rectilinear import BYTES, GROUP, ZSTD, Axis, document, lengths, put_array, put_document
from tests.arrays.test_array import BLOSC, CHECKSUM, FIXED, strings_of, values_of
from tests.engine.selections import (
    basic_keys,
    ids_of,
    orthogonal_keys,
    pointwise_keys,
    select_basic,
    select_orthogonal,
    select_pointwise,
)
from zarrds import LocalStore, MemoryStore, open_array, open_group, verify
from zarrds.arrays.array import Array
from zarrds.engine.planning.selection import plan_basic
from zarrds.errors import ChunkError, MetadataError, UnsupportedError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.equality import is_same
from zarrds.metadata.fill_values import default_fill_value, encode_fill_value
from zarrds.metadata.rectilinear import drawn

AXES: list[Axis] = [[3, [1, 2], 5], 4]
VALUES = ids_of((8, 10)).astype("i4")
TRANSPOSE = {"name": "transpose", "configuration": {"order": [1, 0]}}
SHARDING: dict[str, Any] = {
    "name": "sharding_indexed",
    "configuration": {"chunk_shape": [1, 2], "codecs": [BYTES, ZSTD], "index_codecs": [BYTES, CHECKSUM]},
}


def new_store(values: Any = VALUES, raw: dict[str, Any] | None = None, **members: Any) -> MemoryStore:
    store = MemoryStore()
    put_array(store, "a", values, raw or document(values.shape, AXES, **members))
    return store


def consolidate(store: MemoryStore) -> None:
    raw = json.loads(bytes(store.get("a/zarr.json") or b""))
    consolidated = {"kind": "inline", "must_understand": False, "metadata": {"a": raw}}
    store.set("zarr.json", json.dumps(GROUP | {"consolidated_metadata": consolidated}).encode())


@st.composite
def axes_of(draw: st.DrawFn, shape: tuple[int, ...]) -> list[Axis]:
    """Lengths in each of the ways to write them, which go on behind the array now and then."""
    axes: list[Axis] = []
    for size in shape:
        item = st.integers(1, 6) | st.tuples(st.integers(1, 4), st.integers(1, 3)).map(list)
        items: list[Any] = draw(st.lists(item, max_size=5))
        total = sum(n if isinstance(n, int) else n[0] * n[1] for n in items)
        if total < size:
            items.append(size - total + draw(st.integers(0, 2)))
        axes.append(draw(st.integers(1, 6)) if draw(st.integers(0, 3)) == 0 else items)
    return axes


@given(data=st.data(), shape=st.lists(st.integers(0, 12), max_size=3).map(tuple))
def test_selections(data: st.DataObject, shape: tuple[int, ...]) -> None:
    values = ids_of(shape).astype("f8")
    codecs = data.draw(st.sampled_from([[BYTES], [BYTES, ZSTD], [BYTES, BLOSC], [BYTES, CHECKSUM]]))
    axes = data.draw(axes_of(shape))
    absent = set(data.draw(st.lists(st.tuples(*(st.integers(0, 3) for _ in shape)), max_size=3)))
    store = MemoryStore()
    raw = document(shape, axes, "float64", codecs, fill_value=-1.5)
    put_array(store, "a", values, raw, absent)
    cuts = [np.cumsum([0, *lengths(axis, size)]) for axis, size in zip(axes, shape, strict=True)]
    for position in absent:
        inside = [slice(*each[p : p + 2]) for each, p in zip(cuts, position, strict=True) if p + 1 < len(each)]
        if len(inside) == len(shape):
            values[tuple(inside)] = -1.5
    array = open_array(store, path="a")
    for _ in range(2):  # the second time from the cache
        np.testing.assert_array_equal(array[...], values)
        for keys, selector, select in (
            (basic_keys, array, select_basic),
            (orthogonal_keys, array.oindex, select_orthogonal),
            (pointwise_keys, array.vindex, select_pointwise),
        ):
            key = data.draw(keys(shape))
            np.testing.assert_array_equal(selector[key], select(values, key))


KINDS: list[tuple[Any, Any]] = [(dtype, None) for dtype in FIXED] + [
    ("string", "str"),
    ("variable_length_bytes", "bytes"),
]


@pytest.mark.parametrize(("dtype", "text"), KINDS, ids=str)
def test_every_data_type(dtype: Any, text: str | None) -> None:
    shape = (8, 10)
    values = values_of(dtype, shape) if text is None else strings_of(text, shape)
    data_type = DataType.from_v3(dtype) if text else DataType.from_numpy(np.dtype(dtype).newbyteorder("="))
    values = values if text else values.astype(data_type.dtype)
    serializer = {"name": "vlen-utf8" if text == "str" else "vlen-bytes"} if text else BYTES
    fill = encode_fill_value(default_fill_value(data_type), data_type, zarr_format=3)
    raw = document(shape, AXES, data_type.to_v3(), [serializer, ZSTD], fill_value=fill)
    array = open_array(new_store(values, raw), path="a")
    for key in (..., (slice(6, 0, -2), slice(None, None, 3))):
        assert is_same(array[key], values[key])  # NaN in a structure is not equal to itself


@pytest.mark.parametrize(
    "codecs",
    [
        [TRANSPOSE, BYTES, ZSTD],
        [BYTES, BLOSC, CHECKSUM],
        [BYTES, {"name": "gzip", "configuration": {"level": 1}}],
        [SHARDING],
        [SHARDING, ZSTD],
        [{"name": "transpose", "configuration": {"order": [0, 1]}}, SHARDING],
    ],
    ids=lambda codecs: "-".join(codec["name"] for codec in codecs),
)
def test_codecs(codecs: list[dict[str, Any]]) -> None:
    array = open_array(new_store(codecs=codecs), path="a")
    np.testing.assert_array_equal(array[...], VALUES)
    np.testing.assert_array_equal(array[::-3, 3:9], VALUES[::-3, 3:9])
    np.testing.assert_array_equal(array.vindex[[0, 7, 5], [9, 0, 1]], VALUES[[0, 7, 5], [9, 0, 1]])
    assert (array.chunks, array.shards) == ((5, 4), None)


def test_shards_that_their_inner_chunks_do_not_fill_are_refused() -> None:
    sharding = {**SHARDING, "configuration": {**SHARDING["configuration"], "chunk_shape": [3, 2]}}
    store = MemoryStore()
    put_document(store, "a", document((9, 10), [[3, 6, 4], 4], codecs=[sharding]))
    with pytest.raises(MetadataError, match="do not fill the shard evenly") as caught:
        open_array(store, path="a")[...]
    assert caught.value.key == "a"


@pytest.mark.parametrize("codecs", [[BYTES], [BYTES, ZSTD], [BYTES, BLOSC], [SHARDING]], ids=str)
@pytest.mark.parametrize("kind", ["local", "objects"])
def test_stores(tmp_path: Path, kind: str, codecs: list[dict[str, Any]]) -> None:
    """The kernel reads files, and shards behind a network are fetched in parts: neither knows chunks that differ."""
    values = ids_of((40, 60)).astype("i4")
    axes: list[Axis] = [[[3, 5], 5, [20, 1]], [[4, 8], 28]]
    memory = new_store(values, document(values.shape, axes, codecs=codecs))
    goal: Any = LocalStore(tmp_path / "s.zarr") if kind == "local" else obstore.store.MemoryStore()
    for key in memory.list_prefix(""):
        value = memory.get(key)
        assert value is not None
        goal.set(key, value) if kind == "local" else goal.put(key, bytes(value))
    array = open_array(goal, path="a")
    for _ in range(2):
        np.testing.assert_array_equal(array[...], values)
        np.testing.assert_array_equal(array[1:39:2, ::-1], values[1:39:2, ::-1])
        np.testing.assert_array_equal(array.oindex[[39, 0, 7], 5:], values[[39, 0, 7], 5:])
        np.testing.assert_array_equal(array.vindex[[39, 0, 7], [0, 59, 30]], values[[39, 0, 7], [0, 59, 30]])
        np.testing.assert_array_equal(array[2, 3:5], values[2, 3:5])
    if kind == "local":
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(array))[...], values)
    assert verify(goal).ok


def test_two_grids_share_no_chunk_in_the_cache(tmp_path: Path) -> None:
    """The cache knows a chunk by its place, its value by its file: that a grid was changed, the edges tell."""
    store = LocalStore(tmp_path / "s.zarr")
    flat = np.arange(12, dtype="i4")
    put_array(store, "a", flat, document((12,), [[4, 8]], codecs=[BYTES]))
    assert open_array(store, path="a")[1:3].tolist() == [1, 2]
    keys = [open_array(store, path="a").elements._chunks._token]
    put_array(store, "a", flat, document((12,), [[8, 4]], codecs=[BYTES]))
    assert open_array(store, path="a")[5:7].tolist() == [5, 6]
    keys.append(open_array(store, path="a").elements._chunks._token)
    assert keys[0] != keys[1]


CHANGES: list[Callable[[Array], Any]] = [
    lambda a: a.resize((4, 4)),
    lambda a: a.resize((20, 10)),
    lambda a: a.append(VALUES),
    lambda a: a.__setitem__(..., 1),
    lambda a: a.__setitem__((0, 0), 1),
    lambda a: a.oindex.__setitem__([0], 1),
    lambda a: a.vindex.__setitem__(([0], [0]), 1),
]


@pytest.mark.parametrize("change", CHANGES)
def test_elements_are_not_changed(change: Callable[[Array], Any]) -> None:
    store = new_store()
    before = {key: bytes(store.get(key) or b"") for key in store.list_prefix("")}
    with pytest.raises(UnsupportedError, match=r"only read.*zarrds\.rechunk") as caught:
        change(open_array(store, path="a", mode="r+"))
    assert (caught.value.path, caught.value.key) == (store.path, "a")
    assert {key: bytes(store.get(key) or b"") for key in store.list_prefix("")} == before


def test_attributes_are_changed_and_the_grid_stays() -> None:
    store = new_store()
    grid = document((8, 10), AXES)["chunk_grid"]
    open_array(store, path="a", mode="r+").attrs["units"] = "K"
    raw = json.loads(bytes(store.get("a/zarr.json") or b""))
    assert (raw["chunk_grid"], raw["attributes"]) == (grid, {"units": "K"})
    np.testing.assert_array_equal(open_array(store, path="a")[...], VALUES)


def test_what_is_shown() -> None:
    store = new_store()
    page = open_array(store, path="a")._repr_html_()
    assert "≤ 5×4" in page
    assert page.count("<line") == 3 + 2
    consolidate(store)
    assert "≤ 5×4" in open_group(store)._repr_html_()
    page = open_array(new_store(codecs=[SHARDING]), path="a")._repr_html_()
    assert "1×2 in shards of ≤ 5×4" in page


def test_verify_finds_chunks() -> None:
    store = new_store(codecs=[BYTES, ZSTD, CHECKSUM])
    assert verify(store).ok
    store.set("a/c/3/0", b"not a chunk")
    whole = bytes(store.get("a/c/1/1") or b"")
    store.set("a/c/0/1", whole)  # a chunk of another length
    assert {finding.key for finding in verify(store).findings} == {"a/c/3/0", "a/c/0/1"}
    with pytest.raises(ChunkError) as caught:
        open_array(store, path="a")[...]
    assert caught.value.key in ("a/c/3/0", "a/c/0/1")


def test_verify_finds_missing_chunks() -> None:
    marks: dict[str, Any] = {"zarrds": {"must_understand": False, "complete": [8, 10]}}
    store = new_store(raw=document((8, 10), AXES, **marks))
    assert verify(store).ok
    store.delete("a/c/3/2")
    store.set("a/c/4/0", b"")  # outside of the array
    found = {(finding.severity, finding.key) for finding in verify(store).findings}
    assert found == {("error", "a/c/3/2"), ("warning", "a/c/4/0")}
    with pytest.raises(ChunkError, match="missing"):
        open_array(store, path="a")[...]


def test_of_a_large_array_only_what_is_wanted_takes_memory() -> None:
    """A slice is never listed element by element, and chunks behind the array are never made."""
    store = MemoryStore()
    raw = document((2**40,), [[2**39, [2**20, 2**10], 2**61]], fill_value=7)
    put_document(store, "a", raw)
    array = open_array(store, path="a")
    tracemalloc.start()
    try:
        assert array[2**39 + 5 : 2**39 + 3 : -1].tolist() == [7, 7]
        assert array[:: 2**38].tolist() == [7] * 4
        assert array.elements.n_chunks_of(slice(None)) == 2 + 2**10
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()
    store.set("a/c/0", b"xxxx")
    with pytest.raises(ChunkError):
        array[0]


def test_chunks_of_many_lengths_do_not_all_stay_in_memory() -> None:
    """What the last one was decoded into is given back when the next one has another shape."""
    every = [50_000 + n for n in range(100)]
    values = np.arange(sum(every), dtype="i4")
    array = open_array(new_store(values, document(values.shape, [every])), path="a", chunk_cache=0, workers=1)
    tracemalloc.start()
    try:
        np.testing.assert_array_equal(array[::1000], values[::1000])
        assert tracemalloc.get_traced_memory()[1] < 20 * 4 * max(every)
    finally:
        tracemalloc.stop()


def test_many_lengths() -> None:
    """As many chunks as a document may list are planned in arrays, not one by one."""
    chunks: list[Any] = [np.resize(np.array([1, 2]), 2**20)]
    plan = plan_basic(slice(5, None, 7), (3 * 2**19,), chunks)
    assert plan.batch(0, 2).rows().shape == (1, 5, 2)
    assert sum(abs(plan.batch(0, plan.n_chunks).rows()[0, 4]).tolist()) == len(range(5, 3 * 2**19, 7))


def test_consolidated() -> None:
    store = new_store()
    consolidate(store)
    group = open_group(store)
    found = group["a"]
    assert isinstance(found, Array)
    np.testing.assert_array_equal(found[...], VALUES)


RUNS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=9)


@given(RUNS, st.integers(2, 30))
def test_of_very_many_chunks_some_boundaries_are_drawn(runs: list[tuple[int, int]], most: int) -> None:
    each = [length for length, times in runs for _ in range(times)]
    (found,) = drawn((tuple(runs),), most)
    assert isinstance(found, list)
    assert len(found) <= most
    assert set(np.cumsum(found)) <= set(np.cumsum(each))
    assert sum(found) == sum(each)
    if len(each) <= most:
        assert found == each


def test_pages_of_very_many_chunks_are_small() -> None:
    store = MemoryStore()
    put_document(store, "a", document((2**20,), [[[1, 2**20 - 4], 2, 2]]))
    consolidate(store)
    page = open_group(store)._repr_html_()
    assert "chunk grid" in page
    assert len(page) < 20_000
