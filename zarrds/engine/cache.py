"""Decoded chunks that are kept in memory, up to a limit."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Any, TypeAlias
from weakref import WeakSet, WeakValueDictionary

from zarrds.codecs.base import AnyArray
from zarrds.errors import EncodingError
from zarrds.storage.protocol import Values

# a chunk, if it is there, and whether it should be kept
Found: TypeAlias = tuple[AnyArray | None, bool]

__all__ = ["LRU", "ArrayToken", "CachedChunks", "ChunkCache", "cache_of", "token_of"]

# of the cache that all share who ask for none of their own; as netCDF4 has for each of its variables
_SHARED_NBYTES = 64 * 2**20
# bytes that an entry takes beside its elements, roughly: many small chunks are not to pass for nothing
_ENTRY_NBYTES = 512


class ArrayToken:
    """What one array's chunks are found by: itself, and nothing that would have to be compared chunk by chunk."""

    __slots__ = ("__weakref__",)


_tokens: WeakValueDictionary[Hashable, ArrayToken] = WeakValueDictionary()


def token_of(store: Values, meaning: Hashable) -> ArrayToken:
    """The token of an array, one for all that give the same chunks: who opens it again finds what is kept of it.

    Parameters
    ----------
    store : Values
    meaning : hashable
        What tells the array's decoded chunks from all others of the store.
    """
    # a store in memory must not be kept by what is cached of it; its path is one that no other has
    key = store.path if store.traits.in_memory else store, meaning
    return _tokens.setdefault(key, ArrayToken())


class LRU:
    """What was used last, as much of it as a number of bytes allows. For one thread at a time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.nbytes = 0
        self.entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable) -> Any:
        """The value, None if it is not here."""
        found = self.entries.get(key)
        if found is None:
            return None
        self.entries.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: Any, nbytes: int) -> None:
        """Keep a value, which counts as so many bytes, and let go of those that were not used for the longest time."""
        self.nbytes += nbytes - self.entries.pop(key, (None, 0))[1]
        self.entries[key] = value, nbytes
        while self.entries and self.nbytes > self.limit:
            self.nbytes -= self.entries.popitem(last=False)[1][1]


class ChunkCache:
    """Decoded chunks of which parts were wanted, those that were used last.

    A chunk is kept with the identity that its value had in the store, and is not found by any other: one that was
    written anew is read anew. The cache notes which chunks were wanted: those of which a small part can be decoded by
    itself are kept only when they are wanted again, so that who never reads the same chunk twice pays nothing for it.
    Any number of threads may use a cache. It pickles as an empty one, and the cache that all share as that of the other
    process.

    Parameters
    ----------
    limit : int
        Bytes that the chunks may take together, decoded.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept = LRU(limit)  # identities and chunks
        self._noted = LRU(limit)  # identities, counted as if they were chunks
        self._lock = threading.Lock()
        _all.add(self)

    def __reduce__(self) -> tuple[object, ...]:
        return cache_of, (None if self is _shared else self.limit,)

    @property
    def nbytes(self) -> int:
        """Bytes of all chunks that are kept, with what it takes to keep them."""
        return self._kept.nbytes

    def __len__(self) -> int:
        return len(self._kept.entries)

    def admits(self, n_chunks: int, nbytes: int) -> bool:
        """Whether a read that touches so many chunks, of so many bytes each, is to use the cache.

        A longer one would put out what is there, and its own first chunks before it ends.
        """
        return n_chunks * (nbytes + _ENTRY_NBYTES) <= self.limit

    def find(self, keys: Iterable[Hashable], identities: Iterable[Hashable | None], nbytes: int) -> list[Found]:
        """Look for chunks.

        Parameters
        ----------
        keys : iterable of hashable
        identities : iterable of hashable or None
            Of the values that they are made of; None for a value that says nothing.
        nbytes : int
            Of a chunk, decoded.

        Returns
        -------
        list of (ndarray or None, bool)
            For each the chunk, which is not to be changed, None if it is not here; and whether it was looked for
            before, so that it should be kept.
        """
        found: list[Found] = []
        with self._lock:
            for key, identity in zip(keys, identities, strict=True):
                if identity is None:
                    found.append((None, False))
                    continue
                entry = self._kept.get(key)
                if entry is not None and entry[0] == identity:
                    found.append((entry[1], False))
                elif self._noted.get(key) == identity:
                    found.append((None, True))
                else:
                    self._noted.put(key, identity, nbytes + _ENTRY_NBYTES)
                    found.append((None, False))
        return found

    def put(self, key: Hashable, identity: Hashable, chunk: AnyArray) -> None:
        """Keep a chunk that nobody will change, and let go of those that were not used for the longest time."""
        chunk.flags.writeable = False
        with self._lock:
            self._kept.put(key, (identity, chunk), chunk.nbytes + _ENTRY_NBYTES)

    def clear(self) -> None:
        """Let go of all chunks."""
        with self._lock:
            self._kept, self._noted = LRU(self.limit), LRU(self.limit)

    def _forked(self) -> None:
        # another thread of the parent may have held the lock, half-way through a change
        self._lock = threading.Lock()
        self.clear()


class CachedChunks:
    """One array's chunks in a cache.

    Parameters
    ----------
    cache : ChunkCache
    store : Values
    token : ArrayToken
    nbytes : int
        Of a decoded chunk.
    """

    __slots__ = ("_cache", "_identity", "_nbytes", "_token")

    def __init__(self, cache: ChunkCache, store: Values, token: ArrayToken, nbytes: int) -> None:
        self._cache = cache
        self._identity = store.identity
        self._token = token
        self._nbytes = nbytes

    def identity(self, key: str) -> Hashable | None:
        """The identity that the value of `key` has now, None where it says nothing."""
        return self._identity(key, settled=True)

    def find(self, positions: Iterable[tuple[int, ...]], identities: Iterable[Hashable | None]) -> list[Found]:
        """`ChunkCache.find` of the chunks at these positions, made of values of these identities."""
        return self._cache.find(((self._token, position) for position in positions), identities, self._nbytes)

    def is_still(self, key: str, identity: Hashable) -> bool:
        """Whether the value of `key` has that identity: if so after it was read, then that is what was read."""
        return self._identity(key) == identity

    def keep(self, position: tuple[int, ...], identity: Hashable, chunk: AnyArray) -> None:
        """Keep a chunk that was decoded from the value that has that identity."""
        self._cache.put((self._token, position), identity, chunk)


_all: WeakSet[ChunkCache] = WeakSet()
_shared = ChunkCache(_SHARED_NBYTES)


def _forget() -> None:
    for cache in list(_all):
        cache._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def cache_of(nbytes: int | None) -> ChunkCache:
    """A new cache of so many bytes, or for None that of the process, which is shared by all who ask for no other.

    Raises
    ------
    EncodingError
        If that is no number of bytes.
    """
    if nbytes is None:
        return _shared
    if type(nbytes) is not int or nbytes < 0:
        raise EncodingError(
            "chunk_cache must be a number of bytes", expected="an integer, 0 for no cache", found=nbytes
        )
    return ChunkCache(nbytes)
