"""The elements at the ends of blocks in JSON: a list while they are few, then base64."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from zarrds.errors import MetadataError
from zarrds.labels.sorted.source import Array
from zarrds.metadata.dtypes import STRING, DataType
from zarrds.metadata.fields import JSON
from zarrds.metadata.fill_values import decode_fill_value, encode_fill_value

__all__ = ["DIGEST", "from_json", "to_json"]

DIGEST = DataType.from_v3("uint32")
_MAX_LISTED = 1024


def to_json(elements: Array) -> JSON:
    """Elements in JSON: a list (of text always) of what would stand for fill values in v3, or base64 of their bytes.

    Examples
    --------
    >>> to_json(np.array([0.5, np.inf]))
    [0.5, 'Infinity']
    """
    if elements.dtype.kind in "OU":
        return [str(text) for text in elements]
    if elements.size > _MAX_LISTED:
        return base64.b64encode(elements.astype(elements.dtype.newbyteorder("<"), copy=False).tobytes()).decode("ascii")
    if elements.dtype.kind in "iu":
        integers: list[int] = elements.tolist()
        return integers
    data_type = DataType.from_numpy(elements.dtype)
    return [encode_fill_value(element, data_type) for element in elements]


def from_json(value: JSON, count: int, data_type: DataType, name: str) -> Array:
    """The inverse of `to_json`, in the machine's byte order.

    Raises
    ------
    MetadataError
        If it is not so many elements of that data type; `name` says which they should be.
    """
    dtype = data_type.dtype.newbyteorder("=")
    try:
        if isinstance(value, str) and dtype.kind not in "OU":
            raw = base64.b64decode(value.encode("ascii"), validate=True)
            if len(raw) == count * dtype.itemsize:
                return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype)
        elif isinstance(value, list) and len(value) == count:
            return _from_list(value, data_type, dtype)
    except (ValueError, RecursionError) as error:  # a MetadataError is a ValueError too
        raise _invalid(name, count, data_type, error) from error
    raise _invalid(name, count, data_type, _described(value))


def _from_list(value: list[JSON], data_type: DataType, dtype: np.dtype[Any]) -> Array:
    if dtype.kind not in "OU":
        elements = np.empty(len(value), dtype)
        for i, element in enumerate(value):
            decoded = decode_fill_value(element, data_type)
            if decoded is None:
                raise ValueError("null")
            elements[i] = decoded
        return elements
    texts = [text for text in value if isinstance(text, str)]
    if len(texts) < len(value):
        raise ValueError("not all of them are text")
    if data_type != STRING and max(map(len, texts), default=0) * 4 > dtype.itemsize:
        raise ValueError("text that is longer than an element")
    elements = np.empty(len(texts), dtype)
    elements[:] = texts
    return elements


def _described(value: JSON) -> str:
    return f"{type(value).__name__} of length {len(value)}" if isinstance(value, str | list) else type(value).__name__


def _invalid(name: str, count: int, data_type: DataType, found: object) -> MetadataError:
    return MetadataError(
        f"the record of the order of the labels is wrong: {name}",
        expected=f"{count} elements of data type {data_type.name!r}",
        found=found,
        mend="Make it anew with zarrds.index",
    )
