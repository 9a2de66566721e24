"""Groups, and the functions that open and create groups and arrays."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy.typing as npt

from zarrds.arrays.array import Array
from zarrds.arrays.attributes import Attributes, Change, plain_attributes
from zarrds.arrays.layout import new_array_metadata
from zarrds.arrays.place import place
from zarrds.errors import EncodingError, InvalidKeyError, MetadataError, ReadOnlyError, locating
from zarrds.metadata.documents import Nodes, get_array, get_group, get_node, open_nodes, put_node, root_key
from zarrds.metadata.dtypes import JSON
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node, ZarrFormat
from zarrds.stores.base import Store, check_key, check_prefix
from zarrds.stores.resolve import as_store

__all__ = ["Group", "create_array", "create_group", "open_array", "open_group"]

Mode = Literal["r", "r+"]
StoreLike = str | os.PathLike[str] | Store


class Group:
    """A group of arrays and groups. Made by `zarrds.open_group` and `zarrds.create_group`.

    It reads like a dict whose keys are the names directly below it; ``g["a/b"]`` goes deeper. What a group that is open
    for reading holds is read when it is opened; changes that others make are seen by opening it again. A group that
    is open for writing looks whether the store was changed. Any number of threads may read.

    Parameters
    ----------
    store : Store
    path : str
        Below the store's root; ``""`` is the root.
    nodes : Nodes
        What the store's metadata says.
    read_only : bool
    n_workers : int, optional
        Threads for one read or write of the group's arrays; as many as cores unless said.

    Examples
    --------
    >>> import zarrds
    >>> g = zarrds.create_group(zarrds.MemoryStore())
    >>> a = g.create_array("winds/u", shape=(3,), dtype="f8")
    >>> list(g), "winds/u" in g, g["winds"]["u"].shape
    (['winds'], True, (3,))
    """

    def __init__(
        self, store: Store, path: str, nodes: Nodes, *, read_only: bool = True, n_workers: int | None = None
    ) -> None:
        self._store = store
        self._path = path
        self._nodes = nodes
        self._version: Hashable | None = None  # of the store's root document, when `nodes` were read
        self._read_only = read_only
        self._n_workers = n_workers
        self._metadata = get_group(store, nodes, path)

    @property
    def store(self) -> Store:
        """What holds the group."""
        return self._store

    @property
    def path(self) -> str:
        """Where the group stands below its store's root."""
        return self._path

    @property
    def read_only(self) -> bool:
        """Whether writing is refused."""
        return self._read_only

    @property
    def metadata(self) -> GroupMetadata:
        """What the group's metadata document says."""
        return self._metadata

    @property
    def attrs(self) -> Attributes:
        """The attributes; a change is written at once."""
        return Attributes(lambda: self._metadata.attributes, self._edit_attributes)

    def _edit_attributes(self, change: Change) -> None:
        self._check_writable()
        # another object may have changed the document, and must not be undone
        nodes = open_nodes(self._store, zarr_format=self._metadata.zarr_format, consolidated=False)
        before = get_group(self._store, nodes, self._path)
        metadata = replace(before, attributes=change(before.attributes))
        put_node(self._store, self._path, metadata)
        self._metadata = metadata

    def _current_nodes(self) -> Nodes:
        if not self._read_only:
            nodes = self._nodes
            version = self._store.identity(root_key(nodes.zarr_format, consolidated=nodes.consolidated))
            if version is None or version != self._version:
                self._nodes = open_nodes(self._store, zarr_format=nodes.zarr_format)
                self._version = version
        return self._nodes

    def _below(self, name: str) -> str:
        name = check_key(name.strip("/"), self._store.path)
        return f"{self._path}/{name}" if self._path else name

    def _child(self, path: str, node: Node) -> Array | Group:
        if isinstance(node, ArrayMetadata):
            return Array(self._store, path, node, read_only=self._read_only, n_workers=self._n_workers)
        group = Group(self._store, path, self._nodes, read_only=self._read_only, n_workers=self._n_workers)
        group._version = self._version
        return group

    def __getitem__(self, name: str) -> Array | Group:
        """The array or group of that name or path. Raises `NodeNotFoundError`, which is also a KeyError."""
        path = self._below(name)
        return self._child(path, get_node(self._store, self._current_nodes(), path))

    def __contains__(self, name: object) -> bool:
        try:
            return isinstance(name, str) and self._current_nodes().get(self._below(name)) is not None
        except InvalidKeyError:
            return False
        except MetadataError:
            return True  # if damaged, or beyond what zarrds can read

    def __iter__(self) -> Iterator[str]:
        return iter(self._current_nodes().names(self._path))

    def __len__(self) -> int:
        return len(self._current_nodes().names(self._path))

    def __repr__(self) -> str:
        return f"<zarrds.Group {self._path or '/'!r} of {self._store.path!r}: {len(self)} members>"

    def groups(self) -> Iterator[tuple[str, Group]]:
        """The groups directly below this one, with their names."""
        for name, child in self._children():
            if isinstance(child, Group):
                yield name, child

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """The arrays directly below this group, with their names."""
        for name, child in self._children():
            if isinstance(child, Array):
                yield name, child

    def _children(self) -> Iterator[tuple[str, Array | Group]]:
        for name, node in self._current_nodes().children(self._path).items():
            yield name, self._child(self._below(name), node)

    def tree(self) -> str:
        """All that the group holds, as a drawing of lines.

        Examples
        --------
        >>> import zarrds
        >>> g = zarrds.create_group(zarrds.MemoryStore())
        >>> a = g.create_array("t2m", shape=(3, 4), dtype="f4", dimension_names=("time", "station"))
        >>> print(g.tree())
        /
        └── t2m (time: 3, station: 4) float32
        """
        return "\n".join([f"/{self._path}", *self._branches("")])

    def _branches(self, indent: str) -> Iterator[str]:
        names = list(self)
        for i, name in enumerate(names):
            last = i == len(names) - 1
            try:
                child: Array | Group | None = self[name]
            except MetadataError:
                child = None
            yield f"{indent}{'└── ' if last else '├── '}{name}{_described(child)}"
            if isinstance(child, Group):
                yield from child._branches(indent + ("    " if last else "│   "))

    def _check_writable(self) -> None:
        if self._read_only:
            raise ReadOnlyError(
                "group is open for reading only",
                path=self._store.path,
                key=self._path or "/",
                mend="Open it with mode='r+'",
            )

    def create_group(
        self, name: str, *, attributes: Mapping[str, JSON] | None = None, overwrite: bool = False
    ) -> Group:
        """A new group below this one; the parameters are those of `zarrds.create_group`."""
        self._check_writable()
        return create_group(
            self._store,
            path=self._below(name),
            attributes=attributes,
            zarr_format=self._metadata.zarr_format,
            overwrite=overwrite,
            workers=self._n_workers,
        )

    def create_array(
        self,
        name: str,
        *,
        shape: int | Sequence[int],
        dtype: npt.DTypeLike | str | type,
        chunks: Literal["auto"] | int | Sequence[int] = "auto",
        shards: int | Sequence[int] | None = None,
        codecs: Sequence[Any] | None = None,
        fill_value: Any = None,
        dimension_names: Sequence[str | None] | None = None,
        attributes: Mapping[str, JSON] | None = None,
        overwrite: bool = False,
    ) -> Array:
        """A new array below this group; the parameters are those of `zarrds.create_array`."""
        self._check_writable()
        return create_array(
            self._store,
            shape=shape,
            dtype=dtype,
            chunks=chunks,
            shards=shards,
            codecs=codecs,
            fill_value=fill_value,
            dimension_names=dimension_names,
            attributes=attributes,
            zarr_format=self._metadata.zarr_format,
            path=self._below(name),
            overwrite=overwrite,
            workers=self._n_workers,
        )


def _described(child: Array | Group | None) -> str:
    if child is None:
        return " (cannot be read)"
    if isinstance(child, Group):
        return "/"
    names = child.dimension_names or (None,) * child.ndim
    sizes = ", ".join(f"{n}: {s}" if n is not None else str(s) for n, s in zip(names, child.shape, strict=True))
    return f" ({sizes}) {child.metadata.data_type.name}"


def _is_read_only(mode: Mode) -> bool:
    if mode not in ("r", "r+"):
        raise EncodingError(
            "unknown mode",
            expected="'r' or 'r+'",
            found=repr(mode),
            mend="Use create_group or create_array for new ones",
        )
    return mode == "r"


def open_group(store: StoreLike, mode: Mode = "r", path: str = "", *, workers: int | None = None) -> Group:
    """Open a group that exists.

    Parameters
    ----------
    store : str, os.PathLike or Store
    mode : {"r", "r+"}
        To read, or to read and write.
    path : str
        Of the group, below the store's root.
    workers : int, optional
        Threads for one read or write; as many as cores unless said, 1 for none.

    Returns
    -------
    Group

    Raises
    ------
    StoreNotFoundError
        If there is no Zarr store.
    NodeNotFoundError
        If the store has no group of that path.

    Examples
    --------
    >>> import zarrds
    >>> store = zarrds.MemoryStore()
    >>> _ = zarrds.create_group(store, attributes={"title": "empty"})
    >>> zarrds.open_group(store).attrs["title"]
    'empty'
    """
    opened = as_store(store)
    path = check_prefix(path.strip("/"), opened.path)
    return Group(opened, path, open_nodes(opened), read_only=_is_read_only(mode), n_workers=workers)


def open_array(store: StoreLike, mode: Mode = "r", path: str = "", *, workers: int | None = None) -> Array:
    """Open an array that exists; the parameters and errors are those of `open_group`."""
    opened = as_store(store)
    path = check_prefix(path.strip("/"), opened.path)
    # who is going to write goes by the array's own document, which another library may have changed
    nodes = open_nodes(opened, consolidated=None if _is_read_only(mode) else False)
    metadata = get_array(opened, nodes, path)
    array = Array(opened, path, metadata, read_only=_is_read_only(mode), n_workers=workers)
    array.check_codecs()
    return array


def create_group(
    store: StoreLike,
    *,
    path: str = "",
    attributes: Mapping[str, JSON] | None = None,
    zarr_format: ZarrFormat = 3,
    overwrite: bool = False,
    workers: int | None = None,
) -> Group:
    """Create a group, and the groups above it that are missing.

    Parameters
    ----------
    store : str, os.PathLike or Store
    path : str
        Of the group, below the store's root.
    attributes : mapping, optional
        JSON.
    zarr_format : {3, 2}
    overwrite : bool
        Delete what stands at `path`; else that is an error.
    workers : int, optional
        Threads for one read or write; as many as cores unless said, 1 for none.

    Returns
    -------
    Group
        Open for reading and writing.

    Raises
    ------
    StoreExistsError
        If something stands there already.
    """
    opened = as_store(store)
    path = check_prefix(path.strip("/"), opened.path)
    with locating(opened.path, path or "/"):
        metadata = GroupMetadata(plain_attributes(attributes or {}), zarr_format=zarr_format)
    place(opened, path, metadata, overwrite=overwrite)
    nodes = open_nodes(opened, zarr_format=zarr_format)
    return Group(opened, path, nodes, read_only=False, n_workers=workers)


def create_array(
    store: StoreLike,
    *,
    shape: int | Sequence[int],
    dtype: npt.DTypeLike | str | type,
    chunks: Literal["auto"] | int | Sequence[int] = "auto",
    shards: int | Sequence[int] | None = None,
    codecs: Sequence[Any] | None = None,
    fill_value: Any = None,
    dimension_names: Sequence[str | None] | None = None,
    attributes: Mapping[str, JSON] | None = None,
    zarr_format: ZarrFormat = 3,
    path: str = "",
    overwrite: bool = False,
    workers: int | None = None,
) -> Array:
    """Create an array, and the groups above it that are missing.

    Parameters
    ----------
    store : str, os.PathLike or Store
    shape : int or sequence of int
        In elements.
    dtype : dtype, or "string" or "bytes"
        Anything that NumPy takes for a dtype but object; ``"string"`` (or ``str``) and ``"bytes"`` are of any length.
    chunks : "auto", int or sequence of int
        In elements; -1 is the whole dimension. Automatic chunks have 1 to 2 MiB before compression.
    shards : int or sequence of int, optional
        In elements, multiples of `chunks`; -1 is the whole dimension. Each shard is one value of the store with many
        chunks in it, which are read one by one, but written together.
    codecs : sequence of codecs, optional
        The v3 list of codec objects: array → array, one array → bytes, bytes → bytes. Unless said, Blosc with the
        settings that were measured to serve best, and in v3 a CRC32C checksum.
    fill_value : scalar, optional
        What chunks that were never written hold; zero, the empty string or NaT unless said.
    dimension_names : sequence of str or None, optional
    attributes : mapping, optional
        JSON.
    zarr_format : {3, 2}
    path : str
        Of the array, below the store's root.
    overwrite : bool
        Delete what stands at `path`; else that is an error.
    workers : int, optional
        Threads for one read or write; as many as cores unless said, 1 for none.

    Returns
    -------
    Array
        Open for reading and writing.

    Raises
    ------
    StoreExistsError
        If something stands there already.
    EncodingError, UnsupportedError, MetadataError
        For arguments that do not fit each other, or that Zarr cannot store. Nothing was written then.

    Examples
    --------
    >>> import zarrds
    >>> a = zarrds.create_array(
    ...     zarrds.MemoryStore(), shape=(100, 50), dtype="f4", chunks=(10, 50), dimension_names=("time", "x"),
    ...     codecs=[{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd"}],
    ... )
    >>> a.append([[1.0] * 50])
    (101, 50)
    """
    opened = as_store(store)
    path = check_prefix(path.strip("/"), opened.path)
    with locating(opened.path, path or "/"):
        metadata = new_array_metadata(
            shape=shape,
            dtype=dtype,
            chunks=chunks,
            shards=shards,
            codecs=codecs,
            fill_value=fill_value,
            dimension_names=dimension_names,
            attributes=plain_attributes(attributes or {}),
            zarr_format=zarr_format,
        )
    place(opened, path, metadata, overwrite=overwrite)
    return Array(opened, path, metadata, n_workers=workers)
