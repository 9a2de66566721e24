"""What a thread has seen of what it has locked, where locks keep out no other machine but changes are noticed."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from weakref import WeakSet

from zarrds.storage.obstore.changes.open_commit import OpenCommit
from zarrds.storage.obstore.changes.prefetch import Prefetch
from zarrds.storage.traits import Fetched

__all__ = ["Session", "Sessions"]


@dataclass(slots=True)
class Session:
    """One lock that a thread holds.

    Attributes
    ----------
    holders : WeakSet
        What was given for it to who took it, as often as it was taken. An interrupt may leave one that nobody has.
    version : mapping or None
        Of a locked value, as it was last read; None if it was absent.
    is_read : bool
        Whether it was read.
    roots : mapping or None
        Of a store that is locked as a whole: the documents of its root, by key, as they were before all else was read;
        None until that was noted.
    documents : dict
        Of such a store: what else was fetched of documents, and of chunks ahead of their use, by key.
    folders : list of str or None
        Of such a store: what lies directly below its root, once that was listed.
    is_first : bool
        Whether what is fetched next is all that is needed first, and so is kept, also of chunks.
    open_commit : OpenCommit or None
        Of such a store: what keeps other machines out, until the lock is let go of.
    prefetch : Prefetch
        Of such a store: what was fetched beside that.
    """

    holders: WeakSet[Any] = field(default_factory=WeakSet)
    version: Mapping[str, Any] | None = None
    is_read: bool = False
    roots: Mapping[str, Any] | None = None
    documents: dict[str, Fetched] = field(default_factory=dict)
    folders: list[str] | None = None
    is_first: bool = False
    open_commit: OpenCommit | None = None
    prefetch: Prefetch = field(default_factory=Prefetch)

    def is_absent(self, key: str) -> bool:
        """Whether the listing of what lies directly below the root has told that nothing lies where a key is."""
        folder, is_below, _ = key.partition("/")
        return self.folders is not None and bool(is_below) and folder not in self.folders

    def told(self, key: str) -> Fetched | None:
        """What was seen at a key that is none of the root; None if nobody has looked."""
        return self.documents.get(key) or (Fetched(None) if self.is_absent(key) else None)

    def forget(self) -> None:
        """What was seen of the store holds no longer: it was changed."""
        self.roots = None
        self.forget_others()

    def let_go(self) -> None:
        """Let other machines begin."""
        commit, self.open_commit = self.open_commit, None
        if commit is not None:
            commit.release()

    def forget_others(self) -> None:
        """What was seen holds no longer, but for the root's documents."""
        self.documents.clear()
        self.folders = None


class Sessions:
    """The locks that each thread holds, by name."""

    def __init__(self) -> None:
        self._local = threading.local()

    def _held(self) -> dict[str, Session]:
        held: dict[str, Session] = self._local.__dict__.setdefault("held", {})
        return held

    def of(self, name: str) -> Session | None:
        """What this thread has seen under a lock; None if it does not hold it."""
        found = self._held().get(name)
        return found if found is not None and found.holders else None

    def begin(self, names: Sequence[str], lock: AbstractContextManager[object]) -> AbstractContextManager[object]:
        """A lock that was taken, as one that is remembered until it is let go of."""
        held = self._held()
        made = _Lock(held, tuple(names), lock)
        for name in names:
            if self.of(name) is None:
                held[name] = Session()
            held[name].holders.add(made)
        return made


class _Lock(AbstractContextManager[object]):
    _names: tuple[str, ...] = ()

    def __init__(self, held: dict[str, Session], names: tuple[str, ...], lock: AbstractContextManager[object]) -> None:
        self._all, self._names, self._lock = held, names, lock

    def __enter__(self) -> object:
        return self._lock.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._forget()
        finally:
            self._lock.__exit__(kind, error, traceback)

    def __del__(self) -> None:
        # whoever took it was interrupted before there was anything to be left
        self._forget()

    def _forget(self) -> None:
        names, self._names = self._names, ()
        for name in names:
            session = self._all.get(name)
            if session is not None and self in session.holders:
                session.holders.discard(self)
                if not session.holders:
                    del self._all[name]
                    session.let_go()
