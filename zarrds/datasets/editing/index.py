"""``zarrds.index``: notes the order of labels, and statistics of chunks, that another tool wrote."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from zarrds.arguments import check_flags, check_texts, names_of, nearest
from zarrds.arrays.in_place import check_not_another
from zarrds.chunk_statistics.building import has_rows, rows_of_all
from zarrds.chunk_statistics.record import Place, put_rows
from zarrds.codecs.base import AnyArray
from zarrds.datasets.reading.lazy import check_is_stored
from zarrds.engine.elements import Elements
from zarrds.engine.executor import Progress
from zarrds.engine.progress import ProgressOption, progress_bar
from zarrds.errors import ConflictError, UnsupportedError, VariableNotFoundError, ZarrdsError, locating
from zarrds.labels.sorted.record import OrderRecord, is_recordable, record_of
from zarrds.metadata.extension import ORDER, STATISTICS, is_replaced, with_note
from zarrds.metadata.model import ArrayMetadata, Node
from zarrds.metadata.nodes.documents import Nodes, open_nodes, own_node
from zarrds.metadata.nodes.locking import locked
from zarrds.metadata.nodes.lookup import get_group
from zarrds.metadata.nodes.transaction import Transaction
from zarrds.storage.commits.committer import as_durable
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store, check_key, check_prefix, path_below

__all__ = ["index"]

# seconds in which arrays are read whose notes are committed together: each commit writes the root's document
_AT_ONCE = 5.0


def index(
    store: str | os.PathLike[str] | Store,
    name: str | Iterable[str] | None = None,
    *,
    group: str | None = None,
    durable: bool = True,
    progress: ProgressOption = False,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Note how labels are sorted and what is in each chunk, so that they are searched and queried without being read.

    Of a coordinate of its own dimension the order is noted, as `zarrds.save` does, so that it is searched where it
    lies. Of numbers, times and text the smallest and largest element of each chunk are noted, how many are valid, and
    their sum, by which `zarrds.find` and `zarrds.aggregate` leave chunks out. This is for stores that another tool
    wrote, or has changed. The variables are read once, chunk by chunk.

    Parameters
    ----------
    store : str, os.PathLike or Store
    name : str, or several, optional
        Variables of the group; unless said all of which something can be noted.
    group : str, optional
        The root unless said.
    durable : bool
        Wait until the notes are on the disk.
    progress : bool, "rich" or callable
        As of `zarrds.save`.
    storage_options : mapping, optional
        As of `zarrds.save`.

    Raises
    ------
    StoreNotFoundError, NodeNotFoundError, VariableNotFoundError
        If there is no such store, group or variable.
    UnsupportedError
        If labels of that kind cannot be searched (packed or sharded ones, booleans), or nothing is noted of such data
        (complex numbers, structures).
    ChunkError
        If a chunk cannot be read.
    ConflictError
        If an array was changed meanwhile; nothing was noted of it then.

    Examples
    --------
    >>> import numpy as np, xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> zarrds.save(xr.Dataset(coords={"position": np.array([3, 7, 12])}), store)
    >>> zarrds.index(store, "position")
    >>> ds = xr.open_dataset(store, engine="zarrds", index="lazy")
    >>> int(ds.get_index("position").get_loc(7))
    1
    """
    names = names_of(name=name)
    check_texts(group=group)
    check_flags(durable=durable)
    opened = as_durable(as_store(store, storage_options), durable)
    path = check_prefix((group or "").strip("/"), opened.path)
    with locating(opened.path):
        nodes = open_nodes(opened, consolidated=False)
        get_group(opened, nodes, path)
        if names is None:
            arrays = _all_of(nodes, path)
        else:
            arrays = dict(_named(nodes, path, one) for one in names)
        total = sum(prod(metadata.chunk_grid) for metadata in arrays.values() if has_rows(metadata))
        with progress_bar(total, "index", enabled=progress) as advance:
            found: dict[str, _Found] = {}
            begun = time.monotonic()
            for where, metadata in arrays.items():
                try:
                    found[where] = _Found.of(opened, where, metadata, advance)
                except ZarrdsError as error:
                    _note(opened, found)
                    check_not_another(opened, where, metadata, error.problem)
                    raise
                if time.monotonic() - begun > _AT_ONCE:
                    _note(opened, found)
                    found, begun = {}, time.monotonic()
            _note(opened, found)


def _all_of(nodes: Nodes, path: str) -> dict[str, ArrayMetadata]:
    """The arrays of a group of which something can be noted; what cannot be read is left out."""
    found: dict[str, ArrayMetadata] = {}
    for name in nodes.names(path):
        where = path_below(path, name)
        try:
            metadata = nodes.get(where)
        except ZarrdsError:
            continue
        if isinstance(metadata, ArrayMetadata) and (_has_order(where, metadata) or has_rows(metadata)):
            found[where] = metadata
    return found


def _named(nodes: Nodes, path: str, name: str) -> tuple[str, ArrayMetadata]:
    where = f"{path}/{check_key(name)}" if path else check_key(name)
    metadata = nodes.get(where)
    if not isinstance(metadata, ArrayMetadata):
        there = [name for name, node in nodes.children(path).items() if isinstance(node, ArrayMetadata)]
        raise VariableNotFoundError("no such variable in the store", key=where, mend=nearest(name, there))
    is_label = _is_label(where, metadata)
    if is_label and not is_recordable(metadata):
        raise UnsupportedError(
            "labels of this kind cannot be searched where they lie",
            key=where,
            found=f"{metadata.data_type.name}, attributes {sorted(metadata.attributes)}",
            mend="Save them as integers, floats, times or text, not packed, without shards, in chunks of one length",
        )
    if not is_label and not has_rows(metadata):
        raise UnsupportedError(
            "nothing is noted of data like this",
            key=where,
            expected="numbers, times or text, in few chunks of one length",
            found=f"{metadata.data_type.name}, {prod(metadata.chunk_grid)} chunks",
        )
    return where, metadata


def _is_label(where: str, metadata: ArrayMetadata) -> bool:
    return metadata.dimension_names == (where.rpartition("/")[2],)


def _has_order(where: str, metadata: ArrayMetadata) -> bool:
    return _is_label(where, metadata) and is_recordable(metadata)


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is to note of one array, which may take long to find, and needs no lock."""

    metadata: ArrayMetadata
    order: OrderRecord | None
    rows: Sequence[tuple[Place, AnyArray]]

    @classmethod
    def of(cls, store: Store, where: str, metadata: ArrayMetadata, advance: Progress | None) -> _Found:
        elements = Elements(store, where, metadata)
        order = None
        if _has_order(where, metadata):
            check_is_stored(elements)
            order = record_of(elements)
        rows = list(rows_of_all(store, elements, advance)) if has_rows(metadata) else []
        return cls(metadata, order, rows)


def _note(store: Store, found: Mapping[str, _Found]) -> None:
    """Note what was found of arrays, by path, in one commit.

    Raises
    ------
    ConflictError
        If one was changed meanwhile; what was found of the others is noted.
    """
    if not found:
        return
    changed: list[str] = []
    with locked(store), Transaction(store) as transaction:
        nodes: dict[str, Node] = {}
        for where, each in found.items():
            before, now = each.metadata, own_node(store, where, each.metadata)
            if not isinstance(now, ArrayMetadata) or now.shape != before.shape or is_replaced(before, now):
                changed.append(where)
                continue
            after = now if each.order is None else with_note(now, ORDER, each.order.to_json())
            if each.rows:
                put_rows(store, transaction.values, where, now, each.rows)
                after = with_note(after, STATISTICS, True)  # by which writers know that there are some
            if after != now:
                nodes[where] = after
        if nodes:
            transaction.put_nodes(nodes)
        transaction.commit()
    if changed:
        problem, mend = "another writer changed the array meanwhile", "Call zarrds.index again"
        raise ConflictError(problem, key=changed[0], mend=mend)
