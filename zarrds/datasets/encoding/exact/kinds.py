"""What values are, in a word, as booleans, integers, datetimes or strings."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pandas as pd

__all__ = ["KINDS", "kind_of", "kind_of_dtype"]

Array: TypeAlias = "np.ndarray[Any, Any]"

KINDS = {
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


def kind_of_dtype(dtype: np.dtype[Any]) -> str:
    """What elements of a dtype are; of structures the dtype itself, whatever the order of its bytes, aligned or not."""
    if dtype.kind in KINDS:
        return KINDS[dtype.kind]
    from numpy.lib.recfunctions import repack_fields  # which few datasets need

    return str(repack_fields(dtype, recurse=True).newbyteorder("="))


def kind_of(values: Array) -> str:
    """What values are; nothing for objects of which there are none."""
    if values.dtype.kind != "O":
        return kind_of_dtype(values.dtype)
    present = values[~pd.isnull(values)]
    if not present.size:
        return ""
    inferred = pd.api.types.infer_dtype(present)
    if inferred in ("string", "bytes"):
        return "strings" if inferred == "string" else "bytes"
    return "datetimes" if all(hasattr(v, "calendar") and hasattr(v, "toordinal") for v in present) else "objects"
