"""What a directory store stages, where it does that, and how it puts it in place."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.storage.another_user import NOBODY, as_nobody, only_root
from tests.storage.test_local import run_python
from zarrds.errors import InvalidKeyError, StoreIOError
from zarrds.storage.local import files, folders, leftovers, staging
from zarrds.storage.local.locking.lock_files import LockFile
from zarrds.stores import LocalStore


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


def test_staged_beside_its_place(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "new" / "deep" / "t2m.zarr")
    staged = store.stage()
    staged.set("k", b"v")
    lock, name = sorted(os.listdir(tmp_path / "new" / "deep"), key=len, reverse=True)
    assert files.is_partial(name)
    assert name.startswith(".t2m.zarr.")
    assert lock == name.replace(files.PARTIAL, f".lock{files.PARTIAL}")
    store.publish(staged)
    assert os.listdir(tmp_path / "new" / "deep") == ["t2m.zarr"]
    with pytest.raises(StoreIOError):  # what comes too late is not written anywhere
        staged.set("k", b"late")
    assert os.listdir(tmp_path / "new" / "deep") == ["t2m.zarr"]


@pytest.mark.parametrize("end", ["publish", "apply_changes", "discard"])
def test_what_comes_too_late_is_written_nowhere(store: LocalStore, root: Path, end: str) -> None:
    staged = store.stage() if end == "publish" else store.stage_changes()
    staged.set("0/k", b"v")
    getattr(store, end)(staged)
    before = sorted(root.parent.rglob("*"))
    for key in ("0/l", "0/n/e/w", "l"):
        with pytest.raises(StoreIOError):
            staged.set(key, b"late")
    assert sorted(root.parent.rglob("*")) == before


def test_ended_by_another_process(tmp_path: Path, store: LocalStore, root: Path) -> None:
    """Only the process that staged a store can remove the lock file; it does so when it is told that this is over."""
    store.set("k", b"v")
    for end in ("publish(staged)", "apply_changes(staged)", "discard(staged)"):
        staged = store.stage() if "publish" in end else store.stage_changes()
        staged.set("0/k", b"v")
        code = f"""
import pickle, sys
staged, store = pickle.loads(bytes.fromhex(sys.argv[1]))
store.{end}
"""
        run_python(code, pickle.dumps((staged, store)).hex())
        assert store.clean() == []
        store.discard(staged)
        assert os.listdir(tmp_path) == ["t2m.zarr"]
        assert set(os.listdir(root)) <= {"0", "k"}


def test_a_dead_swap_is_finished_by_clean_too(tmp_path: Path, store: LocalStore) -> None:
    """Where folders cannot be exchanged, a process can die when the old store is aside and the new one not there."""
    store.set("old", b"v")
    for finish in (store.clean, store.recover):
        staged = store.stage()
        staged.set("new", b"v")
        (lock,) = (name for name in os.listdir(tmp_path) if ".lock." in name)
        os.rename(store._root, str(tmp_path / lock).replace(".lock.", ".old."))
        staging._owned.pop(staged._root).drop()
        (tmp_path / lock).touch()  # as if this process were dead
        assert list(store.list_prefix()) == []
        finish()
        assert list(store.list_prefix()) == ["new"]
        store.clean()
        assert os.listdir(tmp_path) == ["t2m.zarr"]


def test_clean_takes_what_belongs_to_this_store(tmp_path: Path) -> None:
    token = "0123456789abcdef" * 2
    kept = [
        f".other.zarr.{token}.lock{files.PARTIAL}",
        f".x.zarr.lock{files.PARTIAL}",
        f".x.zarr.{token}{files.PARTIAL}",  # without a lock file, nobody knows whose it is
        f".x.zarr.{token}1.lock",
        f".xyzarr.{token}1.lock{files.PARTIAL}",
        f".x.zarr.old.{token}.lock{files.PARTIAL}",
    ]
    for name in kept:
        (tmp_path / name).touch()
    dead = f".x.zarr.{token}2"
    (tmp_path / f"{dead}.lock{files.PARTIAL}").touch()
    (tmp_path / f"{dead}{files.PARTIAL}").mkdir()
    (tmp_path / f"{dead}{files.PARTIAL}" / "k").touch()
    store = LocalStore(tmp_path / "x.zarr")
    store.set("k", b"v")
    inside = f".{token}"
    (tmp_path / "x.zarr" / f"{inside}.lock{files.PARTIAL}").touch()
    (tmp_path / "x.zarr" / f"{inside}{files.PARTIAL}").mkdir()
    (tmp_path / "x.zarr" / f".lock-01{files.PARTIAL}").touch()
    assert set(store.clean()) == {
        f"{dead}{files.PARTIAL}",
        f"{inside}{files.PARTIAL}",
        f".lock-01{files.PARTIAL}",
    }
    assert set(os.listdir(tmp_path)) == {"x.zarr", *kept}
    assert os.listdir(tmp_path / "x.zarr") == ["k"]


def test_a_store_that_is_replaced_while_something_is_staged(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock file then went with the old folder: without one, nobody could clean up after this process."""
    store.set("k", b"v")
    own, replaced = staging._own, []

    def replace_after_the_first(hidden: str) -> str:
        own(hidden)
        if not replaced:
            replaced.append(True)
            root.rename(root.parent / "old")
            root.mkdir()
        return hidden

    monkeypatch.setattr(staging, "_own", replace_after_the_first)
    staged = store.stage_changes()
    assert [".lock." in name for name in sorted(os.listdir(root))] == [True, False]
    store.discard(staged)
    assert os.listdir(root) == []


def test_deleting_is_hidden_and_leaves_nothing(store: LocalStore, root: Path) -> None:
    for key in ("a/b/k", "a/l", "m"):
        store.set(key, b"v")
    other = store.stage_changes()
    store.delete_prefix("a/b")
    assert set(store.list_prefix()) == {"a/l", "m"}
    store.delete_prefix("")
    assert all(map(files.is_partial, os.listdir(root)))
    store.discard(other)
    assert os.listdir(root) == []


def test_an_empty_stage_becomes_an_empty_folder(store: LocalStore, root: Path) -> None:
    store.publish(store.stage())
    assert os.listdir(root) == []


@pytest.mark.parametrize("exchange", [True, False])
def test_publish_leaves_nothing_behind(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:  # as on file systems that cannot
        monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    store.set("a/old", b"v")
    for key in ("b/new", "new"):
        staged = store.stage()
        staged.set(key, b"v")
        store.publish(staged)
        assert list(store.list_prefix()) == [key]
    assert os.listdir(root) == ["new"]
    assert os.listdir(root.parent) == ["t2m.zarr"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux exchanges folders")
def test_folders_are_exchanged(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert folders._exchange(str(tmp_path / "a"), str(tmp_path / "b"))
    assert os.listdir(tmp_path / "a") == ["b"]
    with pytest.raises(FileNotFoundError):
        folders._exchange(str(tmp_path / "a"), str(tmp_path / "c"))


def test_failed_publish_leaves_the_old(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.set("a/old", b"v")
    staged = store.stage()
    staged.set("new", b"v")
    monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    rename, calls = os.rename, []

    def fail_third(one: str, other: str) -> None:
        calls.append(one)
        if len(calls) == 3:  # the old folder is aside, the new one not yet in its place
            raise OSError(errno.EIO, "Input/output error", one)
        rename(one, other)

    monkeypatch.setattr(os, "rename", fail_third)
    with pytest.raises(StoreIOError, match="Input/output error") as caught:
        store.publish(staged)
    assert caught.value.errno == errno.EIO
    assert len(calls) == 4
    assert list(store.list_prefix()) == ["a/old"]
    store.discard(staged)
    assert os.listdir(root.parent) == ["t2m.zarr"]


@pytest.mark.parametrize("number", [2, 3])
def test_an_interrupt_while_folders_change_places(
    store: LocalStore, root: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right after the old one was moved aside, where folders cannot be exchanged, and right after the new one came."""
    store.set("old", b"v")
    staged = store.stage()
    staged.set("new", b"v")
    monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    rename, calls = os.rename, []

    def interrupt(one: str, other: str) -> None:
        calls.append(one)
        rename(one, other)
        if len(calls) == number:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.publish(staged)
    store.discard(staged)
    assert list(store.list_prefix()) == [["old"], ["new"]][number - 2]
    assert os.listdir(root.parent) == ["t2m.zarr"]


def test_a_dead_swap_of_a_workspace_is_finished(store: LocalStore, root: Path) -> None:
    """Its folder outlives the process, and has no name by which others find the old store."""
    store.set("old", b"v")
    (root.parent / "work" / "store").mkdir(parents=True)
    staged = store.staged_in(str(root.parent / "work" / "store"))
    staged.set("new", b"v")
    code = f"""
import os, pickle, sys
from zarrds.storage.local import folders
folders._exchange = lambda one, other: False
rename = os.rename
def die(one, other):
    rename(one, other)
    if one == {str(root)!r}:
        os._exit(9)
os.rename = die
staged, store = pickle.loads(bytes.fromhex(sys.argv[1]))
store.publish(staged)
"""
    with pytest.raises(subprocess.CalledProcessError):
        run_python(code, pickle.dumps((staged, store)).hex())
    assert not root.exists()
    LocalStore(root).recover()
    assert list(store.list_prefix()) == ["new"]
    store.clean()
    assert sorted(os.listdir(root.parent)) == ["t2m.zarr", "work"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_a_workspace_that_could_not_be_swapped_stays(
    store: LocalStore, root: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.set("old", b"v")
    (root.parent / "work" / "store").mkdir(parents=True)
    staged = store.staged_in(str(root.parent / "work" / "store"))
    staged.set("new", b"v")
    monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    rename = os.rename

    def fail(one: str, other: str) -> None:
        if other == str(root) and not root.exists() and ".old." not in one:
            raise error
        rename(one, other)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises((StoreIOError, KeyboardInterrupt)):
        store.publish(staged)
    monkeypatch.undo()
    assert list(store.list_prefix()) == ["old"]
    assert os.listdir(root.parent / "work" / "store") == ["new"]
    assert sorted(os.listdir(root.parent)) == ["t2m.zarr", "work"]


def test_what_an_interrupt_left_is_removed_at_the_end(tmp_path: Path, store: LocalStore, root: Path) -> None:
    """A folder that was made, and that nobody was told of; and one whose removal did not come to its end."""
    store.set("k", b"v")
    store.stage_changes()
    staged = store.stage()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(staging, "remove_tree", raising)
        with pytest.raises(KeyboardInterrupt):
            store.discard(staged)
    staging.remove_all()
    assert os.listdir(tmp_path) == ["t2m.zarr"]
    assert os.listdir(root) == ["k"]
    assert not staging._owned


def raising(location: str) -> None:
    raise KeyboardInterrupt


def test_publish_what_is_gone(store: LocalStore) -> None:
    store.set("a/old", b"v")
    staged = store.stage()
    store.discard(staged)
    for replace in (True, False):
        with pytest.raises(StoreIOError, match="cannot publish"):
            store.publish(staged, replace=replace)
    assert store.get("a/old") == b"v"


@pytest.mark.parametrize("replace", [True, False])
def test_publish_over_a_file(store: LocalStore, root: Path, replace: bool) -> None:
    staged = store.stage()
    root.write_bytes(b"v")
    with pytest.raises(StoreIOError, match="a file stands where a folder must be"):
        store.publish(staged, replace=replace)
    assert root.read_bytes() == b"v"
    store.discard(staged)


def test_a_staged_file_that_cannot_be_written_is_not_left(tmp_path: Path) -> None:
    """Files of a stage are written where they are to be; what fails must not stand there half."""
    store = LocalStore(tmp_path / "x.zarr")
    staged = store.stage()
    staged.set("a", b"whole")
    with pytest.raises(BufferError):
        staged.set("a", b"part", memoryview(bytearray(16))[::2])
    assert staged.get("a") is None
    assert list(staged.list_prefix()) == []
    store.discard(staged)
    assert os.listdir(tmp_path) == []


def test_a_lock_file_that_goes_while_it_is_looked_at(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks makes it anew, perhaps with the number of the one that is gone, and is not to leave it there."""
    store.set("k", b"v")
    changes = store.stage_changes()
    take = LockFile.take

    def take_late(self: LockFile, *args: Any, **options: Any) -> bool:
        store.discard(changes)  # its owner is done
        return take(self, *args, **options)

    monkeypatch.setattr(LockFile, "take", take_late)
    assert leftovers.dead(str(root)) == []
    assert os.listdir(root) == ["k"]


@only_root
def test_a_replaced_store_that_was_made_read_only_does_not_stay(store: LocalStore, root: Path) -> None:
    for folder in root.parents[1:3]:
        folder.chmod(0o755)
    os.chown(root.parent, NOBODY, NOBODY)
    with as_nobody(root.parent, os.W_OK):
        store.set("a/b/k", b"old")
        for folder in (root / "a/b", root / "a", root):
            folder.chmod(0o555)
        staged = store.stage()
        staged.set("k", b"new")
        store.publish(staged)
        assert os.listdir(root.parent) == ["t2m.zarr"]
        assert os.listdir(root) == ["k"]
