"""What `Elements` adds to what arrays do, and arrays show no more of: private arrays, empty chunks, keys, pickles."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.selections import SLICES, grids, ids_of
from zarrds import LocalStore, MemoryStore, create_array, open_array
from zarrds.arrays.layout import new_array_metadata
from zarrds.engine.chunk_io import Chunks
from zarrds.engine.elements import Elements
from zarrds.engine.planning.selection import plan_orthogonal, plan_pointwise
from zarrds.errors import ChunkError, EncodingError, SelectionError
from zarrds.metadata.dtypes import OBJECTS_AS_JSON
from zarrds.storage.protocol import Buffer


class CountingStore(MemoryStore):
    """Notes which keys are read and written."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []
        self.written: list[str] = []

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        self.read.append(key)
        return super().get(key, buffer)

    def set(self, key: str, *parts: Buffer) -> None:
        self.written.append(key)
        super().set(key, *parts)


def elements_of(
    store: Any, shape: Any, chunks: Any, dtype: Any = "i4", fill_value: Any = None, **options: Any
) -> Elements:
    layout = {name: options.pop(name) for name in ("shards", "codecs", "zarr_format") if name in options}
    metadata = new_array_metadata(shape=shape, chunks=chunks, dtype=dtype, fill_value=fill_value, **layout)
    return Elements(store, "a", metadata, **options)


def test_what_it_is() -> None:
    plain = elements_of(MemoryStore(), (4, 6), (2, 3))
    assert (plain.shape, plain.dtype, plain.chunks, plain.shards) == ((4, 6), np.dtype("i4"), (2, 3), None)
    sharded = elements_of(MemoryStore(), (4, 6), (2, 3), shards=(4, 6))
    assert (sharded.chunks, sharded.shards) == ((2, 3), (4, 6))
    assert sharded.metadata.chunks == (4, 6)
    assert (sharded.path, repr(sharded)) == ("a", f"<zarrds.Elements of 'a' in {sharded.store.path!r}>")


@pytest.mark.parametrize(
    "options", [{"n_workers": 0}, {"n_workers": 1.5}, {"n_workers": True}, {"missing_chunks": "x"}]
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(EncodingError):
        elements_of(MemoryStore(), 3, 3, **options)


def test_it_needs_no_documents() -> None:
    store = CountingStore()
    elements = elements_of(store, (4, 6), (2, 3))
    values = ids_of((4, 6))
    elements.write((slice(None), slice(None)), values)
    elements.write(([3, 0], [5, 0]), values[::-1, ::-1][np.ix_([3, 0], [5, 0])], plan_orthogonal)
    elements.write(([1], [1]), 70, plan_pointwise)
    values[np.ix_([3, 0], [5, 0])] = values[::-1, ::-1][np.ix_([3, 0], [5, 0])]
    values[1, 1] = 70
    np.testing.assert_array_equal(elements.read(...), values)
    np.testing.assert_array_equal(elements.read(([3, 1], [0, 2]), plan_pointwise), values[[3, 1], [0, 2]])
    assert {*store.read, *store.written} == {f"a/c/{i}/{j}" for i in (0, 1) for j in (0, 1)}


def total(elements: Elements) -> int:
    return int(elements.read(...).sum())


@pytest.mark.slow
def test_it_travels_to_other_processes(tmp_path: Path) -> None:
    elements = elements_of(LocalStore(tmp_path), (4, 6), (2, 3), n_workers=2, missing_chunks="error")
    elements.write(..., 2)
    copy = pickle.loads(pickle.dumps(elements))
    assert total(copy) == 48
    LocalStore(tmp_path).delete("a/c/0/0")
    with pytest.raises(ChunkError):
        copy.read(...)
    elements.write(..., 3)
    with dask.config.set({"multiprocessing.context": "spawn"}):
        assert dask.delayed(total)(elements).compute(scheduler="processes", num_workers=1) == 72


@pytest.mark.parametrize("layout", [{}, {"shards": (4, 6)}, {"zarr_format": 2}])
def test_keys_of_a_selection(layout: dict[str, Any]) -> None:
    @given(st.tuples(SLICES, SLICES))
    def check(key: tuple[slice, slice]) -> None:
        store = CountingStore()
        elements = elements_of(store, (9, 8), (2, 3), **layout)
        found = list(elements.chunk_keys_of(key))
        assert store.read == []
        elements.write(key, 1)
        assert sorted(found) == sorted(store.written)

    check()


def test_keys_of_a_selection_that_does_not_fit() -> None:
    with pytest.raises(SelectionError):
        elements_of(MemoryStore(), (9, 8), (2, 3)).chunk_keys_of((slice(0), slice(0), slice(0)))


def test_progress() -> None:
    done: list[int] = []
    elements = elements_of(MemoryStore(), (9, 8), (2, 3))
    elements.write((slice(1, 5), slice(None)), 1, progress=done.append)
    assert sum(done) == 9


# who else may write


@pytest.mark.parametrize("layout", [{}, {"shards": (4, 6)}, {"zarr_format": 2}])
def test_a_stale_writer_keeps_what_others_wrote_beyond_its_shape(layout: dict[str, Any]) -> None:
    store = MemoryStore()
    array = create_array(store, path="a", shape=(5, 7), chunks=(2, 3), dtype="i4", fill_value=-1, **layout)
    array[...] = 1
    stale = open_array(store, "r+", "a")
    array.resize((8, 9))
    array[...] = 2
    for key in (..., (slice(4, None), 6), (slice(4, None), slice(6, None))):
        stale[key] = 3
    expected = np.full((8, 9), 2)
    expected[:5, :7] = 3
    np.testing.assert_array_equal(array[...], expected)
    stale.oindex[[4], 5:] = 4
    expected[4, 5:7] = 4
    np.testing.assert_array_equal(array[...], expected)


def test_a_private_array_is_written_without_a_look() -> None:
    store = CountingStore()
    private = elements_of(store, (5, 7), (2, 3), is_private=True, fill_value=-1)
    private.write(..., ids_of((5, 7)))
    private.write((slice(4, None), slice(3, None)), 9)
    assert store.read == []
    shared = elements_of(store, (6, 9), (2, 3))
    expected = np.full((6, 9), -1)
    expected[:5, :7] = ids_of((5, 7))
    expected[4, 3:7] = 9
    np.testing.assert_array_equal(shared.read(...), expected)
    store.read.clear()
    private.write((0, 0), 5)  # a part of a chunk
    assert store.read == ["a/c/0/0"]
    assert shared.read((0, slice(0, 3))).tolist() == [5, 1, 2]


def test_a_whole_chunk_is_written_without_a_look() -> None:
    store = CountingStore()
    elements = elements_of(store, (5, 7), (2, 3))
    elements.write((slice(0, 4), slice(0, 6)), ids_of((4, 6)))
    elements.write((slice(3, None, -1), slice(0, 6)), ids_of((4, 6)).astype(">f8"))
    assert store.read == []


def test_a_damaged_chunk_at_the_edge_says_how_to_mend_it() -> None:
    elements = elements_of(MemoryStore(), 5, 2)
    elements.write(..., 1)
    elements.store.set("a/c/2", b"damaged")
    with pytest.raises(ChunkError, match="remove it") as caught:
        elements.write(slice(4, 5), 2)
    assert caught.value.key == "a/c/2"
    assert elements.store.get("a/c/2") == b"damaged"


# empty chunks


def values_and_fill(kind: str) -> tuple[Any, Any, Any]:
    """A dtype, a fill value of it, and another value that may be mistaken for it."""
    cases: dict[str, tuple[Any, Any, Any]] = {
        "zero": ("f8", 0.0, -0.0),
        "minus zero": ("f4", -0.0, 0.0),
        "nan": ("f8", np.nan, 0.0),
        "nan of other bits": ("f8", np.nan, np.array([0x7FF8000000000001], "u8").view("f8")[0]),
        "complex": ("c16", complex(0, np.nan), complex(np.nan, 0)),
        "half": ("f2", 1.5, 1.0),
        "bool": ("?", True, False),
        "byte": ("i1", -1, 0),
        "time": ("M8[s]", np.datetime64("NaT", "s"), np.datetime64(0, "s")),
        "text": ("U3", "ab", "aB"),
        "text of three bytes": ("S3", b"ab", b"abc"),
        "string": ("string", "", "0"),
        "string that is set": ("string", "n/a", ""),
        "bytes": ("bytes", b"", b"\0"),
        "raw": ("V5", np.void(b"\0" * 5), np.void(b"\0\0\0\0\1")),
    }
    return cases[kind]


KINDS = ["zero", "minus zero", "nan", "nan of other bits", "complex", "half", "bool", "byte", "time", "text"]
KINDS += ["text of three bytes", "string", "string that is set", "bytes", "raw"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_private", [True, False])
def test_empty_chunks_are_left_out(kind: str, is_private: bool) -> None:
    dtype, fill, other = values_and_fill(kind)
    store = CountingStore()
    elements = elements_of(
        store, (5, 7), (2, 3), dtype=dtype, fill_value=fill, is_private=is_private, write_empty_chunks=False
    )
    empty = np.empty((5, 7), elements.dtype)
    empty[...] = elements.fill_value
    for key in (..., (slice(1, 3), slice(2, 5)), (slice(None, None, -1), slice(None, None, 2))):
        elements.write(key, empty[key])
    assert store.written == []
    # one element that is another
    values = empty.copy()
    values[3, 4] = other
    elements.write(..., values)
    assert store.written == ["a/c/1/1"]
    assert elements.read(...).tolist() == values.tolist() or kind.startswith(("nan", "complex", "time"))
    if not elements.dtype.hasobject:
        assert elements.read(...).tobytes() == values.tobytes()
    # a chunk that is there is written, and not removed
    elements.write(..., empty)
    assert store.written == ["a/c/1/1"] * 2
    assert list(store.list_prefix()) == ["a/c/1/1"]
    elements.write((3, 4), empty[3, 4])
    assert store.written == ["a/c/1/1"] * 3
    if not elements.dtype.hasobject:
        assert elements.read(...).tobytes() == empty.tobytes()


def test_json_objects_are_always_written() -> None:
    store = CountingStore()
    codecs = [{"name": "numcodecs.json2", "configuration": {}}]
    metadata = new_array_metadata(
        shape=(4,), chunks=2, dtype=OBJECTS_AS_JSON, fill_value=1, zarr_format=2, codecs=codecs
    )
    elements = Elements(store, "a", metadata, write_empty_chunks=False)
    values = np.array([True, 1, 1, 1], object)
    elements.write(..., values)
    assert elements.read(...).tolist() == values.tolist()
    assert elements.read(0) is True


def test_empty_shards_are_left_out() -> None:
    store = CountingStore()
    elements = elements_of(store, (9,), (2,), shards=(4,), write_empty_chunks=False)
    elements.write(..., np.array([0, 0, 0, 0, 0, 0, 1, 0, 0]))
    assert store.written == ["a/c/1"]
    assert elements.read(...).tolist() == [0, 0, 0, 0, 0, 0, 1, 0, 0]


DTYPES: list[tuple[Any, list[Any]]] = [
    ("f4", [0.0, -0.0, np.nan, 1.0]),
    ("i8", [0, 1, 2]),
    ("string", ["", "a", "b"]),
]


@st.composite
def sequences(draw: st.DrawFn) -> tuple[Any, ...]:
    shape, chunks = draw(grids(min_dims=1, max_dims=2))
    dtype, pool = draw(st.sampled_from(DTYPES))
    keys = st.tuples(*[SLICES] * len(shape))
    writes = draw(st.lists(st.tuples(keys, st.lists(st.sampled_from(pool), min_size=1, max_size=3)), max_size=6))
    return shape, chunks, dtype, draw(st.sampled_from(pool)), writes, draw(st.booleans())


def same_elements(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    return a.shape == b.shape and (a.tolist() == b.tolist() if a.dtype.hasobject else a.tobytes() == b.tobytes())


@given(sequences())
def test_any_writes_without_empty_chunks_equal_numpy(case: tuple[Any, ...]) -> None:
    shape, chunks, dtype, fill, writes, is_private = case
    store = MemoryStore()
    elements = elements_of(
        store, shape, chunks, dtype=dtype, fill_value=fill, is_private=is_private, write_empty_chunks=False
    )
    model = np.full(shape, fill, elements.dtype)
    seen: set[str] = set()
    for key, pool in writes:
        value = np.resize(np.array(pool, elements.dtype), model[key].shape)
        model[key] = value
        elements.write(key, value)
        assert same_elements(elements.read(...), model)
        # what was there stays, and what is there was not empty when it was first written
        now = set(store.list_prefix())
        assert seen <= now
        empty = np.full(shape, fill, elements.dtype)
        for position in np.ndindex(elements.metadata.chunk_grid):
            region = tuple(slice(p * c, (p + 1) * c) for p, c in zip(position, elements.chunks, strict=True))
            name = f"a/c/{'/'.join(map(str, position))}"
            if name not in seen:
                assert (name in now) == (not same_elements(model[region], empty[region]))
        seen = now


def test_dask_stores_into_elements(tmp_path: Path) -> None:
    elements = elements_of(LocalStore(tmp_path), (40, 30), (7, 8), write_empty_chunks=False)

    class Target:
        shape, dtype = elements.shape, elements.dtype

        def __setitem__(self, key: Any, value: Any) -> None:
            elements.write(key, value)

    values = ids_of((40, 30))
    # blocks that share chunks, by many threads
    da.store(da.from_array(values, chunks=(5, 4)), Target(), lock=False)
    np.testing.assert_array_equal(elements.read(...), values)


@pytest.mark.parametrize(("shape", "chunks"), [((2**62,), (2**18,)), ((2**40, 2**22), (1, 1)), ((1, 2**62), (1, 1))])
def test_what_does_not_fit_in_memory_is_refused_at_once(shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    elements = elements_of(MemoryStore(), shape, chunks)
    with pytest.raises(SelectionError, match="does not fit in memory"):
        elements.read(...)
    with pytest.raises(SelectionError, match="does not fit in memory"):
        elements.read((slice(None, None, -1), ...))
    assert elements.read(tuple(n - 1 for n in shape)) == 0


@pytest.mark.parametrize(("shape", "chunks"), [((0, 10**9), (1, 1)), ((10**9, 0, 10**9), (1, 1, 1))])
def test_an_empty_selection_costs_nothing(shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    elements = elements_of(MemoryStore(), shape, chunks)
    assert elements.read(...).shape == shape
    elements.write(..., 1)
    assert list(elements.chunk_keys_of(tuple(slice(None) for _ in shape))) == []


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("shape", [(), (4,), (4, 6)])
def test_keys_of_chunks_and_others(shape: tuple[int, ...], zarr_format: Any) -> None:
    """Each chunk is found by its key; what is written otherwise is the key of none."""
    store = MemoryStore()
    array = create_array(store, path="v", shape=shape, chunks=(2,) * len(shape), dtype="i4", zarr_format=zarr_format)
    array[...] = 1
    chunks = Chunks(store, "v", array.metadata)
    keys = {chunks.key(position): position for position in np.ndindex(*array.metadata.chunk_grid)}
    assert {key: chunks.position(key) for key in keys} == keys
    assert keys.keys() <= set(store.list_prefix("v"))
    others = {key for key in store.list_prefix() if key not in keys}
    others |= {"v", "w/c", "v/README", *(f"{key}/0" for key in keys), *(f"{key}0" for key in keys if not shape)}
    if shape:
        last = chunks.key((1,) * len(shape))
        others |= {last[:-1] + number for number in ("01", "+1", "\u0661", "1" * 20, "1" * 5000, "")}
        behind = chunks.key((9,) * len(shape))
        assert chunks.position(behind) == (9,) * len(shape)
        assert chunks.position_in_grid(behind) is None
    assert {key for key in others if chunks.position(key) is not None} == set()
