"""Values as the integers that a store holds: scaled, offset, with a marker for what is missing, or times since a date.

What no integer of the store stands for is an error, where NumPy's casts would wrap around.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import encode_zarr_variable
from zarrds.datasets.encoding.exact.blocks import Block, encoding_error
from zarrds.errors import EncodingError
from zarrds.labels.kinds.plain import holds_exactly
from zarrds.labels.kinds.times import to_unit
from zarrds.metadata.attributes import MARKERS, SCALE
from zarrds.metadata.times import unit_of

__all__ = [
    "CF_KEYS",
    "NO_PACKING",
    "Packing",
    "check_exact",
    "check_packed_once",
    "exact_dtype",
    "finer_unit",
    "is_nan",
    "markers_of",
    "packed_already",
    "packing_of",
    "with_fine_unit",
    "with_float_factors",
]

Array: TypeAlias = "np.ndarray[Any, Any]"
# units finer than seconds, as NumPy calls them
_PARTS_OF_SECONDS = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}
# of a decoded variable's encoding, what xarray's encoders and decoders go by
CF_KEYS = ("units", "calendar", *SCALE, *MARKERS, "_Unsigned")
# as raster files have them where nothing is packed
NO_PACKING = {"scale_factor": 1, "add_offset": 0}


def is_nan(value: Any) -> bool:
    """Whether a member of an encoding is one value, and missing itself."""
    return np.ndim(value) == 0 and bool(pd.isnull(value))


def markers_of(encoding: Mapping[str, Any]) -> list[Array]:
    """What an encoding says that stands for what is missing, an array for each of its members that says so.

    Examples
    --------
    >>> markers_of({"missing_value": [-9, -8], "_FillValue": -1, "dtype": "i2"})
    [array([-1]), array([-9, -8])]
    """
    return [np.ravel(encoding[key]) for key in MARKERS if encoding.get(key) is not None]


def packing_of(dtype: np.dtype[Any], encoding: Mapping[str, Any]) -> Packing:
    """How an encoding makes integers of values.

    Parameters
    ----------
    dtype : dtype
        The integers of the store.
    encoding : mapping
        Of which xarray's CF keys count.
    """
    native = dtype.newbyteorder("=")
    meant = native
    unsigned = encoding.get("_Unsigned")
    if (unsigned, native.kind) in (("true", "i"), ("false", "u")):
        meant = np.dtype(f"{'u' if native.kind == 'i' else 'i'}{native.itemsize}")
    markers: dict[int, None] = {}
    for each in markers_of(encoding):
        for marker in each.tolist():
            if isinstance(marker, int | float) and float(marker).is_integer():
                markers.update(dict.fromkeys(_as_meant(int(marker), native, meant)))
    cf = {key: encoding[key] for key in ("units", "calendar", *SCALE) if encoding.get(key) is not None}
    return Packing(dtype, meant, cf, tuple(markers))


def with_float_factors(encoding: Mapping[str, Any]) -> dict[str, Any]:
    """An encoding whose factor and offset are floats: by integers xarray divides in place, which NumPy refuses."""
    factors = {key: float(value) for key in SCALE if isinstance(value := encoding.get(key), int | np.integer)}
    return {**encoding, **factors}


def packed_already(variable: xr.Variable) -> str | None:
    """The attribute by which numbers are taken for undecoded ones, which no encoding may pack again; None if none is.

    Examples
    --------
    >>> packed_already(xr.Variable("x", [1.0], {"missing_value": -999.0, "units": "K"}))
    'missing_value'
    """
    if variable.dtype.kind not in "iuf":
        return None
    said = ((key, variable.attrs.get(key)) for key in (*SCALE, *MARKERS, "_Unsigned"))
    return next((key for key, value in said if value is not None and not is_nan(value)), None)  # NaN marks no number


def check_packed_once(name: Hashable, variable: xr.Variable, *, is_order: bool = False) -> None:
    """Check that not both say how numbers are packed, which attributes do before and encodings after decoding.

    Parameters
    ----------
    name : hashable
    variable : Variable
        Without attributes that say nothing of how it is decoded.
    is_order : bool
        Whether the encoding is what the user asks for: then it packs nothing of which attributes say how it is decoded.

    Raises
    ------
    EncodingError
    """
    asked = [key for key in SCALE if variable.encoding.get(key) is not None]
    for key in asked:
        if variable.dtype.kind in "iuf" and key in variable.attrs:
            raise EncodingError(
                f"variable {str(name)!r} has {key} as an attribute, as if it were still packed, and in its encoding, "
                "as if it were not any more",
                key=str(name),
                expected=f"{key} in one of both",
                found=f"{variable.attrs[key]}, and {variable.encoding[key]} in the encoding",
                mend="Delete the attribute if the values are those that are meant, else call drop_encoding()",
            )
    packs = [key for key in asked if not np.array_equal(variable.encoding[key], NO_PACKING[key])]
    if is_order and packs and (attribute := packed_already(variable)) is not None:
        raise EncodingError(
            f"variable {str(name)!r} is not packed: it has the attribute {attribute!r}, as if it were not decoded",
            key=str(name),
            found=f"{packs[0]}={variable.encoding[packs[0]]} in the encoding",
            mend=f"Delete the attribute if the values are those that are meant, else leave out {packs[0]}",
        )


def _as_meant(marker: int, native: np.dtype[Any], meant: np.dtype[Any]) -> list[int]:
    """A marker as the values that it marks, or nothing if no integer of the store is the marker."""
    if np.iinfo(native).min <= marker <= np.iinfo(native).max:
        return [int(np.array(marker, native).view(meant))]
    return [marker] if np.iinfo(meant).min <= marker <= np.iinfo(meant).max else []


@dataclass(frozen=True, slots=True)
class Packing:
    """Integers of a store and what they mean.

    Attributes
    ----------
    dtype : dtype
        As they are stored.
    meant : dtype
        As they are read: the other sign, for ``_Unsigned``.
    encoding : mapping
        ``units``, ``calendar``, ``scale_factor`` and ``add_offset``, of those that there are.
    markers : tuple of int
        What reads back as missing, as `meant`; the first of them is written.
    """

    dtype: np.dtype[Any]
    meant: np.dtype[Any]
    encoding: Mapping[str, Any]
    markers: tuple[int, ...]

    @property
    def is_scaled(self) -> bool:
        """Whether values are divided before they are rounded."""
        return not self.encoding.keys().isdisjoint(SCALE)

    def numbers(self, block: Block) -> Array:
        """Values as xarray scales them, or counts them since a date, before they are rounded."""
        values = block.values
        encoding = dict(self.encoding)
        if values.dtype.kind in "mMO":
            if not self.is_scaled:
                encoding["dtype"] = np.dtype(np.int64)
            present = ~_missing(values)
            numbers = np.zeros(values.shape, np.float64 if self.is_scaled else np.int64)
            if present.any():
                # xarray's encoder stumbles over blocks of nothing but missing times
                numbers[present] = _encoded(values[present], encoding)
            return numbers
        if not self.is_scaled:
            return values
        encoding = with_float_factors(encoding)
        if values.dtype.kind in "iub" or values.dtype == np.float16:
            values = values.astype(np.float64)
        if block.values.dtype.kind == "f" and self.markers:
            # with a marker xarray computes in the dtype of the data, without one in that of the scale
            encoding["_FillValue"] = np.nan
        return _encoded(values, encoding)

    def check(self, block: Block, numbers: Array, *, markers: bool) -> None:
        """Check that each of the numbers is one of the store's integers.

        Parameters
        ----------
        block : Block
        numbers : array
            As `numbers` gives them.
        markers : bool
            Whether values that would read back as missing are an error.

        Raises
        ------
        EncodingError
        """
        missing = _missing(block.values)
        info = np.iinfo(self.meant)
        whole = np.rint(numbers) if numbers.dtype.kind == "f" else numbers
        # the largest integer plus one is a power of two, which floats hold exactly
        above = whole >= float(int(info.max) + 1) if whole.dtype.kind == "f" else whole > int(info.max)
        bad = (above | (whole < int(info.min)) | (whole != whole)) & ~missing
        if bad.any():
            raise encoding_error(block, bad, "the stored integers cannot hold", expected=self._allowed())
        if missing.any() and self.missing_marker(block.values) is None:
            raise encoding_error(
                block,
                missing,
                "is missing, and the store has no _FillValue to say so",
                expected=self._allowed(),
                mend="Fill what is missing first, or save the variable anew with a _FillValue",
            )
        if markers and self.markers:
            bad = np.isin(whole, self.markers) & ~missing
            if bad.any():
                raise encoding_error(
                    block, bad, "is the store's _FillValue, and would read back as missing", expected=self._allowed()
                )

    def pack(self, block: Block, numbers: Array) -> Array:
        """The integers of the store, for numbers that were checked."""
        missing = _missing(block.values)
        whole = np.where(missing, numbers.dtype.type(0), numbers) if missing.any() else numbers
        packed = (np.rint(whole) if whole.dtype.kind == "f" else whole).astype(self.meant)
        if missing.any():
            packed[missing] = self.missing_marker(block.values)
        return packed.view(self.dtype.newbyteorder("=")).astype(self.dtype, copy=False)

    def has_marker(self, values: Array) -> bool:
        """Whether what is missing of values, if anything, can be written."""
        return self.missing_marker(values) is not None or not _missing(values).any()

    def missing_marker(self, values: Array) -> int | None:
        """What is written for missing values; of times in 64 bits xarray reads the smallest as missing anyway."""
        if self.markers:
            return self.markers[0]
        is_time = values.dtype.kind in "mMO"
        return int(np.iinfo(np.int64).min) if is_time and self.meant == np.int64 and not self.is_scaled else None

    def _allowed(self) -> str:
        info = np.iinfo(self.meant)
        low, high = int(info.min), int(info.max)
        text = f"{self.meant} from {low} to {high}"
        if "units" in self.encoding:
            text += f", in {self.encoding['units']}"
        elif self.is_scaled:
            scale, offset = self.encoding.get("scale_factor", 1), self.encoding.get("add_offset", 0)
            ends = sorted(float(np.ravel(end * scale + offset)[0]) for end in (low, high))
            text = f"values from {ends[0]:.8g} to {ends[1]:.8g}, as {text}"
        return f"{text} ({', '.join(map(str, self.markers))} for missing)" if self.markers else text


def with_fine_unit(values: Array, encoding: Mapping[str, Any]) -> Array:
    """Times in the unit in which they are counted, if it is finer: xarray would divide them by 0 of their own."""
    unit = finer_unit(values.dtype, encoding.get("units"))
    finer = None if unit is None else to_unit(values, unit)
    return values if finer is None else finer


def finer_unit(dtype: np.dtype[Any], units: object) -> str | None:
    """The unit of NumPy in which times are counted, if it is finer than that of their dtype.

    Examples
    --------
    >>> finer_unit(np.dtype("m8[s]"), "milliseconds"), finer_unit(np.dtype("M8[ns]"), "milliseconds since 2000-01-01")
    ('ms', None)
    """
    unit = _PARTS_OF_SECONDS.get(unit_of(str(units)))
    if unit is None or dtype.kind not in "mM" or np.can_cast(f"{dtype.kind}8[{unit}]", dtype):
        return None
    return unit


def _encoded(values: Array, encoding: Mapping[str, Any]) -> Array:
    values = with_fine_unit(values, encoding)
    try:
        encoded = encode_zarr_variable(xr.Variable(("values",), values, {}, encoding), name="values")
    except OverflowError:
        # xarray looks at steps between times, which may be too large for their dtype: NumPy 2.5 and later say so
        early = values < np.zeros((), values.dtype) if values.dtype.kind in "mM" else np.zeros(values.shape, bool)
        if early.all() or not early.any():
            raise
        before, after = (_encoded(values[part], encoding) for part in (early, ~early))
        result = np.empty(values.shape, np.result_type(before, after))
        result[early], result[~early] = before, after
        return result
    return np.asarray(encoded.values)


def _missing(values: Array) -> Array:
    return np.zeros(values.shape, bool) if values.dtype.kind in "biu" else np.asarray(pd.isnull(values))


def exact_dtype(dtype: np.dtype[Any], encoding: Mapping[str, Any]) -> np.dtype[Any]:
    """The dtype of floats in which integers must be exact that are written to an array: its own, unless it scales."""
    is_scaled = any(encoding.get(key) is not None for key in SCALE)
    return dtype if dtype.kind == "f" and not is_scaled else np.dtype(np.float64)


def check_exact(block: Block, dtype: np.dtype[Any]) -> None:
    """Check that integers are floats of a dtype too; small ones always are, and floats among them are none of these.

    Raises
    ------
    EncodingError
    """
    limit = 2 ** (np.finfo(dtype).nmant + 1)
    values = block.values
    if values.dtype.kind == "O":
        values = np.array([v if isinstance(v, int | np.integer) else 0 for v in values.tolist()], object)
    large = np.flatnonzero((values > limit) | (values < -limit))
    bad = np.zeros(values.shape, bool)
    with np.errstate(all="ignore"):
        bad[large] = [not holds_exactly(dtype, value) for value in values[large].tolist()]
    if bad.any():
        raise encoding_error(block, bad, f"{dtype} cannot hold exactly", expected=f"at most {limit}, or exact floats")
