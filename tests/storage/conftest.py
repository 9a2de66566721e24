"""Places for stores: a folder, and the tests' own S3 server, empty for each test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.storage.s3_server import S3Server, serving
from zarrds.storage.fsspec import commits
from zarrds.storage.fsspec.store import RemoteStore
from zarrds.storage.obstore.changes import committing, prefetch
from zarrds.stores import LocalStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "t2m.zarr"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


@pytest.fixture(scope="module")
def running() -> Iterator[S3Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    running.clear()
    monkeypatch.setattr(prefetch, "_keys_by_name", {})
    return running


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gives no heartbeat counts as dead soon."""
    monkeypatch.setattr(commits, "_PATIENCE", 0.05)
    monkeypatch.setattr(commits, "_POLL", 0.01)


@pytest.fixture
def _without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads are as other machines then."""
    monkeypatch.setattr(RemoteStore, "lock", lambda self, *keys: nullcontext())


@pytest.fixture
def _as_machines(_impatient: None, _without_locks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads are as other machines then, also to each other: who is alive is waited for."""
    monkeypatch.setattr(commits, "_PATIENCE", 20.0)
    for module in (commits, committing):
        monkeypatch.setattr(module, "process_id", lambda: f"thread {threading.get_ident()}")
