"""How a new store appears in object storage, of which all values are at hand: few requests one after the other.

The steps are those of docs/spec.md, "The commit in object storage", of a new store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from functools import partial

from zarrds.errors import ConflictError, ZarrdsError
from zarrds.storage.fsspec.commits import MARKER, ROOT, STRAIGHT, Commit, is_door
from zarrds.storage.fsspec.refusals import not_alone, stands_there
from zarrds.storage.obstore.commits import ConditionalCommits
from zarrds.storage.obstore.growth import LATE, QUICK_NBYTES, clock
from zarrds.storage.obstore.objects import ObstoreObjects
from zarrds.storage.protocol import ValueChangedError
from zarrds.threads import side_by_side

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
        self._signs = commits.signs_of(self._commit)

    def make(self, doors: Collection[str]) -> None:
        """Put all but the root's documents, and commit; nobody sees anything before.

        Parameters
        ----------
        doors : collection of str
            The keys at the root that tell whether a store is there.

        Raises
        ------
        ConflictError, StoreExistsError
            If another writer was faster.
        """
        nbytes = sum(map(len, self._values.values()))
        others = [key for key in self._values if key not in self._roots]
        calls = [
            *(partial(self._look, key) for key in doors),
            *(partial(self._stage, key) for key in self._roots),
            *(partial(self._put, key) for key in others),
        ]
        straight = partial(self._objects.write, self._folder + STRAIGHT, b"")
        signs = self._signs.given_meanwhile() if nbytes > QUICK_NBYTES else nullcontext()
        with self._commits.begun(self._commit, straight), signs:
            try:
                side_by_side(_called, calls)
            except ConflictError:
                side_by_side(self._look, list(doors))
                raise

    def finish(self) -> None:
        """Put the root's documents, and remove what is hidden."""
        begun = clock()
        for key in self._roots:
            if clock() - begun > LATE:
                break
            try:
                self._objects.put_if(self._base + key, self._values[key], None)
            except ValueChangedError:
                break  # somebody took us for dead
        else:
            staged = [f"{self._folder}{ROOT}/{key}" for key in self._roots]
            rest = [*staged, self._folder + STRAIGHT, *self._signs.given]
            if clock() - begun < LATE:  # else somebody may have taken us for dead, and another marker may be there
                try:
                    side_by_side(self._objects.remove_all, [[self._base + MARKER], rest])
                    return
                except ZarrdsError:
                    pass  # as of who may not remove it
        self._commits.finish(self._commit)

    def _look(self, key: str) -> None:
        if self._objects.info(self._base + key) is not None:
            raise stands_there()

    def _stage(self, key: str) -> None:
        """Where those find it who finish for us."""
        self._objects.write(f"{self._folder}{ROOT}/{key}", self._values[key])

    def _put(self, key: str) -> None:
        try:
            self._objects.put_if(self._base + key, self._values[key], None)
        except ValueChangedError:
            raise not_alone() from None


def _called(call: Callable[[], None]) -> None:
    call()


def is_of_root(key: str) -> bool:
    """Whether a key is that of a document of the root, without which there is no store."""
    return "/" not in key and is_door(key)
