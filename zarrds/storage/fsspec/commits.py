"""How staged objects come to their keys where nothing can be renamed: a marker names them, then they are copied.

The object ``.commit.zarrds-partial`` is the instant: once it is there, what it names will be put in place, by its
writer or, if that dies, by the next reader or writer. Everything here may be done twice, or by two at once.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from zarrds.errors import InvalidKeyError, StoreIOError, ZarrdsError
from zarrds.storage.commits.committer import DELETED, MAX_DELETED, deleted_keys
from zarrds.storage.commits.direct_marker import DirectMarker
from zarrds.storage.fsspec.objects import Objects
from zarrds.storage.local.files import PARTIAL, is_partial
from zarrds.storage.protocol import check_key
from zarrds.threads import repeated

__all__ = [
    "MADE",
    "MARKER",
    "MAX_MARKER",
    "NODE_DOCUMENTS",
    "OLD",
    "ROOT",
    "ROOTS",
    "STRAIGHT",
    "Commit",
    "Commits",
    "Heartbeat",
    "batches",
    "is_certain",
    "is_document",
    "is_key",
    "is_node_document",
    "is_own",
    "is_staged",
    "new_folder",
    "process_id",
]

# Where one of these stands, there is a group or an array. A store knows nothing of documents; only that with these
# names, others begin to look: they are to go first and to come last.
NODE_DOCUMENTS = frozenset({".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json"})
ROOTS = (".zmetadata", "zarr.json")  # of the root: those by which a commit can be made

MARKER = f".commit{PARTIAL}"
_HEARTBEAT = f".alive{PARTIAL}"  # in a staged folder: set anew now and then while it is put in place
OLD = "old"  # in a staged folder: a JSON list of the keys that a publish removes
MADE = "made"  # in the folder of a commit that another has finished: its writer can still tell that it was made
PLACED = "placed"  # there while what was staged is removed again: all is in place
ROOT = "root"  # in a staged folder whose values go straight to their keys: where the documents of its root are
STRAIGHT = "straight"  # in a staged folder: what it belongs to puts its values straight to their keys
_FOLDER = re.compile(rf"\.[0-9a-f]+{re.escape(PARTIAL)}\Z")

MAX_MARKER = 1 << 22  # bytes of a marker, and of a heartbeat

_PATIENCE = 20.0  # seconds without a heartbeat, after which a writer counts as dead
_POLL = 0.2  # seconds between two looks at a living one
_BEAT = 2.0  # seconds between two heartbeats
_BATCH = 100  # objects copied, or removed, in one call

T = TypeVar("T")

# what tells the staged objects of this process from those of all others
_process = secrets.token_hex(8)
_numbers = itertools.count()


def _renew_process() -> None:
    global _process
    _process = secrets.token_hex(8)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_process)


@dataclass(frozen=True, slots=True)
class Commit:
    """What is to be put in place.

    Attributes
    ----------
    folder : str
        What the staged names begin with.
    steps : tuple of (str, int)
        One after the other: the part of the folder, and how many objects it holds.
    owner : str
        The process that began.
    is_claimed : bool
        Whether it is made. Else its writer has still to see that its plan holds, and whoever takes it for dead calls
        it off.
    """

    folder: str
    steps: tuple[tuple[str, int], ...]
    owner: str = field(default_factory=lambda: process_id())
    is_claimed: bool = True

    def dump(self) -> bytes:
        """The marker's value."""
        found = {"owner": self.owner, "folder": self.folder, "steps": self.steps, "claimed": self.is_claimed}
        return json.dumps(found).encode()

    def void(self) -> bytes:
        """The value of a marker that stays, though there is no commit: who has put it may not remove it."""
        return json.dumps(json.loads(self.dump()) | {"void": True}).encode()

    @classmethod
    def load(cls, text: bytes) -> Commit | DirectMarker | None:
        """Parse a marker; None if nothing was begun: if it is void, or not whole (as where it is written in place)."""
        try:
            found = _parsed_json(text)
        except ValueError:
            return None
        if _is_void(found):
            return None
        marker = DirectMarker.of(found)
        if marker is not None:
            if not is_staged(marker.folder):
                raise ValueError(f"folder is {marker.folder!r:.80}")
            if marker.root not in ROOTS:
                raise ValueError(f"root is {marker.root!r:.80}")
            for key in marker.documents:
                if key == marker.root or not (is_key(key) and is_document(key)):
                    raise ValueError(f"a document is {key!r:.80}")
            return marker
        steps = []
        for part, count in found["steps"]:
            if not isinstance(count, int) or count < 0:
                raise TypeError(f"count is {count!r:.80}")
            steps.append((check_key(part), count))
        if not is_staged(found["folder"]):
            raise ValueError(f"folder is {found['folder']!r}")
        is_claimed = found.get("claimed", True)  # as those of earlier versions, which say nothing of it
        if not isinstance(is_claimed, bool):
            raise TypeError(f"claimed is {is_claimed!r:.80}")
        return cls(found["folder"], tuple(steps), str(found["owner"]), is_claimed)


class Commits:
    """The commits of one store.

    Parameters
    ----------
    objects : Objects
    base : str
        What the names of the store's objects begin with.
    """

    def __init__(self, objects: Objects, base: str) -> None:
        self._objects = objects
        self._base = base

    def current(self) -> Commit | DirectMarker | None:
        """What the marker says, or None if there is none, or none that is whole; one request."""
        return self._parsed(self._objects.read_at_most(self._base + MARKER, MAX_MARKER))

    def is_damaged(self) -> bool:
        """Whether there is a marker that says nothing: nothing was begun, or it can be read no more."""
        text = self._objects.read_at_most(self._base + MARKER, MAX_MARKER)
        if text is None or self._is_page(text) or self._parsed(text) is not None:
            return False
        try:
            return not _is_void(_parsed_json(text))
        except ValueError:
            return True

    def _is_page(self, text: bytes) -> bool:
        """Whether it is what a web server says of all that it does not have."""
        return bool(self._objects.is_read_only) and b'"folder"' not in text

    def _parsed(self, text: bytes | None) -> Commit | DirectMarker | None:
        try:
            if text is not None and len(text) > MAX_MARKER:
                raise ValueError(f"more than {MAX_MARKER} bytes")
            return None if text is None else Commit.load(text)
        except (ValueError, TypeError, KeyError) as exc:
            if text is not None and self._is_page(text):
                return None
            raise StoreIOError(
                "the marker of changes that a writer had begun cannot be read",
                key=MARKER,
                found=str(exc),
                mend="If no newer version of zarrds writes to this store, remove that object",
            ) from exc

    def begin(self, commit: Commit, old: Sequence[str] = (), *, is_removing: bool = False) -> None:
        """Commit: from now on, what is staged will be put in place, and the `old` keys will be removed.

        `is_removing` says that something will be removed.
        """
        found = self.current()
        if found is not None and not is_certain(found):
            raise _needs_conditions()
        self._objects.write(f"{self._base}{commit.folder}/{OLD}", json.dumps(old).encode())
        self._objects.write(self._base + MARKER, commit.dump())

    def close(self, commit: Commit, documents: Iterable[str]) -> None:
        """Remove documents that are to be replaced, those of the root first, so that nobody opens what is half new.

        Only for who has just begun: who finishes what somebody else began cannot know which of them are new already.
        """
        for _, group in itertools.groupby(sorted(documents, key=_depth), key=_depth):
            if self.current() != commit:
                return  # somebody took us for dead, and finished it
            self._objects.remove_all([self._base + key for key in group])

    def abandoned(self) -> Commit | DirectMarker | None:
        """Wait while the writer is alive; return what it left, or None if it finished. The store's lock is held."""
        seen: tuple[Commit | DirectMarker, bytes | None] | None = None
        since = 0.0
        while (commit := self.current()) is not None:
            if commit.owner == process_id():  # we hold the lock, so nobody is at it here
                return commit
            sign = commit, self._objects.read_at_most(f"{self._base}{commit.folder}/{_HEARTBEAT}", MAX_MARKER)
            if sign != seen:
                seen, since = sign, time.monotonic()
            elif time.monotonic() - since >= _PATIENCE:
                return commit
            time.sleep(_POLL)
        return None

    def heartbeat_of(self, commit: Commit | DirectMarker) -> Heartbeat:
        """What gives heartbeats for a commit."""
        return Heartbeat(self._objects, f"{self._base}{commit.folder}/{_HEARTBEAT}")

    def take_over(self, commit: Commit | DirectMarker) -> None:
        """Finish what a dead writer had begun."""
        if not isinstance(commit, Commit) or not commit.is_claimed:
            raise _needs_conditions()
        self.finish(commit)

    def finish(self, commit: Commit) -> None:
        """Put all in place that a commit names, remove what is to go, and last the marker.

        What is staged goes before the marker: who was overtaken may be about to copy it, and finds nothing then.
        """
        folder = self._base + commit.folder
        placed = f"{folder}/{PLACED}"
        heartbeat = self.heartbeat_of(commit)
        names = [name for name in self._objects.find(folder) if name != f"{folder}/{MADE}"]
        if placed not in names:
            try:
                if not self._place(commit, names, heartbeat):
                    return
            except FileNotFoundError as exc:
                # in this order: another removes what is staged, then the marker, then what says that all is placed
                if self._objects.info(placed) is not None or self._is_overtaken(commit):
                    return
                if not self._is_new_and_put(commit):
                    raise _gone(commit, exc) from exc
            if names:
                self._objects.write(placed, b"")
        with suppress(StoreIOError):
            self._objects.remove_all([name for name in names if name != placed])
        self.remove_marker(commit)
        with suppress(StoreIOError):
            self._objects.remove_all([*([placed] if names else []), *heartbeat.names])
            self._objects.remove_folder(folder)

    def _is_new_and_put(self, commit: Commit) -> bool:
        """Whether a new store is there whose writer has put the root's documents itself; then it removes the staged."""
        is_new = [part for part, _ in commit.steps] == [ROOT]
        return is_new and any(self._objects.info(self._base + name) is not None for name in sorted(NODE_DOCUMENTS))

    def _place(self, commit: Commit, names: Sequence[str], heartbeat: Heartbeat) -> bool:
        """Copy and remove what a commit names; False if another has done so, after whom nothing is touched."""
        folder = self._base + commit.folder
        copies = (group for part, count in commit.steps for group in self._copies(f"{folder}/{part}/", count, names))
        for pairs in itertools.chain.from_iterable(map(batches, copies)):
            if self._is_overtaken(commit):
                return False
            self._objects.copy(pairs)
            heartbeat.beat()
        old, gone = (
            [self._base + key for key in (self._named(name) if name in names else [])]
            for name in (f"{folder}/{OLD}", f"{folder}/{DELETED}")
        )
        below = (list(self._objects.find(prefix)) for prefix in gone)
        for batch in itertools.chain.from_iterable(map(batches, itertools.chain([old, gone], below))):
            if self._is_overtaken(commit):
                return False
            self._objects.remove_all(batch)
            heartbeat.beat()
        for prefix in gone:
            self._objects.remove_folder(prefix)
        return True

    def _is_overtaken(self, commit: Commit) -> bool:
        """Whether another took the writer for dead, and has finished its commit."""
        return self.current() != commit

    def remove_marker(self, commit: Commit | DirectMarker) -> None:
        """Remove the marker, if it is still that of a commit."""
        if self.current() == commit:
            self._objects.remove(self._base + MARKER)

    def _copies(self, source: str, count: int, names: Sequence[str]) -> Iterator[list[tuple[str, str]]]:
        """What is to be copied to where, of one step; one group after the other."""
        keys = [name.removeprefix(source) for name in names if name.startswith(source)]
        keys = sorted(filter(is_key, keys), key=_document_last)
        if len(keys) < count:
            raise FileNotFoundError(f"{len(keys)} of {count} objects")
        for _, group in itertools.groupby(keys, key=_document_last):
            yield [(source + key, self._base + key) for key in group]

    def _named(self, name: str) -> list[str]:
        """The keys of a JSON list that is staged; none if there is no list."""
        try:
            return deleted_keys(self._objects.read_at_most(name, MAX_DELETED), "")
        except ValueError as exc:
            raise StoreIOError("a staged list of keys cannot be read", key=name, found=str(exc)) from exc


class Heartbeat:
    """Heartbeats, for those that wait elsewhere; `names` has theirs, once there is one."""

    def __init__(self, objects: Objects, name: str) -> None:
        self._objects = objects
        self._name = name
        self.names: set[str] = set()
        self._last = time.monotonic()

    def beating(self) -> AbstractContextManager[None]:
        """Give some as long as the body lasts: one request may take longer than others wait."""

        def give() -> None:
            with suppress(ZarrdsError):
                self.beat()

        return repeated(give, _BEAT / 2)

    def beat(self) -> None:
        """Give one, if the last one is some time ago."""
        if time.monotonic() - self._last > _BEAT:
            self._objects.write(self._name, secrets.token_hex(8).encode())
            self.names.add(self._name)
            self._last = time.monotonic()


def _parsed_json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError as exc:
        raise TypeError("nested too deeply") from exc


def _is_void(found: Any) -> bool:
    """Whether a marker was called off by who may not remove it."""
    return isinstance(found, dict) and found.get("void") is True


def batches(things: Sequence[T], most: int | None = None) -> Iterator[Sequence[T]]:
    """Lots of what is copied, or removed, in one call."""
    most = most or _BATCH
    return (things[i : i + most] for i in range(0, len(things), most))


def _needs_conditions() -> StoreIOError:
    return StoreIOError(
        "a writer has begun a commit here that can only be finished by conditional puts",
        key=MARKER,
        mend="Open the store for writing where obstore reaches it: install 'zarrds[remote]', and pass no option that "
        "only s3fs, gcsfs or adlfs has",
    )


def _gone(commit: Commit, exc: FileNotFoundError) -> StoreIOError:
    return StoreIOError(
        "objects are gone that were to be put in place",
        key=commit.folder,
        found=str(exc),
        mend="The store is neither old nor new: save it again as a whole (mode='w'), or restore a copy",
    )


def is_certain(commit: Commit | DirectMarker) -> bool:
    """Whether what a marker names is made, so that anybody can put it in place."""
    return isinstance(commit, Commit) and commit.is_claimed


def process_id() -> str:
    """What tells this process from all others, as the owner of commits."""
    return _process


def new_folder() -> str:
    """Return a new hidden name, which no other process, thread or machine comes up with."""
    return f".{_process}{next(_numbers):x}{PARTIAL}"


def is_staged(name: str) -> bool:
    """Whether `name` is one that `new_folder` makes."""
    return _FOLDER.match(name) is not None


def is_own(name: str) -> bool:
    """Whether `new_folder` of this process made `name`."""
    return name.startswith(f".{_process}")


def is_key(name: str) -> bool:
    """Whether `name` is a key, and not hidden."""
    try:
        check_key(name)
    except InvalidKeyError:
        return False
    return not (PARTIAL in name and any(map(is_partial, name.split("/"))))


def is_node_document(key: str) -> bool:
    """Whether there is a group or an array where `key` stands."""
    return key.rpartition("/")[2] in NODE_DOCUMENTS


def is_document(key: str) -> bool:
    """Whether a key may be that of a document: not that of a chunk."""
    return is_node_document(key) or key.endswith(".json")


def _depth(key: str) -> int:
    return key.count("/")


def _document_last(key: str) -> tuple[bool, int, str]:
    """Sort documents behind all else, the deepest first, and those of the root one by one."""
    if not is_node_document(key):
        return False, 0, ""
    return True, -_depth(key), "" if "/" in key else key
