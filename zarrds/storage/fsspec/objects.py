"""The calls to fsspec under a store at a URL: objects are read, replaced whole, listed, copied and removed.

Everything here takes names below one URL, raises errors of zarrds, and knows nothing of keys. fsspec is imported
when the first URL is opened: it is optional, and most stores are local.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from zarrds.errors import (
    EncodingError,
    ReadOnlyError,
    StoreIOError,
    StoreNotFoundError,
    UnsupportedError,
    ZarrdsError,
)
from zarrds.storage.found import Found, Info
from zarrds.storage.secrets import scrubbed, secrets_of, spellings, without_secrets

__all__ = ["Objects", "identity_of", "read_only"]

_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)

# their sessions, the one file that they read from, or what they note of copies, are not made for several threads
_ONE_AT_A_TIME = {"blockcache", "cached", "filecache", "ftp", "libarchive", "tar", "zip"}
_HTTP = {"http", "https", "sync-http", "sync-https"}
# keep copies, and give old ones for what was written anew or removed
_CACHES = {"blockcache", "cached", "filecache", "simplecache"}
# references are changed in the memory of this process alone, where that is lost
_READ_ONLY = _HTTP | _CACHES | {"reference"}
_MAGIC = set("*?[")  # names with these would be taken for patterns, where a list of names is removed

# what file systems call the things that change with a value, without case and separators
_TELLING = frozenset(
    "etag md5 md5hash contentmd5 digest checksum crc32c generation versionid mtime modified lastmodified updated"
    " timemodified created ino size".split()
)

_UNKNOWN_OPTION = re.compile(r"unexpected keyword argument '(\w+)'")
_ATTEMPTS = 100  # of a write whose folder others remove again and again


class Objects:
    """The objects below a URL.

    Parameters
    ----------
    url : str
        As fsspec knows it, also chained (``"zip://::https://host/t2m.zip"``).
    options : mapping
        For the file system.

    Attributes
    ----------
    place : str
        The same for all spellings of a URL.
    is_memory : bool
        Whether they are in this process's memory.
    is_read_only : bool
        Whether the file system is known to be.
    is_web : bool
        Whether they are a web server's, also behind a cache.

    Raises
    ------
    UnsupportedError
        If fsspec, or the package behind the URL, is not installed, or the kind of URL is unknown.
    EncodingError
        If the file system does not take these options.
    StoreIOError
        By all methods, if the file system refuses.
    ReadOnlyError
        By all methods that write, if the file system cannot.

    Notes
    -----
    All methods may be called from any number of threads at once. Pickles.
    """

    place: str
    is_memory: bool
    is_read_only: bool
    is_web: bool

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.url = url
        self.options = dict(options)
        self._secrets = spellings(secrets_of([url, self.options]))
        self._connect()

    def __reduce__(self) -> tuple[type[Objects], tuple[str, dict[str, Any]]]:
        return type(self), (self.url, self.options)

    def _connect(self) -> None:
        system, root = _connected(self.url, self.options)
        protocols, self._served = _protocols(system), system
        while _protocols(self._served) & _CACHES:
            self._served = self._served.fs
        self._pid = os.getpid()
        self._connection = system
        self._root = root.rstrip("/")
        self.is_web = bool(_protocols(self._served) & _HTTP)
        self._turns: AbstractContextManager[object] = threading.RLock() if protocols & _ONE_AT_A_TIME else nullcontext()
        self._is_cache = bool(protocols & _CACHES)
        self.is_read_only = bool(protocols & _READ_ONLY)
        self.is_memory = "memory" in protocols
        self.place = without_secrets(self.url) if "::" in self.url else f"{min(protocols)}://{self._root.lstrip('/')}"

    @property
    def _system(self) -> Any:
        if self._pid != os.getpid():  # a forked child cannot use its parent's connections
            self._connect()
        return self._connection

    # one object

    def read(self, name: str) -> bytes | None:
        """Return all that an object holds, or None if there is no such object."""
        with self._calling("read") as system:
            try:
                data: bytes = system.cat_file(self._path(name))
            except _ABSENT as exc:
                self._check_absent(name, exc)
                return None
        return data

    def read_at_most(self, name: str, limit: int) -> bytes | None:
        """As `read`; but of an object of more than `limit` bytes only its beginning, of more than `limit` bytes."""
        return self.read_range(name, 0, limit + 1)

    def read_range(self, name: str, start: int, length: int) -> bytes | None:
        """Return at most `length` bytes from `start` (from the end if negative), or None if there is no such object."""
        if length <= 0:
            return None if self.info(name) is None else b""
        try:
            with self._calling("read") as system:
                try:
                    # a suffix in one request; its rest is cut off here, as few ask for less than all of it
                    data: bytes = system.cat_file(
                        self._path(name), start=start, end=None if start < 0 else start + length
                    )
                except _ABSENT as exc:
                    self._check_absent(name, exc)
                    return None
        except StoreIOError:
            # object stores refuse ranges that begin at the end or beyond it
            size = None
            with suppress(StoreIOError):
                size = self._size(name)
            if size is None or not (size == 0 or start >= size):
                raise
            return b""
        if start < 0:
            return data[start:][:length]  # also if the server does not know ranges, and sent the whole
        if len(data) < length and start > 0 and len(data) == self._size(name):
            return data[start:]
        return data if len(data) <= length else data[start : start + length]

    def find_one(self, name: str, *, limit: int | None = None) -> Found | None:
        """Return an object, and what is told of it; of one of more than `limit` bytes a little more than that."""
        data = self.read(name) if limit is None else self.read_at_most(name, limit)
        return None if data is None else Found(memoryview(data), self.info(name) or {})

    def find_range(self, name: str, start: int, length: int) -> Found | None:
        """As `read_range`, with what is told of the object."""
        data, info = self.read_range(name, start, length), self.info(name)
        return None if data is None or info is None else Found(memoryview(data), info)

    def spans(self, name: str, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Return parts of an object that is there, by offset and length."""
        return [memoryview(self.read_range(name, *span) or b"") for span in spans]

    def _size(self, name: str) -> int | None:
        info = self.info(name)
        size = None if info is None else info.get("size")
        return None if size is None else int(size)

    def write(self, name: str, value: bytes) -> None:
        """Make `value` what an object holds, in one request."""
        attempts = _ATTEMPTS
        with self._calling("write", writing=True) as system:
            path = self._path(name)
            while True:
                try:
                    system.pipe_file(path, value)
                    return
                except FileNotFoundError:
                    # Object stores have no folders. What they do not find is the bucket, which is not for us to make.
                    attempts -= 1
                    if system.async_impl or not attempts:
                        raise
                    with suppress(FileExistsError, FileNotFoundError):  # others make, or remove, the same
                        system.makedirs(path.rpartition("/")[0], exist_ok=True)

    def info(self, name: str) -> Info | None:
        """Return what the file system tells about an object, or None if there is no such object."""
        with self._calling("look at") as system:
            try:
                info: Info = system.info(self._path(name))
            except _ABSENT as exc:
                self._check_absent(name, exc)
                return None
        return info if info.get("type", "file") == "file" else None

    def remove(self, name: str) -> None:
        """Remove an object; a missing one is no error."""
        with self._calling("delete", writing=True) as system, suppress(*_ABSENT):
            system.rm_file(self._path(name))

    # many

    def find(self, name: str = "") -> dict[str, Info]:
        """Return all objects below `name`, in no order, and what the listing tells about them."""
        with self._calling("list") as system:
            try:
                found = system.find(self._path(name), detail=True)
            except _ABSENT:
                return {}
        start = f"{name}/" if name else ""
        below = ((self._name(path), info) for path, info in found.items() if not path.endswith("/"))
        return {name: info for name, info in below if name is not None and name.startswith(start)}

    def folders(self, name: str = "") -> list[str]:
        """Return the names of what lies directly below `name` and may have objects below it."""
        start = f"{name}/" if name else ""
        inside = [entry for entry, is_folder in self.entries(name) if is_folder]
        if self._system.async_impl:  # object stores make up their folders from what is in them
            return inside
        return [folder for folder in inside if self.find(start + folder)]

    def entries(self, name: str = "") -> list[tuple[str, bool]]:
        """Return the names directly below `name`, and whether each is a folder."""
        with self._calling("list") as system:
            try:
                entries = system.ls(self._path(name), detail=True)
            except _ABSENT:
                return []
            start = f"{name}/" if name else ""
            names = [(self._name(entry["name"].rstrip("/")), entry["type"] == "directory") for entry in entries]
        return [(n.removeprefix(start), folder) for n, folder in names if n is not None and n.startswith(start)]

    def copy(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Copy objects, where that can be done without their bytes passing through here.

        Raises
        ------
        FileNotFoundError
            If one of them is gone.
        """
        with self._calling("copy", writing=True, absence=True) as system:
            sources = [self._path(source) for source, _ in pairs]
            targets = [self._path(target) for _, target in pairs]
            try:
                if system.async_impl:
                    system.copy(sources, targets, on_error="raise")
                    return
                for source, target in zip(sources, targets, strict=True):
                    try:
                        system.cp_file(source, target)
                    except FileNotFoundError:  # it, or the folder that it goes to
                        if not system.exists(source):
                            raise
                        system.makedirs(target.rpartition("/")[0], exist_ok=True)
                        system.cp_file(source, target)
            except NotImplementedError:
                for source, target in zip(sources, targets, strict=True):
                    system.pipe_file(target, system.cat_file(source))

    def remove_all(self, names: Sequence[str]) -> None:
        """Remove objects; missing ones are no error."""
        plain = [name for name in names if not _MAGIC & set(self._path(name))]
        with self._calling("delete", writing=True) as system:
            if system.async_impl and plain:
                with suppress(*_ABSENT):
                    system.rm([self._path(name) for name in plain])
                    names = [name for name in names if name not in set(plain)]
        for name in names:
            self.remove(name)

    def remove_below(self, name: str) -> None:
        """Remove all objects below `name`, and the folders that are then empty, where there are folders."""
        self.remove_all(list(self.find(name)))
        self.remove_folder(name)

    def remove_folder(self, name: str) -> None:
        """Remove a folder that has no objects any more, with its own folders, where there are folders."""
        with self._calling("delete", writing=True) as system:
            path = self._path(name)
            if not system.async_impl and not _MAGIC & set(path):
                with suppress(OSError):  # others may fill it again, or remove it too
                    if system.isdir(path):
                        system.rm(path, recursive=True)

    # how

    def _check_absent(self, name: str, exc: OSError) -> None:
        """Raise what has failed, where of whatever failed it is said that there is no such object.

        So say caches, and clients of web servers where they are asked for what is told of it.
        """
        reason = exc.__cause__
        if self.is_web and reason is not None and _status_of(reason) not in (404, 410):
            raise reason
        if self._is_cache:
            with suppress(*_ABSENT):
                self._served.cat_file(self._path(name), start=0, end=1)
                raise StoreIOError("the cache does not find what is there", found=str(exc), mend="Try again")

    def _path(self, name: str) -> str:
        name = urllib.parse.quote(name) if self.is_web else name
        return f"{self._root}/{name}" if self._root and name else self._root or name

    def _name(self, path: str) -> str | None:
        """The name of an object at a path of the file system, or None if it is not one of ours."""
        if self._root and not path.startswith(f"{self._root}/"):
            return None
        name = path[len(self._root) :].lstrip("/")
        return urllib.parse.unquote(name) if self.is_web else name

    @contextmanager
    def _calling(self, doing: str, *, writing: bool = False, absence: bool = False) -> Iterator[Any]:
        """The file system, whose errors become ours; that something is absent only if `absence` is not set."""
        if writing and self.is_read_only:
            raise read_only(doing, is_cache=self._is_cache)
        try:
            with self._turns:
                yield self._system
        except ZarrdsError:
            raise
        except NotImplementedError as exc:
            if writing:
                raise read_only(doing) from exc
            raise self._failure(exc, doing) from self._cause(exc)
        except FileNotFoundError as exc:
            if absence:
                raise
            raise self._failure(exc, doing) from self._cause(exc)
        except Exception as exc:  # every package behind fsspec has errors of its own
            raise self._failure(exc, doing) from self._cause(exc)

    def _failure(self, exc: Exception, doing: str) -> ZarrdsError:
        return _failure(exc, doing, self._secrets)

    def _cause(self, exc: Exception) -> BaseException | None:
        return _showable(exc, self._secrets)


def _protocols(system: Any) -> set[str]:
    return {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)


def _status_of(exc: BaseException) -> object:
    """What a server has answered, or None."""
    response = getattr(exc, "response", exc)  # of requests; aiohttp tells it in the error itself
    return getattr(response, "status_code", getattr(response, "status", None))


def identity_of(info: Info) -> tuple[str, ...]:
    """What changes with an object's value, of all that the file system tells about it."""
    return tuple(
        f"{name}={info[name]}"
        for name in sorted(info)
        if name.lower().replace("-", "").replace("_", "") in _TELLING and info[name] is not None
    )


def _connected(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as exc:
        raise UnsupportedError(
            "stores at URLs need the package fsspec",
            path=without_secrets(url),
            mend="Install it (python -m pip install 'zarrds[remote]'), or copy the data and give a local path",
        ) from exc
    _check_protocols(url)
    try:
        # what others write must be seen at once, so no listing is kept
        system, root = url_to_fs(url, **{**options, "use_listings_cache": False})
    except Exception as exc:  # every package behind fsspec has errors of its own
        secrets = spellings(secrets_of([url, options]))
        raise _unconnected(exc, secrets).located(path=without_secrets(url)) from _showable(exc, secrets)
    return system, root


def _unconnected(exc: Exception, secrets: Iterable[str]) -> ZarrdsError:
    found = scrubbed(str(exc), secrets)
    if isinstance(exc, FileNotFoundError):
        return StoreNotFoundError("nothing here", found=found, mend="Check the URL")
    if isinstance(exc, TypeError | ValueError | AttributeError):
        return EncodingError(
            "the URL, or its storage_options, cannot be used",
            found=f"{type(exc).__name__}: {found}",
            mend="The documentation of the package behind this kind of URL lists the options that it takes",
        )
    return _failure(exc, "open", secrets)


def _check_protocols(url: str) -> None:
    from fsspec.registry import get_filesystem_class

    *links, last = url.split("::")
    for link in [*links, *([last] if "://" in last else [])]:
        protocol = link.partition("://")[0]
        try:
            get_filesystem_class(protocol)
        except ImportError as exc:
            raise UnsupportedError(
                f"the package behind {protocol}:// is not installed",
                path=without_secrets(url),
                found=str(exc.__cause__ or exc),
                mend=f"{exc}; or copy the data and give a local path",
            ) from exc
        except ValueError as exc:
            raise UnsupportedError(
                f"unknown kind of URL: {protocol}://",
                path=without_secrets(url),
                expected="a path, a file:// URL, a URL that fsspec knows (s3://, gs://, https://, …) or a store object",
                mend="Check the spelling, or copy the data and give a local path",
            ) from exc


def read_only(doing: str, *, is_cache: bool = False) -> ReadOnlyError:
    """The error of who would write to what can only be read."""
    if is_cache:
        return ReadOnlyError(
            f"cannot {doing}: a cache would go on giving old copies of what is written",
            mend="Write to the URL behind it, and open that, or clear the cache",
        )
    return ReadOnlyError(
        f"cannot {doing}: this file system can only be read",
        mend="Write to a local path or to an object store, and put it there by other means",
    )


def _showable(exc: BaseException, secrets: Iterable[str]) -> BaseException | None:
    """An error that may be shown, with all that stands behind it; None for one with secrets."""
    behind, seen = [exc], set[int]()  # which may lead back
    while behind:
        each = behind.pop()
        if scrubbed(repr(each), secrets) != repr(each):
            return None
        seen.add(id(each))
        behind += [other for other in (each.__cause__, each.__context__) if other is not None and id(other) not in seen]
    return exc


def _failure(exc: Exception, doing: str, secrets: Iterable[str]) -> ZarrdsError:
    unknown = _UNKNOWN_OPTION.search(str(exc)) if isinstance(exc, TypeError) else None
    if unknown is not None:  # some packages look at their options when they connect
        return EncodingError(
            "the file system does not take one of the storage_options",
            found=unknown[1],
            mend="The documentation of the package behind this kind of URL lists the options that it takes",
        )
    reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    status = _status_of(exc)
    denied = isinstance(exc, PermissionError) or status in (401, 403)
    error = StoreIOError(
        f"cannot {doing}: {'permission denied' if denied else 'the file system refuses'}",
        found=f"{type(exc).__name__}: {scrubbed(reason, secrets)}",
        mend="Check the credentials in storage_options, and what they allow"
        if denied
        else "Check the connection, the URL and the storage_options, and try again",
    )
    if isinstance(exc, OSError):
        error.errno, error.strerror = exc.errno, exc.strerror and scrubbed(str(exc.strerror), secrets)
        error.filename = without_secrets(exc.filename) if isinstance(exc.filename, str) else exc.filename
    if denied:
        error.errno = errno.EACCES
    elif isinstance(status, int) and (status in (408, 429) or status >= 500):
        error.errno = errno.EAGAIN
    return error
