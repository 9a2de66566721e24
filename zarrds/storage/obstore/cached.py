"""The calls to obstore, with a cache of what was fetched: the server is asked whether it is still the same.

Each value is asked for with the ETag that it had (`If-None-Match`): what is unchanged is not sent again. So nothing
stale is read as far as ETags tell values apart; what is spared are the bytes, not the round trip.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from zarrds.errors import StoreIOError
from zarrds.storage.byte_cache import About, ByteCache
from zarrds.storage.found import Found, Info
from zarrds.storage.fsspec.commits import is_key, is_node_document
from zarrds.storage.obstore.failures import is_unreadable
from zarrds.storage.obstore.objects import COALESCE, ObstoreObjects
from zarrds.threads import side_by_side

__all__ = ["CachedObjects"]


class CachedObjects(ObstoreObjects):
    """As `ObstoreObjects`, with a cache for all but documents, which are small.

    Attributes
    ----------
    plain : ObstoreObjects
        The same without the cache: what is read to be replaced goes by it. A server that says "unchanged" does not tell
        obstore the generation, by which Google's replaces values.
    cache : ByteCache
    """

    plain: ObstoreObjects
    cache: ByteCache

    @classmethod
    def over(cls, objects: ObstoreObjects, cache: ByteCache) -> CachedObjects:
        """The same objects, with a cache."""
        made = cls.__new__(cls)
        made.__dict__.update({**objects.__dict__, "_lister": None, "plain": objects, "cache": cache})
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return CachedObjects.over, (self.plain, self.cache)

    def _fetched(self, name: str, options: Mapping[str, Any], limit: int | None) -> Found | None:
        if not _is_cacheable(name):
            return super()._fetched(name, options, limit)
        entry = f"{self.location}{name} {options.get('range')}"
        span = options.get("range")
        kept = self.cache.get(entry, limit)
        if kept is not None and len(kept.data) != _length(span, kept.about.size):
            self.cache.remove(entry)
            kept = None
        if kept is None or (limit is not None and kept.about.size > limit):
            return self._noted(entry, span, super()._fetched(name, options, limit))
        changed = self._fetched_if_changed(name, {**options, "if_none_match": kept.about.e_tag}, limit)
        if changed is _UNCHANGED:
            return Found(kept.data, _info_of(kept.about, name))
        return self._noted(entry, span, changed)

    def _fetched_if_changed(self, name: str, options: Mapping[str, Any], limit: int | None) -> Found | None:
        def ask() -> Found | None:
            try:
                return self._answer(name, options, limit)
            except self._module.exceptions.NotModifiedError:
                return _UNCHANGED

        try:
            return self._asked("read", ask, absent="none", again=True)
        except StoreIOError as error:  # what knows no such condition, or an answer that obstore cannot take
            if error.errno in (errno.EAGAIN, errno.EACCES) and not is_unreadable(error):
                raise
        return super()._fetched(name, {each: options[each] for each in options if each != "if_none_match"}, limit)

    def _noted(self, entry: str, span: Any, found: Found | None) -> Found | None:
        """Keep what was fetched, if the server tells which version of the value it is."""
        about = None if found is None else self._about(found.info)
        if found is not None and about is not None and len(found.data) == _length(span, about.size):
            self.cache.put(entry, about, found.data)
        return found

    def _about(self, info: Info) -> About | None:
        """What is kept of an answer; None if the server does not tell exactly which version it was."""
        e_tag, size = info.get("e_tag"), info.get("size")
        if not isinstance(e_tag, str) or not isinstance(size, int) or not e_tag.startswith('"'):
            return None
        if self.is_read_only and not _OF_WEB_SERVERS.fullmatch(e_tag):
            return None
        return About(e_tag, size, info.get("last_modified"), info.get("version"))

    def spans(self, name: str, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Return parts of an object that is there, of one version of it; see `ObstoreObjects.spans`."""
        try:
            about = self._about(self.info(name) or {}) if spans and _is_cacheable(name) else None
        except StoreIOError:
            about = None  # some web servers do not answer to HEAD
        if about is None:
            return super().spans(name, spans)
        entries = [f"{self.location}{name} {about.e_tag} {start}+{length}" for start, length in spans]
        parts: list[memoryview | None] = []
        for entry, (_, length) in zip(entries, spans, strict=True):
            kept = self.cache.get(entry, length)
            parts.append(kept.data if kept is not None and len(kept.data) == length else None)
        missing = sorted({span for span, part in zip(spans, parts, strict=True) if part is None})
        try:
            found = self._fetched_parts(name, missing, about.e_tag)
        except StoreIOError:
            return super().spans(name, spans)  # it was changed meanwhile, or the server knows no ranges
        for number, (entry, span) in enumerate(zip(entries, spans, strict=True)):
            if parts[number] is None:
                parts[number] = found[span]
                self.cache.put(entry, about, found[span])
        return [part for part in parts if part is not None]

    def _fetched_parts(
        self, name: str, spans: Sequence[tuple[int, int]], e_tag: str
    ) -> dict[tuple[int, int], memoryview]:
        """Parts of one version of an object, those that lie close together by one request."""
        groups: list[list[tuple[int, int]]] = []
        stop = 0
        for start, length in spans:
            if groups and start - stop <= COALESCE:
                groups[-1].append((start, length))
            else:
                groups.append([(start, length)])
            stop = max(stop, start + length)

        def fetch(group: list[tuple[int, int]]) -> dict[tuple[int, int], memoryview]:
            first, last = group[0][0], max(start + length for start, length in group)
            found = super(CachedObjects, self)._fetched(name, {"range": (first, last), "if_match": e_tag}, None)
            if found is None or found.info.get("e_tag") != e_tag or len(found.data) != last - first:
                raise StoreIOError("the value was changed, or removed, while it was read", key=name)
            return {(start, length): found.data[start - first :][:length] for start, length in group}

        return {span: part for each in side_by_side(fetch, groups) for span, part in each.items()}


_UNCHANGED = Found(memoryview(b""), {})
# the ETags of web servers that are known to tell two values apart: digests (also of an upload in parts), Azure's, and
# Apache's, the last number of which is a time in microseconds. Others' are mostly a time in seconds and a size, in many
# spellings (nginx, Caddy, lighttpd, uhttpd): what changes twice within a second, or whose time was set, looks the same.
_OF_WEB_SERVERS = re.compile(
    '"(?:[0-9a-f]{32,}(?:-[0-9]+)?|0x[0-9a-f]{15,16}|(?:[0-9a-f]+-)?[0-9a-f]+-[0-9a-f]{13,14})"', re.IGNORECASE
)


def _is_cacheable(name: str) -> bool:
    return is_key(name.rpartition("/")[2]) and not is_node_document(name)


def _length(span: tuple[int, int] | Mapping[str, int] | None, size: int) -> int:
    """How many bytes of a value of that size a range has."""
    if span is None:
        return size
    return min(span[1], size) - span[0] if isinstance(span, tuple) else min(span["suffix"], size)


def _info_of(about: About, name: str) -> Info:
    return {**asdict(about), "path": name}
