"""The keys of a store: does each belong there, is every chunk there that must be, and can each be read.

Keys are listed and not kept, and chunks are read in threads, each with buffers for one chunk; so memory does not grow
with the store.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import prod

import numpy as np

from zarrds.checks.documents import document_names
from zarrds.checks.report import Finding, Severity, finding_of
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

__all__ = ["Tally", "check_keys"]

# findings of one sort that are listed of one array or group; of more, only the number is told
_MAX_LISTED = 1000
_MISSING = (
    "a chunk is missing that was written. Restore it from a copy of the store, or write that part of the array again. "
    "If another library removed it because it held nothing but the fill value, open with missing_chunks='fill'"
)


class Tally:
    """What was found and counted; any thread may add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listed: list[Finding] = []
        self._sorts: Counter[tuple[str, str, Severity]] = Counter()
        self.n_bytes = 0
        self.n_chunks = 0
        self.n_absent = 0

    def add(self, path: str, sort: str, finding: Finding) -> None:
        """Add a finding about the node at `path`; of a sort that has many, it is only counted."""
        place = (path, sort, finding.severity)
        with self._lock:
            if self._sorts[place] < _MAX_LISTED:
                self._listed.append(finding)
            self._sorts[place] += 1

    def add_more(self, path: str, sort: str, severity: Severity, n: int) -> None:
        """Count findings, of which enough are listed already."""
        with self._lock:
            self._sorts[path, sort, severity] += n

    def add_bytes(self, n: int) -> None:
        """Count bytes that were read."""
        with self._lock:
            self.n_bytes += n

    @property
    def findings(self) -> list[Finding]:
        """All findings; of each sort, what was only counted is one more."""
        return self._listed + [
            Finding(severity, path or "/", f"{n - _MAX_LISTED} more {sort}")
            for (path, sort, severity), n in self._sorts.items()
            if n > _MAX_LISTED
        ]


class _Counted:
    """The values of a store, whose bytes are counted as they are read."""

    def __init__(self, store: Store, count: Callable[[int], None]) -> None:
        self._store = store
        self._count = count
        self.path = store.path
        self.in_memory = store.in_memory
        self.locks_processes = store.locks_processes
        self.concurrency = store.concurrency

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
    """

    chunks: Chunks
    sharding: Sharding | None
    required: tuple[int, ...]
    n_stored: int = 0
    n_required: int = 0
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
    for path, array in arrays.items():
        _find_missing(store, path, array, tally)
        tally.n_chunks += array.n_stored
    plan = _Plan(store, list(arrays.values()))
    largest = max((a.chunks.nbytes_of(a.chunks.metadata.chunks) for a in arrays.values()), default=1)
    with progress_bar(len(plan), "verify", enabled=progress) as advance:
        executor.run(plan, lambda: _checker(store, tally), part_nbytes=largest, workers=n_workers, progress=advance)


def _arrays(store: Store, nodes: Mapping[str, Node | None], tally: Tally) -> Iterator[tuple[str, _Array]]:
    """The arrays whose codecs zarrds has."""
    for path, node in nodes.items():
        if not isinstance(node, ArrayMetadata):
            continue
        if _leads_out(store, path):
            continue  # that is a finding of its document
        # a chunk that is deleted while this runs is no damage
        chunks = Chunks(_Counted(store, tally.add_bytes), path, node, missing_chunks="fill")
        try:
            sharding = chunks.pipeline.shards
        except ZarrdsError as error:
            tally.add(path, "problems", finding_of(error, path))
            continue
        sizes = marks_of(node).complete
        required = (0,) * max(len(node.shape), 1)  # also of an array without dimensions, which has one chunk
        if sizes is not None:
            shape = tuple(map(min, sizes, node.shape))
            required = tuple(-(-size // chunk) for size, chunk in zip(shape, node.chunks, strict=True))
        yield path, _Array(chunks, sharding, required)


def _leads_out(store: Store, path: str) -> bool:
    """Whether the folder of a node is a symbolic link that leads out of the store."""
    try:
        store.identity(f"{path}/any" if path else "any")
    except InvalidKeyError:
        return True
    return False


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
        owner = key.rpartition("/")[0]
        while owner not in nodes:
            owner = owner.rpartition("/")[0]
        name = key[len(owner) + 1 :] if owner else key
        if name in documents[owner] or nodes[owner] is None or key.startswith(f"{statistics_path(owner)}/"):
            continue
        if isinstance(nodes[owner], ArrayMetadata):
            if owner in arrays:
                _count_chunk(key, owner, arrays[owner], tally)
        elif "/" in name:
            folders[key[: len(key) - len(name)] + name.partition("/")[0]] += 1
        else:
            problem = "a stray file: no document of the group, and below no array"
            tally.add(owner, "stray files", Finding("warning", key, problem))
    for folder, n in folders.items():
        owner = folder.rpartition("/")[0]
        problem = f"a folder that holds keys ({n}) but is neither group nor array"
        tally.add(owner, "folders that are no groups or arrays", Finding("warning", folder, problem))


def _sort_strange(store: Store, nodes: Mapping[str, Node | None], arrays: Mapping[str, _Array], tally: Tally) -> None:
    """Report what lies where keys do and is none: readers refuse it, or pass over it."""
    for key, what in list_strange(store):
        owner = key.rpartition("/")[0]
        while owner not in nodes:
            owner = owner.rpartition("/")[0]
        array = arrays.get(owner)
        position = None if array is None else array.position(key)
        is_required = array is not None and position is not None and _is_inside(position, array.required)
        if key in nodes or is_required:
            continue  # a finding of the document, or of the chunk
        severity: Severity = "warning" if any(others([key])) else "error"
        problem = f"{what}, and no file: nothing of it is read. Remove it, or put a copy of the file in its place"
        tally.add(owner, "things that are no files", Finding(severity, key, problem))


def _count_chunk(key: str, path: str, array: _Array, tally: Tally) -> None:
    position = array.position(key)
    if position is None:
        problem = "a stray file: neither document nor chunk of the array"
        tally.add(path, "stray files", Finding("warning", key, problem))
    elif not _is_inside(position, array.grid):
        problem = f"a chunk outside of the array, which has {array.grid} chunks; it comes back if the array grows"
        tally.add(path, "chunks outside of the array", Finding("warning", key, problem))
    else:
        array.n_stored += 1
        array.n_required += len(position) == len(array.required) and _is_inside(position, array.required)


def _find_missing(store: Store, path: str, array: _Array, tally: Tally) -> None:
    n_missing = prod(array.required) - array.n_required
    tally.n_absent += prod(array.grid) - array.n_stored - n_missing
    n_listed = 0
    for position in _positions(array.required):
        if n_listed == min(n_missing, _MAX_LISTED):
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
        tally.add(path, "missing chunks", finding)
    if n_missing > n_listed == _MAX_LISTED:
        tally.add_more(path, "missing chunks", "error", n_missing - n_listed)


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


def _checker(store: Store, tally: Tally) -> Worker:
    """A function that checks one chunk or shard."""
    current: _Array | None = None
    read: Worker | None = None

    def check(part: Part) -> None:
        nonlocal current, read
        array: _Array = part.out
        if array is not current:
            current, read = array, None  # the buffers of the array before go first
            read = _reader(array, tally)
        if read is not None:
            _check_chunk(store, array, part.position, read, tally)

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
