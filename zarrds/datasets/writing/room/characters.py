"""Text that is stored as single characters, with a dimension more, as netCDF has it.

What is added is encoded as text of a fixed length, of as many bytes as the stored dimension has, and then split. Longer
text makes the array wider, with a dimension of its own for its characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from zarrds.arrays.layout import data_type_of
from zarrds.compat.xarray_internals import bytes_to_char, variable_of
from zarrds.datasets.writing.changes import ArrayChange
from zarrds.datasets.writing.stored import StoredGroup
from zarrds.metadata.extension import marks_of, with_marks
from zarrds.metadata.model import ArrayMetadata

__all__ = ["as_characters", "with_joined_characters"]

_DIMENSION = "string{}"  # as xarray and the netCDF tools call it


def with_joined_characters(stored: StoredGroup) -> StoredGroup:
    """A stored group whose arrays of characters are described as what they are read as: text of a fixed length."""
    joined = {name: _joined(stored.arrays[name]) for name in stored.variables if _is_of_characters(stored, name)}
    return replace(stored, arrays={**stored.arrays, **joined}) if joined else stored


def as_characters(changes: Mapping[str, ArrayChange], stored: StoredGroup) -> dict[str, ArrayChange]:
    """What changes in arrays, where those of characters hold such.

    Parameters
    ----------
    changes : mapping of str to ArrayChange
        Of arrays as `with_joined_characters` describes them.
    stored : StoredGroup
        As it is.
    """
    return {
        name: _split(change, stored.documents.get(name, stored.arrays[name]))
        if name in stored.variables and _is_of_characters(stored, name)
        else change
        for name, change in changes.items()
    }


def _is_of_characters(stored: StoredGroup, name: str) -> bool:
    metadata = stored.arrays[name]
    return metadata.data_type.dtype == np.dtype("S1") and len(metadata.shape) == stored.variables[name].ndim + 1


def _joined(metadata: ArrayMetadata) -> ArrayMetadata:
    names = metadata.dimension_names
    return replace(
        metadata,
        shape=metadata.shape[:-1],
        chunks=metadata.chunks[:-1],
        edges=None if metadata.edges is None else metadata.edges[:-1],
        data_type=data_type_of(np.dtype(f"S{max(metadata.shape[-1], 1)}")),
        codecs=({"name": "bytes"},),  # others go by the number of dimensions
        dimension_names=None if names is None else names[:-1],
    )


def _split(change: ArrayChange, before: ArrayMetadata) -> ArrayChange:
    length, names = change.after.data_type.dtype.itemsize, change.after.dimension_names
    last = None if before.dimension_names is None else before.dimension_names[-1]
    if length > before.shape[-1]:  # other arrays have the dimension too
        last = _DIMENSION.format(length)
    marks = marks_of(change.after)
    if "_Encoding" not in before.attributes:  # single bytes that are marked are no characters
        marks = replace(marks, id=None)
    after = replace(
        before,
        shape=(*change.after.shape, length),
        dimension_names=None if names is None else (*names, last),
        attributes=change.after.attributes,
        extensions=with_marks(change.after, marks).extensions,
    )
    variable = change.variable
    encoded = variable_of((*variable.dims, last), bytes_to_char(variable.data))
    return replace(change, before=before, after=after, variable=encoded, start=(*change.start, 0))
