"""Inner chunks of shards: read by themselves, from ranges of the shard's value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from zarrds.codecs.base import Buffer
from zarrds.codecs.sharding import Sharding
from zarrds.errors import ChunkError, locating
from zarrds.stores.base import Values

__all__ = ["InnerChunks"]

# indexes of shards that are kept at a time
_MAX_INDEXES = 64


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
        self._indexes: dict[str, npt.NDArray[np.uint64] | None] = {}

    def fetch(self, names: tuple[str, ...], buffer: memoryview) -> tuple[str, Buffer | None]:
        """The key of the shard and the bytes of the inner chunk whose numbers, counted through all shards, are `names`.

        The bytes are None where the chunk is absent.
        """
        numbers = [(int(name), size) for name, size in zip(names, self._sharding.grid, strict=True)]
        position = tuple(number // size for number, size in numbers)
        key = self._key_of(position)
        index = self._index(key)
        if index is None:
            self._check_absent(position, key)
            return key, None
        where = self._sharding.range_of(index, tuple(number % size for number, size in numbers))
        if where is None:
            return key, None
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
        return key, data

    def _index(self, key: str) -> npt.NDArray[np.uint64] | None:
        if key not in self._indexes:
            if len(self._indexes) >= _MAX_INDEXES:
                self._indexes.clear()
            data = self._store.get_range(key, *self._sharding.index_range)
            with locating(self._store.path, key):
                self._indexes[key] = None if data is None else self._sharding.decode_index(data).copy()
        return self._indexes[key]
