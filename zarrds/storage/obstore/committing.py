"""How a store in object storage changes: what only adds goes straight to its keys, all else is staged and copied.

Nothing is locked elsewhere: what this thread has seen under a lock is what other machines must not have changed.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any, Self, cast

from zarrds.errors import StoreIOError, ZarrdsError, locating
from zarrds.storage.commits.committer import DELETED, MAX_DELETED
from zarrds.storage.commits.growing import Growing, new_write
from zarrds.storage.found import ConditionalObjects, Found, version_of
from zarrds.storage.fsspec.commits import (
    DOORS,
    MAX_MARKER,
    ROOTS,
    Commit,
    Commits,
    is_certain,
    is_document,
    is_key,
    new_folder,
    process_id,
)
from zarrds.storage.fsspec.objects import identity_of
from zarrds.storage.fsspec.store import RemoteStore
from zarrds.storage.held import HeldChanges
from zarrds.storage.obstore.commits import ConditionalCommits, claimed, conflict
from zarrds.storage.obstore.connections import is_usable
from zarrds.storage.obstore.growth import Straight
from zarrds.storage.obstore.objects import ObstoreObjects
from zarrds.storage.obstore.sessions import Session, Sessions
from zarrds.storage.protocol import Store, ValueChangedError
from zarrds.storage.traits import Fetched, Growth, has_trait
from zarrds.threads import side_by_side

__all__ = ["VERSIONED", "CommittingStore", "written"]

_sessions = Sessions()

VERSIONED = sorted(DOORS)  # of the root: those that tell whether it was changed
_TRIES = 10  # to call off what this process has begun
_OF_ROOT = "1"  # the step of the root's documents
_ROOT = "zarr.json"  # by whose put a store is replaced


class CommittingStore(RemoteStore):
    """The changes of `zarrds.storage.obstore.store.ObjectStore`, which is what to use."""

    _own: ObstoreObjects

    @property
    def _is_conditional(self) -> bool:
        """Whether objects are put by conditions; not in a forked process, which goes through fsspec."""
        return has_trait(self._objects, ConditionalObjects)

    @property
    def _commits(self) -> Commits:
        if self._is_conditional:
            return ConditionalCommits(self._objects, self._base, self._claim_roots)
        return Commits(self._objects, self._base)

    @_commits.setter
    def _commits(self, commits: Commits) -> None:
        """Made anew when it is needed."""

    def lock(self, *keys: str) -> AbstractContextManager[object]:
        """Keep other threads out; of other machines it is noticed what they changed meanwhile. See `Store.lock`.

        Under the lock of a key, `set` puts what was read only if it is unchanged. Under that of the store as a whole,
        changes are made only if no document of the root has changed since `recover`.
        """
        held = super().lock(*keys)
        names = [self._locked_name(key) for key in keys] or [self._locked_name("")]
        return _sessions.begin(names, held)

    def _locked_name(self, key: str) -> str:
        return f"{self._own.place}/{self._base}{key}"

    def _session_of(self, key: str) -> Session | None:
        """What this thread has seen under the lock of a key; None if it does not hold it."""
        return _sessions.of(self._locked_name(key))

    def _session(self) -> Session | None:
        """What this thread has seen under the lock of the store as a whole; None if it does not hold it."""
        return self._session_of("") if not self._folder and is_usable() else None

    def _forget(self) -> None:
        """What this thread has seen of documents may hold no longer, since it changes something itself."""
        if (session := self._session()) is not None:
            session.forget_others()

    def list_children(self, prefix: str = "") -> list[str]:
        """The names directly below `prefix` that have keys below them, sorted; see `Store.list_children`."""
        if prefix or self._folder:
            return super().list_children(prefix)
        with locating(self.path):
            return sorted(name for name in self._folders() if is_key(name))

    def _folders(self) -> list[str]:
        session = self._session()
        if session is None or session.roots is None:
            return super()._folders()
        self._look(session)
        if session.folders is None:  # as in `get_many`
            session.folders = super()._folders()
        return session.folders

    def _found(self, key: str, limit: int | None = None) -> Found | None:
        name = self._name(key)
        if name is None:
            return None
        with locating(self.path, key):
            found: Found | None = self._objects.find_one(name, limit=limit)
        session = self._session_of(key)
        if session is not None:
            session.version, session.is_read = None if found is None else version_of(found.info), True
        return found

    def get_many(
        self, keys: Sequence[str], *, recover: bool = False, by_root: bool = False, listing: bool = False
    ) -> dict[str, Fetched]:
        """Return the values of some keys, fetched side by side; see `ManyValues.get_many`."""
        session = self._session()
        if session is not None and session.roots is not None:
            # what was seen under the lock is believed: the root is put only if it is unchanged
            roots = {key: _fetched_of(session.roots[key]) for key in keys if key in session.roots}
            seen = session.documents | roots
            missing = [key for key in keys if key not in seen]
            is_first = session.is_look_due
            found = self._fetched_beside_folders(session, missing, listing=listing) if missing else {}
            kept = {key: each for key, each in found.items() if not each.problem and (is_first or is_document(key))}
            session.documents |= kept
            return {key: found[key] if key in found else seen[key] for key in keys}
        if not recover:
            return dict(zip(keys, side_by_side(self._fetched, keys), strict=True))

        def look(key: str | None) -> Fetched | bool:
            return self._has_unfinished(by_root) if key is None else self._fetched(key)

        answers = side_by_side(look, [None, *keys])
        if answers[0]:
            self.recover()
            return self.get_many(keys)
        return {key: each for key, each in zip(keys, answers[1:], strict=True) if isinstance(each, Fetched)}

    def _fetched_beside_folders(self, session: Session, keys: Sequence[str], *, listing: bool) -> dict[str, Fetched]:
        """Values, beside the look that is due, and perhaps what lies directly below the root, which is noted."""

        def list_folders() -> None:
            with suppress(StoreIOError):  # who needs it asks again
                session.folders = super(CommittingStore, self)._folders()

        calls: list[Callable[[], Any]] = [partial(self._fetched, key) for key in keys]
        if listing and session.folders is None:
            calls.insert(0, list_folders)
        if session.is_look_due:
            calls.insert(0, partial(self._look, session))
        found = side_by_side(lambda call: call(), calls)
        return dict(zip(keys, found[len(found) - len(keys) :], strict=True))

    def _has_unfinished(self, by_root: bool) -> bool:
        """Whether there may be something for `recover` to do, also for who goes by the root's document alone."""
        if self._folder:
            return False
        try:
            with locating(self.path):
                commit = self._commits.current()
                return commit is not None and (is_certain(commit) or (not by_root and isinstance(commit, Growing)))
        except StoreIOError:
            return True  # it says what is wrong, if anything is

    def _fetched(self, key: str) -> Fetched:
        try:
            found = self._found(key)
        except ZarrdsError as error:
            return Fetched(None, None, error)
        return _fetched_of(found)

    def delete(self, key: str) -> None:
        """Remove `key`; an absent key is no error."""
        self._forget()
        super().delete(key)

    def delete_prefix(self, prefix: str) -> None:
        """Remove every key below `prefix`; see `PrefixRemoval.delete_prefix`."""
        self._forget()
        super().delete_prefix(prefix)

    def stage_changes(self) -> Self:
        """Return a new, empty store for changes, which are kept in memory while they are few; see `HeldChanges`."""
        changes = super().stage_changes()
        if not self._is_conditional or self._objects.is_read_only:
            return changes
        held: Any = HeldChanges(cast(Store, changes))
        return cast(Self, held)

    def link(self, key: str, changes: Self, to: str) -> None:
        """Make the value of `key` that of `to` in `changes`, which the server copies; see `Committer.link`."""
        super().link(key, written(changes), to)

    def apply_changes(self, changes: Self) -> None:
        """Put changes in place; see `Committer.apply_changes`, and the notes of the class."""
        with self.lock(), locating(self.path):
            self.recover()
            try:
                super().apply_changes(written(changes))
            finally:
                if (session := self._session()) is not None:
                    session.forget()

    def apply_growth(self, changes: Any, growth: Growth) -> bool:
        """Put changes straight to their keys; see `GrowingStore.apply_growth`, and `Straight`."""
        objects, commits, session = self._objects, self._commits, self._session()
        values = changes.held() if isinstance(changes, HeldChanges) else None
        if values is None or session is None or session.roots is None or not isinstance(commits, ConditionalCommits):
            return False
        before, root = session.roots.get(growth.root), values.pop(f"{_OF_ROOT}/{growth.root}", None)
        if before is None or root is None or DELETED in values or not objects.has_conditions:
            return False
        values = {staged.partition("/")[2]: value for staged, value in values.items()}
        documents = {key: values.pop(key).decode() for key in growth.documents if key in values}
        growing = Growing(process_id(), new_folder(), growth.root, new_write(), documents)
        if len(growing.dump()) > MAX_MARKER:
            return False
        with locating(self.path):
            self._look(session)
            try:
                found = self.get_many(list(documents))
                versions: dict[str, Any] = {key: each.version for key, each in found.items()}
                edges: dict[str, Any] = {key: growth.edges[key] for key in growth.edges if key in values}
                straight = Straight(objects, commits, self._base, self.path, growing, before, growth.check)
                straight.make(root, values, edges, versions)
            finally:
                session.forget()
        return True

    def publish_apart(self, staged: Any, check: Callable[[Collection[str]], None]) -> bool:
        """Replace all keys by those of `staged`, by one put of the root's document; see `ReplacedStore`."""
        objects, commits = self._objects, self._commits
        if not isinstance(staged, HeldChanges) or not isinstance(commits, ConditionalCommits):
            return False
        values = staged.held()
        root = None if values is None else values.pop(_ROOT, None)
        if values is None or root is None or not objects.has_conditions or not set(values).isdisjoint(VERSIONED):
            return False
        with self.lock(), locating(self.path):
            self.recover()
            session = self._session()
            roots = {} if session is None or session.roots is None else session.roots
            before = roots.get(_ROOT)
            if session is None or before is None or any(roots[key] is not None for key in roots if key != _ROOT):
                return False
            documents = {key: values.pop(key).decode() for key in list(values) if is_document(key)}
            folder = staged._folder.removeprefix(self._base)
            growing = Growing(process_id(), folder, _ROOT, new_write(), documents, replaces=True)
            # after the root was seen, which is claimed as it was seen: nothing is committed between
            calls: list[Callable[[], Any]] = [partial(self.get_many, list(documents)), self._standing]
            calls.append(partial(commits.check_removal, folder))
            found, standing, _ = side_by_side(lambda call: call(), calls)
            if len(growing.dump()) > MAX_MARKER or not values.keys().isdisjoint(standing):
                return False
            check(standing)
            versions = {key: each.version for key, each in found.items()}
            gone = sorted({*standing} - {_ROOT, *values, *documents})
            if len(json.dumps(gone)) > MAX_DELETED:
                return False
            try:
                Straight(objects, commits, self._base, self.path, growing, before).make(
                    root, values, {}, versions, gone
                )
            finally:
                session.forget()
        return True

    def glance(self) -> None:
        """As `recover`, in one round trip; see `GrowingStore.glance`."""
        session = self._session()
        if session is None:
            self.recover()
        elif session.roots is None:
            with locating(self.path):
                calls: list[Callable[[], Any]] = [self._roots, self._commit_under_way]
                roots, commit = side_by_side(lambda call: call(), calls)
            if commit is not None:
                self.recover()
                return
            session.forget()
            session.roots, session.is_look_due, session.is_unsure = roots, True, True

    @property
    def is_unsure(self) -> bool:
        """Whether this thread has only glanced; see `GrowingStore.is_unsure`."""
        session = self._session()
        return session is not None and session.is_unsure

    def recover_again(self) -> None:
        """Forget what was seen since `glance`, and `recover`; see `GrowingStore.recover_again`."""
        session = self._session()
        if session is None or not session.is_unsure:
            return
        before = session.roots or {}
        session.forget()
        self.recover()
        if any((before.get(key) is None) != (found is None) for key, found in (session.roots or {}).items()):
            raise conflict(self.path)  # another kind of store

    def identity(self, key: str, *, settled: bool = False) -> tuple[str, ...] | None:
        """As of any store; see `Store.identity`."""
        self._look_first()
        return super().identity(key, settled=settled)

    def _look_first(self) -> None:
        """Before something is read that is not fetched by `get_many`."""
        if (session := self._session()) is not None:
            self._look(session)

    def _look(self, session: Session) -> None:
        """Make sure that no commit is under way, if that is still to be done since the root was read."""
        if session.is_look_due:
            with locating(self.path):
                if self._commit_under_way() is not None:
                    raise conflict(self.path)
            session.is_look_due = False

    def _commit_under_way(self) -> Commit | Growing | None:
        try:
            return self._commits.current()
        except StoreIOError as exc:
            if exc.errno == errno.EACCES:  # as in `RemoteStore.recover`
                return None
            raise

    def recover(self) -> None:
        """Finish what a dead writer had begun, and, under the store's lock, note how its root stands."""
        session = self._session()
        if session is None:
            super().recover()
            return
        if session.roots is not None:
            self._look(session)
            return
        with locating(self.path):
            left: Commit | Growing | None = None
            tries = 0
            while True:
                # before the look for a commit that is under way: else it could be made between both
                roots = self._roots()
                commit = self._commit_under_way()
                if commit is None:
                    break
                # nobody is at it here: what this process has left again and again could not be called off either
                tries += commit.owner == process_id()
                if commit == left or tries > _TRIES:
                    raise StoreIOError(
                        "permission denied, or no success, to call off what a dead writer had begun",
                        mend="Write to the store with credentials that allow it",
                    )
                super().recover()
                left = commit
            session.forget_others()
            session.roots = roots

    def _can_finish(self, commit: Commit | Growing) -> bool:
        if not self._is_conditional:
            return super()._can_finish(commit)
        # of what is not made yet, no reader sees anything
        return is_certain(commit) or isinstance(commit, Growing) or self._session() is not None

    def _roots(self) -> dict[str, Found | None]:
        """The documents of the root that are there, by key."""
        found = side_by_side(self._objects.find_one, [self._base + name for name in VERSIONED])
        return dict(zip(VERSIONED, found, strict=True))

    def check_unchanged(self) -> None:
        """Raise if another writer has changed the root since it was noted; see `GrowingStore.check_unchanged`."""
        session = self._session()
        if session is None or session.roots is None:
            return
        infos = side_by_side(self._objects.info, [self._base + name for name in session.roots])
        for info, found in zip(infos, session.roots.values(), strict=True):
            if (info and identity_of(info)) != (found and identity_of(found.info)):
                raise conflict(self.path)

    def _claim_roots(self) -> None:
        """Raise if another writer has changed the root since it was noted, and see that no other can commit now."""
        session, objects = self._session(), self._objects
        if session is None or session.roots is None:
            return
        self.check_unchanged()
        for name in ROOTS:
            if (found := session.roots[name]) is not None:
                try:
                    claimed(objects, self._base + name, found)
                except ValueChangedError:
                    raise conflict(self.path) from None


def _fetched_of(found: Found | None) -> Fetched:
    if found is None:
        return Fetched(None)
    return Fetched(found.data, identity_of(found.info), version=version_of(found.info))


def written(changes: Any) -> Any:
    """Staged changes whose values are all where other processes find them."""
    return changes.written() if isinstance(changes, HeldChanges) else changes
