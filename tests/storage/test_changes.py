"""Changes to a directory store: put in place by their writer, or by whoever comes after it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.storage.another_user import as_nobody, only_root
from tests.storage.test_local import run_python
from zarrds.errors import InvalidKeyError, StoreIOError
from zarrds.storage.commits.committer import DELETED
from zarrds.storage.local import changes, files
from zarrds.stores import LocalStore
from zarrds.testing import run_together


@pytest.fixture
def store(store: LocalStore) -> LocalStore:
    for key in ("a/k", "a/l", "doc"):
        store.set(key, b"old")
    return store


def content(store: LocalStore) -> dict[str, bytes]:
    return {key: bytes(store.get(key) or b"") for key in store.list_prefix()}


def leave_a_commit(store: LocalStore, root: Path) -> None:
    """As a process does that dies right after the instant."""
    staged = store.stage_changes()
    staged.set("0/a/k", b"new")
    staged.set("1/doc", b"new")
    staged.set(DELETED, b'["a/l"]')
    os.rename(staged._root, root / changes.COMMIT)
    store.discard(staged)


NEW = {"a/k": b"new", "doc": b"new"}


def test_where_they_are(store: LocalStore, root: Path) -> None:
    staged = store.stage_changes()
    staged.set("0/a/k", b"new")
    hidden = sorted(path.name for path in root.iterdir() if files.is_partial(path.name))
    assert len(hidden) == 2
    assert hidden[0].endswith(f".lock{files.PARTIAL}")
    assert (root / hidden[1] / "0/a/k").read_bytes() == b"new"
    assert store.get(f"{hidden[1]}/0/a/k") is None
    with pytest.raises(InvalidKeyError, match="unfinished"):
        store.set(f"{changes.COMMIT}/0/k", b"v")
    store.apply_changes(staged)
    assert sorted(os.listdir(root)) == ["a", "doc"]


def test_a_new_store_of_changes_alone(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "new" / "t2m.zarr")
    staged = store.stage_changes()
    staged.set("0/a/b/k", b"v")
    store.apply_changes(staged)
    assert content(store) == {"a/b/k": b"v"}
    assert os.listdir(tmp_path / "new" / "t2m.zarr") == ["a"]


def test_what_is_new_is_moved_as_a_whole(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = store.stage_changes()
    for i in range(30):
        staged.set(f"0/n/c/{i}", b"v")
    moved = []
    for name in ("rename", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda one, two, real=real: (moved.append(two), real(one, two))[1])
    store.apply_changes(staged)
    assert len(moved) == 2  # the commit, and the folder
    assert len(list(store.list_prefix("n"))) == 30


def test_the_order_within_a_step(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/spec.md has it: of what lies beside each other, folders first, each by name; notes before documents."""
    keys = ["v/zarr.json", "v/.zarrds/.zarrds.json", "v/c/9", "v/c/10", "zarr.json", ".zattrs", "w/zarr.json"]
    for key in keys:
        store.set(key, b"old")
    staged = store.stage_changes()
    for key in reversed(keys):
        staged.set(f"2/{key}", b"new")
    moved: list[str] = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda one, two: (moved.append(os.path.relpath(two, root)), real(one, two)))
    with store.lock():
        store.apply_changes(staged)
    assert moved == ["v/.zarrds/.zarrds.json", "v/c/10", "v/c/9", "v/zarr.json", "w/zarr.json", ".zattrs", "zarr.json"]
    assert all(store.get(key) == b"new" for key in keys)


def test_the_next_process_finishes_them(store: LocalStore, root: Path) -> None:
    leave_a_commit(store, root)
    assert store.clean() == []  # that is not for `clean`
    other = LocalStore(root)
    assert content(other)["a/k"] == b"old"
    other.recover()
    assert content(other) == NEW
    assert sorted(os.listdir(root)) == ["a", "doc"]
    leave_a_commit(store, root)
    with store.lock():
        store.recover()
    assert content(store) == NEW


def test_they_are_finished_again_after_any_part(store: LocalStore, root: Path, tmp_path: Path) -> None:
    leave_a_commit(store, root)
    shutil.copytree(root / changes.COMMIT, tmp_path / "copy")
    store.recover()
    shutil.copytree(tmp_path / "copy", root / changes.COMMIT)
    (root / changes.COMMIT / "0" / "a" / "k").unlink()
    store.recover()
    assert content(store) == NEW


def test_readers_wait_for_a_living_writer(store: LocalStore, root: Path) -> None:
    held, order = threading.Event(), []

    def write() -> None:
        with store.lock():
            leave_a_commit(store, root)
            held.set()
            time.sleep(0.05)
            order.append("written")
            shutil.rmtree(root / changes.COMMIT)

    def read() -> None:
        held.wait()
        LocalStore(root).recover()
        order.append("read")

    run_together(write, read, read)
    assert order == ["written", "read", "read"]
    assert content(store)["a/k"] == b"old"  # they did not do it again


@only_root
def test_a_reader_who_may_not_write(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_PATIENCE", 0.05)
    leave_a_commit(store, root)
    for folder in (*root.parents[:3], root, root / "a"):
        folder.chmod(0o755)
    with as_nobody(root, os.R_OK):
        with pytest.raises(StoreIOError, match=r"cannot finish the changes .*Open the store in a process") as caught:
            store.recover()
        assert caught.value.errno == errno.EACCES
        assert caught.value.path == str(root)
    assert content(store)["a/k"] == b"old"
    store.recover()
    assert content(store) == NEW


def test_a_failure_after_the_instant(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = store.stage_changes()
    staged.set("0/a/k", b"new")
    staged.set("1/doc", b"new")
    staged.set(DELETED, b'["a/l"]')
    replace, calls = os.replace, []

    def fail_second(one: str, two: str) -> None:
        calls.append(one)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error", one)
        replace(one, two)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail_second)
        with pytest.raises(StoreIOError, match="cannot change"):
            store.apply_changes(staged)
    assert content(store)["doc"] == b"old"
    store.discard(staged)
    store.recover()
    assert content(store) == NEW
    assert sorted(os.listdir(root)) == ["a", "doc"]


@pytest.mark.parametrize("name", ["rename", "replace", "unlink", "rmdir"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_after_the_instant(
    store: LocalStore, root: Path, name: str, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then all is put in place before anybody hears of it: nothing hidden is left for whoever comes next."""
    staged = store.stage_changes()
    staged.set("0/a/k", b"new")
    staged.set("1/doc", b"new")
    staged.set(DELETED, b'["a/l"]')
    done, calls = getattr(os, name), []

    def interrupt(*places: object) -> None:
        done(*places)
        calls.append(places)
        if len(calls) == 1:
            raise kind

    with monkeypatch.context() as patched:
        patched.setattr(os, name, interrupt)
        with pytest.raises(kind):
            store.apply_changes(staged)
    store.discard(staged)
    assert content(store) == NEW
    assert sorted(os.listdir(root)) == ["a", "doc"]


def test_recovering_deletes_nothing_outside(store: LocalStore, root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "l").write_bytes(b"secret")
    leave_a_commit(store, root)
    shutil.rmtree(root / "a")
    (root / "a").symlink_to(tmp_path / "secret")
    (root / changes.COMMIT / "0" / "a" / "k").unlink()
    (root / changes.COMMIT / "0" / "a").rmdir()
    with pytest.raises(InvalidKeyError, match="leads out of the store"):
        LocalStore(root).recover()
    assert os.listdir(tmp_path / "secret") == ["l"]


def test_a_value_is_linked_while_others_set_it(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux tells that there is no such file where another one gets the name while it is being linked."""
    real, refused = os.link, []

    def link(one: str, two: str) -> None:
        if len(refused) < 3:
            refused.append(one)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), one)
        real(one, two)

    monkeypatch.setattr(os, "link", link)
    staged = store.stage_changes()
    store.link("a/k", staged, "0/b")
    assert staged.get("0/b") == b"old"
    with pytest.raises(StoreIOError, match="cannot link"):
        store.link("a/none", staged, "0/c")
    store.discard(staged)


def test_a_linked_value_is_the_same_file(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "soft").symlink_to("a/k")
    staged = store.stage_changes()
    store.link("a/k", staged, "0/b/hard")
    store.link("soft", staged, "0/b/soft")
    store.apply_changes(staged)
    numbers = {(root / key).lstat().st_ino for key in ("a/k", "b/hard", "b/soft")}
    assert len(numbers) == 1

    def refuse(one: str, two: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)  # as file systems without such links do
    staged = store.stage_changes()
    store.link("a/k", staged, "0/b/copy")
    store.apply_changes(staged)
    assert store.get("b/copy") == b"old"
    assert (root / "b/copy").stat().st_ino not in numbers


def test_a_region_written_meanwhile_is_kept(store: LocalStore) -> None:
    """A folder that was not there when the changes were staged, and is when they are put in place."""
    staged = store.stage_changes()
    staged.set("0/n/c/0", b"new")
    store.set("n/c/1", b"other")
    store.apply_changes(staged)
    assert store.get("n/c/0") == b"new"
    assert store.get("n/c/1") == b"other"


def test_folders_that_others_make_and_remove_meanwhile(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it was looked where everything goes."""
    staged = store.stage_changes()
    for key in ("0/n/c/0", "0/a/k", "2/a/l"):
        staged.set(key, b"new")
    rename = os.rename

    def rename_and_write(one: str, two: str) -> None:
        rename(one, two)
        monkeypatch.undo()
        other = LocalStore(root)
        other.set("n/c/1", b"other")
        other.delete_prefix("a")

    monkeypatch.setattr(os, "rename", rename_and_write)
    store.apply_changes(staged)
    assert content(store) == {"a/k": b"new", "a/l": b"new", "doc": b"old", "n/c/0": b"new", "n/c/1": b"other"}
    assert sorted(os.listdir(root)) == ["a", "doc", "n"]


def test_a_new_folder_in_several_steps(store: LocalStore, root: Path) -> None:
    staged = store.stage_changes()
    for key in ("0/n/c/0", "1/n/doc", "2/n/c/0", "2/n/c/1"):
        staged.set(key, key.encode())
    store.apply_changes(staged)
    assert {key: store.get(key) for key in store.list_prefix("n")} == {
        "n/c/0": b"2/n/c/0",
        "n/c/1": b"2/n/c/1",
        "n/doc": b"1/n/doc",
    }
    assert sorted(os.listdir(root)) == ["a", "doc", "n"]


def test_in_place_writes_nothing_when_its_folder_is_gone(store: LocalStore) -> None:
    staged = store.stage_changes()
    place = store.with_scratch(staged)
    store.discard(staged)
    with pytest.raises(StoreIOError):
        place.set("a/k", b"new")
    assert store.get("a/k") == b"old"


def test_in_place_leaves_its_unfinished_files_to_clean(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = store.stage_changes()
    seen = []
    replace = os.replace

    def watch(one: str, two: str) -> None:
        seen.append(Path(one).parent)
        replace(one, two)

    monkeypatch.setattr(os, "replace", watch)
    store.with_scratch(staged).set("a/k", b"new")
    assert seen == [Path(staged._root)]
    assert list(staged.list_prefix()) == []
    store.discard(staged)


def test_every_value_has_a_time_of_its_own(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's may be the same for several, and a number of a file that is gone comes again."""
    monkeypatch.setattr(files.time, "time_ns", lambda: 1_234_567_890_123_456_789)
    staged = store.stage_changes()
    staged.set("0/a/k", b"new")
    store.apply_changes(staged)
    assert (root / "a/k").stat().st_mtime_ns == pytest.approx(1_234_567_890_123_456_789, abs=100)


def test_another_disk_inside_of_the_store(store: LocalStore, root: Path) -> None:
    mount = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs tmpfs {root}/a && exec "$@"', "sh")
    if shutil.which("unshare") is None or subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("this user cannot mount a small disk")
    code = """
import sys
from zarrds.stores import LocalStore
store = LocalStore(sys.argv[1])
changes = store.stage_changes()
changes.set("0/a/k", b"new")
changes.set("0/a/n/l", b"new")
store.apply_changes(changes)
changes = store.stage_changes()
store.with_scratch(changes).set("a/m", b"new")
store.discard(changes)
print(sorted(store.list_prefix("a")), store.get("a/k"), store.get("a/n/l"), store.get("a/m"))
"""
    printed = run_python(code, str(root), before=mount)
    assert printed == "['a/k', 'a/m', 'a/n/l'] b'new' b'new' b'new'\n"
