"""The tests' own server of objects in a process of its own, which is told what to do by lines of JSON.

What is timed does not share an interpreter with it then. ``python -m benchmarks.object_server`` is that process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.storage.s3_server import S3Server


class ObjectServer:
    """The process, as who measures sees it: an empty bucket at ``url``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{self._ask({'latency': 0.0})['port']}"
        self.options: dict[str, Any] = {"endpoint_url": self.url, "key": "AKIATEST", "secret": "verysecretvalue"}

    def set_latency(self, seconds: float) -> None:
        """From now on each request takes that long."""
        self._ask({"latency": seconds})

    def requests(self) -> Counter[str]:
        """How many of which method there were since it was asked last."""
        return Counter(self._ask({})["requests"])

    def keys(self, prefix: str) -> list[str]:
        """All keys that begin so."""
        found: list[str] = self._ask({"keys": prefix})["keys"]
        return found

    def remove(self, prefix: str) -> None:
        """Remove all that begins so."""
        self._ask({"remove": prefix})

    def seconds_of_processor(self) -> float:
        """What it has used."""
        return float(self._ask({})["processor"])

    def _ask(self, words: dict[str, Any]) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the server has no pipes")
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def serving() -> Iterator[ObjectServer]:
    """A server as long as the body lasts."""
    command = [sys.executable, "-m", "benchmarks.object_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield ObjectServer(process)  # it ends with its stdin


def _main() -> None:
    server = S3Server()
    state = server.state
    threading.Thread(target=server.serve, daemon=True).start()
    for line in sys.stdin:
        words = json.loads(line)
        state.latency = words.get("latency", state.latency)
        counts = dict(state.counts())
        state.requests.clear()
        with state.lock:
            if "remove" in words:
                for key in [k for k in state.values if k.startswith(words["remove"])]:
                    del state.values[key]
            keys = sorted(k for k in state.values if k.startswith(words["keys"])) if "keys" in words else []
        answer = {"port": server.port, "requests": counts, "keys": keys, "processor": time.process_time()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _main()
