"""An array whose keys and chunks are checked, and as which it stands now, beside writers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import prod

from zarrds.checks.again import as_now
from zarrds.checks.report import finding_of
from zarrds.checks.tally import Tally
from zarrds.codecs.sharding import Sharding
from zarrds.engine.chunk_io import Chunks
from zarrds.errors import ZarrdsError
from zarrds.metadata.extension import marks_of
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.protocol import Buffer, Store
from zarrds.storage.traits import get_at_most

__all__ = ["CheckedArray", "array_now", "array_of", "is_inside", "positions"]


class _Counted:
    """The values of a store, whose bytes are counted as they are read."""

    def __init__(self, store: Store, count: Callable[[int], None]) -> None:
        self._store = store
        self._count = count
        self.path = store.path
        self.traits = store.traits

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        return self._counted(self._store.get(key, buffer))

    def get_at_most(self, key: str, limit: int, buffer: memoryview | None = None) -> Buffer | None:
        return self._counted(get_at_most(self._store, key, limit, buffer))

    def get_range(self, key: str, start: int, length: int, buffer: memoryview | None = None) -> Buffer | None:
        return self._counted(self._store.get_range(key, start, length, buffer))

    def _counted(self, value: Buffer | None) -> Buffer | None:
        self._count(0 if value is None else len(value))
        return value

    def set(self, key: str, *parts: Buffer, check: Callable[[], object] | None = None) -> None:
        self._store.set(key, *parts, check=check)

    def identity(self, key: str, *, settled: bool = False) -> Hashable | None:
        return self._store.identity(key, settled=settled)

    def lock(self, *keys: str) -> AbstractContextManager[object]:
        return self._store.lock(*keys)


@dataclass(slots=True)
class CheckedArray:
    """One array whose chunks are checked.

    Attributes
    ----------
    chunks : Chunks
    sharding : Sharding or None
    required : tuple of int
        How many chunks must be there along each dimension.
    n_stored, n_required : int
        Chunks in the grid that are stored, and those of them that must be.
    found : Tally
        What is wrong with its keys.
    """

    chunks: Chunks
    sharding: Sharding | None
    required: tuple[int, ...]
    n_stored: int = 0
    n_required: int = 0
    found: Tally = field(default_factory=Tally)
    grid: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.grid = self.chunks.metadata.chunk_grid

    def is_required(self, position: tuple[int, ...]) -> bool:
        """Whether the chunk at a position must be there."""
        return len(position) == len(self.required) and is_inside(position, self.required)

    def stored(self, store: Store) -> Iterator[tuple[int, ...]]:
        """The positions of all chunks that are stored."""
        if self.n_stored == prod(self.grid):
            yield from positions(self.grid)
        elif self.n_stored:
            for key in store.list_prefix(self.chunks.path):
                position = self.chunks.position_in_grid(key)
                if position is not None:
                    yield position


def positions(grid: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All positions of a grid of any size, one after the other."""
    # np.ndindex and itertools.product refuse, or keep, what is too large
    for number in range(prod(grid)):
        position = []
        for size in reversed(grid):
            number, index = divmod(number, size)
            position.append(index)
        yield tuple(reversed(position))


def is_inside(position: tuple[int, ...], grid: tuple[int, ...]) -> bool:
    """Whether a chunk's position is one of a grid."""
    return all(p < n for p, n in zip(position, grid, strict=True))


def array_of(store: Store, path: str, node: ArrayMetadata, tally: Tally) -> CheckedArray | None:
    """An array to check; None, and a finding, if zarrds does not have its codecs."""
    # a chunk that is deleted while this runs is no damage
    chunks = Chunks(_Counted(store, tally.add_bytes), path, node, missing_chunks="fill")
    try:
        sharding = chunks.shards
    except ZarrdsError as error:
        tally.add(path, "problems", finding_of(error, path))
        return None
    sizes = marks_of(node).complete
    required = (0,) * max(len(node.shape), 1)  # also of an array without dimensions, which has one chunk
    if sizes is not None:
        shape = tuple(map(min, sizes, node.shape))
        required = node.grid_of(shape)
    return CheckedArray(chunks, sharding, required)


def array_now(store: Store, array: CheckedArray, tally: Tally) -> CheckedArray | None:
    """The same object if its documents are as they were, None if there is no such array any more."""
    before = array.chunks.metadata
    now = as_now(store, array.chunks.path, before, before)
    if now == before:
        return array
    return array_of(store, array.chunks.path, now, tally) if isinstance(now, ArrayMetadata) else None
