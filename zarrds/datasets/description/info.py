"""``zarrds.info``: what a store or a dataset holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, overload

import xarray as xr

from zarrds.arguments import check_flags, check_texts, names_of
from zarrds.datasets.description.model import Info
from zarrds.datasets.description.of_dataset import facts_of_dataset
from zarrds.datasets.description.of_store import facts_of_store, unknown_variable
from zarrds.datasets.description.versions import Versions, versions
from zarrds.errors import EncodingError
from zarrds.storage.protocol import Store

__all__ = ["info"]

StoreLike = str | os.PathLike[str] | Store


@overload
def info() -> Versions: ...


@overload
def info(
    store_or_ds: StoreLike | xr.Dataset | xr.DataArray | xr.DataTree,
    variables: str | Iterable[str] | None = None,
    *,
    group: str | None = None,
    stored: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Info: ...


def info(
    store_or_ds: StoreLike | xr.Dataset | xr.DataArray | xr.DataTree | None = None,
    variables: str | Iterable[str] | None = None,
    *,
    group: str | None = None,
    stored: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Info | Versions:
    """Tell what a store or a dataset holds; without arguments, what is installed.

    Of a store its documents are read, and of coordinates the first and the last label. What is returned reads nothing
    more, however it is shown: as text (``print``), as HTML in notebooks, as JSON (`to_dict`), or as ``ncdump -h``
    would (`cdl`).

    Parameters
    ----------
    store_or_ds : str, os.PathLike, Store, Dataset, DataArray or DataTree, optional
    variables : str or iterable of str, optional
        Only these.
    group : str, optional
        The path of a group (or of an array) below the root.
    stored : bool
        Also tell bytes and chunks that are there, which lists the keys of the group's arrays.
    storage_options : mapping, optional
        As of `zarrds.save`.

    Returns
    -------
    Info or Versions
        Frozen.

    Raises
    ------
    StoreNotFoundError, NodeNotFoundError, VariableNotFoundError
        If there is no such store, group or variable; the last with the nearest names.
    EncodingError
        For options of stores with a dataset.

    Examples
    --------
    >>> import xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> zarrds.save(xr.Dataset({"t2m": ("time", [280.5, 281.0])}, {"time": [7, 8]}), store)
    >>> shown = zarrds.info(store)
    >>> shown.dimensions, shown.variables[0].labels
    ({'time': 2}, ('7', '8'))
    >>> zarrds.info().zarr_formats
    (2, 3)
    """
    wanted = names_of(variables=variables)
    check_texts(group=group)
    check_flags(stored=stored)
    if store_or_ds is None:
        return versions()
    if not isinstance(store_or_ds, xr.Dataset | xr.DataArray | xr.DataTree):
        return facts_of_store(
            store_or_ds, group=group, variables=wanted, stored=stored, storage_options=storage_options
        )
    if stored or storage_options is not None:
        raise EncodingError("stored= and storage_options= are for stores", mend="Pass the store, not the dataset")
    return _of_object(store_or_ds, group, wanted)


def _of_object(obj: xr.Dataset | xr.DataArray | xr.DataTree, group: str | None, wanted: list[str] | None) -> Info:
    source = f"xarray.{type(obj).__name__}"
    children: tuple[str, ...] = ()
    if isinstance(obj, xr.DataTree):
        node = obj
        for name in (group or "").strip("/").split("/"):
            if name and name not in node.children:
                raise EncodingError("no such group", key=group, found=sorted(node.children))
            node = node.children[name] if name else node
        children, ds = tuple(node.children), node.to_dataset()
    elif group is not None and group.strip("/"):
        raise EncodingError("a dataset has no groups", found=repr(group), mend="Pass the store, or a DataTree")
    elif isinstance(obj, xr.DataArray):
        ds = obj.to_dataset(name="array" if obj.name is None or obj.name in obj.coords else obj.name)
    else:
        ds = obj
    found = replace(facts_of_dataset(ds, source, f"/{(group or '').strip('/')}"), groups=children)
    if wanted is None:
        return found
    names = [v.name for v in found.variables]
    for name in wanted:
        if name not in names:
            raise unknown_variable(name, names, None)
    return replace(found, variables=tuple(v for v in found.variables if v.name in wanted))
