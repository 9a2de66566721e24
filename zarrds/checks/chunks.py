"""The keys of a store: does each belong there, is every chunk there that must be, and can each be read.

Keys are listed and not kept, and chunks are read in threads, each with buffers for one chunk; so memory does not grow
with the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import prod

import numpy as np

from zarrds.checks.again import LOOKS, as_now, held
from zarrds.checks.documents import document_names
from zarrds.checks.report import Finding, Severity, finding_of
from zarrds.checks.tally import MAX_LISTED, Tally
from zarrds.chunk_statistics.record import statistics_path
from zarrds.codecs.sharding import Sharding
from zarrds.engine import executor
from zarrds.engine.chunk_io import Chunks
from zarrds.engine.executor import Worker
from zarrds.engine.plans import Part
from zarrds.engine.progress import ProgressOption, progress_bar
from zarrds.errors import InvalidKeyError, StoreIOError, ZarrdsError
from zarrds.metadata.belonging import others
from zarrds.metadata.extension import marks_of
from zarrds.metadata.model import ArrayMetadata, Node, ZarrFormat
from zarrds.storage.protocol import Buffer, Store
from zarrds.storage.traits import get_at_most, list_strange

__all__ = ["check_keys"]

_MISSING = (
    "a chunk is missing that was written. Restore it from a copy of the store, or write that part of the array again. "
    "If another library removed it because it held nothing but the fill value, open with missing_chunks='fill'"
)


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
class _Array:
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

    def position(self, key: str) -> tuple[int, ...] | None:
        """The position of the chunk whose key this is, to the letter; it may lie outside of the grid."""
        if not self.grid:
            return () if key == self.chunks.key(()) else None
        try:
            position = self.chunks.position(key)
        except ValueError:  # more digits than Python takes for a number
            return None
        return position if position is not None and self.chunks.key(position) == key else None

    def stored(self, store: Store) -> Iterator[tuple[int, ...]]:
        """The positions of all chunks that are stored."""
        if self.n_stored == prod(self.grid):
            yield from _positions(self.grid)
        elif self.n_stored:
            for key in store.list_prefix(self.chunks.path):
                position = self.position(key)
                if position is not None and _is_inside(position, self.grid):
                    yield position


def _positions(grid: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All positions of a grid of any size, one after the other."""
    # np.ndindex and itertools.product refuse, or keep, what is too large
    for number in range(prod(grid)):
        position = []
        for size in reversed(grid):
            number, index = divmod(number, size)
            position.append(index)
        yield tuple(reversed(position))


def _is_inside(position: tuple[int, ...], grid: tuple[int, ...]) -> bool:
    return all(p < n for p, n in zip(position, grid, strict=True))


def check_keys(
    store: Store,
    nodes: Mapping[str, Node | None],
    zarr_format: ZarrFormat,
    tally: Tally,
    *,
    progress: ProgressOption,
    n_workers: int | None,
) -> None:
    """Look at every key and read every chunk of a store.

    Parameters
    ----------
    store : Store
    nodes : mapping of str to (Node or None)
        By path, None for those that cannot be read: nothing is said of what is below them.
    zarr_format : {2, 3}
    tally : Tally
        Gets what is found.
    progress : bool or callable
    n_workers : int, optional
    """
    arrays = dict(_arrays(store, nodes, tally))
    _sort_keys(store, nodes, zarr_format, arrays, tally)
    _sort_strange(store, nodes, arrays, tally)
    settled = [one for one in (_settled(store, array, zarr_format, tally) for array in arrays.values()) if one]
    tally.n_chunks += sum(array.n_stored for array in settled)
    plan = _Plan(store, settled)
    largest = max((a.chunks.nbytes_of(a.chunks.metadata.chunks) for a in settled), default=1)
    with progress_bar(len(plan), "verify", enabled=progress) as advance:
        executor.run(
            plan, lambda: _checker(store, zarr_format, tally), part_nbytes=largest, workers=n_workers, progress=advance
        )


def _arrays(store: Store, nodes: Mapping[str, Node | None], tally: Tally) -> Iterator[tuple[str, _Array]]:
    """The arrays whose codecs zarrds has."""
    for path, node in nodes.items():
        if not isinstance(node, ArrayMetadata):
            continue
        if _leads_out(store, path):
            continue  # that is a finding of its document
        array = _array_of(store, path, node, tally)
        if array is not None:
            yield path, array


def _array_of(store: Store, path: str, node: ArrayMetadata, tally: Tally) -> _Array | None:
    # a chunk that is deleted while this runs is no damage
    chunks = Chunks(_Counted(store, tally.add_bytes), path, node, missing_chunks="fill")
    try:
        sharding = chunks.pipeline.shards
    except ZarrdsError as error:
        tally.add(path, "problems", finding_of(error, path))
        return None
    sizes = marks_of(node).complete
    required = (0,) * max(len(node.shape), 1)  # also of an array without dimensions, which has one chunk
    if sizes is not None:
        shape = tuple(map(min, sizes, node.shape))
        required = tuple(-(-size // chunk) for size, chunk in zip(shape, node.chunks, strict=True))
    return _Array(chunks, sharding, required)


def _settled(store: Store, array: _Array, zarr_format: ZarrFormat, tally: Tally) -> _Array | None:
    """The array as its keys fit it best, if others write to it meanwhile; None if it is gone."""
    path = array.chunks.path
    for look in range(LOOKS + 1):
        with held(store, look):
            if look:
                now = _as_now(store, array, zarr_format, tally)
                if now is array:
                    break
                if now is None:
                    return None
                array = now
                for key in store.list_prefix(path):
                    name = key[len(path) + 1 :] if path else key
                    is_ours = name in document_names(array.chunks.metadata, zarr_format)
                    if not is_ours and not key.startswith(f"{statistics_path(path)}/"):
                        _count_chunk(key, path, array)
            _find_missing(store, path, array)
        if not array.found.findings:
            break
    tally.merge(array.found)
    return array


def _as_now(store: Store, array: _Array, zarr_format: ZarrFormat, tally: Tally) -> _Array | None:
    """The same object if its documents are as they were, None if there is no such array any more."""
    before = array.chunks.metadata
    now = as_now(store, array.chunks.path, zarr_format, before)
    if now == before:
        return array
    return _array_of(store, array.chunks.path, now, tally) if isinstance(now, ArrayMetadata) else None


def _leads_out(store: Store, path: str) -> bool:
    """Whether the folder of a node is a symbolic link that leads out of the store."""
    try:
        store.identity(f"{path}/any" if path else "any")
    except InvalidKeyError:
        return True
    return False


def _owner_of(key: str, nodes: Mapping[str, Node | None]) -> str:
    """The path of the innermost node that a key lies below; the root is always there."""
    owner = key.rpartition("/")[0]
    while owner not in nodes:
        owner = owner.rpartition("/")[0]
    return owner


def _sort_keys(
    store: Store,
    nodes: Mapping[str, Node | None],
    zarr_format: ZarrFormat,
    arrays: Mapping[str, _Array],
    tally: Tally,
) -> None:
    """Count the chunks of each array, and report what belongs to nobody."""
    documents = {path: document_names(node, zarr_format) for path, node in nodes.items()}
    folders: Counter[str] = Counter()
    for key in store.list_prefix():
        owner = _owner_of(key, nodes)
        name = key[len(owner) + 1 :] if owner else key
        if name in documents[owner] or nodes[owner] is None or key.startswith(f"{statistics_path(owner)}/"):
            continue
        if isinstance(nodes[owner], ArrayMetadata):
            if owner in arrays:
                _count_chunk(key, owner, arrays[owner])
        elif "/" in name:
            folders[key[: len(key) - len(name)] + name.partition("/")[0]] += 1
        else:
            problem = "a stray file: no document of the group, and below no array"
            tally.add(owner, "stray files", Finding("warning", key, problem))
    for folder, n in folders.items():
        if as_now(store, folder, zarr_format, None) is not None:
            continue  # somebody has made it meanwhile
        owner = folder.rpartition("/")[0]
        problem = f"a folder that holds keys ({n}) but is neither group nor array"
        tally.add(owner, "folders that are no groups or arrays", Finding("warning", folder, problem))


def _sort_strange(store: Store, nodes: Mapping[str, Node | None], arrays: Mapping[str, _Array], tally: Tally) -> None:
    """Report what lies where keys do and is none: readers refuse it, or pass over it."""
    for key, what in list_strange(store):
        owner = _owner_of(key, nodes)
        array = arrays.get(owner)
        position = None if array is None else array.position(key)
        is_required = array is not None and position is not None and _is_inside(position, array.required)
        if key in nodes or is_required:
            continue  # a finding of the document, or of the chunk
        severity: Severity = "warning" if any(others([key])) else "error"
        problem = f"{what}, and no file: nothing of it is read. Remove it, or put a copy of the file in its place"
        tally.add(owner, "things that are no files", Finding(severity, key, problem))


def _count_chunk(key: str, path: str, array: _Array) -> None:
    position = array.position(key)
    if position is None:
        problem = "a stray file: neither document nor chunk of the array"
        array.found.add(path, "stray files", Finding("warning", key, problem))
    elif not _is_inside(position, array.grid):
        problem = f"a chunk outside of the array, which has {array.grid} chunks; it comes back if the array grows"
        array.found.add(path, "chunks outside of the array", Finding("warning", key, problem))
    else:
        array.n_stored += 1
        array.n_required += len(position) == len(array.required) and _is_inside(position, array.required)


def _find_missing(store: Store, path: str, array: _Array) -> None:
    n_missing = prod(array.required) - array.n_required
    array.found.n_absent = prod(array.grid) - array.n_stored - n_missing
    n_listed = 0
    for position in _positions(array.required):
        if n_listed == min(n_missing, MAX_LISTED):
            break
        key = array.chunks.key(position)
        try:
            if store.identity(key) is not None:
                continue
            get_at_most(store, key, 0)
            finding = Finding("error", key, _MISSING)
        except (InvalidKeyError, StoreIOError) as error:  # a link out of the store, a pipe
            finding = finding_of(error, key)
        n_listed += 1
        array.found.add(path, "missing chunks", finding)
    if n_missing > n_listed == MAX_LISTED:
        array.found.add_more(path, "missing chunks", "error", n_missing - n_listed)


class _Plan:
    """All stored chunks of some arrays; `Part.out` is the array."""

    def __init__(self, store: Store, arrays: Sequence[_Array]) -> None:
        self._store = store
        self._arrays = arrays

    def __len__(self) -> int:
        return sum(array.n_stored for array in self._arrays)

    def __iter__(self) -> Iterator[Part]:
        for array in self._arrays:
            for position in array.stored(self._store):
                yield Part(position, array, ..., True)


def _checker(store: Store, zarr_format: ZarrFormat, tally: Tally) -> Worker:
    """A function that checks one chunk or shard."""
    current: _Array | None = None
    read: Worker | None = None

    def check(part: Part) -> None:
        nonlocal current, read
        array: _Array = part.out
        if array is not current:
            current, read = array, None  # the buffers of the array before go first
            read = _reader(array, tally)
        if read is None:
            return
        found = Tally()
        _check_chunk(store, array, part.position, read, found)
        for _ in range(LOOKS):
            now = _as_now(store, array, zarr_format, tally) if found.findings else array
            if now is array:
                break
            array, found = now or array, Tally()
            again = _reader(now, tally) if now is not None and _is_inside(part.position, now.grid) else None
            if now is None or again is None:
                break
            _check_chunk(store, now, part.position, again, found)
        tally.merge(found)

    return check


def _reader(array: _Array, tally: Tally) -> Worker | None:
    """A function that reads one chunk of an array, and forgets what is in it."""
    chunks = array.chunks
    try:
        return chunks.reader(np.empty(chunks.readable, chunks.metadata.data_type.dtype), is_basic=True)
    except (MemoryError, ValueError):
        problem = f"its chunks of {chunks.nbytes_of(chunks.readable)} bytes do not fit in memory, and were not read"
        tally.add(chunks.path, "problems", Finding("error", chunks.path or "/", problem))
        return None


def _check_chunk(store: Store, array: _Array, position: tuple[int, ...], read: Worker, tally: Tally) -> None:
    path, sharding = array.chunks.path, array.sharding
    key = array.chunks.key(position)
    if sharding is None:
        try:
            read(Part(position, ..., ..., True))
        except ZarrdsError as error:
            tally.add(path, "chunks that cannot be read", finding_of(error, key))
        return
    for inner in _positions(sharding.grid):
        counted = tuple(
            shard * size + number for shard, size, number in zip(position, sharding.grid, inner, strict=True)
        )
        try:
            read(Part(counted, ..., ..., True))
        except ZarrdsError as error:
            problem = _index_problem(store, sharding, key)
            if problem is not None:  # it is the same for all
                tally.add(path, "chunks that cannot be read", finding_of(problem, key, "index of the shard: "))
                return
            finding = finding_of(error, key, f"inner chunk {inner} of the shard: ")
            tally.add(path, "chunks that cannot be read", finding)


def _index_problem(store: Store, sharding: Sharding, key: str) -> ZarrdsError | None:
    try:
        data = store.get_range(key, *sharding.index_range)
        if data is not None:
            sharding.decode_index(data)
    except ZarrdsError as error:
        return error
    return None
