"""What a query is asked of: a store, of which the dataset is opened lazily, or a dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import xarray as xr

from zarrds.errors import EncodingError, QueryError
from zarrds.storage.protocol import Store

__all__ = ["opened_dataset"]


def opened_dataset(
    store: str | os.PathLike[str] | Store | xr.Dataset | xr.DataArray | xr.DataTree,
    group: str | None,
    storage_options: Mapping[str, Any] | None,
) -> xr.Dataset:
    """The dataset of a store's group, or the dataset that was given.

    Raises
    ------
    EncodingError
        If `group` or `storage_options` is given with a dataset.
    QueryError
        If it is a tree of datasets.
    """
    if isinstance(store, xr.Dataset | xr.DataArray):
        if group is not None or storage_options is not None:
            raise EncodingError(
                "group and storage_options are of a store, not of a dataset", mend="Leave them out, or give the store"
            )
        if isinstance(store, xr.Dataset):
            return store
        name = "values" if store.name is None else store.name
        while name in store.coords:  # the labels of a dimension are called as it is
            name = f"{name}_"
        return store.to_dataset(name=name)
    if isinstance(store, xr.DataTree):
        raise QueryError(
            "a query is of one group",
            found="a tree of datasets",
            mend='Give the dataset of one of its nodes: tree["/a"].to_dataset()',
        )
    return xr.open_dataset(
        store,  # type: ignore[arg-type]  # a store of ours is none of the types that xarray lists
        engine="zarrds",
        group=group,
        storage_options=storage_options,
    )
