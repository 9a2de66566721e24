"""Datasets that anybody opened lazily, into a store in bounded memory: a part at a time, each appended to the last.

That needs nothing but slices of what is lazy. Parts are whole chunks of the source, so that none of it is read twice;
the store that they make is hidden, and is brought into the chunks that are wanted from there.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr

from zarrds.arrays.layout import auto_chunks
from zarrds.compat.xarray_internals import is_chunked, is_plain_in_memory, with_variables
from zarrds.datasets.encoding.exact.blocks import by_blocks
from zarrds.datasets.rechunking.layout import ByDimension, check_names
from zarrds.datasets.rechunking.plan import Regridded, plan_array
from zarrds.datasets.writing.writer import save
from zarrds.metadata.dtypes import STRING, DataType
from zarrds.metadata.model import ZarrFormat
from zarrds.storage.commits.committer import committer_of
from zarrds.storage.local.store import LocalStore
from zarrds.storage.protocol import Store
from zarrds.storage.traits import folder_of

__all__ = ["Parts", "check_wanted", "hidden_store", "parts_of", "write_parts"]

# of a Python string, roughly
_OBJECT_NBYTES = 64
# kinds of NumPy of which nothing is decided by looking at all elements
_BY_BLOCKS = "biufc"


@dataclass(frozen=True, slots=True)
class Parts:
    """How a dataset is cut.

    Attributes
    ----------
    dim : hashable
        Along which the parts lie side by side; None if there is only one.
    step : int
        Elements of a part along it.
    chunks, source_chunks : mapping of name to tuple of int
        Of the variables that are cut, as they are stored by parts, and in the source.
    nbytes : int
        That a part may have.
    """

    dim: Hashable
    step: int
    chunks: Mapping[Hashable, tuple[int, ...]]
    source_chunks: Mapping[Hashable, tuple[int, ...]]
    nbytes: int

    def is_whole(self, variable: xr.Variable) -> bool:
        """Whether one of the variables is no part of the cut, and goes with the first part, block by block."""
        return self.dim is None or self.dim not in variable.dims


def parts_of(ds: xr.Dataset, nbytes: int, along: Hashable | None = None) -> Parts | None:
    """How to cut a dataset so that a part of its lazy variables has about so many bytes; None if there is no need to.

    Large variables of numbers without the dimension that is cut are among those that are; others stay as they are.

    Parameters
    ----------
    ds : Dataset
    nbytes : int
    along : hashable, optional
        The dimension to cut, whatever others there are; None if it cannot be cut, then.

    Examples
    --------
    >>> lazy = xr.Variable(("time", "x"), np.zeros((1000, 100))).chunk({"time": 100})
    >>> parts = parts_of(xr.Dataset({"v": lazy}), 100_000)
    >>> parts.dim, parts.step, parts.chunks
    ('time', 100, {'v': (100, 100)})
    >>> parts_of(xr.Dataset({"v": lazy.load()}), 100_000) is None
    True
    """
    lazy = {
        name: variable
        for name, variable in ds.variables.items()
        if name not in ds.xindexes and variable.ndim and not is_plain_in_memory(variable)
    }
    if not lazy or sum(map(_nbytes_of, lazy.values())) <= nbytes:
        return None
    large = {name: variable for name, variable in lazy.items() if _nbytes_of(variable) > nbytes} or lazy
    dims = [dim for dim in dict.fromkeys(dim for v in large.values() for dim in v.dims) if _may_be_cut(ds, dim)]
    if along is not None:
        dims = [along] if along in dims else []
    # of which a step fits into memory; that of the most data; of several the one that varies slowest
    dim = min(
        dims,
        key=lambda dim: (_step_nbytes(lazy, dim) > nbytes, -sum(_nbytes_of(large[n]) for n in _with(large, dim))),
        default=None,
    )
    cut = {name: lazy[name] for name in _with(lazy, dim)}
    source = {name: _chunks_of(variable) for name, variable in cut.items()}
    step = 0
    if cut:
        most = max(1, nbytes // max(1, _step_nbytes(lazy, dim)))
        whole = max(chunk[cut[name].dims.index(dim)] for name, chunk in source.items())
        step = most // whole * whole or most
        if step >= ds.sizes[dim]:
            dim, step, cut, source = None, 0, {}, {}
    chunks = {name: _no_longer(cut[name], chunk, dim, step) for name, chunk in source.items()}
    for name, variable in large.items():
        is_lazy = variable.dtype.kind in _BY_BLOCKS and not is_chunked(variable)
        if along is None and name not in cut and is_lazy and _nbytes_of(variable) > nbytes:
            chunks[name] = source[name] = _chunks_of(variable)
    return Parts(dim, step, chunks, source, nbytes) if chunks else None


def _with(variables: Mapping[Hashable, xr.Variable], dim: Hashable | None) -> list[Hashable]:
    return [name for name, variable in variables.items() if dim is not None and dim in variable.dims]


def _step_nbytes(variables: Mapping[Hashable, xr.Variable], dim: Hashable | None) -> int:
    return sum(_nbytes_of(v) // v.sizes[dim] for v in map(variables.__getitem__, _with(variables, dim)))


def _nbytes_of(variable: xr.Variable) -> int:
    itemsize = _OBJECT_NBYTES if variable.dtype.kind in "OT" else max(variable.dtype.itemsize, 1)
    return int(variable.size) * itemsize


def _may_be_cut(ds: xr.Dataset, dim: Hashable) -> bool:
    """Whether one part can be appended to the other: not where labels are missing, or of several levels."""
    if ds.sizes[dim] < 2:
        return False
    if any(name != dim and dim in ds.variables[name].dims for name in ds.xindexes):
        return False
    index = ds.xindexes.get(dim)
    if index is None:
        return True
    return type(index) is xr.indexes.PandasIndex and not index.index.hasnans


def _chunks_of(variable: xr.Variable) -> tuple[int, ...]:
    """The chunks of the source, or else such as a new array would have."""
    found: Any = variable.encoding.get("chunks") or variable.encoding.get("chunksizes")
    if found is None and variable.chunks is not None:
        found = [max(sizes, default=1) for sizes in variable.chunks]
    if isinstance(found, tuple | list) and len(found) == variable.ndim and all(found):
        return tuple(min(int(c), max(1, n)) for c, n in zip(found, variable.shape, strict=True))
    is_number = variable.dtype.kind in "biufcmM"
    return auto_chunks(variable.shape, DataType.from_numpy(np.dtype(variable.dtype)) if is_number else STRING)


def _no_longer(variable: xr.Variable, chunks: tuple[int, ...], dim: Hashable, step: int) -> tuple[int, ...]:
    return tuple(min(c, step) if d == dim else c for d, c in zip(variable.dims, chunks, strict=True))


def write_parts(
    ds: xr.Dataset,
    store: Store,
    parts: Parts,
    *,
    group: str | None = None,
    encoding: Mapping[Any, Mapping[str, Any]] | None = None,
    zarr_format: ZarrFormat | None = None,
) -> None:
    """Write a dataset to a store that nobody else sees, or a new group of it, part by part.

    Parameters
    ----------
    ds : Dataset
    store : Store
    parts : Parts
    group : str, optional
    encoding : mapping, optional
        As of `zarrds.save`; the chunks are those of `parts`, and shards are left out.
    zarr_format : {3, 2}, optional
    """
    asked = {name: {k: v for k, v in each.items() if k != "shards"} for name, each in (encoding or {}).items()}
    dim, step = parts.dim, parts.step
    first = ds if dim is None else ds.isel({dim: slice(0, step)})
    large = {name: first.variables[name] for name in parts.chunks if parts.is_whole(ds.variables[name])}
    first = with_variables(first, {name: by_blocks(variable, parts.nbytes) for name, variable in large.items()})
    for name, chunks in parts.chunks.items():
        if name in asked:
            asked[name] |= {"chunks": chunks}
        else:  # all else that its encoding says of it is to count, too
            own = first.variables[name].encoding
            kept = {key: value for key, value in own.items() if key not in ("chunksizes", "preferred_chunks", "shards")}
            first.variables[name].encoding = {**kept, "chunks": chunks}
    shared: dict[str, Any] = {"group": group, "durable": False}
    save(first, store, mode="a", encoding=asked, zarr_format=zarr_format, **shared)
    if dim is None:
        return
    rest = ds.drop_vars([name for name, variable in ds.variables.items() if dim not in variable.dims])
    for start in range(step, ds.sizes[dim], step):
        part = rest.isel({dim: slice(start, start + step)})
        save(part, store, append_dim=dim, on_overlap="append", on_unordered="append", **shared)


def check_wanted(
    ds: xr.Dataset,
    parts: Parts | None,
    *,
    chunks: ByDimension,
    shards: ByDimension,
    encoding: Mapping[str, Mapping[str, Any]],
    max_memory: int,
) -> None:
    """Check what is wanted of a dataset as far as that can be told before any of it is read.

    Raises
    ------
    VariableNotFoundError, EncodingError
        For names that are not there, and chunks that do not fit into the memory.
    """
    check_names(encoding, map(str, ds.variables), (chunks, shards), set(ds.dims))
    if parts is None:
        return
    for name, written in parts.chunks.items():
        variable = ds.variables[name]
        asked = encoding.get(str(name), {})
        sizes = dict(zip(variable.dims, parts.source_chunks[name], strict=True)) | dict(chunks or {})
        if isinstance(asked.get("chunks"), tuple | list):
            sizes |= dict(zip(variable.dims, asked["chunks"], strict=False))
        if shards or "shards" in asked or isinstance(asked.get("chunks"), str | Mapping):
            continue
        wanted = tuple(
            n if sizes[d] == -1 else int(sizes[d]) for d, n in zip(variable.dims, variable.shape, strict=True)
        )
        itemsize = _nbytes_of(variable) // max(1, int(variable.size))
        array = Regridded(str(name), variable.shape, itemsize, written, wanted)
        plan_array(array, max_memory=max_memory, workers=1)


@contextmanager
def hidden_store(goal: Store) -> Iterator[LocalStore]:
    """A store on the disk that nobody sees and that goes at the end: beside `goal`, if that is a folder.

    What a process leaves that is killed is found as all that it staged for `goal`.
    """
    if folder_of(goal) is None:
        with TemporaryDirectory(prefix="zarrds-") as folder:
            yield LocalStore(os.path.join(folder, "parts.zarr"))
        return
    committer = committer_of(goal)
    stage = committer.stage()
    try:
        yield LocalStore(os.path.join(folder_of(stage) or "", "parts.zarr"))
    finally:
        committer.discard(stage)
