"""A new variable as its array is to hold it: what is asked for is done or refused, what came along gives way.

An encoding that the user asks for is an order: values that would change by more than it declares are an error. One
that came along in ``Variable.encoding`` is a hint: where it would change a value it is replaced. See `Encoder` for how
that is proven.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import blockwise_array, check_vlen_dtype, encode_zarr_variable, is_chunked
from zarrds.datasets.encoding.exact.blocks import blockwise, encoding_error, whole
from zarrds.datasets.encoding.exact.contradictions import MENDS, contradictions
from zarrds.datasets.encoding.exact.encoder import Encoder, check_exact, kind_of
from zarrds.datasets.encoding.exact.fitting import (
    misfit_of_characters,
    misfit_of_hint,
    misfit_of_order,
    other_dtype,
)
from zarrds.datasets.encoding.exact.packing import CF_KEYS
from zarrds.datasets.encoding.exact.text_marks import check_unmarked, text_marks, unmarked_blocks
from zarrds.datasets.encoding.exact.times import check_same_times, decode_times
from zarrds.errors import EncodingError, ZarrdsError
from zarrds.labels.kinds.plain import as_integers
from zarrds.metadata.attributes import MARKERS
from zarrds.metadata.model import ZarrFormat
from zarrds.metadata.times import CF_UNITS

__all__ = ["encoded_variable", "lazy_units", "without_losses"]

CFEncoding: TypeAlias = Mapping[str, Any]

# what may change values; the other keys say how they are stored
_LOSSY_KEYS = frozenset({"dtype", "_Encoding", *CF_KEYS})
_SCALE = frozenset({"scale_factor", "add_offset"})
_UNITS_OF = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
# what no value for missing text is, in one byte
_SOME_TEXT = "\1"
_INT64, _FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)
# by what pandas calls objects that are all the same
_NUMBERS: Mapping[str, type[Any]] = {"integer": np.int64, "floating": np.float64, "boolean": np.bool_}
# what xarray's encoders raise for what they do not understand
_FOREIGN = (AttributeError, KeyError, OverflowError, TypeError, ValueError)


def without_losses(encoding: CFEncoding) -> dict[str, Any]:
    """An encoding without all that may change values."""
    return {key: value for key, value in encoding.items() if key not in _LOSSY_KEYS}


def encoded_variable(
    name: str, variable: xr.Variable, is_explicit: bool, zarr_format: ZarrFormat
) -> tuple[xr.Variable, str | None]:
    """A variable in the dtype of the store, with its attributes there.

    Parameters
    ----------
    name : str
    variable : Variable
        Decoded. Dask arrays stay lazy, and are checked when they are computed.
    is_explicit : bool
        Whether its encoding is what the user asked for, not what an earlier file left there.
    zarr_format : {2, 3}

    Returns
    -------
    Variable
    str or None
        Why its encoding was replaced, if it was.

    Raises
    ------
    EncodingError
        For what the encoding that was asked for would change, and for what cannot be stored at all.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> packed = {"dtype": "i2", "scale_factor": 0.1, "chunks": (2,)}
    >>> variable = xr.Variable("x", [0.1, 0.25], {}, packed)
    >>> encoded, why = encoded_variable("v", variable, False, 3)
    >>> encoded.values, encoded.encoding
    (array([0.1 , 0.25]), {'chunks': (2,)})
    >>> why
    'holds a value that would read back as 0.2: 0.25 at x=1'
    """
    if check_vlen_dtype(variable.dtype) is bytes:  # which xarray would cut at zeros at the end
        return _as_it_is(variable), None
    if not variable.size and variable.dtype.kind in "OUT" and _may_be_text(variable, is_explicit):
        return _of_no_text(name, variable, is_explicit, zarr_format), None
    if (why := misfit_of_characters(variable)) is not None:
        if is_explicit:
            raise EncodingError(f"encoding['dtype'] {why}", key=name, mend="Leave out one of both")
        made, replaced = encoded_variable(name, _without(variable, ("dtype", "_Encoding")), is_explicit, zarr_format)
        return made, replaced or f"dtype {why}"
    if marks := _marks_of_blocks(variable):
        made, replaced = encoded_variable(name, _without(variable, marks), is_explicit, zarr_format)
        made.attrs = {**made.attrs, **marks}
        return made, replaced
    encoding = _with_floats(variable.encoding)
    if variable.dtype.kind == "f" and not _SCALE.isdisjoint(variable.attrs):
        # packed already: with the NaN that xarray would add, readers would unpack it to shorter floats
        encoding.setdefault("_FillValue", None)
    if variable.dtype.kind in "UST" or check_vlen_dtype(variable.dtype) is not None:
        # no text is NaN, of which xarray makes one that says so
        encoding = {key: value for key, value in encoding.items() if key not in MARKERS or not _is_nan(value)}
    for key in MARKERS:
        if key in encoding and np.ndim(encoding[key]) and np.size(encoding[key]) == 1:
            encoding[key] = np.ravel(encoding[key])[0]
    problem = next(contradictions(variable, encoding), None)
    if variable.dtype.kind == "O" and not _LOSSY_KEYS.isdisjoint(encoding):
        variable = _known_objects(name, variable, encoding, is_explicit)
    if is_explicit:
        variable = _unmarked(name, variable, encoding, is_carried=False)
        if problem is not None:
            key, why = problem
            mend = MENDS.get(key, "Give one value that the stored dtype has")
            raise EncodingError(f"encoding[{key!r}] {why}", key=name, mend=mend)
        if (mismatch := misfit_of_order(variable, encoding)) is not None:
            raise EncodingError(f"encoding['dtype'] {mismatch}", key=name, mend="Convert it first, or leave it out")
        if encoding.get("dtype") is not None and np.dtype(encoding["dtype"]) == np.dtype(str):  # text of any length
            del encoding["dtype"]
        return _first_possible(name, variable, _orders(variable, encoding), zarr_format), None
    if _LOSSY_KEYS.isdisjoint(encoding):
        return _encode(name, variable, encoding, zarr_format, is_carried=False), None
    if variable.dtype.kind == "b" and encoding.get("dtype") in ("int8", np.dtype(np.int8)):
        encoding.pop("dtype")  # as netCDF files have booleans
    replaced = misfit_of_hint(variable, encoding)
    if replaced is not None:
        return _encode(name, variable, without_losses(encoding), zarr_format, is_carried=False), replaced
    while problem is not None:
        key, why = problem
        replaced = f"{key} {why}"
        encoding.pop(key)
        problem = next(contradictions(variable, encoding), None)
    try:
        variable = _unmarked(name, variable, encoding, is_carried=True)
    except EncodingError as error:
        replaced = _in_words(name, error)
        encoding = {key: value for key, value in encoding.items() if key not in MARKERS}
    for candidate in _hints(variable, encoding):
        try:
            made = _encode(name, variable, candidate, zarr_format, is_carried=True)
            if (dtype := other_dtype(variable, made)) is None:
                return made, replaced
            replaced = replaced or f"it would read back as {dtype}"
        except (ZarrdsError, NotImplementedError, *_FOREIGN) as error:
            replaced = replaced or _in_words(name, error)
    return _encode(name, variable, without_losses(encoding), zarr_format, is_carried=False), replaced


def _without(variable: xr.Variable, keys: Collection[str]) -> xr.Variable:
    """The same, without some keys of its encoding."""
    plain = variable.copy(deep=False)
    plain.encoding = {key: value for key, value in variable.encoding.items() if key not in keys}
    return plain


def _may_be_text(variable: xr.Variable, is_explicit: bool) -> bool:
    """Whether objects of which there are none are text; what they may be besides only an order tells."""
    dtype = variable.encoding.get("dtype")
    if variable.dtype.kind != "O" or dtype is None or not is_explicit:
        return check_vlen_dtype(variable.dtype) is not bytes
    try:
        return np.dtype(dtype).kind in "OUT"
    except TypeError:
        return False


def _of_no_text(name: str, variable: xr.Variable, is_explicit: bool, zarr_format: ZarrFormat) -> xr.Variable:
    """Text of which there is none, of which xarray makes floats: encoded as one text is, where an encoding is asked."""
    encoding = variable.encoding if is_explicit else without_losses(variable.encoding)
    one = xr.Variable(variable.dims, np.full((1,) * variable.ndim, _SOME_TEXT, object), variable.attrs, encoding)
    try:
        made, _ = encoded_variable(name, one, is_explicit, zarr_format)
    except EncodingError as error:
        error.found = None  # which is not there
        raise
    except _FOREIGN as error:
        asked = {key: value for key, value in encoding.items() if key in _LOSSY_KEYS}
        raise EncodingError("text cannot be encoded so", key=name, found=asked, mend="Leave it out") from error
    data = np.empty(variable.shape, made.dtype)
    return xr.Variable(variable.dims, data, made.attrs, made.encoding, fastpath=True)


def _known_objects(name: str, variable: xr.Variable, encoding: CFEncoding, is_explicit: bool) -> xr.Variable:
    """Objects in memory, as xarray has them too, and as numbers where they are nothing but such: no digit is lost."""
    if check_vlen_dtype(variable.dtype) is not None or _is_time(variable):
        return variable
    if is_chunked(variable):
        variable = variable.compute()
    values = np.asarray(variable.values)
    missing = np.asarray(pd.isnull(values), bool)
    dtype: type[Any] | None = _NUMBERS.get(pd.api.types.infer_dtype(values[~missing], skipna=False))
    if missing.any():
        # which integers and floats are, if nothing is to be scaled: halves of steps are no slack of integers
        has_marker = is_explicit and not encoding.keys().isdisjoint(MARKERS) and _SCALE.isdisjoint(encoding)
        if not has_marker or dtype in (None, np.bool_):
            return variable
        check_exact(whole(name, variable, values), _FLOAT64)
        values, dtype = np.where(missing, np.nan, values), np.float64
    if dtype is None:
        return variable
    values = as_integers(values) if dtype is np.int64 else values.astype(dtype)
    return xr.Variable(variable.dims, values, variable.attrs, variable.encoding, fastpath=True)


def _unmarked(name: str, variable: xr.Variable, encoding: CFEncoding, *, is_carried: bool) -> xr.Variable:
    """The same, if none of its text would read back as missing; of dask that is seen when it is computed."""
    marks = text_marks(encoding)
    if not marks or variable.dtype.kind not in "OUST":
        return variable
    if is_chunked(variable):
        return unmarked_blocks(name, variable, marks, is_carried=is_carried)
    check_unmarked(name, variable, marks)
    return variable


def _marks_of_blocks(variable: xr.Variable) -> dict[str, str]:
    """What stands for what is missing in blocks of dask that are text already, of which xarray would compute all."""
    if not is_chunked(variable) or check_vlen_dtype(variable.dtype) is not str:
        return {}
    return {key: variable.encoding[key] for key in MARKERS if isinstance(variable.encoding.get(key), str)}


def _as_it_is(variable: xr.Variable) -> xr.Variable:
    encoding = without_losses(variable.encoding)
    return xr.Variable(variable.dims, variable.data, variable.attrs, encoding, fastpath=True)


def _in_words(name: str, error: Exception) -> str:
    if not isinstance(error, ZarrdsError):
        return f"xarray cannot encode it so: {type(error).__name__}: {error}"
    problem = error.problem.removeprefix(f"variable {name!r} ")
    return problem if error.found is None else f"{problem}: {error.found}"


def _with_floats(encoding: CFEncoding) -> dict[str, Any]:
    """An encoding that scales by floats alone: over integers, and arrays of one number, xarray's coders stumble."""
    given = {key: np.ravel(v)[0] if key in _SCALE and np.size(v) == 1 else v for key, v in encoding.items()}
    return {
        key: float(value) if key in _SCALE and isinstance(value, int | np.integer) else value
        for key, value in given.items()
        if value is not None or key not in ("dtype", "units", "calendar", "missing_value", "scale_factor", "add_offset")
    }


def _is_time(variable: xr.Variable) -> bool:
    if variable.dtype.kind in "mM":
        return True
    if variable.dtype.kind != "O" or variable.size == 0 or check_vlen_dtype(variable.dtype) is not None:
        return False
    first = variable[(0,) * variable.ndim].values.item() if variable.chunks is not None else None
    if first is None:
        values = np.asarray(variable.values).reshape(-1)
        first = next((value for value in values if np.ndim(value) or not pd.isnull(value)), None)
    return hasattr(first, "calendar") and hasattr(first, "toordinal")


def _orders(variable: xr.Variable, encoding: CFEncoding) -> Iterator[CFEncoding]:
    """The encoding that was asked for, completed: whole units where they are possible, else floats."""
    if "dtype" not in encoding and any(_is_nan(encoding.get(key)) for key in MARKERS) and _is_time(variable):
        yield {**encoding, "dtype": _FLOAT64}  # which alone can be that
    elif "dtype" in encoding or "units" not in encoding or not _is_time(variable):
        yield encoding
    else:
        yield {**encoding, "dtype": _INT64}
        yield {**encoding, "dtype": _FLOAT64}


def _is_nan(value: Any) -> bool:
    return value is not None and np.ndim(value) == 0 and bool(pd.isnull(value))


def _hints(variable: xr.Variable, encoding: CFEncoding) -> Iterator[CFEncoding]:
    """What to try of an encoding that came along, the nearest first."""
    if _LOSSY_KEYS.isdisjoint(encoding):
        return
    units = encoding.get("units")
    if not _is_time(variable):
        yield encoding
        return
    if isinstance(units, str):
        yield {"dtype": _INT64, **encoding}
        whole = {**without_losses(encoding), "dtype": _INT64}
        if "calendar" in encoding:
            whole["calendar"] = encoding["calendar"]
        unit, since, date = units.partition(" since ")
        known = next((i for i, u in enumerate(CF_UNITS) if unit.strip().lower().rstrip("s") == u.rstrip("s")), 0)
        for finer in CF_UNITS[known:]:
            yield {**whole, "units": f"{finer}{since}{date}"}
    elif "dtype" in encoding and variable.chunks is None:
        yield encoding


def _first_possible(
    name: str, variable: xr.Variable, candidates: Iterator[CFEncoding], zarr_format: ZarrFormat
) -> xr.Variable:
    refused: EncodingError | None = None
    for candidate in candidates:
        try:
            return _encode(name, variable, candidate, zarr_format, is_carried=False)
        except EncodingError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _encode(
    name: str, variable: xr.Variable, encoding: CFEncoding, zarr_format: ZarrFormat, *, is_carried: bool
) -> xr.Variable:
    """One way to encode a variable. Raises what xarray raises, and `EncodingError` for values that it would change."""
    kind = _kind_if_lossy(variable, encoding)
    if kind is None and blockwise_array(variable) is not None:
        kind = kind_of(np.empty(0, variable.dtype))  # xarray would load it, to give it another dtype
    # which times there will be
    is_unknown = is_chunked(variable) or not variable.size or _is_missing(variable)
    if kind in ("datetimes", "timedeltas") and is_unknown:
        encoding = {"units": lazy_units(variable.dtype), "dtype": _INT64, **encoding}
    if kind is None and is_chunked(variable) and variable.dtype.kind == "O" and "dtype" in encoding:
        variable = variable.compute()  # which xarray would do for each of its texts
    asked = variable.copy(deep=False)
    asked.encoding = dict(encoding)
    if kind is None or (kind in ("datetimes", "timedeltas") and not is_chunked(variable) and "units" not in encoding):
        finest = {**without_losses(encoding), "units": lazy_units(variable.dtype), "dtype": _INT64}
        may_choose = variable.dtype.kind in "mM" and _LOSSY_KEYS.isdisjoint(encoding)
        try:
            made: xr.Variable = encode_zarr_variable(asked, name=name, zarr_format=zarr_format)
            _check_ends(name, variable, made)
            if kind is not None and variable.size:
                _check_times(name, variable, made)
        except (*_FOREIGN, EncodingError):
            if not may_choose:
                raise
            # xarray counts from the first of them, which may be too far from the last
            return _encode(name, variable, finest, zarr_format, is_carried=is_carried)
        if may_choose and "." in str(made.attrs.get("units")):
            with suppress(EncodingError):  # counted from a part of a second, others would not go on
                return _encode(name, variable, finest, zarr_format, is_carried=is_carried)
        return made
    with warnings.catch_warnings():
        # what xarray warns of is looked for, and is an error
        warnings.filterwarnings("ignore", "saving variable .* with floating", xr.SerializationWarning)
        warnings.filterwarnings("ignore", category=np.exceptions.ComplexWarning)
        warnings.filterwarnings("ignore", ".* can't be serialized faithfully", UserWarning)
        sample: xr.Variable = encode_zarr_variable(_sample(asked), name=name, zarr_format=zarr_format)
    units = sample.attrs.get("units")
    if kind in ("datetimes", "timedeltas") and str(units).split(" ")[0] != str(encoding["units"]).split(" ")[0]:
        sample.attrs["units"] = encoding["units"]  # xarray took finer ones, for the one time that it saw
    keys = (*CF_KEYS, "_Encoding")
    cf = {key: sample.attrs[key] for key in keys if key in sample.attrs and key not in variable.attrs}
    encoder = Encoder(name, variable.dims, sample.dtype, kind, cf, zarr_format, is_carried)
    return xr.Variable(
        variable.dims, blockwise(encoder, variable, sample.dtype), sample.attrs, sample.encoding, fastpath=True
    )


def lazy_units(dtype: np.dtype[Any]) -> str:
    """Units for times of which none are known yet: as fine as the times can be."""
    unit = _UNITS_OF[np.datetime_data(dtype)[0]] if dtype.kind in "mM" else "microseconds"
    return unit if dtype.kind == "m" else f"{unit} since 1970-01-01"


def _kind_if_lossy(variable: xr.Variable, encoding: CFEncoding) -> str | None:
    """What the elements of a variable are, if the encoding could alter them; decided without looking at all of them."""
    if _is_time(variable):
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
    if not (is_marked or "scale_factor" in encoding or "add_offset" in encoding):
        target = given if dtype is None else np.dtype(dtype)
        if target.newbyteorder("=") == given.newbyteorder("=") or _is_wider(given, target):
            return None
    return kind_of(np.empty(0, given))


def _is_missing(variable: xr.Variable) -> bool:
    """Whether times in memory are all missing."""
    return variable.dtype.kind in "mM" and not is_chunked(variable) and bool(np.isnat(variable.values).all())


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
        is_scaled_in_place = not any(variable.encoding.keys().isdisjoint(keys) for keys in (_SCALE, MARKERS))
        dtype = _FLOAT64 if is_scaled_in_place and variable.dtype.kind in "iu" else variable.dtype
        values = np.empty((0,) * variable.ndim, dtype)
    return xr.Variable(variable.dims, values, dict(variable.attrs), dict(variable.encoding), fastpath=True)


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
