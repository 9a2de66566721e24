"""Attributes with their types <-> strictly valid JSON, and a note of what JSON cannot say.

JSON has no types of numbers, no NaN, no bytes, no tuples, and no keys but text. Other readers see the nearest plain
value; what is noted beside it gives the value back as it was. A note counts only as long as the value that it makes is
the one that stands in the document: another tool may have changed that.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from zarrds.errors import EncodingError
from zarrds.metadata.equality import is_same
from zarrds.metadata.extension import N, note_of, with_note
from zarrds.metadata.fields import JSON, JSONObject, Raw, a_list, an_object, has_bare, member, sizes
from zarrds.metadata.model import Node

__all__ = [
    "ATTRIBUTES",
    "MARKERS",
    "SCALE",
    "apart_attributes",
    "array_of",
    "noted_apart",
    "plain_value",
    "typed_attributes",
    "updated_attributes",
    "with_attributes",
    "with_more_noted",
    "with_noted_floats",
]

# the member of the `zarrds` object
ATTRIBUTES = "attributes"
# attributes of CF that say which elements stand for missing ones
MARKERS = ("_FillValue", "missing_value")
# those that pack numbers into others
SCALE = ("scale_factor", "add_offset")
_NUMBERS = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)")
_OTHERS = re.compile(r"complex(64|128)|(datetime|timedelta)64(\[([1-9][0-9]*)?[a-zA-Zμ]+\])?")  # as text in JSON
_MEND = "Convert it to text, numbers, lists or dicts of these first, or drop it"
# characters that NumPy pads texts to, together: of one long text and many short ones, far more than there are
_MOST_PADDED = 2**26
_FINITE_MAX = float(np.finfo(np.float64).max)
# what comes of a note that does not fit its attribute: a MetadataError is a ValueError, NumPy raises all of them
_MISFITS = (TypeError, ValueError, OverflowError, RecursionError)


def array_of(value: object) -> np.ndarray[Any, Any] | None:
    """An attribute as the array that it is; None if it is none, as lists of lists of different lengths are.

    Examples
    --------
    >>> array_of([1, 2]), array_of([[1], [1, 2]])
    (array([1, 2]), None)
    """
    try:
        return np.asarray(value)
    except (TypeError, ValueError):
        return None


def with_attributes(
    node: N,
    values: Mapping[Any, object],
    hidden: Mapping[str, object] | None = None,
    apart: Mapping[str, object] | None = None,
) -> N:
    """A node with other attributes.

    Parameters
    ----------
    node : ArrayMetadata or GroupMetadata
    values : mapping
        Of any types that JSON can hold or a note can tell.
    hidden : mapping, optional
        Attributes that are noted alone: other readers would stumble over them.
    apart : mapping, optional
        Attributes that are noted alone, and are no part of how the values are decoded: see `apart_attributes`.

    Raises
    ------
    EncodingError
        For what cannot be kept, naming the attribute.

    Examples
    --------
    >>> from zarrds.metadata.model import GroupMetadata
    >>> node = with_attributes(GroupMetadata(), {"flags": np.int8([1, 2]), "limit": float("nan"), "title": "x"})
    >>> node.attributes, typed_attributes(node)["flags"].dtype
    ({'flags': [1, 2], 'limit': 'NaN', 'title': 'x'}, dtype('int8'))
    """
    bare = replace(node, attributes={}) if node.attributes else node
    return updated_attributes(with_note(bare, ATTRIBUTES, None), values, hidden, apart)


def updated_attributes(
    node: N,
    values: Mapping[Any, object],
    hidden: Mapping[str, object] | None = None,
    apart: Mapping[str, object] | None = None,
    removed: Collection[str] = (),
) -> N:
    """A node with some attributes more, changed or removed; else as `with_attributes`."""
    plain: Raw = {}
    notes: Raw = {}
    for name, value in values.items():
        plain[_name(name)], note = _described(name, value)
        if note is not None:
            notes[name] = note
    notes |= _noted_alone("hidden", hidden or {}) | noted_apart(apart or {})
    before = note_of(node, ATTRIBUTES)
    if isinstance(before, dict):
        notes = {name: note for name, note in before.items() if name not in plain and name not in removed} | notes
    kept = {name: value for name, value in node.attributes.items() if name not in removed}
    changed = replace(node, attributes={**kept, **plain})
    return with_note(changed, ATTRIBUTES, notes or None) if notes or before is not None else changed


def noted_apart(values: Mapping[str, object]) -> Raw:
    """What is noted of attributes that stand in no document, or in another sense: see `apart_attributes`."""
    return _noted_alone("apart", values)


def _noted_alone(kind: str, values: Mapping[str, object]) -> Raw:
    notes: Raw = {}
    for name, value in values.items():
        described, note = _described(name, value)
        notes[name] = {"kind": kind, "value": described} | ({} if note is None else {"note": note})
    return notes


def with_more_noted(node: N, notes: JSON) -> N:
    """A node with more notes of attributes, from `noted_apart`; None is none.

    Examples
    --------
    >>> from zarrds.metadata.model import GroupMetadata
    >>> node = with_more_noted(GroupMetadata({"flag_meanings": "a b"}), noted_apart({"flag_meanings": "low high"}))
    >>> node.attributes, apart_attributes(node)
    ({'flag_meanings': 'a b'}, {'flag_meanings': 'low high'})
    """
    if not isinstance(notes, dict):
        return node
    before = note_of(node, ATTRIBUTES)
    return with_note(node, ATTRIBUTES, {**(before if isinstance(before, dict) else {}), **notes})


def with_noted_floats(node: Node) -> Node:
    """A node of which bare NaN and infinities in attributes are noted: documents that are written hold no such numbers.

    Examples
    --------
    >>> from zarrds.metadata.model import GroupMetadata
    >>> node = with_noted_floats(GroupMetadata({"limit": float("nan")}))
    >>> node.attributes, typed_attributes(node)
    ({'limit': 'NaN'}, {'limit': nan})
    """
    bare = {name: value for name, value in node.attributes.items() if has_bare(value)}
    # of one kind or the other: a type variable takes no union
    return updated_attributes(node, bare) if bare else node  # type: ignore[type-var]


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise EncodingError(
            f"attribute {name!r} cannot be stored: names of attributes are strings", mend="Rename the attribute"
        )
    return name


def _described(name: object, value: object) -> tuple[JSON, JSON]:
    try:
        return _plain(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodingError(
            f"attribute {name!r} cannot be stored: {error}",
            expected="text, bytes, numbers, booleans, None, times of NumPy; lists, tuples, arrays, dicts of these",
            mend=_MEND,
        ) from error


def plain_value(value: object) -> JSON:
    """The nearest strictly valid JSON of an attribute's value. Raises `TypeError` for what has none.

    Examples
    --------
    >>> plain_value({"range": (np.float32(0.5), float("inf")), "by": b"me"})
    {'range': [0.5, 1.7976931348623157e+308], 'by': 'me'}
    """
    return _plain(value)[0]


def _plain(value: object) -> tuple[JSON, JSON]:
    """The nearest JSON of a value, and what that does not say of it; None if it says all."""
    if value is None or (isinstance(value, bool | str) and not isinstance(value, np.generic)):
        return value, None
    if isinstance(value, np.str_):
        return str(value), {"kind": "texts"}
    if isinstance(value, bytes):
        return _text(value), {"kind": "bytes", "value": _base64(value)}
    if isinstance(value, np.ndarray | np.generic):
        return _of_numpy(value)
    if isinstance(value, int):
        return int(value), None
    if isinstance(value, float):
        return _number(value), None if math.isfinite(value) else {"kind": "float", "value": repr(float(value))}
    if isinstance(value, complex):
        return repr(value), {"kind": "complex", "value": repr(value)}
    if isinstance(value, list | tuple):
        return _of_items(value)
    if isinstance(value, Mapping):
        return _of_mapping(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _number(value: float) -> JSON:
    if math.isnan(value):
        return "NaN"
    return float(value) if math.isfinite(value) else math.copysign(_FINITE_MAX, value)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _of_numpy(value: np.ndarray[Any, Any] | np.generic) -> tuple[JSON, JSON]:
    dtype = value.dtype
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError("an array of which elements are masked is not JSON")
    shape: Raw = {"shape": list(value.shape)} if isinstance(value, np.ndarray) else {}
    if dtype.kind == "O" or dtype.kind == "T":
        plain, note = _plain(value.tolist())
        # text that may be missing comes back as objects, which hold what it is missing as
        strings: Raw = {"strings": True} if dtype.kind == "T" and not hasattr(dtype, "na_object") else {}
        return plain, {"kind": "objects", **shape, **strings} | ({} if note is None else {"note": note})
    if dtype.kind == "U":
        return value.tolist(), {"kind": "texts", **shape}
    if dtype.kind == "S":
        plain, note = _plain(value.tolist())
        return plain, {"kind": "bytes array", **shape, "note": note}
    name = dtype.newbyteorder("=").name
    if _OTHERS.fullmatch(name):
        return np.asarray(value).astype(str).tolist(), {"kind": "others", "dtype": name, **shape, "value": _raw(value)}
    if not _NUMBERS.fullmatch(name):
        raise TypeError(f"a value of dtype {dtype} is not JSON")
    note = {"kind": "numbers", "dtype": name, **shape}
    if dtype.kind == "f" and not np.isfinite(value).all():
        note["value"] = _raw(value)
    return _plain_numbers(value.tolist()), note


def _raw(value: Any) -> str:
    """The little-endian elements."""
    return _base64(np.asarray(value).astype(value.dtype.newbyteorder("<")).tobytes())


def _plain_numbers(value: Any) -> JSON:
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    return _number(value) if isinstance(value, float) else value


def _of_items(values: Sequence[object]) -> tuple[JSON, JSON]:
    described = [_plain(value) for value in values]
    notes: Raw = {str(i): note for i, (_, note) in enumerate(described) if note is not None}
    is_tuple = isinstance(values, tuple)
    note = {"kind": "tuple" if is_tuple else "list", "items": notes} if notes or is_tuple else None
    return [plain for plain, _ in described], note


def _of_mapping(values: Mapping[Any, object]) -> tuple[JSON, JSON]:
    plain: Raw = {}
    keys: list[JSON] = []
    notes: Raw = {}
    texts = {key for key in values if isinstance(key, str)}
    for key, value in values.items():
        text = key if isinstance(key, str) else _key_text(key)
        while not isinstance(key, str) and (text in texts or text in plain):
            text += "_"
        described, more = _plain(key)
        keys.append([text, described] if more is None else [text, described, more])
        plain[text], more = _plain(value)
        if more is not None:
            notes[text] = more
    has_other_keys = len(texts) < len(values)
    if not notes and not has_other_keys:
        return plain, None
    note: Raw = {"kind": "dict", "items": notes}
    return plain, note | {"keys": keys} if has_other_keys else note


def _key_text(key: object) -> str:
    if key is None or isinstance(key, bool | int | float | bytes | tuple | np.generic):
        return _text(key) if isinstance(key, bytes) else str(key)
    raise TypeError(f"a key of type {type(key).__name__} is not JSON")


def typed_attributes(node: Node) -> dict[str, Any]:
    """The attributes of a node, with the types that are noted of them.

    What does not fit is left out: the attribute is then what JSON says.
    """
    attributes: dict[str, Any] = dict(node.attributes)
    notes = note_of(node, ATTRIBUTES)
    for name, note in notes.items() if isinstance(notes, dict) else ():
        if not isinstance(note, dict):
            continue
        with suppress(*_MISFITS):
            if note.get("kind") == "hidden":
                if name not in attributes:
                    attributes[name] = _typed(note.get("value"), note.get("note"))
            elif name in attributes:
                value = _typed(attributes[name], note)
                if is_same(plain_value(value), attributes[name]):
                    attributes[name] = value
    return attributes


def apart_attributes(node: Node) -> dict[str, Any]:
    """Attributes that stand in no document, since readers would go by them: they are given back after decoding."""
    notes = note_of(node, ATTRIBUTES)
    found: dict[str, Any] = {}
    for name, note in notes.items() if isinstance(notes, dict) else ():
        if isinstance(note, dict) and note.get("kind") == "apart":
            with suppress(*_MISFITS):
                found[name] = _typed(note.get("value"), note.get("note"))
    return found


def _typed(value: JSON, note: JSON) -> Any:
    """A value as its note has it. Raises one of `_MISFITS` where the note does not fit."""
    if note is None:
        return value
    note = an_object(note, "a note")
    kind = member(note, "kind", str)
    if kind == "bytes":
        return base64.b64decode(member(note, "value", str), validate=True)
    if kind == "float":
        return float(member(note, "value", str))
    if kind == "complex":
        return complex(member(note, "value", str))
    if kind in ("list", "tuple"):
        notes = member(note, "items", dict)
        items = [_typed(item, notes.get(str(i))) for i, item in enumerate(a_list(value, "the value"))]
        return tuple(items) if kind == "tuple" else items
    if kind == "dict":
        return _typed_mapping(an_object(value, "the value"), note)
    if "shape" not in note:
        return _typed_array(kind, value, note, ())[()]
    shape = sizes(note, "shape")
    return _typed_array(kind, value, note, shape).reshape(shape)


def _typed_mapping(value: JSONObject, note: JSONObject) -> dict[Any, Any]:
    notes = member(note, "items", dict)
    items = {key: _typed(item, notes.get(key)) for key, item in value.items()}
    if "keys" not in note:
        return items
    keys = [a_list(key, "a key") for key in member(note, "keys", list)]
    if [text for text, *_ in keys] != list(items):
        raise ValueError("other keys")
    typed = (_typed(key, more[0] if more else None) for _, key, *more in keys)
    return dict(zip(typed, items.values(), strict=True))


def _typed_array(kind: str, value: JSON, note: JSONObject, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    if kind in ("numbers", "others"):
        name = member(note, "dtype", str)
        if not (_NUMBERS if kind == "numbers" else _OTHERS).fullmatch(name):
            raise ValueError("no dtype of these")
        dtype = np.dtype(name)
        if "value" in note:
            raw = base64.b64decode(member(note, "value", str), validate=True)
            flat = np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype)
            return flat if "shape" in note else flat.reshape(())
        return np.array(value, dtype)
    if kind == "texts":
        return np.array(_padded(value, str), np.str_)
    items = _typed(value, note.get("note"))
    if kind == "bytes array":
        return np.array(_padded(items, bytes), np.bytes_)
    if kind != "objects":
        raise ValueError("unknown kind")
    elements = _flat(items, len(shape))
    if math.prod(shape) != len(elements):
        raise ValueError("another shape")
    is_text = note.get("strings") is True
    flat_items = np.empty(len(elements), np.dtypes.StringDType() if is_text else np.dtype(object))
    flat_items[:] = elements
    return flat_items


def _padded(value: Any, kind: type[str] | type[bytes]) -> Any:
    """Nested lists of texts, which an array of NumPy's can hold without taking more memory than anybody expects."""
    n, longest, waiting = 0, 0, [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += item
        elif isinstance(item, kind):
            n, longest = n + 1, max(longest, len(item))
        else:
            raise ValueError("no text")
    if n * longest > _MOST_PADDED:
        raise ValueError("too large")
    return value


def _flat(items: Any, ndim: int) -> list[Any]:
    for _ in range(ndim - 1):
        items = [item for part in items for item in part]
    return list(items) if ndim else [items]
