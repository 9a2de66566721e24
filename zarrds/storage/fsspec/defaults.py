"""What fsspec is told unless the user tells it: without, it reads some things wrongly, and says nothing.

Its client of web servers takes whatever part of a file a server sends for the one that was asked for, and references
that are to be made (kerchunk's ``gen``) it leaves out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from zarrds.errors import StoreIOError, UnsupportedError
from zarrds.storage.traits import MAX_DOCUMENT

__all__ = ["links_of", "watch_references", "with_defaults"]

_SANDBOX = (2026, 6)  # from this release on, what references say is rendered without what they must not do
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
        If there are references that are to be made, and nothing that makes them, or that keeps them from running code.
    """
    from fsspec.registry import get_filesystem_class

    links = links_of(url)
    more: dict[str, dict[str, Any]] = {}
    for link in {"http", "https"} & {*links}:
        if get_filesystem_class(link).__module__ == _CLIENT:
            more[link] = {"get_client": watched_client}
    if "reference" in links:
        given = options if links[0] == "reference" else options.get("reference", {})
        more["reference"] = _templates(url, given)
    return {**options, **{link: {**said, **options.get(link, {})} for link, said in more.items()}}


def _templates(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """How references are made of templates, which may come from anybody."""
    has_jinja = find_spec("jinja2") is not None
    if has_jinja and _has_sandbox():
        return {"simple_templates": False}
    if not has_jinja and "simple_templates" in options:
        return {}
    references = _references(url, options)
    made, templates = references.get("gen"), references.get("templates")
    if not made and not (has_jinja and isinstance(templates, dict) and any("{{" in str(t) for t in templates.values())):
        return {}
    if has_jinja:
        raise UnsupportedError(
            "references with templates (kerchunk's gen) could run code, which this release of fsspec does not prevent",
            expected="fsspec {}.{} or later".format(*_SANDBOX),
            found=f"fsspec {version('fsspec')}",
            mend="Update it: python -m pip install --upgrade fsspec",
        )
    raise UnsupportedError(
        "references that are to be made (kerchunk's gen) need the package jinja2",
        mend="Install it: python -m pip install jinja2",
    )


def _has_sandbox() -> bool:
    return tuple(map(int, re.findall(r"\d+", version("fsspec"))[:2])) >= _SANDBOX


def _references(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """A set of references, as fsspec reads it; empty for a folder of Parquet, which has no templates."""
    import fsspec

    found = options.get("fo") or "::".join(url.split("::")[links_of(url).index("reference") + 1 :])
    if isinstance(found, str):
        more = options.get("ref_storage_args") or options.get("target_options") or {}
        how = {**more, "protocol": options.get("target_protocol")}
        system, path = fsspec.core.url_to_fs(found, **how)
        if ".json" not in path and (found.endswith(("parq", "parquet", "/")) or system.isdir(path)):
            return {}
        with fsspec.open(found, "rb", **how) as file:
            found = json.load(file)
    return found if isinstance(found, dict) else {}


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
    traces = [*(options.get("trace_configs") or ()), watch]
    return await get_client(**{"response_class": _cut_answers(), **options, "trace_configs": traces})


@cache
def _cut_answers() -> type[Any]:
    """Answers of which no more is read than the part that was asked for, or a page may have, however much is sent."""
    from aiohttp import ClientResponse

    class CutAnswer(ClientResponse):
        async def read(self) -> bytes:
            asked = _ASKED.match(self.request_info.headers.get("Range", ""))
            if asked is None or not (asked[2] and (asked[1] or self.status == 206)):
                return await (self._page() if self.content_type == "text/html" else super().read())
            first, stop = (int(asked[1]), int(asked[2]) + 1) if asked[1] else (0, int(asked[2]))
            if self.status == 206:
                first, stop = 0, stop - first
            return bytes(memoryview(await self._read(stop))[first:stop])

        async def _page(self) -> bytes:
            data = await self._read(MAX_DOCUMENT)
            if len(data) > MAX_DOCUMENT:
                raise StoreIOError(
                    "cannot read: a page of the web server is too large, or has no end",
                    expected=f"at most {MAX_DOCUMENT} bytes",
                    mend="Check the URL",
                )
            self._body = bytes(data)  # where `text` looks for it
            return self._body

        async def _read(self, most: int) -> bytearray:
            """All that is sent, or a little more than `most` bytes of it."""
            data = bytearray()
            async for part in self.content.iter_any():
                data += part
                if len(data) > most:
                    self.close()
                    break
            return data

    return CutAnswer


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
