"""Chunk grids whose chunks differ in length: their documents <-> runs of equal lengths. Pure.

Source: the registry of Zarr extensions, "chunk-grids/rectilinear". Lengths stay in runs as long as nothing is read of
the array: a document of some bytes may tell of any number of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from zarrds.errors import MetadataError, UnsupportedError
from zarrds.metadata.fields import JSON, MAX_SIZE, JSONObject, Raw, member

__all__ = [
    "Edges",
    "check_can_be_written",
    "drawn",
    "largest",
    "lengths_of",
    "n_chunks",
    "parse",
    "runs_within",
    "written",
]

# along one dimension: the length of all chunks, or runs of (length, how many)
Edges: TypeAlias = int | tuple[tuple[int, int], ...]

# chunks that are told of along all dimensions: their lengths are in memory while an array is read
_MOST = 2**20


def parse(configuration: JSONObject, shape: tuple[int, ...]) -> tuple[Edges, ...]:
    """The edges along each dimension of an array of `shape`, in elements.

    Raises
    ------
    MetadataError
        For lengths that are malformed, or that add up to less than the shape.
    UnsupportedError
        For grids of another kind, and for more chunks than anybody has.
    """
    axes = member(configuration, "chunk_shapes", list)
    if configuration.get("kind") != "inline":
        raise UnsupportedError(
            "chunk grid 'rectilinear' is not supported where its chunks are not listed",
            expected="kind 'inline'",
            found=f"{configuration.get('kind')!r:.100}",
        )
    if len(axes) != len(shape):
        raise MetadataError(
            "chunk_shapes do not fit the shape", expected=f"{len(shape)} numbers or lists", found=f"{axes!r:.100}"
        )
    found = tuple(_edges(axis, size) for axis, size in zip(axes, shape, strict=True))
    total = sum(times for edges in found if not isinstance(edges, int) for _, times in edges)
    if total > _MOST:
        raise UnsupportedError(
            "chunk grid 'rectilinear' lists too many chunks", expected=f"at most {_MOST}", found=total
        )
    return found


def _edges(axis: JSON, size: int) -> Edges:
    if _is_length(axis):
        return axis
    if not isinstance(axis, list):
        raise _malformed(axis)
    runs: list[tuple[int, int]] = []
    for item in axis:
        length, times = item if isinstance(item, list) and len(item) == 2 else (item, 1)
        if not (_is_length(length) and _is_length(times)):
            raise _malformed(axis)
        if runs and runs[-1][0] == length:
            runs[-1] = length, runs[-1][1] + times
        else:
            runs.append((length, times))
    total = sum(length * times for length, times in runs)
    if total < size:
        raise MetadataError(
            "chunk_shapes do not fit the shape", expected=f"at least {size} elements", found=f"{axis!r:.100}"
        )
    if len(runs) <= 1:
        return runs[0][0] if runs else 1
    if total > MAX_SIZE:
        raise UnsupportedError(
            "chunk_shapes are longer than any array", expected="at most 2**63 - 1 elements", found=f"{axis!r:.100}"
        )
    return tuple(runs)


def _is_length(value: JSON) -> TypeGuard[int]:
    return type(value) is int and 0 < value <= MAX_SIZE


def _malformed(axis: JSON) -> MetadataError:
    expected = "a length, or a list of lengths and [length, times], all of them from 1 to 2**63 - 1"
    return MetadataError("chunk_shapes are malformed", expected=expected, found=f"{axis!r:.100}")


def written(edges: Sequence[Edges]) -> Raw:
    """The configuration of the grid.

    Examples
    --------
    >>> written([((2, 3), (1, 1)), 4])
    {'kind': 'inline', 'chunk_shapes': [[[2, 3], 1], 4]}
    """
    return {
        "kind": "inline",
        "chunk_shapes": [
            each if isinstance(each, int) else [length if times == 1 else [length, times] for length, times in each]
            for each in edges
        ],
    }


def largest(edges: Edges, size: int) -> int:
    """The length of the longest chunk in an array of that size; of the first, if it has no elements.

    Examples
    --------
    >>> largest(((2, 3), (9, 1)), 5), largest(((2, 3), (9, 1)), 7)
    (2, 9)
    """
    return max(length for length, _ in _runs_within(edges, max(size, 1)))


def n_chunks(edges: Edges, size: int) -> int:
    """How many chunks hold the elements of an array of that size; chunks behind it do not count.

    Examples
    --------
    >>> [n_chunks(((2, 3), (9, 1)), size) for size in (0, 5, 6, 7)], n_chunks(4, 9)
    ([0, 3, 3, 4], 3)
    """
    return sum(times for _, times in _runs_within(edges, size))


def runs_within(edges: Sequence[Edges], shape: Sequence[int]) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Along each dimension the runs of those chunks that hold the elements of an array of that shape.

    Examples
    --------
    >>> runs_within([((2, 3), (9, 1)), 4], (3, 9))
    (((2, 2),), ((4, 3),))
    """
    return tuple(_runs_within(each, size) for each, size in zip(edges, shape, strict=True))


def _runs_within(edges: Edges, size: int) -> tuple[tuple[int, int], ...]:
    found, left = [], size
    for length, times in ((edges, MAX_SIZE),) if isinstance(edges, int) else edges:
        if left <= 0:
            break
        found.append((length, min(times, -(-left // length))))
        left -= length * times
    return tuple(found)


def lengths_of(edges: tuple[Edges, ...]) -> tuple[int | npt.NDArray[np.int64], ...]:
    """Along each dimension the length of all chunks, or of each in turn."""
    return tuple(each if isinstance(each, int) else _expanded(each) for each in edges)


def drawn(edges: tuple[Edges, ...], most: int) -> list[int | list[int]]:
    """The same in plain lists of at most so many numbers, each of which stands for as many chunks.

    Examples
    --------
    >>> drawn((((1, 6), (2, 1)), 4), 10), drawn((((1, 6), (2, 1)), 4), 4)
    ([[1, 1, 1, 1, 1, 1, 2], 4], [[2, 2, 2, 2], 4])
    """
    return [each if isinstance(each, int) else _merged(each, most) for each in edges]


def _merged(runs: Sequence[tuple[int, int]], most: int) -> list[int]:
    lengths, times = np.array(runs, np.int64).T
    counts, ends = np.cumsum(times), np.cumsum(lengths * times)
    n = int(counts[-1])
    every = -(-n // most)
    numbers = np.minimum(np.arange(every, n + every, every), n)
    run = np.searchsorted(counts, numbers)
    bounds = ends[run] - (counts[run] - numbers) * lengths[run]
    merged: list[int] = np.diff(bounds, prepend=0).tolist()
    return merged


def _expanded(runs: Sequence[tuple[int, int]]) -> npt.NDArray[np.int64]:
    lengths, times = np.array(runs, np.int64).T
    return np.repeat(lengths, times)


def check_can_be_written(edges: tuple[Edges, ...] | None, path: str, store: str | None = None) -> None:
    """Raise `UnsupportedError` for an array whose chunks differ in length, which zarrds only reads.

    Parameters
    ----------
    edges : tuple, or None
        Of the array; None for a regular grid.
    path, store : str
        Of the array, and of the store that it is in, where that is known.
    """
    if edges is not None:
        raise UnsupportedError(
            "arrays whose chunks differ in length are only read",
            path=store,
            key=path or "/",
            expected="chunk grid 'regular'",
            found="'rectilinear'",
            mend="Nothing was written. Copy the store into regular chunks with zarrds.rechunk, and write there",
        )
