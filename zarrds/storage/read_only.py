"""Stores that are only read: of other libraries' objects and of archives, each by four functions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn, Protocol, Self

from zarrds.errors import ReadOnlyError, StoreIOError, ZarrdsError
from zarrds.storage.protocol import Buffer, check_key, check_prefix
from zarrds.storage.secrets import scrubbed

__all__ = ["ReadOnlyStore", "Source"]


class Source(Protocol):
    """Where the values of a `ReadOnlyStore` come from; any number of threads may call it at once. Pickles if it can."""

    @property
    def path(self) -> str:
        """How the user knows it."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether each call is a request over a network."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether a copy in another process is another store."""
        ...

    def read(self, key: str, start: int | None, length: int | None) -> bytes | None:
        """A value, or `length` bytes of it from `start` (from its end, if negative); None if it is absent."""
        ...

    def names(self, prefix: str) -> Iterable[str]:
        """All keys that begin with `prefix`, which is empty or ends with a slash."""
        ...

    def children(self, prefix: str) -> Iterable[str]:
        """The names directly below such a prefix that have keys below them."""
        ...

    def identity(self, key: str) -> Hashable | None:
        """What changes with the value, as far as can be known, or None if the key is absent."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no error may show, in all spellings."""
        ...

    @property
    def tells_changes(self) -> bool:
        """Whether another value always has another identity."""
        ...


class ReadOnlyStore:
    """Keys of a `Source`.

    Parameters
    ----------
    source : Source

    Attributes
    ----------
    path : str
        How the user knows it; for errors.

    Raises
    ------
    ReadOnlyError
        By all methods that write.
    StoreIOError
        By all methods, if the source fails.

    Notes
    -----
    All methods may be called from any number of threads at once.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.path = source.path

    def __repr__(self) -> str:
        return f"ReadOnlyStore({self.path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReadOnlyStore) and self._source == other._source

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def is_remote(self) -> bool:
        """Whether each call is a request over a network."""
        return self._source.is_remote

    @property
    def in_memory(self) -> bool:
        """Whether a copy in another process is another store."""
        return self._source.in_memory

    @property
    def locks_processes(self) -> bool:
        """False: nothing is written."""
        return False

    @property
    def concurrency(self) -> int:
        """How many calls at once are worth a thread each."""
        return 16 if self._source.is_remote else 1

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        """Return the value of `key`, or None if the key is absent; see `Store.get`."""
        check_key(key, self.path)
        value: bytes | None = self._calling(key, self._source.read, key, None, None)
        return value

    def get_range(self, key: str, start: int, length: int, buffer: memoryview | None = None) -> Buffer | None:
        """Return a part of the value of `key`, or None if the key is absent; see `Store.get_range`."""
        check_key(key, self.path)
        value = self._calling(key, self._source.read, key, start, length)
        return value if value is None else memoryview(value)[:length]

    def identity(self, key: str, *, settled: bool = False) -> Hashable | None:
        """Return what the source tells about the value, or None if the key is absent; see `Store.identity`."""
        check_key(key, self.path)
        if settled and not self._source.tells_changes:
            return None
        found: Hashable | None = self._calling(key, self._source.identity, key)
        return found

    def list_prefix(self, prefix: str = "") -> Iterator[str]:
        """Every key below `prefix`, in no order."""
        check_prefix(prefix, self.path)
        return iter(self._calling(prefix, lambda: [*self._source.names(prefix and f"{prefix}/")]))

    def list_children(self, prefix: str = "") -> list[str]:
        """The names directly below `prefix` that have keys below them, sorted."""
        check_prefix(prefix, self.path)
        found: list[str] = self._calling(prefix, lambda: sorted(self._source.children(prefix and f"{prefix}/")))
        return found

    def _calling(self, key: str, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except ZarrdsError:
            raise
        except Exception as error:  # every library has errors of its own
            secrets = self._source.secrets
            is_harmless = scrubbed(repr(error), secrets) == repr(error)
            reason, cause = scrubbed(str(error).strip().partition("\n")[0], secrets), error if is_harmless else None
        raise StoreIOError(f"cannot read: {reason}", path=self.path, key=key or None) from cause

    def lock(self, *keys: str) -> AbstractContextManager[object]:
        """Lock nothing: nobody writes through this store."""
        return nullcontext()

    def recover(self) -> None:
        """Do nothing: what a writer left unfinished cannot be finished here."""

    def clean(self, *, repair: bool = False) -> list[str]:
        """Do nothing."""
        return []

    def as_durable(self, durable: bool = True) -> Self:
        """Return this store."""
        return self

    def prepare(self, n_values: int) -> None:
        """Do nothing."""

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise ReadOnlyError(
            "this kind of store can only be read",
            path=self.path,
            mend="Save to a folder or a URL; a folder becomes a ZIP file with shutil.make_archive",
        )

    set = delete = delete_prefix = stage = publish = discard = stage_changes = _refuse
    in_place = link = apply_changes = _refuse
