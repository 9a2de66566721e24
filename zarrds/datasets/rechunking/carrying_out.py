"""A planned copy is made: array by array and step by step, in a hidden place, until it appears as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import numpy as np

from zarrds.chunk_statistics.keeping import Touched, put_statistics
from zarrds.chunk_statistics.record import put_rows, read_rows
from zarrds.datasets.rechunking.layout import marked_anew
from zarrds.datasets.rechunking.passes import Job, Step, steps_of
from zarrds.datasets.rechunking.sources import Copied, Source
from zarrds.datasets.rechunking.stored import stored_of
from zarrds.datasets.writing.commit.new_store import find_target
from zarrds.datasets.writing.commit.noting import all_of, with_statistics
from zarrds.datasets.writing.commit.order import noted_again
from zarrds.datasets.writing.sources import check_not_inside
from zarrds.engine.chunk_io import Chunks
from zarrds.engine.executor import Progress
from zarrds.engine.progress import ProgressOption, progress_bar
from zarrds.errors import StoreExistsError
from zarrds.metadata.model import ArrayMetadata, Node
from zarrds.metadata.nodes.written import documents_of_store, raws_of
from zarrds.storage.commits.committer import committer_of, prepare
from zarrds.storage.local.store import LocalStore
from zarrds.storage.local.workspace import workspace
from zarrds.storage.protocol import Store

__all__ = ["CopyOptions", "Mode", "carry_out"]

Mode: TypeAlias = Literal["w", "w-"]


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """What users ask of a copy beside its chunks; the names are those of `zarrds.rechunk`.

    `what` is the word for it: a run that was killed is gone on with only by the same.
    """

    what: Literal["copy", "rechunk"]
    mode: Mode
    statistics: bool | None
    progress: ProgressOption


def carry_out(source: Source, copied: Sequence[Copied], goal: Store, options: CopyOptions) -> None:
    """Make a copy of arrays that were planned, and of the groups of their source.

    Raises
    ------
    StoreExistsError
        If the target is there already, or is the source.
    ChunkError
        If a chunk of the source is damaged or missing.
    ConflictError
        If the source was changed meanwhile, or another process is at the same work.
    """
    _check_apart(source.store, goal)
    target = find_target(goal, "", options.mode, source.spec.zarr_format)
    nodes: dict[str, Node] = {**source.groups, **{each.path: each.after for each in copied}}
    identity = sha256(repr((source.store.path, source.version, options.what, copied)).encode()).hexdigest()
    with _at_work(goal, options.what, identity) as work:
        if not work.done:
            prepare(work.stage, sum(each.n_chunks for each in copied) + len(nodes))
        total = sum(each.plan.nbytes for each in copied)
        with source.unchanged(), progress_bar(total, options.what, enabled=options.progress) as advance:
            for each in copied:
                nodes[each.path] = _copy(source, each, work, options.statistics, advance)
        for key, document in documents_of_store(raws_of(nodes), source.spec).items():
            work.stage.set(key, document)
        committer_of(goal).publish(work.stage, replace=target.replace)


def _check_apart(source: Store, goal: Store) -> None:
    """Check that a copy does not replace a part of what is copied."""
    if goal == source:
        raise StoreExistsError("a store cannot be copied onto itself", mend="Choose another target, then rename it")
    check_not_inside(goal, source)


@dataclass(frozen=True, slots=True)
class _Work:
    """Where a copy is made, and which steps are done."""

    stage: Store
    scratch: Store
    done: set[str]
    finish: Any

    def do(self, step: Step) -> None:
        """Do a step, if it is not done."""
        if step.name in self.done:
            return
        step.work()
        self.finish(step.name)
        if step.tidy is not None:
            step.tidy()


@contextmanager
def _at_work(goal: Store, what: str, identity: str) -> Iterator[_Work]:
    """A place that outlives the process where the target is a folder, else one that goes if it fails."""
    if isinstance(goal, LocalStore):  # only a folder can be renamed into its place by another process
        with workspace(goal, what, identity) as here:
            yield _Work(here.store, here.scratch, here.done, here.finish)
        return
    committer = committer_of(goal)
    stage = committer.stage()
    try:
        with TemporaryDirectory(prefix="zarrds-") as folder:
            yield _Work(stage, LocalStore(folder), set(), lambda step: None)
    except BaseException:
        committer.discard(stage)
        raise


def _copy(
    source: Source, array: Copied, work: _Work, statistics: bool | None, advance: Progress | None
) -> ArrayMetadata:
    """Copy the chunks of one array; returns its metadata, with what is noted of them."""
    plan, before, after = array.plan, array.before, with_statistics(array.after, statistics)
    touched = all_of(array.path, after)
    stored = stored_of(source.store, Chunks(source.store, plan.path, before), is_decoded=plan.how != "bytes")
    seen = None if touched is None else touched.written
    job = Job(plan, source.store, work.stage, work.scratch, before, array.after, array.path, seen, stored)
    for step in steps_of(job):
        work.do(step)
        if advance is not None:
            advance(step.nbytes)
    _put_statistics(source, array, work.stage, touched, keep=statistics is None)
    is_decoded = plan.how in ("direct", "through pieces") and stored is None
    after = with_statistics(marked_anew(before, array.after, is_decoded=is_decoded), statistics)
    return after if plan.how == "bytes" else noted_again(work.stage, array.path, after)


def _put_statistics(source: Source, copied: Copied, stage: Store, touched: Touched | None, *, keep: bool) -> None:
    """Statistics of a copied array: those of the source, if its chunks were copied as they are, or new ones."""
    if touched is None:
        return
    if keep and copied.plan.how == "bytes":
        rows = read_rows(source.store, copied.plan.path, copied.before)
        if rows is not None:
            put_rows(stage, stage, copied.path, copied.after, [((), rows[np.newaxis])])
        return
    put_statistics(stage, stage, [touched])
