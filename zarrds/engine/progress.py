"""What is told of the progress of a piece of work: a bar, or calls of the user's own function."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from zarrds.engine.executor import Progress
from zarrds.errors import UnsupportedError

__all__ = ["ProgressOption", "progress_bar"]

# True for a bar; or called with the chunks done and the chunks to do, one call at a time, from any thread
ProgressOption: TypeAlias = bool | Callable[[int, int], object]


@contextmanager
def progress_bar(total: int, description: str, *, enabled: ProgressOption) -> Iterator[Progress | None]:
    """Show a progress bar of tqdm while the body works, or tell the user's own function.

    Parameters
    ----------
    total : int
        Chunks to do.
    description : str
        What is being done, shown before the bar.
    enabled : bool or callable
        False shows nothing. A function is called with the chunks done and `total`, first with none done, then after
        each batch. What it raises ends the work.

    Yields
    ------
    callable or None
        To be called with the number of chunks done, from any thread; None if nothing is shown.

    Raises
    ------
    UnsupportedError
        If tqdm is not installed.

    Examples
    --------
    >>> with progress_bar(2, "save", enabled=False) as advance:
    ...     print(advance)
    None
    """
    if enabled is False:
        yield None
        return
    if enabled is not True:
        yield _counting(enabled, total)
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise UnsupportedError("progress=True needs tqdm", mend="Install it: python -m pip install tqdm") from error
    with tqdm(total=total, desc=description, unit="chunk") as bar:
        yield bar.update


def _counting(tell: Callable[[int, int], object], total: int) -> Progress:
    """A function that counts what is done, and tells."""
    lock = threading.Lock()
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        with lock:
            done += n
            tell(done, total)

    advance(0)
    return advance
