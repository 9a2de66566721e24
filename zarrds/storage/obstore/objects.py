"""The calls to obstore under a store: objects are read, put, listed, copied and removed.

It has the methods of `zarrds.storage.fsspec.objects.Objects`, and more. Everything here takes names below one URL, and
raises errors of zarrds, which show no secret. obstore is imported when the first URL is opened: it is optional.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from zarrds.errors import StoreIOError, UnsupportedError, ZarrdsError
from zarrds.storage.fsspec.objects import read_only
from zarrds.storage.obstore.failures import does_not_list, failure, scrubbed
from zarrds.storage.obstore.places import Place, credentials_of, place_of, region_of
from zarrds.storage.protocol import ValueChangedError
from zarrds.storage.secrets import without_secrets
from zarrds.threads import side_by_side

__all__ = ["Found", "Info", "ObstoreObjects", "Version", "is_usable", "version_of"]

Info = Mapping[str, Any]
# what tells one value of an object from the next: its ``e_tag`` and, at Google's, its ``version``
Version = Mapping[str, Any]
T = TypeVar("T")
# objects up to this size are put by one request
_ONE_PUT = 64 * 2**20
# ranges that lie closer together are one request: at 100 MB/s and 30 ms, what lies between takes less than a request
_COALESCE = 2**20
_ATTEMPTS = 3  # to read an answer that breaks off
_PAUSE = 0.1  # seconds before the second, and four times that before the third
_REDIRECTED = re.compile(r"30[178] |Received redirect|AuthorizationHeaderMalformed|PermanentRedirect")

# obstore's threads are made once a process, and a forked child has none of them
_process: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What was read of an object.

    Attributes
    ----------
    data : memoryview
    info : mapping
        What the answer told about the whole object.
    """

    data: memoryview
    info: Info


def version_of(info: Info) -> Version:
    """What `ObstoreObjects.put_if` needs to know of an object that was read."""
    return {"e_tag": info.get("e_tag"), "version": info.get("version")}


def is_usable() -> bool:
    """Whether obstore may be used by this process: not by one that was forked from one that used it."""
    return _process in (None, os.getpid())


class ObstoreObjects:
    """The objects below a URL.

    Parameters
    ----------
    url : str
        Of one of `zarrds.storage.obstore.places.SCHEMES`.
    options : mapping
        As fsspec takes them.

    Attributes
    ----------
    place : str
        The same for all spellings of a URL; without secrets.
    is_memory : bool
        Whether they are in this process's memory.
    is_read_only : bool
        Whether it is a web server.
    has_conditions : bool
        Whether objects can be put over what was seen of them.

    Raises
    ------
    UnsupportedError
        If obstore is not installed.
    UntranslatableError
        For an option that only fsspec's package has.
    EncodingError
        For options that are wrong.

    Notes
    -----
    All methods may be called from any number of threads at once; they let go of the interpreter's lock. It pickles as
    URL and options, which may hold secrets; nothing else shows them.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._begin(url, dict(options), place_of(url, options))

    @classmethod
    def of(cls, store: Any, path: str) -> ObstoreObjects:
        """Objects of a store of obstore that the user has made."""
        made = cls.__new__(cls)
        made._begin(path, {}, Place(type(store).__name__, path, "", "", {}), store)
        return made

    def _begin(self, url: str, options: dict[str, Any], where: Place, given: Any = None) -> None:
        self.url, self.options, self.place = url, options, where.name
        self._where, self._given = where, given
        self.is_read_only = where.kind == "HTTPStore"
        self.has_conditions = where.kind in ("S3Store", "GCSStore", "AzureStore", "MemoryStore")
        self.is_memory = where.kind == "MemoryStore"
        self._has_suffixes = where.kind != "AzureStore"
        self._lister: Any = None
        self._connect({})

    def __reduce__(self) -> tuple[Any, ...]:
        if self._given is not None:
            return _again, (self._given, self.place)
        return type(self), (self.url, self.options)

    def __repr__(self) -> str:
        return f"ObstoreObjects({self.place!r})"

    def _connect(self, more: Mapping[str, Any]) -> None:
        global _process
        try:
            import obstore
        except ImportError as exc:
            raise UnsupportedError(
                "stores in object storage need the package obstore",
                path=without_secrets(self.url),
                mend="Install it (python -m pip install 'zarrds[remote]'), or copy the data and give a local path",
            ) from exc
        self._module = obstore
        self._absent = FileNotFoundError
        _process = _process or os.getpid()
        where = self._where
        if self._given is not None:
            self._connection = self._given
            return
        config = dict(where.config)
        if where.profile is not None:
            said, provider = credentials_of(where.profile)
            config = {**said, **config}
            if provider is not None:
                config["credential_provider"] = provider
            if str(config.get("endpoint", "")).startswith("http://"):
                config["client_options"] = {"allow_http": True, **config["client_options"]}
        make = getattr(import_module("obstore.store"), where.kind)
        prefix = {} if where.kind == "HTTPStore" or not where.prefix else {"prefix": where.prefix}
        try:
            self._connection = make(where.root, **prefix, **config, **more)
        except Exception as exc:  # obstore has an error for each kind of wrong option
            raise self._failure(exc, "open") from None

    # one object

    def read(self, name: str) -> bytes | None:
        """Return all that an object holds, or None if there is no such object."""
        found = self.find_one(name)
        return None if found is None else bytes(found.data)

    def read_at_most(self, name: str, limit: int) -> bytes | None:
        """As `read`; but of an object of more than `limit` bytes only a little more than that."""
        found = self.find_one(name, limit=limit)
        return None if found is None else bytes(found.data)

    def find_one(
        self, name: str, span: tuple[int, int] | int | None = None, *, limit: int | None = None
    ) -> Found | None:
        """Return an object, or a part of it, and what is told of it; None if there is no such object.

        Parameters
        ----------
        name : str
        span : (int, int) or int, optional
            First byte and the one behind the last, or how many bytes from the end (which Azure does not know).
        limit : int, optional
            Of an object that is larger, only a few bytes more than that are read.
        """
        options: dict[str, Any] = {}
        if span is not None:
            options = {"options": {"range": span if isinstance(span, tuple) else {"suffix": span}}}

        def ask() -> Found | None:
            try:
                answer = self._module.get(self._connection, name, **options)
                size = answer.meta["size"]
                if limit is None or size <= limit:
                    return Found(memoryview(answer.bytes()), answer.meta)
            except self._absent as exc:
                self._check_bucket(exc)
                return None
            return self.find_one(name, (0, limit + 1))  # the answer is dropped before its body

        return self._asking("read", ask)

    def read_range(self, name: str, start: int, length: int) -> memoryview | None:
        """Return at most `length` bytes from `start` (from the end if negative), or None if there is no such object."""
        found = self.find_range(name, start, length)
        return None if found is None else found.data

    def find_range(self, name: str, start: int, length: int) -> Found | None:
        """As `read_range`, with what is told of the object."""
        if length <= 0 or (start < 0 and not self._has_suffixes):
            info = self.info(name)
            if info is None:
                return None
            first = max(info["size"] + start, 0) if start < 0 else start
            if length <= 0 or first >= info["size"]:
                return Found(memoryview(b""), info)
            return self.find_range(name, first, length)
        try:
            found = self.find_one(name, -start if start < 0 else (start, start + length))
        except StoreIOError:
            # refused: a range that begins at the end or beyond it, or any range, by a server that knows none
            info = self.info(name)
            if info is None or (not self.is_read_only and not (info["size"] == 0 or start >= info["size"])):
                raise
            if info["size"] and start < info["size"]:
                found = self.find_one(name)
                return None if found is None else Found(_cut(found.data, start, length), found.info)
            return Found(memoryview(b""), info)
        return None if found is None else Found(found.data[:length], found.info)

    def spans(self, name: str, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Return parts of an object that is there, by offset and length; they must lie inside of it."""
        starts, lengths = [start for start, _ in spans], [length for _, length in spans]

        def ask() -> list[memoryview]:
            found = self._module.get_ranges(self._connection, name, starts=starts, lengths=lengths, coalesce=_COALESCE)
            return [memoryview(each) for each in found]

        try:
            return self._asking("read", ask)
        except StoreIOError:
            if not self.is_read_only:
                raise
            whole = self.find_one(name)  # the server knows no ranges
            if whole is None:
                raise
            return [_cut(whole.data, start, length) for start, length in spans]

    def info(self, name: str) -> Info | None:
        """Return what is told about an object, or None if there is no such object."""

        def ask() -> Info | None:
            try:
                found: Info = self._module.head(self._connection, name)
            except self._absent as exc:
                self._check_bucket(exc)
                return None
            return found

        return self._asking("look at", ask)

    def write(self, name: str, value: bytes) -> None:
        """Make `value` what an object holds, in one step."""
        whole = len(value) <= _ONE_PUT
        options = {"use_multipart": False} if whole else {"chunk_size": _ONE_PUT // 4}
        with self._calling("write", writing=True):
            self._module.put(self._connection, name, value, **options)

    def put_if(self, name: str, value: bytes, expected: Version | None) -> Version:
        """Make `value` what an object holds, if it is still what it was; return the version that it has then.

        An answer that was lost is found out: what holds `value` already is taken to have been put.

        Parameters
        ----------
        name : str
        value : bytes
        expected : Version or None
            Of the object as it was seen; None if there was none.

        Raises
        ------
        ValueChangedError
            If another writer has changed it since.
        """
        mode: Any = "create" if expected is None else {k: v for k, v in expected.items() if v is not None}
        refused = self._module.exceptions
        with self._calling("write", writing=True):
            try:
                return version_of(self._module.put(self._connection, name, value, mode=mode, use_multipart=False))
            except (refused.AlreadyExistsError, refused.PreconditionError):
                pass
            except FileNotFoundError as exc:
                self._check_bucket(exc)
        there = self.find_one(name)
        if there is None or there.data != value:
            raise ValueChangedError(name)
        return version_of(there.info)

    def remove(self, name: str) -> None:
        """Remove an object; a missing one is no error."""
        self.remove_all([name])

    # many

    def find(self, name: str = "") -> dict[str, Info]:
        """Return all objects below `name`, in no order, and what the listing tells about them."""
        if self.is_read_only:
            return self._listed(name)
        start = f"{name}/" if name else ""
        with self._calling("list"):
            batches = self._connection.list(start or None)
            return {entry["path"]: entry for batch in batches for entry in batch if entry["path"].startswith(start)}

    def folders(self, name: str = "") -> list[str]:
        """Return the names of what lies directly below `name` and has objects below it."""
        if self.is_read_only:
            entries = self._web.entries(name)
            if not entries:
                raise does_not_list(name)
            return [entry for entry, is_folder in entries if is_folder]
        with self._calling("list"):
            found = self._connection.list_with_delimiter(f"{name}/" if name else None)
        return [folder.rstrip("/").rpartition("/")[2] for folder in found["common_prefixes"]]

    def copy(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Copy objects, whose bytes do not pass through here.

        Raises
        ------
        FileNotFoundError
            If one of them is gone.
        """

        def copy(pair: tuple[str, str]) -> None:
            with self._calling("copy", writing=True, absence=True):
                self._module.copy(self._connection, *pair)

        side_by_side(copy, list(pairs))

    def remove_all(self, names: Sequence[str]) -> None:
        """Remove objects; missing ones are no error."""
        if names:
            with self._calling("delete", writing=True):
                try:
                    self._module.delete(self._connection, list(names))
                except self._absent:  # stores that tell: each by itself
                    for name in names:
                        try:
                            self._module.delete(self._connection, name)
                        except self._absent:
                            continue

    def remove_below(self, name: str) -> None:
        """Remove all objects below `name`."""
        self.remove_all(list(self.find(name)))

    def remove_folder(self, name: str) -> None:
        """Do nothing: there are no folders."""

    # web servers, which do not list in one way

    @property
    def _web(self) -> Any:
        """fsspec's client, which reads the pages on which some servers show what they have."""
        if self._lister is None:
            from zarrds.storage.fsspec.objects import Objects

            self._lister = Objects(self.url, {k: v for k, v in self.options.items() if k not in _OURS})
        return self._lister

    def _listed(self, name: str) -> dict[str, Info]:
        found: dict[str, Info] = self._web.find(name)
        if not found and not self._web.entries(""):
            raise does_not_list(name)
        return found

    # how

    def _asking(self, doing: str, ask: Callable[[], T]) -> T:
        """Ask again where an answer broke off, or where S3 has the bucket in another region."""
        for attempt in itertools.count():
            with self._calling(doing):
                try:
                    return ask()
                except Exception as exc:  # obstore has an error for each kind of failure
                    if not self._may_help(exc, attempt):
                        raise
            time.sleep(_PAUSE * 4**attempt)
        raise AssertionError  # it is counted without an end

    def _may_help(self, exc: Exception, attempt: int) -> bool:
        text = str(exc)
        if attempt + 1 >= _ATTEMPTS:
            return False
        if self._where.kind == "S3Store" and "region" not in self._where.config and _REDIRECTED.search(text):
            region = region_of(self._where)
            if region is not None:
                self._connect({"region": region})
                return True
        return "body" in text and "status code" not in text

    def _check_bucket(self, exc: Exception) -> None:
        if "NoSuchBucket" in str(exc) or "ContainerNotFound" in str(exc):
            raise StoreIOError(
                "there is no such bucket",
                found=self._where.root,
                mend="Check the URL, and the endpoint in storage_options; zarrds makes no buckets",
            ) from None

    @contextmanager
    def _calling(self, doing: str, *, writing: bool = False, absence: bool = False) -> Iterator[None]:
        """Turn errors of obstore into ours; that something is absent only if `absence` is not set."""
        if writing and self.is_read_only:
            raise read_only(doing)
        try:
            yield
        except ZarrdsError:
            raise
        except FileNotFoundError as exc:
            if absence:
                raise FileNotFoundError(scrubbed(exc, self._where.secrets)) from None
            self._check_bucket(exc)
            raise self._failure(exc, doing) from None
        except Exception as exc:  # obstore has an error for each kind of failure
            raise self._failure(exc, doing) from None  # which may show secrets
        except BaseException as exc:
            if type(exc).__name__ == "PanicException":
                raise self._failure(exc, doing) from None
            raise

    def _failure(self, exc: BaseException, doing: str) -> ZarrdsError:
        return failure(exc, doing, self._where.secrets)


_OURS = ("client_options", "retry_config", "region")


def _again(store: Any, path: str) -> ObstoreObjects:
    return ObstoreObjects.of(store, path)


def _cut(data: memoryview, start: int, length: int) -> memoryview:
    return data[start:][:length]
