"""What a save into a group that is there is asked for, and what it changes, as data."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import xarray as xr

from zarrds.engine.progress import ProgressOption
from zarrds.metadata.formats import Format
from zarrds.metadata.model import ArrayMetadata, GroupMetadata

__all__ = [
    "ON_OVERLAP",
    "ON_UNORDERED",
    "ArrayChange",
    "GroupChange",
    "OnOverlap",
    "OnUnordered",
    "Placement",
    "UpdateOptions",
    "WriteOptions",
    "replaced_encodings",
]

UpdateMode: TypeAlias = Literal["a", "a-", "r+"]
OnOverlap: TypeAlias = Literal["error", "replace", "skip", "append"]
OnUnordered: TypeAlias = Literal["error", "append"]
ON_OVERLAP, ON_UNORDERED = get_args(OnOverlap), get_args(OnUnordered)


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where new labels go along the dimension that they are appended to.

    Attributes
    ----------
    start : int
        Where the first of the new labels that are kept goes; the others follow it.
    keep : slice or array of int
        Which of the new labels are written.
    size : int
        Of the dimension, afterwards.
    """

    start: int
    keep: slice | np.ndarray[Any, Any]
    size: int


@dataclass(frozen=True, slots=True)
class UpdateOptions:
    """What the user asks of a save into a store that exists; the names are those of `zarrds.save`.

    `spec` is the format of the store. Of a DataTree, `grows` says whether a group has the dimension that is
    appended to, and `inherited` has the placements of labels that it has from a group above.
    """

    mode: UpdateMode
    append_dim: Hashable | None
    region: Any
    on_overlap: OnOverlap
    on_unordered: OnUnordered
    spec: Format
    grows: bool = True
    inherited: Mapping[str, Placement] = field(default_factory=dict)

    @property
    def is_region(self) -> bool:
        """Whether a part of what is there is written, and nothing grows."""
        return self.region is not None and self.append_dim is None

    @property
    def is_in_place(self) -> bool:
        """Whether nothing but elements of arrays is written."""
        return self.mode == "r+" or self.is_region


@dataclass(frozen=True, slots=True)
class ArrayChange:
    """One array that is made, grown or written to.

    Attributes
    ----------
    before : ArrayMetadata or None
        None for an array that is new.
    after : ArrayMetadata
    variable : Variable
        Encoded.
    start : tuple of int
        The place of its first element, along each dimension of the array.
    replaced : str or None
        Why the encoding that came along with the variable was replaced, if it was.
    write_empty_chunks : bool or None
        As of `zarrds.save`, where the variable's encoding says so.
    is_rewritten : bool
        Whether stored elements are written once more, beside new ones, in an encoding that can hold these, get another
        meaning by what is noted of them, or give one to those of another array: it must be seen at the same instant.
    """

    before: ArrayMetadata | None
    after: ArrayMetadata
    variable: xr.Variable
    start: tuple[int, ...]
    replaced: str | None = None
    write_empty_chunks: bool | None = None
    is_rewritten: bool = False


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How data is written; the names are those of `zarrds.save`."""

    compute: bool = True
    write_empty_chunks: bool = True
    progress: ProgressOption = False
    workers: int | None = None
    chunkmanager_store_kwargs: Mapping[str, Any] | None = None
    statistics: bool | None = None

    def writes_empty(self, change: ArrayChange) -> bool:
        """Whether chunks that hold nothing but the fill value are written too."""
        return self.write_empty_chunks if change.write_empty_chunks is None else change.write_empty_chunks


@dataclass(frozen=True, slots=True)
class GroupChange:
    """All changes of one group.

    Attributes
    ----------
    metadata : GroupMetadata or None
        None where the group's own document stays as it is.
    arrays : mapping of str to ArrayChange
        By name.
    replaced_labels : frozenset of str
        Dimensions whose stored labels are overwritten by others.
    region : mapping of str to slice
        Where along its dimensions the group is written, where that is not all.
    placements : mapping of str to Placement
        Where the labels of the dimension that grows go; of a DataTree, the groups below may go by them.
    """

    metadata: GroupMetadata | None
    arrays: Mapping[str, ArrayChange]
    replaced_labels: frozenset[str] = frozenset()
    region: Mapping[str, slice] = field(default_factory=dict)
    placements: Mapping[str, Placement] = field(default_factory=dict)


def replaced_encodings(arrays: Mapping[str, ArrayChange]) -> dict[str, str]:
    """Why encodings that came along were replaced, by the path of the array."""
    return {path: change.replaced for path, change in arrays.items() if change.replaced is not None}
