"""Reading a directory as a store: where keys lie, which there are, and their values."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Concatenate, NamedTuple, ParamSpec

from zarrds.errors import InvalidKeyError, StoreIOError, ZarrdsError
from zarrds.storage.local import files
from zarrds.storage.protocol import Buffer, check_key, check_prefix
from zarrds.storage.traits import FOLDER

__all__ = ["MAX_VERIFIED", "SETTLES", "Tree", "Unseen", "folds_case", "real_folder"]

P = ParamSpec("P")

# what is no key: unfinished files and folders, and names that `check_key` refuses
_UNLISTED = re.compile(rf"\A\..*{re.escape(files.PARTIAL)}\Z|[\\\ud800-\udfff]", re.DOTALL)

# ns: times of files are no coarser than this
SETTLES = 2_000_000_000
MAX_VERIFIED = 1 << 16
_MAX_NESTED_LINKS = 3  # in listings, so that a handful of crossing links cannot name millions of keys


class Unseen(NamedTuple):
    """How a file is written before it is the value of a key.

    Attributes
    ----------
    name : str or None
        How its name begins, which ends in `files.PARTIAL`; None if it gets its own name at once.
    folder : str or None
        Where it is, if not beside the file that it will become.
    stamp : bool
        Whether it gets a time of its own.
    sync : bool
        Whether it must be on the disk before it is the value, and its name and new folders before all is done.
    """

    name: str | None
    folder: str | None
    stamp: bool
    sync: bool


def real_folder(path: str) -> str:
    """Return where the folder of a path is, without symbolic links, whether it is there or not.

    Raises
    ------
    InvalidKeyError
        If no folder can have that path: it is empty, or has a character that no name has.
    StoreIOError
        If it is relative, and nobody knows to what.
    """
    try:
        if path:
            return os.path.realpath(path)
        problem = "it is empty"
    except ValueError as exc:  # NUL; half a UTF-16 pair, which is a UnicodeEncodeError
        problem = str(exc)
    except OSError as exc:
        raise StoreIOError(
            "cannot find out where the path leads: it is relative, and the current folder is gone",
            path=path,
            mend="Use an absolute path, or change to a folder that is there",
        ) from exc
    raise InvalidKeyError("no store can have this path", path=path, found=problem, mend="Use another path")


def folds_case(folder: str) -> bool:
    """Whether the file system of a folder takes names that differ only in case for one; nothing is written.

    The folder is looked for by its own name in the other case, or, if that has no letters, so are files in it.
    """
    parent, name = os.path.split(folder)
    if name.swapcase() != name:
        return _is_same(folder, os.path.join(parent, name.swapcase()))
    try:
        with os.scandir(folder) as entries:
            found = next((entry.path for entry in entries if entry.name.swapcase() != entry.name), None)
    except OSError:
        return False
    return found is not None and _is_same(found, os.path.join(folder, os.path.basename(found).swapcase()))


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except OSError:
        return False


class _Listed(NamedTuple):
    """What a folder holds under the names of keys.

    Attributes
    ----------
    names : list of str
        Of files.
    folders : list of (str, str, tuple of str)
        Name, location and trail of each.
    strange : list of (str, str)
        The name of what is neither, and what it is.
    """

    names: list[str]
    folders: list[tuple[str, str, tuple[str, ...]]]
    strange: list[tuple[str, str]]


class Tree:
    """Keys as files below a directory: what `LocalStore` reads, and what it knows of names and symbolic links."""

    path: str  # how the user knows the directory
    _root: str  # where it is, without symbolic links
    _base: str
    _verified: set[str]  # folders (as parts of keys) that were found to lie below the root

    def _place(self, path: str, root: str) -> None:
        self.path, self._root = path, root
        self._base = os.path.join(root, "")
        self._verified = set()

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        """Return the value of `key`, or None if the key is absent; see `Store.get`.

        A value smaller than `buffer` costs three system calls.
        """
        return self._read(key, files.read, buffer)

    def get_at_most(self, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
        """Return the value of `key`, or the beginning of one that is too large; see `BoundedValues.get_at_most`."""
        return self._read(key, files.read, buffer, limit)

    def get_range(self, key: str, start: int, length: int, buffer: memoryview | None = None) -> Buffer | None:
        """Return a part of the value of `key`, or None if the key is absent; see `Store.get_range`."""
        return self._read(key, files.read_range, start, length, buffer)

    def _read(
        self, key: str, read: Callable[Concatenate[int, P], Buffer | None], *args: P.args, **kwargs: P.kwargs
    ) -> Buffer | None:
        location = self._locate(key)
        if location is None:
            return None
        try:
            try:
                fd = os.open(location, files.READ)
            except OSError as exc:
                if exc.errno != errno.ELOOP:
                    raise
                fd = os.open(self._resolve(key), files.READ)
            try:
                return read(fd, *args, **kwargs)
            finally:
                os.close(fd)
        except (FileNotFoundError, NotADirectoryError):
            self._forget(key)
            return None
        except IsADirectoryError:
            return None
        except OSError as exc:
            raise self._failure(exc, "read", key) from exc

    def identity(self, key: str, *, settled: bool = False) -> tuple[int, int, int] | None:
        """Return inode number, modification time (ns) and size, or None if the key is absent; see `Store.identity`."""
        location = self._locate(key)
        if location is None:
            return None
        try:
            status = os.lstat(location)
            if stat.S_ISLNK(status.st_mode):
                status = os.lstat(self._resolve(key))
        except (FileNotFoundError, NotADirectoryError):
            self._forget(key)
            return None
        except OSError as exc:
            raise self._failure(exc, "look at", key) from exc
        if not stat.S_ISREG(status.st_mode) or (settled and time.time_ns() - status.st_mtime_ns < SETTLES):
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def list_prefix(self, prefix: str = "") -> Iterator[str]:
        """Every key below `prefix`, in no order; see `Store.list_prefix`."""
        return (above + name for above, found in self._walk_below(prefix) for name in found.names)

    def list_sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Every key below `prefix` and the bytes of its value, in no order; see `SizedListing`."""
        for key in self.list_prefix(prefix):
            with suppress(FileNotFoundError):  # it went meanwhile
                yield key, os.stat(os.path.join(self._root, key)).st_size

    def list_strange(self, prefix: str = "", *, folders: bool = False) -> Iterator[tuple[str, str]]:
        """What is no key below `prefix`, though it has the name of one, and what it is; see `StrangeListing`."""
        for above, found in self._walk_below(prefix):
            yield from ((above + name, what) for name, what in found.strange)
            if folders:
                yield from ((above + name, FOLDER) for name, _, _ in found.folders)

    def list_children(self, prefix: str = "") -> list[str]:
        """The names directly below `prefix` that have keys below them, sorted; see `Store.list_children`."""
        start = self._start(prefix)
        if start is None:
            return []
        folders, above = self._scan(*start, prefix).folders, f"{prefix}/" if prefix else ""
        return sorted(name for name, there, way in folders if self._holds_keys(f"{above}{name}/", there, way))

    def _locate(self, key: str) -> str | None:
        """Check `key` and return its file's location, or None if its name is one of an unfinished file."""
        check_key(key, self.path)
        folder = key.rpartition("/")[0]
        if folder not in self._verified:
            self._verify(folder)
        if files.PARTIAL in key and any(map(files.is_partial, key.split("/"))):
            return None
        return self._base + key

    def _target(self, prefix: str) -> str | None:
        """Check `prefix` and return its folder's location, or None as `_locate` does."""
        check_prefix(prefix, self.path)
        self._verify(prefix)
        return self._locate(prefix) if prefix else self._root

    def _verify(self, folder: str) -> None:
        """Raise if a folder on the way to `folder` is a symbolic link that leaves the root; remember the others."""
        end = 0 if folder else -1
        while end >= 0:
            end = folder.find("/", end + 1)
            head = folder if end < 0 else folder[:end]
            if head in self._verified:
                continue
            try:
                mode = os.lstat(self._base + head).st_mode
                if stat.S_ISLNK(mode):
                    mode = os.lstat(self._resolve(head)).st_mode
            except OSError:
                return  # there is nothing (yet): whoever goes there finds out
            if not stat.S_ISDIR(mode):
                return
            if len(self._verified) >= MAX_VERIFIED:
                self._verified.clear()
            self._verified.add(head)

    def _forget(self, key: str) -> None:
        """Forget all verified folders if that of `key` is no longer there: a link may come in its place."""
        folder = key.rpartition("/")[0]
        if folder in self._verified:
            try:
                if stat.S_ISDIR(os.lstat(self._base + folder).st_mode):
                    return
            except OSError:
                pass
            self._verified.clear()

    def _resolve(self, key: str) -> str:
        """Return where `key` leads through its symbolic links, or raise if that is outside the root."""
        real = os.path.realpath(self._base + key)
        if not _is_within(real, os.path.realpath(self._root)):
            raise InvalidKeyError(
                "a symbolic link leads out of the store",
                path=self.path,
                key=key,
                found=real,
                mend="Copy the data into the store, or open the place that the link leads to",
            )
        return real

    def _start(self, prefix: str) -> tuple[str, tuple[str, ...]] | None:
        """Return where to list: the folder of `prefix` without links, and those from which links were taken."""
        if self._target(prefix) is None:
            return None
        here, trail = os.path.realpath(self._root), tuple[str, ...]()
        for part in prefix.split("/") if prefix else ():
            there = os.path.join(here, part)
            if os.path.islink(there):
                trail = (*trail, here)
                there = os.path.realpath(there)
            here = there
        return here, trail

    def _walk_below(self, prefix: str) -> Iterator[tuple[str, _Listed]]:
        start = self._start(prefix)
        return iter(()) if start is None else self._walk(prefix and f"{prefix}/", *start)

    def _walk(self, prefix: str, here: str, trail: tuple[str, ...]) -> Iterator[tuple[str, _Listed]]:
        """What the keys of each folder begin with, and what it holds."""
        waiting = [(prefix, here, trail)]
        while waiting:
            prefix, here, trail = waiting.pop()
            found = self._scan(here, trail, prefix)
            yield prefix, found
            waiting += [(f"{prefix}{name}/", there, way) for name, there, way in found.folders]

    def _holds_keys(self, prefix: str, here: str, trail: tuple[str, ...]) -> bool:
        """Whether there is a key in a folder, or below it: an array may have a million, of which one is enough."""
        with suppress(OSError), os.scandir(here) as entries:  # the walk tells of the error
            if any(entry.is_file(follow_symlinks=False) and not _UNLISTED.search(entry.name) for entry in entries):
                return True
        return any(found.names for _, found in self._walk(prefix, here, trail))

    def _scan(self, here: str, trail: tuple[str, ...], prefix: str) -> _Listed:
        """List the folder `here`."""
        listed = _Listed([], [], [])
        try:
            with os.scandir(here) as entries:
                found = [entry for entry in entries if _UNLISTED.search(entry.name) is None]
        except (FileNotFoundError, NotADirectoryError):
            return listed
        except OSError as exc:
            raise self._failure(exc, "list", prefix.rstrip("/")) from exc
        root = ""
        for entry in found:
            if entry.is_file(follow_symlinks=False):
                listed.names.append(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                listed.folders.append((entry.name, entry.path, trail))
            elif entry.is_symlink():
                root = root or os.path.realpath(self._root)
                real = os.path.realpath(entry.path)
                if not _is_within(real, root):
                    listed.strange.append((entry.name, "a symbolic link that leads out of the store"))
                elif os.path.isfile(real):
                    listed.names.append(entry.name)
                elif not os.path.isdir(real):
                    listed.strange.append((entry.name, "a symbolic link that leads to no file"))
                elif len(trail) < _MAX_NESTED_LINKS:
                    way = (*trail, here)
                    if not any(_is_within(place, real) for place in way):  # else it leads in a circle
                        listed.folders.append((entry.name, real, way))
            elif os.path.lexists(entry.path):  # it may have gone meanwhile
                listed.strange.append((entry.name, "a pipe, a socket or a device"))
        return listed

    def _failure(self, exc: OSError, doing: str, key: str) -> ZarrdsError:
        reason, mend = files.explain(exc)
        error = StoreIOError(f"cannot {doing}: {reason}", path=self.path, key=key or None, mend=mend)
        error.errno, error.strerror, error.filename = exc.errno, exc.strerror, exc.filename
        return error


def _is_within(location: str, folder: str) -> bool:
    return location == folder or location.startswith(os.path.join(folder, ""))
