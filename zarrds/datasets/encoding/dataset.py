"""From a user's objects to what is stored: group attributes, array metadata and encoded variables.

Nothing is written here; what cannot be stored fails here.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.arguments import nearest
from zarrds.compat.xarray_internals import (
    DATAARRAY_NAME,
    DATAARRAY_VARIABLE,
    NONE_VAR_NAME,
    encode_dataset_coordinates,
    is_chunked,
    is_strange,
    lazy_data,
    new_dataset,
    variable_of,
)
from zarrds.compat.xarray_messages import is_about, without_name_warnings
from zarrds.datasets.encoding.apart import only_booleans, set_apart
from zarrds.datasets.encoding.encoded import encoded_variable
from zarrds.datasets.encoding.exact.attempt import is_time
from zarrds.datasets.encoding.exact.blocks import check_no_units, in_words
from zarrds.datasets.encoding.exact.lossy_codecs import proven, without_codecs, without_filters
from zarrds.datasets.encoding.new_variable import NewVariable
from zarrds.datasets.encoding.variables import GAVE_WAY, array_metadata_for
from zarrds.errors import (
    CarriedEncodingError,
    ChunkError,
    EncodingError,
    UnsupportedError,
    VariableNotFoundError,
    ZarrdsError,
)
from zarrds.metadata.attributes import ATTRIBUTES, with_more_noted
from zarrds.metadata.extension import with_note
from zarrds.metadata.fields import JSONObject
from zarrds.metadata.formats import Format
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.nodes.documents import DOCUMENTS
from zarrds.metadata.times import is_since
from zarrds.storage.protocol import check_key

__all__ = [
    "EncodedArray",
    "Encoding",
    "datasets_of",
    "encode_variable",
    "prepared",
    "stored_name",
    "with_named_coordinates",
]

Encoding = Mapping[Hashable, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class EncodedArray:
    """An array to write: its metadata, its data in the dtype of the store.

    `replaced` says why its encoding is another than the one that came along with it, if it is.
    """

    metadata: ArrayMetadata
    variable: xr.Variable
    replaced: str | None = None
    write_empty_chunks: bool | None = None


def datasets_of(
    obj: Any, encoding: Mapping[Any, Any], write_inherited_coords: bool
) -> Iterator[tuple[str, xr.Dataset, Encoding]]:
    """The datasets of an object, by path, with what the user asks for each."""
    if isinstance(obj, xr.DataTree):
        if unknown := set(encoding) - {node.path for node in obj.subtree} - set(obj.groups):
            raise EncodingError("unexpected encoding group name(s) provided", found=sorted(map(str, unknown)))
        for relative, node in obj.subtree_with_keys:
            at_root = node is obj
            dataset = node.to_dataset(inherit=write_inherited_coords or at_root)
            yield (
                "" if at_root else check_key(relative),
                _plain_arrays(_with_levels(dataset)),
                encoding.get(node.path, {}),
            )
    elif isinstance(obj, xr.DataArray):
        yield "", _plain_arrays(_with_levels(_as_dataset(obj))), encoding
    elif isinstance(obj, xr.Dataset):
        yield "", _plain_arrays(_with_levels(obj)), encoding
    else:
        raise EncodingError(
            "cannot be saved",
            expected="a Dataset, DataArray or DataTree",
            found=type(obj).__name__,
            mend=next((f"Make it one first: {way}" for way in _WAYS if hasattr(obj, way[1:].partition("(")[0])), None),
        )


# from what other libraries make to what can be saved
_WAYS = (".to_xarray()", ".to_datatree()", ".to_pandas().to_xarray()")


def _with_levels(dataset: xr.Dataset) -> xr.Dataset:
    """The same, with each MultiIndex as that of its levels too: `swap_dims` of another dimension leaves them none."""
    indexes = dataset.xindexes
    for index in {id(each): each for each in indexes.values()}.values():
        if isinstance(index, xr.indexes.PandasMultiIndex) and not indexes.keys() >= set(index.index.names):
            given = {name: dataset.variables[name] for name in index.index.names if name in dataset.variables}
            made = index.create_variables(given)
            variables = {**dataset.variables, **made}
            all_indexes = {**dataset.xindexes, **dict.fromkeys(made, index)}
            whole = new_dataset(variables, {*dataset.coords, *made}, all_indexes, dataset.attrs, lambda: None)
            whole.encoding, dataset = dataset.encoding, whole
    return dataset


def _plain_arrays(dataset: xr.Dataset) -> xr.Dataset:
    """A dataset whose arrays are NumPy's, dask's, pandas' or lazy: others are made into NumPy's by ``__array__``.

    Those that are computed block by block, as cubed's, are so too where dask is installed.

    Raises
    ------
    EncodingError
        For arrays that refuse that, for those that have units, and for those whose size dask does not know, naming
        the variable.
    """
    for name, variable in dataset.variables.items():
        check_no_units(name, lazy_data(variable))
        if any(size != size for size in variable.shape):  # NaN
            raise EncodingError(
                "the size of a dask array is not known before it is computed",
                key=str(name),
                found=variable.shape,
                mend="Call compute_chunk_sizes() of that array first",
            )
    strange = [name for name, variable in dataset.variables.items() if is_strange(variable)]
    if not strange:
        return dataset
    dataset = dataset.copy()
    for name in strange:
        data = lazy_data(dataset.variables[name])
        try:
            dataset.variables[name].data = _in_blocks(data) if _has_blocks(data) else _in_numpy(data)
        except Exception as error:  # whatever such an array says when it does not want to be one of NumPy's
            raise EncodingError(
                f"variable cannot be made into a NumPy array: {error}",
                key=str(name),
                found=f"{type(data).__module__}.{type(data).__name__}",
                mend="Make it dense first, with .todense() or .as_numpy(); virtual references, which hold no values, "
                "are written by the library that made them",
            ) from error
    return dataset


def _in_numpy(data: Any) -> np.ndarray[Any, Any]:
    """An array of another library as NumPy's, also one of pandas without dimensions, at which pandas fails."""
    if isinstance(elements := getattr(data, "array", None), pd.api.extensions.ExtensionArray):
        one: Any = elements
        return np.asarray(one.reshape(-1)).reshape(data.shape)
    return np.asarray(data)


def _has_blocks(data: Any) -> bool:
    chunks = getattr(data, "chunks", None)
    return isinstance(chunks, tuple) and all(isinstance(sizes, tuple) for sizes in chunks) and chunks != ()


def _in_blocks(data: Any) -> Any:
    """A dask array whose blocks are those of an array of another library, each computed by itself."""
    try:
        import dask.array
    except ImportError:
        return np.asarray(data)
    return dask.array.from_array(data, chunks=data.chunks, name=False, asarray=True)  # type: ignore[no-untyped-call]  # of dask


def _as_dataset(array: xr.DataArray) -> xr.Dataset:
    """A dataset that `xr.open_dataarray` turns back into the array."""
    if array.name is None:
        return array.to_dataset(name=DATAARRAY_VARIABLE)
    if array.name in array.coords or array.name in array.dims:
        dataset = array.to_dataset(name=DATAARRAY_VARIABLE)
        dataset.attrs[DATAARRAY_NAME] = array.name
        return dataset
    return array.to_dataset()


def prepared(dataset: xr.Dataset, encoding: Encoding) -> tuple[dict[Any, Any], dict[str, xr.Variable]]:
    """A group's attributes, and its variables by the names of their arrays.

    The attribute ``coordinates`` is what names coordinates for CF; one of the user's is in `group_attributes_apart`.

    Parameters
    ----------
    dataset : Dataset
    encoding : mapping
        Takes the place of the encoding of the variables that it names.
    """
    variables, attributes = with_named_coordinates(dataset)
    for name, asked in encoding.items():
        if name not in variables:
            raise VariableNotFoundError(
                "encoding names a variable that the dataset does not have",
                key=str(name),
                mend=nearest(name, variables),
            )
        if not isinstance(asked, Mapping):
            raise EncodingError("encoding must be castable to a dictionary", key=str(name), found=f"{asked!r:.80}")
        variables[name].encoding = asked
    _share_time_units(variables, encoding)
    return attributes, {stored_name(name): variable for name, variable in variables.items()}


def _share_time_units(variables: Mapping[Hashable, xr.Variable], asked: Encoding) -> None:
    """Give bounds of times the units of their coordinate, unless others are asked for (CF 1.12, section 7.1)."""
    for name, variable in variables.items():
        units = variable.encoding.get("units")
        beside = variable.attrs.get("bounds", variable.attrs.get("climatology", variable.encoding.get("bounds")))
        bounds = variables.get(beside) if isinstance(beside, str) else None
        if bounds is None or beside in asked or not is_since(units):
            continue
        if name not in asked and is_chunked(bounds) and is_since(bounds.encoding.get("units")):
            continue  # those that they were read in, which held them: other units would be proven too late
        if bounds.dtype.kind in "MO" and "units" not in bounds.attrs and GAVE_WAY not in bounds.encoding:
            shared = {k: variable.encoding[k] for k in ("units", "calendar") if k in variable.encoding}
            if any(bounds.encoding.get(key) != value for key, value in shared.items()):
                # theirs were left by another file, or are none
                own = {k: v for k, v in bounds.encoding.items() if k not in ("units", "calendar", "dtype")}
                bounds.encoding = {**own, **shared}


def with_named_coordinates(dataset: xr.Dataset) -> tuple[dict[Hashable, xr.Variable], dict[Any, Any]]:
    """Variables and attributes of a dataset, of which the attributes ``coordinates`` name what CF can name."""
    if "coordinates" in dataset.attrs:  # which is the user's, and names nothing
        dataset = dataset.copy(deep=False)
        del dataset.attrs["coordinates"]
    own = {name: v.attrs["coordinates"] for name, v in dataset.variables.items() if "coordinates" in v.attrs}
    own = {name: value for name, value in own.items() if not isinstance(value, str)}  # which name nothing either
    if own:
        dataset = dataset.copy(deep=False)
        for name in own:
            variable = dataset.variables[name]
            del variable.attrs["coordinates"]
            variable.encoding = {**variable.encoding, "coordinates": None}  # the group names them
    with without_name_warnings():  # what it cannot name is noted otherwise, and not lost
        variables, attributes = encode_dataset_coordinates(dataset)
    for name, value in own.items():
        variables[name].attrs["coordinates"] = value
    return dict(variables), dict(attributes)


def stored_name(name: Hashable) -> str:
    """The name of a variable's array. Raises `EncodingError` for names that no array can have."""
    text = NONE_VAR_NAME if name is None else str(name)
    if "/" in check_key(text) or text in DOCUMENTS:  # it would hide one of the group's own
        raise EncodingError("a variable cannot have this name in a store", key=text, mend="Rename it")
    return text


def encode_variable(new: NewVariable, spec: Format, notes: JSONObject | None = None) -> EncodedArray:
    """A variable as it is stored.

    Parameters
    ----------
    new : NewVariable
    spec : Format
    notes : mapping of str to JSON, optional
        Further members of the array's ``zarrds`` object.
    """
    name, variable = new.name, new.variable
    description: Any = (notes or {}).get("pandas")
    apart = set_apart(variable, spec, description)
    if apart:
        attrs = {key: value for key, value in variable.attrs.items() if key not in apart}
        variable = variable_of(variable.dims, lazy_data(variable), attrs, variable.encoding)
    variable = only_booleans(name, variable)
    try:
        encoded, replaced = encoded_variable(replace(new, variable=variable))
        encoded = _of_no_characters(variable, encoded)
    except NotImplementedError as error:  # a MultiIndex, or another thing that CF has no words for
        raise UnsupportedError(
            f"variable cannot be stored: {error}", key=name, mend="Convert it first, for example with reset_index"
        ) from error
    except (ChunkError, EncodingError):
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise _refusal(error, name, variable) from error
    try:
        metadata = array_metadata_for(replace(new, variable=encoded), spec, apart)
    except ZarrdsError as error:
        if new.is_order or error.codec is None:
            raise
        replaced = replaced or f"codecs: {error.problem}"
        encoded.encoding = without_codecs(encoded.encoding)
        metadata = array_metadata_for(NewVariable(name, encoded, False), spec, apart)
    try:
        encoded = proven(name, encoded, metadata, is_carried=not new.is_order)
    except CarriedEncodingError as error:
        replaced = replaced or f"filters: {error.problem}"
        encoded.encoding = without_filters(encoded.encoding)
        metadata = array_metadata_for(NewVariable(name, encoded, False), spec, apart)
    for member, value in (notes or {}).items():
        is_more = member == ATTRIBUTES
        metadata = with_more_noted(metadata, value) if is_more else with_note(metadata, member, value)
    empty = variable.encoding.get("write_empty_chunks") if new.is_order else None
    if empty is not None and not isinstance(empty, bool):
        raise EncodingError("encoding['write_empty_chunks'] is wrong", key=name, expected="True or False", found=empty)
    return EncodedArray(metadata, encoded, replaced, empty)


def _refusal(error: Exception, name: str, variable: xr.Variable) -> EncodingError:
    """An error of xarray's encoders in words that say what to do."""
    if is_about(error, "pd.NA"):
        return EncodingError(
            "floats among objects are missing as pd.NA, which no array of floats can say",
            key=name,
            found=f"dtype {variable.dtype}",
            mend="Convert them with pandas' astype('Float64'), or fill pd.NA with NaN",
        )
    if is_about(error, "no integers"):
        return EncodingError(
            "objects that are no integers, or are all missing, cannot be stored as the integers that are asked for",
            key=name,
            expected=f"{variable.encoding.get('dtype')}",
            found=f"dtype {variable.dtype}",
            mend="Leave out dtype and _FillValue, what is missing is noted otherwise then; or convert it first",
        )
    if variable.dtype.kind == "M" and is_about(error, "years"):
        return EncodingError(
            "times cannot be stored as CF times",
            key=name,
            expected="years 1 to 9999",
            found=f"other years, as {variable.dtype}",
            mend="Store them as numbers, for example the years before a date that an attribute names",
        )
    return EncodingError(
        f"variable cannot be stored: {in_words(error)}",
        key=name,
        found=f"dtype {variable.dtype}{_type_of_objects(variable) if variable.dtype.kind == 'O' else ''}",
        mend=_mend_of(error, name, variable),
    )


def _of_no_characters(variable: xr.Variable, encoded: xr.Variable) -> xr.Variable:
    """Text that is encoded as single bytes, as two: readers take single bytes for characters, and join them."""
    is_text = variable.dtype.kind in "UTO" and encoded.attrs.keys() - variable.attrs.keys() >= {"_Encoding"}
    if not is_text or not encoded.ndim or encoded.dtype != "S1":
        return encoded
    data = encoded.data.astype("S2")
    return variable_of(encoded.dims, data, encoded.attrs, encoded.encoding)


def _type_of_objects(variable: xr.Variable) -> str:
    """Of which type the first of a variable's objects is, in words."""
    first = next((one for one in np.asarray(variable.values).flat if one is not None), None)
    return "" if first is None else f", of {type(first).__module__}.{type(first).__qualname__}"


# by what pandas says that objects are
_MENDS = {
    "date": "Make them times of NumPy, with pd.to_datetime",
    "datetime": "Make them times of NumPy, with pd.to_datetime",
    "timedelta": "Make them times of NumPy, with pd.to_timedelta",
    "integer": "Integers beyond 64 bits can be stored as text, with astype(str)",
}


def _mend_of(error: Exception, name: str, variable: xr.Variable) -> str:
    """What to do about an error of xarray's encoders."""
    if is_about(error, "attribute"):
        return (
            "Remove that key from the variable's attrs: for times it is made of their encoding, "
            "which encoding={...: {'units': ..., 'calendar': ...}} sets"
        )
    if variable.dtype.kind == "O" and variable.size and isinstance(np.asarray(variable.values).flat[0], tuple):
        # what isel, sel or swap_dims leave of the labels of a MultiIndex
        return f"Leave it out, with drop_vars({name!r}), if its levels are coordinates of their own"
    if is_about(error, "objects"):
        if mend := _MENDS.get(pd.api.types.infer_dtype(np.asarray(variable.values).reshape(-1), skipna=True)):
            return mend
        return (
            "Store lists of different lengths as one flat array and an array of lengths, geometries as WKB or WKT, "
            "other objects as text or attributes"
        )
    if is_about(error, "calendar") or is_time(variable):
        return (
            "Times of one calendar are stored in its own, counted in units such as 'hours since 2000-01-01': "
            "change encoding['units'] or encoding['calendar'], or convert the times with convert_calendar"
        )
    if variable.dtype.kind in "biufc":
        return "Ask for another encoding of it, or for none"
    return "Convert it to numbers, booleans, strings, bytes or datetimes first"
