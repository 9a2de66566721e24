"""What may be secret in a URL, and is to be shown nowhere."""

from __future__ import annotations

__all__ = ["without_secrets"]


def without_secrets(url: str) -> str:
    """A URL without user, password and query: those may be secrets.

    Examples
    --------
    >>> without_secrets("https://me:word@host/t2m.zarr?sig=abc")
    'https://host/t2m.zarr'
    """
    if "://" not in url or not ({"@", "?"} & set(url)):
        return url
    links = []
    for link in url.split("::"):
        scheme, separator, rest = link.partition("://")
        if separator and scheme.lower() in ("http", "https", "ftp", "sftp", "ssh", "smb", "webdav", "hdfs"):
            host, slash, path = rest.partition("/")
            host = host.partition("?")[0].rpartition("@")[2]
            link = f"{scheme}://{host}{slash}{path.partition('?')[0]}"
        links.append(link)
    return "::".join(links)
