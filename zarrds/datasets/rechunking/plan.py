"""How an array is brought into other chunks in bounded memory. Pure: shapes and bytes in, a plan out.

The algorithm is that of the rechunker library: read blocks of whole source chunks, write blocks of whole target chunks,
and where no block can be both within memory, go through pieces in between, the intersections of the two kinds of
blocks. Pieces are written once and read once, whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from math import lcm, prod
from typing import Literal

from zarrds.errors import EncodingError

__all__ = ["ArrayPlan", "Regridded", "pieces_of", "plan_array", "plan_stored_chunks"]

Shape = tuple[int, ...]
Block = tuple[slice, ...]
How = Literal["bytes", "packed", "direct", "through pieces"]

# a chunk that is read more often than this is not read directly: pieces are written once and read once
_MAX_REREAD = 2.5
# of the memory that decoding and encoding leave, what a block may take: the rest is for pieces on their way
_OF_PIECES = 3
# what allocators and Python keep for themselves is left free
_USABLE = 0.8
# bytes a worker needs for a chunk beside the chunk itself: encoded, with headers
_OVERHEAD = 64 * 1024


@dataclass(frozen=True, slots=True)
class Regridded:
    """An array that is brought from one chunk grid into another.

    Attributes
    ----------
    path : str
        Below the store's root.
    shape : tuple of int
        In elements.
    itemsize : int
        Bytes of an element in memory.
    source, target : tuple of int
        Chunks that are read by themselves; chunks, or shards, that are written as a whole.
    """

    path: str
    shape: Shape
    itemsize: int
    source: Shape
    target: Shape

    @property
    def nbytes(self) -> int:
        """Of the decoded array."""
        return self.nbytes_of(self.shape)

    def nbytes_of(self, block: Shape) -> int:
        """Of a decoded block of it."""
        return prod(block) * self.itemsize

    def clipped(self, chunk: Shape) -> Shape:
        """A chunk as a block: where an array is smaller than its chunks, so are its blocks."""
        return tuple(min(c, max(s, 1)) for c, s in zip(chunk, self.shape, strict=True))


@dataclass(frozen=True, slots=True)
class ArrayPlan:
    """How one array is copied.

    Attributes
    ----------
    path : str
        Of the array, below the store's root.
    how : {"bytes", "packed", "direct", "through pieces"}
        The chunks' bytes are copied; they are packed into shards as they are; blocks are read and written at once; or
        they are read, kept as pieces, and written in a second pass.
    shape : tuple of int
        In elements.
    source_chunks, target_chunks : tuple of int
        What is read and what is written as one, in elements.
    read_block, write_block : tuple of int
        What lies in memory at once while reading, and while writing, in elements; the same if `how` is "direct".
    workers : int
        Threads for one block.
    nbytes : int
        Of the decoded array.
    read_nbytes, write_nbytes, temporary_nbytes : int
        Roughly the decoded bytes that are read, written, and kept in between.
    peak_nbytes : int
        The most memory that it takes beside what the process has already.
    """

    path: str
    how: How
    shape: Shape
    source_chunks: Shape
    target_chunks: Shape
    read_block: Shape
    write_block: Shape
    workers: int
    nbytes: int
    read_nbytes: int
    write_nbytes: int
    temporary_nbytes: int
    peak_nbytes: int

    @property
    def passes(self) -> int:
        """How often the data goes through memory."""
        return 2 if self.how == "through pieces" else 1

    def __str__(self) -> str:
        text = f"{self.path or '/'}: {self.source_chunks} -> {self.target_chunks}, {self.how}"
        if self.how in ("bytes", "packed"):
            return text
        blocks = f"blocks {self.read_block}"
        if self.how == "through pieces":
            blocks += f", then {self.write_block}, {self.temporary_nbytes / 2**20:,.0f} MiB in between"
        return f"{text}, {blocks}, up to {self.peak_nbytes / 2**20:,.0f} MiB of memory"


def pieces_of(shape: Shape, within: Block, one: Shape, other: Shape) -> Iterator[Block]:
    """The pieces of a block that boundaries of two grids of blocks cut, in C order.

    Examples
    --------
    >>> [piece[0] for piece in pieces_of((10,), (slice(0, 6),), (6,), (4,))]
    [slice(0, 4, None), slice(4, 6, None)]
    """
    cuts = []
    for size, where, a, b in zip(shape, within, one, other, strict=True):
        bounds = {where.start, where.stop}
        for step in (a, b):
            bounds.update(range(-(-where.start // step) * step, min(where.stop, size), step))
        edges = sorted(bounds)
        cuts.append([slice(low, high) for low, high in pairwise(edges)])
    return product(*cuts)


def plan_stored_chunks(array: Regridded, how: Literal["bytes", "packed"]) -> ArrayPlan:
    """The plan for chunks that are copied, or packed into shards, as they are stored: nothing is decoded."""
    block, nbytes = array.clipped(array.target), array.nbytes
    peak = 2 * max(array.nbytes_of(chunk) + _OVERHEAD for chunk in (array.source, array.target))
    grids = array.shape, array.source, array.target
    return ArrayPlan(array.path, how, *grids, block, block, 1, nbytes, nbytes, nbytes, 0, peak)


def plan_array(array: Regridded, *, max_memory: int, workers: int, encode_cost: int = 2) -> ArrayPlan:
    """Plan how an array is brought from one chunk grid into another.

    Parameters
    ----------
    array : Regridded
    max_memory : int
        Bytes that everything may take at once: blocks, and what threads need to decode and encode.
    workers : int
        Threads, at the most.
    encode_cost : int
        How many times its own size a target chunk takes while it is encoded.

    Raises
    ------
    EncodingError
        If not even one chunk of each kind fits.
    """
    source, target, nbytes = array.source, array.target, array.nbytes
    usable = int(max_memory * _USABLE)
    clipped = array.clipped(target)  # but a chunk is decoded whole
    of_source, of_target = (array.nbytes_of(chunk) + _OVERHEAD for chunk in (source, target))
    per_worker = max(2 * of_source, encode_cost * of_target)
    least = array.nbytes_of(clipped)
    workers = max(1, min(workers, (usable - max(least, usable // 2)) // per_worker))
    left = usable - workers * per_worker
    if left < least:
        raise EncodingError(
            "max_memory is too small for a chunk",
            key=array.path or "/",
            expected=f"at least {int((least + per_worker) / _USABLE) + 1} bytes, for chunks {source} and {target}",
            found=max_memory,
            mend="Allow more memory, or choose smaller chunks",
        )
    grids = array.shape, source, target
    block = _grown(array, clipped, target, left, towards=source)
    reread = _amplification(array.shape, block, source)
    limit = max(left // _OF_PIECES, least)
    first = array.clipped(source)
    # where no block of whole source chunks fits, they are read more than once
    if reread <= _MAX_REREAD or array.nbytes_of(first) > limit:
        peak = array.nbytes_of(block) + workers * per_worker
        return ArrayPlan(
            array.path, "direct", *grids, block, block, workers, nbytes, int(nbytes * reread), nbytes, 0, peak
        )
    write_block = _grown(array, clipped, target, limit, towards=source)
    read_block = _grown(array, first, source, limit, towards=write_block)
    largest = max(map(array.nbytes_of, (read_block, write_block)))
    peak = min(largest + max(workers * per_worker, 2 * largest), usable)
    blocks = read_block, write_block
    return ArrayPlan(
        array.path, "through pieces", *grids, *blocks, workers, nbytes, 2 * nbytes, 2 * nbytes, nbytes, peak
    )


def _grown(array: Regridded, block: Shape, step: Shape, limit: int, *, towards: Shape) -> Shape:
    """A block made larger in steps of whole chunks as far as a limit of bytes allows, to hold as much as can be.

    First along the dimensions in which it falls short of `towards` by most, then along any.
    """
    shape, grown = array.shape, list(block)

    def room(axis: int) -> int:
        """How far the block can go along a dimension: whole steps, or all of it."""
        others = array.nbytes_of((*grown[:axis], *grown[axis + 1 :]))
        most = max(limit // others if others else shape[axis], grown[axis])
        return shape[axis] if most >= shape[axis] else most // step[axis] * step[axis]

    def falls_short(axis: int) -> float:
        return min(towards[axis], shape[axis]) / grown[axis] if grown[axis] else 0

    axes = [axis for axis, size in enumerate(shape) if size]
    while any(falls_short(axis) > 1 and room(axis) > grown[axis] for axis in axes):
        axis = max((a for a in axes if room(a) > grown[a]), key=falls_short)
        if falls_short(axis) <= 1:
            break
        wanted = min(2 * grown[axis], room(axis), -(-towards[axis] // step[axis]) * step[axis])
        grown[axis] = max(min(wanted, shape[axis]), min(grown[axis] + step[axis], room(axis)))
    for axis in sorted(axes, key=lambda a: shape[a] / grown[a]):
        grown[axis] = max(room(axis), grown[axis])
    return tuple(grown)


def _amplification(shape: Shape, block: Shape, chunks: Shape) -> float:
    """How often each source chunk is read on average if blocks are read by themselves."""
    times = 1.0
    for size, step, chunk in zip(shape, block, chunks, strict=True):
        # blocks and chunks cut a dimension into as many pieces as there are reads; some of their cuts are the same
        n, n_same = -(-size // chunk), -(-size // lcm(step, chunk))
        times *= (-(-size // step) + n - n_same) / n if n else 1
    return times
