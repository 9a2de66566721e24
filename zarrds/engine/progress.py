"""What is told of the progress of a piece of work: a bar, or calls of the user's own function."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from zarrds.engine.executor import Progress
from zarrds.errors import EncodingError, UnsupportedError

__all__ = ["ProgressOption", "check_progress", "progress_bar"]

# True for a bar of tqdm, "rich" for one of rich; or called with the chunks done and the chunks to do, one call at a
# time, from any thread
ProgressOption: TypeAlias = bool | Literal["rich"] | Callable[[int, int], object]


def check_progress(progress: object) -> None:
    """Check an argument `progress`: true or false, ``"rich"``, or a function that can be called with two numbers.

    Raises
    ------
    EncodingError
        For a function of other parameters, which is a `TypeError` as well.
    UnsupportedError
        For anything else.
    """
    if callable(progress):
        try:
            inspect.signature(progress).bind(0, 0)
        except TypeError:
            problem = "the function given as progress= cannot be called with the chunks done and those to do"
            raise EncodingError(problem, expected="a function of two numbers", found=repr(progress)) from None
        except ValueError:  # of what tells nothing of its parameters
            return
    elif not (isinstance(progress, str) and progress == "rich") and progress is not True and progress is not False:
        raise UnsupportedError("unknown progress=", expected="a bool, 'rich' or a function", found=repr(progress))


@contextmanager
def progress_bar(
    total: int, description: str, *, enabled: ProgressOption, unit: str = "chunk"
) -> Iterator[Progress | None]:
    """Show a progress bar while the body works, or tell the user's own function.

    Parameters
    ----------
    total : int
        Chunks (or whatever `unit` names) to do.
    description : str
        What is being done, shown before the bar.
    enabled : bool, "rich" or callable
        False shows nothing, True a bar of tqdm, ``"rich"`` one of rich. A function is called with the chunks done
        and `total`, first with none done, then after each batch. What it raises ends the work.
    unit : str
        What is counted, shown with the rate.

    Yields
    ------
    callable or None
        To be called with the number of chunks done, from any thread; None if nothing is shown.

    Raises
    ------
    UnsupportedError
        If tqdm (or rich) is not installed, or `enabled` is none of these.

    Examples
    --------
    >>> with progress_bar(2, "save", enabled=False) as advance:
    ...     print(advance)
    None
    """
    check_progress(enabled)
    if enabled is False:
        yield None
        return
    if callable(enabled):
        yield _counting(enabled, total)
        return
    if isinstance(enabled, str) and enabled == "rich":
        with _rich_bar(total, description) as advance:
            yield advance
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise UnsupportedError("progress=True needs tqdm", mend="Install it: python -m pip install tqdm") from error
    with tqdm(total=total, desc=description, unit=unit, unit_scale=total > 10**6) as bar:
        yield bar.update


@contextmanager
def _rich_bar(total: int, description: str) -> Iterator[Progress]:
    """A bar of rich, on stderr."""
    try:
        from rich.console import Console
        from rich.progress import Progress as Bar
    except ImportError as error:
        raise UnsupportedError("progress='rich' needs rich", mend="Install it: python -m pip install rich") from error
    with Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total)
        yield lambda n: bar.advance(task, n)


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
