"""A store at a URL: every key is an object of a file system that fsspec knows."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from hashlib import sha256
from typing import Any, Self

from zarrds.arguments import check_mappings, check_paths
from zarrds.errors import StoreIOError, ZarrdsError, locating
from zarrds.storage.commits.committer import DELETED, STEPS, check_staged, deleted_keys
from zarrds.storage.commits.direct_marker import DirectMarker
from zarrds.storage.fsspec.ages import Clock, are_stale
from zarrds.storage.fsspec.commits import (
    MARKER,
    NODE_DOCUMENTS,
    STRAIGHT,
    Commit,
    Commits,
    is_certain,
    is_document,
    is_key,
    is_node_document,
    is_own,
    is_staged,
    new_folder,
)
from zarrds.storage.fsspec.listings import WebListings
from zarrds.storage.fsspec.objects import Objects, identity_of
from zarrds.storage.fsspec.refusals import kept_name, stands_there
from zarrds.storage.local.files import PARTIAL, is_partial
from zarrds.storage.local.locking.locks import locks_of
from zarrds.storage.protocol import Buffer, Traits, check_key, check_prefix
from zarrds.storage.secrets import without_secrets

__all__ = ["RemoteStore"]

_NEW = "new"  # where in its folder a whole store is staged
_REQUESTS_AT_ONCE = 16


class RemoteStore:
    """Keys as objects below a URL, through fsspec.

    For object stores (``s3://``, ``gs://``, ``az://``), for reading also ``http://``, ``https://`` and archives, for
    tests and examples ``memory://``. The package behind a kind of URL must be installed (``s3fs`` for ``s3://``,
    ``aiohttp`` for ``http://``). For local files use `LocalStore`, which promises more.

    Parameters
    ----------
    url : str
        As fsspec knows it, also chained: ``"zip://::https://host/t2m.zip"``.
    storage_options : mapping, optional
        For fsspec: credentials, endpoints and so on.

    Attributes
    ----------
    path : str
        The URL, as it was given, without what may be secret in it.
    traits : Traits
        In memory is ``memory://``, which other processes do not see.

    Raises
    ------
    UnsupportedError
        If fsspec, or the package behind the URL, is not installed, or the kind of URL is unknown.
    EncodingError
        If the file system does not take these options.
    StoreIOError
        By all methods, if the file system refuses.
    ReadOnlyError
        By all methods that write, if the file system can only be read, as over HTTP.

    Notes
    -----
    All methods may be called from any number of threads and processes at once. A pickle holds the URL and the options;
    copies of it, and all stores of one place with the same options, are equal.

    *One value* is set by one request. Object stores put it in its place in one step; file systems that write
    in place (``sftp://``, ``smb://``) do not: a reader may meet half a value.

    *Many values* cannot be put in place in one step, as object stores do not rename. What is promised instead: all that
    is staged is complete before anything visible changes. Then the object ``.commit.zarrds-partial`` names it, which is
    the instant of the commit, and the objects are copied to their keys one by one, the documents last and the root's
    last of all; of what a publish replaces, the documents go first. So whoever opens the store meanwhile finds none,
    not half of one. If the writer dies before the instant, the store is as it was; if it dies after it, `recover`
    finishes.

    *Locks* keep out other threads of this process only. Several processes or machines may write whole chunks at once,
    but must neither write to the same chunk nor change metadata at once. The identity of a value is what the file
    system tells of it (ETag, checksum, times, size): with a checksum alone, the same bytes set anew do not change it.

    Examples
    --------
    >>> from zarrds.storage.fsspec.store import RemoteStore
    >>> store = RemoteStore("memory://docs/t2m.zarr")
    >>> store.set("t2m/c/0", b"one", b"two")
    >>> store.get("t2m/c/0")
    b'onetwo'
    """

    path: str
    _objects: Any  # Objects, or what has its methods
    _folder: str  # of a staged store: what its names begin with
    _part: str  # of a whole store that is staged: where in the folder its keys are

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        check_paths(url=url)
        check_mappings(storage_options=storage_options)
        self.__setstate__((without_secrets(url), Objects(url, storage_options or {}), "", ""))

    def __getstate__(self) -> tuple[str, Any, str, str]:
        return self.path, self._objects, self._folder, self._part

    def __setstate__(self, state: tuple[str, Any, str, str]) -> None:
        self.path, self._objects, self._folder, self._part = state
        self._base = "".join(f"{part}/" for part in (self._folder, self._part) if part)
        self._commits = Commits(self._objects, self._base)
        name = getattr(self._objects, "locked_as", self._objects.place)
        self._locks = locks_of(f"{name}/{self._base}", between_processes=False)

    def __repr__(self) -> str:
        return f"RemoteStore({self.path!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteStore):
            return NotImplemented
        return bool(self._where() == other._where() and self._objects.options == other._objects.options)

    def __hash__(self) -> int:
        return hash(self._where())

    def _where(self) -> tuple[str, str]:
        return self._objects.place, self._base

    def __dask_tokenize__(self) -> tuple[object, ...]:
        versions = [self.identity(name) for name in sorted(NODE_DOCUMENTS)]
        return "zarrds.RemoteStore", *self._where(), self.token, versions

    @property
    def token(self) -> str:
        """What tells it from other stores at the same URL: a digest of its options."""
        options = self._objects.options
        return sha256(repr(sorted(options.items())).encode()).hexdigest() if options else ""

    @property
    def traits(self) -> Traits:
        """As of a server, as far as can be known; many calls at once, since they wait for the network."""
        in_memory = bool(self._objects.is_memory)
        return Traits(in_memory=in_memory, is_remote=True, concurrency=1 if in_memory else _REQUESTS_AT_ONCE)

    # one key

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        """Return the value of `key`, or None if the key is absent; `buffer` is not needed. See `Store.get`."""
        name = self._name(key)
        with locating(self.path, key):
            return None if name is None else self._checked(key, name, self._objects.read(name))

    def get_at_most(self, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
        """As `get`; but of a web server's value of more than `limit` bytes only the beginning; see `BoundedValues`."""
        name = self._name(key)
        with locating(self.path, key):
            return None if name is None else self._checked(key, name, self._objects.read(name, limit=limit))

    def _checked(self, key: str, name: str, data: bytes | None) -> bytes | None:
        """What was read of a key; a document that tells what a cache keeps of the store is looked at behind it."""
        if data is not None and is_document(key):
            self._objects.check_copy(name, data)
        return data

    def get_range(self, key: str, start: int, length: int, buffer: memoryview | None = None) -> Buffer | None:
        """Return a part of the value of `key` by one request, or None if the key is absent; see `Store.get_range`."""
        name = self._name(key)
        with locating(self.path, key):
            return None if name is None else self._objects.read_range(name, start, length)

    def set(self, key: str, *parts: Buffer, check: Callable[[], object] | None = None) -> None:
        """Make the concatenation of `parts` the value of `key` by one request; see `Store.set`.

        What happens between the answer of `check` and the request is not seen.
        """
        name = self._name(key)
        if name is None:
            raise kept_name(self.path, key)
        if check is not None:
            check()
        with locating(self.path, key):
            self._objects.write(name, b"".join(parts))

    def delete(self, key: str) -> None:
        """Remove `key`; an absent key is no error."""
        name = self._name(key)
        if name is not None:
            with locating(self.path, key):
                self._objects.remove(name)

    def identity(self, key: str, *, settled: bool = False) -> tuple[str, ...] | None:
        """Return what the file system tells about the value, or None if the key is absent; see `Store.identity`."""
        name = self._name(key)
        with locating(self.path, key):
            info = None if name is None else self._objects.info(name)
        return None if info is None else identity_of(info)

    def lock(self, *keys: str) -> AbstractContextManager[object]:
        """Keep other threads of this process out; see the notes of the class, and `Store.lock`."""
        for key in keys:
            check_key(key, self.path)
        return self._locks.hold(keys, what=f"store {self.path!r}")

    # all keys below a prefix

    def delete_prefix(self, prefix: str) -> None:
        """Remove every key below `prefix`, one by one; see `PrefixRemoval.delete_prefix`."""
        check_prefix(prefix, self.path)
        with locating(self.path, prefix or None):
            self._objects.remove_all([self._base + key for key in self._keys(prefix)])
            if prefix:
                self._objects.remove_folder(self._base + prefix)

    def list_prefix(self, prefix: str = "") -> Iterator[str]:
        """Every key below `prefix` as it is now, in no order; see `Store.list_prefix`."""
        check_prefix(prefix, self.path)
        with locating(self.path, prefix or None):
            return iter(self._keys(prefix))

    def list_sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Every key below `prefix` and the bytes of its value, from one listing; see `SizedListing`."""
        check_prefix(prefix, self.path)
        with locating(self.path, prefix or None):
            found = self._lister.find((self._base + prefix).rstrip("/"))
        for name, info in found.items():
            key, size = name[len(self._base) :], info.get("size")
            if is_key(key):
                yield key, len(self.get(key) or b"") if size is None else int(size)

    def list_children(self, prefix: str = "") -> list[str]:
        """The names directly below `prefix` that have keys below them, sorted; see `Store.list_children`."""
        check_prefix(prefix, self.path)
        with locating(self.path, prefix or None):
            names = self._lister.folders((self._base + prefix).rstrip("/"))
        return sorted(name for name in names if is_key(name))

    # staging

    def stage(self) -> Self:
        """Return a new, empty store under hidden names below the root; see `Committer.stage`."""
        return self._below(_NEW)

    def stage_changes(self) -> Self:
        """Return a new, empty store under hidden names below the root; see `Committer.stage_changes`."""
        return self._below("")

    def _below(self, part: str) -> Self:
        staged = type(self).__new__(type(self))
        staged.__setstate__((self.path, self._objects, self._base + new_folder(), part))
        return staged

    def publish(self, staged: Self, *, replace: bool = True) -> None:
        """Replace all keys by those of `staged`; see `Committer.publish`, and the notes of the class.

        Not one step: all will be replaced from the commit on, but one by one. Whether something stands there that is
        not to be replaced is seen before it: of two machines that publish at once, neither may notice.
        """
        if not self._has_staged(staged, _NEW):
            raise ValueError(f"the store was not staged for {self!r}")
        with self.lock(), locating(self.path):
            self.recover()
            old = self._standing()
            if old and not replace and not self._has_leftovers():
                raise stands_there()
            new = staged._keys()
            gone = sorted({*old} - {*new})
            commit = Commit(staged._folder.removeprefix(self._base), ((_NEW, len(new)),))
            self._commits.begin(commit, old=gone, is_removing=bool(old))
            self._finish(commit, old)

    def link(self, key: str, changes: Self, to: str) -> None:
        """Make the value of `key` that of `to` in `changes`, which the file system copies; see `Committer.link`."""
        self._check_changes(changes)
        source, target = self._name(key), changes._name(to)
        if source is None or target is None:
            raise kept_name(self.path, to if source else key)
        with locating(self.path, key):
            try:
                self._objects.copy([(source, target)])
            except FileNotFoundError as exc:
                raise StoreIOError("cannot link: no such key") from exc

    def apply_changes(self, changes: Self) -> None:
        """Put changes in place; see `Committer.apply_changes`, and the notes of the class."""
        self._check_changes(changes)
        with self.lock(), locating(self.path):
            self.recover()
            keys = changes._keys()
            check_staged(keys)
            deleted = deleted_keys(changes.get(DELETED), self.path)
            counts = Counter(key.partition("/")[0] for key in keys)
            steps = tuple((step, counts[step]) for step in STEPS)
            commit = Commit(changes._folder.removeprefix(self._base), steps)
            self._commits.begin(commit, is_removing=bool(deleted))
            self._finish(commit)

    def _finish(self, commit: Commit, replaced: Iterable[str] = ()) -> None:
        with self._finishing():
            self._commits.close(commit, filter(is_node_document, replaced))
            self._commits.finish(commit)

    @contextmanager
    def _finishing(self) -> Iterator[None]:
        """Around what follows a commit: an error says that it was made, so that nobody makes the change again."""
        try:
            yield
        except ZarrdsError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                error.mend = (
                    "It is committed: who opens the store next, and may write to it, puts in place what is missing. "
                    "Do not make the change again"
                )
            raise

    def discard(self, staged: Self) -> None:
        """Remove a staged store that is not to be published; one that is gone already is no error."""
        if not staged._folder:
            raise ValueError(f"{staged!r} was not staged")
        with suppress(ZarrdsError):
            # A commit that failed half-way needs what it names. If it cannot be seen, nothing is removed.
            commit = self._commits.current()
            if commit is None or self._base + commit.folder != staged._folder:
                self._objects.remove_below(staged._folder)

    def recover(self) -> None:
        """Finish changes that a dead writer had begun to put in place; usually nothing. See `Committer.recover`.

        Costs one request. A writer elsewhere gives heartbeats, and is waited for; without, for 20 s, it is dead.
        """
        if self._folder:
            return
        with locating(self.path):
            found = self._commit_under_way()
            if found is None or not self._can_finish(found):
                return
            with self.lock():
                commit = self._commits.abandoned()
                if commit is None:
                    return
                try:
                    self._commits.take_over(commit)
                except ZarrdsError as exc:
                    raise StoreIOError(
                        "changes that a dead writer had begun cannot be finished",
                        found=exc.problem,
                        mend="Open the store once from where it can be written to",
                    ) from exc

    def _commit_under_way(self) -> Commit | DirectMarker | None:
        try:
            return self._commits.current()
        except StoreIOError as exc:
            # those who may not list a bucket are told "permission denied" for all that is absent
            if exc.errno == errno.EACCES:
                return None
            raise

    def _can_finish(self, commit: Commit | DirectMarker) -> bool:
        """Whether what another had begun is to be waited for and finished here: else readers see it as it is."""
        return is_certain(commit)

    def clean(self, *, repair: bool = False) -> list[str]:
        """Remove what was staged and not touched for a day; see `Committer.clean`.

        A writer elsewhere may be alive: nothing is removed where it is not told when an object was written.
        """
        if self._folder or self._objects.is_read_only:
            return []
        with locating(self.path):
            removed = self.damaged() if repair else []
            if removed:
                with self.lock():
                    self._commits.begin(nothing := Commit(new_folder(), ()))  # over the marker that says nothing
                    self._commits.finish(nothing)
            names = [name for name in self._folders() if is_staged(name) and not is_own(name)]
            commit, clock = self._commits.current() if names else None, Clock(self._objects, self._base + new_folder())
            for name in names:
                found = self._objects.find(name)
                is_begun = commit is not None and commit.folder == name
                is_needed = is_begun or (f"{name}/{STRAIGHT}" in found and self._has_leftovers())
                if not is_needed and are_stale(found, clock):
                    self._objects.remove_below(name)
                    removed.append(name)
            return removed

    def _folders(self) -> list[str]:
        """What lies directly below the root and has objects below it, hidden names too."""
        found: list[str] = self._objects.folders()
        return found

    def damaged(self) -> list[str]:
        """Name a marker of a commit that says nothing; see `Damaged`."""
        with locating(self.path):
            try:
                return [MARKER] if not self._folder and self._commits.is_damaged() else []
            except StoreIOError as exc:
                if exc.errno == errno.EACCES:  # see `_commit_under_way`
                    return []
                raise

    # how

    def _name(self, key: str) -> str | None:
        """Check `key` and return its object's name, or None if it is one of those that are hidden."""
        check_key(key, self.path)
        if PARTIAL in key and any(map(is_partial, key.split("/"))):
            return None
        return self._base + key

    @property
    def _lister(self) -> Any:
        """Who is asked for listings: of a web server's pages it must be seen whether they are any."""
        objects = self._objects
        return WebListings(objects) if isinstance(objects, Objects) and objects.is_web else objects

    def _keys(self, prefix: str = "") -> list[str]:
        found = self._lister.find((self._base + prefix).rstrip("/"))
        keys = (name[len(self._base) :] for name in found)
        return [key for key in keys if is_key(key)]

    def _standing(self) -> list[str]:
        """The keys that are there, be they of a store or left by a save that came to no end."""
        return self._keys()

    def _has_leftovers(self) -> bool:
        """Whether what stands here can only be of a save that came to no end."""
        return False

    def _check_changes(self, changes: Self) -> None:
        if not self._has_staged(changes, ""):
            raise ValueError(f"the changes were not staged for {self!r}")

    def _has_staged(self, staged: Self, part: str) -> bool:
        if not staged._folder or staged._part != part or staged._objects.place != self._objects.place:
            return False
        return staged._folder.rpartition("/")[0] == self._base.rstrip("/")
