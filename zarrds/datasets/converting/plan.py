"""How to store an input: chunks, codecs, blocks; and what of it is there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.arguments import nearest
from zarrds.compat.xarray_internals import with_variables
from zarrds.datasets.converting.selection import labels_of
from zarrds.datasets.description.of_store import unknown_variable
from zarrds.datasets.encoding.chunks import source_chunks
from zarrds.engine.blocks import block_shape, n_blocks
from zarrds.engine.progress import ProgressOption
from zarrds.errors import EncodingError, ZarrdsError
from zarrds.metadata.attributes import MARKERS, SCALE
from zarrds.metadata.model import ZarrFormat
from zarrds.metadata.nodes.documents import spec_there
from zarrds.storage.protocol import Store

__all__ = ["StoredLabels", "Target", "as_blocks", "encoding_for", "stored_labels"]

_MOST_BLOCKS = 2**20
# what of a file's encoding says what stored values mean, and is kept when chunks or codecs are asked for
_MEANING = (*SCALE, *MARKERS, "units", "calendar", "_Unsigned")


@dataclass(frozen=True, slots=True)
class Target:
    """The store that inputs are written to, and how; the names are those of `zarrds.convert` and `zarrds.save`."""

    store: Store
    group: str | None
    mode: Literal["w", "w-"]
    zarr_format: ZarrFormat | None
    statistics: bool | None
    durable: bool
    progress: ProgressOption

    @property
    def is_new(self) -> bool:
        """Whether a store is made as a whole, and no group of one that exists."""
        return self.group is None or spec_there(self.store) is None


def encoding_for(
    ds: xr.Dataset,
    chunks: Mapping[str, int] | None,
    encoding: Mapping[str, Mapping[str, Any]] | None,
    compressors: Sequence[Any] | None,
) -> dict[Any, dict[str, Any]]:
    """What to ask `zarrds.save` for; empty where nothing is asked.

    Raises
    ------
    EncodingError, VariableNotFoundError
        For dimensions and variables that are not there.

    Examples
    --------
    >>> ds = xr.Dataset({"t2m": (("time", "x"), np.zeros((4, 6)))})
    >>> encoding_for(ds, {"time": 2, "x": -1}, None, None)
    {'t2m': {'chunks': (2, 6)}}
    """
    asked = dict(encoding or {})
    for wrong in asked:
        if wrong not in ds.variables:
            raise unknown_variable(wrong, [str(each) for each in ds.variables], None)
    for dim in chunks or ():
        if dim not in ds.dims:
            raise EncodingError("no such dimension", key=dim, mend=nearest(dim, ds.dims))
    found: dict[Any, dict[str, Any]] = {}
    for name, variable in ds.variables.items():
        wanted: dict[str, Any] = {}
        if chunks and set(chunks) & set(variable.dims) and name not in ds.xindexes:
            wanted["chunks"] = _chunks(variable, chunks)
        if name in asked:
            found[name] = {**wanted, **asked[str(name)]}
            continue
        if compressors is not None:
            wanted["compressors"] = compressors
        if wanted:
            found[name] = {**_meaning(variable), **wanted}
    return found


def _meaning(variable: xr.Variable) -> dict[str, Any]:
    encoding = variable.encoding
    if not isinstance(variable.dtype, np.dtype) and variable.dtype.kind in "biuf":
        return {}  # nullable numbers, of which it is always the same
    kept = {key: encoding[key] for key in _MEANING if encoding.get(key) is not None}
    if variable.dtype.kind not in "OTUS" and encoding.get("dtype") is not None:
        kept["dtype"] = np.dtype(encoding["dtype"])
    return kept


def _chunks(variable: xr.Variable, chunks: Mapping[str, int]) -> tuple[int, ...]:
    before = source_chunks(variable) or variable.shape
    sizes = (chunks.get(str(dim), chunk) for dim, chunk in zip(variable.dims, before, strict=True))
    return tuple(max(1, n if c == -1 else c) for c, n in zip(sizes, variable.shape, strict=True))


def as_blocks(ds: xr.Dataset, encoding: Mapping[Any, Mapping[str, Any]]) -> xr.Dataset:
    """The same dataset, whose large variables are dask arrays of blocks along the chunks to write.

    Without dask it stays as it is.

    Raises
    ------
    EncodingError
        If these are more than dask can handle.
    """
    if find_spec("dask") is None:
        return ds
    changed: dict[Any, xr.Variable] = {}
    for name, variable in ds.variables.items():
        if name in ds.xindexes or variable.chunks is not None or variable.ndim == 0:
            continue
        chunks = encoding.get(name, {}).get("chunks") or source_chunks(variable)
        block = block_shape(variable.shape, chunks, max(variable.dtype.itemsize, 1))
        if n_blocks(variable.shape, block) > _MOST_BLOCKS:  # dask makes tasks of all of them before it begins
            raise EncodingError(
                "a variable is too large to be converted at once",
                key=str(name),
                expected=f"at most {_MOST_BLOCKS} blocks of {block}",
                found=variable.shape,
                mend="Select a part of it; zarrds.copy and zarrds.rechunk copy what is stored of a Zarr store",
            )
        changed[name] = variable.chunk(dict(zip(variable.dims, block, strict=True)))
    return with_variables(ds, changed)


@dataclass(frozen=True, slots=True)
class StoredLabels:
    """The labels along the dimension along which inputs are joined, as they stand in the store."""

    dim: str
    index: pd.Index[Any]

    def has_all(self, ds: xr.Dataset) -> bool:
        """Whether the store has all labels of a dataset."""
        labels = labels_of(ds, self.dim)
        return labels is not None and bool((self.index.get_indexer_for(labels) >= 0).all())


def stored_labels(store: Store, group: str | None, dim: str) -> StoredLabels | None:
    """The labels that are stored along a dimension; None if it has none."""
    anything: Any = store  # of whose type xarray's annotations know nothing
    try:
        with xr.open_dataset(anything, engine="zarrds", group=group) as ds:
            labels = labels_of(ds, dim)
            return None if labels is None else StoredLabels(dim, labels)
    except ZarrdsError:
        raise
    except ValueError as error:  # of xarray's decoders
        raise EncodingError(f"the store cannot be decoded: {error}", path=store.path) from error
