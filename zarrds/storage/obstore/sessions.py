"""What a thread has seen of what it has locked, where locks keep out no other machine but changes are noticed."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from zarrds.storage.traits import Fetched

__all__ = ["Session", "Sessions"]


@dataclass(slots=True)
class Session:
    """One lock that a thread holds.

    Attributes
    ----------
    depth : int
        How often it was taken.
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
    is_look_due : bool
        Whether it is still to be looked for a commit that is under way, after the root was read.
    is_unsure : bool
        Whether that look was, or will be, beside the first values that are read, so that those may be older than the
        root; see `GrowingStore.glance`.
    """

    depth: int = 0
    version: Mapping[str, Any] | None = None
    is_read: bool = False
    roots: Mapping[str, Any] | None = None
    documents: dict[str, Fetched] = field(default_factory=dict)
    folders: list[str] | None = None
    is_look_due: bool = False
    is_unsure: bool = False

    def forget(self) -> None:
        """What was seen of the store holds no longer: it was changed."""
        self.roots = None
        self.is_look_due = self.is_unsure = False
        self.forget_others()

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
        return self._held().get(name)

    def begin(self, names: Sequence[str], lock: AbstractContextManager[object]) -> AbstractContextManager[object]:
        """A lock that was taken, as one that is remembered until it is let go of."""
        held = self._held()
        for name in names:
            held.setdefault(name, Session()).depth += 1
        return _Lock(held, tuple(names), lock)


class _Lock(AbstractContextManager[object]):
    def __init__(self, held: dict[str, Session], names: tuple[str, ...], lock: AbstractContextManager[object]) -> None:
        self._all, self._names, self._lock = held, names, lock

    def __enter__(self) -> object:
        return self._lock.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        names, self._names = self._names, ()
        for name in names:
            session = self._all[name]
            session.depth -= 1
            if not session.depth:
                del self._all[name]
        self._lock.__exit__(kind, error, traceback)
