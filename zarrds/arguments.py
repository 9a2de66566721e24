"""What users are told of their calls: arguments of a wrong type, by their names; unknown names; warnings."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Collection, Hashable, Mapping
from difflib import get_close_matches
from operator import index
from typing import Any

from zarrds.errors import EncodingError, InvalidKeyError

__all__ = [
    "check_choice",
    "check_dims",
    "check_encoding",
    "check_flags",
    "check_given",
    "check_mappings",
    "check_numbers",
    "check_paths",
    "check_several",
    "check_sizes",
    "check_texts",
    "hashables_of",
    "names_of",
    "near_names",
    "nearest",
    "path_of_file",
    "text_of_path",
    "warn",
    "whole_number",
]

# packages that stand between the user's call and zarrds
_PASSED_BY = frozenset({"zarrds", "xarray", "pandas", "contextlib"})


def check_texts(**texts: Any) -> None:
    """Check that each argument is text, or None.

    Raises
    ------
    EncodingError
        Which names the first that is not.

    Examples
    --------
    >>> check_texts(group="a/b")
    >>> try:
    ...     check_texts(group=5)
    ... except TypeError as error:
    ...     print(error)
    group is of a wrong type: expected text, or None, found 5
    """
    for name, value in texts.items():
        if value is not None and not isinstance(value, str):
            raise _wrong(name, "text, or None", value)


def check_paths(**paths: Any) -> None:
    """Check that each argument is text: the path of an array or a group in a store, or a URL."""
    for name, value in paths.items():
        if not isinstance(value, str):
            raise _wrong(name, "text", value)


def text_of_path(**path: Any) -> str:
    """A path as text, of one argument that is text or `os.PathLike`."""
    ((name, value),) = path.items()
    text: object = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise _wrong(name, "a path", value)
    return text


def path_of_file(**path: Any) -> str:
    """The path of a file as text; see `text_of_path`."""
    text = text_of_path(**path)
    try:
        os.fsencode(text)
        is_path = "\0" not in text
    except UnicodeEncodeError:
        is_path = False
    if not is_path:
        raise InvalidKeyError("no file can have this path", path=text, mend="Use another path")
    return text


def nearest(name: object, there: Collection[object]) -> str:
    """What to do about a name that is not there: offers those nearest to it, or else lists what there is.

    Examples
    --------
    >>> nearest("t2n", ["t2m", "time"]), nearest("x", ["t2m", "time"]), nearest("x", [])
    ("Did you mean 't2m'?", 'There is: t2m, time', 'There is none')
    """
    names = sorted(map(str, there))
    if (near := near_names(name, names)) is not None:
        return near
    return f"There is: {', '.join(names[:20])}{', …' if names[20:] else ''}" if names else "There is none"


def near_names(name: object, there: Collection[str]) -> str | None:
    """Those names that one which is not there is nearly, as a question; None if there are none."""
    near = get_close_matches(str(name), sorted(there), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(map(repr, near))}?" if near else None


def check_given(**arguments: Any) -> None:
    """Check that no argument is None."""
    for name, value in arguments.items():
        if value is None:
            raise _wrong(name, "something", value)


def check_mappings(**mappings: Any) -> None:
    """Check that each argument is a mapping, or None."""
    for name, value in mappings.items():
        if value is not None and not isinstance(value, Mapping):
            raise _wrong(name, "a dict, or None", value)


def check_encoding(encoding: Any) -> None:
    """Check that an argument `encoding` is None, or a mapping of mappings."""
    check_mappings(encoding=encoding)
    for name, value in (encoding or {}).items():
        if not isinstance(value, Mapping):
            raise _wrong(f"encoding[{name!r}]", "a dict", value)


def check_sizes(**mappings: Any) -> None:
    """Check that each argument is None, or a mapping to integers."""
    check_mappings(**mappings)
    for argument, sizes in mappings.items():
        for name, value in (sizes or {}).items():
            try:
                whole_number(value)
            except TypeError:
                raise _wrong(f"{argument}[{name!r}]", "an integer", value) from None


def check_flags(**flags: Any) -> None:
    """Check that each argument is true or false, or None: a text such as ``"no"`` would be taken for true."""
    for name, value in flags.items():
        is_flag = type(value).__name__ in ("bool", "bool_") or (type(value) is int and value in (0, 1))
        if value is not None and not is_flag:
            raise _wrong(name, "True or False", value)


def whole_number(value: Any) -> int:
    """An integer, NumPy's among them, as Python's own.

    Raises
    ------
    TypeError
        For all else; also for True and False, which would count as 1 and 0.

    Examples
    --------
    >>> whole_number(3)
    3
    """
    if isinstance(value, bool):
        raise TypeError("True and False are no numbers")
    return index(value)


def check_numbers(**numbers: Any) -> None:
    """Check that each argument is a number of things, at least 1, or None."""
    for name, value in numbers.items():
        try:
            is_number = value is None or whole_number(value) >= 1
        except TypeError:
            is_number = False
        if not is_number:
            raise _wrong(name, "an integer of at least 1, or None", value)


def names_of(**names: Any) -> list[str] | None:
    """The names of one argument that is a name, several of them, or None."""
    return _listed(str, "a name, or several, which are text", **names)


def check_several(**several: Any) -> None:
    """Check that each argument is one text, several things, or None."""
    for name, value in several.items():
        if value is not None and (not _is_iterable(value) or isinstance(value, bytes | bytearray)):
            raise _wrong(name, "a name, or several", value)


def check_dims(**dims: Any) -> None:
    """Check that each argument can be the name of a dimension: hashable, or None."""
    for name, value in dims.items():
        if not isinstance(value, Hashable):
            raise _wrong(name, "the name of a dimension, or None", value)


def check_choice(known: Collection[Any], **choices: Any) -> None:
    """Check that each argument is one of those that are known."""
    for name, value in choices.items():
        try:
            is_known = bool(value in known)
        except (TypeError, ValueError):  # of what compares as an array does, or as pd.NA
            is_known = False
        if not is_known:
            expected = "one of " + ", ".join(map(repr, known))
            raise EncodingError(f"unknown {name}", expected=expected, found=f"{value!r:.80}")


def hashables_of(**names: Any) -> set[Any]:
    """As `names_of`, of names that need not be text, none for None."""
    return set(_listed(Hashable, "a name, or several", **names) or ())


def _listed(kind: type, expected: str, **names: Any) -> list[Any] | None:
    """What one argument names, all of that kind; None for None."""
    check_several(**names)
    ((argument, value),) = names.items()
    if value is None:
        return None
    found = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(each, kind) for each in found):
        raise _wrong(argument, expected, value)
    return found


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn where the user has called: at the first frame that is neither of zarrds nor of what stands between."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _PASSED_BY:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_iterable(value: object) -> bool:
    try:
        iter(value)  # type: ignore[call-overload]  # asked of what may be none: an array without dimensions looks like one
    except TypeError:
        return False
    return True


def _wrong(name: str, expected: str, value: object) -> EncodingError:
    return EncodingError(f"{name} is of a wrong type", expected=expected, found=f"{value!r:.80}")
