"""The calls to obstore, with a cache of what was fetched: the server is asked whether it is still the same.

Each value is asked for with the ETag that it had (`If-None-Match`): what is unchanged is not sent again. So nothing
stale is ever read; what is spared are the bytes, not the round trip.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from zarrds.errors import StoreIOError
from zarrds.storage.byte_cache import ByteCache, Kept
from zarrds.storage.fsspec.commits import is_door, is_key
from zarrds.storage.obstore.objects import COALESCE, Found, Info, ObstoreObjects
from zarrds.threads import side_by_side

__all__ = ["CachedObjects"]


class CachedObjects(ObstoreObjects):
    """As `ObstoreObjects`, with a cache for all but documents, which are small."""

    cache: ByteCache

    @classmethod
    def over(cls, objects: ObstoreObjects, cache: ByteCache) -> CachedObjects:
        """The same objects, with a cache."""
        made = cls.__new__(cls)
        made.__dict__.update({**objects.__dict__, "_lister": None, "cache": cache})
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        plain = ObstoreObjects.__new__(ObstoreObjects)
        plain.__dict__.update({name: value for name, value in self.__dict__.items() if name != "cache"})
        return CachedObjects.over, (plain, self.cache)

    def _fetched(self, name: str, options: Mapping[str, Any], limit: int | None) -> Found | None:
        if not _is_cacheable(name):
            return super()._fetched(name, options, limit)
        entry = f"{self.location}{name} {options.get('range')}"
        kept = self.cache.get(entry)
        if kept is None or not _fits(kept, limit):
            return self._noted(entry, super()._fetched(name, options, limit))
        changed = self._fetched_if_changed(name, {**options, "if_none_match": kept.about["e_tag"]}, limit)
        if changed is _UNCHANGED:
            return Found(kept.data, _info_of(kept.about, name))
        return self._noted(entry, changed)

    def _fetched_if_changed(self, name: str, options: Mapping[str, Any], limit: int | None) -> Found | None:
        def ask() -> Found:
            try:
                return self._answer(name, options, limit)
            except self._module.exceptions.NotModifiedError:
                return _UNCHANGED

        return self._asked("read", ask, absent="none", again=True)

    def _noted(self, entry: str, found: Found | None) -> Found | None:
        """Keep what was fetched, if the server tells which version of the value it is."""
        about = None if found is None else _about(found.info)
        if found is not None and about is not None:
            self.cache.put(entry, about, found.data)
        return found

    def spans(self, name: str, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Return parts of an object that is there, of one version of it; see `ObstoreObjects.spans`."""
        try:
            about = _about(self.info(name) or {}) if spans and _is_cacheable(name) else None
        except StoreIOError:
            about = None  # some web servers do not answer to HEAD
        if about is None:
            return super().spans(name, spans)
        entries = [f"{self.location}{name} {about['e_tag']} {start}+{length}" for start, length in spans]
        parts: list[memoryview | None] = []
        for entry, (_, length) in zip(entries, spans, strict=True):
            kept = self.cache.get(entry)
            parts.append(kept.data if kept is not None and len(kept.data) == length else None)
        missing = sorted({span for span, part in zip(spans, parts, strict=True) if part is None})
        try:
            found = self._fetched_parts(name, missing, about["e_tag"])
        except StoreIOError:
            return super().spans(name, spans)  # it was changed meanwhile, or the server knows no ranges
        for number, (entry, span) in enumerate(zip(entries, spans, strict=True)):
            if parts[number] is None:
                parts[number] = found[span]
                self.cache.put(entry, {}, found[span])
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


def _is_cacheable(name: str) -> bool:
    return is_key(name.rpartition("/")[2]) and not is_door(name)


def _fits(kept: Kept, limit: int | None) -> bool:
    size = kept.about.get("size")
    return isinstance(kept.about.get("e_tag"), str) and isinstance(size, int) and (limit is None or size <= limit)


def _about(info: Info) -> dict[str, Any] | None:
    """What is kept of an answer; None if the server does not tell exactly which version it was."""
    e_tag, written = info.get("e_tag"), info.get("last_modified")
    if not isinstance(e_tag, str) or e_tag.startswith("W/"):
        return None
    when = written.isoformat() if isinstance(written, datetime.datetime) else None
    return {"e_tag": e_tag, "version": info.get("version"), "size": int(info["size"]), "last_modified": when}


def _info_of(about: Mapping[str, Any], name: str) -> Info:
    when = about.get("last_modified")
    return {**about, "path": name, "last_modified": when and datetime.datetime.fromisoformat(when)}
