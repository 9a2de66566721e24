"""A new variable as its array is to hold it: what is asked for is done or refused, what came along gives way.

An encoding that the user asks for is an order: values that would change by more than it declares are an error. One
that came along in ``Variable.encoding`` is a hint: where it would change a value it is replaced. See `Encoder` for how
that is proven.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import CF_RELATED_DATA, check_vlen_dtype, is_chunked, variable_of
from zarrds.datasets.encoding.characters import characters_of
from zarrds.datasets.encoding.exact.attempt import (
    FOREIGN,
    LOSSY_KEYS,
    CFEncoding,
    encode_so,
    is_time,
    without_losses,
)
from zarrds.datasets.encoding.exact.blocks import computed, whole
from zarrds.datasets.encoding.exact.contradictions import MENDS, contradictions
from zarrds.datasets.encoding.exact.fitting import (
    kind_of_data,
    misfit_of_characters,
    misfit_of_hint,
    misfit_of_order,
    other_dtype,
)
from zarrds.datasets.encoding.exact.packing import check_exact, check_packed_once, is_nan
from zarrds.datasets.encoding.exact.text_marks import check_unmarked, is_no_text, text_mark, text_marks, unmarked_blocks
from zarrds.datasets.encoding.new_variable import NewVariable
from zarrds.errors import CarriedEncodingError, EncodingError, ZarrdsError
from zarrds.labels.kinds.plain import NUMBER_KINDS, as_numbers, is_missing
from zarrds.metadata.attributes import MARKERS, SCALE
from zarrds.metadata.times import CF_UNITS, of_same_date, unit_of

__all__ = ["encoded_variable"]

# what no value for missing text is, in one byte
_SOME_TEXT = "\1"
_INT64, _FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)
# keys that say nothing with None; no _FillValue is another thing than none said
_NONE_IS_NOTHING = frozenset({"dtype", "units", "calendar", "missing_value", *SCALE})


def encoded_variable(new: NewVariable) -> tuple[xr.Variable, str | None]:
    """A variable in the dtype of the store, with its attributes there.

    Parameters
    ----------
    new : NewVariable
        Decoded. Dask arrays stay lazy, and are checked when they are computed.

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
    >>> encoded, why = encoded_variable(NewVariable("v", variable, is_order=False))
    >>> encoded.values, encoded.encoding
    (array([0.1 , 0.25]), {'chunks': (2,)})
    >>> why
    'holds a value that would read back as 0.2: 0.25 at x=1'
    """
    name, variable = new.name, new.variable
    check_packed_once(name, variable, is_order=new.is_order)
    if check_vlen_dtype(variable.dtype) is bytes:  # which xarray would cut at zeros at the end
        return _as_it_is(variable), None
    if not variable.size and variable.dtype.kind in "OUT" and _may_be_text(new):
        return _of_no_text(new), None
    if (why := misfit_of_characters(variable)) is not None:
        if new.is_order:
            raise EncodingError(f"encoding['dtype'] {why}", key=name, mend="Leave out one of both")
        made, replaced = encoded_variable(_without(new, ("dtype", "_Encoding")))
        return made, replaced or f"dtype {why}"
    marks = _marks_of_blocks(variable)
    if marks and not any(mark.endswith("\0") for mark in marks.values()):
        made, replaced = encoded_variable(_without(new, marks))
        made.attrs = {**made.attrs, **marks}
        return made, replaced
    encoding = _as_xarray_takes_it(new)
    if variable.dtype.kind == "O" and not LOSSY_KEYS.isdisjoint(encoding):
        variable = _known_objects(new, encoding)
    if new.is_order:
        return _by_order(name, variable, encoding), None
    if LOSSY_KEYS.isdisjoint(encoding):
        return encode_so(name, variable, encoding, is_carried=False), None
    return _by_hint(name, variable, encoding)


def _by_order(name: str, variable: xr.Variable, encoding: dict[str, Any]) -> xr.Variable:
    """By the encoding that the user asked for, or an `EncodingError`."""
    if (mismatch := misfit_of_order(variable, encoding)) is not None:
        mend = "Give one that such data can be, convert the data first, or leave it out"
        raise EncodingError(f"encoding['dtype'] {mismatch}", key=name, mend=mend)
    variable = _unmarked(name, variable, encoding, is_carried=False)
    if (problem := next(contradictions(variable, encoding), None)) is not None:
        key, why = problem
        mend = MENDS.get(key, "Give one value that the stored dtype has")
        raise EncodingError(f"encoding[{key!r}] {why}", key=name, mend=mend)
    asked = None if encoding.get("dtype") is None else np.dtype(encoding["dtype"])
    # text of any length; of numbers objects say nothing, to xarray neither
    if asked == np.dtype(str) or (asked == np.dtype(object) and variable.dtype.kind in "biufc"):
        del encoding["dtype"]
    return _first_possible(name, variable, _orders(variable, encoding))


def _by_hint(name: str, variable: xr.Variable, encoding: dict[str, Any]) -> tuple[xr.Variable, str | None]:
    """By the encoding that came along, as far as it changes nothing, and why it gave way."""
    if variable.dtype.kind == "b" and encoding.get("dtype") in ("int8", np.dtype(np.int8)):
        encoding.pop("dtype")  # as netCDF files have booleans
    noted = characters_of(encoding)
    if noted is not None and noted.dimension is None and kind_of_data(variable) == "bytes":
        encoding.pop("_FillValue", None)  # of single characters of a netCDF file: none is missing, and it is noted
    plain = without_losses(encoding)
    replaced = misfit_of_hint(variable, encoding)
    if replaced is not None:
        _check_missing_text(name, variable, replaced)
        return encode_so(name, variable, plain, is_carried=False), replaced
    while (problem := next(contradictions(variable, encoding), None)) is not None:
        key, why = problem
        replaced = f"{key} {why}"
        if key in _marks_of_blocks(variable):  # which stands in the blocks already
            raise CarriedEncodingError(replaced, key=name)
        encoding.pop(key)
    try:
        variable = _unmarked(name, variable, encoding, is_carried=True)
    except EncodingError as error:
        replaced = _in_words(name, error)
        _check_missing_text(name, variable, replaced)
        encoding = {key: value for key, value in encoding.items() if key not in MARKERS}
    before = replaced
    for candidate in _hints(variable, encoding):
        try:
            made = encode_so(name, variable, candidate, is_carried=True)
            if (dtype := other_dtype(variable, made)) is None:
                is_as_said = all(candidate.get(key) is value for key, value in encoding.items())
                return made, before if is_as_said else replaced
            replaced = replaced or f"it would read back as {dtype}"
        except (ZarrdsError, NotImplementedError, *FOREIGN) as error:
            replaced = replaced or _in_words(name, error)
    _check_missing_text(name, variable, replaced or "")
    return encode_so(name, variable, plain, is_carried=False), replaced


def _check_missing_text(name: str, variable: xr.Variable, why: str) -> None:
    """Check that no text is missing, for which an encoding that gives way would have had a mark: xarray makes it ''.

    Raises
    ------
    CarriedEncodingError
        By which the save begins again without the encoding, and missing text is noted as such.
    """
    if variable.dtype.kind != "O" or is_chunked(variable) or check_vlen_dtype(variable.dtype) is not None:
        return
    if is_missing(variable.values).any() and kind_of_data(variable) in ("strings", "bytes"):
        raise CarriedEncodingError(why, key=name)


def _without(new: NewVariable, keys: Collection[str]) -> NewVariable:
    """The same, without some keys of its encoding."""
    plain = new.variable.copy(deep=False)
    plain.encoding = {key: value for key, value in new.encoding.items() if key not in keys}
    return replace(new, variable=plain)


def _may_be_text(new: NewVariable) -> bool:
    """Whether objects of which there are none are text; what they may be besides only an order tells."""
    dtype = new.encoding.get("dtype")
    if new.variable.dtype.kind != "O" or dtype is None or not new.is_order:
        return check_vlen_dtype(new.variable.dtype) is not bytes
    try:
        return np.dtype(dtype).kind in "OUT"
    except TypeError:
        return False


def _of_no_text(new: NewVariable) -> xr.Variable:
    """Text of which there is none, of which xarray makes floats: encoded as one text is, where an encoding is asked."""
    variable = new.variable
    encoding = new.encoding if new.is_order else without_losses(new.encoding)
    one = xr.Variable(variable.dims, np.full((1,) * variable.ndim, _SOME_TEXT, object), variable.attrs, encoding)
    try:
        made, _ = encoded_variable(replace(new, variable=one))
    except EncodingError as error:
        error.found = None  # which is not there
        raise
    except FOREIGN as error:
        asked = {key: value for key, value in encoding.items() if key in LOSSY_KEYS}
        raise EncodingError("text cannot be encoded so", key=new.name, found=asked, mend="Leave it out") from error
    data = np.empty(variable.shape, made.dtype)
    return variable_of(variable.dims, data, made.attrs, made.encoding)


def _known_objects(new: NewVariable, encoding: CFEncoding) -> xr.Variable:
    """Objects in memory, as xarray has them too, and as numbers where they are nothing but such: no digit is lost."""
    name, variable = new.name, new.variable
    if check_vlen_dtype(variable.dtype) is not None or is_time(variable):
        return variable
    if is_chunked(variable):
        variable = computed(name, variable)
    values = np.asarray(variable.values)
    missing = is_missing(values)
    dtype: type[Any] | None = NUMBER_KINDS.get(pd.api.types.infer_dtype(values[~missing], skipna=False))
    if missing.any():
        # which integers and floats are, if nothing is to be scaled: halves of steps are no slack of integers
        has_marker = new.is_order and not encoding.keys().isdisjoint(MARKERS) and encoding.keys().isdisjoint(SCALE)
        if not has_marker or dtype in (None, np.bool_):
            return variable
        check_exact(whole(name, variable, values), _FLOAT64)
        values, dtype = np.where(missing, np.nan, values), np.float64
    if dtype is None:
        return variable
    return variable_of(variable.dims, as_numbers(values, dtype), variable.attrs, variable.encoding)


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
    marks = {key: text_mark(variable.encoding.get(key)) for key in MARKERS}
    return {key: mark for key, mark in marks.items() if isinstance(mark, str)}


def _as_it_is(variable: xr.Variable) -> xr.Variable:
    encoding = without_losses(variable.encoding)
    return variable_of(variable.dims, variable.data, variable.attrs, encoding)


def _in_words(name: str, error: Exception) -> str:
    if not isinstance(error, ZarrdsError):
        return f"xarray cannot encode it so: {type(error).__name__}: {error}"
    problem = error.problem.removeprefix(f"variable {name!r} ")
    return problem if error.found is None else f"{problem}: {error.found}"


def _as_xarray_takes_it(new: NewVariable) -> dict[str, Any]:
    """A variable's encoding without what its coders stumble over: None, integers as factors, arrays of one number."""
    variable, given = new.variable, new.encoding
    for key in set(CF_RELATED_DATA) & given.keys() & variable.attrs.keys():
        # seen by the user as an attribute, and moved to the encoding by the decoders of the file that it comes from
        if not new.is_order or given[key] == variable.attrs[key]:
            given = {name: value for name, value in given.items() if name != key}
    encoding = {key: value for key, value in given.items() if value is not None or key not in _NONE_IS_NOTHING}
    for key in encoding.keys() & SCALE:
        value = np.ravel(encoding[key])[0] if np.size(encoding[key]) == 1 else encoding[key]
        encoding[key] = float(value) if isinstance(value, int | np.integer) else value
    if variable.dtype.kind == "f" and not variable.attrs.keys().isdisjoint(SCALE):
        # packed already: with the NaN that xarray would add, readers would unpack it to shorter floats
        encoding.setdefault("_FillValue", None)
    if variable.dtype.kind in "UST" or check_vlen_dtype(variable.dtype) is not None:
        # no text is NaN, or a number, of which xarray makes one that says so, and bytes that are empty
        says_nothing = is_no_text if new.is_order else is_nan
        encoding = {
            key: value
            for key, value in encoding.items()
            if key not in MARKERS or value is None or not says_nothing(value)
        }
    for key in MARKERS:
        if isinstance(encoding.get(key), np.ndarray | list | tuple) and np.size(encoding[key]) == 1:
            encoding[key] = np.ravel(encoding[key])[0]
    marks = text_marks(encoding)
    if len(marks) == 2 and marks[0] == marks[1]:  # which xarray compares as numbers
        del encoding["missing_value"]
    return encoding


def _orders(variable: xr.Variable, encoding: CFEncoding) -> Iterator[CFEncoding]:
    """The encoding that was asked for, completed: whole units where they are possible, else floats."""
    marks = [encoding[key] for key in MARKERS if encoding.get(key) is not None]
    if "dtype" not in encoding and any(map(is_nan, marks)) and is_time(variable):
        yield {**encoding, "dtype": _FLOAT64}  # which alone can be that
    elif "dtype" in encoding or "units" not in encoding or not is_time(variable):
        yield encoding
    else:
        yield {**encoding, "dtype": _INT64}
        yield {**encoding, "dtype": _FLOAT64}


def _hints(variable: xr.Variable, encoding: CFEncoding) -> Iterator[CFEncoding]:
    """What to try of an encoding that came along, the nearest first."""
    if LOSSY_KEYS.isdisjoint(encoding):
        return
    units = encoding.get("units")
    if not is_time(variable):
        yield encoding
        return
    if isinstance(units, str):
        yield {"dtype": _INT64, **encoding}
        if "dtype" not in encoding:
            yield {**encoding, "dtype": _FLOAT64}  # parts of units, as bounds have them in the units of their times
        whole = {**without_losses(encoding), "dtype": _INT64}
        if "calendar" in encoding:
            whole["calendar"] = encoding["calendar"]
        known = CF_UNITS.index(unit) if (unit := unit_of(units)) in CF_UNITS else 0
        for finer in CF_UNITS[known:]:
            yield {**whole, "units": of_same_date(units, finer)}
    elif "dtype" in encoding and variable.chunks is None:
        yield encoding


def _first_possible(name: str, variable: xr.Variable, candidates: Iterator[CFEncoding]) -> xr.Variable:
    refused: EncodingError | None = None
    for candidate in candidates:
        try:
            return encode_so(name, variable, candidate, is_carried=False)
        except EncodingError as error:
            refused = refused or error
    assert refused is not None
    raise refused
