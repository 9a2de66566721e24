"""What data means: the attributes that new and stored data must agree on, and undecoded data as what it stands for.

Values that are written beside others are read by the attributes of those. So units, flags and the like must be the
same, and numbers that are still packed, or counts of days that are still numbers, are decoded first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import char_to_bytes, decode_cf_variables, is_chunked, with_variables
from zarrds.datasets.encoding.apart import set_apart
from zarrds.datasets.encoding.exact.comparison import label_text
from zarrds.datasets.encoding.exact.packing import check_packed_once, with_float_factors
from zarrds.datasets.encoding.units import are_same_units
from zarrds.errors import EncodingError, LabelError
from zarrds.labels.kinds.plain import EXACT
from zarrds.metadata.attributes import MARKERS, SCALE, array_of
from zarrds.metadata.formats import v3
from zarrds.metadata.times import is_since

__all__ = ["check_same_meaning", "decoded_like", "is_in_same_encoding", "is_undecoded", "says_where"]

Array: TypeAlias = "np.ndarray[Any, Any]"

# attributes by which numbers are decoded; in `attrs`, and not in `encoding`, they say that this was not done
_PACKING = (*SCALE, *MARKERS, "_Unsigned")
_PACKING_KEYS = frozenset(_PACKING)
_SINCE = re.compile(r" since +[-+]?\d")
# attributes without which a value is another thing; where only new data has them they are refused too
_UNDECLARED = ("units", "calendar", "flag_values", "flag_masks", "flag_meanings")
# attributes that say more of a value; they must agree where both have them (CF 1.12): differences of temperature, what
# numbers count or are indices of, the years of calendars that have no name, what the nodes of geometries enclose
_DECLARED = (
    *(*_UNDECLARED, "units_metadata", "standard_name", "cell_methods", "positive", "grid_mapping", "formula_terms"),
    *("compress", "sample_dimension", "instance_dimension", "leap_month", "leap_year", "month_lengths"),
    "geometry_type",
)
# a variable with one of these describes a projection: then all its attributes count, but for those that are prose
_PROJECTION = frozenset(
    # CF, GDAL, and others that name what is projected to where
    "grid_mapping_name crs_wkt spatial_ref proj4 proj4_params proj4text proj4_string epsg epsg_code EPSG EPSG_code "
    "esri_pe_string".split()
)
_PROSE = frozenset({"long_name", "comment", "history", "description", "references", "source", "name"})
_FLAGS = ("flag_values", "flag_masks", "flag_meanings")
# of a 1-D variable, what says where one is: CF 1.12, chapters 4 and 9, and the fields of VCF Zarr
_ROLES = {
    "axis": frozenset("XYZT"),
    "cf_role": frozenset({"timeseries_id", "profile_id", "trajectory_id"}),
    "standard_name": frozenset({"time", "latitude", "longitude", "realization", "station_id", "platform_id"}),
}
_FIELDS = frozenset({"variant_contig", "variant_position", "variant_id", "variant_length", "contig_length"})
_CONTIGS = frozenset({"contig", "chrom", "chromosome", "chr"})


def says_where(name: Hashable, variable: xr.Variable) -> bool:
    """Whether a variable that is no coordinate says all the same what the places along its dimension are.

    Examples
    --------
    >>> import xarray as xr
    >>> says_where("sample_id", xr.Variable("samples", ["NA1"])), says_where("rain", xr.Variable("time", [0.5]))
    (True, False)
    """
    if variable.ndim != 1:
        return False
    text = str(name)
    return (
        text in _FIELDS
        or text.endswith("_id")
        or text.lower() in _CONTIGS
        or any(variable.attrs.get(key) in values for key, values in _ROLES.items() if _is_text(variable.attrs, key))
    )


def _is_text(attributes: Mapping[Any, Any], key: str) -> bool:
    return isinstance(attributes.get(key), str)


def check_same_meaning(name: Hashable, stored: xr.Variable, new: xr.Variable, *, described: bool = False) -> None:
    """Check that new values mean what the stored ones mean, beside which they are written or compared.

    What the new variable does not say is taken as in the store: arithmetic drops attributes. Text is compared without
    regard to blanks, units also in other words (``m/s`` is ``m s-1``), numbers as numbers.

    Parameters
    ----------
    name : hashable
    stored, new : Variable
        Both decoded.
    described : bool
        Whether the store's flags are made of the categories that are noted of it, which are compared themselves.

    Raises
    ------
    LabelError
        Naming the attribute.

    Examples
    --------
    >>> import xarray as xr
    >>> stored = xr.Variable("x", [280.0], {"units": "K"})
    >>> check_same_meaning("t2m", stored, xr.Variable("x", [281.0], {"units": "kelvin"}))
    >>> try:
    ...     check_same_meaning("t2m", stored, xr.Variable("x", [8.0], {"units": "degC"}))
    ... except LabelError as error:
    ...     print(error.problem, "|", error.expected, "|", error.found)
    attribute 'units' of 't2m' is not that of the store | K | degC
    """
    there, here = _attributes(stored), _attributes(new)
    is_time = stored.dtype.kind in "mM" or "units" in stored.encoding
    keys: Collection[str] = _DECLARED
    if any(key in attributes for key in _PROJECTION for attributes in (there, here)):
        keys = (*_DECLARED, *(key for key in here if key in there and key not in _PROSE))
    for key in [key for key in keys if key in here]:
        value = here[key]
        if value is None or (described and key in _FLAGS) or (is_time and key in ("units", "calendar")):
            continue
        known = there.get(key, "" if key == "units" else None)
        if (known is None and key not in _UNDECLARED) or _is_same(key, known, value):
            continue
        raise LabelError(
            f"attribute {key!r} of {str(name)!r} is not that of the store",
            key=str(name),
            expected=_shown(known) if key in there else f"no {key}",
            found=f"{value!s:.200}",
            mend="Convert the data to what the store holds; only if it means the same already, change the attribute "
            "here, or in the store with zarrds.update_attrs",
        )


def _shown(value: Any) -> Any:
    """A value as a message has it, in which nothing would be seen of empty text and None."""
    return repr(value) if value is None or (isinstance(value, str) and not value) else value


def _attributes(variable: xr.Variable) -> dict[Any, Any]:
    """Attributes, and what xarray's decoders may have moved from there to the encoding."""
    moved = {key: variable.encoding[key] for key in ("formula_terms", "grid_mapping") if key in variable.encoding}
    return moved | variable.attrs


def _is_same(key: str, known: Any, value: Any) -> bool:
    if known is None:
        return False
    if isinstance(known, str) and isinstance(value, str):
        if key == "units":
            return are_same_units(known, value)
        return known.split() == value.split()
    try:
        old, new = np.ravel(np.asarray(known)), np.ravel(np.asarray(value))
        return old.shape == new.shape and bool(np.all((old == new) | ((old != old) & (new != new))))
    except (TypeError, ValueError):
        return bool(known == value)


def decoded_like(dataset: xr.Dataset, stored: Mapping[str, xr.Variable]) -> xr.Dataset:
    """A dataset in which what is still packed, or counted since a date, is decoded, where the store has it decoded.

    That is the case of a dataset that was opened with ``mask_and_scale=False`` or ``decode_times=False``: its packing
    keys are in `attrs`. Dask arrays stay lazy.

    Parameters
    ----------
    dataset : Dataset
    stored : mapping of str to Variable
        Decoded. Variables that the store does not have are left as they are.

    Raises
    ------
    EncodingError
        For integers above 2**53 under a mask, which would be rounded.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> raw = xr.Dataset({"t2m": ("x", np.int16([100]), {"scale_factor": 0.01, "add_offset": 280.0})})
    >>> decoded_like(raw, {"t2m": xr.Variable("x", [280.5])}).t2m.values
    array([281.])
    """
    changed: dict[Hashable, xr.Variable] = {}
    parents = {v.attrs["bounds"]: n for n, v in dataset.variables.items() if _is_text(v.attrs, "bounds")}
    for name, variable in dataset.variables.items():
        parent = parents.get(name)
        attributes = {} if parent is None else dataset.variables[parent].attrs
        units = {k: v for k, v in attributes.items() if k in ("units", "calendar")}
        # bounds that are new are decoded as their coordinate is: it has no units any more by which they are seen to be
        like = parent if str(name) not in stored and is_since(units.get("units")) else name
        there = stored.get(str(like))
        if there is None or not isinstance(variable.dtype, np.dtype):
            continue
        joined = _with_joined_characters(variable, there)
        decoded = _decoded(name, joined, there, units)
        if decoded is not None or joined is not variable:
            changed[name] = joined if decoded is None else decoded
    if not changed:
        return dataset
    for index, levels in dataset.xindexes.group_by_index():
        if isinstance(index, xr.indexes.PandasMultiIndex) and not changed.keys().isdisjoint(levels):
            # xarray replaces all of its labels, or none
            names = [level for level in levels if level != index.dim]
            arrays = [changed.pop(level, dataset.variables[level]).values for level in names]
            made = pd.MultiIndex.from_arrays(arrays, names=names)
            coordinates = xr.Coordinates.from_pandas_multiindex(made, index.dim)
            dataset = dataset.drop_vars(list(levels)).assign_coords(coordinates)
    return with_variables(dataset, changed)


def _with_joined_characters(variable: xr.Variable, stored: xr.Variable) -> xr.Variable:
    """Single characters as text, where the store has such; all else as it is."""
    is_text = stored.dtype.kind in "SUOT" and variable.dtype == np.dtype("S1")
    if not is_text or variable.ndim != stored.ndim + 1 or set(variable.dims[:-1]) != set(stored.dims):
        return variable
    is_lazy = is_chunked(variable)
    data = char_to_bytes((variable.chunk({variable.dims[-1]: -1}) if is_lazy else variable).data)
    return xr.Variable(variable.dims[:-1], data if is_lazy else np.asarray(data), variable.attrs, variable.encoding)


def is_undecoded(dataset: xr.Dataset) -> bool:
    """Whether a dataset is one as files have it: numbers or characters have attributes that decoding takes away.

    Examples
    --------
    >>> import xarray as xr
    >>> raw = xr.Dataset({"time": ("time", [0, 1], {"units": "days since 2000-01-01"})})
    >>> is_undecoded(raw), is_undecoded(xr.decode_cf(raw))
    (True, False)
    """
    return any(
        not _PACKING_KEYS.isdisjoint(variable.attrs) or _SINCE.search(str(variable.attrs.get("units", "")))
        if variable.dtype.kind in "iuf"
        else variable.dtype.kind == "S" and _is_text(variable.attrs, "_Encoding")
        for variable in dataset.variables.values()
        if isinstance(variable.dtype, np.dtype)
    )


def _decoded(
    name: Hashable, variable: xr.Variable, stored: xr.Variable, units: Mapping[str, Any]
) -> xr.Variable | None:
    """The variable decoded, or None if it is decoded already."""
    attributes = {**units, **variable.attrs}
    if (other := _of_another_dtype(name, variable, stored)) is not None:
        return other
    is_number = variable.dtype.kind in "iuf"
    is_counted = is_number and is_since(attributes.get("units")) and _is_time(stored)
    is_duration = is_number and stored.dtype.kind == "m" and "units" in attributes
    # what the store has left undecoded is so here, too
    given = [key for key in _PACKING if attributes.get(key) is not None]
    packing = [key for key in given if not _is_same(key, stored.attrs.get(key), attributes[key])]
    if packing:
        # text that should be a number says that something is wrong
        apart = set_apart(variable, v3)
        idle = {key for key, value in apart.items() if not isinstance(value, str) or key not in _PACKING_KEYS}
        packing = [key for key in packing if key not in idle]
        attributes = {key: value for key, value in attributes.items() if key not in idle}
    if not (packing or is_counted or is_duration):
        return None
    check_packed_once(name, variable)
    is_scaled = not set(packing).isdisjoint(SCALE)
    if variable.dtype.kind == "f" or not set(packing).isdisjoint(MARKERS):
        attributes = with_float_factors(attributes)  # by whole ones xarray makes integers, and puts NaN among these
    data = variable.data
    if variable.dtype.kind in "iu" and variable.dtype.itemsize == 8 and packing and not is_scaled and not is_counted:
        noted = [array_of(attributes.get(key, ())) for key in MARKERS]
        markers = [marker for each in noted if each is not None for marker in np.ravel(each).tolist()]
        if is_in_same_encoding(variable, stored) and _are_too_large(np.asarray(variable.values), markers).any():
            return None  # which the store takes as they are
        check = partial(_checked_whole, name=name, markers=markers)
        data = _blockwise(check, variable, variable.dtype)
    unit: Any = np.datetime_data(stored.dtype)[0] if stored.dtype.kind in "mM" else "ns"
    times = xr.coders.CFDatetimeCoder(use_cftime=True if stored.dtype.kind == "O" else None, time_unit=unit)
    durations = xr.coders.CFTimedeltaCoder(decode_via_units=True, time_unit=unit)
    raw = xr.Variable(variable.dims, data, attributes)
    decoding: dict[str, Any] = {
        "concat_characters": False,
        "decode_times": times if is_counted else False,
        "decode_timedelta": durations if is_duration else False,
    }
    shown = {key: attributes[key] for key in (*packing, "units") if key in attributes}
    with _refusing(name, shown):
        for key in set(packing).intersection(SCALE):
            if np.asarray(attributes[key]).dtype.kind not in "biuf":  # which is only seen later otherwise
                raise TypeError(f"{key} is {attributes[key]!r}, which is no number")
        decoded, _, _ = decode_cf_variables({name: raw}, {}, **decoding)  # which takes attributes from `raw`
        if (is_counted or is_duration) and not is_chunked(raw):
            decoded[name].load()  # what is no time is seen here, not in the midst of a save
    if not is_chunked(raw):
        return decoded[name]
    described = (variable.dims, attributes)
    decode = partial(_decoded_block, described=described, name=name, decoding=decoding, shown=shown)
    return decoded[name].copy(deep=False, data=_blockwise(decode, raw, decoded[name].dtype))


def _of_another_dtype(name: Hashable, variable: xr.Variable, stored: xr.Variable) -> xr.Variable | None:
    """Booleans of the integers, or text of the bytes, that hold them in files; None for others."""
    attributes, kind = dict(variable.attrs), variable.dtype.kind
    if not _PACKING_KEYS.isdisjoint(attributes):
        return None
    make: Callable[[Array], Array]
    if kind in "iu" and stored.dtype.kind == "b" and _is_text(attributes, "dtype") and attributes["dtype"] == "bool":
        del attributes["dtype"]
        make, dtype = partial(_as_booleans, name=name), np.dtype(bool)
    elif kind == "S" and stored.dtype.kind in "UTO" and _is_text(attributes, "_Encoding"):
        make = partial(_as_text, name=name, encoding=attributes.pop("_Encoding"))
        dtype = np.dtype(f"U{variable.dtype.itemsize}")
    else:
        return None
    return xr.Variable(variable.dims, _blockwise(make, variable, dtype), attributes, variable.encoding)


def _as_booleans(values: Array, *, name: Hashable) -> Array:
    bad = (values != 0) & (values != 1)
    if bad.any():
        raise EncodingError(
            f"variable {str(name)!r} is one of booleans by its attribute 'dtype', and holds something else",
            key=str(name),
            expected="0 or 1",
            found=label_text(values[bad][0]),
            mend="Drop the attribute if these are numbers",
        )
    return values.astype(bool)


def _as_text(values: Array, *, name: Hashable, encoding: str) -> Array:
    try:
        return np.asarray(np.char.decode(values, encoding))
    except (LookupError, UnicodeError) as error:
        raise EncodingError(
            f"variable {str(name)!r} is text by its attribute '_Encoding', and cannot be decoded: {error}",
            key=str(name),
            found=encoding,
            mend="Correct the attribute, or drop it if these are bytes",
        ) from error


def _blockwise(function: Callable[[Array], Array], variable: xr.Variable, dtype: np.dtype[Any]) -> Any:
    """What a function makes of the values: of an array of dask block by block, when it is computed."""
    apply: Any = xr.apply_ufunc  # it has no types
    return apply(function, variable, dask="parallelized", output_dtypes=[dtype]).data


def _decoded_block(
    values: Array,
    *,
    described: tuple[tuple[Hashable, ...], Mapping[str, Any]],
    name: Hashable,
    decoding: Mapping[str, Any],
    shown: Mapping[str, Any],
) -> Array:
    """A block of dask decoded; `described` are its dimensions and attributes."""
    dims, attributes = described
    with _refusing(name, shown):
        decoded, _, _ = decode_cf_variables({name: xr.Variable(dims, values, attributes)}, {}, **decoding)
        return np.asarray(decoded[name].values)


@contextmanager
def _refusing(name: Hashable, shown: Mapping[str, Any]) -> Iterator[None]:
    """Make errors of xarray's decoders ones that name the variable; `shown` are the attributes that it decodes by."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        raise EncodingError(
            f"variable {str(name)!r} has attributes of undecoded data, and cannot be decoded: {error}",
            key=str(name),
            found=shown,
            mend="Decode it first (xr.decode_cf), or drop these attributes if the data is decoded already",
        ) from error


def _is_time(variable: xr.Variable) -> bool:
    return variable.dtype.kind == "M" or (variable.dtype.kind == "O" and "units" in variable.encoding)


def is_in_same_encoding(variable: xr.Variable, stored: xr.Variable) -> bool:
    """Whether integers in memory are undecoded, and elements of a stored array as they are: of one marker, not packed.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> raw = xr.Variable("x", [2**53 + 1, -1], {"_FillValue": -1})
    >>> stored = xr.Variable("x", [np.nan], encoding={"_FillValue": -1, "dtype": np.dtype("i8")})
    >>> is_in_same_encoding(raw, stored)
    True
    """
    dtype = stored.encoding.get("dtype")
    if is_chunked(variable) or variable.dtype.kind not in "iu" or variable.dtype != dtype or stored.dtype.kind != "f":
        return False
    given = {key: variable.attrs[key] for key in _PACKING if variable.attrs.get(key) is not None}
    known = {key: stored.encoding[key] for key in _PACKING if stored.encoding.get(key) is not None}
    return (
        bool(given)
        and given.keys() == known.keys() <= {*MARKERS}
        and all(_is_same(k, known[k], given[k]) for k in given)
    )


def _are_too_large(values: Array, markers: Sequence[Any]) -> Array:
    """Which integers floats would round; those that mark what is missing become NaN."""
    large = (values > EXACT) | (values < -EXACT)
    for marker in markers:
        large &= values != marker
    return large


def _checked_whole(values: Array, *, name: Hashable, markers: Sequence[Any]) -> Array:
    """Integers with a mask, for which xarray makes floats of them."""
    bad = _are_too_large(values, markers)
    if bad.any():
        raise EncodingError(
            f"variable {str(name)!r} holds a value that is too large to be masked without being rounded",
            key=str(name),
            expected=f"at most {EXACT}, as _FillValue and missing_value make floats of integers",
            found=label_text(values[bad][0]),
            mend="Drop _FillValue and missing_value from its attributes if nothing is missing",
        )
    return values
