"""What fsspec is told unless the user tells it: without, it reads some things wrongly, and says nothing.

Its client of web servers takes whatever part of a file a server sends for the one that was asked for, and references
that are to be made (kerchunk's ``gen``) it leaves out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from zarrds.errors import StoreIOError, UnsupportedError

__all__ = ["links_of", "watch_references", "with_defaults"]

_CLIENT = "fsspec.implementations.http"
_ASKED = re.compile(r"bytes=(\d*)-(\d*)\Z")
_SENT = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)\Z")


def links_of(url: str) -> list[str]:
    """The protocols of a URL and of those that it is chained with; the last may be a path."""
    return [link.partition("://")[0] for link in url.split("::")]


def with_defaults(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options for all links of a URL.

    Raises
    ------
    UnsupportedError
        If there are references that are to be made, and nothing that makes them.
    """
    from fsspec.registry import get_filesystem_class

    links = links_of(url)
    more: dict[str, dict[str, Any]] = {}
    for link in {"http", "https"} & {*links}:
        if get_filesystem_class(link).__module__ == _CLIENT:
            more[link] = {"get_client": watched_client}
    if "reference" in links:
        given = options if links[0] == "reference" else options.get("reference", {})
        if "simple_templates" in given:
            pass
        elif find_spec("jinja2") is not None:
            more["reference"] = {"simple_templates": False}
        elif _are_to_be_made(given):
            raise UnsupportedError(
                "references that are to be made (kerchunk's gen) need the package jinja2",
                mend="Install it: python -m pip install jinja2",
            )
    return {**options, **{link: {**said, **options.get(link, {})} for link, said in more.items()}}


def _are_to_be_made(options: Mapping[str, Any]) -> bool:
    """Whether a set of references has some that are to be made; what cannot be read fails when fsspec reads it."""
    import fsspec

    found = options.get("fo")
    with suppress(Exception):
        if isinstance(found, str):
            how = {**(options.get("target_options") or {}), "protocol": options.get("target_protocol")}
            with fsspec.open(found, "rb", **how) as file:
                found = json.load(file)
    return isinstance(found, dict) and bool(found.get("gen"))


def watch_references(system: Any) -> None:
    """See to it that parts of files on web servers, to which references lead, are the right ones."""
    files = getattr(system, "fss", {})
    for link, each in files.items():
        if type(each).__module__ == _CLIENT and each.get_client.__module__ == _CLIENT:
            files[link] = type(each)(*each.storage_args, **{**each.storage_options, "get_client": watched_client})


async def watched_client(**options: Any) -> Any:
    """fsspec's client of web servers, which looks at what part of a file it is sent."""
    from aiohttp import TraceConfig
    from fsspec.implementations.http import get_client

    watch = TraceConfig()
    watch.on_request_end.append(_check_part)
    return await get_client(**{**options, "trace_configs": [*(options.get("trace_configs") or ()), watch]})


async def _check_part(session: object, context: object, request: Any) -> None:
    answer, asked = request.response, request.headers.get("Range")
    sent = answer.headers.get("Content-Range")
    is_several = answer.content_type.startswith("multipart/")
    if answer.status == 206 and asked and (is_several or not _is_part(asked, sent)):
        answer.close()
        raise StoreIOError(
            "cannot read: the web server sent another part than it was asked for",
            expected=asked,
            found=answer.content_type if is_several else sent,
            mend="Download what is read in parts, or put simplecache:: before the server's URL",
        )


def _is_part(asked: str, sent: str | None) -> bool:
    """Whether it is the part that was asked for, as far as that is told."""
    span, told = _ASKED.match(asked), _SENT.match(sent or "")
    if span is None or sent is None:
        return True
    if told is None:
        return False
    start, stop = int(told[1]), int(told[2]) + 1
    size = None if told[3] == "*" else int(told[3])
    if not span[1]:  # from the end
        return size is None or (start, stop) == (max(size - int(span[2]), 0), size)
    wanted = int(span[2]) + 1 if span[2] else size
    if size is None or wanted is None:
        return start == int(span[1]) and (wanted is None or stop <= wanted)
    return (start, stop) == (int(span[1]), min(wanted, size))
