"""Many floats packed at once, by the formulas of CF: without variables of xarray for each block.

Source: CF conventions 1.11, section 8.1 "Packed Data".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from zarrds.datasets.encoding.exact.blocks import Block
from zarrds.datasets.encoding.exact.packing import Packing
from zarrds.metadata.attributes import SCALE

__all__ = ["Scaling", "scaling_of"]

Array: TypeAlias = "np.ndarray[Any, Any]"


@dataclass(frozen=True, slots=True)
class Scaling:
    """Floats as integers of a store.

    Attributes
    ----------
    factor, offset : float or None
        As the encoding has them: their type is a part of the arithmetic.
    marker : int or None
        What is written for a missing value.
    packed : dtype
        The integers.
    between, unpacked : dtype
        Of floats while they are packed, and of what is read back.
    slack : float
        By how much any value may be read back as another.
    """

    factor: Any
    offset: Any
    marker: int | None
    packed: np.dtype[Any]
    between: np.dtype[Any]
    unpacked: np.dtype[Any]
    slack: float

    def pack(self, values: Array) -> Array | None:
        """The integers of floats, or None if not each of them is read back as what it was: then look closely.

        Examples
        --------
        >>> f4, f8 = np.dtype("f4"), np.dtype("f8")
        >>> scaling = Scaling(0.5, 10.0, -1, np.dtype("i2"), f4, f8, 0.25)
        >>> scaling.pack(np.array([10.0, np.nan, 14.6], f4))
        array([ 0, -1,  9], dtype=int16)
        >>> scaling.pack(np.array([1e6], f4)) is None
        True
        """
        numbers = values.astype(self.between)
        if self.offset is not None:
            numbers -= self.offset
        if self.factor is not None:
            numbers /= self.factor
        np.rint(numbers, out=numbers)
        missing = np.isnan(values)
        if missing.any():
            if self.marker is None:
                return None
            numbers[missing] = 0  # no integer is NaN, and what a cast makes of it depends on the machine
        packed = numbers.astype(self.packed)
        is_right = self._is_near(packed, values)
        if self.marker is not None:
            packed[missing] = self.marker
            is_right = (is_right | missing) & ((packed == self.marker) == missing)
        return packed if is_right.all() else None

    def _is_near(self, packed: Array, values: Array) -> Array:
        read = packed.astype(self.unpacked)
        if self.factor is not None:
            read *= self.factor
        if self.offset is not None:
            read += self.offset
        distance = np.subtract(read, values, dtype=np.result_type(read, values, np.float64))
        return np.asarray(np.abs(distance, out=distance) <= self.slack)


def scaling_of(packing: Packing, dtype: np.dtype[Any], unpacked: np.dtype[Any], slack: Any) -> Scaling | None:
    """The arithmetic that xarray does; None where it is not that of CF with a factor and an offset that are floats.

    Parameters
    ----------
    packing : Packing
    dtype, unpacked : dtype
        Of the values, and of what is read back.
    slack : float or array
        By how much a zero may be read back as another number.
    """
    factor, offset = (packing.encoding.get(key) for key in SCALE)
    is_usual = all(each is None or isinstance(each, float | np.floating) for each in (factor, offset))
    native = packing.dtype.newbyteorder("=")
    if not is_usual or len(packing.markers) > 1 or packing.meant != native or unpacked.kind != "f":
        return None
    zero = np.zeros(1, dtype)
    between = packing.numbers(Block(None, ("values",), zero, (1,), (0,))).dtype
    most = min(float(np.max(slack)), float(np.finfo(np.float64).max))
    return Scaling(factor, offset, packing.markers[0] if packing.markers else None, native, between, unpacked, most)
