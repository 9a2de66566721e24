"""Changes to a store, seen as if they were made already."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from zarrds.errors import ZarrdsError
from zarrds.storage.protocol import Buffer, Store, Traits, Values, check_key

__all__ = ["Overlay"]


class Overlay(Values):
    """The values of a store, with staged changes in front of them.

    What is set goes into the changes; what is read comes from there, or else from the store.

    Parameters
    ----------
    base : Store
        Read only.
    changes : Store
        From ``base.stage_changes()``.
    step : str
        The step of the changes that is read and written; see `Committer.stage_changes`.

    Notes
    -----
    All methods may be called from any number of threads at once. Locks keep out the other threads that use the same
    changes, and no other process. It pickles as its stores do.

    Examples
    --------
    >>> from zarrds.stores import MemoryStore
    >>> base = MemoryStore()
    >>> base.set("v/c/0", b"old")
    >>> changes = base.stage_changes()
    >>> overlay = Overlay(base, changes)
    >>> overlay.set("v/c/0", b"new")
    >>> overlay.get("v/c/0"), base.get("v/c/0")
    (b'new', b'old')
    >>> base.apply_changes(changes)
    >>> base.get("v/c/0")
    b'new'
    """

    def __init__(self, base: Store, changes: Store, step: str = "0") -> None:
        self._base = base
        self._changes = changes
        self._step = step

    def __repr__(self) -> str:
        return f"Overlay({self._base!r}, step={self._step!r})"

    @property
    def path(self) -> str:
        """How the user knows the store."""
        return self._base.path

    @property
    def traits(self) -> Traits:
        """As of the changes, where all is written and locked; in memory is what the store is."""
        return replace(self._changes.traits, in_memory=self._base.traits.in_memory)

    @property
    def in_front(self) -> tuple[Store, str]:
        """The changes, which take all that is set, and what their keys begin with."""
        return self._changes, f"{self._step}/"

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        """Return the value of `key` with the changes, or None if it is absent; see `Values.get`."""
        with self._named(key):
            value = self._changes.get(self._staged(key), buffer)
        return self._base.get(key, buffer) if value is None else value

    def get_range(self, key: str, start: int, length: int, buffer: memoryview | None = None) -> Buffer | None:
        """Return a part of the value of `key` with the changes; see `Values.get_range`."""
        with self._named(key):
            value = self._changes.get_range(self._staged(key), start, length, buffer)
        return self._base.get_range(key, start, length, buffer) if value is None else value

    def set(self, key: str, *parts: Buffer, check: Callable[[], object] | None = None) -> None:
        """Make the concatenation of `parts` the value that `key` will have; see `Values.set`."""
        with self._named(key):
            self._changes.set(self._staged(key), *parts, check=check)

    def identity(self, key: str, *, settled: bool = False) -> Hashable | None:
        """Return what changes whenever `key` is set anew, or None if the key is absent; see `Values.identity`."""
        with self._named(key):
            identity = self._changes.identity(self._staged(key))
            if identity is not None:
                return self._changes.identity(self._staged(key), settled=True) if settled else identity
        return self._base.identity(key, settled=settled)

    def lock(self, *keys: str) -> AbstractContextManager[object]:
        """Keep other threads out that change one of the same keys; see `Values.lock`."""
        return self._changes.lock(*map(self._staged, keys))

    def _staged(self, key: str) -> str:
        return f"{self._step}/{check_key(key, self.path)}"

    @contextmanager
    def _named(self, key: str) -> Iterator[None]:
        """Let errors name the key that the user knows."""
        try:
            yield
        except ZarrdsError as error:
            error.key = key
            raise
