"""An exception that arrives anywhere, as KeyboardInterrupt does, leaves no lock held."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import filelock
import pytest

import zarrds
from zarrds.errors import LockTimeoutError
from zarrds.metadata.nodes.locking import locked
from zarrds.storage.local import staging
from zarrds.storage.local.locking import lock_files
from zarrds.stores import LocalStore, MemoryStore, RemoteStore, Store

# what is closed by the collector may be interrupted there, where nobody can be told
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

FILELOCK = str(Path(filelock.__file__).parent)
FOLDERS = tuple(str(Path(zarrds.__file__).parent / name) for name in ("storage", "metadata", "arrays", "engine"))


@pytest.fixture(autouse=True)
def nothing_is_left_to_the_collector() -> Iterator[None]:
    """What an interrupt left open is closed here, not in another test that the collector happens to run in."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _caller(frame: FrameType) -> str:
    return "" if frame.f_back is None else frame.f_back.f_code.co_filename


class Interruption:
    """Raises KeyboardInterrupt at the n-th function entry or line of zarrds, or of contextlib."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        name = frame.f_code.co_filename
        # filelock's own calls of it are not ours: before 4.1, one that is interrupted there keeps its file
        is_ours = name == contextlib.__file__ and not _caller(frame).startswith(FILELOCK)
        if not (name.startswith(FOLDERS) or is_ours):
            return None
        if event in ("call", "line"):
            self.left -= 1
            if self.left == -1:
                raise KeyboardInterrupt
        return self


def interrupted(act: Callable[[], None], at: int) -> tuple[bool, BaseException | None]:
    """Act, and be interrupted; whether it was, and the exception, whose traceback holds all that was there."""
    interruption = Interruption(at)
    sys.settrace(interruption)
    try:
        act()
    except BaseException as exc:
        sys.settrace(None)
        if not isinstance(exc, KeyboardInterrupt):
            raise
        return True, exc
    finally:
        sys.settrace(None)
    return interruption.left < 0, None


def is_free(store: Store) -> bool:
    """Whether nobody holds a lock: as another thread would find out, and another process."""
    locks = store._own_locks() if isinstance(store, LocalStore) else store._locks  # type: ignore[attr-defined]
    for stripe in locks._stripes.values():
        turn = stripe._turn
        while (after := turn.__dict__.get("next")) is not None:
            turn = after
        if not turn.is_over():
            return False
    if isinstance(store, LocalStore) and os.path.isdir(store.root):
        for name in os.listdir(store.root):
            if name.startswith(".lock"):
                file = lock_files.LockFile(store.root, name)
                if not file.take(wait=False):
                    return False
                file.drop(keep=True)
    return True


def holding(*keys: str) -> Callable[[Store], None]:
    def act(store: Store) -> None:
        with store.lock(*keys):
            store.get("k")

    return act


def again(store: Store) -> None:
    with store.lock(), store.lock("k"), store.lock("k", "l", "m"), store.lock():
        pass


def documents(store: Store) -> None:
    with locked(store):
        pass


def changes(store: Store) -> None:
    staged = store.stage_changes()
    try:
        staged.set("0/k", b"v")
        with locked(store):
            store.apply_changes(staged)
    finally:
        store.discard(staged)


ACTS: dict[str, Callable[[Store], None]] = {
    "store": holding(),
    "key": holding("k"),
    "keys": holding(*(f"k{i}" for i in range(5))),
    "again": again,
    "documents": documents,
    "changes": changes,
}
STORES: dict[str, Callable[[Path], Store]] = {
    "local": lambda folder: LocalStore(folder / "x.zarr"),
    "missing": lambda folder: LocalStore(folder / "new" / "x.zarr"),
    "memory": lambda folder: MemoryStore(),
    "remote": lambda folder: RemoteStore(f"memory://interrupted/{folder.name}"),
}


@pytest.mark.one_in(12)
@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("kind", STORES)
def test_interrupted_anywhere(kind: str, name: str, tmp_path: Path) -> None:
    store = STORES[kind](tmp_path)
    if kind != "missing":
        store.set("k", b"v")
    kept = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # what was not yet locked may be closed by the collector
        for at in range(0, 100_000, 7 if name == "changes" else 1):
            was, error = interrupted(lambda: ACTS[name](store), at)
            kept.append(error)
            assert is_free(store), at
            if not was:
                break
        kept.clear()
    assert at > 10
    taken: list[bool] = []

    def take() -> None:
        with store.lock(), store.lock("k"):
            taken.append(True)

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    assert taken
    # what a living process staged is left alone until it ends
    for hidden in list(staging._owned):
        staging.remove(hidden)
    if kind == "local":
        store.clean()
        assert os.listdir(tmp_path / "x.zarr") == ["k"]


def test_interrupted_where_files_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    fcntl = pytest.importorskip("fcntl")

    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    store = LocalStore(tmp_path / "x.zarr")
    store.set("k", b"v")
    for at in range(100_000):
        was, _ = interrupted(lambda: holding("k")(store), at)
        for path in (tmp_path / "x.zarr").glob(".lock*"):
            assert path.stat().st_size == 0, at  # nobody's, as is found after some seconds
            os.utime(path, (0, 0))
            assert not lock_files.LockFile(*os.path.split(path)).take(wait=False)
        assert is_free(store), at
        if not was:
            break
    assert os.listdir(tmp_path / "x.zarr") == ["k"]


def test_interrupted_while_a_lock_is_taken_or_let_go(tmp_path: Path) -> None:
    """The file of the lock goes too, except where letting go is interrupted before it begins."""
    file = lock_files.LockFile(str(tmp_path), "x.lock")

    def take_and_let_go() -> None:
        file.take()
        file.drop()

    left: list[str] = []
    for at in range(1000):
        was = interrupted(take_and_let_go, at)[0]  # its traceback would keep the file
        if not was:
            break
        file.drop()  # which may have been interrupted before it began
        left += os.listdir(tmp_path)
        assert file.take(wait=False)
        file.drop()
    assert at > 20
    assert not os.listdir(tmp_path)
    assert left == ["x.lock"] * 2  # at the entry of `flush`


@pytest.mark.one_in(9)
@pytest.mark.parametrize("name", ["attributes", "array", "append"])
def test_interrupted_writes(name: str, tmp_path: Path) -> None:
    """Whatever part of zarrds is on the way."""
    store = LocalStore(tmp_path / "x.zarr")
    array = zarrds.create_array(store, shape=(4,), chunks=(4,), dtype="i4", workers=1)

    def act() -> None:
        if name == "attributes":
            array.attrs["n"] = 1
        elif name == "array":
            array[1:2] = 5
        else:
            zarrds.open_array(store, "r+", workers=1).append([1])

    for at in range(0, 100_000, 17):
        was, _ = interrupted(act, at)
        assert is_free(store), at
        if not was:
            break
    assert zarrds.verify(store).ok


def test_who_waits_is_told_for_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_files, "_TELL", 0.02)
    store = LocalStore(tmp_path / "x.zarr")
    told: list[str] = []

    def wait() -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with store.lock():
                told.extend(str(each.message) for each in caught)

    with store.lock():
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.3)
    thread.join()
    assert len(told) == 1
    assert f"process {os.getpid()} on host " in told[0]
    assert str(tmp_path / "x.zarr") in told[0]


@pytest.mark.parametrize("keys", [(), ("k",)])
def test_time_limit(tmp_path: Path, keys: tuple[str, ...]) -> None:
    store = LocalStore(tmp_path / "x.zarr", lock_timeout=0.05)
    failed: list[LockTimeoutError] = []

    def wait() -> None:
        try:
            with store.as_durable().lock(*keys):
                raise AssertionError("locked")
        except LockTimeoutError as error:
            failed.append(error)

    with store.lock(*keys):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
    assert f"process {os.getpid()} on host " in str(failed[0])
    assert "0.05 seconds" in str(failed[0])
    assert failed[0].path == store.path
    with store.lock(*keys):
        pass


def test_staged_folders_of_interrupted_writers_can_be_removed(tmp_path: Path) -> None:
    root = str(tmp_path / "x.zarr")
    os.mkdir(root)

    def act() -> None:
        staging.remove(staging.make_inside(root))

    for at in range(1000):
        was, error = interrupted(act, at)
        del error
        for hidden in list(staging._owned):
            staging.remove(hidden)
        staging.clean(root)
        assert os.listdir(root) == [], at
        if not was:
            break
