"""What every store must do beyond single values: staging, changes and locks; see `zarrds.testing.store`."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from zarrds.errors import InvalidKeyError, StoreExistsError, StoreIOError
from zarrds.storage.commits.committer import DELETED, ScratchWriting, WritableStore, as_durable, prepare, with_scratch
from zarrds.storage.traits import delete_prefix, has_trait
from zarrds.stores import Overlay


def run_together(*targets: Callable[[], None]) -> None:
    """Run all in threads at once, and raise what the first of them raises."""
    errors: list[BaseException] = []

    def run(target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as exc:
            errors.append(exc)

    # several threads are what is tested here
    threads = [threading.Thread(target=run, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class ChangingContract:
    """Inherit from `StoreContract`."""

    def make(self, folder: Path) -> WritableStore:
        """Return a new, empty store; `folder` exists and is its own."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> WritableStore:
        return self.make(tmp_path)

    # staging

    @pytest.mark.parametrize("n_values", [1, 10**6])
    @pytest.mark.parametrize("publish", [True, False])
    def test_stage(self, store: WritableStore, tmp_path: Path, publish: bool, n_values: int) -> None:
        old = {"top": b"1", "gg/k": b"2", "old": b"3", "deep/er": b"4"}
        for key, value in old.items():
            store.set(key, value)
        files = sorted(tmp_path.rglob("*"))
        staged = store.stage()
        prepare(staged, n_values)
        assert list(staged.list_prefix()) == []
        staged.set("old", b"new 3")
        staged.set("more/k", b"new 4")
        copy = pickle.loads(pickle.dumps(staged))
        assert copy.get("more/k") == b"new 4"
        assert set(store.list_prefix()) == set(old)
        assert store.get("old") == b"3"
        if publish:
            store.publish(staged)
            expected = {"old": b"new 3", "more/k": b"new 4"}
        else:
            store.discard(staged)
            store.discard(staged)  # nothing is left to do
            expected = old
            assert sorted(tmp_path.rglob("*")) == files
        assert {key: store.get(key) for key in store.list_prefix()} == expected

    def test_publish_without_replacing(self, store: WritableStore) -> None:
        first, second = store.stage(), store.stage()
        first.set("a/k", b"first")
        second.set("a/k", b"second")
        store.publish(first, replace=False)
        with pytest.raises(StoreExistsError):
            store.publish(second, replace=False)
        store.discard(second)
        assert {key: bytes(store.get(key) or b"") for key in store.list_prefix()} == {"a/k": b"first"}

    def test_publish_nothing(self, store: WritableStore) -> None:
        store.set("a/k", b"v")
        store.set("b", b"v")
        store.publish(store.stage())
        assert list(store.list_prefix()) == []

    def test_staged_stores_do_not_mind_each_other(self, store: WritableStore) -> None:
        first, second = store.stage(), store.stage()
        first.set("a", b"first")
        second.set("b", b"second")
        store.publish(second)
        store.publish(first)
        assert {key: store.get(key) for key in store.list_prefix()} == {"a": b"first"}

    @pytest.mark.parametrize("how", ["stage", "changes"])
    def test_readers_see_old_or_new_values(self, store: WritableStore, how: str) -> None:
        store.set("g/k", b"0")
        done = threading.Event()

        def write() -> None:
            try:
                for i in range(1, 60):
                    if how == "stage":
                        staged = store.stage()
                        staged.set("g/k", b"%d" % i)
                        store.publish(staged)
                    else:
                        changes = store.stage_changes()
                        changes.set("0/g/k", b"%d" % i)
                        store.apply_changes(changes)
            finally:
                done.set()

        def read() -> None:
            last = 0
            while not done.is_set():
                value = store.get("g/k")
                assert value is not None
                assert last <= int(bytes(value)) < 60
                last = int(bytes(value))

        run_together(write, read)

    def test_only_what_was_staged_here(self, store: WritableStore, tmp_path: Path) -> None:
        store.set("a/k", b"v")
        (tmp_path / "other").mkdir()
        other = self.make(tmp_path / "other")
        other.set("k", b"precious")
        with pytest.raises(ValueError, match="not staged"):
            store.discard(other)
        staged, changes = other.stage(), store.stage_changes()
        for wrong in (other, staged, changes, store):
            with pytest.raises(ValueError, match="not staged"):
                store.publish(wrong)
        assert store.get("a/k") == b"v"
        assert other.get("k") == b"precious"
        other.discard(staged)
        store.discard(changes)

    def test_errors_of_a_staged_store_name_the_place_it_is_for(self, store: WritableStore) -> None:
        staged, changes = store.stage(), store.stage_changes()
        assert staged.path == changes.path == store.path
        for each in (staged, changes):
            store.discard(each)

    # changes

    def test_changes_are_made_in_steps(self, store: WritableStore, tmp_path: Path) -> None:
        old = {"a/k": b"1", "a/l": b"2", "b": b"3", "gone/x/y": b"4", "gone-not": b"5"}
        for key, value in old.items():
            store.set(key, value)
        files = sorted(tmp_path.rglob("*"))
        changes = store.stage_changes()
        assert list(changes.list_prefix()) == []
        new = {"0/a/k": b"one", "0/new/deep/er": b"six", "0/doc": b"0", "1/doc": b"1", "2/doc": b"2", "2/b": b"three"}
        for key, value in new.items():
            changes.set(key, value)
        changes.set("0/a/k", b"o", b"n", b"e")
        changes.set(DELETED, json.dumps(["gone", "a/l", "not/there"]).encode())
        assert {key: store.get(key) for key in store.list_prefix()} == old
        with store.lock():
            store.recover()
            store.apply_changes(changes)
        store.recover()
        expected = {"a/k": b"one", "b": b"three", "doc": b"2", "new/deep/er": b"six", "gone-not": b"5"}
        assert {key: store.get(key) for key in store.list_prefix()} == expected
        delete_prefix(store, "new")
        store.delete("doc")
        for key in ("gone/x/y", "a/l"):
            store.set(key, b"")
        # nothing is left but the files of the keys, and no more folders than there were
        assert sorted(tmp_path.rglob("*")) == files

    def test_discarded_changes(self, store: WritableStore, tmp_path: Path) -> None:
        store.set("a/k", b"1")
        files = sorted(tmp_path.rglob("*"))
        changes = store.stage_changes()
        changes.set("0/a/k", b"2")
        changes.set(DELETED, b'["a"]')
        store.discard(changes)
        store.discard(changes)
        assert {key: store.get(key) for key in store.list_prefix()} == {"a/k": b"1"}
        assert sorted(tmp_path.rglob("*")) == files

    def test_changes_of_another_store(self, store: WritableStore, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        other = self.make(tmp_path / "other")
        changes = other.stage_changes()
        changes.set("0/k", b"v")
        staged = store.stage()
        for wrong in (changes, staged, other, store):
            with pytest.raises(ValueError, match="not staged"):
                store.apply_changes(wrong)
            if has_trait(store, ScratchWriting):
                with pytest.raises(ValueError, match="not staged"):
                    store.with_scratch(wrong)
            with pytest.raises(ValueError, match="not staged"):
                store.link("k", wrong, "0/k")
        assert list(store.list_prefix()) == []
        for each, of in ((changes, other), (staged, store)):
            of.discard(each)

    @pytest.mark.parametrize("key", ["k", "3/k", "deleted/k", "00/k", "1"])
    def test_changes_without_a_step(self, store: WritableStore, key: str) -> None:
        store.set("k", b"1")
        changes = store.stage_changes()
        changes.set("0/k", b"2")
        changes.set(key, b"3")
        with pytest.raises(ValueError, match="step"):
            store.apply_changes(changes)
        store.discard(changes)
        assert {key: store.get(key) for key in store.list_prefix()} == {"k": b"1"}

    @pytest.mark.parametrize("gone", ['{"a": 1}', "[1]", "nothing", '[""]', '["../a"]', '["a/"]'])
    def test_malformed_lists_of_what_goes(self, store: WritableStore, gone: str) -> None:
        store.set("a/k", b"1")
        changes = store.stage_changes()
        changes.set("0/a/k", b"2")
        changes.set(DELETED, gone.encode())
        with pytest.raises(ValueError, match=r"JSON list|Expecting value|not a valid key"):
            store.apply_changes(changes)
        store.discard(changes)
        assert {key: store.get(key) for key in store.list_prefix()} == {"a/k": b"1"}

    def test_identities_of_quick_changes(self, store: WritableStore) -> None:
        seen = set()
        for i in range(50):
            changes = store.stage_changes()
            changes.set("0/a/k", bytes([i]))
            store.apply_changes(changes)
            seen.add(store.identity("a/k"))
        assert len(seen) == 50

    def test_changes_travel(self, store: WritableStore) -> None:
        if store.traits.in_memory:
            pytest.skip("a copy of it is another store")
        copy = pickle.loads(pickle.dumps(changes := store.stage_changes()))
        copy.set("0/a/k", b"1")
        pickle.loads(pickle.dumps(with_scratch(store, changes))).set("b", b"2")
        store.apply_changes(changes)
        assert {key: store.get(key) for key in store.list_prefix()} == {"a/k": b"1", "b": b"2"}

    def test_links(self, store: WritableStore) -> None:
        store.set("a/k", b"1")
        changes = store.stage_changes()
        store.link("a/k", changes, "0/b/l")
        store.link("a/k", changes, "1/c")
        with pytest.raises(StoreIOError) as caught:
            store.link("a/none", changes, "0/d")
        assert caught.value.key == "a/none"
        changes.set(DELETED, b'["a/k"]')
        store.apply_changes(changes)
        assert {key: store.get(key) for key in store.list_prefix()} == {"b/l": b"1", "c": b"1"}
        store.set("c", b"2")
        assert store.get("b/l") == b"1"

    def test_in_place(self, store: WritableStore, tmp_path: Path) -> None:
        store.set("a/k", b"1")
        files = sorted(tmp_path.rglob("*"))
        changes = store.stage_changes()
        place = with_scratch(store, changes)
        before = store.identity("a/k")
        place.set("a/k", b"2", b"3")
        place.set("new/l", b"4")
        assert store.get("a/k") == place.get("a/k") == b"23"
        assert store.identity("a/k") == place.identity("a/k") != before
        assert store.get("new/l") == b"4"
        store.discard(changes)
        delete_prefix(store, "new")
        assert sorted(tmp_path.rglob("*")) == files

    def test_durable_is_the_same_store(self, store: WritableStore) -> None:
        durable = as_durable(store)
        staged = durable.stage()
        staged.set("b/k", b"2")
        durable.publish(staged)
        durable.set("a/k", b"1")
        changes = durable.stage_changes()
        changes.set("0/c/d/k", b"3")
        durable.apply_changes(changes)
        as_durable(as_durable(store), False).set("d", b"4")
        expected = {"a/k": b"1", "b/k": b"2", "c/d/k": b"3", "d": b"4"}
        for each in (store, durable, pickle.loads(pickle.dumps(durable))):
            assert {key: each.get(key) for key in each.list_prefix()} == expected
        assert durable == store
        assert hash(durable) == hash(store)
        assert durable.identity("a/k") == store.identity("a/k")

    def test_overlay(self, store: WritableStore) -> None:
        store.set("a/k", b"0123456789")
        changes = store.stage_changes()
        overlay = Overlay(store, changes)
        assert overlay.path == store.path
        assert overlay.traits.in_memory == store.traits.in_memory
        assert overlay.get("a/k") == b"0123456789"
        assert overlay.get("a/k", memoryview(bytearray(20))) == b"0123456789"
        assert bytes(overlay.get_range("a/k", -3, 2) or b"") == b"78"
        assert overlay.identity("a/k") == store.identity("a/k")
        for key in ("b", "a/k/l"):
            assert overlay.get(key) is overlay.get_range(key, 0, 1) is overlay.identity(key) is None
        with overlay.lock("a/k"):
            overlay.set("a/k", b"new")
        overlay.set("b")
        assert overlay.identity("a/k") not in (store.identity("a/k"), None)
        assert overlay.get("b") == b""
        assert (overlay.get("a/k"), store.get("a/k")) == (b"new", b"0123456789")
        assert bytes(overlay.get_range("a/k", 1, 1) or b"") == b"e"
        assert pickle.loads(pickle.dumps(overlay)).get("a/k") == b"new"
        assert set(changes.list_prefix()) == {"0/a/k", "0/b"}
        store.apply_changes(changes)
        assert {key: store.get(key) for key in store.list_prefix()} == {"a/k": b"new", "b": b""}

    # locks

    @pytest.mark.parametrize("keys", [(), ("a/k",), ("a/k", "b", "c")])
    def test_a_lock_keeps_threads_out(self, store: WritableStore, tmp_path: Path, keys: tuple[str, ...]) -> None:
        store.set("k", b"0")
        files = sorted(tmp_path.rglob("*"))

        def count() -> None:
            for i in range(15):
                with store.lock(*keys), store.lock(*keys[:1]):
                    value = int(bytes(store.get("k") or b""))
                    if not i % 5:
                        threading.Event().wait(0.001)
                    store.set("k", b"%d" % (value + 1))

        run_together(count, count, count)
        assert store.get("k") == b"45"
        assert sorted(tmp_path.rglob("*")) == files

    def test_a_lock_goes_with_an_error(self, store: WritableStore) -> None:
        store.set("k", b"0")
        with pytest.raises(KeyError), store.lock("k"), store.lock():
            raise KeyError
        taken = []

        def take() -> None:
            with store.lock(), store.lock("k"):
                taken.append(True)

        run_together(take)
        assert taken == [True]

    def test_malformed_keys_are_not_locked(self, store: WritableStore) -> None:
        with pytest.raises(InvalidKeyError), store.lock("a", "../b"):
            raise AssertionError("locked")

    def test_the_order_of_keys_does_not_matter(self, store: WritableStore) -> None:
        keys = [f"k{i}" for i in range(100)]

        def take(order: list[str]) -> None:
            for _ in range(5):
                with store.lock(*order):
                    pass

        run_together(lambda: take(keys), lambda: take(keys[::-1]))

    def test_nothing_to_recover_or_to_clean(self, store: WritableStore) -> None:
        store.recover()
        assert store.clean() == []
        store.set("a/k", b"v")
        changes, staged = store.stage_changes(), store.stage()
        for each in (changes, staged):
            each.set("0/k", b"w")
        store.recover()
        assert store.clean() == []  # what a living process uses is left alone
        store.apply_changes(changes)
        store.publish(staged)
        assert {key: store.get(key) for key in store.list_prefix()} == {"0/k": b"w"}
