"""A hidden folder beside a store for work that outlives a process: what will become the store, and what is done.

A process that is killed leaves it; the next one that does the same work goes on from there. It holds::

    .x.zarr.NAME.zarrds-partial/store      what will become x.zarr
    .x.zarr.NAME.zarrds-partial/scratch    values that are needed until then
    .x.zarr.NAME.zarrds-partial/done       what the work is, and a line for each step that is done, and in which folder
    .x.zarr.NAME.lock.zarrds-partial       held as long as a process is at work

A step that is done counts only if the machine has not been started anew since: nothing is synced until the end; and
only in the folder that it was done in: a process that was killed right after the instant has left the old store here.
Work that failed before any step was done leaves nothing; what other kinds of work left goes when it is old
(`leftovers`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zarrds.errors import ConflictError, StoreIOError, ZarrdsError
from zarrds.storage.local import files, folders, leftovers, staging
from zarrds.storage.local.locking.lock_files import LockFile
from zarrds.storage.local.store import LocalStore

__all__ = ["Workspace", "workspace"]

_MAX_LOG = 1 << 26  # bytes
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Workspace:
    """A folder of unfinished work; one process at a time has it.

    Attributes
    ----------
    store : LocalStore
        Staged: to be published as the target.
    scratch : LocalStore
    done : set of str
        The steps that an earlier process has finished.
    """

    def __init__(self, folder: Path, store: LocalStore, done: set[str], log: int) -> None:
        self.store = store
        self.scratch = LocalStore(folder / "scratch")
        self.done = done
        self._log = log

    def finish(self, step: str) -> None:
        """Note that a step is done. Raises OSError."""
        os.write(self._log, f"{_number(self.store.root)} {step}\n".encode())
        self.done.add(step)


@contextmanager
def workspace(target: LocalStore, name: str, identity: str) -> Iterator[Workspace]:
    """The workspace of a piece of work on a store; it is gone at the end, unless the body fails after some steps.

    Parameters
    ----------
    target : LocalStore
    name : str
        Of the kind of work: at most sixteen of the letters a to z.
    identity : str
        One line that says all of what the work is: a folder of other work is begun anew.

    Raises
    ------
    ConflictError
        If another process is at this work.
    StoreExistsError
        If the target cannot be replaced by a folder.
    StoreIOError
        If the file system refuses.
    """
    root = Path(target.root)
    folder = root.parent / f".{files.short(root.name)}.{name}{files.PARTIAL}"
    store = target.staged_in(str(folder / "store"))
    lock = LockFile(str(root.parent), f".{files.short(root.name)}.{name}.lock{files.PARTIAL}")
    try:
        folders.make_folders(str(root.parent))
        held = lock.acquire(wait=False)
    except OSError as error:
        raise _refused(error, target, folder) from error
    if held is None:
        raise ConflictError(
            f"another process is at work on a {name} to this place",
            path=target.path,
            mend="Wait for it, or choose another target",
        )
    with held:
        log = -1
        try:
            leftovers.remove_old_workspaces(target.root)  # not this one, which is locked
            log, done = _begin(folder, identity)
            yield Workspace(folder, store, done, log)
            with suppress(OSError):
                os.unlink(folder / "done")
        except ZarrdsError:  # some are OSErrors too
            raise
        except OSError as error:
            raise _refused(error, target, folder) from error
        finally:
            if log >= 0:
                os.close(log)
            if not _done(folder, identity):  # nothing that another run could go on from
                with suppress(OSError):
                    staging.remove_tree(str(folder))


def _begin(folder: Path, identity: str) -> tuple[int, set[str]]:
    """The log of the work, open to be written on, and what is done."""
    done = _done(folder, identity)
    if done:
        with suppress(OSError):
            return os.open(folder / "done", os.O_WRONLY | os.O_APPEND | _NO_LINK), done
    staging.remove_tree(str(folder))
    for part in (folder / "store", folder / "scratch"):
        part.mkdir(parents=True)
    log = os.open(folder / "done", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(log, f"{identity} {_boot()}\n".encode())
    return log, set()


def _done(folder: Path, identity: str) -> set[str]:
    """The steps of a work that are done, in the folder that will become the store."""
    if all(map(_is_ours, (folder, folder / "store", folder / "scratch"))):
        with suppress(OSError, UnicodeDecodeError):
            # a last line that was not written whole counts for nothing
            lines = (files.read_small(str(folder / "done"), _MAX_LOG) or b"").decode().split("\n")[:-1]
            if lines and lines[0] == f"{identity} {_boot()}":
                mine = f"{_number(folder / 'store')} "
                return {line.removeprefix(mine) for line in lines[1:] if line.startswith(mine)}
    return set()


def _number(folder: str | Path) -> int:
    return os.lstat(folder).st_ino


def _is_ours(folder: Path) -> bool:
    """Whether this is a real folder, and of this user: beside a store others may put what they like."""
    if not folders.is_folder(str(folder)):
        return False
    return not hasattr(os, "geteuid") or os.lstat(folder).st_uid == os.geteuid()


def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"


def _refused(error: OSError, target: LocalStore, folder: Path) -> StoreIOError:
    reason, mend = files.explain(error)
    return StoreIOError(
        f"the file system refuses: {reason}",
        path=target.path,
        key=folder.name,
        mend=f"{mend}; steps that are done are kept",
    )
