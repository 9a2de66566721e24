"""``zarrds``: the entry point, which imports next to nothing before an interrupt is no traceback any more."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        What follows the name of the program; that of the process unless said.

    Returns
    -------
    int
        The exit status: 0 done, 1 what was checked is not so, 2 wrong use, an error, or interrupted by a signal.
    """
    try:
        with _ended_as_interrupted():
            from zarrds.cli.running import run  # which imports xarray

            return run(argv)
    except KeyboardInterrupt:
        with suppress(OSError, AttributeError):  # there may be no stderr
            sys.stderr.write("zarrds: interrupted; nothing is left half-written\n")
        return 2


@contextmanager
def _ended_as_interrupted() -> Iterator[None]:
    """Within, the signals that end a process do so as Ctrl-C does: what it had begun is removed first.

    A second one ends it at once. Signals that somebody handles, or ignores (nohup), are left alone.
    """
    names = ("SIGTERM", "SIGHUP")  # Windows has no second
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    is_main = threading.current_thread() is threading.main_thread()
    ours = [number for number in numbers if is_main and signal.getsignal(number) is signal.SIG_DFL]

    def interrupt(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    try:
        for number in ours:
            signal.signal(number, interrupt)
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
