"""Facts of a dataset that is open, by any engine, or in memory."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from xarray.indexes import PandasIndex

from zarrds.datasets.description.model import Info, VariableInfo
from zarrds.display.codecs import encoding_texts
from zarrds.metadata.attributes import MARKERS, SCALE
from zarrds.metadata.extension import UNLIMITED, named_dims

__all__ = ["ends_of", "facts_of_dataset", "index_kind", "label_text"]

# keys of an encoding that are attributes in the file
_CF = ("units", "calendar", *SCALE, *MARKERS, "coordinates", "dtype")


def facts_of_dataset(ds: xr.Dataset, source: str, group: str = "/") -> Info:
    """The facts of a dataset; of coordinates that are no index, the first and the last label are read."""
    names = [*ds.coords, *(name for name in ds.variables if name not in ds.coords)]
    variables = tuple(_variable(ds, name) for name in names)
    attributes = {str(name): value for name, value in ds.attrs.items()}
    dimensions = {str(dim): size for dim, size in ds.sizes.items()}
    unlimited = frozenset(named_dims(ds.encoding.get(UNLIMITED), ds.dims))
    return Info(source, group, None, dimensions, variables, attributes, unlimited_dims=unlimited)


def _variable(ds: xr.Dataset, name: Hashable) -> VariableInfo:
    variable = ds.variables[name]
    encoding = variable.encoding
    dtype = encoding.get("dtype", variable.dtype)
    text = variable.dtype.kind in "OTU"
    chunks = encoding.get("chunks") or encoding.get("chunksizes")
    if chunks is None and variable.chunks is not None:
        chunks = [sizes[0] for sizes in variable.chunks]
    shards = encoding.get("shards")
    is_coordinate = name in ds.coords
    return VariableInfo(
        name=str(name),
        dims=tuple(map(str, variable.dims)),
        shape=variable.shape,
        dtype="string" if text else _dtype_name(dtype),
        is_coordinate=is_coordinate,
        chunks=_sizes(chunks, variable.ndim),
        shards=_sizes(shards, variable.ndim),
        codecs=encoding_texts(encoding),
        attributes={str(key): value for key, value in variable.attrs.items()},
        encoding={key: encoding[key] for key in _CF if key != "dtype" and encoding.get(key) is not None},
        nbytes=None if text else variable.size * variable.dtype.itemsize,
        index=index_kind(ds, name),
        labels=ends_of(ds, name) if is_coordinate else None,
    )


def _dtype_name(dtype: Any) -> str:
    try:
        return str(np.dtype(dtype).name)
    except TypeError:
        return "string" if dtype is str else str(dtype)


def _sizes(sizes: Any, ndim: int) -> tuple[int, ...] | None:
    """Sizes of chunks, if they are such: an encoding may come from anywhere."""
    try:
        found = tuple(int(n) for n in sizes)
    except (TypeError, ValueError):
        return None
    return found if len(found) == ndim and all(n > 0 for n in found) else None


def index_kind(ds: xr.Dataset, name: Hashable) -> str | None:
    """The kind of the index that a coordinate has a part in."""
    index = ds.xindexes.get(name)
    if index is None:
        return None
    return type(index.index).__name__ if isinstance(index, PandasIndex) else type(index).__name__


def ends_of(ds: xr.Dataset, name: Hashable) -> tuple[str, str] | None:
    """The first and the last label of a coordinate of one dimension, as text; at most two chunks are read."""
    variable = ds.variables[name]
    if variable.ndim != 1 or variable.size == 0:
        return None
    index = ds.xindexes.get(name)
    ends: list[Any]
    if isinstance(index, PandasIndex) and isinstance(index.index, pd.MultiIndex):
        if name not in index.index.names:
            return label_text(index.index[0]), label_text(index.index[-1])
        level = index.index.names.index(name)
        ends = [index.index[0][level], index.index[-1][level]]
    elif isinstance(index, PandasIndex):
        ends = [index.index[0], index.index[-1]]
    else:
        ends = [ds[name].variable[i : i + 1].values[0] for i in (0, variable.size - 1)]
    return label_text(ends[0]), label_text(ends[1])


def label_text(label: Any) -> str:
    """A label, or another value, as text; times as pandas has them."""
    if isinstance(label, np.datetime64 | np.timedelta64):
        label = pd.Timestamp(label) if isinstance(label, np.datetime64) else pd.Timedelta(label)
    if isinstance(label, np.generic):
        label = label.item()
    return str(label)
