"""Saves that die, for `test_kills`: a process that forks a child for each line of JSON on its input, and kills it.

A process of its own, without threads, so that forking is safe; everything is imported once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.datasets.faults import KILL, Countdown, watched
from tests.datasets.operations import OPERATIONS, REGIONS

ALL = {**OPERATIONS, **REGIONS}
PROJECT = Path(__file__).resolve().parents[2]


def die(name: str, store: str, durable: bool, after: int | None, delay: float | None) -> dict[str, Any]:
    """Run an operation in a child that dies after so many file operations, or seconds."""
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        try:
            place = os.path.dirname(store)
            with nullcontext() if after is None else watched(place, Countdown(after, KILL)):
                ALL[name].run(Path(store), durable)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if delay is not None:
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {"status": status, "seconds": time.perf_counter() - began}


@contextmanager
def deaths() -> Iterator[Callable[..., dict[str, Any]]]:
    """`die`, done by another process."""
    command = [sys.executable, "-m", "tests.datasets.dying"]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        stdin, stdout = server.stdin, server.stdout

        def ask(
            name: str, store: Path, durable: bool, *, after: int | None = None, delay: float | None = None
        ) -> dict[str, Any]:
            stdin.write(json.dumps([name, str(store), durable, after, delay]) + "\n")
            stdin.flush()
            answer: dict[str, Any] = json.loads(stdout.readline())
            assert answer["status"] in (0, -signal.SIGKILL)
            return answer

        yield ask
        stdin.close()


def warm_up() -> None:
    """Import, once for all children, what saves import when they need it."""
    for name in ("append dask", "region auto dask"):
        with TemporaryDirectory() as folder:
            OPERATIONS["append"].before(Path(folder, "x.zarr"), 3)
            ALL[name].run(Path(folder, "x.zarr"), False)


if __name__ == "__main__":
    warm_up()
    for line in sys.stdin:
        print(json.dumps(die(*json.loads(line))), flush=True)
