"""Labels that lie in a store, decoded as they are read: in blocks, of which those that were used last are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import TypeAlias

import numpy as np

from zarrds.chunk_statistics.digests import is_checksummed
from zarrds.engine import executor
from zarrds.engine.elements import Elements
from zarrds.errors import ZarrdsError
from zarrds.labels.sorted.blocks import Blocks, KeptBlocks
from zarrds.labels.sorted.record import OrderRecord, StaleRecordError
from zarrds.labels.sorted.scan import Scan
from zarrds.labels.sorted.source import Array

__all__ = ["Decode", "Items", "StoredLabels"]

Decode: TypeAlias = Callable[[Array], Array]
# given the numbers of some blocks and their stored elements, one block behind the other
Look: TypeAlias = Callable[[Array, Array], None]

_KEPT_NBYTES = 16 * 1024 * 1024
# what one thread reads before it looks at it
_GROUP_NBYTES = 4 * 1024 * 1024
# labels that are decoded at a time
_PIECE = 1 << 20


class StoredLabels:
    """Labels that are read, not searched; the parameters and attributes are those of `SortedLabels`."""

    def __init__(
        self,
        elements: Elements,
        record: OrderRecord,
        decode: Decode | None,
        check: Callable[[], None],
        token: Hashable,
    ) -> None:
        self._arguments = elements, record, decode, check, token
        self._blocks = Blocks(elements, record.block)
        self._elements = elements
        self._record = record
        self._decode = decode
        self._check = check
        self._kept = KeptBlocks(_KEPT_NBYTES)
        self._changed: int | None = None  # a block that was read and is not as recorded
        self._lock = threading.Lock()
        self.size = self._blocks.size
        self.dtype = _decoded(np.concatenate([record.first, record.last]), decode).dtype
        self.token = token
        self.labels_read = 0

    @property
    def elements(self) -> Elements:
        """The stored array."""
        return self._elements

    def read(self, start: int, stop: int) -> Array:
        """The labels at ``[start, stop)``; of a record that is stale nothing is believed here."""
        if stop - start <= self._blocks.block:
            return self.take(np.arange(start, stop))
        try:
            stored = self._elements.read(slice(start, stop))
        except ZarrdsError:
            self._check()  # if a chunk was missing or could not be decoded, this may be why
            raise
        self._count(stop - start)
        self._check()
        stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        if self._decode is None:
            return self._labels(stored)
        labels = np.empty(stop - start, self.dtype)
        for i in range(0, stop - start, _PIECE):
            labels[i : i + _PIECE] = self._labels(stored[i : i + _PIECE])
        return labels

    def take(self, positions: Array) -> Array:
        """The labels at positions, in any order; of a record that is stale nothing is believed here.

        Raises
        ------
        IndexError
            If there is no such position; negative ones are none.
        """
        positions = np.asarray(positions, np.int64)
        if positions.size and not (positions.min() >= 0 and positions.max() < self.size):
            raise IndexError(f"positions must be at least 0 and less than {self.size}")
        labels = np.empty(positions.size, self.dtype)
        items = Items(np.arange(positions.size), positions // self._blocks.block)

        def look(numbers: Array, stored: Array) -> None:
            here, start = items.of(numbers)
            labels[here] = self._labels(stored[start * self._blocks.block + positions[here] % self._blocks.block])

        self._visit(np.unique(items.numbers), look, must_be_recorded=False)
        return labels

    def changed_among(self, numbers: Array) -> Array:
        """Those of some blocks that are not stored as they were when the record was made, by their digests."""
        changed: list[int] = []

        def look(i: int) -> None:
            if self._blocks.digest(i) != self._record.crc32c[i]:
                changed.append(i)

        elements, workers = self._elements, self._elements.n_workers
        if is_checksummed(elements.metadata):
            executor.run_small(numbers.tolist(), lambda: look, elements.store, workers)
        else:
            executor.run(numbers.tolist(), lambda: look, part_nbytes=self._blocks.nbytes, workers=workers)
        self._check()
        return np.array(sorted(changed), np.int64)

    def _labels(self, stored: Array) -> Array:
        labels = _decoded(stored, self._decode)
        return labels if labels.dtype == self.dtype else labels.astype(self.dtype)

    def _visit(self, numbers: Array, look: Look, *, must_be_recorded: bool) -> None:
        """Read the blocks of these numbers, which are sorted, in several threads, and have a look at some at a time."""
        block, nbytes = self._blocks.block, self._blocks.nbytes
        n = max(1, min(_GROUP_NBYTES // nbytes, len(numbers) // 4))
        is_kept = len(numbers) * nbytes <= _KEPT_NBYTES // 2
        n_read_before = self.labels_read

        def make_worker() -> Callable[[Array], None]:
            read = self._blocks.reader(n, self._kept.get)

            def work(group: Array) -> None:
                stored, digests = read(group.tolist())
                stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
                fresh = [(at, digest) for at, digest in enumerate(digests) if digest is not None]
                for at, digest in fresh:
                    elements = stored[at * block : (at + 1) * block]
                    if self._is_recorded(int(group[at]), elements, digest):
                        if is_kept:
                            self._kept.put(int(group[at]), elements.copy())
                    elif must_be_recorded:
                        raise self._stale(int(group[at]))
                    else:
                        self._changed = int(group[at])
                self._count(len(fresh) * block)
                look(group, stored)

            return work

        groups = [numbers[i : i + n] for i in range(0, len(numbers), n)]
        try:
            executor.run(groups, make_worker, part_nbytes=n * nbytes, workers=self._elements.n_workers)
        except ZarrdsError:
            self._check()
            raise
        if self.labels_read != n_read_before:
            self._check()

    def _is_recorded(self, i: int, elements: Array, digest: int) -> bool:
        """Whether what the record says of block `i` is true of what was read."""
        record = self._record
        if digest == record.crc32c[i]:
            return True
        if elements.size == record.block or i != len(self._blocks) - 1:
            return False
        # others append to the last block after the array was opened: its elements prove themselves
        scan = Scan()
        scan.look(elements)
        is_same = bool(elements[0] == record.first[i] and elements[-1] == record.last[i])
        return is_same and scan.order == record.order and (scan.unique or not record.unique)

    def _stale(self, i: int) -> StaleRecordError:
        elements = self._elements
        return StaleRecordError(
            "the labels were changed after the record of their order was made",
            path=elements.store.path,
            key=elements.path or "/",
            expected=f"elements {i * self._blocks.block} to {min((i + 1) * self._blocks.block, self.size)} as recorded",
            mend="Make the record anew with zarrds.index",
        )

    def _count(self, n: int) -> None:
        with self._lock:
            self.labels_read += n

    def __repr__(self) -> str:
        return f"<zarrds.{type(self).__name__} of {self._elements.path or '/'!r} in {self._elements.store.path!r}>"


class Items:
    """Things to be done, each with one block; given their indices and, for each index there is, a block's number."""

    def __init__(self, indices: Array, number_of: Array) -> None:
        order = np.argsort(number_of[indices], kind="stable")
        self._indices = indices[order]
        self.numbers = number_of[self._indices]

    def of(self, numbers: Array) -> tuple[Array, Array]:
        """The indices of what to do with some blocks, neighbours among all, and which of these each needs."""
        some = slice(*np.searchsorted(self.numbers, (numbers[0], numbers[-1] + 1)))
        return self._indices[some], np.searchsorted(numbers, self.numbers[some])


def _decoded(stored: Array, decode: Decode | None) -> Array:
    labels = stored if decode is None else decode(stored)
    return labels.astype(object) if labels.dtype.kind == "U" else labels
