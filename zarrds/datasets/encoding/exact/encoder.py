"""Values as a stored array holds them, without altering a single one silently.

xarray's encoders do most of the encoding. They round, wrap around, cut and change units without an error, so that what
they make is decoded again and compared: data in memory at once, dask blocks when they are computed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import decode_cf_variables, encode_zarr_variable
from zarrds.datasets.encoding.exact.blocks import CARRIED_MEND, Block, encoding_error
from zarrds.datasets.encoding.exact.comparison import label_text
from zarrds.datasets.encoding.exact.differences import differing, slack_of
from zarrds.datasets.encoding.exact.kinds import KINDS, kind_of, kind_of_dtype
from zarrds.datasets.encoding.exact.packing import (
    check_exact,
    exact_dtype,
    is_nan,
    markers_of,
    packing_of,
    with_fine_unit,
    with_float_factors,
)
from zarrds.datasets.encoding.exact.scaled import Scaling, scaling_of
from zarrds.datasets.encoding.exact.text_marks import text_marks
from zarrds.datasets.encoding.exact.times import (
    check_dates,
    check_same_times,
    check_units,
    decode_times,
    units_as_read,
    whole_units,
)
from zarrds.engine.remembered import Remembered
from zarrds.errors import BlocksOfTextError, CarriedEncodingError, EncodingError, ZarrdsError
from zarrds.labels.kinds.plain import as_integers
from zarrds.metadata.attributes import MARKERS, SCALE

__all__ = ["Encoder"]

Array: TypeAlias = "np.ndarray[Any, Any]"

# beyond the same kind; whether the values fit is seen when they are encoded
_FITTING = {
    ("booleans", "integers"),
    ("booleans", "floats"),
    ("integers", "floats"),
    ("floats", "integers"),
    ("integers", "complex numbers"),
    ("floats", "complex numbers"),
}
# elements of a block, from which on it pays to know the arithmetic of a scaled variable
_MANY = 2**14
_MOST = np.iinfo(np.int64).max
_NO_TIMES = {"datetimes": "M8[s]", "timedeltas": "m8[s]"}


@dataclass(frozen=True)
class Encoder:
    """Encodes blocks of a variable as an array holds them, and proves that they read back as they were.

    Attributes
    ----------
    name : hashable
        Of the variable.
    dims : tuple
    dtype : dtype
        Of the array.
    kind : str
        What its elements are when they are decoded, one of the words of `KINDS`.
    encoding : mapping
        The CF keys that the array has.
    is_carried : bool
        Whether the encoding came along with the variable: then nothing at all may change, and the error is
        `CarriedEncodingError`. Else floats are rounded to the precision that the encoding declares.
    is_cftime : bool
        Whether datetimes are read as dates of cftime.
    """

    name: Hashable
    dims: tuple[Hashable, ...]
    dtype: np.dtype[Any]
    kind: str
    encoding: Mapping[str, Any]
    is_carried: bool = False
    is_cftime: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether values of the stored dtype are stored as they are."""
        is_text = self.dtype.kind in "SU" and not text_marks(self.encoding)
        return is_text or self.dtype.kind == "V" or (self.dtype.kind in "biufcmM" and self._is_unmarked)

    @property
    def _one_marker(self) -> Mapping[str, Any]:
        """The encoding with one value for what is missing, the one that is written: xarray takes no second one."""
        found = [self.encoding[key] for key in MARKERS if key in self.encoding]
        if len(found) < 2 and not any(map(np.ndim, found)):
            return self.encoding
        others = {key: value for key, value in self.encoding.items() if key not in MARKERS}
        # a list in a document may be empty
        first = next((each[0] for each in markers_of(self.encoding) if each.size), None)
        return others if first is None else {**others, "_FillValue": first}

    @property
    def _is_unmarked(self) -> bool:
        """Whether nothing has to be scaled, counted or marked."""
        return all(key in MARKERS and is_nan(v) for key, v in self.encoding.items())

    @property
    def _is_scaled(self) -> bool:
        return not self.encoding.keys().isdisjoint(SCALE)

    def check_dtype(self, dtype: np.dtype[Any]) -> None:
        """Check that data of a dtype may be stored; what objects are is only known from themselves."""
        kind = kind_of_dtype(dtype)
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
            mend="Convert it to what the store holds where that loses nothing, else save it under another name",
        )

    def on_block(self, block: Block) -> Array:
        """The block's elements as they are stored."""
        if not self.is_carried:
            return self._encoded_block(block)
        try:
            return self._encoded_block(block)
        except CarriedEncodingError:
            raise
        except (ZarrdsError, KeyError, TypeError, ValueError, OverflowError) as error:
            problem = error.problem if isinstance(error, ZarrdsError) else str(error)
            known = error if isinstance(error, ZarrdsError) else None
            raise CarriedEncodingError(
                problem,
                key=str(self.name),
                expected=known.expected if known else None,
                found=known.found if known else None,
                mend=CARRIED_MEND,
            ) from error

    def _encoded_block(self, block: Block) -> Array:
        if self.kind == "objects":
            return block.values
        if block.values.dtype.kind == "O" and self.kind not in ("strings", "bytes"):
            block = block.with_values(self._without_objects(block))
        kind = kind_of(block.values) or self.kind
        if kind != self.kind and (kind, self.kind) not in _FITTING:
            self._refuse_dtype(kind, block.values.dtype)
        if not block.values.size:
            return np.empty(0, self.dtype)
        if kind == "booleans" != self.kind:
            block = block.with_values(block.values.astype(np.int8))
        if self.kind in ("datetimes", "timedeltas"):
            return self._times(block)
        if self.kind in ("strings", "bytes"):
            return self._texts(block)
        if self.dtype.kind in "iu" and self.kind in ("integers", "floats"):
            return self._integers(block)
        if self.dtype.kind in "fc":
            return self._floats(block)
        result = block.values.astype(self.dtype)
        if result.dtype.kind != "V":  # of structures, which are of the same fields here, only bytes changed places
            self._prove(block, result)
        return result

    def _without_objects(self, block: Block) -> Array:
        """Numbers that stand in an array of objects as an array of numbers; other objects as they are.

        Of what is all missing the kind of the store tells what it is.
        """
        values = block.values
        inferred = pd.api.types.infer_dtype(values, skipna=True)
        if inferred == "empty" and self.kind in _NO_TIMES:
            return np.full(values.shape, "NaT", _NO_TIMES[self.kind])
        if inferred == "integer" and not pd.isnull(values).any():
            return as_integers(values)
        if inferred in ("integer", "mixed-integer-float"):
            check_exact(block, exact_dtype(self.dtype, self.encoding))
        if inferred in ("integer", "floating", "mixed-integer-float") or (inferred == "empty" and values.size):
            return values.astype(np.float64)
        return values.astype(bool) if inferred == "boolean" and not pd.isnull(values).any() else values

    @Remembered
    def _scalings(self) -> dict[np.dtype[Any], Scaling | None]:
        """The arithmetic for floats of each dtype that came: xarray's is tried once, and not for each block."""
        return {}

    def _scaling_of(self, dtype: np.dtype[Any]) -> Scaling | None:
        packing, zero = packing_of(self.dtype, self.encoding), np.zeros(1, dtype)
        if len({value for each in markers_of(self.encoding) for value in each.tolist()}) != len(packing.markers):
            return None  # some are no integers of the store
        try:
            read = self._decoded(np.array([0, *packing.markers], self.dtype))
            if not np.isnan(read[1:]).all():  # as xarray reads them, which knows one marker, of its own dtype
                return None
            return scaling_of(packing, dtype, read.dtype, self._slack(zero, read.dtype))
        except (OverflowError, TypeError, ValueError):  # the close look says what is wrong, where it finds a value
            return None

    def _plainly_packed(self, values: Array) -> Array | None:
        """Many floats, if each is plainly right; None if they are to be looked at closely."""
        dtype = values.dtype
        if values.size < _MANY or not self._is_scaled or dtype not in (np.float32, np.float64):
            return None
        if dtype not in self._scalings:
            self._scalings[dtype] = self._scaling_of(dtype)
        scaling = self._scalings[dtype]
        packed = None if scaling is None else scaling.pack(values)
        return None if packed is None else packed.astype(self.dtype, copy=False)

    def _integers(self, block: Block) -> Array:
        if (packed := self._plainly_packed(block.values)) is not None:
            return packed
        packing = packing_of(self.dtype, self.encoding)
        numbers = packing.numbers(block)
        if not packing.has_marker(block.values):
            packing.check(block, numbers, markers=True)  # which refuses what is missing
        result = packing.pack(block, numbers)
        if not self._differing(block, result, packing.is_scaled, packing.markers).any():
            return result
        # what is wrong with them, in words
        packing.check(block, numbers, markers=True)
        if not packing.is_scaled and numbers.dtype.kind == "f":
            bad = (numbers != np.rint(numbers)) & ~np.isnan(numbers)
            if bad.any():
                raise encoding_error(
                    block,
                    bad,
                    "is not whole, but the store holds integers",
                    expected="integers",
                    mend="Floats hold it: save the variable anew as such, or this one under another name",
                )
        self._prove(block, result)
        return result

    def _floats(self, block: Block) -> Array:
        values = block.values
        if values.dtype.kind == "c" and self.dtype.kind == "f":
            bad = values.imag != 0
            if bad.any():
                raise encoding_error(block, bad, "is not real", expected=f"real numbers, as {self.dtype}")
            values = values.real
        if values.dtype.kind in "iu":
            if not self._is_scaled:
                check_exact(block, self.dtype)
            values = values.astype(np.float64)
        if self._is_scaled and values.dtype.kind == "f":
            values = values.astype(np.float64)  # or xarray would compute in the shortest of all dtypes
        encoded = values if self._is_unmarked else self._encoded(values, self._one_marker)
        result = encoded.astype(self.dtype)
        if result.dtype == values.dtype and self._is_unmarked:
            return result
        bad = np.isfinite(values) & ~np.isfinite(result)
        if bad.any():
            raise encoding_error(
                block, bad, f"is too large for {self.dtype}", expected=f"at most {np.finfo(self.dtype).max}"
            )
        self._prove(block, result)
        return result

    def _prove(self, block: Block, result: Array) -> None:
        """Check that what is stored reads back as it was."""
        bad = self._differing(block, result, self._is_scaled, ())
        marked = self._is_marked(block, result)
        bad |= marked
        if bad.any():
            first = int(np.argmax(bad))
            read = self._decoded(result)[first]
            if marked[first] or (pd.isnull(read) and not np.asarray(pd.isnull(block.values))[first]):
                problem = "is the store's _FillValue, and would read back as missing"
            else:
                problem = f"would read back as {label_text(read)}"
            raise encoding_error(block, bad, problem, expected=f"values that {self._described()} hold")

    def _is_marked(self, block: Block, result: Array) -> Array:
        """Where floats that are there are stored as what stands for missing ones, by any of the markers."""
        marked = np.zeros(result.shape, bool)
        for key in MARKERS if result.dtype.kind == "f" else ():
            marker = np.ravel(self.encoding.get(key, np.nan))
            if marker.dtype.kind in "iuf" and not np.isnan(marker).all():  # what is NaN is missing anyway
                # a `_FillValue` is read in the dtype of the array: a float64 that is no float32 may be another marker
                marked |= np.isin(result, marker.astype(result.dtype) if key == "_FillValue" else marker)
        return marked & ~np.asarray(pd.isnull(block.values)) if marked.any() else marked

    def _described(self) -> str:
        scaled = "".join(f", {key}={self.encoding[key]}" for key in SCALE if key in self.encoding)
        return f"{self.dtype}{scaled}"

    def _differing(self, block: Block, result: Array, is_scaled: bool, markers: tuple[int, ...]) -> Array:
        decoded = self._decoded(result)
        if self.is_carried and KINDS[decoded.dtype.kind] != KINDS[block.values.dtype.kind]:
            return np.ones(block.values.shape, bool)
        bad = np.zeros(block.values.shape, bool)
        suspect = self._suspect(block.values, decoded) if is_scaled else slice(None)
        values, decoded = block.values[suspect], decoded[suspect]
        slack = self._slack(values, decoded.dtype)
        bad[suspect] = differing(values, decoded, slack)
        if values.dtype.kind == decoded.dtype.kind == "c":
            bad[suspect] |= self._lost_halves(values, decoded)
        if len(markers) > 1:
            bad |= np.isin(result.view(packing_of(self.dtype, self.encoding).meant), markers[1:])
        return bad

    def _lost_halves(self, values: Array, decoded: Array) -> Array:
        """Where one part of a complex number is NaN and the other would be, too, as all of it is taken for missing."""
        is_real = np.isnan(values.imag)
        half, read = (np.where(is_real, numbers.real, numbers.imag) for numbers in (values, decoded))
        lost: Array = np.isnan(values) & ~np.isnan(half) & (half != read)
        # NumPy's NaN as a complex number has 0 there
        return lost if self.is_carried else lost & (half != 0)

    def _slack(self, values: Array, decoded: np.dtype[Any]) -> Any:
        """By how much values may change: integers not at all, but for the arithmetic of a store of floats."""
        if self.kind == "integers":
            return 0
        return slack_of(values, decoded, self.dtype, self.encoding, is_exact=self.is_carried)

    def _suspect(self, values: Array, decoded: Array) -> Array | slice:
        """What to look at closely: almost all packed floats are as near as the slack of a zero, which is one number."""
        if values.dtype.kind != "f" or decoded.dtype.kind != "f":
            return slice(None)
        zero = np.zeros(1, values.dtype)
        slack = self._slack(zero, decoded.dtype)
        dtype = np.result_type(values, decoded, np.float64)
        with np.errstate(all="ignore"):
            distance = np.subtract(decoded, values, dtype=dtype)
            near = np.abs(distance, out=distance) <= np.minimum(slack, np.finfo(dtype).max)
        return np.flatnonzero(~near)

    def _decoded(self, result: Array) -> Array:
        attributes = {key: value for key, value in self.encoding.items() if key not in ("units", "calendar")}
        if "_FillValue" in attributes:
            attributes.pop("missing_value", None)
        variable = xr.Variable(("values",), result, attributes)
        decoded, _, _ = decode_cf_variables(
            {"values": variable}, {}, concat_characters=False, decode_times=False, decode_timedelta=False
        )
        return np.asarray(decoded["values"].values)

    def _times(self, block: Block) -> Array:
        """Times as numbers; they are decoded again and compared, since nothing else says that units were exact."""
        if self.is_cftime and block.values.dtype.kind == "M" and np.isnat(block.values).all():
            block = block.with_values(np.full(block.values.shape, None))
        if self.kind == "datetimes":
            calendar = str(self.encoding.get("calendar", "standard"))
            marks = packing_of(self.dtype, self.encoding).markers if self.dtype.kind in "iu" else ()
            # xarray reads a marker that no int64 is as a date
            can_miss = self.dtype.kind == "f" or (bool(marks) and max(marks) <= _MOST)
            check_dates(block, calendar, is_cftime=self.is_cftime, can_miss=can_miss)
        units = {}
        if self.is_cftime and self.dtype.kind not in "mM":
            units["units"] = units_as_read(self.encoding["units"], self.encoding.get("calendar"))
        if self.dtype.kind in "mM":
            result = block.values.astype(self.dtype)
            decoded = result.astype(block.values.dtype)  # as which it is compared: pandas does not know all units
        elif self.dtype.kind in "iu":
            packing = packing_of(self.dtype, {**self.encoding, **units})
            is_counted = not (packing.is_scaled or packing.markers or self.is_cftime or block.values.dtype.kind == "O")
            whole = whole_units(block.values, self.encoding) if is_counted else None
            if whole is not None:  # integers that are exact, and that readers only multiply
                packing.check(block, whole, markers=True)
                return packing.pack(block, whole)
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
                result[present] = self._encoded(
                    block.values[present], {**self._one_marker, **units, "dtype": self.dtype}
                )
            decoded = decode_times(result, self.encoding, block.values.dtype)
        check_same_times(block, decoded, self.dtype, self.encoding)
        return result

    def _encoded(self, values: Array, encoding: Mapping[str, Any]) -> Array:
        values = with_fine_unit(values, encoding)
        variable = xr.Variable(("values",), values, {}, with_float_factors(encoding))
        return np.asarray(encode_zarr_variable(variable, name="values").values)

    def _as_bytes(self, texts: Array) -> Array:
        try:
            return np.array([text.encode(self.encoding["_Encoding"]) for text in texts], dtype=object)
        except LookupError as error:  # of a store of another tool
            mend = "Let its attribute _Encoding name one that Python knows"
            raise EncodingError(f"text cannot be written: {error}", key=str(self.name), mend=mend) from error

    def _texts(self, block: Block) -> Array:
        """Strings or bytes, as objects or of fixed length; strings as bytes where the array has an ``_Encoding``."""
        objects = block.values.astype(object)
        missing = pd.isnull(objects)
        marks = text_marks(self.encoding)
        for marker in marks:
            bad = ~missing
            bad[bad] = np.asarray(objects[bad] == marker, bool)  # pd.NA is equal to nothing
            if bad.any():
                raise encoding_error(
                    block, bad, "is the store's _FillValue, and would read back as missing", expected="other text"
                )
        if missing.any():
            if not marks:
                problem = "is missing, and the store has no text for that"
                # of what is loaded room was made before, where that can be
                raise encoding_error(
                    block, missing, problem, expected=self.kind, mend="Fill it", kind=BlocksOfTextError
                )
            objects[missing] = marks[0]
        if self.kind == "strings" and "_Encoding" in self.encoding:
            objects = self._as_bytes(objects)
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
