"""Which parts of an array are copied: all of it, or, of a grid that claims far more, those that are stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from math import prod

from zarrds.datasets.rechunking.plan import Block, Shape
from zarrds.engine.blocks import blocks, number_in_grid
from zarrds.engine.chunk_io import Chunks
from zarrds.storage.protocol import Store
from zarrds.storage.traits import list_strange

__all__ = ["Stored", "in_whole_chunks", "numbered_blocks", "stored_of"]

# chunks, and bytes of elements, up to which all are asked for: fewer are as soon read as looked for
_MOST_ASKED, _MOST_NBYTES = 2**18, 2**32


@dataclass(frozen=True, slots=True)
class Stored:
    """The chunks that are there, of a grid that has more than twice as many.

    Attributes
    ----------
    positions : sequence of tuple of int
        In the grid, sorted.
    parts : sequence of tuple of slice
        Their elements.
    """

    positions: Sequence[Shape]
    parts: Sequence[Block]


def stored_of(store: Store, chunks: Chunks, *, is_decoded: bool) -> Stored | None:
    """What is stored of a large array of which most is absent; None for all others.

    Raises
    ------
    ChunkError
        If a chunk is not there that must be, and chunks are decoded: fill values would stand in its place.
    """
    metadata = chunks.metadata
    n_chunks = prod(metadata.chunk_grid)
    nbytes = prod(metadata.shape) * metadata.data_type.dtype.itemsize
    if (n_chunks <= _MOST_ASKED and nbytes <= _MOST_NBYTES) or metadata.edges is not None:
        return None
    # what is no value under the name of a chunk is an error, once it is asked for
    keys = chain(store.list_prefix(chunks.path), (key for key, _ in list_strange(store, chunks.path)))
    positions = sorted({at for key in keys if (at := chunks.position_in_grid(key)) is not None})
    if 2 * len(positions) >= n_chunks:
        return None
    sizes = list(zip(metadata.chunks, metadata.shape, strict=True))
    parts = [tuple(slice(p * c, min((p + 1) * c, n)) for p, (c, n) in zip(at, sizes, strict=True)) for at in positions]
    if is_decoded:
        _check_complete(set(positions), chunks)
    return Stored(positions, parts)


def _check_complete(found: set[Shape], chunks: Chunks) -> None:
    required = chunks.n_required
    if required is None:
        return
    for block in blocks(required, (1,) * len(required)):
        position = tuple(part.start for part in block)
        if position not in found:
            chunks.check_absent(position, chunks.key(position))


def numbered_blocks(shape: Shape, block: Shape, parts: Iterable[Block] | None) -> Iterator[tuple[int, Block, Block]]:
    """The blocks of an array that hold some of the parts, or every one; each with its number among all.

    The second block is what of the first lies between the first and the last of its parts.

    Examples
    --------
    >>> list(numbered_blocks((6,), (4,), None))
    [(0, (slice(0, 4, None),), (slice(0, 4, None),)), (1, (slice(4, 6, None),), (slice(4, 6, None),))]
    >>> list(numbered_blocks((10**18,), (10,), [(slice(203, 204),), (slice(206, 208),)]))
    [(20, (slice(200, 210, None),), (slice(203, 208, None),))]
    """
    if parts is None:
        yield from ((number, each, each) for number, each in enumerate(blocks(shape, block)))
        return
    found: dict[Shape, Block] = {}
    for part in parts:
        for at in product(*(range(p.start // b, -(-p.stop // b)) for p, b in zip(part, block, strict=True))):
            found[at] = _around(found.get(at, part), part)
    grid = [-(-n // b) for n, b in zip(shape, block, strict=True)]
    for at, around in sorted(found.items(), key=lambda item: item[0]):
        each = tuple(slice(i * b, min((i + 1) * b, n)) for i, b, n in zip(at, block, shape, strict=True))
        clipped = (slice(max(p.start, e.start), min(p.stop, e.stop)) for p, e in zip(around, each, strict=True))
        yield number_in_grid(at, grid), each, tuple(clipped)


def _around(one: Block, other: Block) -> Block:
    return tuple(slice(min(p.start, q.start), max(p.stop, q.stop)) for p, q in zip(one, other, strict=True))


def in_whole_chunks(part: Block, chunks: Shape, shape: Shape) -> Block:
    """A part of an array, and what else lies in the chunks that it touches.

    Examples
    --------
    >>> in_whole_chunks((slice(12, 34),), (10,), (38,))
    (slice(10, 38, None),)
    """
    return tuple(
        slice(p.start // c * c, min(-(-p.stop // c) * c, n)) for p, c, n in zip(part, chunks, shape, strict=True)
    )
