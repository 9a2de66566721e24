"""A store in object storage or on a web server: every key is an object, reached through obstore."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Self

from zarrds.errors import ConflictError, StoreExistsError, StoreIOError, UnsupportedError, ZarrdsError, locating
from zarrds.storage.fsspec.commits import DOORS, MARKER, MAX_MARKER, OLD, Commit, Commits, is_door, is_key, is_staged
from zarrds.storage.fsspec.objects import Objects, identity_of
from zarrds.storage.fsspec.store import RemoteStore
from zarrds.storage.local.files import PARTIAL
from zarrds.storage.obstore.objects import Found, ObstoreObjects, is_usable, version_of
from zarrds.storage.obstore.sessions import Sessions
from zarrds.storage.protocol import Buffer, ValueChangedError
from zarrds.storage.secrets import without_secrets
from zarrds.storage.traits import Fetched
from zarrds.threads import MOST, side_by_side

__all__ = ["ObjectStore"]

_sessions = Sessions()


class ObjectStore(RemoteStore):
    """Keys as objects below a URL, through obstore: ``s3://``, ``gs://``, ``az://``, and for reading ``https://``.

    Parameters
    ----------
    url : str
    storage_options : mapping, optional
        The common ones of s3fs, gcsfs and adlfs: ``anon``, ``key``, ``secret``, ``token``, ``endpoint_url``,
        ``client_kwargs``, ``profile``, ``requester_pays``, ``account_name``, …; and obstore's ``client_options`` and
        ``retry_config``.

    Attributes
    ----------
    path : str
        The URL, without what may be secret in it.

    Raises
    ------
    UnsupportedError
        If obstore is not installed.
    EncodingError
        For options that are wrong.
    UntranslatableError
        For an option that only fsspec's package has; `zarrds.storage.locate.as_store` takes `RemoteStore` then.

    Notes
    -----
    All methods may be called from any number of threads and processes at once. A pickle holds the URL and the options,
    and so perhaps secrets; ``repr``, errors and tokens do not. A process that was forked from one that has used
    obstore goes through fsspec's package instead, since obstore's threads do not survive a fork.

    What is asked for together (`get_many`, `get_spans`) takes as long as one request.
    """

    _own: ObstoreObjects
    _other: Objects | None = None

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self.__setstate__((without_secrets(url), ObstoreObjects(url, storage_options or {}), "", ""))

    @classmethod
    def of(cls, store: Any) -> ObjectStore:
        """The store of an object of obstore, as the user has made it."""
        made = cls.__new__(cls)
        path = repr(store)
        made.__setstate__((path, ObstoreObjects.of(store, path), "", ""))
        return made

    def __repr__(self) -> str:
        return f"ObjectStore({self.path!r})"

    def __getstate__(self) -> tuple[str, Any, str, str]:
        return self.path, self._own, self._folder, self._part

    # a child of a fork has to do without obstore

    @property
    def _objects(self) -> Any:
        if is_usable():
            return self._own
        if self._other is None:
            try:
                self._other = Objects(self._own.url, self._own.options)
            except UnsupportedError as error:
                raise UnsupportedError(
                    "obstore cannot be used by a process that was forked from one that has used it",
                    path=self.path,
                    found=error.problem,
                    mend="Start processes with 'spawn' or 'forkserver', or install the package of fsspec for this "
                    "kind of URL, which is then used instead",
                ) from error
        return self._other

    @_objects.setter
    def _objects(self, objects: Any) -> None:
        self._own = objects

    @property
    def _commits(self) -> Commits:
        return _Commits(self._objects, self._base, self._check_roots)

    @_commits.setter
    def _commits(self, commits: Commits) -> None:
        """Made anew when it is needed."""

    @property
    def concurrency(self) -> int:
        """As many as there are threads; see `Values.concurrency`."""
        return 1 if self.in_memory else MOST

    @property
    def is_remote(self) -> bool:
        """Whether each call is a request; see `Store.is_remote`."""
        return not self.in_memory

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        """Return the value of `key` by one request, or None if the key is absent; see `Store.get`."""
        found = self._found(key)
        return None if found is None else found.data

    def get_at_most(self, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
        """As `get`; but of a value of more than `limit` bytes only its beginning; see `BoundedValues.get_at_most`."""
        found = self._found(key, limit)
        return None if found is None else found.data

    def _found(self, key: str, limit: int | None = None) -> Found | None:
        name = self._name(key)
        if name is None:
            return None
        with locating(self.path, key):
            objects = self._objects
            if isinstance(objects, ObstoreObjects):
                found = objects.find_one(name, limit=limit)
                session = _sessions.of(self._locked_name(key))
                if session is not None:
                    session.version, session.is_read = None if found is None else version_of(found.info), True
                return found
            data = objects.read(name)
            return None if data is None else Found(memoryview(data), objects.info(name) or {})

    def get_many(self, keys: Sequence[str], *, recover: bool = False) -> dict[str, Fetched]:
        """Return the values of some keys, fetched side by side; see `ManyValues.get_many`."""
        if not recover:
            return dict(zip(keys, side_by_side(self._fetched, keys), strict=True))

        def look(key: str | None) -> Fetched | bool:
            return self._has_unfinished() if key is None else self._fetched(key)

        found = side_by_side(look, [None, *keys])
        if found[0]:
            self.recover()
            return self.get_many(keys)
        return {key: each for key, each in zip(keys, found[1:], strict=True) if isinstance(each, Fetched)}

    def _has_unfinished(self) -> bool:
        """Whether there may be something for `recover` to do."""
        if self._folder:
            return False
        try:
            with locating(self.path):
                return self._commits.current() is not None
        except StoreIOError:
            return True  # it says what is wrong, if anything is

    def _fetched(self, key: str) -> Fetched:
        try:
            found = self._found(key)
        except ZarrdsError as error:
            return Fetched(None, None, error)
        return Fetched(None) if found is None else Fetched(found.data, identity_of(found.info))

    def get_spans(self, key: str, spans: Sequence[tuple[int, int]]) -> list[Buffer]:
        """Return parts of a value, by few requests; see `SpanValues.get_spans`."""
        name = self._name(key)
        with locating(self.path, key):
            if name is None:
                raise StoreIOError("no such key")
            objects = self._objects
            if isinstance(objects, ObstoreObjects):
                return list(objects.spans(name, spans))
            return [objects.read_range(name, *span) or b"" for span in spans]

    def get_tail(self, key: str, start: int, length: int) -> tuple[Buffer, int] | None:
        """Return a part of a value and the size of all of it, by one request; see `SpanValues.get_tail`."""
        name = self._name(key)
        if name is None:
            return None
        with locating(self.path, key):
            objects = self._objects
            if isinstance(objects, ObstoreObjects):
                found = objects.find_range(name, start, length)
                return None if found is None else (found.data, int(found.info["size"]))
            data, info = objects.read_range(name, start, length), objects.info(name)
            return None if data is None or info is None else (data, int(info["size"]))

    # one key: a part of a chunk is read and set under the chunk's lock

    def set(self, key: str, *parts: Buffer, check: Callable[[], object] | None = None) -> None:
        """Make the concatenation of `parts` the value of `key`, by one request; see `Store.set`.

        Under the key's lock it is put only if the value is still the one that was read; else it is a
        `ValueChangedError`. Of a new store, which goes straight to its keys, it is put only if there is none.
        """
        name, objects, session = self._name(key), self._objects, _sessions.of(self._locked_name(key))
        is_direct = self._is_direct(key)
        if name is None or not isinstance(objects, ObstoreObjects) or not (is_direct or (session and session.is_read)):
            super().set(key, *parts, check=check)
            return
        if check is not None:
            check()
        with locating(self.path, key):
            try:
                objects.put_if(name, b"".join(parts), session.version if session and session.is_read else None)
            except ValueChangedError:
                if session is not None and session.is_read:
                    raise
                raise ConflictError(
                    "another save is under way here, or its leftovers are in the way",
                    mend="Nothing of it was changed. Try again when no other save is at it",
                ) from None

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

    # many keys

    @property
    def _is_new(self) -> bool:
        return self._part == _ROOT

    def _is_direct(self, key: str) -> bool:
        """Whether a value of a new store goes straight to its key."""
        return self._is_new and not ("/" not in key and is_door(key))

    def _name(self, key: str) -> str | None:
        name = super()._name(key)
        if name is None or not self._is_direct(key):
            return name
        return self._target + key

    @property
    def _target(self) -> str:
        """Of a new store: what the names of the store begin with that it is to become."""
        folder = self._folder.rstrip("/")
        return f"{folder.rpartition('/')[0]}/" if "/" in folder else ""

    def _keys(self, prefix: str = "") -> list[str]:
        """As of any; but what a save has put there that came to no end, or to none yet, is not there."""
        if prefix or self._folder:
            return super()._keys(prefix)
        keys, are_leftovers = self._listed()
        return [] if are_leftovers else keys

    def _standing(self) -> list[str]:
        return self._listed()[0]

    def _has_leftovers(self) -> bool:
        return self._listed()[1]

    def _listed(self) -> tuple[list[str], bool]:
        """All keys, and whether they can only be of a save that came to no end, or to none yet."""
        names = [name[len(self._base) :] for name in self._objects.find(self._base.rstrip("/"))]
        is_begun = any(name.endswith(f"/{_CLAIM}") and is_staged(name.rpartition("/")[0]) for name in names)
        keys = [name for name in names if is_key(name)]
        return keys, is_begun and not any("/" not in key and is_door(key) for key in keys)

    def stage(self) -> Self:
        """Return a new, empty store, which no reader sees; see `Store.stage`.

        Where nothing stands, its values go straight to their keys: without the root's documents, they are no store.
        """
        objects = self._objects
        if not self._folder and isinstance(objects, ObstoreObjects) and not objects.is_read_only:
            with locating(self.path):
                if not objects.find(self._base.rstrip("/")):
                    staged = self._below(_ROOT)
                    objects.write(f"{staged._folder}/{_CLAIM}", b"")
                    return staged
        return super().stage()

    def publish(self, staged: Self, *, replace: bool = True) -> None:
        """Replace all keys by those of `staged`; see `Store.publish`.

        Of two that publish at once, the second gets a `StoreExistsError`, or a `ConflictError`.
        """
        if not self._has_staged(staged, _ROOT):
            super().publish(staged, replace=replace)
            return
        with self.lock(), locating(self.path):
            self.recover()
            session = _sessions.of(self._locked_name(""))
            roots = session.roots if session is not None and session.roots is not None else self._roots()
            if any(version is not None for version in roots.values()):
                raise StoreExistsError(
                    "something was put here meanwhile", mend="Try again, or to replace it pass mode='w'"
                )
            folder = staged._folder.removeprefix(self._base)
            n = len(self._objects.find(f"{staged._folder}/{_ROOT}"))
            commit = Commit(folder, ((_ROOT, n),))
            self._commits.begin(commit)
            self._commits.finish(commit)

    def discard(self, staged: Self) -> None:
        """Remove a staged store; of a new one also what went to its keys, unless another save is at it by now."""
        if not self._has_staged(staged, _ROOT) or not isinstance(self._objects, ObstoreObjects):
            super().discard(staged)
            return
        objects, own = self._objects, staged._folder.removeprefix(self._base)
        with suppress(ZarrdsError), self.lock(), locating(self.path):
            commit = self._commits.current()
            if commit is not None and commit.folder == own:
                return  # it failed half-way, and needs what it names
            names = objects.find(self._base.rstrip("/"))
            hidden = {name[len(self._base) :].partition("/")[0] for name in names if PARTIAL in name}
            roots = [self._base + root for root in _VERSIONED]
            if own in hidden and hidden <= {own} and not any(root in names for root in roots):
                objects.remove_all([name for name in names if is_key(name[len(self._base) :])])
            objects.remove_below(staged._folder)

    def recover(self) -> None:
        """Finish what a dead writer had begun, and, under the store's lock, note how its root stands."""
        super().recover()
        session = _sessions.of(self._locked_name(""))
        if session is not None and session.roots is None and isinstance(self._objects, ObstoreObjects):
            with locating(self.path):
                session.roots = self._roots()

    def _roots(self) -> dict[str, Hashable]:
        """What tells whether a document of the root was changed, by name."""
        infos = side_by_side(self._objects.info, [self._base + name for name in _VERSIONED])
        return {name: info and identity_of(info) for name, info in zip(_VERSIONED, infos, strict=True)}

    def _check_roots(self) -> None:
        """Raise if another writer has changed the root since it was noted."""
        session = _sessions.of(self._locked_name(""))
        if session is not None and session.roots is not None and session.roots != self._roots():
            raise conflict(self.path)

    def __dask_tokenize__(self) -> tuple[object, ...]:
        many = self.get_many(_VERSIONED)
        return "zarrds.ObjectStore", *self._where(), self.token, [many[key].identity for key in _VERSIONED]


class _Commits(Commits):
    """Commits that begin one after the other: the marker is put only where there is none."""

    def __init__(self, objects: Any, base: str, check: Callable[[], None]) -> None:
        super().__init__(objects, base)
        self._check = check

    def begin(self, commit: Commit, old: Sequence[str] = ()) -> None:
        """Commit, unless another writer has begun, or has changed the root since this one looked."""
        objects: Any = self._objects
        if not isinstance(objects, ObstoreObjects):
            super().begin(commit, old)
            return
        if old:
            objects.write(f"{self._base}{commit.folder}/{OLD}", json.dumps(old).encode())
        marker = self._base + MARKER
        try:
            # nothing is visible before the second look: who takes the marker for a dead writer's waits for seconds
            self._put_marker(objects, marker, commit.dump())
        except ValueChangedError:
            raise conflict(self._base) from None
        try:
            self._check()
        except BaseException:
            objects.remove(marker)
            raise

    def _put_marker(self, objects: ObstoreObjects, marker: str, value: bytes) -> None:
        try:
            objects.put_if(marker, value, None)
        except ValueChangedError:
            found = objects.find_one(marker, limit=MAX_MARKER)
            if found is None or self._parsed(bytes(found.data)) is not None:
                raise
            objects.put_if(marker, value, version_of(found.info))  # it says nothing, and must not keep all out for ever


def conflict(path: str) -> ConflictError:
    """The error of the second of two writers."""
    return ConflictError(
        "another writer has changed the store meanwhile, or is about to",
        path=path,
        mend="Nothing of this was written. Try again",
    )


_ROOT = "root"  # of a new store: where in its folder the documents of its root are
_CLAIM = "straight"  # there, if what the folder belongs to puts its values straight to their keys
_VERSIONED = sorted(DOORS)  # of the root: those that tell whether it was changed
