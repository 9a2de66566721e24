"""Inner chunks of shards: read by themselves, from ranges of the shard's value."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from zarrds.codecs.base import Buffer
from zarrds.codecs.sharding import Sharding
from zarrds.engine.cache import LRU
from zarrds.errors import ChunkError, locating
from zarrds.storage.protocol import Values

__all__ = ["InnerChunks"]

# bytes of shards' indexes that are kept at a time
_INDEXES_NBYTES = 16 * 2**20


class InnerChunks:
    """Finds the bytes of inner chunks. For one thread: it keeps the indexes of the shards that it has seen.

    Parameters
    ----------
    store : Values
    key_of : callable
        The key of the shard at a position in the chunk grid.
    sharding : Sharding
    check_absent : callable
        Called with the position and the key of a shard that is absent; raises if it must not be. An inner chunk that a
        shard does not have is no loss: the shard's index says so.

    Attributes
    ----------
    grid : tuple of int
        How many inner chunks a shard has along each dimension.
    """

    def __init__(
        self,
        store: Values,
        key_of: Callable[[tuple[int, ...]], str],
        sharding: Sharding,
        check_absent: Callable[[tuple[int, ...], str], None],
    ) -> None:
        self._store = store
        self._key_of = key_of
        self._sharding = sharding
        self._check_absent = check_absent
        self.grid = sharding.grid
        self._indexes = LRU(max(_INDEXES_NBYTES, sharding.index_nbytes))

    def key_of_position(self, position: tuple[int, ...]) -> str:
        """The key of the shard that holds the inner chunk at `position`, which is counted through all shards."""
        return self._key_of(self._shard(position))

    def _shard(self, position: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(number // size for number, size in zip(position, self.grid, strict=True))

    def fetch(self, position: tuple[int, ...], key: str, buffer: memoryview, identity: Hashable) -> Buffer | None:
        """The bytes of an inner chunk of the shard with that key, None where the chunk is absent.

        An index that was read when the shard had another identity does not count.
        """
        index = self.index(key, identity)
        if index is None:
            self._check_absent(self._shard(position), key)
            return None
        inside = tuple(number % size for number, size in zip(position, self.grid, strict=True))
        where = self._sharding.range_of(index, inside)
        if where is None:
            return None
        offset, length = where
        # forged numbers must not reach the store: files end below this
        data = self._store.get_range(key, offset, length, buffer) if offset + length < 2**63 else None
        if data is None or len(data) != length:
            raise ChunkError(
                "an inner chunk lies outside of its shard",
                path=self._store.path,
                key=key,
                codec="sharding_indexed",
                found=where,
            )
        return data

    def index_at(self, position: tuple[int, ...]) -> npt.NDArray[np.uint64] | None:
        """The index of the shard at a position in the grid; None if there is no such shard, or it is damaged."""
        with suppress(ChunkError):
            return self.index(self._key_of(position), None)
        return None

    def index(self, key: str, identity: Hashable) -> npt.NDArray[np.uint64] | None:
        """The index of the shard with that key; None if there is no such shard."""
        found = self._indexes.get((key, identity))
        if found is None:
            data = self._store.get_range(key, *self._sharding.index_range)
            if data is None:
                return None
            with locating(self._store.path, key):
                found = self._sharding.decode_index(data).copy()
            self._indexes.put((key, identity), found, found.nbytes)
        index: npt.NDArray[np.uint64] = found
        return index
