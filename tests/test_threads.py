"""The pool of threads, interrupted at bad instants."""

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
