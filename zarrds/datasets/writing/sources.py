"""Whether data must still be read from the store that it is saved into."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import xarray as xr

from zarrds.compat.xarray_internals import DeferredIndex, MappedArray, lazy_data
from zarrds.datasets.reading.lazy import LazyArray
from zarrds.errors import StoreExistsError, ZarrdsError
from zarrds.labels.sorted.lazy_index import unread_window
from zarrds.labels.sorted.reading import StoredLabels
from zarrds.storage.protocol import Store
from zarrds.storage.traits import Located, folder_of, has_trait

__all__ = ["check_not_inside", "reads_from"]

# what wrappers of lazily read data call what they wrap: of xarray, of its zarr engine, of dask's tasks and data nodes
_WRAPPED = ("array", "_array", "args", "kwargs", "value")
_WRAPPERS = ("xarray.", "dask.", "zarrds.compat.")


def reads_from(variables: Iterable[xr.Variable], store: Store) -> bool:
    """Whether one of the variables is lazy and reads `store` when it is computed, as far as can be seen.

    What zarrds or zarr-python opened is seen, also labels that are searched where they lie, and in dask graphs; what is
    hidden in a function is not.
    """
    return any(_is_same_place(found, store) for variable in variables for found in _stores(variable))


def check_not_inside(goal: Store, source: Store) -> None:
    """Check that a new store does not take the place of a part of one that it is made from.

    Raises
    ------
    StoreExistsError
        If the root of `goal` lies below that of `source`.
    """
    if has_trait(source, Located) and has_trait(goal, Located):
        is_inside = goal.location.startswith(source.location)  # or the same, by other credentials
    else:
        above, below = _place(source), _place(goal)
        is_inside = below.startswith(above) and below != above
    if is_inside:
        raise StoreExistsError("the target lies inside of what is copied", path=goal.path, mend="Choose another target")


def _place(store: Store) -> str:
    folder = folder_of(store)
    return f"{store.path.rstrip('/')}/" if folder is None else os.path.join(os.path.realpath(folder), "")


def _is_same_place(found: Any, store: Store) -> bool:
    """Whether what is read from one store may be what another holds; a group may be opened as a store of its own."""
    if found == store:
        return True
    folder = folder_of(store)
    if folder is None:
        return store.traits.is_remote and _is_same_remote(found, store)
    # of directory stores, zarr-python's and ours; and of zarr-python's stores over fsspec
    root = getattr(found, "root", getattr(found, "path", None))
    if not isinstance(root, str | os.PathLike):
        return False
    return _is_along(os.path.join(os.path.realpath(root), ""), os.path.join(folder, ""))


def _is_same_remote(found: Any, store: Store) -> bool:
    """Whether both are the same place behind a network, by whatever credentials and libraries it is reached."""
    ours = found if isinstance(found, Store) else _of_another(found)
    if ours is None:
        return False
    if has_trait(ours, Located) and has_trait(store, Located):
        return _is_along(ours.location, store.location)
    return _is_along(_place(ours), _place(store))


def _of_another(found: Any) -> Store | None:
    """A store of zarr-python as one of ours; what it wraps of obstore tells where it lies."""
    from zarrds.storage.objects import store_of_object  # which few need

    for each in (getattr(found, "store", None), found):
        with suppress(ZarrdsError):
            if (made := store_of_object(each, None)) is not None:
                return made
    return None


def _is_along(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _stores(variable: xr.Variable) -> Iterator[Any]:
    """The stores that the arrays in a variable, or in its dask graph, are read from."""
    if variable.chunks is None:
        waiting: list[Any] = [lazy_data(variable)]
    else:
        waiting = list(dict(variable.data.dask).values())
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, LazyArray):
            yield value.stored.store
        elif isinstance(value, xr.Variable):
            waiting.append(lazy_data(value))
        elif isinstance(value, MappedArray):
            waiting.append(value.variable)
        elif isinstance(value, DeferredIndex):
            waiting += value.waits_for
        elif (window := unread_window(value)) is not None:
            waiting.append(window.source)
        elif isinstance(value, StoredLabels):
            yield value.elements.store
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
        elif hasattr(value, "store") and hasattr(value, "shape"):
            yield value.store  # an array of zarrds, or of zarr-python
        elif type(value).__module__.startswith(_WRAPPERS) and id(value) not in seen:
            seen.add(id(value))
            waiting += [getattr(value, name, None) for name in _WRAPPED]
