"""The chunks of one array: their keys, and how they are read. `zarrds.engine.chunk_writes` writes them.

`Chunks.reader` makes the functions that `zarrds.engine.executor` runs; each has buffers of its own, so each is for one
thread.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np

from zarrds.codecs.base import AnyArray, Span
from zarrds.codecs.pipeline import Pipeline, build_pipeline
from zarrds.codecs.sharding import ChunkCodecs, Sharding
from zarrds.engine.cache import ArrayToken, CachedChunks, ChunkCache, token_of
from zarrds.engine.executor import Worker
from zarrds.engine.planning.plans import ChunkProjection
from zarrds.engine.planning.selection import Chunking
from zarrds.engine.planning.spans import span_of
from zarrds.engine.remembered import Remembered
from zarrds.engine.scratch import Scratch
from zarrds.engine.shard_io import InnerChunks
from zarrds.errors import ChunkError, MetadataError, ZarrdsError, locating
from zarrds.metadata.extension import marks_of
from zarrds.metadata.fill_values import default_fill_value
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.rectilinear import Edges, lengths_of
from zarrds.storage.protocol import Buffer, Values
from zarrds.storage.traits import BoundedValues, has_trait

__all__ = ["ABSENT", "CacheMisses", "Chunks", "MissingChunks", "Position", "Seen"]

# what an absent chunk is: a loss, its fill value, or (None) what the array's marks say
MissingChunks: TypeAlias = Literal["error", "fill"] | None
# of a chunk in the grid
Position: TypeAlias = tuple[int, ...]
Seen: TypeAlias = Callable[[Position, AnyArray], None]
Fetch: TypeAlias = Callable[[Position, str, memoryview, Hashable], Buffer | None]

ABSENT = "absent"  # among `Chunks.notes`: how often a chunk was absent that may be
# what codecs may add to an incompressible chunk (headers, checksums), generously
_CODEC_OVERHEAD = 4096
# bytes: chunks that are no larger are one block of Blosc, mostly
_ONE_BLOCK = 256 * 1024
# of the number of a chunk along a dimension, in a key; Python takes no more than some thousand for a number
_MOST_DIGITS = len(str(2**63))
# where nothing tells how large a chunk's bytes are
_FIRST_BUFFER = 256 * 1024
_MAX_FIRST_BUFFER = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CacheMisses:
    """Chunks that are not in the cache, and what was found out of them there.

    Attributes
    ----------
    cached : CachedChunks
    identities : dict
        Of positions, to the identity that the chunk's value had, and whether to keep it.
    """

    cached: CachedChunks
    identities: dict[Position, tuple[Hashable, bool]]


def _check_shards(edges: tuple[Edges, ...], sharding: Sharding) -> None:
    """Raise `MetadataError` unless inner chunks fill every shard evenly."""
    for each, inner in zip(edges, sharding.chunks, strict=True):
        for length in [each] if isinstance(each, int) else [length for length, _ in each]:
            if length % inner:
                raise MetadataError(
                    "inner chunks do not fill the shard evenly",
                    codec="sharding_indexed",
                    expected=f"a divisor of {length}",
                    found=sharding.chunks,
                )


@dataclass(frozen=True)
class Chunks:
    """The chunks of one array.

    Attributes
    ----------
    store : Values
    path : str
        Of the array.
    metadata : ArrayMetadata
    missing_chunks : {"error", "fill"} or None
        What an absent chunk is, to readers and to writers of a part of it; None goes by `Marks.complete`.
    is_private : bool
        Whether nobody else knows the array, as when it is being saved: no other process can then have made it larger.
    write_empty_chunks : bool
        Whether to write chunks that hold nothing but the fill value where there were none.
    """

    store: Values
    path: str
    metadata: ArrayMetadata
    missing_chunks: MissingChunks = None
    is_private: bool = False
    write_empty_chunks: bool = True

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # not what is remembered

    @Remembered
    def pipeline(self) -> Pipeline:
        """The array's codecs. Raises `MetadataError` for those that zarrds does not have."""
        metadata = self.metadata
        try:
            found = build_pipeline(metadata.codecs, metadata.chunks, metadata.data_type, self.fill_value)
            if metadata.edges is not None and found.shards is not None:
                _check_shards(metadata.edges, found.shards)
        except ZarrdsError as error:
            raise error.located(path=self.store.path, key=self.path or "/") from error.__cause__
        return found

    @property
    def shards(self) -> Sharding | None:
        """The sharding codec, if inner chunks are read by themselves; shards that differ are read as a whole."""
        return self.pipeline.shards if self.metadata.edges is None else None

    @Remembered
    def chunking(self) -> Chunking:
        """The lengths of whole chunks, as plans know them."""
        edges = self.metadata.edges
        return self.metadata.chunks if edges is None else lengths_of(edges)

    @property
    def readable_chunking(self) -> Chunking:
        """The lengths of what can be read by itself."""
        return self.readable if self.metadata.edges is None else self.chunking

    def shape_of(self, position: Position) -> tuple[int, ...]:
        """The shape of what can be read by itself, at a position."""
        if self.metadata.edges is None:
            return self.readable
        lengths = zip(self.chunking, position, strict=True)
        return tuple(each if isinstance(each, int) else int(each[number]) for each, number in lengths)

    def _codecs_of(self, shape: tuple[int, ...]) -> ChunkCodecs:
        """The codecs of what can be read by itself and has that shape."""
        if shape == self.readable:
            return self.codecs
        metadata = self.metadata
        with locating(self.store.path, self.path or "/"):
            return build_pipeline(metadata.codecs, shape, metadata.data_type, self.fill_value)

    @Remembered
    def notes(self) -> dict[str, Any]:
        """Where those who work on the chunks keep what they found out about them."""
        return {}

    @property
    def fill_value(self) -> Any:
        """What an absent chunk holds."""
        value = self.metadata.fill_value
        return default_fill_value(self.metadata.data_type) if value is None else value

    @Remembered
    def readable(self) -> tuple[int, ...]:
        """The shape of what can be read by itself: of an inner chunk of a shard, or else of a chunk, the longest."""
        shards = self.shards
        return self.metadata.chunks if shards is None else shards.chunks

    def nbytes_of(self, shape: tuple[int, ...]) -> int:
        """Bytes of a decoded chunk or inner chunk, at least 1."""
        return max(prod(shape) * self.metadata.data_type.dtype.itemsize, 1)

    def position(self, key: str) -> tuple[int, ...] | None:
        """The position of the chunk whose key this is, to the letter; it may lie outside of the grid."""
        if not self.metadata.shape:
            return () if key == self.key(()) else None
        encoding = self.metadata.chunk_key_encoding
        base = (f"{self.path}/" if self.path else "") + encoding.prefix
        names = key.removeprefix(base).split(encoding.separator) if key.startswith(base) else []
        if len(names) != len(self.metadata.shape):
            return None
        if not all(name.isdecimal() and len(name) <= _MOST_DIGITS for name in names):
            return None
        position = tuple(map(int, names))
        return position if self.key(position) == key else None

    def position_in_grid(self, key: str) -> tuple[int, ...] | None:
        """As `position`, None also for a chunk that lies outside of the grid."""
        position, grid = self.position(key), self.metadata.chunk_grid
        return None if position is None or any(p >= n for p, n in zip(position, grid, strict=True)) else position

    def key_of_position(self) -> Callable[[Position], str]:
        """A quick function from a chunk's position in the grid to its key."""
        encoding = self.metadata.chunk_key_encoding
        if not self.metadata.shape:
            return lambda _: self.key(())
        prefix, separator = self.key_prefix, encoding.separator
        return lambda position: prefix + separator.join(map(str, position))

    def key_of_readable(self) -> Callable[[Position], str]:
        """A quick function from the position of what can be read by itself to the key of its value."""
        shards, key_of = self.shards, self.key_of_position()
        if shards is None:
            return key_of
        grid = shards.grid
        return lambda position: key_of(tuple(number // size for number, size in zip(position, grid, strict=True)))

    def inner_chunks(self, sharding: Sharding) -> InnerChunks:
        """What finds inner chunks in shards, for one thread."""
        return InnerChunks(self.store, self.key, sharding, self.check_absent)

    @property
    def key_prefix(self) -> str:
        """What stands before the numbers in the key of a chunk, or is all of it where there are none."""
        if not self.metadata.shape:
            return self.key(())
        return (f"{self.path}/" if self.path else "") + self.metadata.chunk_key_encoding.prefix

    def _fetcher(self, sharding: Sharding | None) -> tuple[Callable[[Position], str], Fetch]:
        """Two functions: from a chunk's position to its key, and to its bytes, which are None where there are none."""
        if sharding is not None:
            inner = self.inner_chunks(sharding)
            return inner.key_of_position, inner.fetch
        get, key_of = self.getter(), self.key_of_position()

        def fetch(position: Position, key: str, buffer: memoryview, _identity: Hashable) -> Buffer | None:
            data = get(key, buffer)
            if data is None:
                self.check_absent(position, key)
            return data

        return key_of, fetch

    def getter(self) -> Callable[[str, memoryview | None], Buffer | None]:
        """A function that reads a chunk's value, and refuses one that is larger than any chunk of the array can be."""
        limit, store = self.pipeline.most_encoded_nbytes, self.store
        bounded = store.get_at_most if has_trait(store, BoundedValues) else None

        def get(key: str, buffer: memoryview | None) -> Buffer | None:
            try:
                data = store.get(key, buffer) if bounded is None else bounded(key, limit, buffer)
            except MemoryError as error:
                raise ChunkError("a chunk does not fit in memory", path=store.path, key=key) from error
            if data is not None and len(data) > limit:
                raise ChunkError(
                    "chunk is larger than it can be",
                    path=store.path,
                    key=key,
                    expected=f"at most {limit} bytes",
                    found="more",
                    mend="Restore it from a copy, or write all of it again",
                )
            return data

        return get

    @Remembered
    def n_required(self) -> tuple[int, ...] | None:
        """How many chunks must be there along each dimension; None if any may be absent."""
        complete = self.metadata.shape if self.missing_chunks == "error" else marks_of(self.metadata).complete
        if complete is None or self.missing_chunks == "fill":
            return None
        return self.metadata.grid_of(complete)

    def may_be_absent(self, position: Position) -> bool:
        """Whether the chunk at a position may be absent, which then means the fill value."""
        required = self.n_required
        return required is None or any(p >= n for p, n in zip(position, required, strict=True))

    def check_absent(self, position: Position, key: str) -> None:
        """Raise if it is a loss that a chunk is absent."""
        if not self.may_be_absent(position):
            asked = self.missing_chunks == "error"
            raise ChunkError(
                "a chunk is missing",
                path=self.store.path,
                key=key,
                expected="every chunk" if asked else "every chunk that was there when the array was saved",
                mend="Restore it from a copy, or write all of it again. If another library removed it because it "
                "held nothing but the fill value, open the store with missing_chunks='fill'",
            )
        self.notes[ABSENT] = self.notes.get(ABSENT, 0) + 1

    def key(self, position: tuple[int, ...]) -> str:
        """The key of the chunk at `position` in the grid."""
        encoding = self.metadata.chunk_key_encoding
        return (f"{self.path}/" if self.path else "") + encoding.key(position)

    @Remembered
    def _token(self) -> ArrayToken:
        """What the array's decoded chunks are found by: it goes by all that says how bytes are decoded."""
        metadata = self.metadata
        codecs = marshal.dumps(list(metadata.codecs), 2)
        # shards hold the fill value where they have no inner chunk
        meaning = self.path, self.readable, metadata.edges, metadata.data_type, codecs, repr(self.fill_value)
        return token_of(self.store, meaning)

    def _first_buffer_nbytes(self) -> int:
        variable = self.metadata.data_type.is_variable_length
        return min(_FIRST_BUFFER if variable else self.nbytes_of(self.readable) + _CODEC_OVERHEAD, _MAX_FIRST_BUFFER)

    @Remembered
    def fill(self) -> AnyArray:
        """The fill value as an array without dimensions."""
        # an array of no dimensions: a list that is one JSON element would else be taken apart
        try:
            fill = np.empty((), self.metadata.data_type.dtype)
            fill[()] = self.fill_value
        except MemoryError as error:
            raise self.too_large(()) from error
        return fill

    def new_chunk(self, shape: tuple[int, ...], scratch: Scratch | None = None) -> AnyArray:
        """Memory for a decoded chunk of that shape: new, or of a worker."""
        dtype = self.metadata.data_type.dtype
        try:
            return np.empty(shape, dtype) if scratch is None else scratch.take_array(shape, dtype)
        except (MemoryError, ValueError) as error:
            raise self.too_large(shape) from error

    def too_large(self, shape: tuple[int, ...]) -> ChunkError:
        """The error that a decoded chunk of that shape is more than there is memory for."""
        nbytes = self.nbytes_of(shape)
        return ChunkError(
            "a chunk does not fit in memory", path=self.store.path, key=self.path, found=f"{nbytes} bytes"
        )

    def _decode(
        self, pipeline: ChunkCodecs, key: str, data: Buffer, out: AnyArray, span: Span | None = None
    ) -> AnyArray:
        try:
            return pipeline.decode(data, out, span)
        except ZarrdsError as error:
            raise error.located(path=self.store.path, key=key) from error.__cause__
        except (MemoryError, OverflowError) as error:
            raise ChunkError(f"chunk cannot be decoded: {error}", path=self.store.path, key=key) from error

    def decode_into(self, pipeline: ChunkCodecs, key: str, data: Buffer, out: AnyArray) -> None:
        """Decode the bytes of the chunk of that key into memory of its shape."""
        array = self._decode(pipeline, key, data, out)
        if array is not out:
            out[...] = array  # it may lie in the buffer of the bytes

    @property
    def codecs(self) -> ChunkCodecs:
        """Of what can be read by itself."""
        shards = self.shards
        return self.pipeline if shards is None else shards.inner

    @property
    def in_blocks(self) -> bool:
        """Whether of what can be read by itself it pays to decode only a part."""
        return self.codecs.has_blocks and self.nbytes_of(self.readable) > _ONE_BLOCK

    def cached(self, cache: ChunkCache) -> CachedChunks:
        """The array's chunks in a cache."""
        return CachedChunks(cache, self.store, self._token, self.nbytes_of(self.readable))

    def should_keep(self, part: ChunkProjection) -> bool:
        """Whether a chunk of which that part is wanted is kept at once: what must be decoded anyway.

        One of which a small part is enough is kept when it is wanted again.
        """
        if not self.in_blocks:
            return True
        shape = self.shape_of(part.position)
        start, stop = span_of(part.inside, shape, self.metadata.data_type.dtype.itemsize)
        return 2 * (stop - start) > self.nbytes_of(shape)

    def fill_absent(self, out: AnyArray) -> Worker:
        """A function that does what there is to do for a chunk that the store does not have."""

        def fill(part: ChunkProjection) -> None:
            self.check_absent(part.position, self.key(part.position))
            out[part.out] = self.fill

        return fill

    def reader(
        self,
        out: AnyArray,
        *,
        is_basic: bool,
        misses: CacheMisses | None = None,
        seen: Callable[[Buffer | None], None] | None = None,
        fetch: Fetch | None = None,
        put: Callable[[ChunkProjection, AnyArray], bool] | None = None,
    ) -> Worker:
        """A function that reads one part of a plan into `out`, which has the plan's ``buffer_shape``.

        The plan must be one for the `readable` chunks. `misses` says which chunks to keep; `seen` is shown
        the bytes of each chunk, None for one that is absent. `fetch` stands in for what finds them in the store,
        and `put` for NumPy, to copy what is wanted of a chunk to its place; False if it did not.
        """
        chunk_shape, codecs = self.readable, self.codecs
        is_regular = self.metadata.edges is None
        key_of, find = self._fetcher(self.shards)
        fetch = fetch or find
        direct = is_basic and codecs.in_place
        in_blocks = self.in_blocks
        kept = {} if misses is None else misses.identities
        # one for each: what is outgrown, or of another shape, is given back as soon as it is replaced
        memory, chunk_memory = Scratch(), Scratch()
        buffer = memory.take(self._first_buffer_nbytes()).data
        scratch: AnyArray | None = None

        def read(part: ChunkProjection) -> None:
            nonlocal buffer, memory, scratch, chunk_memory, chunk_shape, codecs
            position, at, inside, covers = part
            key = key_of(position)
            identity, keep = kept.get(position, (None, False))
            data = fetch(position, key, buffer, identity)
            if seen is not None:
                seen(data)
            if data is None:
                out[at] = self.fill
                return
            if len(data) > len(buffer):
                other = Scratch()
                buffer, memory = other.take(len(data) + len(data) // 4).data, other
            if not is_regular:
                chunk_shape = self.shape_of(position)
                codecs = self._codecs_of(chunk_shape)
            if direct and covers:
                target = out[at]
                if target.shape == chunk_shape and target.flags.c_contiguous:
                    self.decode_into(codecs, key, data, target)
                    return
            if keep and misses is not None and misses.cached.is_still(key, identity):
                chunk = self.new_chunk(chunk_shape)
                self.decode_into(codecs, key, data, chunk)
                misses.cached.keep(position, identity, chunk)
                out[at] = chunk[inside]
                return
            span = span_of(inside, chunk_shape, out.itemsize) if in_blocks and not covers else None
            if scratch is None or scratch.shape != chunk_shape:
                other = Scratch()
                scratch, chunk_memory = self.new_chunk(chunk_shape, other), other
            chunk = self._decode(codecs, key, data, scratch, span)
            if put is None or not put(part, chunk):
                out[at] = chunk[inside]

        return read
