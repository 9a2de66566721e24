"""What every store must do: a class that the tests of each store inherit."""

from __future__ import annotations

import itertools
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from zarrds.errors import InvalidKeyError
from zarrds.storage.commits.committer import WritableStore
from zarrds.storage.traits import SizedListing, delete_prefix, list_sizes
from zarrds.stores import Store
from zarrds.testing.changing import ChangingContract, run_together
from zarrds.testing.machine import StoreMachine

__all__ = ["StoreContract"]

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


class StoreContract(ChangingContract):
    """Inherit from this and say how a new, empty store is made."""

    @pytest.fixture(autouse=True)
    def _no_leaked_descriptors(self) -> Iterator[None]:
        folder = Path("/proc/self/fd")
        before = len(os.listdir(folder)) if folder.is_dir() else 0
        yield
        assert (len(os.listdir(folder)) if folder.is_dir() else 0) <= before

    def test_is_a_store(self, store: WritableStore) -> None:
        assert isinstance(store, Store)
        assert store.path
        assert store.path in repr(store)

    def test_any_sequence_of_operations(self) -> None:
        machine = type("Machine", (StoreMachine,), {"make": staticmethod(self.make)})
        run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=20))

    # values

    @pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 1000])
    def test_buffer_of_any_size(self, store: WritableStore, size: int) -> None:
        store.set("a/k", b"0123456789")
        buffer = bytearray(b"\xff" * size)
        value = store.get("a/k", memoryview(buffer))
        assert value == b"0123456789"
        assert len(buffer) == size

    @pytest.mark.parametrize("buffer_size", [None, 0, 5, 100])
    def test_ranges_are_slices_of_the_value(self, store: WritableStore, buffer_size: int | None) -> None:
        value = bytes(range(40))
        store.set("a/range", value)
        for start, length in itertools.product([0, 3, 39, 40, 50, -1, -7, -40, -60], [0, 1, 7, 40, 100]):
            buffer = None if buffer_size is None else memoryview(bytearray(buffer_size))
            got = store.get_range("a/range", start, length, buffer)
            first = max(40 + start, 0) if start < 0 else start
            assert got is not None
            assert bytes(got) == value[first : first + length]
        assert store.get_range("a/none", 0, 5) is None

    def test_value_outlives_other_reads(self, store: WritableStore) -> None:
        store.set("k", b"first")
        value = store.get("k")
        larger_than_buffer = store.get("k", memoryview(bytearray(3)))
        store.set("k", b"other")
        assert store.get("k", memoryview(bytearray(3))) == b"other"
        assert value == larger_than_buffer == b"first"

    @pytest.mark.parametrize("size", [None, 0, 8])
    def test_zero_length_value_is_not_absence(self, store: WritableStore, size: int | None) -> None:
        store.set("k")
        store.set("l", b"", memoryview(b""))
        for key in ("k", "l"):
            value = store.get(key, None if size is None else memoryview(bytearray(size)))
            assert value is not None
            assert len(value) == 0
            assert store.identity(key) is not None

    def test_many_parts_of_every_kind(self, store: WritableStore) -> None:
        parts = [bytes([i % 251]) * (i % 7) for i in range(5000)]
        store.set("k", *(kind(part) for part, kind in zip(parts, [bytes, bytearray, memoryview] * 1700, strict=False)))
        assert store.get("k") == b"".join(parts)
        table = memoryview(b"123456").cast("B", (2, 3))
        none: Any = np.empty((0, 3))  # typed as what has a buffer from Python 3.12 on only
        numbers: Any = memoryview(bytearray(8)).cast("d")
        store.set("k", numbers, memoryview(none), table)
        assert store.get("k") == bytes(8) + b"123456"

    def test_value_is_a_copy_of_the_parts(self, store: WritableStore) -> None:
        part = bytearray(b"abc")
        store.set("k", part)
        part[:] = b"xyz"
        assert store.get("k") == b"abc"

    def test_large_value(self, store: WritableStore) -> None:
        value = os.urandom(1 << 20) * 9
        store.set("k", value[:100], value[100:])
        assert store.get("k") == value
        assert store.get("k", memoryview(bytearray(1000))) == value
        assert store.get("k", memoryview(bytearray(10 << 20))) == value

    # keys

    @pytest.mark.parametrize("key", MALFORMED)
    def test_malformed_keys_are_refused_everywhere(self, store: WritableStore, tmp_path: Path, key: str) -> None:
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
                lambda: delete_prefix(store, key),
                lambda: store.list_prefix(key),
                lambda: store.list_children(key),
            ]
        for call in calls:
            with pytest.raises(InvalidKeyError) as caught:
                call()
            assert caught.value.path == store.path
            assert caught.value.key == key
        assert list(store.list_prefix()) == ["a/b"]
        assert store.get("a/b") == b"kept"
        assert sorted(tmp_path.rglob("*")) == files

    def test_listings_with_sizes(self, store: WritableStore) -> None:
        sizes = {"a/b": 0, "a/c/0": 70_000, "ab": 3}
        for key, size in sizes.items():
            store.set(key, bytes(size))
        assert isinstance(store, SizedListing)
        assert dict(list_sizes(store)) == sizes
        assert dict(list_sizes(store, "a")) == {"a/b": 0, "a/c/0": 70_000}
        assert list(list_sizes(store, "z")) == []

    def test_absent(self, store: WritableStore) -> None:
        store.set("a/b", b"v")
        for key in ("b", "a", "a/c", "c/d/e", "a/b/c"):
            assert store.get(key) is None
            assert store.get(key, memoryview(bytearray(4))) is None
            assert store.identity(key) is None
            store.delete(key)
            assert list(store.list_prefix(key)) == (["a/b"] if key == "a" else [])
        delete_prefix(store, "nothing")
        delete_prefix(store, "a/b")  # a key, with no keys below it
        assert store.get("a/b") == b"v"

    # many at once

    def test_readers_see_whole_values_only(self, store: WritableStore) -> None:
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

    def test_writers_and_removers_at_once(self, store: WritableStore) -> None:
        def write() -> None:
            for i in range(100):
                store.set(f"a/b/{i % 3}/k", b"v" * i)

        def remove() -> None:
            for i in range(60):
                delete_prefix(store, ["a", "a/b", ""][i % 3])
                store.delete("a/b/0/k")
                list(store.list_prefix())
                store.list_children("a")

        run_together(write, write, remove, remove)
        delete_prefix(store, "")
        assert list(store.list_prefix()) == []

    def test_identity_of_quick_rewrites(self, store: WritableStore) -> None:
        seen = set()
        for i in range(300):
            store.set("k", bytes([i % 256]))
            seen.add(store.identity("k"))
        assert len(seen) == 300
        assert pickle.loads(pickle.dumps(store.identity("k"))) == store.identity("k")

    # copies

    def test_pickle(self, store: WritableStore) -> None:
        store.set("a/k", b"v")
        copy = pickle.loads(pickle.dumps(store))
        assert copy.path == store.path
        assert copy.get("a/k") == b"v"
        assert copy.identity("a/k") == store.identity("a/k")
        copy.set("a/l", b"w")
        assert copy.get("a/l") == b"w"
