"""Indexes of stored coordinates that xarray would not make by itself, from a fixed table of kinds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TypeGuard

import numpy as np
import xarray as xr

from zarrds.compat.xarray_opening import EvenlySpaced
from zarrds.datasets.reading.roles import NotedIndex, evenly_spaced
from zarrds.errors import LabelError, ZarrdsError
from zarrds.metadata.fields import JSON, JSONObject

__all__ = ["IndexMisfitError", "noted_index", "without_array"]

Variables = Mapping[Hashable, xr.Variable]


class IndexMisfitError(Exception):
    """A noted index cannot be made of what is stored."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name, self.problem = name, problem


def noted_index(noted: NotedIndex, variables: Variables) -> xr.Index:
    """The index of some decoded coordinates.

    Raises
    ------
    IndexMisfitError
        If their data is not what it must be.
    """
    try:
        return _MAKERS[noted.kind](noted, variables)
    except ZarrdsError as error:
        if isinstance(error, LabelError):
            raise IndexMisfitError(noted.coordinates[0], error.problem) from error
        raise  # a chunk that is lost, for example
    except (ImportError, TypeError, ValueError) as error:
        raise IndexMisfitError(noted.coordinates[0], f"its index cannot be made again: {error}") from error


def _pandas(noted: NotedIndex, variables: Variables) -> xr.Index:
    return xr.indexes.PandasIndex.from_variables(variables, options={})


def _range(noted: NotedIndex, variables: Variables) -> xr.Index:
    ((name, variable),) = variables.items()
    spaced = evenly_spaced(noted.options)
    if spaced is None:
        raise LabelError("its evenly spaced labels are described wrongly")
    index = spaced.index(name)
    if not np.array_equal(index.create_variables()[name].values, variable.values):
        raise LabelError("its labels are not evenly spaced any more")
    return index


def _regions(noted: NotedIndex, variables: Variables) -> xr.Index:
    from zarrds.labels.genomics.regions import RegionIndex  # which few datasets have

    interval, contig_id = noted.options.get("interval"), noted.options.get("contig_id")
    if interval not in ("end", "length") or not (contig_id is None or _are_names(contig_id)):
        raise LabelError("the settings of its RegionIndex are wrong")
    return RegionIndex.from_stored(variables, interval, contig_id)


def _points(noted: NotedIndex, variables: Variables) -> xr.Index:
    return xr.indexes.NDPointIndex.from_variables(variables, options={})


def _are_names(value: JSON) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


_MAKERS: dict[str, Callable[[NotedIndex, Variables], xr.Index]] = {
    "pandas": _pandas,
    "points": _points,
    "range": _range,
    "regions": _regions,
}


def without_array(name: str, spaced: EvenlySpaced, attributes: JSONObject) -> tuple[xr.Variable, xr.Index]:
    """An evenly spaced coordinate that has no array, and its index; see `Roles.ranges`."""
    index = spaced.index(name)
    variable = index.create_variables()[name]
    variable.attrs = dict(attributes)
    return variable, index
