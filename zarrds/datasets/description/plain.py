"""Values of attributes as strict JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from zarrds.errors import MetadataError

__all__ = ["json_value"]


def json_value(value: Any) -> Any:
    """A value as JSON can hold it; what it has no numbers for (NaN, infinity, complex, times) is text.

    Raises
    ------
    MetadataError
        If it is nested too deeply.

    Examples
    --------
    >>> json_value({"a": np.float32(1.5), "b": np.array([1, 2]), "c": float("nan")})
    {'a': 1.5, 'b': [1, 2], 'c': 'NaN'}
    """
    try:
        return _json_value(value)
    except RecursionError as error:
        raise MetadataError("an attribute is nested too deeply") from error


def _json_value(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_json_value(each) for each in value.tolist()] if value.ndim else _json_value(value[()])
    if isinstance(value, np.generic):
        return str(value) if value.dtype.kind in "mMSUVc" else _json_value(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _json_value(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(each) for each in value]
    return str(value)
