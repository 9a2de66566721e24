"""From what a user names to a store."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from zarrds.errors import EncodingError, UnsupportedError
from zarrds.storage.local.store import LocalStore
from zarrds.storage.protocol import Store
from zarrds.storage.traits import Cacheable, has_trait

__all__ = ["CACHE_SIZE", "as_cached_store", "as_store"]

CACHE_SIZE = 10 * 10**9  # bytes of a local cache, unless said

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.:-]*)://(.*)\Z", re.DOTALL)


def as_store(
    store: object,
    storage_options: Mapping[str, Any] | None = None,
) -> Store:
    """Return the store that `store` names.

    Parameters
    ----------
    store : str, os.PathLike or Store
        A path (a leading ``~`` is the home folder; a file whose name ends in ``.zip`` is read, and written as a whole),
        a ``file://`` URL, any other URL that fsspec knows (``s3://``, ``gs://``, ``https://``, ``memory://``,
        ``reference://``, ``zip://`` chains, …), or a store object, which is returned as it is. Also what other
        libraries have: a UPath, an fsspec mapper, a store of zarr-python (of an Icechunk session, too) or of obstore.
    storage_options : mapping, optional
        For fsspec: credentials, endpoints and so on. Paths and ``file://`` URLs do not need them: there they are
        ignored.

    Raises
    ------
    UnsupportedError
        For a kind of URL that fsspec does not know, or if fsspec or the package behind the URL is not installed.
    EncodingError
        For `storage_options` with a store object, options that do not fit the URL, and any other object.

    Examples
    --------
    >>> as_store("file:///data/t2m%202019.zarr")
    LocalStore('/data/t2m 2019.zarr')
    >>> as_store("memory://docs/t2m.zarr")
    RemoteStore('memory://docs/t2m.zarr')
    """
    if storage_options is not None and not isinstance(storage_options, Mapping):
        raise EncodingError(
            "storage_options are a mapping of names to values", expected="a dict", found=type(storage_options).__name__
        )
    if isinstance(store, str):
        url = _URL.match(store)
        if url is None:
            return _local(store)
        scheme, rest = url.groups()
        if scheme.lower() in ("file", "local"):
            return _local(_file_of(store, scheme, rest))
        from zarrds.storage.urls import store_of_url  # imported late: paths do not need it

        return store_of_url(store, storage_options or {})
    if isinstance(store, os.PathLike) and not hasattr(store, "storage_options"):
        return _local(os.fspath(store))
    if isinstance(store, Store):
        if storage_options is not None:
            raise EncodingError(
                "a store object takes no storage_options",
                path=store.path,
                expected="storage_options together with a URL",
                found=f"storage_options together with a {type(store).__name__}",
                mend="Make the store object with the options, or pass the URL",
            )
        return store
    from zarrds.storage.objects import store_of_object  # which few have

    found = store_of_object(store, storage_options)
    if found is not None:
        return found
    raise EncodingError(
        "a store is a path, a URL or a store object",
        expected="one of these",
        found=f"{type(store)}",
        mend="A store in memory is zarrds.MemoryStore()" if isinstance(store, Mapping) else None,
    )


def as_cached_store(
    store: object,
    storage_options: Mapping[str, Any] | None,
    local_cache: str | os.PathLike[str] | None,
    cache_size: int,
) -> Store:
    """As `as_store`, with a folder that keeps what is fetched from a store by URL; local stores need none.

    Raises
    ------
    EncodingError
        If `local_cache` is no path, or `cache_size` no number of bytes.
    UnsupportedError
        For a store that does not tell whether a value is still the same.
    """
    found = as_store(store, storage_options)
    if local_cache is None:
        return found
    folder: object = os.fspath(local_cache) if isinstance(local_cache, os.PathLike) else local_cache
    if not isinstance(folder, str) or not folder or _URL.match(folder):
        from zarrds.storage.secrets import without_secrets  # as above

        raise EncodingError(
            "local_cache is the path of a folder",
            path=found.path,
            expected="a path on this machine",
            found=repr(without_secrets(folder)) if isinstance(folder, str) else type(folder).__name__,
        )
    from zarrds.storage.byte_cache import ByteCache  # as above

    cache = ByteCache(folder, cache_size)
    if not found.traits.is_remote:
        return found
    if has_trait(found, Cacheable):
        return found.cached_in(cache)
    raise UnsupportedError(
        "this store cannot be cached: nothing tells whether a value is still the same",
        path=found.path,
        expected="a URL that obstore serves (s3://, gs://, az://, https://), or a store of obstore",
        found=type(found).__name__,
        mend="Leave local_cache out",
    )


def _local(path: str) -> Store:
    path = os.path.expanduser(path)
    if path.lower().endswith(".zip") and not os.path.isdir(path):
        from zarrds.storage.zipfiles.zipped import ZipStore  # as above

        return ZipStore(path)
    return LocalStore(path)


def _file_of(url: str, scheme: str, rest: str) -> str:
    host, slash, path = rest.partition("/")
    if host.lower() not in ("", "localhost") or not slash:
        raise UnsupportedError(
            "a file:// URL names no file of this machine",
            path=url,
            expected="a path, or 'file:///an/absolute/path'",
            found=f"{scheme}://{host}",
            mend="Copy or mount the data locally and give its path",
        )
    return unquote(f"/{path}")
