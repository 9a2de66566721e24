from __future__ import annotations

import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stores.contract import StoreContract, run_together
from zarrds.errors import InvalidKeyError, StoreIOError
from zarrds.stores import LocalStore, files

PROJECT = Path(__file__).resolve().parents[2]


def run_python(code: str, *arguments: str, before: tuple[str, ...] = ()) -> str:
    """Run a script in a new process and return what it prints."""
    command = [*before, sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout


class TestLocalStore(StoreContract):
    def make(self, folder: Path) -> LocalStore:
        return LocalStore(folder / "t2m.zarr")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "t2m.zarr"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "sub").mkdir(parents=True)
    (folder / "k").write_bytes(b"secret")
    (folder / "sub" / "k").write_bytes(b"secret")
    return folder


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
        staged = store.stage("b")
        staged.set("k", b"v")
        store.publish(staged, "b")
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


def test_files_that_are_no_values(store: LocalStore, root: Path) -> None:
    store.set("k", b"v")
    (root / "back\\slash").write_bytes(b"")
    with open(os.fsencode(root) + b"/not-utf-8-\xff", "wb"):
        pass
    os.mkfifo(root / "pipe")
    (root / "empty" / "folders").mkdir(parents=True)
    assert list(store.list_prefix()) == ["k"]
    assert store.list_children() == []
    for size in (None, 0, 8):  # reading a pipe must not wait for a writer
        assert store.get("pipe", None if size is None else memoryview(bytearray(size))) is None
    assert store.identity("pipe") is None


# symbolic links


def assert_refused(store: LocalStore, key: str, target: Path) -> None:
    for call in (store.get, store.identity, lambda key: store.get(key, memoryview(bytearray(100)))):
        with pytest.raises(InvalidKeyError, match="leads out of the store") as caught:
            call(key)
        assert str(target) in str(caught.value)
        assert caught.value.path == store.path


def test_link_to_a_file_outside(store: LocalStore, root: Path, outside: Path) -> None:
    store.set("a/x", b"v")
    (root / "a" / "k").symlink_to(outside / "k")
    (root / "dangling").symlink_to(outside / "nothing")
    assert_refused(store, "a/k", outside / "k")
    assert_refused(store, "dangling", outside / "nothing")
    assert list(store.list_prefix()) == ["a/x"]
    store.set("a/k", b"mine")  # replaces the link
    assert store.get("a/k") == b"mine"
    store.set("dangling", b"mine")
    assert (outside / "k").read_bytes() == b"secret"
    assert not (outside / "nothing").exists()


@pytest.mark.parametrize("absolute", [True, False])
def test_link_to_a_folder_outside(store: LocalStore, root: Path, outside: Path, absolute: bool) -> None:
    store.set("a/x", b"v")
    (root / "a" / "link").symlink_to(outside if absolute else Path("../../outside"))
    (root / "dangling").symlink_to(outside / "new")
    before = sorted(outside.rglob("*"))
    assert_refused(store, "a/link/k", outside)
    assert_refused(store, "a/link/sub/k", outside)
    calls = [
        lambda key: store.set(f"{key}/k", b"v"),
        lambda key: store.set(f"{key}/deep/er/k", b"v"),
        lambda key: store.delete(f"{key}/k"),
        store.delete_prefix,
        lambda key: store.delete_prefix(f"{key}/sub"),
        store.list_prefix,
        store.list_children,
        store.stage,
        lambda key: store.stage(f"{key}/sub"),
    ]
    for call in calls:
        for key in ("a/link", "dangling"):
            with pytest.raises(InvalidKeyError, match="leads out of the store"):
                call(key)
    assert list(store.list_prefix()) == ["a/x"]
    assert store.list_children() == ["a"]
    assert store.list_children("a") == []
    store.delete_prefix("a")
    assert sorted(outside.rglob("*")) == before
    assert (outside / "k").read_bytes() == (outside / "sub" / "k").read_bytes() == b"secret"


def test_delete_everything_leaves_what_links_lead_to(store: LocalStore, root: Path, outside: Path) -> None:
    store.set("a/x", b"v")
    (root / "link").symlink_to(outside)
    (root / "a" / "link").symlink_to(outside)
    store.delete_prefix("")
    assert os.listdir(root) == []
    assert (outside / "sub" / "k").read_bytes() == b"secret"


def test_published_over_a_link(store: LocalStore, root: Path) -> None:
    store.set("real/k", b"kept")
    (root / "link").symlink_to("real")
    staged = store.stage("link")
    staged.set("l", b"v")
    store.publish(staged, "link")
    assert {key: store.get(key) for key in store.list_prefix()} == {"real/k": b"kept", "link/l": b"v"}
    assert sorted(os.listdir(root)) == ["link", "real"]


def test_link_in_place_of_a_folder(store: LocalStore, root: Path, outside: Path) -> None:
    for key in ("a/sub/k", "b/sub/k"):
        store.set(key, b"v")
    for name in ("a", "b"):  # somebody else takes the folders away, and this store learns of it
        shutil.rmtree(root / name)
    assert store.get("a/sub/k") is None
    assert store.identity("b/sub/k") is None
    for name in ("a", "b"):
        (root / name).symlink_to(outside)
        assert_refused(store, f"{name}/sub/k", outside)
        with pytest.raises(InvalidKeyError):
            store.set(f"{name}/sub/k", b"v")
    assert (outside / "sub" / "k").read_bytes() == b"secret"


@pytest.mark.parametrize("remove", ["delete_prefix", "publish"])
def test_link_in_place_of_a_folder_removed_by_the_store(
    store: LocalStore, root: Path, outside: Path, remove: str
) -> None:
    store.set("a/sub/k", b"v")
    if remove == "publish":
        store.publish(store.stage("a"), "a")
        (root / "a").rmdir()
    else:
        store.delete_prefix("a")
    (root / "a").symlink_to(outside)
    assert_refused(store, "a/sub/k", outside)


def test_links_inside_are_followed(store: LocalStore, root: Path) -> None:
    store.set("v1/deep/k", b"v")
    (root / "latest").symlink_to("v1")
    (root / "nested").mkdir()
    (root / "nested" / "d").symlink_to("../latest/deep")
    (root / "file").symlink_to(root / "latest" / "deep" / "k")
    (root / "dangling").symlink_to("nothing")
    for key in ("latest/deep/k", "nested/d/k", "file"):
        assert store.get(key) == b"v"
        assert store.get(key, memoryview(bytearray(8))) == b"v"
        assert store.identity(key) == store.identity("v1/deep/k")
    assert store.get("dangling") is None
    assert set(store.list_prefix()) == {"v1/deep/k", "latest/deep/k", "nested/d/k", "file"}
    assert store.list_children() == ["latest", "nested", "v1"]
    store.set("nested/d/new", b"w")
    assert store.get("v1/deep/new") == b"w"
    store.delete_prefix("latest")
    assert set(store.list_prefix()) == {"v1/deep/k", "v1/deep/new"}


def test_root_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    store = LocalStore(tmp_path / "link")
    store.set("a/k", b"v")
    assert (tmp_path / "real" / "a" / "k").read_bytes() == b"v"
    assert store.get("a/k") == b"v"
    assert list(store.list_prefix()) == ["a/k"]
    staged = store.stage()
    staged.set("b", b"w")
    store.publish(staged)
    assert (tmp_path / "link").is_symlink()
    assert os.listdir(tmp_path / "real") == ["b"]
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


def test_root_that_becomes_a_link(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "a").symlink_to("b")
    store.set("x/k", b"v")
    (tmp_path / "b" / "l").symlink_to("x/k")
    assert store.get("l") == b"v"
    assert set(store.list_prefix()) == {"x/k", "l"}


def test_links_in_a_circle(store: LocalStore, root: Path) -> None:
    store.set("a/k", b"v")
    store.set("b/k", b"v")
    (root / "a" / "self").symlink_to(".")
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "b").symlink_to("../b")
    (root / "b" / "a").symlink_to("../a")
    (root / "round").symlink_to("round")
    assert set(store.list_prefix()) == {"a/k", "b/k", "a/b/k", "b/a/k"}
    assert set(store.list_prefix("a")) == {"a/k", "a/b/k"}
    assert store.list_children() == ["a", "b"]
    assert store.list_children("a") == ["b"]
    assert store.list_children("a/b") == []
    assert store.get("a/self/self/k") == b"v"
    for key in ("round", "round/k"):
        with pytest.raises(StoreIOError, match="circle") as caught:
            store.get(key)
        assert caught.value.errno == errno.ELOOP


def test_listing_many_crossing_links_ends(store: LocalStore, root: Path) -> None:
    for i in range(9):
        store.set(f"d{i}/k", b"v")
        for j in range(9):
            (root / f"d{i}" / f"l{j}").symlink_to(f"../d{j}")
    keys = list(store.list_prefix())
    assert len(keys) == len(set(keys)) < 10_000
    assert {f"d{i}/k" for i in range(9)} | {"d0/l1/k"} <= set(keys)


# unfinished files and folders


def test_unfinished_is_invisible(store: LocalStore, root: Path) -> None:
    store.set("a/k", b"v")
    file, folder = (os.path.relpath(files.partial(str(root / "a" / name)), root) for name in ("k", "g"))
    (root / file).write_bytes(b"half")
    (root / folder).mkdir()
    (root / folder / "k").write_bytes(b"half")
    for key in (file, f"{folder}/k"):
        assert store.get(key) is None
        assert store.identity(key) is None
        store.delete(key)
        with pytest.raises(InvalidKeyError, match="unfinished"):
            store.set(key, b"v")
    assert list(store.list_prefix()) == ["a/k"]
    assert list(store.list_prefix(folder)) == []
    assert store.list_children("a") == store.list_children(folder) == []
    store.delete_prefix(folder)
    assert (root / folder / "k").read_bytes() == b"half"
    with pytest.raises(InvalidKeyError, match="unfinished"):
        store.stage(folder)


def test_staged_beside_its_place(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "new" / "deep" / "t2m.zarr")
    staged = store.stage()
    staged.set("k", b"v")
    (name,) = os.listdir(tmp_path / "new" / "deep")
    assert files.is_partial(name)
    assert name.startswith(".t2m.zarr.")
    store.publish(staged)
    assert os.listdir(tmp_path / "new" / "deep") == ["t2m.zarr"]
    with pytest.raises(StoreIOError):  # what comes too late is not written anywhere
        staged.set("k", b"late")
    assert os.listdir(tmp_path / "new" / "deep") == ["t2m.zarr"]


def test_an_empty_stage_becomes_an_empty_folder(store: LocalStore, root: Path) -> None:
    store.publish(store.stage())
    assert os.listdir(root) == []


@pytest.mark.parametrize("exchange", [True, False])
def test_publish_leaves_nothing_behind(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:  # as on file systems that cannot
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    store.set("a/old", b"v")
    for prefix in ("a", ""):
        staged = store.stage(prefix)
        staged.set("new", b"v")
        store.publish(staged, prefix)
        assert list(store.list_prefix(prefix)) == [f"{prefix}/new" if prefix else "new"]
    assert os.listdir(root) == ["new"]
    assert os.listdir(root.parent) == ["t2m.zarr"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux exchanges folders")
def test_folders_are_exchanged(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert files._exchange(str(tmp_path / "a"), str(tmp_path / "b"))
    assert os.listdir(tmp_path / "a") == ["b"]
    with pytest.raises(FileNotFoundError):
        files._exchange(str(tmp_path / "a"), str(tmp_path / "c"))


def test_failed_publish_leaves_the_old(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.set("a/old", b"v")
    staged = store.stage("a")
    staged.set("new", b"v")
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    rename, calls = os.rename, []

    def fail_third(one: str, other: str) -> None:
        calls.append(one)
        if len(calls) == 3:  # the old folder is aside, the new one not yet in its place
            raise OSError(errno.EIO, "Input/output error", one)
        rename(one, other)

    monkeypatch.setattr(os, "rename", fail_third)
    with pytest.raises(StoreIOError, match="Input/output error") as caught:
        store.publish(staged, "a")
    assert caught.value.errno == errno.EIO
    assert len(calls) == 4
    assert list(store.list_prefix()) == ["a/old"]
    store.discard(staged)
    assert os.listdir(root) == ["a"]


def test_publish_what_is_gone(store: LocalStore) -> None:
    store.set("a/old", b"v")
    staged = store.stage("a")
    store.discard(staged)
    with pytest.raises(StoreIOError, match="cannot publish"):
        store.publish(staged, "a")
    assert store.get("a/old") == b"v"


def test_publish_over_a_file(store: LocalStore) -> None:
    store.set("a", b"v")
    staged = store.stage("a")
    with pytest.raises(StoreIOError, match="a file stands where a folder must be"):
        store.publish(staged, "a")
    assert store.get("a") == b"v"


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


def test_no_descriptor_leaks_in_many_failures(store: LocalStore, root: Path, outside: Path) -> None:
    store.set("a/k", b"v")
    (root / "link").symlink_to(outside / "k")
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


def test_a_staged_file_that_cannot_be_written_is_not_left(tmp_path: Path) -> None:
    """Files of a stage are written where they are to be; what fails must not stand there half."""
    staged = LocalStore(tmp_path / "x.zarr").stage()
    staged.set("a", b"whole")
    with pytest.raises(BufferError):
        staged.set("a", b"part", memoryview(bytearray(16))[::2])
    assert staged.get("a") is None
    assert list(staged.list_prefix()) == []
