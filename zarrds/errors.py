"""Every error that zarrds raises on purpose.

Each one says what was expected, what was found, where, and what to do about it, in its message and in
its fields. Each one is also the built-in error that a user would expect (``FileNotFoundError`` for a
path that is no store), so that code written for other engines keeps working.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = [
    "BlocksOfTextError",
    "CarriedEncodingError",
    "ChunkError",
    "ConflictError",
    "EncodingError",
    "InvalidKeyError",
    "LabelError",
    "LabelNotFoundError",
    "LockTimeoutError",
    "MetadataError",
    "NodeNotFoundError",
    "QueryError",
    "ReadOnlyError",
    "ReleaseError",
    "ResultSizeError",
    "SelectionError",
    "StoreExistsError",
    "StoreIOError",
    "StoreNotFoundError",
    "UndecodableError",
    "UnsupportedError",
    "VariableNotFoundError",
    "ZarrdsError",
]


# characters of the expected and the found in a message
_MAX_SHOWN = 500


class ZarrdsError(Exception):
    """The base of every error of zarrds.

    Parameters
    ----------
    problem : str
        What is wrong, in one sentence without a full stop.
    path : str, optional
        The store, as the user named it.
    key : str, optional
        The key in the store, or the path of the array or group.
    codec : str, optional
        The codec that failed.
    expected, found : object, optional
        The two sides of a comparison that failed.
    mend : str, optional
        What the user can do.

    Examples
    --------
    >>> print(ZarrdsError("chunk is truncated", path="t2m.zarr", key="t2m/c/0", expected=12, found=3))
    chunk is truncated (in store 't2m.zarr', at 't2m/c/0'): expected 12, found 3
    """

    def __init__(
        self,
        problem: str,
        *,
        path: str | None = None,
        key: str | None = None,
        codec: str | None = None,
        expected: object = None,
        found: object = None,
        mend: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path
        self.key = key
        self.codec = codec
        self.expected = expected
        self.found = found
        self.mend = mend

    def __str__(self) -> str:
        text = self.problem
        places = [
            f"{name} {value!r}"
            for name, value in (("in store", self.path), ("at", self.key), ("codec", self.codec))
            if value is not None
        ]
        if places:
            text += f" ({', '.join(places)})"
        sides = [
            f"{name} {_shown(value)}"
            for name, value in (("expected", self.expected), ("found", self.found))
            if value is not None
        ]
        if sides:
            text += f": {', '.join(sides)}"
        if self.mend is not None:
            text += f". {self.mend}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        # errors travel from dask workers; an OSError keeps its fields outside of __dict__
        os_fields = {name: getattr(self, name, None) for name in ("errno", "strerror", "filename")}
        return _rebuild, (type(self), self.problem, self.__dict__, os_fields if isinstance(self, OSError) else {})

    def located(self, *, path: str | None = None, key: str | None = None) -> ZarrdsError:
        """Fill in where it happened, where that is not yet known, and return the same error."""
        if self.path is None:
            self.path = path
        if self.key is None:
            self.key = key
        return self


def _shown(value: object) -> str:
    """`value` as text of a bearable length: it may come from a store, and be large or deeply nested."""
    try:
        text = str(value)
    except RecursionError:
        return f"a deeply nested {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


@contextmanager
def locating(path: str | None = None, key: str | None = None) -> Iterator[None]:
    """Tell the errors that pass where they happened, where they do not know it."""
    try:
        yield
    except ZarrdsError as error:
        error.located(path=path, key=key)
        raise


@contextmanager
def locating_group(group: str) -> Iterator[None]:
    """Put the group before the names of variables in errors; those that name their store have keys from its root."""
    try:
        yield
    except ZarrdsError as error:
        if group and error.key is None:
            error.key = group
        elif group and error.path is None:
            error.key = f"{group}/{error.key}"
        raise


def _rebuild(kind: type[ZarrdsError], problem: str, fields: dict[str, Any], os_fields: dict[str, Any]) -> ZarrdsError:
    error = kind(problem)
    for name, value in (fields | os_fields).items():
        setattr(error, name, value)
    return error


class StoreNotFoundError(ZarrdsError, FileNotFoundError):
    """The path holds no Zarr store."""


class StoreExistsError(ZarrdsError, FileExistsError):
    """Something stands already in the place of a new store, group or array."""


class StoreIOError(ZarrdsError, OSError):
    """The file system refused an operation (full disk, permission, I/O error); `errno` is its reason."""


class LockTimeoutError(StoreIOError, TimeoutError):
    """Another writer held a lock for longer than the store was to wait (its `lock_timeout`)."""


class ReadOnlyError(ZarrdsError, PermissionError):
    """A write to something that was opened for reading."""


class NodeNotFoundError(ZarrdsError, KeyError, FileNotFoundError):
    """The store has no group or array of that path."""


class InvalidKeyError(ZarrdsError, ValueError):
    """A key that is malformed, or that would reach outside its store."""


class MetadataError(ZarrdsError, ValueError):
    """A metadata document that is not valid JSON or not valid Zarr."""


class UndecodableError(MetadataError):
    """A variable that xarray's decoders fail on."""


class UnsupportedError(MetadataError, NotImplementedError):
    """Valid Zarr that zarrds cannot read or write: an unknown codec, data type, chunk grid and so on."""


class ReleaseError(ZarrdsError, RuntimeError):
    """An installed release of a library that zarrds needs is too old for it."""


class ChunkError(ZarrdsError, ValueError):
    """A chunk whose bytes are truncated, altered, or not those of its array."""


class SelectionError(ZarrdsError, IndexError):
    """A selection that does not fit its array."""


class EncodingError(ZarrdsError, ValueError, TypeError):
    """Data, attributes or an encoding that cannot be stored."""


class CarriedEncodingError(EncodingError):
    """An encoding that came along with a variable, and that would change its values; `zarrds.save` replaces it."""


class BlocksOfTextError(EncodingError):
    """A block holds what cannot be written without having looked at all of the variable; `zarrds.save` loads it."""


class VariableNotFoundError(EncodingError, KeyError):
    """An encoding names a variable that the dataset does not have."""


class LabelError(ZarrdsError, ValueError):
    """Labels, sizes or variables that do not fit those in the store that they are written to."""


class LabelNotFoundError(LabelError, KeyError):
    """Labels that the store does not have."""


class QueryError(ZarrdsError, ValueError):
    """A query that is not allowed, or that does not fit the data it is asked of."""


class ResultSizeError(ZarrdsError, MemoryError):
    """The answer to a query does not fit in memory."""


class ConflictError(ZarrdsError, RuntimeError):
    """Another writer changed the store meanwhile, so that this write would undo, or be undone by, that one."""
