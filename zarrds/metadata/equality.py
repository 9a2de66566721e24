"""Whether two values of metadata are the same: what ``==`` says of NaN, of 1 and true, is no answer to that.

Two nodes are compared to find out whether a document must be written, or whether another writer has changed it. NaN is
the fill value of most floats, and JSON gives a new one for each document that is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["is_same"]

_PLAIN = frozenset({str, int, bool, type(None)})  # of which == says it
_MAPPINGS, _LISTS = (dict, Mapping), (list, tuple)  # the usual ones first


def is_same(one: object, other: object) -> bool:
    """Whether two JSON values, fill values, or lists or mappings of such would be stored alike.

    NaN is the same as NaN. 1, 1.0 and true are three values, and so are 0.0 and -0.0: attributes keep their types. A
    list is the same as a tuple, and the order of a mapping's members does not matter.

    Parameters
    ----------
    one, other : object
        Nested to any depth.

    Examples
    --------
    >>> is_same({"valid": [float("nan"), 1]}, {"valid": (float("nan"), 1)})
    True
    >>> is_same(1, 1.0), is_same(1, True), is_same(0.0, -0.0)
    (False, False, False)
    """
    waiting: list[tuple[Any, Any]] = [(one, other)]  # not by recursion: documents may be nested deeply
    while waiting:
        a, b = waiting.pop()
        if a is b:
            continue
        if type(a) in _PLAIN and type(a) is type(b):  # most of what documents hold
            if a != b:
                return False
        elif isinstance(a, _MAPPINGS) and isinstance(b, _MAPPINGS):
            if a.keys() != b.keys():
                return False
            waiting += [(value, b[name]) for name, value in a.items()]
        elif isinstance(a, _LISTS) and isinstance(b, _LISTS):
            if len(a) != len(b):
                return False
            waiting += zip(a, b, strict=True)
        elif isinstance(a, np.generic | np.ndarray) and isinstance(b, np.generic | np.ndarray):
            if a.dtype != b.dtype or a.shape != b.shape:
                return False
            if a.tobytes() != b.tobytes() or a.dtype.hasobject:  # of NaN there are many
                waiting.append((a.tolist(), b.tolist()))
        elif not _is_same_scalar(_plain(a), _plain(b)):
            return False
    return True


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _is_same_scalar(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, complex):
        return _is_same_scalar(one.real, other.real) and _is_same_scalar(one.imag, other.imag)
    return bool(one == other)
