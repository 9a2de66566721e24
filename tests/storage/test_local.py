from __future__ import annotations

import errno
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from zarrds.errors import InvalidKeyError, StoreIOError
from zarrds.stores import LocalStore
from zarrds.testing import StoreContract, run_together

PROJECT = Path(__file__).resolve().parents[2]


def run_python(code: str, *arguments: str, before: tuple[str, ...] = ()) -> str:
    """Run a script in a new process and return what it prints."""
    command = [*before, sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout


class TestLocalStore(StoreContract):
    def make(self, folder: Path) -> LocalStore:
        return LocalStore(folder / "t2m.zarr")


# what it is


def test_files_are_the_values(store: LocalStore, root: Path) -> None:
    store.set("t2m/c/0/0", b"ab", b"c")
    assert (root / "t2m/c/0/0").read_bytes() == b"abc"
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["0"]


def test_equality_is_of_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    stores = [LocalStore(path) for path in ("real", "link", tmp_path / "real", "./link/../real/")]
    assert len(set(stores)) == 1
    assert len({store.__dask_tokenize__() for store in stores}) == 1
    assert stores[0].__dask_tokenize__()[0] == "zarrds.LocalStore"
    assert LocalStore("other") != stores[0]
    assert LocalStore("real") != "real"
    assert repr(stores[0]) == "LocalStore('real')"


def test_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = LocalStore("a.zarr")
    store.set("k", b"v")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert store.get("k") == b"v"
    assert pickle.loads(pickle.dumps(store)).get("k") == b"v"
    assert pickle.loads(pickle.dumps(store)) == store


def test_mode_follows_the_umask(store: LocalStore, root: Path) -> None:
    old = os.umask(0o027)
    try:
        store.set("a/k", b"v")
        changes = store.stage_changes()
        changes.set("0/b/k", b"v")
        store.apply_changes(changes)
    finally:
        os.umask(old)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in root.rglob("*")} == {
        "a": "0o750",
        "b": "0o750",
        "k": "0o640",
    }


def test_long_and_odd_names(store: LocalStore) -> None:
    for key in ("k" * 255, "ü" * 127, "a/" + "温" * 85, ".hidden", "a b", "new\nline", "a/%2F", "~"):
        store.set(key, b"v")
        assert store.get(key) == b"v"
        assert key in list(store.list_prefix())
    with pytest.raises(StoreIOError, match="too long") as caught:
        store.set("k" * 256, b"v")
    assert caught.value.errno == errno.ENAMETOOLONG


def test_files_that_are_no_values(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.set("k", b"v")
    (root / "back\\slash").write_bytes(b"")
    with open(os.fsencode(root) + b"/not-utf-8-\xff", "wb"):
        pass
    os.mkfifo(root / "pipe")
    (root / "empty" / "folders").mkdir(parents=True)
    assert list(store.list_prefix()) == ["k"]
    assert store.list_children() == []
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(root)  # the names of sockets are short
        listening.bind("socket")
    for key in ("pipe", "socket"):
        for size in (None, 0, 8):  # reading a pipe must not wait for a writer
            buffer = None if size is None else memoryview(bytearray(size))
            for read in (store.get, partial(store.get_at_most, limit=5), partial(store.get_range, start=0, length=5)):
                with pytest.raises(
                    StoreIOError, match="a pipe, a socket or a device stands where a file must be"
                ) as caught:
                    read(key, buffer=buffer)
                assert caught.value.key == key
        assert store.identity(key) is None
    assert sorted(store.list_strange()) == [
        ("pipe", "a pipe, a socket or a device"),
        ("socket", "a pipe, a socket or a device"),
    ]
    store.set("pipe", b"v")
    assert store.get("pipe") == b"v"


# what the file system refuses


def test_parent_is_a_file(store: LocalStore, root: Path) -> None:
    store.set("a", b"v")
    for key in ("a/k", "a/b/k"):
        with pytest.raises(StoreIOError, match="a file stands where a folder must be") as caught:
            store.set(key, b"w")
        assert caught.value.errno == errno.ENOTDIR
        assert caught.value.key == key
        assert caught.value.path == str(root)
        assert isinstance(caught.value, OSError)
    assert store.get("a") == b"v"
    assert os.listdir(root) == ["a"]


def test_key_is_a_folder(store: LocalStore, root: Path) -> None:
    store.set("a/k", b"v")
    with pytest.raises(StoreIOError, match="a folder stands where a file must be") as caught:
        store.set("a", b"w")
    assert caught.value.errno == errno.EISDIR
    store.delete("a")
    assert list(store.list_prefix()) == ["a/k"]
    assert os.listdir(root) == ["a"]


def test_file_size_limit(tmp_path: Path) -> None:
    code = """
import os, resource, signal, sys
from zarrds.errors import StoreIOError
from zarrds.stores import LocalStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = LocalStore(sys.argv[1])
store.set("k", b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.set("k", b"n" * 60_000, b"n" * 60_000)
except StoreIOError as error:
    print(error.errno, store.get("k"), os.listdir(sys.argv[1]), error)
"""
    number, value, names, message = run_python(code, str(tmp_path)).split(" ", 3)
    assert (int(number), value, names) == (errno.EFBIG, "b'old'", "['k']")
    assert "larger than the limit" in message


def test_full_disk(tmp_path: Path) -> None:
    mount = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size=64k tmpfs {tmp_path} && exec "$@"', "sh")
    if shutil.which("unshare") is None or subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("this user cannot mount a small disk")
    code = """
import os, sys
from zarrds.errors import StoreIOError
from zarrds.stores import LocalStore
store = LocalStore(sys.argv[1])
store.set("k", b"old")
try:
    store.set("k", b"n" * 40_000, b"n" * 40_000)
except StoreIOError as error:
    print(error.errno, store.get("k"), os.listdir(sys.argv[1]), error)
"""
    number, value, names, message = run_python(code, str(tmp_path), before=mount).split(" ", 3)
    assert (int(number), value, names) == (errno.ENOSPC, "b'old'", "['k']")
    assert "cannot write: the disk is full" in message


def test_killed_while_overwriting(store: LocalStore, root: Path) -> None:
    code = """
import sys
from zarrds.stores import LocalStore
store = LocalStore(sys.argv[1])
values = [bytes([i]) * (4 << 20) for i in range(4)]
while True:
    for value in values:
        store.set("a/k", value[:1000], value[1000:])
        print("written", flush=True)
"""
    values = [bytes([i]) * (4 << 20) for i in range(4)]
    for pause in (0.0, 0.003, 0.011):
        with subprocess.Popen(
            [sys.executable, "-c", code, str(root)], cwd=PROJECT, stdout=subprocess.PIPE, bufsize=0
        ) as process:
            assert process.stdout is not None
            process.stdout.read(1)
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
        assert store.get("a/k") in values
        assert list(store.list_prefix()) == ["a/k"]
        assert store.list_children("a") == []


def test_no_descriptor_leaks_in_many_failures(store: LocalStore, root: Path, tmp_path: Path) -> None:
    store.set("a/k", b"v")
    (tmp_path / "outside").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "round").symlink_to("round")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    def fail() -> None:
        for _ in range(50):
            assert store.get("a") is None
            with pytest.raises(StoreIOError):
                store.set("a/k/l", b"")
            with pytest.raises(TypeError):
                store.set("a/k", "no bytes")  # type: ignore[arg-type]  # a mistake that must leave no file open
            with pytest.raises(InvalidKeyError):
                store.get("link")
            with pytest.raises(StoreIOError):
                store.get("round")
            next(store.list_prefix())

    run_together(fail, fail)
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before
    assert sorted(os.listdir(root)) == ["a", "link", "round"]
    assert os.listdir(root / "a") == ["k"]


def test_children_are_found_without_a_list_of_all_that_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    for i in range(300):
        store.set(f"a/0.{i}", b"chunk")
    store.set("b/c/d/0", b"chunk")
    (tmp_path / "empty/one").mkdir(parents=True)
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/.lock.zarrds-partial").touch()
    seen: list[str] = []
    scandir = os.scandir

    @contextmanager
    def counted(path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scandir(path) as entries:
            yield filter(lambda entry: seen.append(entry.name) is None, entries)

    monkeypatch.setattr(os, "scandir", counted)
    assert store.list_children() == ["a", "b"]
    assert sum(name.startswith("0.") for name in seen) == 1


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path / "s")
    store.set("a/b/c/key", b"1")
    scandir = os.scandir

    def refusing(folder: Any) -> Any:
        if os.fspath(folder).endswith("c"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    for look in (lambda: list(store.list_prefix()), lambda: store.list_children("a"), store.list_children):
        with pytest.raises(StoreIOError, match="cannot list: permission denied") as caught:
            look()
        assert caught.value.key == "a/b/c"
