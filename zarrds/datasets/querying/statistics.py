"""``zarrds.statistics``: what is noted of each chunk, as a dataset over the chunk grid."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from threading import Lock
from typing import Any, overload

import numpy as np
import xarray as xr
from xarray.backends import BackendArray

from zarrds.arguments import check_texts
from zarrds.codecs.base import AnyArray
from zarrds.compat.lazy_layers import mapped_below
from zarrds.compat.xarray_internals import indexed_by, lazily
from zarrds.datasets.description.of_store import unknown_variable
from zarrds.datasets.querying.bounds.chunk_facts import ChunkFacts
from zarrds.datasets.querying.bounds.stored import StoredChunks, stored_chunks
from zarrds.datasets.querying.bounds.stored_codes import chunks_of_nullable, plain_below
from zarrds.datasets.querying.opening import opened_dataset
from zarrds.errors import UnsupportedError
from zarrds.storage.protocol import Store

__all__ = ["statistics"]

_ABOUT = {
    "min": "smallest value of the chunk that is not missing",
    "max": "largest value of the chunk that is not missing",
    "mean": "mean of the values of the chunk that are not missing",
    "sum": "sum of the values of the chunk that are not missing",
    "count": "values of the chunk that are not missing",
    "known": "whether the statistics are those of the chunk as it is stored now",
}


@overload
def statistics(
    store: str | os.PathLike[str] | Store | xr.Dataset | xr.DataArray,
    variable: str,
    *,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset: ...


@overload
def statistics(
    store: str | os.PathLike[str] | Store | xr.Dataset | xr.DataArray,
    variable: None = None,
    *,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.DataTree: ...


def statistics(
    store: str | os.PathLike[str] | Store | xr.Dataset | xr.DataArray,
    variable: str | None = None,
    *,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset | xr.DataTree:
    """The statistics of a variable's chunks, over the chunk grid, without reading the variable.

    Parameters
    ----------
    store : str, os.PathLike, Store, Dataset or DataArray
        A dataset must be lazy, as `xr.open_dataset` with ``engine="zarrds"`` gives it. Of one of which a part is
        selected, the statistics are those of the whole chunks that the part lies in.
    variable : str, optional
        All variables that are read lazily unless said, each in a node of a tree.
    group : str, optional
        The root unless said.
    storage_options : mapping, optional
        As of `zarrds.save`.

    Returns
    -------
    Dataset or DataTree
        Lazy; with the dimensions ``time_chunk``, … and, as coordinates, the first and last label of each chunk
        (``time_first``, ``time_last``). ``min`` and ``max`` are in the variable's units (integers become floats; of
        text they are bounds, which may be cut after 32 bytes), NaN or NaT where they are not known; ``count`` are the
        values that are not missing, -1 where that is not known; ``known`` tells of which chunks the statistics are
        those of what is stored now. Chunks that another tool has written since are not known: `zarrds.index` notes
        them anew.

    Raises
    ------
    StoreNotFoundError, NodeNotFoundError, VariableNotFoundError
        If there is no such store, group or variable.
    UnsupportedError
        If the variable is not read lazily from a store.

    Notes
    -----
    Digests of all chunks are compared when the first of these variables is read. Any number of threads may read.

    Examples
    --------
    >>> import numpy as np, xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> ds = xr.Dataset({"t2m": ("time", np.arange(6.0))}, {"time": [0, 1, 2, 3, 4, 5]})
    >>> zarrds.save(ds, store, encoding={"t2m": {"chunks": (3,)}})
    >>> zarrds.index(store)
    >>> found = zarrds.statistics(store, "t2m")
    >>> found["max"].values, found["time_first"].values
    (array([2., 5.]), array([0, 3]))
    """
    check_texts(group=group)
    ds = opened_dataset(store, group, storage_options)
    if variable is not None:
        names = {str(name): name for name in ds.variables}
        if str(variable) not in names:
            raise unknown_variable(str(variable), list(names), _path_of(store))
        return _of_one(ds, names[str(variable)])
    lazy = [name for name in ds.variables if _chunks_of(ds.variables[name]) is not None]
    return xr.DataTree.from_dict({str(name): _of_one(ds, name) for name in lazy})


def _path_of(store: object) -> str | None:
    return None if isinstance(store, xr.Dataset | xr.DataArray) else str(getattr(store, "path", store))


def _chunks_of(variable: xr.Variable) -> StoredChunks | None:
    below = plain_below(variable)
    return stored_chunks(variable if below is None else below) or chunks_of_nullable(variable)


def _of_one(ds: xr.Dataset, name: Hashable) -> xr.Dataset:
    variable = ds.variables[name]
    chunks = _chunks_of(variable)
    if chunks is None and name in ds.xindexes and variable.ndim == 1:
        raise UnsupportedError(
            "the labels of an index are in memory", key=str(name), mend="Ask for the smallest and largest of them"
        )
    if chunks is None and mapped_below(variable) is not None:
        raise UnsupportedError(
            f"statistics are of the stored elements, of which the values of this variable are made: {variable.dtype}",
            key=str(name),
            mend="Ask for its values instead: zarrds.find and zarrds.aggregate, which read what statistics leave open",
        )
    if chunks is None:
        raise UnsupportedError(
            "the variable is not read lazily from a store of zarrds",
            key=str(name),
            mend='Give the store, or a dataset opened with engine="zarrds" and without chunks=',
        )
    dims = tuple(f"{dim}_chunk" for dim in variable.dims)
    shape = tuple(chunks.shape[axis] for axis in chunks.axes)
    table = _Table(chunks)
    names = ["min", "max", *(["mean", "sum"] if chunks.has_sums else []), "count", "known"]
    found = {
        each: xr.Variable(dims, lazily(_Column(table, each, shape)), {"long_name": _ABOUT[each]}) for each in names
    }
    if units := variable.attrs.get("units"):
        for each in {"min", "max", "mean"} & found.keys():
            found[each].attrs["units"] = units
    coordinates: dict[str, xr.Variable] = {}
    for i, dim in enumerate(variable.dims):
        labels = ds.variables.get(dim)
        if labels is not None and labels.dims == (dim,):
            first, last = _ends(chunks, i, shape[i])
            coordinates[f"{dim}_first"], coordinates[f"{dim}_last"] = (
                xr.Variable((dims[i],), labels[ends].values, labels.attrs) for ends in (first, last)
            )
    return xr.Dataset(found, coordinates, {"variable": str(name)})


def _ends(chunks: StoredChunks, dim: int, n: int) -> tuple[AnyArray, AnyArray]:
    """The first and the last position along a dimension whose element lies in each chunk."""
    edges = chunks.edges(dim)
    numbers, _ = chunks.spans(dim, edges)
    size = int(edges[-1])
    first, last = np.full(n, size), np.zeros(n, np.int64)
    np.minimum.at(first, numbers, edges[:-1])
    np.maximum.at(last, numbers, edges[1:] - 1)
    return np.minimum(first, max(size - 1, 0)), last


class _Table:
    """The statistics of one variable, which are read once for all columns. Any number of threads may ask."""

    def __init__(self, chunks: StoredChunks) -> None:
        self.chunks = chunks
        self._facts: ChunkFacts | None = None
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.chunks,)

    def facts(self) -> ChunkFacts:
        with self._lock:
            if self._facts is None:
                self.chunks.verify(np.ones(self.chunks.shape, bool))
                self._facts = self.chunks.facts()
            return self._facts


class _Column(BackendArray):
    """One column of it, as an array that xarray reads lazily."""

    def __init__(self, table: _Table, name: str, shape: tuple[int, ...]) -> None:
        self._table, self._name, self.shape = table, name, shape
        self.dtype = _DTYPES.get(name) or _shown(table.chunks.dtype)

    def __getitem__(self, key: Any) -> Any:
        return indexed_by(key, self.shape, self._get)

    def _get(self, key: Any) -> Any:
        return self._values().reshape(self.shape)[key]

    def _values(self) -> AnyArray:
        facts = self._table.facts()
        if self._name == "known":
            return facts.known
        if self._name == "count":
            return facts.count
        if self._name in ("min", "max"):
            values = facts.low if self._name == "min" else facts.high
            if self.dtype.kind == "O" and facts.are_texts:
                texts = np.full(values.shape, "", object)
                texts[facts.known] = [text.decode("utf-8", "replace") for text in values[facts.known]]
                return texts
            is_there = facts.known & (facts.count != 0)
            if self.dtype.kind == "O":  # of cftime
                dates = values.astype(object)
                dates[~is_there] = None
                return dates
            missing = np.array("NaT" if self.dtype.kind in "mM" else "nan", self.dtype)
            return np.where(is_there, values.astype(self.dtype), missing)
        assert facts.sum is not None
        is_there = facts.known & (facts.count > 0 if self._name == "mean" else facts.count >= 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = facts.sum / facts.count if self._name == "mean" else facts.sum.astype(float)
        return np.where(is_there, found, np.nan)


_DTYPES = {
    "count": np.dtype(np.int64),
    "known": np.dtype(bool),
    "mean": np.dtype(float),
    "sum": np.dtype(float),
}


def _shown(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which bounds are shown of a variable of this dtype, some of which may not be known."""
    if dtype.kind in "fmM":
        return dtype
    return np.dtype(float if dtype.kind in "biu" else object)
