"""How an array is cut into chunks, as a small SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, takewhile
from math import log10

__all__ = ["MAX_LINES", "chunk_grid_svg"]

_LONGEST, _SHORTEST = 90.0, 12.0  # pixels of an edge
MAX_LINES = 24  # boundaries drawn along one edge; of more, every second, third, …
_SLANT = 0.35  # of an edge that goes into the page


def chunk_grid_svg(shape: Sequence[int], chunks: Sequence[int | Sequence[int]]) -> str:
    """Draw the last three dimensions of an array and the boundaries between its chunks.

    Edges are in proportion, but for those that would be too short to see. Only numbers get into the drawing.

    Parameters
    ----------
    shape : sequence of int
        In elements, one a dimension.
    chunks : sequence of int or of sequence of int
        Elements of a chunk along each dimension, or of each chunk in turn.

    Examples
    --------
    >>> chunk_grid_svg((), ())
    ''
    >>> chunk_grid_svg((10,), (5,)).count("<line"), chunk_grid_svg((10,), ((1, 2, 7),)).count("<line")
    (1, 2)
    """
    sizes = [int(n) for n in shape[-3:]]
    steps = [max(1, n) if isinstance(n, int) else n for n in chunks[-3:]]
    if not sizes or len(sizes) != len(steps) or min(sizes) == 0:
        return ""
    if len(sizes) == 1:
        sizes, steps = [1, *sizes], [1, *steps]
    edges = _edges(sizes)
    *_, height, wide = edges
    depth = edges[0] * _SLANT if len(sizes) == 3 else 0.0
    x, y = depth + 1, depth + 1
    shapes = [_rectangle(x, y, wide, height)]
    if depth:
        top = f"{1:.1f},{1:.1f} {1 + wide:.1f},{1:.1f} {x + wide:.1f},{y:.1f} {x:.1f},{y:.1f}"
        side = f"{1:.1f},{1:.1f} {x:.1f},{y:.1f} {x:.1f},{y + height:.1f} {1:.1f},{1 + height:.1f}"
        shapes += [f'<polygon class="f" points="{top}"/>', f'<polygon class="f" points="{side}"/>']
        for at in _boundaries(sizes[0], steps[0]):
            p = 1 + depth * at
            shapes += [_line(p, p, p + wide, p), _line(p, p, p, p + height)]
    for at in _boundaries(sizes[-2], steps[-2]):
        shapes.append(_line(x, y + height * at, x + wide, y + height * at))
        if depth:
            shapes.append(_line(1, 1 + height * at, x, y + height * at))
    for at in _boundaries(sizes[-1], steps[-1]):
        shapes.append(_line(x + wide * at, y, x + wide * at, y + height))
        if depth:
            shapes.append(_line(1 + wide * at, 1, x + wide * at, y))
    total = f'width="{wide + depth + 2:.0f}" height="{height + depth + 2:.0f}"'
    return f'<svg {total} role="img" aria-label="chunk grid">{"".join(shapes)}</svg>'


def _edges(sizes: Sequence[int]) -> list[float]:
    """Pixels of each edge: by the logarithm where sizes lie far apart, so that none gets lost."""
    largest = max(sizes)
    linear = [_LONGEST * n / largest for n in sizes]
    if min(linear) >= _SHORTEST:
        return linear
    return [max(_SHORTEST, _LONGEST * log10(n + 1) / log10(largest + 1)) if n > 1 else _SHORTEST for n in sizes]


def _boundaries(size: int, step: int | Sequence[int]) -> Iterator[float]:
    """Where chunks meet, as fractions of an edge."""
    if not isinstance(step, int):
        cuts = list(takewhile(lambda at: at < size, accumulate(map(int, step))))
        every = max(1, -(-len(cuts) // MAX_LINES))
        return (at / size for at in cuts[every - 1 :: every])
    n_chunks = -(-size // step)
    every = max(1, -(-(n_chunks - 1) // MAX_LINES))
    return (i * step / size for i in range(every, n_chunks, every))


def _rectangle(x: float, y: float, wide: float, height: float) -> str:
    return f'<rect class="f" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{height:.1f}"/>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="l" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
