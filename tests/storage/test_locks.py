"""Locks between processes."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from zarrds.errors import StoreIOError
from zarrds.storage.local.locking import lock_files
from zarrds.stores import LocalStore
from zarrds.testing import run_together

PROJECT = Path(__file__).resolve().parents[2]
BEGIN = """
import os, sys
from zarrds.stores import LocalStore
store = LocalStore(sys.argv[1])
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BEGIN + code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")


HOLD = """
with store.lock(*sys.argv[2:]):
    print("held", flush=True)
    sys.stdin.readline()
print("free", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def store(root: Path) -> LocalStore:
    store = LocalStore(root)
    store.set("k", b"0")
    return store


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("keys", [(), ("k",)])
def test_eight_processes_count(store: LocalStore, root: Path, keys: tuple[str, ...]) -> None:
    code = """
children = []
for _ in range(8):
    pid = os.fork()
    if not pid:
        for _ in range(25):
            with store.lock(*sys.argv[2:]):
                store.set("k", b"%d" % (int(store.get("k")) + 1))
        os._exit(0)
    children.append(pid)
print([os.waitpid(pid, 0)[1] for pid in children])
"""
    with start(code, root, *keys) as process:
        assert line(process) == str([0] * 8)
    assert store.get("k") == b"200"
    assert os.listdir(root) == ["k"]


@pytest.mark.parametrize("keys", [(), ("a/k", "b")])
def test_held_by_another_process(store: LocalStore, root: Path, keys: tuple[str, ...]) -> None:
    order = []
    with start(HOLD, root, *keys) as process:
        assert line(process) == "held"
        assert len(os.listdir(root)) == 1 + max(1, len(keys))

        def take() -> None:
            with store.lock(*keys[::-1]):
                order.append("taken")

        def release() -> None:
            threading.Event().wait(0.05)
            order.append("released")
            go_on(process)

        run_together(take, release)
        go_on(process)
    assert order == ["released", "taken"]
    assert os.listdir(root) == ["k"]


def test_other_keys_and_the_store_are_free(store: LocalStore, root: Path) -> None:
    with start(HOLD, root, "a/k") as process:
        assert line(process) == "held"
        with store.lock(), store.lock("b"), store.lock("c", "d"):
            pass
        go_on(process)
        go_on(process)
    assert os.listdir(root) == ["k"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_holder_lets_go(store: LocalStore, root: Path) -> None:
    for keys in ((), ("a/k",)):
        with start(HOLD, root, *keys) as process:
            assert line(process) == "held"
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert len(os.listdir(root)) == 2
        with store.lock(*keys):
            pass
        assert os.listdir(root) == ["k"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_lock_files_of_the_dead_are_cleaned(store: LocalStore, root: Path) -> None:
    with start(HOLD, root, "a/k", "b", "c") as process, start(HOLD, root) as living:
        assert line(process) == line(living) == "held"
        names = {name for name in os.listdir(root) if name.startswith(".lock-")}
        assert len(names) == 3
        with store.lock("other"):
            assert store.clean() == []
        process.send_signal(signal.SIGKILL)
        process.wait()
        with store.lock("other"):
            assert set(store.clean()) == names  # neither the living one's nor our own
        go_on(living)
        go_on(living)
    assert os.listdir(root) == ["k"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_does_not_hold_the_lock(store: LocalStore, root: Path) -> None:
    code = """
import threading
def other():
    with store.lock("x"):
        started.set()
        threading.Event().wait(60)
started = threading.Event()
threading.Thread(target=other, daemon=True).start()
started.wait()
ready, go = os.pipe(), os.pipe()
with store.lock("k"):
    pid = os.fork()
    if not pid:
        # neither this nor leaving the block touches the parent's lock
        with store._own_locks().hold(timeout=0), store.lock("y"):
            pass
        os.write(ready[1], b"1")
        os.read(go[0], 1)
    else:
        os.read(ready[0], 1)
        print(sorted(os.listdir(sys.argv[1])), flush=True)
if pid:
    os.write(go[1], b"1")
    print(os.waitpid(pid, 0)[1], flush=True)
else:
    # the lock of the parent's other thread was held when this process was forked
    print("child", sorted(os.listdir(sys.argv[1])), flush=True)
os._exit(0)
"""
    with start(code, root) as process:
        names = line(process)
        assert names.count(".lock-") == 2
        said = {line(process), line(process)}
    assert "0" in said
    store.clean()
    assert os.listdir(root) == ["k"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_waits_for_its_parent(store: LocalStore, root: Path) -> None:
    code = """
with store.lock():
    pid = os.fork()
    if not pid:
        with store.lock():
            print(store.get("k"), flush=True)
        os._exit(0)
    import time
    time.sleep(0.05)
    store.set("k", b"set by the parent")
os.waitpid(pid, 0)
"""
    with start(code, root) as process:
        assert line(process) == "b'set by the parent'"
    assert os.listdir(root) == ["k"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_that_outlives_its_killed_parent_holds_nothing(store: LocalStore, root: Path) -> None:
    code = """
with store.lock():
    changes = store.stage_changes()
    if not os.fork():
        print(os.getpid(), flush=True)
        sys.stdin.readline()
        os._exit(0)
    os.kill(os.getpid(), 9)
"""
    with start(code, root) as process:
        line(process)
        with store.lock():
            pass
        assert len(store.clean()) == 1
        assert os.listdir(root) == ["k"]
        go_on(process)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")
def test_a_file_system_that_cannot_lock_files(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Lustre may be mounted: that there is a file then is the lock."""
    import fcntl

    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    for _ in range(2):
        with store.lock("a"):
            (name,) = (name for name in os.listdir(root) if name != "k")
            assert str(os.getpid()) in (root / name).read_text()
            other = lock_files.LockFile(str(root), name)
            assert not other.take(wait=False)
        assert os.listdir(root) == ["k"]
    assert other.take(wait=False)
    other.drop()
    assert os.listdir(root) == ["k"]


def test_waiting_for_the_lock_of_a_store_that_is_replaced(store: LocalStore, root: Path) -> None:
    """The lock file goes with the old folder: who waits then waits for, or gets, the new one's."""
    with start(HOLD, root) as process:
        assert line(process) == "held"
        taken = threading.Event()

        def take() -> None:
            with store.lock():
                assert len(os.listdir(root)) == 2
                taken.set()

        def replace() -> None:
            staged = store.stage()
            staged.set("new", b"v")
            store.publish(staged)
            assert taken.wait(10)

        run_together(take, replace)
        with store.lock():
            go_on(process)
            assert line(process) == "free"
            assert len(os.listdir(root)) == 2  # it did not remove a lock file that is not its own
        go_on(process)
    assert os.listdir(root) == ["new"]


def test_a_lock_file_that_is_removed_while_another_one_opens_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without a name would keep nobody out."""
    holder, waiter, third = (lock_files.LockFile(str(root), "lock") for _ in range(3))
    open_file = lock_files.LockFile._opened
    assert holder.take()

    def open_late(file: lock_files.LockFile, *args: Any) -> io.IOBase:
        opened = open_file(file, *args)
        monkeypatch.undo()
        holder.drop()
        return opened

    monkeypatch.setattr(lock_files.LockFile, "_opened", open_late)
    assert waiter.take()
    assert not third.take(wait=False)
    waiter.drop()
    assert third.take(wait=False)
    third.drop()
    assert not root.exists()


def test_a_store_that_is_replaced_while_it_is_locked(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the lock file is in the folder that is gone, and would keep nobody out."""
    open_file, replaced = lock_files.LockFile._opened, []

    def replace_after_the_first(file: lock_files.LockFile, *args: Any) -> io.IOBase:
        opened = open_file(file, *args)
        if not replaced:
            replaced.append(True)
            root.rename(root.parent / "old")
            root.mkdir()
        return opened

    monkeypatch.setattr(lock_files.LockFile, "_opened", replace_after_the_first)
    with store.lock():
        assert len(os.listdir(root)) == 1
    assert os.listdir(root) == []


def test_the_lock_of_a_store_that_is_not_there(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "new" / "t2m.zarr")
    with store.lock(), store.lock("k"):
        assert len(os.listdir(tmp_path / "new" / "t2m.zarr")) == 2
    assert os.listdir(tmp_path / "new") == []
    with store.lock():
        staged = store.stage()
        staged.set("k", b"v")
        store.publish(staged, replace=False)  # nothing was there but our lock
    assert os.listdir(tmp_path / "new") == ["t2m.zarr"]
    assert os.listdir(tmp_path / "new" / "t2m.zarr") == ["k"]
    with store.lock():
        store.publish(store.stage())
    assert os.listdir(tmp_path / "new" / "t2m.zarr") == []


def test_stores_of_one_place_share_their_locks(store: LocalStore, root: Path) -> None:
    (root.parent / "link").symlink_to("t2m.zarr")
    with store.lock(), LocalStore(root.parent / "link").lock(), store.as_durable().lock():
        pass  # one thread may take them again and again


def test_a_staged_store_keeps_no_lock_files(store: LocalStore) -> None:
    # workers of one save may write parts of one chunk into it, so it locks between processes too
    for staged in (store.stage(), store.stage_changes()):
        before = set(Path(staged._root).iterdir())
        with staged.lock(), staged.lock("0/k"):
            pass
        assert set(Path(staged._root).iterdir()) == before
        store.discard(staged)


def test_a_store_that_cannot_be_locked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreIOError, match="cannot lock") as caught, LocalStore(tmp_path / "file").lock("k"):
        raise AssertionError("locked")
    assert caught.value.errno == errno.ENOTDIR
    assert caught.value.key == "k"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
def test_mode_of_lock_files_follows_the_umask(store: LocalStore, root: Path) -> None:
    old = os.umask(0o007)
    try:
        with store.lock():
            (name,) = root.glob(".lock*")
            assert oct(name.stat().st_mode & 0o777) == "0o660"
    finally:
        os.umask(old)


def test_a_lock_file_that_is_being_opened_may_have_no_name_yet(root: Path) -> None:
    """It gets one after its descriptor; another thread that looks in between sees it without."""
    lock = lock_files.LockFile(str(root), "lock")
    assert lock.take()
    del lock.held.name  # type: ignore[union-attr]  # that of io.FileIO
    assert lock_files.in_use(str(root / "lock"))
    assert not lock_files.in_use(str(root / "other"))
    lock.drop()
