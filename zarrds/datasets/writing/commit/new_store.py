"""Where a new dataset goes, and how a whole store becomes visible at once.

A save of a whole store fills a staged one, which no reader sees and which is put in its place at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar

from zarrds.engine.executor import run_small
from zarrds.errors import (
    ConflictError,
    InvalidKeyError,
    MetadataError,
    NodeNotFoundError,
    StoreExistsError,
    StoreIOError,
)
from zarrds.metadata.formats import Format, module_of, v3
from zarrds.metadata.model import ArrayMetadata, Node, ZarrFormat
from zarrds.metadata.nodes.belonging import check_case, check_nothing_else, others
from zarrds.metadata.nodes.documents import DOCUMENTS, Nodes, new_groups, open_nodes, parents_of, spec_there
from zarrds.metadata.nodes.written import documents_of_store, raws_of
from zarrds.storage.commits.committer import committer_of, prepare
from zarrds.storage.commits.direct_stores import ReplacedStore
from zarrds.storage.local.replacing import check_replaceable
from zarrds.storage.protocol import Store
from zarrds.storage.traits import Blank, folder_of, has_trait
from zarrds.threads import answers_of

__all__ = ["Target", "find_target", "staged"]

S = TypeVar("S", bound=Store)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a save goes.

    Attributes
    ----------
    store : Store
    group : str
        The path of the group to save into.
    is_whole : bool
        Whether the store as a whole is made or replaced, and not one group of a store that exists.
    spec : Format
    replace : bool
        Whether something stands there, and may be replaced.
    may_replace : bool
        Whether `mode` allows to replace what stands there, or comes there meanwhile.
    standing : Nodes or None
        What stands there, of a store that is replaced as a whole and can be read.
    """

    store: Store
    group: str
    is_whole: bool
    spec: Format
    replace: bool
    may_replace: bool = False
    standing: Nodes | None = None

    @property
    def base(self) -> str:
        """What the paths of nodes in the group begin with."""
        return f"{self.group}/" if self.group else ""


def find_target(store: Store, group: str, mode: Literal["w", "w-"], zarr_format: ZarrFormat | None) -> Target:
    """Look where a save may go; nothing is written.

    Raises
    ------
    StoreExistsError
        If something stands there that `mode` does not allow to replace, or that is no Zarr store at all.
    """
    asked = None if zarr_format is None else module_of(zarr_format)
    target = replace(_found_target(store, group, mode, asked), may_replace=mode == "w")
    folder = folder_of(store)
    if target.is_whole and folder is not None:
        check_replaceable(folder, store.path)  # as staging does, but before any work
    return target


def _found_target(store: Store, group: str, mode: Literal["w", "w-"], asked: Format | None) -> Target:
    is_all = mode == "w" and not group
    try:
        existing, is_blank = _looked(store)
    except InvalidKeyError:  # the root's document is a link that leads out of the store
        if not is_all:
            raise
        return _unread(store, asked)
    if is_blank:
        return Target(store, group, True, asked or v3, replace=False)
    if existing is None and store.traits.is_remote:
        committer_of(store).recover()  # what stands there may have been committed, and not be in its place yet
        existing = spec_there(store, anew=True)
    if existing is None:
        _check_blank(store)
        return Target(store, group, True, asked or v3, replace=False)
    try:
        nodes = open_nodes(store)
    except (StoreIOError, MetadataError, InvalidKeyError):
        # changes that cannot be finished, or a root's document that cannot be read
        if not is_all:
            raise
        return _unread(store, asked)
    # consolidated metadata need not name what another library wrote since: it is not to be lost
    standing = _node_at(nodes, group) or _node_at(open_nodes(store, like=existing, consolidated=False), group)
    if standing and mode == "w-":
        raise StoreExistsError(
            f"{standing} exists here already" if group else "a store exists here already",
            path=store.path,
            key=group or None,
            mend="Pass mode='w' to replace it",
        )
    if standing:
        check_nothing_else(store, group)
    if not group:
        return Target(store, "", True, asked or v3, replace=True, standing=nodes)
    if asked is not None and asked is not existing:
        raise StoreExistsError(
            f"store is of Zarr format {existing.zarr_format}",
            path=store.path,
            found=f"zarr_format={asked.zarr_format}",
            mend="All groups of a store have one format",
        )
    _check_parents(store, nodes, group)
    if not standing and _holds_files(store, group):
        raise StoreExistsError(
            "folder holds files, but no Zarr group or array",
            path=store.path,
            key=group,
            mend="Save to another group, or empty this folder yourself; zarrds replaces nothing that is no Zarr group",
        )
    return Target(store, group, False, existing, replace=bool(standing))


def _check_blank(store: Store) -> None:
    """Check that there is nothing where no Zarr store was found."""
    if next(store.list_prefix(""), None) is None:
        return
    if store.traits.is_remote and spec_there(store, anew=True) is not None:
        raise ConflictError(
            "another writer was about to replace the store when this one looked",
            path=store.path,
            mend="Nothing was written. Try again",
        )
    raise StoreExistsError(
        "folder holds files, but no Zarr store",
        path=store.path,
        mend="Save to another path, or empty this one yourself; zarrds replaces nothing that is no Zarr store",
    )


def _unread(store: Store, asked: Format | None) -> Target:
    """A store that is too damaged to be read: all of it goes anyway, if it is all Zarr's."""
    check_nothing_else(store)
    return Target(store, "", True, asked or v3, replace=True)


def _holds_files(store: Store, group: str) -> bool:
    """Whether something lies where a group is to be, but for what nobody sees.

    In object storage, a writer that was overtaken may have put chunks without any document.
    """
    keys = list(store.list_prefix(group))
    if not store.traits.is_remote:
        return bool(keys)
    return next(others(keys), None) is not None or any(key.rpartition("/")[2] in DOCUMENTS for key in keys)


def _looked(store: Store) -> tuple[Format | None, bool]:
    """The format of the store that is there, and whether it was seen that nothing at all is."""
    look = partial(spec_there, store)
    if not has_trait(store, Blank):
        return look(), False
    calls: list[Callable[[], Any]] = [look, store.is_blank]
    existing, is_blank = answers_of(calls)
    return existing, existing is None and is_blank


def _node_at(nodes: Nodes, path: str) -> str | None:
    """What stands at `path`, in words."""
    try:
        node = nodes.get(path)
    except MetadataError:
        return "something that zarrds cannot read"
    return None if node is None else "an array" if isinstance(node, ArrayMetadata) else "a group"


def _check_parents(store: Store, nodes: Nodes, group: str) -> None:
    for parent in parents_of(group):
        if isinstance(nodes.get(parent), ArrayMetadata):
            raise NodeNotFoundError("an array cannot hold groups", path=store.path, key=parent or "/")


@contextmanager
def staged(
    target: Target,
    nodes: Mapping[str, Node],
    n_chunks: int,
    workers: int | None = None,
    *,
    is_full: bool = False,
) -> Iterator[Store]:
    """A staged store for the data to be written to, which gets the documents of `nodes` at the end.

    If the body ends well it is published. If it fails, everything is as it was before.

    Parameters
    ----------
    target : Target
        Of a whole store.
    nodes : mapping of str to Node
        By path from the root; groups above them that are missing are made. What the body changes in it counts.
    n_chunks : int
        Roughly how many the body writes.
    workers : int, optional
        Threads for writing documents; as many as cores unless said.
    is_full : bool
        Whether the body writes all chunks, also those that hold nothing but the fill value.
    """
    store = target.store
    every: dict[str, Node] = {**new_groups(parents_of(target.group), target.spec), **nodes}
    raws = raws_of(every)  # what the format cannot hold shows before anything is written
    committer = committer_of(store)
    stage = committer.stage()
    try:
        check_case(stage, every)
        prepare(stage, n_chunks + len(raws))
        yield stage
        raws |= raws_of({path: node for path, node in nodes.items() if node is not every[path]})
        documents = documents_of_store(raws, target.spec).items()
        run_small(documents, lambda: lambda item: stage.set(*item), stage, workers)
        if not (is_full and target.replace and _published_apart(store, stage)):
            if target.replace:
                check_nothing_else(store)  # somebody may have put something there meanwhile
            try:
                committer.publish(stage, replace=target.replace)
            except StoreExistsError as error:
                if not (target.may_replace and store.traits.is_remote):
                    raise
                raise ConflictError(error.problem, path=store.path, mend="Nothing was written. Try again") from None
    except BaseException:
        committer.discard(stage)
        raise


def _published_apart(store: Store, stage: Store) -> bool:
    """Whether a store was replaced without copies; see `ReplacedStore`."""
    if not has_trait(store, ReplacedStore):
        return False
    whole: Any = store
    return store.publish_apart(stage, lambda keys: check_nothing_else(whole, keys=keys))
