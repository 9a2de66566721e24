"""A store in object storage or on a web server: every key is an object, reached through obstore."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, cast

from zarrds.errors import StoreIOError, UnsupportedError, ZarrdsError, locating
from zarrds.storage.found import Found
from zarrds.storage.fsspec.commits import ROOT, STRAIGHT, Commit, is_key, is_staged
from zarrds.storage.fsspec.objects import Objects
from zarrds.storage.fsspec.refusals import not_alone, stands_there
from zarrds.storage.held import HeldChanges, written
from zarrds.storage.obstore.changes.commits import ConditionalCommits
from zarrds.storage.obstore.changes.committing import VERSIONED, CommittingStore
from zarrds.storage.obstore.changes.new_store import NewStore, is_of_root
from zarrds.storage.obstore.changes.retries import refused
from zarrds.storage.obstore.connections import forked, is_usable
from zarrds.storage.obstore.objects import ObstoreObjects
from zarrds.storage.protocol import Buffer, Store, Traits, ValueChangedError
from zarrds.storage.secrets import without_secrets
from zarrds.storage.traits import Fetched
from zarrds.threads import MOST

if TYPE_CHECKING:
    from zarrds.storage.byte_cache import ByteCache

__all__ = ["ObjectStore"]

_MOST_NBYTES = 64 * 2**20  # of a new store whose values are put once all are there
_MOMENT = 1.0  # seconds


class ObjectStore(CommittingStore):
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
    _was_tidy = float("-inf")  # when it was seen last that nothing is hidden
    _looked: tuple[float, bool] = float("-inf"), False  # when it was looked whether nothing is there, and what was seen

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self.__setstate__((without_secrets(url), ObstoreObjects(url, storage_options or {}), "", ""))

    @classmethod
    def of(cls, store: Any) -> ObjectStore:
        """The store of an object of obstore, as the user has made it."""
        made = cls.__new__(cls)
        objects = ObstoreObjects.of(store)
        made.__setstate__((objects.name, objects, "", ""))
        return made

    def __repr__(self) -> str:
        return f"ObjectStore({self.path!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ObjectStore):
            return super().__eq__(other)
        return self._base == other._base and self._own.is_same(other._own)

    def __hash__(self) -> int:
        return hash((self._own.place, self._base))

    @property
    def token(self) -> str:
        """What tells it from other stores at the same URL: a digest of its options, or of the store object."""
        return self._own.token

    @property
    def location(self) -> str:
        """Where its objects are, whoever asks for them; see `Located`."""
        return self._own.location + self._base

    def cached_in(self, cache: ByteCache) -> Self:
        """The same store, which keeps the values that it fetches; see `Cacheable`."""
        from zarrds.storage.obstore.cached import CachedObjects  # which few need

        return self._over(CachedObjects.over(self._own, cache))

    def _over(self, objects: ObstoreObjects) -> Self:
        """The same store, whose objects are reached in another way."""
        made = type(self).__new__(type(self))
        made.__setstate__((self.path, objects, self._folder, self._part))
        return made

    def __getstate__(self) -> tuple[str, Any, str, str]:
        return self.path, self._own, self._folder, self._part

    # a child of a fork has to do without obstore

    @property
    def _objects(self) -> Any:
        if is_usable():
            return self._own
        if self._other is None:
            try:
                self._other = self._own.by_fsspec()
            except UnsupportedError as error:
                raise forked(self.path, error.problem) from error
        return self._other

    @_objects.setter
    def _objects(self, objects: Any) -> None:
        self._own = objects

    @property
    def traits(self) -> Traits:
        """As of a server, unless it is in memory; as many calls at once as there are threads."""
        return Traits(in_memory=True) if self._objects.is_memory else Traits(is_remote=True, concurrency=MOST)

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        """Return the value of `key` by one request, or None if the key is absent; see `Store.get`."""
        found = self._found(key)
        return None if found is None else found.data

    def _found(self, key: str, limit: int | None = None) -> Found | None:
        """As it is; past a cache if this thread may replace it, see `CachedObjects.plain`."""
        if self._session_of(key) is None:
            return super()._found(key, limit)
        return super(ObjectStore, self._uncached())._found(key, limit)

    def get_many(
        self, keys: Sequence[str], *, recover: bool = False, by_root: bool = False, listing: bool = False
    ) -> dict[str, Fetched]:
        """Return the values of some keys and their versions, past a cache; see `ManyValues.get_many`."""
        return super(ObjectStore, self._uncached()).get_many(keys, recover=recover, by_root=by_root, listing=listing)

    def _uncached(self) -> Self:
        plain: ObstoreObjects = getattr(self._own, "plain", self._own)  # of `CachedObjects`, which few import
        return self if plain is self._own else self._over(plain)

    def get_at_most(self, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
        """As `get`; but of a value of more than `limit` bytes only its beginning; see `BoundedValues.get_at_most`."""
        found = self._found(key, limit)
        return None if found is None else found.data

    def get_spans(self, key: str, spans: Sequence[tuple[int, int]]) -> list[Buffer]:
        """Return parts of a value, by few requests; see `SpanValues.get_spans`."""
        name = self._name(key)
        with locating(self.path, key):
            if name is None:
                raise StoreIOError("no such key")
            return list(self._objects.spans(name, spans))

    def get_tail(self, key: str, start: int, length: int) -> tuple[Buffer, int] | None:
        """Return a part of a value and the size of all of it, by one request; see `SpanValues.get_tail`."""
        name = self._name(key)
        if name is None:
            return None
        with locating(self.path, key):
            found = self._objects.find_range(name, start, length)
            return None if found is None else (found.data, int(found.info["size"]))

    # one key: a part of a chunk is read and set under the chunk's lock

    def set(self, key: str, *parts: Buffer, check: Callable[[], object] | None = None) -> None:
        """Make the concatenation of `parts` the value of `key`, by one request; see `Store.set`.

        Under the key's lock it is put only if the value is still the one that was read; else it is a
        `ValueChangedError`. Of a new store, which goes straight to its keys, it is put only if there is none.
        """
        name, objects, session = self._name(key), self._objects, self._session_of(key)
        self._forget()
        is_direct = self._is_direct(key)
        if name is None or not self._is_conditional or not (is_direct or (session and session.is_read)):
            super().set(key, *parts, check=check)
            return
        if check is not None:
            check()
        with locating(self.path, key):
            try:
                objects.put_if(name, b"".join(parts), session.version if session and session.is_read else None)
            except ValueChangedError as error:
                if session is not None and session.is_read:
                    raise
                raise (refused(key, is_same=True) if error.is_same else not_alone()) from None

    # many keys

    @property
    def _is_new(self) -> bool:
        return self._part == ROOT

    def _is_direct(self, key: str) -> bool:
        """Whether a value of a new store goes straight to its key."""
        return self._is_new and not is_of_root(key)

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
            session = self._session()
            return [] if session is not None and session.is_absent(f"{prefix}/") else super()._keys(prefix)
        keys, are_leftovers = self._listed()
        return [] if are_leftovers else keys

    def _standing(self) -> list[str]:
        return self._listed()[0]

    def _has_leftovers(self) -> bool:
        return self._listed()[1]

    def _listed(self) -> tuple[list[str], bool]:
        """All keys, and whether they can only be of a save that came to no end, or to none yet."""
        names = [name[len(self._base) :] for name in self._objects.find(self._base.rstrip("/"))]
        is_begun = any(name.endswith(f"/{STRAIGHT}") and is_staged(name.rpartition("/")[0]) for name in names)
        keys = [name for name in names if is_key(name)]
        if len(keys) == len(names):
            self._was_tidy = time.monotonic()
        return keys, is_begun and not any(map(is_of_root, keys))

    def stage(self) -> Self:
        """Return a new, empty store, which no reader sees; see `Committer.stage`.

        Where nothing stands, its values go straight to their keys: without the root's documents, they are no store.
        They are kept in memory while they are few; see `HeldChanges`.
        """
        objects = self._objects
        if self._folder or not self._is_conditional or objects.is_read_only:
            return super().stage()
        held: Any
        was_blank = self._was_blank()
        if self.is_blank() if was_blank is None else was_blank:
            staged = self._below(ROOT)
            held = HeldChanges(cast(Store, staged), _MOST_NBYTES, begin=staged._begin)
        else:
            held = HeldChanges(cast(Store, super().stage()))
        return cast(Self, held)

    def _begin(self) -> None:
        """Say that what is going to be put straight to its keys is of a save that has not come to its end."""
        self._objects.write(f"{self._folder}/{STRAIGHT}", b"")

    def is_blank(self) -> bool:
        """Whether nothing is there, hidden or not, by one request; see `Blank`."""
        with locating(self.path):
            is_blank: bool = self._objects.is_blank(self._base.rstrip("/"))
        self._looked = time.monotonic(), is_blank
        return is_blank

    def _was_blank(self) -> bool | None:
        """Whether nothing was there a moment ago; None if none has looked. Nothing depends on it but requests."""
        when, was_blank = self._looked
        return was_blank if time.monotonic() - when < _MOMENT else None

    def clean(self, *, repair: bool = False) -> list[str]:
        """Remove what was staged and not touched for a day; see `Committer.clean`."""
        is_clean = self._was_blank() or (not repair and time.monotonic() - self._was_tidy < _MOMENT)
        return [] if is_clean else super().clean(repair=repair)

    def publish(self, staged: Self, *, replace: bool = True) -> None:
        """Replace all keys by those of `staged`; see `Committer.publish`.

        Of two that publish at once, the second gets a `StoreExistsError`, or a `ConflictError`.
        """
        if not self._has_staged(staged, ROOT):
            super().publish(written(staged), replace=replace)
            return
        commits, given = self._commits, cast(Any, staged)
        if not isinstance(commits, ConditionalCommits):
            given = written(given)
        values = given.taken() if isinstance(given, HeldChanges) else None
        folder = staged._folder.removeprefix(self._base)
        if values is not None and isinstance(commits, ConditionalCommits):
            new = NewStore(self._objects, commits, self._base, folder, values)
            with self.lock(), locating(self.path):
                new.make(VERSIONED)
                with self._finishing():
                    new.finish()
            return
        with self.lock(), locating(self.path):
            self.recover()
            session = self._session()
            roots = session.roots if session is not None and session.roots is not None else self._roots()
            if any(found is not None for found in roots.values()):
                raise stands_there()
            n = len(self._objects.find(f"{staged._folder}/{ROOT}"))
            commit = Commit(folder, ((ROOT, n),))
            self._commits.begin(commit)
            self._finish(commit)
            if session is not None:
                session.forget()

    def discard(self, staged: Self) -> None:
        """Remove a staged store, but of a new one not what went to its keys, which the next save replaces.

        A removal knows no condition, and what is at the keys may be part of the store of another save by then.
        """
        given: Any = staged
        if isinstance(given, HeldChanges) and given.held() is not None:
            return  # nothing was written
        if not self._has_staged(staged, ROOT) or not self._is_conditional:
            super().discard(staged)
            return
        objects = self._objects
        with suppress(ZarrdsError), self.lock(), locating(self.path):
            commit = self._commits.current()
            if commit is not None and self._base + commit.folder == staged._folder:
                return  # it failed half-way, and needs what it names
            keys, are_leftovers = self._listed()
            kept = f"{staged._folder}/{STRAIGHT}" if keys and are_leftovers else ""
            objects.remove_all([name for name in objects.find(staged._folder) if name != kept])

    def __dask_tokenize__(self) -> tuple[object, ...]:
        many = self.get_many(VERSIONED)
        return "zarrds.ObjectStore", *self._where(), self.token, [many[key].identity for key in VERSIONED]
