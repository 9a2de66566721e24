"""Changes that only add, put straight to their keys: the put of the root's document is the commit.

The steps are those of docs/spec.md, "The commit in object storage".
"""

from __future__ import annotations

import errno
import json
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Literal

from zarrds.errors import ConflictError, StoreIOError, ZarrdsError
from zarrds.storage.commits.growing import Growing, new_write, signed
from zarrds.storage.found import Found, Version, version_of
from zarrds.storage.fsspec.commits import MARKER, OLD
from zarrds.storage.obstore.commits import ConditionalCommits, conflict, is_same_version, not_known, pause
from zarrds.storage.obstore.objects import ObstoreObjects
from zarrds.storage.protocol import ValueChangedError
from zarrds.threads import side_by_side

__all__ = ["LATE", "QUICK_NBYTES", "Straight", "clock"]

_ATTEMPTS = 5
_PAUSE = 0.05  # seconds, times the attempt
QUICK_NBYTES = 2**20  # what is put within the time after which others wait for a sign of life
LATE = 5.0  # seconds after which one looks again whether one was overtaken


def clock() -> float:
    """Seconds, also of those in which the machine slept, where it tells."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


class Straight:
    """One commit, from its marker on.

    Parameters
    ----------
    objects : ObstoreObjects
    commits : ConditionalCommits
    base : str
        What the names of the store's objects begin with.
    path : str
        Of the store, for errors.
    growing : Growing
    before : Found
        The root's document that the changes were made from.
    check : callable, optional
        Called while the marker is put, by any thread; raises if the changes were made from what is no more.
    """

    def __init__(
        self,
        objects: ObstoreObjects,
        commits: ConditionalCommits,
        base: str,
        path: str,
        growing: Growing,
        before: Found,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._objects = objects
        self._commits = commits
        self._base = base
        self._path = path
        self._growing = growing
        self._root = base + growing.root
        self._before = bytes(before.data)
        self._version = version_of(before.info)  # of the root, as this writer has left it
        self._check = check
        self._signs = commits.signs_of(growing)
        self._hidden: list[str] = []  # what else is removed at the end
        self._begun = self._seen = clock()

    def make(
        self,
        root: bytes,
        values: Mapping[str, bytes],
        edges: Mapping[str, Version | None],
        documents: Mapping[str, Version | None],
        gone: Sequence[str] = (),
    ) -> None:
        """Make the changes.

        Parameters
        ----------
        root : bytes
            The root's document, as it is to be.
        values : mapping of str to bytes
            All that is no document, by key.
        edges : mapping
            Of those values that replace others: the version that each was made from.
        documents : mapping
            The versions of the documents that are replaced, None for those that are new.
        gone : sequence of str
            Keys to be removed at the end; see `Growing.replaces`.
        """
        self._begin(gone)
        is_asked = False
        try:
            self._put_root(signed(self._before, new_write()))
            self._put_values(values, edges)
            is_asked = True
            self._put_root(signed(root, self._growing.write))
        except ZarrdsError as error:
            found = self._was_made(error) if is_asked else None
            if found is None:
                self._call_off()
                raise
            if found == "by another":
                return
        try:
            with self._signs.given_meanwhile() if gone else nullcontext():
                is_ours = self._commits.put_documents(self._growing, dict(documents), self._is_sure)
                is_ours = is_ours and self._commits.remove_replaced(self._growing, gone, self._is_sure)
        except ZarrdsError as error:
            what = "put, or what was there removed" if self._growing.replaces else "put"
            with suppress(UserWarning):  # where warnings are errors: one would say that the change has failed
                warnings.warn(
                    f"{self._path}: the change is committed, but the arrays' own documents could not all be {what} "
                    f"({error.problem}): the next writer puts them. Do not make the change again",
                    stacklevel=2,
                )
            return  # and the marker stays, which has them
        if is_ours:
            self._release()
        else:
            self._call_off()

    def _was_made(self, error: ZarrdsError) -> Literal["by itself", "by another"] | None:
        """Whether the commit was made, though its put got an error, and who puts the documents in place."""
        commits, growing = self._commits, self._growing
        try:
            # an answer may be lost; where another has changed the root since, it has finished this commit before
            if not isinstance(error, ConflictError) and commits.is_made(growing):
                return "by itself"
            return "by another" if commits.was_finished(growing) else None
        except ZarrdsError as unseen:
            raise not_known(error) from unseen.__cause__

    def _begin(self, gone: Sequence[str]) -> None:
        """Put the marker, and look at the same time whether the plan still holds."""
        is_put = threading.Event()
        folder = f"{self._base}{self._growing.folder}/"
        calls: list[Callable[[], None]] = [] if self._check is None else [self._check]
        if self._growing.replaces:
            self._hidden.append(folder + OLD)
            calls.append(partial(self._objects.write, folder + OLD, json.dumps(gone).encode()))

        def put() -> None:
            self._commits.put_marker(self._growing)
            is_put.set()

        try:
            side_by_side(lambda call: call(), [put, *calls])
        except BaseException:
            if is_put.is_set():
                self._release()
            else:
                with suppress(ZarrdsError):
                    self._objects.remove_all(self._hidden)
            raise

    def _put_root(self, value: bytes) -> None:
        """Put the root's document, if it is as this writer has left it."""
        for attempt in range(_ATTEMPTS):
            now = clock()  # before the request: its answer may come late
            try:
                self._version = self._objects.put_if(self._root, value, self._version)
                self._seen = now
                return
            except ValueChangedError:
                self._check_claim()  # refused for another reason, as by a server that is busy
            time.sleep(_PAUSE * attempt)
        raise conflict(self._path)

    def _check_claim(self) -> None:
        """Raise `ConflictError` unless the root is as this writer has left it, so that no other has begun since."""
        now = clock()
        info = self._objects.info(self._root)
        if info is None or not is_same_version(version_of(info), self._version):
            raise conflict(self._path)
        self._seen = now

    def _put_values(self, values: Mapping[str, bytes], edges: Mapping[str, Version | None]) -> None:
        def put(key: str) -> None:
            if clock() - self._seen > LATE:
                self._check_claim()
            self._put_value(key, values[key], edges.get(key), is_edge=key in edges)

        with self._signs.given_meanwhile() if sum(map(len, values.values())) > QUICK_NBYTES else nullcontext():
            side_by_side(put, list(values))

    def _put_value(self, key: str, value: bytes, version: Version | None, *, is_edge: bool) -> None:
        """Put a value: of an edge over what it was made from, of others over what nobody can see."""
        name = self._base + key
        repeats = iter(range(self._objects.n_repeats))
        for attempt in range(_ATTEMPTS + self._objects.n_repeats):
            try:
                self._objects.put_if(name, value, version, is_once=True)
                return
            except StoreIOError as error:
                number = next(repeats, None) if error.errno == errno.EAGAIN else None
                if number is None:
                    raise
                pause(number)
                # what is repeated may be long ago: where servers take digests for ETags, its condition tells nothing
                self._check_claim()
                continue
            except ValueChangedError:
                info = self._objects.info(name)
            found = None if info is None else version_of(info)
            if is_edge and not is_same_version(found, version):
                raise conflict(self._path)
            # what stands there was put before the root was claimed, so that no reader knows of it, or it is put by who
            # was overtaken: had another begun since, the root would not be ours any more
            self._check_claim()
            version = found
            time.sleep(_PAUSE * attempt)
        raise StoreIOError("others write to a chunk all the time", key=key, mend="Try again")

    def _is_sure(self) -> bool:
        """Whether nobody can have taken this writer for dead: others wait for longer from when they see its marker."""
        return clock() - self._begun < LATE

    def _release(self) -> None:
        """Remove the marker: other writers may begin."""
        if not self._is_sure():
            self._call_off()  # another marker may be there
            return
        try:
            self._objects.remove_all([self._base + MARKER, *self._hidden, *self._signs.given], is_once=True)
        except ZarrdsError:
            self._call_off()  # who may not remove it says that it means nothing

    def _call_off(self) -> None:
        """Remove the marker, if it is still this writer's."""
        with suppress(ZarrdsError):
            self._commits.remove_marker(self._growing)
            self._objects.remove_all([*self._hidden, *self._signs.given])
