"""What a durable store has on the disk, and when: the order of its system calls, in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.storage.test_local import run_python
from zarrds.storage.local import syncing
from zarrds.stores import LocalStore

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")

WATCHED = """
import json, os, sys
from zarrds.stores import LocalStore
from zarrds.storage.local import files, folders, staging, syncing
root, calls = sys.argv[1], []
def short(path):
    parts = os.path.relpath(path, os.path.dirname(root)).split("/")
    return "/".join("HIDDEN" if files.is_partial(part) and "commit" not in part else part for part in parts)
def watch(module, name, describe):
    real = getattr(module, name)
    def watched(*args, **options):
        described = describe(*args)
        answer = real(*args, **options)
        if ".lock" not in str(described):
            calls.append([name.strip("_"), *described])
        return answer
    setattr(module, name, watched)
def begin(exchange=True):
    if not exchange:
        folders._exchange = lambda one, other: False
    watch(os, "fsync", lambda fd: [short(os.readlink(f"/proc/self/fd/{fd}"))])
    for name in ("rename", "replace"):
        watch(os, name, lambda one, two: [short(one), short(two)])
    watch(folders, "_exchange", lambda one, two: [short(one), short(two)])
    watch(os, "unlink", lambda path, **options: [short(path)] if isinstance(path, str) and "/" in path else ["?"])
    watch(syncing, "_sync_file_system", lambda fd: [])
    watch(staging, "remove_tree", lambda path: [short(path)])
store = LocalStore(root).as_durable()
"""


def calls_of(root: Path, code: str) -> list[list[str]]:
    printed = run_python(f"{WATCHED}\n{code}\nprint(json.dumps(calls))", str(root))
    calls: list[list[str]] = json.loads(printed)
    return [call for call in calls if call != ["unlink", "?"]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "x"


def test_a_value(root: Path) -> None:
    calls = calls_of(root, "store.set('a/k', b'1'); begin(); store.set('a/k', b'2')")
    assert calls == [["fsync", "x/a/HIDDEN"], ["replace", "x/a/HIDDEN", "x/a/k"], ["fsync", "x/a"]]


def test_a_value_in_new_folders(root: Path) -> None:
    calls = calls_of(root, "store.set('k', b'1'); begin(); store.set('a/b/k', b'2')")
    assert calls[:2] == [["fsync", "x/a/b/HIDDEN"], ["replace", "x/a/b/HIDDEN", "x/a/b/k"]]
    assert sorted(calls[2:]) == [["fsync", "x"], ["fsync", "x/a"], ["fsync", "x/a/b"]]


def test_a_value_in_place(root: Path) -> None:
    code = "store.set('a/k', b'1'); place = store.with_scratch(store.stage_changes()); begin(); place.set('a/k', b'2')"
    calls = calls_of(root, code)
    assert calls == [["fsync", "x/HIDDEN/HIDDEN"], ["replace", "x/HIDDEN/HIDDEN", "x/a/k"], ["fsync", "x/a"]]


STAGE = "staged = store.stage(); staged.set('c/k', b'2'); staged.set('l', b'3'); store.publish(staged)"


@pytest.mark.parametrize("exchange", [True, False])
def test_publish(root: Path, exchange: bool) -> None:
    calls = calls_of(root, f"store.set('a/b/k', b'1'); begin({exchange}); {STAGE}")
    instant = [call[0] in ("exchange", "rename", "replace") for call in calls].index(True)
    needed = [["fsync", "HIDDEN/c/k"], ["fsync", "HIDDEN/l"], ["fsync", "HIDDEN/c"], ["fsync", "HIDDEN"]]
    assert all(call in calls[:instant] for call in needed)
    there = calls.index(["exchange" if exchange else "rename", "HIDDEN", "x"])
    assert ["fsync", "."] in calls[there:]
    # and the old one is not removed before that
    removed = [call[0] == "remove_tree" for call in calls].index(True)
    assert calls.index(["fsync", "."], there) < removed


def test_publish_in_new_folders(tmp_path: Path) -> None:
    calls = calls_of(tmp_path / "n" / "e" / "x", f"begin(); {STAGE}")
    moved = calls.index(["rename", "HIDDEN", "x"])
    assert ["fsync", "HIDDEN/c/k"] in calls[:moved]
    assert {"..", "../.."} <= {call[1] for call in calls[:moved]}
    assert ["fsync", "."] in calls[moved:]


def test_changes_in_new_folders(root: Path) -> None:
    code = "changes = store.stage_changes(); changes.set('0/n/e/w/k', b'2')"
    calls = calls_of(root, f"store.set('n/k', b'1'); begin(); {code}; store.apply_changes(changes)")
    instant = calls.index(["rename", "x/HIDDEN", COMMIT])
    assert ["fsync", "x/HIDDEN/0/n/e/w/k"] in calls[:instant]
    moved = calls.index(["replace", f"{COMMIT}/0/n/e", "x/n/e"])
    assert ["fsync", "x/n"] in calls[moved:]


CHANGE = """
store.set('a/k', b'1'); store.set('gone/k', b'1'); store.set('doc', b'1')
begin()
changes = store.stage_changes()
for key in sys.argv[2:] or ['0/a/k', '0/n/k', '1/doc']:
    changes.set(key, b'2')
changes.set('deleted', b'["gone"]')
calls.clear()
with store.lock():
    store.apply_changes(changes)
"""
COMMIT = "x/.commit.zarrds-partial"


def test_changes(root: Path) -> None:
    calls = calls_of(root, CHANGE)
    instant = calls.index(["rename", "x/HIDDEN", COMMIT])
    staged = [call[1].removeprefix("x/HIDDEN/") for call in calls[:instant]]
    assert all(call[0] == "fsync" for call in calls[:instant])
    keys, prefixes = {"0/a/k", "0/n/k", "1/doc", "deleted"}, {"0/a", "0/n", "0", "1", "x/HIDDEN"}
    assert set(staged) == keys | prefixes
    # then that they count, before anything is changed
    assert calls[instant + 1] == ["fsync", "x"]
    moved = [call[1:] for call in calls if call[0] in ("rename", "replace")][1:]
    assert moved[:3] == [[f"{COMMIT}/0/a/k", "x/a/k"], [f"{COMMIT}/0/n", "x/n"], [f"{COMMIT}/1/doc", "x/doc"]] or moved[
        :3
    ] == [[f"{COMMIT}/0/n", "x/n"], [f"{COMMIT}/0/a/k", "x/a/k"], [f"{COMMIT}/1/doc", "x/doc"]]
    assert moved[3][0] == "x/gone"
    # the changes are on the disk before the commit is gone, which is so before the lock is free
    last = calls.index(["rename", "x/gone", f"{COMMIT}/HIDDEN"])
    forgotten = calls.index(["unlink", f"{COMMIT}/deleted"])
    assert {call[1] for call in calls[last + 1 : forgotten]} == {"x", "x/a"}
    removed = calls.index(["remove_tree", COMMIT])
    assert forgotten < removed < len(calls) - 1
    assert calls[removed + 1] == ["fsync", "x"]


@pytest.mark.skipif(syncing._syncfs() is None, reason="this system cannot sync a file system")
def test_many_files_are_synced_at_once(root: Path) -> None:
    code = CHANGE.replace("sys.argv[2:]", "[f'0/c{i}/k' for i in range(40)]").replace(
        "store.set('doc', b'1')", "[store.set(f'c{i}/k', b'1') for i in range(40)]"
    )
    calls = calls_of(root, code)
    instant = calls.index(["rename", "x/HIDDEN", COMMIT])
    assert calls[:instant] == [["sync_file_system"]]
    forgotten = calls.index(["unlink", f"{COMMIT}/deleted"])
    assert calls[forgotten - 1] == ["sync_file_system"]


@pytest.mark.skipif(syncing._syncfs() is None, reason="this system cannot sync a file system")
@pytest.mark.parametrize("how", ["stage", "changes"])
def test_the_descriptor_is_older_than_what_is_staged(root: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Linux tells each descriptor of what could not be written since it was opened, if no other was told before."""
    store = LocalStore(root).as_durable()
    store.set("k", b"v")
    opened, synced = set[int](), list[int]()
    real_open, real_sync = os.open, syncing._sync_file_system

    def watch_open(*args: Any, **options: Any) -> int:
        fd = real_open(*args, **options)
        opened.add(fd)
        return fd

    def watch_sync(fd: int) -> bool:
        synced.append(fd)
        return real_sync(fd)

    staged = store.stage() if how == "stage" else store.stage_changes()
    monkeypatch.setattr(os, "open", watch_open)
    monkeypatch.setattr(syncing, "_sync_file_system", watch_sync)
    for i in range(30):
        staged.set(f"0/c/{i}", b"v")
    store.publish(staged) if how == "stage" else store.apply_changes(staged)
    assert synced
    assert not opened & set(synced)


def test_an_array_in_a_new_folder(root: Path) -> None:
    """The lock file makes the folder, before there is anything in it."""
    code = "begin()\nwith store.lock('k'):\n    store.set('k', b'1')"
    calls = calls_of(root, code)
    assert ["fsync", "."] in calls
    assert ["fsync", "x"] in calls


def test_a_file_system_that_cannot_be_synced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "_syncfs", lambda: None)
    expected = {str(tmp_path)}
    for i in range(30):
        folder = tmp_path / f"d{i}"
        folder.mkdir()
        (folder / "k").write_bytes(b"v")
        expected |= {str(folder), str(folder / "k")}
    synced = set()
    fsync = os.fsync

    def watch(fd: int) -> None:
        synced.add(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watch)
    syncing.sync_tree(str(tmp_path))
    assert synced == expected
    synced.clear()
    folders = [str(tmp_path / f"d{i}") for i in range(30)]
    syncing.sync_folders([*folders, str(tmp_path / "gone")])
    assert synced == set(folders)


def test_a_store_that_is_not_durable_syncs_nothing(root: Path) -> None:
    code = f"""
store = store.as_durable(False)
{CHANGE}
{STAGE}
store.with_scratch(other := store.stage_changes()).set('k', b'v')
"""
    assert {call[0] for call in calls_of(root, code)} & {"fsync", "sync_file_system"} == set()


def test_what_is_recovered_is_durable(root: Path) -> None:
    code = CHANGE.replace("store.apply_changes(changes)", f"os.rename(changes._root, root + '{COMMIT[1:]}')")
    calls = calls_of(root, code.replace("calls.clear()", "store = store.as_durable(False)") + "\nstore.recover()")
    first = calls.index(["rename", "x/HIDDEN", COMMIT]) + 1
    before = calls[first : [call[0] == "replace" for call in calls].index(True)]
    assert ["fsync", f"{COMMIT}/0/a/k"] in before
    assert calls[-1] == ["fsync", "x"]
