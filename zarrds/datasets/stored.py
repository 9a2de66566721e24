"""A group that is there already: what a save compares with, and writes into."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass

import xarray as xr

from zarrds.datasets.lazy import LazyArrays
from zarrds.datasets.xarray_internals import NONE_VAR_NAME, decode_cf_variables
from zarrds.errors import LabelError
from zarrds.metadata.documents import Nodes, document_key, own_node
from zarrds.metadata.model import ArrayMetadata, GroupMetadata
from zarrds.stores.base import Store

__all__ = ["StoredGroup", "read_group"]


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """One group, by the documents of its own arrays.

    Attributes
    ----------
    metadata : GroupMetadata
    arrays : mapping of str to ArrayMetadata
        By name.
    variables : mapping of str to Variable
        The same, lazy and decoded, with the encoding of the store.
    versions : mapping of str to hashable
        The identities of the arrays' documents, by key, taken before they were read.
    coordinate_names : frozenset of str
        Those that are coordinates, not data.
    """

    metadata: GroupMetadata
    arrays: Mapping[str, ArrayMetadata]
    variables: Mapping[str, xr.Variable]
    versions: Mapping[str, Hashable]
    coordinate_names: frozenset[str]

    @property
    def sizes(self) -> dict[str, int]:
        """Elements along each dimension.

        Raises
        ------
        LabelError
            If two arrays disagree: nothing can safely be added then.
        """
        sizes: dict[str, tuple[int, str]] = {}
        for name, variable in self.variables.items():
            for dim, size in variable.sizes.items():
                known, first = sizes.setdefault(str(dim), (size, name))
                if known != size:
                    raise LabelError(
                        f"the store's own arrays disagree about the size of dimension {dim!r}",
                        key=name,
                        expected=f"{known}, as in {first!r}",
                        found=size,
                        mend="See what zarrds.verify says of the store, and resize or remove one of them",
                    )
        return {dim: size for dim, (size, _) in sizes.items()}


def read_group(
    store: Store, stored: Nodes, path: str, labels: Collection[Hashable], workers: int | None
) -> StoredGroup | None:
    """The group at `path`, or None if there is nothing.

    Parameters
    ----------
    store : Store
    stored : Nodes
        Read without consolidated metadata: another library may have left that stale.
    path : str
    labels : collection of hashable
        Dimensions whose labels are going to be compared: they are read now.
    workers : int, optional
        Threads for reading them.

    Raises
    ------
    LabelError
        If an array stands at `path`.
    """
    node = stored.get(path)
    if node is None:
        return None
    if isinstance(node, ArrayMetadata):
        raise LabelError("an array stands where a group is to be", path=store.path, key=path or "/")
    base = f"{path}/" if path else ""
    versions: dict[str, Hashable] = {}
    arrays: dict[str, ArrayMetadata] = {}
    for name in store.list_children(path):
        key = document_key(base + name, stored.zarr_format)
        version = store.identity(key)
        child = None if version is None else own_node(store, base + name, stored.zarr_format)
        if isinstance(child, ArrayMetadata):
            arrays[name], versions[key] = child, version
    lazy_arrays = LazyArrays.of(store, stored, n_workers=workers)
    lazy = {name: lazy_arrays.array(base + name, metadata) for name, metadata in arrays.items()}
    raw = {None if name == NONE_VAR_NAME else name: lazy_arrays.variable(array) for name, array in lazy.items()}
    for dim in labels:
        # in memory before they are decoded: the decoders look at the first and the last of them
        if dim in raw and raw[dim].dims == (dim,) and raw[dim].dtype.kind != "O":
            raw[dim].load()
    decoded, _, coordinate_names = decode_cf_variables(raw, dict(node.attributes))
    for array in lazy.values():
        array.is_being_decoded = False
    variables = {NONE_VAR_NAME if name is None else str(name): variable for name, variable in decoded.items()}
    coordinates = {name for name, v in variables.items() if name in coordinate_names or v.dims == (name,)}
    return StoredGroup(node, arrays, variables, versions, frozenset(coordinates))
