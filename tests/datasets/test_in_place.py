"""What is written in place goes into the array that was opened, whatever comes in its place meanwhile."""

from __future__ import annotations

import io
import itertools
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.faults import watched
from tests.datasets.samples import Format, load
from zarrds.arrays.in_place import InPlace
from zarrds.errors import ConflictError, LockTimeoutError
from zarrds.storage.local.locking import holding

CHUNKS = {"v": {"chunks": (1,)}}
N = 6
OLD, MINE, NEW = 0.0, -1.0, 7.0
MANY = 40  # more than two batches


def filled(value: float, n: int = N) -> xr.Dataset:
    return xr.Dataset({"v": ("x", np.full(n, value))})


def whole(path: Any, n: int = N) -> None:
    zarrds.save(filled(NEW, n), path, mode="w", encoding=CHUNKS, durable=False)


def variable(path: Any, n: int = N) -> None:
    zarrds.save(filled(NEW, n), path, mode="a", durable=False)


def array(path: Any, n: int = N) -> None:
    group = zarrds.open_group(path, "r+")
    group.create_array("v", shape=n, dtype="f8", chunks=1, dimension_names=["x"], overwrite=True)[...] = NEW


def shorter(path: Any) -> None:
    zarrds.open_array(path, "r+", "v").resize(1)


def values(path: Any) -> set[float]:
    return set(np.unique(zarrds.open_array(path, path="v")[...]).tolist())


@pytest.fixture
def path(tmp_path: Path, zarr_format: Format) -> Path:
    zarrds.save(filled(OLD), tmp_path / "x.zarr", encoding=CHUNKS, zarr_format=zarr_format)
    return tmp_path / "x.zarr"


@pytest.mark.parametrize("replace", [whole, variable, array])
@pytest.mark.parametrize("in_memory", [False, True])
def test_between_two_chunks(path: Path, replace: Callable[[Any, int], None], in_memory: bool) -> None:
    place: Any = zarrds.MemoryStore() if in_memory else path
    zarrds.save(filled(OLD, MANY), place, mode="w", encoding=CHUNKS, durable=False)
    opened = zarrds.open_array(place, "r+", "v", workers=2)

    def progress(done: int, total: int) -> None:
        assert total == MANY
        if done and not told:
            assert done < MANY
            told.append(done)
            replace(place, MANY)

    told: list[int] = []

    with pytest.raises(ConflictError, match="replaced"):
        opened.write(slice(None), MINE, progress=progress)
    assert values(place) == {NEW}
    with pytest.raises(ConflictError):
        opened[0] = MINE
    assert values(place) == {NEW}


def test_cut_between_two_chunks(path: Path) -> None:
    zarrds.save(filled(OLD, MANY), path, mode="w", encoding=CHUNKS, durable=False)
    opened = zarrds.open_array(path, "r+", "v", workers=2)
    with pytest.raises(ConflictError, match="cut"):
        opened.write(slice(None), MINE, progress=lambda done, _: shorter(path) if done else None)
    zarrds.open_array(path, "r+", "v").resize(N)
    assert MINE not in zarrds.open_array(path, path="v")[1:].tolist()


def test_removed_between_two_chunks(path: Path) -> None:
    aside = path.parent / "aside"
    zarrds.save(filled(OLD, MANY), path, mode="w", encoding=CHUNKS, durable=False)
    opened = zarrds.open_array(path, "r+", "v", workers=2)
    with pytest.raises(ConflictError, match="removed"):
        opened.write(slice(None), MINE, progress=lambda done, _: path.rename(aside) if done and path.exists() else None)
    assert not path.exists()


@pytest.mark.one_in(9)
@pytest.mark.parametrize(
    ("what", "replace"),
    [
        ("chunk", whole),
        ("part", whole),
        ("region", whole),
        ("later", whole),
        ("chunk", variable),
        ("chunks", variable),
        ("part", variable),
        ("region", variable),
        ("later", variable),
        ("chunk", array),
    ],
)
def test_replaced_at_any_operation(tmp_path: Path, replace: Callable[[Any], None], what: str) -> None:
    place = tmp_path / "x.zarr"
    chunks = {"v": {"chunks": (4,)}} if what == "part" else CHUNKS

    def begin() -> Callable[[], object]:
        zarrds.save(filled(OLD), place, mode="w", encoding=chunks, durable=False)
        opened = zarrds.open_array(place, "r+", "v", workers=1)
        if what == "chunk":
            return lambda: opened.write(slice(2, 3), MINE)
        if what == "chunks":
            return lambda: opened.write(slice(None), MINE)
        if what == "part":
            return lambda: opened.write(slice(1, 3), MINE)
        if what == "region":
            part = filled(MINE).isel(x=slice(1, 3))
            return lambda: zarrds.save(part, place, region={"x": slice(1, 3)}, workers=1, durable=False)
        later = zarrds.save(filled(MINE).chunk(x=2), place, mode="a", compute=False, workers=1)
        return lambda: later.compute(scheduler="sync")

    def act() -> None:
        run = begin()
        try:
            with watched(str(tmp_path), strike):
                try:
                    run()
                finally:  # shutil.rmtree of Python 3.14 relies on one `os.lstat` from its beginning to its end
                    for other in others:
                        other.join(30)
            is_told = False
        except ConflictError:
            is_told = True
        assert not any(other.is_alive() for other in others)
        assert others or not is_told
        if others:
            found = zarrds.open_array(place, path="v")[...].tolist()
            is_later = what == "region" and not is_told and found == [NEW, MINE, MINE, NEW, NEW, NEW]
            assert set(found) == {NEW} or is_later, n

    others: list[threading.Thread] = []
    mine = threading.get_ident()

    def strike(operation: str, _: str) -> None:
        nonlocal left
        if threading.get_ident() != mine or operation in ("read", "readv", "close"):
            return
        if left == 0:
            other = threading.Thread(target=replace, args=(place,))
            others.append(other)
            other.start()
            other.join(0.03)  # it may have to wait for what goes on here
        left -= 1

    for n in itertools.count(step=2 if what == "later" else 1):  # a whole save, whose operations are many
        others.clear()
        left = n
        act()
        if not others:
            assert n > 1
            return


# a writer that falls asleep between its look at the array and the names of what it writes
SLEEPER = """
import sys, time
import zarrds
from zarrds.arrays.in_place import InPlace
path, what = sys.argv[1:]
array = zarrds.open_array(path, "r+", "v", workers=1)
check, looks = InPlace.check, []
def slow(self):
    check(self)
    looks.append(1)
    if len(looks) == 2:  # the first was at the beginning
        print("looked", flush=True)
        time.sleep(0.2)
InPlace.check = slow
try:
    array.write({"part": slice(1, 2), "chunks": slice(None)}[what], -1.0)
    print("written")
except zarrds.errors.ConflictError:
    print("told")
"""


@pytest.mark.parametrize("what", ["part", "chunks"])
def test_a_process_that_sleeps_between_look_and_name(tmp_path: Path, what: str) -> None:
    place = tmp_path / "x.zarr"
    encoding = {"v": {"chunks": (4,)}} if what == "part" else CHUNKS
    zarrds.save(filled(OLD, MANY), place, encoding=encoding, durable=False)
    command = [sys.executable, "-c", SLEEPER, str(place), what]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sleeper:
        assert sleeper.stdout is not None
        assert sleeper.stdout.readline() == "looked\n"
        variable(place, MANY)
        assert sleeper.stdout.read() in ("told\n", "written\n")  # which was before
    assert values(place) == {NEW}
    assert zarrds.verify(place).ok


def test_one_that_is_stopped_is_not_waited_for_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "_PATIENCE", 0.05)
    opened = zarrds.open_array(path, "r+", "v")
    values_in_place = InPlace(opened.store, opened.store, "v", opened.metadata)
    with values_in_place.hold():
        variable(path)
    assert values(path) == {NEW}


def test_changes_of_a_dead_writer_are_finished_before_anything_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer of the array that they replace would not see that they count already."""
    opened = zarrds.open_array(path, "r+", "v")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("zarrds.storage.local.changes._move", die)
        with pytest.raises(KeyboardInterrupt):
            variable(path)
    with pytest.raises(ConflictError, match="replaced"):
        opened[0] = MINE
    assert values(path) == {NEW}


def test_one_that_has_the_document_alone_is_not_waited_for_without_a_limit(path: Path, zarr_format: Format) -> None:
    fcntl = pytest.importorskip("fcntl")
    store = zarrds.LocalStore(path, lock_timeout=0.05)
    key = "v/zarr.json" if zarr_format == 3 else "v/.zarray"
    with open(path / key) as document:
        fcntl.flock(document, fcntl.LOCK_EX)
        with pytest.raises(LockTimeoutError, match="holds the lock") as caught:
            store.hold(key)
    assert caught.value.key == key
    with store.hold(key):
        pass


def test_a_forked_process_holds_nothing(path: Path) -> None:
    opened = zarrds.open_array(path, "r+", "v")
    with InPlace(opened.store, opened.store, "v", opened.metadata).hold() as held:
        assert isinstance(held, io.FileIO)
        holding._close_all()  # as in a child
        variable(path)  # without having to wait
    assert values(path) == {NEW}


def test_pickles(path: Path) -> None:
    opened = zarrds.open_array(path, "r+", "v")
    copy = pickle.loads(pickle.dumps(InPlace(opened.store, opened.store, "v", opened.metadata)))
    with copy:
        opened.elements.through(copy).write(slice(0, 2), MINE)
    assert opened[:3].tolist() == [MINE, MINE, OLD]
    whole(path)
    with pytest.raises(ConflictError):
        copy.check()


@pytest.mark.parametrize("what", ["region", "later"])
def test_dask_graphs(path: Path, what: str) -> None:
    def compute(block: np.ndarray[Any, Any], block_info: Any = None) -> np.ndarray[Any, Any]:
        if block_info and block_info[0]["chunk-location"] == (2,):
            whole(path)
        return block

    data = dask.array.full(N, MINE, chunks=1).map_blocks(compute, dtype="f8", meta=np.empty(0))
    ds = xr.Dataset({"v": ("x", data)})
    sync = {"scheduler": "sync"}
    if what == "region":
        with pytest.raises(ConflictError, match="replaced"):
            zarrds.save(ds, path, region={"x": slice(0, N)}, chunkmanager_store_kwargs=sync)
    else:
        later = zarrds.save(ds, path, mode="a", compute=False)
        with pytest.raises(ConflictError, match="replaced"):
            later.compute(**sync)
    assert set(load(path).v.values.tolist()) == {NEW}


@pytest.mark.parametrize("how", ["write", "save", "verify"])
def test_progress_is_told(path: Path, how: str) -> None:
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        told.append((done, total))

    if how == "write":
        zarrds.open_array(path, "r+", "v").write(slice(1, 5), MINE, progress=progress)
    elif how == "save":
        zarrds.save(filled(MINE), path, mode="w", progress=progress, encoding=CHUNKS)
    else:
        assert zarrds.verify(path, progress=progress).ok
    assert told[0][0] == 0
    assert told[-1] == ((4, 4) if how == "write" else (N, N))
    assert told == sorted(told)


def test_progress_that_fails_ends_the_write(path: Path) -> None:
    def progress(done: int, total: int) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        zarrds.open_array(path, "r+", "v").write(slice(None), MINE, progress=progress)
