"""Reading JSON documents: parse, and take members out of them with errors that say where."""

from __future__ import annotations

import json
import marshal
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, overload

import numpy as np

from zarrds.errors import MetadataError
from zarrds.storage.protocol import Buffer, Store
from zarrds.storage.traits import MAX_DOCUMENT, get_at_most

__all__ = [
    "JSON",
    "MALFORMED",
    "MAX_SIZE",
    "JSONObject",
    "Keyed",
    "Raw",
    "a_list",
    "an_object",
    "chunk_sizes",
    "depth_and_parent",
    "dump",
    "has_bare",
    "keyed",
    "load",
    "member",
    "named_object",
    "names_of",
    "sizes",
    "without_bare",
]

# What documents hold. As nobody changes it by this type, a dict of texts is of it too, and so is a tuple. What was read
# consists of dicts and lists, and these are asked for, by `isinstance(value, dict)` or the functions below.
JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
JSONObject: TypeAlias = Mapping[str, JSON]
# a document that was read, or is still being made
Raw: TypeAlias = dict[str, JSON]
Scalar = TypeVar("Scalar", bool, int, float, str)

# what Python says of JSON that is not what it is taken for, where no check has found that out
MALFORMED = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)

_MISSING: Any = object()
MAX_SIZE = 2**63 - 1  # of a dimension
_MAX_DEPTH = 1000  # of what is looked at more closely
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


def load(store: Store, key: str) -> Raw | None:
    """The JSON object under `key`, or None if the key is absent.

    Raises
    ------
    MetadataError
        If the value is not a JSON object.
    """
    try:
        value = get_at_most(store, key, MAX_DOCUMENT)
        if value is not None and len(value) > MAX_DOCUMENT:
            raise MetadataError(
                "metadata document is too large", path=store.path, key=key, expected=f"at most {MAX_DOCUMENT} bytes"
            )
        return None if value is None else _parse(value, store.path, key)
    except MemoryError as error:
        raise MetadataError("metadata document does not fit in memory", path=store.path, key=key) from error


def _parse(value: Buffer, path: str, key: str) -> Raw:
    try:
        text = bytes(value)
        document = json.loads(text)
        _check_depth(text, document)
    except (ValueError, RecursionError) as error:
        raise MetadataError(
            f"metadata document is not valid JSON: {error}",
            path=path,
            key=key,
            mend="Restore the document from a copy, or save the dataset again; without an array that is damaged the "
            "others open with drop_variables",
        ) from error
    if not isinstance(document, dict):
        raise MetadataError("metadata document is not a JSON object", path=path, key=key, found=type(document).__name__)
    return document


def _check_depth(text: bytes, document: Any) -> None:
    """Raise ValueError for what is nested so deeply that what looks at it by calls cannot: Python 3.13 parses it."""
    steps = np.frombuffer(text.translate(_STEPS, _NO_BRACKETS), np.int8)
    if steps.size > _MAX_DEPTH and int(steps.cumsum(dtype=np.int64).max()) > _MAX_DEPTH:
        marshal.dumps(document, 2)  # some of these may be in texts; it counts levels, and refuses 2,000 or fewer


def dump(document: JSON) -> bytes:
    """A document's bytes: strictly valid JSON. Others write NaN and infinities bare: those become text here."""
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair has no UTF-8, but an escape
        return json.dumps(document).encode("ascii")
    except ValueError:
        return dump(without_bare(document))


def has_bare(value: JSON) -> bool:
    """Whether a value has NaN or an infinity as a number, which strictly valid JSON does not."""
    waiting = [value]  # it may be nested deeper than calls
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, float) and not math.isfinite(item):
            return True
    return False


def without_bare(value: JSON) -> JSON:
    """A value as `dump` writes it."""
    if isinstance(value, dict):
        return {name: without_bare(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_bare(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


class Keyed(bytes):
    """What a cache tells JSON from other JSON by, as ``1 == 1.0 == True``; bytes, which Python compares in no time."""

    value: list[Any] | tuple[Any, ...]


def keyed(value: list[Any] | tuple[Any, ...]) -> Keyed:
    """The key of a list of JSON values. Raises ValueError if they are nested too deeply, or no JSON."""
    key = Keyed(marshal.dumps(value, 2))  # the quickest way to tell equal JSON from other JSON
    key.value = value
    return key


@overload
def member(document: JSONObject, name: str, kind: type[dict[Any, Any]], default: Raw = ...) -> Raw: ...
@overload
def member(document: JSONObject, name: str, kind: type[list[Any]], default: list[JSON] = ...) -> list[JSON]: ...
@overload
def member(document: JSONObject, name: str, kind: type[Scalar], default: Scalar = ...) -> Scalar: ...
@overload
def member(document: JSONObject, name: str, kind: tuple[type, ...] = ...) -> JSON: ...
def member(document: JSONObject, name: str, kind: Any = object, default: Any = _MISSING) -> Any:
    """``document[name]``, which must be of type `kind`; `default` where it is absent.

    An integer counts as a float, but true and false are no numbers.

    Raises
    ------
    MetadataError

    Examples
    --------
    >>> member({"level": 3}, "level", int), member({"level": 3}, "name", str, "zstd")
    (3, 'zstd')
    """
    value = document.get(name, default)
    if value is _MISSING:
        raise MetadataError(f"metadata document lacks the member {name!r}", mend="Restore it from a copy")
    if value is not default and not _is(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise MetadataError(
            f"member {name!r} of the metadata document is of a wrong type",
            expected=" or ".join(k.__name__ for k in kinds),
            found=f"{value!r:.100}",
        )
    return value


def _is(value: object, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind in (bool, object)
    return isinstance(value, int | float if kind is float else kind)


def an_object(value: JSON, what: str) -> Raw:
    """A value that must be an object. Raises `MetadataError`, which says what is none."""
    if isinstance(value, dict):
        return value
    raise MetadataError(f"{what} is malformed", expected="an object", found=f"{value!r:.100}")


def a_list(value: JSON, what: str) -> list[JSON]:
    """A value that must be a list. Raises `MetadataError`, which says what is none."""
    if isinstance(value, list):
        return value
    raise MetadataError(f"{what} is malformed", expected="a list", found=f"{value!r:.100}")


def named_object(value: JSON, what: str) -> tuple[str, JSONObject]:
    """Name and configuration of an extension point, which may be given by its name alone."""
    if isinstance(value, dict):
        name, configuration = value.get("name"), value.get("configuration", {})
        if isinstance(name, str) and isinstance(configuration, dict):
            return name, configuration
    elif isinstance(value, str):
        return value, {}
    raise MetadataError(f"{what} is malformed", expected="an object with a name", found=f"{value!r:.100}")


def names_of(value: JSON, ndim: int) -> tuple[str | None, ...] | None:
    """The names of so many dimensions; None if it is no list of so many names."""
    if not isinstance(value, list) or len(value) != ndim:
        return None
    names = tuple([name for name in value if name is None or isinstance(name, str)])
    return names if len(names) == ndim else None


def sizes(document: JSONObject, name: str) -> tuple[int, ...]:
    """``document[name]`` as a tuple of integers, none of them negative."""
    values = member(document, name, list)
    found = [value for value in values if type(value) is int and 0 <= value <= MAX_SIZE]
    if len(found) < len(values):
        raise MetadataError(
            f"member {name!r} of the metadata document is wrong",
            expected="integers from 0 to 2**63 - 1",
            found=values,
        )
    return tuple(found)


def chunk_sizes(document: JSONObject, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """``document[name]`` as the shape of the chunks of an array of `shape`."""
    chunks = sizes(document, name)
    if len(chunks) != len(shape):
        raise MetadataError(
            f"member {name!r} of the metadata document does not fit the shape",
            expected=f"{len(shape)} numbers",
            found=chunks,
        )
    # zarr-python writes chunks of no length for dimensions of no length
    if 0 not in chunks:
        return chunks
    if any(chunk == 0 and size > 0 for chunk, size in zip(chunks, shape, strict=True)):
        raise MetadataError(
            f"member {name!r} of the metadata document is wrong", expected="at least one element", found=chunks
        )
    return tuple(max(chunk, 1) for chunk in chunks)


def depth_and_parent(path: str) -> tuple[int, str]:
    """What nodes are sorted by in consolidated metadata: zarr-python loses siblings that do not stand together."""
    return path.count("/"), path.rpartition("/")[0]
