"""From decoded variables and what is noted of them to the variables and indexes that were saved."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import DeferredIndex, MappedArray, PandasVariable, variable_of
from zarrds.datasets.reading.lazy import LazyArray, check_is_stored
from zarrds.datasets.reading.noted_indexes import IndexMisfitError, noted_index, without_array
from zarrds.datasets.reading.notes import MULTI_INDEX, GroupNotes, range_of
from zarrds.datasets.reading.open_options import IndexOptions
from zarrds.datasets.reading.roles import NotedIndex, Roles
from zarrds.errors import MetadataError
from zarrds.labels.kinds.arrow import is_arrow
from zarrds.labels.kinds.plain import Description
from zarrds.labels.kinds.table import added_attributes, array_from_plain, from_plain
from zarrds.metadata.extension import note_of

__all__ = ["NoteMismatchError", "Restored", "index_of", "restore"]

# what is an object array to xarray, so that dask can hold it too
_OBJECTS = ("datetime64[", "str", "object", "StringDType")


class NoteMismatchError(Exception):
    """The description of an array does not fit what is stored."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name, self.problem = name, problem


@dataclass(frozen=True, slots=True)
class Restored:
    """The variables of a dataset.

    Attributes
    ----------
    variables : mapping of name to Variable
    indexes : mapping of name to Index
        Of those coordinates that have one that xarray would not make by itself.
    coordinates : frozenset of names
        What is a coordinate since it has an index, or had one.
    problems : mapping of str to str
        By the name of the array, why an index that is noted is left out.
    """

    variables: Mapping[Hashable, xr.Variable]
    indexes: Mapping[Hashable, xr.Index]
    coordinates: frozenset[Hashable] = frozenset()
    problems: Mapping[str, str] = field(default_factory=dict)


def restore(
    decoded: Mapping[Hashable, xr.Variable],
    lazy: Mapping[str, LazyArray],
    notes: GroupNotes,
    active: frozenset[str],
    options: IndexOptions,
    roles: Roles,
) -> Restored:
    """Give back what was saved.

    Parameters
    ----------
    decoded : mapping of name to Variable
        Lazy, decoded with `decoders_for`.
    lazy : mapping of str to LazyArray
        The stored arrays of the same names.
    notes : GroupNotes
    active : frozenset of str
        Arrays that are decoded as their descriptions have it.
    options : IndexOptions
    roles : Roles

    Raises
    ------
    NoteMismatchError
        If a description does not fit: leave it out, decode again, and try again.
    """
    return _Restorer(decoded, lazy, notes, active, options, roles).all()


def index_of(
    name: str,
    variables: Mapping[Any, xr.Variable],
    descriptions: Mapping[str, Description],
    companions: Mapping[str, Mapping[str, str]],
) -> pd.Index[Any]:
    """The labels of an array, as they were saved; they are read.

    Parameters
    ----------
    name : str
    variables : mapping of name to Variable
        Decoded with `decoders_for`.
    descriptions, companions : mapping
        As of `GroupNotes`.

    Raises
    ------
    NoteMismatchError
    """
    values = variables[name].values
    description = descriptions.get(name)
    index: pd.Index[Any]
    if description is None:
        index = pd.Index(values, dtype=object if values.dtype.kind == "O" else None)
        return index
    beside: dict[str, Any] = {}
    for role, other in companions.get(name, {}).items():
        is_bounds = role == "bounds"
        beside[role] = variables[other].values if is_bounds else index_of(other, variables, descriptions, companions)
    try:
        index = from_plain(description, values, beside)
    except MetadataError as error:
        raise NoteMismatchError(name, error.problem) from error
    return index


class _Restorer:
    def __init__(
        self,
        decoded: Mapping[Hashable, xr.Variable],
        lazy: Mapping[str, LazyArray],
        notes: GroupNotes,
        active: frozenset[str],
        options: IndexOptions,
        roles: Roles,
    ) -> None:
        self._roles = roles
        self._problems: dict[str, str] = {}
        self._decoded, self._lazy, self._notes, self._options = decoded, lazy, notes, options
        self._descriptions = {name: d for name, d in notes.descriptions.items() if name in active}
        self._levels = {level for levels in notes.multi_indexes.values() for level in levels}
        self._variables: dict[Hashable, xr.Variable] = {}
        self._indexes: dict[Hashable, xr.Index] = {}

    def all(self) -> Restored:
        hidden = {n for name in self._descriptions for n in self._companions_below(name)}
        labels = hidden.union(self._levels, *(map(str, noted.coordinates) for noted in self._roles.indexes))
        for array_name, array in self._lazy.items():
            if array_name in labels or array.stored.dimension_names == (array_name,):
                check_is_stored(array.stored.elements)  # its labels are read now
        without_index = self._roles.unindexed | self._roles.data
        for name, variable in self._decoded.items():
            if name in hidden or name in self._levels:
                continue
            has_default = variable.dims == (name,) and name not in without_index
            if has_default and self._options.are_made is not False:
                self._add_coordinate(str(name), variable)
            else:
                self._variables[name] = self._without_index(name, variable)
        for noted in self._roles.indexes if self._options.are_made is not False else ():
            self._add_noted(noted)
        for name, (spaced, attributes) in self._roles.ranges.items():
            self._variables[name], self._indexes[name] = without_array(name, spaced, attributes)
        for dim, levels in self._notes.multi_indexes.items():
            self._add_multi_index(dim, levels)
        for dim in self._notes.ranges:
            size = next((v.sizes[dim] for v in self._variables.values() if dim in v.dims), None)
            if size is not None:
                self._add_index(dim, dim, pd.RangeIndex(size, name=dim), None)
        if self._options.are_made is False:
            bare = {name: self._variables[name].to_base_variable() for name in self._indexes}
            return Restored({**self._variables, **bare}, {}, frozenset(bare) | self._levels)
        return Restored(self._variables, self._indexes, frozenset(self._indexes), self._problems)

    def _without_index(self, name: Hashable, variable: xr.Variable) -> xr.Variable:
        return self._data(name, variable) if name in self._descriptions else variable

    def _add_noted(self, noted: NotedIndex) -> None:
        if not all(name in self._variables for name in noted.coordinates):
            return
        name = noted.coordinates[0]
        variables: dict[Hashable, xr.Variable] = {n: self._variables[n] for n in noted.coordinates}
        if noted.kind == "pandas" and name in self._descriptions:
            dtype = self._descriptions[name]["dtype"]
            stored = self._decoded[name]
            index = self._range(name, self._descriptions[name]) if dtype == "range" else self._index(name)
            self._add_index(name, str(stored.dims[0]), index, stored)
            return
        try:
            made = noted_index(noted, variables)
        except IndexMisfitError as error:
            self._problems[error.name] = error.problem
            return
        self._variables |= made.create_variables(variables)
        self._indexes |= dict.fromkeys(noted.coordinates, made)

    def _companions_below(self, name: str) -> set[str]:
        found = set(self._notes.companions.get(name, {}).values())
        return found.union(*(self._companions_below(other) for other in found - {name}))

    def _add_coordinate(self, name: str, variable: xr.Variable) -> None:
        description = self._descriptions.get(name)
        dtype = description["dtype"] if description else None
        if dtype == "range":
            assert description is not None
            self._add_index(name, name, self._range(name, description), variable)
            return
        of_arrow = description is not None and self._is_arrow(name)
        found = None if of_arrow else self._lazy_coordinate(name, variable, str(dtype or ""))
        if found is not None:
            self._variables[name], self._indexes[name] = found
        elif description is None or (_is_as_decoded(str(dtype)) and "freq" not in description and not of_arrow):
            # xarray makes the index; times that cannot be decoded show now, where they can still stay numbers
            self._variables[name] = variable.load() if variable.dtype.kind in "mMO" else variable
        elif self._options.index == "none":
            self._variables[name] = self._data(name, variable)
        else:
            self._add_index(name, name, self._index(name), variable)

    def _lazy_coordinate(self, name: str, variable: xr.Variable, dtype: str) -> tuple[xr.Variable, xr.Index] | None:
        lazy = self._lazy.get(name)
        if lazy is None or not self._options.is_lazy(variable.size):
            return None
        # most datasets have no labels so large, and need not wait for what searches them
        from zarrds.datasets.reading.stored_labels import lazy_coordinate

        return lazy_coordinate(name, variable, lazy, dtype)

    def _range(self, name: str, description: Description) -> pd.RangeIndex:
        from zarrds.datasets.reading.stored_labels import is_range  # as above

        variable = self._decoded[name]
        index = range_of(description, variable.size)
        if index is None:
            raise NoteMismatchError(name, "its range has no start and step")
        if not is_range(self._lazy[name], index) and not np.array_equal(variable.values, index):
            raise NoteMismatchError(name, f"its labels are not the range from {index.start} in steps of {index.step}")
        return index

    def _index(self, name: str) -> pd.Index[Any]:
        return index_of(name, self._decoded, self._descriptions, self._notes.companions)

    def _data(self, name: Hashable, variable: xr.Variable) -> xr.Variable:
        """A variable that is no index: what xarray holds of its kind, read when it is used."""
        description = self._descriptions[str(name)]
        dtype = str(description["dtype"])
        attrs = self._own_attrs(str(name), variable)
        of_arrow = variable.ndim == 1 and self._is_arrow(str(name))
        if (_is_as_decoded(dtype) and not of_arrow) or dtype == "range":
            return variable
        bounds = self._notes.companions.get(str(name), {}).get("bounds")
        if variable.ndim == 0 and bounds is not None:  # one interval, of which nothing is gained by waiting
            return xr.Variable((), self._interval(str(name), bounds), attrs, variable.encoding)
        # times with a zone are of pandas' own kind, unless they were objects
        is_zoned = "," in dtype and variable.ndim == 1 and description.get("objects") is not True
        if (dtype.startswith(_OBJECTS) and not is_zoned and not of_arrow) or (
            variable.ndim != 1 and str(name) not in self._notes.companions
        ):
            made = array_from_plain(description, np.empty(0, variable.dtype), {}) if dtype == "StringDType" else None
            made_dtype: Any = np.dtype(object) if made is None else made.dtype
            mapped = MappedArray(variable, _Objects(dict(description), made_dtype), made_dtype)
            return xr.Variable(variable.dims, mapped.lazily(), attrs, variable.encoding)
        if variable.ndim != 1:
            raise NoteMismatchError(str(name), f"{dtype} has one dimension, not {variable.ndim}")
        # for the dtype one element is enough, and the categories where there are some
        needed = {str(name), *self._companions_below(str(name))} & self._decoded.keys()
        beside = {n: self._decoded[n] for n in needed}
        first = {n: v[:1] if v.dims[:1] == variable.dims else v for n, v in beside.items()}
        sample = index_of(str(name), first, self._descriptions, self._notes.companions)
        deferred = DeferredIndex(_Labels(self, str(name)), variable.size, sample.dtype, variable)
        return PandasVariable(variable.dims, deferred, attrs, variable.encoding, fastpath=True)

    def _is_arrow(self, name: str) -> bool:
        try:
            return is_arrow(self._descriptions[name])
        except MetadataError as error:
            raise NoteMismatchError(name, error.problem) from error

    def _interval(self, name: str, bounds: str) -> np.ndarray[Any, Any]:
        beside = {"bounds": self._decoded[bounds].values[None]}
        try:
            (interval,) = from_plain(self._descriptions[name], self._decoded[name].values[None], beside)
        except MetadataError as error:
            raise NoteMismatchError(name, error.problem) from error
        scalar = np.empty((), object)
        scalar[()] = interval
        return scalar

    def _own_attrs(self, name: str, variable: xr.Variable) -> dict[Any, Any]:
        """The attributes that the user gave the variable."""
        attrs = dict(variable.attrs)
        description = self._descriptions.get(name)
        if description is None or description["dtype"] == "range":
            return attrs
        if "bounds" in self._notes.companions.get(name, {}):
            attrs.pop("bounds", None)
        return {key: value for key, value in attrs.items() if key not in added_attributes(description)}

    def _add_multi_index(self, dim: str, levels: tuple[str, ...]) -> None:
        if self._options.are_made is False or not all(level in self._decoded for level in levels):
            for level in levels:  # one was left out by the user
                if level in self._decoded:
                    self._variables[level] = self._without_index(level, self._decoded[level])
            return
        arrays = [self._index(level) for level in levels]
        index = pd.MultiIndex.from_arrays(arrays, names=levels)
        for i, level in enumerate(levels):
            plain = self._descriptions.get(level, {}).get("level")
            if isinstance(plain, str) and str(index.levels[i].dtype).lower() == plain:
                cast: Any = index.levels[i].astype(plain)
                index = index.set_levels(cast, level=i)
        made = xr.indexes.PandasMultiIndex(index, dim)
        variables = {
            level: variable_of((dim,), np.empty(0), self._own_attrs(level, self._decoded[level])) for level in levels
        }
        for level, variable in made.create_variables(variables).items():
            self._variables[level] = variable
            self._indexes[level] = made
            if level in self._decoded:
                variable.encoding = dict(self._decoded[level].encoding)
        noted = note_of(self._lazy[levels[0]].stored.metadata, MULTI_INDEX)
        attributes = noted.get("attributes") if isinstance(noted, dict) else None
        if isinstance(attributes, dict):
            self._variables[dim].attrs = dict(attributes)

    def _add_index(self, name: str, dim: str, index: pd.Index[Any], variable: xr.Variable | None) -> None:
        made = xr.indexes.PandasIndex(index.rename(name), dim)
        if variable is not None:
            attrs = self._own_attrs(name, variable)
            variable = variable_of((dim,), np.empty(0), attrs, variable.encoding)
        self._variables |= made.create_variables(None if variable is None else {name: variable})
        self._indexes[name] = made


def _is_as_decoded(dtype: str) -> bool:
    """Whether xarray's decoders, or its making of an index, give back all that the description says."""
    is_naive_time = dtype.startswith("datetime64[") and "," not in dtype
    return is_naive_time or dtype == "cftime"


@dataclass(frozen=True)
class _Objects:
    """Makes an object array of decoded elements."""

    description: Description
    dtype: np.dtype[Any]

    def __call__(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        flat = np.asarray(array_from_plain(self.description, np.asarray(values).ravel(), {}), dtype=self.dtype)
        return flat.reshape(np.shape(values))


@dataclass(frozen=True)
class _Labels:
    """Reads a variable of pandas' own kind."""

    restorer: _Restorer
    name: str

    def __call__(self) -> pd.Index[Any]:
        try:
            return self.restorer._index(self.name)
        except NoteMismatchError as error:
            array = self.restorer._lazy[self.name].stored
            raise MetadataError(
                f"what is noted of the array does not fit it: {error.problem}",
                path=array.store.path,
                key=array.path,
                mend=f"Open the dataset with mask_and_scale={{{self.name!r}: False}} to see what is stored",
            ) from error
