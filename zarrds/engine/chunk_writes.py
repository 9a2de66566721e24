"""How chunks are written: whole ones straight, of others what is there is read, changed and written under a lock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from math import gcd

import numpy as np

from zarrds.codecs.base import AnyArray, Parts
from zarrds.codecs.pipeline import Pipeline
from zarrds.engine.chunk_io import Chunks, Position, Seen
from zarrds.engine.executor import Worker
from zarrds.engine.planning.plans import ChunkProjection
from zarrds.engine.scratch import Scratch
from zarrds.errors import ChunkError, StoreIOError, ZarrdsError
from zarrds.storage.protocol import ValueChangedError, Values

__all__ = ["writer"]

_ATTEMPTS = 100  # to write a part of a chunk to which other machines write too
_REFUSALS = 20  # of these, though nobody has changed it


def writer(
    chunks: Chunks,
    values: AnyArray,
    encode: Callable[[AnyArray], Parts] | None = None,
    seen: Seen | None = None,
    *,
    is_alone: bool = False,
) -> Worker:
    """A function that writes one part of a plan from `values`, which has the plan's ``buffer_shape``.

    The plan must be one for whole chunks, also where these are shards. `encode` stands in for the array's codecs.
    `seen` is shown the elements of chunks of which all is written that lies in the array, if nobody else knows it.
    `is_alone` says that nobody else writes to these chunks meanwhile.
    """
    store, pipeline, fill = chunks.store, chunks.pipeline, chunks.fill
    encode = encode or pipeline.encode
    key_of, chunk_shape, dtype = chunks.key_of_position(), chunks.metadata.chunks, chunks.metadata.data_type.dtype
    is_empty = _empty_test(fill) if not chunks.write_empty_chunks else None
    memory = Scratch()
    scratch: AnyArray | None = None

    def put(position: Position, key: str, chunk: AnyArray) -> None:
        if is_empty is not None and is_empty(chunk) and chunks.may_be_absent(position) and store.identity(key) is None:
            return
        try:
            store.set(key, *encode(chunk))
        except ZarrdsError as error:
            raise error.located(path=store.path, key=key) from error.__cause__

    def write(part: ChunkProjection) -> None:
        nonlocal scratch
        position, at, inside, covers = part
        key = key_of(position)
        value = values[at]
        is_whole = covers and value.shape == chunk_shape
        if is_whole and value.dtype == dtype and value.flags.c_contiguous:
            if seen is not None and chunks.is_private:
                seen(position, value)
            put(position, key, value)
            return
        if scratch is None:
            scratch = chunks.new_chunk(chunk_shape, memory)
        if is_whole or (covers and chunks.is_private):
            if not is_whole:
                scratch[...] = fill
            scratch[inside] = value
            if seen is not None and chunks.is_private:
                seen(position, scratch[inside])
            put(position, key, scratch)
            return
        # also if all of the chunk is covered that lies in the array: another process may have made it larger
        _again_while_it_changes(store, key, lambda: merge(part, key, value))

    def merge(part: ChunkProjection, key: str, value: AnyArray) -> None:
        position, _, inside, covers = part
        assert scratch is not None
        with nullcontext() if is_alone else store.lock(key):
            if not _load(chunks, pipeline, key, scratch, covers=covers):
                if not covers:
                    chunks.check_absent(position, key)
                scratch[...] = fill
            scratch[inside] = value
            put(position, key, scratch)

    return write


def _load(chunks: Chunks, pipeline: Pipeline, key: str, out: AnyArray, *, covers: bool) -> bool:
    """Read a chunk, of which a part is going to be written; False if it is absent."""
    data = chunks.getter()(key, None)
    if data is None:
        return False
    try:
        chunks.decode_into(pipeline, key, data, out)
    except ChunkError as error:
        if covers:  # to write it again is what the user is doing
            error.mend = "Restore the chunk from a copy of the store, or remove it and write it again"
        raise
    return True


def _empty_test(fill: AnyArray) -> Callable[[AnyArray], bool]:
    """A function that tells whether a chunk holds nothing but the fill value."""
    if fill.dtype.hasobject:
        value = fill[()]
        # of objects that are no text, equal ones need not be stored alike: 1 == True
        is_text = isinstance(value, str | bytes)
        return lambda chunk: is_text and all(type(v) is type(value) and v == value for v in chunk.flat)
    # by their bytes, up to eight at a time: NaN is not equal to itself, and -0.0 is to 0.0
    unit = np.dtype(f"u{gcd(fill.dtype.itemsize, 8)}")
    wanted = fill.reshape(1).view(unit)

    def is_empty(chunk: AnyArray) -> bool:
        raw = chunk.reshape(-1).view(unit).reshape(-1, wanted.size)
        return bool((raw[:1] == wanted).all() and (raw == wanted).all())

    return is_empty


def _again_while_it_changes(store: Values, key: str, merge: Callable[[], None]) -> None:
    """Write a part of a chunk, once more whenever another machine has changed the chunk: what it wrote is to stay."""
    n_refused = 0
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            merge()
            return
        except ValueChangedError as error:
            n_refused += error.is_same
            if attempt == _ATTEMPTS or n_refused == _REFUSALS:
                problem = "others write to the chunk all the time"
                if error.is_same:
                    problem = "the server refuses to put the chunk, again and again, though nobody has changed it"
                raise StoreIOError(problem, path=store.path, key=key, mend="Try again") from error
            time.sleep(random.random() * 0.01 * attempt)
