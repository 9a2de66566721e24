"""A store in a ZIP file, which is only read: ``t2m.zarr.zip``."""

from __future__ import annotations

import os
import stat
import struct
import threading
import zipfile
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from zarrds.errors import ConflictError, InvalidKeyError, StoreIOError, UnsupportedError
from zarrds.storage.protocol import check_key
from zarrds.storage.read_only import Source

__all__ = ["ZipSource"]

_DOCUMENTS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")
# of what is compressed otherwise, some bytes make gigabytes at once
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# what the library raises for files that are damaged, besides its own error
_DAMAGED = (zipfile.BadZipFile, ValueError, LookupError, ArithmeticError, RuntimeError, struct.error, MemoryError)


@dataclass(frozen=True, slots=True)
class _Opened:
    """An open file, and what is in it; of None nothing."""

    file: zipfile.ZipFile | None
    members: Mapping[str, zipfile.ZipInfo]
    version: tuple[int, ...]
    pid: int = field(default_factory=os.getpid)
    lock: threading.Lock = field(default_factory=threading.Lock)


class ZipSource(Source):
    """The members of a ZIP file, as keys; of a file in which all lies in one folder (``t2m.zarr/…``), those below it.

    Members whose names are no keys (``../x``, ``/x``) are none of the store's.

    Parameters
    ----------
    path : str

    Raises
    ------
    StoreIOError
        If it is no ZIP file. One that is not there is an empty store.

    Notes
    -----
    Any number of threads may read; a pickle holds the path. Members that are stored without compression, as
    zarr-python writes them, are read in parts; of others, that are deflated, no more is unpacked than is asked for.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._opened = _open(path)

    def __reduce__(self) -> tuple[type[ZipSource], tuple[str]]:
        return type(self), (self.path,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZipSource) and os.path.abspath(self.path) == os.path.abspath(other.path)

    def __hash__(self) -> int:
        return hash(os.path.abspath(self.path))

    def read(self, key: str, start: int | None, length: int | None) -> bytes | None:
        opened = self._opened
        if opened.pid != os.getpid():  # a forked child must not share its parent's place in the file
            opened = self._opened = self._again(opened)
        info = opened.members.get(key)
        if info is None or opened.file is None:
            return None
        if info.compress_type not in _COMPRESSIONS:
            raise UnsupportedError(
                "a member of a ZIP file is compressed in a way that is not read",
                path=self.path,
                key=key,
                expected="stored or deflated",
                found=f"method {info.compress_type}",
                mend="Unpack the file, and open the folder or pack it again with zarrds.copy(folder, file)",
            )
        with opened.lock, opened.file.open(info) as member:
            if start is None or length is None:
                return member.read()
            member.seek(max(start + info.file_size, 0) if start < 0 else min(start, info.file_size))
            return member.read(min(length, info.file_size))

    def read_at_most(self, key: str, limit: int) -> bytes | None:
        return self.read(key, 0, limit + 1)

    def names(self, prefix: str) -> Iterable[str]:
        return [name for name in self._opened.members if name.startswith(prefix)]

    def identity(self, key: str) -> Hashable | None:
        return (*self._opened.version, key) if key in self._opened.members else None

    def _again(self, opened: _Opened) -> _Opened:
        """The file, opened anew by this process: the one that was opened, or an error."""
        again = _open(self.path)
        if again.version != opened.version:
            raise ConflictError(
                "the file was replaced since it was opened", path=self.path, mend="Open the dataset again"
            )
        return again


def _open(path: str) -> _Opened:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for its writer
            raise OSError("it is no regular file")
        file = zipfile.ZipFile(path)
    except FileNotFoundError:
        return _Opened(None, {}, ())
    except (OSError, *_DAMAGED) as error:
        raise StoreIOError(f"the file cannot be opened as a ZIP file: {error}", path=path) from error
    names = {name: info for name, info in file.NameToInfo.items() if name and not info.is_dir()}
    roots = {name.partition("/")[0] for name in names}
    root = f"{roots.pop()}/" if len(roots) == 1 and not any(name in names for name in _DOCUMENTS) else ""
    members = {name.removeprefix(root): info for name, info in names.items()}
    version = status.st_ino, status.st_mtime_ns, status.st_size
    return _Opened(file, {name: info for name, info in members.items() if _is_key(name)}, version)


def _is_key(name: str) -> bool:
    try:
        check_key(name)
    except InvalidKeyError:
        return False
    return True
