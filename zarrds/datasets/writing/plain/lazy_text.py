"""dask arrays of text as plain text, block by block: nobody looks at all of it before it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import check_vlen_dtype, is_chunked
from zarrds.datasets.encoding.exact.blocks import as_numpy, first_blocks
from zarrds.errors import BlocksOfTextError
from zarrds.labels.kinds.objects import missing_name
from zarrds.labels.kinds.plain import TEXT, Array, Description, Plain, is_missing
from zarrds.metadata.fields import Raw

__all__ = ["kind_of_first", "may_be_text", "text_in_blocks"]

# what stands for what is missing of text that nobody has looked at
_MARK = "<NA>"
# by what text is missing as
_DESCRIPTIONS: Mapping[str, Description] = {
    "nan": {"dtype": "object"},
    "None": {"dtype": "object", "na": "None"},
    "NA": {"dtype": "string[python]"},
}


def text_in_blocks(
    name: str, variable: xr.Variable, described: Description | None, chosen: Sequence[str] = ()
) -> Plain | None:
    """What is stored of a dask array of text, lazily; None if it is none, as far as its first block tells.

    Parameters
    ----------
    name : str
    variable : Variable
    described : mapping, optional
        What is noted of the array that it is written to; empty if nothing is, None if there is no such array.
    chosen : sequence of str
        What stands for what is missing, by the encoding of the variable: of objects the first of it is written, and all
        of it must be no text of theirs.

    Raises
    ------
    BlocksOfTextError
        By the computation: for a block that holds anything but text, or the text that stands for what is missing.
    """
    if not is_chunked(variable) or not variable.size or variable.dtype.kind not in "OT":
        return None
    is_known = check_vlen_dtype(variable.dtype) is str
    if (is_known and not chosen) or check_vlen_dtype(variable.dtype) not in (None, str):
        return None
    description: Raw
    na_kind: str | None = None
    if variable.dtype.kind == "T":
        na = getattr(variable.dtype, "na_object", None)
        may_miss = hasattr(variable.dtype, "na_object")
        description = {"dtype": "StringDType"}
        if may_miss:
            description |= {"na": na if isinstance(na, str) else missing_name([na]), "is_text": isinstance(na, str)}
    else:
        kind, na_kind = ("string", "nan") if is_known else kind_of_first(variable)
        if kind != "string":
            return None
        may_miss, description = True, dict(_DESCRIPTIONS[na_kind])
    if described is not None:
        mark = described.get("missing")
        description = dict(described)
    else:
        mark = _MARK if may_miss else None
    description |= {} if mark is None else {"missing": mark}
    attrs: Raw = {} if mark is None else {"missing_value": mark}
    if chosen and variable.dtype.kind == "O":
        mark, description, attrs = chosen[0], {}, {}
    if described is not None or chosen:
        na_kind = None  # that of the store
    meta = np.empty((0,) * variable.ndim, TEXT)
    data = variable.data.map_blocks(_Marking(name, mark, na_kind, tuple(chosen)), dtype=TEXT, meta=meta)
    return Plain(data, description, attrs)


def may_be_text(variable: xr.Variable) -> bool:
    """Whether a dask array of objects may be one of text, as far as its first blocks tell."""
    return check_vlen_dtype(variable.dtype) is str or kind_of_first(variable)[0] in ("string", "empty")


def kind_of_first(variable: xr.Variable) -> tuple[str, str]:
    """What the objects of the first block are in which there is something, and those missing up to there; of a few."""
    na_kind: str | None = None
    for block in first_blocks(variable):
        missing = is_missing(block)
        na_kind = na_kind or _na_kind(block[missing])
        if not missing.all():
            return str(pd.api.types.infer_dtype(block[~missing], skipna=False)), na_kind or "nan"
    return "empty", na_kind or "nan"


def _na_kind(missing: Array) -> str | None:
    """As what text is missing: None, NaN or pd.NA, as it is told of text in memory; None if nothing is missing."""
    if not missing.size:
        return None
    return "NA" if any(value is pd.NA for value in missing) else missing_name(missing)


@dataclass(frozen=True)
class _Marking:
    """Puts a text where text is missing."""

    name: str
    mark: Any
    na_kind: str | None  # None if any will do
    others: tuple[str, ...] = ()  # what reads back as missing too

    def __call__(self, values: Array) -> Array:
        objects = as_numpy(self.name, values).astype(object)
        missing = is_missing(objects)
        present = objects[~missing]
        for value in objects[missing]:
            if value is pd.NaT or isinstance(value, np.datetime64 | np.timedelta64):
                self._refuse("holds times that are missing among its text", value)
        if pd.api.types.infer_dtype(present, skipna=False) not in ("string", "empty"):
            other = next(value for value in present if not isinstance(value, str))
            self._refuse("holds objects of another kind than text, of which its first block is", other)
        for mark in (self.mark, *self.others):
            if mark is not None and (present == mark).any():
                self._refuse("holds the text that stands for what is missing", mark)
        if missing.any():
            if self.mark is None:
                self._refuse("holds text that is missing, and the store has no text that stands for it", "None or NaN")
            if self.na_kind not in (None, found := _na_kind(objects[missing])):
                self._refuse(f"holds text that is missing as {found}, and as {self.na_kind} elsewhere", found)
            objects[missing] = self.mark
        return objects.astype(TEXT)

    def _refuse(self, problem: str, found: object) -> None:
        raise BlocksOfTextError(
            f"variable {self.name!r} {problem}",
            key=self.name,
            found=f"{found!r:.80}",
            mend="Load it first (dataset.load()): all of it is looked at then",
        )
