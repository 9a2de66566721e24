"""Requests that are made again: because the server is busy, or because what they were to replace is another by now.

What holds before each of them (a marker, a claim) may be gone when it is made again, so that the caller is asked.
"""

from __future__ import annotations

import errno
import itertools
import time
from collections.abc import Callable, Iterator

from zarrds.errors import StoreIOError
from zarrds.storage.found import ConditionalObjects, Version, version_of
from zarrds.storage.obstore.objects import ObstoreObjects
from zarrds.storage.protocol import ValueChangedError

__all__ = ["attempts", "pause", "put_over", "put_unchanged", "refused", "repeat_while_busy"]

_ATTEMPTS = 6  # of a put that was refused
_PAUSE = 0.1  # seconds before a server is asked again, twice as long each time
_LONGEST_PAUSE = 5.0


def attempts() -> Iterator[None]:
    """Times to try a put that may be refused: the second follows at once, the others after longer and longer pauses."""
    for number in range(_ATTEMPTS):
        if number > 1:
            pause(number - 2)
        yield


def pause(number: int) -> None:
    """Wait before a server is asked once more, after so many times before."""
    time.sleep(min(_PAUSE * 2 ** min(number, 9), _LONGEST_PAUSE))  # larger powers are no floats at some point


def repeat_while_busy(act: Callable[[], object], objects: ObstoreObjects, may_go_on: Callable[[int], bool]) -> bool:
    """Do something, again while the server is busy; whether it was done.

    Parameters
    ----------
    act : callable
    objects : ObstoreObjects
        Whose options say how often it may be done again, and for how long.
    may_go_on : callable
        Called before each time with how often it was done before; if it says no, nothing is done (again), and False
        is returned.
    """
    begun = time.monotonic()
    for number in itertools.count():
        if not may_go_on(number):
            return False
        try:
            act()
            return True
        except StoreIOError as error:
            is_last = number >= objects.n_repeats or time.monotonic() - begun > objects.repeat_seconds
            if error.errno != errno.EAGAIN or is_last:
                raise
        pause(number)
    raise AssertionError  # it is counted without an end


def put_over(
    objects: ObstoreObjects,
    base: str,
    key: str,
    value: bytes,
    version: Version | None,
    may_go_on: Callable[[int], bool],
    may_replace: Callable[[Version | None], bool],
) -> bool:
    """Put a value over a version of it, and if that is refused over the one that is there; whether it was put.

    Parameters
    ----------
    objects : ObstoreObjects
    base, key : str
        Its name.
    value : bytes
    version : mapping or None
        None where nothing was.
    may_go_on : callable
        See `repeat_while_busy`.
    may_replace : callable
        Called after each refusal with the version that is there; if it says no, False is returned.
    """
    name, found = base + key, version
    is_same: bool | None = None  # what a refusal tells

    def act() -> None:
        nonlocal found, is_same
        is_same = None
        try:
            objects.put_if(name, value, found, is_once=True)
        except ValueChangedError as error:
            is_same, info = error.is_same, objects.info(name)
            found = info and version_of(info)

    for _ in attempts():
        if not repeat_while_busy(act, objects, may_go_on):
            return False
        if is_same is None:
            return True
        if not may_replace(found):
            return False
    raise refused(key, is_same=bool(is_same))


def put_unchanged(objects: ConditionalObjects, base: str, key: str, value: bytes, version: Version | None) -> Version:
    """Put a value over a version of it, also where that is refused at first though nobody has changed it.

    Parameters
    ----------
    objects : ConditionalObjects
    base, key : str
        Its name.
    value : bytes
    version : mapping or None
        None where nothing was.

    Returns
    -------
    mapping
        The version that it has then.

    Raises
    ------
    ValueChangedError
        If another writer has changed it.
    StoreIOError
        If the server goes on refusing.
    """
    for _ in attempts():
        try:
            return objects.put_if(base + key, value, version)
        except ValueChangedError as error:
            if not error.is_same:
                raise
            last = error
    raise refused(key, is_same=True) from last


def refused(key: str, *, is_same: bool) -> StoreIOError:
    """The error of who has put an object as often as is worth it, and was refused each time, at last so."""
    if is_same:
        return StoreIOError(
            "the server refuses to put an object, again and again, though nobody has changed it",
            key=key,
            mend="Try again later; if that lasts, conditional puts do not work there (docs/remote.md)",
        )
    return StoreIOError("others write to an object all the time", key=key, mend="Try again")
