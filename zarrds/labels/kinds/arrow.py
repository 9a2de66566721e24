"""Arrow-backed labels and data: stored as the like dtypes of pandas' own, and noted to be Arrow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from zarrds.labels.kinds.plain import Description, Labels, described_dtype, mismatch

__all__ = ["ARROW", "as_arrow", "as_pandas", "is_arrow", "own_dtype"]

# the member of a description that names the Arrow type, without its unit and zone
ARROW = "arrow"
# for each type the dtype as which it is stored, without its unit and zone
_STORED_AS = {
    **{f"int{n}": f"Int{n}" for n in (8, 16, 32, 64)},
    **{f"uint{n}": f"UInt{n}" for n in (8, 16, 32, 64)},
    "float": "Float32",
    "double": "Float64",
    "bool": "boolean",
    "string": "string[pyarrow]",
    "large_string": "string[pyarrow]",
    "timestamp": "datetime64",
    "duration": "timedelta64",
}


def as_pandas(values: Any) -> tuple[Labels, str] | None:
    """Arrow-backed values as an index of pandas' own like dtype, and the name of their type; None for all others.

    None also for types that pandas has nothing like of its own: dates without a time, decimals, lists and the like.
    """
    dtype = values.dtype
    own = own_dtype(dtype)
    if own is dtype or own is None:
        return None
    return pd.Index(values).astype(own), _name(dtype)


def own_dtype(dtype: Any) -> Any:
    """The dtype of pandas' own that is like an Arrow-backed one, None if there is none; any other as it is."""
    if not isinstance(dtype, pd.ArrowDtype):
        return dtype
    arrow: Any = dtype.pyarrow_dtype
    name = _name(dtype)
    if name not in _STORED_AS:
        return None
    if name == "timestamp":
        return np.dtype(f"M8[{arrow.unit}]") if arrow.tz is None else pd.DatetimeTZDtype(arrow.unit, arrow.tz)
    return np.dtype(f"m8[{arrow.unit}]") if name == "duration" else pd.api.types.pandas_dtype(_STORED_AS[name])


def _name(dtype: pd.ArrowDtype) -> str:
    return str(dtype.pyarrow_dtype).partition("[")[0]


def is_arrow(description: Description) -> bool:
    """Whether what is described is to be Arrow-backed; without pyarrow it is of pandas' own like dtype.

    Raises
    ------
    MetadataError
        If the description names a type that there is not, or that is not stored so.
    """
    name = description.get(ARROW)
    if name is None:
        return False
    dtype = described_dtype(description)
    like = _STORED_AS.get(name) if isinstance(name, str) else None
    if like is None or like not in (dtype, dtype.partition("[")[0]):
        raise mismatch("the Arrow type of labels is not stored so", expected=dtype, found=f"{name!r:.80}")
    try:
        import pyarrow  # noqa: F401  # which pandas has imported already, where it is installed
    except ImportError:
        return False
    return True


def as_arrow(labels: Labels, description: Description) -> Labels:
    """The index that `as_pandas` was given. Raises `MetadataError`, as `is_arrow`."""
    if not is_arrow(description):
        return labels
    import pyarrow

    if isinstance(labels, pd.TimedeltaIndex):
        arrow = pyarrow.duration(labels.unit)
    elif isinstance(labels, pd.DatetimeIndex):
        arrow = pyarrow.timestamp(labels.unit, tz=labels.tz)
    else:
        arrow = pyarrow.type_for_alias(description[ARROW])
    made: Labels = labels.astype(pd.ArrowDtype(arrow))
    return made
