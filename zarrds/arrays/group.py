"""Groups of arrays and groups."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy.typing as npt

from zarrds.arrays.array import Array
from zarrds.arrays.attributes import Attributes, Change, plain_attributes
from zarrds.arrays.create import create_array
from zarrds.arrays.new_node import put_new_node
from zarrds.engine.cache import ChunkCache
from zarrds.engine.chunk_io import MissingChunks
from zarrds.errors import InvalidKeyError, MetadataError, ReadOnlyError, locating
from zarrds.metadata.formats import Format, spec_of
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node
from zarrds.metadata.nodes.documents import Nodes, open_nodes
from zarrds.metadata.nodes.locking import locked
from zarrds.metadata.nodes.lookup import get_group, get_node
from zarrds.metadata.nodes.transaction import put_node
from zarrds.storage.protocol import Store, check_key, path_below

__all__ = ["Group", "new_group"]


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
        Threads for one read or write of the group's arrays; unless said as many as cores, or more where the store
        waits.
    missing_chunks : {"error", "fill"}, optional
        What an absent chunk of the group's arrays is; see `Array`.
    cache : ChunkCache, optional
        Where chunks of the group's arrays are kept of which a part was read.

    Examples
    --------
    >>> import zarrds
    >>> g = zarrds.create_group(zarrds.MemoryStore())
    >>> a = g.create_array("winds/u", shape=(3,), dtype="f8")
    >>> list(g), "winds/u" in g, g["winds"]["u"].shape
    (['winds'], True, (3,))
    """

    def __init__(
        self,
        store: Store,
        path: str,
        nodes: Nodes,
        *,
        read_only: bool = True,
        n_workers: int | None = None,
        missing_chunks: MissingChunks = None,
        cache: ChunkCache | None = None,
    ) -> None:
        self._store = store
        self._path = path
        self._nodes = nodes
        self._version: Hashable | None = None  # of the store's root document, when `nodes` were read
        self._read_only = read_only
        self._n_workers = n_workers
        self._missing_chunks: MissingChunks = missing_chunks
        self._cache = cache
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
        with locked(self._store, begins=True):
            # another object may have changed the document, and must not be undone
            nodes = open_nodes(self._store, like=self._metadata, consolidated=False, is_locked=True)
            before = get_group(self._store, nodes, self._path)
            metadata = replace(before, attributes=change(before.attributes))
            put_node(self._store, self._path, metadata)
            self._metadata = metadata

    def _current_nodes(self) -> Nodes:
        if not self._read_only:
            nodes = self._nodes
            version = self._store.identity(spec_of(nodes).root_key(consolidated=nodes.consolidated))
            if version is None or version != self._version:
                self._nodes = open_nodes(self._store, like=nodes)
                self._version = version
        return self._nodes

    def _below(self, name: str) -> str:
        name = check_key(name.strip("/"), self._store.path)
        return path_below(self._path, name)

    def _child(self, path: str, node: Node) -> Array | Group:
        if isinstance(node, ArrayMetadata):
            return Array(
                self._store,
                path,
                node,
                read_only=self._read_only,
                n_workers=self._n_workers,
                missing_chunks=self._missing_chunks,
                cache=self._cache,
            )
        group = Group(
            self._store,
            path,
            self._nodes,
            read_only=self._read_only,
            n_workers=self._n_workers,
            missing_chunks=self._missing_chunks,
            cache=self._cache,
        )
        group._version = self._version
        return group

    def __getitem__(self, name: str) -> Array | Group:
        """The array or group of that name or path. Raises `NodeNotFoundError`, which is also a KeyError."""
        path = self._below(name)
        child = self._child(path, get_node(self._store, self._current_nodes(), path))
        if isinstance(child, Array):
            child.check_codecs()  # refused here, by name, and not when it is read at last
        return child

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
        members = f": {len(self._nodes.names(self._path))} members" if self._nodes.consolidated else ""
        return f"<zarrds.Group {self._path or '/'!r} of {self._store.path!r}{members}>"

    def _repr_html_(self) -> str:
        from zarrds.arrays.pages import group_page  # imported late: reading does not need it
        from zarrds.display.html import html_of

        # what is not in one document would have to be listed
        nodes = self._nodes
        names = nodes.names(self._path) if nodes.consolidated else None
        return html_of(group_page(repr(self)[1:-1], self._path, nodes, names, self._metadata.attributes))

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
        from zarrds.display.text import one_line  # here, since opening does not need it

        names = list(self)
        for i, name in enumerate(names):
            last = i == len(names) - 1
            try:
                child: Array | Group | None = self[name]
            except MetadataError:
                child = None
            yield f"{indent}{'└── ' if last else '├── '}{one_line(f'{name}{_described(child)}', 10_000)}"
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
        self, name: str, *, attributes: Mapping[str, object] | None = None, overwrite: bool = False
    ) -> Group:
        """A new group below this one; the parameters are those of `zarrds.create_group`."""
        self._check_writable()
        return new_group(
            self._store,
            self._below(name),
            attributes,
            spec=spec_of(self._metadata),
            overwrite=overwrite,
            n_workers=self._n_workers,
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
        attributes: Mapping[str, object] | None = None,
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


def new_group(
    store: Store,
    path: str,
    attributes: Mapping[str, object] | None,
    *,
    spec: Format,
    overwrite: bool,
    n_workers: int | None,
) -> Group:
    """What `zarrds.create_group` does, with the store and the path as they are."""
    with locating(store.path, path or "/"):
        metadata = GroupMetadata(plain_attributes(attributes or {}), zarr_format=spec.zarr_format)
    put_new_node(store, path, metadata, overwrite=overwrite)
    nodes = open_nodes(store, like=metadata)
    return Group(store, path, nodes, read_only=False, n_workers=n_workers)
