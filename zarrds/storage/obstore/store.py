"""A store in object storage or on a web server: every key is an object, reached through obstore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zarrds.errors import StoreIOError, UnsupportedError, ZarrdsError, locating
from zarrds.storage.fsspec.commits import Commits
from zarrds.storage.fsspec.objects import Objects, identity_of
from zarrds.storage.fsspec.store import RemoteStore
from zarrds.storage.obstore.objects import Found, ObstoreObjects, is_usable
from zarrds.storage.obstore.places import without_secrets
from zarrds.storage.protocol import Buffer, Fetched
from zarrds.threads import MOST, side_by_side

__all__ = ["ObjectStore"]


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
        return Commits(self._objects, self._base)

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
                return objects.find_one(name, limit=limit)
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

    def __dask_tokenize__(self) -> tuple[object, ...]:
        many = self.get_many(_VERSIONED)
        return "zarrds.ObjectStore", *self._where(), self.token, [many[key].identity for key in _VERSIONED]


_VERSIONED = ("zarr.json", ".zmetadata", ".zgroup", ".zarray", ".zattrs")
