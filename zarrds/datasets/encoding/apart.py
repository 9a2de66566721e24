"""Attributes of the user's that readers would take for instructions which they are none of.

xarray's decoders go by some attributes whatever the data is: a ``dtype`` of "bool" makes booleans of floats, an
``_Encoding`` of text is an error when it is read. Where such an attribute does not say how the data is to be decoded,
it stands in no document, but in the notes, and is given back after decoding.
"""

from __future__ import annotations

import codecs
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from zarrds.compat.xarray_internals import blockwise_array, variable_of
from zarrds.datasets.encoding.attributes import NCZARR
from zarrds.datasets.encoding.exact.blocks import Block, blockwise, encoding_error
from zarrds.datasets.encoding.exact.packing import NO_PACKING
from zarrds.labels.kinds.table import added_attributes
from zarrds.metadata.attributes import MARKERS, array_of
from zarrds.metadata.fields import JSONObject
from zarrds.metadata.formats import Format
from zarrds.metadata.times import CF_UNITS, is_since, unit_of

__all__ = ["group_attributes_apart", "only_booleans", "set_apart"]

_COORDINATES = "coordinates"
_NUMBERS = tuple(NO_PACKING)
_DECODED = frozenset({"units", "dtype", "_Unsigned", "_Encoding", *MARKERS, *_NUMBERS})
# what begins how the kinds are called of which xarray's own encoders make something
_PLAIN_KINDS = ("datetime64", "timedelta64", "cftime", "period", "range", "interval")


def set_apart(variable: xr.Variable, spec: Format, description: JSONObject | None = None) -> dict[str, Any]:
    """Those attributes of a variable that are none of how its data is decoded, though readers would go by them.

    Parameters
    ----------
    variable : Variable
        As the user has it: decoded, or undecoded with the attributes of that.
    spec : Format
    description : mapping, optional
        What is noted of the kind of its data, where that is one that only pandas knows.

    Examples
    --------
    >>> import xarray as xr
    >>> from zarrds.metadata.formats import v3
    >>> set_apart(xr.Variable("x", [1.5], {"dtype": "bool", "units": "K"}), v3)
    {'dtype': 'bool'}
    """
    is_of_pandas = description is not None and not str(description.get("dtype")).startswith(_PLAIN_KINDS)
    added = added_attributes(description) if is_of_pandas and description else frozenset()
    if description is not None and "missing" not in description:
        added -= {"missing_value"}
    return {
        name: value
        for name, value in variable.attrs.items()
        if isinstance(name, str)
        and name not in added
        and (
            name.lower().startswith(NCZARR)
            or name in spec.RESERVED
            or (name == _COORDINATES and not isinstance(value, str))
            or (name in _DECODED and (value is None or _is_idle(name, value, variable)))
            or (name in _DECODED and is_of_pandas and (name != "units" or _are_of_times(value)))
        )
    }


def _are_of_times(units: Any) -> bool:
    """Whether readers may make times of numbers with such units; other ones are for everybody to see."""
    return isinstance(units, str) and (is_since(units) or unit_of(units) in CF_UNITS)


def only_booleans(name: str, variable: xr.Variable) -> xr.Variable:
    """The same, where an attribute makes booleans of numbers that were not seen: other numbers are refused by then.

    Parameters
    ----------
    name : str
    variable : Variable
        Without what is `set_apart`.
    """
    if variable.attrs.get("dtype") != "bool" or variable.dtype != np.int8 or not _is_unseen(variable):
        return variable
    data = blockwise(_OnlyBooleans(name, variable.dims), variable, variable.dtype)
    return variable_of(variable.dims, data, variable.attrs, variable.encoding)


@dataclass(frozen=True)
class _OnlyBooleans:
    """Gives blocks back as they are, if all of their values are 0 or 1."""

    name: Hashable
    dims: tuple[Hashable, ...]

    def on_block(self, block: Block) -> np.ndarray[Any, Any]:
        bad = (block.values != 0) & (block.values != 1)
        if bad.any():
            mend = "Delete the attribute 'dtype', by which it would read back as True"
            raise encoding_error(block, bad, "is no boolean", expected="0 or 1", mend=mend)
        return block.values


def group_attributes_apart(attributes: Mapping[Any, Any], spec: Format) -> dict[str, Any]:
    """As `set_apart`, of a group: ``coordinates`` is what names those that no variable can name."""
    wrong = {_COORDINATES, *spec.RESERVED}
    return {
        name: value
        for name, value in attributes.items()
        if isinstance(name, str) and (name in wrong or name.lower().startswith(NCZARR))
    }


def _is_idle(name: str, value: Any, variable: xr.Variable) -> bool:
    kind = variable.dtype.kind
    if name == "dtype":
        if not isinstance(value, str):
            return True
        is_idle_duration = value.startswith("timedelta64[") and kind not in "iuf"
        return kind == "m" or is_idle_duration or (value == "bool" and not _may_be_booleans(variable))
    if name == "units":
        return kind in "OUSTbc" and is_since(value)
    if name == "_Unsigned":
        return kind not in "iu" or not (isinstance(value, str) and value in ("true", "false"))
    if name == "_Encoding":
        return kind != "S" or not _is_text_encoding(value)
    if name in _NUMBERS:
        packing = {key: array_of(variable.attrs[key]) for key in _NUMBERS if variable.attrs.get(key) is not None}
        # one that is no number keeps the variable from being decoded, also by the other
        are_numbers = all(
            number is not None and number.size == 1 and number.dtype.kind in "iuf" for number in packing.values()
        )
        is_none = are_numbers and all(number == NO_PACKING[key] for key, number in packing.items())
        return kind not in "iuf" or not are_numbers or is_none
    marker = array_of(value)
    return marker is None or not _can_mark(name, marker, variable)


def _can_mark(name: str, marker: Any, variable: xr.Variable) -> bool:
    """Whether some of the data may be what a marker stands for."""
    kind = variable.dtype.kind
    if kind not in "iufcOUTS" or (marker.size != 1 and name == "_FillValue"):
        return False
    if kind in "iufc":
        if marker.dtype.kind == "f" and bool(np.isnan(marker).all()):
            # undecoded floats of xarray's files say so; those of rasters do beside numbers that pack nothing
            return kind == "f" and not any(number in variable.attrs for number in _NUMBERS)
        return marker.dtype.kind in "iuf" and (kind in "fc" or bool(np.isfinite(marker).all()))
    return marker.dtype.kind == "S" if kind == "S" else marker.dtype.kind in "UT"


def _may_be_booleans(variable: xr.Variable) -> bool:
    """Whether numbers may be booleans as netCDF files have them, where 0 is false and 1 is true."""
    if variable.dtype != np.int8:
        return False
    return _is_unseen(variable) or bool(np.isin(variable.values, (0, 1)).all())


def _is_unseen(variable: xr.Variable) -> bool:
    """Whether data is looked at block by block, when it is written."""
    return variable.chunks is not None or blockwise_array(variable) is not None


def _is_text_encoding(value: Any) -> bool:
    try:
        codecs.lookup(value)
    except (LookupError, TypeError, ValueError):
        return False
    return True
