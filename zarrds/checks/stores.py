"""Reads all of a store, says what is wrong with its documents and chunks, and mends what is safe to mend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from zarrds.checks.documents import format_of, mend, survey
from zarrds.checks.keys import check_keys
from zarrds.checks.report import Finding, Report, in_order
from zarrds.checks.tally import Tally
from zarrds.engine.progress import ProgressOption
from zarrds.errors import StoreIOError, StoreNotFoundError
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node
from zarrds.metadata.nodes.belonging import same_but_for_case
from zarrds.storage.commits.committer import committer_of
from zarrds.storage.local import leftovers
from zarrds.storage.protocol import Store
from zarrds.storage.traits import Damaged, folder_of, has_trait

__all__ = ["Nodes", "verify_arrays"]

Nodes: TypeAlias = Mapping[str, Node | None]


def verify_arrays(
    store: Store,
    *,
    repair: bool,
    progress: ProgressOption,
    workers: int | None,
    look_further: Callable[[Nodes], Iterable[Finding]],
) -> Report:
    """Read every chunk and every document of a store, and report what is wrong: all but the labels of `zarrds.verify`.

    Parameters
    ----------
    store : Store
    repair, progress, workers
        As of `zarrds.verify`.
    look_further : callable
        Called with the nodes of the store, by path, None for those that cannot be read, when all chunks were read; it
        yields what else is wrong.
    """
    findings: list[Finding] = []
    if repair:
        findings += _recovered(store)
    committer_of(store).recover()
    try:
        spec = format_of(store)
    except StoreNotFoundError as error:
        _tell_of_copies(store, error, repair=repair)
        raise
    if repair:
        findings += _clean(store)
    dead_before = set(_dead(store))
    nodes_found = mend(store, spec) if repair else survey(store, spec)
    nodes = nodes_found.nodes
    tally = Tally()
    check_keys(store, nodes, spec, tally, progress=progress, n_workers=workers)
    further = list(look_further(nodes))
    # what a living writer uses comes and goes
    findings += [f for f in _dead(store) if f in dead_before]
    return Report(
        path=store.path,
        findings=in_order({*findings, *nodes_found.findings, *tally.findings, *_of_case(nodes), *further}),
        n_groups=sum(isinstance(node, GroupMetadata) for node in nodes.values()),
        n_arrays=sum(isinstance(node, ArrayMetadata) for node in nodes.values()),
        n_chunks=tally.n_chunks,
        n_bytes=tally.n_bytes,
        n_absent=tally.n_absent,
    )


def _tell_of_copies(store: Store, error: StoreNotFoundError, *, repair: bool) -> None:
    """Name what an unfinished copy to this place has left, where nothing else is."""
    root = folder_of(store)
    if root is None:
        return
    if repair and (removed := leftovers.remove_old_workspaces(root)):
        error.found = f"an old unfinished copy of another store to this place, which was removed: {', '.join(removed)}"
    elif left := [found.name for found in leftovers.workspaces(root)]:
        error.found = f"an unfinished copy of another store to this place: {', '.join(left)}"
        error.mend = "The same copy or rechunk goes on from it; once old, verify(..., repair=True) removes it"


def _recovered(store: Store) -> Iterable[Finding]:
    """Put in place what dead writers had begun to, or as much of it as can be read."""
    try:
        committer_of(store).recover()
    except StoreIOError as error:
        for name in committer_of(store).clean(repair=True):
            yield Finding("error", name, f"{error.problem}, or in the way of changes", mended=True)


def _clean(store: Store) -> Iterable[Finding]:
    """Remove what dead writers left."""
    for name in committer_of(store).clean(repair=True):
        yield Finding("warning", name, "left behind by a writer that died", mended=True)
    root = folder_of(store)
    if root is None:
        return
    for name in leftovers.remove_old(root):
        yield Finding("warning", name, "an unfinished file, left behind by a writer that died", mended=True)
    for name in leftovers.remove_old_workspaces(root):
        yield Finding("warning", name, "an unfinished copy of another store, left behind", mended=True)


def _dead(store: Store) -> Iterable[Finding]:
    """What dead writers left."""
    for name in store.damaged() if has_trait(store, Damaged) else []:
        yield Finding("warning", name, "the marker of a commit, but says nothing; verify(..., repair=True) removes it")
    root = folder_of(store)
    if root is None:
        return
    for name in leftovers.dead(root):
        yield Finding("warning", name, "left behind by a writer that died; verify(..., repair=True) removes it")
    for found in leftovers.unfinished(root):
        if found.is_folder:
            problem = "a hidden folder without a lock file: remove it, if no zarrds is writing to this store"
        elif found.is_old:
            problem = "an unfinished file, left behind by a writer that died; verify(..., repair=True) removes it"
        else:
            problem = "an unfinished file; once it is an hour old, verify(..., repair=True) removes it"
        yield Finding("warning", found.name, problem)
    for found in leftovers.workspaces(root):
        removal = "verify(..., repair=True) removes it"
        problem = (
            "an unfinished copy of another store to this place, left behind: the same zarrds.copy or zarrds.rechunk "
            f"goes on from it; {removal if found.is_old else f'once it is an hour old, {removal}'}"
        )
        yield Finding("warning", found.name, problem)


def _of_case(nodes: Nodes) -> Iterable[Finding]:
    """Names that are two here and one elsewhere."""
    for one, other in same_but_for_case(filter(None, nodes)):
        yield Finding(
            "warning",
            other,
            f"differs from {one!r} only in case (or in how accents are put): on Windows and macOS, one of "
            "them would be lost. Rename one of them",
        )
