"""Data that was computed and staged for one place of a store, and goes to another, as the store grew meanwhile.

A dask graph is computed without a lock, for it may take days. What it gave is not computed again: it is read back from
where it was staged, block by block, under the lock of the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from zarrds.compat.xarray_internals import is_chunked, with_variables
from zarrds.datasets.encoding.exact.blocks import computed
from zarrds.datasets.encoding.meaning import says_where
from zarrds.datasets.writing.changes import ArrayChange
from zarrds.datasets.writing.commit.tasks import aligned_blocks
from zarrds.engine.elements import Elements
from zarrds.errors import ConflictError
from zarrds.metadata.equality import is_same
from zarrds.metadata.extension import marks_of
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.commits.overlay import Overlay

__all__ = ["moved", "with_labels_loaded"]

# bytes of a variable that is loaded to be looked at
_MAX_LOADED = 2**26


def with_labels_loaded(dataset: xr.Dataset) -> xr.Dataset:
    """A dataset with those small dask arrays in memory that are looked at when it is placed: times, contigs and ids."""
    loaded = {
        name: computed(name, variable)
        for name, variable in dataset.variables.items()
        if is_chunked(variable)
        and variable.ndim == 1
        and variable.nbytes <= _MAX_LOADED
        and (variable.dtype.kind in "mM" or says_where(str(name), variable))
    }
    return with_variables(dataset, loaded) if loaded else dataset


def moved(
    planned: Mapping[str, ArrayChange], written: Mapping[str, ArrayChange], staged: Overlay, computed: Iterable[str]
) -> dict[str, ArrayChange]:
    """Changes that were planned anew, with data that was written already in the place of what would be computed again.

    Parameters
    ----------
    planned : mapping of str to ArrayChange
        By path; as the store is now.
    written : mapping of str to ArrayChange
        As it was when the data was computed.
    staged : Overlay
        The chunks that were written; they must stay until the new changes are.
    computed : iterable of str
        The paths of dask arrays that are among them.

    Raises
    ------
    ConflictError
        If other elements would have to be written, or into another array, or into one of which attributes have changed.
    """
    changes = dict(planned)
    for path in computed:
        before, now = written[path], planned.get(path)
        if now is None or now.variable.shape != before.variable.shape or not _is_same_array(before.before, now.before):
            raise ConflictError("another writer changed meanwhile which elements are to be written, or how", key=path)
        changes[path] = replace(now, variable=_read_back(now, before, path, staged))
    return changes


def _is_same_array(before: ArrayMetadata | None, now: ArrayMetadata | None) -> bool:
    """Whether an array is what it was, but for its shape."""
    if before is None or now is None:
        return before is now
    is_it = marks_of(before).id == marks_of(now).id
    return is_it and before.data_type == now.data_type and is_same(before.attributes, now.attributes)


@dataclass(frozen=True, eq=False)
class _Staged:
    """Elements as dask takes them: an array that is read when it is indexed."""

    elements: Elements
    start: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.elements.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: tuple[slice, ...]) -> Any:
        return self.elements.read(tuple(slice(s.start + a, s.stop + a) for s, a in zip(key, self.start, strict=True)))


def _read_back(now: ArrayChange, before: ArrayChange, path: str, staged: Overlay) -> xr.Variable:
    import dask.array

    # chunks that hold nothing may have been left out
    elements = Elements(staged, path, before.after, missing_chunks="fill", is_private=True, n_workers=1)
    source = _Staged(elements, before.start, now.variable.shape)
    blocks = tuple(
        aligned_blocks((chunk,) * (size // chunk) + ((size % chunk,) if size % chunk else ()), chunk, start)
        for size, chunk, start in zip(source.shape, now.after.chunks, now.start, strict=True)
    )
    meta = np.empty((0,) * source.ndim, source.dtype)
    from_array: Any = dask.array.from_array  # it has no types
    data = from_array(source, chunks=blocks, name=False, asarray=False, meta=meta)
    return xr.Variable(now.variable.dims, data, now.variable.attrs)
