"""Groups as a DataTree, and which of them does not fit those above it where they are none."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress

import numpy as np
import xarray as xr

from zarrds.compat.xarray_internals import datatree_from_dict_with_io_cleanup
from zarrds.compat.xarray_opening import tree_without_default_indexes, unindexed_of, wants_default_indexes
from zarrds.errors import LabelError

__all__ = ["tree_of"]


def tree_of(groups: Mapping[str, xr.Dataset]) -> xr.DataTree:
    """A DataTree of groups, by path; `xr.open_datatree` goes on to make their indexes.

    Raises
    ------
    LabelError
        A ValueError: for a dimension that has another size, or other labels, in a group than in one above it.
    """
    with _in_words(groups):
        if wants_default_indexes() or any(map(unindexed_of, groups.values())):
            return tree_without_default_indexes(groups, _with_indexes)
        return datatree_from_dict_with_io_cleanup(groups)


def _with_indexes(groups: Mapping[str, xr.Dataset]) -> xr.DataTree:
    with _in_words(groups):
        return datatree_from_dict_with_io_cleanup(groups)


@contextmanager
def _in_words(groups: Mapping[str, xr.Dataset]) -> Iterator[None]:
    """Make the error that groups are no tree one that says why, and what to do."""
    try:
        yield
    except ValueError as error:
        if (misfit := _misfit({f"/{path.strip('./')}": ds for path, ds in groups.items()})) is None:
            raise
        raise misfit from error


def _misfit(groups: Mapping[str, xr.Dataset]) -> LabelError | None:
    """What keeps groups from being a tree, if that is a size or labels."""
    for path, ds in groups.items():
        for above, other in groups.items():
            if above == path or not path.startswith(f"{above.rstrip('/')}/"):
                continue
            if (found := _difference(ds, other)) is not None:
                what, expected, here = found
                return LabelError(
                    f"group {path!r} is not aligned with its parents: {what} in {above!r}, and one in a DataTree",
                    key=path.strip("/"),
                    expected=expected,
                    found=here,
                    mend="Open the groups by themselves, with xr.open_groups or group=, or rename it in one of them "
                    "with zarrds.rename",
                )
    return None


def _difference(ds: xr.Dataset, above: xr.Dataset) -> tuple[str, object, object] | None:
    """What of a group is not as in one above it, in words, and how it is above and here."""
    for dim in ds.sizes.keys() & above.sizes.keys():
        if ds.sizes[dim] != above.sizes[dim]:
            return f"dimension {dim!r} has another size than", above.sizes[dim], ds.sizes[dim]
    for name in ds.xindexes.keys() & above.xindexes.keys():
        if not above.xindexes[name].equals(ds.xindexes[name]):
            return f"index {name!r} has other labels than", *_first_that_differ(above, ds, name)
    return None


def _first_that_differ(one: xr.Dataset, other: xr.Dataset, name: Hashable) -> tuple[str | None, str | None]:
    """The first labels that are not the same; None for both where pandas cannot compare them."""
    with suppress(TypeError, ValueError):
        labels = one.xindexes[name].to_pandas_index(), other.xindexes[name].to_pandas_index()
        first = int(np.argmax(labels[0] != labels[1]))
        return str(labels[0][first]), str(labels[1][first])
    return None, None
