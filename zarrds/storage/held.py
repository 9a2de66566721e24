"""What is staged is kept in memory as long as it is little, and written where others find it beyond that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from zarrds.storage.memory import MemoryStore
from zarrds.storage.protocol import Buffer, Store
from zarrds.storage.traits import Fetched, ManyValues, has_trait
from zarrds.threads import side_by_side

__all__ = ["HeldChanges", "written"]

_MOST_NBYTES = 256 * 2**20


class HeldChanges:
    """Changes of a store, from ``stage_changes`` or ``stage``, of which nothing is written before it must be.

    Parameters
    ----------
    behind : Store
        What takes the values when they become too many, or when another process is to add some (a pickle is it).
    most_nbytes : int
        Of all values that are kept.
    begin : callable, optional
        Called before anything is written.

    Notes
    -----
    All methods may be called from any number of threads at once. What is not here is that of the store behind.
    """

    def __init__(
        self, behind: Store, most_nbytes: int = _MOST_NBYTES, *, begin: Callable[[], None] | None = None
    ) -> None:
        self._behind = behind
        self._begin = begin
        self._most = most_nbytes
        self._values: MemoryStore | None = MemoryStore()
        self._nbytes = 0
        self._mutex = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self.written(),)

    def __repr__(self) -> str:
        return f"HeldChanges({self._behind!r})"

    @property
    def _now(self) -> Any:
        return self._behind if self._values is None else self._values

    def held(self) -> dict[str, bytes] | None:
        """All values by key, None if they were written by now."""
        return None if self._values is None else _all_of(self._values)

    def taken(self) -> dict[str, bytes] | None:
        """As `held`; whoever takes them writes them, and from now on this is the store behind."""
        with self._mutex:
            values, self._values = self._values, None
        return None if values is None else _all_of(values)

    def written(self) -> Store:
        """The store behind, once all values are in it."""
        with self._mutex:
            values = self._values
            if values is not None:
                if self._begin is not None:
                    self._begin()
                side_by_side(lambda key: self._behind.set(key, values.get(key) or b""), list(values.list_prefix()))
                self._values = None
        return self._behind

    def holds(self, nbytes: int) -> bool:
        """Whether so many bytes more are kept in memory; see `Holding`."""
        return self._values is not None and self._nbytes + nbytes <= self._most

    def set(self, key: str, *parts: Buffer, check: Callable[[], object] | None = None) -> None:
        """As of a store; see `Values.set`."""
        nbytes = sum(map(len, parts))
        with self._mutex:
            values = self._values
            if values is not None and self.holds(nbytes):
                values.set(key, *parts, check=check)
                self._nbytes += nbytes
                return
        self.written().set(key, *parts, check=check)

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        """As of a store; see `Values.get`."""
        found: Buffer | None = self._now.get(key, buffer)
        return found

    def get_range(self, key: str, start: int, length: int, buffer: memoryview | None = None) -> Buffer | None:
        """As of a store; see `Values.get_range`."""
        found: Buffer | None = self._now.get_range(key, start, length, buffer)
        return found

    def get_at_most(self, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
        """As of a store, of what is in memory all; see `BoundedValues.get_at_most`."""
        return self.get(key, buffer)

    def get_many(
        self, keys: Sequence[str], *, recover: bool = False, by_root: bool = False, listing: bool = False
    ) -> dict[str, Fetched]:
        """As of a store; see `ManyValues.get_many`."""
        if has_trait(now := self._now, ManyValues):
            return now.get_many(keys)
        return {key: Fetched(now.get(key), now.identity(key)) for key in keys}

    def get_spans(self, key: str, spans: Sequence[tuple[int, int]]) -> list[Buffer]:
        """As of a store; see `SpanValues.get_spans`."""
        if self._values is None:
            behind: Any = self._behind
            found: list[Buffer] = behind.get_spans(key, spans)
            return found
        return [self.get_range(key, *span) or b"" for span in spans]

    def get_tail(self, key: str, start: int, length: int) -> tuple[Buffer, int] | None:
        """As of a store; see `SpanValues.get_tail`."""
        if self._values is None:
            behind: Any = self._behind
            found: tuple[Buffer, int] | None = behind.get_tail(key, start, length)
            return found
        whole, part = self.get(key), self.get_range(key, start, length)
        return None if whole is None or part is None else (part, len(whole))

    def identity(self, key: str, *, settled: bool = False) -> Hashable | None:
        """As of a store; see `Values.identity`."""
        found: Hashable | None = self._now.identity(key, settled=settled)
        return found

    def lock(self, *keys: str) -> AbstractContextManager[object]:
        """As of a store; see `Values.lock`."""
        return self._behind.lock(*keys)

    def delete(self, key: str) -> None:
        """As of a store; see `Store.delete`."""
        self._now.delete(key)

    def delete_prefix(self, prefix: str) -> None:
        """As of a store; see `PrefixRemoval.delete_prefix`."""
        self._now.delete_prefix(prefix)

    def list_prefix(self, prefix: str = "") -> Iterator[str]:
        """As of a store; see `Store.list_prefix`."""
        found: Iterator[str] = self._now.list_prefix(prefix)
        return found

    def list_children(self, prefix: str = "") -> list[str]:
        """As of a store; see `Store.list_children`."""
        found: list[str] = self._now.list_children(prefix)
        return found

    def list_sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """As of a store; see `SizedListing.list_sizes`."""
        for key in self.list_prefix(prefix):
            yield key, len(self.get(key) or b"")


def written(changes: Any) -> Any:
    """Staged changes whose values are all where other processes find them."""
    return changes.written() if isinstance(changes, HeldChanges) else changes


def _all_of(values: MemoryStore) -> dict[str, bytes]:
    return {key: bytes(values.get(key) or b"") for key in values.list_prefix()}


def _itself(store: Store) -> Store:
    return store
