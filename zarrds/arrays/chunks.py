"""One chunk: find its key, read it, write it, lock it.

`reader` and `writer` make the functions that `zarrds.arrays.workers` runs; each has buffers of its own, so each is
for one thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from zarrds.arrays.selection import Part
from zarrds.arrays.shards import InnerChunks
from zarrds.arrays.workers import Worker
from zarrds.codecs.base import AnyArray
from zarrds.codecs.pipeline import Pipeline, build_pipeline
from zarrds.codecs.sharding import ChunkCodecs, Sharding
from zarrds.errors import ChunkError, ZarrdsError
from zarrds.metadata.fill_values import default_fill_value
from zarrds.metadata.model import ArrayMetadata
from zarrds.stores.base import Buffer, Store

__all__ = ["Chunks"]

# what codecs may add to an incompressible chunk (headers, checksums), generously
_CODEC_OVERHEAD = 4096
# where nothing tells how large a chunk's bytes are
_FIRST_BUFFER = 256 * 1024
_MAX_FIRST_BUFFER = 64 * 1024 * 1024

# writers of parts of one chunk take turns; a few locks serve all chunks, and nobody holds two
_locks = [threading.Lock() for _ in range(64)]


def _renew_locks() -> None:
    # in a forked child nobody would release those that its parent's threads held
    _locks[:] = [threading.Lock() for _ in _locks]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


@dataclass(frozen=True, slots=True)
class Chunks:
    """The chunks of one array.

    Attributes
    ----------
    store : Store
    path : str
        Of the array.
    metadata : ArrayMetadata
    """

    store: Store
    path: str
    metadata: ArrayMetadata

    @property
    def pipeline(self) -> Pipeline:
        """The array's codecs. Raises `MetadataError` for those that zarrds does not have."""
        metadata = self.metadata
        try:
            return build_pipeline(metadata.codecs, metadata.chunks, metadata.data_type, self.fill_value)
        except ZarrdsError as error:
            raise error.located(path=self.store.path, key=self.path or "/") from error.__cause__

    @property
    def fill_value(self) -> Any:
        """What an absent chunk holds."""
        value = self.metadata.fill_value
        return default_fill_value(self.metadata.data_type) if value is None else value

    @property
    def readable(self) -> tuple[int, ...]:
        """The shape of what can be read by itself: of an inner chunk of a shard, or else of a chunk."""
        shards = self.pipeline.shards
        return self.metadata.chunks if shards is None else shards.chunks

    def nbytes_of(self, shape: tuple[int, ...]) -> int:
        """Bytes of a decoded chunk or inner chunk, at least 1."""
        return max(prod(shape) * self.metadata.data_type.dtype.itemsize, 1)

    def position(self, key: str) -> tuple[int, ...] | None:
        """The position in the grid of the chunk of that key, None if the key is no chunk's."""
        encoding = self.metadata.chunk_key_encoding
        base = (f"{self.path}/" if self.path else "") + encoding.prefix
        names = key.removeprefix(base).split(encoding.separator) if key.startswith(base) else []
        if len(names) != len(self.metadata.shape) or not all(name.isdecimal() for name in names):
            return None
        return tuple(map(int, names))

    def _key_of_names(self) -> Callable[[tuple[str, ...]], str]:
        """A quick function from a chunk's numbers, as text, to its key."""
        encoding = self.metadata.chunk_key_encoding
        if not self.metadata.shape:
            return lambda _: self.key(())
        prefix, separator = (f"{self.path}/" if self.path else "") + encoding.prefix, encoding.separator
        return lambda names: prefix + separator.join(names)

    def _fetcher(self, sharding: Sharding | None) -> Callable[[tuple[str, ...], memoryview], tuple[str, Buffer | None]]:
        """A function from a chunk's numbers and a buffer to the key and the bytes, None where there are none."""
        if sharding is not None:
            return InnerChunks(self.store, self.key, sharding).fetch
        get, key_of = self.store.get, self._key_of_names()

        def fetch(names: tuple[str, ...], buffer: memoryview) -> tuple[str, Buffer | None]:
            key = key_of(names)
            return key, get(key, buffer)

        return fetch

    def key(self, position: tuple[int, ...]) -> str:
        """The key of the chunk at `position` in the grid."""
        encoding = self.metadata.chunk_key_encoding
        return (f"{self.path}/" if self.path else "") + encoding.key(position)

    def _buffer(self, shape: tuple[int, ...]) -> memoryview:
        variable = self.metadata.data_type.is_variable_length
        size = _FIRST_BUFFER if variable else self.nbytes_of(shape) + _CODEC_OVERHEAD
        return np.empty(min(size, _MAX_FIRST_BUFFER), np.uint8).data

    def _fill(self) -> AnyArray:
        # an array of no dimensions: a list that is one JSON element would else be taken apart
        fill = np.empty((), self.metadata.data_type.dtype)
        fill[()] = self.fill_value
        return fill

    def _scratch(self, shape: tuple[int, ...]) -> AnyArray:
        try:
            return np.empty(shape, self.metadata.data_type.dtype)
        except (MemoryError, ValueError) as error:
            raise ChunkError(
                "a chunk does not fit in memory",
                path=self.store.path,
                key=self.path,
                found=f"{self.nbytes_of(shape)} bytes",
            ) from error

    def _decode(self, pipeline: ChunkCodecs, key: str, data: Buffer, out: AnyArray) -> AnyArray:
        try:
            return pipeline.decode(data, out)
        except ZarrdsError as error:
            raise error.located(path=self.store.path, key=key) from error.__cause__
        except (MemoryError, OverflowError) as error:
            raise ChunkError(f"chunk cannot be decoded: {error}", path=self.store.path, key=key) from error

    def reader(self, out: AnyArray, *, is_basic: bool) -> Worker:
        """A function that reads one part of a plan into `out`, which has the plan's ``buffer_shape``.

        The plan must be one for the `readable` chunks.
        """
        pipeline, fill, chunk_shape = self.pipeline, self._fill(), self.readable
        codecs: ChunkCodecs = pipeline if pipeline.shards is None else pipeline.shards.inner
        fetch = self._fetcher(pipeline.shards)
        direct = is_basic and codecs.in_place
        buffer = self._buffer(chunk_shape)
        scratch: AnyArray | None = None

        def read(part: Part) -> None:
            nonlocal buffer, scratch
            names, at, inside, covers = part
            key, data = fetch(names, buffer)
            if data is None:
                out[at] = fill
                return
            if len(data) > len(buffer):
                buffer = np.empty(len(data) + len(data) // 4, np.uint8).data
            if direct and covers:
                target = out[at]
                if target.shape == chunk_shape and target.flags.c_contiguous:
                    array = self._decode(codecs, key, data, target)
                    if array is not target:
                        target[...] = array
                    return
            if scratch is None:
                scratch = self._scratch(chunk_shape)
            out[at] = self._decode(codecs, key, data, scratch)[inside]

        return read

    def writer(self, values: AnyArray) -> Worker:
        """A function that writes one part of a plan from `values`, which has the plan's ``buffer_shape``.

        The plan must be one for whole chunks, also where these are shards.
        """
        store, pipeline, fill = self.store, self.pipeline, self._fill()
        key_of = self._key_of_names()
        chunk_shape, dtype = self.metadata.chunks, self.metadata.data_type.dtype
        scratch: AnyArray | None = None

        def store_chunk(key: str, chunk: AnyArray) -> None:
            try:
                store.set(key, *pipeline.encode(chunk))
            except ZarrdsError as error:
                raise error.located(path=store.path, key=key) from error.__cause__

        def write(part: Part) -> None:
            nonlocal scratch
            names, at, inside, covers = part
            key = key_of(names)
            value = values[at]
            if covers and value.shape == chunk_shape and value.dtype == dtype and value.flags.c_contiguous:
                store_chunk(key, value)
                return
            if scratch is None:
                scratch = self._scratch(chunk_shape)
            if covers:
                if value.shape != chunk_shape:
                    scratch[...] = fill
                scratch[inside] = value
                store_chunk(key, scratch)
                return
            # by the store and not its path: one folder has many
            with _locks[hash((store, key)) % len(_locks)]:
                data = store.get(key)
                if data is None:
                    scratch[...] = fill
                else:
                    decoded = self._decode(pipeline, key, data, scratch)
                    if decoded is not scratch:
                        scratch[...] = decoded
                scratch[inside] = value
                store_chunk(key, scratch)

        return write
