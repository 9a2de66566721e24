"""Bytes that were fetched over a network, kept in a folder of this machine for the next time, also of other processes.

Nothing depends on it: what cannot be read, was cut off, was altered, or belongs to another version is as if it were not
there, and what cannot be written is not kept. Nothing but its own files is ever removed.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, BinaryIO

from zarrds.errors import EncodingError

__all__ = ["About", "ByteCache", "Kept"]

_OWN = "zarrds-cache-1"  # the folder below the user's that is ours, by the layout of what is in it
_TAG = "CACHEDIR.TAG"  # by which backups know a cache; see https://bford.info/cachedir/
_TAG_TEXT = b"Signature: 8a477f597d28d172789f06886806bc55\n# Chunks that zarrds has fetched. It may be deleted.\n"
_MAGIC = b"zarrds cache 1\n"
_DIGEST = 16  # bytes
_START = len(_MAGIC) + _DIGEST
_HEAD = 4096  # bytes, at most
_N_FOLDERS = 256  # so that none of them holds too many files
_PARTS = 64  # of the size: what this process may add before it looks at the whole folder again
_REUSED = 60.0  # seconds: how exactly it is noted when a file was last used
_ABANDONED = 3600.0  # seconds, after which an unfinished file counts as left behind
_UNFINISHED = ".partial"
_FILE = re.compile(r"[0-9a-f]{38}\.zarrds(\.[0-9a-f]{8}\.partial)?")
_E_TAG = re.compile(r'"[ !#-~]{1,256}"')  # a strong one
_VERSION = re.compile(r"[!-~]{1,1024}")


@dataclass(frozen=True, slots=True)
class About:
    """What an answer told of the whole value.

    Attributes
    ----------
    e_tag : str
        With its quotes; none that is weak.
    size : int
        Bytes of the whole value.
    last_modified : datetime.datetime or None
        With its offset from UTC.
    version : str or None
    """

    e_tag: str
    size: int
    last_modified: datetime | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept of one answer.

    Attributes
    ----------
    about : About
    data : memoryview
    """

    about: About
    data: memoryview


class ByteCache:
    """A folder of bytes by name, of a bounded size.

    Parameters
    ----------
    folder : str
        Made when it is first needed. All is kept in a folder ``zarrds-cache-1`` in it, which only this user can enter;
        nothing outside of it is looked at or removed. Where that folder is a link, another user's, or others may write
        to it, nothing is read or kept.
    nbytes : int
        All files together; what was not used for longest goes first. Each process looks at the whole folder again
        before it adds more than a 64th of it, so that several at once may exceed it by as much for a while.

    Raises
    ------
    EncodingError
        If `folder` is empty, or `nbytes` is no number of bytes.

    Notes
    -----
    May be used by any number of threads and processes at once; pickles. Each file is written under another name and
    renamed, and begins with a digest of all that follows. No method raises for what a file system refuses.

    Examples
    --------
    >>> import tempfile
    >>> cache = ByteCache(tempfile.mkdtemp(), 10_000)
    >>> cache.put("a", About('"1"', 3), b"abc")
    >>> kept = cache.get("a")
    >>> kept.about.e_tag, bytes(kept.data)
    ('"1"', b'abc')
    """

    def __init__(self, folder: str, nbytes: int) -> None:
        if not folder:
            raise EncodingError("local_cache is the path of a folder", expected="a path", found=repr(folder))
        if type(nbytes) is not int or nbytes <= 0:
            raise EncodingError("cache_size must be a number of bytes", expected="an integer", found=repr(nbytes))
        self.folder = os.path.abspath(os.path.expanduser(folder))
        self.nbytes = nbytes
        self._own = os.path.join(self.folder, _OWN)
        self._room = 0  # that this process may fill before it looks at the folder
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder, self.nbytes)

    def __repr__(self) -> str:
        return f"ByteCache({self.folder!r}, {self.nbytes})"

    def get(self, name: str, limit: int | None = None) -> Kept | None:
        """What is kept under a name; None if nothing is, nothing that is whole, or far more than `limit` bytes."""
        path = self._path(name)
        most = self.nbytes // 4 if limit is None else _START + 4 + _HEAD + limit
        try:
            info = os.lstat(path)
            if not stat.S_ISREG(info.st_mode) or not (_is_own(self._own) and _is_own(os.path.dirname(path))):
                return None
            if info.st_size > min(most, self.nbytes // 4):
                return None
            with open(path, "rb") as file:
                kept = _read(file, info.st_size)
            if time.time() - info.st_mtime > _REUSED:
                os.utime(path)
        except (OSError, ValueError, MemoryError):
            return None
        if kept is None:
            self.remove(name)
        return kept

    def put(self, name: str, about: About, data: bytes | memoryview) -> None:
        """Keep bytes under a name, in the place of what was kept there."""
        when = about.last_modified
        head = json.dumps({**asdict(about), "last_modified": when and when.isoformat()}).encode()
        rest = len(head).to_bytes(4, "little") + head
        size = _START + len(rest) + len(data)
        if size > self.nbytes // 4 or len(data) > about.size or _about(head) != about:
            return  # too much else would have to go for it, or it would not be believed
        path = self._path(name)
        unfinished = f"{path}.{secrets.token_hex(4)}{_UNFINISHED}"
        try:
            if not self._has_room(size) or not self._make_folder(os.path.dirname(path)):
                return
            try:
                with open(unfinished, "xb") as file:
                    file.writelines((_MAGIC, _digest(rest, data), rest, data))
                os.replace(unfinished, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(unfinished)
                raise
        except (OSError, ValueError):
            return

    def remove(self, name: str) -> None:
        """Forget what is kept under a name."""
        with suppress(OSError, ValueError):
            os.unlink(self._path(name))

    def _path(self, name: str) -> str:
        number = blake2b(name.encode(errors="surrogatepass"), digest_size=20).hexdigest()
        return os.path.join(self._own, number[:2], f"{number[2:]}.zarrds")

    def _make_folder(self, folder: str) -> bool:
        """Make a folder of files and those above it where they are missing; whether they are ours."""
        os.makedirs(self.folder, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(self._own, mode=0o700)
            with open(os.path.join(self._own, _TAG), "xb") as file:
                file.write(_TAG_TEXT)
        if not _is_own(self._own):
            return False
        with suppress(FileExistsError):
            os.mkdir(folder, mode=0o700)
        return _is_own(folder)

    def _has_room(self, size: int) -> bool:
        """Whether a file of that size can be added, if need be after others were removed."""
        with self._lock:
            if size > self._room:
                left = self.nbytes - self._cut(self.nbytes - max(size, self.nbytes // 8))
                self._room = min(left, max(size, self.nbytes // _PARTS))
            if size > self._room:
                return False
            self._room -= size
            return True

    def _cut(self, most: int) -> int:
        """Remove what was not used for longest, until no more than `most` bytes are left; return how many are."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= most:
                break
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass  # another process was quicker
            except OSError:
                continue
            total -= size
        return total

    def _files(self) -> list[tuple[float, int, str]]:
        """Our files: when each was last used (0 for what was left behind), its size and its path."""
        files: list[tuple[float, int, str]] = []
        if not _is_own(self._own):
            return files
        now = time.time()
        for number in range(_N_FOLDERS):
            folder = os.path.join(self._own, f"{number:02x}")
            if not _is_own(folder):
                continue
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if _FILE.fullmatch(entry.name) is None:
                        continue
                    with suppress(OSError):
                        info = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(info.st_mode):
                            is_old = entry.name.endswith(_UNFINISHED) and now - info.st_mtime > _ABANDONED
                            files.append((0.0 if is_old else info.st_mtime, info.st_size, entry.path))
        return files


def _is_own(folder: str) -> bool:
    """Whether it is a folder, not a link to one, to which only this user can write."""
    try:
        info = os.lstat(folder)
    except (OSError, ValueError):
        return False
    if not stat.S_ISDIR(info.st_mode) or not hasattr(os, "geteuid"):  # Windows has neither owner nor modes here
        return stat.S_ISDIR(info.st_mode)
    return info.st_uid == os.geteuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _digest(*parts: bytes | memoryview) -> bytes:
    digest = blake2b(digest_size=_DIGEST)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _read(file: BinaryIO, size: int) -> Kept | None:
    """What a file of that size holds; None if it is not whole. All but its head is read only if that can be right."""
    start = file.read(min(size, _START + 4 + _HEAD))
    stop = _START + 4 + int.from_bytes(start[_START : _START + 4], "little")
    if not start.startswith(_MAGIC) or stop > len(start):
        return None
    about = _about(start[_START + 4 : stop])
    if about is None or size - stop > about.size:
        return None
    file.seek(stop)
    data = file.read(size - stop)
    is_whole = _digest(memoryview(start)[_START:stop], data) == start[len(_MAGIC) : _START]
    return Kept(about, memoryview(data)) if is_whole else None


def _about(head: bytes) -> About | None:
    """What the head of a file tells; None if it is not as we would have written it."""
    if len(head) > _HEAD:
        return None
    try:
        told = json.loads(head)
        if not isinstance(told, dict) or told.keys() != {"e_tag", "size", "last_modified", "version"}:
            return None
        e_tag, size, written, version = (told[name] for name in ("e_tag", "size", "last_modified", "version"))
        when = None if written is None else datetime.fromisoformat(written)
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        return None
    is_right = (
        isinstance(e_tag, str)
        and _E_TAG.fullmatch(e_tag) is not None
        and type(size) is int
        and 0 <= size < 2**63
        and (when is None or when.tzinfo is not None)
        and (version is None or (isinstance(version, str) and _VERSION.fullmatch(version) is not None))
    )
    return About(e_tag, size, when, version) if is_right else None
