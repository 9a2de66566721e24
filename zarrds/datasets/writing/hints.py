"""Encodings that came along with variables and had to give way: one warning a save; dask finds some late."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from math import prod
from typing import Any

import numpy as np
import xarray as xr

from zarrds.arguments import nearest, warn
from zarrds.compat.xarray_internals import is_chunked, with_variables
from zarrds.datasets.encoding.chunks import BY_DIMENSION, chunks_beside
from zarrds.datasets.encoding.dataset import Encoding, stored_name
from zarrds.datasets.encoding.exact.attempt import without_losses
from zarrds.datasets.encoding.exact.blocks import computed
from zarrds.datasets.encoding.exact.lossy_codecs import without_filters
from zarrds.datasets.encoding.variables import GAVE_WAY
from zarrds.datasets.writing.changes import ArrayChange
from zarrds.engine.blocks import n_blocks
from zarrds.errors import BlocksOfTextError, CarriedEncodingError, EncodingError
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.protocol import path_below

__all__ = [
    "Parts",
    "warn_of",
    "warn_of_small_chunks",
    "with_chunks",
    "with_chunks_of",
    "with_loaded",
    "with_objects_loaded",
    "without_hint",
]

# path, dataset, and what the user asks for its variables
Parts = list[tuple[str, xr.Dataset, Encoding]]
_MAX_NAMED = 10
# more chunks than this, each of fewer bytes, are told of
_MANY_CHUNKS = 10_000
_SMALL_CHUNK = 4096


def with_chunks(parts: Parts, chunks: Mapping[Any, Any]) -> Parts:
    """The parts of a save, whose variables get chunks of these sizes along their dimensions.

    Raises
    ------
    EncodingError
        For dimensions that no variable has, and for what is no size of a chunk.
    """
    if not chunks:
        return parts
    dims = {dim for _, dataset, _ in parts for dim in dataset.dims}
    for dim, size in chunks.items():
        if dim not in dims:
            raise EncodingError(f"chunks names a dimension {dim!r} that there is not", mend=nearest(dim, dims))
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or not (size >= 1 or size == -1):
            raise EncodingError(
                f"chunks[{dim!r}] is wrong", expected="a positive integer, or -1", found=f"{size!r:.80}"
            )
    wanted = {dim: int(size) for dim, size in chunks.items()}
    changed: Parts = []
    for path, given, its_encoding in parts:
        dataset, asked = given.copy(), dict(its_encoding)
        for name, variable in dataset.variables.items():
            if variable.dims == (name,) or not set(variable.dims) & chunks.keys():
                continue
            if name in asked and isinstance(asked[name], Mapping):
                asked[name] = {BY_DIMENSION: wanted, **asked[name]}
            else:
                variable.encoding = {**variable.encoding, BY_DIMENSION: wanted}
        changed.append((path, dataset, asked))
    return changed


def with_chunks_of(variable: xr.Variable, arrays: Mapping[str, ArrayMetadata]) -> xr.Variable:
    """A variable that is new in a store, with the chunks that its array with most of the dimensions has along them.

    Where its encoding, or its dask blocks, say chunks, these count; so do automatic ones where but one is shared, and
    beside shards, whose inner chunks are too small for files of their own.
    """
    said = {"chunks", "chunksizes", "shards", BY_DIMENSION} & variable.encoding.keys()
    if variable.ndim < 2 or variable.chunks is not None or said:
        return variable

    def shared(array: ArrayMetadata) -> list[Hashable]:
        return [dim for dim in variable.dims if str(dim) in (array.dimension_names or ())]

    nearest = max(arrays.values(), key=lambda array: (len(shared(array)), -len(array.shape)), default=None)
    if nearest is None or len(dims := shared(nearest)) < 2:
        return variable
    stored = nearest.inner()
    if stored.shards is not None:
        return variable
    sizes = dict(zip(nearest.dimension_names or (), stored.chunks, strict=True))
    known = {dim: sizes[str(dim)] for dim in dims}
    beside = chunks_beside(variable, known, max(variable.dtype.itemsize, 1))
    changed = variable.copy(deep=False)
    changed.encoding = {**variable.encoding, BY_DIMENSION: {**known, **beside}}
    return changed


def warn_of(replaced: Mapping[str, str]) -> None:
    """One warning of all encodings that were replaced: why, by the variables' paths.

    It is given before the commit, since it may be an error.
    """
    if not replaced:
        return
    named = [f"{path!r} ({why})" for path, why in replaced.items()][:_MAX_NAMED]
    more = f" and {len(replaced) - len(named)} more" if len(replaced) > len(named) else ""
    warn(
        "encodings that came along with variables would have changed their values, or cannot be written, and were "
        f"replaced: {', '.join(named)}{more}. Ask for one with encoding=, or remove it with drop_encoding()",
        xr.SerializationWarning,
    )


def warn_of_small_chunks(arrays: Mapping[str, ArrayChange]) -> None:
    """One warning of stored arrays that get very many very small chunks, each of which is a file or an object."""
    small = []
    for path, change in arrays.items():
        chunks = change.after.chunks
        n_chunks = n_blocks(change.variable.shape, chunks)
        nbytes = prod(chunks) * change.after.data_type.dtype.itemsize
        if change.before is not None and n_chunks > _MANY_CHUNKS and nbytes < _SMALL_CHUNK:
            small.append(f"{path!r} ({n_chunks} of {nbytes} bytes)")
    if small:
        warn(
            f"arrays of the store get very many very small chunks: {', '.join(small[:_MAX_NAMED])}. That is slow, now "
            "and when they are read: zarrds.rechunk copies a store to larger ones, and "
            "encoding={...: {'chunks': ...}} asks for them in the first save"
        )


def without_hint(parts: Parts, error: CarriedEncodingError, replaced: dict[str, str]) -> Parts:
    """The parts of a save without what came along with the variable that an error names.

    Parameters
    ----------
    parts : list of (path, dataset, encoding)
    error : CarriedEncodingError
        Of a block that was computed.
    replaced : dict
        Gets an entry for each variable that is changed.

    Raises
    ------
    CarriedEncodingError
        The same, if no variable is changed: to try again would be no use.
    """
    changed = []
    n_changed = 0
    for path, dataset, asked in parts:
        names = [name for name in dataset.variables if _is_meant(name, dataset.variables[name], asked, error)]
        for name in names:
            why = error.problem if error.found is None else f"{error.problem}: {error.found}"
            replaced[path_below(path, str(name))] = why
        changed.append((path, _without(dataset, names), asked))
        n_changed += len(names)
    if not n_changed:
        raise error
    return changed


def with_loaded(parts: Parts, error: BlocksOfTextError) -> Parts:
    """The parts of a save with the dask array of text in memory that an error names.

    Its objects are those of its blocks: ``Dataset.compute`` lets pandas make NaN of None and pd.NA.

    Raises
    ------
    BlocksOfTextError
        The same, if there is none.
    """
    loaded = _loaded(parts, lambda name, variable: _is_named(name, error) and variable.dtype.kind in "OT")
    if all(dataset is before for (_, dataset, _), (_, before, _) in zip(loaded, parts, strict=True)):
        raise error
    return loaded


def with_objects_loaded(parts: Parts) -> Parts:
    """The parts of a save that is computed later, with dask arrays of objects in memory.

    What their blocks hold decides what is noted of them, and that is published before they are computed.
    """
    return _loaded(parts, lambda _, variable: variable.dtype.kind == "O")


def _loaded(parts: Parts, is_meant: Callable[[Hashable, xr.Variable], bool]) -> Parts:
    changed = []
    for path, dataset, asked in parts:
        chunked = {name: each for name, each in dataset.variables.items() if is_chunked(each)}
        loaded = {name: computed(name, each) for name, each in chunked.items() if is_meant(name, each)}
        changed.append((path, with_variables(dataset, loaded) if loaded else dataset, asked))
    return changed


def _is_named(name: Hashable, error: EncodingError) -> bool:
    return (error.key or "").rpartition("/")[2] == stored_name(name)


def _is_meant(name: Hashable, variable: xr.Variable, asked: Encoding, error: CarriedEncodingError) -> bool:
    return _is_named(name, error) and name not in asked and GAVE_WAY not in variable.encoding


def _without(dataset: xr.Dataset, names: list[Hashable]) -> xr.Dataset:
    if not names:
        return dataset
    copied = dataset.copy()
    for name in names:
        left = without_filters(without_losses(dataset.variables[name].encoding))
        copied.variables[name].encoding = {**left, GAVE_WAY: True}
    return copied
