"""What every store must do: a class that the tests of each store inherit."""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from zarrds.errors import InvalidKeyError, StoreExistsError
from zarrds.stores import Store

MALFORMED = [
    "",
    "/",
    "/a",
    "a//b",
    "..",
    "../a",
    "a/../b",
    "a/..",
    ".",
    "./a",
    "a/.",
    "a\\b",
    "a\0b",
    "a/",
    "a\n/../b",
    "a\ud800",
]

# files and folders never share a name, since a directory cannot hold both
FOLDERS = st.lists(st.sampled_from(["a", "ab", "ä b"]), max_size=3).map("/".join)
NAMES = st.sampled_from(["x", ".zgroup", "zarr.json", "0.0"])
KEYS = st.builds(lambda folder, name: f"{folder}/{name}" if folder else name, FOLDERS, NAMES)
VALUES = st.lists(st.binary(max_size=20), max_size=4)


def below(model: dict[str, bytes], prefix: str) -> set[str]:
    return {key for key in model if not prefix or key.startswith(prefix + "/")}


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


class StoreMachine(RuleBasedStateMachine):
    """Any sequence of operations on a store and on a dictionary."""

    make: ClassVar[Callable[[Path], Store]]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = type(self).make(self.folder)
        self.model: dict[str, bytes] = {}
        self.staged: list[tuple[str, Store, dict[str, bytes]]] = []

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def drop_staged_below(self, prefix: str) -> None:
        """Staged stores may go with the keys around them: the contract leaves that open."""
        for entry in list(self.staged):
            if entry[0] == prefix or entry[0].startswith(prefix and prefix + "/"):
                self.store.discard(entry[1])
                self.staged.remove(entry)

    @rule(key=KEYS, parts=VALUES)
    def set(self, key: str, parts: list[bytes]) -> None:
        before = self.store.identity(key)
        self.store.set(key, *parts)
        assert self.store.identity(key) not in (before, None)
        self.model[key] = b"".join(parts)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.store.delete(key)
        self.model.pop(key, None)

    @rule(prefix=FOLDERS)
    def delete_prefix(self, prefix: str) -> None:
        self.drop_staged_below(prefix)
        self.store.delete_prefix(prefix)
        for key in below(self.model, prefix):
            del self.model[key]

    @rule(key=KEYS, size=st.none() | st.integers(0, 100))
    def get(self, key: str, size: int | None) -> None:
        value = self.store.get(key, None if size is None else memoryview(bytearray(size)))
        assert (None if value is None else bytes(value)) == self.model.get(key)
        assert (self.store.identity(key) is None) == (key not in self.model)

    @rule(prefix=FOLDERS)
    def list_below(self, prefix: str) -> None:
        keys = [*self.store.list_prefix(prefix)]
        assert len(keys) == len({*keys})
        assert {*keys} == below(self.model, prefix)
        start = len(prefix) + 1 if prefix else 0
        folders = {key[start:].split("/")[0] for key in keys if "/" in key[start:]}
        assert self.store.list_children(prefix) == sorted(folders)

    @rule(prefix=FOLDERS, values=st.dictionaries(KEYS, VALUES, max_size=3))
    def stage(self, prefix: str, values: dict[str, list[bytes]]) -> None:
        staged = self.store.stage(prefix)
        for key, parts in values.items():
            staged.set(key, *parts)
        self.staged.append((prefix, staged, {key: b"".join(parts) for key, parts in values.items()}))

    @rule(data=st.data(), publish=st.booleans())
    def end_stage(self, data: st.DataObject, publish: bool) -> None:
        if not self.staged:
            return
        prefix, staged, values = entry = data.draw(st.sampled_from(self.staged))
        self.staged.remove(entry)
        if not publish:
            self.store.discard(staged)
            return
        self.drop_staged_below(prefix)
        self.store.publish(staged, prefix)
        for key in below(self.model, prefix):
            del self.model[key]
        self.model |= {f"{prefix}/{key}" if prefix else key: value for key, value in values.items()}

    @invariant()
    def nothing_else(self) -> None:
        assert {key: bytes(self.store.get(key) or b"") for key in self.store.list_prefix()} == self.model


class StoreContract:
    """Inherit from this and say how a new, empty store is made."""

    def make(self, folder: Path) -> Store:
        """Return a new, empty store; `folder` exists and is its own."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return self.make(tmp_path)

    @pytest.fixture(autouse=True)
    def _no_leaked_descriptors(self) -> Iterator[None]:
        folder = Path("/proc/self/fd")
        before = len(os.listdir(folder)) if folder.is_dir() else 0
        yield
        assert (len(os.listdir(folder)) if folder.is_dir() else 0) <= before

    def test_is_a_store(self, store: Store) -> None:
        assert isinstance(store, Store)
        assert store.path
        assert store.path in repr(store)

    def test_any_sequence_of_operations(self) -> None:
        machine = type("Machine", (StoreMachine,), {"make": staticmethod(self.make)})
        run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=20))

    # values

    @pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 1000])
    def test_buffer_of_any_size(self, store: Store, size: int) -> None:
        store.set("a/k", b"0123456789")
        buffer = bytearray(b"\xff" * size)
        value = store.get("a/k", memoryview(buffer))
        assert value == b"0123456789"
        assert len(buffer) == size

    @pytest.mark.parametrize("buffer_size", [None, 0, 5, 100])
    def test_ranges_are_slices_of_the_value(self, store: Store, buffer_size: int | None) -> None:
        value = bytes(range(40))
        store.set("a/range", value)
        for start, length in itertools.product([0, 3, 39, 40, 50, -1, -7, -40, -60], [0, 1, 7, 40, 100]):
            buffer = None if buffer_size is None else memoryview(bytearray(buffer_size))
            got = store.get_range("a/range", start, length, buffer)
            first = max(40 + start, 0) if start < 0 else start
            assert got is not None
            assert bytes(got) == value[first : first + length]
        assert store.get_range("a/none", 0, 5) is None

    def test_value_outlives_other_reads(self, store: Store) -> None:
        store.set("k", b"first")
        value = store.get("k")
        larger_than_buffer = store.get("k", memoryview(bytearray(3)))
        store.set("k", b"other")
        assert store.get("k", memoryview(bytearray(3))) == b"other"
        assert value == larger_than_buffer == b"first"

    @pytest.mark.parametrize("size", [None, 0, 8])
    def test_zero_length_value_is_not_absence(self, store: Store, size: int | None) -> None:
        store.set("k")
        store.set("l", b"", memoryview(b""))
        for key in ("k", "l"):
            value = store.get(key, None if size is None else memoryview(bytearray(size)))
            assert value is not None
            assert len(value) == 0
            assert store.identity(key) is not None

    def test_many_parts_of_every_kind(self, store: Store) -> None:
        parts = [bytes([i % 251]) * (i % 7) for i in range(5000)]
        store.set("k", *(kind(part) for part, kind in zip(parts, [bytes, bytearray, memoryview] * 1700, strict=False)))
        assert store.get("k") == b"".join(parts)
        table = memoryview(b"123456").cast("B", (2, 3))
        empty = memoryview(np.empty((0, 3)))
        store.set("k", memoryview(bytearray(8)).cast("d"), empty, table)
        assert store.get("k") == bytes(8) + b"123456"

    def test_value_is_a_copy_of_the_parts(self, store: Store) -> None:
        part = bytearray(b"abc")
        store.set("k", part)
        part[:] = b"xyz"
        assert store.get("k") == b"abc"

    def test_large_value(self, store: Store) -> None:
        value = os.urandom(1 << 20) * 9
        store.set("k", value[:100], value[100:])
        assert store.get("k") == value
        assert store.get("k", memoryview(bytearray(1000))) == value
        assert store.get("k", memoryview(bytearray(10 << 20))) == value

    # keys

    @pytest.mark.parametrize("key", MALFORMED)
    def test_malformed_keys_are_refused_everywhere(self, store: Store, tmp_path: Path, key: str) -> None:
        store.set("a/b", b"kept")
        files = sorted(tmp_path.rglob("*"))
        calls: list[Callable[[], object]] = [
            lambda: store.get(key),
            lambda: store.set(key, b"v"),
            lambda: store.delete(key),
            lambda: store.identity(key),
        ]
        if key:  # the empty prefix is the whole store
            calls += [
                lambda: store.delete_prefix(key),
                lambda: store.list_prefix(key),
                lambda: store.list_children(key),
                lambda: store.stage(key),
                lambda: store.publish(store, key),
            ]
        for call in calls:
            with pytest.raises(InvalidKeyError) as caught:
                call()
            assert caught.value.path == store.path
            assert caught.value.key == key
        assert list(store.list_prefix()) == ["a/b"]
        assert store.get("a/b") == b"kept"
        assert sorted(tmp_path.rglob("*")) == files

    def test_absent(self, store: Store) -> None:
        store.set("a/b", b"v")
        for key in ("b", "a", "a/c", "c/d/e", "a/b/c"):
            assert store.get(key) is None
            assert store.get(key, memoryview(bytearray(4))) is None
            assert store.identity(key) is None
            store.delete(key)
            assert list(store.list_prefix(key)) == (["a/b"] if key == "a" else [])
        store.delete_prefix("nothing")
        store.delete_prefix("a/b")  # a key, with no keys below it
        assert store.get("a/b") == b"v"

    # many at once

    def test_readers_see_whole_values_only(self, store: Store) -> None:
        values = [bytes([i]) * size for i, size in enumerate([300_000, 7, 100_000, 300_001])]
        store.set("a/k", values[0])
        done = threading.Event()

        def write() -> None:
            try:
                for i in range(200):
                    store.set("a/k", values[i % 4][:5], values[i % 4][5:])
            finally:
                done.set()

        def read() -> None:
            buffer = memoryview(bytearray(200_000))
            while not done.is_set():
                assert store.get("a/k", buffer) in values
                assert store.get("a/k") in values
                assert list(store.list_prefix()) == ["a/k"]

        run_together(write, read, read)

    def test_writers_and_removers_at_once(self, store: Store) -> None:
        def write() -> None:
            for i in range(100):
                store.set(f"a/b/{i % 3}/k", b"v" * i)

        def remove() -> None:
            for i in range(60):
                store.delete_prefix(["a", "a/b", ""][i % 3])
                store.delete("a/b/0/k")
                list(store.list_prefix())
                store.list_children("a")

        run_together(write, write, remove, remove)
        store.delete_prefix("")
        assert list(store.list_prefix()) == []

    def test_identity_of_quick_rewrites(self, store: Store) -> None:
        seen = set()
        for i in range(300):
            store.set("k", bytes([i % 256]))
            seen.add(store.identity("k"))
        assert len(seen) == 300
        assert pickle.loads(pickle.dumps(store.identity("k"))) == store.identity("k")

    # staging

    @pytest.mark.parametrize("prefix", ["", "g", "g/h"])
    @pytest.mark.parametrize("publish", [True, False])
    def test_stage(self, store: Store, tmp_path: Path, prefix: str, publish: bool) -> None:
        start = prefix and f"{prefix}/"
        old = {"top": b"1", "gg/k": b"2", f"{start}old": b"3", f"{start}deep/er": b"4"}
        for key, value in old.items():
            store.set(key, value)
        files = sorted(tmp_path.rglob("*"))
        staged = store.stage(prefix)
        assert list(staged.list_prefix()) == []
        staged.set("old", b"new 3")
        staged.set("more/k", b"new 4")
        copy = pickle.loads(pickle.dumps(staged))
        assert copy.get("more/k") == b"new 4"
        assert set(store.list_prefix()) == set(old)
        assert store.get(f"{start}old") == b"3"
        if publish:
            store.publish(staged, prefix)
            kept = {key: value for key, value in old.items() if not key.startswith(start)}
            expected = kept | {f"{start}old": b"new 3", f"{start}more/k": b"new 4"}
        else:
            store.discard(staged)
            store.discard(staged)  # nothing is left to do
            expected = old
            assert sorted(tmp_path.rglob("*")) == files
        assert {key: store.get(key) for key in store.list_prefix()} == expected

    @pytest.mark.parametrize("prefix", ["", "g/h"])
    def test_publish_without_replacing(self, store: Store, prefix: str) -> None:
        base = prefix and f"{prefix}/"
        first, second = store.stage(prefix), store.stage(prefix)
        first.set("a", b"first")
        second.set("a", b"second")
        store.publish(first, prefix, replace=False)
        with pytest.raises(StoreExistsError):
            store.publish(second, prefix, replace=False)
        store.discard(second)
        assert {key: bytes(store.get(key) or b"") for key in store.list_prefix()} == {f"{base}a": b"first"}

    def test_publish_nothing(self, store: Store) -> None:
        store.set("a/k", b"v")
        store.set("b", b"v")
        store.publish(store.stage("a"), "a")
        assert list(store.list_prefix()) == ["b"]
        store.publish(store.stage(), "")
        assert list(store.list_prefix()) == []

    def test_readers_see_old_or_new_stage(self, store: Store) -> None:
        store.set("g/k", b"0")
        done = threading.Event()

        def write() -> None:
            try:
                for i in range(1, 60):
                    staged = store.stage("g")
                    staged.set("k", b"%d" % i)
                    store.publish(staged, "g")
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

    def test_only_what_was_staged_here(self, store: Store, tmp_path: Path) -> None:
        store.set("a/k", b"v")
        (tmp_path / "other").mkdir()
        other = self.make(tmp_path / "other")
        other.set("k", b"precious")
        with pytest.raises(ValueError, match="not staged"):
            store.publish(other, "a")
        with pytest.raises(ValueError, match="not staged"):
            store.discard(other)
        staged = store.stage("b")
        with pytest.raises(ValueError, match="not staged"):
            store.publish(staged, "a")
        assert store.get("a/k") == b"v"
        assert other.get("k") == b"precious"

    def test_errors_of_a_staged_store_name_the_place_it_is_for(self, store: Store) -> None:
        assert store.stage().path == store.path
        assert store.stage("a/b").path == f"{store.path}/a/b"

    # copies

    def test_pickle(self, store: Store) -> None:
        store.set("a/k", b"v")
        copy = pickle.loads(pickle.dumps(store))
        assert copy.path == store.path
        assert copy.get("a/k") == b"v"
        assert copy.identity("a/k") == store.identity("a/k")
        copy.set("a/l", b"w")
        assert copy.get("a/l") == b"w"
