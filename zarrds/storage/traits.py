"""What only some stores can do, and how to ask for it: where one cannot, it is done in another way, or not at all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, TypeVar, runtime_checkable

from zarrds.errors import ZarrdsError
from zarrds.storage.protocol import Buffer, Store, Values
from zarrds.threads import MOST, side_by_side

if TYPE_CHECKING:
    from zarrds.storage.byte_cache import ByteCache  # which few need

__all__ = [
    "FOLDER",
    "MAX_DOCUMENT",
    "Blank",
    "BoundedValues",
    "Cacheable",
    "Damaged",
    "Fetched",
    "HeldValues",
    "Holding",
    "InFolder",
    "Located",
    "ManyValues",
    "PrefixRemoval",
    "SizedListing",
    "SpanValues",
    "StrangeListing",
    "WrittenWhole",
    "ask_all",
    "check_parts",
    "delete_prefix",
    "folder_of",
    "folds_case",
    "get_at_most",
    "has_trait",
    "hold",
    "is_held",
    "list_sizes",
    "list_strange",
]

# bytes of a document; consolidated metadata of a hundred thousand arrays fits
MAX_DOCUMENT = 2**28
# what `list_strange` says of a folder
FOLDER = "a folder"

_Trait = TypeVar("_Trait")
A = TypeVar("A")
R = TypeVar("R")


def has_trait(store: object, trait: type[_Trait]) -> TypeGuard[_Trait]:
    """Whether a store has what a protocol of this module asks for, by its class.

    `isinstance` answers the same, but takes longer than to read a small file, each time (in Python 3.11: 15 µs).
    """
    kind: Any = type(store)
    asked: Any = trait
    return _class_has(kind, asked)


@functools.cache
def _class_has(kind: Any, trait: Any) -> bool:
    return all(hasattr(kind, name) for name in vars(trait) if not name.startswith("_"))


@runtime_checkable
class BoundedValues(Protocol):
    """Values that may be larger than anybody expects, so that a reader says how much it takes."""

    def get_at_most(self, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
        """As `Values.get`; but of a value of more than `limit` bytes only its beginning, of more than `limit` bytes."""
        ...


@runtime_checkable
class Holding(Protocol):
    """Values that are kept in memory as long as they are few, so that nobody waits for a network to set them."""

    def holds(self, nbytes: int) -> bool:
        """Whether so many bytes more are kept in memory."""
        ...


def is_held(values: Values, nbytes: int) -> bool:
    """Whether so many bytes more are kept in memory for now; see `Holding`."""
    return has_trait(values, Holding) and values.holds(nbytes)


def get_at_most(values: Values, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
    """`BoundedValues.get_at_most`, of values that can do it; of others the whole value, as large as it is."""
    if has_trait(values, BoundedValues):
        return values.get_at_most(key, limit, buffer)
    return values.get(key, buffer)


@runtime_checkable
class InFolder(Protocol):
    """A store whose keys are files below a folder: what stands there can be looked at without the store."""

    @property
    def root(self) -> str:
        """The folder, without symbolic links."""
        ...

    @property
    def folds_case(self) -> bool:
        """Whether names that differ only in case are one file there, as far as can be seen without writing."""
        ...


@runtime_checkable
class WrittenWhole(Protocol):
    """A store that is written as a whole only."""

    def check_parts(self) -> None:
        """Raise `ReadOnlyError`, which says so."""
        ...


def check_parts(store: object) -> None:
    """Check that a part of a store can be written, before any work.

    Raises
    ------
    ReadOnlyError
    """
    if has_trait(store, WrittenWhole):
        store.check_parts()


def folder_of(store: object) -> str | None:
    """The folder of a store that has one; not its path, which need not be absolute."""
    return store.root if has_trait(store, InFolder) else None


def folds_case(store: object) -> bool:
    """Whether keys that differ only in case are one key of a store."""
    return has_trait(store, InFolder) and store.folds_case


@runtime_checkable
class Blank(Protocol):
    """A store behind a network that tells by one request whether nothing at all is there."""

    def is_blank(self) -> bool:
        """Whether nothing is there, also nothing hidden. `clean` and `stage` need not ask for it then, for a moment."""
        ...


@runtime_checkable
class Cacheable(Protocol):
    """A store whose values can be kept on this machine, since it tells whether they are still the same."""

    def cached_in(self, cache: ByteCache) -> Store:
        """The same store, which keeps the values that it fetches."""
        ...


@runtime_checkable
class Damaged(Protocol):
    """A store in which what writers leave for each other may be damaged, and can be told apart from what is at work."""

    def damaged(self) -> list[str]:
        """The names of what says nothing to anybody; ``Committer.clean(repair=True)`` removes it."""
        ...


@runtime_checkable
class Located(Protocol):
    """A store behind a network, whose path does not tell all of where its keys are."""

    @property
    def location(self) -> str:
        """Where its keys are, whoever asks for them; that of what lies inside begins with it. Not to be shown."""
        ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A value that was fetched together with its identity, or the refusal to give it.

    Attributes
    ----------
    value : bytes-like or None
        None for a key that is absent.
    identity : hashable
        As of `Values.identity`.
    problem : ZarrdsError or None
        To be raised by who needs the value.
    version : object
        What the store needs to put another value over just this one (`Additions.edges`); None if it is absent.
    """

    value: Buffer | None
    identity: Hashable | None = None
    problem: ZarrdsError | None = None
    version: object = None


@runtime_checkable
class ManyValues(Protocol):
    """Values behind a network, where what is asked for together takes as long as one."""

    def get_many(
        self, keys: Sequence[str], *, recover: bool = False, by_root: bool = False, listing: bool = False
    ) -> dict[str, Fetched]:
        """The values of some keys, by key, fetched side by side.

        Under the store's lock, what was read before may be given again, if `Committer.apply_changes` would notice that
        it was changed.

        Parameters
        ----------
        keys : sequence of str
        recover : bool
            Whether to `Committer.recover` as well, at the same time; the values are those after it.
        by_root : bool
            Whether that is left out for commits that are made by the put of the root's document
            (`DirectCommitStore`): for who goes by that document alone.
        listing : bool
            Whether the names directly below the root are asked for next: under the store's lock both at once.
        """
        ...


@runtime_checkable
class SpanValues(Protocol):
    """Values of which many parts are fetched by few requests."""

    def get_spans(self, key: str, spans: Sequence[tuple[int, int]]) -> list[Buffer]:
        """Parts of a value that is there, by their offsets and lengths in bytes.

        Parts that lie close together are fetched as one.

        Raises
        ------
        StoreIOError
            If the value is gone, or smaller.
        """
        ...

    def get_tail(self, key: str, start: int, length: int) -> tuple[Buffer, int] | None:
        """As `Values.get_range`, and how many bytes the whole value has; None if the key is absent."""
        ...


@runtime_checkable
class SizedListing(Protocol):
    """A store whose listings tell how large values are."""

    def list_sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """As `Store.list_prefix`, with the bytes of each value."""
        ...


def list_sizes(store: Store, prefix: str = "") -> Iterator[tuple[str, int]]:
    """`SizedListing.list_sizes`, of stores that can do it; of others each value is read."""
    if has_trait(store, SizedListing):
        yield from store.list_sizes(prefix)
        return
    for key in store.list_prefix(prefix):
        value = store.get(key)
        if value is not None:
            yield key, len(value)


@runtime_checkable
class PrefixRemoval(Protocol):
    """A store that removes many keys at once, and what else is left of them."""

    def delete_prefix(self, prefix: str) -> None:
        """Remove every key below `prefix` (``"a"`` removes ``a/b``, not ``ab``); ``""`` empties the store."""
        ...


def delete_prefix(store: Store, prefix: str) -> None:
    """`PrefixRemoval.delete_prefix`, of stores that can do it; of others one key after the other."""
    if has_trait(store, PrefixRemoval):
        store.delete_prefix(prefix)
        return
    for key in [*store.list_prefix(prefix)]:
        store.delete(key)


@runtime_checkable
class StrangeListing(Protocol):
    """A store in which there can be things that are no values, under the names of keys."""

    def list_strange(self, prefix: str = "", *, folders: bool = False) -> Iterator[tuple[str, str]]:
        """What lies below `prefix` and is no key, though it has the name of one, and what it is in words.

        Folders are among it if they are asked for: most have the names of no keys.
        """
        ...


def list_strange(store: object, prefix: str = "", *, folders: bool = False) -> Iterator[tuple[str, str]]:
    """`StrangeListing.list_strange`, of stores that can do it; of others nothing."""
    return store.list_strange(prefix, folders=folders) if has_trait(store, StrangeListing) else iter(())


@runtime_checkable
class HeldValues(Protocol):
    """A store in which a writer can hold a value that it relies on, for as long as one write takes."""

    def hold(self, key: str) -> AbstractContextManager[object]:
        """Let whoever replaces the value of `key` by a commit wait until this is left, for some seconds at most.

        A commit that counts already is waited for, or finished, before this returns.
        """
        ...


def hold(store: object, key: str) -> AbstractContextManager[object]:
    """`HeldValues.hold`, of stores that can do it."""
    return store.hold(key) if has_trait(store, HeldValues) else nullcontext()


def ask_all(store: Store, call: Callable[[A], R], things: Sequence[A]) -> list[R]:
    """The answers of a call to a store for each of some things: side by side where each is a request over a network."""
    return side_by_side(call, things, most=MOST if store.traits.is_remote else 1)
