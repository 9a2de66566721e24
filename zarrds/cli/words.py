"""What users type -> values: selections, options, attributes; what does not parse is told with its position."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from zarrds.errors import SelectionError

__all__ = ["chunk_sizes", "name_and_text", "new_names", "parse_isel", "parse_sel", "settings"]

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\Z")
_INTEGER = re.compile(r"[+-]?\d{1,400}\Z")  # Python reads no more digits than some thousands


def name_and_text(word: str, what: str = "name=value") -> tuple[str, str]:
    """Both sides of the first equals sign.

    Examples
    --------
    >>> name_and_text("time=2019-03..2019-04")
    ('time', '2019-03..2019-04')
    """
    name, equals, text = word.partition("=")
    if not name or not equals:
        raise _malformed(word, 0 if not name else len(word), what)
    return name, text


def _malformed(word: str, position: int, expected: str) -> SelectionError:
    return SelectionError(
        f"cannot read {word!r} at character {position + 1}",
        expected=expected,
        found=repr(word[position:]) if word[position:] else "the end",
    )


def _check_new(name: str, found: Mapping[str, Any], word: str, position: int) -> None:
    if name in found:
        raise _malformed(word, position, f"{name!r} only once")


def parse_sel(words: Iterable[str]) -> dict[str, Any]:
    """Selections by label: ``name=label``, ``name=first..last`` (either end may be missing), ``name=a,b,c``.

    Numbers become numbers, everything else stays text: xarray knows times by it. In quotes all is text.

    Examples
    --------
    >>> parse_sel(["time=2019-03..2019-04", "lat=51.5", "member=1,3", "name='a,b'"])
    {'time': slice('2019-03', '2019-04', None), 'lat': 51.5, 'member': [1, 3], 'name': 'a,b'}
    """
    found: dict[str, Any] = {}
    for word in words:
        name, text = name_and_text(word, "name=label, name=first..last or name=a,b,c")
        _check_new(name, found, word, 0)
        offset = len(name) + 1
        if not text:
            raise _malformed(word, offset, "a label")
        if text[0] in "'\"":
            if len(text) < 2 or text[-1] != text[0]:
                raise _malformed(word, len(word), f"a closing {text[0]}")
            found[name] = text[1:-1]
        elif ".." in text:
            first, _, last = text.partition("..")
            if ".." in last or last.startswith("."):
                raise _malformed(word, offset + len(first) + 2, "a label, after one '..'")
            found[name] = slice(_label(first) if first else None, _label(last) if last else None)
        elif "," in text:
            parts = text.split(",")
            if "" in parts:
                raise _malformed(word, offset + len(",".join(parts[: parts.index("")])) + 1, "a label after each comma")
            found[name] = [_label(part) for part in parts]
        else:
            found[name] = _label(text)
    return found


def _label(text: str) -> int | float | str:
    if _INTEGER.match(text):
        # four digits may be a year, which xarray takes as text only: `as_labels` decides by the labels
        return int(text)
    return float(text) if _NUMBER.match(text) else text


def parse_isel(words: Iterable[str]) -> dict[str, Any]:
    """Selections by position: ``name=3``, ``name=0:10`` or ``name=0:10:2`` as in Python, ``name=1,2,5``.

    Examples
    --------
    >>> parse_isel(["x=0:10", "y=-1", "z=::2"])
    {'x': slice(0, 10, None), 'y': -1, 'z': slice(None, None, 2)}
    """
    found: dict[str, Any] = {}
    for word in words:
        name, text = name_and_text(word, "name=3, name=0:10 or name=1,2,5")
        _check_new(name, found, word, 0)
        separator = ":" if ":" in text else ","
        numbers: list[int | None] = []
        position = len(name) + 1
        for part in text.split(separator):
            if not (_INTEGER.match(part) or (separator == ":" and part == "")):
                raise _malformed(word, position, "a whole number")
            numbers.append(int(part) if part else None)
            position += len(part) + 1
        if separator == ":":
            if len(numbers) > 3 or (len(numbers) == 3 and numbers[2] is not None and numbers[2] < 1):
                raise _malformed(word, len(name) + 1, "start:stop or start:stop:step, with a step of at least 1")
            found[name] = slice(*numbers)
        else:
            found[name] = numbers[0] if len(numbers) == 1 else numbers
    return found


def new_names(words: Iterable[str]) -> dict[str, str]:
    """``old=new`` pairs, each old name once.

    Examples
    --------
    >>> new_names(["t2m=temperature", "lat=latitude"])
    {'t2m': 'temperature', 'lat': 'latitude'}
    """
    found: dict[str, str] = {}
    for word in words:
        old, new = name_and_text(word, "old=new")
        if not new:
            raise _malformed(word, len(word), "a new name")
        _check_new(old, found, word, 0)
        found[old] = new
    return found


def settings(words: Iterable[str]) -> dict[str, Any]:
    """``name=value`` pairs; a value that is JSON becomes what it says, everything else is text.

    Examples
    --------
    >>> settings(["anon=true", "units=K", "levels=[1, 2]"])
    {'anon': True, 'units': 'K', 'levels': [1, 2]}
    """
    found: dict[str, Any] = {}
    for word in words:
        name, text = name_and_text(word)
        _check_new(name, found, word, 0)
        found[name] = _json_or_text(text)
    return found


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text


def chunk_sizes(text: str) -> Mapping[str, int]:
    """``time=24,lat=-1``: elements along dimensions, -1 for all.

    Examples
    --------
    >>> chunk_sizes("time=24,lat=-1")
    {'time': 24, 'lat': -1}
    """
    found: dict[str, int] = {}
    position = 0
    for part in text.split(","):
        name, equals, number = part.partition("=")
        if not name or not equals or not _INTEGER.match(number) or int(number) == 0 or int(number) < -1:
            at = position + len(name) + 1 if name and equals else position
            raise _malformed(text, at, "name=number, joined by commas; -1 for the whole dimension")
        _check_new(name, found, text, position)
        found[name] = int(number)
        position += len(part) + 1
    return found
