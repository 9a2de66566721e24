"""Labels of dimensions that have no array of their own: the levels of a MultiIndex together, and ranges from 0 on."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.datasets.comparison import Labels, label_text
from zarrds.datasets.plain import PlainDataset
from zarrds.datasets.stored import StoredGroup
from zarrds.errors import LabelError

__all__ = ["Pairs", "check_ranges", "other_labels"]

# by dimension
Pairs: TypeAlias = dict[str, tuple[Labels, Labels]]


def other_labels(plain: PlainDataset, stored: StoredGroup, dims: Collection[Hashable]) -> Pairs:
    """The stored and the new labels of such dimensions, where there are both.

    Parameters
    ----------
    plain : PlainDataset
    stored : StoredGroup
    dims : collection of hashable
        Dimensions of which the labels are going to be placed: only those of a MultiIndex are read.

    Raises
    ------
    LabelError
        If one has a MultiIndex where the other has other levels.
    """
    found: Pairs = {}
    sizes = stored.sizes if plain.ranges else {}
    for dim, there in stored.notes.multi_indexes.items():
        levels = plain.multi_indexes.get(dim, there)
        if set(there) != set(levels):
            raise LabelError(
                f"the levels of the MultiIndex of {dim!r} are not those of the store",
                key=dim,
                expected=", ".join(there),
                found=", ".join(levels),
                mend="Rename or reorder them, or save under another dimension",
            )
        # also levels that are no index in the dataset become one in the store
        if dim in dims and all(level in plain.dataset.variables for level in there):
            found[dim] = (_tuples(stored.variables, there), _tuples(plain.dataset.variables, there))
    for dim, index in plain.ranges.items():
        if dim in stored.notes.ranges:
            found[dim] = (np.arange(sizes[dim]), np.asarray(index))
    return found


def _tuples(variables: Mapping[Hashable, xr.Variable] | Mapping[str, xr.Variable], levels: Iterable[str]) -> Labels:
    return pd.MultiIndex.from_arrays([dict(variables)[level].values for level in levels]).to_numpy()


def check_ranges(plain: PlainDataset, stored: StoredGroup, region: Mapping[str, slice]) -> None:
    """Check that labels of ranges are those of their places, so that nothing need be noted of them.

    Raises
    ------
    LabelError
    """
    for dim, index in plain.ranges.items():
        if dim not in stored.notes.ranges:
            continue
        part = region.get(dim, slice(0, stored.sizes[dim]))
        wanted = np.arange(part.start, part.stop)
        # of an append, what is stored already may have been left out
        labels = np.asarray(index)[len(index) - len(wanted) :] if len(index) > len(wanted) else np.asarray(index)
        if len(labels) == len(wanted) and not (different := np.flatnonzero(labels != wanted)).size:
            continue
        first = int(different[0]) if len(labels) == len(wanted) else 0
        raise LabelError(
            f"the labels of {dim!r} are the range 0, 1, 2, … in the store, and the new ones are not",
            key=dim,
            expected=label_text(wanted[first]) if len(wanted) else "none",
            found=label_text(labels[first]) if len(labels) else "none",
            mend=f"Give the dataset the labels of its place, or drop the coordinate {dim!r}",
        )
