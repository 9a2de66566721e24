"""Writing into an array that stands in a store: never into another one that has come in its place.

One rule for all that is written chunk by chunk while others may write too: arrays, regions, and dask graphs that are
computed later.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Any

from zarrds.errors import ConflictError, StoreIOError, ZarrdsError
from zarrds.metadata.extension import is_another, is_replaced
from zarrds.metadata.fetched import prefetched
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.nodes.documents import document_key, keys_of, own_node
from zarrds.storage.protocol import Buffer, Store, Traits, Values
from zarrds.storage.traits import get_at_most, hold

__all__ = ["InPlace", "check_not_another", "check_same"]


def check_same(store: Store, path: str, opened: ArrayMetadata, now: ArrayMetadata) -> None:
    """Raise `ConflictError` unless what stands at a path now is the array that was opened, of whatever shape."""
    if is_another(opened, now):
        raise ConflictError(
            "another writer has replaced the array since it was opened",
            path=store.path,
            key=path or "/",
            mend="Nothing was written. Open it again",
        )


def check_not_another(store: Store, path: str, opened: ArrayMetadata, found: str = "a chunk is missing") -> None:
    """Raise `ConflictError` if what a read has found is so because the array was replaced since it was opened."""
    try:
        now = own_node(store, path, opened)
    except ZarrdsError:
        return
    if is_replaced(opened, now):
        raise _conflict(store, path, "Open it again", found)


def _conflict(store: Store, path: str, mend: str, found: str | None = None) -> ConflictError:
    return ConflictError(
        "another writer has replaced the array, cut it or removed it, since it was opened",
        path=store.path,
        key=path or "/",
        found=found,
        mend=mend,
    )


class InPlace:
    """The values of a store, as one array's writers see them: what they set is the array's, or it is not set.

    Each value is held back until the array's document was looked at. So nothing gets into a store that has replaced
    its own as a whole. From before that look, for which all of the value is on the disk already, until the value has
    its key, the document is held (`hold`): a save that replaces the array inside of its store waits for that, and who
    comes later sees that it is replaced. In stores of URLs, where each look is a request, only the looks at the
    beginning and at the end are taken.

    As a context it looks once at the beginning and once at the end, also after a failure, of which it may be the
    reason. It may be used by any number of threads, and pickles.

    Parameters
    ----------
    store : Store
        Where the array's document is.
    values : Values
        What takes the values: the store, or what `ScratchWriting.with_scratch` made of it.
    path : str
        Of the array.
    metadata : ArrayMetadata
        As it was opened.
    version : hashable, optional
        The identity of the array's document, where that was read just now and found to be still of this array.

    Raises
    ------
    ConflictError
        By `set`, and by the context, if the array was replaced, cut or removed.

    Examples
    --------
    >>> import zarrds
    >>> array = zarrds.create_array(zarrds.MemoryStore(), shape=4, chunks=2, dtype="i4")
    >>> with InPlace(array.store, array.store, array.path, array.metadata) as values:
    ...     array.elements.through(values).write(slice(0, 2), 5)
    >>> array[...]
    array([5, 5, 0, 0], dtype=int32)
    """

    def __init__(
        self, store: Store, values: Values, path: str, metadata: ArrayMetadata, *, version: Hashable | None = None
    ) -> None:
        self._store = store
        self._values = values
        self._array = path
        self._metadata = metadata
        self._key = document_key(path, metadata)
        self._seen = version  # the newest document that was found to be still of this array

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._store, self._values, self._array, self._metadata)

    def __repr__(self) -> str:
        return f"InPlace({self._values!r}, {self._array!r})"

    def __enter__(self) -> InPlace:
        if self._seen is None or not self._store.traits.is_remote:
            self.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, ZarrdsError):
            return
        try:
            self.check()
        except StoreIOError as unseen:
            if error is not None:
                return  # what was told first says more
            unseen.mend = (
                "All of the data is written; only whether the array was replaced meanwhile could not be seen: look at "
                "it, or write it again"
            )
            raise

    def check(self) -> None:
        """Raise `ConflictError` unless the array still stands; one look at its document if nothing changed."""
        store = self._store
        if self._seen is None:  # where calls wait, all of the array's documents are fetched at once
            store = prefetched(store, keys_of([self._array], self._metadata))
        version = store.identity(self._key)
        if version is not None and version == self._seen:
            return
        if is_replaced(self._metadata, own_node(store, self._array, self._metadata)):
            mend = (
                "Some of the data may be in the new array now: look at it, and open it again"
                if self._store.traits.is_remote
                else "Nothing more was written. Open it again"
            )
            raise _conflict(self._store, self._array, mend)
        self._seen = version

    def hold(self) -> AbstractContextManager[object]:
        """Around a look and what it is taken for: whoever replaces the array waits until that is over."""
        return hold(self._store, self._key)

    @property
    def behind(self) -> Values:
        """What takes the values, for callers that `hold` and `check` before each of them gets its key."""
        return self._values

    # the values

    @property
    def path(self) -> str:
        """How the user knows the store."""
        return self._store.path

    @property
    def traits(self) -> Traits:
        """As of the store; as many calls at once as what takes the values can do."""
        return replace(self._store.traits, concurrency=self._values.traits.concurrency)

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        """As of the store; see `Values.get`."""
        return self._values.get(key, buffer)

    def get_at_most(self, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
        """As of the store, where it can bound values; see `BoundedValues.get_at_most`."""
        return get_at_most(self._values, key, limit, buffer)

    def get_range(self, key: str, start: int, length: int, buffer: memoryview | None = None) -> Buffer | None:
        """As of the store; see `Values.get_range`."""
        return self._values.get_range(key, start, length, buffer)

    def set(self, key: str, *parts: Buffer, check: Callable[[], object] | None = None) -> None:
        """Set the value, unless the array is no longer there; see `Values.set`."""
        if self._store.traits.is_remote:
            self._values.set(key, *parts, check=check)
            return

        held: list[AbstractContextManager[object]] = []

        def both() -> None:
            while held:  # of an attempt before this one
                held.pop().__exit__(None, None, None)
            held.append(self.hold())
            self.check()
            if check is not None:
                check()

        try:
            try:
                self._values.set(key, *parts, check=both)
            finally:
                while held:  # no function of Python is entered here, at which a KeyboardInterrupt could leave it held
                    held.pop().__exit__(None, None, None)
        except ConflictError:
            raise
        except ZarrdsError:
            self.check()  # its folder may be gone for that reason
            raise

    def identity(self, key: str, *, settled: bool = False) -> Hashable | None:
        """As of the store; see `Values.identity`."""
        return self._values.identity(key, settled=settled)

    def lock(self, *keys: str) -> AbstractContextManager[object]:
        """As of the store; see `Values.lock`."""
        return self._values.lock(*keys)
