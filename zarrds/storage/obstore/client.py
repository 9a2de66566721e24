"""Where the objects under a store are, and how obstore is asked for them, once more where that helps.

obstore is imported when the first URL is opened: it is optional.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any, Literal, Self, TypeVar

from zarrds.errors import UnsupportedError, ZarrdsError
from zarrds.storage.fsspec.listings import WebListings
from zarrds.storage.fsspec.refusals import read_only
from zarrds.storage.obstore.aws import region_of
from zarrds.storage.obstore.connections import (
    Connection,
    Secrets,
    connected,
    digest_of,
    location_of,
    obstore_of,
    place_of_object,
)
from zarrds.storage.obstore.failures import failure, is_interrupt, says_absent
from zarrds.storage.obstore.places import REPEAT_SECONDS, REPEATS, Place, place_of
from zarrds.storage.secrets import without_secrets

__all__ = ["ObstoreClient"]

T = TypeVar("T")
_SCHEMES = {"S3Store": "s3", "GCSStore": "gs", "AzureStore": "az"}  # as in the names of places
_ATTEMPTS = 3  # to read an answer that breaks off
_PAUSE = 0.1  # seconds before the second, and four times that before the third
_REDIRECTED = re.compile(r"30[178] |Received redirect|AuthorizationHeaderMalformed|PermanentRedirect")


class ObstoreClient:
    """Where objects are that lie below a URL, and what is asked of obstore there.

    Parameters
    ----------
    url : str
        Of one of `zarrds.storage.obstore.places.SCHEMES`.
    options : mapping
        As fsspec takes them.

    Attributes
    ----------
    place : str
        The same for all spellings of a URL, another for each store object that equals no other; without secrets.
    locked_as : str
        The same for all that reach the same objects, by whatever options and store objects.
    token : str
        What tells it from others at the same URL: a digest of the options, or of the store object.
    is_memory : bool
        Whether they are in this process's memory.
    is_read_only : bool
        Whether it is a web server.
    has_conditions : bool
        Whether objects can be put over what was seen of them.

    Raises
    ------
    UnsupportedError
        If obstore is not installed.
    UntranslatableError
        For an option that only fsspec's package has.
    EncodingError
        For options that are wrong.

    Notes
    -----
    All methods may be called from any number of threads at once; they let go of the interpreter's lock. It pickles as
    URL and options, which may hold secrets; nothing else shows them.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._begin(url, dict(options), place_of(url, options))

    @classmethod
    def of(cls, store: Any) -> Self:
        """Objects of a store of obstore that the user has made."""
        made = cls.__new__(cls)
        where = place_of_object(store)
        made._begin(where.root, {}, where, store)
        return made

    def _begin(self, url: str, options: dict[str, Any], where: Place, given: Any = None) -> None:
        self.url, self.options = url, options
        self._where, self._given = where, given
        if given is None:
            self.place = where.name
            self.token = sha256(repr(sorted(options.items())).encode()).hexdigest() if options else ""
        else:
            self.token = digest_of(given)
            self.place = f"{where.name}#{self.token}"
        scheme = _SCHEMES.get(where.kind)
        self.locked_as = f"{scheme}://{where.root}/{where.prefix}".rstrip("/") if scheme else self.place
        self.is_read_only = where.kind == "HTTPStore"
        self.has_conditions = where.kind in ("S3Store", "GCSStore", "AzureStore", "MemoryStore")
        self.is_memory = where.kind == "MemoryStore"
        self._has_suffixes = where.kind != "AzureStore"
        self._lister: WebListings | None = None
        retries = where.config.get("retry_config") or {}
        n, longest = retries.get("max_retries"), retries.get("retry_timeout")
        # what else they are, obstore refuses
        self.n_repeats = n if isinstance(n, int) else REPEATS
        self.repeat_seconds = longest.total_seconds() if isinstance(longest, timedelta) else REPEAT_SECONDS
        self._connect({})

    def __reduce__(self) -> tuple[Any, ...]:
        if self.is_memory:
            raise UnsupportedError(
                "a MemoryStore of obstore lives in the memory of this process, and cannot be pickled",
                mend="Use dask's threads, load the dataset first, or copy it to a path or a URL with zarrds.copy",
            )
        if self._given is not None:
            return type(self).of, (self._given,)
        return type(self), (self.url, self.options)

    def __repr__(self) -> str:
        return f"ObstoreObjects({self._where.name!r})"

    def _connect(self, more: Mapping[str, Any]) -> None:
        self._module = obstore_of(without_secrets(self._where.name))
        if self._given is None:
            self._connected = connected(self._where, more)
            self._prefix = f"{self._where.prefix}/" if self._where.prefix else ""
        else:
            location = location_of(self._where, self._where.config)
            self._connected = Connection(self._given, Secrets(self._where.secrets), location)
            self._prefix = ""  # it has its own
        self._connection, self._secrets = self._connected.store, self._connected.secrets

    def is_same(self, other: object) -> bool:
        """Whether it has the same objects, reached in the same way."""
        if not isinstance(other, ObstoreClient) or (self._given is None) != (other._given is None):
            return False
        if self._given is None:
            return self.place == other.place and self.options == other.options
        return self._given is other._given or (not self.is_memory and bool(self._given == other._given))

    @property
    def location(self) -> str:
        """Where the objects are, whoever asks for them; not to be shown."""
        return f"{self.token}/" if self.is_memory else self._connected.location + self._prefix

    @property
    def name(self) -> str:
        """What users may be shown."""
        return self._where.name

    def _of(self, function: Callable[..., Any], name: str, **options: Any) -> Any:
        """What a function of obstore gives of an object, by the connection of now, which is another once redirected."""
        return function(self._connection, self._prefix + name, **options)

    def _asked(
        self,
        doing: str,
        act: Callable[[], T],
        *,
        writing: bool = False,
        absent: Literal["error", "none", "tell"] = "error",
        again: bool = False,
    ) -> T | None:
        """What obstore answers; its errors become ours, outside of the block in which they are caught.

        Else they, and all that they show, would be the context of ours.

        Parameters
        ----------
        doing : str
            For the error.
        act : callable
        writing : bool
        absent : {"error", "none", "tell"}
            What becomes of it if there is no such object: an error, None, or a `FileNotFoundError`.
        again : bool
            Whether to ask again where an answer broke off, or where S3 has the bucket in another region.
        """
        if writing and self.is_read_only:
            raise read_only(doing)
        for attempt in itertools.count():
            try:
                return act()
            except ZarrdsError:
                raise
            except BaseException as exc:  # obstore has an error for each kind of failure
                if is_interrupt(exc):
                    raise
                is_absent = says_absent(exc, is_web=self.is_read_only)
                if is_absent and absent == "none":
                    return None
                error: Exception = failure(exc, doing, self._secrets.known, bucket=self._where.root)
                may_help = again and attempt + 1 < _ATTEMPTS and not is_absent and self._may_help(exc)
            if is_absent and absent == "tell":
                raise FileNotFoundError(f"object storage has no such object, to {doing} it")
            if not may_help:
                raise error
            time.sleep(_PAUSE * 4**attempt)
        raise AssertionError  # it is counted without an end

    def _may_help(self, exc: BaseException) -> bool:
        text, config = str(exc), self._where.config
        is_elsewhere = self._where.kind == "S3Store" and self._given is None and not {"region", "endpoint"} & {*config}
        if is_elsewhere and _REDIRECTED.search(text):
            region = region_of(self._where.root)
            if region is not None:
                self._connect({"region": region})
                return True
        return "body" in text and "status code" not in text
