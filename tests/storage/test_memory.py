from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import xarray as xr

import zarrds
from zarrds.storage.protocol import Traits
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


class _Unhashable(MemoryStore):
    """As a store of a user's own may be, which is a dataclass."""

    traits = Traits(is_remote=True, concurrency=4)
    __hash__ = None  # type: ignore[assignment]  # as mutable classes have it

    def __eq__(self, other: object) -> bool:
        return self is other


def test_stores_need_no_hash() -> None:
    store = _Unhashable()
    ds = xr.Dataset({"a": ("x", np.arange(4.0)), "b": ("x", np.arange(4))}, {"x": list("abcd")})
    zarrds.save(ds, store)
    xr.testing.assert_identical(xr.open_dataset(store, engine="zarrds").load(), ds)
