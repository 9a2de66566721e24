"""One encoding of a variable, tried: what xarray's encoders make of it, and proof that nothing is lost.

Two ways lead there. What cannot alter values, and times whose units xarray chooses, xarray encodes as a whole. All else
is encoded block by block: xarray is shown a sample, from which dtype and attributes follow, and an `Encoder` does the
blocks and compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import (
    blockwise_array,
    check_vlen_dtype,
    encode_zarr_variable,
    infer_datetime_units,
    is_chunked,
    variable_of,
)
from zarrds.compat.xarray_messages import without_encoder_warnings
from zarrds.datasets.encoding.exact.blocks import blockwise, computed, encoding_error, first_present, whole
from zarrds.datasets.encoding.exact.encoder import Encoder
from zarrds.datasets.encoding.exact.kinds import kind_of
from zarrds.datasets.encoding.exact.packing import CF_KEYS
from zarrds.datasets.encoding.exact.times import check_same_times, decode_times
from zarrds.errors import EncodingError
from zarrds.labels.kinds.plain import is_missing
from zarrds.labels.kinds.times import is_cftime
from zarrds.metadata.attributes import MARKERS, SCALE

__all__ = ["FOREIGN", "LOSSY_KEYS", "CFEncoding", "encode_so", "is_time", "lazy_units", "without_losses"]

CFEncoding: TypeAlias = Mapping[str, Any]

# what may change values; the other keys say how they are stored
LOSSY_KEYS = frozenset({"dtype", "_Encoding", *CF_KEYS})
# what xarray's encoders raise for what they do not understand
FOREIGN = (AttributeError, KeyError, OverflowError, TypeError, ValueError)
_TIMES = ("datetimes", "timedeltas")
_UNITS_OF = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_INT64, _FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)


def without_losses(encoding: CFEncoding) -> dict[str, Any]:
    """An encoding without all that may change values."""
    return {key: value for key, value in encoding.items() if key not in LOSSY_KEYS}


def lazy_units(dtype: np.dtype[Any]) -> str:
    """Units for times of which none are known yet: as fine as the times can be."""
    unit = _UNITS_OF[np.datetime_data(dtype)[0]] if dtype.kind in "mM" else "microseconds"
    return unit if dtype.kind == "m" else f"{unit} since 1970-01-01"


def is_time(variable: xr.Variable) -> bool:
    """Whether the elements are times, spans of time, or dates of cftime; of objects one that is there is looked at."""
    if variable.dtype.kind in "mM":
        return True
    if variable.dtype.kind != "O" or variable.size == 0 or check_vlen_dtype(variable.dtype) is not None:
        return False
    if variable.chunks is not None and (first := first_present(variable)).size:
        return is_cftime(first)
    return is_cftime(np.asarray(variable.values).reshape(-1))


def encode_so(name: str, variable: xr.Variable, encoding: CFEncoding, *, is_carried: bool) -> xr.Variable:
    """A variable in the dtype of the store, with its attributes there, by this encoding and no other.

    Parameters
    ----------
    name : str
    variable : Variable
        Decoded. Dask arrays stay lazy, and are checked when they are computed.
    encoding : mapping
        Takes the place of the variable's own.
    is_carried : bool
        Whether it came along with the data, which errors then say.

    Raises
    ------
    EncodingError
        For values that it would change.
    AttributeError, KeyError, OverflowError, TypeError, ValueError, NotImplementedError
        xarray's, for what its encoders do not understand.

    Examples
    --------
    >>> variable = xr.Variable("x", [0.5, 2.0])
    >>> encode_so("v", variable, {"dtype": "i2", "scale_factor": 0.5}, is_carried=False).values
    array([1, 4], dtype=int16)
    """
    kind = _kind_if_lossy(variable, encoding)
    if kind is None and blockwise_array(variable) is not None:
        kind = kind_of(np.empty(0, variable.dtype))  # xarray would load it, to give it another dtype
    if kind in _TIMES and (is_chunked(variable) or not variable.size or _is_missing(variable)):
        # which times there will be is not known
        encoding = {"units": lazy_units(variable.dtype), "dtype": _INT64, **encoding}
    if kind == "datetimes" and variable.dtype.kind == "O":
        encoding = {**_of_missing_dates(variable, encoding), **encoding}
    if kind is None and is_chunked(variable) and variable.dtype.kind == "O" and "dtype" in encoding:
        variable = computed(name, variable)  # which xarray would do for each of its texts
    if kind is None or (kind in _TIMES and "units" not in encoding):
        return _as_a_whole(name, variable, encoding, kind, is_carried)
    return _block_by_block(name, variable, encoding, kind, is_carried)


def _as_a_whole(
    name: str, variable: xr.Variable, encoding: CFEncoding, kind: str | None, is_carried: bool
) -> xr.Variable:
    """What xarray makes of it. Of times it chooses the units, unless they need the finest ones."""
    may_choose = variable.dtype.kind in "mM" and LOSSY_KEYS.isdisjoint(encoding)

    def by_finest_units() -> xr.Variable:
        finest = {**encoding, "units": lazy_units(variable.dtype), "dtype": _INT64}
        return encode_so(name, variable, finest, is_carried=is_carried)

    try:
        made: xr.Variable = encode_zarr_variable(_with(variable, encoding), name=name)
        _check_ends(name, variable, made)
        if kind is not None and variable.size:
            _check_times(name, variable, made)
    except (*FOREIGN, EncodingError):
        if not may_choose:
            raise
        return by_finest_units()  # xarray counts from the first of them, which may be too far from the last
    if may_choose and "." in str(made.attrs.get("units")):
        with suppress(EncodingError):  # counted from a part of a second, others would not go on
            return by_finest_units()
    return made


def _block_by_block(name: str, variable: xr.Variable, encoding: CFEncoding, kind: str, is_carried: bool) -> xr.Variable:
    """The blocks encoded and compared, in the dtype and with the attributes that xarray gives a sample."""
    with without_encoder_warnings():  # what xarray warns of is looked for, and is an error
        asked = _sample(_with(variable, encoding))
        sample: xr.Variable = encode_zarr_variable(asked, name=name)
    units = sample.attrs.get("units")
    if kind in _TIMES and str(units).split(" ")[0] != str(encoding["units"]).split(" ")[0]:
        sample.attrs["units"] = encoding["units"]  # xarray took finer ones, for the one time that it saw
    keys = (*CF_KEYS, "_Encoding")
    cf = {key: sample.attrs[key] for key in keys if key in sample.attrs and key not in variable.attrs}
    is_of_cftime = kind == "datetimes" and variable.dtype.kind == "O"
    encoder = Encoder(name, variable.dims, sample.dtype, kind, cf, is_carried, is_cftime=is_of_cftime)
    data = blockwise(encoder, variable, sample.dtype)
    return variable_of(variable.dims, data, sample.attrs, sample.encoding)


def _with(variable: xr.Variable, encoding: CFEncoding) -> xr.Variable:
    changed = variable.copy(deep=False)
    changed.encoding = dict(encoding)
    return changed


def _kind_if_lossy(variable: xr.Variable, encoding: CFEncoding) -> str | None:
    """What the elements of a variable are, if the encoding could alter them; decided without looking at all of them."""
    if is_time(variable):
        return "timedeltas" if variable.dtype.kind == "m" else "datetimes"
    dtype = encoding.get("dtype")
    given = variable.dtype
    is_marked = any(encoding.get(key) is not None and not pd.isnull(encoding[key]) for key in MARKERS)
    if given.kind in "USTO":
        is_fixed = dtype is not None and dtype is not str and not (isinstance(dtype, str) and dtype == "S1")
        if not is_fixed or np.dtype(dtype).kind not in "SU" or np.dtype(dtype) == given:
            return None
        kind = kind_of(np.asarray(variable.values).reshape(-1)) if given.kind == "O" else kind_of(np.empty(0, given))
        return kind if kind in ("strings", "bytes") else None
    if given.kind not in "biufc":
        return None
    if not is_marked and encoding.keys().isdisjoint(SCALE):
        target = given if dtype is None else np.dtype(dtype)
        if target.newbyteorder("=") == given.newbyteorder("=") or _is_wider(given, target):
            return None
    return kind_of(np.empty(0, given))


def _is_missing(variable: xr.Variable) -> bool:
    """Whether times in memory are all missing."""
    return variable.dtype.kind in "mM" and not is_chunked(variable) and bool(np.isnat(variable.values).all())


def _of_missing_dates(variable: xr.Variable, encoding: CFEncoding) -> dict[str, Any]:
    """What an encoding lacks for dates of cftime in memory of which some are missing.

    xarray finds no units beside these, and takes integers without a marker.
    """
    is_marked = encoding.get("dtype", _INT64) != _INT64 or not encoding.keys().isdisjoint(MARKERS)
    if is_chunked(variable) or (is_marked and "units" in encoding):
        return {}
    values = np.asarray(variable.values).reshape(-1)
    missing = is_missing(values)
    if not missing.any():
        return {}
    units = {} if "units" in encoding else {"units": infer_datetime_units(values[~missing])}
    return units if is_marked else {**units, "_FillValue": np.iinfo(_INT64).min}


def _is_wider(given: np.dtype[Any], target: np.dtype[Any]) -> bool:
    is_exact = not (given.kind in "iu" and target.kind in "fc" and given.itemsize == 8)
    return target.kind in "biufc" and is_exact and np.can_cast(given, target, "safe")


def _sample(variable: xr.Variable) -> xr.Variable:
    """Some of a variable, from which its encoded attributes and dtype follow."""
    if variable.dtype.kind == "O" or variable.dtype.kind in "mM":
        if variable.chunks is not None:
            values = (
                np.zeros(1, variable.dtype)
                if variable.dtype.kind != "O"
                else variable[(slice(0, 1),) * variable.ndim].values.reshape(-1)
            )
        else:
            flat = np.asarray(variable.values).reshape(-1)
            values = flat[~np.asarray(pd.isnull(flat))][:1]
            if not (values.size or variable.ndim):
                values = flat  # of no dimensions there is one element, if it is missing too
        values = values.reshape((len(values),) * min(1, variable.ndim) + (1,) * (variable.ndim - 1))
    else:
        # xarray scales integers that have a marker in place, which NumPy refuses
        is_scaled_in_place = not any(variable.encoding.keys().isdisjoint(keys) for keys in (SCALE, MARKERS))
        dtype = _FLOAT64 if is_scaled_in_place and variable.dtype.kind in "iu" else variable.dtype
        values = np.empty((0,) * variable.ndim, dtype)
    return variable_of(variable.dims, values, dict(variable.attrs), dict(variable.encoding))


def _check_ends(name: str, variable: xr.Variable, made: xr.Variable) -> None:
    """Check that no text or bytes of a fixed length ends in zeros, which are padding there."""
    if made.dtype.kind != "S" or variable.dtype.kind not in "OT" or is_chunked(variable):
        return
    block = whole(name, variable, np.asarray(variable.values))
    ends = [isinstance(v, str | bytes) and bool(v) and v[-1] in ("\0", 0) for v in block.values.tolist()]
    if any(ends):
        raise encoding_error(
            block,
            np.array(ends, bool),
            "ends in a zero, which bytes of a fixed length lose",
            expected="other text",
            mend="Leave out the dtype, or the _FillValue of bytes",
        )


def _check_times(name: str, variable: xr.Variable, made: xr.Variable) -> None:
    """Check that xarray chose units that hold the times exactly."""
    block = whole(name, variable, np.asarray(variable.values))
    cf = {key: made.attrs[key] for key in CF_KEYS if key in made.attrs and key not in variable.attrs}
    check_same_times(block, decode_times(np.asarray(made.values).reshape(-1), cf, block.values.dtype), made.dtype, cf)
