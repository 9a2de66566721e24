"""An overlay beyond what `contract` checks for each store: errors, other processes, its step."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from tests.storage.test_local import run_python
from zarrds.errors import InvalidKeyError, StoreIOError
from zarrds.stores import LocalStore, MemoryStore, Overlay
from zarrds.testing import run_together


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "t2m.zarr")
    store.set("a/k", b"old")
    return store


def test_errors_name_the_key_and_the_store(store: LocalStore) -> None:
    changes = store.stage_changes()
    overlay = Overlay(store, changes)
    overlay.set("b", b"v")
    for call in (lambda: overlay.set("b/k", b"v"), lambda: overlay.set("k" * 300, b"v")):
        with pytest.raises(StoreIOError) as caught:
            call()
        assert caught.value.path == store.path
        assert caught.value.key in ("b/k", "k" * 300)
    for key in ("../k", "", "a//b"):
        for method in (overlay.get, overlay.identity, overlay.set):
            with pytest.raises(InvalidKeyError) as refused:
                method(key)
            assert refused.value.key == key
    with pytest.raises(InvalidKeyError), overlay.lock("a", "../k"):
        raise AssertionError("locked")
    store.discard(changes)


def test_another_process_writes_into_it(store: LocalStore) -> None:
    changes = store.stage_changes()
    code = """
import pickle, sys
overlay = pickle.loads(bytes.fromhex(sys.argv[1]))
overlay.set("a/k", bytes(overlay.get("a/k")) + b" and new")
"""
    run_python(code, pickle.dumps(Overlay(store, changes)).hex())
    assert Overlay(store, changes).get("a/k") == b"old and new"
    assert store.get("a/k") == b"old"
    store.discard(changes)


def test_parts_of_one_value_by_many_threads(store: LocalStore) -> None:
    changes = store.stage_changes()
    overlay = Overlay(store, changes)
    names = set(os.listdir(store._root))

    def add() -> None:
        for _ in range(20):
            with overlay.lock("a/k"):
                assert set(os.listdir(store._root)) == names  # no lock files
                overlay.set("a/k", bytes(overlay.get("a/k") or b"") + b"+")

    run_together(add, add, add)
    assert overlay.get("a/k") == b"old" + b"+" * 60
    store.discard(changes)


def test_another_step() -> None:
    store = MemoryStore()
    changes = store.stage_changes()
    first, second = Overlay(store, changes), Overlay(store, changes, step="1")
    first.set("k", b"0")
    assert second.get("k") is None
    second.set("k", b"1")
    assert (first.get("k"), second.get("k")) == (b"0", b"1")
    store.apply_changes(changes)
    assert store.get("k") == b"1"
    assert first.traits.in_memory
    assert repr(second) == f"Overlay({store!r}, step='1')"
