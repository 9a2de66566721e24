"""From what a user names to a store."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from zarrds.errors import UnsupportedError
from zarrds.stores.base import Store
from zarrds.stores.local import LocalStore

__all__ = ["as_store"]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.:-]*)://(.*)\Z", re.DOTALL)


def as_store(store: str | os.PathLike[str] | Store) -> Store:
    """Return the store that `store` names.

    Parameters
    ----------
    store : str, os.PathLike or Store
        A path (a leading ``~`` is the home folder), a ``file://`` URL, or a store object, which is returned
        as it is.

    Raises
    ------
    UnsupportedError
        For URLs of any other kind.
    TypeError
        For any other object.

    Examples
    --------
    >>> as_store("file:///data/t2m%202019.zarr")
    LocalStore('/data/t2m 2019.zarr')
    """
    if isinstance(store, str):
        url = _URL.match(store)
        if url is not None:
            return LocalStore(_file_of(store, *url.groups()))
        return LocalStore(os.path.expanduser(store))
    if isinstance(store, os.PathLike):
        return LocalStore(os.path.expanduser(os.fspath(store)))
    if isinstance(store, Store):
        return store
    raise TypeError(f"a store is a path, a file:// URL or a store object: expected one of these, found {type(store)}")


def _file_of(url: str, scheme: str, rest: str) -> str:
    host, slash, path = rest.partition("/")
    if scheme.lower() != "file" or host.lower() not in ("", "localhost") or not slash:
        raise UnsupportedError(
            "only paths, file:// URLs and store objects are supported",
            path=url,
            expected="a path, 'file:///an/absolute/path' or a store object",
            found=f"{scheme}://{host}",
            mend="Copy or mount the data locally and give its path",
        )
    return unquote(f"/{path}")
