"""Plain arrays for stored ones that are described: none of their values may be read as another thing.

Where a value stands for what is missing in the store it must not be among those that are written, and times without a
zone are not those of one. Blocks of dask are looked at when they are computed.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from zarrds.compat.xarray_internals import variable_of
from zarrds.datasets.encoding.exact.blocks import Block, blockwise, encoding_error, whole
from zarrds.labels.kinds.plain import Array, Description, StoredKind, other_kind
from zarrds.labels.kinds.times import TIMES

__all__ = ["as_described"]


def as_described(name: Hashable, variable: xr.Variable, description: Description) -> xr.Variable:
    """A variable of NumPy's dtypes that reads back as it is from an array of which `description` is noted.

    Parameters
    ----------
    name : hashable
    variable : Variable
        Without anything that is missing, unless its dtype says so itself. Dask arrays stay lazy.
    description : mapping
        Empty where nothing is noted.

    Returns
    -------
    Variable
        The same; booleans as integers, where the store has them so.

    Raises
    ------
    LabelError
        For integers where the store has booleans, and times without a zone where it has one.
    EncodingError
        For the value that stands for what is missing; of dask arrays by the computation.

    Examples
    --------
    >>> noted = {"dtype": "objects[integer]", "missing": -1, "na": "None"}
    >>> as_described("v", xr.Variable("x", np.array([5, 7])), noted).values
    array([5, 7])
    >>> try:
    ...     as_described("v", xr.Variable("x", np.array([5, -1])), noted)
    ... except ValueError as error:
    ...     print(error.problem)
    variable 'v' holds a value that stands for what is missing in the store
    """
    dtype, mark = str(description.get("dtype", "")), description.get("missing")
    if dtype == "objects[boolean]" and variable.size:
        if variable.dtype.kind != "b":
            raise other_kind(StoredKind(description), variable.dtype)
        return xr.Variable(variable.dims, variable.data.astype(np.int8), variable.attrs, variable.encoding)
    if variable.dtype.kind == "M" and (match := TIMES.fullmatch(dtype)) is not None and match[3] is not None:
        if variable.chunks is not None or not np.isnat(variable.values).all():
            raise other_kind(
                StoredKind(description), variable.dtype, problem="times have no time zone, as the store's have"
            )
        return variable
    if mark is None or not variable.size or variable.dtype.kind == "V":  # which is no mark, and refused by its kind
        return variable
    wanted: Any = mark.encode() if dtype == "objects[bytes]" and isinstance(mark, str) else mark
    check = _Unmarked(name, variable.dims, wanted)
    if variable.chunks is None:
        check.on_block(whole(name, variable, np.asarray(variable.values)))
        return variable
    data = blockwise(check, variable, variable.dtype)
    return variable_of(variable.dims, data, variable.attrs, variable.encoding)


@dataclass(frozen=True)
class _Unmarked:
    """Gives blocks back as they are, if none of their values is the one that stands for what is missing."""

    name: Hashable
    dims: tuple[Hashable, ...]
    mark: Any

    def on_block(self, block: Block) -> Array:
        bad = np.broadcast_to(np.asarray(block.values == self.mark, bool), block.values.shape)
        if bad.any():
            raise encoding_error(
                block,
                bad,
                "stands for what is missing in the store",
                expected=f"other values than {self.mark!r:.80}",
                mend="Save the variable anew: another value stands for what is missing then",
            )
        return block.values
