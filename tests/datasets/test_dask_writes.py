from __future__ import annotations

import math
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import (
    CHUNKS,
    Format,
    complete,
    days,
    files,
    load,
    notes_of,
    open_zarrds,
)
from zarrds.datasets.writing.commit import writes
from zarrds.datasets.writing.commit.tasks import MOST_NBYTES, aligned_blocks, task_blocks
from zarrds.engine.elements import Elements
from zarrds.errors import ConflictError, EncodingError

# any blocks into any chunks

SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=6).map(tuple)


@given(st.lists(st.integers(0, 9), max_size=8).map(tuple), st.integers(1, 9), st.integers(0, 20))
def test_aligned_blocks(blocks: tuple[int, ...], chunk: int, start: int) -> None:
    aligned = aligned_blocks(blocks, chunk, start)
    ends = start + np.cumsum(aligned)
    assert sum(aligned) == sum(blocks)
    assert not np.any(ends[:-1] % chunk)
    assert len(aligned) <= max(len(blocks), 1)
    # no block grows by more than what completes its last chunk
    assert max(aligned) < max(blocks, default=0) + chunk


@given(rows=SIZES, columns=SIZES, chunks=st.tuples(st.integers(1, 8), st.integers(1, 8)), explicit=st.booleans())
def test_any_blocks_into_any_chunks(
    rows: tuple[int, ...], columns: tuple[int, ...], chunks: tuple[int, int], explicit: bool
) -> None:
    values = np.arange(sum(rows) * sum(columns)).reshape(sum(rows), sum(columns))
    data = dask.array.from_array(values, chunks=(rows, columns))
    ds = xr.Dataset({"v": (("y", "x"), data), "t": (("x", "y"), data.T)})
    encoding = {"v": {"chunks": chunks}} if explicit else {}
    if not explicit:
        ds["v"].encoding["chunks"] = chunks  # stale, perhaps
    store = zarrds.MemoryStore()
    zarrds.save(ds, store, encoding=encoding)
    found = open_zarrds(store)
    np.testing.assert_array_equal(found.v, values)
    np.testing.assert_array_equal(found.t, values.T)
    if explicit:
        assert found.v.encoding["chunks"] == chunks


@given(
    first=SIZES,
    more=SIZES,
    columns=SIZES,
    chunks=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    shards=st.booleans(),
)
def test_any_blocks_behind_any_chunks(
    first: tuple[int, ...], more: tuple[int, ...], columns: tuple[int, ...], chunks: tuple[int, int], shards: bool
) -> None:
    ends = (0, sum(first), sum(first) + sum(more))
    values = np.arange(ends[-1] * sum(columns)).reshape(ends[-1], sum(columns))
    encoding: dict[str, Any] = {"chunks": chunks}
    if shards:
        encoding["shards"] = (chunks[0] * 2, chunks[1])
    store = zarrds.MemoryStore()
    for i, ((start, stop), rows) in enumerate(zip(pairwise(ends), (first, more), strict=True)):
        data = dask.array.from_array(values[start:stop], chunks=(rows, columns))
        options: Any = {"append_dim": "y"} if i else {"encoding": {"v": encoding}}
        zarrds.save(xr.Dataset({"v": (("y", "x"), data)}), store, **options)
    np.testing.assert_array_equal(load(store).v, values)


@given(
    blocks=st.lists(SIZES, min_size=1, max_size=3),
    chunks=st.lists(st.integers(1, 9), min_size=3, max_size=3),
    start=st.lists(st.integers(0, 10), min_size=3, max_size=3),
    most=st.integers(1, 200),
    memory=st.none() | st.integers(1, 400),
)
def test_tasks_are_bounded(
    blocks: list[tuple[int, ...]], chunks: list[int], start: list[int], most: int, memory: int | None
) -> None:
    n = len(blocks)
    chunks, start = chunks[:n], start[:n]
    tasks = task_blocks(blocks, chunks, start, 1, most, memory)
    assert [sum(sizes) for sizes in tasks] == [sum(sizes) for sizes in blocks]

    def largest(of: Any) -> int:
        return math.prod(map(max, of))

    aligned = list(map(aligned_blocks, blocks, chunks, start))
    if memory is None or largest(aligned) <= memory:
        for sizes, chunk, first in zip(tasks, chunks, start, strict=True):
            assert not np.any((first + np.cumsum(sizes)[:-1]) % chunk)
    # no more than is allowed, or than one block or one chunk has along each dimension
    assert largest(tasks) <= max(most, math.prod(max(c, *sizes) for c, sizes in zip(chunks, blocks, strict=True)))


@given(
    rows=SIZES,
    columns=SIZES,
    chunks=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    most=st.integers(1, 200),
    memory=st.integers(1, 400),
    start=st.integers(0, 5),
)
def test_any_blocks_in_little_memory(
    rows: tuple[int, ...], columns: tuple[int, ...], chunks: tuple[int, int], most: int, memory: int, start: int
) -> None:
    values = np.arange(sum(rows) * sum(columns)).reshape(sum(rows), sum(columns))
    ds = xr.Dataset({"v": (("y", "x"), dask.array.from_array(values, chunks=(rows, columns)))})
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ds.v[:start].compute()}), store, encoding={"v": {"chunks": chunks}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writes, "_memory_nbytes", lambda cluster: (memory * 8, most * 8))
        zarrds.save(ds, store, append_dim="y")
    np.testing.assert_array_equal(load(store).v, np.concatenate([values[:start], values]))


def test_planes_into_cubes_are_never_one_task(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks (128, 64, 64) of planes (1, 1024, 1024): each task held half a gigabyte, of a larger array all."""
    tasks: list[Any] = []
    store = dask.array.store

    def storing(sources: Any, *args: Any, **options: Any) -> Any:
        tasks.extend(source.chunks for source in sources)
        return store(sources, *args, **options)

    monkeypatch.setattr(dask.array, "store", storing)
    data = dask.array.zeros((256, 1024, 1024), chunks=(1, 1024, 1024), dtype="f4")
    ds = xr.Dataset({"v": (("t", "y", "x"), data)})
    for memory in (2**40, 2**29):  # of all; a thread has half of it
        monkeypatch.setattr(writes, "_memory_nbytes", lambda cluster, memory=memory: (memory, memory // 2))
        zarrds.save(ds, path, mode="w", encoding={"v": {"chunks": (128, 64, 64)}}, compute=False)
        (blocks,) = tasks
        assert math.prod(map(max, blocks)) * 4 <= min(MOST_NBYTES, memory // 16)
        assert (max(blocks[0]) == 128) is (memory == 2**40)  # whole chunks, or as many planes as go into memory
        tasks.clear()


def _of_blocks(result: Any) -> xr.Dataset:
    """Eight elements in blocks of two, each of which is what `result` is of it."""
    ones = dask.array.ones(8, chunks=2)
    blocks = ones.map_blocks(lambda block: result(block) if block.size else block, dtype="f8", meta=np.empty(0))
    return xr.Dataset({"v": ("x", blocks)})


ENCODINGS: list[dict[str, Any]] = [{}, {"chunks": (3,)}, {"dtype": "i2", "scale_factor": 0.5}]


@pytest.mark.parametrize("compute", [True, False])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "result", [lambda _: None, lambda _: np.empty(0), lambda _: {}, lambda _: [1.0]], ids=["None", "empty", "{}", "[1]"]
)
def test_blocks_that_are_no_arrays_are_refused(
    path: Path, result: Any, encoding: dict[str, Any], compute: bool, zarr_format: Format
) -> None:
    def save() -> Any:
        later = zarrds.save(
            _of_blocks(result), path, encoding={"v": encoding}, compute=compute, zarr_format=zarr_format
        )
        return later.compute() if later is not None else None

    with pytest.raises(EncodingError, match="a block of the dask array of variable 'v' is not what the array says"):
        save()
    assert path.exists() is not compute


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_blocks_that_are_lists_are_arrays(path: Path, encoding: dict[str, Any]) -> None:
    zarrds.save(_of_blocks(lambda block: (2 * block).tolist()), path, encoding={"v": encoding})
    zarrds.save(_of_blocks(lambda block: (3 * block).tolist()), path, append_dim="x")
    with xr.open_dataset(path, engine="zarrds") as opened:
        np.testing.assert_array_equal(opened.v, [2.0] * 8 + [3.0] * 8)


def test_each_block_is_computed_once(path: Path) -> None:
    computed: list[tuple[int, ...]] = []

    def compute(block: np.ndarray[Any, Any], block_info: Any = None) -> np.ndarray[Any, Any]:
        computed.append(tuple(block_info[0]["chunk-location"]))
        return block

    values = np.arange(30.0).reshape(10, 3)
    data = dask.array.map_blocks(compute, dask.array.from_array(values, chunks=(3, 2)), meta=values[:0], dtype="f8")
    zarrds.save(xr.Dataset({"v": (("y", "x"), data)}), path, encoding={"v": {"chunks": (4, 3)}})
    assert sorted(computed) == [(i, j) for i in range(4) for j in range(2)]
    np.testing.assert_array_equal(load(path).v, values)


# options


def test_options_of_dask(path: Path) -> None:
    ds = days(0, 6).chunk(time=2)
    seen: list[str] = []

    def scheduler(dsk: Any, keys: Any, **options: Any) -> Any:
        seen.append(options["flavour"])
        return dask.get(dsk, keys)

    options = {"scheduler": scheduler, "flavour": "sweet"}
    zarrds.save(ds, path, encoding=CHUNKS, chunkmanager_store_kwargs=options)
    xr.testing.assert_identical(load(path), days(0, 6))
    zarrds.save(days(6, 9).chunk(time=2), path, append_dim="time", chunkmanager_store_kwargs=options)
    xr.testing.assert_identical(load(path), days(0, 9))
    assert seen == ["sweet"] * 2


@pytest.mark.slow
def test_in_memory_under_any_scheduler() -> None:
    store = zarrds.MemoryStore()
    with dask.config.set(scheduler="processes"):  # which would write into copies
        zarrds.save(days(0, 6).chunk(time=2), store, encoding=CHUNKS)
        zarrds.save(days(6, 9).chunk(time=2), store, append_dim="time")
    xr.testing.assert_identical(load(store), days(0, 9))


@pytest.mark.parametrize("as_dask", [False, True])
def test_empty_chunks(path: Path, as_dask: bool, zarr_format: Format) -> None:
    values = np.zeros((6, 4))
    values[2, 1] = 1
    ds = xr.Dataset({"v": (("y", "x"), values), "n": ("y", [1, 0, 0, 0, 0, 0])})
    ds["v"].encoding = {"_FillValue": 0.0} if zarr_format == 2 else {"fill_value": 0.0, "_FillValue": None}
    if zarr_format == 2:  # the fill value is a missing value there
        ds["v"] = ds.v.where(ds.v != 0).assign_attrs(ds.v.attrs)
        ds["v"].encoding = {"_FillValue": 0.0}
    expected = ds
    ds = ds.chunk(y=3) if as_dask else ds
    encoding = {"v": {"chunks": (2, 2), **ds.v.encoding}, "n": {"chunks": (3,)}}

    def chunks() -> list[str]:
        return sorted(name for name in files(path) if name[0] in "vn" and name.split("/")[1][-1].isdigit())

    for write_empty_chunks, n in ((False, 2), (True, 8), (None, 8)):
        options: Any = {"mode": "w", "zarr_format": zarr_format, "write_empty_chunks": write_empty_chunks}
        zarrds.save(ds, path, encoding=encoding, **options)
        assert len(chunks()) == n
        np.testing.assert_array_equal(load(path).v, expected.v)
        np.testing.assert_array_equal(load(path, "zarr").v, expected.v)
        assert complete(path, "v") == (None if n == 2 else [6, 4])
    zarrds.save(ds, path, encoding=encoding, mode="w", zarr_format=zarr_format, write_empty_chunks=False)
    zarrds.save(ds, path, append_dim="y", write_empty_chunks=False)
    assert len(chunks()) == 4
    np.testing.assert_array_equal(load(path).v, np.concatenate([expected.v, expected.v]))
    # what is there is replaced, though it becomes empty
    empty = ds.assign(v=ds.v * np.nan) if zarr_format == 2 else xr.zeros_like(ds)
    zarrds.save(empty, path, region={"y": slice(0, 6)}, write_empty_chunks=False)
    assert len(chunks()) == 4
    assert load(path, mask_and_scale=False).v.values[:6].tolist() == np.zeros((6, 4)).tolist()
    assert "complete" not in notes_of(path, "v")


def test_a_conflict_while_it_is_computed(path: Path) -> None:
    zarrds.save(days(0, 4), path, encoding=CHUNKS)

    def meanwhile(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if block.size:
            zarrds.save(days(4, 6), path, append_dim="time")
        return block

    ds = days(4, 6)
    data = dask.array.map_blocks(meanwhile, ds.t2m.chunk().data, dtype="f8", meta=np.empty((0, 0)))
    with pytest.raises(ConflictError, match="Save again"):
        zarrds.save(ds.assign(t2m=(("time", "x"), data)), path, append_dim="time")
    xr.testing.assert_identical(load(path), days(0, 6))
    assert list(path.parent.rglob(".*zarrds-partial")) == []


def test_when_a_block_fails_those_under_way_end_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else they would be written into the folder that is being removed, and some of it would stay."""
    ended: list[bool] = []
    began = threading.Event()
    real = Elements.write

    def slowly(self: Elements, *args: Any, **options: Any) -> None:
        began.set()
        time.sleep(0.1)
        real(self, *args, **options)
        ended.append(True)

    def made(block: Any, block_info: Any = None) -> Any:
        if block_info[0]["chunk-location"] == (1,):
            began.wait(10)
            raise ZeroDivisionError
        return block

    zarrds.save(days(0, 4), tmp_path / "x.zarr")
    before = files(tmp_path)
    monkeypatch.setattr(Elements, "write", slowly)
    data = dask.array.zeros(2, chunks=1).map_blocks(made, dtype=float, meta=np.empty(0))
    with dask.config.set(scheduler="threads", num_workers=2), pytest.raises(ZeroDivisionError):
        zarrds.save(xr.Dataset({"new": ("a", data)}), tmp_path / "x.zarr", mode="a", encoding={"new": {"chunks": (1,)}})
    assert ended == [True]
    assert files(tmp_path) == before


def test_what_is_computed_is_told_where_the_user_called() -> None:
    numbers = xr.Dataset({"v": ("x", np.array([1, None], object))}).chunk()
    with pytest.warns(xr.SerializationWarning, match="computed, to see what its objects are") as caught:
        zarrds.save(numbers, zarrds.MemoryStore())
    zarrds.save(xr.Dataset({"v": ("x", np.array(["a"]))}), store := zarrds.MemoryStore())
    text = xr.Dataset({"v": ("x", np.array(["bc"], object))}).chunk()
    with pytest.warns(xr.SerializationWarning, match="computed, to see how long its texts are") as again:
        zarrds.save(text, store, append_dim="x")
    assert [warning.filename for warning in [*caught, *again]] == [__file__] * 2
