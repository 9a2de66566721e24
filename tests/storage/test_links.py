"""Symbolic links in a directory store: followed inside of it, refused where they leave it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from zarrds.errors import InvalidKeyError, StoreIOError
from zarrds.storage.commits.committer import DELETED
from zarrds.stores import LocalStore


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "sub").mkdir(parents=True)
    (folder / "k").write_bytes(b"secret")
    (folder / "sub" / "k").write_bytes(b"secret")
    return folder


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
    out = "a symbolic link that leads out of the store"
    assert sorted(store.list_strange()) == [("a/k", out), ("dangling", out)]
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


def test_published_over_a_link(store: LocalStore, root: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "k").write_bytes(b"kept")
    root.symlink_to("real")  # after the store was opened
    staged = store.stage()
    staged.set("l", b"v")
    store.publish(staged)
    assert {key: store.get(key) for key in store.list_prefix()} == {"l": b"v"}
    assert (tmp_path / "real" / "k").read_bytes() == b"kept"
    assert sorted(os.listdir(tmp_path)) == ["real", "t2m.zarr"]


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


@pytest.mark.parametrize("remove", ["delete_prefix", "apply_changes"])
def test_link_in_place_of_a_folder_removed_by_the_store(
    store: LocalStore, root: Path, outside: Path, remove: str
) -> None:
    store.set("a/sub/k", b"v")
    if remove == "apply_changes":
        changes = store.stage_changes()
        changes.set(DELETED, b'["a"]')
        store.apply_changes(changes)
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
    assert list(store.list_strange()) == [("dangling", "a symbolic link that leads to no file")]
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


@pytest.mark.slow
def test_listing_many_crossing_links_ends(store: LocalStore, root: Path) -> None:
    for i in range(9):
        store.set(f"d{i}/k", b"v")
        for j in range(9):
            (root / f"d{i}" / f"l{j}").symlink_to(f"../d{j}")
    keys = list(store.list_prefix())
    assert len(keys) == len(set(keys)) < 10_000
    assert {f"d{i}/k" for i in range(9)} | {"d0/l1/k"} <= set(keys)
