"""Stores that are only read: what one needs for a new one, and what is refused."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds.errors import ReadOnlyError
from zarrds.storage.commits.committer import Committer, committer_of
from zarrds.storage.protocol import Store, Values
from zarrds.storage.read_only import ReadOnlyStore, Source


class Members(Source):
    """The values of another store, by no more than the two methods that are asked for."""

    path = "members"

    def __init__(self, values: dict[str, bytes]) -> None:
        self.values = values

    def read(self, key: str, start: int | None, length: int | None) -> bytes | None:
        value = self.values.get(key)
        if value is None or start is None or length is None:
            return value
        first = max(len(value) + start, 0) if start < 0 else start
        return value[first : first + length]

    def names(self, prefix: str) -> Iterable[str]:
        return [key for key in self.values if key.startswith(prefix)]


@pytest.fixture
def store() -> ReadOnlyStore:
    filled = zarrds.MemoryStore()
    tree = xr.DataTree.from_dict({"/": xr.Dataset({"t2m": ("x", np.arange(6.0))}, {"x": np.arange(6)}), "/a/b": None})
    zarrds.save(tree, filled, encoding={"/": {"t2m": {"chunks": (2,), "shards": (4,)}}})
    return ReadOnlyStore(Members({key: bytes(filled.get(key) or b"") for key in filled.list_prefix()}))


def test_two_methods_are_enough(store: ReadOnlyStore) -> None:
    assert isinstance(store, Store)
    with xr.open_datatree(store, engine="zarrds") as tree:
        np.testing.assert_array_equal(tree["t2m"][1:5], np.arange(1.0, 5.0))
    assert zarrds.verify(store).ok
    assert store.list_children() == ["a", "t2m", "x"]
    assert [name for name, _ in zarrds.open_group(store).groups()] == ["a"]


def test_the_identity_is_of_the_value(store: ReadOnlyStore) -> None:
    before = store.identity("zarr.json", settled=True)
    assert before == store.identity("zarr.json") != store.identity("x/zarr.json")
    assert store.identity("none") is None
    store._source.values["zarr.json"] += b" "
    assert store.identity("zarr.json") != before


def test_what_changes_it_is_refused(store: ReadOnlyStore, tmp_path: Path) -> None:
    committer = committer_of(store)
    committer.recover()
    assert committer.clean() == []
    for call in (
        lambda: store.set("k", b""),
        lambda: store.delete("zarr.json"),
        committer.stage,
        committer.stage_changes,
        lambda: zarrds.update_attrs(store, {"a": 1}),
        lambda: zarrds.save(xr.Dataset({"v": ("x", [1])}), store, mode="w"),
    ):
        with pytest.raises(ReadOnlyError, match="only be read"):
            call()


def test_the_protocol_of_a_store_is_small() -> None:
    def methods(protocol: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(protocol, inspect.isfunction) if not name.startswith("_")}

    assert len(methods(Store)) == 8
    assert {name for name in dir(Store) if not name.startswith("_")} - methods(Store) == {"path", "traits"}
    assert methods(Values) == {"get", "get_range", "set", "identity", "lock"}
    assert len(methods(Committer)) == 8
