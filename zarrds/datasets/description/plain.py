"""Values of attributes as strict JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["json_value"]


def json_value(value: Any) -> Any:
    """A value as JSON can hold it; what it has no numbers for (NaN, infinity, complex, times) is text.

    Examples
    --------
    >>> json_value({"a": np.float32(1.5), "b": np.array([1, 2]), "c": float("nan")})
    {'a': 1.5, 'b': [1, 2], 'c': 'NaN'}
    """
    if isinstance(value, np.ndarray):
        return [json_value(each) for each in value.tolist()] if value.ndim else json_value(value[()])
    if isinstance(value, np.generic):
        return str(value) if value.dtype.kind in "mMSUVc" else json_value(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): json_value(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(each) for each in value]
    return str(value)
