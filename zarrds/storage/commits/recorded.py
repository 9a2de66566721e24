"""A store of which it is remembered which values were read, and what tells whether they are still those."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Any

from zarrds.storage.protocol import Buffer, Store
from zarrds.storage.traits import Fetched, ManyValues

__all__ = ["Recorded"]


class Recorded:
    """The values of a store, for the changes that are made of them.

    Parameters
    ----------
    store : Store
        With the trait `ManyValues`.

    Attributes
    ----------
    seen : dict of str to object
        Of each key that was read by `get`: the `Fetched.version` of the value that was given; None if it was absent.

    Notes
    -----
    All methods may be called from any number of threads at once. A pickle is the store.
    """

    def __init__(self, store: ManyValues) -> None:
        self._store: Any = store
        self._prefetched: dict[str, Fetched] = {}
        self.seen: dict[str, object] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self._store,)

    def look(self, keys: Collection[str]) -> dict[str, Hashable | None]:
        """The identities of values that are going to be read, which are fetched side by side now."""
        values: ManyValues = self._store
        found = values.get_many(list(keys)) if keys else {}
        self._prefetched |= {key: each for key, each in found.items() if each.problem is None}
        return {key: self._store.identity(key) if each.problem else each.identity for key, each in found.items()}

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        """As of the store; see `Values.get`."""
        found = self._prefetched.pop(key, None) or self._fetch([key])[key]
        if found.problem is not None:
            raise found.problem
        self.seen[key] = found.version
        return found.value

    def _fetch(self, keys: Sequence[str]) -> dict[str, Fetched]:
        values: ManyValues = self._store
        return values.get_many(keys)


def _itself(store: Store) -> Store:
    return store
