"""What a save notes of the order of the labels that it wrote."""

from __future__ import annotations

import numpy as np

from zarrds.compat.xarray_internals import lazy_data
from zarrds.datasets.writing.changes import ArrayChange
from zarrds.engine.elements import Elements
from zarrds.errors import MetadataError
from zarrds.labels.sorted.record import OrderRecord, is_recordable, record_of
from zarrds.metadata.extension import ORDER, note_of, with_note
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.protocol import Values

__all__ = ["noted_again", "with_order"]

# of an array without a record, so many labels may be read to make one
_FEW = 2**20


def with_order(values: Values, path: str, change: ArrayChange, after: ArrayMetadata) -> ArrayMetadata:
    """The metadata of a changed array, with what is known of the order of its elements if they are labels.

    Parameters
    ----------
    values : Values
        Where its chunks are by now.
    path : str
    change : ArrayChange
    after : ArrayMetadata
    """
    if after.dimension_names != (path.rpartition("/")[2],) or not is_recordable(after):
        return after if note_of(after, ORDER) is None else with_note(after, ORDER, None)
    before = change.before
    data = lazy_data(change.variable)
    is_whole = change.start == (0,) and change.variable.shape == after.shape
    if not is_whole and before is not None:
        record = _record(before) if change.start == before.shape else None
        if record is None and after.shape[0] > _FEW:
            return with_note(after, ORDER, None)
    else:
        record = None
    elements = Elements(values, path, after, is_private=True)
    known = data if is_whole and isinstance(data, np.ndarray) else None
    return with_note(after, ORDER, record_of(elements, known, record).to_json())


def _record(metadata: ArrayMetadata) -> OrderRecord | None:
    value = note_of(metadata, ORDER)
    if value is None:
        return None
    try:
        return OrderRecord.from_json(value, metadata)
    except MetadataError:
        return None


def noted_again(values: Values, path: str, metadata: ArrayMetadata) -> ArrayMetadata:
    """The metadata of an array whose chunks were all written anew with the same elements, with a record of its own."""
    if note_of(metadata, ORDER) is None:
        return metadata
    if not is_recordable(metadata):  # another tool has changed it
        return with_note(metadata, ORDER, None)
    record = record_of(Elements(values, path, metadata, is_private=True), None, None)
    return with_note(metadata, ORDER, record.to_json())
