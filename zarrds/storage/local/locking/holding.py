"""Values that writers rely on while they write beside them: whoever replaces one waits until they are done.

A writer holds the file of such a value by a shared ``flock``, from before it looks at it until what it writes has its
name. Whoever is about to replace the value asks for the file alone, once, after its changes count, and lets go at once:
then all that have looked before are done, and who looks now sees the changes. Where files cannot be locked nothing is
held, and nobody waits.

Everything here takes absolute locations.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from weakref import WeakSet

from zarrds.storage.local import files
from zarrds.storage.local.locking.lock_files import Waiting

_CAN_LOCK = find_spec("fcntl") is not None  # not on Windows
if _CAN_LOCK:
    import fcntl

__all__ = ["documents_below", "share", "wait_for_holders"]

_POLL = 0.0005  # seconds between two attempts
_PATIENCE = 5.0  # seconds that holders are waited for: one may have been stopped
_ATTEMPTS = 100  # of holding a file that others replace

_OPEN = files.READ | os.O_RDWR
_DOCUMENTS = ("zarr.json", ".zarray", ".zgroup")  # of which a folder of a node has one

_open: WeakSet[io.FileIO] = WeakSet()


def share(location: str, timeout: float | None = None) -> io.FileIO | None:
    """The file at a location, held until it is closed, be it for nobody refers to it any more; None if that cannot be.

    It is the one of that name at the time when it is held. Raises `BusyError` if somebody has it alone for `timeout`
    seconds; that is done for an instant only, but by one who may be stopped.
    """
    waiting: Waiting | None = None
    attempts = _ATTEMPTS
    while _CAN_LOCK and attempts:
        try:
            file = io.FileIO(os.open(location, files.READ))
        except OSError:  # it is gone, or a link
            return None
        try:
            _open.add(file)
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if _is_there(file, location):
                return file
            file.close()
            attempts -= 1
        except BlockingIOError:
            file.close()
            waiting = waiting or Waiting(repr(location), timeout)
            waiting.sleep(location)
        except OSError:
            file.close()
            return None
        except BaseException:  # which would keep it
            file.close()
            raise
    return None  # some file systems give a file another number at each look


def wait_for_holders(locations: Iterable[str]) -> None:
    """Wait until nobody holds the files at some locations that held them before; some seconds at most for all."""
    end = time.monotonic() + _PATIENCE
    for location in locations if _CAN_LOCK else ():
        with suppress(OSError):
            _wait(location, end)


def documents_below(location: str) -> Iterator[str]:
    """The documents at a location that is to be removed, or below it; nothing is looked for behind links."""
    if os.path.basename(location) in _DOCUMENTS:
        yield location
        return
    if not os.path.isdir(location) or os.path.islink(location):  # of chunks there may be a million
        return
    waiting = [location]  # groups may be nested deeper than calls
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                found = [each for each in entries if each.name in _DOCUMENTS or each.is_dir(follow_symlinks=False)]
        except OSError:  # it is gone, or cannot be read
            continue
        for entry in found:
            if entry.name in _DOCUMENTS:
                yield entry.path
            elif any(os.path.lexists(os.path.join(entry.path, name)) for name in _DOCUMENTS):  # not a folder of chunks
                waiting.append(entry.path)


def _wait(location: str, end: float) -> None:
    with io.FileIO(_opened(location)) as file:
        _open.add(file)
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > end:
                    return
                time.sleep(_POLL)


def _opened(location: str) -> int:
    try:
        return os.open(location, _OPEN)  # NFS lets nobody have a file alone who may not write to it
    except OSError:
        return os.open(location, files.READ)


def _is_there(file: io.FileIO, location: str) -> bool:
    try:
        now, mine = os.lstat(location), os.fstat(file.fileno())
    except FileNotFoundError:
        return False
    return now.st_ino == mine.st_ino and now.st_dev == mine.st_dev


def _close_all() -> None:
    for file in list(_open):
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_all)  # else they would be held for as long as the child lives
