"""Copies and other chunks: the same values, within memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import FORMATS, days, files, maps
from zarrds.datasets.rechunking.plan import Regridded, _amplification, pieces_of, plan_array
from zarrds.engine.blocks import blocks
from zarrds.errors import (
    ChunkError,
    ConflictError,
    EncodingError,
    StoreExistsError,
    StoreIOError,
    VariableNotFoundError,
)
from zarrds.metadata.extension import marks_of

# -------------------------------------------------------------------- plans

grids = st.integers(0, 3).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(1, 9), min_size=n, max_size=n).map(tuple) for _ in range(3)))
)


@given(grids, st.integers(1, 4000), st.integers(1, 3), st.sampled_from([1, 8]))
def test_plans_keep_to_the_memory_and_cover_everything_once(grid: Any, room: int, workers: int, itemsize: int) -> None:
    shape, source, target = grid
    base = 10 * 2**20  # what threads need for their chunks at least
    memory = base + room
    plan = plan_array(Regridded("a", shape, itemsize, source, target), max_memory=memory, workers=workers)
    assert plan.peak_nbytes <= memory
    for block in (plan.read_block, plan.write_block):
        seen = np.zeros(shape, int)
        for part in blocks(shape, block):
            seen[part] += 1
        assert (seen == 1).all()
    # a chunk is written by one block
    assert all(b % t == 0 or b == n for b, t, n in zip(plan.write_block, target, shape, strict=True))
    if plan.how == "through pieces":
        assert all(b % s == 0 or b == n for b, s, n in zip(plan.read_block, source, shape, strict=True))


@given(grids)
def test_pieces_are_the_same_from_both_sides(grid: Any) -> None:
    shape, one, other = grid

    def pieces(block: Any) -> set[Any]:
        return {
            tuple((p.start, p.stop) for p in piece)
            for part in blocks(shape, block)
            for piece in pieces_of(shape, part, one, other)
        }

    assert pieces(one) == pieces(other)


def test_a_plan_can_be_looked_at(tmp_path: Path) -> None:
    zarrds.create_array(tmp_path / "a.zarr", path="t", shape=(500, 720, 1440), dtype="f4", chunks=(1, 720, 1440))
    plan = zarrds.rechunk_plan(tmp_path / "a.zarr", encoding={"t": {"chunks": (500, 36, 36)}}, max_memory="256MB")
    (one,) = plan.arrays
    assert (one.how, one.passes, one.nbytes) == ("through pieces", 2, 500 * 720 * 1440 * 4)
    assert plan.read_nbytes == plan.write_nbytes == 2 * one.nbytes
    assert plan.temporary_nbytes == one.nbytes
    assert plan.peak_nbytes < 256e6
    assert "t: (1, 720, 1440) -> (500, 36, 36), through pieces" in str(plan)
    with pytest.raises(EncodingError, match=r"too small for a chunk.*'t'.*at least \d+ bytes.*found 1000000"):
        zarrds.rechunk_plan(tmp_path / "a.zarr", encoding={"t": {"chunks": (500, 36, 36)}}, max_memory="1MB")


@pytest.mark.parametrize("text", ["", "GB", "1XB", "-1MB", "nan", "inf GB", "1 G B", True, 0, -5])
def test_memory_that_is_no_size(tmp_path: Path, text: Any) -> None:
    zarrds.save(days(0, 2), tmp_path / "a.zarr")
    with pytest.raises(EncodingError, match="max_memory is no size"):
        zarrds.rechunk_plan(tmp_path / "a.zarr", max_memory=text)


@pytest.mark.parametrize(
    ("text", "size"), [("1GB", 10**9), ("2 GiB", 2**31), ("1.5k", 1500), ("7", 7), (7, 7), ("1mb", 10**6)]
)
def test_memory_as_text(tmp_path: Path, text: Any, size: int) -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset(), store)
    assert zarrds.rechunk_plan(store, max_memory=text).max_memory == size


# -------------------------------------------------------------------- against NumPy


@settings(max_examples=60)
@given(grids, st.data())
def test_any_chunks_into_any_others(grid: Any, data: Any) -> None:
    shape, before, after = grid
    ndim = len(shape)
    dtype = data.draw(st.sampled_from(["i1", "f8", "M8[ns]", "U3", "string", "?"]))
    values: Any = np.arange(int(np.prod(shape))).reshape(shape)
    values = values.astype(str).astype(object) if dtype == "string" else values.astype(dtype)
    factors = st.lists(st.integers(1, 3), min_size=ndim, max_size=ndim)
    many: Any = [data.draw(st.none() | factors) for _ in range(2)] if ndim else [None, None]
    shards = [
        None if m is None else tuple(np.multiply(c, m).tolist()) for c, m in zip((before, after), many, strict=True)
    ]
    source, target = zarrds.MemoryStore(), zarrds.MemoryStore()
    zarrds.create_group(source)
    zarrds.create_array(source, path="a", shape=shape, dtype=dtype, chunks=before, shards=shards[0])[...] = values
    encoding = {"a": {"chunks": after} | ({} if shards[1] is None else {"shards": shards[1]})}
    need = zarrds.rechunk_plan(source, encoding=encoding).peak_nbytes
    memory = data.draw(st.integers(need, 2 * need + 10)) if data.draw(st.booleans()) else 10**9
    zarrds.rechunk(source, target, encoding=encoding, max_memory=2 * memory, workers=data.draw(st.integers(1, 2)))
    array = zarrds.open_array(target, path="a")
    assert (array.chunks, array.shards) == (after, shards[1])
    np.testing.assert_array_equal(array[...], values)
    assert zarrds.verify(target).ok


@settings(max_examples=60)
@given(grids, st.data())
def test_what_is_absent_of_a_large_array_stays_so(grid: Any, data: Any) -> None:
    """Values are right, those of absent chunks too, whichever way they are brought into other chunks."""
    shape, before, after = grid
    how: dict[str, Any] = data.draw(
        st.sampled_from([{}, {"chunks": after}, {"chunks": before, "shards": tuple(2 * c for c in before)}])
    )
    source, target = zarrds.MemoryStore(), zarrds.MemoryStore()
    zarrds.create_group(source)
    many = tuple(2 * c for c in before) if data.draw(st.booleans()) else None
    layout: dict[str, Any] = {"chunks": before, "shards": many, "fill_value": -1}
    array = zarrds.create_array(source, path="a", shape=shape, dtype="i4", **layout)
    expected = np.full(shape, -1)
    for at in data.draw(st.lists(st.tuples(*(st.integers(0, n - 1) for n in shape)), max_size=3)):
        array[at] = expected[at] = data.draw(st.integers(0, 99))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zarrds.datasets.rechunking.stored._MOST_ASKED", 0)
        patch.setattr("zarrds.datasets.rechunking.plan._OVERHEAD", 0)
        need = zarrds.rechunk_plan(source, encoding={"a": how}).peak_nbytes
        zarrds.rechunk(source, target, encoding={"a": how}, max_memory=2 * need + 10, workers=1)
    np.testing.assert_array_equal(zarrds.open_array(target, path="a")[...], expected)
    assert zarrds.verify(target).ok


def test_through_pieces_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zarrds.datasets.rechunking.plan._OVERHEAD", 0)
    values = np.random.default_rng(1).random((97, 40, 31))
    zarrds.save(
        xr.Dataset({"v": (("t", "y", "x"), values)}), tmp_path / "a.zarr", encoding={"v": {"chunks": (1, 40, 31)}}
    )
    options: dict[str, Any] = {"chunks": {"t": -1, "y": 3, "x": 2}, "max_memory": 200_000}
    (plan,) = zarrds.rechunk_plan(tmp_path / "a.zarr", **options).arrays
    assert plan.how == "through pieces"
    zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", **options)
    array = zarrds.open_array(tmp_path / "b.zarr", path="v")
    assert array.chunks == (97, 3, 2)
    np.testing.assert_array_equal(array[...], values)
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "b.zarr"]


def test_few_chunks_through_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zarrds.datasets.rechunking.plan._OVERHEAD", 0)
    monkeypatch.setattr("zarrds.datasets.rechunking.stored._MOST_ASKED", 0)
    zarrds.create_group(tmp_path / "a.zarr")
    array = zarrds.create_array(tmp_path / "a.zarr", path="v", shape=(97, 40, 31), dtype="f8", chunks=(1, 40, 31))
    expected = np.zeros(array.shape)
    for t in (3, 50, 96):
        array[t] = expected[t] = t
    options: dict[str, Any] = {"encoding": {"v": {"chunks": (97, 3, 2)}}, "max_memory": 200_000}
    (plan,) = zarrds.rechunk_plan(tmp_path / "a.zarr", **options).arrays
    assert plan.how == "through pieces"
    zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", **options)
    np.testing.assert_array_equal(zarrds.open_array(tmp_path / "b.zarr", path="v")[...], expected)


# -------------------------------------------------------------------- stores as a whole


BELOW = days(0, 6).rename(time="day", x="place")


def tree() -> xr.DataTree:
    labels = xr.Dataset(
        {"v": (("time", "x"), np.arange(40.0).reshape(10, 4)), "kind": ("x", pd.Categorical([*"abab"]))},
        {"time": pd.date_range("2000", periods=10, tz="Europe/London"), "x": pd.interval_range(0, 4)},
        {"title": "labels"},
    )
    return xr.DataTree.from_dict({"/": labels, "/below": BELOW})


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_everything_comes_along(tmp_path: Path, zarr_format: Any) -> None:
    zarrds.save(tree(), tmp_path / "a.zarr", zarr_format=zarr_format)
    zarrds.copy(tmp_path / "a.zarr", tmp_path / "copy.zarr")
    zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", chunks={"time": 3, "x": 1, "place": 1})
    for name in ("copy.zarr", "b.zarr"):
        xr.testing.assert_identical(xr.open_datatree(tmp_path / name, engine="zarrds").load(), tree())
        assert zarrds.verify(tmp_path / name).ok
    chunks = {k: v for k, v in files(tmp_path / "a.zarr").items() if "zarr.json" not in k and ".z" not in k}
    copied = files(tmp_path / "copy.zarr")
    assert chunks.items() <= copied.items()
    assert zarrds.open_array(tmp_path / "b.zarr", path="v").chunks == (3, 1)
    assert zarrds.open_array(tmp_path / "b.zarr", path="below/t2m").chunks == (682, 1)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_characters_of_another_writer_stay_text(tmp_path: Path, zarr_format: Any) -> None:
    letters = np.array([[b"a", b"b"], [b"c", b""]], "S1")
    ds = xr.Dataset({"v": (("x", "string2"), letters)})
    ds.to_zarr(tmp_path / "theirs", zarr_format=zarr_format)
    zarrds.save(ds, tmp_path / "ours", zarr_format=zarr_format)  # which are no text
    for name, shape in (("theirs", (2,)), ("ours", (2, 2))):
        zarrds.copy(tmp_path / name, tmp_path / f"{name}-copied")
        zarrds.rechunk(tmp_path / name, tmp_path / f"{name}-rechunked", chunks={"x": 1})
        for kind in ("copied", "rechunked"):
            found = xr.load_dataset(tmp_path / f"{name}-{kind}", engine="zarrds")
            assert found.v.shape == shape
            xr.testing.assert_identical(found, xr.load_dataset(tmp_path / name, engine="zarrds"))


def test_copies_know_the_order_of_their_labels(tmp_path: Path) -> None:
    labels = np.arange(70_000) * 3 + np.arange(70_000) % 2
    zarrds.save(xr.Dataset(coords={"x": labels}), tmp_path / "a.zarr", encoding={"x": {"chunks": (10_000,)}})
    zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", encoding={"x": {"chunks": (30_000,)}})
    zarrds.copy(tmp_path / "a.zarr", tmp_path / "c.zarr")
    for name in ("b.zarr", "c.zarr"):
        ds = xr.open_dataset(tmp_path / name, engine="zarrds", index="lazy")
        assert type(ds.indexes["x"]).__name__ == "LazyIndex"
        assert ds.indexes["x"].get_loc(300) == 100


def test_groups_and_variables(tmp_path: Path) -> None:
    zarrds.save(tree(), tmp_path / "a.zarr")
    zarrds.copy(tmp_path / "a.zarr", tmp_path / "below.zarr", group="below")
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "below.zarr", engine="zarrds").load(), BELOW)
    zarrds.copy(tmp_path / "a.zarr", tmp_path / "kind.zarr", variables=["kind"])
    one = xr.open_dataset(tmp_path / "kind.zarr", engine="zarrds").load()
    xr.testing.assert_identical(one, tree().to_dataset()[["kind"]])
    with pytest.raises(VariableNotFoundError, match=r"no such variable.*'w'.*kind"):
        zarrds.copy(tmp_path / "a.zarr", tmp_path / "no.zarr", variables=["w"])


def test_what_cannot_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarrds.save(days(0, 6), path)
    for options, error, message in (
        ({"chunks": {"lat": 1}}, EncodingError, "dimension that is not there.*found lat.*There is: time, x"),
        ({"encoding": {"w": {"chunks": (1,)}}}, VariableNotFoundError, "variable that is not there.*'w'"),
        ({"encoding": {"t2m": {"dtype": "f4"}}}, EncodingError, "without changing it.*'t2m'.*found dtype"),
        ({"encoding": {"t2m": {"chunks": (1,)}}}, EncodingError, "chunks do not fit the shape"),
        ({"chunks": {"time": 0}}, EncodingError, "at least one element"),
        ({"mode": "a"}, EncodingError, "unknown mode"),
    ):
        with pytest.raises(error, match=message):
            zarrds.rechunk(path, tmp_path / "b.zarr", **options)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(StoreExistsError, match="onto itself"):
        zarrds.copy(path, path)
    zarrds.save(days(0, 2), tmp_path / "b.zarr")
    with pytest.raises(StoreExistsError, match="exists here already"):
        zarrds.copy(path, tmp_path / "b.zarr")
    zarrds.copy(path, tmp_path / "b.zarr", mode="w")
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "b.zarr", engine="zarrds").load(), days(0, 6))
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "b.zarr"]


def test_lost_and_damaged_chunks_are_no_fill_values(tmp_path: Path) -> None:
    zarrds.save(days(0, 6), tmp_path / "a.zarr", encoding={"t2m": {"chunks": (2, 3)}})
    chunk = tmp_path / "a.zarr/t2m/c.1.0"
    raw = chunk.read_bytes()
    chunk.unlink()
    for options in ({"chunks": {"time": 3}}, {"shards": {"time": 4}}):
        with pytest.raises(ChunkError, match="missing"):
            zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", **options)  # type: ignore[arg-type]  # a union
    zarrds.copy(tmp_path / "a.zarr", tmp_path / "c.zarr")
    with pytest.raises(ChunkError, match="missing"):
        xr.open_dataset(tmp_path / "c.zarr", engine="zarrds").t2m.load()
    # once it is restored, a run goes on where it ended
    chunk.write_bytes(raw)
    zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", chunks={"time": 3})
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "b.zarr", engine="zarrds").load(), days(0, 6))


def test_a_source_that_changes_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarrds.save(days(0, 6), path, encoding={"t2m": {"chunks": (1, 1)}})

    def change(done: int, total: int) -> None:
        if done == total:
            zarrds.save(days(6, 9), path, append_dim="time")

    with pytest.raises(ConflictError, match="source was changed"):
        zarrds.rechunk(path, tmp_path / "b.zarr", chunks={"time": 6}, progress=change)
    assert not (tmp_path / "b.zarr").exists()
    zarrds.rechunk(path, tmp_path / "b.zarr", chunks={"time": 6})
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "b.zarr", engine="zarrds").load(), days(0, 9))
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "b.zarr"]


def test_progress_is_told_in_bytes(tmp_path: Path) -> None:
    zarrds.save(days(0, 6), tmp_path / "a.zarr", encoding={"t2m": {"chunks": (1, 1)}})
    told: list[tuple[int, int]] = []
    zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", chunks={"time": 6}, progress=lambda *at: told.append(at))
    totals = {total for _, total in told}
    assert len(totals) == 1
    done = [n for n, _ in told]
    assert done == sorted(done)
    assert done[0] == 0


# -------------------------------------------------------------------- memory, in processes of their own

MEMORY = """
import resource, sys, zarrds
source, target, limit = sys.argv[1:]
zarrds.rechunk_plan(source, chunks={"t": -1, "y": 32, "x": 32}, max_memory=limit)  # what is imported counts for nothing
import zarrds.datasets.rechunking.passes, blosc, numcodecs
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
zarrds.rechunk(source, target, chunks={"t": -1, "y": 32, "x": 32}, max_memory=limit, durable=False)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize(
    ("n", "size", "limit"),
    [(64, 512, 32), pytest.param(250, 1024, 128, marks=pytest.mark.slow)],  # 64 MiB in 32; 1 GiB in 128
)
def test_memory_stays_within_the_bound(tmp_path: Path, n: int, size: int, limit: int) -> None:
    value_at = maps(tmp_path / "a.zarr", n, size)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr"), f"{limit}MiB"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) <= limit * 2**20
    array = zarrds.open_array(tmp_path / "b.zarr", path="v")
    assert array.chunks == (n, 32, 32)
    for t, y, x in np.random.default_rng(0).integers(0, [n, size, size], (20, 3)).tolist():
        assert array[t, y, x] == value_at(t, y, x)


def test_a_copy_does_not_replace_a_part_of_its_source(tmp_path: Path) -> None:
    source = tmp_path / "a.zarr"
    zarrds.save(xr.Dataset({"v": ("x", [1, 2])}), source)
    (tmp_path / "link").symlink_to(source)
    for target in (source / "v", source / "new", tmp_path / "link" / "v", source):
        with pytest.raises(StoreExistsError):
            zarrds.copy(source, target, mode="w")
    for workers in (0, -1):
        with pytest.raises(EncodingError, match="at least 1"):
            zarrds.copy(source, tmp_path / "b.zarr", workers=workers)
    assert xr.load_dataset(source, engine="zarrds").v.values.tolist() == [1, 2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "link"]


@pytest.mark.parametrize("shards", [None, {"x": 4}], ids=["copy", "pack"])
def test_a_chunk_that_is_larger_than_any_can_be(tmp_path: Path, shards: Any) -> None:
    """It is not read whole, though its bytes are copied as they are."""
    dataset = xr.Dataset({"v": ("x", np.arange(8.0))})
    zarrds.save(dataset, tmp_path / "s.zarr", encoding={"v": {"chunks": (2,)}})
    os.truncate(tmp_path / "s.zarr" / "v" / "c.1", 8 << 30)
    with pytest.raises(ChunkError, match=r"larger than it can be.*'v/c\.1'"):
        zarrds.rechunk(tmp_path / "s.zarr", tmp_path / "t.zarr", shards=shards)
    assert not (tmp_path / "t.zarr").exists()


@pytest.mark.parametrize("shape", [(2**62,), (2**40, 2**20)])
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_few_chunks_of_a_grid_without_end(tmp_path: Path, shape: tuple[int, ...], zarr_format: Any) -> None:
    """Not all that may be there are asked for: a document of a few bytes may claim any number of them."""
    chunks = (2**10,) * len(shape)
    source, target = tmp_path / "x.zarr", tmp_path / "y.zarr"
    options = {"path": "v", "dtype": "i4", "chunks": chunks, "zarr_format": zarr_format}
    array = zarrds.create_array(source, shape=shape, **options)
    places = [tuple(n // (i + 1) % size for i, size in enumerate(shape)) for n in (5, 2**35, 2**61)]
    for value, place in enumerate(places, 1):
        array[place] = value
    for asked in ({}, {"chunks": (300,) * len(shape)}, {"shards": (2**11,) * len(shape)}):
        if zarr_format == 3 or "shards" not in asked:
            zarrds.rechunk(source, target, encoding={"v": asked}, mode="w")
            copied = zarrds.open_array(target, path="v")
            assert [int(copied[place]) for place in places] == [1, 2, 3]
            assert marks_of(copied.metadata).complete is None
            assert sum(path.is_file() for path in target.rglob("*")) < 60
    found = (path for path in (source / "v").rglob("*") if path.is_file())
    chunk = next(path for path in found if path.name not in (".zarray", ".zattrs", "zarr.json"))
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(StoreIOError, match="pipe"):
        zarrds.copy(source, tmp_path / "z.zarr")


def test_a_grid_of_which_all_is_said_to_be_there(tmp_path: Path) -> None:
    """A chunk that must be there is missed at once, also where only what is stored is looked for."""
    zarrds.save(xr.Dataset({"v": ("x", np.arange(4))}), tmp_path / "x.zarr", encoding={"v": {"chunks": (2,)}})
    for path in (tmp_path / "x.zarr").rglob("*.json"):  # what it says of its shape, and of what of it was written
        text = path.read_text().replace('"shape": [4]', f'"shape": [{2**62}]')
        path.write_text(re.sub(r'"complete": ?\[4\]', f'"complete": [{2**62}]', text))
    for asked in ({"chunks": (300,)}, {"shards": (2**11,)}):
        with pytest.raises(ChunkError, match=r"missing.*c\.2"):
            zarrds.rechunk(tmp_path / "x.zarr", tmp_path / "y.zarr", encoding={"v": asked})


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 20))
def test_how_often_chunks_are_read_is_counted_without_looking_at_each(size: int, block: int, chunk: int) -> None:
    reads = sum((min(a + block, size) - 1) // chunk - a // chunk + 1 for a in range(0, size, block))
    assert _amplification((size,), (block,), (chunk,)) == reads / -(-size // chunk)


def test_blocks_without_end_come_one_by_one() -> None:
    found = blocks((2**62, 3, 2**50), (1, 2, 5))
    assert next(found) == (slice(0, 1), slice(0, 2), slice(0, 5))
    assert next(found) == (slice(0, 1), slice(0, 2), slice(5, 10))
