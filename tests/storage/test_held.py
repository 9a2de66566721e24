"""Changes that are held in memory answer as the store behind them does once they are written there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zarrds import MemoryStore
from zarrds.storage.held import HeldChanges
from zarrds.storage.traits import Fetched, get_at_most

VALUES = {"0/a/c.0": b"first", "0/a/c.1": b"another", "1/zarr.json": b"{}"}
QUESTIONS: dict[str, Callable[[Any], Any]] = {
    "get": lambda store: [bytes(store.get(key)) for key in VALUES],
    "get of what is absent": lambda store: store.get("0/b"),
    "get_range": lambda store: bytes(store.get_range("0/a/c.1", 2, 3)),
    "get_at_most": lambda store: bytes(get_at_most(store, "0/a/c.1", 100)),
    "get_spans": lambda store: [bytes(part) for part in store.get_spans("0/a/c.1", [(0, 2), (3, 4)])],
    "get_tail": lambda store: (lambda part, size: (bytes(part), size))(*store.get_tail("0/a/c.1", 4, 10)),
    "get_tail of what is absent": lambda store: store.get_tail("0/b", 0, 4),
    "get_many": lambda store: {key: bytes(each.value) for key, each in store.get_many(list(VALUES)).items()},
    "identity": lambda store: [store.identity(key) is None for key in (*VALUES, "0/b")],
    "list_prefix": lambda store: sorted(store.list_prefix("0")),
    "list_children": lambda store: sorted(store.list_children("0/a")),
    "list_sizes": lambda store: dict(store.list_sizes()),
}


class Behind(MemoryStore):
    """A store of which spans and ends of values can be asked for, and several values at once."""

    def get_many(self, keys: list[str], **_options: Any) -> dict[str, Fetched]:
        return {key: Fetched(self.get(key), self.identity(key)) for key in keys}

    def get_spans(self, key: str, spans: Any) -> Any:
        return [self.get_range(key, *span) for span in spans]

    def get_tail(self, key: str, start: int, length: int) -> Any:
        whole = self.get(key)
        return None if whole is None else (self.get_range(key, start, length), len(whole))


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers(question: str) -> None:
    changes = HeldChanges(Behind())
    for key, value in VALUES.items():
        changes.set(key, value)
    held = QUESTIONS[question](changes)
    assert changes.held() is not None
    assert QUESTIONS[question](changes.written()) == held
    assert changes.held() is None
    assert QUESTIONS[question](changes) == held


@pytest.mark.parametrize("is_written", [False, True])
def test_what_is_removed_is_gone(is_written: bool) -> None:
    changes = HeldChanges(Behind())
    for key, value in VALUES.items():
        changes.set(key, value)
    if is_written:
        changes.written()
    changes.delete("1/zarr.json")
    assert sorted(changes.list_prefix()) == ["0/a/c.0", "0/a/c.1"]
    changes.delete_prefix("0/a")
    assert list(changes.list_prefix()) == []
