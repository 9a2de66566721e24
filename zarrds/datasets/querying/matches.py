"""Matches of a query: read box by box, in several threads, with a bound for what is in memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from zarrds.codecs.base import AnyArray
from zarrds.datasets.querying import blocks
from zarrds.datasets.querying.prepared_query import PreparedQuery
from zarrds.display.text import nbytes_text
from zarrds.engine import executor
from zarrds.engine.progress import ProgressOption, progress_bar
from zarrds.errors import ResultSizeError

__all__ = ["Matches", "count_matches", "find_matches", "has_match", "results_of"]

T = TypeVar("T")
# elements that are looked at before the next ones are begun
_SLAB = 2**26
# bytes that a box counts as
_BOX_NBYTES = 2**22
# of an element that is no number
_OBJECT_NBYTES = 64


@dataclass(frozen=True, slots=True)
class Matches:
    """Matching elements, in order.

    Attributes
    ----------
    positions : ndarray of int64
        Counted through all elements that the query is about.
    columns : dict of name to ndarray
        Values of variables that the query has read anyway.
    """

    positions: AnyArray
    columns: dict[Hashable, AnyArray]


def has_match(prepared: PreparedQuery, progress: ProgressOption = False) -> bool:
    """Whether the condition holds anywhere."""
    truth = prepared.truth(certain=True)
    if prepared.size and bool((~truth.can_fail).any()):
        return True
    return any(n > 0 for n in _counts(prepared, truth.can_hold, progress))


def count_matches(prepared: PreparedQuery, progress: ProgressOption = False) -> int:
    """How many elements the condition holds of."""
    truth = prepared.truth(certain=True)
    sizes = _block_sizes(prepared)
    certain = int(sizes[~truth.can_fail].sum(dtype=object) or 0)
    return certain + sum(_counts(prepared, truth.can_hold & truth.can_fail, progress))


def _block_sizes(prepared: PreparedQuery) -> AnyArray:
    sizes: AnyArray = np.ones((), np.int64)
    for edges in prepared.edges:
        sizes = np.multiply.outer(sizes, np.diff(edges))
    return sizes


def _counts(prepared: PreparedQuery, wanted: AnyArray, progress: ProgressOption) -> Iterator[int]:
    """Matches in each of some boxes, in which only blocks count that are wanted."""

    def count(box: Sequence[slice]) -> int:
        found, _ = prepared.matches(prepared.elements_of(box))
        return int(np.count_nonzero(found))

    for counts in _in_slabs(prepared, wanted, count, progress, density=1.0):
        yield from counts


def find_matches(
    prepared: PreparedQuery,
    columns: Sequence[Hashable],
    *,
    limit: int | None = None,
    max_memory: int,
    progress: ProgressOption = False,
) -> Matches:
    """The elements of which the condition holds.

    Parameters
    ----------
    prepared : PreparedQuery
    columns : sequence of names
        Variables whose values are wanted.
    limit : int, optional
        The first so many.
    max_memory : int
        Bytes.
    progress : bool, "rich" or callable

    Raises
    ------
    ResultSizeError
        If they take more memory than they may; it says how many there are.
    """
    operands = prepared.operands
    taken = [name for name in columns if str(name) in operands and operands[str(name)].is_as_given]
    each = _nbytes_of_one(prepared, columns)
    most = max_memory // each
    kept: list[tuple[AnyArray, dict[Hashable, AnyArray]]] = []
    n_found = 0

    def look(box: Sequence[slice]) -> tuple[AnyArray, dict[Hashable, AnyArray]]:
        return _matches_in(prepared, prepared.elements_of(box), taken)

    wanted = prepared.truth(certain=False).can_hold
    if limit == 0:
        wanted = np.zeros_like(wanted)
    for found in _in_slabs(prepared, wanted, look, progress):
        n_new = sum(positions.size for positions, _ in found)
        n_found += n_new
        if limit is not None and n_found >= limit:
            kept.append(_sorted(found, taken))
            break
        if n_found > most:
            kept.clear()
        elif n_new:
            kept.append(_sorted(found, taken))
    if (n_found if limit is None else min(n_found, limit)) > most:
        raise ResultSizeError(
            "the answer does not fit in memory",
            expected=f"at most {nbytes_text(most * each)}, {most} matches",
            found=f"{n_found} matches, {nbytes_text(n_found * each)}",
            mend="Narrow the query, select a part first, ask for fewer columns, or pass limit=, count=True or a larger "
            "max_memory=",
        )
    positions, values = _sorted(kept, taken, is_in_order=True)
    return Matches(positions[:limit], {name: column[:limit] for name, column in values.items()})


def _nbytes_of_one(prepared: PreparedQuery, columns: Sequence[Hashable]) -> int:
    """Bytes that one match takes, roughly."""
    variables = [prepared.operands[str(name)].variable for name in columns if str(name) in prepared.operands]
    sizes = [_OBJECT_NBYTES if v.dtype == object else getattr(v.dtype, "itemsize", 8) for v in variables]
    return 8 * (2 + 2 * len(prepared.dims) + len(columns) - len(variables)) + 2 * sum(sizes)


def _matches_in(
    prepared: PreparedQuery, box: Sequence[slice], taken: Sequence[Hashable]
) -> tuple[AnyArray, dict[Hashable, AnyArray]]:
    found, values = prepared.matches(box)
    at = np.nonzero(found) if found.ndim else ((np.zeros(1, np.int64),) if found else (np.zeros(0, np.int64),))
    columns = {name: np.broadcast_to(values[str(name)], found.shape)[found].reshape(-1) for name in taken}
    if not prepared.dims:
        return at[0], columns
    positions: AnyArray = np.zeros(at[0].shape, np.int64)
    for where, part, size in zip(at, box, prepared.shape, strict=True):
        positions = positions * size + (where + part.start)
    return positions, columns


def _sorted(
    found: Sequence[tuple[AnyArray, dict[Hashable, AnyArray]]], taken: Sequence[Hashable], *, is_in_order: bool = False
) -> tuple[AnyArray, dict[Hashable, AnyArray]]:
    """Matches of several boxes together, in the order of the elements."""
    if len(found) == 1:
        return found[0]
    positions = np.concatenate([each for each, _ in found] or [np.zeros(0, np.int64)])
    if not found:
        return positions, {}
    columns = {name: np.concatenate([values[name] for _, values in found]) for name in taken}
    if is_in_order:
        return positions, columns
    order = np.argsort(positions, kind="stable")
    return positions[order], {name: values[order] for name, values in columns.items()}


def _in_slabs(
    prepared: PreparedQuery,
    wanted: AnyArray,
    work: Callable[[Sequence[slice]], Any],
    progress: ProgressOption,
    *,
    density: float = blocks.DENSITY,
) -> Iterator[list[Any]]:
    """Do some work for boxes that hold the wanted blocks, and give what it gives for those of one slab at a time.

    A slab is a range along the first dimension, so that all matches of one come before those of the next.
    """
    with progress_bar(int(np.count_nonzero(wanted)), "find", enabled=progress, unit="block") as advance:
        if not prepared.dims:
            yield [work(())] if wanted else []
            return
        row = prepared.size / max(prepared.shape[0], 1)
        limit = blocks.box_size(prepared.edges)
        for slab in blocks.slabs(prepared.edges[0], row, _SLAB):
            here = wanted[slab]
            if not here.any():
                continue
            size_of = partial(_size_in, prepared, slab.start)
            inside = [_moved(box, slab.start) for box in blocks.boxes(here, size_of, limit, density)]
            yield results_of(inside, work, lambda box: int(np.count_nonzero(wanted[box])), advance)


def results_of(
    inside: Sequence[blocks.Box],
    work: Callable[[Sequence[slice]], T],
    n_blocks: Callable[[blocks.Box], int],
    advance: executor.Progress | None,
) -> list[T]:
    """What some work gives for each box, in several threads; `advance` is told the blocks that were done."""
    results: dict[int, T] = {}

    def do(i: int) -> None:
        results[i] = work(inside[i])
        if advance is not None:
            advance(n_blocks(inside[i]))

    executor.run(range(len(inside)), lambda: do, part_nbytes=_BOX_NBYTES)
    return [results[i] for i in range(len(inside))]


def _moved(box: blocks.Box, start: int) -> blocks.Box:
    return (slice(box[0].start + start, box[0].stop + start), *box[1:])


def _size_in(prepared: PreparedQuery, start: int, box: blocks.Box) -> float:
    return prepared.size_of(_moved(box, start))
