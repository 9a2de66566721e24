"""The blocks of labels that are searched where they lie: their first and last labels are bounds of all between."""

from __future__ import annotations

import numpy as np
import xarray as xr

from zarrds.codecs.base import AnyArray
from zarrds.compat.xarray_internals import lazy_data
from zarrds.datasets.querying.blocks import range_edges
from zarrds.datasets.querying.bounds.chunk_facts import ChunkFacts, as_bytes
from zarrds.labels.sorted.lazy_index import unread_window
from zarrds.labels.sorted.search import SortedLabels
from zarrds.labels.sorted.window import Window
from zarrds.metadata.model import ArrayMetadata

__all__ = ["LabelBlocks", "label_blocks"]


class LabelBlocks:
    """The blocks of the record of sorted labels, as `StoredChunks` are chunks; of one dimension.

    Parameters
    ----------
    source : SortedLabels
    window : Window
        Which labels of it.
    """

    axes = (0,)

    def __init__(self, source: SortedLabels, window: Window) -> None:
        self._source, self._range = source, range(window.start, window.stop)
        self._block = source.block
        self._first = window.start // self._block
        n = (window.stop - 1) // self._block + 1 - self._first
        self.shape = (n,)
        self.known: AnyArray = np.ones(n, bool)
        self._is_looked_at: AnyArray = np.zeros(n, bool)

    @property
    def metadata(self) -> ArrayMetadata:
        """Of the stored array."""
        return self._source.elements.metadata

    def edges(self, dim: int) -> AnyArray:
        """The positions at which blocks begin, and the size at the end."""
        return range_edges(self._range, self._block)

    def spans(self, dim: int, edges: AnyArray) -> tuple[AnyArray, AnyArray]:
        """The first and the last block that the labels between edges lie in."""
        positions = self._range.start + np.asarray(edges)
        return positions[:-1] // self._block - self._first, (positions[1:] - 1) // self._block - self._first

    def facts(self) -> ChunkFacts:
        """What is known of the blocks: of sorted labels none is missing."""
        here = slice(self._first, self._first + len(self.known))
        ends = [each[here] for each in self._source.zones()]
        if self._source.order == "decreasing":
            ends = ends[::-1]
        if self._source.dtype.kind == "O":
            ends = [as_bytes(each) for each in ends]
        low, high = ends
        no = np.zeros_like(self.known)
        return ChunkFacts(self.known, low, high, np.where(self.known, self._block, -1), no, None)

    def verify(self, wanted: AnyArray) -> bool:
        """Compare the digests of blocks with what is stored now; of others nothing is known from then on."""
        wanted = wanted & self.known & ~self._is_looked_at
        if not wanted.any():
            return False
        stale = self._source.changed_among(np.flatnonzero(wanted) + self._first) - self._first
        known = self.known.copy()
        known[stale] = False
        self.known, self._is_looked_at = known, self._is_looked_at | wanted
        return bool(stale.size)


def label_blocks(variable: xr.Variable) -> LabelBlocks | None:
    """The blocks of a coordinate that is searched where it lies; None of one that is not, or of which all is read."""
    window = unread_window(getattr(lazy_data(variable), "array", None))
    if window is None or window.order is None or not isinstance(window.source, SortedLabels):
        return None
    return LabelBlocks(window.source, window)
