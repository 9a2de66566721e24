"""Which records of a sorted genome overlap a region, from what is known of each block of them.

Pure: nothing but NumPy. A block is a stretch of neighbouring records of one contig. Blocks whose records must all
overlap are answered without a look at them, those that might have some are read, all others are left alone. A record
that begins long before the region and reaches into it is found by its block's maximum end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from zarrds.errors import LabelError

__all__ = ["RecordBlocks", "find_overlapping", "indexer_of", "merged", "not_sorted", "runs_among"]

Array: TypeAlias = "np.ndarray[Any, Any]"
# positions and ends of the records at [start, stop), as int64
ReadRecords: TypeAlias = Callable[[int, int], tuple[Array, Array]]

# records that are read at once at most
_MAX_READ = 2**18
_NOTHING = np.empty((0, 2), np.int64)
_NOTHING.flags.writeable = False
_HALF_OPEN = np.array([0, 1])


@dataclass(frozen=True, slots=True, eq=False)
class RecordBlocks:
    """What is known of each block of records; arrays of int64.

    Attributes
    ----------
    bounds : ndarray
        Block i is the records at ``[bounds[i], bounds[i + 1])``; one element more than there are blocks.
    contig : ndarray
        Codes.
    first, last : ndarray
        The positions of the first and the last record.
    max_end : ndarray
        The largest end.
    of_contig : dict
        Contig code -> its blocks ``(start, stop)``; in the order of the records.
    reach : ndarray
        The largest end of this block or of an earlier one of its contig.

    Raises
    ------
    LabelError
        If a contig's records are not all together, or not sorted by position.
    """

    bounds: Array
    contig: Array
    first: Array
    last: Array
    max_end: Array
    of_contig: dict[int, tuple[int, int]] = field(init=False)
    reach: Array = field(init=False)

    def __post_init__(self) -> None:
        edges = np.concatenate([[0], np.flatnonzero(np.diff(self.contig)) + 1, [len(self.contig)]])
        edges = edges if self.size else edges[:1]
        begins, stops = edges[:-1], edges[1:]
        codes = self.contig[begins]
        order = np.argsort(codes, kind="stable")
        again = order[1:][codes[order[1:]] == codes[order[:-1]]]
        if again.size:
            raise not_sorted("a contig's records in one stretch", int(self.bounds[begins[again.min()]]))
        is_begin = np.zeros(len(self.contig), bool)
        is_begin[begins] = True
        back = np.flatnonzero((self.first[1:] < self.last[:-1]) & ~is_begin[1:])
        if back.size:
            raise not_sorted("positions that do not fall", int(self.bounds[1 + back[0]]))
        reach = self.max_end.copy()
        for start, stop in zip(*(edge[stops - begins > 1].tolist() for edge in (begins, stops)), strict=True):
            np.maximum.accumulate(reach[start:stop], out=reach[start:stop])
        of_contig = dict(zip(codes.tolist(), zip(begins.tolist(), stops.tolist(), strict=True), strict=True))
        object.__setattr__(self, "of_contig", of_contig)
        object.__setattr__(self, "reach", reach)

    @property
    def size(self) -> int:
        """How many records there are."""
        return int(self.bounds[-1])

    def run_of(self, contig: int) -> Array:
        """The records of a contig, as a run of shape (1, 2), or (0, 2) if it has none."""
        if contig not in self.of_contig:
            return _NOTHING
        start, stop = self.of_contig[contig]
        return self.bounds[[start, stop]][np.newaxis]


def not_sorted(expected: str, at: int) -> LabelError:
    """The error for record `at`, before which others were to stand."""
    return LabelError(
        "records are not sorted by contig and position",
        expected=expected,
        found=f"another order at record {at}",
        mend="Sort them before: ds.sortby([contig, position]), with the names of the two coordinates",
    )


def find_overlapping(blocks: RecordBlocks, contig: int, regions: Array, read: ReadRecords) -> Array:
    """The records of a contig with ``position <= stop`` and ``end >= start``, of any of many regions.

    However many regions there are and however they lie, each chunk is read once.

    Parameters
    ----------
    blocks : RecordBlocks
    contig : int
        Its code.
    regions : ndarray of int64, shape (regions, 2)
        The first and the last position of each, in any order; none where the last is before the first.
    read : callable
        Gives the positions and ends of the records at ``[start, stop)``.

    Returns
    -------
    ndarray of int64, shape (runs, 2)
        Runs ``[start, stop)`` of records: sorted, apart, none empty.
    """
    # as [start, stop), sorted and apart: then the first that ends behind a record is the only one to look at
    regions = merged([regions + _HALF_OPEN])
    if contig not in blocks.of_contig or not regions.size:
        return _NOTHING
    starts, stops = regions[:, 0], regions[:, 1] - 1
    low, high = blocks.of_contig[contig]
    high = low + int(np.searchsorted(blocks.first[low:high], stops[-1], "right"))
    low = low + int(np.searchsorted(blocks.reach[low:high], starts[0], "left"))
    first, last = blocks.first[low:high], blocks.last[low:high]
    whole = _overlaps(starts, stops, last, first)  # from the first to the last position within one region
    some = np.flatnonzero(~whole & _overlaps(starts, stops, first, blocks.max_end[low:high])) + low
    # of neighbouring blocks that are answered whole, one run
    runs = [blocks.bounds[runs_among(np.flatnonzero(whole) + low)]]
    for begin, end in _stretches(blocks, some):
        at = int(blocks.bounds[begin])
        positions, ends = read(at, int(blocks.bounds[end]))
        _check(blocks, begin, end, positions, ends)
        runs.append(runs_among(np.flatnonzero(_overlaps(starts, stops, positions, ends)) + at))
    return merged(runs)


def _overlaps(starts: Array, stops: Array, positions: Array, ends: Array) -> Array:
    """Whether the first region that does not stop before each position starts before each end."""
    i = np.searchsorted(stops, positions, "left")
    found: Array = (i < len(starts)) & (starts[np.minimum(i, len(starts) - 1)] <= ends)
    return found


def _stretches(blocks: RecordBlocks, chosen: Array) -> list[tuple[int, int]]:
    """Neighbours among the chosen blocks, to be read at once where that is not too much."""
    stretches: list[tuple[int, int]] = []
    for block in chosen.tolist():
        if stretches and stretches[-1][1] == block:
            begin = stretches[-1][0]
            if blocks.bounds[block + 1] - blocks.bounds[begin] <= _MAX_READ:
                stretches[-1] = begin, block + 1
                continue
        stretches.append((block, block + 1))
    return stretches


def _check(blocks: RecordBlocks, begin: int, end: int, positions: Array, ends: Array) -> None:
    """Records that were read must be those that the blocks were made of."""
    starts = blocks.bounds[begin:end] - blocks.bounds[begin]
    stops = blocks.bounds[begin + 1 : end + 1] - blocks.bounds[begin]
    if (
        np.array_equal(positions[starts], blocks.first[begin:end])
        and np.array_equal(positions[stops - 1], blocks.last[begin:end])
        and (np.maximum.reduceat(ends, starts) <= blocks.max_end[begin:end]).all()
    ):
        return
    furthest = blocks.max_end[begin:end].max()
    raise LabelError(
        f"records {blocks.bounds[begin]} to {blocks.bounds[end]} are not those that the index describes",
        expected=f"positions {blocks.first[begin]} to {blocks.last[end - 1]}, ends up to {furthest}",
        found=f"positions {positions[0]} to {positions[-1]}, ends up to {ends.max()}",
        mend="They were changed since, or region_index is stale: set the index again, without region_index",
    )


def runs_among(positions: Array) -> Array:
    """Sorted different positions as runs ``[start, stop)``, shape (runs, 2)."""
    if not positions.size:
        return _NOTHING
    breaks = np.flatnonzero(np.diff(positions) != 1)
    starts = positions[np.concatenate([[0], breaks + 1])]
    stops = positions[np.concatenate([breaks, [positions.size - 1]])] + 1
    return np.stack([starts, stops], axis=1)


def merged(runs: list[Array]) -> Array:
    """The union of runs, in any order, which may overlap or be empty: sorted and apart."""
    every = np.concatenate([_NOTHING, *runs])
    every = every[every[:, 0] < every[:, 1]]
    if len(every) < 2:
        return every
    every = every[np.argsort(every[:, 0], kind="stable")]
    reach = np.maximum.accumulate(every[:, 1])
    begins = np.concatenate([[True], every[1:, 0] > reach[:-1]])
    stops = reach[np.concatenate([np.flatnonzero(begins)[1:] - 1, [len(every) - 1]])]
    return np.stack([every[begins, 0], stops], axis=1)


def indexer_of(runs: Array) -> slice | Array:
    """What selects the elements of runs: a slice where that is possible, else an array of positions."""
    if len(runs) < 2:
        return slice(int(runs[0, 0]), int(runs[0, 1])) if len(runs) else slice(0, 0)
    lengths = runs[:, 1] - runs[:, 0]
    ahead = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    indexer: Array = np.repeat(runs[:, 0] - ahead, lengths) + np.arange(lengths.sum())
    return indexer
