"""File systems of fsspec: how a URL becomes one, and what is said of it when they fail."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from zarrds.errors import EncodingError, StoreIOError, StoreNotFoundError, UnsupportedError, ZarrdsError
from zarrds.storage.fsspec.caches import CACHES
from zarrds.storage.fsspec.defaults import links_of, watch_references, with_defaults
from zarrds.storage.fsspec.turns import asked_again
from zarrds.storage.secrets import scrubbed, secrets_of, spellings, without_secrets

__all__ = ["ARCHIVES", "WEB", "connected", "failure", "protocols_of", "showable", "status_of"]

ARCHIVES = frozenset({"libarchive", "tar", "zip"})
WEB = frozenset({"http", "https", "sync-http", "sync-https"})
_WEB_CLIENTS = ("aiohttp", "requests")
_UNKNOWN_OPTION = re.compile(r"unexpected keyword argument '(\w+)'")


def connected(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """The file system of a URL, and the path in it. Raises errors of zarrds alone."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as exc:
        raise UnsupportedError(
            "stores at URLs need the package fsspec",
            path=without_secrets(url),
            mend="Install it (python -m pip install 'zarrds[remote]'), or copy the data and give a local path",
        ) from exc
    _check_protocols(url)
    connect = partial(_connected, url_to_fs, url, options)
    return asked_again(connect) if WEB & set(links_of(url)) else connect()


def _connected(url_to_fs: Callable[..., tuple[Any, str]], url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    try:
        # what others write must be seen at once, so no listing is kept
        system, root = url_to_fs(url, **{**with_defaults(url, options), "use_listings_cache": False})
    except ZarrdsError as exc:
        raise exc.located(path=without_secrets(url)) from None
    except Exception as exc:  # every package behind fsspec has errors of its own
        secrets = spellings(secrets_of([url, options]))
        raise _unconnected(exc, url, secrets).located(path=without_secrets(url)) from showable(exc, secrets)
    behind = system
    while behind is not None:
        watch_references(behind)
        behind = behind.fs if protocols_of(behind) & CACHES else None
    return system, root


def _unconnected(exc: Exception, url: str, secrets: Iterable[str]) -> ZarrdsError:
    found, links = scrubbed(str(exc), secrets), set(links_of(url))
    if isinstance(exc, FileNotFoundError):
        reason = exc.__cause__
        if links & WEB and isinstance(reason, Exception) and status_of(reason) not in (404, 410):
            return failure(reason, "open", secrets)  # of whatever failed so says the client
        return StoreNotFoundError("nothing here", found=found, mend="Check the URL")
    failed = failure(exc, "open", secrets)
    if links & WEB and links & ARCHIVES and getattr(failed, "errno", None) not in (errno.EACCES, errno.EAGAIN):
        return StoreIOError(
            "cannot open: the archive cannot be read where it is",
            found=f"{type(exc).__name__}: {found}",
            mend="If the web server knows no ranges, or tells no length, put simplecache:: before its URL "
            "(zip://t2m.zarr::simplecache::https://host/t2m.zip); else see whether it is an archive",
        )
    if isinstance(exc, TypeError | ValueError | AttributeError):
        return EncodingError(
            "the URL, or its storage_options, cannot be used",
            found=f"{type(exc).__name__}: {found}",
            mend="The documentation of the package behind this kind of URL lists the options that it takes",
        )
    return failed


def _check_protocols(url: str) -> None:
    from fsspec.registry import get_filesystem_class

    links = url.split("::")
    for protocol in links_of(url)[: None if "://" in links[-1] else -1]:
        try:
            get_filesystem_class(protocol)
        except ImportError as exc:
            raise UnsupportedError(
                f"the package behind {protocol}:// is not installed",
                path=without_secrets(url),
                found=str(exc.__cause__ or exc),
                mend=f"{exc}; or copy the data and give a local path",
            ) from exc
        except ValueError as exc:
            raise UnsupportedError(
                f"unknown kind of URL: {protocol}://",
                path=without_secrets(url),
                expected="a path, a file:// URL, a URL that fsspec knows (s3://, gs://, https://, …) or a store object",
                mend="Check the spelling, or copy the data and give a local path",
            ) from exc


def protocols_of(system: Any) -> set[str]:
    """The names that its kind of URL may have."""
    return {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)


def _of_the_client(exc: BaseException) -> BaseException:
    """The error of a client of web servers that stands behind another, as where references cannot be followed."""
    behind: BaseException | None = exc
    while behind is not None and type(behind).__module__.partition(".")[0] not in _WEB_CLIENTS:
        behind = behind.__cause__
    return behind or exc


def status_of(exc: BaseException) -> object:
    """What a server has answered, or None."""
    response = getattr(exc, "response", exc)  # of requests; aiohttp tells it in the error itself
    return getattr(response, "status_code", getattr(response, "status", None))


def showable(exc: BaseException, secrets: Iterable[str]) -> BaseException | None:
    """An error that may be shown, with all that stands behind it; None for one with secrets."""
    behind, seen = [exc], set[int]()  # which may lead back
    while behind:
        each = behind.pop()
        if scrubbed(repr(each), secrets) != repr(each):
            return None
        seen.add(id(each))
        behind += [other for other in (each.__cause__, each.__context__) if other is not None and id(other) not in seen]
    return exc


def failure(exc: Exception, doing: str, secrets: Iterable[str]) -> ZarrdsError:
    """The error of who is to be told that something failed, without what is secret."""
    unknown = _UNKNOWN_OPTION.search(str(exc)) if isinstance(exc, TypeError) else None
    if unknown is not None:  # some packages look at their options when they connect
        return EncodingError(
            "the file system does not take one of the storage_options",
            found=unknown[1],
            mend="The documentation of the package behind this kind of URL lists the options that it takes",
        )
    reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    status = status_of(asked := _of_the_client(exc))
    denied = isinstance(exc, PermissionError) or status in (401, 403)
    error = StoreIOError(
        f"cannot {doing}: {'permission denied' if denied else 'the file system refuses'}",
        found=f"{type(exc).__name__}: {scrubbed(reason, secrets)}",
        mend="Check the credentials in storage_options, and what they allow"
        if denied
        else "Check the connection, the URL and the storage_options, and try again",
    )
    if isinstance(exc, OSError):
        error.errno, error.strerror = exc.errno, exc.strerror and scrubbed(str(exc.strerror), secrets)
        error.filename = without_secrets(exc.filename) if isinstance(exc.filename, str) else exc.filename
    if denied:
        error.errno = errno.EACCES
    elif isinstance(status, int) and (status in (408, 429) or (status >= 500 and status != 501)):
        error.errno = errno.EAGAIN
    elif status is None and type(asked).__module__.partition(".")[0] in _WEB_CLIENTS:
        error.errno = errno.EAGAIN  # there was no answer, or it broke off
    return error
