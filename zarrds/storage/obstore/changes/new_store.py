"""How a new store appears in object storage, of which all values are at hand: few requests one after the other.

The steps are those of docs/spec.md, "The commit in object storage", of a new store.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from zarrds.errors import ConflictError, StoreIOError, ZarrdsError
from zarrds.storage.fsspec.commits import MARKER, ROOT, STRAIGHT, Commit, is_node_document
from zarrds.storage.fsspec.refusals import not_alone, stands_there
from zarrds.storage.obstore.changes.commits import ConditionalCommits
from zarrds.storage.obstore.changes.direct_commit import QUICK_NBYTES
from zarrds.storage.obstore.changes.open_commit import LATE, clock
from zarrds.storage.obstore.changes.retries import put_over
from zarrds.storage.obstore.objects import ObstoreObjects
from zarrds.storage.protocol import ValueChangedError
from zarrds.threads import answers_of, side_by_side

__all__ = ["NewStore", "is_of_root"]


class NewStore:
    """One new store, from its marker on.

    Parameters
    ----------
    objects : ObstoreObjects
    commits : ConditionalCommits
    base : str
        What the names of the store's objects begin with.
    folder : str
        The hidden folder of this save, below `base`.
    values : mapping of str to bytes
        All of them, by key.
    """

    def __init__(
        self,
        objects: ObstoreObjects,
        commits: ConditionalCommits,
        base: str,
        folder: str,
        values: Mapping[str, bytes],
    ) -> None:
        self._objects = objects
        self._commits = commits
        self._base = base
        self._folder = f"{base}{folder}/"
        self._values = values
        self._roots = sorted(filter(is_of_root, values))
        self._commit = Commit(folder, ((ROOT, len(self._roots)),))
        self._heartbeat = commits.heartbeat_of(self._commit)
        self._seen = clock()  # before the request by whose answer the marker was last known to be ours

    def make(self, documents: Collection[str]) -> None:
        """Put all but the root's documents, and commit; nobody sees anything before.

        Parameters
        ----------
        documents : collection of str
            The keys at the root that tell whether a store is there.

        Raises
        ------
        ConflictError, StoreExistsError
            If another writer was faster.
        """
        nbytes = sum(map(len, self._values.values()))
        others = [key for key in self._values if key not in self._roots]
        calls = [
            *(partial(self._look, key) for key in documents),
            *(partial(self._stage, key) for key in self._roots),
            *(partial(self._put, key) for key in others),
        ]
        self._seen = clock()
        straight = partial(self._objects.write, self._folder + STRAIGHT, b"")
        heartbeat = self._heartbeat.beating() if nbytes > QUICK_NBYTES else nullcontext()
        with self._commits.between_puts(self._commit, straight), heartbeat:
            try:
                answers_of(calls)
            except ConflictError:
                side_by_side(self._look, list(documents))
                raise
            self._seen = clock()

    def finish(self) -> None:
        """Put the root's documents, and remove what is hidden."""
        if not self._finish_quickly():
            self._commits.finish(self._commit)

    def _finish_quickly(self) -> bool:
        """Put the root's documents, and remove what is hidden, as long as nobody can have taken us for dead.

        No request is repeated, which would know nothing of that.
        """
        for key in self._roots:
            if not self._is_sure():
                return False
            try:
                self._objects.put_if(self._base + key, self._values[key], None, is_once=True)
            except (ValueChangedError, StoreIOError):
                return False
        staged = [f"{self._folder}{ROOT}/{key}" for key in self._roots]
        rest = [*staged, self._folder + STRAIGHT, *self._heartbeat.names]
        if not self._is_sure():
            return False
        answers = side_by_side(self._remove, [[self._base + MARKER], rest])
        # what else stays is of no account; where the marker's removal was not answered, it may be gone all the same
        return answers[0] or (self._is_sure() and self._commits.current() is None)

    def _remove(self, names: Sequence[str]) -> bool:
        try:
            self._objects.remove_all(names, is_once=True)
        except ZarrdsError:  # as of who may not remove them
            return False
        return True

    def _is_sure(self) -> bool:
        return clock() - self._seen < LATE

    def _look(self, key: str) -> None:
        if self._objects.info(self._base + key) is not None:
            raise stands_there()

    def _stage(self, key: str) -> None:
        """Where those find it who finish for us."""
        self._objects.write(f"{self._folder}{ROOT}/{key}", self._values[key])

    def _put(self, key: str) -> None:
        value = self._values[key]
        if not put_over(self._objects, self._base, key, value, None, self._goes_on, lambda found: found is None):
            raise not_alone()

    def _goes_on(self, number: int) -> bool:
        """Raise unless nobody has taken us for dead so far."""
        if number or not self._is_sure():
            now = clock()
            if self._commits.current() != replace(self._commit, is_claimed=False):
                raise not_alone()
            self._seen = now
        return True


def is_of_root(key: str) -> bool:
    """Whether a key is that of a document of the root, without which there is no store."""
    return "/" not in key and is_node_document(key)
