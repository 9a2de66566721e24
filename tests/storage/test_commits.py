"""How staged objects of a store at a URL come to their keys, also if the writer fails, stalls or dies."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from zarrds.errors import StoreExistsError, StoreIOError
from zarrds.storage.local.files import PARTIAL
from zarrds.stores import Store

fsspec = pytest.importorskip("fsspec", reason="stores at URLs need the extra 'remote'")


from zarrds.storage.fsspec import commits  # noqa: E402  # after the check above
from zarrds.storage.fsspec.store import RemoteStore  # noqa: E402  # after what is skipped

PROJECT = Path(__file__).resolve().parents[2]
MARKER = f".commit{PARTIAL}"


@pytest.fixture(autouse=True)
def _empty_memory() -> Iterator[None]:
    yield
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def store() -> RemoteStore:
    return RemoteStore("memory://bucket/t2m.zarr")


def names() -> list[str]:
    """The objects of the store, also the hidden ones."""
    start = "/bucket/t2m.zarr/"
    return sorted(name[len(start) :] for name in fsspec.filesystem("memory").store if name.startswith(start))


def test_changes(store: RemoteStore) -> None:
    for key in ("zarr.json", "a/zarr.json", "a/c/0", "b/zarr.json", "b/c/0", "c"):
        store.set(key, b"old")
    changes = store.stage_changes()
    changes.set("0/new/zarr.json", b"new")
    changes.set("0/new/c/0", b"new")
    changes.set("1/zarr.json", b"new")
    changes.set("2/a/zarr.json", b"new")
    changes.set("deleted", json.dumps(["b", "c", "never/was"]).encode())
    assert sorted(changes.list_prefix())[0] == "0/new/c/0"
    with store.lock():
        store.apply_changes(changes)
    new = {key: bytes(store.get(key) or b"") for key in store.list_prefix()}
    assert new == dict.fromkeys(["zarr.json", "new/zarr.json", "new/c/0", "a/zarr.json"], b"new") | {"a/c/0": b"old"}
    assert names() == sorted(new)


def test_changes_of_others_are_refused(store: RemoteStore) -> None:
    for other in (RemoteStore("memory://other").stage_changes(), store.stage(), store):
        with pytest.raises(ValueError, match="not staged for"):
            store.apply_changes(other)
        with pytest.raises(ValueError, match="not staged for"):
            store.link("k", other, "0/k")


@pytest.mark.parametrize(
    ("key", "value"), [("k", b"v"), ("3/k", b"v"), ("deleted", b"{}"), ("deleted", b'["../k"]'), ("deleted", b"[")]
)
def test_malformed_changes_begin_nothing(store: RemoteStore, key: str, value: bytes) -> None:
    changes = store.stage_changes()
    changes.set("0/new", b"v")
    changes.set(key, value)
    before = names()
    with pytest.raises(ValueError, match=r"step|JSON|valid key|Expecting"):
        store.apply_changes(changes)
    assert names() == before


def test_linked_values_are_copies(store: RemoteStore) -> None:
    store.set("a/k", b"v")
    changes = store.stage_changes()
    store.link("a/k", changes, "0/b/k")
    store.set("a/k", b"w")
    store.apply_changes(changes)
    assert content(store) == {"a/k": b"w", "b/k": b"v"}
    with pytest.raises(StoreIOError, match="no such key") as caught:
        store.link("a/l", store.stage_changes(), "0/l")
    assert (caught.value.path, caught.value.key) == (store.path, "a/l")


class Failing:
    """Lets the file system fail at its n-th change, as if the network were gone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
        self.left = n
        system = type(fsspec.filesystem("memory"))
        for name in ("pipe_file", "cp_file", "rm_file"):
            monkeypatch.setattr(system, name, self.wrap(getattr(system, name)))

    def wrap(self, method):
        def call(*args, **kwargs):
            self.left -= 1
            if self.left < 0:
                raise ConnectionError("network is gone")
            return method(*args, **kwargs)

        return call


OLD = {"zarr.json": b"old", "a/zarr.json": b"old", "a/c/0": b"old", "a/c/1": b"old"}
NEW = {"zarr.json": b"new", "a/zarr.json": b"new", "a/c/0": b"new", "b/zarr.json": b"new", "b/c/0": b"new"}


def content(store: Store) -> dict[str, bytes]:
    return {key: bytes(store.get(key) or b"") for key in store.list_prefix()}


def test_publish_that_fails_anywhere_is_old_or_new(store: RemoteStore) -> None:
    outcomes = []
    for n in range(100):
        store.delete_prefix("")
        for key, value in OLD.items():
            store.set(key, value)
        staged = store.stage()
        for key, value in NEW.items():
            staged.set(key, value)
        with pytest.MonkeyPatch.context() as monkeypatch:
            failing = Failing(monkeypatch, n)
            error = None
            try:
                store.publish(staged)
            except StoreIOError as exc:
                error = exc
            if error is not None:
                assert "network is gone" in str(error)
                assert error.path == store.path
                # who opens it meanwhile sees the old document, none, or the new one with all that it names
                if store.get("zarr.json") == b"new":
                    assert NEW.items() <= content(store).items()
            failed = failing.left < 0
        if error is not None:
            store.discard(staged)  # of what is committed, nothing
        store.recover()
        assert content(store) in (OLD, NEW)
        outcomes.append(content(store) == NEW)
        assert not [name for name in names() if name == MARKER]
        if not failed:
            break
    assert outcomes == sorted(outcomes)
    assert outcomes.count(False) >= 2
    assert outcomes.count(True) >= 5
    assert not failed


def test_documents_come_last_and_go_first(store: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in OLD.items():
        store.set(key, value)
    staged = store.stage()
    for key, value in NEW.items():
        staged.set(key, value)
    system = type(fsspec.filesystem("memory"))
    done: list[tuple[str, str]] = []
    copy, remove = system.cp_file, system.rm_file
    start = "/bucket/t2m.zarr/"

    def noting_copy(self, source, target):
        done.append(("set", target.removeprefix(start)))
        copy(self, source, target)

    def noting_remove(self, path):
        done.append(("delete", path.removeprefix(start)))
        remove(self, path)

    monkeypatch.setattr(system, "cp_file", noting_copy)
    monkeypatch.setattr(system, "rm_file", noting_remove)
    store.publish(staged)
    visible = [step for step in done if not step[1].startswith(".")]
    assert visible[:2] == [("delete", "zarr.json"), ("delete", "a/zarr.json")]
    assert {name for _, name in visible[2:4]} == {"a/c/0", "b/c/0"}
    assert {name for _, name in visible[4:6]} == {"a/zarr.json", "b/zarr.json"}
    assert visible[6:] == [("set", "zarr.json"), ("delete", "a/c/1")]


def _mark(store: RemoteStore, values: dict[str, bytes]) -> str:
    """Leave behind what a writer does that is killed right after the instant; return the name of its folder."""
    staged = store.stage_changes()
    for key, value in values.items():
        staged.set(f"0/{key}", value)
    commit = commits.Commit(staged._folder, (("0", len(values)),), "another process")
    fsspec.filesystem("memory").pipe_file(f"/bucket/t2m.zarr/{MARKER}", commit.dump())
    return staged._folder


def test_recover_finishes_what_a_dead_writer_began(store: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_PATIENCE", 0.1)
    monkeypatch.setattr(commits, "_POLL", 0.01)
    store.set("k", b"old")
    _mark(store, {"k": b"new"})
    assert store.get("k") == b"old"
    store.stage().recover()  # a staged store has nothing to recover
    store.recover()
    assert content(store) == {"k": b"new"}
    assert names() == ["k"]
    store.recover()


def test_recover_waits_for_a_living_writer(store: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_PATIENCE", 2.0)
    monkeypatch.setattr(commits, "_POLL", 0.01)
    folder = _mark(store, {"k": b"new"})
    memory = fsspec.filesystem("memory")
    finished = threading.Event()

    def write() -> None:  # as a process elsewhere does: slowly, and without our locks
        for i in range(20):
            time.sleep(0.02)
            memory.pipe_file(f"/bucket/t2m.zarr/{folder}/{commits._HEARTBEAT}", b"%d" % i)
        finished.set()
        memory.rm_file(f"/bucket/t2m.zarr/{MARKER}")

    thread = threading.Thread(target=write)
    thread.start()
    store.recover()
    assert finished.is_set()
    thread.join()
    assert store.get("k") is None  # nobody but the writer put it there


def test_lost_staged_objects_are_an_error(store: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_PATIENCE", 0.0)
    folder = _mark(store, {"k": b"new", "l": b"new"})
    fsspec.filesystem("memory").rm_file(f"/bucket/t2m.zarr/{folder}/0/k")
    with pytest.raises(StoreIOError, match="cannot be finished") as caught:
        store.recover()
    assert caught.value.path == store.path
    assert content(store) == {}


@pytest.mark.parametrize(
    "marker",
    [
        {"owner": "x", "folder": "../other", "steps": []},
        {"owner": "x", "folder": "", "steps": []},
        {"owner": "x", "folder": f".a{PARTIAL}", "steps": [["0", "../other", 0]]},
        {"owner": "x", "folder": f".a{PARTIAL}", "steps": [["..", 0]]},
        {"owner": "x", "folder": f".a{PARTIAL}", "steps": [["0/../../other", 0]]},
        {"owner": "x", "folder": f".a{PARTIAL}", "steps": [["0", "all"]]},
        {"owner": "x", "folder": 3, "steps": []},
        {},
        [],
    ],
)
def test_forged_markers_reach_nothing(store: RemoteStore, marker: object) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/other/k", b"precious")
    memory.pipe_file(f"/bucket/t2m.zarr/{MARKER}", json.dumps(marker).encode())
    with pytest.raises(StoreIOError, match=r"marker .* cannot be read") as caught:
        store.recover()
    assert caught.value.path == store.path
    assert memory.cat_file("/bucket/other/k") == b"precious"


@pytest.mark.parametrize("marker", [b"[" * 50_000 + b"]" * 50_000, b" " * 2**23], ids=["nested", "large"])
def test_markers_that_nobody_wrote_are_an_error(store: RemoteStore, marker: bytes) -> None:
    """Whatever the object holds: only the beginning of a large one is read."""
    fsspec.filesystem("memory").pipe_file(f"/bucket/t2m.zarr/{MARKER}", marker)
    with pytest.raises(StoreIOError, match=r"marker .* cannot be read"):
        store.recover()


def test_half_a_marker_is_none(store: RemoteStore) -> None:
    memory = fsspec.filesystem("memory")
    for half in (b"", b'{"owner": "x", "fol'):
        memory.pipe_file(f"/bucket/t2m.zarr/{MARKER}", half)
        store.recover()
        staged = store.stage()
        staged.set("k", b"v")
        store.publish(staged)
        assert names() == ["k"]


def test_second_publish_without_replacing_names_the_mend(store: RemoteStore) -> None:
    store.set("g/k", b"v")
    with pytest.raises(StoreExistsError, match="mode='w'") as caught:
        store.publish(store.stage(), replace=False)
    assert caught.value.path == store.path


def test_killed_at_every_file_operation_of_a_publish(tmp_path: Path) -> None:
    """A child is killed at its n-th file operation, for every n; the store is then old or new."""
    code = f"""
import os, signal, sys, time
from zarrds.storage.fsspec import commits
from zarrds.storage.fsspec.store import RemoteStore
OLD, NEW = {OLD!r}, {NEW!r}
commits._PATIENCE, commits._POLL = 0.0, 0.0

def publish(store, n):
    left = [n]
    def hook(event, args):
        if event in ("open", "os.remove", "os.mkdir", "os.rmdir", "shutil.copyfile"):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    staged = store.stage()
    for key, value in NEW.items():
        staged.set(key, value)
    sys.addaudithook(hook)
    store.publish(staged)
    os._exit(0)

outcomes = []
for n in range(500):
    root = os.path.join(sys.argv[1], str(n))
    store = RemoteStore("local://" + root)
    for key, value in OLD.items():
        store.set(key, value)
    child = os.fork()
    if not child:
        publish(store, n)
    status = os.waitpid(child, 0)[1]
    store.recover()
    found = {{key: bytes(store.get(key)) for key in store.list_prefix()}}
    assert found in (OLD, NEW), (n, found)
    outcomes.append(found == NEW)
    again = store.stage()
    again.set("zarr.json", b"again")
    store.publish(again)
    assert list(store.list_prefix()) == ["zarr.json"]
    if status == 0:
        break
assert status == 0
assert outcomes == sorted(outcomes), outcomes
print(outcomes.count(False), outcomes.count(True))
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    n_old, n_new = map(int, done.stdout.split())
    assert n_old >= 2
    assert n_new >= 10


def test_a_writer_taken_for_dead_removes_no_new_document(store: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stalls right after the instant, while somebody else finishes what it began."""
    for key, value in OLD.items():
        store.set(key, value)
    staged = store.stage()
    for key, value in NEW.items():
        staged.set(key, value)
    close = commits.Commits.close

    def stalling(self, commit, documents):
        self.finish(commit)
        close(self, commit, documents)

    monkeypatch.setattr(commits.Commits, "close", stalling)
    store.publish(staged)
    assert content(store) == NEW
    assert names() == sorted(NEW)


def test_signs_of_life_are_given_while_it_lasts(store: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_BEAT", -1.0)
    monkeypatch.setattr(commits, "_BATCH", 2)
    system = type(fsspec.filesystem("memory"))
    write, signs = system.pipe_file, []

    def noting(self, path, value, **kwargs):
        if path.endswith(commits._HEARTBEAT):
            signs.append(value)
        write(self, path, value, **kwargs)

    monkeypatch.setattr(system, "pipe_file", noting)
    staged = store.stage()
    for i in range(10):
        staged.set(f"c/{i}", b"v")
    store.publish(staged)
    assert len(set(signs)) == 5
    assert len(names()) == 10


def test_staged_objects_are_kept_while_the_marker_cannot_be_seen(
    store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = store.stage()
    staged.set("k", b"v")
    before = names()

    def refuse(*args, **kwargs):
        raise PermissionError(13, "no")

    with monkeypatch.context() as patch:
        patch.setattr(type(fsspec.filesystem("memory")), "cat_file", refuse)
        store.discard(staged)
    assert names() == before
    store.discard(staged)
    assert names() == []
