"""Any sequence of operations on a store, against a dictionary."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zarrds.storage.commits.committer import DELETED, WritableStore
from zarrds.storage.traits import delete_prefix
from zarrds.stores import Store

# files and folders never share a name, since a directory cannot hold both
FOLDERS = st.lists(st.sampled_from(["a", "ab", "ä b"]), max_size=3).map("/".join)
NAMES = st.sampled_from(["x", ".zgroup", "zarr.json", "0.0"])
KEYS = st.builds(lambda folder, name: f"{folder}/{name}" if folder else name, FOLDERS, NAMES)
GONE = KEYS | FOLDERS.filter(bool)
VALUES = st.lists(st.binary(max_size=20), max_size=4)


def below(model: dict[str, bytes], prefix: str) -> set[str]:
    return {key for key in model if not prefix or key.startswith(prefix + "/")}


class StoreMachine(RuleBasedStateMachine):
    """Any sequence of operations on a store and on a dictionary."""

    make: ClassVar[Callable[[Path], WritableStore]]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = type(self).make(self.folder)
        self.model: dict[str, bytes] = {}
        self.staged: list[tuple[Store, dict[str, bytes]]] = []
        self.changes: list[tuple[Store, list[tuple[str, bytes]], list[str]]] = []

    def teardown(self) -> None:
        for staged, _ in self.staged:
            self.store.discard(staged)
        self.drop_changes()
        shutil.rmtree(self.folder)

    def drop_changes(self) -> None:
        """They may go with the keys of the store: the contract leaves that open."""
        for changes, _, _ in self.changes:
            self.store.discard(changes)
        self.changes.clear()

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
        delete_prefix(self.store, prefix)
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

    @rule(values=st.dictionaries(KEYS, VALUES, max_size=3))
    def stage(self, values: dict[str, list[bytes]]) -> None:
        staged = self.store.stage()
        for key, parts in values.items():
            staged.set(key, *parts)
        self.staged.append((staged, {key: b"".join(parts) for key, parts in values.items()}))

    @rule(data=st.data(), publish=st.booleans())
    def end_stage(self, data: st.DataObject, publish: bool) -> None:
        if not self.staged:
            return
        staged, values = entry = data.draw(st.sampled_from(self.staged))
        self.staged.remove(entry)
        if not publish:
            self.store.discard(staged)
            return
        self.drop_changes()
        self.store.publish(staged)
        self.model = dict(values)

    @rule(steps=st.lists(st.tuples(st.sampled_from("012"), KEYS, VALUES), max_size=4), gone=st.lists(GONE, max_size=2))
    def stage_changes(self, steps: list[tuple[str, str, list[bytes]]], gone: list[str]) -> None:
        changes = self.store.stage_changes()
        values = {}
        for step, key, parts in steps:
            changes.set(f"{step}/{key}", *parts)
            values[f"{step}/{key}"] = b"".join(parts)
        if gone:
            changes.set(DELETED, json.dumps(gone).encode())
        self.changes.append((changes, [(key[2:], values[key]) for key in sorted(values)], gone))

    @rule(data=st.data(), apply=st.booleans())
    def end_changes(self, data: st.DataObject, apply: bool) -> None:
        if not self.changes:
            return
        changes, values, gone = entry = data.draw(st.sampled_from(self.changes))
        self.changes.remove(entry)
        if not apply:
            self.store.discard(changes)
            return
        before = {key: self.store.identity(key) for key, _ in values}
        with self.store.lock():
            self.store.recover()
            self.store.apply_changes(changes)
        self.model |= values
        for name in gone:
            self.model.pop(name, None)
            for key in below(self.model, name):
                del self.model[key]
        for key in before.keys() & self.model.keys():
            assert self.store.identity(key) not in (before[key], None)

    @rule()
    def clean(self) -> None:
        assert self.store.clean() == []  # all that is staged is ours

    @invariant()
    def nothing_else(self) -> None:
        assert {key: bytes(self.store.get(key) or b"") for key in self.store.list_prefix()} == self.model
