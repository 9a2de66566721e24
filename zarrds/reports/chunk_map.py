"""Which chunks of an array are there, and how large they are, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from zarrds.engine.blocks import number_in_grid

__all__ = ["chunk_map_svg"]

_CELLS = 48  # at most along one edge; of more chunks, several share a cell
_PIXELS = 240.0


def chunk_map_svg(grid: Sequence[int], stored: Mapping[tuple[int, ...], int]) -> str:
    """Draw the grid of chunks: darker is larger, a cross is one that is missing.

    The last dimension goes across, all others down.

    Parameters
    ----------
    grid : sequence of int
        Chunks along each dimension.
    stored : mapping of position to bytes

    Examples
    --------
    >>> svg = chunk_map_svg((2, 2), {(0, 0): 10, (0, 1): 20, (1, 0): 5})
    >>> svg.count('class="c"'), svg.count('class="m"')
    (3, 1)
    """
    if not prod(grid):
        return ""
    across = grid[-1] if grid else 1
    down = prod(grid[:-1])
    step_x, step_y = -(-across // _CELLS), -(-down // _CELLS)
    shape = -(-down // step_y), -(-across // step_x)
    nbytes, present, expected = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    rows = [float(min(step_y, down - i * step_y)) for i in range(shape[0])]
    columns = [float(min(step_x, across - i * step_x)) for i in range(shape[1])]
    expected[...] = np.outer(rows, columns)
    for position, size in stored.items():
        row = number_in_grid(position[:-1], grid[:-1])
        cell = row // step_y, (position[-1] if position else 0) // step_x
        nbytes[cell] += size
        present[cell] += 1
    return _drawn(nbytes / np.maximum(present, 1), present / expected)


def _drawn(mean: np.ndarray[Any, Any], complete: np.ndarray[Any, Any]) -> str:
    side = min(18.0, _PIXELS / max(mean.shape))
    largest = float(mean.max()) or 1.0
    cells = []
    for (y, x), share in np.ndenumerate(complete):
        place = f'x="{x * side + 0.5:.1f}" y="{y * side + 0.5:.1f}" width="{side - 1:.1f}" height="{side - 1:.1f}"'
        if share > 0:
            cells.append(f'<rect class="c" {place} fill-opacity="{0.25 + 0.75 * mean[y, x] / largest:.2f}"/>')
        if share < 1:
            a, b = x * side + 2, y * side + 2
            c, d = (x + 1) * side - 2, (y + 1) * side - 2
            cells.append(f'<path class="m" d="M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}M{a:.1f} {d:.1f}L{c:.1f} {b:.1f}"/>')
    size = f'width="{mean.shape[1] * side + 1:.0f}" height="{mean.shape[0] * side + 1:.0f}"'
    return f'<svg {size} role="img" aria-label="chunks that are stored">{"".join(cells)}</svg>'
