"""Whether data that is to be saved is still to be read from the store that it goes into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import xarray as xr

from zarrds.datasets.lazy import LazyArray
from zarrds.datasets.xarray_internals import lazy_data
from zarrds.stores.base import Store

__all__ = ["reads_from"]


def reads_from(variables: Iterable[xr.Variable], store: Store) -> bool:
    """Whether one of the variables is lazy and reads `store` when it is computed, as far as can be seen.

    Datasets that zarrds opened are seen, also in dask graphs; what another engine reads from the same place is not.
    """
    return any(lazy.stored.store == store for variable in variables for lazy in _lazy_arrays(variable))


def _lazy_arrays(variable: xr.Variable) -> Iterator[LazyArray]:
    if variable.chunks is None:
        waiting: list[Any] = [lazy_data(variable)]
    else:
        waiting = list(dict(variable.data.dask).values())
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, LazyArray):
            yield value
        elif type(value).__module__ == "xarray.core.indexing":
            waiting.append(getattr(value, "array", None))  # one of its many wrappers
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
        elif type(value).__module__ == "dask._task_spec" and id(value) not in seen:
            seen.add(id(value))
            # tasks hold their arguments, data nodes their value, in slots of these names
            waiting += [getattr(value, name, None) for name in ("args", "kwargs", "value")]
