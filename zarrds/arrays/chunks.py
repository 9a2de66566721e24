"""One chunk: find its key, read it, write it, lock it.

`reader` and `writer` make the functions that `zarrds.arrays.workers` runs; each has buffers of its own, so each is
for one thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrds.arrays.selection import Part
from zarrds.arrays.workers import Worker
from zarrds.codecs.base import AnyArray
from zarrds.codecs.pipeline import Pipeline, build_pipeline
from zarrds.errors import ChunkError, ZarrdsError
from zarrds.metadata.dtypes import default_fill_value
from zarrds.metadata.model import ArrayMetadata
from zarrds.stores.base import Buffer, Store

__all__ = ["Chunks"]

# what codecs may add to an incompressible chunk (headers, checksums), generously
_CODEC_OVERHEAD = 4096
# where nothing tells how large a chunk's bytes are
_FIRST_BUFFER = 256 * 1024
_MAX_FIRST_BUFFER = 64 * 1024 * 1024

# writers of parts of one chunk take turns; a few locks serve all chunks, and nobody holds two
_locks = tuple(threading.Lock() for _ in range(64))


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
            return build_pipeline(metadata.codecs, metadata.chunks, metadata.data_type)
        except ZarrdsError as error:
            raise error.located(path=self.store.path, key=self.path or "/") from error.__cause__

    @property
    def fill_value(self) -> Any:
        value = self.metadata.fill_value
        return default_fill_value(self.metadata.data_type) if value is None else value

    @property
    def part_nbytes(self) -> int:
        return max(self.metadata.chunk_nbytes, 1)

    def _key_parts(self) -> tuple[str, str, str]:
        """The key of a 0-d array's chunk, what stands before the chunk's numbers, and what between them."""
        encoding = self.metadata.chunk_key_encoding
        base = f"{self.path}/" if self.path else ""
        return base + encoding.key(()), base + encoding.prefix, encoding.separator

    def key(self, position: tuple[int, ...]) -> str:
        """The key of the chunk at `position` in the grid."""
        encoding = self.metadata.chunk_key_encoding
        return (f"{self.path}/" if self.path else "") + encoding.key(position)

    def _buffer(self) -> memoryview:
        variable = self.metadata.data_type.is_variable_length
        size = _FIRST_BUFFER if variable else self.metadata.chunk_nbytes + _CODEC_OVERHEAD
        return np.empty(min(size, _MAX_FIRST_BUFFER), np.uint8).data

    def _scratch(self) -> AnyArray:
        try:
            return np.empty(self.metadata.chunks, self.metadata.data_type.dtype)
        except (MemoryError, ValueError) as error:
            raise ChunkError(
                "a chunk does not fit in memory",
                path=self.store.path,
                key=self.path,
                found=f"{self.metadata.chunk_nbytes} bytes",
            ) from error

    def _decode(self, pipeline: Pipeline, key: str, data: Buffer, out: AnyArray) -> AnyArray:
        try:
            return pipeline.decode(data, out)
        except ZarrdsError as error:
            raise error.located(path=self.store.path, key=key) from error.__cause__
        except (MemoryError, OverflowError) as error:
            raise ChunkError(f"chunk cannot be decoded: {error}", path=self.store.path, key=key) from error

    def reader(self, out: AnyArray, *, is_basic: bool) -> Worker:
        """A function that reads one part of a plan into `out`, which has the plan's ``buffer_shape``."""
        store, pipeline, fill_value = self.store, self.pipeline, self.fill_value
        scalar_key, prefix, separator = self._key_parts()
        chunk_shape = self.metadata.chunks
        direct = is_basic and pipeline.in_place
        buffer = self._buffer()
        scratch: AnyArray | None = None

        def read(part: Part) -> None:
            nonlocal buffer, scratch
            names, at, inside, covers = part
            key = prefix + separator.join(names) if names else scalar_key
            data = store.get(key, buffer)
            if data is None:
                out[at] = fill_value
                return
            if len(data) > len(buffer):
                buffer = np.empty(len(data) + len(data) // 4, np.uint8).data
            if direct and covers:
                target = out[at]
                if target.shape == chunk_shape and target.flags.c_contiguous:
                    array = self._decode(pipeline, key, data, target)
                    if array is not target:
                        target[...] = array
                    return
            if scratch is None:
                scratch = self._scratch()
            out[at] = self._decode(pipeline, key, data, scratch)[inside]

        return read

    def writer(self, values: AnyArray) -> Worker:
        """A function that writes one part of a plan from `values`, which has the plan's ``buffer_shape``."""
        store, pipeline, fill_value = self.store, self.pipeline, self.fill_value
        scalar_key, prefix, separator = self._key_parts()
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
            key = prefix + separator.join(names) if names else scalar_key
            value = values[at]
            if covers and value.shape == chunk_shape and value.dtype == dtype and value.flags.c_contiguous:
                store_chunk(key, value)
                return
            if scratch is None:
                scratch = self._scratch()
            if covers:
                if value.shape != chunk_shape:
                    scratch[...] = fill_value
                scratch[inside] = value
                store_chunk(key, scratch)
                return
            with _locks[hash((store.path, key)) % len(_locks)]:
                data = store.get(key)
                if data is None:
                    scratch[...] = fill_value
                else:
                    decoded = self._decode(pipeline, key, data, scratch)
                    if decoded is not scratch:
                        scratch[...] = decoded
                scratch[inside] = value
                store_chunk(key, scratch)

        return write
