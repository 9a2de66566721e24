"""The statistics of the chunks that a lazy variable reads, as the variable's own values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.chunk_statistics.digests import stale_rows
from zarrds.chunk_statistics.facts import Rule, rule_of
from zarrds.chunk_statistics.record import new_rows, read_rows
from zarrds.codecs.base import AnyArray
from zarrds.compat.lazy_layers import Layers, Positions, layers_of
from zarrds.datasets.querying.blocks import range_edges, run_edges, spans
from zarrds.datasets.querying.bounds.chunk_facts import ChunkFacts
from zarrds.datasets.reading.lazy import LazyArray, look_again
from zarrds.labels.kinds.plain import EXACT
from zarrds.metadata.attributes import MARKERS, SCALE
from zarrds.metadata.fields import member
from zarrds.metadata.formats import spec_of
from zarrds.metadata.model import ArrayMetadata

__all__ = ["StoredChunks", "stored_chunks"]

# rows of statistics that are read for one query, at the most
_MOST_ROWS = 2**24


class StoredChunks:
    """The chunks of a stored array of which a lazy variable reads some.

    Parameters
    ----------
    lazy : LazyArray
    layers : Layers
        Of the variable.
    rule : Rule
    dtype : dtype
        Of the variable.

    Attributes
    ----------
    axes : tuple of int
        The array's axis of each of the variable's dimensions.
    first : tuple of int
        The first chunk along each of the array's axes of which anything is read.
    shape : tuple of int
        Chunks along each axis, from the first to the last one of which anything is read.
    """

    def __init__(self, lazy: LazyArray, layers: Layers, rule: Rule | None, dtype: np.dtype[Any]) -> None:
        self.lazy, self.layers, self.dtype = lazy, layers, dtype
        self.rule = rule
        metadata = self.metadata
        self.axes = tuple(axis for axis, part in enumerate(layers.parts) if not isinstance(part, int))
        ends = [_ends(part) for part in layers.parts]
        self.first = tuple(low // chunk for (low, _), chunk in zip(ends, metadata.chunks, strict=True))
        self.shape = tuple(
            max(0, high // chunk + 1 - first) if high >= low else 0
            for (low, high), chunk, first in zip(ends, metadata.chunks, self.first, strict=True)
        )
        self._rows: AnyArray | None = None
        self._is_looked_at: AnyArray | None = None

    @property
    def metadata(self) -> ArrayMetadata:
        """Of the stored array."""
        return self.lazy.stored.metadata

    @property
    def has_sums(self) -> bool:
        """Whether sums of values can be told from those of stored elements."""
        return self._linear is not None

    def numbers(self, dim: int, at: AnyArray) -> AnyArray:
        """The chunks (counted from the first that is read) of elements at some positions of a dimension."""
        axis = self.axes[dim]
        part = self.layers.parts[axis]
        if isinstance(part, int):
            raise TypeError("an integer makes no dimension")
        positions = part.start + part.step * at if isinstance(part, range) else np.asarray(part)[at]
        return np.asarray(positions // self.metadata.chunks[axis] - self.first[axis])

    def edges(self, dim: int) -> AnyArray:
        """The positions along a dimension at which runs of elements of one chunk begin, and its size at the end."""
        axis = self.axes[dim]
        part = self.layers.parts[axis]
        if isinstance(part, range):  # which may be longer than memory
            return range_edges(part, self.metadata.chunks[axis])
        return run_edges(self.numbers(dim, np.arange(np.size(part))))

    def spans(self, dim: int, edges: AnyArray) -> tuple[AnyArray, AnyArray]:
        """The first and the last chunk that each block along a dimension lies in."""
        part = self.layers.parts[self.axes[dim]]
        if not isinstance(part, range):
            return spans(self.numbers(dim, np.arange(np.size(part))), edges)
        ends = [self.numbers(dim, each) for each in (edges[:-1], edges[1:] - 1)]
        return np.minimum(*ends), np.maximum(*ends)

    @property
    def known(self) -> AnyArray:
        """Of which chunks the rows say something."""
        return np.asarray(self.rows["known"] == 1)

    @property
    def rows(self) -> AnyArray:
        """The rows of the statistics, of `shape`; they say nothing where there are none."""
        if self._rows is None:
            self._rows = self._read()
        return self._rows

    def _read(self) -> AnyArray:
        stored, rule = self.lazy.stored, self.rule
        if rule is None:
            return np.zeros(self.shape, [("known", "u1")])
        if int(np.prod(self.shape, dtype=float)) > _MOST_ROWS:
            return np.broadcast_to(new_rows(rule, ()), self.shape)
        key = tuple(slice(first, first + n) for first, n in zip(self.first, self.shape, strict=True))
        rows = read_rows(stored.store, stored.path, self.metadata, key)
        return new_rows(rule, self.shape) if rows is None else rows

    def facts(self) -> ChunkFacts:
        """What is known of the chunks; see `verify`."""
        rows, rule = self.rows, self.rule
        known = self.known
        if rule is None or not known.any():
            return self._nothing()
        if rule.is_text:
            if self.layers.functions or self.dtype.kind not in "OUST":
                return self._nothing()
            has_missing = np.full(self.shape, bool(_markers(self.metadata)))
            count = np.where(known & ~has_missing, rows["count"], -1)
            low, high = (rows[name].astype(object) for name in ("min", "max"))  # which NumPy can reduce
            return ChunkFacts(known, low, high, count, has_missing, None)
        try:
            return self._decoded(rows, rule, known)
        except Exception:  # whatever decoders have against these bounds: it says nothing then
            return self._nothing()

    def _nothing(self) -> ChunkFacts:
        return ChunkFacts(
            np.zeros(self.shape, bool),
            *(np.zeros(self.shape, self.dtype),) * 2,
            np.full(self.shape, -1),
            np.ones(self.shape, bool),
            np.zeros(self.shape) if self._linear is not None else None,
        )

    def _decoded(self, rows: AnyArray, rule: Rule, known: AnyArray) -> ChunkFacts:
        stored = [np.ascontiguousarray(rows[name]).astype(rule.dtype) for name in ("min", "max")]
        is_empty = rows["count"] == 0
        are_times = self.dtype.kind in "mMO"
        if are_times and rule.dtype.kind == "f":  # others would be decoded otherwise beside infinities
            is_finite = np.isfinite(stored[0]) & np.isfinite(stored[1])
            known = known & is_finite
            stored = [np.where(is_finite, each, 0).astype(rule.dtype) for each in stored]
        ends = [self._values(each) for each in stored]
        with np.errstate(invalid="ignore"):
            low, high = np.minimum(*ends), np.maximum(*ends)
        if self._is_made_boolean:  # what is false may lie between two that are true
            known = known & ((rows["min"] == rows["max"]) | ((rows["min"] >= 0) & (not self._is_packed)))
        if rule.is_unsigned and not self._keeps_order(rule):
            known = known & ((rows["min"] < 0) == (rows["max"] < 0))
        if rule.dtype == np.uint64 and self.dtype.kind not in "uf":  # made signed, as spans are: large ones wrap
            known = known & (rows["max"] < 2**63)
        known = known & (is_empty | ~(pd.isnull(low) | pd.isnull(high)))
        n_missing = self._sizes() - rows["count"]
        has_missing, is_counted = n_missing > 0, np.ones(self.shape, bool)
        markers = [*rule.markers, *([rule.dtype.type("nan")] if rule.dtype.kind == "f" else [])]
        if markers and not pd.isnull(self._values(np.array(markers, rule.dtype))).all():
            known = known & ~has_missing  # what was not counted is there, since nobody masks it
        fill = self._fill(rule)
        if fill is not None and pd.isnull(self._values(fill)).all() and fill[0] not in rule.markers:
            # the array's fill value is masked too, which rows count as valid
            low_stored, high_stored = (np.asarray(rows[name]).astype(rule.dtype) for name in ("min", "max"))
            compared = fill.view(rule.compared)[0]
            is_inside = (low_stored.view(rule.compared) <= compared) & (compared <= high_stored.view(rule.compared))
            has_missing, is_counted = has_missing | is_inside, np.zeros(self.shape, bool)
        if self.dtype.kind == "f" and rule.compared.kind in "iu" and rule.compared.itemsize == 8:
            # decoders compare with markers as floats, and mask integers beside a large one too
            large = [abs(each.view(rule.compared).astype(float)) >= EXACT for each in stored]
            has_missing, is_counted = has_missing | large[0] | large[1], is_counted & ~(large[0] | large[1])
        count = np.where(known & is_counted, rows["count"], -1)
        is_float = rule.dtype.kind == "f" or self._is_packed
        is_exact = not (are_times and is_float)
        return ChunkFacts(known, low, high, count, has_missing, self._sum(rows), is_exact)

    @property
    def _is_packed(self) -> bool:
        return not self.metadata.attributes.keys().isdisjoint(SCALE)

    @property
    def _is_made_boolean(self) -> bool:
        return self.dtype.kind == "b" and self.metadata.data_type.dtype.kind != "b"

    def _keeps_order(self, rule: Rule) -> bool:
        """Whether decoders take signed elements for the unsigned ones as which they are compared in rows."""
        info = np.iinfo(rule.dtype)
        found = self._values(np.array([0, info.max, info.min], rule.dtype))
        is_more = found[1:] > found[:-1]
        return bool(is_more.all() or (found[1:] < found[:-1]).all())

    @property
    def _linear(self) -> tuple[float, float] | None:
        """Factor and offset by which values are made of elements; None if they are made otherwise."""
        attributes, rule = self.metadata.attributes, self.rule
        if rule is None or rule.is_text or rule.is_unsigned or self.dtype.kind not in "biuf":
            return None
        if self._is_made_boolean:
            return None
        if not self.layers.functions:
            return 1.0, 0.0
        try:
            scale, offset = (
                float(member(attributes, name, float, n)) for name, n in zip(SCALE, (1.0, 0.0), strict=True)
            )
            # elements that stand for themselves: others would be masked
            few = np.array([n for n in range(64) if n not in rule.markers][:2], rule.dtype)
            found = self._values(few).astype(float)
        except (TypeError, ValueError, OverflowError):
            return None
        return (scale, offset) if np.allclose(found, few * scale + offset, rtol=1e-3) else None

    def _sum(self, rows: AnyArray) -> AnyArray | None:
        linear = self._linear
        if linear is None:
            return None
        found: AnyArray = np.asarray(rows["sum"])
        if linear == (1.0, 0.0):
            return found.astype(found.dtype.newbyteorder("="))
        scaled: AnyArray = found * linear[0] + rows["count"] * linear[1]
        return scaled

    def _values(self, elements: AnyArray) -> AnyArray:
        """The variable's values of stored elements, given in the dtype of the rule."""
        kind = self.metadata.data_type.dtype.newbyteorder("=")
        stored = elements.view(kind) if kind.kind in "mMb" else elements
        found = self.layers.decoded(stored)
        return found if found.dtype == self.dtype else found.astype(self.dtype, casting="same_kind")

    def _fill(self, rule: Rule) -> AnyArray | None:
        fill = self.metadata.fill_value
        if fill is None:
            return None
        array = np.array([fill], self.metadata.data_type.dtype.newbyteorder("="))
        found: AnyArray = array.view(rule.dtype)
        return found if found[0] == found[0] else None

    def _sizes(self) -> AnyArray:
        """Elements of each chunk that lie in the array."""
        sizes: AnyArray = np.ones(self.shape, np.int64)
        metadata = self.metadata
        for axis, (first, n, chunk, size) in enumerate(
            zip(self.first, self.shape, metadata.chunks, metadata.shape, strict=True)
        ):
            along = np.minimum(size - (first + np.arange(n)) * chunk, chunk)
            sizes = sizes * along.reshape([-1 if i == axis else 1 for i in range(len(self.shape))])
        return sizes

    def verify(self, wanted: AnyArray) -> bool:
        """Compare the digests of chunks with what is stored now; rows of others say nothing from then on.

        Parameters
        ----------
        wanted : ndarray of bool
            Which chunks, of `shape`. Each is looked at once.

        Returns
        -------
        bool
            Whether some rows did not fit.
        """
        rows = self.rows
        looked = self._is_looked_at if self._is_looked_at is not None else np.zeros(self.shape, bool)
        wanted = wanted & self.known & ~looked
        if not wanted.any():
            return False
        stored = self.lazy.stored
        stale = stale_rows(stored.elements, rows, wanted, self.first)
        if stored.store.traits.is_remote:
            look_again([self.lazy])
        else:
            self.lazy.check_still_there()
        rows = rows.copy()
        for position in stale:
            rows["known"][position] = 0
        self._rows, self._is_looked_at = rows, looked | wanted
        return bool(stale)


def _ends(part: Positions) -> tuple[int, int]:
    """The smallest and the largest position; the second is the smaller one where there are none."""
    if isinstance(part, int):
        return part, part
    if not len(part):
        return 0, -1
    if isinstance(part, range):
        return min(part[0], part[-1]), max(part[0], part[-1])
    return int(part.min()), int(part.max())


def _markers(metadata: ArrayMetadata) -> list[str]:
    return [name for name in MARKERS if name in metadata.attributes] + (
        ["fill"] if spec_of(metadata).IS_FILL_MISSING else []
    )


def stored_chunks(variable: xr.Variable) -> StoredChunks | None:
    """The chunks that a variable reads; None of one that is in memory, or not read lazily from a store of zarrds.

    Nor of one whose chunks differ in length.
    """
    layers = layers_of(variable)
    if layers is None or not isinstance(layers.array, LazyArray) or layers.array.stored.metadata.edges is not None:
        return None
    return StoredChunks(layers.array, layers, rule_of(layers.array.stored.metadata), np.dtype(variable.dtype))
