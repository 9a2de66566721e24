"""How old objects are, as far as that is told, by the clock of who tells it."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from zarrds.errors import ZarrdsError
from zarrds.storage.found import Info

__all__ = ["Clock", "age_of", "are_stale"]

_STALE = 86_400.0  # seconds; staged objects that are older were left behind
# what file systems call the time of a value
_TIMES = ("mtime", "LastModified", "last_modified", "modified", "updated", "created")


def age_of(info: Info, now: float) -> float | None:
    """How many seconds ago an object was written, or None if the file system does not tell."""
    written = next((info[name] for name in _TIMES if info.get(name) is not None), None)
    if isinstance(written, str):
        with suppress(ValueError):
            written = datetime.datetime.fromisoformat(written)
    if isinstance(written, datetime.datetime):
        written = (written if written.tzinfo else written.replace(tzinfo=datetime.UTC)).timestamp()
    return now - written if isinstance(written, int | float) else None


def are_stale(found: Mapping[str, Info], clock: Clock) -> bool:
    """Whether there are some objects, none of which was touched for a day.

    The clock is asked only where all of them seem to be old by that of this machine.
    """
    return bool(found) and _are_older(found, time.time()) and _are_older(found, clock.now)


def _are_older(found: Mapping[str, Info], now: float) -> bool:
    ages = [age_of(info, now) for info in found.values()]
    return all(age is not None and age > _STALE for age in ages)


class Clock:
    """The clock of a server, which need not agree with that of this machine.

    Parameters
    ----------
    objects : Objects
    folder : str
        Where an object may be put that tells the time.
    """

    def __init__(self, objects: Any, folder: str) -> None:
        self._objects, self._folder = objects, folder
        self._now: float | None = None

    @property
    def now(self) -> float:
        """Seconds, as of `time.time`; minus infinity if they are not told: then nothing is old."""
        if self._now is None:
            age = None
            with suppress(ZarrdsError):  # who may not put anything removes nothing either
                self._objects.write(f"{self._folder}/clock", b"")
                age = age_of(self._objects.info(f"{self._folder}/clock") or {}, 0.0)
                self._objects.remove_below(self._folder)
            self._now = float("-inf") if age is None else -age
        return self._now
