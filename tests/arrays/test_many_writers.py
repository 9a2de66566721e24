"""Many processes that write one array at once: nothing is lost, and no lock stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.pool import Pool
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tests.engine.selections import ids_of
from zarrds import LocalStore, create_array, create_group, open_array, open_group
from zarrds.engine.elements import Elements
from zarrds.metadata.extension import Marks, marks_of, with_marks
from zarrds.metadata.nodes.transaction import put_node

N = 8
SHAPE = (61, 47)
PROJECT = Path(__file__).resolve().parents[2]
_barrier: Barrier | None = None


def begin(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


@pytest.fixture(scope="module")
def processes() -> Iterator[Pool]:
    context = get_context("spawn")
    with context.Pool(N, begin, [context.Barrier(N)]) as pool:
        yield pool


def together() -> None:
    """Wait until all processes are here, so that each has one of the tasks, and all begin at once."""
    assert _barrier is not None
    _barrier.wait(60)


def files_of(folder: Path) -> list[str]:
    return [name for _, _, names in os.walk(folder) for name in names]


def assert_no_leftovers(folder: Path) -> None:
    assert [name for name in files_of(folder) if "partial" in name or "lock" in name] == []


# parts of chunks


def regions_of(seed: int) -> list[tuple[Any, ...]]:
    """The array cut at random into rectangles, of which some are split into their even and their odd columns."""
    rng = np.random.default_rng(seed)
    rectangles = [((0, SHAPE[0]), (0, SHAPE[1]))]
    while len(rectangles) < 150:
        rectangle = rectangles.pop(int(rng.integers(len(rectangles))))
        axis = int(rng.integers(2))
        start, stop = rectangle[axis]
        if stop - start < 2:
            rectangles.append(rectangle)
            continue
        cut = int(rng.integers(start + 1, stop))
        for part in ((start, cut), (cut, stop)):
            rectangles.append((part, rectangle[1]) if axis == 0 else (rectangle[0], part))
    regions: list[tuple[Any, ...]] = []
    for (top, bottom), (left, right) in rectangles:
        if rng.integers(3) == 0 and right - left > 1:
            regions += [(slice(top, bottom), slice(left + i, right, 2)) for i in (0, 1)]
        else:
            regions.append((slice(top, bottom), slice(left, right)))
    return [regions[i] for i in rng.permutation(len(regions))]


def write_some(task: tuple[str, int, int]) -> int:
    folder, seed, number = task
    values = ids_of(SHAPE)
    array = open_array(folder, "r+", "a", workers=2)
    together()
    mine = regions_of(seed)[number::N]
    for i, key in enumerate(mine):
        rows, columns = (np.arange(n)[k] for n, k in zip(SHAPE, key, strict=True))
        match i % 3:
            case 0:
                array[key] = values[key]
            case 1:
                array.oindex[rows[::-1], columns] = values[key][::-1]
            case _:
                array.vindex[rows[:, None], columns] = values[key]
    return len(mine)


def test_regions_are_disjoint_and_everything() -> None:
    for seed in range(3):
        count = np.zeros(SHAPE, int)
        for key in regions_of(seed):
            count[key] += 1
        assert (count == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [
        {"chunks": (20, 16)},
        {"chunks": (100, 100)},
        {"chunks": (5, 3), "shards": (30, 24)},
        {"chunks": (20, 16), "zarr_format": 2},
        {"chunks": (7, 50), "zarr_format": 2, "codecs": [{"name": "bytes"}]},
    ],
    ids=["chunks", "one chunk", "shards", "v2", "v2 without compression"],
)
def test_every_element_is_right(processes: Pool, tmp_path: Path, layout: dict[str, Any]) -> None:
    for seed in (1, 2):
        create_array(tmp_path, path="a", shape=SHAPE, dtype="i4", fill_value=-1, overwrite=True, **layout)
        written = processes.map(write_some, [(str(tmp_path), seed, n) for n in range(N)], chunksize=1)
        assert sum(written) == len(regions_of(seed))
        np.testing.assert_array_equal(open_array(tmp_path, path="a")[...], ids_of(SHAPE))
        theirs = zarr.open_array(tmp_path, path="a", mode="r", zarr_format=layout.get("zarr_format", 3))
        np.testing.assert_array_equal(theirs[...], ids_of(SHAPE))
        assert_no_leftovers(tmp_path)


def write_sparsely(task: tuple[str, int]) -> None:
    folder, number = task
    array = open_array(folder, path="a")
    elements = Elements(array.store, "a", array.metadata, write_empty_chunks=False, n_workers=1)
    together()
    for row in range(number, SHAPE[0], N):
        for value in (-1, row, -1, row):  # empty, and not empty, by turns
            elements.write((slice(row, row + 1), slice(None)), value)


@pytest.mark.slow
def test_empty_chunks(processes: Pool, tmp_path: Path) -> None:
    create_array(tmp_path, path="a", shape=SHAPE, dtype="i4", chunks=(20, 16), fill_value=-1)
    processes.map(write_sparsely, [(str(tmp_path), n) for n in range(N)], chunksize=1)
    expected = np.broadcast_to(np.arange(SHAPE[0])[:, None], SHAPE)
    np.testing.assert_array_equal(open_array(tmp_path, path="a")[...], expected)
    assert_no_leftovers(tmp_path)


# shapes and attributes


def append_some(task: tuple[str, int]) -> None:
    folder, number = task
    array = open_array(folder, "r+", "a")
    together()
    for i in range(4):
        array.append(np.full((3, 2), number * 10 + i))
        array.attrs[f"{number}-{i}"] = i


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_appends_come_one_after_the_other(processes: Pool, tmp_path: Path, zarr_format: Any) -> None:
    create_group(tmp_path, zarr_format=zarr_format)
    array = create_array(
        tmp_path, path="a", shape=(0, 2), dtype="i4", chunks=(4, 2), fill_value=-1, zarr_format=zarr_format
    )
    put_node(array.store, "a", with_marks(array.metadata, Marks(complete=(0, 2))))
    zarr.consolidate_metadata(tmp_path, zarr_format=zarr_format)
    processes.map(append_some, [(str(tmp_path), n) for n in range(N)], chunksize=1)
    for array in (open_array(tmp_path, path="a"), open_array(tmp_path, "r+", path="a")):  # consolidated, and its own
        assert array.shape == (N * 4 * 3, 2)
        assert marks_of(array.metadata).complete == array.shape
        blocks = array[...].reshape(-1, 6)
        assert (blocks == blocks[:, :1]).all()
        assert sorted(blocks[:, 0]) == sorted(n * 10 + i for n in range(N) for i in range(4))
        # those of one writer in its order
        assert all((np.diff(blocks[blocks[:, 0] // 10 == n, 0]) > 0).all() for n in range(N))
        assert array.attrs == {f"{n}-{i}": i for n in range(N) for i in range(4)}
    assert_no_leftovers(tmp_path)


def create_some(task: tuple[str, int]) -> list[str]:
    folder, number = task
    group = open_group(folder, "r+")
    together()
    group.create_array(f"winds/u{number}", shape=3, dtype="i4")[...] = number
    group.attrs[f"by {number}"] = True
    made = []
    try:
        group.create_array("contested", shape=3, dtype="i4")[...] = number
        made.append("contested")
    except FileExistsError:
        pass
    return made


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_metadata_of_one_writer_does_not_lose_that_of_another(
    processes: Pool, tmp_path: Path, zarr_format: Any
) -> None:
    create_group(tmp_path, zarr_format=zarr_format)
    zarr.consolidate_metadata(tmp_path, zarr_format=zarr_format)
    made = processes.map(create_some, [(str(tmp_path), n) for n in range(N)], chunksize=1)
    assert sum(map(len, made)) == 1  # one has created it, the others were told
    winner = next(n for n, names in enumerate(made) if names)
    for use in (True, False):
        theirs = zarr.open_group(tmp_path, mode="r", zarr_format=zarr_format, use_consolidated=use)
        names = {name for name, _ in theirs.members(max_depth=None)}
        assert names == {"winds", "contested"} | {f"winds/u{n}" for n in range(N)}
        assert dict(theirs.attrs) == {f"by {n}": True for n in range(N)}
    assert open_array(tmp_path, path="contested")[...].tolist() == [winner] * 3
    assert [open_array(tmp_path, path=f"winds/u{n}")[0] for n in range(N)] == list(range(N))
    assert_no_leftovers(tmp_path)


# writers that die

DIES = """
import sys
import zarrds
array = zarrds.open_array(sys.argv[1], "r+", workers=1)
print("ready", flush=True)
while True:
    array[0] = 7
"""


@pytest.mark.slow
def test_a_writer_that_is_killed_holds_nobody_up(tmp_path: Path) -> None:
    array = create_array(tmp_path, shape=1000, dtype="i4", chunks=1000, fill_value=-1)
    for round_ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", DIES, str(tmp_path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        with child.stdout:
            assert child.stdout.readline() == "ready\n"
            for i in range(20 + 17 * round_):  # both at the same chunk
                array[1 + i] = round_
            child.kill()
            child.wait()
        array[500:503] = round_
        assert array[498:505].tolist() == [-1, -1, round_, round_, round_, -1, -1]
        assert array[1:21].tolist() == [round_] * 20
    # its last write is there or is not, and what it had not finished is no key
    assert array[0] in (-1, 7)
    assert sorted(LocalStore(tmp_path).list_prefix()) == [".zarrds/.zarrds.json", "c/0", "zarr.json"]
