"""A store in a ZIP file, which is only read: ``t2m.zarr.zip``."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Hashable, Iterable

from zarrds.errors import StoreIOError
from zarrds.storage.read_only import Source

__all__ = ["ZipSource"]

_DOCUMENTS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")


class ZipSource(Source):
    """The members of a ZIP file, as keys; of a file in which all lies in one folder (``t2m.zarr/…``), those below it.

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
    zarr-python writes them, are read in parts.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._open()

    def __reduce__(self) -> tuple[type[ZipSource], tuple[str]]:
        return type(self), (self.path,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZipSource) and os.path.abspath(self.path) == os.path.abspath(other.path)

    def __hash__(self) -> int:
        return hash(os.path.abspath(self.path))

    def _open(self) -> None:
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._version: tuple[int, ...] = ()
        self._pid, self._lock = os.getpid(), threading.Lock()
        try:
            status = os.stat(self.path)
            self._file: zipfile.ZipFile | None = zipfile.ZipFile(self.path)
        except FileNotFoundError:
            self._file = None
            return
        except (zipfile.BadZipFile, OSError) as error:
            raise StoreIOError(f"the file cannot be opened as a ZIP file: {error}", path=self.path) from error
        self._version = status.st_ino, status.st_mtime_ns, status.st_size
        names = {name: info for name, info in self._file.NameToInfo.items() if not info.is_dir()}
        roots = {name.partition("/")[0] for name in names}
        root = f"{roots.pop()}/" if len(roots) == 1 and not any(name in names for name in _DOCUMENTS) else ""
        self._members = {name.removeprefix(root): info for name, info in names.items()}

    def read(self, key: str, start: int | None, length: int | None) -> bytes | None:
        info = self._members.get(key)
        if info is None or self._file is None:
            return None
        if self._pid != os.getpid():  # a forked child must not share its parent's place in the file
            self._open()
        with self._lock, self._file.open(info) as member:
            if start is None or length is None:
                return member.read()
            member.seek(max(start + info.file_size, 0) if start < 0 else min(start, info.file_size))
            return member.read(length)

    def names(self, prefix: str) -> Iterable[str]:
        return [name for name in self._members if name.startswith(prefix)]

    def identity(self, key: str) -> Hashable | None:
        return (*self._version, key) if key in self._members else None
