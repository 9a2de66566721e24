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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from zarrds.errors import (
    StoreIOError,
    ZarrdsError,
)
from zarrds.storage.found import Found, Info
from zarrds.storage.fsspec.caches import CACHES, download, forget
from zarrds.storage.fsspec.defaults import links_of
from zarrds.storage.fsspec.file_systems import (
    ARCHIVES,
    WEB,
    connected,
    failure,
    protocols_of,
    showable,
    status_of,
)
from zarrds.storage.fsspec.refusals import does_not_list, old_copy, read_only, unfetched
from zarrds.storage.fsspec.turns import repeated, turn_of
from zarrds.storage.secrets import secrets_of, spellings, without_secrets

__all__ = ["Objects", "identity_of"]

_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)

# their sessions, the one file that they read from, or what they note of copies, are not made for several threads
_ONE_AT_A_TIME = {"blockcache", "cached", "filecache", "ftp", "libarchive", "tar", "zip"}
# references are changed in the memory of this process alone, where that is lost
_READ_ONLY = WEB | CACHES | ARCHIVES | {"reference"}  # of archives some fail in the middle of what is written
_MAGIC = set("*?[")  # names with these would be taken for patterns, where a list of names is removed

# a link that leads to the rest of what a folder holds
_MORE = re.compile(r"[?&](?:after|continuation-token|cursor|marker|offset|page|start)=", re.IGNORECASE)

# what file systems call the things that change with a value, without case and separators
_TELLING = frozenset(
    "etag md5 md5hash contentmd5 digest checksum crc32c generation versionid mtime modified lastmodified updated"
    " timemodified created ino size".split()
)

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
    asks_web : bool
        Whether they are read from a web server, also as parts of files or of archives there.

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
    asks_web: bool

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.url = url
        self.options = dict(options)
        self._secrets = spellings(secrets_of([url, self.options]))
        self._connect()

    def __reduce__(self) -> tuple[type[Objects], tuple[str, dict[str, Any]]]:
        return type(self), (self.url, self.options)

    def _connect(self) -> None:
        system, root = connected(self.url, self.options)
        protocols, self._served = protocols_of(system), system
        while protocols_of(self._served) & CACHES:
            self._served = self._served.fs
        self._pid = os.getpid()
        self._connection = system
        self._root = root.rstrip("/")
        self.is_web = bool(protocols_of(self._served) & WEB)
        self.asks_web = bool(WEB & {*links_of(self.url), *getattr(self._served, "fss", ())})
        self._turns: AbstractContextManager[object] = threading.RLock() if protocols & _ONE_AT_A_TIME else nullcontext()
        self._is_cache = bool(protocols & CACHES)
        self._is_simple_cache = "simplecache" in protocols
        self._keeps_parts = "blockcache" in protocols
        self.is_read_only = bool(protocols & _READ_ONLY)
        self.is_memory = "memory" in protocols
        self.place = without_secrets(self.url) if "::" in self.url else f"{min(protocols)}://{self._root.lstrip('/')}"

    @property
    def _system(self) -> Any:
        if self._pid != os.getpid():  # a forked child cannot use its parent's connections
            self._connect()
        return self._connection

    # one object

    @repeated
    def read(self, name: str, *, limit: int | None = None) -> bytes | None:
        """Return all that an object holds, or None if there is no such object.

        Of more than `limit` bytes web servers are asked for a little more than that: they may send without an end.
        """
        if limit is not None and self.is_web and not self._is_cache:
            return self.read_at_most(name, limit)
        return self._cat(name)

    def read_at_most(self, name: str, limit: int) -> bytes | None:
        """As `read`; but of an object of more than `limit` bytes only its beginning, of more than `limit` bytes."""
        return self.read_range(name, 0, limit + 1)

    @repeated
    def check_copy(self, name: str, data: bytes) -> None:
        """Raise `ConflictError` if what a cache has given of an object is not what stands behind it by now."""
        if not self._is_cache or self._system.compression:
            return
        there = None
        with self._calling("read"), suppress(*_ABSENT):
            there = self._served.cat_file(self._path(name))
        if there != data:
            raise old_copy(self._system.storage[-1])

    @repeated
    def read_range(self, name: str, start: int, length: int) -> bytes | None:
        """Return at most `length` bytes from `start` (from the end if negative), or None if there is no such object."""
        if length <= 0:
            return None if self.info(name) is None else b""
        if start < 0 and self._is_cache:  # which know no ranges from the end
            size = self._size(name) if self._keeps_parts else None
            if size is None:
                whole = self.read(name)
                return None if whole is None else whole[start:][:length]
            return self.read_range(name, max(size + start, 0), length)
        try:
            # a suffix in one request; its rest is cut off here, as few ask for less than all of it
            data = self._cat(name, start=start, end=None if start < 0 else start + length)
        except StoreIOError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise
            if self.is_web:  # which may know no ranges, or none from the end
                whole = self.read(name)
                return None if whole is None else whole[start:][:length]
            # object stores refuse ranges that begin at the end or beyond it
            size = None
            with suppress(StoreIOError):
                size = self._size(name)
            if start < 0 and size:  # some know no ranges from the end
                return self.read_range(name, max(size + start, 0), length)
            if size is None or not (size == 0 or start >= size):
                raise
            return b""
        if data is None:
            return None
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

    @repeated
    def info(self, name: str) -> Info | None:
        """Return what the file system tells about an object, or None if there is no such object."""
        with self._calling("look at"):
            try:
                # behind a cache: some look for it in listings, which not all servers have
                info: Info = self._served.info(self._path(name))
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

    @repeated
    def entries(self, name: str = "") -> list[tuple[str, bool]]:
        """Return the names directly below `name`, and whether each is a folder."""
        with self._calling("list") as system:
            try:
                entries = system.ls(self._path(name), detail=True)
            except _ABSENT:
                return []
            start = f"{name}/" if name else ""
            names = [(self._name(entry["name"].rstrip("/")), entry["type"] == "directory") for entry in entries]
        below = [(n.removeprefix(start), folder) for n, folder in names if n is not None and n.startswith(start)]
        if not self.is_web:
            return below
        if any(_MORE.search(entry["name"][len(self._path(name)) :]) for entry in entries):
            raise does_not_list(name, "a page of several")
        # some pages show what lies deeper, too
        return sorted({(first, folder or bool(rest)) for n, folder in below for first, _, rest in [n.partition("/")]})

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

    def _cat(self, name: str, **part: int | None) -> bytes | None:
        # simplecache would give one thread what another is still downloading
        turn = turn_of(self._path(name)) if self._is_simple_cache else nullcontext()
        with turn, self._calling("read") as system:
            try:
                if self._is_simple_cache:
                    download(system, self._path(name))
                data: bytes = system.cat_file(self._path(name), **part)
            except Exception as exc:
                self._check_absent(name, exc)
                return None
        return data

    def _check_absent(self, name: str, exc: Exception) -> None:
        """Raise what has failed, if it is not that there is no such object.

        Of whatever failed so say caches, and clients of web servers where they are asked for what is told of it.
        """
        if not self._says_absent(exc):
            if self._is_cache:
                forget(self._system, self._path(name))
                if isinstance(exc, TypeError | IndexError):  # blockcache takes the error of a part for that part
                    raise unfetched(exc) from exc
            raise exc
        reason = exc.__cause__
        if self.is_web and reason is not None and status_of(reason) not in (404, 410):
            raise reason
        if self.is_web and self._is_simple_cache and reason is None and getattr(exc, "errno", None) is None:
            return  # so says the web server itself; what its folder lacks has a number
        if self._is_cache:
            try:
                self._served.cat_file(self._path(name), start=0, end=1)
            except Exception as behind:
                if self._says_absent(behind):
                    return
                raise
            raise StoreIOError("the cache does not find what is there", found=str(exc), mend="Try again")

    def _says_absent(self, exc: Exception) -> bool:
        return isinstance(exc, _ABSENT) or (self.is_web and status_of(exc) == 410)

    def _path(self, name: str) -> str:
        name = urllib.parse.quote(name) if self.is_web else name
        return f"{self._root}/{name}" if self._root and name else self._root or name

    def _name(self, path: str) -> str | None:
        """The name of an object at a path of the file system, or None if it is not one of ours."""
        if self._root and not path.startswith(f"{self._root}/"):
            return None
        name = path[len(self._root) :].lstrip("/")
        if not self.is_web:
            return name
        # a link, which may begin with "./", lead out of the folder, or sort the same page
        parts = [part for part in name.split("/") if part not in ("", ".")]
        is_inside = parts and ".." not in parts and not {"?", "#"} & set(name)
        return urllib.parse.unquote("/".join(parts)) if is_inside else None

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
        return failure(exc, doing, self._secrets)

    def _cause(self, exc: Exception) -> BaseException | None:
        return showable(exc, self._secrets)


def identity_of(info: Info) -> tuple[str, ...]:
    """What changes with an object's value, of all that the file system tells about it."""
    told = {_plain(name): f"{name}={info[name]}" for name in sorted(info) if info[name] is not None}
    if "etag" in told:
        told.pop("size", None)  # which is another where a web server compresses some of its answers
    return tuple(text for name, text in told.items() if name in _TELLING)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
