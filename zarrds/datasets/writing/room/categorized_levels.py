"""Levels of a MultiIndex that are categories in the store, or here, and not in the other."""

from __future__ import annotations

from typing import Any

import pandas as pd
import xarray as xr

from zarrds.datasets.encoding.dataset import stored_name
from zarrds.datasets.writing.room.categorized import categorized, is_categorized_otherwise
from zarrds.datasets.writing.stored import StoredGroup

__all__ = ["with_levels_stored"]


def with_levels_stored(dataset: xr.Dataset, stored: StoredGroup) -> xr.Dataset:
    """A dataset whose levels of MultiIndexes are categories where those of the store are, and values where not.

    Parameters
    ----------
    dataset : Dataset
    stored : StoredGroup
    """
    for index, variables in dataset.xindexes.group_by_index():
        if not isinstance(index, xr.indexes.PandasMultiIndex):
            continue
        whole: Any = index.index  # whose names pandas' types take for text
        levels = {name: _as_stored(whole.get_level_values(name), stored_name(name), stored) for name in whole.names}
        if any(level is not None for level in levels.values()):
            arrays = [whole.get_level_values(n) if level is None else level for n, level in levels.items()]
            made = pd.MultiIndex.from_arrays(arrays, names=whole.names)
            attributes = {name: dataset.variables[name].attrs for name in variables}
            coordinates = xr.Coordinates.from_pandas_multiindex(made, str(index.dim))
            dataset = dataset.drop_vars(list(variables)).assign_coords(coordinates)
            for name, attrs in attributes.items():
                dataset.variables[name].attrs.update(attrs)
    return dataset


def _as_stored(level: pd.Index, key: str, stored: StoredGroup) -> pd.Index | None:
    """One level as the store has it, or None if it is so already."""
    if key not in stored.variables or not len(level):
        return None
    described = stored.notes.descriptions.get(key, {})
    is_categorical = isinstance(level.dtype, pd.CategoricalDtype)
    variable = xr.Variable("x", level.array if is_categorical else level.to_numpy())
    if not is_categorized_otherwise(variable, described):
        return None
    made = categorized(variable, described, stored.categories.get(key))
    return None if made is None else pd.Index(made.data)
