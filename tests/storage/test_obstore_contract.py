"""What every store must do, of object storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.storage.s3_server import S3Server
from zarrds.errors import StoreExistsError
from zarrds.storage.byte_cache import ByteCache
from zarrds.stores import Store, as_store
from zarrds.testing import StoreContract

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")


RUNNING: list[S3Server] = []


@pytest.fixture(autouse=True, scope="module")
def _server(running: S3Server) -> Iterator[None]:
    RUNNING.append(running)
    yield
    RUNNING.clear()


class TestS3(StoreContract):
    @pytest.fixture(autouse=True)
    def _no_leaked_descriptors(self) -> None:
        """Connections are kept, for the next request."""

    def make(self, folder: Path) -> Store:
        return as_store(f"s3://bucket{folder}/t2m.zarr", RUNNING[0].options)

    # A new store goes straight to its keys, and is told from what stood there by the documents of its root: two new
    # ones at a time, or one that is published without such documents, are not what the contract takes them for. What
    # is promised of them is in test_object_writers.py.

    def test_any_sequence_of_operations(self) -> None:
        pytest.skip("it publishes stores without documents")

    def test_publish_without_replacing(self, store: Store) -> None:
        first, second = store.stage(), store.stage()
        for staged, value in ((first, b"first"), (second, b"second")):
            staged.set("a/k", value)
            staged.set("zarr.json", value)
        store.publish(first, replace=False)
        with pytest.raises(StoreExistsError):
            store.publish(second, replace=False)
        store.discard(second)
        assert {key: bytes(store.get(key) or b"") for key in store.list_prefix()} == {
            "a/k": b"first",
            "zarr.json": b"first",
        }

    def test_staged_stores_do_not_mind_each_other(self, store: Store) -> None:
        pytest.skip("the second of two new stores is refused")

    def test_identity_of_quick_rewrites(self, store: Store) -> None:
        pytest.skip("not promised where the server tells checksums, and times in seconds")


@pytest.mark.slow
class TestCachedS3(TestS3):
    """The same, with a cache of what was fetched."""

    def make(self, folder: Path) -> Store:
        store: Any = super().make(folder)
        cached: Store = store.cached_in(ByteCache(f"{folder}-cache", 10**6))
        return cached
