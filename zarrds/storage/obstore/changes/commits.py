"""Commits where objects are put by conditions: they begin one after the other, and who was overtaken is told."""

from __future__ import annotations

import errno
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from zarrds.arguments import warn
from zarrds.errors import ConflictError, StoreIOError, ZarrdsError
from zarrds.storage.commits.direct_marker import DirectMarker, is_signed, new_write, signed
from zarrds.storage.found import ConditionalObjects, Found, Version, version_of
from zarrds.storage.fsspec.commits import (
    MADE,
    MARKER,
    MAX_MARKER,
    OLD,
    ROOT,
    ROOTS,
    Commit,
    Commits,
    Heartbeat,
    batches,
    is_key,
    is_node_document,
    new_folder,
)
from zarrds.storage.obstore.changes.retries import attempts, put_over, put_unchanged, repeat_while_busy
from zarrds.storage.protocol import ValueChangedError
from zarrds.storage.traits import MAX_DOCUMENT
from zarrds.threads import answers_of, side_by_side

__all__ = ["ConditionalCommits", "claimed", "conflict", "not_known"]

_MOST_REMOVED = 1000  # objects, which servers remove by one request


class ConditionalCommits(Commits):
    """The commits of one store: the marker is put only where there is none.

    Parameters
    ----------
    objects : ObstoreObjects
    base : str
    check : callable
        Raises `ConflictError` if the root has changed since the caller has looked, and claims it; see `claimed`.
    """

    _objects: Any

    def __init__(self, objects: Any, base: str, check: Callable[[], None]) -> None:
        super().__init__(objects, base)
        self._check = check

    def begin(self, commit: Commit, old: Sequence[str] = (), *, is_removing: bool = False) -> None:
        """Commit, unless another writer has begun, or has changed the root since this one looked."""
        if is_removing:
            self.check_removal(commit.folder)
        if old:
            self._objects.write(f"{self._base}{commit.folder}/{OLD}", json.dumps(old).encode())
        # what is planned is made by the second put of the marker only, when the root is seen, and claimed, to be as it
        # was: until then others call it off, which refuses that put
        with self.between_puts(commit):
            self._check()

    def check_removal(self, folder: str) -> None:
        """Remove what is not there: who may not remove anything is told so in time."""
        self._objects.remove(f"{self._base}{folder}/{MADE}")

    @contextmanager
    def between_puts(self, commit: Commit, also: Callable[[], None] | None = None) -> Iterator[None]:
        """Around what is to be seen, or put, between the two puts of the marker; `also` is called beside the first."""
        version: Version | None = None
        is_asked = False

        def put() -> None:
            nonlocal version
            version = self.put_marker(replace(commit, is_claimed=False))

        try:
            answers_of([put, *([also] if also else [])])
            yield
            is_asked = True
            try:
                put_unchanged(self._objects, self._base, MARKER, commit.dump(), version)
            except ValueChangedError:
                raise conflict() from None
        except BaseException as error:
            if version is None:
                raise
            try:
                is_made = not self._void(version) and (self.current() == commit or self.was_finished(commit))
            except ZarrdsError as unseen:
                is_made = False
                if is_asked and isinstance(error, ZarrdsError):
                    raise not_known(error) from unseen.__cause__
            if not (is_made and isinstance(error, ZarrdsError)):  # the answer may be lost
                raise

    def was_finished(self, commit: Commit | DirectMarker) -> bool:
        """Whether another has finished a commit that was made."""
        return self._objects.info(f"{self._base}{commit.folder}/{MADE}") is not None

    def remove_marker(self, commit: Commit | DirectMarker) -> None:
        """Remove the marker, if it is still that of a commit."""
        for _ in attempts():
            found = self._objects.find_one(self._base + MARKER, limit=MAX_MARKER)
            if found is None or self._parsed(bytes(found.data)) != commit:
                return
            # what is refused though it is still the same is tried again: else it would name what is gone soon
            if self._void(version_of(found.info)):
                return
        raise StoreIOError("the server refuses to put over a marker that has not changed", key=MARKER, mend="Try again")

    def _void(self, version: Version) -> bool:
        """Replace the marker of that version by one that means nothing, and remove it; False if it was changed.

        A removal knows no condition. Others wait for the one that means nothing as for any, from when it was put, so
        that only who is stopped between both for as long as the dead are waited for removes another's. Who may not
        remove it says so in a third one, which stays, and which nobody waits for.
        """
        nothing = Commit(new_folder(), (), is_claimed=False)
        try:
            version = self._objects.put_if(self._base + MARKER, nothing.dump(), version)
        except ValueChangedError:
            return False
        except StoreIOError as error:
            if error.errno != errno.ENOTSUP:
                raise
            # the server knows half of the conditions: there, one machine at a time writes
        with suppress(ZarrdsError):
            try:
                self._objects.remove(self._base + MARKER)
            except StoreIOError as error:
                if error.errno == errno.EACCES:
                    with suppress(ValueChangedError):
                        self._objects.put_if(self._base + MARKER, nothing.void(), version)
        return True

    def put_marker(self, commit: Commit | DirectMarker) -> Version:
        """Put the marker, if there is none, or one that says nothing; return its version.

        Raises
        ------
        ConflictError
            If another writer has begun.
        """
        marker, value = self._base + MARKER, commit.dump()
        try:
            try:
                version = put_unchanged(self._objects, self._base, MARKER, value, None)
            except ValueChangedError:
                found = self._objects.find_one(marker, limit=MAX_MARKER)
                if found is None or self._parsed(bytes(found.data)) is not None:
                    raise
                # it says nothing, and must not keep all out for ever
                version = put_unchanged(self._objects, self._base, MARKER, value, version_of(found.info))
        except ValueChangedError:
            raise conflict() from None
        return version

    def take_over(self, commit: Commit | DirectMarker) -> None:
        """Finish what a dead writer had begun, if it was made; else see to it that it cannot be made any more."""
        if isinstance(commit, Commit):
            if commit.is_claimed:
                self._tell(commit)
                self.finish(commit)
                return
            with _suppressed_refusal():
                self.remove_marker(commit)  # its folder is its writer's, or of the daily sweep
            return
        try:
            is_made = self.is_made(commit)
        except StoreIOError as error:
            if error.errno != errno.EACCES:
                raise
            return  # nothing was committed, and who may not write cannot see to it that nothing will be
        if is_made:
            names = [self._base + key for key in commit.documents]
            found = side_by_side(self._objects.find_one, names)
            if self.current() != commit:
                return  # somebody else has finished it, and what was found may be newer
            versions = {
                key: None if each is None else version_of(each.info)
                for (key, text), each in zip(commit.documents.items(), found, strict=True)
                if each is None or bytes(each.data) != signed(text.encode(), commit.write)
            }
            try:
                if not self.put_documents(commit, versions):
                    return
            except StoreIOError as error:
                if error.errno != errno.EACCES:
                    raise
                warn(
                    "a change is committed, but some arrays' own documents are still the old ones, and this process "
                    "may not put them: without the root's document, the old state is read there"
                )
                return
        # all that anybody needs is there: who may not write reads it, and who may not remove leaves what was replaced
        if is_made and commit.replaces and not self._removed(commit):
            return
        with _suppressed_refusal():
            if is_made:
                self._tell(commit)
            self.remove_marker(commit)
        with suppress(StoreIOError):
            folder = self._base + commit.folder
            self._objects.remove_all([name for name in self._objects.find(folder) if name != f"{folder}/{MADE}"])

    def _removed(self, commit: DirectMarker) -> bool:
        """Remove what a dead writer has replaced, as far as that is possible; False if another has finished it.

        Nobody needs it: what cannot be removed keeps nobody out.
        """
        try:
            named = self._named(f"{self._base}{commit.folder}/{OLD}")
            keys = [key for key in named if is_key(key) and key != commit.root and key not in commit.documents]
            return self.remove_replaced(commit, keys)
        except StoreIOError as error:
            if error.errno == errno.EAGAIN:
                raise
            if error.errno != errno.EACCES:
                with suppress(UserWarning):  # where warnings are errors
                    warn(
                        f"what was there before the store was replaced could not all be removed ({error.problem}): no "
                        "reader sees it, and zarrds.verify names it"
                    )
            return True

    def _place(self, commit: Commit, names: Sequence[str], heartbeat: Heartbeat) -> bool:
        """As of any; but first the root is claimed once more, so that who opened the store since it was notices.

        Who did so before the commit was made goes by a root's document that stays until all else is in place.
        """
        roots = [] if [part for part, _ in commit.steps] == [ROOT] else list(ROOTS)
        there = dict(
            zip(roots, side_by_side(self._objects.find_one, [self._base + name for name in roots]), strict=True)
        )
        if self._is_overtaken(commit):  # what was found may be of a later commit
            return False
        for name, found in there.items():
            if found is not None:
                with suppress(ValueChangedError):  # by another that finishes it
                    claimed(self._objects, self._base, name, found)
        return super()._place(commit, names, heartbeat)

    def _is_overtaken(self, commit: Commit) -> bool:
        """Whether another took the writer for dead, and has finished its commit; it has said so before."""
        if self.current() == commit:
            return False
        if not self.was_finished(commit):
            raise StoreIOError(
                "the marker of the change is gone, and nobody says to have put it in place",
                key=commit.folder,
                mend="Look whether all of it is there (zarrds.verify): if not, save the store as a whole (mode='w')",
            ) from FileNotFoundError(MARKER)  # so that nobody is told that another will do it
        return True

    def _tell(self, commit: Commit | DirectMarker) -> None:
        """Leave for its writer, which may go on, that a commit was made; the daily sweep removes it."""
        self._objects.write(f"{self._base}{commit.folder}/{MADE}", b"")

    def is_made(self, commit: DirectMarker) -> bool:
        """Whether a commit was made; if not, it cannot be made any more afterwards, for the root is claimed."""
        root = self._base + commit.root
        for _ in attempts():
            found = self._objects.find_one(root, limit=MAX_DOCUMENT)
            if found is None:
                return False
            if len(found.data) > MAX_DOCUMENT:
                raise StoreIOError(
                    "the root's document is too large", key=commit.root, expected=f"{MAX_DOCUMENT} bytes"
                )
            if is_signed(bytes(found.data), commit.write):
                return True
            if self.current() != commit:
                return False  # decided by another: what is there now may be the commit of a third
            with suppress(ValueChangedError):
                claimed(self._objects, self._base, commit.root, found)
                return False
        raise StoreIOError("others write to the root's document all the time", key=commit.root, mend="Try again")

    def put_documents(
        self, commit: DirectMarker, versions: dict[str, Version | None], is_sure: Callable[[], bool] = lambda: False
    ) -> bool:
        """Put documents of a commit that was made in place, each over the version that was seen before it was made.

        False if the marker is gone: another took the writer for dead, and has put them; what stands there may be newer.

        Parameters
        ----------
        commit : DirectMarker
        versions : dict
            By key; None where there was no document.
        is_sure : callable
            Whether nobody can have taken the writer for dead. Else the marker is looked at before each request, also
            before one that is repeated: what is put where nothing was, and what is removed, knows no other condition.
        """

        def put(key: str) -> bool:
            value = signed(commit.documents[key].encode(), commit.write)
            goes_on, is_ours = partial(self._goes_on, commit, is_sure), lambda _: self.current() == commit
            return put_over(self._objects, self._base, key, value, versions[key], goes_on, is_ours)

        return all(side_by_side(put, list(versions)))

    def remove_replaced(
        self, commit: DirectMarker, keys: Sequence[str], is_sure: Callable[[], bool] = lambda: False
    ) -> bool:
        """Remove what a commit that was made has replaced, documents first; False if the marker is gone.

        `is_sure` is that of `put_documents`.
        """
        parts = ([self._base + key for key in keys if is_node_document(key) == is_first] for is_first in (True, False))
        lots = itertools.chain.from_iterable(batches(part, _MOST_REMOVED) for part in parts)
        goes_on = partial(self._goes_on, commit, is_sure)
        removals = (partial(self._objects.remove_all, lot, is_once=True) for lot in lots)
        return all(repeat_while_busy(remove, self._objects, goes_on) for remove in removals)

    def _goes_on(self, commit: DirectMarker, is_sure: Callable[[], bool], _: int) -> bool:
        return is_sure() or self.current() == commit


@contextmanager
def _suppressed_refusal() -> Iterator[None]:
    try:
        yield
    except StoreIOError as error:
        if error.errno != errno.EACCES:
            raise


def claimed(objects: ConditionalObjects, base: str, key: str, found: Found) -> Version:
    """Make a document of the root another value that says the same, so that no older plan can be committed.

    Raises
    ------
    ValueChangedError
        If it is not what was found any more.
    """
    return put_unchanged(objects, base, key, signed(bytes(found.data), new_write()), version_of(found.info))


def conflict(path: str | None = None) -> ConflictError:
    """The error of the second of two writers."""
    return ConflictError(
        "another writer has changed the store meanwhile, or is about to",
        path=path,
        mend="No reader sees anything of this. Try again",
    )


def not_known(error: ZarrdsError) -> StoreIOError:
    """The error of a writer that cannot see whether what it did was committed. Never one after which to try again."""
    return StoreIOError(
        "whether the change was committed could not be seen",
        path=error.path,
        found=error.problem,
        mend="Who writes to the store next finds it out: look before you go on, it may be there",
    )
