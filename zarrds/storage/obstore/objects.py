"""The calls to obstore under a store: objects are read, put, listed, copied and removed.

It has the methods of `zarrds.storage.fsspec.objects.Objects`, and more. Everything here takes names below one URL, and
raises errors of zarrds, which show no secret. obstore is imported when the first URL is opened: it is optional.
"""

from __future__ import annotations

import errno
import functools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from zarrds.errors import StoreIOError, UnsupportedError
from zarrds.storage.found import Found, Info, Version, is_same_version, version_of
from zarrds.storage.fsspec.commits import is_document
from zarrds.storage.fsspec.listings import WebListings
from zarrds.storage.fsspec.objects import Objects
from zarrds.storage.fsspec.refusals import read_only
from zarrds.storage.obstore.client import ObstoreClient
from zarrds.storage.obstore.failures import is_unknown, is_unreadable, is_without_reason, without_conditions
from zarrds.storage.obstore.places import for_fsspec
from zarrds.storage.protocol import ValueChangedError
from zarrds.threads import side_by_side

__all__ = ["COALESCE", "ObstoreObjects"]

# objects up to this size are put by one request
_ONE_PUT = 64 * 2**20
_LARGE = 256 * 2**20  # of an answer that is taken as it comes
# ranges that lie closer together are one request: at 100 MB/s and 30 ms, what lies between takes less than a request
COALESCE = 2**20


class ObstoreObjects(ObstoreClient):
    """The objects below a URL; how they are reached is told by `ObstoreClient`."""

    _knows_head = False  # a web server, as far as it has shown that
    _knows_ranges = True  # a web server, until it has said that it does not

    def by_fsspec(self) -> Objects:
        """The same objects through fsspec's package, for a process that was forked.

        Raises
        ------
        UnsupportedError
            If there is no such package, or the objects are those of a store object, of which it knows nothing.
        """
        if self._given is None:
            return Objects(self.url, for_fsspec(self.url, self.options))
        raise UnsupportedError("fsspec knows no store objects of obstore")

    # one object

    def read(self, name: str) -> bytes | None:
        """Return all that an object holds, or None if there is no such object."""
        found = self.find_one(name)
        return None if found is None else bytes(found.data)

    def read_at_most(self, name: str, limit: int) -> bytes | None:
        """As `read`; but of an object of more than `limit` bytes only a little more than that."""
        found = self.find_one(name, limit=limit)
        return None if found is None else bytes(found.data)

    def find_one(
        self, name: str, span: tuple[int, int] | int | None = None, *, limit: int | None = None
    ) -> Found | None:
        """Return an object, or a part of it, and what is told of it; None if there is no such object.

        Parameters
        ----------
        name : str
        span : (int, int) or int, optional
            First byte and the one behind the last, or how many bytes from the end (which Azure does not know).
        limit : int, optional
            Of an object that is larger, only a few bytes more than that are read.
        """
        options = {} if span is None else {"range": span if isinstance(span, tuple) else {"suffix": span}}
        found = self._fetched(name, options, limit)
        return found if found is None or found.info else self.find_range(name, 0, (limit or 0) + 1)

    def _fetched(self, name: str, options: Mapping[str, Any], limit: int | None) -> Found | None:
        """An object, or a part; without `info` if it is larger than `limit`."""
        try:
            return self._asked("read", lambda: self._answer(name, options, limit), absent="none", again=True)
        except StoreIOError as error:
            return self._web_found(error, name, options.get("range"), limit)

    def _web_found(self, error: StoreIOError, name: str, span: Any = None, limit: int | None = None) -> Found | None:
        """An object of which a web server's answer was one that obstore cannot take, or the error."""
        if not self.is_read_only or not is_unreadable(error):
            raise error
        return self._odd(name, span, limit)

    def _odd(self, name: str, span: Any = None, limit: int | None = None) -> Found | None:
        """An object that obstore cannot take, with what is told of it: of documents by HEAD, as later."""
        told = None
        with suppress(StoreIOError):
            told = self._headed(name) if is_document(name) else None  # first: it may be of an older value, of no newer
        found = self._web.found(name, span, limit)
        return found if found is None or told is None else Found(found.data, {**told, "size": found.info["size"]})

    def _is_compressed(self, answer: Any) -> bool:
        """Whether a web server has compressed an answer, which nobody has asked for."""
        return self.is_read_only and answer.attributes.get("Content-Encoding", "identity") != "identity"

    def _answer(self, name: str, options: Mapping[str, Any], limit: int | None) -> Found | None:
        answer = self._of(self._module.get, name, **({"options": options} if options else {}))
        if self._is_compressed(answer):
            return self._odd(name, options.get("range"), limit)
        if limit is not None and answer.meta["size"] > limit:
            return Found(memoryview(b""), {})  # the answer is dropped before its body
        return Found(_body(answer), answer.meta)

    def _beginning(self, name: str, stop: int) -> Found | None:
        """The first bytes of an object on a web server that knows no ranges; the rest is not waited for."""

        def ask() -> Found | None:
            answer = self._of(self._module.get, name)
            return (
                self._odd(name, limit=stop) if self._is_compressed(answer) else Found(_body(answer, stop), answer.meta)
            )

        try:
            return self._asked("read", ask, absent="none", again=True)
        except StoreIOError as error:
            return self._web_found(error, name, limit=stop)

    def read_range(self, name: str, start: int, length: int) -> memoryview | None:
        """Return at most `length` bytes from `start` (from the end if negative), or None if there is no such object."""
        found = self.find_range(name, start, length)
        return None if found is None else found.data

    def find_range(self, name: str, start: int, length: int) -> Found | None:
        """As `read_range`, with what is told of the object."""
        if length <= 0 or (start < 0 and not self._has_suffixes):
            info = self.info(name)
            if info is None:
                return None
            first = max(info["size"] + start, 0) if start < 0 else start
            if length <= 0 or first >= info["size"]:
                return Found(memoryview(b""), info)
            return self.find_range(name, first, length)
        if not self._knows_ranges:
            return self._part_of_whole(name, start, length)
        try:
            found = self.find_one(name, -start if start < 0 else (start, start + length))
        except StoreIOError as error:
            if self.is_read_only:  # it knows no ranges
                self._note_ranges(error)
                return self._part_of_whole(name, start, length)
            # refused: a range that begins at the end or beyond it
            try:
                info = self.info(name)
            except StoreIOError:  # of which answers to HEAD tell less
                raise error from None
            if info is None or not (info["size"] == 0 or start >= info["size"]):
                raise
            return Found(memoryview(b""), info)
        return None if found is None else Found(found.data[:length], found.info)

    def _part_of_whole(self, name: str, start: int, length: int) -> Found | None:
        """As `find_range`, without asking for a range; what is told of sizes may be of what is compressed."""
        found = self.find_one(name) if start < 0 else self._beginning(name, start + length)
        return None if found is None else Found(found.data[start:][:length], found.info)

    def _note_ranges(self, error: StoreIOError) -> None:
        """Note a 501: obstore asks again and again for each, with pauses."""
        self._knows_ranges = self._knows_ranges and not is_unknown(error)

    def spans(self, name: str, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Return parts of an object that is there, by offset and length; they must lie inside of it."""
        starts, lengths = [start for start, _ in spans], [length for _, length in spans]
        options = {"starts": starts, "lengths": lengths, "coalesce": COALESCE}
        refused: StoreIOError | None = None
        if self._knows_ranges:
            try:
                found = self._asked("read", lambda: self._of(self._module.get_ranges, name, **options), again=True)
                return [memoryview(each) for each in found or []]
            except StoreIOError as error:
                if not self.is_read_only:
                    raise
                self._note_ranges(error)
                refused = error
        whole = self._beginning(name, max(start + length for start, length in spans))
        if whole is None:
            raise refused or StoreIOError("cannot read: it is gone", found=name)
        return [whole.data[start:][:length] for start, length in spans]

    def info(self, name: str) -> Info | None:
        """Return what is told about an object, or None if there is no such object."""
        if self.is_read_only:
            return self._web_info(name)
        try:
            return self._asked("look at", lambda: self._of(self._module.head, name), absent="none", again=True)
        except StoreIOError as error:
            if is_without_reason(error) or error.errno == errno.EACCES:
                self._check_allowed(name)
            raise

    def _headed(self, name: str) -> Info | None:
        """What a web server tells of an object, asked once; None if it says that there is none."""
        single = self._connected.without_retries
        return self._asked("look at", lambda: self._module.head(single, self._prefix + name), absent="none")

    def _web_info(self, name: str) -> Info | None:
        """As `info`, of web servers, some of which know no HEAD: they refuse it, or say that nothing is there."""
        with suppress(StoreIOError):
            told = self._headed(name)
            self._knows_head |= told is not None
            if self._knows_head:
                return told

        def ask() -> Info | None:
            answer = self._of(self._module.get, name)  # dropped before its body
            if not self._is_compressed(answer):
                return dict(answer.meta)
            found = self._web.found(name, None)
            return None if found is None else found.info

        try:
            return self._asked("look at", ask, absent="none", again=True)
        except StoreIOError as error:
            if not is_unreadable(error):
                raise
        found = self._web.found(name, None)
        return None if found is None else found.info

    def _check_allowed(self, name: str) -> None:
        """Raise the reason why an object may not be looked at, which answers to HEAD cannot tell."""
        try:
            self._asked("look at", lambda: self._of(self._module.get_range, name, start=0, length=1), absent="none")
        except StoreIOError as error:
            if error.errno == errno.EACCES or is_without_reason(error):
                raise

    def write(self, name: str, value: bytes) -> None:
        """Make `value` what an object holds, in one step."""
        whole = len(value) <= _ONE_PUT
        options = {"use_multipart": False} if whole else {"chunk_size": _ONE_PUT // 4}
        put = functools.partial(self._module.put, self._connection, self._prefix + name, value, **options)
        self._asked("write", put, writing=True)

    def put_if(self, name: str, value: bytes, expected: Version | None, *, is_once: bool = False) -> Version:
        """Make `value` what an object holds, if it is still what it was; return the version that it has then.

        See `ConditionalObjects.put_if`.
        """
        mode: Any = "create" if expected is None else {k: v for k, v in expected.items() if v is not None}
        refused, connection = self._module.exceptions, self._connected.without_retries if is_once else self._connection
        put_one = functools.partial(self._module.put, connection, self._prefix + name, value, use_multipart=False)

        def put() -> Version | None:
            try:
                return version_of(put_one(mode=mode))
            except (refused.AlreadyExistsError, refused.PreconditionError):
                return None

        try:
            made = self._asked("write", put, writing=True, absent="none")
        except StoreIOError as error:
            if not is_unknown(error):
                raise
            raise without_conditions(str(error.found)) from None
        if made is not None:
            return made
        there = self.find_one(name)
        if there is not None and there.data == value:
            return version_of(there.info)
        is_same = is_same_version(expected, None if there is None else version_of(there.info))
        if is_same and expected is not None and (tag := str(expected.get("e_tag"))).startswith("W/"):
            raise without_conditions(f"the ETag {tag}")
        raise ValueChangedError(name, is_same=is_same)

    def remove(self, name: str) -> None:
        """Remove an object; a missing one is no error."""
        self.remove_all([name])

    # many

    def _below(self, name: str) -> str:
        """What those begin with that are asked for by a listing; empty for all."""
        return f"{self._prefix}{name}/" if name else self._prefix

    def find(self, name: str = "") -> dict[str, Info]:
        """Return all objects below `name`, in no order, and what the listing tells about them."""
        if self.is_read_only:
            return self._web.find(name)
        start = self._below(name)

        def ask() -> dict[str, Info]:
            found: dict[str, Info] = {}
            for batch in self._connection.list(start or None):
                n = len(found)
                found |= {each["path"]: each for each in batch}
                if batch and len(found) == n:
                    raise StoreIOError("cannot list: the server sends the same page of its listing again and again")
            return {path[len(self._prefix) :]: each for path, each in found.items() if path.startswith(start)}

        return self._asked("list", ask) or {}

    def is_blank(self, name: str = "") -> bool:
        """Whether there are no objects below `name`; one request. `ReadOnlyError` where no store can be made there."""
        if self.is_read_only:
            raise read_only("write")
        return not self._asked("list", lambda: next(iter(self._connection.list(self._below(name) or None)), None))

    def folders(self, name: str = "") -> list[str]:
        """Return the names of what lies directly below `name` and has objects below it."""
        if self.is_read_only:
            return self._web.folders(name)
        found: Any = self._asked("list", lambda: self._connection.list_with_delimiter(self._below(name) or None))
        return [folder.rstrip("/").rpartition("/")[2] for folder in found["common_prefixes"]]

    def copy(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Copy objects, whose bytes do not pass through here.

        Raises
        ------
        FileNotFoundError
            If one of them is gone.
        """

        def copy(pair: tuple[str, str]) -> None:
            act = functools.partial(self._module.copy, self._connection, *(self._prefix + name for name in pair))
            self._asked("copy", act, writing=True, absent="tell")

        side_by_side(copy, list(pairs))

    def remove_all(self, names: Sequence[str], *, is_once: bool = False) -> None:
        """Remove objects; missing ones are no error. `is_once` is that of `put_if`."""
        connection = self._connected.without_retries if is_once else self._connection

        def remove() -> None:
            try:
                self._module.delete(connection, [self._prefix + name for name in names])
                return
            except FileNotFoundError:
                pass
            for name in names:  # stores that tell: each by itself
                with suppress(FileNotFoundError):
                    self._module.delete(connection, self._prefix + name)

        if names:
            self._asked("delete", remove, writing=True)

    def remove_below(self, name: str) -> None:
        """Remove all objects below `name`."""
        self.remove_all(list(self.find(name)))

    def remove_folder(self, name: str) -> None:
        """Do nothing: there are no folders."""

    @property
    def _web(self) -> WebListings:
        """What a web server shows: obstore knows no pages of links."""
        if self._lister is None:
            options = for_fsspec(self.url, self.options)
            given = {} if self._given is None else self._given.client_options or {}
            if headers := given.get("default_headers"):
                options["headers"] = {k: v.decode() if isinstance(v, bytes) else v for k, v in headers.items()}
            self._lister = WebListings(Objects(self.url, options), self.read_at_most)
        return self._lister


def _body(answer: Any, most: int | None = None) -> memoryview:
    """What an answer of obstore holds, at least `most` bytes of it; of what is large as much as there is comes to be.

    For all that is said to come there would be made room first, and where there is none, the process ends.
    """
    start, stop = answer.range
    if stop - start <= _LARGE:
        return memoryview(answer.bytes())
    data = bytearray()
    for part in answer.stream():
        data += part
        if most is not None and len(data) >= most:
            break
    return memoryview(data)
