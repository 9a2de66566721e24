"""What users hold of other libraries, as stores: fsspec's mappers, UPaths, stores of zarr-python and of obstore.

Nothing of these libraries is imported unless one of their objects is given. What lies on a local path or in an
fsspec file system becomes a store that can be written to, the others can only be read.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping
from importlib import import_module
from typing import Any

from zarrds.errors import EncodingError
from zarrds.storage.local.store import LocalStore
from zarrds.storage.protocol import Store, Traits
from zarrds.storage.read_only import ReadOnlyStore, Source
from zarrds.storage.secrets import scrubbed, secrets_of, spellings
from zarrds.storage.zipfiles.archive import ZipSource

__all__ = ["store_of_object"]

_LAYERS = 4  # of stores that wrap others
_AT_ONCE = 16  # calls
_LOCAL = ("", "file", "local")
# where fsspec has a file system that is a folder of another one
_OF_FOLDER = "fsspec.implementations.dirfs"
# what Icechunk says of keys that no node of a Zarr hierarchy has: there is nothing
_NO_KEY = "invalid zarr key"


def store_of_object(thing: Any, options: Mapping[str, Any] | None) -> Store | None:
    """The store of an object of another library, None for one that is none.

    Parameters
    ----------
    thing : object
    options : mapping, optional
        Added to those that a UPath has.
    """
    modules = {each.__module__.partition(".")[0] for each in type(thing).__mro__}
    if hasattr(thing, "protocol") and hasattr(thing, "storage_options") and hasattr(thing, "path"):
        given = {**thing.storage_options, **(options or {})}
        return _of_fsspec(str(thing.protocol), str(thing.path), str(thing), given)
    if "fsspec" in modules and hasattr(thing, "fs") and hasattr(thing, "root"):
        return _of_file_system(thing.fs, thing.root)
    if "obstore" in modules and hasattr(thing, "list_with_delimiter"):
        prefix = getattr(thing, "prefix", None) if type(thing).__name__ == "LocalStore" else None
        if prefix is not None:
            return LocalStore(os.fspath(prefix))
        from zarrds.storage.obstore.store import ObjectStore  # as obstore itself is imported

        return ObjectStore.of(thing)
    if "zarr" in modules and type(thing).__name__ == "StorePath":
        if not thing.path:
            return _of_zarr(thing.store)
        raise EncodingError(  # metadata is consolidated at the root, and changes with what lies below
            "a StorePath below the root of its store is no store",
            expected="a store of zarr-python, or a StorePath of its root",
            found=f"a StorePath of {thing.path!r}",
            mend=f"Pass its .store, and the path of the group: group={thing.path!r}",
        )
    if any(f"{each.__module__}.{each.__name__}" == "zarr.abc.store.Store" for each in type(thing).__mro__):
        return _of_zarr(thing)
    return None


def _of_fsspec(protocol: str, path: str, url: str, options: Mapping[str, Any]) -> Store:
    from zarrds.storage.fsspec.store import RemoteStore

    return LocalStore(path) if protocol in _LOCAL else RemoteStore(url, options)


def _of_file_system(system: Any, root: str) -> Store:
    system = getattr(system, "sync_fs", system)  # zarr-python wraps file systems that are not asynchronous
    while type(system).__module__ == _OF_FOLDER:  # which is made of an object, that no URL and no option names
        root = system.sep.join(filter(None, (system.path, root)))
        system = getattr(system.fs, "sync_fs", system.fs)
    options = {k: v for k, v in system.storage_options.items() if k not in ("asynchronous", "loop")}
    protocols = (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)
    return _of_fsspec(protocols[0], root, system.unstrip_protocol(root), options)


def _of_zarr(thing: Any) -> Store:
    name, module = type(thing).__name__, type(thing).__module__
    if module.startswith("zarr.storage") and not getattr(thing, "read_only", False):
        if name == "LocalStore":
            return LocalStore(os.fspath(thing.root))
        if name == "FsspecStore":
            return _of_file_system(thing.fs, thing.path)
    if module.startswith("zarr.storage") and name == "ZipStore" and not getattr(thing, "_is_open", False):
        return ReadOnlyStore(ZipSource(os.fspath(thing.path)))
    return ReadOnlyStore(_ZarrStore(thing))


def _secrets_in(thing: Any) -> set[str]:
    """What is secret in a store of zarr-python, and in what it was made of: other stores, obstore's, file systems."""
    found: set[str] = set()
    for _ in range(_LAYERS):
        options = {name: getattr(thing, name, None) for name in ("config", "client_options", "url", "storage_options")}
        query = str(options["url"] or "").partition("?")[2]
        found |= secrets_of({**options, "secret": query})
        thing = next(
            (each for name in ("store", "fs", "_store") if (each := getattr(thing, name, None)) is not None), None
        )
    return found


class _ZarrStore(Source):
    """A store of zarr-python, or of Icechunk, whose functions are asynchronous: zarr-python's own loop runs them."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.secrets = spellings(_secrets_in(store))
        self.path = scrubbed(str(store), self.secrets)
        in_memory = type(store).__name__ in ("MemoryStore", "GpuMemoryStore", "ManagedMemoryStore")
        self.traits = Traits(in_memory=True) if in_memory else Traits(is_remote=True, concurrency=_AT_ONCE)
        self.tells_changes = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ZarrStore) and bool(self.store == other.store)

    def __hash__(self) -> int:
        return hash(self.path)

    def read(self, key: str, start: int | None, length: int | None) -> bytes | None:
        requests = import_module("zarr.abc.store")
        wanted = None
        if start is not None and length is not None:
            if length == 0:
                return None if self.identity(key) is None else b""
            suffix = start < 0
            wanted = requests.SuffixByteRequest(-start) if suffix else requests.RangeByteRequest(start, start + length)
        prototype = import_module("zarr.core.buffer").default_buffer_prototype()
        value = self._run(self.store.get(key, prototype, wanted))
        return None if value is None else bytes(value.to_bytes())

    def names(self, prefix: str) -> Iterable[str]:
        return self._collected(self.store.list_prefix, prefix)

    def children(self, prefix: str) -> Iterable[str]:
        found = {name.rstrip("/") for name in self._collected(self.store.list_dir, prefix.rstrip("/"))}
        return {name for name in found if not self._run(self.store.exists(prefix + name))}

    def identity(self, key: str) -> Hashable | None:
        return ("zarr", key) if self._run(self.store.exists(key)) else None

    def _run(self, coroutine: Any) -> Any:
        try:
            return import_module("zarr.core.sync").sync(coroutine)
        except Exception as error:
            if _NO_KEY in str(error):
                return None
            raise

    def _collected(self, function: Any, prefix: str) -> list[str]:
        async def collect() -> list[str]:
            return [name async for name in function(prefix)]

        found: list[str] = self._run(collect())
        return found
