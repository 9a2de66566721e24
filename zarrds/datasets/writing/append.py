"""Where new labels go along a dimension, and whether labels are those of the store; nothing is read or written here."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.datasets.encoding.comparison import (
    ORDERED,
    Labels,
    as_array,
    check_dims,
    comparable,
    label_text,
    position_text,
    positions_of,
)
from zarrds.errors import EncodingError, LabelError

__all__ = ["OnOverlap", "Placement", "check_goes_on", "check_same_labels", "check_sizes", "place_labels"]

OnOverlap: TypeAlias = Literal["error", "replace", "skip"]
Array: TypeAlias = "np.ndarray[Any, Any]"
# bytes of a variable that are compared at once
_PART = 64 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where new labels go along the dimension that they are appended to.

    Attributes
    ----------
    start : int
        Where the first of the new labels that are kept goes; the others follow it.
    keep : slice or array of int
        Which of the new labels are written.
    size : int
        Of the dimension, afterwards.
    """

    start: int
    keep: slice | Array
    size: int


def place_labels(dim: Hashable, stored: Labels, new: Labels, on_overlap: OnOverlap = "error") -> Placement:
    """Where `new` labels go behind the `stored` ones.

    Numbers and times must go on strictly increasing, or strictly decreasing, as the stored ones do. One stored label,
    or none, has no order yet: then the new ones give it. Where the stored labels are in no order, and for strings and
    all other objects, labels need only be unique. Where stored labels are not even that (they occur twice), new ones
    may occur twice too, but still not overlap.

    Parameters
    ----------
    dim : hashable
        For messages.
    stored, new : array or Index
        Decoded labels, of one dimension.
    on_overlap : {"error", "replace", "skip"}
        What becomes of new labels that are stored already. To be replaced, they must come first among the new ones and
        be one block of the store, which ends at the store's end if more labels follow.

    Raises
    ------
    LabelError
        For labels that overlap, go backwards, occur twice, are missing, or are of another kind.

    Examples
    --------
    >>> import numpy as np
    >>> place_labels("time", np.array([1, 2, 3]), np.array([3, 4]), "replace")
    Placement(start=2, keep=slice(0, 2, None), size=4)
    >>> place_labels("time", np.array([1, 2, 3]), np.array([3, 4]), "skip")
    Placement(start=3, keep=slice(1, 2, None), size=4)
    """
    if on_overlap not in ("error", "replace", "skip"):
        raise EncodingError("unknown on_overlap", expected="'error', 'replace' or 'skip'", found=f"{on_overlap!r:.80}")
    shown_stored, shown = as_array(stored), as_array(new)
    kind, old, fresh = comparable(dim, shown_stored, shown)
    _refuse_missing(dim, shown_stored, "the store has a missing label")
    _refuse_missing(dim, shown, "a new label is missing")
    positions = positions_of(dim, old, fresh)
    overlapping = positions >= 0
    if pd.Index(old).is_unique:
        _refuse_twice(dim, fresh, shown)
    if overlapping.any() and on_overlap == "error":
        raise LabelError(
            "labels overlap with those of the store",
            key=str(dim),
            found=f"{label_text(shown[overlapping][0])} ({overlapping.sum()} of {len(new)} are stored already)",
            mend="Pass on_overlap='replace' to write them anew or on_overlap='skip' to leave them out",
        )
    if kind.startswith(ORDERED):
        rest = ~overlapping
        _check_order(
            dim, old, np.concatenate([old[-1:], fresh[rest]]), np.concatenate([shown_stored[-1:], shown[rest]])
        )
    n_stored, n_new = len(old), len(fresh)
    if on_overlap == "replace" and overlapping.any():
        _check_block(dim, old, positions, shown)
        start = int(positions[0])
        return Placement(start, slice(0, n_new), max(n_stored, start + n_new))
    keep = _as_slice(np.flatnonzero(~overlapping))
    return Placement(n_stored, keep, n_stored + n_new - int(overlapping.sum()))


def check_goes_on(dim: Hashable, stored: Labels, new: Labels) -> None:
    """Check that new labels go on as the stored ones do, where those strictly increase or decrease.

    Raises
    ------
    LabelError

    Examples
    --------
    >>> import numpy as np
    >>> check_goes_on("time", np.array([1, 2, 3]), np.array([4, 5]))
    """
    shown_stored, shown = as_array(stored), as_array(new)
    _, old, fresh = comparable(dim, shown_stored, shown)
    keys, texts = np.concatenate([old[-1:], fresh]), np.concatenate([shown_stored[-1:], shown])
    _check_order(dim, old, keys, texts)


def check_sizes(
    name: Hashable,
    stored: xr.Variable,
    new: xr.Variable,
    *,
    region: Mapping[Any, slice] | None = None,
    append_dim: Hashable | None = None,
) -> None:
    """Check that a variable has the store's dimensions, in any order, and its sizes.

    Parameters
    ----------
    name : hashable
    stored, new : Variable
    region : mapping of dimension to slice, optional
        The part of the stored variable that the new one must have the size of; slices have start and stop.
    append_dim : hashable, optional
        The dimension along which any size is right.

    Raises
    ------
    LabelError

    Examples
    --------
    >>> import xarray as xr
    >>> check_sizes("v", xr.Variable("x", [1, 2, 3]), xr.Variable("x", [7]), region={"x": slice(2, 3)})
    """
    check_dims(name, stored, new)
    expected = dict(stored.sizes)
    for dim, part in (region or {}).items():
        if dim in expected:
            expected[dim] = part.stop - part.start
    different = [dim for dim in stored.dims if dim != append_dim and expected[dim] != new.sizes[dim]]
    if different:
        raise LabelError(
            f"variable {name!r} already exists with different dimension sizes",
            key=str(name),
            expected={dim: expected[dim] for dim in different},
            found={dim: new.sizes[dim] for dim in different},
            mend="Use append_dim= to grow a dimension, and region= to write a part of one",
        )


def check_same_labels(
    name: Hashable,
    stored: xr.Variable,
    new: xr.Variable,
    *,
    what: str = "labels",
    mend: str = "Reindex or align the dataset to the stored labels, or drop the coordinate",
    read: Callable[[xr.Variable], xr.Variable] | None = None,
) -> None:
    """Check that a coordinate, or another variable that is to stay, equals the stored one; both are read, in parts.

    Times are compared as instants, strings of any dtype as strings, floats exactly but in the stored dtype, and missing
    labels equal each other.

    Parameters
    ----------
    name : hashable
    stored, new : Variable
        Decoded; the new one's dimensions may be in another order.
    what, mend : str
        For the message.
    read : callable, optional
        What a reader would see of a part of the new variable, were it stored; the part itself unless said.

    Raises
    ------
    LabelError
        Naming the first label that differs.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> check_same_labels("x", xr.Variable("x", np.float32([0.1, 0.2])), xr.Variable("x", [0.1, 0.2]))
    """
    check_sizes(name, stored, new)
    new = new.transpose(*stored.dims)
    first: tuple[list[int], Any, Any] | None = None
    n_different = 0
    for start, part in _parts(stored):
        one, other = stored[part], new[part]
        before, after = (as_array(v.values).ravel() for v in (one, other if read is None else read(other)))
        _, old, fresh = comparable(name, before, after)
        equal = np.asarray(old == fresh, bool) | (pd.isnull(before) & pd.isnull(after))
        if not equal.all():
            n_different += int(equal.size - np.count_nonzero(equal))
            i = int(np.argmin(equal))
            at = [int(n) for n in np.unravel_index(i, one.shape)]
            first = first or ([start + at[0], *at[1:]] if at else at, before[i], after[i])
    if first is not None:
        raise LabelError(
            f"{what} of {str(name)!r} are not those of the store: {n_different} of {stored.size} differ, "
            f"the first at {position_text(stored.dims, first[0])}",
            key=str(name),
            expected=label_text(first[1]),
            found=label_text(first[2]),
            mend=mend,
        )


def _parts(variable: xr.Variable) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Parts of a variable that fit into memory, each with its start along the first dimension."""
    if not variable.ndim or variable.nbytes <= _PART:
        yield 0, (slice(None),) * variable.ndim
        return
    step = max(1, variable.shape[0] * _PART // variable.nbytes)
    for start in range(0, variable.shape[0], step):
        yield start, (slice(start, start + step), *(slice(None),) * (variable.ndim - 1))


def _refuse_missing(dim: Hashable, labels: Array, problem: str) -> None:
    missing = pd.isnull(labels)
    if missing.any():
        raise LabelError(
            problem,
            key=str(dim),
            found=f"{label_text(labels[missing][0])} at position {int(np.argmax(missing))}",
            mend="Labels of a dimension that is appended to must all be there: drop or fill them first",
        )


def _refuse_twice(dim: Hashable, keys: Array, shown: Array) -> None:
    twice = pd.Index(keys, dtype=keys.dtype).duplicated()
    if twice.any():
        raise LabelError(
            "new labels occur more than once",
            key=str(dim),
            found=f"{label_text(shown[twice][0])} again at position {int(np.argmax(twice))}",
            mend="Drop the duplicates first, for example with drop_duplicates",
        )


def _direction(keys: Array) -> int:
    """1 where labels strictly increase, -1 where they strictly decrease, else 0."""
    if np.all(keys[1:] > keys[:-1]):
        return 1
    return -1 if np.all(keys[1:] < keys[:-1]) else 0


def _check_order(dim: Hashable, old: Array, keys: Array, shown: Array) -> None:
    """Check that `keys`, the last of the old and the new ones behind it, go on as the old ones do."""
    direction = _direction(old if len(old) > 1 else keys[:2])
    if direction == 0 or len(keys) < 2:
        return
    steps = keys[1:] > keys[:-1] if direction == 1 else keys[1:] < keys[:-1]
    wrong = np.flatnonzero(~np.asarray(steps, bool))
    if wrong.size:
        before, after = shown[wrong[0]], shown[wrong[0] + 1]
        raise LabelError(
            f"labels go backwards: they must go on {'increasing' if direction == 1 else 'decreasing'}",
            key=str(dim),
            expected=f"labels {'above' if direction == 1 else 'below'} {label_text(before)}",
            found=f"{label_text(after)} behind it",
            mend="Sort the dataset along the dimension and append only what comes after the store's last label",
        )


def _check_block(dim: Hashable, old: Array, positions: Array, shown: Array) -> None:
    """Check that labels that are to be replaced are one block of the store, and that it can be written in one piece."""
    overlapping = positions >= 0
    block = positions[overlapping]
    problem = None
    if not overlapping[: len(block)].all():
        problem = f"the new label {label_text(shown[~overlapping][0])} stands before some that are stored already"
    elif np.any(np.diff(block) != 1):
        turn = int(np.argmax(np.diff(block) != 1))
        problem = f"{label_text(shown[turn])} and {label_text(shown[turn + 1])} are not neighbours in the store"
    elif len(block) < len(shown) and block[-1] != len(old) - 1:
        problem = f"the store goes on behind {label_text(shown[len(block) - 1])}, so that new labels cannot follow it"
    elif pd.Index(old).duplicated(keep=False)[block].any():
        problem = "labels occur more than once in the store, so that it is not clear which to replace"
    if problem is not None:
        raise LabelError(
            f"labels cannot be replaced: {problem}",
            key=str(dim),
            mend="Write the stored ones with region= and append the others",
        )


def _as_slice(kept: Array) -> slice | Array:
    """Positions as a slice, if they follow each other."""
    if not kept.size:
        return slice(0, 0)
    first, last = int(kept[0]), int(kept[-1])
    return slice(first, last + 1) if last - first + 1 == kept.size else kept
