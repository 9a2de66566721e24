"""Changes that a directory store cannot make: that is noticed before any of them is made."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.storage.another_user import NOBODY, as_nobody, only_root
from tests.storage.test_changes import content
from zarrds.errors import InvalidKeyError, StoreIOError
from zarrds.storage.commits.committer import DELETED
from zarrds.stores import LocalStore


@pytest.fixture
def store(store: LocalStore) -> LocalStore:
    for key in ("a/k", "a/l", "doc"):
        store.set(key, b"old")
    return store


@pytest.mark.parametrize(
    ("key", "number"), [("1/a", errno.EISDIR), ("0/a/k/l", errno.ENOTDIR), ("2/doc/x/y", errno.ENOTDIR)]
)
def test_a_file_in_the_place_of_a_folder(store: LocalStore, key: str, number: int) -> None:
    """That is noticed before anything is changed."""
    staged = store.stage_changes()
    staged.set("0/a/l", b"new")
    staged.set(key, b"new")
    with pytest.raises(StoreIOError) as caught:
        store.apply_changes(staged)
    assert caught.value.errno == number
    store.discard(staged)
    assert content(store) == {"a/k": b"old", "a/l": b"old", "doc": b"old"}


@only_root
@pytest.mark.parametrize("gone", [b"[]", b'["g/h/k"]'])
def test_a_folder_that_may_not_be_changed(store: LocalStore, root: Path, gone: bytes) -> None:
    """That is noticed before anything is changed, too."""
    store.set("g/h/k", b"old")
    for folder in (root, root / "a"):
        os.chown(folder, NOBODY, NOBODY)
    for folder in root.parents[:3]:
        folder.chmod(0o755)
    with as_nobody(root, os.W_OK):
        staged = store.stage_changes()
        staged.set("0/a/k", b"new")
        if gone == b"[]":
            staged.set("0/g/h/l", b"new")
        staged.set(DELETED, gone)
        with pytest.raises(StoreIOError, match="permission denied"):
            store.apply_changes(staged)
        store.discard(staged)
        assert content(store) == {"a/k": b"old", "a/l": b"old", "doc": b"old", "g/h/k": b"old"}
        assert sorted(os.listdir(root)) == ["a", "doc", "g"]


@only_root
@pytest.mark.parametrize("act", ["replace", "delete", "add"])
def test_a_folder_in_which_each_may_remove_only_what_is_his(store: LocalStore, root: Path, act: str) -> None:
    """As /tmp is. That is noticed before anything is changed; what is new may come."""
    for folder in (root, root / "a"):
        folder.chmod(0o1777)
    for folder in root.parents[:3]:
        folder.chmod(0o755)
    with as_nobody(root, os.W_OK):
        staged = store.stage_changes()
        staged.set("0/a/k" if act == "replace" else "0/a/n", b"new")
        staged.set(DELETED, b'["a/l"]' if act == "delete" else b"[]")
        before = content(store)
        if act == "add":
            store.apply_changes(staged)
            assert content(store) == before | {"a/n": b"new"}
        else:
            with pytest.raises(StoreIOError, match="permission denied"):
                store.apply_changes(staged)
            store.discard(staged)
            assert content(store) == before
        assert sorted(os.listdir(root)) == ["a", "doc"]


def test_links_are_followed_inside_and_refused_outside(store: LocalStore, root: Path, tmp_path: Path) -> None:
    (root / "inside").symlink_to("a")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "k").write_bytes(b"secret")
    staged = store.stage_changes()
    staged.set("0/inside/k", b"new")
    store.apply_changes(staged)
    assert (root / "inside").is_symlink()
    assert store.get("a/k") == b"new"
    (root / "out").symlink_to(tmp_path / "secret")
    for key, gone in (("0/out/k", b"[]"), ("0/a/k", b'["out/k"]')):
        staged = store.stage_changes()
        staged.set(key, b"newer")
        staged.set(DELETED, gone)
        with pytest.raises(InvalidKeyError, match="leads out of the store"):
            store.apply_changes(staged)
        store.discard(staged)
    assert store.get("a/k") == b"new"
    assert (tmp_path / "secret" / "k").read_bytes() == b"secret"
    staged = store.stage_changes()
    staged.set(DELETED, b'["out", "inside"]')  # the links themselves
    store.apply_changes(staged)
    assert sorted(os.listdir(root)) == ["a", "doc"]
    assert (tmp_path / "secret" / "k").read_bytes() == b"secret"
