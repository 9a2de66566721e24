"""What is known of the order of the labels that a 1-D array holds: noted when they are saved, searched by when read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zarrds.chunk_statistics.digests import is_checksummed
from zarrds.chunk_statistics.missing import missing_markers
from zarrds.codecs.filters import FILTERS
from zarrds.engine import executor
from zarrds.engine.elements import Elements
from zarrds.errors import MetadataError, ZarrdsError
from zarrds.labels.sorted import zone_maps
from zarrds.labels.sorted.blocks import MAX_BLOCKS, Blocks
from zarrds.labels.sorted.scan import Scan
from zarrds.labels.sorted.source import Array, Order
from zarrds.metadata.fields import JSON, Raw
from zarrds.metadata.model import SHARDING, ArrayMetadata
from zarrds.metadata.times import is_since

__all__ = ["OrderRecord", "StaleRecordError", "is_current", "is_recordable", "record_of"]

# attributes by which xarray makes something else of the elements, perhaps in another order
_CHANGING = ("scale_factor", "add_offset", "_Unsigned")
# unsorted labels are only looked at for duplicates up to so many
_MAX_HASHED = 1 << 20
# elements that are looked at at a time: few enough for what is made of them to stay in a core's cache
_PIECE = 1 << 17


class StaleRecordError(ZarrdsError):
    """The labels are not those that the record of their order was made of."""


@dataclass(frozen=True, slots=True, eq=False)
class OrderRecord:
    """What is known of the order of the elements of a 1-D array.

    Attributes
    ----------
    size : int
        Elements of the array.
    order : {"increasing", "decreasing"} or None
        How they are sorted; equal neighbours are allowed. None if they are not, or if some are missing.
    unique : bool or None
        Whether no element occurs twice; None if that is not known.
    step : int or None
        If element ``i`` is ``first + i * step``; never zero.
    block : int
        Elements of a block, of which the last may have fewer: some whole chunks.
    first, last : ndarray, shape (n_blocks,)
        The first and the last stored element of each block.
    crc32c : ndarray of uint32, shape (n_blocks,)
        The digest of each block, see `Blocks.digest`.

    Examples
    --------
    >>> import zarrds
    >>> array = zarrds.create_array(zarrds.MemoryStore(), shape=5, dtype="i4", chunks=2)
    >>> array[:] = [10, 20, 30, 40, 50]
    >>> record = record_of(Elements(array.store, array.path, array.metadata))
    >>> record.order, record.unique, record.step, record.first, record.last
    ('increasing', True, 10, array([10, 30, 50], dtype=int32), array([20, 40, 50], dtype=int32))
    >>> OrderRecord.from_json(record.to_json(), array.metadata).to_json() == record.to_json()
    True
    """

    size: int
    order: Order | None
    unique: bool | None
    step: int | None
    block: int
    first: Array
    last: Array
    crc32c: Array

    def to_json(self) -> Raw:
        """The record as it stands in the array's metadata document."""
        return {
            "size": self.size,
            "order": self.order,
            "unique": self.unique,
            "step": self.step,
            "block": self.block,
            "first": zone_maps.to_json(self.first),
            "last": zone_maps.to_json(self.last),
            "crc32c": zone_maps.to_json(self.crc32c),
        }

    @classmethod
    def from_json(cls, value: JSON, metadata: ArrayMetadata) -> OrderRecord:
        """The record that a document holds.

        Raises
        ------
        MetadataError
            If it is malformed, or cannot be one of this array.
        """
        if not isinstance(value, dict) or not is_recordable(metadata):
            raise _invalid("order of labels", "an object, of a 1-D array of numbers, times or text", value)
        (size,), (chunk,) = metadata.shape, metadata.chunks
        _check_member(value, "size", type(value.get("size")) is int and value["size"] == size, size)
        orders = ("increasing", "decreasing", None)
        order = value.get("order", "")
        _check_member(
            value, "order", any(order is o or (isinstance(order, str) and order == o) for o in orders), orders
        )
        unique, step, block = value.get("unique"), value.get("step"), value.get("block")
        _check_member(value, "unique", unique is None or type(unique) is bool, "true, false or null")
        _check_member(value, "step", step is None or (type(step) is int and step != 0), "an integer or null")
        if type(block) is not int or not 0 < block < 2**63 or block % chunk:
            raise _invalid("block", f"a multiple of {chunk}", block)
        n = -(-size // block)
        record = cls(
            size=size,
            order=order,
            unique=unique,
            step=step,
            block=block,
            first=zone_maps.from_json(value.get("first"), n, metadata.data_type, "first"),
            last=zone_maps.from_json(value.get("last"), n, metadata.data_type, "last"),
            crc32c=zone_maps.from_json(value.get("crc32c"), n, zone_maps.DIGEST, "crc32c"),
        )
        record._check()
        return record

    def _check(self) -> None:
        """Raise if the members contradict each other."""
        n, scan = len(self.first), Scan()
        n_longer = 0 if self.block == 1 else n - (self.size % self.block == 1)  # the others have a single element
        scan.compare(self.first[:n_longer], self.last[:n_longer])
        scan.compare(self.last[:-1], self.first[1:])
        possible = {"increasing": scan.increasing, "decreasing": scan.decreasing, None: True}
        is_same = self.order is None or bool((self.first[n_longer:] == self.last[n_longer:]).all())
        if not is_same or not possible[self.order] or (self.order and self.unique and not scan.unique):
            raise _invalid("order", "one that first and last have", self.order)
        if self.step is not None and not self._has_step():
            raise _invalid("step", "the one of first and last", self.step)

    def _has_step(self) -> bool:
        if self.first.dtype.kind not in "iu" or self.size < 2 or not self.unique or self.step is None:
            return False
        if (self.order == "increasing") != (self.step > 0) or self.order is None:
            return False
        start = int(self.first[0])
        if start + (self.size - 1) * self.step != int(self.last[-1]):
            return False
        # what lies between is in the dtype's range, so that it may be computed modulo that
        positions = np.arange(0, self.size, self.block, dtype=np.uint64)
        ends = np.minimum(positions + np.uint64(self.block), np.uint64(self.size)) - np.uint64(1)
        base, step = (np.uint64(n % (1 << 64)) for n in (start, self.step))
        return all(
            bool(
                (base + at * step == label.astype(np.int64 if label.dtype.kind == "i" else np.uint64).view("u8")).all()
            )
            for at, label in ((positions, self.first), (ends, self.last))
        )


def _check_member(value: Raw, name: str, is_valid: bool, expected: object) -> None:
    if not is_valid:
        raise _invalid(name, expected, value.get(name))


def _invalid(name: str, expected: object, found: object) -> MetadataError:
    return MetadataError(
        f"the record of the order of the labels is wrong: {name}",
        expected=expected,
        found=found,
        mend="Make it anew with zarrds.index",
    )


def is_recordable(metadata: ArrayMetadata) -> bool:
    """Whether the order of an array's elements is that of the labels that xarray makes of them, and can be noted."""
    data_type, attributes = metadata.data_type, metadata.attributes
    kind = data_type.dtype.kind
    if len(metadata.shape) != 1 or metadata.edges is not None:
        return False
    if any(codec["name"] == SHARDING for codec in metadata.codecs):
        return False
    if any(name in attributes for name in _CHANGING) or attributes.get("dtype") == "bool":
        return False
    if kind == "f":  # rounded when they become times
        return not is_since(attributes.get("units"))
    return kind in "iumM" or data_type.name in ("string", "fixed_length_utf32")


def record_of(
    elements: Elements,
    values: Array | None = None,
    before: OrderRecord | None = None,
    *,
    max_blocks: int = MAX_BLOCKS,
) -> OrderRecord:
    """Make the record of an array whose chunks are all written.

    Parameters
    ----------
    elements : Elements
        Of an array that `is_recordable`.
    values : ndarray, optional
        All of its elements, where they are in memory; else they are read, a few blocks at a time.
    before : OrderRecord, optional
        Of the array that this one has grown from, and true of it: what it says of whole blocks is not looked at again.
    max_blocks : int
        How many blocks there may be before they are made of more than one chunk each.

    Returns
    -------
    OrderRecord

    Raises
    ------
    ChunkError
        If a chunk cannot be read.
    """
    blocks = Blocks(elements, limit=max_blocks)
    native = elements.dtype.newbyteorder("=")
    if _changes_values(elements.metadata):
        values = None
    elif values is not None:
        values = np.ascontiguousarray(elements.as_values(values).astype(native, copy=False))
    if before is not None and (before.block != blocks.block or not max(blocks.block, 2) <= before.size <= blocks.size):
        before = None
    scan = _new_scan(elements, values) if before is None else _resumed_scan(before, missing_markers(elements.metadata))
    first, last, digests = (np.empty(len(blocks), dtype) for dtype in (native, native, np.uint32))
    n_known = 0
    if before is not None:
        n_known = before.size // blocks.block
        for new, old in ((first, before.first), (last, before.last), (digests, before.crc32c)):
            new[:n_known] = old[:n_known]
    _look(blocks, range(n_known, len(blocks)), values, scan, (first, last, digests))
    order = scan.order
    known_unique = True if before is None else before.unique
    if order is not None or known_unique is False:
        unique = scan.unique and known_unique
    else:
        unique = _is_unique_unsorted(values)
    step = scan.step if order is not None and blocks.size > 1 else None
    return OrderRecord(blocks.size, order, unique, step, blocks.block, first, last, digests)


def _changes_values(metadata: ArrayMetadata) -> bool:
    """Whether a codec may lose digits, so that what is read is not what was in memory."""
    return any(codec["name"].removeprefix("numcodecs.") in FILTERS for codec in metadata.codecs)


def _new_scan(elements: Elements, values: Array | None) -> Scan:
    step = None
    if elements.dtype.kind in "iu" and elements.shape[0] > 1:
        head = elements.read(slice(0, 2)) if values is None else values[:2]
        step = int(head[1]) - int(head[0])
    return Scan(step=step or None, markers=missing_markers(elements.metadata))


def _resumed_scan(before: OrderRecord, markers: tuple[Any, ...]) -> Scan:
    """What is possible after the whole blocks of an array that has grown."""
    # sorted elements of which the first and the last are equal can go on either way
    n = before.size // before.block
    is_constant = before.order is not None and bool(before.first[0] == before.last[n - 1])
    return Scan(
        increasing=before.order == "increasing" or is_constant,
        decreasing=before.order == "decreasing" or is_constant,
        unique=before.unique is not False,
        step=before.step,
        markers=markers,
    )


def _look(blocks: Blocks, numbers: range, values: Array | None, scan: Scan, found: tuple[Array, Array, Array]) -> None:
    """Scan these blocks, and put down their first and last elements and their digests."""
    first, last, digests = found

    def make_worker() -> Callable[[int], None]:
        read = blocks.reader(1) if values is None else None

        def look(i: int) -> None:
            if read is not None:
                elements, (digests[i],) = read((i,))
                elements = elements.astype(first.dtype, copy=False)
            else:
                assert values is not None
                elements, digests[i] = values[i * blocks.block : (i + 1) * blocks.block], blocks.digest(i)
            first[i], last[i] = elements[0], elements[-1]
            for start in range(0, elements.size, _PIECE):
                scan.look(elements[start : start + _PIECE + 1])

        return look

    executor.run(numbers, make_worker, part_nbytes=blocks.nbytes, workers=blocks.elements.n_workers)
    scan.compare(last[:-1], first[1:])


def _is_unique_unsorted(values: Array | None) -> bool | None:
    if values is None or values.size > _MAX_HASHED:
        return None
    if values.dtype.kind == "U":
        values = values.astype(object)
    elif values.dtype.kind in "mM":
        values = values.view(np.int64)
    elif values.dtype == np.float16:  # which pandas does not hash
        values = values.astype(np.float32)
    return len(pd.unique(values)) == values.size


def is_current(record: OrderRecord, elements: Elements, at_most: int = 256) -> bool:
    """Whether the record still is of these chunks, as far as a few of them tell.

    Parameters
    ----------
    record : OrderRecord
    elements : Elements
    at_most : int
        Chunks whose digests are compared: the first, the last, and others that are spread evenly.

    Returns
    -------
    bool
        True, without a look, where the array's last codec is not ``crc32c``, as whole chunks would have to be read.
    """
    if not is_checksummed(elements.metadata):
        return True
    blocks = Blocks(elements, record.block)
    if len(blocks) != record.crc32c.size:
        return False
    n = max(2, at_most // (record.block // elements.metadata.chunks[0]))
    numbers = np.unique(np.linspace(0, len(blocks) - 1, min(n, len(blocks))).round().astype(np.int64))
    stale: list[int] = []

    def look(i: int) -> None:
        if not stale and blocks.digest(i) != record.crc32c[i]:
            stale.append(i)

    executor.run_small(numbers.tolist(), lambda: look, elements.store, elements.n_workers)
    return not stale
