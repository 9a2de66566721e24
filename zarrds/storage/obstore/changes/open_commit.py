"""A change in object storage that has begun: its marker keeps other writers out, and then it claims the root.

The steps are those of docs/spec.md, "The commit in object storage".
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from zarrds.errors import ZarrdsError
from zarrds.storage.commits.direct_marker import DirectMarker, new_write, signed
from zarrds.storage.found import Found, Version, is_same_version, version_of
from zarrds.storage.fsspec.commits import MARKER
from zarrds.storage.obstore.changes.commits import ConditionalCommits, conflict
from zarrds.storage.obstore.changes.retries import put_unchanged
from zarrds.storage.obstore.objects import ObstoreObjects
from zarrds.storage.protocol import ValueChangedError

__all__ = ["LATE", "OpenCommit", "clock"]

LATE = 5.0  # seconds after which one looks again whether one was overtaken


def clock() -> float:
    """Seconds, also of those in which the machine slept, where it tells."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


class OpenCommit:
    """What one writer has put that has begun a change.

    Parameters
    ----------
    objects : ObstoreObjects
    commits : ConditionalCommits
    base : str
        What the names of the store's objects begin with.
    path : str
        Of the store, for errors.
    marker : DirectMarker
        What the marker says.

    Attributes
    ----------
    objects, commits, base, path
        As above.
    marker : DirectMarker
    heartbeat : Heartbeat
    hidden : list of str
        What else is removed with the marker.
    """

    def __init__(
        self, objects: ObstoreObjects, commits: ConditionalCommits, base: str, path: str, marker: DirectMarker
    ) -> None:
        self.objects = objects
        self.commits = commits
        self.base = base
        self.path = path
        self.marker = marker
        self.heartbeat = commits.heartbeat_of(marker)
        self._said: DirectMarker | None = None  # by the marker before
        self.hidden: list[str] = []
        self._put: Version | None = None  # of the marker
        self._root, self._before = "", b""
        self._version: Version | None = None  # of the root, as this writer has left it
        self._alive = ExitStack()
        self._begun = self._seen = clock()

    @property
    def is_put(self) -> bool:
        """Whether the marker is there."""
        return self._put is not None

    def put_marker(self) -> None:
        """Put the marker; `ConflictError` if another writer has begun."""
        self._begun = clock()
        self._put = self.commits.put_marker(self.marker)

    def keep_alive(self) -> None:
        """Give heartbeats until it ends: what follows may take longer than others wait."""
        self._alive.enter_context(self.heartbeat.beating())

    def rename(self, marker: DirectMarker) -> None:
        """Let the marker say more; `ConflictError` if another has taken this writer for dead."""
        now, self._said, self.marker = clock(), self.marker, marker
        try:
            self._put = put_unchanged(self.objects, self.base, MARKER, marker.dump(), self._put)
        except ValueChangedError:
            raise conflict(self.path) from None
        self._begun = now

    def goes_by(self, root: str, before: Found) -> None:
        """Note what the root is: the key of its document, and what was found there."""
        self._root, self._version, self._before = root, version_of(before.info), bytes(before.data)

    def claim(self) -> None:
        """Claim the root, if it is still what was found."""
        self.put_root(signed(self._before, new_write()))

    def put_root(self, value: bytes) -> None:
        """Put the root's document, if it is as this writer has left it."""
        now = clock()  # before the request: its answer may come late
        try:
            self._version = put_unchanged(self.objects, self.base, self._root, value, self._version)
        except ValueChangedError:
            raise conflict(self.path) from None
        self._seen = now

    @property
    def is_late(self) -> bool:
        """Whether `check_claim` is due: what it looks at was seen some time ago."""
        return clock() - self._seen > LATE

    def check_claim(self) -> None:
        """Raise `ConflictError` unless the root is as this writer has left it, so that no other has begun since."""
        now = clock()
        info = self.objects.info(self.base + self._root)
        if info is None or not is_same_version(version_of(info), self._version):
            raise conflict(self.path)
        self._seen = now

    def is_sure(self) -> bool:
        """Whether nobody can have taken this writer for dead: others wait for longer from when they see its marker."""
        return clock() - self._begun < LATE

    def end(self) -> None:
        """Give no more heartbeats; the marker stays."""
        self._alive.close()

    def release(self) -> None:
        """Remove the marker, if it is there: other writers may begin."""
        self.end()
        if not self.is_put:
            with suppress(ZarrdsError):
                self.objects.remove_all(self._rest())
            return
        if not self.is_sure():
            self.call_off()  # another marker may be there
            return
        try:
            self.objects.remove_all([self.base + MARKER, *self._rest()], is_once=True)
            self._put = None
        except ZarrdsError:
            self.call_off()  # who may not remove it says that it means nothing

    def call_off(self) -> None:
        """Remove the marker, if it is still this writer's."""
        self.end()
        with suppress(ZarrdsError):
            for each in (self.marker, self._said):
                if each is not None:
                    self.commits.remove_marker(each)
            self._put = None
            self.objects.remove_all(self._rest())

    def _rest(self) -> Sequence[str]:
        return [*self.hidden, *self.heartbeat.names]
