"""A dataset of whatever pandas knows as one of plain arrays, which every Zarr reader understands, and the notes beside.

What an array cannot say is noted: see `zarrds.datasets.reading.notes`, and `zarrds.labels.kinds.table` for each kind of
index.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.arrays.attributes import plain_attributes
from zarrds.compat.xarray_internals import (
    check_vlen_dtype,
    is_chunked,
    lazy_data,
    new_dataset,
    validate_dataset_names,
    variable_of,
)
from zarrds.datasets.encoding.characters import CHARACTERS, OF_CHARACTERS, characters_of
from zarrds.datasets.encoding.dataset import Encoding, stored_name
from zarrds.datasets.encoding.enumerations import enumeration_of
from zarrds.datasets.encoding.exact.attempt import is_time, lazy_units
from zarrds.datasets.encoding.exact.blocks import computed_to_see
from zarrds.datasets.reading.notes import MULTI_INDEX, PANDAS, RANGES, GroupNotes
from zarrds.datasets.writing.plain.plain_target import PlainTarget
from zarrds.datasets.writing.plain.roles import (
    names_no_times,
    ranges_without_array,
    role_notes,
    with_true_coordinates,
)
from zarrds.datasets.writing.plain.unmarked import as_described
from zarrds.errors import EncodingError, UnsupportedError, ZarrdsError, locating
from zarrds.labels.kinds.mixtures import check_one_kind_of_text
from zarrds.labels.kinds.table import Plain, added_attributes, decode_options, to_plain
from zarrds.metadata.attributes import ATTRIBUTES, MARKERS, SCALE, noted_apart
from zarrds.metadata.extension import ENUMERATION
from zarrds.metadata.fields import JSON, JSONObject, Raw, an_object

__all__ = ["PlainDataset", "plain_dataset"]

# left by an earlier file: not of what is stored here
_CF_KEYS = frozenset({*MARKERS, *SCALE, "dtype", "units", "calendar"})


@dataclass(frozen=True, slots=True)
class PlainDataset:
    """What is stored of a dataset.

    Attributes
    ----------
    dataset : Dataset
        Without a MultiIndex or a pandas extension type.
    notes : mapping of str to mapping of str to JSON
        By the name of the array, members of its ``zarrds`` object.
    labels : frozenset of str
        Names of variables that are labels of an index, or belong to them.
    multi_indexes : mapping of str to tuple of str
        The names of the levels, by dimension.
    ranges : mapping of str to Index
        Labels of dimensions that have no array of their own.
    companions : frozenset of str
        Arrays that are parts of others, not variables of the dataset.
    extended : mapping of str to str
        Stored arrays of codes, and the stored array of categories to which those that are new are added.
    """

    dataset: xr.Dataset
    notes: Mapping[str, JSONObject]
    labels: frozenset[str]
    multi_indexes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ranges: Mapping[str, pd.Index[Any]] = field(default_factory=dict)
    companions: frozenset[str] = frozenset()
    extended: Mapping[str, str] = field(default_factory=dict)


def plain_dataset(
    dataset: xr.Dataset,
    stored: GroupNotes | None = None,
    arrays: Collection[str] = (),
    categories: Mapping[str, pd.Index[Any]] | None = None,
    asked: Encoding | None = None,
    kept: Collection[str] = (),
) -> PlainDataset:
    """A dataset as plain arrays and notes.

    Parameters
    ----------
    dataset : Dataset
    stored : GroupNotes, optional
        Of the group that it goes into.
    arrays : collection of str
        The names of the arrays that this group has: what is written to them gets their kind.
    categories : mapping of str to Index, optional
        The stored categories of arrays that have some.
    asked : mapping, optional
        What the user asks for, by the name of the variable. Those that are named get an array.
    kept : collection of str
        The names of arrays that stay, with which labels are only compared: to their categories none are added.

    Raises
    ------
    LabelError
        If a variable is of another kind than the array that it would be written to.

    Examples
    --------
    >>> import pandas as pd, xarray as xr
    >>> plain = plain_dataset(xr.Dataset(coords={"x": pd.CategoricalIndex(["b", "a", "b"])}))
    >>> plain.dataset.x.values, plain.dataset.x_categories.values
    (array([1, 0, 1], dtype=int8), array(['a', 'b'], dtype=object))
    >>> plain.notes["x"]
    {'pandas': {'dtype': 'category', 'ordered': False, 'categories': 'x_categories'}}
    """
    try:
        validate_dataset_names(dataset)
    except (TypeError, ValueError) as error:
        raise EncodingError(f"names of variables are text, and not empty: {error}", mend="Rename it") from error
    if None in dataset.coords:  # a variable without a name is data to every reader
        raise EncodingError("a coordinate has no name", mend="Rename it: .rename({None: ...})")
    dataset = with_true_coordinates(dataset)
    maker = _Maker(dataset, PlainTarget(stored or GroupNotes(), arrays, categories or {}, asked or {}, kept))
    for name, variable in dataset.variables.items():
        maker.add(name, maker.with_netcdf_types_noted(name, variable))
    return maker.result()


class _Maker:
    """Collects the variables of a plain dataset."""

    def __init__(self, dataset: xr.Dataset, target: PlainTarget) -> None:
        self._dataset, self._target = dataset, target
        self._indexes = {
            name: index.to_pandas_index()
            for name, index in dataset.xindexes.items()
            if isinstance(index, xr.indexes.PandasIndex)
        }
        self._evenly_spaced = ranges_without_array(dataset, {*target.asked, *target.arrays})
        self._variables: dict[Hashable, xr.Variable] = {}
        self._beside: set[Hashable] = set()  # companions
        self._notes: dict[str, Raw] = {}
        self._labels = {stored_name(name) for name in dataset.xindexes}
        self._multi: dict[str, tuple[str, ...]] = {}
        self._ranges: dict[str, pd.Index[Any]] = {}
        self._extended: dict[str, str] = {}
        self._is_changed = False

    def with_netcdf_types_noted(self, name: Hashable, variable: xr.Variable) -> xr.Variable:
        """The same as Zarr has it, with a note of what a netCDF file had: text of characters, an enumeration."""
        is_asked = self._target.is_dtype_asked(name)
        if variable.dtype.kind in "iuf" and not is_asked and (names := enumeration_of(variable.encoding)) is not None:
            self._note(name, ENUMERATION, names.to_json())
        if variable.dtype.kind not in "OUST" or (characters := characters_of(variable.encoding)) is None:
            return variable
        if not is_asked:
            self._note(name, CHARACTERS, characters.to_json())
        if characters.dimension is None:
            return variable
        self._is_changed = True
        said = OF_CHARACTERS if characters.fill_value is None else {*OF_CHARACTERS, "_FillValue"}
        text = variable.copy(deep=False)
        text.encoding = {key: value for key, value in variable.encoding.items() if key not in said}
        return text

    def add(self, name: Hashable, variable: xr.Variable) -> None:
        index = self._indexes.get(name)
        if name in self._evenly_spaced:
            self._labels.discard(stored_name(name))
            self._is_changed = True
        elif isinstance(index, pd.MultiIndex):
            if name not in index.names:
                if name != variable.dims[0]:
                    raise EncodingError(
                        "labels of several levels do not have the name of their dimension",
                        key=str(name),
                        expected=repr(variable.dims[0]),
                        mend="Rename both with rename(), or take the index apart with reset_index()",
                    )
                self._is_changed = True
                self._labels.discard(stored_name(name))
                return  # its levels are stored
            self._note(name, MULTI_INDEX, self._multi_index(str(variable.dims[0]), index))
            values: Any = _level_values(index, name)
            self._add_plain(name, variable, values, is_level=True)
            level = index.levels[index.names.index(name)]
            if values.dtype != level.dtype and PANDAS in self._notes[stored_name(name)]:
                # of nullable integers, which only hold what is missing
                noted = an_object(self._notes[stored_name(name)][PANDAS], "what is noted of labels")
                self._note(name, PANDAS, {**noted, "level": str(level.dtype)})
        elif index is not None and variable.dims == (name,) and self._has_no_array(name, variable, index):
            self._ranges[stored_name(name)] = index
            self._labels.discard(stored_name(name))
            self._is_changed = True
        elif isinstance(index, pd.RangeIndex) and not self._target.is_described(stored_name(name)):
            self._note(name, PANDAS, {"dtype": "range", "start": index.start, "step": index.step})
            self._variables[name] = variable
        else:
            # the index of fixed-length text is made of it again
            is_made_again = index is None or variable.dtype.kind in "US"
            if index is not None and not isinstance(variable.dtype, np.dtype) and index.dtype != variable.dtype:
                index = index.astype(variable.dtype)  # xarray makes objects of some that are no labels of a dimension
            if index is None and (text := self._target.text_in_blocks(name, variable)) is not None:
                self._store_plain(name, variable, text)
                return
            values = self._pandas_values(name, variable) if is_made_again else index
            if values is None and self._target.is_encoded_by_us(stored_name(name)):
                values = variable.values
            if values is None:
                unit = np.datetime_data(variable.dtype)[0] if variable.dtype.kind == "M" else "ns"
                if unit != "ns" and stored_name(name) not in self._target.arrays:
                    self._note(name, PANDAS, {"dtype": f"datetime64[{unit}]"})
                self._variables[name] = self._as_described(name, variable)
            else:
                self._add_plain(name, variable, values)

    def _multi_index(self, dim: str, index: pd.MultiIndex) -> Raw:
        levels = [stored_name(level) for level in index.names]
        self._multi[dim] = tuple(levels)
        attributes = self._dataset.variables[dim].attrs if dim in self._dataset.variables else {}
        # which no array of the dimension could hold
        noted: Raw = {"attributes": plain_attributes(attributes)} if attributes else {}
        return {"dimension": dim, "levels": list(levels), **noted}

    def _has_no_array(self, name: Hashable, variable: xr.Variable, index: pd.Index[Any]) -> bool:
        """Whether labels need no array, as any reader takes a dimension without labels for 0, 1, 2, …."""
        if name in self._target.notes.ranges:
            return True
        if stored_name(name) in self._target.arrays or name in self._target.asked or variable.attrs:
            return False
        if not isinstance(index, pd.RangeIndex) or index.start != 0 or index.step != 1:
            return False
        # some array must say so
        return any(name in other.dims for n, other in self._dataset.variables.items() if n != name)

    def _note(self, name: Hashable, member: str, value: JSON) -> None:
        self._notes.setdefault(stored_name(name), {})[member] = value

    def _add_plain(self, name: Hashable, variable: xr.Variable, values: Any, *, is_level: bool = False) -> None:
        key, like = stored_name(name), self._target.like(stored_name(name))
        if like is not None and not like.description:
            values = _as_numpy(values)
        try:
            plain = to_plain(values, like)
        except ZarrdsError as error:
            raise error.located(key=key) from error.__cause__
        if plain is not None and "bounds" in plain.companions and variable.ndim > 1:
            raise UnsupportedError(
                "intervals of several dimensions cannot be stored", key=key, mend="Store both ends as variables"
            )
        if plain is None:
            is_computed = is_level or is_chunked(variable) or not isinstance(variable.dtype, np.dtype)
            self._variables[name] = self._as_plain_variable(variable, values) if is_computed else variable
            return
        self._store_plain(name, variable, plain)

    def _store_plain(self, name: Hashable, variable: xr.Variable, plain: Plain) -> None:
        key, encoding = stored_name(name), variable.encoding
        self._target.check_asked(name, plain)
        is_text = plain.description.get("dtype") == "StringDType"  # whatever another file left there
        if is_text or (plain.description and decode_options(plain.description).get("mask_and_scale") is False):
            encoding = {k: v for k, v in encoding.items() if k not in _CF_KEYS}
        if clashing := [k for k in MARKERS if k in plain.attrs and k in variable.attrs]:
            raise EncodingError(
                f"the attribute {clashing[0]!r} says what is missing, which is done otherwise for such data",
                key=key,
                mend="Delete the attribute",
            )
        own = _attributes_of_kind(variable.attrs, plain) if variable.attrs else {}
        if own:
            self._note(name, ATTRIBUTES, noted_apart(own))
        attrs = {**{k: v for k, v in variable.attrs.items() if k not in own}, **plain.attrs}
        description = dict(plain.description)
        if "," in str(description.get("dtype", "")) and variable.dtype == object:
            description["objects"] = True  # of times with a zone, which pandas also has an array for
        for role, companion in plain.companions.items():
            beside = self._target.notes.companions.get(key, {}).get(role) or self._free_name(f"{key}_{role}")
            description[role] = beside
            if role == "bounds":
                attrs = attrs | {"bounds": beside}
                if key in self._labels:
                    self._labels.add(beside)
            if role == "categories" and key in self._target.notes.companions:
                self._target.check_shared(key, beside)
                self._extended[key] = beside
            self._add_companion(beside, companion, variable.dims if role == "bounds" else None)
        if description:
            self._note(name, PANDAS, description)
        self._is_changed = True
        if plain.values.dtype.kind in "mM" and not plain.values.size:
            encoding = {"units": lazy_units(plain.values.dtype), **encoding}
        # fast: else pandas would look at each object, to see what it is
        self._variables[name] = variable_of(variable.dims, plain.values, attrs, {**encoding, **plain.encoding})

    def _add_companion(self, name: str, plain: Plain, along: tuple[Hashable, ...] | None) -> None:
        if along is not None:
            ends = next((n for n in ("bnds", f"{name}_bnds") if self._dataset.sizes.get(n, 2) == 2), f"{name}_ends")
            dims: tuple[Hashable, ...] = (*along, ends)
        else:
            dims = (name,)
            self._labels.add(name)
        description, attrs = dict(plain.description), dict(plain.attrs)
        for role, companion in plain.companions.items():
            beside = self._target.notes.companions.get(name, {}).get(role) or self._free_name(f"{name}_{role}")
            description[role] = beside
            if role == "bounds":
                attrs["bounds"] = beside
            self._add_companion(beside, companion, (name,) if role == "bounds" else None)
        if description:
            self._note(name, PANDAS, description)
        self._beside.add(name)
        self._variables[name] = xr.Variable(dims, plain.values, attrs, plain.encoding)

    def _pandas_values(self, name: Hashable, variable: xr.Variable) -> Any:
        """The data of a variable without an index where it may be of a kind that only pandas knows, else None."""
        if not isinstance(variable.dtype, np.dtype):
            return variable.data
        if variable.dtype.kind == "T":
            return variable.values
        if variable.dtype.kind != "O" or check_vlen_dtype(variable.dtype) is not None:
            return None
        # whatever stands for what is missing, dates of cftime are to be read as such
        if self._target.is_missing_chosen(name, variable) and not is_time(variable):
            self._check_text(name, variable)
            return None
        if variable.chunks is not None and variable.size:
            first = variable[(slice(0, 1),) * variable.ndim].values
            if hasattr(first.flat[0], "calendar"):  # of cftime, which xarray encodes block by block
                plain = to_plain(first)
                if plain is not None and stored_name(name) not in self._target.arrays:
                    self._note(name, PANDAS, dict(plain.description))
                return None
            variable = computed_to_see(name, variable, "what its objects are")
        return variable.values

    def _check_text(self, name: Hashable, variable: xr.Variable) -> None:
        """Check objects whose missing ones are encoded as the user says: text beside bytes would become bytes."""
        if variable.size and isinstance(variable[(slice(0, 1),) * variable.ndim].values.flat[0], str | bytes):
            with locating(key=stored_name(name)):
                check_one_kind_of_text(np.asarray(variable.values))

    def _as_described(self, name: Hashable, variable: xr.Variable) -> xr.Variable:
        """A plain array as the store has what it is written to, if there is such an array."""
        key = stored_name(name)
        with locating(key=key):
            described = as_described(name, variable, self._target.notes.descriptions.get(key, {}))
        self._is_changed |= described is not variable
        return described

    def _as_plain_variable(self, variable: xr.Variable, values: Any) -> xr.Variable:
        self._is_changed = True
        return xr.Variable(variable.dims, np.asarray(values), variable.attrs, variable.encoding)

    def _free_name(self, name: str) -> str:
        """A name that no variable, dimension or stored array has."""
        taken = {stored_name(n) for n in self._dataset.variables} | set(map(str, self._dataset.dims))
        taken |= set(map(str, self._variables)) | set(self._target.arrays)
        return next(n for n in (name, *(f"{name}_{i}" for i in range(1, len(taken) + 2))) if n not in taken)

    def _set_bounds_apart(self) -> None:
        """Note that variables have bounds which are no times, though they are: nobody else is told."""
        for name, variable in self._variables.items():
            if names_no_times(variable, self._variables):
                attrs, encoding = dict(variable.attrs), dict(variable.encoding)
                encoding.pop("bounds", None)
                if "bounds" in attrs:
                    before = an_object(self._notes.get(stored_name(name), {}).get(ATTRIBUTES, {}), "noted attributes")
                    self._note(name, ATTRIBUTES, {**before, **noted_apart({"bounds": attrs.pop("bounds")})})
                self._variables[name] = variable_of(variable.dims, lazy_data(variable), attrs, encoding)
                self._is_changed = True

    def result(self) -> PlainDataset:
        self._set_bounds_apart()
        dataset = self._dataset
        if self._is_changed:
            # directly: xarray would make coordinates of data that has the name of a dimension, not only of what is ours
            ours = {name for name in self._beside if self._variables[name].dims == (name,)}
            coordinates = (self._variables.keys() & dataset.coords.keys()) | ours
            plain = new_dataset(self._variables, coordinates, {}, dataset.attrs, lambda: None)
            plain.encoding = dataset.encoding
            dataset = plain
        for dim in self._ranges:
            for name, variable in self._variables.items():
                if dim in variable.dims:
                    dims = self._notes.setdefault(stored_name(name), {}).setdefault(RANGES, [])
                    assert isinstance(dims, list)
                    dims.append(dim)
        for key, members in role_notes(self._dataset, dataset, self._evenly_spaced).items():
            self._notes.setdefault(key, {}).update(members)
        beside = frozenset(map(stored_name, self._beside))
        return PlainDataset(
            dataset, self._notes, frozenset(self._labels), self._multi, self._ranges, beside, self._extended
        )


def _attributes_of_kind(attrs: Mapping[Any, Any], plain: Plain) -> dict[str, Any]:
    """Those attributes that say another thing of labels of a kind: what they are stored as."""
    of_kind = plain.companions.keys() & {"bounds"}
    if plain.description:
        of_kind |= added_attributes(plain.description)
    return {k: v for k, v in attrs.items() if k in of_kind and k not in MARKERS}


def _as_numpy(values: Any) -> Any:
    """Nullable numbers and booleans of which none is missing, and floats, as NumPy has them; other data as it is."""
    dtype = getattr(getattr(values, "dtype", None), "numpy_dtype", None)
    if not isinstance(dtype, np.dtype) or dtype.kind not in "biuf":
        return values
    if dtype.kind == "f":
        return values.to_numpy(dtype=dtype, na_value=np.nan)
    return values if bool(pd.isna(values).any()) else values.astype(dtype)


def _level_values(index: pd.MultiIndex, name: Hashable) -> pd.Index[Any]:
    """The labels of one level; integers stay integers also where some are missing."""
    i = index.names.index(name)
    labels, level = index.get_level_values(i), index.levels[i]
    if labels.dtype != level.dtype and level.dtype.kind in "iu":
        codes = index.codes[i]
        text = str(level.dtype)
        nullable = level.astype(text[0].upper() + text[1:] if text[0] == "i" else f"UI{text[2:]}")
        return nullable.append(pd.Index([pd.NA], dtype=nullable.dtype)).take(codes)  # -1 is the last
    return labels
