"""``zarrds.find``: where a condition holds, from as few chunks as can be."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Literal, overload

import numpy as np
import xarray as xr
from pandas.api.extensions import ExtensionArray

from zarrds.arguments import check_flags, check_texts
from zarrds.codecs.base import AnyArray
from zarrds.datasets.description.of_store import unknown_variable
from zarrds.datasets.querying.matches import Matches, count_matches, find_matches, has_match
from zarrds.datasets.querying.opening import opened_dataset
from zarrds.datasets.querying.prepared_query import Explanation, PreparedQuery
from zarrds.display.text import nbytes_of
from zarrds.engine import executor
from zarrds.engine.progress import ProgressOption
from zarrds.errors import QueryError
from zarrds.storage.protocol import Store

__all__ = ["find"]

StoreLike = str | os.PathLike[str] | Store | xr.Dataset | xr.DataArray


@overload
def find(
    store: StoreLike,
    query: str,
    columns: str | Iterable[str] | None = None,
    *,
    limit: int | None = None,
    count: Literal[False] = False,
    exists: Literal[False] = False,
    explain: Literal[False] = False,
    max_memory: int | str | None = None,
    progress: ProgressOption = False,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset: ...


@overload
def find(
    store: StoreLike,
    query: str,
    columns: str | Iterable[str] | None = None,
    *,
    limit: int | None = None,
    count: bool = False,
    exists: bool = False,
    explain: bool = False,
    max_memory: int | str | None = None,
    progress: ProgressOption = False,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset | int | bool | Explanation: ...


def find(
    store: StoreLike,
    query: str,
    columns: str | Iterable[str] | None = None,
    *,
    limit: int | None = None,
    count: bool = False,
    exists: bool = False,
    explain: bool = False,
    max_memory: int | str | None = None,
    progress: ProgressOption = False,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset | int | bool | Explanation:
    """Find the elements of which a condition holds.

    Chunks whose statistics tell that nothing in them can match are not read (see `zarrds.index`). The others are read
    some at a time, so that no more is in memory than a few chunks and the answer.

    Parameters
    ----------
    store : str, os.PathLike, Store, Dataset or DataArray
        A dataset may be any; what it has selected, by label, region or position, is applied first.
    query : str
        A condition in Python's comparisons (``< <= > >= == != in not in``), ``and``, ``or``, ``not`` and arithmetic,
        over variables and coordinates, numbers, texts and ISO dates in quotes: ``"t2m > 310 and lat > 50"``,
        ``"time >= '2019-03'"``. Names that are no identifiers stand between backticks. It is parsed, and never
        evaluated as code. Values are compared as NumPy compares them: what is missing is unequal to all, and a date is
        the instant at which it begins.
    columns : str or several, optional
        Variables to give; those of the query unless said.
    limit : int, optional
        No more than the first so many, in the order of the elements.
    count : bool
        Give the number of matches only. Chunks that must match as a whole are not read either.
    exists : bool
        Say only whether there is any.
    explain : bool
        Say only how many chunks would be read.
    max_memory : int or str, optional
        Bytes, or text such as ``"500MB"``, that the answer may take; half of the machine's memory unless said.
    progress : bool, "rich" or callable
        As of `zarrds.save`.
    group : str, optional
        Of a store; the root unless said.
    storage_options : mapping, optional
        As of `zarrds.save`.

    Returns
    -------
    Dataset, int, bool or Explanation
        The matching elements, along the new dimension ``point``, with their labels as coordinates, and their
        positions (``time_index``, …), in the order of the elements. If all variables of the query have the same single
        dimension, the dataset's own selection along that dimension, whose columns may have others as well.

    Raises
    ------
    QueryError
        If the query is not allowed, names what is not there, or compares what cannot be compared; it says where.
    ResultSizeError
        If the answer would take more memory than it may.
    StoreNotFoundError, NodeNotFoundError, VariableNotFoundError
        If there is no such store, group or column.
    ChunkError
        If a chunk cannot be read.

    Notes
    -----
    Any number of threads may ask at once.

    Examples
    --------
    >>> import numpy as np, xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> t2m = ("time", "lat"), [[280.0, 311], [312, 290]]
    >>> zarrds.save(xr.Dataset({"t2m": t2m}, {"time": [2019, 2020], "lat": [50, 60]}), store)
    >>> zarrds.index(store)
    >>> found = zarrds.find(store, "t2m > 310 and lat > 40")
    >>> found.t2m.values, found.time.values, found.lat_index.values
    (array([311., 312.]), array([2019, 2020]), array([1, 0]))
    >>> zarrds.find(store, "t2m > 310", count=True)
    2
    """
    check_texts(group=group)
    check_flags(count=count, exists=exists, explain=explain)
    if (count or exists or explain) and sum((bool(count), bool(exists), bool(explain), limit is not None)) > 1:
        raise QueryError("only one of count, exists, explain and limit can be asked for")
    if limit is not None and not (type(limit) is int and limit >= 0):
        raise QueryError("limit is a number of matches", expected="an integer of at least 0", found=repr(limit))
    limit_nbytes = executor.memory_nbytes() // 2 if max_memory is None else nbytes_of(max_memory)
    if limit_nbytes is None:
        raise QueryError(
            "max_memory is no size", expected="bytes, or text such as '500MB' or '2GiB'", found=f"{max_memory!r:.80}"
        )
    ds = opened_dataset(store, group, storage_options)
    prepared = PreparedQuery(ds, query)
    wanted = _columns(ds, prepared, columns)
    if explain:
        return prepared.explain(prepared.truth(certain=False).can_hold)
    if exists:
        return has_match(prepared, progress)
    if count:
        return count_matches(prepared, progress)
    matches = find_matches(prepared, wanted, limit=limit, max_memory=limit_nbytes, progress=progress)
    return (
        _selection(ds, prepared, wanted, matches) if len(prepared.dims) == 1 else _points(ds, prepared, wanted, matches)
    )


def _columns(ds: xr.Dataset, prepared: PreparedQuery, columns: object) -> list[Hashable]:
    """The variables to give."""
    names: dict[str, Hashable] = {str(name): name for name in ds.variables}
    if columns is None:
        return [names[name] for name in prepared.operands if name in names and names[name] not in ds.coords]
    if not isinstance(columns, Iterable) or isinstance(columns, bytes):
        raise QueryError("columns are names of variables", expected="one, or a list of them", found=f"{columns!r:.80}")
    found: list[Hashable] = []
    for column in [columns] if isinstance(columns, str) else columns:
        if not isinstance(column, str) or column not in names:
            raise unknown_variable(str(column), list(names), None)
        others = set(ds.variables[names[column]].dims) - set(prepared.dims)
        if others and len(prepared.dims) != 1:
            raise QueryError(
                "a column has a dimension that the query is not about",
                key=column,
                expected=f"some of {prepared.dims}",
                found=ds.variables[names[column]].dims,
                mend="Select one element of it first, or leave the column out",
            )
        found.append(names[column])
    return found


def _index_name(ds: xr.Dataset, dim: Hashable) -> str:
    name = f"{dim}_index"
    while name in ds.variables or name in ds.sizes:
        name += "_"
    return name


def _selection(ds: xr.Dataset, prepared: PreparedQuery, columns: list[Hashable], matches: Matches) -> xr.Dataset:
    """The selection along the only dimension; of columns that were not read it stays lazy."""
    (dim,) = prepared.dims
    dims = {dim}.union(*(ds.variables[name].dims for name in columns))
    kept = ds[[*columns, *(name for name in ds.coords if set(ds.variables[name].dims) <= dims)]]
    if dim not in kept.dims:  # a dimension without labels, which only columns have that nobody asked for
        kept = kept.assign_coords({_index_name(ds, dim): (dim, np.arange(ds.sizes[dim]))})
    found = kept.isel({dim: matches.positions})
    for name, values in matches.columns.items():
        if name in found.data_vars:
            found[name] = xr.Variable((dim,), values, found[name].attrs)
    about = {"long_name": f"position along {dim}"}
    return found.assign_coords({_index_name(ds, dim): xr.Variable((dim,), matches.positions, about)})


def _loaded(variable: xr.Variable) -> Any:
    """The values, in pandas' own arrays where they are of its dtypes: NumPy would drop zones and round integers."""
    data = variable.data if not isinstance(variable.dtype, np.dtype) else None
    return data if isinstance(data, ExtensionArray) else variable.values


def _points(ds: xr.Dataset, prepared: PreparedQuery, columns: list[Hashable], matches: Matches) -> xr.Dataset:
    """The elements along a dimension of their own."""
    point = "point"
    while point in ds.variables or point in ds.sizes:
        point += "_"
    indices = np.unravel_index(matches.positions, prepared.shape) if prepared.dims else ()
    at: dict[Hashable, AnyArray] = dict(zip(prepared.dims, indices, strict=True))

    def taken(name: Hashable) -> xr.Variable:
        variable = ds.variables[name].to_base_variable()
        if name in matches.columns:
            return xr.Variable((point,), matches.columns[name], variable.attrs)
        if not matches.positions.size and variable.dims:  # dask takes no points of what has no elements
            return xr.Variable((point,), _loaded(variable[(slice(0, 0),) * variable.ndim]).reshape(0), variable.attrs)
        indexers = {dim: xr.Variable((point,), at[dim]) for dim in variable.dims}
        chosen = variable.isel(indexers) if indexers else variable
        return xr.Variable(chosen.dims, _loaded(chosen), variable.attrs)

    names = [name for name in ds.coords if set(ds.variables[name].dims) <= set(prepared.dims)]
    if not prepared.dims:  # all variables are single values: there is one element, or none
        n = matches.positions.size
        single = {name: xr.Variable((point,), np.repeat(ds.variables[name].values, n)) for name in [*columns, *names]}
        return xr.Dataset(single, attrs=ds.attrs).set_coords(names)
    coordinates = {name: taken(name) for name in names}
    for dim, index in at.items():
        about = {"long_name": f"position along {dim}"}
        coordinates[_index_name(ds, dim)] = xr.Variable((point,), np.asarray(index, np.int64), about)
    data = {name: taken(name) for name in columns if name not in coordinates}
    return xr.Dataset(data, coordinates, ds.attrs)
