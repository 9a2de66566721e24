"""Reads chunks while a signal's handler raises, which may leave any lock held: run by ``test_damage``, in a process.

Prints the names of the exceptions that came out of the reads, for each pipeline of codecs and each kind of error.
"""

from __future__ import annotations

import signal
from typing import Any

import numpy as np

import zarrds

PIPELINES: list[list[dict[str, Any]]] = [
    [{"name": "bytes"}, {"name": "blosc"}],
    [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 1}}],
    [{"name": "bytes"}, {"name": "numcodecs.bz2", "configuration": {"level": 1}}],
    [{"name": "numcodecs.delta", "configuration": {"dtype": "<i8"}}, {"name": "bytes"}],
]


class AlarmError(Exception):
    """What a handler of signals raises."""


def raised(codecs: list[dict[str, Any]], kind: type[Exception]) -> set[str]:
    """What comes out of reads of a chunk, each of which an alarm interrupts a little later than the one before."""

    def alarmed(*_: object) -> None:
        raise kind

    array = zarrds.create_array(zarrds.MemoryStore(), shape=(300_000,), dtype="i8", chunks=(300_000,), codecs=codecs)
    array[...] = np.random.default_rng(0).integers(0, 1000, 300_000)
    signal.signal(signal.SIGALRM, alarmed)
    found = set()
    for i in range(20):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0002 + 0.0002 * i)
            array[...]
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Exception as error:
            found.add(type(error).__name__)
    return found


if __name__ == "__main__":
    for error in (AlarmError, TimeoutError):
        for codecs in PIPELINES:
            print(*sorted(raised(codecs, error)))
