"""Bytes that were fetched over a network, kept in a folder of this machine for the next time, also of other processes.

Nothing depends on it: what cannot be read, was cut off, was altered, or belongs to another version is as if it were not
there, and what cannot be written is not kept.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from zarrds.errors import EncodingError

__all__ = ["ByteCache", "Kept"]

_MAGIC = b"zarrds cache 1\n"
_DIGEST = 16  # bytes
_N_FOLDERS = 256  # so that none of them holds too many files
_PARTS = 64  # of the size: what this process may add before it looks at the whole folder again
_REUSED = 60.0  # seconds: how exactly it is noted when a file was last used
_ABANDONED = 3600.0  # seconds, after which an unfinished file counts as left behind
_UNFINISHED = ".partial"


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept of one answer.

    Attributes
    ----------
    about : dict
        What was told of it, as JSON.
    data : memoryview
    """

    about: dict[str, Any]
    data: memoryview


class ByteCache:
    """A folder of bytes by name, of a bounded size.

    Parameters
    ----------
    folder : str
        Made when it is first needed. Whoever may write to it decides what is read.
    nbytes : int
        All files together; what was not used for longest goes first. Each process looks at the whole folder again
        before it adds more than a 64th of it, so that several at once may exceed it by as much for a while.

    Raises
    ------
    EncodingError
        If `nbytes` is no number of bytes.

    Notes
    -----
    May be used by any number of threads and processes at once; pickles. Each file is written under another name and
    renamed, and begins with a digest of all that follows. No method raises for what a file system refuses.

    Examples
    --------
    >>> import tempfile
    >>> cache = ByteCache(tempfile.mkdtemp(), 10_000)
    >>> cache.put("a", {"e_tag": "1"}, b"abc")
    >>> kept = cache.get("a")
    >>> kept.about, bytes(kept.data)
    ({'e_tag': '1'}, b'abc')
    """

    def __init__(self, folder: str, nbytes: int) -> None:
        if type(nbytes) is not int or nbytes <= 0:
            raise EncodingError("cache_size must be a number of bytes", expected="an integer", found=repr(nbytes))
        self.folder = os.path.abspath(os.path.expanduser(folder))
        self.nbytes = nbytes
        self._begin()

    def _begin(self) -> None:
        self._room = 0  # that this process may fill before it looks at the folder
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder, self.nbytes)

    def __repr__(self) -> str:
        return f"ByteCache({self.folder!r}, {self.nbytes})"

    def get(self, name: str) -> Kept | None:
        """What is kept under a name; None if nothing is, or nothing that is whole."""
        path = self._path(name)
        try:
            info = os.stat(path)
            if not stat.S_ISREG(info.st_mode) or info.st_size > self.nbytes:
                return None
            with open(path, "rb") as file:
                found = file.read(info.st_size)
            if time.time() - info.st_mtime > _REUSED:
                os.utime(path)
        except (OSError, ValueError):
            return None
        kept = _parsed(found)
        if kept is None:
            with suppress(OSError):
                os.unlink(path)
        return kept

    def put(self, name: str, about: dict[str, Any], data: bytes | memoryview) -> None:
        """Keep bytes under a name, in the place of what was kept there."""
        head = json.dumps(about).encode()
        rest = len(head).to_bytes(4, "little") + head
        size = len(_MAGIC) + _DIGEST + len(rest) + len(data)
        if size > self.nbytes // 4:
            return  # too much else would have to go for it
        path = self._path(name)
        unfinished = f"{path}.{secrets.token_hex(4)}{_UNFINISHED}"
        try:
            if not self._has_room(size):
                return
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
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

    def _path(self, name: str) -> str:
        number = blake2b(name.encode(errors="surrogatepass"), digest_size=20).hexdigest()
        return os.path.join(self.folder, number[:2], number[2:])

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
        files: list[tuple[float, int, str]] = []
        now = time.time()
        for number in range(_N_FOLDERS):
            with suppress(OSError), os.scandir(os.path.join(self.folder, f"{number:02x}")) as entries:
                for entry in entries:
                    with suppress(OSError):
                        info = entry.stat(follow_symlinks=False)
                        is_old = entry.name.endswith(_UNFINISHED) and now - info.st_mtime > _ABANDONED
                        files.append((0.0 if is_old else info.st_mtime, info.st_size, entry.path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= most:
                break
            with suppress(FileNotFoundError):
                os.unlink(path)
            total -= size
        return total


def _digest(*parts: bytes | memoryview) -> bytes:
    digest = blake2b(digest_size=_DIGEST)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _parsed(found: bytes) -> Kept | None:
    """What a file holds; None if it is not whole."""
    start = len(_MAGIC) + _DIGEST
    if not found.startswith(_MAGIC) or _digest(memoryview(found)[start:]) != found[len(_MAGIC) : start]:
        return None
    size = int.from_bytes(found[start : start + 4], "little")
    try:
        about = json.loads(found[start + 4 : start + 4 + size])
    except ValueError:
        return None
    return Kept(about, memoryview(found)[start + 4 + size :]) if isinstance(about, dict) else None
