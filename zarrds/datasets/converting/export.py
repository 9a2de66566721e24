"""``zarrds.export``: a store to a netCDF4 file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import xarray as xr

from zarrds.arguments import (
    check_choice,
    check_flags,
    check_mappings,
    check_texts,
    names_of,
    nearest,
    path_of_file,
)
from zarrds.arrays.array import Array
from zarrds.arrays.group import Group
from zarrds.arrays.opening import open_group
from zarrds.datasets.converting.netcdf import (
    Positions,
    characters_dim,
    check_attributes,
    check_name,
    copy_values,
    create_variable,
    missing_text,
    netcdf_dtype,
    selected_shape,
    set_attributes,
)
from zarrds.datasets.converting.selection import positions_of
from zarrds.datasets.description.of_store import unknown_variable
from zarrds.datasets.encoding.attributes import attributes_of
from zarrds.datasets.reading.notes import single_bytes
from zarrds.datasets.reading.roles import with_coordinates_named
from zarrds.engine.executor import Progress
from zarrds.engine.progress import ProgressOption, progress_bar
from zarrds.errors import EncodingError, SelectionError, UnsupportedError, locating
from zarrds.metadata.attributes import typed_attributes
from zarrds.metadata.extension import unlimited_dims
from zarrds.metadata.model import GroupMetadata
from zarrds.storage.local.new_file import check_new_file, new_file
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store

__all__ = ["export"]


@dataclass(frozen=True, slots=True)
class _Part:
    """One group that is exported."""

    path: str
    attributes: Mapping[str, Any]
    arrays: Mapping[str, Array]
    positions: Positions
    unlimited_dims: frozenset[str]

    def shape_of(self, name: str) -> tuple[tuple[str, int], ...]:
        """The dimensions of a variable, and what is selected of them; of bytes, without their characters."""
        return selected_shape(self.arrays[name], self.positions)

    def netcdf_shape_of(self, name: str) -> tuple[tuple[str, int], ...]:
        """The same as netCDF has it: bytes have a dimension of their characters, unless they are single ones."""
        dims, metadata = self.shape_of(name), self.arrays[name].metadata
        dtype = metadata.data_type.dtype
        if dtype.kind != "S" or self._are_single(name):
            return dims
        # what has the name of a dimension would be taken for its labels
        taken = {*self.arrays, *(dim for each in self.arrays for dim, _ in self.shape_of(each))}
        beside = [array.metadata for array in self.arrays.values()]
        return *dims, (characters_dim(metadata, beside, taken), dtype.itemsize)

    def _are_single(self, name: str) -> bool:
        """Whether readers take bytes without a dimension of one for single characters, and do not join them to text."""
        if self.arrays[name].dtype != np.dtype("S1"):
            return False
        if not single_bytes({name: self.arrays[name].metadata}):  # characters of text, which lie in a dimension already
            return True
        dims = {each: [dim for dim, _ in self.shape_of(each)] for each in self.arrays}
        if not dims[name]:
            return True
        last = dims.pop(name)[-1]
        # as those that have the dimension otherwise: with others behind it, or of something else
        others = [n for n, names in dims.items() if last in names and names[-1:] != [last]]
        others += [n for n, names in dims.items() if names[-1:] == [last] and self.arrays[n].dtype != np.dtype("S1")]
        return last in self.arrays or bool(others)


def export(
    store: str | os.PathLike[str] | Store,
    path: str | os.PathLike[str],
    *,
    group: str | None = None,
    variables: str | Iterable[str] | None = None,
    sel: Mapping[str, Any] | None = None,
    isel: Mapping[str, Any] | None = None,
    deflate: int = 1,
    overwrite: bool = False,
    progress: ProgressOption = False,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Write a stored dataset to a netCDF4 file, which appears when all of it is written.

    Values go over as they are stored, packed ones packed and times as numbers with units, block by block: memory is
    needed for one block of 32 MiB, or for one chunk if that is larger. Labels of pandas' own kinds become what other
    readers of the store see.

    Parameters
    ----------
    store : str, os.PathLike or Store
    path : str or os.PathLike
        Of the file, in a folder that exists.
    group : str, optional
        Only this group and those below it; unless said, all groups.
    variables : str or iterable of str, optional
        Only these variables, and the coordinates of their dimensions.
    sel, isel : mapping, optional
        Only a part, by labels and by positions, as of `xarray.Dataset.sel` and ``isel``; of a slice of labels the ends
        may be given in either order. Groups that do not have such a dimension are written whole.
    deflate : int
        From 0 (no compression) to 9.
    overwrite : bool
        Replace the file if it exists; else that is an error.
    progress : bool, "rich" or callable
        Show a progress bar (needs tqdm, or rich), or call ``progress(done, total)`` with numbers of values.
    storage_options : mapping, optional
        As of `zarrds.save`.

    Raises
    ------
    StoreNotFoundError, NodeNotFoundError, VariableNotFoundError
        If there is no such store, group or variable.
    StoreExistsError
        If the file exists.
    SelectionError, LabelNotFoundError
        If the selection does not fit.
    EncodingError
        For what netCDF does not have; nothing was written then.
    StoreIOError
        If the file cannot be written, on a full disk for example. Nothing is left of it then.

    Examples
    --------
    >>> import xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> zarrds.save(xr.Dataset({"t2m": ("time", [280.5, 281.0, 282.5])}, {"time": [7, 8, 9]}), store)
    >>> zarrds.export(store, "t2m.nc", sel={"time": slice(8, 9)})
    >>> xr.load_dataset("t2m.nc").t2m.values
    array([281. , 282.5])
    """
    check_texts(group=group)
    names = names_of(variables=variables)
    check_mappings(sel=sel, isel=isel)
    check_flags(overwrite=overwrite)
    try:
        import netCDF4
    except ImportError as error:
        raise UnsupportedError("export needs netCDF4", mend="Install it: python -m pip install netCDF4") from error
    name = path_of_file(path=path)
    check_new_file(name, overwrite=overwrite)
    check_choice(range(10), deflate=deflate)
    opened = as_store(store, storage_options)
    with locating(opened.path):
        root = open_group(opened, path=group or "")
        parts = list(_parts(opened, root, names, sel, isel))
        for part in parts:
            _check(part)
        total = sum(prod(size for _, size in part.shape_of(name)) for part in parts for name in part.arrays)
        with (
            new_file(name, overwrite=overwrite) as unfinished,
            netCDF4.Dataset(unfinished, "w", format="NETCDF4") as file,
            progress_bar(total, "export", enabled=progress, unit="value") as advance,
        ):
            for part in parts:
                below = part.path[len(root.path) :].strip("/")
                _write(part, file.createGroup(below) if below else file, deflate, advance)


def _check(part: _Part) -> None:
    """Check that netCDF has all that there is in a group."""
    check_attributes(f"/{part.path}", part.attributes)
    sizes: dict[str, int] = {}
    for name, array in part.arrays.items():
        for dim, size in zip(array.metadata.dimension_names or (), array.shape, strict=False):
            if dim is not None and sizes.setdefault(dim, size) != size:
                raise EncodingError(
                    f"dimension {dim!r} has another size than in arrays before this one, and one in a netCDF group",
                    key=array.path,
                    expected=sizes[dim],
                    found=size,
                    mend="Export without it, by naming the others in variables=, or resize one of them",
                )
        netcdf_dtype(array.path, array.metadata)
        check_attributes(array.path, attributes_of(array.metadata))
        for used in (name, *(dim for dim, _ in part.shape_of(name))):
            check_name(array.path, used)


def _write(part: _Part, place: Any, deflate: int, advance: Progress | None) -> None:
    """Write a group to one of a file."""
    set_attributes(place, f"/{part.path}", part.attributes)
    for name, array in part.arrays.items():
        dims = part.netcdf_shape_of(name)
        with locating(key=array.path):
            for dim, size in dims:
                if dim not in place.dimensions:
                    place.createDimension(dim, None if dim in part.unlimited_dims else size)
            missing = missing_text(array, part.positions)
            made = create_variable(place, name, array, dims, deflate=deflate, missing=missing)
            copy_values(array, made, part.positions, missing, advance)


def _parts(
    store: Store,
    root: Group,
    variables: list[str] | None,
    sel: Mapping[str, Any] | None,
    isel: Mapping[str, Any] | None,
) -> Iterator[_Part]:
    groups = list(_groups(root))
    wanted = {*(sel or ()), *(isel or ())}
    known = {name for part in groups for array in part.arrays.values() for name in array.dimension_names or ()}
    known |= {name for part in groups for name in part.arrays}
    for name in wanted - known:
        raise SelectionError("no such dimension", key=name, mend=nearest(name, known - {None}))
    every = {name for part in groups for name in part.arrays}
    for name in variables or ():
        if name not in every:
            raise unknown_variable(name, every, store.path)
    for part in groups:
        arrays, attributes = dict(part.arrays), part.attributes
        if variables is not None:
            chosen = {n: a for n, a in arrays.items() if n in variables}
            dims = {dim for array in chosen.values() for dim in array.dimension_names or ()}
            arrays = {n: a for n, a in arrays.items() if n in chosen or n in dims}
            every_one, left = ({n: a.metadata for n, a in some.items()} for some in (part.arrays, arrays))
            attributes = with_coordinates_named(GroupMetadata(attributes), every_one, left).attributes
        here = {dim for array in arrays.values() for dim in array.dimension_names or ()} | arrays.keys()
        positions: Positions = {}
        if wanted & here:
            anything: Any = store  # of whose type xarray's annotations know nothing
            with xr.open_datatree(anything, engine="zarrds") as tree:  # for the coordinates of groups above
                positions = positions_of(
                    tree[f"/{part.path}"].to_dataset(),
                    {name: label for name, label in (sel or {}).items() if name in here},
                    {name: place for name, place in (isel or {}).items() if name in here},
                )
        yield replace(part, attributes=attributes, arrays=arrays, positions=positions)


def _groups(group: Group) -> Iterator[_Part]:
    arrays = dict(group.arrays())
    dims = {dim for array in arrays.values() for dim in array.dimension_names or () if dim is not None}
    unlimited = unlimited_dims(group.metadata, dims)
    yield _Part(group.path, typed_attributes(group.metadata), arrays, {}, unlimited)
    for _, child in group.groups():
        yield from _groups(child)
