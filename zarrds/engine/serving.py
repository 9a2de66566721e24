"""What of a selection is in the cache is served at once, in the caller's thread; the rest is left to read."""

from __future__ import annotations

import time
from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

from zarrds.codecs.base import AnyArray
from zarrds.engine.cache import CachedChunks
from zarrds.engine.chunk_io import CacheMisses, Chunks
from zarrds.engine.kernel.job import NativeJob, address
from zarrds.engine.kernel.library import Library
from zarrds.engine.kernel.targets import positions_of, rows_of
from zarrds.engine.planning.plans import Batch, ChunkProjection, Plan, Subset
from zarrds.engine.planning.tables import Positions
from zarrds.storage.local.tree import SETTLES

__all__ = ["serve"]


def serve(
    plan: Plan, out: AnyArray, chunks: Chunks, cached: CachedChunks, native: tuple[Library, NativeJob] | None
) -> tuple[Plan, CacheMisses]:
    """Copy what is in the cache to its place.

    Chunks that are wanted as a whole are not looked for: who reads all passes the cache by.

    Parameters
    ----------
    plan : Plan
        Of chunks that can be read by themselves, few enough that the cache admits them.
    out : ndarray
        Of the plan's ``buffer_shape``.
    chunks : Chunks
    cached : CachedChunks
    native : (Library, NativeJob), optional
        If the plan is basic or one of points, and the kernel has the store.

    Returns
    -------
    (Plan, CacheMisses)
        What is left, and what was found out of it.
    """
    batch, misses = plan.batch(0, plan.n_chunks), CacheMisses(cached, {})
    if native is None:
        left = _left(batch, out, chunks, misses)
    else:
        left = _left_natively(batch, out, chunks, misses, *native, is_basic=plan.is_basic)
    return plan if left.size == len(batch) else Subset(plan, batch, left), misses


def _left(batch: Batch, out: AnyArray, chunks: Chunks, misses: CacheMisses) -> Positions:
    """Which chunks are left; `misses` gets what is found out of them."""
    cached, key_of = misses.cached, chunks.key_of_readable()
    left: list[int] = []
    for number, part in enumerate(batch):
        if not part.covers:
            identity = cached.identity(key_of(part.position))
            ((chunk, keep),) = cached.find([part.position], [identity])
            if chunk is not None:
                out[part.out] = chunk[part.inside]
                continue
            _note(misses, chunks, part, identity, keep)
        left.append(number)
    return np.array(left, np.intp)


def _note(misses: CacheMisses, chunks: Chunks, part: ChunkProjection, identity: Hashable | None, keep: bool) -> None:
    if identity is not None:
        misses.identities[part.position] = identity, keep or chunks.should_keep(part)


def _left_natively(
    batch: Batch,
    out: AnyArray,
    chunks: Chunks,
    misses: CacheMisses,
    kernel: Library,
    job: NativeJob,
    *,
    is_basic: bool,
) -> Positions:
    """As `_left`, all chunks in a few calls."""
    rows = rows_of(batch, is_basic=is_basic)
    is_partial: npt.NDArray[np.bool_] = np.asarray((rows[:, 4] < 0).any(axis=0))
    partial = np.flatnonzero(is_partial)
    n = partial.size
    if not n:
        return np.arange(len(batch))
    if n < len(batch):
        rows = np.ascontiguousarray(rows[:, :, partial])
    found_at, statuses = np.empty((n, 3), np.int64), np.empty(n, np.uint8)
    kernel.identify(job.reference, n, address(rows), address(found_at), address(statuses))
    # a value younger than that may be written anew without getting another identity
    says_something = (statuses == 0) & (found_at[:, 1] <= time.time_ns() - SETTLES)
    identities = [tuple(i) if ok else None for i, ok in zip(found_at.tolist(), says_something.tolist(), strict=True)]
    positions = positions_of(rows)
    found = misses.cached.find(positions, identities)
    statuses[:] = 1
    if is_basic:
        addresses = np.array([0 if chunk is None else address(chunk) for chunk, _ in found], np.uint64)
        if addresses.any():
            kernel.copy(job.reference, n, address(rows), address(addresses), address(statuses))
    else:
        for number, (chunk, _) in enumerate(found):
            if chunk is not None:
                part = batch.part(int(partial[number]))
                out[part.out] = chunk[part.inside]
                statuses[number] = 0
    for number in np.flatnonzero(statuses).tolist():
        part = batch.part(int(partial[number]))
        _note(misses, chunks, part, identities[number], found[number][1])
    is_left = ~is_partial
    is_left[partial] = statuses != 0
    return np.flatnonzero(is_left)
