from __future__ import annotations

import pickle
from pathlib import Path

from zarrds.stores import MemoryStore
from zarrds.testing import StoreContract


class TestMemoryStore(StoreContract):
    def make(self, folder: Path) -> MemoryStore:
        return MemoryStore()

    def test_copies_go_their_own_way(self) -> None:
        one = MemoryStore()
        one.set("k", b"1")
        two = pickle.loads(pickle.dumps(one))
        one.set("k", b"2")
        two.set("k", b"3")
        assert (one.get("k"), two.get("k")) == (b"2", b"3")
        assert one.identity("k") != two.identity("k")

    def test_every_store_has_its_own_name(self) -> None:
        assert len({MemoryStore().path for _ in range(100)}) == 100

    def test_dask_token_is_of_the_content(self) -> None:
        store = MemoryStore()
        tokens = [store.__dask_tokenize__(), MemoryStore().__dask_tokenize__()]

        def note() -> None:
            tokens.append(store.__dask_tokenize__())

        store.set("a/k", b"1")
        note()
        store.set("a/k", b"1")
        note()
        store.delete("a/k")
        note()
        store.publish(store.stage())
        note()
        store.delete_prefix("")
        note()
        assert len(set(tokens)) == len(tokens)
        copy = pickle.loads(pickle.dumps(store))
        assert copy.__dask_tokenize__() == store.__dask_tokenize__()
        copy.set("k", b"1")
        store.set("k", b"2")
        assert copy.__dask_tokenize__() != store.__dask_tokenize__()
