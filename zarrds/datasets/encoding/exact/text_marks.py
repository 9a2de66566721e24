"""Text that is equal to the one that stands for what is missing: it would read back as missing.

Of text in memory that is known before anything is encoded; blocks of dask are looked at when they are computed.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import variable_of
from zarrds.datasets.encoding.exact.blocks import CARRIED_MEND, Block, blockwise, encoding_error, whole
from zarrds.errors import CarriedEncodingError, EncodingError
from zarrds.metadata.attributes import MARKERS

__all__ = ["check_unmarked", "is_marked_text", "is_no_text", "text_mark", "text_marks", "unmarked_blocks"]

Array: TypeAlias = "np.ndarray[Any, Any]"

_PROBLEM = "is the _FillValue, and would read back as missing"
_ASKED_MEND = "Ask for a _FillValue or missing_value that no text is equal to, or for none"


def text_marks(encoding: Mapping[str, Any]) -> tuple[str | bytes, ...]:
    """What an encoding says that text is where it is missing; the first of it is what is written.

    Examples
    --------
    >>> text_marks({"missing_value": "-", "_FillValue": "", "dtype": "S1"})
    ('', '-')
    """
    found = (text_mark(encoding.get(key)) for key in MARKERS)
    return tuple(mark for mark in found if mark is not None)


def text_mark(value: Any) -> str | bytes | None:
    """What stands for missing text, of an encoding's value, which may be an array of one; None if it is no text."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    return value if isinstance(value, str | bytes) else None


def is_no_text(value: object) -> bool:
    """Whether what an encoding says for what is missing is one number, or NaN: it says nothing of text and bytes.

    Examples
    --------
    >>> is_no_text(-9), is_no_text(float("nan")), is_no_text("-9")
    (True, True, False)
    """
    items = np.ravel(np.asarray(value))
    return items.size == 1 and (items.dtype.kind in "biuf" or bool(pd.isnull(items[0])))


def is_marked_text(values: Array, marks: Collection[str | bytes]) -> Array:
    """Which of some texts are equal to one that stands for what is missing, to readers who leave out its last NULs.

    Examples
    --------
    >>> import numpy as np
    >>> is_marked_text(np.array(["a", "", None], dtype=object), [""])
    array([False,  True, False])
    """
    bad = np.zeros(values.shape, bool)
    for mark in {*marks, *(each.rstrip("\0") if isinstance(each, str) else each.rstrip(b"\0") for each in marks)}:
        if values.dtype.kind == "O":  # in which pd.NA may be, that is equal to nothing
            same = [isinstance(value, str | bytes) and value == mark for value in values.reshape(-1).tolist()]
            bad |= np.array(same, bool).reshape(values.shape)
        elif values.dtype.kind == "S":
            bad |= np.asarray(values == (mark if isinstance(mark, bytes) else mark.encode()), bool)
        elif isinstance(mark, str):
            bad |= np.asarray(values == mark, bool)
    return bad


def check_unmarked(name: str, variable: xr.Variable, marks: Collection[str | bytes]) -> None:
    """Check that no text in memory is one that stands for what is missing, which bytes do for bytes.

    Raises
    ------
    EncodingError
    """
    block = whole(name, variable, np.asarray(variable.values))
    _Unmarked(name, variable.dims, tuple(marks)).on_block(block)
    if variable.dtype.kind != "O":
        return
    for kind, other, what, mark in ((str, bytes, "bytes", "text"), (bytes, str, "text", "bytes")):
        wrong = [each for each in marks if isinstance(each, kind)]
        if wrong and any(isinstance(value, other) for value in block.values.tolist()):
            raise EncodingError(
                f"variable {name!r} holds {what}, of which {mark} cannot say that they are missing",
                key=name,
                expected=f"{what} as _FillValue or missing_value",
                found=wrong,
                mend=f"Ask for {what} that none of them is equal to, or for none",
            )


def unmarked_blocks(
    name: str, variable: xr.Variable, marks: Collection[str | bytes], *, is_carried: bool
) -> xr.Variable:
    """The same dask array of text, which refuses when it is computed what would read back as missing.

    Parameters
    ----------
    name : str
    variable : Variable
    marks : collection of str or bytes
    is_carried : bool
        Whether the encoding came along with the variable: the error is `CarriedEncodingError` then.
    """
    data = blockwise(_Unmarked(name, variable.dims, tuple(marks), is_carried), variable, variable.dtype)
    return variable_of(variable.dims, data, variable.attrs, variable.encoding)


@dataclass(frozen=True)
class _Unmarked:
    """Gives blocks back as they are, if none of their texts is one that stands for what is missing."""

    name: Hashable
    dims: tuple[Hashable, ...]
    marks: tuple[str | bytes, ...]
    is_carried: bool = False

    def on_block(self, block: Block) -> Array:
        bad = is_marked_text(block.values, self.marks)
        if bad.any():
            raise encoding_error(
                block,
                bad,
                _PROBLEM,
                expected="other text",
                mend=CARRIED_MEND if self.is_carried else _ASKED_MEND,
                kind=CarriedEncodingError if self.is_carried else EncodingError,
            )
        return block.values
