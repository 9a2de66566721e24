"""``zarrds.save``: a Dataset, DataArray or DataTree to a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from zarrds.arrays.array import Array
from zarrds.arrays.attributes import plain_attributes
from zarrds.arrays.workers import Progress
from zarrds.datasets.blocks import store_blocks
from zarrds.datasets.commit import find_target, staged
from zarrds.datasets.encoding import array_metadata_for
from zarrds.datasets.xarray_internals import (
    DATAARRAY_NAME,
    DATAARRAY_VARIABLE,
    NONE_VAR_NAME,
    encode_dataset_coordinates,
    encode_zarr_variable,
    validate_dataset_names,
)
from zarrds.errors import EncodingError, UnsupportedError, VariableNotFoundError, ZarrdsError
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node, ZarrFormat
from zarrds.stores.base import Store, check_key, check_prefix
from zarrds.stores.resolve import as_store

__all__ = ["save"]

Encoding = Mapping[Hashable, Mapping[str, Any]]
# names that would hide a group's own documents
_RESERVED_NAMES = frozenset({"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"})


@dataclass(frozen=True, slots=True)
class _EncodedArray:
    """An array that is to be written: its metadata, and its data in the dtype of the store."""

    metadata: ArrayMetadata
    variable: xr.Variable


def save(
    obj: xr.Dataset | xr.DataArray | xr.DataTree,
    store: str | os.PathLike[str] | Store,
    *,
    group: str | None = None,
    mode: Literal["w", "w-"] | None = None,
    encoding: Mapping[Any, Any] | None = None,
    append_dim: Hashable | None = None,
    region: Any = None,
    zarr_format: ZarrFormat | None = None,
    compute: bool = True,
    write_inherited_coords: bool = False,
    progress: bool = False,
    workers: int | None = None,
) -> None:
    """Save a Dataset, DataArray or DataTree.

    Everything is encoded and checked before anything is written, and appears at once when all of it is written: a
    save that fails, or is killed, leaves what was there before.

    Parameters
    ----------
    obj : Dataset, DataArray or DataTree
        In memory, lazily opened, or of dask arrays in blocks of any size.
    store : str, os.PathLike or Store
    group : str, optional
        The group to save into; the root unless said.
    mode : {"w-", "w"}, optional
        ``"w-"`` (the default) is an error if the store, or the group, exists; ``"w"`` replaces it. Datasets that were
        opened from it before must then be opened again: they would read the new chunks as if they were the old.
    encoding : mapping, optional
        For each variable name a mapping with some of ``chunks``, ``compressors``, ``filters``, ``serializer``,
        ``fill_value``, ``chunk_key_encoding``, and of xarray's CF encodings (``dtype``, ``scale_factor``,
        ``units``, ``_FillValue``, …); ``zlib``, ``complevel``, ``shuffle``, ``chunksizes``, ``contiguous``,
        ``fletcher32`` and ``endian`` are understood too. It takes the place of the variable's own encoding. For a
        DataTree, a mapping of group paths to such mappings.
    zarr_format : {3, 2}, optional
        3 unless said, or that of the store whose group is saved.
    write_inherited_coords : bool
        For a DataTree, write inherited coordinates in every group.
    progress : bool
        Show a progress bar (needs tqdm).
    workers : int, optional
        Threads for writing arrays that are in memory; as many as cores unless said, 1 for none.
    append_dim, region, compute
        Not there yet; anything but their defaults raises UnsupportedError (a NotImplementedError), as do the modes
        ``"a"``, ``"a-"`` and ``"r+"``.

    Raises
    ------
    StoreExistsError
        If something stands there already.
    EncodingError, UnsupportedError
        For data, attributes or encodings that cannot be stored, naming the variable; nothing was written then.
    StoreIOError
        If the file system refuses; nothing has changed then.

    Examples
    --------
    >>> import xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> zarrds.save(xr.Dataset({"t2m": ("time", [280.5, 281.0])}), store, encoding={"t2m": {"dtype": "f4"}})
    >>> xr.open_dataset(store, engine="zarrds").t2m.dtype
    dtype('float32')
    """
    _check_later_options(mode, append_dim, region, compute)
    target_store = as_store(store)
    path = check_prefix((group or "").strip("/"), target_store.path)
    target = find_target(target_store, path, mode or "w-", zarr_format)
    nodes: dict[str, Node] = {}
    arrays: dict[str, _EncodedArray] = {}
    for where, dataset, its_encoding in _datasets(obj, encoding or {}, write_inherited_coords):
        try:
            attributes, encoded = _encode(dataset, its_encoding, target.zarr_format)
        except ZarrdsError as error:
            if where:
                error.key = where if error.key is None else f"{where}/{error.key}"
            raise error.located(path=target_store.path) from error.__cause__
        nodes[where] = GroupMetadata(attributes, zarr_format=target.zarr_format)
        for name, array in encoded.items():
            arrays[f"{where}/{name}" if where else name] = array
    nodes |= {name: array.metadata for name, array in arrays.items()}
    base = f"{target.group}/" if target.group else ""
    with _progress_bar(arrays, enabled=progress) as advance, staged(target, nodes) as stage:
        written = {name: Array(stage, base + name, a.metadata, n_workers=workers) for name, a in arrays.items()}
        in_blocks = [(a.variable.data, written[name]) for name, a in arrays.items() if a.variable.chunks is not None]
        for name in written:
            # encoded copies of the data go as soon as they are written
            array = arrays.pop(name)
            if array.variable.chunks is None:
                written[name].write(..., np.asarray(array.variable.data), progress=advance)
        store_blocks(in_blocks, advance)


def _check_later_options(mode: str | None, append_dim: object, region: object, compute: bool) -> None:
    if mode in ("a", "a-", "r+"):
        raise UnsupportedError(f"mode={mode!r} is not there yet", expected="'w-' or 'w'")
    if mode not in (None, "w", "w-"):
        raise EncodingError("unknown mode", expected="'w-' or 'w'", found=repr(mode))
    for name, is_default in (
        ("append_dim", append_dim is None),
        ("region", region is None),
        ("compute", compute is True),
    ):
        if not is_default:
            raise UnsupportedError(f"{name}= is not there yet", mend="Leave it out")


def _datasets(
    obj: Any, encoding: Mapping[Any, Any], write_inherited_coords: bool
) -> Iterator[tuple[str, xr.Dataset, Encoding]]:
    """The datasets of an object, by path, with what the user asks for each."""
    if isinstance(obj, xr.DataTree):
        if unknown := set(encoding) - {node.path for node in obj.subtree} - set(obj.groups):
            raise EncodingError("unexpected encoding group name(s) provided", found=sorted(map(str, unknown)))
        for relative, node in obj.subtree_with_keys:
            at_root = node is obj
            dataset = node.to_dataset(inherit=write_inherited_coords or at_root)
            yield "" if at_root else check_key(relative), dataset, encoding.get(node.path, {})
    elif isinstance(obj, xr.DataArray):
        yield "", _as_dataset(obj), encoding
    elif isinstance(obj, xr.Dataset):
        yield "", obj, encoding
    else:
        raise EncodingError("cannot be saved", expected="a Dataset, DataArray or DataTree", found=type(obj).__name__)


def _as_dataset(array: xr.DataArray) -> xr.Dataset:
    """A dataset that `xr.open_dataarray` turns back into the array."""
    if array.name is None:
        return array.to_dataset(name=DATAARRAY_VARIABLE)
    if array.name in array.coords or array.name in array.dims:
        dataset = array.to_dataset(name=DATAARRAY_VARIABLE)
        dataset.attrs[DATAARRAY_NAME] = array.name
        return dataset
    return array.to_dataset()


def _encode(
    dataset: xr.Dataset, encoding: Encoding, zarr_format: ZarrFormat
) -> tuple[dict[str, Any], dict[str, _EncodedArray]]:
    """A group's attributes and arrays, as they are to be stored; nothing is written."""
    validate_dataset_names(dataset)
    variables, attributes = encode_dataset_coordinates(dataset)
    for name, asked in encoding.items():
        if name not in variables:
            raise VariableNotFoundError(
                "encoding names a variable that the dataset does not have",
                key=str(name),
                found=sorted(map(str, variables)),
            )
        if not isinstance(asked, Mapping):
            raise EncodingError("encoding must be castable to a dictionary", key=str(name), found=f"{asked!r:.80}")
        variables[name].encoding = asked
    attributes = plain_attributes(attributes)
    arrays = {}
    for name, variable in variables.items():
        stored_name = NONE_VAR_NAME if name is None else str(name)
        if "/" in check_key(stored_name) or stored_name in _RESERVED_NAMES:
            raise EncodingError("a variable cannot have this name in a store", key=stored_name, mend="Rename it")
        arrays[stored_name] = _encode_variable(stored_name, variable, name in encoding, zarr_format)
    return attributes, arrays


def _encode_variable(name: str, variable: xr.Variable, is_explicit: bool, zarr_format: ZarrFormat) -> _EncodedArray:
    try:
        encoded = encode_zarr_variable(variable, name=name, zarr_format=zarr_format)
    except NotImplementedError as error:  # a MultiIndex, or another thing that CF has no words for
        raise UnsupportedError(
            f"variable cannot be stored: {error}", key=name, mend="Convert it first, for example with reset_index"
        ) from error
    except (TypeError, ValueError, OverflowError) as error:
        raise EncodingError(
            f"variable cannot be stored: {error}",
            key=name,
            found=f"dtype {variable.dtype}",
            mend="Convert it to numbers, booleans, strings, bytes or datetimes first",
        ) from error
    metadata = array_metadata_for(name, encoded, zarr_format=zarr_format, is_explicit=is_explicit)
    return _EncodedArray(metadata, encoded)


@contextmanager
def _progress_bar(arrays: Mapping[str, _EncodedArray], *, enabled: bool) -> Iterator[Progress | None]:
    if not enabled:
        yield None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise UnsupportedError("progress=True needs tqdm", mend="Install it: python -m pip install tqdm") from error
    total = sum(int(np.prod(a.metadata.chunk_grid, dtype=np.int64)) for a in arrays.values())
    with tqdm(total=total, desc="save", unit="chunk") as bar:
        advance: Callable[[int], object] = bar.update
        yield advance
