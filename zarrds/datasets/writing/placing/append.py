"""Where new labels go along a dimension, and whether labels are those of the store; nothing is read or written here."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.datasets.encoding.chunks import whole_chunks
from zarrds.datasets.encoding.exact.comparison import (
    ORDERED,
    Labels,
    as_array,
    check_dims,
    comparable,
    equal_structures,
    label_text,
    masks_as_numbers,
    position_text,
    positions_of,
)
from zarrds.datasets.writing.changes import OnOverlap, OnUnordered, Placement
from zarrds.errors import LabelError

__all__ = [
    "check_goes_on",
    "check_same_labels",
    "check_same_things",
    "check_sizes",
    "is_labelled",
    "place_labels",
]

Array: TypeAlias = "np.ndarray[Any, Any]"
# bytes of a variable that are compared at once
_PART = 16 * 2**20
_RERUN = (
    "Pass on_overlap='replace' to write them anew or on_overlap='skip' to leave them out; "
    "on_overlap='append' stores them once more"
)
# as the next chromosome does, whose positions are stored of another
_AGAIN = "Pass on_overlap='append' if they stand for other things than the stored ones"
_NONE = (
    "If these labels need no order, as ids or members, pass on_unordered='append' to zarrds.save; else sort the "
    "dataset first (several inputs: give them in this order)"
)


def place_labels(
    dim: Hashable,
    stored: Labels,
    new: Labels,
    on_overlap: OnOverlap = "error",
    on_unordered: OnUnordered = "error",
) -> Placement:
    """Where `new` labels go behind the `stored` ones; both are judged alike, whatever order the stored ones are in.

    - No new label may be there twice when all is written, unless `on_overlap` is ``"append"``.
    - Numbers and times must then be in one order, increasing or decreasing, unless `on_unordered` is ``"append"``. One
      stored label, or none, has no order yet: then the new ones give it. Strings and other objects have none.

    Parameters
    ----------
    dim : hashable
        For messages.
    stored, new : array or Index
        Decoded labels, of one dimension.
    on_overlap : {"error", "replace", "skip", "append"}
        What becomes of new labels that are stored already, or occur twice. To be replaced, they must come first among
        the new ones and be one block of the store, which ends at the store's end if more labels follow. To be
        appended, they are stored once more.
    on_unordered : {"error", "append"}
        What becomes of numbers and times that do not go on as the stored ones do.

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
    >>> place_labels("site", np.array([1, 2, 3]), np.array([3, 1]), "append", "append")
    Placement(start=3, keep=slice(0, 2, None), size=5)
    """
    shown_stored, shown = as_array(stored), as_array(new)
    kind, old, fresh = comparable(dim, shown_stored, shown)
    _refuse_missing(dim, shown_stored, "the store has a missing label")
    _refuse_missing(dim, shown, "a new label is missing")
    positions = positions_of(dim, old, fresh)
    overlapping = positions >= 0
    added = np.ones(len(fresh), bool) if on_overlap == "append" else ~overlapping
    if on_overlap != "append":
        _refuse_twice(dim, fresh, shown)
    if overlapping.any() and on_overlap == "error":
        raise LabelError(
            "labels overlap with those of the store",
            key=str(dim),
            found=f"{label_text(shown[overlapping][0])} ({overlapping.sum()} of {len(new)} are stored already)",
            mend=_RERUN if _block_problem(old, positions, shown) is None else _AGAIN,
        )
    if kind.startswith(ORDERED) and on_unordered == "error":
        _check_order(dim, old, fresh[added], shown_stored, shown[added])
    n_stored, n_new = len(old), len(fresh)
    if on_overlap == "replace" and overlapping.any():
        if problem := _block_problem(old, positions, shown):
            raise LabelError(
                f"labels cannot be replaced: {problem}",
                key=str(dim),
                mend="Write the stored ones with region= and append the others",
            )
        start = int(positions[0])
        return Placement(start, slice(0, n_new), max(n_stored, start + n_new))
    return Placement(n_stored, _as_slice(np.flatnonzero(added)), n_stored + int(added.sum()))


def check_goes_on(dim: Hashable, stored: Labels, new: Labels) -> None:
    """Check that new labels go on as the stored ones do.

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
    _check_order(dim, old, fresh, shown_stored, shown)


def check_same_things(
    dim: Hashable, stored: Labels, new: Labels, others: Mapping[str, tuple[xr.Variable, xr.Variable]]
) -> None:
    """Check that labels which are stored already stand for the same things: a position on another contig does not.

    Parameters
    ----------
    dim : hashable
    stored, new : array or Index
        Labels of the dimension.
    others : mapping of str to pair of Variable
        Stored and new variables along it that say the rest.

    Raises
    ------
    LabelError
    """
    shown_stored, shown = as_array(stored), as_array(new)
    _, old, fresh = comparable(dim, shown_stored, shown)
    positions = positions_of(dim, old, fresh)
    if not (overlapping := np.flatnonzero(positions >= 0)).size:
        return
    for name, (there, here) in others.items():
        before = there.isel({dim: positions[overlapping]})
        try:
            check_same_labels(name, before, here.isel({dim: overlapping}))
        except LabelError as error:
            raise LabelError(
                f"labels overlap with those of the store, and stand for something else: {name!r} differs",
                key=str(dim),
                expected=error.expected,
                found=error.found,
                mend="Pass on_overlap='append' and on_unordered='append' to keep both",
            ) from error


def is_labelled(dim: Hashable, variables: Mapping[Any, xr.Variable]) -> bool:
    """Whether a dimension has labels; a variable of its name with more dimensions (the depths of levels) is none.

    Examples
    --------
    >>> import xarray as xr
    >>> is_labelled("x", {"x": xr.Variable("x", [1])}), is_labelled("s", {"s": xr.Variable(("s", "node"), [[0.5]])})
    (True, False)
    """
    return dim in variables and variables[dim].dims == (dim,)


def check_sizes(
    name: Hashable,
    stored: xr.Variable,
    new: xr.Variable,
    *,
    region: Mapping[Any, slice] | None = None,
    append_dim: Hashable | None = None,
    mend: str | None = None,
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
    mend : str, optional
        For the message.

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
        if mend is None and append_dim is not None:
            mend = _size_mend(different, expected, new)
        raise LabelError(
            f"variable {name!r} already exists with different dimension sizes",
            key=str(name),
            expected={dim: expected[dim] for dim in different},
            found={dim: new.sizes[dim] for dim in different},
            mend=mend or _region_mend(different, stored, new, region or {}),
        )


def _region_mend(different: list[Hashable], stored: xr.Variable, new: xr.Variable, region: Mapping[Any, slice]) -> str:
    """What to do where data has other sizes than the region that it is to fill, or than all that is stored."""
    ends = {dim: region[dim].start + new.sizes[dim] for dim in different if dim in region}
    if ends and all(end <= stored.sizes[dim] for dim, end in ends.items()):
        parts = ", ".join(f"{str(dim)!r}: slice({region[dim].start}, {end})" for dim, end in ends.items())
        return f"Give a region of as many elements, as {{{parts}}}, or the dataset as many as the region has"
    return "Use append_dim= to grow a dimension, and region= to write a part of one"


def _size_mend(different: list[Hashable], expected: Mapping[Hashable, int], new: xr.Variable) -> str:
    """What to do where appended data has other sizes along the other dimensions, as alleles of another contig have."""
    short = {dim: (0, expected[dim] - new.sizes[dim]) for dim in different if expected[dim] > new.sizes[dim]}
    padded = ", ".join(f"{dim}={width}" for dim, width in short.items())
    mends = (
        [f"Give what is appended the size of the store: .reindex it to the labels, or .pad({padded})"] if short else []
    )
    longer = [dim for dim in different if dim not in short]
    return ". ".join(mends + [f"Make the store longer first, by an append with append_dim={dim!r}" for dim in longer])


def check_same_labels(
    name: Hashable,
    stored: xr.Variable,
    new: xr.Variable,
    *,
    what: str = "labels",
    mend: str = "Reindex or align the dataset to the stored labels, or drop the coordinate",
    read: Callable[[xr.Variable, xr.Variable], xr.Variable] | None = None,
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
        Of a part of the stored variable, in memory, and of the new one: what of the latter a reader would see, were it
        stored; the part itself unless said.

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
    for part in whole_chunks(stored, _PART) if stored.size else [(slice(None),) * stored.ndim]:
        one, other = stored[part].load(), new[part]
        sides = [np.asarray(v.values).ravel() for v in (one, other if read is None else read(one, other))]
        before, after = map(as_array, sides)
        if what == "values" or name not in stored.dims:
            before, after = masks_as_numbers(before, after)
        if (equal := equal_structures(*sides)) is None:
            _, old, fresh = comparable(name, before, after)
            equal = np.asarray(old == fresh, bool) | (pd.isnull(before) & pd.isnull(after))
        if not equal.all():
            n_different += int(equal.size - np.count_nonzero(equal))
            i = int(np.argmin(equal))
            at = [p.start + int(n) for p, n in zip(part, np.unravel_index(i, one.shape), strict=True)]
            if first is None or at < first[0]:
                first = at, before[i], after[i]
    if first is not None:
        raise LabelError(
            f"{what} of {str(name)!r} are not those of the store: {n_different} of {stored.size} differ, "
            f"the first at {position_text(stored.dims, first[0])}",
            key=str(name),
            expected=label_text(first[1]),
            found=label_text(first[2]),
            mend=mend,
        )


def _refuse_missing(dim: Hashable, labels: Array, problem: str) -> None:
    missing = pd.isnull(labels)
    if missing.any():
        raise LabelError(
            problem,
            key=str(dim),
            found=f"{label_text(labels[missing][0])} at position {int(np.argmax(missing))}",
            mend="Labels of a dimension that is appended to must all be there: fill them, or use reset_index first",
        )


def _refuse_twice(dim: Hashable, keys: Array, shown: Array) -> None:
    twice = pd.Index(keys, dtype=keys.dtype).duplicated()
    if twice.any():
        raise LabelError(
            "new labels occur more than once",
            key=str(dim),
            found=f"{label_text(shown[twice][0])} again at position {int(np.argmax(twice))}",
            mend="If they stand for several things, as the records of one site do, "
            "pass on_overlap='append' to zarrds.save",
        )


def _direction(keys: Array) -> int | None:
    """1 where labels increase, -1 where they decrease (equal neighbours allowed), else 0; None if all are equal."""
    up, down = bool(np.all(keys[1:] >= keys[:-1])), bool(np.all(keys[1:] <= keys[:-1]))
    if up and down:
        return None
    return 1 if up else -1 if down else 0


def _check_order(dim: Hashable, old: Array, fresh: Array, shown_stored: Array, shown: Array) -> None:
    """Check that new labels go on as the old ones do."""
    if not len(fresh):
        return
    direction = _direction(old)
    if direction == 0:
        raise LabelError(
            "labels of the store are in no order, so that none goes on",
            key=str(dim),
            found=label_text(shown[0]),
            mend=_NONE,
        )
    keys = np.concatenate([old[-1:], fresh])
    if direction is None:  # which the new ones give, then
        different = np.flatnonzero(keys[1:] != keys[:1])
        direction = 1 if not different.size or keys[different[0] + 1] > keys[0] else -1
    steps = keys[1:] >= keys[:-1] if direction == 1 else keys[1:] <= keys[:-1]
    wrong = np.flatnonzero(~np.asarray(steps, bool))
    if wrong.size:
        before, after = shown[wrong[0] - 1] if wrong[0] else shown_stored[-1], shown[wrong[0]]
        raise LabelError(
            f"labels go backwards: they must go on {'increasing' if direction == 1 else 'decreasing'}",
            key=str(dim),
            expected=f"labels {'above' if direction == 1 else 'below'} {label_text(before)}",
            found=f"{label_text(after)} behind it",
            mend=_NONE,
        )


def _block_problem(old: Array, positions: Array, shown: Array) -> str | None:
    """Why labels that are stored are no block of the store that can be written in one piece, or None."""
    overlapping = positions >= 0
    block = positions[overlapping]
    if not overlapping[: len(block)].all():
        return f"the new label {label_text(shown[~overlapping][0])} stands before some that are stored already"
    if np.any(np.diff(block) != 1):
        turn = int(np.argmax(np.diff(block) != 1))
        return f"{label_text(shown[turn])} and {label_text(shown[turn + 1])} are not neighbours in the store"
    if len(block) < len(shown) and block[-1] != len(old) - 1:
        return f"the store goes on behind {label_text(shown[len(block) - 1])}, so that new labels cannot follow it"
    if pd.Index(old).duplicated(keep=False)[block].any():
        return "labels occur more than once in the store, so that it is not clear which to replace"
    return None


def _as_slice(kept: Array) -> slice | Array:
    """Positions as a slice, if they follow each other."""
    if not kept.size:
        return slice(0, 0)
    first, last = int(kept[0]), int(kept[-1])
    return slice(first, last + 1) if last - first + 1 == kept.size else kept
