"""Processes that die, or whose file operations fail, while they change a directory store."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.storage.mortal import ACTIONS, OLD, RESULTS, fill
from zarrds.storage.local import files
from zarrds.stores import LocalStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

PROJECT = Path(__file__).resolve().parents[2]


class Server:
    """A process that is asked to let a child change a store."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.storage.mortal"]
        self.process = subprocess.Popen(
            command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def ask(self, **order: Any) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        return self.answer()

    def answer(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    with server.process:
        yield server
        assert server.process.stdin is not None
        server.process.stdin.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "t2m.zarr"


def content(root: Path) -> dict[str, bytes]:
    store = LocalStore(root)
    return {key: bytes(store.get(key) or b"") for key in store.list_prefix()}


def check(root: Path, action: str) -> int:
    """Check that the store is the old or the new one, and return which; nothing else may be left."""
    store = LocalStore(root)
    store.recover()
    found = content(root)
    assert found in [OLD, *RESULTS[action]]
    store.clean()
    assert content(root) == found
    assert [path for path in root.parent.rglob("*") if files.is_partial(path.name)] == []
    assert os.listdir(root.parent) == ["t2m.zarr"]
    return [OLD, *RESULTS[action]].index(found)


VARIANTS = [(action, True, action in ("change", "set")) for action in ACTIONS]
VARIANTS += [("publish", False, True)]


@pytest.mark.parametrize(("action", "exchange", "durable"), VARIANTS)
def test_dead_at_any_operation(server: Server, root: Path, action: str, exchange: bool, durable: bool) -> None:
    fill(LocalStore(root))
    seen = []
    for at in range(1000):
        code = server.ask(root=str(root), do=action, at=at, how="die", exchange=exchange, durable=durable)
        seen.append(check(root, action))
        if seen[-1]:
            shutil.rmtree(root)
            fill(LocalStore(root))
        if code != 9:
            break
    assert code == 0
    assert seen == sorted(seen)
    assert set(seen) == set(range(len(RESULTS[action]) + 1))
    assert len(seen) > 15


@pytest.mark.parametrize("how", ["ENOSPC", "EACCES", "EIO"])
@pytest.mark.parametrize(("action", "exchange", "durable"), VARIANTS)
def test_any_operation_fails(server: Server, root: Path, action: str, exchange: bool, durable: bool, how: str) -> None:
    fill(LocalStore(root))
    outcomes = set()
    for at in range({"ENOSPC": 0, "EACCES": 1, "EIO": 2}[how], 1000, 3):  # each of them once, in one way
        code = server.ask(root=str(root), do=action, at=at, how=how, exchange=exchange, durable=durable)
        assert code in (0, 1, 2)
        found = check(root, action)
        # what went well, although an operation failed, did so
        assert code == 2 or found == len(RESULTS[action])
        outcomes.add((code, found > 0))
        if found:
            shutil.rmtree(root)
            fill(LocalStore(root))
        if code == 0:
            break
    assert code == 0
    assert (2, False) in outcomes


@pytest.mark.slow
@pytest.mark.parametrize(("action", "exchange"), [("publish", True), ("publish", False), ("change", True)])
def test_killed_at_any_instant(server: Server, root: Path, action: str, exchange: bool) -> None:
    fill(LocalStore(root))
    rng = random.Random(0)
    seen = set()
    for n in range(400):
        if n > 40 and seen == {0, 1}:
            break
        child = server.ask(root=str(root), do=action, for_ever=True, exchange=exchange)
        time.sleep(0.002 + 0.03 * rng.random())
        os.kill(child, signal.SIGKILL)
        assert server.answer() == -signal.SIGKILL
        if rng.random() < 0.8:  # else the next one goes on with what was left
            seen.add(check(root, action))
    check(root, action)
    assert seen == {0, 1}
