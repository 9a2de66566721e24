"""Arrays whose chunks differ in length, put into a store as the specification says: zarrds does not write them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from zarrds.codecs.pipeline import build_pipeline
from zarrds.metadata.formats import v3
from zarrds.metadata.model import ArrayMetadata
from zarrds.stores import Store

# as a document has them
Axis: TypeAlias = int | list[Any]

GROUP = {"zarr_format": 3, "node_type": "group", "attributes": {}}
BYTES: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
ZSTD: dict[str, Any] = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}


def document(
    shape: Sequence[int],
    axes: Sequence[Axis],
    data_type: Any = "int32",
    codecs: Sequence[Any] = (BYTES, ZSTD),
    **members: Any,
) -> dict[str, Any]:
    """The document of an array."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": data_type,
        "chunk_grid": {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": list(axes)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": list(codecs),
        "fill_value": 0,
        **members,
    }


def lengths(axis: Axis, size: int) -> list[int]:
    """The length of each chunk that lies in an array of a size, one by one."""
    if isinstance(axis, int):
        return [axis] * -(-size // axis)
    every = [n for item in axis for n in ([item] if isinstance(item, int) else [item[0]] * item[1])]
    return [n for i, n in enumerate(every) if sum(every[:i]) < size]


def put_document(store: Store, path: str, raw: Mapping[str, Any]) -> None:
    """Store the document of an array, in a group at the root."""
    store.set("zarr.json", json.dumps(GROUP).encode())
    store.set(f"{path}/zarr.json", json.dumps(raw).encode())


def put_array(store: Store, path: str, values: Any, raw: Mapping[str, Any], absent: Collection[Any] = ()) -> None:
    """Store an array of that document, but for the chunks at some positions."""
    put_document(store, path, raw)
    node = v3.parse(dict(raw))
    assert isinstance(node, ArrayMetadata)
    axes = raw["chunk_grid"]["configuration"]["chunk_shapes"]
    along = [lengths(axis, size) for axis, size in zip(axes, values.shape, strict=True)]
    for position in itertools.product(*(range(len(each)) for each in along)):
        if position in absent:
            continue
        shape = tuple(each[p] for each, p in zip(along, position, strict=True))
        inside = tuple(slice(sum(each[:p]), sum(each[: p + 1])) for each, p in zip(along, position, strict=True))
        part = values[inside]
        chunk = np.empty(shape, node.data_type.dtype)
        chunk[...] = node.fill_value
        chunk[tuple(map(slice, part.shape))] = part
        pipeline = build_pipeline(node.codecs, shape, node.data_type, node.fill_value)
        key = "/".join([path, "c", *map(str, position)])
        store.set(key, *(bytes(each) for each in pipeline.encode(chunk)))
