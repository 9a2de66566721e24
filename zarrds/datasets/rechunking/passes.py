"""Carries out the plan of one array, step by step; a step can be repeated, and finished steps need not be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from zarrds.chunk_statistics.building import WrittenFacts
from zarrds.codecs.base import AnyArray, Buffer
from zarrds.codecs.defaults import default_codecs
from zarrds.codecs.pipeline import Pipeline, build_pipeline
from zarrds.codecs.sharding import Sharding
from zarrds.datasets.rechunking.plan import ArrayPlan, Block, Shape, pieces_of
from zarrds.datasets.rechunking.stored import Stored, in_whole_chunks, numbered_blocks
from zarrds.engine.blocks import blocks, n_blocks
from zarrds.engine.chunk_io import Chunks
from zarrds.engine.elements import Elements
from zarrds.engine.executor import run
from zarrds.errors import ChunkError, ZarrdsError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.extension import marks_of
from zarrds.metadata.formats import v3
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.protocol import Store

__all__ = ["Job", "Step", "steps_of"]


@dataclass(frozen=True, slots=True)
class Job:
    """One array: its plan, where it comes from, and where it goes.

    Attributes
    ----------
    plan : ArrayPlan
    source, target, scratch : Store
        `scratch` is for pieces.
    before, after : ArrayMetadata
    to : str
        The path of the copy in its store.
    seen : WrittenFacts, optional
        Where statistics of chunks are kept as they are written.
    stored : Stored, optional
        What is there of an array of which most is absent: nothing else is copied.
    """

    plan: ArrayPlan
    source: Store
    target: Store
    scratch: Store
    before: ArrayMetadata
    after: ArrayMetadata
    to: str
    seen: WrittenFacts | None = None
    stored: Stored | None = None

    @property
    def parts(self) -> Sequence[Block] | None:
        """The elements that are copied; None for all."""
        return None if self.stored is None else self.stored.parts


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the work that is done or not done.

    Attributes
    ----------
    name : str
        Different in each job.
    nbytes : int
        Decoded bytes that it brings to their place, for progress.
    work : callable
        It can be repeated as long as it is not noted that it is done.
    tidy : callable, optional
        Removes what is not needed any more, once that is noted.
    """

    name: str
    nbytes: int
    work: Callable[[], None]
    tidy: Callable[[], None] | None = None


def steps_of(job: Job) -> Iterator[Step]:
    """The steps of a job, in order."""
    makers = {"bytes": _copy_bytes, "packed": _pack, "direct": _write_directly, "through pieces": _through_pieces}
    return makers[job.plan.how](job)


def _elements(job: Job, *, of_target: bool) -> Elements:
    store, path, metadata = (job.target, job.to, job.after) if of_target else (job.source, job.plan.path, job.before)
    return Elements(store, path, metadata, is_private=of_target, n_workers=job.plan.workers)


def _nbytes(job: Job, block: Block) -> int:
    elements = int(np.prod([part.stop - part.start for part in block], dtype=np.int64))
    return elements * job.before.data_type.dtype.itemsize


def _write_directly(job: Job) -> Iterator[Step]:
    source, target = _elements(job, of_target=False), _elements(job, of_target=True)

    def work(block: Block) -> Callable[[], None]:
        return lambda: target.write(block, np.asarray(source.read(block)), seen=job.seen)

    plan = job.plan
    for number, _, part in numbered_blocks(plan.shape, plan.write_block, job.parts):
        block = in_whole_chunks(part, plan.target_chunks, plan.shape)
        yield Step(f"{job.to} {number}", _nbytes(job, block), work(block))


# ------------------------------------------------------------------------------- through pieces


def _through_pieces(job: Job) -> Iterator[Step]:
    plan, parts = job.plan, job.parts
    if parts is not None:  # of what is written all is read
        parts = [block for _, block, _ in numbered_blocks(plan.shape, plan.write_block, parts)]
    for number, block, _ in numbered_blocks(plan.shape, plan.read_block, parts):
        yield Step(f"{job.to} read {number}", _nbytes(job, block) // 2, _keeping(job, block))
    for number, block, _ in numbered_blocks(plan.shape, plan.write_block, job.parts):
        nbytes = -(-_nbytes(job, block) // 2)
        yield Step(f"{job.to} write {number}", nbytes, _putting(job, block), _removing(job, block))


def _keeping(job: Job, block: Block) -> Callable[[], None]:
    """Reads a block and keeps it in pieces."""

    def work() -> None:
        values = np.asarray(_elements(job, of_target=False).read(block))

        def keep(piece: Block) -> None:
            part = np.ascontiguousarray(values[_within(piece, block)])
            job.scratch.set(_key_of(job, piece), *_pipeline(part.shape, job.before.data_type).encode(part))

        _each_piece(job, block, keep)

    return work


def _putting(job: Job, block: Block) -> Callable[[], None]:
    """Puts the pieces of a block together and writes it."""

    def put(values: AnyArray, piece: Block) -> None:
        key = _key_of(job, piece)
        data = job.scratch.get(key)
        if data is None:
            raise ChunkError("a piece of an unfinished copy is missing", path=job.scratch.path, key=key,
                             mend="Remove the hidden folder beside the target, and begin again")  # fmt: skip
        at = values[_within(piece, block)]
        try:
            at[...] = _pipeline(at.shape, job.before.data_type).decode(data)
        except ZarrdsError as error:
            raise error.located(path=job.scratch.path, key=key) from error.__cause__

    def work() -> None:
        values = np.empty([part.stop - part.start for part in block], job.before.data_type.dtype)
        _each_piece(job, block, lambda piece: put(values, piece))
        _elements(job, of_target=True).write(block, values, seen=job.seen)

    return work


def _removing(job: Job, block: Block) -> Callable[[], None]:
    """Removes the pieces of a block."""
    return lambda: _each_piece(job, block, lambda piece: job.scratch.delete(_key_of(job, piece)))


def _each_piece(job: Job, block: Block, work: Callable[[Block], None]) -> None:
    pieces = list(pieces_of(job.plan.shape, block, job.plan.read_block, job.plan.write_block))
    largest = max((_nbytes(job, piece) for piece in pieces), default=1)
    held = _nbytes(job, block)
    # each thread has a piece, and its bytes
    at_once = max(1, min(job.plan.workers, (job.plan.peak_nbytes - held) // (2 * max(largest, 1))))
    run(pieces, lambda: work, part_nbytes=max(largest, 1), workers=at_once)


def _within(piece: Block, block: Block) -> Block:
    return tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(piece, block, strict=True))


def _key_of(job: Job, piece: Block) -> str:
    return "/".join([job.to or "array", ".".join(str(part.start) for part in piece) or "0"])


@lru_cache(maxsize=64)
def _pipeline(shape: Shape, data_type: DataType) -> Pipeline:
    return build_pipeline(default_codecs(data_type, v3), shape, data_type)


# ------------------------------------------------------------------------------- without decoding

_BATCH = 64  # chunks of a step


def _copy_bytes(job: Job) -> Iterator[Step]:
    """Copies chunks as they are; chunks that are absent stay absent."""
    grid = job.before.chunk_grid
    source, target = _chunks(job)
    nbytes = job.plan.nbytes // max(1, n_blocks(grid, (1,) * len(grid)))
    get = source.getter()

    def copy(position: Shape) -> None:
        data = get(source.key(position), None)
        if data is not None:
            job.target.set(target.key(position), data)

    def work(batch: list[Shape]) -> Callable[[], None]:
        return lambda: run(batch, lambda: copy, part_nbytes=max(nbytes, 1), workers=job.plan.workers)

    positions = _positions(grid) if job.stored is None else job.stored.positions
    for number, batch in enumerate(_batches(positions)):
        yield Step(f"{job.to} {number}", nbytes * len(batch), work(batch))


def _positions(grid: Shape) -> Iterator[Shape]:
    return (tuple(part.start for part in block) for block in blocks(grid, (1,) * len(grid)))


def _batches(positions: Iterable[Shape]) -> Iterator[list[Shape]]:
    batch: list[Shape] = []
    for position in positions:
        batch.append(position)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _chunks(job: Job) -> tuple[Chunks, Chunks]:
    """Those of the source, and those of the target."""
    return Chunks(job.source, job.plan.path, job.before), Chunks(job.target, job.to, job.after)


def _pack(job: Job) -> Iterator[Step]:
    """Puts chunks into shards as they are."""
    _, target = _chunks(job)
    sharding = target.pipeline.shards
    assert sharding is not None  # the plan says so
    grid = job.after.chunk_grid
    nbytes = job.plan.nbytes // max(1, n_blocks(grid, (1,) * len(grid)))

    def work(batch: list[Shape]) -> Callable[[], None]:
        return lambda: run(batch, lambda: lambda at: _pack_one(job, sharding, at), part_nbytes=max(nbytes, 1),
                           workers=job.plan.workers)  # fmt: skip

    positions: Iterable[Shape] = _positions(grid)
    if job.stored is not None:
        positions = sorted({_divided(position, sharding.grid) for position in job.stored.positions})
    for number, batch in enumerate(_batches(positions)):
        yield Step(f"{job.to} {number}", nbytes * len(batch), work(batch))


def _divided(position: Shape, grid: Shape) -> Shape:
    return tuple(p // n for p, n in zip(position, grid, strict=True))


def _pack_one(job: Job, sharding: Sharding, position: Shape) -> None:
    source, target = _chunks(job)
    grid, complete, get = job.before.chunk_grid, marks_of(job.before).complete, source.getter()

    def encoded(inner: Shape) -> Buffer | None:
        chunk = tuple(p * n + i for p, n, i in zip(position, sharding.grid, inner, strict=True))
        if any(c >= n for c, n in zip(chunk, grid, strict=True)):
            return None
        data = get(source.key(chunk), None)
        begins = (c * size for c, size in zip(chunk, job.before.chunks, strict=True))
        if data is None and complete is not None and all(b < n for b, n in zip(begins, complete, strict=True)):
            # a shard without it would say that it holds nothing but fill values
            raise ChunkError("a chunk is missing", path=job.source.path, key=source.key(chunk),
                             mend="Restore it from a copy")  # fmt: skip
        return data

    shard = sharding.packed(encoded)
    if shard is not None:
        job.target.set(target.key(position), *shard)
