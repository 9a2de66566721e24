"""A progress bar around a piece of work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zarrds.engine.executor import Progress
from zarrds.errors import UnsupportedError

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(total: int, description: str, *, enabled: bool) -> Iterator[Progress | None]:
    """Show a progress bar of tqdm while the body works.

    Parameters
    ----------
    total : int
        Chunks to do.
    description : str
        What is being done, shown before the bar.
    enabled : bool
        False shows nothing.

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
    if not enabled:
        yield None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise UnsupportedError("progress=True needs tqdm", mend="Install it: python -m pip install tqdm") from error
    with tqdm(total=total, desc=description, unit="chunk") as bar:
        yield bar.update
