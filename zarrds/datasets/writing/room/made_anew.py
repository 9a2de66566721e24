"""Arrays without elements to which intervals or categories are added: other arrays belong to these, so all are new."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import with_variables
from zarrds.datasets.encoding.dataset import stored_name
from zarrds.datasets.writing.stored import StoredGroup

__all__ = ["with_arrays_made_anew"]


def with_arrays_made_anew(stored: StoredGroup, dataset: xr.Dataset) -> tuple[StoredGroup, xr.Dataset]:
    """A stored group without arrays that are to be made anew, and a dataset with the attributes that these had.

    Parameters
    ----------
    stored : StoredGroup
    dataset : Dataset
        What is added.
    """
    anew: dict[Hashable, str] = {}
    for name, variable in dataset.variables.items():
        key = stored_name(name)
        there = stored.variables.get(key)
        has_parts = isinstance(variable.dtype, pd.IntervalDtype | pd.CategoricalDtype)
        if has_parts and variable.size and there is not None and not there.size and key not in stored.notes.companions:
            anew[name] = key
    if not anew:
        return stored, dataset
    keys = set(anew.values())
    changed = {}
    for name, key in anew.items():
        given = dataset.variables[name].copy(deep=False)
        given.attrs = {**stored.variables[key].attrs, **given.attrs}
        changed[name] = given
    descriptions = {key: value for key, value in stored.notes.descriptions.items() if key not in keys}
    return replace(
        stored,
        arrays={key: value for key, value in stored.arrays.items() if key not in keys},
        variables={key: value for key, value in stored.variables.items() if key not in keys},
        notes=replace(stored.notes, descriptions=descriptions),
        anew={key: stored.arrays[key] for key in keys},
    ), with_variables(dataset, changed)
