"""Threads at bad instants: a pool that is interrupted, and imports of several at once."""

from __future__ import annotations

import subprocess
import sys

INTERRUPTED = """
import threading
from zarrds.threads import side_by_side

start = threading.Thread.start

def interrupted(thread):
    start(thread)
    raise KeyboardInterrupt  # before the pool knows of the thread

threading.Thread.start = interrupted
try:
    side_by_side(str, range(4))
except KeyboardInterrupt:
    print("interrupted")
threading.Thread.start = start
print(side_by_side(str, range(4)))
"""


def test_an_interrupt_while_a_thread_is_started_does_not_keep_the_process_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["interrupted", "['0', '1', '2', '3']"]


CODECS_OF_THREADS = """
import threading, zarrds
from zarrds.stores import MemoryStore

together = threading.Barrier(4)

def create(dtype, *codecs):
    together.wait()
    try:
        zarrds.create_array(MemoryStore(), shape=4, dtype=dtype, chunks=2, codecs=codecs)
    except Exception as error:
        print(error)

blosc = {"cname": "lz4", "clevel": 1, "shuffle": "shuffle", "typesize": 1, "blocksize": 16}
filter = {"name": "numcodecs.delta", "configuration": {"dtype": "<u1"}}
arguments = [
    ("u1", {"name": "bytes"}, {"name": "blosc", "configuration": blosc}),
    ("string", {"name": "vlen-utf8"}),
    ("u1", filter, {"name": "bytes"}),
    ("u1", {"name": "bytes"}, {"name": "zstd", "configuration": {"level": 1, "checksum": False}}),
]
threads = [threading.Thread(target=create, args=each) for each in arguments]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_threads_that_are_the_first_to_need_codecs_do_not_find_them_half_imported() -> None:
    for _ in range(6):  # every second time or so
        done = subprocess.run([sys.executable, "-c", CODECS_OF_THREADS], capture_output=True, text=True, timeout=60)
        assert (done.stdout, done.stderr) == ("", "")
