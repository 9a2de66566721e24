"""Values that can stand for what is missing, since no element of a stored array is equal to them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import xarray as xr

from zarrds.datasets.encoding.chunks import whole_chunks
from zarrds.datasets.writing.room.growing import check_rewritable
from zarrds.engine.blocks import BLOCK_NBYTES
from zarrds.errors import EncodingError

__all__ = ["blocks_of", "free_integer", "free_text"]

_MAX_CANDIDATES = 2**16
# bytes of stored elements (of text as objects: their pointers) that are looked through for a value that none of them is
_MAX_SEARCHED = {"text": 2**28, "numbers": 2**32}


def _edge(dtype: np.dtype[Any]) -> range:
    """Integers from the edge of their range on."""
    limits = np.iinfo(dtype)
    if dtype.kind == "i":
        return range(int(limits.min), min(int(limits.max) + 1, int(limits.min) + _MAX_CANDIDATES))
    return range(int(limits.max), max(-1, int(limits.max) - _MAX_CANDIDATES), -1)


def free_integer(
    name: str, dtype: np.dtype[Any], new: np.ndarray[Any, Any], there: xr.Variable
) -> tuple[np.dtype[Any], int]:
    """An integer that is neither among new nor among stored ones, of a dtype, or of a wider one if it has none."""
    wider = [np.dtype(f"{dtype.kind}{size}") for size in (2, 4, 8) if size > dtype.itemsize]
    limits = np.iinfo(there.dtype)
    among_new = set(new.tolist())
    for each in (dtype, *wider):
        if each != there.dtype.newbyteorder("="):
            check_rewritable(name, there.size * each.itemsize)
        free = [value for value in _edge(each) if value not in among_new]
        inside = [value for value in free if limits.min <= value <= limits.max]
        if free and free[0] not in inside[:1]:
            return each, free[0]
        if inside:
            taken = _integers_taken(name, min(inside), max(inside), there)
            if (found := next((value for value in free if value not in taken), None)) is not None:
                return each, found
    raise _nothing_left(name)


def _integers_taken(name: str, low: int, high: int, there: xr.Variable) -> set[int]:
    """Which of the integers from `low` to `high`, that the stored dtype holds, are stored."""
    _check_searchable(name, there, "numbers")
    taken = np.zeros(high - low + 1, bool)
    for block in blocks_of(there):
        near = block[(block >= low) & (block <= high)]
        taken[(near if near.dtype.itemsize == 8 else near.astype(np.int64)) - low] = True
        if taken.all():
            break
    return {low + int(n) for n in np.flatnonzero(taken)}


def free_text(name: str, candidates: Iterable[Any], new: np.ndarray[Any, Any], there: xr.Variable) -> Any:
    """Text, or bytes, that is neither among new nor among stored ones."""
    _check_searchable(name, there, "text")
    among_new = set(new.tolist())
    wanted = [text for text in itertools.islice(candidates, 1000) if text not in among_new]
    left = set(wanted)
    for block in blocks_of(there):
        left.difference_update(block.reshape(-1).tolist())
    if not left:
        raise _nothing_left(name)
    return next(text for text in wanted if text in left)


def _nothing_left(name: str) -> EncodingError:
    return EncodingError(
        f"no value is left to stand for what is missing in variable {name!r}", key=name, mend="Save the variable anew"
    )


def _check_searchable(name: str, there: xr.Variable, kind: str) -> None:
    """Check that so much of an array may be read to find a value that stands for what is missing."""
    if there.nbytes > _MAX_SEARCHED[kind]:
        raise EncodingError(
            f"variable {name!r} has no value for what is missing, and is too large to be looked through for a free one",
            key=name,
            expected=f"at most {_MAX_SEARCHED[kind]} bytes",
            found=there.nbytes,
            mend="Fill what is missing, or save the variable anew with what is missing in it",
        )


def blocks_of(variable: xr.Variable) -> Iterator[np.ndarray[Any, Any]]:
    """The elements of a variable, some whole chunks at a time."""
    return (np.asarray(variable[part].values) for part in whole_chunks(variable, BLOCK_NBYTES))
