"""``zarrds.index``: notes the order of labels that another tool wrote."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from zarrds.datasets.reading.notes import ORDER
from zarrds.engine.elements import Elements
from zarrds.errors import ConflictError, LabelError, UnsupportedError, VariableNotFoundError, locating
from zarrds.labels.sorted.record import is_recordable, record_of
from zarrds.metadata.documents import get_group, locked, open_nodes, own_node
from zarrds.metadata.extension import is_replaced, with_note
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.transaction import change_documents
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store, check_key, check_prefix

__all__ = ["index"]


def index(
    store: str | os.PathLike[str] | Store,
    name: str | Iterable[str],
    *,
    group: str | None = None,
    durable: bool = True,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Note how the labels of a stored coordinate are sorted, so that they can be searched where they lie.

    `zarrds.save` does so of every coordinate; this is for stores that another tool wrote, or has changed. The labels
    are read once, chunk by chunk.

    Parameters
    ----------
    store : str, os.PathLike or Store
    name : str, or several
        Of 1-D coordinates that have the name of their dimension, of shape ``(n,)``.
    group : str, optional
        The root unless said.
    durable : bool
        Wait until the note is on the disk.
    storage_options : mapping, optional
        As of `zarrds.save`.

    Raises
    ------
    StoreNotFoundError, NodeNotFoundError, VariableNotFoundError
        If there is no such store, group or variable.
    LabelError
        If a variable is not the 1-D coordinate of its own dimension.
    UnsupportedError
        If labels of that kind cannot be searched: packed or sharded ones, booleans.
    ConflictError
        If the array was changed meanwhile; nothing was noted then.

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
    opened = as_store(store, storage_options).as_durable(durable)
    path = check_prefix((group or "").strip("/"), opened.path)
    names = [name] if isinstance(name, str) else list(name)
    with locating(opened.path):
        nodes = open_nodes(opened, consolidated=False)
        get_group(opened, nodes, path)
        for one in names:
            where = f"{path}/{check_key(one)}" if path else check_key(one)
            metadata = nodes.get(where)
            if not isinstance(metadata, ArrayMetadata):
                raise VariableNotFoundError("no such variable in the store", key=where)
            _check_searchable(where, metadata)
            # this may take long, and needs no lock
            record = record_of(Elements(opened, where, metadata))
            with locked(opened):
                now = own_node(opened, where, metadata.zarr_format)
                if not isinstance(now, ArrayMetadata) or now.shape != metadata.shape or is_replaced(metadata, now):
                    raise ConflictError(
                        "another writer changed the labels meanwhile", key=where, mend="Call zarrds.index again"
                    )
                change_documents(opened, {where: with_note(now, ORDER, record.to_json())})


def _check_searchable(where: str, metadata: ArrayMetadata) -> None:
    if metadata.dimension_names != (where.rpartition("/")[2],):
        raise LabelError(
            "only a coordinate of its own dimension is an index",
            key=where,
            expected=f"dimensions ({where.rpartition('/')[2]!r},)",
            found=metadata.dimension_names,
        )
    if not is_recordable(metadata):
        raise UnsupportedError(
            "labels of this kind cannot be searched where they lie",
            key=where,
            found=f"{metadata.data_type.name}, attributes {sorted(metadata.attributes)}",
            mend="Save them as integers, floats, times or text, not packed and without shards",
        )
