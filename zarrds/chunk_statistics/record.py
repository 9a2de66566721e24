"""The statistics of an array's chunks as they are stored: one row a chunk, in a hidden array below the array.

Nothing of them is believed that does not fit: a row counts only for the chunk that it was made of, which its digest
tells, and for the part of that chunk that lies in the array.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, TypeAlias

import numpy as np

from zarrds.chunk_statistics.facts import Facts, Rule, rule_of
from zarrds.codecs.base import AnyArray
from zarrds.codecs.defaults import default_codecs
from zarrds.engine.elements import Elements
from zarrds.errors import ZarrdsError
from zarrds.metadata.attributes import MARKERS
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.equality import is_same
from zarrds.metadata.extension import STATISTICS
from zarrds.metadata.fields import Raw
from zarrds.metadata.fill_values import decode_fill_value, default_fill_value, encode_fill_value
from zarrds.metadata.formats import v3
from zarrds.metadata.hidden import hidden_array, hidden_document, hidden_path
from zarrds.metadata.model import ArrayMetadata, ChunkKeyEncoding, raw_codec
from zarrds.storage.protocol import Store, Values

__all__ = [
    "Place",
    "new_rows",
    "put_rows",
    "read_rows",
    "row_dtype",
    "row_of",
    "rows_of",
    "statistics_path",
]

# the attribute that says what the rows are of
_OF = "statistics_of"
_VERSION = 2
# rows in a chunk of the hidden array when it is made, and at the most
_ROWS = 4096
_MAX_ROWS = 1 << 20
# attributes by which elements are compared, or missing
_MEANING = (*MARKERS, "_Unsigned")
# whose settings do not change what their bytes decode to
_COMPRESSORS = frozenset(
    "blosc gzip zstd crc32c numcodecs.blosc numcodecs.zlib numcodecs.bz2 numcodecs.lzma numcodecs.lz4 numcodecs.gzip "
    "numcodecs.zstd numcodecs.crc32c".split()
)
# one chunk of the grid, or some that have the same row
Place: TypeAlias = "tuple[int | slice, ...]"
_MIX = np.uint64(0x9E3779B97F4A7C15)


def statistics_path(path: str) -> str:
    """Where the statistics of the array at `path` lie."""
    return hidden_path(path, STATISTICS)


def row_dtype(rule: Rule) -> np.dtype[Any]:
    """The dtype of a row.

    ``known`` is 1 where the others say something. ``crc32c`` is the digest of the chunk as it is stored, 0 of an absent
    one. ``check`` is a digest of the row itself and of its place in the grid, which `put_rows` puts in.
    """
    return np.dtype(
        [
            ("known", "u1"),
            ("crc32c", "<u4"),
            ("count", "<i8"),
            ("sum", rule.sum_dtype.newbyteorder("<")),
            ("min", rule.dtype.newbyteorder("<")),
            ("max", rule.dtype.newbyteorder("<")),
            ("check", "<u8"),
        ]
    )


def new_rows(rule: Rule, shape: int | tuple[int, ...]) -> AnyArray:
    """Rows that say nothing."""
    return np.zeros(shape, row_dtype(rule))


def row_of(rule: Rule, digest: int | None, facts: Facts | None) -> AnyArray:
    """The row of a chunk: its digest, None for an absent one, and its facts, None if there are none to tell.

    It says nothing of a chunk that is there with the digest 0, which is that of absent ones.
    """
    return rows_of(rule, [digest], [facts])


def rows_of(rule: Rule, digests: Sequence[int | None], facts: Sequence[Facts | None]) -> AnyArray:
    """The rows of several chunks; see `row_of`."""
    rows = new_rows(rule, len(digests))
    each_chunk = enumerate(zip(digests, facts, strict=True))
    told = [(i, digest or 0, each) for i, (digest, each) in each_chunk if digest != 0 and each is not None]
    if not told:
        return rows
    known = new_rows(rule, len(told))
    known["known"], known["crc32c"] = 1, [digest for _, digest, _ in told]
    for name in ("count", "sum", "min", "max"):
        known[name] = [getattr(each, name) for _, _, each in told]
    rows[[i for i, _, _ in told]] = known
    return rows


def _checks(rows: AnyArray, first: Sequence[int], metadata: ArrayMetadata) -> AnyArray:
    """The digest of each row: its place, and its bytes but for the last eight, in words of 64 bits.

    Its place is the chunk's position in the grid, and how much of the chunk lies in the array, along each dimension:
    two chunks may be stored alike of which other parts lie in it. `first` is the position of the first row.
    """
    n = rows.dtype.itemsize - 8
    words = -(-n // 8)
    raw = np.zeros((rows.size, words * 8), np.uint8)
    raw[:, :n] = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).reshape(rows.size, rows.dtype.itemsize)[:, :n]
    found: AnyArray = np.full(rows.shape, words, np.uint64)
    for axis, (low, n, size, chunk) in enumerate(zip(first, rows.shape, metadata.shape, metadata.chunks, strict=True)):
        numbers = np.arange(low, low + n, dtype=np.int64)
        for place in (numbers, np.minimum(size - numbers * chunk, chunk)):
            found = _mixed(found, place.view(np.uint64).reshape([-1 if i == axis else 1 for i in range(rows.ndim)]))
    for column in raw.view("<u8").T:
        found = _mixed(found, column.reshape(rows.shape))
    return found


def _mixed(found: AnyArray, words: AnyArray) -> AnyArray:
    mixed = (found ^ words) * _MIX
    return np.asarray(mixed ^ (mixed >> np.uint64(32)))


def _said_of(metadata: ArrayMetadata) -> Raw:
    """All that rows depend on, but for the chunks themselves."""
    return {
        "version": _VERSION,
        "shape": list(metadata.shape),
        "chunks": list(metadata.chunks),
        "data_type": metadata.data_type.name + str(metadata.data_type.dtype),
        "codecs": [{"name": c["name"]} if c["name"] in _COMPRESSORS else raw_codec(c) for c in metadata.codecs],
        "fill_value": encode_fill_value(metadata.fill_value, metadata.data_type),
        "attributes": {name: metadata.attributes[name] for name in _MEANING if name in metadata.attributes},
    }


def _hidden_metadata(metadata: ArrayMetadata, rule: Rule) -> ArrayMetadata:
    grid, left = metadata.chunk_grid, _ROWS
    chunks: list[int] = []
    for size in reversed(grid):
        chunks.insert(0, max(1, min(size, left)))
        left //= chunks[0]
    if grid and left > 1:
        chunks[0] *= left  # there may be more along it some day
    data_type = DataType.from_numpy(row_dtype(rule).newbyteorder("="))
    nothing = encode_fill_value(default_fill_value(data_type), data_type)
    return ArrayMetadata(
        shape=grid,
        data_type=data_type,
        chunks=tuple(chunks),
        codecs=default_codecs(data_type, v3),
        fill_value=decode_fill_value(nothing, data_type),
        chunk_key_encoding=ChunkKeyEncoding(),
        dimension_names=None,
        attributes={_OF: _said_of(metadata)},
    )


def _stored(store: Store, path: str, metadata: ArrayMetadata, rule: Rule) -> tuple[ArrayMetadata, list[int]] | None:
    """The hidden array of an array and the shape that it had then; None if there is none, or one of something else."""
    try:
        hidden = hidden_array(store, statistics_path(path))
    except ZarrdsError:
        return None
    said = None if hidden is None else hidden.attributes.get(_OF)
    shape = said.get("shape") if isinstance(said, dict) else None
    if hidden is None or not isinstance(said, dict) or not isinstance(shape, list):
        return None
    is_shape = len(shape) == len(metadata.shape) and all(type(n) is int and 0 <= n < 2**62 for n in shape)
    if not is_shape or not is_same(said, {**_said_of(metadata), "shape": shape}):
        return None
    grid = replace(metadata, shape=tuple(shape)).chunk_grid
    dtype = hidden.data_type.dtype
    if hidden.shape != grid or dtype != row_dtype(rule) or prod(hidden.chunks) > _MAX_ROWS:
        return None
    return hidden, shape


def read_rows(
    store: Store, path: str, metadata: ArrayMetadata, key: tuple[slice, ...] | None = None
) -> AnyArray | None:
    """The rows of an array's chunks, as far as they are in themselves right; their digests are not compared here.

    Parameters
    ----------
    store : Store
    path : str
        Of the array.
    metadata : ArrayMetadata
    key : tuple of slice, optional
        Which of the chunk grid, one slice of step 1 a dimension; all unless said.

    Returns
    -------
    ndarray or None
        Structured, see `row_dtype`. Rows that say nothing have zero for ``known``. None without statistics.
    """
    rule = rule_of(metadata)
    found = None if rule is None else _stored(store, path, metadata, rule)
    if rule is None or found is None:
        return None
    hidden, shape = found
    key = key or tuple(slice(0, n) for n in metadata.chunk_grid)
    bounds = [part.indices(n) for part, n in zip(key, metadata.chunk_grid, strict=True)]
    rows = new_rows(rule, tuple(max(0, stop - start) for start, stop, _ in bounds))
    there = tuple(slice(start, min(stop, n)) for (start, stop, _), n in zip(bounds, hidden.shape, strict=True))
    if all(part.stop > part.start for part in there):
        try:
            read = Elements(store, statistics_path(path), hidden, n_workers=1).read(there)
        except ZarrdsError:
            return None
        rows[tuple(slice(0, part.stop - part.start) for part in there)] = read
    # what lies in the array of a chunk at its edge may be another part than it was
    for axis, ((start, stop, _), old, new, chunk) in enumerate(
        zip(bounds, shape, metadata.shape, metadata.chunks, strict=True)
    ):
        numbers = np.arange(start, max(start, stop), dtype=np.int64)
        has_other = np.minimum(old - numbers * chunk, chunk) != np.minimum(new - numbers * chunk, chunk)
        rows["known"][(slice(None),) * axis + (has_other,)] = 0
    rows["known"] &= _are_possible(rows, rule, [start for start, _, _ in bounds], metadata)
    return rows


def _are_possible(rows: AnyArray, rule: Rule, first: Sequence[int], metadata: ArrayMetadata) -> AnyArray:
    """Whether rows are what was once written, as far as they tell themselves."""
    low, high = (np.ascontiguousarray(rows[name]).astype(rule.dtype).view(rule.compared) for name in ("min", "max"))
    is_right = (rows["known"] == 1) & (_checks(rows, first, metadata) == rows["check"]) & (rows["count"] >= 0)
    ordered: AnyArray = is_right & (low <= high)
    return ordered


def put_rows(
    store: Store,
    values: Values,
    path: str,
    metadata: ArrayMetadata,
    found: Iterable[tuple[Place, AnyArray]],
) -> None:
    """Put new rows in the place of those of some chunks; what is known of the others is kept.

    The caller holds the store's lock.

    Parameters
    ----------
    store : Store
        Where the statistics are, if there are any.
    values : Values
        What takes the new ones: that store, or changes of it that are staged.
    path : str
    metadata : ArrayMetadata
        Of the array as it is from now on.
    found : iterable of (tuple of int or slice, ndarray)
        Chunks' positions in the grid, and their rows; a later one counts where two have the same.
    """
    rule = rule_of(metadata)
    if rule is None:
        return
    where, placed = statistics_path(path), list(found)
    stored = _stored(store, path, metadata, rule)
    fresh, whole = _hidden_metadata(metadata, rule), tuple(slice(0, n) for n in metadata.chunk_grid)
    key = whole
    if stored is not None:
        fresh = replace(fresh, chunks=stored[0].chunks)
        if hidden_document(where, fresh) == hidden_document(where, stored[0]):  # of others nothing changes
            key = _box_of([place for place, _ in placed], whole)
    rows = None if stored is None else read_rows(store, path, metadata, key)
    if rows is None:
        key, rows = whole, new_rows(rule, metadata.chunk_grid)
    for place, row in placed:
        rows[tuple(n if isinstance(n, slice) else n - part.start for n, part in zip(place, key, strict=False))] = row[0]
    rows["check"] = np.where(rows["known"] == 1, _checks(rows, [part.start for part in key], metadata), np.uint64(0))
    if key == whole:
        values.set(*hidden_document(where, fresh))
    if rows.size:
        Elements(values, where, fresh, is_private=True).write(key, rows)


def _box_of(places: Sequence[Place], whole: tuple[slice, ...]) -> tuple[slice, ...]:
    """The part of the grid in which all of some chunks lie; all of it if they are told by slices."""
    if not places or any(len(place) != len(whole) or any(isinstance(n, slice) for n in place) for place in places):
        return whole
    numbers = np.array(places, np.int64)
    ends = zip(numbers.min(axis=0).tolist(), numbers.max(axis=0).tolist(), strict=True)
    return tuple(slice(low, high + 1) for low, high in ends)
