"""Processes that read and write one store at once: each read is one of the states, and no write is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from multiprocessing import get_context
from multiprocessing.pool import Pool
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds import LocalStore
from zarrds.errors import ConflictError, LabelError, StoreExistsError
from zarrds.storage.protocol import Buffer

N_PROCESSES = 3
N_APPENDS = 120
N_REPLACEMENTS = 100

_barrier: Barrier | None = None
_is_over: Event | None = None

Task = tuple[Callable[..., Any], *tuple[Any, ...]]


def _begin(barrier: Barrier, is_over: Event) -> None:
    global _barrier, _is_over
    _barrier, _is_over = barrier, is_over


def together() -> None:
    """Wait until all processes are here, so that each has one of the tasks, and all begin at once."""
    assert _barrier is not None
    _barrier.wait(60)


def until_over() -> Iterator[None]:
    """Again and again while there are writers, and once more after them."""
    assert _is_over is not None
    is_last = False
    while not is_last:
        is_last = _is_over.is_set()
        yield


class Processes:
    """As many processes as there are tasks at once."""

    def __init__(self, pool: Pool, is_over: Event) -> None:
        self._pool = pool
        self._is_over = is_over

    def run(self, *tasks: Task) -> list[Any]:
        """The results of all tasks; when the first one is done, whoever waits for the end of it is told."""
        self._is_over.clear()
        assert len(tasks) == N_PROCESSES
        running = [self._pool.apply_async(function, arguments) for function, *arguments in tasks]
        try:
            running[0].wait(120)
        finally:
            self._is_over.set()
        for task in running:
            task.wait(120)
        return [task.get(0) for task in running]


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    context = get_context("spawn")
    is_over = context.Event()
    with context.Pool(N_PROCESSES, _begin, [context.Barrier(N_PROCESSES), is_over]) as pool:
        yield Processes(pool, is_over)


def assert_sound(store: Path) -> None:
    report = zarrds.verify(store)
    assert report.ok, str(report)
    assert [name for _, _, names in os.walk(store) for name in names if "partial" in name] == []


# appends


def step(i: int, n: int = 1) -> xr.Dataset:
    """The data of time steps from `i` on; everything follows from the time."""
    time = np.arange(i, i + n)
    return xr.Dataset(
        {"v": (("time", "x"), time[:, None] * 10.0 + np.arange(3)), "w": ("time", time * 3)},
        {"time": time, "name": ("time", [f"t{t:03}" for t in time]), "x": [7, 8, 9]},
    )


def append_many(store: str, count: int) -> None:
    together()
    for i in range(1, count + 1):
        zarrds.save(step(i), store, append_dim="time", durable=False, workers=1)


def read_appended(store: str, engine: str) -> list[int]:
    """The sizes that were read, one after the other."""
    before = xr.open_dataset(store, engine=engine)
    sizes = []
    together()
    for _ in until_over():
        found = xr.open_dataset(store, engine=engine).load()
        xr.testing.assert_identical(found, step(0, found.sizes["time"]))
        sizes.append(found.sizes["time"])
    xr.testing.assert_identical(before.load(), step(0))
    return sizes


@pytest.mark.slow
@pytest.mark.parametrize(("zarr_format", "count"), [(3, N_APPENDS), (2, N_APPENDS // 4)])
def test_reads_during_appends(zarr_format: Any, count: int, processes: Processes, tmp_path: Path) -> None:
    store = str(tmp_path / "x.zarr")
    # chunks that are begun, filled and left behind while they are read
    chunks = {"v": {"chunks": (7, 2)}, "w": {"chunks": (5,)}, "time": {"chunks": (64,)}, "name": {"chunks": (11,)}}
    zarrds.save(step(0), store, encoding=chunks, zarr_format=zarr_format)
    readers: list[Task] = [(read_appended, store, engine) for engine in ("zarrds", "zarr")]
    _, *read = processes.run((append_many, store, count), *readers)
    for sizes in read:
        assert sizes == sorted(sizes)
        assert sizes[-1] == count + 1
        assert len(set(sizes)) > 3
    assert_sound(Path(store))


def append_against(store: str, mine: int) -> list[str]:
    """Append one's own steps, each again until it is in or somebody else's is."""
    together()
    outcomes = []
    for i in range(1, 41):
        ds = step(i).assign(by=("time", [mine]))
        try:
            zarrds.save(ds if i % 2 else ds.chunk(time=1), store, append_dim="time", durable=False, workers=1)
            outcomes.append("won")
        except (LabelError, ConflictError) as error:
            outcomes.append(type(error).__name__)
    return outcomes


@pytest.mark.slow
def test_appends_of_the_same_steps(processes: Processes, tmp_path: Path) -> None:
    """Of those that append the same, one wins; the others are told."""
    store = tmp_path / "x.zarr"
    zarrds.save(step(0).assign(by=("time", [-1])), store, encoding={"v": {"chunks": (7, 2)}, "by": {"chunks": (4,)}})
    outcomes = processes.run(*((append_against, str(store), n) for n in range(N_PROCESSES)))
    found = xr.open_dataset(store, engine="zarrds").load()
    # a step is missing if each of them found it in the way of the others; but then the next ones stand
    times = found.time.values
    assert (np.diff(times) > 0).all()
    expected = xr.concat([step(t) for t in times], "time", data_vars="minimal", coords="minimal")
    xr.testing.assert_identical(found.drop_vars("by"), expected)
    for n, outcome in enumerate(outcomes):
        won = [i + 1 for i, word in enumerate(outcome) if word == "won"]
        assert times[found.by.values == n].tolist() == won
    assert_sound(store)


def append_own(store: str, mine: int) -> int:
    """Append blocks behind what is there, whatever that is; returns how many conflicts there were."""
    together()
    conflicts = 0
    for i in range(25):
        block = np.full(1 + i % 4, mine * 1000 + i)
        while True:
            ds = xr.Dataset({"v": ("time", block), "w": ("time", -block)})
            try:
                zarrds.save(ds.chunk(time=2) if i % 3 == 0 else ds, store, append_dim="time", durable=False, workers=1)
                break
            except ConflictError:
                conflicts += 1
    return conflicts


@pytest.mark.slow
def test_appends_are_never_interleaved(processes: Processes, tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    zarrds.save(
        xr.Dataset({"v": ("time", [-1]), "w": ("time", [1])}),
        store,
        encoding={"v": {"chunks": (7,)}, "w": {"chunks": (4,)}},
    )
    processes.run(*((append_own, str(store), n) for n in range(N_PROCESSES)))
    found = xr.open_dataset(store, engine="zarrds").load()
    np.testing.assert_array_equal(found.w, -found.v)
    values = found.v.values[1:]
    ends = np.flatnonzero(np.diff(values)) + 1
    blocks = [(int(block[0]), len(block)) for block in np.split(values, ends)]
    assert sorted(blocks) == sorted((n * 1000 + i, 1 + i % 4) for n in range(N_PROCESSES) for i in range(25))
    for n in range(N_PROCESSES):  # those of one writer in its order
        own = [value for value, _ in blocks if value // 1000 == n]
        assert own == sorted(own)
    assert_sound(store)


@pytest.mark.slow
def test_documents_that_are_just_being_put_in_place(tmp_path: Path) -> None:
    """An append that looks at a store while half of the arrays' documents are new looks again, and is not refused."""
    path, longer = tmp_path / "x.zarr", tmp_path / "longer.zarr"
    for target in (path, longer):
        zarrds.save(step(0).drop_vars("name"), target)
    zarrds.save(step(1).drop_vars("name"), longer, append_dim="time")
    store = zarrds.LocalStore(path)
    with ThreadPoolExecutor(1) as pool:
        with store.lock():
            for name in ("v", "time"):
                shutil.copytree(longer / name, path / name, dirs_exist_ok=True)
            late = pool.submit(zarrds.save, step(2).drop_vars("name").chunk(), path, append_dim="time")
            wait([late], timeout=0.5)
            assert not late.done()  # and so it was not refused
            shutil.copytree(longer / "w", path / "w", dirs_exist_ok=True)
        late.result(60)
    found = xr.open_dataset(path, engine="zarrds").load()
    xr.testing.assert_identical(found, step(0, 3).drop_vars("name"))


# replacements


def version(i: int) -> xr.Dataset:
    """Of other sizes and dtypes, by turns: old chunks under new metadata would show."""
    dtype = ("f8", "i8", "f4")[i % 3]
    sizes = 6 + i % 4, 5
    return xr.Dataset(
        {"v": (("y", "x"), np.full(sizes, i, dtype)), f"only{i % 2}": ("y", np.full(sizes[0], i))},
        {"y": np.arange(sizes[0]) + i},
        {"i": i},
    )


def replace_many(store: str, group: str | None) -> None:
    together()
    for i in range(1, N_REPLACEMENTS + 1):
        ds = version(i)
        chunks = {"v": {"chunks": (2 + i % 3, 2)}}
        zarrds.save(ds, store, group=group, mode="w", encoding=chunks, durable=False, workers=1)


def read_replaced(store: str, group: str | None) -> tuple[list[int], int]:
    """The versions that were read, and how often a dataset was replaced after it was opened."""
    seen, conflicts = [], 0
    together()
    for _ in until_over():
        try:
            found = xr.open_dataset(store, engine="zarrds", group=group).load()
        except ConflictError:
            conflicts += 1
            continue
        xr.testing.assert_identical(found, version(found.attrs["i"]))
        seen.append(found.attrs["i"])
    return seen, conflicts


@pytest.mark.slow
@pytest.mark.parametrize("group", [None, "a/b"])
def test_reads_during_replacements(group: str | None, processes: Processes, tmp_path: Path) -> None:
    store = str(tmp_path / "x.zarr")
    zarrds.save(version(0), store)
    zarrds.save(version(0), store, group=group, mode="w")
    opened = xr.open_dataset(store, engine="zarrds", group=group, cache=False)
    readers: list[Task] = [(read_replaced, store, group)] * (N_PROCESSES - 1)
    _, *read = processes.run((replace_many, store, group), *readers)
    for seen, _ in read:
        assert seen == sorted(seen)
        assert seen[-1] == N_REPLACEMENTS
        assert len(set(seen)) > 2
    with pytest.raises(ConflictError):
        opened.v.load()
    assert_sound(Path(store))


# metadata


def save_own(store: str, mine: int) -> list[str]:
    together()
    outcomes = []
    for i in range(8):
        ds = xr.Dataset({f"v{mine}-{i}": ("x", np.full(3, mine * 10 + i))})
        zarrds.save(ds, store, mode="a", durable=False, workers=1)
        zarrds.save(ds.chunk(x=2), store, mode="a", group=f"a{mine}/{i}", durable=False, workers=1)
        zarrds.save(ds, store, group=f"w{mine}/{i}", durable=False, workers=1)
        zarrds.update_attrs(store, {f"{mine}-{i}": i}, durable=False)
        try:
            zarrds.save(ds, store, group=f"contested{i}", durable=False, workers=1)
            outcomes.append("won")
        except StoreExistsError:
            outcomes.append("refused")
    return outcomes


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", [3, 2])
def test_metadata_of_one_writer_does_not_lose_that_of_another(
    zarr_format: Any, processes: Processes, tmp_path: Path
) -> None:
    store = tmp_path / "x.zarr"
    zarrds.save(xr.Dataset({"first": ("x", [1, 2, 3])}), store, zarr_format=zarr_format)
    outcomes = processes.run(*((save_own, str(store), n) for n in range(N_PROCESSES)))
    each = [(n, i) for n in range(N_PROCESSES) for i in range(8)]
    for engine in ("zarrds", "zarr"):
        for consolidated in (True, False):
            groups = xr.open_groups(store, engine=engine, consolidated=consolidated)
            root = groups["/"]
            assert set(root) == {"first"} | {f"v{n}-{i}" for n, i in each}
            for n, i in each:
                expected = [n * 10 + i] * 3
                assert root[f"v{n}-{i}"].values.tolist() == expected
                assert groups[f"/a{n}/{i}"][f"v{n}-{i}"].values.tolist() == expected
                assert groups[f"/w{n}/{i}"][f"v{n}-{i}"].values.tolist() == expected
            for i in range(8):
                assert [n for n in range(N_PROCESSES) if f"v{n}-{i}" in groups[f"/contested{i}"]] == [
                    n for n in range(N_PROCESSES) if outcomes[n][i] == "won"
                ]
    assert all([outcome[i] for outcome in outcomes].count("won") == 1 for i in range(8))
    assert_sound(store)


class RenamedThereAndBack(LocalStore):
    """The array is renamed just before a chunk is read, and back before anybody looks why it is missing."""

    quiet: ClassVar[set[str]] = set()  # places where nobody does

    def get_at_most(self, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
        if "v/c" not in key or self.path in self.quiet:
            return super().get_at_most(key, limit, buffer)
        zarrds.rename(self.path, {"v": "w"})
        value = super().get_at_most(key, limit, buffer)
        zarrds.rename(self.path, {"w": "v"})
        return value


@pytest.mark.slow
@pytest.mark.parametrize("consolidated", [True, False])
def test_renamed_there_and_back_while_it_is_read(tmp_path: Path, consolidated: bool) -> None:
    path = tmp_path / "x.zarr"
    zarrds.save(xr.Dataset({"v": ("x", [1.0, 2.0])}), path)
    store = RenamedThereAndBack(path)
    opened = xr.open_dataset(store, engine="zarrds", consolidated=consolidated, chunk_cache=0)
    with pytest.raises(ConflictError, match="chunk is missing"):
        opened.v.compute()
    RenamedThereAndBack.quiet.add(store.path)
    assert opened.v.values.tolist() == [1.0, 2.0]
