"""From a URL to a store: obstore where it can, fsspec for all else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

from zarrds.errors import EncodingError, UnsupportedError
from zarrds.storage.fsspec.store import RemoteStore
from zarrds.storage.obstore.connections import forked, is_usable
from zarrds.storage.obstore.places import SCHEMES, UntranslatableError, for_fsspec
from zarrds.storage.obstore.store import ObjectStore
from zarrds.storage.protocol import Store
from zarrds.storage.secrets import links_of, without_secrets

__all__ = ["store_of_url"]


def store_of_url(url: str, options: Mapping[str, Any]) -> Store:
    """The store at a URL.

    Parameters
    ----------
    url : str
    options : mapping
        As of `zarrds.save`.

    Raises
    ------
    UnsupportedError
        If what is needed for it is not installed, or an option is one that only a package has that is not.
    EncodingError
        For options that do not fit the URL.
    """
    names: Iterable[object] = options
    if not all(isinstance(name, str) for name in names):
        raise EncodingError(
            "a name of storage_options is no text",
            path=without_secrets(url),
            expected="a dict with text as keys",
        )
    is_known = len(links_of(url)) == 1 and url.partition("://")[0].lower() in SCHEMES
    if not is_known:
        return RemoteStore(url, options)
    if find_spec("obstore") is None:
        return RemoteStore(url, for_fsspec(url, options))
    if not is_usable():
        try:
            return RemoteStore(url, for_fsspec(url, options))
        except UnsupportedError as error:
            raise forked(without_secrets(url), str(error.found or error.problem)) from error
    try:
        return ObjectStore(url, options)
    except UntranslatableError as reason:
        try:
            return RemoteStore(url, for_fsspec(url, options))
        except (UnsupportedError, EncodingError) as error:
            error.found = f"the option {reason.args[0]}, which obstore has nothing like; {error.found}"
            error.located(path=without_secrets(url))
            raise
