"""Stores that are only read: of other libraries' objects and of archives, each by two functions or more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from typing import Any, NoReturn

from zarrds.errors import StoreIOError, ZarrdsError
from zarrds.storage.commits.committer import refuse
from zarrds.storage.protocol import Buffer, Traits, check_key, check_prefix
from zarrds.storage.secrets import scrubbed

__all__ = ["ReadOnlyStore", "Source"]


class Source(ABC):
    """Where the values of a `ReadOnlyStore` come from: `read` and `names` are enough.

    What else there is can be told in quicker ways, where there are some. Any number of threads may call it at once, and
    it pickles if it can.

    Attributes
    ----------
    path : str
        How the user knows it.
    traits : Traits
    secrets : tuple of str
        What no error may show, in all spellings.
    tells_changes : bool
        Whether another value always has another identity.

    Examples
    --------
    >>> class Listed(Source):
    ...     path, values = "a list", {"k": b"value"}
    ...     def read(self, key, start, length):
    ...         value = self.values.get(key)
    ...         return value if value is None or start is None else value[start:][:length]
    ...     def names(self, prefix):
    ...         return [key for key in self.values if key.startswith(prefix)]
    >>> bytes(ReadOnlyStore(Listed()).get_range("k", 1, 3))
    b'alu'
    """

    path: str
    traits: Traits = Traits()
    secrets: tuple[str, ...] = ()
    tells_changes: bool = True

    @abstractmethod
    def read(self, key: str, start: int | None, length: int | None) -> bytes | None:
        """A value, or `length` bytes of it from `start` (from its end, if negative); None if it is absent."""

    def read_at_most(self, key: str, limit: int) -> bytes | None:
        """A value; of one of more than `limit` bytes its beginning is enough, of more than `limit` bytes."""
        return self.read(key, None, None)

    @abstractmethod
    def names(self, prefix: str) -> Iterable[str]:
        """All keys that begin with `prefix`, which is empty or ends with a slash."""

    def children(self, prefix: str) -> Iterable[str]:
        """The names directly below such a prefix that have keys below them."""
        rests = (name[len(prefix) :].partition("/") for name in self.names(prefix))
        return {name for name, slash, _ in rests if slash}

    def identity(self, key: str) -> Hashable | None:
        """What changes with the value, as far as can be known, or None if the key is absent; here its digest."""
        value = self.read(key, None, None)
        return None if value is None else sha256(value).hexdigest()


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
        By `set` and `delete`, and by what `committer_of` gives for it.
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
    def traits(self) -> Traits:
        """As of the source."""
        return self._source.traits

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        """Return the value of `key`, or None if the key is absent; see `Store.get`."""
        check_key(key, self.path)
        value: bytes | None = self._calling(key, self._source.read, key, None, None)
        return value

    def get_at_most(self, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
        """Return the value of `key`, or the beginning of one that is too large; see `BoundedValues.get_at_most`."""
        check_key(key, self.path)
        value: bytes | None = self._calling(key, self._source.read_at_most, key, limit)
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

    def _refuse(self, *args: object, **options: object) -> NoReturn:
        refuse(self.path)

    set = delete = _refuse
