"""How a store in object storage changes: what only adds goes straight to its keys, all else is staged and copied.

Nothing is locked elsewhere: what this thread has seen under a lock is what other machines must not have changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Self, cast

from zarrds.errors import ConflictError, StoreIOError, ZarrdsError, locating
from zarrds.storage.commits.committer import DELETED, MAX_DELETED
from zarrds.storage.commits.direct_marker import DirectMarker, new_write
from zarrds.storage.commits.direct_stores import Additions
from zarrds.storage.found import ConditionalObjects, Found, is_same_version, version_of
from zarrds.storage.fsspec.commits import (
    MAX_MARKER,
    NODE_DOCUMENTS,
    ROOTS,
    Commit,
    Commits,
    is_certain,
    is_document,
    is_key,
    new_folder,
    process_id,
)
from zarrds.storage.fsspec.store import RemoteStore
from zarrds.storage.held import HeldChanges, written
from zarrds.storage.obstore.changes.commits import ConditionalCommits, claimed, conflict
from zarrds.storage.obstore.changes.direct_commit import DirectCommit
from zarrds.storage.obstore.changes.open_commit import OpenCommit
from zarrds.storage.obstore.changes.prefetch import Prefetch, fetched_of, note_keys
from zarrds.storage.obstore.changes.sessions import Session, Sessions
from zarrds.storage.obstore.connections import is_usable
from zarrds.storage.obstore.objects import ObstoreObjects
from zarrds.storage.protocol import Store, ValueChangedError
from zarrds.storage.traits import MAX_DOCUMENT, Fetched, has_trait
from zarrds.threads import answers_of, side_by_side

__all__ = ["VERSIONED", "CommittingStore"]

_sessions = Sessions()

VERSIONED = sorted(NODE_DOCUMENTS)  # of the root: those that tell whether it was changed
_TRIES = 10  # to call off what this process has begun
_OF_ROOT = "1"  # the step of the root's documents
_ROOT = "zarr.json"  # by whose put a store is replaced
_NODES = (".zarray", ".zgroup", "zarr.json")  # of the root: one of them makes a store


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
        # with the server: the same URL may be elsewhere with other options
        return f"{self._own.location}{self._base}{key}"

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
            seen = {key: told for key in keys if (told := session.told(key)) is not None}
            seen |= {key: fetched_of(session.roots[key]) for key in keys if key in session.roots}
            session.prefetch.asked |= dict.fromkeys(key for key in keys if key not in session.roots)
            missing = [key for key in keys if key not in seen]
            is_first = session.is_first
            found = self._fetched_beside_folders(session, missing, listing=listing) if missing else {}
            session.is_first &= not missing
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
        """Values, and perhaps what lies directly below the root, which is noted."""

        def list_folders() -> None:
            with suppress(StoreIOError):  # who needs it asks again
                session.folders = super(CommittingStore, self)._folders()

        calls: list[Callable[[], Any]] = [partial(self._fetched, key) for key in keys]
        if listing and session.folders is None:
            calls.insert(0, list_folders)
        if session.is_first and session.roots is not None:
            # it may have been read just before the marker was put: then all of this is newer
            there = {name: found for name in ROOTS if (found := session.roots[name]) is not None}
            calls.insert(0, partial(self._check_roots, there))
        found = answers_of(calls)
        return dict(zip(keys, found[len(found) - len(keys) :], strict=True))

    def _has_unfinished(self, by_root: bool) -> bool:
        """Whether there may be something for `recover` to do, also for who goes by the root's document alone."""
        if self._folder:
            return False
        try:
            with locating(self.path):
                commit = self._commits.current()
                return commit is not None and (is_certain(commit) or (not by_root and isinstance(commit, DirectMarker)))
        except StoreIOError:
            return True  # it says what is wrong, if anything is

    def _fetched(self, key: str) -> Fetched:
        try:
            found = self._found(key, MAX_DOCUMENT if is_document(key) else None)
        except ZarrdsError as error:
            return Fetched(None, None, error)
        return fetched_of(found)

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
            if (session := self._session()) is not None:
                answers_of(self._checking(session.prefetch))
                session.prefetch.forget()
                session.let_go()
            self.recover()
            try:
                super().apply_changes(written(changes))
            finally:
                if session is not None:
                    session.forget()

    def apply_additions(self, changes: Any, additions: Additions) -> bool:
        """Put changes straight to their keys; see `DirectCommitStore.apply_additions`, and `DirectCommit`."""
        objects, commits, session = self._objects, self._commits, self._session()
        values = changes.held() if isinstance(changes, HeldChanges) else None
        if values is None or session is None or session.roots is None or not isinstance(commits, ConditionalCommits):
            return False
        root = values.pop(f"{_OF_ROOT}/{additions.root}", None)
        if session.roots.get(additions.root) is None or root is None or DELETED in values or not objects.has_conditions:
            return False
        values = {staged.partition("/")[2]: value for staged, value in values.items()}
        documents = {key: values.pop(key).decode() for key in additions.documents if key in values}
        commit = session.open_commit
        marker = replace(_new_marker() if commit is None else commit.marker, root=additions.root, documents=documents)
        if len(marker.dump()) > MAX_MARKER:
            return False
        with locating(self.path):
            # those that were read by now are replaced as they were read
            known = {key: session.told(key) for key in documents}
            versions: dict[str, Any] = {key: each.version for key, each in known.items() if each is not None}
            missing = [key for key in known if known[key] is None]
            check = partial(self._check, additions, versions, missing, session.prefetch)
            edges: dict[str, Any] = {key: additions.edges[key] for key in additions.edges if key in values}
            commit = commit or OpenCommit(objects, commits, self._base, self.path, marker)
            direct = DirectCommit(commit, marker, session.roots[additions.root], check)
            try:
                direct.make(root, values, edges, versions)
            finally:
                session.open_commit = None  # it ends with the commit
                if direct.has_begun:
                    session.prefetch.forget()
                if not session.prefetch:  # else one may begin again, if it is still such a store
                    session.forget()
        if session.prefetch.name:
            note_keys(session.prefetch.name, session.prefetch.asked)
        return True

    def _checking(self, prefetch: Prefetch) -> list[Callable[[], None]]:
        return prefetch.checking(self.identity, super()._folders, self.path)

    def _check(
        self, plan: Additions, versions: dict[str, Any], keys: Sequence[str], prefetch: Prefetch, edges: Collection[str]
    ) -> None:
        """Call `Additions.check`, look at what was prefetched, and add the versions of keys, all side by side."""

        def add(key: str) -> None:
            versions[key] = self._fetched(key).version

        calls: list[Callable[[], None]] = [partial(add, key) for key in keys]
        if plan.check is not None:
            calls.append(partial(plan.check, {*edges, *prefetch.needed}))
        answers_of([*self._checking(prefetch), *calls])

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
            marker = DirectMarker(process_id(), folder, _ROOT, new_write(), documents, replaces=True)
            # after the root was seen, which is claimed as it was seen: nothing is committed between
            calls: list[Callable[[], Any]] = [partial(self.get_many, list(documents)), self._standing]
            calls.append(partial(commits.check_removal, folder))
            found, standing, _ = answers_of(calls)
            if len(marker.dump()) > MAX_MARKER or not values.keys().isdisjoint(standing):
                return False
            check(standing)
            versions = {key: each.version for key, each in found.items()}
            gone = sorted({*standing} - {_ROOT, *values, *documents})
            if len(json.dumps(gone)) > MAX_DELETED:
                return False
            try:
                commit = OpenCommit(objects, commits, self._base, self.path, marker)
                DirectCommit(commit, marker, before).make(root, values, {}, versions, gone)
            finally:
                session.forget()
        return True

    def begin(self, like: str = "") -> None:
        """As `recover`, and keep other machines out from now on; see `DirectCommitStore.begin`."""
        session, objects = self._session(), self._objects
        commits: Any = self._commits
        is_conditional = isinstance(commits, ConditionalCommits) and objects.has_conditions
        if session is not None and session.roots is not None:
            return
        if session is None or not is_conditional:
            self.recover()
            return
        commit = OpenCommit(objects, commits, self._base, self.path, _new_marker())
        roots: dict[str, Found | None] = {}
        prefetch = Prefetch(f"{self._locked_name('')} {like}" if like else "")
        session.open_commit = commit  # from here on, it is let go of with the lock, whatever comes between
        try:
            with locating(self.path):
                roots = self._roots([commit.put_marker, *prefetch.fetching(self.get_many, super()._folders)])
        except ZarrdsError:
            pass  # another is at it, or this one may not put anything, which the commit says
        # a root without one of each was read while another replaced it, or is none
        if any(all(roots.get(name) is None for name in names) for names in (ROOTS, _NODES)):
            session.let_go()
            self.recover()
            try:
                self.check_unchanged()
            except ConflictError:  # the other has made its commit since the root was seen, and gone
                session.forget()
                self.recover()
            return
        commit.keep_alive()
        session.forget()
        session.roots, session.is_first, session.prefetch = roots, True, prefetch
        session.documents, session.folders = dict(prefetch.values), prefetch.folders

    @property
    def is_begun(self) -> bool:
        """Whether this thread has begun; see `DirectCommitStore.is_begun`."""
        if (session := self._session()) is None:
            return False
        return bool(session.prefetch) or (session.open_commit is not None and session.is_first)

    def begin_again(self) -> None:
        """Begin anew, with `recover`; see `DirectCommitStore.begin_again`."""
        if (session := self._session()) is not None:
            session.let_go()
            before = session.roots or {}
            session.prefetch = Prefetch(session.prefetch.name)
            session.forget()
            self.recover()
            if any((before.get(key) is None) != (found is None) for key, found in (session.roots or {}).items()):
                raise conflict(self.path)  # another kind of store

    def recover(self) -> None:
        """Finish what a dead writer had begun, and, under the store's lock, note how its root stands."""
        session = self._session()
        if session is None:
            super().recover()
            return
        if session.roots is not None:
            return
        with locating(self.path):
            left: Commit | DirectMarker | None = None
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

    def _can_finish(self, commit: Commit | DirectMarker) -> bool:
        if not self._is_conditional:
            return super()._can_finish(commit)
        # of what is not made yet, no reader sees anything
        return is_certain(commit) or isinstance(commit, DirectMarker) or self._session() is not None

    def _roots(self, beside: Sequence[Callable[[], object]] = ()) -> dict[str, Found | None]:
        """The documents of the root that are there, by key; some other calls are made beside."""
        calls: list[Callable[[], Any]] = [partial(self._objects.find_one, self._base + name) for name in VERSIONED]
        found = answers_of([*beside, *calls])
        return dict(zip(VERSIONED, found[len(beside) :], strict=True))

    def check_unchanged(self) -> None:
        """Raise if another writer has changed the root since it was noted; see `DirectCommitStore.check_unchanged`."""
        session = self._session()
        if session is not None and session.roots is not None:
            self._check_roots(session.roots)

    def _check_roots(self, roots: Mapping[str, Found | None]) -> None:
        infos = side_by_side(self._objects.info, [self._base + name for name in roots])
        for info, found in zip(infos, roots.values(), strict=True):
            if not is_same_version(info and version_of(info), None if found is None else version_of(found.info)):
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
                    claimed(objects, self._base, name, found)
                except ValueChangedError:
                    raise conflict(self.path) from None


def _new_marker() -> DirectMarker:
    """That of a commit of which nothing is known yet."""
    return DirectMarker(process_id(), new_folder(), _ROOT, new_write(), {})
