"""What the user asks of the plain form of a variable, and what the array says that it is written to."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import is_chunked
from zarrds.datasets.encoding.dataset import Encoding, stored_name
from zarrds.datasets.encoding.exact.text_marks import is_marked_text, is_no_text, text_marks
from zarrds.datasets.reading.notes import GroupNotes
from zarrds.datasets.writing.plain.lazy_text import kind_of_first, text_in_blocks
from zarrds.errors import EncodingError, UnsupportedError
from zarrds.labels.kinds.table import Plain, StoredKind
from zarrds.metadata.attributes import MARKERS, SCALE

__all__ = ["PlainTarget"]

_FREELY_ENCODED = ("datetime64[", "timedelta64[", "cftime", "period", "str", "object", "StringDType")
_ENCODED_BY_XARRAY = ("datetime64[", "timedelta64[", "cftime", "str", "object", "range")


@dataclass(frozen=True, slots=True)
class PlainTarget:
    """Where the variables of a dataset go, and what is asked for them.

    Attributes
    ----------
    notes : GroupNotes
        Of the group that they go into.
    arrays : collection of str
        The names of the arrays that this group has: what is written to them gets their kind.
    categories : mapping of str to Index
        The stored categories of arrays that have some.
    asked : mapping
        What the user asks for, by the name of the variable.
    kept : collection of str
        The names of arrays to whose categories none may be added.
    """

    notes: GroupNotes
    arrays: Collection[str]
    categories: Mapping[str, pd.Index[Any]]
    asked: Encoding
    kept: Collection[str]

    def like(self, key: str) -> StoredKind | None:
        """What the stored array is, which data for it must become; None for one that is new."""
        if key not in self.arrays:
            return None
        description = self.notes.descriptions.get(key, {})
        beside = self.notes.companions.get(key, {}).get("categories")
        of_categories = None
        if beside is not None and key not in self.kept:
            of_categories = StoredKind(self.notes.descriptions.get(beside, {}))
        # labels of a range are compared as numbers
        return StoredKind(
            {} if description.get("dtype") == "range" else description, self.categories.get(key), of_categories
        )

    def is_described(self, key: str) -> bool:
        """Whether a stored array holds what must be made of values first, as codes of categories."""
        return self.notes.descriptions.get(key, {"dtype": "range"}).get("dtype") != "range"

    def is_encoded_by_us(self, key: str) -> bool:
        """Whether a stored array holds other elements than those that xarray's encoders would make of plain data."""
        dtype = str(self.notes.descriptions.get(key, {}).get("dtype", ""))
        return key in self.arrays and bool(dtype) and not dtype.startswith(_ENCODED_BY_XARRAY)

    def is_dtype_asked(self, name: Hashable) -> bool:
        """Whether the user says in what dtype a variable is to be stored."""
        asked: Any = self.asked.get(name)  # whatever the user passed
        return isinstance(asked, Mapping) and asked.get("dtype") is not None

    def is_missing_chosen(self, name: Hashable, variable: xr.Variable) -> bool:
        """Whether the encoding says what stands for what is missing, which is the user's choice then."""
        encoding: Any = self.asked.get(name, variable.encoding)  # whatever the user passed
        if not isinstance(encoding, Mapping):
            return False
        given = [encoding[key] for key in MARKERS if encoding.get(key) is not None]
        if not given or stored_name(name) in self.arrays:  # of which the store says it
            return False
        if name in self.asked:
            # which numbers are not, as one asks for them for all variables at once
            return not all(map(is_no_text, given)) or not _is_one_of(variable, "string", "bytes")
        # what came along counts only if it can stand for missing text, and there is text, but not that very one
        marks = [mark for mark in text_marks(encoding) if isinstance(mark, str)]
        return (
            bool(marks)
            and not is_chunked(variable)
            and _is_one_of(variable, "string")
            and not is_marked_text(np.asarray(variable.values), marks).any()
        )

    def text_in_blocks(self, name: Hashable, variable: xr.Variable) -> Plain | None:
        """A dask array of text, which is encoded block by block; None for all else."""
        if not isinstance(variable.dtype, np.dtype) or variable.dtype.kind not in "OT" or not is_chunked(variable):
            return None
        key = stored_name(name)
        if key in self.arrays:
            return text_in_blocks(key, variable, self.notes.descriptions.get(key, {}))
        encoding: Any = self.asked.get(name, variable.encoding)
        # what another file left there says nothing of text that has its own
        counts = isinstance(encoding, Mapping) and (name in self.asked or variable.dtype.kind == "O")
        chosen = [mark for mark in text_marks(encoding) if isinstance(mark, str)] if counts else []
        if not chosen and variable.dtype.kind == "O" and self.is_missing_chosen(name, variable):
            return None
        return text_in_blocks(key, variable, None, chosen)

    def check_asked(self, name: Hashable, plain: Plain) -> None:
        """Check that the user does not ask for other elements than those that the description is of."""
        dtype = str(plain.description.get("dtype", ""))
        asked: Any = self.asked.get(name, {})  # whatever the user passed
        wrong = [key for key in ("dtype", *SCALE) if isinstance(asked, Mapping) and asked.get(key) is not None]
        # objects that are numbers, some of them missing, are integers in the store, of any width
        is_number = dtype in ("objects[integer]", "objects[boolean]")
        if is_number and wrong == ["dtype"] and pd.api.types.is_integer_dtype(asked["dtype"]):
            wrong = []
        is_free = dtype.startswith(_FREELY_ENCODED) and not is_number
        if wrong and (dtype.startswith("Float") or (dtype and not is_free)):
            raise EncodingError(
                f"encoding[{wrong[0]!r}] does not go with labels or data of the dtype {dtype}",
                key=stored_name(name),
                mend="Leave it out, or convert the variable first, for example with astype",
            )

    def check_shared(self, key: str, beside: str) -> None:
        """Check that no other variable has the same array of categories: its codes would get other meanings."""
        others = [n for n, roles in self.notes.companions.items() if n != key and beside in roles.values()]
        if others:
            raise UnsupportedError(
                f"categories that are new cannot be added to {beside!r}, which belongs to {others[0]!r} too",
                key=key,
                mend="Save the variable anew under another name",
            )


def _is_one_of(variable: xr.Variable, *kinds: str) -> bool:
    """Whether objects, some of them missing, are of some kinds; of a dask array as far as its first blocks tell."""
    if variable.dtype.kind != "O":
        return False
    if is_chunked(variable):
        return kind_of_first(variable)[0] in (*kinds, "empty")
    return pd.api.types.infer_dtype(np.asarray(variable.values).reshape(-1), skipna=True) in kinds
