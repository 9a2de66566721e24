"""Categories that are written to an array of plain values, and text that is written to one of categories."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.labels.kinds.plain import Labels
from zarrds.metadata.fields import JSONObject

__all__ = ["categorized", "is_categorized_otherwise"]

_OBJECT = np.dtype(object)


def is_categorized_otherwise(variable: xr.Variable, described: JSONObject) -> bool:
    """Whether one of a variable and a stored array has categories, and the other may be their values.

    Parameters
    ----------
    variable : Variable
    described : mapping
        What is noted of the stored array.
    """
    dtype = variable.dtype
    if described.get("dtype") == "category":
        return variable.ndim == 1 and (dtype.kind in "UTO" and not isinstance(dtype, pd.CategoricalDtype))
    return isinstance(dtype, pd.CategoricalDtype)


def categorized(variable: xr.Variable, described: JSONObject, known: Labels | None) -> xr.Variable | None:
    """Text as the categories of a stored array and those that are new, categories as their values.

    Parameters
    ----------
    variable : Variable
        In memory, of which `is_categorized_otherwise`.
    described : mapping
        What is noted of the stored array.
    known : Index, optional
        Its categories.

    Returns
    -------
    Variable or None
        None for what is no text, and where the store's categories are none.

    Examples
    --------
    >>> text = xr.Variable("x", ["b", "c", "b"])
    >>> categorized(text, {"dtype": "category", "ordered": False}, pd.Index(["a", "b"])).data.codes.tolist()
    [1, 2, 1]
    >>> categorized(xr.Variable("x", pd.Categorical(["b", None])), {}, None).values.tolist()
    ['b', nan]
    """
    made: Any
    if described.get("dtype") == "category":
        values = np.asarray(variable.data.astype(object))
        every = pd.Index([], dtype=object) if known is None else known.astype(object)
        if not _is_text(values) or (len(every) and not _is_text(every)):
            return None
        new = pd.Categorical(values).categories.astype(object).difference(every)
        ordered = described.get("ordered") is True
        # nobody has said that text is above the ordered ones, where alone it could be added
        made = pd.Categorical(values, new.append(every) if ordered else every.append(new), ordered=ordered)
    else:
        made = _values(variable.data)
    return xr.Variable(variable.dims, made, variable.attrs, variable.encoding)


def _is_text(values: Any) -> bool:
    return pd.api.types.infer_dtype(values, skipna=True) == "string"


def _values(categorical: pd.Categorical) -> Any:
    """What categories stand for; of integers of which some are missing objects, which stay integers."""
    dtype = categorical.categories.dtype
    # others have nothing that is missing, or pandas makes floats of them
    has_missing = isinstance(dtype, np.dtype) and dtype.kind in "fmM"
    return categorical.astype(dtype if has_missing or not categorical.isna().any() else _OBJECT)
