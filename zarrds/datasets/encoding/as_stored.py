"""New data in the encoding of a variable that is stored already, without altering a single value silently.

xarray's encoders do the encoding. They round, wrap around and change units without an error, so that what they give is
checked here: data in memory at once, dask blocks when they are computed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import decode_cf_variables, encode_zarr_variable
from zarrds.datasets.encoding.comparison import check_dims
from zarrds.datasets.encoding.packing import CF_KEYS, Block, Packing, encoding_error, packing_of
from zarrds.datasets.encoding.times import check_same_times, check_units, decode_times
from zarrds.errors import EncodingError, ZarrdsError
from zarrds.metadata.model import ArrayMetadata, ZarrFormat

__all__ = ["as_stored", "check_range", "encode_like"]

Array: TypeAlias = "np.ndarray[Any, Any]"

_KINDS = {
    "b": "booleans",
    "i": "integers",
    "u": "integers",
    "f": "floats",
    "c": "complex numbers",
    "M": "datetimes",
    "m": "timedeltas",
    "U": "strings",
    "T": "strings",
    "S": "bytes",
}
# beyond the same kind; whether the values fit is seen when they are encoded
_FITTING = {
    ("integers", "floats"),
    ("floats", "integers"),
    ("integers", "complex numbers"),
    ("floats", "complex numbers"),
}


def encode_like(
    name: Hashable, variable: xr.Variable, stored: xr.Variable, metadata: ArrayMetadata, zarr_format: ZarrFormat
) -> xr.Variable:
    """New data as the store would hold it.

    The encoding is the stored variable's, whatever the new one's own is. Floats that the store packs into integers are
    rounded to its precision, and floats to the precision of its floats; nothing else is altered.

    Parameters
    ----------
    name : hashable
    variable : Variable
        Decoded; of NumPy or dask arrays, which stay lazy and are checked when they are computed.
    stored : Variable
        Decoded, with the encoding of the store.
    metadata : ArrayMetadata
        Of the stored array.
    zarr_format : {2, 3}

    Returns
    -------
    Variable
        With the stored dimensions and dtype, and the attributes of the stored variable's encoding left out.

    Raises
    ------
    LabelError
        For other dimensions than the store has.
    EncodingError
        For another kind of data, and for values that the store cannot hold: out of range, not to be told from missing
        ones, times between the store's units, strings that are too long. With dask it is raised by the computation.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from zarrds.arrays.layout import new_array_metadata
    >>> stored = xr.Variable("x", [0.5], {}, {"dtype": np.dtype("i2"), "scale_factor": 0.5})
    >>> metadata = new_array_metadata(shape=(1,), dtype="int16")
    >>> encode_like("v", xr.Variable("x", [1.0, 7.5]), stored, metadata, 3).values
    array([ 2, 15], dtype=int16)
    """
    check_dims(name, stored, variable)
    variable = variable.transpose(*stored.dims)
    dtype = metadata.data_type.dtype
    if len(metadata.shape) != stored.ndim:
        raise EncodingError(
            f"variable {name!r} is stored as single characters, which cannot be added to",
            key=str(name),
            mend="Save it anew: strings are then stored as strings",
        )
    encoding = {key: stored.encoding[key] for key in CF_KEYS if stored.encoding.get(key) is not None}
    encoder = _Encoder(name, stored.dims, dtype, _stored_kind(stored, metadata), encoding, zarr_format)
    encoder.check_dtype(variable.dtype)
    if variable.dtype == dtype and encoder.is_plain:
        return xr.Variable(stored.dims, variable.data)
    return xr.Variable(stored.dims, _blockwise(encoder, variable, dtype))


def as_stored(
    name: Hashable, variable: xr.Variable, stored: xr.Variable, metadata: ArrayMetadata, zarr_format: ZarrFormat
) -> xr.Variable:
    """Labels as they will read back from a store that packs them into integers; others as they are.

    Parameters and errors are those of `encode_like`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from zarrds.arrays.layout import new_array_metadata
    >>> stored = xr.Variable("x", [0.5], {}, {"dtype": np.dtype("i2"), "scale_factor": 0.5})
    >>> metadata = new_array_metadata(shape=(1,), dtype="int16")
    >>> as_stored("x", xr.Variable("x", [1.01, 7.5]), stored, metadata, 3).values
    array([1. , 7.5])
    """
    attributes = {key: stored.encoding[key] for key in CF_KEYS if stored.encoding.get(key) is not None}
    if "scale_factor" not in attributes and "add_offset" not in attributes:
        return variable
    encoded = encode_like(name, variable, stored, metadata, zarr_format)
    decoded, _, _ = decode_cf_variables({"labels": xr.Variable(encoded.dims, encoded.data, attributes)}, {})
    return xr.Variable(encoded.dims, decoded["labels"].values, variable.attrs)


def check_range(name: Hashable, variable: xr.Variable, encoding: Mapping[str, Any]) -> xr.Variable:
    """Check that numbers or times fit into the integers that an encoding makes of them.

    Parameters
    ----------
    name : hashable
    variable : Variable
        Decoded. Dask arrays stay lazy, and are checked when they are computed; what is lazily opened is loaded.
    encoding : mapping
        Its ``dtype`` and CF keys count; what they do not make integers of is not checked.

    Returns
    -------
    Variable
        With the same data, attributes and encoding.

    Raises
    ------
    EncodingError
        For the first value that is out of range, missing without a ``_FillValue``, or itself the ``_FillValue``.

    Examples
    --------
    >>> import xarray as xr, zarrds
    >>> packed = {"dtype": "int8", "scale_factor": 0.5}
    >>> check_range("v", xr.Variable("x", [63.5]), packed).values
    array([63.5])
    >>> try:
    ...     check_range("v", xr.Variable("x", [1.0, 64.0]), packed)
    ... except zarrds.errors.EncodingError as error:
    ...     print(error.problem, "|", error.found)
    variable 'v' holds a value that the stored integers cannot hold | 64.0 at x=1
    """
    asked = encoding.get("dtype")
    if asked is None and {"scale_factor", "add_offset"} & encoding.keys():
        return variable  # stored as floats
    try:
        dtype = np.dtype(variable.dtype if asked is None else asked)
    except TypeError:
        return variable  # xarray will say what is wrong with it
    if dtype.kind not in "iu" or variable.dtype.kind not in "iufmMO":
        return variable
    packing = packing_of(dtype, encoding)
    if variable.dtype == dtype and packing.is_plain:
        return variable
    checker = _RangeChecker(name, variable.dims, packing)
    data = _blockwise(checker, variable, variable.dtype)
    return xr.Variable(variable.dims, data, variable.attrs, variable.encoding)


class _BlockFunction(Protocol):
    """Makes a block of the store from one of the data; it is pickled for dask's workers."""

    @property
    def name(self) -> Hashable: ...
    @property
    def dims(self) -> tuple[Hashable, ...]: ...
    def on_block(self, block: Block) -> Array: ...


def _blockwise(function: _BlockFunction, variable: xr.Variable, dtype: np.dtype[Any]) -> Any:
    """`function` of all of a variable, or of each of its dask blocks, lazily."""
    if variable.chunks is None:
        return _apply(np.asarray(variable.data), function=function)
    import dask.array

    map_blocks: Any = dask.array.map_blocks  # it has no types
    meta = np.empty((0,) * variable.ndim, dtype)
    return map_blocks(_apply, variable.data, dtype=dtype, meta=meta, function=function)


def _apply(values: Array, *, function: _BlockFunction, block_info: Any = None) -> Array:
    """One block; dask says where it lies in `block_info`."""
    origin = (0,) * values.ndim
    if block_info:
        origin = tuple(int(start) for start, _ in block_info[0]["array-location"])
    block = Block(function.name, function.dims, values.ravel(), values.shape, origin)
    try:
        # NumPy's warnings about casts: what they warn of is looked for, and is an error
        with np.errstate(all="ignore"):
            return function.on_block(block).reshape(values.shape)
    except ZarrdsError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise EncodingError(
            f"variable {function.name!r} cannot be encoded as the store is: {error}", key=str(function.name)
        ) from error


@dataclass(frozen=True)
class _RangeChecker:
    name: Hashable
    dims: tuple[Hashable, ...]
    packing: Packing

    def on_block(self, block: Block) -> Array:
        is_number = block.values.dtype.kind in "iuf"
        if is_number or _kind(block.values) in ("datetimes", "timedeltas"):
            self.packing.check(block, self.packing.numbers(block), markers=True)
        return block.values


@dataclass(frozen=True)
class _Encoder:
    """Encodes as a stored variable is; `kind` is what its elements are when decoded, `encoding` holds the CF keys."""

    name: Hashable
    dims: tuple[Hashable, ...]
    dtype: np.dtype[Any]
    kind: str
    encoding: Mapping[str, Any]
    zarr_format: ZarrFormat

    @property
    def is_plain(self) -> bool:
        """Whether values of the stored dtype are stored as they are."""
        return self.dtype.kind in "SUV" or (self.dtype.kind in "biufcmM" and self._is_unmarked)

    @property
    def _is_unmarked(self) -> bool:
        """Whether nothing has to be scaled, counted or marked."""
        return all(key in ("_FillValue", "missing_value") and _is_nan(v) for key, v in self.encoding.items())

    @property
    def _is_scaled(self) -> bool:
        return "scale_factor" in self.encoding or "add_offset" in self.encoding

    def check_dtype(self, dtype: np.dtype[Any]) -> None:
        """Check that data of a dtype may be stored; what objects are is only known from themselves."""
        kind = _KINDS.get(dtype.kind, str(dtype))
        fits = kind == self.kind or (kind, self.kind) in _FITTING or (dtype.kind == "O" and self.dtype.kind != "V")
        if fits and dtype.kind in "SU" and self.dtype.kind == dtype.kind:
            # padding or cutting them would change the labels' dtype in one library or the other
            fits = dtype.itemsize == self.dtype.itemsize
        if not fits:
            self._refuse_dtype(kind, dtype)

    def _refuse_dtype(self, kind: str, dtype: np.dtype[Any]) -> None:
        raise EncodingError(
            f"Mismatched dtypes for variable {self.name}",
            key=str(self.name),
            expected=f"{self.kind}, stored as {self.dtype}",
            found=str(dtype) if kind == str(dtype) else f"{kind}, {dtype}",
            mend="Convert it with astype to what the store holds",
        )

    def on_block(self, block: Block) -> Array:
        if self.kind == "objects":
            return block.values
        if block.values.dtype.kind == "O" and self.kind not in ("strings", "bytes"):
            block = block.with_values(_without_objects(block.values))
        kind = _kind(block.values) or self.kind
        if kind != self.kind and (kind, self.kind) not in _FITTING:
            self._refuse_dtype(kind, block.values.dtype)
        if not block.values.size:
            return np.empty(0, self.dtype)
        if self.kind in ("datetimes", "timedeltas"):
            return self._times(block)
        if self.kind in ("strings", "bytes"):
            return self._texts(block)
        if self.dtype.kind in "iu" and self.kind in ("integers", "floats"):
            return self._integers(block)
        if self.dtype.kind in "fc":
            return self._floats(block)
        return block.values.astype(self.dtype)

    def _integers(self, block: Block) -> Array:
        packing = packing_of(self.dtype, self.encoding)
        numbers = packing.numbers(block)
        if self.kind == "integers" and numbers.dtype.kind == "f":
            bad = (numbers != np.rint(numbers)) & ~np.isnan(numbers)
            if bad.any():
                raise encoding_error(
                    block, bad, "is not whole, but the store holds integers", expected="integers", mend="Round it first"
                )
        packing.check(block, numbers, markers=True)
        return packing.pack(block, numbers)

    def _floats(self, block: Block) -> Array:
        values = block.values
        if values.dtype.kind in "iu":
            if not self._is_scaled:
                _check_exact(block, self.dtype)
            values = values.astype(np.float64)
        encoded = values if self._is_unmarked else self._encoded(values, self.encoding)
        result = encoded.astype(self.dtype)
        bad = np.isfinite(values) & ~np.isfinite(result)
        if bad.any():
            raise encoding_error(
                block, bad, f"is too large for {self.dtype}", expected=f"at most {np.finfo(self.dtype).max}"
            )
        return result

    def _times(self, block: Block) -> Array:
        """Times as numbers; they are decoded again and compared, since nothing else says that units were exact."""
        if self.dtype.kind in "mM":
            result = decoded = block.values.astype(self.dtype)
        elif self.dtype.kind in "iu":
            packing = packing_of(self.dtype, self.encoding)
            if not packing.is_scaled:
                # first of all: xarray would choose other units, with no more than a warning
                check_units(block, self.dtype, self.encoding)
            numbers = packing.numbers(block)
            packing.check(block, numbers, markers=True)
            result = packing.pack(block, numbers)
            decoded = decode_times(result, self.encoding, block.values.dtype)
        else:
            result = np.full(block.values.shape, self.encoding.get("_FillValue", np.nan), self.dtype)
            present = ~pd.isnull(block.values)
            if present.any():
                result[present] = self._encoded(block.values[present], {**self.encoding, "dtype": self.dtype})
            decoded = decode_times(result, self.encoding, block.values.dtype)
        check_same_times(block, decoded, self.dtype, self.encoding)
        return result

    def _encoded(self, values: Array, encoding: Mapping[str, Any]) -> Array:
        variable = xr.Variable(("values",), values, {}, dict(encoding))
        return np.asarray(encode_zarr_variable(variable, name="values", zarr_format=self.zarr_format).values)

    def _texts(self, block: Block) -> Array:
        """Strings or bytes, as objects or of fixed length."""
        objects = block.values.astype(object)
        missing = pd.isnull(objects)
        if missing.any():
            marker = self.encoding.get("_FillValue", self.encoding.get("missing_value"))
            if not isinstance(marker, str | bytes):
                raise encoding_error(
                    block, missing, "is missing, and the store has no text for that", expected=self.kind, mend="Fill it"
                )
            objects[missing] = marker
        if self.dtype.kind == "O":
            return objects
        result = objects.astype(self.dtype)
        bad = result.astype(object) != objects
        if bad.any():
            raise encoding_error(
                block,
                bad,
                f"the stored {self.kind} cannot hold whole",
                expected=f"{self.dtype}, without zeros at the end",
                mend="Shorten it, or save the variable anew",
            )
        return result


def _stored_kind(stored: xr.Variable, metadata: ArrayMetadata) -> str:
    """What the elements of a stored variable are when they are decoded, without reading any."""
    name, dtype = metadata.data_type.name, metadata.data_type.dtype
    if dtype.kind in "mM" or stored.dtype.kind in "mM":
        return _KINDS[stored.dtype.kind]
    if dtype.kind in "iuf":
        return "datetimes" if stored.dtype.kind == "O" else _KINDS[stored.dtype.kind]
    if name in ("string", "bytes", "variable_length_bytes"):
        return "strings" if name == "string" else "bytes"
    return "objects" if dtype.kind == "O" else _KINDS.get(dtype.kind, str(dtype))


def _kind(values: Array) -> str:
    """What values are; nothing for objects of which there are none."""
    if values.dtype.kind != "O":
        return _KINDS.get(values.dtype.kind, str(values.dtype))
    present = values[~pd.isnull(values)]
    if not present.size:
        return ""
    inferred = pd.api.types.infer_dtype(present)
    if inferred in ("string", "bytes"):
        return "strings" if inferred == "string" else "bytes"
    return "datetimes" if all(hasattr(v, "calendar") and hasattr(v, "toordinal") for v in present) else "objects"


def _without_objects(values: Array) -> Array:
    """Numbers that stand in an array of objects as an array of numbers; other objects as they are."""
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    if inferred in ("integer", "floating", "mixed-integer-float") or (inferred == "empty" and values.size):
        return values.astype(np.int64 if inferred == "integer" and not pd.isnull(values).any() else np.float64)
    return values.astype(bool) if inferred == "boolean" and not pd.isnull(values).any() else values


def _check_exact(block: Block, dtype: np.dtype[Any]) -> None:
    """Check that integers are floats of a dtype too; small ones always are."""
    limit = 2 ** (np.finfo(dtype).nmant + 1)
    values = block.values
    large = np.flatnonzero((values > limit) | (values < -limit))
    bad = np.zeros(values.shape, bool)
    as_floats = values[large].astype(dtype).real
    bad[large] = [not np.isfinite(f) or int(f) != int(v) for f, v in zip(as_floats, values[large], strict=True)]
    if bad.any():
        raise encoding_error(block, bad, f"{dtype} cannot hold exactly", expected=f"at most {limit}, or exact floats")


def _is_nan(value: Any) -> bool:
    return np.ndim(value) == 0 and bool(pd.isnull(value))
