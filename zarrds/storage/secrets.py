"""What may be secret in URLs, options and errors, and must not be shown."""

from __future__ import annotations

import html
import re
import urllib.parse
from collections.abc import Iterable, Mapping

__all__ = ["links_of", "scrubbed", "secrets_of", "spellings", "without_secrets"]

_WEB = frozenset({"http", "https", "ftp", "sftp", "ssh", "smb", "webdav", "hdfs"})
_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl"})
_ACCOUNTS = frozenset({"az", "abfs", "abfss", "adl"})  # container@account is no user
_CHAIN = re.compile(r"::(?![0-9A-Fa-f:.]*\])")  # not that of an address in brackets
_QUERY = re.compile(r"\?[^/?=]*=.*", re.DOTALL)

# names of options whose values are nobody's business; of those below `_ALL`, all values
_NAME = re.compile(r"key|secret|token|passw|username|sas|sig|auth|cookie|credential|connection", re.IGNORECASE)
_ALL = re.compile(r"headers\Z", re.IGNORECASE)
_PUBLIC = re.compile(r"(file|path|ur[il]|application_credentials|profile)\Z", re.IGNORECASE)  # they lead to secrets
_LEAST = 6  # characters: what is shorter stands in any text, and guards nothing
_USERS = (re.compile(r"//([^\s\"'/@]*)@"), re.compile(r"//([^\s\"']*)@"))  # also of passwords with a slash


def without_secrets(url: str) -> str:
    """A URL without user, password and query: those may be secrets.

    Examples
    --------
    >>> without_secrets("https://me:word@host/t2m.zarr?sig=abc")
    'https://host/t2m.zarr'
    >>> without_secrets("s3://AKIA:word@bucket/t2m.zarr"), without_secrets("abfs://container@account/what?.zarr")
    ('s3://bucket/t2m.zarr', 'abfs://container@account/what?.zarr')
    """
    if "://" not in url or not ({"@", "?"} & set(url)):
        return url
    return "::".join(map(_link_without_secrets, links_of(url)))


def links_of(url: str) -> list[str]:
    """The parts of a chained URL; of any other, all of it.

    Examples
    --------
    >>> links_of("zip://a::https://[::1]:80/b.zip")
    ['zip://a', 'https://[::1]:80/b.zip']
    """
    return _CHAIN.split(url)


def _link_without_secrets(link: str) -> str:
    scheme, separator, rest = link.partition("://")
    kind = scheme.lower()
    if not separator or kind not in _WEB | _BUCKETS:
        return link
    rest = rest.partition("?")[0] if kind in _WEB else _QUERY.sub("", rest)
    host, slash, path = rest.partition("/")
    user, at, place = host.rpartition("@")
    if at and (kind not in _ACCOUNTS or ":" in user):
        host = place
    elif "@" in path and re.search(r":(?!\d*\Z)", host) and not host.startswith("arn:"):
        host, slash, path = rest.rpartition("@")[2].partition("/")  # a slash in the password
    return f"{scheme}://{host}{slash}{path}"


def secrets_of(options: object, *, is_secret: bool = False) -> set[str]:
    """All values in options, however deep, that are not to be shown, and passwords in URLs among them.

    Examples
    --------
    >>> sorted(secrets_of({"key": "AKIA42", "headers": {"x": "value1"}, "anon": True, "endpoint_url": "http://h"}))
    ['AKIA42', 'value1']
    """
    found: set[str] = set()
    if isinstance(options, Mapping):
        for name, value in options.items():
            found |= secrets_of(value, is_secret=is_secret or _is_secret(str(name)))
    elif isinstance(options, list | tuple | set | frozenset):
        for value in options:
            found |= secrets_of(value, is_secret=is_secret)
    elif isinstance(options, bytes):
        found |= secrets_of(options.decode(errors="replace"), is_secret=is_secret)
    elif isinstance(options, str):
        users = [user for each in _USERS for user in each.findall(options)] if "@" in options else []
        found |= {part for user in users for part in (*user.split(":", 1), urllib.parse.unquote(user)) if part}
        if is_secret and (users or not options.startswith(("http://", "https://"))):
            found.add(options)
            found |= {part for pair in re.split(r"[;&\s]+", options) for part in pair.split("=", 1)[1:] if part}
            found.add(options.rpartition(" ")[2])  # behind "Bearer"
    return found


def _is_secret(name: str) -> bool:
    return bool(_ALL.search(name) or (_NAME.search(name) and not _PUBLIC.search(name)))


def spellings(secrets: Iterable[str]) -> tuple[str, ...]:
    """Secrets as a URL, a page or a document may spell them, the longest first; without those that are too short."""
    plain = {text for each in secrets for text in (each, urllib.parse.unquote(each)) if len(text) >= _LEAST}
    ways = {text for each in plain for text in (each, html.escape(each), repr(each)[1:-1])}
    ways |= {urllib.parse.quote(each, safe=safe) for each in plain for safe in ("", "/")}
    return tuple(sorted(ways, key=lambda text: (-len(text), text)))


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """A text without secrets, of which `spellings` gives all, and without users and queries of URLs.

    Examples
    --------
    >>> scrubbed("GET http://me:word@host/a?sig=abc 403 verysecret", spellings({"verysecret"}))
    'GET http://host/a 403 …'
    """
    for secret in secrets:
        text = text.replace(secret, "…")
    text = re.sub(r"//[^/\s\"'@]*@", "//", text)
    return re.sub(r"(https?://[^\s?\"')]*)\?[^\s\"')]*", r"\1", text)
