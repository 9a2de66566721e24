from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest

from zarrds import LocalStore, MemoryStore, Store, create_array, open_array
from zarrds.engine import executor
from zarrds.engine.planning.plans import ChunkProjection
from zarrds.engine.planning.selection import plan_basic
from zarrds.storage.protocol import Buffer, Traits
from zarrds.stores import Overlay, RemoteStore
from zarrds.testing import run_together

PROJECT = Path(__file__).resolve().parents[2]


class Counted:
    """A plan of that many parts."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[ChunkProjection]:
        return (ChunkProjection((i,), i, i, True) for i in range(self.n))


def run_python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


# run


@pytest.mark.parametrize("n_workers", [None, 1, 2, 5, 1000])
@pytest.mark.parametrize("n_parts", [0, 1, 7, 1000])
@pytest.mark.parametrize("part_nbytes", [1, 10**9])
def test_every_part_once(n_workers: int | None, n_parts: int, part_nbytes: int) -> None:
    done: list[int] = []
    progress: list[int] = []
    made: list[int] = []

    def make_worker() -> executor.Worker:
        made.append(threading.get_ident())
        return lambda part: done.append(part.out)

    executor.run(Counted(n_parts), make_worker, part_nbytes=part_nbytes, workers=n_workers, progress=progress.append)
    assert sorted(done) == list(range(n_parts))
    assert sum(progress) == n_parts
    assert len(made) == len(set(made)) <= min(n_parts, 64 if n_workers is None else n_workers)


def test_one_worker_is_the_caller() -> None:
    seen = set()
    for plan, limit, part_nbytes in ((Counted(100), 1, 10**9), (Counted(100), None, 10), (Counted(1), 8, 10**9)):
        executor.run(plan, lambda: lambda _: seen.add(threading.get_ident()), part_nbytes=part_nbytes, workers=limit)
    assert seen == {threading.get_ident()}


def test_several_work_at_once() -> None:
    # each of three parts waits until all three have begun
    barrier = threading.Barrier(3)
    executor.run(Counted(3), lambda: lambda _: barrier.wait(60) and None, part_nbytes=1, workers=3)
    assert not barrier.broken


@pytest.mark.parametrize("n_workers", [1, 4])
@pytest.mark.parametrize("where", ["worker", "make_worker", "progress"])
def test_first_error_stops_the_rest_and_is_raised_once(n_workers: int, where: str) -> None:
    error = KeyError("the one")
    done = []
    all_at_work = threading.Barrier(n_workers)

    def make_worker() -> executor.Worker:
        if where == "make_worker":
            raise error
        is_first = True

        def work(part: ChunkProjection) -> None:
            nonlocal is_first
            if is_first and where == "worker" and all_at_work.wait(60) == 0:
                raise error
            is_first = False
            done.append(part.out)

        return work

    def progress(_: int) -> None:
        if where == "progress":
            raise error

    with pytest.raises(KeyError) as caught:
        executor.run(Counted(10**6), make_worker, part_nbytes=1, workers=n_workers, progress=progress)
    assert caught.value is error
    assert len(done) < 10**6 / 2
    # and nobody goes on after that
    after = len(done)
    executor.run(Counted(100), lambda: lambda _: None, part_nbytes=1, workers=8)
    assert len(done) == after


def test_error_of_a_helper_reaches_the_caller() -> None:
    caller = threading.get_ident()
    failed = threading.Event()

    def work(_: ChunkProjection) -> None:
        if threading.get_ident() == caller:
            assert failed.wait(60)
        else:
            failed.set()
            raise ValueError("in a helper")

    with pytest.raises(ValueError, match="in a helper"):
        executor.run(Counted(8), lambda: work, part_nbytes=1, workers=2)


def test_plans_inside_plans_end() -> None:
    total = []

    def nested(depth: int) -> None:
        if depth == 0:
            total.append(1)
            return
        executor.run(Counted(6), lambda: lambda _: nested(depth - 1), part_nbytes=10**9, workers=64)

    run_together(*[lambda: nested(3)] * 30)
    assert len(total) == 30 * 6**3


def test_array_read_inside_of_a_read() -> None:
    array = create_array(MemoryStore(), shape=400, dtype="i8", chunks=4, workers=8)
    array[...] = np.arange(400)
    found = []
    plan = plan_basic(..., (400,), (4,))
    executor.run(plan, lambda: lambda part: found.append(int(array[...][part.out].sum())), part_nbytes=10**9, workers=8)
    assert sum(found) == sum(range(400))


# processes

# the child reads, writes parts of chunks and ends, whatever the parent's threads were doing
FORK = """
import os, sys, threading
import numpy as np
import zarrds
array = zarrds.open_array(sys.argv[1], "r+", workers=4)
assert array[...].sum() == 1000 * 1000
stop = threading.Event()
def churn():
    while not stop.is_set():
        array[1:999, 1] = 1.0
threads = [threading.Thread(target=churn, daemon=True) for _ in range(3)]
for thread in threads:
    thread.start()
for i in range(8):
    child = os.fork()
    if child == 0:
        array[1:, 500 + i] = 2.0
        os._exit(0 if array[:, 600:].sum() == 400 * 1000 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
for thread in threads:
    thread.join()
print(array[:, 500:508].sum())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork_while_threads_write(tmp_path: Path) -> None:
    create_array(tmp_path, shape=(1000, 1000), dtype="f8", chunks=(100, 500))[...] = 1
    assert float(run_python(FORK, str(tmp_path))) == 8 * (2 * 999 + 1)


@pytest.mark.slow
def test_interpreter_on_its_way_out(tmp_path: Path) -> None:
    create_array(tmp_path, shape=1000, dtype="f8", chunks=10)
    code = """
import atexit, sys
import zarrds
array = zarrds.open_array(sys.argv[1], "r+", workers=4)
def last():
    array[...] = 5
    print(array[...].sum())
atexit.register(last)
if sys.argv[2] == "used":
    array[...]
"""
    for used in ("used", "fresh"):
        assert run_python(code, str(tmp_path), used) == "5000.0\n"


# many threads, one array


@pytest.mark.parametrize("kind", ["memory", "local"])
@pytest.mark.parametrize("n_workers", [1, 4])
def test_disjoint_parts_of_the_same_chunks(kind: str, n_workers: int, tmp_path: Path) -> None:
    store: Store = MemoryStore() if kind == "memory" else LocalStore(tmp_path)
    create_array(store, shape=(40, 12), dtype="i4", chunks=(40, 5), fill_value=-1)
    values = np.arange(480).reshape(40, 12)

    def write(thread: int) -> Callable[[], None]:
        def work() -> None:
            # objects of their own, and for a folder also stores of their own, under other names
            here = store if kind == "memory" else [tmp_path, f"{tmp_path}/../{tmp_path.name}"][thread % 2]
            array = open_array(here, "r+", workers=n_workers)
            for row in range(thread, 40, 8):
                match row % 3:
                    case 0:
                        array[row] = values[row]
                    case 1:
                        array.oindex[[row], ::-1] = values[[row], ::-1]
                    case _:
                        array.vindex[row, np.arange(12)] = values[row]

        return work

    run_together(*[write(thread) for thread in range(8)])
    np.testing.assert_array_equal(open_array(store)[...], values)


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_readers_see_each_chunk_as_it_was_or_is_to_be(kind: str, tmp_path: Path) -> None:
    store: Store = MemoryStore() if kind == "memory" else LocalStore(tmp_path)
    array = create_array(store, shape=(6, 1000), dtype="i4", chunks=(2, 500), workers=2)
    array[...] = 0
    done = threading.Event()

    def write() -> None:
        try:
            for i in range(1, 60):
                array[...] = i
        finally:
            done.set()

    def read() -> None:
        last = np.zeros((3, 2), int)
        while not done.is_set():
            chunks = array[...].reshape(3, 2, 2, 500)
            lowest, highest = chunks.min(axis=(1, 3)), chunks.max(axis=(1, 3))
            assert (lowest == highest).all()
            assert (lowest >= last).all()
            last = lowest

    run_together(write, read, read)


# memory

PEAK = """
import resource, sys
import numpy as np
import zarrds
array = zarrds.open_array(sys.argv[1], workers=int(sys.argv[2]))
array[:1]  # threads, codecs and buffers are there before it is measured
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
before = peak()
out = eval(sys.argv[3])
print(peak() - before, out.nbytes)
"""


@pytest.mark.one_in(30)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
@pytest.mark.parametrize(
    "expression", ["array[...]", "array[::-1]", "array[:, 1:]", "array.oindex[np.arange(0, 2048, 2)]"]
)
def test_peak_of_memory_is_the_result_and_a_few_chunks_a_thread(expression: str, tmp_path: Path) -> None:
    n_workers, chunk_nbytes = 2, 4 << 20
    array = create_array(tmp_path, shape=(2048, 16384), dtype="f4", chunks=(256, 4096))
    rows = np.random.default_rng(0).integers(0, 99, (256, 16384)).astype("f4")
    for start in range(0, 2048, 256):
        array[start : start + 256] = rows
    assert prod(array.chunks) * array.dtype.itemsize == chunk_nbytes
    peak, nbytes = map(int, run_python(PEAK, str(tmp_path), str(n_workers), expression).split())
    # each thread has a file's bytes, a decoded chunk and what the codec needs; and the interpreter breathes
    assert nbytes >= 64 << 20
    assert peak < nbytes + n_workers * 4 * chunk_nbytes


class SlowStore(LocalStore):
    """Notes how many threads it is written from, and how many wait in it at once."""

    def __init__(self, path: Path, at_once: int) -> None:
        super().__init__(path)
        self._at_once, self.threads = at_once, set[int]()
        self.barrier = threading.Barrier(at_once)

    @property
    def traits(self) -> Traits:
        return replace(super().traits, concurrency=getattr(self, "_at_once", 1))  # of staged changes

    def set(self, key: str, *parts: Buffer, check: Callable[[], None] | None = None) -> None:
        if "c/" in key:
            self.threads.add(threading.get_ident())
            self.barrier.wait(30)
        super().set(key, *parts, check=check)


def test_a_store_that_waits_is_written_by_more_threads_than_there_are_cores(tmp_path: Path) -> None:
    at_once = executor.n_cores() + 3
    store = SlowStore(tmp_path, at_once)
    array = create_array(store, shape=(3 * at_once,), dtype="i4", chunks=(1,))
    array[...] = np.arange(3 * at_once)  # each chunk waits for as many others
    assert len(store.threads) == at_once
    np.testing.assert_array_equal(open_array(tmp_path)[...], np.arange(3 * at_once))


def test_which_stores_wait(tmp_path: Path) -> None:
    local = LocalStore(tmp_path)
    assert (
        MemoryStore().traits.concurrency,
        local.traits.concurrency,
        RemoteStore("memory://x").traits.concurrency,
    ) == (1, 1, 1)
    assert local.as_durable().traits.concurrency > 1
    assert RemoteStore("https://localhost/x.zarr").traits.concurrency > 1


BUILDING = """
import os, signal, sys, threading
import zarrds
from zarrds.engine import chunk_io
building, done = threading.Event(), threading.Event()
build_pipeline = chunk_io.build_pipeline

def slowly(*args):
    if threading.current_thread() is not threading.main_thread():
        building.set()
        done.wait(20)
    return build_pipeline(*args)

chunk_io.build_pipeline = slowly
other = threading.Thread(target=lambda: zarrds.open_array(sys.argv[1])[...])
other.start()
assert building.wait(20)
child = os.fork()
if child == 0:
    signal.alarm(5)
    os._exit(int(zarrds.open_array(sys.argv[1])[3]))
done.set()
other.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_while_another_thread_builds_its_codecs(tmp_path: Path) -> None:
    create_array(tmp_path, shape=9, dtype="i4", chunks=3)[...] = np.arange(9)
    assert int(run_python(BUILDING, str(tmp_path))) == 3


def test_threads_beyond_the_cores_are_bounded_by_the_size_of_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zarrds.engine.elements._IN_FLIGHT_NBYTES", 100)
    monkeypatch.setattr(executor, "n_cores", lambda: 1)
    store = SlowStore(tmp_path, 2)  # 25 integers of 4 bytes are all that may be worked on, so two chunks of ten
    create_array(store, shape=(40,), dtype="i4", chunks=(10,))[...] = 1
    assert len(store.threads) == 2
    store = SlowStore(tmp_path / "large", 2)
    store.barrier = threading.Barrier(1)
    create_array(store, shape=(40,), dtype="i4", chunks=(20,))[...] = 1
    assert len(store.threads) == 1


def test_staged_changes_of_a_durable_store_do_not_wait(tmp_path: Path) -> None:
    store = LocalStore(tmp_path).as_durable()
    changes = store.stage_changes()
    assert Overlay(store, changes).traits.concurrency == changes.traits.concurrency == 1
    store.discard(changes)
