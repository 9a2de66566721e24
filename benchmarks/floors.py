"""What no library can do without: the floors that some rows are held against.

Opening and selecting: xarray does all that it does for any engine, over arrays that are in memory. Reading all of an
array: its chunks are decoded on all cores, from memory to memory, and the pages of the result are touched once.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc
import numpy as np
import xarray as xr
from xarray.backends import AbstractDataStore, BackendArray, BackendEntrypoint, StoreBackendEntrypoint
from xarray.backends.common import datatree_from_dict_with_io_cleanup
from xarray.core import indexing
from xarray.core.utils import FrozenDict

from benchmarks.array_engines import Array
from benchmarks.contenders import Contender
from benchmarks.data import Bench
from benchmarks.dataset_engines import Opener, engines
from benchmarks.sources import Source

# ------------------------------------------------------------------------------------------------- opening, selecting


@dataclass(frozen=True)
class InMemory:
    """Datasets as they are stored, before CF decoding: for each group its variables and attributes."""

    groups: Mapping[str, tuple[Mapping[Hashable, xr.Variable], Mapping[Any, Any]]]


class _Array(BackendArray):
    """Indexed lazily, as an engine's arrays are."""

    def __init__(self, values: Array) -> None:
        self.values = values
        self.shape = values.shape
        self.dtype = values.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        basic = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, basic, self.values.__getitem__)


class _Store(AbstractDataStore):
    """One group, for xarray's own way from a store to a dataset."""

    def __init__(self, group: tuple[Mapping[Hashable, xr.Variable], Mapping[Any, Any]]) -> None:
        self._variables, self._attributes = group

    def get_variables(self) -> Any:
        """Made anew for each opening, since decoding changes them."""
        return FrozenDict((name, _lazy(variable)) for name, variable in self._variables.items())

    def get_attrs(self) -> Any:
        """The group's."""
        return FrozenDict(self._attributes)


def _lazy(variable: xr.Variable) -> xr.Variable:
    array = indexing.LazilyIndexedArray(_Array(variable.values))
    return xr.Variable(variable.dims, array, variable.attrs, variable.encoding)


class _InMemoryEntrypoint(BackendEntrypoint):
    """Opens what is `InMemory`; the least that an xarray engine has to do."""

    def open_dataset(self, filename_or_obj: Any, *, drop_variables: Any = None, **decoders: Any) -> xr.Dataset:
        """One `InMemory` without groups."""
        store = _Store(filename_or_obj.groups["/"])
        return StoreBackendEntrypoint().open_dataset(store, drop_variables=drop_variables, **decoders)

    def open_datatree(self, filename_or_obj: Any, *, drop_variables: Any = None, **decoders: Any) -> xr.DataTree:
        """All groups of an `InMemory`."""
        entrypoint = StoreBackendEntrypoint()
        return datatree_from_dict_with_io_cleanup(
            {
                path: entrypoint.open_dataset(_Store(group), drop_variables=drop_variables, **decoders)
                for path, group in filename_or_obj.groups.items()
            }
        )


OPEN_FLOOR = Opener("floor", "xarray over arrays in memory", _InMemoryEntrypoint, kind="floor")


def in_memory(source: Source, bench: Bench) -> InMemory:
    """A source as zarrds has stored it, to be opened by `OPEN_FLOOR`."""
    engine = engines()[0]
    path = source.stored(engine, bench)
    if not isinstance(source.get(bench), xr.DataTree):
        ds = xr.open_dataset(path, engine=engine.xarray_engine, decode_cf=False, create_default_indexes=False)
        return InMemory({"/": _loaded(ds)})
    tree = xr.open_datatree(path, engine=engine.xarray_engine, decode_cf=False, create_default_indexes=False)
    return InMemory({node.path: _loaded(node.to_dataset(inherit=False)) for node in tree.subtree})


def _loaded(ds: xr.Dataset) -> tuple[Mapping[Hashable, xr.Variable], Mapping[Any, Any]]:
    return {name: variable.load() for name, variable in ds.variables.items()}, ds.attrs


# ---------------------------------------------------------------------------------------------------------- reading all


def decode_floor(values: Array, path: Path, chunks: tuple[int, ...]) -> Contender:
    """Every chunk of an array decoded into one buffer per core, and the pages of the result touched once.

    Parameters
    ----------
    values : ndarray
        What was stored.
    path : Path
        The array's folder; the files' frames of Blosc are read here, not in the timed part.
    chunks : tuple of int
    """
    blosc.set_releasegil(True)
    blosc.set_nthreads(1)
    indices = list(np.ndindex(*(math.ceil(n / chunk) for n, chunk in zip(values.shape, chunks, strict=True))))
    frames = [_frame(path.joinpath(key).read_bytes()) for key in _keys(path, indices)]
    n_threads = os.cpu_count() or 1
    buffers = [np.empty(chunks, values.dtype) for _ in range(n_threads)]
    page_steps = 4096 // values.itemsize

    def decode(i: int) -> None:
        address = buffers[i].ctypes.data
        for frame in frames[i::n_threads]:
            blosc.decompress_ptr(frame, address)

    def touch(part: Array) -> None:
        part[::page_steps] = 0

    def run(_k: int) -> None:
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(decode, range(n_threads)))
            list(pool.map(touch, np.array_split(np.empty(values.size, values.dtype), n_threads)))

    def check(_k: int, _result: None) -> None:
        for i, buffer in enumerate(buffers):
            last = indices[i::n_threads][-1]
            expected = values[tuple(slice(n * c, (n + 1) * c) for n, c in zip(last, chunks, strict=True))]
            if not np.array_equal(buffer[tuple(map(slice, expected.shape))], expected):
                raise AssertionError("the chunk is not what was saved")

    about = "every chunk decoded into a buffer on each core, from memory; the result's pages touched once"
    return Contender("floor", about, run, check, kind="floor")


def _keys(path: Path, indices: list[tuple[int, ...]]) -> list[str]:
    """Where an array's chunks are, in its folder."""
    encoding = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["chunk_key_encoding"]
    separator = encoding.get("configuration", {}).get("separator", "/")
    return [separator.join(["c", *map(str, index)]) for index in indices]


def _frame(stored: bytes) -> bytes:
    """Blosc's part of a stored chunk: its header says how long it is, and a checksum may follow."""
    return stored[: int.from_bytes(stored[12:16], "little")]
